"""`group.map`: calls a function with a task for each configuration, here or in workers."""

from __future__ import annotations

import math
import time
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import attrs

from .._log import logger
from .._run import sharing
from .._run.abort import check_run
from .._run.failures import clear_frames, ending_of, is_caught, keep_failure, reason_of
from .._run.reporter import MAX_TIMEOUT_S
from .._run.run import TASK_DELIVERY_TIMEOUT_S, Run
from .._run.tasks import log_progress
from .._run.worker_counts import merge
from .._text import shown
from ..errors import TaskAbortedError
from .begun_calls import make_folder
from .call import CallResult, Function, call_here
from .devices import find_devices
from .executor import ExecutorEngine, workers_of
from .process_pool import ProcessPool, pickle_function
from .upcoming import Upcoming

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .._model.specs import TaskSpec
    from .._progress.tracker import Tracker
    from .._run.sharing import Unclaimed
    from .._task import GroupTask
    from .options import MapOptions

T = TypeVar("T")

OPENED_AHEAD = 8
"""How many tasks are opened at once for a process pool, before its workers ask for them."""


@attrs.frozen
class Mapped(Generic[T]):
    """The outcome of `group.map` for one configuration.

    Attributes:
        task: The task.
        value: What the function returned; None if it raised, or if an earlier attempt has completed the
            task.
        error: What the function raised, or why it did not run to its end; else None. It is a
            `TaskAbortedError` if somebody has ended the task meanwhile, in ClearML's web page for example.
    """

    task: GroupTask
    value: T | None = attrs.field(default=None, repr=shown)
    error: BaseException | None = None


class Engine(Protocol):
    """Makes the calls of a map."""

    def run(self, upcoming: Upcoming) -> Iterator[tuple[GroupTask, CallResult]]:
        """Calls the function with each task; gives the results in any order.

        A result may be followed by another task: a failed call is made again.
        """
        ...

    def stop(self) -> list[tuple[GroupTask, CallResult]]:
        """Stops the calls under way; gives the results that still arrived."""
        ...

    def close(self) -> None:
        """Frees what the engine holds; no call is under way any more."""
        ...


def map_configurations(
    run: Run,
    open_tasks: Callable[[list[TaskSpec]], list[GroupTask]],
    open_next: Callable[[Unclaimed], GroupTask | None],
    fn: Function,
    specs: list[TaskSpec],
    options: MapOptions,
    track: Callable[[int, int], Tracker] | None = None,
) -> list[Mapped[Any]]:
    """Calls a function with a task for each configuration; see `TaskGroup.map`.

    Args:
        run: The group's run.
        open_tasks: Opens tasks of the group.
        open_next: Opens the next task that no other process of a shared run has.
        fn: The function.
        specs: The tasks of all configurations, checked.
        options: How the calls are made.
        track: Makes the progress display, given how many configurations there are, and how many of them
            are completed already.
    """
    options = options.in_run(run)
    done = [spec for spec in specs if run.is_done(spec.key)]
    queued = run.prior.queued if run.prior is not None else frozenset()
    left = [spec for spec in specs if not run.is_done(spec.key) and spec.key not in queued]
    space: Unclaimed | None = None
    if run.sharing is not None:
        sharing.look(run)
        space = sharing.unclaimed(run, left)
        left = list(space.left.values())
    engine = _engine(run, fn, len(left), options)
    mapped: dict[str, Mapped[Any]] = {task.key: Mapped(task) for task in (open_tasks(done) if done else [])}
    if run.prior is not None:
        log_progress(len(done), len(specs) - len(done) - len(left), len(specs))
    on_executor = isinstance(engine, ExecutorEngine)
    opened_at_once = len(left) if on_executor else 1 if isinstance(engine, HereEngine) else OPENED_AHEAD
    tracker = None if track is None else track(len(done) + len(left), len(done))

    def begun(task: GroupTask) -> None:
        if tracker is not None and not on_executor:  # which does not say when a call begins
            tracker.begun(task._state)

    upcoming = Upcoming(run, left, space, open_tasks, open_next, opened_at_once, options.retries, begun)

    def take(task: GroupTask, result: CallResult, retry: bool = True) -> None:
        error, is_logged = result.error, _is_caught_by_block(task, result.error)
        outcome = _mapped(run, task, result)
        run.end_later(task._state)
        number = upcoming.retry(task, error) if retry else 0
        if not number:
            mapped[task.key] = outcome
        if isinstance(error, Exception):
            clear_frames(error)  # the next call may need the memory of what they hold
        if number:
            follows = f"retry {number} of {options.retries} follows"
            logger.warning("%s failed, %s: %s", task, follows, task.status_reason)
        elif isinstance(error, Exception) and not is_logged:
            logger.warning("%s failed, the others go on: %s", task, reason_of(error))
        if tracker is not None:
            if on_executor:
                tracker.begun(task._state)
            run.reporter.flush(TASK_DELIVERY_TIMEOUT_S)  # so that values reported here are counted
            tracker.update(task.key if number else "")

    try:
        for task, result in engine.run(upcoming):
            take(task, result)
        check_run(run)
        if run.sharing is not None:
            sharing.log_passed(run, specs, mapped)
    except BaseException as error:
        for task, result in engine.stop():
            if isinstance(result.error, SystemExit) and result.facts is not None:  # raised by our SIGTERM
                result.facts.reason = reason_of(error)
            take(task, result, retry=False)
        for task in upcoming.opened:
            task._state.uncounted = task._state.uncounted or task.key not in mapped
            run.mark(task._state, *ending_of(error))
        raise
    finally:
        engine.close()
        run.ender.wait(MAX_TIMEOUT_S)
        if tracker is not None:
            tracker.stop()
    return [mapped[spec.key] for spec in specs if spec.key in mapped]


def _engine(run: Run, fn: Function, count: int, options: MapOptions) -> Engine:
    """Makes the engine for so many configurations; worker processes are started."""
    if options.executor is not None:
        if isinstance(options.executor, ProcessPoolExecutor):
            pickle_function(fn)  # raises a better error than the executor
        # What it is given belongs to this process, and other processes of the run cannot take it any more.
        most = math.inf if run.sharing is None else workers_of(options.executor)
        return ExecutorEngine(fn, options.executor, make_folder(run, options.executor), most)
    if options.workers is None or count == 0:
        return HereEngine(fn)
    workers = min(options.workers, count)
    devices = find_devices(options.devices)
    pool = ProcessPool(pickle_function(fn), repr(fn), workers, options.timeout, devices[:workers])
    try:
        pool.start()
    except BaseException:
        pool.stop()
        raise
    return pool


def _mapped(run: Run, task: GroupTask, result: CallResult) -> Mapped[Any]:
    """Merges a result into the run."""
    state, error = task._state, result.error
    if result.facts is not None:
        state.opened = time.monotonic() - result.seconds
        run.worker_log.merge(run, 0.0)  # for what the counts do not have: what names stand for
        merge(run, state, result.facts)
        if result.unlogged:
            run.reporter.put_text(task.id, result.unlogged)
    if isinstance(error, Exception) and not _is_caught_by_block(task, error):
        if is_caught(error, run.options.catch):
            task._keep_caught(error, result.text)
        elif state.status == "failed":
            keep_failure(state, error, result.text)
    return Mapped(task, None if error is not None else result.value, error)


def _is_caught_by_block(task: GroupTask, error: BaseException | None) -> bool:
    """Whether the task's own block has kept an error, and logged it."""
    return task._caught is not None and task._caught.exception is error


@attrs.define(eq=False)
class HereEngine:
    """Makes one call after another, in this thread."""

    fn: Function
    _interrupted: list[tuple[GroupTask, CallResult]] = attrs.field(factory=list)

    def run(self, upcoming: Upcoming) -> Iterator[tuple[GroupTask, CallResult]]:
        """Calls the function with each task."""
        while (task := upcoming.next()) is not None:
            result = call_here(self.fn, task)
            error = result.error
            is_own_abort = isinstance(error, TaskAbortedError) and error.id == task.id
            if error is not None and not isinstance(error, Exception) and not is_own_abort:
                self._interrupted.append((task, result))
                raise error
            yield task, result

    def stop(self) -> list[tuple[GroupTask, CallResult]]:
        """Gives the result of the call that was interrupted."""
        return self._interrupted

    def close(self) -> None:
        """Does nothing."""
