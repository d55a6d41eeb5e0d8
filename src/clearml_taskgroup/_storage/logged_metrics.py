"""The metrics in the lines of a run log, of which there may be many thousands: checked and read in one go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .._model.metric_data import MetricData, add_metric, key_from_json
from .._model.name_template import Name
from .._model.stats import Stats
from .run_log_schema import are_listed_stats, are_words, is_measure

if TYPE_CHECKING:
    from .._model.metric_data import Metrics
    from .._model.metrics import MetricKey


@attrs.frozen(eq=False)
class _Words:
    """Metric, context and names as a line has them, and what they stand for."""

    stored: list[Any]
    key: MetricKey
    names: tuple[Name, ...]


@attrs.define(eq=False)
class MetricsReader:
    """Reads the metrics of one task after another, which mostly are those of the task before."""

    _known: dict[int, _Words] = attrs.field(factory=dict)
    """By their place in a line. Only those whose context is text: 1 and True are equal, and not the same."""

    def read(self, entries: Any) -> Metrics | None:
        """Reads what `metrics_to_json` wrote, also in an earlier version; None if it is something else."""
        if type(entries) is not list:
            return None
        metrics: Metrics = {}
        for place, entry in enumerate(entries):
            if type(entry) is list and len(entry) == 4 and type(entry[2]) is list:
                metric, context, stats, names = entry
                words = self._known.get(place)
                if words is None or words.stored != [metric, context, names]:
                    words = self._words(place, metric, context, names)
                if words is None or not are_listed_stats(stats):
                    return None
                data, key = MetricData(Stats(*stats), words.names), words.key
            elif is_measure(entry):  # with skipped values, or of an earlier version
                key, data = MetricData.from_json(entry)
            else:
                return None
            add_metric(metrics, key, data)
        return metrics

    def _words(self, place: int, metric: Any, context: Any, names: Any) -> _Words | None:
        if not are_words(metric, context, names):
            return None
        key = key_from_json(metric, context)
        words = _Words([metric, context, names], key, tuple(Name(*name) for name in names))
        if all(type(value) is str for value in context.values()):
            self._known[place] = words
        return words
