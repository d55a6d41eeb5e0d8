"""Parameters beside each task's value, and parallel coordinates. Pure; plotly is not needed."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from .._text import counted
from .parts import Figure, add_note, empty_figure, hover_of, joined, layout_of, rank_shares
from .scales import (
    BINS,
    MISSING,
    MOST_CELLS,
    cells,
    colour_of,
    distinct,
    is_continuous,
    limits,
    plain,
    safe,
    scale,
    short,
    tail,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._results.rows import Mode, Row


Scored = tuple["Row", float]
"""A task and its value."""

MOST_AXES = 12
"""How many parameters parallel coordinates show; of more, those that tell most."""
CROWD = 14
"""Up to how many places of an axis lines are spread around each, to be told apart."""


def values_of(rows: Sequence[Row], name: str) -> list[Any]:
    """Gives a parameter's value for each task; `MISSING` where it has none."""
    return [plain(row.params[name]) if name in row.params else MISSING for row in rows]


def varying(rows: Sequence[Row]) -> list[str]:
    """The parameters that do not have the same value in all tasks."""
    names = dict.fromkeys(name for row in rows for name in row.params)
    return [name for name in names if len(distinct(values_of(rows, name))) > 1]


def telling(scored: Sequence[Scored], names: Sequence[str]) -> list[str]:
    """Sorts parameters by how much of the values' variance they explain alone, most first.

    It is epsilon squared of a one-way analysis of variance, with numbers in bins where there are many.
    """
    values = [value for _, value in scored]
    ranks = rank_shares(values)  # so that one diverged task does not decide

    def explained(name: str) -> float:
        places = values_of([row for row, _ in scored], name)
        found = cells(places, most=BINS if is_continuous(places) else MOST_CELLS)
        groups: dict[int, list[float]] = {}
        for place, rank in zip(found.places, ranks, strict=True):
            groups.setdefault(place, []).append(rank)
        inside = sum(statistics.pvariance(group) * len(group) for group in groups.values())
        whole, free = statistics.pvariance(ranks) * len(ranks), len(ranks) - len(groups)
        if not whole or free < 1:
            return 0.0
        return (whole - inside - (len(groups) - 1) * inside / free) / whole

    return sorted(names, key=explained, reverse=True) if values else list(names)


def parallel_figure(scored: Sequence[Scored], label: str, mode: Mode | None, note: str = "") -> Figure:
    """Draws each task as a line over an axis for each parameter, and one for the value.

    Args:
        scored: The tasks and their values.
        label: What the values are.
        mode: Which is better: that end of the colours is the dark one.
        note: A sentence on what is left out.

    Returns:
        The figure. Parameters that are the same in all tasks are left out, and of more than 12 those
        that tell least of the values. Where many lines meet in
        one place they are spread a little, by their value.
    """
    rows, values = [row for row, _ in scored], [value for _, value in scored]
    names = varying(rows)
    if not scored:
        return empty_figure(label, joined("no task has a value", note))
    if not names:
        return empty_figure(label, joined("no parameter differs between the tasks", note))
    layout = layout_of(f"Parameters and {label}", [note] if note else [])
    if len(names) > MOST_AXES:
        add_note(layout, f"the {MOST_AXES} parameters of {len(names)} that tell most")
        chosen = set(telling(scored, names)[:MOST_AXES])
        names = [name for name in names if name in chosen]
    shares = rank_shares(values)
    low, high = limits(values)
    columns, annotations, lines = [], [], []
    for at, name in enumerate([*names, ""]):
        found = scale(values_of(rows, name) if name else [min(max(value, low), high) for value in values])
        crowded = name and 1 < found.crowd <= CROWD and len(rows) > found.crowd
        spread = min(0.05, 0.35 / (found.crowd - 1)) if crowded else 0.0
        columns.append(
            [place + (2 * share - 1) * spread for place, share in zip(found.places, shares, strict=True)]
        )
        most = 30 if len(names) < 5 else 22 if len(names) < 8 else 16
        title = (tail(name, most) if name else short(label, most)) + (" (log)" if found.is_log else "")
        above = 1.1 + (0.07 if len(names) > 4 and at % 2 else 0)
        head = _axis_text(at, above, f"<b>{safe(title)}</b>", "center")
        if len(title) > 16 and not name:  # what would stick out on a narrow page
            head |= {"xanchor": "right", "xshift": 44}
        elif len(title) > 16 and at == 0:
            head |= {"xanchor": "left", "xshift": -44}
        annotations.append(head)
        for place, text in _apart(found.ticks):  # those of the last axis behind it, clear of the lines
            annotations.append(_axis_text(at, place, safe(short(text, 18)), "right" if name else "left"))
        lines.append(_axis_line(at))
    order = sorted(range(len(rows)), key=lambda at: shares[at], reverse=mode == "min")
    width, opacity = (2, 1.0) if len(rows) <= 30 else (1.2, 0.75)
    data: list[Figure] = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "x": list(range(len(columns))),
            "y": [float(f"{column[at]:.4f}") for column in columns],
            "line": {"color": colour_of(shares[at], mode == "min"), "width": width},
            "marker": {"size": 4, "color": colour_of(shares[at], mode == "min")},
            "opacity": opacity,
            "name": safe(rows[at].name),
            "hovertemplate": f"{hover_of(rows[at])}<br>{safe(label)} = {values[at]:.5g}<extra></extra>",
            "showlegend": False,
        }
        for at in order
    ]
    add_note(layout, f"{counted(len(rows), 'task')}, coloured by the rank of their value")
    if (low, high) != (min(values), max(values)):
        add_note(layout, "outliers stand at the end of the last axis")
    hidden = {"visible": False, "fixedrange": True}
    layout["xaxis"] = hidden | {"range": [-0.35, len(columns) - 1 + 0.35]}
    layout["yaxis"] = hidden | {"range": [-0.06, 1.22]}
    layout |= {"annotations": annotations, "shapes": lines}
    layout["margin"] |= {"b": 16, "l": 48, "r": 48}
    return {"data": data, "layout": layout}


def _axis_text(at: int, place: float, text: str, anchor: str) -> Figure:
    return {
        "x": at,
        "y": place,
        "text": text,
        "xanchor": anchor,
        "xshift": {"right": -5, "left": 5}.get(anchor, 0),
        "showarrow": False,
        "bgcolor": "rgba(255,255,255,0.75)",
        "borderpad": 1,
    }


def _axis_line(at: int) -> Figure:
    return {
        "type": "line",
        "layer": "below",
        "x0": at,
        "x1": at,
        "y0": 0,
        "y1": 1,
        "line": {"color": "#9aa0a8", "width": 1},
    }


def _apart(ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Leaves out ticks that would stand on another."""
    kept: list[tuple[float, str]] = []
    for place, text in sorted(ticks):
        if not kept or place - kept[-1][0] >= 0.04:
            kept.append((place, text))
    return kept
