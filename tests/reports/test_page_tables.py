"""Tables on the parent's page: text as it is, the best tasks first, links."""

from __future__ import annotations

import re

import attrs
import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._reports.page_tables import links_table, table_plot, tasks_table
from clearml_taskgroup.testing import MemoryStore, recording
from tests.support.parent_page import METRICS, parent_of, plots
from tests.support.report_page import logged

pytestmark = pytest.mark.usefixtures("backend")


def as_drawn(cell: str) -> str:
    """What plotly draws of a cell: without tags, with the few entities that it knows."""
    known = {"amp": "&", "lt": "<", "gt": ">"}

    def character(entity: re.Match[str]) -> str:
        return chr(int(entity[1][1:])) if entity[1][0] == "#" else known.get(entity[1], entity[0])

    return re.sub(r"&(#\d+|[a-z]+);", character, re.sub("<[^>]*>", "", cell))


def test_the_table_has_the_best_task_first() -> None:
    """What varies and the metrics come first; tasks that do not count come last; columns fit their text."""
    with recording() as backend, TaskGroup("digits", "the sweep", metrics=METRICS) as group:
        for task in group.tasks({"C": range(4), "kernel": ["rbf"], "a/long/name": ["x" * 60]}):
            task.report({"accuracy": 10 * task.params["C"] % 30, "loss": 1.0}, 1, split="val")
            if task.params["C"] == 2:
                task.mark_failed("bad node")
    parent = next(task for task in backend.tasks.values() if task.spec.kind == "parent")
    figure = plots(parent.events)["All tasks", "tasks"]
    (table,) = figure["data"]
    head, cells = table["header"]["values"], table["cells"]["values"]
    assert head == [
        *("task", "C", "loss / val", "accuracy / val (%)", "status", "duration (s)", "kernel", "a/long/name")
    ]
    assert cells[head.index("C")] == ["0", "1", "3", "2"]  # equal losses keep their order
    assert cells[head.index("status")] == ["completed", "completed", "completed", "failed"]
    assert dict(zip(head, table["columnwidth"], strict=True))["a/long/name"] == 43
    assert dict(zip(head, table["columnwidth"], strict=True))["C"] == 9
    assert figure["layout"]["width"] == 800
    (note,) = figure["layout"]["annotations"]
    assert (note["text"], note["y"]) == ("the least loss / val first", pytest.approx(30 / 358))
    assert table["domain"] == {"y": [note["y"], 1]}


@pytest.mark.parametrize(("tasks", "note"), [(6, "least loss / val first"), (7, "6 of 7 tasks")])
def test_a_table_is_cut_to_the_best_tasks(tasks: int, note: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clearml_taskgroup._reports.page_tables.MAX_TABLE_TASKS", 6)
    figure = plots(parent_of(tasks).events)["All tasks", "tasks"]
    assert len(figure["data"][0]["cells"]["values"][0]) == 6
    assert figure["layout"]["annotations"][0]["text"].endswith(note)


@pytest.mark.parametrize(
    "text",
    ['"R&D"', "it's", "<b>bold</b>", '<a href="https://x.y">link</a>', "&quot;&lt;", "$x$", "%{x}", "a\x1bb"],
)
def test_the_table_shows_text_as_it_is(text: str) -> None:
    """Nothing in a name, parameter or metric is markup for plotly, and no entity is seen."""
    with recording() as backend, TaskGroup("digits", "the sweep", provenance=False) as group:
        with group.task({f"p{text}": f"v{text}"}, name=f"n{text}") as task:
            task.report({f"m{text}": 1.0}, 1)
    parent = next(task for task in backend.tasks.values() if task.spec.kind == "parent")
    (table,) = plots(parent.events)["All tasks", "tasks"]["data"]
    head = [as_drawn(cell) for cell in table["header"]["values"]]
    (cells,) = zip(*table["cells"]["values"], strict=True)
    assert not any("<" in cell for cell in (*cells, *table["header"]["values"]))
    shown = text.replace("\x1b", r"\x1b")
    assert (head[0], head[1:3]) == ("task", [f"p{shown}", f"m{shown}"])
    assert (as_drawn(cells[0]), as_drawn(cells[1])) == (f"n{shown}", f"v{shown}")


def test_links_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task's name is a link to its page; what a URL holds cannot end the link."""
    monkeypatch.setattr(MemoryStore, "url", lambda self, task_id: 'https://host/a?b=1&c="><b>')
    (table,) = plots(parent_of(tasks=1).events)["All tasks", "tasks"]["data"]
    assert table["cells"]["values"][0] == ['<a href="https://host/a?b=1&c=%22%3E%3Cb%3E">C=0</a>']


def test_a_table_of_text() -> None:
    """Columns are as wide as their text, between 6 and 40 characters; a long name may break at commas."""
    name = ",".join(["C=1"] * 11)
    head = ["a<", "b", "c" * 10, "d"]
    figure = table_plot(head, [[name[:40], "x", "", "y" * 41], [name, "12345678", "<", ""]])
    (table,) = figure["data"]
    assert table["columnwidth"] == [43, 11, 13, 43]
    assert table["header"]["values"] == ["a&lt;", "b", "c" * 10, "d"]
    cells = table["cells"]["values"]
    assert cells[0] == [name[:40], ", ".join(["C=1"] * 11)]
    assert cells[1:] == [["x", "12345678"], ["", "&lt;"], ["y" * 41, ""]]
    assert figure["layout"] == {}


def test_the_first_cell_links() -> None:
    """To a page, not to a folder."""
    body = [["a"], ["b"], ["c<"]]
    (table,) = table_plot(["head"], body, [None, "/a/folder", "https://host/a b"])["data"]
    assert table["cells"]["values"] == [["a", "b", '<a href="https://host/a%20b">c&lt;</a>']]


def test_values_of_the_tasks() -> None:
    """The last one with six digits; nothing for a task without, and diverged is said."""
    results = logged(
        [{"C": 1, "k": "x"}, {"C": 2, "k": "x"}],
        lambda params: {"loss": 1 / 3} if params["C"] == 1 else {"f1": 0.5},
    )
    loss = MetricKey("loss", ())
    keys = [*results.metric_keys, MetricKey("time", ())]
    rows = (results[0], attrs.evolve(results[1], diverged=frozenset([loss]), duration=1.25))
    shown = tasks_table(attrs.evolve(results, rows=rows), keys, {key: key[0] for key in keys})
    (table,) = shown["data"]
    cells = dict(zip(table["header"]["values"], table["cells"]["values"], strict=True))
    assert list(cells) == ["task", "C", "loss", "f1", "time", "status", "duration (s)", "k"]
    assert (cells["loss"], cells["f1"], cells["time"]) == (["0.333333", "diverged"], ["", "0.5"], ["", ""])
    assert (cells["duration (s)"][1], cells["k"]) == ("1.2", ["x", "x"])
    (single,) = tasks_table(results[:1], keys, {key: key[0] for key in keys})["data"]
    assert single["header"]["values"][:3] == ["task", "C", "k"]  # of a single task nothing varies


def test_a_table_without_notes() -> None:
    results = logged({"C": [1, 2]}, lambda params: {"speed": 1.0})
    figure = tasks_table(results, results.metric_keys, dict.fromkeys(results.metric_keys, "speed"))
    assert "annotations" not in figure["layout"]


@pytest.mark.parametrize(
    ("tasks", "last"),
    [(100, ["1 to 100"]), (101, ["1 to 100", "101 to 101"]), (250, ["1 to 100", "101 to 200"])],
)
def test_links_to_the_pages(tasks: int, last: list[str]) -> None:
    urls = [f"https://host/{at}" for at in range(len(last))]
    figure = links_table("https://host/table", urls, tasks)
    assert figure is not None
    (table,) = figure["data"]
    assert table["header"]["values"] == ["page", "what it shows"]
    assert table["cells"]["values"][0] == [
        '<a href="https://host/table">all tasks as a table</a>',
        *(f'<a href="{url}">compare tasks {text}</a>' for url, text in zip(urls, last, strict=True)),
    ]
    assert figure["layout"]["title"] == "web pages"


def test_no_pages_no_table() -> None:
    assert links_table(None, ["/a/folder"], 3) is None
    figure = links_table(None, ["/a/folder", "https://host/"], 150)
    assert figure is not None
    assert "compare tasks 101 to 150" in figure["data"][0]["cells"]["values"][0][0]
