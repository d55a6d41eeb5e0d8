"""The offline store: ClearML's session folders, written without a ClearML object."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import _clearml
from clearml_taskgroup._stores import Ending, RunInfo, TaskSpec
from clearml_taskgroup._stores.offline import OfflineStore
from clearml_taskgroup.errors import StoreError

INFO = RunInfo("0123456789ab", "a/project", "group", "{metric}/{split=value}", ("all",))


def spec(key: str, **params: Any) -> TaskSpec:
    """Describes a task."""
    return TaskSpec(key, f"name {key}", f"group {key}", 0, 1, params, ("own",))


@pytest.fixture
def store(tmp_path: Path) -> OfflineStore:
    """A store in a folder that does not exist yet."""
    return OfflineStore(tmp_path / "cache" / "offline")


def opened(store: OfflineStore, *keys: str) -> list[str]:
    """Creates tasks of these keys."""
    return store.create(INFO, [spec(key, C=1) for key in keys], None)


def contents(store: OfflineStore, task_id: str) -> dict[str, Any]:
    """Reads a session's properties."""
    data: dict[str, Any] = json.loads((store.folder(task_id) / "task.json").read_text())
    return data


def test_a_session_holds_what_clearml_reads_and_nothing_else(store: OfflineStore) -> None:
    """`task.json` has exactly the properties that ClearML's importer and its edits can take."""
    parent, task = store.create(
        INFO, [TaskSpec("", "group", "group", -1, 1, {}, kind="parent"), spec("k", C=1)], "x"
    )
    data = contents(store, task)
    # Neither a date, which later edits by ClearML choke on, nor a parent, which the importer refuses.
    assert set(data) == {
        "id",
        "type",
        "name",
        "project_name",
        "hyperparams",
        "tags",
        "execution",
        "offline_folder",
        "offline_output_models",
    }
    assert (data["id"], data["type"], data["name"]) == (task, "training", "group k")
    assert (data["project_name"], data["tags"]) == ("a/project", ["all", "own"])
    assert data["execution"] == {"artifacts": []}
    assert data["offline_folder"] == store.folder(task).as_posix()
    assert data["hyperparams"]["General"]["C"] == {
        "section": "General",
        "name": "C",
        "value": "1",
        "type": "int",
    }
    assert contents(store, parent)["type"] == "controller"
    assert "General" not in contents(store, parent)["hyperparams"]
    assert sorted(path.name for path in store.folder(task).iterdir()) == ["task.json"]


def test_events_are_appended_a_list_for_each_write(store: OfflineStore) -> None:
    """Each write is one line, a JSON list, in its task's file alone, and is taken out of the batch."""
    first, second = opened(store, "a", "b")
    batch = {first: ['{"value":1}', '{"value":2}'], second: ['{"value":3}']}
    store.write(batch)
    store.write({first: ['{"value":4}']})
    assert batch == {}
    lines = (store.folder(first) / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [[{"value": 1}, {"value": 2}], [{"value": 4}]]
    assert json.loads((store.folder(second) / "metrics.jsonl").read_text()) == [{"value": 3}]


def test_a_line_written_in_part_is_cut_back(store: OfflineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a short write the file is as it was, the error names it, and the events stay in the batch."""
    (task,) = opened(store, "a")
    store.write({task: ['{"value":1}']})
    path = store.folder(task) / "metrics.jsonl"
    before, write = path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[: len(data) // 2]))
    batch = {task: ['{"value":2}']}
    with pytest.raises(StoreError) as told:
        store.write(batch)
    assert told.value.where == str(path)
    assert path.read_bytes() == before
    assert batch == {task: ['{"value":2}']}
    monkeypatch.undo()
    store.write(batch)
    assert path.read_bytes() == before + b'[{"value":2}]\n'


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_holds_up_no_other_task(store: OfflineStore) -> None:
    """What one task's file refuses stays in the batch; the others' events are written."""
    ids = opened(store, "a", "b", "c")
    full = store.folder(ids[1]) / "metrics.jsonl"
    full.symlink_to("/dev/full")
    batch = {task: ['{"value":1}'] for task in ids}
    with pytest.raises(StoreError, match="No space left") as told:
        store.write(batch)
    assert told.value.where == str(full)
    assert list(batch) == [ids[1]]
    assert (store.folder(ids[2]) / "metrics.jsonl").read_text() == '[{"value":1}]\n'


def test_a_deleted_session_is_a_named_error(store: OfflineStore) -> None:
    """Events, parameters and ClearML's object of a session that was deleted: `StoreError` names it."""
    (task,) = opened(store, "a")
    folder = store.folder(task)
    (folder / "task.json").unlink()
    folder.rmdir()
    with pytest.raises(StoreError, match=task):
        store.write({task: ['{"value":1}']})
    with pytest.raises(StoreError, match=task):
        store.set_parameters(task, {"lr": 1})
    with pytest.raises(StoreError, match=task):
        store.clearml_task(task)
    assert not folder.exists()


def test_a_place_that_is_no_folder_is_a_named_error(tmp_path: Path) -> None:
    """Where no folder can be made, opening a task is a `StoreError` that names the place."""
    (tmp_path / "cache").write_text("")
    store = OfflineStore(tmp_path / "cache" / "offline")
    with pytest.raises(StoreError, match=str(tmp_path / "cache" / "offline")):
        opened(store, "a")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_sessions_are_made_all_or_none(store: OfflineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """If one of several sessions cannot be written, none is left behind for an importer to find."""
    opened(store, "a")
    before = sorted(store.root.iterdir())
    mkdir, made = Path.mkdir, []

    def third_is_full(path: Path, *arguments: Any, **options: Any) -> None:
        mkdir(path, *arguments, **options)
        made.append(path)
        if len(made) == 3:
            (path / "task.json").symlink_to("/dev/full")

    monkeypatch.setattr(Path, "mkdir", third_is_full)
    with pytest.raises(StoreError, match="No space left"):
        opened(store, "b", "c", "d", "e")
    assert len(made) == 3
    assert sorted(store.root.iterdir()) == before


def test_parameters_are_added_to_those_there(store: OfflineStore) -> None:
    """Parameters that are set later join the section `General`, as text with their type."""
    (task,) = opened(store, "a")
    store.set_parameters(task, {"lr": 0.1, "opt/name": "adam", "none": None})
    general = contents(store, task)["hyperparams"]["General"]
    assert {name: (entry["value"], entry["type"]) for name, entry in general.items()} == {
        "C": ("1", "int"),
        "lr": ("0.1", "float"),
        "opt/name": ("adam", "str"),
        "none": ("", "NoneType"),
    }
    assert [path.name for path in store.folder(task).iterdir()] == ["task.json"]
    (parent,) = store.create(INFO, [TaskSpec("", "group", "group", -1, 1, {}, kind="parent")], None)
    store.set_parameters(parent, {"lr": 1})  # it had no section General
    assert contents(store, parent)["hyperparams"]["General"]["lr"]["value"] == "1"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_leaves_the_parameters_as_they_were(store: OfflineStore) -> None:
    """A `task.json` that cannot be written again stays whole, with what it had."""
    (task,) = opened(store, "a")
    before = contents(store, task)
    (store.folder(task) / "task.json.new").symlink_to("/dev/full")
    with pytest.raises(StoreError, match="No space left"):
        store.set_parameters(task, {"lr": 0.1})
    assert contents(store, task) == before


def test_ending_goes_through_all_tasks_under_one_deadline(
    store: OfflineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One task's trouble is given back, the rest are settled in what is left of the time; it is tried again."""
    ids = opened(store, "a", "b", "c")
    given: list[tuple[str, float]] = []
    clock = iter(range(0, 1000, 10))

    def settle(task: str, timeout: float) -> None:
        given.append((task, timeout))
        if task == f"attached {ids[0]}" and len(given) == 1:
            raise TimeoutError("took too long")

    monkeypatch.setattr(_clearml, "settle", settle)
    monkeypatch.setattr("clearml_taskgroup._stores.offline.time.monotonic", lambda: float(next(clock)))
    store._attached = {task: f"attached {task}" for task in ids}
    errors = store.finish([Ending(task, "completed") for task in ids], 25.0)
    assert [str(error) for error in errors] == ["took too long"]
    assert [timeout for _, timeout in given] == [15.0, 5.0, 0.0]
    assert list(store._attached) == [ids[0]]
    assert store.finish([Ending(ids[0], "completed")], 1.0) == []
    assert len(given) == 4


def test_the_address_is_that_of_the_folder(store: OfflineStore) -> None:
    """A task's address leads to its session folder."""
    assert store.url("offline-1") == (store.root / "offline-1").as_uri()
    assert store.where == str(store.root)
