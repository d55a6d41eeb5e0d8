"""The steps of the end, one by one: what each does, leaves out, collects and gives up."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._clearml.api_errors import Unreachable
from clearml_taskgroup._clearml.notes import SERIES_ENTRY
from clearml_taskgroup._model.metric_data import MetricData
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._model.past import Prior
from clearml_taskgroup._model.specs import Ending, ForeignStatus
from clearml_taskgroup._run import closing
from clearml_taskgroup._run.abort import abort_run
from clearml_taskgroup._run.closing import (
    ABANDONED_CLOSE_TIMEOUT_S,
    abandon,
    attempt_all,
    close_run,
    closing_warnings,
    finish_tasks,
    keep_end,
    raise_errors,
    recount,
)
from clearml_taskgroup._run.run import Run
from clearml_taskgroup._run.signals import Interrupts
from clearml_taskgroup._run.state import MAX_REASON_CHARS, TaskState
from clearml_taskgroup.errors import (
    AutoLoggingWarning,
    DeliveryError,
    DriftWarning,
    NonFiniteWarning,
    TaskGroupWarning,
)
from tests.support.scripts import HookedStore, kept_in, notes_of

LOSS = MetricKey("loss", ())


@attrs.define(slots=False)
class Store(HookedStore):
    """A store that answers as the test wants, and notes what it is asked for."""

    asked: list[Any] = attrs.field(factory=list)
    is_server: bool = False
    flushes: list[bool] = attrs.field(factory=list)
    waiting: dict[str, int] = attrs.field(factory=dict)
    problem: Exception | None = None
    foreign: dict[str, ForeignStatus] = attrs.field(factory=dict)
    in_archive: list[str] = attrs.field(factory=list)
    upload_error: Exception | None = None

    @property
    def transport(self) -> Any:
        return SimpleNamespace() if self.is_server else None

    @property
    def adopted(self) -> Mapping[str, ForeignStatus]:
        return self.foreign

    @property
    def archived(self) -> Sequence[str]:
        return self.in_archive

    def flush(self, timeout: float) -> bool:
        self.asked.append(("flush", timeout))
        return self.flushes.pop(0) if self.flushes else True

    def undelivered(self) -> dict[str, int]:
        return dict(self.waiting)

    def delivery_problem(self) -> Exception | None:
        return self.problem

    def annotate(self, task_id: str, section: Mapping[str, str], runtime: Mapping[str, str]) -> None:
        self.asked.append(("annotate", task_id, *runtime))

    def wait_for_uploads(self, task_id: str, timeout: float) -> None:
        self.asked.append(("uploads", task_id))
        if self.upload_error is not None:
            raise self.upload_error

    def look_up(self, endings: Sequence[Ending], timeout: float) -> None:
        self.asked.append(("look up", [ending.task_id for ending in endings]))


class Log:
    """A run log that notes its lines."""

    path = Path("nowhere/run-0001.jsonl")

    def __init__(self) -> None:
        self.lines: list[Any] = []

    def check(self) -> None:
        """It is there."""

    def tasks_opened(self, states: Any) -> None:
        """That is tested elsewhere."""

    def tasks_ended(self, states: Any) -> None:
        self.lines.append([state.id for state in states])

    def run_closed(self, status: str, reason: str, delivered: bool) -> None:
        self.lines.append((status, reason, delivered))

    def close(self) -> None:
        self.lines.append("closed")


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def group(store: Store) -> Iterator[TaskGroup]:
    """A group whose end the test plays; it is closed as it is."""
    with kept_in(store):
        group = TaskGroup("the project", "the group").open()
        yield group
        group._finalizer.detach()
        run = group._run
        assert run is not None
        run.closed, run.run_log = True, None
        run.reporter.stop(60.0)
        for hook in run.after_close:
            hook()


@pytest.fixture
def run(group: TaskGroup) -> Run:
    assert group._run is not None
    group._run.summarize = None
    return group._run


@pytest.fixture
def log(run: Run) -> Log:
    log = Log()
    run.run_log = log  # type: ignore[assignment]
    return log


@pytest.fixture
def tasks(group: TaskGroup) -> list[GroupTask]:
    return list(group.tasks({"seed": range(2)}))


@pytest.fixture
def states(run: Run, tasks: list[GroupTask]) -> list[TaskState]:
    """The states of two tasks that have just ended."""
    for task in tasks:
        run.mark(task._state, "completed")
    return [task._state for task in tasks]


# --- ends of tasks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("why", ["open", "finished", "in a child"])
def test_an_end_that_is_not_to_be_stored_costs_nothing(
    run: Run, store: Store, tasks: list[GroupTask], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tasks[0]._state
    if why != "open":
        run.mark(state, "completed")
    state.finished = why == "finished"
    monkeypatch.setattr(Run, "in_child", why == "in a child")
    assert finish_tasks(run, [state], 60.0, last=True) == []
    assert (store.asked, store.finished) == ([], [])


@pytest.mark.parametrize(
    ("away", "problem", "last", "tried"),
    [
        (True, OSError(), False, False),
        (True, OSError(), True, True),
        (True, None, False, True),
        (False, OSError(), False, True),
    ],
)
def test_a_server_that_is_away_is_waited_for_once(
    run: Run,
    store: Store,
    states: list[TaskState],
    away: bool,
    problem: Exception | None,
    last: bool,
    tried: bool,
) -> None:
    run.backend_is_away, store.problem = away, problem
    assert finish_tasks(run, states, 60.0, last) == []
    assert [state.finished for state in states] == [tried] * 2
    assert run.backend_is_away is not tried or not away


def test_tasks_that_others_have_taken_meanwhile_are_left_to_them(
    run: Run, store: Store, states: list[TaskState]
) -> None:
    """A process that was suspended learns of it as it shows that it lives."""

    def beat() -> None:
        states[0].finished = True

    run.sharing = SimpleNamespace(shared=SimpleNamespace(beat=beat))  # type: ignore[assignment]
    assert finish_tasks(run, states, 60.0, last=False) == []
    assert store.finished == [states[1].id]
    run.sharing = None


def test_a_backend_that_raises_does_not_keep_tasks_from_ending(
    run: Run, store: Store, states: list[TaskState], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OSError("no")
    monkeypatch.setattr(run, "flush", lambda timeout: (_ for _ in ()).throw(error))
    assert finish_tasks(run, states, 60.0, last=False) == [error]
    assert [state.finished for state in states] == [True, True]


def test_without_time_left_for_delivery_the_ends_wait_too(
    run: Run, store: Store, states: list[TaskState]
) -> None:
    store.flushes, store.waiting = [False], {states[0].id: 3}
    (error,) = finish_tasks(run, states, 0.0, last=False)
    assert isinstance(error, DeliveryError)
    assert (error.points, run.backend_is_away, store.finished) == (3, True, [])


@pytest.mark.parametrize("last", [False, True])
def test_a_task_whose_data_is_refused_ends_with_the_group(
    run: Run, store: Store, states: list[TaskState], last: bool
) -> None:
    store.flushes, store.waiting = [False], {states[0].id: 3}
    (error,) = finish_tasks(run, states, 60.0, last)
    assert isinstance(error, DeliveryError)
    assert [state.finished for state in states] == [last, True]
    assert not run.backend_is_away


@pytest.mark.parametrize(("last", "flushes"), [(True, 2), (False, 1)])
def test_the_end_of_all_asks_once_more_what_clearml_could_not_send(
    run: Run, store: Store, states: list[TaskState], last: bool, flushes: int
) -> None:
    def finish(endings: Sequence[Ending]) -> None:
        store.waiting = {states[0].id: 1}

    store.flushes, store.on_finish = [True, False], finish
    errors = finish_tasks(run, states, math.inf, last)
    assert [type(error) for error in errors] == [DeliveryError] * last
    assert [what for what, *_ in store.asked] == ["flush"] * flushes
    assert store.asked[0][1] == pytest.approx(1e6, rel=1e-3)


def test_an_end_that_the_store_refuses_is_tried_again(
    run: Run, store: Store, log: Log, states: list[TaskState]
) -> None:
    def refuse(endings: Sequence[Ending]) -> None:
        if endings[0].task_id == states[0].id:
            raise OSError("no")

    store.on_finish = refuse
    (error,) = finish_tasks(run, states, 60.0, last=False)
    assert str(error) == "no"
    assert [state.finished for state in states] == [False, True]
    assert log.lines == [[states[1].id]]
    store.on_finish = lambda endings: None
    assert finish_tasks(run, states, 60.0, last=False) == []
    assert log.lines == [[states[1].id], [states[0].id]]


def test_what_reports_need_is_freed_with_the_end(run: Run, group: TaskGroup) -> None:
    task = group.task({"seed": 7})
    task.report({"loss": 1.0}, 1)
    run.mark(task._state, "completed")
    finish_tasks(run, [task._state], 60.0, last=False)
    run.reporter.flush(60.0)
    assert run.reporter.channels.by_number == {}


@pytest.mark.parametrize("skips", [False, True])
def test_what_events_do_not_say_is_noted_with_the_task(
    run: Run, store: Store, states: list[TaskState], skips: bool
) -> None:
    data = states[0].metrics[LOSS] = MetricData()
    if skips:
        data.skip(3)
    finish_tasks(run, states, 60.0, last=False)
    notes = [asked for asked in store.asked if asked[0] == "annotate"]
    assert notes == ([("annotate", states[0].id, SERIES_ENTRY)] if skips else [])


@pytest.mark.parametrize("uncounted", [[False, False], [True, False]])
def test_values_are_read_back_only_if_others_stored_some(
    run: Run, states: list[TaskState], uncounted: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr("clearml_taskgroup._run.recount.recount", lambda *given: calls.append(given))
    for state, one in zip(states, uncounted, strict=True):
        state.uncounted = one
    recount(run, states, 7.0)
    assert calls == ([(run, states, 7.0)] if any(uncounted) else [])
    for state in states:
        state.uncounted = False


@pytest.mark.parametrize(
    ("foreign", "expected"),
    [
        (None, ("completed", "")),
        (ForeignStatus("stopped", "y" * 1000, "stopped"), ("stopped", "y" * MAX_REASON_CHARS)),
    ],
)
def test_what_somebody_else_has_set_is_taken_over(
    run: Run, store: Store, states: list[TaskState], foreign: ForeignStatus | None, expected: tuple[str, str]
) -> None:
    state = states[0]
    if foreign is not None:
        store.foreign[state.id] = foreign
    store.in_archive = [state.id]
    finish_tasks(run, states, 60.0, last=False)
    assert (state.status, state.reason) == expected
    assert [one.archived for one in states] == [True, False]
    changed = closing._adopt(run, states)
    assert changed == []  # it is known by now
    if foreign is not None:
        state.reason = "another"
        assert closing._adopt(run, states) == [state]


# --- keep_end --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("is_server", "flushed", "error", "is_kept"),
    [
        (True, True, None, True),
        (True, False, None, False),
        (True, True, OSError("no"), False),
        (False, True, None, False),
    ],
)
def test_an_end_is_on_this_disk_once_all_of_its_data_is(
    run: Run,
    store: Store,
    log: Log,
    states: list[TaskState],
    is_server: bool,
    flushed: bool,
    error: Exception | None,
    is_kept: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store.is_server, store.upload_error = is_server, error
    monkeypatch.setattr(run.reporter, "flush", lambda timeout: flushed)
    keep_end(run, states[0], 7.0)
    monkeypatch.undo()
    assert log.lines == [[states[0].id]] * is_kept
    assert store.asked == [("uploads", states[0].id)] * is_server


def test_without_a_run_log_no_end_is_kept(run: Run, store: Store, states: list[TaskState]) -> None:
    store.is_server = True
    keep_end(run, states[0], 7.0)


def test_all_steps_are_taken_whatever_one_raises() -> None:
    calls: list[int] = []
    error = ValueError("bad")

    def fail() -> None:
        raise error

    assert attempt_all([lambda: calls.append(1), fail, lambda: calls.append(2)]) == [error]
    assert calls == [1, 2]


# --- the run ---------------------------------------------------------------------------------------


def closes(run: Run, status: Any = "completed", reason: str = "", **given: Any) -> closing._Closing:
    """The closing of a run, of which a test takes single steps."""
    timeout = given.pop("timeout", 60.0)
    interrupts = given.pop("interrupts", Interrupts())
    deadline = time.monotonic() + timeout
    return closing._Closing(run, status, reason, timeout, interrupts, deadline, **given)


def gave_up() -> Interrupts:
    interrupts = Interrupts()
    interrupts.add(KeyboardInterrupt())
    interrupts.add(KeyboardInterrupt())
    return interrupts


def test_a_forked_child_closes_nothing(run: Run, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "in_child", True)
    assert close_run(run, "completed", "", 60.0, Interrupts()) == []
    assert (run.closed, store.finished) == (True, [])


def test_an_aborted_run_is_stopped(run: Run, store: Store) -> None:
    abort_run(run, "by hand")
    assert close_run(run, "completed", "", 60.0, Interrupts()) == []
    parent = store.tasks[str(run.parent)]
    assert (parent.status, parent.reason) == ("stopped", "by hand")


def test_a_run_that_ends_stores_everything_once(
    run: Run, store: Store, log: Log, tasks: list[GroupTask]
) -> None:
    run.worker_log.expected = False
    calls: list[str] = []
    run.before_parent_ends["page"] = lambda: calls.append("page")
    assert close_run(run, "failed", "no data", -1.0, Interrupts(), lambda: calls.append("on_end")) == []
    assert calls == ["on_end", "page"]
    assert store.finished == [*(task.id for task in tasks), run.parent]
    assert {(task.status, task.reason) for task in store.tasks.values()} == {("failed", "no data")}
    assert log.lines == [[task.id for task in tasks], [], ("failed", "no data", True), "closed"]
    assert run.parent_ended
    assert run.reporter._inline


def test_an_error_is_told_once(run: Run, store: Store) -> None:
    errors = [OSError("no"), OSError("no"), OSError("never")]
    run.worker_log.troubles += errors
    assert close_run(run, "completed", "", 60.0, Interrupts()) == errors[1:]


def test_a_step_returns_or_raises_errors(run: Run) -> None:
    """An interrupt repeats it once."""
    one, errors = closes(run), list[Exception]()
    first, second = OSError("first"), OSError("second")

    def fail() -> None:
        raise second

    one._attempt(lambda: [first])
    one._attempt(fail, errors)
    one._attempt(lambda: None)
    assert (one.errors, errors) == ([first], [second])


@pytest.mark.parametrize("interrupts", [1, 2, 3])
def test_an_interrupted_step_is_repeated_once(run: Run, interrupts: int) -> None:
    one, calls = closes(run), list[bool]()

    def step() -> None:
        calls.append(one.interrupts.waiting)
        if len(calls) <= interrupts:
            raise KeyboardInterrupt

    one._attempt(step)
    assert calls == [True, True]
    assert not one.interrupts.waiting
    assert (one.interrupts.given_up, one.interrupts.first is not None) == (interrupts > 1, True)
    assert one._left() == (0.0 if interrupts > 1 else pytest.approx(60.0, abs=30.0))


def test_no_time_is_left_after_the_time_limit(run: Run) -> None:
    assert closes(run, timeout=-5.0)._left() == 0.0


def test_a_task_that_is_being_created_for_too_long_is_not_waited_for(run: Run) -> None:
    go_on, holds = threading.Event(), threading.Event()

    def create() -> None:
        with run.creating:
            holds.set()
            go_on.wait(60)

    thread = threading.Thread(target=create)
    thread.start()
    assert holds.wait(60)
    closes(run, timeout=0.0)._stop_creating()
    assert run.closed
    go_on.set()
    thread.join()
    closes(run)._stop_creating()
    assert run.creating.acquire(blocking=False)
    run.creating.release()


def test_a_task_whose_block_another_abort_has_left_is_stopped(run: Run, tasks: list[GroupTask]) -> None:
    tasks[0]._state.left_by = "another was stopped"
    one = closes(run)
    one.states = run.own_states
    one._mark_ended()
    assert [(task.status, task.status_reason) for task in tasks] == [
        ("stopped", "its block was left: another was stopped"),
        ("completed", ""),
    ]


@pytest.mark.parametrize("waiting", [{}, {"memory-2": 3}])
def test_after_a_second_interrupt_it_is_said_what_is_undelivered(
    run: Run, store: Store, tasks: list[GroupTask], waiting: dict[str, int]
) -> None:
    one = closes(run)
    one.states, store.waiting = run.own_states, waiting
    found = one._undelivered()
    assert [getattr(error, "points", 0) for error in found] == list(waiting.values())


def test_ends_that_could_not_be_stored_are_logged(run: Run, log: Log, states: list[TaskState]) -> None:
    states[0].finished = True
    one = closes(run)
    one.states = states
    one._log_unfinished_tasks()
    run.run_log = None
    one._log_unfinished_tasks()
    assert log.lines == [[states[1].id]]


@pytest.mark.parametrize(("mode", "last"), [("online", True), ("online", False), ("offline", False)])
def test_the_last_process_of_a_shared_run_ends_the_parent(
    run: Run, store: Store, log: Log, mode: str, last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Online, the log of one that leaves before is its own, and says that it is complete."""
    left: list[Run] = []

    def leave(run: Run) -> bool:
        left.append(run)
        return last

    monkeypatch.setattr("clearml_taskgroup._run.sharing.leave", leave)
    one = closes(run)
    one._leave()
    assert (one.is_last, left) == (True, [])
    run.sharing = SimpleNamespace()  # type: ignore[assignment]
    store.mode = mode
    one._leave()
    run.sharing, store.mode = None, "memory"
    assert (one.is_last, left) == (last, [run])
    ends_elsewhere = mode == "online" and not last
    assert log.lines == [("completed", "", True)] * ends_elsewhere
    assert run.parent_ended is ends_elsewhere


def test_a_process_that_cannot_leave_does_not_end_the_parent(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: Run) -> bool:
        raise OSError("away")

    monkeypatch.setattr("clearml_taskgroup._run.sharing.leave", fail)
    run.sharing = SimpleNamespace()  # type: ignore[assignment]
    one = closes(run)
    with pytest.raises(OSError, match="away"):
        one._leave()
    run.sharing = None
    assert not one.is_last


@pytest.mark.parametrize("why", ["", "no summary", "no parent", "no tasks"])
def test_tasks_that_have_ended_before_are_looked_up_for_the_summary(
    run: Run, store: Store, log: Log, states: list[TaskState], why: str
) -> None:
    run.summarize = None if why == "no summary" else lambda run: []
    parent, run.parent = run.parent, None if why == "no parent" else run.parent
    store.foreign[states[1].id] = ForeignStatus("failed", "by hand", "failed")
    closes(run)._look_up([] if why == "no tasks" else states)
    run.parent, run.summarize = parent, None
    assert store.asked == ([] if why else [("look up", [state.id for state in states])])
    assert log.lines == ([] if why else [[states[1].id]])
    assert states[1].status == ("completed" if why else "failed")


def test_the_summary_is_sent_to_the_parent(run: Run, store: Store) -> None:
    one = closes(run)
    assert one._send_summary() == []
    run.summarize = lambda run: iter(['{"type": "log", "msg": "a"}', '{"type": "log", "msg": "b"}'])
    assert one._send_summary() == []
    assert store.tasks[str(run.parent)].console == "a\nb"
    store.flushes = [False]
    store.waiting = {str(run.parent): 2}
    (error,) = one._send_summary()
    assert isinstance(error, DeliveryError)
    assert (error.points, error.tasks) == (2, ["the group"])
    store.flushes, store.waiting = [False], {}
    (error,) = one._send_summary()
    assert isinstance(error, DeliveryError)
    assert error.points == 0
    parent, run.parent, store.asked = run.parent, None, []
    assert one._send_summary() == []
    run.parent, run.summarize = parent, lambda run: []
    assert one._send_summary() == []
    assert store.asked == []  # nothing waits
    run.summarize = None


def test_a_summary_that_cannot_be_made_is_a_warning(run: Run) -> None:
    error = KeyError("loss")

    def fail(run: Run) -> list[str]:
        raise error

    run.summarize = fail
    assert closes(run)._send_summary() == []
    run.summarize = None
    assert run.summary_error is error
    assert closing_warnings(run) == [(TaskGroupWarning, "the parent task has no summary: KeyError('loss')")]


@pytest.mark.parametrize(
    ("ends", "status", "expected"),
    [
        (["failed", "stopped"], "completed", ("failed", "no task completed: 1 failed, 1 stopped")),
        (["failed", "completed"], "completed", ("completed", "")),
        (["failed", None], "completed", ("completed", "")),
        (["failed", "failed"], "stopped", ("stopped", "")),
    ],
)
@pytest.mark.parametrize("on_agents", [False, True])
def test_a_run_of_which_no_task_completed_has_failed(
    run: Run,
    tasks: list[GroupTask],
    ends: list[Any],
    status: Any,
    expected: tuple[str, str],
    on_agents: bool,
) -> None:
    for task, end in zip(tasks, ends, strict=True):
        if end is not None:
            run.mark(task._state, end)
    run.prior = Prior("the run", 1, None, False, {}, queued=frozenset(["a key"] * on_agents))
    one = closes(run, status)
    one._fail_without_completed_task()
    run.prior = None
    assert (one.status, one.reason) == ((status, "") if on_agents else expected)


def test_a_run_without_tasks_has_not_failed(run: Run) -> None:
    one = closes(run)
    one._fail_without_completed_task()
    assert one.status == "completed"


def test_an_agent_leaves_the_status_to_its_task(run: Run, states: list[TaskState]) -> None:
    for state in states:
        state.status = "failed"
    run.agent_task = SimpleNamespace()  # type: ignore[assignment]
    one = closes(run)
    one._fail_without_completed_task()
    run.agent_task = None
    assert one.status == "completed"


def test_the_time_of_on_end_is_the_users(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is called once, and not after a second interrupt."""
    now, calls = [100.0], list[str]()

    def on_end() -> None:
        calls.append("called")
        now[0] += 50.0

    monkeypatch.setattr(closing, "time", SimpleNamespace(monotonic=lambda: now[0]))
    one = closing._Closing(run, "completed", "", 60.0, Interrupts(), 160.0, on_end)
    one._call_on_end()
    one._call_on_end()
    assert (calls, one._left()) == (["called"], 60.0)
    closing._Closing(run, "completed", "", 60.0, gave_up(), 160.0, on_end)._call_on_end()
    assert calls == ["called"]


@pytest.mark.parametrize(
    "error", [None, Unreachable("away"), DeliveryError(1, [], "", "", "upload"), OSError()]
)
def test_before_the_parent_ends_its_page_is_written_unless_the_server_is_away(
    run: Run, store: Store, error: Exception | None
) -> None:
    """The command that delivers the rest ends the parent, too; its error here would say nothing new."""
    calls: list[str] = []
    run.before_parent_ends["page"] = lambda: calls.append("page")

    def refuse(endings: Sequence[Ending]) -> None:
        raise OSError("no")

    store.on_finish = refuse
    one = closes(run)
    one.errors = [] if error is None else [error]
    one._end_parent()
    away = (error is not None and not isinstance(error, OSError)) or isinstance(error, Unreachable)
    assert (calls == []) is away
    assert len(one.errors) == (error is not None) + (not away)
    assert not run.parent_ended
    again = closes(run, interrupts=gave_up())
    again._end_parent()
    assert len(calls) == (not away)


@pytest.mark.parametrize("owns", [True, False])
def test_only_a_parent_of_its_own_is_ended(run: Run, store: Store, owns: bool) -> None:
    run.owns_parent = owns
    assert closes(run, "failed", "no data")._store_end_of_parent() == []
    run.owns_parent = True
    assert store.finished == [run.parent] * owns
    assert run.parent_ended


def test_a_main_task_is_left_open(run: Run, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(sdk, "flush", lambda task, timeout: calls.append(task))
    run.main_task = "the main task"
    assert closes(run)._store_end_of_parent() == []
    run.main_task = None
    assert (calls, store.finished, run.parent_ended) == (["the main task"], [], True)


def test_the_reason_in_the_run_log_is_cut(run: Run, log: Log) -> None:
    closes(run, "failed", "x" * 1000)._log_close()
    assert log.lines == [("failed", "x" * MAX_REASON_CHARS, False)]


def test_lost_reports_are_told_with_their_tasks(run: Run, tasks: list[GroupTask]) -> None:
    one = closes(run)
    assert one._lost_reports() == []
    run.reporter.lost = {tasks[1].id: 3, tasks[0].id: 2}
    (error,) = one._lost_reports()
    run.reporter.lost = {}
    assert isinstance(error, DeliveryError)
    assert (error.points, error.tasks) == (5, ["seed=0", "seed=1"])


# --- what is raised --------------------------------------------------------------------------------


def interrupted() -> Interrupts:
    interrupts = Interrupts()
    interrupts.add(KeyboardInterrupt())
    return interrupts


def test_nothing_is_raised_without_an_error(run: Run) -> None:
    raise_errors(run, [], None, Interrupts(), None)


def test_the_blocks_own_exception_leaves_it_with_notes(run: Run) -> None:
    body, error = ValueError("bad"), OSError("no")
    raise_errors(run, [error], body, interrupted(), RuntimeError("agent"))
    assert notes_of(body) == [
        "while the group closed, there came KeyboardInterrupt",
        "while the group closed: OSError: no",
    ]


@pytest.mark.parametrize("interrupts", [interrupted(), Interrupts()])
def test_an_interrupt_comes_before_what_the_agent_must_know(run: Run, interrupts: Interrupts) -> None:
    problem, error = RuntimeError("agent"), OSError("no")
    with pytest.raises((KeyboardInterrupt, RuntimeError)) as raised:
        raise_errors(run, [error], None, interrupts, problem)
    assert raised.value is (interrupts.first or problem)
    assert notes_of(raised.value) == ["while the group closed: OSError: no"]


@pytest.mark.parametrize("errors", [[OSError("no")], [TaskGroupWarning("a"), TaskGroupWarning("b")]])
def test_errors_of_closing_are_a_group(run: Run, errors: list[Exception]) -> None:
    with pytest.raises(ExceptionGroup, match="'the group' could not be closed cleanly") as raised:
        raise_errors(run, errors, None, Interrupts(), None)
    assert list(raised.value.exceptions) == errors


# --- warnings --------------------------------------------------------------------------------------


def report(task: GroupTask, metric: str) -> None:
    task.report({metric: 1.0}, 1)
    task.flush()
    task.mark_completed()


@pytest.mark.parametrize(
    ("metrics", "warns"), [(("loss", "loss"), False), (("loss", "accuracy"), True), (("loss", None), False)]
)
def test_tasks_with_other_metrics_are_warned_of(
    run: Run, tasks: list[GroupTask], metrics: tuple[str, ...], warns: bool
) -> None:
    """A task without any is none; a command is named only where it finds the group."""
    for task, metric in zip(tasks, metrics, strict=True):
        if metric is not None:
            report(task, metric)
        else:
            task.mark_completed()
    found = closing_warnings(run)
    assert [kind for kind, _ in found] == [DriftWarning] * warns
    assert not any("--group" in text for _, text in found)
    if warns:
        run.sharing = SimpleNamespace(left_last=False, others={})  # type: ignore[assignment]
        assert closing_warnings(run) == []  # the last process to leave knows all tasks
        run.sharing = SimpleNamespace(left_last=True, others={})  # type: ignore[assignment]
        assert len(closing_warnings(run)) == 1
        run.sharing, run.vocabulary = None, SimpleNamespace()  # type: ignore[assignment]
        assert closing_warnings(run) == []
        run.vocabulary = None
        tasks[0]._state.status = "failed"
        assert closing_warnings(run) == []


@pytest.mark.parametrize(("mode", "told"), [("online", True), ("offline", True), ("disabled", False)])
def test_the_warning_names_a_command_that_finds_the_group(
    run: Run, store: Store, tasks: list[GroupTask], mode: str, told: bool
) -> None:
    for task, metric in zip(tasks, ("loss", "accuracy"), strict=True):
        report(task, metric)
    store.mode = mode
    ((_, text),) = closing_warnings(run)
    store.mode = "memory"
    assert ("--group 'the project/the group'" in text) is told


@pytest.mark.parametrize(
    ("skipped", "text"),
    [
        ([0, 0], None),
        ([1, 1], None),  # of the first ones it was warned
        ([2, 1], "1 more point that ClearML cannot store was skipped"),
        ([3, 2], "3 more points that ClearML cannot store were skipped"),
    ],
)
def test_points_that_were_skipped_are_counted(
    run: Run, states: list[TaskState], skipped: list[int], text: str | None
) -> None:
    for state, number in zip(states, skipped, strict=True):
        state.metrics[LOSS] = MetricData(skipped=number)
    assert closing_warnings(run) == ([] if text is None else [(NonFiniteWarning, text)])
    for state in states:
        state.done = True  # those of an earlier run
    assert closing_warnings(run) == []


@pytest.fixture
def empty(run: Run, states: list[TaskState]) -> list[TaskState]:
    """Completed tasks of a sweep to which nothing was logged."""
    for state in states:
        state.in_sweep = True
    run.options = run.options._replace(auto_connect_frameworks={})  # type: ignore[arg-type]
    return states


def warned(run: Run) -> str:
    found = [text for kind, text in closing_warnings(run) if kind is AutoLoggingWarning]
    assert len(found) <= 1
    return found[0] if found else ""


def test_auto_logging_outside_of_a_block_is_warned_of(run: Run, empty: list[TaskState]) -> None:
    assert warned(run).startswith("auto-logging: nothing was logged to 2 tasks (seed=0, seed=1); it goes to")
    empty[0].entered = True
    assert "nothing was logged to 1 task (seed=1)" in warned(run)
    run.options = run.options._replace(auto_connect_frameworks=None)
    assert warned(run) == ""


@pytest.mark.parametrize("field", ["done", "uncounted", "failed", "by hand", "metrics"])
def test_a_task_that_may_have_data_is_not_warned_of(run: Run, empty: list[TaskState], field: str) -> None:
    for state in empty:
        if field == "failed":
            state.status = "failed"
        elif field == "by hand":
            state.in_sweep = False
        elif field == "metrics":
            state.metrics[LOSS] = MetricData()
        else:
            setattr(state, field, True)
    assert warned(run) == ""
    for state in empty:
        state.uncounted = False


def test_a_main_task_of_the_block_has_taken_what_was_logged(
    run: Run, empty: list[TaskState], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdk, "main_task", lambda: SimpleNamespace(name="accelerate"))
    assert "Task.init was called in the group's block" in warned(run)
    run.main_task = SimpleNamespace()  # it was called before
    assert warned(run).startswith("auto-logging")
    run.main_task = None


# --- runs that nobody closes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("open_tasks", "text"),
    [(2, "2 open tasks stopped"), (1, "1 open task stopped"), (0, "none of its tasks was open")],
)
def test_a_run_that_nobody_closes_is_stopped_with_a_warning(
    run: Run, store: Store, tasks: list[GroupTask], open_tasks: int, text: str
) -> None:
    for task in tasks[open_tasks:]:
        task.mark_completed()
    calls: list[str] = []
    run.after_close.insert(0, lambda: calls.append("after"))
    with pytest.warns(ResourceWarning, match=rf"'the group' was never closed, {text}; use"):
        abandon(run)
    assert (run.closed, calls) == (True, ["after"])
    assert store.tasks[str(run.parent)].status == "stopped"
    abandon(run)  # nothing is left
    run.after_close.pop(0)


def test_what_goes_wrong_then_is_in_the_warning(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def close(run: Run, status: str, reason: str, timeout: float, interrupts: Interrupts) -> list[Exception]:
        given.append((status, reason, timeout))
        return [OSError("no")]

    monkeypatch.setattr(closing, "close_run", close)
    with pytest.warns(ResourceWarning, match="was open; OSError: no; use"):
        abandon(run)
    assert given == [("stopped", "the group was never closed", ABANDONED_CLOSE_TIMEOUT_S)]


def test_a_forked_child_abandons_nothing(run: Run) -> None:
    run.pid = os.getpid() + 1
    abandon(run)
    run.pid = os.getpid()
    assert not run.closed
