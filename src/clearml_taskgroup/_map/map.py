"""`group.map`: a function for each point of a space, here or in other threads and processes."""

from __future__ import annotations

import queue
import shutil
import threading
import time
import uuid
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from concurrent.futures.thread import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from .._log import logger
from .._run.failures import bare, clear_frames, is_caught, reason_of
from .._run.resume import log_progress
from .._run.run import TASK_PATIENCE, Run
from .._run.worker_counts import WorkerCounts, merge
from .._task import Failure, GroupTask
from ..errors import ArgumentError, BrokenExecutorError, TaskGroupError
from .call import Ended, Function, Parcel, call, has_begun, kept, run_here, unpacked
from .process_pool import Crew, pickled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .._group import TaskGroup
    from .._model.specs import TaskSpec
    from .._progress import Tracker
    from .._run.state import TaskState


AHEAD = 8
"""How many tasks are opened at once, before workers ask for them."""

MOST_DEATHS = 1000
"""How often points are handed to an executor again that gave them up before they had begun."""


@attrs.frozen
class Mapped:
    """What came of one point of `group.map`.

    Attributes:
        task: The task.
        value: What the function gave; None if it raised, or if an earlier attempt has completed the task.
        error: What the function raised, or why it could not be run to its end; else None.
    """

    task: GroupTask
    value: Any = None
    error: BaseException | None = None


class Engine(Protocol):
    """Where points run."""

    def run(self, tasks: Iterator[GroupTask]) -> Iterator[tuple[GroupTask, Ended]]:
        """Runs tasks; gives each with what came of it, in any order."""
        ...

    def stop(self) -> list[tuple[GroupTask, Ended]]:
        """Stops what is under way; gives what still came of it."""
        ...

    def close(self) -> None:
        """Lets go of what the engine holds; nothing is under way any more."""
        ...


def map_points(
    group: TaskGroup,
    run: Run,
    fn: Function,
    specs: list[TaskSpec],
    workers: int | None,
    executor: Executor | None,
    track: Callable[[int, int], Tracker] | None = None,
) -> list[Mapped]:
    """Runs a function on each point; see `TaskGroup.map`.

    Args:
        group: The group.
        run: Its run.
        fn: The function.
        specs: The points, checked.
        workers: How many processes.
        executor: Whose threads or processes.
        track: Makes what shows the progress, from how many points there are and are completed already.
    """
    done = [spec for spec in specs if run.is_done(spec.key)]
    waiting = run.prior.queued if run.prior is not None else frozenset()
    left = [spec for spec in specs if not run.is_done(spec.key) and spec.key not in waiting]
    engine = _engine(run, fn, None if workers is None else min(workers, len(left)), executor)
    mapped = {task.key: Mapped(task) for task in (group._open_tasks(run, done) if done else [])}
    if run.prior is not None:
        log_progress(len(done), len(specs) - len(done) - len(left), len(specs))
    portion = len(left) if isinstance(engine, _Submitted) else 1 if isinstance(engine, _Here) else AHEAD
    opened: list[GroupTask] = []

    def tasks() -> Iterator[GroupTask]:
        for first in range(0, len(left), portion or 1):
            fresh = group._open_tasks(run, left[first : first + portion])
            opened.extend(fresh)
            for task in fresh:
                if tracker is not None and not isinstance(engine, _Submitted):
                    tracker.begun(task._state)
                yield task

    def end(task: GroupTask, ended: Ended) -> None:
        mapped[task.key] = _ended(group, run, task, ended)
        endings.put(task._state)
        if tracker is not None:
            if isinstance(engine, _Submitted):  # nobody tells when it has begun
                tracker.begun(task._state)
            run.reporter.flush(TASK_PATIENCE)  # what was reported here is counted by then
            tracker.look()

    tracker = None if track is None else track(len(done) + len(left), len(done))
    endings = _Endings(run, min(group.close_timeout, TASK_PATIENCE))
    try:
        for task, ended in engine.run(tasks()):
            end(task, ended)
    except BaseException as error:
        for task, ended in engine.stop():
            if isinstance(ended.error, SystemExit) and ended.facts is not None:  # ours: it was told to end
                ended.facts.reason = reason_of(error)
            end(task, ended)
        for task in opened:
            task._state.died = task._state.died or task.key not in mapped
            run.mark(task._state, "failed" if isinstance(error, Exception) else "stopped", reason_of(error))
        raise
    finally:
        engine.close()
        endings.close()
        if tracker is not None:
            tracker.stop()
    return [mapped[spec.key] for spec in specs if spec.key in mapped]


def checked(fn: Any, workers: int | None, executor: Executor | None) -> None:
    """Checks what a `map` shall run, and where.

    Raises:
        ArgumentError: Both places are given, or something is of the wrong kind.
    """
    if not callable(fn):
        raise ArgumentError("fn", fn, "a function that takes a task")
    if workers is not None:
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise ArgumentError("workers", workers, "a number of processes from 1 on, or None to run here")
        if executor is not None:
            raise ArgumentError("executor", executor, "workers= or executor=, not both")
    is_instance = not isinstance(executor, type) and callable(getattr(executor, "submit", None))
    if executor is not None and not is_instance:
        raise ArgumentError("executor", executor, "a concurrent.futures.Executor")


def _engine(run: Run, fn: Function, workers: int | None, executor: Executor | None) -> Engine:
    if executor is not None:
        if isinstance(executor, ProcessPoolExecutor):
            pickled(fn)
        return _Submitted(fn, executor, _begun_folder(run, executor))
    if not workers or run.backend.mode == "memory":
        return _Here(fn)
    crew = Crew(pickled(fn), repr(fn), workers)
    try:
        crew.start()
    except BaseException:
        crew.stop()
        raise
    return crew


def _ended(group: TaskGroup, run: Run, task: GroupTask, ended: Ended) -> Mapped:
    """Takes over what came of a point."""
    state, error = task._state, ended.error
    if ended.facts is not None:
        state.opened = time.monotonic() - ended.seconds
        merge(run, state, ended.facts)
        if ended.seconds == 0.0 and ended.text:  # nobody could tell the console any more
            run.reporter.put_text(task.id, ended.text)
    if isinstance(error, Exception):
        known = any(failure.exception is error for failure in group._failures)
        if not known and is_caught(error, group.catch):
            clear_frames(error)
            group._failures.append(Failure(task, error, ended.text))
        elif not known and state.status == "failed":
            state.failure = (bare(error, ended.text), ended.text)
        if not known:
            logger.warning("%s failed, the others go on: %s", task, reason_of(error))
    return Mapped(task, None if error is not None else ended.value, error)


# --- engines ---------------------------------------------------------------------------------------


@attrs.define(eq=False)
class _Here:
    """One point after another, in this thread."""

    fn: Function
    _left: list[tuple[GroupTask, Ended]] = attrs.field(factory=list)

    def run(self, tasks: Iterator[GroupTask]) -> Iterator[tuple[GroupTask, Ended]]:
        for task in tasks:
            ended = run_here(self.fn, task)
            if ended.error is not None and not isinstance(ended.error, Exception):
                self._left.append((task, ended))
                raise ended.error
            yield task, ended

    def stop(self) -> list[tuple[GroupTask, Ended]]:
        return self._left

    def close(self) -> None:
        return


@attrs.define(eq=False)
class _Submitted:
    """Points on an executor that the user has made."""

    fn: Function
    executor: Executor
    folder: str | None
    _pending: dict[Future[Ended | bytes], GroupTask] = attrs.field(factory=dict)
    _broken: BaseException | None = None
    _deaths: int = 0

    def run(self, tasks: Iterator[GroupTask]) -> Iterator[tuple[GroupTask, Ended]]:
        refused: list[GroupTask] = []
        through: queue.SimpleQueue[Future[Ended | bytes]] = queue.SimpleQueue()
        for task in tasks:
            if self._broken is None:
                try:
                    future = self.executor.submit(call, self.fn, Parcel(task), self.folder)
                except Exception as error:  # broken, shut down: each executor has its own
                    self._broken = error
                else:
                    self._pending[future] = task
                    future.add_done_callback(through.put)
                    continue
            refused.append(task)
        while self._pending:
            future = through.get()
            task = self._pending[future]
            if self._is_collateral(future, task):
                again = self.executor.submit(call, self.fn, Parcel(task), self.folder)
                self._pending[again] = self._pending.pop(future)
                again.add_done_callback(through.put)
                continue
            ended = self._result(future, task)
            if ended.facts is None and isinstance(ended.error, KeyboardInterrupt):
                raise ended.error  # in an executor that runs its work in this thread
            del self._pending[future]
            yield task, ended
        for task in refused:
            yield task, self._failed(task, self._broken or RuntimeError("it takes nothing"))

    def _is_collateral(self, future: Future[Ended | bytes], task: GroupTask) -> bool:
        """Whether Dask gave a point up for the deaths of others, before it had begun."""
        if future.cancelled() or type(future.exception()).__name__ != "KilledWorker":
            return False
        self._deaths += 1
        return self._deaths <= MOST_DEATHS and self.folder is not None and not has_begun(self.folder, task.id)

    def _result(self, future: Future[Ended | bytes], task: GroupTask) -> Ended:
        try:
            result = future.result(timeout=0)
        except BaseException as error:  # also CancelledError, and an interrupt of ours
            if not future.done():
                raise
            return self._failed(task, error)
        return unpacked(result) if isinstance(result, bytes) else result

    def _failed(self, task: GroupTask, error: BaseException) -> Ended:
        """What came of a point of which the executor tells nothing but that it broke."""
        found = kept(self.folder, task.id)
        if found is not None:
            ended = unpacked(found)
            if not isinstance(ended.error, SystemExit):  # by which a breaking pool ends its other workers
                return ended  # it was through, and its result got lost
        if isinstance(error, (BrokenExecutor, CancelledError)) or type(error).__name__ == "KilledWorker":
            kind, began = type(self.executor).__name__, has_begun(self.folder, task.id)
            error = BrokenExecutorError(str(task), kind, reason_of(error), began)
        reason = str(error) if isinstance(error, TaskGroupError) else reason_of(error)
        return Ended(error=error, facts=WorkerCounts("failed", reason, died=True), text=f"{reason}\n")

    def stop(self) -> list[tuple[GroupTask, Ended]]:
        for future in self._pending:
            future.cancel()
        ready = [(task, future) for future, task in self._pending.items() if future.done()]
        return [(task, self._result(future, task)) for task, future in ready if not future.cancelled()]

    def close(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _begun_folder(run: Run, executor: Executor) -> str | None:
    """A folder beside the run's record, where workers note what they have begun."""
    if run.run_log is None or isinstance(executor, ThreadPoolExecutor):
        return None
    folder = run.run_log.path.with_suffix(f".{uuid.uuid4().hex[:8]}-begun")
    try:
        folder.mkdir()
    except OSError:
        return None
    return str(folder)


@attrs.define(eq=False)
class _Endings:
    """Tells the store how tasks ended, while others run: as many at a time as have ended meanwhile."""

    run: Run
    patience: float
    _ended: list[TaskState] = attrs.field(factory=list)
    _news: threading.Condition = attrs.field(factory=threading.Condition)
    _closing: bool = False
    _thread: threading.Thread | None = None

    def put(self, state: TaskState) -> None:
        with self._news:
            self._ended.append(state)
            self._news.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="clearml-taskgroup-ends", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._ended or self._closing)
                states, self._ended = self._ended, []
            if not states:
                return
            self.run.finish(states, self.patience)  # what could not be told is left to the group's end

    def close(self) -> None:
        """Waits until all is told that can be told now."""
        with self._news:
            self._closing = True
            self._news.notify()
        if self._thread is not None:
            self._thread.join()
