"""Reading what `report` is given: numbers, iterations, nested dicts. Pure."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import ArgumentError, MetricValueError, ReportError, UnknownFieldError
from .name_template import TASK_FIELDS


def number(metric: Any, value: Any) -> float:
    """Reads a number: Python's, numpy's, a tensor of one element; not text."""
    try:
        plain = value.item() if hasattr(value, "item") and not isinstance(value, Mapping) else value
        if not isinstance(plain, (str, bytes, bytearray)):  # which float() would read
            return float(plain)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError, RuntimeError):
        pass
    raise MetricValueError(metric, value)


def whole(iteration: Any) -> int:
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
    words = tuple(levels) if isinstance(levels, Iterable) and not isinstance(levels, str) else (levels,)
    if words.count("metric") != 1 or len(set(words)) != len(words):
        raise ArgumentError(
            "levels", levels, "what each level of keys stands for, 'metric' once: ('split', 'metric')"
        )
    for word in words:
        if word in TASK_FIELDS:
            raise UnknownFieldError(word)
    return words


def unfold(
    values: Any, levels: tuple[str, ...], context: dict[str, Any], path: tuple[Any, ...] = ()
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Walks a nested dict; gives for each number its context and metric."""
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
            f"levels={levels!r} says that the dict is {len(levels)} deep, but at {where} there is "
            f"{values!r}; name as many levels as there are"
        )
    for key, item in values.items():
        yield from unfold(item, levels, context, (*path, key))
