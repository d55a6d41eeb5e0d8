"""What tasks and their bound views share: the forms of `report` and `metric`, bound context, other names."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup.errors import ReportError, TaskClosedError, UnknownFieldError
from clearml_taskgroup.testing import MemoryStore


@pytest.fixture
def task(group: TaskGroup) -> GroupTask:
    """An open task of two parameters."""
    return group.task({"C": 1, "seed": 0})


def scalars(task: GroupTask, backend: MemoryStore) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """What a task has logged so far."""
    task.flush()
    return backend.tasks[task.id].scalars


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


def test_a_metric_by_position(task: GroupTask) -> None:
    for one in (task, task.bind(split="val")):
        with pytest.raises(ReportError, match=r"given 'val', 3 after .*metric\('roc', split='val'\)"):
            one.metric("roc", "val", 3)  # type: ignore[arg-type]


def test_a_report_of_nothing(task: GroupTask) -> None:
    """Values by keyword are context."""
    with pytest.raises(ReportError, match=r"given no dict of numbers.*what is passed by keyword is context"):
        task.report(loss=1.0)  # type: ignore[call-overload]


def test_bound_context_goes_to_metrics_and_writers(task: GroupTask, backend: MemoryStore) -> None:
    """As with report, what is given replaces what is bound; a view may be pickled with its task."""
    val = task.bind(split="val")
    assert tuple(val.metric("roc")) == ("roc", "val")
    assert tuple(val.metric("roc", split="test")) == ("roc", "test")
    val.summary_writer().add_scalar("loss", 1.0, 1)
    again, (bound, context) = val.__reduce__()
    again(bound, context).report({"loss": 2.0}, 2)
    assert scalars(task, backend) == {("loss", "val"): [(1, 1.0), (2, 2.0)]}
