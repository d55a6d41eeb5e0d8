"""What the callback for LightGBM makes of LightGBM's calls; LightGBM itself is tried in test_boosting.py."""

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

NAME = "clearml_taskgroup.integrations.lightgbm"


class CVBooster:
    """Stands in for LightGBM's."""


@pytest.fixture
def lightgbm(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The integration, with a stand-in for LightGBM."""
    stub: Any = types.ModuleType("lightgbm")
    stub.CVBooster = CVBooster
    monkeypatch.setitem(sys.modules, "lightgbm", stub)
    monkeypatch.setitem(sys.modules, NAME, stub)
    del sys.modules[NAME]
    return importlib.import_module(NAME)


Rounds = list[list[tuple[Any, ...]]]


def train(
    callback: Any, rounds: Rounds, *, model: Any = None, begin: int = 0, end: int | None = None, **params: Any
) -> None:
    """Calls it after each round; `end` is the round before which training ends if nothing stops it."""
    for number, results in enumerate(rounds):
        callback(
            SimpleNamespace(
                model=object() if model is None else model,
                params=params,
                iteration=begin + number,
                begin_iteration=begin,
                end_iteration=begin + len(rounds) if end is None else end,
                evaluation_result_list=results,
            )
        )


def stored(backend: MemoryStore, task: GroupTask) -> tuple[dict[Any, Any], dict[str, float]]:
    task.flush()
    member = backend.tasks[task.id]
    return member.scalars, {name.partition("/")[0]: value for name, value in member.single_values.items()}


def test_each_round_has_its_values(lightgbm: Any, task: GroupTask, backend: MemoryStore) -> None:
    """Of the training set there is no best."""
    train(
        lightgbm.TaskCallback(task), [[("training", "l2", 2, False)], [("training", "l2", 1, False)]], begin=5
    )
    assert stored(backend, task) == ({("l2", "training"): [(5, 2.0), (6, 1.0)]}, {})


@pytest.mark.parametrize(
    ("higher", "values", "best"),
    [
        (False, [3.0, 1.0, 2.0], (2, 1.0)),
        (True, [3.0, 1.0, 3.0], (1, 3.0)),
        (True, [1.0, 2.0, 3.0], (3, 3.0)),
        (False, [2.0, 2.0, 2.0], (1, 2.0)),
    ],
)
def test_the_best_round(
    lightgbm: Any, task: GroupTask, backend: MemoryStore, higher: bool, values: list[float], best: Any
) -> None:
    """The first of several that are as good, counted from 1."""
    train(lightgbm.TaskCallback(task), [[("valid_0", "m", value, higher)] for value in values])
    assert stored(backend, task)[1] == {"best_iteration": best[0], "best_score": best[1]}


TWO = [[("v", "a", a, False), ("v", "b", b, False)] for a, b in [(3.0, 3.0), (1.0, 4.0), (0.5, 5.0)]]
"""The first metric becomes better, the second has its best at the beginning."""


@pytest.mark.parametrize(
    ("options", "best"),
    [
        ({"end": 100}, (1, 3.0)),
        ({}, (3, 0.5)),
        ({"end": 100, "first_metric_only": True}, (3, 0.5)),
        ({"end": 100, "first_metric_only": False}, (1, 3.0)),
    ],
)
def test_the_metric_that_stops(
    lightgbm: Any, task: GroupTask, backend: MemoryStore, options: Any, best: Any
) -> None:
    """That whose best round is the earliest; the first if training goes to its end, or it alone counts."""
    train(lightgbm.TaskCallback(task), TWO, **options)
    assert stored(backend, task)[1] == {"best_iteration": best[0], "best_score": best[1]}


def test_a_training_set_of_another_name(lightgbm: Any, task: GroupTask, backend: MemoryStore) -> None:
    model = SimpleNamespace(_train_data_name="fit")
    train(lightgbm.TaskCallback(task), [[("fit", "l2", 1.0, False)]], model=model)
    assert stored(backend, task)[1] == {}
    train(lightgbm.TaskCallback(task), [[("training", "l2", 1.0, False)]], model=model)
    assert stored(backend, task)[1] == {"best_iteration": 1, "best_score": 1.0}


@pytest.mark.parametrize(
    "result", [("valid", "l2", 1.0, False, 0.5), ("cv_agg", "valid l2", 1.0, False, 0.5)], ids=["4.7", "4.0"]
)
def test_cross_validation(lightgbm: Any, task: GroupTask, backend: MemoryStore, result: Any) -> None:
    """Means with their spread; `train` is the training set."""
    train_ = (*(("train", "l2") if result[0] == "valid" else ("cv_agg", "train l2")), 0.25, False, 0.0)
    train(lightgbm.TaskCallback(task), [[train_, result]], model=CVBooster())
    assert stored(backend, task) == (
        {
            ("l2", "train"): [(0, 0.25)],
            ("std_l2", "train"): [(0, 0.0)],
            ("l2", "valid"): [(0, 1.0)],
            ("std_l2", "valid"): [(0, 0.5)],
        },
        {"best_iteration": 1, "best_score": 1.0},
    )


def test_a_callback_trains_again(lightgbm: Any, task: GroupTask, backend: MemoryStore) -> None:
    callback = lightgbm.TaskCallback(task)
    for value in (1.0, 2.0):
        train(callback, [[("valid_0", "l2", value, False)]])
        assert stored(backend, task)[1]["best_score"] == value


def test_a_training_without_an_evaluation_set(lightgbm: Any, task: GroupTask) -> None:
    """Is warned of at its end, once."""
    callback = lightgbm.TaskCallback(task)
    train(callback, [[], []], end=3)
    with pytest.warns(LeftOutWarning, match=r"no evaluation set .*give it valid_sets=\[…\]"):
        train(callback, [[], []])
    train(callback, [[]])  # a warning would be an error here
