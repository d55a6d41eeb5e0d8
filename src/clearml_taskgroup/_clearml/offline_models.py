"""Lets ClearML's `OutputModel` be used offline; `sdk` lists what is replaced, and why."""

from __future__ import annotations

import functools
from typing import Any

REPORTING_MODELS = "taskgroup_reporting_models"
"""An attribute of an attached task: its models that have a reporter of their own."""


@functools.cache
def allow(clearml: Any) -> None:
    """Lets `OutputModel` be used offline by tasks other than the script's main one."""
    model_class: Any = clearml.OutputModel
    tag_as_package = model_class._set_package_tag

    def published(model: Any) -> bool:
        return bool(model.id) and bool(getattr(model._get_base_model(), "locked", False))

    def folder(model: Any) -> Any:
        task = model._task or clearml.Task.current_task()
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

    model_class.published = property(published)
    model_class.get_offline_mode_folder = folder
    model_class._set_package_tag = tag_as_package_offline
