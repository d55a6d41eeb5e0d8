"""The exceptions and warnings of this package, one class for each situation that a user can meet.

An exception keeps its facts as attributes and makes its message from them: what was given, what was
expected, what to write. All derive from `TaskGroupError`, all warnings from `TaskGroupWarning`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ._error_base import AdviceError as AdviceError
from ._error_base import TaskGroupError as TaskGroupError
from ._error_base import TaskGroupWarning as TaskGroupWarning
from ._store_error import StoreError as StoreError
from ._text import counted, did_you_mean, shown, some

for _public in (AdviceError, StoreError, TaskGroupError, TaskGroupWarning):
    _public.__module__ = __name__  # where a traceback should say that they are

_OWN_FIELDS = ("group", "task", "key", "index", "task_id")


# --- names


class TemplateError(AdviceError, ValueError):
    """Raised when a name template cannot be read, as the group or the template is created."""

    kind = "the template"


@attrs.define(slots=False, repr=False)
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
        default = f"give the template a default: {{{self.field}=value}}"
        return f"{needs}, which was not given; write report(…, {given}), task.bind({given}), or {default}"


@attrs.define(slots=False, repr=False)
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
        close = difflib.get_close_matches(self.field, self.known, n=1)
        if self.field in ("step", "epoch", "global_step", "iter"):
            close = ["iteration"]
        advice = f"add {{{self.field}}} to the template or leave {self.field}= out"
        if close:
            advice = f"did you mean {close[0]}=? Otherwise add {{{self.field}}} to the template"
        return (
            f"{given} the template {shown(self.template)} has no field for it (its fields: {known}); {advice}"
        )


@attrs.define(slots=False, repr=False)
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
        given += f" is a {type(self.value).__name__}"
        return f"{given}; give text, a number, a bool, an enum or None: {self.field}=str(…)"


class BlankNameError(AdviceError, ValueError):
    """Raised when a title, a series or a metric's name is blank once the template is filled in."""

    kind = "the template"


@attrs.define(slots=False, repr=False)
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


@attrs.define(slots=False, repr=False)
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


@attrs.define(slots=False, repr=False)
class MetricValueError(TaskGroupError, TypeError):
    """Raised when a value to report is not a number."""

    metric: Any
    value: Any

    def __str__(self) -> str:
        if not isinstance(self.metric, str):
            kind = type(self.metric).__name__
            return f"{shown(self.metric)} is a {kind}; report() takes a dict of metric name (text) to number"
        advice = "report() takes numbers: write float(…), or log text, tables and arrays with task.logger"
        if isinstance(self.value, Mapping):
            advice = 'name the levels of the nested dict: report(…, levels=("split", "metric"))'
        given = f"{shown(self.metric)} is {shown(self.value, 60)}, a {type(self.value).__name__}"
        return f"{given}; {advice}"


class ReportError(TaskGroupError, TypeError):
    """Raised when the arguments of `report` do not fit together."""


class NonFiniteError(AdviceError, ValueError):
    """Raised with `nonfinite="raise"` for NaN, ±inf and numbers beyond ±3.4e38."""


# --- identity


class ParameterError(AdviceError, ValueError):
    """Raised when a parameter cannot be part of a task's stable identity."""

    kind = "the parameter"


@attrs.define(slots=False, repr=False)
class DuplicateTaskError(TaskGroupError, ValueError):
    """Raised when a run would have two tasks with the same key.

    Attributes:
        places: The two positions in one search space, from 1; None if they are not of one space.
    """

    key: str
    first: str
    second: str
    places: tuple[int, int] | None = None

    def __str__(self) -> str:
        same = f"{self.second} has the same identity (key {self.key!r}) as {self.first}"
        if self.places is not None:
            same += f": the space has it twice, as its configurations {self.places[0]} and {self.places[1]}"
            return (
                f"{same}; leave one of them out, or add a parameter that distinguishes them, such as a seed"
            )
        return (
            f"{same}; give key= to keep both. To go on with the existing task, write "
            "group.task(…, if_exists='return'); to run a sweep again, as after an error in a notebook, close "
            "the group and open it again with resume=True"
        )


@attrs.define(slots=False, repr=False)
class UnknownTaskError(TaskGroupError, LookupError):
    """Raised when `group.get` finds no task, or more than one."""

    asked: str
    found: Sequence[str]
    names: Sequence[str]

    def __str__(self) -> str:
        if not self.found:
            return f"no task matches {self.asked}; the group has: {some(self.names) or 'no tasks yet'}"
        return (
            f"{len(self.found)} tasks match {self.asked}: {some(self.found)}; give more parameters, or key="
        )


class ServerNameError(AdviceError, ValueError):
    """Raised when a ClearML server would refuse the name of a project or a task.

    Offline sessions are checked in the same way, since they could never be imported.
    """


class SpaceError(AdviceError, ValueError):
    """Raised when a search space cannot be turned into configurations."""


# --- the life of a group


class GroupStateError(AdviceError, RuntimeError):
    """Raised when a group is used before it is opened or after it is closed."""

    kind = "the group"


@attrs.define(slots=False, repr=False)
class TaskClosedError(TaskGroupError, RuntimeError):
    """Raised when something is reported to a task that has ended."""

    task: str
    status: str
    swept: bool = False
    done: bool = False
    unused: bool = False

    def __str__(self) -> str:
        if self.done:
            before = "was completed in an earlier attempt, so resume=True does not run it"
            return f"the task {shown(self.task)} {before}; skip it: `if task.done: continue`"
        text = (
            f"the task {shown(self.task)} has ended ({self.status}) and accepts no more data; report before "
            "its block ends, before close() and before mark_…()."
        )
        if self.swept:
            text += (
                " A task of group.sweep(…) ends when the next iteration begins, so list(group.sweep(…)) has "
                "ended tasks only: use group.tasks(…) to have all of them open at once."
            )
        if self.unused:
            text += (
                " Nothing was reported to it, but it has the status completed, so resume=True would skip it: "
                "start a new run, without resume."
            )
        return text


class SweepOverError(AdviceError, RuntimeError):
    """Raised when a second loop begins over a sweep that has ended."""


class ModeError(AdviceError, RuntimeError):
    """Raised when the group's mode contradicts the mode that ClearML is set to."""


@attrs.define(slots=False, repr=False)
class ArgumentError(TaskGroupError, ValueError):
    """Raised when an argument has a value that the call does not accept."""

    argument: str
    given: Any
    expected: str

    def __str__(self) -> str:
        if self.given is None:
            return f"{self.argument}= was not given, or is None; expected {self.expected}"
        return f"{self.argument}={shown(self.given)} was given; expected {self.expected}"


@attrs.define(slots=False, repr=False)
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


@attrs.define(slots=False, repr=False)
class ServerError(TaskGroupError, ConnectionError):
    """Raised when a ClearML server cannot be reached, or refuses a request."""

    problem: str

    def __str__(self) -> str:
        return f"the ClearML server: {self.problem[:400]}"


@attrs.define(slots=False, repr=False)
class LoginError(ServerError):
    """Raised as a group opens, when the server does not answer or refuses the credentials."""

    advice: str = (
        "set api.api_server and credentials in clearml.conf (or CLEARML_API_HOST, CLEARML_API_ACCESS_KEY, "
        "CLEARML_API_SECRET_KEY)"
    )

    def __str__(self) -> str:
        return f"the ClearML server: {self.problem[:200]}; {self.advice}, or work offline: mode='offline'"


@attrs.define(slots=False, repr=False)
class RunInUseError(TaskGroupError, RuntimeError):
    """Raised when a run is resumed or uploaded while another process works on it."""

    run: str
    since: str = "a living process on this machine holds it"
    group: str = ""
    advice: str = "wait until it has ended, or give takeover=True if that process no longer exists"

    @property
    def who(self) -> str:
        """The run, with its group if that is known."""
        return f"{self.run} of {self.group}" if self.group else self.run

    def __str__(self) -> str:
        return f"the run {self.who} is still in use: {self.since}; {self.advice}"


# --- queues and agents


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


@attrs.define(slots=False, repr=False)
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


# --- other processes


class HandleError(AdviceError, RuntimeError):
    """Raised when a task cannot be pickled for another process, or its data cannot be reached there."""

    kind = "the task"


class FunctionPickleError(AdviceError, TypeError):
    """Raised when the function given to `map` cannot be sent to another process."""


class ValuePickleError(AdviceError, TypeError):
    """Recorded by `map` when the value that a function returned cannot be sent back."""

    kind = "the task"


@attrs.define(slots=False, repr=False)
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


@attrs.define(slots=False, repr=False)
class WorkerStartError(TaskGroupError, RuntimeError):
    """Raised when the worker processes of `map` cannot start, or when one of them opens the group again."""

    problem: str

    def __str__(self) -> str:
        script = (
            "Worker processes that 'spawn' or 'forkserver' starts import the script; put what it does under"
        )
        return f'{self.problem}. {script} `if __name__ == "__main__":`, and leave functions outside of that'


# --- results


@attrs.define(slots=False, repr=False)
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


@attrs.define(slots=False, repr=False)
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


@attrs.define(slots=False, repr=False)
class NoSuchParameterError(ArgumentError):
    """Raised when results are filtered or aggregated by a parameter that no task has.

    Attributes:
        call: The call whose default is this parameter; empty if it was given.
        known: The parameters that tasks have.
    """

    call: str = ""
    known: Sequence[str] = ()

    def __str__(self) -> str:
        given = f"{self.argument}={shown(self.given)}"
        if self.call:
            return (
                f"{self.call} without {self.argument}= means {given}, but no task has such a parameter; "
                f"give {self.argument}= {self.expected}"
            )
        hint = did_you_mean(self.given, self.known)
        return f"{given} was given, but no task has such a parameter{hint}; expected {self.expected}"


@attrs.define(slots=False, repr=False)
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


@attrs.define(slots=False, repr=False)
class NoHistoryError(TaskGroupError, LookupError):
    """Raised when whole curves are asked for where none are kept."""

    where: str
    advice: str

    def __str__(self) -> str:
        return f"the curves that were reported are not kept {self.where}; {self.advice}"


@attrs.define(slots=False, repr=False)
class MissingExtraError(TaskGroupError, ImportError):
    """Raised when something needs a package that is not installed."""

    package: str
    extra: str
    used: str

    def __str__(self) -> str:
        return f"{self.used} needs {self.package}: pip install 'clearml-taskgroup[{self.extra}]'"


# --- warnings


class DriftWarning(TaskGroupWarning):
    """Given at the end of a group, if some tasks report a metric and others do not."""


class NameWarning(TaskGroupWarning):
    """Given once, when names make comparison hard: per-task titles, too many names."""


class NonFiniteWarning(TaskGroupWarning):
    """Given once per series, when NaN, ±inf or a number beyond ±3.4e38 is skipped."""


class AutoLoggingWarning(TaskGroupWarning):
    """Given once, when `Task.init` was called: ClearML's auto-logging goes to that task."""


class ProvenanceWarning(TaskGroupWarning):
    """Given as a group opens, if the script's uncommitted changes are too large to keep."""


class StoreWarning(TaskGroupWarning):
    """Given as an online group opens, if its run log and outbox cannot be written to the disk."""


class LeftOutWarning(TaskGroupWarning):
    """Given once for each kind of data that a framework logs and the tasks of a group cannot store."""


class LostPointsWarning(TaskGroupWarning):
    """Given once, when data points are dropped because nothing takes them from the queue."""
