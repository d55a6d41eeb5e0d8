"""Try a sweep with no server and no files.

`recording()` has every group that is opened inside keep its tasks in memory, also groups that
the code under test makes by itself. pytest finds the same as the fixture `recorded_groups`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ._run.opening import backend_for_tests
from ._storage.memory import MemoryBackend as MemoryStore
from ._storage.memory import MemoryTask

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MemoryStore", "MemoryTask", "recording"]


@contextmanager
def recording() -> Iterator[MemoryStore]:
    """Has all groups that are opened in this block keep their tasks in memory.

    Yields:
        The store; its `members` are the tasks, with `params`, `status`, `scalars`,
        `single_values`, `tags` and `console`.

    Examples:
        >>> from clearml_taskgroup import TaskGroup
        >>> with recording() as recorded:
        ...     with TaskGroup("digits", "svm-sweep") as group, group.task({"C": 1}) as task:
        ...         task.report({"loss": 0.5}, 1, split="val")
        >>> recorded.members[0].scalars
        {('loss', 'val'): [(1, 0.5)]}
    """
    backend = MemoryStore()
    token = backend_for_tests.set(backend)
    try:
        yield backend
    finally:
        backend_for_tests.reset(token)
