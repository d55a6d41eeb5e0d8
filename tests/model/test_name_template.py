"""Name templates: how they are read, what they make of metric and context."""

from __future__ import annotations

import enum
import pickle
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearml_taskgroup import Name, NameTemplate, TaskGroup
from clearml_taskgroup._model.name_template import title_problem
from clearml_taskgroup.errors import (
    BlankNameError,
    ContextValueError,
    MissingFieldError,
    TemplateError,
    UnknownFieldError,
)
from clearml_taskgroup.testing import MemoryStore


class Split(enum.Enum):
    """One member with text, one without."""

    TRAIN = "train"
    VAL = 2


@pytest.mark.parametrize(
    ("template", "fields", "expected"),
    [
        ("{metric}/{split=value}", {}, ("loss", "value")),
        ("{metric}/{split=value}", {"split": "val"}, ("loss", "val")),
        ("{split}/{metric}", {"split": "val"}, ("val", "loss")),
        ("{metric}/{split}/{fold}", {"split": "val", "fold": 3}, ("loss", "val/3")),
        ("a/b/{metric}", {}, ("a", "b/loss")),
        ("{metric}", {}, ("loss", "loss")),
        ("run_{metric}", {}, ("loss", "run_loss")),
        ("task_{task}_{metric}", {"task": "C=1"}, ("loss", "task_C=1_loss")),
        ("{metric} ({split})/x", {"split": "val"}, ("loss (val)", "x")),
        ("{metric}/{a}{a}", {"a": 1}, ("loss", "11")),
        ("{metric}/{a=x}{a}", {}, ("loss", "xx")),
        ("{metric}/{a=x/y}", {}, ("loss", "x/y")),
        ("{metric}/{a=b=c}", {}, ("loss", "b=c")),
        ("{{{metric}}}/{{x}}", {}, ("{loss}", "{x}")),
        ("{metric}/{größe}", {"größe": 1}, ("loss", "1")),
    ],
)
def test_render(template: str, fields: dict[str, Any], expected: tuple[str, str]) -> None:
    """The template is split at its first '/', then filled in; without '/' the title is the metric."""
    name = NameTemplate(template).render("loss", **fields)
    assert name == expected
    assert (name.title, name.series) == expected


def test_a_slash_that_is_filled_in_splits_nothing() -> None:
    """A metric `top/1` stays whole, and so does a context with a '/'."""
    template = NameTemplate("{metric}/{split}")
    assert template.render("top/1", split="val") == Name("top/1", "val")
    assert template.render("loss", split="a/b") == Name("loss", "a/b")
    assert NameTemplate("x_{metric}").render("top/1") == Name("top/1", "x_top/1")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("val", "val"),
        (1, "1"),
        (1.0, "1"),
        (-0.0, "0"),
        (np.int64(1), "1"),
        (np.float32(0.1), "0.1"),
        (0.1, "0.1"),
        (1e20, "1e+20"),
        (True, "True"),
        (np.bool_(False), "False"),
        (None, "None"),
        (Split.TRAIN, "train"),
        (Split.VAL, "VAL"),
        (np.str_("val"), "val"),
    ],
)
def test_values_of_fields(value: Any, text: str) -> None:
    """Equal numbers read alike; an enum reads as its text, else as its name."""
    assert NameTemplate("{metric}/{x}").render("loss", x=value).series == text


@pytest.mark.parametrize("value", [[1], {"a": 1}, {1}, b"x", object(), float("nan"), np.array([1, 2])])
def test_values_that_no_name_is_made_of(value: Any) -> None:
    """A list, a dict or an array in a name is refused by the field's name, with what to write."""
    with pytest.raises(ContextValueError, match=r"give text, .*x=str\(…\)"):
        NameTemplate("{metric}/{x}").render("loss", x=value)


def test_a_metric_is_text() -> None:
    """A metric that is no text is refused in the library's own words."""
    with pytest.raises(ContextValueError, match="metric=3 is an int"):
        NameTemplate("{metric}/x").render(metric=3)  # type: ignore[arg-type]


def test_a_missing_field_is_told() -> None:
    """The error names the field, the template and what to write; the default is no placeholder."""
    with pytest.raises(MissingFieldError) as caught:
        NameTemplate("{metric}/{split}").render("loss")
    text = str(caught.value)
    assert (caught.value.field, caught.value.template) == ("split", "{metric}/{split}")
    for part in (
        "'{metric}/{split}'",
        "write split=… in the call",
        "task.bind(split=…)",
        "always means val, {split=val}",
    ):
        assert part in text
    assert "{split=value}" not in text
    with pytest.raises(MissingFieldError, match=r"always means 0, {fold=0} in the template"):
        NameTemplate("{metric}/{fold}").render("loss")


@pytest.mark.parametrize("field", ["metrics", "Metric", "metirc"])
def test_a_misspelt_metric_is_told(field: str) -> None:
    """A template whose field is nearly `{metric}` is refused with what was meant."""
    with pytest.raises(TemplateError, match=f"did you mean {{metric}} where it has {{{field}}}"):
        NameTemplate(f"{{{field}}}/{{split}}")
    with pytest.raises(TemplateError, match=r"add \{metric\} to it"):
        NameTemplate("{name}/{split}")


def test_an_unknown_field_is_told() -> None:
    """Context that the template has no field for is an error with the fields that it has."""
    with pytest.raises(UnknownFieldError) as caught:
        NameTemplate("{metric}/{split=value}").render("loss", fold=3)
    assert (caught.value.field, caught.value.template) == ("fold", "{metric}/{split=value}")
    for part in (
        "'fold'",
        "'{metric}/{split=value}'",
        "(its fields: {split})",
        "add {fold}",
        "leave fold= out",
    ):
        assert part in str(caught.value)
    with pytest.raises(UnknownFieldError, match=r"none but \{metric\}"):
        NameTemplate("{metric}").render("loss", fold=3)


@pytest.mark.parametrize("field", ["group", "task", "key", "index", "task_id"])
def test_reserved_fields_are_told(backend: MemoryStore, field: str) -> None:
    """A report may not fill in what the group fills in, whether or not the template has it."""
    for template in ("{metric}/{split=value}", f"{{metric}}/{{{field}}}"):
        with TaskGroup("digits", "sweep", template=template) as group:
            task = group.task({"C": 1})
            with pytest.raises(UnknownFieldError, match=f"'{field}' was given, but the group fills"):
                task.report({"loss": 1.0}, 1, **{field: "x"})
            with pytest.raises(UnknownFieldError):
                task.bind(**{field: "x"})


@pytest.mark.parametrize("field", ["self", "values", "iteration", "levels"])
def test_the_words_of_report_are_no_fields(field: str) -> None:
    """A field that `report` takes as an argument of its own could never be given."""
    with pytest.raises(TemplateError, match="is the name of an argument"):
        NameTemplate(f"{{metric}}/{{{field}}}")


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("", "no field {metric}"),
        ("loss", "no field {metric}"),
        ("{split}/x", "no field {metric}"),
        ("{{metric}}", "no field {metric}"),
        ("{metric", "lone '{'; write '{{' for the character"),
        ("metric}", "lone '}'"),
        ("{metric}/{", "lone '{'"),
        ("{metric}/{}", "not a name"),
        ("{metric}/{0}", "not a name"),
        ("{metric}/{a b}", "not a name"),
        ("{metric}/{a:.2f}", "not a name"),
        ("{metric}/{a.b}", "not a name"),
        ("{metric}/", "nothing on one side"),
        ("/{metric}", "nothing on one side"),
        ("{metric}/ ", "nothing on one side"),
        ("{metric}/{a=}", "blank default"),
        ("{metric}/{a= }", "blank default"),
        ("{metric=loss}/x", "always filled in"),
        ("{metric}/{task=x}", "always filled in"),
        ("{metric}/{a=x}{a=y}", "two defaults"),
        (None, "is not text"),
        (3, "is not text"),
    ],
)
def test_templates_that_cannot_be_read(template: Any, told: str) -> None:
    """A broken template is told as the group is made, with the template and what to write."""
    with pytest.raises(TemplateError) as caught:
        TaskGroup("digits", "sweep", template=template)
    assert told in str(caught.value) or (template == "" and "nothing" in str(caught.value))
    assert repr(template) in str(caught.value)


@pytest.mark.parametrize("split", ["", " ", "\t"])
def test_blank_names_are_refused(split: str) -> None:
    """A title or series of nothing but blanks is an error that says which."""
    with pytest.raises(BlankNameError, match="a blank series"):
        NameTemplate("{metric}/{split}").render("loss", split=split)
    with pytest.raises(BlankNameError, match="a blank title"):
        NameTemplate("{split}/{metric}").render("loss", split=split)
    with pytest.raises(BlankNameError):
        NameTemplate("x_{metric}").render(split)


def test_fields_and_defaults_can_be_asked() -> None:
    template = NameTemplate("{metric}/{task}-{split=value}-{fold}")
    assert template.fields == ("metric", "task", "split", "fold")
    assert template.context_fields == ("split", "fold")
    assert dict(template.defaults) == {"split": "value"}


def test_templates_are_values() -> None:
    """Templates of one text are equal, hash alike and survive pickling; their repr shows the text."""
    left, right = NameTemplate("{metric}/{a=1}"), NameTemplate("{metric}/{a=1}")
    assert left == right == pickle.loads(pickle.dumps(left))
    assert hash(left) == hash(right)
    assert left != NameTemplate("{metric}/{a=2}")
    assert "'{metric}/{a=1}'" in repr(left)


def test_the_groups_own_fields(backend: MemoryStore) -> None:
    """`{group}`, `{task}`, `{key}`, `{index}` and `{task_id}` are filled in by the group."""
    with TaskGroup("digits", "sweep", template="{metric}/{group} {task} {key} {index} {task_id}") as group:
        group.task(name="first")
        task = group.task({"C": 1})
        assert tuple(task.metric("loss")) == ("loss", f"sweep C=1 {task.key} 1 {task.id}")


def test_a_template_may_be_given_ready_made(backend: MemoryStore) -> None:
    """A group takes a `NameTemplate` as well as its text."""
    with TaskGroup("digits", "sweep", template=NameTemplate("all/{metric}")) as group:
        assert tuple(group.task({"C": 1}).metric("loss")) == ("all", "loss")


@pytest.mark.parametrize(
    ("template", "field"),
    [
        ("{task}/{metric}", "task"),
        ("{metric} {key}/x", "key"),
        ("{index}{task}/{metric}", "index"),
        ("{group}/{metric}", ""),
        ("{metric}/{task}", ""),
        ("task_{task}_{metric}", ""),
    ],
)
def test_a_title_with_a_field_of_each_task_is_a_problem(template: str, field: str) -> None:
    """The group's name in the title, or the task's in the series, is none."""
    problem = title_problem(NameTemplate(template))
    assert problem.startswith(f"the template '{template}' has {{{field}}} in its title, so" if field else "")
    assert bool(problem) is bool(field)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{group} {metric}", "has {metric}, which is not known when a task is created"),
        ("{task} {task_id}", "has {task_id}, which is not known"),
        ("{task} {epoch=3}", "has {epoch=3}, which is not known"),
        ("{task=x}", "gives {task} a default"),
        ("{task", "has a lone '{'"),
        ("{0}", "has the field {0}, which is not a name"),
        (["{task}"], "is not text"),
        (3, "is not text"),
    ],
)
def test_task_name_templates(template: Any, problem: str) -> None:
    """A template of task names takes the fields that are known when a task is made, no others."""
    with pytest.raises(TemplateError, match=re.escape(problem)):
        TaskGroup("digits", "sweep", task_name=template)


PIECES = st.lists(st.sampled_from(["{split}", "{fold=1}", "/", "{{", "}}", "a", " ", "_"]), max_size=4)


@given(PIECES, PIECES, st.text("ab /{}", max_size=3), st.text("ab /{}", max_size=3))
def test_names_are_never_blank(before: list[str], after: list[str], metric: str, split: str) -> None:
    """Whatever the template and what fills it in: a name with two non-blank halves, or an error."""
    try:
        template = NameTemplate("".join([*before, "{metric}", *after]))
        fields = {"split": split} if "split" in template.fields else {}
        title, series = template.render(metric, **fields)
    except (TemplateError, BlankNameError):
        return
    assert title.strip()
    assert series.strip()
    assert metric in title + series
