"""SIGTERM in a worker of another library's pool, which may end it right after its last result.

The worker writes its counts into the run log before it ends. A handler that raises in the main thread
cannot do this: if the signal arrives just before the main thread waits for more work, Python runs the
handler only after that wait, and the pool waits for the worker for ever.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

from .. import _fork

_pipe: tuple[int, int] | None = None


def before_sigterm(callback: Callable[[], None]) -> None:
    """Makes SIGTERM call a function in a thread, and then end the process.

    Does nothing outside of the main thread, if the user has installed a handler, and on Windows, where
    nothing sends SIGTERM.
    """
    global _pipe
    if threading.current_thread() is not threading.main_thread() or not hasattr(os, "set_blocking"):
        return
    if _pipe is not None or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return
    _pipe = os.pipe()
    os.set_blocking(_pipe[1], False)
    signal.signal(signal.SIGTERM, pass_on)
    old = signal.set_wakeup_fd(_pipe[1], warn_on_full_buffer=False)  # written to at once
    if old != -1:  # it belongs to an event loop
        signal.set_wakeup_fd(old)
    watch = threading.Thread(
        target=_watch, args=(_pipe[0], callback), name="clearml-taskgroup-end", daemon=True
    )
    watch.start()


def pass_on(signum: int, frame: FrameType | None) -> None:
    """The handler of SIGTERM; a group that opens in this process may replace it."""
    if _pipe is not None:
        os.write(_pipe[1], bytes([signum]))


def _watch(pipe: int, callback: Callable[[], None]) -> None:
    while os.read(pipe, 1) != bytes([signal.SIGTERM]) or signal.getsignal(signal.SIGTERM) is not pass_on:
        pass
    try:
        callback()
    finally:
        os._exit(128 + signal.SIGTERM)


@_fork.in_child
def _forget() -> None:
    """In a forked child: the thread runs in the parent only, and the pipe is the parent's."""
    global _pipe
    if _pipe is None:
        return
    if signal.getsignal(signal.SIGTERM) is pass_on:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    old = signal.set_wakeup_fd(-1)
    if old not in (-1, _pipe[1]):
        signal.set_wakeup_fd(old)
    _pipe = None
