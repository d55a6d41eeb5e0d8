"""Box plots of the tasks' values by a parameter, as plotly JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._results.parameters import parameter_values
from .._results.scales import assign_cells
from .._results.value_text import escape
from .colours import PALETTE
from .layout import (
    Figure,
    base_layout,
    category_axis,
    empty_figure,
    join_sentences,
    limit_y_axis,
    rounded,
    task_hover,
    title_by,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._results.rows import RowValue


def box_figure(row_values: Sequence[RowValue], label: str, by: str, note: str = "") -> Figure:
    """Draws a box per value of a parameter, with the tasks as points.

    Args:
        row_values: The tasks and their values.
        label: The values' label.
        by: The parameter.
        note: A sentence on what was skipped.
    """
    if not row_values:
        return empty_figure(label, join_sentences("no task has a value", note))
    cells = assign_cells(parameter_values([row for row, _ in row_values], by))
    data = []
    for at, name in enumerate(cells.names):
        inside = [one for one, place in zip(row_values, cells.places, strict=True) if place == at]
        if not inside:
            continue
        data.append(
            {
                "type": "box",
                "name": escape(name),
                "x": [escape(name)] * len(inside),
                "y": rounded([value for _, value in inside]),
                "boxpoints": "all" if len(row_values) <= 400 else "outliers",
                "jitter": 0.5,
                "pointpos": 0,
                "marker": {"color": PALETTE[0], "size": 5, "opacity": 0.7},
                "line": {"color": "#33475b", "width": 1.2},
                "fillcolor": "rgba(0,114,178,0.15)",
                "hoveron": "points",
                "showlegend": False,
                **task_hover(inside, label),
            }
        )
    layout = base_layout(title_by(label, by), [note] if note else [], x=by, y=label)
    layout["xaxis"] |= category_axis(cells.names) | {"showgrid": False}
    figure = {"data": data, "layout": layout}
    limit_y_axis(figure, [value for _, value in row_values])
    return figure
