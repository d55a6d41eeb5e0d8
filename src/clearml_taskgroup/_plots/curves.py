"""Curves over the iterations: a line per task, or means with bands over seeds, as plotly JSON."""

from __future__ import annotations

import bisect
import math
import statistics
from typing import TYPE_CHECKING, Any

import attrs

from .._results.aggregate import group_by_configuration, standard_deviation
from .._results.filtering import is_comparable, parameter_names
from .._results.rows import Curve
from .._text import counted
from .colours import DASHES, GREY, PALETTE, colour_of, with_opacity
from .layout import (
    Figure,
    base_layout,
    empty_figure,
    hover_text,
    limit_y_axis,
    rank_colour_bar,
    rank_shares,
    rounded,
    row_hover_text,
)
from .scales import MAX_MAGNITUDE
from .value_text import escape, shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._results.rows import Mode, Row


MAX_LEGEND_LINES = 12
"""Up to this many lines have their own colour, dash and legend entry; more are coloured by rank."""
MAX_CURVE_POINTS = 200
"""The number of data points that are drawn of a curve."""


def curves_figure(
    curves: Sequence[Curve], label: str, mode: Mode | None, over: Sequence[str] | str | None = None
) -> Figure:
    """Draws curves over the iterations: a line per task, or per configuration with a band.

    Args:
        curves: The curves. Values without an iteration (None) are skipped.
        label: The values' label, for the axis.
        mode: Which values are better; they are dark.
        over: The parameter, or several, to take means over: a line per configuration of the other
            parameters, mean ± sample standard deviation. A task counts from its first iteration to its last,
            interpolated between data points; failed and stopped tasks do not count.

    Returns:
        The figure. Up to 12 lines have a legend; more are coloured by the rank of their last value.
    """
    tasks = [task for task in map(_task_curve, curves) if task.xs]
    names = parameter_names(over or ())
    notes = []
    if names:
        lines, skipped = _mean_lines(tasks, names), [task for task in tasks if not is_comparable(task.row)]
        if skipped:
            notes.append(f"without {counted(len(skipped), 'task')} that failed or stopped")
    else:
        lines = [_task_line(task) for task in tasks]
        ended_badly = [line for line in lines if not line.is_comparable]
        if ended_badly:
            notes.append(f"grey, dotted: {counted(len(ended_badly), 'task')} that failed or stopped")
    if not lines:
        return empty_figure(label, "; ".join([*notes, "no task has values over iterations"]))
    title = f"{label}, mean ± std over {', '.join(names)}" if names else label
    comparable = [line for line in lines if line.is_comparable]
    data = [trace for line in lines if not line.is_comparable for trace in _grey_traces(line)]
    if len(comparable) <= MAX_LEGEND_LINES:
        data += [trace for at, line in enumerate(comparable) for trace in _legend_traces(line, at, label)]
    else:
        data += _rank_traces(comparable, label, mode)
        last = "last mean" if names else "last value"
        what = "configurations" if names else "tasks"
        notes.append(f"{len(comparable)} {what}, coloured by the rank of their {last}")
    layout = base_layout(title, notes, x="iteration", y=label)
    layout["showlegend"] = 1 < len(comparable) <= MAX_LEGEND_LINES
    figure = {"data": data, "layout": layout}
    _limit_axes(figure, lines)
    return figure


def compact_curve(curve: Curve, max_points: int = MAX_CURVE_POINTS) -> Curve:
    """Returns the curve without the value that has no iteration, downsampled to `max_points`."""
    points = [(x, y) for x, y in zip(curve.iterations, curve.values, strict=True) if x is not None]
    xs, ys = downsample([x for x, _ in points], [y for _, y in points], max_points)
    return Curve(curve.row, tuple(map(int, xs)), tuple(ys))


def downsample(xs: Sequence[float], ys: Sequence[float], max_points: int) -> tuple[list[float], list[float]]:
    """Removes data points from a curve; its ends and its extremes are kept.

    Args:
        xs: The iterations, ascending.
        ys: The values.
        max_points: The number of data points to keep, at least 4.
    """
    if len(xs) <= max_points:
        return list(xs), list(ys)
    buckets = (max_points - 2) // 2
    inner = len(xs) - 2
    kept = [0]
    for at in range(buckets):
        bucket = range(1 + inner * at // buckets, 1 + inner * (at + 1) // buckets)
        lowest, highest = min(bucket, key=ys.__getitem__), max(bucket, key=ys.__getitem__)
        kept += sorted({lowest, highest})
    kept.append(len(xs) - 1)
    return [xs[at] for at in kept], [ys[at] for at in kept]


@attrs.frozen
class _TaskCurve:
    row: Row
    xs: list[float]
    ys: list[float]


@attrs.frozen
class _Line:
    """A line of the figure; means have standard deviations and the number of tasks at each x."""

    name: str
    hover: str
    xs: list[float]
    ys: list[float]
    stds: list[float] = attrs.field(factory=list)
    ns: list[int] = attrs.field(factory=list)
    is_comparable: bool = True


def _task_curve(curve: Curve) -> _TaskCurve:
    pairs = zip(curve.iterations, curve.values, strict=True)
    points = sorted((x, y) for x, y in pairs if x is not None and abs(y) < MAX_MAGNITUDE)
    return _TaskCurve(curve.row, [x for x, _ in points], [y for _, y in points])


def _task_line(task: _TaskCurve) -> _Line:
    xs, ys = downsample(task.xs, task.ys, MAX_CURVE_POINTS)
    return _Line(task.row.name, row_hover_text(task.row), xs, ys, is_comparable=is_comparable(task.row))


def _mean_lines(tasks: Sequence[_TaskCurve], over: Sequence[str]) -> list[_Line]:
    comparable = [task for task in tasks if is_comparable(task.row)]
    groups = group_by_configuration(comparable, lambda task: task.row, over)
    return [_mean_line(name, params, members) for name, params, members in groups]


def _mean_line(name: str, params: Mapping[str, Any], members: Sequence[_TaskCurve]) -> _Line:
    xs = _evenly_spaced(sorted({x for task in members for x in task.xs}), MAX_CURVE_POINTS)
    means, stds, ns = [], [], []
    for x in xs:
        values = [_value_at(task, x) for task in members if task.xs[0] <= x <= task.xs[-1]]
        means.append(statistics.fmean(values))
        stds.append(standard_deviation(values))
        ns.append(len(values))
    return _Line(name, hover_text(name, params), xs, means, stds, ns)


def _value_at(task: _TaskCurve, x: float) -> float:
    """Returns the value at an iteration, linearly interpolated."""
    at = bisect.bisect_left(task.xs, x)
    if task.xs[at] == x:
        return task.ys[at]
    low, high = task.xs[at - 1], task.xs[at]
    return task.ys[at - 1] + (task.ys[at] - task.ys[at - 1]) * (x - low) / (high - low)


def _evenly_spaced(items: Sequence[float], max_items: int) -> list[float]:
    """Picks items at even distances in the list, the first and the last among them."""
    if len(items) <= max_items:
        return list(items)
    return [items[round(at * (len(items) - 1) / (max_items - 1))] for at in range(max_items)]


def _grey_traces(line: _Line) -> list[Figure]:
    return [_trace(line, {"color": GREY, "width": 1, "dash": "dot"}, legend=False)]


def _legend_traces(line: _Line, at: int, label: str) -> list[Figure]:
    rounds = at // len(PALETTE)
    colour, dash = PALETTE[at % len(PALETTE)], DASHES[(at + rounds) % len(DASHES)]
    trace = _trace(line, {"color": colour, "width": 2, "dash": dash}, label=label)
    trace["legendgroup"] = str(at)
    return [*_band_traces(line, colour, str(at)), trace]


def _rank_traces(lines: Sequence[_Line], label: str, mode: Mode | None) -> list[Figure]:
    """Colours lines by the rank of their last value, so that one outlier does not take up the scale."""
    lasts = [line.ys[-1] for line in lines]
    shares = rank_shares(lasts)
    order = sorted(range(len(lines)), key=lambda at: shares[at], reverse=mode == "min")
    width = 1.5 if len(lines) <= 50 else 1
    data = []
    for at in order:
        colour = colour_of(shares[at], mode == "min")
        data.append(_trace(lines[at], {"color": colour, "width": width}, legend=False, label=label))
    return [*data, rank_colour_bar(lasts, label, mode)]


def _band_traces(line: _Line, colour: str, group: str) -> list[Figure]:
    """Draws mean ± std; where only one task has a value there is no spread, and the band has no width."""
    spreads = [0.0 if math.isnan(std) else std for std in line.stds]
    if not any(spreads):
        return []
    around = list(zip(line.ys, spreads, strict=True))
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [*line.xs, *reversed(line.xs)],
            "y": rounded(
                [y + spread for y, spread in around] + [y - spread for y, spread in reversed(around)]
            ),
            "fill": "toself",
            "fillcolor": with_opacity(colour, 0.15),
            "line": {"width": 0},
            "hoverinfo": "skip",
            "legendgroup": group,
            "showlegend": False,
        }
    ]


def _trace(line: _Line, style: Figure, *, legend: bool = True, label: str = "") -> Figure:
    spread = "<br>%{customdata}" if line.ns else ""
    name = f"{escape(label)} = " if label else ""
    trace: Figure = {
        "type": "scatter",
        "mode": "lines" if len(line.xs) > 1 else "markers",
        "name": escape(shorten(line.name, 40)),
        "x": line.xs,
        "y": rounded(line.ys),
        "line": style,
        "marker": {"color": style["color"], "size": 6},
        "showlegend": legend,
        "hovertemplate": f"{line.hover}<br>iteration %{{x}}: {name}%{{y:.5g}}{spread}<extra></extra>",
    }
    if line.ns:
        trace["customdata"] = [
            f"n = {n}" if n < 2 else f"± {std:.3g}, n = {n}"
            for std, n in zip(line.stds, line.ns, strict=True)
        ]
    return trace


def _limit_axes(figure: Figure, lines: Sequence[_Line]) -> None:
    """Sets ticks and ranges where plotly's own are not readable."""
    xs = [x for line in lines for x in (line.xs[0], line.xs[-1])]
    if max(xs) - min(xs) <= 5:
        figure["layout"]["xaxis"]["dtick"] = 1
    limit_y_axis(figure, [end for line in lines for end in (min(line.ys), max(line.ys))])
