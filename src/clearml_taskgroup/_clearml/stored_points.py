"""Data points as a server stores them, with their times, so that copies are the same in all but the name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from .._model.name_template import Name
from .api_errors import Refused
from .curves import MAX_PAGE_POINTS, divided, read_points

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .api import Transport
    from .queries import Document

MAX_SENT_POINTS = 5_000
"""How many data points are sent in one request."""


class StoredPoint(NamedTuple):
    """A data point without its name and iteration.

    Attributes:
        value: The value.
        timestamp: When it was reported, in milliseconds since 1970.
        worker: What reported it; None if that is not known.
    """

    value: float
    timestamp: float | None
    worker: str | None = None


StoredCurve = dict[int | None, StoredPoint]
"""By iteration; that of a single value is `SINGLE_VALUE_ITERATION`."""


def read_stored(transport: Transport, task_id: str, names: Iterable[Name]) -> dict[Name, StoredCurve]:
    """Reads the data points of some names of a task, each in the order of its iterations.

    Raises:
        Refused: The server does not give all of them.
        ServerError: It cannot be reached.
    """
    names = list(names)
    found: dict[Name, StoredCurve] = {}
    for part in divided(names):
        # Version 2.3.0 gives a page again whose last iteration is 0; smaller pages end elsewhere.
        for size in (MAX_PAGE_POINTS, MAX_PAGE_POINTS * 2 // 3):
            points = read_points(transport, task_id, part, size, _point)
            if points is not None:
                break
        else:
            raise Refused("the server does not give all of its data points")
        for (name, iteration), point in points.items():
            if point.value is not None:
                found.setdefault(name, {})[iteration] = point
    return {name: found.get(name, {}) for name in dict.fromkeys(names)}


def _point(event: Mapping[str, Any]) -> StoredPoint:
    return StoredPoint(event.get("value"), event.get("timestamp"), event.get("worker"))  # type: ignore[arg-type]


def stored_event(task_id: str, name: Name, iteration: int | None, point: StoredPoint) -> dict[str, Any]:
    """Makes the API event of a data point: the same each time, so that a server stores it once."""
    event: dict[str, Any] = {"type": "training_stats_scalar", "task": task_id}
    event |= {"metric": name.title, "variant": name.series, "value": point.value}
    more = {"iter": iteration, "timestamp": point.timestamp, "worker": point.worker}
    return event | {field: value for field, value in more.items() if value is not None}


def send_events(transport: Transport, events: Sequence[Mapping[str, Any]]) -> None:
    """Sends events of one task.

    Raises:
        Refused: The server has not taken all of them.
        ServerError: It cannot be reached.
    """
    for first in range(0, len(events), MAX_SENT_POINTS):
        part = events[first : first + MAX_SENT_POINTS]
        answer = transport.call("events.add_batch", lines=[json.dumps(event) for event in part])
        added = answer.get("added") or 0
        if added < len(part):
            problems = "; ".join(map(str, answer.get("errors_info") or ())) or "no reason given"
            raise Refused(f"the server took {added:,} of {len(part):,} data points: {problems}")


def last_metrics(document: Document) -> dict[Name, Mapping[str, Any]]:
    """Returns what a task document says of each of its names."""
    entries = (entry for each in (document.get("last_metrics") or {}).values() for entry in each.values())
    return {Name(str(entry.get("metric")), str(entry.get("variant"))): entry for entry in entries}


def is_counted(entry: Mapping[str, Any] | None, curve: StoredCurve) -> bool:
    """Whether the statistics that a task document has of a name are those of a curve."""
    if entry is None:
        return False
    values = [point.value for point in curve.values()]
    return (entry.get("min_value"), entry.get("max_value")) == (min(values), max(values))
