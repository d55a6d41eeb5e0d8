"""accelerate's own training loop, logging to a task of a group."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup.errors import ArgumentError, LeftOutWarning, ParameterError
from clearml_taskgroup.testing import MemoryStore
from tests.support.clearml_process import MARK, PRELUDE, Finished, environment

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("accelerate", reason="needs accelerate and torch")
    import torch
    from accelerate import Accelerator

from clearml_taskgroup.integrations.accelerate import TaskTracker

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("ignore:(?!.*left out)")]


def test_training(backend: MemoryStore) -> None:
    """The config is parameters, what is logged with a step is a curve, and without one a single value."""
    with TaskGroup("digits", "sweep") as group:
        with group.task({"lr": 0.1}) as task:
            accelerator = Accelerator(cpu=True, log_with=TaskTracker(ignore="epoch*"))
            accelerator.init_trackers("digits", config={"lr": 0.1, "optimizer": {"name": "sgd"}})
            model = torch.nn.Linear(1, 1)
            optimizer = torch.optim.SGD(model.parameters(), task.params["lr"])
            model, optimizer = accelerator.prepare(model, optimizer)
            x = torch.tensor([[0.0], [1.0]])
            for step in range(3):
                loss = ((model(x) - 2 * x) ** 2).mean()
                optimizer.zero_grad()
                accelerator.backward(loss)
                optimizer.step()
                accelerator.log({"train_loss": loss, "val": {"loss": 0.5}, "epoch": 1}, step=step)
            accelerator.log({"test_accuracy": 0.75})
            with pytest.warns(LeftOutWarning, match="'phase'"):
                accelerator.log({"phase": "warm"}, step=3)
            assert accelerator.get_tracker("clearml_taskgroup", unwrap=True) is task
            with pytest.raises(ParameterError, match="identity"):
                accelerator.init_trackers("digits", config={"lr": 0.2})
            accelerator.end_training()
            assert task.status == "in_progress"
    (member,) = backend.members
    assert member.params == {"lr": 0.1, "optimizer/name": "sgd"}
    assert [step for step, _ in member.scalars["loss", "train"]] == [0, 1, 2]
    assert member.scalars["loss", "val"] == [(0, 0.5), (1, 0.5), (2, 0.5)]
    assert set(member.scalars) == {("loss", "train"), ("loss", "val")}
    assert list(member.single_values.values()) == [0.75]


def test_images_and_tables(tmp_path: Path) -> None:
    """Images are debug samples, tables are plots, with the names that numbers have."""
    script = PRELUDE + MEDIA
    (tmp_path / "script.py").write_text(script)
    env = environment(tmp_path, {"CLEARML_OFFLINE_MODE": "1"})
    command = [sys.executable, str(tmp_path / "script.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=240)
    result = Finished(done.returncode, done.stdout, done.stderr).result
    images = [["digits", "val 0", 7], ["digits", "val 1", 7], ["one", "value", 7]]
    assert result == [images, ["table", "worst", "val", 7], "ArgumentError"]


MEDIA = """
import numpy as np
from accelerate import Accelerator
from clearml_taskgroup import TaskGroup
from clearml_taskgroup.integrations.accelerate import TaskTracker

with TaskGroup("digits", "media") as group:
    with group.task({"lr": 0.1}) as task:
        accelerator = Accelerator(cpu=True, log_with=TaskTracker())
        accelerator.init_trackers("digits")
        tracker = accelerator.get_tracker("clearml_taskgroup")
        tracker.log_images({"val_digits": np.zeros((2, 4, 4, 3)), "one": np.zeros((4, 4))}, step=7)
        tracker.log_table("val/worst", columns=["digit", "score"], data=[[3, 0.1]], step=7)
        try:
            tracker.log_table("rows")
        except Exception as error:
            problem = type(error).__name__
events = told(session(task) / "metrics.jsonl")
images = [[e["metric"], e["variant"], e["iter"]] for e in events if e["type"] == "training_debug_image"]
(plot,) = [e for e in events if e["type"] == "plot"]
kind = json.loads(plot["plot_str"])["data"][0]["type"]
give([sorted(images), [kind, plot["metric"], plot["variant"], plot["iter"]], problem])
"""


TRAINING = """
import torch
from accelerate import Accelerator
from clearml_taskgroup import TaskGroup
from clearml_taskgroup.integrations.accelerate import TaskTracker

def train(task):
    accelerator = Accelerator(cpu=True, log_with=TaskTracker(task))
    assert accelerator.num_processes == 2
    accelerator.init_trackers("digits", config={"lr": 0.1})
    model = torch.nn.Linear(1, 1)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), 0.1))
    x = torch.tensor([[float(accelerator.process_index)]])
    for step in range(3):
        loss = ((model(x) - 2 * x) ** 2).mean()
        accelerator.backward(loss)
        optimizer.step()
        values = {"train_loss": accelerator.gather(loss.detach()).mean(), "rank": accelerator.process_index}
        accelerator.log(values, step=step)
    accelerator.end_training()

def summary(group):
    (row,) = group.results()
    steps = row.history("loss", split="train").iterations
    give([row.status, row.params, list(steps), row.value("rank", of="max")])
"""
LAUNCHED = """
with TaskGroup("digits", "ddp") as group:
    for task in group.sweep({"lr": [0.1]}):
        with task:
            train(task)
    if os.environ["RANK"] == "0":
        summary(group)
"""
FORKED = """
from accelerate import debug_launcher
with TaskGroup("digits", "ddp") as group:
    with group.task({"lr": 0.1}) as task:
        debug_launcher(train, (task,), num_processes=2)
    summary(group)
"""


@pytest.mark.parametrize("how", ["torchrun", "fork"])
def test_two_processes(tmp_path: Path, how: str) -> None:
    """Only the main process logs, started by torchrun or as a forked child of the group's process."""
    script = tmp_path / "script.py"
    script.write_text(PRELUDE + TRAINING + (LAUNCHED if how == "torchrun" else FORKED))
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    more = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "CLEARML_OFFLINE_MODE": "1"}
    done = subprocess.run(
        [sys.executable, *(launcher if how == "torchrun" else []), str(script)],
        capture_output=True,
        text=True,
        env=environment(tmp_path, more),
        timeout=240,
    )
    result = Finished(done.returncode, done.stdout, done.stderr).result
    assert result == ["completed", {"lr": 0.1}, [0, 1, 2], 0]
    assert done.stdout.count(MARK) == 1
    assert len(list((tmp_path / "cache").rglob("task.json"))) == 2  # the task and its parent


def test_without_a_task() -> None:
    """Outside of a task's block a tracker needs a task."""
    with pytest.raises(ArgumentError, match="a task of a group"):
        TaskTracker()
