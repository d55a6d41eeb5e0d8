"""API events: what a server stores of scalars, single values and console lines."""

from __future__ import annotations

import functools
import json
import os
import re
import time
from typing import TYPE_CHECKING, Any

from .._model.name_template import Name
from .._text import storable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_AS_OUTBOX = (",", ":")
"""The separators of the JSON that the outbox parses."""
_LINE_BREAK, _TAG = re.compile("<br */?>"), re.compile("</?[a-z]+>")
"""Markup of plotly; other text in angle brackets stays."""

Batch = dict[str, list[str]]
"""Events by ClearML task id: API events as JSON text, in order."""

Point = tuple[int | None, float]
"""A data point: iteration and value; the iteration of a single value is None."""

Curves = dict["Name", list[Point]]
"""The data points of each title and series of one task, in the order of arrival."""

SINGLE_VALUE_TITLE, SINGLE_VALUE_ITERATION = "Summary", -(2**31)
"""Title and iteration that ClearML gives to single values (`Logger.report_single_value`)."""
FIRST_ITERATION, LAST_ITERATION = SINGLE_VALUE_ITERATION + 1, 2**63 - 1
"""The range of iterations that a server accepts, without that of single values."""


def scalar_event_start(task_id: str, name: Name) -> str:
    """Returns the start of a scalar's API event as JSON; its value and `scalar_event_end` follow.

    It is the same for all data points of a curve, so it is made once.
    """
    return f'{{"type":"training_stats_scalar","task":"{task_id}",{_name_as_json(name)},"value":'


@functools.lru_cache(maxsize=1024)  # most tasks of a group have the same names
def _name_as_json(name: Name) -> str:
    return f'"metric":{json.dumps(name.title)},"variant":{json.dumps(name.series)}'


def scalar_event_end(iteration: int | None, timestamp: int) -> str:
    """Returns the end of a scalar's API event; it is the same for all values of one report.

    Args:
        iteration: None for a value without one.
        timestamp: The time of the report, in milliseconds since 1970.
    """
    at = SINGLE_VALUE_ITERATION if iteration is None else iteration
    return f',"iter":{at},"timestamp":{timestamp}}}'


def console_event(task_id: str, text: str, level: str = "INFO", timestamp: int | None = None) -> str:
    """Writes text for a task's console as an API event.

    Args:
        task_id: The ClearML task's id.
        text: The text.
        level: The level that the web page shows.
        timestamp: Milliseconds since 1970; None for now.
    """
    event = {
        "type": "log",
        "task": task_id,
        "timestamp": now() if timestamp is None else timestamp,
        "level": level,
        "worker": os.uname().nodename if hasattr(os, "uname") else "",
        "msg": storable(text),
    }
    return json.dumps(event, separators=_AS_OUTBOX)


def now() -> int:
    """The current time in milliseconds, as in API events."""
    return time.time_ns() // 1_000_000


def events_in(line: str | bytes) -> list[dict[str, Any]]:
    """Reads the events in a line of a session's `metrics.jsonl`.

    A line that was cut short or edited has none.
    """
    try:
        events = json.loads(line)
    except (ValueError, RecursionError):
        return []
    return [event for event in events if isinstance(event, dict)] if isinstance(events, list) else []


def is_point(event: Mapping[str, Any]) -> bool:
    """Whether an event is a scalar, with all that belongs to one."""
    return (
        event.get("type") == "training_stats_scalar"
        and isinstance(event.get("metric"), str)
        and isinstance(event.get("variant"), str)
        and isinstance(event.get("iter"), int)
        and isinstance(event.get("value"), (int, float))
    )


def curves_of(events: Iterable[Mapping[str, Any]], names: Sequence[Name]) -> Curves:
    """Selects the data points of some titles and series from API events, in their order."""
    curves: Curves = {name: [] for name in names}
    for event in events:
        if is_point(event):
            points = curves.get((event["metric"], event["variant"]))  # type: ignore[call-overload]
            if points is not None:
                points.append(as_point(event["iter"], event["value"]))
    return curves


def as_point(iteration: int, value: float) -> Point:
    """Returns a data point as it was reported: a single value has no iteration."""
    return (None if iteration == SINGLE_VALUE_ITERATION else iteration), value


def plot_event(task_id: str, title: str, series: str, figure: Mapping[str, Any]) -> str:
    """Writes a figure in plotly's JSON form as an API event."""
    plot = json.dumps(titled(figure, series), separators=_AS_OUTBOX)
    event = {"type": "plot", "task": task_id, "timestamp": now(), "metric": title, "variant": series}
    return json.dumps({**event, "iter": 0, "plot_str": plot}, separators=_AS_OUTBOX)


def titled(figure: Mapping[str, Any], series: str) -> dict[str, Any]:
    """Returns a figure whose title is plain text: its own, or else the series.

    ClearML's web page (since 2.3) calls `layout.title.endsWith(…)`: one plot with another title, or none,
    leaves the whole PLOTS tab of the task blank. The page shows no markup in titles.
    """
    layout = figure.get("layout")
    layout = dict(layout) if isinstance(layout, dict) else {}
    title = layout.get("title")
    if isinstance(title, dict) and isinstance(title.get("text"), str):
        import html

        title = html.unescape(_TAG.sub("", _LINE_BREAK.sub(" – ", title["text"])))
    if not isinstance(title, str) or not title:
        title = series
    return {"data": [], **figure, "layout": layout | {"title": title}}


def single_value_event(task_id: str, name: str, value: float) -> str:
    """Writes a value without an iteration as an API event."""
    start = scalar_event_start(task_id, Name(SINGLE_VALUE_TITLE, name))
    return f"{start}{json.dumps(value)}{scalar_event_end(None, now())}"
