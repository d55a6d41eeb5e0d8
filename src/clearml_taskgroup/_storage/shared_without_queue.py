"""A shared run on a server that lets its processes create no queue: create, then see who was first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .._clearml.documents import past_task
from .._clearml.hyperparameters import entry_field
from .._clearml.queries import attempts_of, is_counted, query_all_tasks
from .._model.status import ENDED, from_server
from .shared_run import PARENT, SharedRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._clearml.api import Transport
    from .._model.name_template import NameTemplate
    from .._model.past import PastTask


def tasks_of(transport: Transport, run: str, template: NameTemplate) -> list[PastTask]:
    """Reads the tasks of a run, the earliest first; one of two with the same key and attempt was withdrawn.

    Args:
        transport: The way to the server.
        run: The run's id.
        template: The group's template.
    """
    query = {entry_field("run"): [run], entry_field("kind"): ["task"]}
    found: dict[tuple[str, int], PastTask] = {}
    for document in reversed(query_all_tasks(transport, query)):
        if is_counted(document):
            task = past_task(document, template)
            if from_server(str(document["status"])) not in ENDED:
                task.status, task.reason = None, ""
            found.setdefault((task.key, task.attempt), task)
    return list(found.values())


def parent_of(transport: Transport, run: str) -> str | None:
    """Finds the parent of a run."""
    found = attempts_of(transport, run, PARENT, 1)
    return str(found[0]["id"]) if found else None


@attrs.define(eq=False)
class SharedWithoutQueue(SharedRun):
    """The processes of a shared run, as far as its tasks show them.

    Of two tasks with the same key and attempt, the one that was created first counts. A process has no sign
    of life but its open tasks, so nobody takes over those of a dead one.
    """

    transport: Transport
    run: str
    template: NameTemplate
    process: str

    def claim(self, key: str, attempt: int) -> bool:
        """Whether the task does not exist yet."""
        return not attempts_of(self.transport, self.run, key, attempt)

    def release(self, key: str, attempt: int, task_id: str | None) -> bool:
        """Whether the task is the first one with its key and attempt."""
        found = attempts_of(self.transport, self.run, key, attempt) if task_id is not None else []
        return not found or str(found[0]["id"]) == task_id

    def members(self) -> Sequence[PastTask]:
        """Reads the run's tasks, the earliest first."""
        return tasks_of(self.transport, self.run, self.template)

    def parent(self) -> str | None:
        """Finds the run's parent."""
        return parent_of(self.transport, self.run)

    def leads(self) -> bool:
        """Whether this process comes first among those with an open task."""
        working = [task.process for task in self.members() if task.status is None]
        return self.process == min(working, default="")

    def leave(self) -> bool:
        """Whether no other process has an open task."""
        return all(task.status is not None or task.process == self.process for task in self.members())
