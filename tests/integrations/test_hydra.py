"""Hydra's own jobs as tasks of a group: one run for a multirun, with the launchers basic and joblib."""

from __future__ import annotations

import contextlib
import copy
import functools
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._clearml.login_errors import LoginDelayed
from clearml_taskgroup._run.abort import abort_run
from clearml_taskgroup._storage import script_detection
from clearml_taskgroup._storage.script_detection import Detected
from clearml_taskgroup.errors import ArgumentError, DriftWarning, ServerNameError, TaskAbortedError
from clearml_taskgroup.testing import MemoryStore
from tests.loopback import LoopbackServer
from tests.loopback.harness import sdk_environment
from tests.support.runs import only, originals, stop
from tests.support.scripts import Disk, environment

hydra = pytest.importorskip("hydra", reason="needs the extra 'hydra'")
from hydra._internal.callbacks import Callbacks  # noqa: E402
from hydra.conf import HydraConf  # noqa: E402
from hydra.core.utils import run_job  # noqa: E402
from hydra.types import HydraContext  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402

from clearml_taskgroup.integrations import hydra as integration  # noqa: E402
from clearml_taskgroup.integrations.hydra import TaskGroupCallback  # noqa: E402

CONFIG = """
lr: 1.0
seed: 0
hydra:
  callbacks:
    taskgroup:
      _target_: clearml_taskgroup.integrations.hydra.TaskGroupCallback
      project: digits
      provenance: false
"""


@functools.cache
def _common_config() -> Any:
    """What the configs of all jobs have in common: to make it takes longer than to copy it."""
    of_hydra = HydraConf(output_subdir=None)
    of_hydra.job.name, of_hydra.job.chdir = "train", True
    of_hydra.run.dir, of_hydra.sweep.dir = "outputs", "multirun"
    return OmegaConf.create({"lr": 1.0, "seed": 0, "hydra": OmegaConf.structured(of_hydra)})


@attrs.define
class Launcher:
    """Runs jobs as Hydra's basic launcher does. To compose the config of each, Hydra itself takes 0.3 s."""

    folder: Path
    returned: list[Any] = attrs.field(factory=list)

    def config(self, overrides: Sequence[str], number: int | None = None) -> Any:
        """Gives the config of a job, or of all of them."""
        config = copy.deepcopy(_common_config())
        of_hydra = config.hydra
        if number is not None:
            of_hydra.job.num = number
        of_hydra.sweep.subdir = str(number)
        of_hydra.runtime.cwd, of_hydra.overrides.task = str(self.folder), list(overrides)
        config.merge_with(OmegaConf.from_dotlist(list(overrides)))
        return config

    def single(self, fn: Callable[[Any], Any], *overrides: str, **options: Any) -> None:
        """Runs one job without a multirun."""
        callbacks = self._callbacks(options)
        config = self.config(overrides)
        callbacks.on_run_start(config=config, config_name=None)
        context = HydraContext(None, callbacks)  # type: ignore[arg-type]
        job_return = run_job(fn, config, "hydra.run.dir", None, context, configure_logging=False)
        callbacks.on_run_end(config=config, config_name=None, job_return=job_return)
        self.returned = [job_return.return_value]

    def multirun(
        self,
        fn: Callable[[Any], Any],
        *jobs: str,
        elsewhere: bool = False,
        **options: Any,
    ) -> None:
        """Runs one job for each text of overrides; `elsewhere`, as in other processes."""
        callbacks = self._callbacks(options)
        config = self.config([])
        callbacks.on_multirun_start(config=config, config_name=None)
        returned = []
        for number, overrides in enumerate(jobs):
            of_job = self.config(overrides.split(), number)
            dirs = ("hydra.sweep.dir", "hydra.sweep.subdir")
            with _other_process(callbacks) if elsewhere else contextlib.nullcontext(callbacks) as its_own:
                context = HydraContext(None, its_own)  # type: ignore[arg-type]
                returned.append(run_job(fn, of_job, *dirs, context, configure_logging=False))
        self.returned = [one.return_value for one in returned]  # raises the error of the first that failed
        callbacks.on_multirun_end(config=config, config_name=None)

    def _callbacks(self, options: Mapping[str, Any]) -> Callbacks:
        callbacks = Callbacks()
        callbacks.callbacks = [TaskGroupCallback(**{"project": "digits", "provenance": False, **options})]
        return callbacks


@contextlib.contextmanager
def _other_process(callbacks: Callbacks) -> Iterator[Callbacks]:
    """A launcher pickles the callbacks for another process, where no group is open."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(integration, "_open", [])
        yield pickle.loads(pickle.dumps(callbacks))
        assert integration._open == []


@pytest.fixture
def hydra_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Launcher]:
    """Runs jobs in this process."""
    monkeypatch.chdir(tmp_path)
    yield Launcher(tmp_path)
    integration._close_all()  # as at the end of the interpreter


Start = Callable[..., None]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts a whole Hydra application in this process: its function, the command line, the callback."""
    monkeypatch.chdir(tmp_path)

    def start(fn: Callable[[Any], Any], *arguments: str, **options: str) -> None:
        (tmp_path / "config.yaml").write_text(CONFIG)
        of_callback = [f"+hydra.callbacks.taskgroup.{name}={value}" for name, value in options.items()]
        silent = ["hydra/job_logging=none", "hydra/hydra_logging=none"]
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments, *silent, *of_callback])
        hydra.main(version_base=None, config_path=str(tmp_path), config_name="config")(fn)()

    return start


def ends(backend: MemoryStore) -> list[tuple[str, str]]:
    """Status and reason of each job's task, in the order of the jobs."""
    return [(task.status, task.reason) for task in backend.members]


def end_of_parent(backend: MemoryStore) -> tuple[str, str]:
    """Status and reason of the only parent."""
    (parent,) = [task for task in backend.tasks.values() if task.spec.kind == "parent"]
    return parent.status, parent.reason


def current() -> GroupTask:
    """The job's task."""
    task = GroupTask.current()
    assert task is not None
    assert TaskGroup.current() is task.group
    return task


def train(cfg: Any) -> float:
    """A job that reports."""
    current().report({"loss": float(cfg.lr)}, 0)
    return float(cfg.lr)


def nothing(cfg: Any) -> None:
    """A job that reports nothing."""


def broken(cfg: Any) -> None:
    """Fails for one seed."""
    if cfg.seed == 1:
        raise ValueError("the seed is 1")


# --- parameters --------------------------------------------------------------------------------


def test_each_job_of_a_multirun_is_a_task_of_one_run(start: Start, backend: MemoryStore) -> None:
    """One parent, ended at the end; a task for each job, in Hydra's order, with typed parameters."""
    start(train, "-m", "lr=0.1,1e-2", "+word='1'")
    expected = [{"lr": lr, "word": "1"} for lr in (0.1, 0.01)]
    assert [task.params for task in backend.members] == expected
    assert [task.spec.index for task in backend.members] == [0, 1]
    assert ends(backend) == [("completed", "")] * 2
    assert [task.scalars["loss", "value"] for task in backend.members] == [[(0, 0.1)], [(0, 0.01)]]
    assert end_of_parent(backend) == ("completed", "")
    assert (TaskGroup.current(), GroupTask.current()) == (None, None)


def test_overrides_are_parameters() -> None:
    """Values have the types that Hydra gives them; nested ones have a `/`; interpolations are resolved."""
    overrides = {
        "opt.beta=0.9": {"opt/beta": 0.9},
        "opt={name:adam,beta:[0.9,null]}": {"opt/name": "adam", "opt/beta": [0.9, None]},
        "+extra='1'": {"extra": "1"},
        "++seed=true": {"seed": True},
        "seed=null": {"seed": None},
        "lr=1e-3": {"lr": 0.001},
        "~opt.name": {"~opt/name": None},
        "+model=small": {"model": "small"},
        "+data@model=large": {"data@model": "large"},
        "+db/engine=mysql": {"db/engine": "mysql"},
        "lr=${seed}": {"lr": 3},
        "opt=${other}": {"opt/a": 1},
        "opt.name='${root}/x'": {"opt/name": "/data/x"},
        "+weights={0:1.0,1:2.0}": {"weights": {0: 1.0, 1: 2.0}},
        "+empty=[]": {"empty": []},
    }
    of_job = {"lr": "${seed}", "seed": 3, "opt": "${other}", "other": {"a": 1}, "root": "/data"}
    for override, expected in overrides.items():
        config = OmegaConf.create({**of_job, "hydra": {"overrides": {"task": [override]}}})
        if override.startswith("opt.name="):
            config.opt = {"name": "${root}/x"}
        params = integration._parameters(config)
        assert params == expected
        assert [type(value) for value in params.values()] == [type(value) for value in expected.values()]


def test_a_job_without_overrides_has_the_jobs_name(hydra_jobs: Launcher, backend: MemoryStore) -> None:
    """A script that is started without arguments is a group of one task; the group has the script's name."""
    groups = []
    hydra_jobs.single(lambda cfg: groups.append(current().group))
    assert [(group.project, group.name) for group in groups] == [("digits", "train")]
    (task,) = backend.members
    assert (task.name, task.params, task.status) == ("train", {}, "completed")
    assert end_of_parent(backend) == ("completed", "")


def test_numbers_that_have_no_identity(hydra_jobs: Launcher, backend: MemoryStore) -> None:
    """Such an override is a parameter all the same: the text of the overrides identifies the job."""
    hydra_jobs.multirun(nothing, "lr=nan", "lr=inf", "lr=1")
    assert [str(task.params["lr"]) for task in backend.members] == ["nan", "inf", "1"]


def test_the_same_overrides_twice_are_two_tasks(hydra_jobs: Launcher, backend: MemoryStore) -> None:
    """Hydra runs both jobs, so both have a task."""
    hydra_jobs.multirun(train, "lr=1", "lr=1.0", "lr=2")
    assert [task.params for task in backend.members] == [{"lr": 1}, {"lr": 1.0}, {"lr": 2}]
    assert len({task.spec.key for task in backend.members}) == 3


# --- options -----------------------------------------------------------------------------------


def test_options_are_those_of_the_group(start: Start, backend: MemoryStore) -> None:
    """Lists, numbers and objects in the config reach the group as Python's own."""
    seen = []
    metric = "{_target_:clearml_taskgroup.Metric,name:loss,mode:min}"
    start(
        lambda cfg: seen.append(TaskGroup.current()),
        name="sweep",
        tags="[a,b]",
        metrics=f"[accuracy,{metric}]",
        template="'{metric}/{split=value}'",
        close_timeout="2",
        catch="[MemoryError,concurrent.futures.CancelledError]",
    )
    (group,) = seen
    assert group is not None
    assert (group.name, group.tags, group.close_timeout) == ("sweep", ("a", "b"), 2.0)
    assert group.vocabulary is not None
    assert group.vocabulary.metrics["loss"].mode == "min"
    assert [kind.__name__ for kind in group.catch] == ["MemoryError", "CancelledError"]


def test_an_invalid_option_ends_the_script(
    start: Start, backend: MemoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """No job runs; the message says what is wrong."""
    with pytest.raises(SystemExit) as ended:
        start(train, "-m", "lr=1,2", template="'{metrics}'")
    assert ended.value.code == 1
    assert "metrics" in capsys.readouterr().err
    assert not backend.tasks


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"mode": "fast"}, ArgumentError),
        ({"catch": ["NoSuchError"]}, ArgumentError),
        ({"project": "x"}, ServerNameError),
        ({"unknown": 1}, TypeError),
    ],
)
def test_options_are_checked_at_once(options: dict[str, Any], error: type[Exception]) -> None:
    """As Hydra creates its callbacks, before any job."""
    with pytest.raises(error):
        TaskGroupCallback(**{"project": "digits", **options})


def test_a_group_that_cannot_be_opened_ends_the_script(
    hydra_jobs: Launcher, backend: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hydra itself would only warn, and run all jobs without tasks."""

    def refuse(group: TaskGroup) -> TaskGroup:
        raise OSError("the disk is full")

    monkeypatch.setattr(TaskGroup, "open", refuse)
    for run in (hydra_jobs.single, hydra_jobs.multirun):
        with pytest.raises(SystemExit, match="the job has no task: OSError: the disk is full"):
            run(train, "lr=1")


# --- how jobs end ------------------------------------------------------------------------------


def test_a_job_that_raises_fails(hydra_jobs: Launcher, backend: MemoryStore) -> None:
    """The other jobs go on, as Hydra has it; its script ends with an error, and the run has failed."""
    with pytest.raises(ValueError, match="the seed is 1"):
        hydra_jobs.multirun(broken, "seed=0", "seed=1", "seed=2")
    integration._close_all()  # as at the end of the interpreter
    failed = ("failed", "ValueError: the seed is 1")
    assert ends(backend) == [("completed", ""), failed, ("completed", "")]
    assert "the seed is 1" in backend.members[1].console
    assert end_of_parent(backend) == ("failed", "group aborted by ValueError: the seed is 1")


def test_a_single_job_that_raises_fails(hydra_jobs: Launcher, backend: MemoryStore) -> None:
    """Task and parent have failed when Hydra ends the script."""
    with pytest.raises(ValueError, match="the seed is 1"):
        hydra_jobs.single(broken, "seed=1")
    assert ends(backend) == [("failed", "ValueError: the seed is 1")]
    assert end_of_parent(backend) == ("failed", "group aborted by ValueError: the seed is 1")


def test_what_is_caught_does_not_end_the_script(hydra_jobs: Launcher, backend: MemoryStore) -> None:
    """With `catch`, the task has failed, and for Hydra the job has returned None."""
    hydra_jobs.multirun(broken, "seed=0", "seed=1", "lr=3", catch=["ValueError"])
    assert [task.status for task in backend.members] == ["completed", "failed", "completed"]
    assert hydra_jobs.returned == [None] * 3
    assert end_of_parent(backend) == ("completed", "")


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_job_is_stopped(
    hydra_jobs: Launcher, backend: MemoryStore, interrupt: type[BaseException]
) -> None:
    """Hydra tells callbacks nothing of an interrupt: the task ends with the script, or at the next run."""

    def fn(cfg: Any) -> None:
        if cfg.seed == 1:
            raise interrupt

    with pytest.raises(interrupt):
        hydra_jobs.multirun(fn, "seed=0", "seed=1", "seed=2")
    assert len(integration._open) == 1
    hydra_jobs.single(train, "lr=3")
    stopped = ("stopped", "Hydra ended before its jobs did")
    assert ends(backend) == [("completed", ""), stopped, ("completed", "")]
    parents = [task for task in backend.tasks.values() if task.spec.kind == "parent"]
    assert [parent.status for parent in parents] == ["stopped", "completed"]
    assert integration._open == []


def test_a_status_of_the_jobs_own_is_kept(hydra_jobs: Launcher, backend: MemoryStore) -> None:
    """What the job itself has made of its task, its end does not change."""
    hydra_jobs.multirun(lambda cfg: current().mark_stopped("pruned"), "seed=0", "seed=1")
    assert ends(backend) == [("stopped", "pruned")] * 2


def test_an_aborted_job_is_stopped(hydra_jobs: Launcher, backend: MemoryStore) -> None:
    """The next report ends that job alone; for Hydra it has returned None."""

    def fn(cfg: Any) -> int:
        task = current()
        if cfg.seed == 1:
            stop(task, reason="not needed")
        task.report({"loss": 1.0}, 0)
        return 7

    hydra_jobs.multirun(fn, "seed=0", "seed=1", "seed=2")
    assert ends(backend) == [("completed", ""), ("stopped", "not needed"), ("completed", "")]
    assert hydra_jobs.returned == [7, None, 7]
    assert end_of_parent(backend) == ("completed", "")


def test_an_aborted_parent_ends_all(hydra_jobs: Launcher, backend: MemoryStore) -> None:
    """The error goes through Hydra, so no further job is run."""

    def fn(cfg: Any) -> None:
        if cfg.seed == 1:
            abort_run(current()._run, "not needed")
        current().report({"loss": 1.0}, 0)

    with pytest.raises(TaskAbortedError):
        hydra_jobs.multirun(fn, "seed=0", "seed=1", "seed=2")
    integration._close_all()
    assert [task.status for task in backend.members] == ["completed", "stopped"]
    assert end_of_parent(backend) == ("stopped", "not needed")


# --- jobs in other processes -------------------------------------------------------------------


def test_jobs_of_other_processes_join_the_run(
    hydra_jobs: Launcher, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There is one run with a task for each job, and one parent, which the launching process ends."""
    detected = []

    def detect(log: Path) -> Detected:
        detected.append(1)
        return Detected({"entry_point": "train.py"})

    monkeypatch.setattr(script_detection, "start", detect)
    options = {"mode": "offline", "name": "sweep", "provenance": True}
    hydra_jobs.multirun(train, "lr=1", "lr=2", "lr=1", elsewhere=True, **options)
    results = TaskGroup.load("digits", "sweep", mode="offline")
    assert [row.params for row in results] == [{"lr": 1}, {"lr": 2}, {"lr": 1}]
    assert [row.index for row in results] == [0, 1, 2]
    assert [row.stats["loss", ()].last for row in results] == [1.0, 2.0, 1.0]
    assert {row.status for row in results} == {"completed"}
    disk = Disk(hydra_jobs.folder / "cache")
    assert len(list(disk.cache.glob("taskgroup/*/run-????.jsonl"))) == 1
    closed = [line for lines in disk.records for line in lines if line["event"] == "close"]
    assert [line["status"] for line in closed] == ["completed"]
    # What the launching process has detected is stored with all: a worker process has another script.
    assert [session.task["script"]["entry_point"] for session in disk.sessions.values()] == ["train.py"] * 4
    assert len(detected) == 1
    assert "other processes" not in caplog.text


def test_a_job_in_another_process_waits_for_the_server(
    hydra_jobs: Launcher, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With an error, a server that is away for a moment would end all jobs."""
    opened = TaskGroup.open
    answers = iter([True, False, False, True])  # the launching process, then the job

    def answer(group: TaskGroup) -> TaskGroup:
        if not next(answers):
            raise LoginDelayed("the server did not answer in time")
        return opened(group)

    monkeypatch.setattr(TaskGroup, "open", answer)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    hydra_jobs.multirun(train, "lr=1", elsewhere=True, mode="offline")
    assert caplog.text.count("the job waits for the server") == 2
    answers = iter([True] + [False] * 3)
    monkeypatch.setattr(integration, "SERVER_PATIENCE_S", 0.0)
    with pytest.raises(SystemExit, match="did not answer in time"):
        hydra_jobs.multirun(train, "lr=1", elsewhere=True, mode="offline")


def test_metrics_that_only_some_jobs_report_are_reported_once(hydra_jobs: Launcher) -> None:
    """The last process knows all jobs; each of the others knows a part of them."""

    def fn(cfg: Any) -> None:
        current().report({"loss" if cfg.lr < 3 else "lost": 1.0}, 0)

    with pytest.warns(DriftWarning) as warned:
        hydra_jobs.multirun(fn, "lr=1", "lr=2", "lr=3", "lr=4", elsewhere=True, mode="offline")
    assert len(warned) == 1


def test_jobs_of_other_processes_fail_with_their_own_error(hydra_jobs: Launcher) -> None:
    """So does the run, as the script ends with it."""
    with pytest.raises(ValueError, match="the seed is 1"):
        hydra_jobs.multirun(broken, "seed=0", "seed=1", elsewhere=True, mode="offline", name="sweep")
    integration._close_all()
    results = TaskGroup.load("digits", "sweep", mode="offline")
    reason = "ValueError: the seed is 1"
    assert [(row.status, row.status_reason) for row in results] == [("completed", ""), ("failed", reason)]
    closed = [line for lines in Disk(hydra_jobs.folder / "cache").records for line in lines]
    assert [line["reason"] for line in closed if line["event"] == "close"] == [f"group aborted by {reason}"]


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_multirun_is_resumed_in_its_folder(
    hydra_jobs: Launcher, elsewhere: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Completed tasks are not run again: Hydra starts their jobs, which see that they are done."""
    done = []

    def fn(cfg: Any) -> None:
        done.append(current().done)
        if not done[-1]:
            broken(cfg)
            current().report({"loss": 1.0}, 0)

    options: Any = {"mode": "offline", "name": "sweep", "elsewhere": elsewhere}
    with pytest.raises(ValueError, match="the seed is 1"):
        hydra_jobs.multirun(fn, "seed=0", "seed=1", **options)
    integration._close_all()
    hydra_jobs.multirun(lambda cfg: done.append(current().done), "seed=0", "seed=1", resume=True, **options)
    assert done == [False, False, True, False]
    assert "seed=0 is done already" in caplog.text
    results = TaskGroup.load("digits", "sweep", mode="offline")
    assert [(row.name, row.status, row.attempt) for row in results] == [
        ("seed=0", "completed", 1),
        ("seed=1", "completed", 2),
    ]


def test_a_multirun_in_the_folder_of_another_is_another_run(hydra_jobs: Launcher) -> None:
    """Without `resume`, a folder that is used again does not mix its results with the earlier ones."""
    for lr in (1, 2, 3):
        hydra_jobs.multirun(train, f"lr={lr}", mode="offline", name="sweep")
        (hydra_jobs.folder / "multirun" / "multirun.yaml").write_text("")  # as Hydra does
        if lr == 2:
            shutil.rmtree(hydra_jobs.folder / "multirun")
    for number in (1, 2, 3):
        (row,) = TaskGroup.load("digits", "sweep", run=number, mode="offline")
        assert row.params == {"lr": number}


def test_a_multirun_is_resumed_with_other_jobs(hydra_jobs: Launcher) -> None:
    """What is done stays done under another number; two jobs with the same overrides are still two tasks."""
    options: Any = {"mode": "offline", "name": "sweep"}
    hydra_jobs.multirun(train, "lr=1", "lr=1", "lr=2", **options)
    for jobs in (("lr=1", "lr=1", "lr=2"), ("lr=2", "lr=1", "lr=3")):
        hydra_jobs.multirun(lambda cfg: None, *jobs, elsewhere=True, resume=True, **options)
    results = TaskGroup.load("digits", "sweep", mode="offline")
    assert sorted(row.params["lr"] for row in results) == [1, 1, 2, 3]


def test_the_latest_run_of_a_folder_is_resumed(hydra_jobs: Launcher) -> None:
    """Not its first one, whose text is the path alone."""
    options: Any = {"mode": "offline", "name": "sweep"}
    done = []
    for lr in (1, 2):
        hydra_jobs.multirun(train, f"lr={lr}", **options)
        (hydra_jobs.folder / "multirun" / "multirun.yaml").write_text("")
    hydra_jobs.multirun(lambda cfg: done.append(current().done), "lr=2", "lr=3", resume=True, **options)
    assert done == [True, False]
    for number, expected in {1: [1], 2: [2, 3]}.items():
        results = TaskGroup.load("digits", "sweep", run=number, mode="offline")
        assert [row.params["lr"] for row in results] == expected


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_named_run_has_each_configuration_once(
    hydra_jobs: Launcher, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, elsewhere: bool
) -> None:
    """Several multiruns and single jobs can share it; a job sees that its configuration is done."""
    monkeypatch.setenv("CLEARML_TASKGROUP_RUN", "all of them")
    options: Any = {"mode": "offline", "name": "sweep"}
    done = []

    def fn(cfg: Any) -> None:
        done.append(current().done)
        if not done[-1]:
            broken(cfg)
            current().report({"loss": 1.0}, 0)
            if cfg.lr == 2:
                current().mark_stopped("pruned")

    hydra_jobs.multirun(fn, "lr=1", "lr=3", "seed=1", elsewhere=elsewhere, catch="ValueError", **options)
    hydra_jobs.multirun(fn, "lr=2", "lr=3", "seed=1", elsewhere=elsewhere, **options)
    for overrides in ("lr=3", "lr=2"):
        hydra_jobs.single(fn, overrides, **options)
    assert done == [False] * 4 + [True] * 4
    assert "lr=3 is done already (completed); Hydra" in caplog.text
    for left in ("seed=1 is done already (failed)", "lr=2 is done already (stopped)"):
        assert f"{left}, and resume=true runs it again; Hydra" in caplog.text
    results = TaskGroup.load("digits", "sweep", run="all of them", mode="offline")
    assert [row.name for row in results] == ["lr=1", "lr=2", "lr=3", "seed=1"]
    hydra_jobs.multirun(nothing, "seed=1", "lr=3", elsewhere=elsewhere, resume=True, **options)
    results = TaskGroup.load("digits", "sweep", run="all of them", mode="offline")
    assert [(row.name, row.status) for row in results if row.attempt == 2] == [("seed=1", "completed")]
    assert len(results) == 4


# --- real launchers ----------------------------------------------------------------------------

APPLICATION = """
import os, signal
import hydra
from clearml_taskgroup import GroupTask

@hydra.main(version_base=None, config_path=".", config_name="config")
def main(cfg):
    task = GroupTask.current()
    for step in range(3):
        task.report({"loss": cfg.seed + step}, step, split="val")
    if cfg.end == "raise" and cfg.seed == 5:
        raise ValueError("the seed is 5")
    if cfg.end == "interrupt" and cfg.seed == 5:
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    return os.getpid()

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    main()
"""
BASIC = ("seed=4,5,6",)
JOBLIB = ("seed=range(8)", "hydra/launcher=joblib", "hydra.launcher.n_jobs=4")


def run_application(folder: Path, environment: dict[str, str], *arguments: str) -> int:
    """Runs a real application; gives its exit code."""
    (folder / "train.py").write_text(APPLICATION)
    (folder / "config.yaml").write_text(CONFIG + "      name: sweep\nend: normal\n")
    command = [sys.executable, "train.py", "-m", *arguments]
    with (folder / "output").open("w") as output:
        return subprocess.run(
            command, cwd=folder, env=environment, stdout=output, stderr=output, timeout=200, check=False
        ).returncode


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "seeds"), [(BASIC, (4, 5, 6)), (JOBLIB, range(8))], ids=["basic", "joblib"]
)
def test_a_real_multirun_offline(tmp_path: Path, launcher: Sequence[str], seeds: Sequence[int]) -> None:
    """One run, a task for each job, one parent; the failed job ends the script with an error."""
    offline = environment(tmp_path, {"CLEARML_OFFLINE_MODE": "1"})
    assert run_application(tmp_path, offline, *launcher, "end=raise") == 1
    disk = Disk(tmp_path / "cache")
    lines = [line for lines in disk.records for line in lines]
    names = {line["id"]: line["name"] for line in lines if line["event"] == "task"}
    found = {names[line["id"]]: line["status"] for line in lines if line["event"] == "end"}
    expected = {f"end=raise,seed={seed}": "failed" if seed == 5 else "completed" for seed in seeds}
    assert found == expected
    assert [line["status"] for line in lines if line["event"] == "close"] == ["failed"]
    assert len({line["run"] for line in lines if line["event"] == "run"}) == 1
    output = (tmp_path / "output").read_text()
    assert "the seed is 5" in output
    assert "Warning" not in output


@pytest.mark.slow
def test_a_real_multirun_on_a_server(tmp_path: Path) -> None:
    """The tasks have one parent, which is completed; nothing of the sharing is left."""
    with LoopbackServer() as server:
        queues = set(server.state.queues)
        assert run_application(tmp_path, sdk_environment(server, tmp_path / "home"), *JOBLIB) == 0
        tasks = originals(server)
        assert sorted(task["name"] for task in tasks) == [f"sweep seed={seed}" for seed in range(8)]
        assert {task["status"] for task in tasks} == {"completed"}
        for task in tasks:
            seed = int(task["hyperparams"]["General"]["seed"]["value"])
            assert server.scalars(task["id"])["loss", "val"] == [(step, seed + step) for step in range(3)]
        parent = only(originals(server, "parent"))
        assert (parent["status"], {task["parent"] for task in tasks}) == ("completed", {parent["id"]})
        assert set(server.state.queues) == queues
        assert (server.violations, server.crashes) == ([], [])


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [BASIC, (*BASIC, *JOBLIB[1:-1], "hydra.launcher.n_jobs=2")])
def test_a_real_multirun_is_interrupted(tmp_path: Path, launcher: Sequence[str]) -> None:
    """Ctrl-C in a job stops its task and the run; no task stays open."""
    offline = environment(tmp_path, {"CLEARML_OFFLINE_MODE": "1"})
    assert run_application(tmp_path, offline, *launcher, "end=interrupt") != 0
    lines = [line for lines in Disk(tmp_path / "cache").records for line in lines]
    closed = [line for line in lines if line["event"] == "close"]
    assert [(line["status"], line["reason"]) for line in closed] == [("stopped", "KeyboardInterrupt")]
    results = TaskGroup.load("digits", "sweep", mode="offline")
    assert {row.status for row in results} <= {"completed", "stopped"}
    assert [row.status for row in results if row.params["seed"] == 5] == ["stopped"]
