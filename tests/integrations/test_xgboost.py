"""What the callback for XGBoost makes of XGBoost's calls; XGBoost itself is tried in test_boosting.py."""

from __future__ import annotations

import importlib
import sys
import types
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup import GroupTask
from clearml_taskgroup.errors import LeftOutWarning
from clearml_taskgroup.testing import MemoryStore

NAME = "clearml_taskgroup.integrations.xgboost"


@pytest.fixture
def xgboost(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The integration, with a stand-in for XGBoost; `rank` is that of the process."""
    stub, callback = types.ModuleType("xgboost"), types.ModuleType("xgboost.callback")
    vars(stub).update(collective=SimpleNamespace(get_rank=lambda: 0))
    vars(callback).update(TrainingCallback=type("TrainingCallback", (), {}))
    for name, module in {"xgboost": stub, "xgboost.callback": callback, NAME: stub}.items():
        monkeypatch.setitem(sys.modules, name, module)
    del sys.modules[NAME]
    return importlib.import_module(NAME)


def train(callback: Any, rounds: list[dict[str, dict[str, Any]]], **attributes: str) -> None:
    """Calls it as XGBoost does; the attributes are those that early stopping leaves in the model."""
    model = SimpleNamespace(attr=attributes.get)
    assert callback.before_training(model) is model
    log: dict[str, dict[str, list[Any]]] = {}
    for epoch, results in enumerate(rounds):
        for split, metrics in results.items():
            for metric, value in metrics.items():
                log.setdefault(split, {}).setdefault(metric, []).append(value)
        assert callback.after_iteration(model, epoch, log) is False
    assert callback.after_training(model) is model


def stored(backend: MemoryStore, task: GroupTask) -> tuple[dict[Any, Any], dict[str, float]]:
    task.flush()
    return backend.tasks[task.id].scalars, backend.tasks[task.id].single_values


def test_each_round_has_its_values(xgboost: Any, task: GroupTask, backend: MemoryStore) -> None:
    """In cross-validation with their spread; without early stopping there is no best."""
    train(xgboost.TaskCallback(task), [{"train": {"rmse": 2.0}}, {"train": {"rmse": 1.0}}])
    train(xgboost.TaskCallback(task), [{"test": {"rmse": (2.0, 0.5)}}])
    assert stored(backend, task) == (
        {
            ("rmse", "train"): [(0, 2.0), (1, 1.0)],
            ("rmse", "test"): [(0, 2.0)],
            ("std_rmse", "test"): [(0, 0.5)],
        },
        {},
    )


@pytest.mark.parametrize("rank", [0, 1])
def test_only_rank_0_reports(
    xgboost: Any, task: GroupTask, backend: MemoryStore, rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xgboost.collective, "get_rank", lambda: rank)
    train(xgboost.TaskCallback(task), [{"val": {"rmse": 2.0}}], best_iteration="0", best_score="2.0")
    expected = {"best_iteration/value": 0.0, "best_score/value": 2.0}
    assert stored(backend, task) == (({("rmse", "val"): [(0, 2.0)]}, expected) if rank == 0 else ({}, {}))


def test_a_training_without_an_evaluation_set(
    xgboost: Any, task: GroupTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is warned of on rank 0."""
    with pytest.warns(LeftOutWarning, match="no evaluation set"):
        train(xgboost.TaskCallback(task), [{}])
    task._run.warned.clear()
    monkeypatch.setattr(xgboost.collective, "get_rank", lambda: 1)
    train(xgboost.TaskCallback(task), [{}])
