"""Prints tables, lines and progress bars, fitted to the width of a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from .._results.text_table import MAX_LINE_WIDTH, text_table
from .._text import cut, printable
from .output import echo

if TYPE_CHECKING:
    from collections.abc import Sequence


def room() -> int | None:
    """Returns the columns of the terminal; None without one."""
    console = Console()
    return console.width if console.is_terminal else None


def print_table(
    head: Sequence[str], body: Sequence[Sequence[str]], *, folded: bool = True, kept: str = ""
) -> None:
    """Prints a table; see `text_table`."""
    elsewhere = "a pipe (| cat) and --json have all columns"
    text = text_table(head, body, most=None, room=room(), elsewhere=elsewhere, folded=folded, kept=kept)
    echo(*text.splitlines())


def cut_to_terminal(text: str, indent: int) -> str:
    """Returns a text in one line that fits into the terminal."""
    return cut(printable(" ".join(text.split())), (room() or MAX_LINE_WIDTH) - indent)


def progress_bar(*, quiet: bool) -> Progress:
    """Returns rich's progress bar; it shows nothing without a terminal."""
    console = Console(stderr=True, quiet=quiet)
    return Progress(console=console, disable=quiet or not console.is_terminal)
