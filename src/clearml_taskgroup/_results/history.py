"""Reads whole curves back from where the tasks are stored."""

from __future__ import annotations

import itertools
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from .._log import logger
from .._storage.memory import MemoryBackend
from .._storage.offline import OfflineBackend
from ..errors import NoHistoryError
from .export import Tabular
from .rows import Curve, DataPoints, with_parameters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .._clearml.events import Curves, Point
    from .._model.metrics import MetricKey
    from .._model.name_template import Name
    from .._storage.base import Backend
    from .rows import Row


FLUSH_TIMEOUT_S = 30.0
"""How long reading waits until reported values are stored."""
CURVES_AT_A_TIME = 500
"""How many curves are read at a time: of a report, which thins them, no more are in memory."""
LOG_INTERVAL_S = 5.0
"""After how many seconds a log line says how far it is."""


@attrs.frozen(repr=False)
class History(Tabular[Curve]):
    """The curves of one metric key, one per task that has it; returned by `results.history`.

    Attributes:
        curves: The curves, in the order of the results' rows.
        metric: The metric with its context, `loss[split=val]`.
    """

    _rows_attribute = "curves"

    curves: tuple[Curve, ...]
    metric: str

    def to_records(self) -> list[dict[str, Any]]:
        """Returns a flat dict per data point: `key`, `name`, `params.C` …, `iteration`, `value`."""
        records = []
        for curve in self.curves:
            about = {"key": curve.row.key, "name": curve.row.name}
            about |= {f"params.{name}": value for name, value in curve.row.params.items()}
            points = zip(curve.iterations, curve.values, strict=True)
            records += [{**about, "iteration": iteration, "value": value} for iteration, value in points]
        return records

    def _table(self) -> tuple[list[str], list[list[str]]]:
        body = [
            [
                with_parameters(curve.row.name, curve.row._params),
                str(len(curve)),
                f"{curve.values[0]:.4g}",
                f"{curve.values[-1]:.4g}",
            ]
            for curve in self.curves
        ]
        return ["task", "points", "first", "last"], body

    def _notes(self) -> list[str]:
        return [self.metric]


@attrs.frozen
class Reader:
    """Reads the curves of a group's tasks from a backend.

    A copy is the reader itself. A pickled one has only the place of the curves.
    """

    backend: Backend

    def __copy__(self) -> Reader:
        return self

    def __deepcopy__(self, memo: Any) -> Reader:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        backend = self.backend
        is_server = (
            backend.is_server if isinstance(backend, PickledBackend) else backend.transport is not None
        )
        return _unpickled, (backend.mode, backend.where, is_server)

    def curves(self, rows: Sequence[Row], metric_key: MetricKey) -> History:
        """Reads the whole curves of one metric; tasks without it have none.

        Raises:
            NoHistoryError: The backend keeps no data points.
            ServerError: The server cannot be reached.
        """
        return History(tuple(curve for _, curve in self.curves_of(rows, [metric_key])), str(metric_key))

    def curves_of(
        self, rows: Sequence[Row], metric_keys: Sequence[MetricKey]
    ) -> Iterator[tuple[MetricKey, Curve]]:
        """Reads the whole curves of several metrics, of each task all at once.

        Raises:
            NoHistoryError, ServerError: As for `curves`.
        """
        wanted = [(row, metric_key) for row in rows for metric_key in metric_keys if metric_key in row.stats]
        for row, metric_key, points in self._read(wanted):
            iterations, values = zip(*_without_single_value(points), strict=True)
            yield metric_key, Curve(row, iterations, values)

    def script(self, task_id: str) -> Mapping[str, Any]:
        """Reads a task's section `script`; empty if it is not known."""
        return self.backend.read_script(task_id)

    def complete_stats(self, rows: Sequence[Row], metric_key: MetricKey | None = None) -> None:
        """Fills in sum, count and last iteration of rows whose statistics came from the server.

        The server's own are wrong after a data point was sent twice, so they are computed from the curves.

        Args:
            rows: The rows.
            metric_key: The metric; None for all.

        Raises:
            NoHistoryError, ServerError: As for `curves`.
        """
        incomplete = [
            (row, key)
            for row in rows
            for key, stats in row.stats.items()
            if metric_key in (None, key) and not stats.is_counted
        ]
        for row, key, points in self._read(incomplete):
            stats, curve = row.stats[key], _without_single_value(points)
            stats.total, stats.count = math.fsum(value for _, value in curve), len(curve)
            stats.single = points[0][0] is None
            stats.last_iteration = None if stats.single else points[-1][0]

    def _read(self, wanted: Sequence[tuple[Row, MetricKey]]) -> Iterator[tuple[Row, MetricKey, DataPoints]]:
        """Reads data points, sorted by iteration, the latest one of each iteration, where there are any.

        A value without an iteration comes first, with None.
        """
        logged = time.monotonic()
        for first in range(0, len(wanted), CURVES_AT_A_TIME):
            if time.monotonic() - logged >= LOG_INTERVAL_S:
                logged = time.monotonic()
                logger.info("reading curves: %d of %d", first, len(wanted))
            yield from self._read_part(wanted[first : first + CURVES_AT_A_TIME])

    def _read_part(
        self, wanted: Sequence[tuple[Row, MetricKey]]
    ) -> Iterator[tuple[Row, MetricKey, DataPoints]]:
        self.backend.flush(FLUSH_TIMEOUT_S)
        names: dict[str, list[Name]] = {}
        for row, metric_key in wanted:
            names.setdefault(row.id, []).extend(row.names(metric_key))
        read = self.backend.read_curves(names)
        for row, metric_key in wanted:
            curves = read.get(row.id, {})
            arrived = itertools.chain.from_iterable(curves.get(name, ()) for name in row.names(metric_key))
            if points := _latest_by_iteration(arrived):
                yield row, metric_key, points


def _unpickled(mode: str, where: str, is_server: bool) -> Reader:
    return Reader(
        OfflineBackend(Path(where)) if mode == "offline" else PickledBackend(mode, where, is_server)
    )


class PickledBackend(MemoryBackend):
    """The backend of pickled results: a server, or a place whose curves another process cannot read.

    Args:
        mode: The mode of the results.
        where: Where the curves are.
        is_server: Whether that is a server. It is logged in to when curves are read.
    """

    def __init__(self, mode: str, where: str, is_server: bool) -> None:
        super().__init__(mode=mode, where=where, keep=False)
        self.is_server = is_server

    def read_curves(self, wanted: Mapping[str, Sequence[Name]]) -> dict[str, Curves]:
        """Reads the curves from the server that this process is set up for.

        Raises:
            NoHistoryError: They are on another server, or on none.
            LoginError, ServerError: The server cannot be reached.
        """
        if not self.is_server:
            advice = "read them with history() before the results are pickled, or load the run from a server"
            raise NoHistoryError(f"with pickled results ({self.where})", advice)
        from .._clearml import login
        from .._storage.online import OnlineBackend

        server = OnlineBackend(login.connect())
        try:
            if server.where != self.where:
                advice = f"set ClearML up for {self.where} in this process"
                raise NoHistoryError(f"on {server.where}, which this process uses", advice)
            return server.read_curves(wanted)
        finally:
            server.close()


def _without_single_value(points: DataPoints) -> DataPoints:
    """Removes the value without an iteration if there is a curve as well."""
    return points[1:] if len(points) > 1 and points[0][0] is None else points


def _latest_by_iteration(points: Iterable[Point]) -> list[tuple[int | None, float]]:
    latest: dict[int | None, float] = dict(points)
    return sorted(latest.items(), key=lambda point: (point[0] is not None, point[0] or 0))
