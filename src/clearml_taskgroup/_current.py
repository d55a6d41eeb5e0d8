"""The current group and the current task of a thread or asyncio task."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._group import TaskGroup
    from ._task import GroupTask

current_group: ContextVar[TaskGroup | None] = ContextVar("clearml_taskgroup_group", default=None)
current_task: ContextVar[GroupTask | None] = ContextVar("clearml_taskgroup_task", default=None)
