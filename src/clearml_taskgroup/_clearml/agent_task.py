"""The task that a ClearML agent runs this process as."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import attrs

from ..errors import AgentTaskError
from . import sdk
from .api import Transport
from .queries import FIELDS, Document, identity_of, parse_count, query_tasks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._model.specs import RunInfo
    from .._run.state import TaskState


TURN = "CLEARML_TASKGROUP_TURN"
"""Set while the point's turn lasts: groups that its body opens, in a child process too, are its own."""
RAN = "CLEARML_TASKGROUP_RAN"
"""Set once the point's turn has begun: another group of the same name has none for it."""


@attrs.define
class AgentTask:
    """The task that an agent runs this script as: a point of a sweep that was submitted.

    Attributes:
        document: The task, as it stands on the server.
        is_kept: Whether what becomes of its identity is written back; not by ranks other than 0.
        begun: Whether its sweep has been found, and its turn begun.
    """

    document: Document
    is_kept: bool = True
    begun: bool = False
    identity: dict[str, str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.identity = identity_of(self.document)

    @property
    def id(self) -> str:
        """The agent's task."""
        return str(self.document["id"])

    @property
    def parent(self) -> str | None:
        """The task that stands for the run."""
        parent = self.document.get("parent")
        return str(parent) if parent else None

    def is_of(self, group_id: str) -> bool:
        """Whether it is one of a group's."""
        return self.identity.get("group") == group_id

    def joined(self, info: RunInfo) -> RunInfo:
        """Gives the run that it is part of."""
        return attrs.evolve(
            info,
            run=self.identity.get("run", info.run),
            number=parse_count(self.identity.get("run_number"), 1),
        )

    def begin(self) -> None:
        """Notes that the point's body runs from here on."""
        self.begun = True
        os.environ[TURN] = os.environ[RAN] = self.id

    def end(self) -> None:
        """Notes that the point's body has ended."""
        if os.environ.get(TURN) == self.id:
            del os.environ[TURN]

    def problem(self, states: Iterable[TaskState], sweeps: int) -> AgentTaskError | None:
        """Tells, as the group ends, why its agent must not take the task for completed.

        An agent goes by the script's exit code alone: none of the sweeps was the point's, or the
        script has marked the task as failed or stopped.
        """
        for state in states:
            if state.id == self.id and state.status in ("failed", "stopped"):
                why = f": {state.reason}" if state.reason else ""
                return AgentTaskError(
                    state.spec.name,
                    f"was marked as {state.status}{why}",
                    "an agent goes by a script's exit code, so the script ends here",
                )
        if self.begun:
            return None
        ordinal = parse_count(self.identity.get("sweep"))
        return AgentTaskError(
            self.identity.get("name", self.id),
            f"is a point of sweep {ordinal} (counted from 0) of the group "
            f"{self.identity.get('group_name', '')!r}, and this script "
            + (f"has only {sweeps}" if sweeps <= ordinal else "never looped over it"),
            "it did nothing: give the task the version of the script that submitted it, or submit it anew",
        )


def agent_task_of_this_process(mode: str) -> AgentTask | None:
    """Finds the point that an agent runs this script as.

    Not within its turn: a group that the body opens is one of the body's own.

    Args:
        mode: How the group works; a rank other than 0 of a distributed job, which is disabled, has
            the same turn as rank 0.
    """
    task_id = sdk.agent_task_id() if mode in ("online", "disabled") else None
    if task_id is None or os.environ.get(TURN) == task_id:
        return None
    transport = Transport(sdk.connect())
    try:
        found = query_tasks(transport, {"id": [task_id], "only_fields": list(FIELDS)})
    finally:
        transport.close()
    point = AgentTask(found[0], mode == "online", os.environ.get(RAN) == task_id) if found else None
    submitted = point is not None and point.identity.get("kind") == "task" and "sweep" in point.identity
    return point if submitted else None
