"""Append whole lines to a file that several processes write to; repair and lock such a file.

The functions take file descriptors that were opened with `O_APPEND`: the system then writes each
call's bytes at the end of the file, so lines of different processes never mix.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from ..errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns an `OSError` into a `StoreError` that names the file."""
    try:
        yield
    except OSError as error:
        raise StoreError(str(path), str(error)) from error


def append(file: int, data: bytes) -> None:
    """Appends lines with one system call, all of them or none.

    Raises:
        OSError: The disk is full or broken; what was written of `data` has been removed again.
    """
    written = os.write(file, data)
    if written < len(data):
        with contextlib.suppress(OSError):
            end = os.lseek(file, 0, os.SEEK_CUR)
            if end == os.fstat(file).st_size:  # else another process has appended: its line is kept
                os.ftruncate(file, end - written)
        raise OSError(f"only {written} of {len(data)} bytes could be written")


def append_to(path: Path, data: bytes, *, create: bool = False) -> None:
    """Opens a file, appends lines to it (see `append`) and closes it.

    Raises:
        OSError: The file cannot be opened or written to.
    """
    file = os.open(path, os.O_WRONLY | os.O_APPEND | (os.O_CREAT if create else 0), 0o666)
    try:
        append(file, data)
    finally:
        os.close(file)


def is_torn(file: int) -> bool:
    """Whether the last line has no line break, because a crash cut it short."""
    size = os.fstat(file).st_size
    return size > 0 and os.pread(file, 1, size - 1) != b"\n"


def end_torn_line(file: int, end: bytes = b"\n") -> None:
    """Ends a line that a crash cut short, so that the next line starts on its own."""
    if is_torn(file):
        os.write(file, end)


def lock(file: int) -> bool:
    """Locks a file for this process until it is closed or the process dies.

    Returns:
        Whether the file is locked now: False if another process holds it. Always True on Windows,
        which has no such locks.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


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
