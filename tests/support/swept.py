"""A sweep with a failed and a stopped task, and what its results are compared by."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from clearml_taskgroup import Metric, Results, TaskGroup

METRICS = [Metric("loss", mode="min", unit="nats"), Metric("accuracy", mode="max", aliases=["acc"])]


def swept(project: str = "digits", **options: Any) -> TaskGroup:
    """Runs a sweep of six tasks, of which one fails and one is stopped."""
    with TaskGroup(project, "sweep", provenance=False, **options) as group:
        for task in group.sweep({"C": [1, 2], "seed": [0, 1, 2]}):
            for step in (0, 5, 10):
                value = float(task.params["C"] * 100 + task.params["seed"] * 10 + step)
                task.report({"loss": -value, "accuracy": value}, step, split="val")
            task.report({"accuracy": 0.5}, split="test")
            task.set_parameters({"found": 0.25, "late": None, "flag": True})
            if task.index == 1:
                task.mark_failed("out of memory")
            elif task.index == 2:
                task.mark_stopped("pruned")
    return group


def stats(results: Results) -> list[dict[Any, Any]]:
    """The counts of each row, in a form that can be compared."""
    return [{metric_key: attrs.asdict(counts) for metric_key, counts in row.stats.items()} for row in results]


def same_rows(loaded: Results, live: Results, *, counted: bool = True) -> None:
    """Checks that loaded rows are those that the group gave itself."""
    assert len(loaded) == len(live)
    for a, b in zip(loaded, live, strict=True):
        for field in ("key", "name", "index", "id", "attempt", "status", "status_reason", "params", "url"):
            assert getattr(a, field) == getattr(b, field), field
        assert a.duration == pytest.approx(b.duration, abs=1.0)
        assert a.stats.keys() == b.stats.keys()
        for metric_key in a.stats:
            one, other = attrs.asdict(a.stats[metric_key]), attrs.asdict(b.stats[metric_key])
            if not counted:
                for part in ("total", "count", "last_iteration"):
                    one.pop(part), other.pop(part)
            assert one == other
