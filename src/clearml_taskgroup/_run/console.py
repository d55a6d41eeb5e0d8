"""What a `with task:` block prints and logs → that task's console.

The block is known by a context variable, so that tasks that are open at once, in threads or in
asyncio tasks, do not mix.
"""

from __future__ import annotations

import logging
import sys
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO

import attrs

from .._log import OwnHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONGEST_LINE = 16_384
"""Characters after which a line without an end is sent all the same."""


@attrs.define(eq=False)
class Sink:
    """Puts text together to lines for one task's console.

    Args:
        put: Takes whole lines.
    """

    put: Callable[[str], None]
    _rest: str = ""
    _lock: threading.Lock = attrs.field(factory=threading.Lock, repr=False)

    def write(self, text: str) -> None:
        """Takes a piece of text; of a line that a progress bar writes over, the last state counts."""
        with self._lock:
            whole, newline, rest = (self._rest + text).rpartition("\n")
            if len(rest) > LONGEST_LINE:
                whole, newline, rest = whole + newline + rest, "\n", ""
            self._rest = _last_state(rest) + ("\r" if rest.endswith("\r") else "")
            lines = [_last_state(line) for line in whole.split("\n")] if newline else []
        if any(line.strip() for line in lines):
            self.put("\n".join(lines))

    def flush(self) -> None:
        """Sends what is left of a line without an end."""
        if self._rest.strip():
            self.write("\n")


def _last_state(line: str) -> str:
    return line.rstrip("\r").rpartition("\r")[2]


current: ContextVar[Sink | None] = ContextVar("clearml_taskgroup_console", default=None)
"""The console of the task whose block this is, if its group captures."""


class _Tee:
    """Stands before an output stream and hands a copy to the current task."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._active = True

    def write(self, text: str) -> int:
        count = self._stream.write(text)
        sink = current.get()
        if sink is not None and self._active:
            sink.write(text)
        return count

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Handler(OwnHandler):
    """Hands log records to the current task, unless they reach it through a stream already."""

    def emit(self, record: logging.LogRecord) -> None:
        others = [handler for handler in _handlers(record.name) if handler is not self]
        last = logging.lastResort
        if not others and last is not None:  # which Python would use, were it not for this handler
            others = [last]
            if record.levelno >= last.level:
                last.handle(record)
        sink = current.get()
        if sink is not None and not any(_prints(handler, record) for handler in others):
            sink.write(self.format(record) + "\n")


def _handlers(name: str) -> Iterator[logging.Handler]:
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None


def _prints(handler: logging.Handler, record: logging.LogRecord) -> bool:
    stream = getattr(handler, "stream", None)
    return isinstance(stream, _Tee) and stream._active and record.levelno >= handler.level


@attrs.define(eq=False)
class _Installed:
    groups: int = 0
    tees: dict[str, _Tee] = attrs.field(factory=dict)
    handler: logging.Handler = attrs.field(factory=_Handler)
    lock: threading.Lock = attrs.field(factory=threading.Lock)


_installed = _Installed()


def install() -> Callable[[], None]:
    """Starts to capture, for the whole process and as long as a group needs it.

    Returns:
        A function that ends it, unless another group still needs it.
    """
    with _installed.lock:
        _installed.groups += 1
        if _installed.groups == 1:
            for name in ("stdout", "stderr"):
                stream = getattr(sys, name)
                if stream is not None:  # as in a program without a console
                    tee = _installed.tees[name] = _Tee(stream)
                    setattr(sys, name, tee)
            formatter = logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s")
            _installed.handler.setFormatter(formatter)
            logging.getLogger().addHandler(_installed.handler)
    return _uninstall


def _uninstall() -> None:
    with _installed.lock:
        _installed.groups -= 1
        if _installed.groups:
            return
        for name, tee in _installed.tees.items():
            tee._active = False
            if getattr(sys, name) is tee:  # somebody else's stream on top of ours stays
                setattr(sys, name, tee._stream)
        _installed.tees.clear()
        logging.getLogger().removeHandler(_installed.handler)
