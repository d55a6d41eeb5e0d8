"""What the parent task is given at the end of a run: tables, figures, best values, counts, links.

They are ClearML's own events, in the form in which its `Logger` sends plots, single values and
console text, and go the way of all others: no ClearML object, no call more, offline as well.
"""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any

from .._clearml.events import SINGLE_VALUE_ITERATION, SINGLE_VALUE_TITLE, console_event, now
from .._model.downsample import MOST as MOST_POINTS
from .._model.downsample import CurveSample
from .._model.metrics import MetricKey
from .._plots.curves import Points, curves_figure, thinned
from .._plots.parallel import parallel_figure
from .._results.aggregate import counts
from .._results.from_run import results_of
from .._results.rows import Mode, Row
from ..errors import NoHistoryError, ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .._model.stats import Stats
    from .._results.results import Results
    from .._run.run import Run

MOST_TASKS = 100
"""Tasks in a figure, as on ClearML's comparison page."""
MOST_ROWS = 1000
"""Tasks in the table."""
MOST_FIGURES = 10
"""Figures of each kind."""
MOST_TOLD = 20
"""Failures, or links, that are told one by one."""

Figure = dict[str, Any]
Bests = dict[MetricKey, tuple[Row, float]]


def summary_events(run: Run) -> list[str]:
    """Makes the parent's events.

    Args:
        run: The run, its tasks at their ends.

    Returns:
        API events as JSON text.
    """
    results = results_of(run)
    if run.parent is None or not results:
        return []
    prefix = "" if run.owns_parent else f"{run.info.name}: "  # another's task, or several groups'
    best = _best(results)
    plots = [("Results", "tasks", _table(results))]
    plots += [("Parameters", label, figure) for label, figure in _parallels(results, best)]
    plots += [("Curves", label, figure) for label, figure in _curves(results, run)]
    events = [_plot(run.parent, f"{prefix}{title}", series, figure) for title, series, figure in plots]
    values = {f"best {results.label(metric_key)}": value for metric_key, (_, value) in best.items()}
    for status in ("completed", "failed", "stopped"):
        values[f"tasks {status}"] = sum(row.status == status for row in results)
    events += [_single_value(run.parent, f"{prefix}{name}", value) for name, value in values.items()]
    return [*events, console_event(run.parent, "\n".join(_lines(results, best, run)))]


def _best(results: Results) -> Bests:
    """Finds the best task for each measure of which it is known which is better."""
    best: Bests = {}
    for metric_key in results.metric_keys:
        mode = results.mode_of(metric_key[0])
        having = [row for row in results if counts(row) and metric_key in row.stats]
        if mode is not None and having and len(best) < MOST_FIGURES:
            pick = max if mode == "max" else min
            row = pick(having, key=lambda row: row.stats[metric_key].last)
            best[metric_key] = (row, row.stats[metric_key].last)
    return best


# --- figures -------------------------------------------------------------------------------------


def _table(results: Results) -> Figure:
    """A table as ClearML's `report_table` writes it: plotly's, column by column."""
    metric_keys = results.metric_keys
    head = ["task", "status", "duration (s)", *results.parameters, *map(results.label, metric_keys)]
    body = []
    for row in results.rows[:MOST_ROWS]:
        stats = (row.stats.get(metric_key) for metric_key in metric_keys)
        body.append(
            [
                _linked(row),
                row.status,
                f"{row.duration:.1f}",
                *(str(row.params.get(name, "")) for name in results.parameters),
                *("" if found is None else f"{found.last:.6g}" for found in stats),
            ]
        )
    columns = [list(column) for column in zip(*body, strict=True)]
    return {
        "data": [{"type": "table", "header": {"values": head}, "cells": {"values": columns}}],
        "layout": {},
    }


def _linked(row: Row) -> str:
    name = html.escape(row.name)
    return f'<a href="{row.url}">{name}</a>' if row.url and row.url.startswith("http") else name


def _parallels(results: Results, best: Bests) -> Iterator[tuple[str, Figure]]:
    if len(results) < 2 or not results.parameters:
        return
    for metric_key in list(best) or results.metric_keys[:1]:
        mode = results.mode_of(metric_key[0])
        having = [row for row in results if counts(row) and metric_key in row.stats]
        scored = [(row, row.stats[metric_key].last) for row in _first(having, metric_key, mode)]
        label = results.label(metric_key)
        if len(scored) > 1:
            yield label, parallel_figure(scored, label, mode, _left_out(scored, having))


def _curves(results: Results, run: Run) -> Iterator[tuple[str, Figure]]:
    states = (*run.states.values(), *run.submitted.values())
    samples = {
        state.id: {
            key: data.sample
            for key, data in list(state.metrics.items())
            if data.sample is not None and data.sample.xs
        }
        for state in states
    }
    drawn = 0
    for metric_key in results.metric_keys:
        mode = results.mode_of(metric_key[0])
        having = [
            row
            for row in results
            if metric_key in row.stats and row.stats[metric_key].min_iteration is not None
        ]
        rows = _first(having, metric_key, mode)
        points: list[Points] = []
        for row in rows:
            sample = samples[row.id].get(metric_key)
            if sample is not None:
                points.append((row, *_with_end(sample, row.stats[metric_key])))
        points += _read_back(results, metric_key, [row for row in rows if metric_key not in samples[row.id]])
        if drawn < MOST_FIGURES and any(len(xs) > 2 for _, xs, _ in points):
            drawn += 1
            label = results.label(metric_key)
            yield label, curves_figure(points, label, mode)


def _with_end(sample: CurveSample, stats: Stats) -> tuple[list[int | None], list[float]]:
    if stats.single or sample.xs[-1] == stats.last_iteration:
        return list(sample.xs), list(sample.ys)
    return [*sample.xs, stats.last_iteration], [*sample.ys, stats.last]


def _read_back(results: Results, metric_key: MetricKey, rows: Sequence[Row]) -> list[Points]:
    """Reads the curves of tasks that an earlier attempt, or another process, has reported."""
    if not rows:
        return []
    try:
        found = results._reader.curves(rows, metric_key)
    except (NoHistoryError, ServerError):  # a figure is no reason to fail, or to wait
        return []
    points: list[Points] = []
    for curve in found:
        whole = [(x, y) for x, y in zip(curve.iterations, curve.values, strict=True) if x is not None]
        xs, ys = thinned([x for x, _ in whole], [y for _, y in whole], MOST_POINTS)
        points.append((curve.row, xs, ys))
    return points


def _first(rows: Sequence[Row], metric_key: MetricKey, mode: Mode | None) -> Sequence[Row]:
    """The tasks that a figure shows, where there are too many: the best ones, if that is known."""
    if len(rows) <= MOST_TASKS:
        return rows
    if mode is not None:
        rows = sorted(rows, key=lambda row: row.stats[metric_key].last, reverse=mode == "max")
    return rows[:MOST_TASKS]


def _left_out(shown: Sequence[Any], having: Sequence[Row]) -> str:
    return f"{len(shown)} of {len(having)} tasks" if len(shown) < len(having) else ""


# --- text ----------------------------------------------------------------------------------------


def _lines(results: Results, best: Bests, run: Run) -> Iterator[str]:
    yield f"{results.about}: {results.counts_text()}"
    for metric_key, (row, value) in best.items():
        yield f"best {results.label(metric_key)} ({results.mode_of(metric_key[0])}): {row.name} = {value:.6g}"
    failed = [row for row in results if row.status == "failed"]
    for row in failed[:MOST_TOLD]:
        yield f"failed: {row.name}: {row.status_reason}"
    if len(failed) > MOST_TOLD:
        yield f"… and {len(failed) - MOST_TOLD} more"
    for _, text in run.summary():
        yield text
    for number, url in enumerate(results.about.compare_urls):
        last = min((number + 1) * MOST_TASKS, len(results))
        yield f"compare tasks {number * MOST_TASKS + 1} to {last}: {url}"


# --- events --------------------------------------------------------------------------------------


def _plot(task_id: str, title: str, series: str, figure: Figure) -> str:
    return json.dumps(
        {
            "type": "plot",
            "task": task_id,
            "timestamp": now(),
            "metric": title,
            "variant": series,
            "iter": 0,
            "plot_str": json.dumps(figure, separators=(",", ":")),
        },
        separators=(",", ":"),  # as the outbox reads it
    )


def _single_value(task_id: str, name: str, value: float) -> str:
    return json.dumps(
        {
            "type": "training_stats_scalar",
            "task": task_id,
            "timestamp": now(),
            "metric": SINGLE_VALUE_TITLE,
            "variant": name,
            "value": value,
            "iter": SINGLE_VALUE_ITERATION,
        },
        separators=(",", ":"),
    )
