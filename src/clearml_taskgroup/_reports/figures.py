"""The figures of an HTML report: which figures each metric has, and their size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._plots.box import box_figure
from .._plots.curves import compact_curve, curves_figure
from .._plots.heat_map import heat_map_figure
from .._plots.importance import importance_figure
from .._plots.layout import skipped_note
from .._plots.optimization_history import is_study, optimization_history_figure, pruned_values
from .._plots.parallel_coordinates import parallel_coordinates_figure
from .._plots.scatter import points_figure, scatter_figure
from .._results.filtering import is_comparable
from .._results.importance import importance_of
from .._results.parameters import is_repeat, parameter_values, varying_parameters
from .._results.scales import MAX_CELLS, distinct, is_continuous
from ..errors import TaskGroupError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._model.metrics import MetricKey
    from .._plots.layout import Figure
    from .._results.results import Results
    from .._results.rows import Curve


MAX_REPORT_POINTS = 120_000
"""The number of data points in all curves of a report; the file must be small enough to be sent."""
MIN_AXIS_WIDTH = 145
"""Pixels of each axis of parallel coordinates; on a phone, the figure is scrolled."""
FULL_WIDTH: Figure = {"wide": True}
"""Marks a figure that takes the whole width of the page."""


def report_figures(
    results: Results, metric_keys: Sequence[MetricKey], over: Sequence[str]
) -> tuple[Mapping[MetricKey, list[Figure]], str]:
    """Draws the figures of some metrics.

    Args:
        results: The results.
        metric_keys: The metrics.
        over: The parameters to take means over; empty for none.

    Returns:
        The figures of each metric that has any, and why curves are missing; empty if they are not.
    """
    curves, problem = _read_curves(results, metric_keys)
    found = {
        metric_key: _metric_figures(results, metric_key, curves.get(metric_key, []), over)
        for metric_key in metric_keys
    }
    return {metric_key: figures for metric_key, figures in found.items() if figures}, problem


def _read_curves(
    results: Results, metric_keys: Sequence[MetricKey]
) -> tuple[dict[MetricKey, list[Curve]], str]:
    max_points = max(20, min(200, MAX_REPORT_POINTS // max(1, len(results) * len(metric_keys))))
    found: dict[MetricKey, list[Curve]] = {}
    try:
        for metric_key, whole in results._reader.curves_of(results.rows, metric_keys):
            if len(curve := compact_curve(whole, max_points)):
                found.setdefault(metric_key, []).append(curve)
    except (TaskGroupError, OSError) as error:  # the rest of the report does not need curves
        return {}, f"Curves over the iterations are missing: {error}."
    return found, ""


def _metric_figures(
    results: Results, metric_key: MetricKey, curves: Sequence[Curve], over: Sequence[str]
) -> list[Figure]:
    label, mode = results.label(metric_key), results.mode_of(metric_key.metric)
    figures: list[Figure] = []
    if over and any(is_comparable(curve.row) for curve in curves):
        figures.append(curves_figure(curves, label, mode, over) | FULL_WIDTH)
    if curves:
        figures.append(curves_figure(curves, label, mode) | FULL_WIDTH)
    row_values = results._values(metric_key)
    if is_study(results.rows):
        pruned = pruned_values(results.rows, metric_key)
        without = skipped_note(len(results) - len(row_values) - len(pruned))
        figures.append(optimization_history_figure(row_values, pruned, label, mode, without) | FULL_WIDTH)
    rows = [row for row, _ in row_values]
    varying = varying_parameters(rows)
    if len(row_values) < 2 or not varying:
        return figures
    note = skipped_note(len(results) - len(row_values))
    parallel = parallel_coordinates_figure(row_values, label, mode, note) | FULL_WIDTH
    figures.append(parallel | {"min_width": MIN_AXIS_WIDTH * len(parallel["layout"]["xaxis"]["tickvals"])})
    importance = importance_of(row_values, label)
    if len(varying) > 2:
        figures.append(importance_figure(importance, label, note) | FULL_WIDTH)
    names = [name for name in varying if name not in over and not is_repeat(name)] or varying
    order = [row.parameter for row in importance.rows if row.parameter in names]
    values = {name: parameter_values(rows, name) for name in order[:2]}
    draw_one: Any = points_figure if is_continuous(values[order[0]]) else box_figure
    if len(order) == 1:
        return [*figures, draw_one(row_values, label, order[0], note) | FULL_WIDTH]
    is_grid = not any(
        is_continuous(listed) or len(distinct(listed)) > MAX_CELLS for listed in values.values()
    )
    draw_two: Any = heat_map_figure if is_grid else scatter_figure
    figures.append(draw_two(row_values, label, mode, order[0], order[1], note))
    return [*figures, draw_one(row_values, label, order[0], note)]
