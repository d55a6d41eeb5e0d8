"""Compares configurations with a reference, paired over seeds or folds: which are better, and how certain."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import attrs

from .._clearml.hyperparameters import stored_parameters
from .._model.identity import flatten
from .._model.parameter_json import canonical, copied_parameters, dumped, literal
from .._text import counted, did_you_mean, natural, some
from ..errors import ArgumentError
from .aggregate import group_by_configuration, mean_of
from .export import Tabular, column_names
from .filtering import has_parameters, typed_value
from .paired_tests import MAX_EXACT_PAIRS, RANDOM_SIGNS, holm, sign_flip_p, t_test
from .parameters import is_fold
from .rows import Mean, Mode, Of, best_of, with_statistic

if TYPE_CHECKING:
    from .rows import Row, RowValue

Test = Literal["t", "corrected", "permutation"]
TESTS = ("t", "corrected", "permutation")
TEST_NAMES: Mapping[Test, str] = {
    "t": "t test",
    "corrected": "t test corrected for folds (Nadeau and Bengio)",
    "permutation": "sign-flip permutation test (the intervals are t intervals)",
}
CONFIDENCE = 0.95
"""The confidence of the intervals."""
CHOOSE_BEFORE = "; name a reference (to=) before you look at the values to avoid that"
"""What a note advises where a reference can be named."""
NO_SPREAD = "no spread"
"""The verdict if a t test has no spread to compare the difference with."""
MAX_ROUNDING = 1e-13
"""Differences count as the same if they differ by less than this part of the greatest value."""
ALPHA = 0.05
"""A corrected p below it counts as a difference."""


@attrs.frozen
class ComparedRow:
    """A configuration compared with the reference.

    Attributes:
        name: The configuration in readable form, `C=1`.
        params: The parameters that the configuration's tasks share.
        mean: Mean and spread over all tasks that count, also those without a partner.
        n: The number of pairs: seeds or folds for which both have a value.
        difference: The mean of the pairs' differences, this configuration minus the reference; NaN if there
            is no pair.
        interval: The 95 % t interval of the difference, corrected if the test is; None for fewer than
            two pairs, and if all pairs differ by the same amount.
        p: The two-sided p value; NaN for fewer than two pairs, and for the t tests if all pairs are equal or
            differ by the same amount.
        p_corrected: The p value after Holm's correction for the number of comparisons.
        verdict: `"better"` or `"worse"` if `p_corrected` is below 0.05, `"higher"` or `"lower"` if it is not
            known which values are better, otherwise `"unclear"`; `"equal"` if all pairs are equal, `"too few
            pairs"` for fewer than two, `"no spread"` if all pairs differ by the same amount, so that a t test
            has no spread to compare it with.
        unpaired: The seeds or folds, `seed=3`, for which only one of both has a value.
    """

    name: str
    params: Mapping[str, Any]
    mean: Mean
    n: int
    difference: float
    interval: tuple[float, float] | None
    p: float
    p_corrected: float
    verdict: str
    unpaired: tuple[str, ...] = ()


@attrs.frozen
class Reference:
    """The configuration that others are compared with.

    Attributes:
        name: The configuration in readable form, `C=1`.
        params: The parameters that its tasks share.
        mean: Mean and spread over all of its tasks that count.
        is_best_of_these: Whether it was chosen because it has the best mean of the same values. Then
            differences to it are biased, and the intervals and p values are too optimistic.
    """

    name: str
    params: Mapping[str, Any]
    mean: Mean
    is_best_of_these: bool


@attrs.frozen(repr=False)
class Comparison(Tabular[ComparedRow]):
    """Every configuration compared with a reference; returned by `results.compare`.

    Attributes:
        rows: A row per configuration but the reference, the best mean first; in the order of the tasks if it
            is not known which values are better.
        reference: What they are compared with.
        metric: The metric with its context, `accuracy[split=val]`.
        label: The metric as the table's column is named, with statistic and unit.
        of: The statistic of each task that was compared.
        mode: Which values were taken as better, `"max"` or `"min"`; None if it is not known.
        over: The parameters by whose values tasks are paired.
        test: `"t"`, `"corrected"` or `"permutation"`.
        folds: The number of folds that `over` numbers; 0 if it numbers none.
        without: The names of the tasks that do not count: failed, stopped, not begun, or diverged.
    """

    rows: tuple[ComparedRow, ...]
    reference: Reference
    metric: str
    label: str
    of: Of
    mode: Mode | None
    over: tuple[str, ...]
    test: Test
    folds: int = 0
    without: tuple[str, ...] = ()
    _kept_column = "verdict"

    def to_records(self) -> list[dict[str, Any]]:
        """Returns a flat dict per configuration, for a data frame or a file.

        The entries: `name`, `params.C` for each parameter, `reference`, `mean`, `std`, `n`, `difference`,
        `low` and `high` (the interval), `p`, `p_corrected` and `verdict`. Unknown values are None.
        """
        records = []
        for row in self.rows:
            low, high = row.interval or (math.nan, math.nan)
            params = {f"params.{name}": row.params[name] for name in sorted(row.params, key=natural)}
            numbers = {
                "mean": row.mean.mean,
                "std": row.mean.std,
                "n": row.n,
                "difference": row.difference,
                "low": low,
                "high": high,
                "p": row.p,
                "p_corrected": row.p_corrected,
            }
            known = {name: None if math.isnan(value) else value for name, value in numbers.items()}
            first = {"name": row.name, **params, "reference": self.reference.name}
            records.append({**first, **known, "verdict": row.verdict})
        return records

    def _columns(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        return column_names(("name",), self.rows, records)

    def _table(self) -> tuple[list[str], list[list[str]]]:
        reference = [self.reference.name, str(self.reference.mean), str(self.reference.mean.n)]
        body = [[*reference, "reference", "", "", "", ""], *map(_cells, self.rows)]
        interval = f"{CONFIDENCE:.0%} interval".replace("%", " %")
        return ["configuration", self.label, "n", "difference", interval, "p", "p (Holm)", "verdict"], body

    def _notes(self) -> list[str]:
        better = {"max": ", greater is better", "min": ", less is better", None: ""}[self.mode]
        tests = counted(sum(row.n > 1 for row in self.rows), "comparison")
        test = TEST_NAMES[self.test]
        notes = [f"paired over {', '.join(self.over)}{better}; {test}, Holm-corrected over {tests}"]
        if sum(row.n > 1 for row in self.rows) > 1:
            notes.append("verdicts are corrected for the number of comparisons (Holm), intervals are not")
        if not self.rows:
            notes = [f"there is only one configuration over {', '.join(self.over)}: nothing to compare"]
        elif self.reference.is_best_of_these:
            notes.append(
                f"{self.reference.name} was chosen as the best of these values, so intervals and p are too "
                f"optimistic{CHOOSE_BEFORE}"
            )
        if self.rows and self.folds and self.test != "corrected":
            notes.append(
                "folds share training data, so these intervals are too narrow and p values too small; "
                'use test="corrected"'
            )
        missing = [f"{row.name} ({some(row.unpaired)})" for row in self.rows if row.unpaired]
        if missing:
            notes.append(f"without a partner: {some(missing)}")
        constant = [row.name for row in self.rows if row.verdict == NO_SPREAD]
        if constant:
            notes.append(f"the differences are the same in all pairs of {some(constant)}: no spread to test")
        tested = [row.n for row in self.rows if row.n > 1]
        if self.test == "permutation" and tested and 2 ** (1 - min(tested)) >= ALPHA:
            fewest = min(tested)
            notes.append(f"with {fewest} pairs this test's p is at least {2 ** (1 - fewest):.3g}")
        if self.test == "permutation" and max(tested, default=0) > MAX_EXACT_PAIRS:
            notes.append(f"more than {MAX_EXACT_PAIRS} pairs: p from {RANDOM_SIGNS:,} random signs")
        if self.without:
            what = "failed, stopped, not begun, diverged or without the metric"
            notes.append(f"not counted in, {what}: {len(self.without)} ({some(self.without)})")
        return notes


def _cells(row: ComparedRow) -> list[str]:
    interval = "–" if row.interval is None else f"[{row.interval[0]:.3g}, {row.interval[1]:.3g}]"
    difference = "–" if math.isnan(row.difference) else f"{row.difference:+.3g}"
    return [
        row.name,
        str(row.mean) if row.mean.n else "–",
        str(row.n),
        difference,
        interval,
        _p_text(row.p),
        _p_text(row.p_corrected),
        row.verdict,
    ]


def _p_text(p: float) -> str:
    if math.isnan(p):
        return "–"
    if p < 0.0001:
        return "< 0.0001"
    text = f"{p:.2g}"
    # Rounded to the limit, it could contradict the verdict.
    return f"{p:.4g}" if float(text) == ALPHA else text


# --- which tasks belong together -----------------------------------------------------------------


@attrs.frozen
class Configuration:
    """The tasks of a configuration.

    Attributes:
        name, params: The configuration.
        pairs: The rows at each value of the parameters that it is compared over.
    """

    name: str
    params: Mapping[str, Any]
    pairs: Mapping[str, Sequence[Row]]

    @property
    def rows(self) -> list[Row]:
        return [row for rows in self.pairs.values() for row in rows]

    def values(self, values: Mapping[str, float]) -> dict[str, float]:
        """Returns the value at each pair, the mean of tasks with the same parameters."""
        found = {
            pair: [values[row.id] for row in rows if row.id in values] for pair, rows in self.pairs.items()
        }
        return {pair: statistics.fmean(listed) for pair, listed in found.items() if listed}


def configurations(rows: Sequence[Row], over: Sequence[str]) -> list[Configuration]:
    """Groups tasks by configuration and, within it, by the values of `over`."""
    found = []
    for name, params, members in group_by_configuration(rows, lambda row: row, over):
        pairs: dict[str, list[Row]] = {}
        for row in members:
            pairs.setdefault(_pair(row, over), []).append(row)
        found.append(Configuration(name, params, pairs))
    return found


def _pair(row: Row, over: Sequence[str]) -> str:
    """Returns a text that is the same for equal values, of any type; a missing parameter is a value, too."""
    params = row.params
    own = stored_parameters({name: params[name] for name in over if name in params})
    return dumped({name: canonical(value) for name, value in own.items()})


def _pair_label(row: Row, over: Sequence[str]) -> str:
    params = row.params
    return ",".join(f"{name}={literal(params[name])}" if name in params else f"no {name}" for name in over)


def number_of_folds(known: Sequence[Configuration], names: Sequence[str]) -> int:
    """Counts the folds that these parameters number; 0 if there is at most one."""
    firsts = {pair: rows[0] for one in known for pair, rows in one.pairs.items()}
    folds = len({_pair(row, names) for row in firsts.values()})
    return folds if folds > 1 else 0


# --- the comparison ------------------------------------------------------------------------------


def compare(
    known: Sequence[Configuration],
    row_values: Sequence[RowValue],
    *,
    metric: str,
    label: str,
    mode: Mode | None,
    over: tuple[str, ...],
    of: Of = "last",
    to: Any = None,
    test: Test | None = None,
) -> Comparison:
    """Compares configurations; see `Results.compare`.

    Args:
        known: The configurations.
        row_values: The tasks that count, each with its value; at least one.
        metric: The metric with its context.
        label: The metric with its unit.
        of: The statistic.
        mode: Which values are better; required without `to`.
        over: The parameters by which tasks are paired.
        to: The reference; None for the best.
        test: The test; None for the corrected t test if `over` numbers folds, otherwise the t test.
    """
    folds = number_of_folds(known, [name for name in over if is_fold(name)])
    test = test or ("corrected" if folds else "t")
    overlapping = (folds or number_of_folds(known, over)) if test == "corrected" else 0
    by_id = {row.id: value for row, value in row_values}
    values = {one.name: one.values(by_id) for one in known}
    means = {
        one.name: mean_of([by_id[row.id] for row in one.rows if row.id in by_id])
        for one in known
        if values[one.name]
    }
    having = [one for one in known if one.name in means]
    if to is not None:
        chosen = _reference(known, to, over)
        if chosen.name not in means:
            expected = f"a configuration with a value: {some([one.name for one in having])}"
            raise ArgumentError("to", to, expected)
    else:
        assert mode is not None
        chosen = best_of(having, lambda one: means[one.name].mean, mode)
    others = [one for one in having if one is not chosen]
    if mode is not None:
        others.sort(key=lambda one: means[one.name].mean, reverse=mode == "max")
    others += [one for one in known if one.name not in means]
    nothing = Mean(math.nan, math.nan, math.nan, 0)
    rows = [
        _compared(one, means.get(one.name, nothing), values, chosen, over, test, overlapping)
        for one in others
    ]
    corrected = holm([row.p for row in rows], sum(row.n > 1 for row in rows))
    return Comparison(
        rows=tuple(
            attrs.evolve(row, p_corrected=p, verdict=_verdict(row, p, mode))
            for row, p in zip(rows, corrected, strict=True)
        ),
        reference=Reference(chosen.name, copied_parameters(chosen.params), means[chosen.name], to is None),
        metric=metric,
        label=with_statistic(label, of),
        of=of,
        mode=mode,
        over=over,
        test=test,
        folds=folds,
        without=tuple(row.name for one in known for row in one.rows if row.id not in by_id),
    )


def _compared(
    one: Configuration,
    mean: Mean,
    by_name: Mapping[str, Mapping[str, float]],
    chosen: Configuration,
    over: Sequence[str],
    test: Test,
    folds: int,
) -> ComparedRow:
    """Tests the pairs of a configuration and the reference, without a correction and a verdict."""
    values, reference = by_name[one.name], by_name[chosen.name]
    differences = [value - reference[pair] for pair, value in values.items() if pair in reference]
    single = values.keys() ^ reference.keys()
    rows = {**chosen.pairs, **one.pairs} if single else {}
    unpaired = tuple(sorted((_pair_label(rows[pair][0], over) for pair in single), key=natural))
    n, interval, p = len(differences), None, math.nan
    difference = statistics.fmean(differences) if n else math.nan
    if n > 1:
        greatest = max(abs(value) for listed in (values, reference) for value in listed.values())
        if not any(differences) or max(differences) - min(differences) > MAX_ROUNDING * greatest:
            width, p = t_test(differences, CONFIDENCE, folds)
            interval = (difference - width, difference + width)
        if test == "permutation":
            p = sign_flip_p(differences)
    params = copied_parameters(one.params)
    return ComparedRow(one.name, params, mean, n, difference, interval, p, math.nan, "", unpaired)


def _verdict(row: ComparedRow, p_corrected: float, mode: Mode | None) -> str:
    if row.n < 2:
        return "too few pairs"
    if row.interval == (0, 0):
        return "equal"
    if math.isnan(p_corrected):
        return NO_SPREAD
    if not p_corrected < ALPHA:
        return "unclear"
    is_higher = row.difference > 0
    if mode is None:
        return "higher" if is_higher else "lower"
    return "better" if is_higher == (mode == "max") else "worse"


def _reference(known: Sequence[Configuration], to: Any, over: Sequence[str]) -> Configuration:
    """Finds the configuration that `to` names.

    Raises:
        ArgumentError: It names none, or several.
    """
    names = [one.name for one in known]
    params = getattr(to, "params", to)
    if params in names:
        return known[names.index(params)]
    if not isinstance(params, Mapping):
        hint = did_you_mean(params, names) if isinstance(params, str) else ""
        raise ArgumentError("to", to, f"the name or the parameters of a configuration: {some(names)}{hint}")
    wanted = {name: typed_value(name, value) for name, value in flatten(params).items() if name not in over}
    found = [one for one in known if has_parameters(one.params, wanted)]
    found = [one for one in found if len(one.params) == len(wanted)] or found  # exactly these parameters
    if len(found) != 1:
        what = "parameters of a configuration" if not found else "parameters that only one configuration has"
        raise ArgumentError("to", to, f"{what}: {some([one.name for one in found or known])}")
    return found[0]
