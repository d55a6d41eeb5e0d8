"""Console capture: what a `with task:` block prints and logs goes to that task's console.

The task is found by a context variable, so tasks that are open at the same time, in threads or
asyncio tasks, do not mix.
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING, Any, TextIO

import attrs

from .._current import console as current

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_LINE_CHARS = 16_384
"""Characters after which an unfinished line is sent."""


@attrs.define(eq=False)
class Sink:
    """Collects text into lines for one task's console.

    Args:
        put: Called with whole lines.
    """

    put: Callable[[str], None]
    _rest: str = ""
    _lock: threading.Lock = attrs.field(factory=threading.Lock, repr=False)

    def write(self, text: str) -> None:
        """Adds text; of a line that is overwritten, as by a progress bar, the last state is kept."""
        with self._lock:
            whole, newline, rest = (self._rest + text).rpartition("\n")
            if len(rest) > MAX_LINE_CHARS:
                whole, newline, rest = whole + newline + rest, "\n", ""
            self._rest = _last_state(rest) + ("\r" if rest.endswith("\r") else "")
            lines = [_last_state(line) for line in whole.split("\n")] if newline else []
        if any(line.strip() for line in lines):
            self.put("\n".join(lines))

    def flush(self) -> None:
        """Sends the rest, an unfinished line."""
        if self._rest.strip():
            self.write("\n")


def _last_state(line: str) -> str:
    return line.rstrip("\r").rpartition("\r")[2]


class Tee:
    """Wraps an output stream and copies what is written to the current task's console."""

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


class _Handler(logging.Handler):
    """Sends log records to the current task's console, unless another handler prints them into it."""

    is_of_package = True  # see `_log`

    def emit(self, record: logging.LogRecord) -> None:
        others = [handler for handler in _handlers(record.name) if handler is not self]
        last = logging.lastResort
        if not others and last is not None:  # without this handler, Python would use the last resort
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
    return isinstance(stream, Tee) and stream._active and record.levelno >= handler.level


@attrs.define(eq=False)
class _Installed:
    groups: int = 0
    tees: dict[str, Tee] = attrs.field(factory=dict)
    handler: logging.Handler = attrs.field(factory=_Handler)
    lock: threading.Lock = attrs.field(factory=threading.Lock)


_installed = _Installed()


def install() -> Callable[[], None]:
    """Starts capturing in the whole process.

    Returns:
        A function that ends it, unless another group still needs it.
    """
    with _installed.lock:
        _installed.groups += 1
        if _installed.groups == 1:
            for name in ("stdout", "stderr"):
                stream = getattr(sys, name)
                if stream is not None:  # None in a program without a console
                    tee = _installed.tees[name] = Tee(stream)
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
            if getattr(sys, name) is tee:  # a stream that other code has put on top of ours stays
                setattr(sys, name, tee._stream)
        _installed.tees.clear()
        logging.getLogger().removeHandler(_installed.handler)
