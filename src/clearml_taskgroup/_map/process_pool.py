"""Worker processes, each on its own: the death of one concerns the one point that it worked on."""

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
from .call import Ended, Function, Parcel, died, run_parcel, unpacked
from .thread_limits import fair_share, limit
from .worker_task import let_all_go

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .._task import GroupTask

GRACE = 3.0
"""Seconds that workers get to end a point that is stopped, before they are killed."""
LEAVING = 10.0
"""Seconds that idle workers get to end."""
LOOK = 1.0
"""Seconds between two looks for a death that shows in no other way: grandchildren may hold the pipes."""
MOST_STILLBORN = 10
"""How many workers in a row may be killed before they are ready, by a lack of memory that may pass."""
SIGKILL = 9
_READY, _UNFIT, _BEGUN = b"ready", b"unfit", b"begun"


def pickled(fn: Function) -> bytes:
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
    """Which start method workers get: the one that was set, or Python's own default.

    Not 'fork' where that is known to go wrong: beside a main task of ClearML's, with a GPU in use,
    and from Python 3.12 on, which warns of it; but in a console or notebook nothing else finds the
    functions.
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
    dangerous = sdk.main_task() is not None or uses_gpu or (sys.version_info >= (3, 12) and has_file)
    return "forkserver" if dangerous else "fork"


@attrs.define(eq=False)
class _Worker:
    process: Any
    pipe: Connection
    task: GroupTask | None = None
    ready: bool = False
    begun: bool = False

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a task."""
        return self.ready and self.task is None

    @property
    def how(self) -> str:
        """How the process ended, for people."""
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
class Crew:
    """A number of worker processes that run a function on tasks.

    Args:
        fn: The function, pickled.
        name: What the function is called, for errors.
        count: How many processes.
    """

    fn: bytes
    name: str
    count: int
    _context: Any = attrs.field(factory=lambda: multiprocessing.get_context(start_method()))
    _workers: list[_Worker] = attrs.field(factory=list)
    _look: float = 0.0
    _more: bool = True
    _stillborn: int = 0
    _again: list[GroupTask] = attrs.field(factory=list)

    def start(self) -> None:
        """Starts the processes, and waits for the first one to be ready.

        Raises:
            WorkerStartError: They cannot start.
            FunctionPickleError: They cannot find the function.
        """
        for _ in range(self.count):
            self._add()
        while not any(worker.ready for worker in self._workers):
            for worker in self._stirring():
                self._hear(worker)

    def run(self, tasks: Iterator[GroupTask]) -> Iterator[tuple[GroupTask, Ended]]:
        """Runs the function on each task; gives what came of it as it ends, in any order."""
        coming = self._next(tasks)
        while coming is not None or any(worker.task for worker in self._workers):
            for worker in self._workers:
                if coming is not None and worker.is_idle and self._give(worker, coming):
                    coming = self._next(tasks)
            for worker in self._stirring():
                ended = self._hear(worker)
                if ended is not None:
                    yield ended
            if coming is None and self._again:
                coming = self._next(tasks)

    def _next(self, tasks: Iterator[GroupTask]) -> GroupTask | None:
        """Gives the next task to run; before others those whose worker has died before it began them."""
        coming = self._again.pop() if self._again else next(tasks, None)
        self._more = coming is not None
        return coming

    def _give(self, worker: _Worker, task: GroupTask) -> bool:
        try:
            worker.pipe.send_bytes(pickle.dumps(Parcel(task), pickle.HIGHEST_PROTOCOL))
        except OSError:  # it has died idle: its end is heard of next
            return False
        worker.task, worker.begun = task, False
        return True

    def _stirring(self) -> list[_Worker]:
        """Waits until a worker has something to tell, or has died."""
        things: dict[Any, _Worker] = {worker.pipe: worker for worker in self._workers}
        things |= {worker.process.sentinel: worker for worker in self._workers}
        stirring = [things[thing] for thing in wait(list(things), LOOK)]
        if time.monotonic() >= self._look:
            self._look = time.monotonic() + LOOK
            stirring += [worker for worker in self._workers if not worker.process.is_alive()]
        return list({id(worker): worker for worker in stirring}.values())

    def _hear(self, worker: _Worker) -> tuple[GroupTask, Ended] | None:
        """Takes what a worker tells; one that has died is replaced."""
        try:
            if not worker.pipe.poll():
                return None if worker.process.is_alive() else self._bury(worker)
            data = worker.pipe.recv_bytes()
        except (EOFError, OSError):
            return self._bury(worker)
        if data == _READY:
            worker.ready, self._stillborn = True, 0
            return None
        if data == _BEGUN:
            worker.begun = True
            return None
        if data.startswith(_UNFIT):
            raise unpicklable(self.name, data[len(_UNFIT) :].decode())
        task, worker.task = worker.task, None
        assert task is not None
        return task, unpacked(data)

    def _bury(self, worker: _Worker) -> tuple[GroupTask, Ended] | None:
        self._workers.remove(worker)
        worker.process.join(GRACE)
        how, task, code = worker.how, worker.task, worker.process.exitcode
        if task is not None and not worker.begun:  # killed between two points, it cost neither
            self._again.append(task)
            self._more, task = True, None
        if code is None:  # it lives, but does not speak any more
            worker.process.kill()
        worker.pipe.close()
        if not worker.ready:
            self._stillborn += 1
        if not worker.ready and (code != -SIGKILL or self._stillborn > MOST_STILLBORN):
            if not any(other.ready for other in self._workers):
                raise WorkerStartError(f"{how}; its own words are above")
        elif self._more:
            self._add()
        return None if task is None else (task, died(task, how))

    def _add(self) -> None:
        ours, theirs = self._context.Pipe()
        forks = self._context.get_start_method() == "fork"
        others = [worker.pipe for worker in self._workers] + [ours] if forks else []
        process = self._context.Process(
            target=_work,
            args=(theirs, self.fn, dict(os.environ), fair_share(self.count), others),
            name="clearml-taskgroup worker",
        )
        with warnings.catch_warnings():
            # The library's own threads are made ready for it; of others' the user has been asked.
            warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
            try:
                process.start()
            except (OSError, RuntimeError) as error:  # no more processes; or a script without a guard
                ours.close()
                raise WorkerStartError(reason_of(error)) from error
            finally:
                theirs.close()
        self._workers.append(_Worker(process, ours))

    def stop(self) -> list[tuple[GroupTask, Ended]]:
        """Has all workers stop what they do; gives what they still could tell of it."""
        for worker in self._workers:
            worker.process.terminate()
        deadline = time.monotonic() + GRACE
        told: list[tuple[GroupTask, Ended]] = []
        try:
            for worker in self._workers:
                with contextlib.suppress(EOFError, OSError):
                    while worker.task is not None and worker.pipe.poll(max(0.0, deadline - time.monotonic())):
                        data = worker.pipe.recv_bytes()
                        if data not in (_READY, _BEGUN):
                            told.append((worker.task, unpacked(data)))
                            worker.task = None
        finally:  # a second Ctrl-C waits for nothing
            self._leave(max(0.1, deadline - time.monotonic()))
        return told

    def close(self) -> None:
        """Ends the workers, which are idle."""
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.pipe.send_bytes(b"")
        self._leave(LEAVING)

    def _leave(self, patience: float) -> None:
        deadline = time.monotonic() + patience
        workers, self._workers = self._workers, []
        try:
            for worker in workers:
                worker.process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for worker in workers:
                if worker.process.is_alive():
                    worker.process.kill()
                    worker.process.join(LEAVING)
                worker.pipe.close()
                with contextlib.suppress(ValueError):
                    worker.process.close()


# --- in the worker ---------------------------------------------------------------------------------


def _work(
    pipe: Connection, fn: bytes, environ: Mapping[str, str], threads: int | None, others: list[Connection]
) -> None:
    """Runs points until there are no more."""
    for other in others:  # inherited by a fork; nobody would see their ends close
        other.close()
    os.environ.update(environ)  # a fork server may be older than what was set since
    terminated = _listen()
    try:
        function: Callable[[GroupTask], Any] = pickle.loads(fn)
    except Exception as error:
        pipe.send_bytes(_UNFIT + reason_of(error).encode())
        return
    if threads is not None:
        limit(threads)
    with contextlib.suppress(EOFError, OSError):  # the other side has gone
        pipe.send_bytes(_READY)
        while data := pipe.recv_bytes():
            pipe.send_bytes(_BEGUN)
            result = run_parcel(function, pickle.loads(data))
            assert isinstance(result, bytes)
            pipe.send_bytes(result)
            if terminated.is_set():
                break
    let_all_go()


def _listen() -> threading.Event:
    """Has SIGTERM end the point, and leaves Ctrl-C to the process that started this one."""
    terminated = threading.Event()

    def terminate(signum: int, frame: Any) -> None:
        if not terminated.is_set():
            terminated.set()
            raise SystemExit(128 + signum)

    def ignore(signum: int, frame: Any) -> None:
        return None

    def forget() -> None:  # in a child that the point forks: a pool of its own ends its workers by SIGTERM
        if signal.getsignal(signal.SIGTERM) is terminate:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, terminate)
    _fork.in_child(forget)
    signal.signal(signal.SIGINT, ignore)  # a function, so that programs started here listen to it
    parent = multiprocessing.parent_process()
    if parent is not None:
        watch = threading.Thread(target=_outlive_nobody, args=(parent.sentinel,), daemon=True)
        watch.start()
    return terminated


def _outlive_nobody(sentinel: int) -> None:
    """Ends this process with the one that started it, which can take nothing back any more."""
    wait([sentinel])
    let_all_go()
    os._exit(1)
