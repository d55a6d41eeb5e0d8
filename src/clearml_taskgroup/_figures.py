"""Figures of curves, as plotly's JSON, and what all figures share. Pure; plotly is not needed."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from ._aggregate import counts, label_of
from ._measures import Mode
from ._scales import (
    DASHES,
    GREY,
    MOST,
    PALETTE,
    colour_of,
    colour_scale,
    faint,
    limits,
    safe,
    short,
    text_of,
)
from .errors import counted

if TYPE_CHECKING:
    from ._results import Row

Figure = dict[str, Any]
"""A figure in plotly's JSON form: `{"data": […], "layout": {…}}`."""
Points = tuple["Row", Sequence[int | float | None], Sequence[float]]
"""A task's curve: the task, its iterations, its values."""

FEW = 12
"""Up to how many lines each has its own colour, dash and place in the legend."""
MOST_POINTS = 200
"""How many points of a curve are drawn at most."""
MOST_PARAMETERS = 14
"""How many parameters a hover text names."""


def curves_figure(
    curves: Sequence[Points], label: str, mode: Mode | None, over: Sequence[str] | str | None = None
) -> Figure:
    """Draws curves over the iterations, a line for each task, or a mean with a band.

    Args:
        curves: The curves. Values without an iteration (None) are left out.
        label: What the values are, for the axis.
        mode: Which is better: that end of the colours is the dark one.
        over: The parameter, or several, to take the mean over: a line for each configuration of the
            others, and mean ± sample standard deviation. A task counts from its first iteration to
            its last, also between two of them; failed and stopped tasks do not.

    Returns:
        The figure. Up to 12 lines have a legend; more are coloured by the rank of their last value.
    """
    drawn = [points for points in (_cleaned(*curve) for curve in curves) if points.xs]
    names = (over,) if isinstance(over, str) else tuple(over or ())
    notes = []
    if names:
        lines, without = _means(drawn, names), [points for points in drawn if not counts(points.row)]
        if without:
            notes.append(f"{_tasks(len(without))} that failed or stopped left out")
    else:
        lines = [_line(points) for points in drawn]
        broken = [line for line in lines if not line.counts]
        if broken:
            notes.append(f"grey, dotted: {_tasks(len(broken))} that failed or stopped")
    if not lines:
        return empty_figure(label, "; ".join([*notes, "no task has values over iterations"]))
    title = f"{label}, mean ± std over {', '.join(names)}" if names else label
    counting = [line for line in lines if line.counts]
    data = [trace for line in lines if not line.counts for trace in _broken(line)]
    if len(counting) <= FEW:
        data += [trace for at, line in enumerate(counting) for trace in _own_colour(line, at, label)]
    else:
        data += _ranked(counting, label, mode)
        last = "last mean" if names else "last value"
        notes.append(f"{len(counting)} {'configurations' if names else 'tasks'}, coloured by {last}")
    layout = layout_of(title, notes, x="iteration", y=label)
    _fit(layout, lines)
    layout["showlegend"] = 1 < len(counting) <= FEW
    return {"data": data, "layout": layout}


@attrs.frozen
class _Drawn:
    row: Row
    xs: list[float]
    ys: list[float]


@attrs.frozen
class _Line:
    """One line of the figure, with what its hover text begins with."""

    name: str
    hover: str
    xs: list[float]
    ys: list[float]
    stds: list[float] = attrs.field(factory=list)
    ns: list[int] = attrs.field(factory=list)
    counts: bool = True

    @property
    def shape(self) -> str:
        return "lines" if len(self.xs) > 1 else "markers"


def _cleaned(row: Row, xs: Sequence[float | None], ys: Sequence[float]) -> _Drawn:
    points = sorted((x, y) for x, y in zip(xs, ys, strict=True) if x is not None and abs(y) < MOST)
    return _Drawn(row, [x for x, _ in points], [y for _, y in points])


def _line(points: _Drawn) -> _Line:
    xs, ys = thinned(points.xs, points.ys, MOST_POINTS)
    return _Line(points.row.name, hover_of(points.row), xs, ys, counts=counts(points.row))


def _means(drawn: Sequence[_Drawn], names: Sequence[str]) -> list[_Line]:
    groups: dict[str, tuple[dict[str, Any], list[_Drawn]]] = {}
    for points in drawn:
        if counts(points.row):
            rest = {name: value for name, value in points.row.params.items() if name not in names}
            groups.setdefault(label_of(rest), (rest, []))[1].append(points)
    return [_mean(label, rest, members) for label, (rest, members) in groups.items()]


def _mean(label: str, rest: Mapping[str, Any], members: Sequence[_Drawn]) -> _Line:
    grid = evenly(sorted({x for points in members for x in points.xs}), MOST_POINTS)
    means, stds, ns = [], [], []
    for x in grid:
        values = [_at(points, x) for points in members if points.xs[0] <= x <= points.xs[-1]]
        mean = math.fsum(values) / len(values)
        spread = math.fsum((value - mean) ** 2 for value in values)
        means.append(mean)
        stds.append(math.sqrt(spread / (len(values) - 1)) if len(values) > 1 else 0.0)
        ns.append(len(values))
    return _Line(label, _hover(label, rest), grid, means, stds, ns)


def _at(points: _Drawn, x: float) -> float:
    """Gives the value at an iteration; between two of them, on the line that joins them."""
    at = bisect.bisect_left(points.xs, x)
    if points.xs[at] == x:
        return points.ys[at]
    low, high = points.xs[at - 1], points.xs[at]
    return points.ys[at - 1] + (points.ys[at] - points.ys[at - 1]) * (x - low) / (high - low)


def _broken(line: _Line) -> list[Figure]:
    return [_trace(line, {"color": GREY, "width": 1, "dash": "dot"}, legend=False)]


def _own_colour(line: _Line, at: int, label: str) -> list[Figure]:
    turn = at // len(PALETTE)
    colour, dash = PALETTE[at % len(PALETTE)], DASHES[(at + turn) % len(DASHES)]
    trace = _trace(line, {"color": colour, "width": 2, "dash": dash}, label=label)
    trace["legendgroup"] = str(at)
    return [*_band(line, colour, str(at)), trace]


def _ranked(lines: Sequence[_Line], label: str, mode: Mode | None) -> list[Figure]:
    """Colours lines by the rank of their last value, so that one outlier does not take all colours."""
    lasts = [line.ys[-1] for line in lines]
    shares = rank_shares(lasts)
    order = sorted(range(len(lines)), key=lambda at: shares[at], reverse=mode == "min")
    width = 1.5 if len(lines) <= 50 else 1
    data = []
    for at in order:
        colour = colour_of(shares[at], mode == "min")
        data.append(_trace(lines[at], {"color": colour, "width": width}, legend=False, label=label))
    return [*data, rank_bar(lasts, label, mode)]


def _band(line: _Line, colour: str, group: str) -> list[Figure]:
    if not any(line.stds):
        return []
    around = list(zip(line.xs, line.ys, line.stds, strict=True))
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [*line.xs, *reversed(line.xs)],
            "y": rounded([y + std for _, y, std in around] + [y - std for _, y, std in reversed(around)]),
            "fill": "toself",
            "fillcolor": faint(colour, 0.15),
            "line": {"width": 0},
            "hoverinfo": "skip",
            "legendgroup": group,
            "showlegend": False,
        }
    ]


def _trace(line: _Line, style: Figure, *, legend: bool = True, label: str = "") -> Figure:
    spread = "<br>± %{customdata[0]:.3g}, n = %{customdata[1]}" if line.ns else ""
    name = f"{safe(label)} = " if label else ""
    trace: Figure = {
        "type": "scatter",
        "mode": line.shape,
        "name": safe(short(line.name, 40)),
        "x": line.xs,
        "y": rounded(line.ys),
        "line": style,
        "marker": {"color": style["color"], "size": 6},
        "showlegend": legend,
        "hovertemplate": f"{line.hover}<br>iteration %{{x}}: {name}%{{y:.5g}}{spread}<extra></extra>",
    }
    if line.ns:
        trace["customdata"] = [[std, n] for std, n in zip(rounded(line.stds), line.ns, strict=True)]
    return trace


def _fit(layout: Figure, lines: Sequence[_Line]) -> None:
    """Sets the ranges, where plotly's own choice would not be readable."""
    xs = [x for line in lines for x in (line.xs[0], line.xs[-1])]
    if max(xs) - min(xs) <= 5:
        layout["xaxis"]["dtick"] = 1
    ends = [end for line in lines for end in (min(line.ys), max(line.ys))]
    low, high = limits(ends)
    if (low, high) != (min(ends), max(ends)):
        margin = 0.05 * (high - low)
        layout["yaxis"]["range"] = [low - margin, high + margin]
        add_note(layout, "some values lie beyond the axis: a double click shows them")


def thinned(xs: Sequence[float], ys: Sequence[float], most: int) -> tuple[list[float], list[float]]:
    """Takes points out of a curve, so that its ends and its extremes stay.

    Args:
        xs: The iterations, ascending.
        ys: The values.
        most: How many points may stay, at least 4.
    """
    if len(xs) <= most:
        return list(xs), list(ys)
    buckets = (most - 2) // 2
    inner = len(xs) - 2
    kept = [0]
    for at in range(buckets):
        bucket = range(1 + inner * at // buckets, 1 + inner * (at + 1) // buckets)
        least, greatest = min(bucket, key=ys.__getitem__), max(bucket, key=ys.__getitem__)
        kept += sorted({least, greatest})
    kept.append(len(xs) - 1)
    return [xs[at] for at in kept], [ys[at] for at in kept]


def evenly(items: Sequence[float], most: int) -> list[float]:
    """Takes items out of a list evenly; its ends stay."""
    if len(items) <= most:
        return list(items)
    return [items[round(at * (len(items) - 1) / (most - 1))] for at in range(most)]


# --- what all figures share --------------------------------------------------------------------


def layout_of(title: str, notes: Sequence[str] = (), *, x: str = "", y: str = "") -> Figure:
    """Gives the layout that all figures begin with."""
    axis = {"gridcolor": "#e6e8ec", "zeroline": False, "linecolor": "#9aa0a8", "automargin": True}
    layout: Figure = {
        "title": {"text": safe(title), "x": 0.01, "xanchor": "left", "font": {"size": 16}},
        "font": {"family": "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif", "size": 12},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "namelength": -1},
        "margin": {"l": 64, "r": 24, "t": 64, "b": 56},
        "xaxis": {**axis, "title": {"text": safe(x)}},
        "yaxis": {**axis, "title": {"text": safe(y)}},
        "showlegend": False,
    }
    if notes:
        add_note(layout, "; ".join(notes))
    return layout


def add_note(layout: Figure, note: str) -> None:
    """Adds a sentence below the title."""
    before = layout["title"]["text"]
    joined = before.replace("</sub>", "; ") if before.endswith("</sub>") else f"{before}<br><sub>"
    layout["title"]["text"] = f"{joined}{safe(note)}</sub>"


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
    return _hover(row.name + status, row.params)


def _hover(name: str, params: Mapping[str, Any]) -> str:
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
        "ticktext": [f"{ordered[round(tick * (len(ordered) - 1))]:.4g}" for tick in ticks],
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


def _tasks(number: int) -> str:
    return counted(number, "task")
