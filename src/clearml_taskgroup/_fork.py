"""One registry of what happens around a fork: a child's locks, threads and open files are its parent's."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_before_fork: list[Callable[[], None]] = []
_in_child: list[Callable[[], None]] = []


def before_fork(callback: Callable[[], None]) -> Callable[[], None]:
    """Registers a function that the parent calls right before each fork."""
    _before_fork.append(callback)
    return callback


def in_child(callback: Callable[[], None]) -> Callable[[], None]:
    """Registers a function that each forked child calls, in the order of registration."""
    _in_child.append(callback)
    return callback


_thread = threading.local()


def _call_before_fork() -> None:
    for callback in _before_fork:
        callback()
    # A child that still has its parent's handlers would lose a SIGTERM, and a pool would wait for it forever.
    if sys.platform != "win32":
        _thread.signal_mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _restore_signals() -> None:
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_SETMASK, _thread.signal_mask)


def _call_in_child() -> None:
    try:
        for callback in _in_child:
            callback()
    finally:
        _restore_signals()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(
        before=_call_before_fork, after_in_parent=_restore_signals, after_in_child=_call_in_child
    )
