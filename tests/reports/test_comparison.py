"""Comparisons with the best configuration, in the report and on the parent."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._reports.comparison import (
    best_sentence,
    compare_to_best,
    repeat_parameters,
    shown_comparison,
)
from clearml_taskgroup.testing import recording
from tests.support.parent_page import plots
from tests.support.report_page import (
    METRICS,
    NASTY,
    logged,
    written,
)

pytestmark = pytest.mark.usefixtures("backend")


ANSWERS: list[tuple[dict[str, list[float]], str]] = [
    (
        {"a": [0.9, 0.8, 0.9], "b": [0.8, 0.9, 0.8], "c": [0.2, 0.11, 0.2], "d": [0.1, 0.01, 0.1]},
        (
            "model=a with 0.8667 ± 0.058 is best, but not clearly better than model=b (+0.0333, 95 % "
            "interval -0.254 to 0.32, p (Holm) = 0.67); model=c, model=d are worse."
        ),
    ),
    (
        {"a": [0.9, 0.8, 0.9], "b": [0.2, 0.11, 0.2]},
        "model=a with 0.8667 ± 0.058 is best; model=b is worse.",
    ),
    (
        {"a": [0.5, 0.25], "b": [0.25, 0.0], "c": [0.5, 0.25], "d": [0.125]},
        (
            "model=a with 0.375 ± 0.18 is best; model=c is equal in all pairs; model=b differs by the same "
            "amount in all pairs; model=d has too few pairs to tell."
        ),
    ),
]


def test_comparison(tmp_path: Path) -> None:
    """Configurations with several seeds are compared with the best one; names stay text."""
    with TaskGroup("digits", "sweep", metrics=METRICS) as group:
        for task in group.tasks({"C": [NASTY, "b"], "seed": range(3)}):
            task.report({"loss": task.params["seed"] + (task.params["C"] == "b") / 8, "f1": 0.5}, 1)
    text, page = written(group.results(), tmp_path)
    lines = page.tables["comparison, loss (nats)"]
    assert [line[3] for line in lines] == ["difference", "reference", "+0.125"]
    assert lines[2][-2:] == ["–", "no spread"]
    assert "Paired over seed, less is better; t test, Holm-corrected over 1 comparison; " in page.text
    assert "was chosen as the best of these values" in page.text
    assert "to=" not in page.text  # a report has no such argument
    assert "alert('x')</script>" not in text
    assert 'href="#comparison"' not in written(group.results(), tmp_path, over=())[0]


@pytest.mark.parametrize(("scores", "sentence"), ANSWERS)
def test_the_answer_is_a_sentence(scores: dict[str, list[float]], sentence: str, tmp_path: Path) -> None:
    """At the top: the best configuration, what it is clearly better than, and what not."""
    space = [{"model": model, "seed": at} for model, values in scores.items() for at in range(len(values))]
    with TaskGroup("digits", "sweep") as group:
        for task in group.tasks(space):
            task.report({"accuracy": scores[task.params["model"]][task.params["seed"]]}, split="val")
    text, page = written(group.results(), tmp_path)
    assert f"accuracy[split=val]: {sentence}" in page.words
    assert text.index('class="answer"') < text.index('id="best"')
    assert ('class="verdict worse">worse<' in text) == (" worse" in sentence)
    assert 'class="answer"' not in written(group.results(), tmp_path, over=())[0]


def test_folds_are_compared_by_the_corrected_test(tmp_path: Path) -> None:
    with TaskGroup("digits", "sweep", metrics=METRICS) as group:
        for task in group.tasks({"C": [1, 2], "fold": range(3)}):
            task.report({"loss": task.params["C"] + task.params["fold"] ** task.params["C"]}, 1)
    assert "t test corrected for folds" in written(group.results(), tmp_path)[1].text


@pytest.mark.parametrize(("over", "test"), [("seed", "t test, "), ("fold", "t test corrected for folds")])
def test_the_parent_has_the_comparison(over: str, test: str) -> None:
    """Configurations with several seeds are compared with the best one; its notes are below the table."""
    with recording() as backend, TaskGroup("digits", "sweep") as group:
        for task in group.tasks({"C": [1, 2, 3], over: range(3)}):
            task.report({"loss": task.params[over] + task.params["C"] ** 2, "x": 0.5}, 1)
    parent = next(task for task in backend.tasks.values() if task.spec.kind == "parent")
    figure = plots(parent.events)["Comparison", "loss"]
    assert figure["layout"]["title"] == "loss"
    columns = figure["data"][0]["cells"]["values"]
    assert columns[0] == ["C=1", "C=2", "C=3"]
    assert columns[3] == ["reference", "+3", "+8"]
    notes = figure["layout"]["annotations"][0]["text"].replace("<br>", " ")
    assert "C=1 was chosen as the best" in notes
    assert test in notes


@pytest.mark.parametrize(
    ("space", "names"),
    [
        ([{"C": 1, "seed": 0}, {"C": 1, "seed": 1}], ("seed",)),
        ([{"C": 1, "seed": 0}, {"C": 2, "seed": 1}], ()),  # each configuration has one task
        ([{"C": 1, "seed": 0}, {"C": 2, "seed": 0}], ()),
        ([{"C": 1}, {"C": 2}], ()),
        ([{"C": 1, "seed": at, "fold": at, "data/seed": 0} for at in (0, 1)], ("seed", "fold")),
    ],
)
def test_which_parameters_repeat(space: list[dict[str, int]], names: tuple[str, ...]) -> None:
    assert repeat_parameters(logged(space, lambda params: {"loss": 1.0})) == names


def test_what_can_be_compared() -> None:
    """Metrics of which the best is known, of two configurations that share two seeds."""
    space = {"C": [1, 2], "seed": [0, 1]}
    results = logged(space, lambda params: {"loss": params["C"] + params["seed"] ** 2, "speed": 1.0})
    compared = compare_to_best(results, results.metric_keys, ("seed",))
    assert [(one.label, one.metric, one.reference.name) for one in compared] == [
        ("loss (nats)", "loss", "C=1")
    ]
    assert compare_to_best(results, results.metric_keys, ()) == []
    assert compare_to_best(results.where(C=1), results.metric_keys, ("seed",)) == []
    assert compare_to_best(results.where(seed=0), results.metric_keys, ("seed",)) == []


@pytest.mark.parametrize(("others", "more"), [(29, False), (30, True)])
def test_a_table_has_thirty_configurations(others: int, more: bool) -> None:
    space = {"C": range(others + 1), "seed": [0, 1]}
    results = logged(space, lambda params: {"loss": params["C"] + params["seed"] * params["C"]})
    (compared,) = compare_to_best(results, results.metric_keys, ("seed",))
    head, body, notes = shown_comparison(compared)
    assert (len(head), len(body), body[0][0], body[29][0]) == (8, 30, "C=0", "C=29")
    text = f"the best 30 of {others + 1} configurations; results.compare(…) has all"
    assert (notes[0] == text) is more


def test_names_in_the_answer_are_few() -> None:
    """The first that is not clearly worse has its numbers, others only their names."""
    space = {"C": [1, 2], "seed": [0, 1]}
    results = logged(space, lambda params: {"loss": params["C"] + params["seed"] ** params["C"]})
    (compared,) = compare_to_best(results, results.metric_keys, ("seed",))
    (row,) = compared
    rows = [attrs.evolve(row, name=f"C={at}", verdict="unclear") for at in range(2, 8)]
    one = best_sentence(attrs.evolve(compared, rows=(rows[0],)))
    two = best_sentence(attrs.evolve(compared, rows=tuple(rows[:2])))
    many = best_sentence(attrs.evolve(compared, rows=tuple(rows)))
    assert one.endswith(").")
    assert two == one.removesuffix(".") + " and C=3."
    assert many == one.removesuffix(".") + " and C=3, C=4, C=5 and 2 more."
    worse = [attrs.evolve(row, name=f"C={at}", verdict="worse") for at in range(2, 7)]
    text = best_sentence(attrs.evolve(compared, rows=tuple(worse)))
    assert text.endswith("; C=2, C=3, C=4 and 2 more are worse.")
