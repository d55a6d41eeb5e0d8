"""What is noted of tasks, and stored on a server in between."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from clearml_taskgroup._clearml.api_errors import Refused, Unreachable
from clearml_taskgroup._storage import annotations as module
from clearml_taskgroup._storage.annotations import Annotations

SENT = list[tuple[str, dict[str, str], dict[str, str], float]]


@pytest.fixture
def errors() -> dict[str, Exception]:
    """What storing with a task raises, by its id."""
    return {}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, errors: dict[str, Exception]) -> SENT:
    """What a server was given."""
    found: SENT = []

    def annotate(
        _: Any, task_id: str, section: dict[str, str], runtime: dict[str, str], timeout: float
    ) -> None:
        if task_id in errors:
            raise errors[task_id]
        found.append((task_id, section, runtime, timeout))

    monkeypatch.setattr(module, "annotate_task", annotate)
    return found


@pytest.fixture
def noted() -> Annotations:
    transport: Any = None
    return Annotations(transport)


def test_entries_are_gathered_and_sent_once(noted: Annotations, sent: SENT) -> None:
    noted.add("a", {"names": "1"}, {})
    noted.add("a", {"names": "2"}, {"series": "3"})
    assert noted.store()
    assert noted.store()
    assert sent == [("a", {"names": "2"}, {"series": "3"}, 0.0)]


def test_tasks_that_end_are_stored_alone_and_with_their_time(noted: Annotations, sent: SENT) -> None:
    for task_id in ("a", "b"):
        noted.add(task_id, {}, {"series": task_id})
    assert noted.store(["a", "without any"], 7.0)
    assert sent == [("a", {}, {"series": "a"}, 7.0)]
    assert noted.store()
    assert [task_id for task_id, *_ in sent] == ["a", "b"]


def test_what_an_outage_keeps_back_is_sent_later(
    noted: Annotations, sent: SENT, errors: dict[str, Exception]
) -> None:
    errors["a"] = Unreachable("away")
    for task_id in ("a", "b"):
        noted.add(task_id, {"names": task_id}, {})
    assert not noted.store()
    assert [task_id for task_id, *_ in sent] == ["b"]
    assert noted.store(["b"])  # nothing is left of that one
    errors.clear()
    assert noted.store()
    assert [task_id for task_id, *_ in sent] == ["b", "a"]


def test_what_a_server_refuses_is_not_sent_again(
    noted: Annotations, sent: SENT, errors: dict[str, Exception], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="clearml_taskgroup")
    errors["a"] = Refused("deleted", 400)
    noted.add("a", {"names": "1"}, {})
    assert noted.store()
    errors.clear()
    assert noted.store()
    assert sent == []
    assert "deleted" in caplog.text
