"""Converts the arguments of `report`: numbers, iterations, nested dicts. Pure."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

from .._text import shown
from ..errors import ArgumentError, MetricValueError, ReportError, UnknownFieldError
from .arguments import iterator_of
from .name_template import TASK_FIELDS

MAX_STORED_NUMBER = 3.4e38
"""Larger numbers, NaN and ±inf are skipped: a ClearML server refuses the whole batch that has one."""


PLAIN_NUMBERS: set[type] = {float}
"""Types that were found to be numbers, as numpy's scalars are: `float` is all that their values need."""


def to_float(metric: Any, value: Any) -> float:
    """Converts a number of Python or numpy, or a tensor of one element; text is refused."""
    kind = type(value)
    if kind is int or kind is bool:
        plain = value
    else:
        plain = _item(value)
        if getattr(getattr(value, "dtype", None), "kind", "") in ("f", "i", "u", "b") and _is_scalar(kind):
            PLAIN_NUMBERS.add(kind)
    try:
        if plain is not None:
            return float(plain)
    except OverflowError:
        return math.inf if plain > 0 else -math.inf
    except Exception:  # also of the value's own methods
        pass
    raise MetricValueError(metric, value)


def _is_scalar(kind: type) -> bool:
    """Whether a type is one of numpy's own scalars, without a subclass's methods."""
    return kind.__module__ == "numpy" and any(base.__name__ == "generic" for base in kind.__mro__)


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
    are_texts = all(isinstance(name, str) for name in names)
    if not are_texts or len(set(names)) < len(names) or "metric" not in names:
        raise ArgumentError(
            "levels", levels, "a name for each level of the dict, one of them 'metric': ('split', 'metric')"
        )
    for name in names:
        if name in TASK_FIELDS:
            raise UnknownFieldError(name)
    return names


def flatten_nested(
    values: Any, levels: tuple[str, ...], context: dict[str, Any]
) -> list[tuple[dict[str, Any], Mapping[str, Any]]]:
    """Takes a nested dict apart: for each context, metric → number.

    Args:
        values: The dict.
        levels: What each level of its keys stands for, as `checked_levels` returns it.
        context: More context, for all of it.

    Raises:
        ReportError: It has fewer levels, or context is given twice.
    """
    for field in levels:
        if field in context:
            raise ReportError(f"{field!r} was given both as a level of the dict and as {field}=; keep one")
    *outer, innermost = levels
    dicts = _at_level(values, levels, len(outer))
    if innermost == "metric":  # each of these dicts is a report
        return [({**context, **dict(zip(outer, path, strict=True))}, found) for path, found in dicts]
    place = outer.index("metric")
    fields = (*outer[:place], *outer[place + 1 :], innermost)
    parts: list[tuple[dict[str, Any], Mapping[str, Any]]] = []
    known: dict[tuple[Any, ...], dict[Any, dict[str, Any]]] = {}
    for path, found in dicts:
        metric, around = path[place], (*path[:place], *path[place + 1 :])
        by_key = known.setdefault((around, *map(type, around)), {})  # 1 == True, and their texts differ
        for key, value in found.items():
            known_as = key if type(key) is str else (type(key), key)
            metrics = by_key.get(known_as)
            if metrics is None:
                metrics = by_key[known_as] = {}
                parts.append(({**context, **dict(zip(fields, (*around, key), strict=True))}, metrics))
            metrics[metric] = value
    return parts


def _at_level(
    values: Any, levels: tuple[str, ...], depth: int
) -> list[tuple[tuple[Any, ...], Mapping[Any, Any]]]:
    """Finds the dicts below so many levels of keys, with these keys."""
    found: list[tuple[tuple[Any, ...], Any]] = [((), values)]
    for level in range(depth + 1):
        if level:
            found = [((*path, key), item) for path, items in found for key, item in items.items()]
        for path, items in found:
            if type(items) is not dict and not isinstance(items, Mapping):
                where = " → ".join(map(shown, path)) or "the outermost level"
                raise ReportError(
                    f"levels={levels!r} was given for a dict of {len(levels)} levels, but at {where} there "
                    f"is {shown(items)}; name as many levels as the dict has"
                )
    return found
