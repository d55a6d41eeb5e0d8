"""What is stored with a task: its identity, shared by its run and its own."""

from __future__ import annotations

import json
from typing import Any, Literal

import attrs
import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml.documents import past_task
from clearml_taskgroup._clearml.hyperparameters import (
    SECTION,
    added,
    configuration_object,
    own_entries,
    parameter,
    read_parameters,
    runtime_of,
    stored_parameters,
)
from clearml_taskgroup._clearml.new_task import new_task_fields
from clearml_taskgroup._clearml.queries import identity_of
from clearml_taskgroup._model.name_template import NameTemplate
from clearml_taskgroup._model.specs import RunInfo, TaskSpec
from tests.loopback import LoopbackServer
from tests.support.runs import originals

RUN = RunInfo(group_id="0" * 12, project="digits", name="sweep", template="{metric}")
SPEC = TaskSpec("a1", "C=1", "sweep C=1", 0, 1, {"C": 1})


@pytest.mark.parametrize("kind", ["task", "parent"])
def test_a_shared_run_is_told_by_its_tasks(kind: Literal["task", "parent"]) -> None:
    """The text of run=, the process and the session are stored with each task, and read back."""
    shared = attrs.evolve(RUN, shared="slurm-8812", process="host-1-2-3", session=4)
    document = new_task_fields(shared, attrs.evolve(SPEC, kind=kind))
    stored = identity_of(document)
    assert (stored["shared"], stored["process"], stored["session"]) == ("slurm-8812", "host-1-2-3", "4")
    task = past_task({"id": "1", "status": "completed", **document}, NameTemplate("{metric}"))
    assert (task.process, task.session) == ("host-1-2-3", 4)


def test_a_run_of_one_process_stores_none_of_it() -> None:
    """A run that is not shared has no entries for it."""
    stored = identity_of(new_task_fields(attrs.evolve(RUN, process="host-1-2-3"), SPEC))
    assert not {"shared", "process", "session"} & stored.keys()


def test_tasks_of_a_run_have_the_same_section() -> None:
    """So the web page's comparison does not mark it; what differs is in a configuration object, as JSON."""
    other = TaskSpec("b2", "C=[2]", "sweep C=[2]", 1, 3, {"C": [2]})
    one, two = (new_task_fields(RUN, spec) for spec in (SPEC, other))
    assert one["hyperparams"][SECTION] == two["hyperparams"][SECTION]
    assert one["hyperparams"]["General"] != two["hyperparams"]["General"]
    own = {"key": "b2", "name": "C=[2]", "index": "1", "attempt": "3", "params": {"C": [2]}}
    assert json.loads(two["configuration"][SECTION]["value"]) == own
    assert identity_of(two) == identity_of({"hyperparams": two["hyperparams"]}) | own | {
        "params": '{"C": [2]}'
    }
    again = configuration_object(own_entries(two["configuration"]))
    assert again == two["configuration"][SECTION]


PARENT = attrs.evolve(SPEC, kind="parent", key="", params={})


def test_what_a_parent_and_a_task_have() -> None:
    """A parent the declared metrics and a description, a task its parameters and what it does not share."""
    run = attrs.evolve(RUN, run="r", number=3, metrics=[["loss"]], tags=("a",))
    parent, task = new_task_fields(run, PARENT), new_task_fields(run, attrs.evolve(SPEC, tags=("b",)))
    shared = {"group": "0" * 12, "group_name": "sweep", "run": "r", "run_number": "3", "template": "{metric}"}
    assert identity_of(parent) == {**shared, "kind": "parent", "metrics": '[["loss"]]'}
    own = {"key": "a1", "name": "C=1", "index": "0", "attempt": "1", "params": '{"C": 1}'}
    assert identity_of(task) == {**shared, "kind": "task", **own}
    assert (parent["type"], task["type"], parent["tags"], task["tags"]) == (
        "controller",
        "training",
        ["a"],
        ["a", "b"],
    )
    told = "Run 3 of the group sweep: the parent of its tasks, with their results."
    assert (parent["comment"], "comment" in task) == (told, False)
    assert parent["configuration"] == {}
    assert set(parent["hyperparams"]) == {SECTION}
    assert task["hyperparams"]["General"]["C"] == {
        "section": "General",
        "name": "C",
        "value": "1",
        "type": "int",
    }
    shared_run = new_task_fields(attrs.evolve(RUN, number=2, shared="night"), PARENT)
    assert "Run 2 of the group sweep, shared as 'night':" in shared_run["comment"]
    assert "metrics" not in identity_of(shared_run)
    none = new_task_fields(attrs.evolve(RUN, metrics=[]), PARENT)
    assert identity_of(none)["metrics"] == "[]"


def test_what_a_submitted_task_has() -> None:
    """Its queue, which tasks of one sweep share, and its sweep."""
    submitted = new_task_fields(RUN, attrs.evolve(SPEC, queue="gpu", sweep="map 0"))
    assert submitted["hyperparams"][SECTION]["queue"]["value"] == "gpu"
    assert own_entries(submitted["configuration"])["sweep"] == "map 0"
    assert not {"queue", "sweep"} & identity_of(new_task_fields(RUN, SPEC)).keys()


@pytest.mark.parametrize(
    ("objects", "own"),
    [
        ({}, {}),
        ({SECTION: None}, {}),
        ({SECTION: {"value": None}}, {}),
        ({"other": {"value": '{"key": "a"}'}}, {}),
        (
            {SECTION: {"value": '{"key": "a", "index": 3, "params": "text"}'}},
            {"key": "a", "index": "3", "params": '"text"'},
        ),
    ],
)
def test_what_a_configuration_object_says(objects: dict[str, Any], own: dict[str, str]) -> None:
    """Entries are text; parameters are JSON, whatever they have been edited to."""
    assert own_entries(objects) == own


def test_markers_of_what_is_known() -> None:
    assert runtime_of({"run": "r", "key": "k", "name": "n", "index": "0"}) == {
        "taskgroup_run": "r",
        "taskgroup_key": "k",
        "taskgroup_index": "0",
    }


class Broken:
    """Raises as its text is asked for."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


ADDED_VALUES: list[tuple[Any, str, bool]] = [
    *((1, "1", False), (0.5, "0.5", False), (True, "True", False), (None, "", False), ("a", "a", False)),
    *(([1, 2], "[1, 2]", True), ({"a"}, "{'a'}", True), (10**400, str(10**400), False)),
    *((Broken(), "<Broken>", True), (1e400, "inf", False)),
]


@pytest.mark.parametrize(("value", "text", "has_json"), ADDED_VALUES, ids=lambda value: "")
def test_added_parameters_are_read_back(value: Any, text: str, has_json: bool) -> None:
    """Those whose text and type do not tell the value are also stored as JSON."""
    entry, *json_entry = added({"p": value})
    assert (entry["section"], entry["name"], entry["value"]) == ("General", "p", text)
    assert bool(json_entry) == has_json
    identity = {one["name"]: one["value"] for one in json_entry}
    assert read_parameters({"p": entry}, identity) == stored_parameters({"p": value})


def test_parameters_that_somebody_has_edited_are_text() -> None:
    """A text that is nothing of its type stays text; parameters of the identity stay as they were."""
    general = {"C": {"value": "2", "type": "int"}, "n": {"value": "many", "type": "int"}, "m": {}}
    assert read_parameters(general, {"params": '{"C": 1}'}) == {"C": 1, "n": "many", "m": ""}
    for edited in ("[1]", "{", ""):
        assert read_parameters({"C": general["C"]}, {"params": edited}) == {"C": 2}
        assert own_entries({SECTION: {"value": edited}}) == {}


def as_before(document: dict[str, Any]) -> None:
    """Gives a task the form in which version 0.1 stored it."""
    identity = identity_of(document)
    document["hyperparams"][SECTION] = {
        name: parameter(SECTION, name, text) for name, text in identity.items()
    }
    document["configuration"].pop(SECTION, None)
    document["runtime"] = {"taskgroup_run": identity["run"]}


def test_tasks_of_older_versions(loopback: LoopbackServer) -> None:
    """They are loaded, listed and resumed as before, and tasks of both forms stand in one run."""
    with TaskGroup("digits", "older", mode="online", provenance=False) as group:
        for task in group.sweep({"C": [1, [10]], "seed": [0]}):
            task.report({"loss": task.index}, 1)
            if task.index:
                task.mark_failed("bad luck")
    before = TaskGroup.load("digits", "older", mode="online")
    for document in loopback.state.tasks.values():
        as_before(document)
    again = TaskGroup.load("digits", "older", mode="online")
    for attribute in ("key", "name", "index", "attempt", "params", "status"):
        assert [getattr(row, attribute) for row in again] == [getattr(row, attribute) for row in before]
    with TaskGroup("digits", "older", mode="online", provenance=False, resume=True) as resumed:
        tasks = resumed.tasks({"C": [1, [10]], "seed": [0, 1]})
        assert [(task.name, task.done, task.attempt) for task in tasks] == [
            ("C=1", True, 1),
            ("C=1,seed=1", False, 1),
            ("C=[10]", False, 2),
            ("C=[10],seed=1", False, 1),
        ]
    keys = [(identity_of(doc)["key"], identity_of(doc)["attempt"]) for doc in originals(loopback)]
    assert len(set(keys)) == len(keys) == 5
    assert [row.status for row in TaskGroup.load("digits", "older", mode="online")] == ["completed"] * 4


def test_a_task_is_created_once_whatever_form_it_has(loopback: LoopbackServer) -> None:
    """A lost answer to `tasks.create` leaves one task; a configuration that was edited is harmless."""
    loopback.faults.fail_next("tasks.create", kind="drop_after", times=3)
    with TaskGroup("digits", "lost", mode="online", provenance=False) as group:
        tasks = group.tasks({"C": [1, 2]})
    assert len(originals(loopback)) == 2
    assert runtime_of({"run": "r", "kind": "parent"}) == {"taskgroup_run": "r"}
    loopback.state.tasks[tasks[0].id]["configuration"][SECTION]["value"] = "[edited"
    loaded = TaskGroup.load("digits", "lost", mode="online")
    assert sorted(row.params["C"] for row in loaded) == [1, 2]
