"""Abort: what happens to tasks that somebody else ends while they run.

Their next report raises `TaskAbortedError`, which their own block swallows. If the parent was stopped, so are
all tasks.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import attrs

from .._text import storable
from ..errors import TaskAbortedError, TaskClosedError
from .state import MAX_REASON_CHARS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._model.status import Status
    from .run import Run
    from .state import TaskState


@attrs.frozen
class Abort:
    """The facts of a `TaskAbortedError`; see there."""

    task: str
    done: str
    reason: str
    id: str
    of_group: bool = False

    def error(self) -> TaskAbortedError:
        """Makes the error; each time another, which belongs to the thread that raises it."""
        return TaskAbortedError(*attrs.astuple(self))


# --- when somebody has ended tasks ---------------------------------------------------------------


def abort(
    run: Run,
    states: Iterable[TaskState],
    reason: str,
    *,
    status: Status = "stopped",
    done: str = "stopped",
    withdrawn: bool = False,
) -> None:
    """Marks tasks of this process, which somebody else has ended, as aborted; others are ignored.

    May be called from any thread. A task takes no data from now on; what was reported before is still
    delivered.

    Args:
        run: The run.
        states: The tasks; those that are not open any more are ignored.
        reason: Why, for people.
        status: The final status that the tasks have been given.
        done: What was done, in one word for the error.
        withdrawn: Whether the tasks are no longer this process's own, so that it does not store how they
            end, either.
    """
    for state in states:
        facts = Abort(state.spec.name, done, reason, state.id)
        _mark(state, facts, status, reason, withdrawn)


def abort_run(run: Run, reason: str) -> None:
    """Stops all tasks of a run whose parent somebody has stopped, and of the runs in its block."""
    if run.aborted is not None or run.closed:
        return
    run.aborted = Abort(run.info.name, "stopped", reason, run.parent or "", of_group=True)
    _abort_tasks(run)
    for inner in list(run.nested):
        follow(inner, run)


def follow(run: Run, outer: Run) -> None:
    """Makes a run end with another one, in whose block it was opened and whose parent it has."""
    outer.nested.add(run)
    if outer.aborted is not None and run.aborted is None:
        run.aborted = outer.aborted
        _abort_tasks(run)


def _abort_tasks(run: Run) -> None:
    assert run.aborted is not None
    for state in list(run.states.values()):
        _mark(state, run.aborted, "stopped", run.aborted.error().problem, withdrawn=False)


def _mark(state: TaskState, facts: Abort, status: Status, reason: str, withdrawn: bool) -> None:
    if not state.is_open:
        return
    state.aborted, state.reason = facts, storable(reason)[:MAX_REASON_CHARS]
    state.ended, state.finished = time.monotonic(), withdrawn
    state.status = status  # last: it is what `report` looks at


# --- how the script learns of it -----------------------------------------------------------------


def closed_error(state: TaskState) -> TaskClosedError | TaskAbortedError:
    """Makes the error of a call that needs an open task, when the task has ended."""
    if state.aborted is not None:
        state.abort_seen = True
        return state.aborted.error()
    unused = state.in_sweep and state.status == "completed" and not state.metrics
    return TaskClosedError(state.spec.name, state.status, state.in_sweep, state.done, unused, state.elsewhere)


def check_iteration(run: Run, ended: Iterable[TaskState]) -> None:
    """Checks, as an iteration of a sweep begins, that the run and the task of the last one were not aborted.

    Args:
        run: The run.
        ended: The tasks that this iteration has ended. If their own block, or an error that the script has
            caught, has told the script of the abort, that is enough.

    Raises:
        TaskAbortedError: They were.
    """
    if run.closed:
        return
    check_run(run)
    for state in ended:
        if state.aborted is not None and not state.abort_seen:
            raise closed_error(state)


def check_run(run: Run) -> None:
    """Checks that the run was not aborted.

    Raises:
        TaskAbortedError: Somebody has stopped its parent.
    """
    if run.aborted is not None:
        raise run.aborted.error()


# --- blocks that the error leaves ----------------------------------------------------------------


def aborts_in(exc: BaseException) -> list[TaskAbortedError]:
    """Lists the aborts that an exception consists of; empty if it is, or has, another one as well."""
    if isinstance(exc, TaskAbortedError):
        return [exc]
    if not isinstance(exc, BaseExceptionGroup):  # as asyncio's TaskGroup raises it
        return []
    parts = [aborts_in(one) for one in exc.exceptions]
    return [one for part in parts for one in part] if all(parts) else []


def leave_task(run: Run, state: TaskState, aborts: Iterable[TaskAbortedError]) -> bool:
    """Ends an aborted task's own block, and marks another task whose block the error passes.

    Returns:
        Whether the block swallows the error.
    """
    if all(error.id == state.id for error in aborts):
        run.end(state, "stopped")  # as it is by now
        return True
    if state.is_open:
        state.left_by = next(iter(aborts)).problem
    return False


def is_swallowed(run: Run, aborts: Iterable[TaskAbortedError]) -> bool:
    """Whether the group's block is that of the parent that was stopped: those of inner groups are not."""
    return run.owns_parent and not run.in_child and all(error.id == run.parent for error in aborts)
