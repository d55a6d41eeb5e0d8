"""Queues as the database keeps them: unique names, entries added and removed on condition."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from .client import Client
from .server import LoopbackServer
from .state import moment

Codes = list[tuple[int, int]]


def at_once(server: LoopbackServer, endpoint: str, **fields: object) -> tuple[Codes, list[dict[str, object]]]:
    """The same call by 8 clients: the codes of the refusals, and the answers."""

    def call(_: int) -> tuple[tuple[int, int], dict[str, object]]:
        with Client(server) as client:
            reply = client.reply(endpoint, **fields)
        return reply.code, reply.data

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(call, range(8)))
    refused = [code for code, _ in replies if code[0] != 200]
    return refused, [data for code, data in replies if code[0] == 200]


def test_names_of_queues_are_unique(server: LoopbackServer, api: Client) -> None:
    """One of several processes creates a queue; a name is compared without the spaces around it."""
    refused, created = at_once(server, "queues.create", name="gpu")
    assert (set(refused), len(created)) == ({(400, 801)}, 1)
    assert api.reply("queues.create", name=" gpu ").code == (400, 801)
    other = api.call("queues.create", name="cpu")["id"]
    assert api.reply("queues.update", queue=other, name="gpu").code == (400, 801)


def test_any_text_is_an_entry(api: Client) -> None:
    """An entry need not be the id of a task; it has the server's time."""
    queue = api.call("queues.create", name="gpu")["id"]
    assert api.call("queues.add_task", queue=queue, task="p:host.1", update_execution_queue=False)["added"]
    read = api.call("queues.get_by_id", queue=queue)["queue"]
    (entry,) = read["entries"]
    assert entry["task"] == "p:host.1"
    assert moment(read["created"]) <= moment(entry["added"]) <= moment(read["last_update"])


def test_a_task_is_told_its_queue(api: Client, server: LoopbackServer) -> None:
    """`add_task` writes the queue into the task's execution, unless it is told not to."""
    queue, task, other = api.call("queues.create", name="gpu")["id"], api.task(), api.task()
    api.call("queues.add_task", queue=queue, task=task)
    api.call("queues.add_task", queue=queue, task=other, update_execution_queue=False)
    assert server.task(task)["execution"]["queue"] == queue
    assert "queue" not in server.task(other)["execution"]


def test_one_call_adds_and_one_removes(server: LoopbackServer, api: Client) -> None:
    """Exactly one of several calls adds an entry, and one removes it."""
    server.state.queue_pause = 0.02
    queue = api.call("queues.create", name="gpu")["id"]
    refused, added = at_once(server, "queues.add_task", queue=queue, task="a")
    assert (set(refused) <= {(400, 703), (400, 706)}, len(added)) == (True, 1)
    refused, removed = at_once(server, "queues.remove_task", queue=queue, task="a")
    assert set(refused) <= {(400, 703)}
    assert sum(data["removed"] == 1 for data in removed) == 1
    assert api.call("queues.get_by_id", queue=queue)["queue"]["entries"] == []


def test_the_loser_of_a_race_is_told_another_code(server: LoopbackServer, api: Client) -> None:
    """Who read the queue before the winner wrote to it is refused by the update, not by the read."""
    server.state.queue_pause = 0.1
    queue = api.call("queues.create", name="gpu")["id"]
    # On a machine that is busy, the others may begin only when the winner has written.
    races = (at_once(server, "queues.add_task", queue=queue, task=f"task {n}")[0] for n in range(20))
    assert any((400, 703) in refused for refused in races)


def test_without_the_condition_several_calls_add(server: LoopbackServer, api: Client) -> None:
    """The switch that takes the atomicity out shows in what callers are told."""
    server.state.queue_pause, server.state.atomic_queues = 0.1, False
    queue = api.call("queues.create", name="gpu")["id"]
    races = (at_once(server, "queues.add_task", queue=queue, task=f"task {n}")[1] for n in range(20))
    assert any(len(added) > 1 for added in races)


@pytest.mark.parametrize(
    ("endpoint", "code"),
    [("add_task", 701), ("remove_task", 703), ("get_by_id", 701), ("delete", 701), ("clear_queue", 701)],
)
def test_a_queue_that_is_gone(api: Client, endpoint: str, code: int) -> None:
    """Calls on a deleted queue are refused; to remove an entry is, as if it were not there."""
    queue = api.call("queues.create", name="gpu")["id"]
    api.call("queues.add_task", queue=queue, task="a")
    api.call("queues.delete", queue=queue, force=True)
    task = {"task": "a"} if endpoint.endswith("task") else {}
    assert api.reply(f"queues.{endpoint}", queue=queue, **task).code == (400, code)


def test_a_queue_is_cleared(api: Client) -> None:
    """Clearing, which the web page offers, leaves the queue."""
    queue = api.call("queues.create", name="gpu")["id"]
    api.call("queues.add_task", queue=queue, task="a")
    assert api.call("queues.clear_queue", queue=queue) == {"removed_tasks": []}
    assert api.call("queues.get_num_entries", queue=queue)["num"] == 0


def test_calls_are_delayed_by_chance(server: LoopbackServer, api: Client) -> None:
    """With `jitter`, a request waits before it is done and before its answer."""
    queue = api.call("queues.create", name="gpu")["id"]
    server.faults.jitter = 0.01
    refused, added = at_once(server, "queues.add_task", queue=queue, task="a")
    assert (len(refused), len(added)) == (7, 1)
    server.faults.clear()
    assert server.faults.jitter == 0.0
