"""How a block ends, told: reasons, tracebacks, failures that were caught, groups left open."""

from __future__ import annotations

import contextlib
import copy
import traceback
import warnings
from typing import TYPE_CHECKING

from ..errors import CarriedError, TaskGroupError
from .signals import Interrupts

if TYPE_CHECKING:
    from collections.abc import Callable

    from .run import Run


def is_caught(exc: BaseException, catch: tuple[type[Exception], ...]) -> bool:
    """Whether `catch` takes an exception.

    One of this package's own is a mistake in the script as a rule, a misspelt metric: it is meant by
    a class of the package, or by `Exception`, but not by the `ValueError` that it also is.
    """
    if isinstance(exc, TaskGroupError):
        catch = tuple(kind for kind in catch if kind is Exception or issubclass(kind, TaskGroupError))
    return isinstance(exc, catch)


def reason_of(exc: BaseException) -> str:
    """Writes an exception in one line, `ValueError: what was wrong`."""
    lines = "".join(traceback.format_exception_only(exc)).splitlines()
    # A SyntaxError starts with the place, indented.
    return next((line for line in lines if line and not line.startswith(" ")), type(exc).__name__).strip()


def text_of(exc: BaseException) -> str:
    return "".join(traceback.format_exception(exc))


def bare(exc: BaseException, text: str) -> BaseException:
    """Gives an exception like another, which holds no frames; one that cannot be copied as its text."""
    try:
        like = copy.copy(exc)
    except Exception:  # whatever its class asks for
        like = None
    if type(like) is not type(exc) or like is exc:
        return CarriedError(reason_of(exc), text)
    return like.with_traceback(None)


def add_note(exc: BaseException, note: str) -> None:
    """Adds a note to an exception, unless it is one that takes none."""
    with contextlib.suppress(Exception):
        exc.add_note(note)


def clear_frames(exc: BaseException) -> None:
    """Frees what the frames hold of an exception, of its causes, and of a group's members."""
    todo: list[BaseException | None] = [exc]
    seen: set[int] = set()
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        traceback.clear_frames(one.__traceback__)
        todo += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            todo += one.exceptions


def abandon(run: Run, undo: list[Callable[[], None]]) -> None:
    """Ends a group that nobody closed: collected, or still open as the interpreter ends."""
    if run.in_child or run.closed:
        return
    errors = run.close("stopped", "the group was never closed", 30.0, Interrupts())
    for step in undo:
        step()
    told = "".join(f"; {reason_of(error)}" for error in errors)
    warnings.warn(
        f"the group {run.info.name!r} was never closed, its open tasks were stopped{told}; use `with "
        "TaskGroup(…) as group:`, or call group.close()",
        ResourceWarning,
        stacklevel=2,
    )
