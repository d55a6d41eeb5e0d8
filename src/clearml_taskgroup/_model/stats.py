"""Statistics of one metric in one context: first, last, min, max, mean, count."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable


@attrs.define(eq=False)
class Stats:
    """Statistics of the stored values of one metric key of one task.

    A curve is a map from iteration to value: a later report of an iteration replaces the earlier one,
    `first` is the value at the lowest iteration and `last` the value at the highest. A value without an
    iteration (a single value) is always `last`, and its latest report counts. Beside a curve it is no
    point of the curve and changes nothing but `last`.

    Attributes:
        first: The value at the lowest iteration.
        first_iteration: That iteration; None for a single value.
        last: The value at the highest iteration, or the single value if there is one.
        last_iteration: That iteration; None for a single value.
        min: The smallest value.
        min_iteration: The lowest iteration that has it; None without a curve.
        max: The largest value.
        max_iteration: The lowest iteration that has it; None without a curve.
        total: The sum of the values; NaN if it is not known.
        count: The number of values.
        single: Whether `last` is a single value.
        end: The highest iteration of the curve; None without a curve.
        exact: Whether these are the statistics of the stored curve. Not if an iteration may have been
            reported again: then the curve has to be read.
        ordered: Whether the iterations arrived in increasing order. If not, the statistics that a server
            keeps are not those of the curve.
    """

    first: float = 0.0
    first_iteration: int | None = None
    last: float = 0.0
    last_iteration: int | None = None
    min: float = math.inf
    min_iteration: int | None = None
    max: float = -math.inf
    max_iteration: int | None = None
    total: float = 0.0
    count: int = 0
    single: bool = False
    end: int | None = None
    exact: bool = True
    ordered: bool = True

    @classmethod
    def of(cls, points: Iterable[tuple[int | None, float]]) -> Stats:
        """Computes the statistics of data points in the order of their arrival."""
        stats, curve, ordered = cls(), dict[int | None, float](), True
        end = -math.inf
        for iteration, value in points:
            if iteration is not None:
                ordered = ordered and iteration > end
                end = iteration
            curve[iteration] = value
        single = curve.pop(None, None)
        for iteration, value in curve.items() if ordered else sorted(curve.items(), key=_iteration):
            stats.add(value, iteration)
        if single is not None:
            stats.add(single, None)
        stats.ordered = ordered
        return stats

    def copy(self) -> Stats:
        """Returns a copy that later values do not change."""
        return Stats(*_values(self))

    def to_json(self) -> list[Any]:
        """Returns the values of the fields, in their order, for a run log."""
        return list(_values(self))

    @classmethod
    def from_json(cls, stored: list[Any] | dict[str, Any]) -> Stats:
        """Reads what a run log has: the values of the fields, or, from an earlier version, a dict of them.

        Version 0.1 counted an iteration twice that was reported again.
        """
        if isinstance(stored, list):
            return cls(*stored)
        stats = cls(**stored)
        if "end" not in stored:
            of_curve = (stats.first_iteration, stats.min_iteration, stats.max_iteration, stats.last_iteration)
            stats.end = max((at for at in of_curve if at is not None), default=None)
            stats.exact = stats.end is None
        return stats

    def add(self, value: float, iteration: int | None) -> None:
        """Adds one value."""
        if iteration is None:
            self._add_single(value)
            return
        if self.end is None:
            self.begin_curve(value, iteration)
        elif iteration <= self.end:
            self._add_out_of_order(value, iteration)
            return
        self.end = iteration
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

    def _add_out_of_order(self, value: float, iteration: int) -> None:
        """Adds a value at an iteration that may have one; what it replaces is known to the storage only."""
        self.exact = self.ordered = False
        if iteration == self.end and not self.single:
            self.last = value
        if self.first_iteration is None or iteration <= self.first_iteration:
            self.first, self.first_iteration = value, iteration
        if value < self.min:
            self.min, self.min_iteration = value, iteration
        if value > self.max:
            self.max, self.max_iteration = value, iteration

    def _add_single(self, value: float) -> None:
        if not self.has_curve:
            self.first = self.min = self.max = self.total = value
            self.count = 1
        self.last, self.last_iteration, self.single = value, None, True

    def merge(self, other: Stats, counted: Stats | None = None) -> None:
        """Adds the statistics of other values of the same metric key.

        Args:
            other: The statistics to add.
            counted: The part of `other` that was added before.
        """
        before = counted or Stats()
        if other.has_curve:
            self._merge_curve(other, before if before.has_curve else None)
        if other.single and not (before.single and before.last == other.last):
            self._add_single(other.last)

    def _merge_curve(self, other: Stats, before: Stats | None) -> None:
        if before is not None and other.count == before.count and other.exact:
            return
        assert other.end is not None
        assert other.first_iteration is not None
        if not self.has_curve:
            self.begin_curve(other.first, other.first_iteration)
            self.exact, self.ordered = self.exact and other.exact, self.ordered and other.ordered
        else:
            lowest = other.first_iteration if before is None or before.end is None else before.end + 1
            is_later = self.end is not None and lowest > self.end
            is_earlier = self.first_iteration is not None and other.end < self.first_iteration
            self.exact = self.exact and other.exact and (is_later or (is_earlier and before is None))
            self.ordered = self.ordered and other.ordered and is_later
        self.count += other.count - (before.count if before is not None else 0)
        self.total += other.total - (before.total if before is not None else 0.0)
        if self.first_iteration is None or other.first_iteration < self.first_iteration:
            self.first, self.first_iteration = other.first, other.first_iteration
        if self.end is None or other.end >= self.end:
            self.end = other.end
            if not self.single and not other.single:
                self.last, self.last_iteration = other.last, other.last_iteration
        if other.min < self.min or (
            other.min == self.min and _is_lower(other.min_iteration, self.min_iteration)
        ):
            self.min, self.min_iteration = other.min, other.min_iteration
        if other.max > self.max or (
            other.max == self.max and _is_lower(other.max_iteration, self.max_iteration)
        ):
            self.max, self.max_iteration = other.max, other.max_iteration

    def agrees_with(self, other: Stats) -> bool:
        """Whether the values and their number are the same; a server tells no iteration of the last one."""
        return all(
            getattr(self, part) == getattr(other, part) for part in ("first", "last", "min", "max", "count")
        )

    @property
    def has_curve(self) -> bool:
        """Whether any value has an iteration."""
        return self.end is not None

    @property
    def mean(self) -> float:
        """The arithmetic mean of the values; NaN if their sum is not known."""
        return self.total / self.count if self.count else math.nan

    @property
    def is_counted(self) -> bool:
        """Whether sum and count are known; those of a server are wrong after a point was sent twice."""
        return self.total == self.total


_FIELDS = tuple(field.name for field in attrs.fields(Stats))
_values = operator.attrgetter(*_FIELDS)
"""The values of all fields, for each metric of each task: `asdict` and `evolve` take four times as long."""


def _is_lower(iteration: int | None, other: int | None) -> bool:
    return iteration is not None and other is not None and iteration < other


def _iteration(point: tuple[int | None, float]) -> int:
    assert point[0] is not None  # the single value was taken out
    return point[0]
