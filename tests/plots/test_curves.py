"""Curves: a line per task, or means with bands; which have a legend, and what is left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup, figures
from clearml_taskgroup._plots.colours import GREY, PALETTE, PRUNED
from clearml_taskgroup._plots.curves import (
    MAX_CURVE_POINTS,
    MAX_LEGEND_LINES,
    compact_curve,
    curves_figure,
    downsample,
)
from clearml_taskgroup._plots.layout import notes_of
from clearml_taskgroup._results.rows import Curve, Mode
from tests.support.figures import METRICS, grid, lines_of, row_of, study, swept, words_of


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


def test_an_outlier_takes_neither_the_colours_nor_the_axis() -> None:
    """A diverged task leaves the other 29 readable: the axis ends before it, and says so."""
    results = swept({"C": range(30)}, lambda params, _: 1e9 if params["C"] == 3 else 1 + params["C"] / 100)
    figure = figures.curves(results, "loss")
    assert figure.layout.yaxis.range[1] < 2
    assert "outside of the axis" in figure.layout.title.text
    assert len({line.line.color for line in lines_of(figure)}) > 20


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


def test_pruned_curves_are_visible() -> None:
    """They end in a cross, unlike those of tasks that failed or were stopped."""
    figure = figures.curves(study([3.0, "pruned at step 1", "by somebody"]), "loss")
    pruned = next(line for line in lines_of(figure) if line.name == "trial-0001")
    assert (list(pruned.marker.symbol), list(pruned.marker.size)) == (["circle", "x"], [0, 7])
    assert pruned.line.dash is None
    stopped = next(line for line in lines_of(figure) if line.name == "trial-0002")
    assert stopped.line.dash == "dot"
    assert "thin, to a cross: 1 pruned task" in words_of(figure)


def test_thinning() -> None:
    """Of each part the least and the greatest value are kept, and the ends; short curves are whole."""
    ys = [(-1.0) ** x * x for x in range(26)]
    kept = [0, *(5, 6), *(11, 12), *(17, 18), *(23, 24), 25]
    assert downsample(range(26), ys, 10) == (kept, [ys[x] for x in kept])
    assert downsample(range(5), ys[:5], 5) == ([0, 1, 2, 3, 4], ys[:5])
    assert downsample(range(6), ys[:6], 5) == ([0, 3, 4, 5], [0.0, -3.0, 4.0, -5.0])


def curve_of(ys: Sequence[float], xs: Sequence[int | None] = (), **options: Any) -> Curve:
    """A curve of a task with `C=0`, over 0, 1, 2 … unless `xs` are given."""
    row = row_of(options.pop("params", {"C": 0}), **options)
    return Curve(row, tuple(xs or range(len(ys))), tuple(ys))


def curves_of(count: int, **options: Any) -> list[Curve]:
    """Curves with one data point, the number of the task."""
    return [curve_of([float(at)], params={"C": at}, **options) for at in range(count)]


FAILED: dict[str, Any] = {"status": "failed"}
PRUNED_ROW: dict[str, Any] = {"status": "stopped", "status_reason": "pruned"}


def test_what_a_line_is_made_of() -> None:
    """A line with its points, in the colour of its style; a single one needs no legend."""
    figure = curves_figure([curve_of([2.0, 1.23456789])], "loss", None)
    assert figure["data"] == [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "C=0",
            "x": [0, 1],
            "y": [2.0, 1.23457],
            "line": {"color": PALETTE[0], "width": 2, "dash": "solid"},
            "marker": {"color": PALETTE[0], "size": 6},
            "showlegend": True,
            "hovertext": "<b>C=0</b><br>C = 0",
            "hovertemplate": "%{hovertext}<br>iteration %{x}: loss = %{y:.5g}<extra></extra>",
            "legendgroup": "0",
        }
    ]
    layout = figure["layout"]
    assert (layout["title"]["text"], notes_of(layout), layout["showlegend"]) == ("loss", [], False)
    assert [layout[axis]["title"]["text"] for axis in ("xaxis", "yaxis")] == ["iteration", "loss"]


@pytest.mark.parametrize(("tasks", "has_legend"), [(1, False), (2, True), (12, True), (13, False)])
def test_up_to_twelve_lines_have_a_legend(tasks: int, has_legend: bool) -> None:
    """Those of failed tasks do not count. Names are shortened for a legend only."""
    failed = curve_of([1.0], name="failed", params={"C": 99}, **FAILED)
    figure = curves_figure([*curves_of(tasks, name="x" * 41), failed], "loss", None)
    assert figure["layout"]["showlegend"] is has_legend
    names = [trace["name"] for trace in figure["data"][1:] if trace.get("name")]
    assert names == ([f"C={at}" for at in range(tasks)] if tasks < 13 else ["x" * 41] * tasks)


def test_curves_of_one_task_are_called_by_their_contexts() -> None:
    """In the order given, also if the task failed; one without data points is left out."""
    curves = [curve_of([float(at)] if at != 1 else [], **FAILED) for at in range(3)]
    figure = curves_figure(curves, "loss", "max", names=["a", "b", "c"])
    assert [(trace["name"], trace["y"]) for trace in figure["data"]] == [("a", [0.0]), ("c", [2.0])]
    many = curves_figure(curves_of(13, **FAILED), "loss", "max", names=list("abcdefghijklm"))
    assert notes_of(many["layout"]) == ["13 curves, coloured by the rank of their last value"]


def test_tasks_that_ended_badly_are_counted_apart() -> None:
    pruned, failed = curve_of([2.0, 1.0], **PRUNED_ROW), curve_of([2.0, 1.0], **FAILED)
    figure = curves_figure([failed, pruned, failed], "loss", None)
    assert notes_of(figure["layout"]) == [
        "thin, to a cross: 1 pruned task; grey, dotted: 2 tasks that failed or stopped"
    ]
    grey, cross, _ = figure["data"]
    assert (grey["mode"], grey["showlegend"], cross["showlegend"]) == ("lines", False, False)
    assert grey["line"] == {"color": GREY, "width": 1, "dash": "dot"}
    assert cross["line"] == {"color": PRUNED, "width": 1}
    assert cross["marker"] == {"color": PRUNED, "symbol": ["circle", "x"], "size": [0, 7]}
    assert cross["hovertemplate"] == "%{hovertext}<br>iteration %{x}: %{y:.5g}<extra></extra>"


def test_of_the_failed_tasks_five_hundred_are_drawn() -> None:
    assert len(curves_figure(curves_of(501, **FAILED), "loss", None)["data"]) == 500


@pytest.mark.parametrize(("tasks", "width"), [(50, 1.5), (51, 1)])
@pytest.mark.parametrize(("mode", "order"), [("min", -1), ("max", 1), (None, 1)])
def test_the_best_of_many_lines_is_on_top(tasks: int, width: float, mode: Mode | None, order: int) -> None:
    """The darkest line is drawn last, by rank, whatever the distances are."""
    figure = curves_figure(curves_of(tasks), "loss", mode)
    *lines, _ = figure["data"]
    assert [line["y"][-1] for line in lines] == list(range(tasks))[::order]
    assert {line["line"]["width"] for line in lines} == {width}
    assert [lines[at]["line"]["color"] for at in (0, -1)] == ["#6ece58", "#440154"]
    assert not any(line["showlegend"] for line in lines)
    assert notes_of(figure["layout"]) == [f"{tasks} tasks, coloured by the rank of their last value"]


@pytest.mark.parametrize(("ends", "dtick"), [((0, 5), 1), ((0, 6), None), ((-1, 2), 1), ((-4, 2), None)])
def test_few_iterations_have_a_tick_each(ends: tuple[int, int], dtick: int | None) -> None:
    """The range is that of all lines."""
    curves = [curve_of([0.0, 0.0], xs=(0, ends[1])), curve_of([0.0, 0.0], xs=(ends[0], 1))]
    assert curves_figure(curves, "loss", None)["layout"]["xaxis"].get("dtick") == dtick


@pytest.mark.parametrize("at", [0, 1])
def test_the_axis_shows_the_least_and_greatest_values_of_each_line(at: int) -> None:
    """A first value far from all others does not compress them, whichever side it is on."""
    far = 1e6 if at else -1e6
    curves = [curve_of([float(task), task + 1.0]) for task in range(10)] + [curve_of([far, 1.0])]
    low, high = curves_figure(curves, "loss", None)["layout"]["yaxis"]["range"]
    assert (low, high) == (-0.5, 10.5)


def test_a_curve_is_sorted_and_has_only_what_can_be_drawn() -> None:
    ys = [3.0, 1e150, -1e150, 1.0, 9.0, 2.0]
    figure = curves_figure([curve_of(ys, xs=(3, 4, 5, 1, None, 2))], "loss", None)
    assert (figure["data"][0]["x"], figure["data"][0]["y"]) == ([1, 2, 3], [1.0, 2.0, 3.0])


def test_means_between_data_points() -> None:
    """Values between two data points are interpolated; a mean of one task has no spread."""
    curves = [
        curve_of([0.0, 10.0, 10.0], xs=(10, 20, 40), params={"C": 1, "seed": 0}),
        curve_of([4.0, 5.0], xs=(13, 18), params={"C": 1, "seed": 1}),
    ]
    figure = curves_figure(curves, "loss", None, over="seed")
    band, line = figure["data"]
    assert (line["x"], line["y"]) == ([10, 13, 18, 20, 40], [0.0, 3.5, 6.5, 10.0, 10.0])
    assert line["customdata"] == ["n = 1", "± 0.707, n = 2", "± 2.12, n = 2", "n = 1", "n = 1"]
    assert line["hovertemplate"].endswith("loss = %{y:.5g}<br>%{customdata}<extra></extra>")
    assert band["x"] == [10, 13, 18, 20, 40, 40, 20, 18, 13, 10]
    assert band["y"][:3] == [0.0, 4.20711, 8.62132]
    assert band["y"][-3:] == [4.37868, 2.79289, 0.0]
    assert (band["legendgroup"], band["line"]["width"], band["showlegend"]) == ("0", 0, False)
    assert band["fillcolor"] == "rgba(0,114,178,0.15)"


def test_what_means_are_over() -> None:
    """It is in the title; the notes say who is left out, and how many configurations there are."""
    space = [{"C": C, "seed": seed, "fold": 0} for C in range(13) for seed in (0, 1)]
    curves = [curve_of([1.0, float(params["C"])], params=params) for params in space]
    curves += [curve_of([1.0], params=space[0], **FAILED)] * 2
    layout = curves_figure(curves, "loss", None, over=["seed", "fold"])["layout"]
    assert layout["title"]["text"].startswith("loss, mean ± std over seed, fold<br>")
    assert notes_of(layout) == [
        "without 2 tasks that failed or stopped",
        "13 configurations, coloured by the rank of their last mean",
    ]
    empty = curves_figure(curves[-1:], "loss", None, over="seed")["layout"]["annotations"][0]["text"]
    assert empty == "without 1 task that failed or stopped; no task has values over iterations"


def test_a_long_mean_has_two_hundred_points() -> None:
    (line,) = curves_figure([curve_of([1.0] * 401)], "loss", None, over="seed")["data"]
    assert (len(line["x"]), line["x"][0], line["x"][-1]) == (200, 0, 400)


def test_compact_curves() -> None:
    """The value without an iteration is left out, and of many data points the ends and extremes stay."""
    curve = curve_of([5.0, 1.0, 9.0, 3.0, 2.0, 7.0], xs=(0, 1, 2, 3, 4, None))
    assert compact_curve(curve) == Curve(curve.row, (0, 1, 2, 3, 4), (5.0, 1.0, 9.0, 3.0, 2.0))
    assert compact_curve(curve, 4) == Curve(curve.row, (0, 1, 2, 4), (5.0, 1.0, 9.0, 2.0))
    assert len(compact_curve(curve_of([9.0], xs=(None,)))) == 0
