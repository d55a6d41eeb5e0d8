"""Heat maps, scatter plots and boxes of each task's value, as plotly's JSON. Pure; plotly is not needed."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from .._text import counted
from .parallel import Scored, values_of
from .parts import Figure, add_note, bar_of, empty_figure, fit, hover_of, joined, layout_of, rounded
from .scales import (
    MISSING,
    PALETTE,
    Cells,
    cells,
    colour_of,
    colour_scale,
    ink_on,
    is_log,
    is_number,
    limits,
    number_texts,
    safe,
    short,
    tail,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._results.rows import Mode


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
        return empty_figure(label, joined("no task has a value", note))
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
    layout = layout_of(_title(label, x, y), [note] if note else [], x=x, y=y)
    most = max(len(values) for values in found.values())
    if most > 1:
        add_note(layout, f"means of up to {most} tasks")
    layout["xaxis"] |= {"showgrid": False, "tickangle": _angle(across)} | _ticks(across)
    layout["yaxis"] |= {"showgrid": False} | _ticks(up)
    if len(across.names) <= 12 and len(up.names) <= 20:
        shown = [
            (at_x, at_y, mean)
            for at_y, line in enumerate(means)
            for at_x, mean in enumerate(line)
            if mean is not None
        ]
        layout["annotations"] = [
            _in_cell(at_x, at_y, text, colour_of((mean - low) / ((high - low) or 1), mode == "min"))
            for (at_x, at_y, mean), text in zip(
                shown, number_texts([mean for *_, mean in shown]), strict=True
            )
        ]
    return {"data": [trace], "layout": layout}


def _in_cell(x: int, y: int, text: str, colour: str) -> Figure:
    font = {"color": ink_on(colour)}
    return {"x": x, "y": y, "text": text, "font": font, "showarrow": False}


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
        notes.append(f"{counted(without, 'task')} left out, without a number for {x} or {y}")
    if not keep:
        return empty_figure(label, joined("no task has a value", *notes))
    xs, ys, kept = [xs[at] for at in keep], [ys[at] for at in keep], [scored[at] for at in keep]
    layout = layout_of(_title(label, x, y), x=x, y=y)
    at_x, layout["xaxis"] = _axis(xs, layout["xaxis"])
    at_y, layout["yaxis"] = _axis(ys, layout["yaxis"])
    points: dict[tuple[float, float], list[Scored]] = {}
    for place, one in zip(zip(at_x, at_y, strict=True), kept, strict=True):
        points.setdefault(place, []).append(one)
    means = [statistics.fmean(value for _, value in ones) for ones in points.values()]
    most = max(len(ones) for ones in points.values())
    if most > 1:
        notes.append(f"means of up to {most} tasks in one place")
    low, high = limits(means)
    if (low, high) != (min(means), max(means)):
        notes.append("outliers have the colour of the end of the scale")
    for sentence in notes:
        add_note(layout, sentence)
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


def points_figure(scored: Sequence[Scored], label: str, by: str, note: str = "") -> Figure:
    """Draws each task's value over a parameter of numbers, a point for each.

    Args:
        scored: The tasks and their values. Those without a number are left out.
        label: What the values are.
        by: The parameter.
        note: A sentence on what is left out.
    """
    places = values_of([row for row, _ in scored], by)
    drawn = [(place, one) for place, one in zip(places, scored, strict=True) if is_number(place)]
    notes = [note] if note else []
    if len(drawn) < len(scored):
        notes.append(f"{counted(len(scored) - len(drawn), 'task')} left out, without a number for {by}")
    if not drawn:
        return empty_figure(label, joined("no task has a value", *notes))
    layout = layout_of(_title(label, by), notes, x=by, y=label)
    xs, layout["xaxis"] = _axis([place for place, _ in drawn], layout["xaxis"])
    values = [value for _, (_, value) in drawn]
    marker = {"color": PALETTE[0], "opacity": 0.7, "size": 8 if len(drawn) <= 60 else 6}
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": xs,
        "y": rounded(values),
        "marker": marker,
        "hovertext": [f"{hover_of(row)}<br>{safe(label)} = {value:.5g}" for _, (row, value) in drawn],
        "hoverinfo": "text",
    }
    figure = {"data": [trace], "layout": layout}
    fit(figure, values)
    return figure


def box_figure(scored: Sequence[Scored], label: str, by: str, note: str = "") -> Figure:
    """Draws a box of the tasks' values for each value of a parameter, with the tasks as points.

    Args:
        scored: The tasks and their values.
        label: What the values are.
        by: The parameter.
        note: A sentence on what is left out.
    """
    if not scored:
        return empty_figure(label, joined("no task has a value", note))
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
    layout = layout_of(_title(label, by), [note] if note else [], x=by, y=label)
    layout["xaxis"] |= {"showgrid": False, "tickangle": _angle(found)} | _ticks(found)
    figure = {"data": data, "layout": layout}
    fit(figure, [value for _, value in scored])
    return figure


def _title(label: str, *names: str) -> str:
    """Names what is drawn, in a line that a narrow figure has room for."""
    label, room = short(label, 26), 48 - 5 * (len(names) - 1)
    fits = len(label) + sum(map(len, names)) <= room
    most = room if fits else max(12, (room - len(label)) // len(names))
    return f"{label} by {' and '.join(tail(name, most) for name in names)}"


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


def _angle(found: Cells) -> int:
    """Slants long names, so that they end where they belong and the last one is not cut."""
    longest = max(len(short(name)) + 2 for name in found.names)
    return -30 if longest * len(found.names) > 60 else 0


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "1 task"
    return f"± {statistics.stdev(values):.3g} (std), n = {len(values)}, {min(values):.4g} … {max(values):.4g}"
