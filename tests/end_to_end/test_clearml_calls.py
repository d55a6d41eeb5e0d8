"""The calls of ClearML's own objects that users make: on a member as on a task of ClearML's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.loopback import LoopbackServer
from tests.support.clearml_process import run

pytestmark = pytest.mark.slow
Doc = dict[str, Any]
ROOT = Path(__file__).parents[2]

RAW = f"""
sys.path.insert(0, {str(ROOT)!r})
from clearml import Task
from tests.support.clearml_calls import try_all

mode = os.environ["MODE"]
if mode == "offline":
    Task.set_offline(True)
task = Task._create("project", "the task")
if mode == "online":
    task.mark_started()
task.reload()
outcomes = try_all(task, Path("files").absolute())
task.close()
folder = task.get_offline_mode_folder()
give([outcomes, json.loads((folder / "task.json").read_text()) if folder else task.id])
"""

MEMBER = f"""
sys.path.insert(0, {str(ROOT)!r})
from clearml_taskgroup import TaskGroup
from tests.support.clearml_calls import try_all

mode = os.environ["MODE"]
with TaskGroup("project", "group", task_name="{{task}}", mode=mode, provenance=False) as group:
    with group.task({{"C": 1}}, name="the task") as member:
        outcomes = try_all(member.clearml_task, Path("files").absolute())
        member.report({{"loss": 0.25}}, 2)
        member.set_parameters({{"late": True}})
if mode == "offline":
    stored = json.loads((session(member) / "task.json").read_text())
    uploaded = TaskGroup.upload(group.record_path)
    again = TaskGroup.upload(group.record_path)
    problems = [str(problem) for problem in (*uploaded.problems, *again.problems)]
    give([outcomes, stored, uploaded.ids[member.id], problems])
else:
    give([outcomes, member.id])
"""


@attrs.frozen
class Tried:
    """The calls, made on both.

    Attributes:
        raw: How each ended on a task of ClearML's own.
        ours: How each ended on a member.
        raw_stored: What ClearML's own task left: online on the server, offline in its `task.json`.
        our_stored: The same of the member.
        uploaded: What is on the server of the member that was offline.
        problems: What the uploads reported.
        files: The content of the models' files on the files server, by the model's name.
    """

    raw: dict[str, str]
    ours: dict[str, str]
    raw_stored: Doc
    our_stored: Doc
    uploaded: Doc = attrs.field(factory=dict)
    problems: list[str] = attrs.field(factory=list)
    files: dict[str, str] = attrs.field(factory=dict)


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    """The calls without a server; the member is uploaded afterwards, twice."""
    home = tmp_path_factory.mktemp("offline")
    with LoopbackServer() as server:
        env = {**server.environment(), "MODE": "offline"}
        raw, raw_session = run(RAW, home, env=env).result
        assert server.calls == []
        ours, our_session, task_id, problems = run(MEMBER, home, env=env).result
        assert server.violations == []
        files = {
            model["name"]: server.stored_files[
                model["uri"].removeprefix(f"{server.files_url}/")
            ].content.decode()
            for model in server.models.values()
            if model["uri"].startswith(server.files_url) and not model["system_tags"]
        }
        stored = _on_server(server, task_id)
        assert len(server.models) == len(stored["models"])  # none was made twice
        return Tried(raw, ours, raw_session, our_session, stored, problems, files)


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    """The calls with a server."""
    home = tmp_path_factory.mktemp("online")
    with LoopbackServer() as server:
        env = {**server.environment(), "MODE": "online"}
        raw, raw_id = run(RAW, home, env=env).result
        ours, task_id = run(MEMBER, home, env=env).result
        assert server.violations == []
        return Tried(raw, ours, _on_server(server, raw_id), _on_server(server, task_id))


def _on_server(server: LoopbackServer, task_id: str) -> Doc:
    """What a server has of a task, without ids and what the library itself logs."""
    task = server.task(task_id)
    return {
        **{name: task[name] for name in ("name", "type", "comment", "tags", "status")},
        "destination": task["output"]["destination"].rpartition("/")[2],
        "container": task["container"]["image"] + " " + task["container"]["arguments"],
        "parameters": _parameters(task),
        "configuration": {
            name: item["value"] for name, item in task["configuration"].items() if name != "TaskGroup"
        },
        "labels": task["execution"].get("model_labels"),
        "artifacts": {item["key"]: item["type"] for item in task["execution"]["artifacts"]},
        "models": {item["name"]: _model(server, item["model"]) for item in task["models"]["output"]},
        "events": _events(server, task_id) - {("scalars", "loss", "value")},
    }


def _parameters(task: Doc) -> dict[str, dict[str, str]]:
    """The values of all sections but the library's own."""
    sections = {name: items for name, items in task["hyperparams"].items() if name != "TaskGroup"}
    return {
        section: {name: item["value"] for name, item in items.items() if name != "late"}
        for section, items in sections.items()
    }


def _model(server: LoopbackServer, model_id: str) -> Doc:
    model = server.models[model_id]
    return {
        **{name: model[name] for name in ("name", "framework", "labels", "tags", "system_tags")},
        "project": server.projects[model["project"]]["name"],
        "of a task": model["task"] in server.tasks,
        "events": _events(server, model_id),
    }


def _events(server: LoopbackServer, owner: str) -> set[tuple[str, str, str]]:
    held = server.state.task_events(owner)
    return {
        (kind, event["metric"], event["variant"])
        for kind in ("scalars", "vectors", "plots", "images")
        for event in getattr(held, kind).values()
    }


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_each_call_ends_as_on_a_task_of_clearml(mode: str, request: pytest.FixtureRequest) -> None:
    """What works on a task of ClearML's own works on a member, with the same result."""
    tried: Tried = request.getfixturevalue(mode)
    assert len(tried.raw) > 100
    worse = {
        name: (outcome, tried.ours[name])
        for name, outcome in tried.raw.items()
        if tried.ours[name] != outcome and "Error: " not in outcome
    }
    assert worse == {}


def test_models_work_offline_too(offline: Tried) -> None:
    """Offline, ClearML's own raise an error for each model of a task that is not the script's main one."""
    failed = {n: outcome for n, outcome in offline.ours.items() if "Model" in n and "Error: " in outcome}
    # Nobody has the input model; the lowest ClearML cannot make a table with the newest NumPy.
    assert {name for name, outcome in failed.items() if "NINF" not in outcome} == {"InputModel"}


def test_a_session_is_as_complete_as_clearmls_own(offline: Tried) -> None:
    """`task.json` has every field that ClearML's has, with the same content."""
    raw, ours = offline.raw_stored, offline.our_stored
    assert raw.keys() <= ours.keys()
    assert raw["execution"].keys() <= ours["execution"].keys()
    assert ours["hyperparams"]["General"]["late"]["value"] == "True"
    assert ours["hyperparams"]["TaskGroup"]["kind"]["value"] == "task"
    assert _parameters(ours) == _parameters(raw)
    keys = [[artifact["key"] for artifact in data["execution"].pop("artifacts")] for data in (raw, ours)]
    assert sorted(keys[0]) == sorted(keys[1])
    assert '"name": "the task"' in ours["configuration"].pop("TaskGroup")["value"]
    same = ("name", "project_name", "type", "comment", "tags", "configuration", "execution", "output")
    assert {name: ours[name] for name in same} == {name: raw[name] for name in same}


def test_online_a_member_has_what_a_task_of_clearml_has(online: Tried) -> None:
    """Parameters, configuration, artifacts, models and events are the same, besides the status."""
    assert online.raw_stored["status"] == "in_progress"
    assert online.our_stored == {**online.raw_stored, "status": "completed"}


def test_an_upload_brings_everything_along(offline: Tried, online: Tried) -> None:
    """What was stored offline through ClearML's own objects is on the server as if it had been online."""
    assert offline.problems == []
    assert offline.uploaded == online.our_stored


def test_a_models_own_fields_arrive(offline: Tried) -> None:
    """Name, framework, labels, tags, configuration and the kind of file are those that the script gave."""
    models = offline.uploaded["models"]
    described = models["described"]
    assert described["name"] == "described model"
    assert described["framework"] == "XGBoost"
    assert described["labels"] == {"cat": 0}
    assert described["tags"] == ["best"]
    assert models["model_package"]["system_tags"] == ["package"]
    assert models["fresh"]["framework"] == "PyTorch"
    assert models["reported"]["events"] == {("scalars", "title", "series")}
    assert offline.files["fresh"] == "content of fresh.bin"
    assert offline.files["described model"] == "content of described.json"
