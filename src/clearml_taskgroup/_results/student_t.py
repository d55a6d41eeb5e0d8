"""Student's t distribution: p values and the width of intervals, as `scipy.stats.t` has them."""

from __future__ import annotations

import math
from functools import cache

MAX_STEPS = 10_000
"""The most terms of the continued fraction; a few dozen are usual."""
_TINY = 1e-300


def two_sided_p(t: float, freedom: int) -> float:
    """Returns the probability of a value that is at least as far from 0 as `t`; NaN for NaN."""
    square = t * t
    if not math.isfinite(square):
        return math.nan if math.isnan(t) else 0.0
    return _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + square), square / (freedom + square))


@cache
def quantile(confidence: float, freedom: int) -> float:
    """Returns the t that values exceed, in either direction, with the probability 1 - `confidence`."""
    low, high = 0.0, 1.0
    while two_sided_p(high, freedom) > 1 - confidence:
        low, high = high, 2.0 * high
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if two_sided_p(middle, freedom) > 1 - confidence else (low, middle)
    return middle


def _incomplete_beta(a: float, b: float, x: float, rest: float) -> float:
    """Returns the regularized incomplete beta function; `rest` is 1 - x, exactly."""
    if rest == 0:
        return 1.0
    if x > (a + 1) / (a + b + 2):  # there the fraction converges slowly
        return 1 - _incomplete_beta(b, a, rest, x)
    factor = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * _log(x, rest) + b * _log(rest, x)
    return math.exp(factor) * _continued_fraction(a, b, x) / a


def _log(x: float, rest: float) -> float:
    return math.log1p(-rest) if rest < 0.5 else math.log(x)


def _continued_fraction(a: float, b: float, x: float) -> float:
    """Evaluates the fraction by Lentz's method."""
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, MAX_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _not_zero(1 + term * d)
            c = _not_zero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
