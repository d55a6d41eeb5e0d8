"""Tables of a report: who is first, what is marked, and how numbers are written."""

from __future__ import annotations

import math
import re
import warnings
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_taskgroup import Results, TaskGroup
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._reports.comparison import compare_to_best
from clearml_taskgroup._reports.tables import (
    MISSING,
    Cell,
    Column,
    Line,
    Table,
    Tables,
    comparison_table,
    time_text,
)
from tests.support.report_page import (
    METRICS,
    details_in,
    logged,
    swept,
    written,
)

pytestmark = pytest.mark.usefixtures("backend")


def test_the_table_of_all_tasks(tmp_path: Path) -> None:
    """Each task is a line with the parameters that differ and its last values; the best are marked."""
    text, page = written(swept(), tmp_path)
    head, *lines = page.tables["all tasks"]
    assert head == [
        *("#", "status", "C", "seed"),
        *("loss[split=val] (nats)", "accuracy[split=val]", "duration"),
    ]
    assert [line[1:6] for line in lines] == [
        ["completed", "1", "0", "0.97", "0.9515"],
        ["completed", "1", "2", "1.17", "0.9415"],
        ["completed", "10", "0", "9.97", "0.5015"],
        ["completed", "10", "1", "10.07", "0.4965"],
        ["failed", "1", "1", "1.07", "0.9465"],
        ["stopped", "10", "2", "10.17", "0.4915"],
    ]
    assert "The same in all tasks: data = digits." in page.text
    sorted_heads = [attributes["aria-sort"] for _, attributes in page.tags if "aria-sort" in attributes]
    assert sorted_heads == ["ascending", "ascending"]  # of the configurations, too
    assert "marked. The least loss[split=val] (nats) is first. Click" in page.text
    tasks = text[text.index('<section id="tasks">') : text.index('<section id="failures">')]
    assert re.findall(r'<td class="n best" data-n="([\d.]+)"', tasks) == ["0.97", "0.9515"]


def test_configurations_are_sorted_and_leave_out_who_does_not_count(tmp_path: Path) -> None:
    """Means over seeds, the best first, with the number of tasks and who is left out."""
    _, page = written(swept(), tmp_path)
    lines = [line[:4] for line in page.tables["configurations"]]
    assert lines == [
        ["C", "data", "n", "loss[split=val] (nats)"],
        ["1", "digits", "2", "1.07 ± 0.14"],
        ["10", "digits", "2", "10.02 ± 0.07"],
    ]
    assert "2 failed or stopped tasks not counted in" in page.text


def test_a_small_spread_does_not_read_as_none(tmp_path: Path) -> None:
    with TaskGroup("digits", "sweep") as group:
        for task, loss in zip(
            group.tasks({"C": [1, 2, 3], "seed": [0, 1]}), (0.5, 0.5 + 2e-6, 1, 2, 3, 3), strict=True
        ):
            task.report({"loss": loss}, 1)
    lines = written(group.results(), tmp_path)[1].tables["configurations"]
    assert [line[-1] for line in lines[1:]] == ["0.5 ± 1.4e-06", "1.5 ± 0.7", "3 ± 0"]


def test_what_diverged_is_named(tmp_path: Path) -> None:
    """A mean says of how many tasks it is, and the caption which do not count in."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with TaskGroup("the project", "the group") as group:
            for task in group.sweep({"lr": [0.1], "seed": range(3)}):
                with task:
                    task.report({"loss": math.nan if task.index == 2 else 1.0}, 1)
    text, page = written(group.results(), tmp_path)
    (line,) = page.tables["configurations"][1:]
    assert line[1:] == ["3", "1 ± 0 (n=2)"]
    assert "Not counted in, loss diverged: 1 (seed=2)." in page.text
    assert "failed, stopped and diverged tasks do not" in page.text
    assert "All values of the task were NaN" in details_in(text)[2]["note"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.009, "< 0.01 s"),
        (0.01, "0.01 s"),
        (9.994, "9.99 s"),
        (10, "10.0 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (100_000, "27 h 46 min"),
    ],
)
def test_durations_are_read_easily(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


def test_tables_have_captions_and_columns(tmp_path: Path) -> None:
    """Each table says what it shows; a dash in a column of numbers stands where they do."""
    with TaskGroup("digits", "sweep", metrics=METRICS) as group:
        group.task({"C": 1}).report({"loss": 1.0}, 1)
        group.task({"C": "one"}).report({"loss": 0.25, "f1": 0.5}, 1)
    text, page = written(group.results(), tmp_path)
    assert text.count('<p class="caption">') == text.count('role="region"')
    head, _, one = page.tables["all tasks"]
    assert one[head.index("f1")] == "–"
    assert '<td class="n none">–</td>' in text
    assert one[head.index("loss (nats)")] == "1.00"
    assert re.search(r'<td data-n="1.0">1</td>', text)  # beside "one", a number stands as text does


def test_unlike_tasks(tmp_path: Path) -> None:
    """What a task lacks is a dash that sorts last, and a parameter of any kind is text."""
    with TaskGroup("digits", "sweep", metrics=METRICS) as group:
        first = group.task({"C": -1e-5, "k": None})
        first.report({"loss": 1e-5}, 1)
        group.task({"layers": [1, 2], "path": Path("a/b"), "on": True}).report({"f1": 0.5}, 1)
    text, page = written(group.results(), tmp_path)
    _, one, two = page.tables["all tasks"]
    assert one[3:10] == ["-1e-05", "None", "–", "–", "–", "1e-05", "–"]
    assert two[3:10] == ["–", "–", "[1,2]", "a/b", "True", "–", "0.5"]
    assert 'data-n="-1e-05"' in text


def tables_of(results: Results, over: str = "") -> Tables:
    return Tables(results, results.metric_keys, results.aggregate(over) if over else None)


def texts(table: Table | None) -> list[list[str]]:
    """Heads and cells."""
    assert table is not None
    lines = [[cell.text for cell in line.cells] for line in table.lines]
    return [[column.title for column in table.columns], *lines]


def changed(results: Results, *changes: dict[str, Any]) -> Results:
    """Results whose first tasks are different."""
    rows = list(results.rows)
    for at, change in enumerate(changes):
        rows[at] = attrs.evolve(rows[at], **change)
    return attrs.evolve(results, rows=tuple(rows))


def test_columns_of_numbers() -> None:
    """A dash is no text in a column of numbers."""
    number, text = Cell("1", 0.0), Cell("a")
    lines = [Line([number, number, text]), Line([number, MISSING, number])]
    assert Table("t", [], lines).numeric == [True, True, False]


def test_the_best_of_each_metric() -> None:
    """Where it is not known what is better, both ends; a metric that nobody counts for has no line."""
    results = logged({"C": [1, 2]}, lambda params: {"loss": params["C"], "speed": params["C"]})
    table = tables_of(results).best()
    assert texts(table) == [
        ["metric", "which", "value", "task"],
        ["loss (nats)", "lowest", "1", "C=1"],
        ["speed", "highest", "2", "C=2"],
        ["speed", "lowest", "1", "C=1"],
    ]
    assert table is not None
    assert "set it by metrics=" in table.note
    link, value = table.lines[0].cells[3], table.lines[0].cells[2]
    assert (value.number, link.css, link.details) == (1.0, "wide", f"task-{results[0].id}")
    known = tables_of(logged({"C": [1, 2]}, lambda params: {"loss": params["C"]})).best()
    assert known is not None
    assert (texts(known)[0][1], known.note) == ("best is", "")
    nobody = Tables(results, [MetricKey("time", ()), *results.metric_keys], None).best()
    assert texts(nobody)[1:] == texts(table)[1:]
    failed = changed(results, {"status": "failed"}, {"status": "stopped"})
    assert tables_of(failed).best() is None
    assert tables_of(failed, "C").configurations() is None
    assert tables_of(results).configurations() is None


def test_configurations_are_in_the_order_of_the_first_metric() -> None:
    """Those without a value are last; the best mean of each metric is marked."""
    space = {"C": [1, 3, 2], "seed": [0, 1]}
    values: Any = {1: {"accuracy": 0.1, "speed": 3.0}, 2: {"accuracy": 0.3}, 3: {"speed": 1.0}}
    results = logged(space, lambda params: values[params["C"]])
    table = tables_of(results, "seed").configurations()
    assert texts(table) == [
        ["C", "n", "accuracy", "speed"],
        ["2", "2", "0.3 ± 0.0", "–"],
        ["1", "2", "0.1 ± 0.0", "3 ± 0"],
        ["3", "2", "–", "1 ± 0"],
    ]
    assert table is not None
    best, other, _ = (line.cells[2] for line in table.lines)
    assert (best.css, best.number, other.css) == ("best", 0.3, "")
    assert not any(line.cells[3].css == "best" for line in table.lines)  # it is not known what is better
    assert [column.is_sorted for column in table.columns] == [False, False, True, False]
    assert [column.descending for column in table.columns] == [False, False, True, False]
    assert table.caption == "Mean ± sample standard deviation over seed, of each task's last value."
    least = tables_of(logged(space, lambda params: {"loss": params["C"]}), "seed").configurations()
    assert [line[0] for line in texts(least)[1:]] == ["1", "2", "3"]


def test_one_configuration_without_parameters() -> None:
    results = logged({"seed": [0, 1]}, lambda params: {"loss": params["seed"]})
    table = tables_of(changed(results, {"status": "failed"}), "seed").configurations()
    assert texts(table) == [["configuration", "n", "loss (nats)"], ["all", "1", "1"]]
    assert table is not None
    assert table.caption.endswith(" 1 failed or stopped task not counted in.")


@pytest.mark.parametrize(("parameters", "metric_at"), [(8, 8), (9, 1)])
def test_many_parameters_come_after_the_metrics(parameters: int, metric_at: int) -> None:
    space = [{f"p{name}": at for name in range(parameters)} for at in range(2)]
    heads = texts(tables_of(logged(space, lambda params: {"loss": 1.0})).tasks())[0]
    assert heads.index("loss (nats)") == metric_at + 2 - (metric_at == 1)


def test_what_each_task_has() -> None:
    """Numbers to sort by, classes for colours, and the page; the best of those that count is marked."""
    results = logged([{"C": 3, "k": "x"}, {"C": 1, "k": "x"}, {"C": 2, "k": "x"}], lambda p: {"loss": p["C"]})
    urls = {"url": "https://host/1", "duration": 61.23456}
    table = tables_of(changed(results, urls, {"status": "failed"}, {"status": "in_progress"})).tasks()
    assert [line[2] for line in texts(table)[1:]] == ["2", "3", "1"]  # the failed one is last
    assert [line.css for line in table.lines] == ["", "", "off"]
    running, first, failed = (line.cells for line in table.lines)
    assert first[0] == Cell("0", 0, "", f"task-{results[0].id}", "https://host/1")
    assert (running[1], failed[1]) == (Cell("in progress", css="in_progress"), Cell("failed", css="failed"))
    assert [cells[3].css for cells in (running, first, failed)] == ["best", "", ""]
    assert first[4] == Cell("1 min 1 s", 61.235)
    assert table.columns[3] == Column("loss (nats)", False, True)
    assert "The least loss (nats) is first." in table.caption
    assert table.note == "The same in all tasks: k = x."


def test_tasks_of_which_nobody_is_best() -> None:
    """They stay as they are; of a single task all parameters have a column."""
    table = tables_of(logged({"C": [2, 1]}, lambda params: {"speed": params["C"]})).tasks()
    assert [line[2] for line in texts(table)[1:]] == ["2", "1"]
    assert (table.note, "is first" in table.caption) == ("", False)
    assert not any(cell.css == "best" for line in table.lines for cell in line.cells)
    assert not any(column.is_sorted or column.descending for column in table.columns)
    single = tables_of(logged({"C": [2]}, lambda params: {"speed": 1.0})).tasks()
    assert texts(single)[0] == ["#", "status", "C", "speed", "duration"]


@pytest.mark.parametrize(
    ("name", "has_column"),
    [("C=1,k=a", False), ("k=a,C=1", False), ("mine", True), ("C=1,k=a again", True), ("C=1", False)],
)
def test_names_have_a_column_if_they_say_more(name: str, has_column: bool) -> None:
    results = changed(logged([{"C": 1, "k": "a"}], lambda params: {"loss": 1.0}), {"name": name})
    assert ("task" in texts(tables_of(results).tasks())[0]) is has_column
    cut = changed(results, {"name": f"C=1~{results[0].key}"})
    assert "task" not in texts(tables_of(cut).tasks())[0]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1, 2.5, None], ["1", "2.5", "None"]),
        ([0.123456, 1], ["0.123456", "1"]),
        ([0.12345678, 1], ["0.123", "1.000"]),
        ([True, "", "a" * 17], ["True", '""', "a" * 17]),
    ],
)
def test_how_parameters_are_written(values: list[object], shown: list[str]) -> None:
    """Short numbers exactly, else all with the same decimals."""
    results = logged([{"v": value} for value in values], lambda params: {"speed": 1.0})
    lines = tables_of(results).tasks().lines
    cells = [line.cells[2 + (len(line.cells) == 6)] for line in lines]
    assert [cell.text for cell in cells] == shown
    assert [cell.css for cell in cells] == ["wide" if len(text) > 16 else "" for text in shown]


@pytest.mark.parametrize(
    ("status", "reason", "text"),
    [
        ("failed", "", "no reason was given"),
        ("stopped", "pruned", "pruned"),
        ("in_progress", "", None),
        ("completed", "why", "why"),
    ],
)
def test_who_is_among_the_failures(status: str, reason: str, text: str | None) -> None:
    results = logged({"C": [1]}, lambda params: {"loss": 1.0})
    table = tables_of(changed(results, {"status": status, "status_reason": reason})).failures()
    assert (table is None) == (text is None)
    if table is not None:
        assert texts(table)[1:] == [["C=1", status.replace("_", " "), text]]
        assert [cell.css for cell in table.lines[0].cells] == ["wide", status, "reason"]


def test_details_of_a_task() -> None:
    results = logged([{"C": 1}, {"k": "a"}], lambda params: {"loss": 1.0} if "C" in params else {})
    loss = results.metric_keys[0]
    second = {
        "attempt": 2,
        "status": "failed",
        "status_reason": "why",
        "url": "https://host/",
        "duration": 10.0,
    }
    results = changed(results, {}, second)
    details = tables_of(results).details()
    assert (details["parameters"], details["metrics"]) == (["C", "k"], ["loss (nats)"])
    one, two = (details["tasks"][f"task-{row.id}"] for row in results)
    assert (one["parameters"], two["parameters"]) == (["1", None], [None, "a"])
    assert one["facts"]["ClearML id"] == results[0].id
    assert one["facts"]["status"] == "completed"
    assert one["note"] == ""
    assert one["values"] == [[0, 1.0, 1.0, 1.0, 1, 1.0, 1, 1.0, 1]]
    assert two["facts"] == {
        "status": "failed: why",
        "duration": "10.0 s",
        "key": results[1].key,
        "ClearML id": f"{results[1].id}, attempt 2",
        "where": "https://host/",
    }
    assert (two["page"], two["values"]) == ("https://host/", [])
    assert two["note"] == "The task has reported no values."
    diverged = changed(results, {}, {"diverged": frozenset([loss])})
    assert "NaN" in tables_of(diverged).details()["tasks"][f"task-{results[1].id}"]["note"]


def test_statistics_that_are_not_known() -> None:
    """What is no number is nothing."""
    results = logged({"C": [1]}, lambda params: {"loss": 1.0})
    (loss,) = results.metric_keys
    stats = attrs.evolve(results[0].stats[loss], last=math.nan)
    row = attrs.evolve(results[0], stats=type(results[0].stats)({loss: stats}))
    details = tables_of(attrs.evolve(results, rows=(row,))).details()["tasks"][f"task-{row.id}"]
    assert details["values"][0][:4] == [0, 1.0, None, 1.0]
    shown = tables_of(attrs.evolve(results, rows=(row,))).tasks().lines[0].cells
    assert MISSING in shown


def test_a_comparison_says_how_it_was_made() -> None:
    """The verdict has a colour; the notes are a sentence."""
    space = {"C": [1, 2, 3], "seed": range(3)}
    noise = [0.0, 1.0, 0.4]
    results = logged(space, lambda p: {"loss": p["C"] ** 6 + noise[p["seed"]] * p["C"] ** 2})
    (compared,) = compare_to_best(results, results.metric_keys, ("seed",))
    table = comparison_table(compared)
    assert table.label == "comparison, loss (nats)"
    assert [column.title for column in table.columns][-2:] == ["p (Holm)", "verdict"]
    reference, worse, *_ = table.lines
    assert reference.cells[4] is MISSING
    assert (reference.cells[-1].css, worse.cells[-1].css) == ("verdict", "verdict worse")
    assert table.note.startswith(
        "Paired over seed, less is better; t test, Holm-corrected over 2 comparisons; "
    )
    assert table.note.endswith(".")
    rows = tuple(
        attrs.evolve(row, verdict=verdict) for row, verdict in zip(compared, ("better", "equal"), strict=True)
    )
    css = [line.cells[-1].css for line in comparison_table(attrs.evolve(compared, rows=rows)).lines]
    assert css == ["verdict", "verdict better", "verdict"]
