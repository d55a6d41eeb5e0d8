"""What a backend needs to create and end the tasks of a run."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .status import Status


@attrs.frozen(eq=False, repr=False)
class RunInfo:
    """One execution of a group, as it is stored with its tasks and in its run log.

    Attributes:
        shared: The text of `run=` by which several processes share the run; empty if they do not.
        process: This process then, as the others know it.
        session: How often the run has become empty.
    """

    group_id: str
    project: str
    name: str
    template: str
    tags: tuple[str, ...] = ()
    run: str = attrs.field(factory=lambda: uuid.uuid4().hex)
    number: int = 1
    shared: str = ""
    process: str = ""
    session: int = 0
    script: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    metrics: list[Any] | None = attrs.field(default=None, repr=False)


@attrs.frozen(eq=False, repr=False)
class TaskSpec:
    """What a backend needs to create one ClearML task.

    Attributes:
        queue: The queue that the task is submitted to; empty if this process runs it.
        sweep: Which of the script's sweeps or maps it comes from: `"0"`, `"map 0"`; empty if from neither.
        task_id: The id of the ClearML task if it exists already; else empty.
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
    sweep: str = ""
    task_id: str = ""

    def template_fields(self, group: str, task_id: str) -> dict[str, str]:
        """Returns the fields of the name template that the task fills in itself."""
        return template_fields(group, task_id, self.name, self.key, self.index)


def template_fields(group: str, task_id: str, name: str, key: str, index: int) -> dict[str, str]:
    """Returns the fields of the name template that a task fills in itself."""
    return {"group": group, "task": name, "key": key, "index": str(index), "task_id": task_id}


class Ending(NamedTuple):
    """How one ClearML task ends."""

    task_id: str
    status: Status
    reason: str = ""


class ForeignStatus(NamedTuple):
    """A final status that a person or another client has given a ClearML task.

    Attributes:
        word: What happened to the task, for messages: `deleted`, `published`, `failed`.
    """

    status: Status
    reason: str
    word: str

    def __str__(self) -> str:
        return f"{self.word}: {self.reason}" if self.reason and self.word == self.status else self.word
