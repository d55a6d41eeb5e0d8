"""What a line of a run log must hold; a log with any other line is not used."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import attrs

from .._model.stats import Stats
from .._model.status import ENDED
from .._text import shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ID = re.compile("[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_MAX_TIME = 2.5e11
"""Seconds since 1970, in the year 9892: what `datetime` can show everywhere."""


def problem_of(line: Mapping[str, Any]) -> str:
    """Says what is wrong with a line; empty if nothing is, or if its event is none that is read here."""
    event = line.get("event")
    fields = _FIELDS.get(event, {}) if isinstance(event, str) else {}
    for field, is_valid in fields.items():
        name = field.removesuffix("?")
        if name not in line:
            if name == field:
                return f"has a line {event!r} without {name!r}"
        elif not is_valid(line[name]):
            return f"has a line {event!r} in which {name!r} is {shortened(repr(line[name]), 60)}"
    return ""


def is_id(value: Any) -> bool:
    """Whether a value may be the id of a task, a run or a group, which names files, too."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return type(value) is int and abs(value) < 2**63


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < 2**1023)


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


def _is_measures(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_measure, value))


def _is_measure(value: Any) -> bool:
    """Whether a value is what `MetricData.to_json` gives."""
    if not isinstance(value, list) or len(value) not in (3, 4, 5):
        return False
    metric, context, stats, names = (*value, [])[:4]
    return (
        (len(value) < 5 or _is_skipped(value[4]))
        and _is_text(metric)
        and isinstance(context, dict)
        and all(map(_is_context_value, context.values()))
        and isinstance(stats, dict)
        and all(name in _STATS and _STATS[name](stat) for name, stat in stats.items())
        and isinstance(names, list)
        and all(isinstance(name, list) and len(name) == 2 and all(map(_is_text, name)) for name in names)
    )


def _is_skipped(value: Any) -> bool:
    """Whether a value is what `MetricData.skipped_to_json` gives."""
    return (
        isinstance(value, list)
        and len(value) == 3
        and _is_integer(value[0])
        and _or_none(_is_integer)(value[1])
        and _is_flag(value[2])
    )


def _is_series(value: Any) -> bool:
    """Whether a value is what `skipped_to_json` gives."""
    return (
        isinstance(value, list)
        and len(value) == 5
        and _is_text(value[0])
        and isinstance(value[1], dict)
        and all(map(_is_context_value, value[1].values()))
        and _is_skipped(value[2:])
    )


def _is_names(value: Any) -> bool:
    """Whether a value is what `names_to_json` gives."""
    return isinstance(value, list) and all(
        isinstance(one, list)
        and len(one) == 4
        and all(map(_is_text, one[:3]))
        and isinstance(one[3], dict)
        and all(map(_is_context_value, one[3].values()))
        for one in value
    )


def _is_context_value(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and not any(isinstance(part, (list, dict)) for part in value)
    return not isinstance(value, dict)


_STATS: dict[str, Callable[[Any], bool]] = {
    field.name: {"int": _is_integer, "bool": _is_flag, "float": _is_number}.get(
        str(field.type), _or_none(_is_integer)
    )
    for field in attrs.fields(Stats)
}
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
        "measures?": _is_measures,
    },
    "told": {"id": is_id, "status?": _is_ending, "reason?": _is_text, "measures?": _is_measures},
    "params": {"id": is_id, "params": _is_parameters},
    "names": {"id": is_id, "names": _is_names},
    "skipped": {"id": is_id, "series": _is_series},
    "settled": {"id": is_id, "status?": _is_ending, "reason?": _is_text},
    "uploaded": {"id?": is_id, "to?": is_id},
    "close": {"status": _is_ending, "reason": _is_text, "settled?": _is_flag},
}
"""The fields of each event, and what each must be; a line may lack those with a question mark."""
