"""Text of values and numbers for axes, tables and hover texts."""

from __future__ import annotations

import math

import pytest

from clearml_taskgroup._results.value_text import escape, number_texts, shorten_start


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.9, 0.91234, 0.5], ["0.9000", "0.9123", "0.5000"]),
        ([0.97, 10.07], ["0.97", "10.07"]),
        ([1, 20, 300], ["1", "20", "300"]),
        ([12345.678, 2.5], ["12346", "2.5"]),
        ([1e-5, 0.1], ["1e-05", "0.1"]),
        ([3e38, 1.0], ["3e+38", "1"]),
        ([0.0, -0.25], ["0.00", "-0.25"]),
        ([math.nan, 0.5], ["nan", "0.5"]),
        ([], []),
    ],
)
def test_numbers_that_stand_below_each_other(values: list[float], texts: list[str]) -> None:
    """Numbers of a column have the same decimals, unless that would take a number's digits away."""
    assert number_texts(values) == texts


def test_names_are_cut_at_their_beginning() -> None:
    """The end of a parameter's name is what tells it from others."""
    assert shorten_start("optimizer.schedule.warmup_epochs", 14) == "…warmup_epochs"
    assert shorten_start("lr", 14) == "lr"


def test_text_is_no_markup() -> None:
    """What plotly would read as markup, template or formula stays text."""
    assert escape("<b>%{x}</b>\n$x$ & co") == "&lt;b&gt;%&#123;x}&lt;/b&gt; &#36;x&#36; &amp; co"
