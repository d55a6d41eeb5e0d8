"""Everything that the server remembers, and nothing of what it does with it."""

from __future__ import annotations

import contextlib
import random
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from . import errors

Doc = dict[str, Any]

COMPANY = "d1bd92a3b039400cbafc60a7a5b1e52b"
USER = "loopback-user"
USER_NAME = "Loopback User"
DELETED = "__DELETED__"


def new_id() -> str:
    """An identifier as the server makes them: 32 hex digits."""
    return uuid.uuid4().hex


def stamp(moment: datetime) -> str:
    """A time as the server writes it, with a fixed width so that text sorts by time.

    Its database keeps milliseconds.
    """
    whole = moment.astimezone(UTC)
    return whole.replace(microsecond=whole.microsecond // 1000 * 1000).isoformat(timespec="microseconds")


def moment(text: str) -> datetime:
    """A time as read from a document or a query."""
    read = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return read if read.tzinfo else read.replace(tzinfo=UTC)


@attrs.define
class TaskEvents:
    """The events of one task, or of one model.

    All but log lines are kept under an id, so that a second sending overwrites.
    """

    scalars: dict[str, Doc] = attrs.field(factory=dict)
    vectors: dict[str, Doc] = attrs.field(factory=dict)
    plots: dict[str, Doc] = attrs.field(factory=dict)
    images: dict[str, Doc] = attrs.field(factory=dict)
    logs: list[Doc] = attrs.field(factory=list)
    pairs: set[str] = attrs.field(factory=set)


@attrs.define
class State:
    """The server's documents. Hold ``lock`` for every read and write.

    Attributes:
        clock_offset: Seconds that the server's clock is ahead.
        atomic_queues: Whether an entry of a queue is added and removed by a conditional update, as on the
            real server; else the server reads the queue, decides, and writes a moment later.
        queue_pause: Seconds at most, by chance, between reading a queue and writing to it.
    """

    lock: threading.RLock = attrs.field(factory=threading.RLock)
    tasks: dict[str, Doc] = attrs.field(factory=dict)
    projects: dict[str, Doc] = attrs.field(factory=dict)
    models: dict[str, Doc] = attrs.field(factory=dict)
    queues: dict[str, Doc] = attrs.field(factory=dict)
    workers: dict[str, Doc] = attrs.field(factory=dict)
    events: dict[str, TaskEvents] = attrs.field(factory=dict)
    queued_from: dict[str, str] = attrs.field(factory=dict)
    scrolls: dict[str, int] = attrs.field(factory=dict)
    clock_offset: float = 0.0
    atomic_queues: bool = True
    queue_pause: float = 0.0

    @contextlib.contextmanager
    def other_calls(self) -> Iterator[None]:
        """Lets the database serve other calls: a handler's reads and writes are calls of their own."""
        self.lock.release()
        try:
            if self.queue_pause:
                time.sleep(random.uniform(0.0, self.queue_pause))
            yield
        finally:
            self.lock.acquire()

    def now(self) -> datetime:
        """The server's own time, which a test may shift."""
        return datetime.now(UTC) + timedelta(seconds=self.clock_offset)

    def stamp(self) -> str:
        """The server's own time, as text."""
        return stamp(self.now())

    def task(self, task_id: object) -> Doc:
        """The task with this id.

        Raises:
            ApiError: 400/101, when there is none.
        """
        task = self.tasks.get(str(task_id))
        if task is None:
            raise errors.invalid_task_id(id=task_id, company=COMPANY)
        return task

    def project(self, project_id: object) -> Doc:
        """The project with this id.

        Raises:
            ApiError: 400/401, when there is none.
        """
        project = self.projects.get(str(project_id))
        if project is None:
            raise errors.invalid_project_id(id=project_id)
        return project

    def task_events(self, owner: str) -> TaskEvents:
        """The events of a task or model, made when first asked for."""
        events = self.events.get(owner)
        if events is None:
            events = self.events[owner] = TaskEvents()
        return events

    def touch(self, task: Doc, *, work: bool = True) -> None:
        """Note that a task was changed; ``work`` also tells the watchdog it lives."""
        now = self.now()
        task["last_change"] = stamp(now)
        task["last_changed_by"] = USER
        if not work:
            return
        task["last_update"] = stamp(now)
        if task["status"] == "in_progress" and task.get("started"):
            running = now - moment(task["started"])
            task["active_duration"] = int(running.total_seconds())

    def touch_project(self, project_id: str | None) -> None:
        """Note that something in a project changed."""
        if project_id in self.projects:
            self.projects[project_id]["last_update"] = self.stamp()
