"""Read whole curves from a server: all series of a title, or of many titles, with one call.

The calls for charts give means of samples, rounded to the precision of a float. Those for raw data points
give them as they were sent: `events.scalar_metrics_iter_raw` of one title, `events.get_task_events` of any.
Version 2.3.0 answers the latter with the same page again if its last iteration is 0, so it is believed only
if it gave as many data points as it says there are; else each title is read by itself.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

from .._model.name_template import Name
from .api_errors import Refused
from .concurrent import call_concurrently
from .events import as_point

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from .api import Transport
    from .events import Curves

MAX_TITLE_POINTS = 200_000
"""How many data points of one title a server gives in one answer at most."""
MAX_PAGE_POINTS = 10_000
"""How many data points of several titles a server gives in one answer at most."""
MAX_TITLES = 200
"""How many titles one call asks for: each is a clause of the server's search, which has a limit for them."""

Kept = TypeVar("Kept")
Titles = dict[str, list[str]]
"""Series by title."""


def read_curves(transport: Transport, wanted: Mapping[str, Sequence[Name]]) -> dict[str, Curves]:
    """Reads every data point of some curves, in the order of their iterations.

    Args:
        transport: The way to the server.
        wanted: Titles and series by task id.

    Returns:
        For each task the curves, which have no data points if nothing was logged under that name.
    """
    parts = list(_parts(wanted))
    read = call_concurrently(lambda part: _read_part(transport, *part), parts)
    found: dict[str, Curves] = {task_id: {name: [] for name in names} for task_id, names in wanted.items()}
    for (task_id, _), curves in zip(parts, read, strict=True):
        found[task_id].update((name, curves[name]) for name in found[task_id].keys() & curves.keys())
    return found


def _parts(wanted: Mapping[str, Sequence[Name]]) -> Iterator[tuple[str, Titles]]:
    """Divides what is wanted into parts of one task each, which are read one after the other."""
    for task_id, names in wanted.items():
        for titles in divided(names):
            yield task_id, titles


def divided(names: Iterable[Name]) -> Iterator[Titles]:
    """Divides names into as many titles as one call may ask for."""
    by_title: Titles = {}
    for title, series in dict.fromkeys(names):
        by_title.setdefault(title, []).append(series)
    titles = list(by_title.items())
    for first in range(0, len(titles), MAX_TITLES):
        yield dict(titles[first : first + MAX_TITLES])


def read_points(
    transport: Transport,
    task_id: str,
    titles: Titles,
    page_points: int,
    keep: Callable[[Mapping[str, Any]], Kept],
    most: int | None = None,
    **options: Any,
) -> dict[tuple[Name, Any], Kept] | None:
    """Reads the data points of several titles with `events.get_task_events`, the lowest iteration first.

    Args:
        transport: The way to the server.
        task_id: The task.
        titles: Series by title.
        page_points: How many data points one answer has.
        keep: What to keep of each API event.
        most: How many data points to read at most; their number must be known. None for any number.
        options: Those of `Transport.call`.

    Returns:
        What was kept, by name and iteration; None if there are more, or the server does not give all.
    """
    body: dict[str, Any] = {
        "task": task_id,
        "metrics": [{"metric": title, "variants": series} for title, series in titles.items()],
        "event_type": "training_stats_scalar",
        "order": "asc",
        "batch_size": page_points,
        "count_total": True,
    }
    points: dict[tuple[Name, Any], Kept] = {}
    while True:
        answer = transport.call("events.get_task_events", body, **options)
        total, before = answer.get("total"), len(points)
        if most is not None and (total is None or total > most):
            return None
        for event in answer["events"]:
            points[Name(event["metric"], event["variant"]), event.get("iter")] = keep(event)
        # An older server does not say how many there are.
        if len(points) >= total if total is not None else len(answer["events"]) < page_points:
            return points
        if len(points) == before or not answer.get("scroll_id"):
            return None
        body["scroll_id"] = answer["scroll_id"]


def _read_part(transport: Transport, task_id: str, titles: Titles) -> Curves:
    curves: Curves | None = None
    if len(titles) > 1:
        with contextlib.suppress(Refused):
            curves = _read_titles(transport, task_id, titles)
    if curves is None:
        curves = {}
        for title, series in titles.items():
            curves |= _read_title(transport, task_id, title, series)
    return curves


def _read_titles(transport: Transport, task_id: str, titles: Titles) -> Curves | None:
    """Reads the curves of several titles; None if they can only be read title by title, or faster so."""
    most = MAX_PAGE_POINTS * len(titles)
    points = read_points(transport, task_id, titles, MAX_PAGE_POINTS, _value, most, attempts_on_500=1)
    if points is None:
        return None
    curves: Curves = {}
    found = ((at, name, value) for (name, at), value in points.items() if None not in (at, value))
    for iteration, name, value in sorted(found, key=lambda point: point[0]):
        curves.setdefault(name, []).append(as_point(iteration, value))
    return curves


def _value(event: Mapping[str, Any]) -> Any:
    return event.get("value")


def _read_title(transport: Transport, task_id: str, title: str, series: Sequence[str]) -> Curves:
    metric = {"metric": title, "variants": list(series)}
    body: dict[str, Any] = {"task": task_id, "metric": metric, "key": "iter", "batch_size": MAX_TITLE_POINTS}
    curves: Curves = {}
    while True:
        answer = transport.call("events.scalar_metrics_iter_raw", body)
        for name, curve in answer["variants"].items():
            points = map(as_point, curve["iter"], curve["y"])
            curves.setdefault(Name(title, name), []).extend(points)
        if not answer.get("scroll_id") or (answer.get("returned") or 0) < MAX_TITLE_POINTS:
            return curves
        body["scroll_id"] = answer["scroll_id"]
