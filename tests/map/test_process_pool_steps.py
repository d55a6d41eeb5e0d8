"""The pool of worker processes, step by step, with workers that the test plays."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup import GroupTask
from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._map import call, process_pool
from clearml_taskgroup._map.call import CallResult
from clearml_taskgroup._map.process_pool import STOP_GRACE_S, ProcessPool, _Worker, start_method
from clearml_taskgroup._map.worker_main import BEGUN, READY, UNFIT
from clearml_taskgroup._run.worker_counts import WorkerCounts
from clearml_taskgroup.errors import (
    CallTimeoutError,
    FunctionPickleError,
    WorkerDiedError,
    WorkerStartError,
)
from tests.support.runs import Place


class Process:
    """A process that is played: alive until its exit code is set."""

    def __init__(self) -> None:
        self.exitcode: int | None = None
        self.calls: list[str] = []
        self.sentinel, self._other = multiprocessing.Pipe()

    def is_alive(self) -> bool:
        return self.exitcode is None

    def terminate(self) -> None:
        self.calls.append("terminate")

    def kill(self) -> None:
        self.calls.append("kill")

    def join(self, timeout: float | None = None) -> None:
        self.calls.append("join")


class Clock:
    """In place of the module `time`."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(process_pool, "time", clock)
    monkeypatch.setattr(process_pool, "start_method", lambda with_devices: "fork")
    return clock


@pytest.fixture
def task() -> Iterator[GroupTask]:
    with Place().group() as group:
        yield group.task({"seed": 0})


def a_pool(
    timeout: float | None = None, workers: int = 1
) -> tuple[ProcessPool, list[_Worker], list[Connection]]:
    """Makes a pool with workers that are ready; gives the workers' ends of the pipes, too."""
    pool = ProcessPool(b"", "fn", workers, timeout)
    pool._free.clear()
    theirs = []
    for _ in range(workers):
        ours, there = multiprocessing.Pipe()
        worker = _Worker(Process(), ours, None, is_ready=True)
        pool._workers.append(worker)
        pool._handles.add(ours, (worker, True))
        pool._handles.add(worker.process.sentinel, (worker, False))
        theirs.append(there)
    return pool, list(pool._workers), theirs


def packed(value: Any) -> bytes:
    return call._pack(call._pickle_value(value), CallResult(), 1.0, WorkerCounts("completed"))


def receive(pool: ProcessPool, worker: _Worker) -> Any:
    return pool._receive(worker, worker.has_sent())


# --- start methods ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "devices", "has_file", "default", "main", "gpu", "expected"),
    [
        ("spawn", False, True, "fork", False, None, "spawn"),
        ("fork", True, True, "fork", True, True, "fork"),
        (None, True, True, "fork", False, None, "spawn"),
        (None, True, False, "spawn", False, None, "spawn"),
        (None, False, True, "spawn", True, None, "spawn"),
        (None, False, True, "forkserver", True, True, "forkserver"),
        (None, False, False, "fork", True, None, "forkserver"),
        (None, False, False, "fork", False, True, "forkserver"),
        (None, False, False, "fork", False, False, "fork"),
        (None, True, False, "fork", False, None, "fork"),
    ],
)
def test_the_start_method_is_one_that_works(
    monkeypatch: pytest.MonkeyPatch,
    chosen: str | None,
    devices: bool,
    has_file: bool,
    default: str,
    main: bool,
    gpu: bool | None,
    expected: str,
) -> None:
    script = SimpleNamespace(__file__="script.py") if has_file else SimpleNamespace()
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: chosen)
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: [default, "another"])
    monkeypatch.setitem(sys.modules, "__main__", script)
    monkeypatch.setattr(sdk, "main_task", lambda: "the main task" if main else None)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    if gpu is not None:
        torch = SimpleNamespace(cuda=SimpleNamespace(is_initialized=lambda: gpu))
        monkeypatch.setitem(sys.modules, "torch", torch)
    assert start_method(devices) == expected


@pytest.mark.parametrize(("has_file", "method"), [(True, "forkserver"), (False, "fork")])
def test_newer_pythons_fork_only_where_nothing_else_finds_the_functions(
    monkeypatch: pytest.MonkeyPatch, has_file: bool, method: str
) -> None:
    script = SimpleNamespace(__file__="script.py") if has_file else SimpleNamespace()
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: None)
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["fork"])
    monkeypatch.setitem(sys.modules, "__main__", script)
    monkeypatch.setattr(sys, "version_info", (3, 12))
    assert start_method() == method


# --- how workers end -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (None, "its worker process does not answer"),
        (0, "its worker process ended with exit code 0"),
        (3, "its worker process ended with exit code 3"),
        (-signal.SIGKILL, "its worker process was killed by SIGKILL (out of memory?)"),
        (-signal.SIGTERM, "its worker process was killed by SIGTERM"),
        (-200, "its worker process was killed by signal 200"),
    ],
)
def test_a_worker_says_how_it_ended(code: int | None, text: str) -> None:
    _, (worker,), _ = a_pool()
    worker.process.exitcode = code
    assert worker.how_it_ended() == text


def test_a_worker_is_idle_between_calls(task: GroupTask, clock: Clock) -> None:
    _, (worker,), _ = a_pool()
    assert worker.is_idle
    assert worker.seconds == 0.0
    worker.began = 93.0
    assert worker.seconds == 7.0
    for field, value in (("is_ready", False), ("task", task), ("is_ending", True)):
        before = getattr(worker, field)
        setattr(worker, field, value)
        assert not worker.is_idle
        setattr(worker, field, before)


@pytest.mark.parametrize(("began", "ending", "timeout"), [(90.0, False, None), (90.0, True, 5.0)])
def test_a_call_ends_with_its_worker(
    task: GroupTask, began: float, ending: bool, timeout: float | None
) -> None:
    pool, (worker,), theirs = a_pool(timeout)
    worker.task, worker.began, worker.is_ending = task, began, ending
    worker.process.exitcode = -signal.SIGKILL
    theirs[0].close()
    ended, result = receive(pool, worker)
    assert ended is task
    assert isinstance(result.error, CallTimeoutError if ending else WorkerDiedError)
    assert result.seconds == 10.0
    assert (pool._workers, pool._free, pool._returned) == ([], [None], [])


def test_a_call_that_had_not_begun_is_made_by_another_worker(task: GroupTask) -> None:
    pool, (worker,), theirs = a_pool()
    worker.task, worker.process.exitcode = task, 1
    theirs[0].close()
    assert receive(pool, worker) is None
    assert pool._returned == [task]
    upcoming: Any = SimpleNamespace(has_more=False, next=lambda: None)
    assert pool._has_work(upcoming)
    assert pool._next(upcoming) is task
    assert not pool._has_work(upcoming)


def test_a_worker_that_lives_without_a_pipe_is_killed() -> None:
    """Another one may get its device next."""
    pool, (worker,), theirs = a_pool()
    theirs[0].close()
    assert receive(pool, worker) is None
    assert worker.process.calls == ["join", "kill", "join"]


@pytest.mark.parametrize(("code", "starts"), [(-signal.SIGKILL, True), (1, False)])
def test_only_a_worker_that_was_killed_as_it_started_is_replaced(
    code: int, starts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few times; while others work, nothing is raised."""
    monkeypatch.setattr(process_pool, "MAX_KILLED_STARTS", 2)
    pool, workers, theirs = a_pool(workers=5)
    for worker in workers[:-1]:
        worker.is_ready, worker.process.exitcode = False, code
    for there in theirs[:-1]:
        there.close()
    for worker in workers[:3]:
        assert receive(pool, worker) is None
    assert len(pool._free) == (2 if starts else 0)
    workers[-1].is_ready = False
    with pytest.raises(WorkerStartError, match="its own output is above"):
        receive(pool, workers[3])


def test_a_worker_that_has_neither_sent_anything_nor_died_is_waited_for() -> None:
    pool, (worker,), _theirs = a_pool()
    assert pool._receive(worker, False) is None
    assert pool._workers == [worker]
    worker.process.exitcode = 1
    assert pool._receive(worker, False) is None
    assert pool._workers == []


# --- messages --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("timeout", "ends_at"), [(None, None), (5.0, 105.0)])
def test_the_time_limit_begins_with_the_call(
    task: GroupTask, timeout: float | None, ends_at: float | None
) -> None:
    pool, (worker,), theirs = a_pool(timeout)
    worker.is_ready, pool._killed_starts = False, 3
    theirs[0].send_bytes(READY)
    assert receive(pool, worker) is None
    assert (worker.is_ready, pool._killed_starts) == (True, 0)
    pool._send(worker, task)
    assert (worker.task, worker.began, worker.ends_at) == (task, None, None)
    assert pickle.loads(theirs[0].recv_bytes()).open() is task
    theirs[0].send_bytes(BEGUN)
    assert receive(pool, worker) is None
    assert (worker.began, worker.ends_at) == (100.0, ends_at)
    theirs[0].send_bytes(packed(7))
    ended, result = receive(pool, worker)
    assert (ended, result.value, worker.task, worker.ends_at) == (task, 7, None, None)


def test_a_result_that_comes_after_the_time_limit_is_that_of_the_limit(task: GroupTask) -> None:
    pool, (worker,), theirs = a_pool(5.0)
    worker.task, worker.began, worker.is_ending = task, 90.0, True
    theirs[0].send_bytes(packed(7))
    _, result = receive(pool, worker)
    assert isinstance(result.error, CallTimeoutError)
    assert (result.seconds, worker.is_idle) == (10.0, False)


def test_a_function_that_a_worker_cannot_load_is_an_error() -> None:
    pool, (worker,), theirs = a_pool()
    theirs[0].send_bytes(UNFIT + b"no module named x")
    with pytest.raises(FunctionPickleError, match="no module named x"):
        receive(pool, worker)


def test_a_task_that_cannot_be_sent_goes_to_another_worker(task: GroupTask) -> None:
    pool, (worker,), _ = a_pool()
    worker.pipe.close()
    pool._send(worker, task)
    assert (worker.task, pool._returned) == (None, [task])


# --- time limits -----------------------------------------------------------------------------------


def test_a_call_that_takes_too_long_is_ended_and_then_killed(task: GroupTask, clock: Clock) -> None:
    pool, (worker,), theirs = a_pool(5.0)
    worker.task, worker.ends_at = task, 101.0
    pool._end_overdue()
    assert worker.process.calls == []
    clock.now = 101.0
    theirs[0].send_bytes(BEGUN)  # what it has sent is received first
    pool._end_overdue()
    assert worker.process.calls == []
    worker.pipe.recv_bytes()
    pool._end_overdue()
    assert (worker.process.calls, worker.is_ending) == (["terminate"], True)
    assert worker.ends_at == 101.0 + STOP_GRACE_S
    pool._end_overdue()
    assert worker.process.calls == ["terminate"]
    clock.now = worker.ends_at
    pool._end_overdue()
    assert worker.process.calls == ["terminate", "kill"]
    assert worker.ends_at == clock.now + STOP_GRACE_S


def test_waiting_finds_messages_and_the_dead(task: GroupTask, clock: Clock) -> None:
    """The dead are looked for from time to time."""
    pool, (sends, dies, rests), theirs = a_pool(workers=3)
    theirs[0].send_bytes(READY)
    dies.process.exitcode = 1
    assert pool._wait_for_workers() == {sends: True, dies: False}
    assert pool._wait_for_workers() == {sends: True}
    clock.now = pool._next_death_check
    assert pool._wait_for_workers() == {sends: True, dies: False}
    assert rests not in pool._wait_for_workers()


@pytest.mark.parametrize(("ends_at", "expected"), [(None, 1.0), (100.25, 0.25), (500.0, 1.0), (99.0, -1.0)])
def test_no_wait_is_longer_than_the_next_time_limit(
    monkeypatch: pytest.MonkeyPatch, ends_at: float | None, expected: float
) -> None:
    pool, (worker, _), _ = a_pool(workers=2)
    worker.ends_at = ends_at
    waits: list[float] = []

    def wait(seconds: float) -> list[Any]:
        waits.append(seconds)
        return []

    monkeypatch.setattr(process_pool, "DEATH_CHECK_INTERVAL_S", 1.0)
    monkeypatch.setattr(pool, "_handles", SimpleNamespace(wait=wait))
    pool._wait_for_workers()
    assert waits == [expected]


# --- stopping --------------------------------------------------------------------------------------


def test_results_that_arrive_in_time_are_kept_as_all_is_stopped(
    task: GroupTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, workers, theirs = a_pool(workers=3)
    left: list[float] = []
    monkeypatch.setattr(ProcessPool, "_end_workers", lambda pool, seconds: left.append(seconds))
    workers[0].task = workers[1].task = task
    for message in (READY, BEGUN, packed(7)):
        theirs[0].send_bytes(message)
    theirs[1].close()
    theirs[2].send_bytes(READY)
    ((ended, result),) = pool.stop()
    assert (ended, result.value) == (task, 7)
    assert [worker.process.calls for worker in workers] == [["terminate"]] * 3
    assert left == [STOP_GRACE_S]


@pytest.mark.parametrize("alive", [True, False])
def test_workers_that_do_not_end_in_time_are_killed(alive: bool, clock: Clock) -> None:
    pool, (worker,), theirs = a_pool()
    worker.process.exitcode = None if alive else 0
    waited: list[float] = []
    worker.process.join = waited.append
    worker.process.close = lambda: worker.process.calls.append("close")
    pool.close()
    assert theirs[0].recv_bytes() == b""  # which asks it to end
    assert worker.process.calls == [*["kill"] * alive, "close"]
    assert waited == [process_pool.IDLE_EXIT_S] * (1 + alive)
    assert worker.pipe.closed
    assert pool._workers == []
