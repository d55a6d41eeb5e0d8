"""OpenTasks: the open tasks on a server. Heartbeats show that they are alive, and read their statuses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING

import attrs

from .._clearml.concurrent import call_concurrently
from .._clearml.queries import pages_of
from .._clearml.tasks import (
    DELETED,
    foreign_status,
    is_deleted,
    is_stopped_by_watchdog,
    ping_task,
    status_documents,
)
from .._log import logger
from .._model import limits
from .._model.specs import Ending, ForeignStatus
from .._text import counted
from ..errors import ServerError

if TYPE_CHECKING:
    from .._clearml.api import Transport

OnForeignStatus = Callable[[Mapping[str, ForeignStatus]], None]
"""Called with the final statuses that somebody else has given open tasks, by ClearML task id."""


@attrs.define(eq=False)
class OpenTasks:
    """The tasks that this process has open, with the time of the last sign of life of each.

    Args:
        transport: Calls the server.

    Attributes:
        parent: The run's parent, which is pinged more often.
        watched: The ids of further tasks whose statuses are read; its owner may change it.
        on_foreign_status: Called, in each heartbeat that finds any, with what somebody else has done.
    """

    transport: Transport
    parent: str | None = None
    watched: Collection[str] = ()
    on_foreign_status: OnForeignStatus | None = None
    _last_sign: dict[str, float] = attrs.field(factory=dict, repr=False)
    _last_look: float = attrs.field(factory=time.monotonic, repr=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, repr=False)
    _looking: threading.Lock = attrs.field(factory=threading.Lock, repr=False)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._last_sign

    def add(self, ids: Iterable[str]) -> None:
        """Adds tasks that have been opened."""
        with self._lock:
            self._last_sign.update(dict.fromkeys(ids, time.monotonic()))

    def remove(self, ids: Iterable[str]) -> None:
        """Removes tasks that are about to end."""
        with self._lock:
            for task_id in ids:
                self._last_sign.pop(task_id, None)

    def reported(self, ids: Iterable[str]) -> None:
        """Notes that events of tasks were written: a sign of life of those that are open."""
        now = time.monotonic()
        with self._lock:
            self._last_sign.update((task_id, now) for task_id in ids if task_id in self._last_sign)

    def after_fork(self) -> None:
        """In a forked child: the parent process looks after the tasks."""
        self._lock, self._looking = threading.Lock(), threading.Lock()
        self._last_sign, self.on_foreign_status = {}, None

    def beat(self) -> list[str]:
        """Reads the tasks' statuses every `limits.HEARTBEAT_S`, and pings silent ones; raises nothing.

        Returns:
            The ids of open tasks that the server's watchdog has stopped.
        """
        now = time.monotonic()
        stopped: list[str] = []
        if self.on_foreign_status is not None and now - self._last_look >= limits.HEARTBEAT_S:
            self._last_look = now
            with self._looking:
                stopped = self._look(self.on_foreign_status)
        with self._lock:
            silent = [
                task_id
                for task_id, last in self._last_sign.items()
                if now - last >= self._ping_after(task_id)
            ]
            self._last_sign.update((task_id, now) for task_id in silent)
        call_concurrently(lambda task_id: ping_task(self.transport, task_id), silent)
        return stopped

    def _ping_after(self, task_id: str) -> float:
        if task_id == self.parent:
            return min(limits.PARENT_PING_AFTER_S, limits.PING_AFTER_S)
        return limits.PING_AFTER_S

    def _look(self, on_foreign_status: OnForeignStatus) -> list[str]:
        """Reads all statuses, in one call for each 500 tasks."""
        with self._lock:
            ids = list(dict.fromkeys((*self._last_sign, *self.watched)))
        found: dict[str, ForeignStatus] = {}
        stopped: list[str] = []
        for page in pages_of(ids):
            try:
                documents = status_documents(self.transport, page, 0.0, limits.HEARTBEAT_ANSWER_TIMEOUT_S)
                # An answer without some tasks may be a fault; another call asks for them alone.
                missing = [task_id for task_id in page if task_id not in documents]
                gone = call_concurrently(lambda task_id: is_deleted(self.transport, task_id), missing)
            except ServerError:  # the next heartbeat asks again
                break
            found |= {task_id: DELETED for task_id, is_gone in zip(missing, gone, strict=True) if is_gone}
            for task_id, document in documents.items():
                other = foreign_status(document, Ending(task_id, "in_progress"))
                if other is not None:
                    found[task_id] = other
                elif is_stopped_by_watchdog(document) and task_id in self:
                    stopped.append(task_id)
        if found:
            on_foreign_status(found)
        if stopped:
            tasks = counted(len(stopped), "silent task")
            logger.info("the server has stopped %s of this process, which go on", tasks)
        return stopped
