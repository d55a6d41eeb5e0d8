"""TensorBoard as torch, TensorFlow and Keras use it, in the blocks of tasks."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.support.clearml_process import run

pytestmark = pytest.mark.frameworks
START = """
import numpy as np
from clearml_taskgroup import TaskGroup

warnings.simplefilter("ignore")

def sweep(train, threads=False):
    with TaskGroup("project", "group", auto_connect_frameworks=True, provenance=False) as group:
        tasks = group.tasks({"seed": [1, 2]})
        def work(task):
            with task:
                train(task.params["seed"])
        running = [threading.Thread(target=work, args=(task,)) for task in tasks]
        for one in running:
            one.start()
            if not threads:
                one.join()
        for one in running:
            one.join()
    found = []
    for task in tasks:
        events = told(session(task) / "metrics.jsonl")
        curves, others = {}, set()
        for event in events:
            kind, name = event["type"], f"{event['metric']}|{event['variant']}"
            if kind == "training_stats_scalar":
                curves.setdefault(name, []).append([event["iter"], event["value"]])
            else:
                others.add((kind.removeprefix("training_debug_"), event["metric"]))
        found.append([curves, sorted(others), task.params])
    return found
"""


def found(script: str, tmp_path: Path, *packages: str) -> Any:
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}")
    env = {"CLEARML_OFFLINE_MODE": "1", "KERAS_HOME": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return run(START + script, tmp_path, env=env, timeout=300).result


def test_torch(tmp_path: Path) -> None:
    """Every call of the writer, one task after the other and at once."""
    script = """
import torch
from torch.utils.tensorboard import SummaryWriter

def train(seed):
    with SummaryWriter(f"logs{seed}") as writer:
        for step in range(2):
            writer.add_scalar("loss/train", seed, step)
        writer.add_scalars("accuracy", {"train": 0.5, "val": 0.25}, 1)
        writer.add_histogram("weights", torch.arange(10.0), 1)
        writer.add_image("image", torch.zeros(3, 4, 4), 1)
        writer.add_text("note", "text", 1)
        writer.add_audio("sound", torch.zeros(1, 100), 1)
        writer.add_pr_curve("pr", torch.tensor([0, 1, 1]), torch.tensor([0.1, 0.8, 0.6]), 1)
        writer.add_hparams({"lr": 0.5, "flag": True, "seed": seed}, {"score": seed})

give([sweep(train), sweep(train, threads=True)])
"""
    for of_sweep in found(script, tmp_path, "torch", "tensorboard"):
        for seed, (curves, others, params) in enumerate(of_sweep, 1):
            assert curves == {
                "loss|train": [[0, seed], [1, seed]],
                "accuracy|train": [[1, 0.5]],
                "accuracy|val": [[1, 0.25]],
                "score|value": [[0, seed]],
            }
            plots = [["plot", "Histograms"], ["plot", "pr"]]
            assert others == [["image", name] for name in ("Audio", "Images", "note")] + plots
            assert params == {"seed": seed, "lr": 0.5, "flag": 1.0}


def test_keras_and_tensorflow(tmp_path: Path) -> None:
    """Keras's callback has a writer for each split, with the same tags."""
    script = """
import keras
import tensorflow as tf

def train(seed):
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((8, 2))
    callback = keras.callbacks.TensorBoard(f"logs{seed}", write_graph=False)
    model.fit(x, x.sum(1), epochs=2, verbose=0, validation_data=(x, x.sum(1)), callbacks=[callback])
    with tf.summary.create_file_writer(f"own{seed}").as_default():
        tf.summary.scalar("own", float(seed), step=3)
        tf.summary.image("image", tf.zeros((1, 4, 4, 3)), step=3)
        tf.summary.text("note", "text", step=3)

give(sweep(train))
"""
    for seed, (curves, others, _) in enumerate(found(script, tmp_path, "keras", "tensorflow"), 1):
        assert curves["own|value"] == [[3, seed]]
        for name in ("epoch_loss|train", "epoch_loss|validation"):
            assert [step for step, _ in curves[name]] == [0, 1]
        assert others == [["image", "Images"], ["image", "Text"]]
