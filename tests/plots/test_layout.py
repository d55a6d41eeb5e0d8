"""What figures share: notes below the title, hover texts, axes that leave outliers out."""

from __future__ import annotations

from typing import Any

import pytest

from clearml_taskgroup._plots.layout import (
    MAX_LINES,
    add_note,
    base_layout,
    category_axis,
    drawn_lines,
    evenly_spaced,
    hover_text,
    limit_y_axis,
    lines_text,
    notes_of,
    rounded,
    skipped_note,
    spread_text,
    title_by,
)


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
