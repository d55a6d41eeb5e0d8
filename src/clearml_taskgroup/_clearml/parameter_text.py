"""Reads a task's parameters on the server back into Python values, also those that a person has edited.

A server stores a parameter as text with the name of its type. The task's identity holds it as typed
JSON too. If the text means the same as the JSON, the parameter is unedited. Text is read as a value of a
plain type; a value of another class is one that the script has, found by its text, or a member of its enum.
"""

from __future__ import annotations

import ast
import enum
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._model.parameter_json import is_same_json, typed_json
from .._model.value_json import ADDRESS
from ..errors import AgentParameterError, ParameterError
from .hyperparameters import parameter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_NOTHING = ("", "None", "null")
_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
_KINDS = {bool: "bool", int: "number", float: "number", type(None): "NoneType", str: "str", list: "list"}
_NUMBER_KIND = re.compile(r"u?int\d*|float\d*|number")


def read(
    general: Mapping[str, Mapping[str, Any]], stored: Mapping[str, Any], known: Mapping[str, Iterable[Any]]
) -> tuple[dict[str, Any], list[str]]:
    """Reads a task's parameters.

    Args:
        general: The task's section `General`.
        stored: The parameters as they were submitted, as stored JSON.
        known: The values that the script has for each parameter; enums and objects are looked up there.

    Returns:
        The parameters, without those that were removed; and the names of all that were edited.

    Raises:
        AgentParameterError: A text cannot be read as a value of the parameter's type.
    """
    edited = [name for name in stored if name not in general]
    params = {}
    for name in (name for name in stored if name in general):
        params[name] = value = _read_one(name, general[name], stored[name], list(known.get(name, ())))
        if not _is(value, stored[name]):
            edited.append(name)
    return params, edited


def _read_one(name: str, item: Mapping[str, Any], stored: Any, known: list[Any]) -> Any:
    text, kind = str(item.get("value") or ""), _kind(str(item.get("type") or ""), stored)
    own = [value for value in known if _written(value) == ADDRESS.sub("", text)]
    read_as = list(_readings(text, kind, own, known))
    values = [value for value in (*own, *read_as) if _is(value, stored)] or read_as
    for value in values:
        try:
            typed_json(value, name)
        except ParameterError:  # NaN
            continue
        return value
    raise AgentParameterError(
        name,
        f"of the agent's task is {text!r}, which cannot be read as {_expected(kind, known)}",
        "fix it in the task's section General, and enqueue the task again",
    )


def _kind(kind: str, stored: Any) -> str:
    """Gives the type that was stored; an edit may have lost it, or replaced it by `str`."""
    is_lost = not kind or (kind == "str" and not isinstance(stored, str))
    return _KINDS.get(type(stored), "value of its type") if is_lost else kind.removesuffix("_")


def _readings(text: str, kind: str, own: list[Any], known: list[Any]) -> Iterator[Any]:
    """Gives what a text may mean, the likeliest first.

    Args:
        text: The text.
        kind: The name of the type that the parameter had.
        own: The script's values that are written so.
        known: All values that the script has for the parameter, which may be of several types.
    """
    yield from (value for value in own if type(value).__name__ == kind)
    yield from _as(kind, text)
    yield from own
    types = dict.fromkeys(map(type, known))
    for cls in types:
        if issubclass(cls, enum.Enum):
            for name, member in cls.__members__.items():
                if text in (name, f"{cls.__name__}.{name}", str(member)):
                    yield member
    for cls in types:
        yield from _as(cls.__name__.removesuffix("_"), text)
    if kind == "NoneType":
        yield _literal(text)


def _is(value: Any, stored: Any) -> bool:
    try:
        return is_same_json(typed_json(value), stored)
    except ParameterError:
        return False


def _written(value: Any) -> str:
    """Writes a value as the server has it, without addresses, which are others in each process."""
    return ADDRESS.sub("", parameter("General", "", value)["value"])


def _expected(kind: str, known: list[Any]) -> str:
    expected = f"{'an' if kind[:1] in 'aeiou' else 'a'} {kind}"
    if kind == "NoneType" or not known or isinstance(known[0], (bool, int, float, str)):
        return expected
    return f"{expected} (this script has {', '.join(repr(_written(value)) for value in known[:6])})"


def _as(kind: str, text: str) -> list[Any]:
    """Reads a text as a value of a type that is given by its name; gives no value if it is none."""
    if kind == "str":
        return [text]
    text = text.strip()
    if kind == "bool":
        return [_BOOLS[text.lower()]] if text.lower() in _BOOLS else []
    if kind == "NoneType":
        return [None] if text in _NOTHING else []
    if kind in _PATHS:
        return [Path(text)]
    if _NUMBER_KIND.fullmatch(kind):
        return _as_number(kind, text)
    value = _literal(text)
    if kind in ("list", "tuple") and isinstance(value, (list, tuple)):
        return [list(value) if kind == "list" else tuple(value)]
    return [value] if type(value).__name__ == kind else []


def _as_number(kind: str, text: str) -> list[int | float]:
    conversions: tuple[type[int | float], ...] = (float,) if kind.startswith("float") else (int, float)
    for conversion in conversions:
        try:
            number = conversion(text)
        except ValueError:
            continue
        if "int" not in kind:
            return [number]
        return [int(number)] if number % 1 == 0 else []
    return []


def _literal(text: str) -> Any:
    """Reads JSON, or a literal of Python's; anything else is text."""
    for reads in (json.loads, ast.literal_eval):
        try:
            return reads(text)
        except (ValueError, SyntaxError):
            continue
    return text
