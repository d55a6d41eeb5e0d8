"""Sweep: one task after another, each ended when the next iteration begins."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from ._text import counted
from .errors import SweepOverError

if TYPE_CHECKING:
    from ._clearml.agent_task import AgentTask
    from ._group import TaskGroup
    from ._model.specs import TaskSpec
    from ._progress import Tracker
    from ._task import GroupTask


class Sweep:
    """The iterator that `group.sweep(space)` returns; its length is the number of configurations.

    The task of an iteration ends, as completed, when the next iteration begins, unless it has ended
    already. The last one ends with the loop, or after a `break` with the group. Another loop over the
    same sweep continues after the `break`; once all configurations have been used, it raises
    `SweepOverError`.
    """

    # Not a generator: inside of one, a loop's `break`, `return` and `raise` cannot be told apart.

    def __init__(self, group: TaskGroup, specs: list[TaskSpec], tracker: Tracker | None = None) -> None:
        self._group = group
        self._specs = specs
        self._tracker = tracker
        self._begun = 0
        self._is_over = False

    def __len__(self) -> int:
        return len(self._specs)

    def __repr__(self) -> str:
        return f"<Sweep of {counted(len(self), 'configuration')}, {self._begun} begun>"

    @property
    def has_more(self) -> bool:
        """Whether some configurations have not been used yet."""
        return self._begun < len(self)

    def __iter__(self) -> Sweep:
        if self._is_over:
            raise SweepOverError(len(self))
        return self

    def __next__(self) -> GroupTask:
        self._group._end_iteration(weakref.ref(self))
        if self._begun == len(self._specs):
            if self._tracker is not None:
                self._tracker.stop()
            self._is_over = self._begun > 0  # an empty sweep may be looped over again
            raise StopIteration
        self._begun += 1
        task = self._group._begin_iteration(self, self._specs[self._begun - 1])
        if self._tracker is not None:
            self._tracker.look()
            self._tracker.begun(task._state)
        return task


class AgentSweep(Sweep):
    """A sweep on an agent: its one iteration runs the configuration of the agent's task."""

    def __init__(self, group: TaskGroup, spec: TaskSpec, agent_task: AgentTask) -> None:
        super().__init__(group, [spec])
        self._agent_task = agent_task

    def __next__(self) -> GroupTask:
        self._agent_task.end()
        task = super().__next__()
        self._agent_task.begin()
        return task
