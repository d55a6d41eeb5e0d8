"""Heat maps: a mean for each pair of values."""

from __future__ import annotations

from typing import Any

import pytest

from clearml_taskgroup import figures
from clearml_taskgroup._plots.heat_map import heat_map_figure
from clearml_taskgroup._plots.layout import notes_of
from tests.support.figures import row_values, swept


def test_heat_map_is_the_mean_over_the_rest() -> None:
    """Each cell is the mean of its tasks, what has no task is empty, and None is a value."""
    space = [{"C": c, "k": k, "seed": s} for c in (10, 1) for k in ("a", None) for s in (0, 1)][:-2]
    results = swept(space, lambda params, _: params["C"] + params["seed"])
    (trace,) = figures.heat_map(results, "loss", x="C", y="k").data
    assert [list(line) for line in trace.z] == [[1.5, 10.5], [None, 10.5]]
    figure = figures.heat_map(results, "loss", x="C", y="k")
    assert (tuple(trace.x), tuple(trace.y)) == (("1", "10"), ("a", "None"))
    assert (figure.layout.xaxis.type, figure.layout.xaxis.categoryarray) == ("category", ("1", "10"))
    assert "n = 2" in trace.hovertext[0][0]
    assert [list(line) for line in trace.text] == [["1.5", "10.5"], ["", "10.5"]]
    assert trace.texttemplate == "%{text}"


@pytest.mark.parametrize(("columns", "rows", "has_numbers"), [(12, 20, True), (13, 1, False), (1, 21, False)])
def test_large_heat_maps_have_no_numbers(columns: int, rows: int, has_numbers: bool) -> None:
    space = {"C": [f"c{at}" for at in range(columns)], "k": [f"k{at}" for at in range(rows)]}
    (trace,) = figures.heat_map(swept(space, lambda *_: 1.0, steps=1), "loss", x="C", y="k").data
    assert bool(trace.texttemplate) is has_numbers


def test_what_a_heat_map_is_made_of() -> None:
    """What is better is dark, hover texts have names, spread and value, and cells have gaps."""
    space = [{"a<": 1, "k": "x"}, {"a<": 1, "k": "x"}, {"a<": 2, "k": "y"}]
    found = row_values(space, lambda params: 1 / (3 * params["a<"]))
    figure = heat_map_figure(found, "loss", "min", "a<", "k", "a note")
    (trace,) = figure["data"]
    assert trace["z"] == [[0.333333, None], [None, 0.166667]]
    assert (trace["zmin"], trace["zmax"]) == (1 / 6, 1 / 3)
    assert trace["hovertext"] == [["± 0 (std), n = 2, 0.3333 … 0.3333", ""], ["", "1 task"]]
    names = "a&lt; = %{x}<br>k = %{y}<br>"
    assert trace["hovertemplate"] == names + "%{hovertext}<br>loss = %{z:.5g}<extra></extra>"
    assert (trace["xgap"], trace["ygap"], trace["hoverongaps"]) == (2, 2, False)
    assert trace["colorscale"][0][1] == "#440154"
    assert "dark is best" in trace["colorbar"]["title"]["text"]
    layout = figure["layout"]
    assert notes_of(layout) == ["a note; means of up to 2 tasks"]
    assert layout["title"]["text"].startswith("loss by a&lt; and k<br>")
    for axis, names_of_cells in (("xaxis", ["1", "2"]), ("yaxis", ["x", "y"])):
        assert layout[axis]["categoryarray"] == names_of_cells
        assert layout[axis]["showgrid"] is False


def test_a_heat_map_of_single_tasks_has_no_note() -> None:
    figure = heat_map_figure(
        row_values([{"C": 1, "k": 1}, {"C": 2, "k": 2}], lambda _: 1.0), "loss", None, "C", "k"
    )
    assert notes_of(figure["layout"]) == []
    assert figure["data"][0]["colorscale"][0][1] == "#6ece58"


@pytest.mark.parametrize(("note", "text"), [("", "no task has a value"), ("a", "no task has a value; a")])
def test_no_heat_map(note: str, text: str) -> None:
    figure: Any = heat_map_figure([], "loss", None, "C", "k", note)
    assert (figure["data"], figure["layout"]["annotations"][0]["text"]) == ([], text)
