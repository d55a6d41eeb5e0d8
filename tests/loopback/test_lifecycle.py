"""The state machine, queues, workers and the watchdog."""

from __future__ import annotations

from datetime import timedelta

import pytest

from .client import Client, Refused, scalar
from .server import LoopbackServer
from .state import moment

WAYS: dict[str, tuple[str, ...]] = {
    "created": (),
    "queued": ("enqueue",),
    "in_progress": ("started",),
    "stopped": ("started", "stopped"),
    "closed": ("started", "stopped", "close"),
    "failed": ("started", "failed"),
    "completed": ("started", "completed"),
    "published": ("started", "completed", "publish"),
}
"""How a task gets into each status."""

ALLOWED: dict[str, set[str]] = {
    "started": {"created", "queued", "in_progress", "stopped", "completed"},
    "completed": {"in_progress", "stopped", "completed"},
    "failed": {"in_progress", "stopped", "closed", "failed"},
    "stopped": {"queued", "in_progress", "closed", "failed", "stopped"},
    "close": {"stopped", "closed"},
    "enqueue": {"created", "stopped", "failed"},
    "publish": {"stopped", "closed", "failed", "completed"},
    "reset": set(WAYS) - {"published"},
}
"""Whence each call may come without force. Saying again what is so, is allowed."""

RESULTS = {
    "started": "in_progress",
    "completed": "completed",
    "failed": "failed",
    "stopped": "stopped",
    "close": "closed",
    "enqueue": "queued",
    "publish": "published",
    "reset": "created",
}


def put(api: Client, status: str) -> str:
    """A task in a status."""
    task = api.task()
    api.move(task, *WAYS[status])
    return task


@pytest.mark.parametrize("call", list(ALLOWED))
@pytest.mark.parametrize("status", list(WAYS))
def test_the_state_machine(api: Client, server: LoopbackServer, status: str, call: str) -> None:
    """Each call is allowed from just those statuses that the real server allows."""
    task = put(api, status)
    assert server.task(task)["status"] == status
    reply = api.reply(f"tasks.{call}", task=task)
    if status in ALLOWED[call]:
        assert reply.data["fields"]["status"] == RESULTS[call]
        assert server.task(task)["status"] == RESULTS[call]
    else:
        assert reply.code == (400, 110)
        assert server.task(task)["status"] == status


def test_force_goes_anywhere(api: Client, server: LoopbackServer) -> None:
    """With force a failed task is started again, and a published one reset."""
    failed, published = put(api, "failed"), put(api, "published")
    assert api.call("tasks.started", task=failed, force=True)["started"] == 1
    assert api.call("tasks.reset", task=published, force=True)["updated"] == 1
    assert server.task(published)["status"] == "created"


def test_reason_and_message_are_kept(api: Client, server: LoopbackServer) -> None:
    """What a status call says is what the task says afterwards."""
    task = put(api, "in_progress")
    api.call("tasks.failed", task=task, status_reason="out of memory", status_message="at 3")
    found = server.task(task)
    assert (found["status_reason"], found["status_message"]) == ("out of memory", "at 3")


def test_a_second_start_keeps_data_and_begins_anew(api: Client, server: LoopbackServer) -> None:
    """A completed task that is started again keeps its events; its dates are those of the new start."""
    task = put(api, "in_progress")
    api.batch("events.add_batch", [scalar(task, 1.0, 3)])
    first = server.task(task)["started"]
    api.move(task, "started")
    assert server.task(task)["started"] == first
    api.move(task, "completed")
    server.state.clock_offset = 60.0
    api.move(task, "started")
    assert server.task(task)["started"] > first
    assert "completed" not in server.task(task)
    assert server.scalars(task) == {("loss", "train"): [(3, 1.0)]}


@pytest.mark.parametrize("call", ["archive", "archive_many"])
def test_a_running_task_that_is_archived_is_stopped(api: Client, server: LoopbackServer, call: str) -> None:
    task = put(api, "in_progress")
    api.call(f"tasks.{call}", **{"tasks" if call == "archive" else "ids": [task]})
    assert (server.task(task)["status"], server.task(task)["system_tags"]) == ("stopped", ["archived"])


def test_a_failed_task_has_an_end(api: Client, server: LoopbackServer) -> None:
    task = put(api, "in_progress")
    api.move(task, "failed")
    assert server.task(task)["completed"]


def test_completion_may_publish(api: Client, server: LoopbackServer) -> None:
    """Completing with publish locks the task in the same call."""
    task = put(api, "in_progress")
    assert api.call("tasks.completed", task=task, publish=True)["fields"]["status"] == "published"
    assert server.task(task)["status"] == "published"


def test_stop_asks_a_worker_and_stops_all_others(api: Client, server: LoopbackServer) -> None:
    """A task that a worker runs is told to stop; any other is stopped at once."""
    own, remote = put(api, "in_progress"), put(api, "in_progress")
    api.call("workers.status_report", worker="w1", timestamp=1, task=remote)
    api.call("tasks.stop", task=own)
    api.call("tasks.stop", task=remote)
    assert server.task(own)["status"] == "stopped"
    assert server.task(own)["status_message"] == "Stopped by Loopback User"
    assert server.task(remote)["status"] == "in_progress"
    assert server.task(remote)["status_message"] == "stopping"


def test_the_archive_is_a_tag(api: Client, server: LoopbackServer) -> None:
    """Archived tasks are marked, and come back from queries."""
    task = put(api, "completed")
    assert api.call("tasks.archive", tasks=[task], status_reason="old") == {"archived": 1}
    assert server.task(task)["system_tags"] == ["archived"]
    assert api.find(id=[task]) == ["task"]
    assert api.find(system_tags=["-archived"]) == []


def test_the_watchdog_stops_silent_tasks(api: Client, server: LoopbackServer) -> None:
    """After 7,200 seconds without a sign of life a running task is stopped, and no other."""
    running, waiting = put(api, "in_progress"), put(api, "created")
    last = moment(server.task(running)["last_update"])
    assert server.run_watchdog(last + timedelta(seconds=7_200)) == []
    assert server.run_watchdog(last + timedelta(seconds=7_201)) == [running]
    found = server.task(running)
    assert (found["status"], found["status_reason"]) == ("stopped", "Forced stop (non-responsive)")
    assert (found["status_message"], found["last_changed_by"]) == (found["status_reason"], "__apiserver__")
    assert server.task(waiting)["status"] == "created"


@pytest.mark.parametrize("sign", ["event", "ping", "edit", "report"])
def test_any_sign_of_life_holds_the_watchdog_off(api: Client, server: LoopbackServer, sign: str) -> None:
    """An event, a ping, an edit or a worker's report is enough to stay running."""
    task = put(api, "in_progress")
    server.state.clock_offset = 7_000.0
    if sign == "event":
        api.batch("events.add_batch", [scalar(task, 1.0)])
    elif sign == "ping":
        api.call("tasks.ping", task=task)
    elif sign == "edit":
        api.call("tasks.edit", task=task, runtime={"alive": "1"}, force=True)
    else:
        api.call("workers.status_report", worker="w1", timestamp=1, task=task)
    server.state.clock_offset = 7_300.0
    assert server.run_watchdog() == []


def test_a_rename_is_no_sign_of_life(api: Client, server: LoopbackServer) -> None:
    """What a person changes from outside says nothing of the process."""
    task = put(api, "in_progress")
    server.state.clock_offset = 7_000.0
    api.call("tasks.update", task=task, name="renamed")
    server.state.clock_offset = 7_300.0
    assert server.run_watchdog() == [task]


def test_a_late_event_still_counts(api: Client, server: LoopbackServer) -> None:
    """After the watchdog, events and completion still work."""
    task = put(api, "in_progress")
    server.state.clock_offset = 8_000.0
    assert server.run_watchdog() == [task]
    assert api.batch("events.add_batch", [scalar(task, 1.0)])["added"] == 1
    api.call("tasks.completed", task=task)
    assert server.task(task)["status"] == "completed"


def test_a_ping_of_an_unknown_task_is_no_error(api: Client) -> None:
    assert api.call("tasks.ping", task="nope") == {}


def test_a_queue_keeps_tasks_in_order(api: Client) -> None:
    queue = api.call("queues.create", name="gpu")["id"]
    tasks = [api.task(name) for name in ("first", "second")]
    for task in tasks:
        answer = api.call("tasks.enqueue", task=task, queue=queue)
        assert answer["fields"]["execution.queue"] == queue
    assert api.call("queues.get_num_entries", queue=queue)["num"] == 2
    entries = api.call("queues.get_by_id", queue=queue)["queue"]["entries"]
    assert [entry["task"] for entry in entries] == tasks


def test_the_default_queue_is_used_without_a_name(api: Client) -> None:
    """A task without a queue goes where the server sends it."""
    task = api.task()
    default = api.call("queues.get_default")["id"]
    api.call("tasks.enqueue", task=task)
    entries = api.call("queues.get_by_id", queue=default)["queue"]["entries"]
    assert [entry["task"] for entry in entries] == [task]


def test_a_queue_can_be_named_and_is_made(api: Client, server: LoopbackServer) -> None:
    """Naming a queue that does not exist makes it."""
    api.call("tasks.enqueue", task=api.task(), queue_name="fresh")
    assert [queue["name"] for queue in server.queues.values()] == ["default", "fresh"]


def test_enqueueing_ends_development(api: Client, server: LoopbackServer) -> None:
    """A queued task is no longer one that runs on a desk."""
    task = api.task(system_tags=["development"])
    api.call("tasks.enqueue", task=task)
    assert server.task(task)["system_tags"] == []


def test_dequeueing_brings_the_old_status_back(api: Client, server: LoopbackServer) -> None:
    """A task that was failed is failed again; one that does not wait is refused."""
    task = put(api, "failed")
    api.call("tasks.enqueue", task=task)
    assert api.call("tasks.dequeue", task=task)["dequeued"] == 1
    assert server.task(task)["status"] == "failed"
    with pytest.raises(Refused, match="expected=queued"):
        api.call("tasks.dequeue", task=task)


def test_many_tasks_are_enqueued_at_once(api: Client) -> None:
    """The bulk form reports on each task."""
    new, done = api.task("new"), put(api, "completed")
    answer = api.call("tasks.enqueue_many", ids=[new, done])
    assert [item["id"] for item in answer["succeeded"]] == [new]
    assert [item["id"] for item in answer["failed"]] == [done]


def test_queues_are_managed(api: Client) -> None:
    """Queues are found, renamed, filled, emptied and removed."""
    queue = api.call("queues.create", name="cpu")["id"]
    task = api.task()
    api.call("queues.update", queue=queue, name="renamed", tags=["t"])
    assert [q["id"] for q in api.call("queues.get_all", name="renamed")["queues"]] == [queue]
    assert api.call("queues.add_task", queue=queue, task=task)["added"] == 1
    assert api.reply("queues.add_task", queue=queue, task=task).code == (400, 706)
    assert api.reply("queues.delete", queue=queue).code == (400, 702)
    assert api.call("queues.remove_task", queue=queue, task=task)["removed"] == 1
    assert api.reply("queues.remove_task", queue=queue, task=task).code == (400, 703)
    assert api.call("queues.delete", queue=queue) == {"deleted": 1}
    assert api.reply("queues.get_by_id", queue=queue).code == (400, 701)


def test_deleting_a_queue_frees_its_tasks(api: Client, server: LoopbackServer) -> None:
    """The tasks in a queue that is removed by force get their old status back."""
    task = api.task()
    api.call("tasks.enqueue", task=task, queue_name="doomed")
    (queue,) = (q["id"] for q in server.queues.values() if q["name"] == "doomed")
    api.call("queues.delete", queue=queue, force=True)
    assert server.task(task)["status"] == "created"


def test_workers_come_and_go(api: Client) -> None:
    queue = api.call("queues.create", name="gpu")["id"]
    api.call("workers.register", worker="host:0", queues=[queue], timeout=60)
    task = put(api, "in_progress")
    stats = {"disk_free_home": 77.2}
    api.call("workers.status_report", worker="host:0", timestamp=1, task=task, machine_stats=stats)
    (worker,) = api.call("workers.get_all")["workers"]
    assert worker["queues"] == [{"id": queue, "name": "gpu"}]
    assert worker["task"]["id"] == task
    other = api.task("watched")
    answer = api.call("tasks.enqueue", task=other, queue=queue, verify_watched_queue=True)
    assert answer["queue_watched"] is True
    api.call("workers.unregister", worker="host:0")
    assert api.reply("workers.unregister", worker="host:0").code == (400, 1001)
    assert api.reply("workers.register", worker="host:0", timeout=0).code == (400, 1002)
