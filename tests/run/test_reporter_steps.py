"""The reporter without its thread: what is queued, counted, encoded, refused and handed over."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup import Name
from clearml_taskgroup._clearml.events import Batch
from clearml_taskgroup._model.metric_data import MetricData
from clearml_taskgroup._run import reporter as _reporter
from clearml_taskgroup._run.reporter import STALL_TIMEOUT_S, Channel, Reporter
from tests.support.scripts import HookedStore


class Store(HookedStore):
    """A store that takes all events, or none, and notes them."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []
        self.refuses = False

    def write(self, batch: Batch) -> None:
        if self.refuses:
            raise OSError("no")
        for task_id in list(batch):
            self.events += batch.pop(task_id)

    def undelivered(self) -> dict[str, int]:
        return {"a": 2}


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def reporter(store: Store) -> Reporter:
    return Reporter(store)


def channel(reporter: Reporter, task_id: str = "a") -> tuple[int, Channel]:
    new = Channel(task_id, Name("loss", "val"), MetricData())
    return reporter.channels.add(new), new


def put(reporter: Reporter, number: int, iteration: int | None, *values: float, task_id: str = "a") -> int:
    points: list[Any] = [task_id, iteration, 0]
    for value in values:
        points += [number, value]
    return reporter.put(points)


def test_a_point_is_written_and_counted(reporter: Reporter, store: Store) -> None:
    """A single value is no part of the curve's sample."""
    number, new = channel(reporter)
    assert put(reporter, number, 3, 0.5, 0.25) == 0
    assert put(reporter, number, None, 7.0) == 0
    assert reporter.flush(60.0)
    told = [json.loads(event) for event in store.events]
    assert [(event["task"], event["metric"], event["value"]) for event in told] == [
        ("a", "loss", value) for value in (0.5, 0.25, 7.0)
    ]
    assert (new.stats.count, new.stats.last, new.stats.end) == (1, 7.0, 3)
    assert new.sample.points == [(3, 0.25)] or len(new.sample.points) == 2


def test_a_sample_says_how_many_points_it_passes(reporter: Reporter) -> None:
    number, new = channel(reporter)
    taken: list[int] = []

    def add(iteration: int, value: float) -> int:
        taken.append(iteration)
        return 2

    new.sample = SimpleNamespace(add=add)  # type: ignore[assignment]
    for iteration in range(7):
        put(reporter, number, iteration, 1.0)
    reporter.flush(60.0)
    assert taken == [0, 3, 6]


def test_a_channel_is_forgotten_after_what_waits(reporter: Reporter, store: Store) -> None:
    number, _ = channel(reporter)
    put(reporter, number, 1, 0.5)
    reporter.channels.forget(iter([number]))
    assert not reporter.has_written_all
    assert reporter.flush(60.0)
    assert (len(store.events), reporter.channels.by_number, reporter.lost) == (1, {}, {})
    put(reporter, number, 2, 0.5, 0.25)
    reporter.flush(60.0)
    assert (len(store.events), reporter.lost) == (1, {"a": 2})


def test_what_waits_is_counted_everywhere(reporter: Reporter, store: Store) -> None:
    number, _ = channel(reporter)
    assert reporter.undelivered() == {"a": 2}
    store.refuses = True
    put(reporter, number, 1, 0.5, 0.25)
    assert not reporter.flush(60.0)
    assert reporter.undelivered() == {"a": 4}
    put(reporter, number, 2, 0.5)
    reporter.put_event("b", "{}")
    assert reporter.undelivered() == {"a": 5, "b": 1}
    assert not reporter.has_written_all
    store.refuses = False
    assert reporter.flush(60.0)
    assert (reporter.undelivered(), reporter.error, reporter.has_written_all) == ({"a": 2}, None, True)


@pytest.mark.parametrize(("most", "waits"), [(2, True), (3, False)])
def test_after_so_many_refused_events_the_rest_stays_in_the_queue(
    reporter: Reporter, store: Store, most: int, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_reporter, "MAX_PENDING_EVENTS", most)
    store.refuses = True
    for task_id in ("a", "b"):
        reporter.put_event(task_id, "{}")
    assert not reporter._has_too_many_pending()
    reporter.flush(60.0)
    assert reporter._has_too_many_pending() is waits
    reporter.put_event("c", "{}")
    reporter.flush(60.0)
    assert bool(reporter._queue) is waits
    store.refuses = False
    reporter.flush(60.0)
    reporter.flush(60.0)
    assert len(store.events) == 3


def test_points_past_the_bound_are_dropped_and_counted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_reporter, "MAX_QUEUED_REPORTS", 2)
    reporter = Reporter(store)  # without a thread, nothing takes them away
    number, _ = channel(reporter)
    for _ in range(2):
        assert put(reporter, number, 1, 0.5) == 0
    assert put(reporter, number, 1, 0.5, 0.25) == 2
    assert put(reporter, number, 1, 0.5) == 1
    reporter.put_event("a", "{}")
    assert (len(reporter._queue), reporter.lost) == (2, {"a": 3})


def test_where_no_thread_runs_a_report_is_written_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: threading.Thread) -> None:
        raise RuntimeError

    monkeypatch.setattr(threading.Thread, "start", fail)
    reporter = Reporter(store)
    reporter.start()
    monkeypatch.undo()
    number, _ = channel(reporter)
    before: list[str] = []
    put(reporter, number, 1, 0.5)
    reporter.before_inline = before.append
    put(reporter, number, 2, 0.5)
    reporter.put_event("b", "{}")
    assert (len(store.events), before) == (3, ["a"])
    reporter.stop()


def test_a_full_queue_is_worked_on_where_no_thread_runs(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_reporter, "MAX_QUEUED_REPORTS", 2)
    reporter = Reporter(store)
    number, _ = channel(reporter)
    for _ in range(2):
        put(reporter, number, 1, 0.5)
    reporter._inline = True
    assert put(reporter, number, 1, 0.5) == 0
    assert len(store.events) == 3
    reporter._queue.extend([("a", "{}")] * 3)
    with reporter._work_lock:
        monkeypatch.setattr(_reporter, "STALL_TIMEOUT_S", 0.0)
        monkeypatch.setattr(reporter, "_work", lambda: False)
        assert put(reporter, number, 1, 0.5) == 1


def test_the_caller_writes_unless_the_thread_does_or_has_failed(reporter: Reporter, store: Store) -> None:
    reporter.put_event("a", "{}")
    with reporter._work_lock:
        reporter.write_now()
    reporter.error = OSError()
    reporter.write_now()
    assert store.events == []
    reporter.error = None
    reporter.write_now()
    assert store.events == ["{}"]


@pytest.mark.parametrize(("queued", "locked"), [(False, False), (True, False), (False, True)])
def test_before_a_fork_what_waits_is_written(
    reporter: Reporter, queued: bool, locked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[Any] = []
    monkeypatch.setattr(reporter, "flush", waits.append)
    if queued:
        reporter.put_event("a", "{}")
    if locked:
        reporter._work_lock.acquire()
    reporter.hand_over()
    assert waits == [STALL_TIMEOUT_S] * (queued or locked)


def test_another_thread_that_hangs_is_not_waited_for(reporter: Reporter) -> None:
    reporter.put_event("a", "{}")
    with reporter._work_lock:
        assert not reporter.flush(0.0)
        assert not reporter.flush(-1.0)


def test_the_thread_itself_neither_waits_for_itself_nor_joins_itself(reporter: Reporter) -> None:
    reporter._thread = threading.current_thread()
    reporter.put_event("a", "{}")
    assert not reporter.flush(60.0)
    reporter._queue.clear()
    reporter.channels.forget([1])
    assert reporter.flush(60.0)
    reporter.stop(60.0)
    assert reporter._inline


def test_what_came_in_last_is_written_by_who_stops(reporter: Reporter, store: Store) -> None:
    reporter.put_event("a", "{}")
    reporter.stop()
    assert store.events == ["{}"]


def test_a_child_begins_with_an_empty_queue(reporter: Reporter, store: Store) -> None:
    reporter.put_event("a", "{}")
    reporter._pending = {"a": ["{}"]}
    reporter._work_lock.acquire()
    reporter._after_fork()
    assert (list(reporter._queue), reporter._pending, reporter._inline) == ([], {}, True)
    assert not reporter._work_lock.locked()
    reporter.put_event("a", "{}")
    assert store.events == ["{}"]


@pytest.mark.parametrize(("meanwhile", "pauses"), [(0, 1), (1, 1), (2, 0), (3, 0)])
def test_the_thread_goes_on_at_once_if_many_wait(
    store: Store, meanwhile: int, pauses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_reporter, "MANY_QUEUED_REPORTS", 2)
    reporter, waits, batches = Reporter(store), list[float](), list[int]()

    def write(batch: Batch) -> None:
        batch.clear()
        for _ in range(meanwhile if not reporter._stopping else 0):
            reporter._queue.append(("a", "{}"))
        reporter._stopping = True

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return True

    monkeypatch.setattr(
        reporter, "backend", SimpleNamespace(write=write, heartbeat=lambda: batches.append(1))
    )
    monkeypatch.setattr(reporter._wake, "wait", wait)
    reporter.after_batch = lambda: batches.append(0)
    reporter._queue.append(("a", "{}"))
    reporter._loop()
    assert (len(waits), batches) == (pauses, [0, 1, 0])
    assert reporter._queue == type(reporter._queue)()


def test_after_an_error_the_thread_pauses_however_many_wait(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_reporter, "MANY_QUEUED_REPORTS", 1)
    monkeypatch.setattr(_reporter, "MAX_PENDING_EVENTS", 1)
    reporter, waits = Reporter(store), list[float]()
    store.refuses = True

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        reporter._queue.append(("a", "{}"))
        reporter._stopping = len(waits) == 2
        return True

    monkeypatch.setattr(reporter._wake, "wait", wait)
    reporter._queue.append(("a", "{}"))
    reporter._loop()
    assert len(waits) == 2


@pytest.mark.parametrize(("report", "number"), [(("a", "{}"), 1), (("a", 1, 0), 0), (("a", 1, 0, 5, 1.0), 1)])
def test_the_number_of_events_of_a_report(report: Sequence[Any], number: int) -> None:
    assert _reporter._number_of_events(report) == number


def test_console_lines_come_after_each_other(reporter: Reporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_reporter, "now", lambda: 100)
    for text in ("a", "b"):
        reporter.put_text("a", text)
    assert [json.loads(event)["timestamp"] for _, event in reporter._queue] == [100, 101]
