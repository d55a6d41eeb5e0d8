"""Deleting a run from this disk: which files are its own, and when it was last written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup._model.past import PastRun, PastTask
from clearml_taskgroup._storage.discard import delete, files_of, last_write
from clearml_taskgroup.errors import RunLogError, StoreError

GROUP, RUN = "0123456789ab", "a" * 32


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    (tmp_path / "taskgroup" / GROUP).mkdir(parents=True)
    (tmp_path / "offline").mkdir()
    return tmp_path


def past_run(cache: Path, *tasks: str, name: str = "run-0001.jsonl", **fields: Any) -> PastRun:
    """A run with tasks, whose log exists."""
    path = cache / "taskgroup" / GROUP / name
    path.touch()
    known = {task_id: PastTask(task_id, task_id, task_id, 0, 1, {}) for task_id in tasks}
    values = {"mode": "offline", "parent": "offline-parent", "owns_parent": True, "tasks": known, **fields}
    return PastRun(path, GROUP, "project", "name", RUN, 1, "{metric}", **values)


def session(cache: Path, name: str, run: str = RUN) -> Path:
    """A session of a run."""
    folder = cache / "offline" / name
    folder.mkdir()
    entries = {"run": {"section": "TaskGroup", "name": "run", "value": run}}
    data = {"id": name, "name": name, "project_name": "project", "hyperparams": {"TaskGroup": entries}}
    (folder / "task.json").write_text(json.dumps(data))
    return folder


def test_the_files_of_a_run(cache: Path) -> None:
    """The log is the last one; sessions that it names but that are another run's are told apart."""
    past = past_run(cache, "offline-a", "offline-b", "offline-gone")
    group = past.path.parent
    own = [session(cache, "offline-a"), session(cache, "offline-parent")]
    foreign = session(cache, "offline-b", "another run")
    session(cache, "offline-c")  # which it does not name
    for name in ("run-0001.refused", f"{RUN}.number", "run-0002.jsonl", "run-0002.refused"):
        (group / name).touch()
    paths, others = files_of(past)
    assert paths == [*own, group / f"{RUN}.number", group / "run-0001.refused", past.path]
    assert others == [foreign]


@pytest.mark.parametrize("fields", [{"owns_parent": False}, {"parent": None}])
def test_a_parent_of_somebody_else_stays(cache: Path, fields: dict[str, Any]) -> None:
    parent, own = session(cache, "offline-parent"), session(cache, "offline-a")
    past = past_run(cache, "offline-a", **fields)
    assert files_of(past) == ([own, past.path], [])
    assert parent.exists()


def test_an_online_run_has_no_sessions(cache: Path) -> None:
    session(cache, "offline-a")
    past = past_run(cache, "offline-a", mode="online")
    assert files_of(past) == ([past.path], [])


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("taskgroup/another", "run-0001.jsonl"),
        (f"elsewhere/{GROUP}", "run-0001.jsonl"),
        (f"taskgroup/{GROUP}", "notes.jsonl"),
    ],
)
def test_a_log_in_another_place_is_refused(cache: Path, where: str, name: str) -> None:
    past = past_run(cache)
    past.path = cache / where / name
    past.path.parent.mkdir(parents=True, exist_ok=True)
    past.path.touch()
    os.utime(past.path, (5.0, 5.0))
    with pytest.raises(RunLogError, match=f"is not in its place, taskgroup/{GROUP}/run-….jsonl"):
        files_of(past)
    assert last_write(past) == 5.0  # that of the log alone


def test_the_last_write_is_that_of_any_file(cache: Path, tmp_path: Path) -> None:
    """Of a link, what it leads to is not the run's."""
    past = past_run(cache, "offline-a", "offline-link")
    folder = session(cache, "offline-a")
    session(cache, "offline-moved").rename(tmp_path / "moved")
    (cache / "offline" / "offline-link").symlink_to(tmp_path / "moved")
    for path in (past.path, folder / "task.json", folder):
        os.utime(path, (1.0, 1.0))
    assert last_write(past) == 1.0
    for moment, path in enumerate((folder, folder / "task.json", past.path), 2):
        os.utime(path, (moment, moment))
        assert last_write(past) == moment


def test_files_folders_and_links_are_deleted(tmp_path: Path) -> None:
    """Of a link, the link alone; of what is gone already, nothing."""
    folder, file, link, kept = (tmp_path / name for name in ("folder", "file", "link", "kept"))
    for path in (folder, kept):
        path.mkdir()
        (path / "task.json").touch()
    file.touch()
    link.symlink_to(kept)
    delete([folder, file, tmp_path / "gone", link])
    assert not any(map(os.path.lexists, (folder, file, link)))
    assert (kept / "task.json").exists()


def test_what_cannot_be_deleted_is_named_and_the_rest_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).touch()

    def refuse(path: Path, missing_ok: bool) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StoreError) as raised:
        delete([tmp_path / "a", tmp_path / "b"])
    assert raised.value.where == str(tmp_path / "a")
