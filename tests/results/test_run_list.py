"""Listing: which runs there are, on a server and on this disk."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml import login, sdk
from clearml_taskgroup._results.run_list import Listed, runs_on_disk, runs_on_server
from clearml_taskgroup._storage.online import OnlineBackend
from tests.loopback import LoopbackServer
from tests.support.runs import Place, kill


def listed(mode: str) -> list[Listed]:
    """The runs in one place."""
    if mode == "online":
        return runs_on_server(OnlineBackend(login.connect()), {})
    return runs_on_disk(sdk.cache_folder() / "taskgroup")


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_runs_are_listed_with_what_became_of_their_tasks(loopback: LoopbackServer, mode: Any) -> None:
    """Each run is listed once, the latest first, with its project, its date and its tasks' statuses."""
    assert listed(mode) == []
    groups = []
    for name in ("first", "second", "second"):
        with TaskGroup("digits/deep", name, mode=mode, provenance=False) as group:
            for task in group.tasks({"C": range(3)}):
                if task.index == 1:
                    task.mark_failed("out of memory")
        groups.append(group)
    runs = listed(mode)
    assert [(run.project, run.group, run.number, run.run, run.group_id) for run in runs] == [
        ("digits/deep", group.name, group.run_number, group.run, group.id) for group in reversed(groups)
    ]
    assert [run.number for run in runs] == [2, 1, 1]
    assert {(run.mode, run.tasks) for run in runs} == {(mode, 3)}
    assert runs[0].statuses == {"completed": 2, "failed": 1}
    assert all(run.started is not None and abs(time.time() - run.started) < 60 for run in runs)
    assert (runs[0].record == groups[2].record_path) == (mode == "offline")


def test_copies_are_not_listed(loopback: LoopbackServer) -> None:
    """A copy made in the web page counts to no run."""
    with TaskGroup("digits", "sweep", provenance=False) as group, group.task({"C": 1}) as task:
        pass
    loopback_call(task.id)
    assert [run.tasks for run in listed("online")] == [1]


def loopback_call(task_id: str) -> None:
    """Copies a task as the web page does."""
    backend = OnlineBackend(login.connect())
    backend.transport.call("tasks.clone", {"task": task_id, "new_task_name": "a copy"}, timeout=5)


def retried(place: Place) -> TaskGroup:
    """Makes a run of ten points of which two fail at first; gives the group that resumed it."""
    for attempt in range(2):
        with place.group(resume=bool(attempt), catch=ValueError) as group:
            for task in group.sweep({"C": range(10)}):
                if task.done:
                    continue
                with task:
                    task.report({"loss": 1.0}, 1)
                    if not attempt and task.index > 7:
                        raise ValueError("not this time")
    return group


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_task_that_was_tried_again_counts_once(loopback: LoopbackServer, mode: str) -> None:
    """Of several attempts at a task the latest one counts."""
    group = retried(Place(loopback if mode == "online" else None))
    assert len(Place(loopback if mode == "online" else None).attempts()) == 12
    (run,) = listed(mode)
    assert (run.run, run.tasks, run.statuses) == (group.run, 10, {"completed": 10})


def test_statuses_have_one_order() -> None:
    """However its tasks ended, one after the other, a run's statuses are told in the same order."""
    for order in (("failed", "stopped", "completed"), ("completed", "failed", "stopped")):
        with Place().group() as group:
            for status, task in zip(order, group.tasks({"C": range(3)}), strict=True):
                getattr(task, f"mark_{status}")(**({} if status == "completed" else {"status_reason": "x"}))
    assert [list(run.statuses) for run in listed("offline")] == [["completed", "failed", "stopped"]] * 2


def test_a_run_that_lives_and_one_that_died() -> None:
    """Open tasks of a living process are in progress, those of a dead one were abandoned."""
    group = Place().open()
    group.tasks({"C": range(2)})[0].mark_completed()
    assert listed("offline")[0].statuses == {"completed": 1, "in_progress": 1}
    kill(group)
    assert listed("offline")[0].statuses == {"completed": 1, "abandoned": 1}


def test_an_uploaded_run_began_when_it_began(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A run that was uploaded later is listed with its own start, also where its record is not."""
    early = Place().open()
    early.task({"C": 1})
    early.close()
    record = Path(str(early.record_path))
    first, rest = record.read_text().split("\n", 1)
    old = {**json.loads(first), "time": 1_600_000_000.0}
    record.write_text(json.dumps(old) + "\n" + rest)
    with Place(loopback).group(name="a later group") as later:
        later.task({"C": 1})
    TaskGroup.upload(early.run)
    for run in (listed("online"), listed("offline")):
        assert [found.started for found in run if found.run == early.run] == [1_600_000_000.0]
    assert [run.run for run in listed("online")] == [later.run, early.run]
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "another machine"))
    assert TaskGroup.load("the project", "the group").about.started == 1_600_000_000.0
    elsewhere = TaskGroup.load("the project", "a later group").about.started
    assert elsewhere is not None
    assert abs(elsewhere - time.time()) < 60


def test_records_of_one_run_are_one_run() -> None:
    """Agents leave a record for each task; they are listed as the run that they are of."""
    group = retried(Place())
    record = Path(str(group.record_path))
    for number in (2, 3):
        text = record.read_text().replace('"mode": "offline"', '"mode": "agent"')
        record.with_name(f"run-000{number}.jsonl").write_text(text)
    (run,) = listed("offline")
    assert (run.mode, run.tasks, run.record) == ("offline", 10, record)
    record.unlink()
    (run,) = listed("offline")
    assert (run.mode, run.tasks) == ("online", 10)
