"""Text of parameter values and numbers, for axes, legends, hover texts and tables."""

from __future__ import annotations

import functools
import html
import math
import re
from typing import TYPE_CHECKING, Any, Final

from .._model.display_name import display_name, number_text
from .._model.parameter_json import typed_json
from .._text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence


MAX_TICK_CHARS = 28
"""The number of characters of a value at a tick; the hover text has all of them."""


class Missing:
    """Type of `MISSING`, the value of a parameter that a task does not have."""

    def __repr__(self) -> str:
        return "not given"


MISSING: Final = Missing()
_PLAIN = re.compile(r"[\w=,.:;+()/~-]*", re.ASCII)
"""Text without any of the characters that `escape` changes, as most names and numbers are."""
_WORDS = re.compile(r"[^\s\"\[\](){}]([^\"\[\](){}\n]*[^\s\"\[\](){}])?")


def value_text(value: Any) -> str:
    """Formats a parameter's value; different values have different texts."""
    if value is MISSING:
        return repr(value)
    if isinstance(value, str) and _needs_no_quotes(value):
        return value if value != repr(MISSING) else f'"{value}"'
    try:
        typed = typed_json(value)
        if type(typed) in (int, float):  # most are, and axes ask for the text of each value several times
            return number_text(typed)
        return display_name({"v": value}, length=1000).removeprefix("v=")
    except ValueError:  # a value without a stable form; its task was given key=
        return repr(value)


def as_number(value: Any) -> Any:
    """Converts numbers of other libraries, as numpy's, to Python's; returns other values unchanged."""
    if type(value) in (int, float, str):
        return value
    try:
        known = typed_json(value)
    except ValueError:
        return value
    return known if isinstance(known, (int, float)) else value


def number_texts(values: Sequence[float]) -> list[str]:
    """Formats the numbers of one column, with the same number of decimals if their sizes allow it."""
    finite = [abs(value) for value in values if math.isfinite(value)]
    most = max(finite, default=0.0)
    if not 1e-3 <= most < 1e6:
        return list(map(_with_four_digits, values))
    written = [f"{value:.4g}" for value in finite]
    needed = max(len(text.partition(".")[2]) for text in written)
    decimals = min(needed, max(0, 3 - math.floor(math.log10(most))))
    if any(0 < value < 10.0 ** (1 - decimals) for value in finite):  # too small for this number of decimals
        return list(map(_with_four_digits, values))
    return [f"{value:.{decimals}f}" for value in values]


def escape(text: str) -> str:
    """Escapes what plotly would take for markup, a template or a formula."""
    if _PLAIN.fullmatch(text):
        return text
    flat = text if text.isprintable() and "  " not in text else printable(re.sub(r"\s+", " ", text))
    return html.escape(flat, quote=False).replace("%{", "%&#123;").replace("$", "&#36;")


def shorten(text: str, max_chars: int = MAX_TICK_CHARS) -> str:
    """Cuts off the end of a text that is too long."""
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"


def shorten_start(text: str, max_chars: int = MAX_TICK_CHARS) -> str:
    """Cuts off the start of a parameter name: the end of `optimizer.schedule.warmup` says more."""
    return text if len(text) <= max_chars else "…" + text[1 - max_chars :]


@functools.lru_cache(maxsize=4096)
def _needs_no_quotes(text: str) -> bool:
    """Whether a text cannot be confused with a value of another type, as `None` or `1e3` can."""
    if not _WORDS.fullmatch(text) or text in ("None", "True", "False"):
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False


def _with_four_digits(value: float) -> str:
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e6 else f"{value:.4g}"
