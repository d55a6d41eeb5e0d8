"""Tables of text, in Python and on the command line: fitted to a terminal, else one line for each row."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

from .._text import padded, printable, shortened, some, width

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMN_GAP = 2
"""Characters between columns."""
MIN_NAME_WIDTH = 12
"""The least width of a column of names: the digits of a run stay in one line."""
MIN_CUT_WIDTH = 16
"""The same where names are not folded: a date with its time stays whole."""
MAX_HEADING_PART_WIDTH = 40
"""The most characters of a part of a heading that are kept in one line."""
MAX_LINE_WIDTH = 200
"""The most characters of a line of notes without a terminal."""
MAX_LINES = 40
"""The number of lines that a table in Python shows; the records have all of them."""
MAX_MISSING_COLUMNS_SHOWN = 10
"""The most names in the line about columns without room."""

_NUMBER = re.compile(r"[-+]?(\d[\d.,]*(e[-+]?\d+)?|nan|inf)( ± .*)?|–|")
_BREAKS = re.compile(r"(?<=[,/_])|(?<=[^\d] )|(?<=\d )(?=[\d(])|(?<=[A-Za-z]-)(?=[A-Za-z])|(?=\[)")
_HEAD_BREAKS = re.compile(r"(?=\[)|(?<= )(?=\()")
"""Headings are broken only before their context and their unit."""


def encodable(text: str) -> str:
    """Returns a text in one line that can be printed; what standard output cannot encode is a question mark.

    The command's output has them as well. In Python, `print` would raise for each `±` in a terminal of ASCII.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return printable(text).encode(encoding, "replace").decode(encoding)


def terminal_width() -> int | None:
    """Returns the columns of the terminal that standard output is; None if it is none."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return shutil.get_terminal_size().columns if is_terminal else None


def text_table(
    head: Sequence[str],
    body: Sequence[Sequence[str]],
    *,
    most: int | None = MAX_LINES,
    room: int | None = None,
    elsewhere: str = "",
    folded: bool = True,
    kept: str = "",
) -> str:
    """Writes a table as text.

    Args:
        head: The headings.
        body: The cells of each row.
        most: The most rows that are shown; None for all.
        room: The columns of a terminal: names are folded and numbers are not, and columns that do not fit are
            omitted, from the right, and listed below the table. None for one line for each row.
        elsewhere: What has the columns that do not fit.
        folded: Whether long names have several lines; else their middle is left out.
        kept: The heading of the column that is omitted last; by default the first one on the left.
    """
    head, *shown = ([printable(cell) for cell in line] for line in [head, *body[:most]])
    if room is not None and kept in head[2:]:  # the second column is omitted last in any case
        head, *shown = _with_room_first(head, shown, kept, room, MIN_NAME_WIDTH if folded else MIN_CUT_WIDTH)
    if room is None:
        widths = [max(map(width, column)) for column in zip(head, *shown, strict=True)]
    else:
        widths = fit_widths(head, shown, room, MIN_NAME_WIDTH if folded else MIN_CUT_WIDTH)
    lines = _lines(
        [fold(cell, columns, _HEAD_BREAKS) for cell, columns in zip(head, widths, strict=False)], widths
    )
    lines.append("  ".join("-" * columns for columns in widths))
    fit = fold if folded else _cut_in_the_middle
    for row in shown:
        lines += _lines([fit(cell, columns) for cell, columns in zip(row, widths, strict=False)], widths)
    if len(body) > len(shown):
        lines.append(f"… and {len(body) - len(shown)} more")
    if len(widths) < len(head):
        note = f"no room for {some(head[len(widths) :], MAX_MISSING_COLUMNS_SHOWN)}; {elsewhere}"
        lines += textwrap.wrap(note, room or MAX_LINE_WIDTH, break_on_hyphens=False)
    return "\n".join(lines)


def _with_room_first(
    head: list[str], body: list[list[str]], kept: str, room: int, least_name: int
) -> list[list[str]]:
    """Moves columns that have no room beside `kept` to the right of it; the others stay in their order."""
    place = head.index(kept)
    order = [0, place, *(other for other in range(1, len(head)) if other != place)]
    lines = [[line[column] for column in order] for line in (head, *body)]
    number = len(fit_widths(lines[0], lines[1:], room, least_name))
    order = [*sorted(order[:number]), *order[number:]]
    return [[line[column] for column in order] for line in (head, *body)]


def _lines(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Returns the lines of a row whose cells may have several."""
    folded = [cell.split("\n") for cell in cells]
    height = max(map(len, folded), default=1)
    return [
        (" " * COLUMN_GAP)
        .join(
            padded(cell[line] if line < len(cell) else "", columns)
            for cell, columns in zip(folded, widths, strict=True)
        )
        .rstrip()
        for line in range(height)
    ]


def fit_widths(
    head: Sequence[str], body: Sequence[Sequence[str]], room: int, least_name: int = MIN_NAME_WIDTH
) -> list[int]:
    """Returns the widths of the columns, from the left, that fit into `room` characters."""
    columns = [[name, *(line[place] for line in body)] for place, name in enumerate(head)]
    wanted = [max(map(width, column)) for column in columns]
    least = [_min_width(column, least_name) for column in columns]
    least[0] = max(least[0], min(_width_for_two_lines(columns[0][1:]), room // 3))
    shown = 1
    while shown < len(columns) and sum(least[: shown + 1]) + COLUMN_GAP * shown <= room:
        shown += 1
    widths = least[:shown]
    widths[0] = min(widths[0], room)
    spare = room - sum(widths) - COLUMN_GAP * (shown - 1)
    cells = [max(map(width, column[1:]), default=0) for column in columns]
    for target in (cells, wanted):  # cells get the spare width before headings
        while spare > 0:
            narrow = [place for place, columns in enumerate(widths) if columns < target[place]]
            if not narrow:
                break
            widths[min(narrow, key=lambda place: widths[place])] += 1
            spare -= 1
    return widths


def _min_width(column: Sequence[str], least_name: int) -> int:
    """Returns the least width of a column: numbers are not folded, headings and names are."""
    head, *cells = column
    widest = max(map(width, cells), default=0)
    heading = max(width(part.rstrip()) for part in _HEAD_BREAKS.split(head))
    whole = all(_NUMBER.fullmatch(cell) for cell in cells)
    return max(min(heading, MAX_HEADING_PART_WIDTH), widest if whole else min(widest, least_name))


def _width_for_two_lines(cells: Sequence[str]) -> int:
    """Returns the width at which the cells have at most two lines."""
    columns = 1
    for cell in cells:
        while fold(cell, columns).count("\n") > 1:
            columns += 1
    return columns


def fold(text: str, room: int, breaks: re.Pattern[str] = _BREAKS) -> str:
    """Breaks a text into lines, between its parts where possible."""
    lines = [""]
    for part in breaks.split(text):
        if width(lines[-1] + part.rstrip()) > room and lines[-1]:
            lines.append("")
        while width(part.rstrip()) > room:
            cut = max(1, sum(width(part[: end + 1]) <= room for end in range(len(part))))
            lines[-1:] = [part[:cut], ""]
            part = part[cut:]
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines if line.strip()) or text


def _cut_in_the_middle(text: str, room: int) -> str:
    characters = room
    while width(short := shortened(text, characters)) > room:
        characters -= 1
    return short
