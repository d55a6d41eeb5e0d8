"""Text helpers for messages: counts, lists of names, suggestions, natural order, width in a terminal."""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@functools.lru_cache(maxsize=16_384)  # the same names are sorted again and again
def natural(text: str) -> tuple[tuple[int, str], ...]:
    """Returns a sort key for natural order: `step 2` before `step 10`."""
    return tuple([_natural_part(part) for part in re.split(r"(\d+)", text)])


def _natural_part(part: str) -> tuple[int, str]:
    """Makes a part comparable: every second one is a number, the others, also empty ones, are text."""
    digits = part.lstrip("0")  # Python refuses to read a number of more than 4,300
    return (len(digits), digits) if part.isdecimal() else (0, part)


def closest(given: Any, known: Iterable[Any]) -> Any:
    """Returns the entry of `known` that is spelt most similarly, ignoring case; None if none is close."""
    by_text = {str(one).lower(): one for one in known}
    text = given if isinstance(given, str) else shown(given)
    match = spelt_like(text.lower(), by_text, cutoff=0.5)
    return None if match is None else by_text[match]


def spelt_like(text: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Returns the one of several texts that is spelt most similarly; None if none is close.

    Args:
        text: The text.
        known: The others.
        cutoff: How similar it must be, from 0 to 1.
    """
    import difflib  # only messages need it

    return next(iter(difflib.get_close_matches(text, known, n=1, cutoff=cutoff)), None)


def did_you_mean(given: Any, known: Iterable[Any]) -> str:
    close = closest(given, known)
    return "" if close is None else f" (did you mean {close!r}?)"


def counted(number: int, thing: str) -> str:
    """Returns a number with its noun: `1 task`, `1,000 tasks`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def some(names: Sequence[str], most: int = 6) -> str:
    """Joins names for a message: the first few, then `and 5 more`."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def shown(value: Any, most: int = 120) -> str:
    """Returns the `repr` of a value that a message is about, at most so many characters of it."""
    try:
        text = repr(value)
    except Exception:  # of the value's own class, or of Python for a number of 4,300 digits
        text = f"<{type(value).__name__}>"
    return shortened(printable(text), most)


def kind(value: Any) -> str:
    """Returns the type of a value with its article: `an int`, `a str`."""
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def shortened(text: str, most: int) -> str:
    """Leaves out the middle of a long text."""
    head = (most - 1) * 2 // 3
    return text if len(text) <= most else f"{text[:head]}…{text[head + 1 - most :]}"


def is_storable(text: str) -> bool:
    """Whether text can be written as UTF-8: it has no lone surrogates, as names of odd files have."""
    return text.isascii() or storable(text) == text


def storable(text: str) -> str:
    """Replaces the lone surrogates of a text."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
_JOINERS = "\u200c\u200d"
"""Invisible characters of Persian and Indian words and of emojis, which do no harm."""


def printable(text: str) -> str:
    r"""Returns a text in one line that does nothing to a terminal: ESC as `\x1b`, a line break as `\n`.

    Escaped are control characters, those that turn or hide text (U+202E), and lone surrogates.
    """
    return text if text.isprintable() else "".join(map(_printable_character, text))


def _printable_character(character: str) -> str:
    if unicodedata.category(character) not in _INVISIBLE or character in _JOINERS:
        return character
    return character.encode("unicode_escape").decode()


def printable_lines(text: str) -> str:
    """Does the same with each line of a text."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def width(text: str) -> int:
    """Returns how many columns of a terminal a text takes: two for each Chinese or Japanese character."""
    return len(text) if text.isascii() else sum(map(character_width, text))


@functools.lru_cache(maxsize=16_384)
def character_width(character: str) -> int:
    """Returns how many columns of a terminal a character takes: none if it is drawn over the one before."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def cut(text: str, room: int) -> str:
    """Cuts a text to so many columns of a terminal; an ellipsis stands for what is left out."""
    if width(text) <= room:
        return text
    kept, left = "", room - 1
    for character in text:
        left -= character_width(character)
        if left < 0:
            break
        kept += character
    return f"{kept.rstrip()}…" if room > 0 else ""


def padded(text: str, room: int) -> str:
    """Fills a text with spaces up to so many columns of a terminal."""
    return text + " " * (room - width(text))
