"""Lets ClearML's `OutputModel` be used offline; `sdk` lists what is replaced, and why."""

from __future__ import annotations

import functools
import os
import shutil
import threading
from pathlib import Path
from typing import Any

from .. import _fork

REPORTING_MODELS = "taskgroup_reporting_models"
"""An attribute of an attached task: its models that have a reporter of their own."""


PACKED = "model_package."
"""How the name of a file begins that ClearML packs a model of several files into, and leaves behind."""
_lock = threading.Lock()


@_fork.in_child
def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


@functools.cache
def allow(clearml: Any) -> None:
    """Lets `OutputModel` be used offline by tasks other than the script's main one."""
    model_class: Any = clearml.OutputModel
    tag_as_package, store = model_class._set_package_tag, model_class._update_weights_offline
    is_published = model_class.published.fget

    def task_of(model: Any) -> Any:
        return model._task or clearml.Task.current_task()

    def published(model: Any) -> bool:
        task = task_of(model)
        if task is not None and task.is_offline() and not is_attached(task):
            return bool(is_published(model))  # the script's main task stays as ClearML has it
        return bool(model.id) and bool(getattr(model._get_base_model(), "locked", False))

    def folder(model: Any) -> Any:
        task = task_of(model)
        # The model will have a reporter of its own, which `wait_for_uploads` has to flush.
        vars(task).setdefault(REPORTING_MODELS, []).append(model)
        return task.get_offline_mode_folder()

    def tag_as_package_offline(model: Any) -> None:
        if not clearml.Task.is_offline():
            tag_as_package(model)
            return
        for stored in model._task._offline_output_models:
            if stored["id"] == model.id:
                stored["weights"]["is_package"] = True
        model._task._save_data_to_offline_dir()

    def store_latest(model: Any, weights_filename: str | None = None, **fields: Any) -> Any:
        task = model._task
        if not weights_filename or not is_attached(task):
            return store(model, weights_filename, **fields)
        name = fields.get("target_filename") or Path(weights_filename).name
        path = _store_file(weights_filename, Path(folder(model)) / "models" / model.id / name)
        with _lock:
            store(model, **{**fields, "register_uri": path})  # which copies nothing
            *entries, entry = task._offline_output_models
            entry["weights"] |= {"weights_filename": path, "register_uri": None}
            # The file's earlier content is gone.
            others = [one for one in entries if _place(one) != _place(entry)]
            task._offline_output_models[:] = [*others, entry]
            task._save_data_to_offline_dir()
        return path

    model_class.published = property(published)
    model_class.get_offline_mode_folder = folder
    model_class._set_package_tag = tag_as_package_offline
    model_class._update_weights_offline = store_latest


def is_attached(task: Any) -> bool:
    """Whether `sdk.open_task` has opened this object of an offline task."""
    return "_save_data_to_offline_dir" in vars(task)


def merged(stored: dict[str, Any], task: Any) -> list[dict[str, Any]]:
    """Gives the models of a session with those of one object of its task; others may have stored some."""
    own = {entry["id"] for entry in task._offline_output_models}
    others = [entry for entry in stored.get("offline_output_models") or () if entry["id"] not in own]
    return [*others, *task._offline_output_models]


def _place(entry: dict[str, Any]) -> tuple[str, str]:
    return entry["id"], entry["weights"]["weights_filename"]


def _store_file(source: str, path: Path) -> str:
    """Copies a file into a session; nobody ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{threading.get_ident()}.part")
    try:
        (shutil.move if Path(source).name.startswith(PACKED) else shutil.copyfile)(source, part)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return path.as_posix()
