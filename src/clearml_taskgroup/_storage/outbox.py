"""The outbox: a file of events that wait until a server has counted them, sent in order.

Events are written to the file before they are sent, so a SIGKILL loses none of them. The file is not
synced for each batch: a power cut may cost what the system had not written yet, about half a minute.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import weakref
from typing import TYPE_CHECKING

import attrs

from .. import _fork
from .._model import limits
from .append_file import (
    CLOSED,
    OWNER_ONLY_FILE,
    OWNER_ONLY_FOLDER,
    append,
    disk_errors,
    end_torn_line,
    exclusive_lock,
    open_file,
    read_at,
    shared_lock,
    write_at,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .._clearml.events import Batch

TORN = b"#\n"
"""Ends a line that a crash cut short; a line that ends like this is skipped by the reader."""


@attrs.define(eq=False)
class Outbox:
    """One run's undelivered events, `run-0001.outbox`, and how much of it was delivered, `run-0001.sent`.

    Attributes:
        path: The file of events.
        sent: How many of its bytes the server has counted.
    """

    path: Path
    sent: int
    _file: int
    _sent_file: int
    _lock: threading.Lock = attrs.field(factory=threading.Lock, repr=False)
    _shared: bool = False  # other processes may write to the file, too
    _in_child: bool = False
    _recycled: int = 0  # bytes that were delivered and removed from the file

    @classmethod
    def open(cls, path: Path) -> Outbox:
        """Opens a run's outbox, with the events that an earlier process left in it.

        Raises:
            StoreError: The folder cannot be written to.
        """
        with disk_errors(path):
            path.parent.mkdir(OWNER_ONLY_FOLDER, parents=True, exist_ok=True)
            file = open_file(path, os.O_CREAT)
            try:
                sent_file = os.open(sent_path(path), os.O_RDWR | os.O_CREAT, OWNER_ONLY_FILE)
            except OSError:
                os.close(file)
                raise
        sent = read_at(sent_file, 20, 0).strip()
        outbox = cls(path, 0, file, sent_file)
        outbox.sent = min(int(sent), outbox.size) if sent.isdigit() else 0
        outbox._save_sent()  # a number beyond the file's end would hide what is written from now on
        with contextlib.suppress(OSError):  # on a full disk; the next event that fits comes after it
            end_torn_line(file, TORN)
        _open_outboxes.add(outbox)
        return outbox

    @property
    def size(self) -> int:
        """Bytes in the file, including those of other processes."""
        return os.fstat(self._file).st_size if self._file != CLOSED else self.sent

    @property
    def is_empty(self) -> bool:
        """Whether all events were delivered."""
        return self.sent >= self.size

    @property
    def total_written(self) -> int:
        """Bytes that were ever written, including those that were delivered and removed."""
        with self._lock:
            return self._recycled + self.size

    @property
    def total_sent(self) -> int:
        """How many of `total_written` the server has counted."""
        return self._recycled + self.sent

    @property
    def is_gone(self) -> bool:
        """Whether the run has ended and removed the file; a forked child may see this."""
        return self._file == CLOSED or os.fstat(self._file).st_nlink == 0

    def append(self, batch: Batch) -> None:
        """Writes events to the file, all of them or none.

        Raises:
            StoreError: The disk is full or broken.
        """
        data = to_lines(batch)
        with self._lock, shared_lock(self._file) if self._in_child else contextlib.nullcontext():
            with disk_errors(self.path):
                append(self._file, data, TORN)

    def next(self) -> tuple[Batch, int]:
        """Reads the next events that wait.

        Returns:
            The events, and their length in bytes for `delivered`.
        """
        data = self.read()
        return parse_lines(data), len(data)

    def read(self) -> bytes:
        """Reads the next events that wait, as whole lines."""
        want = limits.SENDER_CHUNK_BYTES
        while True:
            data = read_at(self._file, want, self.sent)
            end = data.rfind(b"\n") + 1
            if end or not data:
                return data[:end]
            if len(data) < want:
                # The line is torn. If a child is still writing it, this lands after its end.
                try:
                    os.write(self._file, TORN)
                except OSError:
                    return b""
            else:
                want *= 2  # a line longer than a chunk

    def delivered(self, length: int) -> None:
        """Marks the next `length` bytes as counted by the server."""
        with self._lock:
            if self._file == CLOSED:
                return  # closed before the server answered
            self.sent += length
            if self.sent < limits.OUTBOX_RECYCLE_BYTES:
                self._save_sent()
                return
            with exclusive_lock(self._file) if self._shared else contextlib.nullcontext(True) as alone:
                if alone and self.sent >= self.size:
                    self._recycled, self.sent = self._recycled + self.sent, 0
                    self._save_sent()
                    os.ftruncate(self._file, 0)
                else:
                    self._save_sent()

    def waiting(self, skip: int = 0) -> dict[str, int]:
        """Counts the events that wait, per ClearML task, without holding them in memory.

        Args:
            skip: How many bytes of them not to look at.
        """
        counts: dict[str, int] = {}
        for batch in self.batches(self.sent + skip):
            for task_id, events in batch.items():
                counts[task_id] = counts.get(task_id, 0) + len(events)
        return counts

    def batches(self, at: int = 0) -> Iterator[Batch]:
        """Reads all events in the file from the offset `at` on, delivered or not."""
        while self._file != CLOSED and (data := read_at(self._file, limits.SENDER_CHUNK_BYTES, at)):
            end = data.rfind(b"\n") + 1 or len(data)
            yield parse_lines(data[:end])
            at += end

    def close(self) -> None:
        """Closes the files; removes them if all events were delivered."""
        with self._lock:
            if self._file == CLOSED:
                return
            file, is_empty = self._file, self.is_empty
            self._file = CLOSED
            with disk_errors(self.path):
                try:
                    if not is_empty:
                        os.fsync(file)
                finally:
                    os.close(file)
                    os.close(self._sent_file)
                    self._sent_file = CLOSED
                if is_empty:
                    with contextlib.suppress(PermissionError):  # on Windows, while a worker has it open
                        self.path.unlink(missing_ok=True)
                        sent_path(self.path).unlink(missing_ok=True)
        _open_outboxes.discard(self)

    def _save_sent(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: after a crash, some events are sent again
            write_at(self._sent_file, f"{self.sent:<20}".encode(), 0)

    def share(self) -> None:
        """Prepares for other processes that write to the file, too."""
        # Wait while the file is being emptied, which would remove what they write. Not for ever: a
        # fork must not hang on a lock.
        locked = self._lock.acquire(timeout=1.0)
        self._shared = True
        if locked:
            self._lock.release()

    def after_fork(self) -> None:
        """Opens the file again in a forked child: file locks of its own keep the two processes apart."""
        self._lock = threading.Lock()
        self._shared = self._in_child = True
        with contextlib.suppress(OSError):  # the run has ended: see `is_gone`
            file, self._file = self._file, open_file(self.path)
            os.close(file)


def sent_path(path: Path) -> Path:
    """The file that stores how many bytes of an outbox were delivered."""
    return path.with_suffix(".sent")


def refused_path(path: Path) -> Path:
    """The file beside a run log or outbox with the events that the server refused."""
    return path.with_suffix(".refused")


def to_lines(batch: Batch) -> bytes:
    """Writes events by task as JSON lines, which `parse_lines` reads."""
    return "\n".join(itertools.chain(*batch.values(), ("",))).encode()


def parse_lines(data: bytes) -> Batch:
    """Reads JSON lines as events by task; a line that a crash cut short is skipped."""
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


_open_outboxes: weakref.WeakSet[Outbox] = weakref.WeakSet()


@_fork.before_fork
def _share_outboxes() -> None:
    for outbox in list(_open_outboxes):
        outbox.share()
