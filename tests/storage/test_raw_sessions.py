"""Offline sessions of ClearML's own: folders and zip files, whole or not."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from clearml_taskgroup._model.name_template import Name
from clearml_taskgroup._storage.raw_sessions import raw_sessions

POINT = {"type": "training_stats_scalar", "metric": "acc", "variant": "val", "iter": 1, "value": 0.5}


def write(root: Path, task_id: str, lines: str | None, **more: object) -> Path:
    """Writes a session's folder."""
    folder = root / task_id
    folder.mkdir(parents=True)
    data = {"id": task_id, "name": f"task {task_id}", "project_name": "a project", **more}
    (folder / "task.json").write_text(json.dumps(data))
    if lines is not None:
        (folder / "metrics.jsonl").write_text(lines)
    return folder


def to_zip(folder: Path) -> None:
    """Makes the zip file of a session, as closing its task does; the folder stays."""
    with zipfile.ZipFile(f"{folder}.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)


def test_folders_and_zip_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each session is found once; a torn line, and what is no session, do no harm."""
    line = json.dumps([{**POINT, "task": "offline-a", "timestamp": 1_500_000}, {**POINT, "task": "a model"}])
    to_zip(write(tmp_path, "offline-a", f'{line}\n[{{"type": "tor'))
    zipped = write(tmp_path, "offline-b", json.dumps([{**POINT, "task": "offline-b", "metric": "b"}]))
    to_zip(zipped)
    for file in zipped.iterdir():
        file.unlink()
    zipped.rmdir()
    to_zip(write(tmp_path, "offline-c", None))
    write(tmp_path, "offline-known", None)
    write(tmp_path, "offline-parent", None, hyperparams={"TaskGroup": {"kind": {"value": "parent"}}})
    (tmp_path / "offline-broken.zip").write_bytes(b"no zip")
    (tmp_path / "offline-empty").mkdir()
    (tmp_path / "else").mkdir()
    found = {session.id: session for session in raw_sessions(tmp_path, {"offline-known"})}
    assert list(found) == ["offline-a", "offline-b", "offline-c"]
    assert found["offline-a"].project == "a project"
    assert found["offline-a"].read_names() == ([Name("acc", "val")], 1500.0)
    assert found["offline-b"].read_names()[0] == [Name("b", "val")]
    assert found["offline-c"].read_names()[0] == []
    assert len(caplog.records) == 2
    assert "offline-broken.zip cannot be read" in caplog.text
    assert "offline-empty cannot be read" in caplog.text


def test_no_folder(tmp_path: Path) -> None:
    """Without the folder there are none."""
    assert list(raw_sessions(tmp_path / "none", ())) == []
