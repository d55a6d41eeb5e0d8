"""Text of messages: what stands in a terminal does nothing there."""

from __future__ import annotations

import pytest

from clearml_taskgroup._text import printable, printable_lines, shown

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
