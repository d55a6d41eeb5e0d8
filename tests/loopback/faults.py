"""What goes wrong between a client and the server, on demand."""

from __future__ import annotations

import contextlib
import enum
import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

import attrs


def refusal(code: int, subcode: int = 0, message: str = "refused") -> bytes:
    """The body of an answer by which the server itself refuses a request; a proxy's has no ``meta``."""
    meta = {"result_code": code, "result_subcode": subcode, "result_msg": message, "error_data": {}}
    return json.dumps({"meta": meta, "data": {}}).encode()


class FaultKind(enum.Enum):
    """Where a request is hurt."""

    DROP_BEFORE = "drop_before"
    """The connection closes and the request is never looked at."""
    DROP_AFTER = "drop_after"
    """The request is done, and then the connection closes without an answer."""
    STATUS = "status"
    """A proxy's answer with this status; the request is never looked at."""
    STATUS_AFTER = "status_after"
    """The request is done, and then a proxy answers with this status."""
    EXPIRED = "expired"
    """401, as for an expired token."""
    TRUNCATE = "truncate"
    """The request is done, and half of the answer arrives."""
    DELAY = "delay"
    """The answer comes late."""
    ANSWER = "answer"
    """Something else answers with this status and body; the request is never looked at."""
    TRICKLE = "trickle"
    """The answer comes a byte at a time and never ends; the request is never looked at."""
    ENDLESS = "endless"
    """The answer comes fast and never ends; the request is never looked at."""


@attrs.frozen
class Fault:
    """One thing that goes wrong with one request."""

    kind: FaultKind
    status: int = 0
    delay: float = 0.0
    body: bytes = b""

    def __str__(self) -> str:
        if self.kind in (FaultKind.STATUS, FaultKind.STATUS_AFTER):
            return f"{self.kind.value}:{self.status}"
        return str(self.kind.value)


GATEWAY_STATUSES = (500, 502, 503, 504, 429, 509)

DEFAULT_MIX: tuple[Fault, ...] = (
    Fault(FaultKind.DROP_BEFORE),
    Fault(FaultKind.DROP_AFTER),
    *(Fault(FaultKind.STATUS, status=status) for status in GATEWAY_STATUSES),
    Fault(FaultKind.EXPIRED),
    Fault(FaultKind.TRUNCATE),
    Fault(FaultKind.DELAY, delay=0.05),
)


@attrs.define
class _Scripted:
    pattern: str
    fault: Fault
    left: int
    containing: bytes


@attrs.define
class _Dice:
    rate: float
    source: random.Random
    mix: Sequence[Fault]
    pattern: str


@attrs.define
class Faults:
    """The switches; every one of them may be turned while requests are under way.

    A pattern is a shell pattern over names of calls (``"tasks.*"``). Requests to the
    files server are called ``files.upload``, ``files.download`` and ``files.delete``.

    Attributes:
        latency: Seconds added to every answer.
        jitter: Seconds at most, by chance, before a request is looked at, and again before its answer.
        outage: While set, every connection is closed without an answer.
    """

    latency: float = 0.0
    jitter: float = 0.0
    outage: bool = False
    _scripted: list[_Scripted] = attrs.field(factory=list)
    _dice: _Dice | None = None
    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _held: tuple[str, threading.Event] | None = None

    @contextlib.contextmanager
    def holding(self, pattern: str = "*") -> Iterator[None]:
        """Look at no request that matches before the end of the block."""
        self._held = pattern, threading.Event()
        try:
            yield
        finally:
            (_, end), self._held = self._held, None
            end.set()

    def fail_next(
        self,
        pattern: str,
        *,
        status: int | None = None,
        kind: FaultKind | str | None = None,
        delay: float = 0.0,
        after: bool = False,
        times: int = 1,
        body: bytes | None = None,
        containing: bytes = b"",
    ) -> None:
        """Hurt the next requests that match.

        Args:
            pattern: Which calls.
            status: Answer with this status, as a proxy does.
            kind: Something else than a status: a `FaultKind`, or its value.
            delay: Seconds, for `FaultKind.DELAY`.
            after: With ``status``: do the request first, so that a retry repeats it.
            times: How many requests.
            body: Answer with this body, and the status or 200.
            containing: Only requests whose body has these bytes in it.
        """
        if body is not None:
            kind, status = FaultKind.ANSWER, status or 200
        elif (status is None) == (kind is None):
            raise ValueError("fail_next takes either a status or a kind")
        elif status is not None:
            kind = FaultKind.STATUS_AFTER if after else FaultKind.STATUS
        fault = Fault(FaultKind(kind), status=status or 0, delay=delay, body=body or b"")
        with self._lock:
            self._scripted.append(_Scripted(pattern, fault, times, containing))

    def random(
        self,
        rate: float,
        seed: int,
        *,
        mix: Sequence[Fault] = DEFAULT_MIX,
        pattern: str = "*",
    ) -> None:
        """Hurt requests by chance.

        Args:
            rate: The share of requests, from 0 to 1.
            seed: The same seed and order of requests give the same faults.
            mix: What to choose from.
            pattern: Which calls.
        """
        with self._lock:
            self._dice = _Dice(rate, random.Random(seed), mix, pattern)

    def clear(self) -> None:
        """Turn everything off."""
        with self._lock:
            self.latency = self.jitter = 0.0
            self.outage = False
            self._scripted.clear()
            self._dice = None

    def wait(self, endpoint: str) -> None:
        """Wait while a request is held, and for a random part of `jitter`."""
        held = self._held
        if held is not None and fnmatchcase(endpoint, held[0]):
            held[1].wait()
        if self.jitter:
            time.sleep(random.uniform(0.0, self.jitter))

    def pick(self, endpoint: str, body: bytes = b"") -> Fault | None:
        """What happens to a request that has just arrived; scripts come first."""
        if not self._scripted and self._dice is None:
            return None
        with self._lock:
            for entry in self._scripted:
                if fnmatchcase(endpoint, entry.pattern) and entry.containing in body:
                    entry.left -= 1
                    if entry.left <= 0:
                        self._scripted.remove(entry)
                    return entry.fault
            dice = self._dice
            if dice is None or not fnmatchcase(endpoint, dice.pattern):
                return None
            if dice.source.random() >= dice.rate:
                return None
            fault = dice.source.choice(dice.mix)
        # Credentials do not expire: a login can fail in every other way.
        return None if fault.kind is FaultKind.EXPIRED and endpoint == "auth.login" else fault
