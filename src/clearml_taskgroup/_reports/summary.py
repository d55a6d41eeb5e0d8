"""Draws the parent task's summary at the end of a run: table, figures, best values, counts, links.

The summary consists of the API events that ClearML's own `Logger` would send for plots, single values and
console text. They are delivered like all other events: no ClearML object, no further call, also offline.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import attrs

from .._clearml.events import console_event, plot_event, single_value_event
from .._model.downsample import MAX_SAMPLE_POINTS, CurveSample
from .._model.metrics import MetricKey
from .._plots.curves import compact_curve, curves_figure
from .._plots.parallel_coordinates import parallel_coordinates_figure
from .._plots.value_text import escape
from .._results.filtering import diverged_rows, has_value
from .._results.from_run import results_of
from .._results.rows import Curve, Mode, Row, RowValue, excluded_text
from .._run.closing import closing_warnings
from .._text import printable
from ..errors import NoHistoryError, ServerError
from .html import is_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .._model.stats import Stats
    from .._plots.layout import Figure
    from .._results.results import Results
    from .._run.run import Run

MAX_FIGURE_TASKS = 100
"""The number of tasks in a figure, as on ClearML's comparison page."""
MAX_TABLE_TASKS = 1000
"""The number of tasks in the table."""
MAX_FIGURES = 10
"""The number of figures of each kind."""
MAX_LISTED_FAILURES = 20
"""The number of failed tasks in the console text."""
URL_CHARACTERS = "/:?#[]@!$&'()*+,;=%~"
"""The characters of a URL that are not percent-encoded."""

BestRows = dict[MetricKey, RowValue]


def summary_events(run: Run) -> list[str]:
    """Builds the events of the parent.

    Args:
        run: The run, whose tasks have ended.

    Returns:
        API events as JSON text.
    """
    results = results_of(run)
    if run.parent is None or not results:
        return []
    # The parent may be a task that is not ours, with other groups beside this one.
    prefix = "" if run.owns_parent else f"{run.info.name}: "
    best = _best_rows(results)
    plots = [("Results", "tasks", _table(results))]
    plots += [("Parameters", label, figure) for label, figure in _parallel_coordinates(results, best)]
    plots += [("Curves", label, figure) for label, figure in _curves(results, run)]
    events = [plot_event(run.parent, f"{prefix}{title}", series, figure) for title, series, figure in plots]
    values = {f"best {results.label(metric_key)}": value for metric_key, (_, value) in best.items()}
    for status in ("completed", "failed", "stopped"):
        values[f"tasks {status}"] = sum(row.status == status for row in results)
    events += [single_value_event(run.parent, f"{prefix}{name}", value) for name, value in values.items()]
    return [*events, console_event(run.parent, "\n".join(map(printable, _console_lines(results, best, run))))]


def _best_rows(results: Results) -> BestRows:
    """Finds the best task of each metric key, if it is known which values are better."""
    best: BestRows = {}
    for metric_key in results.metric_keys:
        mode = results.mode_of(metric_key[0])
        if mode is not None and _comparable(results, metric_key) and len(best) < MAX_FIGURES:
            best[metric_key] = results._best_row(metric_key, mode)
    return best


def _comparable(results: Results, metric_key: MetricKey) -> list[Row]:
    return [row for row in results if has_value(row, metric_key)]


# --- figures -------------------------------------------------------------------------------------


def _table(results: Results) -> Figure:
    """Builds the table of the tasks, in the form of ClearML's `report_table`: plotly's, column by column."""
    metric_keys, parameters = results.metric_keys, results.parameters
    head = ["task", "status", "duration (s)", *parameters, *map(results.label, metric_keys)]
    shown = results[:MAX_TABLE_TASKS]
    body = [
        [
            _link(row),
            escape(row.status),
            f"{row.duration:.1f}",
            *(escape(str(record.get(f"params.{name}", ""))) for name in parameters),
            *(_number_text(record.get(f"{metric_key!s}.last")) for metric_key in metric_keys),
        ]
        for row, record in zip(shown, shown.to_records(), strict=True)
    ]
    columns = [list(column) for column in zip(*body, strict=True)]
    return {
        "data": [
            {"type": "table", "header": {"values": list(map(escape, head))}, "cells": {"values": columns}}
        ],
        "layout": {},
    }


def _number_text(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _link(row: Row) -> str:
    """Returns a task's name as plotly's markup, which has links and few entities: `&quot;` is none."""
    name = escape(row.name)
    return f'<a href="{quote(row.url, URL_CHARACTERS)}">{name}</a>' if row.url and is_page(row.url) else name


def _parallel_coordinates(results: Results, best: Mapping[MetricKey, Any]) -> Iterator[tuple[str, Figure]]:
    if len(results) < 2 or not results.parameters:
        return
    for metric_key in list(best) or results.metric_keys[:1]:
        mode = results.mode_of(metric_key[0])
        comparable = _comparable(results, metric_key)
        shown = _limit_tasks(comparable, metric_key, mode)
        label = results.label(metric_key)
        if len(shown) > 1:
            note = f"{len(shown)} of {len(comparable)} tasks" if len(shown) < len(comparable) else ""
            row_values = [(row, row.stats[metric_key].last) for row in shown]
            yield label, parallel_coordinates_figure(row_values, label, mode, note)


def _curves(results: Results, run: Run) -> Iterator[tuple[str, Figure]]:
    samples = {
        state.id: {
            key: data.sample
            for key, data in list(state.metrics.items())
            if data.sample is not None and data.sample.xs
        }
        for state in run.all_states()
    }
    drawn = 0
    for metric_key in results.metric_keys:
        mode = results.mode_of(metric_key[0])
        rows = [row for row in results if metric_key in row.stats and row.stats[metric_key].has_curve]
        rows = _limit_tasks(rows, metric_key, mode)
        curves = []
        for row in rows:
            sample = samples.get(row.id, {}).get(metric_key)
            if sample is not None:
                curves.append(_sampled_curve(row, sample, row.stats[metric_key]))
        missing = [row for row in rows if metric_key not in samples.get(row.id, {})]
        curves += _read_curves(results, metric_key, missing)
        if drawn < MAX_FIGURES and any(len(curve) > 2 for curve in curves):
            drawn += 1
            label = results.label(metric_key)
            yield label, curves_figure(curves, label, mode)


def _sampled_curve(row: Row, sample: CurveSample, stats: Stats) -> Curve:
    """Builds a curve of the sample, and of the last data point, which a sample may lack."""
    curve = Curve(row, tuple(sample.xs), tuple(sample.ys))
    if stats.single or stats.last_iteration is None or sample.xs[-1] == stats.last_iteration:
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
        mode = results.mode_of(metric_key[0])
        yield f"best {results.label(metric_key)} ({mode}): {row.name} = {value:.6g}{without}"
    failed = [row for row in results if row.status == "failed"]
    for row in failed[:MAX_LISTED_FAILURES]:
        yield f"failed: {row.name}: {row.status_reason}"
    if len(failed) > MAX_LISTED_FAILURES:
        yield f"… and {len(failed) - MAX_LISTED_FAILURES} more"
    for _, text in closing_warnings(run):
        yield from text.splitlines()
    for number, url in enumerate(results.about.compare_urls):
        last = min((number + 1) * MAX_FIGURE_TASKS, len(results))
        yield f"compare tasks {number * MAX_FIGURE_TASKS + 1} to {last}: {url}"
