"""All uses of the clearml package but those of `bindings`: no other module imports it.

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
* `Task._get_model_config_text()`: a model's design is not the configuration object `TaskGroup`.
* `OutputModel.published`, `get_offline_mode_folder()`, `_set_package_tag()` and `_update_weights_offline()`,
  which are replaced, with `_task` and `_get_base_model()`: offline, ClearML's own raise an error for each
  model of a new file, of several files, and of a task that is not the script's main one; and models of one
  file name get one file of weights.
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
* `clearml.backend_api.Session`: `login` derives a class from it, and lists what it uses.
* `clearml.backend_interface.task.repo.ScriptInfo` with `get` and `detect_running_module`, and what its
  `get_requirements()` reads of `clearml.backend_interface.task.task.Task` (`_force_requirements`,
  `_ignore_requirements`, `_force_store_standalone_script`): repository, commit, diff, entry point and
  requirements. `Task.init` detects them for the main task alone, and `import clearml` takes half a second.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from . import after_fork as after_fork
from . import settings
from .concurrent import call_in_time
from .hyperparameters import SECTION
from .session_file import read_session, write_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import clearml as clearml

    from .failed_uploads import FailedUpload

SCRIPT_FIELDS = (
    *("repository", "branch", "version_num", "entry_point", "working_dir"),
    *("diff", "requirements", "binary"),
)


class _Switch:
    """How many backends need ClearML's offline switch on, and the default session from before."""

    lock = threading.Lock()
    holders = 0
    session: Any = None


_switch = _Switch()


def session_class() -> Any:
    """Gives the class of ClearML's sessions, which log in and hold the token."""
    from clearml.backend_api import Session

    return Session


def configuration() -> Any:
    """Gives ClearML's configuration: `clearml.conf`, with what environment variables replace."""
    from clearml.config import config_obj

    return config_obj


def upload_file(local: Path, url: str) -> str:
    """Uploads a file to ClearML's files server or another storage; returns its address as a link.

    Raises:
        FileNotUploaded: The storage is away or refuses.
    """
    from clearml import StorageManager

    from . import failed_uploads

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
    from . import failed_uploads

    _hook_uploads()
    failed_uploads.watch(task_id, keep, done, resend)


@functools.cache
def _hook_uploads() -> None:
    from clearml.backend_interface.metrics import Metrics, Reporter
    from clearml.backend_interface.metrics.events import UploadEvent
    from clearml.backend_interface.model import Model

    from .failed_uploads import hook

    hook(Reporter, Metrics, UploadEvent, Model)


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
    if (known := settings.task_mode()) is not None:
        return known
    from clearml import Task

    return "offline" if Task.is_offline() else "online"


def is_configured() -> bool:
    """Whether ClearML has credentials for a server, from a file or the environment."""
    if (known := settings.is_configured()) is not None:
        return known
    if any(os.environ.get(name) for name in ("CLEARML_API_ACCESS_KEY", "CLEARML_AUTH_TOKEN")):
        return True
    return bool(configuration().get("api.credentials.access_key", None))


def cache_folder() -> Path:
    """Gives ClearML's cache folder; offline sessions are in its folder `offline`."""
    folder = settings.cache_folder()
    if folder is None:
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
    _keep_identity_from_models(task)
    if clearml.Task.is_offline():
        from . import offline_models

        _keep_session(task)
        offline_models.allow(clearml)
    return task


def _keep_identity(task: Any) -> None:
    """Keeps a task's identity: ClearML's `set_parameters` replaces all sections."""
    edit = task._edit
    kept = {name: (getattr(task.data, name) or {}).get(SECTION) for name in ("hyperparams", "configuration")}

    def edit_and_keep(**fields: Any) -> Any:
        for name, identity in kept.items():
            if identity and fields.get(name) is not None:
                fields[name].setdefault(SECTION, identity)
        return edit(**fields)

    task._edit = edit_and_keep


def _keep_identity_from_models(task: Any) -> None:
    """Has models not inherit the identity: they take the first configuration object for their design."""

    def text() -> str:
        objects = {name: each for name, each in (task.data.configuration or {}).items() if name != SECTION}
        return str(objects[min(objects)].value or "") if objects else ""

    task._get_model_config_text = text


def _keep_session(task: Any) -> None:
    """Makes a task write only what it changed into its `task.json`, and the whole file at once.

    ClearML writes its own copy of all fields, and a process that is killed meanwhile leaves half a file.
    """
    from .offline_models import merged

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
            stored["offline_output_models"] = merged(stored, task)
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
    from .offline_models import REPORTING_MODELS

    def finish() -> None:
        task._summary_artifacts()  # uploads registered data frames once more
        task.flush(wait_for_uploads=True)
        models = vars(task).pop(REPORTING_MODELS, [])
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


def detect_script() -> tuple[dict[str, Any] | None, list[str]]:
    """Detects repository, commit, diff, entry point and requirements of the running script.

    Returns:
        The fields of ClearML's `script` property, None without a script (in a console); and the warnings.
    """
    from clearml.backend_interface.task.repo import ScriptInfo
    from clearml.backend_interface.task.task import Task

    result, requirements = ScriptInfo.get(
        [sys.argv[0]],
        create_requirements=False,
        check_uncommitted=_development("store_uncommitted_code_diff", True),
        uncommitted_from_remote=_development("store_code_diff_from_remote", False),
        force_single_script=Task._force_store_standalone_script,
    )
    warnings = [message.strip("=<> ") for message in result.warning_messages]  # such as a diff too large
    if not result.script:
        return None, warnings
    entry_point = Path(result.script["working_dir"], result.script["entry_point"])
    script = ScriptInfo.detect_running_module(result.script)
    if requirements is not None:  # None in a notebook
        whole = _development("force_analyze_entire_repo", False)
        pip, conda = requirements.get_requirements(
            entry_point_filename=None if whole else str(entry_point),
            detailed_req_report=_development("detailed_import_report", False),
        )
        if pip:
            script["requirements"] = {"pip": pip, "conda": conda}
    return {field: script[field] for field in SCRIPT_FIELDS if script.get(field)}, warnings


def _development(name: str, default: bool) -> bool:
    """Gives a setting of detection; parses ClearML's configuration, which is slow, only if there is one."""
    if not settings.may_be_configured():
        return default
    from clearml.config import config

    return bool(config.get(f"development.{name}", default))


def detection_options() -> dict[str, Any]:
    """Gives what `Task.add_requirements` and the like have set for the detection of scripts, for JSON."""
    if "clearml" not in sys.modules:
        return {}
    from clearml.backend_interface.task.task import Task

    return {
        "_force_requirements": dict(Task._force_requirements),
        "_ignore_requirements": sorted(Task._ignore_requirements),
        "_force_store_standalone_script": bool(Task._force_store_standalone_script),
    }


def import_detection_only(options: Mapping[str, Any]) -> None:
    """Lets `detect_script` import the few modules of ClearML that it needs: a quarter of the time.

    Only for a process that does nothing else: the packages on the way to these modules are empty, and there
    are stand-ins for what detection asks the other modules for.

    Args:
        options: Those of `detection_options` in the process of the script.
    """
    import importlib.util

    spec = importlib.util.find_spec("clearml")
    if spec is None or spec.origin is None:
        return
    task = types.SimpleNamespace(
        _force_requirements=options.get("_force_requirements", {}),
        _ignore_requirements=set(options.get("_ignore_requirements", ())),
        _force_store_standalone_script=options.get("_force_store_standalone_script", False),
    )
    empty = ("clearml", "clearml.backend_interface", "clearml.backend_interface.task")
    contents: dict[str, dict[str, Any]] = {
        **{name: {} for name in empty},
        "clearml.backend_interface.task.task": {"Task": task},
    }
    unread: tuple[str, ...] = ()
    if not settings.may_be_configured():
        session = types.SimpleNamespace(check_min_api_version=lambda version: True)
        contents["clearml.backend_api"] = {"Session": session, "load_config": None}
        unread = ("requests", "yaml", "pyparsing", "clearml.utilities.pyhocon")  # a configuration's parsers
        contents |= {name: {"__getattr__": lambda attribute: Exception} for name in unread}
    for name, content in contents.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        if name in empty:
            module.__path__ = [str(Path(spec.origin).parent.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = module
    sys.modules["clearml"].__spec__ = spec
    importlib.import_module("clearml.backend_interface.task.repo")
    for name in unread:  # ClearML tries to import what a script may need, such as `google.cloud.storage`
        del sys.modules[name]


def is_signal_handler(handler: Any) -> bool:
    """Whether a signal handler is the one that `Task.init` installs."""
    if "clearml" not in sys.modules:
        return False
    from clearml import Task

    hook = getattr(Task, "_Task__exit_hook", None)
    return hook is not None and getattr(handler, "__self__", None) is hook
