"""One script, many ClearML tasks: one naming template, stable identities, a clean end."""

from __future__ import annotations

from ._aggregate import AggregateRow, Aggregates, Mean
from ._ending import Failure
from ._group import TaskGroup
from ._measures import Best
from ._results import Results, Row
from ._sweep import Sweep
from ._task import BoundTask, GroupTask
from ._template import Name, NameTemplate
from ._vocabulary import Metric
from .errors import TaskGroupError, TaskGroupWarning

__version__ = "0.1.0"

__all__ = [
    "AggregateRow",
    "Aggregates",
    "Best",
    "BoundTask",
    "Failure",
    "GroupTask",
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
    "__version__",
]
