"""The pytest plugin: the fixture `recorded_groups`.

pytest loads this module in every environment that has the package, so it imports nothing but pytest
until the fixture is used.
"""

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
