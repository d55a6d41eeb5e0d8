"""Figures of parameters against a value of each task, as plotly's JSON. Pure; plotly is not needed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ._figures import (
    Figure,
    add_note,
    bar_of,
    empty_figure,
    hover_of,
    layout_of,
    rank_bar,
    rank_shares,
    rounded,
)
from ._measures import Mode
from ._scales import (
    MISSING,
    PALETTE,
    Cells,
    cells,
    colour_of,
    colour_scale,
    distinct,
    is_log,
    is_number,
    limits,
    plain,
    safe,
    scale,
    short,
)
from .errors import counted

if TYPE_CHECKING:
    from ._results import Row

Scored = tuple["Row", float]
"""A task and its value."""

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
        found = cells(values_of([row for row, _ in scored], name))
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
        The figure. Parameters that are the same in all tasks are left out. Where many lines meet in
        one place they are spread a little, by their value.
    """
    rows, values = [row for row, _ in scored], [value for _, value in scored]
    names = varying(rows)
    if not scored:
        return empty_figure(label, _joined("no task has a value", note))
    if not names:
        return empty_figure(label, _joined("no parameter differs between the tasks", note))
    shares = rank_shares(values)
    columns, annotations, lines = [], [], []
    for at, name in enumerate([*names, ""]):
        found = scale(values_of(rows, name) if name else values)
        spread = 0.35 / (found.crowd - 1) if 1 < found.crowd <= CROWD and len(rows) > found.crowd else 0.0
        spread = min(spread, 0.05)
        columns.append(
            [place + (share - 0.5) * 2 * spread for place, share in zip(found.places, shares, strict=True)]
        )
        if not name:  # the values themselves stand where they belong
            columns[-1] = list(found.places)
        title = (short(name, 24) if name else short(label, 30)) + (" (log)" if found.is_log else "")
        annotations.append(_axis_text(at, 1.09, f"<b>{safe(title)}</b>", "center"))
        annotations += [
            _axis_text(at, place, safe(short(text, 18)), "right") for place, text in _apart(found.ticks)
        ]
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
    layout = layout_of(f"Parameters and {label}", [note] if note else [])
    add_note(layout, f"{counted(len(rows), 'task')}, coloured by rank")
    hidden = {"visible": False, "fixedrange": True}
    layout["xaxis"] = hidden | {"range": [-0.35, len(columns) - 1 + 0.15]}
    layout["yaxis"] = hidden | {"range": [-0.06, 1.14]}
    layout |= {"annotations": annotations, "shapes": lines}
    layout["margin"] |= {"b": 16, "l": 24}
    return {"data": [*data, rank_bar(values, label, mode)], "layout": layout}


def _axis_text(at: int, place: float, text: str, anchor: str) -> Figure:
    return {
        "x": at,
        "y": place,
        "text": text,
        "xanchor": anchor,
        "xshift": -5 if anchor == "right" else 0,
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


def heat_map_figure(
    scored: Sequence[Scored], label: str, mode: Mode | None, x: str, y: str, note: str = ""
) -> Figure:
    """Draws the mean value for each pair of values of two parameters, over all others.

    Args:
        scored: The tasks and their values.
        label: What the values are.
        mode: Which is better: that end of the colours is the dark one.
        x: The parameter from left to right.
        y: The one from below upwards.
        note: A sentence on what is left out.
    """
    if not scored:
        return empty_figure(label, _joined("no task has a value", note))
    rows = [row for row, _ in scored]
    across, up = cells(values_of(rows, x)), cells(values_of(rows, y))
    found: dict[tuple[int, int], list[float]] = {}
    for place, value in zip(zip(up.places, across.places, strict=True), scored, strict=True):
        found.setdefault(place, []).append(value[1])
    low, high = limits([statistics.fmean(values) for values in found.values()])
    means: list[list[float | None]] = []
    texts: list[list[str]] = []
    for at_y, name_y in enumerate(up.names):
        means.append([])
        texts.append([])
        for at_x, name_x in enumerate(across.names):
            values = found.get((at_y, at_x), [])
            means[-1].append(float(f"{statistics.fmean(values):.6g}") if values else None)
            where = f"{safe(short(x, 50))} = {safe(name_x)}<br>{safe(short(y, 50))} = {safe(name_y)}"
            texts[-1].append(f"{where}<br>{_spread(values)}" if values else f"{where}<br>no task")
    trace: Figure = {
        "type": "heatmap",
        "x": list(range(len(across.names))),
        "y": list(range(len(up.names))),
        "z": means,
        "zmin": low,
        "zmax": high,
        "colorscale": colour_scale(mode == "min"),
        "colorbar": bar_of(label),
        "hovertext": texts,
        "hovertemplate": f"%{{hovertext}}<br>{safe(label)} = %{{z:.5g}}<extra></extra>",
        "hoverongaps": False,
        "xgap": 2,
        "ygap": 2,
    }
    if len(across.names) <= 12 and len(up.names) <= 20:
        trace["texttemplate"] = "%{z:.4g}"
    layout = layout_of(f"{label} by {x} and {y}", [note] if note else [], x=x, y=y)
    most = max(len(values) for values in found.values())
    if most > 1:
        add_note(layout, f"means of up to {most} tasks")
    layout["xaxis"] |= {"showgrid": False} | _ticks(across)
    layout["yaxis"] |= {"showgrid": False} | _ticks(up)
    return {"data": [trace], "layout": layout}


def scatter_figure(
    scored: Sequence[Scored], label: str, mode: Mode | None, x: str, y: str, note: str = ""
) -> Figure:
    """Draws a point for each task at the values of two parameters, coloured by its value.

    Args:
        scored: The tasks and their values. Tasks with the same two parameters are one point, their mean.
        label: What the values are.
        mode: Which is better: that end of the colours is the dark one.
        x: The parameter from left to right.
        y: The one from below upwards.
        note: A sentence on what is left out.
    """
    rows = [row for row, _ in scored]
    xs, ys = values_of(rows, x), values_of(rows, y)
    keep = [at for at in range(len(rows)) if _drawable(xs, at) and _drawable(ys, at)]
    without = len(rows) - len(keep)
    notes = [note] if note else []
    if without:
        notes.append(f"{counted(without, 'task')} without a number for {x} or {y} left out")
    if not keep:
        return empty_figure(label, _joined("no task has a value", *notes))
    xs, ys, kept = [xs[at] for at in keep], [ys[at] for at in keep], [scored[at] for at in keep]
    layout = layout_of(f"{label} by {x} and {y}", x=x, y=y)
    at_x, layout["xaxis"] = _axis(xs, layout["xaxis"])
    at_y, layout["yaxis"] = _axis(ys, layout["yaxis"])
    points: dict[tuple[float, float], list[Scored]] = {}
    for place, one in zip(zip(at_x, at_y, strict=True), kept, strict=True):
        points.setdefault(place, []).append(one)
    means = [statistics.fmean(value for _, value in ones) for ones in points.values()]
    most = max(len(ones) for ones in points.values())
    if most > 1:
        notes.append(f"means of up to {most} tasks in one place")
    for sentence in notes:
        add_note(layout, sentence)
    low, high = limits(means)
    texts = []
    for ones, mean in zip(points.values(), means, strict=True):
        names = [f"<b>{safe(short(row.name, 80))}</b> {value:.5g}" for row, value in ones[:8]]
        more = [f"and {len(ones) - 8} more"] if len(ones) > 8 else []
        value = f"{safe(label)} = {mean:.5g}"
        head = [hover_of(ones[0][0]), value] if len(ones) == 1 else [value, _spread([v for _, v in ones])]
        texts.append("<br>".join([*head, *(names if len(ones) > 1 else []), *more]))
    marker = {
        "color": rounded(means),
        "cmin": low,
        "cmax": high,
        "colorscale": colour_scale(mode == "min"),
        "colorbar": bar_of(label),
        "showscale": True,
        "size": 11 if len(points) <= 60 else 8,
        "line": {"width": 0.5, "color": "#ffffff"},
    }
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [place[0] for place in points],
        "y": [place[1] for place in points],
        "marker": marker,
        "hovertext": texts,
        "hoverinfo": "text",
    }
    return {"data": [trace], "layout": layout}


def box_figure(scored: Sequence[Scored], label: str, by: str, note: str = "") -> Figure:
    """Draws a box of the tasks' values for each value of a parameter, with the tasks as points.

    Args:
        scored: The tasks and their values.
        label: What the values are.
        by: The parameter.
        note: A sentence on what is left out.
    """
    if not scored:
        return empty_figure(label, _joined("no task has a value", note))
    found = cells(values_of([row for row, _ in scored], by))
    data = []
    for at, name in enumerate(found.names):
        inside = [one for one, place in zip(scored, found.places, strict=True) if place == at]
        if not inside:
            continue
        data.append(
            {
                "type": "box",
                "name": safe(short(name)),
                "x": [at] * len(inside),
                "y": rounded([value for _, value in inside]),
                "boxpoints": "all" if len(scored) <= 400 else "outliers",
                "jitter": 0.5,
                "pointpos": 0,
                "marker": {"color": PALETTE[0], "size": 5, "opacity": 0.7},
                "line": {"color": "#33475b", "width": 1.2},
                "fillcolor": "rgba(0,114,178,0.15)",
                "hovertext": [f"{hover_of(row)}<br>{safe(label)} = {value:.5g}" for row, value in inside],
                "hoverinfo": "text",
                "hoveron": "points",
                "showlegend": False,
            }
        )
    layout = layout_of(f"{label} by {by}", [note] if note else [], x=by, y=label)
    add_note(layout, "boxes from the first to the third quartile, the line is the median")
    layout["xaxis"] |= {"showgrid": False} | _ticks(found)
    low, high = limits([value for _, value in scored])
    if (low, high) != (min(v for _, v in scored), max(v for _, v in scored)):
        margin = 0.05 * (high - low)
        layout["yaxis"]["range"] = [low - margin, high + margin]
        add_note(layout, "some values lie beyond the axis: a double click shows them")
    return {"data": data, "layout": layout}


def _drawable(values: Sequence[Any], at: int) -> bool:
    """Whether a value can stand on its axis: on an axis of numbers None and missing ones cannot."""
    return is_number(values[at]) or not _is_numeric(values)


def _is_numeric(values: Sequence[Any]) -> bool:
    others = [value for value in values if not is_number(value)]
    return len(others) < len(values) and all(value is None or value is MISSING for value in others)


def _axis(values: Sequence[Any], axis: Figure) -> tuple[list[float], Figure]:
    if not _is_numeric(values):
        found = cells(values)
        return [float(place) for place in found.places], axis | _ticks(found)
    if is_log(values):
        return list(values), axis | {"type": "log", "exponentformat": "power", "dtick": 1}
    return list(values), axis


def _ticks(found: Cells) -> Figure:
    """Names the cells along an axis; only some of them, where there are very many."""
    step = max(1, math.ceil(len(found.names) / 40))
    shown = range(0, len(found.names), step)
    return {
        "type": "linear",
        "tickmode": "array",
        "tickvals": list(shown),
        "ticktext": [safe(short(found.names[at])) for at in shown],
        "range": [-0.5, len(found.names) - 0.5],
    }


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "1 task"
    return f"± {statistics.stdev(values):.3g} (std), n = {len(values)}, {min(values):.4g} … {max(values):.4g}"


def _joined(*sentences: str) -> str:
    return "; ".join(sentence for sentence in sentences if sentence)
