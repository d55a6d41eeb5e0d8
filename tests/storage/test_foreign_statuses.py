"""Final statuses that somebody else has given a run's tasks."""

from __future__ import annotations

from typing import Any

import pytest

from clearml_taskgroup._clearml.tasks import DELETED
from clearml_taskgroup._model.specs import Ending, ForeignStatus
from clearml_taskgroup._storage import foreign_statuses as module
from clearml_taskgroup._storage.foreign_statuses import ForeignStatuses

FAILED = ForeignStatus("failed", "by hand", "failed")


class Server:
    """Answers with the documents of tasks, and notes how many it was asked for, and for how long."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[int, float]] = []
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def status_documents(self, _: Any, ids: list[str], timeout: float) -> dict[str, dict[str, Any]]:
        self.asked.append((len(ids), timeout))
        self.now += 4.0
        return {task_id: self.documents[task_id] for task_id in ids if task_id in self.documents}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    monkeypatch.setattr(module, "status_documents", found.status_documents)
    monkeypatch.setattr(module, "time", found)
    return found


@pytest.fixture
def statuses() -> ForeignStatuses:
    transport: Any = None
    return ForeignStatuses(transport, lambda task_id, status: f"{task_id} ({status})")


def document(status: str, *tags: str) -> dict[str, Any]:
    return {"status": status, "status_reason": "", "system_tags": list(tags)}


def test_what_others_did_is_adopted_and_logged_once(
    statuses: ForeignStatuses, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.documents = {"a": document("failed"), "b": document("in_progress")}
    endings = [Ending("a", "completed"), Ending("b", "completed"), Ending("c", "completed")]
    for _ in range(2):
        statuses.look_up(endings, 60.0)
    assert {task_id: status.word for task_id, status in statuses.adopted.items()} == {"a": "failed"}
    assert [record.getMessage() for record in caplog.records] == [
        "somebody else has changed on the server, and it stays so: a (failed)"
    ]


def test_a_missing_task_is_deleted_once_the_others_have_ended(
    statuses: ForeignStatuses, server: Server
) -> None:
    """Before that, the attempt to end it shows it."""
    server.documents = {"a": document("completed")}
    endings = [Ending("a", "completed"), Ending("b", "completed")]
    statuses.look_up(endings, 60.0)
    assert statuses.adopted == {}
    statuses.look_up(endings, 60.0, ended=True)
    assert statuses.adopted == {"b": DELETED}


def test_archived_is_what_the_latest_look_says(statuses: ForeignStatuses, server: Server) -> None:
    server.documents = {name: document("completed", "archived") for name in ("a", "b")}
    statuses.look_up([Ending("a", "completed"), Ending("b", "completed")], 60.0)
    assert statuses.archived == {"a", "b"}
    server.documents["a"] = {"status": "completed", "system_tags": None}
    statuses.look_up([Ending("a", "completed")], 60.0)
    assert statuses.archived == {"b"}


def test_the_calls_share_one_time_limit(statuses: ForeignStatuses, server: Server) -> None:
    statuses.look_up([Ending(str(number), "completed") for number in range(1001)], 6.0)
    assert server.asked == [(500, 6.0), (500, 2.0), (1, 0.0)]


def test_the_log_line_says_what_follows(statuses: ForeignStatuses, caplog: pytest.LogCaptureFixture) -> None:
    statuses.adopt({"a": FAILED}, "the run goes on")
    statuses.adopt({"a": FAILED}, "the run goes on")
    statuses.adopt({"a": DELETED})
    assert [record.getMessage().partition("stays so: ")[2] for record in caplog.records] == [
        "a (failed: by hand); the run goes on",
        f"a ({DELETED})",
    ]


def test_a_task_that_was_started_again_is_forgotten(statuses: ForeignStatuses) -> None:
    statuses.adopt({"a": FAILED, "b": FAILED})
    statuses.forget(["a", "unknown"])
    assert statuses.adopted == {"b": FAILED}
