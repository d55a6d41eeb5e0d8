"""Making, changing, copying and removing tasks."""

from __future__ import annotations

from typing import Any

import pytest

from .client import Client, scalar
from .server import LoopbackServer
from .state import DELETED

PARAMETER = {"section": "General", "name": "lr", "value": "0.1"}


def code_of(api: Client, endpoint: str, **fields: Any) -> tuple[int, int]:
    """Code and subcode of an answer."""
    return api.reply(endpoint, fields).code


def test_create_takes_everything_in_one_call(api: Client, server: LoopbackServer) -> None:
    """Name, type, project, tags, parameters, script and runtime are stored at once."""
    project = api.project()
    parent = api.task("parent")
    fields: dict[str, Any] = {
        "project": project,
        "parent": parent,
        "tags": ["b", "a"],
        "system_tags": ["hidden"],
        "comment": "said",
        "hyperparams": {"General": {"lr": PARAMETER}},
        "configuration": {"net": {"name": "net", "value": "x", "type": "text"}},
        "script": {"repository": "", "diff": "print()"},
        "container": {"image": "python"},
        "execution": {"artifacts": [{"key": "data", "type": "custom", "mode": "input"}]},
        "output_dest": "http://files",
        "runtime": {"marker": "1"},
    }
    task = server.task(api.task("child", **fields))
    assert task["tags"] == ["a", "b"]
    assert task["output"]["destination"] == "http://files"
    assert task["script"]["binary"] == "python"
    same = ("project", "parent", "system_tags", "hyperparams", "configuration", "runtime", "container")
    assert all(task[name] == fields[name] for name in same)
    assert task["execution"]["artifacts"][0]["key"] == "data"
    assert server.violations == []


def test_what_create_does_not_take_is_ignored(api: Client, server: LoopbackServer) -> None:
    """A chosen id, status or date is dropped without a word."""
    wanted = {"id": "mine", "status": "completed", "started": "2020-01-01", "last_iteration": 9}
    task = server.task(api.task("task", **wanted))
    assert task["id"] != "mine"
    assert (task["status"], task["last_iteration"]) == ("created", 0)
    assert "started" not in task


def test_names_need_not_be_unique(api: Client, server: LoopbackServer) -> None:
    """The same name twice makes two tasks."""
    assert api.task("twin") != api.task("twin")
    assert len(server.tasks_named("twin")) == 2


@pytest.mark.parametrize("name", ["ab", "", " ab  "])
def test_a_short_name_is_refused(api: Client, name: str) -> None:
    """A task's name needs three characters, not counting spaces around it."""
    assert code_of(api, "tasks.create", name=name, type="training") == (400, 800)


def test_a_name_loses_the_spaces_around_it(api: Client, server: LoopbackServer) -> None:
    assert server.task(api.task("  abc "))["name"] == "abc"


@pytest.mark.parametrize("field", ["project", "parent"])
def test_references_must_exist(api: Client, field: str) -> None:
    """An unknown project or parent is refused."""
    body = {"name": "task", "type": "training", field: "0" * 32}
    assert api.reply("tasks.create", body).code == (400, 16)


def test_an_unknown_type_is_refused(api: Client) -> None:
    assert code_of(api, "tasks.create", name="task", type="folly") == (400, 12)


def test_an_unknown_task_is_400_101(api: Client) -> None:
    """Every call on a task that does not exist says so, one of them in other words."""
    calls = ("get_by_id", "edit", "update", "completed", "reset", "delete", "clone")
    assert {code_of(api, f"tasks.{name}", task="nope") for name in calls} == {(400, 101)}
    assert code_of(api, "tasks.started", task="nope") == (400, 10)


def test_a_new_task_can_be_edited(api: Client, server: LoopbackServer) -> None:
    """An edit replaces parameters as a whole and tells which fields it changed."""
    task = api.task(hyperparams={"General": {"lr": PARAMETER}})
    other = {"Other": {"x": {"section": "Other", "name": "x", "value": "1"}}}
    answer = api.call("tasks.edit", task=task, comment="new", hyperparams=other)
    assert answer["updated"] == 1
    assert set(answer["fields"]) == {"comment", "hyperparams"}
    assert server.task(task)["hyperparams"] == other


@pytest.mark.parametrize("steps", [["started"], ["started", "completed"]])
def test_a_started_task_is_edited_with_force_only(api: Client, steps: list[str]) -> None:
    task = api.task()
    api.move(task, *steps)
    assert code_of(api, "tasks.edit", task=task, comment="x") == (400, 110)
    assert code_of(api, "tasks.edit", task=task, comment="x", force=True) == (200, 0)


def test_update_works_in_every_status(api: Client, server: LoopbackServer) -> None:
    """Name, tags and comment can be changed at any time, nothing else by this call."""
    task = api.task()
    api.move(task, "started", "completed", "publish")
    api.call("tasks.update", task=task, tags=["late"], name="renamed", script={"diff": "no"})
    found = server.task(task)
    assert (found["tags"], found["name"]) == (["late"], "renamed")
    assert "diff" not in found["script"]


def test_a_clone_keeps_inputs_only(api: Client, server: LoopbackServer) -> None:
    """Parameters, tags and parent stay; events, output, runtime and status do not."""
    parent = api.task("parent")
    source = api.task(
        "source",
        parent=parent,
        tags=["t"],
        system_tags=["development", "archived", "kept"],
        hyperparams={"General": {"lr": PARAMETER}},
        runtime={"marker": "1"},
    )
    api.move(source, "started")
    api.batch("events.add_batch", [scalar(source, 1.0, 5)])
    artifacts = [{"key": "in", "type": "custom", "mode": "input"}, {"key": "out", "type": "custom"}]
    api.call("tasks.add_or_update_artifacts", task=source, artifacts=artifacts)
    copy = server.task(api.call("tasks.clone", task=source)["id"])
    assert (copy["name"], copy["parent"], copy["status"]) == ("source", parent, "created")
    assert (copy["tags"], copy["system_tags"]) == (["t"], ["kept"])
    assert copy["hyperparams"] == {"General": {"lr": PARAMETER}}
    assert (copy["runtime"], copy["last_metrics"], copy["last_iteration"]) == ({}, {}, 0)
    assert [item["key"] for item in copy["execution"]["artifacts"]] == ["in"]


def test_a_clone_of_an_orphan_has_its_source_as_parent(api: Client, server: LoopbackServer) -> None:
    parent = api.task("parent")
    source = api.task("source", parent=parent)
    api.call("tasks.delete", task=parent)
    copy = server.task(api.call("tasks.clone", task=source)["id"])
    assert copy["parent"] == source


def test_a_clone_takes_new_fields(api: Client, server: LoopbackServer) -> None:
    """Name, tags and project of the copy can be chosen, the project by a new name."""
    source = api.task("source")
    answer = api.call(
        "tasks.clone",
        task=source,
        new_task_name="fresh",
        new_task_tags=["n"],
        new_project_name="new/project",
    )
    copy = server.task(answer["id"])
    assert (copy["name"], copy["tags"], copy["project"]) == ("fresh", ["n"], answer["new_project"]["id"])
    assert server.projects[copy["project"]]["name"] == "new/project"


def test_reset_keeps_inputs_and_identity(api: Client, server: LoopbackServer) -> None:
    """Events, metrics, output artifacts and runtime go; id, tags, parameters and script stay."""
    script = {"repository": "", "diff": "print()"}
    hyperparams = {"General": {"lr": PARAMETER}}
    task = api.task("task", tags=["t"], script=script, hyperparams=hyperparams, runtime={"m": "1"})
    api.move(task, "started")
    api.batch("events.add_batch", [scalar(task, 1.0, 5)])
    api.call("tasks.add_or_update_artifacts", task=task, artifacts=[{"key": "out", "type": "custom"}])
    api.move(task, "completed")
    answer = api.call("tasks.reset", task=task)
    found = server.task(task)
    assert answer["fields"]["status"] == found["status"] == "created"
    assert (found["last_metrics"], found["runtime"], found["last_iteration"]) == ({}, {}, 0)
    assert found["execution"]["artifacts"] == []
    assert "started" not in found
    assert "completed" not in found
    assert server.scalars(task) == {}
    assert (found["tags"], found["hyperparams"]) == (["t"], hyperparams)
    assert found["script"]["diff"] == "print()"


def test_a_reset_task_has_room_for_pairs_again(api: Client, server: LoopbackServer) -> None:
    """The limit on titles and series counts anew after a reset."""
    task = api.task()
    api.batch("events.add_batch", [scalar(task, 1.0, 0, f"title {i}") for i in range(2_000)])
    api.call("tasks.reset", task=task, force=True)
    api.batch("events.add_batch", [scalar(task, 1.0, 0, "another")])
    assert ("another", "train") in server.last_metrics(task)


@pytest.mark.parametrize(
    ("steps", "refused"),
    [([], False), (["started"], True), (["started", "completed"], True)],
)
def test_deletion_is_for_new_tasks(api: Client, steps: list[str], refused: bool) -> None:
    """A task that was started is deleted by force only."""
    task = api.task()
    api.move(task, *steps)
    expected = (400, 123) if refused else (200, 0)
    assert code_of(api, "tasks.delete", task=task) == expected
    if refused:
        assert api.call("tasks.delete", task=task, force=True)["deleted"] is True
    assert code_of(api, "tasks.get_by_id", task=task) == (400, 101)


def test_an_archived_task_can_be_deleted(api: Client) -> None:
    """The archive is the way out for finished tasks."""
    task = api.task()
    api.move(task, "started", "completed")
    api.call("tasks.archive", tasks=[task])
    assert api.call("tasks.delete", task=task)["deleted"] is True


def test_a_deleted_parent_leaves_its_mark(api: Client, server: LoopbackServer) -> None:
    """The children of a deleted task remember that it was there."""
    parent = api.task("parent")
    child = api.task("child", parent=parent)
    assert api.call("tasks.delete", task=parent)["updated_children"] == 1
    assert server.task(child)["parent"] == f"{DELETED}{parent}"


def test_deletion_takes_the_events_along(api: Client, server: LoopbackServer) -> None:
    """Nothing of a deleted task can be read any more."""
    task = api.task()
    api.batch("events.add_batch", [scalar(task, 1.0)])
    api.call("tasks.delete", task=task)
    assert server.scalars(task) == {}


def test_many_calls_report_on_each_task(api: Client, server: LoopbackServer) -> None:
    """The bulk forms do what they can and tell what they could not."""
    running, new = api.task("running"), api.task("new")
    api.move(running, "started")
    answer = api.call("tasks.stop_many", ids=[running, new, "nope"])
    assert [item["id"] for item in answer["succeeded"]] == [running]
    codes = {item["id"]: item["error"]["codes"] for item in answer["failed"]}
    assert codes == {new: [400, 110], "nope": [400, 101]}
    assert len(api.call("tasks.archive_many", ids=[running, new])["succeeded"]) == 2


def test_tasks_move_between_projects(api: Client, server: LoopbackServer) -> None:
    """A task can be put under another project, which is made by its name if need be."""
    task = api.task()
    project = api.call("tasks.move", ids=[task], project_name="target/deep")["project_id"]
    assert server.task(task)["project"] == project
    assert api.reply("tasks.move", ids=[task]).code == (400, 11)


def test_tags_are_added_and_removed(api: Client, server: LoopbackServer) -> None:
    """Tags of many tasks change in one call."""
    tasks = [api.task("first", tags=["a"]), api.task("second", tags=["b"])]
    api.call("tasks.update_tags", ids=tasks, add_tags=["c"], remove_tags=["a"])
    assert [server.task(task)["tags"] for task in tasks] == [["c"], ["b", "c"]]
