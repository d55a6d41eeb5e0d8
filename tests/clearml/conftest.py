"""What tests of calls to a server share: a transport to a loopback server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clearml_taskgroup._clearml import login
from clearml_taskgroup._clearml.api import Transport
from tests.loopback import LoopbackServer


@pytest.fixture
def transport(loopback: LoopbackServer) -> Iterator[Transport]:
    """A transport to the loopback server, which has seen nothing but its login."""
    found = Transport(login.connect())
    loopback.reset_counts()
    yield found
    found.close()
