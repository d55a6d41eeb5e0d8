"""The thread that turns a group's reports into API events and writes them to the backend in batches.

A report costs its caller one append to a deque; all formatting and all I/O happen in the thread. It
is a daemon. Where it cannot run (in a forked child, at the interpreter's exit), the thread that
reports or flushes does the same work itself ("in line").
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

import attrs

from .. import _fork
from .._clearml.events import Batch, console_event, now, scalar_event_end, scalar_event_start
from .._model.downsample import CurveSample

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._model.metric_data import MetricData
    from .._model.name_template import Name
    from .._model.stats import Stats
    from .._storage.base import Backend

QUEUE_INTERVAL_S = 0.25
"""How often the thread looks at the queue; a SIGKILL may lose the reports of one second."""
MAX_QUEUED_REPORTS = 65_536
"""The number of waiting reports from which on `put` blocks."""
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
"""Channel, value, channel, value, …: a tuple for each would cost the garbage collector time."""

_Report = tuple[str, int | None, int, Points | str]


@attrs.define(eq=False)
class Reporter:
    """Takes the reports of a group's tasks and writes them to its backend.

    Attributes:
        lost: The number of dropped data points by ClearML task id.
        error: Why the backend refused the last batch; None if it took it.
        after_batch: Called by the thread after each batch.
        before_inline: Called with the ClearML task's id before this thread itself writes a report: in a
            forked child, and at the interpreter's exit.
    """

    backend: Backend
    lost: dict[str, int] = attrs.field(factory=dict)
    error: Exception | None = None
    after_batch: Callable[[], None] | None = None
    before_inline: Callable[[str], None] | None = None
    _last_text_ms: dict[str, int] = attrs.field(factory=dict, repr=False)
    _queue: deque[_Report] = attrs.field(factory=deque, repr=False)
    _pending: Batch = attrs.field(factory=dict, repr=False)
    _thread: threading.Thread | None = None
    _wake: threading.Event = attrs.field(factory=threading.Event, repr=False)
    _progress: threading.Condition = attrs.field(factory=threading.Condition, repr=False)
    _work_lock: threading.Lock = attrs.field(factory=threading.Lock, repr=False)
    _flushes_requested: int = 0
    _flushes_done: int = 0
    _stopping: bool = False
    _inline: bool = False
    _ended: bool = False
    _give_up_at: float | None = None

    def start(self) -> None:
        """Starts the thread; if none can start any more, the work is done in line."""
        _started.add(self)
        self._thread = threading.Thread(target=self._run, name="clearml-taskgroup", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._inline = True

    def put(self, task_id: str, iteration: int | None, points: Points) -> int:
        """Queues the data points of one report; returns how many of them were dropped."""
        if len(self._queue) >= MAX_QUEUED_REPORTS and not self._has_room():
            count = len(points) // 2
            self.lost[task_id] = self.lost.get(task_id, 0) + count
            return count
        self._queue.append((task_id, iteration, time.time_ns() // 1_000_000, points))
        if self._inline:
            if self.before_inline is not None:
                self.before_inline(task_id)
            self._work()
        return 0

    def put_text(self, task_id: str, text: str) -> None:
        """Queues text for a task's console, in order with its data points."""
        # The web page shows console events of one millisecond in reverse order.
        timestamp = max(now(), self._last_text_ms.get(task_id, 0) + 1)
        self._last_text_ms[task_id] = timestamp
        self.put_event(task_id, console_event(task_id, text, timestamp=timestamp))

    def put_event(self, task_id: str, event: str) -> None:
        """Queues an API event, as JSON text."""
        if len(self._queue) >= MAX_QUEUED_REPORTS and not self._has_room():
            return
        self._queue.append((task_id, None, 0, event))
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

    def hand_over(self) -> None:
        """Writes what waits, before another process may report the same iterations again, which is later."""
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
            for task_id, _, _, points in list(self._queue):
                number = 1 if isinstance(points, str) else len(points) // 2
                counts[task_id] = counts.get(task_id, 0) + number
        finally:
            if locked:
                self._work_lock.release()
        return counts

    @property
    def _has_no_thread(self) -> bool:
        """Whether no thread works on the queue, so that the caller has to do so."""
        return self._inline or self._ended or self._thread is None or not self._thread.is_alive()

    def _has_room(self) -> bool:
        """Waits for the queue to shrink while the thread works on it.

        The time limit is one for all callers and starts anew with each progress: a backend that
        hangs costs a script `STALL_TIMEOUT_S` once, not for each report.
        """
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
                self._progress.wait(0.05)
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
            if self._queue and not self._has_too_many_pending():
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
        queue, pending = self._queue, self._pending
        self._give_up_at = None
        for _ in range(len(queue)):
            task_id, iteration, ms, points = queue.popleft()
            events = pending.get(task_id)
            if events is None:
                events = pending[task_id] = []
            if isinstance(points, str):
                events.append(points)
                continue
            tail = scalar_event_end(iteration, ms)
            pairs = iter(points)
            for channel, value in zip(pairs, pairs, strict=True):
                events.append(f"{channel.head}{value!r}{tail}")
                channel.stats.add(value, iteration)
                if iteration is not None:
                    if channel.passes:
                        channel.passes -= 1
                    else:
                        channel.passes = channel.sample.add(iteration, value)

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
            if self.error is not None or not self._queue:
                self._wake.wait(QUEUE_INTERVAL_S)

    def _after_fork(self) -> None:
        """Renews the state in a forked child: its parent delivers the queue, its own reports go in line."""
        self._queue = deque()
        self._pending = {}
        self._work_lock = threading.Lock()
        self._progress = threading.Condition()
        self._wake = threading.Event()
        self._inline = True
        self.backend.after_fork()


_started: weakref.WeakSet[Reporter] = weakref.WeakSet()


@_fork.in_child
def _renew_after_fork() -> None:
    for reporter in list(_started):
        reporter._after_fork()
