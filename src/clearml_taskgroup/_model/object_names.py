"""Names of classes, functions and objects that are the same in every process. Pure."""

from __future__ import annotations

import re
import sys
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

_COMPLETE_REPRS = frozenset(
    {
        "builtins.NotImplementedType",
        "builtins.ellipsis",
        "datetime.date",
        "datetime.datetime",
        "datetime.time",
        "datetime.timedelta",
        "datetime.timezone",
        "ipaddress.IPv4Address",
        "ipaddress.IPv4Network",
        "ipaddress.IPv6Address",
        "ipaddress.IPv6Network",
        "re.Pattern",
        "tensorflow.python.framework.dtypes.DType",
        "torch.device",
        "torch.dtype",
        "uuid.UUID",
        "zoneinfo.ZoneInfo",
    }
)
"""Classes whose `repr` shows all of a value."""
_PANDAS_SCALARS = ("Timestamp", "Timedelta", "Period", "Interval")
_MAX_PATTERN_CHARS = 200
"""The length at which Python cuts the pattern in the `repr` of a regular expression."""


def name_of_class(cls: type) -> str | None:
    """Returns a class's qualified name; None if it was defined inside a function."""
    return None if "<locals>" in cls.__qualname__ else _dotted(cls.__module__, cls.__qualname__)


def _dotted(module: str, qualname: str) -> str:
    # In a process started with 'spawn' the script's module has another name.
    return f"{'__main__' if module == '__mp_main__' else module}.{qualname}"


def name_of_object(value: Any) -> str | None:
    """Returns the qualified name under which a class, a function or another callable is found.

    None if something else or nothing has that name: lambdas, local classes, decorated functions under the
    name of the original one, methods of an object.
    """
    module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    owner = getattr(value, "__objclass__", None)  # str.upper
    if isinstance(value, BuiltinFunctionType) and isinstance(value.__self__, type):  # dict.fromkeys
        owner = value.__self__
    if isinstance(owner, type):
        name = getattr(value, "__name__", "")
        found = getattr(owner, name, None)
        return f"{_dotted(owner.__module__, owner.__qualname__)}.{name}" if _is(found, value) else None
    if not isinstance(module, str) or not isinstance(qualname, str):
        return None
    found = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return _dotted(module, qualname) if _is(found, value) else None


def _is(found: Any, value: Any) -> bool:
    # Methods of classes and builtins are made anew each time.
    return found is value or (isinstance(value, (MethodType, BuiltinFunctionType)) and bool(found == value))


def why_unnamed(value: Any) -> str:
    """Returns why a class or a function has no name of its own."""
    qualname = str(getattr(value, "__qualname__", value))
    if "<lambda>" in qualname:
        return "is a lambda, which has no name"
    kind = "class" if isinstance(value, type) else "function"
    if "<locals>" in qualname:
        return f"is {qualname}, a {kind} defined inside a function"
    if not isinstance(value, (type, FunctionType)):
        return f"is {qualname}, a method of an object"
    return f"is a {kind} that is not what {value.__module__}.{qualname} stands for"


def complete_repr(value: Any) -> tuple[str, str] | None:
    """Returns the class and the `repr` of a value if the `repr` shows all of the value; else None."""
    cls = type(value)
    name, root = f"{cls.__module__}.{cls.__qualname__}", cls.__module__.partition(".")[0]
    if root == "pandas" and cls.__name__ in _PANDAS_SCALARS:
        return f"pandas.{cls.__name__}", repr(value)
    if root == "numpy" and isinstance(value, sys.modules["numpy"].dtype):
        return name, repr(value)
    if cls is slice:
        parts = (value.start, value.stop, value.step)
        return (name, repr(value)) if all(part is None or type(part) is int for part in parts) else None
    if name not in _COMPLETE_REPRS:
        return None
    if isinstance(value, re.Pattern) and len(repr(value.pattern)) > _MAX_PATTERN_CHARS:
        return name, f"re.compile({value.pattern!r}, {value.flags})"
    zone = getattr(value, "tzinfo", None)
    if zone is not None and complete_repr(zone) is None:
        return None
    return None if getattr(value, "key", "") is None else (name, repr(value))  # a ZoneInfo of a file
