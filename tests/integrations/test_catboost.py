"""What the callback for CatBoost makes of CatBoost's calls; CatBoost itself is tried in test_boosting.py."""

from __future__ import annotations

import importlib
import sys
import types
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup import GroupTask
from clearml_taskgroup.errors import ArgumentError
from clearml_taskgroup.testing import MemoryStore
from tests.support.runs import stop

NAME = "clearml_taskgroup.integrations.catboost"


@pytest.fixture
def catboost(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The integration, with a stand-in for CatBoost that knows of Accuracy, RMSE and no other metric."""

    class CatBoostError(Exception):
        pass

    def is_maximizable_metric(metric: str) -> bool:
        if metric not in ("Accuracy", "RMSE"):
            raise CatBoostError
        return metric == "Accuracy"

    stub: Any = types.ModuleType("catboost")
    stub.CatBoostError = CatBoostError
    stub._catboost = SimpleNamespace(is_maximizable_metric=is_maximizable_metric)
    monkeypatch.setitem(sys.modules, "catboost", stub)
    monkeypatch.setitem(sys.modules, NAME, stub)
    del sys.modules[NAME]
    return importlib.import_module(NAME)


def train(callback: Any, sets: dict[str, dict[str, list[float]]], first: int = 0) -> list[bool]:
    """Calls it after each round, with the values so far; gives what it returned."""
    rounds = max(len(values) for by_metric in sets.values() for values in by_metric.values())
    return [
        callback.after_iteration(
            SimpleNamespace(
                iteration=number + 1,
                metrics={
                    split: {metric: values[: number + 1] for metric, values in by_metric.items()}
                    for split, by_metric in sets.items()
                },
            )
        )
        for number in range(first, rounds)
    ]


def test_each_round_has_its_values(catboost: Any, task: GroupTask, backend: MemoryStore) -> None:
    """Rounds are counted from 0; what a round has not computed is not reported again."""
    sets = {"learn": {"RMSE": [3.0, 2.0, 1.0]}, "validation": {"RMSE": [3.0, 2.5, 2.75], "MAE": [1.0]}}
    assert train(catboost.TaskCallback(task), sets) == [True] * 3
    task.flush()
    assert backend.tasks[task.id].scalars == {
        ("RMSE", "learn"): [(0, 3.0), (1, 2.0), (2, 1.0)],
        ("RMSE", "validation"): [(0, 3.0), (1, 2.5), (2, 2.75)],
        ("MAE", "validation"): [(0, 1.0)],
    }
    assert backend.tasks[task.id].single_values == {}


@pytest.mark.parametrize(
    ("sets", "best"),
    [
        ({"learn": {"RMSE": [1.0]}}, None),
        ({"learn": {"RMSE": [1.0]}, "validation": {"RMSE": [3.0, 2.0, 2.0]}}, (1, 2.0)),
        ({"validation": {"Accuracy": [0.5, 0.75, 0.25]}}, (1, 0.75)),
        ({"validation_0": {"RMSE": [1.0, 3.0]}, "validation_1": {"RMSE": [3.0, 1.0]}}, (1, 1.0)),
        ({"validation": {"RMSE": [1.0], "MAE": [1.0]}}, None),
        ({"validation": {"AUC:type=Mu": [1.0]}}, None),
    ],
)
def test_the_best_of_the_last_set(
    catboost: Any, task: GroupTask, backend: MemoryStore, sets: Any, best: tuple[int, float] | None
) -> None:
    """The first of several that are as good; there is none of several metrics or of unknown ones."""
    train(catboost.TaskCallback(task), sets)
    task.flush()
    expected = {} if best is None else {"best_iteration/value": best[0], "best_score/value": best[1]}
    assert backend.tasks[task.id].single_values == expected


def test_a_callback_trains_again(catboost: Any, task: GroupTask, backend: MemoryStore) -> None:
    """The next training begins with round 0, or where CatBoost continues; each has its own best."""
    callback = catboost.TaskCallback(task)
    for values in ([2.0, 1.0], [1.5, 1.25]):
        train(callback, {"validation": {"RMSE": values}})
        task.flush()
        assert backend.tasks[task.id].single_values["best_score/value"] == values[-1]
    continued = catboost.TaskCallback(task)
    assert train(continued, {"validation": {"RMSE": [1.0, 0.5, 0.25]}}, first=2) == [True]
    task.flush()
    assert backend.tasks[task.id].single_values["best_iteration/value"] == 2


def test_an_aborted_task_ends_the_training(catboost: Any, task: GroupTask) -> None:
    callback = catboost.TaskCallback(task)
    train(callback, {"learn": {"RMSE": [1.0]}})
    stop(task, reason="by a person")
    assert train(callback, {"learn": {"RMSE": [1.0, 0.5]}}, first=1) == [False]


class Model:
    """What `log_best` asks of a trained model."""

    def __init__(self, chosen: Any, best: int | None = 7) -> None:
        self.best_iteration_, self.chosen = best, chosen
        self.best_score_ = {"learn": {"RMSE": 0.5}, "validation": {"RMSE": 1.0, "MAE": 2.0, "F:beta=2": 3.0}}

    def get_params(self) -> dict[str, Any]:
        return {"eval_metric": self.chosen}

    def get_all_params(self) -> dict[str, Any]:
        return {"eval_metric": "MAE"}


class F:
    """A metric of the user's own."""


@pytest.mark.parametrize(
    ("chosen", "score"), [("RMSE", 1.0), (None, 2.0), ("F:beta=3", 3.0), (F(), 3.0), ("Logloss", None)]
)
def test_the_best_of_a_model(
    catboost: Any, task: GroupTask, backend: MemoryStore, chosen: Any, score: float | None
) -> None:
    callback = catboost.TaskCallback(task)
    callback.log_best(Model(chosen))
    task.flush()
    expected = {"best_iteration/value": 7.0} | ({} if score is None else {"best_score/value": score})
    assert backend.tasks[task.id].single_values == expected
    for model in (Model(chosen, None), object()):
        with pytest.raises(ArgumentError, match="trained with this callback and an eval_set"):
            callback.log_best(model)
