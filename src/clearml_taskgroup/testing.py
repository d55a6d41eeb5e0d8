"""Testing code that opens groups, without a server and without files.

Inside `recording()` all groups keep their tasks in memory, also those that the code under test
opens. In pytest, the fixture `recorded_groups` does the same.
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
    """Keeps the tasks of all groups that are opened in this block in memory.

    Yields:
        A `MemoryStore`; its `members` are the tasks, with `params`, `status`, `scalars`,
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
