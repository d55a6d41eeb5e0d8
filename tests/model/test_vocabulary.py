"""The vocabulary of metrics: one name for each, aliases, suggestions; drift where there is none."""

from __future__ import annotations

import enum
import json
import warnings
from typing import Any

import numpy as np
import pytest

from clearml_taskgroup import Metric, TaskGroup
from clearml_taskgroup._model.name_template import NameTemplate
from clearml_taskgroup._model.vocabulary import Vocabulary
from clearml_taskgroup.errors import (
    ContextValueError,
    DriftWarning,
    ReportError,
    UnknownFieldError,
    UnknownMetricError,
    VocabularyError,
)
from clearml_taskgroup.testing import MemoryStore


class Colour(enum.Enum):
    """An enum."""

    RED = 1


METRICS: list[str | Metric] = [
    Metric("loss", aliases={"val_loss": {"split": "val"}, "train_loss": {"split": "train"}}, mode="min"),
    Metric("accuracy", aliases=["acc"], mode="max", unit="%"),
    "epoch_time",
]


def group_with(metrics: Any = METRICS, **options: Any) -> TaskGroup:
    """A group with a vocabulary."""
    return TaskGroup("digits", "sweep", metrics=metrics, **options)


def test_aliases_stand_for_their_metric(backend: MemoryStore) -> None:
    """An alias is logged under the metric's own name, in one curve with it."""
    with group_with() as group:
        task = group.task({"C": 1})
        task.report({"acc": 0.5}, 1)
        task.report({"accuracy": 0.75}, 2)
        assert tuple(task.metric("acc")) == ("accuracy", "value")
    assert backend.members[0].scalars == {("accuracy", "value"): [(1, 0.5), (2, 0.75)]}


def test_aliases_may_carry_context(backend: MemoryStore) -> None:
    """`val_loss` as frameworks hand it over is the loss with split="val"."""
    with group_with() as group:
        task = group.task({"C": 1})
        task.report({"val_loss": 0.5, "train_loss": 0.25, "loss": 0.75}, 1)
        task.report({"loss": 1.0}, 2, split="val")
        task.report({"val_loss": 2.0}, 3, split="val")
    assert backend.members[0].scalars == {
        ("loss", "val"): [(1, 0.5), (2, 1.0), (3, 2.0)],
        ("loss", "train"): [(1, 0.25)],
        ("loss", "value"): [(1, 0.75)],
    }


@pytest.mark.parametrize("bound", [True, False])
def test_context_that_contradicts_an_alias(backend: MemoryStore, bound: bool) -> None:
    """Context, given or bound, that differs from what an alias carries is an error with both."""
    with group_with() as group:
        task = group.task({"C": 1})
        with pytest.raises(ReportError) as caught:
            if bound:
                task.bind(split="train").report({"val_loss": 1.0}, 1)
            else:
                task.report({"val_loss": 1.0}, 1, split="train")
    for part in ("'val_loss'", "split='val'", "split='train'"):
        assert part in str(caught.value)
    assert backend.members[0].scalars == {}


def test_a_metric_and_its_alias_in_one_report(backend: MemoryStore) -> None:
    """Two spellings of one curve in one report are refused, and nothing of it is logged."""
    with group_with() as group:
        task = group.task({"C": 1})
        with pytest.raises(ReportError, match="'acc' and 'accuracy' in one report"):
            task.report({"acc": 0.5, "accuracy": 0.75}, 1)
        with pytest.raises(ReportError, match=r"'val_loss' and 'loss' .* for loss\[split=val\]; report only"):
            task.bind(split="val").report({"val_loss": 0.5, "loss": 0.75}, 1)
        with pytest.raises(ReportError, match="'acc' and 'accuracy' in one report"):
            task.report({"acc": 0.5, "accuracy": float("nan")}, 1)
        with pytest.raises(ReportError, match="'accuracy' and 'acc' in one report"):
            task.report({"val": {"accuracy": 0.75, "acc": 0.5}}, 1, levels=("split", "metric"))
    assert backend.members[0].scalars == {}


@pytest.mark.parametrize(
    ("metric", "suggestion"),
    [("acuracy", "accuracy"), ("los", "loss"), ("vall_loss", "val_loss"), ("Accuracy", "accuracy")],
)
def test_did_you_mean(backend: MemoryStore, metric: str, suggestion: str) -> None:
    """An unknown metric is an error that suggests the nearest name or alias and lists the others."""
    with group_with() as group:
        task = group.task({"C": 1})
        with pytest.raises(UnknownMetricError) as caught:
            task.report({metric: 1.0}, 1)
        assert f"did you mean {suggestion!r}?" in str(caught.value)
        assert "loss, accuracy, epoch_time" in str(caught.value)
        assert caught.value.suggestion == suggestion
        assert [*task.metric("confusion matrix")]  # what is no metric, as a plot, may be called anything
        with pytest.raises(UnknownMetricError):
            task.report({metric: float("nan")}, 1)


def test_nothing_near(backend: MemoryStore) -> None:
    """Where no name is near, none is suggested."""
    with group_with() as group, pytest.raises(UnknownMetricError) as caught:
        group.task({"C": 1}).report({"zzz": 1.0}, 1)
    assert caught.value.suggestion is None
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        (["loss", "loss"], "'loss' stands for both 'loss' and 'loss'"),
        ([Metric("a", aliases=["x"]), Metric("b", aliases=["x"])], "'x' stands for both 'a' and 'b'"),
        ([Metric("a"), Metric("b", aliases=["a"])], "'a' stands for both 'a' and 'b'"),
        ("loss", r"write metrics=\['loss'\]"),
        (Metric("loss"), r"write metrics=\[…\]"),
        (3, r"write metrics=\[…\]"),
        ({"acc": "max", "loss": "min"}, r'\[Metric\("acc", mode="max"\), Metric\("loss", mode="min"\)\]'),
        ({"acc": ["a"]}, r'write metrics=\[Metric\("acc", …\)\]'),
        ([3], "3 was given as a metric's name"),
        ([None], "None was given as a metric's name"),
        ([""], "'' was given as a metric's name"),
        (["\ud800"], "was given as a metric's name"),
        ([10**5000], "<int> was given as a metric's name"),
        (np.array(1), "is not a list"),
    ],
)
def test_vocabularies_that_contradict_themselves(metrics: Any, told: str) -> None:
    """A vocabulary that says two things, or is none, is refused as the group is made."""
    with pytest.raises(VocabularyError, match=told):
        group_with(metrics)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"name": " "}, "not blank"),
        ({"name": "a", "aliases": [""]}, "not blank"),
        ({"name": "a", "aliases": [3]}, "must be text"),
        ({"name": "a", "aliases": "acc"}, r"write aliases=\['acc'\]"),
        ({"name": "a", "aliases": 5}, "write a list of names"),
        ({"name": "a", "aliases": {"b": 5}}, "write a list of names"),
        ({"name": "a", "aliases": {"b": [1]}}, "write a list of names"),
        ({"name": "a", "mode": "maximum"}, "write mode='max' or 'min'"),
        ({"name": "a", "mode": np.array([1, 2])}, "write mode='max' or 'min'"),
        ({"name": "a", "unit": 3}, "write the unit as text"),
    ],
)
def test_metrics_that_cannot_be(arguments: dict[str, Any], told: str) -> None:
    """A blank name, a bare string of aliases or an unknown mode is refused as the metric is made."""
    with pytest.raises(VocabularyError, match=told):
        Metric(**arguments)


def test_aliases_are_checked_against_the_template() -> None:
    """An alias's context must be a field of the template, and none that the group fills in."""
    with pytest.raises(UnknownFieldError, match="'fold'"):
        group_with([Metric("loss", aliases={"val_loss": {"fold": 1}})])
    with pytest.raises(UnknownFieldError, match="'task'"):
        group_with([Metric("loss", aliases={"val_loss": {"task": 1}})])


def test_what_aliases_carry_is_context(backend: MemoryStore) -> None:
    """Any context value is: it is stored with the run, and compared as in reports."""
    metrics = [Metric("loss", aliases={"first": {"split": Colour.RED}, "third": {"split": np.int64(3)}})]
    with group_with(metrics) as group:
        task = group.task({"C": 1})
        task.report({"first": 1.0}, 1, split=Colour.RED)
        task.report({"third": 1.0}, 1, split=3.0)
        with pytest.raises(ReportError, match="stands for split="):
            task.report({"third": 1.0}, 2, split=4)
        with pytest.raises(ContextValueError, match="split=array"):
            task.report({"third": 1.0}, 2, split=np.array([1, 2]))
    assert backend.members[0].scalars == {("loss", "RED"): [(1, 1.0)], ("loss", "3"): [(1, 1.0)]}
    for wrong in ([1], b"x", float("nan"), "\ud800"):
        with pytest.raises(ContextValueError, match="split="):
            group_with([Metric("loss", aliases={"L": {"split": wrong}})])
    with pytest.raises(UnknownFieldError, match="are text"):
        group_with([Metric("loss", aliases={"L": {3: "val"}})])


def test_a_stored_vocabulary_is_read_back() -> None:
    """Unless somebody has edited it into something else."""
    template = NameTemplate("{metric}/{split=value}")
    vocabulary = Vocabulary.of(METRICS, template)
    restored = Vocabulary.restored(json.loads(json.dumps(vocabulary.stored())), template)
    assert restored == vocabulary
    assert [vocabulary.has_aliases, Vocabulary.of(["loss"], template).has_aliases] == [True, False]
    for edited in (3, [["loss", {"mode": "best"}]], [["loss", 3]], [["loss"]]):
        assert Vocabulary.restored(edited, template) is None


def test_drift_is_told_at_the_end(backend: MemoryStore) -> None:
    """Without a vocabulary, what only some tasks report is told once, with the tasks' names."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with TaskGroup("digits", "sweep") as group:
            first, second, third = group.tasks({"C": [1, 2, 3]})
            for task, metric in ((first, "accuracy"), (second, "accuracy"), (third, "acuracy")):
                task.report({metric: 1.0, "loss": 2.0}, 1)
    assert [warning.category for warning in caught] == [DriftWarning]
    text = str(caught[0].message)
    assert text.splitlines()[1:-1] == ["  'accuracy', 'acuracy' look like one metric"]
    assert "drift --group" not in text  # nothing is kept that it could look at


def test_tasks_that_did_not_complete_are_no_drift(backend: MemoryStore) -> None:
    """A failed task lacks metrics because it failed; only completed ones are compared."""
    with TaskGroup("digits", "sweep") as group:
        first, second, third = group.tasks({"C": [1, 2, 3]})
        first.report({"loss": 1.0, "accuracy": 1.0}, 1)
        second.report({"loss": 1.0, "accuracy": 1.0}, 1, split="val")
        third.report({"loss": 1.0}, 1)
        third.mark_failed("no memory")


def test_a_vocabulary_leaves_no_drift(backend: MemoryStore) -> None:
    """With a vocabulary a task may report part of it, and nothing is told."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with group_with() as group:
            first, second = group.tasks({"C": [1, 2]})
            first.report({"loss": 1.0}, 1)
            second.report({"acc": 1.0}, 1)
    assert caught == []


@pytest.mark.parametrize("aliases", [["accuracy"], {"accuracy": {"split": "val"}}, {"accuracy": None}])
def test_a_metric_is_no_alias_of_itself(aliases: Any) -> None:
    with pytest.raises(VocabularyError, match=r"'accuracy' is the metric's own name and no alias of it"):
        Metric("accuracy", aliases=aliases)
