"""Converts the arguments of `report`: numbers, iterations, nested dicts. Pure."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import ArgumentError, MetricValueError, ReportError, UnknownFieldError
from .name_template import TASK_FIELDS

MAX_STORED_NUMBER = 3.4e38
"""Larger numbers, NaN and ±inf are skipped: a ClearML server refuses the whole batch that has one."""


def to_float(metric: Any, value: Any) -> float:
    """Converts a number of Python or numpy, or a tensor of one element; text is refused."""
    try:
        plain = value.item() if hasattr(value, "item") and not isinstance(value, Mapping) else value
        if not isinstance(plain, (str, bytes, bytearray)):  # float() would accept them
            return float(plain)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError, RuntimeError):
        pass
    raise MetricValueError(metric, value)


def to_iteration(iteration: Any) -> int:
    try:
        return operator.index(iteration)
    except TypeError:
        pass
    try:
        if not isinstance(iteration, (str, bytes, bytearray)) and float(iteration) == int(iteration):
            return int(iteration)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ArgumentError("iteration", iteration, "a whole number, or None for single values")


def checked_levels(levels: Sequence[str]) -> tuple[str, ...]:
    names = tuple(levels) if isinstance(levels, Iterable) and not isinstance(levels, str) else (levels,)
    if names.count("metric") != 1 or len(set(names)) != len(names):
        raise ArgumentError(
            "levels", levels, "a name for each level of the dict, one of them 'metric': ('split', 'metric')"
        )
    for name in names:
        if name in TASK_FIELDS:
            raise UnknownFieldError(name)
    return names


def flatten_nested(
    values: Any, levels: tuple[str, ...], context: dict[str, Any], path: tuple[Any, ...] = ()
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Walks a nested dict; yields context and metric for each number."""
    if len(path) == len(levels):
        inner = dict(zip(levels, path, strict=True))
        metric = inner.pop("metric")
        for field in inner.keys() & context.keys():
            raise ReportError(f"{field!r} was given both as a level of the dict and as {field}=; keep one")
        yield {**context, **inner}, {metric: values}
        return
    if not isinstance(values, Mapping):
        where = " → ".join(map(repr, path)) or "the outermost level"
        raise ReportError(
            f"levels={levels!r} was given for a dict of {len(levels)} levels, but at {where} there is "
            f"{values!r}; name as many levels as the dict has"
        )
    for key, item in values.items():
        yield from flatten_nested(item, levels, context, (*path, key))
