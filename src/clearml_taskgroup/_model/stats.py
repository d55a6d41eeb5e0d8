"""Statistics of one metric in one context: first, last, min, max, mean, count."""

from __future__ import annotations

import math

import attrs


@attrs.define(eq=False)
class Stats:
    """Statistics over the values of one metric key of one task.

    A value without an iteration (a single value) is always `last`. Beside a curve it is no point of the
    curve and changes nothing but `last`; without a curve, a later single value replaces the earlier one.

    Attributes:
        first: The first value that was reported.
        first_iteration: Its iteration; None for a single value.
        last: The last value in the order of reporting, or the single value if there is one.
        last_iteration: Its iteration; None for a single value.
        min: The smallest value.
        min_iteration: The iteration at which it was reported first; None without a curve.
        max: The largest value.
        max_iteration: The iteration at which it was reported first; None without a curve.
        total: The sum of the values; NaN if it is not known.
        count: The number of values.
        single: Whether `last` is a single value.
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
        """Adds one value."""
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
        """Starts a curve without points; a single value that was reported before stays `last`."""
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

    def merge(self, other: Stats, counted: Stats | None = None) -> None:
        """Adds the statistics of other values of the same metric key.

        Args:
            other: The statistics to add.
            counted: The part of `other` that was added before.
        """
        before = counted or Stats()
        if other.has_curve:
            self._merge_curve(other, before if before.has_curve else Stats())
            single_values = [other.last]
        else:
            single_values = [other.first, other.min, other.max, other.last]
        if other.single and attrs.astuple(other) != attrs.astuple(before):
            for value in single_values:
                self._add_single(value)

    def _merge_curve(self, other: Stats, before: Stats) -> None:
        new = other.count - before.count
        if new <= 0:
            return
        if not self.has_curve:
            self.begin_curve(other.first, other.first_iteration)
        self.count += new
        self.total += other.total - before.total
        if not self.single:
            self.last, self.last_iteration = other.last, other.last_iteration
        if other.min < self.min:
            self.min, self.min_iteration = other.min, other.min_iteration
        if other.max > self.max:
            self.max, self.max_iteration = other.max, other.max_iteration

    @property
    def has_curve(self) -> bool:
        """Whether any value has an iteration."""
        return self.min_iteration is not None

    @property
    def mean(self) -> float:
        """The arithmetic mean of the values; NaN if their sum is not known."""
        return self.total / self.count if self.count else math.nan

    @property
    def is_counted(self) -> bool:
        """Whether sum and count are known; those of a server are wrong after a point was sent twice."""
        return self.total == self.total
