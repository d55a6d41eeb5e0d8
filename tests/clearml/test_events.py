"""API events."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from clearml_taskgroup._clearml import events
from clearml_taskgroup._clearml.events import plot_event, titled
from clearml_taskgroup._model.name_template import Name


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


# --- scalars and text --------------------------------------------------------------------------


@pytest.mark.parametrize(("iteration", "stored"), [(0, 0), (7, 7), (None, -(2**31))])
def test_a_scalar_as_an_event(iteration: int | None, stored: int) -> None:
    """A single value has an iteration that no other has; any name may be one."""
    start = events.scalar_event_start("t", Name('a "title"', "se\\ries"))
    event = json.loads(f"{start}0.5{events.scalar_event_end(iteration, 1234)}")
    name = {"metric": 'a "title"', "variant": "se\\ries"}
    kind = {"type": "training_stats_scalar", "task": "t", **name, "value": 0.5}
    assert event == {**kind, "iter": stored, "timestamp": 1234}
    assert events.as_point(stored, 0.5) == (iteration, 0.5)


def test_the_iterations_that_a_server_takes() -> None:
    """Without that of single values; the highest is that of 64 bits."""
    assert (events.FIRST_ITERATION, events.LAST_ITERATION) == (-(2**31) + 1, 2**63 - 1)


def test_a_single_value_as_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 5_999_999)
    assert events.now() == 5
    event = json.loads(events.single_value_event("t", "best", 1e-30))
    assert (event["metric"], event["variant"], event["iter"]) == ("Summary", "best", -(2**31))
    assert (event["value"], event["timestamp"]) == (1e-30, 5)


def test_text_for_the_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its level and time, or those of now."""
    monkeypatch.setattr(time, "time_ns", lambda: 5_999_999)
    event = json.loads(events.console_event("t", "words", "ERROR", 0))
    assert event.pop("worker")
    assert event == {"type": "log", "task": "t", "timestamp": 0, "level": "ERROR", "msg": "words"}
    event = json.loads(events.console_event("t", "words"))
    assert (event["level"], event["timestamp"]) == ("INFO", 5)


@pytest.mark.parametrize("line", [b"", b"{torn", b'{"type": "log"}', b"5", b"[" * 100_000])
def test_a_line_without_events(line: bytes) -> None:
    """Cut short or edited; what is no event in a line is skipped."""
    assert events.events_in(line) == []
    assert events.events_in('[{"type": "log"}, 5, null]') == [{"type": "log"}]


POINT: dict[str, Any] = {
    "type": "training_stats_scalar",
    "metric": "loss",
    "variant": "val",
    "iter": 1,
    "value": 2,
}


@pytest.mark.parametrize(
    ("changed", "is_point"),
    [
        ({}, True),
        ({"value": 0.5}, True),
        ({"type": "log"}, False),
        ({"metric": None}, False),
        ({"variant": 5}, False),
        ({"iter": 1.0}, False),
        ({"iter": None}, False),
        ({"value": "2"}, False),
        ({"value": None}, False),
    ],
)
def test_what_is_a_data_point(changed: dict[str, object], is_point: bool) -> None:
    """A scalar with all that belongs to one."""
    assert events.is_point({**POINT, **changed}) is is_point


def test_the_curves_of_events() -> None:
    """Of the names that are asked for, in the order of arrival; a single value has no iteration."""
    stored: list[dict[str, Any]] = [
        {**POINT, "iter": 5},
        {**POINT, "metric": "other"},
        {"type": "log"},
        {**POINT, "iter": 3, "value": 4},
        {**POINT, "metric": "Summary", "variant": "best", "iter": -(2**31)},
    ]
    loss, best, none = Name("loss", "val"), Name("Summary", "best"), Name("a", "b")
    assert events.curves_of(stored, [loss, best, none]) == {
        loss: [(5, 2), (3, 4)],
        best: [(None, 2)],
        none: [],
    }
    assert events.curves_of(stored, []) == {}


def test_a_plot_as_an_event() -> None:
    event = json.loads(plot_event("t", "title", "series", {"data": []}))
    assert (event["type"], event["task"], event["iter"]) == ("plot", "t", 0)
    assert (event["metric"], event["variant"]) == ("title", "series")
    assert isinstance(event["timestamp"], int)
