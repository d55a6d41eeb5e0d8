"""What a person does to tasks in the web page while the script runs: the next heartbeat finds it.

`beat` stands for the clock: no heartbeat reads statuses by itself in these tests.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._model import limits
from clearml_taskgroup._model.specs import Ending
from clearml_taskgroup.errors import TaskAbortedError
from tests.loopback import LoopbackServer
from tests.loopback.client import Client
from tests.support import worker_functions
from tests.support.server_view import View


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Statuses are read by `beat` alone; log lines are kept."""
    monkeypatch.setattr(limits, "HEARTBEAT_S", 1e9)
    caplog.set_level(logging.INFO, logger="clearml_taskgroup")


def group_on(server: View, **options: Any) -> TaskGroup:
    """A group in the server's test project."""
    return TaskGroup(server.project, "the group", mode="online", provenance=False, **options)


def started(group: TaskGroup) -> None:
    """Waits until the group's tasks and parent are started, which happens within a quarter of a second."""
    assert group._run is not None
    group._run.backend.keep_alive()


def beat(group: TaskGroup) -> None:
    """Half a minute passes."""
    assert group._run is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "HEARTBEAT_S", 0.0)
        group._run.backend.keep_alive()


def change(server: View, task_id: str | None, how: str) -> None:
    """Does to a task what a person or another client does."""
    assert task_id is not None
    if how == "aborted":
        server.call("tasks.stop", task=task_id)
    elif how == "aborted with others":
        server.call("tasks.stop_many", ids=[task_id])
    elif how == "deleted":
        server.call("tasks.delete", task=task_id, force=True)
    elif how == "published":
        server.call("tasks.completed", task=task_id, force=True)
        server.call("tasks.publish", task=task_id, force=True)
    elif how == "reset":
        server.call("tasks.reset", task=task_id, force=True)
    elif how == "archived":  # which stops a running task
        server.call("tasks.archive_many", ids=[task_id])
    else:
        server.call(f"tasks.{how}", task=task_id, status_reason="by hand", force=True)


def there(server: View, task_id: str | None) -> tuple[str, str] | None:
    """A task's status and reason on the server; None if it is gone."""
    fields = ["status", "status_reason"]
    found = server.call("tasks.get_all", id=[task_id], only_fields=fields)["tasks"]
    return (str(found[0]["status"]), str(found[0].get("status_reason") or "")) if found else None


HOW = {  # what is done, and then: the task's status here, its reason here; the same on the server
    "aborted": ("stopped", "Stopped by", ("stopped", "")),
    "aborted with others": ("stopped", "Stopped by", ("stopped", "")),
    "stopped": ("stopped", "by hand", ("stopped", "by hand")),
    "failed": ("failed", "by hand", ("failed", "by hand")),
    "completed": ("completed", "by hand", ("completed", "by hand")),
    "published": ("completed", "", ("published", "")),
    "deleted": ("stopped", "deleted from the server", None),
    "reset": ("stopped", "reset on the server", ("created", "reset")),
    "archived": ("stopped", "", ("stopped", "")),
}


@pytest.mark.quick(4)
@pytest.mark.parametrize("how", HOW)
def test_a_task_that_somebody_ends_stops_at_its_next_report(
    server: View, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its block swallows the error; status and reason stay; the others and the parent are completed."""
    reported = []
    with group_on(server) as group:
        for task in group.sweep({"seed": range(3)}):
            with task:
                for step in range(3):
                    if (task.params["seed"], step) == (1, 1):
                        group.flush()
                        started(group)
                        change(server, task.id, how)
                        beat(group)
                    task.report({"loss": 1.0}, step)
                    reported.append((task.params["seed"], step))
    assert reported == [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1), (2, 2)]
    ended, reason, on_server = HOW[how]
    first, aborted, last = group
    assert (aborted.status, first.status, last.status) == (ended, "completed", "completed")
    assert aborted.status_reason.startswith(reason)
    assert there(server, aborted.id) == on_server
    assert [there(server, one.id) for one in (first, last)] == [("completed", "")] * 2
    assert there(server, group.parent_id) == ("completed", "")
    if how not in ("deleted", "reset"):
        assert server.scalars(aborted.id, 1) == {("loss", "value"): [(0, 1.0)]}
    lines = [record.getMessage() for record in caplog.records if "somebody" in record.getMessage()]
    assert len(lines) == 1
    assert "'seed=1'" in lines[0]
    assert "TaskAbortedError" in lines[0]


@pytest.mark.parametrize("how", ["aborted", "stopped"])
def test_a_parent_that_somebody_stops_ends_the_run(server: View, how: str) -> None:
    """All open tasks end as stopped, the parent keeps its reason, and its page has the summary."""
    with group_on(server) as group:
        other = group.task({"other": 1})
        for task in group.sweep({"seed": range(3)}):
            with task:
                task.report({"loss": 1.0}, 0)
                if task.params["seed"] == 1:
                    started(group)
                    change(server, group.parent_id, how)
                    beat(group)
                task.report({"loss": 0.5}, 1)
    why = "by hand" if how == "stopped" else "Stopped by"
    assert [(str(one), one.status) for one in group] == [
        ("other=1", "stopped"),
        ("seed=0", "completed"),
        ("seed=1", "stopped"),
    ]
    assert f"the group 'the group' was stopped by somebody else ({why}" in other.status_reason
    assert there(server, group.parent_id) == ("stopped", "by hand" if how == "stopped" else "")
    for one in (other, group.get(seed=1)):
        assert there(server, one.id) == ("stopped", one.status_reason)
    summary = server.console(str(group.parent_id))
    assert "1 completed, 2 stopped" in summary


@pytest.mark.quick(2)
@pytest.mark.parametrize("how", ["deleted", "failed", "published", "reset", "completed"])
def test_anything_else_done_to_the_parent_ends_nothing(server: View, how: str) -> None:
    with group_on(server) as group, group.task({"seed": 0}) as task:
        started(group)
        change(server, group.parent_id, how)
        beat(group)
        task.report({"loss": 1.0}, 0)
    assert there(server, task.id) == ("completed", "")


def test_several_at_once_and_one_call(loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A heartbeat is one call for all tasks and the parent; of more than a page, one for each page."""
    monkeypatch.setattr("clearml_taskgroup._clearml.queries.MAX_PAGE_TASKS", 5)
    with TaskGroup("the project", "the group", mode="online", provenance=False) as group:
        tasks = group.tasks({"seed": range(9)})
        ended = group.task({"ended": 1})
        ended.close()
        with loopback.state.lock:
            for task in (tasks[0], tasks[8]):
                loopback.state.tasks[task.id].update(status="stopped", status_reason="by hand")
        loopback.reset_counts()
        beat(group)
        asked = [call.body["id"] for call in loopback.calls if call.endpoint == "tasks.get_all"]
        assert sorted(one for page in asked for one in page) == sorted(
            [str(group.parent_id), *(task.id for task in tasks)]
        )
        assert len(asked) == 2
        assert loopback.count() == 2
    assert [task.status for task in tasks] == ["stopped", *["completed"] * 7, "stopped"]


def test_statuses_are_not_read_before_the_time(loopback: LoopbackServer) -> None:
    """The sender calls `keep_alive` several times a second."""
    with TaskGroup("the project", "the group", mode="online", provenance=False) as group:
        group.task({"seed": 0}).report({"loss": 1.0}, 0)
        group.flush()
        loopback.reset_counts()
        assert group._run is not None
        for _ in range(3):
            group._run.backend.keep_alive()
        assert loopback.count("tasks.get_all") == 0


def test_a_missing_task_is_asked_for_again(loopback: LoopbackServer) -> None:
    """An answer without some tasks, such as a proxy's, does not end them."""
    with TaskGroup("the project", "the group", mode="online", provenance=False) as group:
        task = group.task({"seed": 0})
        body = b'{"meta": {"result_code": 200}, "data": {"tasks": []}}'
        loopback.faults.fail_next("tasks.get_all", status=200, times=1, body=body)
        beat(group)
        task.report({"loss": 1.0}, 0)
    assert task.status == "completed"


@pytest.mark.quick(1)
@pytest.mark.parametrize("status", [400, 500, 502])
def test_a_heartbeat_that_fails_ends_nothing(loopback: LoopbackServer, status: int) -> None:
    with TaskGroup("the project", "the group", mode="online", provenance=False) as group:
        task = group.task({"seed": 0})
        loopback.faults.fail_next("tasks.get_all", status=status, times=1)
        beat(group)
        task.report({"loss": 1.0}, 0)
    assert task.status == "completed"


# --- the watchdog --------------------------------------------------------------------------------


def test_a_long_outage_ends_nothing(loopback: LoopbackServer, caplog: pytest.LogCaptureFixture) -> None:
    """The watchdog stops all tasks while the server cannot be reached: they go on and are completed."""
    with TaskGroup("the project", "the group", mode="online", provenance=False) as group:
        idle = group.task({"idle": 1})
        for task in group.sweep({"seed": range(2)}):
            with task:
                task.report({"loss": 1.0}, 0)
                if task.params["seed"] == 0:
                    group.flush()
                    beat(group)
                    loopback.faults.outage = True
                    task.report({"loss": 1.0}, 1)
                    beat(group)
                    stopped = loopback.run_watchdog(loopback.state.now() + timedelta(hours=3))
                    assert set(stopped) == {group.parent_id, idle.id, task.id}
                    beat(group)
                    loopback.faults.outage = False
                    beat(group)
                    assert group._run is not None
                    group._run.backend.keep_alive()
                    assert {loopback.task(one)["status"] for one in stopped} == {"in_progress"}
                task.report({"loss": 1.0}, 2)
    assert [one.status for one in group] == ["completed"] * 3
    assert {doc["status"] for doc in loopback.tasks.values()} == {"completed"}
    assert loopback.scalars(group.get(seed=0).id) == {("loss", "value"): [(0, 1.0), (1, 1.0), (2, 1.0)]}
    assert not [record for record in caplog.records if "somebody" in record.getMessage()]


def test_a_task_that_has_just_ended_is_not_started_again(loopback: LoopbackServer) -> None:
    """Its end overtakes the heartbeat that has found it stopped by the watchdog."""
    with TaskGroup("the project", "the group", mode="online", provenance=False) as group:
        task = group.task({"seed": 0})
        backend: Any = group._run and group._run.backend
        backend.keep_alive()
        loopback.run_watchdog(loopback.state.now() + timedelta(hours=3))
        look = backend.open_tasks._look

        def end_meanwhile(*args: Any) -> Any:
            found = look(*args)
            task.close()
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(backend.open_tasks), "_look", lambda self, on: end_meanwhile(on))
            beat(group)
        backend.keep_alive()
        assert loopback.task(task.id)["status"] == "completed"
    assert loopback.task(str(group.parent_id))["status"] == "completed"


def test_an_abort_after_the_watchdog_counts(loopback: LoopbackServer) -> None:
    with TaskGroup("the project", "the group", mode="online", provenance=False) as group:
        with group.task({"seed": 0}) as task:
            started(group)
            loopback.run_watchdog(loopback.state.now() + timedelta(hours=3))
            with loopback.state.lock:
                loopback.state.tasks[task.id].update(status_reason="by hand", last_changed_by="jane")
            beat(group)
            task.report({"loss": 1.0}, 0)
            pytest.fail("the block goes on")
    assert (task.status, task.status_reason) == ("stopped", "by hand")


# --- what this process does itself ---------------------------------------------------------------


@pytest.mark.parametrize("status", ["stopped", "failed", "completed"])
def test_ones_own_end_is_no_abort(server: View, status: str) -> None:
    """Neither a status by hand in the script, nor one that is stored late."""
    with group_on(server) as group:
        task = group.task({"seed": 0})
        getattr(task, f"mark_{status}")()
        beat(group)
        other = group.task({"seed": 1})
        beat(group)
        other.report({"loss": 1.0}, 0)
    assert (task.status, other.status) == (status, "completed")
    assert task._state.aborted is None


def test_an_abandoned_task_goes_on(loopback: LoopbackServer) -> None:
    """What another process of this library has stopped as abandoned is no abort by a person."""
    from clearml_taskgroup._model.status import ABANDONED

    with TaskGroup("the project", "the group", mode="online", provenance=False) as group:
        task = group.task({"seed": 0})
        group.flush()
        with loopback.state.lock:
            loopback.state.tasks[task.id].update(status="stopped", status_reason=ABANDONED)
        beat(group)
        task.report({"loss": 1.0}, 0)
    assert task.status == "completed"


def test_the_latest_change_is_adopted(server: View) -> None:
    """Somebody aborts a task and then publishes what it has."""
    with group_on(server) as group, group.task({"seed": 0}) as task:
        task.report({"loss": 1.0}, 0)
        group.flush()
        started(group)
        change(server, task.id, "stopped")
        beat(group)
        server.call("tasks.publish", task=task.id, force=True)
        task.report({"loss": 1.0}, 1)
    assert task.status == "completed"
    assert there(server, task.id) == ("published", "")


def test_a_nested_groups_parent(server: View) -> None:
    """The outer group's heartbeat finds it, and the inner group's tasks stop as well."""
    with group_on(server) as outer:
        with (
            outer.task({"fold": 0}) as fold,
            TaskGroup(server.project, "inner", mode="online", provenance=False) as inner,
        ):
            for task in inner.sweep({"seed": range(2)}):
                with task:
                    started(outer)
                    change(server, outer.parent_id, "stopped")
                    beat(inner)
                    task.report({"loss": 1.0}, 0)
                    beat(outer)
                    task.report({"loss": 1.0}, 1)
        pytest.fail("the outer block goes on")
    (only,) = inner
    assert [there(server, one.id) for one in (only, fold)] == [
        ("stopped", "the group 'the group' was stopped by somebody else (by hand)")
    ] * 2
    assert there(server, outer.parent_id) == ("stopped", "by hand")


# --- map -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [False, True])
def test_map_goes_on_after_an_abort(server: View, threads: bool) -> None:
    """The configuration is stopped, and its `Mapped` has the error; with its own block or without."""

    def train(task: GroupTask) -> float:
        if task.params["seed"] == 3:
            with task:
                return step(task)
        return step(task)

    def step(task: GroupTask) -> float:
        task.report({"loss": 1.0}, 0)
        if task.params["seed"] in (1, 3):
            group.flush()
            started(group)
            change(server, task.id, "stopped")
            beat(group)
        task.report({"loss": 1.0}, 1)
        return 1.0

    with group_on(server) as group, ThreadPoolExecutor(1) as pool:
        mapped = group.map(train, {"seed": range(5)}, executor=pool if threads else None)
    assert [one.task.status for one in mapped] == [
        "completed",
        "stopped",
        "completed",
        "stopped",
        "completed",
    ]
    assert [one.value for one in mapped] == [1.0, None, 1.0, None, 1.0]
    assert [type(one.error) for one in mapped] == [
        type(None),
        TaskAbortedError,
        type(None),
        TaskAbortedError,
        type(None),
    ]
    assert not group.failures
    assert there(server, mapped[1].task.id) == ("stopped", "by hand")


@pytest.mark.parametrize("threads", [False, True])
def test_map_ends_with_the_parent(server: View, threads: bool) -> None:
    calls = []

    def train(task: GroupTask) -> None:
        calls.append(task.params["seed"])
        if task.params["seed"] == 1:
            started(group)
            change(server, group.parent_id, "stopped")
            beat(group)
        task.report({"loss": 1.0}, 1)

    with group_on(server) as group, ThreadPoolExecutor(1) as pool:
        group.map(train, {"seed": range(4)}, executor=pool if threads else None)
        pytest.fail("the block goes on")
    assert calls == [0, 1]
    assert {one.status for one in group if one.params["seed"] > 0} == {"stopped"}
    assert there(server, group.parent_id) == ("stopped", "by hand")


def test_nothing_is_left_to_set_for_an_aborted_task(loopback: LoopbackServer) -> None:
    """Its status is on the server: with the server away, its end is no error."""
    with TaskGroup("the project", "the group", mode="online", provenance=False) as group:
        with group.task({"seed": 0}) as task:
            started(group)
            with loopback.state.lock:
                loopback.state.tasks[task.id].update(status="stopped", status_reason="by hand")
            beat(group)
            backend: Any = group._run and group._run.backend
            loopback.faults.outage = True
            assert backend.finish([Ending(task.id, "stopped", "by hand")], 0.0) == {}
            loopback.faults.outage = False


def test_map_in_workers_on_a_server(loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The heartbeat of the process that opened the group reaches the worker."""
    monkeypatch.setattr(limits, "HEARTBEAT_S", 0.1)
    mark = Path(os.environ["CLEARML_CACHE_DIR"], "running")

    def somebody() -> None:
        deadline = time.monotonic() + 20
        while not mark.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        task_id = group.get(seed=1).id
        with Client(loopback) as client:
            client.call("tasks.stop", task=task_id)

    thread = threading.Thread(target=somebody)
    thread.start()
    with TaskGroup("the project", "the group", mode="online", provenance=False) as group:
        mapped = group.map(worker_functions.report_until_aborted, {"seed": range(3)}, workers=1)
    thread.join()
    assert [one.task.status for one in mapped] == ["completed", "stopped", "completed"]
    assert isinstance(mapped[1].error, TaskAbortedError)
    assert loopback.task(mapped[1].task.id)["status_message"].startswith("Stopped by")
