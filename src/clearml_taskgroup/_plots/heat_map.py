"""Heat maps: the mean value for each pair of values of two parameters, as plotly JSON."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from .._results.parameters import parameter_values
from .._results.scales import assign_cells, limits
from .._results.value_text import escape, number_texts, shorten
from .colours import colour_scale
from .layout import (
    Figure,
    add_note,
    base_layout,
    category_axis,
    colour_bar,
    empty_figure,
    join_sentences,
    spread_text,
    title_by,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._results.rows import Mode, RowValue

MAX_COLUMNS, MAX_ROWS = 12, 20
"""The largest heat map whose cells have their numbers."""


def heat_map_figure(
    row_values: Sequence[RowValue], label: str, mode: Mode | None, x: str, y: str, note: str = ""
) -> Figure:
    """Draws the mean over all other parameters for each pair of values of two.

    Args:
        row_values: The tasks and their values.
        label: The values' label.
        mode: Which values are better; they are dark.
        x: The parameter on the x axis.
        y: The parameter on the y axis.
        note: A sentence on what was skipped.
    """
    if not row_values:
        return empty_figure(label, join_sentences("no task has a value", note))
    rows = [row for row, _ in row_values]
    across, up = assign_cells(parameter_values(rows, x)), assign_cells(parameter_values(rows, y))
    found: dict[tuple[int, int], list[float]] = {}
    for place, value in zip(zip(up.places, across.places, strict=True), row_values, strict=True):
        found.setdefault(place, []).append(value[1])
    means = {place: statistics.fmean(values) for place, values in found.items()}
    numbers = dict(zip(means, number_texts(list(means.values())), strict=True))
    low, high = limits(list(means.values()))
    places = [[(at_y, at_x) for at_x in range(len(across.names))] for at_y in range(len(up.names))]
    has_numbers = len(across.names) <= MAX_COLUMNS and len(up.names) <= MAX_ROWS
    x_name, y_name = escape(shorten(x, 50)), escape(shorten(y, 50))
    trace: Figure = {
        "type": "heatmap",
        "x": list(map(escape, across.names)),
        "y": list(map(escape, up.names)),
        "z": [[float(f"{means[at]:.6g}") if at in means else None for at in line] for line in places],
        "zmin": low,
        "zmax": high,
        "text": [[numbers.get(at, "") for at in line] for line in places],
        "texttemplate": "%{text}" if has_numbers else "",
        "colorscale": colour_scale(mode == "min"),
        "colorbar": colour_bar(label, mode),
        "hovertext": [[spread_text(found[at]) if at in found else "" for at in line] for line in places],
        "hovertemplate": f"{x_name} = %{{x}}<br>{y_name} = %{{y}}<br>%{{hovertext}}<br>"
        f"{escape(label)} = %{{z:.5g}}<extra></extra>",
        "hoverongaps": False,
        "xgap": 2,
        "ygap": 2,
    }
    layout = base_layout(title_by(label, x, y), [note] if note else [], x=x, y=y)
    max_tasks = max(len(values) for values in found.values())
    if max_tasks > 1:
        add_note(layout, f"means of up to {max_tasks} tasks")
    layout["xaxis"] |= category_axis(across.names) | {"showgrid": False}
    layout["yaxis"] |= category_axis(up.names) | {"showgrid": False}
    return {"data": [trace], "layout": layout}
