"""The ISO dates of a server's documents in seconds."""

from __future__ import annotations

from datetime import datetime
from typing import Any


def seconds_since_1970(date: Any) -> float | None:
    """Reads a date; None if it is missing or is none."""
    try:
        return datetime.fromisoformat(str(date)).timestamp()
    except ValueError:
        return None


def seconds_between(start: Any, end: Any) -> float:
    """Returns the seconds from one date to another; 0 if one is missing or they are in the wrong order."""
    first, last = seconds_since_1970(start), seconds_since_1970(end)
    return 0.0 if first is None or last is None else max(0.0, last - first)
