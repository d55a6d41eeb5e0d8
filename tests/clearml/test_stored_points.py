"""Data points as a server stores them: read, and sent again under another name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clearml_taskgroup._clearml import curves, stored_points
from clearml_taskgroup._clearml.api import Transport
from clearml_taskgroup._clearml.api_errors import Refused
from clearml_taskgroup._clearml.events import SINGLE_VALUE_ITERATION
from clearml_taskgroup._clearml.stored_points import StoredPoint, is_counted, stored_event
from clearml_taskgroup._model.name_template import Name
from tests.loopback import LoopbackServer
from tests.support.stored_tasks import create

LOSS, OTHER = Name("loss", "val"), Name("accuracy", "val")


def test_points_are_copied_with_their_times(loopback: LoopbackServer, transport: Transport) -> None:
    """What is read and sent again under another name is the same; a name without points is empty."""
    task = create(transport)
    points = {2: StoredPoint(0.5, 1000, "w"), 1: StoredPoint(0.7, 2000, "w")}
    single = {SINGLE_VALUE_ITERATION: StoredPoint(3.0, 4000, "w")}
    best = Name("Summary", "best")
    events = [stored_event(task, LOSS, at, point) for at, point in points.items()]
    stored_points.send_events(transport, [*events, stored_event(task, best, *next(iter(single.items())))])
    found = stored_points.read_stored(transport, task, [LOSS, best, OTHER, LOSS])
    assert found == {LOSS: points, best: single, OTHER: {}}
    assert list(found[LOSS]) == [1, 2]
    copies = [stored_event(task, OTHER, at, point) for at, point in found[LOSS].items()]
    for _ in range(2):
        stored_points.send_events(transport, copies)
    assert stored_points.read_stored(transport, task, [OTHER]) == {OTHER: points}
    assert loopback.scalars(task)[OTHER] == [(1, 0.7), (2, 0.5)]
    document = loopback.task(task)
    entries = stored_points.last_metrics(document)
    assert set(entries) == {LOSS, best, OTHER}
    assert is_counted(entries[LOSS], found[LOSS])


def test_an_event_has_what_is_known_of_its_point() -> None:
    """Zero is known, None is not."""
    event = {"type": "training_stats_scalar", "task": "t", "metric": "loss", "variant": "val", "value": 0.0}
    assert stored_event("t", LOSS, None, StoredPoint(0.0, None)) == event
    assert stored_event("t", LOSS, 0, StoredPoint(0.0, 0.0, "w")) == {
        **event,
        "iter": 0,
        "timestamp": 0.0,
        "worker": "w",
    }


class Server:
    """Takes the place of a transport to a server that gives these answers; notes what it is sent."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers, self.sent = list(answers), list[Any]()

    def call(self, action: str, body: Any = None, lines: Any = None, **options: Any) -> Any:
        """Gives the next answer."""
        self.sent.append(dict(body) if lines is None else lines)
        return self.answers.pop(0)


def point(iteration: int, value: float | None = 0.5) -> dict[str, Any]:
    """A data point, as a server gives it."""
    return {"metric": "loss", "variant": "val", "iter": iteration, "value": value}


def test_a_server_that_repeats_a_page_is_asked_for_smaller_ones() -> None:
    """Once; then it does not give all of them. Points without a value are skipped."""
    repeats = {"events": [point(0)], "total": 2, "scroll_id": "s"}
    whole = {"events": [point(0, None), point(1)], "total": 2}
    server: Any = Server(repeats, repeats, whole)
    assert stored_points.read_stored(server, "t", [LOSS]) == {LOSS: {1: StoredPoint(0.5, None)}}
    sizes = [body["batch_size"] for body in server.sent]
    assert sizes == [curves.MAX_PAGE_POINTS, curves.MAX_PAGE_POINTS, curves.MAX_PAGE_POINTS * 2 // 3]
    server = Server(*[repeats] * 4)
    with pytest.raises(Refused, match="does not give all of its data points"):
        stored_points.read_stored(server, "t", [LOSS])


@pytest.mark.parametrize(("count", "requests"), [(0, []), (1, [1]), (3, [3]), (4, [3, 1])])
def test_events_are_sent_in_requests_of_bounded_size(
    monkeypatch: pytest.MonkeyPatch, count: int, requests: list[int]
) -> None:
    monkeypatch.setattr(stored_points, "MAX_SENT_POINTS", 3)
    server: Any = Server(*({"added": size} for size in requests))
    events = [stored_event("t", LOSS, n, StoredPoint(0.5, None)) for n in range(count)]
    stored_points.send_events(server, events)
    assert [len(lines) for lines in server.sent] == requests
    assert [json.loads(line) for lines in server.sent for line in lines] == events


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"added": 1, "errors_info": {"too old": 1}}, "took 1 of 2 data points: too old"),
        ({"added": None}, "took 0 of 2 data points: no reason given"),
    ],
)
def test_points_that_a_server_does_not_take_are_told(answer: dict[str, Any], problem: str) -> None:
    server: Any = Server(answer)
    with pytest.raises(Refused, match=problem):
        stored_points.send_events(server, [point(0), point(1)])


@pytest.mark.parametrize(
    ("entry", "counted"),
    [
        (None, False),
        ({"min_value": 1.0, "max_value": 3.0}, True),
        ({"min_value": 1.0, "max_value": 2.0}, False),
        ({"min_value": 0.0, "max_value": 3.0}, False),
    ],
)
def test_whether_a_document_s_statistics_are_those_of_a_curve(entry: Any, counted: bool) -> None:
    assert is_counted(entry, {n: StoredPoint(float(n), None) for n in (2, 1, 3)}) is counted


def test_a_document_without_metrics() -> None:
    assert stored_points.last_metrics({}) == stored_points.last_metrics({"last_metrics": None}) == {}
