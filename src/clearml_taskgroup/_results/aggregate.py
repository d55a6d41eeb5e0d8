"""Means over tasks that differ in a parameter: seeds, folds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import attrs

from .._model.identity import display_name
from .._model.metrics import ByMetric, MetricKey
from .._text import natural
from .export import Tabular, columns_of
from .rows import AggregateRow, Best, Mean, Mode, Of, number, of_text

if TYPE_CHECKING:
    from .metric_lookup import MetricLookup
    from .rows import Row


IDENTITY = ("name", "n", "left_out", "unfinished")
"""What records have before the parameters."""


@attrs.frozen(repr=False)
class Aggregates(Tabular, Sequence[AggregateRow]):
    """Configurations with mean and spread; made by `results.aggregate`."""

    rows: tuple[AggregateRow, ...]
    over: tuple[str, ...]
    of: Of
    _lookup: MetricLookup

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> AggregateRow: ...
    @overload
    def __getitem__(self, index: slice) -> Aggregates: ...
    def __getitem__(self, index: int | slice) -> AggregateRow | Aggregates:
        if isinstance(index, slice):
            return attrs.evolve(self, rows=self.rows[index])
        return self.rows[index]

    def __iter__(self) -> Iterator[AggregateRow]:
        return iter(self.rows)

    def sort(self, metric: str, *, mode: Mode | None = None, **context: Any) -> Aggregates:
        """Gives the same configurations, the best mean first; those without a value last.

        Args:
            metric: The metric, by its name or an alias.
            mode: `"max"` or `"min"`; not needed where the vocabulary says it.
            **context: Which of its contexts, `split="val"`; needed where there are several.

        Raises:
            NoSuchResultError, AmbiguousResultError, ArgumentError: As for `Results.best`.
        """
        metric_key = self._lookup.find(metric, context, (m for row in self.rows for m in row.stats))
        better = self._lookup.mode(metric_key[0], mode)
        having = [row for row in self.rows if metric_key in row.stats]
        having.sort(key=lambda row: row.stats[metric_key].mean, reverse=better == "max")
        rest = [row for row in self.rows if metric_key not in row.stats]
        return attrs.evolve(self, rows=(*having, *rest))

    def best(self, metric: str, *, mode: Mode | None = None, **context: Any) -> Best:
        """Finds the configuration with the best mean.

        Args:
            metric: The metric, by its name or an alias.
            mode: `"max"` or `"min"`; not needed where the vocabulary says it.
            **context: Which of its contexts, `split="val"`; needed where there are several.

        Raises:
            NoSuchResultError, AmbiguousResultError, ArgumentError: As for `Results.best`.
        """
        row = self.sort(metric, mode=mode, **context).rows[0]
        metric_key = self._lookup.find(metric, context, row.stats)
        better = self._lookup.mode(metric_key[0], mode)
        mean = row.stats[metric_key]
        return Best(
            name=row.name,
            params=row.params,
            value=mean.mean,
            metric=str(metric_key),
            of=self.of,
            mode=better,
            std=mean.std,
            sem=mean.sem,
            n=mean.n,
        )

    def to_records(self) -> list[dict[str, Any]]:
        """Gives a flat dict for each configuration, for a data frame or a file.

        The entries: `name`, `n`, `left_out` and `unfinished` (how many tasks failed or were stopped, and
        how many have not ended), `params.C` for each parameter, and for each metric
        and context `accuracy[split=val].mean`, `.std`, `.sem` and `.n`.
        """
        records = []
        for row in self.rows:
            record: dict[str, Any] = {"name": row.name, "n": row.n, "left_out": len(row.left_out)}
            record["unfinished"] = len(row.waiting) + len(row.unfinished)
            record |= {f"params.{name}": row.params[name] for name in sorted(row.params, key=natural)}
            for metric_key in self._lookup.in_order(row.stats):
                mean = row.stats[metric_key]
                for part in ("mean", "std", "sem", "n"):
                    record[f"{metric_key!s}.{part}"] = getattr(mean, part)
            records.append(record)
        return records

    def _columns(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        return columns_of(IDENTITY, self.rows, records)

    def _table(self) -> tuple[list[str], list[list[str]]]:
        metric_keys = list(dict.fromkeys(metric_key for row in self.rows for metric_key in row.stats))
        head = ["configuration", "n", *(of_text(self._lookup.label(m), self.of) for m in metric_keys)]
        body = [
            [row.name, str(row.n), *(_cell(row.stats.get(metric_key), row.n) for metric_key in metric_keys)]
            for row in self.rows
        ]
        return head, body

    def _notes(self) -> list[str]:
        notes = [f"mean ± std over {', '.join(self.over)}"]
        for what, names in (
            ("not counted in, failed or stopped", [name for row in self.rows for name in row.left_out]),
            ("not counted in, not finished", [name for row in self.rows for name in row.waiting]),
            ("counted in, but still open", [name for row in self.rows for name in row.unfinished]),
        ):
            if names:
                notes.append(f"{what}: {len(names)} ({', '.join(names[:6])}{' …' if len(names) > 6 else ''})")
        return notes


def _cell(mean: Mean | None, n: int) -> str:
    """Writes a mean, with how many tasks it is over where some of the configuration's have no value."""
    if mean is None:
        return "–"
    return str(mean) if mean.n == n else f"{mean} (n={mean.n})"


def aggregate_row(label: str, params: dict[str, Any], members: list[Row], of: Of) -> AggregateRow:
    counted = [row for row in members if counts(row)]
    left_out = tuple(row.name for row in members if row.status in ("failed", "stopped"))
    waiting = tuple(row.name for row in members if not counts(row) and row.name not in left_out)
    unfinished = tuple(row.name for row in counted if row.status != "completed")
    values: dict[MetricKey, list[float]] = {}
    for row in counted:
        for metric_key, stats in row.stats.items():
            values.setdefault(metric_key, []).append(number(stats, of))
    means = ByMetric({metric_key: _mean(listed) for metric_key, listed in values.items()})
    return AggregateRow(label, params, len(counted), left_out, waiting, unfinished, means)


def _mean(values: list[float]) -> Mean:
    n = len(values)
    mean = math.fsum(values) / n
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)) if n > 1 else math.nan
    return Mean(mean, std, std / math.sqrt(n), n)


def label_of(params: Mapping[str, Any]) -> str:
    try:
        return display_name(params) or "all"
    except ValueError:  # parameters without a stable form, given with key=
        return ",".join(f"{name}={params[name]!r}" for name in sorted(params)) or "all"


def counts(row: Row) -> bool:
    """Tells whether a task's values count: those of failed and stopped ones do not."""
    return row.status in ("completed", "in_progress")
