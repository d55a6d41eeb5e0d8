"""Results of a run that is open in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._model.metric_data import copy_metrics
from .._model.parameter_json import plain_parameters
from .._run.recount import complete, counted
from .._run.sharing import look_if_possible
from .._text import natural
from .find_metric import MetricLookup
from .history import FLUSH_TIMEOUT_S, Reader
from .results import Results
from .rows import OPEN, About, Row, row_metrics

if TYPE_CHECKING:
    from .._model.metric_data import Metrics
    from .._run.run import Run
    from .._run.state import TaskState


def row_of(state: TaskState, metrics: Metrics, lookup: MetricLookup, reader: Reader) -> Row:
    """Returns the row of a task with these metrics."""
    return Row(
        key=state.spec.key,
        name=state.spec.name,
        index=state.spec.index,
        id=state.id,
        attempt=state.spec.attempt,
        status=state.status,
        status_reason=state.reason,
        params=plain_parameters(state.params),
        duration=state.duration,
        url=reader.backend.url(state.id),
        **row_metrics(metrics),
        lookup=lookup,
        reader=reader,
    )


def results_of(run: Run, more: str = "") -> Results:
    """Returns the results of a run as they are at this moment.

    Args:
        run: The run.
        more: Why results are still missing although no task is open; empty if none are.
    """
    lookup, reader = MetricLookup(run.template, run.vocabulary), Reader(run.backend)
    if run.sharing is not None and not run.closed:
        look_if_possible(run)
    states = sorted(run.all_states(), key=lambda state: (state.spec.index, natural(state.spec.name)))
    states = [state for state in states if not state.archived]
    metrics = {state.id: copy_metrics(state.metrics) for state in states}
    tasks = [counted(state, metrics[state.id]) for state in states]
    if not all(task.is_complete for task in tasks):
        run.flush(FLUSH_TIMEOUT_S)
        complete(run.backend, run.template, tasks, FLUSH_TIMEOUT_S)
    rows = tuple(row_of(state, metrics[state.id], lookup, reader) for state in states)
    info, backend = run.info, run.backend
    about = About(
        project=info.project,
        name=info.name,
        group_id=info.group_id,
        run=info.run,
        run_number=info.number,
        mode=backend.mode,
        where=backend.where,
        url=backend.url(run.parent) if run.parent else None,
        compare_urls=tuple(backend.compare_urls([row.id for row in rows])),
        started=run.started,
        shared=info.shared,
    )
    partial = any(row.status in OPEN for row in rows)
    more = "other agents have the other points" if run.agent_task is not None else more
    return Results(rows, about, lookup, reader, partial=partial or bool(more), partial_reason=more)
