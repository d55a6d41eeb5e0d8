"""Which figures a report has."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._results.history import Reader
from clearml_taskgroup._results.rows import Curve, Row
from clearml_taskgroup._storage.memory import MemoryBackend
from clearml_taskgroup.errors import NoHistoryError, ServerError
from tests.support.report_page import (
    METRICS,
    details_in,
    figures_in,
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
