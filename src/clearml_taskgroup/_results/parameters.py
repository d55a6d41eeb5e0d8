"""Which parameters differ between tasks, and which of them explain the tasks' values."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from .._model.search_space import varying_names
from ..errors import ArgumentError
from .filtering import no_such_parameter, parameter_names, require_parameter
from .scales import MAX_CELLS, NUMBER_OF_BINS, assign_cells, is_continuous, rank_shares
from .value_text import MISSING, as_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .rows import Row, RowValue


REPEAT_PARAMETERS = (
    "seed",
    "random_state",
    "random_seed",
    "fold",
    "cv_fold",
    "fold_index",
    "split_index",
    "split_seed",
    "repeat",
    "replicate",
)
"""Parameters that only repeat a configuration: by default, means are taken and tasks are paired over them."""

FOLD_PARAMETERS = ("fold", "folds", "cv_fold", "fold_index", "fold_id", "split_index", "cv")
"""Parameters that number the folds of one data set: tasks that differ in them share training data."""


def is_repeat(name: str) -> bool:
    """Whether a parameter only repeats a configuration, by its name: `seed`, `data/fold`."""
    return name.rpartition("/")[2].lower() in REPEAT_PARAMETERS


def is_fold(name: str) -> bool:
    """Whether a parameter numbers folds, by its name: `fold`, `data/fold`."""
    return name.rpartition("/")[2].lower() in FOLD_PARAMETERS


def over_names(rows: Sequence[Row], over: str | Sequence[str] | None) -> tuple[str, ...]:
    """Returns the parameters over which tasks are paired or a mean is taken.

    By default it is `seed`, or else the only one of `REPEAT_PARAMETERS` that differs between tasks.

    Raises:
        NoSuchParameterError: No task has it.
        ArgumentError: None was given, and there are several.
    """
    if over is not None:
        given = parameter_names(over)
        for name in given:
            require_parameter(rows, "over", name)
        return given
    known = dict.fromkeys(name for row in rows for name in row.parameter_names)
    if "seed" in known or not rows:
        return ("seed",)
    repeats = list(filter(is_repeat, known))
    names = (varying_parameters(rows, repeats) or repeats) if repeats else []
    if not names:
        contexts = {field for row in rows for metric_key in row.stats for field, _ in metric_key.context}
        raise no_such_parameter(rows, "over", None, list(filter(is_repeat, contexts)), REPEAT_PARAMETERS)
    if len(names) > 1:
        raise ArgumentError("over", None, f"one or several of the parameters {', '.join(names)}")
    return tuple(names)


def parameter_values(rows: Sequence[Row], name: str) -> list[Any]:
    """Returns a parameter's value for each task; `MISSING` if the task does not have the parameter."""
    return [as_number(row._params[name]) if name in row._params else MISSING for row in rows]


def varying_parameters(rows: Sequence[Row], among: Sequence[str] | None = None) -> list[str]:
    """Returns the parameters, of some or all, that do not have the same value in all tasks."""
    names = varying_names([row._params for row in rows])
    return [name for name in names if among is None or name in among]


def by_explained_variance(row_values: Sequence[RowValue], names: Sequence[str]) -> list[str]:
    """Sorts parameters by how much of the values' variance each explains alone, most first."""
    explained = explained_variance(row_values, names)
    return sorted(names, key=lambda name: explained[name], reverse=True)


def explained_variance(row_values: Sequence[RowValue], names: Sequence[str]) -> dict[str, float]:
    """Computes how much of the variance of the values' ranks each parameter explains alone.

    The measure is epsilon squared of a one-way analysis of variance, at most 1; many numbers are put into
    bins. Chance alone gives about 0, also below it.
    """
    rows = [row for row, _ in row_values]
    ranks = rank_shares([value for _, value in row_values])  # so that one diverged task does not dominate
    total = _squares(ranks) if ranks else 0.0

    def explained(name: str) -> float:
        places = parameter_values(rows, name)
        found = assign_cells(places, max_cells=NUMBER_OF_BINS if is_continuous(places) else MAX_CELLS)
        groups: dict[int, list[float]] = {}
        for place, rank in zip(found.places, ranks, strict=True):
            groups.setdefault(place, []).append(rank)
        within = sum(map(_squares, groups.values()))
        freedom = len(ranks) - len(groups)
        return (total - within - (len(groups) - 1) * within / freedom) / total if freedom > 0 else 0.0

    return {name: explained(name) if total else 0.0 for name in names}


def _squares(values: Sequence[float]) -> float:
    """Returns the sum of the squared deviations from the mean."""
    mean = statistics.fmean(values)
    return math.fsum([(value - mean) ** 2 for value in values])
