"""Reads metrics back from the backend: a run's results are what is stored with its tasks.

What a process has counted itself is a cache. It is not used for values that another process stored, nor
for a curve of which an iteration was reported again.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import attrs

from .._clearml.documents import metrics_of
from .._model.metric_data import MetricData, are_exact, keys_by_name
from .._model.stats import Stats
from ..errors import NoHistoryError, ServerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .._model.metric_data import Metrics
    from .._model.metrics import MetricKey
    from .._model.name_template import Name, NameTemplate
    from .._model.past import PastRun
    from .._storage.base import Backend
    from .run import Run
    from .state import TaskState

RECOUNT_TIMEOUT_S = 5.0
"""Time limit for reading from a server; the ends of other tasks may wait meanwhile."""


@attrs.frozen
class TaskCounts:
    """What a process has counted of one task.

    Attributes:
        id: The ClearML task's id.
        metrics: The metrics, which `complete` changes.
        uncounted: Whether values were stored that are not in them.
        fields: The template's fields that the task fills in itself.
        ambiguous: What the names stand for that would be read back as another metric.
    """

    id: str
    metrics: Metrics
    uncounted: bool
    fields: Mapping[str, str]
    ambiguous: Mapping[Name, MetricKey]

    @property
    def is_complete(self) -> bool:
        """Whether nothing has to be read."""
        return not self.uncounted and are_exact(self.metrics)


def complete(backend: Backend, template: NameTemplate, tasks: Sequence[TaskCounts], timeout: float) -> None:
    """Completes metrics from the backend; if it cannot be read, they stay as they are.

    Args:
        backend: The backend.
        template: The group's template.
        tasks: The tasks; those that are complete cost nothing.
        timeout: Seconds that a server may take; with 0 it is not asked.
    """
    tasks = [task for task in tasks if not task.is_complete]
    uncounted = [task for task in tasks if task.uncounted]
    scalars = backend.read_scalars([task.id for task in uncounted], timeout) if uncounted else {}
    for task in uncounted:
        known = {**keys_by_name([task.metrics]), **task.ambiguous}
        for key, data in metrics_of(scalars.get(task.id, ()), template, task.fields, known).items():
            own = task.metrics.setdefault(key, MetricData())
            own.add_names(data.names)
            if not _has_counted(own.stats, data.stats, is_whole=backend.transport is None):
                own.stats = data.stats
    if timeout > 0:
        _read_curves(backend, tasks)


def _has_counted(own: Stats, stored: Stats, *, is_whole: bool) -> bool:
    """Whether a process has counted all that is stored; of fewer stored values, not all were delivered.

    Args:
        own: What the process has counted.
        stored: What is stored, maybe by other processes.
        is_whole: Whether the storage was read whole. A server counts a point that was replaced twice.
    """
    if not own.exact or (stored.single > own.single) or (stored.has_curve > own.has_curve):
        return False
    return own.count > stored.count or (own.count == stored.count and not is_whole and not stored.single)


def _read_curves(backend: Backend, tasks: Iterable[TaskCounts]) -> None:
    wanted = {
        task.id: [name for data in task.metrics.values() if not data.stats.exact for name in data.names]
        for task in tasks
    }
    wanted = {task_id: names for task_id, names in wanted.items() if names}
    if not wanted:
        return
    try:
        curves = backend.read_curves(wanted)
    except (NoHistoryError, ServerError):
        return
    for task in tasks:
        for data in task.metrics.values():
            read = curves.get(task.id, {})
            points = [point for name in data.names for point in read.get(name, ())]
            if points and not data.stats.exact:
                before, data.stats = data.stats, Stats.of(points)
                data.stats.ordered = (before.ordered or task.uncounted) and data.stats.agrees_with(before)
                data.sample = None  # it may have points that were replaced


# --- an open run ---------------------------------------------------------------------------------


def task_counts(state: TaskState, metrics: Metrics | None = None) -> TaskCounts:
    """Returns what this process has counted of a task of its run."""
    metrics = state.metrics if metrics is None else metrics
    return TaskCounts(state.id, metrics, state.uncounted, state.names.fields, state.names.ambiguous)


def recount(run: Run, states: Iterable[TaskState], timeout: float) -> None:
    """Completes the metrics of tasks that have ended.

    Args:
        run: The run.
        states: Tasks of the run.
        timeout: Seconds that a server may take, up to `RECOUNT_TIMEOUT_S`; with 0 it is not asked.
    """
    ended = [state for state in states if not (state.is_open or state.is_counted)]
    for state in ended:
        if state.uncounted:
            for data in state.metrics.values():  # what a server said of an earlier process has no sums
                data.stats.exact = data.stats.exact and data.stats.is_counted
    flush_clearml_tasks(run, ended, timeout)
    complete(run.backend, run.template, list(map(task_counts, ended)), min(timeout, RECOUNT_TIMEOUT_S))


def flush_clearml_tasks(run: Run, states: Iterable[TaskState], timeout: float) -> None:
    """Waits until what ClearML's own loggers of tasks were given is stored, so that it can be read."""
    for state in states:
        if state.uncounted:
            with contextlib.suppress(TimeoutError):  # the task's end waits again, and raises it
                run.backend.flush_clearml_task(state.id, timeout)


# --- an earlier run ------------------------------------------------------------------------------


def recount_past(past: PastRun, backend: Backend, template: NameTemplate) -> None:
    """Completes the metrics of a run; a task without a status has none: its process died, or still works."""
    tasks = [
        TaskCounts(
            task.id, task.metrics, task.status is None, task.template_fields(past.name), task.ambiguous
        )
        for task in past.latest().values()
        if task.status is None or not are_exact(task.metrics)
    ]
    complete(backend, template, tasks, RECOUNT_TIMEOUT_S)
