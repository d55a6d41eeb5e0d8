"""Optuna's own studies, run as tasks of a group: one per trial, with Optuna in charge."""

from __future__ import annotations

import functools
import math
import signal
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, Metric, TaskGroup
from clearml_taskgroup._run.abort import abort_run
from clearml_taskgroup.errors import (
    ArgumentError,
    GroupStateError,
    NonFiniteError,
    NonFiniteWarning,
    TaskGroupWarning,
    UnknownFieldError,
    UnknownMetricError,
)
from clearml_taskgroup.testing import MemoryStore, MemoryTask
from tests.loopback import LoopbackServer
from tests.support.clearml_process import run
from tests.support.runs import Place, only, originals, stop
from tests.support.scripts import finished, line_of, run_script, start_script

optuna = pytest.importorskip("optuna", reason="needs the extra 'optuna'")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keeps Optuna from printing a line per trial."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    yield
    optuna.logging.set_verbosity(before)


def study_of(*directions: str, **options: Any) -> Any:
    """Makes a study whose sampler needs no luck."""
    sampler = optuna.samplers.RandomSampler(seed=0)
    return optuna.create_study(directions=directions or ("minimize",), sampler=sampler, **options)


def parabola(trial: Any, task: GroupTask) -> float:
    """Something to minimize."""
    x = trial.suggest_float("x", -1, 1)
    task.report({"loss": x * x}, 0, split="val")
    return float(x * x)


def parent_of(backend: MemoryStore) -> MemoryTask:
    """The only parent."""
    (parent,) = [task for task in backend.tasks.values() if task.spec.kind == "parent"]
    return parent


def ends(backend: MemoryStore) -> dict[str, tuple[str, str]]:
    """Status and reason of each trial's task."""
    return {task.name: (task.status, task.reason) for task in backend.members}


# --- one trial, one task -----------------------------------------------------------------------


def test_each_trial_is_a_task(backend: MemoryStore) -> None:
    """A trial's task has its number in the name, its parameters, its reports and its value."""
    with TaskGroup("digits", "sweep") as group:
        study = study_of()
        study.optimize(group.objective(parabola), n_trials=3)
        rows = group.results()
    assert [task.name for task in backend.members] == ["trial-0000", "trial-0001", "trial-0002"]
    for task, trial, row in zip(backend.members, study.trials, rows, strict=True):
        assert (task.status, task.params, row.params) == ("completed", trial.params, trial.params)
        assert task.scalars == {("loss", "val"): [(0, trial.value)]}
        assert task.single_values == {"objective/value": trial.value}
    best = rows.best("objective", mode="min")
    assert (best.value, best.params) == (study.best_value, study.best_params)


def test_two_jobs_at_once(backend: MemoryStore) -> None:
    """With n_jobs=2 two tasks are open at the same time, and each thread has its own current task."""
    together = threading.Barrier(2, timeout=30)

    def fn(trial: Any, task: GroupTask) -> float:
        together.wait()
        assert GroupTask.current() is task
        assert TaskGroup.current() is task.group
        x = trial.suggest_float("x", 0, 1)
        task.report({"loss": x}, trial.number)
        together.wait()
        return float(x)

    with TaskGroup("digits", "sweep") as group:
        study = study_of()
        study.optimize(group.objective(fn), n_trials=10, n_jobs=2)
    assert sorted(task.spec.index for task in backend.members) == list(range(10))
    for task in backend.members:
        trial = study.trials[int(task.name[-4:])]
        assert task.params == trial.params
        assert task.scalars == {("loss", "value"): [(trial.number, trial.value)]}


def test_parameters_are_there_as_they_are_sampled(backend: MemoryStore) -> None:
    """Each suggestion is on the task before the next line of the objective runs, in `General`."""
    seen = []

    def fn(trial: Any, task: GroupTask) -> float:
        recorded = backend.tasks[task.id]
        suggestions: list[Callable[[], Any]] = [
            lambda: trial.suggest_float("lr", 1e-4, 1e-1, log=True),
            lambda: trial.suggest_int("layers", 1, 3),
            lambda: trial.suggest_categorical("kernel", ["rbf", None, True]),
            lambda: trial.suggest_float("lr", 1e-4, 1e-1, log=True),
        ]
        for suggest in suggestions:
            suggest()
            assert recorded.params == task.params == trial.params
            seen.append(dict(recorded.hyperparameters["General"]))
        return 0.0

    with TaskGroup("digits", "sweep") as group:
        study_of().optimize(group.objective(fn), n_trials=1)
    assert [list(params) for params in seen] == [
        ["lr"],
        ["lr", "layers"],
        ["lr", "layers", "kernel"],
        ["lr", "layers", "kernel"],
    ]


def test_the_trial_is_still_optunas(backend: MemoryStore) -> None:
    """The objective gets an `optuna.Trial`, and sampling draws the same numbers as without a group."""

    def fn(trial: Any) -> float:
        assert isinstance(trial, optuna.Trial)
        assert trial.study.study_name == "mine"
        trial.set_user_attr("by", "hand")
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_int("y", 0, 9)
        assert trial.params == {"x": x, "y": y}
        assert not trial.should_prune()
        return float(x + y)

    def studied(objective: Any) -> list[Any]:
        study = optuna.create_study(study_name="mine", sampler=optuna.samplers.TPESampler(seed=1))
        study.optimize(objective, n_trials=15)
        return [(trial.params, trial.values, trial.user_attrs) for trial in study.trials]

    with TaskGroup("digits", "sweep") as group:
        assert studied(group.objective(fn)) == studied(fn)


@pytest.mark.parametrize(
    "form", ["trial", "trial, task", "trial, job", "trial, task=None", "trial, *, task", "trial, lr=1"]
)
def test_forms_of_objectives(backend: MemoryStore, form: str) -> None:
    """`fn(trial)`, `fn(trial, task)` under any name, and `task` as a keyword are all understood."""
    names: Any = {"given": {}}
    exec(f"def fn({form}):\n    given.update(locals())\n    return 1.0", names)
    with TaskGroup("digits", "sweep") as group:
        assert group.objective(names["fn"])(study_of().ask()) == 1.0
        expected = group.get(name="trial-0000") if form not in ("trial", "trial, lr=1") else None
    assert (names["given"].get("task") or names["given"].get("job")) is expected


def test_objects_and_partials_are_objectives(backend: MemoryStore) -> None:
    """An object with `__call__`, a partial and a builtin work like functions."""

    class Fn:
        def __call__(self, trial: Any, task: GroupTask) -> float:
            return float(task.name.endswith(str(trial.number)))

    def with_data(data: float, trial: Any, task: GroupTask) -> float:
        return data + len(task.params)

    with TaskGroup("digits", "sweep") as group:
        study = study_of()
        assert group.objective(Fn())(study.ask()) == 1.0
        assert group.objective(functools.partial(with_data, 0.5))(study.ask()) == 0.5


def test_ask_and_tell(backend: MemoryStore) -> None:
    """With Optuna's ask-and-tell the objective is called by hand; what was asked for is on the task."""
    with TaskGroup("digits", "sweep") as group:
        study = study_of()
        objective = group.objective(lambda trial: trial.params["x"])
        for _ in range(2):
            trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
            study.tell(trial, objective(trial))
    assert [task.params for task in backend.members] == [trial.params for trial in study.trials]
    assert [task.status for task in backend.members] == ["completed"] * 2


def test_a_trial_can_be_tried_again(backend: MemoryStore) -> None:
    """A `FixedTrial`, and `study.best_trial`, run as tasks of their own, as often as one likes."""
    with TaskGroup("digits", "sweep") as group:
        study = study_of()
        objective = group.objective(parabola)
        study.optimize(objective, n_trials=2)
        assert objective(study.best_trial) == study.best_value
        assert objective(optuna.trial.FixedTrial({"x": 0.5}, number=7)) == 0.25
        assert objective(study.best_trial) == study.best_value
    again = [task.params for task in backend.members[2:]]
    assert again == [study.best_params, {"x": 0.5}, study.best_params]
    assert len({task.name for task in backend.members}) == 5


def test_another_rank_has_no_trial(backend: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distributed job's other ranks call the objective with None, as Optuna's examples do."""
    with TaskGroup("digits", "sweep", mode="disabled") as group:
        assert group.objective(lambda trial: trial)(None) is None


def test_enqueued_trials(backend: MemoryStore) -> None:
    """An enqueued trial is a task like any other, with the parameters that it was given."""
    with TaskGroup("digits", "sweep") as group:
        study = study_of()
        study.enqueue_trial({"x": 0.5})
        study.optimize(group.objective(parabola), n_trials=2)
    assert backend.members[0].params == {"x": 0.5}
    assert len(backend.members) == 2


def test_two_studies_in_one_group(backend: MemoryStore) -> None:
    """Trials of the same number in two studies have keys and names of their own."""
    with TaskGroup("digits", "sweep") as group:
        for name in ("coarse", "fine"):
            study_of(study_name=name).optimize(group.objective(parabola), n_trials=2)
    assert [task.name for task in backend.members] == [
        "coarse-trial-0000",
        "coarse-trial-0001",
        "fine-trial-0000",
        "fine-trial-0001",
    ]
    assert len({task.key for task in backend.members}) == 4
    assert {"coarse/best/value", "fine/best/value"} < parent_of(backend).params.keys()


def test_two_studies_without_a_name(backend: MemoryStore) -> None:
    """Studies without a name are counted, so that their trials' keys are the same in every run."""
    keys = []
    for _ in range(2):
        with TaskGroup("digits", "sweep") as group:
            for _ in range(2):
                study_of().optimize(group.objective(parabola), n_trials=1)
            assert [str(task) for task in group] == ["trial-0000", "study-2-trial-0000"]
            keys.append([task.key for task in group])
    assert keys[0] == keys[1]


def test_two_calls_of_optimize(backend: MemoryStore) -> None:
    """A study that is optimized further, with another objective too, goes on counting."""
    with TaskGroup("digits", "sweep") as group:
        study = study_of()
        study.optimize(group.objective(parabola_alone), n_trials=2)
        study.optimize(group.objective(lambda trial: -1.0), n_trials=1)
    assert [task.name[-1] for task in backend.members] == ["0", "1", "2"]
    assert parent_of(backend).params["best/trial"] == 2


def test_keys_are_the_same_in_every_run(backend: MemoryStore) -> None:
    """A trial's key comes from the study's name and its number alone."""
    for _ in range(2):
        with TaskGroup("digits", "sweep") as group:
            study_of(study_name="mine").optimize(group.objective(parabola), n_trials=1)
    first, second = backend.members
    assert first.key == second.key


# --- how a trial ends --------------------------------------------------------------------------


@pytest.mark.parametrize(("message", "reason"), [("", "pruned at step 1"), ("hopeless", "hopeless")])
@pytest.mark.parametrize("catch", [(), (Exception,)])
def test_pruned_is_stopped(backend: MemoryStore, message: str, reason: str, catch: Any) -> None:
    """A pruned trial's task is stopped with the reason, and Optuna knows it as pruned."""

    def fn(trial: Any, task: GroupTask) -> float:
        x = trial.suggest_float("x", 0, 1)
        for step in range(5):
            trial.report(x, step)
            if step == 1 and trial.number == 0:
                raise optuna.TrialPruned(message)
        return float(x)

    with TaskGroup("digits", "sweep", catch=catch) as group:
        study = study_of()
        study.optimize(group.objective(fn), n_trials=2)
        assert group.failures == ()
    assert [trial.state.name for trial in study.trials] == ["PRUNED", "COMPLETE"]
    status, told = ends(backend)["trial-0000"]
    assert (status, reason in told) == ("stopped", True)
    assert backend.members[0].params == study.trials[0].params
    assert backend.members[0].scalars["objective", "value"] == [
        (step, study.trials[0].params["x"]) for step in (0, 1)
    ]
    assert backend.members[0].console == ""


def test_a_real_pruner(backend: MemoryStore) -> None:
    """What `trial.report` is given reaches Optuna's pruner, and the task as a curve."""

    def fn(trial: Any) -> float:
        for step in range(3):
            trial.report(trial.number + step / 10, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(trial.number)

    pruner = optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=0)
    with TaskGroup("digits", "sweep") as group:
        study = study_of(pruner=pruner)
        study.optimize(group.objective(fn), n_trials=4)
    assert [task.status for task in backend.members] == ["completed", "completed", "stopped", "stopped"]
    assert backend.members[1].scalars == {("objective", "value"): [(0, 1.0), (1, 1.1), (2, 1.2)]}


@pytest.mark.parametrize("groups", [(), (RuntimeError,)])
def test_optunas_catch_decides(backend: MemoryStore, groups: Any) -> None:
    """An exception fails the task and goes on to Optuna, whatever the group's catch= says."""

    def fn(trial: Any) -> float:
        trial.suggest_float("x", 0, 1)
        if trial.number == 0:
            raise RuntimeError("a bad node")
        return 1.0

    with TaskGroup("digits", "sweep", catch=groups) as group:
        study = study_of()
        study.optimize(group.objective(fn), n_trials=2, catch=(RuntimeError,))
        with pytest.raises(RuntimeError, match="a bad node"):
            study_of().optimize(group.objective(fn), n_trials=2)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE"]
    failed = backend.members[0]
    assert (failed.status, failed.reason) == ("failed", "RuntimeError: a bad node")
    assert "a bad node" in failed.console
    assert failed.params == study.trials[0].params
    assert [task.status for task in backend.members] == ["failed", "completed", "failed"]


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (math.nan, "nan"),
        (None, "None, which is no number"),
        ("much", "no number"),
        ((1.0, 2.0), "2 values, the study has 1 direction"),
        ((), "0 values"),
    ],
)
def test_results_that_optuna_refuses(backend: MemoryStore, result: Any, reason: str) -> None:
    """What Optuna takes as a failure is a failed task with the reason; nothing of it is reported."""
    with TaskGroup("digits", "sweep") as group:
        study = study_of()
        assert group.objective(lambda trial: result)(study.ask()) is result
        study.optimize(group.objective(lambda trial: result), n_trials=1)
    assert study.trials[1].state.name == "FAIL"
    for status, told in ends(backend).values():
        assert status == "failed"
        assert reason in told
    assert backend.members[0].single_values == {}


def test_infinity_is_optunas_to_take(backend: MemoryStore) -> None:
    """An infinite value is complete for Optuna; the task leaves it out, and says so once."""
    with TaskGroup("digits", "sweep") as group:
        study = study_of()
        with pytest.warns(NonFiniteWarning, match="inf"):
            study.optimize(group.objective(lambda trial: math.inf), n_trials=1)
    assert study.best_value == math.inf
    assert ends(backend)["trial-0000"] == ("completed", "")


def test_infinity_where_the_group_raises(backend: MemoryStore) -> None:
    """With nonfinite="raise" it is an error that Optuna is given, and the task is failed."""
    with TaskGroup("digits", "sweep", nonfinite="raise") as group:
        with pytest.raises(NonFiniteError):
            study_of().optimize(group.objective(lambda trial: math.inf), n_trials=1)
    assert ends(backend)["trial-0000"][0] == "failed"


def test_ctrl_c(backend: MemoryStore) -> None:
    """A KeyboardInterrupt stops the trial's task, the study and the group."""

    def fn(trial: Any) -> float:
        if trial.number == 1:
            raise KeyboardInterrupt
        return 0.0

    study = study_of()
    with pytest.raises(KeyboardInterrupt):
        with TaskGroup("digits", "sweep") as group:
            study.optimize(group.objective(fn), n_trials=5, catch=(Exception,))
    assert ends(backend) == {"trial-0000": ("completed", ""), "trial-0001": ("stopped", "KeyboardInterrupt")}
    assert parent_of(backend).status == "stopped"
    assert parent_of(backend).params["best/trial"] == 0


@pytest.mark.parametrize("error", [None, optuna.TrialPruned("early"), ValueError("bad")])
def test_a_with_block_inside(backend: MemoryStore, error: Exception | None) -> None:
    """`with task:` inside an objective, as in a sweep, takes nothing from Optuna and ends nothing."""

    def fn(trial: Any, task: GroupTask) -> float:
        with task:
            if error is not None:
                raise error
        assert task.status == "in_progress"
        return 3.0

    with TaskGroup("digits", "sweep", catch=Exception) as group:
        study = study_of()
        study.optimize(group.objective(fn), n_trials=1, catch=(ValueError,))
    states = {type(None): "COMPLETE", optuna.TrialPruned: "PRUNED", ValueError: "FAIL"}
    assert study.trials[0].state.name == states[type(error)]
    statuses = {"COMPLETE": "completed", "PRUNED": "stopped", "FAIL": "failed"}
    assert backend.members[0].status == statuses[states[type(error)]]
    assert backend.members[0].single_values == ({"objective/value": 3.0} if error is None else {})


def test_the_objectives_own_word_stands(backend: MemoryStore) -> None:
    """A task that the objective ends by a word of its own stays as it was ended."""

    def fn(trial: Any, task: GroupTask) -> float:
        task.mark_stopped("good enough")
        trial.suggest_float("x", 0, 1)
        trial.report(0.5, 1)
        return 0.5

    with TaskGroup("digits", "sweep") as group:
        study = study_of()
        study.optimize(group.objective(fn), n_trials=1)
    assert ends(backend) == {"trial-0000": ("stopped", "good enough")}
    assert study.best_value == 0.5


def test_a_study_that_stops_itself(backend: MemoryStore) -> None:
    """`trial.study.stop()` and callbacks work as ever; there is no task without a trial."""

    def fn(trial: Any) -> float:
        if trial.number == 2:
            trial.study.stop()
        return 0.0

    called = []
    with TaskGroup("digits", "sweep") as group:
        study = study_of()
        callbacks = [lambda study, trial: called.append(trial.number)]
        study.optimize(group.objective(fn), n_trials=9, callbacks=callbacks)
    assert (len(backend.members), called) == (3, [0, 1, 2])


def test_after_the_group_has_ended(backend: MemoryStore) -> None:
    """An objective outlives its group only as an error."""
    with TaskGroup("digits", "sweep") as group:
        objective = group.objective(parabola)
    with pytest.raises(GroupStateError, match="has been closed"):
        study_of().optimize(objective, n_trials=1)


def test_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the mode `disabled` the study runs as it is."""
    with TaskGroup("digits", "sweep", mode="disabled") as group:
        study = study_of()
        study.optimize(group.objective(parabola), n_trials=2)
        assert group.parent_id is None
    assert len(study.trials) == 2


# --- names -------------------------------------------------------------------------------------


def test_the_value_has_the_name_that_it_is_given(backend: MemoryStore) -> None:
    """`metric=` and context say what the value is; a field that is left is `value`."""
    with TaskGroup("digits", "sweep", template="{metric}/{split}/{fold}") as group:
        study_of().optimize(group.objective(parabola_alone, metric="loss", split="val"), n_trials=1)
    with TaskGroup("digits", "sweep", template="{metric}/{split}/{fold}") as group:
        study_of().optimize(group.objective(parabola_alone), n_trials=1)
    names = [list(task.single_values) for task in backend.members]
    assert names == [["loss/val/value"], ["objective/value/value"]]


def parabola_alone(trial: Any) -> float:
    """Something to minimize that reports nothing by itself."""
    return float(trial.suggest_float("x", -1, 1) ** 2)


def test_the_studys_own_metric_names(backend: MemoryStore) -> None:
    """Where the study has names for its values, they are taken; several values have one each."""
    plain, named, other = (study_of("minimize", "maximize") for _ in range(3))
    with warnings.catch_warnings():  # Optuna's, that this part of it is new
        warnings.simplefilter("ignore")
        named.set_metric_names(["loss", "accuracy"])
    for study, metric in ((plain, None), (named, None), (other, ["a", "b"])):
        with TaskGroup("digits", "sweep") as group:
            study.optimize(group.objective(lambda trial: (0.25, 0.75), metric=metric), n_trials=1)
    assert [task.single_values for task in backend.members] == [
        {"objective_0/value": 0.25, "objective_1/value": 0.75},
        {"loss/value": 0.25, "accuracy/value": 0.75},
        {"a/value": 0.25, "b/value": 0.75},
    ]


def test_a_direction_against_the_vocabulary_is_told_once(backend: MemoryStore) -> None:
    """A study that minimizes what is better when greater is warned of, once, with both words."""
    metrics = [Metric("accuracy", aliases=["acc"], mode="max"), Metric("loss", mode="min"), Metric("time")]
    with TaskGroup("digits", "trials", metrics=metrics) as group:
        study, objective = study_of(study_name="mine"), group.objective(lambda trial: 0.5, metric="acc")
        with pytest.warns(TaskGroupWarning) as warned:
            study.optimize(objective, n_trials=3, n_jobs=2)
        (told,) = [str(one.message) for one in warned if one.category is TaskGroupWarning]
        assert "'mine' is to minimize 'accuracy'" in told
        assert "Metric('accuracy', mode='max')" in told
        several = study_of("maximize", "minimize", "minimize", study_name="several")
        several.optimize(group.objective(lambda trial: (1, 2, 3), metric=["acc", "loss", "time"]), n_trials=1)
        study_of("maximize").optimize(objective, n_trials=1)


def test_names_that_cannot_be_are_told_at_once(backend: MemoryStore) -> None:
    """A metric that the vocabulary lacks and a context that the template lacks cost no trial."""
    metrics = [Metric("loss", aliases={"val_loss": {"split": "val"}}, mode="min")]
    with TaskGroup("digits", "sweep", template="{metric}/{split}", metrics=metrics) as group:
        with pytest.raises(UnknownMetricError):
            group.objective(parabola_alone, metric="los")
        with pytest.raises(UnknownFieldError):
            group.objective(parabola_alone, metric="loss", fold=1)
        with pytest.raises(UnknownMetricError, match="'objective'"):
            group.objective(parabola_alone)(study_of().ask())
        with pytest.raises(ArgumentError, match="2 names"):
            group.objective(parabola_alone, metric="loss")(study_of("minimize", "minimize").ask())
        assert backend.members == []
        study = study_of()
        study.optimize(group.objective(parabola_alone, metric="val_loss"), n_trials=2)
        assert group.results().best("loss").value == study.best_value
    assert list(backend.members[0].single_values) == ["loss/val"]


# --- the best ----------------------------------------------------------------------------------


def test_the_best_is_on_the_parent(backend: MemoryStore) -> None:
    """The parent has the best trial's number, value and parameters, while the study runs and after."""
    seen = []

    def fn(trial: Any) -> float:
        seen.append(dict(parent_of(backend).params))
        kind = trial.suggest_categorical("kind", ["a", "b"])
        trial.suggest_int(f"only {kind}", 0, 9)
        return float([3, 1, 2, 0][trial.number])

    with TaskGroup("digits", "sweep") as group:
        study = study_of()
        for kind in "abba":
            study.enqueue_trial({"kind": kind})
        study.optimize(group.objective(fn), n_trials=4)
    assert [params.get("best/trial") for params in seen] == [None, 0, 1, 1]
    best = parent_of(backend).params
    params = study.best_params
    assert best == {
        "best/trial": 3,
        "best/value": 0.0,
        "best/params/kind": "a",
        "best/params/only a": params["only a"],
        "best/params/only b": None,
    }


def test_the_best_of_several_directions(backend: MemoryStore) -> None:
    """With several directions the parent has the numbers of the trials that nothing beats."""
    values = [(1, 5), (2, 2), (3, 3), (5, 1)]
    with TaskGroup("digits", "sweep") as group:
        study = study_of("minimize", "minimize")
        study.optimize(group.objective(lambda trial: values[trial.number]), n_trials=4)
    assert parent_of(backend).params == {"best/trials": [0, 1, 3]}


def test_no_best(backend: MemoryStore) -> None:
    """A study without a completed trial leaves the parent alone."""
    with TaskGroup("digits", "sweep") as group:
        study_of().optimize(group.objective(lambda trial: math.nan), n_trials=1)
        study_of("minimize", "minimize").optimize(group.objective(lambda trial: math.nan), n_trials=1)
    assert parent_of(backend).params == {}


def test_the_parent_is_a_main_task(tmp_path: Path) -> None:
    """Beside `Task.init` the best is on that task, together with its own parameters."""
    source = """
import optuna
from clearml import Task
from clearml_taskgroup import TaskGroup

Task.set_offline(True)
main = Task.init("project", "main task", auto_connect_frameworks=False, auto_resource_monitoring=False)
main.set_parameter("General/mine", 1)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    with TaskGroup("project", "group", provenance=False) as group:
        study = optuna.create_study()
        study.optimize(group.objective(lambda trial: trial.suggest_float("x", 0, 1)), n_trials=2)
main.set_parameter("General/later", 2)
folder = main.get_offline_mode_folder()
main.close()  # until then a thread of ClearML's writes the file, too
data = json.loads((folder / "task.json").read_text())
give([{name: item["value"] for name, item in data["hyperparams"]["General"].items()}, study.best_value])
"""
    params, best = run(textwrap.dedent(source), tmp_path).result
    assert (params["mine"], params["later"], float(params["best/value"])) == ("1", "2", best)
    assert float(params["best/params/x"]) == best


# --- storages and resume -----------------------------------------------------------------------


@pytest.fixture(params=["offline", "online"])
def place(request: pytest.FixtureRequest) -> Place:
    """A place for groups, offline or on a loopback server."""
    return Place(request.getfixturevalue("loopback") if request.param == "online" else None)


@pytest.fixture(params=["sqlite", "journal"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """Loads a study from one of Optuna's storages, or begins it; closes the storages at the end."""
    storages: list[Any] = []

    def load() -> Any:
        if request.param == "sqlite":
            storages.append(optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}"))
        else:
            journal = optuna.storages.journal.JournalFileBackend(str(tmp_path / "study.log"))
            storages.append(optuna.storages.JournalStorage(journal))
        return study_of(study_name="mine", storage=storages[-1], load_if_exists=True)

    yield load
    for storage in storages:
        storage.remove_session()
        if request.param == "sqlite":
            storage.engine.dispose()


def various(trial: Any) -> float:
    """Ends in a different way for each of the first four trials."""
    x = float(trial.suggest_float("x", 0, 1))
    if trial.number == 1:
        raise optuna.TrialPruned
    if trial.number == 2:
        raise RuntimeError("a bad node")
    return x


@pytest.mark.quick(1)
def test_resume_with_optunas_own_storage(place: Place, stored: Callable[[], Any]) -> None:
    """The numbers go on, earlier trials are there as they ended, and none is run again."""
    with place.group() as group:
        first = stored()
        first.optimize(group.objective(various), n_trials=3, catch=(RuntimeError,))
        ids = [task.id for task in group]
        parent = group.parent_id
    with place.resume() as group:
        study = stored()
        study.optimize(group.objective(various), n_trials=2)
        assert group.parent_id == parent
        tasks = sorted(group, key=lambda task: task.index)
        assert [str(task) for task in tasks] == [f"mine-trial-{number:04}" for number in range(5)]
        assert [task.status for task in tasks] == [
            "completed",
            "stopped",
            "failed",
            "completed",
            "completed",
        ]
        assert [task.id for task in tasks[:3]] == ids
        assert [task.done for task in tasks] == [True, False, False, False, False]
        rows = group.results()
    assert [row.params for row in rows] == [trial.params for trial in study.trials]
    assert rows.best("objective", mode="min").value == study.best_value
    assert [attempt for _, attempt, _ in place.attempts()] == [1] * 5
    if place.server is not None:
        told = only(originals(place.server, "parent"))["hyperparams"]["General"]
        assert float(told["mine/best/value"]["value"]) == study.best_value
        general = [doc["hyperparams"]["General"] for doc in originals(place.server)]
        assert [float(section["x"]["value"]) for section in general] == [t.params["x"] for t in study.trials]


def test_an_interrupted_trial_is_enqueued_again(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """As the guide says: it is failed in the study, and its parameters run as a new trial of a new task."""

    def fn(trial: Any) -> float:
        x = float(trial.suggest_float("x", 0, 1))
        if trial.number == 1:
            raise KeyboardInterrupt
        return x

    study = study_of(study_name="mine")
    with place.group() as group, pytest.raises(KeyboardInterrupt):
        study.optimize(group.objective(fn), n_trials=2)
    assert "so far" not in caplog.text
    states = optuna.trial.TrialState.FAIL, optuna.trial.TrialState.RUNNING
    (trial,) = study.get_trials(states=states)
    study.enqueue_trial(trial.params)
    callback = optuna.study.MaxTrialsCallback(4, states=None)
    with place.resume() as group:
        study.optimize(group.objective(fn), callbacks=[callback])
        statuses = {str(task): task.status for task in group}
    assert list(statuses.values()) == ["completed", "stopped", "completed", "completed"]
    assert study.trials[2].params == study.trials[1].params
    assert caplog.messages.count("the study 'mine' goes on: 2 trials so far, 1 of them completed") == 1


@pytest.mark.parametrize("name", ["mine", None])
def test_a_study_that_begins_anew_is_told(place: Place, name: str | None) -> None:
    """A run that goes on while its study does not is an error that says what to keep."""
    with place.group() as group:
        study_of(study_name=name).optimize(group.objective(parabola_alone), n_trials=1)
    with place.resume() as group:
        with pytest.raises(GroupStateError, match=r"completed trial 0 of the study .*storage="):
            study_of(study_name=name).optimize(group.objective(parabola_alone), n_trials=1)
    assert [status for *_, status in place.attempts()] == ["completed"]


def test_a_retried_trial_is_a_task_of_its_own(tmp_path: Path, backend: MemoryStore) -> None:
    """What Optuna's retry callback enqueues again has a number, and so a task, of its own."""
    storages = optuna.storages  # the name changed in Optuna 4.9
    kind = getattr(storages, "RetryHeartbeatStaleTrialCallback", None) or storages.RetryFailedTrialCallback
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        retry = kind(max_retry=1)
    with TaskGroup("digits", "sweep") as group:
        study = study_of()
        study.optimize(group.objective(various), n_trials=3, catch=(RuntimeError,))
        retry(study, study.trials[2])
        study.optimize(group.objective(various), n_trials=1)
    assert study.trials[3].params == study.trials[2].params
    assert [task.status for task in backend.members] == ["completed", "stopped", "failed", "completed"]
    assert backend.members[3].params == backend.members[2].params


def test_the_best_is_online_while_the_study_runs(place: Place) -> None:
    """Parameters and best are where a person looks for them, in both modes, before the end."""
    if place.server is None:
        pytest.skip("only a server shows what is written while the run is open")
    server = place.server

    def fn(trial: Any) -> float:
        x = float(trial.suggest_float("x", 0, 1))
        assert float(originals(server)[-1]["hyperparams"]["General"]["x"]["value"]) == x
        return x

    with place.group() as group:
        study = study_of()
        study.optimize(group.objective(fn), n_trials=2)
        best = only(originals(server, "parent"))["hyperparams"]["General"]["best/value"]["value"]
        assert float(best) == study.trials[0].value
    statuses = [doc["status"] for doc in originals(server)]
    assert statuses == ["completed", "completed"]


KILLED = """
import optuna
optuna.logging.set_verbosity(optuna.logging.CRITICAL)
study = optuna.create_study(study_name="mine", storage="sqlite:///study.db", load_if_exists=True)

def fn(trial, task):
    x = trial.suggest_float("x", 0, 1)
    if trial.number == 2:
        print("here", flush=True)
        sys.stdin.readline()
    return x

with offline(resume=True) as group:
    study.optimize(group.objective(fn), n_trials=4)
    print(*(f"{task}:{task.status}" for task in sorted(group, key=str)), flush=True)
"""


@pytest.mark.slow
def test_a_killed_study_goes_on(tmp_path: Path) -> None:
    """After a SIGKILL the rerun script goes on with the next number; the dead trial is stopped."""
    first = start_script(KILLED, tmp_path)
    assert line_of(first) == "here"
    first.send_signal(signal.SIGKILL)
    finished(first, tmp_path)
    second = finished(start_script(KILLED, tmp_path), tmp_path)
    assert second.code == 0, second.err
    told = ["completed"] * 2 + ["stopped"] + ["completed"] * 4
    expected = " ".join(f"mine-trial-{number:04}:{status}" for number, status in enumerate(told))
    assert second.out.strip() == expected


# --- several processes -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_processes_that_share_a_run_and_a_study(mode: str, request: pytest.FixtureRequest) -> None:
    """Trials have one number each over all processes; every process knows all, and the best of all."""
    server = request.getfixturevalue("loopback") if mode == "online" else None
    storage = optuna.storages.InMemoryStorage()  # here the processes are groups of this one
    groups = [Place(server).open(run="study") for _ in range(2)]
    studies = [study_of(study_name="mine", storage=storage, load_if_exists=True) for _ in groups]
    for _ in range(3):
        for group, study in zip(groups, studies, strict=True):
            study.optimize(group.objective(parabola), n_trials=1)
    for group in groups:
        group.flush()  # how tasks ended is on the server, too
    rows = [group.results() for group in groups]
    assert [row.name for row in rows[0]] == [f"mine-trial-{number:04}" for number in range(6)]
    assert [row.index for row in rows[0]] == list(range(6))
    for trial, first, second in zip(studies[0].trials, *rows, strict=True):
        assert first.params == second.params == trial.params
        assert first.value("objective") == second.value("objective") == trial.value
    for group in groups:
        group.close()
    if server is not None:
        told = only(originals(server, "parent"))["hyperparams"]["General"]
        assert int(told["mine/best/trial"]["value"]) == studies[0].best_trial.number


def test_the_last_process_corrects_the_best_trial(loopback: LoopbackServer) -> None:
    """Another process may write what was best a moment ago over what is."""
    first, second = Place(loopback).open(run="study"), Place(loopback).open(run="study")
    study = study_of(study_name="mine")
    study.optimize(first.objective(parabola), n_trials=3)
    study.optimize(second.objective(parabola), n_trials=1)
    first.close()
    run = second._opened()
    run.set_parent_parameters({"mine/best/trial": 77})  # as the other process, late
    second.close()
    told = only(originals(loopback, "parent"))["hyperparams"]["General"]
    assert int(told["mine/best/trial"]["value"]) == study.best_trial.number


def test_processes_with_a_study_each_are_refused(tmp_path: Path) -> None:
    """Studies in memory give the same numbers to different trials."""
    first, second = Place().open(run="study"), Place().open(run="study")
    for name in (None, "mine"):
        study_of(study_name=name).optimize(first.objective(parabola), n_trials=2)
        with pytest.raises(GroupStateError, match=r"has trial 0 of the study .* give all processes one"):
            study_of(study_name=name).optimize(second.objective(parabola), n_trials=2)
    first.close()
    second.close()
    (statuses,) = {tuple(row.status for row in group.results()) for group in (first, second)}
    assert statuses == ("completed",) * 4


FORKED = """
import optuna
optuna.logging.set_verbosity(optuna.logging.CRITICAL)

def fn(trial, task):
    x = trial.suggest_float("x", 0, 1)
    task.report({"loss": x}, 0)
    if trial.number % 5 == 2:
        raise RuntimeError("no")
    return x

def work(seed):
    backend = optuna.storages.journal.JournalFileBackend("journal")
    study = optuna.create_study(
        study_name="mine", storage=optuna.storages.JournalStorage(backend), load_if_exists=True,
        sampler=optuna.samplers.RandomSampler(seed=seed),
    )
    with offline(run="study", resume=seed > 3) as group:
        study.optimize(group.objective(fn), n_trials=4, catch=(RuntimeError,))
    return study, group

def work_in_children(*seeds):
    children = []
    for seed in seeds:
        child = os.fork()
        if not child:
            work(seed)
            sys.stdout.flush()
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(children)

work_in_children(1, 2, 3)
work_in_children(4, 5)
study, group = work(6)
rows = group.results()
assert [row.name for row in rows] == [f"mine-trial-{n:04}" for n in range(24)], rows
assert [row.params for row in rows] == [trial.params for trial in study.trials]
assert [row.status for row in rows] == ["failed" if n % 5 == 2 else "completed" for n in range(24)]
assert rows.best("objective", mode="min").value == study.best_value
print(study.best_trial.number)
"""


@pytest.mark.slow
def test_forked_processes_on_a_journal(tmp_path: Path) -> None:
    """Three processes, then two that resume, then one more: 24 trials of one study in one run."""
    outcome = run_script(FORKED, tmp_path, options=["-W", "ignore::DeprecationWarning"], timeout=100)
    assert outcome.code == 0, outcome.err
    parents = [s.task for s in outcome.sessions.values() if s.task["type"] == "controller"]
    (told,) = [task["hyperparams"]["General"] for task in parents]
    assert told["mine/best/trial"]["value"] == outcome.out.strip()


def test_an_offline_study_is_uploaded(loopback: LoopbackServer) -> None:
    """Brought to a server, a study's tasks have parameters, statuses and values, the parent the best."""
    with Place().group() as group:
        study = study_of()
        study.optimize(group.objective(various), n_trials=4, catch=(RuntimeError,))
    TaskGroup.upload(group.run)
    docs = originals(loopback)
    assert sorted(doc["status"] for doc in docs) == ["completed", "completed", "failed", "stopped"]
    found = {float(doc["hyperparams"]["General"]["x"]["value"]) for doc in docs}
    assert found == {trial.params["x"] for trial in study.trials}
    told = only(originals(loopback, "parent"))["hyperparams"]["General"]
    assert float(told["best/value"]["value"]) == study.best_value


# --- aborts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("directions", [("minimize",), ("minimize", "maximize")])
@pytest.mark.parametrize("at", ["a report", "Optuna's report", "the end", "a block"])
def test_an_aborted_trial_fails_and_the_study_goes_on(
    backend: MemoryStore, at: str, directions: tuple[str, ...]
) -> None:
    """Its task keeps status and reason."""

    def objective(trial: Any, task: GroupTask) -> Any:
        x = trial.suggest_float("x", -1, 1)
        if trial.number == 1:
            stop(task)
            if at == "a report":
                task.report({"loss": x}, 0, split="val")
            elif at == "Optuna's report" and len(directions) == 1:
                trial.report(x, 0)
            elif at == "a block":
                with task:
                    task.report({"loss": x}, 0, split="val")
        return x if len(directions) == 1 else (x, x)

    with TaskGroup("digits", "sweep") as group:
        study = study_of(*directions)
        study.optimize(group.objective(objective), n_trials=3)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert ends(backend) == {
        "trial-0000": ("completed", ""),
        "trial-0001": ("stopped", "by hand"),
        "trial-0002": ("completed", ""),
    }
    assert not group.failures


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_stopped_parent_ends_the_study(backend: MemoryStore, jobs: int) -> None:
    """The trial that notices it has failed, no other begins, and the group's block goes no further."""

    def objective(trial: Any, task: GroupTask) -> float:
        if trial.number == 1:
            assert group._run is not None
            abort_run(group._run, "by hand")
        return parabola(trial, task)

    study = study_of()
    with TaskGroup("digits", "sweep") as group:
        study.optimize(group.objective(objective), n_trials=20, n_jobs=jobs)
        pytest.fail("the block goes on")
    assert len(study.trials) < 20
    assert {trial.state.name for trial in study.trials} <= {"COMPLETE", "FAIL"}
    assert study.trials[1].state.name == "FAIL"
    assert parent_of(backend).status == "stopped"
    assert ends(backend)["trial-0001"][0] == "stopped"


def test_a_trial_of_a_stopped_group_fails(backend: MemoryStore) -> None:
    study = study_of()
    with TaskGroup("digits", "sweep") as group:
        assert group._run is not None
        abort_run(group._run, "by hand")
        study.optimize(group.objective(parabola), n_trials=3)
    assert [trial.state.name for trial in study.trials] == ["FAIL"]
    assert not backend.members
