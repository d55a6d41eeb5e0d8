"""Scatter plots over one or two parameters."""

from __future__ import annotations

import random

import pytest

from clearml_taskgroup import figures
from clearml_taskgroup._plots.layout import notes_of
from clearml_taskgroup._plots.scatter import points_figure, scatter_figure
from tests.support.figures import random_search, row_values, swept


def test_doubling_integers_have_ticks_of_their_own() -> None:
    """Their axis is logarithmic, and its ticks are the values."""
    results = swept({"width": [8, 16, 64], "C": [1, 2]}, lambda params, _: params["C"])
    axis = figures.scatter(results, "loss", x="width", y="C").layout.xaxis
    assert (axis.type, axis.tickvals) == ("log", (8, 16, 64))


def test_scatter() -> None:
    """Points stand by their logarithm where they span decades, and tasks in one place are a mean."""
    results = swept({"lr": [1e-4, 1e-2], "C": [1, 2], "seed": [0, 1]}, lambda p, _: p["C"] + p["seed"])
    figure = figures.scatter(results, "loss", x="lr", y="C")
    (trace,) = figure.data
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", None)
    assert list(zip(trace.x, trace.y, strict=True)) == [(1e-4, 1), (1e-4, 2), (1e-2, 1), (1e-2, 2)]
    assert list(trace.marker.color) == [1.5, 2.5, 1.5, 2.5]
    assert "C=1,lr=0.0001,seed=1" in trace.hovertext[0]
    assert "up to 2 tasks in one place" in figure.layout.title.text


def test_scatter_leaves_out_what_has_no_number() -> None:
    """On an axis of numbers, tasks without one are left out and counted."""
    figure = figures.scatter(random_search(), "loss", x="lr", y="depth")
    assert len(figure.data[0].x) < 60
    assert "20 tasks skipped, without a number for lr or depth" in figure.layout.title.text


def test_points_over_a_parameter() -> None:
    """Each task is a point at its number; those without one are left out and counted, and log is log."""
    space = [{"lr": 10 ** random.Random(at).uniform(-4, -1)} for at in range(30)]
    results = swept([*space, {"lr": None}], lambda params, _: params["lr"] or 1.0, steps=1)
    scored = [(row, row.value("loss")) for row in results]
    figure = points_figure(scored, "loss", "lr")
    assert figure["layout"]["xaxis"]["type"] == "log"
    assert figure["data"][0]["x"] == [point["lr"] for point in space]
    assert "1 task skipped, without a number for lr" in figure["layout"]["title"]["text"]
    assert "lr = " in figure["data"][0]["hovertext"][0]
    assert points_figure(scored[-1:], "loss", "lr")["data"] == []


def test_what_a_scatter_plot_is_made_of() -> None:
    """A point of one task has its hover text; what is better is dark."""
    found = row_values([{"C<": 1, "k": "a"}, {"C<": 2, "k": "b<"}], lambda params: params["C<"] / 3)
    figure = scatter_figure(found, "loss", "min", "C<", "k", "a note")
    (trace,) = figure["data"]
    assert (trace["mode"], trace["x"], trace["y"]) == ("markers", [1, 2], ["a", "b&lt;"])
    marker = trace["marker"]
    assert (marker["color"], marker["cmin"], marker["cmax"]) == ([0.333333, 0.666667], 1 / 3, 2 / 3)
    assert (marker["colorscale"][0][1], marker["showscale"]) == ("#440154", True)
    assert "dark is best" in marker["colorbar"]["title"]["text"]
    assert trace["hovertext"][0] == '<b>"C&lt;"=1,k=a</b><br>C&lt; = 1<br>k = a<br>loss = 0.33333'
    layout = figure["layout"]
    assert notes_of(layout) == ["a note"]
    assert layout["title"]["text"].startswith("loss by C&lt; and k<br>")
    assert [layout[axis]["title"]["text"] for axis in ("xaxis", "yaxis")] == ["C&lt;", "k"]
    assert layout["yaxis"]["categoryarray"] == ["a", "b&lt;"]


@pytest.mark.parametrize(("tasks", "more"), [(8, []), (9, ["and 1 more"])])
def test_a_place_of_several_tasks_names_them(tasks: int, more: list[str]) -> None:
    found = row_values(
        [{"C": 1, "k": 1, "seed": at} for at in range(tasks)], lambda params: params["seed"] // 8
    )
    figure = scatter_figure(found, "loss", None, "C", "k")
    mean, spread, *names = figure["data"][0]["hovertext"][0].split("<br>")
    assert mean == ("loss = 0" if tasks == 8 else "loss = 0.11111")
    assert spread.endswith(f"n = {tasks}, 0 … {tasks - 8}")
    assert names == [*(f"<b>C=1,k=1,seed={at}</b> 0" for at in range(8)), *more]
    assert notes_of(figure["layout"]) == [f"means of up to {tasks} tasks in one place"]


@pytest.mark.parametrize(("tasks", "size", "of_task"), [(60, 11, 8), (61, 8, 6)])
def test_many_points_are_small(tasks: int, size: int, of_task: int) -> None:
    found = row_values([{"C": at, "k": 1} for at in range(tasks)], lambda params: params["C"])
    assert scatter_figure(found, "loss", None, "C", "k")["data"][0]["marker"]["size"] == size
    assert points_figure(found, "loss", "C")["data"][0]["marker"]["size"] == of_task


@pytest.mark.parametrize("far", [-1e9, 1e9])
def test_outliers_do_not_take_the_colours(far: float) -> None:
    values = [*range(20), far]
    found = row_values([{"C": at, "k": 1} for at in range(21)], lambda params: values[params["C"]])
    figure = scatter_figure(found, "loss", None, "C", "k")
    assert (figure["data"][0]["marker"]["cmin"], figure["data"][0]["marker"]["cmax"]) == (0, 19)
    assert notes_of(figure["layout"]) == ["outliers have the colour of the end of the scale"]
    assert notes_of(points_figure(found, "loss", "C")["layout"])[0].startswith("some values are outside")


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1, 2, None], [1, 2]),  # an axis of numbers has no place for None
        ([1, "a", None], ["1", "a", "None"]),
        ([None, None, None], ["None"] * 3),
        ([1, True, None], ["1", "True", "None"]),
    ],
)
def test_which_values_have_a_place(values: list[object], shown: list[object]) -> None:
    found = row_values([{"v": value, "k": 1} for value in values], lambda _: 1.0)
    figure = scatter_figure([(row, at) for at, (row, _) in enumerate(found)], "loss", None, "v", "k")
    assert sorted(map(str, figure["data"][0]["x"])) == sorted(map(str, dict.fromkeys(shown)))
    swapped = scatter_figure(found, "loss", None, "k", "v")
    assert sorted(map(str, swapped["data"][0]["y"])) == sorted(map(str, dict.fromkeys(shown)))
    without = [note for note in notes_of(figure["layout"]) if "skipped" in note]
    assert without == (["1 task skipped, without a number for v or k"] if len(shown) == 2 else [])


@pytest.mark.parametrize(
    ("values", "axis"),
    [
        ([1, 2, 3], {}),
        ([8, 16, 64], {"tickvals": [8, 16, 64]}),
        ([2**at for at in range(8)], {"tickvals": [2**at for at in range(8)]}),
        ([2**at for at in range(9)], {"dtick": 1}),
    ],
)
def test_ticks_of_a_logarithmic_axis(values: list[int], axis: dict[str, object]) -> None:
    """Few values have a tick each, many one per decade."""
    found = row_values([{"w": value} for value in values], lambda _: 1.0)
    axis_of_points = points_figure(found, "loss", "w")["layout"]["xaxis"]
    kind = {"type": "log", "exponentformat": "power"} if axis else {}
    names = ("type", "exponentformat", "tickvals", "dtick")
    assert {name: axis_of_points[name] for name in names if name in axis_of_points} == kind | axis


def test_what_points_are_made_of() -> None:
    found = row_values([{"C": 1}, {"C": None}], lambda _: 1 / 3)
    figure = points_figure(found, "loss", "C", "a note")
    (trace,) = figure["data"]
    assert (trace["mode"], trace["x"], trace["y"]) == ("markers", [1], [0.333333])
    assert (trace["hovertext"], trace["customdata"]) == (["<b>C=1</b><br>C = 1"], ["0.33333"])
    layout = figure["layout"]
    assert notes_of(layout) == ["a note; 1 task skipped, without a number for C"]
    assert layout["title"]["text"].startswith("loss by C<br>")
    assert [layout[axis]["title"]["text"] for axis in ("xaxis", "yaxis")] == ["C", "loss"]
    assert notes_of(points_figure(found[:1], "loss", "C")["layout"]) == []


@pytest.mark.parametrize(("note", "text"), [("", "no task has a value"), ("a", "no task has a value; a")])
def test_nothing_to_place(note: str, text: str) -> None:
    for figure in (points_figure([], "loss", "C", note), scatter_figure([], "loss", None, "C", "k", note)):
        assert (figure["data"], figure["layout"]["annotations"][0]["text"]) == ([], text)
    nowhere = points_figure(row_values([{"C": "a"}], lambda _: 1.0), "loss", "C", note)
    skipped = "1 task skipped, without a number for C"
    assert nowhere["layout"]["annotations"][0]["text"] == f"{text}; {skipped}"
