"""ClearML's line plot as plotly's JSON. Its own call logs no series, so that two plots overwrite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def line_plot(
    lines: Sequence[Any],
    xaxis: str,
    yaxis: str,
    mode: str,
    reverse_xaxis: bool,
    comment: str | None,
    extra_layout: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Makes plotly's JSON of what `Logger.report_line_plot` takes."""
    layout: dict[str, Any] = {
        "xaxis": {"title": xaxis, **({"autorange": "reversed"} if reverse_xaxis else {})},
        "yaxis": {"title": yaxis},
    }
    if comment is not None:
        place = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 1, "yanchor": "bottom"}
        layout["annotations"] = [{"text": comment, "showarrow": False, **place}]
    for name, value in (extra_layout or {}).items():
        inner = layout.get(name)
        layout[name] = {**inner, **value} if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return {"data": [_trace(line, mode) for line in lines], "layout": layout}


def _trace(line: Any, mode: str) -> dict[str, Any]:
    import numpy as np

    fields = line if isinstance(line, Mapping) else vars(line)
    rows = np.asarray(fields["data"])
    if rows.ndim != 2 or rows.shape[1] != 2:
        raise ValueError(f"a line's data are rows of x and y; the shape {rows.shape} was given")
    trace = {"type": "scatter", "mode": mode, "name": fields["name"]}
    return {**trace, "x": rows[:, 0].tolist(), "y": rows[:, 1].tolist(), "text": fields.get("labels")}
