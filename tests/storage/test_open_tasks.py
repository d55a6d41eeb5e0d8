"""Heartbeats: which tasks are pinged, and what is found of those that somebody else has ended."""

from __future__ import annotations

from typing import Any

import pytest

from clearml_taskgroup._clearml.api_errors import Unreachable
from clearml_taskgroup._clearml.tasks import DELETED, WATCHDOG_REASON
from clearml_taskgroup._model import limits
from clearml_taskgroup._model.specs import ForeignStatus
from clearml_taskgroup._storage import open_tasks as module
from clearml_taskgroup._storage.open_tasks import OpenTasks

Found = list[dict[str, ForeignStatus]]


class Server:
    """A server with tasks, and the clock of the process that asks it.

    Attributes:
        documents: What it answers; a task that it leaves out may be `deleted`.
        pings: The ids that it was pinged with.
        asked: The ids that it was asked for, in each call.
    """

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        self.deleted: set[str] = set()
        self.pings: list[str] = []
        self.asked: list[list[str]] = []
        self.error: Exception | None = None
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def ping_task(self, _: Any, task_id: str) -> None:
        self.pings.append(task_id)

    def is_deleted(self, _: Any, task_id: str) -> bool:
        return task_id in self.deleted

    def status_documents(self, _: Any, ids: list[str], *times: float) -> dict[str, dict[str, Any]]:
        self.asked.append(list(ids))
        if self.error is not None:
            raise self.error
        return {task_id: self.documents[task_id] for task_id in ids if task_id in self.documents}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    for name in ("ping_task", "is_deleted", "status_documents"):
        monkeypatch.setattr(module, name, getattr(found, name))
    monkeypatch.setattr(module, "time", found)
    for name, seconds in {"PING_AFTER_S": 100.0, "PARENT_PING_AFTER_S": 40.0, "HEARTBEAT_S": 10.0}.items():
        monkeypatch.setattr(limits, name, seconds)
    return found


@pytest.fixture
def tasks(server: Server) -> OpenTasks:
    transport: Any = None
    return OpenTasks(transport, last_look=0.0)


def pinged(tasks: OpenTasks, server: Server, at: float) -> list[str]:
    """The tasks that the heartbeat of a moment pings."""
    server.now, server.pings = at, []
    assert tasks.beat() == []
    return sorted(server.pings)


def test_silent_tasks_are_pinged_and_the_parent_more_often(tasks: OpenTasks, server: Server) -> None:
    tasks.parent = "parent"
    tasks.add(["parent", "a", "b"])
    assert pinged(tasks, server, 39.9) == []
    assert pinged(tasks, server, 40.0) == ["parent"]
    server.now = 50.0
    tasks.reported(["a", "of another process"])
    assert pinged(tasks, server, 100.0) == ["b", "parent"]
    assert pinged(tasks, server, 149.0) == ["parent"]
    assert pinged(tasks, server, 150.0) == ["a"]
    assert "of another process" not in tasks
    tasks.remove(["b", "unknown"])
    assert ("a" in tasks, "b" in tasks) == (True, False)
    assert pinged(tasks, server, 500.0) == ["a", "parent"]


def test_a_parent_is_not_silent_for_longer_than_others(
    tasks: OpenTasks, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PING_AFTER_S", 5.0)
    tasks.parent = "parent"
    tasks.add(["parent"])
    assert pinged(tasks, server, 5.0) == ["parent"]


def test_a_child_process_pings_nothing_and_tells_nobody(tasks: OpenTasks, server: Server) -> None:
    tasks.add(["a"])
    tasks.on_foreign_status = lambda found: pytest.fail("in a child")
    tasks.after_fork()
    assert pinged(tasks, server, 1000.0) == []
    assert server.asked == []


def test_statuses_of_open_and_watched_tasks_are_read_in_each_heartbeat(
    tasks: OpenTasks, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="clearml_taskgroup")
    found: Found = []
    tasks.add(["open", "failed", "idle", "gone", "hidden"])
    tasks.watched = ["elsewhere", "open", "idle elsewhere"]
    watchdog = {"status": "stopped", "status_reason": WATCHDOG_REASON}
    server.documents = {
        "open": {"status": "in_progress"},
        "failed": {"status": "failed", "status_reason": "by hand"},
        "elsewhere": {"status": "completed"},
        "idle": watchdog,
        "idle elsewhere": watchdog,
    }
    server.deleted = {"gone"}
    server.now = 20.0
    assert tasks.beat() == []  # nobody wants to know
    tasks.on_foreign_status = lambda statuses: found.append(dict(statuses))
    server.now = 30.0
    assert tasks.beat() == ["idle"]
    assert server.asked == [["open", "failed", "idle", "gone", "hidden", "elsewhere", "idle elsewhere"]]
    (statuses,) = found
    assert {task_id: status.word for task_id, status in statuses.items()} == {
        "gone": DELETED.word,
        "failed": "failed",
        "elsewhere": "completed",
    }
    assert "the server has stopped 1 silent task of this process, which go on" in caplog.text
    server.now = 39.9
    assert tasks.beat() == []
    assert len(found) == 1
    server.now = 40.0
    tasks.beat()
    assert len(found) == 2


def test_nobody_is_told_of_nothing(
    tasks: OpenTasks, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Also while the server is away: the next heartbeat asks again."""
    caplog.set_level("INFO", logger="clearml_taskgroup")
    tasks.add(["a"])
    tasks.on_foreign_status = lambda found: pytest.fail("nothing was found")
    server.documents = {"a": {"status": "in_progress"}}
    for server.now, server.error in ((10.0, None), (20.0, Unreachable("away")), (30.0, None)):
        assert tasks.beat() == []
    assert len(server.asked) == 3
    assert caplog.records == []
