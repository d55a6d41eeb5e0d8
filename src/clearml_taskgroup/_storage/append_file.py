"""Append whole lines to a file that several processes write to; repair and lock such a file.

The functions take file descriptors of `open_file`: the system then writes each call's bytes at the
end of the file, so lines of different processes never mix.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from ..errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

fcntl: Any = None
msvcrt: Any = None
try:
    import fcntl
except ImportError:  # Windows
    with contextlib.suppress(ImportError):
        import msvcrt

OWNER_ONLY_FILE, OWNER_ONLY_FOLDER = 0o600, 0o700
"""The modes of new files and folders: parameters, code and console output are nobody else's business."""
CLOSED = -1
"""In place of a file that was closed, or not opened yet."""
WRITE_S = 0.01
"""A line without an end that does not grow for so long was cut short: a system call takes less."""
_MSVCRT_LOCK_AT = 2**31 - 2
"""Where Windows locks a file: a locked byte cannot be read, so it is one that no file has."""

_APPEND = os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0)  # else Windows writes "\r\n"
_kept_position = contextlib.nullcontext() if hasattr(os, "pread") else threading.RLock()
"""Keeps other threads from moving a file's position, where reading at an offset moves it (Windows)."""


class disk_errors:  # noqa: N801 - a context manager; as a generator it would take three times as long
    """Turns an `OSError` into a `StoreError` that names the file."""

    def __init__(self, path: Path | str) -> None:
        self.path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, OSError):
            raise store_error(self.path, error) from error


def store_error(path: Path | str, error: OSError) -> StoreError:
    """Returns the `StoreError` that names the file."""
    return StoreError(str(path), error.strerror or str(error), error.errno)


def open_file(path: Path | str, flags: int = 0) -> int:
    """Opens a file to read it and to append to it; a new file is its owner's only.

    Args:
        path: The file.
        flags: More flags, such as `os.O_CREAT`.

    Raises:
        OSError: It cannot be opened.
    """
    return os.open(path, _APPEND | flags, OWNER_ONLY_FILE)


def append(file: int, data: bytes, torn_end: bytes = b"\n", whole: int = 0, size: int | None = None) -> int:
    """Appends lines with one system call, all of them or none.

    Args:
        file: The file.
        data: The lines.
        torn_end: Ends a line before them that was cut short, so that it spoils no other line.
        whole: A size of the file at which its last line is whole, which is then not read again.
        size: The size of the file, if the caller has just asked for it.

    Returns:
        The size of the file after them, at which its last line is whole; too small if others append, too.

    Raises:
        OSError: The disk is full or broken; what was written of `data` has been removed again.
    """
    with _kept_position:
        size = os.fstat(file).st_size if size is None else size
        if _is_torn_at(file, size, whole) and not _is_being_written(file):
            data = torn_end + data
        written = os.write(file, data)
        if written < len(data):
            with contextlib.suppress(OSError):
                end = os.lseek(file, 0, os.SEEK_CUR)
                if end == os.fstat(file).st_size:  # else another process has appended: its line is kept
                    os.ftruncate(file, end - written)
            raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes could be written")
        return size + written


def append_to(path: Path | str, data: bytes, *, create: bool = False, whole: int = 0) -> int:
    """Opens a file, appends lines to it and closes it; see `append` for `whole` and what is returned.

    Raises:
        OSError: The file cannot be opened or written to.
    """
    file = open_file(path, os.O_CREAT if create else 0)
    try:
        return append(file, data, whole=whole)
    finally:
        os.close(file)


def read_at(file: int, length: int, offset: int) -> bytes:
    """Reads up to `length` bytes from an offset on."""
    if hasattr(os, "pread"):
        return bytes(os.pread(file, length, offset))
    with _kept_position:
        os.lseek(file, offset, os.SEEK_SET)
        return os.read(file, length)


def write_at(file: int, data: bytes, offset: int) -> None:
    """Writes over what is at an offset; `file` must not be open for appending."""
    if hasattr(os, "pwrite"):
        os.pwrite(file, data, offset)
        return
    with _kept_position:
        os.lseek(file, offset, os.SEEK_SET)
        os.write(file, data)


def is_torn(file: int) -> bool:
    """Whether the last line has no line break, because a crash cut it short."""
    return _is_torn_at(file, os.fstat(file).st_size)


def _is_torn_at(file: int, size: int, whole: int = 0) -> bool:
    return size not in (0, whole) and read_at(file, 1, size - 1) != b"\n"


def end_torn_line(file: int, end: bytes = b"\n") -> None:
    """Ends a line that a crash cut short, so that the next line starts on its own."""
    if is_torn(file):
        os.write(file, end)


def _is_being_written(file: int) -> bool:
    """Whether another process is writing a long line, of which a part can be seen already."""
    size = os.fstat(file).st_size
    time.sleep(WRITE_S)
    return os.fstat(file).st_size != size


# --- locks -----------------------------------------------------------------------------------------


def lock(file: int) -> bool:
    """Locks a file for this process until it is closed or the process dies.

    Returns:
        Whether the file is locked now: False if another process holds it. True where the system has no locks.
    """
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif msvcrt is not None:
            with _kept_position:
                os.lseek(file, _MSVCRT_LOCK_AT, os.SEEK_SET)
                msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    except OSError:
        return False
    return True


def lock_holder(path: Path) -> int | None:
    """Returns the process that has locked a file, where the system tells it, as Linux does."""
    if sys.platform != "linux" or not hasattr(os, "major"):
        return None
    try:
        found = path.stat()
        with open("/proc/locks", encoding="ascii") as locks:
            lines = [line.split() for line in locks]
    except OSError:
        return None
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    pids = [line[4] for line in lines if line[1:2] == ["FLOCK"] and line[5] == place]
    return next((int(pid) for pid in pids if pid.isdecimal()), None)  # -1: outside of this container


@contextlib.contextmanager
def shared_lock(file: int) -> Iterator[None]:
    """Waits for a lock that several processes can hold at once; nobody gets an `exclusive_lock` meanwhile."""
    if fcntl is None:
        yield
        return
    fcntl.flock(file, fcntl.LOCK_SH)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


@contextlib.contextmanager
def exclusive_lock(file: int) -> Iterator[bool]:
    """Gives whether no other process holds a lock, and keeps others out if so. Never on Windows."""
    locked = fcntl is not None and lock(file)
    try:
        yield locked
    finally:
        if locked:
            fcntl.flock(file, fcntl.LOCK_UN)


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Waits for a folder's lock, so that one process after another changes a file in it. Not on Windows."""
    if fcntl is None:
        yield
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
