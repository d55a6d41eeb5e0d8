"""Ends that go wrong: tasks that cannot be finished, data that cannot be delivered."""

from __future__ import annotations

import math
import os
import threading
import types
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._clearml.events import Batch
from clearml_taskgroup._model.specs import Ending
from clearml_taskgroup._run.state import MAX_REASON_CHARS
from clearml_taskgroup.errors import (
    AutoLoggingWarning,
    DeliveryError,
    DriftWarning,
    GroupStateError,
    NonFiniteWarning,
    StoreError,
)
from clearml_taskgroup.testing import recording
from tests.support.scripts import HookedStore, fails_to_close, kept_in, leaves, place_of, statuses


def a_group(close_timeout: float = 30.0, metrics: Sequence[str] | None = None) -> TaskGroup:
    """Makes a group for the store of the test."""
    return TaskGroup("the project", "the group", close_timeout=close_timeout, metrics=metrics)


def refusing(*names: str) -> HookedStore:
    """Gives a store that cannot finish the tasks with these names."""

    def refuse(endings: Sequence[Ending]) -> None:
        for ending in endings:
            if backend.tasks[ending.task_id].name in names:
                raise OSError(f"cannot finish {backend.tasks[ending.task_id].name}")

    backend = HookedStore(on_finish=refuse)
    return backend


def test_an_error_without_a_text_replaces_nothing() -> None:
    """All steps are taken, and the block's own exception leaves it, if a step raises what has no text."""

    class NoText(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

        __repr__ = __str__

    def refuse(endings: Sequence[Ending]) -> None:
        raise NoText

    backend, body = HookedStore(on_finish=refuse), ValueError("of the block")
    with kept_in(backend), leaves(body, ["NoText"]), a_group() as group:
        group.task({"seed": 0})
        raise body
    assert group._run is not None
    assert group._run.closed


def test_without_time_to_close_reports_still_reach_the_store() -> None:
    """`close_timeout=0` waits for no delivery; it calls nothing lost that only had to be written."""
    backend = HookedStore()
    with kept_in(backend), a_group(close_timeout=0) as group:
        for task in group.tasks({"seed": [0, 1, 2]}):
            task.report({"loss": 1.5}, 1)
    assert set(statuses(backend).values()) == {"completed"}
    assert [row.value("loss") for row in group.results()] == [1.5, 1.5, 1.5]


# --- tasks that cannot be finished -------------------------------------------------------------


def test_an_error_in_finishing_one_task_leaves_the_others_alone() -> None:
    """All other tasks and the parent end; afterwards the error is raised in an exception group."""
    backend = refusing("seed=1")
    with kept_in(backend), fails_to_close() as errors:
        with a_group() as group:
            group.tasks({"seed": [0, 1, 2]})
    assert [str(error) for error in errors] == ["cannot finish seed=1"]
    assert statuses(backend) == {
        "the group": "completed",
        "seed=0": "completed",
        "seed=1": "in_progress",
        "seed=2": "completed",
    }


def test_several_errors_in_finishing_are_all_told() -> None:
    """Each task that could not be finished has its own error in the group."""
    with kept_in(refusing("seed=0", "seed=2")), fails_to_close() as errors:
        with a_group() as group:
            group.tasks({"seed": [0, 1, 2]})
    assert [str(error) for error in errors] == [
        "cannot finish seed=0",
        "cannot finish seed=2",
    ]


def test_errors_in_finishing_are_notes_on_the_bodys_exception() -> None:
    """What leaves the body is never replaced by what goes wrong in closing."""
    error = ValueError("bad")
    backend = refusing("seed=1")
    with leaves(error, notes=["while the group closed: OSError: cannot finish seed=1"]), kept_in(backend):
        with a_group() as group:
            group.tasks({"seed": [0, 1]})
            raise error
    assert statuses(backend) == {"the group": "failed", "seed=0": "failed", "seed=1": "in_progress"}


def test_a_store_that_breaks_its_protocol_still_lets_the_body_speak() -> None:
    """A store that raises where it should collect replaces no exception of a task's own block."""

    class Broken(HookedStore):
        def finish(self, endings: Sequence[Ending], timeout: float = 60.0) -> dict[str, Exception]:
            raise OSError("broken store")

    error = ValueError("bad")
    note = "while the group closed: OSError: broken store"
    with (
        leaves(error, notes=[note]),
        kept_in(Broken()),
        a_group() as group,
        group.task(name="the task"),
    ):
        raise error


def test_a_task_that_could_not_be_finished_is_tried_again_as_the_group_closes() -> None:
    """An error that went away until the group's end leaves no trace."""
    tries: list[str] = []

    def refuse_once(endings: Sequence[Ending]) -> None:
        tries.append(endings[0].task_id)
        if len(tries) == 1:
            raise OSError("for a moment")

    backend = HookedStore(on_finish=refuse_once)
    with kept_in(backend), a_group() as group:
        with group.task(name="the task"):
            pass
        assert statuses(backend)["the task"] == "in_progress"
    assert statuses(backend) == {"the group": "completed", "the task": "completed"}


def test_closing_a_task_tells_its_own_error_at_once() -> None:
    """`task.close()` raises what went wrong with this task; the group's end tells it again."""
    with kept_in(refusing("the task")), fails_to_close():
        with a_group() as group:
            task = group.task(name="the task")
            with pytest.raises(OSError, match="cannot finish the task"):
                task.close()


def test_a_full_disk_under_the_record_is_told_and_ends_nothing_early(tmp_path: Path) -> None:
    """Where the run's record cannot be written, the body's exception stays and closing goes on."""
    error = ValueError("bad")
    with place_of("offline", tmp_path) as place, leaves(error, notes=["the end of 'the task' (failed)"]):
        with place.group() as group:
            task = group.task(name="the task")
            assert group._run is not None
            assert group._run.run_log is not None
            os.close(group._run.run_log._file)
            group._run.run_log._file = os.open("/dev/full", os.O_WRONLY)
            with task:
                raise error
    assert task.status == "failed"
    assert not group._run.reporter._thread.is_alive()  # type: ignore[union-attr]


# --- data that cannot be delivered -------------------------------------------------------------


def test_a_store_that_refuses_is_named_with_points_and_tasks() -> None:
    """The error says how many points of which tasks are missing, where and why; statuses stand."""

    def refuse(batch: Batch) -> None:
        raise StoreError("/data", "no space left")

    backend = HookedStore(on_write=refuse)
    with kept_in(backend), fails_to_close() as errors, a_group(metrics=["loss", "accuracy"]) as group:
        with_data, _ = group.tasks({"seed": [0, 1]})
        with_data.report({"loss": 1.0, "accuracy": 0.5}, 1)
    (error,) = errors
    assert isinstance(error, DeliveryError)
    assert (error.points, error.tasks, error.where) == (2, ["seed=0"], "memory")
    assert error.cause.startswith("cannot write to /data: no space left; ")
    assert statuses(backend) == {"the group": "completed", "seed=0": "completed", "seed=1": "completed"}


def test_what_one_task_cannot_deliver_keeps_no_other_from_ending() -> None:
    """A store that refuses one task's events lets the others end in their own blocks."""

    def refuse(batch: Batch) -> None:
        for task_id in list(batch):
            if backend.tasks[task_id].name != "bad":
                backend.tasks[task_id]._events.extend(batch.pop(task_id))
        if batch:
            raise OSError("refused")

    backend = HookedStore(on_write=refuse)
    with kept_in(backend), fails_to_close() as errors, a_group() as group:
        bad = group.task(name="bad")
        bad.report({"loss": 1.0}, 1)
        with group.task(name="good") as good:
            good.report({"loss": 1.0}, 1)
        assert statuses(backend)["good"] == "completed"
        bad.mark_failed("worse")
        assert statuses(backend)["bad"] == "in_progress"
    (error,) = errors
    assert isinstance(error, DeliveryError)
    assert error.tasks == ["bad"]
    assert statuses(backend) == {"the group": "completed", "bad": "failed", "good": "completed"}


def test_a_store_that_hangs_ends_the_block_in_time() -> None:
    """After `close(timeout=…)` the error names what is missing; the store is not waited for again."""
    stuck, release = threading.Event(), threading.Event()

    def hang(batch: Batch) -> None:
        stuck.set()
        release.wait()

    backend = HookedStore(on_write=hang)
    with kept_in(backend):
        group = a_group().open()
        task = group.task(name="the task")
        task.report({"loss": 1.0}, 1)
        try:
            assert stuck.wait(60)
            with pytest.raises(DeliveryError, match=r"1 points? of 1 tasks? \(the task\).*time for closing"):
                group.flush(timeout=0.01)
            with pytest.raises(DeliveryError):
                task.close(timeout=0.01)
            with fails_to_close() as errors:
                group.close(timeout=0.05)
        finally:
            release.set()
    assert [type(error) for error in errors] == [DeliveryError]
    assert task.status == "completed"


@pytest.mark.parametrize("timeout", [math.inf, 1e12, 0.0])
def test_any_number_is_a_timeout(timeout: float) -> None:
    """Endless, huge and negative timeouts are taken as they are meant by all that waits."""
    with recording() as backend:
        group = a_group(close_timeout=timeout).open()
        with group.task(name="the task") as task:
            task.report({"loss": 1.0}, 1)
        if timeout > 0:
            group.flush(timeout)
            task.close(timeout)
            group.close(timeout)
            assert statuses(backend) == {"the group": "completed", "the task": "completed"}
        else:
            group.close(30.0)
    assert backend.members[0].scalars == {("loss", "value"): [(1, 1.0)]}


# --- warnings as errors ------------------------------------------------------------------------


def drifting(error: Exception | None) -> None:
    """Runs a group whose tasks report different metrics and numbers that cannot be stored."""
    with a_group() as group:
        first, second = group.tasks({"seed": [0, 1]})
        first.report({"loss": 1.0}, 1)
        second.report({"accuracy": 1.0}, 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            first.report({"loss": math.nan}, 2)
            first.report({"loss": math.nan}, 3)
        first.close()
        second.close()
        if error is not None:
            raise error


def test_warnings_as_errors_become_notes_on_the_bodys_exception() -> None:
    """What is told at the end never takes the place of what left the body."""
    error = ValueError("bad")
    with recording(), leaves(error, notes=["DriftWarning", "NonFiniteWarning"]):
        drifting(error)


def test_warnings_as_errors_are_raised_after_the_end() -> None:
    """With no other exception they are raised, once everything has ended."""
    with recording() as backend, fails_to_close() as errors:
        drifting(None)
    assert [type(error) for error in errors] == [DriftWarning, NonFiniteWarning]
    assert statuses(backend) == {"the group": "completed", "seed=0": "completed", "seed=1": "completed"}


def test_a_single_warning_as_an_error_is_raised_as_itself() -> None:
    """One warning alone comes without a group around it."""
    with recording() as backend:
        group = a_group().open()
        for task, metric in zip(group.tasks({"seed": [0, 1]}), ("loss", "accuracy"), strict=True):
            task.report({metric: 1.0}, 1)
        with pytest.raises(DriftWarning, match="'accuracy'"):
            group.close()
    assert set(statuses(backend).values()) == {"completed"}


# --- opening while closing ---------------------------------------------------------------------


def test_a_task_that_a_thread_opens_while_the_group_closes_is_refused() -> None:
    """A run that has closed creates nothing any more, whoever got past the group's own check."""
    with recording() as backend:
        with a_group() as group:
            assert group._run is not None
            spec = group._run.specs.make(None, name="late")
        with pytest.raises(GroupStateError, match="has been closed"):
            group._run.create([spec])
    assert statuses(backend) == {"the group": "completed"}


def test_a_task_that_is_being_opened_as_the_group_closes_ends_with_it() -> None:
    opening, go_on = threading.Event(), threading.Event()

    class Slow(HookedStore):
        def create(self, *args: object) -> list[str]:
            ids = super().create(*args)  # type: ignore[arg-type]
            if threading.current_thread() is not threading.main_thread():
                opening.set()
                go_on.wait()
            return ids

    backend = Slow()
    with kept_in(backend), a_group() as group:
        thread = threading.Thread(target=group.task, kwargs={"name": "late"})
        thread.start()
        assert opening.wait(60)
        threading.Timer(0.0, go_on.set).start()
    thread.join()
    assert statuses(backend) == {"the group": "completed", "late": "completed"}


def test_a_reason_is_cut_to_what_a_server_takes() -> None:
    with recording() as backend, a_group() as group:
        group.task(name="the task").mark_failed("x" * 10_000)
    assert backend.members[0].reason == "x" * MAX_REASON_CHARS


def test_a_main_task_that_took_the_metrics_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a framework's own ClearML logger does, that calls `Task.init` in the training."""
    with recording():
        group = TaskGroup("digits", "sweep").open()
        for task in group.sweep({"C": [1, 2]}):
            with task:
                monkeypatch.setattr(sdk, "main_task", lambda: types.SimpleNamespace(name="accelerate"))
        with pytest.warns(AutoLoggingWarning, match=r"2 tasks \(C=1, C=2\): Task.init was.*'accelerate'"):
            group.close()
