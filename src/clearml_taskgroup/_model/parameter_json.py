"""Parameter values as JSON that keeps their types, for keys and for storage, and back. Pure.

Three forms: the *stored* form keeps 1.0 and 1 apart, the *typed* form, of which keys are made, does not, and
the *plain* form is what results show: a value as it was given if it consists of None, bools, numbers, text,
bytes, lists, sets and dicts; anything else as its text.
"""

from __future__ import annotations

import copy
import json
import math
from typing import TYPE_CHECKING, Any

from .._text import is_storable

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DEPTH = 100
"""The most levels of a value: lists in lists."""
MAX_TEXT_CHARS = 10_000
"""The most characters of the text that is stored in the place of an object."""
GIVE_KEY = "give key= to name the task yourself"

_MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_ATOMS = (type(None), bool, int, float, complex, str, bytes)


def typed_json(value: Any, name: str = "value") -> Any:
    """Converts a value to JSON that is equal for equal values; keys are hashed from it.

    Text, bools, None and finite numbers stay as they are, lists and tuples become lists. Anything
    else becomes an object with one entry, its kind: `{"set": […]}`, `{"path": "a/b"}`,
    `{"enum": "module.Class.NAME"}`, `{"function": "module.name"}`, `{"object": […]}`.

    Args:
        value: A parameter's value.
        name: The parameter's name, for error messages.

    Raises:
        ParameterError: The value is NaN, a lambda, a local class or function, an object that is known only
            by its `repr`, or it cannot be stored.
    """
    return canonical(stored_json(value, name))


def stored_json(value: Any, name: str = "value", *, lenient: bool = False) -> Any:
    """Converts a value to the JSON that tasks store: `typed_json` whose floats stay floats.

    Args:
        value: A parameter's value.
        name: The parameter's name, for error messages.
        lenient: Whether a value that cannot be part of an identity is stored as its `repr`.

    Raises:
        ParameterError: As for `typed_json`; with `lenient`, only if the value cannot be stored: it is nested
            too deeply or within itself, too large, or has text that is not Unicode.
    """
    if _is_simple(value):
        return value
    from .value_json import Converter

    return Converter(lenient).convert(value, name)


def _is_simple(value: Any) -> bool:
    """Whether a value is its own stored form, as far as that can be seen at once."""
    kind = type(value)
    if kind is int:
        return bool(value.bit_length() < 64)
    if kind is str:
        return is_storable(value)
    if kind is float:
        return math.isfinite(value)
    return value is None or kind is bool


def canonical(stored: Any) -> Any:
    """Converts the stored form to the typed form: whole floats to integers, and no texts for people."""
    if isinstance(stored, float):
        return int(stored) if stored.is_integer() else stored
    if isinstance(stored, list):
        return [canonical(item) for item in stored]
    if not isinstance(stored, dict) or len(stored) != 1:
        return stored
    ((kind, content),) = stored.items()
    if kind == "object" and isinstance(content, list) and isinstance(content[-1], dict):
        fields = {field: canonical(value) for field, value in content[-1].items()}
        return {kind: [*content[:-1], fields]}
    if kind == "repr" and isinstance(content, list):
        return {kind: content[:2]}
    return {kind: canonical(content)}


def dumped(typed: Any) -> str:
    """Writes the typed form as text, the same for equal values."""
    return json.dumps(typed, sort_keys=True, separators=(",", ":"))


def is_same_json(one: Any, other: Any) -> bool:
    """Whether two values in stored or typed form are the same; `==` takes True and 1 for equal."""
    if type(one) is type(other) and type(one) in (str, int, bool, float):
        return bool(one == other)
    return dumped(canonical(one)) == dumped(canonical(other))


def copied(value: Any) -> Any:
    """Copies a value deeply; what cannot be copied (a lock, a generator) stays the same object."""
    if type(value) in _ATOMS:
        return value
    try:
        return copy.deepcopy(value)
    except Exception:
        return value


def copied_parameters(params: Mapping[str, Any]) -> dict[str, Any]:
    """Copies parameters with their values."""
    return {name: copied(value) for name, value in params.items()}


# --- from JSON -------------------------------------------------------------------------------------


def plain(stored: Any) -> Any:
    """Converts the stored form, also of earlier versions, to a value; nothing is imported.

    Returns:
        None, a bool, a number, text, bytes, a list, a set or a dict; anything else as its text. Within a
        set and as the key of a dict a list is a tuple.
    """
    if type(stored) in _ATOMS:
        return stored
    try:
        return _plain(stored, hashable=False)
    except _MALFORMED:  # edited in the web page
        return stored if isinstance(stored, str) else json.dumps(stored)


def plain_parameters(params: Mapping[str, Any]) -> dict[str, Any]:
    """Converts parameters to what results show: as if they had been stored and read again."""
    return {
        name: value if _is_simple(value) else plain(stored_json(value, name, lenient=True))
        for name, value in params.items()
    }


def literal(value: Any) -> str:
    """Like `repr`, but the same in every process: the members of sets are sorted."""
    return _repr(stored_json(value, lenient=True))


def _plain(stored: Any, hashable: bool) -> Any:
    if isinstance(stored, list):
        items = [_plain(item, hashable) for item in stored]
        return tuple(items) if hashable else items
    if not isinstance(stored, dict):
        return stored
    ((kind, content),) = stored.items()
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "float":
        return float(content)
    if kind == "number":
        from fractions import Fraction

        return Fraction(content)
    if kind == "set":
        members = [_plain(item, hashable=True) for item in content]
        return frozenset(members) if hashable else set(members)
    if kind == "map" and not hashable:
        return {_plain(key, hashable=True): _plain(value, hashable=False) for key, value in content}
    return _text(kind, content)


def _text(kind: str, content: Any) -> str:
    """Returns the text of an object, which is the same in every process."""
    if kind == "enum":
        return ".".join(str(content).split(".")[-1 if content.endswith(")") else -2 :])
    if kind == "object":
        owner, fields = content
        inside = ", ".join(f"{field}={_repr(value)}" for field, value in fields.items())
        return f"{owner.rpartition('.')[2]}({inside})"
    if kind == "repr":
        return str(content[-1])
    return str(content)


def _repr(stored: Any, hashable: bool = False) -> str:
    """Like `repr`, with the members of sets in their stored order."""
    if isinstance(stored, list):
        items = [_repr(item, hashable) for item in stored]
        if hashable:
            return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"
        return f"[{', '.join(items)}]"
    if isinstance(stored, dict):
        ((kind, content),) = stored.items()
        if kind == "set":
            members = ", ".join(_repr(item, hashable=True) for item in content)
            return f"{{{members}}}" if content else "set()"
        if kind == "map":
            return "{" + ", ".join(f"{_repr(key, True)}: {_repr(value)}" for key, value in content) + "}"
        if kind not in ("bytes", "float", "number"):
            return _text(kind, content)
    return repr(_plain(stored, hashable=False))
