"""One script, many ClearML tasks: one naming template, stable identities, a clean end."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._agents.queueing import Cancelled
    from ._aggregate import AggregateRow, Aggregates, Mean
    from ._ending import Failure
    from ._group import TaskGroup
    from ._history import Curve, History
    from ._measures import Best
    from ._reporting import BoundTask, TaskName
    from ._results import About, Results, Row
    from ._sweep import Sweep
    from ._task import GroupTask
    from ._template import Name, NameTemplate
    from ._upload import Uploaded
    from ._vocabulary import Metric
    from ._workers.mapping import Mapped
    from .errors import TaskGroupError, TaskGroupWarning

__version__ = "0.1.0"

_HOMES = {
    "About": "_results",
    "AggregateRow": "_aggregate",
    "Aggregates": "_aggregate",
    "Best": "_measures",
    "BoundTask": "_reporting",
    "Cancelled": "_agents.queueing",
    "Curve": "_history",
    "Failure": "_ending",
    "GroupTask": "_task",
    "History": "_history",
    "Mapped": "_workers.mapping",
    "Mean": "_aggregate",
    "Metric": "_vocabulary",
    "Name": "_template",
    "NameTemplate": "_template",
    "Results": "_results",
    "Row": "_results",
    "Sweep": "_sweep",
    "TaskGroup": "_group",
    "TaskGroupError": "errors",
    "TaskGroupWarning": "errors",
    "TaskName": "_reporting",
    "Uploaded": "_upload",
}

__all__ = [
    "About",
    "AggregateRow",
    "Aggregates",
    "Best",
    "BoundTask",
    "Cancelled",
    "Curve",
    "Failure",
    "GroupTask",
    "History",
    "Mapped",
    "Mean",
    "Metric",
    "Name",
    "NameTemplate",
    "Results",
    "Row",
    "Sweep",
    "TaskGroup",
    "TaskGroupError",
    "TaskGroupWarning",
    "TaskName",
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
