"""All uses of the clearml package: no other module imports it.

clearml is imported inside of the functions, because `import clearml` takes half a second. These parts
of it are private or not documented; `tests/clearml/test_sdk.py` tries each on the lowest and the newest
supported version:

* `Task._Task__main_task`: the task of `Task.init`. The documented `Task.current_task()` may call
  `Task.init` in a child process of a script that has a main task.
* `Task._Task__exit_hook`: recognises ClearML's own signal handler.
* `Task._Task__reporter`, `Task._summary_artifacts()` and, of a model, `_reporter`, with `flush()`,
  `wait_for_events()` and `stop()`: write what is waiting and end the threads of one attached task. The
  documented `Task.close()` also zips the whole session. Without its `_report_service`, ClearML does not wait
  for a server that is away as the interpreter ends.
* `Task._edit()`, `Task._save_data_to_offline_dir()` and `Task._offline_output_models`: an attached task
  keeps its section `TaskGroup`, and what somebody else wrote into its session's `task.json`.
* `OutputModel.published`, `OutputModel.get_offline_mode_folder()` and `OutputModel._set_package_tag()`,
  which are replaced, with `_task` and `_get_base_model()`: offline, ClearML's own raise an error for each
  model of a new file, of several files, and of a task that is not the script's main one.
* `Reporter._report()`, `Metrics._do_write_events()` (with `UploadEvent`), `Model.update_and_upload()` and
  `Model._upload_model()` of `clearml.backend_interface` are replaced by functions that call them and look
  at the result: ClearML itself tells nobody that an upload in the background, or a request, has failed.
* `Metrics._upload_pool`, `Metrics._file_upload_pool`, `Session._Session__http_session`, and of the storage
  helper `_helpers`, `_driver` and `_containers`: a forked child gets new threads and connections.
* `Framework._get_file_ext()`: which framework wrote a file of weights, by its extension.
* `Session._sessions_weakrefs`, `Task._default_session` and `Task._set_default_session()`: turn the
  offline switch back. The documented `Task.set_offline(False)` connects every session that was made
  offline, which blocks without a network and raises without credentials. So it is shown no session, and
  the default session from before is put back.
* `clearml.config.config_obj` and `get_cache_dir`: whether a server is configured, and where offline
  sessions are. Documented calls need a connection for that.
* `clearml.backend_api.Session` with `host`, `token`, `config`, `refresh_token()`, `get_api_server_host()`,
  `get_app_server_host()`, `get_files_server_host()` and `check_min_api_server_version()`: addresses,
  credentials and the token. Its own `send_request` repeats a call for hours, and the end of a block could
  not limit that.
* `Session._send_request()` is overridden, with which the session logs in: its own repeats a login for ever
  where the server's certificate is not accepted, and waits without end for a slow answer.
* `clearml.backend_interface.task.repo.ScriptInfo` with `get` and `detect_running_module`: repository,
  commit, diff, entry point and requirements. `Task.init` detects them for the main task alone.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
import time
import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
import requests

from .._model import limits
from .._model.backoff import Backoff
from ..errors import ProvenanceWarning
from . import after_fork as after_fork
from . import failed_uploads, http_request, offline_models
from .answers import is_clearml, summary
from .concurrent import call_in_time
from .hyperparameters import SECTION
from .login_errors import TEMPORARY_STATUSES, LoginDelayed, login_error, no_answer
from .session_file import read_session, write_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import clearml as clearml

    from .failed_uploads import FailedUpload

MIN_LOGIN_RETRY_DELAY_S, MAX_LOGIN_RETRY_DELAY_S = 0.5, 5.0

SCRIPT_FIELDS = (
    *("repository", "branch", "version_num", "entry_point", "working_dir"),
    *("diff", "requirements", "binary"),
)


@attrs.define
class _Switch:
    """How many backends need ClearML's offline switch on, and the default session from before."""

    lock: threading.Lock = attrs.field(factory=threading.Lock)
    holders: int = 0
    session: Any = None


_switch = _Switch()


@attrs.define
class Connection:
    """The addresses of ClearML's servers, and the token for them.

    Attributes:
        host: The API server's address, without a `/` at its end.
        files: The files server's address.
        web: The web server's address, None if ClearML does not know it.
        verify: Whether the server's certificate is checked, or the path of the authorities' certificates.
        new_pages: Whether the web pages' paths say "tasks" (API 2.31 and newer), not "experiments".
    """

    host: str
    web: str | None
    files: str
    verify: bool | str
    new_pages: bool
    _session: Any

    def token(self, timeout: float | None = None) -> str:
        """Gives a valid token; ClearML's session renews it before it expires.

        Args:
            timeout: Seconds that a renewal may take, `limits.LOGIN_TIMEOUT_S` by default and at most.

        Raises:
            LoginError: It had to be renewed, and the server refused.
            LoginDelayed: It had to be renewed, and the server was away.
        """
        self._limit(timeout)
        try:
            return str(self._session.token)
        except Exception as error:
            raise login_error(error) from error

    def renew(self, timeout: float | None = None) -> None:
        """Gets a new token, because the server refused the old one; see `token`.

        Raises:
            LoginError: The server refuses the credentials.
            LoginDelayed: The server was away.
        """
        self._limit(timeout)
        try:
            self._session.refresh_token()
        except Exception as error:
            raise login_error(error) from error

    def _limit(self, timeout: float | None) -> None:
        longest = limits.LOGIN_TIMEOUT_S
        self._session.answer_timeout = longest if timeout is None else min(timeout, longest)

    def disconnect(self) -> None:
        """Closes the idle connection of ClearML's session, which opens another one for its next token."""
        self._session.http.close()


def api_server() -> tuple[str, bool | str]:
    """Reads from the configuration: the API server's address, and how to check its certificate.

    Returns:
        The address; and whether to check it, or the path of the authorities' certificates.
    """
    from clearml.backend_api import Session
    from clearml.config import config_obj

    return str(Session.get_api_server_host()).rstrip("/"), _verify(config_obj)


def _verify(config: Any) -> bool | str:
    """Reads the setting as ClearML does: a switch, or the path of the authorities' certificates."""
    given = os.environ.get("CLEARML_API_HOST_VERIFY_CERT") or os.environ.get("TRAINS_API_HOST_VERIFY_CERT")
    value = given or config.get("api.verify_certificate", True)
    return _SWITCHES.get(value.lower(), value) if isinstance(value, str) else bool(value)


_SWITCHES: dict[str, bool | str] = {
    **dict.fromkeys(("y", "yes", "t", "true", "on", "1"), True),
    **dict.fromkeys(("n", "no", "f", "false", "off", "0"), False),
}


def connect(timeout: float | None = None) -> Connection:
    """Logs in to the configured server; tries again while it does not answer.

    Args:
        timeout: The most seconds to try for, `limits.LOGIN_TIMEOUT_S` by default.

    Raises:
        LoginError: It refuses the credentials (raised at once), or cannot be reached.
    """
    kind, host = _session_class(), api_server()[0]  # ClearML cannot read its settings in two threads at once
    deadline = time.monotonic() + (limits.LOGIN_TIMEOUT_S if timeout is None else timeout)
    backoff = Backoff(MIN_LOGIN_RETRY_DELAY_S, MAX_LOGIN_RETRY_DELAY_S)
    sessions: list[Any] = []
    while True:
        kind.answer_timeout = left = max(1.0, deadline - time.monotonic())
        try:
            # In a thread: looking up the server's name keeps to no limit.
            call_in_time(lambda: sessions.append(kind()), left + 0.5, "the login")
            break
        except TimeoutError as error:
            raise LoginDelayed(f"cannot log in: {host} did not answer in time") from error
        except Exception as error:  # requests', urllib3's and ClearML's own
            problem, pause = login_error(error), backoff.next_pause()
            if not isinstance(problem, LoginDelayed) or time.monotonic() + pause > deadline:
                raise problem from error
        time.sleep(pause)
    (session,) = sessions
    try:
        web: str | None = kind.get_app_server_host().rstrip("/")
    except ValueError:
        web = None
    return Connection(
        host=str(session.host).rstrip("/"),
        web=web,
        files=kind.get_files_server_host().rstrip("/"),
        verify=session.verify,
        new_pages=bool(kind.check_min_api_server_version("2.31")),
        session=session,
    )


@lru_cache(maxsize=1)
def _session_class() -> Any:
    """Makes the class of ClearML's session whose requests have a time limit and are not repeated."""
    from clearml.backend_api import Session

    class LimitedSession(Session):
        answer_timeout = limits.LOGIN_TIMEOUT_S

        def _connect(self) -> None:
            self.http, self.verify = http_request.new_session(), _verify(self.config)
            super()._connect()

        def _send_request(self, service: str, action: str, *args: Any, **request: Any) -> Any:
            known = ("headers", "auth", "data", "json", "params")
            given = {name: request[name] for name in known if request.get(name)}
            method, url = request.get("method") or "get", f"{self.host}/{service}.{action}"
            try:
                answer = http_request.send(
                    self.http, method, url, timeout=self.answer_timeout, verify=self.verify, **given
                )
            except requests.RequestException as error:
                raise no_answer(self.host, error) from error
            try:
                content = answer.json()
            except ValueError:
                content = None
            if not is_clearml(content) or answer.status_code in TEMPORARY_STATUSES:
                odd = f"{self.host} does not answer as a ClearML API server does"
                raise LoginDelayed(f"cannot log in: {odd}: {summary(answer)}")
            return answer

    return LimitedSession


def upload_file(local: Path, url: str) -> str:
    """Uploads a file to ClearML's files server or another storage; returns its address as a link.

    Raises:
        FileNotUploaded: The storage is away or refuses.
    """
    from clearml import StorageManager

    try:
        if problem := failed_uploads.connection_problem(url):  # ClearML would try for a minute
            raise problem
        return str(StorageManager.upload_file(local_file=local.as_posix(), remote_url=url))
    except Exception as error:  # each storage has exceptions of its own
        raise failed_uploads.FileNotUploaded.of(local.name, url, error) from error


def watch_uploads(
    task_id: str,
    keep: Callable[[FailedUpload], bool],
    done: Callable[[str], None],
    resend: Callable[[list[dict[str, Any]]], None],
) -> None:
    """Watches what ClearML's own object of a task uploads and sends; see `failed_uploads.watch`."""
    _hook_uploads()
    failed_uploads.watch(task_id, keep, done, resend)


@functools.cache
def _hook_uploads() -> None:
    from clearml.backend_interface.metrics import Metrics, Reporter
    from clearml.backend_interface.metrics.events import UploadEvent
    from clearml.backend_interface.model import Model

    failed_uploads.hook(Reporter, Metrics, UploadEvent, Model)


def agent_task_id() -> str | None:
    """Gives the id of the task that a ClearML agent runs this script as; None without an agent."""
    return os.environ.get("CLEARML_TASK_ID") or None


def main_task() -> Any | None:
    """Gives the task of the script's `Task.init`; None if this process has none."""
    if "clearml" not in sys.modules:
        return None
    from clearml import Task

    return getattr(Task, "_Task__main_task")  # noqa: B009 - mypy knows no mangled names


def task_mode() -> Literal["online", "offline"]:
    """Gives the mode that ClearML is set to now, for the whole process."""
    from clearml import Task

    return "offline" if Task.is_offline() else "online"


def is_configured() -> bool:
    """Whether ClearML has credentials for a server, from a file or the environment."""
    from clearml.config import config_obj

    if any(os.environ.get(name) for name in ("CLEARML_API_ACCESS_KEY", "CLEARML_AUTH_TOKEN")):
        return True
    return bool(config_obj.get("api.credentials.access_key", None))


def cache_folder() -> Path:
    """Gives ClearML's cache folder; offline sessions are in its folder `offline`."""
    from clearml.config import get_cache_dir

    folder = Path(get_cache_dir())
    if not folder.is_absolute():
        # ClearML's own objects must find it, too, after the script has changed its directory.
        folder = folder.absolute()
        os.environ["CLEARML_CACHE_DIR"] = str(folder)
    return folder


def go_offline() -> bool:
    """Turns ClearML's process-wide offline switch on.

    Only called without a live main task: a mode that contradicts one is refused before.

    Returns:
        Whether the caller has to call `go_back_online` later; False if the user turned the switch on.
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
    """Turns the offline switch back, once each caller of `go_offline` has called this.

    Not if a main task was started offline in the meantime.
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
    import clearml

    task: Any = clearml.Task.get_task(task_id=task_id)
    task.reload()  # else ClearML stores debug samples of an offline session under "unknown"
    _keep_identity(task)
    if clearml.Task.is_offline():
        _keep_session(task)
        offline_models.allow(clearml)
    return task


def _keep_identity(task: Any) -> None:
    """Keeps the section `TaskGroup`: ClearML's `set_parameters` replaces all sections."""
    identity, edit = (task.data.hyperparams or {}).get(SECTION), task._edit

    def edit_and_keep(**fields: Any) -> Any:
        if identity and fields.get("hyperparams") is not None:
            fields["hyperparams"].setdefault(SECTION, identity)
        return edit(**fields)

    task._edit = edit_and_keep


def _keep_session(task: Any) -> None:
    """Makes a task write only what it changed into its `task.json`, and the whole file at once.

    ClearML writes its own copy of all fields, and a process that is killed meanwhile leaves half a file.
    """
    path = Path(task.get_offline_mode_folder()) / "task.json"
    task._offline_output_models = read_session(path).get("offline_output_models", [])
    before, lock = task.data.to_dict(), threading.Lock()

    def save(**fields: Any) -> None:
        nonlocal before
        for name, value in fields.items():
            setattr(task.data, name, value)
        with lock:
            now = json.loads(json.dumps(task.data.to_dict()))
            changed = {name: now.get(name) for name in {**before, **now} if now.get(name) != before.get(name)}
            stored = read_session(path) | changed
            before = now
            stored["project_name"] = task.get_project_name()
            stored["offline_output_models"] = task._offline_output_models
            write_session(path, json.dumps({k: v for k, v in stored.items() if v is not None}))

    task._save_data_to_offline_dir = save


def model_framework(framework: str | None, filename: str) -> str | None:
    """Gives the framework of a model; None if nobody named it and the file's extension does not tell."""
    from clearml.model import Framework

    found: str | None = Framework._get_file_ext(framework=framework, filename=filename)[0]
    return found


def set_parameters(task: Any, entries: Iterable[Mapping[str, str]]) -> None:
    """Adds hyperparameters through ClearML's own object.

    Values are given as text with their type, because ClearML drops values that are not builtin.
    """
    for entry in entries:
        name = f"{entry['section']}/{entry['name']}"
        task.set_parameter(name, entry["value"], value_type=entry["type"])


def wait_for_uploads(task: Any, timeout: float) -> None:
    """Waits until a task's own logger, artifacts and models are done, then ends their threads.

    Raises:
        TimeoutError: They were not done after `timeout` seconds.
    """

    def finish() -> None:
        task._summary_artifacts()  # uploads registered data frames once more
        task.flush(wait_for_uploads=True)
        models = vars(task).pop(offline_models.REPORTING_MODELS, [])
        for reporter in (getattr(task, "_Task__reporter", None), *(model._reporter for model in models)):
            if reporter is not None:
                reporter.flush()
                reporter.wait_for_events()
                reporter.stop()
        if task.is_offline():
            task._edit()  # writes the list of models

    call_in_time(finish, timeout, _uploads(task))


def flush(task: Any, timeout: float) -> None:
    """Waits until what a task's own logger reported has been sent.

    Raises:
        TimeoutError: It was not sent after `timeout` seconds.
    """
    call_in_time(lambda: task.flush(wait_for_uploads=True), timeout, _uploads(task))


def _uploads(task: Any) -> str:
    return f"ClearML's own uploads of the task {task.id}"


def detect_script() -> dict[str, Any] | None:
    """Detects repository, commit, diff, entry point and requirements of the running script.

    Returns:
        The fields of ClearML's `script` property; None without a script (in a console).
    """
    from clearml.backend_interface.task.repo import ScriptInfo

    result, _ = ScriptInfo.get([sys.argv[0]], create_requirements=True)
    for message in result.warning_messages:  # for instance that the diff is too large to be stored
        warnings.warn(message.strip("=<> "), ProvenanceWarning, stacklevel=5)
    if not result.script:
        return None
    script = ScriptInfo.detect_running_module(result.script)
    return {field: script[field] for field in SCRIPT_FIELDS if script.get(field)}


def is_signal_handler(handler: Any) -> bool:
    """Whether a signal handler is the one that `Task.init` installs."""
    if "clearml" not in sys.modules:
        return False
    from clearml import Task

    hook = getattr(Task, "_Task__exit_hook", None)
    return hook is not None and getattr(handler, "__self__", None) is hook
