"""SIGTERM as an exception while a group is open; Ctrl-C counted while one closes."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from .. import _fork
from .._clearml import sdk
from .worker_sigterm import pass_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

TERMINATED = 128 + signal.SIGTERM

_open: set[object] = set()
_replaced: Any = signal.SIG_DFL


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(TERMINATED)


def catch_sigterm() -> Callable[[], None]:
    """Has SIGTERM raise `SystemExit(143)`, so that blocks end as they do for any exception.

    Only in the main thread, and only over the default handler or the one of `Task.init`, which
    swallows the signal; any other handler is left alone.

    Returns:
        A function that puts the old handler back, unless another group still needs ours.
    """
    global _replaced
    if threading.current_thread() is not threading.main_thread():
        return _nothing
    old = signal.getsignal(signal.SIGTERM)
    if old is not _terminate:
        if old not in (signal.SIG_DFL, pass_on) and not sdk.is_signal_handler(old):
            return _nothing
        _replaced = old
        signal.signal(signal.SIGTERM, _terminate)
    token = object()
    _open.add(token)

    def restore() -> None:
        _open.discard(token)
        in_main_thread = threading.current_thread() is threading.main_thread()
        if not _open and in_main_thread and signal.getsignal(signal.SIGTERM) is _terminate:
            signal.signal(signal.SIGTERM, _replaced)

    return restore


def _nothing() -> None:
    return None


@attrs.define
class Interrupts:
    """What came in while a group was closing.

    Attributes:
        first: The exception that the first signal stands for; raised after the closing.
        given_up: Whether a second one came: delivery is given up, the data kept.
        waiting: Whether a step of the end is at work, which a second signal breaks off.
    """

    first: BaseException | None = None
    given_up: bool = False
    waiting: bool = False

    def add(self, interrupt: BaseException) -> None:
        """Notes an interrupt; the second one gives delivery up."""
        self.given_up = self.first is not None
        self.first = self.first or interrupt


@contextmanager
def held() -> Iterator[Interrupts]:
    """Holds Ctrl-C and SIGTERM back while a group closes; a second one breaks the step off."""
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return

    def hold(signum: int, frame: FrameType | None) -> None:
        interrupt = SystemExit(TERMINATED) if signum == signal.SIGTERM else KeyboardInterrupt()
        interrupts.add(interrupt)
        if interrupts.given_up and interrupts.waiting:
            raise interrupt

    old: dict[signal.Signals, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        ours = handler in (signal.default_int_handler, _terminate)
        if ours or sdk.is_signal_handler(handler):
            old[number] = handler
            signal.signal(number, hold)
    try:
        yield interrupts
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@_fork.in_child
def _forget() -> None:
    """In a forked child: it has no group to end, and a pool that terminates its workers must not wait."""
    _open.clear()
    if signal.getsignal(signal.SIGTERM) is _terminate:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
