"""What a forked child renews: locks, threads and open files belong to its parent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_in_child: list[Callable[[], None]] = []


def in_child(callback: Callable[[], None]) -> Callable[[], None]:
    """Registers a function that each forked child calls, in the order of registration."""
    _in_child.append(callback)
    return callback


def _after_fork() -> None:
    for callback in _in_child:
        callback()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_after_fork)
