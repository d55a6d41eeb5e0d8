"""Figures: what they show of a group's tasks, and that plotly takes them."""

from __future__ import annotations

import builtins
import re
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup, figures
from clearml_taskgroup.errors import (
    AmbiguousResultError,
    ArgumentError,
    MissingExtraError,
    NoSuchParameterError,
    NoSuchResultError,
)
from tests.support.figures import lines_of, swept

pytestmark = pytest.mark.usefixtures("backend")


def test_single_values_have_no_curve() -> None:
    """A metric without iterations is an error that says which figure there is for it."""
    with TaskGroup("digits", "sweep") as group:
        group.task({"C": 1}).report({"f1": 0.5})
    with pytest.raises(ArgumentError, match=r"reported with iterations.*figures\.box"):
        figures.curves(group.results(), "f1")


def test_heat_map_chooses_the_parameters_that_tell_most() -> None:
    """Without x and y those two are taken that explain most of the values."""
    space = {"seed": range(4), "C": [1, 2, 3], "width": [8, 16], "dataset": ["digits"]}
    results = swept(space, lambda p, _: 10 * p["C"] + p["width"] + 0.001 * p["seed"])
    figure = figures.heat_map(results, "loss")
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("C", "width")
    other = figures.heat_map(results, "loss", x="seed")
    assert (other.layout.xaxis.title.text, other.layout.yaxis.title.text) == ("seed", "C")


@pytest.mark.parametrize("draw", [figures.heat_map, figures.scatter])
def test_a_seed_is_an_axis_only_where_it_has_to_be(draw: Any) -> None:
    """However much of the values it explains."""
    results = swept(
        {"data/seed": range(4), "C": [1, 2], "k": [1, 2]}, lambda p, _: 9 * p["data/seed"] + p["C"]
    )
    layout = draw(results, "loss").layout
    assert (layout.xaxis.title.text, layout.yaxis.title.text) == ("C", "k")
    layout = draw(results.where(k=1), "loss").layout
    assert (layout.xaxis.title.text, layout.yaxis.title.text) == ("C", "data/seed")
    layout = draw(results, "loss", y="data/seed").layout
    assert (layout.xaxis.title.text, layout.yaxis.title.text) == ("C", "data/seed")


@pytest.mark.parametrize("of", ["first", "last", "min", "max", "mean"])
def test_of(of: Any) -> None:
    """`of` says which value of each task is drawn, and the label repeats it."""
    results = swept({"C": [1, 2]}, lambda params, step: params["C"] * [4, 1, 7][step])
    figure = figures.box(results, "loss", by="C", of=of)
    expected = {"first": 4, "last": 7, "min": 1, "max": 7, "mean": 4}[of]
    assert [trace.y[0] for trace in figure.data] == [expected, 2 * expected]
    assert figure.layout.yaxis.title.text == ("" if of == "last" else f"{of} of ") + "loss[split=val] (nats)"


def test_what_is_not_there() -> None:
    """Unknown parameters and metrics are named, with those that there are."""
    results = swept({"C": [1, 2], "seed": [0]}, lambda *_: 1.0)
    with pytest.raises(ArgumentError, match=r"by='D' was given.*parameters C, seed"):
        figures.box(results, "loss", by="D")
    with pytest.raises(ArgumentError, match=r"over='fold' was given.*C, seed"):
        figures.curves(results, "loss", over="fold")
    with pytest.raises(NoSuchParameterError, match=r"y='sed' was given.*did you mean 'seed'"):
        figures.heat_map(results, "loss", y="sed")
    with pytest.raises(ArgumentError, match=r"x='D' was given.*C, seed"):
        figures.heat_map(results, "loss", x="D")
    with pytest.raises(ArgumentError, match=r"two parameters that differ; there are C"):
        figures.scatter(results, "loss")
    with pytest.raises(NoSuchResultError, match="accuracy"):
        figures.box(results, "accuracy", by="C")


def test_only_failed_tasks() -> None:
    """Where nobody counts, figures of values are an error."""
    results = swept({"C": [1]}, lambda *_: 1.0, at_0="failed")
    with pytest.raises(NoSuchResultError):
        figures.box(results, "loss", by="C")


def test_several_contexts() -> None:
    """A metric under several contexts asks which is meant."""
    with TaskGroup("digits", "sweep") as group:
        task = group.task({"C": 1})
        for split in ("train", "val"):
            task.report({"loss": 1.0}, 1, split=split)
    with pytest.raises(AmbiguousResultError):
        figures.curves(group.results(), "loss")
    assert len(lines_of(figures.curves(group.results(), "loss", split="val"))) == 1


@pytest.mark.parametrize("function", figures.__all__)
def test_results_come_first(function: str) -> None:
    """The error says so where they and the metric are in each other's place."""
    results = swept({"C": [1, 2]}, lambda *_: 1.0)
    arguments = {"by": "C"} if function == "box" else {}
    for wrong, metric in (("accuracy", "accuracy"), (3, "loss")):
        expected = f"figures.{function}(group.results(), '{metric}')"
        with pytest.raises(ArgumentError, match=f"expected results first: {re.escape(expected)}"):
            getattr(figures, function)(wrong, results, **arguments)


@pytest.mark.parametrize("function", figures.__all__)
def test_without_plotly(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without plotly, each function says what to install."""
    found = builtins.__import__

    def refused(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("plotly"):
            raise ImportError(name)
        return found(name, *args, **kwargs)

    results = swept({"C": [1, 2]}, lambda *_: 1.0)
    arguments = {"by": "C"} if function == "box" else {}
    monkeypatch.setattr(builtins, "__import__", refused)
    with pytest.raises(MissingExtraError, match=rf"figures\.{function}\(\) needs plotly.*\[figures\]"):
        getattr(figures, function)(results, "loss", **arguments)


@pytest.mark.filterwarnings("ignore::clearml_taskgroup.errors.NonFiniteWarning")
def test_why_there_is_nothing_to_draw() -> None:
    """All tasks diverged, or failed."""
    with TaskGroup("digits", "diverged") as group:
        for task in group.tasks({"lr": [1, 2]}):
            task.report({"loss": 1.0}, 0)
            task.report({"loss": float("nan")}, 1)
    with pytest.raises(NoSuchResultError, match=r"for loss; it diverged in 2 tasks \(lr=1, lr=2\)[^;]*; of="):
        figures.scatter(group.results(), "loss", x="lr")
    with TaskGroup("digits", "failed") as failed:
        for task in failed.tasks({"lr": [1, 2]}):
            task.report({"loss": 1.0}, 0)
            task.mark_failed("out of memory")
    with pytest.raises(NoSuchResultError, match=r"that of 2 tasks that failed or stopped .* does not count"):
        figures.scatter(failed.results(), "loss", x="lr")
