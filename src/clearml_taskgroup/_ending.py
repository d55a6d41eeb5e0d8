"""How a block ends, told: reasons, tracebacks, failures that were caught, groups left open."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from ._run import Run
from ._signals import Interrupts

if TYPE_CHECKING:
    from ._task import GroupTask


@attrs.frozen
class Failure:
    """An exception that `catch` kept from ending the loop.

    Attributes:
        task: The task that failed.
        exception: What left its block; its frames are cleared, so that it holds no data.
        traceback: The traceback as text.
    """

    task: GroupTask
    exception: BaseException
    traceback: str = attrs.field(repr=False)


def reason_of(exc: BaseException) -> str:
    """Writes an exception in one line, `ValueError: what was wrong`."""
    return "".join(traceback.format_exception_only(exc)).strip().splitlines()[0]


def text_of(exc: BaseException) -> str:
    return "".join(traceback.format_exception(exc))


def clear_frames(exc: BaseException | None) -> None:
    while exc is not None:
        traceback.clear_frames(exc.__traceback__)
        exc = exc.__cause__ or exc.__context__


def abandon(run: Run, restore_sigterm: Callable[[], None]) -> None:
    """Ends a group that nobody closed: collected, or still open as the interpreter ends."""
    if run.in_child or run.closed:
        return
    for state in run.states.values():
        run.mark(state, "stopped", "the group was never closed")
    errors = run.close("stopped", "the group was never closed", 30.0, Interrupts())
    restore_sigterm()
    told = "".join(f"; {reason_of(error)}" for error in errors)
    warnings.warn(
        f"the group {run.info.name!r} was never closed, its open tasks were stopped{told}; use `with "
        "TaskGroup(…) as group:`, or call group.close()",
        ResourceWarning,
        stacklevel=2,
    )
