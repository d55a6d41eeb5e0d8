"""The queue and its one thread: order, bounds, flushing, threads that die, stores that hang."""

from __future__ import annotations

import gc
import itertools
import json
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, Name, TaskGroup
from clearml_taskgroup._clearml.events import Batch, console_event, now
from clearml_taskgroup._model.metric_data import MetricData
from clearml_taskgroup._run import reporter as _reporter
from clearml_taskgroup._run.reporter import Reporter
from clearml_taskgroup.errors import DeliveryError, LostPointsWarning, TaskClosedError
from clearml_taskgroup.testing import MemoryStore, recording
from tests.support.scripts import HookedStore, fails_to_close, kept_in


def a_group() -> TaskGroup:
    """Makes a group for the store of the test."""
    return TaskGroup("the project", "the group", metrics=["loss"], close_timeout=30.0)


def values(backend: MemoryStore, index: int = 0) -> list[float]:
    """The values of the metric `loss` of a task, in the order of their arrival."""
    return [value for _, value in backend.members[index].scalars.get(("loss", "value"), [])]


def reporter_of(group: TaskGroup) -> Reporter:
    """The reporter of an open group."""
    assert group._run is not None
    return group._run.reporter


def small(monkeypatch: pytest.MonkeyPatch, bound: int = 4, patience: float = 0.05) -> None:
    """Makes the queue and the patience small."""
    monkeypatch.setattr(_reporter, "MAX_QUEUED_REPORTS", bound)
    monkeypatch.setattr(_reporter, "STALL_TIMEOUT_S", patience)
    monkeypatch.setattr(_reporter, "MAX_PENDING_EVENTS", 1)


class Hanging(HookedStore):
    """A store that hangs in its first write until it is released."""

    def __init__(self) -> None:
        super().__init__(on_write=self._hang)
        self.stuck = threading.Event()
        self.release = threading.Event()

    def _hang(self, batch: Batch) -> None:
        self.stuck.set()
        self.release.wait()


# --- on the way --------------------------------------------------------------------------------


def test_points_arrive_complete_and_in_order() -> None:
    """All points of all tasks arrive once, each task's in the order of its reports."""
    with recording() as backend, a_group() as group:
        tasks = group.tasks({"seed": range(10)})
        for iteration in range(200):
            for task in tasks:
                task.report({"loss": float(iteration)}, iteration)
    for index in range(10):
        assert values(backend, index) == [float(iteration) for iteration in range(200)]


def test_an_event_is_what_clearml_itself_would_send() -> None:
    """A point becomes one scalar event of the API, with the time of its report in milliseconds."""
    before = now()
    with recording() as backend, TaskGroup("the project", "the group") as group:
        group.task(name="the task").report({'a "quoted" metric': 0.1}, 7, split="väl")
    (event,) = backend.members[0].events
    assert before <= event.pop("timestamp") <= now()
    assert event == {
        "type": "training_stats_scalar",
        "task": backend.members[0].id,
        "metric": 'a "quoted" metric',
        "variant": "väl",
        "value": 0.1,
        "iter": 7,
    }


def test_text_and_points_of_a_task_keep_their_order() -> None:
    """A traceback in the console comes after what was reported before it."""
    with recording() as backend, TaskGroup("the project", "the group", catch=ValueError) as group:
        with group.task(name="the task") as task:
            task.report({"loss": 1.0}, 1)
            raise ValueError("bad")
    assert [event["type"] for event in backend.members[0].events] == ["training_stats_scalar", "log"]


def test_console_lines_of_a_task_have_increasing_times() -> None:
    """The web page shows lines of one millisecond in reverse order."""
    with recording() as backend, a_group() as group:
        first, second = group.tasks({"seed": [0, 1]})
        for number in range(50):
            group._run.reporter.put_text(first.id, str(number))  # type: ignore[union-attr]
            group._run.reporter.put_text(second.id, str(number))  # type: ignore[union-attr]
    for task in backend.members:
        times = [event["timestamp"] for event in task.events]
        assert times == sorted(set(times))
        assert [event["msg"] for event in task.events] == list(map(str, range(50)))


def test_a_thousand_tasks_have_one_thread() -> None:
    """The number of threads does not grow with the number of tasks, and is back after the end."""
    before = set(threading.enumerate())
    with recording(), a_group() as group:
        for task in group.tasks({"seed": range(1000)}):
            task.report({"loss": 1.0}, 1)
        (ours,) = set(threading.enumerate()) - before
        assert (ours.name, ours.daemon) == ("clearml-taskgroup", True)
    assert set(threading.enumerate()) <= before


# --- flushing ----------------------------------------------------------------------------------


def test_after_a_flush_everything_is_with_the_store() -> None:
    """`flush` returns once all that was reported before is delivered, and leaves tasks open."""
    with recording() as backend, a_group() as group:
        task = group.task(name="the task")
        for iteration in range(3):
            task.report({"loss": float(iteration)}, iteration)
            task.flush()
            assert values(backend) == [float(i) for i in range(iteration + 1)]
        assert task.status == "in_progress"


def test_the_end_of_a_block_writes_in_its_own_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """To wake the other thread for one task's data takes longer than to write it."""
    monkeypatch.setattr(_reporter, "QUEUE_INTERVAL_S", 600.0)
    threads: list[str] = []
    backend = HookedStore(on_write=lambda batch: threads.append(threading.current_thread().name))
    with kept_in(backend), a_group() as group:
        with group.task(name="the task") as task:
            task.report({"loss": 1.0}, 1)
            task.flush()  # then the other thread waits
            task.report({"loss": 2.0}, 2)
        assert threads == ["clearml-taskgroup", threading.current_thread().name]
        assert values(backend) == [1.0, 2.0]


def test_the_end_of_a_block_waits_while_the_other_thread_writes() -> None:
    """What it writes comes first; a store that hangs costs a time limit, not the script."""
    backend = Hanging()
    with kept_in(backend), a_group() as group:
        group.task(name="the task").report({"loss": 1.0}, 1)
        assert backend.stuck.wait(60)
        reporter = reporter_of(group)
        reporter.write_now()
        assert not reporter.flush(0.01)
        backend.release.set()
        assert reporter.flush(60)
    assert values(backend) == [1.0]


def test_a_flush_waits_in_slices() -> None:
    """A signal that comes just before a wait is not seen until it is over: no wait is a long one."""
    backend = Hanging()
    waits: list[float | None] = []
    with kept_in(backend), a_group() as group:
        group.task(name="the task").report({"loss": 1.0}, 1)
        assert backend.stuck.wait(60)
        reporter = reporter_of(group)
        reporter._progress = _Waking(waits, backend.release)
        assert reporter.flush(600)
    assert waits
    assert all(timeout is not None and timeout <= 1 for timeout in waits)


def reporting_without_end(task: GroupTask, stop: threading.Event, started: threading.Event) -> list[int]:
    """Reports as fast as it can; gives what `report` accepted."""
    accepted: list[int] = []
    try:
        while not stop.is_set():
            task.report({"loss": float(len(accepted))}, len(accepted))
            accepted.append(len(accepted))
            started.set()
    except TaskClosedError:
        pass
    return accepted


class Worker(threading.Thread):
    """A thread that keeps what its function gives or raises."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        super().__init__()
        self.function, self.args = function, args
        self.result: Any = None

    def run(self) -> None:
        """Calls the function."""
        try:
            self.result = self.function(*self.args)
        except BaseException as error:
            self.result = error


def test_a_flush_waits_for_what_came_before_it_only() -> None:
    """A thread that reports without end neither keeps `flush` waiting nor makes it fail."""
    stop, started = threading.Event(), threading.Event()
    with recording() as backend, a_group() as group:
        busy, quiet = group.tasks({"seed": [0, 1]})
        worker = Worker(reporting_without_end, busy, stop, started)
        worker.start()
        try:
            assert started.wait(60)
            for iteration in range(20):
                quiet.report({"loss": 1.0}, iteration)
                group.flush(timeout=60)
                assert len(values(backend, 1)) == iteration + 1
            with quiet:
                pass
        finally:
            stop.set()
            worker.join()
    assert values(backend, 0) == [float(iteration) for iteration in worker.result]


def test_the_end_loses_nothing_that_a_thread_reported() -> None:
    """Threads that report while the block ends: what `report` accepted arrives, the rest is refused."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(10):
            stop = threading.Event()
            events = [threading.Event() for _ in range(3)]
            with recording() as backend, a_group() as group:
                tasks = group.tasks({"seed": range(3)})
                workers = [
                    Worker(reporting_without_end, task, stop, started)
                    for task, started in zip(tasks, events, strict=True)
                ]
                for worker in workers:
                    worker.start()
                for started in events:
                    assert started.wait(60)
            for index, worker in enumerate(workers):
                worker.join(30)  # ends by TaskClosedError alone
                assert values(backend, index) == [float(iteration) for iteration in worker.result]
    finally:
        sys.setswitchinterval(interval)


class _Telling(threading.Event):
    """An event that lets somebody go on when the reporter is told to stop."""

    def __init__(self, reporter: Reporter, go_on: threading.Event) -> None:
        super().__init__()
        self.reporter, self.go_on = reporter, go_on

    def set(self) -> None:
        """Wakes the thread, and whoever waits for the stop."""
        super().set()
        if self.reporter._stopping:
            self.go_on.set()


def test_what_comes_in_during_the_last_write_is_delivered_by_who_stops_the_thread() -> None:
    """A report between the thread's last look at the queue and its end is not left behind."""
    stopping = threading.Event()
    writes: list[list[str]] = []

    def note(batch: Batch) -> None:
        if not writes:
            assert stopping.wait(60)
        writes.append(batch.pop("id"))
        if len(writes) < 3:
            reporter.put_text("id", str(len(writes)))

    reporter = Reporter(HookedStore(on_write=note))
    reporter._wake = _Telling(reporter, stopping)
    reporter.put_text("id", "0")
    reporter.start()
    reporter.stop(10)
    assert [json.loads(event)["msg"] for write in writes for event in write] == ["0", "1", "2"]


# --- how often it writes -----------------------------------------------------------------------


class _Pauses(threading.Event):
    """An event that notes for how long the reporter waits, and how many reports wait meanwhile."""

    def __init__(self, reporter: Reporter, seconds: float | None = None) -> None:
        super().__init__()
        self.reporter, self.seconds = reporter, seconds
        self.waits: list[tuple[float | None, int]] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Waits, as long as it was asked or as the test wants."""
        self.waits.append((timeout, len(self.reporter._queue)))
        return super().wait(timeout if self.seconds is None else self.seconds)


def test_reports_that_come_in_during_a_batch_wait_for_the_next_pause_to_end() -> None:
    """Else each batch has the few reports of the one before it, and opens a file for each."""

    def note(batch: Batch) -> None:
        if len(written) < 3:
            reporter.put_text("id", "meanwhile")
        written.append(batch.pop("id"))

    written: list[list[str]] = []
    reporter = Reporter(HookedStore(on_write=note))
    pauses = reporter._wake = _Pauses(reporter)
    reporter.put_text("id", "first")
    reporter.start()
    while len(written) < 3:
        assert reporter.flush(60)
    reporter.stop(10)
    assert [len(events) for events in written] == [1] * 4
    assert 1 in {waiting for _, waiting in pauses.waits}
    assert min(timeout or 0.0 for timeout, _ in pauses.waits) >= _reporter.QUEUE_INTERVAL_S


def test_many_reports_end_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fast loop is written down while it runs, so that the queue stays small."""
    monkeypatch.setattr(_reporter, "MANY_QUEUED_REPORTS", 3)
    written = threading.Event()
    reporter = Reporter(HookedStore(on_write=lambda batch: written.set()))
    reporter._wake = _Pauses(reporter, seconds=30.0)
    reporter.start()
    for number in range(4):
        reporter.put_text("id", str(number))
    assert written.wait(60)
    reporter.stop(10)


@pytest.mark.parametrize(
    ("seconds", "pause"), [(0.0, 0.25), (0.01, 0.25), (0.05, 0.45), (0.2, 0.7), (0.8, 0.25), (5.0, 0.25)]
)
def test_pauses_are_longer_where_batches_take_long(seconds: float, pause: float) -> None:
    """Batches take a tenth of the time, but no report waits for a second because of it."""
    assert _reporter.pause_after(seconds) == pytest.approx(pause)


# --- what goes wrong ---------------------------------------------------------------------------


def test_what_was_refused_goes_first_when_the_store_works_again() -> None:
    """A store that fails for a while gets everything afterwards, in order and once."""
    refuse = threading.Event()
    refuse.set()
    refused = threading.Event()

    def fail(batch: Batch) -> None:
        if refuse.is_set():
            refused.set()
            raise OSError("for a while")

    backend = HookedStore(on_write=fail)
    with kept_in(backend), a_group() as group:
        task = group.task(name="the task")
        task.report({"loss": 1.0}, 1)
        with pytest.raises(DeliveryError, match="for a while"):
            group.flush()
        task.report({"loss": 2.0}, 2)
        assert refused.is_set()
        refuse.clear()
        group.flush()
        assert values(backend) == [1.0, 2.0]


def test_a_dead_store_cannot_hang_a_training_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound points are given up at once, told once, counted, and named at the close."""
    small(monkeypatch, patience=60.0)

    def fail(batch: Batch) -> None:
        raise OSError("dead disk")

    with kept_in(HookedStore(on_write=fail)), fails_to_close() as errors, a_group() as group:
        dead, other = group.tasks({"seed": [0, 1]})
        dead.report({"loss": 0.0}, 0)
        with pytest.raises(DeliveryError):
            group.flush()
        for iteration in range(4):
            dead.report({"loss": 1.0}, iteration)
        with pytest.warns(LostPointsWarning, match="'seed=0' were dropped.*dead disk"):
            dead.report({"loss": 2.0}, 9)
        for iteration in range(99):  # a second warning would be an error here
            (other if iteration % 2 else dead).report({"loss": 2.0}, iteration)
        assert sum(reporter_of(group).lost.values()) == 100
    undelivered, lost = errors
    assert isinstance(undelivered, DeliveryError)
    assert (undelivered.points, undelivered.tasks) == (5, ["seed=0"])
    assert isinstance(lost, DeliveryError)
    assert (lost.points, lost.tasks) == (100, ["seed=0", "seed=1"])
    assert "the queue was full" in str(lost)


def test_a_hanging_store_costs_a_loop_its_patience_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first report past the bound waits a moment for progress, the others no more."""
    small(monkeypatch, bound=2)
    waits: list[float | None] = []
    backend = Hanging()
    with kept_in(backend), fails_to_close() as errors, a_group() as group:
        task = group.task(name="the task")
        task.report({"loss": 0.0}, 0)
        assert backend.stuck.wait(60)
        monkeypatch.setattr(reporter_of(group), "_progress", _Counting(waits))
        for iteration in range(2):
            task.report({"loss": 1.0}, iteration)
        with pytest.warns(LostPointsWarning, match="the queue is full"):
            task.report({"loss": 1.0}, 2)
        for iteration in range(297):
            task.report({"loss": 1.0}, iteration)
        monkeypatch.undo()
        assert 1 <= len(waits) <= 10
        backend.release.set()
    assert [(error.points, error.tasks) for error in errors if isinstance(error, DeliveryError)] == [
        (298, ["the task"])
    ]
    assert values(backend) == [0.0, 1.0, 1.0]


class _Counting(threading.Condition):
    """A condition that notes each time somebody waits for it."""

    def __init__(self, waits: list[float | None]) -> None:
        super().__init__()
        self.waits = waits

    def wait(self, timeout: float | None = None) -> bool:
        """Waits, noting it."""
        self.waits.append(timeout)
        return super().wait(timeout)


def test_a_slow_store_holds_a_fast_loop_back_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full queue waits for a store that gets on, however often it is full: progress renews patience."""
    ticks = itertools.count()  # a clock that goes on by one each time that somebody looks
    clock = SimpleNamespace(monotonic=lambda: float(next(ticks)), time_ns=time.time_ns)
    small(monkeypatch, patience=400.0)
    monkeypatch.setattr(_reporter, "time", clock)
    with recording() as backend, a_group() as group:
        task = group.task(name="the task")
        for iteration in range(4000):
            task.report({"loss": float(iteration)}, iteration)
    assert next(ticks) > 400
    assert values(backend) == [float(iteration) for iteration in range(4000)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_thread_hangs_neither_reports_nor_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the reporter thread die, points are given up past the bound; the end does its work."""
    small(monkeypatch, patience=60.0)
    died: list[bool] = []

    def die(batch: Batch) -> None:
        if not died:
            died.append(True)
            raise SystemExit

    backend = HookedStore(on_write=die)
    with kept_in(backend), fails_to_close() as errors, a_group() as group:
        task = group.task(name="the task")
        task.report({"loss": 0.0}, 0)
        thread = reporter_of(group)._thread
        assert thread is not None
        thread.join(60)
        assert not thread.is_alive()
        for iteration in range(1, 5):
            task.report({"loss": float(iteration)}, iteration)
        with pytest.warns(LostPointsWarning):
            task.report({"loss": 5.0}, 5)
    assert [(error.points, error.tasks) for error in errors if isinstance(error, DeliveryError)] == [
        (1, ["the task"])
    ]
    assert values(backend) == [0.0, 1.0, 2.0, 3.0, 4.0]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_during_a_flush_wakes_who_waits() -> None:
    """Whoever waits in `flush` for a thread that dies does the work himself, at once."""
    dying, die = threading.Event(), threading.Event()

    def fail(batch: Batch) -> None:
        if threading.current_thread().name == "clearml-taskgroup":
            dying.set()
            die.wait()
            raise SystemExit

    backend = HookedStore(on_write=fail)
    with kept_in(backend), a_group() as group:
        task = group.task(name="the task")
        task.report({"loss": 1.0}, 1)
        assert dying.wait(60)
        waits: list[float | None] = []
        reporter_of(group)._progress = _Waking(waits, die)
        group.flush(timeout=600)
        assert waits  # it did wait for the thread
        assert values(backend) == [1.0]


class _Waking(_Counting):
    """A condition that lets the store go on once somebody waits."""

    def __init__(self, waits: list[float | None], go_on: threading.Event) -> None:
        super().__init__(waits)
        self.go_on = go_on

    def wait(self, timeout: float | None = None) -> bool:
        """Waits, and has the thread die meanwhile."""
        self.go_on.set()
        return super().wait(timeout)


def test_an_item_that_cannot_be_written_down_does_not_end_the_thread() -> None:
    """Should one item fail in the thread, it is passed over; what comes after it is delivered."""

    class Poison(str):
        def __format__(self, spec: str) -> str:
            raise ValueError("poison")

    with recording() as backend, a_group() as group:
        task = group.task(name="the task")
        poisoned = _reporter.Channel(task.id, Name("loss", "value"), MetricData())
        poisoned.head = Poison()
        reporter = reporter_of(group)
        reporter.put([task.id, 1, 0, reporter.channels.add(poisoned), 1.0])
        assert not reporter.flush(10)
        task.report({"loss": 2.0}, 2)
        group.flush()
        assert reporter._thread is not None
        assert reporter._thread.is_alive()
    assert values(backend) == [2.0]


def test_reports_that_wait_cost_the_garbage_collector_nothing() -> None:
    """What it does not look at cannot cause a full collection in a training loop."""
    with recording(), a_group() as group:
        task, reporter = group.task(name="the task"), reporter_of(group)
        task.report({"loss": 1.0}, 0)
        group.flush()
        reporter._work_lock.acquire()
        try:
            task.report({"loss": 1.0}, 1)
            gc.collect(0)
            assert [gc.is_tracked(report) for report in reporter._queue] == [False]
        finally:
            reporter._work_lock.release()


def test_a_flush_wakes_the_thread_only_if_something_waits() -> None:
    """The end of a task without values costs no switch between threads."""
    reporter = Reporter(MemoryStore())
    reporter._thread = SimpleNamespace(is_alive=lambda: True)  # type: ignore[assignment]
    assert reporter.flush(60.0)
    assert not reporter._wake.is_set()
    with reporter._work_lock:  # what is under way has left the queue
        assert not reporter.has_written_all
    reporter.put_event("the task", "{}")
    assert not reporter.flush(0.0)
    assert reporter._wake.is_set()


def test_a_report_in_the_moment_of_the_tasks_end_counts_as_lost() -> None:
    """Another thread may end a task while a report to it is under way: the report is named at the end."""
    with recording() as backend:
        group = a_group().open()
        task, reporter = group.task(name="the task"), reporter_of(group)
        task.report({"loss": 1.0}, 0)
        (number,) = reporter.channels.by_number
        task.mark_completed()
        group.flush()
        assert reporter.channels.by_number == {}
        reporter.put([task.id, 1, 0, number, 0.5])
        with pytest.raises(ExceptionGroup) as raised:
            group.close()
    (error,) = raised.value.exceptions
    assert isinstance(error, DeliveryError)
    assert (error.points, error.tasks) == (1, ["the task"])
    assert values(backend) == [1.0]


def test_console_text_is_one_json_object() -> None:
    """A console event holds the text as it is, whatever characters it has."""
    event = json.loads(console_event("an id", 'line "one"\nline two'))
    assert (event["type"], event["task"], event["msg"]) == ("log", "an id", 'line "one"\nline two')
