"""The last rows of what a script prints."""

from __future__ import annotations

import pytest

from clearml_taskgroup._progress.screen import MAX_ROWS, Screen


def test_lines_are_final_at_once() -> None:
    screen = Screen()
    screen.write("a\nb\n")
    assert screen.is_settled
    assert screen.take_final() == "a\nb\n"
    assert screen.take_final() == ""


@pytest.mark.parametrize(
    ("written", "rows", "cursor"),
    [
        (["half"], ["half"], (0, 4)),
        (["\r 50%", "\r100%"], ["100%"], (0, 4)),
        (["abc\b\bX"], ["aXc"], (0, 2)),
        (["\rlonger", "\r\x1b[2Kx"], ["x"], (0, 1)),
        (["\rlonger\r\x1b[3C\x1b[K"], ["lon"], (0, 3)),
        (["a\x1b[5Gb"], ["a   b"], (0, 5)),
        (["a\tb"], ["a       b"], (0, 9)),
        (["outer", "\n", "\rinner", "\x1b[A", "\rOUTER"], ["OUTER", "inner"], (0, 5)),
        (["one\ntwo", "\r\x1b[2K\x1b[1A\x1b[2K", "ONE\nTWO"], ["ONE", "TWO"], (1, 3)),
        (["\rone\ntwo\nthree\x1b[2A\x1b[J"], ["one"], (0, 5)),
        (["\r日本\rx"], ["x本"], (0, 1)),
        (["\x1b]0;a title\x07text"], ["text"], (0, 4)),
        (["\x1b[?25l\rhidden cursor\x1b[?25h"], ["hidden cursor"], (0, 13)),
        (["\x1b[32mgreen\x1b[0m and not"], ["\x1b[32mgreen\x1b[0m and not"], (0, 13)),
        (["\x1b[99999A\x1b[xx\x1b"], ["x"], (0, 1)),
    ],
)
def test_what_bars_do(written: list[str], rows: list[str], cursor: tuple[int, int]) -> None:
    """Carriage returns and cursor movements change rows, as in a terminal; nothing of them is final."""
    screen = Screen()
    for text in written:
        screen.write(text)
    assert screen.rows(80) == rows
    assert screen.cursor == cursor
    assert screen.take_final() == ""


def test_a_bar_that_ended_is_final_in_its_last_state() -> None:
    screen = Screen()
    for percent in range(0, 101, 10):
        screen.write(f"\r{percent}%")
        assert not screen.is_settled
    screen.write("\n")
    assert screen.take_final() == "100%\n"
    assert screen.is_settled


def test_everything_is_final_at_the_end() -> None:
    screen = Screen()
    screen.write("outer\n\rinner\x1b[A")
    assert screen.take_final(everything=True) == "outer\ninner\n"
    assert screen.rows(80) == [""]


def test_rows_are_limited() -> None:
    """What is far above the cursor is final, also if a bar never ends its last row."""
    screen = Screen()
    for number in range(100):
        screen.write(f"\r{number}\nrest")
    assert len(screen.rows(80)) == MAX_ROWS


def test_rows_are_cut() -> None:
    screen = Screen()
    screen.write("\x1b[31m0123456789日")
    assert screen.rows(4) == ["\x1b[31m0123\x1b[0m"]
