"""Heat maps: the mean value for each pair of values of two parameters, as plotly JSON."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from .._results.parameters import parameter_values
from .._results.scales import assign_cells, limits
from .._results.value_text import escape, number_texts, shorten
from .colours import colour_of, colour_scale, text_colour_on
from .layout import (
    Figure,
    add_note,
    base_layout,
    cell_tick_angle,
    cell_ticks,
    colour_bar,
    empty_figure,
    join_sentences,
    spread_text,
    title_by,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._results.rows import Mode, RowValue


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
    low, high = limits([statistics.fmean(values) for values in found.values()])
    means: list[list[float | None]] = []
    texts: list[list[str]] = []
    for at_y, name_y in enumerate(up.names):
        means.append([])
        texts.append([])
        for at_x, name_x in enumerate(across.names):
            values = found.get((at_y, at_x), [])
            means[-1].append(float(f"{statistics.fmean(values):.6g}") if values else None)
            lines = [
                f"{escape(shorten(x, 50))} = {escape(name_x)}",
                f"{escape(shorten(y, 50))} = {escape(name_y)}",
            ]
            texts[-1].append("<br>".join([*lines, spread_text(values) if values else "no task"]))
    trace: Figure = {
        "type": "heatmap",
        "x": list(range(len(across.names))),
        "y": list(range(len(up.names))),
        "z": means,
        "zmin": low,
        "zmax": high,
        "colorscale": colour_scale(mode == "min"),
        "colorbar": colour_bar(label, mode),
        "hovertext": texts,
        "hovertemplate": f"%{{hovertext}}<br>{escape(label)} = %{{z:.5g}}<extra></extra>",
        "hoverongaps": False,
        "xgap": 2,
        "ygap": 2,
    }
    layout = base_layout(title_by(label, x, y), [note] if note else [], x=x, y=y)
    max_tasks = max(len(values) for values in found.values())
    if max_tasks > 1:
        add_note(layout, f"means of up to {max_tasks} tasks")
    layout["xaxis"] |= {"showgrid": False, "tickangle": cell_tick_angle(across)} | cell_ticks(across)
    layout["yaxis"] |= {"showgrid": False} | cell_ticks(up)
    if len(across.names) <= 12 and len(up.names) <= 20:
        shown = [
            (at_x, at_y, mean)
            for at_y, line in enumerate(means)
            for at_x, mean in enumerate(line)
            if mean is not None
        ]
        layout["annotations"] = [
            _cell_annotation(at_x, at_y, text, colour_of((mean - low) / ((high - low) or 1), mode == "min"))
            for (at_x, at_y, mean), text in zip(
                shown, number_texts([mean for *_, mean in shown]), strict=True
            )
        ]
    return {"data": [trace], "layout": layout}


def _cell_annotation(x: int, y: int, text: str, colour: str) -> Figure:
    font = {"color": text_colour_on(colour)}
    return {"x": x, "y": y, "text": text, "font": font, "showarrow": False}
