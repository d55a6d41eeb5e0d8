"""The last rows of what a script prints, with the cursor that its progress bars move."""

from __future__ import annotations

import re
from typing import NamedTuple

import attrs

from .._text import character_width

MAX_ROWS = 12
"""Rows that a bar may still change; older ones are final."""
TAB_COLUMNS = 8
_TOKENS = re.compile(
    r"\x1b\[(?P<args>[0-9;:<=>?]*)[ -/]*(?P<command>[@-~])"  # a control sequence
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # a window title, a link
    r"|\x1b.?|.",
    re.DOTALL,
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_RESET = "\x1b[0m"


class Cell(NamedTuple):
    """A column of a row."""

    text: str = " "  # empty for the second column of a wide character
    colours: str = ""


@attrs.define
class Screen:
    """Follows text as a terminal does, but without a width: rows are as long as what is written.

    tqdm, Keras, rich and the like rewrite the last rows of a terminal with carriage returns and cursor
    movements. Rows that they can no longer change are final.
    """

    _rows: list[list[Cell]] = attrs.field(factory=lambda: [[]])
    _row: int = 0
    _column: int = 0
    _colours: str = ""
    _final: str = ""
    _is_rewritten: bool = False

    def write(self, text: str) -> None:
        """Adds text."""
        is_empty = self._rows == [[]] and not self._colours
        if is_empty and text.endswith("\n") and not _CONTROLS.search(text):
            self._final += text  # whole lines, without a look at each character
            return
        for token in _TOKENS.finditer(text):
            self._take(token)
        self._finish(max(0, self._row + 1 - MAX_ROWS))

    @property
    def is_settled(self) -> bool:
        """Whether all that was written are whole lines, and no bar has begun that might change them."""
        return not self._rows[self._row] and not self._is_rewritten

    @property
    def cursor(self) -> tuple[int, int]:
        """The row and the column of the cursor, among the rows that may still change."""
        return self._row, self._column

    def rows(self, room: int) -> list[str]:
        """Returns the rows that may still change, cut to so many columns."""
        return [_text(row[:room]) for row in self._rows]

    def take_final(self, *, everything: bool = False) -> str:
        """Returns the text that can no longer change, once: whole lines.

        Args:
            everything: Also the rows that a bar could still change.
        """
        if everything:
            last = len(self._rows)
            self._finish(last if self._rows[-1] else last - 1)
            self._rows, self._row, self._column = [[]], 0, 0
        elif not self._rows[self._row]:  # print and logging end with a line break, bars do not
            self._finish(self._row)
        final, self._final = self._final, ""
        return final

    def _finish(self, end: int) -> None:
        if end:
            self._final += "".join(_text(row).rstrip(" ") + "\n" for row in self._rows[:end])
            del self._rows[:end]
            self._row -= end
        self._is_rewritten = self._is_rewritten and self._rows not in ([], [[]])

    def _take(self, token: re.Match[str]) -> None:
        text, command = token[0], token["command"]
        if command is not None:
            self._control(command, token["args"])
        elif text == "\n":
            self._move(1, -self._column)
        elif text == "\r":
            self._column, self._is_rewritten = 0, True
        elif text == "\b":
            self._move(0, -1)
            self._is_rewritten = True
        elif text == "\t":
            self._move(0, TAB_COLUMNS - self._column % TAB_COLUMNS)
        elif text >= " " and text[0] != "\x1b" and text != "\x7f":
            self._put(text)

    def _put(self, character: str) -> None:
        row, columns = self._rows[self._row], character_width(character)
        row.extend([Cell()] * (self._column - len(row)))
        if columns == 0:
            if self._column:
                before = row[self._column - 1]
                row[self._column - 1] = Cell(before.text + character, before.colours)
            return
        filler = [Cell("")] * (columns - 1)
        row[self._column : self._column + columns] = [Cell(character, self._colours), *filler]
        self._column += columns

    def _move(self, rows: int, columns: int) -> None:
        self._row, self._column = max(0, self._row + rows), max(0, self._column + columns)
        self._rows.extend([] for _ in range(self._row + 1 - len(self._rows)))

    def _control(self, command: str, args: str) -> None:
        first = args.partition(";")[0]
        number = int(first) if first.isdecimal() and len(first) < 4 else 0
        if command == "m":
            self._colours = self._colours + f"\x1b[{args}m" if number else ""
            return
        self._is_rewritten = True
        row = self._rows[self._row]
        if command in "ABCD":
            down, right = {"A": (-1, 0), "B": (1, 0), "C": (0, 1), "D": (0, -1)}[command]
            self._move(down * max(1, number), right * max(1, number))
        elif command == "G":
            self._column = max(0, number - 1)
        elif command == "K" and number == 2:
            row.clear()
        elif command == "K" and number == 1:
            row[: self._column] = [Cell()] * min(self._column, len(row))
        elif command == "K":
            del row[self._column :]
        elif command == "J" and number == 0:
            del self._rows[self._row + 1 :], row[self._column :]


def _text(row: list[Cell]) -> str:
    text, colours = "", ""
    for cell in row:
        if cell.colours != colours and cell.text:
            text += (_RESET if colours else "") + cell.colours
            colours = cell.colours
        text += cell.text
    return text + (_RESET if colours else "")
