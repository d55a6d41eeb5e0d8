"""What figures share: notes below the title, hover texts, axes that leave outliers out."""

from __future__ import annotations

from typing import Any

import pytest

from clearml_taskgroup import TaskGroup, figures
from clearml_taskgroup._plots.colours import DARK_IS_BEST, ORANGE_IS_BEST, Ranks
from clearml_taskgroup._plots.curves import curves_figure
from clearml_taskgroup._plots.layout import (
    MAX_LINES,
    add_note,
    base_layout,
    category_axis,
    colour_bar,
    drawn_lines,
    empty_figure,
    evenly_spaced,
    hover_text,
    join_sentences,
    limit_y_axis,
    lines_text,
    notes_of,
    rank_colour_bar,
    rounded,
    row_hover_text,
    skipped_note,
    spread_text,
    task_hover,
    title_by,
)
from clearml_taskgroup._plots.parallel_coordinates import parallel_coordinates_figure
from clearml_taskgroup._results.rows import Curve, Mode
from tests.support.figures import METRICS, row_of, row_values, swept, words_of


def test_notes_are_lines_below_the_title() -> None:
    """A note goes into the last line if that has at most 80 characters then; each line takes room."""
    layout = base_layout("a & b", ["x" * 40])
    assert notes_of(base_layout("a")) == notes_of({}) == []
    for note, lines in (
        ("y" * 40, ["x" * 40 + "; " + "y" * 40]),
        ("<z>", ["x" * 40 + "; " + "y" * 40, "&lt;z&gt;"]),
        ("z" * 71, ["x" * 40 + "; " + "y" * 40, "&lt;z&gt;; " + "z" * 71]),
        ("z", ["x" * 40 + "; " + "y" * 40, "&lt;z&gt;; " + "z" * 71, "z"]),
    ):
        add_note(layout, note)
        assert notes_of(layout) == lines
        assert layout["title"]["text"] == f"a &amp; b<br><sub>{'<br>'.join(lines)}</sub>"
        assert layout["margin"]["t"] == 52 + 16 * len(lines)


@pytest.mark.parametrize(
    ("names", "title"),
    [
        (("C",), "loss[split=val] by C"),
        (("C", "seed"), "loss[split=val] by C and seed"),
        (("optimizer.schedule.warmup_epochs.x",), "loss[split=val] by …timizer.schedule.warmup_epochs.x"),
        (("optimizer.learning_rate", "model.depth"), "loss[split=val] by …learning_rate and model.depth"),
    ],
)
def test_titles_are_short(names: tuple[str, ...], title: str) -> None:
    """The start of a parameter's name is left out where a title has no room for all of it."""
    assert title_by("loss[split=val]", *names) == title


def test_hover_texts() -> None:
    """The name, then a line for each of the first 14 parameters."""
    params = {f"p{at}": at for at in range(14)}
    assert hover_text("a<b", {"C": 1, "m": "x&y"}) == "<b>a&lt;b</b><br>C = 1<br>m = x&amp;y"
    assert hover_text("a", params).endswith("p12 = 12<br>p13 = 13")
    assert hover_text("a", params | {"q": 1, "r": 2}).endswith("p13 = 13<br>and 2 more")
    assert hover_text("n" * 81, {"x" * 51: "y" * 51}) == f"<b>{'n' * 79}…</b><br>{'x' * 49}… = {'y' * 49}…"


def test_texts_of_numbers() -> None:
    assert (spread_text([1.0]), skipped_note(0)) == ("1 task", "")
    assert spread_text([1.0, 2.0]) == "± 0.707 (std), n = 2, 1 … 2"
    assert skipped_note(1) == "without 1 task (failed, stopped or no value)"
    assert rounded([1.23456789, 2.0]) == [1.23457, 2.0]


def test_names_of_categories() -> None:
    """Texts are in their order and whole; long ones have a shorter form at the tick."""
    axis = category_axis(["b", "a", "x" * 29])
    assert axis["categoryarray"] == ["b", "a", "x" * 29]
    assert axis["labelalias"] == {"x" * 29: "x" * 27 + "…"}
    assert axis["range"] == [-0.5, 2.5]


def figure_of(ys: list[float]) -> dict[str, Any]:
    return {"data": [{"y": [*ys, None]}], "layout": base_layout("loss")}


def test_the_axis_leaves_outliers_out() -> None:
    """It has a margin of a twentieth; without outliers it is plotly's own."""
    figure = figure_of([1.0, 2.0, 3.0])
    limit_y_axis(figure, [1.0, 2.0, 3.0])
    assert "range" not in figure["layout"]["yaxis"]
    values = [*map(float, range(21)), 1e9]
    figure = figure_of(values)
    limit_y_axis(figure, values)
    assert figure["layout"]["yaxis"]["range"] == [-1.0, 21.0]
    assert figure["data"][0]["y"] == [*values, None]
    assert notes_of(figure["layout"]) == ["some values are outside of the axis: a double click shows them"]


def test_values_too_far_away_are_drawn_nearer() -> None:
    values = [*map(float, range(21)), -3e38, 3e38]
    figure = figure_of(values)
    limit_y_axis(figure, values)
    assert figure["data"][0]["y"] == [*values[:-2], -2e13, 2e13 + 20, None]
    assert notes_of(figure["layout"])[-1] == "those beyond 2e+13 are drawn there"


def test_of_too_many_lines_some_are_drawn() -> None:
    """The best 500, which are last, and 500 others at even distances, the first and last among them."""
    assert drawn_lines(range(MAX_LINES)) == list(range(1000))
    drawn = drawn_lines(range(2000))
    assert drawn[500:] == list(range(1500, 2000))
    assert (len(drawn), drawn[0], drawn[499]) == (1000, 0, 1499)
    assert evenly_spaced([0, 1, 2, 3, 4], 3) == [0, 2, 4]
    assert lines_text(1000, "tasks") == "1,000 tasks"
    assert lines_text(1001, "tasks") == "1,001 tasks (drawn: the best 500 and 500 others)"


@pytest.mark.parametrize(("tasks", "some"), [(1000, ""), (1001, " (drawn: the best 500 and 500 others)")])
def test_of_very_many_lines_the_best_are_drawn(tasks: int, some: str) -> None:
    """Of more than 1,000 the best 500 and 500 others, the worst among them; the note says so."""
    found = row_values([{"C": at} for at in range(tasks)], lambda params: params["C"])
    curves = [Curve(row, (0,), (value,)) for row, value in found]
    for figure in (curves_figure(curves, "loss", "min"), parallel_coordinates_figure(found, "loss", "min")):
        lines = [trace["name"] for trace in figure["data"] if "name" in trace]
        assert (lines[0], lines[-500], lines[-1], len(lines)) == (f"C={tasks - 1}", "C=499", "C=0", 1000)
        assert notes_of(figure["layout"])[0].startswith(f"{tasks:,} tasks{some}, coloured")


def test_values_that_plotly_cannot_place() -> None:
    """Beyond 1e12 heights of the axis, values are drawn there, in curves and boxes, and that is said."""
    results = swept({"C": range(30)}, lambda params, _: 3e38 if params["C"] == 3 else 1 + params["C"] / 100)
    for figure in (figures.curves(results, "loss"), figures.box(results, "loss", by="C")):
        assert max(max(trace.y) for trace in figure.data if trace.y[0] is not None) < 1e13
        assert "are drawn there" in figure.layout.title.text
    assert "3e+38" in words_of(figures.box(results, "loss", by="C"))


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


def test_the_look_is_a_template() -> None:
    """Another one of plotly takes its place."""
    figure = figures.curves(swept({"C": [1, 2]}, lambda *_: 1.0), "loss")
    assert figure.layout.template.layout.plot_bgcolor == "#ffffff"
    figure.update_layout(template="plotly_dark")
    assert figure.layout.template.layout.plot_bgcolor != "#ffffff"
    assert figure.layout.plot_bgcolor is None


def test_where_title_and_axes_are() -> None:
    layout = base_layout("a", x="x" * 51, y="y" * 35)
    assert (layout["title"]["x"], layout["title"]["y"], layout["title"]["yref"]) == (0.01, 1, "container")
    assert layout["margin"]["t"] == 56
    assert layout["xaxis"]["title"]["text"] == "…" + "x" * 49
    assert layout["yaxis"]["title"]["text"] == "…" + "y" * 33


def test_an_empty_figure_says_why() -> None:
    figure = empty_figure("a", join_sentences("b<", "", "c"))
    assert figure["data"] == []
    (note,) = figure["layout"]["annotations"]
    assert (note["text"], note["x"], note["y"], note["showarrow"]) == ("b&lt;; c", 0.5, 0.5, False)
    assert not figure["layout"]["xaxis"]["visible"]
    assert not figure["layout"]["yaxis"]["visible"]


@pytest.mark.parametrize(
    ("status", "name"),
    [("completed", "C=1"), ("failed", "C=1 (failed)"), ("in_progress", "C=1 (in progress)")],
)
def test_hover_texts_of_tasks(status: str, name: str) -> None:
    """They are made once."""
    row = row_of({"C": 1}, status=status)
    assert row_hover_text(row) == f"<b>{name}</b><br>C = 1"
    row._texts["hover"] = "known"
    assert task_hover([(row, 1 / 3)], "a<") == {
        "hovertext": ["known"],
        "customdata": ["0.33333"],
        "hovertemplate": "%{hovertext}<br>a&lt; = %{customdata}<extra></extra>",
    }


@pytest.mark.parametrize(
    ("mode", "ranks", "text", "low"),
    [
        ("min", DARK_IS_BEST, "dark is best", "#440154"),
        ("max", DARK_IS_BEST, "dark is best", "#6ece58"),
        (None, ORANGE_IS_BEST, "orange is greatest", "#8fb3cf"),
    ],
)
def test_a_colour_bar_of_ranks(mode: Mode | None, ranks: Ranks, text: str, low: str) -> None:
    """It has the values at the quartiles, and is all that its trace draws."""
    trace = rank_colour_bar([5.0, 1.0, 2.0, 3.0, 4.0, 9.0], "a<", mode, ranks)
    bar = trace["marker"]["colorbar"]
    assert bar["ticktext"] == ["1", "2", "3", "5", "9"]
    assert bar["title"]["text"] == f"a&lt;<br>{text}"
    assert bar["outlinewidth"] == 0
    assert bar | {"tickvals": 0, "ticktext": 0} == colour_bar("a<", mode, ranks) | {
        "tickvals": 0,
        "ticktext": 0,
    }
    marker = trace["marker"]
    assert (marker["color"], marker["cmin"], marker["cmax"], marker["showscale"]) == ([0], 0, 1, True)
    assert marker["colorscale"][0] == [0, low]
    assert (trace["x"], trace["y"], trace["showlegend"]) == ([None], [None], False)


@pytest.mark.parametrize(
    ("label", "names", "title"),
    [
        ("l" * 26, ("n" * 22,), f"{'l' * 26} by {'n' * 22}"),
        ("l" * 27, ("n" * 23,), f"{'l' * 25}… by …{'n' * 21}"),
        ("l" * 20, ("n" * 20, "m" * 3), f"{'l' * 20} by {'n' * 20} and mmm"),
        ("l" * 20, ("n" * 21, "m" * 3), f"{'l' * 20} by …{'n' * 11} and mmm"),
        ("l" * 10, ("n" * 20, "m" * 20), f"{'l' * 10} by …{'n' * 15} and …{'m' * 15}"),
    ],
)
def test_room_of_titles(label: str, names: tuple[str, ...], title: str) -> None:
    assert title_by(label, *names) == title


@pytest.mark.parametrize(
    ("values", "ends"), [([*range(10, 31), 1e9], [9.0, 31.0]), ([-1e9, *range(21)], [-1.0, 21.0])]
)
def test_outliers_of_either_side(values: list[float], ends: list[float]) -> None:
    figure = figure_of(values)
    limit_y_axis(figure, values)
    assert figure["layout"]["yaxis"]["range"] == ends


@pytest.mark.parametrize("far", [-2.01e13, 2.01e13 + 20])
def test_how_far_away_values_are_drawn(far: float) -> None:
    """Up to 1e12 axis heights as they are; on either side."""
    for value, drawn in ((far, False), (far / 2, True)):
        values = [*map(float, range(21)), value]
        figure = figure_of(values)
        limit_y_axis(figure, values)
        assert (figure["data"][0]["y"] == [*values, None]) is drawn
