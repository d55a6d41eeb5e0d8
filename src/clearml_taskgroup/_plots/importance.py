"""Bars of how much each parameter explains of a metric, as plotly JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._results.value_text import escape, shorten_start
from .._text import counted
from .colours import PALETTE
from .layout import Figure, base_layout, category_axis, empty_figure, rounded

if TYPE_CHECKING:
    from .._results.importance import Importance

MAX_BARS = 20
"""The number of parameters with a bar, the most important ones."""


def importance_figure(importance: Importance, label: str, note: str = "") -> Figure:
    """Draws a bar per parameter, the most important one on top.

    Args:
        importance: The importance of the parameters.
        label: The metric's label.
        note: A sentence on what was skipped.
    """
    title = f"Importance for {label}"
    if not importance.rows:
        return empty_figure(title, "no parameter differs")
    shown = importance.rows[:MAX_BARS][::-1]
    notes = [
        f"share of the variance of ranks that a parameter explains alone, {counted(importance.tasks, 'task')}"
    ]
    notes += [note] if note else []
    if len(importance) > len(shown):
        notes.append(f"the first {len(shown)} of {len(importance)} parameters")
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": rounded([row.importance for row in shown]),
        "y": [escape(row.parameter) for row in shown],
        "text": [f"{row.importance:.2f}" for row in shown],
        "textposition": "auto",
        "cliponaxis": False,
        "marker": {"color": PALETTE[0]},
        "hovertext": [f"{escape(row.parameter)}: {row.importance:.3f}, {row.values} values" for row in shown],
        "hoverinfo": "text",
    }
    layout = base_layout(title, notes, x="importance")
    layout["xaxis"] |= {"range": [0, max(0.1, 1.1 * shown[-1].importance)]}
    layout["yaxis"] |= category_axis([row.parameter for row in shown], shorten_start) | {"showgrid": False}
    return {"data": [bars], "layout": layout}
