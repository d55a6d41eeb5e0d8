"""Ray Tune's own trials as tasks of a group."""

from __future__ import annotations

import copy
import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup.errors import ArgumentError, GroupStateError, LeftOutWarning
from clearml_taskgroup.testing import MemoryStore
from tests.support.runs import stop

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("ray", reason="needs ray[tune]")
    import ray
    from ray import cloudpickle, tune
    from ray.tune.schedulers import ASHAScheduler

from clearml_taskgroup.integrations.ray_tune import TaskGroupCallback

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("ignore:(?!.*left out)")]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """Starts Ray for two trials at once."""
    options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
        ray.init(num_cpus=2, _node_ip_address="127.0.0.1", **options)
        yield
        ray.shutdown()


def run_config(folder: Path, *callbacks: Any) -> Any:
    return tune.RunConfig(callbacks=list(callbacks), storage_path=str(folder), name="trials", verbose=0)


class At(tune.Callback):  # type: ignore[misc,unused-ignore]
    """Calls a function when a trial reports an iteration."""

    def __init__(self, iteration: int, call: Any) -> None:
        self.iteration, self.call = iteration, call

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
        if self.call is not None and result["training_iteration"] == self.iteration:
            self.call(trial)

    def __getstate__(self) -> dict[str, Any]:
        return {"iteration": self.iteration, "call": None}


def test_config_results_and_errors(backend: MemoryStore, tmp_path: Path) -> None:
    """A trial is a task with its config, what it reports, and its error; Tune's own columns are left out."""

    def train(config: Any) -> None:
        for step in range(3):
            if config["lr"] == 0.2 and step == 1:
                raise ValueError("the loss has exploded")
            tune.report({"loss": config["lr"], "val_loss": 2.0, "val": {"accuracy": step}, "phase": "warm"})

    space = {
        "lr": tune.grid_search([0.1, 0.2]),
        "opt": {"beta": 0.9, "act": np.tanh},
        "data": np.zeros(2_000_000),
    }
    with TaskGroup("digits", "tune") as group:
        settings = run_config(tmp_path, TaskGroupCallback(group))
        tuner = tune.Tuner(train, param_space=space, run_config=settings)
        with pytest.warns(LeftOutWarning) as caught:
            found = tuner.fit()
        rows = {row.params["lr"]: row for row in group.results()}
    told = [str(warning.message) for warning in caught if warning.category is LeftOutWarning]
    assert ["'data'" in text or "'phase'" in text for text in told] == [True, True]
    good, bad = rows[0.1], rows[0.2]
    assert good.params == {"lr": 0.1, "opt/beta": 0.9, "opt/act": "numpy.tanh"}
    assert (good.status, bad.status) == ("completed", "failed")
    assert good.key == found[0].metrics["trial_id"]
    assert bad.status_reason == "ValueError: the loss has exploded"
    members = {member.params["lr"]: member for member in backend.members}
    assert members[0.1].scalars == {
        ("loss", "value"): [(1, 0.1), (2, 0.1), (3, 0.1)],
        ("loss", "val"): [(1, 2.0), (2, 2.0), (3, 2.0)],
        ("accuracy", "val"): [(1, 0.0), (2, 1.0), (3, 2.0)],
    }
    assert members[0.2].scalars["loss", "value"] == [(1, 0.2)]
    assert 'raise ValueError("the loss has exploded")' in members[0.2].console
    assert "\x1b" not in members[0.2].console


def test_retries_and_a_scheduler(backend: MemoryStore, tmp_path: Path) -> None:
    """A trial that is tried again goes on in its task; one that a scheduler ends early is completed."""
    tried = tmp_path / "tried"

    class Model(tune.Trainable):  # type: ignore[misc,unused-ignore]
        def setup(self, config: Any) -> None:
            self.lr = config["lr"]

        def step(self) -> dict[str, Any]:
            if self.lr == 1 and self.iteration == 1 and not tried.exists():
                tried.touch()
                raise OSError("the disk is away")
            return {"loss": self.lr, "epoch_s": 0.5}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            (Path(checkpoint_dir) / "lr").write_text(str(self.lr))

        def load_checkpoint(self, checkpoint: Any) -> None: ...

    with TaskGroup("digits", "tune") as group:
        # The first one is the best, so that the other two are ended at the first rung.
        scheduler = ASHAScheduler(
            "training_iteration", "loss", "min", max_t=4, grace_period=2, reduction_factor=2
        )
        tune.run(  # the older interface
            Model,
            config={"lr": tune.grid_search([1, 2, 3])},
            callbacks=[TaskGroupCallback(only=["loss", "time_this_iter_s"])],
            scheduler=scheduler,
            max_failures=1,
            max_concurrent_trials=1,
            storage_path=str(tmp_path / "trials"),
            verbose=0,
        )
        rows = {row.params["lr"]: row for row in group.results()}
    assert {(row.status, row.attempt) for row in rows.values()} == {("completed", 1)}
    assert set(rows) == {1, 2, 3}
    members = {member.params["lr"]: member for member in backend.members}
    steps = {lr: [step for step, _ in member.scalars["loss", "value"]] for lr, member in members.items()}
    assert steps == {1: [1, 1, 2, 3, 4], 2: [1, 2], 3: [1, 2]}
    assert set(members[2].scalars) == {("loss", "value"), ("time_this_iter_s", "value")}
    assert "OSError: the disk is away\nTune tries the trial again" in members[1].console


def test_interrupted_and_restored(backend: MemoryStore, tmp_path: Path) -> None:
    """Ctrl-C stops the tasks of trials that run; `Tuner.restore` opens other attempts in the same group."""

    def train(config: Any) -> None:
        for step in range(4):
            tune.report({"loss": step})

    def interrupt(trial: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    group = TaskGroup("digits", "tune").open()  # as in a notebook
    handler = signal.getsignal(signal.SIGINT)
    try:
        settings = run_config(tmp_path, TaskGroupCallback(group), At(2, interrupt))
        tune.Tuner(train, run_config=settings).fit()
    finally:
        signal.signal(signal.SIGINT, handler)
    (row,) = group.results()
    assert (row.status, row.status_reason) == ("stopped", "Tune's experiment ended before the trial did")
    tune.Tuner.restore(str(tmp_path / "trials"), train).fit()
    (row,) = group.results()
    assert (row.status, row.attempt) == ("completed", 2)
    assert [step for step, _ in backend.members[-1].scalars["loss", "value"]] == [1, 2, 3, 4]
    group.close()
    with TaskGroup("digits", "again") as other:
        tune.Tuner.restore(str(tmp_path / "trials"), train, restart_errored=True).fit()
        assert len(other) == 0  # all had completed


def test_aborted_tasks(backend: MemoryStore, tmp_path: Path) -> None:
    """A trial whose task somebody has stopped ends with its next result; the others go on."""

    def train(config: Any) -> None:
        for step in range(30):
            tune.report({"loss": config["lr"], "step": step})
            if config["lr"] == 3 and step == 1:
                raise ValueError("its second attempt finds that the task was stopped")

    def stop_some(trial: Any) -> None:
        if trial.config["lr"] in (1, 3):
            task = group.get(key=trial.trial_id)
            stop(task, reason="not worth it")

    with TaskGroup("digits", "tune") as group:
        settings = run_config(tmp_path, At(2, stop_some), TaskGroupCallback())
        settings.failure_config = tune.FailureConfig(max_failures=1)
        space = {"lr": tune.grid_search([1, 2, 3])}
        found = tune.Tuner(train, param_space=space, run_config=settings).fit()
        rows = {row.params["lr"]: row for row in group.results()}
    assert {lr: (row.status, row.status_reason) for lr, row in rows.items()} == {
        1: ("stopped", "not worth it"),
        2: ("completed", ""),
        3: ("stopped", "not worth it"),
    }
    assert [result.metrics["training_iteration"] for result in found] == [3, 30, 1]


def test_copies_find_the_group_again(backend: MemoryStore) -> None:
    """Copies and pickled callbacks log to the open group of the same id, else to that of the block."""
    with TaskGroup("digits", "tune") as group:
        callback = TaskGroupCallback(group)
        for like in (copy.deepcopy(callback), cloudpickle.loads(cloudpickle.dumps(callback))):
            with TaskGroup("digits", "other"):
                like.setup()
            assert like._group is group
    data = cloudpickle.dumps(callback)
    with pytest.raises(GroupStateError, match="closed"):
        callback.setup()
    with pytest.raises(ArgumentError, match=r"TaskGroupCallback\(group\)"):
        cloudpickle.loads(data).setup()
    with TaskGroup("digits", "other") as other:
        like = cloudpickle.loads(data)
        like.setup()
    assert like._group is other


def test_arguments() -> None:
    """A task is no group, and a pattern is text."""
    with pytest.raises(ArgumentError, match="a TaskGroup"):
        TaskGroupCallback("digits")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="patterns"):
        TaskGroupCallback(ignore=[1])  # type: ignore[list-item]
