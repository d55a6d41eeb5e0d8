"""One thread for the whole group: queue → API events → batches → store.

A report costs its caller one append to a deque; all formatting and all I/O happen here. The
thread is a daemon; where it cannot run (in a forked child, at the interpreter's end), the same
work is done in line by whoever reports or flushes.
"""

from __future__ import annotations

import json
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

import attrs

from .. import _fork
from .._clearml.events import SINGLE_VALUE_ITERATION, Batch, console_event
from .._model.downsample import CurveSample

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._model.name_template import Name
    from .._model.stats import Stats
    from .._storage.base import Backend

PERIOD = 0.25
"""Seconds between two looks at the queue; a quarter of what may be lost to a SIGKILL."""
BOUND = 65_536
"""Reports that may wait before the reporting side is held back."""
MOST_PENDING = 1_000_000
"""Events that a store which refuses some of them may make wait, besides the queue."""
PATIENCE = 5.0
"""Seconds for which a full queue may stand still before points are given up."""
SLICE = 0.5
"""Seconds of one wait: a signal that comes just before a wait is not seen until it is over."""
LONGEST = 1e6
"""The most seconds to wait for anything: Python's locks know no infinity."""


class Channel:
    """Where one curve's points go: the head of its API events, its counts, its shape."""

    __slots__ = ("head", "name", "passes", "sample", "stats")

    def __init__(self, task_id: str, name: Name, stats: Stats) -> None:
        self.name = name
        self.stats = stats
        self.sample = CurveSample()
        self.passes = 0
        self.head = (
            f'{{"type":"training_stats_scalar","task":"{task_id}",'
            f'"metric":{json.dumps(name.title)},"variant":{json.dumps(name.series)},"value":'
        )


Points = list[Any]
"""Channel, value, channel, value, …: without a tuple for each, the garbage collector has less to do."""
_Item = tuple[str, int | None, int, Points | str]


@attrs.define(eq=False)
class Reporter:
    """The way of all events from a group's tasks to its store.

    Attributes:
        lost: How many points had to be given up, for each ClearML task.
        error: What the store had against the last batch.
        aside: Called by the thread after each batch.
    """

    backend: Backend
    lost: dict[str, int] = attrs.field(factory=dict)
    error: Exception | None = None
    aside: Callable[[], None] | None = None
    _queue: deque[_Item] = attrs.field(factory=deque, repr=False)
    _pending: Batch = attrs.field(factory=dict, repr=False)
    _thread: threading.Thread | None = None
    _wake: threading.Event = attrs.field(factory=threading.Event, repr=False)
    _turn: threading.Condition = attrs.field(factory=threading.Condition, repr=False)
    _working: threading.Lock = attrs.field(factory=threading.Lock, repr=False)
    _asked: int = 0
    _answered: int = 0
    _stopping: bool = False
    _inline: bool = False
    _ended: bool = False
    _full_until: float | None = None

    def start(self) -> None:
        """Starts the thread; where none can start any more, work is done in line."""
        _alive.add(self)
        self._thread = threading.Thread(target=self._run, name="clearml-taskgroup", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._inline = True

    def put(self, task_id: str, iteration: int | None, points: Points) -> int:
        """Takes the points of one report; gives how many of them had to be given up."""
        if len(self._queue) >= BOUND and not self._has_room():
            count = len(points) // 2
            self.lost[task_id] = self.lost.get(task_id, 0) + count
            return count
        self._queue.append((task_id, iteration, time.time_ns() // 1_000_000, points))
        if self._inline:
            self._work()
        return 0

    def put_text(self, task_id: str, text: str) -> None:
        """Takes text for a task's console, in order with its points."""
        self.put_event(task_id, console_event(task_id, text))

    def put_event(self, task_id: str, event: str) -> None:
        """Takes a whole API event, as JSON text."""
        if len(self._queue) >= BOUND and not self._has_room():
            return
        self._queue.append((task_id, None, 0, event))
        if self._inline:
            self._work()

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until all that was reported before this call is with the store.

        Returns:
            Whether it is; otherwise the time ran out, or the store refuses (see `error`).
        """
        seconds = LONGEST if timeout is None else max(0.0, min(timeout, LONGEST))
        if self._alone:
            return self._work(seconds)
        if self._thread is not threading.current_thread():
            with self._turn:
                self._asked += 1
                asked = self._asked
                self._wake.set()
                until = time.monotonic() + seconds
                while self._answered < asked and not self._alone:
                    left = until - time.monotonic()
                    if left <= 0:
                        break
                    self._turn.wait(min(left, SLICE))
            if self._answered >= asked:  # what others report meanwhile does not count
                return self.error is None
            if self._alone:
                return self._work(seconds)
        return not self._queue and not self._pending

    def stop(self, timeout: float | None = None) -> None:
        """Ends the thread; what is undelivered stays in the queue."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(None if timeout is None else min(timeout, LONGEST))
        alone = self._alone
        self._inline = True
        _alive.discard(self)
        if alone:
            self._work()  # what another thread reported just now

    def undelivered(self) -> dict[str, int]:
        """Counts the points that wait, here and in the store, for each ClearML task."""
        quiet = self._working.acquire(timeout=SLICE)  # else what goes to the store meanwhile counts twice
        try:
            counts = dict(self.backend.undelivered())
            for task_id, events in list(self._pending.items()):
                counts[task_id] = counts.get(task_id, 0) + len(events)
            for task_id, _, _, points in list(self._queue):
                number = 1 if isinstance(points, str) else len(points) // 2
                counts[task_id] = counts.get(task_id, 0) + number
        finally:
            if quiet:
                self._working.release()
        return counts

    @property
    def _alone(self) -> bool:
        """Whether no thread works on the queue, so that the caller has to do it."""
        return self._inline or self._ended or self._thread is None or not self._thread.is_alive()

    def _has_room(self) -> bool:
        """Waits for the queue to shrink, as long as somebody works on it.

        The patience is one for all callers and is renewed by progress alone: a store that hangs
        costs a script `PATIENCE` once, not for each report.
        """
        while len(self._queue) >= BOUND:
            if self._inline:
                self._work()
                return len(self._queue) < BOUND
            if self.error is not None or self._alone:
                return False
            if self._full_until is None:
                self._full_until = time.monotonic() + PATIENCE
            elif time.monotonic() > self._full_until:
                return False
            self._wake.set()
            with self._turn:
                self._turn.wait(0.05)
        return True

    def _work(self, timeout: float = PATIENCE) -> bool:
        """Brings what is queued now to the store; what it refuses waits for the next turn.

        Returns:
            Whether the store has all of it. What others report meanwhile is left for the next
            turn, so that a thread that reports without end keeps nobody waiting.
        """
        if not self._working.acquire(timeout=timeout):
            return False  # another thread hangs in the store
        try:
            if self._queue and not self._is_full():
                self._encode()  # behind what was refused, so that each task's events stay in order
            if self._pending:
                self.backend.write(self._pending)
            self.error = None
        except Exception as error:  # told at close, and by points that are given up
            self.error = error
        finally:
            self._working.release()
        return self.error is None

    def _is_full(self) -> bool:
        """Whether so much was refused that the rest has to wait in the bounded queue."""
        return self.error is not None and sum(map(len, self._pending.values())) >= MOST_PENDING

    def _encode(self) -> None:
        queue, pending = self._queue, self._pending
        self._full_until = None
        for _ in range(len(queue)):
            task_id, iteration, ms, points = queue.popleft()
            events = pending.get(task_id)
            if events is None:
                events = pending[task_id] = []
            if isinstance(points, str):
                events.append(points)
                continue
            at = SINGLE_VALUE_ITERATION if iteration is None else iteration
            tail = f',"iter":{at},"timestamp":{ms}}}'
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
        finally:  # whatever ended the thread: who waits for it does the work himself
            with self._turn:
                self._ended = True
                self._turn.notify_all()

    def _loop(self) -> None:
        while True:
            self._wake.clear()
            asked, stopping = self._asked, self._stopping
            self._work()
            if self.aside is not None:
                self.aside()
            with self._turn:
                self._answered = asked
                self._turn.notify_all()
            if stopping:
                return
            self.backend.heartbeat()
            if self.error is not None or not self._queue:
                self._wake.wait(PERIOD)

    def _after_fork(self) -> None:
        """In the child: the parent delivers what it had queued; the child's reports go in line."""
        self._queue = deque()
        self._pending = {}
        self._working = threading.Lock()
        self._turn = threading.Condition()
        self._wake = threading.Event()
        self._inline = True
        self.backend.after_fork()


_alive: weakref.WeakSet[Any] = weakref.WeakSet()


@_fork.in_child
def _renew_after_fork() -> None:
    for reporter in list(_alive):
        reporter._after_fork()
