"""What is known of one metric key of one task: statistics, names, downsampled curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .metrics import MetricKey
from .name_template import Name
from .stats import Stats

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .downsample import CurveSample


@attrs.define(eq=False)
class MetricData:
    """What is known of one metric key of one task.

    Attributes:
        stats: Statistics of the values.
        names: The names (title, series) that the values were logged under.
        sample: The curve at low resolution; None if no curve was reported in this run.
    """

    stats: Stats = attrs.field(factory=Stats)
    names: tuple[Name, ...] = ()
    sample: CurveSample | None = None

    def add_names(self, names: Iterable[Name]) -> None:
        """Adds the names that are not known yet."""
        self.names = tuple(dict.fromkeys((*self.names, *names)))

    def merge(self, other: MetricData, counted: MetricData | None = None) -> None:
        """Adds what another source knows of the same metric key of the same task.

        Args:
            other: Data of other values: of a worker process, or of the same key under another name.
            counted: The part of `other` that was added before.
        """
        self.stats.merge(other.stats, None if counted is None else counted.stats)
        self.add_names(other.names)
        if other.sample is not None and other.sample.xs:
            own = self.sample.xs if self.sample is not None else ()
            if not own or other.sample.xs[-1] >= own[-1]:  # the longer one shows more of the curve
                self.sample = other.sample

    def copy(self) -> MetricData:
        """Returns a copy that later values do not change, without an empty sample."""
        sample = self.sample if self.sample is not None and self.sample.xs else None
        return MetricData(attrs.evolve(self.stats), self.names, sample)

    def to_json(self, key: MetricKey) -> list[Any]:
        """Returns the data as the run log has it: `[metric, context, stats, names]`."""
        return [key.metric, dict(key.context), attrs.asdict(self.stats), list(self.names)]

    @classmethod
    def from_json(cls, entry: Sequence[Any]) -> tuple[MetricKey, MetricData]:
        """Reads what `to_json` wrote; the names may be missing."""
        metric, context, stats, *rest = entry
        names = tuple(Name(*name) for names in rest for name in names)
        return key_from_json(metric, context), cls(Stats(**stats), names)


def key_from_json(metric: str, context: Mapping[str, Any]) -> MetricKey:
    """Reads a metric key whose context was written with `dict`."""
    pairs = ((field, tuple(v) if isinstance(v, list) else v) for field, v in context.items())
    return MetricKey(metric, tuple(sorted(pairs)))


Metrics = dict[MetricKey, MetricData]
"""What is known of the metrics of one task."""


def metrics_to_json(metrics: Mapping[MetricKey, MetricData]) -> list[Any]:
    """Returns the metrics that have values as the run log has them."""
    return [data.to_json(key) for key, data in list(metrics.items()) if data.stats.count]


def metrics_from_json(entries: Iterable[Sequence[Any]]) -> Metrics:
    """Reads what `metrics_to_json` wrote."""
    metrics: Metrics = {}
    for key, data in map(MetricData.from_json, entries):
        add_metric(metrics, key, data)
    return metrics


def add_metric(metrics: Metrics, key: MetricKey, data: MetricData) -> None:
    """Adds data of one name; a curve and a single value of the same key are one entry."""
    if key in metrics:
        metrics[key].merge(data)
    else:
        metrics[key] = data


def copy_metrics(metrics: Mapping[MetricKey, MetricData]) -> Metrics:
    """Returns a copy of the metrics that have values; later values do not change it."""
    return {key: data.copy() for key, data in list(metrics.items()) if data.stats.count}


def keys_by_name(tasks: Iterable[Mapping[MetricKey, MetricData]]) -> dict[Name, MetricKey]:
    """Returns what the names in the metrics of some tasks stand for."""
    return {name: key for metrics in tasks for key, data in metrics.items() for name in data.names}
