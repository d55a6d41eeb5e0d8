"""Names that users of ClearML and of other trackers type first, and what is written here in place of them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

_SCALAR = "write task.report({'loss': 0.3}, iteration, split='val')"
_SINGLE = "write task.report({'loss': 0.3}, split='val'), without an iteration"
_TEXT = "write print(…) or logging in its block, or task.logger.report_text(…)"
_SET_PARAMETERS = "write task.set_parameters({'name': value})"
_PARAMETERS = "they are task.params"
_END = "it ends with its block, or write task.mark_completed()"
_STARTED = "it is open from the beginning; write `with task:`"
_RESULT = "its values are in group.results(), whose rows have value('loss', split='val') and history(…)"
_LOGGER = "its logger is task.logger"
_IMAGE = "write task.metric('name', split='val').report_image(…)"
_MATRIX = "write task.metric('name', split='val').report_confusion_matrix(…)"
_OF_TASK = {
    **dict.fromkeys(("log", "log_metric", "log_metrics", "log_dict", "log_scalar", "track"), _SCALAR),
    **dict.fromkeys(("append", "report_scalar"), _SCALAR),
    **dict.fromkeys(("report_single_value", "summary"), _SINGLE),
    **dict.fromkeys(("log_text", "report_text"), _TEXT),
    **dict.fromkeys(("log_param", "log_params", "log_parameter", "log_parameters"), _SET_PARAMETERS),
    **dict.fromkeys(("log_hyperparams", "set_params", "set_parameter"), _SET_PARAMETERS),
    **dict.fromkeys(("param", "parameters", "hyperparameters", "hparams"), _PARAMETERS),
    **dict.fromkeys(("get_parameters", "get_parameters_as_dict"), _PARAMETERS),
    **dict.fromkeys(("run_id", "experiment_id", "task_id"), "it is task.id"),
    **dict.fromkeys(("link", "get_output_log_web_page"), "it is task.url"),
    **dict.fromkeys(("complete", "end", "end_run", "finish"), _END),
    **dict.fromkeys(("start", "begin"), _STARTED),
    **dict.fromkeys(("metrics", "results", "value", "history"), _RESULT),
    **dict.fromkeys(("get_logger", "current_logger"), _LOGGER),
    **dict.fromkeys(("log_image", "report_image_and_upload"), _IMAGE),
    **dict.fromkeys(("log_confusion_matrix", "report_matrix"), _MATRIX),
    "add_scalar": "write task.report({'loss': 0.3}, iteration), or task.summary_writer().add_scalar(…)",
    "add_scalars": "write task.report({'loss': 0.3}, iteration), or task.summary_writer().add_scalars(…)",
    "add_image": "write task.summary_writer().add_image(…)",
    "add_figure": "write task.summary_writer().add_figure(…)",
    "add_histogram": "write task.summary_writer().add_histogram(…)",
    "log_table": "write task.metric('name', split='val').report_table(…)",
    "log_histogram": "write task.metric('name', split='val').report_histogram(…)",
    "finished": "write task.status, or task.mark_completed() to end it",
    "failed": "write task.mark_failed('reason'); task.status tells whether it has",
    "stop": "write task.mark_stopped('reason')",
    "fail": "write task.mark_failed('reason')",
    "best": "write group.results().best('loss', split='val', mode='min')",
    "current_task": "write GroupTask.current(required=True)",
    "connect": "give parameters to group.task(…) or task.set_parameters({…}); ClearML's is "
    "task.clearml_task.connect(…)",
    "add_tags": "give them to group.task(…, tags=[…]), or write task.clearml_task.add_tags([…])",
    "get_status": "it is task.status",
    "completed": "write task.mark_completed()",
    "stopped": "write task.mark_stopped()",
    "log_artifact": "write task.clearml_task.upload_artifact('name', object or path)",
    "log_figure": "write task.metric('name', split='val').report_matplotlib_figure(…) or .report_plotly(…)",
    "log_model": "with auto_connect_frameworks=True a model that is saved in its block is logged; else "
    "write clearml.OutputModel(task.clearml_task)",
    "set_tag": "give tags to group.task(…, tags=[…]), or write task.clearml_task.add_tags([…])",
    "config": "its parameters are task.params; write task.set_parameters({'name': value}) to add some",
    "get_name": "it is task.name",
    "upload_artifact": "write task.clearml_task.upload_artifact(…)",
}
_OPEN_TASK = "write group.task({'lr': 0.1}), or `for task in group.sweep({'lr': [0.1, 1]})`"
_MAP = "write group.map(function, {'lr': [0.1, 1]}, workers=4)"
_CLOSE = "it ends with its block, or write group.close()"
_TASKS = "write `for task in group`, or group.get(lr=0.1) for one"
_OF_GROUP = {
    **dict.fromkeys(("init", "create"), "write TaskGroup('project', 'name')"),
    **dict.fromkeys(("add", "add_task", "create_task", "new_task", "start_task", "init_task"), _OPEN_TASK),
    **dict.fromkeys(("start_run", "spawn", "start_soon"), _OPEN_TASK),
    **dict.fromkeys(("starmap", "imap", "submit", "apply", "apply_async", "parallel"), _MAP),
    **dict.fromkeys(("end", "finish", "stop", "exit", "shutdown", "complete"), _CLOSE),
    **dict.fromkeys(("mark_completed", "mark_failed", "mark_stopped"), f"{_CLOSE}; its tasks have it"),
    **dict.fromkeys(("members", "children", "get_task", "get_tasks", "items", "values"), _TASKS),
    **dict.fromkeys(("start", "begin", "init_group"), "write `with TaskGroup(…) as group:` or group.open()"),
    **dict.fromkeys(("grid", "grid_search", "product"), "write group.sweep({'lr': [0.1, 1]})"),
    "agent": "write group.sweep(space, queue='default')",
    "optimize": "write study.optimize(group.objective(function, metric='loss'), n_trials=10)",
    "current_task": "write GroupTask.current(required=True)",
    "run_id": "it is group.run",
    "task_id": "its parent's is group.parent_id",
    "parent": "write clearml.Task.get_task(group.parent_id)",
    "status": "each of its tasks has one: group.results() shows them",
    "get_output_log_web_page": "it is group.url",
    **dict.fromkeys(("print", "show"), "write print(group.results())"),
}
_OF_METRIC = {
    **dict.fromkeys(("report_scalar", "log"), "write report(value, iteration)"),
    "report_single_value": "write report(value), without an iteration",
    "report_text": "write task.logger.report_text(…)",
    "report_matrix": "write report_confusion_matrix(…)",
    "report_image_and_upload": "write report_image(…)",
    "name": "it has title and series",
    **dict.fromkeys(
        ("log_figure", "report_figure"),
        "write report_matplotlib_figure(figure, iteration) or report_plotly(figure, iteration)",
    ),
    **dict.fromkeys(("report_video", "report_audio"), "write report_media(local_path=…, iteration=…)"),
    "report_mesh": "write report_scatter3d(…), report_surface(…) or report_plotly(figure, iteration)",
}


_PLOTS = frozenset(
    f"report_{what}"
    for what in (
        *("vector", "histogram", "table", "line_plot", "scatter2d", "scatter3d", "confusion_matrix"),
        *("surface", "image", "media", "plotly", "matplotlib_figure"),
    )
)


def task_advice(name: str) -> str:
    """Says what to write in place of an attribute of ClearML's that a task does not have; else empty."""
    if name in _PLOTS:
        return f"write task.metric('name', split='val').{name}(…)"
    if name in _OF_TASK:
        return _OF_TASK[name]
    clearml = sys.modules.get("clearml")  # it need not be imported for an attribute that does not exist
    for owner, where in (("Task", "clearml_task"), ("Logger", "logger")):
        if hasattr(getattr(clearml, owner, None), name):
            return f"ClearML's own is task.{where}.{name}"
    return ""


def group_advice(name: str, of_task: type, of_results: type) -> str:
    """Says the same of a group, whose values and parameters are those of its tasks.

    Args:
        name: The attribute.
        of_task: The class of its tasks.
        of_results: The class of its results.
    """
    if name in _OF_GROUP:
        return _OF_GROUP[name]
    if name != "name" and hasattr(of_task, name):
        return f"its tasks have it: task.{name}"
    if hasattr(of_results, name):
        return f"write group.results().{name}"
    advice = task_advice(name)
    return f"for one of its tasks: {advice}" if advice else ""


def metric_advice(name: str) -> str:
    """Says the same of `task.metric(…)`."""
    return _OF_METRIC.get(name, "")


class Advising:
    """Base class: the error of an attribute that does not exist says what to write in place of ClearML's."""

    __slots__ = ()

    def _advice(self, name: str) -> str:
        raise NotImplementedError

    if not TYPE_CHECKING:  # else every attribute would pass type checks

        def __getattr__(self, name: str) -> Any:
            if hasattr(type(self), name):  # a property whose code raised AttributeError: raise that one
                return object.__getattribute__(self, name)
            advice = "" if name.startswith("_") else self._advice(name)
            text = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(f"{text}; {advice}" if advice else text, name=name, obj=self)
