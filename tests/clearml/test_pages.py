"""URLs of ClearML's web pages, for both generations of them."""

from __future__ import annotations

from hashlib import md5
from typing import Any

import attrs
import pytest

from clearml_taskgroup._clearml import pages
from clearml_taskgroup._clearml.login import Connection
from clearml_taskgroup._model.name_template import Name

OLD = Connection("https://api", "https://app", "https://files", True, False, None)
NEW = attrs.evolve(OLD, new_pages=True)
UNKNOWN = attrs.evolve(OLD, web=None)
TABLE = "https://app/projects/p1/experiments?filter=parent.name:t0"


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("https://app/x", "https://app/x"),
        ("http://app/x", "http://app/x"),
        ("/home/me/runs", ""),
        ("train.py", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_a_page_has_an_address(url: str | None, page: str) -> None:
    assert pages.page_of(url) == page


def test_the_page_of_a_task() -> None:
    """Without a project the page finds it; without a web server there is none."""
    assert pages.task_url(OLD, "p1", "t1") == "https://app/projects/p1/experiments/t1/output/scalars"
    assert pages.task_url(NEW, None, "t1") == "https://app/projects/*/tasks/t1/output/scalars"
    assert pages.task_url(UNKNOWN, "p1", "t1") is None


@pytest.mark.parametrize(("count", "urls"), [(0, 0), (1, 1), (100, 1), (101, 2), (200, 2)])
def test_pages_that_compare_tasks(count: int, urls: int) -> None:
    """Up to 100 tasks on each, in their order."""
    ids = [f"t{n}" for n in range(count)]
    found = pages.compare_urls(OLD, "p1", ids)
    assert len(found) == urls
    start, end = "https://app/projects/p1/compare-experiments;ids=", "/scalars/graph"
    assert all(url.startswith(start) and url.endswith(end) for url in found)
    listed = [url.removeprefix(start).removesuffix(end).split(",") for url in found]
    assert [one for each in listed for one in each] == ids
    assert pages.compare_urls(UNKNOWN, "p1", ids) == []


def test_newer_pages_compare_under_their_own_word() -> None:
    """The old address is redirected there without the ids."""
    (url,) = pages.compare_urls(NEW, "p1", ["t1", "t2"])
    assert url == "https://app/projects/p1/compare-tasks;ids=t1,t2/scalars/graph"


@pytest.mark.parametrize(
    ("parent", "is_own", "filters"),
    [
        ("t0", True, "parent.name:t0"),
        ("t0", False, "parent.name:t0,hyperparams.TaskGroup.run.value:r1"),
        (None, True, "hyperparams.TaskGroup.run.value:r1"),
        (None, False, "hyperparams.TaskGroup.run.value:r1"),
    ],
)
def test_the_table_of_a_run(parent: str | None, is_own: bool, filters: str) -> None:
    """By the parent if that is the run's own, else by the run's id."""
    url = pages.run_table_url(NEW, "p1", "r1", parent, is_own)
    assert url == f"https://app/projects/p1/tasks?filter={filters}"
    assert pages.run_table_url(UNKNOWN, "p1", "r1", parent, is_own) is None


def hashes(title: str, series: str) -> str:
    """Under which a server keeps the values of a name."""
    return ".".join(md5(part.encode()).hexdigest() for part in (title, series))


def test_the_columns_of_a_table() -> None:
    """Name and status, parameters and metrics, with what the page's own code escapes; best first."""
    names = [Name("loss", "val"), Name("a.b", "x y(z)")]
    url = pages.with_columns(TABLE, ["lr", "50%"], names, (names[0], False))
    columns = url.removeprefix(TABLE).split("&")
    assert columns == [
        "",
        "columns=selected",
        "columns=name",
        "columns=status",
        "columns=hyperparams.General.lr",
        "columns=hyperparams.General.50%2525",
        f"columns=m.{hashes('loss', 'val')}.value.loss.val",
        f"columns=m.{hashes('a.b', 'x y(z)')}.value.a%252Eb.x%2520y%28z%29",
        f"order=last_metrics.{hashes('loss', 'val')}.value",
    ]
    greatest = pages.with_columns(TABLE, [], [], (names[0], True))
    assert greatest.endswith(f"&columns=status&order=-last_metrics.{hashes('loss', 'val')}.value")
    assert pages.with_columns(TABLE, [], [], None).endswith("&columns=status")


def test_a_table_has_as_many_columns_as_fit() -> None:
    """A column that is too long is skipped, and the next ones may fit; the order always does."""
    short = pages.with_columns(TABLE, [], [], None)
    left = pages.MAX_TABLE_URL_CHARS - len(short) - len("&columns=hyperparams.General.")
    full = pages.with_columns(TABLE, ["a" * left], [], None)
    assert len(full) == pages.MAX_TABLE_URL_CHARS
    assert pages.with_columns(TABLE, ["a" * (left + 1)], [], None) == short
    assert pages.with_columns(TABLE, ["a" * left, "b"], [], None) == full
    assert pages.with_columns(TABLE, ["a" * (left + 1), "b"], [], None).endswith("General.b")
    best: Any = (Name("loss", "val"), False)
    assert pages.with_columns(TABLE, ["a" * left, "b"], [], best).partition("&order")[0].endswith("General.b")
