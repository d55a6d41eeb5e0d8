"""What a `with task:` block prints and logs → that task's console.

The block is known by a context variable, so that tasks that are open at once, in threads or in
asyncio tasks, do not mix.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TextIO

import attrs

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
            self._rest = rest.rpartition("\r")[2] if not rest.endswith("\r") else rest
            lines = [line.rstrip("\r").rpartition("\r")[2] for line in whole.split("\n")] if newline else []
        if any(line.strip() for line in lines):
            self.put("\n".join(lines))

    def flush(self) -> None:
        """Sends what is left of a line without an end."""
        if self._rest.strip():
            self.write("\n")


current: ContextVar[Sink | None] = ContextVar("clearml_taskgroup_console", default=None)
"""The console of the task whose block this is, if its group captures."""


class _Tee:
    """Stands before an output stream and hands a copy to the current task."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        count = self._stream.write(text)
        sink = current.get()
        if sink is not None:
            sink.write(text)
        return count

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Handler(logging.Handler):
    """Hands log records to the current task, unless they reach it through a stream already."""

    def emit(self, record: logging.LogRecord) -> None:
        sink = current.get()
        if sink is not None and not _is_printed(record.name):
            sink.write(self.format(record) + "\n")


def _is_printed(name: str) -> bool:
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        if any(isinstance(getattr(handler, "stream", None), _Tee) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


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
                tee = _installed.tees[name] = _Tee(getattr(sys, name))
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
            if getattr(sys, name) is tee:  # somebody else's stream on top of ours stays
                setattr(sys, name, tee._stream)
        _installed.tees.clear()
        logging.getLogger().removeHandler(_installed.handler)
