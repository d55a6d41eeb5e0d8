"""What a person does to tasks in the web page while a run is open, before an upload or before a resume."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml.sdk import cache_folder
from clearml_taskgroup._storage.past_runs import all_runs
from tests.loopback import LoopbackServer
from tests.loopback.faults import refusal
from tests.support.runs import kill
from tests.support.server_view import View

CHANGES = ["deleted", "failed", "stopped", "published", "reset", "archived"]
EXPECTED = {  # the status of a running task in this process, and on the server
    "deleted": ("stopped", None),
    "failed": ("failed", "failed"),
    "stopped": ("stopped", "stopped"),
    "published": ("completed", "published"),
    "reset": ("stopped", "created"),
    "archived": ("stopped", "stopped"),
}


def group_on(server: View, **options: Any) -> TaskGroup:
    """A group in the server's test project."""
    return TaskGroup(server.project, "the group", mode="online", provenance=False, **options)


def started(group: TaskGroup) -> None:
    """Waits until the group's tasks and parent are started, which happens within a quarter of a second."""
    assert group._run is not None
    group._run.backend.keep_alive()


def change(server: View, task_id: str | None, how: str) -> None:
    """Does to a task what a person does in the web page."""
    assert task_id is not None
    if how == "deleted":
        server.call("tasks.delete", task=task_id, force=True)
    elif how == "published":
        server.call("tasks.stopped", task=task_id, force=True)
        server.call("tasks.publish", task=task_id, force=True)
    elif how == "reset":
        server.call("tasks.reset", task=task_id, force=True)
    elif how == "archived":
        server.call("tasks.archive", tasks=[task_id])
    else:
        server.call(f"tasks.{how}", task=task_id, status_reason="by hand", force=True)


def status_there(server: View, task_id: str | None) -> str | None:
    """A task's status on the server; None if it is gone."""
    found = server.call("tasks.get_all", id=[task_id], only_fields=["status"])["tasks"]
    return str(found[0]["status"]) if found else None


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The log lines about changes by somebody else."""
    return [record.getMessage() for record in caplog.records if "somebody" in record.getMessage()]


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> None:
    """Log lines are kept."""
    caplog.set_level(logging.INFO, logger="clearml_taskgroup")


@pytest.mark.quick(6)
@pytest.mark.parametrize("when", ["before it reports", "before its end", "after its end"])
@pytest.mark.parametrize("how", CHANGES)
def test_a_members_status_is_adopted(
    server: View, how: str, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It stays as somebody has set it, the others and the parent's summary are complete."""
    with group_on(server) as group:
        task, other = group.tasks({"seed": range(2)})
        group.flush()
        started(group)
        if when == "before it reports":
            change(server, task.id, how)
        task.report({"accuracy": 1.0}, 0)
        other.report({"accuracy": 0.5}, 0)
        group.flush()
        if when == "before its end":
            change(server, task.id, how)
        task.close()
        if when == "after its end":
            change(server, task.id, how)
    is_too_late = how == "archived" and when == "after its end"
    local, there = ("completed", "completed") if is_too_late else EXPECTED[how]
    assert (task.status, status_there(server, task.id)) == (local, there)
    assert (other.status, status_there(server, other.id)) == ("completed", "completed")
    assert status_there(server, group.parent_id) == "completed"
    summary = server.console(str(group.parent_id))
    counted = "1 completed" if how == "archived" or local != "completed" else "2 completed"
    assert counted in summary
    assert f"best accuracy (max): seed={0 if how == 'published' else 1}" in summary
    told = {"published": when == "before it reports"}  # one point is lost
    assert len(lines(caplog)) == (told.get(how, True) and not is_too_late)
    if how in ("failed", "stopped"):
        assert task.status_reason == "by hand"
        assert "'seed=0'" in lines(caplog)[0]


@pytest.mark.quick(4)
@pytest.mark.parametrize("when", ["before a task", "before the end"])
@pytest.mark.parametrize("how", CHANGES)
def test_the_parents_status_is_adopted(
    server: View, how: str, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The run goes on, without a parent if it is gone, and nothing is raised."""
    with group_on(server) as group:
        first = group.task({"seed": 0})
        started(group)
        if when == "before a task":
            change(server, group.parent_id, how)
        with group.task({"seed": 1}) as second:
            second.report({"loss": 1.0}, 0)
        third = group.task({"seed": 2})
        if when == "before the end":
            change(server, group.parent_id, how)
    for task in (first, second, third):
        assert status_there(server, task.id) == "completed"
    assert status_there(server, group.parent_id) == EXPECTED[how][1]
    assert len(lines(caplog)) == 1
    assert [row.status for row in group.results()] == ["completed"] * 3


def test_a_deleted_parent_takes_no_parameters(server: View, caplog: pytest.LogCaptureFixture) -> None:
    """Parameters of a deleted parent or member are dropped, not an error in the script."""
    with group_on(server) as group:
        task = group.task({"seed": 0})
        change(server, group.parent_id, "deleted")
        change(server, task.id, "deleted")
        assert group._run is not None
        group._run.set_parent_parameters({"best": 1})
        task.set_parameters({"threads": 2})
    assert len(lines(caplog)) == 2


@pytest.mark.parametrize("ended", ["completed", "failed"])
def test_a_stop_by_the_watchdog_is_not_adopted(
    loopback: LoopbackServer, ended: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What the server stopped because it was silent ends with its own status."""
    with TaskGroup("the project", "the group", mode="online", provenance=False, catch=RuntimeError) as group:
        with group.task({"seed": 0}) as task:
            group.flush()
            with loopback.state.lock:
                doc = loopback.state.tasks[task.id]
                doc.update(status="in_progress", last_update="2000-01-01T00:00:00.000Z")
            assert task.id in loopback.run_watchdog()
            if ended == "failed":
                raise RuntimeError("no luck")
    assert (task.status, loopback.task(task.id)["status"]) == (ended, ended)
    assert lines(caplog) == []


def test_a_status_of_clearmls_own_object_is_adopted(server: View) -> None:
    """A script may fail a member through ClearML's task as well."""
    with group_on(server) as group, group.task({"seed": 0}) as task:
        task.clearml_task.mark_failed(status_reason="by ClearML", force=True)
    assert (task.status, task.status_reason) == ("failed", "by ClearML")
    assert status_there(server, task.id) == "failed"


@pytest.mark.parametrize("how", CHANGES)
def test_an_upload_adopts(loopback: LoopbackServer, how: str, caplog: pytest.LogCaptureFixture) -> None:
    """An upload of what an online run could not deliver leaves what somebody did meanwhile as it is."""
    group = TaskGroup("the project", "the group", mode="online", provenance=False).open()
    task = group.task({"seed": 0})
    group.flush()
    task.report({"loss": 1.0}, 0)
    view = View(group._run.backend.connection, "the project")  # type: ignore[union-attr]
    loopback.faults.fail_next("tasks.completed", status=404, times=2, body=refusal(404))
    with pytest.raises(ExceptionGroup):
        group.close(5)
    change(view, task.id, how)
    caplog.clear()
    assert TaskGroup.upload(str(group.run)).problems == ()
    assert status_there(view, task.id) == EXPECTED[how][1]
    assert len(lines(caplog)) == (how != "published")
    (past,) = all_runs(cache_folder() / "taskgroup")
    assert [one.status for one in past.tasks.values()] == [EXPECTED[how][0]]
    assert not past.is_pending


@pytest.mark.parametrize("how", ["deleted", "failed", "stopped"])
def test_an_interrupted_upload_of_an_offline_run_adopts(
    loopback: LoopbackServer, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What somebody does to an uploaded task is kept when the upload goes on."""
    with TaskGroup("the project", "the group", mode="offline", provenance=False) as group:
        for seed in range(2):
            group.task({"seed": seed}).report({"loss": 1.0}, 0)
    first = TaskGroup.upload(str(group.run))
    task = group.get(seed=0)
    view = View(loopback_connection(), "the project")
    change(view, first.ids[task.id], how)
    record = group.record_path
    assert record is not None
    kept = [line for line in record.read_text().splitlines() if '"uploaded"' not in line or how == "deleted"]
    record.write_text("".join(f"{line}\n" for line in kept))
    again = TaskGroup.upload(str(group.run))
    assert again.problems == ()
    assert status_there(view, first.ids[task.id]) == EXPECTED[how][1]
    assert len(loopback.tasks) == (2 if how == "deleted" else 3)
    assert len(lines(caplog)) == 1


def loopback_connection() -> Any:
    """A connection of the test's own."""
    from clearml_taskgroup._clearml import login

    return login.connect()


@pytest.mark.quick(2)
@pytest.mark.parametrize("how", CHANGES)
def test_a_resume_adopts(loopback: LoopbackServer, how: str) -> None:
    """What somebody has failed or stopped runs again, what was published is done."""
    group = TaskGroup("the project", "the group", mode="online", provenance=False).open()
    task = group.task({"seed": 0})
    group.flush()
    kill(group)
    view = View(loopback_connection(), "the project")
    change(view, task.id, how)
    with TaskGroup(
        "the project", "the group", mode="online", provenance=False, resume=True, takeover=True
    ) as again:
        (new,) = again.tasks({"seed": [0]})
        assert new.done == (how == "published")
        assert (new.id == task.id) == (how == "published")
    assert status_there(view, task.id) == EXPECTED[how][1]
    if how != "published":
        assert status_there(view, new.id) == "completed"


def test_a_continued_task_ends_with_its_own_status(loopback: LoopbackServer) -> None:
    """A task that somebody has failed is started again by `retry="continue"`, and ends by itself."""
    group = TaskGroup("the project", "the group", mode="online", provenance=False).open()
    task = group.task({"seed": 0})
    group.flush()
    task.close()
    view = View(loopback_connection(), "the project")
    kill(group)
    record = group.record_path
    assert record is not None
    record.write_text(record.read_text().replace('"settled": true', '"settled": false'))
    change(view, task.id, "stopped")
    options: dict[str, Any] = {"provenance": False, "resume": True, "retry": "continue", "takeover": True}
    with TaskGroup("the project", "the group", mode="online", **options) as again:
        (new,) = again.tasks({"seed": [0]})
        assert (new.id, new.done) == (task.id, False)
    assert status_there(view, task.id) == new.status == "completed"
