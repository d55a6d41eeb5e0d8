"""The statuses of tasks and runs, in ClearML's words, and how they are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


ORDER = ("completed", "published", "failed", "stopped", "in_progress", "queued", "created")


def tally(statuses: Iterable[str]) -> dict[str, int]:
    """Counts statuses: those that ended first, ones that are not known last."""
    listed = list(statuses)
    known = [*ORDER, *sorted(set(listed) - set(ORDER))]
    return {status: listed.count(status) for status in known if status in listed}


def tally_text(counts: Mapping[str, int]) -> str:
    """Writes the counts for people: `40 completed, 5 failed, 1 in progress`."""
    return ", ".join(f"{count:,} {status.replace('_', ' ')}" for status, count in counts.items())


Status = Literal["created", "queued", "in_progress", "completed", "failed", "stopped"]
"""ClearML's own words for how far a task is."""
ENDED: frozenset[Status] = frozenset({"completed", "failed", "stopped"})
PUBLISHED = ("published", "publishing")
"""Tasks that take nothing any more."""
ABANDONED = "abandoned: the process ended before the group was closed"
