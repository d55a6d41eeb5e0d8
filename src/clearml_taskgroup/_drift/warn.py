"""The warning at the end of a group whose tasks report differently named metrics."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from .._text import some
from .compare import drifting

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MOST_TOLD = 5
"""How many lines a warning has for what drifts."""


def drift(reported: Mapping[str, Collection[str]]) -> dict[str, tuple[list[str], list[str]]]:
    """Finds the metrics that some tasks report and others don't.

    Args:
        reported: The metrics that each task reported, by the task's name.

    Returns:
        For each such metric, the tasks that report it and those that don't.
    """
    metrics = dict.fromkeys(metric for names in reported.values() for metric in names)
    found = {}
    for metric in metrics:
        have = [task for task, names in reported.items() if metric in names]
        if len(have) < len(reported):
            found[metric] = (have, [task for task in reported if task not in set(have)])
    return found


def drift_text(found: Mapping[str, tuple[list[str], list[str]]], group: str = "") -> str:
    """Tells what `drift` found, for people, in a few lines.

    Args:
        found: What `drift` found.
        group: What the command `drift` knows the group by; empty if it does not.
    """
    alike = _alike(found)
    lines = [f"{some(list(map(repr, names)), 4)} look like one metric" for names in alike]
    told = {name for names in alike for name in names}
    lines += [
        f"{metric!r}: in {some(have, 2)}, not in {some(lack, 2)}"
        for metric, (have, lack) in found.items()
        if metric not in told
    ]
    more = [f"and {len(lines) - MOST_TOLD} more"] if len(lines) > MOST_TOLD else []
    told_of = ["the tasks of this group do not all report the same metrics:", *lines[:MOST_TOLD], *more]
    cure = "give the group metrics=[…], with aliases, to have one name for each"
    command = f"; as code to paste: clearml-taskgroup drift --group {shlex.quote(group)}" if group else ""
    return "\n  ".join(told_of) + f"\n{cure}{command}"


def _alike(found: Mapping[str, tuple[list[str], list[str]]]) -> list[list[str]]:
    """Gives the names that look like one metric, spelt differently by other tasks."""
    reported: dict[str, list[tuple[str, str]]] = {}
    for metric, (have, _) in found.items():
        for task in have:
            reported.setdefault(task, []).append((metric, metric))
    return [[spelling.title for spelling in same.spellings] for same in drifting(reported)]
