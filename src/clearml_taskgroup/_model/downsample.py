"""A curve at low resolution, kept while it is reported: bounded, whatever comes."""

from __future__ import annotations

from array import array

MOST = 32
"""How many points a sketch has at most."""


class CurveSample:
    """Every n-th point of a curve; n doubles as the curve grows.

    Attributes:
        xs: Iterations.
        ys: The value at each.
    """

    __slots__ = ("_step", "xs", "ys")

    def __init__(self) -> None:
        self.xs = array("q")
        self.ys = array("d")
        self._step = 1

    def add(self, iteration: int, value: float) -> int:
        """Takes a point; gives how many of the next ones are to be passed over."""
        if len(self.xs) == MOST:
            del self.xs[1::2], self.ys[1::2]
            self._step *= 2
        self.xs.append(iteration)
        self.ys.append(value)
        return self._step - 1
