"""What a line of a run log must hold; a log with any other line is not used."""

from __future__ import annotations

import functools
import math
import operator
import re
from typing import TYPE_CHECKING, Any

import attrs

from .._model.stats import Stats
from .._model.status import ENDED
from .._text import is_storable, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ID = re.compile("[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_MAX_INTEGER, _MAX_NUMBER = 2**63, 2**1023
_MAX_TIME = 2.5e11
"""Seconds since 1970, in the year 9892: what `datetime` can show everywhere."""


def problem_of(line: Mapping[str, Any]) -> str:
    """Says what is wrong with a line; empty if nothing is, or if its event is none that is read here."""
    event = line.get("event")
    for name, is_required, is_valid in _CHECKS.get(event, ()) if isinstance(event, str) else ():
        if name not in line:
            if is_required:
                return f"has a line {event!r} without {name!r}"
        elif not is_valid(line[name]):
            return problem_with(line, name)
    return ""


def problem_with(line: Mapping[str, Any], field: str) -> str:
    """Says that a field of a line is not what it must be."""
    return f"has a line {line['event']!r} in which {field!r} is {shortened(repr(line[field]), 60)}"


def is_id(value: Any) -> bool:
    """Whether a value may be the id of a task, a run or a group, which names files, too."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and is_storable(value)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return type(value) is int and abs(value) < _MAX_INTEGER


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < _MAX_NUMBER)


def _is_time(value: Any) -> bool:
    return _is_number(value) and 0 <= value < _MAX_TIME


def _is_duration(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)


def _is_ending(value: Any) -> bool:
    return isinstance(value, str) and value in ENDED


def _is_mode(value: Any) -> bool:
    return value in ("online", "offline", "agent")


def _or_none(is_valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or is_valid(value)


def _is_parameters(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value))


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _list_of(is_valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(is_valid, value))


def _row(*checks: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Makes the check of a list that has one value for each of the checks."""

    def is_row(value: Any) -> bool:
        if not isinstance(value, list) or len(value) != len(checks):
            return False
        return all(is_valid(part) for is_valid, part in zip(checks, value, strict=True))

    return is_row


def _is_context(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_context_value, value.values()))


def _is_context_value(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and not any(isinstance(part, (list, dict)) for part in value)
    return not isinstance(value, dict)


_SKIPPED = (_is_integer, _or_none(_is_integer), _is_flag)
_is_skipped = _row(*_SKIPPED)
"""Whether a value is what `MetricData.skipped_to_json` gives."""
_is_series = _row(_is_text, _is_context, *_SKIPPED)
"""Whether a value is what `skipped_to_json` gives."""
_is_names = _list_of(_row(_is_text, _is_text, _is_text, _is_context))
"""Whether a value is what `names_to_json` gives."""
_are_titles_and_series = _list_of(_row(_is_text, _is_text))


def is_measure(value: Any) -> bool:
    """Whether a value is what `MetricData.to_json` gives, in this version or an earlier one."""
    if not isinstance(value, list) or len(value) not in (3, 4, 5):
        return False
    metric, context, stats, names = (*value, [])[:4]
    return (
        (len(value) < 5 or _is_skipped(value[4]))
        and are_words(metric, context, names)
        and (are_listed_stats(stats) if isinstance(stats, list) else _are_stats(stats))
    )


def are_words(metric: Any, context: Any, names: Any) -> bool:
    """Whether these are the metric, the context and the names of a measure."""
    return _is_text(metric) and _is_context(context) and _are_titles_and_series(names)


def are_listed_stats(stats: list[Any]) -> bool:
    """Whether a list is what `Stats.to_json` gives."""
    integers_in = _integers_in(tuple(map(type, stats)))
    if integers_in is None:
        return False
    integers = integers_in(stats)
    if min(integers) > -_MAX_INTEGER and max(integers) < _MAX_INTEGER:
        return True
    return _are_stats(dict(zip(_STATS, stats, strict=False)))  # which integers are too large


@functools.lru_cache(maxsize=256)
def _integers_in(kinds: tuple[type, ...]) -> Callable[[list[Any]], tuple[int, ...]] | None:
    """Makes what takes the integers out of statistics of these types; None if no statistics have them."""
    allowed = [types for types, _ in _STATS.values()]
    if len(kinds) > len(allowed) or not all(map(operator.contains, allowed, kinds)):
        return None
    places = [place for place, kind in enumerate(kinds) if kind is int]
    # An `itemgetter` of one place gives no tuple.
    return operator.itemgetter(*places, *places) if places else lambda stats: (0,)


def _are_stats(stats: Any) -> bool:
    """Whether a value is a dict of statistics, as earlier versions wrote it."""
    if not isinstance(stats, dict):
        return False
    for name, stat in stats.items():
        types, limit = _STATS.get(name, _NO_STAT)
        if type(stat) not in types or (type(stat) is int and abs(stat) >= limit):
            return False
    return True


_STATS: dict[str, tuple[tuple[type, ...], int]] = {
    field.name: {
        "int": ((int,), _MAX_INTEGER),
        "bool": ((bool,), 0),
        "float": ((float, int), _MAX_NUMBER),
    }.get(str(field.type), ((int, type(None)), _MAX_INTEGER))
    for field in attrs.fields(Stats)
}
"""The types that each field of `Stats` may have, and which absolute value an integer must not reach."""
_NO_STAT: tuple[tuple[type, ...], int] = ((), 0)
_FIELDS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "run": {
        "group": is_id,
        "project": _is_text,
        "name": _is_text,
        "run": is_id,
        "number": _is_integer,
        "template": _is_text,
        "mode": _is_mode,
        "parent": _or_none(is_id),
        "owns_parent": _is_flag,
        "shared?": _or_none(_is_text),
        "time?": _is_time,
    },
    "script": {"pid": _is_integer, "script": _or_none(_is_parameters), "warnings?": _is_list},
    "opening": {"key": _is_text, "attempt": _is_integer},
    "task": {
        "id": is_id,
        "key": _is_text,
        "name": _is_text,
        "index": _is_integer,
        "attempt": _is_integer,
        "params": _is_parameters,
        "session?": _is_integer,
        "time?": _is_time,
    },
    "end": {
        "id": is_id,
        "status": _is_ending,
        "reason": _is_text,
        "settled?": _is_flag,
        "params?": _is_parameters,
        "duration?": _is_duration,
        "measures?": _is_list,
    },
    "told": {"id": is_id, "status?": _is_ending, "reason?": _is_text, "measures?": _is_list},
    "params": {"id": is_id, "params": _is_parameters},
    "names": {"id": is_id, "names": _is_names},
    "skipped": {"id": is_id, "series": _is_series},
    "settled": {"id": is_id, "status?": _is_ending, "reason?": _is_text},
    "uploaded": {"id?": is_id, "to?": is_id},
    "close": {"status": _is_ending, "reason": _is_text, "settled?": _is_flag},
}
"""The fields of each event, and what each must be; a line may lack those with a question mark.

What is in `measures` is checked where it is read, by `MetricsReader`.
"""
_CHECKS = {
    event: [(field.rstrip("?"), not field.endswith("?"), is_valid) for field, is_valid in fields.items()]
    for event, fields in _FIELDS.items()
}
"""Name, whether a line must have it, and what it must be."""
