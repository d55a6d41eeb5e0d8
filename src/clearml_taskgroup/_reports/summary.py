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
from .._model.downsample import Sketch
from .._model.metrics import Measure
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
Bests = dict[Measure, tuple[Row, float]]


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
    values = {f"best {results.label(measure)}": value for measure, (_, value) in best.items()}
    for status in ("completed", "failed", "stopped"):
        values[f"tasks {status}"] = sum(row.status == status for row in results)
    events += [_single_value(run.parent, f"{prefix}{name}", value) for name, value in values.items()]
    return [*events, console_event(run.parent, "\n".join(_lines(results, best, run)))]


def _best(results: Results) -> Bests:
    """Finds the best task for each measure of which it is known which is better."""
    best: Bests = {}
    for measure in results.measures:
        mode = results.mode_of(measure[0])
        having = [row for row in results if counts(row) and measure in row.stats]
        if mode is not None and having and len(best) < MOST_FIGURES:
            pick = max if mode == "max" else min
            row = pick(having, key=lambda row: row.stats[measure].last)
            best[measure] = (row, row.stats[measure].last)
    return best


# --- figures -------------------------------------------------------------------------------------


def _table(results: Results) -> Figure:
    """A table as ClearML's `report_table` writes it: plotly's, column by column."""
    measures = results.measures
    head = ["task", "status", "duration (s)", *results.parameters, *map(results.label, measures)]
    body = []
    for row in results.rows[:MOST_ROWS]:
        stats = (row.stats.get(measure) for measure in measures)
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
    for measure in list(best) or results.measures[:1]:
        mode = results.mode_of(measure[0])
        having = [row for row in results if counts(row) and measure in row.stats]
        scored = [(row, row.stats[measure].last) for row in _first(having, measure, mode)]
        label = results.label(measure)
        if len(scored) > 1:
            yield label, parallel_figure(scored, label, mode, _left_out(scored, having))


def _curves(results: Results, run: Run) -> Iterator[tuple[str, Figure]]:
    states = (*run.states.values(), *run.submitted.values())
    sketches = {state.id: state.names.sketches() for state in states}
    drawn = 0
    for measure in results.measures:
        mode = results.mode_of(measure[0])
        having = [
            row for row in results if measure in row.stats and row.stats[measure].min_iteration is not None
        ]
        rows = _first(having, measure, mode)
        points: list[Points] = []
        for row in rows:
            sketch = sketches[row.id].get(measure)
            if sketch is not None:
                points.append((row, *_with_end(sketch, row.stats[measure])))
        points += _read_back(results, measure, [row for row in rows if measure not in sketches[row.id]])
        if drawn < MOST_FIGURES and any(len(xs) > 2 for _, xs, _ in points):
            drawn += 1
            label = results.label(measure)
            yield label, curves_figure(points, label, mode)


def _with_end(sketch: Sketch, stats: Stats) -> tuple[list[int | None], list[float]]:
    if stats.single or sketch.xs[-1] == stats.last_iteration:
        return list(sketch.xs), list(sketch.ys)
    return [*sketch.xs, stats.last_iteration], [*sketch.ys, stats.last]


def _read_back(results: Results, measure: Measure, rows: Sequence[Row]) -> list[Points]:
    """Reads the curves of tasks that an earlier attempt, or another process, has reported."""
    if not rows:
        return []
    try:
        found = results._reader.curves(rows, measure)
    except (NoHistoryError, ServerError):  # a figure is no reason to fail, or to wait
        return []
    points: list[Points] = []
    for curve in found:
        whole = [(x, y) for x, y in zip(curve.iterations, curve.values, strict=True) if x is not None]
        xs, ys = thinned([x for x, _ in whole], [y for _, y in whole], MOST_POINTS)
        points.append((curve.row, xs, ys))
    return points


def _first(rows: Sequence[Row], measure: Measure, mode: Mode | None) -> Sequence[Row]:
    """The tasks that a figure shows, where there are too many: the best ones, if that is known."""
    if len(rows) <= MOST_TASKS:
        return rows
    if mode is not None:
        rows = sorted(rows, key=lambda row: row.stats[measure].last, reverse=mode == "max")
    return rows[:MOST_TASKS]


def _left_out(shown: Sequence[Any], having: Sequence[Row]) -> str:
    return f"{len(shown)} of {len(having)} tasks" if len(shown) < len(having) else ""


# --- text ----------------------------------------------------------------------------------------


def _lines(results: Results, best: Bests, run: Run) -> Iterator[str]:
    yield f"{results.about}: {results.counts_text()}"
    for measure, (row, value) in best.items():
        yield f"best {results.label(measure)} ({results.mode_of(measure[0])}): {row.name} = {value:.6g}"
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
