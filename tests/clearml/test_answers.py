"""Answers of the wrong shape: whatever is wrong with them, the package raises an error of its own."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml import (
    answers,
    api,
    curves,
    http_request,
    login,
    queries,
    queues,
    run_queue,
    tasks,
)
from clearml_taskgroup._clearml.api import Transport
from clearml_taskgroup._clearml.api_errors import AnswerTooLarge
from clearml_taskgroup._clearml.documents import past_task
from clearml_taskgroup._model import limits
from clearml_taskgroup._model.name_template import Name, NameTemplate
from clearml_taskgroup.errors import TaskGroupError
from tests.loopback import LoopbackServer

ODD: list[Any] = [None, True, 5, -1.5, float("inf"), "many", "", [], [1], {}, {"a": {"b": 1}}, [[[]]], [None]]
DEEP = "deep"


def deep() -> Any:
    """A list that is nested as deep as can be read."""
    found: Any = []
    for _ in range(400):
        found = [found]
    return found


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each part of JSON data."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield from places(each, (*at, key))


def replaced(value: Any, at: tuple[Any, ...], by: Any) -> Any:
    """Data with another part at a place; `...` removes it."""
    if not at:
        return by
    found = copy.copy(value)
    if len(at) == 1 and by is ...:
        del found[at[0]]
    else:
        found[at[0]] = replaced(found[at[0]], at[1:], by)
    return found


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test does not notice."""
    monkeypatch.setattr(api, "MIN_RETRY_DELAY_S", 0.0)
    monkeypatch.setattr(api, "MAX_RETRY_DELAY_S", 0.0)
    monkeypatch.setattr(limits, "API_TIMEOUT_S", 0.05)


def read_all(transport: Transport, group_id: str, task_id: str) -> None:
    """Makes each call whose answer the package reads."""
    tasks.find_or_create_project(transport, "odd answers")
    tasks.find_or_create_project(transport, f"new {random.random()}")
    queries.last_run_number(transport, group_id)
    queries.find_latest_run(transport, group_id)
    queries.find_run_id(transport, group_id, 1)
    queries.groups_of(transport, "odd answers")
    documents = queries.group_tasks(transport, group_id)
    for document in documents:
        past_task(document, NameTemplate("{metric}/{split=value}"))
        queries.is_on_agent(document)
    queries.run_started_at(documents)
    for run in queries._runs(transport, group_id):
        queries.run_tasks(transport, run)
    curves.read_curves(transport, {task_id: [Name("loss", "value")]})
    curves.read_curves(transport, {task_id: [Name("loss", "value"), Name("accuracy", "value")]})
    queue = queues.find_queue(transport, "default")
    queues.enqueue(transport, [task_id], queue)
    queues.stop(transport, [task_id], "enough")
    queues.statuses(transport, [task_id])
    queries.attempts_of(transport, "run", "key", 1)
    with contextlib.suppress(run_queue.QueueGone):  # which an odd id means as well
        shared = run_queue.create_queue(transport, f"run {random.random()}")
        if shared is not None:
            run_queue.add_entry(transport, shared, "entry")
            run_queue.read_entries(transport, shared)
            run_queue.remove_entry(transport, shared, "entry")
            run_queue.delete_queue(transport, shared)


class Changed:
    """Changes one answer of a server, as it arrives.

    Attributes:
        seen: All answers so far: the call, and the data.
        change: From which answer on to change those to one call, and the data to put in their place.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []
        self.change: tuple[int, str, Any] | None = None

    def send(self, send: Callable[..., http_request.Answer], *args: Any, **given: Any) -> http_request.Answer:
        """Takes the place of `http_request.send`."""
        answer = send(*args, **given)
        content, action = answer.json(), args[2].rpartition("/")[2]
        if self.change is not None and len(self.seen) >= self.change[0] and action == self.change[1]:
            content["data"] = self.change[2]
        self.seen.append((action, content["data"]))
        return http_request.Answer(answer.status_code, answer.reason, json.dumps(content).encode())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_any_part_of_any_answer_may_be_odd(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """One part of one answer is replaced or missing: either it is not read, or it is an error of ours."""
    with TaskGroup("odd answers", "group", mode="online", provenance=False) as group:
        task = group.task({"a": 1})
        task.report({"loss": 0.5}, 1)
        task.mark_failed("can be enqueued")
    changed, send = Changed(), http_request.send
    monkeypatch.setattr(http_request, "send", lambda *args, **given: changed.send(send, *args, **given))
    transport = Transport(login.connect())
    changed.seen.clear()
    read_all(transport, group.id, task.id)
    seen = list(changed.seen)
    assert {action for action, _ in seen} >= set(answers.SHAPES) - {"tasks.create", "events.add_batch"}
    source = random.Random(seed)
    for _ in range(150):
        at = source.randrange(len(seen))
        place = source.choice(list(places(seen[at][1])))
        by = source.choice([*ODD, deep(), *([...] if place else [])])
        changed.seen.clear()
        changed.change = (at, seen[at][0], replaced(seen[at][1], place, by))
        told = "x" * 21
        try:
            read_all(transport, group.id, task.id)
        except TaskGroupError as error:
            told = str(error)
        except Exception as error:
            raise AssertionError(f"{seen[at][0]}: {place} was {str(by)[:50]}") from error
        assert 20 < len(told) <= 500
    transport.close()
    loopback._recorder.violations.clear()  # what was read was sent back


def test_what_is_wrong_is_named() -> None:
    """The first misfit is told with its place; what is not read may be anything."""
    task = {"id": "a", "status": "completed", "hyperparams": {}, "tags": 5}
    assert answers.misfit("tasks.get_all", {}, {"tasks": [task], "more": None}) is None
    assert answers.misfit("tasks.get_all", {}, {"tasks": [{**task, "status": None}]}) is None
    query = {"only_fields": ["id", "status"]}
    assert answers.misfit("tasks.get_all", query, {"tasks": [task]}) is None
    for odd, told in [
        ([], "data is of type list, expected an object"),
        ({}, "data.tasks is null, expected a list"),
        ({"tasks": [task, 5]}, "data.tasks[1] is of type int, expected an object"),
        ({"tasks": [{**task, "status": None}]}, "data.tasks[0].status is null, expected text"),
        (
            {"tasks": [{**task, "hyperparams": {"General": {"a": "b"}}}]},
            "hyperparams.General.a is of type str",
        ),
        ({"tasks": [{**task, "last_metrics": {"x": {"y": {"value": True}}}}]}, "x.y.value is of type bool"),
    ]:
        assert told in str(answers.misfit("tasks.get_all", query, odd))
    assert answers.misfit("events.add_batch", {}, {"added": "many"}) == (
        "data.added is of type str, expected a whole number"
    )


@pytest.mark.parametrize(
    ("action", "data", "told"),
    [
        ("projects.create", {"id": "a"}, None),
        ("projects.create", {"id": None}, "data.id is null, expected text"),
        ("no.such_action", {"a": 5}, None),
        ("no.such_action", 5, "data is of type int, expected an object"),
        ("tasks.stop_many", {}, None),
        ("tasks.stop_many", {"failed": None}, None),
        ("tasks.stop_many", {"failed": [{"id": "a", "error": {"msg": 5}}]}, None),
        ("tasks.stop_many", {"failed": {}}, "data.failed is of type dict, expected a list"),
        ("queues.remove_task", {"removed": True}, "data.removed is of type bool, expected a whole number"),
        ("queues.remove_task", {"removed": 1.0}, "data.removed is of type float, expected a whole number"),
        ("tasks.get_all", {"tasks": [{"runtime": {"a": None}, "system_tags": ["b"]}]}, None),
        (
            "tasks.get_all",
            {"tasks": [{"runtime": []}]},
            "data.tasks[0].runtime is of type list, expected an object",
        ),
        ("tasks.get_all", {"tasks": [{"last_metrics": {"a": {"b": {"value": 1, "count": 2.5}}}}]}, None),
        (
            "tasks.get_all",
            {"tasks": [{"hyperparams": {"x" * 50: 5}}]},
            f"data.tasks[0].hyperparams.{'x' * 40} is of type int, expected an object",
        ),
    ],
)
def test_the_shapes_of_answers(action: str, data: Any, told: str | None) -> None:
    """What may be missing may be null, too; what has no shape is not read."""
    assert answers.misfit(action, {}, data) == told


@pytest.mark.parametrize(
    ("curve", "told"),
    [
        ({"iter": [], "y": []}, None),
        ({"iter": [0, 1], "y": [0.5, 1]}, None),
        ({"iter": [0, 1], "y": [0.5]}, "data.variants.val has lists of different lengths"),
        ({"iter": [0], "y": None}, "data.variants.val.y is null, expected a list"),
        ({"iter": [0.5], "y": [1]}, "data.variants.val.iter[0] is of type float, expected a whole number"),
    ],
)
def test_the_two_lists_of_a_curve_belong_together(curve: Any, told: str | None) -> None:
    data = {"variants": {"val": curve}}
    assert answers.misfit("events.scalar_metrics_iter_raw", {}, data) == told


@pytest.mark.parametrize(
    ("content", "is_clearml"),
    [
        ({"meta": {"result_code": 200}}, True),
        ({"meta": {"result_code": "200"}}, False),
        ({"meta": {}}, False),
        ({"meta": [1]}, False),
        ({}, False),
        ([], False),
        (None, False),
    ],
)
def test_what_an_answer_of_clearml_has(content: Any, is_clearml: bool) -> None:
    assert answers.is_clearml(content) is is_clearml


def test_an_answer_of_something_else_in_a_few_words() -> None:
    """With the target of a redirect."""
    page = http_request.Answer(400, "Bad Request" * 9, b"<html>\n  " + b"x" * 60)
    assert answers.summary(page) == f"400 {('Bad Request' * 9)[:40]} '<html> {'x' * 41}'"
    moved = http_request.Answer(302, "Found", b"", "http://b/" + "c" * 100)
    assert answers.summary(moved) == f"302 Found to 'http://b/{'c' * 91}' ''"


class Small:
    """Takes the place of a transport to a server of many tasks, of which it can send only a few at once."""

    def __init__(self, tasks: int, most: int) -> None:
        self.tasks, self.most = [f"task {n}" for n in range(tasks)], most

    def call(self, action: str, query: dict[str, Any], **times: Any) -> dict[str, Any]:
        """Answers `tasks.get_all`."""
        size = query["page_size"]
        wanted = set(query.get("id", self.tasks))
        asked = [task for task in self.tasks if task in wanted]
        page = asked[size * query["page"] : size * (query["page"] + 1)]
        if len(page) > self.most:
            raise AnswerTooLarge("more than 64 MiB")
        return {"tasks": [{"id": task, "created": ""} for task in page]}


@pytest.mark.quick(1)
@pytest.mark.parametrize("most", [1, 3, 50, 1000])
def test_tasks_with_very_many_metrics_are_read_in_smaller_pages(most: int) -> None:
    """An answer that is too large is asked for in parts; each task is read once."""
    server: Any = Small(620, most)
    assert [task["id"] for task in queries.query_all_tasks(server, {})] == server.tasks
    assert [task["id"] for task in queries.query_by_id(server, server.tasks, ("id",))] == server.tasks


def test_one_task_that_is_too_large_is_an_error() -> None:
    """There is no smaller part than one task."""
    server: Any = Small(5, 0)
    with pytest.raises(AnswerTooLarge):
        queries.query_all_tasks(server, {})
    with pytest.raises(AnswerTooLarge):
        queries.query_by_id(server, server.tasks, ("id",))
