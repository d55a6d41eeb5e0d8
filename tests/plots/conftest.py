"""Tests of figures keep in memory what their groups log."""

from __future__ import annotations

import pytest

from clearml_taskgroup.testing import MemoryStore


@pytest.fixture(autouse=True)
def in_memory(backend: MemoryStore) -> None:
    """Each test's groups."""
