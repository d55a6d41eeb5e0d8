"""A downsampled copy of a curve, of bounded size, filled while the curve is reported."""

from __future__ import annotations

import struct
from typing import Any

MAX_SAMPLE_POINTS = 32
"""The most data points that a `CurveSample` keeps."""

_POINT = struct.Struct("=qd")
_pack = _POINT.pack
_FULL = MAX_SAMPLE_POINTS * _POINT.size


class CurveSample:
    """Every n-th data point of a curve; n doubles whenever the sample is full.

    The points are packed into bytes, which the garbage collector does not look at: a group may have many
    thousands of curves.
    """

    __slots__ = ("_points", "_step")

    def __init__(self) -> None:
        self._points = bytearray()
        self._step = 1

    def __bool__(self) -> bool:
        return bool(self._points)

    def add(self, iteration: int, value: float) -> int:
        """Adds a data point; returns how many of the following ones the caller has to skip."""
        points = self._points
        if len(points) == _FULL:
            kept = self.points[::2]
            points = self._points = bytearray().join(_pack(*point) for point in kept)
            self._step *= 2
        points += _pack(iteration, value)
        return self._step - 1

    @property
    def points(self) -> list[tuple[int, float]]:
        """The iteration and the value of each point."""
        return list(_POINT.iter_unpack(bytes(self._points)))  # a copy: another thread may add points

    @property
    def end(self) -> int | None:
        """The last iteration; None without points."""
        last = self._points[-_POINT.size :]
        return _POINT.unpack(last)[0] if last else None

    def to_json(self) -> list[Any]:
        """Returns the step, the iterations and the values."""
        points = self.points
        return [self._step, [x for x, _ in points], [y for _, y in points]]

    @classmethod
    def from_json(cls, stored: list[Any]) -> CurveSample:
        """Reads what `to_json` returned."""
        sample = cls()
        sample._step, xs, ys = stored
        sample._points = bytearray().join(map(_pack, xs, ys))
        return sample
