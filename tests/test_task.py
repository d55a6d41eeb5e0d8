"""One task: report, bind, name, parameters, finding it again, and how it ends; in memory."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup.errors import (
    ArgumentError,
    DuplicateTaskError,
    GroupStateError,
    MissingFieldError,
    NoCurrentTaskError,
    ParameterError,
    ReportError,
    TaskClosedError,
    UnknownFieldError,
    UnknownTaskError,
)
from clearml_taskgroup.testing import MemoryStore, recording


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


def test_bind_fills_context_in(backend: MemoryStore) -> None:
    """Bound context is as if given; binding again adds; what is given to report goes first."""
    with TaskGroup("digits", "sweep", template="{metric}/{split}-{fold=0}") as group:
        task = group.task({"C": 1})
        val = task.bind(split="val")
        val.report({"loss": 1.0}, 1)
        val.bind(fold=3).report({"loss": 2.0}, 1)
        val.bind(split="test").report({"loss": 3.0}, 1)
        val.report({"loss": 4.0}, 1, split="train", fold=1)
        val.report({"loss": 5.0}, 2)
        assert (val.task, repr(val)) == (task, "<C=1 bound to split='val'>")
    assert backend.members[0].scalars == {
        ("loss", "val-0"): [(1, 1.0), (2, 5.0)],
        ("loss", "val-3"): [(1, 2.0)],
        ("loss", "test-0"): [(1, 3.0)],
        ("loss", "train-1"): [(1, 4.0)],
    }


def test_a_bound_dict_stays_the_users(task: GroupTask) -> None:
    """A view keeps its own copy of what was bound."""
    context = {"split": "val"}
    view = task.bind(**context)
    context["split"] = "test"
    assert tuple(view.metric("loss")) == ("loss", "val")


def test_bind_checks_at_once(task: GroupTask) -> None:
    """Context that the template has no field for is told where it is bound."""
    with pytest.raises(UnknownFieldError, match="'fold'"):
        task.bind(fold=1)
    with pytest.raises(UnknownFieldError, match="'fold'"):
        task.bind(split="val").bind(fold=1)


def test_a_view_is_for_reporting_only(task: GroupTask) -> None:
    """A view has no status of its own; it reports to its task, until that ends."""
    view = task.bind(split="val")
    task.close()
    with pytest.raises(TaskClosedError):
        view.report({"loss": 1.0}, 1)


def test_a_name_is_plain_text(task: GroupTask) -> None:
    assert (task.name, type(task.name), str(task)) == ("C=1,seed=0", str, "C=1,seed=0")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("report_scalar", r"write task\.report\(\{'loss': 0\.3\}, iteration, split='val'\)"),
        ("report_image", r"write task\.metric\('name', split='val'\)\.report_image\(…\)"),
        ("get_logger", r"its logger is task\.logger"),
        ("upload_artifact", r"task\.clearml_task\.upload_artifact\(…\)"),
        ("connect", r"task\.set_parameters\(.*task\.clearml_task\.connect\(…\)"),
        ("add_tags", r"tags=\[…\]"),
    ],
)
def test_clearmls_names_on_a_task(task: GroupTask, name: str, advice: str) -> None:
    """An attribute of ClearML's task or logger does not exist, and the error says what to write."""
    for one in (task, task.bind(split="val")):
        with pytest.raises(AttributeError, match=f"object has no attribute '{name}'; .*{advice}"):
            getattr(one, name)
    with pytest.raises(
        AttributeError, match=r"'BoundTask' .* 'status'; the task that is bound has it: \.task\.status"
    ):
        task.bind(split="val").status  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match=r"has no attribute '_repr_latex_'$"):
        task._repr_latex_  # type: ignore[attr-defined]  # noqa: B018


def test_all_of_clearmls_names_on_a_task(task: GroupTask) -> None:
    """Where clearml is imported, the error of its other names says where ClearML's object is."""
    clearml = pytest.importorskip("clearml")
    for owner in (clearml.Task, clearml.Logger):
        for name in vars(owner):
            if not name.startswith("_") and not hasattr(task, name):
                with pytest.raises(AttributeError, match="; ") as raised:
                    getattr(task, name)
                assert len(str(raised.value)) <= 500
    with pytest.raises(AttributeError, match=r"ClearML's own is task\.clearml_task\.set_comment"):
        task.set_comment  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("bound", [False, True])
def test_a_report_in_the_form_of_another_library(task: GroupTask, bound: bool) -> None:
    """Name, value and step one after another are refused with the form that `report` has."""
    one = task.bind(split="val") if bound else task
    for given in [("acc",), ("acc", 0.9), ("acc", 0.9, 3), ("acc", 0.9, 3, "val")]:
        with pytest.raises(ReportError, match=r"was given 'acc', a str; it takes a dict.*'loss': 0\.3"):
            one.report(*given)  # type: ignore[call-overload]
    with pytest.raises(ReportError, match=r"was given 'val' after the dict and the iteration.*split='val'"):
        one.report({"acc": 0.9}, 3, "val")  # type: ignore[call-overload]


def test_what_a_task_says_of_itself(group: TaskGroup, backend: MemoryStore) -> None:
    """Key, index, attempt, id, parameters, tags and status can be read; the repr is one line."""
    task = group.task({"C": np.float64(0.5), "model": {"depth": 3}}, tags=["a"])
    assert (task.index, task.attempt, task.tags, task.url) == (0, 1, ("a",), None)
    assert task.params == {"C": 0.5, "model/depth": 3}
    assert backend.tasks[task.id].key == task.key
    assert repr(task) == f"<GroupTask 'C=0.5,model/depth=3' key={task.key} in_progress>"


def test_params_are_a_copy(task: GroupTask) -> None:
    """What a script does to the dict of parameters changes nothing of the task."""
    params = task.params
    assert type(params) is dict
    params.pop("C")
    params["seed"] = 7
    assert task.params == {"C": 1, "seed": 0}


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


def test_get_finds_a_task_by_parameters_key_or_name(group: TaskGroup) -> None:
    """As many parameters as tell the task from the others are enough; equal values match."""
    space = {"C": [1, 10], "model": [{"depth": 3}, {"depth": 4}]}
    tasks = group.tasks(space)
    extra = group.task(name="baseline")
    assert group.get(C=1.0, model={"depth": np.int64(4)}) is tasks[1]
    assert group.get({"C": 10, "model/depth": 3}) is tasks[2]
    assert group.get(name="baseline") is group.get(key="baseline") is extra
    assert group.get(key=tasks[3].key) is tasks[3]
    assert (len(group), list(group)) == (5, [*tasks, extra])
    tasks[0].set_parameters({"found": 7})
    assert group.get(found=7) is tasks[0]


def test_get_finds_none_or_many(group: TaskGroup) -> None:
    """None and several are errors that name what there is, or what matches."""
    with pytest.raises(UnknownTaskError, match="no tasks yet"):
        group.get(C=1)
    group.tasks({"C": [1, 10], "seed": [0, 1]})
    with pytest.raises(UnknownTaskError, match="2 tasks match C=1: C=1,seed=0, C=1,seed=1"):
        group.get(C=1)
    with pytest.raises(UnknownTaskError, match="no task matches C=3; the group has: C=1,seed=0"):
        group.get(C=3)
    with pytest.raises(UnknownTaskError, match="no task matches C='1'"):
        group.get(C="1")
    with pytest.raises(UnknownTaskError, match="no task matches c=1"):
        group.get(c=1)
    with pytest.raises(UnknownTaskError, match="4 tasks match no parameters"):
        group.get()


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


def test_copies_are_the_task_itself(task: GroupTask, backend: MemoryStore) -> None:
    """Whatever holds a task may be copied: trainers are, by frameworks, in the middle of the training."""
    holder: dict[str, Any] = {"task": task, "bound": task.bind(split="val"), "metric": task.metric("loss")}
    for copied in (copy.copy, copy.deepcopy):
        for again in (copied(holder), {name: copied(one) for name, one in holder.items()}):
            assert again["task"] is task
            assert again["bound"].task is task
            assert again["metric"] == task.metric("loss")
    copy.deepcopy(holder)["bound"].report({"loss": 1.0}, 1)
    assert scalars(task, backend) == {("loss", "val"): [(1, 1.0)]}


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


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("log_artifact", "upload_artifact"),
        ("log_params", "task.set_parameters({'name': value})"),
        ("log_figure", "report_matplotlib_figure(…)"),
        ("log_image", "report_image(…)"),
        ("log_model", "OutputModel(task.clearml_task)"),
        ("set_tag", "tags=[…]"),
        ("config", "task.params"),
        ("summary", "without an iteration"),
        ("finish", "task.mark_completed()"),
        ("get_name", "it is task.name"),
    ],
)
def test_other_trackers_names(task: GroupTask, name: str, advice: str) -> None:
    """The error of an attribute that other trackers have says what to write."""
    with pytest.raises(AttributeError) as caught:
        getattr(task, name)
    assert f"no attribute {name!r}; " in str(caught.value)
    assert advice in str(caught.value)


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


def test_the_current_task_can_be_required() -> None:
    for current, what in ((GroupTask.current, "task"), (TaskGroup.current, "group")):
        assert current() is None
        with pytest.raises(
            NoCurrentTaskError, match=rf"no current {what} here.*with {what}\.activate\(\)"
        ) as raised:
            current(required=True)
        assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
    with recording(), TaskGroup("digits", "current") as group, group.task({"C": 1}) as task:
        assert GroupTask.current(required=True) is task
        assert TaskGroup.current(required=True) is group
        found: list[object] = []

        def work() -> None:
            try:
                GroupTask.current(required=True)
            except NoCurrentTaskError as error:
                found.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert len(found) == 1
