"""Hugging Face's own trainer, logging to a task of a group."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import Metric, TaskGroup
from clearml_taskgroup.errors import ArgumentError, LeftOutWarning, TaskGroupWarning
from clearml_taskgroup.testing import MemoryStore

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("transformers", reason="needs transformers and torch")
    import torch
    from transformers import Trainer, TrainingArguments
    from transformers.integrations import ClearMLCallback

from clearml_taskgroup.integrations.huggingface import TaskCallback, TaskGroupCallback

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("ignore:(?!.*left out)")]


class Line(torch.nn.Module):  # type: ignore[misc,unused-ignore]
    """Fits a line."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, x: Any, labels: Any) -> Any:
        """Gives loss and prediction, as the trainer wants them."""
        found = self.layer(x)
        return {"loss": torch.nn.functional.mse_loss(found, labels), "logits": found}


DATA = [{"x": torch.tensor([x]), "labels": torch.tensor([2 * x])} for x in (0.0, 1.0, 2.0, 3.0)]


def trainer_of(callback: Any, folder: Path, **more: Any) -> Any:
    """Makes a trainer of two epochs of two steps, with an evaluation after each."""
    settings = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=2,
        per_device_train_batch_size=2,
        logging_steps=1,
        eval_strategy="epoch",
        save_strategy="no",
        report_to=more.pop("report_to", "none"),
        use_cpu=True,
        disable_tqdm=True,
    )
    return Trainer(
        args=settings,
        train_dataset=DATA,
        callbacks=[callback],
        compute_metrics=lambda found: {"error": float(abs(found.predictions - found.label_ids).mean())},
        **{"model": Line(), "eval_dataset": DATA, **more},
    )


def train(callback: Any, folder: Path) -> None:
    """Trains and predicts."""
    trainer = trainer_of(callback, folder)
    trainer.train()
    trainer.predict(DATA)


def test_training(backend: MemoryStore, tmp_path: Path) -> None:
    """Training is the split `train`, evaluation `eval`, prediction `test`; the task goes on."""
    with TaskGroup("digits", "sweep") as group:
        with group.task({"seed": 1}) as task:
            train(TaskCallback(), tmp_path)
            assert task.status == "in_progress"
    (member,) = backend.members
    assert member.status == "completed"
    found = member.scalars
    assert [step for step, _ in found["loss", "train"]] == [1, 2, 3, 4]
    assert [step for step, _ in found["learning_rate", "train"]] == [1, 2, 3, 4]
    assert [step for step, _ in found["loss", "eval"]] == [2, 4]
    assert [step for step, _ in found["error", "eval"]] == [2, 4]
    assert [step for step, _ in found["error", "test"]] == [4]
    assert [step for step, _ in found["train_loss", "train"]] == [4]
    assert {metric for metric, _ in found} == {"loss", "error", "learning_rate", "grad_norm", "train_loss"}


def test_a_vocabulary(backend: MemoryStore, tmp_path: Path) -> None:
    """What the vocabulary has is reported, by its aliases too; the rest is told once and left out."""
    metrics = [Metric("loss", aliases={"eval_loss": {"split": "val"}})]
    with TaskGroup("digits", "sweep", template="{metric}/{split}", metrics=metrics) as group:
        with group.task({"seed": 1}) as task:
            with pytest.warns(LeftOutWarning) as caught:
                train(TaskCallback(task), tmp_path)
    told = [str(warning.message) for warning in caught if warning.category is LeftOutWarning]
    assert "'grad_norm', 'learning_rate'; the metric 'grad_norm' is not in" in told[0]
    assert sum("'grad_norm'" in text for text in told) == 1
    assert set(backend.members[0].scalars) == {("loss", "train"), ("loss", "val"), ("loss", "test")}


def test_names_that_are_chosen(backend: MemoryStore, tmp_path: Path) -> None:
    """`only` and `ignore` are patterns; `only` can ask for what is left out by default."""
    with TaskGroup("digits", "sweep") as group:
        with group.task({"seed": 1}) as task:
            train(TaskCallback(task, only=["*_loss", "eval_runtime"], ignore="test_*"), tmp_path)
    assert set(backend.members[0].scalars) == {("loss", "eval"), ("runtime", "eval"), ("train_loss", "train")}


def test_several_evaluations(backend: MemoryStore, tmp_path: Path) -> None:
    """Each dataset of a dict is a split of its own, and so is an evaluation with another prefix."""
    with TaskGroup("digits", "sweep") as group:
        with group.task({"seed": 1}) as task:
            trainer = trainer_of(TaskCallback(task), tmp_path, eval_dataset={"en": DATA, "old_de": DATA})
            trainer.train()
            trainer.evaluate(DATA, metric_key_prefix="final")
    splits = {split for metric, split in backend.members[0].scalars if metric == "error"}
    assert splits == {"eval_en", "eval_old_de", "final"}
    assert ("loss", "eval_old_de") in backend.members[0].scalars


def test_a_search(backend: MemoryStore, tmp_path: Path) -> None:
    """Each trial of a search is a task, that of a pruned one is stopped; one task cannot take them all."""
    optuna = pytest.importorskip("optuna", reason="needs optuna")

    class Second(optuna.pruners.BasePruner):  # type: ignore[misc,name-defined,unused-ignore]
        def prune(self, study: Any, trial: Any) -> bool:
            return bool(trial.number == 1)

    search: dict[str, Any] = {
        "backend": "optuna",
        "n_trials": 3,
        "pruner": Second(),
        "direction": "minimize",
        "hp_space": lambda trial: {"learning_rate": trial.suggest_float("learning_rate", 0.01, 0.1)},
        "compute_objective": lambda metrics: metrics["eval_loss"],
    }
    with TaskGroup("digits", "search") as group:
        callback = TaskGroupCallback()
        trainer = trainer_of(callback, tmp_path, model=None, model_init=lambda trial: Line())
        trainer.hyperparameter_search(**search)
        tasks = list(group)
    assert [str(task) for task in tasks] == ["trial-0000", "trial-0001", "trial-0002"]
    assert [task.status for task in tasks] == ["completed", "stopped", "completed"]
    assert tasks[1].status_reason == "pruned at step 2"
    assert len({member.params["learning_rate"] for member in backend.members}) == 3
    for member, count in zip(backend.members, (2, 1, 2), strict=True):
        assert len(member.scalars["loss", "eval"]) == count
    with TaskGroup("digits", "search") as group, group.task({"seed": 1}) as task:
        trainer = trainer_of(TaskCallback(task), tmp_path, model=None, model_init=lambda trial: Line())
        with pytest.raises(ArgumentError, match="TaskGroupCallback"):
            trainer.hyperparameter_search(**search)


def test_report_to_clearml(backend: MemoryStore, tmp_path: Path) -> None:
    """If transformers logs to a ClearML task of its own, too, there is one warning."""
    with TaskGroup("digits", "sweep") as group, group.task({"seed": 1}) as task:
        trainer = trainer_of(TaskCallback(task), tmp_path, report_to=["clearml"])
        trainer.remove_callback(ClearMLCallback)  # which would call Task.init
        with pytest.warns(TaskGroupWarning, match="report_to='none'"):
            trainer.train()
        with warnings.catch_warnings(record=True) as caught:
            trainer.train()
    assert not [warning for warning in caught if "report_to" in str(warning.message)]


def test_without_a_task() -> None:
    """Outside of a task's or a group's block a callback needs it."""
    with pytest.raises(ArgumentError, match="a task of a group"):
        TaskCallback()
    with pytest.raises(ArgumentError, match="a TaskGroup"):
        TaskGroupCallback()
