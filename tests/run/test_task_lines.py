"""What a task has beside its events is logged at once, by every process."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from clearml_taskgroup import GroupTask, Name, TaskGroup
from clearml_taskgroup._model.metric_data import MetricData
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._run import task_lines
from clearml_taskgroup._run.run import Run
from clearml_taskgroup.testing import recording
from tests.support.runs import Place, be_a_child, lines_after

LOSS = MetricKey("loss", ())
NAMES = {Name("loss", "a"): LOSS}
STORED_NAMES = [["loss", "a", "loss", {}]]


@pytest.fixture
def group() -> Iterator[TaskGroup]:
    with Place().group() as group:
        yield group
        assert group._run is not None
        group._run.pid = os.getpid()


@pytest.fixture
def task(group: TaskGroup) -> GroupTask:
    return group.task({"seed": 0})


@pytest.fixture
def run(task: GroupTask) -> Run:
    return task._run


@pytest.mark.parametrize("is_child", [False, True])
def test_every_process_logs_what_the_events_do_not_say(run: Run, task: GroupTask, is_child: bool) -> None:
    """A child's lines name it, so that the process that opened the group reads them."""
    if is_child:
        be_a_child(run)
    data = MetricData()
    data.skip(3)
    task_lines.log_skipped(run, task._state, LOSS, data)
    task_lines.log_names(run, task._state, NAMES)
    task_lines.log_parameters(run, task._state, {"late": (1, 2)})
    found = lines_after(run)
    assert [(line["event"], line["id"], line["key"]) for line in found] == [
        (event, task.id, task.key) for event in ("skipped", "names", "params")
    ]
    assert found[0]["series"] == ["loss", {}, 1, 3, False]
    assert found[1]["names"] == STORED_NAMES
    assert list(found[2]["params"]) == ["late"]
    assert [line.get("forked") for line in found] == [os.getpid() if is_child else None] * 3
    assert all(line["time"] > 0 for line in found)


def test_a_run_without_a_log_logs_nothing() -> None:
    with recording(), TaskGroup("the project", "the group") as group:
        task = group.task({"seed": 0})
        task_lines.log_names(task._run, task._state, NAMES)
