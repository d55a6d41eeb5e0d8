"""Parameters → typed JSON → key and display name; project and name → group id. Pure.

Two parameter sets have the same key exactly when they mean the same: numbers by value
(1 ≡ 1.0), lists like tuples, sets sorted; but True ≠ 1, None ≠ missing ≠ "None".
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
from typing import Any, cast

import attrs

from .._text import counted
from ..errors import ArgumentError, ParameterError, ServerNameError

KEY_DIGITS = 12
NAME_LENGTH = 80
SHORTEST_SERVER_NAME = 3

_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")
_PLAIN_TEXT = re.compile(r"[A-Za-z_][\w.+\-/ ]*(?<! )")
_WORDS_THAT_ARE_NOT_TEXT = frozenset({"None", "True", "False", "inf", "nan"})
_SHORT_FLOATS = {"float32": "f", "float16": "e"}
_GIVE_KEY = "give key= to name the task yourself"
_LONGER_NAME = (
    f"choose a longer one: a ClearML server refuses task names and parts of a project's path that have fewer "
    f"than {SHORTEST_SERVER_NAME} characters"
)


def group_id(project: str, name: str) -> str:
    """Gives a group's id: the same for the same project and name, on every machine.

    Args:
        project: The canonical project path (see `canonical_project`).
        name: The canonical name (see `canonical_task_name`).

    Returns:
        12 hexadecimal digits of SHA-256.
    """
    return _digest(json.dumps([project, name]))


def canonical_project(project: str) -> str:
    """Brings a project path into the form that identity and server agree on.

    Args:
        project: Path with `/` between its parts.

    Returns:
        The parts without surrounding blanks, in Unicode's NFC form, joined with `/`.

    Raises:
        ArgumentError: It is not text.
        ServerNameError: A part has fewer than 3 characters, as `TaskGroup` is made.
    """
    if not isinstance(project, str):
        raise ArgumentError("project", project, "text, 'project/part'")
    parts = [_tidy(part) for part in project.split("/")]
    for part in parts:
        if len(part) < SHORTEST_SERVER_NAME:
            problem = "has a blank part"
            if part:
                problem = f"has the part {part!r} of {counted(len(part), 'character')}"
            raise ServerNameError(f"the project {project!r}", problem, _LONGER_NAME)
    return "/".join(parts)


def canonical_task_name(name: str, what: str = "task name") -> str:
    """Checks a name that a server will see and strips the blanks around it.

    Args:
        name: The name as given.
        what: What the name is, for the error's sentence.

    Raises:
        ArgumentError: It is not text.
        ServerNameError: It has fewer than 3 characters.
    """
    if not isinstance(name, str):
        raise ArgumentError(what, name, "text")
    tidy = _tidy(name)
    if len(tidy) < SHORTEST_SERVER_NAME:
        problem = f"has {counted(len(tidy), 'character')}" if tidy else "is blank"
        raise ServerNameError(f"the {what} {name!r}", problem, _LONGER_NAME)
    return tidy


def flatten(params: Mapping[str, Any]) -> dict[str, Any]:
    """Turns nested dicts into one level, `{"a": {"b": 1}}` into `{"a/b": 1}`.

    A dict with keys that are not text (`{0: 1.0, 1: 2.0}`, class weights), or an empty one, is
    a value and stays whole.

    Raises:
        ParameterError: A name is not text or is blank, or two spellings meet in one name.
    """
    flat: dict[str, Any] = {}
    for name, value in _leaves(params, ()):
        if name in flat:
            raise ParameterError(
                name, "was given twice, nested and with '/'", "keep one of the two spellings"
            )
        flat[name] = value
    return flat


def _leaves(params: Mapping[Any, Any], path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, value in params.items():
        if not isinstance(name, str) or not name.strip():
            raise ParameterError(
                str(name), f"has the name {name!r}", "names of parameters are text and not blank"
            )
        here = (*path, name)
        if isinstance(value, Mapping) and value and all(isinstance(key, str) for key in value):
            yield from _leaves(value, here)
        else:
            yield "/".join(here), value


def typed(value: Any, name: str = "value") -> Any:
    """Turns a value into JSON that keeps its type: what identity compares and a task stores.

    Text, bools, None and finite numbers stand for themselves, lists and tuples become lists;
    anything else becomes an object with one entry, its kind: `{"set": […]}`, `{"path": "a/b"}`,
    `{"enum": "module.Class.NAME"}`, `{"function": "module.name"}`, `{"object": […]}`.

    Args:
        value: A parameter's value.
        name: The parameter's name, for the error's sentence.

    Raises:
        ParameterError: NaN, a lambda or nested function, or an object with nothing but a default
            `repr`, which has no identity that outlives the process.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return {"enum": f"{_qualified(type(value), name)}.{value.name}"}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (int, float)) and type(value).__module__ != "numpy":
        return _number(value, name)
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, PurePath):
        return {"path": value.as_posix()}
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return _array(value, name)
    if isinstance(value, Number) and not isinstance(value, complex):
        return _number(value, name)
    if isinstance(value, type):
        return {"class": _qualified(value, name)}
    if isinstance(value, (FunctionType, BuiltinFunctionType)):
        return {"function": _qualified(value, name)}
    return _composite(value, name)


def _composite(value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(value):
        fields = [field.name for field in dataclasses.fields(value)]
        return _object(value, fields, name)
    if attrs.has(type(value)):
        return _object(value, [field.name for field in attrs.fields(type(value))], name)
    if isinstance(value, Mapping):
        pairs = [[typed(key, name), typed(item, name)] for key, item in value.items()]
        return {"map": sorted(pairs, key=_compact)}
    if isinstance(value, AbstractSet):
        return {"set": sorted((typed(item, name) for item in value), key=_compact)}
    if isinstance(value, Sequence):
        return [typed(item, name) for item in value]
    if _in_its_module(value):
        return {"function": _qualified(value, name)}
    text = repr(value)
    default: Any = object.__repr__
    if type(value).__repr__ is default or _ADDRESS.search(text) or "..." in text:
        raise ParameterError(
            name,
            f"is an object of {type(value).__qualname__}, which has no stable text form",
            f"{_GIVE_KEY}, or pass text, numbers, a dataclass or an attrs class",
        )
    return {"repr": [_qualified(type(value), name), text]}


def _in_its_module(value: Any) -> bool:
    """Whether it is found under its module path, as a cached or dispatched function is."""
    module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not callable(value) or not isinstance(module, str) or not isinstance(qualname, str):
        return False
    return getattr(sys.modules.get(module), qualname, None) is value


def _object(value: Any, fields: list[str], name: str) -> Any:
    inside = {field: typed(getattr(value, field), f"{name}.{field}") for field in fields}
    return {"object": [_qualified(type(value), name), inside]}


def _number(value: Any, name: str) -> Any:
    if value != value:
        raise ParameterError(name, "is NaN, which is not even equal to itself", _GIVE_KEY)
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


def _array(value: Any, name: str) -> Any:
    """Reads numpy's (and torch's, jax's) scalars and arrays like Python's numbers and lists."""
    form = _SHORT_FLOATS.get(str(value.dtype).removeprefix("torch."))
    return _plain(value.tolist(), form, value, name)


def _plain(item: Any, form: str | None, value: Any, name: str) -> Any:
    if isinstance(item, list):
        return [_plain(part, form, value, name) for part in item]
    if isinstance(item, float):
        return _number(_shortest(item, form) if form else item, name)
    if type(item) is not type(value):
        return typed(item, name)
    if isinstance(item, Real):
        return _number(item, name)
    return {"repr": [_qualified(type(value), name), repr(value)]}


def _shortest(value: float, form: str) -> float:
    """The shortest decimal that a float of fewer bits reads back as the same number."""
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


def _qualified(thing: Any, name: str) -> str:
    module = getattr(thing, "__module__", None) or "builtins"
    qualname = str(getattr(thing, "__qualname__", thing))
    if "<lambda>" in qualname:
        raise ParameterError(name, "is a lambda, which has no name to be known by", _GIVE_KEY)
    if "<locals>" in qualname and isinstance(thing, (FunctionType, BuiltinFunctionType)):
        raise ParameterError(
            name, f"is {qualname}, a function made inside another one", f"move it to a module, or {_GIVE_KEY}"
        )
    # A process started with 'spawn' sees the script under another name.
    module = "__main__" if module == "__mp_main__" else module
    return f"{module}.{qualname}"


def is_same(one: Any, other: Any) -> bool:
    """Tells whether two values in typed JSON mean the same; Python takes True and 1 for equal."""
    return _compact(one) == _compact(other)


def canonical(flat: Mapping[str, Any]) -> str:
    """Gives the canonical JSON of flat parameters: equal texts for equal parameter sets."""
    return _compact({name: typed(flat[name], name) for name in flat})


def task_key(flat: Mapping[str, Any]) -> str:
    """Gives a task's key: 12 hexadecimal digits over its canonical parameters."""
    return _digest(canonical(flat))


def display_name(flat: Mapping[str, Any], *, length: int = NAME_LENGTH, short: bool = False) -> str:
    """Gives the readable form of flat parameters, `C=1,seed=0`.

    Args:
        flat: Parameters on one level.
        length: The most characters; a longer name is cut and ends in `~` and the key, so that
            different parameters never share a name.
        short: Whether an object is shown as it shows itself, `SVC(C=3)`, without the path of its class;
            then two classes of one name may share a name.
    """
    show = _show_short if short else _show
    text = ",".join(f"{_text(name)}={show(typed(flat[name], name))}" for name in sorted(flat))
    if len(text) <= length:
        return text
    tail = f"~{task_key(flat)}"
    return text[: max(0, length - len(tail))] + tail


def number_text(value: float) -> str:
    """Writes a number so that equal numbers read alike: 1.0 as `1`, 1e20 as `1e+20`."""
    if isinstance(value, int):
        if abs(value) < 10**16:
            return str(value)
        try:
            return repr(float(value)) if float(value) == value else str(value)
        except OverflowError:
            return str(value)
    return repr(value)


def _show(item: Any) -> str:
    """Writes typed JSON for people; different values give different texts."""
    if item is None or isinstance(item, bool):
        return str(item)
    if isinstance(item, (int, float)):
        return number_text(item)
    if isinstance(item, str):
        return _text(item)
    if isinstance(item, list):
        return "[" + ",".join(map(_show, item)) + "]"
    ((kind, content),) = cast("dict[str, Any]", item).items()
    if kind == "object":
        qualified, fields = content
        inside = ",".join(f"{field}={_show(value)}" for field, value in fields.items())
        return f"{qualified}({inside})"
    return f"{kind}({_show(content)})"


def _show_short(item: Any) -> str:
    """Writes typed JSON for people, an object by its own text if that reads like a call of its class."""
    if isinstance(item, dict) and "repr" in item:
        qualified, text = item["repr"]
        if text.startswith(f"{qualified.rpartition('.')[2]}("):
            return " ".join(text.split())
    return _show(item)


def _text(text: str) -> str:
    if _PLAIN_TEXT.fullmatch(text) and text not in _WORDS_THAT_ARE_NOT_TEXT:
        return text
    return json.dumps(text, ensure_ascii=False)


def _tidy(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def _compact(item: Any) -> str:
    return json.dumps(item, sort_keys=True, separators=(",", ":"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]
