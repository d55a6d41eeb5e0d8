"""ClearML's line plot as plotly's JSON."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup._clearml.line_plot import line_plot

LINE = {"name": "a", "data": [[0, 1], [1, 4]], "labels": ["x", "y"]}


def plot(*lines: Any, **options: Any) -> dict[str, Any]:
    """A plot of these lines."""
    defaults = {"xaxis": "step", "yaxis": "loss", "mode": "lines", "reverse_xaxis": False, "comment": None}
    return line_plot(lines, **{**defaults, "extra_layout": None, **options})


@pytest.mark.parametrize("line", [LINE, SimpleNamespace(**LINE)])
def test_a_line_is_a_trace(line: Any) -> None:
    """As a dict or as ClearML's own object."""
    trace = {"type": "scatter", "mode": "lines", "name": "a", "x": [0, 1], "y": [1, 4], "text": ["x", "y"]}
    assert plot(line) == {
        "data": [trace],
        "layout": {"xaxis": {"title": "step"}, "yaxis": {"title": "loss"}},
    }


def test_labels_are_optional_and_lines_keep_their_order() -> None:
    data = plot({"name": "a", "data": [[0, 1]]}, {"name": "b", "data": [[0, 2]]})["data"]
    assert [(trace["name"], trace["text"], trace["y"]) for trace in data] == [
        ("a", None, [1]),
        ("b", None, [2]),
    ]


@pytest.mark.parametrize("data", [[1, 2], [[1, 2, 3]], [[1]], [[[1, 2]]]])
def test_other_data_are_refused(data: Any) -> None:
    with pytest.raises(ValueError, match=r"rows of x and y; the shape \(.*\) was given"):
        plot({"name": "a", "data": data})


def test_axis_and_comment() -> None:
    layout = plot(reverse_xaxis=True, comment="by hand")["layout"]
    assert layout["xaxis"] == {"title": "step", "autorange": "reversed"}
    (note,) = layout["annotations"]
    assert note == {
        "text": "by hand",
        "showarrow": False,
        "xref": "paper",
        "yref": "paper",
        "x": 0.5,
        "y": 1,
        "yanchor": "bottom",
    }
    assert "annotations" in plot(comment="")["layout"]


def test_more_of_a_layout_is_added_to_what_there_is() -> None:
    """A dict to a dict; anything else replaces it."""
    extra = {"xaxis": {"type": "log"}, "yaxis": "none", "showlegend": False}
    layout = plot(extra_layout=extra)["layout"]
    assert layout == {"xaxis": {"title": "step", "type": "log"}, "yaxis": "none", "showlegend": False}
