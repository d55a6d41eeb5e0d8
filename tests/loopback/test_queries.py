"""Filters, order, pages and projections of tasks, and projects with their paths."""

from __future__ import annotations

from typing import Any

import pytest

from .client import Client, scalar
from .metrics import name_hash
from .server import LoopbackServer


def parameter(section: str, name: str, value: str) -> dict[str, Any]:
    """Hyperparameters with a single value."""
    return {section: {name: {"section": section, "name": name, "value": value}}}


@pytest.mark.parametrize(
    ("tags", "names"),
    [
        (["a"], ["one", "two"]),
        (["a", "c"], ["one", "two", "three"]),
        (["__$all", "a", "b"], ["one"]),
        (["__$and", "a", "b"], ["one"]),
        (["__$any", "b", "c"], ["one", "three"]),
        (["-b"], ["two", "three", "four"]),
        (["a", "-b"], ["two"]),
        (["__$not", "a"], ["three", "four"]),
        (["__$all", "a", "__$not", "b"], ["two"]),
    ],
)
def test_tags_are_combined(api: Client, tags: list[str], names: list[str]) -> None:
    """Tags mean any by default; operators and a minus say otherwise."""
    api.task("one", tags=["a", "b"])
    api.task("two", tags=["a"])
    api.task("three", tags=["c"])
    api.task("four")
    assert api.find(tags=tags) == names


def test_an_unknown_operator_is_refused(api: Client) -> None:
    """Operators that do not exist are no tags."""
    assert api.reply("tasks.get_all", tags=["__$some", "a"]).code == (400, 16)


def test_simple_filters(api: Client) -> None:
    """Parent, id, status, type, project and name narrow the answer down."""
    project = api.project()
    parent = api.task("parent", type="controller")
    child = api.task("child one", parent=parent, project=project)
    api.task("child two", parent=parent)
    api.move(child, "started")
    assert api.find(parent=parent) == ["child one", "child two"]
    assert api.find(id=[child, "nope"]) == ["child one"]
    assert api.find(status=["in_progress"]) == ["child one"]
    assert api.find(status=["created", "queued"]) == ["parent", "child two"]
    assert api.find(type=["controller"]) == ["parent"]
    assert api.find(project=[project]) == ["child one"]
    assert api.find(name="^child") == ["child one", "child two"]
    assert api.find(name="two$") == ["child two"]
    assert api.find(parent=parent, project=[project], status=["created"]) == []


def test_a_broken_pattern_is_refused(api: Client) -> None:
    assert api.reply("tasks.get_all", name="(").code == (400, 21)


def test_several_fields_can_be_searched(api: Client) -> None:
    """One pattern over several fields, in any case, any or all of which match."""
    api.task("apple", comment="pear")
    api.task("pear", comment="pear")
    fields = {"fields": ["name", "comment"], "pattern": "PEAR"}
    assert api.find(_any_=fields) == ["apple", "pear"]
    assert api.find(_all_=fields) == ["pear"]
    assert api.find(search_text="appl") == ["apple"]


def test_hyperparameters_are_filtered_by_path(api: Client, server: LoopbackServer) -> None:
    """A section and a name lead to a value, which is compared as text."""
    api.task("ten", hyperparams=parameter("TaskGroup", "index", "10"))
    api.task("nine", hyperparams=parameter("TaskGroup", "index", "9"))
    found = api.call("tasks.get_all", {"hyperparams.TaskGroup.index.value": ["9"]})["tasks"]
    assert [task["name"] for task in found] == ["nine"]
    ordered = api.find(order_by=["hyperparams.TaskGroup.index.value"])
    assert ordered == ["ten", "nine"]
    assert server.violations == []


def test_a_minus_in_front_of_a_value_excludes(api: Client) -> None:
    """A negative number is taken for an exclusion, unless an operator comes first."""
    api.task("minus", hyperparams=parameter("General", "x", "-1"))
    api.task("plus", hyperparams=parameter("General", "x", "1"))
    path = "hyperparams.General.x.value"
    found = api.call("tasks.get_all", {path: ["-1"]})["tasks"]
    assert [task["name"] for task in found] == ["minus"]
    found = api.call("tasks.get_all", {path: ["__$any", "-1"]})["tasks"]
    assert [task["name"] for task in found] == ["minus"]
    api.task("none")
    assert len(api.call("tasks.get_all", {path: ["-1"]})["tasks"]) == 2


def test_a_dot_in_a_name_must_be_escaped(api: Client) -> None:
    """A parameter's name with a dot is written with %2E, and is a 400 otherwise."""
    api.task("dotted", hyperparams=parameter("General", "opt.lr", "0.1"))
    escaped = {"hyperparams.General.opt%2Elr.value": ["0.1"]}
    assert len(api.call("tasks.get_all", escaped)["tasks"]) == 1
    plain = {"hyperparams.General.opt.lr.value": ["0.1"]}
    assert api.reply("tasks.get_all", plain).code == (400, 12)
    (task,) = api.call("tasks.get_all", only_fields=["hyperparams.General.opt%2Elr"])["tasks"]
    assert task["hyperparams"]["General"]["opt.lr"]["value"] == "0.1"


def test_runtime_is_filtered_by_key(api: Client) -> None:
    api.task("marked", runtime={"marker": "1"})
    api.task("other", runtime={"marker": "2"})
    found = api.call("tasks.get_all", {"runtime.marker": "1"})["tasks"]
    assert [task["name"] for task in found] == ["marked"]


def test_metrics_are_filtered_and_ordered(api: Client) -> None:
    """Ranges and order work on last_metrics, by its hashes."""
    for value in (3.0, 1.0, 2.0):
        api.batch("events.add_batch", [scalar(api.task(f"value {value}"), value)])
    api.task("silent")
    path = f"last_metrics.{name_hash('loss')}.{name_hash('train')}.value"
    ordered = api.find(order_by=[f"-{path}"])
    assert ordered == ["value 3.0", "value 2.0", "value 1.0", "silent"]
    found = api.call("tasks.get_all", {path: [1.5, None]}, order_by=[path])["tasks"]
    assert [task["name"] for task in found] == ["value 2.0", "value 3.0"]


def test_times_are_compared(api: Client, server: LoopbackServer) -> None:
    """A comparison sign in front of a time narrows the answer down."""
    early = api.task("early")
    api.move(early, "started")
    changed = server.task(early)["status_changed"]
    server.state.clock_offset = 60.0
    api.move(api.task("late"), "started")
    assert api.find(status_changed=[f">{changed}"]) == ["late"]
    assert api.find(status_changed=[f"<={changed}"]) == ["early"]
    assert api.find(status_changed=[">=not a time"]) == ["early", "late"]


def test_order_goes_by_several_fields(api: Client) -> None:
    """A minus turns the order round, and missing values come last."""
    for name, comment in (("bbb", "1"), ("aaa", "1"), ("ccc", "2")):
        api.task(name, comment=comment)
    assert api.find(order_by=["-comment", "name"]) == ["ccc", "aaa", "bbb"]


def test_what_is_equal_in_order_is_ordered_by_id(api: Client) -> None:
    """Tasks of one millisecond, too: the database keeps no more of a date."""
    ids = [api.task("task", comment="same") for _ in range(20)]
    for order in ([], ["-comment"], ["comment"]):
        found = api.call("tasks.get_all", order_by=[*order, "name"], only_fields=["id", "created"])["tasks"]
        assert [task["id"] for task in found] == sorted(ids)
    assert all(task["created"][-9:] == "000+00:00" for task in found)


def test_page_size_is_capped_at_500(api: Client, server: LoopbackServer) -> None:
    """More than 500 tasks never come at once, whatever was asked for."""
    project = api.project()
    for index in range(510):
        api.task(f"task {index}", project=project)
    assert len(api.find(project=[project])) == 500
    assert len(api.find(project=[project], page=0, page_size=10_000)) == 500
    assert len(api.find(project=[project], page=1, page_size=10_000)) == 10
    assert api.find(page=2, page_size=3) == ["task 6", "task 7", "task 8"]
    assert server.violations == []


def test_a_page_needs_a_size(api: Client, server: LoopbackServer) -> None:
    """The schema binds page to page_size, and neither may be negative."""
    assert api.reply("tasks.get_all", page=0).code == (400, 12)
    assert api.reply("tasks.get_all", page=0, page_size=0).code == (400, 12)


def test_a_scroll_goes_on_where_it_stopped(api: Client) -> None:
    """A scroll id remembers its position, and can start again."""
    for index in range(5):
        api.task(f"task {index}")
    first = api.call("tasks.get_all", size=3)
    rest = api.call("tasks.get_all", size=3, scroll_id=first["scroll_id"])
    assert [task["name"] for task in rest["tasks"]] == ["task 3", "task 4"]
    again = api.call("tasks.get_all", size=3, scroll_id=first["scroll_id"], refresh_scroll=True)
    assert len(again["tasks"]) == 5


def test_projections_are_nested(api: Client) -> None:
    """Only the paths asked for come back, not even the id."""
    api.task("task", hyperparams=parameter("A", "b", "1") | parameter("C", "d", "2"))
    (found,) = api.call("tasks.get_all", only_fields=["name", "hyperparams.A.b.value"])["tasks"]
    assert set(found) == {"name", "hyperparams"}
    assert found["hyperparams"] == {"A": {"b": {"value": "1"}}}


def test_two_paths_under_one_head_are_merged(api: Client, server: LoopbackServer) -> None:
    """Projections of the same part add up, and leave the document alone."""
    task = api.task("task", hyperparams=parameter("A", "b", "1") | parameter("C", "d", "2"))
    only = ["hyperparams.A.b.value", "hyperparams.C", "hyperparams"]
    (found,) = api.call("tasks.get_all", only_fields=only)["tasks"]
    assert found["hyperparams"] == server.task(task)["hyperparams"]


def test_fields_can_be_left_out(api: Client) -> None:
    """A minus in front of a field leaves it out of whole documents."""
    api.task("task")
    (found,) = api.call("tasks.get_all", only_fields=["-hyperparams"])["tasks"]
    assert "hyperparams" not in found
    assert found["name"] == "task"


@pytest.mark.parametrize("fields", [{"only_fields": ["nonsense"]}, {"order_by": ["nonsense"]}])
def test_unknown_fields_cannot_be_asked_for(api: Client, fields: dict[str, list[str]]) -> None:
    """Projection and order must name fields that tasks have."""
    assert api.reply("tasks.get_all", fields).code == (400, 14)


def test_unknown_filters_are_ignored(api: Client) -> None:
    """A filter that the server does not know filters nothing."""
    api.task("task")
    assert api.find(nonsense="x") == ["task"]


def test_hidden_tasks_are_hidden(api: Client) -> None:
    """Hidden tasks come by id or on request only."""
    task = api.task("secret", system_tags=["hidden"])
    assert api.find() == []
    assert api.find(search_hidden=True) == api.find(id=[task]) == ["secret"]


def test_joined_answers_name_the_project(api: Client) -> None:
    """The extended call puts objects in the place of ids."""
    project = api.project("joined")
    task = api.task("task", project=project)
    fields = {"only_fields": ["name", "project.name"], "id": [task]}
    (found,) = api.call("tasks.get_all_ex", fields)["tasks"]
    assert found["project"] == {"id": project, "name": "joined"}


def test_a_project_comes_with_its_parents(api: Client, server: LoopbackServer) -> None:
    """A path makes all the projects on its way."""
    project = api.project("vision/digits/svm")
    leaf = server.projects[project]
    names = [project["name"] for project in server.projects.values()]
    assert sorted(names) == ["vision", "vision/digits", "vision/digits/svm"]
    assert leaf["basename"] == "svm"
    assert [server.projects[p]["name"] for p in leaf["path"]] == ["vision", "vision/digits"]


def test_project_names_are_unique(api: Client) -> None:
    """A second project of the same path is refused, also one that came as a parent."""
    api.project("vision/digits")
    assert api.reply("projects.create", name="vision/digits").code == (400, 801)
    assert api.reply("projects.create", name="/vision//digits/").code == (400, 801)
    assert api.reply("projects.create", name="vision").code == (400, 801)


@pytest.mark.parametrize("name", ["ab", "ab/digits", "vision/ab", "vision/ab/svm"])
def test_every_segment_needs_three_characters(api: Client, server: LoopbackServer, name: str) -> None:
    """A short segment anywhere in the path is refused, and nothing is made."""
    assert api.reply("projects.create", name=name).code == (400, 800)
    assert server.projects == {}


def test_a_path_needs_a_segment(api: Client) -> None:
    """Slashes alone are no name."""
    assert api.reply("projects.create", name="//").code == (400, 407)


def test_projects_are_found_by_pattern(api: Client) -> None:
    """Names are patterns, as the SDK sends them."""
    api.project("vision/digits")
    found = api.call("projects.get_all", name="^vision/digits$", only_fields=["id", "name"])
    assert [p["name"] for p in found["projects"]] == ["vision/digits"]
    shallow = api.call("projects.get_all", shallow_search=True)["projects"]
    assert [p["name"] for p in shallow] == ["vision"]


def test_a_project_is_renamed_in_place(api: Client, server: LoopbackServer) -> None:
    """A new name takes the children along, and must stay under the same parent."""
    child = api.project("vision/digits/svm")
    parent = server.projects[child]["parent"]
    api.call("projects.update", project=parent, name="vision/letters")
    assert server.projects[child]["name"] == "vision/letters/svm"
    assert api.reply("projects.update", project=parent, name="letters").code == (400, 408)
    api.project("vision/taken")
    assert api.reply("projects.update", project=parent, name="vision/taken").code == (400, 801)


def test_a_full_project_is_deleted_by_force(api: Client, server: LoopbackServer) -> None:
    """Tasks stand in the way; with force they go along or are left without a project."""
    project = api.project("vision/digits")
    task = api.task("task", project=project)
    assert api.reply("projects.delete", project=project).code == (400, 402)
    answer = api.call("projects.delete", project=project, force=True)
    assert (answer["deleted"], answer["disassociated_tasks"]) == (1, 1)
    assert server.task(task)["project"] is None
    assert api.reply("projects.get_by_id", project=project).code == (400, 401)
    other = api.project("vision/other")
    api.task("task", project=other)
    answer = api.call("projects.delete", project=other, force=True, delete_contents=True)
    assert answer["deleted_tasks"] == 1
