"""A disk that is full for a moment: every task that ended is ended after loading, or it is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup.errors import StoreError
from tests.support.full_disk import full_at_moments
from tests.support.scripts import Disk

TASKS, STEPS = 12, 3
SEEDS = [pytest.param(seed, marks=[pytest.mark.slow] if seed >= 4 else []) for seed in range(20)]

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")


@pytest.mark.parametrize("seed", SEEDS)
def test_every_end_is_kept_or_reported(seed: int, tmp_path: Path) -> None:
    """Ends, values and later tasks are there after loading, but for those that an error names."""
    reported, refused = "", set[int]()
    group = TaskGroup("the project", "full disk", mode="offline", provenance=False).open()
    with full_at_moments(tmp_path, seed) as failed:
        for number in range(TASKS):
            try:
                task = group.task({"n": number})
            except StoreError:  # said at once
                refused.add(number)
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
            reported = "\n".join(map(str, errors.exceptions))
    assert failed
    live = {task.name: (task.status, task.status_reason) for task in group}
    loaded = TaskGroup.load("the project", "full disk", mode="offline")
    found = {row.name: (row.status, row.status_reason) for row in loaded}
    assert found.keys() == live.keys() == {f"n={number}" for number in range(TASKS) if number not in refused}
    for name, ending in live.items():
        assert found[name] == ending or f"the end of {name!r}" in reported
    if "could not be delivered" in reported:
        return
    sessions = Disk(tmp_path / "cache").sessions
    for row in loaded:
        points = [("loss", "value", step, row.params["n"] + step / 4) for step in range(STEPS)]
        assert sessions[f"full disk {row.name}"].scalars == points
        if f"the end of {row.name!r}" not in reported:
            assert row.value("loss") == points[-1][-1]
