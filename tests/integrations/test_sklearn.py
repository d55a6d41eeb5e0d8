"""scikit-learn's own searches as tasks of a group."""

from __future__ import annotations

import os
import shutil
import warnings
from statistics import pstdev
from typing import Any

import numpy as np
import pytest

from clearml_taskgroup import Metric, TaskGroup
from clearml_taskgroup.errors import (
    ArgumentError,
    DriftWarning,
    DuplicateTaskError,
    LeftOutWarning,
    NonFiniteWarning,
)
from clearml_taskgroup.testing import MemoryStore
from tests.loopback import LoopbackServer

pytest.importorskip("sklearn", reason="needs scikit-learn")
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, RandomizedSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from sklearn.svm import SVC

from clearml_taskgroup.integrations.sklearn import log_search

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 2))
Y = (X[:, 0] + RANDOM.normal(size=60) > 0).astype(int)


class Stump(ClassifierMixin, BaseEstimator):  # type: ignore[misc,unused-ignore]
    """Compares the first column with a threshold; it refuses negative ones, and one in the first fold."""

    def __init__(self, at: Any = 0.0, moody: bool = False) -> None:
        self.at = at
        self.moody = moody

    def fit(self, x: Any, y: Any) -> Stump:
        if self.at < 0 or (self.moody and not np.array_equal(x[0], X[0])):
            raise ValueError("no")
        self.classes_ = np.unique(y)
        return self

    def predict(self, x: Any) -> Any:
        return (x[:, 0] > self.at).astype(int)


def parent_params(backend: MemoryStore) -> dict[str, Any]:
    (parent,) = (task for task in backend.tasks.values() if task.parent is None)
    return parent.params


def fitted(search: Any) -> Any:
    """Fits a search, without the warnings of scikit-learn's that some are meant to have."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return search.fit(X, Y)


def test_a_grid(backend: MemoryStore) -> None:
    """A candidate is a task, a fold is a point, the mean is the value of the results."""
    scaled = Pipeline([("scale", StandardScaler()), ("clf", SVC())])
    grid = {"clf__C": [0.01, 1, 100], "scale": [None, "passthrough", MinMaxScaler()]}
    search = fitted(GridSearchCV(scaled, grid, cv=3, return_train_score=True))
    with TaskGroup("digits", "grid") as group:
        tasks = log_search(group, search)
    assert [task.name for task in tasks][:3] == [
        "clf__C=0.01,scale=None",
        "clf__C=0.01,scale=passthrough",
        "clf__C=0.01,scale=MinMaxScaler()",
    ]
    assert [member.status for member in backend.members] == ["completed"] * 9
    columns = search.cv_results_
    for number, member in enumerate(backend.members):
        for split in ("test", "train"):
            expected = [(fold, columns[f"split{fold}_{split}_score"][number]) for fold in range(3)]
            assert member.scalars["score", split] == expected
            assert member.single_values[f"score/{split}"] == columns[f"mean_{split}_score"][number]
            spread = member.single_values[f"std_score/{split}"]
            assert spread == columns[f"std_{split}_score"][number]
            assert spread == pytest.approx(pstdev(score for _, score in expected))  # as the guide says
        assert member.single_values["rank_score/test"] == columns["rank_test_score"][number]
        assert member.single_values["fit_time/train"] == columns["mean_fit_time"][number]
        assert member.single_values["std_score_time/test"] == columns["std_score_time"][number]
    best = group.results().best("score", split="test", mode="max")
    assert (best.key, best.value) == (tasks[search.best_index_].key, search.best_score_)
    parent = parent_params(backend)
    assert parent["best/candidate"] == search.best_index_
    assert parent["best/value"] == search.best_score_
    assert parent["best/params/clf__C"] == search.best_params_["clf__C"]
    curve = group.results().where(clf__C=1, scale=None).history("score", split="test")[0]
    assert curve.iterations == (0, 1, 2)


def test_a_grid_without_times(backend: MemoryStore) -> None:
    """`times=False` leaves out what is no score; anything but a flag is refused."""
    with TaskGroup("digits", "grid") as group:
        search = fitted(GridSearchCV(Stump(), {"at": [0.0]}, cv=2))
        with pytest.raises(ArgumentError, match="times"):
            log_search(group, search, times="no")  # type: ignore[arg-type]
        log_search(group, search, times=False)
    (member,) = backend.members
    assert set(member.single_values) == {"score/test", "std_score/test", "rank_score/test"}


def test_folds_in_the_template(backend: MemoryStore) -> None:
    """A fold goes to the field `fold`; what all of them have in common has `all` there."""
    search = fitted(RandomizedSearchCV(SVC(), {"C": [0.01, 1, 100]}, n_iter=2, cv=2, random_state=0))
    with TaskGroup("digits", "random", template="{metric}/{split} {fold}") as group:
        tasks = log_search(group, search)
    for number, member in enumerate(backend.members):
        for fold in range(2):
            score = search.cv_results_[f"split{fold}_test_score"][number]
            assert member.single_values[f"score/test {fold}"] == score
        assert member.single_values["score/test all"] == search.cv_results_["mean_test_score"][number]
        assert member.scalars == {}
    best = group.results().best("score", split="test", fold="all", mode="max")
    assert best.key == tasks[search.best_index_].key


def test_a_template_without_a_split(backend: MemoryStore) -> None:
    search = fitted(GridSearchCV(SVC(), {"C": [1]}, cv=2, return_train_score=True))
    with TaskGroup("digits", "grid", template="{metric}") as group:
        log_search(group, search)
    assert {"test_score", "train_score"} == {metric for metric, _ in backend.members[0].scalars}


@pytest.mark.parametrize(
    ("scoring", "refit"),
    [
        ("accuracy", True),
        (["accuracy", "f1"], "f1"),
        (["accuracy", "f1"], False),
        (["accuracy", "f1"], lambda results: 1),
        ("accuracy", lambda results: 1),
    ],
)
def test_the_best(backend: MemoryStore, scoring: Any, refit: Any) -> None:
    """Metrics have the names of their scoring; the best is the one that the search has chosen."""
    search = fitted(GridSearchCV(SVC(), {"C": [1e-3, 1, 1000]}, cv=3, scoring=scoring, refit=refit))
    with TaskGroup("digits", "grid") as group:
        tasks = log_search(group, search)
    parent = parent_params(backend)
    if callable(refit):
        assert parent["best/candidate"] == 1
        assert ("best/value" in parent) == isinstance(scoring, str)
    for metric in [scoring] if isinstance(scoring, str) else scoring:
        best = group.results().best(metric, split="test", mode="max")
        column = f"rank_test_{metric if isinstance(scoring, list) else 'score'}"
        index = int(np.argmin(search.cv_results_[column]))
        assert best.key == tasks[index].key
        if refit is False:
            assert parent[f"best/{metric}/candidate"] == index
            assert parent[f"best/{metric}/value"] == best.value
        elif refit in (True, metric):
            assert parent["best/candidate"] == index == search.best_index_
            assert parent["best/value"] == best.value


def test_failed_fits(backend: MemoryStore) -> None:
    """A candidate whose fit failed in a fold fails; the folds that have a score are logged."""
    grid = [{"at": [0.0, -1.0]}, {"at": [0.1], "moody": [True]}]
    search = fitted(GridSearchCV(Stump(), grid, cv=3))
    with TaskGroup("digits", "grid") as group:
        tasks = log_search(group, search)
    assert [member.status for member in backend.members] == ["completed", "failed", "failed"]
    nothing, partly = backend.members[1:]
    assert nothing.reason.startswith("test_score is nan in fold 0, 1, 2 of 3: the fit or the scoring")
    assert ("score", "test") not in nothing.scalars
    assert "in fold 0 of 3" in partly.reason
    assert [fold for fold, _ in partly.scalars["score", "test"]] == [1, 2]
    assert group.results().best("score", split="test", mode="max").key == tasks[search.best_index_].key


def test_one_metric_without_a_score(backend: MemoryStore) -> None:
    """A metric that nothing is chosen by has diverged where it is nan."""

    def scoring(estimator: Any, x: Any, y: Any) -> dict[str, float]:
        return {"good": estimator.score(x, y), "odd": float("nan") if estimator.C == 1 else 1.0}

    search = fitted(GridSearchCV(SVC(), {"C": [1, 2]}, cv=2, scoring=scoring, refit="good"))
    group = TaskGroup("digits", "grid").open()
    with pytest.warns(NonFiniteWarning, match=r"odd\[split=test\] is nan in the task 'C=1'"):
        log_search(group, search)
    results = group.results()
    with pytest.warns(DriftWarning):
        group.close()
    assert [member.status for member in backend.members] == ["completed", "completed"]
    assert results.best("odd", split="test", mode="max").excluded == ("C=1",)
    assert results.best("good", split="test", mode="max").value == search.best_score_


def test_candidates_without_an_identity(backend: MemoryStore) -> None:
    """A lambda cannot be part of a key, and a grid may have a candidate twice: both have their number."""
    pipe = Pipeline([("log", FunctionTransformer()), ("clf", SVC())])
    grid = [{"log__func": [lambda x: x, np.abs]}, {"clf__C": [1]}, {"clf__C": [1, 2]}]
    search = fitted(GridSearchCV(pipe, grid, cv=2))
    with TaskGroup("digits", "grid") as group:
        tasks = log_search(group, search)
    assert len({task.key for task in tasks}) == 5
    names = ["candidate-0000", "log__func=function(numpy.absolute)", "clf__C=1", "candidate-0003", "clf__C=2"]
    assert [task.name for task in tasks] == names
    assert backend.members[3].params["clf__C"] == 1
    again = fitted(GridSearchCV(SVC(), {}, cv=2))
    with TaskGroup("digits", "default") as group:
        assert len(log_search(group, again)) == 1


def test_halving(backend: MemoryStore) -> None:
    """Each row of the halving's results is a task; the best of the last iteration is the search's best."""
    search = fitted(HalvingGridSearchCV(SVC(), {"C": [1, 2, 3]}, cv=2, min_resources=20, random_state=0))
    with TaskGroup("digits", "halving") as group:
        tasks = log_search(group, search)
    assert len(tasks) == 4
    assert backend.members[0].params == {"C": 1, "iter": 0, "n_resources": 20}
    last = group.results().where(iter=1)
    assert last.best("score", split="test", mode="max").key == tasks[search.best_index_].key


def test_resuming() -> None:
    """A resumed run keeps what is completed; in one run, a search is logged once."""
    search = fitted(GridSearchCV(SVC(), {"C": [1, 2]}, cv=2))
    ids = []
    for _ in range(2):
        with TaskGroup("digits", "grid", resume=True, mode="offline", provenance=False) as group:
            ids.append([task.id for task in log_search(group, search)])
            with pytest.raises(DuplicateTaskError):
                log_search(group, search)
    assert ids[0] == ids[1]
    row = group.results().where(C=2)[0]
    assert row.stats["score", (("split", "test"),)].last == search.cv_results_["mean_test_score"][1]


@pytest.mark.frameworks  # a server is slow for make test, which has the same offline
def test_on_a_server(loopback: LoopbackServer) -> None:
    """A resumed run has the same tasks, and the server tells the mean from the last fold."""
    search = fitted(GridSearchCV(SVC(), {"C": [1e-3, 1, 100]}, cv=3))
    for _ in range(2):
        with TaskGroup("digits", "grid", resume=True, provenance=False) as group:
            tasks = log_search(group, search)
    shutil.rmtree(os.environ["CLEARML_CACHE_DIR"])
    loaded = TaskGroup.load("digits", "grid")
    best = loaded.best("score", split="test", mode="max")
    assert best.key == tasks[search.best_index_].key
    assert best.value == pytest.approx(search.best_score_)
    assert loaded.history("score", split="test")[0].iterations == (0, 1, 2)


def test_several_searches(backend: MemoryStore) -> None:
    """`params` tells them apart, on the parent too."""
    with TaskGroup("digits", "grid") as group:
        for kernel in ("rbf", "linear"):
            search = fitted(GridSearchCV(SVC(kernel=kernel), {"C": [1, 2]}, cv=2))
            log_search(group, search, params={"kernel": kernel})
    assert len(backend.members) == 4
    assert parent_params(backend)["kernel=rbf/best/candidate"] in (0, 1)


def test_a_vocabulary(backend: MemoryStore) -> None:
    """Only its metrics are logged, by their aliases too."""
    search = fitted(GridSearchCV(SVC(), {"C": [1, 2]}, cv=2, scoring="accuracy"))
    metrics = [Metric("accuracy", mode="max", aliases={"test_accuracy": {"split": "val"}})]
    with TaskGroup("digits", "grid", metrics=metrics) as group:
        with pytest.warns(LeftOutWarning, match="'std_test_accuracy'"):
            tasks = log_search(group, search)
    assert set(backend.members[0].scalars) == {("accuracy", "val")}
    assert group.results().best("accuracy").key == tasks[search.best_index_].key


@pytest.mark.parametrize("search", [GridSearchCV(SVC(), {"C": [1]}), SVC(), None])
def test_no_fitted_search(backend: MemoryStore, search: Any) -> None:
    with TaskGroup("digits", "grid") as group:
        with pytest.raises(ArgumentError, match=r"a fitted search with cv_results_"):
            log_search(group, search)


def test_wrong_arguments(backend: MemoryStore) -> None:
    search: Any = GridSearchCV(Stump(), {"at": [0.0]}, cv=2).fit(X, Y)
    with TaskGroup("digits", "search") as group:
        for args in ((search, group), (search,)):
            with pytest.raises(
                ArgumentError, match=r"expected an open TaskGroup: log_search\(group, search\)"
            ):
                log_search(*args)
        with pytest.raises(ArgumentError, match="search= was not given"):
            log_search(group)
