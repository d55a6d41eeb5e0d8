"""Text of messages: counts, names, order, what a terminal is given."""

from __future__ import annotations

from typing import Any

import pytest

from clearml_taskgroup._text import (
    closest,
    counted,
    cut,
    did_you_mean,
    is_storable,
    kind,
    natural,
    padded,
    printable,
    printable_lines,
    shortened,
    shown,
    some,
    spelt_like,
    storable,
    width,
)

HOSTILE = "\x1b[31mred\x07\r\n\x9b2J\u202eback\ud800"
"""A name with control characters of both kinds, an override of the writing direction, a lone surrogate."""

WORDS = "naïve – 10\xa0µm \u3000漢字 👩\u200d🔬 نمی\u200cخواهم"


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        (HOSTILE, r"\x1b[31mred\x07\r\n\x9b2J\u202eback\ud800"),
        ("\x7f\t\u2028\u2066\ufeff\U000e0041", r"\x7f\t\u2028\u2066\ufeff\U000e0041"),
        (WORDS, WORDS),
        ("", ""),
    ],
)
def test_printable(text: str, printed: str) -> None:
    """What moves, hides or turns text is escaped; letters, blanks and emojis are not."""
    assert printable(text) == printed
    assert printable_lines(f"{text}\nnext".replace("\r\n", "")) == (printed.replace(r"\r\n", "") + "\nnext")


def test_shown_is_printable() -> None:
    """A class may write anything in its `repr`."""

    class Odd:
        def __repr__(self) -> str:
            return HOSTILE

    assert shown(Odd()) == printable(HOSTILE)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["step 10", "step 2", "step"], ["step", "step 2", "step 10"]),
        (["b1", "a2", "a10"], ["a2", "a10", "b1"]),
        (["1.10", "1.9", "1.9.1"], ["1.9", "1.9.1", "1.10"]),
        (["9" * 5000, "1" + "0" * 5000], ["9" * 5000, "1" + "0" * 5000]),
        (["10", "009"], ["009", "10"]),
        (["a", "1"], ["1", "a"]),
    ],
)
def test_natural_order(texts: list[str], expected: list[str]) -> None:
    assert sorted(texts, key=natural) == expected


def test_what_is_spelt_similarly() -> None:
    """Case does not count; what is returned is the entry itself."""
    assert closest("LOS", ["acc", "Loss"]) == "Loss"
    assert closest(12, [123, 7]) == 123
    assert closest("x", ["loss"]) is None
    assert closest("los", []) is None
    assert spelt_like("split", ["spilt"]) == "spilt"
    assert spelt_like("split", ["fold"]) is None
    assert spelt_like("abcd", ["abxy"]) is None
    assert spelt_like("abcd", ["abxy"], cutoff=0.5) == "abxy"
    assert (did_you_mean("los", ["loss"]), did_you_mean("x", ["loss"])) == (" (did you mean 'loss'?)", "")


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks"), (1000, "1,000 tasks")]
)
def test_counts(number: int, text: str) -> None:
    assert counted(number, "task") == text


def test_the_first_names() -> None:
    assert some([]) == ""
    assert some("abcdef") == "a, b, c, d, e, f"
    assert some("abcdefg") == "a, b, c, d, e, f and 1 more"
    assert some("abcd", 2) == "a, b and 2 more"


def test_values_in_messages() -> None:
    class Unprintable:
        def __repr__(self) -> str:
            raise RuntimeError("no text")

    assert shown(Unprintable()) == "<Unprintable>"
    assert (len(shown("x" * 118)), len(shown("x" * 119)), "…" in shown("x" * 118)) == (120, 120, False)
    values: list[Any] = [1, "a", [], Unprintable()]
    assert [kind(value) for value in values] == ["an int", "a str", "a list", "an Unprintable"]


@pytest.mark.parametrize(("most", "text"), [(10, "0123456789"), (9, "01234…789"), (4, "01…9"), (2, "…9")])
def test_long_texts_lose_their_middle(most: int, text: str) -> None:
    assert shortened("0123456789", most) == text


def test_lone_surrogates() -> None:
    for text, stored in {"abc": "abc", "é": "é", "a\ud800": "a\\ud800"}.items():
        assert storable(text) == stored
        assert is_storable(text) is (text == stored)


@pytest.mark.parametrize(
    ("text", "columns"),
    [("", 0), ("abc", 3), ("é", 1), ("e\u0301", 1), ("模型", 4), ("Ａ", 2), ("a\u200d", 1)],
)
def test_columns_of_a_terminal(text: str, columns: int) -> None:
    assert width(text) == columns
    assert padded(text, columns + 2) == f"{text}  "
    assert padded(text, columns - 1) == text


@pytest.mark.parametrize(
    ("text", "room", "expected"),
    [
        ("abcd", 4, "abcd"),
        ("abcde", 4, "abc…"),
        ("abc de", 5, "abc…"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
        ("", 0, ""),
        ("模型模", 6, "模型模"),
        ("模型模", 5, "模型…"),
        ("模型模", 4, "模…"),
    ],
)
def test_cut_to_columns(text: str, room: int, expected: str) -> None:
    assert cut(text, room) == expected
