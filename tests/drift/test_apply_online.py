"""Plans on a server, interrupted at each call: what was there stays, and the next run completes the rest."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from clearml_taskgroup._clearml import stored_points
from clearml_taskgroup._clearml.api import Transport
from clearml_taskgroup._clearml.api_errors import Unreachable
from clearml_taskgroup._clearml.login import connect
from clearml_taskgroup._drift import plan as _plan
from clearml_taskgroup._drift.apply_online import apply_online
from clearml_taskgroup._drift.copying import Outcome
from clearml_taskgroup._drift.plan import Copy, Plan, TaskPlan
from clearml_taskgroup._model import limits
from clearml_taskgroup._model.name_template import Name
from tests.loopback import LoopbackServer
from tests.support.server_view import SINGLE_VALUE_ITERATION

COPIES = (
    Copy(Name("acc", "val"), Name("accuracy", "val")),
    Copy(Name("Loss", "train"), Name("loss", "train")),
    Copy(Name("Summary", "best"), Name("Summary", "accuracy/best")),
)
VALUES = [0.5, 0.25, 3, 0.125, 1e-300, -2.5, 0.1, 7.0]
CALLS = (
    *("tasks.get_all", "events.get_task_events", "events.get_task_events"),
    *("tasks.update_tags", *("events.add_batch",) * 6, "tasks.get_all", "tasks.update"),
) * 2
"""The calls of an apply to two tasks."""
CASES = [
    (step, kind)
    for step, action in enumerate(CALLS)
    for kind in ("before", "after", "half")
    if kind != "half" or action == "events.add_batch"
]


class Interruption(Unreachable):
    """The network, or the process, goes away."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few data points are several pages and requests; calls come one after the other."""
    monkeypatch.setattr(stored_points, "MAX_PAGE_POINTS", 9)
    monkeypatch.setattr(stored_points, "MAX_SENT_POINTS", 3)
    monkeypatch.setattr(limits, "MAX_CONCURRENT_CALLS", 1)


def make_task(transport: Transport, name: str) -> str:
    """Makes a completed task with curves and a single value."""
    project = transport.call("projects.get_all", {"name": "^drift$", "only_fields": ["id"]})["projects"]
    project_id = project[0]["id"] if project else transport.call("projects.create", {"name": "drift"})["id"]
    body = {"name": name, "type": "training", "project": project_id, "comment": "mine", "tags": ["b", "a"]}
    task = str(transport.call("tasks.create", body)["id"])
    transport.call("tasks.started", {"task": task})
    events = [
        {
            "type": "training_stats_scalar",
            "task": task,
            "metric": one.source.title,
            "variant": one.source.series,
            "iter": SINGLE_VALUE_ITERATION if one.source.title == "Summary" else step - 2,
            "timestamp": 1_700_000_000_000 + step,
            "value": value,
        }
        for one in COPIES
        for step, value in enumerate(VALUES[:1] if one.source.title == "Summary" else VALUES)
    ]
    transport.call("events.add_batch", lines=[json.dumps(event) for event in events])
    log = {"type": "log", "task": task, "msg": "a line", "timestamp": 1, "level": "info", "worker": "w"}
    transport.call("events.add_batch", lines=[json.dumps(log)])
    transport.call("tasks.completed", {"task": task})
    return task


def state_of(server: LoopbackServer, *, counts: bool = True) -> Any:
    """What is stored of all tasks, without the times of changes."""
    state = {}
    for task_id, document in server.tasks.items():
        last = {
            (entry["metric"], entry["variant"]): {
                part: value for part, value in entry.items() if counts or part not in ("count", "mean_value")
            }
            for each in document["last_metrics"].values()
            for entry in each.values()
        }
        kept = {field: document[field] for field in ("name", "status", "comment", "last_iteration")}
        events = copy.deepcopy(server.state.events[task_id].scalars)
        state[task_id] = (kept, sorted(document["tags"]), last, events)
    return state


class World:
    """A server with two tasks and a plan for them."""

    def __init__(self, server: LoopbackServer) -> None:
        self.server, self.transport = server, Transport(connect())
        ids = [make_task(self.transport, name) for name in ("one", "two")]
        place = self.transport.connection.host
        self.plan = Plan(place, True, "vocabulary.py", tuple(TaskPlan(task, task, COPIES) for task in ids))
        self.before = state_of(server)

    def apply(self) -> list[Outcome]:
        """Carries the plan out."""
        outcomes: list[Outcome] = []
        apply_online(self.transport, self.plan, outcomes.append)
        return outcomes

    def check_originals(self) -> None:
        """What was there before is as it was."""
        now = state_of(self.server)
        for task, (kept, tags, last, events) in self.before.items():
            kept_now, tags_now, last_now, events_now = now[task]
            assert (kept_now["status"], kept_now["name"]) == (kept["status"], kept["name"])
            assert kept_now["comment"].startswith(kept["comment"])
            assert set(tags) <= set(tags_now)
            assert {name: last_now[name] for name in last} == last
            assert {key: events_now[key] for key in events} == events

    def half(self, lines: list[str]) -> None:
        """The server dies in a request: some events are stored, and no statistics."""
        task = json.loads(lines[0])["task"]
        last = copy.deepcopy(self.server.state.tasks[task]["last_metrics"])
        Transport.call(self.transport, "events.add_batch", lines=lines[: len(lines) // 2 + 1])
        self.server.state.tasks[task]["last_metrics"] = last


@pytest.mark.quick(4)
@pytest.mark.parametrize(("step", "kind"), CASES)
def test_interrupted_at_each_call(
    step: int, kind: str, loopback: LoopbackServer, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However far the first run came, the second one completes it, and a third one changes nothing."""
    world = World(loopback)
    original, calls = Transport.call, list[str]()

    def call(self: Transport, action: str, *arguments: Any, **more: Any) -> Any:
        calls.append(action)
        if len(calls) != step + 1:
            return original(self, action, *arguments, **more)
        if kind == "after":
            original(self, action, *arguments, **more)
        elif kind == "half":
            with monkeypatch.context() as patch:
                patch.setattr(Transport, "call", original)
                world.half(more["lines"])
        raise Interruption("gone")

    with monkeypatch.context() as patch:
        patch.setattr(Transport, "call", call)
        with pytest.raises(Interruption):
            world.apply()
    assert tuple(calls) == CALLS[: step + 1]
    world.check_originals()
    outcomes = world.apply()
    assert [outcome.problems for outcome in outcomes] == [[], []]
    world.check_originals()
    whole = state_of(loopback, counts=False)
    for task, (kept, tags, last, events) in whole.items():
        assert tags == ["a", "b", world.plan.tag]
        assert kept["comment"].splitlines()[3:] == [str(one) for one in COPIES]
        for one in COPIES:
            source, target = (
                {key: value for key, value in last[tuple(name)].items() if key not in ("metric", "variant")}
                for name in (one.source, one.target)
            )
            assert source == target
        points = {
            name: {
                (event["iter"], event["value"], event["timestamp"], event["worker"])
                for event in events.values()
                if (event["metric"], event["variant"]) == name
            }
            for name in (name for one in COPIES for name in one_pair(one))
        }
        assert all(points[one.source] == points[one.target] for one in COPIES)
        assert len(events) == 2 * len(world.before[task][3])
    documents = copy.deepcopy(loopback.tasks)
    assert all(not outcome.points for outcome in world.apply())
    assert loopback.tasks == documents


def one_pair(one: Copy) -> tuple[Name, Name]:
    """The names of a copy."""
    return one.source, one.target


def test_a_server_without_a_call_for_tags(loopback: LoopbackServer) -> None:
    """Servers before API 2.27 get the whole list of tags."""
    world = World(loopback)
    loopback.faults.fail_next(
        "tasks.update_tags",
        status=400,
        body=b'{"meta": {"result_code": 400, "result_subcode": 1}}',
        times=2,
    )
    assert all(not outcome.problems for outcome in world.apply())
    assert [doc["tags"] for doc in loopback.tasks.values()] == [["a", "b", world.plan.tag]] * 2


def test_a_page_that_the_server_repeats(loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 2.3.0 gives a page again whose last iteration is 0: the data points are read all the same."""
    world = World(loopback)
    (first, _) = world.plan.tasks
    names = [COPIES[0].source]
    whole = stored_points.read_stored(world.transport, first.id, names)
    assert [point.value for point in whole[names[0]].values()] == VALUES
    monkeypatch.setattr(stored_points, "MAX_PAGE_POINTS", 3)  # iterations -2, -1, 0
    assert stored_points.read_stored(world.transport, first.id, names) == whole


def test_data_that_another_plan_has_not_copied(loopback: LoopbackServer) -> None:
    """Data under the correct name that is not the old one's is a conflict, also if the task has the tag."""
    world = World(loopback)
    world.apply()
    (first, _) = world.plan.tasks
    event: dict[str, Any] = {"type": "training_stats_scalar", "task": first.id, "metric": "accuracy"}
    event |= {"variant": "val", "iter": 100, "value": 1.0}
    world.transport.call("events.add_batch", lines=[json.dumps(event)])
    state = state_of(loopback)
    problems = {outcome.task.id: outcome.problems for outcome in world.apply()}
    assert "is not the same" in problems[first.id][0]
    assert state_of(loopback) == state


def test_the_calls(loopback: LoopbackServer, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls that are interrupted are all that there are."""
    world, original, calls = World(loopback), Transport.call, list[str]()

    def call(self: Transport, action: str, *arguments: Any, **more: Any) -> Any:
        calls.append(action)
        return original(self, action, *arguments, **more)

    monkeypatch.setattr(Transport, "call", call)
    world.apply()
    assert tuple(calls) == CALLS


def test_a_server_that_does_not_take_all(loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it refuses is told of that task; the others are changed all the same."""
    world, original = World(loopback), Transport.call
    (first, second) = world.plan.tasks

    def call(self: Transport, action: str, *arguments: Any, **more: Any) -> Any:
        if action == "events.add_batch" and first.id in more["lines"][0]:
            return {"added": 1, "errors_info": {"Invalid task id": 7}}
        return original(self, action, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Transport, "call", call)
        outcomes = {outcome.task.id: outcome for outcome in world.apply()}
    assert "the server took 1 of 17 data points: Invalid task id" in outcomes[first.id].problems[0]
    assert (outcomes[second.id].problems, outcomes[second.id].points) == ([], 17)
    assert {outcome.task.id: outcome.points for outcome in world.apply()} == {first.id: 17, second.id: 0}


def test_a_server_that_does_not_count(loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a total, pages are read until one is not full."""
    world, original = World(loopback), Transport.call
    (first, _) = world.plan.tasks

    def call(self: Transport, action: str, *arguments: Any, **more: Any) -> Any:
        return {**original(self, action, *arguments, **more), "total": None}

    monkeypatch.setattr(Transport, "call", call)
    for size in (3, 4, 5, 7, 8, 100):
        monkeypatch.setattr(stored_points, "MAX_PAGE_POINTS", size)
        read = stored_points.read_stored(world.transport, first.id, [COPIES[1].source])
        assert [point.value for point in read[COPIES[1].source].values()] == VALUES


def test_a_task_that_has_changed_since_the_plan(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that may not be changed any more, or would have too many names, is left as it is."""
    world = World(loopback)
    world.transport.call("tasks.publish", {"task": world.plan.tasks[0].id})
    before = state_of(loopback)
    monkeypatch.setattr(
        _plan, "MAX_NAMES_PER_TASK", len({name for one in COPIES for name in one_pair(one)}) - 1
    )
    problems = {outcome.task.name: outcome.problems for outcome in world.apply()}
    published, full = (problems[task.name] for task in world.plan.tasks)
    assert published == ["it is published"]
    assert "names, and a server keeps" in full[0]
    assert state_of(loopback) == before
