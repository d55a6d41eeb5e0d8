"""Names that tasks logged scalars under, from a server's documents, run logs, sessions and results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup._cli import logged_names
from clearml_taskgroup._cli.logged_names import (
    NoSuchTasksError,
    names_of_project,
    names_of_raw,
    names_of_results,
    names_of_run,
    names_of_session,
    names_of_tasks,
)
from clearml_taskgroup._model.metric_data import MetricData
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._model.name_template import Name
from clearml_taskgroup._model.past import PastRun, PastTask
from clearml_taskgroup._storage.raw_sessions import RawSession
from tests.support.runs import NAME, PROJECT, Place

SINGLE = -(2**31)
COPIED: dict[str, Any] = {"tags": ["drift-plan:1"], "comment": "acc/val -> accuracy/val"}


class Server:
    """Answers `projects.get_all` and `tasks.get_all` from lists, and keeps the queries."""

    def __init__(self, *tasks: dict[str, Any], projects: int = 1) -> None:
        self.tasks = list(tasks)
        self.projects = [{"id": f"p{number}"} for number in range(projects)]
        self.asked: list[dict[str, Any]] = []

    def call(self, action: str, query: dict[str, Any], **_: Any) -> dict[str, Any]:
        kind = action.partition(".")[0]
        self.asked.append(query)
        first = query["page"] * query["page_size"]
        return {kind: getattr(self, kind)[first : first + query["page_size"]]}


def document(**fields: Any) -> dict[str, Any]:
    """A task with a curve, as a server describes it."""
    return {"id": "1", "name": "one", "status": "completed", "last_metrics": logged("acc/val")} | fields


def logged(*names: str, first: int = 0) -> dict[str, Any]:
    """The field `last_metrics` of a task with these titles and series."""
    return {
        str(number): {
            "0": {"metric": title, "variant": series, "value": 0.5, "min_value_iteration": first},
        }
        for number, (title, _, series) in enumerate(name.partition("/") for name in names)
    }


def task(**fields: Any) -> PastTask:
    """A task of a run log."""
    facts: dict[str, Any] = {"id": "offline-1", "key": "k", "name": "C=1", "index": 0, "attempt": 1}
    return PastTask(**{**facts, "params": {}, **fields})


def past(*tasks: PastTask, mode: str = "offline", template: str = "{metric}/{split=value}") -> PastRun:
    """A run of tasks, with a run log that nobody reads."""
    run = PastRun(Path("run-0001.jsonl"), "g", PROJECT, NAME, "r", 1, template, mode, None, True)
    run.tasks.update((one.id, one) for one in tasks)
    return run


def session(
    folder: Path, task_id: str = "offline-1", events: tuple[tuple[str, str, int], ...] = (), **data: Any
) -> Path:
    """A session in the folder; returns the folder."""
    (folder / task_id).mkdir()
    (folder / task_id / "task.json").write_text(json.dumps({"id": task_id, **data}))
    lines = [
        {
            "type": "training_stats_scalar",
            "task": task_id,
            "metric": title,
            "variant": series,
            "value": 1.0,
            "iter": at,
        }
        for title, series, at in events
    ]
    (folder / task_id / "metrics.jsonl").write_text(json.dumps(lines) + "\n")
    return folder


# --- from a server -------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "pages"), [(1, 1), (2, 2), (3, 2), (4, 3)])
def test_projects_come_in_pages(count: int, pages: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full page is not the last one."""
    monkeypatch.setattr(logged_names, "MAX_PAGE_TASKS", 2)
    server: Any = Server(document(), projects=count)
    names_of_project(server, "digits")
    *of_projects, of_tasks = server.asked
    assert [query["page"] for query in of_projects] == list(range(pages))
    assert of_tasks["project"] == [f"p{number}" for number in range(count)]


@pytest.mark.parametrize(
    ("options", "pattern", "tags"),
    [
        ({}, "^a\\.b/c(/.*)?$", ["-archived"]),
        ({"below": False}, "^a\\.b/c$", ["-archived"]),
        ({"archived": True}, "^a\\.b/c(/.*)?$", None),
    ],
)
def test_the_query_for_a_project(options: dict[str, bool], pattern: str, tags: list[str] | None) -> None:
    server: Any = Server(document(), projects=1)
    (found,) = names_of_project(server, "/a.b/c/", **options)
    assert found.project == "a.b/c"
    assert (server.asked[0]["name"], server.asked[1].get("system_tags")) == (pattern, tags)


def test_a_project_that_is_not_there() -> None:
    server: Any = Server(projects=0)
    with pytest.raises(NoSuchTasksError, match="the project 'a' could not"):
        names_of_project(server, "a")


def test_only_tasks_of_a_project_since_a_time() -> None:
    """The filter stops at the first page with an older task, and leaves that one out."""
    server: Any = Server(
        document(created="2026-01-02T00:00:00+00:00"), document(created="2026-01-01T00:00:00+00:00")
    )
    assert len(names_of_project(server, "a", since=1767312000.0)) == 1


def test_parents_are_no_tasks() -> None:
    kinds = [{"hyperparams": {"TaskGroup": {"kind": {"value": kind}}}} for kind in ("parent", "task")]
    server: Any = Server(
        *(document(id=str(number), **kind) for number, kind in enumerate(kinds)), document(id="2")
    )
    assert [one.id for one in names_of_project(server, "a")] == ["1", "2"]


def test_tasks_in_the_order_of_their_ids() -> None:
    """Each once, however the server orders them; what is missing is named."""
    server: Any = Server(document(), document(id="2"))
    assert [one.id for one in names_of_tasks(server, ["2", "1", "2"])] == ["2", "1"]
    with pytest.raises(NoSuchTasksError, match="the task '3' could not"):
        names_of_tasks(server, ["1", "3"])
    with pytest.raises(NoSuchTasksError, match="the tasks '3', '4' could not"):
        names_of_tasks(server, ["3", "4", "3"])


def test_a_document() -> None:
    identity = {"TaskGroup": {"group_name": {"value": "sweep"}}}
    server: Any = Server(document(hyperparams=identity, tags=["mine"], created="2026-01-02T00:00:00+00:00"))
    (one,) = names_of_tasks(server, ["1"])
    assert (one.id, one.name, one.names, one.tags) == ("1", "one", (Name("acc", "val"),), ("mine",))
    assert (one.group, one.created, one.obstacle, one.project) == ("sweep", 1767312000.0, "", "")


def test_a_document_with_nothing_in_it() -> None:
    fields: dict[str, Any] = dict.fromkeys(
        ("name", "last_metrics", "tags", "comment", "hyperparams", "created")
    )
    server: Any = Server(document(**fields))
    (one,) = names_of_tasks(server, ["1"])
    assert (one.name, one.names, one.tags, one.group, one.created) == ("", (), (), "", None)


@pytest.mark.parametrize(
    ("status", "completed", "obstacle"),
    [
        *((status, True, "") for status in ("completed", "closed", "created")),
        *((status, True, "it is published") for status in ("published", "publishing")),
        *((status, False, "") for status in ("failed", "stopped")),
        ("in_progress", False, "it is running"),
        ("queued", False, "it is queued"),
    ],
)
def test_statuses(status: str, completed: bool, obstacle: str) -> None:
    server: Any = Server(document(status=status))
    (one,) = names_of_tasks(server, ["1"])
    assert (one.completed, one.obstacle) == (completed, obstacle)


def test_curves_with_the_title_of_single_values() -> None:
    """A value without an iteration is a single value; a curve that a script has called `Summary` is none."""
    server: Any = Server(
        document(last_metrics=logged("Summary/acc")),
        document(id="2", last_metrics=logged("Summary/acc", first=SINGLE)),
        document(id="3", last_metrics=logged("loss/acc")),
    )
    found = names_of_tasks(server, ["1", "2", "3"])
    assert [one.not_single for one in found] == [(Name("Summary", "acc"),), (), ()]


def test_what_a_plan_has_copied_is_left_out() -> None:
    """The old names stay in the task, and in its comment."""
    both = logged("acc/val", "accuracy/val")
    server: Any = Server(document(last_metrics=both), document(id="2", last_metrics=both, **COPIED))
    plain, copied = names_of_tasks(server, ["1", "2"])
    assert [len(one.names) for one in (plain, copied)] == [2, 1]
    assert copied.names == (Name("accuracy", "val"),)


# --- from run logs and sessions ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "context", "template", "name"),
    [
        ("loss", (), "{metric}/{split=value}", ("loss", "loss")),
        ("loss", (("split", "val"),), "{metric}/{split=value}", ("loss", "val")),
        ("loss", (("split", "holdout"),), "{metric}/{split=value}", ("loss", "loss")),
        ("loss", (("split", 1),), "{metric}/{split=value}", ("loss", "loss")),
        ("loss", (("split", ("val", "1")),), "{metric}/{split=value}", ("loss", "val")),
        ("loss", (("fold", 1),), "{metric}/{fold}", ("loss", "loss")),
        ("loss", (), "{metric}/{split=val}", ("loss", "val")),
        ("train_loss", (), "{metric}/{split=val}", ("train_loss", "train_loss")),
        ("train_loss", (("split", "val"),), "{metric}/{split=val}", ("train_loss", "val")),
        ("loss", (), "{metric", ("loss", "loss")),
    ],
)
def test_metric_and_split_of_a_run_log(metric: str, context: Any, template: str, name: Any) -> None:
    """A bare name has the template's default split, unless it says another."""
    one = task(metrics={MetricKey(metric, context): MetricData()})
    (found,) = names_of_run(past(one, template=template, mode="online"), Path())
    assert (found.names, found.fields) == ((Name(*name),), frozenset(field for field, _ in context))


def test_the_facts_of_a_run_log(tmp_path: Path) -> None:
    key = MetricKey("loss", ())
    tasks = (
        task(status="completed", opened=5.0, metrics={key: MetricData()}),
        task(id="offline-2", status="failed"),
    )
    one, other = names_of_run(past(*tasks), tmp_path)
    assert (one.id, one.name, one.project, one.group) == ("offline-1", "C=1", PROJECT, NAME)
    assert (one.template, one.created, one.completed) == ("{metric}/{split=value}", 5.0, True)
    assert (other.names, other.created, other.completed) == ((), None, False)


def test_what_a_plan_has_copied_in_a_session(tmp_path: Path) -> None:
    """A metric is left out if all of its names were copied; of an online run the disk does not know."""
    names = {
        "acc": [("acc", "val")],
        "accuracy": [("accuracy", "val")],
        "lr": [("acc", "val"), ("lr", "value")],
        "x": [],
    }
    metrics = {
        MetricKey(metric, ()): MetricData(names=tuple(Name(*name) for name in listed))
        for metric, listed in names.items()
    }
    session(tmp_path, **COPIED)
    for mode, expected in (("offline", ["accuracy", "lr", "x"]), ("online", [*names])):
        (found,) = names_of_run(past(task(metrics=metrics), mode=mode), tmp_path)
        assert [name.title for name in found.names] == expected


def test_the_stored_names_of_a_session(tmp_path: Path) -> None:
    events = (
        ("acc", "val", 1),
        ("accuracy", "val", 1),
        ("Summary", "x", SINGLE),
        ("Summary", "y", 1),
        ("z", "z", SINGLE),
    )
    session(tmp_path, events=events, **COPIED)
    one = task(status="completed", opened=5.0)
    found = names_of_session(past(one), one, tmp_path)
    assert set(found.names) == {Name(title, series) for title, series, _ in events[1:]}
    assert (found.not_single, found.tags, found.obstacle) == ((Name("Summary", "y"),), ("drift-plan:1",), "")
    assert (found.id, found.name, found.project, found.group) == ("offline-1", "C=1", PROJECT, NAME)
    assert (found.created, found.completed) == (5.0, True)
    online = names_of_session(past(one, mode="online"), one, tmp_path)
    assert (online.names, online.tags, online.obstacle) == (
        (),
        (),
        "it is on a server: use drift with --online",
    )
    assert not names_of_session(past(task()), task(), tmp_path).completed


def test_a_session_of_clearml_itself(tmp_path: Path) -> None:
    session(tmp_path, events=(("acc", "val", 1),))
    found = names_of_raw(RawSession("offline-1", "raw", "p", tmp_path / "offline-1"))
    assert (found.id, found.name, found.project, found.names) == (
        "offline-1",
        "raw",
        "p",
        (Name("acc", "val"),),
    )
    assert (found.completed, found.created is None, "read, not changed" in found.obstacle) == (
        True,
        False,
        True,
    )


# --- from results --------------------------------------------------------------------------------


def test_the_names_of_results() -> None:
    """Metric and split, whatever the template makes of them, without what a plan has copied."""
    with Place().group(template="{split=train}/{metric}", metrics=["acc", "accuracy"]) as group:
        good, bad = group.tasks({"C": [1, 2]})
        good.report({"acc": 1.0, "accuracy": 1.0}, 1, split="val")
        bad.report({"acc": 1.0}, 1)
        bad.mark_failed("too large")
    marks = {good.id: (["drift-plan:1"], "val/acc -> val/accuracy")}
    one, other = names_of_results(group.results(), marks)
    assert (one.names, other.names) == ((Name("accuracy", "val"),), (Name("acc", "train"),))
    assert [one.fields, other.fields] == [frozenset({"split"}), frozenset()]
    assert (one.completed, other.completed) == (True, False)
    assert (one.id, one.name, one.project, one.group, one.template) == (
        good.id, "C=1", PROJECT, NAME, "{split=train}/{metric}"
    )  # fmt: skip
