"""Sweeps, and what their parent's page shows of them."""

from __future__ import annotations

import json
from typing import Any

from clearml_taskgroup import Metric, TaskGroup
from clearml_taskgroup._storage.memory import MemoryTask
from clearml_taskgroup.testing import recording

METRICS: list[str | Metric] = [Metric("loss", mode="min"), Metric("accuracy", mode="max", unit="%"), "speed"]


def swept(tasks: int = 6, **options: Any) -> TaskGroup:
    """Runs a sweep whose second task fails and whose third is stopped."""
    with TaskGroup("digits", "the sweep", provenance=False, metrics=METRICS, **options) as group:
        for task in group.tasks({"C": range(tasks)}) if tasks else []:
            for step in range(40):
                task.report(
                    {"loss": 1 / (step + 1), "accuracy": task.params["C"] + step / 100}, step, split="val"
                )
            task.report({"speed": 3.0})
            if task.index == 1:
                task.mark_failed("out of <memory>")
            elif task.index == 2:
                task.mark_stopped("pruned")
    return group


def parent_of(*options: Any, **named: Any) -> MemoryTask:
    """The parent of a sweep in memory."""
    with recording() as backend:
        swept(*options, **named)
    return next(task for task in backend.tasks.values() if task.spec.kind == "parent")


def plots(events: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """The figures among API events, by title and series."""
    return {
        (event["metric"], event["variant"]): json.loads(event["plot_str"])
        for event in events
        if event["type"] == "plot"
    }
