"""Text of values and numbers for axes, tables and hover texts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from clearml_taskgroup._results.value_text import (
    MISSING,
    as_number,
    escape,
    number_texts,
    shorten,
    shorten_start,
    value_text,
)


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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (0.1, "0.1"),
        (1.0, "1"),
        (True, "True"),
        (None, "None"),
        (MISSING, "not given"),
        ("not given", '"not given"'),
        ("adam", "adam"),
        ("a b", "a b"),
        ("a", "a"),
        ("1e3", '"1e3"'),
        ("nan", '"nan"'),
        ("True", '"True"'),
        ("", '""'),
        (" x", '" x"'),
        ("a[1]", '"a[1]"'),
        ([1, "a"], "[1,a]"),
        (np.int64(3), "3"),
    ],
)
def test_the_text_of_a_value(value: Any, text: str) -> None:
    """Different values have different texts, without quotes where nothing else could be meant."""
    assert value_text(value) == text


def test_a_value_without_a_stable_form() -> None:
    function = lambda: 0  # noqa: E731
    assert (value_text(function), as_number(function)) == (repr(function), function)


def test_numbers_of_other_libraries() -> None:
    """They are Python's; anything else stays as it is."""
    for value, number in ((np.float64(0.5), 0.5), (np.int64(3), 3), ("1", "1"), (None, None), ([1], [1])):
        assert as_number(value) == number
        assert type(as_number(value)) is type(number)


def test_long_texts_are_cut_at_their_end() -> None:
    assert (shorten("abcdef", 6), shorten("abcdefg", 6)) == ("abcdef", "abcde…")
    assert (shorten_start("abcdef", 6), shorten_start("abcdefg", 6)) == ("abcdef", "…cdefg")
    assert (len(shorten("x" * 29)), shorten("x" * 28)) == (28, "x" * 28)


def test_text_that_is_left_as_it_is() -> None:
    """What has no special character; of several blanks and line breaks one blank is left."""
    for text, expected in (
        ("C=1,lr=(0.1)", "C=1,lr=(0.1)"),
        ("a b", "a b"),
        ("a  b", "a b"),
        ("a\n\tb", "a b"),
        ("é", "é"),
        ("\x1b", r"\x1b"),
        ('"', '"'),
    ):
        assert escape(text) == expected


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([1e-3, 2e-3], ["0.001", "0.002"]),
        ([9e-4], ["0.0009"]),
        ([999999.4], ["999999"]),
        ([1e6, 1], ["1e+06", "1"]),
        ([0.12345], ["0.1235"]),
        ([1.0, 0.001], ["1", "0.001"]),
        ([1.0, 0.0001], ["1", "0.0001"]),
        ([10.0, 0.5], ["10", "0.5"]),
        ([10.0, 0.25], ["10.00", "0.25"]),
        ([10.25, 0.1], ["10.25", "0.10"]),
        ([10.25, 0.09], ["10.25", "0.09"]),
        ([100.0, 1.5], ["100.0", "1.5"]),
        ([1000.0, 0.5], ["1000", "0.5"]),
        ([math.inf, 1.0], ["inf", "1"]),
        ([0.0], ["0"]),
    ],
)
def test_decimals_of_a_column(values: list[float], texts: list[str]) -> None:
    assert number_texts(values) == texts
