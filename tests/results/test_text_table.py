"""Tables of text: aligned, cut to a number of lines, and fitted to a terminal without breaking a number."""

from __future__ import annotations

import io
import sys

import pytest

from clearml_taskgroup._results.text_table import encodable, fit_widths, fold, terminal_width, text_table
from clearml_taskgroup._text import width

MEAN = "123456.7 ± 123456.7"


def test_tables_are_cut_and_aligned() -> None:
    """A table pads its columns, ends no line in blanks and counts what it leaves out."""
    text = text_table(["task", "loss"], [["a", "1"], ["long name", "–"]])
    assert text.splitlines() == ["task       loss", "---------  ----", "a          1", "long name  –"]
    lines = text_table(["n"], [[str(n)] for n in range(100)]).splitlines()
    assert len(lines) == 43
    assert lines[-1] == "… and 60 more"
    assert len(text_table(["n"], [[str(n)] for n in range(40)]).splitlines()) == 42
    assert text_table(["a", "b"], []).splitlines() == ["a  b", "-  -"]
    assert text_table(["a"], [["x\ny"]]).splitlines()[2] == r"x\ny"


def test_all_rows_if_asked_for() -> None:
    assert len(text_table(["n"], [["1"]] * 100, most=None).splitlines()) == 102
    assert text_table(["n"], [["1"]] * 3, most=2).splitlines()[2:] == ["1", "1", "… and 1 more"]


def test_a_narrow_terminal_omits_columns_from_the_right() -> None:
    """They are named below the table, the first ten of them."""
    head, body = ["task", "loss", "p"], [["a", "1", "2"], ["bbbb", "–", "3"]]
    assert text_table(head, body, room=13, elsewhere="more").splitlines() == [
        "task  loss  p",
        "----  ----  -",
        "a     1     2",
        "bbbb  –     3",
    ]
    assert text_table(head, body, room=12, elsewhere="more").splitlines() == [
        "task  loss",
        "----  ----",
        "a     1",
        "bbbb  –",
        "no room for",
        "p; more",
    ]
    many = text_table(["task", *(f"m{at}" for at in range(12))], [["a", *"0" * 12]], room=6, elsewhere="more")
    assert " ".join(many.splitlines()[3:]).endswith("m8, m9 and 2 more; more")
    assert max(map(len, many.splitlines())) <= 6


@pytest.mark.parametrize(
    ("kept", "heads", "missing"),
    [
        ("", "task  loss  p", "verdict"),
        ("verdict", "task  loss  verdict", "p"),
        ("p", "task  loss  p", "verdict"),
        ("loss", "task  loss  p", "verdict"),
        ("task", "task  loss  p", "verdict"),
    ],
)
def test_the_column_that_is_kept(kept: str, heads: str, missing: str) -> None:
    """It is omitted last; what is shown stays in its order."""
    head, body = ["task", "loss", "p", "verdict"], [["a", "1", "2", "better"], ["bbbb", "–", "3", "worse"]]
    lines = text_table(head, body, room=20, kept=kept).splitlines()
    assert lines[0] == heads
    assert lines[2].split()[-1] == ("better" if kept == "verdict" else "2")
    assert lines[4] == f"no room for {missing};"
    wide = text_table(head, body, room=80, kept=kept)
    assert wide == text_table(head, body) == text_table(head, body, kept=kept)
    if kept == "verdict":
        assert text_table(head, body, room=14, kept=kept).splitlines()[0] == "task  verdict"


def test_names_have_several_lines_or_lose_their_middle() -> None:
    """The other cells of the row are in its first line."""
    head, body = ["name", "n"], [["kernel=rbf,gamma=0.125,C=100", "5"], ["a", "6"]]
    assert text_table(head, body, room=20).splitlines()[2:] == [
        "kernel=rbf,        5",
        "gamma=0.125,C=100",
        "a                  6",
    ]
    assert text_table(head, body, room=20, folded=False).splitlines()[2:] == [
        "kernel=rbf…,C=100  5",
        "a                  6",
    ]


def test_widths() -> None:
    """Numbers are as wide as they are, names share the rest, and what does not fit is left out."""
    head, body = ["name", "accuracy[split=val]", "n"], [["x" * 40, MEAN, "5"]]
    assert fit_widths(head, body, 1000) == [40, 19, 1]
    assert fit_widths(head, body, 40) == [16, 19, 1]
    assert fit_widths(head, body, 33) == [12, 19]
    assert fit_widths(head, body, 32) == [32]
    assert fit_widths(head, body, 5) == [5]
    assert fit_widths(head, [], 100) == [4, 19, 1]
    assert fit_widths(["name", "accuracy[split=val]"], [["x" * 20, "0.5"]], 36) == [20, 14]
    assert fit_widths(["a", "b"], [["1", "2"]], 4) == [1, 1]
    assert fit_widths(["a", "b"], [["1", "2"]], 3) == [1]
    assert fit_widths(["a", "b", "c"], [["1", "2", "3"]], 7) == [1, 1, 1]
    # The first column has room for two lines of its names, up to a third of the terminal.
    assert fit_widths(["a", "n"], [["x" * 30, "12"]], 30) == [26, 2]
    assert fit_widths(["a", "b"], [["x" * 30, "y" * 30]], 45) == [22, 21]
    assert fit_widths(["a", "b"], [["x" * 60, "y" * 60]], 45, 16) == [22, 21]
    # Cells are given width before headings.
    assert fit_widths(["name", "time[split=a] (s)"], [["x" * 14, "1"]], 26) == [14, 10]
    assert fit_widths(["a" * 50, "n"], [["1", "2"]], 100) == [50, 1]
    assert fit_widths(["n", "a" * 50], [["2", "1"]], 45) == [1, 42]
    assert fit_widths(["n", "a" * 50], [["2", "1"]], 42) == [1]


def test_columns_of_numbers_are_as_wide_as_they_are() -> None:
    """A column with another text in it is one of names."""
    for number in ("1.235e+05", "-0.25", "+1,234.5", "nan", "inf", "–", "", "0.5 ± 0.1", "0.5 ± 0.1 (n=3)"):
        column = [["x" * 20, number], ["x", "1" * 20]]
        assert fit_widths(["a", "b"], column, 34) == [12, 20]
        assert fit_widths(["a", "b"], column, 33) == [20]
        assert fit_widths(["a", "b"], [*column, ["x", "a text"]], 33) == [16, 15]


def test_names_are_folded_between_their_parts() -> None:
    """A line ends at a comma, a slash or a blank where it can; nothing is lost."""
    assert fold("C=0.5,kernel=rbf,seed=-1", 12) == "C=0.5,\nkernel=rbf,\nseed=-1"
    assert fold("C=0.5,kernel=rbf,seed=-1", 17) == "C=0.5,kernel=rbf,\nseed=-1"
    assert fold("accuracy[split=val]", 14) == "accuracy\n[split=val]"
    assert fold("10 completed, 2 failed", 16) == "10 completed,\n2 failed"
    assert fold("2026-11-23 12:17", 12) == "2026-11-23\n12:17"
    assert fold("x" * 30, 12) == "\n".join(["x" * 12, "x" * 12, "x" * 6])
    assert fold("svm-sweep-of-march", 12) == "svm-sweep-\nof-march"
    assert fold("ab/cd_ef", 5) == "ab/\ncd_ef"
    assert fold("abcd", 4) == "abcd"
    assert fold("ab cd", 2) == "ab\ncd"
    assert (fold("", 3), fold(" ", 3)) == ("", " ")
    wide = fold("模型" * 10, 7)
    assert wide.splitlines() == ["模型模", "型模型"] * 3 + ["模型"]
    assert fold("模型", 1) == "模\n型"


@pytest.mark.parametrize("room", range(12, 24))
def test_numbers_of_a_difference_are_whole(room: int) -> None:
    """A line ends before a number or its brackets, in none."""
    text = "-1.235e-05 → 1.235e-05 (+2.47e-05)"
    lines = fold(text, room).splitlines()
    assert " ".join(lines) == text
    assert max(map(len, lines)) <= room
    assert fold("trial-8 (lr=0.01)", room).splitlines()[0] in ("trial-8", "trial-8 (lr=0.01)")


def test_a_middle_that_is_left_out() -> None:
    """Wide characters take two columns."""
    lines = text_table(["name"], [["abcdefgh"], ["模型模型"]], room=7, folded=False).splitlines()
    assert lines[2:] == ["abcd…gh", "模…型"]
    assert max(map(width, lines)) == 7  # of "abcd…gh"


def test_only_a_terminal_has_a_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "77")
    monkeypatch.setattr(sys, "stdout", None)
    assert terminal_width() is None
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert terminal_width() is None
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert terminal_width() == 77


def test_what_standard_output_lacks_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a question mark, so that printing it raises no error."""
    text = "0.5 ± 0.1 → – é"
    for encoding, expected in (("ascii", "0.5 ? 0.1 ? ? ?"), ("cp1252", "0.5 ± 0.1 ? – é"), ("utf-8", text)):
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
        assert encodable(text) == expected
    for without in (None, io.StringIO()):
        monkeypatch.setattr(sys, "stdout", without)
        assert encodable(text) == text
