"""What is known of earlier runs and their tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .status import Status


@attrs.define
class PastTask:
    """One task of an earlier run.

    Attributes:
        params: Its parameters as typed JSON.
        duration: Seconds from opening to the end.
        status: How it ended; None if its process died first.
        settled: Whether the store knows how it ended.
        uploaded: The id of the task on a server that has all of it; else empty.
        measures: What it reported: metric, context, the counts over the values, and the names
            (title, series) that it was logged under.
        submitted: Which sweep of the script has submitted it to a queue; else empty.
        opened: When it was opened, in seconds since 1970.
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
    settled: bool = False
    uploaded: str = ""
    measures: list[Any] = attrs.field(factory=list)
    submitted: str = ""
    opened: float | None = None


@attrs.define
class PastRun:
    """One earlier run.

    Attributes:
        tasks: Its tasks by their ids, in the order of opening.
        opening: The keys and attempts of tasks that were about to be opened.
        metrics: The group's vocabulary, as `Vocabulary.stored` writes it; None without one.
        started: When the run was opened, in seconds since 1970.
        status: How it ended; None if its process died first.
        settled: Whether the store knows how it ended, as far as its parent goes.
        uploaded: Whether all of it is on a server.
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
    tasks: dict[str, PastTask] = attrs.field(factory=dict)
    status: Status | None = None
    reason: str = ""
    settled: bool = False
    uploaded: bool = False
    opening: set[tuple[str, int]] = attrs.field(factory=set)
    metrics: list[Any] | None = None
    started: float | None = None

    @property
    def outbox(self) -> Path:
        """Where an online run keeps its undelivered events."""
        return self.path.with_suffix(".outbox")

    @property
    def journal(self) -> Path:
        """Where an upload keeps how far it is."""
        return self.path.with_suffix(".upload")

    @property
    def is_pending(self) -> bool:
        """Whether something of the run is not on a server yet."""
        if self.uploaded:
            return False
        if self.mode == "offline":
            return bool(self.tasks)
        unsettled = any(not task.settled for task in self.tasks.values())
        return self.outbox.exists() or unsettled or not self.settled

    def latest(self) -> dict[str, PastTask]:
        """The latest attempt at each key."""
        found: dict[str, PastTask] = {}
        for task in self.tasks.values():
            if task.key not in found or task.attempt >= found[task.key].attempt:
                found[task.key] = task
        return found


@attrs.define
class Prior:
    """The run that is gone on with.

    Attributes:
        attempts: The latest attempt at each key.
        queued: The keys of tasks that wait for an agent, or are run by one, and are left alone.
        drafts: The keys of tasks that were to be submitted to a queue, and are drafts still.
        path: Its record on this disk, if there is one.
    """

    run: str
    number: int
    parent: str | None
    owns_parent: bool
    attempts: dict[str, PastTask]
    path: Path | None = None
    queued: frozenset[str] = frozenset()
    drafts: frozenset[str] = frozenset()
