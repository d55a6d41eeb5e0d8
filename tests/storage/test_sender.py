"""The sender: takes events from the outbox to the server, however long it is away."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_taskgroup._clearml.api_errors import AnsweredByProxy, Refused, Unreachable
from clearml_taskgroup._storage import sender as module
from clearml_taskgroup._storage.batch_sender import BatchSender, Undecided
from clearml_taskgroup._storage.outbox import Outbox
from clearml_taskgroup._storage.sender import Sender
from clearml_taskgroup.errors import LoginError

Answer = Callable[[list[int]], "int | Exception"]


@attrs.define
class Server:
    """Takes the place of a transport: what a server says to the iterations that it is given."""

    answer: Answer = len
    requests: list[list[int]] = attrs.field(factory=list)
    taken: list[int] = attrs.field(factory=list)
    news: threading.Condition = attrs.field(factory=threading.Condition)

    def call(self, action: str, *, lines: bytes | list[str], **limits: Any) -> dict[str, Any]:
        """Answers one request; what it counts is taken."""
        text = lines.decode() if isinstance(lines, bytes) else "\n".join(lines)
        steps = [int(json.loads(line)["iter"]) for line in text.split("\n")]
        with self.news:
            self.requests.append(steps)
            self.news.notify_all()
        answer = self.answer(steps)
        if isinstance(answer, Exception):
            raise answer
        self.taken += steps[:answer]
        return {"added": answer}

    def wait_for_requests(self, count: int) -> None:
        """Waits until there were so many requests."""
        with self.news:
            assert self.news.wait_for(lambda: len(self.requests) >= count, 60)


@pytest.fixture
def server() -> Server:
    """A server that takes everything."""
    return Server()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """An empty outbox."""
    found = Outbox.open(tmp_path / "run-0001.outbox")
    yield found
    found.close()


@pytest.fixture
def sender(outbox: Outbox, server: Server) -> Iterator[Sender]:
    """A sender whose thread has not been started."""
    transport: Any = server
    found = Sender(outbox, BatchSender(transport), lambda: None)
    yield found
    found.stop(60)
    assert found._thread is None or not found._thread.is_alive()


def put(sender: Sender, *steps: int) -> None:
    """Hands events over as the store does."""
    line = '{{"type":"training_stats_scalar","task":"a","metric":"m","variant":"v","value":0.5,"iter":{}}}'
    sender.outbox.append({"a": [line.format(step) for step in steps]})
    sender.notify()


def away(steps: list[int]) -> Exception:
    """What a transport raises in an outage."""
    return Unreachable("no answer")


def test_events_are_delivered_in_order(sender: Sender, server: Server) -> None:
    """What is handed over arrives once and in order, and flush tells that it has."""
    sender.start()
    for step in range(100):
        put(sender, step)
    assert sender.flush(60)
    assert server.taken == list(range(100))
    assert sender.outbox.is_empty


def test_tasks_are_started_before_their_events_are_sent(outbox: Outbox, server: Server) -> None:
    """What has to happen before events are sent happens before each request."""
    order: list[str] = []
    server.answer = lambda steps: order.append("sent") or len(steps)  # type: ignore[func-returns-value]
    transport: Any = server
    sender = Sender(outbox, BatchSender(transport), lambda: order.append("started"))
    put(sender, 0)
    assert sender.flush(60)
    assert order == ["started", "sent"]


def test_an_outage_delays_and_loses_nothing(sender: Sender, server: Server) -> None:
    """While the server is away nothing is taken out; when it is back all arrives in order."""
    server.answer = away
    sender.start()
    put(sender, 0, 1)
    server.wait_for_requests(1)
    put(sender, 2)
    assert not sender.flush(0.05)
    server.wait_for_requests(2)
    assert isinstance(sender.error, Unreachable)
    assert sender.outbox.waiting() == {"a": 3}
    server.answer = len
    assert sender.flush(60)
    assert server.taken == [0, 1, 2]
    assert sender.error is None


def test_refused_credentials_are_an_outage_too(sender: Sender, server: Server) -> None:
    """Credentials that the server takes back keep everything in the outbox, and are the error told."""
    server.answer = lambda steps: LoginError("credentials revoked")
    put(sender, 0)
    assert not sender.flush(0)
    assert "credentials revoked" in str(sender.error)
    server.answer = len
    assert sender.flush(60)
    assert server.taken == [0]


def test_a_flush_hurries_a_long_pause(
    sender: Sender, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for delivery does not wait for the pause between two attempts."""
    monkeypatch.setattr(module, "MIN_RETRY_DELAY_S", 1000.0)
    monkeypatch.setattr(module, "MAX_RETRY_DELAY_S", 1000.0)
    server.answer = away
    sender.start()
    put(sender, 0)
    server.wait_for_requests(1)
    server.answer = len
    assert sender.flush(60)
    assert server.taken == [0]


def test_the_pauses_grow_to_a_limit(sender: Sender, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that stays away is asked ever less often, up to a limit."""
    pauses: list[float] = []
    wait_for = sender._changed.wait_for

    def wait(condition: Callable[[], bool], timeout: float | None = None) -> bool:
        pauses.append(timeout or 0.0)
        if len(pauses) == 12:
            server.answer = len
        return wait_for(condition, 0)

    monkeypatch.setattr(random, "uniform", lambda low, high: 1.0)
    monkeypatch.setattr(sender._changed, "wait_for", wait)
    server.answer = away
    put(sender, 0)
    sender.start()
    server.wait_for_requests(13)
    assert pauses[:3] == [0.5, 1.0, 2.0]
    assert pauses[7:12] == [module.MAX_RETRY_DELAY_S] * 5


def test_a_flush_does_not_wait_for_what_comes_later(sender: Sender, server: Server) -> None:
    """A thread that reports without end keeps nobody waiting who asked for what was there."""

    def answer(steps: list[int]) -> int:
        if len(server.requests) < 2000:
            put(sender, len(server.requests))  # there is always something new
        return len(steps)

    server.answer = answer
    put(sender, 0)
    sender.start()
    assert sender.flush(60)
    assert len(server.requests) < 2000


def test_a_flush_delivers_by_itself_where_no_thread_can_start(
    sender: Sender, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the interpreter's end, where threads cannot start, flush does the work."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        sender.start()
    put(sender, 0, 1)
    assert sender.flush(60)
    assert server.taken == [0, 1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_flush_delivers_by_itself_where_the_thread_has_died(sender: Sender, server: Server) -> None:
    """A thread that was ended from outside neither hangs a flush nor loses a point."""
    asked = threading.Event()

    def answer(steps: list[int]) -> int:
        if len(server.requests) == 1:
            assert asked.wait(60)
            raise SystemExit
        return len(steps)

    server.answer = answer
    sender.start()
    put(sender, 0)
    server.wait_for_requests(1)
    threading.Timer(0.05, asked.set).start()
    assert sender.flush(60)
    assert server.taken == [0]
    assert not sender.is_alive


def test_an_error_of_our_own_does_not_end_the_thread(sender: Sender, server: Server) -> None:
    """What nobody thought of is told, and the events go again."""
    server.answer = lambda steps: ZeroDivisionError("whatever") if len(server.requests) == 1 else len(steps)
    put(sender, 0)
    assert not sender.flush(0)
    assert "whatever" in str(sender.error)
    sender.start()
    assert sender.flush(60)
    assert sender.is_alive
    assert server.taken == [0]


def test_the_end_does_not_wait_for_a_pause(
    sender: Sender, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopping ends the thread in the middle of a pause, and keeps what waits."""
    monkeypatch.setattr(module, "MIN_RETRY_DELAY_S", 1000.0)
    server.answer = away
    sender.start()
    put(sender, 0)
    server.wait_for_requests(1)
    sender.stop(60)
    assert not sender.is_alive
    assert sender.outbox.waiting() == {"a": 1}


def test_what_a_proxy_refused_is_left_in_the_outbox_alone(sender: Sender, server: Server) -> None:
    """At the end, the outbox has those events of a batch that were not delivered, and no others."""

    def answer(steps: list[int]) -> int | Exception:
        return AnsweredByProxy("refused") if 3 in steps else len(steps)

    server.answer = answer
    sender.start()
    put(sender, *range(6))
    with server.news:  # until the rest of the batch is tried once more
        assert server.news.wait_for(lambda: isinstance(sender.error, Undecided), 60)
    assert not sender.flush(0.01)
    assert sender.waiting() == {"a": 1}
    sender.stop(60)
    assert sender.outbox.waiting() == {"a": 1}
    assert sorted(set(server.taken)) == [0, 1, 2, 4, 5]


def test_what_a_forked_child_writes_is_found(sender: Sender, server: Server) -> None:
    """Events that nobody tells of, because another process wrote them, are delivered by and by."""
    sender.start()
    put(sender, 0)
    assert sender.flush(60)
    other = Outbox.open(sender.outbox.path)
    line = '{"type":"training_stats_scalar","task":"a","metric":"m","variant":"v","value":0.5,"iter":7}'
    other.append({"a": [line]})
    server.wait_for_requests(2)
    assert server.requests == [[0], [7]]


def test_a_child_is_not_held_by_its_parents_locks(sender: Sender) -> None:
    """Whatever lock the sender held as the process forked, the child goes on."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with news:
            held.set()
            done.wait(120)

    news = sender._changed
    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(60)
    sender.after_fork()
    child = threading.Thread(target=lambda: put(sender, 0), daemon=True)
    child.start()
    child.join(60)
    hangs = child.is_alive()
    done.set()
    holder.join()
    child.join()
    assert not hangs


def test_tasks_are_kept_alive_whether_or_not_there_are_events(outbox: Outbox, server: Server) -> None:
    """The call for the time in between is made when all is quiet, and when the server is away."""
    calls: list[int] = []
    changed = threading.Condition()

    def meanwhile() -> None:
        with changed:
            calls.append(len(server.requests))
            changed.notify_all()

    server.answer = away
    transport: Any = server
    sender = Sender(outbox, BatchSender(transport), lambda: None, meanwhile)
    sender.start()
    with changed:
        assert changed.wait_for(lambda: len(calls) >= 2, 60)
        assert server.requests == []
    put(sender, 0)
    with changed:
        assert changed.wait_for(lambda: calls[-1] >= 1, 60)
    sender.stop(60)


def test_a_part_that_was_taken_is_not_sent_again(sender: Sender, server: Server) -> None:
    """After a refusal and an outage in the middle of its parts, only the rest of a batch is sent."""
    script: list[int | Exception] = [*[Refused("too large", 413)] * 2, 1, 2, Unreachable("")]  # 1 is a probe
    server.answer = lambda steps: script.pop(0) if script else len(steps)
    put(sender, 0, 1, 2, 3)
    assert not sender.flush(0)
    assert sender.flush(60)
    assert [sent for sent in server.requests if len(sent) > 1] == [[0, 1, 2, 3]] * 2 + [
        [0, 1],
        [2, 3],
        [2, 3],
    ]
    assert server.taken[1:] == [0, 1, 2, 3]


def test_a_doubtful_batch_goes_again_before_what_is_newer(sender: Sender, server: Server) -> None:
    server.answer = away
    put(sender, 0, 1)
    assert not sender.flush(0)
    put(sender, 2)
    server.answer = len
    assert sender.flush(60)
    assert server.requests == [[0, 1], [0, 1], [2]]


def test_a_torn_end_that_a_full_disk_cannot_end_does_not_spin(
    sender: Sender, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line cut short is waited for, where nothing can be written behind it."""
    put(sender, 0)
    os.write(sender.outbox._file, b'{"type":"training_stats_scalar","task":"a"')

    def full(file: int, data: bytes) -> int:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        assert not sender.flush(10)
    assert sender.flush(60)
    assert server.requests == [[0]]


def test_small_batches_are_gathered(sender: Sender, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a request the next waits for more, unless somebody waits for it or there is much."""
    monkeypatch.setattr(module, "POLL_S", 1000.0)
    monkeypatch.setattr(module, "FULL_REQUEST_BYTES", 2000)
    sender.start()
    put(sender, 0)
    server.wait_for_requests(1)
    for step in range(1, 6):
        put(sender, step)
    assert server.requests == [[0]]
    assert sender.flush(60)
    assert server.requests == [[0], [1, 2, 3, 4, 5]]
