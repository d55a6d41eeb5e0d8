"""Which configuration of a `map` is called next: those that are left, and those that are tried again."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

import attrs

from ..errors import ValuePickleError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._model.specs import TaskSpec
    from .._run.run import Run
    from .._run.sharing import Unclaimed
    from .._task import GroupTask


@attrs.define(eq=False)
class Upcoming:
    """Opens the task of each configuration when its call is next.

    Args:
        run: The group's run.
        specs: The configurations that are left.
        shared: The same of a run that other processes share, else None.
        open_tasks: Opens tasks of the group.
        open_next: Opens the next task that no other process has, and removes what it has gone through.
        opened_at_once: How many tasks are opened in one step, in a run that no other process shares.
        retries: How often a configuration that failed is tried again.
        on_next: Called with each task that is called next.

    Attributes:
        opened: All tasks that were opened, of all attempts.
    """

    run: Run
    specs: Sequence[TaskSpec]
    shared: Unclaimed | None
    open_tasks: Callable[[list[TaskSpec]], list[GroupTask]]
    open_next: Callable[[Unclaimed], GroupTask | None]
    opened_at_once: int
    retries: int = 0
    on_next: Callable[[GroupTask], None] = lambda task: None
    opened: list[GroupTask] = attrs.field(factory=list)
    _left: deque[TaskSpec] = attrs.field(init=False)
    _ready: deque[GroupTask] = attrs.field(factory=deque)
    _again: deque[TaskSpec] = attrs.field(factory=deque)
    _retried: Counter[str] = attrs.field(factory=Counter)

    def __attrs_post_init__(self) -> None:
        self._left = deque(() if self.shared is not None else self.specs)

    @property
    def has_more(self) -> bool:
        """Whether there may be another call; a failed one can add one."""
        # Once the run is aborted nothing begins any more, and calls under way end at their next reports.
        is_left = bool(self._left) or (self.shared is not None and self.shared.has_more)
        return self.run.aborted is None and (is_left or bool(self._again or self._ready))

    def next(self) -> GroupTask | None:
        """Gives the task of the next call; None if there is none for now."""
        task = None
        while task is None and self.has_more:
            task = self._next()
        if task is not None:
            self.on_next(task)
        return task

    def _next(self) -> GroupTask | None:
        if self._again:  # before other configurations, so that it does not prolong the end
            self._open([self._again.popleft()])
        elif not self._ready and self.shared is not None:
            task = self.open_next(self.shared)
            self._ready.extend([task] if task is not None else [])
            self.opened += self._ready
        elif not self._ready:
            count = min(self.opened_at_once, len(self._left))
            self._open([self._left.popleft() for _ in range(count)])
        return self._ready.popleft() if self._ready else None

    def _open(self, specs: list[TaskSpec]) -> None:
        """Opens tasks; a configuration whose task has been opened before gets a new attempt."""
        tasks = [task for task in self.open_tasks(specs) if not task._state.elsewhere]
        self.opened += tasks
        self._ready.extendleft(reversed(tasks))

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
