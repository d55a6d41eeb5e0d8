"""Pauses between attempts that grow up to a limit, with jitter. Only computes them; nothing sleeps here."""

from __future__ import annotations

import random

import attrs


@attrs.define
class Backoff:
    """The pauses between repeated attempts.

    Jitter of ±50 % keeps processes that failed together from trying again together.

    Attributes:
        first_s: The first pause in seconds, before jitter.
        max_s: The longest pause in seconds, before jitter.
        factor: How much longer each pause is than the one before.
    """

    first_s: float
    max_s: float
    factor: float = 2.0
    _next_s: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.reset()

    def next_pause(self) -> float:
        """Gives the seconds to wait before the next attempt."""
        pause = self._next_s
        self._next_s = min(pause * self.factor, self.max_s)
        return pause * random.uniform(0.5, 1.5)

    def reset(self) -> None:
        """Starts again with the first pause, after an attempt that succeeded."""
        self._next_s = min(self.first_s, self.max_s)
