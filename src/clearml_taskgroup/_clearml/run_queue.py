"""The ClearML queue of a shared run: its entries are texts, not tasks.

`queues.add_task` is one conditional update of the server's database, so of several processes that add the
same text exactly one succeeds; and `queues.create` creates a name once. Agents do not poll the queue.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from ..errors import LoginError, ServerError
from ..errors._base import private_kind
from .api_errors import Refused
from .dates import seconds_since_1970

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .api import Transport

# ClearML's codes for why it refused.
_NO_QUEUE, _NOT_IN_QUEUE, _IN_QUEUE, NAME_EXISTS = 701, 703, 706, 801


class QueueGone(Exception):
    """The queue has been deleted."""


@private_kind
class QueueRefused(ServerError):
    """The server does not let this process create a queue, or add a text to one."""


@attrs.frozen
class Entries:
    """What was in a queue at one moment; all times are the server's, in seconds since 1970.

    Attributes:
        added: When each entry was added, in their order.
        now: When the queue was last written to: by the caller itself, if it has just done so.
        created: When the queue was created.
    """

    added: dict[str, float]
    now: float
    created: float


def create_queue(transport: Transport, name: str) -> str | None:
    """Creates a queue, or finds it if it exists.

    Returns:
        Its id; None if it existed, and does not any more.

    Raises:
        QueueRefused: The server does not allow it.
    """
    try:
        return str(transport.call("queues.create", {"name": name})["id"])
    except LoginError as error:  # the account may be allowed everything else
        raise QueueRefused(error.problem) from None
    except Refused as refusal:
        if refusal.subcode != NAME_EXISTS:
            raise _refused(refusal) from None
    query = {"name": f"^{re.escape(name)}$", "only_fields": ["id", "name"]}
    found = transport.call("queues.get_all", query)["queues"]
    return next((str(queue["id"]) for queue in found if queue["name"] == name), None)


def add_entry(transport: Transport, queue_id: str, entry: str, **times: Any) -> bool:
    """Adds a text to a queue.

    Args:
        transport: The way to the server.
        queue_id: The queue.
        entry: The text.
        times: `timeout` and `answer_timeout` of `Transport.call`.

    Returns:
        Whether this call has done so. False if the text was there; if an answer was lost, this process may
        have added it.

    Raises:
        QueueGone: The queue has been deleted.
        QueueRefused: The server does not accept the text.
    """
    try:
        _call(transport, "queues.add_task", {"queue": queue_id, "task": entry}, times)
        return True
    except Refused as refusal:
        if refusal.subcode in (_NOT_IN_QUEUE, _IN_QUEUE):  # the other code is of the loser of a race
            return False
        raise _refused(refusal) from None


def remove_entry(transport: Transport, queue_id: str, entry: str, **times: Any) -> bool:
    """Removes a text from a queue.

    Returns:
        Whether this call has done so; False if it was not there, or if the queue has been deleted.
    """
    body = {"queue": queue_id, "task": entry}
    try:
        return bool(transport.call("queues.remove_task", body, **times).get("removed", True))
    except Refused as refusal:
        if refusal.subcode in (_NOT_IN_QUEUE, _NO_QUEUE):
            return False
        raise


def read_entries(transport: Transport, queue_id: str, **times: Any) -> Entries:
    """Reads a queue.

    Raises:
        QueueGone: It has been deleted.
    """
    queue = _call(transport, "queues.get_by_id", {"queue": queue_id}, times)["queue"]
    added = {entry["task"]: seconds_since_1970(entry["added"]) or 0.0 for entry in queue.get("entries") or ()}
    created = seconds_since_1970(queue.get("created")) or 0.0
    return Entries(added, seconds_since_1970(queue.get("last_update")) or created, created)


def delete_queue(transport: Transport, queue_id: str, **times: Any) -> None:
    """Deletes a queue with all of its entries.

    Raises:
        QueueGone: It has been deleted already.
    """
    _call(transport, "queues.delete", {"queue": queue_id, "force": True}, times)


def _call(
    transport: Transport, action: str, body: dict[str, Any], times: Mapping[str, Any]
) -> dict[str, Any]:
    try:
        return transport.call(action, body, **times)
    except Refused as refusal:
        if refusal.subcode == _NO_QUEUE:
            raise QueueGone from None
        raise


def _refused(refusal: Refused) -> ServerError:
    return refusal if refusal.status >= 500 else QueueRefused(refusal.problem)
