"""Whole curves, read back from where the tasks live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import attrs

from ._names import Measure, measure_text
from ._stores import Point, Store
from ._tabular import Tabular
from ._template import Name

if TYPE_CHECKING:
    from ._results import Row

FLUSHING = 30.0
"""Seconds for which reading waits until what was reported is where it is read from."""


@attrs.frozen
class Curve:
    """What one task reported of one metric in one context.

    Attributes:
        row: The task.
        iterations: The x values, ascending; None for a value that was reported without one.
        values: The value at each; where one iteration was reported twice, the later one.
    """

    row: Row = attrs.field(repr=lambda row: repr(row.name))
    iterations: tuple[int | None, ...]
    values: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.values)


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
    def __getitem__(self, index: slice) -> tuple[Curve, ...]: ...
    def __getitem__(self, index: int | slice) -> Curve | tuple[Curve, ...]:
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
        store: Where they live.
    """

    store: Store

    def points(
        self, wanted: Mapping[str, Sequence[Name]]
    ) -> Mapping[str, Sequence[tuple[int | None, float]]]:
        """Reads the points of each task, sorted, the last one of each iteration.

        Args:
            wanted: For each ClearML task id, the titles and series that hold them.

        Raises:
            NoHistoryError: Nothing that was reported is kept there.
            ServerError: The server is away.
        """
        self.store.flush(FLUSHING)
        return {task_id: _in_order(points) for task_id, points in self.store.history(wanted).items()}

    def curves(self, rows: Sequence[Row], measure: Measure) -> History:
        """Reads a measure of several tasks."""
        having = [row for row in rows if measure in row.stats]
        points = self.points({row.id: row.names(measure) for row in having})
        curves = []
        for row in having:
            found = points.get(row.id) or ()
            if found:
                iterations, values = zip(*found, strict=True)
                curves.append(Curve(row, iterations, values))
        return History(tuple(curves), measure_text(measure))

    def count(self, rows: Sequence[Row], measure: Measure) -> None:
        """Fills in sum, count and last iteration where only the server's own are known.

        The server's are wrong after a point was sent twice, so they are counted anew.
        """
        unknown = [row for row in rows if measure in row.stats and not row.stats[measure].is_counted]
        if not unknown:
            return
        for curve in self.curves(unknown, measure):
            stats = curve.row.stats[measure]
            stats.total, stats.count = sum(curve.values), len(curve)
            stats.last_iteration = curve.iterations[-1]


def _in_order(points: Sequence[Point]) -> list[tuple[int | None, float]]:
    latest: dict[int | None, float] = dict(points)
    return sorted(latest.items(), key=lambda point: -1 if point[0] is None else point[0])
