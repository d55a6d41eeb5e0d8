"""A run shared on a server, under random schedules: one call at a time, and a seed says whose.

Processes are threads that wait for their turn before each call. Some die in between, are suspended, or lose
an answer, so that the call is made once more. The clock moves as the schedule says.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import attrs
import pytest

from clearml_taskgroup._clearml.api_errors import Refused
from clearml_taskgroup._clearml.hyperparameters import configuration_object, parameter, runtime_of
from clearml_taskgroup._model.name_template import NameTemplate
from clearml_taskgroup._storage.run_entries import ENDING
from clearml_taskgroup._storage.shared_on_server import SharedOnServer
from clearml_taskgroup._storage.shared_run import PARENT
from tests.conftest import Seeds

Doc = dict[str, Any]
Found = TypeVar("Found")
KEYS = ("a", "b", "c")
RUN = "the run"
TEMPLATE = NameTemplate("{metric}")
DEADLOCK_S = 20.0
EPOCH_S = 1e9


class Killed(BaseException):
    """A process that ends here."""


@attrs.define
class Server:
    """Queues and tasks in memory; each call is one step.

    Attributes:
        now: Seconds that have passed.
    """

    now: float = 0.0
    queues: dict[str, Doc] = attrs.field(factory=dict)
    tasks: list[Doc] = attrs.field(factory=list)
    made: int = 0

    def date(self) -> str:
        """The time as the real server writes it."""
        return datetime.fromtimestamp(EPOCH_S + self.now, UTC).isoformat()

    def call(self, action: str, body: Doc) -> Doc:
        """Answers a call, or raises what the transport does."""
        self.now += 0.001
        if action == "tasks.get_all":
            if "hyperparams.TaskGroup.key.value" in body:  # of version 0.1
                return {"tasks": []}
            key = body.get("runtime.taskgroup_key")
            return {"tasks": [_document(task) for task in self.tasks if key in (None, task["key"])]}
        if action == "queues.create":
            if self.queues:
                raise Refused("exists", 400, 801)
            self.made += 1
            name = f"queue {self.made}"
            self.queues[name] = {"id": name, "name": body["name"], "entries": [], "created": self.date()}
            return {"id": name}
        if action == "queues.get_all":
            return {"queues": list(self.queues.values())}
        queue, entry = self.queues.get(body["queue"]), body.get("task")
        is_there = queue is not None and any(each["task"] == entry for each in queue["entries"])
        if action == "queues.remove_task" and not is_there:
            raise Refused("not there", 400, 703)
        if queue is None:
            raise Refused("no queue", 400, 701)
        if action == "queues.add_task":
            if is_there:
                raise Refused("there", 400, 706)
            queue["entries"] = [*queue["entries"], {"task": entry, "added": self.date()}]
        if action == "queues.remove_task":
            queue["entries"] = [each for each in queue["entries"] if each["task"] != entry]
        if action == "queues.get_by_id":
            return {"queue": dict(queue)}
        if action == "queues.delete":
            del self.queues[queue["id"]]
        queue["last_update"] = self.date()
        return {"removed": 1}


def _document(task: Doc) -> Doc:
    kind = "task" if task["key"] != PARENT else "parent"
    identity = {"run": RUN, "kind": kind, "key": task["key"], "attempt": "1", "process": task["process"]}
    status = "in_progress" if task["status"] == "open" else "stopped"
    document = {"id": task["id"], "created": task["created"], "status": status}
    shared = {name: parameter("TaskGroup", name, identity[name]) for name in ("run", "kind")}
    document |= {"hyperparams": {"TaskGroup": shared}, "runtime": runtime_of(identity)}
    return {**document, "configuration": {"TaskGroup": configuration_object(identity)}}


@attrs.define(eq=False)
class Schedule:
    """Lets one process at a time make its next step.

    Attributes:
        deaths: The share of steps at which a process dies, as long as another one lives.
        losses: The share of calls whose answer is lost.
    """

    seed: int
    deaths: float = 0.0
    losses: float = 0.0
    server: Server = attrs.field(factory=Server)
    wrong: list[str] = attrs.field(factory=list)
    in_run: Counter[str] = attrs.field(factory=Counter)
    ending: Counter[str] = attrs.field(factory=Counter)
    dice: random.Random = attrs.field(init=False)
    _turn: str = ""
    _waiting: set[str] = attrs.field(factory=set)
    _living: set[str] = attrs.field(factory=set)
    _changed: threading.Condition = attrs.field(factory=threading.Condition)

    def __attrs_post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def step(self, process: str, action: Callable[[], Found]) -> Found:
        """Waits for the turn of a process, and does something in it."""
        with self._changed:
            if process not in self._living:
                raise Killed
            self._waiting.add(process)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._turn == process, DEADLOCK_S)
            self._turn = ""
            self._waiting.discard(process)
            if len(self._living) > 1 and self.dice.random() < self.deaths:
                if self.dice.random() < 0.5:
                    action()
                self._living.discard(process)
                raise Killed
            return action()

    def shared(self, process: str) -> SharedOnServer:
        """A process of a machine of its own."""
        transport: Any = Calls(self, process)
        pause = partial(self.pause, process)
        return SharedOnServer(
            transport, RUN, TEMPLATE, f"{process}-1-1-1", clock=lambda: self.server.now, sleep=pause
        )

    def pause(self, process: str, seconds: float = 0.0) -> None:
        """Lets others go on."""

        def pass_time() -> None:
            self.server.now += seconds

        self.step(process, pass_time)

    def run(self, works: dict[str, Callable[[str], None]]) -> None:
        """Runs processes to their ends."""

        def live(process: str) -> None:
            try:
                works[process](process)
            except Killed:
                pass
            except BaseException as error:
                self.wrong.append(f"{process} raised {error!r}")
            with self._changed:
                self._living.discard(process)
                self._changed.notify_all()

        self._living = set(works)
        threads = [threading.Thread(target=live, args=(process,), daemon=True) for process in works]
        for thread in threads:
            thread.start()
        with self._changed:
            while self._changed.wait_for(
                lambda: self._waiting >= self._living and not self._turn, DEADLOCK_S
            ):
                if not self._living:
                    break
                self._turn = self.dice.choice(sorted(self._waiting & self._living))
                self._changed.notify_all()
        for thread in threads:
            thread.join()

    def _all_wait(self) -> bool:
        return self._waiting >= self._living and not self._turn


@attrs.frozen
class Calls:
    """The transport of one process."""

    schedule: Schedule
    process: str

    def call(self, action: str, body: Doc, **times: Any) -> Doc:
        """Makes a call, and once more if the answer was lost."""

        def answer() -> Doc | Refused:
            try:
                return self.schedule.server.call(action, body)
            except Refused as refusal:
                return refusal

        found = self.schedule.step(self.process, answer)
        if self.schedule.dice.random() < self.schedule.losses:
            found = self.schedule.step(self.process, answer)
        if isinstance(found, Refused):
            raise found
        return found


def leaving(schedule: Schedule, rounds: int, process: str) -> None:
    """Joins and leaves; notes if the run ends while somebody is in it."""
    shared = schedule.shared(process)
    for _ in range(rounds):
        shared.join()
        queue = shared._queue
        schedule.in_run[queue] += 1
        if schedule.ending[queue]:
            schedule.wrong.append(f"{process} joined while the run was being ended")
        schedule.pause(process)
        schedule.in_run[queue] -= 1
        if shared.leave():
            if schedule.in_run[queue] or schedule.ending[queue]:
                schedule.wrong.append(f"{process} ended the run of others")
            schedule.ending[queue] += 1
            schedule.pause(process)
            schedule.pause(process)
            shared.ended()
            schedule.ending[queue] -= 1
            if queue in schedule.server.queues:
                schedule.wrong.append(f"{process} left the queue")


def working(schedule: Schedule, ran: Counter[str], process: str) -> None:
    """Runs the tasks that no other process has, and ends those of processes that died."""
    server, dice = schedule.server, random.Random(f"{schedule.seed} {process}")
    shared = schedule.shared(process)
    shared.join()

    def create(key: str) -> Doc:
        task = {"id": f"{len(server.tasks)}", "created": server.date(), "key": key, "status": "open"}
        server.tasks.append({**task, "process": shared.process})
        return server.tasks[-1]

    def end(task: Doc, status: str) -> None:
        if task["status"] == "open":
            task["status"] = status

    def take_over() -> None:
        for dead in shared.claim_dead():
            for task in [task for task in server.tasks if task["process"] == dead]:
                schedule.step(process, partial(end, task, "abandoned"))
            shared.remove_dead(dead)

    left = dice.sample(KEYS, len(KEYS))
    while left:
        schedule.pause(process, dice.choice((0.0, 1.0, 10.0)))
        shared.beat()
        if shared.withdrawn:  # its open task was ended by another one
            return
        take_over()
        key = left.pop(0)
        if any(task["key"] == key for task in server.tasks):
            continue
        if not shared.claim(key, 1):
            left.append(key)
            continue
        while dice.random() < 0.3:  # suspended
            schedule.pause(process, dice.choice((10.0, 40.0)))
        task = schedule.step(process, partial(create, key))
        if shared.release(key, 1, task["id"]):
            ran[key] += 1
            schedule.pause(process)
            schedule.step(process, partial(end, task, "completed"))
        else:
            schedule.step(process, partial(end, task, "withdrawn"))
    take_over()
    if shared.leave():
        take_over()
        shared.ended()


def mistakes_of_leaving(seed: int) -> list[str]:
    """What goes wrong as 4 processes join and leave, two of them twice."""
    schedule = Schedule(seed, losses=0.05)
    schedule.run({f"m{number}": partial(leaving, schedule, 1 + (number < 2)) for number in range(4)})
    return schedule.wrong + (["the queue is left"] if schedule.server.queues else [])


def mistakes_of_working(seed: int) -> list[str]:
    """What goes wrong as 4 processes share tasks and some die; one more process comes after 300 s."""
    ran: Counter[str] = Counter()
    schedule = Schedule(seed, deaths=0.01, losses=0.03)
    schedule.run({f"m{number}": partial(working, schedule, ran) for number in range(4)})
    schedule.server.now += 301
    schedule.deaths = 0.0
    schedule.run({"later": partial(working, schedule, ran)})
    wrong = schedule.wrong + [f"{key} ran {count} times" for key, count in ran.items() if count > 1]
    tasks = schedule.server.tasks
    wrong += [f"{task['key']} is open" for task in tasks if task["status"] == "open"]
    wrong += [f"{key} was left out" for key in KEYS if all(task["key"] != key for task in tasks)]
    return wrong + (["the queue is left"] if schedule.server.queues else [])


def test_one_process_is_the_last(seeds: Seeds) -> None:
    """The run is ended by one process, when nobody is in it, and nobody joins meanwhile."""
    for seed in seeds(100):
        assert mistakes_of_leaving(seed) == [], seed


def test_each_task_runs_once_and_ends(seeds: Seeds) -> None:
    """Whoever dies or is suspended, no task runs twice, none is left out, and the run ends."""
    for seed in seeds(60):
        assert mistakes_of_working(seed) == [], seed


def test_schedules_find_a_claim_without_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that does not look for the task after its claim creates some twice."""
    monkeypatch.setattr("clearml_taskgroup._storage.shared_on_server.attempts_of", lambda *_: [])
    assert any(mistakes_of_working(seed) for seed in range(60))


def test_schedules_find_a_hasty_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that does not look again before it ends the run ends that of others."""

    def is_last(self: SharedOnServer) -> bool:
        if self._living_others(self._look()):
            return False
        self._state = ENDING
        self._sign()
        return True

    monkeypatch.setattr(SharedOnServer, "_is_last", is_last)
    assert any(mistakes_of_leaving(seed) for seed in range(60))
