"""The life of a group: its state, its data, the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._text import counted, shown, some
from ._base import AdviceError, TaskGroupError, facts

if TYPE_CHECKING:
    from collections.abc import Sequence


_SKIP = "skip it: `if task.done: continue` (in a Hydra job `return`)"


class GroupStateError(AdviceError, RuntimeError):
    """Raised when a group is used before it is opened or after it is closed."""

    kind = "the group"


@facts
class TaskClosedError(TaskGroupError, RuntimeError):
    """Raised when something is reported to a task that has ended, or when it is to end or begin again."""

    task: str
    status: str
    swept: bool = False
    done: bool = False
    unused: bool = False
    elsewhere: str = ""
    call: str = ""
    group_ended: bool = False

    def __str__(self) -> str:
        if self.elsewhere:
            where = f"belongs to another process of this run: {self.elsewhere} ({self.status})"
            return f"the task {shown(self.task)} {where}; {_SKIP}"
        if self.done:
            before = "was completed in an earlier attempt, so resume=True does not run it"
            return f"the task {shown(self.task)} {before}; {_SKIP}, or add to it: `with task.reopen(): …`"
        if self.call:
            return self._after_its_end()
        ended = f"has ended ({self.status}){', as has its group,' if self.group_ended else ''}"
        text = f"the task {shown(self.task)} {ended} and accepts no more data; "
        if self.swept:
            text += (
                "indent the report into `with task:` in the loop. A task of group.sweep(…) ends with that "
                "block, or when the next iteration begins, so list(group.sweep(…)) has ended tasks only: use "
                "group.tasks(…) to have all of them open at once."
            )
        elif self.group_ended:
            text += "report before the group's block ends."
        else:
            text += "report before its block ends, before close() and before mark_…()"
            text += ", or reopen it: `with task.reopen(): …`." if self.status == "completed" else "."
        if self.unused:
            text += (
                " Nothing was reported to it, but it has the status completed, so resume=True would skip it: "
                "start a new run, without resume."
            )
        return text

    def _after_its_end(self) -> str:
        task = f"the task {shown(self.task)} has ended as {self.status}"
        if self.call != "with":
            first = "the first status stays: call it in the task's block, before that ends"
            return f"{task}, so {self.call}() has no effect; {first}"
        again = "to add to it, write `with task.reopen(): …`"
        if self.group_ended:
            again = "its group has ended, too: open the group again, with resume=True to add to this run"
        elif self.status != "completed":
            again = (
                "to run it again, write group.sweep(…, if_exists='retry'), or open the group with resume=True"
            )
        return f"{task}, so its block cannot be entered a second time; {again}"


class NoCurrentTaskError(TaskGroupError, RuntimeError):
    """Raised by `current(required=True)` outside of every block."""

    def __init__(self, what: str = "task") -> None:
        super().__init__(
            f"there is no current {what} here: this code runs outside of every `with {what}:` block, or in "
            f"a thread that has not entered `with {what}.activate():`; enter one, or pass the {what} as an "
            "argument"
        )
        self.what = what

    def __reduce__(self) -> tuple[Any, ...]:
        return NoCurrentTaskError, (self.what,)


class TaskReopenError(AdviceError, RuntimeError):
    """Raised by `task.reopen()` for a task that cannot take more data."""

    kind = "the task"


class SweepOverError(AdviceError, RuntimeError):
    """Raised when a second loop begins over a sweep that has ended."""


class ModeError(AdviceError, RuntimeError):
    """Raised when the group's mode contradicts the mode that ClearML is set to."""


@facts
class DeliveryError(TaskGroupError):
    """Raised when a block ends and some of its data is not delivered.

    Attributes:
        remedy: What to do; for points in an outbox, the command that delivers them.
        outbox: The file in which the points wait; empty if they are lost.
        lost: How many of them are lost although others wait.
    """

    points: int
    tasks: Sequence[str]
    where: str
    cause: str
    remedy: str = ""
    unit: str = "point"
    outbox: str = ""
    lost: int = 0

    def __str__(self) -> str:
        who = f"{counted(self.points, self.unit)} of {counted(len(self.tasks), 'task')} ({some(self.tasks)})"
        head = f"{who} could not be delivered"
        rest = f". {self.remedy or f'What was delivered is in {self.where}'}"
        if self.outbox:
            lost = f"; {self.lost:,} are lost, the others wait in {self.outbox}" if self.lost else ""
            head = f"{who} are not on the server" if self.lost else f"{who} wait in {self.outbox}"
            rest = f"{lost}; deliver them with: {self.remedy}"
        return f"{head}: {str(self.cause)[: max(60, 470 - len(head) - len(rest))]}{rest}"


class RunLogError(AdviceError, ValueError):
    """Raised when a run log has a line that no group writes, or does not fit to the data beside it."""

    kind = "the run log"


@facts
class ServerError(TaskGroupError, ConnectionError):
    """Raised when a ClearML server cannot be reached, or refuses a request."""

    problem: str

    def __str__(self) -> str:
        return f"the ClearML server: {self.problem[:400]}"


@facts
class LoginError(ServerError):
    """Raised as a group opens, when the server does not answer or refuses the credentials."""

    advice: str = (
        "set api.api_server and credentials in clearml.conf (or CLEARML_API_HOST, CLEARML_API_ACCESS_KEY, "
        "CLEARML_API_SECRET_KEY)"
    )

    def __str__(self) -> str:
        return f"the ClearML server: {self.problem[:200]}; {self.advice}, or work offline: mode='offline'"


@facts
class RunInUseError(TaskGroupError, RuntimeError):
    """Raised when a run is resumed or uploaded while another process works on it."""

    run: str
    since: str = "a living process on this machine holds it"
    group: str = ""
    advice: str = (
        "wait until it has ended; for a run that several processes share, give all of them the same run= "
        "(or CLEARML_TASKGROUP_RUN); takeover=True is meant for a process that no longer exists"
    )

    @property
    def who(self) -> str:
        """The run, with its group if that is known."""
        return f"{self.run} of {self.group}" if self.group else self.run

    def __str__(self) -> str:
        return f"the run {self.who} is still in use: {self.since}; {self.advice}"
