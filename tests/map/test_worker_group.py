"""What a worker process has of a group: its run, which delivers before it dies, and the runs it leaves."""

from __future__ import annotations

import gc
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from clearml_taskgroup import Name, TaskGroup
from clearml_taskgroup._current import current_group
from clearml_taskgroup._map import worker_group, worker_task
from clearml_taskgroup._map.worker_group import WorkerRun, leave_all
from clearml_taskgroup._map.worker_task import WorkerTask
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._storage.run_log import iterate
from clearml_taskgroup.errors import DeliveryError, GroupStateError
from tests.support.runs import Place

Reopens = Callable[..., WorkerTask]


@pytest.fixture
def group() -> Iterator[TaskGroup]:
    with Place().group(close_timeout=60.0) as group:
        yield group


@pytest.fixture
def reopens(group: TaskGroup, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reopens]:
    """Opens a task as a worker process would."""

    def reopens(seed: int = 0, of: TaskGroup = group) -> WorkerTask:
        task = of.task({"seed": seed}, if_exists="return")
        with monkeypatch.context() as patch:
            patch.setattr(worker_task, "open_groups", {})
            there: WorkerTask = pickle.loads(pickle.dumps(task))
        return there

    yield reopens
    leave_all()


@pytest.fixture
def there(reopens: Reopens) -> WorkerTask:
    return reopens()


@pytest.fixture
def run(there: WorkerTask) -> WorkerRun:
    return there._worker_run


def told(group: TaskGroup) -> list[str]:
    """What workers have written into the run log."""
    assert group.record_path is not None
    return [line["event"] for line in iterate(group.record_path) if "guest" in line]


def test_the_options_are_those_of_the_group(there: WorkerTask, run: WorkerRun, group: TaskGroup) -> None:
    options = group._opened().options
    assert run.options == options._replace(provenance=False)
    assert (run.parent, run.info.run, run.log_path) == (group.parent_id, group.run, group.record_path)
    assert run.aborts.path is not None


def test_an_ended_task_is_delivered_at_once(run: WorkerRun, there: WorkerTask) -> None:
    state = there._state
    assert run.finish([state], 60.0) == []
    assert not state.finished
    state.status = "completed"
    run.end_later(state)
    assert state.finished
    assert run.ended == {(there.id, 0): ("completed", "")}
    assert there.id not in run.watched
    run.ended.clear()
    assert run.finish([state], 60.0) == []
    assert run.ended == {}


def test_what_cannot_be_delivered_is_told_and_the_task_ends(
    run: WorkerRun, there: WorkerTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(task_id: str, timeout: float) -> None:
        assert timeout == pytest.approx(60.0, abs=59.0)
        raise OSError("no")

    missing = DeliveryError(1, [], "", "")
    monkeypatch.setattr(run.backend, "wait_for_uploads", fail, raising=False)
    monkeypatch.setattr(run, "flush", lambda timeout: False)
    monkeypatch.setattr(run, "undelivered", lambda states: missing)
    there._state.status = "completed"
    errors = run.finish([there._state], 60.0)
    assert [type(error) for error in errors] == [OSError, DeliveryError]
    assert there._state.finished


@pytest.mark.parametrize(("timeout", "left"), [(0.0, 1.0), (30.0, 30.0)])
def test_the_last_data_has_a_second_at_least(
    run: WorkerRun, there: WorkerTask, monkeypatch: pytest.MonkeyPatch, timeout: float, left: float
) -> None:
    waits: list[float] = []

    def flush(timeout: float) -> bool:
        waits.append(timeout)
        return True

    monkeypatch.setattr(run, "flush", flush)
    there._state.status = "completed"
    run.finish([there._state], timeout)
    assert waits == [pytest.approx(left, abs=0.9)]


def test_names_are_written_for_the_process_that_opened_the_group(
    run: WorkerRun, there: WorkerTask, group: TaskGroup
) -> None:
    names = there._state.names
    names.ambiguous[Name("a", "b")] = MetricKey("x", ())
    names.unstored = [Name("a", "b")]
    run.store_names(there._state)
    assert (told(group), names.unstored) == (["names"], [])


def test_counts_are_written_once_for_what_a_task_was_given(there: WorkerTask, group: TaskGroup) -> None:
    there.report({"loss": 1.0}, 1)
    assert told(group) == ["guest"]
    ref = there._ref
    assert ref is not None
    run = there._worker_run
    run.log_counts(ref)
    run.log_counts(ref)
    assert told(group) == ["guest", "told"]
    there.report({"loss": 1.0}, 2)
    run.log_counts(ref)
    assert told(group) == ["guest", "told", "told"]


def test_a_task_that_nothing_refers_to_leaves_its_counts(reopens: Reopens, group: TaskGroup) -> None:
    """After the next batch, with which its values are delivered."""
    task = reopens()
    run = task._worker_run
    task.report({"loss": 1.0}, 1)
    del task
    gc.collect()
    run.log_collected()
    assert told(group) == ["guest", "told"]
    assert run.refs == set()


def test_a_process_that_ends_leaves_all_counts(there: WorkerTask, group: TaskGroup) -> None:
    there.report({"loss": 1.0}, 1)
    leave_all()
    assert told(group) == ["guest", "told"]
    assert worker_group._groups == {}
    leave_all()


def test_a_worker_keeps_the_runs_that_it_has_used_last(
    reopens: Reopens, group: TaskGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_group, "MAX_OPEN_RUNS", 2)
    left: list[WorkerRun] = []
    leave = WorkerRun.leave

    def noted(run: WorkerRun) -> None:
        left.append(run)
        leave(run)

    monkeypatch.setattr(WorkerRun, "leave", noted)
    first = reopens()
    with Place().group(name="the second") as b, Place().group(name="the third") as c:
        second = reopens(of=b)
        assert reopens(1)._worker_run is first._worker_run
        reopens(of=c)
        assert left == [second._worker_run]
        leave_all()
    assert len(left) == 3


def test_a_group_of_a_worker_flushes_and_is_current(
    there: WorkerTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    group: Any = there.group
    waits: list[float] = []

    def flush(timeout: float) -> bool:
        waits.append(timeout)
        return len(waits) != 2

    monkeypatch.setattr(there._run, "flush", flush)
    group.flush()
    monkeypatch.setattr(there._run, "undelivered", lambda states: DeliveryError(1, [], "", ""))
    with pytest.raises(DeliveryError):
        group.flush(5.0)
    assert waits == [60.0, 5.0]
    with group.activate():
        assert current_group() is group
    assert current_group() is not group


@pytest.mark.parametrize("name", ["task", "results", "sweep"])
def test_a_group_of_a_worker_has_nothing_else(there: WorkerTask, name: str) -> None:
    group: Any = there.group
    with pytest.raises(GroupStateError, match=f"{name} works only in the process"):
        getattr(group, name)
    with pytest.raises(AttributeError):
        _ = group._private
    with pytest.raises(GroupStateError, match="stays in the process"):
        pickle.dumps(group)


@pytest.mark.parametrize("in_main", [True, False])
def test_a_signal_of_the_pool_does_not_interrupt_the_end(run: WorkerRun, in_main: bool) -> None:
    """Handlers can be set in the main thread alone."""
    handler = signal.getsignal(signal.SIGTERM)
    if in_main:
        worker_group._leave(run)
    else:
        thread = threading.Thread(target=worker_group._leave, args=(run,))
        thread.start()
        thread.join()
    found = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, handler)
    assert found == (signal.SIG_IGN if in_main else handler)
    assert run.reporter._ended


def test_a_forked_child_has_no_groups_of_its_parent(there: WorkerTask) -> None:
    before = dict(worker_group._groups)
    assert before
    worker_group._forget_groups()
    assert worker_group._groups == {}
    worker_group._groups.update(before)


def test_offline_data_is_where_the_group_was_opened(there: WorkerTask) -> None:
    assert there.is_local
    assert there.url is not None
    assert there.id in there.url
    there._worker_run.page = None
    assert there.url is not None
    there._worker_run.page = "the page of {}"
    assert there.url == f"the page of {there.id}"
