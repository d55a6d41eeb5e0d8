"""Signals: SIGTERM raises `SystemExit` while a group is open; both are deferred while one closes."""

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

SIGTERM_EXIT_CODE = 128 + signal.SIGTERM

_users: set[object] = set()
_replaced: Any = signal.SIG_DFL


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(SIGTERM_EXIT_CODE)


def catch_sigterm() -> Callable[[], None]:
    """Makes SIGTERM raise `SystemExit(143)`, so that blocks end as they do after any exception.

    Only in the main thread, and only in place of the default handler or that of `Task.init`, which
    ignores the signal. Any other handler is kept.

    Returns:
        A function that restores the old handler, unless another group still needs ours.
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
    _users.add(token)

    def restore() -> None:
        _users.discard(token)
        in_main_thread = threading.current_thread() is threading.main_thread()
        if not _users and in_main_thread and signal.getsignal(signal.SIGTERM) is _terminate:
            signal.signal(signal.SIGTERM, _replaced)

    return restore


def _nothing() -> None:
    return None


@attrs.define
class Interrupts:
    """The signals that came in while a group was closing.

    Attributes:
        first: The exception of the first signal, which is raised after the closing.
        given_up: Whether a second signal came: delivery is given up, and the data is kept.
        waiting: Whether a step of the closing is running, which a second signal interrupts.
    """

    first: BaseException | None = None
    given_up: bool = False
    waiting: bool = False

    def add(self, interrupt: BaseException) -> None:
        """Adds an interrupt; the second one gives up delivery."""
        self.given_up = self.first is not None
        self.first = self.first or interrupt


@contextmanager
def hold_signals() -> Iterator[Interrupts]:
    """Defers Ctrl-C and SIGTERM while a group closes; a second one interrupts the running step."""
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return

    def hold(signum: int, frame: FrameType | None) -> None:
        interrupt = SystemExit(SIGTERM_EXIT_CODE) if signum == signal.SIGTERM else KeyboardInterrupt()
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
    """Restores the default in a forked child: its parent ends the groups, and a pool must not wait for it."""
    _users.clear()
    if signal.getsignal(signal.SIGTERM) is _terminate:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
