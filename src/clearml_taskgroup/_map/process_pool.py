"""The worker processes of `map(workers=…)`: the death of one costs only the call that it made."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import warnings
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

import attrs

from .. import _fork
from .._clearml import sdk
from .._run.failures import reason_of
from ..errors import FunctionPickleError, WorkerStartError
from .call import CallResult, DeferredTask, Function, died_result, open_and_call, unpack
from .thread_limits import fair_share, limit
from .worker_group import leave_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .._task import GroupTask

STOP_GRACE_S = 3.0
"""Seconds that workers get to end a call that is stopped, before they are killed."""
IDLE_EXIT_S = 10.0
"""Seconds that idle workers get to exit."""
DEATH_CHECK_INTERVAL_S = 1.0
"""Seconds between two checks for dead workers whose pipes grandchildren keep open."""
MAX_KILLED_STARTS = 10
"""How many workers in a row may be killed before they are ready; a lack of memory may pass."""
SIGKILL = 9  # Windows has no signal.SIGKILL
_READY, _UNFIT, _BEGUN = b"ready", b"unfit", b"begun"


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


def start_method() -> str:
    """Chooses the start method of workers: the one that was set, else Python's default.

    Not 'fork' where it is known to fail: beside a main task of ClearML's, with a GPU in use, and from
    Python 3.12 on, which warns of it. In a console or notebook it is kept, because nothing else finds
    the functions there.
    """
    chosen = multiprocessing.get_start_method(allow_none=True)
    if chosen is not None:
        return chosen
    default = multiprocessing.get_all_start_methods()[0]
    if default != "fork":
        return default
    has_file = getattr(sys.modules.get("__main__"), "__file__", None) is not None
    torch = sys.modules.get("torch")
    uses_gpu = torch is not None and hasattr(torch, "cuda") and torch.cuda.is_initialized()
    is_dangerous = sdk.main_task() is not None or uses_gpu or (sys.version_info >= (3, 12) and has_file)
    return "forkserver" if is_dangerous else "fork"


@attrs.define(eq=False)
class _Worker:
    """One worker process.

    Attributes:
        task: The task of its call; None while it is idle.
        is_ready: Whether it has loaded the function.
        has_begun: Whether it has begun the call.
    """

    process: Any
    pipe: Connection
    task: GroupTask | None = None
    is_ready: bool = False
    has_begun: bool = False

    @property
    def is_idle(self) -> bool:
        return self.is_ready and self.task is None

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
    """

    fn: bytes
    name: str
    count: int
    _context: Any = attrs.field(factory=lambda: multiprocessing.get_context(start_method()))
    _workers: list[_Worker] = attrs.field(factory=list)
    _next_death_check: float = 0.0
    _has_more: bool = True
    _killed_starts: int = 0
    _returned: list[GroupTask] = attrs.field(factory=list)
    """Tasks whose worker died before it began their call."""

    def start(self) -> None:
        """Starts the processes, and waits for the first one to be ready.

        Raises:
            WorkerStartError: They cannot start.
            FunctionPickleError: They cannot load the function.
        """
        for _ in range(self.count):
            self._add_worker()
        while not any(worker.is_ready for worker in self._workers):
            for worker in self._wait_for_workers():
                self._receive(worker)

    def run(self, tasks: Iterator[GroupTask]) -> Iterator[tuple[GroupTask, CallResult]]:
        """Calls the function with each task; gives the results as the calls end."""
        upcoming = self._next(tasks)
        while upcoming is not None or any(worker.task for worker in self._workers):
            for worker in self._workers:
                if upcoming is not None and worker.is_idle and self._send(worker, upcoming):
                    upcoming = self._next(tasks)
            for worker in self._wait_for_workers():
                ended = self._receive(worker)
                if ended is not None:
                    yield ended
            if upcoming is None and self._returned:
                upcoming = self._next(tasks)

    def _next(self, tasks: Iterator[GroupTask]) -> GroupTask | None:
        upcoming = self._returned.pop() if self._returned else next(tasks, None)
        self._has_more = upcoming is not None
        return upcoming

    def _send(self, worker: _Worker, task: GroupTask) -> bool:
        try:
            worker.pipe.send_bytes(pickle.dumps(DeferredTask(task), pickle.HIGHEST_PROTOCOL))
        except OSError:  # it died while it was idle; `_receive` finds out next
            return False
        worker.task, worker.has_begun = task, False
        return True

    def _wait_for_workers(self) -> list[_Worker]:
        """Waits until workers have sent something or died, and gives them."""
        by_handle: dict[Any, _Worker] = {worker.pipe: worker for worker in self._workers}
        by_handle |= {worker.process.sentinel: worker for worker in self._workers}
        found = [by_handle[handle] for handle in wait(list(by_handle), DEATH_CHECK_INTERVAL_S)]
        if time.monotonic() >= self._next_death_check:
            self._next_death_check = time.monotonic() + DEATH_CHECK_INTERVAL_S
            found += [worker for worker in self._workers if not worker.process.is_alive()]
        return list({id(worker): worker for worker in found}.values())

    def _receive(self, worker: _Worker) -> tuple[GroupTask, CallResult] | None:
        """Receives one message of a worker; replaces it if it has died."""
        try:
            if not worker.pipe.poll():
                return None if worker.process.is_alive() else self._replace(worker)
            data = worker.pipe.recv_bytes()
        except (EOFError, OSError):
            return self._replace(worker)
        if data == _READY:
            worker.is_ready, self._killed_starts = True, 0
            return None
        if data == _BEGUN:
            worker.has_begun = True
            return None
        if data.startswith(_UNFIT):
            raise unpicklable(self.name, data[len(_UNFIT) :].decode())
        task, worker.task = worker.task, None
        assert task is not None
        return task, unpack(data)

    def _replace(self, worker: _Worker) -> tuple[GroupTask, CallResult] | None:
        """Replaces a dead worker; gives the result of the call that it made."""
        self._workers.remove(worker)
        worker.process.join(STOP_GRACE_S)
        how, task, code = worker.how_it_ended(), worker.task, worker.process.exitcode
        if task is not None and not worker.has_begun:  # it died between two calls
            self._returned.append(task)
            self._has_more, task = True, None
        if code is None:  # alive, but its pipe is closed
            worker.process.kill()
        worker.pipe.close()
        if not worker.is_ready:
            self._killed_starts += 1
        if not worker.is_ready and (code != -SIGKILL or self._killed_starts > MAX_KILLED_STARTS):
            if not any(other.is_ready for other in self._workers):
                raise WorkerStartError(f"{how}; its own output is above")
        elif self._has_more:
            self._add_worker()
        return None if task is None else (task, died_result(task, how))

    def _add_worker(self) -> None:
        ours, theirs = self._context.Pipe()
        forks = self._context.get_start_method() == "fork"
        others = [worker.pipe for worker in self._workers] + [ours] if forks else []
        process = self._context.Process(
            target=_worker_main,
            args=(theirs, self.fn, dict(os.environ), fair_share(self.count), others),
            name="clearml-taskgroup worker",
        )
        with warnings.catch_warnings():
            # The threads of this library are prepared for a fork, and the user chose this start method.
            warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
            try:
                process.start()
            except (OSError, RuntimeError) as error:  # no more processes; or a script without a guard
                ours.close()
                raise WorkerStartError(reason_of(error)) from error
            finally:
                theirs.close()
        self._workers.append(_Worker(process, ours))

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
                        if data not in (_READY, _BEGUN):
                            results.append((worker.task, unpack(data)))
                            worker.task = None
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
        workers, self._workers = self._workers, []
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


# --- in the worker ---------------------------------------------------------------------------------


def _worker_main(
    pipe: Connection, fn: bytes, environ: Mapping[str, str], threads: int | None, others: list[Connection]
) -> None:
    """Makes calls until an empty message, SIGTERM or the end of the pipe."""
    for other in others:  # inherited by a fork: while they are open here, nobody sees them end
        other.close()
    os.environ.update(environ)  # a fork server may be older than what was set since
    terminated = _set_signal_handlers()
    try:
        function: Callable[[GroupTask], Any] = pickle.loads(fn)
    except Exception as error:
        pipe.send_bytes(_UNFIT + reason_of(error).encode())
        return
    if threads is not None:
        limit(threads)
    with contextlib.suppress(EOFError, OSError):  # the map's process has gone
        pipe.send_bytes(_READY)
        while data := pipe.recv_bytes():
            pipe.send_bytes(_BEGUN)
            result = open_and_call(function, pickle.loads(data))
            assert isinstance(result, bytes)
            pipe.send_bytes(result)
            if terminated.is_set():
                break
    leave_all()


def _set_signal_handlers() -> threading.Event:
    """SIGTERM ends the call; Ctrl-C is left to the process that started this one."""
    terminated = threading.Event()

    def terminate(signum: int, frame: Any) -> None:
        if not terminated.is_set():
            terminated.set()
            raise SystemExit(128 + signum)

    def ignore(signum: int, frame: Any) -> None:
        return None

    def restore_in_child() -> None:  # a pool that the call forks ends its workers by SIGTERM
        if signal.getsignal(signal.SIGTERM) is terminate:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, terminate)
    _fork.in_child(restore_in_child)
    signal.signal(signal.SIGINT, ignore)  # not SIG_IGN, which programs started here would inherit
    parent = multiprocessing.parent_process()
    if parent is not None:
        watch = threading.Thread(target=_exit_with_parent, args=(parent.sentinel,), daemon=True)
        watch.start()
    return terminated


def _exit_with_parent(sentinel: int) -> None:
    """Ends this process when the one that started it has died: nobody receives its results any more."""
    wait([sentinel])
    leave_all()
    os._exit(1)
