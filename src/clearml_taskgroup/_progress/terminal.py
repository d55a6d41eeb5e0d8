"""Shows progress in the last two lines of a terminal, below what the script prints."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, TextIO

from .._run.console import Tee
from .._text import cut, width
from .screen import Screen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .tracker import Progress

REFRESH_INTERVAL_S = 0.2
MIN_BAR_COLUMNS, MAX_BAR_COLUMNS = 8, 16
STATUS_LINES = 2


class TerminalDisplay:
    """Two lines at the bottom of a terminal: bar, counts and clocks; the best value and the current task.

    Standard output and standard error go through it, and so do logging handlers that print there: what is
    printed appears above the two lines, and a progress bar within the loop (tqdm, Lightning, Keras, rich)
    is drawn there as usual.
    """

    def __init__(self) -> None:
        self._screen = Screen()
        self._lock = threading.RLock()  # a signal handler may print while its thread draws
        self._pid = os.getpid()
        self._progress: Progress | None = None
        self._stopped = threading.Event()
        self._drawn: tuple[list[str], tuple[int, int]] | None = None
        self._terminal: TextIO = beneath_tee("stderr")
        if os.name == "nt":
            os.system("")  # older Windows consoles understand control sequences only after this
        self._redirected = [
            Redirected(name, stream, self)
            for name in ("stdout", "stderr")
            if (stream := beneath_tee(name)) is not None and stream.isatty()
        ]

    @property
    def takes_output(self) -> bool:
        """Whether what is printed is drawn here: not after the end, and not in a forked child."""
        return self._progress is not None and not self._stopped.is_set() and os.getpid() == self._pid

    def show(self, progress: Progress) -> None:
        if self._progress is None and os.getpid() == self._pid:
            self._progress = progress
            for stream in self._redirected:
                stream.install()
            atexit.register(self.stop)
            threading.Thread(target=self._refresh, name="clearml-taskgroup-progress", daemon=True).start()
        self._draw()

    def write(self, text: str) -> None:
        """Shows what the script prints."""
        with self._lock:
            self._screen.write(text)
            if self._screen.is_settled:  # else at the next refresh: a bar is written in several steps
                self._draw()

    def stop(self) -> None:
        with self._lock:
            if not self.takes_output:
                return
            self._draw(last=True)
            self._stopped.set()
            for stream in self._redirected:
                stream.uninstall()
        atexit.unregister(self.stop)

    def _refresh(self) -> None:
        while not self._stopped.wait(REFRESH_INTERVAL_S):
            self._draw()

    def _draw(self, *, last: bool = False) -> None:
        with self._lock:
            if not self.takes_output or self._progress is None:
                return
            columns, height = _size(self._terminal)
            final, most = self._screen.take_final(everything=last), max(1, height - STATUS_LINES - 1)
            row, column = self._screen.cursor
            rows = self._screen.rows(columns - 1)
            first = max(0, min(row, len(rows) - most))
            shown = [] if last else rows[first : first + most]
            row -= first
            lines = [*shown, *status_lines(self._progress, columns - 1)]
            drawn = lines, (row, column)
            if drawn == self._drawn and not final and not last:
                return
            above = 0 if self._drawn is None else self._drawn[1][0]
            end = "\n" if last else _up(len(lines) - 1 - row) + "\r" + _right(min(column, columns - 1))
            self._drawn = drawn
            self._put(f"\r{_up(above)}\x1b[J{final}" + "\n".join(lines) + end)

    def _put(self, text: str) -> None:
        encoding = getattr(self._terminal, "encoding", None) or "utf-8"
        with contextlib.suppress(OSError, ValueError):  # a terminal that was closed does not end the script
            self._terminal.write(text.encode(encoding, "replace").decode(encoding))
            self._terminal.flush()


class Redirected:
    """Takes the place of an output stream while progress is shown.

    Args:
        name: `"stdout"` or `"stderr"`.
        stream: The stream.
        display: Where its text is shown.
    """

    def __init__(self, name: str, stream: TextIO, display: TerminalDisplay) -> None:
        self._name = name
        self._stream = stream
        self._display = display

    def install(self) -> None:
        self._replace(self._stream, self)

    def uninstall(self) -> None:
        """Puts the stream back, except where other code has put another one on top, which keeps working."""
        self._replace(self, self._stream)

    def _replace(self, old: Any, new: Any) -> None:
        top = getattr(sys, self._name)
        if top is old:
            setattr(sys, self._name, new)
        elif isinstance(top, Tee) and top._stream is old:
            top._stream = new
        for handler in _stream_handlers():
            if handler.stream is old:
                handler.setStream(new)

    def write(self, text: str) -> int:
        if not self._display.takes_output:
            return self._stream.write(text)
        self._display.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if not self._display.takes_output:
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def beneath_tee(name: str) -> Any:
    """Returns an output stream, or the one beneath it if the console is captured."""
    stream = getattr(sys, name)
    return stream._stream if isinstance(stream, Tee) else stream


def _stream_handlers() -> Iterator[logging.StreamHandler[Any]]:
    for known in (logging.getLogger(), *list(logging.getLogger().manager.loggerDict.values())):
        for handler in getattr(known, "handlers", ()):
            # Where it is a property, as in this package, it follows `sys.stderr` itself.
            if isinstance(handler, logging.StreamHandler) and "stream" in vars(handler):
                yield handler


def status_lines(progress: Progress, room: int) -> list[str]:
    """Returns bar, counts and clocks, then the best value and the current task, at most `room` columns each.

    Args:
        progress: The state of the sweep.
        room: The columns of a line. Where they are few, the bar is left out, then the clocks.
    """
    first, clocks = progress.counts, progress.clocks
    if width(f"{first} · {clocks}") <= room:
        first = f"{first} · {clocks}"
    columns = min(MAX_BAR_COLUMNS, room - width(first) - 1)
    if columns >= MIN_BAR_COLUMNS:
        full = columns * progress.ended // max(1, progress.total)
        first = f"{'━' * full}{'─' * (columns - full)} {first}"
    detail = [cut(progress.detail, room)] if progress.detail else []
    return [cut(first, room), *detail]


def _size(terminal: TextIO) -> tuple[int, int]:
    """Returns the columns and the lines of a terminal."""
    columns = os.environ.get("COLUMNS", "")
    try:
        size = os.get_terminal_size(terminal.fileno())
    except (OSError, ValueError, AttributeError):
        size = os.terminal_size((80, 24))
    return int(columns) if columns.isdecimal() and int(columns) else size.columns or 80, size.lines or 24


def _up(rows: int) -> str:
    return f"\x1b[{rows}A" if rows > 0 else ""


def _right(columns: int) -> str:
    return f"\x1b[{columns}C" if columns > 0 else ""
