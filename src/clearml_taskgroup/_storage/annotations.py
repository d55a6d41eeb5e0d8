"""What is to be stored with tasks on a server beside their events: noted at any time, sent in between."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import attrs

from .._clearml.api_errors import Unreachable
from .._clearml.concurrent import call_concurrently
from .._clearml.tasks import annotate_task
from .._log import logger
from ..errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._clearml.api import Transport

Entries = tuple[dict[str, str], dict[str, str]]
"""Entries of the section `TaskGroup`, and of `runtime`."""


@attrs.define(eq=False)
class Annotations:
    """The entries that were noted and not sent yet."""

    transport: Transport
    _noted: dict[str, Entries] = attrs.field(factory=dict)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _sending: threading.Lock = attrs.field(factory=threading.Lock)

    def add(self, task_id: str, section: Mapping[str, str], runtime: Mapping[str, str]) -> None:
        """Notes entries of a task."""
        with self._lock:
            noted = self._noted.setdefault(task_id, ({}, {}))
            noted[0].update(section)
            noted[1].update(runtime)

    def store(self, task_ids: Sequence[str] | None = None, timeout: float = 0.0) -> bool:
        """Sends what was noted; what cannot be sent now is tried again by the next call.

        Args:
            task_ids: The tasks; None for all.
            timeout: Time limit for each task in seconds; with 0, one attempt.

        Returns:
            Whether nothing is left to send.
        """
        with self._sending:  # what another thread is just sending is stored, too, when this returns
            return self._store(task_ids, timeout)

    def _store(self, task_ids: Sequence[str] | None, timeout: float) -> bool:
        with self._lock:
            wanted = list(self._noted if task_ids is None else task_ids)
            noted = {task_id: self._noted.pop(task_id) for task_id in wanted if task_id in self._noted}

        def send(item: tuple[str, Entries]) -> None:
            task_id, entries = item
            try:
                annotate_task(self.transport, task_id, *entries, timeout)
            except Unreachable:
                with self._lock:
                    self._noted.setdefault(task_id, entries)
            except ServerError as error:  # deleted, or published by somebody
                logger.debug("%s", error)

        call_concurrently(send, list(noted.items()))
        return not self._noted.keys() & noted.keys()
