"""Work that somebody else has ended."""

from __future__ import annotations

from .._text import shown
from ._base import facts, limited


@facts
class TaskAbortedError(BaseException):
    """Raised by the next report to a task that somebody else has ended meanwhile, as in ClearML's web page.

    Without a report, the next iteration of its sweep raises it. Like `KeyboardInterrupt` it is no
    `Exception`, so that nothing takes it for a failure. The task's own `with` block swallows it, and keeps
    the status and the reason that the task was given. If somebody has stopped the group's parent, every
    report and every iteration raises it, and the block of the group that created the parent swallows it.

    Attributes:
        task: The task's name; the group's name, if the parent was stopped.
        done: What was done to it: `stopped`, `failed`, `completed`, `published`, `deleted`, `reset` or
            `queued`.
        reason: Why, if that is known; else empty.
        id: The id of the ClearML task, or of the parent.
        of_group: Whether the parent was stopped, and so all of the group's tasks.
    """

    task: str
    done: str = "stopped"
    reason: str = ""
    id: str = ""
    of_group: bool = False

    @property
    def problem(self) -> str:
        """What happened, without advice."""
        what = "group" if self.of_group else "task"
        why = f" ({self.reason})" if self.reason else ""
        return f"the {what} {shown(self.task)} was {self.done} by somebody else{why}"

    def __str__(self) -> str:
        advice = (
            "so all of its tasks end"
            if self.of_group
            else "so it accepts no more data; put its work into `with task:`, and only that block ends"
        )
        return limited(f"{self.problem}, {advice}")
