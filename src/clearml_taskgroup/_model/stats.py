"""Statistics of one metric in one context: first, last, min, max and mean."""

from __future__ import annotations

import math

import attrs


@attrs.define(eq=False)
class Stats:
    """Counts over the values of one (metric, context) of one task.

    A value without an iteration is the last word on a task: beside a curve it is `last`, and no point of
    the curve, so it counts in nothing else. Reported again it takes the place of the earlier one.

    Attributes:
        first: The first value that was reported, and `first_iteration`, where.
        last: The last one, in order of reporting; the value without an iteration, where there is one.
        min: The least, and `min_iteration`, where it was reported first.
        max: The greatest, and `max_iteration`.
        total: The sum.
        count: How many values there were.
        single: Whether `last` has no iteration.
    """

    first: float = 0.0
    first_iteration: int | None = None
    last: float = 0.0
    last_iteration: int | None = None
    min: float = float("inf")
    min_iteration: int | None = None
    max: float = float("-inf")
    max_iteration: int | None = None
    total: float = 0.0
    count: int = 0
    single: bool = False

    def add(self, value: float, iteration: int | None) -> None:
        """Counts one more value."""
        if iteration is None:
            self._add_single(value)
            return
        if self.min_iteration is None:
            self.begin_curve(value, iteration)
        self.count += 1
        self.total += value
        if not self.single:
            self.last, self.last_iteration = value, iteration
        if value < self.min:
            self.min, self.min_iteration = value, iteration
        if value > self.max:
            self.max, self.max_iteration = value, iteration

    def begin_curve(self, first: float, iteration: int | None) -> None:
        """Starts to count points, of which none is counted yet; a single value that is there stays `last`."""
        self.first, self.first_iteration = first, iteration
        self.min, self.max = math.inf, -math.inf
        self.total, self.count = 0.0, 0

    def _add_single(self, value: float) -> None:
        if not self.has_curve:
            if not self.count:
                self.first = value
            self.total, self.count = value, 1
            self.min, self.max = min(self.min, value), max(self.max, value)
        self.last, self.last_iteration, self.single = value, None, True

    @property
    def has_curve(self) -> bool:
        """Whether any value has an iteration."""
        return self.min_iteration is not None

    @property
    def mean(self) -> float:
        """The arithmetic mean of the values; NaN where they were not counted."""
        return self.total / self.count if self.count else math.nan

    @property
    def is_counted(self) -> bool:
        """Whether sum and count are known; a server's own are wrong after a point was sent twice."""
        return self.total == self.total
