"""What a worker process of `map` sets up: its signals, and that it ends with the process that started it."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup import _fork
from clearml_taskgroup._map import worker_main
from clearml_taskgroup._run.signals import SignalExit


@pytest.mark.parametrize("sentinel", [7, None])
def test_a_worker_takes_signals_and_ends_with_its_parent(
    monkeypatch: pytest.MonkeyPatch, sentinel: int | None
) -> None:
    handlers: dict[int, Any] = {}
    threads: list[dict[str, Any]] = []

    def thread(**options: Any) -> Any:
        threads.append(options)
        return SimpleNamespace(start=lambda: None)

    parent = None if sentinel is None else SimpleNamespace(sentinel=sentinel)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: parent)
    monkeypatch.setattr(threading, "Thread", thread)
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    monkeypatch.setattr(signal, "getsignal", handlers.get)
    monkeypatch.setattr(_fork, "_in_child", [])
    terminated = worker_main._set_signal_handlers()
    (restore,) = _fork._in_child
    assert [options["args"] for options in threads] == ([] if sentinel is None else [(sentinel,)])
    assert handlers[signal.SIGINT](signal.SIGINT, None) is None
    with pytest.raises(SignalExit):
        handlers[signal.SIGTERM](signal.SIGTERM, None)
    assert terminated.is_set()
    assert handlers[signal.SIGTERM](signal.SIGTERM, None) is None  # it ends already
    restore()
    assert handlers[signal.SIGTERM] is signal.SIG_DFL
    handlers[signal.SIGTERM] = signal.SIG_IGN
    restore()
    assert handlers[signal.SIGTERM] is signal.SIG_IGN
