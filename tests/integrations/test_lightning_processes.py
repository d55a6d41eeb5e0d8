"""Lightning's strategies with two processes on the CPU: each point is logged once, and tasks end."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from tests.loopback import LoopbackServer
from tests.support.clearml_process import PRELUDE, start

if not importlib.util.find_spec("lightning"):
    pytest.skip("needs lightning and torch", allow_module_level=True)

pytestmark = pytest.mark.frameworks

SCRIPT = """
import warnings
warnings.simplefilter("ignore")
sys.modules["tensorflow"] = None  # TensorBoard would import it in each process, which takes seconds
import torch
from lightning.pytorch import LightningModule, Trainer
from clearml_taskgroup import TaskGroup
from clearml_taskgroup.integrations.lightning import TaskLogger

class Line(LightningModule):
    def __init__(self, lr, units=3):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, index):
        loss = torch.nn.functional.mse_loss(self.layer(batch), 2 * batch)
        self.log("train_loss", loss, on_step=True, on_epoch=True, sync_dist=True)
        self.logger.experiment.add_scalar("seen", len(batch), self.global_step)
        return loss

    def validation_step(self, batch, index):
        loss = torch.nn.functional.mse_loss(self.layer(batch), 2 * batch)
        self.log("val_loss", loss, sync_dist=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams["lr"])

def data():
    return torch.utils.data.DataLoader(torch.linspace(0, 1, 16).reshape(16, 1), batch_size=2)

if __name__ == "__main__":
    strategy, rates = sys.argv[1], json.loads(sys.argv[2])
    with TaskGroup("project", "group", provenance=False) as group:
        for task in group.sweep({"lr": rates}):
            with task:
                quiet = {"enable_progress_bar": False, "enable_model_summary": False}
                options = {"max_epochs": 2, "log_every_n_steps": 1, "enable_checkpointing": False, **quiet}
                devices = {"accelerator": "cpu", "devices": 2, "strategy": strategy}
                trainer = Trainer(logger=TaskLogger(), **devices, **options)
                trainer.fit(Line(task.params["lr"]), data(), data())
                task.report({"after": 1.0})
                assert task.status == "in_progress"
    if group.mode != "disabled":
        rows = group.results()
        tasks = list(group)
        give({
            "statuses": [row.status for row in rows],
            "params": [task.params for task in tasks],
            "steps": [list(curve.iterations) for curve in rows.history("loss_step", split="train")],
            "ids": [task.id for task in tasks],
            "folders": [] if group.mode == "online" else [str(session(task)) for task in tasks],
        })
"""
CURVES = {  # the iterations of the points that rank 0 sees
    ("loss_step", "train"): range(8),
    ("loss", "train"): (3, 7),
    ("loss", "val"): (3, 7),
    ("seen", "value"): range(8),
}


@pytest.mark.parametrize(
    ("strategy", "rates", "online"),
    [
        ("ddp", [0.1, 0.2], False),
        ("ddp_notebook", [0.1, 0.2], False),
        ("ddp_notebook", [0.1], True),
        ("ddp_spawn", [0.1], False),
        ("ddp_spawn", [0.1], True),
    ],
)
def test_two_processes(tmp_path: Path, strategy: str, rates: list[float], online: bool) -> None:
    """Rank 0 logs, hyperparameters arrive, and each task ends with its block, without a hang."""
    script = tmp_path / "train.py"
    script.write_text(PRELUDE + SCRIPT)
    with LoopbackServer() as server:
        env = server.environment() if online else {"CLEARML_OFFLINE_MODE": "1"}
        done = start([str(script), strategy, str(rates)], tmp_path, env=env, timeout=240)
        assert done.trouble == []
        found = done.result
        if online:
            stored = [server.scalars(task) for task in found["ids"]]
        else:
            stored = [points_of(Path(folder)) for folder in found["folders"]]
    assert found["statuses"] == ["completed"] * len(rates)
    assert found["params"] == [{"lr": rate, "units": 3} for rate in rates]
    assert found["steps"] == [list(range(8))] * len(rates)
    for curves in stored:
        for name, steps in CURVES.items():
            assert [step for step, _ in curves[name]] == list(steps), name


def points_of(session: Path) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """The points of an offline session by title and series, as often as they are there."""
    curves: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for line in (session / "metrics.jsonl").read_text().splitlines():
        for event in json.loads(line):
            if event["type"] == "training_stats_scalar":
                point = (event["iter"], event["value"])
                curves.setdefault((event["metric"], event["variant"]), []).append(point)
    return {name: sorted(points) for name, points in curves.items()}
