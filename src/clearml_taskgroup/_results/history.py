"""Whole curves, read back from where the tasks live."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import attrs

from .export import Tabular
from .rows import Curve, Points

if TYPE_CHECKING:
    from .._clearml.events import Point
    from .._model.metrics import MetricKey
    from .._model.name_template import Name
    from .._storage.base import Backend
    from .rows import Row


FLUSHING = 30.0
"""Seconds for which reading waits until what was reported is where it is read from."""


@attrs.frozen(repr=False)
class History(Tabular, Sequence[Curve]):
    """A curve for each task that has one; made by `results.history`."""

    curves: tuple[Curve, ...]
    metric: str

    def __len__(self) -> int:
        return len(self.curves)

    @overload
    def __getitem__(self, index: int) -> Curve: ...
    @overload
    def __getitem__(self, index: slice) -> History: ...
    def __getitem__(self, index: int | slice) -> Curve | History:
        if isinstance(index, slice):
            return attrs.evolve(self, curves=self.curves[index])
        return self.curves[index]

    def __iter__(self) -> Iterator[Curve]:
        return iter(self.curves)

    def to_records(self) -> list[dict[str, Any]]:
        """Gives a flat dict for each point: `key`, `name`, `params.C` …, `iteration`, `value`."""
        return [
            {"key": curve.row.key, "name": curve.row.name}
            | {f"params.{name}": value for name, value in curve.row.params.items()}
            | {"iteration": iteration, "value": value}
            for curve in self.curves
            for iteration, value in zip(curve.iterations, curve.values, strict=True)
        ]

    def _table(self) -> tuple[list[str], list[list[str]]]:
        body = [
            [curve.row.name, str(len(curve)), f"{curve.values[0]:.4g}", f"{curve.values[-1]:.4g}"]
            for curve in self.curves
        ]
        return ["task", "points", "first", "last"], body

    def _notes(self) -> list[str]:
        return [self.metric]


@attrs.frozen
class Reader:
    """Reads the curves of a group's tasks.

    Args:
        backend: Where they live.
    """

    backend: Backend

    def points(self, wanted: Mapping[str, Sequence[Name]]) -> Mapping[str, Points]:
        """Reads the points of each task, sorted, the last one of each iteration; None is the first.

        Args:
            wanted: For each ClearML task id, the titles and series that hold them.

        Raises:
            NoHistoryError: Nothing that was reported is kept there.
            ServerError: The server is away.
        """
        self.backend.flush(FLUSHING)
        return {task_id: _in_order(points) for task_id, points in self.backend.history(wanted).items()}

    def curves(self, rows: Sequence[Row], metric_key: MetricKey) -> History:
        """Reads a measure of several tasks."""
        curves = []
        for row, points in self._of(rows, metric_key):
            iterations, values = zip(*_curve(points), strict=True)
            curves.append(Curve(row, iterations, values))
        return History(tuple(curves), str(metric_key))

    def count(self, rows: Sequence[Row], metric_key: MetricKey) -> None:
        """Fills in sum, count and last iteration where only the server's own are known.

        The server's are wrong after a point was sent twice, so they are counted anew.
        """
        unknown = [row for row in rows if metric_key in row.stats and not row.stats[metric_key].is_counted]
        if not unknown:
            return
        for row, points in self._of(unknown, metric_key):
            stats, curve = row.stats[metric_key], _curve(points)
            stats.total, stats.count = math.fsum(value for _, value in curve), len(curve)
            stats.single = points[0][0] is None
            stats.last_iteration = None if stats.single else points[-1][0]

    def count_all(self, rows: Sequence[Row]) -> None:
        """Does so for all measures of some tasks."""
        for metric_key in dict.fromkeys(metric_key for row in rows for metric_key in row.stats):
            self.count(rows, metric_key)

    def _of(self, rows: Sequence[Row], metric_key: MetricKey) -> Iterator[tuple[Row, Points]]:
        """Reads the points of those that have any."""
        having = [row for row in rows if metric_key in row.stats]
        points = self.points({row.id: row.names(metric_key) for row in having})
        return ((row, points[row.id]) for row in having if points.get(row.id))


def _curve(points: Points) -> Points:
    """Leaves out the value without an iteration, which comes first, if there is a curve beside it."""
    return points[1:] if len(points) > 1 and points[0][0] is None else points


def _in_order(points: Sequence[Point]) -> list[tuple[int | None, float]]:
    latest: dict[int | None, float] = dict(points)
    return sorted(latest.items(), key=lambda point: -1 if point[0] is None else point[0])
