"""Figures of a group's results, as `plotly.graph_objects.Figure`.

They need the extra `figures`: `pip install 'clearml-taskgroup[figures]'`. Each figure can be shown in
a notebook, changed (`figure.update_layout(…)`), written to a file, or sent to ClearML:
`task.logger.report_plotly("accuracy", "curves", figure)`. Names and units are those of the vocabulary, the
colours are safe for the colour-blind, and the dark end of a scale is the better one where that is known.

Examples:
    >>> from clearml_taskgroup import figures
    >>> figures.curves(results, "loss", split="val", over="seed").show()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._plots.curves import curves_figure
from ._plots.distributions import box_figure, heat_map_figure, scatter_figure
from ._plots.parallel import Scored, parallel_figure, telling, varying
from ._results.aggregate import counts
from ._results.rows import Mode, Of, number, of_text
from ._text import counted
from .errors import ArgumentError, MissingExtraError, NoSuchParameterError, NoSuchResultError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import plotly.graph_objects

    from ._plots.parts import Figure as Plain
    from ._results.results import Results


__all__ = ["box", "curves", "heat_map", "parallel_coordinates", "scatter"]


def curves(
    results: Results,
    metric: str,
    *,
    over: str | Sequence[str] | None = None,
    mode: Mode | None = None,
    **context: Any,
) -> plotly.graph_objects.Figure:
    """Draws a metric over the iterations: a line for each task, or means with a band.

    Up to 12 lines have their own colour and dash, and a legend; more are coloured by the rank of their last
    value. Failed and stopped tasks are grey and dotted; with `over` they are left out.

    Args:
        results: The results of a group.
        metric: The metric, by its name or an alias.
        over: The parameter, or several, to take the mean over (`"seed"`): a line for each configuration
            of the others, mean ± sample standard deviation over the tasks that are that far.
        mode: Which is better; not needed where the vocabulary says it.
        **context: Which of its contexts, `split="val"`; needed where there are several.

    Raises:
        MissingExtraError: plotly is not installed.
        NoSuchResultError, AmbiguousResultError, NoHistoryError, ServerError: As for `Results.history`.
        ArgumentError: No task has the parameter `over`, or the metric has only values without iterations.
    """
    figure = _plotly("curves")
    for name in (over,) if isinstance(over, str) else (over or ()):
        _known(results, "over", name)
    metric_key = results.find(metric, **context)
    found = results.history(metric, **context)
    if not any(at is not None for curve in found for at in curve.iterations):
        expected = "a metric that was reported with iterations; for single values there is figures.box(…)"
        raise ArgumentError("metric", metric, expected)
    points = [(curve.row, curve.iterations, curve.values) for curve in found]
    return figure(curves_figure(points, results.label(metric_key), results.mode_of(metric, mode), over))


def parallel_coordinates(
    results: Results, metric: str, *, of: Of = "last", mode: Mode | None = None, **context: Any
) -> plotly.graph_objects.Figure:
    """Draws each task as a line over its parameters, coloured by its value of a metric.

    Parameters that are the same in all tasks are left out. Positive numbers that span two decades or
    more stand by their logarithm; None, and parameters that a task does not have, in a lane of their own.

    Args:
        results: The results of a group.
        metric: The metric, by its name or an alias.
        of: Which of its values: `"last"`, `"first"`, `"min"`, `"max"` or `"mean"`.
        mode: Which is better; not needed where the vocabulary says it.
        **context: Which of its contexts, `split="val"`; needed where there are several.

    Raises:
        MissingExtraError: plotly is not installed.
        NoSuchResultError: No completed or open task has a value for it.
        AmbiguousResultError: The metric was reported under several contexts.
    """
    figure = _plotly("parallel_coordinates")
    scored, label, note = _scored(results, metric, of, context)
    return figure(parallel_figure(scored, label, results.mode_of(metric, mode), note))


def heat_map(
    results: Results,
    metric: str,
    *,
    x: str | None = None,
    y: str | None = None,
    of: Of = "last",
    mode: Mode | None = None,
    **context: Any,
) -> plotly.graph_objects.Figure:
    """Draws a metric for each pair of values of two parameters, the mean over all others.

    Args:
        results: The results of a group.
        metric: The metric, by its name or an alias.
        x: The parameter from left to right; by default one that tells most of the values.
        y: The one from below upwards; likewise.
        of: Which of its values: `"last"`, `"first"`, `"min"`, `"max"` or `"mean"`.
        mode: Which is better; not needed where the vocabulary says it.
        **context: Which of its contexts, `split="val"`; needed where there are several.

    Raises:
        MissingExtraError: plotly is not installed.
        NoSuchResultError: No completed or open task has a value for it.
        AmbiguousResultError: The metric was reported under several contexts.
        ArgumentError: No task has such a parameter, or there are no two that differ.
    """
    figure = _plotly("heat_map")
    scored, label, note = _scored(results, metric, of, context)
    x, y = _pair(results, scored, x, y)
    return figure(heat_map_figure(scored, label, results.mode_of(metric, mode), x, y, note))


def scatter(
    results: Results,
    metric: str,
    *,
    x: str | None = None,
    y: str | None = None,
    of: Of = "last",
    mode: Mode | None = None,
    **context: Any,
) -> plotly.graph_objects.Figure:
    """Draws a point for each task at the values of two parameters, coloured by a metric.

    Tasks at the same place are one point, their mean. Use it where a search chose its points freely; for
    a grid there is `heat_map`.

    Args:
        results: The results of a group.
        metric: The metric, by its name or an alias.
        x: The parameter from left to right; by default one that tells most of the values.
        y: The one from below upwards; likewise.
        of: Which of its values: `"last"`, `"first"`, `"min"`, `"max"` or `"mean"`.
        mode: Which is better; not needed where the vocabulary says it.
        **context: Which of its contexts, `split="val"`; needed where there are several.

    Raises:
        MissingExtraError, NoSuchResultError, AmbiguousResultError, ArgumentError: As for `heat_map`.
    """
    figure = _plotly("scatter")
    scored, label, note = _scored(results, metric, of, context)
    x, y = _pair(results, scored, x, y)
    return figure(scatter_figure(scored, label, results.mode_of(metric, mode), x, y, note))


def box(
    results: Results, metric: str, *, by: str, of: Of = "last", **context: Any
) -> plotly.graph_objects.Figure:
    """Draws a box of a metric's values for each value of a parameter.

    Args:
        results: The results of a group.
        metric: The metric, by its name or an alias.
        by: The parameter. More than 20 different numbers are put into bins.
        of: Which of its values: `"last"`, `"first"`, `"min"`, `"max"` or `"mean"`.
        **context: Which of its contexts, `split="val"`; needed where there are several.

    Raises:
        MissingExtraError: plotly is not installed.
        NoSuchResultError: No completed or open task has a value for it.
        AmbiguousResultError: The metric was reported under several contexts.
        ArgumentError: No task has such a parameter.
    """
    figure = _plotly("box")
    _known(results, "by", by)
    scored, label, note = _scored(results, metric, of, context)
    return figure(box_figure(scored, label, by, note))


def _plotly(function: str) -> Any:
    try:
        import plotly.graph_objects
    except ImportError:
        raise MissingExtraError("plotly", "figures", f"figures.{function}()") from None

    def figure(plain: Plain) -> Any:
        return plotly.graph_objects.Figure(plain)

    return figure


def _scored(results: Results, metric: str, of: Of, context: dict[str, Any]) -> tuple[list[Scored], str, str]:
    """Gives the tasks that count with their values, what these are, and who is left out."""
    metric_key = results.find(metric, **context)
    counting = [row for row in results if counts(row) and metric_key in row.stats]
    if not counting:
        known = [results.label(other) for row in results if counts(row) for other in row.stats]
        raise NoSuchResultError(results.label(metric_key), list(dict.fromkeys(known)))
    scored = [(row, number(row.stats[metric_key], of)) for row in results._having(counting, metric_key, of)]
    label = of_text(results.label(metric_key), of)
    without = len(results) - len(counting)
    note = f"without {counted(without, 'task')} (failed, stopped or no value)" if without else ""
    return scored, label, note


def _known(results: Results, argument: str, name: str) -> None:
    known = results.parameters
    if name not in known:
        expected = f"one of the parameters {', '.join(known) or '(none)'}"
        raise NoSuchParameterError(argument, name, expected, known=known)


def _pair(results: Results, scored: Sequence[Scored], x: str | None, y: str | None) -> tuple[str, str]:
    for argument, name in (("x", x), ("y", y)):
        if name is not None:
            _known(results, argument, name)
    rows = [row for row, _ in scored]
    others = [name for name in telling(scored, varying(rows)) if name not in (x, y)]
    missing = (x is None) + (y is None)
    if len(others) < missing:
        argument = "x" if x is None else "y"
        expected = f"two parameters that differ; there are {', '.join(varying(rows)) or 'none'}"
        raise ArgumentError(argument, None, expected)
    first = x if x is not None else others.pop(0)
    return first, y if y is not None else others.pop(0)
