"""ClearML's own `Task.import_offline_session` takes every session that we write, with all that is in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from clearml_taskgroup._clearml.queries import identity_of
from tests.loopback import LoopbackServer
from tests.support.clearml_process import Finished, run

pytestmark = pytest.mark.slow
WRITE = """
from enum import Enum
from clearml_taskgroup import TaskGroup

class Size(Enum):
    BIG = "big"

with TaskGroup("a team/digits", "svm sweep", mode="offline", tags=["all"]) as group:
    nested = {"opt": {"name": "sgd", "steps": [1, 2]}, "deep": {"a": {"b": True}}}
    plain = group.task({"C": 0.1, **nested}, tags=["own"])
    for i in range(3):
        plain.report({"loss": 0.5 - i / 8, "acc/top": i}, i, split="val")
        plain.report({"loss": 0.75}, i)
    plain.report({"f1": 0.875, "tiny": 5e-324, "huge": 3e38, "großer Name ✓": 1})
    plain.report({"f1": 0.25}, split="val")
    plain.report({"loss": -1}, -5)
    plain.set_parameters({"later": {"lr": 1e-3}, "size": Size.BIG, "nothing": None})

    mixed = group.task({"C": 10, "seed": 7}, tags=["own"])
    mixed.report({"loss": 0.5}, 1, split="val")
    mixed.set_parameters({"before": Path("a/b")})
    task, logger = mixed.clearml_task, mixed.logger
    mixed.set_parameters({"after": Path("a/b"), "n": {"m": 3}})
    mixed.report({"loss": 0.25}, 2, split="val")
    logger.report_scalar(*mixed.metric("loss", split="val"), value=0.125, iteration=3)
    logger.report_single_value("own single", 4.5)
    figure = {"data": [{"x": [1], "y": [2]}]}
    mixed.metric("roc", split="val").report_plotly(figure, iteration=3)
    mixed.metric("table").report_table(iteration=0, table_plot=[["a", "b"], [1, 2]])
    import numpy
    mixed.metric("image").report_image(iteration=2, image=numpy.zeros((4, 4, 3), numpy.uint8))
    logger.report_text("ClearML's own words", print_console=False)
    task.upload_artifact("answer", artifact_object={"answer": 42})
    task.add_tags(["added"])
    task.set_comment("a comment")
    mixed.report({"loss": 0.0625}, 4, split="val")

    silent = group.task({"C": 1})
    failed = group.task(name="a failure")
    try:
        with failed:
            failed.report({"loss": 9}, 1)
            raise ValueError("the reason why")
    except ValueError:
        pass
options = {"mode": "offline", "provenance": False, "template": "all/{task}_{metric}"}
with TaskGroup("a team/digits", "second", **options) as other:
    odd = other.task(key="a key", name="named by hand")
    odd.report({"a/b": 1}, 2)
folders = {name: str(session(t)) for name, t in dict(
    plain=plain, mixed=mixed, silent=silent, failed=failed, odd=odd).items()}
folders["parent"] = group.url.removeprefix("file://")
folders["other parent"] = other.url.removeprefix("file://")
give({
    "folders": folders,
    "keys": {"plain": plain.key, "mixed": mixed.key, "silent": silent.key},
    "group": group.id, "run": group.run, "id": mixed.id,
})
"""
READ = """
from clearml import Task
folders = json.loads(os.environ["FOLDERS"])
give({name: Task.import_offline_session(folder) for name, folder in folders.items()})
"""


@attrs.frozen
class Imported:
    """What lies on the server after all sessions were imported."""

    server: LoopbackServer
    wrote: dict[str, Any]
    ids: dict[str, str]
    writing: Finished
    reading: Finished

    def task(self, name: str) -> dict[str, Any]:
        """A task as the server has it."""
        return self.server.task(self.ids[name])

    def section(self, name: str, section: str) -> dict[str, tuple[str, str]]:
        """A hyperparameter section of a task: for each name, value and type."""
        entries = self.task(name)["hyperparams"].get(section, {})
        return {key: (entry["value"], entry.get("type", "")) for key, entry in entries.items()}


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imported]:
    """Writes two groups offline in one process and imports every session in another."""
    home = tmp_path_factory.mktemp("import")
    with LoopbackServer() as server:
        writing = run(WRITE, home, env=server.environment())
        wrote = writing.result
        assert server.count() == 0, server.calls
        env = {**server.environment(), "FOLDERS": json.dumps(wrote["folders"])}
        reading = run(READ, home, env=env, file=home / "read.py")
        yield Imported(server, wrote, reading.result, writing, reading)


SINGLE = -(2**31)
TASKS = ("plain", "mixed", "silent", "failed", "odd")


def test_every_session_is_accepted(imported: Imported) -> None:
    """Each session becomes a completed task, without a word of trouble from ClearML or the server."""
    assert imported.writing.trouble == []
    assert imported.reading.trouble == []
    assert len(set(imported.ids.values())) == len(imported.wrote["folders"]) == 7
    assert {task["status"] for task in imported.server.tasks.values()} == {"completed"}
    server = imported.server
    assert (server.violations, server.unknown_endpoints, server.crashes) == ([], [], [])


def test_scalars_arrive_as_they_were_reported(imported: Imported) -> None:
    """Every point comes with its title, series, iteration and value, and none beside them."""
    assert imported.server.scalars(imported.ids["plain"]) == {
        ("loss", "val"): [(0, 0.5), (1, 0.375), (2, 0.25)],
        ("acc/top", "val"): [(0, 0.0), (1, 1.0), (2, 2.0)],
        ("loss", "value"): [(-5, -1.0), (0, 0.75), (1, 0.75), (2, 0.75)],
        ("Summary", "f1/value"): [(SINGLE, 0.875)],
        ("Summary", "f1/val"): [(SINGLE, 0.25)],
        ("Summary", "tiny/value"): [(SINGLE, 5e-324)],
        ("Summary", "huge/value"): [(SINGLE, 3e38)],
        ("Summary", "großer Name ✓/value"): [(SINGLE, 1.0)],
    }
    assert imported.server.scalars(imported.ids["odd"]) == {("all", "named by hand_a/b"): [(2, 1.0)]}
    assert imported.server.scalars(imported.ids["silent"]) == {}
    for name in ("parent", "other parent"):  # which show how the whole run went
        found = imported.server.scalars(imported.ids[name])
        assert {title for title, _ in found} == {"Summary"}
        assert ("Summary", "tasks completed") in found


def test_points_of_ours_and_of_clearmls_logger_arrive_together(imported: Imported) -> None:
    """What was reported before, through and after ClearML's own logger is all there."""
    assert imported.server.scalars(imported.ids["mixed"]) == {
        ("loss", "val"): [(1, 0.5), (2, 0.25), (3, 0.125), (4, 0.0625)],
        ("Summary", "own single"): [(SINGLE, 4.5)],
    }
    plots = imported.server.plots(imported.ids["mixed"])
    assert [(plot["metric"], plot["variant"], plot["iter"]) for plot in plots] == [
        ("roc", "val", 3),
        ("table", "value", 0),
    ]


def test_images_and_artifacts_arrive_as_files(imported: Imported) -> None:
    """A debug sample and an artifact are uploaded below the project and the imported task's id."""
    task = imported.task("mixed")
    folder = f"a team/digits/svm sweep C=10,seed=7.{task['id']}"
    files = imported.server.stored_files
    (image,) = imported.server.images(task["id"])
    (artifact,) = task["execution"]["artifacts"]
    assert (image["metric"], image["variant"], image["iter"]) == ("image", "value", 2)
    assert image["url"].endswith(f"/{folder}/metrics/image/value/image_value_00000000.jpeg")
    assert files[f"{folder}/metrics/image/value/image_value_00000000.jpeg"].content.startswith(b"\xff\xd8")
    assert (artifact["key"], artifact["type"]) == ("answer", "dict")
    assert artifact["uri"].endswith(f"/{folder}/artifacts/answer/answer.json")
    assert json.loads(files[f"{folder}/artifacts/answer/answer.json"].content) == {"answer": 42}
    assert len(files) == 2


def test_console_text_arrives(imported: Imported) -> None:
    """The traceback of a failure, and text by ClearML's own logger, are in the tasks' consoles."""
    (traceback,) = imported.server.logs(imported.ids["failed"])
    assert traceback.startswith("Traceback (most recent call last)")
    assert traceback.endswith("ValueError: the reason why\n")
    assert imported.server.logs(imported.ids["mixed"]) == ["ClearML's own words"]


def test_parameters_arrive_with_their_types(imported: Imported) -> None:
    """The section `General` has nested names as `a/b`, text values, and the types by name."""
    assert imported.section("plain", "General") == {
        "C": ("0.1", "float"),
        "opt/name": ("sgd", "str"),
        "opt/steps": ("[1, 2]", "list"),
        "deep/a/b": ("True", "bool"),
        "later/lr": ("0.001", "float"),
        "size": ("Size.BIG", "Size"),
        "nothing": ("", "NoneType"),
    }
    # The same before and after ClearML's own object was attached, which drops what is not builtin.
    general = imported.section("mixed", "General")
    assert general["before"] == general["after"] == ("a/b", general["before"][1])
    assert general["n/m"] == ("3", "int")
    assert (general["C"], general["seed"]) == (("10", "int"), ("7", "int"))
    assert imported.section("failed", "General") == {}


ADDED = {
    "plain": {"params/size": '{"enum": "__main__.Size.BIG"}'},
    "mixed": {"params/after": '{"path": "a/b"}', "params/before": '{"path": "a/b"}'},
}


@pytest.mark.parametrize(
    ("name", "index", "label", "params"),
    [
        (
            "plain",
            0,
            "C=0.1,deep/a/b=True,opt/name=sgd,opt/steps=[1,2]",
            {"C": 0.1, "deep/a/b": True, "opt/name": "sgd", "opt/steps": [1, 2]},
        ),
        ("mixed", 1, "C=10,seed=7", {"C": 10, "seed": 7}),
        ("silent", 2, "C=1", {"C": 1}),
    ],
)
def test_identity_arrives_whole(
    imported: Imported, name: str, index: int, label: str, params: dict[str, Any]
) -> None:
    """Section and configuration object have all of a task's identity, the parameters as typed JSON."""
    identity = identity_of(imported.task(name))
    assert json.loads(identity.pop("params")) == params
    added = [entry for entry in identity if entry.startswith("params/")]
    assert {entry: identity.pop(entry) for entry in added} == ADDED.get(name, {})
    assert identity == {
        "group": imported.wrote["group"],
        "group_name": "svm sweep",
        "run": imported.wrote["run"],
        "run_number": "1",
        "kind": "task",
        "template": "{metric}/{split=value}",
        "key": imported.wrote["keys"][name],
        "name": label,
        "index": str(index),
        "attempt": "1",
    }


def test_parents_arrive_as_controllers(imported: Imported) -> None:
    """The parent of a run is a controller task, marked as a parent, without a key of its own."""
    for name, group in (("parent", "svm sweep"), ("other parent", "second")):
        task = imported.task(name)
        identity = imported.section(name, "TaskGroup")
        assert (task["type"], task["name"]) == ("controller", group)
        assert (identity["kind"][0], identity["group_name"][0]) == ("parent", group)
        assert "key" not in identity_of(task)


def test_names_project_tags_and_type_arrive(imported: Imported) -> None:
    """Tasks have the group's name and their own, the project with its path, and all their tags."""
    projects = imported.server.projects
    assert {projects[imported.task(name)["project"]]["name"] for name in imported.ids} == {"a team/digits"}
    assert [imported.task(name)["name"] for name in TASKS] == [
        "svm sweep C=0.1,deep/a/b=True,opt/name=sgd,opt/steps=[1,2]",
        "svm sweep C=10,seed=7",
        "svm sweep C=1",
        "svm sweep a failure",
        "second named by hand",
    ]
    assert [imported.task(name)["type"] for name in TASKS] == ["training"] * 5
    tags = {name: sorted(imported.task(name)["tags"]) for name in imported.ids}
    assert tags["plain"] == ["all", "own"]
    assert tags["mixed"] == ["added", "all", "own"]
    assert tags["silent"] == tags["parent"] == ["all"]
    assert tags["odd"] == tags["other parent"] == []
    assert imported.task("mixed")["comment"] == "a comment"


def test_the_script_arrives_on_every_task_alike(imported: Imported) -> None:
    """Each task of a group, and its parent, has the script that made it; none without provenance."""
    scripts = [imported.task(name)["script"] for name in ("plain", "mixed", "silent", "failed", "parent")]
    assert all(script == scripts[0] for script in scripts)
    assert scripts[0]["entry_point"] == "script.py"
    assert 'TaskGroup("a team/digits", "svm sweep"' in scripts[0]["diff"]
    assert "clearml ==" in scripts[0]["requirements"]["pip"]
    for name in ("odd", "other parent"):
        assert not any(imported.task(name).get("script", {}).get(field) for field in ("diff", "entry_point"))
