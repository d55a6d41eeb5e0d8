"""What a plan copies and what it leaves alone, by the names of tasks and a vocabulary."""

from __future__ import annotations

import pytest

from clearml_taskgroup import Metric, NameTemplate
from clearml_taskgroup._drift import plan as plan_module
from clearml_taskgroup._drift.plan import (
    TAG,
    Copy,
    Logged,
    Plan,
    close_to_limit,
    copied_names,
    make_plan,
    with_comment,
)
from clearml_taskgroup._model.name_template import Name
from clearml_taskgroup._model.vocabulary import Vocabulary
from clearml_taskgroup.errors import ArgumentError

TEMPLATE = NameTemplate("{metric}/{split=value}")
METRICS = [
    Metric("accuracy", aliases={"acc": {}, "val_acc": {"split": "val"}, "top": {"split": "a-b"}}),
    Metric("loss", aliases=["Loss", "loss/total"]),
]
ACC, ACCURACY = Name("acc", "val"), Name("accuracy", "val")


def planned(*tasks: Logged, template: NameTemplate = TEMPLATE) -> Plan:
    """Plans for some tasks."""
    vocabulary = Vocabulary.of(METRICS, template)
    return make_plan(tasks, vocabulary, template, place="http://there", is_online=True, source="v.py")


def test_what_is_copied_and_what_is_not() -> None:
    """One copy for each name; none to a name that the task has, or that two names would get."""
    plan = planned(
        Logged("1", "one", [ACC, Name("lr", "lr")]),
        Logged("2", "both", [ACC, ACCURACY, Name("Loss", "Loss")]),
        Logged("3", "two", [ACC, Name("val_acc", "val_acc")]),
        Logged("4", "id", [Name("top", "top"), Name("accuracy-a", "b")]),
        Logged("5", "published", [ACC], obstacle="it is published"),
        Logged("6", "fine", [ACCURACY], obstacle="it is published"),
        Logged("7", "curve", [Name("Summary", "acc")], not_single=[Name("Summary", "acc")]),
        Logged("8", "half", [ACC, ACCURACY], tags=["x", TAG + "0123"]),
    )
    assert [(task.name, list(map(str, task.copies))) for task in plan.tasks] == [
        ("one", ["acc/val -> accuracy/val"]),
        ("both", ["Loss -> loss/value"]),
    ]
    why = {left.name: left.why for left in plan.conflicts}
    assert why.keys() == {"both", "two", "id", "curve", "half"}
    assert why["both"] == "it has data under both names"
    assert why["two"] in ("acc/val would get the same name", "val_acc would get the same name")
    assert "under one id, 'accuracy-a-b'" in why["id"]
    assert "a curve under the title of single values" in why["curve"]
    assert why["half"].endswith("if drift-plan:0123 was interrupted, apply that plan again")
    assert [(left.name, left.why) for left in plan.left_alone] == [("published", "it is published")]


def test_a_task_with_as_many_names_as_a_server_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that would have more names than a server keeps is left alone."""
    monkeypatch.setattr(plan_module, "MAX_NAMES_PER_TASK", 20)
    many = [Name(f"metric {number}", "x") for number in range(19)]
    assert planned(Logged("1", "fits", [ACC, *many[:-1]])).tasks
    plan = planned(Logged("1", "full", [ACC, *many]))
    assert plan.tasks == ()
    assert plan.left_alone[0].why == "it would have 21 names, and a server keeps 20"
    assert close_to_limit(many, [Copy(ACC, many[0])]) == ""


def test_the_file_of_a_plan() -> None:
    """It is read back as it was; its id is made from its content, so that an edited one is known."""
    plan = planned(Logged("1", "ä", [ACC]), Logged("2", "both", [ACC, ACCURACY]))
    text = plan.to_json()
    assert Plan.from_json(text, "plan.json") == plan
    assert Plan.from_json(text, "plan.json").id == plan.id
    assert plan.id != planned(Logged("1", "b", [ACC])).id
    with pytest.raises(ArgumentError, match="edited"):
        Plan.from_json(text.replace('"accuracy"', '"loss"', 1), "plan.json")
    with pytest.raises(ArgumentError, match="version 1, not 7"):
        Plan.from_json(text.replace('_plan": 1', '_plan": 7'), "plan.json")


def test_the_comment_of_a_task() -> None:
    """It is appended to, once; from it a later check knows which names were copied."""
    plan = planned(Logged("1", "one", [ACC]))
    copies = plan.tasks[0].copies
    comment = with_comment("mine\n", plan, copies)
    assert comment == f"mine\n\nclearml-taskgroup drift has copied (plan {plan.id}):\nacc/val -> accuracy/val"
    assert with_comment(comment, plan, copies) == comment
    assert with_comment("", plan, copies).startswith("clearml-taskgroup drift has copied")
    names = [ACC, ACCURACY, Name("lr", "lr")]
    assert copied_names(names, [plan.tag], comment) == {ACC}
    assert copied_names(names, ["other"], comment) == set()
    assert copied_names([ACC], [plan.tag], comment) == set()  # the copy was deleted, by a reset
