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
        (["\ra\x1b[B\x1b[Bb"], ["a", "", " b"], (2, 2)),
        (["\rabc\x1b[2Dx\x1b[DX"], ["aXc"], (0, 2)),
        (["\rabc\x1b[0Dx"], ["abx"], (0, 3)),
        (["\ra\x1b[Cb\x1b[2Cc"], ["a b  c"], (0, 6)),
        (["\r\x1b[20Cx"], [" " * 20 + "x"], (0, 21)),
        (["\r\x1b[999C"], [""], (0, 999)),
        (["\r\x1b[1000C"], [""], (0, 1)),
        (["\rab\x1b[GX"], ["Xb"], (0, 1)),
        (["\rab\x1b[1;5HX"], ["abX"], (0, 3)),
        (["\rabc\x1b[D\x1b[1K"], ["  c"], (0, 2)),
        (["\rab\x1b[5G\x1b[1K"], ["  "], (0, 4)),
        (["\rabc\x1b[2G\x1b[3K"], ["a"], (0, 1)),
        (["\rab\ncd\x1b[A\x1b[D\x1b[J"], ["a"], (0, 1)),
        (["\rab\ncd\x1b[A\x1b[2J"], ["ab", "cd"], (0, 2)),
        (["\b\bx"], ["x"], (0, 1)),
        (["1234567\tx"], ["1234567 x"], (0, 9)),
        (["12345678\tx"], ["12345678" + " " * 8 + "x"], (0, 17)),
        (["a\x07\x7f\x00b"], ["ab"], (0, 2)),
        (["e\u0301x"], ["e\u0301x"], (0, 2)),
        (["\u0301x"], ["x"], (0, 1)),
        (["日x"], ["日x"], (0, 3)),
        (["\x1b[31ma\x1b[1mb\x1b[mc"], ["\x1b[31ma\x1b[0m\x1b[31m\x1b[1mb\x1b[0mc"], (0, 3)),
        (["\x1b[31ma", "b"], ["\x1b[31mab\x1b[0m"], (0, 2)),
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


@pytest.mark.parametrize(
    ("written", "final", "rest", "is_settled"),
    [
        (["a\n"], "a\n", "", True),
        (["a", "b\n"], "ab\n", "", True),
        (["a\nb"], "", "a\nb\n", False),
        (["a \r\n"], "a\n", "", True),
        (["\r"], "", "", True),
        (["\rx\n"], "x\n", "", True),
        (["\rx\n\ry\x1b[A\r\x1b[2K"], "", "\ny\n", False),
        (["\x1b[31m", "red\n"], "\x1b[31mred\x1b[0m\n", "", True),
        (["\x1b[31ma\x1b[0m\n", "b\n"], "\x1b[31ma\x1b[0m\nb\n", "", True),
    ],
)
def test_what_is_final(written: list[str], final: str, rest: str, is_settled: bool) -> None:
    """Whole lines, if no bar can still change them; at the end everything."""
    screen = Screen()
    for text in written:
        screen.write(text)
    assert screen.take_final() == final
    assert screen.is_settled is is_settled
    assert screen.take_final(everything=True) == rest
    assert (screen.rows(80), screen.cursor) == ([""], (0, 0))


@pytest.mark.parametrize(("rows", "final"), [(MAX_ROWS, ""), (MAX_ROWS + 1, "0\n"), (MAX_ROWS + 2, "0\n1\n")])
def test_twelve_rows_may_change(rows: int, final: str) -> None:
    screen = Screen()
    screen.write("\r" + "\n".join(map(str, range(rows))))
    assert screen.take_final() == final
    assert screen.cursor[0] == MAX_ROWS - 1
