"""One thread that takes events from the outbox to the server, however long the server is away."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from typing import TYPE_CHECKING

import attrs

from .._clearml.api import Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._clearml.events import Batch
    from ..errors import ServerError
    from .outbox import Outbox
    from .sender_batches import Delivery

LOOK = 0.25
"""Seconds after which the outbox is looked at for what a forked child has written."""
ENOUGH = 512 * 1024
"""Bytes that are sent at once; for fewer, `LOOK` is waited after the last request, if nobody waits."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0


@attrs.define(eq=False)
class Sender:
    """Delivers an outbox in order, with one request in flight.

    Args:
        outbox: Where the events wait.
        delivery: How they are sent.
        before: Called before events are sent: their tasks have to be started first.
        meanwhile: Called every now and then, whether there are events or not.
    """

    outbox: Outbox
    delivery: Delivery
    before: Callable[[], None]
    meanwhile: Callable[[], None] = lambda: None
    error: ServerError | None = None
    _news: threading.Condition = attrs.field(factory=threading.Condition, repr=False)
    _thread: threading.Thread | None = None
    _stopping: bool = False
    _ended: bool = False
    _hurry: bool = False
    _data: bytes = attrs.field(default=b"", repr=False)
    _batch: Batch = attrs.field(factory=dict, repr=False)
    _length: int = 0

    def start(self) -> None:
        """Starts the thread; where none can start any more, `flush` does the work."""
        self._thread = threading.Thread(target=self._run, name="clearml-taskgroup-courier", daemon=True)
        with contextlib.suppress(RuntimeError):
            self._thread.start()

    def tell(self) -> None:
        """Tells the thread that there is something new."""
        with self._news:
            self._news.notify_all()

    @property
    def is_alive(self) -> bool:
        """Whether the thread is at work."""
        return not self._ended and self._thread is not None and self._thread.is_alive()

    def flush(self, timeout: float) -> bool:
        """Waits until all that is in the outbox now was counted by the server."""
        deadline = time.monotonic() + timeout
        end = self.outbox.total_written
        if self.is_alive:
            with self._news:
                self._hurry = True
                self._news.notify_all()
                self._news.wait_for(
                    lambda: self.outbox.total_sent >= end or self._ended,
                    max(0.0, deadline - time.monotonic()),
                )
        if not self.is_alive:
            while self.outbox.total_sent < end and self._deliver() and time.monotonic() < deadline:
                pass
        return self.outbox.total_sent >= end

    def stop(self, timeout: float) -> None:
        """Ends the thread; what is undelivered stays in the outbox."""
        with self._news:
            self._stopping = True
            self._news.notify_all()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(timeout)

    def after_fork(self) -> None:
        """In the child: the thread is its parent's, and so is whatever it held locked."""
        self._news = threading.Condition()
        self._thread = None

    def _run(self) -> None:
        try:
            self._loop()
        finally:  # whatever ended the thread: who waits for it does the work himself
            with self._news:
                self._ended = True
                self._news.notify_all()

    def _loop(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping:
            self.meanwhile()
            if self.outbox.is_empty:
                with self._news:
                    if not self._stopping and self.outbox.is_empty:
                        self._news.wait(LOOK)
                continue
            if self._deliver():
                pause = FIRST_PAUSE
                with self._news:
                    self._news.notify_all()
                    self._hurry = self._hurry and not self.outbox.is_empty
                    # Many small requests would cost more than the events in them.
                    if self.outbox.size - self.outbox.sent < ENOUGH:
                        self._news.wait_for(lambda: self._stopping or self._hurry, LOOK)
                continue
            with self._news:
                self._news.wait_for(lambda: self._stopping or self._hurry, pause * random.uniform(0.5, 1.0))
                hurry, self._hurry = self._hurry, False
            pause = FIRST_PAUSE if hurry else pause
            pause = min(pause * 2, LONGEST_PAUSE)

    def _deliver(self) -> bool:
        """Sends the next events; tells whether the server took them."""
        if not self._length:
            self._data = self.outbox.read()
            self._length = len(self._data)
        if not self._length:
            return False  # a line that is cut short, on a disk too full to end it
        try:
            self.before()
            if self._data:
                self._batch, self._data = self.delivery.send_lines(self._data), b""
            if self._batch:
                self.delivery.send(self._batch)
        except Unreachable as error:
            self.error = error
            return False
        self.error = None
        length, self._length = self._length, 0
        self.outbox.delivered(length)
        return True
