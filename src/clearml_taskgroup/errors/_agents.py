"""Queues and agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._text import counted, shown, some
from ._base import AdviceError, TaskGroupError, facts

if TYPE_CHECKING:
    from collections.abc import Sequence


class SubmitError(AdviceError, RuntimeError):
    """Raised when `sweep(…, queue=…)` is called where no agent could run its configurations."""

    def __str__(self) -> str:
        return (
            f"the sweep cannot be submitted to the queue {shown(self.subject)}: {self.problem}; {self.advice}"
        )


class UnknownQueueError(AdviceError, LookupError):
    """Raised when `queue=` names a queue that the server does not have."""

    kind = "the queue"


class QueuedTaskError(AdviceError, RuntimeError):
    """Raised when a script reports to or ends a task that it has submitted to a queue."""

    kind = "the task"


@facts
class WaitTimeoutError(TaskGroupError, TimeoutError):
    """Raised when tasks have not ended after `group.wait(timeout=…)`."""

    seconds: float
    counts: str
    tasks: Sequence[str]

    def __str__(self) -> str:
        late = f"after {self.seconds:g} s {counted(len(self.tasks), 'task')} had not ended ({self.counts})"
        return f"{late}: {some(self.tasks)}. They go on; call group.wait() again, or group.cancel()"


class AgentTaskError(AdviceError, RuntimeError):
    """Raised on an agent, when the script did not run the configuration of the agent's task."""

    kind = "the agent's task"


class AgentParameterError(AdviceError, ValueError):
    """Raised on an agent, when a parameter of its task cannot be read as the type that it had."""

    kind = "the parameter"
