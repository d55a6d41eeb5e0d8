"""Keras's own training, logging to a task of a group. CI skips it: all backends that train are large."""

from __future__ import annotations

import importlib.util
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.support.clearml_process import run

if not all(importlib.util.find_spec(package) for package in ("keras", "torch")):
    pytest.skip("needs keras and torch, which CI does not install", allow_module_level=True)

START = """
import warnings
warnings.simplefilter("ignore")
import keras
import numpy as np
from clearml_taskgroup import Metric, TaskGroup
from clearml_taskgroup.errors import ArgumentError
from clearml_taskgroup.integrations.keras import TaskCallback
from clearml_taskgroup.testing import recording

def told(task):
    return [[*name, points] for name, points in sorted(task.scalars.items())]
"""


def found(source: str, tmp_path: Path) -> Any:
    """Runs a script of its own: a backend holds for a whole process."""
    env = {"KERAS_BACKEND": "torch", "KERAS_HOME": str(tmp_path)}
    return run(START + textwrap.dedent(source), tmp_path, env=env).result


def test_keras_calls_back(tmp_path: Path) -> None:
    """Keras's list of callbacks takes ours; an epoch's values go to their splits, the epoch is x."""
    source = """
    with recording() as store:
        with TaskGroup("digits", "sweep") as group, group.task({"C": 1}) as task:
            callbacks = keras.callbacks.CallbackList([TaskCallback(), TaskCallback(task.bind(split="own"))])
            callbacks.on_train_begin()
            for epoch in range(2):
                callbacks.on_epoch_begin(epoch)
                callbacks.on_train_batch_end(0, {"loss": 9.0})
                logs = {"loss": 0.5, "val_loss": np.float32(0.25), "learning_rate": 0.1}
                callbacks.on_epoch_end(epoch, logs)
            callbacks.on_epoch_end(2, {})
            callbacks.on_train_end()
            status = task.status
        try:
            TaskCallback()
        except ArgumentError as error:
            give([status, told(store.members[0]), str(error)])
    """
    status, scalars, error = found(source, tmp_path)
    assert status == "in_progress"
    assert scalars == [
        ["learning_rate", "own", [[0, 0.1], [1, 0.1]]],
        ["learning_rate", "train", [[0, 0.1], [1, 0.1]]],
        ["loss", "own", [[0, 0.5], [1, 0.5]]],
        ["loss", "train", [[0, 0.5], [1, 0.5]]],
        ["loss", "val", [[0, 0.25], [1, 0.25]]],
        ["val_loss", "own", [[0, 0.25], [1, 0.25]]],
    ]
    assert "a task of a group" in error


def test_a_training(tmp_path: Path) -> None:
    """A model's own history is what the task has, and the task goes on after the training."""
    source = """
    metrics = [Metric("loss"), Metric("error", aliases={"mae": {}, "val_mae": {"split": "check"}})]
    with recording() as store:
        with TaskGroup("digits", "sweep", template="{metric}/{split}", metrics=metrics) as group:
            for task in group.sweep({"units": [1, 2]}):
                with task:
                    layers = [keras.layers.Dense(task.params["units"]), keras.layers.Dense(1)]
                    model = keras.Sequential(layers)
                    model.compile(loss="mse", metrics=["mae"])
                    x = np.linspace(0, 1, 16).reshape(16, 1)
                    given = {"validation_split": 0.25, "epochs": 3, "verbose": 0}
                    history = model.fit(x, 2 * x, callbacks=[TaskCallback()], **given).history
                    assert task.status == "in_progress"
    give([told(store.members[1]), history, [task.status for task in store.members]])
    """
    scalars, history, statuses = found(source, tmp_path)
    assert statuses == ["completed", "completed"]
    curves = {(title, series): [value for _, value in points] for title, series, points in scalars}
    assert curves == {
        ("loss", "train"): pytest.approx(history["loss"]),
        ("loss", "val"): pytest.approx(history["val_loss"]),
        ("error", "train"): pytest.approx(history["mae"]),
        ("error", "check"): pytest.approx(history["val_mae"]),
    }
