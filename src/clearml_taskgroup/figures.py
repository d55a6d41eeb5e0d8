"""Figures of a group's results, as `plotly.graph_objects.Figure`.

They need the extra `figures`: `pip install 'clearml-taskgroup[figures]'`. A figure can be shown in a
notebook, changed (`figure.update_layout(…)`), written to a file, or sent to ClearML:
`task.logger.report_plotly("accuracy", "curves", figure)`. Names and units are those of the vocabulary. The
colours are distinguishable for colour-blind people; if it is known which values are better, they are dark.

Examples:
    >>> from clearml_taskgroup import figures
    >>> figures.curves(results, "loss", split="val", over="seed").show()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._model.arguments import check_choice
from ._plots.box import box_figure
from ._plots.curves import curves_figure
from ._plots.heat_map import heat_map_figure
from ._plots.importance import importance_figure
from ._plots.layout import skipped_note
from ._plots.optimization_history import optimization_history_figure, pruned_values
from ._plots.parallel_coordinates import parallel_coordinates_figure
from ._plots.scatter import scatter_figure
from ._results.filtering import parameter_names, require_parameter
from ._results.importance import importance_of
from ._results.parameters import by_explained_variance, is_repeat, varying_parameters
from ._results.results import Results
from ._results.rows import OF, Mode, Of, RowValue, with_statistic
from ._text import shown
from .errors import ArgumentError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plotly.graph_objs._figure import Figure as PlotlyFigure

    from ._plots.layout import Figure


__all__ = [
    "box",
    "curves",
    "heat_map",
    "importance",
    "optimization_history",
    "parallel_coordinates",
    "scatter",
]


def curves(
    results: Results,
    metric: str,
    *,
    over: str | Sequence[str] | None = None,
    mode: Mode | None = None,
    **context: Any,
) -> PlotlyFigure:
    """Draws a metric over the iterations: a line per task, or a mean with a band per configuration.

    Up to 12 lines have their own colour and dash, and a legend, the best last value first; more are coloured
    by the rank of their last value. Failed and stopped tasks are grey and dotted; with `over` they are
    skipped.

    Args:
        results: A group's results.
        metric: The metric's name or an alias.
        over: The parameter, or several, to take the mean over (`"seed"`): a line per configuration of the
            other parameters, mean ± sample standard deviation over the tasks that have reached that
            iteration.
        mode: Which values are better; not needed if the vocabulary has it.
        **context: The context, `split="val"`; required if the metric was reported in several.

    Raises:
        MissingExtraError: plotly is not installed.
        NoSuchResultError, AmbiguousResultError, NoHistoryError, ServerError: As for `Results.history`.
        ArgumentError: No task has the parameter `over`, or the metric was reported without iterations.
    """
    figure = _plotly("curves", results)
    for name in () if over is None else parameter_names(over):
        require_parameter(results.rows, "over", name)
    metric_key = results.find(metric, **context)
    history = results.history(metric, **context)
    if not any(at is not None for curve in history for at in curve.iterations):
        expected = "a metric that was reported with iterations; figures.box(…) draws single values"
        raise ArgumentError("metric", metric, expected)
    return figure(
        curves_figure(history.curves, results.label(metric_key), results.mode_of(metric, mode), over)
    )


def parallel_coordinates(
    results: Results, metric: str, *, of: Of = "last", mode: Mode | None = None, **context: Any
) -> PlotlyFigure:
    """Draws each task as a line over its parameters, coloured by its value of a metric.

    Parameters that are the same in all tasks are skipped. Axes of positive numbers that span two decades or
    more are logarithmic. None, and parameters that a task does not have, are below the numbers.

    Args:
        results: A group's results.
        metric: The metric's name or an alias.
        of: Which statistic: `"last"`, `"first"`, `"min"`, `"max"` or `"mean"`.
        mode: Which values are better; not needed if the vocabulary has it.
        **context: The context, `split="val"`; required if the metric was reported in several.

    Raises:
        MissingExtraError: plotly is not installed.
        NoSuchResultError: No completed or open task has a value.
        AmbiguousResultError: The metric was reported in several contexts that match.
    """
    figure = _plotly("parallel_coordinates", results)
    row_values, label, note = _row_values(results, metric, of, context)
    return figure(parallel_coordinates_figure(row_values, label, results.mode_of(metric, mode), note))


def heat_map(
    results: Results,
    metric: str,
    *,
    x: str | None = None,
    y: str | None = None,
    of: Of = "last",
    mode: Mode | None = None,
    **context: Any,
) -> PlotlyFigure:
    """Draws a metric for each pair of values of two parameters, its mean over all other parameters.

    Args:
        results: A group's results.
        metric: The metric's name or an alias.
        x: The parameter on the x axis; by default one that explains most of the values, and no
            seed or fold unless it has to be.
        y: The parameter on the y axis; by default one that explains most of the values, and no
            seed or fold unless it has to be.
        of: Which statistic: `"last"`, `"first"`, `"min"`, `"max"` or `"mean"`.
        mode: Which values are better; not needed if the vocabulary has it.
        **context: The context, `split="val"`; required if the metric was reported in several.

    Raises:
        MissingExtraError: plotly is not installed.
        NoSuchResultError: No completed or open task has a value.
        AmbiguousResultError: The metric was reported in several contexts that match.
        ArgumentError: No task has such a parameter, or fewer than two parameters differ.
    """
    figure = _plotly("heat_map", results)
    row_values, label, note = _row_values(results, metric, of, context)
    x, y = _two_parameters(results, row_values, x, y)
    return figure(heat_map_figure(row_values, label, results.mode_of(metric, mode), x, y, note))


def scatter(
    results: Results,
    metric: str,
    *,
    x: str | None = None,
    y: str | None = None,
    of: Of = "last",
    mode: Mode | None = None,
    **context: Any,
) -> PlotlyFigure:
    """Draws a point per task at its values of two parameters, coloured by a metric.

    Tasks at the same place are one point with their mean. It suits a random search; for a grid use
    `heat_map`.

    Args:
        results: A group's results.
        metric: The metric's name or an alias.
        x: The parameter on the x axis; by default one that explains most of the values, and no
            seed or fold unless it has to be.
        y: The parameter on the y axis; by default one that explains most of the values, and no
            seed or fold unless it has to be.
        of: Which statistic: `"last"`, `"first"`, `"min"`, `"max"` or `"mean"`.
        mode: Which values are better; not needed if the vocabulary has it.
        **context: The context, `split="val"`; required if the metric was reported in several.

    Raises:
        MissingExtraError, NoSuchResultError, AmbiguousResultError, ArgumentError: As for `heat_map`.
    """
    figure = _plotly("scatter", results)
    row_values, label, note = _row_values(results, metric, of, context)
    x, y = _two_parameters(results, row_values, x, y)
    return figure(scatter_figure(row_values, label, results.mode_of(metric, mode), x, y, note))


def box(results: Results, metric: str, *, by: str, of: Of = "last", **context: Any) -> PlotlyFigure:
    """Draws a box of a metric's values per value of a parameter.

    Args:
        results: A group's results.
        metric: The metric's name or an alias.
        by: The parameter; more than 20 different numbers are put into bins.
        of: Which statistic: `"last"`, `"first"`, `"min"`, `"max"` or `"mean"`.
        **context: The context, `split="val"`; required if the metric was reported in several.

    Raises:
        MissingExtraError: plotly is not installed.
        NoSuchResultError: No completed or open task has a value.
        AmbiguousResultError: The metric was reported in several contexts that match.
        ArgumentError: No task has such a parameter.
    """
    figure = _plotly("box", results)
    require_parameter(results.rows, "by", by)
    row_values, label, note = _row_values(results, metric, of, context)
    return figure(box_figure(row_values, label, by, note))


def importance(results: Results, metric: str, *, of: Of = "last", **context: Any) -> PlotlyFigure:
    """Draws how much each parameter explains of a metric, see `Results.importance`: a bar per parameter.

    Args:
        results: A group's results.
        metric: The metric's name or an alias.
        of: Which statistic: `"last"`, `"first"`, `"min"`, `"max"` or `"mean"`.
        **context: The context, `split="val"`; required if the metric was reported in several.

    Raises:
        MissingExtraError: plotly is not installed.
        NoSuchResultError: No completed or open task has a value.
        AmbiguousResultError: The metric was reported in several contexts that match.
    """
    figure = _plotly("importance", results)
    row_values, label, note = _row_values(results, metric, of, context)
    return figure(importance_figure(importance_of(row_values, label), label, note))


def optimization_history(
    results: Results, metric: str, *, of: Of = "last", mode: Mode | None = None, **context: Any
) -> PlotlyFigure:
    """Draws the values of a search in the order of its tasks, and the best so far as a line.

    Tasks that Optuna pruned are crosses at their last value; they do not count for the best.

    Args:
        results: A group's results.
        metric: The metric's name or an alias.
        of: Which statistic: `"last"`, `"first"`, `"min"`, `"max"` or `"mean"`.
        mode: Which values are better; without it, if the name does not tell, there is no line.
        **context: The context, `split="val"`; required if the metric was reported in several.

    Raises:
        MissingExtraError: plotly is not installed.
        NoSuchResultError: No completed or open task has a value.
        AmbiguousResultError: The metric was reported in several contexts that match.
    """
    figure = _plotly("optimization_history", results)
    row_values, label, _ = _row_values(results, metric, of, context)
    pruned = pruned_values(results.rows, results.find(metric, **context))
    note = skipped_note(len(results) - len(row_values) - len(pruned))
    return figure(optimization_history_figure(row_values, pruned, label, results.mode_of(metric, mode), note))


def _plotly(function: str, results: Results) -> Callable[[Figure], PlotlyFigure]:
    """Checks the first argument; returns a function that converts plotly JSON to plotly's class.

    Raises:
        ArgumentError: The results are none, as where metric and results are in each other's place.
        MissingExtraError: plotly is not installed.
    """
    if not isinstance(results, Results):
        metric = shown(results) if isinstance(results, str) else "'loss'"
        raise ArgumentError(
            "results", results, f"results first: figures.{function}(group.results(), {metric})"
        )
    try:
        import plotly.graph_objects
    except ImportError:
        raise MissingExtraError("plotly", "figures", f"figures.{function}()") from None
    return lambda figure: plotly.graph_objects.Figure(figure)


def _row_values(
    results: Results, metric: str, of: Of, context: dict[str, Any]
) -> tuple[list[RowValue], str, str]:
    """Returns the tasks that count with their values, the values' label, and a note on skipped tasks."""
    check_choice("of", of, OF)
    metric_key = results._key_with_values(metric, of, context)
    row_values = results._values(metric_key, of)
    label = with_statistic(results.label(metric_key), of)
    return row_values, label, skipped_note(len(results) - len(row_values))


def _two_parameters(
    results: Results, row_values: Sequence[RowValue], x: str | None, y: str | None
) -> tuple[str, str]:
    """Fills in those that are not given with the parameters that explain most of the values.

    Those that only repeat a configuration, as the seed, come after all others.
    """
    for argument, name in (("x", x), ("y", y)):
        if name is not None:
            require_parameter(results.rows, argument, name)
    varying = varying_parameters([row for row, _ in row_values])
    others = [name for name in by_explained_variance(row_values, varying) if name not in (x, y)]
    others.sort(key=is_repeat)
    if len(others) < (x is None) + (y is None):
        argument = "x" if x is None else "y"
        expected = f"two parameters that differ; there are {', '.join(varying) or 'none'}"
        raise ArgumentError(argument, None, expected)
    first = x if x is not None else others.pop(0)
    return first, y if y is not None else others.pop(0)
