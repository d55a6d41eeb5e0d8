"""Tests of paired differences: the same numbers as scipy's, and how often they are right."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from scipy import stats

from clearml_taskgroup._results.paired_tests import holm, sign_flip_p, t_test


@pytest.mark.parametrize("n", [2, 3, 6, 9])
def test_the_permutation_test_is_scipys(n: int) -> None:
    """All 2**n sign flips are counted, ties included, as `scipy.stats.permutation_test` does."""
    drawn = random.Random(n)
    for digits in (1, 17):
        differences = [round(drawn.gauss(0.1, 0.3), digits) for _ in range(n)]
        expected = stats.permutation_test(
            (differences, [0.0] * n),
            lambda one, other, axis: np.mean(one - other, axis=axis),
            permutation_type="samples",
            n_resamples=np.inf,
        )
        assert sign_flip_p(differences) == pytest.approx(expected.pvalue)


@pytest.mark.parametrize(("n", "folds"), [(2, 2), (5, 5), (10, 10), (30, 10), (4, 5)])
def test_the_corrected_test_is_that_of_nadeau_and_bengio(n: int, folds: int) -> None:
    """The standard error has test / training size added to 1 / n; n - 1 degrees of freedom."""
    drawn = random.Random(n)
    differences = [drawn.gauss(0.05, 0.1) for _ in range(n)]
    mean, variance = np.mean(differences), np.var(differences, ddof=1)
    error = math.sqrt((1 / n + (1 / folds) / (1 - 1 / folds)) * variance)
    width, p = t_test(differences, 0.95, folds)
    assert width == pytest.approx(stats.t.ppf(0.975, n - 1) * error)
    assert p == pytest.approx(2 * stats.t.sf(abs(mean) / error, n - 1))
    assert t_test([0.1] * n, 0.95, folds) == (0, 0)


@pytest.mark.parametrize("n", [2, 3, 30])
def test_independent_pairs_have_the_plain_test(n: int) -> None:
    drawn = random.Random(n)
    differences = [drawn.gauss(0.05, 0.1) for _ in range(n)]
    expected = stats.ttest_1samp(differences, 0)
    width, p = t_test(differences, 0.9)
    assert p == pytest.approx(expected.pvalue)
    assert width == pytest.approx(expected.confidence_interval(0.9).high - np.mean(differences))


def test_pairs_without_a_spread() -> None:
    """There is no interval; of differences that are all 0 there is no p value either."""
    assert t_test([0.5, 0.5], 0.95) == (0, 0)
    width, p = t_test([0.0, 0.0], 0.95)
    assert (width, math.isnan(p)) == (0, True)


def test_each_pair_of_many_counts() -> None:
    """Whichever of them has the only difference, its sign does not matter."""
    for place in range(31):
        assert sign_flip_p([1.0 if at == place else 0.0 for at in range(31)]) == 1
    assert sign_flip_p([1.0] * 30) == 2 / 2**30
    assert sign_flip_p([1.0] * 31) == 1 / 20_001


def test_holms_correction() -> None:
    """The smallest p value is multiplied by the number of tests, the next one by one less; at most 1."""
    assert holm([0.03, 0.01, math.nan, 0.02], 4) == pytest.approx([0.06, 0.04, math.nan, 0.06], nan_ok=True)
    assert holm([0.01, 0.04], 2) == pytest.approx([0.02, 0.04])
    assert holm([0.6, 0.7], 2) == [1, 1]
    assert holm([], 0) == []


def test_many_pairs_are_sampled() -> None:
    """Beyond 30 pairs the p value is close to the normal approximation, and the same each time."""
    drawn = random.Random(1)
    differences = [drawn.gauss(0.25, 1) for _ in range(60)]
    scale = math.sqrt(math.fsum(one * one for one in differences))
    expected = 2 * stats.norm.sf(abs(math.fsum(differences)) / scale)
    assert sign_flip_p(differences) == pytest.approx(expected, rel=0.4)
    assert sign_flip_p(differences) == sign_flip_p(differences)
    assert sign_flip_p([1.0] * 40) == pytest.approx(1 / 20_001)


# --- how often it is right ---------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5, 10, 20])
def test_the_interval_covers_the_truth(n: int) -> None:
    """With a given reference, 93 to 97 % of 2,000 intervals contain the true difference."""
    drawn = random.Random(100 + n)
    covered = 0
    for _ in range(2000):
        truth = drawn.uniform(-0.1, 0.1)
        differences = []
        for _ in range(n):
            difficulty = drawn.gauss(0, 0.05)  # of the seed, shared by both
            one, other = (difficulty + drawn.gauss(0, 0.02) for _ in range(2))
            differences.append(0.8 + truth + one - (0.8 + other))
        width, _ = t_test(differences, 0.95)
        covered += abs(math.fsum(differences) / n - truth) <= width
    assert 0.93 <= covered / 2000 <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("configurations", [2, 5, 10])
def test_equal_configurations_seldom_differ(configurations: int) -> None:
    """With all configurations equal, at most 6 % of sweeps have a corrected p below 0.05."""
    drawn = random.Random(configurations)
    found = 0
    for _ in range(2000):
        values = [[drawn.gauss(0.8, 0.05) for _ in range(5)] for _ in range(configurations)]
        reference = values[0]
        ps = [t_test([a - b for a, b in zip(one, reference, strict=True)], 0.95)[1] for one in values[1:]]
        found += min(holm(ps, len(ps))) < 0.05
    assert found / 2000 <= 0.06
