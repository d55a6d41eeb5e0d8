"""Earlier runs and their tasks, as a run log or a server has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import attrs

from .specs import template_fields
from .status import final_status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from .metric_data import Metrics
    from .metrics import MetricKey
    from .name_template import Name
    from .status import Status


Opener = tuple[str, int | None]


@attrs.define
class PastTask:
    """One task of an earlier run.

    Attributes:
        params: Its parameters as stored JSON, see `parameter_json`.
        duration: Seconds from opening to the end.
        status: How it ended; None if its process died first, or if it waits for an agent or runs on one.
        delivered: Whether the backend has its final status.
        uploaded: The id of the task on a server that has all of its data; else empty.
        status_there: The final status that the latest upload has set on the server.
        metrics: What it reported.
        ambiguous: What its names stand for that would be read back as another metric.
        submitted: Which of the script's sweeps submitted it to a queue; else empty.
        opened: When it was opened, in seconds since 1970.
        process: The process that runs it, if several share the run; else empty.
        opener: The process that opened it: `process`, and its id on its machine.
        session: How often the run had become empty before it was opened.
        was_completed: Whether it had completed and was opened again; what it has counts if the process dies.
    """

    id: str
    key: str
    name: str
    index: int
    attempt: int
    params: Mapping[str, Any]
    duration: float = 0.0
    status: Status | None = None
    reason: str = ""
    delivered: bool = False
    uploaded: str = ""
    status_there: Status | None = None
    metrics: Metrics = attrs.field(factory=dict)
    ambiguous: dict[Name, MetricKey] = attrs.field(factory=dict)
    submitted: str = ""
    opened: float | None = None
    process: str = ""
    opener: Opener = ("", None)
    session: int = 0
    was_completed: bool = False

    def final_status(self) -> tuple[Status, str]:
        """Returns status and reason: a task whose process died was stopped, or completed if it was before."""
        if self.status is None and self.was_completed:
            return "completed", ""
        return final_status(self.status, self.reason)

    def template_fields(self, group: str) -> dict[str, str]:
        """Returns the fields of the name template that the task fills in itself."""
        return template_fields(group, self.id, self.name, self.key, self.index)


class Attempt(Protocol):
    """Anything that is an attempt of a key."""

    @property
    def key(self) -> str:
        """The task's key."""
        ...

    @property
    def attempt(self) -> int:
        """Which attempt it is, from 1."""
        ...


_Attempt = TypeVar("_Attempt", bound=Attempt)


def latest_attempts(tasks: Iterable[_Attempt]) -> dict[str, _Attempt]:
    """Returns the latest attempt of each key; of equal ones the one that comes last."""
    latest: dict[str, _Attempt] = {}
    for task in tasks:
        if task.key not in latest or task.attempt >= latest[task.key].attempt:
            latest[task.key] = task
    return latest


@attrs.define
class PastRun:
    """One earlier run.

    Attributes:
        tasks: Its tasks by their ids, in the order of opening.
        opening: Key and attempt of each task that was about to be opened.
        opened_since_resume: The ids of the tasks that the latest process opened, or opened again.
        metrics: The group's vocabulary, as `Vocabulary.stored` writes it; None without one.
        started: When the run was opened, in seconds since 1970.
        shared: The text of `run=` by which several processes share it; None if they do not.
        status: How it ended; None if its process died first.
        delivered: Whether the backend has the final status of its parent.
        uploaded: Whether all of its data is on a server.
        scripts: What was detected of the scripts of its processes.
    """

    path: Path
    group: str
    project: str
    name: str
    run: str
    number: int
    template: str
    mode: str
    parent: str | None
    owns_parent: bool
    shared: str | None = None
    tasks: dict[str, PastTask] = attrs.field(factory=dict)
    status: Status | None = None
    reason: str = ""
    delivered: bool = False
    uploaded: bool = False
    opening: set[tuple[str, int]] = attrs.field(factory=set)
    opened_since_resume: set[str] = attrs.field(factory=set)
    metrics: list[Any] | None = None
    started: float | None = None
    scripts: dict[Opener, Mapping[str, Any]] = attrs.field(factory=dict, repr=False)

    def script_of(self, task_id: str) -> Mapping[str, Any] | None:
        """Returns the script that opened a task; for the parent, the first that is known."""
        if task_id in self.tasks:
            return self.scripts.get(self.tasks[task_id].opener)
        return next(iter(self.scripts.values()), None)

    @property
    def outbox(self) -> Path:
        """The file that holds the undelivered events of an online run."""
        return self.path.with_suffix(".outbox")

    @property
    def refused(self) -> Path:
        """The file that holds the events that the server, or a proxy before it, has refused."""
        return self.path.with_suffix(".refused")

    @property
    def kept_files(self) -> Path:
        """The folder of files whose upload has failed."""
        return self.path.with_suffix(".files")

    @property
    def journal(self) -> Path:
        """The file that holds the progress of an upload."""
        return self.path.with_suffix(".upload")

    @property
    def is_pending(self) -> bool:
        """Whether some data or status of the run is not on a server yet."""
        if self.refused.exists() or self.kept_files.exists():
            return True
        if self.uploaded:
            return False
        if self.mode == "offline":
            return bool(self.tasks)
        undelivered = any(not task.delivered for task in self.tasks.values())
        return self.outbox.exists() or undelivered or not self.delivered

    def final_status(self) -> tuple[Status, str]:
        """Returns status and reason: a run whose process died was stopped."""
        return final_status(self.status, self.reason)

    def latest(self) -> dict[str, PastTask]:
        """Returns the latest attempt of each key."""
        return latest_attempts(self.tasks.values())


@attrs.define
class Prior:
    """The earlier run that a group resumes.

    Attributes:
        attempts: The latest attempt of each key.
        queued: The keys of tasks that wait for an agent or run on one; this process leaves them alone.
        drafts: The keys of tasks that were to be submitted to a queue and are still drafts.
        path: Its run log on this disk; None if there is none.
        template: The template of its tasks' names.
    """

    run: str
    number: int
    parent: str | None
    owns_parent: bool
    attempts: dict[str, PastTask]
    path: Path | None = None
    queued: frozenset[str] = frozenset()
    drafts: frozenset[str] = frozenset()
    template: str = ""
