"""The pytest plugin: a fixture for tests of code that opens groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .testing import MemoryStore


@pytest.fixture
def recorded_groups() -> Iterator[MemoryStore]:
    """The tasks of every group that the test opens, kept in memory (a `testing.MemoryStore`)."""
    from .testing import recording

    with recording() as backend:
        yield backend
