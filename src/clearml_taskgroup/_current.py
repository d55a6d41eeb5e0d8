"""The current group and the current task of a thread or asyncio task.

Blocks may overlap (an `ExitStack` that is popped in another order, fixtures, async generators), and a block
may be left in another context than it was entered in. So the blocks are kept as they were entered, and a
group that has been closed is never current.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._group import TaskGroup
    from ._run.console import Sink
    from ._task import GroupTask

T = TypeVar("T")

groups: ContextVar[tuple[TaskGroup, ...]] = ContextVar("clearml_taskgroup_groups", default=())
"""The groups whose blocks were entered and not left in this context, the innermost last."""
tasks: ContextVar[tuple[GroupTask, ...]] = ContextVar("clearml_taskgroup_tasks", default=())
"""The same of tasks."""
console: ContextVar[Sink | None] = ContextVar("clearml_taskgroup_console", default=None)
"""The console of the task whose block this is, if its group captures the console."""


def enter(blocks: ContextVar[tuple[T, ...]], one: T) -> None:
    """Adds a group or a task whose block is entered."""
    blocks.set((*blocks.get(), one))


def leave(blocks: ContextVar[tuple[T, ...]], one: T) -> None:
    """Removes it; the blocks that were entered after it stay."""
    entered = list(blocks.get())
    for place in reversed(range(len(entered))):
        if entered[place] is one:
            del entered[place]
            break
    blocks.set(tuple(entered))


def current_group() -> TaskGroup | None:
    """The innermost group that is not closed."""
    return next((group for group in reversed(groups.get()) if not _is_closed(group)), None)


def current_task() -> GroupTask | None:
    """The innermost task whose group is not closed and whose block has not been left, in whatever context."""
    return next(entered_tasks(), None)


def entered_tasks() -> Iterator[GroupTask]:
    """Gives all such tasks, the innermost first."""
    return (task for task in reversed(tasks.get()) if task._is_in_block and not _is_closed(task.group))


def _is_closed(group: TaskGroup) -> bool:
    return group._run is not None and group._run.closed
