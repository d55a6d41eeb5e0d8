"""The report: one file that loads nothing, shows everything, and takes every name as text."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._reports import report
from clearml_taskgroup.errors import ArgumentError
from tests.support.report_page import (
    details_in,
    logged,
    swept,
    titles,
    written,
)

pytestmark = pytest.mark.usefixtures("backend")


def test_what_a_report_says(tmp_path: Path) -> None:
    """Title, run, counts by status, the best of each metric, and the reasons of the failures."""
    results = swept()
    _, page = written(results, tmp_path)
    assert [words for words in page.words if words == "digits/sweep, run 1"] == ["digits/sweep, run 1"] * 2
    assert "4 completed" in page.text
    assert "1 failed" in page.text
    assert "still open" not in page.text
    assert page.tables["best values"] == [
        ["metric", "best is", "mean ± std over seed", "configuration", "single task", "task"],
        ["loss[split=val] (nats)", "lowest", "1.07 ± 0.14", "C=1,data=digits", "0.97", results[0].name],
        ["accuracy[split=val]", "highest", "0.9465 ± 0.0071", "C=1,data=digits", "0.9515", results[0].name],
    ]
    assert page.tables["failures"] == [
        ["task", "status", "reason"],
        ["C=1,seed=1", "failed", "CUDA out of memory"],
        ["C=10,seed=2", "stopped", "pruned"],
    ]


def test_over(tmp_path: Path) -> None:
    """`over` says what the means are over; without it only seeds and folds that repeat something."""
    results = swept()
    assert "configurations" not in written(results, tmp_path, over=())[1].tables
    assert len(written(results, tmp_path, over=["C", "seed"])[1].tables["configurations"]) == 2
    with pytest.raises(ArgumentError, match="over='fold'"):
        results.save_html(tmp_path / "report.html", over="fold")
    with TaskGroup("digits", "sweep") as group:
        for task in group.tasks([{"C": 1, "seed": 3}, {"C": 2, "seed": 4}]):
            task.report({"loss": 1.0}, 1)
    assert "configurations" not in written(group.results(), tmp_path)[1].tables


def test_the_head_has_facts_and_no_path(tmp_path: Path) -> None:
    """Project, group, run, start, time and mode are told; a folder of this disk is not, a server is."""
    results = swept()
    disk = attrs.evolve(results.about, mode="offline", where="/home/me/.clearml", started=1_700_000_000.0)
    _, page = written(attrs.evolve(results, about=disk), tmp_path)
    assert "project digits group sweep run 1 started 2023-11-14 22:13 UTC total task time" in page.text
    assert "mode offline" in page.text
    assert "/home/me" not in page.text
    shared = attrs.evolve(results.about, shared="july <b>")
    _, page = written(attrs.evolve(results, about=shared), tmp_path)
    assert "run 1 (run='july <b>') " in page.text
    server = attrs.evolve(disk, mode="online", where="https://app.example")
    _, page = written(attrs.evolve(results, about=server), tmp_path)
    assert "mode online, https://app.example" in page.text


def test_metrics_are_chosen(tmp_path: Path) -> None:
    """`metrics` says which have figures, in this order; by default it is six, validation first."""
    text, _ = written(swept(), tmp_path, metrics=["accuracy"])
    assert [figures[-1] for figures in titles(text)] == ["accuracy[split=val] by C"]
    spelt = ["accuracy[split=val]", "loss[split=val] (nats)", "loss[split=val]"]
    text, _ = written(swept(), tmp_path, metrics=spelt)
    assert [figures[-1] for figures in titles(text)] == [
        "accuracy[split=val] by C",
        "loss[split=val] (nats) by C",
    ]
    with pytest.raises(
        ArgumentError, match=r"metrics='f2' was given.*loss\[split=val\], accuracy\[split=val\]"
    ):
        swept().save_html(tmp_path / "report.html", metrics=["f2"])
    with pytest.raises(ArgumentError, match=r"metrics='los' was given.*did you mean 'loss'\?"):
        swept().save_html(tmp_path / "report.html", metrics=["los"])
    with TaskGroup("digits", "sweep") as group:
        for task in group.tasks({"C": [1, 2]}):
            for split in ("train", "val"):
                task.report({f"m{at}": 1.0 for at in range(5)}, 1, split=split)
    text, page = written(group.results(), tmp_path)
    firsts = [figures[0] for figures in titles(text)]
    assert firsts == [*(f"m{at}[split=val]" for at in range(5)), "m0[split=train]"]
    assert "4 metrics more without figures" in page.text


def test_a_run_that_goes_on(tmp_path: Path) -> None:
    """While tasks are open, the report says that there is more to come."""
    with TaskGroup("digits", "sweep") as group:
        group.task({"C": 1}).report({"loss": 1.0}, 1)
        text, page = written(group.results(), tmp_path)
    assert "Some tasks are still open" in page.text
    assert titles(text) == [["loss"]]


def test_a_group_without_tasks_and_tasks_without_values(tmp_path: Path) -> None:
    """Where there is nothing to show, the report says so."""
    with TaskGroup("digits", "sweep") as group:
        text, page = written(group.results(), tmp_path)
        assert "0 tasks" in page.text
        group.task({"C": 1})
    text, page = written(group.results(), tmp_path)
    assert "There are no values to draw" in page.text
    assert "The task has reported no values" in details_in(text)[0]["note"]
    assert 'id="plotly-js"' not in text


@pytest.mark.parametrize(
    ("has_figures", "problem", "without", "notes"),
    [
        (True, "", 0, []),
        (True, "", 1, ["1 metric more without figures; save_html(…, metrics=[…]) selects them."]),
        (True, "away", 0, ["away"]),
        (False, "", 2, ["There are no values to draw."]),
        (False, "away", 2, ["away"]),
    ],
)
def test_notes_on_figures(has_figures: bool, problem: str, without: int, notes: list[str]) -> None:
    assert list(report._figure_notes(has_figures, problem, without)) == notes


def test_pages_of_a_run() -> None:
    """Folders are no pages; comparisons are numbered by their tasks."""
    about = logged({"C": [1]}, lambda params: {}).about
    urls = ("https://host/0", "/folder", "https://host/2")
    assert report._pages(attrs.evolve(about, url="https://host/run", compare_urls=urls)) == {
        "the run in ClearML": "https://host/run",
        "compare the tasks": "https://host/0",
        "compare the tasks from 201 on": "https://host/2",
    }
    assert report._pages(attrs.evolve(about, url=None, compare_urls=())) == {}


def test_facts_of_a_run_without_tasks() -> None:
    with TaskGroup("digits", "sweep") as group:
        results = group.results()
    assert report._facts(attrs.evolve(results, about=attrs.evolve(results.about, started=None))) == {
        "project": "digits",
        "group": "sweep",
        "run": "1",
        "mode": results.about.mode,
    }


@pytest.mark.parametrize("metrics", [3, [3], ["loss", None]])
def test_metrics_are_names(metrics: object) -> None:
    results = logged({"C": [1]}, lambda params: {"loss": 1.0})
    with pytest.raises(ArgumentError, match=r"metrics=.* was given; expected names of metrics"):
        report._given_metrics(results, results.metric_keys, metrics)  # type: ignore[arg-type]
    found = report._given_metrics(results, results.metric_keys, "loss")
    assert (
        found == report._given_metrics(results, results.metric_keys, ["loss", "loss"]) == results.metric_keys
    )
    none = logged({"C": [1]}, lambda params: {})
    with pytest.raises(ArgumentError, match=r"metrics among \(none\)"):
        report._given_metrics(none, [], ["loss"])


def test_a_title_is_text(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="title=3 was given; expected text"):
        logged({"C": [1]}, lambda params: {}).save_html(tmp_path / "report.html", title=3)  # type: ignore[arg-type]
