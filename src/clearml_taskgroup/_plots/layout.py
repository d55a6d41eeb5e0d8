"""Parts that figures share: layout, notes, hover texts, cell axes, colour bars, axis limits."""

from __future__ import annotations

import bisect
import math
from typing import TYPE_CHECKING, Any

from .._results.aggregate import standard_deviation
from .._text import counted
from .colours import colour_scale
from .scales import limits
from .value_text import escape, number_texts, shorten, shorten_start, value_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._results.rows import Mode, Row
    from .scales import Cells


Figure = dict[str, Any]
"""A figure in plotly's JSON form: `{"data": […], "layout": {…}}`."""
MAX_X_TITLE_CHARS, MAX_Y_TITLE_CHARS = 50, 34
"""The number of characters of a name along an axis."""
MAX_NOTE_CHARS = 80
"""The number of characters of a line below the title."""
MAX_HOVER_PARAMETERS = 14
"""The number of parameters in a hover text."""
MAX_AXIS_HEIGHTS = 1e12
"""Values are drawn at most this many axis heights away; plotly cannot draw coordinates beyond 1e21."""


def base_layout(title: str, notes: Sequence[str] = (), *, x: str = "", y: str = "") -> Figure:
    axis = {"gridcolor": "#e6e8ec", "zeroline": False, "linecolor": "#9aa0a8", "automargin": True}
    place = {"x": 0.01, "xanchor": "left", "y": 1, "yref": "container", "yanchor": "top", "pad": {"t": 14}}
    layout: Figure = {
        "title": {"text": escape(title), "font": {"size": 16}} | place,
        "font": {"family": "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif", "size": 12},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "namelength": -1},
        "margin": {"l": 64, "r": 24, "t": 56, "b": 60},
        "xaxis": {**axis, "title": {"text": escape(shorten_start(x, MAX_X_TITLE_CHARS)), "standoff": 10}},
        "yaxis": {**axis, "title": {"text": escape(shorten_start(y, MAX_Y_TITLE_CHARS)), "standoff": 10}},
        "showlegend": False,
    }
    for note in notes:
        add_note(layout, note)
    return layout


def empty_figure(title: str, note: str) -> Figure:
    """Returns a figure with nothing but a note why it is empty."""
    layout = base_layout(title)
    layout["xaxis"] |= {"visible": False}
    layout["yaxis"] |= {"visible": False}
    place = {"showarrow": False, "xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}
    return {"data": [], "layout": layout | {"annotations": [{"text": escape(note)} | place]}}


def add_note(layout: Figure, note: str) -> None:
    """Adds a sentence below the title, in a new line if the last one has no room."""
    title, _, before = layout["title"]["text"].partition("<br><sub>")
    lines = before.removesuffix("</sub>").split("<br>") if before else []
    if lines and len(lines[-1]) + len(note) <= MAX_NOTE_CHARS:
        lines[-1] += f"; {escape(note)}"
    else:
        lines.append(escape(note))
    layout["title"]["text"] = f"{title}<br><sub>{'<br>'.join(lines)}</sub>"
    layout["margin"]["t"] = 52 + 16 * len(lines)
    layout["title"]["pad"] = {"t": 24}  # plotly moves the first line up with each further line


def skipped_note(skipped: int) -> str:
    return f"without {counted(skipped, 'task')} (failed, stopped or no value)" if skipped else ""


def title_by(label: str, *names: str) -> str:
    """Writes a figure's title, `loss by C and seed`, short enough for a narrow figure."""
    label, room = shorten(label, 26), 48 - 5 * (len(names) - 1)
    fits = len(label) + sum(map(len, names)) <= room
    max_chars = room if fits else max(12, (room - len(label)) // len(names))
    return f"{label} by {' and '.join(shorten_start(name, max_chars) for name in names)}"


def cell_ticks(cells: Cells) -> Figure:
    """Returns the ticks of an axis of cells; only every n-th one if there are more than 40."""
    step = max(1, math.ceil(len(cells.names) / 40))
    shown = range(0, len(cells.names), step)
    return {
        "type": "linear",
        "tickmode": "array",
        "tickvals": list(shown),
        "ticktext": [escape(shorten(cells.names[at])) for at in shown],
        "range": [-0.5, len(cells.names) - 0.5],
    }


def cell_tick_angle(cells: Cells) -> int:
    """Returns the angle of the ticks' text: long names are slanted, so that they do not overlap."""
    longest = max(len(shorten(name)) + 2 for name in cells.names)
    return -30 if longest * len(cells.names) > 60 else 0


def spread_text(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "1 task"
    return (
        f"± {standard_deviation(values):.3g} (std), n = {len(values)}, {min(values):.4g} … {max(values):.4g}"
    )


def row_hover_text(row: Row) -> str:
    """Writes the hover text of a task: its name, status and parameters."""
    status = "" if row.status == "completed" else f" ({row.status.replace('_', ' ')})"
    return hover_text(row.name + status, row.params)


def hover_text(name: str, params: Mapping[str, Any]) -> str:
    shown = list(params.items())[:MAX_HOVER_PARAMETERS]
    lines = [
        f"{escape(shorten(name, 50))} = {escape(shorten(value_text(value), 50))}" for name, value in shown
    ]
    more = [f"and {len(params) - len(shown)} more"] if len(params) > len(shown) else []
    return "<br>".join([f"<b>{escape(shorten(name, 80))}</b>", *lines, *more])


def rank_shares(values: Sequence[float]) -> list[float]:
    """Returns each value's rank as a number from 0 to 1; equal values have the same rank."""
    ordered = sorted(values)
    steps = max(1, len(ordered) - 1)
    first, last = bisect.bisect_left, bisect.bisect_right
    return [(first(ordered, value) + last(ordered, value) - 1) / 2 / steps for value in values]


def rank_colour_bar(values: Sequence[float], label: str, mode: Mode | None) -> Figure:
    """Returns a trace that draws only the colour bar of ranks, with the values at the quartiles."""
    ordered = sorted(values)
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    bar = colour_bar(label) | {
        "tickvals": ticks,
        "ticktext": number_texts([ordered[round(tick * (len(ordered) - 1))] for tick in ticks]),
    }
    marker = {"color": [0], "cmin": 0, "cmax": 1, "colorscale": colour_scale(mode == "min"), "colorbar": bar}
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [None],
        "y": [None],
        "marker": marker | {"showscale": True},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def colour_bar(label: str) -> Figure:
    return {
        "title": {"text": escape(shorten(label, 40)), "side": "right"},
        "thickness": 14,
        "outlinewidth": 0,
    }


def rounded(values: Sequence[float]) -> list[float]:
    """Rounds to six digits, which is more than a screen shows and makes figures smaller."""
    return [float(f"{value:.6g}") for value in values]


def limit_y_axis(figure: Figure, values: Sequence[float]) -> None:
    """Excludes outliers from the y axis if they would compress the rest to a line.

    Args:
        figure: The figure, with the values as `y` of its traces. It is changed in place.
        values: The values that the axis must show unless they are outliers.
    """
    low, high = limits(values)
    if (low, high) == (min(values), max(values)):
        return
    layout, height = figure["layout"], high - low
    layout["yaxis"]["range"] = [low - 0.05 * height, high + 0.05 * height]
    add_note(layout, "some values are outside of the axis: a double click shows them")
    lowest, highest = low - MAX_AXIS_HEIGHTS * height, high + MAX_AXIS_HEIGHTS * height
    if min(values) < lowest or max(values) > highest:
        add_note(layout, f"those beyond {MAX_AXIS_HEIGHTS * height:.0e} are drawn there")
        for trace in figure["data"]:
            trace["y"] = [y if y is None else min(max(y, lowest), highest) for y in trace["y"]]


def join_sentences(*sentences: str) -> str:
    """Joins sentences that are not empty."""
    return "; ".join(sentence for sentence in sentences if sentence)
