"""Scatter plots: a point per task over one or two parameters, as plotly JSON."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from .._results.parameters import parameter_values
from .._results.scales import NUMBER_OF_BINS, assign_cells, distinct, is_log, is_number, limits
from .._results.value_text import MISSING, escape, shorten
from .._text import counted
from .colours import PALETTE, colour_scale
from .layout import (
    Figure,
    add_note,
    base_layout,
    category_axis,
    colour_bar,
    empty_figure,
    join_sentences,
    limit_y_axis,
    rounded,
    row_hover_text,
    spread_text,
    task_hover,
    title_by,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._results.rows import Mode, RowValue

MAX_HOVER_TASKS = 8
"""The number of tasks at one place that its hover text names."""


def scatter_figure(
    row_values: Sequence[RowValue], label: str, mode: Mode | None, x: str, y: str, note: str = ""
) -> Figure:
    """Draws a point per task at its values of two parameters, coloured by its metric's value.

    Args:
        row_values: The tasks and their values. Tasks at the same place are one point with their mean.
        label: The values' label.
        mode: Which values are better; they are dark.
        x: The parameter on the x axis.
        y: The parameter on the y axis.
        note: A sentence on what was skipped.
    """
    rows = [row for row, _ in row_values]
    xs, ys = parameter_values(rows, x), parameter_values(rows, y)
    keep = [at for at in range(len(rows)) if _has_place(xs, at) and _has_place(ys, at)]
    without = len(rows) - len(keep)
    notes = [note] if note else []
    if without:
        notes.append(f"{counted(without, 'task')} skipped, without a number for {x} or {y}")
    if not keep:
        return empty_figure(label, join_sentences("no task has a value", *notes))
    xs, ys, kept = [xs[at] for at in keep], [ys[at] for at in keep], [row_values[at] for at in keep]
    layout = base_layout(title_by(label, x, y), x=x, y=y)
    at_x, layout["xaxis"] = _places_and_axis(xs, layout["xaxis"])
    at_y, layout["yaxis"] = _places_and_axis(ys, layout["yaxis"])
    points: dict[tuple[Any, Any], list[RowValue]] = {}
    for place, one in zip(zip(at_x, at_y, strict=True), kept, strict=True):
        points.setdefault(place, []).append(one)
    means = [statistics.fmean(value for _, value in ones) for ones in points.values()]
    max_tasks = max(len(ones) for ones in points.values())
    if max_tasks > 1:
        notes.append(f"means of up to {max_tasks} tasks in one place")
    low, high = limits(means)
    if (low, high) != (min(means), max(means)):
        notes.append("outliers have the colour of the end of the scale")
    for sentence in notes:
        add_note(layout, sentence)
    texts = []
    for ones, mean in zip(points.values(), means, strict=True):
        names = [
            f"<b>{escape(shorten(row.name, 80))}</b> {value:.5g}" for row, value in ones[:MAX_HOVER_TASKS]
        ]
        more = [f"and {len(ones) - MAX_HOVER_TASKS} more"] if len(ones) > MAX_HOVER_TASKS else []
        value = f"{escape(label)} = {mean:.5g}"
        if len(ones) == 1:
            lines = [row_hover_text(ones[0][0]), value]
        else:
            lines = [value, spread_text([value for _, value in ones]), *names, *more]
        texts.append("<br>".join(lines))
    marker = {
        "color": rounded(means),
        "cmin": low,
        "cmax": high,
        "colorscale": colour_scale(mode == "min"),
        "colorbar": colour_bar(label, mode),
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


def points_figure(row_values: Sequence[RowValue], label: str, by: str, note: str = "") -> Figure:
    """Draws a point per task, its value over a numeric parameter.

    Args:
        row_values: The tasks and their values. Tasks without a number for the parameter are skipped.
        label: The values' label.
        by: The parameter.
        note: A sentence on what was skipped.
    """
    places = parameter_values([row for row, _ in row_values], by)
    drawn = [(place, one) for place, one in zip(places, row_values, strict=True) if is_number(place)]
    notes = [note] if note else []
    if len(drawn) < len(row_values):
        notes.append(f"{counted(len(row_values) - len(drawn), 'task')} skipped, without a number for {by}")
    if not drawn:
        return empty_figure(label, join_sentences("no task has a value", *notes))
    layout = base_layout(title_by(label, by), notes, x=by, y=label)
    xs, layout["xaxis"] = _places_and_axis([place for place, _ in drawn], layout["xaxis"])
    values = [value for _, (_, value) in drawn]
    marker = {"color": PALETTE[0], "opacity": 0.7, "size": 8 if len(drawn) <= 60 else 6}
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": xs,
        "y": rounded(values),
        "marker": marker,
        **task_hover([one for _, one in drawn], label),
    }
    figure = {"data": [trace], "layout": layout}
    limit_y_axis(figure, values)
    return figure


def _has_place(values: Sequence[Any], at: int) -> bool:
    """Whether a value has a place on its axis: on a numeric axis, None and missing values have none."""
    return is_number(values[at]) or not _has_numeric_axis(values)


def _has_numeric_axis(values: Sequence[Any]) -> bool:
    others = [value for value in values if not is_number(value)]
    return len(others) < len(values) and all(value is None or value is MISSING for value in others)


def _places_and_axis(values: Sequence[Any], axis: Figure) -> tuple[list[Any], Figure]:
    if not _has_numeric_axis(values):
        found = assign_cells(values)
        return [escape(found.names[place]) for place in found.places], axis | category_axis(found.names)
    if is_log(values):
        different = distinct(values)
        marks = {"tickvals": different} if len(different) <= NUMBER_OF_BINS else {"dtick": 1}
        return list(values), axis | {"type": "log", "exponentformat": "power"} | marks
    return list(values), axis
