"""What an exception means for a task: final status, reason, traceback, and what is kept of it."""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING

from .._text import printable, printable_lines
from ..errors import CarriedError, TaskAbortedError, TaskGroupError
from .signals import SignalExit

if TYPE_CHECKING:
    from .._model.status import Status
    from .run import Run
    from .state import TaskState


def ending_of(exc: BaseException) -> tuple[Status, str]:
    """Returns the final status and the reason of a task that an exception ends.

    `KeyboardInterrupt`, `SystemExit` and the like stop a task; an `Exception` fails it.
    """
    reason = exc.problem if isinstance(exc, TaskAbortedError) else reason_of(exc)
    return "failed" if isinstance(exc, Exception) else "stopped", reason


def mark_by_exception(run: Run, state: TaskState, exc: BaseException) -> str:
    """Ends a task by an exception, whose traceback goes to the task's console.

    A task that has ended already keeps its status and reason.

    Returns:
        The traceback as text.
    """
    text = traceback_text(exc)
    if state.aborted is None:
        run.reporter.put_text(state.id, text)
    if state.is_open:
        if isinstance(exc, Exception):
            keep_failure(state, exc, text)
        run.mark(state, *ending_of(exc))
    return text


def end_by_exception(run: Run, state: TaskState, exc: BaseException) -> str:
    """Does the same as `mark_by_exception`, and delivers a failed task's data; returns the traceback.

    After an interrupt nothing is waited for here: the group's end delivers.
    """
    text = mark_by_exception(run, state, exc)
    if isinstance(exc, Exception):
        run.end(state, "failed")  # it has its status by now; this delivers
    return text


def keep_failure(state: TaskState, exc: BaseException, text: str) -> None:
    """Keeps an exception as the cause of a task's failure, without its frames and their data."""
    state.failure = (_without_frames(exc, text), text)


def is_caught(exc: BaseException, catch: tuple[type[Exception], ...]) -> bool:
    """Whether `catch` includes an exception.

    This package's own errors are usually mistakes in the script, such as a misspelt metric. So they
    are included by a class of the package or by `Exception`, but not by `ValueError` and the like, from
    which some of them also derive.
    """
    if isinstance(exc, TaskGroupError):
        catch = tuple(kind for kind in catch if kind is Exception or issubclass(kind, TaskGroupError))
    return isinstance(exc, catch)


def reason_of(exc: BaseException) -> str:
    """Formats an exception as one line, `ValueError: what was wrong`; a signal by its name, `SIGTERM`."""
    if isinstance(exc, SignalExit):
        return exc.signal_name
    import traceback  # only where something fails

    lines = "".join(traceback.format_exception_only(exc)).splitlines()
    # The text of a SyntaxError starts with indented lines that show the place.
    line = next((line for line in lines if line and not line.startswith(" ")), type(exc).__name__).strip()
    return printable(line)


def traceback_text(exc: BaseException) -> str:
    import traceback

    return "".join(traceback.format_exception(exc))


def _without_frames(exc: BaseException, text: str) -> BaseException:
    """Copies an exception without its frames; returns a `CarriedError` if it cannot be copied."""
    try:
        like = copy.copy(exc)
    except Exception:  # its class decides what copying raises
        like = None
    if type(like) is not type(exc) or like is exc:
        return CarriedError(reason_of(exc), text)
    return like.with_traceback(None)


def add_note(exc: BaseException, note: str) -> None:
    """Adds a note to an exception, unless its class does not allow it."""
    with contextlib.suppress(Exception):
        exc.add_note(printable_lines(note))


def clear_frames(exc: BaseException) -> None:
    """Clears the frames of an exception, its causes, and the members of an exception group."""
    import traceback

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
