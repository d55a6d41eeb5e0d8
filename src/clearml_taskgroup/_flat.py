"""A task's results as a flat record: a line of a file or a data frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ._measures import OF, natural
from ._names import Measure, measure_text

if TYPE_CHECKING:
    from ._aggregate import AggregateRow
    from ._results import Row

IDENTITY = ("key", "name", "index", "id", "attempt", "status", "status_reason", "duration")
PARTS = (*OF, "count", *(f"{part}_iteration" for part in ("first", "last", "min", "max")))


def flat_record(row: Row, measures: Sequence[Measure]) -> dict[str, Any]:
    """Writes a row, with all of some measures; None for what it does not have or nobody knows."""
    record: dict[str, Any] = {name: getattr(row, name) for name in IDENTITY}
    record |= {f"params.{name}": row.params[name] for name in sorted(row.params, key=natural)}
    for measure in measures:
        text, stats = measure_text(measure), row.stats.get(measure)
        for part in PARTS:
            known = stats is not None and (stats.is_counted or part not in ("mean", "count"))
            record[f"{text}.{part}"] = getattr(stats, part) if known else None
    return record


def columns_of(
    identity: Sequence[str],
    rows: Sequence[Row | AggregateRow],
    records: Sequence[Mapping[str, Any]],
) -> list[str]:
    """Gives the names that records have: what a row is, all parameters, what was reported."""
    params = sorted({f"params.{name}" for row in rows for name in row.params}, key=natural)
    return list(dict.fromkeys([*identity, *params, *(name for record in records for name in record)]))
