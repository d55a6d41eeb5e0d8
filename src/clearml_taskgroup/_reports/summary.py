"""Draws the parent task's summary: tables, links, figures, best values, counts, and in the console the end.

The summary consists of the API events that ClearML's own `Logger` would send for plots, single values and
console text. They are delivered like all other events: no ClearML object, no further call, also offline.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

from .._clearml.events import console_event, plot_event, single_value_event
from .._clearml.pages import MAX_COMPARED_TASKS
from .._model.downsample import MAX_SAMPLE_POINTS
from .._model.metrics import MetricKey
from .._plots.colours import ORANGE_IS_BEST
from .._plots.curves import compact_curve, curves_figure
from .._plots.optimization_history import is_study, optimization_history_figure, pruned_values
from .._plots.parallel_coordinates import parallel_coordinates_figure
from .._plots.web_page import web_figure
from .._results.filtering import diverged_rows, has_value
from .._results.from_run import results_of
from .._results.rows import Curve, Mode, Row, RowValue, excluded_text, with_parameters
from .._run.closing import closing_warnings
from .._text import printable
from ..errors import NoHistoryError, ServerError
from .comparison import compare_to_best, comparison_plot, repeat_parameters
from .metric_order import metric_rank
from .page_names import COUNTED_STATUSES, context_names, group_prefix, metric_title, plot_titles, value_names
from .page_tables import MAX_TABLE_TASKS, links_table, tasks_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .._model.downsample import CurveSample
    from .._model.metric_data import Metrics
    from .._model.stats import Stats
    from .._plots.layout import Figure
    from .._results.results import Results
    from .._run.run import Run

MAX_FIGURE_TASKS = MAX_COMPARED_TASKS
"""The number of tasks in a figure, as on ClearML's comparison page."""
MAX_FIGURES = 10
"""The number of figures of each kind."""
MAX_LISTED_FAILURES = 20
"""The number of failed tasks in the console text."""
TABLES = "All tasks"
"""The section of the tables; the page sorts sections by their titles, and this one comes first."""

BestRows = dict[MetricKey, RowValue]


def summary_events(run: Run, final: bool = True) -> list[str]:
    """Builds the events of the parent.

    Args:
        run: The run.
        final: Whether the tasks have ended; else what they have reported so far, without the console's text.

    Returns:
        API events as JSON text.
    """
    results = results_of(run, keeps_rows=final)
    if run.parent is None or not results:
        return []
    best, titles = _best_rows(results), plot_titles(results)
    metric_keys = sorted(results.metric_keys, key=lambda metric_key: metric_rank(results, metric_key))
    plots = [(TABLES, "tasks", tasks_table(results, metric_keys, titles))]
    plots += [("Comparison", titles[key], one) for key, one in _comparisons(results, best, titles)]
    plots += [
        (section, title, web_figure(figure, title))
        for section, drawn in (
            ("Optimization history", _optimization(results, best, titles)),
            ("Parameters", _parallel_coordinates(results, best, titles)),
            ("Curves", _curves(results, run, titles)),
        )
        for title, figure in drawn
    ]
    prefix = group_prefix(run)
    events = [plot_event(run.parent, f"{prefix}{section}", title, figure) for section, title, figure in plots]
    events += links_events(run, results.about.table_url, results.about.compare_urls, len(results))
    names = value_names(results)
    values: dict[str, float] = {f"{names[key]}, best": value for key, (_, value) in best.items()}
    for status in COUNTED_STATUSES:
        values[f"tasks {status}"] = sum(row.status == status for row in results)
    # The page shows the first 15 characters.
    suffix = "" if run.owns_parent else f" ({run.info.name})"
    events += [single_value_event(run.parent, f"{name}{suffix}", value) for name, value in values.items()]
    if final:
        lines = map(printable, _console_lines(results, best, run))
        events.append(console_event(run.parent, "\n".join(lines)))
    return events


def links_events(run: Run, table_url: str | None, compare_urls: Sequence[str], tasks: int) -> list[str]:
    """Makes the event of the table of links; links in a console cannot be clicked."""
    figure = links_table(table_url, compare_urls, tasks)
    title = f"{group_prefix(run)}{TABLES}"
    return [] if figure is None else [plot_event(str(run.parent), title, "web pages", figure)]


def _comparisons(
    results: Results, best: BestRows, titles: Mapping[MetricKey, str]
) -> Iterator[tuple[MetricKey, Figure]]:
    """Compares the configurations of a run that is not too large, if tasks differ in a seed or fold."""
    over = repeat_parameters(results) if len(results) <= MAX_TABLE_TASKS else ()
    for metric_key in best if over else ():
        for one in compare_to_best(results, [metric_key], over):
            yield metric_key, comparison_plot(one, titles[metric_key])


def _optimization(
    results: Results, best: BestRows, titles: Mapping[MetricKey, str]
) -> Iterator[tuple[str, Figure]]:
    """Draws the values of an Optuna study's trials in their order."""
    for metric_key in best if is_study(results.rows) and len(results) <= MAX_TABLE_TASKS else ():
        values, pruned = results._values(metric_key), pruned_values(results.rows, metric_key)
        title, mode = titles[metric_key], results.mode_of(metric_key.metric)
        yield title, optimization_history_figure(values, pruned, title, mode)


def _best_rows(results: Results) -> BestRows:
    """Finds the best task of each metric key, if it is known which values are better."""
    best: BestRows = {}
    for metric_key in results.metric_keys:
        mode = results.mode_of(metric_key.metric)
        if mode is None or len(best) >= MAX_FIGURES:
            continue
        if any(has_value(row, metric_key) for row in results):
            best[metric_key] = results._best_row(metric_key, mode)
    return best


# --- figures -------------------------------------------------------------------------------------


def _parallel_coordinates(
    results: Results, best: BestRows, titles: Mapping[MetricKey, str]
) -> Iterator[tuple[str, Figure]]:
    if not results.parameters:
        return
    for metric_key in list(best) or results.metric_keys[:1]:
        mode = results.mode_of(metric_key.metric)
        comparable = [row for row in results if has_value(row, metric_key)]
        shown = _limit_tasks(comparable, metric_key, mode)
        title = titles[metric_key]
        if len(shown) > 1:
            note = f"{len(shown)} of {len(comparable)} tasks" if len(shown) < len(comparable) else ""
            row_values = [(row, row.stats[metric_key].last) for row in shown]
            yield title, parallel_coordinates_figure(row_values, title, mode, note, ORANGE_IS_BEST)


def _curves(results: Results, run: Run, titles: Mapping[MetricKey, str]) -> Iterator[tuple[str, Figure]]:
    """Draws the curves of each metric: a line per task; of a single task, a line per context."""
    metrics = {state.id: state.metrics for state in run.all_states()}
    drawn = 0
    for metric_keys in _with_common_figure(results):
        if drawn == MAX_FIGURES:
            break
        curves = _curves_of(results, metrics, metric_keys)
        if not any(len(curve) > 2 for _, curve in curves):
            continue
        drawn += 1
        mode, title = results.mode_of(metric_keys[0][0]), titles[metric_keys[0]]
        names: list[str] = []
        if len(metric_keys) > 1:
            names = context_names(metric_key for metric_key, _ in curves)
            title = metric_title(results, metric_keys[0])
        yield (
            title,
            curves_figure([curve for _, curve in curves], title, mode, names=names, ranks=ORANGE_IS_BEST),
        )


def _with_common_figure(results: Results) -> list[list[MetricKey]]:
    """Groups the metrics that share a figure: the contexts of one metric, if only one task has curves."""
    with_curve = [row for row in results if any(stats.has_curve for stats in row.stats.values())]
    groups: dict[object, list[MetricKey]] = {}
    for metric_key in results.metric_keys:
        groups.setdefault(metric_key.metric if len(with_curve) == 1 else metric_key, []).append(metric_key)
    return list(groups.values())


def _curves_of(
    results: Results, metrics: Mapping[str, Metrics], metric_keys: Sequence[MetricKey]
) -> list[tuple[MetricKey, Curve]]:
    curves: list[tuple[MetricKey, Curve]] = []
    for metric_key in metric_keys:
        rows = [row for row in results if metric_key in row.stats and row.stats[metric_key].has_curve]
        rows = _limit_tasks(rows, metric_key, results.mode_of(metric_key.metric))
        known = [(row, metrics.get(row.id, {}).get(metric_key)) for row in rows]
        samples = [(row, data.sample if data is not None else None) for row, data in known]
        found = [_sampled_curve(row, sample, row.stats[metric_key]) for row, sample in samples if sample]
        missing = [row for row, sample in samples if not sample]
        curves += [(metric_key, curve) for curve in (*found, *_read_curves(results, metric_key, missing))]
    return curves


def _sampled_curve(row: Row, sample: CurveSample, stats: Stats) -> Curve:
    """Builds a curve of the sample, and of the last data point, which a sample may lack."""
    curve = Curve(row, *zip(*sample.points, strict=True))
    if stats.single or stats.last_iteration is None or curve.iterations[-1] == stats.last_iteration:
        return curve
    return attrs.evolve(
        curve,
        iterations=(*curve.iterations, stats.last_iteration),
        values=(*curve.values, stats.last),
    )


def _read_curves(results: Results, metric_key: MetricKey, rows: Sequence[Row]) -> list[Curve]:
    """Reads the curves of tasks that an earlier attempt, or another process, has reported."""
    if not rows:
        return []
    try:
        history = results._reader.curves(rows, metric_key)
    except (NoHistoryError, ServerError):  # a missing figure must not make the end of the run fail
        return []
    return [compact_curve(curve, MAX_SAMPLE_POINTS) for curve in history]


def _limit_tasks(rows: list[Row], metric_key: MetricKey, mode: Mode | None) -> list[Row]:
    """Limits the tasks of a figure to the best ones, or to the first ones if the mode is unknown."""
    if len(rows) <= MAX_FIGURE_TASKS:
        return rows
    if mode is not None:
        worst = -math.inf if mode == "max" else math.inf  # for the curves of tasks that diverged
        rows = sorted(
            rows,
            key=lambda row: worst if metric_key in row.diverged else row.stats[metric_key].last,
            reverse=mode == "max",
        )
    return rows[:MAX_FIGURE_TASKS]


# --- console text --------------------------------------------------------------------------------


def _console_lines(results: Results, best: BestRows, run: Run) -> Iterator[str]:
    yield f"{results.about}: {results.counts_text()}"
    for metric_key, (row, value) in best.items():
        excluded = [other.name for other in diverged_rows(results, metric_key)]
        without = f"; without {excluded_text(excluded)}" if excluded else ""
        mode = results.mode_of(metric_key.metric)
        name = with_parameters(row.name, row.params)
        yield f"best {results.label(metric_key)} ({mode}): {name} = {value:.6g}{without}"
    failed = [row for row in results if row.status == "failed"]
    for row in failed[:MAX_LISTED_FAILURES]:
        yield f"failed: {row.name}: {row.status_reason}"
    if len(failed) > MAX_LISTED_FAILURES:
        yield f"… and {len(failed) - MAX_LISTED_FAILURES} more"
    for _, text in closing_warnings(run):
        yield from text.splitlines()
    if results.about.table_url is not None:
        yield f"all tasks as a table: {results.about.table_url}"
    for number, url in enumerate(results.about.compare_urls):
        last = min((number + 1) * MAX_COMPARED_TASKS, len(results))
        yield f"compare tasks {number * MAX_COMPARED_TASKS + 1} to {last}: {url}"
