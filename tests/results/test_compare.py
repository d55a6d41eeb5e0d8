"""Configurations compared with a reference: the same numbers as scipy's, and what is left out is said."""

from __future__ import annotations

import json
import math
import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from clearml_taskgroup import Comparison, Results, TaskGroup
from clearml_taskgroup._results.compare import _p_text, configurations, number_of_folds
from clearml_taskgroup.errors import ArgumentError, NonFiniteWarning, NoSuchParameterError, NoSuchResultError
from tests.support.rows import LOSS, made_results, made_row

Values = Mapping[str, Sequence[float | None]]
"""The value of each model at each seed; None for a task that fails."""


pytestmark = pytest.mark.usefixtures("backend")


def results_of(values: Values, metric: str = "accuracy") -> Results:
    """The results of a group with a task for each model and seed."""
    with TaskGroup("digits", "sweep", catch=ValueError) as group:
        for model, scores in values.items():
            for seed, score in enumerate(scores):
                with group.task({"model": model, "seed": seed}) as task:
                    task.report({metric: 0.0 if score is None else score}, 1, split="val")
                    if score is None:
                        raise ValueError("diverged")
    return group.results()


def rows_of(comparison: Comparison) -> dict[str, Any]:
    return {row.name: row for row in comparison}


# --- the numbers -------------------------------------------------------------------------------


@pytest.mark.quick(12)
@pytest.mark.parametrize("case", range(200))
def test_numbers_are_those_of_scipy(case: int) -> None:
    """Difference, interval, p and Holm's correction equal scipy's, with ties, n = 2 and missing seeds."""
    drawn = random.Random(case)
    seeds = drawn.choice([2, 2, 3, 5, 8, 20])
    digits = drawn.choice([1, 2, 17])  # few digits make ties
    missing = drawn.choice([0, 0, 0.2])
    values: Values = {
        f"m{at}": [
            None if drawn.random() < missing else round(drawn.gauss(0.8, 0.1), digits) for _ in range(seeds)
        ]
        for at in range(drawn.choice([2, 3, 6]))
    }
    having = {model: [one for one in scores if one is not None] for model, scores in values.items()}
    means = {model: np.mean(scores) for model, scores in having.items() if scores}
    mode: Any = drawn.choice(["max", "min"])
    to = drawn.choice([None, *means])
    compared = results_of(values).compare(
        "accuracy", split="val", over="seed", mode=mode, to=None if to is None else f"model={to}"
    )
    best = max(means.values()) if mode == "max" else min(means.values())
    reference = compared.reference.params["model"]
    assert means[reference] == pytest.approx(best) if to is None else reference == to
    assert compared.reference.is_best_of_these == (to is None)
    assert {row.params["model"] for row in compared} == values.keys() - {reference}
    ps = []
    for row in compared:
        both = zip(values[row.params["model"]], values[reference], strict=True)
        pairs = [(one, other) for one, other in both if one is not None and other is not None]
        assert row.n == len(pairs)
        if len(pairs) < 2:
            assert (row.interval, row.verdict) == (None, "too few pairs")
            assert math.isnan(row.p)
            assert math.isnan(row.p_corrected)
            continue
        with warnings.catch_warnings(action="ignore"):  # of pairs that are all equal
            expected = stats.ttest_rel(*zip(*pairs, strict=True))
            interval = expected.confidence_interval(0.95)
        differences = [one - other for one, other in pairs]
        assert row.difference == pytest.approx(np.mean(differences), abs=1e-12)
        if any(differences) and np.ptp(differences) < 1e-12:
            assert (row.interval, row.verdict) == (None, "no spread")
            ps.append((math.nan, row))
            continue
        assert row.interval == pytest.approx(tuple(interval), abs=1e-10)
        assert row.p == pytest.approx(expected.pvalue, rel=1e-8, abs=1e-12, nan_ok=True)
        ps.append((float(row.p), row))
    most = 0.0
    tested = sorted((p for p in ps if not math.isnan(p[0])), key=lambda item: item[0])
    for rank, (p, row) in enumerate(tested):
        most = max(most, min(1.0, (len(ps) - rank) * p))
        assert row.p_corrected == pytest.approx(most)


# --- what is compared --------------------------------------------------------------------------


def test_the_reference_may_be_named_in_each_way() -> None:
    """By its name, by its parameters, by the best of other results; what names none or several is refused."""
    results = results_of({"a": [0.5, 0.6], "b": [0.7, 0.9], "c": [0.7, 0.9]})
    assert results.compare("accuracy").reference.name == "model=b"  # the first of the best
    best = results.aggregate().best("accuracy", mode="min")
    for to in ("model=a", {"model": "a"}, {"model": "a", "seed": 1}, best, results.aggregate()[0]):
        compared = results.compare("accuracy", to=to)
        assert (compared.reference.name, compared.reference.is_best_of_these) == ("model=a", False)
        assert [row.name for row in compared] == ["model=b", "model=c"]
        assert "too optimistic" not in repr(compared)
    assert "model=b was chosen as the best of these values" in repr(results.compare("accuracy"))
    for wrong, message in (
        ("model=d", "did you mean 'model="),
        ({"model": "x"}, "parameters of a configuration: model=a, model=b, model=c"),
        ({}, "only one configuration has"),
        (3, "the name or the parameters"),
    ):
        with pytest.raises(ArgumentError, match=message):
            results.compare("accuracy", to=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("metric", "verdict"), [("accuracy", "worse"), ("loss", "better"), ("x", "lower")])
def test_the_verdict_knows_which_values_are_better(metric: str, verdict: str) -> None:
    """A word in the name decides; a metric of unknown direction needs a reference and is higher or lower."""
    values = {"a": [0.5, 0.6, 0.7, 0.8], "b": [0.3, 0.41, 0.5, 0.6], "c": [0.5, 0.6, 0.7, 0.8]}
    results = results_of(values, metric)
    rows = rows_of(results.compare(metric, to="model=a"))
    assert (rows["model=b"].verdict, rows["model=c"].verdict) == (verdict, "equal")
    if metric == "x":
        with pytest.raises(ArgumentError, match="mode= was not given"):
            results.compare("x")


def test_missing_pairs_are_named() -> None:
    """A failed task takes its pair with it: n counts the pairs, and the text names what has no partner."""
    results = results_of({"a": [0.5, 0.625, None], "b": [0.7, 0.8, 0.9], "c": [None, None, 0.9]})
    compared = results.compare("accuracy", to="model=b")
    rows = rows_of(compared)
    assert (rows["model=a"].n, rows["model=a"].unpaired) == (2, ("seed=2",))
    assert (rows["model=c"].n, rows["model=c"].interval) == (1, None)
    assert rows["model=c"].difference == 0
    assert rows["model=a"].p == rows["model=a"].p_corrected  # the other one was not tested
    assert compared.without == ("model=a,seed=2", "model=c,seed=0", "model=c,seed=1")
    assert "without a partner: model=c (seed=0, seed=1), model=a (seed=2)" in repr(compared)
    assert "Holm-corrected over 1 comparison" in repr(compared)


def test_other_parameters_make_the_configuration() -> None:
    """What varies beside `over` is compared; over two parameters, both make the pair."""
    with TaskGroup("digits", "sweep") as group:
        for task in group.tasks({"C": [1, 2], "fold": [0, 1], "seed": [0, 1]}):
            task.report({"accuracy": task.params["C"] + task.params["fold"] + 0.1 * task.params["seed"]}, 1)
    with TaskGroup("digits", "other") as other:
        other.task({"C": 1}).report({"accuracy": 1}, 1)
    results, without_seed = group.results(), other.results()
    assert [row.n for row in results.compare("accuracy", over="seed")] == [2, 2, 2]
    assert [row.n for row in results.compare("accuracy", over=["seed", "fold"])] == [4]
    with pytest.raises(NoSuchParameterError, match="over='lr' was given"):
        results.compare("accuracy", over="lr")
    with pytest.raises(NoSuchParameterError, match=r"over= was not given, and no task has a parameter seed"):
        without_seed.compare("accuracy")


def folds_of(
    names: Sequence[str] = ("fold",), counts: Sequence[int] = (5,), fails: Any = None
) -> tuple[Results, dict[int, list[float]]]:
    """The results of two models on folds, and their values."""
    drawn = random.Random(3)
    values: dict[int, list[float]] = {1: [], 2: []}
    with TaskGroup("digits", "folds", catch=ValueError) as group:
        for task in group.sweep({"C": [1, 2], **dict(zip(names, map(range, counts), strict=True))}):
            with task:
                values[task.params["C"]].append(0.05 * task.params["C"] + drawn.gauss(0.8, 0.03))
                task.report({"accuracy": values[task.params["C"]][-1]}, 1)
                if task.params == fails:
                    raise ValueError("diverged")
    return group.results(), values


def nadeau_bengio(values: Mapping[int, Sequence[float]], ratio: float) -> tuple[float, float, float]:
    """Interval and p value of the second model's difference to the first, by the formula."""
    differences = np.subtract(values[2], values[1])
    n, mean = len(differences), differences.mean()
    error = math.sqrt((1 / n + ratio) * differences.var(ddof=1))
    width = stats.t.ppf(0.975, n - 1) * error
    return mean - width, mean + width, 2 * stats.t.sf(abs(mean) / error, n - 1)


@pytest.mark.parametrize("over", ["fold", "cv_fold", "data/Fold", "split_index"])
def test_folds_have_the_corrected_test(over: str) -> None:
    """By default; the plain tests are as wide as ever, and say what is wrong with them."""
    results, values = folds_of([over])
    compared = results.compare("accuracy", over=over, to="C=1")
    (row,) = compared
    assert (*row.interval, row.p) == pytest.approx(nadeau_bengio(values, 1 / 4))  # type: ignore[misc]
    assert (compared.test, compared.folds) == ("corrected", 5)
    assert "corrected for folds" in repr(compared)
    assert "too narrow" not in repr(compared)
    assert results.compare("accuracy", over=over, to="C=1", test="corrected")[0] == row
    for test in ("t", "permutation"):
        plain: Any = results.compare("accuracy", over=over, to="C=1", test=test)
        assert plain[0].interval == pytest.approx(nadeau_bengio(values, 0)[:2])
        assert 'too narrow and p values too small; use test="corrected"' in repr(plain)


def test_the_ratio_is_that_of_the_folds_not_of_the_pairs() -> None:
    """A repeated cross-validation has more pairs than folds, one with a failed fold fewer."""
    results, values = folds_of(["seed", "fold"], [3, 4])
    compared = results.compare("accuracy", over=["seed", "fold"], to="C=1")
    expected = nadeau_bengio(values, 1 / 3)
    assert (*compared[0].interval, compared[0].p) == pytest.approx(expected)  # type: ignore[misc]
    results, values = folds_of(fails={"C": 2, "fold": 4})
    compared = results.compare("accuracy", over="fold", to="C=1")
    expected = nadeau_bengio({C: listed[:4] for C, listed in values.items()}, 1 / 4)
    assert (compared[0].n, *compared[0].interval) == pytest.approx((4, *expected[:2]))  # type: ignore[misc]


def test_seeds_have_the_plain_test() -> None:
    """Also where a single fold is beside them; the corrected test can be chosen for any parameter."""
    results, values = folds_of(["seed", "fold"], [5, 1])
    compared = results.compare("accuracy", over=["seed", "fold"], to="C=1")
    assert (compared.test, compared.folds) == ("t", 0)
    assert "narrow" not in repr(compared)
    chosen = results.compare("accuracy", over="seed", to={"C": 1}, test="corrected")
    assert chosen[0].p == pytest.approx(nadeau_bengio(values, 1 / 4)[2])
    with pytest.raises(ArgumentError, match="'t', 'corrected', 'permutation' or None"):
        results.compare("accuracy", test="z")  # type: ignore[arg-type]


def test_without_over_the_parameter_that_repeats_is_found() -> None:
    """It is the seed, or else the only one that repeats and varies; of several one must be named."""
    for names, counts, over in (
        (["fold"], [3], ("fold",)),
        (["data/cv_fold", "random_state"], [3, 1], ("data/cv_fold",)),
        (["fold", "seed"], [2, 3], ("seed",)),
    ):
        results, _ = folds_of(names, counts)
        assert results.compare("accuracy").over == over
        assert results.aggregate().over == over
    results, _ = folds_of(["fold", "random_state"], [2, 2])
    for call in (results.aggregate, lambda: results.compare("accuracy")):
        with pytest.raises(ArgumentError, match=r"one or several of the parameters fold, random_state"):
            call()


@pytest.mark.parametrize("over", ["fold", None])
def test_a_fold_that_is_context_is_no_parameter(over: str | None) -> None:
    """The error says so, and what to do."""
    with TaskGroup("digits", "contexts", template="{metric}/{fold}") as group:
        for task in group.tasks({"C": [1, 2]}):
            for fold in range(3):
                task.report({"accuracy": 0.5}, 1, fold=fold)
    wanted = "fold is context of accuracy here, .*run a task for each fold, with fold as its parameter"
    with pytest.raises(NoSuchParameterError, match=wanted) as info:
        group.results().compare("accuracy", over=over, fold=0)
    assert len(str(info.value)) <= 500


def test_values_of_any_type_make_pairs() -> None:
    """Lists, dicts, None, NaN and missing parameters pair by value; 1 and 1.0 are one, 1 and "1" are two."""
    seeds: list[Any] = [[1, 2], [[1], None], None, math.nan, 1, "1", True]
    with TaskGroup("digits", "sweep") as group:
        for model, value in (("a", 0.5), ("b", 0.75)):
            for at, seed in enumerate(seeds):
                task = group.task({"m": model, "s": seed}, key=f"{model}{at}", name=f"{model}{at}")
                task.report({"accuracy": value}, 1)
            group.task({"m": model}).report({"accuracy": value}, 1)
            group.task({"m": model, "s": 1.0}, key=f"{model}again").report({"accuracy": value + 2}, 1)
    (row,) = group.results().compare("accuracy", over="s", to={"m": "a"})
    assert (row.n, row.difference) == (8, 0.25)
    assert row.unpaired == ()


def test_diverged_tasks_do_not_count_and_other_statistics_do() -> None:
    """A task whose last value is NaN has no last value; its greatest one is compared."""
    with TaskGroup("digits", "sweep") as group:
        for task in group.tasks({"C": [1, 2], "seed": range(3)}):
            task.report({"accuracy": task.params["C"] + 0.1 * task.params["seed"] ** 2}, 1)
            if task.params != {"C": 2, "seed": 0}:
                task.report({"accuracy": 0.5}, 2)
        with pytest.warns(NonFiniteWarning):
            group.get(C=2, seed=0).report({"accuracy": math.nan}, 2)
    results = group.results()
    compared = results.compare("accuracy", to={"C": 1})
    assert (compared[0].n, compared.without) == (2, ("C=2,seed=0",))
    assert results.compare("accuracy", of="max", to={"C": 1})[0].n == 3
    assert results.compare("accuracy", of="mean", to={"C": 1})[0].n == 3
    assert results.compare("accuracy", of="max", to={"C": 1}).label == "max of accuracy"


def test_nothing_to_compare() -> None:
    """One configuration has no other; without any value it is an error, as for `best`."""
    compared = results_of({"a": [0.5, 0.6]}).compare("accuracy")
    assert (len(compared), compared.to_records()) == (0, [])
    assert "there is only one configuration over seed" in repr(compared)
    with pytest.raises(NoSuchResultError, match="failed"):
        results_of({"a": [None, None], "b": [None, None]}).compare("accuracy")


def test_export() -> None:
    """Records have a number or None in each place, so JSON and data frames take them."""
    compared = results_of({"a": [0.5, 0.6], "b": [0.7, 0.7], "c": [0.7, None]}).compare(
        "accuracy", to="model=a"
    )
    records = json.loads(compared.to_json())
    assert [record["n"] for record in records] == [2, 1]
    assert (records[1]["low"], records[1]["p"], records[1]["verdict"]) == (None, None, "too few pairs")
    assert records[0]["params.model"] == "b"
    assert compared.to_csv().splitlines()[0].split(",")[:4] == ["name", "params.model", "reference", "mean"]


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.069, "0.069"),
        (0.0503, "0.0503"),
        (0.0497, "0.0497"),
        (0.05, "0.05"),
        (1.0, "1"),
        (2e-5, "< 0.0001"),
        (0.0001, "0.0001"),
        (math.nan, "–"),
    ],
)
def test_a_rounded_p_value_is_on_the_side_of_its_verdict(p: float, text: str) -> None:
    """0.0503 is not shown as 0.05 beside the verdict that the difference is unclear."""
    assert _p_text(p) == text


# --- without a group ---------------------------------------------------------------------------


def compared(values: Mapping[str, Sequence[float]], **options: Any) -> Comparison:
    """The configurations of a parameter m with a value for each seed; NaN for one that diverged."""
    rows = [
        made_row(f"{m}{seed}", {"m": m, "seed": seed}, {LOSS: value})
        for m, listed in values.items()
        for seed, value in enumerate(listed)
    ]
    return made_results(*rows).compare("loss", **options)


def test_the_number_of_folds() -> None:
    """Two are enough; one is none."""
    for number, folds in ((1, 0), (2, 2), (3, 3)):
        rows = [made_row(f"{fold}", {"m": 1, "fold": fold, "seed": 0}) for fold in range(number)]
        assert number_of_folds(configurations(rows, ["fold", "seed"]), ["fold"]) == folds


def test_notes_of_a_comparison() -> None:
    """What was corrected, and how the reference was chosen."""
    two = compared({"a": [1, 2, 3], "b": [2, 4, 5], "c": [3, 5, 9]})
    notes = two._notes()
    assert notes[0] == "paired over seed, less is better; t test, Holm-corrected over 2 comparisons"
    assert notes[1] == "verdicts are corrected for the number of comparisons (Holm), intervals are not"
    assert notes[2].startswith("m=a was chosen as the best of these values, so")
    assert len(notes) == 3
    assert len(compared({"a": [1, 2, 3], "b": [2, 4, 5]}, to="m=a")._notes()) == 1
    lone = compared({"a": [1, 2, 3], "b": [2, 4, 5], "c": [3]}, to="m=a")._notes()
    assert lone[0].endswith("over 1 comparison")
    assert lone[1:] == ["without a partner: m=c (seed=1, seed=2)"]
    equal = compared({"a": [1, 2], "b": [2, 3], "c": [1, 2]}, to="m=a")._notes()
    assert equal[2:] == ["the differences are the same in all pairs of m=b: no spread to test"]
    assert compared({"a": [1, 2]})._notes() == [
        "there is only one configuration over seed: nothing to compare"
    ]
    one = compared({"a": [1, 2], "b": [2, math.nan]}, to="m=a")
    assert (
        one._notes()[-1]
        == "not counted in, failed, stopped, not begun, diverged or without the metric: 1 (b1)"
    )


def test_notes_of_the_permutation_test() -> None:
    """The least p that few pairs can have; that many are sampled."""
    for pairs, told in (
        (2, "with 2 pairs this test's p is at least 0.5"),
        (5, "with 5 pairs this test's p is at least 0.0625"),
        (6, None),
        (30, None),
        (31, "more than 30 pairs: p from 20,000 random signs"),
    ):
        values = {"a": [float(at) for at in range(pairs)], "b": [2.0 * at + 1 for at in range(pairs)]}
        notes = compared(values, to="m=a", test="permutation")._notes()
        assert notes[1:] == ([] if told is None else [told]), pairs
    lone = compared({"a": [1, 2], "b": [1]}, to="m=a", test="permutation")
    assert not any("pairs" in note for note in lone._notes())
    assert not any("pairs" in note for note in compared({"a": [1, 2], "b": [2, 4]}, to="m=a")._notes())


def test_cells_of_a_comparison() -> None:
    """The reference is first; what is not known is a dash."""
    table = compared({"a": [1, 2, 3], "b": [2, 4, 5], "c": [3], "d": [math.nan] * 3}, to="m=a")
    head, body = table._table()
    assert head == ["configuration", "loss", "n", "difference", "95 % interval", "p", "p (Holm)", "verdict"]
    assert body == [
        ["m=a", "2 ± 1", "3", "reference", "", "", "", ""],
        ["m=c", "3", "1", "+2", "–", "–", "–", "too few pairs"],
        ["m=b", "3.667 ± 1.5", "3", "+1.67", "[0.232, 3.1]", "0.038", "0.038", "worse"],
        ["m=d", "–", "0", "–", "–", "–", "–", "too few pairs"],
    ]
    assert [row.name for row in compared({"a": [1, 2], "b": [3, 5], "c": [2, 4]})] == ["m=c", "m=b"]
    assert [row.name for row in compared({"a": [1, 2], "b": [3, 5], "c": [2, 4]}, mode="max")] == [
        "m=c",
        "m=a",
    ]


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([2, 4, 5, 7], "worse"),
        ([0, 0.1, 0.3, 0.2], "better"),
        ([1, 2, 3, 4], "equal"),
        ([2, 3, 4, 5], "no spread"),
        ([1, 9, 3, 0], "unclear"),
        ([0], "too few pairs"),
        ([1 + 1e-15, 2, 3, 4], "no spread"),
    ],
)
def test_verdicts(values: list[float], verdict: str) -> None:
    """Differences that differ by rounding alone have no spread."""
    (row,) = compared({"a": [1, 2, 3, 4], "b": values}, to="m=a")
    assert row.verdict == verdict


def test_parameters_that_name_the_reference() -> None:
    """Exactly these, or else the only configuration that has them; what is compared over does not count."""
    rows = [
        made_row("a", {"m": 1, "seed": 0}, {LOSS: 1.0}),
        made_row("b", {"m": 1, "n": 1, "seed": 0}, {LOSS: 2.0}),
        made_row("c", {"m": 1, "n": 2, "seed": 0}, {LOSS: 3.0}),
        made_row("d", {"m": 2, "n": 2, "seed": 0}, {LOSS: math.nan}),
    ]
    results = made_results(*rows)
    for to, name in (({"m": 1}, "m=1"), ({"n": 1}, "m=1,n=1"), ({"m": 1, "n": 2, "seed": 5}, "m=1,n=2")):
        assert results.compare("loss", to=to).reference.name == name
    with pytest.raises(ArgumentError, match="that only one configuration has: m=1,n=2, m=2,n=2"):
        results.compare("loss", to={"n": 2})
    with pytest.raises(ArgumentError, match="a configuration with a value: m=1, m=1,n=1, m=1,n=2"):
        results.compare("loss", to={"m": 2})
    with pytest.raises(ArgumentError, match="parameters of a configuration: m=1, m=1,n=1, m=1,n=2, m=2,n=2"):
        results.compare("loss", to={"m": 3})


def test_tasks_with_the_same_parameters_are_one_value() -> None:
    """Their mean; a missing parameter is a value of its own."""
    rows = [
        made_row("a", {"m": 1, "seed": 0}, {LOSS: 1.0}),
        made_row("a again", {"m": 1, "seed": 0}, {LOSS: 3.0}),
        made_row("without", {"m": 1}, {LOSS: 5.0}),
        made_row("b", {"m": 2, "seed": 0}, {LOSS: 4.0}),
    ]
    (row,) = made_results(*rows).compare("loss", to={"m": 1})
    assert (row.n, row.difference, row.unpaired) == (1, 2.0, ("no seed",))
