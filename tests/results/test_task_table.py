"""The web page's own table of a run's tasks."""

from __future__ import annotations

import copy
import hashlib
import pickle
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from clearml_taskgroup import Metric, TaskGroup
from clearml_taskgroup._clearml.pages import MAX_TABLE_URL_CHARS
from clearml_taskgroup.testing import recording
from tests.loopback import LoopbackServer


def hashes(title: str, series: str) -> str:
    """The key under which a server keeps the values of a name."""
    return ".".join(hashlib.md5(part.encode()).hexdigest() for part in (title, series))


def asked(url: str | None) -> dict[str, list[str]]:
    """What the web page reads from the URL's query."""
    assert url is not None
    return parse_qs(urlsplit(url).query, strict_parsing=True)


def metric_columns(url: str | None) -> list[tuple[str, str]]:
    """The titles and series that have a column, as the page decodes them once more."""
    columns = [column.split(".") for column in asked(url)["columns"] if column.startswith("m.")]
    names = [(unquote(title), unquote(series)) for _, _, _, _, title, series in columns]
    assert [".".join(column[1:3]) for column in columns] == [hashes(*name) for name in names]
    assert {column[3] for column in columns} <= {"value"}
    return names


def parameter_columns(url: str | None) -> list[str]:
    start = "hyperparams.General."
    return [column[len(start) :] for column in asked(url)["columns"] if column.startswith(start)]


def test_parameters_and_metrics_have_columns(
    loopback: LoopbackServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The run's tasks, with what varies and what was reported; the best first by the validation metric."""
    with caplog.at_level("INFO"), TaskGroup("tables", "columns", mode="online", provenance=False) as group:
        for task in group.sweep({"lr": [0.1, 1], "net/size": [8], "seed": [0, 1]}):
            with task:
                task.report({"loss": 0.5}, 1, split="train")
                task.report({"loss": 0.25}, 1, split="val")
                task.report({"score (%) v1.0": 3.0})
        url = group.table_url
    assert url is not None
    assert group.url is not None
    assert url.partition("?")[0] == group.url.partition(f"/{group.parent_id}/")[0]
    assert asked(url)["filter"] == [f"parent.name:{group.parent_id}"]
    assert asked(url)["columns"][:3] == ["selected", "name", "status"]
    assert parameter_columns(url) == ["lr", "seed"]
    assert metric_columns(url) == [
        ("loss", "train"),
        ("loss", "val"),
        ("Summary", "score (%) v1.0/value"),
    ]
    assert asked(url)["order"] == [f"last_metrics.{hashes('loss', 'val')}.value"]
    assert url == group.table_url == group.results().about.table_url
    assert url in loopback_console(loopback, group.parent_id)
    assert url in group._repr_html_().replace("&amp;", "&")
    begin, table, end = [record.getMessage() for record in caplog.records]
    assert begin == f"tables/columns, run 1: {group.url}"
    assert parameter_columns(table.rpartition(" ")[2]) == ["lr", "seed"]  # before the second task exists
    assert end == f"tables/columns, run 1: 4 completed: {url}"
    loaded = TaskGroup.load("tables", "columns", mode="online")
    assert sorted(metric_columns(loaded.about.table_url)) == sorted(metric_columns(url))
    assert pickle.loads(pickle.dumps(loaded)).about.table_url == loaded.about.table_url
    assert copy.deepcopy(loaded).about == loaded.about


def loopback_console(loopback: LoopbackServer, task_id: str | None) -> str:
    return "\n".join(event["msg"] for event in loopback.state.events[str(task_id)].logs)


def test_the_vocabulary_decides_the_order(loopback: LoopbackServer) -> None:
    metrics: list[str | Metric] = ["loss", Metric("speed", mode="max")]
    with TaskGroup("tables", "ordered", mode="online", provenance=False, metrics=metrics) as group:
        for task in group.tasks({"seed": range(2)}):
            task.report({"speed": 4.0, "loss": 1.0}, 1)
        assert asked(group.table_url)["order"] == [f"last_metrics.{hashes('loss', 'value')}.value"]
    with TaskGroup("tables", "ordered 2", mode="online", provenance=False, metrics=metrics[1:]) as group:
        group.task({"seed": 1}).report({"speed": 4.0}, 1)
        assert asked(group.table_url)["order"] == [f"-last_metrics.{hashes('speed', 'value')}.value"]
    with TaskGroup("tables", "unordered", mode="online", provenance=False) as group:
        group.task({"seed": 1}).report({"quux": 4.0}, 1)
        assert "order" not in asked(group.table_url)


def test_a_parent_of_several_groups(loopback: LoopbackServer, caplog: pytest.LogCaptureFixture) -> None:
    """Beside the tasks of an inner group, those of the run alone; the inner group logs no table."""
    caplog.set_level("INFO")
    with TaskGroup("tables", "outer", mode="online", provenance=False) as outer:
        outer.task({"a": 1})
        with TaskGroup("tables", "inner", mode="online", provenance=False) as inner:
            inner.task({"a": 1})
            assert asked(inner.table_url)["filter"] == [
                f"parent.name:{outer.parent_id},hyperparams.TaskGroup.run.value:{inner.run}"
            ]
    assert "tables/outer, run 1: 1 completed: http" in caplog.text
    assert "tables/inner, run 1: " not in caplog.text


def test_names_of_any_kind_and_any_number(loopback: LoopbackServer) -> None:
    """Names arrive at the page as they are, and a URL that would be too long has fewer columns."""
    odd = {"50% &=?#/ü.x": 0, "a%20b": 0}
    with TaskGroup("tables", "odd", mode="online", provenance=False) as group:
        for seed in range(2):
            group.task(dict.fromkeys(odd, seed)).report({"a.b/%41 & ü": 1.0}, 1)
        found = [column.replace("%25", "%") for column in parameter_columns(group.table_url)]
        assert found == list(odd)
        assert metric_columns(group.table_url) == [("a.b/%41 & ü", "value")]
    with TaskGroup("tables", "many", mode="online", provenance=False) as group:
        for seed in range(2):
            task = group.task({f"a rather long name of a parameter {n}": seed for n in range(200)})
            task.report({f"metric {n}": 1.0 for n in range(100)}, 1)
        url = group.table_url
        assert url is not None
        assert MAX_TABLE_URL_CHARS - 200 < len(url) <= MAX_TABLE_URL_CHARS
        assert parameter_columns(url)[0] == "a rather long name of a parameter 0"


def test_without_a_web_page(caplog: pytest.LogCaptureFixture) -> None:
    """It is None offline and elsewhere, as `url` of a task in memory; nothing is logged."""
    for mode in ("offline", "disabled"):
        with TaskGroup("tables", "none", mode=mode, provenance=False) as group:
            group.task({"seed": 1})
            assert group.table_url is None
            assert group.results().about.table_url is None
    with recording(), TaskGroup("tables", "none") as group:
        group.task({"seed": 1})
        assert group.table_url is None
    assert not [record for record in caplog.records if "table" in record.getMessage()]
