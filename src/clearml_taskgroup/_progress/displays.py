"""Where progress is shown: a terminal has two lines at its bottom, a notebook one output, a pipe nothing."""

from __future__ import annotations

import html
import os
import sys
from importlib import import_module
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from .terminal import TerminalDisplay

if TYPE_CHECKING:
    from .tracker import Progress

PLAIN_LINE_INTERVAL_S = 10.0
"""How often a terminal that cannot move its cursor gets a line."""


class Display(Protocol):
    """Where progress is shown."""

    def show(self, progress: Progress) -> None: ...

    def stop(self) -> None:
        """Stops updating; the last state stays visible."""


class NoDisplay:
    """Shows nothing: for pipes and files."""

    def show(self, progress: Progress) -> None:
        pass

    def stop(self) -> None:
        pass


class PlainDisplay:
    """Prints a line now and then: for a terminal that cannot move its cursor, such as a shell in Emacs."""

    def __init__(self) -> None:
        self._line = ""
        self._next = monotonic() + PLAIN_LINE_INTERVAL_S

    def show(self, progress: Progress) -> None:
        self._line = " · ".join(filter(None, (progress.counts, progress.clocks, progress.best)))
        if monotonic() >= self._next:
            self.stop()

    def stop(self) -> None:
        self._next = monotonic() + PLAIN_LINE_INTERVAL_S
        print(self._line, file=sys.stderr)


class NotebookDisplay:
    """An output of a notebook cell; needs no widgets."""

    def __init__(self) -> None:
        self._display: Any = import_module("IPython.display").display
        self._output: Any = None

    def show(self, progress: Progress) -> None:
        bar = f'<progress value="{progress.ended}" max="{progress.total}"></progress>'
        shown = {"text/html": f"{bar} {html.escape(str(progress))}", "text/plain": str(progress)}
        if self._output is None:
            self._output = self._display(shown, raw=True, display_id=True)
        else:
            self._output.update(shown, raw=True)

    def stop(self) -> None:
        pass


def choose_display() -> Display:
    """Returns the display for this process: a notebook, a terminal or none."""
    if _in_notebook():
        return NotebookDisplay()
    if sys.stderr is None or not sys.stderr.isatty():
        return NoDisplay()
    return PlainDisplay() if os.environ.get("TERM") in ("dumb", "unknown") else TerminalDisplay()


def _in_notebook() -> bool:
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)  # None while it is imported
    return get_ipython is not None and hasattr(get_ipython(), "kernel")
