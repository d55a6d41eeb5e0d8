"""Readable names of tasks and values: `C=1,seed=0`, shortened so that it stays unique."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, cast

from .identity import task_key
from .parameter_json import typed_json

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MAX_NAME_LENGTH = 80

_UNQUOTED_TEXT = re.compile(r"[A-Za-z_][\w.+\-/ ]*(?<! )")
_LITERALS = frozenset({"None", "True", "False", "inf", "nan"})


def display_name(
    flat: Mapping[str, Any],
    *,
    length: int = MAX_NAME_LENGTH,
    short: bool = False,
    among: Collection[str] | None = None,
    first: Collection[str] = (),
) -> str:
    """Returns the readable form of flat parameters, `C=1,seed=0`.

    Args:
        flat: Flat parameters.
        length: The most characters. A longer name is cut and ends in `~` and the key, so that
            different parameters have different names.
        short: Whether an object is shown without the module of its class, `SVC(C=3)`. Then objects of
            two classes with the same name may have the same text.
        among: The parameters to show, where the others are known to be the same in all tasks; None for all.
        first: The parameters that come before the others.
    """
    ordered = sorted(flat, key=lambda name: (name not in first, name)) if first else sorted(flat)
    text = ",".join(
        f"{_quoted_if_ambiguous(name)}={_json_text(typed_json(flat[name], name), short)}"
        for name in ordered
        if among is None or name in among
    )
    if len(text) <= length:
        return text
    tail = f"~{task_key(flat)}"
    return text[: max(0, length - len(tail))] + tail


def has_parameter(name: str, param: str) -> bool:
    """Whether a readable name contains a parameter."""
    return f",{_quoted_if_ambiguous(param)}=" in f",{name}"


def number_text(value: float) -> str:
    """Returns a number as text, the same for equal numbers: 1.0 as `1`, 1e20 as `1e+20`."""
    if isinstance(value, int):
        if abs(value) < 10**16:
            return str(value)
        try:
            return repr(float(value)) if float(value) == value else str(value)
        except OverflowError:
            return str(value)
    return repr(value)


def _json_text(item: Any, short: bool) -> str:
    """Returns typed JSON as readable text, different for different values."""
    if item is None or isinstance(item, bool):
        return str(item)
    if isinstance(item, (int, float)):
        return number_text(item)
    if isinstance(item, str):
        return _quoted_if_ambiguous(item)
    if isinstance(item, list):
        return "[" + ",".join(_json_text(part, short) for part in item) + "]"
    ((kind, content),) = cast("dict[str, Any]", item).items()
    if kind == "map":
        pairs = (f"{_json_text(name, short)}:{_json_text(value, short)}" for name, value in content)
        return "{" + ",".join(pairs) + "}"
    if kind == "object":
        qualified, fields = content
        inside = ",".join(f"{field}={_json_text(value, short)}" for field, value in fields.items())
        return f"{qualified.rpartition('.')[2] if short else qualified}({inside})"
    if kind == "repr" and short and content[1].startswith(f"{content[0].rpartition('.')[2]}("):
        return " ".join(content[1].split())
    return f"{kind}({_json_text(content, short)})"


def _quoted_if_ambiguous(text: str) -> str:
    if _UNQUOTED_TEXT.fullmatch(text) and text not in _LITERALS:
        return text
    return json.dumps(text, ensure_ascii=False)
