"""What is known of one metric key of one task: statistics, names, downsampled curve."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import attrs

from .metrics import MetricKey
from .name_template import Name
from .stats import Stats

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .downsample import CurveSample


@attrs.define(eq=False, repr=False)
class MetricData:
    """What is known of one metric key of one task.

    Attributes:
        stats: Statistics of the stored values.
        names: The names (title, series) that the values were logged under.
        sample: The curve at low resolution; None if no curve was reported in this run.
        skipped: The number of values that were skipped because ClearML cannot store them.
        skipped_at: The highest iteration of a skipped value; None without one.
        single_skipped: Whether the latest report of the single value was skipped.
    """

    stats: Stats = attrs.field(factory=Stats)
    names: tuple[Name, ...] = ()
    sample: CurveSample | None = None
    skipped: int = 0
    skipped_at: int | None = None
    single_skipped: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing was reported."""
        return not self.stats.count and not self.skipped

    @property
    def has_diverged(self) -> bool:
        """Whether the value at the highest iteration, or the latest single value, was skipped."""
        if self.single_skipped or self.stats.single:
            return self.single_skipped
        return self.skipped_at is not None and (self.stats.end is None or self.skipped_at > self.stats.end)

    def skip(self, iteration: int | None) -> None:
        """Counts a value that was skipped; None is the iteration of a single value."""
        self.skipped += 1
        if iteration is None:
            self.single_skipped = True
        elif self.skipped_at is None or iteration > self.skipped_at:
            self.skipped_at = iteration

    def add_names(self, names: Iterable[Name]) -> None:
        """Adds the names that are not known yet."""
        self.names = tuple(dict.fromkeys((*self.names, *names))) if self.names else tuple(names)

    def merge(self, other: MetricData, counted: MetricData | None = None) -> None:
        """Adds what another source knows of the same metric key of the same task.

        Args:
            other: Data of other values: of a worker process, or of the same key under another name.
            counted: The part of `other` that was added before.
        """
        has_sample = self.sample is not None or not self.stats.has_curve
        self.stats.merge(other.stats, None if counted is None else counted.stats)
        self.add_names(other.names)
        self.merge_skipped(other, counted)
        end = other.sample.end if other.sample is not None else None
        if has_sample and end is not None:
            own = self.sample.end if self.sample is not None else None
            if own is None or end >= own:  # the longer one shows more of the curve
                self.sample = other.sample

    def merge_skipped(self, other: MetricData, counted: MetricData | None = None) -> None:
        """Adds what another source skipped; see `merge`."""
        self.skipped += other.skipped - (counted.skipped if counted is not None else 0)
        if other.skipped_at is not None and (self.skipped_at is None or other.skipped_at > self.skipped_at):
            self.skipped_at = other.skipped_at
        if other.stats.single or other.single_skipped:
            self.single_skipped = other.single_skipped

    def take_skipped(self, noted: MetricData) -> None:
        """Takes over a line of the run log; one without a skipped value says that the single value counts."""
        self.merge_skipped(noted)
        if not noted.skipped:
            self.single_skipped = False

    def copy(self) -> MetricData:
        """Returns a copy that later values do not change, without an empty sample."""
        sample = self.sample or None
        return MetricData(
            self.stats.copy(), self.names, sample, self.skipped, self.skipped_at, self.single_skipped
        )

    def to_json(self, key: MetricKey) -> list[Any]:
        """Returns the data as the run log has it: `[metric, context, stats, names]`, and what was skipped."""
        entry = [key.metric, dict(key.context), self.stats.to_json(), list(self.names)]
        return [*entry, self.skipped_to_json()] if self.skipped else entry

    def skipped_to_json(self) -> list[Any]:
        """Returns what was skipped: `[number, highest iteration, whether the latest single value was]`."""
        return [self.skipped, self.skipped_at, self.single_skipped]

    @classmethod
    def from_json(cls, entry: Sequence[Any]) -> tuple[MetricKey, MetricData]:
        """Reads what `to_json` wrote; the names may be missing."""
        metric, context, stats, *rest = entry
        names = tuple(Name(*name) for name in (rest[0] if rest else ()))
        skipped = rest[1] if len(rest) > 1 else (0, None, False)
        return key_from_json(metric, context), cls(Stats.from_json(stats), names, None, *skipped)


def key_from_json(metric: str, context: Mapping[str, Any]) -> MetricKey:
    """Reads a metric key from JSON, which has lists in place of tuples."""
    pairs = ((field, tuple(v) if isinstance(v, list) else v) for field, v in context.items())
    return MetricKey(metric, tuple(sorted(pairs)))


Metrics = dict[MetricKey, MetricData]
"""What is known of the metrics of one task."""


def metrics_to_json(metrics: Mapping[MetricKey, MetricData]) -> list[Any]:
    """Returns the metrics that were reported as the run log has them."""
    return [data.to_json(key) for key, data in list(metrics.items()) if not data.is_empty]


def metrics_from_json(entries: Iterable[Sequence[Any]]) -> Metrics:
    """Reads what `metrics_to_json` wrote."""
    metrics: Metrics = {}
    for key, data in map(MetricData.from_json, entries):
        add_metric(metrics, key, data)
    return metrics


def add_metric(metrics: Metrics, key: MetricKey, data: MetricData) -> None:
    """Adds data of one name; a curve and a single value of the same key are one entry."""
    known = metrics.setdefault(key, data)
    if known is not data:
        known.merge(data)


def add_skipped(metrics: Metrics, other: Mapping[MetricKey, MetricData]) -> None:
    """Adds what only a run log knows of skipped values; where those curves end has to be read."""
    for key, data in other.items():
        if data.skipped:
            own = metrics.setdefault(key, MetricData())
            if not own.skipped:
                own.merge_skipped(data)
                own.stats.exact = own.stats.exact and not own.stats.has_curve


_is_exact = operator.attrgetter("stats.exact")


def are_exact(metrics: Mapping[MetricKey, MetricData]) -> bool:
    """Whether no curve has to be read again."""
    return all(map(_is_exact, list(metrics.values())))


def copy_metrics(metrics: Mapping[MetricKey, MetricData]) -> Metrics:
    """Returns a copy of the metrics that were reported; later values do not change it."""
    return {key: data.copy() for key, data in list(metrics.items()) if not data.is_empty}


def keys_by_name(tasks: Iterable[Mapping[MetricKey, MetricData]]) -> dict[Name, MetricKey]:
    """Returns what the names in the metrics of some tasks stand for."""
    return {name: key for metrics in tasks for key, data in metrics.items() for name in data.names}
