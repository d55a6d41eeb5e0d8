"""Tables of a report: who is first, what is marked, and how numbers are written."""

from __future__ import annotations

import math
import re
import warnings
from pathlib import Path

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._reports.tables import time_text
from tests.support.report_page import (
    METRICS,
    details_in,
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
