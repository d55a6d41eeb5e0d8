"""Box plots by a parameter."""

from __future__ import annotations

from typing import Any

import pytest

from clearml_taskgroup import figures
from clearml_taskgroup._plots.box import box_figure
from clearml_taskgroup._plots.layout import notes_of
from tests.support.figures import row_values, swept


def test_box() -> None:
    """There is a box for each value, in their order, with the tasks' values as points."""
    results = swept({"C": [10, 2, 1], "seed": range(4)}, lambda p, _: p["C"] + p["seed"])
    figure = figures.box(results, "loss", by="C")
    assert [trace.name for trace in figure.data] == ["1", "2", "10"]
    assert list(figure.data[2].y) == [10, 11, 12, 13]
    assert figure.layout.xaxis.categoryarray == ("1", "2", "10")
    assert "seed = 3" in figure.data[2].hovertext[3]


def test_a_box_of_many_numbers_is_of_bins() -> None:
    """Where 200 tasks have 200 values, boxes are of ranges of them."""
    results = swept({"lr": [10 ** (-at / 50) for at in range(200)]}, lambda p, _: p["lr"], steps=1)
    figure = figures.box(results, "loss", by="lr")
    assert len(figure.data) == 8
    assert sum(len(trace.y) for trace in figure.data) == 200
    assert [trace.x[0] for trace in figure.data] == list(figure.layout.xaxis.categoryarray)


def test_long_names_are_cut_at_the_ticks_only() -> None:
    """Texts that begin alike stay apart."""
    names = [f"{'a' * 30}{at}" for at in range(2)]
    figure = figures.box(swept({"kind": names}, lambda *_: 1.0), "loss", by="kind")
    assert [trace.name for trace in figure.data] == names
    assert figure.layout.xaxis.labelalias == dict.fromkeys(names, f"{'a' * 27}…")


def test_what_a_box_is_made_of() -> None:
    """The points of its tasks are inside of it; it has no legend, as its name is at the axis."""
    kinds = [{"kind": kind} for kind in ("b", "a<", "b")]
    figure = box_figure(row_values(kinds, lambda params: len(params["kind"])), "loss (%)", "kind", "a note")
    first, second = figure["data"]
    assert (first["x"], first["y"], second["x"], second["y"]) == (["b", "b"], [1, 1], ["a&lt;"], [2])
    assert (first["boxpoints"], first["pointpos"], first["showlegend"]) == ("all", 0, False)
    assert first["hovertext"] == ["<b>kind=b</b><br>kind = b"] * 2
    layout = figure["layout"]
    assert notes_of(layout) == ["a note"]
    assert layout["title"]["text"].startswith("loss (%) by kind<br>")
    assert [layout[axis]["title"]["text"] for axis in ("xaxis", "yaxis")] == ["kind", "loss (%)"]
    assert (layout["xaxis"]["type"], layout["xaxis"]["showgrid"]) == ("category", False)
    assert notes_of(box_figure(row_values(kinds, lambda _: 1.0), "loss", "kind")["layout"]) == []


@pytest.mark.parametrize(("tasks", "points"), [(400, "all"), (401, "outliers")])
def test_boxes_of_many_tasks_show_outliers_only(tasks: int, points: str) -> None:
    found = row_values([{"k": at % 2} for at in range(tasks)], lambda params: params["k"])
    assert {box["boxpoints"] for box in box_figure(found, "loss", "k")["data"]} == {points}


def test_bins_without_a_task_have_no_box() -> None:
    found = row_values([{"k": at} for at in (*range(21), 100)], lambda params: params["k"])
    assert [len(box["y"]) for box in box_figure(found, "loss", "k")["data"]] == [13, 8, 1]


@pytest.mark.parametrize(("note", "text"), [("", "no task has a value"), ("a", "no task has a value; a")])
def test_no_box(note: str, text: str) -> None:
    figure: Any = box_figure([], "loss", "k", note)
    assert (figure["data"], figure["layout"]["annotations"][0]["text"]) == ([], text)
