"""The correct name of each logged name, by a vocabulary and a template."""

from __future__ import annotations

import pytest

from clearml_taskgroup import Metric, NameTemplate
from clearml_taskgroup._drift.correct_names import MAX_REASON_LENGTH, correct_names, fields_of_tasks
from clearml_taskgroup._model.name_template import Name
from clearml_taskgroup._model.vocabulary import Vocabulary

TEMPLATE = NameTemplate("{metric}/{split=value}")
METRICS = [
    Metric("accuracy", aliases={"acc": {}, "val_acc": {"split": "val"}, "top": {"split": "a-b"}}),
    Metric("loss", aliases=["Loss", "loss/total"]),
]
ACC = Name("acc", "val")


@pytest.mark.parametrize(
    ("name", "correct"),
    [
        (("acc", "acc"), ("accuracy", "value")),
        (("acc", "val"), ("accuracy", "val")),
        (("val", "acc"), ("accuracy", "val")),
        (("val_acc", "val_acc"), ("accuracy", "val")),
        (("Loss", "validation"), ("loss", "val")),
        (("loss", "total"), ("loss", "value")),
        (("Summary", "acc"), ("Summary", "accuracy/value")),
        (("Summary", "acc/val"), ("Summary", "accuracy/val")),
        (("accuracy", "val"), None),
        (("loss", "train"), None),
        (("lr", "lr"), None),
        ((":monitor:gpu", "acc"), None),
    ],
)
def test_the_correct_name(name: tuple[str, str], correct: tuple[str, str] | None) -> None:
    """A name is parsed as `drift` does it, then resolved and rendered as in a report."""
    found = correct_names({"task": [name]}, Vocabulary.of(METRICS, TEMPLATE), TEMPLATE)
    assert found.get(Name(*name)) == (None if correct is None else Name(*correct))


def test_names_without_a_correct_one() -> None:
    """What the template cannot give, or ClearML has for itself, is told."""
    for template, why in (
        (NameTemplate("{metric}"), "add {split} to the template"),
        (NameTemplate("{metric}/{split} {fold}"), "fold"),
        (NameTemplate("Summary/{metric} {split=all}"), "one of ClearML's own"),
    ):
        metrics = [Metric("accuracy", aliases=["acc"])]
        found = correct_names({"task": [ACC]}, Vocabulary.of(metrics, template), template)
        assert why in str(found[ACC])


def test_what_keeps_a_name_from_a_correct_one() -> None:
    """A title of a resource plot, and a context that contradicts the alias; the reason is one short line."""
    template = NameTemplate(":monitor:{metric}/{split=value}")
    found = correct_names({"task": [ACC]}, Vocabulary.of(METRICS, template), template)
    assert found == {ACC: "the title ':monitor:accuracy' is one of ClearML's own"}
    # The name itself is an alias, too, whose context goes before what was parsed.
    metrics = [Metric("accuracy", aliases={"train_acc/val": {"split": "test"}})]
    name = Name("train_acc", "val")
    found = correct_names({"task": [name]}, Vocabulary.of(metrics, TEMPLATE), TEMPLATE)
    assert found == {name: Name("accuracy", "test")}
    long = NameTemplate("{metric}/" + "".join(f"{{field_{number}}}" for number in range(40)))
    vocabulary = Vocabulary.of([Metric("accuracy", aliases=["acc"])], long)
    (reason,) = correct_names({"task": [ACC]}, vocabulary, long).values()
    assert isinstance(reason, str)
    assert len(reason) == MAX_REASON_LENGTH
    assert "  " not in reason


def test_names_of_all_tasks() -> None:
    """Each is looked at once, whoever logged it; those that are correct are left out."""
    reported = {"a": [("acc", "acc"), ("Loss", "Loss")], "b": [("acc", "acc"), ("accuracy", "value")]}
    assert correct_names(reported, Vocabulary.of(METRICS, TEMPLATE), TEMPLATE) == {
        Name("acc", "acc"): Name("accuracy", "value"),
        Name("Loss", "Loss"): Name("loss", "value"),
    }


def test_fields_that_a_group_fills_in() -> None:
    assert fields_of_tasks(NameTemplate("{task} {metric}/{split} {index}")) == ["task", "index"]
    assert fields_of_tasks(TEMPLATE) == []
