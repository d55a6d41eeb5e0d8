"""What a task and its bound views share: `report`, `metric`, and context that is filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Never, Self, SupportsFloat, SupportsIndex, TypeAlias, overload

from ._model.clearml_names import Advising, task_advice
from ._model.name_template import check_context
from ._task_metric import TaskMetric
from ._text import kind, printable, shown
from .errors import ReportError

if TYPE_CHECKING:
    from ._task import GroupTask
    from .integrations.tensorboard import SummaryWriter

Number: TypeAlias = SupportsFloat | SupportsIndex
"""A number of Python's or numpy's, or a tensor of one element."""
Values: TypeAlias = Mapping[str, Number]
"""Metric → number."""
NestedValues: TypeAlias = Mapping[Any, "Number | NestedValues"]
"""Nested dicts of numbers, one level of keys for each word of `levels`."""


class Reporting(Advising):
    """The calls that a task and its bound views have in common."""

    __slots__ = ()

    @overload
    def report(
        self,
        values: Values,
        iteration: SupportsIndex | None = None,
        *more: Never,
        levels: None = None,
        **context: Any,
    ) -> None: ...
    @overload
    def report(
        self,
        values: NestedValues,
        iteration: SupportsIndex | None = None,
        *more: Never,
        levels: Sequence[str],
        **context: Any,
    ) -> None: ...
    def report(
        self,
        values: Values | NestedValues = None,  # type: ignore[assignment]
        iteration: SupportsIndex | None = None,
        *more: Never,
        levels: Sequence[str] | None = None,
        **context: Any,
    ) -> None:
        """Reports numbers, under the names that the group's template gives them.

        Returns at once: the caller's thread writes and sends nothing.

        Args:
            values: Metric → number: Python's, numpy's, or a tensor of one element.
            iteration: The x value, an integer. Without one they are single values.
            *more: Nothing: context is passed by keyword.
            levels: For nested dicts, what each level of keys means, from the outside in: `"metric"` and
                fields of the template, `("split", "metric")`.
            **context: A value for each field of the template, `split="val"`.

        Raises:
            TaskClosedError: The task has ended.
            TaskAbortedError: Somebody else has ended it, or stopped the group's parent.
            ReportError: The arguments have another form, as in `report("loss", 0.3, 7)`.
            MetricValueError: A value is not a number.
            MissingFieldError, UnknownFieldError: Context and template don't match.
            UnknownMetricError: The group has a vocabulary without this metric.
            NameCollisionError: Two different metrics would get the same name.
            NonFiniteError: A value is NaN, ±inf or beyond ±3.4e38, under `nonfinite="raise"`.
        """
        if more:
            raise report_error(values, *more)
        self._report(values, iteration, levels, context)

    def _report(
        self,
        values: Values | NestedValues,
        iteration: SupportsIndex | None,
        levels: Sequence[str] | None,
        context: dict[str, Any],
    ) -> None:
        raise NotImplementedError

    def metric(self, metric: str, *more: Never, **context: Any) -> TaskMetric:
        """Returns one metric of this task, for plots, images and calls that take ClearML's title and series.

        `task.metric("roc", split="val").report_plotly(figure, iteration=3)`;
        `title, series = task.metric("roc", split="val")`.

        Args:
            metric: The metric's name, or an alias of the vocabulary; a plot may be called anything.
            *more: Nothing: context is passed by keyword.
            **context: A value for each field of the template, `split="val"`.

        Raises:
            MissingFieldError, UnknownFieldError: Context and template don't match.
            ReportError: Context was passed by position, as in `metric("roc", "val")`.
        """
        if more:
            given = ", ".join(map(shown, more))
            raise ReportError(
                f"metric() was given {given} after the metric; context is passed by keyword, as "
                f"metric({shown(metric)}, split={shown(more[0])})"
            )
        return self._metric(metric, context)

    def _metric(self, metric: str, context: dict[str, Any]) -> TaskMetric:
        raise NotImplementedError

    def _advice(self, name: str) -> str:
        return task_advice(name)


def report_error(values: Any, *more: Any) -> ReportError:
    """Makes the error of a call of `report` that has another form.

    Args:
        values: The first argument.
        *more: The positional arguments after the iteration.
    """
    if isinstance(values, Mapping):
        given = ", ".join(map(shown, more))
        return ReportError(
            f"report() was given {given} after the dict and the iteration; all other arguments are passed by "
            "keyword, as report({'loss': 0.3}, iteration, split='val')"
        )
    if values is None:
        return ReportError(
            "report() was given no dict of numbers; write report({'loss': 0.3}, iteration, split='val'): "
            "what is passed by keyword is context"
        )
    return ReportError(
        f"report() was given {shown(values)}, {kind(values)}; it takes a dict of metric → "
        "number, as report({'loss': 0.3}, iteration)"
    )


class NeverCopied:
    """Base class of what `copy` and `deepcopy` return as it is."""

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self


class BoundTask(Reporting):
    """A view of a task with context filled in; made by `task.bind`."""

    __slots__ = ("_context", "task")
    task: GroupTask
    """The task."""

    def __init__(self, task: GroupTask, context: Mapping[str, Any]) -> None:
        check_context(task._state.names.template, context)
        self.task = task
        self._context = dict(context)

    def __repr__(self) -> str:
        bound = ", ".join(f"{field}={shown(value)}" for field, value in self._context.items())
        return printable(f"<{self.task.name!s} bound to {bound}>")

    def __reduce__(self) -> tuple[Any, ...]:
        return BoundTask, (self.task, self._context)

    def _report(
        self,
        values: Values | NestedValues,
        iteration: SupportsIndex | None,
        levels: Sequence[str] | None,
        context: dict[str, Any],
    ) -> None:
        self.task._report(values, iteration, levels, {**self._context, **context})

    def bind(self, **context: Any) -> BoundTask:
        """Returns a view with more context filled in.

        Args:
            **context: Values for fields of the template; they replace those that are bound already.

        Raises:
            UnknownFieldError: The template has no such field.
        """
        return BoundTask(self.task, {**self._context, **context})

    def summary_writer(self, context: str | None = None, **more: Never) -> SummaryWriter:
        """Returns a writer as `task.summary_writer` does, with the bound context filled in.

        Args:
            context: The field of the template that the last part of a tag is the value of.
            **more: Nothing: a writer has no folder.

        Raises:
            UnknownFieldError: The template does not have the field.
        """
        return self.task._summary_writer(self, context, more)

    def _metric(self, metric: str, context: dict[str, Any]) -> TaskMetric:
        return TaskMetric(self.task, metric, {**self._context, **context})

    def _advice(self, name: str) -> str:
        if name != "task" and hasattr(type(self.task), name):
            return f"the task that is bound has it: .task.{name}"
        return task_advice(name)
