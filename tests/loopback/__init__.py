"""A ClearML API server on loopback, for tests and benchmarks.

It behaves like version 2.3.0 of the real server (API 2.34) in everything that was
tried on one, checks each request against the schemas that clearml ships, and can be
made to fail in the ways in which networks fail.
"""

from __future__ import annotations

from .faults import DEFAULT_MIX, Fault, FaultKind, Faults
from .files import StoredFile
from .recorder import Call
from .schemas import Violation
from .server import LoopbackServer

__all__ = [
    "DEFAULT_MIX",
    "Call",
    "Fault",
    "FaultKind",
    "Faults",
    "LoopbackServer",
    "StoredFile",
    "Violation",
]
