"""One task: reports, parameters, and how it ends; in memory."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._clearml.agent_task import AgentTask
from clearml_taskgroup._clearml.events import FIRST_ITERATION, LAST_ITERATION
from clearml_taskgroup._model.report_values import MAX_STORED_NUMBER
from clearml_taskgroup.errors import (
    ArgumentError,
    DuplicateTaskError,
    GroupStateError,
    LostPointsWarning,
    MissingFieldError,
    ParameterError,
    TaskClosedError,
    UnknownFieldError,
    UnknownTaskError,
)
from clearml_taskgroup.testing import MemoryStore


class Unprintable:
    """A value whose class writes no text of it."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


ODD: list[Any] = [3, 10**5000, [[1]], np.array(1.0), Unprintable()]


@pytest.fixture
def task(group: TaskGroup) -> GroupTask:
    """An open task of two parameters."""
    return group.task({"C": 1, "seed": 0})


def scalars(task: GroupTask, backend: MemoryStore) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """What a task has logged so far."""
    task.flush()
    return backend.tasks[task.id].scalars


def test_the_simplest_report_just_works(task: GroupTask, backend: MemoryStore) -> None:
    """With the default template a report needs neither context nor bind."""
    task.report({"loss": 0.3, "acc": 1}, 1)
    task.report({"loss": 0.2}, iteration=2, split="val")
    assert scalars(task, backend) == {
        ("loss", "value"): [(1, 0.3)],
        ("acc", "value"): [(1, 1.0)],
        ("loss", "val"): [(2, 0.2)],
    }


def test_one_plot_per_metric_with_a_curve_per_task(backend: MemoryStore) -> None:
    """`task_{task}_{metric}` names the curve after the task and the plot after the metric."""
    with TaskGroup("digits", "sweep", template="task_{task}_{metric}") as group:
        for task in group.tasks({"C": [1, 2]}):
            task.report({"loss": 0.5}, 1)
    assert [list(member.scalars) for member in backend.members] == [
        [("loss", "task_C=1_loss")],
        [("loss", "task_C=2_loss")],
    ]


def test_tasks_do_not_share_names_or_values(group: TaskGroup, backend: MemoryStore) -> None:
    """The same metric of two tasks is two curves, one in each ClearML task."""
    first, second = group.tasks({"C": [1, 2]})
    for step in range(3):
        first.report({"loss": 1.0}, step)
        second.report({"loss": 2.0}, step)
    assert scalars(first, backend) == {("loss", "value"): [(0, 1.0), (1, 1.0), (2, 1.0)]}
    assert scalars(second, backend) == {("loss", "value"): [(0, 2.0), (1, 2.0), (2, 2.0)]}


def test_context_and_template_must_match(backend: MemoryStore) -> None:
    """A missing field and an unknown one are errors also after names have been cached."""
    with TaskGroup("digits", "sweep", template="{metric}/{split}") as group:
        task = group.task({"C": 1})
        for _ in range(2):
            task.report({"loss": 1.0}, 1, split="val")
            with pytest.raises(MissingFieldError, match="needs 'split'"):
                task.report({"loss": 1.0}, 1)
            with pytest.raises(UnknownFieldError, match="'fold'"):
                task.report({"loss": 1.0}, 1, split="val", fold=1)
    assert backend.members[0].scalars == {("loss", "val"): [(1, 1.0), (1, 1.0)]}


def test_an_empty_report(task: GroupTask, backend: MemoryStore) -> None:
    task.report({}, 1)
    assert scalars(task, backend) == {}


def test_set_parameters(task: GroupTask, backend: MemoryStore) -> None:
    """Parameters that turn up later are added on one level, and leave the identity as it is."""
    key = task.key
    task.set_parameters({"found": {"depth": 3}, "C": 1.0})
    assert task.params == {"C": 1.0, "seed": 0, "found/depth": 3}
    assert task.key == key
    assert backend.tasks[task.id].hyperparameters["General"]["found/depth"] == "3"
    task.set_parameters({"found/depth": 4})
    assert task.params["found/depth"] == 4


@pytest.mark.parametrize("value", [2, "1", None, [1]])
def test_the_identity_cannot_be_set(task: GroupTask, backend: MemoryStore, value: Any) -> None:
    """A parameter that makes the task what it is keeps its value; nothing of the call is set."""
    with pytest.raises(ParameterError, match="'C' is 1 in this task's identity"):
        task.set_parameters({"new": 1, "C": value})
    assert task.params == {"C": 1, "seed": 0}
    assert "new" not in backend.tasks[task.id].params


def test_set_parameters_of_an_ended_task(task: GroupTask) -> None:
    task.close()
    with pytest.raises(TaskClosedError):
        task.set_parameters({"a": 1})


@pytest.mark.parametrize("count", [0, 1, 100])
def test_reprs_of_groups(backend: MemoryStore, count: int) -> None:
    """A group's repr is one line, whatever it holds: project, name, state, how many tasks."""
    group = TaskGroup("digits", "sweep")
    assert repr(group) == "<TaskGroup 'digits' 'sweep' not open, 0 tasks>"
    with group:
        if count:
            group.tasks([{"C": C} for C in range(count)])
        assert repr(group).startswith(f"<TaskGroup 'digits' 'sweep' open, {count} task")
    assert " closed, " in repr(group)


def test_a_task_that_has_ended_takes_no_data(group: TaskGroup, backend: MemoryStore) -> None:
    """Reporting after the end is an error with the status, not a point that gets lost."""
    task = group.task({"C": 1})
    with task:
        task.report({"loss": 1.0}, 1)
    for status, end in (("completed", None), ("failed", "mark_failed"), ("stopped", "mark_stopped")):
        if end is not None:
            task = group.task(name=status)
            getattr(task, end)("because")
            assert task.status_reason == "because"
        with pytest.raises(TaskClosedError, match=rf"has ended \({status}\)") as caught:
            task.report({"loss": 2.0}, 2)
        assert "group.sweep" not in str(caught.value)
        assert task.status == backend.tasks[task.id].status == status
    assert backend.members[0].scalars == {("loss", "value"): [(1, 1.0)]}


def test_a_listed_sweep_is_a_trap_that_is_named(group: TaskGroup) -> None:
    """`list(group.sweep(…))` gives ended tasks, and reporting to one says so."""
    tasks = list(group.sweep({"C": [1, 2]}))
    with pytest.raises(TaskClosedError, match=r"list\(group\.sweep\(…\)\).*use group\.tasks\(…\)"):
        tasks[0].report({"loss": 1.0}, 1)


def test_clearmls_own_objects_in_memory(task: GroupTask) -> None:
    """In memory, ClearML's own objects take every call, so that scripts run unchanged."""
    task.metric("roc").report_plotly(iteration=3, figure=None)
    task.clearml_task.upload_artifact("a", artifact_object={})
    assert not task.clearml_task


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda group, odd: group.get(odd), "params"),
        (lambda group, odd: group.get(key=odd), "key"),
        (lambda group, odd: group.get(name=odd), "name"),
        (lambda group, odd: group.task({"C": 2}).mark_failed(odd), "status_reason"),
        (lambda group, odd: group.task({"C": 2}).mark_stopped(odd), "status_reason"),
        (lambda group, odd: group.task({"C": 2}).summary_writer(odd), "context"),
        (lambda group, odd: group.task({"C": 2}).summary_writer().add_scalar(odd, 1.0, 1), "tag"),
        (
            lambda group, odd: group.task({"C": 2}).summary_writer().add_scalars("a", odd, 1),
            "tag_scalar_dict",
        ),
        (lambda group, odd: group.results().to_csv(odd), "path"),
        (lambda group, odd: group.results().save_html(odd), "path"),
        (lambda group, odd: TaskGroup.upload(odd), "run"),
    ],
)
@pytest.mark.parametrize(
    "odd", [3, 10**5000, [[1]], np.array(1.0), Unprintable()], ids=lambda odd: type(odd).__name__
)
def test_odd_arguments_are_named(group: TaskGroup, call: Any, argument: str, odd: Any) -> None:
    """Whatever is given in place of text, a dict or a path: one error of the package says which argument."""
    with pytest.raises(ArgumentError, match=f"^{argument}=.* was given; expected ") as raised:
        call(group, odd)
    assert len(str(raised.value)) <= 500


def test_what_belongs_to_a_process_is_not_copied(group: TaskGroup) -> None:
    for one in (group, group.sweep({"C": [1, 2]}), [group]):
        for copied in (copy.deepcopy, pickle.dumps):
            with pytest.raises(GroupStateError, match="'sweep' stays in the process that opened it"):
                copied(one)


def test_true_is_not_one(group: TaskGroup) -> None:
    """A task with True is neither found by 1, nor can 1 take the place of its parameter."""
    task = group.task({"flag": True})
    with pytest.raises(UnknownTaskError, match="no task matches"):
        group.get(flag=1)
    with pytest.raises(ParameterError, match="identity"):
        task.set_parameters({"flag": 1})


def test_a_refused_space_takes_no_places(group: TaskGroup) -> None:
    """The points of a space that was refused leave no gap in the index."""
    with pytest.raises(DuplicateTaskError):
        group.tasks([{"D": 1}, {"D": 1}])
    assert group.task({"D": 2}).index == 0


def test_parameters_by_keyword(task: GroupTask) -> None:
    with pytest.raises(ArgumentError, match=r"a dict: set_parameters\(\{'y': 1\}\)"):
        task.set_parameters(y=1)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"a dict: set_parameters\(\{'x': 0, 'y': 1\}\)"):
        task.set_parameters({"x": 0}, y=1)  # type: ignore[arg-type]


# --- messages of their own -----------------------------------------------------------------------


def test_a_block_that_is_entered_a_second_time(group: TaskGroup) -> None:
    for end, advice in (("mark_completed", r"task\.reopen\(\)"), ("mark_failed", r"if_exists='retry'")):
        task = group.task(name=end)
        getattr(task, end)()
        with pytest.raises(TaskClosedError, match=rf"cannot be entered a second time; .*{advice}"), task:
            pass


@pytest.mark.parametrize("call", ["mark_completed", "mark_failed", "mark_stopped"])
def test_a_task_that_is_ended_a_second_time(task: GroupTask, call: str) -> None:
    """The first status stays, and the message is not about reports."""
    task.mark_stopped("pruned")
    with pytest.raises(TaskClosedError, match=rf"has ended as stopped, so {call}\(\) has no effect"):
        getattr(task, call)()
    assert (task.status, task.status_reason) == ("stopped", "pruned")


def test_a_block_of_a_task_that_other_code_ends(group: TaskGroup) -> None:
    """As Optuna's trials; and of one whose block another process has entered, as a forked child's parent."""
    trial, forked = group.tasks({"C": [1, 2]})
    trial._state.ends_elsewhere = True
    with trial:
        pass
    with forked:
        forked._entered_in[-1] = 0
    assert (trial.status, forked.status) == ("in_progress", "in_progress")


def test_dropped_points_are_warned_of_once(task: GroupTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(task._run.reporter), "put", lambda reporter, points: True)
    with pytest.warns(LostPointsWarning, match="the queue is full"):
        task.report({"loss": 1.0}, 1)
    task.report({"loss": 1.0}, 2)  # a warning would be an error here


def test_iterations_beyond_what_a_server_stores(task: GroupTask, backend: MemoryStore) -> None:
    for iteration in (FIRST_ITERATION - 1, LAST_ITERATION + 1):
        with pytest.raises(ArgumentError, match=r"^iteration="):
            task.report({"loss": 1.0}, iteration)
    for iteration in (FIRST_ITERATION, LAST_ITERATION):
        task.report({"loss": 1.0}, iteration)
    assert len(scalars(task, backend)["loss", "value"]) == 2


def test_closing_a_task(group: TaskGroup) -> None:
    """It completes an open one, and leaves the status of one that has ended."""
    first, second = group.tasks({"C": [1, 2]})
    second.mark_failed("bad")
    for task in (first, second):
        task.close()
    assert (first.status, second.status) == ("completed", "failed")


def test_a_task_is_current_within_its_blocks(task: GroupTask) -> None:
    """Also within one of `activate()`, and within blocks of the same task in each other."""
    assert (task._is_in_block, GroupTask.current()) == (False, None)
    with task.activate(), task.activate():
        assert (task._is_in_block, GroupTask.current()) == (True, task)
    with task:
        assert (task._is_in_block, GroupTask.current()) == (True, task)
    assert (task._is_in_block, GroupTask.current()) == (False, None)


def test_a_pickled_task_is_the_same_task() -> None:
    with TaskGroup("digits", "sweep", mode="offline", provenance=False) as group:
        task = group.task({"C": 1})
        assert pickle.loads(pickle.dumps(task)).id == task.id


def test_what_catch_includes_stays_in_the_block(
    backend: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Of several exceptions of one task the first is kept; other exceptions leave it."""
    with TaskGroup("digits", "sweep", catch=LookupError) as group:
        task, other = group.tasks({"C": [1, 2]})
        with task, task:
            raise KeyError("first")
        assert caplog.messages == ["C=1 failed, the loop goes on: KeyError: 'first'"]
        with pytest.raises(ValueError, match="bad") as caught, other:
            raise ValueError("bad")
        assert not hasattr(caught.value, "__notes__")
        task._keep_caught(IndexError("second"), "")
        assert [str(failure.exception) for failure in group.failures] == ["'first'", "bad"]


def test_on_an_agent_nothing_is_caught(backend: MemoryStore) -> None:
    with TaskGroup("digits", "sweep", catch=LookupError) as group:
        task, run = group.task({"C": 1}), group._opened()
        run.agent_task = AgentTask({"id": "1"}, begun=True)
        with pytest.raises(KeyError) as caught, task:
            raise KeyError("bad")
        assert "catch=… lets a loop go on" in caught.value.__notes__[0]
        run.agent_task = None


def test_parameters_that_are_given_again(task: GroupTask, backend: MemoryStore) -> None:
    """Those of the identity must have the same value; in None there are none."""
    task.set_parameters({"C": 1, "lr": 0.1})
    for given in (None, 3, ["lr"]):
        with pytest.raises(ArgumentError, match=r"a dict: set_parameters\(\{'lr': 0.1\}\)"):
            task.set_parameters(given)  # type: ignore[arg-type]
    assert task.params == {"C": 1, "seed": 0, "lr": 0.1}


@pytest.mark.filterwarnings("ignore::clearml_taskgroup.errors.NonFiniteWarning")
def test_values_that_cannot_be_stored(task: GroupTask, backend: MemoryStore) -> None:
    """They are skipped; up to ±3.4e38 they can."""
    most = MAX_STORED_NUMBER
    task.report({"a": float("nan"), "b": most, "c": -most, "d": 1e39, "e": -1e39}, 1)
    assert scalars(task, backend) == {("b", "value"): [(1, most)], ("c", "value"): [(1, -most)]}
    for value in (float("nan"), 1.0):
        task.report({"loss": value, "acc": value})
    (row,) = task.group.results()
    assert (row.value("loss"), row.value("acc")) == (1.0, 1.0)


def test_the_current_task_of_nested_groups(group: TaskGroup) -> None:
    """The iteration of the inner group's sweep, which has no block; without one that of the outer block."""
    with group.task({"C": 1}) as outer, TaskGroup("digits", "inner") as inner:
        assert GroupTask.current() is outer
        for task in inner.sweep({"D": [1, 2]}):
            assert GroupTask.current() is task
            with group.activate():
                assert GroupTask.current() is outer
            with task:
                assert GroupTask.current() is task
        assert GroupTask.current() is outer
