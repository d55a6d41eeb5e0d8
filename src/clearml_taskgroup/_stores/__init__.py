"""Where tasks and events live: the protocol that a group needs of a store, and its vocabulary."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import attrs

from .._identity import typed
from ..errors import NoHistoryError, ParameterError

if TYPE_CHECKING:
    from .._template import Name

Status = Literal["created", "queued", "in_progress", "completed", "failed", "stopped"]
"""ClearML's own words for how far a task is."""
ENDED: frozenset[Status] = frozenset({"completed", "failed", "stopped"})

Batch = dict[str, list[str]]
"""Events to deliver: for each ClearML task id, API events as JSON text, in order."""

Point = tuple[int | None, float]
"""Iteration and value; None for a value that was reported without an iteration."""

SINGLE_VALUE = -(2**31)
"""The iteration by which ClearML marks a value without one (`Logger.report_single_value`)."""

SECTION = "TaskGroup"
"""The hyperparameter section that holds all identity (hyperparameters survive clone and reset)."""


@attrs.frozen
class RunInfo:
    """One execution of a group, as its tasks and its record tell of it."""

    group_id: str
    project: str
    name: str
    template: str
    tags: tuple[str, ...] = ()
    run: str = attrs.field(factory=lambda: uuid.uuid4().hex)
    number: int = 1
    script: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    metrics: list[Any] | None = attrs.field(default=None, repr=False)


@attrs.frozen
class TaskSpec:
    """All that a store needs to create one ClearML task.

    Attributes:
        queue: The queue that it was submitted to, for an agent to run; else empty.
        sweep: Which sweep of the script it was submitted by, from 0.
        task_id: The ClearML task, where there is one already.
    """

    key: str
    name: str
    task_name: str
    index: int
    attempt: int
    params: Mapping[str, Any]
    tags: tuple[str, ...] = ()
    kind: Literal["task", "parent"] = "task"
    queue: str = ""
    sweep: int = 0
    task_id: str = ""


@attrs.frozen
class Ending:
    """How one ClearML task ends."""

    task_id: str
    status: Status
    reason: str = ""


class Store(Protocol):
    """What a group needs of the place where its tasks and events live.

    `write` is called by the group's reporter thread alone (after a fork, by the child's own
    reports); everything else by the threads of the user.
    """

    @property
    def mode(self) -> str:
        """`"online"`, `"offline"`, `"disabled"` or `"memory"`."""
        ...

    @property
    def where(self) -> str:
        """Where the data goes, for people."""
        ...

    def create(self, run: RunInfo, specs: Sequence[TaskSpec], parent: str | None) -> list[str]:
        """Creates the tasks, started, and gives their ClearML ids."""
        ...

    def write(self, batch: Batch) -> None:
        """Delivers events, taking out of `batch` what was delivered, also when it raises."""
        ...

    def set_parameters(self, task_id: str, params: Mapping[str, Any]) -> None:
        """Adds parameters, on one level, to the section `General` of a task."""
        ...

    def finish(self, endings: Sequence[Ending], timeout: float) -> list[Exception]:
        """Ends tasks; goes through all of them and gives what went wrong."""
        ...

    def flush(self, timeout: float) -> bool:
        """Waits until all that was written is where it belongs; tells whether it is."""
        return True

    def history(self, wanted: Mapping[str, Sequence[Name]]) -> dict[str, list[Point]]:
        """Reads points back, in the order of their arrival.

        Args:
            wanted: For each ClearML task id, titles and series; those of single values, too.
        """
        raise NoHistoryError(f"in the mode {self.mode!r}", "report them in another mode")

    def undelivered(self) -> dict[str, int]:
        """Counts the events that were written and wait, for each ClearML task."""
        return {}

    def remedy(self) -> str:
        """What a person can do about data that was not delivered."""
        return ""

    def reopen(self, ids: Sequence[str]) -> None:
        """Starts tasks of an earlier attempt again."""
        return

    def refusals(self) -> list[Exception]:
        """Tells at the end which data was not taken for good, and why."""
        return []

    def trouble(self) -> Exception | None:
        """What keeps the events that wait from being delivered, as far as it is known."""
        return None

    def tend(self) -> None:
        """Called by the reporter thread every now and then, while the group is open."""
        self.keep_alive()

    def keep_alive(self) -> None:
        """Starts tasks that wait for it, and shows that silent ones live."""
        return

    def after_fork(self) -> None:
        """Called in a forked child, where other threads' locks stay locked for ever."""
        return

    def clearml_task(self, task_id: str) -> Any:
        """Opens ClearML's own object for a task."""
        ...

    def url(self, task_id: str) -> str | None:
        """Where a person can look at a task."""
        return None

    def compare_urls(self, ids: Sequence[str]) -> list[str]:
        """Where a person can compare tasks."""
        return []

    def close(self) -> None:
        """Lets go of everything; the group has ended."""
        return


def hyperparameters(run: RunInfo, spec: TaskSpec) -> dict[str, dict[str, dict[str, str]]]:
    """Writes a task's parameters and identity as ClearML's hyperparameter sections."""
    identity: dict[str, str | int] = {
        "group": run.group_id,
        "group_name": run.name,
        "run": run.run,
        "run_number": run.number,
        "kind": spec.kind,
        "template": run.template,
    }
    if spec.kind == "task":
        identity |= {
            "key": spec.key,
            "name": spec.name,
            "index": spec.index,
            "attempt": spec.attempt,
            "params": json.dumps(stored_parameters(spec.params), sort_keys=True),
        }
    elif run.metrics is not None:
        identity["metrics"] = json.dumps(run.metrics)
    if spec.queue:
        identity |= {"queue": spec.queue, "sweep": spec.sweep}
    sections = {SECTION: {name: parameter(SECTION, name, value) for name, value in identity.items()}}
    if spec.params:
        sections["General"] = general(spec.params)
    return sections


def general(params: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Writes the user's parameters as entries of ClearML's section `General`."""
    return {name: parameter("General", name, value) for name, value in params.items()}


def parameter(section: str, name: str, value: Any) -> dict[str, str]:
    """Writes one ClearML hyperparameter; a server takes text values only."""
    text = "" if value is None else str(value)
    return {"section": section, "name": name, "value": text, "type": type(value).__name__}


def stored_parameters(params: Mapping[str, Any]) -> dict[str, Any]:
    """Writes parameters as typed JSON; what has no stable form is kept as its `repr`."""
    stored = {}
    for name, value in params.items():
        try:
            stored[name] = typed(value, name)
        except ParameterError:
            stored[name] = {"repr": [type(value).__qualname__, repr(value)]}
    return stored


def points_of(events: Iterable[Mapping[str, Any]], names: Sequence[Name]) -> list[Point]:
    """Picks the points of some titles and series out of API events."""
    wanted = {tuple(name) for name in names}
    return [
        (None if event["iter"] == SINGLE_VALUE else event["iter"], event["value"])
        for event in events
        if event.get("type") == "training_stats_scalar" and (event["metric"], event["variant"]) in wanted
    ]
