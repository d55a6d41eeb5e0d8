"""Tasks of other processes: opened again in a worker, with a reporter of its own.

Unpickled in the process that opened the group, a handle gives the very same task.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import platform
import signal
import threading
import time
import weakref
import zlib
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from .. import _fork
from .._clearml import sdk
from .._group import TaskGroup
from .._model.metrics import Metric
from .._model.specs import TaskSpec
from .._run import console as _console
from .._run.naming import Names
from .._run.reporter import QUEUE_INTERVAL_S, STALL_TIMEOUT_S
from .._run.run import Run
from .._run.state import TaskState
from .._run.worker_counts import counts_of
from .._run.worker_log import lives, write_begin, write_counts
from .._run.worker_sigterm import before_sigterm
from .._storage.memory import MemoryBackend
from .._storage.offline import OfflineBackend
from .._storage.online import OnlineBackend
from .._storage.outbox import Outbox, mark_path
from .._storage.run_log import read_first
from .._storage.worker import WorkerBackend
from .._task import GroupTask
from ..errors import GroupStateError, HandleError
from .pickling import Core, Handle, live

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .._model.status import Status
    from .._storage.base import Backend

MOST_RUNS = 8
"""How many runs a worker process keeps open for the next task of theirs."""


def reopen(core: bytes, words: bytes | str, facts: tuple[Any, ...]) -> GroupTask:
    """Gives the task that a handle stands for: where it was opened the task itself, else one for here.

    Raises:
        HandleError: This process cannot reach the place where the task's data goes.
    """
    common = Core(*pickle.loads(zlib.decompress(core)))
    task_id, key = facts[:2]
    group = live.get(common.info.run)
    if group is not None and group._run is not None and not group._run.in_child:
        task = group._tasks.get(key)
        if task is not None and task.id == task_id:
            return task
    return _reopened(_guest_group(common, words, str(facts[2])), (core, words, facts))


def _reopened(group: _GuestGroup, handle: Handle) -> ReopenedTask:
    run = group.guest
    task_id, key, name, task_name, index, attempt, params, tags, more, turn, ended = handle[2]
    spec = TaskSpec(key, name, task_name, index, attempt, params, tags)
    fields = spec.template_fields(run.info.name, task_id)
    names = Names(run.template, run.vocabulary, task_id, fields, run.told)
    state = TaskState(spec, task_id, names, {**params, **(more or {})}, time.monotonic(), turn=turn)
    if ended is None and task_id in run.ended:
        ended = (*run.ended[task_id], False)
    if ended is not None:
        state.status, state.reason, state.done = ended
        state.finished, state.ended = True, state.opened
    run.store_remembers(task_id, name)
    return ReopenedTask(group, run, state, handle)


class _Held(weakref.ref["ReopenedTask"]):
    """A task that was passed by hand; as the last one lets go of it, this is put with those that are gone.

    Not by a `__del__`: in one, the exit that SIGTERM asks for would be ignored, and a pool that ends
    its workers right after their last result would wait for ever.
    """

    __slots__ = ("guest", "state", "told")
    guest: str
    state: TaskState
    told: bool

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


@attrs.define(eq=False)
class GuestRun(Run):
    """A run that another process has opened: here its tasks report, there they are opened and ended."""

    record_path: Path | None = None
    frames: int = 1
    page: str | None = None
    ended: dict[str, tuple[Status, str]] = attrs.field(factory=dict)
    held: set[_Held] = attrs.field(factory=set)
    gone: deque[_Held] = attrs.field(factory=deque)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.reporter.after_batch = self.tell_gone

    def create(self, specs: Sequence[TaskSpec], turn: bool = False) -> list[TaskState]:
        """Refuses: tasks are opened in one place."""
        raise GroupStateError(
            self.info.name, "was opened in another process", "open its tasks there, and pass them to workers"
        )

    def finish(self, states: Iterable[TaskState], timeout: float, last: bool = False) -> list[Exception]:
        """Brings what the tasks were given to where nothing of it can be lost any more."""
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
            self.ended[state.id] = (state.status, state.reason)
        return errors

    def tell_of(self, held: _Held) -> None:
        """Tells what was counted of a task."""
        if not held.told:
            with contextlib.suppress(OSError):
                write_counts(self.record_path, held.guest, held.state, counts_of(held.state, self.reporter))
            held.told = True

    def tell_gone(self) -> None:
        """Tells of the tasks that nobody here holds any more, whose points are through by now."""
        while self.gone:
            held = self.gone.popleft()
            self.held.discard(held)
            self.tell_of(held)

    def store_remembers(self, task_id: str, name: str) -> None:
        """Has a store that delivers by itself know a task's name, for errors."""
        if isinstance(self.backend, OnlineBackend):
            self.backend.remember(task_id, name)

    def let_go(self) -> None:
        """Brings everything to its place and ends the threads; the process ends, or needs the run no more."""
        with contextlib.suppress(Exception):
            self.reporter.flush(STALL_TIMEOUT_S)
            self.reporter.stop(1.0)
            self.tell_gone()
            for held in self.held:  # the process ends, and takes them along
                self.tell_of(held)
            self.backend.close()


class _GuestGroup(TaskGroup):
    """The group of a reopened task, as far as that is of use in a worker."""

    guest: GuestRun

    def _close(self, status: Status, reason: str, timeout: float | None, exc: BaseException | None) -> None:
        """Nothing: a group is closed where it was opened."""


class ReopenedTask(GroupTask):
    """A task in a worker process."""

    __slots__ = ("_handle", "_held", "_look", "_mapped", "folder")

    def __init__(self, group: TaskGroup, run: GuestRun, state: TaskState, handle: Handle) -> None:
        super().__init__(group, run, state)
        self._handle = handle
        self._held: _Held | None = None
        self._look = 0.0
        self.folder: str | None = None
        """A folder that is there as long as the `map` is that runs the task."""
        self._mapped = False
        """Whether `map` runs it, which takes back what is counted here; else it is told by the record."""

    def __reduce__(self) -> tuple[Any, ...]:
        return reopen, self._handle

    @property
    def url(self) -> str | None:
        """The task's page."""
        page = self._run.page if isinstance(self._run, GuestRun) else None
        return page.replace("{}", self.id) if page is not None else super().url

    @property
    def is_local(self) -> bool:
        """Whether this machine has the run's record."""
        return isinstance(self._run, GuestRun) and self._run.record_path is not None

    def _report(self, values: Any, iteration: Any, levels: Any, context: dict[str, Any]) -> None:
        self._begin()
        if self.folder is not None and time.monotonic() >= self._look:
            self._look = time.monotonic() + QUEUE_INTERVAL_S
            if not os.path.isdir(self.folder):
                self._run.mark(self._state, "stopped", "the map has been stopped")
        super()._report(values, iteration, levels, context)
        if not self._tokens and not self._mapped and not self._run.reporter.flush(STALL_TIMEOUT_S):
            # Without a block, whose end is waited for, nobody could say when the last report is through.
            self._tell_lost()

    def __enter__(self) -> GroupTask:
        self._begin()
        return super().__enter__()

    def __exit__(self, *exc_info: Any) -> bool:
        stops = super().__exit__(*exc_info)
        self._tell()
        return stops

    def _end(self, status: Status, reason: str) -> None:
        self._begin()
        super()._end(status, reason)
        self._tell()

    def set_parameters(self, params: Mapping[str, Any]) -> None:
        """Adds parameters to the task's section `General`."""
        self._begin()
        super().set_parameters(params)

    def close(self, timeout: float | None = None) -> None:
        """Ends the task, as completed unless it has ended already."""
        self._begin()
        super().close(timeout)
        self._tell()

    def _begin(self) -> None:
        run = self._run
        if self._mapped or not self._state.is_open or not isinstance(run, GuestRun):
            return
        if self._held is None:
            self._held = _Held(self, run.gone.append)
            self._held.guest, self._held.state = write_begin(run.record_path, self._state), self._state
            run.held.add(self._held)
        self._held.told = False

    def _tell(self) -> None:
        run = self._run
        if self._held is not None and isinstance(run, GuestRun):
            run.reporter.flush(STALL_TIMEOUT_S)
            run.tell_of(self._held)


_groups: dict[str, _GuestGroup] = {}
_opening = threading.Lock()


def _guest_group(core: Core, words: bytes | str, task: str) -> _GuestGroup:
    """Gives this process's group for a run; opened once, and kept for the run's next task."""
    if core.mode == "offline":  # where ClearML's own objects look for the session
        os.environ["CLEARML_CACHE_DIR"] = str(Path(core.where).parent)
    with _opening:
        group = _groups.pop(core.opening, None)
        if group is None:
            group = _open(core, words, task)
            _at_exit(group.guest)
        _groups[core.opening] = group  # the latest is the last
        while len(_groups) > MOST_RUNS:
            _groups.pop(next(iter(_groups))).guest.let_go()
        return group


def _open(core: Core, words: bytes | str, task: str) -> _GuestGroup:
    info = core.info
    group = _GuestGroup(
        info.project,
        info.name,
        template=info.template,
        metrics=_metrics(words, task),
        task_name=core.task_name,
        tags=info.tags,
        catch=core.catch,
        nonfinite=core.nonfinite,
        capture="console" if core.captures else None,
        close_timeout=core.close_timeout,
    )
    run_log = Path(core.run_log) if core.run_log is not None else None
    is_here = run_log is not None and read_first(run_log).get("run") == info.run
    backend = _store(core, is_here, task)
    run = GuestRun(info, backend, group.template, group.vocabulary, core.nonfinite, None, parent=core.parent)
    run.record_path, run.page = run_log if is_here else None, core.page
    run.reporter.start()
    group._run = group.guest = run
    if core.captures:
        _console.install()
    return group


def _metrics(words: bytes | str, task: str) -> list[Metric] | None:
    if isinstance(words, str):
        path = words
        try:
            words = Path(path).read_bytes()
        except OSError as error:
            raise HandleError(
                task,
                f"has a vocabulary too large to travel with it, and {path} cannot be read here ({error})",
                "give this machine the folder of CLEARML_CACHE_DIR, or the group fewer metrics and aliases",
            ) from error
    listed = pickle.loads(zlib.decompress(words))
    if listed is None:
        return None
    return [Metric(name, aliases=aliases, mode=mode, unit=unit) for name, aliases, mode, unit in listed]


def _store(core: Core, is_here: bool, task: str) -> Backend:
    if core.mode == "disabled":
        return MemoryBackend(mode="disabled", where="nowhere", keep=False)
    if core.mode == "offline":
        if not is_here:
            raise HandleError(
                task,
                f"is an offline session in {core.where} on {core.host}, which {platform.node()} does not see",
                "share that folder (CLEARML_CACHE_DIR) between the machines, or work online",
            )
        return OfflineBackend(Path(core.where))
    if is_here and core.outbox is not None and core.host == platform.node() and os.path.exists(core.outbox):
        return WorkerBackend(Path(core.outbox), lambda: _connected(core, task))
    backend = _connected(core, task)
    folder = sdk.cache_folder() / "taskgroup" / core.info.group_id
    with contextlib.suppress(OSError):  # without one, what is reported is sent at once
        backend.use_outbox(Outbox.open(_own_outbox(folder, f"guest-{core.info.run}-{platform.node()}")))
    return backend


def _own_outbox(folder: Path, name: str) -> Path:
    """Gives a place for this worker's events; that of a worker that died here, with what is left in it."""
    own = folder / f"{name}-{os.getpid()}.outbox"
    for left in folder.glob(f"{name}-*.outbox"):
        pid = left.stem.rpartition("-")[2]
        if pid.isdigit() and not lives(platform.node(), int(pid)):
            with contextlib.suppress(OSError):  # another worker was quicker
                os.replace(left, own)
                os.replace(mark_path(left), mark_path(own))
                break
    return own


def _connected(core: Core, task: str) -> OnlineBackend:
    connection = sdk.connect()
    if connection.host != core.server:
        raise HandleError(
            task,
            f"is on the server {core.server}, but this process is set up for {connection.host}",
            "set ClearML up in the same way on all machines, and start workers after that",
        )
    return OnlineBackend(connection)


def _at_exit(run: GuestRun) -> None:
    """Has the process end the run before it ends itself; `atexit` alone does not run in every worker."""
    from multiprocessing.util import Finalize

    Finalize(run, _leave, args=(run,), exitpriority=10)
    before_sigterm(let_all_go)


def _leave(run: GuestRun) -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a pool may ask for the end that is under way
    run.let_go()


@_fork.in_child
def _forget() -> None:
    """In a forked child: what was opened here is its parent's."""
    _groups.clear()


def let_all_go() -> None:
    """Brings everything to its place and ends what was opened for tasks of other processes."""
    while _groups:
        _groups.popitem()[1].guest.let_go()
