"""Figures: what they show of a group's tasks, and that plotly takes them."""

from __future__ import annotations

import builtins
import math
import random
from collections.abc import Iterator
from typing import Any

import pytest

from clearml_taskgroup import Metric, Results, TaskGroup, figures
from clearml_taskgroup._plots.colours import PALETTE, line_style
from clearml_taskgroup._plots.curves import MAX_CURVE_POINTS, MAX_LEGEND_LINES, curves_figure, downsample
from clearml_taskgroup._plots.scatter import points_figure
from clearml_taskgroup._results.rows import Curve, Mode
from clearml_taskgroup.errors import (
    AmbiguousResultError,
    ArgumentError,
    MissingExtraError,
    NoSuchParameterError,
    NoSuchResultError,
)
from clearml_taskgroup.testing import recording

METRICS: list[str | Metric] = [
    Metric("loss", mode="min", unit="nats"),
    Metric("accuracy", mode="max"),
    "f1",
    "time",
]


@pytest.fixture(autouse=True)
def backend() -> Iterator[None]:
    """Keeps in memory what the test's groups log."""
    with recording():
        yield


def swept(space: Any, value: Any, steps: int = 3, **ends: str) -> Results:
    """A sweep that reports `loss` at each step; `ends` says how the tasks of some places end."""
    with TaskGroup("digits", "sweep", metrics=METRICS) as group:
        for at, task in enumerate(group.tasks(space)):
            for step in range(steps):
                task.report({"loss": value(task.params, step)}, step, split="val")
            if f"at_{at}" in ends:
                getattr(task, f"mark_{ends[f'at_{at}']}")("no memory")
    return group.results()


def lines_of(figure: Any) -> list[Any]:
    """The traces that are lines, without bands and colour bars."""
    return [trace for trace in figure.data if trace.line.width and trace.hovertemplate]


def words_of(figure: Any) -> str:
    """All of the figure as text."""
    return str(figure.to_json())


def axes_of(figure: Any) -> list[str]:
    """What is below the axes of parallel coordinates."""
    return list(figure.layout.xaxis.ticktext)


def grid(params: dict[str, Any], step: int) -> float:
    """A loss that falls with the step."""
    return float(params["C"] + 0.1 * params["seed"] - 0.1 * step)


# --- curves


def test_few_curves_have_their_own_colour_dash_and_name() -> None:
    """Each task is a line with all of its points; no two look alike, and the axis has the unit."""
    results = swept({"C": range(MAX_LEGEND_LINES)}, lambda params, step: params["C"] / (step + 1))
    figure = figures.curves(results, "loss")
    lines = lines_of(figure)
    assert [line.name for line in lines] == [row.name for row in results]
    assert list(lines[6].x) == [0, 1, 2]
    assert list(lines[6].y) == [6.0, 3.0, 2.0]
    assert len({(line.line.color, line.line.dash) for line in lines}) == MAX_LEGEND_LINES
    assert {line.line.color for line in lines} == set(PALETTE)
    assert figure.layout.yaxis.title.text == "loss[split=val] (nats)"
    assert figure.layout.showlegend


def test_the_legend_is_in_the_order_of_the_last_values() -> None:
    """The best one is first, if it is known what is better; each has the same style in all figures."""
    results = swept({"C": [3, 1, 2]}, lambda params, _: params["C"])
    styles = {}
    orders: list[tuple[Mode, list[int]]] = [("min", [1, 2, 3]), ("max", [3, 2, 1])]
    for mode, expected in orders:
        lines = lines_of(figures.curves(results, "loss", mode=mode))
        assert [line.name for line in lines] == [f"C={C}" for C in expected]
        styles[mode] = {line.name: line.line.color for line in lines}
    assert styles["min"] == styles["max"]
    with TaskGroup("digits", "unknown") as group:
        for task in group.tasks({"C": [3, 1, 2]}):
            task.report({"heat": task.params["C"]}, 1)
    lines = lines_of(figures.curves(group.results(), "heat"))
    assert [line.name for line in lines] == ["C=3", "C=1", "C=2"]


def test_line_styles() -> None:
    """A dash where the palette is used up; 42 lines have 42 styles."""
    styles = list(map(line_style, range(42)))
    assert [dash for _, dash in styles[:8]] == ["solid"] * 7 + ["dash"]
    assert len(set(styles)) == 42


def test_many_curves_are_coloured_by_the_rank_of_their_last_value() -> None:
    """200 tasks have thin lines without a legend, the best drawn last, and a colour bar of values."""
    results = swept({"C": range(200)}, lambda params, step: params["C"] + 1 / (step + 1))
    figure = figures.curves(results, "loss")
    lines = lines_of(figure)
    assert len(lines) == 200
    assert [line.y[-1] for line in lines] == sorted((line.y[-1] for line in lines), reverse=True)
    assert len({line.line.color for line in lines}) > 150
    assert not figure.layout.showlegend
    (bar,) = [trace for trace in figure.data if trace.marker.showscale]
    quartiles = ("0.3333", "50.33", "100.3", "149.3", "199.3")
    assert bar.marker.colorbar.ticktext == quartiles
    assert (bar.marker.cmin, bar.marker.cmax, bar.marker.colorbar.tickvals) == (0, 1, (0, 0.25, 0.5, 0.75, 1))
    assert "C = 7" in next(line for line in lines if "<b>C=7</b>" in line.hovertext).hovertext


def test_of_very_many_lines_the_best_are_drawn() -> None:
    """Of 1,100 tasks the best 500 are drawn and 500 others, the worst among them; the note says so."""
    results = swept({"C": range(1100)}, lambda params, _: params["C"], steps=2)
    for figure in (figures.curves(results, "loss"), figures.parallel_coordinates(results, "loss")):
        lines = [trace for trace in figure.data if trace.hovertext]
        assert [trace.hovertext[3:7] for trace in (lines[0], lines[-500], lines[-1])] == [
            "C=10",
            "C=49",
            "C=0<",
        ]
        assert len(lines) == 1000
        assert "1,100 tasks (drawn: the best 500 and 500 others)" in figure.layout.title.text


def test_an_outlier_takes_neither_the_colours_nor_the_axis() -> None:
    """A diverged task leaves the other 29 readable: the axis ends before it, and says so."""
    results = swept({"C": range(30)}, lambda params, _: 1e9 if params["C"] == 3 else 1 + params["C"] / 100)
    figure = figures.curves(results, "loss")
    assert figure.layout.yaxis.range[1] < 2
    assert "outside of the axis" in figure.layout.title.text
    assert len({line.line.color for line in lines_of(figure)}) > 20


def test_values_that_plotly_cannot_place() -> None:
    """Beyond 1e12 heights of the axis, values are drawn there, in curves and boxes, and that is said."""
    results = swept({"C": range(30)}, lambda params, _: 3e38 if params["C"] == 3 else 1 + params["C"] / 100)
    for figure in (figures.curves(results, "loss"), figures.box(results, "loss", by="C")):
        assert max(max(trace.y) for trace in figure.data if trace.y[0] is not None) < 1e13
        assert "are drawn there" in figure.layout.title.text
    assert "3e+38" in words_of(figures.box(results, "loss", by="C"))


def test_failed_tasks_are_grey_and_dotted() -> None:
    """A failed or stopped task is drawn apart, without colour and legend, and the figure says it."""
    results = swept({"C": [0, 1, 2]}, lambda params, _: params["C"], at_0="failed", at_2="stopped")
    figure = figures.curves(results, "loss")
    assert [(line.line.dash, line.showlegend) for line in lines_of(figure)] == [
        ("dot", False),
        ("dot", False),
        ("solid", True),
    ]
    assert "2 tasks that failed or stopped" in figure.layout.title.text
    assert "(failed)" in words_of(figure)


def test_means_have_a_band_of_one_std() -> None:
    """With `over`, each configuration is its mean, with ± the sample standard deviation around it."""
    results = swept({"C": [1, 2], "seed": range(3)}, grid)
    figure = figures.curves(results, "loss", over="seed")
    first, second = lines_of(figure)
    assert (first.name, second.name) == ("C=1", "C=2")
    assert list(first.y) == pytest.approx([1.1, 1.0, 0.9])
    assert list(first.customdata) == ["± 0.1, n = 3"] * 3
    bands = [trace for trace in figure.data if trace.fill == "toself"]
    assert list(bands[0].y) == pytest.approx([1.2, 1.1, 1.0, 0.8, 0.9, 1.0])
    assert "mean ± std over seed" in figure.layout.title.text


def test_equal_curves_have_no_band() -> None:
    results = swept({"C": [1], "seed": range(3)}, lambda params, step: 0.4)
    figure = figures.curves(results, "loss", over="seed")
    assert len(figure.data) == 1
    assert list(lines_of(figure)[0].customdata) == ["± 0, n = 3"] * 3
    box = figures.box(swept({"C": [1, 2], "seed": range(3)}, lambda params, step: 0.4), "loss", by="C")
    assert len(box.data) == 2


def test_means_count_who_is_that_far() -> None:
    """A task counts between its first and last iteration, also between two points; failed ones do not."""
    with TaskGroup("digits", "sweep", metrics=METRICS) as group:
        short, sparse, failed = group.tasks({"seed": [0, 1, 2]})
        for step in (0, 1):
            short.report({"loss": 1.0}, step)
        for step in (0, 2, 3):
            sparse.report({"loss": 3.0 + step}, step)
        failed.report({"loss": 100.0}, 0)
        failed.mark_failed()
    figure = figures.curves(group.results(), "loss", over="seed")
    (line,) = lines_of(figure)
    assert list(line.x) == [0, 1, 2, 3]
    assert list(line.y) == [2.0, 2.5, 5.0, 6.0]
    assert [text.rpartition(" ")[2] for text in line.customdata] == ["2", "2", "1", "1"]
    assert (line.customdata[0], line.customdata[-1]) == ("± 1.41, n = 2", "n = 1")
    assert "without 1 task that failed or stopped" in figure.layout.title.text


def test_many_configurations_have_no_bands() -> None:
    """More configurations than have a place in a legend are means alone, coloured by their last."""
    results = swept({"C": range(40), "seed": [0, 1]}, grid)
    figure = figures.curves(results, "loss", over=["seed"])
    assert len(lines_of(figure)) == 40
    assert not [trace for trace in figure.data if trace.fill == "toself"]
    assert "<br>%{customdata}" in lines_of(figure)[0].hovertemplate


def test_one_task_with_one_point() -> None:
    """A single point is a marker, which can be seen."""
    figure = figures.curves(swept([{"C": 1}], lambda *_: 0.5, steps=1), "loss")
    (trace,) = figure.data
    assert (trace.mode, list(trace.y)) == ("markers", [0.5])


def test_single_values_have_no_curve() -> None:
    """A metric without iterations is an error that says which figure there is for it."""
    with TaskGroup("digits", "sweep") as group:
        group.task({"C": 1}).report({"f1": 0.5})
    with pytest.raises(ArgumentError, match=r"reported with iterations.*figures\.box"):
        figures.curves(group.results(), "f1")


def test_long_curves_are_thinned_but_keep_their_peaks() -> None:
    """200 points are drawn of 10,000, among them the ends and the one spike."""
    results = swept([{"C": 1}], lambda _, step: 50.0 if step == 4321 else 1.0, steps=10_000)
    (line,) = lines_of(figures.curves(results, "loss"))
    assert len(line.x) <= MAX_CURVE_POINTS
    assert (line.x[0], line.x[-1]) == (0, 9999)
    assert (4321, 50.0) in zip(line.x, line.y, strict=True)


def test_curves_as_plain_data() -> None:
    """The plain form takes any curves, also none, and leaves out what is no number."""
    (row,) = swept([{"C": 1}], lambda *_: 1.0, steps=1)
    figure = curves_figure([Curve(row, (2, 1, None, 3), (2.0, 1.0, 9.0, math.nan))], "loss", None)
    assert (figure["data"][0]["x"], figure["data"][0]["y"]) == ([1, 2], [1.0, 2.0])
    assert "no task has values" in curves_figure([], "loss", None)["layout"]["annotations"][0]["text"]


# --- parameters


def random_search(count: int = 60) -> Results:
    """Tasks with parameters of all kinds."""
    space = [
        {
            "lr": 10 ** -(1 + at % 37 / 10),
            "optimizer": ["adam", "sgd"][at % 2],
            "depth": [2, None, 5][at % 3],
            "augment": at % 4 == 0,
            "layers": [[64], [64, 32]][at % 2],
            "dataset": "digits",
            **({"momentum": 0.9 + at / 1000} if at % 2 else {}),
        }
        for at in range(count)
    ]
    return swept(space, lambda params, _: abs(math.log10(params["lr"]) + 3) + params["augment"], steps=1)


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


@pytest.mark.parametrize(("metric", "expected"), [("loss", "dark is best"), ("time", "dark is greatest")])
def test_a_colour_bar_says_what_is_dark(metric: str, expected: str) -> None:
    with TaskGroup("digits", "sweep", metrics=METRICS) as group:
        for task in group.tasks({"C": [1, 2], "width": [8, 16, 64], "k": range(3)}):
            task.report({metric: float(task.params["C"])}, 1)
    results = group.results()
    drawn = [
        figures.heat_map(results, metric),
        figures.scatter(results, metric),
        figures.curves(results, metric),
    ]
    traces = [figure.to_dict()["data"][-1] for figure in drawn]
    bars = [trace.get("marker", trace)["colorbar"] for trace in traces]
    assert [bar["title"]["text"].partition("<br>")[2] for bar in bars] == [expected] * 3


@pytest.mark.parametrize(("mode", "lowest"), [("min", "#440154"), ("max", "#6ece58")])
def test_dark_is_best(mode: Mode, lowest: str) -> None:
    """Lines, markers and cells have one scale, from pale to dark, whose dark end is at the best value."""
    results = swept({"C": range(14), "k": [0, 1]}, lambda params, _: params["C"] + params["k"] / 4)
    heat = figures.heat_map(results, "loss", mode=mode).data[0]
    marker = figures.scatter(results, "loss", mode=mode).data[0].marker
    for scale in (heat.colorscale, marker.colorscale):
        assert [place for place, _ in scale] == [at / 7 for at in range(8)]
        assert scale[0 if mode == "min" else 7][1] == "#440154"
        assert scale[7 if mode == "min" else 0][1] == "#6ece58"
    for draw in (figures.curves, figures.parallel_coordinates):
        figure = draw(results, "loss", mode=mode)
        lines = [trace for trace in figure.data if trace.hovertext]
        assert next(line.line.color for line in lines if "<b>C=0,k=0</b>" in line.hovertext) == lowest
        assert lines[-1].line.color == "#440154"


def test_doubling_integers_have_ticks_of_their_own() -> None:
    """Their axis is logarithmic, and its ticks are the values."""
    results = swept({"width": [8, 16, 64], "C": [1, 2]}, lambda params, _: params["C"])
    axis = figures.scatter(results, "loss", x="width", y="C").layout.xaxis
    assert (axis.type, axis.tickvals) == ("log", (8, 16, 64))


def test_parallel_coordinates_of_one_task() -> None:
    """Where no parameter differs, the figure says so."""
    figure = figures.parallel_coordinates(swept([{"C": 1}], lambda *_: 1.0), "loss")
    assert "no parameter differs" in figure.layout.annotations[0].text


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


def test_heat_map_chooses_the_parameters_that_tell_most() -> None:
    """Without x and y those two are taken that explain most of the values."""
    space = {"seed": range(4), "C": [1, 2, 3], "width": [8, 16], "dataset": ["digits"]}
    results = swept(space, lambda p, _: 10 * p["C"] + p["width"] + 0.001 * p["seed"])
    figure = figures.heat_map(results, "loss")
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("C", "width")
    other = figures.heat_map(results, "loss", x="seed")
    assert (other.layout.xaxis.title.text, other.layout.yaxis.title.text) == ("seed", "C")


@pytest.mark.parametrize(("columns", "rows", "has_numbers"), [(12, 20, True), (13, 1, False), (1, 21, False)])
def test_large_heat_maps_have_no_numbers(columns: int, rows: int, has_numbers: bool) -> None:
    space = {"C": [f"c{at}" for at in range(columns)], "k": [f"k{at}" for at in range(rows)]}
    (trace,) = figures.heat_map(swept(space, lambda *_: 1.0, steps=1), "loss", x="C", y="k").data
    assert bool(trace.texttemplate) is has_numbers


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


def test_the_look_is_a_template() -> None:
    """Another one of plotly takes its place."""
    figure = figures.curves(swept({"C": [1, 2]}, lambda *_: 1.0), "loss")
    assert figure.layout.template.layout.plot_bgcolor == "#ffffff"
    figure.update_layout(template="plotly_dark")
    assert figure.layout.template.layout.plot_bgcolor != "#ffffff"
    assert figure.layout.plot_bgcolor is None


@pytest.mark.parametrize("of", ["first", "last", "min", "max", "mean"])
def test_of(of: Any) -> None:
    """`of` says which value of each task is drawn, and the label repeats it."""
    results = swept({"C": [1, 2]}, lambda params, step: params["C"] * [4, 1, 7][step])
    figure = figures.box(results, "loss", by="C", of=of)
    expected = {"first": 4, "last": 7, "min": 1, "max": 7, "mean": 4}[of]
    assert [trace.y[0] for trace in figure.data] == [expected, 2 * expected]
    assert figure.layout.yaxis.title.text == ("" if of == "last" else f"{of} of ") + "loss[split=val] (nats)"


# --- errors


def test_what_is_not_there() -> None:
    """Unknown parameters and metrics are named, with those that there are."""
    results = swept({"C": [1, 2], "seed": [0]}, lambda *_: 1.0)
    with pytest.raises(ArgumentError, match=r"by='D' was given.*parameters C, seed"):
        figures.box(results, "loss", by="D")
    with pytest.raises(ArgumentError, match=r"over='fold' was given.*C, seed"):
        figures.curves(results, "loss", over="fold")
    with pytest.raises(NoSuchParameterError, match=r"y='sed' was given.*did you mean 'seed'"):
        figures.heat_map(results, "loss", y="sed")
    with pytest.raises(ArgumentError, match=r"x='D' was given.*C, seed"):
        figures.heat_map(results, "loss", x="D")
    with pytest.raises(ArgumentError, match=r"two parameters that differ; there are C"):
        figures.scatter(results, "loss")
    with pytest.raises(NoSuchResultError, match="accuracy"):
        figures.box(results, "accuracy", by="C")


def test_only_failed_tasks() -> None:
    """Where nobody counts, figures of values are an error."""
    results = swept({"C": [1]}, lambda *_: 1.0, at_0="failed")
    with pytest.raises(NoSuchResultError):
        figures.box(results, "loss", by="C")


def test_several_contexts() -> None:
    """A metric under several contexts asks which is meant."""
    with TaskGroup("digits", "sweep") as group:
        task = group.task({"C": 1})
        for split in ("train", "val"):
            task.report({"loss": 1.0}, 1, split=split)
    with pytest.raises(AmbiguousResultError):
        figures.curves(group.results(), "loss")
    assert len(lines_of(figures.curves(group.results(), "loss", split="val"))) == 1


@pytest.mark.parametrize("function", figures.__all__)
def test_without_plotly(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without plotly, each function says what to install."""
    found = builtins.__import__

    def refused(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("plotly"):
            raise ImportError(name)
        return found(name, *args, **kwargs)

    results = swept({"C": [1, 2]}, lambda *_: 1.0)
    arguments = {"by": "C"} if function == "box" else {}
    monkeypatch.setattr(builtins, "__import__", refused)
    with pytest.raises(MissingExtraError, match=rf"figures\.{function}\(\) needs plotly.*\[figures\]"):
        getattr(figures, function)(results, "loss", **arguments)


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


def test_thinning() -> None:
    """Of each part the least and the greatest value are kept, and the ends; short curves are whole."""
    ys = [(-1.0) ** x * x for x in range(26)]
    kept = [0, *(5, 6), *(11, 12), *(17, 18), *(23, 24), 25]
    assert downsample(range(26), ys, 10) == (kept, [ys[x] for x in kept])
    assert downsample([1, 2, 3, 4], [1.0, 5.0, 2.0, 3.0], 4) == ([1, 2, 3, 4], [1.0, 5.0, 2.0, 3.0])


@pytest.mark.filterwarnings("ignore::clearml_taskgroup.errors.NonFiniteWarning")
def test_why_there_is_nothing_to_draw() -> None:
    """All tasks diverged, or failed."""
    with TaskGroup("digits", "diverged") as group:
        for task in group.tasks({"lr": [1, 2]}):
            task.report({"loss": 1.0}, 0)
            task.report({"loss": float("nan")}, 1)
    with pytest.raises(NoSuchResultError, match=r"for loss; it diverged in 2 tasks \(lr=1, lr=2\)[^;]*; of="):
        figures.scatter(group.results(), "loss", x="lr")
    with TaskGroup("digits", "failed") as failed:
        for task in failed.tasks({"lr": [1, 2]}):
            task.report({"loss": 1.0}, 0)
            task.mark_failed("out of memory")
    with pytest.raises(NoSuchResultError, match=r"that of 2 tasks that failed or stopped .* does not count"):
        figures.scatter(failed.results(), "loss", x="lr")


# --- what matters, and a search over time --------------------------------------------------------


def test_importance() -> None:
    """A bar per parameter that differs, the one that explains most on top; the rest has about none."""
    results = swept({"C": [1, 2, 3], "seed": range(4), "same": [1]}, lambda params, step: params["C"] ** 3)
    found = results.importance("loss", split="val")
    assert [(row.parameter, row.values) for row in found] == [("C", 3), ("seed", 4)]
    assert found[0].importance == pytest.approx(1)
    assert found[1].importance == 0
    assert "C          1.00        3" in repr(found)
    assert found.to_records()[1] == {"parameter": "seed", "importance": 0.0, "values": 4}
    figure = figures.importance(results, "loss", of="max")
    assert list(figure.data[0].y) == list(figure.layout.yaxis.categoryarray) == ["seed", "C"]
    assert figure.data[0].x[1] == pytest.approx(1)
    assert "max of loss" in words_of(figure)
    few = results.where(C=1)
    assert [row.importance for row in few.importance("loss")] == [0]  # all values are equal
    assert "only 4 tasks" in repr(few.importance("loss"))
    assert "no parameter differs" in repr(results[:1].importance("loss"))
    assert figures.importance(results[:1], "loss").data == ()
    with pytest.raises(NoSuchResultError):
        results.importance("f1")


def study(values: list[float | str]) -> Results:
    """Trials as Optuna's; a text is the reason of a task that was stopped after two data points."""
    with TaskGroup("digits", "study", metrics=METRICS) as group:
        for at, value in enumerate(values):
            task = group.task({"x": at}, name=f"trial-{at:04}", key=f"{at:012x}")
            for step in range(2):
                task.report({"loss": 9.0 if isinstance(value, str) else value}, step)
            if isinstance(value, str):
                task.mark_stopped(value)
    return group.results()


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


def test_pruned_curves_are_visible() -> None:
    """They end in a cross, unlike those of tasks that failed or were stopped."""
    figure = figures.curves(study([3.0, "pruned at step 1", "by somebody"]), "loss")
    pruned = next(line for line in lines_of(figure) if line.name == "trial-0001")
    assert (list(pruned.marker.symbol), list(pruned.marker.size)) == (["circle", "x"], [0, 7])
    assert pruned.line.dash is None
    stopped = next(line for line in lines_of(figure) if line.name == "trial-0002")
    assert stopped.line.dash == "dot"
    assert "thin, to a cross: 1 pruned task" in words_of(figure)
