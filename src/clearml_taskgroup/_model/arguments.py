"""Checks of arguments: an error names the argument, what was given and what is expected."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._text import is_storable
from ..errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .frameworks import Frameworks

_TAGS_EXPECTED = "a list of texts that are not blank, ['baseline']"
_CATCH_EXPECTED = "exception classes derived from Exception, (MemoryError,)"


def iterator_of(value: Any) -> Iterator[Any] | None:
    """Returns an iterator over what a value holds; None if it holds nothing."""
    try:
        iterator: Iterator[Any] = iter(value)
    except Exception:  # an array without dimensions has `__iter__`, and raises
        return None
    return iterator


def is_one_of(value: Any, choices: Sequence[Any]) -> bool:
    """Whether a value is one of some texts or None; unlike `in`, an array or a number never is."""
    return value in choices if isinstance(value, str) else value is None and None in choices


def checked_callback(argument: str, value: Any, expected: str) -> Any:
    """Checks that an argument is a function, or None; a coroutine function would never be awaited.

    Raises:
        ArgumentError: It is something else.
    """
    if value is not None and (not callable(value) or inspect.iscoroutinefunction(value)):
        raise ArgumentError(argument, value, f"{expected}, not async, or None")
    return value


def check_choice(argument: str, value: Any, choices: Sequence[Any]) -> None:
    """Checks an argument of which only some values are valid.

    Raises:
        ArgumentError: It has another value.
    """
    if not is_one_of(value, choices):
        texts = [repr(choice) for choice in choices if choice is not None]
        texts += ["None"] if None in choices else []
        raise ArgumentError(argument, value, f"{', '.join(texts[:-1])} or {texts[-1]}")


def check_flag(argument: str, value: Any) -> None:
    """Checks an argument that is either True or False.

    Raises:
        ArgumentError: It is something else.
    """
    if not isinstance(value, bool):
        raise ArgumentError(argument, value, "True or False")


def checked_seconds(argument: str, value: Any) -> float:
    """Checks a time limit.

    Raises:
        ArgumentError: It is no number, negative or NaN.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise ArgumentError(argument, value, "seconds: a number that is not negative, 60.0")
    return float(value) if abs(value) < 1e300 else math.inf


def checked_timeout(value: Any, default: float) -> float:
    """Checks the argument `timeout`, of which None stands for a default.

    Raises:
        ArgumentError: It is neither None nor a number of seconds.
    """
    return default if value is None else checked_seconds("timeout", value)


def checked_path(argument: str, value: Any) -> Path:
    """Checks the path of a file.

    Raises:
        ArgumentError: It is neither text nor a path.
    """
    try:
        return Path(value)
    except TypeError:
        raise ArgumentError(argument, value, "the path of a file, as text or a pathlib.Path") from None


def checked_catch(catch: type[Exception] | Iterable[type[Exception]]) -> tuple[type[Exception], ...]:
    """Checks the exception classes of `catch`.

    Raises:
        ArgumentError: One is not a class derived from `Exception`.
    """
    try:
        listed = (catch,) if isinstance(catch, type) else tuple(catch)
    except TypeError:
        raise ArgumentError("catch", catch, _CATCH_EXPECTED) from None
    for kind in listed:
        if not isinstance(kind, type) or not issubclass(kind, Exception):
            raise ArgumentError("catch", catch, _CATCH_EXPECTED)
    return listed


def checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Checks that tags are a list of texts, not one text.

    Raises:
        ArgumentError: They are a bare string, or one of them is blank or not text.
    """
    if isinstance(tags, str):
        raise ArgumentError("tags", tags, f"a list of texts, [{tags!r}]")
    try:
        listed = tuple(tags)
    except TypeError:
        raise ArgumentError("tags", tags, _TAGS_EXPECTED) from None
    for tag in listed:
        if not isinstance(tag, str) or not tag.strip() or not is_storable(tag):
            raise ArgumentError("tags", listed, _TAGS_EXPECTED)
    return listed


def checked_auto_connect(value: Any) -> Frameworks | None:
    """Reads `auto_connect_frameworks`; None if it is off, and then nothing of it is imported."""
    if value is False:
        return None
    from .frameworks import checked_frameworks

    return checked_frameworks(value)
