"""The warning at the end of a group whose tasks do not all report the same metrics."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from .._text import printable, some
from .compare import find_drift

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MAX_WARNING_LINES = 5
"""The most metrics that the warning names."""


def partly_reported(reported: Mapping[str, Collection[str]]) -> dict[str, tuple[list[str], list[str]]]:
    """Finds the metrics that some tasks report and others do not.

    Args:
        reported: The metrics that each task reported, by the task's name.

    Returns:
        For each such metric, the tasks that report it and those that do not.
    """
    metrics = dict.fromkeys(metric for names in reported.values() for metric in names)
    found = {}
    for metric in metrics:
        have = [task for task, names in reported.items() if metric in names]
        if len(have) < len(reported):
            found[metric] = (have, [task for task, names in reported.items() if metric not in names])
    return found


def drift_warning(found: Mapping[str, tuple[list[str], list[str]]], group: str = "") -> str:
    """Returns the text of the warning.

    Args:
        found: The result of `partly_reported`.
        group: The group's name for the command `drift`; empty if the command cannot find it.
    """
    alike = _alike(found)
    lines = [f"{some(list(map(repr, names)), 4)} look like one metric" for names in alike]
    in_alike = {name for names in alike for name in names}
    lines += [
        f"{metric!r}: in {some(have, 2)}, not in {some(lack, 2)}"
        for metric, (have, lack) in found.items()
        if metric not in in_alike
    ]
    more = [f"and {len(lines) - MAX_WARNING_LINES} more"] if len(lines) > MAX_WARNING_LINES else []
    head = ["the tasks of this group do not all report the same metrics:", *lines[:MAX_WARNING_LINES], *more]
    advice = "give the group metrics=[…], with aliases, to have one name for each"
    command = f"; as code to paste: clearml-taskgroup drift --group {shlex.quote(group)}" if group else ""
    return "\n  ".join(map(printable, head)) + f"\n{advice}{command}"


def _alike(found: Mapping[str, tuple[list[str], list[str]]]) -> list[list[str]]:
    """Groups the names that look like one metric, spelt differently by different tasks."""
    reported: dict[str, list[tuple[str, str]]] = {}
    for metric, (have, _) in found.items():
        for task in have:
            reported.setdefault(task, []).append((metric, metric))
    return [[spelling.title for spelling in same.spellings] for same in find_drift(reported)]
