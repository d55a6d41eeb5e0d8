"""Events on disk until a server has counted them: a file of JSON lines, sent in order.

What is handed over is on disk before it is sent (so a SIGKILL costs nothing of it), and taken out
when it was counted. The disk is asked to keep it by the operating system's own rhythm, not by an
fsync for each batch: a power cut may cost the last half minute.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

import attrs

from ..errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .._clearml.events import Batch

try:
    import fcntl
except ImportError:  # Windows: a file with several writers is not emptied there
    fcntl = None  # type: ignore[assignment]


CHUNK = 2 * 1024 * 1024
"""Bytes that are read, and sent, at a time: what undelivered points cost in memory."""
RECYCLED_AT = 8 * 1024 * 1024
"""Bytes after which the file of delivered events starts anew."""
_OWNER_ALONE = 0o600
TORN = b"#\n"
"""Ends a line that a crash cut short; what ends so is skipped in reading."""


@attrs.define(eq=False)
class Outbox:
    """One run's undelivered events, `run-0001.outbox`, and how far they are, `run-0001.sent`."""

    path: Path
    sent: int = 0
    _file: int = -1
    _mark: int = -1
    _lock: threading.Lock = attrs.field(factory=threading.Lock, repr=False)
    _shared: bool = False
    _foreign: bool = False
    _recycled: int = 0

    @classmethod
    def open(cls, path: Path) -> Outbox:
        """Opens a run's outbox, with what an earlier process has left in it.

        Raises:
            StoreError: The folder cannot be written to.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, _OWNER_ALONE)
            try:
                mark = os.open(mark_path(path), os.O_RDWR | os.O_CREAT, _OWNER_ALONE)
            except OSError:
                os.close(file)
                raise
        except OSError as error:
            raise StoreError(str(path), str(error)) from error
        sent = os.pread(mark, 20, 0).strip()
        outbox = cls(path, 0, file, mark)
        outbox.sent = min(int(sent), outbox.size) if sent.isdigit() else 0
        outbox._note()  # a mark that is beyond the end would pass over what is written from now on
        if outbox._is_torn():
            with contextlib.suppress(OSError):  # a full disk; the next event that fits is behind it
                os.write(file, TORN)
        _alive.add(outbox)
        return outbox

    @property
    def size(self) -> int:
        """Bytes in the file, with what a forked child has added."""
        return os.fstat(self._file).st_size if self._file >= 0 else self.sent

    @property
    def is_empty(self) -> bool:
        """Whether all was delivered."""
        return self.sent >= self.size

    @property
    def end(self) -> int:
        """How many bytes were written since the file was opened, and before."""
        with self._lock:
            return self._recycled + self.size

    @property
    def progress(self) -> int:
        """How many of them were counted by the server."""
        return self._recycled + self.sent

    @property
    def is_gone(self) -> bool:
        """Whether the run has ended and its file been removed, as a forked child may find it."""
        return self._file < 0 or os.fstat(self._file).st_nlink == 0

    def append(self, batch: Batch) -> None:
        """Writes events to the disk, all of them or none.

        Raises:
            StoreError: The disk refuses.
        """
        lines = itertools.chain.from_iterable(batch.values())
        data = "\n".join(itertools.chain(lines, ("",))).encode()
        with self._lock, writing(self._file) if self._foreign else contextlib.nullcontext():
            try:
                if self._shared and self._is_torn():
                    data = TORN + data  # a child was killed as it wrote
                written = os.write(self._file, data)
                if written < len(data):
                    os.ftruncate(self._file, os.fstat(self._file).st_size - written)
                    raise OSError(f"only {written} of {len(data)} bytes could be written")
            except OSError as error:
                raise StoreError(str(self.path), str(error)) from error

    def next(self) -> tuple[Batch, int]:
        """Reads the next events that wait; gives them with their length in bytes."""
        data = self.read()
        return parsed(data), len(data)

    def read(self) -> bytes:
        """Reads the next events that wait, as lines."""
        want = CHUNK
        while True:
            data = os.pread(self._file, want, self.sent)
            end = data.rfind(b"\n") + 1
            if end or not data:
                return data[:end]
            if len(data) < want:
                # Cut short; where a child is just writing it, this lands behind the end of it.
                try:
                    os.write(self._file, TORN)
                except OSError:
                    return b""
            else:
                want *= 2  # a line longer than a chunk

    def delivered(self, length: int) -> None:
        """Notes that the events which `next` gave were counted by the server."""
        with self._lock:
            if self._file < 0:
                return  # closed while the server answered
            self.sent += length
            if self.sent < RECYCLED_AT:
                self._note()
                return
            with _alone(self._file) if self._shared else contextlib.nullcontext(True) as alone:
                if alone and self.sent >= self.size:
                    self._recycled, self.sent = self._recycled + self.sent, 0
                    self._note()
                    os.ftruncate(self._file, 0)
                else:
                    self._note()

    def waiting(self) -> dict[str, int]:
        """Counts the events that wait, for each ClearML task, without holding them in memory."""
        counts: dict[str, int] = {}
        for batch in self.batches(self.sent):
            for task_id, events in batch.items():
                counts[task_id] = counts.get(task_id, 0) + len(events)
        return counts

    def batches(self, at: int = 0) -> Iterator[Batch]:
        """Reads what is in the file from a place on, delivered or not."""
        while self._file >= 0 and (data := os.pread(self._file, CHUNK, at)):
            end = data.rfind(b"\n") + 1 or len(data)
            yield parsed(data[:end])
            at += end

    def close(self) -> None:
        """Lets go of the files, and removes them if all was delivered."""
        with self._lock:
            if self._file < 0:
                return
            try:
                if self.sent >= self.size:
                    self.path.unlink(missing_ok=True)
                    mark_path(self.path).unlink(missing_ok=True)
                else:
                    os.fsync(self._file)
            finally:
                os.close(self._file)
                os.close(self._mark)
                self._file = self._mark = -1
        _alive.discard(self)

    def _note(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: after a crash, some would be sent again
            os.pwrite(self._mark, f"{self.sent:<20}".encode(), 0)

    def _is_torn(self) -> bool:
        size = self.size
        return size > 0 and os.pread(self._file, 1, size - 1) != b"\n"

    def share(self) -> None:
        """Has other processes write to the file as well, from now on."""
        # Not while the file starts anew, which would take away what they write.
        locked = self._lock.acquire(timeout=1.0)
        self._shared = True
        if locked:
            self._lock.release()

    def after_fork(self) -> None:
        """In the child: the file has two writers, and locks of its own tell them apart."""
        self._lock = threading.Lock()
        self._shared = self._foreign = True
        with contextlib.suppress(OSError):  # the run has ended: see `is_gone`
            file, self._file = self._file, os.open(self.path, os.O_RDWR | os.O_APPEND)
            os.close(file)


@contextlib.contextmanager
def writing(file: int) -> Iterator[None]:
    """Holds off the process that empties the file, while another one writes to it."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_SH)
    try:
        yield
    finally:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_UN)


@contextlib.contextmanager
def _alone(file: int) -> Iterator[bool]:
    """Tells whether no other process writes to the file, and keeps it so."""
    if fcntl is None:
        yield False
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def mark_path(path: Path) -> Path:
    """Where it is kept how far an outbox was delivered."""
    return path.with_suffix(".sent")


def parsed(data: bytes) -> Batch:
    """Reads JSON lines as events by task; a line that a crash cut short is passed over."""
    batch: Batch = {}
    for line in data.decode(errors="replace").split("\n"):
        head, found, rest = line.partition('"task":"')
        if found and line.endswith("}") and head.startswith("{"):
            task_id = rest[: rest.index('"')]
            events = batch.get(task_id)
            if events is None:
                events = batch[task_id] = []
            events.append(line)
    return batch


_alive: weakref.WeakSet[Any] = weakref.WeakSet()


def _note_fork() -> None:
    for outbox in list(_alive):
        outbox.share()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_note_fork)
