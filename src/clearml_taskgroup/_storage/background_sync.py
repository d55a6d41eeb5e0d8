"""Syncs files to disk in threads, so that a loop over tasks does not wait for the disk after each."""

from __future__ import annotations

import collections
import contextlib
import errno
import itertools
import os
import sys
import threading
from typing import TYPE_CHECKING

import attrs

from .append_file import open_file, store_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..errors import StoreError

SYNCED_AT_ONCE = 64
"""How many files are open while they are synced."""
SYNCING_THREADS = 4
"""How many of them are waited for at once: the disk takes a quarter of the time for each then."""
PAUSE_S = 0.1
"""How often the thread looks for files, unless somebody waits: to wake it for each would hold up the loop."""
IDLE_S = 1.0
"""How long it looks for another file: to start it for each takes longer than to make a task."""


@attrs.define(eq=False)
class BackgroundSync:
    """Files that wait to be synced, in their order; the thread lives until none comes for a while.

    Attributes:
        errors: One for each file that could not be synced.
    """

    errors: list[Exception] = attrs.field(factory=list)
    _waiting: collections.deque[str] = attrs.field(factory=collections.deque)
    _changed: threading.Condition = attrs.field(factory=threading.Condition)
    _is_running: bool = False
    _is_awaited: bool = False
    _is_closed: bool = False

    def add(self, *paths: str) -> None:
        """Syncs files soon; one that does not exist has no data."""
        with self._changed:
            self._waiting.extend(paths)
            self._is_closed = False
            if self._is_running:
                return
            self._is_running = True
        try:
            threading.Thread(target=self._run, name="clearml-taskgroup-sync", daemon=True).start()
        except RuntimeError:  # no thread can be started as the interpreter exits
            self._is_closed = True  # nothing more is waited for
            self._run()

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until no file waits.

        Args:
            timeout: The most seconds to wait; None for as long as it takes.

        Returns:
            Whether none waits.
        """
        with self._changed:
            if not self._waiting:
                return True
            self._is_awaited = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._waiting, timeout)

    def close(self) -> None:
        """Waits until no file waits, and ends the thread; it starts again with the next file."""
        self.wait()
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        idle_s = 0.0
        while True:
            with self._changed:
                if not self._waiting:
                    self._is_awaited = False
                    self._changed.notify_all()  # who waits does so for all files
                if not self._changed.wait_for(lambda: self._is_awaited or self._is_closed, PAUSE_S):
                    idle_s += PAUSE_S
                if not self._waiting and (self._is_closed or idle_s > IDLE_S):
                    self._is_running = False
                    return
            while self._waiting:
                idle_s = 0.0
                with self._changed:
                    paths = list(itertools.islice(self._waiting, SYNCED_AT_ONCE))
                try:
                    self.errors += sync_all(paths)
                except Exception as error:  # who waits must not do so for ever
                    self.errors.append(error)
                for _ in paths:
                    self._waiting.popleft()


def sync_all(paths: Iterable[str]) -> list[StoreError]:
    """Writes to the disk what the operating system still has of files, as far as they exist.

    The system is asked to write all of them while the first is waited for, which halves the time. They stay
    open until then: after each call of the system the thread takes the interpreter from those of the script.

    Returns:
        What the disk refused; the other files are synced.
    """
    errors: list[StoreError] = []
    opened: list[tuple[str, int]] = []
    for path in paths:
        try:
            try:
                file = open_file(path)
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE) or not opened:
                    raise
                errors += _sync_and_close(opened)  # the script has many files open itself
                opened = []
                file = open_file(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            errors.append(store_error(path, error))
            continue
        opened.append((path, file))
        if sys.platform == "linux" and hasattr(os, "posix_fadvise"):
            with contextlib.suppress(OSError):  # which `fsync` raises again
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    return errors + _sync_and_close(opened)


def _sync_and_close(opened: Iterable[tuple[str, int]]) -> list[StoreError]:
    left = collections.deque(opened)
    errors: list[StoreError] = []

    def sync_what_is_left() -> None:
        with contextlib.suppress(IndexError):  # none is left
            while True:
                path, file = left.popleft()
                try:
                    os.fsync(file)
                except OSError as error:
                    errors.append(store_error(path, error))
                finally:
                    os.close(file)

    helpers = []
    for _ in range(min(SYNCING_THREADS, len(left)) - 1):
        helper = threading.Thread(target=sync_what_is_left, name="clearml-taskgroup-sync-helper", daemon=True)
        with contextlib.suppress(RuntimeError):  # no thread can be started as the interpreter exits
            helper.start()
            helpers.append(helper)
    sync_what_is_left()
    for helper in helpers:
        helper.join()
    return errors
