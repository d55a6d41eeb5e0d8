"""Files of whole lines that several processes append to."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearml_taskgroup._storage import append_file
from clearml_taskgroup._storage.append_file import (
    append,
    append_to,
    disk_errors,
    end_torn_line,
    exclusive_lock,
    folder_lock,
    is_torn,
    lock,
    lock_holder,
    open_file,
    read_at,
    shared_lock,
    store_error,
    write_at,
)
from clearml_taskgroup.errors import StoreError

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lines.jsonl"


@pytest.fixture
def file(path: Path) -> Iterator[int]:
    opened = opened_at(path)
    yield opened
    os.close(opened)


def opened_at(path: Path) -> int:
    return open_file(path, os.O_CREAT)


def write_only(monkeypatch: pytest.MonkeyPatch, length: int, then: bytes = b"") -> None:
    """A disk that takes `length` bytes of each write; afterwards another process appends `then`."""
    write = os.write

    def short(file: int, data: bytes) -> int:
        written = write(file, data[:length])
        if then:
            other = os.open(f"/proc/self/fd/{file}", os.O_WRONLY | os.O_APPEND)
            write(other, then)
            os.close(other)
        return written

    monkeypatch.setattr(os, "write", short)


def test_a_short_write_is_undone(path: Path, file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    append(file, b"one\n")
    with monkeypatch.context() as patch:
        write_only(patch, 3)
        with pytest.raises(OSError, match="only 3 of 8 bytes could be written"):
            append(file, b"two two\n")
    append(file, b"three\n")
    assert path.read_bytes() == b"one\nthree\n"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_undoing_a_short_write_removes_no_line_of_another_process(
    path: Path, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(file, b"one\n")
    with monkeypatch.context() as patch:
        write_only(patch, 3, then=b"\nother\n")
        with pytest.raises(OSError, match="only 3 of 8 bytes"):
            append(file, b"two two\n")
    assert path.read_bytes() == b"one\ntwo\nother\n"


@pytest.mark.parametrize("end", [b"\n", b"#\n"])
def test_a_torn_line_is_ended_once(path: Path, file: int, end: bytes) -> None:
    append(file, b"one\n")
    os.write(file, b"tw")
    assert is_torn(file)
    end_torn_line(file, end)
    end_torn_line(file, end)
    assert not is_torn(file)
    append(file, b"three\n")
    assert path.read_bytes() == b"one\ntw" + end + b"three\n"


def test_a_line_is_appended_after_a_torn_one(path: Path, file: int) -> None:
    """A line that another process, or a crash, left without its end spoils no other line."""
    os.write(file, b"tw")
    append(file, b"three\n")
    os.write(file, b"fo")
    append(file, b"five\n", torn_end=b"#\n")
    append_to(path, b"six\n")
    assert path.read_bytes() == b"tw\nthree\nfo#\nfive\nsix\n"


def test_a_torn_line_of_one_character_is_one(path: Path, file: int) -> None:
    os.write(file, b"t")
    append_to(path, b"one\n")
    os.ftruncate(file, 1)
    append(file, b"two\n")
    assert path.read_bytes() == b"t\ntwo\n"


def test_the_end_of_a_file_that_nobody_else_has_written_to_is_not_read(
    path: Path, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size that the last call returned says that it is whole; with any other size it is looked at."""
    size = append(file, b"one\n")
    assert size == 4
    with monkeypatch.context() as patch:
        patch.delattr("clearml_taskgroup._storage.append_file.read_at")
        size = append_to(path, b"two\n", whole=size)
    os.write(file, b"th")
    size = append_to(path, b"four\n", whole=size)
    assert path.read_bytes() == b"one\ntwo\nth\nfour\n"
    assert size == path.stat().st_size


def test_new_files_are_their_owners_only_and_old_ones_stay(path: Path, tmp_path: Path) -> None:
    append_to(path, b"one\n", create=True)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    append_to(path, b"two\n", create=True)
    assert path.stat().st_mode & 0o777 == 0o644


def test_an_empty_file_is_not_torn(path: Path, file: int) -> None:
    end_torn_line(file)
    assert path.read_bytes() == b""


def test_a_path_is_appended_to_and_created_only_on_request(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        append_to(path, b"one\n")
    append_to(path, b"one\n", create=True)
    append_to(path, b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_disk_error_names_the_file(path: Path) -> None:
    with pytest.raises(StoreError, match=r"lines\.jsonl.*No space left") as raised, disk_errors(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert isinstance(raised.value.__cause__, OSError)


def test_an_error_without_a_text_of_the_system_has_its_own(path: Path) -> None:
    assert str(store_error(path, OSError("odd"))).count("odd") == 1
    error = store_error(path, OSError(errno.ENOENT, "No such file"))
    assert (error.errno, "No such file" in str(error), "Errno" in str(error)) == (errno.ENOENT, True, False)
    with pytest.raises(ValueError, match="not of the disk"), disk_errors(path):
        raise ValueError("not of the disk")


def test_a_line_that_is_just_being_written_is_not_ended(
    path: Path, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of a long line of another process can be seen already: after a moment it is longer."""
    other = opened_at(path)
    os.write(other, b"a long ")
    monkeypatch.setattr("time.sleep", lambda seconds: os.write(other, b"line\n"))
    append(file, b"next\n")
    assert path.read_bytes() == b"a long line\nnext\n"
    os.close(other)


def test_the_size_that_the_caller_has_just_asked_for_is_not_asked_again(
    path: Path, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(file, b"one\n")
    with monkeypatch.context() as patch:
        patch.delattr(os, "fstat")
        assert append(file, b"two\n", whole=4, size=4) == 8
    os.write(file, b"th")
    assert append(file, b"four\n", whole=8, size=10) == 16
    assert path.read_bytes() == b"one\ntwo\nth\nfour\n"


@pytest.mark.parametrize("positioned", [True, False])
def test_reading_and_writing_at_an_offset(
    path: Path, file: int, monkeypatch: pytest.MonkeyPatch, positioned: bool
) -> None:
    """Also where the system has no calls that leave a file's position alone."""
    if not positioned:
        monkeypatch.delattr(os, "pread", raising=False)
        monkeypatch.delattr(os, "pwrite", raising=False)
    append(file, b"0123456789")
    assert [read_at(file, 3, at) for at in (0, 4, 8, 10)] == [b"012", b"456", b"89", b""]
    plain = os.open(path, os.O_RDWR)
    write_at(plain, b"ab", 4)
    write_at(plain, b"z", 0)
    os.close(plain)
    assert path.read_bytes() == b"z123ab6789"


def test_who_has_locked_a_file(path: Path, file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/proc/locks").exists():
        pytest.skip("the system does not tell who holds a lock")
    assert lock_holder(path) is None
    assert lock(file)
    assert lock_holder(path) == os.getpid()
    assert lock_holder(path.with_name("missing")) is None
    monkeypatch.setattr("sys.platform", "darwin")
    assert lock_holder(path) is None


@pytest.mark.parametrize(
    ("kind", "pid", "expected"),
    [
        ("FLOCK  ADVISORY  WRITE", 7, 7),
        ("POSIX  ADVISORY  WRITE", 7, None),
        ("FLOCK  ADVISORY  WRITE", -1, None),
    ],
)
def test_only_locks_of_the_kind_that_is_used_count(
    path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, pid: int, expected: int | None
) -> None:
    """A process outside of this container has the pid -1."""
    path.touch()
    found = path.stat()
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    other = f"1: FLOCK  ADVISORY  WRITE 8 {place}0 0 EOF\n"
    locks = path.with_name("locks")
    locks.write_text(f"{other}2: {kind} {pid} {place} 0 EOF\n")
    monkeypatch.setattr("builtins.open", lambda *_, **__: locks.open())
    monkeypatch.setattr("sys.platform", "linux")
    assert lock_holder(path) == expected


def test_one_after_another_holds_a_folders_lock(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    file = os.open(tmp_path, os.O_RDONLY)
    with folder_lock(tmp_path):
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(file)


def test_without_locks_nobody_waits_and_nobody_is_alone(
    tmp_path: Path, path: Path, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on systems that have neither kind."""
    monkeypatch.setattr(append_file, "fcntl", None)
    monkeypatch.setattr(append_file, "msvcrt", None)
    opened = opened_at(path)
    assert lock(file)
    assert lock(opened)
    os.close(opened)
    with shared_lock(file), folder_lock(tmp_path), exclusive_lock(file) as alone:
        assert not alone


@needs_fork
def test_a_lock_is_held_as_long_as_its_process_lives(path: Path, file: int) -> None:
    locked, may_end = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        own = opened_at(path)
        os.write(locked[1], b"y" if lock(own) else b"n")
        os.read(may_end[0], 1)
        os._exit(0)  # without closing the file
    assert os.read(locked[0], 1) == b"y"
    assert not lock(file)
    assert lock_holder(path) in (child, None)  # None: the system does not tell
    os.write(may_end[1], b".")
    os.waitpid(child, 0)
    assert lock(file)
    for end in (*locked, *may_end):
        os.close(end)


def test_shared_locks_keep_an_exclusive_one_out(path: Path, file: int) -> None:
    others = [opened_at(path), opened_at(path)]
    with shared_lock(others[0]), shared_lock(others[1]):
        with exclusive_lock(file) as alone:
            assert not alone
        assert not lock(file)
    with exclusive_lock(file) as alone:
        assert alone
        assert not lock(others[0])
    assert lock(others[0])
    for other in others:
        os.close(other)


@needs_fork
def test_lines_of_two_processes_never_mix(path: Path) -> None:
    children = []
    for name in (b"a", b"b"):
        child = os.fork()
        if not child:
            own = opened_at(path)
            for _ in range(500):
                append(own, name * 5000 + b"\n")
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    lines = path.read_bytes().splitlines()
    assert sorted(set(lines)) == [b"a" * 5000, b"b" * 5000]
    assert len(lines) == 1000
