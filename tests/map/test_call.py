"""One call of the function: what it returns or raises, how its task ends, and its result as bytes."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._map import call as _call
from clearml_taskgroup._map import worker_task
from clearml_taskgroup._map.begun_calls import begin, keep_result, stop
from clearml_taskgroup._map.call import (
    CallResult,
    DeferredTask,
    call_here,
    call_in_worker,
    died_result,
    open_and_call,
    timed_out_result,
    unpack,
)
from clearml_taskgroup._map.worker_task import WorkerTask
from clearml_taskgroup._run.worker_counts import WorkerCounts
from clearml_taskgroup.errors import (
    CallTimeoutError,
    CarriedError,
    DeliveryError,
    TaskAbortedError,
    ValuePickleError,
    WorkerDiedError,
)
from clearml_taskgroup.testing import recording
from tests.support.runs import Place
from tests.support.runs import stop as stop_task
from tests.support.scripts import notes_of


@pytest.fixture
def task() -> Iterator[GroupTask]:
    with recording(), TaskGroup("the project", "the group") as group:
        yield group.task({"seed": 0})


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerTask]:
    """The task as a worker process has it."""
    with Place().group() as group:
        task = group.task({"seed": 0})
        with monkeypatch.context() as patch:
            patch.setattr(worker_task, "open_groups", {})
            there = pickle.loads(pickle.dumps(task))
        there.is_mapped = True
        yield there
        there._worker_run.leave()


def fails(task: GroupTask) -> None:
    raise ValueError("no data")


# --- here ------------------------------------------------------------------------------------------


def test_what_the_function_returns_is_the_result(task: GroupTask) -> None:
    result = call_here(lambda task: task.name, task)
    assert (result.value, result.error, result.text, result.facts) == ("seed=0", None, "", None)
    assert task.status == "completed"
    assert result.seconds > 0


def test_what_the_function_raises_fails_the_task(task: GroupTask) -> None:
    result = call_here(fails, task)
    assert isinstance(result.error, ValueError)
    assert result.text.startswith("Traceback")
    assert (task.status, task.status_reason) == ("failed", "ValueError: no data")


def test_a_task_that_has_ended_in_the_function_keeps_its_status(task: GroupTask) -> None:
    def ends(task: GroupTask) -> None:
        task.mark_stopped("pruned")
        raise ValueError("no data")

    result = call_here(ends, task)
    assert (task.status, task.status_reason) == ("stopped", "pruned")
    assert "no data" in result.text
    assert task._state.failure is None


def test_a_task_that_was_aborted_before_is_not_called(task: GroupTask) -> None:
    stop_task(task)
    result = call_here(lambda task: pytest.fail("called"), task)
    assert isinstance(result.error, TaskAbortedError)


@pytest.mark.parametrize("how", ["its error", "an exception", "a value", "an interrupt"])
def test_a_task_that_is_aborted_meanwhile_has_its_error(task: GroupTask, how: str) -> None:
    """Whatever the function makes of it, unless it is interrupted."""

    def work(task: GroupTask) -> Any:
        stop_task(task)
        if how == "its error":
            task.report({"loss": 1.0}, 1)
        elif how == "an exception":
            raise ValueError
        elif how == "an interrupt":
            raise KeyboardInterrupt
        return 1

    error = call_here(work, task).error
    assert isinstance(error, KeyboardInterrupt if how == "an interrupt" else TaskAbortedError)


def test_what_the_tasks_own_block_has_caught_is_the_error() -> None:
    def work(task: GroupTask) -> int:
        with task:
            raise ValueError("no data")
        return 7

    with recording(), TaskGroup("the project", "the group", catch=ValueError) as group:
        result = call_here(work, group.task({"seed": 0}))
        group.task({"seed": 1})
    assert (result.value, type(result.error)) == (7, ValueError)
    assert "no data" in result.text


# --- in a worker -----------------------------------------------------------------------------------


def test_a_worker_sends_what_it_has_counted(there: WorkerTask) -> None:
    def work(task: GroupTask) -> str:
        task.report({"loss": 1.0}, 1)
        return "done"

    result = unpack(call_in_worker(work, there))
    assert (result.value, result.error, result.unlogged) == ("done", None, "")
    assert result.facts is not None
    assert (result.facts.status, result.facts.lost, result.facts.trouble) == ("completed", 0, "")
    assert [data.stats.count for data in result.facts.metrics.values()] == [1]
    assert result.seconds > 0


def test_what_a_worker_raises_comes_with_its_traceback(there: WorkerTask) -> None:
    result = unpack(call_in_worker(fails, there))
    assert isinstance(result.error, ValueError)
    assert notes_of(result.error)[0].startswith("raised in a worker process:\nTraceback")
    assert result.facts is not None
    assert (result.facts.status, result.facts.reason) == ("failed", "ValueError: no data")


@pytest.mark.parametrize("ended", [False, True])
def test_a_value_that_cannot_be_pickled_fails_the_task(
    there: WorkerTask, ended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless it has ended already."""

    def work(task: GroupTask) -> Any:
        if ended:
            task.mark_completed()
        return lambda: None

    monkeypatch.delitem(sys.modules, "cloudpickle", raising=False)
    result = unpack(call_in_worker(work, there))
    assert isinstance(result.error, ValuePickleError)
    assert result.facts is not None
    assert (result.value, result.facts.status) == (None, "completed" if ended else "failed")
    assert "function" in result.text


def test_cloudpickle_is_used_where_it_is_loaded(there: WorkerTask, monkeypatch: pytest.MonkeyPatch) -> None:
    cloudpickle = SimpleNamespace(dumps=lambda value: pickle.dumps("by cloudpickle"))
    monkeypatch.setitem(sys.modules, "cloudpickle", cloudpickle)
    assert unpack(call_in_worker(lambda task: lambda: None, there)).value == "by cloudpickle"


@pytest.mark.parametrize(
    ("error", "lost", "trouble"),
    [(OSError("no"), 0, "no (on "), (DeliveryError(3, [], "", "no room"), 3, "no room (on ")],
)
def test_what_a_worker_cannot_deliver_is_told(
    there: WorkerTask, monkeypatch: pytest.MonkeyPatch, error: Exception, lost: int, trouble: str
) -> None:
    monkeypatch.setattr(there._run, "finish", lambda states, timeout: [error])
    facts = unpack(call_in_worker(lambda task: None, there)).facts
    assert facts is not None
    assert facts.lost == lost
    assert facts.trouble.startswith(trouble)


def test_parameters_that_cannot_be_pickled_are_sent_as_text(there: WorkerTask) -> None:
    class Local:
        def __repr__(self) -> str:
            return "local"

    there._state.params["late"] = Local()
    facts = unpack(call_in_worker(lambda task: None, there)).facts
    assert facts is not None
    assert facts.params == {"late": "local"}


def test_an_interrupt_in_a_worker_stops_the_calls_that_have_not_begun(
    there: WorkerTask, tmp_path: Path
) -> None:
    def interrupted(task: GroupTask) -> None:
        raise KeyboardInterrupt

    there.map_folder = str(tmp_path)
    assert isinstance(unpack(call_in_worker(interrupted, there)).error, KeyboardInterrupt)
    assert begin(there, str(tmp_path)) == "interrupted"


def test_a_value_that_cannot_be_read_here_is_an_error() -> None:
    data = _call._pack(b"not a pickle", CallResult(), 1.0, WorkerCounts("completed"))
    result = unpack(data)
    assert isinstance(result.error, CarriedError)
    assert "what the function gave cannot be read here" in str(result.error)


# --- on executors ----------------------------------------------------------------------------------


def test_a_task_of_this_process_is_called_here(task: GroupTask) -> None:
    result = open_and_call(lambda task: 7, DeferredTask(task), "nowhere")
    assert isinstance(result, CallResult)
    assert result.value == 7


def test_a_task_that_cannot_be_opened_is_a_failed_call() -> None:
    data = open_and_call(lambda task: 7, DeferredTask(None, (b"no reference", "", ())))
    assert isinstance(data, bytes)
    result = unpack(data)
    assert result.error is not None
    assert result.facts is not None
    assert (result.facts.status, result.seconds, result.unlogged) == ("failed", 0.0, result.text)
    assert result.facts.reason


def test_a_task_is_opened_where_it_is_called(there: WorkerTask) -> None:
    deferred = DeferredTask(there)
    assert deferred.open() is there
    reference = there.__reduce__()[1]
    assert deferred.__reduce__() == (DeferredTask, (None, reference))
    assert DeferredTask(None, reference).__reduce__() == (DeferredTask, (None, reference))


@pytest.fixture
def opened(there: WorkerTask) -> Any:
    """Gives the worker's task to whoever opens it."""
    there.is_mapped = False
    return SimpleNamespace(open=lambda: there)


def test_a_call_is_made_once(there: WorkerTask, opened: Any, tmp_path: Path) -> None:
    """A second one has the result of the first."""
    folder = tmp_path / "begun"
    folder.mkdir()
    first = open_and_call(lambda task: 7, opened, str(folder))
    assert there.is_mapped
    assert isinstance(first, bytes)
    assert unpack(first).value == 7
    assert open_and_call(lambda task: pytest.fail("called"), opened, str(folder)) == first
    assert open_and_call(lambda task: 8, opened) != first


def test_a_call_whose_process_died_is_not_made_again(there: WorkerTask, opened: Any, tmp_path: Path) -> None:
    begin(there, str(tmp_path))
    result = open_and_call(lambda task: pytest.fail("called"), opened, str(tmp_path))
    assert isinstance(result, CallResult)
    assert isinstance(result.error, WorkerDiedError)
    keep_result(str(tmp_path), there.id, b"kept")
    assert open_and_call(lambda task: pytest.fail("called"), opened, str(tmp_path)) == b"kept"


@pytest.mark.parametrize("how", ["ended", "interrupted"])
def test_no_call_begins_after_the_map_has_ended(
    there: WorkerTask, opened: Any, tmp_path: Path, how: str
) -> None:
    folder = tmp_path / "begun"
    if how == "interrupted":
        folder.mkdir()
        stop(str(folder))
    result = open_and_call(lambda task: pytest.fail("called"), opened, str(folder))
    assert isinstance(result, CallResult)
    assert isinstance(result.error, KeyboardInterrupt) is (how == "interrupted")
    assert result.facts is not None
    assert result.facts.status == "stopped"


# --- calls that do not return ----------------------------------------------------------------------


def test_a_call_whose_process_died_has_failed(task: GroupTask) -> None:
    result = died_result(task, "killed by SIGKILL", 7.0)
    assert isinstance(result.error, WorkerDiedError)
    assert "'seed=0'" in str(result.error) or "seed=0" in str(result.error)
    assert result.facts is not None
    assert (result.facts.status, result.facts.reason, result.facts.died) == (
        "failed",
        "killed by SIGKILL",
        True,
    )
    assert (result.text, result.unlogged, result.seconds) == (*["killed by SIGKILL\n"] * 2, 7.0)
    assert died_result(task, "").seconds == 0.0


def test_a_call_that_took_too_long_has_what_it_counted_until_then(task: GroupTask) -> None:
    partial = CallResult(text="where it was", facts=WorkerCounts("stopped", lost=3, failure=(None, "", "")))
    result = timed_out_result(task, 5.0, 7.0, partial)
    assert isinstance(result.error, CallTimeoutError)
    assert notes_of(result.error) == ["where it was:\nwhere it was"]
    assert result.facts is partial.facts
    assert result.facts is not None
    assert (result.facts.status, result.facts.lost, result.facts.failure) == ("failed", 3, None)
    assert (result.text, result.seconds) == ("where it was", 7.0)
    assert result.unlogged == f"{result.error.reason}\n"
    assert not result.facts.died


@pytest.mark.parametrize("partial", [None, CallResult()])
def test_a_call_that_had_to_be_killed_leaves_its_values_in_the_storage(
    task: GroupTask, partial: CallResult | None
) -> None:
    result = timed_out_result(task, 5.0, 7.0, partial)
    assert result.error is not None
    assert notes_of(result.error) == []
    assert result.facts is not None
    assert result.facts.died
    assert result.text == result.unlogged
