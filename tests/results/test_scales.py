"""Positions of parameter values on an axis: which are logarithmic, continuous, outliers."""

from __future__ import annotations

import random
from typing import Any

import pytest

from clearml_taskgroup._results.scales import assign_cells, axis_scale, is_continuous, is_log, limits
from clearml_taskgroup._results.value_text import MISSING


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
    assert axis_scale(["a"]).places == axis_scale([3]).places == (0.5,)


def test_many_numbers_are_put_into_bins() -> None:
    """Texts have places beside them."""
    cells = assign_cells([*range(81), "x"])
    assert cells.names == ("0…10", "10…20", "20…30", "30…40", "40…50", "50…60", "60…70", "70…80", "x")
    assert cells.places == (*(min(7, at // 10) for at in range(81)), 8)
    assert assign_cells(list(range(20))).names == tuple(map(str, range(20)))


def test_limits() -> None:
    """Few values far away are left beyond; what is spread widely is not."""
    assert limits([1, 2, 3, 4, 5, 6, 1000]) == (1, 6)
    assert limits([1, 10, 100, 1000]) == (1, 1000)
    assert limits([1, 1, 1, 1, 9]) == (1, 9)
    assert limits([3.0]) == (3.0, 3.0)


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
