"""Names that users of ClearML and of other trackers type first, and what is written here in place of them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

_SCALAR = "write task.report({'loss': 0.3}, iteration, split='val')"
_END = "it ends with its block, or write task.mark_completed()"
_RESULT = "its values are in group.results(), whose rows have value('loss', split='val') and history(…)"
_OF_TASK = {
    "log_metrics": _SCALAR,
    "log_dict": _SCALAR,
    "log_scalar": _SCALAR,
    "track": _SCALAR,
    "append": _SCALAR,
    "add_scalar": "write task.report({'loss': 0.3}, iteration), or task.summary_writer().add_scalar(…)",
    "add_scalars": "write task.report({'loss': 0.3}, iteration), or task.summary_writer().add_scalars(…)",
    "add_image": "write task.summary_writer().add_image(…)",
    "add_figure": "write task.summary_writer().add_figure(…)",
    "add_histogram": "write task.summary_writer().add_histogram(…)",
    "log_text": "write print(…) or logging in its block, or task.logger.report_text(…)",
    "log_table": "write task.metric('name', split='val').report_table(…)",
    "log_histogram": "write task.metric('name', split='val').report_histogram(…)",
    "log_confusion_matrix": "write task.metric('name', split='val').report_confusion_matrix(…)",
    "log_parameter": "write task.set_parameters({'name': value})",
    "log_parameters": "write task.set_parameters({'name': value})",
    "log_hyperparams": "write task.set_parameters({'name': value})",
    "set_params": "write task.set_parameters({'name': value})",
    "param": "they are task.params",
    "hyperparameters": "they are task.params",
    "hparams": "they are task.params",
    "run_id": "it is task.id",
    "experiment_id": "it is task.id",
    "link": "it is task.url",
    "failed": "write task.mark_failed('reason'); task.status tells whether it has",
    "finished": "write task.status, or task.mark_completed() to end it",
    "complete": _END,
    "end": _END,
    "end_run": _END,
    "start": "it is open from the beginning; write `with task:`",
    "begin": "it is open from the beginning; write `with task:`",
    "stop": "write task.mark_stopped('reason')",
    "fail": "write task.mark_failed('reason')",
    "metrics": _RESULT,
    "results": _RESULT,
    "value": _RESULT,
    "history": _RESULT,
    "best": "write group.results().best('loss', split='val', mode='min')",
    "current_task": "write GroupTask.current(required=True)",
    "get_logger": "its logger is task.logger",
    "current_logger": "its logger is task.logger",
    "report_scalar": _SCALAR,
    "report_single_value": "write task.report({'loss': 0.3}, split='val'), without an iteration",
    "report_text": "write print(…) or logging in its block, or task.logger.report_text(…)",
    "report_matrix": "write task.metric('name', split='val').report_confusion_matrix(…)",
    "report_image_and_upload": "write task.metric('name', split='val').report_image(…)",
    "log": _SCALAR,
    "log_metric": _SCALAR,
    "connect": "give parameters to group.task(…) or task.set_parameters({…}); ClearML's is "
    "task.clearml_task.connect(…)",
    "set_parameter": "write task.set_parameters({'name': value})",
    "get_parameters": "they are task.params",
    "get_parameters_as_dict": "they are task.params",
    "parameters": "they are task.params",
    "add_tags": "give them to group.task(…, tags=[…]), or write task.clearml_task.add_tags([…])",
    "get_status": "it is task.status",
    "task_id": "it is task.id",
    "get_output_log_web_page": "it is task.url",
    "completed": "write task.mark_completed()",
    "stopped": "write task.mark_stopped()",
    "log_artifact": "write task.clearml_task.upload_artifact('name', object or path)",
    "log_param": "write task.set_parameters({'name': value})",
    "log_params": "write task.set_parameters({'name': value})",
    "log_figure": "write task.metric('name', split='val').report_matplotlib_figure(…) or .report_plotly(…)",
    "log_image": "write task.metric('name', split='val').report_image(…)",
    "log_model": "with auto_connect_frameworks=True a model that is saved in its block is logged; else "
    "write clearml.OutputModel(task.clearml_task)",
    "set_tag": "give tags to group.task(…, tags=[…]), or write task.clearml_task.add_tags([…])",
    "config": "its parameters are task.params; write task.set_parameters({'name': value}) to add some",
    "summary": "write task.report({'best': 0.3}, split='val'), without an iteration",
    "finish": _END,
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
    "print": "write print(group.results())",
    "show": "write print(group.results())",
}
_OF_METRIC = {
    "report_scalar": "write report(value, iteration)",
    "report_single_value": "write report(value), without an iteration",
    "report_text": "write task.logger.report_text(…)",
    "report_matrix": "write report_confusion_matrix(…)",
    "report_image_and_upload": "write report_image(…)",
    "name": "it has title and series",
    "log": "write report(value, iteration)",
    "log_figure": "write report_matplotlib_figure(figure, iteration) or report_plotly(figure, iteration)",
    "report_figure": "write report_matplotlib_figure(figure, iteration) or report_plotly(figure, iteration)",
    "report_video": "write report_media(local_path=…, iteration=…)",
    "report_audio": "write report_media(local_path=…, iteration=…)",
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
