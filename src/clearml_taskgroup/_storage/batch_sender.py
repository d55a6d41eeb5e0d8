"""Send batches of events to a server, so that one bad event does not cost the others."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml.api import Refused, Transport, Unreachable
from .._model import limits
from ..errors import LoginError
from .outbox import TORN, parse_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .._clearml.events import Batch

ACTION = "events.add_batch"
MAX_ANSWERS_500 = 3
"""How often a single event may be answered with 500 before it counts as bad."""
MAX_PROBES = 3
"""With how many events to test whether a server that answered 500 takes other events."""
SCALAR = '{"type":"training_stats_scalar"'
BAD_DATA = (200, 400, 413)
"""HTTP statuses that are about the events themselves; others may be about the server."""


@attrs.define
class Refusal:
    """How many events of one task the server has refused, and why."""

    events: int
    reason: str


@attrs.define(eq=False)
class BatchSender:
    """Sends events strictly in order, with one request in flight.

    A bad event makes the server refuse a whole request. Such a request is sent again in halves, down
    to the bad event, which is then dropped and counted. Deleted and published tasks take no events at
    all: theirs are dropped from then on.

    Attributes:
        refused: What the server has refused, by ClearML task id.
        refused_tasks: The ids of tasks that take no events at all.
    """

    transport: Transport
    refused: dict[str, Refusal] = attrs.field(factory=dict)
    refused_tasks: set[str] = attrs.field(factory=set)
    _last_accepted: str | None = None

    def send(self, batch: Batch) -> None:
        """Sends a batch of several tasks; removes from it what was delivered or refused.

        Raises:
            Unreachable: The server takes no events at the moment.
        """
        for task_id in self.refused_tasks & batch.keys():
            self._refuse({task_id: batch[task_id]}, self.refused[task_id].reason, batch)
        try:
            for part in _parts(batch):
                self._send_part(part, batch)
        except LoginError as error:  # somebody may fix the credentials while the group is open
            raise Unreachable(error.problem) from error

    def send_lines(self, data: bytes) -> Batch:
        """Sends events as they are in the outbox, without parsing them if all goes well.

        Returns:
            The events that have to be sent again with `send`.

        Raises:
            Unreachable: The server takes no events at the moment.
        """
        # Searching for one byte is 50 times as fast as for two.
        if self.refused_tasks or (b"#" in data and TORN in data):
            return parse_lines(data)
        try:
            answer = self.transport.call(
                ACTION, lines=data[:-1], timeout=limits.SENDER_TIMEOUT_S, attempts_on_500=1
            )
        except LoginError as error:
            raise Unreachable(error.problem) from error
        except Refused:
            return parse_lines(data)
        if int(answer.get("added", 0)) >= data.count(b"\n"):
            start = data.rfind(b"\n" + SCALAR.encode()) + 1
            line = data[start : data.index(b"\n", start)].decode()
            if line.startswith(SCALAR):
                self._last_accepted = line
            return {}
        batch = parse_lines(data)
        self._refuse_named_tasks(answer, dict(batch), batch)
        return batch

    def _send_part(self, part: Batch, batch: Batch, attempts_on_500: int = MAX_ANSWERS_500) -> None:
        lines = [line for events in part.values() for line in events]
        try:
            answer = self.transport.call(
                ACTION, lines=lines, timeout=limits.SENDER_TIMEOUT_S, attempts_on_500=attempts_on_500
            )
        except Refused as refusal:
            if all(f"task id {task_id}" in refusal.problem for task_id in part):
                self._refuse_tasks(part, refusal.problem, batch)
            else:
                self._send_halves(part, refusal, batch)
            return
        missing = len(lines) - int(answer.get("added", 0))
        if missing <= 0:
            self._accept(part, batch)
        elif not self._refuse_named_tasks(answer, part, batch):
            why = "; ".join(_reasons(answer)) or f"{missing} of {len(lines)} events were not taken"
            self._send_halves(part, Refused(why, 200), batch)

    def _refuse_named_tasks(self, answer: Mapping[str, Any], part: Batch, batch: Batch) -> bool:
        """Refuses the tasks that an answer names, if their events are all that is missing."""
        missing = sum(map(len, part.values())) - int(answer.get("added", 0))
        reasons = _reasons(answer)
        named = {task_id: r for task_id in part for r in reasons if f"task id {task_id}" in r}
        if sum(len(part[task_id]) for task_id in named) != missing:
            return False
        for task_id, reason in named.items():
            self._refuse_tasks({task_id: part[task_id]}, reason, batch)
        self._accept({task_id: part[task_id] for task_id in part if task_id not in named}, batch)
        return True

    def _send_halves(self, part: Batch, refusal: Refused, batch: Batch) -> None:
        """Sends the halves of a refused part, down to the one event that is bad."""
        if refusal.status not in BAD_DATA and not self._is_healthy(part, batch):
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
            self._send_part(half, batch, MAX_ANSWERS_500 if single else 1)

    def _is_healthy(self, part: Batch, batch: Batch) -> bool:
        """Whether a server that answered 500 takes other events; else an outage would look like bad data.

        It is tested with the last scalar that it accepted, or a few that wait: sending one twice does
        no harm, because the second overwrites the first.
        """
        if self._last_accepted is not None:
            accepts = self._accepts(self._last_accepted)
            if accepts is not None:
                return accepts
            self._last_accepted = None  # its task was deleted or published
        alone = next(iter(part.values()))[0] if sum(map(len, part.values())) == 1 else None
        waiting = [
            line
            for events in batch.values()
            for line in events
            if line is not alone and line.startswith(SCALAR)
        ]
        for line in random.sample(waiting, min(MAX_PROBES, len(waiting))):
            if self._accepts(line):
                self._last_accepted = line
                return True
        return False

    def _accepts(self, line: str) -> bool | None:
        """Whether the server accepts an event; None if it refuses this one."""
        try:
            self.transport.call(ACTION, lines=[line], timeout=0, attempts_on_500=1)
        except Refused as refusal:
            return None if refusal.status in BAD_DATA else False
        except Unreachable:
            return False
        return True

    def _accept(self, part: Batch, batch: Batch) -> None:
        newest_first = (line for events in reversed(part.values()) for line in reversed(events))
        # Only scalars: a console line that is sent twice is shown twice.
        scalars = (line for line in newest_first if line.startswith(SCALAR))
        self._last_accepted = next(scalars, self._last_accepted)
        _remove(part, batch)

    def _refuse_tasks(self, part: Batch, reason: str, batch: Batch) -> None:
        """Drops the events of deleted or published tasks, those to come as well."""
        self.refused_tasks.update(part)
        self._refuse(part, reason, batch)

    def _refuse(self, part: Batch, reason: str, batch: Batch) -> None:
        for task_id, events in part.items():
            self.refused.setdefault(task_id, Refusal(0, reason)).events += len(events)
        _remove(part, batch)


def _reasons(answer: Mapping[str, Any]) -> list[str]:
    return [str(reason) for reason in answer.get("errors_info") or {}]


def _remove(part: Batch, batch: Batch) -> None:
    """Removes events from a batch; they are the first ones of their tasks."""
    for task_id, events in list(part.items()):
        if len(events) < len(batch[task_id]):
            del batch[task_id][: len(events)]
        else:
            del batch[task_id]


def _parts(batch: Batch) -> Iterator[Batch]:
    """Cuts a batch into parts of bounded size, one request each."""
    part: Batch = {}
    size = 0
    for task_id, line in _lines(batch):
        if size + len(line) > limits.SENDER_REQUEST_BYTES and part:
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
