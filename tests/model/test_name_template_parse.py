"""Rendered names read back as metric and context, as far as a template allows."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clearml_taskgroup import NameTemplate

OWN = {"group": "the group", "task": "C=1,seed=0", "key": "0a1b2c", "index": "3", "task_id": "f" * 32}
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).filter(str.strip)


@pytest.mark.parametrize(
    ("template", "title", "series", "expected"),
    [
        ("{metric}/{split=value}", "loss", "val", ("loss", {"split": "val"})),
        ("{metric}/{split=value}", "loss", "value", ("loss", {"split": "value"})),
        ("{metric}/{split}", "top/1", "a/b", ("top/1", {"split": "a/b"})),
        ("{split}/{metric}", "val", "loss", ("loss", {"split": "val"})),
        ("{metric}", "loss", "loss", ("loss", {})),
        ("run_{metric}", "loss", "run_loss", ("loss", {})),
        ("{metric}/{task}", "loss", "C=1,seed=0", ("loss", {})),
        ("{metric} {key}/{index}: {split}", "loss 0a1b2c", "3: val", ("loss", {"split": "val"})),
        ("{metric}/{task_id} {fold}", "loss", f"{'f' * 32} 2", ("loss", {"fold": 2})),
        ("{metric}/{a}-{a}", "loss", "x-x", ("loss", {"a": "x"})),
        ("({metric})/[{split}].*", "(loss)", "[val].*", ("loss", {"split": "val"})),
        ("{{{metric}}}/{split}", "{loss}", "val", ("loss", {"split": "val"})),
        ("{metric}/{größe}", "loss", "1", ("loss", {"größe": 1})),
        ("{metric}/{split}", "two\nlines", "val", ("two\nlines", {"split": "val"})),
    ],
)
def test_a_name_is_read_back(
    template: str, title: str, series: str, expected: tuple[str, dict[str, Any]]
) -> None:
    """Metric and context are found where the template put them; the task's own fields are known."""
    assert NameTemplate(template).parse(title, series, OWN) == expected


@pytest.mark.parametrize(
    ("template", "title", "series"),
    [
        ("{metric}/{task}", "loss", "C=2,seed=0"),
        ("run_{metric}", "loss", "run_accuracy"),
        ("run_{metric}", "loss", "loss"),
        ("{metric}/{a}-{a}", "loss", "x-y"),
        ("{metric}/x {split}", "loss", "val"),
        ("{metric}.x/{split}", "lossyx", "val"),
        ("{metric}/{split}", ":monitor:gpu", ""),
    ],
)
def test_a_name_of_somebody_else_is_none(template: str, title: str, series: str) -> None:
    """What the template never gives, as ClearML's own logger may have written it, is left out."""
    assert NameTemplate(template).parse(title, series, OWN) is None


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("3", 3),
        (3, 3),
        (-2, -2),
        (0.5, 0.5),
        (1e-05, 1e-05),
        (3.0, 3),
        ("val", "val"),
        ("03", "03"),
        ("1_000", "1_000"),
        (" 3", " 3"),
        ("nan", "nan"),
        ("1.50", "1.50"),
        (True, True),
        (False, False),
        (None, None),
    ],
)
def test_numbers_are_read_as_numbers(value: Any, read: Any) -> None:
    """A context's number, bool or None comes back as one where it is written as the template would."""
    template = NameTemplate("{metric}/{fold}")
    name = template.render("loss", fold=value)
    found = template.parse(*name, OWN)
    assert found == ("loss", {"fold": read})
    assert found is not None
    assert type(found[1]["fold"]) is type(read)


@pytest.mark.parametrize(
    ("template", "name", "expected"),
    [
        ("{metric}/{split=value}", "loss/val", ("loss", {"split": "val"})),
        ("{metric}/{split=value}", "train/loss/value", ("train/loss", {"split": "value"})),
        ("{metric}/{split=value}", "train/loss/val", ("train", {"split": "loss/val"})),
        ("{metric}/{split}", "loss/a/b", ("loss", {"split": "a/b"})),
        ("{metric}/{split}", "loss", None),
        ("{metric}", "top/1", ("top/1", {})),
        ("run_{metric}", "run_loss", ("loss", {})),
        ("task_{task}_{metric}", "task_C=1,seed=0_loss", ("loss", {})),
        ("task_{task}_{metric}", "task_C=2,seed=0_loss", None),
        ("{metric}_{split}", "loss_val", ("loss", {"split": "val"})),
        ("{metric}/{task_id}", f"loss/{'f' * 32}", ("loss", {})),
        ("{split}/{metric}", "val/top/1", ("top/1", {"split": "val"})),
    ],
)
def test_a_single_values_name_is_read_back(
    template: str, name: str, expected: tuple[str, dict[str, Any]] | None
) -> None:
    """A value without iteration has one name, the template as written."""
    assert NameTemplate(template).parse_single(name, OWN) == expected


@pytest.mark.parametrize(
    "template",
    [
        "{metric}/{split=value}",
        "{split}/{metric}",
        "{metric} | {task}/{split}",
        "{metric}/{split} of {key}",
        "{metric}/{task_id}.{index}+{split}",
    ],
)
@given(metric=TEXTS, split=TEXTS)
@example(metric="a|b", split="(x)")
@example(metric="\\1", split="\\g<0>")
def test_what_is_rendered_is_read_back(template: str, metric: str, split: str) -> None:
    """Where each half has one unknown field, reading back what was rendered gives the same."""
    made = NameTemplate(template)
    own = {field: text for field, text in OWN.items() if field in made.fields}
    found = made.parse(*made.render(metric, split=split, **own), OWN)
    assert found is not None
    assert (found[0], made.render(found[0], **found[1], **own)) == (
        metric,
        made.render(metric, split=split, **own),
    )


@given(
    metric=TEXTS, literal=st.text(st.characters(exclude_characters="{}/", exclude_categories=["Cs", "Cc"]))
)
def test_the_templates_own_text_is_taken_as_it_is(metric: str, literal: str) -> None:
    """Signs that mean something in a regular expression mean nothing in a template."""
    template = NameTemplate(f"{literal}{{metric}}")
    assert template.parse(*template.render(metric), OWN) == (metric, {})
    assert template.parse(metric, f"{literal}{metric}!", OWN) in (None, (f"{metric}!", {}))
    assert re.escape(literal) == literal or template.parse(metric, re.escape(literal) + metric, OWN) is None
