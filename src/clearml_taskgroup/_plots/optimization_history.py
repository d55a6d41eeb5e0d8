"""A search over time: each task's value and the best so far, as plotly JSON."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from .._results.value_text import escape
from .._text import counted
from .colours import GREY, PALETTE
from .layout import Figure, base_layout, empty_figure, join_sentences, limit_y_axis, rounded, task_hover

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._model.metrics import MetricKey
    from .._results.rows import Mode, Row, RowValue

_TRIAL = re.compile(r"(.*-)?trial-\d{4,}")


def is_study(rows: Sequence[Row]) -> bool:
    """Whether the tasks are trials of an Optuna study, by their names."""
    return bool(rows) and all(_TRIAL.fullmatch(row.name) for row in rows)


def is_pruned(row: Row) -> bool:
    return row.status == "stopped" and row.status_reason.startswith("pruned")


def pruned_values(rows: Sequence[Row], metric_key: MetricKey) -> list[RowValue]:
    """Returns the tasks that were pruned, each with its last value if it has one."""
    values = [(row, row.stats[metric_key].last) for row in rows if is_pruned(row) and metric_key in row.stats]
    return [(row, value) for row, value in values if math.isfinite(value)]


def optimization_history_figure(
    row_values: Sequence[RowValue],
    pruned: Sequence[RowValue],
    label: str,
    mode: Mode | None,
    note: str = "",
) -> Figure:
    """Draws a point per task in the order of the search, and the best value so far as a line.

    Args:
        row_values: The tasks that count and their values.
        pruned: The tasks that were pruned, with their last values: crosses.
        label: The values' label.
        mode: Which values are better; without it there is no line.
        note: A sentence on what was skipped.
    """
    if not row_values and not pruned:
        return empty_figure(label, join_sentences("no task has a value", note))
    row_values = sorted(row_values, key=lambda item: item[0].index)
    data = [_points(row_values, label, "value", {"color": PALETTE[0], "size": 7, "opacity": 0.8})]
    if pruned:
        data.append(_points(pruned, label, "pruned", {"color": GREY, "size": 7, "symbol": "x"}))
    if mode is not None and row_values:
        best, so_far = [], row_values[0][1]
        for _, value in row_values:
            so_far = max(so_far, value) if mode == "max" else min(so_far, value)
            best.append(so_far)
        last = max(row.index for row, _ in (*row_values, *pruned))
        xs = [row.index for row, _ in row_values]
        line = {"color": PALETTE[1], "width": 2, "shape": "hv"}
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "best so far",
                "x": [*xs, last],
                "y": rounded([*best, so_far]),
                "line": line,
                "hovertemplate": f"best so far: {escape(label)} = %{{y:.5g}}<extra></extra>",
            }
        )
    notes = [note] if note else []
    notes += [f"crosses: {counted(len(pruned), 'pruned task')}, the last value"] if pruned else []
    layout = base_layout(f"{label}, optimization history", notes, x="trial", y=label)
    layout["showlegend"] = True
    figure = {"data": data, "layout": layout}
    limit_y_axis(figure, [value for _, value in (*row_values, *pruned)])
    return figure


def _points(row_values: Sequence[RowValue], label: str, name: str, marker: Figure) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [row.index for row, _ in row_values],
        "y": rounded([value for _, value in row_values]),
        "marker": marker,
        **task_hover(row_values, label),
    }
