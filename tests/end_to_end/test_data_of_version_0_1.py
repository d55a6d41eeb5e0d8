"""Runs that version 0.1 has left on a disk and on a server are loaded, resumed and uploaded by this one."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import NameTemplate, Results, TaskGroup
from clearml_taskgroup._clearml.documents import past_task
from clearml_taskgroup._model.past import PastRun
from clearml_taskgroup._storage.past_runs import all_runs
from clearml_taskgroup._storage.upload import upload
from tests.loopback import LoopbackServer
from tests.support.paths import DATA

SAMPLES = DATA / "version_0_1"
PROJECT, NAME = "old/digits", "a sweep"
SPACE: list[dict[str, Any]] = [
    {"seed": 0, "net": {"width": 64, "dropout": 0.5}, "layers": [64, 32]},
    {"seed": 1, "net": {"width": 64, "dropout": None}, "layers": []},
    {"seed": 2, "net": {"width": 64, "dropout": 0.0}, "note": "größer", "flag": True},
    {"seed": 3, "net": {"width": 128, "dropout": 1e-3}},
]
PARAMS: list[dict[str, Any]] = [
    {"seed": 0, "net/width": 64, "net/dropout": 0.5, "layers": [64, 32], "late": 0.25},
    {"seed": 1, "net/width": 64, "net/dropout": None, "layers": []},
    {"seed": 2, "net/width": 64, "net/dropout": 0.0, "note": "größer", "flag": True},
    {"seed": 3, "net/width": 128, "net/dropout": 0.001},
]
NAMES = [
    "layers=[64,32],net/dropout=0.5,net/width=64,seed=0",
    "layers=[],net/dropout=None,net/width=64,seed=1",
    "flag=True,net/dropout=0,net/width=64,note=größer,seed=2",
    "net/dropout=0.001,net/width=128,seed=3",
]
KEYS = ["2c4fa8d432ed", "67f3064a7976", "5d5601f975db", "1f3e8fee317b"]
ENDS = [("completed", ""), ("failed", "out of memory"), ("stopped", "pruned")]


def bring_back(kind: str) -> PastRun:
    """Puts a sample where this test's groups keep their data; reads its run log."""
    cache = Path(os.environ["CLEARML_CACHE_DIR"])
    shutil.copytree(SAMPLES / kind, cache)
    (past,) = all_runs(cache / "taskgroup")
    return past


def bring_back_server(server: LoopbackServer) -> None:
    """Gives a server the projects, tasks and scalars of the sample."""
    held = json.loads((SAMPLES / "server.json").read_text())
    with server.state.lock:
        server.state.projects.update(held["projects"])
        server.state.tasks.update(held["tasks"])
        for task_id, scalars in held["scalars"].items():
            server.state.task_events(task_id).scalars.update(scalars)


def check(results: Results, *, curves: bool) -> None:
    """The tasks that had ended are as they were reported."""
    assert len(results) == 4
    for seed, row in enumerate(results[:3]):
        assert (row.name, row.key, row.index, row.attempt) == (NAMES[seed], KEYS[seed], seed, 1)
        assert (row.status, row.status_reason) == ENDS[seed]
        assert row.params == PARAMS[seed]
        assert row.value("loss", split="val") == 1 / (3 + seed)
        loss = row.stats["loss", (("split", "val"),)]
        assert (loss.count, loss.first, loss.max_iteration, loss.min) == (
            3,
            1 / (1 + seed),
            0,
            1 / (3 + seed),
        )
        assert row.value("acc", split="val") == seed + 0.25  # an alias of the vocabulary
        assert row.value("accuracy", split="test") == seed / 4
        if curves:
            curve = row.history("loss", split="val")
            assert (curve.iterations, curve.values) == ((0, 1, 2), losses(seed))
    assert results.best("loss", split="val").mode == "min"  # of the vocabulary


def losses(seed: int) -> tuple[float, ...]:
    return tuple(1 / (1 + seed + step) for step in range(3))


@pytest.mark.parametrize("kind", ["offline", "online"])
def test_run_logs_are_read(kind: str) -> None:
    past = bring_back(kind)
    assert (past.project, past.name, past.number, past.mode) == (PROJECT, NAME, 1, kind)
    assert (past.template, past.owns_parent, past.status) == ("{metric}/{split=value}", True, None)
    for seed, task in enumerate(past.tasks.values()):
        assert (task.key, task.name, task.index, task.attempt) == (KEYS[seed], NAMES[seed], seed, 1)
        assert task.params == PARAMS[seed]
        assert (task.status, task.reason) == ([*ENDS, (None, "")])[seed]
        assert task.delivered == (seed < 3)


def test_offline_runs_are_loaded() -> None:
    bring_back("offline")
    results = TaskGroup.load(PROJECT, NAME, mode="offline")
    check(results, curves=True)
    killed = results[3]
    assert (killed.key, killed.status, killed.params) == (KEYS[3], "stopped", PARAMS[3])
    assert killed.history("loss", split="val").values == losses(3)


def test_online_runs_are_loaded_from_the_disk() -> None:
    bring_back("online")
    check(TaskGroup.load(PROJECT, NAME, mode="offline"), curves=False)


def test_online_runs_are_loaded_from_the_server(loopback: LoopbackServer) -> None:
    bring_back_server(loopback)
    check(TaskGroup.load(PROJECT, NAME, mode="online"), curves=True)


def test_hyperparameters_are_read() -> None:
    held = json.loads((SAMPLES / "server.json").read_text())
    _, *tasks = [past_task(doc, NameTemplate("{metric}/{split=value}")) for doc in held["tasks"].values()]
    assert [(task.key, task.name, task.index, task.attempt) for task in tasks] == [
        (KEYS[seed], NAMES[seed], seed, 1) for seed in range(4)
    ]
    assert [task.params for task in tasks] == PARAMS
    assert [(task.status, task.reason) for task in tasks[:3]] == ENDS


@pytest.mark.parametrize("retry", ["new", "continue"])
@pytest.mark.parametrize("mode", ["offline", "online"])
def test_runs_are_resumed(mode: Any, retry: Any, request: pytest.FixtureRequest) -> None:
    """What is completed is not run again; the others are, with all that they had reported if asked for."""
    if mode == "online":
        bring_back_server(request.getfixturevalue("loopback"))
    past = bring_back(mode)
    with TaskGroup(PROJECT, NAME, mode=mode, provenance=False, resume=True, retry=retry) as group:
        assert (group.run, group.run_number) == (past.run, 1)
        sweep = [(task.params["seed"], task.attempt) for task in group.sweep(SPACE)]
    assert sweep == [(seed, 2 if retry == "new" else 1) for seed in (1, 2, 3)]
    rows = group.results()
    assert [row.status for row in rows] == ["completed"] * 4
    found = [row.stats["loss", (("split", "val"),)].first for row in rows if row.stats]
    assert found == [1 / (1 + seed) for seed in (range(4) if retry == "continue" else range(1))]


def test_tasks_that_workers_ended_are_not_run_again() -> None:
    bring_back("workers")
    with TaskGroup(PROJECT, "by workers", mode="offline", provenance=False, resume=True) as group:
        assert [task.params["seed"] for task in group.sweep({"seed": range(3)})] == [2]
        assert [row.value("loss", split="val") for row in group.results()[:2]] == [0.25, 1.25]


@pytest.mark.parametrize("kind", ["offline", "online"])
def test_runs_are_uploaded(kind: str, loopback: LoopbackServer) -> None:
    """Offline sessions go up, and so do the two values that an online run had left in its outbox."""
    past = bring_back(kind)
    if kind == "online":
        bring_back_server(loopback)
    uploaded = upload(past.path)
    assert not uploaded.problems
    for seed, task in enumerate(past.tasks.values()):
        doc = loopback.task(uploaded.ids[task.id])
        assert doc["status"] == ["completed", "failed", "stopped", "stopped"][seed]
        late = [(4, 0.0), (5, 0.0)] if (kind, seed) == ("online", 3) else []
        assert loopback.scalars(doc["id"]) == {
            ("loss", "val"): [*enumerate(losses(seed)), *late],
            ("accuracy", "val"): [(step, seed + step / 8) for step in range(3)],
            ("Summary", "accuracy/test"): [(-(2**31), seed / 4)],
        }


def test_tasks_that_workers_ended_are_uploaded(loopback: LoopbackServer) -> None:
    past = bring_back("workers")
    uploaded = upload(past.path)
    docs = [loopback.task(uploaded.ids[task]) for task in past.tasks]
    assert [doc["status"] for doc in docs] == ["completed", "completed", "stopped"]
    assert loopback.scalars(docs[1]["id"]) == {("loss", "val"): [(0, 1.0), (1, 1.125), (2, 1.25)]}
