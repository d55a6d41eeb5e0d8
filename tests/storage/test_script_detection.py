"""Detecting the script in a process of its own: when one is started, and what is left of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._storage import script_detection
from clearml_taskgroup._storage.run_log import iterate
from clearml_taskgroup._storage.script_detection import Detected, Detection, start

HERE = Detected({"entry_point": "here.py"}, ("a warning",))


@pytest.fixture(autouse=True)
def no_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """No result of another test is known, and a script that is detected in this process is `HERE`."""
    monkeypatch.setattr(script_detection, "_known", {})
    monkeypatch.setattr(sdk, "detect_script", lambda: (HERE.script, list(HERE.warnings)))
    monkeypatch.setattr("sys.argv", ["train.py"])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """An empty run log."""
    path = tmp_path / "run-0001.jsonl"
    path.touch()
    return path


def refuse(*arguments: Any, **options: Any) -> Any:
    """Takes the place of `Popen` where no process may be started, or can."""
    raise OSError("no process")


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to start a process fails the test."""
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize("argv", [[], [""], ["-c", "1"], ["-"]])
def test_a_console_has_no_script(log: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str]) -> None:
    """For `python -c` and code from standard input, nothing is asked."""
    monkeypatch.setattr("sys.argv", argv)
    assert start(log) == Detected(None)


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize("program", ["", "/opt/blender/blender", "/usr/sbin/uwsgi"])
def test_another_program_is_never_started_again(
    log: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """Where Python is a part of another program, the script is detected in this process."""
    monkeypatch.setattr(sys, "executable", program)
    assert start(log) == HERE


@pytest.mark.usefixtures("no_process")
def test_a_frozen_program_is_never_started_again(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program made by PyInstaller would run its own script once more."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert start(log) == HERE


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize("launcher", ["TORCHELASTIC_RUN_ID", "ACCELERATE_DYNAMO_MODE"])
def test_a_launchers_command_is_read_here(log: Path, monkeypatch: pytest.MonkeyPatch, launcher: str) -> None:
    """ClearML reads the command line of this process's parent, which another process does not have."""
    monkeypatch.setenv(launcher, "1")
    assert start(log) == HERE


@pytest.mark.usefixtures("no_process")
def test_a_notebook_is_asked_here(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a notebook is called is known in its kernel alone."""
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=object))
    assert start(log) == HERE


def test_another_thread_may_just_be_importing_ipython(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Task.init` does so in a thread; that makes the script no notebook."""
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    found = start(log)
    assert isinstance(found, Detection)
    found.stop()


def test_where_no_process_can_start_it_is_detected_here(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a limit to processes, the script is detected all the same."""
    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert start(log) == HERE


def detection(log: Path, answers: list[int | None]) -> Detection:
    """A process that ends when it is asked for the last time."""
    process: Any = types.SimpleNamespace(poll=lambda: answers.pop(0) if len(answers) > 1 else answers[0])
    return Detection(log, "the request", process)


def test_a_process_is_waited_for_until_it_ends_or_the_time_is_over(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or until somebody does not want to wait any more."""
    pauses: list[float] = []
    clock = types.SimpleNamespace(monotonic=lambda: sum(pauses), sleep=pauses.append)
    monkeypatch.setattr(script_detection, "time", clock)
    assert detection(log, [None, None, 0]).wait(60.0)
    assert pauses == [script_detection.POLL_S] * len(pauses)
    pauses.clear()
    assert not detection(log, [None]).wait(5 * script_detection.POLL_S)
    assert 5 <= len(pauses) <= 6
    pauses.clear()
    assert not detection(log, [None]).wait(60.0, lambda: len(pauses) == 3)
    assert len(pauses) == 3
    assert not detection(log, [None]).wait(0.0)


def test_the_result_is_that_of_this_process(log: Path) -> None:
    """Other processes may write to the log; without a result nothing is known."""
    other = {"event": "script", "pid": 0, "script": {"entry_point": "other.py"}, "warnings": []}
    own = {"event": "script", "pid": os.getpid(), "script": {"entry_point": "own.py"}, "warnings": ["one"]}
    log.write_text("".join(json.dumps(line) + "\n" for line in ({"event": "run", "pid": os.getpid()}, other)))
    found = detection(log, [0])
    assert (found.result(), script_detection._known) == (Detected(None), {})
    log.write_text(log.read_text() + json.dumps(own) + "\n")
    assert found.result() == Detected({"entry_point": "own.py"}, ("one",))
    assert script_detection._known == {"the request": found.result()}


@pytest.mark.parametrize(
    ("program", "is_python"),
    [("python", True), ("python3.11", True), ("PyPy3", True), ("Python.exe", True), ("ipython", False)],
)
def test_which_programs_are_python(monkeypatch: pytest.MonkeyPatch, program: str, is_python: bool) -> None:
    monkeypatch.setattr(sys, "executable", f"/usr/bin/{program}")
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))
    assert script_detection._can_be_elsewhere() is is_python


def test_the_working_directory_is_where_the_script_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under Hydra, before it changed into the job's; one that was deleted is that of the script."""
    monkeypatch.delitem(sys.modules, "hydra", raising=False)
    monkeypatch.chdir(tmp_path)
    assert script_detection._working_directory() == str(tmp_path)
    utils = types.SimpleNamespace(get_original_cwd=lambda: "/before")
    monkeypatch.setitem(sys.modules, "hydra", types.SimpleNamespace(utils=utils))
    assert script_detection._working_directory() == "/before"
    monkeypatch.delitem(sys.modules, "hydra")

    def refuse() -> str:
        raise FileNotFoundError

    monkeypatch.setattr("sys.argv", ["/scripts/train.py"])
    monkeypatch.setattr(os, "getcwd", refuse)
    assert script_detection._working_directory() == "/scripts"


def test_what_another_process_is_told_of_this_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [Path("train.py"), 1])
    expected = {"argv": ["train.py", "1"], "cwd": str(tmp_path), "package": None, "module": None}
    assert script_detection._this_process() == expected
    spec: Any = types.SimpleNamespace(name="package.train")
    main.__package__, main.__spec__ = "package", spec
    assert script_detection._this_process() == {**expected, "package": "package", "module": "package.train"}


def test_where_a_few_modules_do_not_do_all_are_imported_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what was imported of the few."""

    def import_half(request: Any) -> None:
        sys.modules["clearml_half"] = types.ModuleType("clearml_half")
        raise ImportError

    monkeypatch.setattr(script_detection, "_import_no_torch", lambda: None)
    monkeypatch.setattr(sdk, "import_detection_only", import_half)
    assert script_detection._detect_fast({}) == (HERE.script, list(HERE.warnings))
    assert "clearml_half" not in sys.modules
    asked: list[Any] = []
    monkeypatch.setattr(sdk, "import_detection_only", asked.append)
    assert script_detection._detect_fast({"cwd": "/"}) == (HERE.script, list(HERE.warnings))
    assert asked == [{"cwd": "/"}]


def test_torch_is_found_without_its_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it is installed; ClearML asks for its TensorBoard."""
    names = ("torch", "torch.utils", "torch.utils.tensorboard")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    script_detection._import_no_torch()
    assert not [name for name in names if name in sys.modules]
    spec: Any = types.SimpleNamespace(origin="torch/__init__.py")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    script_detection._import_no_torch()
    assert [sys.modules[name].__spec__ for name in names] == [spec] * 3
    for name in names:
        del sys.modules[name]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script outside of repositories, that this process seems to run; ClearML is not configured."""
    monkeypatch.delenv("CLEARML_CONFIG_FILE")
    path = tmp_path / "folder" / "train.py"
    path.parent.mkdir()
    path.write_text("import attrs\n")
    monkeypatch.chdir(path.parent)
    monkeypatch.setattr("sys.argv", ["train.py", "--lr", "1"])
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    return path


def begun(log: Path) -> Detection:
    """Starts a process that detects the script."""
    detection = start(log)
    assert isinstance(detection, Detection)
    return detection


def test_the_result_is_in_the_log_and_known(log: Path, script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `chdir`, another argv and other results come too late; the next group needs no process."""
    detection = begun(log)
    monkeypatch.chdir("/")
    monkeypatch.setattr("sys.argv", ["other.py"])
    assert detection.wait(60)
    found = detection.result()
    assert found.script is not None
    assert found.script["diff"] == "import attrs\n"
    assert (found.script["entry_point"], found.script["working_dir"]) == ("train.py", ".")
    assert "\nattrs == " in found.script["requirements"]["pip"]
    (line,) = [*iterate(log)]
    assert (line["event"], line["pid"], line["script"]) == ("script", os.getpid(), found.script)
    monkeypatch.chdir(script.parent)
    monkeypatch.setattr("sys.argv", ["train.py", "--lr", "1"])
    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert start(log) == found


@pytest.mark.slow
def test_what_the_script_has_required_is_in_the_packages(log: Path, script: Path) -> None:
    """`Task.add_requirements` and `Task.ignore_requirements` of this process hold in the other."""
    from clearml.backend_interface.task.task import Task

    forced, ignored = dict(Task._force_requirements), set(Task._ignore_requirements)
    Task._force_requirements["numpy"] = "1.2.3"
    Task._ignore_requirements.add("attrs")
    try:
        detection = begun(log)
    finally:
        Task._force_requirements.clear()
        Task._force_requirements.update(forced)
        Task._ignore_requirements.intersection_update(ignored)
    assert detection.wait(60)
    packages = (detection.result().script or {})["requirements"]["pip"]
    assert "\nnumpy == 1.2.3\n" in packages
    assert "\nattrs" not in packages


@pytest.mark.slow
def test_storage_packages_that_clearml_would_use_are_in_the_packages(
    log: Path, script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ClearML lists `google.cloud.storage` if it can be imported, with the HTTP library that it needs."""
    installed = tmp_path / "site-packages"
    (installed / "google_cloud_storage-1.2.3.dist-info").mkdir(parents=True)
    (installed / "google" / "cloud").mkdir(parents=True)
    module = installed / "google" / "cloud" / "storage.py"
    module.write_text("import requests\nrequests.Session().headers\n")
    monkeypatch.syspath_prepend(installed)
    detection = begun(log)
    assert detection.wait(60)
    assert "\ngoogle_cloud_storage == 1.2.3\n" in (detection.result().script or {})["requirements"]["pip"]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_leaves_the_process_alone(log: Path, script: Path) -> None:
    """The child waits for nothing, and its copy of the process warns of nothing."""
    detection = begun(log)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if detection.wait(0) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert detection.wait(60)
    assert detection.result().script is not None


@pytest.mark.slow
def test_a_run_that_cannot_be_opened_leaves_no_process(log: Path, script: Path) -> None:
    """`stop` ends the process before it has logged anything."""
    detection = begun(log)
    detection.stop()
    assert detection.process.returncode != 0
    assert json.loads(log.read_text() or "[]") == []


@pytest.mark.slow
def test_another_version_of_clearml_is_imported_whole(
    log: Path, script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the few modules do not do, all of ClearML is imported, and the result is the same."""
    detection = begun(log)
    assert detection.wait(60)
    (tmp_path / "breaks").mkdir()
    hook = "import clearml_taskgroup._clearml.sdk as sdk\nsdk.import_detection_only = None\n"
    (tmp_path / "breaks" / "sitecustomize.py").write_text(hook)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'breaks'}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(script_detection, "_known", {})
    (tmp_path / "other.jsonl").touch()
    other = begun(tmp_path / "other.jsonl")
    assert other.wait(60)
    assert other.result() == detection.result()


GIT = """#!/bin/sh
echo "optional locks: $GIT_OPTIONAL_LOCKS" > {folder}/index.lock
trap 'mv {folder}/index.lock {folder}/removed; exit 1' TERM
kill -ALRM $PPID
sleep 60 &
wait
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs signals")
def test_a_git_that_hangs_is_ended_with_its_lock_removed(
    log: Path, script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its time limit the process ends, and git, which removes its lock and takes no needless one."""
    (tmp_path / "git").write_text(GIT.format(folder=tmp_path))
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    detection = begun(log)
    assert detection.wait(60)
    assert detection.process.returncode == -signal.SIGTERM
    deadline = time.monotonic() + 60
    while not (tmp_path / "removed").exists() and time.monotonic() < deadline:  # git is not our child
        time.sleep(0.01)
    assert (tmp_path / "removed").read_text() == "optional locks: 0\n"
