"""Parallel coordinates: which parameters have an axis, and where lines are."""

from __future__ import annotations

import random

import pytest

from clearml_taskgroup import figures
from clearml_taskgroup._plots.layout import notes_of
from clearml_taskgroup._plots.parallel_coordinates import parallel_coordinates_figure
from clearml_taskgroup._results.rows import Mode
from tests.support.figures import axes_of, random_search, row_values, swept


def test_parallel_coordinates() -> None:
    """Each task is a line over the parameters that differ and its value, told in its hover text."""
    figure = figures.parallel_coordinates(random_search(), "loss")
    names = ("optimizer", "depth", "augment", "layers", "momentum", "loss[split=val] (nats)")
    assert axes_of(figure) == ["<b>lr</b> (log)", *(f"<b>{name}</b>" for name in names)]
    ticks = {note.text for note in figure.layout.annotations}
    assert ticks >= {"adam", "sgd", "None", "True", "False", "[64]", "[64,32]", "0.001", "not given"}
    assert len(figure.data) == 60
    assert all(len(line.y) == 7 and all(-0.1 < y < 1.1 for y in line.y) for line in figure.data)
    assert "optimizer = adam" in figure.data[0].hovertext + figure.data[1].hovertext


def test_parallel_coordinates_leave_out_who_does_not_count() -> None:
    """Failed tasks are left out, and the figure says how many."""
    results = swept({"C": [1, 2, 3]}, lambda params, _: params["C"], at_0="failed")
    figure = figures.parallel_coordinates(results, "loss")
    assert len(figure.data) == 2
    assert "without 1 task (failed, stopped or no value)" in figure.layout.title.text


def test_parallel_coordinates_of_many_parameters() -> None:
    """Of more than twelve parameters those are shown that tell most of the values, in their order."""
    draw = random.Random(1)
    space = [{f"p{name}": draw.choice([1, 2, 3]) for name in range(30)} for _ in range(100)]
    results = swept(space, lambda params, _: params["p7"] + params["p23"], steps=1)
    figure = figures.parallel_coordinates(results, "loss")
    axes = axes_of(figure)
    assert len(axes) == 13
    assert axes.index("<b>p7</b>") < axes.index("<b>p23</b>")
    assert "the 12 of 30 parameters that explain most" in figure.layout.title.text


def test_lines_that_meet_are_spread_by_their_value() -> None:
    """Around each place of few, evenly to both sides; values far from all others are at the axis' end."""
    results = swept({"C": [1, 2], "k": range(8)}, lambda params, _: params["C"] + 2 * params["k"])
    figure = figures.parallel_coordinates(results, "loss")
    places = [line.y[0] for line in figure.data]
    assert sorted(places) == pytest.approx(
        [*(at / 150 - 0.05 for at in range(0, 16, 2)), *(at / 150 + 0.95 for at in range(1, 16, 2))], abs=1e-4
    )
    assert [line.y[-1] for line in figure.data] == pytest.approx([1 - at / 15 for at in range(16)], abs=1e-4)
    assert "outliers" not in figure.layout.title.text
    far = swept({"C": [1, 2], "k": range(8)}, lambda params, _: params["k"] ** 20 + params["C"])
    assert (
        "outliers are at the end of the last axis"
        in figures.parallel_coordinates(far, "loss").layout.title.text
    )


def test_a_seed_is_no_axis() -> None:
    """What only repeats a configuration is no axis, unless nothing else differs; dark is said to be best."""
    results = swept({"C": [1, 2], "data/Seed": [0, 1], "fold": [0, 1]}, lambda params, _: params["C"])
    figure = figures.parallel_coordinates(results, "loss")
    assert axes_of(figure)[:-1] == ["<b>C</b>"]
    assert "8 tasks, coloured by the rank of their value: dark is best" in figure.layout.title.text
    figure = figures.parallel_coordinates(swept({"seed": range(3)}, lambda *_: 1.0), "loss")
    assert axes_of(figure)[:-1] == ["<b>seed</b>"]


def test_parallel_coordinates_of_one_task() -> None:
    """Where no parameter differs, the figure says so."""
    figure = figures.parallel_coordinates(swept([{"C": 1}], lambda *_: 1.0), "loss")
    assert "no parameter differs" in figure.layout.annotations[0].text


def test_what_parallel_coordinates_are_made_of() -> None:
    """The ticks of the last axis are to its right, those of the others to their left."""
    found = row_values([{"C": 1, "k<": "a<"}, {"C": 2, "k<": "b"}], lambda params: params["C"] / 2)
    figure = parallel_coordinates_figure(found, "loss", "max", "a note")
    assert figure["data"][1] == {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [0, 1, 2],
        "y": [1.0, 1.0, 1.0],
        "line": {"color": "#440154", "width": 2},
        "marker": {"size": 4, "color": "#440154"},
        "opacity": 1.0,
        "name": 'C=2,"k&lt;"=b',
        "hovertext": '<b>C=2,"k&lt;"=b</b><br>C = 2<br>k&lt; = b',
        "hovertemplate": "%{hovertext}<br>loss = 1<extra></extra>",
        "showlegend": False,
    }
    layout = figure["layout"]
    assert layout["title"]["text"].startswith("Parameters and loss<br>")
    assert notes_of(layout) == ["a note; 2 tasks, coloured by the rank of their value: dark is best"]
    assert layout["xaxis"]["range"] == [-0.35, pytest.approx(2.35)]
    assert layout["xaxis"]["tickvals"] == [0, 1, 2]
    assert layout["xaxis"]["ticktext"] == ["<b>C</b>", "<b>k&lt;</b>", "<b>loss</b>"]
    ticks = [(one["x"], one["y"], one["text"], one["xanchor"]) for one in layout["annotations"]]
    assert ticks == [
        (0, 0.0, "1", "right"),
        (0, 1.0, "2", "right"),
        (1, 0.0, "a&lt;", "right"),
        (1, 1.0, "b", "right"),
        (2, 0.0, "0.5", "left"),
        (2, 1.0, "1", "left"),
    ]
    assert {one["xshift"] for one in layout["annotations"]} == {-5, 5}


@pytest.mark.parametrize(("mode", "values"), [("min", [2, 1, 0]), ("max", [0, 1, 2]), (None, [0, 1, 2])])
def test_the_best_line_is_on_top(mode: Mode | None, values: list[int]) -> None:
    found = row_values([{"C": at} for at in range(3)], lambda params: params["C"])
    lines = parallel_coordinates_figure(found, "loss", mode)["data"]
    assert [line["name"] for line in lines] == [f"C={value}" for value in values]
    assert (lines[0]["line"]["color"], lines[-1]["line"]["color"]) == ("#6ece58", "#440154")


@pytest.mark.parametrize(("tasks", "width", "opacity"), [(30, 2, 1.0), (31, 1.2, 0.75)])
def test_many_lines_are_thin(tasks: int, width: float, opacity: float) -> None:
    found = row_values([{"C": at} for at in range(tasks)], lambda params: params["C"])
    line = parallel_coordinates_figure(found, "loss", None)["data"][0]
    assert (line["line"]["width"], line["opacity"]) == (width, opacity)


@pytest.mark.parametrize(
    ("places", "tasks", "first"),
    [
        (2, 2, 0.0),  # nobody meets
        (2, 3, -0.05),
        (8, 9, -0.05),
        (11, 12, -0.035),
        (14, 15, -0.0269),
        (15, 16, 0.0),
    ],
)
def test_lines_are_spread_where_few_places_are_shared(places: int, tasks: int, first: float) -> None:
    """By at most a twentieth of the axis, and so that those of two places stay apart."""
    found = row_values(
        [{"C": f"c{at % places:02}", "k": at} for at in range(tasks)], lambda params: params["k"]
    )
    assert parallel_coordinates_figure(found, "loss", None)["data"][0]["y"][0] == first


@pytest.mark.parametrize(("parameters", "axes"), [(12, 12), (13, 12)])
def test_twelve_parameters_have_an_axis(parameters: int, axes: int) -> None:
    found = row_values(
        [{f"p{name:02}": at for name in range(parameters)} for at in range(3)], lambda params: params["p00"]
    )
    layout = parallel_coordinates_figure(found, "loss", None)["layout"]
    assert len(layout["xaxis"]["ticktext"]) == axes + 1
    assert any("that explain most" in note for note in notes_of(layout)) == (parameters > 12)


def test_ticks_do_not_overlap() -> None:
    """One that is less than a 25th of the axis above another is left out."""
    found = row_values([{"C": at} for at in (0, 3.9, 4, 100)], lambda params: params["C"])
    layout = parallel_coordinates_figure(found, "loss", None)["layout"]
    assert [one["text"] for one in layout["annotations"] if one["x"] == 0] == ["0", "4", "100"]


@pytest.mark.parametrize(("note", "text"), [("", "no task has a value"), ("a", "no task has a value; a")])
def test_no_lines(note: str, text: str) -> None:
    figure = parallel_coordinates_figure([], "loss", None, note)
    assert (figure["data"], figure["layout"]["annotations"][0]["text"]) == ([], text)
    same = parallel_coordinates_figure(row_values([{"C": 1}] * 2, lambda _: 1.0), "loss", None, note)
    assert same["layout"]["annotations"][0]["text"].startswith("no parameter differs between the tasks")
