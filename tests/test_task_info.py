"""What a task says of itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._clearml import sdk
from clearml_taskgroup.testing import MemoryStore


@pytest.fixture
def task(group: TaskGroup) -> GroupTask:
    """An open task of two parameters."""
    return group.task({"C": 1, "seed": 0})


def test_what_a_task_says_of_itself(group: TaskGroup, backend: MemoryStore) -> None:
    """Key, index, attempt, id, parameters, tags and status can be read; the repr is one line."""
    task = group.task({"C": np.float64(0.5), "model": {"depth": 3}}, tags=["a"])
    assert (task.index, task.attempt, task.tags, task.url) == (0, 1, ("a",), None)
    assert task.params == {"C": 0.5, "model/depth": 3}
    assert backend.tasks[task.id].key == task.key
    assert repr(task) == f"<GroupTask 'C=0.5,model/depth=3' key={task.key} in_progress>"


def test_params_are_a_copy(task: GroupTask) -> None:
    """What a script does to the dict of parameters changes nothing of the task."""
    params = task.params
    assert type(params) is dict
    params.pop("C")
    params["seed"] = 7
    assert task.params == {"C": 1, "seed": 0}


def test_a_name_is_plain_text(task: GroupTask) -> None:
    assert (task.name, type(task.name), str(task)) == ("C=1,seed=0", str, "C=1,seed=0")


def test_how_a_task_ends_can_be_read(group: TaskGroup) -> None:
    task = group.task({"C": 1})
    assert (task.status, task.status_reason, task.done, task.device) == ("in_progress", "", False, None)
    task.mark_failed("too large")
    assert (task.status, task.status_reason, task.done) == ("failed", "too large", False)


def test_another_attempt_has_the_next_number(group: TaskGroup) -> None:
    for task in group.sweep({"C": [1]}):
        task.mark_failed()
    (again,) = group.sweep({"C": [1]}, if_exists="retry")
    assert task.attempt == 1
    assert (again.attempt, again.index, again.key) == (2, 0, group.get(C=1).key)


def test_the_page_of_a_task(tmp_path: Path) -> None:
    """Offline its session; in a notebook the task is a line with it."""
    with TaskGroup("digits", "sweep", mode="offline", provenance=False) as group:
        task = group.task({"C": 1})
        assert task.url == (sdk.cache_folder() / "offline" / task.id).as_uri()
        assert "C=1" in task._repr_html_()
