"""XGBoost, LightGBM and CatBoost themselves, logging to tasks of a group."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearml_taskgroup import GroupTask, Metric, TaskGroup
from clearml_taskgroup.errors import (
    ArgumentError,
    HandleError,
    LeftOutWarning,
    TaskAbortedError,
    UnknownFieldError,
)
from clearml_taskgroup.testing import MemoryStore
from tests.support.runs import stop

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore:.*(feature names|sklearn|eval_set|numba)"),
    pytest.mark.filterwarnings("ignore::FutureWarning:xgboost"),
]

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(200, 3))
Y = (X[:, 0] + RANDOM.normal(size=200) > 0).astype(int)
TRAIN, VAL = (X[:100], Y[:100]), (X[100:], Y[100:])


def importable(name: str) -> Any:
    return pytest.importorskip(name, reason=f"needs {name}")


@pytest.fixture
def task(backend: MemoryStore) -> Iterator[GroupTask]:
    """The task of the block that the test is in."""
    with TaskGroup("digits", "boosting") as group, group.task({"C": 1}) as task:
        yield task


def scalars(backend: MemoryStore, task: GroupTask) -> dict[tuple[str, str], list[tuple[int, float]]]:
    task.group.flush()
    return backend.members[0].scalars


def single_values(backend: MemoryStore, task: GroupTask) -> dict[str, float]:
    task.group.flush()
    return backend.members[0].single_values


def points(values: Any) -> Any:
    return [(iteration, pytest.approx(value)) for iteration, value in enumerate(values)]


# --- XGBoost -------------------------------------------------------------------------------------


def test_an_xgboost_training(backend: MemoryStore, task: GroupTask) -> None:
    """Evaluation sets are splits; without early stopping there is no best."""
    xgboost = importable("xgboost")
    from clearml_taskgroup.integrations.xgboost import TaskCallback

    found: dict[str, Any] = {}
    train, val = (xgboost.DMatrix(*data) for data in (TRAIN, VAL))
    xgboost.train(
        {"objective": "binary:logistic", "eval_metric": ["auc", "logloss"]},
        train,
        5,
        evals=[(train, "train"), (val, "val")],
        evals_result=found,
        callbacks=[TaskCallback(task)],
        verbose_eval=False,
    )
    assert scalars(backend, task) == {
        (metric, split): points(found[split][metric])
        for split in ("train", "val")
        for metric in ("auc", "logloss")
    }
    assert single_values(backend, task) == {}


def test_xgboost_estimators(backend: MemoryStore, task: GroupTask) -> None:
    """An estimator trains with the callback, its copies too; the task is that of the block."""
    xgboost = importable("xgboost")
    from sklearn.base import clone

    from clearml_taskgroup.integrations.xgboost import TaskCallback

    first = xgboost.XGBClassifier(n_estimators=50, callbacks=[TaskCallback()], early_stopping_rounds=3)
    model = clone(first).fit(*TRAIN, eval_set=[TRAIN, VAL], verbose=False)
    found = scalars(backend, task)
    result = model.evals_result()
    assert found["logloss", "validation_0"] == points(result["validation_0"]["logloss"])
    assert found["logloss", "validation_1"] == points(result["validation_1"]["logloss"])
    values = single_values(backend, task)
    assert values["best_iteration/value"] == model.best_iteration
    assert values["best_score/value"] == pytest.approx(model.best_score)


def test_xgboost_cv(backend: MemoryStore, task: GroupTask) -> None:
    """Cross-validation has means and standard deviations."""
    xgboost = importable("xgboost")
    from clearml_taskgroup.integrations.xgboost import TaskCallback

    params, data = {"objective": "binary:logistic"}, xgboost.DMatrix(X, Y)
    callbacks = [TaskCallback(task)]
    result = xgboost.cv(params, data, 50, 3, as_pandas=False, early_stopping_rounds=3, callbacks=callbacks)
    means, stds = result["test-logloss-mean"], result["test-logloss-std"]  # up to the best
    found = scalars(backend, task)
    assert found["logloss", "test"][: len(means)] == points(means)
    assert found["std_logloss", "test"][: len(stds)] == points(stds)
    assert set(found) == {(f"{std}logloss", split) for std in ("", "std_") for split in ("train", "test")}
    assert single_values(backend, task)["best_iteration/value"] == len(means) - 1


# --- LightGBM ------------------------------------------------------------------------------------

PARAMS = {"objective": "binary", "metric": ["auc", "l2"], "verbose": -1, "num_threads": 1}


@pytest.mark.parametrize("rounds", [2, 40])
@pytest.mark.parametrize("first_metric_only", [False, True])
@pytest.mark.parametrize("metric", [["auc", "l2"], ["l2", "auc"], "binary_logloss"])
def test_a_lightgbm_training(
    backend: MemoryStore, task: GroupTask, metric: Any, first_metric_only: bool, rounds: int
) -> None:
    """Evaluation sets are splits; the best is that of LightGBM's early stopping, whether it stops or not."""
    lightgbm = importable("lightgbm")
    from clearml_taskgroup.integrations.lightgbm import TaskCallback

    train = lightgbm.Dataset(*TRAIN)
    val = lightgbm.Dataset(*VAL, reference=train)
    found: dict[str, Any] = {}
    model = lightgbm.train(
        {**PARAMS, "metric": metric, "first_metric_only": first_metric_only, "early_stopping_round": 4},
        train,
        rounds,
        valid_sets=[train, val],
        valid_names=["train", "val"],
        callbacks=[TaskCallback(task), lightgbm.record_evaluation(found)],
    )
    metrics = [metric] if isinstance(metric, str) else metric
    logged = scalars(backend, task)
    assert {split for _, split in logged} == {"train", "val"}
    for name in metrics:
        for split in ("train", "val"):
            assert logged[name, split] == points(found[split][name])
    values = single_values(backend, task)
    assert values["best_iteration/value"] == model.best_iteration
    assert values["best_score/value"] in list(model.best_score["val"].values())


def test_lightgbm_estimators(backend: MemoryStore, task: GroupTask) -> None:
    """The evaluation sets of an estimator have LightGBM's names."""
    lightgbm = importable("lightgbm")
    from clearml_taskgroup.integrations.lightgbm import TaskCallback

    model = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1, n_jobs=1)
    model.fit(*TRAIN, eval_set=[TRAIN, VAL], callbacks=[TaskCallback()])
    assert set(scalars(backend, task)) == {
        ("binary_logloss", "training"),
        ("binary_logloss", "valid_1"),
    }


def test_lightgbm_cv(backend: MemoryStore, task: GroupTask) -> None:
    """Cross-validation has means and standard deviations."""
    lightgbm = importable("lightgbm")
    from clearml_taskgroup.integrations.lightgbm import TaskCallback

    callbacks = [TaskCallback(task), lightgbm.early_stopping(3, verbose=False)]
    result = lightgbm.cv(PARAMS, lightgbm.Dataset(X, Y), 30, nfold=3, callbacks=callbacks)
    means, stds = result["valid l2-mean"], result["valid auc-stdv"]  # up to the best
    found = scalars(backend, task)
    assert found["l2", "valid"][: len(means)] == points(means)
    assert found["std_auc", "valid"][: len(stds)] == points(stds)
    assert single_values(backend, task)["best_iteration/value"] == len(means)


def test_results_of_older_lightgbm(backend: MemoryStore, task: GroupTask) -> None:
    """Before 4.7, `cv` put the set and the metric into one text."""
    importable("lightgbm")
    from types import SimpleNamespace

    from clearml_taskgroup.integrations.lightgbm import TaskCallback

    env = SimpleNamespace(iteration=0, begin_iteration=0, end_iteration=1, model=None, params={})
    env.evaluation_result_list = [("cv_agg", "valid l2", 0.5, False, 0.1)]
    TaskCallback(task)(env)
    assert scalars(backend, task) == {("l2", "valid"): [(0, 0.5)], ("std_l2", "valid"): [(0, 0.1)]}


# --- CatBoost ------------------------------------------------------------------------------------


@pytest.fixture
def catboost_model() -> Any:
    catboost = importable("catboost")

    def make(**options: Any) -> Any:
        fixed = {"iterations": 30, "learning_rate": 0.3, "verbose": 0, "allow_writing_files": False}
        return catboost.CatBoostClassifier(thread_count=1, early_stopping_rounds=4, **{**fixed, **options})

    return make


def test_a_catboost_training(backend: MemoryStore, task: GroupTask, catboost_model: Any) -> None:
    """Evaluation sets are splits, and CatBoost's count of rounds is the iteration."""
    from clearml_taskgroup.integrations.catboost import TaskCallback

    model = catboost_model().fit(*TRAIN, eval_set=VAL, callbacks=[TaskCallback()])
    found = scalars(backend, task)
    for split in ("learn", "validation"):
        assert found["Logloss", split] == points(model.evals_result_[split]["Logloss"])
    values = single_values(backend, task)
    assert values["best_iteration/value"] == model.best_iteration_
    assert values["best_score/value"] == pytest.approx(model.best_score_["validation"]["Logloss"])


def test_several_metrics_of_catboost(backend: MemoryStore, task: GroupTask, catboost_model: Any) -> None:
    """CatBoost does not tell a callback which metric it chooses by: `log_best` asks the model."""
    from clearml_taskgroup.integrations.catboost import TaskCallback

    model = catboost_model(eval_metric="AUC:type=Classic", custom_metric=["F1"], metric_period=2)
    callback = TaskCallback(task)
    model.fit(*TRAIN, eval_set=[TRAIN, VAL], callbacks=[callback])
    found = scalars(backend, task)
    assert [iteration for iteration, _ in found["F1", "validation_1"]][:3] == [0, 2, 4]
    assert {split for metric, split in found if metric == "AUC"} == {"validation_0", "validation_1"}
    assert single_values(backend, task) == {}
    callback.log_best(model)
    values = single_values(backend, task)
    assert values["best_iteration/value"] == model.best_iteration_
    assert values["best_score/value"] == pytest.approx(model.best_score_["validation_1"]["AUC"])
    with pytest.raises(ArgumentError, match="an eval_set"):
        callback.log_best(catboost_model(iterations=1).fit(*TRAIN))


class Share:
    """A metric of the user's own."""

    def is_max_optimal(self) -> bool:
        return True

    def evaluate(self, approxes: Any, target: Any, weight: Any) -> tuple[float, float]:
        return float(np.mean(np.greater(approxes[0], 0) == np.greater(target, 0.5))), 1.0

    def get_final_error(self, error: float, weight: float) -> float:
        return error


def test_a_metric_of_the_users_in_catboost(
    backend: MemoryStore, task: GroupTask, catboost_model: Any
) -> None:
    from clearml_taskgroup.integrations.catboost import TaskCallback

    callback = TaskCallback(task)
    model = catboost_model(eval_metric=Share()).fit(*TRAIN, eval_set=VAL, callbacks=[callback])
    callback.log_best(model)
    values = single_values(backend, task)
    assert values["best_score/value"] == pytest.approx(model.best_score_["validation"]["Share"])


def test_a_metric_that_catboost_tells_nothing_of(
    backend: MemoryStore, task: GroupTask, catboost_model: Any
) -> None:
    from clearml_taskgroup.integrations.catboost import TaskCallback

    classes = X[:100, 0].astype(int) % 3
    model = catboost_model(loss_function="MultiClass", eval_metric="AUC:type=Mu", iterations=3)
    model.fit(X[:100], classes, eval_set=(X[:100], classes), callbacks=[TaskCallback(task)])
    assert {split for metric, split in scalars(backend, task) if metric.startswith("AUC")} == {"validation"}


def test_an_abort_ends_a_training(backend: MemoryStore, callback_class: Any) -> None:
    """CatBoost would hide the error; its training ends, and the next report raises."""
    with TaskGroup("digits", "boosting") as group:
        with contextlib.suppress(TaskAbortedError), group.task({"C": 1}) as task:
            stop(task, reason="by a person")
            fit(callback_class(task))
            task.report({"loss": 1}, split="train")
    assert backend.members[0].status == "stopped"
    assert backend.members[0].scalars == {}


def test_a_callback_of_catboost_in_two_trainings(
    backend: MemoryStore, task: GroupTask, catboost_model: Any
) -> None:
    """Each training goes to the task of its own block."""
    from clearml_taskgroup.integrations.catboost import TaskCallback

    callback = TaskCallback()
    catboost_model(iterations=2).fit(*TRAIN, callbacks=[callback])
    with task.group.task({"C": 2}):
        catboost_model(iterations=3).fit(*TRAIN, callbacks=[callback])
    task.group.flush()
    assert [len(member.scalars["Logloss", "learn"]) for member in backend.members] == [2, 3]


# --- all of them ---------------------------------------------------------------------------------


@pytest.fixture(params=["xgboost", "lightgbm", "catboost"])
def callback_class(request: pytest.FixtureRequest) -> Any:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"needs {request.param}")
    return importlib.import_module(f"clearml_taskgroup.integrations.{request.param}").TaskCallback


def fit(callback: Any) -> None:
    """Trains for two rounds."""
    name = type(callback).__module__.rpartition(".")[2]
    if name == "xgboost":
        import xgboost

        model = xgboost.XGBClassifier(n_estimators=2, callbacks=[callback])
        model.fit(*TRAIN, eval_set=[VAL], verbose=False)
    elif name == "lightgbm":
        import lightgbm

        model = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1, n_jobs=1)
        model.fit(*TRAIN, eval_set=[VAL], callbacks=[callback])
    else:
        import catboost

        model = catboost.CatBoostClassifier(iterations=2, verbose=0, allow_writing_files=False)
        model.fit(*TRAIN, eval_set=VAL, callbacks=[callback])


@pytest.mark.filterwarnings("ignore:left out")  # best_iteration and best_score
def test_a_vocabulary(backend: MemoryStore, callback_class: Any) -> None:
    """Only its metrics are reported, and the whole name may be an alias."""
    names = ("validation_0_logloss", "valid_0_binary_logloss", "validation_Logloss")
    metrics = [Metric("loss", aliases={name: {"split": "val"} for name in names})]
    with TaskGroup("digits", "boosting", metrics=metrics) as group, group.task({"C": 1}) as task:
        fit(callback_class(task))
    assert {name: len(found) for name, found in backend.members[0].scalars.items()} == {("loss", "val"): 2}


def test_bound_tasks_and_wrong_arguments(backend: MemoryStore, callback_class: Any) -> None:
    with TaskGroup("digits", "boosting", template="{metric}/{split} {fold}") as group:
        with group.task({"C": 1}) as task:
            fit(callback_class(task.bind(fold=3)))
            with pytest.raises(UnknownFieldError):
                callback_class(task, context="part")
        with pytest.raises(ArgumentError, match="a task of a group"):
            callback_class("task")
    assert all(series.endswith(" 3") for _, series in backend.members[0].scalars)


def test_outside_of_a_block(callback_class: Any) -> None:
    with pytest.raises(Exception, match="a task of a group"):
        fit(callback_class())


def test_pickles(callback_class: Any) -> None:
    """A pickled callback loads when its task has ended; what is trained with it before goes to the task."""
    with TaskGroup("digits", "boosting", mode="offline", provenance=False) as group:
        with group.task({"C": 1}) as task:
            data = pickle.dumps(callback_class(task))
            fit(pickle.loads(data))
    assert group.results()[0].stats
    pickle.loads(pickle.dumps(pickle.loads(data)))


def test_a_task_that_cannot_be_pickled(backend: MemoryStore, callback_class: Any) -> None:
    """The pickle of a model is made all the same; a training with it says why."""
    with TaskGroup("digits", "boosting") as group, group.task({"C": 1}) as task:
        again = pickle.loads(pickle.dumps(callback_class(task)))
        with pytest.raises(Exception, match="new callback") as raised:
            fit(again)
        assert isinstance(raised.value, HandleError) or "HandleError" in str(raised.value)


def test_an_estimator_in_worker_processes(tmp_path: Path) -> None:
    """Copies of an estimator report from loky's processes; its file loads when the task has ended."""
    xgboost = importable("xgboost")
    import joblib
    from sklearn.model_selection import cross_val_score

    from clearml_taskgroup.integrations.xgboost import TaskCallback

    with TaskGroup("digits", "boosting", mode="offline", provenance=False) as group:
        with group.task({"C": 1}) as task:
            model = xgboost.XGBClassifier(n_estimators=2, n_jobs=1, callbacks=[TaskCallback(task)])
            cross_val_score(model, X, Y, cv=2, n_jobs=2, params={"eval_set": [VAL], "verbose": False})
            joblib.dump(model.fit(*TRAIN), tmp_path / "model.joblib")
    session = Path(str(task.url).removeprefix("file://"))
    assert len((session / "metrics.jsonl").read_text().splitlines()) == 4
    joblib.load(tmp_path / "model.joblib").predict(X)


@pytest.mark.parametrize("name", ["xgboost", "lightgbm"])
def test_a_training_without_evaluation_sets(backend: MemoryStore, task: GroupTask, name: str) -> None:
    """Nothing is logged, which is told once per group, at the line of the training."""
    package = importable(name)
    module = importlib.import_module(f"clearml_taskgroup.integrations.{name}")
    callbacks = [module.TaskCallback(task)]
    data = package.DMatrix(*TRAIN) if name == "xgboost" else package.Dataset(*TRAIN)
    argument = {"xgboost": r"evals=\[", "lightgbm": r"valid_sets=\["}[name]
    with pytest.warns(LeftOutWarning, match=f"no evaluation set .* give it {argument}.* eval_set=") as given:
        package.train({"max_depth": 2}, data, 3, callbacks=callbacks)
    package.train({"max_depth": 2}, data, 3, callbacks=callbacks)
    assert [one.filename for one in given] == [__file__]
    assert scalars(backend, task) == {}
