"""Prints tables: fitted to the width of a terminal, otherwise one line for each row."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .._results.export import text_table
from .._text import printable, some
from .output import echo

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMN_GAP = 2
"""Characters between columns: one for the padding, one for the box."""
MIN_NAME_WIDTH = 12
"""The least width of a column of names: the digits of a run stay in one line."""
MAX_HEADING_PART_WIDTH = 40
"""The most characters of a part of a heading that are kept in one line."""
MAX_LINE_WIDTH = 200
"""The most characters of a line of `print_first` without a terminal."""
MAX_MISSING_COLUMNS_SHOWN = 10
"""The most names in the line about columns without room."""

_NUMBER = re.compile(r"[-+]?(\d[\d.,]*(e[-+]?\d+)?|nan|inf)( ± .*)?|–|")
_BREAKS = re.compile(r"(?<=[,/_])|(?<=[^\d] )|(?<=\d )(?=\d)|(?<=[A-Za-z]-)(?=[A-Za-z])|(?=\[)")
_HEAD_BREAKS = re.compile(r"(?=\[)|(?<= )(?=\()")
"""Headings are broken only before their context and their unit."""


def print_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    """Prints a table; on a terminal names are folded and numbers are not.

    Columns that do not fit the terminal are omitted, from the right, and listed below the table.
    """
    head, body = [printable(name) for name in head], [[printable(cell) for cell in line] for line in body]
    console = Console(highlight=False)
    if not console.is_terminal:
        echo(*text_table(head, body, max_lines=None).splitlines())
        return
    widths = fit_widths(head, body, console.width)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, COLUMN_GAP - 1, 0, 0), show_edge=False)
    for name, width in zip(head, widths, strict=False):
        table.add_column(Text(fold(name, width, _HEAD_BREAKS)), width=width)
    for line in body:
        table.add_row(*(Text(fold(cell, width)) for cell, width in zip(line, widths, strict=False)))
    console.print(table)
    missing = head[len(widths) :]
    if missing:
        names = some(missing, MAX_MISSING_COLUMNS_SHOWN)
        note = f"no room for {names}; a pipe (| cat) and --json have all columns"
        echo(*textwrap.wrap(note, console.width, break_on_hyphens=False))


def print_first(heading: str, lines: Sequence[str], rest_in: str, most: int = 5) -> None:
    """Prints a heading and the first lines, each cut to the width of the terminal; says where the rest is."""
    console = Console(highlight=False)
    room = console.width if console.is_terminal else MAX_LINE_WIDTH
    rest = [f"… and {len(lines) - most} more: {rest_in}"] if len(lines) > most else []
    echo(heading)
    for line in (*lines[:most], *rest):
        cut = Text("  " + printable(" ".join(line.split())))
        cut.truncate(room, overflow="ellipsis")
        echo(cut.plain)


def fit_widths(head: Sequence[str], body: Sequence[Sequence[str]], room: int) -> list[int]:
    """Returns the widths of the columns, from the left, that fit into `room` characters."""
    columns = [[name, *(line[place] for line in body)] for place, name in enumerate(head)]
    wanted = [max(map(cell_len, column)) for column in columns]
    least = [_min_width(column) for column in columns]
    least[0] = max(least[0], min(_width_for_two_lines(columns[0][1:]), room // 3))
    shown = 1
    while shown < len(columns) and sum(least[: shown + 1]) + COLUMN_GAP * shown <= room:
        shown += 1
    widths = least[:shown]
    widths[0] = min(widths[0], room)
    spare = room - sum(widths) - COLUMN_GAP * (shown - 1)
    cells = [max(map(cell_len, column[1:]), default=0) for column in columns]
    for target in (cells, wanted):  # cells get the spare width before headings
        while spare > 0:
            narrow = [place for place, width in enumerate(widths) if width < target[place]]
            if not narrow:
                break
            widths[min(narrow, key=lambda place: widths[place])] += 1
            spare -= 1
    return widths


def _min_width(column: Sequence[str]) -> int:
    """Returns the least width of a column: numbers are not folded, headings and names are."""
    head, *cells = column
    widest = max(map(cell_len, cells), default=0)
    heading = max(cell_len(part.rstrip()) for part in _HEAD_BREAKS.split(head))
    whole = all(_NUMBER.fullmatch(cell) for cell in cells)
    return max(min(heading, MAX_HEADING_PART_WIDTH), widest if whole else min(widest, MIN_NAME_WIDTH))


def _width_for_two_lines(cells: Sequence[str]) -> int:
    """Returns the width at which the cells have at most two lines."""
    width = max((-(-cell_len(cell) // 2) for cell in cells), default=0)
    for cell in cells:
        while fold(cell, width).count("\n") > 1:
            width += 1
    return width


def fold(text: str, width: int, breaks: re.Pattern[str] = _BREAKS) -> str:
    """Breaks a text into lines, between its parts where possible."""
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
