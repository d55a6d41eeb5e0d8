"""One script, many ClearML tasks: one naming template, stable identities, a clean end."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._agents.queue import Cancelled
    from ._failure import Failure
    from ._group import TaskGroup
    from ._map.map import Mapped
    from ._model.metrics import Metric, MetricKey
    from ._model.name_template import Name, NameTemplate
    from ._reporting import BoundTask
    from ._results.aggregate import Aggregates
    from ._results.code_version import CodeVersion
    from ._results.compare import ComparedRow, Comparison, Reference
    from ._results.history import History
    from ._results.importance import Importance, ParameterImportance
    from ._results.results import Results
    from ._results.rows import About, AggregateRow, Best, Curve, Mean, Row
    from ._results.run_diff import DiffRow, RunDiff
    from ._storage.upload import Uploaded
    from ._sweep import Sweep
    from ._task import GroupTask
    from ._task_metric import TaskMetric
    from .errors import TaskGroupError, TaskGroupWarning

__version__ = "0.2.0"

_HOMES = {
    "About": "_results.rows",
    "AggregateRow": "_results.rows",
    "Aggregates": "_results.aggregate",
    "Best": "_results.rows",
    "BoundTask": "_reporting",
    "Cancelled": "_agents.queue",
    "CodeVersion": "_results.code_version",
    "ComparedRow": "_results.compare",
    "Comparison": "_results.compare",
    "Curve": "_results.rows",
    "DiffRow": "_results.run_diff",
    "Failure": "_failure",
    "GroupTask": "_task",
    "History": "_results.history",
    "Importance": "_results.importance",
    "Mapped": "_map.map",
    "Mean": "_results.rows",
    "Metric": "_model.metrics",
    "MetricKey": "_model.metrics",
    "Name": "_model.name_template",
    "NameTemplate": "_model.name_template",
    "ParameterImportance": "_results.importance",
    "Reference": "_results.compare",
    "Results": "_results.results",
    "Row": "_results.rows",
    "RunDiff": "_results.run_diff",
    "Sweep": "_sweep",
    "TaskGroup": "_group",
    "TaskGroupError": "errors",
    "TaskGroupWarning": "errors",
    "TaskMetric": "_task_metric",
    "Uploaded": "_storage.upload",
}

__all__ = [
    "About",
    "AggregateRow",
    "Aggregates",
    "Best",
    "BoundTask",
    "Cancelled",
    "CodeVersion",
    "ComparedRow",
    "Comparison",
    "Curve",
    "DiffRow",
    "Failure",
    "GroupTask",
    "History",
    "Importance",
    "Mapped",
    "Mean",
    "Metric",
    "MetricKey",
    "Name",
    "NameTemplate",
    "ParameterImportance",
    "Reference",
    "Results",
    "Row",
    "RunDiff",
    "Sweep",
    "TaskGroup",
    "TaskGroupError",
    "TaskGroupWarning",
    "TaskMetric",
    "Uploaded",
    "__version__",
]


def __getattr__(name: str) -> Any:
    # The package costs nothing to import until one of its names is used.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
