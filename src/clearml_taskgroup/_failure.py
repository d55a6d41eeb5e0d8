"""Failure: a task that failed, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .errors import CarriedError

if TYPE_CHECKING:
    from ._task import GroupTask


@attrs.frozen
class Failure:
    """A task that failed.

    Attributes:
        task: The task.
        exception: The exception that left its block. If `catch` includes it, it is that very object, with
            its frames cleared; else a copy without frames, so that it holds no data. It is a
            `CarriedError` with the reason if there was no exception, as with `mark_failed`, or if the
            exception cannot be copied or sent from another process.
        traceback: The traceback as text; empty if there is none.
    """

    task: GroupTask
    exception: BaseException
    traceback: str = attrs.field(repr=False)


def failure_of(task: GroupTask) -> Failure:
    """Returns why a failed task has failed."""
    if task._caught is not None:
        return task._caught
    error, text = task._state.failure or (CarriedError(task.status_reason or "it was marked as failed"), "")
    return Failure(task, error, text)
