"""Names of metrics on the parent's page."""

from __future__ import annotations

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._reports.page_names import (
    context_names,
    context_words,
    metric_title,
    plot_titles,
    value_names,
)
from clearml_taskgroup.testing import recording
from tests.support.parent_page import METRICS, plots


def test_another_parent_gets_names_of_the_groups_own() -> None:
    """Several groups under one parent do not overwrite each other's figures and values."""
    with recording() as backend, TaskGroup("digits", "outer") as outer, outer.task({"C": 1}) as task:
        task.report({"loss": 1.0}, 1)
        for name in ("inner one", "inner two"):
            with TaskGroup("digits", name, metrics=METRICS) as inner, inner.task({"C": 1}) as one:
                one.report({"loss": 2.0}, 1)
    (parent,) = [task for task in backend.tasks.values() if task.spec.kind == "parent"]
    titles = {title for title, _ in plots(parent.events)}
    assert {"inner one: All tasks", "inner two: All tasks", "All tasks"} <= titles
    assert parent.single_values["loss, best (inner two)"] == 2.0


def test_titles_in_clearmls_notation() -> None:
    """A title is a metric and the values of its context, with their fields where titles would be the same."""
    with (
        recording() as backend,
        TaskGroup("digits", "names", template="{metric}/{split=a} {model=b}") as group,
    ):
        for task in group.tasks({"C": [1, 2]}):
            for step in range(4):
                task.report({"loss": 1.0}, step, split="val", model="x")
                task.report({"loss": 1.0, "accuracy": 1.0}, step, split="val")
                task.report({"loss": 1.0}, step, model="val")
                task.report({"accuracy": 1.0}, step, split=3)
    parent = next(task for task in backend.tasks.values() if task.spec.kind == "parent")
    drawn = plots(parent.events)
    titles = {figure["layout"]["title"] for (title, _), figure in drawn.items() if title == "Curves"}
    assert titles == {
        *("loss / x, val", "loss / split val", "loss / model val", "accuracy / val", "accuracy / split 3")
    }
    names = {name for name in parent.single_values if name.endswith("best")}
    assert names == {
        *("x val loss, best", "split val loss, best", "model val loss, best"),
        *("val accuracy, best", "split 3 accuracy, best"),
    }


KEYS = [
    MetricKey("a", ()),
    MetricKey("a", (("split", "val"),)),
    MetricKey("a", (("fold", 3), ("split", "val"))),
]


def test_words_of_a_context() -> None:
    """Text says what it is; a number needs its field."""
    assert context_names(KEYS) == ["value", "val", "fold 3, val"]
    assert context_words(KEYS[2]) == ["fold 3", "val"]
    assert context_words(KEYS[2], full=True) == ["fold 3", "split val"]


def test_names_of_metrics() -> None:
    """Titles have the context last, single values, which are cut, first; units stand at the end."""
    with recording(), TaskGroup("digits", "names", metrics=METRICS) as group:
        task = group.task({"C": 1})
        task.report({"accuracy": 1.0, "loss": 1.0})
        task.report({"accuracy": 1.0}, split="val")
    results = group.results()
    assert list(plot_titles(results).values()) == ["accuracy (%)", "loss", "accuracy / val (%)"]
    assert list(value_names(results).values()) == ["accuracy (%)", "loss", "val accuracy (%)"]
    assert metric_title(results, results.metric_keys[2]) == "accuracy (%)"
