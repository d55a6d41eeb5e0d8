"""Rows by position."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest

from clearml_taskgroup._results.row_collection import RowCollection


@attrs.frozen
class Letters(RowCollection[str]):
    """Rows that are letters."""

    rows: tuple[str, ...]
    name: str = "x"


@attrs.frozen
class Others(RowCollection[str]):
    """The same with another attribute."""

    _rows_attribute = "letters"

    letters: tuple[str, ...]


def test_rows_by_position() -> None:
    """As of a sequence, but it is none, because polars would make a column of rows of it."""
    letters = Letters(tuple("abcab"), "mine")
    assert (len(letters), list(letters), "".join(reversed(letters))) == (5, list("abcab"), "bacba")
    assert (letters[0], letters[-1], "c" in letters, "d" in letters) == ("a", "b", True, False)
    assert letters[1:3] == Letters(("b", "c"), "mine")
    assert (letters.count("a"), letters.count("d")) == (2, 0)
    assert not isinstance(letters, Sequence)
    assert Others(tuple("abc"))[::2] == Others(("a", "c"))
    with pytest.raises(IndexError):
        letters[5]
    with pytest.raises(TypeError, match="'a' was given; rows are selected by position, an int or a slice"):
        letters["a"]  # type: ignore[call-overload]


def test_the_position_of_a_row() -> None:
    """Among all of them, or from one position up to another one."""
    letters = Letters(tuple("abcab"))
    assert [letters.index(letter) for letter in "abc"] == [0, 1, 2]
    assert letters.index("a", 1) == 3
    assert letters.index("b", 2, 5) == letters.index("b", 2) == 4
    for asked in (("d",), ("c", 3), ("b", 2, 4)):
        with pytest.raises(ValueError, match="not in"):
            letters.index(*asked)
