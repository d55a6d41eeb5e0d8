"""The identity of tasks and groups: parameters to typed JSON and the key. Pure.

Equal parameters have equal keys, whatever their Python types: numbers are compared by value
(1 ≡ 1.0), lists like tuples, sets in sorted order; but True ≠ 1, None ≠ missing ≠ "None".
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import math
import re
import struct
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from fractions import Fraction
from numbers import Number, Real
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType
from typing import Any

import attrs

from .._text import counted
from ..errors import ArgumentError, ParameterError, ServerNameError

KEY_DIGITS = 12
MIN_SERVER_NAME_LENGTH = 3

_MEMORY_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")
_SMALL_FLOAT_FORMATS = {"float32": "f", "float16": "e"}
_GIVE_KEY = "give key= to name the task yourself"
_LONGER_NAME = (
    "choose a longer one: a ClearML server refuses task names and parts of a project's path that have fewer "
    f"than {MIN_SERVER_NAME_LENGTH} characters"
)


def group_id(project: str, name: str) -> str:
    """Returns a group's id, which is the same for a project and name on every machine.

    Args:
        project: The canonical project path (see `canonical_project`).
        name: The canonical name (see `canonical_task_name`).

    Returns:
        12 hexadecimal digits of SHA-256.
    """
    return _digest(json.dumps([project, name]))


def canonical_project(project: str) -> str:
    """Normalizes a project path: NFC, no blanks around its parts.

    Args:
        project: The path, with `/` between its parts.

    Raises:
        ArgumentError: It is not text.
        ServerNameError: A part has fewer than 3 characters.
    """
    if not isinstance(project, str):
        raise ArgumentError("project", project, "text, 'project/part'")
    parts = [_normalized(part) for part in project.split("/")]
    for part in parts:
        if len(part) < MIN_SERVER_NAME_LENGTH:
            problem = "has a blank part"
            if part:
                problem = f"has the part {part!r} of {counted(len(part), 'character')}"
            raise ServerNameError(f"the project {project!r}", problem, _LONGER_NAME)
    return "/".join(parts)


def canonical_task_name(name: str, what: str = "task name") -> str:
    """Normalizes a name that is sent to the server: NFC, no blanks around it.

    Args:
        name: The name as given.
        what: What the name is, for error messages.

    Raises:
        ArgumentError: It is not text.
        ServerNameError: It has fewer than 3 characters.
    """
    if not isinstance(name, str):
        raise ArgumentError(what, name, "text")
    normalized = _normalized(name)
    if len(normalized) < MIN_SERVER_NAME_LENGTH:
        problem = f"has {counted(len(normalized), 'character')}" if normalized else "is blank"
        raise ServerNameError(f"the {what} {name!r}", problem, _LONGER_NAME)
    return normalized


def flatten(params: Mapping[str, Any]) -> dict[str, Any]:
    """Flattens nested dicts: `{"a": {"b": 1}}` becomes `{"a/b": 1}`.

    A dict with keys that are not text (class weights, `{0: 1.0, 1: 2.0}`) and an empty dict are
    values and stay as they are.

    Raises:
        ParameterError: A name is blank or not text, or two spellings give the same name.
    """
    flat: dict[str, Any] = {}
    for name, value in _leaves(params, ()):
        if name in flat:
            raise ParameterError(name, "was given twice, nested and with '/'", "keep one of them")
        flat[name] = value
    return flat


def _leaves(params: Mapping[Any, Any], path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, value in params.items():
        if not isinstance(name, str) or not name.strip():
            raise ParameterError(
                str(name), f"has the name {name!r}", "give it a name that is text and not blank"
            )
        here = (*path, name)
        if isinstance(value, Mapping) and value and all(isinstance(key, str) for key in value):
            yield from _leaves(value, here)
        else:
            yield "/".join(here), value


def typed_json(value: Any, name: str = "value") -> Any:
    """Converts a value to JSON that keeps its type; tasks store this form, and keys are hashed from it.

    Text, bools, None and finite numbers stay as they are, lists and tuples become lists. Anything
    else becomes an object with one entry, its kind: `{"set": […]}`, `{"path": "a/b"}`,
    `{"enum": "module.Class.NAME"}`, `{"function": "module.name"}`, `{"object": […]}`.

    Args:
        value: A parameter's value.
        name: The parameter's name, for error messages.

    Raises:
        ParameterError: The value is NaN, a lambda, a nested function, or an object with the default
            `repr`, which differs from process to process.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return {"enum": f"{_qualified_name(type(value), name)}.{value.name}"}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (int, float)) and type(value).__module__ != "numpy":
        return _typed_number(value, name)
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, PurePath):
        return {"path": value.as_posix()}
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return _typed_array(value, name)
    if isinstance(value, Number) and not isinstance(value, complex):
        return _typed_number(value, name)
    if isinstance(value, type):
        return {"class": _qualified_name(value, name)}
    if isinstance(value, (FunctionType, BuiltinFunctionType)):
        return {"function": _qualified_name(value, name)}
    return _typed_composite(value, name)


def _typed_composite(value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(value):
        fields = [field.name for field in dataclasses.fields(value)]
        return _typed_object(value, fields, name)
    if attrs.has(type(value)):
        return _typed_object(value, [field.name for field in attrs.fields(type(value))], name)
    if isinstance(value, Mapping):
        pairs = [[typed_json(key, name), typed_json(item, name)] for key, item in value.items()]
        return {"map": sorted(pairs, key=_dumped)}
    if isinstance(value, AbstractSet):
        return {"set": sorted((typed_json(item, name) for item in value), key=_dumped)}
    if isinstance(value, Sequence):
        return [typed_json(item, name) for item in value]
    if _is_module_attribute(value):
        return {"function": _qualified_name(value, name)}
    text = repr(value)
    default: Any = object.__repr__
    if type(value).__repr__ is default or _MEMORY_ADDRESS.search(text) or "..." in text:
        raise ParameterError(
            name,
            f"is an object of {type(value).__qualname__}, which has no stable text form",
            f"{_GIVE_KEY}, or pass text, numbers, a dataclass or an attrs class",
        )
    return {"repr": [_qualified_name(type(value), name), text]}


def _is_module_attribute(value: Any) -> bool:
    """Whether a callable object can be imported by name, as functions from `functools.cache` can."""
    module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not callable(value) or not isinstance(module, str) or not isinstance(qualname, str):
        return False
    return getattr(sys.modules.get(module), qualname, None) is value


def _typed_object(value: Any, fields: list[str], name: str) -> Any:
    inside = {field: typed_json(getattr(value, field), f"{name}.{field}") for field in fields}
    return {"object": [_qualified_name(type(value), name), inside]}


def _typed_number(value: Any, name: str) -> Any:
    if value != value:
        raise ParameterError(name, "is NaN, which is not equal to itself", _GIVE_KEY)
    if value in (math.inf, -math.inf):
        return {"float": "inf" if value > 0 else "-inf"}
    if isinstance(value, int) or value == int(value):
        return int(value)
    try:
        nearest = float(value)
    except OverflowError:
        nearest = math.inf
    if nearest == value:
        return nearest
    return {"number": str(Fraction(value) if isinstance(value, Decimal) else value)}


def _typed_array(value: Any, name: str) -> Any:
    """Converts scalars and arrays of numpy, torch and jax as if they were Python numbers and lists."""
    form = _SMALL_FLOAT_FORMATS.get(str(value.dtype).removeprefix("torch."))
    return _typed_element(value.tolist(), form, value, name)


def _typed_element(item: Any, form: str | None, value: Any, name: str) -> Any:
    if isinstance(item, list):
        return [_typed_element(part, form, value, name) for part in item]
    if isinstance(item, float):
        return _typed_number(_shortest_decimal(item, form) if form else item, name)
    if type(item) is not type(value):
        return typed_json(item, name)
    if isinstance(item, Real):
        return _typed_number(item, name)
    return {"repr": [_qualified_name(type(value), name), repr(value)]}


def _shortest_decimal(value: float, form: str) -> float:
    """Returns the shortest decimal that gives the same number in a float format of fewer bits."""
    if not math.isfinite(value):
        return value
    for digits in range(1, 10):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.pack(form, short) == struct.pack(form, value):
                return short
        except OverflowError:
            continue
    return value


def _qualified_name(thing: Any, name: str) -> str:
    module = getattr(thing, "__module__", None) or "builtins"
    qualname = str(getattr(thing, "__qualname__", thing))
    if "<lambda>" in qualname:
        raise ParameterError(name, "is a lambda, which has no name", _GIVE_KEY)
    if "<locals>" in qualname and isinstance(thing, (FunctionType, BuiltinFunctionType)):
        raise ParameterError(
            name,
            f"is {qualname}, a function defined inside another one",
            f"move it to a module, or {_GIVE_KEY}",
        )
    # In a process started with 'spawn' the script's module has another name.
    module = "__main__" if module == "__mp_main__" else module
    return f"{module}.{qualname}"


def is_same_json(one: Any, other: Any) -> bool:
    """Whether two values in typed JSON are the same; unlike `==`, which takes True and 1 for equal."""
    return _dumped(one) == _dumped(other)


def canonical_json(flat: Mapping[str, Any]) -> str:
    """Returns the canonical JSON of flat parameters: equal texts for equal parameters."""
    return _dumped({name: typed_json(flat[name], name) for name in flat})


def task_key(flat: Mapping[str, Any]) -> str:
    """Returns a task's key: 12 hexadecimal digits of SHA-256 over its canonical parameters."""
    return _digest(canonical_json(flat))


def _normalized(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def _dumped(item: Any) -> str:
    return json.dumps(item, sort_keys=True, separators=(",", ":"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]
