"""Student's t distribution: the same numbers as scipy's."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from clearml_taskgroup._results.student_t import quantile, two_sided_p


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 30, 1000, 100_000])
def test_numbers_are_those_of_scipy(freedom: int) -> None:
    """P values have the same digits from 1 down to the smallest ones, and quantiles as well."""
    for t in (0.0, 1e-9, 1e-3, 0.1, 0.5, 1.0, 2.0, 3.5, 10.0, 37.0, 1e3, 1e8, 1e200):
        expected = 2 * stats.t.sf(t, freedom)
        assert two_sided_p(t, freedom) == pytest.approx(expected, rel=1e-9, abs=1e-300)
        assert two_sided_p(-t, freedom) == two_sided_p(t, freedom)
    for confidence in (0.5, 0.9, 0.95, 0.999):
        assert quantile(confidence, freedom) == pytest.approx(stats.t.ppf((1 + confidence) / 2, freedom))


def test_values_that_are_no_numbers() -> None:
    assert two_sided_p(math.inf, 3) == two_sided_p(-math.inf, 3) == 0
    assert math.isnan(two_sided_p(math.nan, 3))
