"""Drift over whole projects: families of spellings, in all the ways in which ClearML has names."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._drift.compare import LoggedMetric, find_drift, find_metrics, vocabulary_code

FAMILIES = [
    [
        "acc",
        "accuracy",
        "Accuracy",
        "ACC",
        "train_acc",
        "trainAcc",
        "val/acc",
        "val_accuracy",
        "accuracy_score",
    ],
    ["loss", "Loss", "trainLoss", "Train Loss", "valid_loss", "validation loss", "eval/loss", "loss (test)"],
    ["lr", "learning_rate", "LearningRate", "learning-rate"],
    ["f1", "F1-score", "F1 Score", "f1score"],
    ["f1_macro", "macro-F1", "MacroF1Score"],
    ["f1_micro", "micro F1"],
    ["mse", "MSE", "mean_squared_error", "val_mse"],
    ["rmse", "RMSE", "root mean squared error"],
    ["auc", "AUROC", "roc_auc", "ROC-AUC"],
    ["pr_auc", "AUPRC", "PR AUC"],
    ["epoch_time", "time_per_epoch", "epochTime"],
    ["batch_time"],
    ["precision@1", "prec@1", "Precision@1"],
    ["precision@5", "Precision @ 5"],
    ["top1_acc", "acc@1", "Top-1 accuracy"],
    ["top5_acc", "acc5", "top5 accuracy"],
    ["bleu1", "BLEU-1"],
    ["bleu4", "BLEU_4"],
    ["mAP50", "mAP@0.5", "map_50"],
    ["mAP50-95", "mAP@0.5:0.95", "map50_95"],
    ["bce", "BCELoss", "binary_cross_entropy"],
    ["precision"],
    ["recall"],
    ["top1"],
    ["top5"],
    ["loss_a"],
    ["loss_b"],
    ["loss_1"],
    ["loss_2"],
    ["value_loss"],
    ["policy_loss"],
]
STYLES: dict[str, Callable[[str], tuple[str, str]]] = {
    "a plot for each": lambda name: (name, name),
    "titles with a series": lambda name: (name, "series"),
    "values": lambda name: (name, "value"),
    "series of metrics": lambda name: ("Metrics", name),
    "series of one plot": lambda name: ("my curves", name),
    "single values": lambda name: ("Summary", name),
}


def made(seed: int, style: str) -> dict[str, list[tuple[str, str]]]:
    """Makes a project of 50 tasks, each with one spelling of most families."""
    chance = random.Random(seed)
    return {
        f"t{n}": [
            STYLES[style](family[(n + seed) % len(family)]) for family in FAMILIES if chance.random() < 0.8
        ]
        for n in range(50)
    }


def name_in(style: str, metric: LoggedMetric) -> set[str]:
    """The names of a metric, without what the style has added."""
    in_series = style in ("series of metrics", "series of one plot", "single values")
    return {spelling.series if in_series else spelling.title for spelling in metric.spellings}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("seed", range(4))
def test_families(style: str, seed: int) -> None:
    """Each family is found whole and alone, however the scripts hand their names to ClearML."""
    metrics = find_metrics(made(seed, style))
    found = sorted(sorted(name_in(style, metric)) for metric in metrics)
    assert found == sorted(map(sorted, FAMILIES))
    told = sorted(sorted(name_in(style, metric)) for metric in metrics if metric.drifts)
    assert told == sorted(sorted(family) for family in FAMILIES if len(family) > 1)


@pytest.mark.parametrize("style", STYLES)
def test_the_cure_makes_one_name_of_each_family(style: str) -> None:
    """The code runs as it was printed; each spelling is then one name, and no two families share one."""
    ran: dict[str, Any] = {}
    exec(vocabulary_code(find_metrics(made(0, style)), "vision", "all"), ran)
    group = ran["group"]
    assert isinstance(group, TaskGroup)
    assert (group.project, group.name) == ("vision", "all")
    assert group.vocabulary is not None
    names = [{group.vocabulary.resolve(spelling, {})[0] for spelling in family} for family in FAMILIES]
    assert [len(name) for name in names] == [1] * len(FAMILIES)
    assert len(set.union(*names)) == len(FAMILIES)


def test_two_tasks_are_enough() -> None:
    """Two names in a task each are one metric if they are of one family, and else never."""
    for (at, one), (place, other) in combinations(
        [(at, name) for at, family in enumerate(FAMILIES) for name in family], 2
    ):
        found = find_metrics({"a": [(one, one)], "b": [(other, other)]})
        assert len(found) == (1 if at == place else 2), (one, other)
        assert not (at != place and find_drift({"a": [(one, one), (other, other)], "b": [(one, one)]}))
