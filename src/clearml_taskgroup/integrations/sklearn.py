"""scikit-learn: the candidates of a fitted search as tasks. Tried with scikit-learn 1.9."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from .._model.arguments import check_flag
from .._model.display_name import display_name
from .._model.identity import flatten, task_key
from ..errors import ArgumentError, ParameterError
from . import needs
from ._metric_names import Parts, Relay

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .._group import TaskGroup
    from .._model.specs import TaskSpec
    from .._run.run import Run
    from .._task import GroupTask

with needs("sklearn", __name__):
    import sklearn  # noqa: F401

FITTED = "a fitted search with cv_results_, such as GridSearchCV(…).fit(X, y)"
ALL_FOLDS = "all"
"""The value of the template's field `fold` for what is computed over all folds."""
_TIME_SPLITS = {"fit_time": "train", "score_time": "test"}
_NAME = re.compile(r"(std_|rank_)?(test|train)_(.+)", re.DOTALL)


def log_search(
    group: TaskGroup,
    search: Any = None,
    *,
    params: Mapping[str, Any] | None = None,
    context: str | None = None,
    times: bool = True,
) -> list[GroupTask]:
    """Logs a fitted search: a task for each candidate, and the best one on the parent.

    A candidate's parameters are those of its task. The score of each fold is a point of the curve `score`
    in the split `test`, with the fold's number as iteration, and the mean is its single value, which
    results use; if the template has the field `fold`, each fold is a single value and the mean has
    `fold="all"`. Also logged are `std_score` and `rank_score`, with `return_train_score` the same in the
    split `train`, and the mean seconds `fit_time` and `score_time` with their `std_…`. These are
    scikit-learn's own numbers: `std_…` is that of the population, divided by n and not by n − 1. With
    `scoring="accuracy"` or several metrics, their names take the place of `score`. Successive halving has
    a task for each row of `cv_results_`, whose parameters contain `iter` and `n_resources`.

    A candidate that has no score in some fold (nan, as its fit failed) is a failed task. One that is
    there twice, or whose parameters cannot be an identity (a lambda), is known by its number:
    `candidate-0003`.

    Args:
        group: An open group. In a resumed run, candidates that are completed stay as they are.
        search: A fitted `GridSearchCV`, `RandomizedSearchCV` or the like: what has `cv_results_`.
        params: Parameters that all candidates of this search have, to tell several searches in one group
            apart: `{"model": "svc"}`.
        context: The template's field for the split; None for `split`, if the template has it.
        times: Whether to log `fit_time` and `score_time`, which are four columns of the results.

    Returns:
        The tasks, in the order of `cv_results_`; they have ended.

    Raises:
        ArgumentError: The search is not fitted, or is no search.
        DuplicateTaskError: The run has a task with a candidate's parameters.
        UnknownFieldError: The template does not have the field.
        GroupStateError: The group is not open.
    """
    if not hasattr(group, "_opened"):
        raise ArgumentError("group", group, "an open TaskGroup: log_search(group, search)")
    run = group._opened()
    found = _Candidates.of(search)
    if params is not None and not isinstance(params, Mapping):
        raise ArgumentError("params", params, "a dict of parameter to value, or None")
    check_flag("times", times)
    common = dict(params or {})
    with run.creating:
        tasks = group._open_tasks(list(_specs(run, found, common)))
    for number, task in enumerate(tasks):
        if task.done:
            continue
        with task.activate():
            found.report(number, task, context, times)
        missing = found.missing(number)
        run.end(task._state, "failed" if missing else "completed", missing)
    facts = found.best(search)
    prefix = f"{display_name(flatten(common))}/best" if common else "best"
    run.set_parent_parameters({f"{prefix}/{name}": fact for name, fact in facts.items()})
    return tasks


def _specs(run: Run, found: _Candidates, common: Mapping[str, Any]) -> Iterator[TaskSpec]:
    """Makes the specs of the candidates; repeated ones, or without an identity, are known by their number."""
    keys: set[str] = set()
    first = run.specs._next_index
    for number in range(len(found)):
        params, name = {**found.params(number), **common}, None
        try:
            key = task_key(flatten(params)) if params else ""
        except ParameterError:  # a lambda, for example
            key = ""
        if not key or key in keys:
            key, name = task_key(flatten({**common, "candidate": number})), f"candidate-{number:04}"
        keys.add(key)
        spec = run.specs.make(params, key=key, name=name, index=first + number)
        run.specs.refuse_duplicate(spec)
        yield spec
    run.specs.reserve_indices(len(found))


def _without_nan(values: Mapping[str, float]) -> dict[str, float]:
    return {key: value for key, value in values.items() if not math.isnan(value)}


def _read(key: str) -> Parts | None:
    """Reads `test_score` as `score` in `test`, and `std_test_score` as `std_score`."""
    time = key.removeprefix("std_")
    if time in _TIME_SPLITS:
        return key, _TIME_SPLITS[time]
    match = _NAME.fullmatch(key)
    return ((match[1] or "") + match[3], match[2]) if match else None


@attrs.frozen
class _Candidates:
    """The rows of `cv_results_`.

    Attributes:
        columns: `cv_results_` itself.
        scores: Names of test and train scores as tasks have them, `test_accuracy`, with scikit-learn's.
        decisive: The names in `scores` that a candidate is chosen by.
    """

    columns: Mapping[str, Any]
    scores: Mapping[str, str]
    decisive: Sequence[str]

    @classmethod
    def of(cls, search: Any) -> _Candidates:
        columns = getattr(search, "cv_results_", None)
        if not isinstance(columns, Mapping) or "params" not in columns:
            raise ArgumentError("search", search, FITTED)
        scoring = getattr(search, "scoring", None)
        names = [name.removeprefix("mean_") for name in columns if re.match("mean_(test|train)_", name)]
        scores = {}
        for name in names:
            split, _, metric = name.partition("_")
            if metric == "score" and isinstance(scoring, str):
                metric = scoring
            scores[f"{split}_{metric}"] = name
        refit = getattr(search, "refit", None)
        tests = [own for own in scores if own.startswith("test_")]
        decisive = [f"test_{refit}"] if f"test_{refit}" in tests else tests
        return cls(columns, scores, decisive)

    def __len__(self) -> int:
        return len(self.columns["params"])

    def params(self, number: int) -> dict[str, Any]:
        more = {
            name: int(self.columns[name][number]) for name in ("iter", "n_resources") if name in self.columns
        }
        return {**self.columns["params"][number], **more}

    def folds(self, own: str, number: int) -> dict[int, float]:
        found: dict[int, float] = {}
        while (column := f"split{len(found)}_{self.scores[own]}") in self.columns:
            found[len(found)] = float(self.columns[column][number])
        return found

    def missing(self, number: int) -> str:
        """Gives the reason why a candidate counts as failed; empty if it does not."""
        for own in self.decisive:
            folds = self.folds(own, number)
            without = [str(fold) for fold, score in folds.items() if math.isnan(score)]
            if without:
                return (
                    f"{own} is nan in fold {', '.join(without)} of {len(folds)}: the fit or the scoring "
                    "failed, as scikit-learn has warned; error_score='raise' shows the exception"
                )
        return ""

    def report(self, number: int, task: GroupTask, context: str | None, times: bool) -> None:
        """Reports what scikit-learn knows of a candidate; a mean that is nan makes its metric diverge."""
        by_fold = "fold" in task.group.template.context_fields
        whole = Relay(task.bind(fold=ALL_FOLDS) if by_fold else task, _read, context)
        by_own = {own: self.folds(own, number) for own in self.scores}
        for fold in range(max(map(len, by_own.values()), default=0)):
            relay = Relay(task.bind(fold=fold), _read, context) if by_fold else whole
            scores = {own: folds[fold] for own, folds in by_own.items()}
            relay.put(_without_nan(scores), None if by_fold else fold)
        columns = {own: f"mean_{name}" for own, name in self.scores.items()}
        columns |= {f"std_{own}": f"std_{name}" for own, name in self.scores.items()}
        columns |= {f"rank_{own}": f"rank_{name}" for own, name in self.scores.items()}
        for time in _TIME_SPLITS if times else ():
            columns |= {time: f"mean_{time}", f"std_{time}": f"std_{time}"}
        found = {
            key: float(self.columns[name][number]) for key, name in columns.items() if name in self.columns
        }
        means = {} if self.missing(number) else {own: found[own] for own in self.scores}
        whole.put({**_without_nan(found), **means}, None)

    def best(self, search: Any) -> dict[str, Any]:
        """Gives the best candidate; that of each metric if the search has several and does not refit."""
        index = getattr(search, "best_index_", None)
        if index is not None:
            (own,) = self.decisive if len(self.decisive) == 1 else (None,)
            score = getattr(search, "best_score_", None)
            return self._facts(int(index), self._mean(own, int(index)) if score is None and own else score)
        found: dict[str, Any] = {}
        for own in self.decisive:
            number = self._first(own)
            facts = self._facts(number, self._mean(own, number))
            found.update({f"{own.removeprefix('test_')}/{name}": fact for name, fact in facts.items()})
        return found

    def _first(self, own: str) -> int:
        ranks: Iterable[int] = self.columns[f"rank_{self.scores[own]}"]
        return min(enumerate(ranks), key=lambda ranked: ranked[1])[0]

    def _mean(self, own: str, number: int) -> float:
        return float(self.columns[f"mean_{self.scores[own]}"][number])

    def _facts(self, number: int, value: float | None) -> dict[str, Any]:
        params = self.params(number)
        names = dict.fromkeys(name for other in range(len(self)) for name in self.params(other))
        chosen = {f"params/{name}": params.get(name) for name in names}
        known = {} if value is None or math.isnan(value) else {"value": float(value)}
        return {"candidate": number, **known, **chosen}
