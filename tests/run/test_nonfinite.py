"""Values that ClearML cannot store: what is counted, warned about and logged."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._run.nonfinite import end_divergence, nonfinite_key, skip_nonfinite
from clearml_taskgroup._storage.run_log import iterate
from clearml_taskgroup.errors import NonFiniteError, NonFiniteWarning
from clearml_taskgroup.testing import recording
from tests.support.runs import Place

pytestmark = pytest.mark.filterwarnings("ignore:.* more points? that ClearML cannot store")
LOSS = MetricKey("loss", ())


@pytest.fixture
def task() -> Iterator[GroupTask]:
    with Place().group() as group:
        yield group.task({"seed": 0})


def skip(task: GroupTask, iteration: int | None) -> None:
    """Skips a value; the task warns of the first one."""
    skip_nonfinite(task._run, task._state, LOSS, iteration, math.nan)


def skip_first(task: GroupTask, iteration: int | None) -> None:
    with pytest.warns(NonFiniteWarning, match=r"loss is nan in the task 'seed=0'"):
        skip(task, iteration)


def logged(task: GroupTask) -> list[Any]:
    """What the run log says of skipped values: number, highest iteration, whether the single value was."""
    assert task._run.run_log is not None
    return [line["series"][2:] for line in iterate(task._run.run_log.path) if line["event"] == "skipped"]


def test_the_key_is_that_of_the_metric_and_its_context(task: GroupTask) -> None:
    key = nonfinite_key(task._run, task._state, "loss", {"split": "val"}, math.inf)
    assert key == MetricKey("loss", (("split", "val"),))


def test_a_group_can_be_made_to_raise() -> None:
    with recording(), TaskGroup("the project", "the group", nonfinite="raise") as group:
        task = group.task({"seed": 0})
        with pytest.raises(NonFiniteError, match=r"'loss\[split=val\]' is inf in the task 'seed=0'"):
            nonfinite_key(task._run, task._state, "loss", {"split": "val"}, math.inf)


def test_the_first_value_of_each_metric_is_warned_of(task: GroupTask) -> None:
    skip_first(task, 3)
    skip(task, 2)
    data = task._state.metrics[LOSS]
    assert (data.skipped, data.skipped_at, data.single_skipped) == (2, 3, False)
    with pytest.warns(NonFiniteWarning, match="accuracy is inf"):
        skip_nonfinite(task._run, task._state, MetricKey("accuracy", ()), 0, math.inf)


def test_the_run_log_says_when_a_curve_ends_with_skipped_values(task: GroupTask) -> None:
    """Once for each time that it does, so that a killed process leaves it."""
    task.report({"loss": 1.0}, 5)
    task.flush()
    skip_first(task, 4)  # the curve ends with a value
    assert logged(task) == []
    skip(task, 6)
    assert logged(task) == [[2, 6, False]]
    skip(task, 7)
    task.report({"loss": 1.0}, 8)
    task.flush()
    assert logged(task) == [[2, 6, False]]
    skip(task, 9)
    assert logged(task) == [[2, 6, False], [4, 9, False]]


def test_a_single_value_that_is_reported_again_no_longer_is_skipped(task: GroupTask) -> None:
    skip_first(task, None)
    data = task._state.metrics[LOSS]
    assert data.single_skipped
    other = task._state.metrics.setdefault(MetricKey("accuracy", ()), type(data)(single_skipped=True))
    end_divergence(task._run, task._state, data)
    assert (data.single_skipped, other.single_skipped) == (False, True)
    assert logged(task) == [[1, None, True], [0, None, False]]
    del task._state.metrics[MetricKey("accuracy", ())]


def test_a_forked_child_logs_each_value(task: GroupTask) -> None:
    """Only its lines are known, and other processes may report between them."""
    task._run.pid = os.getpid() + 1
    skip_first(task, 1)
    skip(task, 0)
    task._run.pid = os.getpid()
    assert logged(task) == [[1, 1, False], [1, 0, False]]
