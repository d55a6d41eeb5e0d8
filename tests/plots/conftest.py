"""What tests of figures share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clearml_taskgroup.testing import recording


@pytest.fixture(autouse=True)
def backend() -> Iterator[None]:
    """Keeps in memory what the test's groups log."""
    with recording():
        yield
