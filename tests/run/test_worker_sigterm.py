"""SIGTERM in a worker of another library's pool: where it is taken over, and what the thread does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup._run import worker_sigterm
from clearml_taskgroup._run.worker_sigterm import before_sigterm, pass_on

SIGTERM = bytes([signal.SIGTERM])


class Started:
    """In place of the module `threading`: notes what threads would have to do."""

    def __init__(self, *, in_main: bool = True) -> None:
        self.threads: list[dict[str, Any]] = []
        self.current_thread = threading.main_thread if in_main else lambda: None
        self.main_thread = threading.main_thread

    def Thread(self, **options: Any) -> Any:  # noqa: N802
        self.threads.append(options)
        return SimpleNamespace(start=lambda: None)


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """No test leaves a handler or a pipe."""
    handler, pipe = signal.getsignal(signal.SIGTERM), worker_sigterm._pipe
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    worker_sigterm._pipe = None
    yield
    signal.signal(signal.SIGTERM, handler)
    signal.set_wakeup_fd(-1)
    if worker_sigterm._pipe is not None:
        for file in worker_sigterm._pipe:
            os.close(file)
    worker_sigterm._pipe = pipe


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    started = Started()
    monkeypatch.setattr(worker_sigterm, "threading", started)
    return started


def nothing() -> None:
    """Nothing is left to do."""


def test_a_signal_wakes_a_thread_at_once(started: Started) -> None:
    """Also while the main thread waits, in which no handler can run."""
    before_sigterm(nothing)
    assert worker_sigterm._pipe is not None
    (thread,) = started.threads
    assert thread["args"] == (worker_sigterm._pipe[0], nothing)
    assert thread["daemon"]
    assert signal.getsignal(signal.SIGTERM) is pass_on
    assert not os.get_blocking(worker_sigterm._pipe[1])
    assert signal.set_wakeup_fd(worker_sigterm._pipe[1]) == worker_sigterm._pipe[1]
    os.kill(os.getpid(), signal.SIGTERM)
    assert os.read(worker_sigterm._pipe[0], 10).startswith(SIGTERM)


def test_it_is_taken_over_once(started: Started) -> None:
    before_sigterm(nothing)
    pipe = worker_sigterm._pipe
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    before_sigterm(nothing)
    assert len(started.threads) == 1
    assert worker_sigterm._pipe is pipe


@pytest.mark.parametrize("why", ["another thread", "a handler of the user's", "Windows"])
def test_it_is_not_taken_over(why: str, started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    if why == "another thread":
        started.current_thread = lambda: None
    elif why == "Windows":
        monkeypatch.delattr(os, "set_blocking")
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    before_sigterm(nothing)
    assert started.threads == []
    assert worker_sigterm._pipe is None


def test_the_pipe_of_an_event_loop_is_left_to_it(started: Started) -> None:
    """Then the handler writes to the own one."""
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    signal.set_wakeup_fd(writes)
    before_sigterm(nothing)
    assert signal.set_wakeup_fd(-1) == writes
    assert worker_sigterm._pipe is not None
    pass_on(signal.SIGTERM, None)
    assert os.read(worker_sigterm._pipe[0], 10) == SIGTERM
    os.close(reads)
    os.close(writes)


def test_a_handler_that_is_left_over_does_nothing() -> None:
    pass_on(signal.SIGTERM, None)


class Ended(Exception):
    """In place of the process's end."""


@pytest.mark.parametrize("fails", [False, True])
def test_the_thread_ends_the_process_after_the_function(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other signals, and a SIGTERM that a group in this process handles, wake it for nothing."""
    calls: list[str] = []

    def callback() -> None:
        calls.append("called")
        if fails:
            raise OSError

    def end(code: int) -> None:
        calls.append(f"ended with {code}")
        raise Ended

    handlers = iter([signal.SIG_DFL, pass_on])
    monkeypatch.setattr(signal, "getsignal", lambda number: next(handlers))
    monkeypatch.setattr(os, "_exit", end)
    reads, writes = os.pipe()
    os.write(writes, bytes([signal.SIGINT]) + SIGTERM + SIGTERM)
    with pytest.raises(Ended):
        worker_sigterm._watch(reads, callback)
    monkeypatch.undo()
    assert calls == ["called", "ended with 143"]
    os.close(reads)
    os.close(writes)


# --- forked children -------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", [False, True])
def test_a_forked_child_is_ended_by_the_signal_again(loop: bool, started: Started) -> None:
    """The thread and the pipe are the parent's; the pipe of an event loop is not this module's."""
    before_sigterm(nothing)
    pipe = worker_sigterm._pipe
    assert pipe is not None
    others = os.pipe()
    os.set_blocking(others[1], False)
    if loop:
        signal.set_wakeup_fd(others[1])
    worker_sigterm._forget()
    assert worker_sigterm._pipe is None
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.set_wakeup_fd(-1) == (others[1] if loop else -1)
    for file in (*pipe, *others):
        os.close(file)


def test_a_handler_that_a_group_has_set_is_left_in_a_child(started: Started) -> None:
    before_sigterm(nothing)
    pipe = worker_sigterm._pipe
    assert pipe is not None
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    worker_sigterm._forget()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    for file in pipe:
        os.close(file)


def test_a_child_of_a_process_without_the_pipe_keeps_the_wakeup() -> None:
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    signal.set_wakeup_fd(writes)
    worker_sigterm._forget()
    assert signal.set_wakeup_fd(-1) == writes
    os.close(reads)
    os.close(writes)
