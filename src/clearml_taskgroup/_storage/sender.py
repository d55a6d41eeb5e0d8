"""The sender: one thread that delivers the outbox to the server, however long the server is away."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import attrs

from .._clearml.api_errors import Unreachable
from .._model.backoff import Backoff
from ..errors import ServerError
from .batch_sender import Undecided

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._clearml.events import Batch
    from .batch_sender import BatchSender
    from .outbox import Outbox

POLL_S = 0.25
"""How often an empty outbox is checked for events of other processes, which cannot notify the sender."""
FULL_REQUEST_BYTES = 512 * 1024
"""While less than this waits, the sender pauses `POLL_S` between requests: many small ones cost more."""
MIN_RETRY_DELAY_S, MAX_RETRY_DELAY_S = 0.5, 20.0


@attrs.define(eq=False)
class Sender:
    """Delivers an outbox in order, with one request in flight.

    Args:
        outbox: The file in which events wait.
        batch_sender: Sends them.
        before_send: Called before each request: starts the tasks that wait for it.
        keep_alive: Called regularly, whether events wait or not.

    Attributes:
        error: Why the last request failed; None if it succeeded.
    """

    outbox: Outbox
    batch_sender: BatchSender
    before_send: Callable[[], None]
    keep_alive: Callable[[], None] = lambda: None
    error: ServerError | None = None
    _changed: threading.Condition = attrs.field(factory=threading.Condition, repr=False)
    _thread: threading.Thread | None = None
    _stopping: bool = False
    _ended: bool = False
    _flushing: bool = False  # somebody waits in `flush`: pauses are cut short
    # What is being sent: lines from the outbox or, once one was refused, the events that are left of them.
    _data: bytes = attrs.field(default=b"", repr=False)
    _batch: Batch = attrs.field(factory=dict, repr=False)
    _length: int = 0

    def start(self) -> None:
        """Starts the thread; if no thread can start any more, `flush` delivers."""
        self._thread = threading.Thread(target=self._run, name="clearml-taskgroup-sender", daemon=True)
        with contextlib.suppress(RuntimeError):
            self._thread.start()

    def notify(self) -> None:
        """Wakes the thread: there are new events in the outbox."""
        with self._changed:
            self._changed.notify_all()

    @property
    def is_alive(self) -> bool:
        """Whether the thread is running."""
        return not self._ended and self._thread is not None and self._thread.is_alive()

    def flush(self, timeout: float) -> bool:
        """Waits until the server has counted everything that is in the outbox now.

        Returns:
            Whether it has, after at most `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        end = self.outbox.total_written
        if self.is_alive:
            with self._changed:
                self._flushing = True
                self._changed.notify_all()
                left = max(0.0, deadline - time.monotonic())
                self._changed.wait_for(lambda: self.outbox.total_sent >= end or self._ended, left)
        if not self.is_alive:
            while self.outbox.total_sent < end and self._deliver() and time.monotonic() < deadline:
                pass
        return self.outbox.total_sent >= end

    def stop(self, timeout: float) -> None:
        """Ends the thread; what is undelivered stays in the outbox."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(timeout)
        if not self.is_alive and isinstance(self.error, Undecided):
            self._keep_rest()

    def waiting(self) -> dict[str, int]:
        """Counts the events that the server has not counted, per ClearML task."""
        batch, length = self._batch, self._length
        if not batch or self._data:
            return self.outbox.waiting()
        counts = self.outbox.waiting(length)
        for task_id, events in list(batch.items()):
            counts[task_id] = counts.get(task_id, 0) + len(events)
        return counts

    def _keep_rest(self) -> None:
        """Leaves those events of a batch in the outbox that a proxy refused, without those delivered."""
        length, is_last = self._length, self.outbox.sent + self._length >= self.outbox.size
        if length and is_last:
            with contextlib.suppress(OSError):  # on a full disk the whole batch stays in the outbox
                self.outbox.append(self._batch)
                self._length = 0
                self.outbox.delivered(length)

    def after_fork(self) -> None:
        """In a forked child: the thread runs in the parent only, and may have held the lock."""
        self._changed = threading.Condition()
        self._thread = None

    def _run(self) -> None:
        try:
            self._loop()
        finally:  # whatever ended the thread, threads that wait in `flush` deliver themselves
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _loop(self) -> None:
        backoff = Backoff(MIN_RETRY_DELAY_S, MAX_RETRY_DELAY_S)
        while not self._stopping:
            self.keep_alive()
            if self.outbox.is_empty:
                with self._changed:
                    if not self._stopping and self.outbox.is_empty:
                        self._changed.wait(POLL_S)
            elif self._deliver():
                backoff.reset()
                with self._changed:
                    self._changed.notify_all()
                    self._flushing = self._flushing and not self.outbox.is_empty
                    if self.outbox.size - self.outbox.sent < FULL_REQUEST_BYTES:
                        self._changed.wait_for(lambda: self._stopping or self._flushing, POLL_S)
            else:
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping or self._flushing, backoff.next_pause())
                    if self._flushing:
                        backoff.reset()
                    self._flushing = False

    def _deliver(self) -> bool:
        """Sends the next events; gives whether the server took them."""
        if not self._length:
            self._data = self.outbox.read()
            self._length = len(self._data)
        if not self._length:
            return False  # a torn line, on a disk too full to end it
        try:
            self.before_send()
            if self._data:
                self._batch, self._data = self.batch_sender.send_lines(self._data), b""
            if self._batch:
                self.batch_sender.send(self._batch)
        except Unreachable as error:
            self.error = error
            return False
        except Exception as error:  # an error of our own must not end the thread: later events wait for it
            self.error = ServerError(f"the events could not be sent: {error!r}")
            return False
        self.error = None
        length, self._length = self._length, 0
        self.outbox.delivered(length)
        return True
