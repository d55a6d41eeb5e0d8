"""Keras's own training, logging to a task of a group."""

from __future__ import annotations

import importlib.util
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.support.clearml_process import run

if not all(importlib.util.find_spec(package) for package in ("keras", "torch")):
    pytest.skip("needs keras and torch", allow_module_level=True)

pytestmark = pytest.mark.frameworks

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


def test_the_learning_rate_and_the_first_epoch(tmp_path: Path) -> None:
    """The rate of each epoch is logged, also with a schedule; `initial_epoch` is where the curves begin."""
    source = """
    def fitted(optimizer, **more):
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(optimizer, loss="mse")
        x = np.ones((8, 1))
        model.fit(x, x, epochs=4, initial_epoch=2, batch_size=8, verbose=0, **more)
        return model
    with recording() as store, TaskGroup("digits", "sweep") as group:
        schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.5, 0.25])
        with group.task({"C": 1}):
            fitted(keras.optimizers.SGD(schedule), callbacks=[TaskCallback()])
        with group.task({"C": 2}):
            later = keras.callbacks.LearningRateScheduler(lambda epoch: 1 / epoch)
            fitted("sgd", callbacks=[TaskCallback(), later])
    give([dict(task.scalars)["learning_rate", "train"] for task in store.members])
    """
    first, second = found(source, tmp_path)
    assert [step for step, _ in first] == [2, 3]
    assert [rate for _, rate in first][-1] == 0.25
    assert second == [[2, 0.5], [3, pytest.approx(1 / 3)]]


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_an_evaluation(tmp_path: Path, backend: str) -> None:
    """`evaluate` is the split `test`, once; validation within `fit` is not reported a second time."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs {backend}")
    source = """
    x = np.linspace(0, 1, 8).reshape(8, 1)

    class Evaluating(keras.callbacks.Callback):
        def __init__(self, callback):
            super().__init__()
            self.callback = callback
        def on_epoch_end(self, epoch, logs=None):
            self.model.evaluate(x, x, verbose=0, callbacks=[self.callback])

    class Failing(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            raise KeyboardInterrupt

    class Counting:
        calls = []
        def put(self, values, iteration):
            self.calls.append([sorted(values), iteration])

    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(loss="mse", metrics=["mae"])
    given = {"validation_split": 0.5, "epochs": 2, "verbose": 0}
    with recording() as store, TaskGroup("digits", "sweep") as group:
        with group.task({"C": 1}) as task:
            before = model.evaluate(x, x, verbose=0, return_dict=True, callbacks=[TaskCallback()])
        with group.task({"C": 2}) as task:
            callback = TaskCallback()
            model.fit(x, x, callbacks=[callback], **given)
            model.predict(x, verbose=0, callbacks=[callback])
            after = model.evaluate(x, x, verbose=0, return_dict=True, callbacks=[callback])
        with group.task({"C": 3}) as task:
            callback = TaskCallback(task.bind(split="own"))
            model.fit(x, x, callbacks=[callback, Evaluating(callback)], **given)
        with group.task({"C": 4}) as task:
            callback = TaskCallback()
            try:
                model.fit(x, x, callbacks=[callback, Failing()], **given)
            except KeyboardInterrupt:
                callback._relay = Counting()
                model.evaluate(x, x, verbose=0, callbacks=[callback])
    first, second, third, _ = store.members
    steps = {name[0]: [step for step, _ in points] for name, points in third.scalars.items()}
    give([before, first.single_values, after, told(second), steps, Counting.calls])
    """
    env = {"KERAS_BACKEND": backend, "KERAS_HOME": str(tmp_path)}
    done = run(START + textwrap.dedent(source), tmp_path, env=env)
    before, single, after, second, third, calls = done.result
    assert single == {"loss/test": pytest.approx(before["loss"]), "mae/test": pytest.approx(before["mae"])}
    curves = {(title, series): points for title, series, points in second}
    assert curves["loss", "test"] == [[1, pytest.approx(after["loss"])]]
    assert set(curves) == {("learning_rate", "train")} | {
        (metric, split) for metric in ("loss", "mae") for split in ("train", "val", "test")
    }
    assert [step for step, _ in curves["loss", "val"]] == [0, 1]
    names = ("loss", "mae", "val_loss", "val_mae", "test_loss", "test_mae", "learning_rate")
    assert third == {name: [0, 1] for name in names}
    assert calls == [[["test_loss", "test_mae"], None]]
