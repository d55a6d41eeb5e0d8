"""Files are synced to disk in a thread, in their order, and errors are kept."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._storage import background_sync
from clearml_taskgroup._storage.background_sync import SYNCING_THREADS, BackgroundSync, sync_all
from clearml_taskgroup.errors import StoreError


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """A disk that answers when the event is set; it starts as slow as can be."""
    go = threading.Event()
    real = os.fsync

    def fsync(file: int) -> None:
        assert go.wait(60.0)
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    return go


def test_nobody_waits_for_the_disk_but_who_asks(tmp_path: Path, disk: threading.Event) -> None:
    sync = BackgroundSync()
    for name in ("a", "b"):
        (tmp_path / name).write_text("data")
        sync.add(str(tmp_path / name))
    assert not sync.wait(0.0)
    disk.set()
    assert sync.wait(60.0)
    assert sync.errors == []
    sync.add(str(tmp_path / "a"))  # the thread has ended, or is about to
    assert sync.wait(60.0)


def test_an_error_is_kept_and_the_other_files_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def fsync(file: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{file}"))
        if synced[-1] == str(paths[0]):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    sync = BackgroundSync()
    paths = [tmp_path / name for name in ("a", "b", "no such file")]
    for path in paths:
        if path.name != "no such file":
            path.write_text("data")
        sync.add(str(path))
    assert sync.wait(60.0)
    assert {*synced} == {str(path) for path in paths[:2]}
    (error,) = sync.errors
    assert isinstance(error, StoreError)
    assert str(paths[0]) in str(error)


def test_without_threads_it_is_done_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the interpreter exits."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", start)
    sync = BackgroundSync()
    (tmp_path / "a").write_text("data")
    sync.add(str(tmp_path / "a"))
    assert sync.wait(0.0)


def test_a_sweep_goes_on_while_the_disk_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: threading.Event
) -> None:
    """The end of the group waits for the disk; so does `flush`, up to its time limit."""
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path))
    group = TaskGroup("digits", "sweep", mode="offline", provenance=False)
    with group:
        for task in group.sweep({"C": [1, 2, 3]}):
            with task:
                task.report({"loss": 1.0}, 0)
            assert task.status == "completed"
        group.flush(timeout=0.01)
        assert group._run is not None
        assert not group._run.backend.wait_for_disk(0.0)
        disk.set()
    assert group._run.backend.wait_for_disk(0.0)


def test_the_groups_end_tells_what_could_not_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(file: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path))
    group = TaskGroup("digits", "sweep", mode="offline", provenance=False)
    with pytest.raises(ExceptionGroup) as raised:
        with group:
            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", fsync)
                with group.task({"C": 1}) as task:
                    task.report({"loss": 1.0}, 0)
                assert group._run is not None
                assert group._run.backend.wait_for_disk(60.0)
    (error,) = raised.value.exceptions
    assert isinstance(error, StoreError)
    assert task.id in str(error)


def test_files_that_follow_each_other_are_synced_by_one_thread(tmp_path: Path) -> None:
    """To start a thread for each would take longer than to make a task; `close` ends it."""
    sync = BackgroundSync()
    before, threads = set(threading.enumerate()), set()
    for name in ("a", "b"):
        (tmp_path / name).write_text("data")
        sync.add(str(tmp_path / name))
        assert sync.wait(60.0)
        threads |= set(threading.enumerate()) - before
    (thread,) = threads
    sync.close()
    thread.join(60.0)
    assert not thread.is_alive()
    sync.add(str(tmp_path / "a"))
    assert sync.wait(60.0)
    sync.close()


def test_files_are_synced_although_the_script_has_as_many_open_as_it_may(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="needs Linux or macOS")
    paths = [tmp_path / str(index) for index in range(20)]
    for path in paths:
        path.write_text("data")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(tmp_path, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 3, hard))
    try:
        errors = sync_all(map(str, paths))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert errors == []


def test_without_a_file_to_close_too_many_open_files_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of each file."""

    def refuse(path: str) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(background_sync, "open_file", refuse)
    paths = [str(tmp_path / name) for name in "ab"]
    assert [error.where for error in sync_all(paths)] == paths


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="no advice to the system")
def test_the_system_is_asked_to_write_whole_files_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first is waited for; a file system that takes no advice is waited for all the same."""
    calls: list[tuple[int, ...]] = []

    def advise(file: int, *how: int) -> None:
        calls.append(how)
        raise OSError(errno.EINVAL, "no advice")

    monkeypatch.setattr(os, "posix_fadvise", advise)
    monkeypatch.setattr(os, "fsync", lambda file: calls.append(()))
    for name in "ab":
        (tmp_path / name).touch()
    assert sync_all([str(tmp_path / "a"), str(tmp_path / "b")]) == []
    assert calls == [(0, 0, os.POSIX_FADV_DONTNEED)] * 2 + [()] * 2


def test_the_disk_writes_several_files_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one after another, a loop over short tasks would be faster than the disk."""
    paths = [tmp_path / str(index) for index in range(SYNCING_THREADS)]
    for path in paths:
        path.write_text("data")
    all_wait = threading.Barrier(SYNCING_THREADS, timeout=60.0)
    monkeypatch.setattr(os, "fsync", lambda file: all_wait.wait())
    assert sync_all(map(str, paths)) == []


def test_an_error_that_nobody_expects_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(file: int) -> None:
        raise ValueError("the disk is no disk")

    monkeypatch.setattr(os, "fsync", fsync)
    sync = BackgroundSync()
    (tmp_path / "a").write_text("data")
    sync.add(str(tmp_path / "a"))
    assert sync.wait(60.0)
    assert [str(error) for error in sync.errors] == ["the disk is no disk"]
