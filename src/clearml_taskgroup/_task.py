"""What a task and its bound views share: report, name, and the context filled in."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Never, SupportsIndex

import attrs

from ._clearml.events import FIRST_ITERATION, LARGEST, LAST_ITERATION
from ._model.identity import flatten, is_same, typed
from ._model.metrics import MetricKey
from ._model.name_template import Name, check_context
from ._model.report_values import checked_levels, number, unfold, whole
from ._run import console as _console
from ._run.run import Run
from .errors import (
    ArgumentError,
    CarriedError,
    LostPointsWarning,
    NameCollisionError,
    ParameterError,
    ReportError,
    TaskClosedError,
)

if TYPE_CHECKING:
    from types import TracebackType

    from ._group import TaskGroup
    from ._model.status import Status
    from ._run.reporter import Channel, Points
    from ._run.run import Run
    from ._run.state import TaskState
    from .integrations.tensorboard import SummaryWriter


@attrs.frozen
class Failure:
    """A task that failed.

    Attributes:
        task: The task.
        exception: What left its block: the exception itself, its frames cleared, where `catch` kept it
            from ending the loop; else one like it, without frames, so that it holds no data. A
            `CarriedError` with the reason where there was none, as with `mark_failed`, or where it cannot
            be copied or come from another process.
        traceback: The traceback as text; empty where there is none.
    """

    task: GroupTask
    exception: BaseException
    traceback: str = attrs.field(repr=False)


def failure_of(task: GroupTask) -> Failure:
    """Tells what is known of how a task failed."""
    error, text = task._state.failure or (CarriedError(task.status_reason or "it was marked as failed"), "")
    return Failure(task, error, text)


Values = Mapping[str, Any]
"""Metric → number; or, with `levels`, dicts of that, one level of keys for each word."""


def refused(values: Any, *more: Any) -> ReportError:
    """Gives the error of a call that is not of `report`'s form.

    Args:
        values: What was given in the place of the dict.
        *more: What was given past the iteration.
    """
    if isinstance(values, Mapping):
        shown = ", ".join(map(repr, more))
        return ReportError(
            f"report() was given {shown} after the dict and the iteration; what it takes besides goes by "
            "name, as report({'loss': 0.3}, iteration, split='val')"
        )
    return ReportError(
        f"report() was given {values!r}, a {type(values).__name__}; it takes a dict of metric → "
        "number, as report({'loss': 0.3}, iteration)"
    )


class TaskName(str):
    """A task's readable name; called with a metric, it gives ClearML's title and series."""

    __slots__ = ("_task",)
    _task: Reporting

    def __call__(self, metric: str, **context: Any) -> Name:
        """Gives the (title, series) under which a metric of this task is logged.

        ClearML's own reporting calls all start with these two:
        `task.logger.report_plotly(*task.name("roc", split="val"), iteration=3, figure=figure)`.

        Args:
            metric: The metric's name, or an alias of the vocabulary.
            **context: A value for each field of the template.

        Raises:
            MissingFieldError, UnknownFieldError, UnknownMetricError: As for `report`.
        """
        return self._task._name(metric, context)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


class Reporting:
    """What a task and its bound views share."""

    __slots__ = ()

    def report(
        self,
        values: Values,
        iteration: SupportsIndex | None = None,
        *more: Never,
        levels: Sequence[str] | None = None,
        **context: Any,
    ) -> None:
        """Reports numbers under the names that the group's template gives them.

        Returns at once: nothing is written or sent by the caller's thread.

        Args:
            values: Metric → number: Python's, numpy's, or a tensor of one element.
            iteration: The x value, a whole number. Without one they are single values.
            *more: None: the context is given by name.
            levels: For nested dicts, what each level of keys stands for: `"metric"` and fields of
                the template, from the outside in, `("split", "metric")`.
            **context: A value for each field of the template, `split="val"`.

        Raises:
            TaskClosedError: The task has ended.
            ReportError: The call has another form, as `report("loss", 0.3, 7)`.
            MetricValueError: A value is not a number.
            MissingFieldError, UnknownFieldError: Context and template don't match.
            UnknownMetricError: The group has a vocabulary without this metric.
            NameCollisionError: Two different values would get the same name.
            NonFiniteError: A value is NaN, ±inf or beyond ±3.4e38, under `nonfinite="raise"`.
        """
        if more:
            raise refused(values, *more)
        self._report(values, iteration, levels, context)

    def _report(
        self,
        values: Values,
        iteration: SupportsIndex | None,
        levels: Sequence[str] | None,
        context: dict[str, Any],
    ) -> None:
        raise NotImplementedError

    def _name(self, metric: str, context: dict[str, Any]) -> Name:
        raise NotImplementedError


class BoundTask(Reporting):
    """A view of a task with context filled in; made by `task.bind`."""

    __slots__ = ("_context", "task")

    def __init__(self, task: GroupTask, context: Mapping[str, Any]) -> None:
        check_context(task._state.names.template, context)
        self.task = task
        self._context = dict(context)

    def __repr__(self) -> str:
        bound = ", ".join(f"{field}={value!r}" for field, value in self._context.items())
        return f"<{self.task.name!s} bound to {bound}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return BoundTask, (self.task, self._context)

    def _report(
        self,
        values: Values,
        iteration: SupportsIndex | None,
        levels: Sequence[str] | None,
        context: dict[str, Any],
    ) -> None:
        self.task._report(values, iteration, levels, {**self._context, **context})

    def bind(self, **context: Any) -> BoundTask:
        """Gives a view with more context filled in.

        Args:
            **context: Values for fields of the template; they go before those that are bound already.

        Raises:
            UnknownFieldError: The template has no such field.
        """
        return BoundTask(self.task, {**self._context, **context})

    def name(self, metric: str, **context: Any) -> Name:
        """Gives the (title, series) of a metric in the bound context.

        Args:
            metric: The metric's name, or an alias of the vocabulary.
            **context: Values for the fields of the template that are not bound.

        Raises:
            MissingFieldError, UnknownFieldError, UnknownMetricError: As for `report`.
        """
        return self._name(metric, context)

    def _name(self, metric: str, context: dict[str, Any]) -> Name:
        return self.task._name(metric, {**self._context, **context})


_current: ContextVar[GroupTask | None] = ContextVar("clearml_taskgroup_task", default=None)


class GroupTask(Reporting):
    """One task of a group; made by `group.task`, `group.tasks` and `group.sweep`.

    As a context manager it ends with its block: completed, or failed or stopped by what leaves
    the block. Without a block it ends with the group, or the next turn of its sweep.
    """

    __slots__ = ("__weakref__", "_run", "_sink", "_state", "_tokens", "group")

    def __init__(self, group: TaskGroup, run: Run, state: TaskState) -> None:
        self.group = group
        self._run = run
        self._state = state
        self._sink = _console.Sink(self._put_text) if group.captures_console else None
        self._tokens: list[Any] = []

    def __repr__(self) -> str:
        return f"<GroupTask {str(self.name)!r} key={self.key} {self.status}>"

    def __str__(self) -> str:
        return self._state.spec.name

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        from ._map.pickling import handle_of
        from ._map.worker_task import reopen  # which know groups, as this module does not

        return reopen, handle_of(self)

    # --- who it is -----------------------------------------------------------------------------

    @property
    def name(self) -> TaskName:
        """The readable name, `C=1,seed=0`.

        As a call it gives a metric's title and series: `task.name("roc", split="val")`.
        """
        text = TaskName(self._state.spec.name)
        text._task = self
        return text

    @property
    def key(self) -> str:
        """The stable identity in the group, the same in every run."""
        return self._state.spec.key

    @property
    def index(self) -> int:
        """The place in the space, from 0."""
        return self._state.spec.index

    @property
    def attempt(self) -> int:
        """Which attempt at this key it is, from 1."""
        return self._state.spec.attempt

    @property
    def id(self) -> str:
        """The ClearML task's id; offline it is a temporary one."""
        return self._state.id

    @property
    def params(self) -> dict[str, Any]:
        """A copy of the parameters, as they were given and set since.

        To change it changes nothing of the task: `set_parameters` adds to its parameters.
        """
        return dict(self._state.params)

    @property
    def tags(self) -> tuple[str, ...]:
        """The task's own tags, without those of the group."""
        return self._state.spec.tags

    @property
    def url(self) -> str | None:
        """The task's page, or offline its session folder; else None."""
        return self._run.backend.url(self.id)

    @property
    def status(self) -> Status:
        """`"in_progress"`, `"completed"`, `"failed"` or `"stopped"`.

        Of a task that was submitted to a queue also `"queued"` and, for a draft, `"created"`.
        """
        return self._state.status

    @property
    def done(self) -> bool:
        """Whether an earlier attempt has completed the task; only under `resume`."""
        return self._state.done

    @property
    def status_reason(self) -> str:
        """Why the task failed or stopped; else empty."""
        return self._state.reason

    # --- what it logs --------------------------------------------------------------------------

    def bind(self, **context: Any) -> BoundTask:
        """Gives a view of this task that fills context in, `val = task.bind(split="val")`.

        Context given to `report` itself goes before what is bound.

        Args:
            **context: Values for fields of the template.

        Raises:
            UnknownFieldError: The template has no such field.
        """
        return BoundTask(self, context)

    def _name(self, metric: str, context: dict[str, Any]) -> Name:
        return self._state.names.name(metric, context)

    def _report(
        self,
        values: Values,
        iteration: SupportsIndex | None,
        levels: Sequence[str] | None,
        context: dict[str, Any],
    ) -> None:
        state = self._state
        if state.status != "in_progress":
            raise _closed(state)
        if levels is None and not isinstance(values, Mapping):
            raise refused(values)
        at = iteration if iteration is None or type(iteration) is int else whole(iteration)
        if at is not None and not FIRST_ITERATION <= at <= LAST_ITERATION:
            raise ArgumentError("iteration", at, f"one from {FIRST_ITERATION} to {LAST_ITERATION}")
        points: Points = []
        if levels is None:
            self._collect(values, context, at is None, points)
        else:
            for inner, metrics in unfold(values, checked_levels(levels), context):
                self._collect(metrics, inner, at is None, points)
        vocabulary = state.names.vocabulary
        if vocabulary is not None and vocabulary.has_aliases:
            self._refuse_doubles(points, values, levels, context)
        if points:
            lost = self._run.reporter.put(state.id, at, points)
            if lost:
                self._tell_lost()

    def _collect(self, values: Values, context: dict[str, Any], single: bool, points: Points) -> None:
        names = self._state.names
        cache = names.cache(context, single)
        for metric, value in values.items():
            x = value if type(value) is float else number(metric, value)
            if -LARGEST <= x <= LARGEST:
                channel = cache.get(metric)
                if channel is None:
                    channel = names.channel(metric, context, single)
                points.append(channel)
                points.append(x)
            else:
                self._run.leave_out(self._state, metric, context, x)

    def _refuse_doubles(
        self, points: Points, values: Values, levels: Sequence[str] | None, context: dict[str, Any]
    ) -> None:
        channels: list[Channel] = points[::2]
        if len(set(channels)) == len(channels):
            return
        names, spelt = self._state.names, dict[MetricKey, str]()
        parts = [(context, values)] if levels is None else unfold(values, checked_levels(levels), context)
        for inner, metrics in parts:
            for metric in metrics:
                metric_key, name = names.resolve(metric, inner)
                first = spelt.setdefault(metric_key, metric)
                if first != metric:
                    meant = str(metric_key)
                    raise NameCollisionError(name, first, metric, names.template.text, metric=meant)

    def _tell_lost(self) -> None:
        if "lost" not in self._run.told:
            self._run.told.add("lost")
            cause = self._run.reporter.error or "nothing takes points away"
            warnings.warn(
                f"points of the task {self._state.spec.name!r} had to be given up, so that the script goes "
                f"on: {cause}. They are counted, and named when the group closes",
                LostPointsWarning,
                stacklevel=4,
            )

    @property
    def logger(self) -> Any:
        """ClearML's own `Logger` for this task, made when first asked for."""
        return self.clearml_task.get_logger()

    @property
    def clearml_task(self) -> Any:
        """ClearML's own `Task` object, attached when first asked for.

        In the mode `disabled`, and in a memory store, an object that takes every call and does
        nothing.

        Raises:
            TaskClosedError: The task has ended.
        """
        self._require_open()
        return self._run.backend.clearml_task(self.id)

    def summary_writer(self, context: str | None = None) -> SummaryWriter:
        """Gives an object with the calls of TensorBoard's `SummaryWriter`, for code that has them.

        Args:
            context: The template's field that the last part of a tag fills in: `"split"` makes the tag
                `loss/train` the metric `loss` with `split="train"`. None does so where that part, or
                the first one, is `train`, `val`, `test` or the like.

        Raises:
            UnknownFieldError: The template does not have the field.
        """
        from .integrations.tensorboard import SummaryWriter

        return SummaryWriter(self, context)

    def set_parameters(self, params: Mapping[str, Any]) -> None:
        """Adds parameters to the task's section `General`.

        Args:
            params: Name → value; nested dicts become `a/b`.

        Raises:
            ParameterError: One is part of the task's identity already, with another value.
            TaskClosedError: The task has ended.
        """
        self._require_open()
        flat = flatten(params)
        for name in flat.keys() & self._state.spec.params.keys():
            if not is_same(typed(flat[name], name), typed(self._state.spec.params[name], name)):
                raise ParameterError(
                    name,
                    f"is {self._state.spec.params[name]!r} in this task's identity, so it cannot become "
                    f"{flat[name]!r}",
                    "open another task for it, or open this one with name= or key= and without it",
                )
        self._run.backend.set_parameters(self.id, flat)
        self._state.params.update(flat)

    # --- how it ends ---------------------------------------------------------------------------

    def mark_completed(self) -> None:
        """Ends the task as completed, its data delivered."""
        self._end("completed", "")

    def mark_failed(self, status_reason: str = "") -> None:
        """Ends the task as failed.

        On an agent, which goes by the script's exit code, the group's end raises `AgentTaskError`.

        Args:
            status_reason: Why, for people.
        """
        self._end("failed", status_reason)

    def mark_stopped(self, status_reason: str = "") -> None:
        """Ends the task as stopped: a pruned trial, an early end.

        On an agent, which knows nothing between completed and failed, as `mark_failed`.

        Args:
            status_reason: Why, for people.
        """
        self._end("stopped", status_reason)

    def _end(self, status: Status, reason: str) -> None:
        self._require_open()
        self._run.end(self._state, status, reason, self.group.close_timeout)

    def flush(self, timeout: float | None = None) -> None:
        """Waits until all that was reported so far is delivered.

        Args:
            timeout: The most seconds to wait; None for the group's `close_timeout`.

        Raises:
            DeliveryError: It was not delivered by then.
        """
        self.group.flush(timeout)

    def close(self, timeout: float | None = None) -> None:
        """Ends the task, as completed unless it has ended already, with its data delivered.

        Args:
            timeout: The most seconds to wait; None for the group's `close_timeout`.

        Raises:
            DeliveryError: Some data was not delivered by then; the group tries again as it closes.
            StoreError: The disk refuses.
        """
        self._run.mark(self._state, "completed")
        seconds = self.group.close_timeout if timeout is None else timeout
        for error in self._run.finish([self._state], seconds):
            raise error

    def _put_text(self, text: str) -> None:
        self._run.reporter.put_text(self.id, text)

    @contextlib.contextmanager
    def activate(self) -> Iterator[GroupTask]:
        """Makes the task the one that `GroupTask.current()` gives, for threads and callbacks.

        A new thread starts without a current task: `with task.activate(): …` in it. The task
        does not end with the block.
        """
        with self.group.activate():
            token, console_token = _current.set(self), _console.current.set(self._sink)
            try:
                yield self
            finally:
                _current.reset(token)
                _console.current.reset(console_token)
                if self._sink is not None:
                    self._sink.flush()

    @staticmethod
    def current() -> GroupTask | None:
        """Gives the task whose block this is, else the current turn of a sweep, else None."""
        from ._group import TaskGroup

        task, group = _current.get(), TaskGroup.current()
        if group is not None and group._turn is not None and (task is None or task.group is not group):
            return group._turn
        return task

    def __enter__(self) -> GroupTask:
        self._require_open()
        self._tokens.append((_current.set(self), _console.current.set(self._sink)))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        task_token, console_token = self._tokens.pop()
        with contextlib.suppress(ValueError):  # left in another context, as async fixtures do
            _current.reset(task_token)
            _console.current.reset(console_token)
        if self._sink is not None:
            self._sink.flush()
        if self._state.ends_elsewhere:
            return False
        if exc is not None:
            return self.group._task_raised(self, exc)
        self._run.end(self._state, "completed", "", self.group.close_timeout)
        return False

    def _require_open(self) -> None:
        if not self._state.is_open:
            raise _closed(self._state)


def _closed(state: TaskState) -> TaskClosedError:
    unused = state.turn and state.status == "completed" and not state.metrics
    return TaskClosedError(state.spec.name, state.status, state.turn, state.done, unused)
