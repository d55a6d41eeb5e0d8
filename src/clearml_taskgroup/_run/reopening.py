"""Opening a completed task again, in the same ClearML task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._clearml.notes import REOPENED_ENTRY
from .._model.specs import Ending
from .._storage.processes import readable
from ..errors import GroupStateError, StoreError, TaskReopenError
from .abort import check_run
from .sharing import look, take_over_state
from .tasks import END_TIMEOUT_S

if TYPE_CHECKING:
    from .run import Run
    from .sharing import Sharing
    from .state import TaskState


def reopen_task(run: Run, state: TaskState) -> None:
    """Lets a completed task take data again; see `GroupTask.reopen`."""
    name = state.spec.name
    if run.in_child:
        problem, advice = "belongs to the process that opened the group", "reopen it there, before the fork"
        raise TaskReopenError(name, problem, advice)
    run.worker_log.merge(run, 0.0)  # else what a worker has logged before would end it again
    if state in run.ender and not run.ender.wait(END_TIMEOUT_S):
        raise TaskReopenError(name, "is just being ended on the server", "try it again later")
    with run.creating:
        if run.closed:
            advice = "open it again with resume=True, and reopen the task there"
            raise GroupStateError(run.info.name, "has been closed", advice)
        check_run(run)
        if run.sharing is not None:
            _reopen_shared(run, state, run.sharing)
        else:
            _reopen(run, state)


def _reopen(run: Run, state: TaskState) -> None:
    _require_completed(state, run.sharing is not None)
    # If the end is not stored yet, the task is still open where it is kept.
    problem = run.backend.reopen_completed(state.id) if state.finished else ""
    if problem:
        raise TaskReopenError(state.spec.name, f"cannot be reopened: {problem}", _ADVICE)
    if run.run_log is not None:
        _log_reopened(run, state)
    run.backend.annotate(state.id, {}, {REOPENED_ENTRY: "yes"})
    state.open_again()


def _reopen_shared(run: Run, state: TaskState, sharing: Sharing) -> None:
    """Reopens a task of a shared run, also one of another process; one process at a time can."""
    name, claim = state.spec.name, (f"reopen {state.spec.key}", state.spec.attempt)
    if not sharing.shared.claim(*claim):
        raise TaskReopenError(name, "is just being reopened by another process of the run", _WAIT)
    try:
        look(run)
        past = sharing.attempts.get(state.spec.key)
        if past is not None and past.id != state.id:
            problem = f"has a later attempt, by {readable(past.process)}"
            raise TaskReopenError(name, problem, "reopen that one: group.get(…) finds it")
        if past is not None and past.process != run.info.process:
            if past.status is None:
                raise TaskReopenError(name, f"is open in {readable(past.process)}", _WAIT)
            take_over_state(state, past)
        _reopen(run, state)
        run.states[state.spec.key] = state
        run.backend.annotate(state.id, {"process": run.info.process}, {})
        run.backend.keep_alive()
    finally:
        sharing.shared.release(*claim, None)


_WAIT = "wait until it has ended there"
_ADVICE = "report to another task, for example one with name= that says what was measured later"


def _require_completed(state: TaskState, is_shared: bool) -> None:
    name, reason = state.spec.name, f" ({state.reason})" if state.reason else ""
    if state.is_open:
        raise TaskReopenError(name, "has not ended", "report to it, or end it first")
    if state.archived:
        raise TaskReopenError(name, "cannot be reopened: it was archived", _ADVICE)
    if state.status != "completed":
        problem = f"is {state.status}{reason}, and only a completed task can be reopened"
        advice = "continue it in a resumed run: TaskGroup(…, resume=True, retry='continue')"
        if is_shared:
            advice = "once all processes have left the run, resume=True runs it again in another ClearML task"
        raise TaskReopenError(name, problem, advice)


def _log_reopened(run: Run, state: TaskState) -> None:
    """Logs that a task is open again; on a full disk it stays completed."""
    assert run.run_log is not None
    try:
        run.run_log.tasks_opened([state])
    except StoreError:
        if state.finished:
            run.backend.finish([Ending(state.id, state.status, state.reason)], END_TIMEOUT_S)
        raise
