"""Batches of events → a server: one that is refused costs itself alone."""

from __future__ import annotations

import contextlib
import json
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup._clearml import api, login
from clearml_taskgroup._clearml.api import Transport
from clearml_taskgroup._clearml.api_errors import AnsweredByProxy, Refused, Unreachable
from clearml_taskgroup._clearml.events import Batch, console_event
from clearml_taskgroup._model import limits
from clearml_taskgroup._storage import batch_sender
from clearml_taskgroup._storage.batch_sender import BatchSender, Undecided
from clearml_taskgroup.errors import LoginError
from tests.loopback import LoopbackServer
from tests.support.clock import Clock

ADD = batch_sender.ACTION
TOO_LARGE = 1e39
TOO_FAR = 2**63


@pytest.fixture
def sender(loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchSender]:
    """A sender to the loopback server, whose attempts and pauses take no time."""
    clock = Clock()
    monkeypatch.setattr(api, "time", clock)
    transport = Transport(login.connect(), clock)
    yield BatchSender(transport)
    transport.close()


def new_task(sender: BatchSender, status: str = "in_progress") -> str:
    """Makes a task on the server, which is started or published."""
    body = {"name": "task", "type": "training"}
    task_id = str(sender.transport.call("tasks.create", body, timeout=20)["id"])
    for action in ("started", "completed", "publish")[: 3 if status == "published" else 1]:
        sender.transport.call(f"tasks.{action}", {"task": task_id}, timeout=20)
    return task_id


def point(task_id: str, value: float, iteration: int, series: str = "val") -> str:
    """One scalar as the reporter writes it."""
    return (
        f'{{"type":"training_stats_scalar","task":"{task_id}","metric":"loss","variant":"{series}",'
        f'"value":{value!r},"iter":{iteration},"timestamp":1}}'
    )


def points(task_id: str, count: int, start: int = 0) -> list[str]:
    """Scalars whose values are half their iterations."""
    return [point(task_id, step / 2, step) for step in range(start, start + count)]


def curve(count: int, *missing: int) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """What the server should have of `points`."""
    return {("loss", "val"): [(step, step / 2) for step in range(count) if step not in missing]}


def last_of(loopback: LoopbackServer, task_id: str) -> Any:
    """The value that the server's tables show as the last one."""
    return loopback.last_metrics(task_id)["loss", "val"]["value"]


# --- all is well -------------------------------------------------------------------------------


def test_tasks_are_mixed_in_one_request(loopback: LoopbackServer, sender: BatchSender) -> None:
    """A batch of several tasks is one request, each task's events in order, and is empty after it."""
    tasks = [new_task(sender) for _ in range(3)]
    batch = {task_id: points(task_id, 5) for task_id in tasks}
    expected = [json.loads(line) for events in batch.values() for line in events]
    sender.send(batch)
    (call,) = [call for call in loopback.calls if call.endpoint == ADD]
    assert call.body == expected
    assert batch == {}
    assert [last_of(loopback, task_id) for task_id in tasks] == [2.0] * 3


class Fake:
    """Takes the place of a transport: what a server answers to lines."""

    def __init__(self, answer: Callable[[list[str]], int]) -> None:
        self.answer = answer
        self.closing = threading.Event()
        self.requests: list[list[str]] = []
        self.taken: list[str] = []

    def call(self, action: str, *, lines: Sequence[str], **limits: Any) -> dict[str, Any]:
        """Answers one request."""
        self.requests.append(list(lines))
        return {"added": self.answer(list(lines))}

    def sender(self) -> BatchSender:
        """A sender over this transport."""
        found: Any = BatchSender(self)  # type: ignore[arg-type]
        assert isinstance(found, BatchSender)
        return found


def test_large_batches_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """No request is longer than 8 MiB, and all lines arrive in their order."""
    server = Fake(len)
    batch = {name: [f"{name} {n} {'x' * 100_000}" for n in range(150)] for name in ("a", "b")}
    lines = [line for events in batch.values() for line in events]
    server.sender().send(batch)
    assert batch == {}
    sizes = [len("\n".join(request)) for request in server.requests]
    assert len(sizes) == 4
    assert max(sizes) <= 8 * 1024 * 1024
    assert [line for request in server.requests for line in request] == lines


def test_one_line_that_is_longer_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line longer than a request should be is a request of its own."""
    monkeypatch.setattr(limits, "SENDER_REQUEST_BYTES", 10)
    server = Fake(len)
    server.sender().send({"a": ["1234", "x" * 50, "5678", "9"]})
    assert server.requests == [["1234"], ["x" * 50], ["5678", "9"]]


def test_what_was_delivered_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a batch in several requests, only those that were not taken stay in it."""
    monkeypatch.setattr(limits, "SENDER_REQUEST_BYTES", 10)

    def answer(lines: list[str]) -> int:
        if "c" * 9 in lines:
            raise Unreachable("away")
        return len(lines)

    batch = {"one": ["a" * 9, "b" * 9, "c" * 9], "two": ["d" * 9]}
    with pytest.raises(Unreachable):
        Fake(answer).sender().send(batch)
    assert batch == {"one": ["c" * 9], "two": ["d" * 9]}


class Answers:
    """Takes the place of a transport: answers in turn, and notes what it was given."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[str, Any, dict[str, Any]]] = []
        self.closing: Any = SimpleNamespace(wait=lambda seconds: self.pauses.append(seconds))
        self.pauses: list[float] = []

    def call(self, action: str, lines: Any = None, **options: Any) -> dict[str, Any]:
        self.calls.append((action, lines, options))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    def sender(self) -> BatchSender:
        transport: Any = self
        return BatchSender(transport)


def as_lines(*events: str) -> bytes:
    return "".join(f"{event}\n" for event in events).encode()


@pytest.mark.parametrize("added", [2, 3])
def test_lines_of_the_outbox_are_sent_as_they_are(added: int) -> None:
    """Once; the last scalar of them is what the server is tested with later."""
    server = Answers({"added": added})
    sender = server.sender()
    events = [point("a", 1.0, 1), point("a", 2.0, 2), console_event("a", "text")][:added]
    assert sender.send_lines(as_lines(*events[:1], *events[1:])) == {}
    ((action, lines, options),) = server.calls
    assert (action, lines) == (ADD, as_lines(*events)[:-1])
    assert options == {"timeout": limits.SENDER_TIMEOUT_S, "attempts_on_500": 1, "attempts_on_proxy": 2}
    assert sender._last_accepted == events[1]


def test_without_a_scalar_the_one_before_is_kept() -> None:
    server = Answers({"added": 1}, {"added": 1})
    sender = server.sender()
    sender.send_lines(as_lines(point("a", 1.0, 1)))
    sender.send_lines(as_lines(console_event("a", "text")))
    assert sender._last_accepted == point("a", 1.0, 1)


@pytest.mark.parametrize(
    "answer", [Refused("bad", 400), AnsweredByProxy("page"), {"added": 1}, {"added": None}, {}]
)
def test_lines_that_were_not_all_taken_are_sent_again_as_events(answer: Any) -> None:
    events = [point("a", 1.0, 1), point("b", 2.0, 2)]
    assert Answers(answer).sender().send_lines(as_lines(*events)) == {"a": events[:1], "b": events[1:]}


@pytest.mark.parametrize("error", [Unreachable("away"), LoginError("revoked", "http://server")])
def test_without_a_server_lines_are_sent_again_as_they_are(error: Exception) -> None:
    with pytest.raises(Unreachable):
        Answers(error).sender().send_lines(as_lines(point("a", 1.0, 1)))


def test_lines_of_tasks_that_an_answer_names_are_not_sent_again() -> None:
    """From then on, lines are looked at before they are sent."""
    events = [point("a", 1.0, 1), point("b", 2.0, 2)]
    server = Answers({"added": 1, "errors_info": {"Invalid task id b": 1}})
    sender = server.sender()
    assert sender.send_lines(as_lines(*events)) == {}
    assert (sender.refused_tasks, sender.refused["b"].events) == ({"b"}, 1)
    assert sender.send_lines(as_lines(*events)) == {"a": events[:1], "b": events[1:]}
    assert len(server.calls) == 1


def test_lines_with_a_torn_one_are_looked_at_first() -> None:
    """Not those that only have its mark somewhere in a text."""
    events = [point("a", 1.0, 1), console_event("a", "# a text")]
    server = Answers({"added": 2})
    assert server.sender().send_lines(as_lines(events[0], '{"torn#', events[1])) == {"a": events}
    assert server.calls == []
    assert server.sender().send_lines(as_lines(*events)) == {}


def test_a_single_event_is_tried_three_times_with_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its own time limit; of several events, or after another refusal, there is one attempt."""
    monkeypatch.setattr(random, "uniform", lambda low, high: 1.0)
    broken = Refused("broken", 500)
    server = Answers(broken, broken, {"added": 1})
    batch = {"a": [point("a", 1.0, 1)]}
    server.sender().send(batch)
    assert (batch, server.pauses) == ({}, [0.5, 1.0])
    options = {"timeout": limits.SENDER_TIMEOUT_S, "attempts_on_500": 1, "attempts_on_proxy": 1}
    assert [call[2] for call in server.calls] == [options] * 3
    server = Answers(broken, broken, broken)
    with pytest.raises(Unreachable):
        server.sender().send({"a": [point("a", 1.0, 1)]})
    assert len(server.calls) == batch_sender.MAX_ANSWERS_500
    server = Answers(Refused("odd", 404))
    with pytest.raises(Unreachable):
        server.sender().send({"a": [point("a", 1.0, 1)]})
    assert (len(server.calls), server.pauses) == (1, [])


def test_a_reason_is_kept_short_and_the_first_one() -> None:
    sender = Answers().sender()
    batch = {"a": ["1", "2", "3"]}
    sender._drop({"a": ["2"]}, "x" * 300, batch)
    sender._drop({"a": ["1", "3"]}, "later", batch)
    assert (sender.refused["a"].events, sender.refused["a"].reason, batch) == (3, "x" * 200, {})


def test_parts_are_as_large_as_a_request_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line breaks between the lines."""
    monkeypatch.setattr(limits, "SENDER_REQUEST_BYTES", 9)
    server = Fake(len)
    server.sender().send({"a": ["1234", "5678"], "b": ["90", "12", "345"]})
    assert server.requests == [["1234", "5678"], ["90", "12", "345"]]
    monkeypatch.setattr(limits, "SENDER_REQUEST_BYTES", 8)
    server.requests.clear()
    server.sender().send({"a": ["1234", "5678"]})
    assert server.requests == [["1234"], ["5678"]]


# --- tasks that are refused --------------------------------------------------------------------


@pytest.mark.parametrize("how", ["deleted", "published"])
def test_a_refused_task_is_parked(loopback: LoopbackServer, sender: BatchSender, how: str) -> None:
    """A task that the server does not take events for costs one request nothing, and is sent no more."""
    good = new_task(sender)
    bad = new_task(sender, "published" if how == "published" else "in_progress")
    if how == "deleted":
        sender.transport.call("tasks.delete", {"task": bad, "force": True}, timeout=20)
    sender.send({bad: points(bad, 3), good: points(good, 3)})
    batch = {bad: points(bad, 2, 3), good: points(good, 2, 3)}
    sender.send(batch)
    assert batch == {}
    assert loopback.scalars(good) == curve(5)
    assert last_of(loopback, good) == 2.0
    assert {task_id: refusal.events for task_id, refusal in sender.refused.items()} == {bad: 5}
    assert bad in sender.refused[bad].reason
    first, second = [call for call in loopback.calls if call.endpoint == ADD]
    assert (first.items, second.items) == (6, 2)


def test_refused_tasks_alone_cost_one_request(loopback: LoopbackServer, sender: BatchSender) -> None:
    """Where all tasks of a batch have gone, the server's 400 is believed at once."""
    gone = ["f" * 32, "e" * 32]
    sender.send({task_id: points(task_id, 50) for task_id in gone})
    assert loopback.count(ADD) == 1
    assert {task_id: refusal.events for task_id, refusal in sender.refused.items()} == dict.fromkeys(gone, 50)


# --- events that are refused -------------------------------------------------------------------


@pytest.mark.quick(3)
@pytest.mark.parametrize("at", [0, 7, 19])
@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
@pytest.mark.parametrize("poison", ["value", "iteration"])
def test_a_poisoned_event_costs_itself_alone(
    loopback: LoopbackServer, sender: BatchSender, at: int, first: bool, poison: str
) -> None:
    """An event that the server answers 500 for is found; every other is there, the last one last."""
    one, bad, other = (new_task(sender) for _ in range(3))
    if not first:
        sender.send({one: points(one, 1)})
    batch = {task_id: points(task_id, 20) for task_id in (one, bad, other)}
    batch[bad][at] = point(bad, TOO_LARGE, at) if poison == "value" else point(bad, 1.0, TOO_FAR)
    loopback.reset_counts()
    sender.send(batch)
    assert batch == {}
    assert loopback.scalars(bad) == curve(20, at)
    assert loopback.scalars(one) == loopback.scalars(other) == curve(20)
    assert last_of(loopback, bad) == (9.0 if at == 19 else 9.5)
    assert last_of(loopback, one) == last_of(loopback, other) == 9.5
    assert {task_id: refusal.events for task_id, refusal in sender.refused.items()} == {bad: 1}
    assert loopback.count(ADD) < 50
    assert loopback.peak_in_flight(ADD) == 1


def test_a_slow_server_does_not_hide_a_bad_event(
    loopback: LoopbackServer, sender: BatchSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However short the time limit is compared to the answers, a bad event is found."""
    monkeypatch.setattr(limits, "SENDER_TIMEOUT_S", 0.0)
    task_id = new_task(sender)
    batch = {task_id: [*points(task_id, 3), point(task_id, TOO_LARGE, 3)]}
    sender.send(batch)
    assert loopback.scalars(task_id) == curve(3)
    assert sender.refused[task_id].events == 1


def test_several_poisoned_events_cost_themselves_alone(loopback: LoopbackServer, sender: BatchSender) -> None:
    """Poisoned events in several tasks are each found and counted."""
    tasks = [new_task(sender) for _ in range(8)]
    batch = {task_id: points(task_id, 10) for task_id in tasks}
    for task_id in tasks[::2]:
        batch[task_id][3] = point(task_id, TOO_LARGE, 3)
        batch[task_id][4] = point(task_id, -TOO_LARGE, 4)
    sender.send(batch)
    for place, task_id in enumerate(tasks):
        assert loopback.scalars(task_id) == (curve(10) if place % 2 else curve(10, 3, 4))
    assert {task_id: refusal.events for task_id, refusal in sender.refused.items()} == dict.fromkeys(
        tasks[::2], 2
    )


def test_a_poisoned_event_alone_waits_for_proof(loopback: LoopbackServer, sender: BatchSender) -> None:
    """A 500 for the only event there is might be an outage: it is kept until another is taken."""
    task_id = new_task(sender)
    batch = {task_id: [point(task_id, TOO_LARGE, 0)]}
    with pytest.raises(Unreachable):
        sender.send(batch)
    assert sender.refused == {}
    batch[task_id] += points(task_id, 3)[1:]
    sender.send(batch)
    assert loopback.scalars(task_id) == curve(3, 0)
    assert sender.refused[task_id].events == 1


@pytest.mark.parametrize("status", [200, 400, 413])
@pytest.mark.parametrize("bad", [0, 5, 9])
def test_a_refusal_without_a_name_is_split(status: int, bad: int) -> None:
    """A shortfall that the answer does not explain, a 400 and a 413 are bisected to the event."""
    taken: list[str] = []

    def answer(lines: list[str]) -> int:
        good = [line for line in lines if not line.endswith("poison")]
        if len(good) < len(lines) and status != 200:
            raise Refused("malformed", status)
        taken.extend(line for line in good if line not in taken)
        return len(good)

    server = Fake(answer)
    batch = {task_id: [f"{task_id}{n}" for n in range(10)] for task_id in "abc"}
    batch["b"][bad] = "poison"
    wanted = [line for events in batch.values() for line in events if line != "poison"]
    sender = server.sender()
    sender.send(batch)
    assert sorted(taken) == sorted(wanted)
    assert {task_id: refusal.events for task_id, refusal in sender.refused.items()} == {"b": 1}
    assert len(server.requests) < 20


def test_the_last_event_is_tried_more_than_once() -> None:
    """A passing 500 in the middle of a search does not pass for a bad event."""
    line = f'{batch_sender.SCALAR},"task":"a"}}'
    attempts = 0

    class Stumbles(Fake):
        def call(self, action: str, *, lines: Sequence[str], **limits: Any) -> dict[str, Any]:
            nonlocal attempts
            if limits["timeout"] > 0:  # not a test of the server's health
                attempts += 1
                if len(lines) > 1 or attempts % batch_sender.MAX_ANSWERS_500:
                    raise Refused("stumbled", 500)
            return super().call(action, lines=lines)

    sender = Stumbles(len).sender()
    sender.send({"a": [line] * 4})
    assert sender.refused == {}


# --- events that a proxy refuses ----------------------------------------------------------------


def a_point(iteration: int, text: str = "") -> str:
    """A scalar, or a console line with a text."""
    if text:
        return f'{{"type":"log","task":"a","timestamp":{iteration},"msg":"{text}"}}'
    return f'{batch_sender.SCALAR},"task":"a","metric":"m","variant":"v","value":1,"iter":{iteration}}}'


class Proxy(Fake):
    """Answers in the server's place where a request has something that it does not like."""

    def __init__(self, refuses: Callable[[list[str]], bool]) -> None:
        super().__init__(len)
        self.refuses = refuses
        self.pings = True
        self.now = 0.0

    def call(self, action: str, *, lines: Sequence[str] = (), **limits: Any) -> dict[str, Any]:
        """Answers one request."""
        if action == "debug.ping":
            if self.pings:
                return {}
            raise Unreachable("away")
        self.requests.append(list(lines))
        if self.refuses(list(lines)):
            raise AnsweredByProxy("400 Bad Request")
        self.taken += lines
        return {"added": len(lines)}

    def patient_sender(self, path: Path | None = None) -> BatchSender:
        """A sender with this proxy's clock."""
        found = self.sender()
        found.clock, found.refused_path = lambda: self.now, path
        return found


def until_decided(sender: BatchSender, proxy: Proxy, batch: Batch, step: float = 31.0) -> int:
    """Sends a batch until nothing is left of it; gives the number of attempts."""
    for attempt in range(1, 100):
        with contextlib.suppress(Undecided):
            sender.send(batch)
        if not batch:
            return attempt
        proxy.now += step
    raise AssertionError(batch)


@pytest.mark.parametrize("at", [0, 7, 19])
def test_one_event_that_a_proxy_refuses_is_set_aside_in_the_end(tmp_path: Path, at: int) -> None:
    """The others are delivered at once; it is written to a file after three refusals over 60 s."""
    proxy, path = Proxy(lambda lines: any("bad" in line for line in lines)), tmp_path / "run.refused"
    sender = proxy.patient_sender(path)
    events = [a_point(step) for step in range(20)]
    events[at] = a_point(at, "bad")
    batch = {"a": list(events)}
    with pytest.raises(Undecided, match="400 Bad Request"):
        sender.send(batch)
    assert batch == {"a": [events[at]]}
    assert set(events) - {events[at]} <= set(proxy.taken)
    for proxy.now in (20.0, 40.0, 59.9):  # often enough, but not for long enough
        with pytest.raises(Undecided):
            sender.send(batch)
    assert not path.exists()
    proxy.now = 60.0
    sender.send(batch)
    assert batch == {}
    assert path.read_text() == events[at] + "\n"
    assert path.stat().st_mode & 0o077 == 0
    assert sender.refused["a"].events == 1


def test_long_is_not_often_enough(tmp_path: Path) -> None:
    """An event that was refused twice in an hour is kept in the batch."""
    proxy = Proxy(lambda lines: any("bad" in line for line in lines))
    sender = proxy.patient_sender(tmp_path / "run.refused")
    batch = {"a": [a_point(0), a_point(1, "bad")]}
    for proxy.now in (0.0, 3600.0):
        with pytest.raises(Undecided):
            sender.send(batch)
    sender.send(batch)
    assert batch == {}


def test_many_events_that_a_proxy_refuses_share_their_time(tmp_path: Path) -> None:
    """A hundred bad events among a thousand cost no more time than one."""
    proxy = Proxy(lambda lines: any("bad" in line for line in lines))
    path = tmp_path / "run.refused"
    sender = proxy.patient_sender(path)
    batch = {"a": [a_point(step, "bad" if step % 10 == 5 else "") for step in range(1000)]}
    expected = [line for line in batch["a"] if "bad" not in line]
    assert until_decided(sender, proxy, batch) == 3
    assert sorted(set(proxy.taken)) == sorted(expected)
    assert len(path.read_text().splitlines()) == 100


def test_an_event_that_is_taken_after_all_is_not_set_aside(tmp_path: Path) -> None:
    """A proxy that has changed its mind has refused nothing."""
    proxy = Proxy(lambda lines: proxy.now < 50 and any("bad" in line for line in lines))
    path = tmp_path / "run.refused"
    sender = proxy.patient_sender(path)
    batch = {"a": [a_point(0), a_point(1, "bad"), a_point(2)]}
    assert until_decided(sender, proxy, batch) == 3
    assert not path.exists()
    assert sender.refused == {}
    assert sender._suspects == {}


def test_a_proxy_that_refuses_large_requests_gets_small_ones() -> None:
    """A limit to the size of a request costs no event."""
    proxy = Proxy(lambda lines: len(lines) > 3)
    batch = {"a": [a_point(step) for step in range(50)]}
    proxy.patient_sender().send(batch)
    assert batch == {}
    last_first = list(dict.fromkeys(reversed(proxy.taken)))  # an event may be sent more than once
    assert last_first[::-1] == [a_point(step) for step in range(50)]


@pytest.mark.parametrize("known", [True, False])
def test_a_proxy_that_refuses_everything_has_refused_nothing(tmp_path: Path, known: bool) -> None:
    """As long as no event is taken, all are kept, in their order, whatever the clock says."""
    proxy = Proxy(lambda lines: bool(proxy.now))
    sender = proxy.patient_sender(tmp_path / "run.refused")
    if known:
        sender.send({"a": [a_point(0)]})
    batch = {"a": [a_point(step) for step in range(1, 40)]}
    for proxy.now in range(1, 1000, 50):
        with pytest.raises(Unreachable) as raised:
            sender.send(batch)
        assert not isinstance(raised.value, Undecided)
    assert batch == {"a": [a_point(step) for step in range(1, 40)]}
    proxy.now = 0
    sender.send(batch)
    assert batch == {}


@pytest.mark.parametrize("pings", [True, False])
def test_the_only_event_there_is(tmp_path: Path, pings: bool) -> None:
    """With no other event to compare, another call tells whether the proxy lets calls through."""
    proxy = Proxy(lambda lines: True)
    proxy.pings = pings
    sender = proxy.patient_sender(tmp_path / "run.refused")
    batch = {"a": [a_point(0, "bad")]}
    for proxy.now in (0, 40, 80):
        with contextlib.suppress(Unreachable):
            sender.send(batch)
    assert (batch == {}) == pings


def test_without_space_for_the_file_nothing_is_set_aside(tmp_path: Path) -> None:
    """A refused event that cannot be written down stays in the batch, and the problem is told."""
    proxy = Proxy(lambda lines: any("bad" in line for line in lines))
    sender = proxy.patient_sender(tmp_path / "no such folder" / "run.refused")
    batch = {"a": [a_point(0), a_point(1, "bad")]}
    with contextlib.suppress(Undecided):
        sender.send(batch)
    for proxy.now in (40.0, 80.0, 120.0):
        with pytest.raises(Unreachable):
            sender.send(batch)
    assert batch == {"a": [a_point(1, "bad")]}
    assert sender.refused == {}


def test_lines_that_cannot_be_read_stay_in_the_file(tmp_path: Path) -> None:
    """What somebody has written into the file is kept, even if it is no event."""
    proxy, path = Proxy(lambda lines: False), tmp_path / "run.refused"
    path.write_text("\n".join(["no event", a_point(0), ""]))
    proxy.patient_sender(path).retry_refused()
    assert proxy.taken == [a_point(0)]
    assert path.read_text() == "no event\n"


def test_refused_events_are_tried_again(tmp_path: Path) -> None:
    """Those that are taken now leave the file, the others stay, without another wait."""
    proxy = Proxy(lambda lines: any("bad" in line for line in lines))
    path = tmp_path / "run.refused"
    path.write_text("\n".join([a_point(0, "bad"), a_point(1, "once bed"), a_point(2, "bad"), ""]))
    sender = proxy.patient_sender(path)
    sender.retry_refused()
    assert proxy.taken == [a_point(1, "once bed")]
    assert path.read_text() == "\n".join([a_point(0, "bad"), a_point(2, "bad"), ""])
    assert sender.refused["a"].events == 2
    proxy.refuses = lambda lines: False
    sender.retry_refused()
    assert list(tmp_path.glob("run*")) == []


def test_an_event_that_was_refused_is_sent_alone(tmp_path: Path) -> None:
    """So that it does not hold the others up again, whatever comes with it."""
    proxy = Proxy(lambda lines: any("bad" in line for line in lines))
    sender = proxy.patient_sender(tmp_path / "run.refused")
    bad = a_point(1, "bad")
    batch: Batch = {"a": [a_point(0), bad]}
    with pytest.raises(Undecided):
        sender.send(batch)
    proxy.requests.clear()
    batch["a"] += [a_point(2), a_point(3)]
    with pytest.raises(Undecided):
        sender.send(batch)
    assert batch == {"a": [bad]}
    assert proxy.requests[0] == [bad]
    assert proxy.requests[-1] == [a_point(2), a_point(3)]
    assert not [lines for lines in proxy.requests if bad in lines and len(lines) > 1]


def test_events_that_are_undecided_keep_their_order_and_come_first(tmp_path: Path) -> None:
    proxy = Proxy(lambda lines: any("bad" in line for line in lines))
    sender = proxy.patient_sender(tmp_path / "run.refused")
    bad = [a_point(step, "bad") for step in range(3)]
    batch: Batch = {"a": [bad[0], a_point(5), bad[1], bad[2]]}
    with pytest.raises(Undecided):
        sender.send(batch)
    assert batch == {"a": bad}


@pytest.mark.parametrize(("waiting", "is_sent"), [(2, True), (3, True), (4, False)])
def test_few_events_that_are_all_refused_are_decided_by_another_call(
    tmp_path: Path, waiting: int, is_sent: bool
) -> None:
    """Of more than a few, the server is taken to be away."""
    proxy = Proxy(lambda lines: True)
    sender = proxy.patient_sender(tmp_path / "run.refused")
    batch = {"a": [a_point(step) for step in range(waiting)]}
    for _ in range(2):
        with pytest.raises(Unreachable) as raised:
            sender.send(batch)
        assert isinstance(raised.value, Undecided) is is_sent
    assert batch == {"a": [a_point(step) for step in range(waiting)]}


@pytest.mark.parametrize(
    ("answer", "accepts"),
    [
        ({"added": 1}, True),
        ({"added": 0}, None),
        ({}, None),
        (Refused("bad", 400), None),
        (Refused("bad", 413), None),
        (Refused("not you", 403), False),
        (Refused("broken", 500), False),
        (Unreachable("away"), False),
    ],
)
def test_what_one_event_says_of_the_server(answer: Any, accepts: bool | None) -> None:
    """With one attempt."""
    server = Answers(answer)
    assert server.sender()._accepts("line") is accepts
    assert server.calls == [(ADD, ["line"], {"timeout": 0, "attempts_on_500": 1})]


@pytest.mark.parametrize(
    ("refusal", "ping", "is_healthy"),
    [
        (Refused("bad", 400), {}, True),
        (Refused("broken", 500), {}, False),
        (AnsweredByProxy("page"), {}, True),
        (AnsweredByProxy("page"), Refused("odd", 400), False),
        (AnsweredByProxy("page"), Unreachable("away"), False),
    ],
)
def test_of_a_single_event_the_server_is_believed_and_a_proxy_that_lets_others_pass(
    refusal: Any, ping: Any, is_healthy: bool
) -> None:
    server = Answers(ping)
    batch = {"a": [a_point(0)]}
    assert server.sender()._is_healthy(batch, batch, refusal) is is_healthy
    assert server.calls == (
        [("debug.ping", None, {"timeout": 0})] if isinstance(refusal, AnsweredByProxy) else []
    )


def test_the_last_scalar_that_was_taken_is_what_counts() -> None:
    """Not a console line, which would be shown twice; if nothing is known of it, others are tried."""
    server = Answers({"added": 3}, {"added": 1})
    sender = server.sender()
    sender.send({"a": [a_point(0), a_point(1), a_point(2, "text")]})
    assert sender._last_accepted == a_point(1)
    batch = {"a": [a_point(5)]}
    assert sender._is_healthy(batch, batch, Refused("broken", 500))
    assert server.calls[-1][1] == [a_point(1)]
    server.answers += [Refused("deleted", 400), {"added": 1}]
    batch = {"a": [a_point(5), a_point(6)]}
    assert sender._is_healthy({"a": batch["a"][:1]}, batch, Refused("broken", 500))
    assert server.calls[-1][1] == [a_point(6)]  # the other one is what was refused
    assert sender._last_accepted == a_point(6)
    server.answers += [Unreachable("away")]
    assert not sender._is_healthy(batch, batch, Refused("bad", 400))


# --- a server that takes nothing ---------------------------------------------------------------


def break_down(loopback: LoopbackServer, how: str) -> None:
    """Has the server take nothing at all."""
    if how == "no connection":
        loopback.faults.outage = True
    elif how == "revoked":
        loopback.expire_tokens()
        loopback.credentials.secret_key += "!"
    else:
        loopback.faults.fail_next("*", status=int(how), times=1_000_000)


@pytest.mark.quick(3)
@pytest.mark.parametrize("how", ["500", "503", "403", "404", "no connection", "revoked"])
@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_an_outage_refuses_nothing(
    loopback: LoopbackServer, sender: BatchSender, how: str, first: bool
) -> None:
    """While the server takes nothing, everything is kept; when it is back, everything is delivered."""
    tasks = [new_task(sender) for _ in range(3)]
    if not first:
        sender.send({tasks[0]: points(tasks[0], 2)})
    batch: Batch = {task_id: points(task_id, 20) for task_id in tasks}
    kept = {task_id: list(events) for task_id, events in batch.items()}
    break_down(loopback, how)
    for _ in range(3):
        with pytest.raises(Unreachable):
            sender.send(batch)
    assert sender.refused == {}
    assert batch == kept
    loopback.faults.clear()
    loopback.credentials.secret_key = loopback.secret_key.rstrip("!")
    sender.send(batch)
    assert sender.refused == {}
    assert [loopback.scalars(task_id) for task_id in tasks] == [curve(20)] * 3


def test_an_outage_in_the_middle_of_a_search(
    loopback: LoopbackServer, sender: BatchSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage that begins while a poisoned event is searched for refuses nothing but that event."""
    tasks = [new_task(sender) for _ in range(2)]
    batch = {task_id: points(task_id, 16) for task_id in tasks}
    batch[tasks[1]][9] = point(tasks[1], TOO_LARGE, 9)
    real = BatchSender._is_healthy
    probes: list[bool] = []

    def then_breaks(self: BatchSender, part: Batch, batch: Batch, refusal: Any) -> bool:
        probes.append(real(self, part, batch, refusal))
        if len(probes) == 2:
            loopback.faults.fail_next(ADD, status=500, times=1_000_000)
        return probes[-1]

    monkeypatch.setattr(BatchSender, "_is_healthy", then_breaks)
    with pytest.raises(Unreachable):
        sender.send(batch)
    assert probes[:2] == [True, True]
    assert probes[-1] is False
    assert sender.refused == {}
    loopback.faults.clear()
    sender.send(batch)
    assert [loopback.scalars(task_id) for task_id in tasks] == [curve(16), curve(16, 9)]
    assert sum(refusal.events for refusal in sender.refused.values()) == 1


def test_the_event_that_proves_health_may_have_gone(loopback: LoopbackServer, sender: BatchSender) -> None:
    """If the task of the last event that was taken is deleted, others show that the server works."""
    gone, stays = new_task(sender), new_task(sender)
    sender.send({gone: points(gone, 2)})
    sender.transport.call("tasks.delete", {"task": gone, "force": True}, timeout=20)
    batch = {stays: points(stays, 6)}
    batch[stays][2] = point(stays, TOO_LARGE, 2)
    for _ in range(20):  # the proof is looked for at random
        with contextlib.suppress(Unreachable):
            sender.send(batch)
    assert loopback.scalars(stays) == curve(6, 2)
    assert sender.refused[stays].events == 1
