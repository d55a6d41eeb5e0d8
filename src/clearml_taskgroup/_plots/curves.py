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
from .._results.scales import MAX_MAGNITUDE, rank_shares
from .._results.value_text import escape
from .._text import counted
from .colours import DARK_IS_BEST, GREY, PRUNED, Ranks, colour_of, line_style, with_opacity
from .layout import (
    MAX_LINES,
    Figure,
    base_layout,
    drawn_lines,
    empty_figure,
    evenly_spaced,
    hover_text,
    limit_y_axis,
    lines_text,
    rank_colour_bar,
    rounded,
    row_hover_text,
)
from .legend_names import legend_names
from .optimization_history import is_pruned

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._results.rows import Mode, Row


MAX_LEGEND_LINES = 12
"""Up to this many lines have their own colour, dash and legend entry; more are coloured by rank."""
MAX_CURVE_POINTS = 200
"""The number of data points that are drawn of a curve."""


def curves_figure(
    curves: Sequence[Curve],
    label: str,
    mode: Mode | None,
    over: Sequence[str] | str | None = None,
    names: Sequence[str] = (),
    ranks: Ranks = DARK_IS_BEST,
) -> Figure:
    """Draws curves over the iterations: a line per task, or per configuration with a band.

    Args:
        curves: The curves. Values without an iteration (None) are skipped.
        label: The values' label, for the axis.
        mode: Which values are better.
        over: The parameter, or several, to take means over: a line per configuration of the other
            parameters, mean ± sample standard deviation. A task counts from its first iteration to its last,
            interpolated between data points; failed and stopped tasks do not count.
        names: What each curve is called if they are all of one task, as its contexts; empty for their tasks.
        ranks: The colours of more than 12 lines.

    Returns:
        The figure. Up to 12 lines have a legend, the best last value first if `mode` is known; more are
        coloured by the rank of their last value.
    """
    tasks = [task for task in map(_task_curve, curves) if task.xs]
    over = parameter_names(over or ())
    notes = []
    if over:
        lines, skipped = _mean_lines(tasks, over), [task for task in tasks if not is_comparable(task.row)]
        if skipped:
            notes.append(f"without {counted(len(skipped), 'task')} that failed or stopped")
    elif names:
        called = zip(map(_task_curve, curves), names, strict=True)
        lines = [attrs.evolve(_task_line(task, name), is_comparable=True) for task, name in called if task.xs]
    else:
        known = [(task.row.name, task.row._params) for task in tasks]
        has_legend = sum(is_comparable(task.row) for task in tasks) <= MAX_LEGEND_LINES
        short = legend_names(known) if has_legend else [name for name, _ in known]
        lines = [_task_line(task, name) for task, name in zip(tasks, short, strict=True)]
        pruned = sum(line.is_pruned for line in lines)
        ended_badly = sum(not line.is_comparable for line in lines) - pruned
        if pruned:
            notes.append(f"thin, to a cross: {counted(pruned, 'pruned task')}")
        if ended_badly:
            notes.append(f"grey, dotted: {counted(ended_badly, 'task')} that failed or stopped")
    if not lines:
        return empty_figure(label, "; ".join([*notes, "no task has values over iterations"]))
    title = f"{label}, mean ± std over {', '.join(over)}" if over else label
    comparable = [line for line in lines if line.is_comparable]
    others = evenly_spaced([line for line in lines if not line.is_comparable], MAX_LINES // 2)
    data = [trace for line in others for trace in _grey_traces(line)]
    if len(comparable) <= MAX_LEGEND_LINES:
        styled = list(enumerate(comparable))  # before they are sorted: the same in the figures of all metrics
        if mode is not None and not names:
            styled.sort(key=lambda one: one[1].ys[-1], reverse=mode == "max")
        data += [trace for at, line in styled for trace in _legend_traces(line, at, label)]
    else:
        data += _rank_traces(comparable, label, mode, ranks)
        last = "last mean" if over else "last value"
        what = "configurations" if over else "curves" if names else "tasks"
        what = lines_text(len(comparable), what)
        notes.append(f"{what}, coloured by the rank of their {last}")
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
    """A line of the figure; means have standard deviations and the number of tasks at each x.

    Attributes:
        name: Its name in the legend.
    """

    name: str
    hover: str
    xs: list[float]
    ys: list[float]
    stds: list[float] = attrs.field(factory=list)
    ns: list[int] = attrs.field(factory=list)
    is_comparable: bool = True
    is_pruned: bool = False


def _task_curve(curve: Curve) -> _TaskCurve:
    pairs = zip(curve.iterations, curve.values, strict=True)
    points = sorted((x, y) for x, y in pairs if x is not None and abs(y) < MAX_MAGNITUDE)
    return _TaskCurve(curve.row, [x for x, _ in points], [y for _, y in points])


def _task_line(task: _TaskCurve, name: str) -> _Line:
    xs, ys = downsample(task.xs, task.ys, MAX_CURVE_POINTS)
    return _Line(
        name,
        row_hover_text(task.row),
        xs,
        ys,
        is_comparable=is_comparable(task.row),
        is_pruned=is_pruned(task.row),
    )


def _mean_lines(tasks: Sequence[_TaskCurve], over: Sequence[str]) -> list[_Line]:
    comparable = [task for task in tasks if is_comparable(task.row)]
    groups = list(group_by_configuration(comparable, lambda task: task.row, over))
    short = legend_names([(name, params) for name, params, _ in groups])
    return [_mean_line(one, *group) for one, group in zip(short, groups, strict=True)]


def _mean_line(short: str, name: str, params: Mapping[str, Any], members: Sequence[_TaskCurve]) -> _Line:
    xs = evenly_spaced(sorted({x for task in members for x in task.xs}), MAX_CURVE_POINTS)
    means, stds, ns = [], [], []
    for x in xs:
        values = [_value_at(task, x) for task in members if task.xs[0] <= x <= task.xs[-1]]
        means.append(statistics.fmean(values))
        stds.append(standard_deviation(values))
        ns.append(len(values))
    return _Line(short, hover_text(name, params), xs, means, stds, ns)


def _value_at(task: _TaskCurve, x: float) -> float:
    """Returns the value at an iteration, linearly interpolated."""
    at = bisect.bisect_left(task.xs, x)
    if task.xs[at] == x:
        return task.ys[at]
    low, high = task.xs[at - 1], task.xs[at]
    return task.ys[at - 1] + (task.ys[at] - task.ys[at - 1]) * (x - low) / (high - low)


def _grey_traces(line: _Line) -> list[Figure]:
    if not line.is_pruned:
        return [_trace(line, {"color": GREY, "width": 1, "dash": "dot"}, legend=False)]
    trace = _trace(line, {"color": PRUNED, "width": 1}, legend=False)
    end = ["circle"] * (len(line.xs) - 1) + ["x"]
    sizes = [0] * (len(line.xs) - 1) + [7]
    return [trace | {"mode": "lines+markers", "marker": {"color": PRUNED, "symbol": end, "size": sizes}}]


def _legend_traces(line: _Line, at: int, label: str) -> list[Figure]:
    colour, dash = line_style(at)
    trace = _trace(line, {"color": colour, "width": 2, "dash": dash}, label=label)
    trace["legendgroup"] = str(at)
    return [*_band_traces(line, colour, str(at)), trace]


def _rank_traces(lines: Sequence[_Line], label: str, mode: Mode | None, ranks: Ranks) -> list[Figure]:
    """Colours lines by the rank of their last value, so that one outlier does not take up the scale."""
    lasts = [line.ys[-1] for line in lines]
    shares = rank_shares(lasts)
    order = sorted(range(len(lines)), key=lambda at: shares[at], reverse=mode == "min")
    width = 1.5 if len(lines) <= 50 else 1
    data = []
    for at in drawn_lines(order):
        colour = colour_of(shares[at], mode == "min", ranks)
        data.append(_trace(lines[at], {"color": colour, "width": width}, legend=False, label=label))
    return [*data, rank_colour_bar(lasts, label, mode, ranks)]


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
        "name": escape(line.name),
        "x": line.xs,
        "y": rounded(line.ys),
        "line": style,
        "marker": {"color": style["color"], "size": 6},
        "showlegend": legend,
        "hovertext": line.hover,
        "hovertemplate": f"%{{hovertext}}<br>iteration %{{x}}: {name}%{{y:.5g}}{spread}<extra></extra>",
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
