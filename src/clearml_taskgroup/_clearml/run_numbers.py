"""Reserving the number of a new run on a server: processes that start at once get different ones.

The tasks of a run tell its number. Until the first one is stored, a queue of that name holds the number,
since a server creates each name once. The queue of a process that died in between stays: its number is
skipped.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from typing import TYPE_CHECKING

import attrs

from .._log import logger
from ..errors import LoginError, ServerError
from .api_errors import Refused
from .queries import last_run_number
from .run_queue import NAME_EXISTS, QueueGone, delete_queue

if TYPE_CHECKING:
    from .api import Transport

RELEASE_TIMEOUT_S = 10.0


@attrs.define(eq=False)
class RunNumber:
    """The number of a new run.

    Attributes:
        number: The number.
    """

    number: int
    _transport: Transport
    _queue: str | None = None
    _lock: threading.Lock = attrs.field(factory=threading.Lock, repr=False)

    def release(self) -> None:
        """Ends the reservation: a task with the number is stored, or none will be. Never raises."""
        with self._lock:
            queue, self._queue = self._queue, None
        if queue is not None:
            try:
                with contextlib.suppress(QueueGone):
                    delete_queue(self._transport, queue, timeout=RELEASE_TIMEOUT_S)
            except ServerError as error:  # the number is taken; nothing else depends on the queue
                logger.debug("the queue that reserved the run number %d is left over: %s", self.number, error)


def reserve_run_number(transport: Transport, group_id: str, first: int = 1) -> RunNumber:
    """Finds the number of a group's next run, and keeps other processes from using it.

    Where the account may not create queues, processes that start at the same moment may get the same number.

    Args:
        transport: The way to the server.
        group_id: The group's id.
        first: The lowest number that this machine has not used, offline or on another server.

    Raises:
        ServerError: The server cannot be reached.
    """
    number = max(last_run_number(transport, group_id) + 1, first)
    while True:
        try:
            queue = _create(transport, f"taskgroup-number {group_id}.{number}")
        except (Refused, LoginError) as error:
            logger.debug("the run number %d is not reserved: %s", number, error)
            return RunNumber(number, transport)
        if queue is None:
            number += 1
            continue
        reserved = RunNumber(number, transport, queue)
        try:
            last = last_run_number(transport, group_id, number)
        except BaseException:
            reserved.release()
            raise
        if last < number:
            return reserved
        reserved.release()  # its process has stored a task since, and deleted its queue
        number = last + 1


def _create(transport: Transport, name: str) -> str | None:
    """Creates a queue; None if there is one of that name."""
    tag = uuid.uuid4().hex  # shows that an attempt whose answer was lost has created it

    def find() -> str | None:
        query = {"tags": [tag], "only_fields": ["id", "name"]}
        found = transport.call("queues.get_all", query)["queues"]
        return next((str(queue["id"]) for queue in found), None)

    try:
        return str(transport.call("queues.create", {"name": name, "tags": [tag]}, find_created=find)["id"])
    except Refused as refusal:
        if refusal.subcode == NAME_EXISTS:
            return None
        raise
