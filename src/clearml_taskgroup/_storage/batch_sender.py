"""Send batches of events to a server, so that one bad event does not cost the others."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml.api_errors import AnsweredByProxy, Refused, Unreachable
from .._model import limits
from .._model.backoff import Backoff
from ..errors import LoginError
from ..errors._base import private_kind
from .append_file import append_to
from .outbox import TORN, parse_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from .._clearml.api import Transport
    from .._clearml.events import Batch

ACTION = "events.add_batch"
MAX_ANSWERS_500 = 3
"""How often a single event may be answered with 500 before it counts as bad."""
MAX_PROBES = 3
"""With how many events to test whether a server that answered 500 takes other events."""
SCALAR = '{"type":"training_stats_scalar"'
BAD_DATA = (200, 400, 413)
"""HTTP statuses that are about the events themselves; others may be about the server."""
MIN_REFUSALS, MIN_REFUSAL_S = 3, 60.0
"""How often, and for how long, a proxy must have refused a single event before it is set aside."""
RETRY_DELAYS_S = (0.5, 20.0)
"""The first and the longest pause between attempts to send an event that was refused."""
MAX_REFUSAL_CHARS = 200
"""The length of the reason that is kept of a refusal."""


@private_kind
class Undecided(Unreachable):
    """Some single events were refused by a proxy, but not often or long enough to be set aside."""


@attrs.define
class Refusal:
    """How many events of one task the server has refused, and why."""

    events: int
    reason: str


@attrs.define
class _Suspect:
    """How often an event was refused by a proxy, and when for the first time."""

    refusals: int
    since: float


@attrs.define(eq=False)
class BatchSender:
    """Sends events strictly in order, with one request in flight.

    A bad event makes the server refuse a whole request. Such a request is sent again in halves, down
    to the bad event, which is then set aside and counted. A proxy before the server may refuse requests as
    well, but its word counts only if the server accepts other events at that time, and if it has refused
    a single event `MIN_REFUSALS` times over at least `MIN_REFUSAL_S`. Deleted and published tasks take no
    events at all: theirs are dropped from then on.

    Attributes:
        refused: What the server has refused, by ClearML task id.
        refused_tasks: The ids of tasks that take no events at all.
        refused_path: The file that refused events are written to; without one they are dropped.
        clock: Gives the time in seconds.
    """

    transport: Transport
    refused: dict[str, Refusal] = attrs.field(factory=dict)
    refused_tasks: set[str] = attrs.field(factory=set)
    refused_path: Path | None = None
    clock: Callable[[], float] = time.monotonic
    _last_accepted: str | None = None
    _suspects: dict[str, _Suspect] = attrs.field(factory=dict)  # by the event's text
    _undecided: list[tuple[str, str]] = attrs.field(factory=list)  # events that are left of this batch
    _problem: str = ""  # why the last of them was refused

    def send(self, batch: Batch) -> None:
        """Sends a batch of several tasks; removes from it what was delivered or refused.

        Raises:
            Unreachable: The server takes no events at the moment.
        """
        for task_id in self.refused_tasks & batch.keys():
            self._drop({task_id: batch[task_id]}, self.refused[task_id].reason, batch)
        self._undecided = []
        try:
            for task_id, line in list(_lines(batch)) if self._suspects else ():
                if line in self._suspects:  # sent alone, so that it does not hold the others up again
                    self._send_part({task_id: [line]}, batch)
            for part in _parts(batch):
                self._send_part(part, batch)
        except LoginError as error:  # somebody may fix the credentials while the group is open
            raise Unreachable(error.problem) from error
        finally:
            for task_id, line in reversed(self._undecided):
                batch.setdefault(task_id, []).insert(0, line)
        if self._undecided:
            raise Undecided(self._problem)

    def send_all(self, batch: Batch) -> None:
        """Sends a batch; waits until events that a proxy refuses were taken or set aside.

        Raises:
            Unreachable: The server takes no events at the moment.
        """
        backoff = Backoff(*RETRY_DELAYS_S)
        while batch:
            try:
                self.send(batch)
            except Undecided:
                self.transport.closing.wait(backoff.next_pause())

    def retry_refused(self) -> None:
        """Sends the events in the file of refused ones again; those that are refused again stay in it.

        Raises:
            Unreachable: The server takes no events at the moment.
        """
        path = self.refused_path
        if path is None or not path.exists():
            return
        data, again = path.read_bytes(), path.with_suffix(".refused-again")
        batch = parse_lines(data)
        again.unlink(missing_ok=True)
        read = {line.encode() for _, line in _lines(batch)}
        unread = [line for line in data.split(b"\n") if line and line not in read]
        if unread:  # whatever they are, they are not deleted
            append_to(again, b"\n".join([*unread, b""]), create=True)
        for task_id in batch.keys() & self.refused.keys() - self.refused_tasks:
            del self.refused[task_id]  # counted anew
        for _, line in _lines(batch):
            self._suspects[line] = _Suspect(MIN_REFUSALS, float("-inf"))  # they had their time
        self.refused_path = again
        try:
            self.send(batch)
        finally:
            self.refused_path = path
        if again.exists():
            again.replace(path)
        else:
            path.unlink()

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
                ACTION,
                lines=data[:-1],
                timeout=limits.SENDER_TIMEOUT_S,
                attempts_on_500=1,
                attempts_on_proxy=2,
            )
        except LoginError as error:
            raise Unreachable(error.problem) from error
        except (Refused, AnsweredByProxy):
            return parse_lines(data)
        if (answer.get("added") or 0) >= data.count(b"\n"):
            start = data.rfind(b"\n" + SCALAR.encode()) + 1
            line = data[start : data.index(b"\n", start)].decode()
            if line.startswith(SCALAR):
                self._last_accepted = line
            return {}
        batch = parse_lines(data)
        self._refuse_named_tasks(answer, dict(batch), batch)
        return batch

    def _send_part(self, part: Batch, batch: Batch) -> None:
        lines = [line for events in part.values() for line in events]
        try:
            answer = self._request(lines)
        except AnsweredByProxy as page:
            self._send_halves(part, page, batch)
            return
        except Refused as refusal:
            if all(f"task id {task_id}" in refusal.problem for task_id in part):
                self._refuse_tasks(part, refusal.problem, batch)
            else:
                self._send_halves(part, refusal, batch)
            return
        missing = len(lines) - (answer.get("added") or 0)
        if missing <= 0:
            self._accept(part, batch)
        elif not self._refuse_named_tasks(answer, part, batch):
            why = "; ".join(_reasons(answer)) or f"{missing} of {len(lines)} events were not taken"
            self._send_halves(part, Refused(why, 200), batch)

    def _request(self, lines: list[str]) -> dict[str, Any]:
        """Makes one request; a single event is tried again after a 500, because some pass."""
        backoff = Backoff(*RETRY_DELAYS_S)
        attempts = 1
        while True:
            try:  # each attempt has its own time limit: a slow server must not hide a bad event
                return self.transport.call(
                    ACTION,
                    lines=lines,
                    timeout=limits.SENDER_TIMEOUT_S,
                    attempts_on_500=1,
                    attempts_on_proxy=1,
                )
            except Refused as refusal:
                if refusal.status != 500 or len(lines) > 1 or attempts == MAX_ANSWERS_500:
                    raise
            attempts += 1
            self.transport.closing.wait(backoff.next_pause())

    def _refuse_named_tasks(self, answer: Mapping[str, Any], part: Batch, batch: Batch) -> bool:
        """Refuses the tasks that an answer names, if their events are all that is missing."""
        missing = sum(map(len, part.values())) - (answer.get("added") or 0)
        reasons = _reasons(answer)
        named = {task_id: r for task_id in part for r in reasons if f"task id {task_id}" in r}
        if sum(len(part[task_id]) for task_id in named) != missing:
            return False
        for task_id, reason in named.items():
            self._refuse_tasks({task_id: part[task_id]}, reason, batch)
        self._accept({task_id: part[task_id] for task_id in part if task_id not in named}, batch)
        return True

    def _send_halves(self, part: Batch, refusal: Refused | AnsweredByProxy, batch: Batch) -> None:
        """Sends the halves of a refused part, down to the one event that is bad."""
        if not self._is_healthy(part, batch, refusal):
            raise Unreachable(refusal.problem)
        items = list(part.items())
        if len(items) == 1:
            ((task_id, events),) = items
            if len(events) == 1:
                if isinstance(refusal, Refused) or self._is_proved(events[0]):
                    self._set_aside(task_id, events[0], refusal.problem, batch)
                else:
                    self._problem = refusal.problem
                    self._undecided.append((task_id, events[0]))
                    _remove(part, batch)
                return
            items = [(task_id, events[: len(events) // 2]), (task_id, events[len(events) // 2 :])]
        for half in (dict(items[: len(items) // 2]), dict(items[len(items) // 2 :])):
            self._send_part(half, batch)

    def _is_proved(self, line: str) -> bool:
        """Counts one more refusal of a single event by a proxy; whether there were enough of them."""
        suspect = self._suspects.setdefault(line, _Suspect(0, self.clock()))
        suspect.refusals += 1
        return suspect.refusals >= MIN_REFUSALS and self.clock() - suspect.since >= MIN_REFUSAL_S

    def _is_healthy(self, part: Batch, batch: Batch, refusal: Refused | AnsweredByProxy) -> bool:
        """Whether a server that refused events takes others; else an outage would look like bad data.

        It is tested with the last scalar that it accepted, or a few that wait: sending one twice does
        no harm, because the second overwrites the first. If all of the few that there are were refused,
        the server's own word counts, and a proxy's if it lets another call through.
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
            if line is not alone and line.startswith(SCALAR) and line not in self._suspects
        ]
        for line in random.sample(waiting, min(MAX_PROBES, len(waiting))):
            if self._accepts(line):
                self._last_accepted = line
                return True
        if len(waiting) > MAX_PROBES:
            return False
        if isinstance(refusal, Refused):
            return refusal.status in BAD_DATA
        try:
            self.transport.call("debug.ping", timeout=0)
        except (Refused, Unreachable):
            return False
        return True

    def _accepts(self, line: str) -> bool | None:
        """Whether the server accepts an event; None if it refuses this one."""
        try:
            answer = self.transport.call(ACTION, lines=[line], timeout=0, attempts_on_500=1)
        except Refused as refusal:
            return None if refusal.status in BAD_DATA else False
        except Unreachable:
            return False
        return True if answer.get("added") else None

    def _accept(self, part: Batch, batch: Batch) -> None:
        newest_first = (line for events in reversed(part.values()) for line in reversed(events))
        # Only scalars: a console line that is sent twice is shown twice.
        scalars = (line for line in newest_first if line.startswith(SCALAR))
        self._last_accepted = next(scalars, self._last_accepted)
        if self._suspects:
            for line in {line for events in part.values() for line in events} & self._suspects.keys():
                del self._suspects[line]
        _remove(part, batch)

    def _refuse_tasks(self, part: Batch, reason: str, batch: Batch) -> None:
        """Drops the events of deleted or published tasks, those to come as well."""
        self.refused_tasks.update(part)
        self._drop(part, reason, batch)

    def _drop(self, part: Batch, reason: str, batch: Batch) -> None:
        for task_id, events in part.items():
            refusal = self.refused.setdefault(task_id, Refusal(0, reason[:MAX_REFUSAL_CHARS]))
            refusal.events += len(events)
        _remove(part, batch)

    def _set_aside(self, task_id: str, line: str, reason: str, batch: Batch) -> None:
        """Moves an event to the file of refused ones.

        Raises:
            Unreachable: The file cannot be written to, so the event stays in the batch.
        """
        if self.refused_path is not None:
            try:
                append_to(self.refused_path, f"{line}\n".encode(), create=True)
            except OSError as error:
                raise Unreachable(
                    f"{reason}; and {self.refused_path} cannot be written to: {error}"
                ) from error
        self._suspects.pop(line, None)
        self._drop({task_id: [line]}, reason, batch)


def _reasons(answer: Mapping[str, Any]) -> list[str]:
    return [str(reason) for reason in answer.get("errors_info") or {}]


def _remove(part: Batch, batch: Batch) -> None:
    """Removes events from a batch, where they stand together."""
    for task_id, events in list(part.items()):
        if len(events) < len(batch[task_id]):
            start = batch[task_id].index(events[0])
            del batch[task_id][start : start + len(events)]
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
