"""Abort: what happens to tasks that somebody else ends while they run.

Their next report raises `TaskAbortedError`, which their own block swallows. If the parent was stopped, so are
all tasks.
"""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING

from .._clearml import sdk
from .._clearml.main_task import keep_status
from ..errors import TaskAbortedError, TaskClosedError
from . import worker_aborts
from .state import Abort

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._model.specs import ForeignStatus
    from .run import Run
    from .state import TaskState


# --- when somebody has ended tasks ---------------------------------------------------------------


def abort_run(run: Run, reason: str, *, withdrawn: bool = False) -> None:
    """Stops all tasks of a run whose parent somebody has stopped, and of the runs in its block.

    Args:
        run: The run.
        reason: Why, for people.
        withdrawn: Whether its tasks are no longer this process's own, because others took it for dead: then
            it does not store how they end, either.
    """
    if run.aborted is not None or run.closed:
        return
    run.aborted = Abort.of_run(run.info.name, run.parent, reason)
    _abort_all(run, withdrawn)
    for inner in list(run.nested):
        follow(inner, run)


def follow(run: Run, outer: Run) -> None:
    """Makes a run end with another one, in whose block it was opened and whose parent it has."""
    outer.nested.add(run)
    if outer.aborted is not None and run.aborted is None:
        run.aborted = outer.aborted
        _abort_all(run)


def _abort_all(run: Run, withdrawn: bool = False) -> None:
    assert run.aborted is not None
    worker_aborts.write(run, {worker_aborts.ALL: run.aborted})
    for state in list(run.states.values()):
        state.abort(run.aborted, withdrawn)


def watch(run: Run) -> None:
    """Looks from now on for what somebody else does on the server to the run's tasks and its parent.

    On an agent, whose task is the parent, the agent stops the process.
    """
    worker_aborts.remove(run)
    watched: list[str] = []
    if run.main_task is not None and run.parent is not None and sdk.agent_task_id() is None:
        watched = [run.parent]  # a parent of the group's own is one of its open tasks
        run.backend.remember_name(run.parent, str(run.main_task.name))
    this = weakref.ref(run)  # the backend must not keep it alive

    def take_found(found: Mapping[str, ForeignStatus]) -> None:
        if (run := this()) is not None and not run.closed:
            take(run, found)

    run.backend.watch(watched, take_found)


def take(run: Run, found: Mapping[str, ForeignStatus]) -> None:
    """Takes over what somebody else has done to open tasks; of the parent, only that it was stopped.

    They take no data from now on, here and in workers; what was reported before is still delivered.
    """
    consequence = "their next reports raise TaskAbortedError"
    parent = found.get(run.parent or "")
    if run.parent and parent is not None and parent.word == "stopped" and run.aborted is None:
        run.backend.adopt({run.parent: parent}, consequence)
        if run.main_task is not None:
            keep_status(run.main_task)
        abort_run(run, parent.reason)
    states = [state for state in list(run.states.values()) if state.id in found and state.is_open]
    run.backend.adopt({state.id: found[state.id] for state in states}, consequence)
    aborts = {state.id: Abort.of_task(state, found[state.id]) for state in states}
    worker_aborts.write(run, aborts)
    for state in states:
        state.abort(aborts[state.id])


# --- how the script learns of it -----------------------------------------------------------------


def closed_error(
    state: TaskState, in_block: bool = True, call: str = "", run_closed: bool = False
) -> TaskClosedError | TaskAbortedError:
    """Makes the error of a call that needs an open task, when the task has ended.

    Args:
        state: The task.
        in_block: Whether the call is in a block of the task. In a worker of `multiprocessing.Pool`, whose
            `map` waits for ever if something leaves the function that is no `Exception`, it has to be.
        call: The call, if it is another one than of `report`: `"with"`, `"mark_failed"`.
        run_closed: Whether the group has ended.
    """
    if state.aborted is not None:
        state.abort_seen = True
        error = state.aborted.error(TaskAbortedError if state.aborted.is_of_run else state.abort_error)
        module = sys.modules.get("multiprocessing.process")
        if in_block or module is None or "PoolWorker" not in module.current_process().name:
            return error
        return TaskClosedError(state.spec.name, f"{error.done} by somebody else: {error.reason}")
    unused = state.in_sweep and state.status == "completed" and not state.metrics
    return TaskClosedError(
        state.spec.name, state.status, state.in_sweep, state.done, unused, state.elsewhere, call, run_closed
    )


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
    if run.aborted is not None and not run.closed:
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
    """Whether the group's block is that of the parent that was stopped: those of inner groups are not.

    A task may have been aborted before the parent was.
    """
    if run.aborted is None or not run.owns_parent or run.in_child:
        return False
    ids = {run.parent, *(state.id for one in (run, *run.nested) for state in one.states.values())}
    return all(error.id in ids for error in aborts)
