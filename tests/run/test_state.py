"""TaskState: when a task takes data, how it is aborted and opened again, and what its row keeps."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._model.metric_data import MetricData
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._model.specs import ForeignStatus
from clearml_taskgroup._run import state as _state
from clearml_taskgroup._run.state import MAX_REASON_CHARS, Abort, TaskState
from clearml_taskgroup.errors import TaskAbortedError
from clearml_taskgroup.testing import recording


@pytest.fixture
def task() -> Iterator[GroupTask]:
    with recording(), TaskGroup("the project", "the group") as group:
        yield group.task({"seed": 0})


@pytest.fixture
def state(task: GroupTask) -> TaskState:
    return task._state


def clock(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    """Sets the clock by which tasks are timed."""
    monkeypatch.setattr(_state, "time", SimpleNamespace(monotonic=lambda: now))


# --- aborts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (ForeignStatus("stopped", "by hand", "stopped"), "by hand"),
        (ForeignStatus("failed", "by hand", "failed"), "by hand"),
        (ForeignStatus("completed", "by hand", "published"), ""),  # the reason is that of the status
    ],
)
def test_an_abort_of_a_task_has_the_word_and_the_reason(
    state: TaskState, other: ForeignStatus, why: str
) -> None:
    abort = Abort.of_task(state, other)
    assert abort.args == ("seed=0", other.word, why, state.id, False)
    assert (abort.status, abort.reason) == (other.status, "by hand")
    assert (abort.cause, abort.is_of_run) == (why, False)


def test_the_reason_of_an_abort_is_one_that_can_be_stored(state: TaskState) -> None:
    reason = Abort.of_task(state, ForeignStatus("stopped", "\ud800" * 10_000, "stopped")).reason
    assert reason == ("\\ud800" * MAX_REASON_CHARS)[:MAX_REASON_CHARS]


@pytest.mark.parametrize(("parent", "stored"), [("the id", "the id"), (None, "")])
def test_an_abort_of_a_run_is_one_of_its_parent(parent: str | None, stored: str) -> None:
    abort = Abort.of_run("the group", parent, "by hand")
    error = abort.error()
    assert abort.args == ("the group", "stopped", "by hand", stored, True)
    assert (abort.status, abort.reason) == ("stopped", error.problem)
    assert (abort.cause, abort.is_of_run, error.of_group) == ("by hand", True, True)


def test_each_error_of_an_abort_is_another_object_of_the_class_that_is_wanted() -> None:
    class Pruned(TaskAbortedError):
        pass

    abort = Abort.of_run("the group", None, "by hand")
    assert abort.error() is not abort.error()
    assert type(abort.error()) is TaskAbortedError
    assert type(abort.error(Pruned)) is Pruned


@pytest.mark.parametrize("withdrawn", [False, True])
def test_an_abort_ends_an_open_task_once(
    state: TaskState, monkeypatch: pytest.MonkeyPatch, withdrawn: bool
) -> None:
    """The end of a withdrawn task is not stored by this process."""
    clock(monkeypatch, 7.0)
    first, second = (Abort.of_run("the group", None, reason) for reason in ("first", "second"))
    assert state.abort(first, withdrawn)
    assert not state.abort(second)
    assert (state.aborted, state.status, state.reason) == (first, "stopped", first.reason)
    assert (state.ended, state.finished) == (7.0, withdrawn)


# --- what a task is ------------------------------------------------------------------------------


def test_a_task_is_open_until_it_ends_or_runs_elsewhere(task: GroupTask, state: TaskState) -> None:
    assert state.is_open
    state.elsewhere = "pid 1 on this machine"
    assert not state.is_open
    state.elsewhere = ""
    task.mark_failed("no data")
    assert not state.is_open


def test_metrics_without_a_value_do_not_count(task: GroupTask, state: TaskState) -> None:
    """A metric of which all values were skipped has no value either; a metric is listed once."""
    task.report({"loss": 1.0}, 1, split="val")
    task.report({"loss": 1.0}, 1, split="train")
    task.flush()
    skipped = state.metrics[MetricKey("accuracy", ())] = MetricData()
    skipped.skip(1)
    assert state.metric_keys == (
        MetricKey("loss", (("split", "val"),)),
        MetricKey("loss", (("split", "train"),)),
    )
    assert state.metric_names == ["loss"]


@pytest.mark.parametrize(
    ("uncounted", "exact", "counted"),
    [(False, True, True), (True, True, False), (False, False, False), (True, False, False)],
)
def test_values_that_others_stored_and_repeated_iterations_have_to_be_read(
    task: GroupTask, state: TaskState, uncounted: bool, exact: bool, counted: bool
) -> None:
    task.report({"loss": 1.0}, 1)
    task.flush()
    state.uncounted = uncounted
    state.metrics[MetricKey("loss", ())].stats.exact = exact
    assert state.is_counted is counted


def test_the_duration_is_that_until_the_end_or_now(state: TaskState, monkeypatch: pytest.MonkeyPatch) -> None:
    state.opened = 10.0
    clock(monkeypatch, 12.5)
    assert state.duration == 2.5
    state.ended = 11.0
    assert state.duration == 1.0


# --- the row of results --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [("status", "failed"), ("reason", "no data"), ("ended", 1.0), ("uncounted", True)],
)
def test_a_row_is_forgotten_with_each_change_and_keeps_its_statistics(
    task: GroupTask, state: TaskState, field: str, value: Any
) -> None:
    task.report({"loss": 1.0}, 1)
    task.flush()
    (data,) = state.metrics.values()
    shown, state.row = data.stats, "a row"
    setattr(state, field, value)
    assert (state.row, getattr(state, field)) == (None, value)
    assert data.stats is not shown
    assert data.stats.to_json() == shown.to_json()


def test_without_a_row_no_statistics_are_copied(task: GroupTask, state: TaskState) -> None:
    task.report({"loss": 1.0}, 1)
    task.flush()
    (data,) = state.metrics.values()
    stats = data.stats
    state.reason = "no data"
    assert data.stats is stats


@pytest.mark.parametrize("field", ["finished", "done", "device"])
def test_other_changes_leave_the_row(state: TaskState, field: str) -> None:
    state.row = "a row"
    setattr(state, field, True)
    assert state.row == "a row"


# --- opening it again ----------------------------------------------------------------------------


def test_a_task_that_is_opened_again_is_as_new_but_for_its_time(
    state: TaskState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time in between does not count."""
    state.opened = 10.0
    clock(monkeypatch, 12.0)
    state.abort(Abort.of_run("the group", None, "by hand"))
    state.finished = state.done = state.ends_elsewhere = state.abort_seen = True
    state.left_by = "another task"
    clock(monkeypatch, 100.0)
    state.open_again()
    assert (state.is_open, state.reason, state.ended) == (True, "", None)
    assert (state.aborted, state.left_by) == (None, "")
    assert not any((state.finished, state.done, state.ends_elsewhere, state.abort_seen))
    assert state.duration == 2.0
    assert state.reopened == 1
    state.open_again()
    assert state.reopened == 2
