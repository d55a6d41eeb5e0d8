"""A shared run on a server without queues: of the tasks that are there, the first one counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from clearml_taskgroup._clearml import tasks as tasks_module
from clearml_taskgroup._clearml.api import Transport
from clearml_taskgroup._clearml.hyperparameters import SECTION, parameter
from clearml_taskgroup._model.name_template import NameTemplate
from clearml_taskgroup._storage.shared_run import PARENT
from clearml_taskgroup._storage.shared_without_queue import SharedWithoutQueue
from tests.support.server_view import View

RUN = "0123456789abcdef" * 2
KEY = "a1b2c3d4e5f6"
Create = Callable[..., str]


@pytest.fixture
def processes(server: View) -> list[SharedWithoutQueue]:
    """Two processes of a run."""
    transport = Transport(server.connection)
    return [
        SharedWithoutQueue(transport, RUN, NameTemplate("{metric}"), f"machine{n}-1-1-1") for n in range(2)
    ]


@pytest.fixture
def create(server: View) -> Create:
    """Creates a task of a process as a group does, or with the key of the parent the parent."""
    project = tasks_module.find_or_create_project(server.transport, server.project)

    def create(shared: SharedWithoutQueue, key: str = KEY, attempt: int = 1) -> str:
        entries = {"group": "0" * 12, "group_name": "sweep", "run": RUN, "process": shared.process}
        entries |= {"kind": "task", "key": key, "attempt": str(attempt)} if key else {"kind": "parent"}
        section = {name: parameter(SECTION, name, value) for name, value in entries.items()}
        body: dict[str, Any] = {"name": f"task {key}", "type": "training", "hyperparams": {SECTION: section}}
        return tasks_module.create_task(server.transport, body, project, entries)

    return create


def test_what_exists_is_not_claimed(processes: list[SharedWithoutQueue], create: Create) -> None:
    first, second = processes
    assert first.claim(KEY, 1)
    assert first.release(KEY, 1, create(first))
    assert not second.claim(KEY, 1)
    assert second.claim(KEY, 2)
    assert second.release(KEY, 2, None)  # it was not created after all
    assert second.claim("another", 1)


def test_of_two_tasks_the_first_one_counts(processes: list[SharedWithoutQueue], create: Create) -> None:
    first, second = processes
    ids = [create(first), create(second)]
    assert [one.release(KEY, 1, task_id) for one, task_id in zip(processes, ids, strict=True)] == [
        True,
        False,
    ]
    assert [(task.id, task.process, task.status) for task in second.members()] == [
        (ids[0], first.process, None)
    ]
    assert not first.is_being_created(KEY, 1)


def test_one_process_creates_the_parent(processes: list[SharedWithoutQueue], create: Create) -> None:
    first, second = processes
    assert (first.parent(), first.claim(PARENT, 1)) == (None, True)
    parent = create(first, PARENT)
    assert first.release(PARENT, 1, parent)
    assert (second.parent(), second.claim(PARENT, 1)) == (parent, False)


def test_one_with_an_open_task_leads(processes: list[SharedWithoutQueue], create: Create) -> None:
    assert [one.leads() for one in processes] == [False, False]
    create(processes[1])
    assert [one.leads() for one in processes] == [False, True]
    create(processes[0], "another")
    assert [one.leads() for one in processes] == [True, False]


def test_the_last_one_with_an_open_task_is_the_last(
    processes: list[SharedWithoutQueue], create: Create, server: View
) -> None:
    first, second = processes
    create(first)
    other = create(second, "another")
    assert [one.leave() for one in processes] == [False, False]
    server.call("tasks.started", task=other)
    server.call("tasks.completed", task=other)
    assert [one.leave() for one in processes] == [True, False]
    assert {task.key: task.status for task in first.members()} == {KEY: None, "another": "completed"}
