"""Which parameters differ between tasks, and which of them explain the tasks' values."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from .layout import rank_shares
from .scales import MAX_CELLS, NUMBER_OF_BINS, assign_cells, distinct, is_continuous
from .value_text import MISSING, as_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._results.rows import Row, RowValue


def parameter_values(rows: Sequence[Row], name: str) -> list[Any]:
    """Returns a parameter's value for each task; `MISSING` if the task does not have the parameter."""
    return _values([row.params for row in rows], name)


def _values(tasks: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [as_number(params[name]) if name in params else MISSING for params in tasks]


def varying_parameters(rows: Sequence[Row]) -> list[str]:
    """Returns the parameters that do not have the same value in all tasks."""
    tasks = [row.params for row in rows]
    names = dict.fromkeys(name for params in tasks for name in params)
    return [name for name in names if len(distinct(_values(tasks, name))) > 1]


def by_explained_variance(row_values: Sequence[RowValue], names: Sequence[str]) -> list[str]:
    """Sorts parameters by how much of the values' variance each explains alone, most first.

    The measure is epsilon squared of a one-way analysis of variance; many numbers are put into bins.
    """
    values = [value for _, value in row_values]
    ranks = rank_shares(values)  # ranks, so that one diverged task does not dominate

    def explained(name: str) -> float:
        places = parameter_values([row for row, _ in row_values], name)
        found = assign_cells(places, max_cells=NUMBER_OF_BINS if is_continuous(places) else MAX_CELLS)
        groups: dict[int, list[float]] = {}
        for place, rank in zip(found.places, ranks, strict=True):
            groups.setdefault(place, []).append(rank)
        within = sum(statistics.pvariance(group) * len(group) for group in groups.values())
        total, freedom = statistics.pvariance(ranks) * len(ranks), len(ranks) - len(groups)
        if not total or freedom < 1:
            return 0.0
        return (total - within - (len(groups) - 1) * within / freedom) / total

    return sorted(names, key=explained, reverse=True) if values else list(names)
