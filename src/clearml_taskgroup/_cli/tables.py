"""Prints tables and lists, fitted to the width of a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

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


def print_first(heading: str, lines: Sequence[str], rest_in: str, most: int = 5) -> None:
    """Prints a heading and the first lines, each cut to the width of the terminal; says where the rest is."""
    rest = [f"… and {len(lines) - most} more: {rest_in}"] if len(lines) > most else []
    echo(heading)
    for line in (*lines[:most], *rest):
        echo(cut("  " + printable(" ".join(line.split())), room() or MAX_LINE_WIDTH))
