"""Signals: SIGTERM and SIGHUP raise `SystemExit` while a group is open; all are deferred while one closes."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .. import _fork
from .._clearml import sdk
from .._log import logger
from .._text import counted
from .worker_sigterm import pass_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    from .run import Run
    from .state import TaskState

TERMINATIONS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that end a process: by a scheduler, and by a terminal that is closed (not on Windows)."""
TERMINATION_REASONS = frozenset(signal.Signals(number).name for number in TERMINATIONS)
"""Why a task was stopped, if one of them has done it."""

_users: set[object] = set()
_replaced: dict[int, Any] = {}


class SignalExit(SystemExit):
    """Ends the interpreter because of a signal, with the exit code of a process that the signal ends."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.signal_name: str = signal.Signals(code - 128).name

    @classmethod
    def of(cls, signum: int) -> SignalExit:
        """Makes the exception of a signal."""
        return cls(128 + signum)


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise SignalExit.of(signum)


def catch_terminations() -> Callable[[], None]:
    """Makes SIGTERM and SIGHUP raise `SystemExit`, so that blocks end as they do after any exception.

    Only in the main thread, and only in place of the default handler or that of `Task.init`, which
    ignores the signal. Any other handler is kept; `nohup`, for example, ignores SIGHUP.

    Returns:
        A function that restores the old handlers, unless another group still needs ours.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    for number in TERMINATIONS:
        old = signal.getsignal(number)
        if old in (signal.SIG_DFL, pass_on) or sdk.is_signal_handler(old):
            _replaced[number] = old
            signal.signal(number, _terminate)
    token = object()
    _users.add(token)

    def restore() -> None:
        _users.discard(token)
        if _users or threading.current_thread() is not threading.main_thread():
            return
        for number in TERMINATIONS:
            if signal.getsignal(number) is _terminate:
                signal.signal(number, _replaced[number])

    return restore


class Interrupts:
    """The signals that came in while a group was closing.

    Attributes:
        first: The exception of the first signal, which is raised after the closing.
        given_up: Whether a second signal came: delivery is given up, and the data is kept.
        waiting: Whether a step of the closing is running, which a second signal interrupts.
    """

    def __init__(self) -> None:
        self.first: BaseException | None = None
        self.given_up = False
        self.waiting = False

    def add(self, interrupt: BaseException) -> None:
        """Adds an interrupt; the second one gives up delivery."""
        self.given_up = self.first is not None
        self.first = self.first or interrupt


@contextmanager
def hold_signals() -> Iterator[Interrupts]:
    """Defers Ctrl-C, SIGTERM and SIGHUP while a group closes; a second one interrupts the running step."""
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return

    def hold(signum: int, frame: FrameType | None) -> None:
        interrupt = KeyboardInterrupt() if signum == signal.SIGINT else SignalExit.of(signum)
        interrupts.add(interrupt)
        if interrupts.given_up and interrupts.waiting:
            raise interrupt

    old: dict[int, Any] = {}
    for number in (signal.SIGINT, *TERMINATIONS):
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


def log_termination(run: Run, states: Iterable[TaskState], reason: str) -> None:
    """Logs how to go on if a signal has stopped tasks, of which a script prints nothing itself."""
    if run.run_log is None or run.agent_task is not None:
        return
    stopped = sum(state.status == "stopped" and state.reason == reason for state in states)
    if stopped and reason in TERMINATION_REASONS:
        tasks = f"{reason} stopped {counted(stopped, 'task')} of {run.info.name!r}"
        again = "to run again what has not completed, start the script again with resume=True"
        logger.info("%s; %s", tasks, again)


@_fork.in_child
def _forget() -> None:
    """Restores the default in a forked child: its parent ends the groups, and a pool must not wait for it."""
    _users.clear()
    for number in TERMINATIONS:
        if signal.getsignal(number) is _terminate:
            signal.signal(number, signal.SIG_DFL)
