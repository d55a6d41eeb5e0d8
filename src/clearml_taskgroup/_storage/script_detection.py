"""Detecting the running script for an offline run: in a process of its own, while the run is open already.

In the script's own process, the import of ClearML and of its configuration would slow down the first
tasks, and would wait for git's pipe, which a forked child may hold. The other process writes the result
to the run log itself, so it is there, too, if the script was killed meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import types
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from .. import _fork
from .._clearml import sdk
from .run_log import append, iterate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_SECONDS = 60
"""After this time the process ends itself: git may hang, on a file system that is away."""
POLL_S = 0.002

_START = """
import json, sys
request = json.loads(sys.stdin.readline())
sys.path[:] = request["path"]
from clearml_taskgroup._storage.script_detection import detect
detect(request)
"""


@attrs.frozen
class Detected:
    """What was detected: the fields of ClearML's `script` property, None without a script; warnings."""

    script: Mapping[str, Any] | None
    warnings: tuple[str, ...] = ()


@attrs.define(eq=False)
class Detection:
    """A process that detects the script of this one.

    Attributes:
        log: The run log that gets the result.
        request: What it is told of this process, as JSON.
    """

    log: Path
    request: str
    process: subprocess.Popen[str]

    @property
    def is_done(self) -> bool:
        return self.process.poll() is not None

    def wait(self, timeout: float, is_interrupted: Callable[[], bool] = lambda: False) -> bool:
        """Waits until it is done; returns whether it is."""
        deadline = time.monotonic() + timeout
        while not self.is_done and time.monotonic() < deadline and not is_interrupted():
            time.sleep(POLL_S)  # `Popen.wait` sleeps up to 50 ms at a time
        return self.is_done

    def result(self) -> Detected:
        """Reads what it has found out; nothing if it has failed."""
        for line in iterate(self.log):
            if line.get("event") == "script" and line.get("pid") == os.getpid():
                _known[self.request] = Detected(line["script"], tuple(line["warnings"]))
                return _known[self.request]
        return Detected(None)

    def leave(self) -> None:
        """Lets the process go on alone; Python does not warn of it then."""
        self.process.returncode = 0

    def stop(self) -> None:
        """Ends the process, as the run could not be opened."""
        self.process.kill()
        self.process.wait()


_known: dict[str, Detected] = {}
"""Results by what was asked: further groups of a script need no process."""
_detections: weakref.WeakSet[Detection] = weakref.WeakSet()


def start(log: Path) -> Detection | Detected:
    """Starts to detect the script; gives the result at once if it is known, or no process can detect it.

    Args:
        log: The run log that gets the result.
    """
    if sys.argv[:1] in ([], [""], ["-c"], ["-"]):
        return Detected(None)  # a console
    if not _can_be_elsewhere():
        return detect_here()
    asked = {**_this_process(), **sdk.detection_options()}
    request = json.dumps(asked, sort_keys=True)
    if request in _known:
        return _known[request]
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            **_APART,
        )
    except OSError:  # no more processes
        return detect_here()
    assert process.stdin is not None
    with contextlib.suppress(OSError), process.stdin as stdin:
        told = {
            "request": asked,
            "path": sys.path,
            "log": str(log.absolute()),
            "pid": os.getpid(),
        }
        stdin.write(f"{json.dumps(told)}\n")
    detection = Detection(log, request, process)
    _detections.add(detection)
    return detection


def detect_here() -> Detected:
    """Detects the script in this process, which takes as long as the import of ClearML."""
    script, warnings = sdk.detect_script()
    return Detected(script, tuple(warnings))


_APART: dict[str, Any] = {"process_group": 0}
"""Ctrl-C in a terminal ends the script, not this."""
if sys.platform == "win32":
    _APART = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}


def _can_be_elsewhere() -> bool:
    """Whether another interpreter would find the same script."""
    python = Path(sys.executable or "").name.lower()
    if getattr(sys, "frozen", False) or not python.startswith(("python", "pypy")):
        return False  # the script is a part of another program, which would be started once more
    if any(os.environ.get(name) for name in ("TORCHELASTIC_RUN_ID", "ACCELERATE_DYNAMO_MODE")):
        return False  # ClearML looks at the parent process, the launcher
    # A notebook is asked for its name. `Task.init` may just be importing IPython, in a thread.
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_ipython is None or get_ipython() is None


def _this_process() -> dict[str, Any]:
    main = sys.modules.get("__main__")
    return {
        "argv": [str(argument) for argument in sys.argv],
        "cwd": _working_directory(),
        "package": getattr(main, "__package__", None),
        "module": getattr(getattr(main, "__spec__", None), "name", None),
    }


def _working_directory() -> str:
    """The folder that ClearML takes for the working directory: under Hydra that of the start."""
    with contextlib.suppress(Exception):  # not in one of Hydra's jobs
        return str(sys.modules["hydra"].utils.get_original_cwd())
    with contextlib.suppress(OSError):  # it was deleted
        return os.getcwd()
    return os.path.dirname(os.path.abspath(sys.argv[0]))


def detect(told: Mapping[str, Any]) -> None:
    """Detects the script of another process, and logs it; the work of the process that `start` starts."""
    if sys.platform != "win32":
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # Git as well, which removes its `index.lock` at SIGTERM, not at SIGKILL.
        signal.signal(signal.SIGALRM, lambda *_: os.killpg(0, signal.SIGTERM))
        signal.alarm(MAX_SECONDS)
    os.environ["GIT_OPTIONAL_LOCKS"] = "0"  # a user who commits meanwhile must not find the index locked
    request = told["request"]
    os.chdir(request["cwd"])
    sys.argv[:] = request["argv"]
    main: Any = sys.modules["__main__"]
    main.__package__, main.__spec__ = request["package"], None
    if request["module"] is not None:
        main.__spec__ = types.SimpleNamespace(name=request["module"])
    script, warnings = _detect_fast(request)
    line = {"event": "script", "pid": told["pid"], "script": script, "warnings": warnings}
    append(Path(told["log"]), [line])
    os._exit(0)  # the end of the interpreter would take as long as the detection


def _detect_fast(request: Mapping[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    before = set(sys.modules)
    try:
        sdk.import_detection_only(request)
        _import_no_torch()
        return sdk.detect_script()
    except Exception:  # a version of ClearML whose modules need more than those
        for name in sys.modules.keys() - before:
            del sys.modules[name]
        return sdk.detect_script()


def _import_no_torch() -> None:
    """Has ClearML find torch's TensorBoard, if torch is installed, without seconds of imports."""
    import importlib.util

    if (spec := importlib.util.find_spec("torch")) is None:
        return
    for name in ("torch", "torch.utils", "torch.utils.tensorboard"):
        module = types.ModuleType(name)
        module.__path__, module.__spec__ = [], spec
        sys.modules[name] = module


@_fork.in_child
def _forget_processes() -> None:
    for detection in list(_detections):
        detection.leave()  # it is the parent's child, not this process's
