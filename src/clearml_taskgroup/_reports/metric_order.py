"""The order of metrics, the most important first, and of tasks, the best first, in tables and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .._results.filtering import has_value
from .._results.find_metric import split_rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._model.metrics import MetricKey
    from .._results.results import Results
    from .._results.rows import Mode, Row


def metric_rank(results: Results, metric_key: MetricKey) -> tuple[bool, int, int]:
    """Sorts metrics whose mode is known first, among them those of validation, as the vocabulary has them."""
    place = results._lookup.place(metric_key.metric)
    return results.mode_of(metric_key.metric) is None, split_rank(metric_key), place


class Decisive(NamedTuple):
    """The metric that tasks are sorted by, and which of its values are better."""

    metric_key: MetricKey
    mode: Mode

    @property
    def order(self) -> str:
        return "greatest" if self.mode == "max" else "least"


def best_first(results: Results, metric_keys: Sequence[MetricKey]) -> tuple[list[Row], Decisive | None]:
    """Sorts the tasks by the most important metric of which it is known which values are better.

    Tasks without a value that counts come last. Without such a metric the tasks stay as they are.
    """
    rows = list(results)
    for metric_key in metric_keys:
        mode = results.mode_of(metric_key.metric)
        if mode is not None and (counting := [row for row in rows if has_value(row, metric_key)]):
            counting.sort(key=lambda row: row.stats[metric_key].last, reverse=mode == "max")
            ids = {row.id for row in counting}
            return [*counting, *(row for row in rows if row.id not in ids)], Decisive(metric_key, mode)
    return rows, None
