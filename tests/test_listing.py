"""Listing: which runs there are, on a server and on this disk."""

from __future__ import annotations

import time
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup, _clearml
from clearml_taskgroup._listing import Listed, runs_on_disk, runs_on_server
from clearml_taskgroup._stores.online import OnlineStore
from tests.loopback import LoopbackServer


def listed(mode: str) -> list[Listed]:
    """The runs in one place."""
    if mode == "online":
        return runs_on_server(OnlineStore(_clearml.connect()))
    return runs_on_disk(_clearml.cache_folder() / "taskgroup")


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_runs_are_listed_with_what_became_of_their_tasks(loopback: LoopbackServer, mode: Any) -> None:
    """Each run is listed once, the latest first, with its project, its date and its tasks' statuses."""
    assert listed(mode) == []
    groups = []
    for name in ("first", "second", "second"):
        with TaskGroup("digits/deep", name, mode=mode, provenance=False) as group:
            for task in group.tasks({"C": range(3)}):
                if task.index == 1:
                    task.mark_failed("out of memory")
        groups.append(group)
    runs = listed(mode)
    assert [(run.project, run.group, run.number, run.run, run.group_id) for run in runs] == [
        ("digits/deep", group.name, group.run_number, group.run, group.id) for group in reversed(groups)
    ]
    assert [run.number for run in runs] == [2, 1, 1]
    assert {(run.mode, run.tasks) for run in runs} == {(mode, 3)}
    assert runs[0].statuses == {"completed": 2, "failed": 1}
    assert all(run.started is not None and abs(time.time() - run.started) < 60 for run in runs)
    assert (runs[0].record == groups[2].record_path) == (mode == "offline")


def test_copies_are_not_listed(loopback: LoopbackServer) -> None:
    """A copy made in the web page counts to no run."""
    with TaskGroup("digits", "sweep", provenance=False) as group, group.task({"C": 1}) as task:
        pass
    loopback_call(task.id)
    assert [run.tasks for run in listed("online")] == [1]


def loopback_call(task_id: str) -> None:
    """Copies a task as the web page does."""
    store = OnlineStore(_clearml.connect())
    store.transport.call("tasks.clone", {"task": task_id, "new_task_name": "a copy"}, patience=5)
