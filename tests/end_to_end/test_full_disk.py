"""A disk that is full for a moment: every task that ended is ended after loading, or it is reported."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clearml_taskgroup import Results, TaskGroup
from clearml_taskgroup.errors import StoreError
from tests.loopback import LoopbackServer
from tests.support.full_disk import full_at_moments
from tests.support.scripts import Disk

TASKS, STEPS = 12, 3
SEEDS = [pytest.param(seed, marks=[pytest.mark.slow] if seed >= 4 else []) for seed in range(20)]
PROJECT, NAME = "the project", "full disk"

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")


def told_by(group: TaskGroup, folder: Path, seed: int) -> str:
    """Does the work of a group on a disk that is full at moments; returns what the errors of its end say."""
    with full_at_moments(folder, seed) as failed:
        for number in range(TASKS):
            try:
                task = group.task({"n": number})
            except StoreError:  # said at once
                continue
            with task:
                for step in range(STEPS):
                    task.report({"loss": number + step / 4}, step)
                group._run.reporter.flush()  # type: ignore[union-attr]
                if number % 4 == 1:
                    task.mark_failed("bad")
                elif number % 4 == 2:
                    task.mark_stopped("pruned")
        try:
            group.close()
        except ExceptionGroup as errors:
            return "\n".join(map(str, errors.exceptions))
        finally:
            assert failed
    return ""


def check_ends(group: TaskGroup, loaded: Results, told: str) -> None:
    """Each task that was opened has its own end, or an error has named it, or counted it after some names."""
    found = {row.name: (row.status, row.status_reason) for row in loaded}
    assert found.keys() == {task.name for task in group}
    lost = [task.name for task in group if found[task.name] != (task.status, task.status_reason)]
    unnamed = [name for name in lost if f"the end of {name!r}" not in told]
    more = re.search(r"the end of .* and (\d+) more", told)
    assert len(unnamed) <= (int(more[1]) if more else 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_end_is_kept_or_reported(seed: int, tmp_path: Path) -> None:
    """Ends, values and later tasks are there after loading, but for those that an error names."""
    group = TaskGroup(PROJECT, NAME, mode="offline", provenance=False).open()
    told = told_by(group, tmp_path, seed)
    loaded = TaskGroup.load(PROJECT, NAME, mode="offline")
    check_ends(group, loaded, told)
    if "could not be delivered" in told:
        return
    sessions = Disk(tmp_path / "cache").sessions
    for row in loaded:
        points = [("loss", "value", step, row.params["n"] + step / 4) for step in range(STEPS)]
        assert sessions[f"{NAME} {row.name}"].scalars == points
        if f"the end of {row.name!r}" not in told:
            assert row.value("loss") == points[-1][-1]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_server_has_every_end(seed: int, tmp_path: Path, loopback: LoopbackServer) -> None:
    """Online the disk has the outbox and the run log; a task that could not be opened has failed."""
    group = TaskGroup(PROJECT, NAME, mode="online", provenance=False).open()
    told = told_by(group, tmp_path, seed)
    check_ends(group, TaskGroup.load(PROJECT, NAME, mode="offline"), told)
    loaded = TaskGroup.load(PROJECT, NAME, mode="online")
    opened = {task.name for task in group}
    assert {row.status for row in loaded if row.name not in opened} <= {"failed"}
    loaded = loaded.where(lambda row: row.name in opened)
    check_ends(group, loaded, "")
    if "could not be delivered" in told:
        return
    for row in loaded:
        points = [(step, row.params["n"] + step / 4) for step in range(STEPS)]
        assert loopback.scalars(row.id) == {("loss", "value"): points}
        assert row.value("loss") == points[-1][-1]
