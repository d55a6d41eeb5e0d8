"""Figures of curves, as plotly's JSON. Pure; plotly is not needed."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from .._results.aggregate import counts, label_of
from .._text import counted
from .parts import Figure, empty_figure, fit, hover_of, hover_text, layout_of, rank_bar, rank_shares, rounded
from .scales import DASHES, GREY, MOST, PALETTE, colour_of, faint, safe, short

if TYPE_CHECKING:
    from .._results.rows import Mode, Row


Points = tuple["Row", Sequence[int | float | None], Sequence[float]]
"""A task's curve: the task, its iterations, its values."""

FEW = 12
"""Up to how many lines each has its own colour, dash and place in the legend."""
MOST_POINTS = 200
"""How many points of a curve are drawn at most."""


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
        what = "configurations" if names else "tasks"
        notes.append(f"{len(counting)} {what}, coloured by the rank of their {last}")
    layout = layout_of(title, notes, x="iteration", y=label)
    layout["showlegend"] = 1 < len(counting) <= FEW
    figure = {"data": data, "layout": layout}
    _fit(figure, lines)
    return figure


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
    return _Line(label, hover_text(label, rest), grid, means, stds, ns)


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


def _fit(figure: Figure, lines: Sequence[_Line]) -> None:
    """Sets the ranges, where plotly's own choice would not be readable."""
    xs = [x for line in lines for x in (line.xs[0], line.xs[-1])]
    if max(xs) - min(xs) <= 5:
        figure["layout"]["xaxis"]["dtick"] = 1
    fit(figure, [end for line in lines for end in (min(line.ys), max(line.ys))])


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


def _tasks(number: int) -> str:
    return counted(number, "task")
