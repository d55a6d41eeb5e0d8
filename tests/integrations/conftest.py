"""What the tests of several frameworks share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup.testing import MemoryStore

Opener: TypeAlias = Callable[..., GroupTask]
"""Opens a group with a template and options of its own; returns a task of it."""


@pytest.fixture
def open_task(backend: MemoryStore) -> Iterator[Opener]:
    """Opens groups with a task in each, and closes them at the end."""
    groups: list[TaskGroup] = []

    def opened(template: str = "{metric}/{split=value}", **options: Any) -> GroupTask:
        groups.append(TaskGroup("digits", "sweep", template=template, **options).open())
        return groups[-1].task({"C": 1})

    yield opened
    for group in groups:
        group.close()


@pytest.fixture
def task(open_task: Opener) -> GroupTask:
    """The task of an open group."""
    return open_task()
