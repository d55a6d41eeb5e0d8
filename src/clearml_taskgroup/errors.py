"""One class for each situation that a user can meet.

Each exception keeps the facts as attributes and writes its own sentence from them: what was
given, what was expected, what to do. All derive from `TaskGroupError`; all warnings from
`TaskGroupWarning`, so that either can be caught or filtered as a whole.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ._text import counted, did_you_mean, some


class TaskGroupError(Exception):
    """The base of every error that this package raises."""


# --- names -------------------------------------------------------------------------------------


@attrs.define(slots=False, repr=False)
class TemplateError(TaskGroupError, ValueError):
    """You meet this when a name template cannot be read, as the group or the template is made."""

    template: str
    problem: str
    advice: str

    def __str__(self) -> str:
        return f"the template {self.template!r} {self.problem}; {self.advice}"


@attrs.define(slots=False, repr=False)
class MissingFieldError(TaskGroupError, ValueError):
    """You meet this when a template asks for a field that a report does not give."""

    field: str
    template: str

    def __str__(self) -> str:
        if self.field in ("group", "task", "key", "index", "task_id"):
            return (
                f"the template {self.template!r} needs {self.field!r}, which a group fills in for its tasks; "
                f"write render(…, {self.field}=…) to fill it in by hand"
            )
        return (
            f"the template {self.template!r} needs {self.field!r}, which was not given; "
            f"write report(…, {self.field}=…), task.bind({self.field}=…), "
            f"or give the template a default: {{{self.field}=value}}"
        )


@attrs.define(slots=False, repr=False)
class UnknownFieldError(TaskGroupError, ValueError):
    """You meet this when a report gives context that the template has no field for.

    Dropping it silently would fold two curves into one.
    """

    field: str
    template: str
    known: Sequence[str]

    def __str__(self) -> str:
        known = ", ".join(f"{{{name}}}" for name in self.known) or "none but {metric}"
        close = difflib.get_close_matches(self.field, self.known, n=1)
        if self.field in ("step", "epoch", "global_step", "iter"):
            close = ["iteration"]
        if close:
            return (
                f"the context {self.field!r} was given, but the template {self.template!r} has no field for "
                f"it (its fields: {known}); did you mean {close[0]}=? Otherwise add {{{self.field}}} to the "
                "template"
            )
        return (
            f"the context {self.field!r} was given, but the template {self.template!r} has no "
            f"field for it (its fields: {known}); add {{{self.field}}} to the template or leave "
            f"{self.field}= out"
        )


@attrs.define(slots=False, repr=False)
class ReservedFieldError(TaskGroupError, ValueError):
    """You meet this when context is given under a name that the group fills in by itself."""

    field: str

    def __str__(self) -> str:
        return (
            f"{self.field!r} was given as context, but the group fills in {{{self.field}}} by "
            "itself; choose another name for the context"
        )


@attrs.define(slots=False, repr=False)
class ContextValueError(TaskGroupError, TypeError):
    """You meet this when a context value is not text, a number, a bool, an enum or None."""

    field: str
    value: Any

    def __str__(self) -> str:
        return (
            f"the context {self.field}={self.value!r} is a {type(self.value).__name__}; a name can "
            f"be made of text, numbers, bools and enums: write {self.field}=str(…)"
        )


@attrs.define(slots=False, repr=False)
class BlankNameError(TaskGroupError, ValueError):
    """You meet this when a filled-in title or series, or a metric's name, is blank."""

    what: str
    template: str

    def __str__(self) -> str:
        return (
            f"the {self.what} is blank once {self.template!r} is filled in, and ClearML needs a "
            "name there; give text that is not only blanks"
        )


@attrs.define(slots=False, repr=False)
class NameCollisionError(TaskGroupError, ValueError):
    """You meet this when two different values of one task would get the same name.

    Also when a ClearML server would take two names for one: it joins title and series with `-`, so
    that `a`/`b-c` and `a-b`/`c` overwrite each other. And when one report has a metric by two of the
    spellings that the vocabulary knows it by.

    Attributes:
        metric: The metric that `first` and `second` are spellings of, in one report; else empty.
    """

    name: Sequence[str]
    first: str
    second: str
    template: str
    joined: bool = False
    metric: str = ""

    def __str__(self) -> str:
        if self.metric:
            return (
                f"{self.first!r} and {self.second!r} in one report both stand for {self.metric}; report only "
                f"one of {self.first!r} and {self.second!r}"
            )
        title, series = self.name
        if self.joined:
            how = (
                f"would both be stored as '{title}-{series}' by a ClearML server, which joins title and "
                "series with '-'"
            )
        else:
            how = f"would both be logged as title {title!r}, series {series!r}"
        return (
            f"{self.first} and {self.second} {how}, as the template {self.template!r} names them; their "
            "curves would be folded into one: add a field that tells them apart, or put another separator "
            "between the fields"
        )


@attrs.define(slots=False, repr=False)
class TooManyNamesError(TaskGroupError, ValueError):
    """You meet this when one task uses up the 2,000 title/series pairs that a server keeps."""

    task: str
    limit: int
    template: str

    def __str__(self) -> str:
        return (
            f"the task {self.task!r} has {self.limit:,} names already, the most that a ClearML "
            f"server keeps for one task; the template {self.template!r} puts something that "
            "counts up into the name: give it as iteration instead, report(values, iteration)"
        )


@attrs.define(slots=False, repr=False)
class VocabularyError(TaskGroupError, ValueError):
    """You meet this when `metrics=[...]` contradicts itself, as the group is made."""

    problem: str

    def __str__(self) -> str:
        return self.problem


@attrs.define(slots=False, repr=False)
class UnknownMetricError(TaskGroupError, ValueError):
    """You meet this when a report uses a metric that the vocabulary does not have."""

    metric: str
    known: Sequence[str]
    suggestion: str | None = None

    def __str__(self) -> str:
        hint = f"did you mean {self.suggestion!r}? If not: " if self.suggestion else ""
        return (
            f"the metric {self.metric!r} is not in the group's vocabulary; {hint}it has: "
            f"{', '.join(self.known)}. Add Metric({self.metric!r}) to metrics=[…], or "
            f"{self.metric!r} to the aliases of the metric that it stands for"
        )


@attrs.define(slots=False, repr=False)
class AliasContextError(TaskGroupError, ValueError):
    """You meet this when a report contradicts the context that an alias carries."""

    alias: str
    field: str
    given: Any
    carried: Any

    def __str__(self) -> str:
        return (
            f"{self.alias!r} stands for {self.field}={self.carried!r}, but "
            f"{self.field}={self.given!r} was given; leave {self.field}= out or use the metric's "
            "own name"
        )


@attrs.define(slots=False, repr=False)
class MetricValueError(TaskGroupError, TypeError):
    """You meet this when a value to report is not a number."""

    metric: Any
    value: Any

    def __str__(self) -> str:
        if not isinstance(self.metric, str):
            return (
                f"{self.metric!r} is a {type(self.metric).__name__}; report() takes a dict of "
                "metric name (text) to number"
            )
        advice = (
            'say what the levels of the nested dict mean: report(…, levels=("split", "metric"))'
            if isinstance(self.value, Mapping)
            else "report() takes numbers: convert it with float(…), or log text, tables and "
            "arrays with task.logger"
        )
        shown = repr(self.value)
        shown = shown if len(shown) <= 60 else shown[:57] + "…"
        return f"{self.metric!r} is {shown}, a {type(self.value).__name__}; {advice}"


@attrs.define(slots=False, repr=False)
class ReportError(TaskGroupError, TypeError):
    """You meet this when `report` is called in a form that it does not have."""

    problem: str

    def __str__(self) -> str:
        return self.problem


@attrs.define(slots=False, repr=False)
class NonFiniteError(TaskGroupError, ValueError):
    """You meet this under `nonfinite="raise"`, for NaN, ±inf and anything beyond ±3.4e38."""

    metric: str
    value: float
    task: str

    def __str__(self) -> str:
        return (
            f"{self.metric!r} is {self.value!r} in the task {self.task!r}, which ClearML cannot "
            'store; mend the value, or choose nonfinite="skip" to leave such points out'
        )


# --- identity ----------------------------------------------------------------------------------


@attrs.define(slots=False, repr=False)
class ParameterError(TaskGroupError, ValueError):
    """You meet this when a parameter cannot be part of a task's stable identity."""

    name: str
    problem: str
    advice: str

    def __str__(self) -> str:
        return f"the parameter {self.name!r} {self.problem}; {self.advice}"


@attrs.define(slots=False, repr=False)
class UnnamedTaskError(TaskGroupError, ValueError):
    """You meet this when a task has neither parameters nor a name nor a key."""

    def __str__(self) -> str:
        return (
            "a task needs something that it can be told by: group.task({'C': 1}), "
            "group.task(name='baseline') or group.task(key='…')"
        )


@attrs.define(slots=False, repr=False)
class DuplicateTaskError(TaskGroupError, ValueError):
    """You meet this when a run would hold the same key twice.

    Attributes:
        key: The key.
        first: The task that there is.
        second: The one that was to be opened.
        places: Which points of one space they are, from 1; None where they are not of one space.
    """

    key: str
    first: str
    second: str
    places: tuple[int, int] | None = None

    def __str__(self) -> str:
        if self.places is not None:
            return (
                f"{self.second} has the same identity (key {self.key!r}) as {self.first}: the space holds "
                f"this point twice, as its points {self.places[0]} and {self.places[1]}; leave one of them "
                "out, or add a parameter that tells them apart, such as a seed"
            )
        return (
            f"{self.second} has the same identity (key {self.key!r}) as {self.first}, and a run holds "
            "each once; give key= to keep both. To go on with a task that is there, write "
            "group.task(…, if_exists='return'); to run a sweep again, as after an error in a notebook, close "
            "the group and open it anew with resume=True"
        )


@attrs.define(slots=False, repr=False)
class UnknownTaskError(TaskGroupError, LookupError):
    """You meet this when `group.get` finds no task, or more than one."""

    asked: str
    found: Sequence[str]
    names: Sequence[str]

    def __str__(self) -> str:
        if self.found:
            return (
                f"{len(self.found)} tasks match {self.asked}: {some(self.found)}; give more "
                "parameters, or key="
            )
        return f"no task matches {self.asked}; the group has: {some(self.names) or 'no tasks yet'}"


@attrs.define(slots=False, repr=False)
class ServerNameError(TaskGroupError, ValueError):
    """You meet this when a ClearML server would refuse a project's or a task's name.

    Offline sessions are checked in the same way: they could never be imported.
    """

    what: str
    name: str
    problem: str

    def __str__(self) -> str:
        return (
            f"the {self.what} {self.name!r} {self.problem}; a ClearML server refuses task names "
            "and parts of a project's path that have fewer than 3 characters: choose a longer one"
        )


@attrs.define(slots=False, repr=False)
class SpaceError(TaskGroupError, ValueError):
    """You meet this when a search space cannot be turned into points."""

    problem: str
    advice: str

    def __str__(self) -> str:
        return f"{self.problem}; {self.advice}"


# --- the life of a group -----------------------------------------------------------------------


@attrs.define(slots=False, repr=False)
class GroupStateError(TaskGroupError, RuntimeError):
    """You meet this when a group is used before it is opened or after it is closed."""

    group: str
    problem: str
    advice: str

    def __str__(self) -> str:
        return f"the group {self.group!r} {self.problem}; {self.advice}"


@attrs.define(slots=False, repr=False)
class TaskClosedError(TaskGroupError, RuntimeError):
    """You meet this when something is reported to a task that has ended."""

    task: str
    status: str
    swept: bool = False
    done: bool = False
    unused: bool = False

    def __str__(self) -> str:
        if self.done:
            return (
                f"the task {self.task!r} was completed in an earlier attempt, and resume=True does not run "
                "it again; pass over it: `if task.done: continue`"
            )
        trap = (
            " A task of group.sweep(…) ends when the next turn begins, so list(group.sweep(…)) "
            "holds ended tasks only: use group.tasks(…) to have all of them open at once."
            if self.swept
            else ""
        )
        if self.unused:
            trap += (
                " Nothing was reported to it, and still it has ended as completed, so that resume=True would "
                "pass it over: start a new run, without resume."
            )
        return (
            f"the task {self.task!r} has ended ({self.status}) and takes no more data; report "
            f"before its block ends, before close() and before mark_…().{trap}"
        )


@attrs.define(slots=False, repr=False)
class SweepOverError(TaskGroupError, RuntimeError):
    """You meet this when a second loop begins over a sweep that has had all its turns."""

    points: int

    def __str__(self) -> str:
        return (
            f"this sweep has had its turns ({counted(self.points, 'point')}), and its tasks have ended, so "
            "another loop over it would do nothing. Do all that a task is to do in one loop; or open its "
            "tasks side by side with group.tasks(…), whose list can be gone through again; `for task in "
            "group` goes through the tasks that there are, and group.results() has their values. To run the "
            "points once more, call group.sweep(…) again in a new TaskGroup"
        )


@attrs.define(slots=False, repr=False)
class ModeError(TaskGroupError, RuntimeError):
    """You meet this when the group's mode contradicts what ClearML is set to."""

    problem: str
    advice: str

    def __str__(self) -> str:
        return f"{self.problem}; {self.advice}"


@attrs.define(slots=False, repr=False)
class ArgumentError(TaskGroupError, ValueError):
    """You meet this when an argument has a value that the call does not take."""

    argument: str
    given: Any
    expected: str

    def __str__(self) -> str:
        if self.given is None:
            return f"{self.argument}= was not given, or is None; expected {self.expected}"
        return f"{self.argument}={self.given!r} was given; expected {self.expected}"


@attrs.define(slots=False, repr=False)
class DeliveryError(TaskGroupError):
    """You meet this when a block ends and some of its data could not be delivered."""

    points: int
    tasks: Sequence[str]
    where: str
    cause: str
    remedy: str = ""

    def __str__(self) -> str:
        rest = self.remedy or f"What was delivered lies in {self.where}"
        return (
            f"{counted(self.points, 'point')} of {counted(len(self.tasks), 'task')} ({some(self.tasks)}) "
            f"could not be delivered: {self.cause}. {rest}"
        )


@attrs.define(slots=False, repr=False)
class StoreError(TaskGroupError, OSError):
    """You meet this when the place where the data goes cannot be written to."""

    where: str
    cause: str

    def __str__(self) -> str:
        return (
            f"cannot write to {self.where}: {self.cause}; free some space there, or choose "
            "another place with the environment variable CLEARML_CACHE_DIR"
        )


@attrs.define(slots=False, repr=False)
class ServerError(TaskGroupError, ConnectionError):
    """You meet this when a ClearML server cannot be reached, or refuses a request."""

    problem: str

    def __str__(self) -> str:
        return f"the ClearML server: {self.problem}"


@attrs.define(slots=False, repr=False)
class LoginError(ServerError):
    """You meet this as a group opens, when the server is away or refuses the credentials."""

    def __str__(self) -> str:
        return (
            f"{super().__str__()}; check api.api_server and the credentials in clearml.conf (or the "
            "variables CLEARML_API_HOST, CLEARML_API_ACCESS_KEY, CLEARML_API_SECRET_KEY), or work offline "
            "with mode='offline'"
        )


@attrs.define(slots=False, repr=False)
class RunInUseError(TaskGroupError, RuntimeError):
    """You meet this when a run is to be resumed or uploaded that a living process works on."""

    run: str
    since: str = "a living process on this machine holds it"
    group: str = ""

    @property
    def who(self) -> str:
        """The run, with its group where that is known."""
        return f"{self.run} of {self.group}" if self.group else self.run

    def __str__(self) -> str:
        return (
            f"the run {self.who} is still in use: {self.since}; wait until it has ended; a resume that "
            "is to go on with it all the same takes takeover=True"
        )


# --- queues and agents -------------------------------------------------------------------------


@attrs.define(slots=False, repr=False)
class SubmitError(TaskGroupError, RuntimeError):
    """You meet this when `sweep(…, queue=…)` is asked for where no agent could run its points."""

    queue: str
    problem: str
    advice: str

    def __str__(self) -> str:
        return f"the sweep cannot be submitted to the queue {self.queue!r}: {self.problem}; {self.advice}"


@attrs.define(slots=False, repr=False)
class UnknownQueueError(TaskGroupError, LookupError):
    """You meet this when `queue=` names a queue that the server does not have."""

    queue: str
    known: Sequence[str]

    def __str__(self) -> str:
        close = difflib.get_close_matches(self.queue, self.known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        return (
            f"the server has no queue {self.queue!r}; {hint}It has: {some(self.known) or 'none'}. Choose "
            f"one of them, or make it: clearml-agent daemon --queue {self.queue} --create-queue"
        )


@attrs.define(slots=False, repr=False)
class QueuedTaskError(TaskGroupError, RuntimeError):
    """You meet this when a script works on a task that it has left to an agent."""

    task: str
    status: str

    def __str__(self) -> str:
        return (
            f"the task {self.task!r} ({self.status}) was submitted to a queue, and what it reports, and its "
            "end, are its agent's; work on it in the loop over the sweep, which has its turn there"
        )


@attrs.define(slots=False, repr=False)
class WaitTimeoutError(TaskGroupError, TimeoutError):
    """You meet this when `group.wait(timeout=…)` has waited that long and tasks have not ended."""

    seconds: float
    counts: str
    tasks: Sequence[str]

    def __str__(self) -> str:
        return (
            f"after {self.seconds:g} s {counted(len(self.tasks), 'task')} had not finished ({self.counts}): "
            f"{some(self.tasks)}. They go on; call group.wait() again, or end them with group.cancel()"
        )


@attrs.define(slots=False, repr=False)
class AgentTaskError(TaskGroupError, RuntimeError):
    """You meet this on an agent, when the script did not do what the agent's task stands for."""

    task: str
    problem: str
    advice: str

    def __str__(self) -> str:
        return f"the agent's task {self.task!r} {self.problem}; {self.advice}"


@attrs.define(slots=False, repr=False)
class AgentParameterError(TaskGroupError, ValueError):
    """You meet this on an agent, when a parameter on its task cannot be read as what it was."""

    name: str
    text: str
    expected: str

    def __str__(self) -> str:
        return (
            f"the parameter {self.name!r} of the agent's task is {self.text!r}, which cannot be read as "
            f"{self.expected}; mend it in the task's section General, and enqueue the task again"
        )


# --- other processes ---------------------------------------------------------------------------


@attrs.define(slots=False, repr=False)
class HandleError(TaskGroupError, RuntimeError):
    """You meet this when a task cannot go to another process, or its data cannot be reached there."""

    task: str
    problem: str
    advice: str

    def __str__(self) -> str:
        return f"the task {self.task!r} {self.problem}; {self.advice}"


@attrs.define(slots=False, repr=False)
class FunctionPickleError(TaskGroupError, TypeError):
    """You meet this when the function given to `map` cannot be sent to another process."""

    function: str
    cause: str

    def __str__(self) -> str:
        return (
            f"{self.function} cannot be sent to another process ({self.cause}); define it at the top level "
            "of a module or script, or run it in threads (executor=ThreadPoolExecutor()) or with loky "
            "(executor=loky.get_reusable_executor())"
        )


@attrs.define(slots=False, repr=False)
class ValuePickleError(TaskGroupError, TypeError):
    """You meet this in a record of `map`, when what a function gave cannot be sent back."""

    task: str
    kind: str
    cause: str

    def __str__(self) -> str:
        return (
            f"the task {self.task!r} gave a {self.kind}, which cannot be sent back from its process "
            f"({self.cause}); return plain data, or log it with task.clearml_task.upload_artifact"
        )


@attrs.define(slots=False, repr=False)
class CarriedError(TaskGroupError, RuntimeError):
    """You meet this in a record of `map`, for an exception that cannot itself be sent between processes.

    Also in `group.failures`, for a failure of which no more is known than its reason.

    Attributes:
        traceback: Where it was raised, as text.
    """

    text: str
    traceback: str = ""

    def __str__(self) -> str:
        return self.text


@attrs.define(slots=False, repr=False)
class WorkerDiedError(TaskGroupError, RuntimeError):
    """You meet this in a record of `map`, when the process that worked on a task died."""

    task: str
    how: str

    def __str__(self) -> str:
        return f"the task {self.task!r} was not finished: {self.how}; resume=True runs it again"


@attrs.define(slots=False, repr=False)
class BrokenExecutorError(TaskGroupError, RuntimeError):
    """You meet this in a record of `map`, when the executor that it was given takes no more work."""

    task: str
    executor: str
    cause: str
    began: bool = False

    def __str__(self) -> str:
        was = "was running" if self.began else "was waiting"
        return (
            f"the task {self.task!r} {was} as the executor {self.executor} broke ({self.cause}); run the "
            "script again with resume=True, which passes over what has completed. With workers=N one death "
            "concerns one task"
        )


@attrs.define(slots=False, repr=False)
class WorkerStartError(TaskGroupError, RuntimeError):
    """You meet this when the worker processes of `map` cannot start."""

    cause: str

    def __str__(self) -> str:
        return (
            f"a worker process could not start: {self.cause}. A script whose workers are started by 'spawn' "
            "or 'forkserver' is imported by each of them: put what it does under "
            '`if __name__ == "__main__":`, and leave functions outside'
        )


@attrs.define(slots=False, repr=False)
class UnguardedScriptError(TaskGroupError, RuntimeError):
    """You meet this in a worker process, when the script opens a group as the worker imports it."""

    group: str

    def __str__(self) -> str:
        return (
            f"the group {self.group!r} would be opened once more by a worker process, which imports the "
            "script to find its functions; put what the script does under "
            '`if __name__ == "__main__":`, and leave functions outside'
        )


# --- results -----------------------------------------------------------------------------------


@attrs.define(slots=False, repr=False)
class NoSuchResultError(TaskGroupError, LookupError):
    """You meet this when no task has a value for what is asked of its results.

    Attributes:
        asked: The metric and its context.
        known: What there are values for.
        suggestion: What was probably meant; empty where nothing is close.
        task: The one task that was asked, and how it ended; empty where all were.
        note: Which values there are that do not count.
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
        there = f"there is: {some(self.known)}" if self.known else nothing
        return f"{who} {self.asked}{hint}{note}; {there}"


@attrs.define(slots=False, repr=False)
class AmbiguousResultError(TaskGroupError, LookupError):
    """You meet this when a metric was reported under several contexts and none was chosen.

    Attributes:
        asked: The metric, with what was given of its context.
        candidates: What it may mean.
        example: The context by which one of them is chosen, `split='val'`.
    """

    asked: str
    candidates: Sequence[str]
    example: str = "split=…"

    def __str__(self) -> str:
        return f"{self.asked} may mean {some(self.candidates)}; say which, as with {self.example}"


@attrs.define(slots=False, repr=False)
class NoSuchParameterError(ArgumentError):
    """You meet this when results are chosen, or means taken, by a parameter that no task has.

    Attributes:
        argument: What it was asked for by, `over` or `where`.
        given: The parameter.
        expected: Which ones there are.
        call: The call that asks for the parameter by itself, where nobody gave it; else empty.
    """

    call: str = ""
    known: Sequence[str] = ()

    def __str__(self) -> str:
        if self.call:
            return (
                f"{self.call} without {self.argument}= means {self.argument}={self.given!r}, but no task has "
                f"such a parameter; give {self.argument}= {self.expected}"
            )
        hint = did_you_mean(self.given, self.known)
        return (
            f"{self.argument}={self.given!r} was given, but no task has such a parameter{hint}; expected "
            f"{self.expected}"
        )


@attrs.define(slots=False, repr=False)
class NoSuchRunError(TaskGroupError, LookupError):
    """You meet this when a group or a run is to be loaded that is not there.

    Attributes:
        asked: The run.
        places: Where it was looked for.
        known: Which runs the group has there.
        group: The group's name, where it has none.
        groups: Which groups its project has.
    """

    asked: str
    places: Sequence[str]
    known: Sequence[str] = ()
    group: str = ""
    groups: Sequence[str] = ()

    def __str__(self) -> str:
        text = f"{self.asked} was not found; looked at {' and '.join(self.places)}"
        if not self.groups:
            return f"{text}, which has: {some(self.known) or 'no runs'}"
        hint = did_you_mean(self.group, self.groups)
        return f"{text}, where its project has the groups {some(self.groups)}{hint}"


@attrs.define(slots=False, repr=False)
class NoSuchTasksError(TaskGroupError, LookupError):
    """You meet this when tasks are to be looked at that are not there, or that nobody may see."""

    kind: str
    asked: Sequence[str]

    def __str__(self) -> str:
        asked = some([repr(name) for name in self.asked])
        return f"the {self.kind if len(self.asked) == 1 else self.kind + 's'} {asked} could not be found"


@attrs.define(slots=False, repr=False)
class NoHistoryError(TaskGroupError, LookupError):
    """You meet this when whole curves are asked for where none are kept."""

    where: str
    advice: str

    def __str__(self) -> str:
        return f"the curves that were reported are not kept {self.where}; {self.advice}"


@attrs.define(slots=False, repr=False)
class MissingExtraError(TaskGroupError, ImportError):
    """You meet this when something is used that needs a package which is not installed."""

    package: str
    extra: str
    used: str

    def __str__(self) -> str:
        return f"{self.used} needs {self.package}: pip install 'clearml-taskgroup[{self.extra}]'"


# --- warnings ----------------------------------------------------------------------------------


class TaskGroupWarning(UserWarning):
    """The base of every warning that this package gives."""


class DriftWarning(TaskGroupWarning):
    """You meet this at the end of a group, if some tasks report a metric and others don't."""


class NameWarning(TaskGroupWarning):
    """You meet this once, when names will compare badly: per-task titles, too many names."""


class NonFiniteWarning(TaskGroupWarning):
    """You meet this once per series, when NaN, ±inf or a number past 3.4e38 is left out."""


class AutoLoggingWarning(TaskGroupWarning):
    """You meet this once, when `Task.init` was called: auto-logging goes to that task."""


class ProvenanceWarning(TaskGroupWarning):
    """You meet this as a group opens, if the script's uncommitted changes are too large to keep."""


class StoreWarning(TaskGroupWarning):
    """You meet this as an online group opens, if the disk takes no record and no outbox."""


class LeftOutWarning(TaskGroupWarning):
    """You meet this once for each thing that a framework logs and a group's tasks have no place for."""


class LostPointsWarning(TaskGroupWarning):
    """You meet this once, when points have to be given up because nothing takes them away."""
