"""Parallel coordinates: a line per task over an axis per parameter, as plotly JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._results.parameters import by_explained_variance, is_repeat, parameter_values, varying_parameters
from .._results.scales import axis_scale, limits, rank_shares
from .._results.value_text import escape, shorten, shorten_start
from .colours import DARK_IS_BEST, Ranks, colour_of
from .layout import (
    AXIS_COLOUR,
    Figure,
    add_note,
    base_layout,
    best_colour,
    drawn_lines,
    empty_figure,
    join_sentences,
    lines_text,
    row_hover_text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._results.rows import Mode, RowValue


MAX_AXES = 12
"""The number of parameters that are shown; of more, those that explain most of the values."""
MAX_AXIS_CHARS = 22
"""The number of characters of a parameter's name below its axis."""
MAX_CROWDED_PLACES = 14
"""On axes with up to this many places, the lines are spread around each place to keep them apart."""


def parallel_coordinates_figure(
    row_values: Sequence[RowValue],
    label: str,
    mode: Mode | None,
    note: str = "",
    ranks: Ranks = DARK_IS_BEST,
) -> Figure:
    """Draws each task as a line over an axis per parameter and one for the value.

    Args:
        row_values: The tasks and their values.
        label: The values' label.
        mode: Which values are better.
        note: A sentence on what was skipped.
        ranks: The colours.

    Returns:
        The figure. Parameters that are the same in all tasks are skipped, and, unless no other one differs,
        those that only repeat a configuration, as the seed; of more than 12 parameters those
        that explain most of the values are shown. Lines that meet in one place are spread a little, by
        their value.
    """
    rows, values = [row for row, _ in row_values], [value for _, value in row_values]
    varying = varying_parameters(rows)
    names = [name for name in varying if not is_repeat(name)] or varying
    if not row_values:
        return empty_figure(label, join_sentences("no task has a value", note))
    if not names:
        return empty_figure(label, join_sentences("no parameter differs between the tasks", note))
    layout = base_layout(f"Parameters and {label}", [note] if note else [])
    if len(names) > MAX_AXES:
        add_note(layout, f"the {MAX_AXES} of {len(names)} parameters that explain most")
        chosen = set(by_explained_variance(row_values, names)[:MAX_AXES])
        names = [name for name in names if name in chosen]
    shares = rank_shares(values)
    low, high = limits(values)
    columns, annotations, heads = [], [], []
    for at, name in enumerate([*names, ""]):
        found = axis_scale(
            parameter_values(rows, name) if name else [min(max(value, low), high) for value in values]
        )
        crowded = (
            name and 1 < found.number_of_places <= MAX_CROWDED_PLACES and len(rows) > found.number_of_places
        )
        spread = min(0.05, 0.35 / (found.number_of_places - 1)) if crowded else 0.0
        columns.append(
            [place + (2 * share - 1) * spread for place, share in zip(found.places, shares, strict=True)]
        )
        title = shorten_start(name, MAX_AXIS_CHARS) if name else shorten(label, MAX_AXIS_CHARS)
        heads.append(f"<b>{escape(title)}</b>{' (log)' if found.is_log else ''}")
        for place, text in _without_overlaps(found.ticks):  # text right of the last axis, else left
            annotations.append(_axis_text(at, place, escape(shorten(text, 18)), "right" if name else "left"))
    order = sorted(range(len(rows)), key=lambda at: shares[at], reverse=mode == "min")
    width, opacity = (2, 1.0) if len(rows) <= 30 else (1.2, 0.75)
    data: list[Figure] = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "x": list(range(len(columns))),
            "y": [float(f"{column[at]:.4f}") for column in columns],
            "line": {"color": colour, "width": width},
            "marker": {"size": 4, "color": colour},
            "opacity": opacity,
            "name": escape(row.name),
            "hovertext": row_hover_text(row),
            "hovertemplate": f"%{{hovertext}}<br>{escape(label)} = {value:.5g}<extra></extra>",
            "showlegend": False,
        }
        for at in drawn_lines(order)
        for (row, value), colour in [(row_values[at], colour_of(shares[at], mode == "min", ranks))]
    ]
    add_note(
        layout,
        f"{lines_text(len(rows), 'tasks')}, coloured by the rank of their value: {best_colour(mode, ranks)}",
    )
    if (low, high) != (min(values), max(values)):
        add_note(layout, "outliers are at the end of the last axis")
    layout["xaxis"] |= {"range": [-0.35, len(columns) - 0.65], "fixedrange": True, "gridcolor": AXIS_COLOUR}
    layout["xaxis"] |= {"tickvals": list(range(len(columns))), "ticktext": heads, "showline": False}
    layout["yaxis"] = {"visible": False, "fixedrange": True, "range": [-0.05, 1.05]}
    layout["annotations"] = annotations
    return {"data": data, "layout": layout}


def _axis_text(at: int, place: float, text: str, anchor: str) -> Figure:
    return {
        "x": at,
        "y": place,
        "text": text,
        "xanchor": anchor,
        "xshift": {"right": -5, "left": 5}[anchor],
        "showarrow": False,
    }


def _without_overlaps(ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Skips ticks that would overlap the one below them."""
    kept: list[tuple[float, str]] = []
    for place, text in sorted(ticks):
        if not kept or place - kept[-1][0] >= 0.04:
            kept.append((place, text))
    return kept
