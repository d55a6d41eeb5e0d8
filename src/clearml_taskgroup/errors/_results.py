"""Results and runs that are looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._text import did_you_mean, shown, some
from ._arguments import ArgumentError
from ._base import TaskGroupError, facts

if TYPE_CHECKING:
    from collections.abc import Sequence


@facts
class NoSuchResultError(TaskGroupError, LookupError):
    """Raised when no task has a value for a metric that its results are asked for.

    Attributes:
        asked: The metric and its context.
        known: The metrics that have values.
        suggestion: What was probably meant; empty if nothing is close.
        task: The one task that was asked, and how it ended; empty if all were asked.
        note: Which values exist but do not count.
    """

    asked: str
    known: Sequence[str]
    suggestion: str = ""
    task: str = ""
    note: str = ""

    def __str__(self) -> str:
        who = f"{self.task} has no value for" if self.task else "no task has a value for"
        hint = f" (did you mean {self.suggestion}?)" if self.suggestion else ""
        note = f"; {self.note}" if self.note else ""
        nothing = "it reported nothing" if self.task else "nothing was reported"
        there = f"; there is: {some(self.known)}" if self.known else "" if note else f"; {nothing}"
        return f"{who} {self.asked}{hint}{note}{there}"


@facts
class AmbiguousResultError(TaskGroupError, LookupError):
    """Raised when a metric was reported under several contexts and none was chosen.

    Attributes:
        asked: The metric, with the context that was given.
        candidates: What it may mean.
        example: The context that chooses one of them, `split='val'`.
    """

    asked: str
    candidates: Sequence[str]
    example: str = "split=…"

    def __str__(self) -> str:
        return f"{self.asked} may mean {some(self.candidates)}; choose one, as with {self.example}"


@facts
class NoSuchParameterError(ArgumentError):
    """Raised when results are filtered or aggregated by a parameter that no task has.

    Attributes:
        known: The parameters that tasks have.
        looked_for: The parameters that are the default, if none was given.
        context_field: The name, if it is context of a metric: a field of the names.
        metric: That metric.
    """

    known: Sequence[str] = ()
    looked_for: Sequence[str] = ()
    context_field: str = ""
    metric: str = ""

    @property
    def problem(self) -> str:
        """What is wrong and what was expected, without the argument's name and value."""
        if self.given is None:
            text = f"was not given, and no task has a parameter {' or '.join(self.looked_for)}"
        else:
            text = f"was given, but no task has such a parameter{did_you_mean(self.given, self.known)}"
        if self.context_field:
            field = self.context_field
            text += (
                f"; {field} is context of {self.metric} here, and tasks are compared by their parameters: "
                f"run a task for each {field}, with {field} as its parameter"
            )
        return f"{text}; expected {self.expected}"

    def __str__(self) -> str:
        if self.argument == "where" and self.given is not None:
            pair = f"{self.given}=…" if str(self.given).isidentifier() else f"{{{self.given!r}: …}}"
            return f"where({pair}) {self.problem}"
        return super().__str__()


@facts
class NoSuchRunError(TaskGroupError, LookupError):
    """Raised when a group or a run that is to be loaded does not exist.

    Attributes:
        asked: The run.
        places: Where it was searched.
        known: The runs that the group has there.
        group: The group's name, if it has no runs.
        groups: The groups of its project.
        others: Groups of other projects, `project/name`, if its project has none.
        label: The group, `project/name`.
    """

    asked: str
    places: Sequence[str]
    known: Sequence[str] = ()
    group: str = ""
    groups: Sequence[str] = ()
    others: Sequence[str] = ()
    label: str = ""

    def __str__(self) -> str:
        text = f"{self.asked} was not found; looked at {' and '.join(self.places)}"
        if self.groups:
            hint = did_you_mean(self.group, self.groups)
            return f"{text}, where its project has the groups {some(self.groups)}{hint}"
        if self.known:
            return f"{text}, which has: {some(self.known)}"
        if self.others:
            hint = did_you_mean(self.label, self.others)
            return f"{text}, where its project has no groups; there is: {some(self.others)}{hint}"
        return f"{text}, which has: no runs"


@facts
class AmbiguousRunError(TaskGroupError, LookupError):
    """Raised when a run's number, or the first digits of its id, may mean several runs of a group.

    Two machines may have used the same number offline, before both runs were uploaded.

    Attributes:
        asked: What was given: a number, or the first digits of an id.
        runs: The ids of the runs.
    """

    asked: int | str
    runs: Sequence[str]

    def __str__(self) -> str:
        what = "number" if isinstance(self.asked, int) else "beginning"
        return (
            f"the {what} {shown(self.asked)} may mean {len(self.runs)} runs of the group: {some(self.runs)}; "
            f"give the id of one, run={self.runs[0][:12]!r}"
        )


@facts
class NoHistoryError(TaskGroupError, LookupError):
    """Raised when whole curves are asked for where none are kept."""

    where: str
    advice: str

    def __str__(self) -> str:
        return f"the curves that were reported are not kept {self.where}; {self.advice}"
