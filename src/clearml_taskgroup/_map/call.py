"""One call of `map`: the function is called with one task, here or in a worker, and its result goes back."""

from __future__ import annotations

import pickle
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import attrs

from .._run.abort import aborts_in, closed_error
from .._run.failures import add_note, clear_frames, mark_by_exception, reason_of, traceback_text
from .._run.run import TASK_DELIVERY_TIMEOUT_S
from .._run.worker_counts import WorkerCounts, counts_of, pack_error, unpack_error
from .._task import GroupTask
from ..errors import CallTimeoutError, CarriedError, DeliveryError, ValuePickleError, WorkerDiedError
from . import begun_calls
from .worker_task import WorkerTask, reopen

Function = Callable[[GroupTask], Any]


@attrs.define
class CallResult:
    """The result of one call.

    Attributes:
        value: What the function returned.
        error: What it raised, or why it could not be called or did not return.
        text: The traceback.
        unlogged: Text for the task's console that the worker could not write there.
        seconds: How long the call took.
        facts: What a worker has counted for the task; None where the task has it itself.
    """

    value: Any = None
    error: BaseException | None = None
    text: str = ""
    unlogged: str = ""
    seconds: float = 0.0
    facts: WorkerCounts | None = None


class DeferredTask:
    """A task for another process that is reopened by `open`, not by unpickling.

    An error of reopening it can then be the result of its call.
    """

    def __init__(self, task: GroupTask | None, reference: tuple[Any, ...] = ()) -> None:
        self._task = task
        self._reference = reference

    def __reduce__(self) -> tuple[Any, ...]:
        reference = self._reference if self._task is None else self._task.__reduce__()[1]
        return DeferredTask, (None, reference)

    def open(self) -> GroupTask:
        """Gives the task.

        Raises:
            HandleError: This process cannot reach the place where the task's data goes.
            LoginError: It cannot log in at the server.
        """
        return self._task if self._task is not None else reopen(*self._reference)


def died_result(task: GroupTask, how: str, seconds: float = 0.0) -> CallResult:
    """The result of a call whose process died."""
    error = WorkerDiedError(str(task), f"was not finished: {how}", "resume=True or retries= runs it again")
    facts = WorkerCounts("failed", how, died=True)
    return CallResult(error=error, facts=facts, text=f"{how}\n", unlogged=f"{how}\n", seconds=seconds)


def timed_out_result(
    task: GroupTask, timeout: float, seconds: float, partial: CallResult | None = None
) -> CallResult:
    """The result of a call that was ended because it took too long.

    Args:
        task: The task.
        timeout: The limit in seconds.
        seconds: How long the call took.
        partial: What its process returned when it was asked to end; None if it was killed.
    """
    error, text = CallTimeoutError(str(task), timeout), partial.text if partial is not None else ""
    facts = partial.facts if partial is not None else None
    facts = facts or WorkerCounts("failed", died=True)
    facts.status, facts.reason, facts.failure = "failed", error.reason, None
    if text:
        add_note(error, f"where it was:\n{text}")
    unlogged = f"{error.reason}\n"
    return CallResult(error=error, facts=facts, text=text or unlogged, unlogged=unlogged, seconds=seconds)


# --- calling ---------------------------------------------------------------------------------------


def call_here(fn: Function, task: GroupTask) -> CallResult:
    """Calls the function in the process that opened the task.

    Raises nothing: the caller raises `error` where it is a `KeyboardInterrupt` or the like.
    """
    began = task._state.opened = time.monotonic()
    result = _call(fn, task)
    task._run.mark(task._state, "completed")
    result.seconds = time.monotonic() - began
    return result


def call_in_worker(fn: Function, task: WorkerTask) -> bytes:
    """Calls the function in a worker process; what it reported is on disk before the result is sent."""
    began = time.monotonic()
    run, state = task._run, task._state
    result = _call(fn, task)
    if isinstance(result.error, KeyboardInterrupt) and task.map_folder:
        begun_calls.stop(task.map_folder)
    try:
        value = _pickle_value(result.value)
    except Exception as cause:  # whatever an object's own code raises
        result = CallResult(error=ValuePickleError(str(task), type(result.value).__name__, reason_of(cause)))
        value, result.text = _pickle_value(None), f"{result.error}\n"
        if state.is_open:
            run.reporter.put_text(task.id, result.text)
            run.mark(state, "failed", str(result.error))
    run.mark(state, "completed")
    errors = run.finish([state], min(run.options.close_timeout, TASK_DELIVERY_TIMEOUT_S))
    facts = counts_of(state, run.reporter)
    for error in errors:
        problem = str(error)
        if isinstance(error, DeliveryError):  # the group makes the sentence about the points
            facts.lost, problem = facts.lost + error.points, error.cause
        facts.trouble = f"{problem} (on {platform.node()})"
    if result.error is not None:  # the next call may need the memory of what its frames hold
        clear_frames(result.error)
    return _pack(value, result, time.monotonic() - began, facts)


def open_and_call(fn: Function, deferred: DeferredTask, folder: str | None = None) -> CallResult | bytes:
    """Calls the function with a task, which is reopened if this is another process.

    An executor may start a call again that a worker had begun before it died: with a folder, the
    function is called once at most.

    Args:
        fn: The user's function.
        deferred: The task.
        folder: The folder of `begun_calls`; None where nothing starts a call again.
    """
    try:
        task = deferred.open()
        if not isinstance(task, WorkerTask):  # a thread of the process that opened the task
            return call_here(fn, task)
        task.is_mapped = True
        if folder is not None and (known := _begin(task, folder)) is not None:
            return known
    except Exception as error:  # it cannot be opened here
        reason, text = reason_of(error), traceback_text(error)
        failed = CallResult(error=error, text=text)
        return _pack(_pickle_value(None), failed, 0.0, WorkerCounts("failed", reason))
    data = call_in_worker(fn, task)
    if folder is not None:
        begun_calls.keep_result(folder, task.id, data)
    return data


def _begin(task: WorkerTask, folder: str) -> CallResult | bytes | None:
    """Notes that a call begins; gives its result if it is not to begin, or had begun before."""
    state = begun_calls.begin(task, folder)
    if state == "map stopped":
        return CallResult(facts=WorkerCounts("stopped", "the map has been stopped"))
    if state == "interrupted":
        why = "a worker was interrupted before it began"
        return CallResult(error=KeyboardInterrupt(why), facts=WorkerCounts("stopped", why))
    if state == "begins":
        return None
    return begun_calls.kept_result(folder, task.id) or died_result(task, state)


def _call(fn: Function, task: GroupTask) -> CallResult:
    run, state = task._run, task._state
    if state.aborted is not None:  # before its call began
        return CallResult(error=closed_error(state))
    try:
        with task.activate():
            value = fn(task)
    except BaseException as error:  # KeyboardInterrupt too: each task ends with a status
        text = mark_by_exception(run, state, error) if state.is_open else traceback_text(error)
        if state.aborted is None or not (isinstance(error, Exception) or aborts_in(error)):
            return CallResult(error=error, text=text)
    if state.aborted is not None:  # whatever the function made of it
        return CallResult(error=closed_error(state))
    if task._caught is not None:  # by the task's own block in the function
        return CallResult(value, task._caught.exception, task._caught.traceback)
    return CallResult(value)


# --- results as bytes ------------------------------------------------------------------------------


def _pack(value: bytes, result: CallResult, seconds: float, facts: WorkerCounts) -> bytes:
    error = None if result.error is None else pack_error(result.error, result.text)
    try:
        return pickle.dumps((value, error, result.text, seconds, facts), pickle.HIGHEST_PROTOCOL)
    except Exception:  # parameters were set that cannot be pickled
        facts.params = {name: str(given) for name, given in facts.params.items()}
        return pickle.dumps((value, error, result.text, seconds, facts), pickle.HIGHEST_PROTOCOL)


def unpack(data: bytes) -> CallResult:
    """Reads the bytes of `call_in_worker`."""
    value, error, text, seconds, facts = pickle.loads(data)
    unlogged = text if seconds == 0.0 else ""  # the task could not be opened there
    result = CallResult(text=text, unlogged=unlogged, seconds=seconds, facts=facts)
    try:
        result.value = pickle.loads(value)
    except Exception as cause:
        result.error = CarriedError(f"what the function gave cannot be read here: {reason_of(cause)}")
    if error is not None:
        result.error = unpack_error(*error)
        add_note(result.error, f"raised in a worker process:\n{text}")
    return result


def _pickle_value(value: Any) -> bytes:
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:
        cloudpickle = sys.modules.get("cloudpickle")  # loaded where it has pickled the function
        if cloudpickle is None:
            raise
        return bytes(cloudpickle.dumps(value))
