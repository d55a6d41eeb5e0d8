"""Converts the arguments of `report`: numbers, iterations, nested dicts. Pure."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._text import shown
from ..errors import ArgumentError, MetricValueError, ReportError, UnknownFieldError
from .arguments import iterator_of
from .name_template import TASK_FIELDS

MAX_STORED_NUMBER = 3.4e38
"""Larger numbers, NaN and ±inf are skipped: a ClearML server refuses the whole batch that has one."""


def to_float(metric: Any, value: Any) -> float:
    """Converts a number of Python or numpy, or a tensor of one element; text is refused."""
    plain = _item(value)
    try:
        if plain is not None:
            return float(plain)
    except OverflowError:
        return math.inf if plain > 0 else -math.inf
    except Exception:  # also of the value's own methods
        pass
    raise MetricValueError(metric, value)


def _item(value: Any) -> Any:
    """Returns the one element of an array or a tensor; None for what is no number though it reads as one."""
    if getattr(getattr(value, "dtype", None), "kind", "") in ("M", "m"):  # dates and durations
        return None
    try:
        item = value.item() if hasattr(value, "item") and not isinstance(value, Mapping) else value
    except Exception:  # it has several
        return None
    return None if isinstance(item, (str, bytes, bytearray)) else item


def to_iteration(iteration: Any) -> int:
    plain = _item(iteration)
    try:
        if not isinstance(plain, bool):
            return operator.index(plain)
    except Exception:  # also of the value's own methods
        pass
    try:
        if not isinstance(plain, bool) and math.isfinite(float(plain)) and plain == int(plain):
            return int(plain)
    except Exception:
        pass
    raise ArgumentError("iteration", iteration, "a whole number, or None for single values")


def checked_levels(levels: Sequence[str]) -> tuple[str, ...]:
    given = None if isinstance(levels, str) else iterator_of(levels)
    names = (levels,) if given is None else tuple(given)
    if not _are_different_texts(names) or names.count("metric") != 1:
        raise ArgumentError(
            "levels", levels, "a name for each level of the dict, one of them 'metric': ('split', 'metric')"
        )
    for name in names:
        if name in TASK_FIELDS:
            raise UnknownFieldError(name)
    return names


def _are_different_texts(names: tuple[Any, ...]) -> bool:
    return all(isinstance(name, str) for name in names) and len(set(names)) == len(names)


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
        where = " → ".join(map(shown, path)) or "the outermost level"
        raise ReportError(
            f"levels={levels!r} was given for a dict of {len(levels)} levels, but at {where} there is "
            f"{shown(values)}; name as many levels as the dict has"
        )
    for key, item in values.items():
        yield from flatten_nested(item, levels, context, (*path, key))
