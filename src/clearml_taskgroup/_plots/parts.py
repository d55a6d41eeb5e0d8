"""What all figures share: the layout, notes, hover texts, colours by rank, and values that are too large."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Any

from .scales import colour_scale, limits, number_texts, safe, short, tail, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._results.rows import Mode, Row


Figure = dict[str, Any]
"""A figure in plotly's JSON form: `{"data": […], "layout": {…}}`."""

LONGEST_ACROSS, LONGEST_UP = 50, 34
"""How many characters of a name stand along an axis."""
LONGEST_NOTE = 80
"""How many characters stand in one line below a title."""
MOST_PARAMETERS = 14
"""How many parameters a hover text names."""
REACH = 1e12
"""How many heights of the axis away values are drawn; plotly cannot write coordinates beyond 1e21."""


def layout_of(title: str, notes: Sequence[str] = (), *, x: str = "", y: str = "") -> Figure:
    """Gives the layout that all figures begin with."""
    axis = {"gridcolor": "#e6e8ec", "zeroline": False, "linecolor": "#9aa0a8", "automargin": True}
    place = {"x": 0.01, "xanchor": "left", "y": 1, "yref": "container", "yanchor": "top", "pad": {"t": 14}}
    layout: Figure = {
        "title": {"text": safe(title), "font": {"size": 16}} | place,
        "font": {"family": "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif", "size": 12},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "namelength": -1},
        "margin": {"l": 64, "r": 24, "t": 56, "b": 60},
        "xaxis": {**axis, "title": {"text": safe(tail(x, LONGEST_ACROSS)), "standoff": 10}},
        "yaxis": {**axis, "title": {"text": safe(tail(y, LONGEST_UP)), "standoff": 10}},
        "showlegend": False,
    }
    for note in notes:
        add_note(layout, note)
    return layout


def add_note(layout: Figure, note: str) -> None:
    """Adds a sentence below the title; a line that would be too long is broken."""
    title, _, before = layout["title"]["text"].partition("<br><sub>")
    lines = before.removesuffix("</sub>").split("<br>") if before else []
    if lines and len(lines[-1]) + len(note) <= LONGEST_NOTE:
        lines[-1] += f"; {safe(note)}"
    else:
        lines.append(safe(note))
    layout["title"]["text"] = f"{title}<br><sub>{'<br>'.join(lines)}</sub>"
    layout["margin"]["t"] = 52 + 16 * len(lines)
    layout["title"]["pad"] = {"t": 24}  # plotly places the first line higher, the more there are


def empty_figure(title: str, note: str) -> Figure:
    """Gives a figure that says why there is nothing to see."""
    layout = layout_of(title)
    layout["xaxis"] |= {"visible": False}
    layout["yaxis"] |= {"visible": False}
    place = {"showarrow": False, "xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}
    return {"data": [], "layout": layout | {"annotations": [{"text": safe(note)} | place]}}


def hover_of(row: Row) -> str:
    """Tells which task a point is of, with its parameters, for a hover text."""
    status = "" if row.status == "completed" else f" ({row.status.replace('_', ' ')})"
    return hover_text(row.name + status, row.params)


def hover_text(name: str, params: Mapping[str, Any]) -> str:
    shown = list(params.items())[:MOST_PARAMETERS]
    lines = [f"{safe(short(name, 50))} = {safe(short(text_of(value), 50))}" for name, value in shown]
    more = [f"and {len(params) - len(shown)} more"] if len(params) > len(shown) else []
    return "<br>".join([f"<b>{safe(short(name, 80))}</b>", *lines, *more])


def rank_shares(values: Sequence[float]) -> list[float]:
    """Gives each value's rank between 0 and 1; equal values have the same."""
    ordered = sorted(values)
    most = max(1, len(ordered) - 1)
    first, last = bisect.bisect_left, bisect.bisect_right
    return [(first(ordered, value) + last(ordered, value) - 1) / 2 / most for value in values]


def rank_bar(values: Sequence[float], label: str, mode: Mode | None) -> Figure:
    """Gives a trace that draws nothing but the colour bar of ranks, with the values at the quartiles."""
    ordered = sorted(values)
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    bar = bar_of(label) | {
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


def bar_of(label: str) -> Figure:
    return {"title": {"text": safe(short(label, 40)), "side": "right"}, "thickness": 14, "outlinewidth": 0}


def rounded(values: Sequence[float]) -> list[float]:
    """Keeps six digits of each value, which is more than a screen shows."""
    return [float(f"{value:.6g}") for value in values]


def fit(figure: Figure, values: Sequence[float]) -> None:
    """Ends the y axis before the outliers, if they would squeeze the rest.

    Args:
        figure: The figure, with the values as `y`.
        values: What the axis must show, as far as it is no outlier.
    """
    low, high = limits(values)
    if (low, high) == (min(values), max(values)):
        return
    layout, height = figure["layout"], high - low
    layout["yaxis"]["range"] = [low - 0.05 * height, high + 0.05 * height]
    add_note(layout, "some values lie beyond the axis: a double click shows them")
    least, most = low - REACH * height, high + REACH * height
    if min(values) < least or max(values) > most:
        add_note(layout, f"those beyond {REACH * height:.0e} are drawn there")
        for trace in figure["data"]:
            trace["y"] = [y if y is None else min(max(y, least), most) for y in trace["y"]]


def joined(*sentences: str) -> str:
    """Joins what there is to say."""
    return "; ".join(sentence for sentence in sentences if sentence)
