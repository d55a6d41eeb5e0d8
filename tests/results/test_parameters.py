"""Which parameters repeat a configuration, which differ, and which explain the values."""

from __future__ import annotations

import pytest

from clearml_taskgroup._results.parameters import (
    by_explained_variance,
    explained_variance,
    is_fold,
    is_repeat,
    over_names,
    parameter_values,
    varying_parameters,
)
from clearml_taskgroup._results.rows import RowValue
from clearml_taskgroup._results.value_text import MISSING
from clearml_taskgroup.errors import ArgumentError, NoSuchParameterError
from tests.support.rows import made_row, metric_key


def test_names_of_repeats_and_folds() -> None:
    """Without case and the sections before them; a fold repeats and shares training data, a seed repeats."""
    for name, repeats, folds in (
        ("seed", True, False),
        ("data/Seed", True, False),
        ("cv_fold", True, True),
        ("a/b/FOLD", True, True),
        ("cv", False, True),
        ("fold/n", False, False),
        ("C", False, False),
    ):
        assert (is_repeat(name), is_fold(name)) == (repeats, folds), name


def test_over_what_a_mean_is_taken() -> None:
    """Without a name the seed, or the only one that repeats and differs; what is given must be there."""
    folds = [made_row("a", {"C": 1, "fold": 0, "repeat": 1}), made_row("b", {"C": 2, "fold": 1, "repeat": 1})]
    assert over_names(folds, "C") == ("C",)
    assert over_names(folds, ["C", "fold"]) == ("C", "fold")
    assert over_names(folds, ()) == ()
    assert over_names(folds, None) == ("fold",)
    assert over_names(folds[:1] * 2, "repeat") == ("repeat",)
    assert over_names([made_row("a", {"fold": 0, "seed": 0})], None) == ("seed",)
    assert over_names([made_row("a", {"fold": 0, "C": 0})], None) == ("fold",)
    assert over_names([], None) == ("seed",)
    with pytest.raises(ArgumentError, match="one or several of the parameters fold, repeat"):
        over_names(folds[:1], None)
    with pytest.raises(NoSuchParameterError, match="over='seed' was given"):
        over_names(folds, "seed")
    with pytest.raises(NoSuchParameterError, match="fold is context of loss"):
        over_names([made_row("a", {"C": 1}, {metric_key("loss", fold=1): 1.0})], None)


def test_values_and_what_differs() -> None:
    """Missing is a value, too."""
    rows = [made_row("a", {"C": 1, "m": "x", "n": 1}), made_row("b", {"C": 2, "m": "x"})]
    assert parameter_values(rows, "n") == [1, MISSING]
    assert varying_parameters(rows) == ["C", "n"]
    assert varying_parameters(rows, ["n", "m"]) == ["n"]
    assert varying_parameters(rows, []) == []


def valued(values: dict[tuple[object, object], list[float]]) -> list[RowValue]:
    """Tasks with the parameters a and b."""
    return [(made_row(f"{a}{b}", {"a": a, "b": b}), value) for (a, b), of in values.items() for value in of]


def test_how_much_of_the_ranks_a_parameter_explains() -> None:
    """Epsilon squared, computed by hand: of the ranks 0 to 7 of eight values, by a 32 of 42."""
    found = valued({(0, 0): [1, 2], (0, 1): [3, 4], (1, 0): [50, 60], (1, 1): [70, 1e9]})
    shares = explained_variance(found, ["a", "b"])
    # The squares are 42 in all, 5 + 5 within a, 17 + 17 within b; 6 degrees of freedom are left.
    assert shares["a"] == pytest.approx((42 - 10 - 10 / 6) / 42)
    assert shares["b"] == pytest.approx((42 - 34 - 34 / 6) / 42)
    assert by_explained_variance(found, ["b", "a"]) == ["a", "b"]
    assert list(shares) == ["a", "b"]


def test_parameters_that_explain_nothing() -> None:
    """Equal values, a value for each task, and no task at all."""
    assert explained_variance(valued({(0, 0): [1], (1, 1): [1]}), ["a"]) == {"a": 0.0}
    assert explained_variance(valued({(0, 0): [1], (1, 1): [2]}), ["a"]) == {"a": 0.0}
    assert explained_variance([], ["a"]) == {"a": 0.0}


def test_many_numbers_are_put_into_bins() -> None:
    """Numbers that nearly all differ explain as much as their bins do; few are categories."""
    continuous = [(made_row(str(at), {"a": at / 7}), float(at)) for at in range(16)]
    # 8 bins of two ranks: of 340 squares 8 * 0.5 within, and 8 degrees of freedom are left.
    assert explained_variance(continuous, ["a"])["a"] == pytest.approx((340 - 4 - 7 * 4 / 8) / 340)
    categories = [(made_row(str(at), {"a": at // 2}), float(at)) for at in range(20)]
    assert explained_variance(categories, ["a"])["a"] == pytest.approx((665 - 5 - 9 * 5 / 10) / 665)
