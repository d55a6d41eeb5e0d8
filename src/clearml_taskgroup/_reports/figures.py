"""Which figures a report has of a metric, with curves that are small enough to be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .._plots.curves import Points, curves_figure, thinned
from .._plots.distributions import box_figure, heat_map_figure, points_figure, scatter_figure
from .._plots.parallel import Scored, parallel_figure, telling, values_of, varying
from .._plots.scales import MOST_CELLS, distinct, is_continuous
from .._results.aggregate import counts
from .._text import counted
from ..errors import TaskGroupError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._model.metrics import MetricKey
    from .._plots.parts import Figure
    from .._results.results import Results


MOST_DRAWN = 120_000
"""How many points all curves of a report have together, so that it can be sent."""
WIDE: Figure = {"wide": True}
"""Marks a figure that takes the whole width of the page."""


@attrs.frozen
class Drawn:
    """The figures of a report.

    Attributes:
        figures: Those of each metric that has any.
        problem: Why there are no curves, or not all; empty if nothing is wrong.
    """

    figures: Mapping[MetricKey, list[Figure]]
    problem: str = ""


def drawn(results: Results, metric_keys: Sequence[MetricKey], over: Sequence[str]) -> Drawn:
    """Draws all figures of some metrics.

    Args:
        results: The results.
        metric_keys: Which metrics.
        over: The parameters to take means over, if any.
    """
    curves, problem = _curves(results, metric_keys)
    found = {
        metric_key: _figures_of(results, metric_key, curves.get(metric_key, []), over)
        for metric_key in metric_keys
    }
    return Drawn({metric_key: figures for metric_key, figures in found.items() if figures}, problem)


def _curves(results: Results, metric_keys: Sequence[MetricKey]) -> tuple[dict[MetricKey, list[Points]], str]:
    most = max(20, min(200, MOST_DRAWN // max(1, len(results) * len(metric_keys))))
    found: dict[MetricKey, list[Points]] = {}
    for metric_key in metric_keys:
        try:
            history = results._reader.curves(results.rows, metric_key)
        except (TaskGroupError, OSError) as error:  # the tables do not need them
            return found, f"Curves over the iterations are missing: {error}."
        found[metric_key] = []
        for curve in history:
            points = zip(curve.iterations, curve.values, strict=True)
            kept = [(x, y) for x, y in points if x is not None]
            if kept:
                xs, ys = thinned([x for x, _ in kept], [y for _, y in kept], most)
                found[metric_key].append((curve.row, xs, ys))
    return found, ""


def _figures_of(
    results: Results, metric_key: MetricKey, curves: Sequence[Points], over: Sequence[str]
) -> list[Figure]:
    label, mode = results.label(metric_key), results.mode_of(metric_key[0])
    figures: list[Figure] = []
    if over and any(counts(row) for row, *_ in curves):
        figures.append(curves_figure(curves, label, mode, over) | WIDE)
    if curves:
        figures.append(curves_figure(curves, label, mode) | WIDE)
    scored = scored_of(results, metric_key)
    rows = [row for row, _ in scored]
    differing = varying(rows)
    if len(scored) < 2 or not differing:
        return figures
    without = len(results) - len(scored)
    left = f"without {counted(without, 'task')} (failed, stopped or no value)" if without else ""
    figures.append(parallel_figure(scored, label, mode, left) | WIDE)
    order = telling(scored, [name for name in differing if name not in over] or differing)
    places = {name: values_of(rows, name) for name in order[:2]}
    one: Any = points_figure if is_continuous(places[order[0]]) else box_figure
    if len(order) == 1:
        return [*figures, one(scored, label, order[0], left) | WIDE]
    free = any(is_continuous(values) or len(distinct(values)) > MOST_CELLS for values in places.values())
    pair: Any = scatter_figure if free else heat_map_figure
    figures.append(pair(scored, label, mode, order[0], order[1], left))
    return [*figures, one(scored, label, order[0], left)]


def scored_of(results: Results, metric_key: MetricKey) -> list[Scored]:
    """Gives the tasks that count with their last values."""
    return [(row, row.stats[metric_key].last) for row in results if counts(row) and metric_key in row.stats]
