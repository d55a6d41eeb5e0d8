"""A run on a server that several processes share: claims, signs of life, and the last one to leave."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import attrs
import pytest

from clearml_taskgroup._clearml import queries, run_queue
from clearml_taskgroup._clearml.api import Transport
from clearml_taskgroup._clearml.hyperparameters import SECTION, parameter
from clearml_taskgroup._clearml.tasks import create_task, find_or_create_project
from clearml_taskgroup._model.identity import shared_run_id
from clearml_taskgroup._model.name_template import NameTemplate
from clearml_taskgroup._storage import processes, shared_on_server
from clearml_taskgroup._storage.shared_on_server import SharedOnServer, join_on_server
from clearml_taskgroup._storage.shared_run import PARENT, SharedRun
from clearml_taskgroup._storage.shared_without_queue import SharedWithoutQueue
from clearml_taskgroup.errors import ServerError, SharedRunWarning
from tests.loopback import LoopbackServer
from tests.loopback.faults import refusal
from tests.support.server_view import View

TEMPLATE = NameTemplate("{metric}")
KEY = "a1b2c3d4e5f6"
JITTER_S = 0.004
"""How long a call waits at most, and again before its answer, where processes compete."""


@attrs.define
class Machines:
    """A run, and processes on machines that share nothing but the server.

    Attributes:
        view: The server.
        loopback: The same server from within; None for a real one.
        passed: Seconds that have passed by every clock.
    """

    view: View
    loopback: LoopbackServer | None
    run: str = attrs.field(factory=lambda: shared_run_id(uuid.uuid4().hex, "slurm-8812"))
    passed: float = 0.0
    project: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.project = find_or_create_project(self.view.transport, self.view.project)

    def pass_time(self, seconds: float) -> None:
        """Moves all clocks on, which only a server of one's own allows."""
        assert self.loopback is not None
        self.passed += seconds
        self.loopback.state.clock_offset = self.passed

    def process(self, machine: int | str, **options: Any) -> SharedOnServer:
        """A process of another machine that has not joined yet; its clock moves with `pass_time` only."""
        clocks: dict[str, Any] = {"clock": lambda: self.passed, "sleep": self.pass_time}
        return self.real_time(machine, **{**clocks, **options})

    def real_time(self, machine: int | str, **options: Any) -> SharedOnServer:
        """The same with a real clock."""
        transport = Transport(self.view.connection)
        return SharedOnServer(transport, self.run, TEMPLATE, f"machine{machine}-1-1-1", **options)

    def joined(self, machine: int | str, **options: Any) -> SharedOnServer:
        """A process in the run."""
        shared = self.process(machine, **options)
        shared.join()
        return shared

    def opened(self, machine: int) -> SharedRun:
        """A process in the run, by a queue or without."""
        transport = Transport(self.view.connection)
        return join_on_server(transport, self.run, TEMPLATE, f"machine{machine}-1-1-1")

    def create(self, shared: SharedRun, key: str = KEY, attempt: int = 1) -> str:
        """Creates a task, or with the key of the parent the parent, as a group does."""
        identity = {"group": "0" * 12, "group_name": "sweep", "run": self.run, "process": shared.process}
        identity |= {"kind": "task", "key": key, "attempt": str(attempt)} if key else {"kind": "parent"}
        section = {name: parameter(SECTION, name, value) for name, value in identity.items()}
        body = {"name": f"task {key}", "type": "training", "hyperparams": {SECTION: section}}
        return create_task(self.view.transport, body, self.project, identity)

    def run_task(self, shared: SharedRun, key: str = KEY, attempt: int = 1) -> bool | None:
        """Claims, creates and releases; None if the claim was lost."""
        if not shared.claim(key, attempt):
            return None
        return shared.release(key, attempt, self.create(shared, key, attempt))

    def queue(self) -> dict[str, Any] | None:
        """The run's queue, if there is one."""
        name = f"^taskgroup-run {self.run}$"
        return next(iter(self.view.call("queues.get_all", name=name)["queues"]), None)

    def entries(self, kind: str = "") -> list[str]:
        """The entries of the run's queue that begin with something."""
        queue = self.queue()
        entries = queue["entries"] if queue else ()
        return [entry["task"] for entry in entries if entry["task"].startswith(kind)]

    def delete_queue(self) -> None:
        """What a person may do in the web page."""
        queue = self.queue()
        assert queue is not None
        self.view.call("queues.delete", queue=queue["id"], force=True)


@pytest.fixture
def machines(request: pytest.FixtureRequest, server: View) -> Iterator[Machines]:
    """A run of the test's own; its queue is deleted at the end."""
    real = request.config.getoption("--server")
    made = Machines(server, None if real else request.getfixturevalue("loopback"))
    yield made
    if made.queue():
        made.delete_queue()


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """Makes calls at the same moment, each in a thread of its own."""
    barrier = threading.Barrier(len(calls))

    def call(function: Callable[[], Any]) -> Any:
        barrier.wait()
        return function()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


# --- claims -------------------------------------------------------------------------------------


def winners(machines: Machines, keys: list[str]) -> Counter[str]:
    """How many of 8 processes win each key, if they all want it at the same moment."""
    competing = [machines.real_time(machine) for machine in range(8)]
    for shared in competing:
        shared.join()
    if machines.loopback is not None:
        machines.loopback.faults.jitter = JITTER_S
    won: Counter[str] = Counter()
    for key in keys:
        won[key] = sum(at_once([partial(shared.claim, key, 1) for shared in competing]))
    if machines.loopback is not None:
        machines.loopback.faults.clear()
    return won


def test_one_process_wins_each_claim(machines: Machines) -> None:
    """Of processes that want the same task at the same moment, exactly one gets it; the parent likewise."""
    if machines.loopback is not None:
        machines.loopback.state.queue_pause = 2 * JITTER_S
    keys = [f"{number:012x}" for number in range(9)]
    assert winners(machines, [*keys, PARENT]) == dict.fromkeys([*keys, PARENT], 1)


def test_the_claim_needs_the_atomic_update(machines: Machines, loopback: LoopbackServer) -> None:
    """On a server whose queues are read, compared and written, the test before this one fails."""
    loopback.state.queue_pause, loopback.state.atomic_queues = 0.05, False
    assert max(winners(machines, [KEY, PARENT]).values()) > 1


def test_each_task_is_created_once(machines: Machines) -> None:
    """Processes that go through the same tasks create each of them once, in different processes."""
    keys = [f"{number:012x}" for number in range(10)]
    competing = [machines.real_time(machine) for machine in range(4)]
    if machines.loopback is not None:
        machines.loopback.faults.jitter = JITTER_S

    def work(shared: SharedOnServer) -> list[str]:
        shared.join()
        return [key for key in keys if machines.run_task(shared, key)]

    ran = at_once([partial(work, shared) for shared in competing])
    assert sorted(key for listed in ran for key in listed) == keys
    assert sorted(task.key for task in competing[0].members()) == keys
    assert machines.entries("claim:") == []


def test_the_one_that_is_longest_in_the_run_leads(machines: Machines) -> None:
    """One living process keeps the parent's page up to date; when it has left or died, the next one does."""
    first, second, third = (machines.joined(number) for number in range(3))
    assert [one.leads() for one in (first, second, third)] == [True, False, False]
    first.leave()
    assert [one.leads() for one in (first, second, third)] == [False, True, False]
    for _ in range(12):
        machines.pass_time(30.0)
        third.beat()
    assert third.leads()  # the second one gave no sign of life


def test_a_claim_costs_three_calls(machines: Machines, loopback: LoopbackServer) -> None:
    """Beside the task's own calls, there are three for the process that runs it, and one for who loses."""
    first, second = machines.joined(1), machines.joined(2)
    assert first.claim(KEY, 1)
    loopback.reset_counts()
    assert not second.claim(KEY, 1)
    assert [call.endpoint for call in loopback.calls] == ["queues.add_task"]
    assert machines.run_task(second, "a")  # the first one asks also for tasks of version 0.1
    loopback.reset_counts()
    assert second.claim("b", 1)
    assert second.release("b", 1, "id")
    assert [call.endpoint for call in loopback.calls] == [
        "queues.add_task",
        "tasks.get_all",
        "queues.remove_task",
    ]


@pytest.mark.parametrize("key", [KEY, PARENT, "C=1 / a.b:", "x" * 3000, "ä\udc80"])
def test_what_exists_is_not_claimed(machines: Machines, key: str) -> None:
    """A task that was created is not claimed again, whatever its key is; its next attempt is."""
    first, second = machines.joined(1), machines.joined(2)
    assert machines.run_task(first, key)
    assert machines.run_task(second, key) is None
    assert machines.entries("claim:") == []
    if key != PARENT:
        assert machines.run_task(second, key, 2)


def test_a_claim_can_be_given_back(machines: Machines) -> None:
    """A claim whose task is not created after all is free at once."""
    first, second = machines.joined(1), machines.joined(2)
    assert first.claim(KEY, 1)
    assert second.is_being_created(KEY, 1)
    assert first.release(KEY, 1, None)
    assert not second.is_being_created(KEY, 1)
    assert machines.run_task(second)


def test_killed_before_the_task_was_created(machines: Machines, loopback: LoopbackServer) -> None:
    """The claim of a process that died is free after 60 s of the server's clock; one process gets it."""
    dying, *others = (machines.joined(machine) for machine in range(4))
    assert dying.claim(KEY, 1)
    machines.pass_time(59)
    assert [(shared.claim(KEY, 1), shared.is_being_created(KEY, 1)) for shared in others] == [
        (False, True)
    ] * 3
    machines.pass_time(61)
    assert not any(shared.is_being_created(KEY, 1) for shared in others)
    won = at_once([partial(shared.claim, KEY, 1) for shared in others])
    assert sum(won) == 1


def test_several_die_with_the_same_claim(machines: Machines, loopback: LoopbackServer) -> None:
    """The claim is free again each time."""
    for machine in range(3):
        shared = machines.joined(machine)
        machines.pass_time(61)
        assert not shared.is_being_created(KEY, 1)
        assert shared.claim(KEY, 1)
    last = machines.joined("last")
    assert last.is_being_created(KEY, 1)
    machines.pass_time(61)
    assert not last.is_being_created(KEY, 1)
    assert machines.run_task(last)


def test_a_stale_claim_is_found_by_claiming(machines: Machines, loopback: LoopbackServer) -> None:
    """Who only tries again gets the claim of a process that died, too."""
    dying, other = machines.joined(1), machines.joined(2)
    assert dying.claim(KEY, 1)
    tries = 0
    while not other.claim(KEY, 1):
        tries += 1
        machines.pass_time(5)
    assert 60 <= machines.passed <= 95
    loopback.reset_counts()
    assert other.release(KEY, 1, machines.create(other))
    assert tries > 10


def test_killed_after_the_task_was_created(machines: Machines, loopback: LoopbackServer) -> None:
    """The task is not created again, although its claim is still there."""
    dying, other = machines.joined(1), machines.joined(2)
    assert dying.claim(KEY, 1)
    machines.create(dying)
    assert not other.claim(KEY, 1)
    machines.pass_time(100)
    assert not other.is_being_created(KEY, 1)
    assert not other.claim(KEY, 1)
    assert [task.process for task in other.members()] == [dying.process]


def test_a_suspended_process_takes_no_claim_away(machines: Machines, loopback: LoopbackServer) -> None:
    """A process that gives its claim back after an hour does not give back the claim of another one."""
    asleep, other, third = (machines.joined(machine) for machine in range(3))
    assert asleep.claim(KEY, 1)
    machines.pass_time(3600)
    assert not other.is_being_created(KEY, 1)
    assert other.claim(KEY, 1)
    assert asleep.release(KEY, 1, None)
    assert third.is_being_created(KEY, 1)
    assert not third.claim(KEY, 1)


def test_a_process_suspended_after_its_claim(machines: Machines, loopback: LoopbackServer) -> None:
    """If it creates the task nevertheless, the one that was created first counts, and both know."""
    asleep, other = machines.joined(1), machines.joined(2)
    assert asleep.claim(KEY, 1)
    machines.pass_time(3600)
    assert not other.is_being_created(KEY, 1)
    assert other.claim(KEY, 1)
    first = machines.create(other)
    second = machines.create(asleep)
    assert first != second
    assert not asleep.release(KEY, 1, second)
    assert other.release(KEY, 1, first)
    assert [task.id for task in other.members()] == [first]


def test_a_process_suspended_within_the_claim(
    machines: Machines, loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes back more than 30 s after its claim does not use it, and leaves it to become stale."""
    asleep, other = machines.joined(1), machines.joined(2)
    real = queries.attempts_of

    def slow(*args: Any) -> Any:
        machines.pass_time(31)
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(shared_on_server, "attempts_of", slow)
        assert not asleep.claim(KEY, 1)
    assert other.is_being_created(KEY, 1)
    machines.pass_time(31)
    assert not other.is_being_created(KEY, 1)
    assert machines.run_task(other)


def test_the_answer_to_a_claim_is_lost(machines: Machines, loopback: LoopbackServer) -> None:
    """Nobody knows whose the claim is, so it is nobody's until it is stale."""
    shared = machines.joined(1)
    loopback.faults.fail_next("queues.add_task", kind="drop_after")
    assert not shared.claim(KEY, 1)
    assert shared.is_being_created(KEY, 1)
    machines.pass_time(91)
    assert not shared.is_being_created(KEY, 1)
    assert machines.run_task(shared)


def test_an_answer_of_a_server_that_is_broken(machines: Machines, loopback: LoopbackServer) -> None:
    """Without its search engine a server adds the entry and answers 500: the claim is nobody's."""
    shared = machines.joined(1)
    loopback.faults.fail_next("queues.add_task", status=500, after=True)
    assert not shared.claim(KEY, 1)


def test_a_lost_release_is_in_nobodys_way(
    machines: Machines, loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task exists, so a claim that stays does not matter."""
    shared, other = machines.joined(1), machines.joined(2)
    assert shared.claim(KEY, 1)
    task_id = machines.create(shared)
    loopback.faults.fail_next("queues.remove_task", body=refusal(500), status=500, times=6)
    monkeypatch.setattr("clearml_taskgroup._clearml.api.MAX_RETRY_DELAY_S", 0.001)
    assert shared.release(KEY, 1, task_id)
    assert machines.run_task(other) is None


def test_a_server_that_is_away(machines: Machines, loopback: LoopbackServer, monkeypatch: Any) -> None:
    """A claim raises what any call raises."""
    shared = machines.joined(1)
    monkeypatch.setattr("clearml_taskgroup._model.limits.API_TIMEOUT_S", 0.0)
    loopback.faults.outage = True
    with pytest.raises(ServerError):
        shared.claim(KEY, 1)
    loopback.faults.outage = False


@pytest.mark.parametrize(("seconds", "removed"), [(30.0, True), (30.1, False)])
def test_a_claim_is_given_back_in_time_or_not_at_all(
    machines: Machines, loopback: LoopbackServer, seconds: float, removed: bool
) -> None:
    """After 30 s others may take it for stale soon."""
    machines.pass_time(1000)
    shared = machines.joined(1)
    assert shared.claim(KEY, 1)
    machines.pass_time(seconds)
    assert shared.release(KEY, 1, None)
    assert (machines.entries("claim:") == []) is removed


@pytest.mark.parametrize(("seconds", "calls"), [(30.0, 0), (30.1, 1)])
def test_a_late_release_looks_who_was_first(
    machines: Machines, loopback: LoopbackServer, seconds: float, calls: int
) -> None:
    machines.pass_time(1000)
    shared = machines.joined(1)
    assert shared.claim(KEY, 1)
    task_id = machines.create(shared)
    machines.pass_time(seconds)
    loopback.reset_counts()
    assert shared.release(KEY, 1, task_id)
    assert loopback.count("tasks.get_all") == calls


def test_a_claim_counts_as_stale_from_60_s_on(machines: Machines, loopback: LoopbackServer) -> None:
    """The one that replaces it has the next number."""
    dying, other = machines.joined(1), machines.joined(2)
    assert dying.claim(KEY, 1)
    machines.pass_time(55)
    assert other.is_being_created(KEY, 1)
    machines.pass_time(31)  # until the next sign of life, which shows the server's time
    assert not other.is_being_created(KEY, 1)
    assert other.claim(KEY, 1)
    assert [entry.rpartition(".")[2] for entry in machines.entries("claim:")] == ["1", "2"]
    assert other.release(KEY, 1, machines.create(other))
    assert [entry.rpartition(".")[2] for entry in machines.entries("claim:")] == ["1"]


# --- the queue is deleted -----------------------------------------------------------------------


def test_the_queue_is_deleted_before_a_claim(machines: Machines) -> None:
    """The process joins again, and claims then."""
    shared = machines.real_time(1)
    shared.join()
    machines.delete_queue()
    assert machines.run_task(shared)
    assert machines.entries("p:") == [f"p:{shared.process}.1"]


def test_the_queue_is_deleted_before_a_release(machines: Machines) -> None:
    """Another process may have claimed the task in a new queue, so the tasks themselves are asked."""
    first, second = machines.real_time(1), machines.real_time(2)
    first.join()
    assert first.claim(KEY, 1)
    machines.delete_queue()
    second.join()
    assert second.claim(KEY, 1)
    earlier = machines.create(second)
    assert not first.release(KEY, 1, machines.create(first))
    assert second.release(KEY, 1, earlier)


def test_the_queue_is_deleted_while_joining(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run has just ended, and begins anew."""
    shared = machines.real_time(1)
    deleted = iter([True])

    def add(*args: Any, **times: Any) -> bool:
        if next(deleted, False):
            machines.delete_queue()
        return run_queue.add_entry(*args, **times)

    monkeypatch.setattr(shared_on_server, "add_entry", add)
    shared.join()
    assert machines.entries() == [f"p:{shared.process}.1"]


def test_the_queue_is_deleted_before_a_sign_of_life(machines: Machines, loopback: LoopbackServer) -> None:
    """A process that was never silent for long joins again; one that was has been taken for dead."""
    awake, asleep = machines.joined("awake"), machines.joined("asleep")
    machines.pass_time(200)
    awake.beat()
    machines.pass_time(200)
    machines.delete_queue()
    awake.beat()
    asleep.beat()
    assert (awake.withdrawn, asleep.withdrawn) == (False, True)
    assert machines.entries() == [f"p:{awake.process}.1"]
    assert not asleep.claim(KEY, 1)


def test_the_queue_is_deleted_before_leaving(machines: Machines) -> None:
    """Somebody else has ended the run."""
    shared = machines.real_time(1)
    shared.join()
    machines.delete_queue()
    assert not shared.leave()
    assert machines.queue() is None


def test_who_has_not_noticed_that_the_queue_was_deleted_is_not_dead(machines: Machines) -> None:
    one, two = machines.joined(1), machines.joined(2)
    assert machines.run_task(two)
    machines.delete_queue()
    assert machines.run_task(one, "another key")
    assert one.leave()
    assert one.claim_dead() == []
    one.ended()
    machines.pass_time(30)
    two.beat()
    assert not two.withdrawn
    assert two.leave()
    two.ended()


def test_the_queue_is_deleted_before_the_end(machines: Machines) -> None:
    """The run has ended then."""
    shared = machines.real_time(1)
    shared.join()
    assert shared.leave()
    machines.delete_queue()
    assert not shared.claim_dead()
    shared.ended()
    assert machines.queue() is None


def test_a_cleared_queue(machines: Machines, loopback: LoopbackServer) -> None:
    """A person who clears the queue in the web page makes processes show themselves again."""
    shared, other = machines.joined(1), machines.joined(2)
    queue = machines.queue()
    assert queue is not None
    machines.view.call("queues.clear_queue", queue=queue["id"])
    machines.pass_time(30)
    shared.beat()
    assert not other.leave()
    assert shared.leave()


# --- signs of life ------------------------------------------------------------------------------


def test_a_process_that_gives_signs_of_life(machines: Machines, loopback: LoopbackServer) -> None:
    """It is alive however long it takes; it has two entries, its first and its latest."""
    shared, other = machines.joined(1), machines.joined(2)
    for _ in range(20):
        machines.pass_time(30)
        shared.beat()
        other.beat()
        assert (list(shared.claim_dead()), list(other.claim_dead())) == ([], [])
    assert len(machines.entries(f"p:{shared.process}.")) <= 2
    assert not other.leave()


def test_signs_of_life_are_given_every_30_s(machines: Machines, loopback: LoopbackServer) -> None:
    """In between, `beat` does nothing."""
    shared = machines.joined(1)
    loopback.reset_counts()
    machines.pass_time(29)
    shared.beat()
    assert loopback.calls == []
    machines.pass_time(1)
    shared.beat()
    assert loopback.count("queues.add_task") == 1


def test_a_silent_process_is_taken_over_by_one(machines: Machines, loopback: LoopbackServer) -> None:
    """After 300 s of silence one process gets it; it learns of that, and joins again under another name."""
    silent, *others = (machines.joined(machine) for machine in range(4))
    for _ in range(10):
        machines.pass_time(29.9)
        assert not any(shared.claim_dead() for shared in others)
        machines.pass_time(0.1)
        for shared in others:
            shared.beat()
    found = at_once([shared.claim_dead for shared in others])
    assert sorted(map(list, found)) == [[], [], [silent.process]]
    taker = others[next(at for at, listed in enumerate(found) if listed)]
    taker.remove_dead(silent.process)
    told: list[bool] = []
    silent.on_withdrawn = lambda: told.append(silent.withdrawn)
    silent.beat()
    assert (silent.withdrawn, told) == (True, [True])
    assert not silent.claim(KEY, 1)
    assert not machines.entries(f"p:{silent.process}.")
    before = silent.process
    silent.join()
    assert silent.process != before
    assert not silent.withdrawn
    assert machines.run_task(silent)


def test_who_takes_over_dies(machines: Machines, loopback: LoopbackServer) -> None:
    """Until the tasks of a dead process have been ended, another one takes over after 60 s."""
    silent, other = machines.joined("silent"), machines.joined("other")
    machines.pass_time(301)
    heir, next_heir = machines.joined("heir"), machines.joined("next heir")
    assert sorted(heir.claim_dead()) == sorted([silent.process, other.process])
    assert not next_heir.claim_dead()
    machines.pass_time(31)
    next_heir.beat()
    machines.pass_time(31)
    next_heir.beat()
    assert sorted(next_heir.claim_dead()) == sorted([silent.process, other.process])
    next_heir.remove_dead(silent.process)
    next_heir.remove_dead(other.process)
    machines.pass_time(61)
    next_heir.beat()
    assert not next_heir.claim_dead()


def test_who_ends_the_tasks_of_a_dead_process_says_so(machines: Machines, loopback: LoopbackServer) -> None:
    """With the next number each time, as long as nobody has removed it."""
    silent = machines.joined("silent")
    machines.pass_time(301)
    for number in (1, 2):
        heir = machines.joined(f"heir {number}")
        assert heir.claim_dead()[:1] == [silent.process]
        assert heir.claim_dead() == []
        assert f"dead:{silent.process}.{number}" in machines.entries("dead:")
        machines.pass_time(61)
    assert len([entry for entry in machines.entries("dead:") if silent.process in entry]) == 2


@pytest.mark.parametrize(
    ("silent", "steady", "can_judge"),
    [(150, 60, True), (150.1, 60, False), (0, 59.9, False), (0, 1000, True)],
)
def test_who_can_judge_whether_others_are_alive(silent: float, steady: float, can_judge: bool) -> None:
    """Who has given a sign of life not long ago, and for as long as the others need to give one, too."""
    transport: Any = None
    shared = SharedOnServer(transport, "r", TEMPLATE, "p1", clock=lambda: 5000.0)
    shared._last_sign, shared._steady_since = 5000.0 - silent, 5000.0 - steady
    assert shared._can_judge() is can_judge


@pytest.mark.parametrize(("seconds", "is_steady"), [(150, True), (151, False)])
def test_a_process_that_was_silent_for_long_waits_before_it_judges(
    machines: Machines, loopback: LoopbackServer, seconds: int, is_steady: bool
) -> None:
    shared = machines.joined(1)
    machines.pass_time(1000)
    shared.beat()
    machines.pass_time(60)
    shared.beat()
    assert shared._can_judge()
    machines.pass_time(seconds)
    shared.beat()
    assert shared._can_judge() is is_steady
    machines.pass_time(60)
    assert shared._can_judge()


def test_a_clock_that_runs_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is one."""
    assert abs(shared_on_server.machine_time() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 60.0
    monkeypatch.setattr(time, "monotonic", lambda: -7.0)
    assert shared_on_server.machine_time() > 0.0
    monkeypatch.setattr(sys, "platform", "darwin")
    assert shared_on_server.machine_time() == -7.0


def test_a_forked_child_says_nothing_of_its_parent(
    machines: Machines, loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = machines.joined(1)
    machines.pass_time(31)
    loopback.reset_counts()
    monkeypatch.setattr("os.getpid", lambda: 0)
    shared.beat()
    assert loopback.calls == []


def test_that_a_process_was_taken_for_dead_is_told_once(machines: Machines, loopback: LoopbackServer) -> None:
    """Also without anybody to tell; it leads nothing, and is not the last one."""
    told: list[int] = []
    silent, other = machines.joined("silent"), machines.joined("other")
    for _ in range(11):
        machines.pass_time(30)
        other.beat()
    assert other.claim_dead() == [silent.process]
    silent.beat()
    silent.on_withdrawn = lambda: told.append(1)
    silent.beat()
    assert (silent.withdrawn, told, silent.leads(), silent.leave()) == (True, [], False, False)
    silent.join()
    assert (silent.withdrawn, silent.others_at_join) == (False, 1)


def test_how_many_others_are_in_the_run(machines: Machines) -> None:
    shares = [machines.real_time(machine) for machine in range(3)]
    for shared in shares:
        shared.join()
    assert [shared.others_at_join for shared in shares] == [0, 1, 2]


def test_the_log_says_whom_a_process_waits_for(
    machines: Machines, loopback: LoopbackServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Once."""
    caplog.set_level("INFO", logger="clearml_taskgroup")
    ending = machines.joined("ending")
    assert ending.leave()
    machines.joined("joining")
    lines = [record.getMessage() for record in caplog.records if "waiting for" in record.getMessage()]
    assert lines == ["waiting for pid 1 on another machine (machineending), which ends the run"]


@pytest.mark.parametrize(("seconds", "is_warned"), [(50, False), (70, True)])
def test_a_run_that_stays_open_is_told_of_where_all_others_are_silent(
    machines: Machines,
    loopback: LoopbackServer,
    caplog: pytest.LogCaptureFixture,
    seconds: int,
    is_warned: bool,
) -> None:
    """For more than a minute; one that is not keeps quiet for them."""
    machines.joined("silent")
    machines.pass_time(seconds)
    other = machines.joined("other")
    assert not other.leave()
    assert (f"has given no sign of life for {seconds} s" in caplog.text) is is_warned
    caplog.clear()
    machines.joined("living")
    other.join()
    assert not other.leave()
    assert "no sign of life" not in caplog.text


def test_a_dead_process_of_this_machine(machines: Machines) -> None:
    """Nobody waits for a process that the system knows to have ended."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = f"{processes._machine()}-{child.pid}-{processes._started(child.pid)}-1"
    dead, other = machines.real_time(1), machines.real_time(2)
    dead.process = name
    dead.join()
    other.join()
    assert list(other.claim_dead()) == []
    child.communicate(b"\n")
    assert list(other.claim_dead()) == [name]
    other.remove_dead(name)
    assert other.leave()


def test_a_group_of_this_process(machines: Machines) -> None:
    """A group that has left, or could not, does not keep others of the same process waiting."""
    first, second = machines.real_time(1), machines.real_time(2)
    first.process, second.process = processes.this_process(), processes.this_process()
    first.join()
    second.join()
    assert list(first.claim_dead()) == []
    assert not first.leave()
    assert second.leave()


def test_a_long_outage_kills_nobody(machines: Machines, loopback: LoopbackServer) -> None:
    """When the server is back, each process waits until the others have given a sign of life, too."""
    first, second = machines.joined(1), machines.joined(2)
    loopback.faults.outage = True
    machines.pass_time(10_800)
    first.beat()
    second.beat()
    loopback.faults.outage = False
    assert not first.claim_dead()
    machines.pass_time(30)
    first.beat()
    assert not first.claim_dead()
    second.beat()
    for _ in range(4):
        machines.pass_time(30)
        first.beat()
        second.beat()
        assert not first.claim_dead()
    assert (first.withdrawn, second.withdrawn) == (False, False)
    machines.pass_time(301)
    for _ in range(3):
        first.beat()
        machines.pass_time(30)
    assert list(first.claim_dead()) == [second.process]


def test_leaving_after_an_outage(machines: Machines, loopback: LoopbackServer) -> None:
    """The first one that leaves when the server is back does not take the others for dead."""
    first, second = machines.joined(1), machines.joined(2)
    machines.pass_time(10_800)
    assert not first.leave()
    assert second.leave()


def test_a_sign_of_life_never_raises(machines: Machines, loopback: LoopbackServer) -> None:
    """Without the server it is tried again after some seconds."""
    shared = machines.joined(1)
    loopback.faults.outage = True
    machines.pass_time(30)
    shared.beat()
    loopback.faults.outage = False
    loopback.reset_counts()
    shared.beat()
    assert loopback.calls == []
    machines.pass_time(5)
    shared.beat()
    assert loopback.count("queues.add_task") == 1


# --- the end, and sessions ----------------------------------------------------------------------


def test_the_last_to_leave_ends_the_run(machines: Machines) -> None:
    """The queue is deleted then; who joins later is in a later session."""
    first, second = machines.real_time(1), machines.real_time(2)
    first.join()
    second.join()
    assert first.session == second.session
    assert not first.leave()
    first.ended()  # as after an error
    assert machines.queue() is not None
    assert second.leave()
    second.ended()
    assert machines.queue() is None
    first.join()
    assert first.session > second.session
    assert first.leave()
    first.ended()


def test_exactly_one_is_the_last(machines: Machines) -> None:
    """Processes leave at the same moment, and two of them join again: each queue has one last process."""
    count = 8
    shares = [machines.real_time(machine) for machine in range(count)]
    for shared in shares:
        shared.join()
    if machines.loopback is not None:
        machines.loopback.faults.jitter = JITTER_S
        machines.loopback.state.queue_pause = JITTER_S
    lasts: list[str] = []

    def leave(shared: SharedOnServer, again: bool) -> None:
        for _ in range(1 + again):
            if not shared._state:
                shared.join()
            if shared.leave():
                lasts.append(shared._queue)
                shared.ended()

    at_once([partial(leave, shared, at < 2) for at, shared in enumerate(shares)])
    if machines.loopback is not None:
        machines.loopback.faults.clear()
    assert len(lasts) == len(set(lasts)) >= 1
    assert machines.queue() is None


def test_who_joins_waits_for_the_end(machines: Machines) -> None:
    """A process that joins while another one ends the run begins anew when that is done."""
    ending = machines.real_time("ending")
    ending.join()
    assert ending.leave()
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            ending.ended()

    joining = machines.real_time("joining", sleep=sleep)
    joining.join()
    assert len(slept) >= 3
    assert joining.session > ending.session
    assert machines.entries() == [f"p:{joining.process}.1"]


def test_who_joins_before_the_end_is_seen(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that joins just as another one wants to end the run keeps it open, and is the last."""
    leaving, joining = machines.real_time("leaving"), machines.real_time("joining")
    leaving.join()
    steps = iter(range(100))

    def add(transport: Transport, queue: str, entry: str, **times: Any) -> bool:
        added = run_queue.add_entry(transport, queue, entry, **times)
        if next(steps) == 0:
            run_queue.add_entry(transport, queue, f"p:{joining.process}.1")
        return added

    with monkeypatch.context() as patch:
        patch.setattr(shared_on_server, "add_entry", add)
        assert not leaving.leave()
    joining.join()
    assert joining.leave()


def test_who_ends_the_run_dies(machines: Machines, loopback: LoopbackServer) -> None:
    """The next process waits for a minute, goes on in the same queue, in a later session."""
    ending = machines.joined("ending")
    assert ending.leave()
    joining = machines.joined("joining")
    assert 60 <= machines.passed < 120
    assert list(joining.claim_dead()) == [ending.process]
    assert joining.session > ending.session
    joining.remove_dead(ending.process)
    assert joining.leave()
    joining.ended()
    assert machines.queue() is None


def test_who_ends_the_run_takes_long(machines: Machines, loopback: LoopbackServer) -> None:
    """As long as it gives signs of life, others wait for it."""
    ending = machines.joined("ending")
    assert ending.leave()

    def sleep(seconds: float) -> None:
        machines.pass_time(seconds)
        ending.beat()
        if machines.passed > 1000:
            ending.ended()

    machines.joined("joining", sleep=sleep)
    assert machines.passed > 1000


def test_who_ends_the_run_was_suspended(machines: Machines, loopback: LoopbackServer) -> None:
    """It does not delete the queue of those that have joined meanwhile."""
    ending = machines.joined("ending")
    assert ending.leave()
    joining = machines.joined("joining")
    ending.ended()
    assert joining.leave()
    joining.ended()
    assert machines.queue() is None


def test_the_answers_of_leaving_are_lost(machines: Machines, loopback: LoopbackServer) -> None:
    """The process knows its own entries, so it is the last nevertheless."""
    shared = machines.joined(1)
    loopback.faults.fail_next("queues.remove_task", kind="drop_after")
    loopback.faults.fail_next("queues.add_task", kind="drop_after")
    assert shared.leave()
    loopback.faults.fail_next("queues.delete", kind="drop_after")
    shared.ended()
    assert machines.queue() is None


def test_the_answers_of_joining_are_lost(machines: Machines, loopback: LoopbackServer) -> None:
    """A queue that was created is found, and an entry that was added is there."""
    loopback.faults.fail_next("queues.create", kind="drop_after")
    loopback.faults.fail_next("queues.add_task", kind="drop_after")
    shared = machines.joined(1)
    assert machines.entries() == [f"p:{shared.process}.1"]


def test_a_run_that_became_empty_by_death(machines: Machines, loopback: LoopbackServer) -> None:
    """A later session begins once those are taken over that died before the others joined."""
    dead = [machines.joined(f"dead {number}") for number in range(2)]
    machines.pass_time(100)
    joined = [machines.joined(number) for number in range(2)]
    assert {shared.session for shared in joined} == {dead[0].session}
    for _ in range(9):
        machines.pass_time(30)
        for shared in joined:
            shared.beat()
    taken = [*joined[0].claim_dead(), *joined[1].claim_dead()]
    assert sorted(taken) == sorted(shared.process for shared in dead)
    assert len(machines.entries("session:")) == 1
    machines.pass_time(30)
    for shared in joined:
        shared.beat()
    assert joined[0].session == joined[1].session > dead[0].session


def test_a_death_beside_others(machines: Machines, loopback: LoopbackServer) -> None:
    """The session goes on if somebody was in the run all the time."""
    dead, alive = machines.joined("dead"), machines.joined("alive")
    for _ in range(11):
        machines.pass_time(30)
        alive.beat()
    assert list(alive.claim_dead()) == [dead.process]
    assert alive.session == dead.session


def test_a_killed_process_keeps_the_run_open(
    machines: Machines, loopback: LoopbackServer, caplog: pytest.LogCaptureFixture
) -> None:
    """For 300 s it counts as alive, so the last living process is not the last, and says so."""
    killed, other = machines.joined("killed"), machines.joined("other")
    for _ in range(3):
        machines.pass_time(30)
        other.beat()
    assert not other.leave()
    assert "stays open: pid 1 on another machine" in caplog.text
    machines.pass_time(300)
    later = machines.joined("later")
    assert list(later.claim_dead()) == [killed.process]
    later.remove_dead(killed.process)
    assert later.leave()


def test_joining_is_interrupted(machines: Machines, loopback: LoopbackServer) -> None:
    """Ctrl-C while a process waits for the end of the run takes its presence back."""
    ending = machines.joined("ending")
    assert ending.leave()

    def sleep(seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        machines.joined("joining", sleep=sleep)
    assert machines.entries("p:") == []


# --- what is stored, and the way without a queue ------------------------------------------------


def test_tasks_are_read_with_their_processes(machines: Machines) -> None:
    """All tasks of the run, open ones without a status; copies do not count, nor the parent."""
    shared = machines.real_time(1)
    shared.join()
    assert shared.parent() is None
    assert machines.run_task(shared, PARENT)
    for key in ("done", "open"):
        assert machines.run_task(shared, key)
    done, _ = (task.id for task in shared.members())
    machines.view.call("tasks.started", task=done)
    machines.view.call("tasks.completed", task=done)
    machines.view.call("tasks.clone", task=done, new_task_name="a copy")
    found = {task.key: (task.status, task.process) for task in shared.members()}
    assert found == {"done": ("completed", shared.process), "open": (None, shared.process)}
    assert shared.parent() not in (None, *(task.id for task in shared.members()))


def test_a_server_that_refuses_queues(machines: Machines, loopback: LoopbackServer) -> None:
    """The run goes on with a warning: of two tasks with the same key, the first one counts."""
    shares = []
    for machine in range(2):
        loopback.faults.fail_next("queues.create", body=refusal(403, 21), status=403)
        with pytest.warns(SharedRunWarning, match=r"two that begin the same .* may both run it"):
            shares.append(machines.opened(machine))
    first, second = shares
    assert isinstance(first, SharedWithoutQueue)
    assert machines.run_task(first, "only one")
    assert machines.run_task(second, "only one") is None
    assert first.claim(KEY, 1)
    assert second.claim(KEY, 1)
    tasks = [machines.create(shared) for shared in (first, second)]
    assert [shared.release(KEY, 1, task_id) for shared, task_id in zip(shares, tasks, strict=True)] == [
        True,
        False,
    ]
    assert [task.id for task in second.members() if task.key == KEY] == tasks[:1]
    assert not second.leave()
    assert first.leave()


def test_a_server_that_refuses_texts(machines: Machines, loopback: LoopbackServer) -> None:
    """A server that accepts tasks only as entries is one without queues."""
    loopback.faults.fail_next("queues.add_task", body=refusal(400, 101, "Invalid task id"), status=400)
    with pytest.warns(SharedRunWarning, match="Invalid task id"):
        shared = machines.opened(1)
    assert isinstance(shared, SharedWithoutQueue)
