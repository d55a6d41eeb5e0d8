"""A downsampled copy of a curve, of bounded size, filled while the curve is reported."""

from __future__ import annotations

from array import array
from typing import Any

MAX_SAMPLE_POINTS = 32
"""The most data points that a `CurveSample` keeps."""


class CurveSample:
    """Every n-th data point of a curve; n doubles whenever the sample is full.

    Attributes:
        xs: Iterations.
        ys: The value at each iteration.
    """

    __slots__ = ("_step", "xs", "ys")

    def __init__(self) -> None:
        self.xs: array[int] = array("q")
        self.ys: array[float] = array("d")
        self._step = 1

    def add(self, iteration: int, value: float) -> int:
        """Adds a data point; returns how many of the following ones the caller has to skip."""
        if len(self.xs) == MAX_SAMPLE_POINTS:
            del self.xs[1::2], self.ys[1::2]
            self._step *= 2
        self.xs.append(iteration)
        self.ys.append(value)
        return self._step - 1

    def to_json(self) -> list[Any]:
        """Returns the step, the iterations and the values."""
        return [self._step, self.xs.tolist(), self.ys.tolist()]

    @classmethod
    def from_json(cls, stored: list[Any]) -> CurveSample:
        """Reads what `to_json` returned."""
        sample = cls()
        sample._step, xs, ys = stored
        sample.xs.extend(xs)
        sample.ys.extend(ys)
        return sample
