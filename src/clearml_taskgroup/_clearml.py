"""The only module that imports clearml.

Nothing is imported before it is needed (`import clearml` takes half a second). Every use of a
part of ClearML that is not documented as public is listed here, with its reason; `tests/
test_clearml.py` tries each on the lowest and the newest supported version:

* `Task._Task__main_task`: the documented `Task.current_task()` calls `Task.init` in the child
  processes of a script that has a main task.
* `Task._Task__reporter`, its `stop()`: ends the reporting thread of one attached task; the
  documented `Task.close()` zips the whole session as well.
* `Task._Task__exit_hook`: to recognise ClearML's own signal handler.
* `clearml.config.get_cache_dir` and `config_obj`: where offline sessions lie, and whether a
  server is configured; no documented call tells either without a connection.
* `clearml.backend_interface.task.repo.ScriptInfo.get`: repository, commit, diff, entry point and
  requirements, as `Task.init` detects them, which puts them on the main task alone.
* `Session._sessions_weakrefs` and `Task._default_session`: the documented `Task.set_offline(False)`
  connects every session that was made offline, which blocks without a network and raises without
  credentials; so it gets to see none, and whoever needs a session next makes a new one.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

SCRIPT_FIELDS = (
    "repository",
    "branch",
    "version_num",
    "entry_point",
    "working_dir",
    "diff",
    "requirements",
    "binary",
)


@attrs.define
class _Switch:
    """Who needs ClearML's offline switch turned on, and the default session from before."""

    lock: threading.Lock = attrs.field(factory=threading.Lock)
    holders: int = 0
    session: Any = None


_switch = _Switch()


def main_task() -> Any | None:
    """Gives the script's own `Task.init` task, if there is one in this process."""
    if "clearml" not in sys.modules:
        return None
    from clearml import Task

    return getattr(Task, "_Task__main_task")  # noqa: B009 - mypy knows no mangled names


def task_mode() -> Literal["online", "offline"]:
    """Gives what ClearML is set to at this moment, for the whole process."""
    from clearml import Task

    return "offline" if Task.is_offline() else "online"


def is_configured() -> bool:
    """Tells whether ClearML knows credentials for a server, from a file or the environment."""
    from clearml.config import config_obj

    if any(os.environ.get(name) for name in ("CLEARML_API_ACCESS_KEY", "CLEARML_AUTH_TOKEN")):
        return True
    return bool(config_obj.get("api.credentials.access_key", None))


def cache_folder() -> Path:
    """Gives ClearML's cache folder, below which it keeps offline sessions in `offline/`."""
    from clearml.config import get_cache_dir

    return Path(get_cache_dir()).absolute()


def go_offline() -> bool:
    """Turns ClearML's process-wide offline switch on, for one holder.

    Only called where no main task is live (a mode that contradicts one is refused before).

    Returns:
        Whether the caller holds the switch, and has to let go with `go_back_online`.
    """
    from clearml import Task

    with _switch.lock:
        if _switch.holders == 0:
            if Task.is_offline():
                return False
            _switch.session = Task._default_session
            Task.set_offline(True)
        _switch.holders += 1
        return True


def go_back_online() -> None:
    """Lets go of the switch; the last holder turns it back.

    Not if a main task has come to live offline since.
    """
    from clearml import Task
    from clearml.backend_api import Session

    with _switch.lock:
        _switch.holders -= 1
        if _switch.holders or main_task() is not None:
            return
        Session._sessions_weakrefs = []
        Task.set_offline(False)
        Task._set_default_session(_switch.session)
        _switch.session = None


def open_task(task_id: str) -> Any:
    """Opens ClearML's own object for an existing task or offline session."""
    from clearml import Task

    return Task.get_task(task_id=task_id)


def set_parameters(task: Any, params: Mapping[str, Any]) -> None:
    """Adds parameters to the section `General` through ClearML's own object."""
    task.update_parameters({f"General/{name}": value for name, value in params.items()})


def settle(task: Any, timeout: float) -> None:
    """Waits until a task's own logger and uploads are through, then ends its reporting thread.

    Raises:
        TimeoutError: They were not through after `timeout` seconds.
    """
    flush(task, timeout)
    reporter = getattr(task, "_Task__reporter", None)
    if reporter is not None:
        reporter.stop()


def flush(task: Any, timeout: float) -> None:
    """Waits until what was reported to a task by ClearML's own logger is through.

    Raises:
        TimeoutError: It was not through after `timeout` seconds; ClearML's call knows no limit.
    """
    waiting = threading.Thread(target=task.flush, kwargs={"wait_for_uploads": True}, daemon=True)
    try:
        waiting.start()
    except RuntimeError:  # the interpreter is ending and starts no thread any more
        task.flush(wait_for_uploads=True)
        return
    waiting.join(timeout)
    if waiting.is_alive():
        raise TimeoutError(f"ClearML's own uploads of the task {task.id} took over {timeout:.0f} s")


def detect_script() -> dict[str, Any] | None:
    """Detects repository, commit, diff, entry point and requirements of the running script.

    Returns:
        The fields of ClearML's `script` property, or None where there is no script (a console).
    """
    from clearml.backend_interface.task.repo import ScriptInfo

    result, _ = ScriptInfo.get([sys.argv[0]], create_requirements=True, log=_quiet())
    if not result.script:
        return None
    script = ScriptInfo.detect_running_module(result.script)
    return {field: script[field] for field in SCRIPT_FIELDS if script.get(field)}


def is_signal_handler(handler: Any) -> bool:
    """Tells whether a signal handler is the one that `Task.init` installs."""
    if "clearml" not in sys.modules:
        return False
    from clearml import Task

    hook = getattr(Task, "_Task__exit_hook", None)
    return hook is not None and getattr(handler, "__self__", None) is hook


def _quiet() -> Any:
    import logging

    logger = logging.getLogger("clearml_taskgroup.provenance")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger
