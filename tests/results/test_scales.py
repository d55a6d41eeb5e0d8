"""Positions of parameter values on an axis: which are logarithmic, continuous, outliers."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from clearml_taskgroup._results.scales import (
    MAX_MAGNITUDE,
    assign_cells,
    axis_scale,
    distinct,
    is_continuous,
    is_log,
    is_number,
    limits,
    rank_shares,
)
from clearml_taskgroup._results.value_text import MISSING

LARGE = [505 + 5 * at for at in range(100)]
"""Numbers up to 1,000 that are spread evenly."""


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([1e-4, 1e-3, 1e-2], True),
        ([0.001, 0.1], True),
        ([1, 10, 100], True),
        ([0, 10, 100], False),
        ([-1, 100], False),
        ([8, 16, 64], True),
        ([1, 2, 4], True),
        ([8, 16], False),
        ([1, 2, 3, 6], False),
        ([0.1, 0.2, 0.4], False),
        ([4.0, 8.0, 16.0], True),
        (range(1, 201), False),
        ([10 ** (at / 50) for at in range(200)], True),
        ([], False),
        ([10 ** random.Random(at).uniform(-2, 0) for at in range(30)], True),
        ([10 ** random.Random(at).uniform(-4, -1) for at in range(30)], True),
        ([random.Random(at).uniform(0, 1) for at in range(30)], False),
        ([random.Random(at).uniform(1e-4, 1e-1) for at in range(100)], False),
        ([*(10 ** (-at / 4) for at in range(20)), *(0.2 + at / 1000 for at in range(80))], True),
        ([0.5, 50], True),
        ([0.5, 49], False),
        ([50 ** (at / 7) for at in range(8)], False),
        ([50 ** (at / 8) for at in range(9)], True),
        ([1.0, *(30 ** (at / 9) for at in range(1, 9)), 30.0], True),
        ([1.0, *(29 ** (at / 9) for at in range(1, 9)), 29.0], False),
        ([*LARGE[-20:], 1, 2.5, 10], True),
        ([*LARGE[-20:], 1, 2.5, 10.5], False),
        ([*LARGE[-20:], 1.01, 2.5, 4], False),
        ([*LARGE[-97:], 1, 2.5, 4], False),
        ([*LARGE[-96:], 1, 2.5, 4, 5.5], True),
    ],
)
def test_what_is_logarithmic(numbers: Any, expected: bool) -> None:
    """An axis is logarithmic where numbers are positive, span two decades, and are not spread evenly."""
    assert is_log(list(numbers)) is expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([at / 7 for at in range(100)], True),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, None, MISSING], True),
        ([0.1, 0.2, 0.3, 0.4], False),
        ([at % 10 for at in range(50)], False),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, "adam"], False),
        (["a", "b", "c", "d", "e", "f"], False),
        ([True, False], False),
        ([0.1, 0.2, 0.3, 0.4, 0.5], False),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], True),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6] * 2, False),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7] * 2, False),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, *[0.7] * 7], True),
    ],
)
def test_what_is_continuous(values: Any, expected: bool) -> None:
    """A parameter is continuous if there are more than a few numbers and nearly all of them differ."""
    assert is_continuous(values) is expected


@pytest.mark.parametrize(
    ("numbers", "ticks"),
    [
        (range(11), ["0", "2", "4", "6", "8", "10"]),
        (range(3, 101), ["20", "40", "60", "80", "100"]),
        ([at / 100 for at in range(-20, 30)], ["-0.2", "-0.1", "0", "0.1", "0.2"]),
        ([10 ** (at / 10) for at in range(-41, 1)], ["0.0001", "0.001", "0.01", "0.1", "1"]),
        (
            [10 ** (at / 3) for at in range(-41, 1)],
            ["1e-13", "1e-11", "1e-09", "1e-07", "1e-05", "0.001", "0.1"],
        ),
        ([1, 2, 4], ["1", "2", "4"]),
        ([3], ["3"]),
        (range(1, 9), ["1", "2", "3", "4", "5", "6", "7", "8"]),
        (range(1, 10), ["2", "4", "6", "8"]),
        ([at / 3 for at in range(10)], ["0", "0.5", "1", "1.5", "2", "2.5", "3"]),
        (range(0, 301, 20), ["0", "50", "100", "150", "200", "250", "300"]),
        (range(0, 161, 10), ["0", "50", "100", "150"]),
        (range(-12, 0), ["-12", "-10", "-8", "-6", "-4", "-2"]),
        ([10 ** (at / 2) for at in range(13)], ["1", "10", "100", "1000", "1e+04", "1e+05", "1e+06"]),
        ([10 ** (at / 2) for at in range(25)], ["1", "100", "1e+04", "1e+06", "1e+08", "1e+10", "1e+12"]),
    ],
)
def test_ticks_are_round_numbers(numbers: Any, ticks: list[str]) -> None:
    """Few numbers have a tick each; of many, those are round, and at their places."""
    scale = axis_scale(list(numbers))
    assert [text for _, text in scale.ticks] == ticks
    places = dict(zip((f"{number:.4g}" for number in numbers), scale.places, strict=True))
    assert {text: place for place, text in scale.ticks if text in places} == pytest.approx(
        {text: places[text] for text in ticks if text in places}
    )


def test_missing_values_are_below_the_numbers() -> None:
    """None and what a task does not have each have a place of their own."""
    scale = axis_scale([1, None, 2, MISSING])
    assert scale.places == (0.24, 0, 1, 0.12)
    assert scale.ticks == ((0, "None"), (0.12, "not given"), (0.24, "1"), (1, "2"))
    assert axis_scale(["a", "b", None]).places == (0, 0.5, 1)
    assert axis_scale(["a"]).places == axis_scale([3]).places == axis_scale([None]).places == (0.5,)
    assert axis_scale([3, None]).places == (0.12 + 0.88 / 2, 0)
    assert axis_scale([None, MISSING]).places == (0, 1)


def test_other_values_are_at_equal_distances() -> None:
    """Also numbers beside them."""
    scale = axis_scale(["b", 10, "a", 1, "b"])
    assert scale.places == pytest.approx((2 / 3, 1 / 3, 1, 0, 2 / 3))
    assert [text for _, text in scale.ticks] == ["1", "10", "b", "a"]
    assert (scale.number_of_places, scale.is_log) == (4, False)


def test_numbers_of_a_logarithmic_axis_are_at_their_logarithms() -> None:
    scale = axis_scale([100, 1, 10, 0.1])
    assert scale.places == pytest.approx((1, 1 / 3, 2 / 3, 0))
    assert scale.is_log


@pytest.mark.parametrize(
    ("values", "expected"),
    [([*range(20)], 20), ([*range(20), None], 21), ([*range(21)], 0), ([1, 1], 1), ([], 0)],
)
def test_many_numbers_have_no_places_of_their_own(values: Any, expected: int) -> None:
    assert axis_scale(values).number_of_places == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, True),
        (-1e149, True),
        (np.float64(2), True),
        (MAX_MAGNITUDE, False),
        (np.float64(MAX_MAGNITUDE), False),
        (-MAX_MAGNITUDE, False),
        (math.inf, False),
        (math.nan, False),
        (True, False),
        ("1", False),
        (None, False),
    ],
)
def test_what_is_drawn_as_a_number(value: Any, expected: bool) -> None:
    """None that is infinite or very large, and no bool."""
    assert is_number(value) == expected


def test_the_order_of_different_values() -> None:
    """Numbers ascend, texts come as they are, None and what is missing are last; equal ones are one."""
    assert distinct([MISSING, None, "b", 2, "a", 1, "b", 2.0]) == [1, 2, "b", "a", None, MISSING]
    assert distinct([]) == []


def test_ranks_are_from_zero_to_one() -> None:
    """Equal values share the middle of their ranks."""
    assert rank_shares([30, 10, 20, 20]) == [1, 0, 0.5, 0.5]
    assert rank_shares([2, 1]) == [1, 0]
    assert rank_shares([7]) == [0]
    assert rank_shares([]) == []


def test_many_numbers_are_put_into_bins() -> None:
    """Texts have places beside them."""
    cells = assign_cells([*range(81), "x"])
    assert cells.names == ("0…10", "10…20", "20…30", "30…40", "40…50", "50…60", "60…70", "70…80", "x")
    assert cells.places == (*(min(7, at // 10) for at in range(81)), 8)
    assert assign_cells(list(range(20))).names == tuple(map(str, range(20)))
    assert assign_cells([*range(20), None]).places == (*range(20), 20)
    assert len(assign_cells(list(range(21))).names) == 8
    assert assign_cells([1, 2, 3], max_cells=2).names[0] == "1…1.2"
    many = assign_cells([10 ** (at / 10) for at in range(81)])
    assert many.names[:2] == ("1…10", "10…1e+02")
    assert [many.places[at] for at in (0, 9, 11, 69, 71, 80)] == [0, 0, 1, 6, 7, 7]


def test_limits() -> None:
    """Few values far away are left beyond; what is spread widely is not."""
    assert limits([1, 2, 3, 4, 5, 6, 1000]) == (1, 6)
    assert limits([1, 10, 100, 1000]) == (1, 1000)
    assert limits([1, 1, 1, 1, 9]) == (1, 9)
    assert limits([3.0]) == (3.0, 3.0)
    inside = [0, 1, 2, 3, 4, 5, 6]  # the quartiles of these and one more are 2 and 6: the fences -10 and 18
    assert limits([*inside, 18]) == (0, 18)
    assert limits([*inside, 48]) == (0, 48)  # 8 times as long
    assert limits([*inside, 49]) == (0, 6)
    assert limits([-one for one in [*inside, 49]]) == (-6, 0)
    assert limits([one + 50 for one in [*inside, -42]]) == (8, 56)
    assert limits([one + 50 for one in [*inside, -43]]) == (50, 56)
    assert limits([0, 0, 0, 0, 0, 0, 9]) == (0, 9)  # nothing would be left of the others but a point


def test_values_that_look_alike_stay_apart() -> None:
    """1, "1" and True are three cells; 1 and 1.0 are one."""
    assert assign_cells([1, "1", True, 1.0, None]).names == ("1", '"1"', "True", "None")
    assert assign_cells(["random forest", "é", "None", " x", "nan", "[1]", [1]]).names == (
        "random forest",
        "é",
        '"None"',
        '" x"',
        '"nan"',
        '"[1]"',
        "[1]",
    )
    assert len(set(axis_scale(["a", "b", None, ["a"]]).places)) == 4
