"""A server for each test, and a client to talk to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .client import Client
from .server import LoopbackServer


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    """A fresh server, which must not crash."""
    with LoopbackServer() as running:
        yield running
        assert running.crashes == []


@pytest.fixture
def api(server: LoopbackServer) -> Iterator[Client]:
    """A client of the test's server."""
    with Client(server) as client:
        yield client
