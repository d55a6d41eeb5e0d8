"""`reopen`: a task reference becomes a task again, in a worker process a `WorkerTask`.

Unpickled in the process that opened the group, a task is the very same object.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any, Never

from .._model.specs import TaskSpec
from .._run.naming import Names
from .._run.reporter import QUEUE_INTERVAL_S, STALL_TIMEOUT_S
from .._run.run import TASK_DELIVERY_TIMEOUT_S
from .._run.state import TaskState
from .._run.worker_log import write_begin
from .._task import GroupTask
from ..errors import TaskReopenError
from .pickling import TaskFields, TaskReference, open_groups, run_reference
from .worker_group import TaskRef, WorkerGroup, WorkerRun, worker_group

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .._model.status import Status


def reopen(run: bytes, vocabulary: bytes | str, fields: tuple[Any, ...]) -> GroupTask:
    """Gives the task that a reference stands for.

    Args:
        run: The packed `RunReference`.
        vocabulary: The packed vocabulary, or the path of its file.
        fields: The `TaskFields`.

    Raises:
        HandleError: This process cannot reach the place where the task's data goes.
    """
    reference, own = run_reference(run), TaskFields(*fields)
    group = open_groups.get(reference.info.run)
    if group is not None and group._run is not None and not group._run.in_child:
        task = group._tasks.get(own.key)
        if task is not None and task.id == own.id:
            return task
    return _worker_task(worker_group(reference, vocabulary, own.name), own, (run, vocabulary, fields))


def _worker_task(group: WorkerGroup, own: TaskFields, reference: TaskReference) -> WorkerTask:
    run = group._run
    spec = TaskSpec(own.key, own.name, own.task_name, own.place, own.attempt, own.params, own.tags)
    fields = spec.template_fields(run.info.name, own.id)
    channels = run.reporter.channels
    names = Names(run.template, run.vocabulary, own.id, fields, run.warned, run.namings, channels)
    params = {**own.params, **(own.more_params or {})}
    state = TaskState(spec, own.id, names, params, time.monotonic(), in_sweep=own.in_sweep)
    state.device = own.device
    ended = own.ended
    state.reopened = own.reopened
    if ended is None and (own.id, own.reopened) in run.ended:
        ended = (*run.ended[own.id, own.reopened], False)
    if ended is not None:
        state.status, state.reason, state.done = ended
        state.finished, state.ended = True, state.opened
    run.backend.remember_name(own.id, own.name)
    run.watched.add(own.id)
    look_for_abort(run, state)
    return WorkerTask(group, state, reference)


def look_for_abort(run: WorkerRun, state: TaskState) -> None:
    """Ends a task in this process if somebody else has ended it on the server."""
    run.aborts.apply([state], (run.info.name, run.parent))


class WorkerTask(GroupTask):
    """A task in a worker process.

    Attributes:
        map_folder: A folder that exists as long as the `map` that runs the task; None without one.
        is_mapped: Whether `map` runs the task and takes its counts back; else they go to the worker log.
    """

    __slots__ = ("_next_check", "_ref", "_reference", "_worker_run", "is_mapped", "map_folder")

    def __init__(self, group: WorkerGroup, state: TaskState, reference: TaskReference) -> None:
        super().__init__(group, group._run, state)
        self._reference = reference
        self._worker_run = group._run
        self._ref: TaskRef | None = None
        self._next_check = 0.0
        self.map_folder: str | None = None
        self.is_mapped = False

    def __reduce__(self) -> tuple[Any, ...]:
        return reopen, self._reference

    @property
    def url(self) -> str | None:
        """The task's page."""
        page = self._worker_run.page
        return page.replace("{}", self.id) if page is not None else super().url

    @property
    def is_local(self) -> bool:
        """Whether this machine has the run log."""
        return self._worker_run.log_path is not None

    def _report(self, values: Any, iteration: Any, levels: Any, context: dict[str, Any]) -> None:
        self._log_begin()
        if self.map_folder is not None and time.monotonic() >= self._next_check:
            self._next_check = time.monotonic() + QUEUE_INTERVAL_S
            if not os.path.isdir(self.map_folder):
                self._run.mark(self._state, "stopped", "the map has been stopped")
        if self._worker_run.aborts.is_due:
            look_for_abort(self._worker_run, self._state)
        super()._report(values, iteration, levels, context)
        if not self._is_in_block and not self.is_mapped and not self._run.reporter.flush(STALL_TIMEOUT_S):
            # Without a block, which waits at its end, any report may be the last one.
            self._warn_of_lost()

    @contextlib.contextmanager
    def activate(self) -> Iterator[GroupTask]:
        """Makes the task the current one; after the block, its plots and files are delivered.

        A `multiprocessing.Pool` kills its workers.
        """
        try:
            with super().activate():
                yield self
        finally:
            if not self.is_mapped:  # else its end delivers them
                with contextlib.suppress(TimeoutError):
                    self._run.backend.flush_clearml_task(self.id, TASK_DELIVERY_TIMEOUT_S)

    def __enter__(self) -> GroupTask:
        self._log_begin()
        return super().__enter__()

    def __exit__(self, *exc_info: Any) -> bool:
        stops = super().__exit__(*exc_info)
        self._log_counts()
        return stops

    def _end(self, status: Status, reason: str) -> None:
        self._log_begin()
        super()._end(status, reason)
        self._log_counts()

    def set_parameters(self, params: Mapping[str, Any] | None = None, **more: Never) -> None:
        """Adds parameters to the task's section `General`."""
        self._log_begin()
        super().set_parameters(params, **more)

    def reopen(self) -> GroupTask:
        """Raises `TaskReopenError`: only the process that opened the group can start a task again."""
        raise TaskReopenError(
            self._state.spec.name,
            "belongs to a group of another process, and this is a worker",
            "reopen it in the process that opened the group, and pass it to a worker after that",
        )

    def close(self, timeout: float | None = None) -> None:
        """Ends the task, as completed unless it has ended already."""
        self._log_begin()
        super().close(timeout)
        self._log_counts()

    def _log_begin(self) -> None:
        """Notes in the worker log that this process works on the task; its counts are due from now on."""
        if self.is_mapped or not self._state.is_open:
            return
        run = self._worker_run
        if self._ref is None:
            self._ref = TaskRef(self, run.collected.append)
            self._ref.worker, self._ref.state = write_begin(run.log_path, self._state), self._state
            run.refs.add(self._ref)
        self._ref.is_logged = False

    def _log_counts(self) -> None:
        if self._ref is not None:
            self._run.reporter.flush(STALL_TIMEOUT_S)
            self._worker_run.log_counts(self._ref)
