"""Earlier runs: how they and their tasks ended, and what of them is on no server yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup._model.past import PastRun, PastTask, latest_attempts
from clearml_taskgroup._model.status import ABANDONED


def task_of(task_id: str = "id", **options: Any) -> PastTask:
    known: dict[str, Any] = {"key": "key", "name": "C=1", "index": 2, "attempt": 1, "params": {}}
    return PastTask(id=task_id, **known | options)


def run_of(path: Path, *tasks: PastTask, **options: Any) -> PastRun:
    known: dict[str, Any] = {"run": "run", "number": 1, "template": "{metric}", "mode": "offline"}
    known |= {"group": "group", "project": "digits", "name": "sweep", "parent": None, "owns_parent": True}
    return PastRun(path=path / "run-0001.jsonl", tasks={task.id: task for task in tasks}, **known | options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ("stopped", ABANDONED)),
        ({"was_completed": True}, ("completed", "")),
        ({"status": "failed", "reason": "why"}, ("failed", "why")),
        ({"status": "failed", "reason": "why", "was_completed": True}, ("failed", "why")),
    ],
)
def test_how_a_task_ended(options: dict[str, Any], expected: tuple[str, str]) -> None:
    """Without a status its process died; what it had completed before counts then."""
    assert task_of(**options).final_status() == expected


def test_fields_of_a_task() -> None:
    assert task_of().template_fields("sweep") == {
        "group": "sweep",
        "task": "C=1",
        "key": "key",
        "index": "2",
        "task_id": "id",
    }


def test_the_latest_attempt_of_each_key() -> None:
    """Of two that are equal the one that comes last."""
    tasks = [task_of("a"), task_of("b", attempt=2), task_of("c", attempt=2), task_of("d")]
    other = task_of("e", key="other")
    run = run_of(Path(), *tasks, other)
    assert run.latest() == latest_attempts([*tasks, other]) == {"key": tasks[2], "other": other}


def test_the_script_of_a_task() -> None:
    """Another process may have opened it than the parent."""
    task = task_of(opener=("b", 1))
    run = run_of(Path(), task, scripts={("a", 1): {"script": "first"}, ("b", 1): {"script": "second"}})
    assert run.script_of("id") == {"script": "second"}
    assert run.script_of("parent") == {"script": "first"}
    assert run_of(Path(), task).script_of("id") is None
    assert run_of(Path(), task).script_of("parent") is None
    assert run.final_status() == ("stopped", ABANDONED)


@pytest.mark.parametrize(
    ("options", "delivered", "files", "expected"),
    [
        ({"mode": "offline"}, None, [], False),  # without tasks
        ({"mode": "offline"}, True, [], True),
        ({"mode": "offline", "uploaded": True}, True, [], False),
        ({"mode": "offline", "uploaded": True}, True, ["refused"], True),
        ({"mode": "offline", "uploaded": True}, True, ["files"], True),
        ({"mode": "online", "delivered": True}, True, [], False),
        ({"mode": "online", "delivered": True}, None, [], False),
        ({"mode": "online", "delivered": False}, True, [], True),
        ({"mode": "online", "delivered": True}, False, [], True),
        ({"mode": "online", "delivered": True}, True, ["outbox"], True),
        ({"mode": "online", "delivered": True, "uploaded": True}, False, ["outbox"], False),
    ],
)
def test_what_is_on_no_server_yet(
    options: dict[str, Any], delivered: bool | None, files: list[str], expected: bool, tmp_path: Path
) -> None:
    for name in files:
        (tmp_path / f"run-0001.{name}").touch()
    tasks = [] if delivered is None else [task_of("a", delivered=True), task_of("b", delivered=delivered)]
    run = run_of(tmp_path, *tasks, **options)
    assert run.is_pending is expected
    assert run.journal == tmp_path / "run-0001.upload"
