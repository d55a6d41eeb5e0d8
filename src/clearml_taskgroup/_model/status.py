"""The statuses of tasks and runs, in ClearML's words, and their counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Status = Literal["created", "queued", "in_progress", "completed", "failed", "stopped"]
"""The statuses that this library sets and shows."""
ENDED: frozenset[Status] = frozenset({"completed", "failed", "stopped"})
PUBLISHED = ("published", "publishing")
"""The server's statuses of tasks that accept no data and no status any more."""
CLOSED = (*PUBLISHED, "closed")
"""The server's other words for completed tasks."""
OPEN_ON_SERVER = ("created", "in_progress")
"""The server's statuses of tasks that a process works on, or is about to."""
ABANDONED = "abandoned: the process ended before the group was closed"
"""The reason of a task or run whose process died."""

ORDER = ("completed", "published", "failed", "stopped", "abandoned", "in_progress", "queued", "created")
"""The order in which counts are shown."""


def from_server(status: str) -> Status:
    """Translates a server's status; an unknown one counts as in progress."""
    if status in CLOSED:
        return "completed"
    known = status in ENDED or status in ("created", "queued")
    return cast("Status", status) if known else "in_progress"


def final_status(status: Status | None, reason: str) -> tuple[Status, str]:
    """Returns how something ended: without a status its process died, so it was stopped."""
    return ("stopped", ABANDONED) if status is None else (status, reason)


def shown_status(status: str, reason: str) -> str:
    """Returns the word for people: a task whose process died was stopped by nobody."""
    return "abandoned" if (status, reason) == ("stopped", ABANDONED) else status


def tally(statuses: Iterable[str]) -> dict[str, int]:
    """Counts statuses: those that ended first, unknown ones last."""
    listed = list(statuses)
    known = [*ORDER, *sorted(set(listed) - set(ORDER))]
    return {status: listed.count(status) for status in known if status in listed}


def tally_text(counts: Mapping[str, int]) -> str:
    """Writes the counts for people: `40 completed, 5 failed, 1 in progress`."""
    return ", ".join(f"{count:,} {status.replace('_', ' ')}" for status, count in counts.items())
