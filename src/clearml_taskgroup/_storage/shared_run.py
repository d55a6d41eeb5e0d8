"""SharedRun: what several processes that share one run agree on, wherever their tasks are stored.

A run is shared by the processes that open the same group with the same `run=`. They agree on who is in the
run, which process runs which configuration, which one creates the parent, and which one leaves last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._model.past import PastTask

PARENT = ""
"""The key under which the parent of the run is claimed; no task has it."""
BEAT_EVERY_S = 30.0
"""Seconds between two signs of life of a process."""
DEAD_AFTER_S = 300.0
"""A process of another machine counts as dead when its last sign of life is this old."""
STALE_AFTER_S = 60.0
"""A claim whose task does not exist after this time is free again: its process died in between."""


@attrs.define(eq=False)
class SharedRun:
    """The agreement between the processes of one run.

    No method compares the clocks of two machines. A method that needs a server raises `ServerError` if the
    server cannot be reached.

    Attributes:
        process: This process, as `processes.this_process` names it.
        session: Grows each time the run has become empty; a task that ended in an earlier session may be
            run again by a resume. Joining, signs of life and `claim_dead` update it.
        others_at_join: How many other living processes were in the run as this one joined; None if unknown.
        withdrawn: Whether another process took this one for dead, so that its tasks are no longer its own.
        on_withdrawn: Called once when that is found out.
    """

    process: str
    session: int = attrs.field(default=0, init=False)
    others_at_join: int | None = attrs.field(default=None, init=False)
    withdrawn: bool = attrs.field(default=False, init=False)
    on_withdrawn: Callable[[], None] | None = attrs.field(default=None, init=False)

    def join(self) -> None:
        """Enters the run, once nobody is just ending it; ends the presence of processes that have died."""

    def claim(self, key: str, attempt: int) -> bool:
        """Tries to get the right to create one attempt of a task; exactly one process gets it.

        Args:
            key: The task's key, or `PARENT`.
            attempt: The number of the attempt, from 1.

        Returns:
            Whether this process, and no other, creates the task now, and calls `release` afterwards. False
            if another process has claimed or created it, or if that is not known.
        """
        raise NotImplementedError

    def release(self, key: str, attempt: int, task_id: str | None) -> bool:
        """Ends a claim: the task has been created, or, with None, it will not be.

        Returns:
            Whether the task counts. If not, another process has created it as well, and earlier, because
            this one took very long: then this one stops and leaves it.
        """
        raise NotImplementedError

    def is_being_created(self, key: str, attempt: int) -> bool:
        """Whether a living process holds the claim of a task that does not exist yet.

        If not, the task either exists now or can be claimed again.
        """
        return False

    def members(self) -> Sequence[PastTask]:
        """Reads all tasks of the run from storage, of all processes; the status of an open one is None."""
        raise NotImplementedError

    def parent(self) -> str | None:
        """Finds the run's parent; None if nobody has created it yet."""
        raise NotImplementedError

    def beat(self) -> None:
        """Gives a sign of life if the last one is `BEAT_EVERY_S` old; updates `withdrawn`; never raises."""

    def leads(self) -> bool:
        """Whether this process, and no other one in the run, keeps the page of the parent up to date."""
        return False

    def claim_dead(self) -> Sequence[str]:
        """Finds processes that have died; one process gets each, and ends its tasks."""
        return ()

    def remove_dead(self, process: str) -> None:
        """Removes a dead process, whose tasks this process has ended."""

    def leave(self) -> bool:
        """Leaves the run.

        Returns:
            Whether this process is the last one, so that it calls `claim_dead` once more, ends the parent
            and then calls `ended`. No other process can join in between, as long as `beat` is called.
        """
        raise NotImplementedError

    def ended(self) -> None:
        """Tells the other processes that the parent has ended; the run is empty now."""
