"""Run: which tasks it has, how one of them ends, and what it says of undelivered data."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from clearml_taskgroup import GroupTask, Name, TaskGroup
from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._model.past import PastTask, Prior
from clearml_taskgroup._run import closing, task_lines
from clearml_taskgroup._run import run as _run
from clearml_taskgroup._run.run import TASK_DELIVERY_TIMEOUT_S, Run
from clearml_taskgroup._run.state import MAX_REASON_CHARS
from tests.support.scripts import HookedStore, kept_in


@attrs.define(slots=False)
class Store(HookedStore):
    """A store that delivers what is written as the test wants, and notes what else it is asked for."""

    asked: list[Any] = attrs.field(factory=list)
    is_server: bool = False
    delivered: bool = True
    waiting: dict[str, int] = attrs.field(factory=dict)
    remedy: tuple[str, str] = ("", "")
    problem: Exception | None = None

    @property
    def transport(self) -> Any:
        return SimpleNamespace() if self.is_server else None

    def flush(self, timeout: float) -> bool:
        self.asked.append(("flush", timeout))
        return self.delivered

    def undelivered(self) -> dict[str, int]:
        return dict(self.waiting)

    def delivery_remedy(self) -> tuple[str, str]:
        return self.remedy

    def delivery_problem(self) -> Exception | None:
        return self.problem

    def annotate(self, task_id: str, section: Mapping[str, str], runtime: Mapping[str, str]) -> None:
        if section:
            self.asked.append(("annotate", task_id, dict(section)))


class Clock:
    """In place of the module `time`: stands still."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def group(store: Store) -> Iterator[TaskGroup]:
    with kept_in(store), TaskGroup("the project", "the group") as group:
        yield group
        store.waiting, store.delivered, store.problem, store.is_server = {}, True, None, False
        run_of(group).reporter.error = None
        run_of(group).prior = run_of(group).sharing = run_of(group).main_task = None


def run_of(group: TaskGroup) -> Run:
    assert group._run is not None
    return group._run


@pytest.fixture
def run(group: TaskGroup) -> Run:
    return run_of(group)


@pytest.fixture
def task(group: TaskGroup) -> GroupTask:
    return group.task({"seed": 0})


# --- which tasks it has ----------------------------------------------------------------------------


def test_a_run_begins_with_nothing(run: Run) -> None:
    """Its own number of sweeps decides which of them an agent's task belongs to."""
    assert (run.sweeps, run.maps, run.own_states, run.all_states()) == (0, 0, [], [])
    assert (run.closed, run.parent_ended, run.in_child) == (False, False, False)


def other(task: GroupTask, attempt: int) -> Any:
    """A state of the same task, as another process has it."""
    spec = attrs.evolve(task._state.spec, attempt=attempt)
    state = task._state
    return type(state)(spec, f"elsewhere-{attempt}", state.names, {}, state.opened)


@pytest.mark.parametrize(("attempt", "is_later"), [(1, False), (2, True), (3, True)])
def test_the_latest_attempt_of_all_processes_counts(
    run: Run, group: TaskGroup, task: GroupTask, attempt: int, is_later: bool
) -> None:
    """Of the same one that of another process, which may have reopened it."""
    task._state.spec = attrs.evolve(task._state.spec, attempt=2)
    elsewhere, more = other(task, attempt), other(task, 1)
    run.sharing = SimpleNamespace(others={task.key: elsewhere, "another key": more})  # type: ignore[assignment]
    assert run.all_states() == [elsewhere if is_later else task._state, more]


def test_submitted_and_earlier_tasks_count(run: Run, task: GroupTask) -> None:
    submitted = other(task, 1)
    run.submitted["submitted"] = submitted
    past = PastTask("old", "old key", "old", 5, 1, {}, status="completed")
    run.prior = Prior("the run", 1, None, False, {"old key": past})
    assert [state.id for state in run.all_states()] == ["old", task.id, submitted.id]
    run.submitted.clear()


@pytest.mark.parametrize(("status", "done"), [("completed", True), ("failed", False), (None, False)])
def test_a_task_is_done_if_an_earlier_attempt_completed_it(run: Run, status: Any, done: bool) -> None:
    assert run.earlier_attempt("key") is None
    assert not run.is_done("key")
    past = PastTask("old", "key", "old", 5, 1, {}, status=status)
    run.prior = Prior("the run", 1, None, False, {"key": past})
    assert run.earlier_attempt("key") is past
    assert run.earlier_attempt("another") is None
    assert (run.is_done("key"), run.is_done("another")) == (done, False)


@pytest.mark.parametrize(("shared", "closed", "looks"), [(1, 0, 1), (1, 1, 0), (0, 0, 0)])
def test_only_an_open_shared_run_looks_for_others(
    run: Run, monkeypatch: pytest.MonkeyPatch, shared: int, closed: int, looks: int
) -> None:
    calls: list[Run] = []
    monkeypatch.setattr("clearml_taskgroup._run.sharing.look_if_possible", calls.append)
    run.sharing, run.closed = (SimpleNamespace() if shared else None), bool(closed)  # type: ignore[assignment]
    run.look()
    run.closed = False
    assert calls == [run] * looks


# --- parameters and names --------------------------------------------------------------------------


def test_parameters_of_the_parent(run: Run, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """ClearML's own object of a main task has a copy, which it would write over them."""
    run.set_parent_parameters({"a/b": 1})
    assert store.tasks[str(run.parent)].params == {"a/b": 1}
    parent, run.parent = run.parent, None
    run.set_parent_parameters({"a/b": 2})
    calls: list[Any] = []
    monkeypatch.setattr(sdk, "set_parameters", lambda task, params: calls.append((task, list(params))))
    run.main_task = SimpleNamespace()
    run.set_parent_parameters({"a/b": 3})
    assert [(task, params[0]["value"]) for task, params in calls] == [(run.main_task, "3")]
    run.parent = parent
    assert store.tasks[str(run.parent)].params == {"a/b": 1}


@pytest.mark.parametrize("in_child", [False, True])
def test_names_are_logged_where_they_are_new_and_stored_all(
    run: Run, store: Store, task: GroupTask, monkeypatch: pytest.MonkeyPatch, in_child: bool
) -> None:
    """A child leaves the task to the process that opened it, which reads its line."""
    logged: list[Any] = []
    monkeypatch.setattr(task_lines, "log_names", lambda run, state, names: logged.append(names))
    monkeypatch.setattr(Run, "in_child", in_child)
    names = task._state.names
    old, new = Name("a", "b"), Name("a", "c")
    names.ambiguous = {old: MetricKey("x", ()), new: MetricKey("y", ())}
    names.unstored = [new]
    run.store_names(task._state)
    text = '[["a", "b", "x", {}], ["a", "c", "y", {}]]'
    assert logged == [{new: MetricKey("y", ())}]
    assert names.unstored == []
    assert store.asked == ([] if in_child else [("annotate", task.id, {"names": text})])


# --- the end of a task -----------------------------------------------------------------------------


def test_a_task_is_marked_once(run: Run, task: GroupTask) -> None:
    run.mark(task._state, "failed", "\ud800" + "x" * 1000)
    run.mark(task._state, "completed", "later")
    reason = ("\\ud800" + "x" * 1000)[:MAX_REASON_CHARS]
    assert (task._state.status, task._state.reason) == ("failed", reason)
    assert task._state.ended is not None


def test_the_end_of_a_task_writes_and_stores_it(run: Run, store: Store, task: GroupTask) -> None:
    """At once where no server is waited for, and once."""
    task.report({"loss": 1.0}, 1)
    run.end(task._state, "completed")
    assert store.members[0].scalars == {("loss", "value"): [(1, 1.0)]}
    assert (store.finished, store.members[0].status) == ([task.id], "completed")
    run.end(task._state, "failed")
    assert (store.finished, store.members[0].status) == ([task.id], "completed")


def test_a_signal_that_comes_meanwhile_is_raised_before_the_end_is_stored(
    run: Run, store: Store, task: GroupTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write() -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(run.reporter, "write_now", write)
    with pytest.raises(KeyboardInterrupt):
        run.end(task._state, "completed")
    assert store.finished == []
    monkeypatch.undo()


@pytest.fixture
def kept(run: Run, store: Store, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks whose ends are left to the thread."""
    kept: list[str] = []
    monkeypatch.setattr(closing, "keep_end", lambda run, state, timeout: kept.append(f"keep {timeout}"))
    monkeypatch.setattr(run.ender, "put", lambda state: kept.append(state.id))
    return kept


def test_on_a_server_a_thread_stores_the_end(
    run: Run, store: Store, task: GroupTask, kept: list[str]
) -> None:
    store.is_server = True
    run.end(task._state, "completed")
    assert kept == [f"keep {TASK_DELIVERY_TIMEOUT_S}", task.id]
    assert store.finished == []


@pytest.mark.parametrize("why", ["finished", "open", "in a child", "under way"])
def test_an_end_that_is_not_this_calls_is_left_alone(
    run: Run, store: Store, task: GroupTask, kept: list[str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.is_server = True
    if why != "open":
        run.mark(task._state, "completed")
    task._state.finished = why == "finished"
    if why == "under way":
        run.ender._waiting[task.id] = task._state
    monkeypatch.setattr(Run, "in_child", why == "in a child")
    run.end_later(task._state)
    run.ender._waiting.clear()
    assert (kept, store.finished) == ([], [])


@pytest.mark.parametrize("waits", [False, True])
def test_without_a_server_the_thread_is_woken_only_for_what_waits(
    run: Run, store: Store, task: GroupTask, kept: list[str], waits: bool
) -> None:
    run.reporter.flush(60.0)
    run.mark(task._state, "completed")
    with run.reporter._work_lock:
        if waits:
            run.reporter.put_event(task.id, "{}")
            run.end_later(task._state)
        run.reporter._queue.clear()
    if not waits:
        run.end_later(task._state)
    assert (bool(kept), store.finished) == (waits, [] if waits else [task.id])


@pytest.mark.parametrize(("timeout", "left"), [(10.0, 7.0), (2.0, 0.0), (math.inf, 1e6 - 3.0)])
def test_the_thread_and_the_rest_have_one_time_limit(
    run: Run, task: GroupTask, monkeypatch: pytest.MonkeyPatch, timeout: float, left: float
) -> None:
    clock, calls = Clock(), list[Any]()

    def take_back(states: Sequence[Any], timeout: float) -> bool:
        calls.append(timeout)
        clock.now += 3.0
        return True

    def finish_tasks(run: Run, states: Sequence[Any], timeout: float, last: bool) -> list[Exception]:
        calls.append((states, timeout, last))
        return []

    monkeypatch.setattr(_run, "time", clock)
    monkeypatch.setattr(run.ender, "take_back", take_back)
    monkeypatch.setattr(closing, "finish_tasks", finish_tasks)
    assert run.finish(iter([task._state]), timeout) == []
    assert calls == [min(timeout, 1e6), ([task._state], pytest.approx(left), False)]
    monkeypatch.undo()


# --- delivery --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timeout", "closed", "asked", "left"),
    [(10.0, False, 10.0, 7.0), (2.0, False, 2.0, 0.0), (0.0, True, 1.0, 0.0), (10.0, True, 10.0, 7.0)],
)
def test_reports_and_backend_have_one_time_limit(
    run: Run,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    timeout: float,
    closed: bool,
    asked: float,
    left: float,
) -> None:
    """What a closed run has reported gets a second to reach the disk."""
    clock, calls = Clock(), list[float]()

    def flush(timeout: float) -> bool:
        calls.append(timeout)
        clock.now += 3.0
        return True

    monkeypatch.setattr(_run, "time", clock)
    monkeypatch.setattr(run.reporter, "flush", flush)
    run.closed = closed
    assert run.flush(timeout)
    run.closed = False
    assert (calls, store.asked) == ([asked], [("flush", left)])
    monkeypatch.undo()


@pytest.mark.parametrize("delivered", [True, False])
def test_data_and_ends_have_one_time_limit(
    run: Run, monkeypatch: pytest.MonkeyPatch, delivered: bool
) -> None:
    """So `flush(timeout=10)` takes no longer than that, whatever hangs."""
    clock, calls = Clock(), list[float]()

    def wait(takes: float, result: bool) -> Any:
        def wait(timeout: float) -> bool:
            calls.append(timeout)
            clock.now += takes
            return result

        return wait

    monkeypatch.setattr(_run, "time", clock)
    monkeypatch.setattr(run.reporter, "flush", wait(3.0, delivered))
    monkeypatch.setattr(run.ender, "wait", wait(5.0, True))
    monkeypatch.setattr(run.backend, "wait_for_disk", wait(9.0, True))
    assert run.flush_and_end(10.0) is delivered
    assert run.flush_and_end(0.5) is delivered
    assert calls == [10.0, 7.0, 2.0, 0.5, 0.0, 0.0]
    monkeypatch.undo()


@pytest.mark.parametrize("reported", [True, False])
@pytest.mark.parametrize("delivered", [True, False])
def test_all_is_delivered_if_reporter_and_backend_say_so(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch, reported: bool, delivered: bool
) -> None:
    monkeypatch.setattr(run.reporter, "flush", lambda timeout: reported)
    store.delivered = delivered
    assert run.flush(1.0) is (reported and delivered)
    assert len(store.asked) == 1
    monkeypatch.undo()


def test_undelivered_data_is_counted_for_the_tasks_that_are_asked_for(
    run: Run, store: Store, group: TaskGroup, task: GroupTask
) -> None:
    other = group.task({"seed": 1})
    assert run.undelivered([task._state]) is None
    store.waiting = {task.id: 3, "another": 5}
    assert run.undelivered([other._state]) is None
    error = run.undelivered(state._state for state in (task, other))
    assert error is not None
    assert (error.points, error.tasks, error.lost) == (3, ["seed=0"], 0)


def test_what_the_disk_refuses_is_lost(
    run: Run, store: Store, task: GroupTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run.reporter, "undelivered", lambda: {task.id: 5})
    store.waiting, store.remedy = {task.id: 3, "another": 1}, ("an outbox", "upload")
    run.reporter.error = OSError("no space left")
    error = run.undelivered([task._state])
    assert error is not None
    assert (error.points, error.lost, error.outbox, error.cause) == (5, 2, "an outbox", "no space left")
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("lost", "remedy", "outbox", "told"),
    [
        (0, ("an outbox", "upload"), "an outbox", 0),
        (2, ("an outbox", "upload"), "an outbox", 2),
        (3, ("an outbox", "upload"), "", 0),  # all of it is lost, and no command delivers it
        (2, ("", ""), "", 0),
    ],
)
def test_the_error_says_what_waits_and_what_is_lost(
    run: Run, store: Store, lost: int, remedy: tuple[str, str], outbox: str, told: int
) -> None:
    store.remedy = remedy
    error = run.delivery_error(3, ["seed=0"], lost)
    assert (error.points, error.outbox, error.lost, error.where) == (3, outbox, told, "memory")
    assert (error.remedy != "") == (outbox != "")


def test_the_reason_is_that_of_the_disk_then_that_of_the_server(run: Run, store: Store) -> None:
    assert run.delivery_problem() == "the time for closing ran out"
    store.problem = OSError("no network")
    assert run.delivery_problem() == "no network"
    run.reporter.error = OSError("no space left")
    assert run.delivery_problem() == "no space left"
