"""Tables for people: on a terminal as wide as it is, elsewhere a line for each row."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .._results.export import text_table

if TYPE_CHECKING:
    from collections.abc import Sequence

GAP = 2
"""Between columns: one for the padding, one for the box."""
NARROWEST = 12
"""How far names may be folded: a run's digits stay in one piece."""
WIDEST_PART = 40
"""How wide a part of a heading may be that is not broken."""
WIDEST = 200
"""The most that a line has off a terminal that need not be whole."""
MOST_TOLD = 10
"""How many of the columns that have no room are named."""

_NUMBER = re.compile(r"[-+]?(\d[\d.,]*(e[-+]?\d+)?|nan|inf)( ± .*)?|–|")
_BREAKS = re.compile(r"(?<=[,/_])|(?<=[^\d] )|(?<=\d )(?=\d)|(?<=[A-Za-z]-)(?=[A-Za-z])|(?=\[)")
_HEAD_BREAKS = re.compile(r"(?=\[)|(?<= )(?=\()")
"""Headings are broken before their context and their unit alone."""


def print_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    """Prints a table; on a terminal names are folded and numbers are whole.

    Columns that do not fit a terminal are left out, from the right, and named below.
    """
    head, body = [_printable(name) for name in head], [[_printable(cell) for cell in line] for line in body]
    console = Console(highlight=False)
    if not console.is_terminal:
        click.echo(text_table(head, body, max_lines=None))
        return
    widths = fitting(head, body, console.width)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, GAP - 1, 0, 0), show_edge=False)
    for name, width in zip(head, widths, strict=False):
        table.add_column(Text(folded(name, width, _HEAD_BREAKS)), width=width)
    for line in body:
        table.add_row(*(Text(folded(cell, width)) for cell, width in zip(line, widths, strict=False)))
    console.print(table)
    missing = head[len(widths) :]
    if missing:
        more = f" and {len(missing) - MOST_TOLD} more" if len(missing) > MOST_TOLD else ""
        told = (
            f"no room for {', '.join(missing[:MOST_TOLD])}{more}; a pipe (| cat) and --json have all columns"
        )
        click.echo(textwrap.fill(told, console.width, break_on_hyphens=False))


def print_listed(heading: str, lines: Sequence[str], most: int = 5) -> None:
    """Prints the first of some lines below a heading, none of them wider than the terminal."""
    console = Console(highlight=False)
    room = console.width if console.is_terminal else WIDEST
    rest = [f"… and {len(lines) - most} more"] if len(lines) > most else []
    click.echo(heading)
    for line in (*lines[:most], *rest):
        cut = Text("  " + _printable(" ".join(line.split())))
        cut.truncate(room, overflow="ellipsis")
        click.echo(cut.plain)


def fitting(head: Sequence[str], body: Sequence[Sequence[str]], room: int) -> list[int]:
    """Finds the widths of as many columns, from the left, as stand side by side in `room`."""
    columns = [[name, *(line[place] for line in body)] for place, name in enumerate(head)]
    wanted = [max(map(cell_len, column)) for column in columns]
    least = [_least(column) for column in columns]
    least[0] = max(least[0], min(_in_two_lines(columns[0][1:]), room // 3))
    shown = 1
    while shown < len(columns) and sum(least[: shown + 1]) + GAP * shown <= room:
        shown += 1
    widths = least[:shown]
    widths[0] = min(widths[0], room)
    spare = room - sum(widths) - GAP * (shown - 1)
    cells = [max(map(cell_len, column[1:]), default=0) for column in columns]
    for target in (cells, wanted):  # a heading may be folded sooner than a name
        while spare > 0:
            narrow = [place for place, width in enumerate(widths) if width < target[place]]
            if not narrow:
                break
            widths[min(narrow, key=lambda place: widths[place])] += 1
            spare -= 1
    return widths


def _least(column: Sequence[str]) -> int:
    """Gives how narrow a column may be: numbers stay whole, their heading and names are folded."""
    head, *cells = column
    widest = max(map(cell_len, cells), default=0)
    heading = max(cell_len(part.rstrip()) for part in _HEAD_BREAKS.split(head))
    whole = all(_NUMBER.fullmatch(cell) for cell in cells)
    return max(min(heading, WIDEST_PART), widest if whole else min(widest, NARROWEST))


def _in_two_lines(cells: Sequence[str]) -> int:
    """Gives how wide a column must be for its cells to have two lines at most."""
    width = max((-(-cell_len(cell) // 2) for cell in cells), default=0)
    for cell in cells:
        while folded(cell, width).count("\n") > 1:
            width += 1
    return width


def folded(text: str, width: int, breaks: re.Pattern[str] = _BREAKS) -> str:
    """Breaks a text into lines, where it can be broken between its parts."""
    lines = [""]
    for part in breaks.split(text):
        if cell_len(lines[-1] + part.rstrip()) > width and lines[-1]:
            lines.append("")
        while cell_len(part.rstrip()) > width:
            cut = max(1, sum(cell_len(part[: end + 1]) <= width for end in range(len(part))))
            lines[-1:] = [part[:cut], ""]
            part = part[cut:]
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines if line.strip()) or text


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "�" for letter in text)
