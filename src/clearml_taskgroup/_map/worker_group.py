"""What a worker process has of a group: `WorkerGroup` with its settings, `WorkerRun` with its reporter."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import threading
import time
import weakref
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

import attrs

from .. import _fork
from .._current import enter, groups, leave
from .._model.metrics import Metric
from .._model.name_template import NameTemplate
from .._model.vocabulary import Vocabulary
from .._run import console
from .._run.reporter import STALL_TIMEOUT_S
from .._run.run import Run, RunOptions
from .._run.worker_aborts import WorkerAborts, abort_path
from .._run.worker_counts import counts_of
from .._run.worker_log import write_counts, write_names
from .._run.worker_sigterm import before_sigterm
from .._storage.memory import MemoryBackend
from .._storage.offline import OfflineBackend
from .._storage.run_log import read_first
from .._storage.worker import WorkerBackend
from ..errors import GroupStateError, HandleError
from .pickling import RunReference, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .._group import TaskGroup
    from .._model.specs import RunInfo
    from .._model.status import Status
    from .._run.state import TaskState
    from .._storage.base import Backend
    from .._storage.online import OnlineBackend
    from .._task import GroupTask

MAX_OPEN_RUNS = 8
"""How many runs a worker process keeps open for further tasks; beyond that the oldest is closed."""
REPORTER_STOP_S = 1.0
"""Seconds that a run's reporter gets to stop, after what was reported has been delivered."""


class TaskRef(weakref.ref["GroupTask"]):
    """A weak reference to a task that a user passed here; its counts are logged when it is collected.

    A `__del__` of the task would not do: the `SystemExit` that SIGTERM raises is ignored there, and a
    pool that ends its workers right after their last result would wait for ever.

    Attributes:
        worker: The name under which this process writes to the worker log.
        is_logged: Whether the log has all that the task was given.
    """

    __slots__ = ("is_logged", "state", "worker")
    worker: str
    state: TaskState
    is_logged: bool


class WorkerRun(Run):
    """A run in a worker process: its tasks report here, but are created and ended where it was opened.

    Attributes:
        log_path: The run log, where this machine has it.
        page: The address of a task's page, with `{}` in the place of the id.
        ended: Status and reason of the tasks that have ended in this process, by their ids and by how
            often they had been reopened.
        refs: The tasks that users passed here.
        collected: Those of them that nothing refers to any more.
        aborts: Which tasks somebody else has ended.
        watched: The ids of the tasks and the parent that this process asks the server for.
    """

    def __init__(
        self,
        info: RunInfo,
        backend: Backend,
        template: NameTemplate,
        vocabulary: Vocabulary | None,
        options: RunOptions,
        parent: str | None,
    ) -> None:
        super().__init__(info, backend, template, vocabulary, options, None)
        self.parent = parent
        self.log_path: Path | None = None
        self.page: str | None = None
        self.ended: dict[tuple[str, int], tuple[Status, str]] = {}
        self.refs: set[TaskRef] = set()
        self.collected: deque[TaskRef] = deque()
        self.aborts = WorkerAborts(None)
        self.watched: set[str] = set()
        self.reporter.after_batch = self.log_collected

    def end_later(self, state: TaskState) -> None:
        """Finishes an ended task now: this process may die next."""
        self.finish([state], self.ender.timeout)

    def finish(self, states: Iterable[TaskState], timeout: float, last: bool = False) -> list[Exception]:
        """Delivers what the ended tasks were given, so that nothing is lost if this process dies."""
        todo = [state for state in states if not state.finished and not state.is_open]
        if not todo:
            return []
        deadline = time.monotonic() + timeout
        errors: list[Exception] = []
        for state in todo:
            try:
                self.backend.wait_for_uploads(state.id, max(0.0, deadline - time.monotonic()))
            except Exception as error:  # ClearML's own uploads
                errors.append(error)
        if not self.flush(max(1.0, deadline - time.monotonic())) and (missing := self.undelivered(todo)):
            errors.append(missing)
        for state in todo:
            state.finished = True
            state.names.forget_channels()
            self.ended[state.id, state.reopened] = (state.status, state.reason)
            self.watched.discard(state.id)
        return errors

    def store_names(self, state: TaskState) -> None:
        """Stores the names that would be read back as another metric: also where the run was opened."""
        new = {name: state.names.ambiguous[name] for name in state.names.unstored}
        super().store_names(state)
        with contextlib.suppress(OSError):
            write_names(self.log_path, state, new)

    def log_counts(self, ref: TaskRef) -> None:
        """Writes a task's counts to the worker log, unless it has them."""
        if not ref.is_logged:
            with contextlib.suppress(OSError):
                write_counts(self.log_path, ref.worker, ref.state, counts_of(ref.state, self.reporter))
            ref.is_logged = True

    def log_collected(self) -> None:
        """Logs the counts of collected tasks; called after a batch, when their values are delivered."""
        while self.collected:
            ref = self.collected.popleft()
            self.refs.discard(ref)
            self.log_counts(ref)
            ref.state.names.forget_channels()

    def leave(self) -> None:
        """Delivers everything, logs all counts and stops the threads."""
        with contextlib.suppress(Exception):
            self.reporter.flush(STALL_TIMEOUT_S)
            self.reporter.stop(REPORTER_STOP_S)
            self.log_collected()
            for ref in self.refs:  # as the process ends, these are not collected any more
                self.log_counts(ref)
            self.backend.close()


@attrs.define(eq=False)
class WorkerGroup:
    """A group in a worker process: its name and settings, and the run that its tasks report to.

    All other public attributes of `TaskGroup` raise `GroupStateError`.
    """

    project: str
    name: str
    id: str
    template: NameTemplate = attrs.field(repr=False)
    vocabulary: Vocabulary | None = attrs.field(repr=False)
    catch: tuple[type[Exception], ...] = attrs.field(repr=False)
    close_timeout: float = attrs.field(repr=False)
    _run: WorkerRun = attrs.field(repr=False)
    _iteration_task: GroupTask | None = attrs.field(default=None, init=False, repr=False)

    def flush(self, timeout: float | None = None) -> None:
        """Waits until all that was reported in this process is delivered.

        Args:
            timeout: The most seconds to wait; None for `close_timeout`.

        Raises:
            DeliveryError: It was not delivered by then.
        """
        run = self._run
        if not run.flush(self.close_timeout if timeout is None else timeout):
            missing = run.undelivered([ref.state for ref in run.refs])
            if missing is not None:
                raise missing

    @contextlib.contextmanager
    def activate(self) -> Iterator[WorkerGroup]:
        """Makes the group the current one."""
        as_group = cast("TaskGroup", self)
        enter(groups, as_group)
        try:
            yield self
        finally:
            leave(groups, as_group)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        raise GroupStateError(
            self.name,
            f"was opened in another process, and this is a worker: {name} works only in the process that "
            "opened the group",
            "return what it needs from the worker",
        )

    def __reduce__(self) -> NoReturn:
        raise GroupStateError(
            self.name, "stays in the process that opened it", "pass a task to other processes, or its report"
        )


# --- the groups of this process --------------------------------------------------------------------

_groups: dict[str, WorkerGroup] = {}
"""The open groups by `RunReference.opening`, the one used last at the end."""
_opening = threading.Lock()


def worker_group(reference: RunReference, vocabulary: bytes | str, task: str) -> WorkerGroup:
    """Gives this process's group for a run; opens it for the run's first task.

    Args:
        reference: The run.
        vocabulary: The packed vocabulary, or the path of its file.
        task: The task's name, for errors.

    Raises:
        HandleError: This process cannot reach the place where the run's data goes.
    """
    if reference.mode == "offline":  # where ClearML's own objects look for the session
        os.environ["CLEARML_CACHE_DIR"] = os.path.dirname(reference.where)
    with _opening:
        group = _groups.pop(reference.opening, None)
        if group is None:
            group = _open(reference, vocabulary, task)
            _leave_at_exit(group._run)
        _groups[reference.opening] = group
        while len(_groups) > MAX_OPEN_RUNS:
            _groups.pop(next(iter(_groups)))._run.leave()
        return group


def leave_all() -> None:
    """Delivers everything and ends what was opened in this process for tasks of other processes."""
    while _groups:
        _groups.popitem()[1]._run.leave()


def _open(reference: RunReference, vocabulary: bytes | str, task: str) -> WorkerGroup:
    info = reference.info
    template = NameTemplate(info.template)
    metrics = _metrics(vocabulary, task)
    words = None if metrics is None else Vocabulary.of(metrics, template)
    run_log = Path(reference.run_log) if reference.run_log is not None else None
    has_log = run_log is not None and read_first(run_log).get("run") == info.run
    backend = _backend(reference, has_log, task)
    options = RunOptions(
        task_name=reference.task_name,
        catch=reference.catch,
        close_timeout=reference.close_timeout,
        nonfinite=reference.nonfinite,
        capture_console=reference.captures,
        provenance=False,
        auto_connect_frameworks=reference.auto_connect_frameworks,
    )
    run = WorkerRun(info, backend, template, words, options, reference.parent)
    run.log_path, run.page = run_log if has_log else None, reference.page
    if run.log_path is not None:
        run.aborts = WorkerAborts(abort_path(run.log_path))
    else:  # on another machine
        run.watched.update([reference.parent] if reference.parent else [])
        backend.watch(run.watched, run.aborts.take)
    run.reporter.start()
    if reference.captures:
        console.install()
    if reference.auto_connect_frameworks is not None:
        from .._auto_logging import routing

        routing.install(run)
    return WorkerGroup(
        project=info.project,
        name=info.name,
        id=info.group_id,
        template=template,
        vocabulary=words,
        catch=reference.catch,
        close_timeout=reference.close_timeout,
        run=run,
    )


def _metrics(vocabulary: bytes | str, task: str) -> list[Metric] | None:
    if isinstance(vocabulary, str):
        path = vocabulary
        try:
            listed = json.loads(Path(path).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise HandleError(
                task,
                f"has a vocabulary too large to travel with it, and {path} cannot be read here ({error})",
                "give this machine the folder of CLEARML_CACHE_DIR, or the group fewer metrics and aliases",
            ) from error
    else:
        listed = unpack(vocabulary)
    if listed is None:
        return None
    return [Metric(name, **fields) for name, fields in listed]


def _backend(reference: RunReference, has_log: bool, task: str) -> Backend:
    if reference.mode == "disabled":
        return MemoryBackend(mode="disabled", where="nowhere", keep=False)
    if reference.mode == "offline":
        if not has_log:
            raise HandleError(
                task,
                f"is an offline session in {reference.where} on {reference.host}, which {platform.node()} "
                "does not see",
                "share that folder (CLEARML_CACHE_DIR) between the machines, or work online",
            )
        return OfflineBackend(Path(reference.where))
    if reference.mode != "online":
        raise HandleError(
            task,
            f"is stored in the mode {reference.mode!r}, which worker processes cannot write to",
            "report to it in the process that opened the group",
        )
    outbox = reference.outbox if has_log and reference.host == platform.node() else None
    if outbox is not None and os.path.exists(outbox):
        return WorkerBackend(Path(outbox), lambda: _connect(reference, task))
    return _connect(reference, task)  # on another machine it delivers its events itself


def _connect(reference: RunReference, task: str) -> OnlineBackend:
    from .._clearml import login  # seldom needed, and importing the HTTP libraries is slow
    from .._storage.online import OnlineBackend

    connection = login.connect()
    if connection.host != reference.server:
        raise HandleError(
            task,
            f"is on the server {reference.server}, but this process is set up for {connection.host}",
            "set ClearML up in the same way on all machines, and start workers after that",
        )
    return OnlineBackend(connection)


def _leave_at_exit(run: WorkerRun) -> None:
    """Calls `leave` before the process ends; `atexit` alone does not run in every worker."""
    from multiprocessing.util import Finalize

    Finalize(run, _leave, args=(run,), exitpriority=10)
    before_sigterm(leave_all)


def _leave(run: WorkerRun) -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a pool may send it while the process ends already
    run.leave()


@_fork.in_child
def _forget_groups() -> None:
    _groups.clear()  # they belong to the parent process
