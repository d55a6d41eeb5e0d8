"""The task that a ClearML agent runs this process as."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import attrs

from . import sdk
from .queries import FIELDS, Document, identity_of, parse_count, query_tasks

if TYPE_CHECKING:
    from .._model.specs import RunInfo


RUNNING = "CLEARML_TASKGROUP_TURN"
"""Environment variable with the task's id while its loop body runs.

A group that is opened there, or in a child process, is not the one that the agent runs.
"""
HAS_RUN = "CLEARML_TASKGROUP_RAN"
"""Environment variable with the task's id once its loop body has begun, so that it runs once only."""


@attrs.define
class AgentTask:
    """The task that an agent runs this script as: one configuration of a sweep or a map.

    It was submitted to a queue, or a person has enqueued it, or a copy of it, in the web page.

    Attributes:
        document: The task as the server has it.
        begun: Whether its sweep has been found and its loop body has begun.
        identity: The values of its section `TaskGroup`.
    """

    document: Document
    begun: bool = False
    identity: dict[str, str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.identity = identity_of(self.document)

    @property
    def id(self) -> str:
        """The ClearML task's id."""
        return str(self.document["id"])

    @property
    def parent(self) -> str | None:
        """The id of the run's parent."""
        parent = self.document.get("parent")
        return str(parent) if parent else None

    @property
    def queue(self) -> str:
        """The queue that the script has submitted it to; empty if a person has enqueued it."""
        return self.identity.get("queue", "")

    @property
    def group(self) -> str:
        """Its group, for messages."""
        return f"the group {self.identity.get('group_name', '')!r}"

    def is_of(self, group_id: str) -> bool:
        """Whether it is a task of a group."""
        return self.identity.get("group") == group_id

    def joined(self, info: RunInfo) -> RunInfo:
        """Completes the facts of a run with the id and the number of this task's run."""
        return attrs.evolve(
            info,
            run=self.identity.get("run", info.run),
            number=parse_count(self.identity.get("run_number"), 1),
        )

    def begin(self) -> None:
        """Notes that the loop body begins."""
        self.begun = True
        os.environ[RUNNING] = os.environ[HAS_RUN] = self.id

    def end(self) -> None:
        """Notes that the loop body has ended."""
        if os.environ.get(RUNNING) == self.id:
            del os.environ[RUNNING]


def agent_task_of_this_process(mode: str) -> AgentTask | None:
    """Finds the task of a group that an agent runs this script as.

    None while that task's loop body runs: a group that the body opens is an ordinary one.

    Args:
        mode: The group's mode. Ranks other than 0 of a distributed job, which are disabled, run the same
            configuration as rank 0.
    """
    task_id = sdk.agent_task_id() if mode in ("online", "disabled") else None
    if task_id is None or os.environ.get(RUNNING) == task_id:
        return None
    from . import login
    from .api import Transport

    transport = Transport(login.connect())
    try:
        found = query_tasks(transport, {"id": [task_id], "only_fields": list(FIELDS)})
    finally:
        transport.close()
    if not found:
        return None
    agent_task = AgentTask(found[0], begun=os.environ.get(HAS_RUN) == task_id)
    return agent_task if agent_task.identity.get("kind") == "task" else None
