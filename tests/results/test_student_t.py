"""Student's t distribution: the same numbers as scipy's."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from clearml_taskgroup._results import student_t
from clearml_taskgroup._results.student_t import quantile, two_sided_p

FREEDOMS = [1, 2, 3, 4, 9, 30, 1000, 100_000]


@pytest.mark.parametrize("freedom", FREEDOMS)
def test_numbers_are_those_of_scipy(freedom: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """P values have the same digits from 1 down to the smallest ones, after a few terms of the fraction."""
    monkeypatch.setattr(student_t, "MAX_STEPS", 25)
    for t in (0.0, 1e-9, 1e-3, 0.1, 0.5, 1.0, 2.0, 3.5, 10.0, 37.0, 1e3, 1e8, 1e200):
        expected = 2 * stats.t.sf(t, freedom)
        assert two_sided_p(t, freedom) == pytest.approx(expected, rel=1e-9, abs=1e-300)
        assert two_sided_p(-t, freedom) == two_sided_p(t, freedom)


@pytest.mark.parametrize("confidence", [0.1, 0.5, 0.9, 0.95, 0.999])
def test_quantiles_are_those_of_scipy(confidence: float) -> None:
    found = [quantile(confidence, freedom) for freedom in FREEDOMS]
    assert found == pytest.approx(stats.t.ppf((1 + confidence) / 2, FREEDOMS))


def test_values_that_are_no_numbers() -> None:
    assert two_sided_p(math.inf, 3) == two_sided_p(-math.inf, 3) == 0
    assert math.isnan(two_sided_p(math.nan, 3))
