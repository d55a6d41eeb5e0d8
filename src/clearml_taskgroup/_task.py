"""GroupTask: one task of a group."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Never, Protocol, SupportsIndex, cast, overload

from ._clearml.events import FIRST_ITERATION, LAST_ITERATION
from ._clearml.hyperparameters import stored_parameters
from ._current import console, current_group, current_task, enter, leave, tasks
from ._log import logger, warn
from ._model.arguments import checked_timeout
from ._model.identity import flatten
from ._model.parameter_json import copied_parameters, is_same_json
from ._model.report_values import (
    MAX_STORED_NUMBER,
    PLAIN_NUMBERS,
    checked_levels,
    flatten_nested,
    to_float,
    to_iteration,
)
from ._reporting import BoundTask, NeverCopied, report_error
from ._run import abort, failures, forked, task_lines
from ._run.naming import check_aliases
from ._run.nonfinite import Skipped, end_divergence, nonfinite_key, skip_nonfinite
from ._run.reporter import FIRST_POINT, Points
from ._task_info import TaskInfo
from ._task_metric import TaskMetric
from ._text import printable, shown
from .errors import (
    ArgumentError,
    LostPointsWarning,
    NoCurrentTaskError,
    ParameterError,
)

if TYPE_CHECKING:
    from types import TracebackType

    from ._auto_logging.task_target import TaskTarget
    from ._clearml.sdk import clearml
    from ._failure import Failure
    from ._group import TaskGroup
    from ._model.status import Status
    from ._reporting import NestedValues, Values
    from ._run.console import Sink
    from ._run.naming import Parts
    from ._run.run import Run
    from ._run.state import TaskState
    from .integrations.tensorboard import SummaryWriter


_PATH = {"/", "\\", "."}
"""What a path has and no field of a template."""
_NOT_CAUGHT_ON_AGENT = (
    "catch=… lets a loop go on, and on an agent the loop has one iteration: the exception ends the "
    "script, so that the agent marks its task as failed"
)


class GroupOfTask(Protocol):
    """The calls that a task passes on to its group: a `TaskGroup`, in a worker process a `WorkerGroup`."""

    def flush(self, timeout: float | None = None) -> None: ...

    def activate(self) -> contextlib.AbstractContextManager[Any]: ...


class GroupTask(TaskInfo, NeverCopied):
    """One task of a group; made by `group.task`, `group.tasks`, `group.sweep` and `group.map`.

    Used as a context manager, it ends with its block: as completed, or as failed or stopped if an exception
    leaves the block. Without one it ends at the next iteration of its sweep, or with the group. A copy
    of a task is the task itself. A pickled one reports to it from another process.
    """

    __slots__ = ("__weakref__", "_caught", "_entered_in", "_run", "_sink", "_state", "_target", "group")
    group: TaskGroup
    """The group that the task belongs to."""

    def __init__(self, group: GroupOfTask, run: Run, state: TaskState) -> None:
        self.group = cast("TaskGroup", group)
        self._run = run
        self._state = state
        self._caught: Failure | None = None
        self._sink = self._new_sink() if run.options.capture_console else None
        self._entered_in: list[int] = []
        self._target: TaskTarget | None = None  # what auto-logging has of it

    def __repr__(self) -> str:
        return printable(f"<GroupTask {self.name!r} key={self.key} {self.status}>")

    def __str__(self) -> str:
        return self._state.spec.name

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        from ._map.pickling import reference_to
        from ._map.worker_task import reopen

        return reopen, reference_to(self)

    # --- what it logs --------------------------------------------------------------------------

    def bind(self, **context: Any) -> BoundTask:
        """Returns a view of this task with context filled in, `val = task.bind(split="val")`.

        Context that is passed to `report` replaces what is bound.

        Args:
            **context: Values for fields of the template.

        Raises:
            UnknownFieldError: The template has no such field.
        """
        return BoundTask(self, context)

    def _metric(self, metric: str, context: dict[str, Any]) -> TaskMetric:
        return TaskMetric(self, metric, context)

    def _report(
        self,
        values: Values | NestedValues,
        iteration: SupportsIndex | None,
        levels: Sequence[str] | None,
        context: dict[str, Any],
    ) -> None:
        state = self._state
        if state.status != "in_progress" or state.elsewhere:
            raise abort.closed_error(state, self._is_in_block, run_closed=self._run.closed)
        if levels is None and type(values) is not dict and not isinstance(values, Mapping):
            raise report_error(values)
        at = iteration if iteration is None or type(iteration) is int else to_iteration(iteration)
        if at is not None and not FIRST_ITERATION <= at <= LAST_ITERATION:
            raise ArgumentError("iteration", at, f"an integer from {FIRST_ITERATION} to {LAST_ITERATION}")
        points: Points = [state.id, at, 0]
        skipped: Skipped = []
        parts: Parts = [(context, values)]
        if levels is not None:
            parts = flatten_nested(values, checked_levels(levels), context)
        for inner, metrics in parts:
            self._collect(metrics, inner, at is None, points, skipped)
        vocabulary = state.names.vocabulary
        if vocabulary is not None and vocabulary.has_aliases:
            check_aliases(state.names, points, bool(skipped), parts)
        if len(points) > FIRST_POINT:  # from here on nothing is refused: all of a report counts, or nothing
            reporter = self._run.reporter
            if at is None:
                for number in points[FIRST_POINT::2]:
                    channel = reporter.channels.by_number.get(number)
                    if channel is not None and channel.data.single_skipped:
                        end_divergence(self._run, state, channel.data)
            if reporter.put(points):
                self._warn_of_lost()
        for metric_key, x in skipped:
            skip_nonfinite(self._run, state, metric_key, at, x)

    def _collect(
        self,
        values: Mapping[str, Any],
        context: dict[str, Any],
        single: bool,
        points: Points,
        skipped: Skipped,
    ) -> None:
        names = self._state.names
        cache = names.cache(context, single)
        for metric, value in values.items():
            kind = type(value)
            x = value if kind is float else float(value) if kind in PLAIN_NUMBERS else to_float(metric, value)
            if -MAX_STORED_NUMBER <= x <= MAX_STORED_NUMBER:
                number = cache.get(metric)
                if number is None:
                    number = names.channel(metric, context, single)
                    if names.unstored:
                        self._run.store_names(self._state)
                points.append(number)
                points.append(x)
            else:
                skipped.append((nonfinite_key(self._run, self._state, metric, context, x), x))

    def _warn_of_lost(self) -> None:
        if "lost" not in self._run.warned:
            self._run.warned.add("lost")
            cause = self._run.reporter.error or "the queue is full and is not emptied"
            warn(
                f"points of the task {self._state.spec.name!r} were dropped, so that the script is not held "
                f"up: {cause}. They are counted, and the count is reported when the group closes",
                LostPointsWarning,
            )

    @property
    def logger(self) -> clearml.Logger:
        """ClearML's own `Logger` for this task, created on first use."""
        return self.clearml_task.get_logger()

    @property
    def clearml_task(self) -> clearml.Task:
        """ClearML's own `Task` object, created on first use.

        In the mode `disabled` and in `testing.recording()`, an object that accepts every call and does
        nothing.

        Raises:
            TaskClosedError: The task has ended.
        """
        self._require_open()
        task: clearml.Task = self._run.backend.clearml_task(self.id)
        self._state.uncounted = True  # what it logs is read back
        return task

    def summary_writer(self, context: str | None = None, **more: Never) -> SummaryWriter:
        """Returns an object with the calls of TensorBoard's `SummaryWriter`, for code that uses one.

        `task.bind(…)` has it too, with its context filled in.

        Args:
            context: The field of the template that the last part of a tag is the value of: with `"split"`,
                the tag `loss/train` is the metric `loss` with `split="train"`. With None, this is done if
                the last or the first part is `train`, `val`, `test` or the like.
            **more: Nothing: TensorBoard's arguments, such as `log_dir`, are not needed.

        Raises:
            UnknownFieldError: The template does not have the field.
            ArgumentError: A folder or another argument of TensorBoard's was given.
        """
        return self._summary_writer(self, context, more)

    def _summary_writer(
        self, owner: GroupTask | BoundTask, context: str | None, more: dict[str, Any]
    ) -> SummaryWriter:
        from .integrations.tensorboard import SummaryWriter

        if isinstance(context, os.PathLike) or (isinstance(context, str) and _PATH & {*context}):
            more = {"log_dir": context}
        for name, given in more.items():
            raise ArgumentError(
                name, given, "no folder and no arguments of TensorBoard's: summary_writer() logs to the task"
            )
        return SummaryWriter(owner, context)

    def set_parameters(self, params: Mapping[str, Any] | None = None, **more: Never) -> None:
        """Adds parameters to the task, in ClearML's section `General`.

        Args:
            params: Name → value; nested dicts become `a/b`.
            **more: Nothing: parameters are passed as a dict.

        Raises:
            ArgumentError: They are no dict.
            ParameterError: One has another value in the task's identity.
            TaskClosedError: The task has ended.
        """
        self._require_open()
        if more or not isinstance(params, Mapping):
            given: Mapping[str, Any] = params if isinstance(params, Mapping) else {}
            example = {**given, **more} or {"lr": 0.1}
            raise ArgumentError("params", params, f"a dict: set_parameters({shown(example)})")
        flat, own = copied_parameters(flatten(params)), self._state.spec.params
        added = stored_parameters(flat)
        for name in flat.keys() & own.keys():
            if not is_same_json(added[name], stored_parameters(own)[name]):
                raise ParameterError(
                    name,
                    f"is {shown(own[name])} in this task's identity, so it cannot become {shown(flat[name])}",
                    "open another task for it, or open this one with name= or key= and without it",
                )
        self._run.backend.set_parameters(self.id, flat)
        task_lines.log_parameters(self._run, self._state, flat)
        self._state.params.update(flat)

    # --- how it ends ---------------------------------------------------------------------------

    def mark_completed(self) -> None:
        """Ends the task as completed; its data is on disk, and online a thread delivers it."""
        self._end("completed", "")

    def mark_failed(self, status_reason: str = "") -> None:
        """Ends the task as failed.

        An agent takes the status from the script's exit code, so there the group's end raises
        `AgentTaskError`.

        Args:
            status_reason: Why, for people.
        """
        self._end("failed", status_reason)

    def mark_stopped(self, status_reason: str = "") -> None:
        """Ends the task as stopped, for example a pruned trial.

        On an agent, whose tasks are either completed or failed, it has the effect of `mark_failed`.

        Args:
            status_reason: Why, for people.
        """
        self._end("stopped", status_reason)

    def _end(self, status: Status, reason: str) -> None:
        self._require_open(f"mark_{status}")
        if not isinstance(reason, str):
            raise ArgumentError("status_reason", reason, "text, such as str(error)")
        self._run.end(self._state, status, reason)

    def reopen(self) -> GroupTask:
        """Opens a completed task again, in the same ClearML task: `with task.reopen():`.

        For what is measured after its block, or later in a run that `resume` continues. What it has is
        kept, and a value of an iteration that has one replaces it. It ends again with the block, or with
        the group. If the process dies before, it counts as completed, with the data that it has.

        Returns:
            The task itself.

        Raises:
            TaskReopenError: It is open (also in another process of a shared run), failed or stopped; or
                it was published, archived, deleted or changed by somebody else. Or this is a worker
                process or a forked child.
            GroupStateError: The group has been closed.
            ServerError: The server cannot be reached.
            StoreError: The disk is full or broken.
        """
        from ._run.reopening import reopen_task

        reopen_task(self._run, self._state)
        return self

    def flush(self, timeout: float | None = None) -> None:
        """Waits until everything that was reported so far is delivered, and ended tasks have their status.

        Args:
            timeout: The most seconds to wait; None for the group's `close_timeout`.

        Raises:
            DeliveryError: Some of it was not delivered in time.
        """
        self.group.flush(timeout)

    def close(self, timeout: float | None = None) -> None:
        """Ends the task, as completed unless it has ended already, and delivers its data.

        Args:
            timeout: The most seconds to wait; None for the group's `close_timeout`.

        Raises:
            DeliveryError: Some data was not delivered in time; the group's end tries again.
            StoreError: The data cannot be written to disk.
        """
        seconds = checked_timeout(timeout, self._run.options.close_timeout)
        self._run.mark(self._state, "completed")
        for error in self._run.finish([self._state], seconds):
            raise error

    def _new_sink(self) -> Sink:
        from ._run.console import Sink

        return Sink(self._put_text)

    def _put_text(self, text: str) -> None:
        if self._state.aborted is not None:
            return
        self._run.reporter.put_text(self.id, text)

    @contextlib.contextmanager
    def activate(self) -> Iterator[GroupTask]:
        """Makes the task the current one, for threads and callbacks.

        A new thread has no current task until it enters `with task.activate():`. The task does not end
        with that block.
        """
        with self.group.activate():
            self._enter()
            try:
                yield self
            finally:
                self._leave()

    @overload
    @staticmethod
    def current(*, required: Literal[True]) -> GroupTask: ...
    @overload
    @staticmethod
    def current(*, required: bool = False) -> GroupTask | None: ...
    @staticmethod
    def current(*, required: bool = False) -> GroupTask | None:
        """Returns the task whose block this is, else the task of the sweep's iteration, else None.

        Args:
            required: Whether to raise in place of None: `GroupTask.current(required=True).report(…)`.

        Raises:
            NoCurrentTaskError: There is none, and `required` is true.
        """
        task, group = current_task(), current_group()
        if group is not None and (task is None or task.group is not group):
            task = group._iteration_task or task
        if task is None and required:
            raise NoCurrentTaskError("task")
        return task

    def __enter__(self) -> GroupTask:
        if self._state.aborted is None:  # else its first report raises, so that this block swallows the error
            self._require_open("with")
        self._state.left_by = ""
        self._enter()
        return self

    @property
    def _is_in_block(self) -> bool:
        """Whether one of its blocks has been entered and not left."""
        return bool(self._entered_in)

    def _enter(self) -> None:
        self._state.entered = True
        self._entered_in.append(os.getpid())
        enter(tasks, self)
        console.set(self._sink)

    def _leave(self) -> int:
        """Leaves the block that was entered last; returns the id of the process that entered it."""
        entered_in = self._entered_in.pop()
        leave(tasks, self)
        inner = current_task()
        console.set(inner._sink if inner is not None else None)
        if self._sink is not None:
            self._sink.flush()
        if self._target is not None and self._run.in_child:
            self._target.flush_in_child()
        return entered_in

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        entered_in = self._leave()
        if self._state.ends_elsewhere or entered_in != os.getpid():  # a forked child runs out through it
            return False
        if exc is not None:
            aborts = abort.aborts_in(exc)
            return abort.leave_task(self._run, self._state, aborts) if aborts else self._end_by(exc)
        self._state.abort_seen = True
        self._run.end(self._state, "completed")
        return False

    def _end_by(self, exc: BaseException) -> bool:
        """Ends the task by an exception that leaves its block; returns whether `catch` keeps it there."""
        run, catch = self._run, self._run.options.catch
        if run.in_child:
            forked.log_end(run, self._state, exc, failures.mark_by_exception(run, self._state, exc))
            return False
        text = failures.end_by_exception(run, self._state, exc)
        if not failures.is_caught(exc, catch):
            if isinstance(exc, catch):
                failures.add_note(
                    exc,
                    "catch=… includes this package's own errors only by their own classes, "
                    f"catch={type(exc).__name__}, because most of them are mistakes in the script",
                )
            return False
        if run.agent_task is not None:
            failures.add_note(exc, _NOT_CAUGHT_ON_AGENT)
            return False
        self._keep_caught(exc, text)
        logger.warning("%s failed, the loop goes on: %s", self, failures.reason_of(exc))
        return True

    def _keep_caught(self, exc: BaseException, text: str) -> None:
        """Keeps an exception that `catch` includes; of several, the first."""
        from ._failure import Failure

        failures.clear_frames(exc)
        if self._caught is None:
            self._caught = Failure(self, exc, text)

    def _require_open(self, call: str = "") -> None:
        if not self._state.is_open:
            raise abort.closed_error(self._state, self._is_in_block, call, self._run.closed)
