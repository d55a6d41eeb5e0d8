"""The worker processes of `map(workers=…)`: the death of one costs only the call that it made."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import time
import warnings
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml import sdk
from .._run.failures import reason_of
from ..errors import FunctionPickleError, WorkerStartError
from . import worker_main
from .call import CallResult, DeferredTask, Function, died_result, timed_out_result, unpack
from .devices import VARIABLE, visible_here
from .handles import Handles
from .thread_limits import fair_share
from .worker_main import BEGUN, READY, UNFIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection

    from .._task import GroupTask
    from .devices import Device
    from .upcoming import Upcoming

STOP_GRACE_S = 3.0
"""Seconds that workers get to end a call that is stopped, before they are killed."""
IDLE_EXIT_S = 10.0
"""Seconds that idle workers get to exit."""
DEATH_CHECK_INTERVAL_S = 1.0
"""Seconds between two checks for dead workers whose pipes grandchildren keep open."""
MAX_KILLED_STARTS = 10
"""How many workers in a row may be killed before they are ready; a lack of memory may pass."""
SIGKILL = 9  # Windows has no signal.SIGKILL


def pickle_function(fn: Function) -> bytes:
    """Pickles a function.

    Raises:
        FunctionPickleError: It cannot be pickled.
    """
    try:
        return pickle.dumps(fn, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise unpicklable(repr(fn), reason_of(error)) from error


def unpicklable(function: str, cause: str) -> FunctionPickleError:
    return FunctionPickleError(
        function,
        f"cannot be sent to another process ({cause})",
        "define it at the top level of a module or script, or run it in threads "
        "(executor=ThreadPoolExecutor()) or with loky (executor=loky.get_reusable_executor())",
    )


def start_method(with_devices: bool = False) -> str:
    """Chooses the start method of workers: the one that was set, else Python's default.

    Not 'fork' where it is known to fail: beside a main task of ClearML's, with a GPU in use, and from
    Python 3.12 on, which warns of it. With devices 'spawn': else the script's modules are imported before
    a worker has its device, and may choose another one. In a console or notebook it is the default, because
    nothing else finds the functions there.
    """
    chosen = multiprocessing.get_start_method(allow_none=True)
    if chosen is not None:
        return chosen
    has_file = getattr(sys.modules.get("__main__"), "__file__", None) is not None
    if with_devices and has_file:
        return "spawn"
    default = multiprocessing.get_all_start_methods()[0]
    if default != "fork":
        return default
    torch = sys.modules.get("torch")
    uses_gpu = torch is not None and hasattr(torch, "cuda") and torch.cuda.is_initialized()
    is_dangerous = sdk.main_task() is not None or uses_gpu or (sys.version_info >= (3, 12) and has_file)
    return "forkserver" if is_dangerous else "fork"


@attrs.define(eq=False)
class _Worker:
    """One worker process.

    Attributes:
        device: The device that it uses; None if it was given none.
        task: The task of its call; None between calls.
        is_ready: Whether it has loaded the function.
        began: `time.monotonic()` when it began the call; None before.
        ends_at: `time.monotonic()` when it is to be ended, because its call has taken too long by then, or
            because it has been asked to end and has not; None for never.
        is_ending: Whether it has been asked to end because its call took too long.
    """

    process: Any
    pipe: Connection
    device: Device | None
    task: GroupTask | None = None
    is_ready: bool = False
    began: float | None = None
    ends_at: float | None = None
    is_ending: bool = False

    @property
    def seconds(self) -> float:
        """How long its call has taken."""
        return time.monotonic() - self.began if self.began is not None else 0.0

    @property
    def is_idle(self) -> bool:
        return self.is_ready and self.task is None and not self.is_ending

    def has_sent(self) -> bool:
        """Whether a message of it, or its end, has not been received yet."""
        try:
            return self.pipe.poll()
        except OSError:  # on Windows, once the process has ended
            return True

    def how_it_ended(self) -> str:
        code = self.process.exitcode
        if code is None:
            return "its worker process does not answer"
        if code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = f"signal {-code}"
            more = " (out of memory?)" if code == -SIGKILL else ""
            return f"its worker process was killed by {name}{more}"
        return f"its worker process ended with exit code {code}"


@attrs.define(eq=False)
class ProcessPool:
    """Worker processes that call one function with tasks.

    Args:
        fn: The function, pickled.
        name: The function's `repr`, for errors.
        count: How many processes.
        timeout: The most seconds that a call may take; None for no limit.
        devices: The device of each process; empty if they get none.
    """

    fn: bytes
    name: str
    count: int
    timeout: float | None = None
    devices: Sequence[Device] = ()
    _context: Any = attrs.field(init=False)
    _workers: list[_Worker] = attrs.field(factory=list)
    _handles: Handles[tuple[_Worker, bool]] = attrs.field(factory=Handles)
    """The pipe (True) and the process (False) of each worker."""
    _free: list[Device | None] = attrs.field(init=False)
    """For each worker that is to be started, its device."""
    _next_death_check: float = 0.0
    _killed_starts: int = 0
    _returned: list[GroupTask] = attrs.field(factory=list)
    """Tasks whose worker died before it began their call."""

    def __attrs_post_init__(self) -> None:
        self._context = multiprocessing.get_context(start_method(bool(self.devices)))
        self._free = list(self.devices) or [None] * self.count

    def start(self) -> None:
        """Starts the processes, and waits for the first one to be ready.

        Raises:
            WorkerStartError: They cannot start.
            FunctionPickleError: They cannot load the function.
        """
        while not any(worker.is_ready for worker in self._workers):
            self._start_workers()
            for worker, has_sent in self._wait_for_workers().items():
                self._receive(worker, has_sent)

    def run(self, upcoming: Upcoming) -> Iterator[tuple[GroupTask, CallResult]]:
        """Calls the function with each task; gives the results as the calls end."""
        while self._has_work(upcoming):
            if upcoming.has_more or self._returned:
                self._start_workers()
            for worker in self._workers:
                if worker.is_idle and (task := self._next(upcoming)) is not None:
                    self._send(worker, task)
            if not self._has_work(upcoming):  # other processes of a shared run have the rest
                return
            for worker, has_sent in self._wait_for_workers().items():
                ended = self._receive(worker, has_sent)
                if ended is not None:
                    yield ended
            self._end_overdue()

    def _has_work(self, upcoming: Upcoming) -> bool:
        return upcoming.has_more or bool(self._returned) or any(worker.task for worker in self._workers)

    def _next(self, upcoming: Upcoming) -> GroupTask | None:
        return self._returned.pop() if self._returned else upcoming.next()

    def _send(self, worker: _Worker, task: GroupTask) -> None:
        task._state.device = worker.device.name if worker.device is not None else None
        try:
            worker.pipe.send_bytes(pickle.dumps(DeferredTask(task), pickle.HIGHEST_PROTOCOL))
        except OSError:  # it died while it was idle; `_receive` finds out next
            self._returned.append(task)
            return
        worker.task, worker.began, worker.ends_at = task, None, None

    def _wait_for_workers(self) -> dict[_Worker, bool]:
        """Waits until workers have sent something, died, or are to be ended.

        Returns:
            The former two, and whether a message can be received. Asking a pipe takes as long as a wait.
        """
        ends = [worker.ends_at for worker in self._workers if worker.ends_at is not None]
        left = min(ends) - time.monotonic() if ends else DEATH_CHECK_INTERVAL_S
        # A worker's pipe comes after its sentinel, so that what it has sent is received first.
        found = dict(sorted(self._handles.wait(min(DEATH_CHECK_INTERVAL_S, left)), key=itemgetter(1)))
        if (now := time.monotonic()) >= self._next_death_check:
            self._next_death_check = now + DEATH_CHECK_INTERVAL_S
            for worker in self._workers:
                if not worker.process.is_alive():
                    found.setdefault(worker, False)
        return found

    def _receive(self, worker: _Worker, has_sent: bool) -> tuple[GroupTask, CallResult] | None:
        """Receives one message of a worker; removes it if it has died."""
        try:
            if not has_sent and not worker.pipe.poll():
                return None if worker.process.is_alive() else self._remove(worker)
            data = worker.pipe.recv_bytes()
        except (EOFError, OSError):
            return self._remove(worker)
        if data == READY:
            worker.is_ready, self._killed_starts = True, 0
        elif data == BEGUN:
            worker.began = time.monotonic()
            worker.ends_at = None if self.timeout is None else worker.began + self.timeout
        elif data.startswith(UNFIT):
            raise unpicklable(self.name, data[len(UNFIT) :].decode())
        else:
            return self._take_result(worker, data)
        return None

    def _take_result(self, worker: _Worker, data: bytes) -> tuple[GroupTask, CallResult]:
        task, result = worker.task, unpack(data)
        assert task is not None
        worker.task = None
        if worker.is_ending and self.timeout is not None:
            return task, timed_out_result(task, self.timeout, worker.seconds, result)
        worker.ends_at = None
        return task, result

    def _end_overdue(self) -> None:
        """Asks workers to end whose calls took too long, and kills those that were asked and have not."""
        for worker in self._workers:
            if worker.ends_at is None or time.monotonic() < worker.ends_at or worker.has_sent():
                continue
            if worker.is_ending:
                worker.process.kill()
            else:
                worker.is_ending = True
                worker.process.terminate()
            worker.ends_at = time.monotonic() + STOP_GRACE_S

    def _remove(self, worker: _Worker) -> tuple[GroupTask, CallResult] | None:
        """Removes a worker that has died; gives the result of the call that it made."""
        worker.process.join(STOP_GRACE_S)
        how, task, code = worker.how_it_ended(), worker.task, worker.process.exitcode
        if code is None:  # alive, but its pipe is closed
            worker.process.kill()
            worker.process.join()  # another worker may get its device next
        self._workers.remove(worker)
        self._handles.remove(worker.pipe)
        self._handles.remove(worker.process.sentinel)
        worker.pipe.close()
        if not worker.is_ready:
            self._killed_starts += 1
        if worker.is_ready or (code == -SIGKILL and self._killed_starts <= MAX_KILLED_STARTS):
            self._free.append(worker.device)
        elif not any(other.is_ready for other in self._workers):
            raise WorkerStartError(f"{how}; its own output is above")
        if task is not None and worker.began is None:  # it died between two calls
            self._returned.append(task)
        if task is None or worker.began is None:
            return None
        if worker.is_ending and self.timeout is not None:
            return task, timed_out_result(task, self.timeout, worker.seconds)
        return task, died_result(task, how, worker.seconds)

    def _start_workers(self) -> None:
        """Starts the workers that are missing."""
        while self._free:
            self._start_worker(self._free.pop(0))

    def _start_worker(self, device: Device | None) -> None:
        ours, theirs = self._context.Pipe()
        method, environ = self._context.get_start_method(), dict(os.environ)
        if device is not None:
            environ[VARIABLE] = device.visible
        others = [worker.pipe for worker in self._workers] + [ours] if method == "fork" else []
        process = self._context.Process(
            target=worker_main.work,
            args=(theirs, self.fn, environ, fair_share(self.count), others),
            name="clearml-taskgroup worker",
        )
        with warnings.catch_warnings(), visible_here(device if method == "spawn" else None):
            # The threads of this library are prepared for a fork, and the user chose this start method.
            warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
            try:
                process.start()
            except (OSError, RuntimeError) as error:  # no more processes; or a script without a guard
                ours.close()
                raise WorkerStartError(reason_of(error)) from error
            finally:
                theirs.close()
        worker = _Worker(process, ours, device)
        self._workers.append(worker)
        self._handles.add(ours, (worker, True))
        self._handles.add(process.sentinel, (worker, False))

    def stop(self) -> list[tuple[GroupTask, CallResult]]:
        """Stops all calls; gives the results that arrived within `STOP_GRACE_S`."""
        for worker in self._workers:
            worker.process.terminate()
        deadline = time.monotonic() + STOP_GRACE_S
        results: list[tuple[GroupTask, CallResult]] = []
        try:
            for worker in self._workers:
                with contextlib.suppress(EOFError, OSError):
                    while worker.task is not None and worker.pipe.poll(max(0.0, deadline - time.monotonic())):
                        data = worker.pipe.recv_bytes()
                        if data not in (READY, BEGUN):
                            results.append(self._take_result(worker, data))
        finally:  # also after a second Ctrl-C
            self._end_workers(max(0.1, deadline - time.monotonic()))
        return results

    def close(self) -> None:
        """Ends the workers, which are idle."""
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.pipe.send_bytes(b"")
        self._end_workers(IDLE_EXIT_S)

    def _end_workers(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        workers, self._workers, self._handles = self._workers, [], Handles()
        try:
            for worker in workers:
                worker.process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for worker in workers:
                if worker.process.is_alive():
                    worker.process.kill()
                    worker.process.join(IDLE_EXIT_S)
                worker.pipe.close()
                with contextlib.suppress(ValueError):
                    worker.process.close()
