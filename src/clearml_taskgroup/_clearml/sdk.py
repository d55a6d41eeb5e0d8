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
* `clearml.backend_api.Session`, its `host`, `token`, `config`, `refresh_token()`,
  `_session_timeout`, `get_api_server_host()`, `get_app_server_host()` and
  `check_min_api_server_version()`: where the server is and who we are. Its own `send_request`
  waits for hours, without a limit that a block's end could set.
* `clearml.backend_interface.task.repo.ScriptInfo.get`: repository, commit, diff, entry point and
  requirements, as `Task.init` detects them, which puts them on the main task alone.
* `Session._sessions_weakrefs` and `Task._default_session`: the documented `Task.set_offline(False)`
  connects every session that was made offline, which blocks without a network and raises without
  credentials; so it gets to see none, and whoever needs a session next makes a new one.
"""

from __future__ import annotations

import os
import random
import re
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from ..errors import LoginError, ProvenanceWarning

if TYPE_CHECKING:
    from collections.abc import Mapping

LOGIN_PATIENCE = 30.0
"""Seconds for which a group that opens waits for a server that does not let anybody in."""
LOGIN_PAUSE, LONGEST_LOGIN_PAUSE = 0.5, 5.0
_PASSING = re.compile(
    r"ConnectionError|Timeout|RetryError|ChunkedEncodingError|\(error (?:408|429|5\d\d) from"
)
"""What ClearML's text for a failed login shows where another attempt may help."""

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


class LoginDelayed(LoginError):
    """A login that failed in a way that may pass."""


@attrs.define
class Connection:
    """Where ClearML's server is, and the token that opens it.

    Attributes:
        host: The API server's address, without a `/` at its end.
        files: The files server's address.
        web: The web server's address, or None where ClearML cannot tell.
        verify: Whether the server's certificate is checked.
        new_pages: Whether the web server speaks of tasks (API 2.31 and newer), not experiments.
    """

    host: str
    web: str | None
    files: str
    verify: bool
    new_pages: bool
    _session: Any

    def token(self) -> str:
        """Gives a token that is valid for a while; ClearML's session renews it in time.

        Raises:
            LoginError: It had to be renewed, and could not be (`LoginDelayed`: this time).
        """
        try:
            return str(self._session.token)
        except Exception as error:
            raise _login_error(error) from error

    def renew(self) -> None:
        """Gets a new token, because the server refused the old one.

        Raises:
            LoginError: The server refuses the credentials (`LoginDelayed`: it was away).
        """
        try:
            self._session.refresh_token()
        except Exception as error:
            raise _login_error(error) from error

    def disconnect(self) -> None:
        """Closes the idle connection of ClearML's session, which opens another one for its next token."""
        http = getattr(self._session, "_Session__http_session", None)
        if http is not None:
            http.close()


def api_server() -> tuple[str, bool]:
    """Gives the configured API server's address, and whether its certificate is checked; asks nobody."""
    from clearml.backend_api import Session
    from clearml.config import config_obj

    verify = bool(config_obj.get("api.verify_certificate", True))
    return str(Session.get_api_server_host()).rstrip("/"), verify


def connect(patience: float | None = None) -> Connection:
    """Logs in at the configured server, again for a while where it does not answer.

    Args:
        patience: Seconds to wait for it; None for those of a group that opens.

    Raises:
        LoginError: It cannot be reached, or refuses the credentials, which is told at once.
    """
    from clearml.backend_api import Session

    deadline = time.monotonic() + (LOGIN_PATIENCE if patience is None else patience)
    pause = LOGIN_PAUSE
    while True:
        retries = {"total": 2, "connect": 2, "read": 2, "status": 2, "redirect": 2, "backoff_factor": 0.1}
        try:
            session: Any = Session(http_retries_config=retries)
            break
        except Exception as error:  # requests', urllib3's and ClearML's own
            told = _login_error(error)
            if not isinstance(told, LoginDelayed) or time.monotonic() + pause > deadline:
                raise told from error
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(pause * 2, LONGEST_LOGIN_PAUSE)
    session._session_timeout = (10.0, 60.0)  # ClearML's own limit for a new token is five minutes
    try:
        web: str | None = Session.get_app_server_host().rstrip("/")
    except ValueError:
        web = None
    return Connection(
        host=str(session.host).rstrip("/"),
        web=web,
        files=Session.get_files_server_host().rstrip("/"),
        verify=bool(session.config.get("api.verify_certificate", True)),
        new_pages=bool(Session.check_min_api_server_version("2.31")),
        session=session,
    )


def upload_file(local: Path, url: str) -> None:
    """Uploads a file to ClearML's files server, or wherever the address points.

    Raises:
        LoginError: The server is away, or refuses.
    """
    from clearml import StorageManager

    try:
        StorageManager.upload_file(local_file=local.as_posix(), remote_url=url)
    except Exception as error:  # each storage has exceptions of its own
        raise LoginError(f"cannot upload {local.name} to {url}: {error}") from error


def _login_error(error: Exception) -> LoginError:
    kind = LoginDelayed if _PASSING.search(f"{type(error)} {error}") else LoginError
    return kind(f"cannot log in: {error}")


def agent_task_id() -> str | None:
    """Gives the id of the task that a ClearML agent runs this script as, if one does."""
    return os.environ.get("CLEARML_TASK_ID") or None


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

    task: Any = Task.get_task(task_id=task_id)
    task.reload()  # else ClearML files debug samples of an offline session under "unknown"
    return task


def set_parameters(task: Any, entries: Mapping[str, Mapping[str, str]]) -> None:
    """Adds hyperparameters through ClearML's own object.

    As text with its type: given the values themselves, ClearML drops those that are not builtin.
    """
    for entry in entries.values():
        name = f"{entry['section']}/{entry['name']}"
        task.set_parameter(name, entry["value"], value_type=entry["type"])


def wait_for_uploads(task: Any, timeout: float) -> None:
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

    result, _ = ScriptInfo.get([sys.argv[0]], create_requirements=True)
    for message in result.warning_messages:  # of a diff that is too large to be stored
        warnings.warn(message.strip("=<> "), ProvenanceWarning, stacklevel=5)
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
