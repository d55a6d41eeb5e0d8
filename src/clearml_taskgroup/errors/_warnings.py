"""Warnings."""

from __future__ import annotations

from ._base import TaskGroupWarning


class DriftWarning(TaskGroupWarning):
    """Given at the end of a group, if some tasks report a metric and others do not."""


class NameWarning(TaskGroupWarning):
    """Given once, when names make comparison hard: per-task titles, too many names, a misspelt split."""


class NonFiniteWarning(TaskGroupWarning):
    """Given once per series, when NaN, ±inf or a number beyond ±3.4e38 is skipped."""


class AutoLoggingWarning(TaskGroupWarning):
    """Given once, when what ClearML logs automatically does not go to the group's tasks.

    Without `auto_connect_frameworks=`, as `Task.init` was called: it goes to that task. With it, as the group
    closes: tasks of a sweep got nothing, because the training did not run in their blocks.
    """


class ProvenanceWarning(TaskGroupWarning):
    """Given as a group opens, if the script's uncommitted changes are too large to keep."""


class StoreWarning(TaskGroupWarning):
    """Given as an online group opens, if its run log and outbox cannot be written to the disk."""


class SharedRunWarning(TaskGroupWarning):
    """Given as a group joins a shared run, if the server lets it create no queue to agree by."""


class LeftOutWarning(TaskGroupWarning):
    """Given once for each kind of data that a framework logs and the tasks of a group cannot store."""


class LostPointsWarning(TaskGroupWarning):
    """Given once, when data points are dropped because nothing takes them from the queue."""
