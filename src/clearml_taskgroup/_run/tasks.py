"""Creating a run's tasks, and continuing those of an earlier run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import attrs

from .._clearml.notes import REOPENED_ENTRY
from .._log import logger
from .._model.metric_data import copy_metrics
from .._model.parameter_json import plain
from .._model.specs import Ending, TaskSpec
from ..errors import GroupStateError, StoreError
from . import provenance
from .abort import check_run
from .naming import Names
from .state import TaskState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .._model.metric_data import Metrics
    from .._model.past import PastTask
    from .run import Run

END_TIMEOUT_S = 30.0
"""Time limit for ending tasks on a server that the disk has no room for."""


def create_tasks(run: Run, specs: Sequence[TaskSpec], in_sweep: bool) -> list[TaskState]:
    """Creates tasks, or continues their earlier attempts; see `Run.create`.

    A spec whose task the run has already gets a new attempt.
    """
    with run.creating:
        if run.closed:
            raise GroupStateError(run.info.name, "has been closed", "open its tasks before its block ends")
        check_run(run)
        states = {state.spec.key: state for state in _continued(run, specs, in_sweep)}
        new = [next_attempt(run, spec) for spec in specs if spec.key not in states]
        provenance.look(run)
        if run.run_log is not None:
            run.run_log.check()
        if run.parent is not None:
            run.backend.check_parent(run.parent)
        if run.run_log is not None and run.backend.mode == "online":
            run.run_log.opening(new)  # so that a resume recognizes tasks that a SIGKILL leaves behind here
        # On an agent nothing is created, not even the project.
        ids = run.backend.create(run.info, new, run.parent) if new or run.agent_task is None else []
        for spec, task_id in zip(new, ids, strict=True):
            states[spec.key] = new_state(run, spec, task_id, in_sweep)
        ordered = [states[spec.key] for spec in specs]
        if run.run_log is not None:
            _log_opened(run, ordered)
        run.retried += [run.states[spec.key] for spec in specs if spec.key in run.states]
        run.states.update((state.spec.key, state) for state in ordered)
        if run.aborted is not None:  # since the check above
            for state in ordered:
                state.abort(run.aborted)
        run.specs.add(specs)
    return ordered


def _log_opened(run: Run, states: Iterable[TaskState]) -> None:
    """Logs the opened tasks; on a full disk they end at once, as no later process would know them."""
    assert run.run_log is not None
    opened = [state for state in states if not state.done]
    try:
        run.run_log.tasks_opened(opened)
    except StoreError as error:
        reason = f"it was not opened: {error.cause}"
        run.backend.finish([Ending(state.id, "failed", reason) for state in opened], END_TIMEOUT_S)
        raise


def recall_tasks(run: Run, specs: Iterable[TaskSpec]) -> list[TaskState]:
    """Adds tasks of the resumed run as they ended, without another attempt at any."""
    states = []
    for spec in specs:
        past = run.earlier_attempt(spec.key)
        if past is None or past.status is None:
            continue
        states.append(_ended_state(run, spec, past))
    run.states.update((state.spec.key, state) for state in states)
    run.specs.add(state.spec for state in states)
    return states


def earlier_states(run: Run) -> dict[str, TaskState]:
    """Makes states of the resumed run's tasks that were not opened here, as they ended, by their keys."""
    if run.prior is None:
        return {}
    left = {}
    for key, past in run.prior.attempts.items():
        if key not in run.states and key not in run.submitted and past.status is not None:
            if key not in run.earlier:
                run.earlier[key] = _ended_state(run, earlier_spec(run, past), past)
            left[key] = run.earlier[key]
    return left


def earlier_spec(run: Run, past: PastTask) -> TaskSpec:
    """Makes the spec of a task of the resumed run."""
    params = {name: plain(value) for name, value in past.params.items()}
    task_name = run.specs.task_name_of(past.name, past.key, past.index)
    return TaskSpec(past.key, past.name, task_name, past.index, past.attempt, params)


def log_progress(done: int, queued: int, total: int) -> None:
    """Logs in one line how much of a space is completed already."""
    if done or queued:
        waiting = f", {queued} queued for an agent" if queued else ""
        running = total - done - queued
        logger.info("%d of %d completed already%s; running %d", done, total, waiting, running)


def next_attempt(run: Run, spec: TaskSpec) -> TaskSpec:
    """Gives a spec the attempt number that follows the earlier attempts, and their index."""
    own, past = run.states.get(spec.key), run.earlier_attempt(spec.key)
    if own is not None:
        return attrs.evolve(spec, attempt=own.spec.attempt + 1, index=own.spec.index)
    return spec if past is None else attrs.evolve(spec, attempt=past.attempt + 1, index=past.index)


def new_state(run: Run, spec: TaskSpec, task_id: str, in_sweep: bool = False) -> TaskState:
    """Makes the state of a task that has just been opened."""
    fields = spec.template_fields(run.info.name, task_id)
    channels = run.reporter.channels
    names = Names(run.template, run.vocabulary, task_id, fields, run.warned, run.namings, channels)
    return TaskState(spec, task_id, names, dict(spec.params), time.monotonic(), in_sweep=in_sweep)


def _continued(run: Run, specs: Sequence[TaskSpec], in_sweep: bool) -> list[TaskState]:
    """Gives the tasks that exist already: completed by an earlier attempt, or continued in this run."""
    states = [new_state(run, spec, spec.task_id, in_sweep) for spec in specs if spec.task_id]
    if run.prior is None:
        return states
    reopened = []
    for spec in specs:
        past = run.prior.attempts.get(spec.key)
        if past is None or spec.key in run.states:  # the earlier run's attempt is not the latest any more
            continue
        if not (run.is_done(spec.key) or _is_continued(run, spec.key)):
            continue
        if run.is_done(spec.key):
            states.append(_ended_state(run, spec, past, in_sweep))
        else:
            states.append(_earlier_state(run, spec, past, copy_metrics(past.metrics), in_sweep))
            if past.was_completed:  # and has ended in another way since
                reopened.append(past.id)
    run.backend.reopen([state.id for state in states if not state.done])
    for task_id in reopened:  # a server takes this from open tasks only
        run.backend.annotate(task_id, {}, {REOPENED_ENTRY: ""})
    return states


def _is_continued(run: Run, key: str) -> bool:
    """Whether an earlier attempt goes on in the same ClearML task: `retry="continue"`, or a draft."""
    assert run.prior is not None
    return key in run.prior.drafts or (run.retry == "continue" and key not in run.prior.queued)


def _ended_state(run: Run, spec: TaskSpec, past: PastTask, in_sweep: bool = False) -> TaskState:
    state = _earlier_state(run, spec, past, past.metrics, in_sweep)
    state.status, state.reason = past.final_status()
    state.done, state.finished = state.status == "completed", True
    state.ended = state.opened + past.duration
    return state


def _earlier_state(
    run: Run, spec: TaskSpec, past: PastTask, metrics: Metrics, in_sweep: bool = False
) -> TaskState:
    if (spec.attempt, spec.index) != (past.attempt, past.index):
        spec = attrs.evolve(spec, attempt=past.attempt, index=past.index)
    state = new_state(run, spec, past.id, in_sweep)
    state.names.restore(metrics)
    added = [name for name in past.params if name not in spec.params]
    state.params.update((name, plain(past.params[name])) for name in added)
    state.names.ambiguous.update(past.ambiguous)
    # A server does not say where its curves end, so what is added to them cannot be counted.
    state.uncounted = any(not data.stats.is_counted for data in state.metrics.values())
    return state
