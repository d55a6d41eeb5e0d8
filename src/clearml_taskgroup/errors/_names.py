"""Names: templates, context, metrics, and what is reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._text import kind, shown, spelt_like
from ._base import AdviceError, TaskGroupError, facts

_OWN_FIELDS = ("group", "task", "key", "index", "task_id")


class TemplateError(AdviceError, ValueError):
    """Raised when a name template cannot be read, as the group or the template is created."""

    kind = "the template"


@facts
class MissingFieldError(TaskGroupError, ValueError):
    """Raised when a report does not give a field that the template needs."""

    field: str
    template: str

    def __str__(self) -> str:
        needs, given = f"the template {shown(self.template)} needs {shown(self.field)}", f"{self.field}=…"
        if self.field in _OWN_FIELDS:
            return (
                f"{needs}, which a group fills in for its tasks; outside of a group write render(…, {given})"
            )
        example = "val" if self.field == "split" else "0"
        default = f"if a report without it always means {example}, {{{self.field}={example}}} in the template"
        return f"{needs}, which was not given; write {given} in the call, task.bind({given}), or, {default}"


@facts
class UnknownFieldError(TaskGroupError, ValueError):
    """Raised when a report gives context that the template does not have, or that the group fills in itself.

    Ignoring the context would merge two curves into one. `template` is empty for a field of the group's.
    """

    field: str
    template: str = ""
    known: Sequence[str] = ()

    def __str__(self) -> str:
        given = f"the context {shown(self.field)} was given, but"
        if not isinstance(self.field, str):
            return f"{given} the names of context are text: write split='val'"
        if not self.template:
            return f"{given} the group fills in {{{self.field}}} itself; choose another name for the context"
        known = ", ".join(f"{{{name}}}" for name in self.known) or "none but {metric}"
        close = spelt_like(self.field, self.known)
        if self.field in ("step", "epoch", "global_step", "iter"):
            close = "iteration"
        advice = f"add {{{self.field}}} to the template or leave {self.field}= out"
        if close:
            advice = f"did you mean {close}=? Otherwise add {{{self.field}}} to the template"
        return (
            f"{given} the template {shown(self.template)} has no field for it (its fields: {known}); {advice}"
        )


@facts
class ContextValueError(TaskGroupError, TypeError):
    """Raised when a context value is not text, a number, a bool, an enum or None.

    Also when a metric or a context value is text that is not Unicode (a lone surrogate).
    """

    field: str
    value: Any

    def __str__(self) -> str:
        given = f"the context {self.field}={shown(self.value)}"
        if isinstance(self.value, str):
            return f"{given} has a lone surrogate, which cannot be stored; write it as proper text"
        given += f" is {kind(self.value)}"
        return f"{given}; give text, a number, a bool, an enum or None: {self.field}=str(…)"


class BlankNameError(AdviceError, ValueError):
    """Raised when a title, a series or a metric's name is blank once the template is filled in."""

    kind = "the template"


@facts
class NameCollisionError(TaskGroupError, ValueError):
    """Raised when two different metrics or contexts of one task would get the same name.

    Also when they would get the same name on a ClearML server only (`joined`): it joins title and
    series with `-`, so that `a`/`b-c` and `a-b`/`c` overwrite each other.
    """

    name: Sequence[str]
    first: str
    second: str
    template: str
    joined: bool = False

    def __str__(self) -> str:
        title, series = self.name
        how = f"logged as title {title!r}, series {series!r}"
        if self.joined:
            how = f"stored as '{title}-{series}' by a ClearML server, which joins title and series with '-'"
        both = f"{self.first} and {self.second} would both be {how}, with the template {shown(self.template)}"
        return f"{both}; add a field that distinguishes them, or put another separator between the fields"


class TooManyNamesError(AdviceError, ValueError):
    """Raised when one task uses up the 2,000 title/series pairs that a server keeps."""

    kind = "the task"


class VocabularyError(TaskGroupError, ValueError):
    """Raised when `metrics=[...]` contradicts itself, as the group is created."""


@facts
class UnknownMetricError(TaskGroupError, ValueError):
    """Raised when a report uses a metric that the vocabulary does not have."""

    metric: str
    known: Sequence[str]
    suggestion: str | None = None

    def __str__(self) -> str:
        hint = f"did you mean {shown(self.suggestion)}? To" if self.suggestion else "to"
        return (
            f"the metric {shown(self.metric)} is not in the group's vocabulary, which has: "
            f"{', '.join(self.known)}; {hint} allow it, add Metric({shown(self.metric)}) to metrics=[…], or "
            f"{shown(self.metric)} to the aliases of the metric that it stands for"
        )


@facts
class MetricValueError(TaskGroupError, TypeError):
    """Raised when a value to report is not a number."""

    metric: Any
    value: Any

    def __str__(self) -> str:
        if not isinstance(self.metric, str):
            given = f"{shown(self.metric)} is {kind(self.metric)}"
            return f"{given}; a metric's name is text: report({{'loss': 0.3}})"
        advice = (
            "report() takes numbers: write float(…), or log tables, figures and arrays with "
            "task.metric(…).report_table(…), report_plotly(…), report_image(…) and so on"
        )
        if isinstance(self.value, Mapping):
            advice = (
                "levels= has a name for each level of a nested dict, from the outside in: "
                'report(…, levels=("split", "metric"))'
            )
        given = f"{shown(self.metric)} is {shown(self.value, 60)}, {kind(self.value)}"
        return f"{given}; {advice}"


class ReportError(TaskGroupError, TypeError):
    """Raised when the arguments of `report` do not fit together."""


class NonFiniteError(AdviceError, ValueError):
    """Raised with `nonfinite="raise"` for NaN, ±inf and numbers beyond ±3.4e38."""
