"""Models that frameworks save and load in the block of a task: its output and input models.

ClearML's bindings of joblib, PyTorch, XGBoost, LightGBM, CatBoost and Keras all call
`WeightsFileHandler`. ClearML's own functions there know a model by the path of its file alone, so that two
tasks which save `best.pt` would share one model; they hold one lock for the whole process while they copy;
and offline they lose every model.

These parts of ClearML are private; `tests/clearml/test_saved_models.py` tries each on the lowest and the
newest supported version: `WeightsFileHandler.create_output_model()` and `restore_weights_file()`, which are
replaced, its `ModelInfo` and callbacks; `OutputModel._model_local_filename` and `_base_model_id`; of the
backend's `Model`, `get_num_results()` and `_local_model_to_id_uri`, the models of the main task's files; and
`matches_any_wildcard()`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from .. import _fork
from .._log import logger
from .._model import limits
from . import failed_uploads, http_request, login, sdk
from .failed_uploads import FailedUpload

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from .._model.frameworks import Frameworks
    from .bindings import Target

Info = Any
"""ClearML's `WeightsFileHandler.ModelInfo`: what callbacks are given of a model."""
MODELS = "taskgroup_saved_models"
"""Begins the name of an attribute of an attached task: its models that frameworks saved."""
_TEMPORARY = "joblib_memmapping_folder_"  # joblib's own arrays, which its workers read
MAX_PENDING_UPLOADS = 2
FIRST_SERVER_ERROR = 500
_uploads = threading.Lock()


@_fork.in_child
def _renew_lock() -> None:
    global _uploads
    _uploads = threading.Lock()


@attrs.define(eq=False)
class SavedModels:
    """The models of one task that a framework saved.

    Attributes:
        by_path: The model of each file's path.
        uploaded_as: The path of each file, by the name under which it is uploaded.
        lock: Two threads may save to one path.
    """

    by_path: dict[str, Any] = attrs.field(factory=dict)
    uploaded_as: dict[str, str] = attrs.field(factory=dict)
    lock: threading.RLock = attrs.field(factory=threading.RLock)

    def upload_name(self, path: str, wanted: str) -> str:
        """Gives a file its name for the upload: that of a second `m.pkl` is `fold1/m.pkl`."""
        name = wanted
        for folder in reversed(Path(path).parts[1:-1]):
            if self.uploaded_as.setdefault(name, path) == path:
                break
            name = f"{folder}/{name}"
        return name


@attrs.define(eq=False)
class _Hook:
    clearml: Any
    last_saved: dict[str, str] = attrs.field(factory=dict)  # path -> id of the latest model there

    @property
    def handler(self) -> Any:
        return self.clearml.binding.frameworks.WeightsFileHandler

    def save(
        self,
        target: Target,
        weights: Any,
        saved_path: Any,
        framework: str | None,
        singlefile: bool,
        model_name: str | None,
        config: str | dict[str, Any] | None,
    ) -> None:
        """Makes, or updates, the output model of a file that was written."""
        path = _path(saved_path)
        if path is None or _TEMPORARY in path:
            return
        task = target.clearml_task()
        if not isinstance(task, self.clearml.Task):  # in the mode "disabled"
            return
        files = _files(Path(path), singlefile)
        if not files or not os.path.exists(files[0]):  # "s3://…", or a file that was removed meanwhile
            return
        name = Path(path).stem if len(files) > 1 else Path(files[0]).name
        info = self.handler.ModelInfo(None, name, path, saved_path, framework, task)
        info.weights_object = weights
        info = self._called(self.handler._model_pre_callbacks, self.handler.CallbackType.save, info)
        if info is None or not self._is_wanted(info, framework, target.frameworks):
            return
        info.weights_object = None
        if not task.is_offline() and (problem := server_problem()):
            raise problem  # ClearML would try for hours, and the training would wait
        if not task.is_offline() and not task.output_uri and (destination := self._destination()):
            task.storage_uri = destination  # not output_uri, which waits for a storage that is away
        # A forked child has its own, with a lock that no thread of its parent's holds.
        saved = vars(task).setdefault(f"{MODELS}_{os.getpid()}", SavedModels())
        with saved.lock:
            key = info.local_model_path
            is_new = key not in saved.by_path
            model = info.model or saved.by_path.get(key)
            if model is None:
                full_name = f"{task.name} - {model_name or Path(path).stem}"
                known = {str(model.id) for model in saved.by_path.values()}
                earlier = self._earlier_model(task, full_name, info.upload_filename, known)
                model = self.clearml.OutputModel(
                    task=task,
                    config_dict=config if isinstance(config, dict) else None,
                    config_text=config if isinstance(config, str) else None,
                    name=full_name,
                    label_enumeration=task.get_labels_enumeration(),
                    framework=framework,
                    base_model_id=None if task.is_offline() else earlier,
                )
                if task.is_offline():
                    model._base_model_id = earlier
            saved.by_path[key] = info.model = model
            info.weights_object = weights
            info = self._called(self.handler._model_post_callbacks, self.handler.CallbackType.save, info)
            info.weights_object = None
            filename = info.upload_filename
            if not task.is_offline():  # a session has a folder for each model
                filename = saved.upload_name(key, filename)
            update = functools.partial(
                _update, info.model, info, files, filename, is_new, target.last_iteration()
            )
            if task.is_offline() or not info.model.upload_storage_uri:
                update()
            else:
                with _uploads:
                    self._wait_for_earlier_uploads()
                    update()
            self.last_saved[path] = str(info.model.id)
            failed_uploads.begun(task.id, Path(path))

    def load(self, target: Target, filepath: Any, framework: str | None) -> None:
        """Makes the model of a file that was read an input model, as ClearML does online only."""
        path = _path(filepath)
        if path is None:
            return
        task = target.clearml_task()
        if not isinstance(task, self.clearml.Task) or task.is_offline():
            return
        info = self.handler.ModelInfo(None, None, path, filepath, framework, task)
        info = self._called(self.handler._model_pre_callbacks, self.handler.CallbackType.load, info)
        if info is None or not self._is_wanted(info, framework, target.frameworks):
            return
        if problem := server_problem():
            raise problem
        if info.model is None:
            known = self.clearml.backend_interface.model.Model._local_model_to_id_uri
            found = (
                self.last_saved.get(info.local_model_path) or known.get(filepath, known.get(path, [None]))[0]
            )
            info.model = (
                self.clearml.InputModel(found)
                if found
                else self.clearml.InputModel.import_model(
                    weights_url=info.local_model_path,
                    name=f"Imported by {task.name}",
                    comment=f"Imported by task id: {task.id}",
                    project=task.get_project_name(),
                    label_enumeration=task.get_labels_enumeration(),
                    framework=framework,
                )
            )
        info = self._called(self.handler._model_post_callbacks, self.handler.CallbackType.load, info)
        task.connect(info.model)

    def _earlier_model(self, task: Any, name: str, filename: str, known: Collection[str]) -> str | None:
        """Finds the model of a file that was saved before the task was opened again; gives its id."""
        if task.is_offline():
            for entry in task._offline_output_models:
                place = Path(entry["weights"]["weights_filename"] or "")
                if (entry["init"]["name"], place.name) == (name, filename) and entry["id"] not in known:
                    return str(entry["id"])
            return None
        listed = getattr(task.data.models, "output", None) or ()
        ids = [item.model for item in listed if item.name == Path(filename).stem and item.model not in known]
        return next((str(one) for one in ids if self.clearml.Model(one).name == name), None)

    def _destination(self) -> str | None:
        """Gives where models go unless the task itself says so, as `Task.init` decides it."""
        main = sdk.main_task()
        if main is not None:
            return main.output_uri or None
        default = self.clearml.config.config_obj.get("sdk.development.default_output_uri", None)
        return os.environ.get("CLEARML_DEFAULT_OUTPUT_URI") or default or None

    def _wait_for_earlier_uploads(self) -> None:
        """Waits as long as is needed; ClearML would sleep for 30 seconds, in the training thread."""
        deadline = time.monotonic() + limits.MODEL_UPLOAD_TIMEOUT_S
        pending = self.clearml.backend_interface.model.Model.get_num_results
        while pending() >= MAX_PENDING_UPLOADS:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the upload of earlier models does not end")
            self.clearml.OutputModel.wait_for_uploads(timeout=left, max_num_uploads=1)

    def _called(self, callbacks: Mapping[int, Callable[[Any, Info], Info]], kind: Any, info: Info) -> Info:
        """Calls the user's callbacks as ClearML does, and not that of the main task's own wildcards."""
        for callback in list(callbacks.values()):
            if getattr(callback, "__module__", "") != "clearml.task":
                with contextlib.suppress(Exception):
                    info = callback(kind, info)
        return info

    def _is_wanted(self, info: Info, framework: str | None, frameworks: Frameworks) -> bool:
        parents = self.clearml.model.Framework.get_framework_parents(framework)
        wanted = [wildcard for parent in parents for wildcard in frameworks.wildcards.get(parent, ())]
        matches = self.clearml.utilities.matching.matches_any_wildcard
        return not wanted or bool(matches(info.local_model_path, wanted))


def hook(clearml: Any, target_of: Callable[[Any], Target | None]) -> None:
    """Replaces what ClearML's bindings call when a model was saved or loaded; to be called once.

    Models of the script's own main task go to ClearML's own functions.

    Args:
        clearml: The package.
        target_of: Gives the task of a group that a binding's `_current_task` stands for, else None.
    """
    handler, own = clearml.binding.frameworks.WeightsFileHandler, _Hook(clearml)
    create, restore = handler.create_output_model, handler.restore_weights_file

    @functools.wraps(create)
    def create_output_model(
        model: Any,
        saved_path: Any,
        framework: str | None,
        task: Any,
        singlefile: bool = False,
        model_name: str | None = None,
        config_obj: str | dict[str, Any] | None = None,
    ) -> Any:
        target = target_of(task)
        if target is None:
            return create(model, saved_path, framework, task, singlefile, model_name, config_obj)
        try:
            own.save(target, model, saved_path, framework, singlefile, model_name, config_obj)
        except Exception as error:  # the training goes on
            with contextlib.suppress(Exception):
                _note_failure(target, saved_path, error)
        return saved_path

    @functools.wraps(restore)
    def restore_weights_file(model: Any, filepath: Any, framework: str | None, task: Any) -> Any:
        target = target_of(task)
        if target is None:
            return restore(model, filepath, framework, task)
        try:
            own.load(target, filepath, framework)
        except Exception as error:
            logger.warning(
                "the model %s was loaded, but is not listed as an input model: %s", filepath, error
            )
        return filepath

    handler.create_output_model = staticmethod(create_output_model)
    handler.restore_weights_file = staticmethod(restore_weights_file)


def server_problem() -> Exception | None:
    """Gives the reason why the API server does not answer, or that what stands before it does."""
    host, verify = login.api_server()
    try:
        with contextlib.closing(http_request.new_session()) as session:
            seconds = limits.API_CONNECT_TIMEOUT_S
            answer = http_request.send(session, "GET", f"{host}/debug.ping", timeout=seconds, verify=verify)
    except OSError as error:  # all errors of requests are
        return error
    if answer.status_code < FIRST_SERVER_ERROR:
        return None
    return ConnectionError(f"{host} answers {answer.status_code} {answer.reason}")


def _path(given: Any) -> str | None:
    try:
        return os.path.abspath(os.fsdecode(given)) if given else None
    except TypeError:  # a file object without a name
        return None


def _files(path: Path, singlefile: bool) -> list[str]:
    """Lists the files of one model, as ClearML does."""
    if path.is_dir():
        return [str(file) for file in path.rglob("*")]
    return [str(path)] if singlefile else [str(file) for file in path.parent.glob(f"{path.name}.*")]


def _update(model: Any, info: Info, files: list[str], filename: str, is_new: bool, iteration: int) -> None:
    """Gives a model its new weights: uploads them, or offline stores them in the session."""
    offline = info.task.is_offline()
    if not offline and not model.upload_storage_uri:
        model.update_weights(
            register_uri=info.local_model_path, is_package=len(files) > 1, update_comment=is_new
        )
    elif len(files) > 1:
        model.update_weights_package(
            weights_filenames=files,
            auto_delete_file=False,
            target_filename=filename,
            iteration=iteration,
        )
    elif offline:
        model.update_weights(
            weights_filename=files[0],
            target_filename=_without_part(filename),
            iteration=iteration,
            update_comment=False,
        )
    else:
        copy = _copied(files[0])
        model._model_local_filename = None  # else ClearML deletes the copy that it may be uploading
        model.update_weights(
            weights_filename=copy,
            auto_delete_file=True,
            target_filename=_without_part(filename),
            iteration=iteration,
            update_comment=False,
        )


def _copied(file: str) -> str:
    """Copies a file that may be written again before its upload in the background."""
    handle, copy = tempfile.mkstemp(prefix=".clearml.upload_model_", suffix=".tmp")
    os.close(handle)
    try:
        shutil.copyfile(file, copy)
    except BaseException:
        os.unlink(copy)
        raise
    return copy


def _without_part(filename: str) -> str:
    """Gives a file its final name: Lightning renames what it writes."""
    return filename.removesuffix(".part")


def _note_failure(target: Target, saved_path: Any, error: Exception) -> None:
    """Reports a model that was saved, and not stored with its task, as a failed upload is reported."""
    task, path = target.clearml_task(), Path(os.path.abspath(os.fsdecode(saved_path)))
    cause = failed_uploads.reason_of(error)
    failed_uploads.could_not_begin(FailedUpload(task.id, f"the model {path.name!r}", "", cause, path))
