"""Figures for ClearML's page: its own look, a plain title, and notes as an annotation."""

from __future__ import annotations

from typing import Any

import pytest

from clearml_taskgroup._plots.layout import base_layout
from clearml_taskgroup._plots.web_page import web_figure

NOTE = {
    "showarrow": False,
    "align": "left",
    "font": {"size": 11},
    "xref": "paper",
    "yref": "paper",
    "x": 0,
    "xanchor": "left",
}


def figure_of(*notes: str, **layout: Any) -> dict[str, Any]:
    return {"data": [{"type": "scatter"}], "layout": base_layout("a <title>", notes) | layout}


def test_the_page_has_a_look_of_its_own() -> None:
    """Neither template nor title are taken; what the figure is given stays as it is."""
    figure = figure_of()
    layout = web_figure(figure, "a <b>")["layout"]
    assert (layout["title"], layout["width"]) == ("a <b>", 800)
    assert "template" not in layout
    assert "annotations" not in layout
    assert layout["margin"] == {"l": 64, "r": 24, "t": 62, "b": 60}
    assert figure == figure_of()
    assert web_figure({"data": [], "layout": {}}, "t") == {
        "data": [],
        "layout": {"title": "t", "width": 800},
    }


def test_notes_are_above_the_plot() -> None:
    """The figure's own come first, each in lines of its own; other annotations stay."""
    figure = figure_of("one", annotations=[{"text": "tick"}])
    layout = web_figure(figure, "t", ["two " * 40])["layout"]
    lines = ["one", " ".join(["two"] * 30), " ".join(["two"] * 10)]
    note = NOTE | {"text": "<br>".join(lines), "y": 1, "yanchor": "bottom"}
    assert layout["annotations"] == [{"text": "tick"}, note]
    assert layout["margin"]["t"] == 62 + 3 * 15
    assert figure["layout"]["annotations"] == [{"text": "tick"}]


@pytest.mark.parametrize("word", ["x" * 130, "x-" * 65])
def test_long_words_are_whole(word: str) -> None:
    assert web_figure(figure_of(), "t", [word])["layout"]["annotations"][0]["text"] == word


def test_a_legend_has_room_below() -> None:
    assert web_figure(figure_of(showlegend=True), "t")["layout"]["margin"]["b"] == 110


@pytest.mark.parametrize(("lines", "below"), [(1, 30 / 358), (10, 165 / 358), (20, 0.5)])
def test_notes_of_a_table_are_below_it(lines: int, below: float) -> None:
    """They take at most half of its height; the page sets the margin."""
    table = {"data": [{"type": "table", "cells": 1}], "layout": {}}
    figure = web_figure(table, "t", ["note"] * lines)
    text = "<br>".join(["note"] * lines)
    assert figure["data"] == [{"type": "table", "cells": 1, "domain": {"y": [below, 1]}}]
    assert figure["layout"]["annotations"] == [NOTE | {"text": text, "y": below, "yanchor": "top"}]
    assert "margin" not in figure["layout"]
    assert web_figure(table, "t")["data"] == table["data"]


def test_notes_of_an_empty_figure() -> None:
    layout = web_figure({"data": [], "layout": {}}, "t", ["note"])["layout"]
    assert (layout["annotations"][0]["y"], layout["annotations"][0]["yanchor"]) == (1, "bottom")
