"""API events."""

from __future__ import annotations

import json

import pytest

from clearml_taskgroup._clearml.events import plot_event, titled


@pytest.mark.parametrize(
    ("layout", "title"),
    [
        ({}, "series"),
        (None, "series"),
        ({"title": None}, "series"),
        ({"title": ""}, "series"),
        ({"title": {}}, "series"),
        ({"title": {"text": None}}, "series"),
        ({"title": "a <b> & c"}, "a <b> & c"),
        ({"title": {"text": "loss &lt;b&gt; by C"}}, "loss <b> by C"),
        ({"title": {"text": "loss<br><sub>one<br/>two</sub>"}}, "loss – one – two"),
    ],
)
def test_a_plot_always_has_a_title_that_the_web_page_can_draw(layout: object, title: str) -> None:
    assert titled({"data": [], "layout": layout}, "series")["layout"]["title"] == title
    event = json.loads(plot_event("id", "metric", "series", {"data": [], "layout": layout}))
    assert json.loads(event["plot_str"])["layout"]["title"] == title


def test_the_rest_of_a_plot_stays() -> None:
    figure = {"data": [1], "layout": {"title": {"text": "a"}, "width": 5}, "frames": []}
    assert titled(figure, "series") == {"data": [1], "layout": {"title": "a", "width": 5}, "frames": []}
    assert figure["layout"] == {"title": {"text": "a"}, "width": 5}
