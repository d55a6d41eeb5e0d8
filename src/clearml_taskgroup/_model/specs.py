"""What is needed to create and end the tasks of a run."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Literal

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .status import Status


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
