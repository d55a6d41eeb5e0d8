"""`map` on an executor of the user's: threads, processes, loky, Dask."""

from __future__ import annotations

import math
import queue
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from typing import TYPE_CHECKING

import attrs

from .._run.failures import reason_of
from .._run.worker_counts import WorkerCounts
from ..errors import TaskGroupError, WorkerDiedError
from .begun_calls import has_begun, kept_result, remove
from .call import CallResult, DeferredTask, Function, open_and_call, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._task import GroupTask
    from .upcoming import Upcoming

SHARED_CALLS = 8
"""How many calls of a shared run an executor is given at a time if it does not say how many it can make."""
MAX_RESUBMITS = 1000
"""How many calls that an executor gave up before they began are submitted to it again, in all."""


def workers_of(executor: Executor) -> int:
    """Says how many calls an executor makes at once, as far as that is known."""
    workers = getattr(executor, "_max_workers", None)  # of Python's own and of loky's
    return workers if isinstance(workers, int) and workers > 0 else SHARED_CALLS


@attrs.define(eq=False)
class ExecutorEngine:
    """Submits all calls to an executor.

    Args:
        fn: The user's function.
        executor: The user's executor.
        folder: The folder of `begun_calls`; None without one.
        most: How many calls the executor is given at a time.
    """

    fn: Function
    executor: Executor
    folder: str | None
    most: float = math.inf
    _pending: dict[Future[CallResult | bytes], GroupTask] = attrs.field(factory=dict)
    _ended: queue.SimpleQueue[Future[CallResult | bytes]] = attrs.field(factory=queue.SimpleQueue)
    _submit_error: BaseException | None = None
    _resubmits: int = 0

    def run(self, upcoming: Upcoming) -> Iterator[tuple[GroupTask, CallResult]]:
        """Runs the function on each task; gives the results as the calls end."""
        refused: list[GroupTask] = []
        while upcoming.has_more or self._pending:
            while len(self._pending) < self.most and (task := upcoming.next()) is not None:
                if not self._submit_if_possible(task):
                    refused.append(task)
            if not self._pending:
                continue
            future = self._ended.get()
            task = self._pending[future]
            if self._can_resubmit(future, task):
                self._submit(task)
                del self._pending[future]
                continue
            result = self._result(future, task)
            if result.facts is None and isinstance(result.error, KeyboardInterrupt):
                raise result.error  # in an executor that makes its calls in this thread
            del self._pending[future]
            yield task, result
        for task in refused:
            yield task, self._failed(task, self._submit_error or RuntimeError("it accepts no calls"))

    def _submit_if_possible(self, task: GroupTask) -> bool:
        if self._submit_error is None:
            try:
                self._submit(task)
            except Exception as error:  # broken or shut down; each executor has its own classes
                self._submit_error = error
        return self._submit_error is None

    def _submit(self, task: GroupTask) -> None:
        future = self.executor.submit(open_and_call, self.fn, DeferredTask(task), self.folder)
        self._pending[future] = task
        future.add_done_callback(self._ended.put)

    def _can_resubmit(self, future: Future[CallResult | bytes], task: GroupTask) -> bool:
        """Whether Dask gave a call up before it began, because the workers of other calls died."""
        if future.cancelled() or type(future.exception()).__name__ != "KilledWorker":
            return False
        self._resubmits += 1
        return (
            self._resubmits <= MAX_RESUBMITS
            and self.folder is not None
            and not has_begun(self.folder, task.id)
        )

    def _result(self, future: Future[CallResult | bytes], task: GroupTask) -> CallResult:
        try:
            result = future.result(timeout=0)
        except BaseException as error:  # also CancelledError, and an interrupt of this thread
            if not future.done():
                raise
            return self._failed(task, error)
        return unpack(result) if isinstance(result, bytes) else result

    def _failed(self, task: GroupTask, error: BaseException) -> CallResult:
        """The result of a call of which the executor says only that it broke."""
        kept = kept_result(self.folder, task.id)
        if kept is not None:
            result = unpack(kept)
            # A breaking pool ends its other workers by SIGTERM, which raises SystemExit in their calls.
            if not isinstance(result.error, SystemExit):
                return result  # the call had ended, and its result got lost
        if isinstance(error, (BrokenExecutor, CancelledError)) or type(error).__name__ == "KilledWorker":
            kind, began = type(self.executor).__name__, has_begun(self.folder, task.id)
            was = "was running" if began else "was waiting"
            error = WorkerDiedError(
                str(task),
                f"{was} when the executor {kind} broke ({reason_of(error)})",
                "run the script again with resume=True, which skips completed tasks. With workers=N a worker "
                "that dies ends one task only",
            )
        reason = str(error) if isinstance(error, TaskGroupError) else reason_of(error)
        text, facts = f"{reason}\n", WorkerCounts("failed", reason, died=True)
        return CallResult(error=error, facts=facts, text=text, unlogged=text)

    def stop(self) -> list[tuple[GroupTask, CallResult]]:
        """Cancels the calls that have not begun; gives the results of those that have ended."""
        for future in self._pending:
            future.cancel()
        ready = [(task, future) for future, task in self._pending.items() if future.done()]
        return [(task, self._result(future, task)) for task, future in ready if not future.cancelled()]

    def close(self) -> None:
        """Removes the folder; calls that still run end at their next report."""
        if self.folder is not None:
            remove(self.folder)
