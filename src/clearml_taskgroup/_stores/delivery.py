"""Batches of events → a server, so that one that is refused costs itself alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from .._transport import Refused, Transport, Unreachable
from . import Batch

ACTION = "events.add_batch"
CHUNK = 8 * 1024 * 1024
"""Bytes in one request; servers take 15 MiB by default."""
PATIENCE = 10.0
"""Seconds for which one batch is tried before the reporter looks around."""
MOST_500 = 3


@attrs.define
class Refusal:
    """What a server did not take of one task's events, and why."""

    events: int
    reason: str


@attrs.define(eq=False)
class Delivery:
    """Sends events strictly in order, with one request in flight.

    Attributes:
        refused: What the server did not take, by the ClearML task's id.
    """

    transport: Transport
    refused: dict[str, Refusal] = attrs.field(factory=dict)
    _last_taken: str | None = None

    def send(self, batch: Batch) -> None:
        """Delivers a batch that mixes tasks; takes out of it what was delivered or refused.

        Raises:
            Unreachable: The server takes nothing at all at this moment.
        """
        for part in _chunks(batch):
            self._send_part(part)
            for task_id, events in part.items():
                del batch[task_id][: len(events)]
                if not batch[task_id]:
                    del batch[task_id]

    def _send_part(self, part: Batch) -> None:
        lines = [line for events in part.values() for line in events]
        try:
            data = self.transport.call(ACTION, lines=lines, patience=PATIENCE, most_500=MOST_500)
        except Refused as refusal:
            self._split(part, refusal)
            return
        missing = len(lines) - int(data.get("added", 0))
        if missing <= 0:
            self._last_taken = lines[-1]
            return
        reasons = {str(reason): count for reason, count in (data.get("errors_info") or {}).items()}
        named = {task_id: r for task_id in part for r in reasons if task_id in r}
        if sum(len(part[task_id]) for task_id in named) >= missing:
            for task_id, reason in named.items():
                self._refuse(task_id, len(part[task_id]), reason)
            return
        why = "; ".join(reasons) or f"{missing} of {len(lines)} events were not taken"
        self._split(part, Refused(why, 200))

    def _split(self, part: Batch, refusal: Refused) -> None:
        """Sends the parts of what was refused as a whole, down to the one event that is bad."""
        if refusal.status >= 500 and not self._is_healthy():
            raise Unreachable(refusal.problem)
        if len(part) > 1:
            for task_id, events in part.items():
                self._send_part({task_id: events})
            return
        ((task_id, events),) = part.items()
        if len(events) == 1 or f"{refusal.status}/{refusal.subcode}" == "400/101":
            self._refuse(task_id, len(events), refusal.problem)
            return
        middle = len(events) // 2
        self._send_part({task_id: events[:middle]})
        self._send_part({task_id: events[middle:]})

    def _is_healthy(self) -> bool:
        """Tells whether a server that answered 500 takes an event that it took before.

        Sending it again overwrites it. Without this, an outage would look like bad data.
        """
        if self._last_taken is None:
            return True
        try:
            self.transport.call(ACTION, lines=[self._last_taken], patience=0, most_500=1)
        except (Refused, Unreachable):
            return False
        return True

    def _refuse(self, task_id: str, events: int, reason: str) -> None:
        known = self.refused.setdefault(task_id, Refusal(0, reason))
        known.events += events


def _chunks(batch: Batch) -> Iterator[Batch]:
    """Cuts a batch into requests of bounded size; one small batch is one request."""
    part: Batch = {}
    size = 0
    for task_id, line in _lines(batch):
        if size + len(line) > CHUNK and part:
            yield part
            part, size = {}, 0
        part.setdefault(task_id, []).append(line)
        size += len(line) + 1
    if part:
        yield part


def _lines(batch: Batch) -> Iterable[tuple[str, str]]:
    for task_id in list(batch):
        for line in list(batch[task_id]):
            yield task_id, line
