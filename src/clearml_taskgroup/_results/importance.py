"""Which parameters matter: how much of a metric's variance each explains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .export import Tabular
from .parameters import explained_variance, parameter_values, varying_parameters
from .scales import distinct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .rows import RowValue

MIN_TASKS = 10
"""With fewer tasks a note says that chance may decide."""


@attrs.frozen
class ParameterImportance:
    """How much a parameter matters for a metric.

    Attributes:
        parameter: The parameter's name.
        importance: The share of the variance of the tasks' ranks that the parameter explains alone, from 0
            to 1 (epsilon squared of a one-way analysis of variance).
        values: The number of its different values.
    """

    parameter: str
    importance: float
    values: int


@attrs.frozen(repr=False)
class Importance(Tabular[ParameterImportance]):
    """The importance of each parameter for a metric, the greatest first; returned by `results.importance`.

    Attributes:
        rows: A row per parameter that differs between tasks.
        metric: The metric with its context, and the statistic unless it is the last value.
        tasks: The number of tasks that count.
    """

    rows: tuple[ParameterImportance, ...]
    metric: str
    tasks: int

    def to_records(self) -> list[dict[str, Any]]:
        """Returns a flat dict per parameter: `parameter`, `importance`, `values`."""
        return [attrs.asdict(row) for row in self.rows]

    def _table(self) -> tuple[list[str], list[list[str]]]:
        body = [[row.parameter, f"{row.importance:.2f}", str(row.values)] for row in self.rows]
        return ["parameter", "importance", "values"], body

    def _notes(self) -> list[str]:
        if not self.rows:
            return [f"no parameter differs between the tasks that have {self.metric}"]
        variance = f"the variance of {self.metric} (its ranks)"
        notes = [f"importance: the share of {variance} that a parameter explains alone, without interactions"]
        if self.tasks < MIN_TASKS:
            notes.append(f"only {self.tasks} tasks: chance may decide")
        return notes


def importance_of(row_values: Sequence[RowValue], metric: str) -> Importance:
    """Computes the importance of each parameter that differs between tasks."""
    rows = [row for row, _ in row_values]
    shares = explained_variance(row_values, varying_parameters(rows))
    found = [
        ParameterImportance(name, min(1.0, max(0.0, share)), len(distinct(parameter_values(rows, name))))
        for name, share in shares.items()
    ]
    found.sort(key=lambda one: -one.importance)
    return Importance(tuple(found), metric, len(rows))
