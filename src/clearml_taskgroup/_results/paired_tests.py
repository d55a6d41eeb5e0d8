"""Tests of paired differences: t tests, sign-flip permutation test, Holm's correction."""

from __future__ import annotations

import bisect
import math
import random
from typing import TYPE_CHECKING

from .aggregate import standard_deviation
from .student_t import quantile, two_sided_p

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_EXACT_PAIRS = 30
"""Up to this many pairs the permutation test is exact: all 2**n signs."""
RANDOM_SIGNS = 20_000
"""How many random signs it takes for more pairs."""


def t_test(differences: Sequence[float], confidence: float, folds: int = 0) -> tuple[float, float]:
    """Tests at least two paired differences, as `scipy.stats.ttest_rel` does.

    Args:
        differences: The differences.
        confidence: The confidence of the interval, as 0.95.
        folds: The number of folds of one data set, at least two: the corrected resampled t test of Nadeau and
            Bengio (2003), in which the variance of the mean grows by test size / training size, 1 / (folds -
            1), because the training sets overlap. 0 for independent pairs.

    Returns:
        Half the width of the interval around the mean, and the two-sided p value. Differences that are all
        equal have no width and p = 0; NaN if they are all 0.
    """
    n, mean = len(differences), math.fsum(differences) / len(differences)
    overlap = 1 / (folds - 1) if folds else 0.0
    error = standard_deviation(differences) * math.sqrt(1 / n + overlap)
    if not error:
        return 0.0, 0.0 if mean else math.nan
    return quantile(confidence, n - 1) * error, two_sided_p(mean / error, n - 1)


def sign_flip_p(differences: Sequence[float]) -> float:
    """Returns the two-sided p value of the sign-flip permutation test.

    It is the share of the 2**n ways to exchange the two values within pairs by which the sum of the
    differences is at least as far from 0. Up to `MAX_EXACT_PAIRS` pairs all of them are counted, beyond that
    `RANDOM_SIGNS` random ones, always the same, and the observed one.
    """
    n = len(differences)
    least = abs(math.fsum(differences)) - 1e-12 * math.fsum(map(abs, differences))  # equal but for rounding
    if n > MAX_EXACT_PAIRS:
        parts = [_signed_sums(differences[first : first + 8]) for first in range(0, n, 8)]
        drawn = random.Random(0)
        found = sum(abs(sum(map(drawn.choice, parts))) >= least for _ in range(RANDOM_SIGNS))
        return (found + 1) / (RANDOM_SIGNS + 1)
    # For each sum of one half, the sums of the other half with which it is far enough from 0.
    one, other = _signed_sums(differences[: n // 2]), sorted(_signed_sums(differences[n // 2 :]))
    far = 0
    for total in one:
        low = bisect.bisect_right(other, -least - total)
        high = bisect.bisect_left(other, least - total)
        far += low + len(other) - max(low, high)
    return far / float(2**n)


def _signed_sums(values: Sequence[float]) -> list[float]:
    """Returns the sums of the values with all signs."""
    sums = [0.0]
    for value in values:
        sums = [total - value for total in sums] + [total + value for total in sums]
    return sums


def holm(ps: Sequence[float], comparisons: int) -> list[float]:
    """Corrects p values by Holm's step-down method; NaN stays NaN.

    Args:
        ps: The p values.
        comparisons: How many tests were made, also those whose p is NaN.
    """
    corrected, most = [math.nan] * len(ps), 0.0
    order = sorted((at for at, p in enumerate(ps) if not math.isnan(p)), key=lambda at: ps[at])
    for rank, at in enumerate(order):
        most = max(most, min(1.0, (comparisons - rank) * ps[at]))
        corrected[at] = most
    return corrected
