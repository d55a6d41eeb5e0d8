"""Reads the metrics of tasks whose process was killed back from the backend, as nobody else counted them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._clearml.documents import metrics_of
from .._model.metric_data import MetricData, keys_by_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._model.metrics import MetricKey
    from .._model.name_template import Name, NameTemplate
    from .._model.past import PastRun, PastTask
    from .._storage.base import Backend
    from .run import Run
    from .state import TaskState

RECOUNT_TIMEOUT_S = 5.0
"""Time limit for reading from a server; the ends of other tasks may wait meanwhile."""


def known_keys(tasks: Iterable[PastTask]) -> Mapping[Name, MetricKey]:
    """Returns the metric keys of names, from the tasks that ended and so wrote them into the run log."""
    return keys_by_name(task.metrics for task in tasks if task.status is not None)


def recount_past(past: PastRun, backend: Backend, template: NameTemplate) -> None:
    """Reads the metrics of a run's tasks without a status: their process died, or still works on them."""
    latest = past.latest().values()
    dead = [task for task in latest if task.status is None]
    known = known_keys(latest) if dead else {}
    scalars = backend.read_scalars([task.id for task in dead], RECOUNT_TIMEOUT_S)
    for task in dead:
        fields = task.template_fields(past.name)
        task.metrics = metrics_of(scalars.get(task.id, ()), template, fields, known) or task.metrics


def recount(run: Run, states: Iterable[TaskState], timeout: float) -> None:
    """Reads the metrics of those tasks back with which a worker process died.

    Args:
        run: The run.
        states: Tasks of the run.
        timeout: Seconds that a server may take, up to `RECOUNT_TIMEOUT_S`; with 0 it is not asked.
    """
    states = [state for state in states if state.died]
    if not states:
        return
    others = [*run.states.values(), *run.submitted.values()]
    known = keys_by_name(dict(state.metrics) for state in others if not state.died)
    scalars = run.backend.read_scalars([state.id for state in states], min(timeout, RECOUNT_TIMEOUT_S))
    for state in states:
        found = metrics_of(scalars.get(state.id, ()), run.template, state.names.fields, known)
        for key, data in found.items():
            own = state.metrics.setdefault(key, MetricData())
            own.add_names(data.names)
            if data.stats.count >= own.stats.count:  # else not all of the values have been delivered
                own.stats = data.stats
