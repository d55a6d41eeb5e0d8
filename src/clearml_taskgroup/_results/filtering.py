"""Which rows are meant: by parameters, by a row's own facts, by a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .._clearml.hyperparameters import stored_parameters
from .._model.identity import flatten, is_same_json, typed_json
from .._text import closest
from ..errors import ArgumentError, NoSuchParameterError, ParameterError

if TYPE_CHECKING:
    from .rows import Row


FACTS = ("status", "key", "name", "index", "id", "attempt")
"""What rows can be chosen by besides their parameters."""
STATUSES = ("created", "queued", "in_progress", "completed", "failed", "stopped")


def chosen(
    rows: Sequence[Row], wanted: Mapping[str, Any] | Callable[[Row], Any] | None, more: Mapping[str, Any]
) -> list[Row]:
    """Chooses rows; see `Results.where`.

    Raises:
        ArgumentError: No task has such a parameter, or the value is of another type than theirs.
    """
    is_wanted = None
    if wanted is not None and not isinstance(wanted, Mapping):
        if not callable(wanted):
            raise ArgumentError("where", wanted, "a dict of parameters, or a function that is given a row")
        is_wanted, wanted = wanted, None
    known = {name for row in rows for name in row.params}
    asked = {name: _typed(name, value) for name, value in flatten({**(wanted or {}), **more}).items()}
    facts = {name: asked.pop(name) for name in FACTS if name in asked and name not in known}
    for name, value in facts.items():
        if name == "status" and value not in STATUSES:
            close = closest(value, STATUSES)
            hint = f"; did you mean {close!r}?" if close is not None else ""
            raise ArgumentError("status", value, f"one of {', '.join(STATUSES)}{hint}")
    for name, value in asked.items():
        require_parameter(rows, "where", name)
        _require_type(rows, name, value)
    return [
        row
        for row in rows
        if has_parameters(row.params, asked)
        and all(str(getattr(row, name)) == str(value) for name, value in facts.items())
        and (is_wanted is None or is_wanted(row))
    ]


def has_parameters(params: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tells whether parameters have these values, given in typed form."""
    have = stored_parameters(params)
    return all(name in have and is_same_json(have[name], value) for name, value in wanted.items())


def require_parameter(rows: Sequence[Row], argument: str, name: str, call: str = "") -> None:
    """Checks that some task has a parameter.

    Args:
        rows: The tasks.
        argument: What it is asked for by.
        name: The parameter.
        call: The call that asks for it where nobody gave it.

    Raises:
        NoSuchParameterError: None of them has it.
    """
    known = list(dict.fromkeys(name for row in rows for name in row.params))
    if name not in known and rows:
        expected = f"one of the parameters {', '.join(known) or '(none)'}"
        raise NoSuchParameterError(argument, name, expected, call, known)


def names_of(over: str | Sequence[str]) -> tuple[str, ...]:
    """Reads one name or several.

    Raises:
        ArgumentError: It is neither.
    """
    names = (over,) if isinstance(over, str) else tuple(over) if isinstance(over, Iterable) else (over,)
    if not all(isinstance(name, str) for name in names):
        raise ArgumentError("over", over, "the name of a parameter, or a list of names")
    return names


def _typed(name: str, value: Any) -> Any:
    try:
        return typed_json(value, name)
    except ParameterError:
        raise ArgumentError(name, value, _A_FUNCTION.format(f"row.params[{name!r}] …")) from None


_A_FUNCTION = "one value, which can be compared; for all else write where(lambda row: {})"


def _require_type(rows: Sequence[Row], name: str, value: Any) -> None:
    """Refuses a value that no task has, where some have one that reads alike."""
    have = [row.params[name] for row in rows if name in row.params]
    if any(has_parameters({name: one}, {name: value}) for one in have):
        return
    for one in have:
        if isinstance(value, list) and any(has_parameters({name: one}, {name: item}) for item in value):
            raise ArgumentError(name, value, _A_FUNCTION.format(f"row.params[{name!r}] in {value!r}"))
        if _reads_alike(one, value):
            raise ArgumentError(name, value, f"{one!r} ({type(one).__name__}), as the tasks have it")


def _reads_alike(one: Any, other: Any) -> bool:
    if str(one) == str(other):
        return True
    try:
        return float(one) == float(other)
    except (TypeError, ValueError, OverflowError):
        return False
