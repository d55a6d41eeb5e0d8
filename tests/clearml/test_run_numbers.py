"""The number of a new run: unique on a server, also for processes that start at the same moment."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml import login
from clearml_taskgroup._clearml.api import Transport
from clearml_taskgroup._clearml.api_errors import Refused, Unreachable
from clearml_taskgroup._clearml.hyperparameters import SECTION, parameter
from clearml_taskgroup._clearml.run_numbers import reserve_run_number
from clearml_taskgroup.errors import AmbiguousRunError
from tests.loopback import LoopbackServer
from tests.loopback.faults import Fault, FaultKind, refusal
from tests.support.cli import told
from tests.support.runs import NAME, PROJECT, Place

GROUP = "a" * 12


def store(transport: Transport, number: int) -> None:
    """Stores a task of a run with this number."""
    entries = {"group": GROUP, "run_number": number}
    section = {name: parameter(SECTION, name, value) for name, value in entries.items()}
    body = {"name": "a task", "type": "training", "hyperparams": {SECTION: section}}
    transport.call("tasks.create", body)


def held(server: LoopbackServer) -> int:
    """How many numbers are reserved."""
    return sum(queue["name"].startswith("taskgroup-number ") for queue in server.queues.values())


def test_processes_that_start_at_once_get_different_numbers(loopback: LoopbackServer) -> None:
    """Whatever the server's delays; afterwards no queue is left."""
    processes = 8
    delays = [Fault(FaultKind.DELAY, delay=ms / 1000) for ms in range(0, 30, 3)]
    loopback.faults.random(1.0, seed=1, mix=delays)
    barrier, numbers = threading.Barrier(processes), list[int]()
    connection = login.connect()

    def start() -> None:
        transport = Transport(connection)
        barrier.wait()
        for _ in range(2):
            reserved = reserve_run_number(transport, GROUP)
            numbers.append(reserved.number)
            store(transport, reserved.number)
            reserved.release()
        transport.close()

    threads = [threading.Thread(target=start) for _ in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(numbers) == len(set(numbers)) == 2 * processes
    assert held(loopback) == 0


def test_groups_cost_three_calls_more(loopback: LoopbackServer) -> None:
    """None for a task, none for a run that is resumed; the queue is gone once the parent is stored."""
    place = Place(loopback)
    with place.group() as group:
        assert held(loopback) == 0
        asked = [call.endpoint for call in loopback.calls if "queues." in call.endpoint]
        assert asked == ["queues.create", "queues.delete"]
        looked = sum(b"run_number" in str(call.body).encode() for call in loopback.calls)
        group.tasks({"seed": range(3)})
    assert looked == 2 + 1  # the look, the look again, the parent itself
    loopback.reset_counts()
    with place.resume() as group:
        group.task({"seed": 4})
    assert loopback.count("queues.create") == 0
    assert group.run_number == 1
    with place.group() as another:
        assert another.run_number == 2


def test_without_a_parent_of_its_own_a_run_keeps_the_number_until_its_first_task(
    loopback: LoopbackServer,
) -> None:
    """In an outer group's block the parent tells nothing of this group; the run's end gives it back, too."""
    place = Place(loopback)
    with place.group(name="outer"):
        with place.group() as inner:
            assert held(loopback) == 1
            inner.task({"seed": 0})
            assert held(loopback) == 0
        with place.group() as empty:
            assert (empty.run_number, held(loopback)) == (2, 1)
        assert held(loopback) == 0
        with place.group() as again:
            assert again.run_number == 3  # this disk knows of the run without tasks


def test_a_process_that_died_blocks_nobody(loopback: LoopbackServer) -> None:
    """The number that its queue holds is skipped, by all later runs too."""
    place, transport = Place(loopback), Transport(login.connect())
    group = place.open()
    left = reserve_run_number(transport, group.id)
    assert left.number == 2
    group.close()
    numbers = []
    for _ in range(2):
        with place.group() as group:
            numbers.append(group.run_number)
    assert numbers == [3, 4]
    transport.close()


@pytest.mark.parametrize("status", [400, 403])
def test_without_the_right_to_create_queues(
    loopback: LoopbackServer, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The run gets the number that follows, as good as it can be known; one debug line says so."""
    caplog.set_level(logging.DEBUG, "clearml_taskgroup")
    loopback.faults.fail_next("queues.create", status=status, body=refusal(status))
    with Place(loopback).group() as group:
        group.task({"seed": 0})
    assert group.run_number == 1
    assert caplog.text.count("is not reserved") == 1


def test_a_lost_answer_takes_no_number(loopback: LoopbackServer) -> None:
    """A queue that this process has created, without knowing it, is its own."""
    loopback.faults.fail_next("queues.create", kind="drop_after")
    with Place(loopback).group() as group:
        group.task({"seed": 0})
    assert group.run_number == 1
    assert held(loopback) == 0


def test_an_uploaded_run_of_an_earlier_number_changes_nothing(loopback: LoopbackServer) -> None:
    """The next number follows the highest one, not that of the tasks that were stored last."""
    transport = Transport(login.connect())
    store(transport, 3)
    for _ in range(12):
        store(transport, 1)
    assert reserve_run_number(transport, GROUP).number == 4
    transport.close()


class Server:
    """Takes the place of a transport: each call has its answers, the last of which is given again."""

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = answers
        self.made: list[str] = []

    def call(self, action: str, body: dict[str, Any], **times: Any) -> Any:
        """Gives the next answer to a call, or raises it."""
        self.made.append(action)
        left = self.answers[action.replace(".", "_")]
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def tasks(*numbers: int) -> dict[str, Any]:
    """The answer about tasks of runs with these numbers."""
    section = "hyperparams"
    return {"tasks": [{section: {SECTION: {"run_number": {"value": f"{number}"}}}} for number in numbers]}


def test_a_number_is_taken_until_its_queue_is_one_s_own() -> None:
    """One that is reserved is skipped, and one whose task was stored between the look and the queue."""
    taken, own = Refused("taken", 400, 801), {"id": "q"}
    server: Any = Server(
        tasks_get_all=[tasks(4), tasks(7), tasks()], queues_create=[taken, own], queues_delete=[{}]
    )
    reserved = reserve_run_number(server, GROUP)
    assert reserved.number == 8  # 5 is reserved, and of 6 and more, 7 has been stored meanwhile
    reserve = ["tasks.get_all", "queues.create", "queues.create", "tasks.get_all", "queues.delete"]
    assert server.made == [*reserve, "queues.create", "tasks.get_all"]
    reserved.release()
    reserved.release()
    assert server.made.count("queues.delete") == 2


def test_the_number_is_not_below_that_of_this_machine() -> None:
    """Nor below what the server has."""
    for first, number in ((1, 5), (5, 5), (9, 9)):
        server: Any = Server(tasks_get_all=[tasks(4), tasks()], queues_create=[{"id": "q"}])
        assert reserve_run_number(server, GROUP, first).number == number


def test_a_reservation_is_given_back_if_the_server_goes_away() -> None:
    """Whatever becomes of that; other refusals leave the number without a reservation."""
    away = Unreachable("away")
    deletions: list[Any] = [{}, away, Refused("gone", 400, 701)]
    for deleted in deletions:
        server: Any = Server(
            tasks_get_all=[tasks(), away], queues_create=[{"id": "q"}], queues_delete=[deleted]
        )
        with pytest.raises(Unreachable):
            reserve_run_number(server, GROUP)
        assert server.made[-1] == "queues.delete"
    server = Server(tasks_get_all=[tasks()], queues_create=[Refused("no", 400, 800)])
    reserved = reserve_run_number(server, GROUP)
    reserved.release()
    assert (reserved.number, server.made) == (1, ["tasks.get_all", "queues.create"])
    server = Server(tasks_get_all=[tasks()], queues_create=[away])
    with pytest.raises(Unreachable):
        reserve_run_number(server, GROUP)


# --- the same number twice -----------------------------------------------------------------------


def test_two_machines_that_used_the_same_number(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Once both runs are on one server, their number names both ids, and what to write instead."""
    runs = []
    for machine in ("one", "other"):
        monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / machine))
        with Place().group() as group:
            group.task({"machine": machine})
        assert group.run_number == 1
        TaskGroup.upload(group.run)
        runs.append(group.run)
    with pytest.raises(AmbiguousRunError) as raised:
        TaskGroup.load(PROJECT, NAME, run=1, mode="online")
    assert set(raised.value.runs) == set(runs)
    assert all(run in str(raised.value) for run in runs)
    line = told("show", f"{PROJECT}/{NAME}", "--run", "1", code=1)
    assert all(run in line for run in runs)
    assert "--run " in line
    for run, machine in zip(runs, ("one", "other"), strict=True):
        loaded = TaskGroup.load(PROJECT, NAME, run=run[:12], mode="online")
        assert [row.params for row in loaded] == [{"machine": machine}]
    with Place(loopback).group() as group:
        assert group.run_number == 2
        group.task({"machine": "third"})
    assert TaskGroup.load(PROJECT, NAME, run=2, mode="online").about.run == group.run


def test_offline_and_on_a_server(loopback: LoopbackServer) -> None:
    """One disk has each number once, so that nothing changes when the offline runs are uploaded."""
    numbers, place = [], Place(loopback)
    for mode in (Place(), place, Place(), place):
        with mode.group() as group:
            group.task({"seed": 0})
        numbers.append(group.run_number)
    assert numbers == [1, 2, 3, 4]
    for number in numbers:
        assert TaskGroup.load(PROJECT, NAME, run=number, mode="offline").about.run_number == number


def test_two_runs_of_one_number_on_this_disk() -> None:
    """A run log that was copied here from another machine: both ids are named."""
    runs = []
    for _ in range(2):
        with Place().group() as group:
            group.task({"seed": 0})
        assert group.record_path is not None
        text = group.record_path.read_text().replace('"number": 2', '"number": 1')
        group.record_path.write_text(text)
        runs.append(group.run)
    with pytest.raises(AmbiguousRunError) as raised:
        TaskGroup.load(PROJECT, NAME, run=1, mode="offline")
    assert set(raised.value.runs) == set(runs)


@pytest.mark.parametrize("given", [1, "1"])
def test_a_number_is_found_as_a_number_and_as_a_text(loopback: LoopbackServer, given: Any) -> None:
    """With one run of that number there is no question."""
    with Place(loopback).group() as group:
        group.task({"seed": 0})
    assert TaskGroup.load(PROJECT, NAME, run=given).about.run == group.run
