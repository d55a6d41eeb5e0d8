"""Upload of output models: odd ones, and models whose file is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._storage import upload_models as module
from clearml_taskgroup._storage.upload import Uploaded
from tests.loopback import LoopbackServer

Doc = dict[str, Any]


def entry(number: int, filename: str | None = "w.bin", name: str = "the model", **weights: Any) -> Doc:
    """One update of a model's weights, as ClearML stores it."""
    init: Doc = {"name": name, "config_text": "", "config_dict": {}, "label_enumeration": None, "tags": None}
    stored = {"weights_filename": filename and f"/elsewhere/{filename}", "is_package": False, **weights}
    return {
        "id": f"offline-{number}",
        "init": {**init, "comment": "", "framework": None},
        "weights": stored,
        "output_uri": None,
    }


def upload(
    *entries: Doc, files: dict[str, str], links: dict[str, Path] | None = None, name: str = "task"
) -> Uploaded:
    """Uploads a run of one task, in whose session these models are stored."""
    with TaskGroup("the project", "group", mode="offline", provenance=False) as group:
        with group.task(name=name) as task:
            assert task.url is not None
            folder = Path(task.url.removeprefix("file://").replace("%20", " "))
            data = json.loads((folder / "task.json").read_text())
            data["offline_output_models"] = list(entries)
            (folder / "task.json").write_text(json.dumps(data))
            for filename, content in files.items():
                (folder / "models" / filename).parent.mkdir(parents=True, exist_ok=True)
                (folder / "models" / filename).write_text(content)
            (folder / "models").mkdir(exist_ok=True)
            for filename, target in (links or {}).items():
                (folder / "models" / filename).symlink_to(target)
    assert group.record_path is not None
    return TaskGroup.upload(group.record_path)


def listed(server: LoopbackServer) -> dict[str, Doc]:
    """The output models of the only task, by the names that it lists them with."""
    (task,) = [task for task in server.tasks.values() if task["type"] == "training"]
    return {item["name"]: server.models[item["model"]] for item in task["models"]["output"]}


def test_the_last_weights_of_a_model_count(loopback: LoopbackServer) -> None:
    """A model that was updated several times is one model, listed under each name of a file."""
    files = {"first.bin": "1", "last.bin": "2"}
    uploaded = upload(entry(1, "first.bin"), entry(1, "last.bin", iteration=5), files=files)
    assert uploaded.problems == ()
    assert listed(loopback).keys() == {"first", "last"}
    (model,) = loopback.models.values()
    assert model["uri"].endswith("/models/last.bin")
    assert [task["last_iteration"] for task in loopback.tasks.values()] == [0, 5]


def test_a_lost_file_is_reported(loopback: LoopbackServer) -> None:
    """A model whose file is gone is named, and the others arrive."""
    uploaded = upload(entry(1, "gone.bin", name="lost"), entry(2), files={"w.bin": "weights"})
    (problem,) = uploaded.problems
    assert "models/gone.bin" in str(problem)
    assert listed(loopback).keys() == {"w"}


def test_a_link_out_of_the_session_is_not_followed(loopback: LoopbackServer, tmp_path: Path) -> None:
    """A file of somebody else's stays on this disk."""
    (tmp_path / "secret").write_text("secret")
    uploaded = upload(entry(1), files={}, links={"w.bin": tmp_path / "secret"})
    assert len(uploaded.problems) == 1
    assert loopback.stored_files == {}


def test_models_of_one_file_name(loopback: LoopbackServer) -> None:
    """Each has its own weights, where ClearML's own session has one file for both."""
    files = {"offline-1/w.bin": "first", "offline-2/w.bin": "second", "w.bin": "of ClearML alone"}
    uploaded = upload(entry(1), entry(2), entry(3, name="another"), files=files)
    assert uploaded.problems == ()
    stored = {file.content for file in loopback.stored_files.values()}
    assert stored == {b"first", b"second", b"of ClearML alone"}
    assert len({model["uri"] for model in loopback.models.values()}) == 3


def test_a_short_name_gets_the_tasks(loopback: LoopbackServer) -> None:
    """A server refuses names of less than three characters, an offline session does not."""
    upload(entry(1, name="m"), files={"w.bin": "weights"})
    assert listed(loopback)["w"]["name"] == "group task - m"


def test_a_registered_model_keeps_its_address(loopback: LoopbackServer) -> None:
    """Nothing is uploaded for a model that is elsewhere already."""
    upload(entry(1, None, register_uri="s3://bucket/best.pt"), files={})
    assert listed(loopback)["best"]["uri"] == "s3://bucket/best.pt"
    assert loopback.stored_files == {}


def test_files_go_where_the_script_said(loopback: LoopbackServer, tmp_path: Path) -> None:
    """A model's destination and its file's name there are kept."""
    (tmp_path / "kept").mkdir()
    destination = (tmp_path / "kept").as_uri()
    first = entry(1, upload_uri=destination, target_filename="named.bin")
    upload(first, {**entry(2), "output_uri": destination}, files={"w.bin": "weights"})
    assert listed(loopback).keys() == {"named", "w"}
    assert sorted(path.name for path in (tmp_path / "kept").rglob("*.bin")) == ["named.bin", "w.bin"]
    assert loopback.stored_files == {}


@pytest.mark.parametrize("name", ["a b", "50% of ä/b #1", "x" * 200])
def test_odd_names_of_tasks(loopback: LoopbackServer, name: str) -> None:
    """The file is where the model's address says, whatever the task is called."""
    upload(entry(1), files={"w.bin": "weights"}, name=name)
    (path,) = loopback.stored_files
    assert loopback.stored_files[path].content == b"weights"
    assert "/models/w.bin" in path
    assert listed(loopback)["w"]["uri"].startswith(loopback.files_url)


# --- what is sent of one model -------------------------------------------------------------------

DATA: Doc = {
    "id": "offline-t",
    "name": "group task",
    "project_name": "a/project",
    "offline_folder": "/cache/t",
}


def body(data: Doc | None = None, **init: Any) -> Doc:
    """What `models.create` gets, for a model with these arguments of `OutputModel`."""
    found = entry(1)
    found["init"] |= init
    found["weights"]["is_package"] = init.get("package", False)
    return module._model_body(found, data or DATA, "there")


def test_what_is_stored_of_a_model() -> None:
    """A field without a value is left out."""
    assert body() == {"ready": False, "name": "the model", "task": "there", "design": {"design": ""}}
    full = body(
        comment="Created by task id: offline-t",
        tags=["one"],
        label_enumeration={"cat": 1},
        config_text="depth: 2",
        framework="PyTorch",
        package=True,
    )
    assert full == {
        "ready": False,
        "name": "the model",
        "task": "there",
        "comment": "Created by task id: there",
        "tags": ["one"],
        "labels": {"cat": 1},
        "design": {"design": "depth: 2"},
        "framework": "PyTorch",
        "system_tags": ["package"],
    }


@pytest.mark.parametrize(
    ("execution", "labels", "expected"),
    [
        ({"model_labels": {"dog": 2}}, None, {"dog": 2}),
        ({"model_labels": {"dog": 2}}, {"cat": 1}, {"cat": 1}),
        ({}, None, None),
        (None, None, None),
    ],
)
def test_labels_are_the_models_or_the_tasks(execution: Any, labels: Any, expected: Any) -> None:
    assert body({**DATA, "execution": execution}, label_enumeration=labels).get("labels") == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, "group task"),
        ("", "group task"),
        ("ab", "group task - ab"),
        (" ab ", "group task -  ab "),
        ("abc", "abc"),
    ],
)
def test_a_model_has_a_name_that_a_server_takes(name: str | None, expected: str) -> None:
    assert body(name=name)["name"] == expected


@pytest.mark.parametrize(
    ("destination", "output", "expected"),
    [
        (None, None, "http://files"),
        ("s3://bucket/", None, "s3://bucket"),
        (None, "s3://output", "s3://output"),
        ("s3://bucket", "s3://output", "s3://bucket"),
        ("file:///cache/t/data", "s3://output", "http://files"),  # as ClearML sets it offline
    ],
)
def test_where_weights_go(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    destination: str | None,
    output: str | None,
    expected: str,
) -> None:
    """With a folder of their own if another file of the task has their address."""
    monkeypatch.setattr(sdk, "upload_file", lambda path, url: url)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "w.bin").touch()
    model = {**entry(1, upload_uri=destination), "output_uri": output}
    url = f"{expected}/a/project/group%20task.there/models/w.bin".replace("%20", " ")
    assert module._upload_weights(model, DATA, tmp_path, "there", "http://files", []) == url
    other = url.replace("w.bin", "offline-1/w.bin")
    assert module._upload_weights(model, DATA, tmp_path, "there", "http://files", [url]) == other


def test_the_folder_of_a_task_is_as_long_as_clearml_makes_it() -> None:
    long = {**DATA, "name": "x" * 200}
    assert module._task_folder(long, "t" * 32) == f"a/project/{'x' * 95}.{'t' * 32}"


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"target_filename": "t", "weights_filename": "w", "register_uri": "r"}, "t"),
        ({"weights_filename": "w", "register_uri": "r"}, "w"),
        ({"register_uri": "r"}, "r"),
    ],
)
def test_the_name_of_weights(weights: Doc, expected: str) -> None:
    assert module._filename({"weights": weights}) == expected
