"""Which configuration of a `map` is called next: those that are left, and those that are tried again."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

import attrs

from ..errors import ValuePickleError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._model.specs import TaskSpec
    from .._task import GroupTask


@attrs.define(eq=False)
class Upcoming:
    """Opens the task of each configuration when its call is next.

    Args:
        specs: The configurations that are left.
        open_tasks: Opens tasks of the group.
        opened_at_once: How many tasks are opened in one step.
        retries: How often a configuration that failed is tried again.

    Attributes:
        opened: All tasks that were opened, of all attempts.
    """

    specs: deque[TaskSpec]
    open_tasks: Callable[[list[TaskSpec]], list[GroupTask]]
    opened_at_once: int
    retries: int = 0
    opened: list[GroupTask] = attrs.field(factory=list)
    _ready: deque[GroupTask] = attrs.field(factory=deque)
    _again: deque[TaskSpec] = attrs.field(factory=deque)
    _retried: Counter[str] = attrs.field(factory=Counter)

    def next(self) -> GroupTask | None:
        """Gives the task of the next call; None while there is none."""
        if self._again:  # before other configurations, so that it does not prolong the end
            return self._open([self._again.popleft()])[0]
        if not self._ready and self.specs:
            count = min(self.opened_at_once, len(self.specs))
            self._ready.extend(self._open([self.specs.popleft() for _ in range(count)]))
        return self._ready.popleft() if self._ready else None

    def _open(self, specs: list[TaskSpec]) -> list[GroupTask]:
        """Opens tasks; a configuration whose task has been opened before gets a new attempt."""
        tasks = self.open_tasks(specs)
        self.opened += tasks
        return tasks

    def retry(self, task: GroupTask, error: BaseException | None) -> int:
        """Tries a configuration again, unless it has been tried often enough.

        Args:
            task: The task, which has ended.
            error: What its call raised; an interrupt or an abort is no failure.

        Returns:
            The number of this retry, from 1; 0 if there is none.
        """
        state = task._state
        spec = state.spec
        if state.status != "failed" or state.aborted is not None or self._retried[spec.key] >= self.retries:
            return 0
        # A value that cannot be sent back is no failure of the configuration, and would be the same again.
        if not isinstance(error, Exception) or isinstance(error, ValuePickleError):
            return 0
        self._retried[spec.key] += 1
        self._again.append(spec)
        return self._retried[spec.key]
