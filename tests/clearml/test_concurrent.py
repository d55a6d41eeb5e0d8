"""Several calls at the same time, and a call with a time limit."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from clearml_taskgroup._clearml.concurrent import call_concurrently, call_in_time
from clearml_taskgroup._model import limits


def no_thread(*_: Any) -> None:
    """As `Thread.start` while the interpreter ends."""
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_results_are_in_order(count: int) -> None:
    assert call_concurrently(lambda item: item * 2, iter(range(count))) == [2 * n for n in range(count)]


@pytest.mark.parametrize(
    ("items", "most", "threads"), [(5, 3, 3), (3, 3, 3), (2, 3, 2), (1, 3, 1), (5, 1, 1)]
)
def test_how_many_calls_are_made_at_a_time(
    monkeypatch: pytest.MonkeyPatch, items: int, most: int, threads: int
) -> None:
    """As many as the limit says, one of them in the calling thread."""
    monkeypatch.setattr(limits, "MAX_CONCURRENT_CALLS", most)
    together = threading.Barrier(threads)
    seen = set()

    def call(item: int) -> None:
        if item < threads:
            together.wait(60)
        seen.add(threading.current_thread())

    call_concurrently(call, range(items))
    assert len(seen) <= threads
    assert threading.current_thread() in seen


def test_all_calls_are_made_before_an_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the first item, whichever failed first."""
    monkeypatch.setattr(limits, "MAX_CONCURRENT_CALLS", 1)
    made = []

    def call(item: int) -> None:
        made.append(item)
        if item in (1, 2):
            raise ValueError(item)

    with pytest.raises(ValueError, match="1"):
        call_concurrently(call, range(4))
    assert made == [0, 1, 2, 3]


def test_after_an_interrupt_no_call_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_CONCURRENT_CALLS", 1)
    made = []

    def call(item: int) -> None:
        made.append(item)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call_concurrently(call, range(4))
    assert made == [0]


def test_where_no_thread_can_start_the_caller_makes_all_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    assert call_concurrently(lambda item: item, range(3)) == [0, 1, 2]
    made = []
    call_in_time(lambda: made.append(1), 0.0, "it")
    assert made == [1]


def test_a_call_with_a_time_limit() -> None:
    """Its error is raised; after the limit it goes on in its thread."""
    made, end = [], threading.Event()
    call_in_time(lambda: made.append(1), 60.0, "it")
    assert made == [1]
    with pytest.raises(ZeroDivisionError):
        call_in_time(lambda: 1 / 0, 60.0, "it")
    with pytest.raises(TimeoutError, match="the upload took over 0 s"):
        call_in_time(lambda: end.wait(60), 0.01, "the upload")
    end.set()
