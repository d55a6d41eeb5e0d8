"""What the callbacks for boosting share: the task, values by evaluation set, copies and pickles."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from clearml_taskgroup import GroupTask
from clearml_taskgroup.errors import ArgumentError, HandleError, LeftOutWarning
from clearml_taskgroup.integrations._boosting import EvaluationLog
from clearml_taskgroup.testing import MemoryStore
from tests.integrations.conftest import Opener


@pytest.fixture
def task(open_task: Opener) -> GroupTask:
    return open_task()


def test_values_and_their_spread(task: GroupTask, backend: MemoryStore) -> None:
    log = EvaluationLog(task, None)
    log.start()
    log.put("val", "rmse", 1.0, 3)
    log.put("val_2", "rmse", 2.0, 3, 0.5)
    log.put_best(3, None)
    log.put_best(3, 2.0)
    task.flush()
    assert backend.tasks[task.id].scalars == {
        ("rmse", "val"): [(3, 1.0)],
        ("rmse", "val_2"): [(3, 2.0)],
        ("std_rmse", "val_2"): [(3, 0.5)],
    }
    assert backend.tasks[task.id].single_values == {"best_iteration/value": 3.0, "best_score/value": 2.0}


def test_a_wrong_task_raises_before_the_training() -> None:
    wrong: Any = "C=1"
    with pytest.raises(ArgumentError):
        EvaluationLog(wrong, None)
    log = EvaluationLog(None, None)
    with pytest.raises(ArgumentError):
        log.start()


def test_a_training_without_values_is_warned_of_once(task: GroupTask) -> None:
    log = EvaluationLog(task, None)
    log.start()
    with pytest.warns(LeftOutWarning, match="give it evals"):
        log.finish("evals")
    log.finish("evals")  # a warning would be an error here
    task._run.warned.clear()
    log.put("val", "rmse", 1.0, 0)
    log.finish("evals")
    log.start()
    with pytest.warns(LeftOutWarning):
        log.finish("evals")


def test_copies_have_the_task(task: GroupTask) -> None:
    copied = copy.deepcopy(EvaluationLog(task, "split"))
    assert (copied.task, copied.context) == (task, "split")


def test_a_pickle_that_cannot_have_its_task(task: GroupTask) -> None:
    """A model's file is written and read all the same; only another training with it fails."""
    loaded = pickle.loads(pickle.dumps(EvaluationLog(task, "split")))
    assert (loaded.task, loaded.context) == (None, "split")
    again = copy.deepcopy(pickle.loads(pickle.dumps(loaded)))
    with pytest.raises(HandleError, match="give the copy a new callback"):
        again.start()
    without = pickle.loads(pickle.dumps(EvaluationLog(None, None)))
    with pytest.raises(ArgumentError):
        without.start()
