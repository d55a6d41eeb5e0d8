"""Names of one task: a channel for each (metric, context), and no two that share a name."""

from __future__ import annotations

import enum
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearml_taskgroup import NameTemplate, TaskGroup
from clearml_taskgroup._model.metric_words import split_meant
from clearml_taskgroup._model.parameter_json import typed_json
from clearml_taskgroup._run import naming
from clearml_taskgroup._run.naming import Names
from clearml_taskgroup.errors import (
    BlankNameError,
    ContextValueError,
    NameCollisionError,
    NameWarning,
    TooManyNamesError,
)
from clearml_taskgroup.testing import MemoryStore, recording


class Split(enum.Enum):
    """Reads as its value."""

    VAL = "val"


class Access(enum.IntFlag):
    """Flags."""

    READ = 1


@pytest.mark.parametrize(
    ("template", "first", "second"),
    [
        ("{metric}/{a}{b}", {"a": "x", "b": "yz"}, {"a": "xy", "b": "z"}),
        ("{metric}/{a}", {"a": 1}, {"a": "1"}),
        ("{metric}/{a}", {"a": None}, {"a": "None"}),
        ("{metric}/{a}", {"a": True}, {"a": "True"}),
        ("{metric}/{a}", {"a": Split.VAL}, {"a": "val"}),
    ],
)
def test_two_contexts_that_render_alike(
    backend: MemoryStore, template: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    """Different contexts that would be logged under one name are an error, not one curve."""
    with TaskGroup("digits", "sweep", template=template) as group:
        task = group.task({"C": 1})
        task.report({"loss": 1.0}, 1, **first)
        with pytest.raises(NameCollisionError, match="would both be logged"):
            task.report({"loss": 2.0}, 2, **second)
        task.report({"loss": 3.0}, 3, **first)
    (points,) = backend.members[0].scalars.values()
    assert points == [(1, 1.0), (3, 3.0)]


def test_two_metrics_that_render_alike(backend: MemoryStore) -> None:
    """The error shows both metrics with their contexts, the name and the template."""
    with TaskGroup("digits", "sweep", template="all/{metric}_{split}") as group:
        task = group.task({"C": 1})
        task.report({"loss_a": 1.0}, 1, split="b")
        with pytest.raises(NameCollisionError) as caught:
            task.report({"loss": 1.0}, 1, split="a_b")
    for part in (
        "loss_a[split=b]",
        "loss[split=a_b]",
        "title 'all', series 'loss_a_b'",
        "'all/{metric}_{split}'",
    ):
        assert part in str(caught.value)


def test_single_values_collide_by_their_one_name(backend: MemoryStore) -> None:
    """Single values have one name each, so two halves that join to the same text collide."""
    with TaskGroup("digits", "sweep", template="{metric}/{split}") as group:
        task = group.task({"C": 1})
        task.report({"a/b": 1.0}, 1, split="c")
        task.report({"a": 1.0}, 1, split="b/c")
        task.report({"a/b": 1.0}, split="c")
        with pytest.raises(NameCollisionError):
            task.report({"a": 1.0}, split="b/c")


def test_names_that_a_server_joins_to_one(backend: MemoryStore) -> None:
    """A server joins title and series with '-', so `a`/`b-c` and `a-b`/`c` would overwrite each other."""
    with TaskGroup("digits", "sweep", template="{metric}/{split}") as group:
        task = group.task({"C": 1})
        task.report({"a": 1.0}, 1, split="b-c")
        with pytest.raises(NameCollisionError, match=r"stored as 'a-b-c'"):
            task.report({"a-b": 2.0}, 1, split="c")
    assert backend.members[0].scalars == {("a", "b-c"): [(1, 1.0)]}


def test_equal_contexts_are_one_curve(backend: MemoryStore) -> None:
    """1, 1.0 and np.int64(1) are one context; so is a field at its default and left out."""
    with TaskGroup("digits", "sweep", template="{metric}/{fold=all}") as group:
        task = group.task({"C": 1})
        for step, fold in enumerate((1, 1.0, np.int64(1), np.array(1))):
            task.report({"loss": 1.0}, step, fold=fold)
        task.report({"loss": 1.0}, 0)
        task.report({"loss": 1.0}, 1, fold="all")
    scalars = backend.members[0].scalars
    assert {name: len(points) for name, points in scalars.items()} == {("loss", "1"): 4, ("loss", "all"): 2}


def test_true_and_one_are_two_curves(backend: MemoryStore) -> None:
    """`flag=True` and `flag=1` are written, counted and found apart, though Python takes them for equal."""
    with TaskGroup("digits", "sweep", template="{metric}/{flag}") as group:
        task = group.task({"C": 1})
        for value, flag in ((1.0, True), (2.0, 1), (3.0, np.bool_(True))):
            task.report({"loss": value}, 1, flag=flag)
        (row,) = group.results()
    assert backend.members[0].scalars == {("loss", "True"): [(1, 1.0), (1, 3.0)], ("loss", "1"): [(1, 2.0)]}
    assert (row.value("loss", flag=True), row.value("loss", flag=1)) == (3.0, 2.0)
    assert [str(metric_key) for metric_key in row.stats] == ["loss[flag=True]", "loss[flag=1]"]


def test_the_order_of_a_context_does_not_matter(backend: MemoryStore) -> None:
    """The same fields in another order are the same curve."""
    with TaskGroup("digits", "sweep", template="{metric}/{a}-{b}") as group:
        task = group.task({"C": 1})
        task.report({"loss": 1.0}, 1, a=1, b=2)
        task.report({"loss": 2.0}, 2, b=2, a=1)
        assert len(group.results()[0].stats) == 1
    assert backend.members[0].scalars == {("loss", "1-2"): [(1, 1.0), (2, 2.0)]}


def test_unhashable_context(backend: MemoryStore) -> None:
    """A value that cannot be hashed is told by the field's name, or taken if it is a number."""
    with TaskGroup("digits", "sweep") as group:
        task = group.task({"C": 1})
        with pytest.raises(ContextValueError, match=r"split=\['val'\] is a list"):
            task.report({"loss": 1.0}, 1, split=["val"])
        task.report({"loss": 1.0}, 1, split=np.array(3))
    assert backend.members[0].scalars == {("loss", "3"): [(1, 1.0)]}


def test_flags_without_a_name(backend: MemoryStore) -> None:
    """No bit, and bits that have no name, are written as their number."""
    with TaskGroup("digits", "sweep") as group:
        task = group.task({"C": 1})
        for flag in (Access.READ, Access(0), Access(8)):
            task.report({"loss": 1.0}, 1, split=flag)
    assert backend.members[0].scalars.keys() == {("loss", "READ"), ("loss", "0"), ("loss", "8")}


def test_names_of_many_digits(backend: MemoryStore) -> None:
    """They are read as numbers only if they can be."""
    with TaskGroup("digits", "sweep") as group:
        for split in (10**400, "1" * 400, "1" * 5000):
            group.task({"C": 1}, if_exists="return").report({"loss": 1.0}, 1, split=split)
            assert group.results()[0].value("loss", split=split) == 1.0


@pytest.mark.parametrize("metric", ["", " ", "\n"])
def test_blank_metrics_are_refused(backend: MemoryStore, metric: str) -> None:
    """A metric without a name is refused, even where the template adds text to it."""
    with TaskGroup("digits", "sweep", template="m{metric}/x") as group:
        with pytest.raises(BlankNameError, match="blank metric"):
            group.task({"C": 1}).report({metric: 1.0}, 1)


def test_many_names_are_warned_of_once_and_refused_at_the_limit(backend: MemoryStore) -> None:
    """Past 1,000 names a group warns once; the 2,001st of a task is an error."""
    with TaskGroup("digits", "sweep", template="{metric}/{epoch}") as group:
        task, other = group.tasks({"C": [1, 2]})
        for epoch in range(1000):
            task.report({"loss": 1.0}, 1, epoch=epoch)
        with pytest.warns(NameWarning, match="over 1,000 different names") as caught:
            task.report({"loss": 1.0}, 1, epoch=1000)
        assert [warning.filename for warning in caught] == [__file__]
        for epoch in range(1001, 2000):
            task.report({"loss": 1.0}, 1, epoch=epoch)
        for refused in (2000, 2001):
            with pytest.raises(TooManyNamesError, match=r"report\(values, iteration\)") as error:
                task.report({"loss": 1.0}, 1, epoch=refused)
        assert "'C=1' has 2,000 names" in str(error.value)
        task.report({"loss": 2.0}, 2, epoch=1999)
        for epoch in range(1001):
            other.report({"loss": 1.0}, 1, epoch=epoch)
    assert [len(member.scalars) for member in backend.members] == [2000, 1001]


@pytest.mark.parametrize(
    ("split", "meant"),
    [
        *(("vall", "val"), ("Vall", "val"), ("vla", "val"), ("trian", "train"), ("tran", "train")),
        *(("testt", "test"), ("validaton", "validation"), ("evall", "eval")),
        *(("value", None), ("val1", None), ("val2", None), ("fold-1", None), ("valid", None), ("dev", None)),
        *(("text", None), ("best", None), ("trans", None), ("tests", None), ("va", None), ("v", None)),
        *(("holdout", None), ("trainval", None), ("VAL", None), (3, None), (None, None)),
    ],
)
def test_a_misspelt_split_is_warned_of_once(backend: MemoryStore, split: Any, meant: str | None) -> None:
    """One letter more or less than a usual split, or two swapped, is a typo; other words are none."""
    assert split_meant(str(split)) == meant
    with TaskGroup("digits", "sweep", metrics=["loss", "accuracy"]) as group:
        task, other = group.tasks({"C": [1, 2]})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for one in (task, other):
                one.report({"loss": 1.0, "accuracy": 0.5}, 1, split=split)
                one.report({"loss": 1.0}, split=split)
    told = f"split={split!r} looks like {meant!r} misspelt; it is a context of its own"
    assert [str(warning.message).partition(",")[0] for warning in caught] == ([told] if meant else [])


def test_only_the_field_split_has_usual_values(backend: MemoryStore) -> None:
    with TaskGroup("digits", "sweep", template="{metric}/{head}") as group:
        group.task({"C": 1}).report({"loss": 1.0}, 1, head="vall")  # a warning would be an error here


def test_single_values_are_names_too(backend: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server counts single values among the 2,000 names."""
    monkeypatch.setattr(naming, "MAX_NAMES_PER_TASK", 20)
    with TaskGroup("digits", "sweep") as group:
        task = group.task({"C": 1})
        task.report({f"m{n}": 1.0 for n in range(20)})
        with pytest.raises(TooManyNamesError):
            task.report({"m0": 1.0}, 1)


TEMPLATES = st.sampled_from(
    ["{metric}/{a}{b}", "{metric}{a}/{b}", "{a}/{metric}_{b=x}", "{metric}_{a}_{b}", "{b=1}{a=True}/{metric}"]
)
TEXTS = st.text("xy1_/", min_size=1, max_size=3)
FIELDS = TEXTS | st.sampled_from([1, 1.0, True, False, None, 0, "1", "True", "None", 0.5, "0.5"])
REPORTS = st.lists(st.tuples(TEXTS, FIELDS, FIELDS, st.booleans()), min_size=2, max_size=12)


def said(template: NameTemplate, field: str, value: Any) -> str:
    """Which context value is meant: by type and value, a default like what is left out."""
    shown = str(int(value)) if type(value) is float and value == int(value) else str(value)
    return "default" if template.defaults.get(field) == shown else repr(typed_json(value))


@given(TEMPLATES, REPORTS)
def test_no_two_measures_fold_into_one_name(text: str, reports: list[tuple[str, Any, Any, bool]]) -> None:
    """Whatever is reported: different (metric, context) get different names, or an error."""
    template = NameTemplate(text)
    names = Names(template, None, "id", {"task": "C=1"}, set())
    by_name: dict[Any, Any] = {}
    by_measure: dict[Any, Any] = {}
    for metric, a, b, single in reports:
        meant = (metric, said(template, "a", a), said(template, "b", b))
        try:
            number = names.channel(metric, {"a": a, "b": b}, single)
        except NameCollisionError:
            continue
        assert names.cache({"a": a, "b": b}, single)[metric] == number
        channel = names.channels.by_number[number]
        assert by_name.setdefault(channel.name, (meant, single)) == (meant, single)
        assert by_measure.setdefault(meant, channel.stats) is channel.stats
    assert len({id(stats) for stats in by_measure.values()}) == len(by_measure)


def test_too_many_metrics_of_a_fixed_template() -> None:
    """Where not the context but the metrics are many, the advice is about metrics."""
    with recording(), TaskGroup("digits", "sweep") as group, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        task = group.task({"C": 1})
        with pytest.raises(TooManyNamesError, match=r"it logs 2,000 metrics\. Log means"):
            task.report({f"layer {number}": 1.0 for number in range(2001)}, 1)


@pytest.mark.parametrize(
    ("template", "times", "titles"),
    [("{metric}/{split}", 1, {"loss"}), ("{metric} {key}/{split}", 3, {"loss a", "loss b", "loss c"})],
)
def test_the_tasks_of_a_group_render_a_name_once(
    backend: MemoryStore, monkeypatch: pytest.MonkeyPatch, template: str, times: int, titles: set[str]
) -> None:
    """Unless the name has a field of the task's own, the first report of each further task is quick."""
    rendered: list[str] = []
    render = NameTemplate.render

    def noted(template: NameTemplate, metric: str, **fields: Any) -> Any:
        rendered.append(metric)
        return render(template, metric, **fields)

    monkeypatch.setattr(NameTemplate, "render", noted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NameWarning)  # a task's own field in a title
        with TaskGroup("digits", "sweep", template=template) as group:
            for key in "abc":
                group.task(key=key, name=key).report({"loss": 1.0}, 1, split="val")
    assert rendered == ["loss"] * times
    assert {title for task in backend.members for title, _ in task.scalars} == titles


def test_a_context_without_an_identity_is_refused_in_each_task(backend: MemoryStore) -> None:
    """A value without a hash, or one that is no text or number, is an error for every task of a group."""
    with TaskGroup("digits", "sweep", template="{metric}/{split}") as group:
        for task in group.tasks({"C": [1, 2]}):
            for split in ([1], object()):
                with pytest.raises(ContextValueError):
                    task.report({"loss": 1.0}, 1, split=split)


def test_an_ended_task_keeps_no_channels_and_goes_on_after_it_is_opened_again(backend: MemoryStore) -> None:
    """They are needed by reports only; the curve, its statistics and its sample stay in one piece."""
    with TaskGroup("digits", "names") as group:
        with group.task({"C": 1}) as task:
            for step in range(100):
                task.report({"loss": float(step)}, step)
        names = task._state.names
        assert names.cache({}, False) == {}
        with task.reopen():
            for step in range(100, 200):
                task.report({"loss": float(step)}, step)
    ((data,),) = (task._state.metrics.values(),)
    assert (data.stats.count, data.stats.last, data.stats.exact) == (200, 199.0, True)
    assert data.sample is not None
    assert data.sample.points == sorted(dict(data.sample.points).items())
    assert names.cache({}, False) == {}
    assert names.channels.by_number == {}


def test_names_that_would_be_read_back_as_another_metric_are_noted(backend: MemoryStore) -> None:
    """And no others: nothing has to be guessed when they are read."""
    with (
        TaskGroup("the project", "the group", template="{metric}/{a}") as group,
        group.task({"C": 1}) as task,
    ):
        task.report({"loss": 1.0}, 0, a="1")  # would be read back as the number
        task.report({"loss": 1.0}, 0, a="x")
        task.report({"loss": 2.0}, 1, a="1")
    noted = {tuple(name): key.context for name, key in task._state.names.ambiguous.items()}
    assert noted == {("loss", "1"): (("a", "1"),)}
