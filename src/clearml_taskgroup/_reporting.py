"""What a task and its bound views share: report, name, and the context filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Never, SupportsIndex

from ._template import Name, check_context
from .errors import ReportError

if TYPE_CHECKING:
    from ._task import GroupTask

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
