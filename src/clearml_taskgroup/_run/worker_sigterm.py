"""SIGTERM in a worker of somebody else's pool, which may end it right after its last result.

What was counted is told first. Not by an exception in the main thread: where the signal comes just
before that begins to wait for more work, Python would let it wait, and the pool for it, for ever.
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


def before_sigterm(leave: Callable[[], None]) -> None:
    """Has SIGTERM call a function in a thread of its own, and end the process after that.

    Only in the main thread, and only over the default handler: another one is the user's.
    """
    global _pipe
    if threading.current_thread() is not threading.main_thread():
        return
    if _pipe is not None or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return
    _pipe = os.pipe()
    os.set_blocking(_pipe[1], False)
    signal.signal(signal.SIGTERM, pass_on)
    old = signal.set_wakeup_fd(_pipe[1], warn_on_full_buffer=False)  # written to at once, whoever waits
    if old != -1:  # an event loop's
        signal.set_wakeup_fd(old)
    watch = threading.Thread(target=_watch, args=(_pipe[0], leave), name="clearml-taskgroup-end", daemon=True)
    watch.start()


def pass_on(signum: int, frame: FrameType | None) -> None:
    """The handler; a group that is opened here replaces it as it would the default one."""
    if _pipe is not None:
        os.write(_pipe[1], bytes([signum]))


def _watch(pipe: int, leave: Callable[[], None]) -> None:
    while os.read(pipe, 1) != bytes([signal.SIGTERM]) or signal.getsignal(signal.SIGTERM) is not pass_on:
        pass
    try:
        leave()
    finally:
        os._exit(128 + signal.SIGTERM)


@_fork.in_child
def _forget() -> None:
    """In a forked child: the thread is its parent's, and so is the pipe."""
    global _pipe
    if _pipe is None:
        return
    if signal.getsignal(signal.SIGTERM) is pass_on:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    old = signal.set_wakeup_fd(-1)
    if old not in (-1, _pipe[1]):
        signal.set_wakeup_fd(old)
    _pipe = None
