"""Which figures a report has."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_taskgroup import Results, TaskGroup
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._plots.layout import notes_of
from clearml_taskgroup._reports.figures import report_figures
from clearml_taskgroup._results.history import Reader
from clearml_taskgroup._results.rows import Curve, Row
from clearml_taskgroup._storage.memory import MemoryBackend
from clearml_taskgroup.errors import NoHistoryError, ServerError
from tests.support.report_page import (
    METRICS,
    details_in,
    figures_in,
    logged,
    swept,
    titles,
    written,
)

pytestmark = pytest.mark.usefixtures("backend")


def test_the_figures_of_a_report(tmp_path: Path) -> None:
    """For each metric: means and curves, parallel coordinates, and boxes."""
    text, page = written(swept(), tmp_path)
    label = "loss[split=val] (nats)"
    assert titles(text)[0] == [
        f"{label}, mean ± std over seed",
        label,
        f"Parameters and {label}",
        f"{label} by C",
    ]
    assert len(titles(text)) == 2
    buttons = [tag for name, tag in page.tags if name == "button" and "aria-pressed" in tag]
    assert len(buttons) == 2
    assert text.count('id="plotly-js"') == 1


def test_a_search_has_points_for_boxes(tmp_path: Path) -> None:
    """Where a search draws its values freely, points stand for them, on a logarithmic axis if they do."""
    draw = random.Random(1)
    with TaskGroup("digits", "search", metrics=METRICS) as group:
        for _ in range(16):
            params = {"rate": 10 ** draw.uniform(-4, -1), "dropout": draw.random()}
            group.task(params).report({"loss": math.log10(params["rate"]) ** 2}, 1)
    _, _, pair, single = figures_in(written(group.results(), tmp_path)[0])[0]
    assert [trace["type"] for trace in (*pair["data"], *single["data"])] == ["scatter", "scatter"]
    assert single["layout"]["title"]["text"] == "loss (nats) by rate"
    assert single["layout"]["xaxis"]["type"] == pair["layout"]["xaxis"]["type"] == "log"
    assert len(single["data"][0]["x"]) == 16


@pytest.mark.parametrize(("values", "kind"), [(20, "heatmap"), (21, "scatter")])
def test_a_grid_of_up_to_twenty_values_is_a_heat_map(values: int, kind: str, tmp_path: Path) -> None:
    with TaskGroup("digits", "grid", metrics=METRICS) as group:
        for task in group.tasks({"C": range(values), "k": [0, 1, 2]}):
            task.report({"loss": float(task.params["C"] + task.params["k"])}, 1)
    text, _ = written(group.results(), tmp_path)
    pair = figures_in(text)[0][-2]
    assert pair["layout"]["title"]["text"].endswith("by C and k")
    assert pair["data"][0]["type"] == kind


def test_means_are_not_drawn_by_what_they_are_over(tmp_path: Path) -> None:
    with TaskGroup("digits", "grid", metrics=METRICS) as group:
        for task in group.tasks({"C": [1, 2], "k": [0, 1, 2], "seed": [0, 1]}):
            task.report({"loss": float(task.params["C"] + 9 * task.params["k"])}, 1)
    (with_k,) = titles(written(group.results(), tmp_path)[0])
    assert with_k[-2:] == ["loss (nats) by k and C", "loss (nats) by k"]
    (without,) = titles(written(group.results(), tmp_path, over=["k", "seed"])[0])
    assert without[-1] == "loss (nats) by C"


@pytest.mark.parametrize(
    "error", [NoHistoryError("in the mode 'disabled'", "do this"), ServerError("away"), OSError("gone")]
)
def test_without_curves(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where curves cannot be read the report is made without them, and says why."""

    def refused(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(Reader, "curves_of", refused)
    text, page = written(swept(), tmp_path)
    assert f"Curves over the iterations are missing: {error}." in page.text
    assert titles(text)[0] == ["Parameters and loss[split=val] (nats)", "loss[split=val] (nats) by C"]


def test_curves_are_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stored data of a task is read once, however many metrics have figures."""
    results, asked = swept(), []
    read = MemoryBackend.read_curves

    def counted(self: MemoryBackend, wanted: Any) -> Any:
        asked.append(wanted)
        return read(self, wanted)

    monkeypatch.setattr(MemoryBackend, "read_curves", counted)
    written(results, tmp_path)
    (wanted,) = asked
    assert [len(names) for names in wanted.values()] == [2] * 6


def test_single_values_have_no_curves(tmp_path: Path) -> None:
    """Metrics without iterations have the figures of parameters alone."""
    with TaskGroup("digits", "sweep", metrics=METRICS) as group:
        for task in group.tasks({"C": [1, 2], "k": ["a", "b"]}):
            task.report({"accuracy": task.params["C"] / 4})
    text, _ = written(group.results(), tmp_path)
    assert titles(text) == [["Parameters and accuracy", "accuracy by C and k", "accuracy by C"]]
    first = details_in(text)[0]
    assert (first["name"], first["parameters"]) == ("C=1,k=a", ["1", "a"])
    assert first["values"] == [[0, 0.25, 0.25, 0.25, None, 0.25, None, 0.25, 1]]


@pytest.mark.slow
def test_two_hundred_tasks_with_five_metrics_stay_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 tasks × 5 metrics × 1,000 noisy points are below 6 MB."""
    draw = random.Random(1)
    space = [
        {
            "lr": 10 ** -draw.uniform(1, 5),
            "dropout": draw.random(),
            "depth": draw.choice([2, 3, None]),
            "seed": at,
        }
        for at in range(200)
    ]
    with TaskGroup("digits", "sweep", metrics=["a", "b", "c", "d", "e"]) as group:
        for task in group.tasks(space):
            task.report({metric: draw.random() for metric in "abcde"}, 999, split="val")
    iterations = tuple(range(1000))

    def curves(_: Reader, rows: Sequence[Row], metric_keys: Sequence[MetricKey]) -> Any:
        for row in rows:
            for metric_key in metric_keys:
                noise = tuple(math.exp(-at / 300) + draw.gauss(0, 0.1) for at in iterations)
                yield metric_key, Curve(row, iterations, noise)

    monkeypatch.setattr(Reader, "curves_of", curves)
    text, page = written(group.results(), tmp_path)
    assert len(text.encode()) < 6_000_000
    assert len(page.tables["all tasks"]) == 201
    lines = [trace for trace in figures_in(text)[0][0]["data"] if trace["x"] != [None]]
    assert len(lines) == 200
    assert {len(line["x"]) for line in lines} == {120}


def drawn(results: Results, over: Sequence[str] = ()) -> list[str]:
    """The titles of the first metric's figures; those of full width end with !."""
    found, _ = report_figures(results, results.metric_keys, over)
    return [
        figure["layout"]["title"]["text"].partition("<br>")[0] + "!" * figure.get("wide", False)
        for figure in next(iter(found.values()), [])
    ]


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ([{"C": 1}], []),
        ([{"C": 1}, {"C": 1, "name": "b"}], ["Parameters and f1!", "f1 by name!"]),
        ([{"C": at} for at in (1, 2)], ["Parameters and f1!", "f1 by C!"]),
        ([{"C": at} for at in range(10)], ["Parameters and f1!", "f1 by C!"]),
        ([{"C": at, "k": at % 2} for at in range(4)], ["Parameters and f1!", "f1 by C and k", "f1 by C"]),
        (
            [{"C": at, "k": at % 2, "m": at % 3 % 2} for at in range(6)],
            ["Parameters and f1!", "Importance for f1!", "f1 by C and k", "f1 by C"],
        ),
    ],
)
def test_figures_of_single_values(space: list[dict[str, Any]], expected: list[str]) -> None:
    """Two tasks that differ have figures, one of two parameters stands beside that of one."""
    with TaskGroup("digits", "sweep", metrics=METRICS) as group:
        for at, params in enumerate(space):
            group.task(params).report({"f1": float(at)})
    assert drawn(group.results()) == expected


def test_figures_of_trials() -> None:
    """Their history has its own count of those that are left out."""
    with TaskGroup("digits", "study", metrics=METRICS) as group:
        for at in range(3):
            task = group.task({"x": at}, name=f"trial-{at:04}")
            task.report({"loss": float(at)})
            if at == 1:
                task.mark_stopped("pruned")
            if at == 2:
                task.mark_failed("bad")
    results = group.results()
    assert drawn(results) == ["loss (nats), optimization history!"]
    found, problem = report_figures(results, results.metric_keys, ())
    ((history,),) = found.values()
    assert notes_of(history["layout"]) == [
        "without 1 task (failed, stopped or no value)",
        "crosses: 1 pruned task, the last value",
    ]
    assert problem == ""


def test_means_need_a_task_that_counts() -> None:
    with TaskGroup("digits", "sweep", metrics=METRICS) as group:
        for task in group.tasks({"seed": [0, 1]}):
            for step in range(3):
                task.report({"loss": 1.0}, step)
            task.mark_failed("bad")
    assert drawn(group.results(), ["seed"]) == ["loss (nats)!"]


@pytest.mark.parametrize(("tasks", "points"), [(1, 200), (600, 100), (10_000, 20)])
def test_curves_of_many_tasks_are_short(tasks: int, points: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report has at most 120,000 data points in all, of each curve between 20 and 200."""
    results = logged({"C": [1]}, lambda params: {"loss": 1.0})
    many = attrs.evolve(results, rows=results.rows * tasks)
    whole = Curve(results[0], tuple(range(1000)), tuple(at % 7 + at / 1000 for at in range(1000)))
    keys = [*results.metric_keys, MetricKey("f1", ())]
    monkeypatch.setattr(Reader, "curves_of", lambda reader, rows, metric_keys: [(keys[0], whole)])
    found, _ = report_figures(many, keys, ())
    (line,) = found[keys[0]][0]["data"]
    assert points - 2 <= len(line["x"]) <= points
