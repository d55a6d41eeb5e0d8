"""Reads a task's parameters on the server back into Python values, also those that a person has edited.

A server stores a parameter as text with the name of its type. The task's identity holds it as typed
JSON too. If the text means the same as the JSON, the parameter is unedited.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import json
import re
import sys
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from .._model.parameter_json import is_same_json, typed_json
from ..errors import AgentParameterError, ParameterError
from .hyperparameters import parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_NOTHING = ("", "None", "null")
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, SyntaxError, TypeError, ValueError)


@attrs.frozen
class Text:
    """A parameter as a server stores it.

    Attributes:
        value: The text.
        type: The name of the value's type; empty if unknown.
    """

    value: str
    type: str = ""


def read(
    texts: Mapping[str, Text], stored: Mapping[str, Any], known: Mapping[str, Iterable[Any]]
) -> tuple[dict[str, Any], list[str]]:
    """Reads a task's parameters.

    Args:
        texts: The task's section `General`.
        stored: The parameters as they were submitted, in typed JSON.
        known: The values that the script has for each parameter; enums and objects are looked up there.

    Returns:
        The parameters, without those that were removed; and the names of all that were edited.

    Raises:
        AgentParameterError: A text cannot be read as a value of the parameter's type.
    """
    edited = [name for name in stored if name not in texts]
    params = {}
    for name in (name for name in stored if name in texts):
        params[name], as_it_was = _read_one(name, texts[name], stored[name], list(known.get(name, ())))
        if not as_it_was:
            edited.append(name)
    return params, edited


def _read_one(name: str, text: Text, stored: Any, known: list[Any]) -> tuple[Any, bool]:
    """Gives a parameter's value, and whether it is the one that was submitted."""
    text = attrs.evolve(text, type=_kind(text.type, stored))
    written = [value for value in known if _written(value) == text.value]
    for value in written:
        if _is(value, stored):
            return value, True
    as_cast = _attempts(lambda: _cast(text.value, text.type))
    as_stored = [v for v in _attempts(lambda: decoded(stored, text.type)) if _written(v) == text.value]
    for value in (*as_cast, *as_stored):
        if _is(value, stored):
            return value, True
    kinds = dict.fromkeys(type(value).__name__ for value in known)
    like_known = [v for kind in kinds for v in _attempts(partial(_cast, text.value, kind))]
    members = _attempts(lambda: _member(text.value, stored))
    same_type = [value for value in written if type(value).__name__ == text.type]
    guesses = _attempts(lambda: _literal(text.value)) if text.type == "NoneType" else []
    for value in (*same_type, *as_cast, *members, *written, *like_known, *guesses):
        try:
            typed_json(value, name)
        except ParameterError:  # NaN
            continue
        return value, False
    raise AgentParameterError(
        name,
        f"of the agent's task is {text.value!r}, which cannot be read as {_expected(text.type, known)}",
        "fix it in the task's section General, and enqueue the task again",
    )


_KINDS = {bool: "bool", int: "number", float: "number", type(None): "NoneType", str: "str", list: "list"}


def _kind(kind: str, stored: Any) -> str:
    """Gives the type that was stored; an edit may have lost it, or replaced it by `str`."""
    is_lost = not kind or (kind == "str" and not isinstance(stored, str))
    return _KINDS.get(type(stored), "value of its type") if is_lost else kind


def _attempts(make: Callable[[], Any]) -> list[Any]:
    try:
        return [make()]
    except _UNREADABLE:
        return []


def _is(value: Any, stored: Any) -> bool:
    try:
        return is_same_json(typed_json(value), stored)
    except ParameterError:
        return False


def _written(value: Any) -> str:
    return parameter("General", "", value)["value"]


def _expected(kind: str, known: list[Any]) -> str:
    if kind == "NoneType" or not known or isinstance(known[0], (bool, int, float, str)):
        return f"{'an' if kind[:1] in 'aeiou' else 'a'} {kind}"
    choices = ", ".join(repr(_written(value)) for value in known[:6])
    return f"{'an' if kind[:1] in 'aeiou' else 'a'} {kind} (this script has {choices})"


def _cast(text: str, kind: str) -> Any:
    """Converts text to a type that is given by its name, also one of numpy's."""
    text = text if kind in ("str", "str_") else text.strip()
    if kind in ("bool", "bool_"):
        return _BOOLS[text.lower()]
    if re.fullmatch(r"u?int\d*", kind):
        try:
            return int(text)
        except ValueError:
            number = float(text)
            if not number.is_integer():
                raise
            return int(number)
    if kind == "number":
        try:
            return int(text)
        except ValueError:
            return float(text)
    if re.fullmatch(r"float\d*", kind):
        return float(text)
    if kind == "NoneType" and text in _NOTHING:
        return None
    if kind in _CASTS:
        return _CASTS[kind](text)
    raise ValueError(kind)


def _literal(text: str) -> Any:
    for reads in (json.loads, ast.literal_eval):
        try:
            return reads(text)
        except (ValueError, SyntaxError):
            continue
    return text


def _items(text: str) -> Any:
    items = _literal(text)
    if not isinstance(items, (list, tuple, set)):
        raise ValueError(text)
    return items


def _frozen(text: str) -> frozenset[Any]:
    inside = re.fullmatch(r"frozenset\((.*)\)", text, re.DOTALL)
    return frozenset(_items((inside[1] or "[]") if inside else text))


def _set(text: str) -> set[Any]:
    return set() if text == "set()" else set(_items(text))


def _mapping(text: str) -> dict[Any, Any]:
    value = ast.literal_eval(text)
    if not isinstance(value, dict):
        raise ValueError(text)
    return value


def _bytes(text: str) -> bytes:
    value = ast.literal_eval(text)
    if not isinstance(value, bytes):
        raise ValueError(text)
    return value


_CASTS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "str_": str,
    "list": lambda text: list(_items(text)),
    "tuple": lambda text: tuple(_items(text)),
    "set": _set,
    "frozenset": _frozen,
    "dict": _mapping,
    "bytes": _bytes,
    "complex": complex,
    "Decimal": Decimal,
    "Fraction": Fraction,
    **dict.fromkeys(("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"), Path),
}


def _member(text: str, stored: Any) -> Any:
    """Finds the member of the stored enum's class that the text names."""
    if not isinstance(stored, dict) or "enum" not in stored:
        raise ValueError(text)
    members: list[Any] = list(_found(stored["enum"].rpartition(".")[0]))
    named = [one for one in members if text in (str(one), one.name, f"{type(one).__name__}.{one.name}")]
    return named[0]


def decoded(stored: Any, kind: str = "") -> Any:
    """Converts stored JSON back to a value, with the classes and functions that the script has imported.

    Args:
        stored: The result of `stored_json`.
        kind: The name of the value's type; empty if unknown.

    Raises:
        ValueError, AttributeError, TypeError, LookupError: It cannot be converted.
    """
    if isinstance(stored, list):
        items = [decoded(item) for item in stored]
        return tuple(items) if kind == "tuple" else items
    if isinstance(stored, int) and not isinstance(stored, bool) and kind.startswith("float"):
        return float(stored)
    if not isinstance(stored, dict):
        return stored
    ((form, content),) = stored.items()
    return _FORMS[form](content, kind)


def _number(content: str, kind: str) -> Any:
    number = Fraction(content)
    return Decimal(number.numerator) / Decimal(number.denominator) if kind == "Decimal" else number


def _object(content: Any, kind: str) -> Any:
    qualified, fields = content
    made = _found(qualified)
    if not isinstance(made, type) or not (dataclasses.is_dataclass(made) or attrs.has(made)):
        raise ValueError(qualified)  # nothing else is called because a stored text says so
    return made(**{name.lstrip("_"): decoded(value) for name, value in fields.items()})


def _enum(content: str, kind: str) -> Any:
    member = _found(content)
    if not isinstance(member, enum.Enum):
        raise ValueError(content)
    return member


_FORMS: dict[str, Callable[[Any, str], Any]] = {
    "path": lambda content, kind: Path(content),
    "bytes": lambda content, kind: bytes.fromhex(content),
    "float": lambda content, kind: float(content),
    "number": _number,
    "set": lambda content, kind: (frozenset if kind == "frozenset" else set)(map(decoded, content)),
    "map": lambda content, kind: {decoded(key): decoded(value) for key, value in content},
    "enum": _enum,
    "class": lambda content, kind: _found(content),
    "function": lambda content, kind: _found(content),
    "object": _object,
}


def _found(qualified: str) -> Any:
    """Finds an object by its module path, in a module that is imported already."""
    parts = qualified.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        thing: Any = sys.modules.get(".".join(parts[:cut]))
        if thing is not None:
            for part in parts[cut:]:
                thing = getattr(thing, part)
            return thing
    raise LookupError(qualified)
