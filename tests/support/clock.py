"""Time that only pauses move: what gives up after a time does so at once, however slow the machine is."""

from __future__ import annotations

import threading


class Clock(threading.Event):
    """Takes the place of a module's `time`, and of `Transport.closing`.

    Attributes:
        now: The time in seconds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def monotonic(self) -> float:
        """Gives the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Lets time pass."""
        self.now += seconds

    def wait(self, timeout: float | None = None) -> bool:
        """Lets time pass, and gives whether the event is set."""
        self.now += timeout or 0.0
        return self.is_set()
