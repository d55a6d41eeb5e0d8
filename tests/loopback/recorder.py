"""What the server saw, kept for tests to ask about."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs

from .schemas import Violation

KEPT_BODY = 64 * 1024
KEPT_BODIES = 64 * 1024 * 1024


@attrs.frozen
class Call:
    """One request and its answer.

    Attributes:
        endpoint: ``service.action``, or ``files.…``.
        version: The API version that the path names, or "".
        status: The HTTP status of the answer; 0 when none was given.
        subcode: ``meta.result_subcode`` of the answer.
        started: When the request had been read, in seconds of `time.monotonic`.
        duration: Seconds until the answer was ready, without added latency.
        size: Length of the body in bytes.
        items: Number of lines of a batch, or None.
        worker: The name that the client gave itself.
        fault: What was done to the request on purpose, or "".
        raw: The body, unless it is longer than 64 KiB or 64 MiB of bodies are kept.
    """

    endpoint: str
    version: str
    status: int
    subcode: int
    started: float
    duration: float
    size: int
    items: int | None = None
    worker: str = ""
    fault: str = ""
    raw: bytes = attrs.field(default=b"", repr=False)

    @property
    def body(self) -> Any:
        """The body: an object, or the list of a batch's lines; None if not kept."""
        if not self.raw:
            return None
        if self.items is not None:
            return [json.loads(line) for line in self.raw.splitlines()]
        return json.loads(self.raw)


@attrs.define
class Recorder:
    """Calls, violations and unknown endpoints, in the order of arrival."""

    _news: threading.Condition = attrs.field(factory=threading.Condition)
    _calls: list[Call] = attrs.field(factory=list)
    _kept: int = 0
    _violations: list[Violation] = attrs.field(factory=list)
    _unknown: list[str] = attrs.field(factory=list)
    _crashes: list[str] = attrs.field(factory=list)
    _in_flight: Counter[str] = attrs.field(factory=Counter)
    _peaks: Counter[str] = attrs.field(factory=Counter)

    def add(self, call: Call) -> None:
        """Keep a call."""
        with self._news:
            self._kept += len(call.raw)
            if self._kept > KEPT_BODIES:
                call = attrs.evolve(call, raw=b"")
            self._calls.append(call)
            self._news.notify_all()

    def enter(self, endpoint: str) -> None:
        """Count a request that has arrived and is not answered yet."""
        with self._news:
            self._in_flight[endpoint] += 1
            now = self._in_flight[endpoint]
            self._peaks[endpoint] = max(self._peaks[endpoint], now)
            self._news.notify_all()

    def leave(self, endpoint: str) -> None:
        """Count a request that is answered."""
        with self._news:
            self._in_flight[endpoint] -= 1

    def violate(self, *violations: Violation) -> None:
        """Keep what the schemas objected to."""
        with self._news:
            self._violations.extend(violations)

    def miss(self, endpoint: str) -> None:
        """Keep the name of a call that the server does not have."""
        with self._news:
            self._unknown.append(endpoint)

    def crash(self, trace: str) -> None:
        """Keep the trace of an error of the server's own."""
        with self._news:
            self._crashes.append(trace)

    def wait_until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait for a condition, looked at again as requests arrive and are answered."""
        with self._news:
            return self._news.wait_for(condition, timeout)

    @property
    def calls(self) -> list[Call]:
        """The calls since the last reset."""
        with self._news:
            return list(self._calls)

    @property
    def violations(self) -> list[Violation]:
        """Every violation since the start."""
        with self._news:
            return list(self._violations)

    @property
    def unknown(self) -> list[str]:
        """Every unknown endpoint since the start."""
        with self._news:
            return list(self._unknown)

    @property
    def crashes(self) -> list[str]:
        """Every error of the server's own since the start."""
        with self._news:
            return list(self._crashes)

    def peak(self, endpoint: str) -> int:
        """How many requests of a call were under way at once, at most."""
        with self._news:
            return self._peaks[endpoint]

    def reset(self) -> None:
        """Forget the calls and peaks, and nothing else."""
        with self._news:
            self._calls.clear()
            self._kept = 0
            self._peaks.clear()
