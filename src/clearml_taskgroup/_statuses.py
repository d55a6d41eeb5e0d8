"""How many tasks are how far, always told in one order."""

from __future__ import annotations

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
