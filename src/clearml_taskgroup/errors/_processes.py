"""Other processes."""

from __future__ import annotations

from .._text import shown
from ._base import AdviceError, TaskGroupError, facts


class HandleError(AdviceError, RuntimeError):
    """Raised when a task cannot be pickled for another process, or its data cannot be reached there."""

    kind = "the task"


class FunctionPickleError(AdviceError, TypeError):
    """Raised when the function given to `map` cannot be sent to another process."""


class ValuePickleError(AdviceError, TypeError):
    """Recorded by `map` when the value that a function returned cannot be sent back."""

    kind = "the task"


@facts
class CarriedError(TaskGroupError, RuntimeError):
    """Recorded by `map` in place of an exception that cannot itself be sent between processes.

    Also in `group.failures`, for a failure of which only the reason is known.

    Attributes:
        traceback: Where it was raised, as text.
    """

    text: str
    traceback: str = ""

    def __str__(self) -> str:
        return self.text


class WorkerDiedError(AdviceError, RuntimeError):
    """Recorded by `map` when the process or the executor that a task was given to died."""

    kind = "the task"


@facts
class CallTimeoutError(TaskGroupError, TimeoutError):
    """Recorded by `map` when a call took longer than `timeout` and its worker process was ended."""

    task: str
    timeout: float

    @property
    def reason(self) -> str:
        """What happened, without the task's name."""
        return f"the call took longer than timeout={self.timeout:g} s, so its worker process was ended"

    def __str__(self) -> str:
        return (
            f"the task {shown(self.task)} was not finished: {self.reason}; give a larger timeout=, or look "
            "into its console for where it was"
        )


@facts
class WorkerStartError(TaskGroupError, RuntimeError):
    """Raised when the worker processes of `map` cannot start, or when one of them opens the group again."""

    problem: str

    def __str__(self) -> str:
        script = (
            "Worker processes that 'spawn' or 'forkserver' starts import the script; put what it does under"
        )
        return f'{self.problem}. {script} `if __name__ == "__main__":`, and leave functions outside of that'
