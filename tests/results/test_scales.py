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
