"""Lightning's own trainer, logging to a task of a group."""

from __future__ import annotations

import copy
import inspect
import pickle
import warnings
from argparse import Namespace
from csv import DictReader
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearml_taskgroup import GroupTask, Metric, TaskGroup
from clearml_taskgroup.errors import ArgumentError, LeftOutWarning, ParameterError, UnknownFieldError
from clearml_taskgroup.testing import MemoryStore, MemoryTask

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("lightning", reason="needs lightning and torch")
    import torch
    from lightning.fabric import Fabric
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger, WandbLogger
    from lightning.pytorch.utilities import rank_zero_only

from clearml_taskgroup.integrations.lightning import TaskLogger
from tests.support.clearml_process import run

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("ignore:(?!.*left out)")]


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


def data() -> Any:
    """Eight numbers, two in a batch."""
    return torch.utils.data.DataLoader(torch.linspace(0, 1, 8).reshape(8, 1), batch_size=2)


def trainer(logger: Any, folder: Path, **options: Any) -> Trainer:
    """Trains for two epochs, on the CPU, and without output."""
    settings = {"max_epochs": 2, "log_every_n_steps": 1, "default_root_dir": folder, "accelerator": "cpu"}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(logger=logger, **{**settings, **quiet, **options})


def fit(logger: Any, folder: Path, **options: Any) -> Trainer:
    """Trains for two epochs of four steps, and tests."""
    made = trainer(logger, folder, **options)
    model = Line()
    made.fit(model, data(), data())
    made.test(model, data(), verbose=False)
    return made


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
                made = fit(TaskLogger(), tmp_path, callbacks=[ModelCheckpoint()])
                assert isinstance(made.logger, TaskLogger)
                assert made.logger.task is task
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
            LeftOutWarning, match="left out of the group's tasks: 'lr'; the metric 'lr' is not"
        ):
            logger.log_metrics({"epoch": 1.0, "lr": 0.1, "loss/test": 0.125}, 1)
        logger.log_metrics({"lr": 0.2}, 2)
        with pytest.raises(UnknownFieldError):
            TaskLogger(task, context="split")
    assert backend.members[0].scalars == {
        ("loss", "train 2"): [(1, 0.5)],
        ("loss", "val 2"): [(1, 0.25)],
        ("accuracy", "check 2"): [(1, 0.75)],
        ("loss", "test 2"): [(1, 0.125)],
    }


class Forking(Line):
    """Logs the loss of both loops per step and per epoch, and names of its own that end like Lightning's."""

    def __init__(self, prefix: str = "train_") -> None:
        super().__init__()
        self.prefix = prefix

    def training_step(self, batch: Any, index: int) -> Any:
        loss = torch.nn.functional.mse_loss(self.layer(batch), 2 * batch)
        self.log(f"{self.prefix}loss", loss, on_step=True, on_epoch=True)
        self.log("train_time_per_step", 0.5, on_step=True, on_epoch=False)
        self.log("val_best_epoch", 1.0)
        self.log("loss/test", loss, on_step=True, on_epoch=True)
        return loss


def points(member: MemoryTask, *name: str) -> list[int]:
    """The iterations of a curve."""
    return [step for step, _ in member.scalars[name]]  # type: ignore[index]


@pytest.mark.parametrize("log_every", [1, 50])
def test_values_per_step_and_per_epoch(backend: MemoryStore, tmp_path: Path, log_every: int) -> None:
    """The mean of an epoch lies in one plot with `val_loss`; steps and the user's own names do not."""
    with TaskGroup("digits", "sweep") as group, group.task({"seed": 1}):
        options = {"log_every_n_steps": log_every, "enable_checkpointing": False}
        trainer(TaskLogger(), tmp_path, **options).fit(Forking(), data(), data())
    (member,) = backend.members
    per_step = {
        ("loss_step", "train"),
        ("time_per_step", "train"),
        ("loss_step", "test"),
        ("best_epoch", "val"),
    }
    per_epoch = {("loss", "train"), ("loss", "val"), ("loss", "test"), ("epoch", "value")}
    assert set(member.scalars) == per_epoch | (per_step if log_every == 1 else set())
    assert points(member, "loss", "train") == points(member, "loss", "val") == [3, 7]
    if log_every == 1:
        assert points(member, "loss_step", "train") == list(range(8))


def test_names_without_a_split_have_two_curves_too(backend: MemoryStore, tmp_path: Path) -> None:
    """Without a word for a split, the mean of an epoch has the name that the user wrote."""
    with TaskGroup("digits", "sweep") as group, group.task({"seed": 1}):
        trainer(TaskLogger(), tmp_path, enable_checkpointing=False).fit(Forking(""), data())
    scalars = backend.members[0].scalars
    assert {name for name in scalars if "loss" in name[0] and name[1] == "value"} == {
        ("loss", "value"),
        ("loss_step", "value"),
    }


@pytest.mark.parametrize(
    ("metrics", "found"),
    [
        (["loss"], [("loss", "train")]),
        (["loss", "loss_step"], [("loss", "train"), ("loss_step", "train")]),
        (["loss", "loss_epoch"], [("loss_epoch", "train")]),
        ([Metric("error", aliases={"train_loss": {"split": "fit"}})], [("error", "fit")]),
        ([Metric("error", aliases={"train_loss_epoch": {"split": "fit"}})], [("error", "fit")]),
    ],
)
def test_a_vocabulary_and_suffixes(backend: MemoryStore, metrics: Any, found: list[Any]) -> None:
    """What the vocabulary has as it is, is meant; else the name without the suffix."""
    with TaskGroup("digits", "sweep", metrics=metrics) as group, group.task({"seed": 1}):
        logger = TaskLogger()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LeftOutWarning)
            logger.log_metrics({"train_loss_step": 0.5, "epoch": 0}, 1)
        logger.log_metrics({"train_loss_epoch": 0.25, "epoch": 0}, 1)
    assert sorted(backend.members[0].scalars) == found


def test_suffixes_without_a_trainer(backend: MemoryStore) -> None:
    """Of names logged by hand, suffixes behind a split, or of both kinds, are read; no curves are merged."""
    with TaskGroup("digits", "sweep") as group:
        logger = TaskLogger(group.task({"seed": 1}))
        logger.log_metrics(
            {"train_loss_epoch": 0.5, "val_loss": 0.5, "time_per_step": 1.0, "best_epoch": 3}, 1
        )
        logger.log_metrics({"train_loss": 0.25}, 1)
        logger.log_metrics(
            {"acc_step": 0.5, "acc_epoch": 0.5, "f1/val_epoch/dataloader_idx_0": 0.5, "step": 2}
        )
    assert backend.members[0].scalars == {
        ("loss", "train"): [(1, 0.5)],
        ("loss", "val"): [(1, 0.5)],
        ("time_per_step", "value"): [(1, 1.0)],
        ("best_epoch", "value"): [(1, 3.0)],
        ("train_loss", "value"): [(1, 0.25)],
        ("acc_step", "value"): [(2, 0.5)],
        ("acc", "value"): [(2, 0.5)],
        ("f1/dataloader_idx_0", "val"): [(2, 0.5)],
    }


def test_the_experiment_is_a_writer_and_the_task(backend: MemoryStore) -> None:
    """It takes TensorBoard's calls, under the names that modules log, and the task's own."""
    with TaskGroup("digits", "sweep") as group:
        task = group.task({"seed": 1})
        logger = TaskLogger(task)
        logger.log_metrics({"train_loss": 0.5}, 1)
        logger.experiment.add_scalar("train_loss", 0.25, 2)
        logger.experiment.add_text("note", "words", 2)
        logger.experiment.report({"own": 1.0}, 2, split="val")
        logger.experiment.set_parameters({"lr": 0.1})
        logger.experiment.close()
        assert logger.experiment.task is logger.task is task
        assert (logger.experiment.key, logger.experiment.params) == (task.key, {"seed": 1, "lr": 0.1})
        assert task.status == "in_progress"
        with pytest.raises(AttributeError):
            logger.experiment.ad_scalar  # noqa: B018
    (member,) = backend.members
    assert member.scalars == {("loss", "train"): [(1, 0.5), (2, 0.25)], ("own", "val"): [(2, 1.0)]}
    assert member.console == "note [2]: words"


def test_other_ranks_log_nothing(backend: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a rank that is not 0, every call is accepted and does nothing."""
    with TaskGroup("digits", "sweep") as group:
        logger = TaskLogger(group.task({"seed": 1}))
        monkeypatch.setattr(rank_zero_only, "rank", 1)
        logger.log_metrics({"loss": 1.0}, 1)
        logger.log_hyperparams({"lr": 0.1})
        logger.log_image("samples", [torch.zeros(3, 8, 8)])
        logger.log_table("table", ["a"], [[1]])
        logger.experiment.add_scalar("loss", 1.0, 1)
        assert (logger.name, logger.version) == ("sweep", logger.task.key)
        assert logger.task.params == {"seed": 1}
    assert backend.members[0].scalars == {}


def test_hyperparameters_and_their_results(backend: MemoryStore) -> None:
    """Results are reported with the parameters; a module is stored as text, not with its weights."""
    with TaskGroup("digits", "sweep") as group:
        logger = TaskLogger(group.task({"seed": 1}))
        logger.log_hyperparams({"body": torch.nn.Linear(1, 1)}, {"val_acc": 0.5}, step=3)
        logger.log_hyperparams({}, metrics={"hp_metric": 0.5})
        assert "Linear(in_features=1" in logger.task.params["body"]
    (member,) = backend.members
    assert member.scalars == {("acc", "val"): [(3, 0.5)]}
    assert member.single_values == {"hp_metric/value": 0.5}


MEDIA = """
import warnings
warnings.simplefilter("ignore")
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from lightning.pytorch import LightningModule, Trainer
from clearml_taskgroup import TaskGroup
from clearml_taskgroup.integrations.lightning import TaskLogger

Image.new("RGB", (9, 7)).save("picture.png")

class Model(LightningModule):
    def training_step(self, batch, index):
        pass
    def configure_optimizers(self):
        return None
    def on_train_epoch_end(self):
        arrays = [torch.ones(3, 4, 5), np.ones((4, 5, 3)), np.eye(4) > 0, torch.ones(4, 5, 6)]
        images = [*arrays, Image.new("P", (5, 4)), "picture.png", Figure()]
        self.logger.log_image("val_samples", images, 3, caption=["a", "b", "", None, "e", 6, 7])
        self.logger.log_image(key="one", images=[np.zeros((1, 4, 5), np.uint8)])
        rows = [["cat", torch.tensor(1.5)], [torch.ones(2), float("nan")]]
        self.logger.log_table("val_rows", columns=["name", "score"], data=rows, step=3)
        self.logger.log_text("words", data=[["a", "b"]], step=4)
        self.logger.experiment.add_image("val_samples", torch.ones(3, 4, 5), 5)

with TaskGroup("project", "group", mode="offline", provenance=False) as group:
    with group.task({"C": 1}) as task:
        options = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
        trainer = Trainer(logger=TaskLogger(), max_epochs=1, enable_checkpointing=False, **options)
        trainer.fit(Model(), torch.utils.data.DataLoader(torch.ones(2, 1)))
events = told(session(task) / "metrics.jsonl")
def named(e):
    return [e["metric"], e["variant"], e["iter"]]
plots = [json.loads(e["plot_str"])["data"][0] for e in events if e["type"] == "plot"]
give({
    "images": [named(e) for e in events if "url" in e],
    "tables": [named(e) for e in events if e["type"] == "plot"],
    "cells": [[plot["header"]["values"], plot["cells"]["values"]] for plot in plots],
    "console": [e["msg"] for e in events if e["type"] == "log"],
})
"""


def test_images_and_tables(tmp_path: Path) -> None:
    """The calls of `WandbLogger` put images and tables into the real session, under the template's names."""
    done = run(MEDIA, tmp_path)
    assert done.trouble == []
    samples = [["samples", f"val {place}", 3] for place in range(7)]
    assert done.result["images"] == [*samples, ["one", "value", 2], ["samples", "val", 5]]
    assert done.result["tables"] == [["rows", "val", 3], ["words", "value", 4]]
    assert done.result["cells"] == [
        [["name", "score"], [["cat", "tensor([1., 1.])"], [1.5, "nan"]]],
        [["0", "1"], [["a"], ["b"]]],
    ]
    texts = "\n".join(done.result["console"])
    for line in ("val_samples 0 [3]: a", "val_samples 1 [3]: b", "val_samples 4 [3]: e"):
        assert line in texts


def test_images_and_tables_of_another_form(backend: MemoryStore, tmp_path: Path) -> None:
    """What cannot be an image or a table says what was given; further settings of images are skipped."""
    image = np.zeros((4, 5, 3))
    with TaskGroup("digits", "sweep") as group:
        logger = TaskLogger(group.task({"seed": 1}))
        for images in (image, "picture.png", [np.zeros((5, 4, 2))], [tmp_path / "missing.png"]):
            with pytest.raises(ArgumentError, match="images"):
                logger.log_image("samples", images)  # type: ignore[arg-type]
        with pytest.raises(ArgumentError, match=r"caption=.* a list of 1"):
            logger.log_image("samples", [image], caption=["a", "b"])
        with pytest.warns(LeftOutWarning, match=r"log_image\(boxes=…\)"):
            logger.log_image("samples", [image], boxes=[{}])
        for wrong in ({}, {"data": [[1]], "dataframe": [[1]]}, {"columns": ["a"], "data": [[1], [1, 2]]}):
            with pytest.raises(ArgumentError, match="data"):
                logger.log_table("rows", **wrong)


@pytest.mark.parametrize("call", ["log_image", "log_table", "log_text"])
def test_the_calls_are_those_of_wandb(call: str) -> None:
    """Code that calls `WandbLogger` needs no change: the parameters are the same, in the same order."""
    ours, theirs = (inspect.signature(getattr(kind, call)).parameters for kind in (TaskLogger, WandbLogger))
    assert [(one.name, one.kind, one.default) for one in ours.values()] == [
        (one.name, one.kind, one.default) for one in theirs.values()
    ]


def test_fabric(backend: MemoryStore) -> None:
    """Lightning's `Fabric` takes the logger, too."""
    with TaskGroup("digits", "sweep") as group, group.task({"seed": 1}):
        fabric = Fabric(accelerator="cpu", loggers=TaskLogger())
        fabric.log_dict({"train_loss": torch.tensor(0.5), "val_loss": 0.25}, step=3)
        fabric.logger.log_hyperparams({"lr": 0.1})
    (member,) = backend.members
    assert member.scalars == {("loss", "train"): [(3, 0.5)], ("loss", "val"): [(3, 0.25)]}


def test_loggers_are_pickled_with_their_trainers(tmp_path: Path) -> None:
    """Unpickled in its own process, a logger logs to the same task, under the same names."""
    with TaskGroup("digits", "sweep", mode="offline", provenance=False) as group, group.task({"seed": 1}):
        logger = TaskLogger()
        made = trainer(logger, tmp_path, enable_checkpointing=False)
        made.fit(Forking(), data(), data())
        for again in (pickle.loads(pickle.dumps(logger)), copy.deepcopy(logger)):
            assert again.task is logger.task
            again.log_metrics({"train_loss_epoch": 0.5}, 9)
    (curve,) = group.results().history("loss", split="train")
    assert curve.iterations == (3, 7, 9)


def test_the_steps_go_on(backend: MemoryStore, tmp_path: Path) -> None:
    """A training that is resumed from its checkpoint, with another trainer, goes on in the same curves."""
    with TaskGroup("digits", "sweep") as group, group.task({"seed": 1}) as task:
        logger = TaskLogger(save_dir=tmp_path / "runs")
        callback = ModelCheckpoint()
        trainer(logger, tmp_path, callbacks=[callback]).fit(Forking(), data(), data())
        assert callback.best_model_path.startswith(str(tmp_path / "runs" / "sweep" / task.key))
        resumed = trainer(TaskLogger(task), tmp_path, max_epochs=3, enable_checkpointing=False)
        resumed.validate(Forking(), data(), verbose=False)
        resumed.fit(Forking(), data(), data(), ckpt_path=callback.best_model_path)
        resumed.validate(Forking(), data(), verbose=False)
    (member,) = backend.members
    assert points(member, "loss_step", "train") == list(range(12))
    assert points(member, "loss", "train") == [3, 7, 11]
    assert points(member, "loss", "val") == [3, 7, 0, 11, 12]


def test_two_trainings_in_one_task(backend: MemoryStore, tmp_path: Path) -> None:
    """A second training begins at step 0 again; what is bound keeps its curves apart from the first one's."""
    with TaskGroup("digits", "sweep", template="{metric}/{split=value} {phase}") as group:
        with group.task({"seed": 1}) as task:
            for phase in ("pretrain", "finetune"):
                logger = TaskLogger(task.bind(phase=phase))
                fit(logger, tmp_path, enable_checkpointing=False)
                logger.experiment.report({"done": 1.0}, 0)
    (member,) = backend.members
    for phase in ("pretrain", "finetune"):
        assert points(member, "loss", f"train {phase}") == list(range(8))
        assert points(member, "loss", f"test {phase}") == [8]
        assert points(member, "done", f"value {phase}") == [0]


def test_gradient_accumulation_and_another_logger(backend: MemoryStore, tmp_path: Path) -> None:
    """Steps are those of the optimizer, as in the files of Lightning's own logger beside it."""
    with TaskGroup("digits", "sweep") as group, group.task({"seed": 1}) as task:
        csv = CSVLogger(tmp_path)
        loggers = [TaskLogger(), csv]
        options = {"accumulate_grad_batches": 2, "num_sanity_val_steps": 1, "enable_checkpointing": False}
        trainer(loggers, tmp_path, **options).fit(Forking(), data(), data())
        assert task.status == "in_progress"
    with open(Path(csv.log_dir) / "metrics.csv", newline="") as file:
        rows = list(DictReader(file))
    (member,) = backend.members
    for name, column in ((("loss_step", "train"), "train_loss_step"), (("loss", "val"), "val_loss")):
        expected = [(int(row["step"]), float(row[column])) for row in rows if row[column]]
        assert len(expected) == len(member.scalars[name])
        assert dict(member.scalars[name]) == pytest.approx(dict(expected))


def test_a_users_own_x_axis(backend: MemoryStore, tmp_path: Path) -> None:
    """A metric `step` is the iteration, as Lightning documents it."""

    class ByEpoch(Line):
        def on_train_epoch_end(self) -> None:
            self.log_dict({"train_mean": 0.5, "step": float(self.current_epoch)})

    with TaskGroup("digits", "sweep") as group, group.task({"seed": 1}):
        trainer(TaskLogger(), tmp_path, enable_checkpointing=False, log_every_n_steps=0).fit(
            ByEpoch(), data()
        )
    assert backend.members[0].scalars == {("mean", "train"): [(0, 0.5), (1, 0.5)]}


def test_the_former_package(tmp_path: Path) -> None:
    """With `pytorch_lightning`, its own classes are used, and `lightning` is not imported."""
    script = """
    import warnings
    warnings.simplefilter("ignore")
    import pytorch_lightning, torch
    from clearml_taskgroup import TaskGroup
    from clearml_taskgroup.integrations.lightning import TaskLogger
    from clearml_taskgroup.testing import recording

    class Model(pytorch_lightning.LightningModule):
        def training_step(self, batch, index):
            self.log("train_loss", 0.5, on_step=True, on_epoch=True)
        def configure_optimizers(self):
            return None

    with recording() as store, TaskGroup("project", "group") as group, group.task({"C": 1}):
        options = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
        more = {"enable_checkpointing": False, "max_epochs": 1, "log_every_n_steps": 1}
        trainer = pytorch_lightning.Trainer(logger=TaskLogger(), **options, **more)
        trainer.fit(Model(), torch.utils.data.DataLoader(torch.ones(2, 1)))
        ours = isinstance(trainer.logger, pytorch_lightning.loggers.Logger)
    give([ours, "lightning" in sys.modules, sorted(store.members[0].scalars)])
    """
    pytest.importorskip("pytorch_lightning")
    names = [["epoch", "value"], ["loss", "train"], ["loss_step", "train"]]
    assert run(script, tmp_path).result == [True, False, names]


def test_without_a_task() -> None:
    """Outside of a task's block a logger needs a task."""
    with pytest.raises(ArgumentError, match="a task of a group"):
        TaskLogger()
    with pytest.raises(ArgumentError, match="a task of a group"):
        TaskLogger("C=1")  # type: ignore[arg-type]
    assert GroupTask.current() is None
