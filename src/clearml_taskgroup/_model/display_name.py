"""Readable names of tasks and values: `C=1,seed=0`, shortened so that it stays unique."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, cast

from .identity import task_key, typed_json

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_NAME_LENGTH = 80

_UNQUOTED_TEXT = re.compile(r"[A-Za-z_][\w.+\-/ ]*(?<! )")
_LITERALS = frozenset({"None", "True", "False", "inf", "nan"})


def display_name(flat: Mapping[str, Any], *, length: int = MAX_NAME_LENGTH, short: bool = False) -> str:
    """Returns the readable form of flat parameters, `C=1,seed=0`.

    Args:
        flat: Flat parameters.
        length: The most characters. A longer name is cut and ends in `~` and the key, so that
            different parameters have different names.
        short: Whether an object is shown by its own `repr`, `SVC(C=3)`, without the module of its
            class. Then objects of two classes with the same name may have the same text.
    """
    to_text = _short_text if short else _json_text
    text = ",".join(
        f"{_quoted_if_ambiguous(name)}={to_text(typed_json(flat[name], name))}" for name in sorted(flat)
    )
    if len(text) <= length:
        return text
    tail = f"~{task_key(flat)}"
    return text[: max(0, length - len(tail))] + tail


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


def _json_text(item: Any) -> str:
    """Returns typed JSON as readable text, different for different values."""
    if item is None or isinstance(item, bool):
        return str(item)
    if isinstance(item, (int, float)):
        return number_text(item)
    if isinstance(item, str):
        return _quoted_if_ambiguous(item)
    if isinstance(item, list):
        return "[" + ",".join(map(_json_text, item)) + "]"
    ((kind, content),) = cast("dict[str, Any]", item).items()
    if kind == "object":
        qualified, fields = content
        inside = ",".join(f"{field}={_json_text(value)}" for field, value in fields.items())
        return f"{qualified}({inside})"
    return f"{kind}({_json_text(content)})"


def _short_text(item: Any) -> str:
    """Like `_json_text`, but an object by its `repr` if that looks like a call of its class."""
    if isinstance(item, dict) and "repr" in item:
        qualified, text = item["repr"]
        if text.startswith(f"{qualified.rpartition('.')[2]}("):
            return " ".join(text.split())
    return _json_text(item)


def _quoted_if_ambiguous(text: str) -> str:
    if _UNQUOTED_TEXT.fullmatch(text) and text not in _LITERALS:
        return text
    return json.dumps(text, ensure_ascii=False)
