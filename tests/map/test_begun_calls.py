"""Which calls of a `map` on an executor have begun, by the files of their folder."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup._map import begun_calls


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """The folder of one `map`."""
    path = tmp_path / "run-0001.0123abcd-begun"
    path.mkdir()
    return str(path)


def task(name: str = "a") -> Any:
    """What a worker has of a task."""
    return SimpleNamespace(id=name, is_local=True, map_folder=None)


def test_a_call_begins_once(folder: str) -> None:
    assert not begun_calls.has_begun(folder, "a")
    assert begun_calls.begin(task(), folder) == "begins"
    assert begun_calls.has_begun(folder, "a")
    assert begun_calls.begin(task(), folder) == "the worker process that ran it died"
    assert begun_calls.begin(task("b"), folder) == "begins"


def test_none_begins_after_an_interrupt(folder: str) -> None:
    begun_calls.stop(folder)
    assert begun_calls.begin(task(), folder) == "interrupted"
    assert not begun_calls.has_begun(folder, "a")


def test_none_begins_while_the_folder_is_being_removed(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The note of an interrupt goes with the folder; a worker may look between the two."""
    begun_calls.stop(folder)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda path, ignore_errors: (Path(path) / "stopped").unlink())
        begun_calls.remove(folder)
    assert begun_calls.begin(task(), folder) == "map stopped"


def test_none_begins_in_a_folder_that_is_removed_just_then(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "isdir", lambda path: True)
    begun_calls.remove(folder)
    assert begun_calls.begin(task(), folder) == "map stopped"


def test_on_a_full_disk_a_call_begins(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own reports raise then, and say where."""

    def full(*args: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        assert begun_calls.begin(task(), folder) == "begins"


def test_a_result_is_kept_in_case_the_executor_loses_it(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(begun_calls, "MAX_KEPT_BYTES", 3)
    begun_calls.keep_result(folder, "a", b"abc")
    begun_calls.keep_result(folder, "b", b"more")
    assert begun_calls.kept_result(folder, "a") == b"abc"
    assert begun_calls.kept_result(folder, "b") is None
    begun_calls.remove(folder)
    begun_calls.keep_result(folder, "a", b"abc")  # breaks nothing
    assert begun_calls.kept_result(folder, "a") is None
    assert begun_calls.kept_result(None, "a") is None


def test_a_folder_lies_beside_the_run_log(tmp_path: Path) -> None:
    """Threads need none; without a run log, or room on the disk, there is none."""
    run: Any = SimpleNamespace(run_log=SimpleNamespace(path=tmp_path / "run-0001.jsonl"))
    other: Any = object()
    made = begun_calls.make_folder(run, other)
    assert made is not None
    assert Path(made).is_dir()
    assert made.endswith("-begun")
    with ThreadPoolExecutor(1) as threads:
        assert begun_calls.make_folder(run, threads) is None
    run.run_log.path = tmp_path / "nowhere" / "run-0001.jsonl"
    assert begun_calls.make_folder(run, other) is None
    run.run_log = None
    assert begun_calls.make_folder(run, other) is None


def test_a_call_on_another_machine_begins_if_no_server_knows_of_it(tmp_path: Path) -> None:
    elsewhere = task()
    elsewhere.is_local, elsewhere._run = False, SimpleNamespace(backend=SimpleNamespace(transport=None))
    assert begun_calls.begin(elsewhere, str(tmp_path / "nowhere")) == "begins"
    assert begun_calls.begin(task(), str(tmp_path / "nowhere")) == "map stopped"
