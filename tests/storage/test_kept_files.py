"""Files whose upload has failed: what is kept of them, and what is said of the others."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup._clearml.failed_uploads import FailedUpload
from clearml_taskgroup._storage.kept_files import KeptFiles

URL = "http://127.0.0.1:1/project/task.id/artifacts/notes/notes.txt"


def failed(url: str = URL, **fields: Any) -> FailedUpload:
    """A failed upload."""
    return FailedUpload("id", "the artifact 'notes'", url, "refused", **{"content": b"words", **fields})


def texts(kept: KeptFiles) -> list[str]:
    """The messages of the errors."""
    return [str(error) for error in kept.errors("the server", "the command")]


def test_a_copy_is_kept_per_address(tmp_path: Path) -> None:
    """A later failure at the same address replaces the earlier one, and a later success removes it."""
    kept = KeptFiles(tmp_path / "run-0001.files")
    assert kept.keep(failed(), "C=1")
    assert kept.keep(failed(content=b"newer"), "C=1")
    assert kept.keep(failed(URL + "2"), "C=2")
    contents = {path.with_suffix(".data").read_bytes() for path in kept.entries()}
    assert contents == {b"newer", b"words"}
    (text,) = texts(kept)
    assert text.startswith("2 files of 2 tasks (C=1, C=2) could not be delivered: the artifact")
    assert text.endswith("upload them with: the command")
    kept.forget(URL)
    kept.forget(URL + "2")
    kept.forget(URL + "3")
    assert texts(kept) == []
    assert not (tmp_path / "run-0001.files").exists()


def test_the_copies_are_their_owners(tmp_path: Path) -> None:
    """As all files of a run."""
    kept = KeptFiles(tmp_path / "run-0001.files")
    kept.keep(failed(), "C=1")
    paths = [tmp_path / "run-0001.files", *(tmp_path / "run-0001.files").iterdir()]
    assert {stat.S_IMODE(os.stat(path).st_mode) for path in paths} == {0o600, 0o700}
    assert len(paths) == 3


def test_a_resumed_run_reports_its_own(tmp_path: Path) -> None:
    """What an earlier process has kept stays for the upload, and is no error of this one."""
    KeptFiles(tmp_path / "run-0001.files").keep(failed(), "C=1")
    resumed = KeptFiles(tmp_path / "run-0001.files")
    assert texts(resumed) == []
    assert len(resumed.entries()) == 1
    resumed.keep(failed(content=b"newer"), "C=1")
    assert len(texts(resumed)) == 1


@pytest.mark.parametrize("folder", [True, False])
def test_what_cannot_be_kept_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk, or no run log: the message says where the file itself is, or that it is lost."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    path = tmp_path / "notes.txt"
    path.write_text("words")
    kept = KeptFiles(tmp_path / "run-0001.files" if folder else None)
    assert not kept.keep(failed(path=path, content=None), "C=1")
    assert not kept.keep(failed(content=None), "C=2")
    first, second = texts(kept)
    assert first.endswith(f"refused. The file itself is {path}")
    assert second.endswith("refused. It is lost")
    assert ("No space left" in caplog.text) is folder
    assert kept.entries() == {}
    assert path.exists()


def test_odd_entries_are_skipped(tmp_path: Path) -> None:
    """Whatever somebody puts into the folder stays there."""
    folder = tmp_path / "run-0001.files"
    KeptFiles(folder).keep(failed(), "C=1")
    for name, text in {"a": "", "b": "[1]", "c": '{"task": 1}', "d": "[" * 100_000, "e": "\x00"}.items():
        (folder / f"{name}.json").write_text(text)
    assert len(KeptFiles(folder).entries()) == 1
