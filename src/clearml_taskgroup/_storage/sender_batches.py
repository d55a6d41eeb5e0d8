"""Batches of events → a server, so that one that is refused costs itself alone."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml.api import Refused, Transport, Unreachable
from ..errors import LoginError
from .outbox import TORN, parse_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .._clearml.events import Batch

ACTION = "events.add_batch"
CHUNK = 8 * 1024 * 1024
"""Bytes in one request; servers take 15 MiB by default."""
PATIENCE = 10.0
"""Seconds for which one batch is tried before the reporter looks around."""
MOST_500 = 3
PROBES = 3
"""How many events may show that a server which answered 500 takes others."""
SCALAR = '{"type":"training_stats_scalar"'
OF_THE_DATA = (200, 400, 413)
"""Answers that say something about the events; others may say something about the server."""


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
    _parked: set[str] = attrs.field(factory=set)
    _last_taken: str | None = None

    def send(self, batch: Batch) -> None:
        """Delivers a batch that mixes tasks; takes out of it what was delivered or refused.

        Raises:
            Unreachable: The server takes nothing at all at this moment.
        """
        for task_id in self._parked & batch.keys():
            self._refuse({task_id: batch[task_id]}, self.refused[task_id].reason, batch)
        try:
            for part in _chunks(batch):
                self._send_part(part, batch)
        except LoginError as error:  # the credentials may be mended while the group is open
            raise Unreachable(error.problem) from error

    def send_lines(self, data: bytes) -> Batch:
        """Delivers events as they lie in the outbox; gives those that have to be sent again.

        Where all is well, this spares taking them apart.

        Raises:
            Unreachable: The server takes nothing at all at this moment.
        """
        if self._parked or (b"#" in data and TORN in data):  # one byte is found 50 times as fast as two
            return parse_lines(data)
        try:
            answer = self.transport.call(ACTION, lines=data[:-1], patience=PATIENCE, most_500=1)
        except LoginError as error:
            raise Unreachable(error.problem) from error
        except Refused:
            return parse_lines(data)
        if int(answer.get("added", 0)) >= data.count(b"\n"):
            start = data.rfind(b"\n" + SCALAR.encode()) + 1
            line = data[start : data.index(b"\n", start)].decode()
            if line.startswith(SCALAR):
                self._last_taken = line
            return {}
        batch = parse_lines(data)
        self._park_named(answer, dict(batch), batch)
        return batch

    def _send_part(self, part: Batch, batch: Batch, most_500: int = MOST_500) -> None:
        lines = [line for events in part.values() for line in events]
        try:
            data = self.transport.call(ACTION, lines=lines, patience=PATIENCE, most_500=most_500)
        except Refused as refusal:
            if all(f"task id {task_id}" in refusal.problem for task_id in part):
                self._park(part, refusal.problem, batch)
            else:
                self._split(part, refusal, batch)
            return
        missing = len(lines) - int(data.get("added", 0))
        if missing <= 0:
            self._taken(part, batch)
        elif not self._park_named(data, part, batch):
            why = "; ".join(_reasons(data)) or f"{missing} of {len(lines)} events were not taken"
            self._split(part, Refused(why, 200), batch)

    def _park_named(self, answer: Mapping[str, Any], part: Batch, batch: Batch) -> bool:
        """Refuses the tasks that an answer names, if that explains all that is missing."""
        missing = sum(map(len, part.values())) - int(answer.get("added", 0))
        reasons = _reasons(answer)
        named = {task_id: r for task_id in part for r in reasons if f"task id {task_id}" in r}
        if sum(len(part[task_id]) for task_id in named) != missing:
            return False
        for task_id, reason in named.items():
            self._park({task_id: part[task_id]}, reason, batch)
        self._taken({task_id: part[task_id] for task_id in part if task_id not in named}, batch)
        return True

    def _split(self, part: Batch, refusal: Refused, batch: Batch) -> None:
        """Sends the halves of what was refused as a whole, down to the one event that is bad."""
        if refusal.status not in OF_THE_DATA and not self._is_healthy(part, batch):
            raise Unreachable(refusal.problem)
        items = list(part.items())
        if len(items) == 1:
            ((task_id, events),) = items
            if len(events) == 1:
                self._refuse(part, refusal.problem, batch)
                return
            items = [(task_id, events[: len(events) // 2]), (task_id, events[len(events) // 2 :])]
        for half in (dict(items[: len(items) // 2]), dict(items[len(items) // 2 :])):
            single = sum(map(len, half.values())) == 1
            self._send_part(half, batch, MOST_500 if single else 1)

    def _is_healthy(self, part: Batch, batch: Batch) -> bool:
        """Tells whether a server that answered 500 takes other events.

        The last one that it took, or one of a few of those that wait: sending one again overwrites
        it. Without this, an outage would look like bad data.
        """
        if self._last_taken is not None:
            found = self._takes(self._last_taken)
            if found is not None:
                return found
            self._last_taken = None  # its task has gone
        alone = next(iter(part.values()))[0] if sum(map(len, part.values())) == 1 else None
        waiting = [
            line
            for events in batch.values()
            for line in events
            if line is not alone and line.startswith(SCALAR)
        ]
        for line in random.sample(waiting, min(PROBES, len(waiting))):
            if self._takes(line):
                self._last_taken = line
                return True
        return False

    def _takes(self, line: str) -> bool | None:
        try:
            self.transport.call(ACTION, lines=[line], patience=0, most_500=1)
        except Refused as refusal:
            return None if refusal.status in OF_THE_DATA else False
        except Unreachable:
            return False
        return True

    def _taken(self, part: Batch, batch: Batch) -> None:
        newest_first = (line for events in reversed(part.values()) for line in reversed(events))
        # Console lines would be there twice if they were sent again.
        self._last_taken = next((line for line in newest_first if line.startswith(SCALAR)), self._last_taken)
        _take_out(part, batch)

    def _park(self, part: Batch, reason: str, batch: Batch) -> None:
        """Refuses all of the tasks' events, those to come as well: deleted or published tasks."""
        self._parked.update(part)
        self._refuse(part, reason, batch)

    def _refuse(self, part: Batch, reason: str, batch: Batch) -> None:
        for task_id, events in part.items():
            self.refused.setdefault(task_id, Refusal(0, reason)).events += len(events)
        _take_out(part, batch)


def _reasons(answer: Mapping[str, Any]) -> list[str]:
    return [str(reason) for reason in answer.get("errors_info") or {}]


def _take_out(part: Batch, batch: Batch) -> None:
    """Takes events out of a batch, whose first ones they are, for each task."""
    for task_id, events in list(part.items()):
        if len(events) < len(batch[task_id]):
            del batch[task_id][: len(events)]
        else:
            del batch[task_id]


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
