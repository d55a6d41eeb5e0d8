"""Reading curves from a server: the values that were sent, with few calls."""

from __future__ import annotations

import math
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml import curves, login
from clearml_taskgroup._clearml.api import Transport
from clearml_taskgroup._clearml.curves import read_curves
from clearml_taskgroup._clearml.events import Curves
from clearml_taskgroup._model.name_template import Name
from clearml_taskgroup._results import history
from tests.loopback import LoopbackServer
from tests.loopback.faults import refusal
from tests.support.server_view import View

TITLES, STEPS = 30, 4
BULK, ALONE = "events.get_task_events", "events.scalar_metrics_iter_raw"


def value(metric: int, step: int) -> float:
    """A number that a float of 32 bits cannot hold."""
    return metric + step / 10 + 1e-9


def expected() -> Curves:
    """What `wide` logs."""
    found: Curves = {
        Name(f"m{metric}", split): [(step, value(metric, step)) for step in range(STEPS)]
        for metric in range(TITLES)
        for split in ("train", "val")
    }
    found[Name("Summary", "best/value")] = [(None, 0.1)]
    return found


def wide(project: str) -> TaskGroup:
    """A group with one task of 61 names and a line in its console; some values were sent twice."""
    with TaskGroup(project, "wide", mode="online", provenance=False, capture="console") as group:
        with group.task({"C": 1}) as task:
            print("a line")
            for step in range(STEPS):
                for split in ("train", "val"):
                    task.report({f"m{m}": value(m, step) for m in range(TITLES)}, step, split=split)
            task.report({"m3": value(3, 0)}, 0, split="val")
            task.report({"best": 0.1})
    return group


def names() -> list[Name]:
    """The names of `wide`, and one that it does not have."""
    return [*expected(), Name("nothing", "at all")]


def test_many_titles_are_read_with_one_call(loopback: LoopbackServer) -> None:
    """Every value as it was sent; what nobody logged has no points."""
    (task,) = wide("curves")
    transport, before = Transport(login.connect()), loopback.count(ALONE)
    found = read_curves(transport, {task.id: names()})[task.id]
    assert found == {**expected(), Name("nothing", "at all"): []}
    assert (loopback.count(BULK), loopback.count(ALONE) - before) == (1, 0)


@pytest.mark.quick(1)
@pytest.mark.parametrize("size", [7, 200])
def test_pages_and_parts_are_joined(server: View, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """However many titles and points fit into one call."""
    (task,) = wide(server.project)
    server.scalars(task.id, TITLES * STEPS * 2 + 1)
    monkeypatch.setattr(curves, "MAX_PAGE_POINTS", size)
    monkeypatch.setattr(curves, "MAX_TITLES", 4)
    found = read_curves(server.transport, {task.id: names()})[task.id]
    assert found == {**expected(), Name("nothing", "at all"): []}


@pytest.mark.quick(1)
@pytest.mark.parametrize("fault", ["refused", "same page", "no total"])
def test_without_the_call_titles_are_read_alone(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Version 2.3.0 has faults in the call for many titles, and older ones answer it differently."""
    (task,) = wide("curves")
    real, asked = Transport.call, list[str]()

    def call(self: Transport, action: str, body: Any = None, **options: Any) -> dict[str, Any]:
        asked.append(action)
        if action != BULK or fault == "refused":
            return real(self, action, body, **options)
        data = real(self, action, {**body, "scroll_id": None, "batch_size": 5}, **options)
        return data if fault == "same page" else {**data, "total": None}

    if fault == "refused":
        loopback.faults.fail_next(BULK, kind="answer", status=500, times=9, body=refusal(500))
    monkeypatch.setattr(Transport, "call", call)
    found = read_curves(Transport(login.connect()), {task.id: names()})[task.id]
    assert found == {**expected(), Name("nothing", "at all"): []}
    assert asked.count(ALONE) == TITLES + 2


@pytest.mark.parametrize(("size", "alone"), [(5, 0), (3, 2)])
def test_long_curves_are_read_alone(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch, size: int, alone: int
) -> None:
    """Where one call for each title is fewer than one for each page."""
    (task,) = wide("curves")
    transport, before = Transport(login.connect()), loopback.count(ALONE)
    monkeypatch.setattr(curves, "MAX_PAGE_POINTS", size)
    found = read_curves(transport, {task.id: [Name("m1", "val"), Name("m2", "val")]})[task.id]
    assert found == {name: expected()[name] for name in (Name("m1", "val"), Name("m2", "val"))}
    assert loopback.count(ALONE) - before == alone


def test_means_of_many_names_take_few_calls(
    loopback: LoopbackServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The exact values of the run, on a machine that has no log of it; a line says how far reading is."""
    group = wide("curves")
    live = group.results().to_records()[0]
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "another machine"))
    monkeypatch.setattr(history, "LOG_INTERVAL_S", 0.0)
    monkeypatch.setattr(history, "CURVES_AT_A_TIME", 40)
    loaded = TaskGroup.load("curves", "wide")
    before = loopback.count(BULK), loopback.count(ALONE)
    (record,) = loaded.with_means().to_records()
    for metric in range(TITLES):
        for split in ("train", "val"):
            column = f"m{metric}[split={split}]"
            mean = math.fsum(value(metric, step) for step in range(STEPS)) / STEPS
            exact = pytest.approx(mean, rel=1e-15)
            assert (record[f"{column}.mean"], record[f"{column}.count"]) == (exact, STEPS)
            assert record[f"{column}.last_iteration"] == live[f"{column}.last_iteration"] == STEPS - 1
            assert live[f"{column}.mean"] == exact
    assert (record["best.mean"], record["best.count"], record["best.last_iteration"]) == (0.1, 1, None)
    assert (loopback.count(BULK) - before[0], loopback.count(ALONE) - before[1]) == (2, 0)
    assert "reading curves: 40 of " in caplog.text
    loaded.with_means()  # all is known
    assert loopback.count(BULK) - before[0] == 2


# --- with a transport in place of a server -------------------------------------------------------


class Server:
    """Takes the place of a transport to a server that gives these answers; notes what it is asked."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, Any], dict[str, Any]]] = []

    def call(self, action: str, body: dict[str, Any], **options: Any) -> Any:
        """Gives the next answer, or raises it."""
        self.asked.append((action, dict(body), options))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def events(*iterations: int | None, title: str = "a", value: float | None = 1.0) -> list[dict[str, Any]]:
    """Data points of one name."""
    return [{"metric": title, "variant": "x", "iter": at, "value": value} for at in iterations]


def read_page_by_page(server: Any, most: int | None = None) -> Any:
    """Reads the points of one name, two on each page; gives the iterations, or None."""
    points = curves.read_points(server, "t", {"a": ["x"]}, 2, lambda event: event["value"], most)
    return None if points is None else [iteration for _, iteration in points]


@pytest.mark.parametrize(
    ("answers", "most", "found"),
    [
        ([{"events": [], "total": 0}], None, []),
        ([{"events": events(0, 1), "total": 2}], None, [0, 1]),
        ([{"events": events(0, 1), "total": 2}], 2, [0, 1]),
        ([{"events": events(0, 1), "total": 2}], 1, None),
        ([{"events": events(0)}], 2, None),
        (
            [{"events": events(0, 1), "total": 3, "scroll_id": "s"}, {"events": events(2), "total": 3}],
            None,
            [0, 1, 2],
        ),
        ([{"events": events(0, 1), "total": 3, "scroll_id": "s"}] * 2, None, None),
        ([{"events": events(0, 1), "total": 3}], None, None),
        ([{"events": events(0)}], None, [0]),
        ([{"events": events(0, 1), "scroll_id": "s"}, {"events": []}], None, [0, 1]),
    ],
)
def test_pages_of_points(answers: list[Any], most: int | None, found: list[int] | None) -> None:
    """Until there are as many as the server says, or a page is not full; a page that comes again ends it."""
    server: Any = Server(*answers)
    assert read_page_by_page(server, most) == found
    assert not server.answers
    action, first, _ = server.asked[0]
    assert action == BULK
    assert first == {
        "task": "t",
        "metrics": [{"metric": "a", "variants": ["x"]}],
        "event_type": "training_stats_scalar",
        "order": "asc",
        "batch_size": 2,
        "count_total": True,
    }
    assert [body.get("scroll_id") for _, body, _ in server.asked[1:]] == ["s"] * (len(answers) - 1)


@pytest.mark.parametrize(
    ("count", "parts"), [(0, []), (1, [1]), (200, [200]), (201, [200, 1]), (400, [200, 200])]
)
def test_titles_are_asked_for_in_parts(count: int, parts: list[int]) -> None:
    """Each name once, in the given order."""
    names = [Name(f"{n}", series) for n in range(count) for series in ("x", "y", "x")]
    found = list(curves.divided(names))
    assert [len(part) for part in found] == parts
    assert all(series == ["x", "y"] for part in found for series in part.values())
    assert [title for part in found for title in part] == [f"{n}" for n in range(count)]


def test_points_without_a_value_or_an_iteration_are_no_points_of_a_curve() -> None:
    """The rest is in the order of iterations; one refusal of the call is enough."""
    page = [
        *events(3, 1, title="a"),
        *events(None, title="a"),
        *events(2, title="b", value=None),
        *events(0, title="b"),
    ]
    server: Any = Server({"events": page, "total": 5})
    found = read_curves(server, {"t": [Name("a", "x"), Name("b", "x")]})
    assert found == {"t": {Name("a", "x"): [(1, 1.0), (3, 1.0)], Name("b", "x"): [(0, 1.0)]}}
    assert server.asked[0][2] == {"attempts_on_500": 1}
    assert server.asked[0][1]["batch_size"] == curves.MAX_PAGE_POINTS


@pytest.mark.parametrize(
    ("more", "calls"),
    [
        ({}, 1),
        ({"returned": 3, "scroll_id": ""}, 1),
        ({"returned": 2, "scroll_id": "s"}, 1),
        ({"returned": None, "scroll_id": "s"}, 1),
        ({"returned": 3, "scroll_id": "s"}, 2),
    ],
)
def test_one_title_is_read_until_a_page_is_not_full(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], calls: int
) -> None:
    """One title alone is read by its own call, with all of its series."""
    monkeypatch.setattr(curves, "MAX_TITLE_POINTS", 3)
    page = {"variants": {"x": {"iter": [0, 1], "y": [0.5, 0.6]}}}
    server: Any = Server({**page, **more}, {"variants": {"x": {"iter": [2], "y": [0.7]}}})
    found = read_curves(server, {"t": [Name("a", "x"), Name("a", "z")]})
    points = [(0, 0.5), (1, 0.6), (2, 0.7)]
    assert found == {"t": {Name("a", "x"): points[: 1 + calls], Name("a", "z"): []}}
    assert [action for action, _, _ in server.asked] == [ALONE] * calls
    first = {"task": "t", "metric": {"metric": "a", "variants": ["x", "z"]}, "key": "iter", "batch_size": 3}
    assert server.asked[0][1] == first
    assert calls == 1 or server.asked[1][1] == {**first, "scroll_id": "s"}
