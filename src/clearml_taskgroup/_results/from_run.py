"""Results of a run that is open in this process."""

from __future__ import annotations

import functools
import itertools
import operator
from typing import TYPE_CHECKING

from .._model.metric_data import are_exact, copy_metrics
from .._model.parameter_json import plain_parameters
from .._run.recount import complete, flush_clearml_tasks, task_counts
from .find_metric import MetricLookup
from .history import FLUSH_TIMEOUT_S, Reader
from .results import Results
from .row_blocks import RowBlocks
from .rows import OPEN, About, Row, in_order, row_metrics
from .task_table import rows_table_url

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


def _is_final(run: Run, state: TaskState) -> bool:
    """Whether a task's metrics are complete and stay as they are, until its `row` is forgotten."""
    return not state.is_open and state.is_counted and (state.finished or run.reporter.is_queue_empty)


_archived, _row, _id = map(operator.attrgetter, ("archived", "row", "id"))


def results_of(run: Run, more: str = "", *, keeps_rows: bool = True) -> Results:
    """Returns the results of a run as they are at this moment.

    Args:
        run: The run.
        more: Why results are still missing although no task is open; empty if none are.
        keeps_rows: Whether rows of tasks that have ended are made once; not in a thread beside the script's,
            which may report, and end the task, after its values were copied.
    """
    lookup, reader = MetricLookup(run.template, run.vocabulary), Reader(run.backend)
    run.look()
    # No Python loop over all tasks: scripts ask for results in a loop, with one new task each time.
    states = list(itertools.filterfalse(_archived, run.all_states()))
    known: list[Row | None] = list(map(_row, states))
    kept = filter(None, known)
    new = list(itertools.compress(states, map(operator.not_, known)))
    # Decided once: a task that another thread ends meanwhile has a row of copied values, which is not kept.
    final = {state.id for state in new if _is_final(run, state)} if keeps_rows else set()
    metrics = {state.id: state.metrics if state.id in final else copy_metrics(state.metrics) for state in new}
    tasks = [
        task_counts(state, metrics[state.id])
        for state in new
        if state.uncounted or not are_exact(metrics[state.id])
    ]
    if tasks:
        run.flush(FLUSH_TIMEOUT_S)
        flush_clearml_tasks(run, (state for state in new if state.is_open), FLUSH_TIMEOUT_S)
        complete(run.backend, run.template, tasks, FLUSH_TIMEOUT_S)
    made = [row_of(state, metrics[state.id], lookup, reader) for state in new]
    for state, row in zip(new, made, strict=True):
        if state.id in final:  # in a loop over tasks, so each row is made once
            state.row = row
    run.row_blocks = run.row_blocks or RowBlocks()
    rows = run.row_blocks.in_order = in_order([*kept, *made], run.row_blocks.in_order)
    info, backend = run.info, run.backend
    ids = list(map(_id, rows)) if backend.transport is not None else []
    about = About(
        project=info.project,
        name=info.name,
        group_id=info.group_id,
        run=info.run,
        run_number=info.number,
        mode=backend.mode,
        where=backend.where,
        url=backend.url(run.parent) if run.parent else None,
        compare_urls=tuple(backend.compare_urls(ids)),
        started=run.started,
        shared=info.shared,
        table_url=functools.partial(
            rows_table_url, backend.table_url(info.run, run.parent, run.owns_parent), rows, lookup
        ),
    )
    partial = any(row.status in OPEN for row in made)
    more = "other agents run the other configurations" if run.agent_task is not None else more
    return Results(
        rows,
        about,
        lookup,
        reader,
        partial=partial or bool(more),
        partial_reason=more,
        blocks=run.row_blocks,
    )
