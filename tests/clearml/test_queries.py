"""Finding tasks, runs and groups on a server."""

from __future__ import annotations

from typing import Any

import pytest

from clearml_taskgroup._clearml import queries
from clearml_taskgroup._clearml.api import Transport
from clearml_taskgroup._clearml.hyperparameters import SECTION
from clearml_taskgroup.errors import AmbiguousRunError
from tests.loopback import LoopbackServer
from tests.support.stored_tasks import GROUP, PARENT, as_of_version_0_1, create

A, B, C = "a" * 32, "b" * 32, "c" * 32


def change(server: LoopbackServer, task_id: str, **fields: Any) -> None:
    """Changes fields of a task on the server; each test makes tasks of one moment to those of several."""
    with server.state.lock:
        server.state.tasks[task_id].update(fields)


def at(second: int) -> str:
    """A moment, as a server writes it."""
    return f"2026-01-01T00:00:{second:02}+00:00"


# --- many tasks --------------------------------------------------------------------------------


class Tasks:
    """Takes the place of a transport to a server of some tasks, the latest first."""

    def __init__(self, count: int) -> None:
        self.tasks = [{"id": f"{n}", "created": at(59 - n % 60)} for n in range(count)]
        self.asked: list[dict[str, Any]] = []

    def call(self, action: str, query: dict[str, Any], **times: Any) -> dict[str, Any]:
        """Answers `tasks.get_all`."""
        self.asked.append(query | times)
        size = query["page_size"]
        found = [task for task in self.tasks if task["id"] in query.get("id", [task["id"]])]
        return {"tasks": found[size * query["page"] :][:size]}


@pytest.mark.parametrize(("count", "pages"), [(0, 1), (499, 1), (500, 2), (501, 2), (1000, 3)])
def test_all_tasks_are_read_page_by_page(count: int, pages: int) -> None:
    """A page that is not full is the last one."""
    server: Any = Tasks(count)
    found = queries.query_all_tasks(server, {"name": "x"}, ("id", "created"))
    assert found == server.tasks
    assert [query["page"] for query in server.asked] == [*range(pages)]
    first = {"name": "x", "order_by": ["-created"], "page_size": 500, "page": 0}
    assert server.asked[0] == {**first, "only_fields": ["id", "created"]}


def test_reading_ends_with_what_is_older() -> None:
    """Of tasks since a moment, no page is read that has older ones only; a date that is none is no reason."""
    server: Any = Tasks(1200)
    for n, task in enumerate(server.tasks):
        task["created"] = at(30) if n < 10 else at(20)
    since = queries.created_at({"created": at(30)})
    assert queries.query_all_tasks(server, {}, ("created",), since) == server.tasks[:10]
    assert len(server.asked) == 1
    server = Tasks(3)
    for task, created in zip(server.tasks, (at(31), "long ago", at(29)), strict=True):
        task["created"] = created
    assert queries.query_all_tasks(server, {}, ("created",), since) == server.tasks[:2]


@pytest.mark.parametrize(("count", "pages"), [(0, []), (1, [1]), (500, [500]), (501, [500, 1])])
def test_tasks_are_read_by_their_ids(count: int, pages: list[int]) -> None:
    """One call for each 500, each with the given time limits."""
    server: Any = Tasks(count)
    ids = [task["id"] for task in server.tasks]
    assert queries.query_by_id(server, ids, ("id",), timeout=3.0) == server.tasks
    assert [len(query["id"]) for query in server.asked] == pages
    assert [*queries.pages_of(ids)] == [query["id"] for query in server.asked]
    assert all(query["timeout"] == 3.0 and query["page"] == 0 for query in server.asked)


# --- runs --------------------------------------------------------------------------------------


def test_the_number_of_the_last_run(transport: Transport) -> None:
    """The highest of the latest tasks, or of the numbers from one on."""
    assert queries.last_run_number(transport, GROUP) == 0
    assert queries.last_run_number(transport, GROUP, 1) == 0
    for number in (3, 2, 25):
        create(transport, number=number)
    create(transport, group_id="f" * 12, number=40)
    assert queries.last_run_number(transport, GROUP) == 25
    assert queries.last_run_number(transport, GROUP, 3) == 3
    assert queries.last_run_number(transport, GROUP, 4) == 0
    assert queries.last_run_number(transport, GROUP, 25 - queries.RUN_NUMBERS) == 0
    assert queries.last_run_number(transport, GROUP, 26 - queries.RUN_NUMBERS) == 25


def test_a_run_by_its_number(transport: Transport) -> None:
    """None where there is none; two machines may have used the same number offline."""
    create(transport, run=A, number=1)
    create(transport, run=B, number=2)
    create(transport, run=B, number=2, key="k1")
    assert queries.find_run_id(transport, GROUP, 1) == A
    assert queries.find_run_id(transport, GROUP, 2) == B
    assert queries.find_run_id(transport, GROUP, 3) is None
    create(transport, run=C, number=2)
    with pytest.raises(AmbiguousRunError) as raised:
        queries.find_run_id(transport, GROUP, 2)
    assert sorted(raised.value.runs) == [B, C]


def test_a_run_by_its_text(transport: Transport) -> None:
    """By its id, the first digits of it, and its number as a text."""
    create(transport, run=A, number=1)
    create(transport, run=B, number=2)
    for text, run in (("2", B), (A, A), (A[:6], A), ("cccccc", None), ("3", None)):
        assert queries.find_run_id(transport, GROUP, text) == run


def test_runs_are_named_for_people(transport: Transport) -> None:
    """Each once, with its number and the text of `run=`; a task whose entry was removed is of none."""
    create(transport, run=A, number=1)
    create(transport, run=A, number=1, key="k1")
    create(transport, run=B, number=2, shared="night")
    create(transport, run="", number=3)
    assert sorted(queries.run_labels(transport, GROUP)) == [
        "run 1 (aaaaaaaaaaaa)",
        "run 2 (bbbbbbbbbbbb, run='night')",
    ]
    assert queries.run_labels(transport, "f" * 12) == []


def test_the_latest_run_is_one_with_tasks(loopback: LoopbackServer, transport: Transport) -> None:
    """Later ones without tasks are told; copies and archived tasks do not count; without any the latest."""
    assert queries.find_latest_run(transport, GROUP) == (None, 0, [])
    create(transport, run=A, number=1, spec=PARENT)
    assert queries.find_latest_run(transport, GROUP) == (A, 1, [])
    create(transport, run=A, number=1)
    create(transport, run=B, number=2, spec=PARENT)
    archived = create(transport, run=C, number=3)
    change(loopback, archived, system_tags=["archived"])
    assert queries.find_latest_run(transport, GROUP) == (A, 1, [2, 3])
    change(loopback, archived, system_tags=[])
    assert queries.find_latest_run(transport, GROUP) == (C, 3, [])


class Entries:
    """Takes the place of a transport to a server that gives these pages of tasks."""

    def __init__(self, *pages: list[dict[str, Any]]) -> None:
        self.pages, self.asked, self.sizes = pages, list[int](), set[int]()

    def call(self, action: str, query: dict[str, Any], **times: Any) -> dict[str, Any]:
        """Answers `tasks.get_all`."""
        self.asked.append(query["page"])
        self.sizes.add(query["page_size"])
        return {"tasks": self.pages[query["page"]]}


def entries(**identity: str) -> dict[str, Any]:
    """A task with these entries of its identity."""
    section = {name: {"value": value} for name, value in identity.items()}
    return {"hyperparams": {SECTION: section}, "runtime": {"taskgroup_run": identity.get("run")}}


def test_a_page_of_runs_without_tasks_is_not_the_last() -> None:
    """The next page is read until one has a task, or is not full; a task without a run is skipped."""
    size = queries.MAX_PAGE_TASKS // 5
    empty = [entries(run=B, run_number="2", kind="parent")] * size
    tasks = [entries(group=GROUP), entries(run=A, run_number="1", kind="task")]
    server: Any = Entries(empty, [*tasks, *empty][:size], [])
    assert queries.find_latest_run(server, GROUP) == (A, 1, [2])
    assert server.asked == [0, 1]
    server = Entries(empty, [])
    assert queries.find_latest_run(server, GROUP) == (B, 2, [])
    assert server.asked == [0, 1]


def test_no_more_runs_of_one_number_are_looked_for_than_are_named(transport: Transport) -> None:
    for n in range(queries.MAX_RUNS_NAMED + 1):
        create(transport, run=f"{n}" * 32)
    with pytest.raises(AmbiguousRunError) as raised:
        queries.find_run_id(transport, GROUP, 1)
    assert len(raised.value.runs) == queries.MAX_RUNS_NAMED


@pytest.mark.parametrize("answer", [{}, {"run": ""}, {"run": A}])
def test_a_server_that_does_not_leave_out_a_run_is_not_asked_for_ever(answer: dict[str, str]) -> None:
    """The same run again, or a task without one, ends the search."""
    server: Any = Entries([entries(**answer)])
    assert queries.find_run_id(server, GROUP, 1) == (answer.get("run") or None)
    assert len(server.asked) == (2 if answer.get("run") else 1)
    assert server.sizes == {1}


def test_when_a_run_was_opened() -> None:
    """The earliest task was created then; an uploaded run says when it was opened on its own machine."""
    assert queries.run_started_at([]) is None
    assert queries.run_started_at([{"created": "yesterday"}, {}]) is None
    two = [{"created": at(9)}, {"created": at(5)}, {}]
    assert queries.run_started_at(two) == queries.created_at(two[1])
    uploaded = {"created": at(9), **entries(run_started=at(2))}
    assert queries.run_started_at([*two, uploaded]) == queries.created_at({"created": at(2)})


# --- groups and projects -----------------------------------------------------------------------


def test_a_project_by_its_exact_name(loopback: LoopbackServer, transport: Transport) -> None:
    """No other name that a pattern would match, and hidden projects too."""
    for name in ("a.bc", "axbc", "a.bc/def"):
        transport.call("projects.create", {"name": name, "description": ""})
    ids = {project["name"]: each for each, project in loopback.projects.items()}
    assert queries.projects_named(transport, "a.bc") == [ids["a.bc"]]
    assert queries.projects_named(transport, "a.b") == []
    with loopback.state.lock:
        loopback.state.projects[ids["a.bc"]]["system_tags"] = ["hidden"]
    assert queries.projects_named(transport, "a.bc") == [ids["a.bc"]]


def test_groups_of_a_project_and_of_all(loopback: LoopbackServer, transport: Transport) -> None:
    """Each once, the latest first, also those of version 0.1; by the first task of each run."""
    assert queries.groups_of(transport, None) == []
    assert queries.groups_of(transport, "digits") == []
    first = [
        create(transport, name="svm"),
        create(transport, name="tree", run=B),
        create(transport, name="svm", run=C),
        create(transport, name="net", project="images"),
        create(transport, name="old"),
        create(transport, name="", run="d" * 32),
    ]
    for second, task in enumerate(first):
        change(loopback, task, created=at(second))
    as_of_version_0_1(loopback, first[4])
    create(transport, name="hidden", index=1)
    assert queries.groups_of(transport, "digits") == [
        ("digits", "old"),
        ("digits", "svm"),
        ("digits", "tree"),
    ]
    assert queries.groups_of(transport, None) == [
        ("digits", "old"),
        ("images", "net"),
        ("digits", "svm"),
        ("digits", "tree"),
    ]
    change(loopback, first[3], project=None)  # its project was deleted
    assert ("images", "net") not in queries.groups_of(transport, None)


# --- the tasks of a run ------------------------------------------------------------------------


def copy_of(server: LoopbackServer, task_id: str) -> None:
    """Makes a task one that was copied in the web page: without its `runtime`."""
    change(server, task_id, runtime={})


def test_tasks_of_a_group_and_of_a_run(loopback: LoopbackServer, transport: Transport) -> None:
    """Of a group without parents, copies and archived tasks; of a run with its parent, by their identity."""
    parent = create(transport, spec=PARENT)
    one = create(transport)
    again = create(transport, attempt=2)
    other = create(transport, run=B)
    copy, archived = create(transport, key="copy"), create(transport, key="archived")
    copy_of(loopback, copy)
    change(loopback, archived, system_tags=["archived"])
    assert {task["id"] for task in queries.group_tasks(transport, GROUP)} == {one, again, other}
    everything = {task["id"] for task in queries.all_run_tasks(transport, A)}
    assert everything == {parent, one, again, copy, archived}
    assert {name: task["id"] for name, task in queries.run_tasks(transport, A).items()} == {
        ("parent", "", ""): parent,
        ("task", "k0", "1"): one,
        ("task", "k0", "2"): again,
        ("task", "archived", "1"): archived,
    }


def test_the_script_of_a_task(transport: Transport) -> None:
    task = create(transport)
    assert not queries.script_of(transport, task).get("repository")
    assert queries.script_of(transport, "f" * 32) == {}
    transport.call("tasks.edit", {"task": task, "script": {"repository": "r"}, "force": True})
    assert queries.script_of(transport, task)["repository"] == "r"


def test_attempts_at_one_task(loopback: LoopbackServer, transport: Transport) -> None:
    """Originals alone, the earliest first, by id if they are of one moment; archived ones do not count."""
    ids = {name: create_twice(loopback, transport, name) for name in ("late", "early")}
    for name, second in (("late", 9), ("early", 1)):
        change(loopback, ids[name], created=at(second))
    archived, copy = (create_twice(loopback, transport, name) for name in ("archived", "copy"))
    change(loopback, archived, system_tags=["archived"])
    copy_of(loopback, copy)
    create(transport, attempt=2)
    create(transport, key="k1")
    create(transport, run=B)
    found = queries.attempts_of(transport, A, "k0", 1)
    assert [task["id"] for task in found] == [ids["early"], ids["late"]]
    for task in ids.values():
        change(loopback, task, created=at(5))
    found = queries.attempts_of(transport, A, "k0", 1)
    assert [task["id"] for task in found] == sorted(ids.values())
    for task in ids.values():
        change(loopback, task, created=None)
    assert len(queries.attempts_of(transport, A, "k0", 1)) == 2


def create_twice(server: LoopbackServer, transport: Transport, name: str) -> str:
    """Creates one more task with the same identity, as two processes do by mistake."""
    before = set(server.tasks)
    create(transport, task_name=name)
    (new,) = set(server.tasks) - before
    return new


def test_a_parent_has_no_attempts_and_may_be_archived(loopback: LoopbackServer, transport: Transport) -> None:
    parent = create(transport, spec=PARENT)
    change(loopback, parent, system_tags=["archived"])
    create(transport)
    assert [task["id"] for task in queries.attempts_of(transport, A, "", 1)] == [parent]


def test_a_key_that_begins_with_a_minus_is_no_exclusion(
    loopback: LoopbackServer, transport: Transport
) -> None:
    """Also of a task of version 0.1, whose run is asked about once."""
    create(transport)
    task = create(transport, key="-k0")
    assert [each["id"] for each in queries.attempts_of(transport, A, "-k0", 1)] == [task]
    run = "e" * 32
    tasks = [create(transport, run=run, key=key) for key in ("k0", "-k0")]
    for each in tasks:
        as_of_version_0_1(loopback, each)
    loopback.reset_counts()
    assert [each["id"] for each in queries.attempts_of(transport, run, "-k0", 1)] == tasks[1:]
    assert loopback.count("tasks.get_all") == 3
    queries.attempts_of(transport, run, "-k0", 1)
    assert loopback.count("tasks.get_all") == 5


def test_other_entries_of_an_identity_are_compared_too(transport: Transport) -> None:
    """Two processes of a shared run may create the same task."""
    task = create(transport, shared="night", process="p1")
    create(transport, shared="night", process="p2")
    identity = {"run": A, "kind": "task", "key": "k0", "attempt": "1", "process": "p1"}
    assert [each["id"] for each in queries.find_originals(transport, identity)] == [task]
    assert len(queries.find_originals(transport, {"run": A, "kind": "task"})) == 2


# --- one document ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runtime", "is_original"),
    [({"taskgroup_run": A}, True), ({"taskgroup_run": B}, False), ({}, False), (None, False)],
)
def test_an_original_is_marked_in_runtime(runtime: dict[str, str] | None, is_original: bool) -> None:
    """A copy that is made in the web page has the section, and not `runtime`; an archived one is original."""
    task = {**entries(run=A), "runtime": runtime}
    assert queries.is_original(task) is is_original
    assert queries.is_counted(task) is is_original
    assert queries.is_counted({**task, "system_tags": ["archived"]}) is False
    assert queries.is_counted({**task, "system_tags": None}) is is_original


def test_without_a_run_a_task_is_no_original() -> None:
    assert not queries.is_original({"hyperparams": None, "runtime": None})


@pytest.mark.parametrize(
    ("status", "queue", "execution", "is_on_agent"),
    [
        ("in_progress", "", None, False),
        ("in_progress", "gpu", None, True),
        ("in_progress", "", {"queue": "q"}, True),
        ("in_progress", "", {"queue": ""}, False),
        ("queued", "", None, True),
        ("created", "gpu", None, True),
        ("created", "", {"queue": "q"}, False),
        ("completed", "gpu", {"queue": "q"}, False),
    ],
)
def test_which_tasks_an_agent_has(status: str, queue: str, execution: Any, is_on_agent: bool) -> None:
    """Queued ones, drafts of the script for a queue, and those that run and came from one."""
    assert (
        queries.is_on_agent({"status": status, "execution": execution, **entries(queue=queue)}) is is_on_agent
    )


def test_an_entry_of_the_section_goes_before_the_configuration_object() -> None:
    """So an edit in the web page counts; what is missing there is empty."""
    task = {
        "hyperparams": {SECTION: {"key": {"value": "new"}, "queue": {}}},
        "configuration": {SECTION: {"value": '{"key": "old", "attempt": "2"}'}},
    }
    assert queries.identity_of(task) == {"key": "new", "attempt": "2", "queue": ""}
    assert queries.identity_of({"hyperparams": None, "configuration": None}) == {}
    assert queries.identity_of({"hyperparams": {SECTION: None}}) == {}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("12", 12),
        (None, 7),
        ("", 7),
        ("-1", 7),
        ("1.0", 7),
        ("9" * 18, int("9" * 18)),
        ("9" * 19, 7),
    ],
)
def test_counts_that_were_edited(text: str | None, number: int) -> None:
    """What is no count, or has more digits than any, is the default, which is 0."""
    assert queries.parse_count(text, 7) == number
    assert queries.parse_count(text) == (0 if number == 7 else number)
