"""The thread that turns a group's reports into API events and writes them to the backend in batches.

A report costs its caller one append to a deque; all formatting and all I/O happen in the thread. It
is a daemon. Where it cannot run (in a forked child, at the interpreter's exit), the thread that
reports or flushes does the same work itself ("in line").
"""

from __future__ import annotations

import itertools
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from .. import _fork
from .._clearml.events import Batch, console_event, now, scalar_event_end, scalar_event_start
from .._model.downsample import CurveSample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .._model.metric_data import MetricData
    from .._model.name_template import Name
    from .._model.stats import Stats
    from .._storage.base import Backend

QUEUE_INTERVAL_S = 0.25
"""How often the thread looks at the queue; a SIGKILL may lose the reports of one second."""
MAX_QUEUE_INTERVAL_S = 0.9
"""The same where batches take long, because each opens a thousand files: the larger they are, the fewer."""
BATCH_SHARE = 0.1
"""The part of the time that batches may take, as long as that interval allows it."""
MANY_QUEUED_REPORTS = 8_192
"""The number of waiting reports from which on the thread does not wait any longer."""
MAX_QUEUED_REPORTS = 65_536
"""The number of waiting reports from which on `put` blocks."""
FULL_QUEUE_WAIT_S = 0.005
"""How long `put` waits before it looks again whether a full queue has room."""
MAX_PENDING_EVENTS = 1_000_000
"""The number of encoded events that may wait because the backend refuses some of them."""
STALL_TIMEOUT_S = 5.0
"""How long a full queue may make no progress before data points are dropped."""
MAX_WAIT_STEP_S = 0.5
"""The longest single wait: a signal that arrives just before a wait is handled after it."""
MAX_TIMEOUT_S = 1e6
"""The longest time limit: Python's locks accept no infinity."""
MIN_FLUSH_S = 1.0
"""Seconds that the last reports get to reach the disk, even if the time for closing has run out."""


class Channel:
    """What the reporter needs of one name of one task: the head of its API events, statistics, sample.

    It refers to the objects of the task's `MetricData` directly, which saves time for each data point.
    `passes` is the number of next points that the sample skips.
    """

    __slots__ = ("data", "head", "name", "passes", "sample", "stats")
    name: Name
    data: MetricData
    stats: Stats
    sample: CurveSample
    passes: int
    head: str

    def __init__(self, task_id: str, name: Name, data: MetricData) -> None:
        self.name = name
        self.data = data
        self.stats = data.stats
        self.sample = data.sample if data.sample is not None else CurveSample()
        self.passes = 0
        self.head = scalar_event_start(task_id, name)


Points = list[Any]
"""A report as it is made: the task's id, the iteration, the time, then the number of a channel, its value, ….

It waits as one tuple of texts and numbers, which the garbage collector passes over once it has seen it. As
objects that it looks at again and again, some thousand reports would cause full collections in the loop.
"""
FIRST_POINT = 3
"""Where the points of a report begin."""
TEXT_LENGTH = 2
"""The length of a tuple that waits with an event as text: the task's id and the event."""


class Channels:
    """The channels that reports name by their numbers.

    Attributes:
        by_number: The channels.
        forgotten: Numbers that no later report has, until what was reported before has been encoded.
    """

    def __init__(self) -> None:
        self.by_number: dict[int, Channel] = {}
        self.forgotten: deque[list[int]] = deque()
        self._numbers = itertools.count(1)

    def add(self, channel: Channel) -> int:
        """Returns a channel's number."""
        number = next(self._numbers)
        self.by_number[number] = channel
        return number

    def forget(self, numbers: Iterable[int]) -> None:
        """Frees channels once the reports that wait now are encoded."""
        self.forgotten.append([*numbers])


class Reporter:
    """Takes the reports of a group's tasks and writes them to its backend.

    Attributes:
        channels: The channels of the group's tasks.
        lost: The number of dropped data points by ClearML task id.
        error: Why the backend refused the last batch; None if it took it.
        after_batch: Called by the thread after each batch.
        before_inline: In a forked child: called with the ClearML task's id before a report is written.
    """

    _look_at: int
    """The number of waiting reports from which on `put` calls `_make_room`."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.channels: Channels = Channels()
        self.lost: dict[str, int] = {}
        self.error: Exception | None = None
        self.after_batch: Callable[[], None] | None = None
        self.before_inline: Callable[[str], None] | None = None
        self._last_text_ms: dict[str, int] = {}
        self._queue: deque[tuple[Any, ...]] = deque()
        self._pending: Batch = {}
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._progress = threading.Condition()
        self._work_lock = threading.Lock()
        self._flushes_requested = self._flushes_done = 0
        self._stopping = self._inline = self._ended = False
        self._give_up_at: float | None = None
        self._look_for_many()

    def start(self) -> None:
        """Starts the thread; if none can start any more, the work is done in line."""
        _started.add(self)
        self._thread = threading.Thread(target=self._run, name="clearml-taskgroup", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._thread, self._inline = None, True

    def put(self, points: Points) -> int:
        """Queues the data points of one report, with the time; returns how many of them were dropped."""
        if len(self._queue) >= self._look_at and not self._make_room():
            task_id, count = points[0], _number_of_events(points)
            self.lost[task_id] = self.lost.get(task_id, 0) + count
            return count
        points[2] = time.time_ns() // 1_000_000
        self._queue.append(tuple(points))
        if self._inline:
            if self.before_inline is not None:
                self.before_inline(points[0])
            self._work()
        return 0

    def put_text(self, task_id: str, text: str) -> None:
        """Queues text for a task's console, in order with its data points; see `put_event`."""
        # The web page shows console events of one millisecond in reverse order.
        timestamp = max(now(), self._last_text_ms.get(task_id, 0) + 1)
        self._last_text_ms[task_id] = timestamp
        self.put_event(task_id, console_event(task_id, text, timestamp=timestamp))

    def put_event(self, task_id: str, event: str) -> None:
        """Queues an API event, as JSON text; dropped if the queue stays full."""
        if len(self._queue) >= self._look_at and not self._make_room():
            return
        self._queue.append((task_id, event))
        if self._inline:
            self._work()

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until the backend has everything that was reported before this call.

        Returns:
            Whether it has; if not, the time ran out or the backend refuses it (see `error`).
        """
        seconds = MAX_TIMEOUT_S if timeout is None else max(0.0, min(timeout, MAX_TIMEOUT_S))
        if self._has_no_thread:
            return self._work(seconds)
        if self.has_written_all:  # then to wake the thread takes longer than all else at a task's end
            return True
        if self._thread is not threading.current_thread():
            with self._progress:
                self._flushes_requested += 1
                request = self._flushes_requested
                self._wake.set()
                until = time.monotonic() + seconds
                while self._flushes_done < request and not self._has_no_thread:
                    left = until - time.monotonic()
                    if left <= 0:
                        break
                    self._progress.wait(min(left, MAX_WAIT_STEP_S))
            if self._flushes_done >= request:  # later reports of other threads do not count
                return self.error is None
            if self._has_no_thread:
                return self._work(seconds)
        return not self._queue and not self._pending

    def write_now(self) -> None:
        """Writes what is queued in the caller's thread: the other one would take longer only to wake up.

        Does nothing while that thread writes, or after an error: then it goes on itself.
        """
        if not self._work_lock.locked() and self.error is None:
            self._work()

    def hand_over(self) -> None:
        """Writes what waits, so that it is stored before what another process reports from now on."""
        if self._queue or self._work_lock.locked():
            self.flush(STALL_TIMEOUT_S)

    def stop(self, timeout: float | None = None) -> None:
        """Ends the thread; undelivered reports stay in the queue."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(None if timeout is None else min(timeout, MAX_TIMEOUT_S))
        alone = self._has_no_thread
        self._inline = True
        _started.discard(self)
        if alone:
            self._work()  # for reports that another thread has just queued

    def undelivered(self) -> dict[str, int]:
        """Counts the events that wait here and in the backend, by ClearML task id."""
        # Without the lock, events on their way to the backend would count twice.
        locked = self._work_lock.acquire(timeout=MAX_WAIT_STEP_S)
        try:
            counts = dict(self.backend.undelivered())
            for task_id, events in list(self._pending.items()):
                counts[task_id] = counts.get(task_id, 0) + len(events)
            for report in list(self._queue):
                counts[report[0]] = counts.get(report[0], 0) + _number_of_events(report)
        finally:
            if locked:
                self._work_lock.release()
        return counts

    @property
    def has_written_all(self) -> bool:
        """Whether nothing is left to do for what was reported before, as far as that can be seen at once."""
        # In this order: reports go from the queue to what is pending while the lock is held.
        if self._queue or self.channels.forgotten or self._work_lock.locked():
            return False
        return not self._pending and self.error is None

    @property
    def is_queue_empty(self) -> bool:
        """Whether no report waits; the thread may still be counting the latest ones."""
        return not self._queue

    @property
    def _has_no_thread(self) -> bool:
        """Whether no thread works on the queue, so that the caller has to do so."""
        return self._inline or self._ended or self._thread is None or not self._thread.is_alive()

    def _look_for_many(self) -> None:
        self._look_at = min(MANY_QUEUED_REPORTS, MAX_QUEUED_REPORTS)

    def _make_room(self) -> bool:
        """Wakes the thread and, if the queue is full, waits until it has room; returns whether it has.

        The time limit is one for all callers and starts anew with each progress: a backend that
        hangs costs a script `STALL_TIMEOUT_S` once, not for each report.
        """
        self._look_at = MAX_QUEUED_REPORTS  # until the thread waits again
        self._wake.set()
        while len(self._queue) >= MAX_QUEUED_REPORTS:
            if self._inline:
                self._work()
                return len(self._queue) < MAX_QUEUED_REPORTS
            if self.error is not None or self._has_no_thread:
                return False
            if self._give_up_at is None:
                self._give_up_at = time.monotonic() + STALL_TIMEOUT_S
            elif time.monotonic() > self._give_up_at:
                return False
            self._wake.set()
            with self._progress:
                self._progress.wait(FULL_QUEUE_WAIT_S)
        return True

    def _work(self, timeout: float = STALL_TIMEOUT_S) -> bool:
        """Writes what is queued now to the backend; what it refuses is tried again by the next call.

        Returns:
            Whether the backend has all of it. Later reports are left to the next call, so that a
            thread that reports without a pause blocks nobody.
        """
        if not self._work_lock.acquire(timeout=timeout):
            return False  # another thread hangs in the backend
        try:
            if (self._queue or self.channels.forgotten) and not self._has_too_many_pending():
                self._encode()  # after refused events, so that each task's events stay in order
            if self._pending:
                self.backend.write(self._pending)
            self.error = None
        except Exception as error:  # reported at close, and when data points are dropped
            self.error = error
        finally:
            self._work_lock.release()
        return self.error is None

    def _has_too_many_pending(self) -> bool:
        """Whether so many events were refused that the rest has to wait in the bounded queue."""
        return self.error is not None and sum(map(len, self._pending.values())) >= MAX_PENDING_EVENTS

    def _encode(self) -> None:
        queue, pending, by_number = self._queue, self._pending, self.channels.by_number
        self._give_up_at = None
        forgotten = len(self.channels.forgotten)  # before the queue: what is reported last may be in it
        for _ in range(len(queue)):
            report = queue.popleft()
            task_id = report[0]
            events = pending.get(task_id)
            if events is None:
                events = pending[task_id] = []
            if len(report) == TEXT_LENGTH:
                events.append(report[1])
                continue
            iteration = report[1]
            tail = scalar_event_end(iteration, report[2])
            pairs = iter(report[FIRST_POINT:])
            for number, value in zip(pairs, pairs, strict=True):
                channel = by_number.get(number)
                if channel is None:  # another thread has ended the task while this one reported to it
                    self.lost[task_id] = self.lost.get(task_id, 0) + 1
                    continue
                events.append(f"{channel.head}{value!r}{tail}")
                channel.stats.add(value, iteration)
                if iteration is not None:
                    if channel.passes:
                        channel.passes -= 1
                    else:
                        channel.passes = channel.sample.add(iteration, value)
        for _ in range(forgotten):
            for number in self.channels.forgotten.popleft():
                by_number.pop(number, None)

    def _run(self) -> None:
        try:
            self._loop()
        finally:  # whatever ended the thread, threads that wait for it go on with its work
            with self._progress:
                self._ended = True
                self._progress.notify_all()

    def _loop(self) -> None:
        while True:
            self._wake.clear()
            began = time.monotonic()
            requested, stopping = self._flushes_requested, self._stopping
            self._work()
            if self.after_batch is not None:
                self.after_batch()
            with self._progress:
                self._flushes_done = requested
                self._progress.notify_all()
            if stopping:
                return
            self.backend.heartbeat()
            self._look_for_many()
            if self.error is not None or len(self._queue) < self._look_at:
                self._wake.wait(pause_after(time.monotonic() - began))

    def _after_fork(self) -> None:
        """Renews the state in a forked child: its parent delivers the queue, its own reports go in line."""
        self._queue = deque()
        self._pending = {}
        self._work_lock = threading.Lock()
        self._progress = threading.Condition()
        self._wake = threading.Event()
        self._inline = True
        self.backend.after_fork()


def _number_of_events(report: Sequence[Any]) -> int:
    return 1 if len(report) == TEXT_LENGTH else (len(report) - FIRST_POINT) // 2


def pause_after(seconds: float) -> float:
    """Returns how long the thread waits after a batch that has taken so many seconds."""
    wanted = seconds / BATCH_SHARE - seconds
    return max(QUEUE_INTERVAL_S, min(wanted, MAX_QUEUE_INTERVAL_S - seconds))


_started: weakref.WeakSet[Reporter] = weakref.WeakSet()


@_fork.in_child
def _renew_after_fork() -> None:
    for reporter in list(_started):
        reporter._after_fork()
