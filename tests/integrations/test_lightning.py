"""Lightning's own trainer, logging to a task of a group. CI skips it: torch is large."""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, Metric, TaskGroup
from clearml_taskgroup.errors import ArgumentError, LeftOutWarning, ParameterError, UnknownFieldError
from clearml_taskgroup.testing import MemoryStore, recording

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("lightning", reason="needs lightning and torch, which CI does not install")
    import torch
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import ModelCheckpoint

from clearml_taskgroup.integrations.lightning import TaskLogger

pytestmark = pytest.mark.filterwarnings("ignore:(?!.*left out)")


class Line(LightningModule):  # type: ignore[misc,unused-ignore]
    """Fits a line, and logs what most modules log."""

    def __init__(self, lr: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(1, 1)

    def step(self, batch: Any, split: str) -> Any:
        """Takes the loss of a batch."""
        loss = torch.nn.functional.mse_loss(self.layer(batch), 2 * batch)
        self.log(f"{split}_loss", loss, on_step=split == "train", on_epoch=split != "train")
        return loss

    def training_step(self, batch: Any, index: int) -> Any:
        """Lightning's."""
        return self.step(batch, "train")

    def validation_step(self, batch: Any, index: int) -> Any:
        """Lightning's."""
        return self.step(batch, "val")

    def test_step(self, batch: Any, index: int) -> Any:
        return self.step(batch, "test")

    def configure_optimizers(self) -> Any:
        """Lightning's."""
        return torch.optim.SGD(self.parameters(), lr=self.hparams["lr"])


@pytest.fixture
def backend() -> Iterator[MemoryStore]:
    """Keeps in memory what the test's groups log."""
    with recording() as recorded:
        yield recorded


def data() -> Any:
    """Eight numbers, two in a batch."""
    return torch.utils.data.DataLoader(torch.linspace(0, 1, 8).reshape(8, 1), batch_size=2)


def fit(logger: Any, folder: Path, **options: Any) -> Trainer:
    """Trains for two epochs of four steps, and tests."""
    trainer = Trainer(
        max_epochs=2,
        logger=logger,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        accelerator="cpu",
        **options,
    )
    model = Line()
    trainer.fit(model, data(), data())
    trainer.test(model, data(), verbose=False)
    return trainer


def test_training(backend: MemoryStore, tmp_path: Path) -> None:
    """Losses are in the split that their names say, parameters on the task, and the task goes on."""
    with TaskGroup("digits", "sweep") as group:
        task = group.task({"seed": 1})
        fit(TaskLogger(task), tmp_path, enable_checkpointing=False)
        assert task.status == "in_progress"
        task.report({"own": 1.0}, 0)
        assert task.params == {"seed": 1, "lr": 0.1}
    (member,) = backend.members
    assert set(member.scalars) == {
        ("loss", "train"),
        ("loss", "val"),
        ("loss", "test"),
        ("epoch", "value"),
        ("own", "value"),
    }
    assert [step for step, _ in member.scalars["loss", "train"]] == list(range(8))
    assert [step for step, _ in member.scalars["loss", "val"]] == [3, 7]
    assert [step for step, _ in member.scalars["loss", "test"]] == [8]
    assert member.status == "completed"


def test_checkpoints_lie_by_group_and_key(backend: MemoryStore, tmp_path: Path) -> None:
    """Checkpoints of several tasks lie in folders of their own, the same in every run."""
    with TaskGroup("digits", "sweep") as group:
        for task in group.sweep({"seed": [1, 2]}):
            with task:
                trainer = fit(TaskLogger(), tmp_path, callbacks=[ModelCheckpoint()])
                assert isinstance(trainer.logger, TaskLogger)
                assert trainer.logger.experiment is task
                assert list((tmp_path / "sweep" / task.key / "checkpoints").glob("*.ckpt"))
    assert [member.status for member in backend.members] == ["completed"] * 2


def test_a_failed_training(backend: MemoryStore, tmp_path: Path) -> None:
    """What `finalize` says ends no task: the block it is in does."""
    with TaskGroup("digits", "sweep") as group:
        task = group.task({"seed": 1})
        for status in ("success", "failed", "aborted"):
            TaskLogger(task).finalize(status)
            assert task.status == "in_progress"


def test_hyperparameters(backend: MemoryStore) -> None:
    """Dicts and namespaces are taken; the identity keeps its values."""
    with TaskGroup("digits", "sweep") as group:
        task = group.task({"lr": 0.1})
        logger = TaskLogger(task)
        logger.log_hyperparams({"lr": 0.1, "model": {"depth": 3}})
        logger.log_hyperparams(Namespace(batch=32))
        logger.log_hyperparams()
        assert task.params == {"lr": 0.1, "model/depth": 3, "batch": 32}
        with pytest.raises(ParameterError):
            logger.log_hyperparams({"lr": 0.2})


def test_names(backend: MemoryStore) -> None:
    """Another field, a bound view and a vocabulary's aliases all have their say."""
    metrics = [Metric("loss"), Metric("accuracy", aliases={"val_acc": {"phase": "check"}})]
    with TaskGroup("digits", "sweep", template="{metric}/{phase} {fold}", metrics=metrics) as group:
        task = group.task({"seed": 1})
        logger = TaskLogger(task.bind(fold=2), context="phase")
        logger.log_metrics({"train_loss": 0.5, "val/loss": torch.tensor(0.25), "val_acc": 0.75}, 1)
        with pytest.warns(
            LeftOutWarning, match="left out of the group's tasks: 'epoch'; the metric 'epoch' is not"
        ):
            logger.log_metrics({"epoch": 1.0, "loss/test": 0.125}, 1)
        logger.log_metrics({"epoch": 2.0}, 2)
        with pytest.raises(UnknownFieldError):
            TaskLogger(task, context="split")
    assert backend.members[0].scalars == {
        ("loss", "train 2"): [(1, 0.5)],
        ("loss", "val 2"): [(1, 0.25)],
        ("accuracy", "check 2"): [(1, 0.75)],
        ("loss", "test 2"): [(1, 0.125)],
    }


def test_without_a_task() -> None:
    """Outside of a task's block a logger needs a task."""
    with pytest.raises(ArgumentError, match="a task of a group"):
        TaskLogger()
    with pytest.raises(ArgumentError, match="a task of a group"):
        TaskLogger("C=1")  # type: ignore[arg-type]
    assert GroupTask.current() is None
