"""The queue of a shared run: each text is added by exactly one caller, each queue is created once."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from clearml_taskgroup._clearml import run_queue
from clearml_taskgroup._clearml.api import Transport
from clearml_taskgroup._clearml.api_errors import Refused
from clearml_taskgroup._clearml.dates import seconds_since_1970
from clearml_taskgroup._clearml.run_queue import QueueGone, QueueRefused
from clearml_taskgroup.errors import LoginError, ServerError
from tests.loopback import LoopbackServer
from tests.loopback.faults import refusal

NAME = "run a.b"


@pytest.fixture
def queue(transport: Transport) -> str:
    """The id of a queue."""
    created = run_queue.create_queue(transport, NAME)
    assert created is not None
    return created


def test_a_queue_is_created_once(loopback: LoopbackServer, transport: Transport, queue: str) -> None:
    """Afterwards it is found, by exactly this name."""
    assert loopback.queues[queue]["name"] == NAME
    other = run_queue.create_queue(transport, "run aXb")
    assert other not in (None, queue)
    assert run_queue.create_queue(transport, NAME) == queue
    assert run_queue.create_queue(transport, "run aXb") == other


def test_a_queue_that_goes_while_it_is_looked_for(loopback: LoopbackServer, transport: Transport) -> None:
    """There is none: neither this name nor another one that the pattern may match."""
    loopback.faults.fail_next("queues.create", status=400, body=refusal(400, 801), times=2)
    assert run_queue.create_queue(transport, NAME) is None
    found = b'{"meta":{"result_code":200},"data":{"queues":[{"id":"1","name":"run A.B"}]}}'
    loopback.faults.fail_next("queues.get_all", body=found)
    assert run_queue.create_queue(transport, NAME) is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Refused("not allowed", 403, 0), QueueRefused),
        (Refused("odd", 499, 0), QueueRefused),
        (Refused("broken", 500, 0), Refused),
        (LoginError("not allowed"), QueueRefused),
    ],
)
def test_an_account_that_may_not_use_queues(error: ServerError, kind: type[ServerError]) -> None:
    """It may be allowed everything else; a broken server says nothing of that."""
    server: Any = Raising(error)
    with pytest.raises(kind, match=error.problem) as raised:
        run_queue.create_queue(server, NAME)
    assert type(raised.value) is kind
    if not isinstance(error, LoginError):
        with pytest.raises(kind, match=error.problem) as raised:
            run_queue.add_entry(server, "1", "a")
        assert type(raised.value) is kind


class Raising:
    """Takes the place of a transport to a server that refuses all calls; notes their time limits."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.times: list[dict[str, Any]] = []

    def call(self, action: str, body: dict[str, Any], **times: Any) -> Any:
        """Raises."""
        self.times.append(times)
        raise self.error


def test_a_text_is_added_by_one_of_many(transport: Transport, queue: str) -> None:
    """Exactly one has done so, at whatever moment the others try; once removed it can be added again."""
    done, barrier = list[bool](), threading.Barrier(4)

    def add() -> None:
        barrier.wait()
        done.append(run_queue.add_entry(transport, queue, "a"))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [False, False, False, True]
    assert run_queue.add_entry(transport, queue, "b") is True
    assert list(run_queue.read_entries(transport, queue).added) == ["a", "b"]
    assert run_queue.remove_entry(transport, queue, "a") is True
    assert run_queue.remove_entry(transport, queue, "a") is False
    assert run_queue.add_entry(transport, queue, "a") is True
    assert list(run_queue.read_entries(transport, queue).added) == ["b", "a"]


@pytest.mark.parametrize(("subcode", "is_added"), [(703, False), (706, False)])
def test_the_loser_of_a_race_has_not_added_it(subcode: int, is_added: bool) -> None:
    server: Any = Raising(Refused("there", 400, subcode))
    assert run_queue.add_entry(server, "1", "a") is is_added


@pytest.mark.parametrize(("answer", "removed"), [({}, True), ({"removed": 1}, True), ({"removed": 0}, False)])
def test_whether_an_entry_was_removed(
    loopback: LoopbackServer, transport: Transport, answer: dict[str, int], removed: bool
) -> None:
    """An older server does not say how many were."""
    body = str({"meta": {"result_code": 200}, "data": answer}).replace("'", '"').encode()
    loopback.faults.fail_next("queues.remove_task", body=body)
    assert run_queue.remove_entry(transport, "1", "a") is removed


def test_a_queue_that_was_deleted(transport: Transport, queue: str) -> None:
    """Each call says so; an entry cannot be removed from it."""
    run_queue.add_entry(transport, queue, "a")
    run_queue.delete_queue(transport, queue)
    for call in (run_queue.read_entries, run_queue.delete_queue):
        with pytest.raises(QueueGone):
            call(transport, queue)
    with pytest.raises(QueueGone):
        run_queue.add_entry(transport, queue, "a")
    assert run_queue.remove_entry(transport, queue, "a") is False


def test_other_refusals_are_errors() -> None:
    """Each call has the time limits that it was given."""
    server: Any = Raising(Refused("odd", 400, 12))
    for call in (run_queue.read_entries, run_queue.delete_queue):
        with pytest.raises(Refused):
            call(server, "1", timeout=1.0)
    with pytest.raises(Refused):
        run_queue.remove_entry(server, "1", "a", timeout=1.0)
    with pytest.raises(QueueRefused):
        run_queue.add_entry(server, "1", "a", timeout=1.0)
    assert server.times == [{"timeout": 1.0}] * 4
    gone: Any = Raising(Refused("gone", 400, 701))
    assert run_queue.remove_entry(gone, "1", "a") is False


@pytest.mark.parametrize(
    ("queue", "added", "created", "now"),
    [
        ({}, {}, 0.0, 0.0),
        ({"entries": None, "created": "1970-01-01T00:00:05+00:00"}, {}, 5.0, 5.0),
        (
            {
                "entries": [
                    {"task": "a", "added": "1970-01-01T00:00:07+00:00"},
                    {"task": "b", "added": "soon"},
                ],
                "created": "1970-01-01T00:00:05+00:00",
                "last_update": "1970-01-01T00:00:09+00:00",
            },
            {"a": 7.0, "b": 0.0},
            5.0,
            9.0,
        ),
    ],
)
def test_the_times_of_a_queue(
    queue: dict[str, Any], added: dict[str, float], created: float, now: float
) -> None:
    """All are the server's own; without a last change it is as old as the queue."""

    class Server:
        def call(self, *_: Any, **__: Any) -> Any:
            return {"queue": queue}

    server: Any = Server()
    assert run_queue.read_entries(server, "1") == run_queue.Entries(added, now, created)


def test_entries_have_the_server_s_times(loopback: LoopbackServer, transport: Transport, queue: str) -> None:
    run_queue.add_entry(transport, queue, "a")
    found, stored = run_queue.read_entries(transport, queue), loopback.queues[queue]
    assert found.now == seconds_since_1970(stored["last_update"])
    assert found.created == seconds_since_1970(stored["created"])
    assert found.added == {"a": seconds_since_1970(stored["entries"][0]["added"])}
