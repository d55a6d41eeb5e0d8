"""Threads of numerical libraries: all workers together get as many as the machine has cores."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from unittest.mock import Mock

import pytest

from clearml_taskgroup._map.thread_limits import VARIABLES, fair_share, limit


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable is set, and what a test sets is taken back."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "to be restored")
        del os.environ[name]


@pytest.mark.parametrize(("workers", "share"), [(1, 8), (3, 2), (8, 1), (20, 1)])
@pytest.mark.parametrize("has_affinity", [True, False])
def test_each_worker_gets_its_share(
    workers: int, share: int, has_affinity: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if has_affinity:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
        monkeypatch.setattr(os, "cpu_count", lambda: 64)
    else:
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
        monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert fair_share(workers) == share


def test_a_number_that_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLES[2], "4")
    assert fair_share(2) is None


@pytest.mark.parametrize("loaded", [True, False])
def test_libraries_are_limited_whether_loaded_or_not(loaded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are loaded have read their variables already."""
    control = Mock()
    monkeypatch.setitem(sys.modules, "threadpoolctl", control)
    for name in ("numpy", "scipy", "sklearn", "torch"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    if loaded:
        monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    limit(3)
    assert {os.environ[name] for name in VARIABLES} == {"3"}
    assert control.threadpool_limits.mock_calls == ([((3,),)] if loaded else [])
