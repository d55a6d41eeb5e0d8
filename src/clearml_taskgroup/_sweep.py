"""Turns of a loop: one task after another, each ended as the next begins."""

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
    """The iterator that `group.sweep(space)` gives; its length is the number of points.

    Not a generator: in one, a loop's `break`, `return` and `raise` all look the same. A turn ends,
    as completed, when the next one begins, unless its task has ended already; the last one ends
    with the loop, or after a `break` with the group. Another loop over it goes on where a `break`
    has left it; once it has had all its turns, that is a `SweepOverError`.
    """

    def __init__(self, group: TaskGroup, specs: list[TaskSpec], tracker: Tracker | None = None) -> None:
        self._group = group
        self._specs = specs
        self._tracker = tracker
        self._begun = 0
        self._is_over = False

    def __len__(self) -> int:
        return len(self._specs)

    def __repr__(self) -> str:
        return f"<Sweep of {counted(len(self), 'point')}, {self._begun} begun>"

    @property
    def has_more(self) -> bool:
        """Whether some turns have not begun."""
        return self._begun < len(self)

    def __iter__(self) -> Sweep:
        if self._is_over:
            raise SweepOverError(
                f"this sweep of {counted(len(self), 'configuration')}",
                "has ended and its tasks are closed",
                "do all the work of a task in one loop, or open all tasks at once with group.tasks(…), whose "
                "list can be looped over again. `for task in group` gives the existing tasks, "
                "group.results() their values; to run the configurations again, call group.sweep(…) in a "
                "new TaskGroup",
            )
        return self

    def __next__(self) -> GroupTask:
        self._group._end_turn(weakref.ref(self))
        if self._begun == len(self._specs):
            if self._tracker is not None:
                self._tracker.stop()
            self._is_over = self._begun > 0  # without turns it may be looped over as often as one likes
            raise StopIteration
        self._begun += 1
        turn = self._group._begin_turn(self, self._specs[self._begun - 1])
        if self._tracker is not None:
            self._tracker.update()
            self._tracker.begun(turn._state)
        return turn


class AgentTurn(Sweep):
    """A sweep on an agent: the one turn that the agent's task stands for."""

    def __init__(self, group: TaskGroup, spec: TaskSpec, point: AgentTask) -> None:
        super().__init__(group, [spec])
        self._point = point

    def __next__(self) -> GroupTask:
        self._point.end()
        task = super().__next__()
        self._point.begin()
        return task
