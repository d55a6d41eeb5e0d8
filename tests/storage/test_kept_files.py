"""Files whose upload has failed: what is kept of them, and what is said of the others."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._clearml.failed_uploads import FailedUpload, FileNotUploaded
from clearml_taskgroup._storage import kept_files as module
from clearml_taskgroup._storage.kept_files import KeptFiles
from clearml_taskgroup.errors import DeliveryError, ServerError

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


class Server:
    """Takes the place of a backend, and notes what it is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files: list[tuple[bytes, str]] = []
        self.events: list[dict[str, list[str]]] = []
        self.models: list[tuple[str, str]] = []
        self.error: Exception | None = None
        self.transport = None
        self.connection = SimpleNamespace(files="http://files")
        self.batch_sender = SimpleNamespace(send_all=self.events.append)
        monkeypatch.setattr(sdk, "upload_file", self.upload_file)
        monkeypatch.setattr(module, "set_model_address", lambda _, *found: self.models.append(found))

    def upload_file(self, path: Path, url: str) -> str:
        if self.error is not None:
            raise self.error
        self.files.append((path.read_bytes(), url))
        return f"{url}?there"


def test_what_was_kept_is_delivered_the_first_one_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the event and the model that refer to it; what is still refused stays, and is told at once."""
    server: Any = Server(monkeypatch)
    kept = KeptFiles(tmp_path / "run-0001.files")
    kept.keep(failed(event={"key": "k", "url": ""}), "C=1")
    kept.keep(failed(URL + "2", model="m1", content=b"weights"), "C=2")
    kept.keep(failed(URL + "3", content=b""), "C=1")
    for moment, path in enumerate(kept.entries(), 1):
        os.utime(path, (moment, moment))
    server.error = ServerError("the server is away")
    (error,) = kept.deliver(server)
    assert isinstance(error, DeliveryError)
    assert (error.points, list(error.tasks)) == (3, ["C=1", "C=2"])
    assert "the artifact 'notes': the server is away" in str(error)
    server.error = FileNotUploaded("cannot upload")
    server.error.__cause__ = OSError("timed out")
    assert "no answer in time" in str(kept.deliver(server)[0])
    server.error = None
    assert kept.deliver(server) == []
    assert sorted(server.files) == [(b"", URL + "3"), (b"weights", URL + "2"), (b"words", URL)]
    assert server.events == [{"id": ['{"key":"k","url":"' + URL + '?there"}']}]
    assert server.models == [("m1", f"{URL}2?there")]
    assert not (tmp_path / "run-0001.files").exists()
    assert kept.deliver(server) == []


def test_events_of_clearmls_own_objects_are_sent_again_where_something_takes_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched: dict[str, Any] = {}

    def watch(task_id: str, keep: Any, forget: Any, resend: Any) -> None:
        watched[task_id] = resend

    monkeypatch.setattr(sdk, "watch_uploads", watch)
    written: list[Any] = []
    KeptFiles(None).watch("a", "C=1", written.append)
    KeptFiles(None).watch("b", "C=2")
    for resend in watched.values():
        resend([{"iter": 1}])
    assert written == [{"a": ['{"iter":1}']}]


@pytest.mark.parametrize("folder", [True, False])
@pytest.mark.parametrize("url", [URL, ""])
def test_only_what_has_an_address_and_a_content_is_kept(
    tmp_path: Path, folder: bool, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    kept = KeptFiles(tmp_path / "run-0001.files" if folder else None)
    assert kept.keep(failed(url), "C=1") is (folder and bool(url))
    assert (f"could not be uploaded to {URL} (refused)" in caplog.text) is bool(url)
    assert ("could not be stored (refused)" in caplog.text) is (url == "")
    kept.forget(url)


def test_odd_entries_are_skipped(tmp_path: Path) -> None:
    """Whatever somebody puts into the folder stays there."""
    folder = tmp_path / "run-0001.files"
    KeptFiles(folder).keep(failed(), "C=1")
    for name, text in {"a": "", "b": "[1]", "c": '{"task": 1}', "d": "[" * 100_000, "e": "\x00"}.items():
        (folder / f"{name}.json").write_text(text)
    assert len(KeptFiles(folder).entries()) == 1
