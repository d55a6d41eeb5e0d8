"""Waiting for pipes and processes that stay the same from one wait to the next."""

from __future__ import annotations

import selectors
import sys
from multiprocessing.connection import wait
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Handles(Generic[T]):
    """What is waited for, and what each handle stands for.

    `multiprocessing.connection.wait` registers all handles with each call, which takes longer than to
    receive a result. Windows has nothing else for its pipes.
    """

    def __init__(self) -> None:
        self._known: dict[Any, T] = {}
        # Not epoll, whose file a forked worker would inherit.
        kind = getattr(selectors, "PollSelector", selectors.SelectSelector)
        self._selector: selectors.BaseSelector | None = None if sys.platform == "win32" else kind()

    def add(self, handle: Any, meaning: T) -> None:
        """Waits for a pipe or a process's sentinel from now on."""
        self._known[handle] = meaning
        if self._selector is not None:
            self._selector.register(handle, selectors.EVENT_READ, meaning)

    def remove(self, handle: Any) -> None:
        """Does not wait for it any more; call it before the handle is closed."""
        del self._known[handle]
        if self._selector is not None:
            self._selector.unregister(handle)

    def wait(self, timeout: float) -> list[T]:
        """Waits until at least one can be read, or has ended; gives what these stand for."""
        timeout = max(0.0, timeout)
        if self._selector is None:
            return [self._known[handle] for handle in wait(list(self._known), timeout)]
        return [key.data for key, _ in self._selector.select(timeout)]
