"""TaskState: what an open run knows of one of its tasks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from .._model.metric_data import are_exact
from .._model.status import ENDED, Status
from .._text import storable
from ..errors import TaskAbortedError

if TYPE_CHECKING:
    from .._model.metric_data import Metrics
    from .._model.metrics import MetricKey
    from .._model.specs import ForeignStatus, TaskSpec
    from .naming import Names


MAX_REASON_CHARS = 500
"""Characters of a status reason that are kept."""


class Abort(NamedTuple):
    """How somebody else has ended a task, or a whole run by stopping its parent.

    Attributes:
        args: The arguments of the `TaskAbortedError`.
        status, reason: Those of the task from then on.
    """

    args: tuple[str, str, str, str, bool]
    status: Status
    reason: str

    @classmethod
    def of_task(cls, state: TaskState, other: ForeignStatus) -> Abort:
        """Makes that of a task with a final status that somebody else has set."""
        why = other.reason if other.word == other.status else ""
        reason = storable(other.reason)[:MAX_REASON_CHARS]
        return cls((state.spec.name, other.word, why, state.id, False), other.status, reason)

    @classmethod
    def of_run(cls, name: str, parent: str | None, reason: str) -> Abort:
        """Makes that of all tasks of a run whose parent somebody has stopped."""
        args = (name, "stopped", reason, parent or "", True)
        return cls(args, "stopped", TaskAbortedError(*args).problem)

    @property
    def cause(self) -> str:
        """The reason that somebody has given."""
        return self.args[2]

    @property
    def is_of_run(self) -> bool:
        """Whether the whole run was aborted."""
        return self.args[4]

    def error(self, kind: type[TaskAbortedError] = TaskAbortedError) -> TaskAbortedError:
        """Makes the error; each time another, which belongs to the thread that raises it."""
        return kind(*self.args)


def _forget_row(state: TaskState, attribute: Any, value: Any) -> Any:
    if state.row is not None:
        state.row = None
        state._keep_row_unchanged()
    return value


def _without_hooks(cls: type, fields: list[Any]) -> list[Any]:
    """Says of each field that has no hook that it needs none: else `__init__` looks for one."""
    no_hook = attrs.setters.NO_OP
    return [field if field.on_setattr is not None else field.evolve(on_setattr=no_hook) for field in fields]


@attrs.define(eq=False, repr=False, field_transformer=_without_hooks)
class TaskState:
    """What a run knows of one task.

    Attributes:
        row: What results show of the task, made once after its end; None if it has to be made, as after each
            change. Its statistics are the task's own, so whoever adds values to a task that has ended first
            sets one of the fields with `_forget_row`.
        opened, ended: `time.monotonic()` at the opening and at the end.
        finished: Whether the end is stored in the backend.
        in_sweep: Whether the task was opened by a loop over `group.sweep`.
        done: Whether nothing is left to do: an earlier attempt has completed it, or another process has it.
        elsewhere: The process that runs it, if another process of a shared run does; else empty.
        ends_elsewhere: Whether other code than its own `with` block ends it, as with an Optuna trial.
        archived: Whether a person has archived it on the server, so that it does not count in results.
        uncounted: Whether values may be stored that this process has not counted: of a process that died,
            of a forked child, or of ClearML's own logger.
        entered: Whether one of its blocks, or `activate()`, was entered.
        aborted: What somebody else has done to it while it was open; None if nothing.
        abort_seen: Whether the script knows of that: an error was raised, or its block was left.
        abort_error: The class of the error, if not the whole run was aborted.
        left_by: Which other task's abort has left its block, so that its work was not finished.
        device: The device of the worker that runs it, as `map(devices=…)` names it; None if it has none.
        failure: The exception that failed it, without frames, and the traceback as text; None if unknown.
        reopened: How often it was opened again in this process.
    """

    spec: TaskSpec
    id: str
    names: Names
    params: dict[str, Any]
    opened: float
    row: Any = attrs.field(default=None, init=False, repr=False)
    status: Status = attrs.field(default="in_progress", on_setattr=_forget_row)
    reason: str = attrs.field(default="", on_setattr=_forget_row)
    ended: float | None = attrs.field(default=None, on_setattr=_forget_row)
    finished: bool = False
    in_sweep: bool = False
    done: bool = False
    elsewhere: str = ""
    ends_elsewhere: bool = False
    archived: bool = False
    uncounted: bool = attrs.field(default=False, on_setattr=_forget_row)
    entered: bool = False
    aborted: Abort | None = None
    abort_seen: bool = False
    abort_error: type[TaskAbortedError] = TaskAbortedError
    left_by: str = ""
    device: str | None = None
    failure: tuple[BaseException, str] | None = None
    reopened: int = 0
    metrics: Metrics = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.metrics = self.names.metrics

    @property
    def metric_keys(self) -> tuple[MetricKey, ...]:
        """The metric keys that have values."""
        return tuple([key for key, data in self.metrics.items() if data.stats.count])

    @property
    def metric_names(self) -> list[str]:
        """The metrics that have values, each once."""
        return list(dict.fromkeys(key.metric for key in self.metric_keys))

    @property
    def is_counted(self) -> bool:
        """Whether this process has counted all that is stored of the task, so that nothing has to be read."""
        return not self.uncounted and are_exact(self.metrics)

    @property
    def is_open(self) -> bool:
        """Whether the task takes data."""
        return self.status not in ENDED and not self.elsewhere

    def abort(self, how: Abort, withdrawn: bool = False) -> bool:
        """Ends the task as somebody else has ended it, from any thread; returns whether it was open.

        Args:
            how: How it was ended.
            withdrawn: Whether it is no longer this process's own, which then does not store its end.
        """
        if not self.is_open:
            return False
        self.aborted, self.reason = how, how.reason
        self.ended, self.finished = time.monotonic(), withdrawn
        self.status = how.status  # last: it is what `report` looks at
        return True

    @property
    def duration(self) -> float:
        """Seconds from the opening to the end, or to now."""
        return (self.ended or time.monotonic()) - self.opened

    def _keep_row_unchanged(self) -> None:
        """Copies the statistics, which results may show as they were."""
        self.names.forget_channels()
        for data in self.metrics.values():
            data.stats = data.stats.copy()

    def open_again(self) -> None:
        """Lets a task that has ended take data again; the time in between does not count."""
        self._keep_row_unchanged()
        self.opened = time.monotonic() - self.duration
        self.status, self.reason, self.ended = "in_progress", "", None
        self.finished = self.done = self.ends_elsewhere = self.abort_seen = False
        self.aborted, self.left_by = None, ""
        self.reopened += 1
