"""Hugging Face's own trainer, logging to a task of a group. CI skips it: torch is large."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import Metric, TaskGroup
from clearml_taskgroup.errors import ArgumentError, LeftOutWarning
from clearml_taskgroup.testing import MemoryStore, recording

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("transformers", reason="needs transformers and torch, which CI does not install")
    import torch
    from transformers import Trainer, TrainingArguments

from clearml_taskgroup.integrations.huggingface import TaskCallback

pytestmark = pytest.mark.filterwarnings("ignore:(?!.*left out)")


class Line(torch.nn.Module):  # type: ignore[misc,unused-ignore]
    """Fits a line."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, x: Any, labels: Any) -> Any:
        """Gives loss and prediction, as the trainer wants them."""
        found = self.layer(x)
        return {"loss": torch.nn.functional.mse_loss(found, labels), "logits": found}


@pytest.fixture
def backend() -> Iterator[MemoryStore]:
    """Keeps in memory what the test's groups log."""
    with recording() as recorded:
        yield recorded


def train(callback: Any, folder: Path) -> None:
    """Trains for two epochs of two steps, with an evaluation after each, and predicts."""
    data = [{"x": torch.tensor([x]), "labels": torch.tensor([2 * x])} for x in (0.0, 1.0, 2.0, 3.0)]
    settings = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=2,
        per_device_train_batch_size=2,
        logging_steps=1,
        eval_strategy="epoch",
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=Line(),
        args=settings,
        train_dataset=data,
        eval_dataset=data,
        callbacks=[callback],
        compute_metrics=lambda found: {"error": float(abs(found.predictions - found.label_ids).mean())},
    )
    trainer.train()
    trainer.predict(data)


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


def test_a_vocabulary(backend: MemoryStore, tmp_path: Path) -> None:
    """What the vocabulary has is reported, by its aliases too; the rest is told once and left out."""
    metrics = [Metric("loss", aliases={"eval_loss": {"split": "val"}})]
    with TaskGroup("digits", "sweep", template="{metric}/{split}", metrics=metrics) as group:
        with group.task({"seed": 1}) as task:
            with pytest.warns(LeftOutWarning) as caught:
                train(TaskCallback(task), tmp_path)
    told = [str(warning.message) for warning in caught if warning.category is LeftOutWarning]
    assert "'grad_norm', 'learning_rate', 'epoch'; the metric 'grad_norm' is not in" in told[0]
    assert sum("'epoch'" in text for text in told) == 1
    assert set(backend.members[0].scalars) == {("loss", "train"), ("loss", "val"), ("loss", "test")}


def test_without_a_task() -> None:
    """Outside of a task's block a callback needs a task."""
    with pytest.raises(ArgumentError, match="a task of a group"):
        TaskCallback()
