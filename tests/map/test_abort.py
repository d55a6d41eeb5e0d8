"""Tasks that somebody ends while a worker process or a forked child works on them."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._map import worker_group, worker_task
from clearml_taskgroup._model import limits
from clearml_taskgroup._run import worker_aborts
from clearml_taskgroup._run.abort import abort_run
from clearml_taskgroup.errors import TaskAbortedError, TaskClosedError
from tests.support import worker_functions
from tests.support.runs import stop
from tests.support.server_view import View

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def offline() -> TaskGroup:
    """A group whose tasks are offline sessions of the test's own."""
    return TaskGroup("the project", "the group", mode="offline", provenance=False)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[GroupTask], GroupTask]]:
    """Reopens a task as a worker process would; it looks for aborts at each report."""
    monkeypatch.setattr(worker_aborts, "QUEUE_INTERVAL_S", 0.0)

    def reopened(task: GroupTask) -> GroupTask:
        with monkeypatch.context() as patch:
            patch.setattr(worker_task, "open_groups", {})
            return pickle.loads(pickle.dumps(task))  # type: ignore[no-any-return]

    yield reopened
    worker_group.leave_all()


def stop_parent(group: TaskGroup) -> None:
    assert group._run is not None
    abort_run(group._run, "by hand")


@contextmanager
def when_running(then: Callable[[], None]) -> Iterator[None]:
    """Calls a function once the worker says that it runs."""
    mark = Path(os.environ["CLEARML_CACHE_DIR"], "running")

    def wait() -> None:
        deadline = time.monotonic() + 20
        while not mark.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        then()

    thread = threading.Thread(target=wait)
    thread.start()
    yield
    thread.join()


# --- as another process sees it ------------------------------------------------------------------


def test_a_worker_learns_of_an_abort(elsewhere: Callable[[GroupTask], GroupTask]) -> None:
    """Its next report raises, its block swallows that, and the task keeps the reason; others go on."""
    with offline() as group:
        task, other = group.tasks({"seed": range(2)})
        there, other_there = elsewhere(task), elsewhere(other)
        with there:
            there.report({"loss": 1.0}, 0)
            stop(task)
            there.report({"loss": 1.0}, 1)
            pytest.fail("the block goes on")
        with other_there:
            other_there.report({"loss": 1.0}, 0)
        assert (there.status, there.status_reason) == ("stopped", "by hand")
    assert [one.status for one in group] == ["stopped", "completed"]
    assert task.status_reason == "by hand"
    assert group.record_path is not None
    assert [path.suffix for path in group.record_path.parent.iterdir()] == [".jsonl"]


def test_a_task_can_be_aborted_before_a_worker_has_it(elsewhere: Callable[[GroupTask], GroupTask]) -> None:
    with offline() as group:
        task = group.task({"seed": 0})
        stop(task)
        there = elsewhere(task)
        with there:
            there.report({"loss": 1.0}, 0)
            pytest.fail("the block goes on")


def test_a_worker_learns_of_the_parents_end(elsewhere: Callable[[GroupTask], GroupTask]) -> None:
    """Also for a task that it gets later; one that had ended before has just ended."""
    with offline() as group:
        first, second, ended = group.tasks({"seed": range(3)})
        ended.close()
        there = elsewhere(first)
        stop_parent(group)
        for one in (there, elsewhere(second)):
            with pytest.raises(TaskAbortedError, match="the group 'the group' was stopped"):
                one.report({"loss": 1.0}, 0)
        with pytest.raises(TaskClosedError):
            elsewhere(ended).report({"loss": 1.0}, 0)
        worker_group.leave_all()


def test_what_a_killed_process_has_left_aborts_nothing(elsewhere: Callable[[GroupTask], GroupTask]) -> None:
    """A resumed run may go on in the same ClearML tasks."""
    group = offline().open()
    stop_parent(group)
    path = group.record_path
    assert path is not None
    left = worker_aborts.abort_path(path)
    data = left.read_bytes()
    group.close()
    left.write_bytes(data)
    with TaskGroup(
        "the project", "the group", mode="offline", provenance=False, resume=True, retry="continue"
    ) as again:
        assert again.record_path == path
        with elsewhere(again.task({"seed": 0})) as there:
            there.report({"loss": 1.0}, 0)
    assert there.status == "completed"


def test_a_worker_on_another_machine_asks_the_server(
    server: View, elsewhere: Callable[[GroupTask], GroupTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has neither the run log nor the file."""
    with TaskGroup(server.project, "the group", mode="online", provenance=False) as group:
        tasks = group.tasks({"seed": range(3)})
        monkeypatch.setattr(worker_group, "read_first", lambda path: {})
        first, second, third = (elsewhere(task) for task in tasks)
        with third:
            third.report({"loss": 1.0}, 0)
        server.call("tasks.stop", task=tasks[0].id)
        backend = worker_group._groups[next(iter(worker_group._groups))]._run.backend
        with monkeypatch.context() as patch:
            patch.setattr(limits, "HEARTBEAT_S", 0.0)
            backend.keep_alive()
        with first:
            first.report({"loss": 1.0}, 0)
            pytest.fail("the block goes on")
        second.report({"loss": 1.0}, 0)
        server.call("tasks.stopped", task=group.parent_id, force=True)
        with monkeypatch.context() as patch:
            patch.setattr(limits, "HEARTBEAT_S", 0.0)
            backend.keep_alive()
        with pytest.raises(TaskAbortedError, match="the group"):
            second.report({"loss": 1.0}, 1)
        worker_group.leave_all()
    assert tasks[0].status == "stopped"
    assert tasks[0].status_reason.startswith("Stopped by")


# --- in other processes --------------------------------------------------------------------------


@pytest.mark.quick(2)
@pytest.mark.parametrize("kind", ["workers", "pool"])
@pytest.mark.parametrize("name", ["report_until_aborted", "report_until_aborted_in_a_block"])
def test_map_goes_on_in_workers(kind: str, name: str) -> None:
    """The configuration is stopped, and its `Mapped` has the error."""
    with offline() as group, ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        with when_running(lambda: stop(group.get(seed=1))):
            how = {"workers": 1} if kind == "workers" else {"executor": pool}
            mapped = group.map(getattr(worker_functions, name), {"seed": range(3)}, **how)
    assert [one.task.status for one in mapped] == ["completed", "stopped", "completed"]
    error = mapped[1].error
    assert isinstance(error, TaskAbortedError)
    assert (error.task, error.reason, mapped[1].value) == ("seed=1", "by hand", None)
    assert not group.failures
    assert [row.value("loss") for row in group.results()] == [1.0] * 3


def test_a_stopped_parent_ends_map_in_workers() -> None:
    """Calls under way end at their next reports, without a signal; no other begins."""
    with offline() as group:
        with when_running(lambda: stop_parent(group)):
            group.map(worker_functions.report_until_aborted, {"seed": range(20)}, workers=1)
        pytest.fail("the block goes on")
    assert len(group) < 20
    assert {one.status for one in group if one.params["seed"] > 0} == {"stopped"}
    assert group.get(seed=0).status == "completed"


def test_by_hand_in_a_pool() -> None:
    """A task that is passed to a pool ends in its own block there."""
    with offline() as group, ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        tasks = group.tasks({"seed": range(3)})
        with when_running(lambda: stop(tasks[1])):
            for task in tasks:
                pool.submit(worker_functions.report_until_aborted_in_a_block, task).result()
    assert [task.status for task in tasks] == ["completed", "stopped", "completed"]
    assert tasks[1].status_reason == "by hand"


@pytest.mark.parametrize("name", ["report_until_aborted", "report_until_aborted_in_a_block"])
def test_a_pool_of_multiprocessing_is_not_held_up(name: str) -> None:
    """It waits for ever for a function that raises what is no `Exception`."""
    fn = getattr(worker_functions, name)
    with offline() as group, multiprocessing.get_context("fork").Pool(1) as pool:
        task = group.task({"seed": 1})
        with when_running(lambda: stop(task)):
            result = pool.apply_async(fn, (task,))
            if name == "report_until_aborted":
                with pytest.raises(TaskClosedError, match="stopped by somebody else: by hand"):
                    result.get(20)
            else:
                assert result.get(20) == "went on"
    assert (task.status, task.status_reason) == ("stopped", "by hand")


def test_a_forked_child_learns_of_an_abort() -> None:
    """The report after the next look raises; the task is stopped, and its status is not the child's."""
    with offline() as group:
        task, other = group.tasks({"seed": [1, 2]})
        child = multiprocessing.get_context("fork").Process(
            target=worker_functions.report_until_aborted_in_a_block, args=(task,)
        )
        with when_running(lambda: stop(task)):
            child.start()
            child.join(20)
        assert child.exitcode == 0
        other.report({"loss": 1.0}, 0)
    assert [(one.status, one.status_reason) for one in group] == [("stopped", "by hand"), ("completed", "")]
