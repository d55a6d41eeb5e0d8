"""Means and standard deviations over tasks that differ only in a parameter, as seed or fold."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from .._model.display_name import display_name
from .._model.parameter_json import copied_parameters
from .._text import counted, natural, shown, some
from ..errors import NoSuchResultError
from .export import Tabular, column_names
from .filtering import diverged_rows, has_value, is_comparable, is_related
from .rows import (
    AggregateRow,
    Best,
    Mean,
    Mode,
    Of,
    best_of,
    diverged_note,
    not_compared,
    statistic,
    with_statistic,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from .._model.metrics import MetricKey
    from .find_metric import MetricLookup
    from .rows import Row

T = TypeVar("T")

IDENTITY_COLUMNS = ("name", "n", "left_out", "unfinished")
"""The columns before those of the parameters."""


@attrs.frozen(repr=False)
class Aggregates(Tabular[AggregateRow]):
    """A row of means and standard deviations per configuration; returned by `results.aggregate`.

    Attributes:
        rows: A row per configuration, in the order of their first tasks.
        over: The parameters over which the means are taken.
        of: The statistic of each task that goes into the means.
    """

    rows: tuple[AggregateRow, ...]
    over: tuple[str, ...]
    of: Of
    _lookup: MetricLookup

    def best(self, metric: str, *, mode: Mode | None = None, **context: Any) -> Best:
        """Returns the configuration with the best mean; the first one if several are equally good.

        Args:
            metric: The metric's name or an alias.
            mode: `"max"` or `"min"`; by default as the vocabulary or a well-known word (`loss`) says.
            **context: The context, `split="val"`; required if the metric was reported in several.

        Raises:
            NoSuchResultError, AmbiguousResultError, ArgumentError: As for `Results.best`.
        """
        metric_key = self._find(metric, context)
        mode = self._lookup.require_mode(metric_key.metric, mode)
        excluded = self.excluded.get(metric_key, ())
        if not any(metric_key in row.stats for row in self.rows):
            raise NoSuchResultError(str(metric_key), [], note=diverged_note(excluded))
        row = self._best_row(metric_key, mode)
        mean = row.stats[metric_key]
        left_out = f"{counted(len(row.left_out), 'failed or stopped task')} ({some(row.left_out)})"
        means = [one.stats[metric_key].mean for one in self.rows if metric_key in one.stats]
        notes = (
            f"not in the mean of {row.name}: {left_out}" if row.left_out else "",
            not_compared(excluded, self._elsewhere_text(metric_key)),
        )
        return Best(
            name=row.name,
            params=copied_parameters(row.params),
            value=mean.mean,
            metric=str(metric_key),
            of=self.of,
            mode=mode,
            std=mean.std,
            sem=mean.sem,
            n=mean.n,
            excluded=excluded,
            note="; ".join(filter(None, notes)),
            ties=means.count(mean.mean),
        )

    def _elsewhere_text(self, metric_key: MetricKey) -> str:
        """Says that configurations without open tasks have the metric in other contexts or spellings."""
        elsewhere = {
            row.name: [other for other in row.stats if is_related(other.metric, metric_key.metric)]
            for row in self.rows
            if metric_key not in row.stats and metric_key not in row.excluded and not row.unfinished
        }
        found = {name: have for name, have in elsewhere.items() if have}
        return self._lookup.elsewhere_text(metric_key, found, counted(len(self.rows), "configuration"))

    @property
    def excluded(self) -> dict[MetricKey, tuple[str, ...]]:
        """The names of the tasks that do not count in the means of a metric because it diverged in them."""
        excluded: dict[MetricKey, tuple[str, ...]] = {}
        for row in self.rows:
            for metric_key, names in row.excluded.items():
                excluded[metric_key] = (*excluded.get(metric_key, ()), *names)
        return excluded

    def sort(self, metric: str, *, mode: Mode | None = None, **context: Any) -> Aggregates:
        """Returns the same configurations, the best mean first and those without a value last.

        Args:
            metric: The metric's name or an alias.
            mode: `"max"` or `"min"`; by default as the vocabulary or a well-known word (`loss`) says.
            **context: The context, `split="val"`; required if the metric was reported in several.

        Raises:
            NoSuchResultError, AmbiguousResultError, ArgumentError: As for `Results.best`.
        """
        metric_key = self._find(metric, context)
        mode = self._lookup.require_mode(metric_key.metric, mode)
        ranked = [row for row in self.rows if metric_key in row.stats]
        ranked.sort(key=lambda row: row.stats[metric_key].mean, reverse=mode == "max")
        rest = [row for row in self.rows if metric_key not in row.stats]
        return attrs.evolve(self, rows=(*ranked, *rest))

    def to_records(self) -> list[dict[str, Any]]:
        """Returns a flat dict per configuration, for a data frame or a file.

        The entries: `name`; `n`; `left_out`, the number of tasks that failed or were stopped; `unfinished`,
        the number of tasks that have not ended; `params.C` for each parameter; and for each metric and
        context `accuracy[split=val].mean`, `.std`, `.sem` and `.n`.
        """
        records = []
        for row in self.rows:
            record: dict[str, Any] = {"name": row.name, "n": row.n, "left_out": len(row.left_out)}
            record["unfinished"] = len(row.waiting) + len(row.unfinished)
            params = row.params
            record |= {f"params.{name}": params[name] for name in sorted(params, key=natural)}
            for metric_key in self._lookup.sort(row.stats):
                mean = row.stats[metric_key]
                for field in ("mean", "std", "sem", "n"):
                    record[f"{metric_key!s}.{field}"] = getattr(mean, field)
            for metric_key, names in row.excluded.items():
                record[f"{metric_key!s}.diverged"] = len(names)
            records.append(record)
        return records

    def _find(self, metric: str, context: Mapping[str, Any]) -> MetricKey:
        try:
            known = (m for row in self.rows for m in (*row.stats, *row.excluded))
            return self._lookup.find(metric, context, known)
        except NoSuchResultError as error:
            names = [name for row in self.rows for name in (*row.left_out, *row.waiting)]
            if names and not any(row.n for row in self.rows):
                error.note = f"{counted(len(names), 'task')} failed, stopped or not begun ({some(names)})"
            raise

    def _best_row(self, metric_key: MetricKey, mode: Mode) -> AggregateRow:
        rows = [row for row in self.rows if metric_key in row.stats]
        return best_of(rows, lambda row: row.stats[metric_key].mean, mode)

    def _columns(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        return column_names(IDENTITY_COLUMNS, self.rows, records)

    def _table(self) -> tuple[list[str], list[list[str]]]:
        metric_keys = list(dict.fromkeys(metric_key for row in self.rows for metric_key in row.stats))
        labels = [with_statistic(self._lookup.label(metric_key), self.of) for metric_key in metric_keys]
        body = [
            [row.name, str(row.n), *(_cell(row.stats.get(metric_key), row.n) for metric_key in metric_keys)]
            for row in self.rows
        ]
        return ["configuration", "n", *labels], body

    def _notes(self) -> list[str]:
        notes = [f"mean ± std over {', '.join(self.over)}"]
        for text, names in (
            ("not counted in, failed or stopped", [name for row in self.rows for name in row.left_out]),
            ("not counted in, not finished", [name for row in self.rows for name in row.waiting]),
            ("counted in, but still open", [name for row in self.rows for name in row.unfinished]),
        ):
            if names:
                notes.append(f"{text}: {len(names)} ({some(names)})")
        for metric_key, excluded in self.excluded.items():
            label = self._lookup.label(metric_key)
            notes.append(f"not counted in, {label} diverged: {len(excluded)} ({some(excluded)})")
        return notes


def _cell(mean: Mean | None, n: int) -> str:
    """Formats a mean, with its own n if some of the configuration's tasks have no value."""
    if mean is None:
        return "–"
    return str(mean) if mean.n == n else f"{mean} (n={mean.n})"


def aggregate_row(name: str, params: dict[str, Any], members: Sequence[Row], of: Of) -> AggregateRow:
    comparable = [row for row in members if is_comparable(row)]
    ended_badly = tuple(row.name for row in members if row.status in ("failed", "stopped"))
    waiting = tuple(row.name for row in members if not is_comparable(row) and row.name not in ended_badly)
    unfinished = tuple(row.name for row in comparable if row.status != "completed")
    values: dict[MetricKey, list[float]] = {}
    for row in comparable:
        for metric_key, stats in row.stats.items():
            if has_value(row, metric_key, of):
                values.setdefault(metric_key, []).append(statistic(stats, of))
    means = {metric_key: mean_of(listed) for metric_key, listed in values.items()}
    excluded = {
        metric_key: tuple(row.name for row in diverged)
        for metric_key in dict.fromkeys(key for row in comparable for key in row.diverged)
        if (diverged := diverged_rows(comparable, metric_key, of))
    }
    return AggregateRow(name, params, len(comparable), ended_badly, waiting, unfinished, means, excluded)


def group_by_configuration(
    items: Iterable[T], row_of: Callable[[T], Row], over: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any], list[T]]]:
    """Groups items by the configuration of their rows: all parameters but those of `over`.

    Returns:
        The name, the parameters and the items of each configuration.
    """
    groups: dict[str, list[T]] = {}
    over = tuple(over)
    for item in items:
        names = row_of(item)._texts
        if over not in names:
            names[over] = _configuration_name(_others(row_of(item)._params, over))
        groups.setdefault(names[over], []).append(item)
    return (
        (name, copied_parameters(_others(row_of(members[0])._params, over)), members)
        for name, members in groups.items()
    )


def _others(params: Mapping[str, Any], over: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name not in over}


def _configuration_name(params: Mapping[str, Any]) -> str:
    try:
        return display_name(params) or "all"
    except ValueError:  # parameters without a stable form; such tasks were given key=
        return ",".join(f"{name}={shown(params[name])}" for name in sorted(params)) or "all"


def mean_of(values: Sequence[float]) -> Mean:
    std = standard_deviation(values)
    return Mean(statistics.fmean(values), std, std / math.sqrt(len(values)), len(values))


def standard_deviation(values: Sequence[float]) -> float:
    """Computes the sample standard deviation (n - 1).

    Returns:
        The standard deviation, exactly 0 for equal values; NaN for fewer than two values or if one of them
        is not finite.
    """
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return math.nan
    if min(values) == max(values):
        return 0.0
    mean = statistics.fmean(values)
    squares = math.fsum([(value - mean) * (value - mean) for value in values])
    # Where squares leave the range of floats, exact arithmetic, which takes ten times as long.
    return math.sqrt(squares / (len(values) - 1)) if 1e-290 < squares < 1e290 else statistics.stdev(values)
