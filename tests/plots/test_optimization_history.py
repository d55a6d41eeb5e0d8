"""The history of a search."""

from __future__ import annotations

import math

import pytest

from clearml_taskgroup import figures
from clearml_taskgroup._model.metrics import ByMetric, MetricKey
from clearml_taskgroup._model.stats import Stats
from clearml_taskgroup._plots.colours import PALETTE
from clearml_taskgroup._plots.layout import notes_of
from clearml_taskgroup._plots.optimization_history import (
    is_pruned,
    is_study,
    optimization_history_figure,
    pruned_values,
)
from tests.support.figures import row_of, row_values, study, words_of


def test_optimization_history() -> None:
    """Values in the order of the trials, the best so far as steps to the last one, and those pruned."""
    results = study([3.0, "pruned at step 1", 2.0, 4.0, "by somebody", 1.0, "pruned: hopeless"])
    points, pruned, best = figures.optimization_history(results, "loss").data
    assert (list(points.x), list(points.y)) == ([0, 2, 3, 5], [3, 2, 4, 1])
    assert (list(pruned.x), list(pruned.y), pruned.marker.symbol) == ([1, 6], [9, 9], "x")
    assert (list(best.x), list(best.y), best.line.shape) == ([0, 2, 3, 5, 6], [3, 2, 2, 1, 1], "hv")
    words = words_of(figures.optimization_history(results, "loss"))
    assert "2 pruned tasks" in words
    assert "1 task" in words
    assert list(figures.optimization_history(results, "loss", mode="max").data[2].y) == [3, 3, 4, 4, 4]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["trial-0000", "lr-trial-12345"], True),
        (["trial-0000", "trial-001"], False),
        (["trial-0000", "my trial-0001"], False),
        (["trial-0000 again"], False),
        ([], False),
    ],
)
def test_a_study_is_known_by_its_names(names: list[str], expected: bool) -> None:
    assert is_study([row_of({}, name=name) for name in names]) is expected


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        ("stopped", "pruned at step 1", True),
        ("stopped", "not pruned", False),
        ("failed", "pruned at step 1", False),
    ],
)
def test_who_was_pruned(status: str, reason: str, expected: bool) -> None:
    assert is_pruned(row_of({"x": 1}, status=status, status_reason=reason)) is expected


def test_pruned_tasks_have_their_last_value() -> None:
    """Those without one, or whose last was none, are left out."""
    key = MetricKey("loss", ())
    rows = []
    for index, last in enumerate((2.0, None, math.nan)):
        stats = Stats()
        stats.add(1.0, 0)
        stats.add(last or 0.0, 1)
        found = ByMetric({} if last is None else {key: stats})
        rows.append(row_of({"x": 1}, index, status="stopped", status_reason="pruned", stats=found))
    assert pruned_values(rows, key) == [(rows[0], 2.0)]
    assert pruned_values([row_of({"x": 1}, stats=rows[0].stats)], key) == []


def test_what_a_history_is_made_of() -> None:
    """Points in the order of the search, whichever order they are given in."""
    found = row_values([{"x": 1}, {"x": 2}], lambda params: params["x"])
    figure = optimization_history_figure(found[::-1], [], "loss", "min", "a note")
    points, best = figure["data"]
    assert (points["mode"], points["name"], points["x"], points["y"]) == ("markers", "value", [0, 1], [1, 2])
    assert points["hovertext"] == ["<b>x=1</b><br>x = 1", "<b>x=2</b><br>x = 2"]
    assert (best["mode"], best["x"], best["y"]) == ("lines", [0, 1, 1], [1, 1, 1])
    assert best["line"] == {"color": PALETTE[1], "width": 2, "shape": "hv"}
    assert points["marker"] == {"color": PALETTE[0], "size": 7, "opacity": 0.8}
    layout = figure["layout"]
    assert (notes_of(layout), layout["showlegend"]) == (["a note"], True)
    assert layout["title"]["text"].startswith("loss, optimization history<br>")
    assert [layout[axis]["title"]["text"] for axis in ("xaxis", "yaxis")] == ["trial", "loss"]


def test_a_history_without_the_best() -> None:
    """There is no line where it is not known what is better, or where all were pruned."""
    found = row_values([{"x": 1}, {"x": 2}], lambda params: params["x"])
    for values, pruned, names in (
        (found, [], ["value"]),
        (found[:1], found[1:], ["value", "pruned"]),
    ):
        figure = optimization_history_figure(values, pruned, "loss", None)
        assert [trace["name"] for trace in figure["data"]] == names
    figure = optimization_history_figure([], found, "loss", "max")
    assert [trace["name"] for trace in figure["data"]] == ["value", "pruned"]
    assert notes_of(figure["layout"]) == ["crosses: 2 pruned tasks, the last value"]
    assert figure["data"][1]["marker"]["symbol"] == "x"


@pytest.mark.parametrize(("note", "text"), [("", "no task has a value"), ("a", "no task has a value; a")])
def test_no_history(note: str, text: str) -> None:
    figure = optimization_history_figure([], [], "loss", "max", note)
    assert (figure["data"], figure["layout"]["annotations"][0]["text"]) == ([], text)
