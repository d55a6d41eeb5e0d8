"""Reports as their readers see them."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from clearml_taskgroup import Metric, Results, TaskGroup

NASTY = "</script><script>alert('x')</script><img src=x onerror=alert(1)>\u2028&amp;\"'"
METRICS: list[str | Metric] = [
    Metric("loss", mode="min", unit="nats"),
    Metric("accuracy", mode="max"),
    "f1",
    "speed",
]


class Page(HTMLParser):
    """A page as a reader of HTML sees it: its tags, its text, its tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._table: list[list[str]] | None = None
        self._silent = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Keeps a tag; begins a table, a line or a cell."""
        self.tags.append((tag, dict(attributes)))
        self._silent = tag in ("script", "style")
        if tag == "table":
            label = self.tags[-2][1]["aria-label"]
            self._table = self.tables.setdefault(str(label), [])
        elif tag == "tr" and self._table is not None:
            self._table.append([])
        elif tag in ("td", "th") and self._table is not None:
            self._table[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """Ends a table, a script or a style sheet."""
        self._silent = False
        if tag == "table":
            self._table = None

    def handle_data(self, data: str) -> None:
        """Keeps what is read."""
        if self._silent:
            return
        self.words.append(data)
        if self._table and self._table[-1]:
            self._table[-1][-1] += data.strip("\n")

    @property
    def text(self) -> str:
        """What is read."""
        return " ".join(" ".join(self.words).split())


def written(results: Results, folder: Path, **options: Any) -> tuple[str, Page]:
    """A report as its text and as a page."""
    path = results.save_html(folder / "report.html", **options)
    text = path.read_text("utf-8")
    return text, Page(text)


def data_in(text: str, name: str) -> Any:
    """Data of the page's script, unpacked."""
    found = re.search(rf'id="{name}" data-size="(\d+)">([^<]*)<', text)
    assert found is not None
    data = zlib.decompress(base64.b64decode(found[2]), wbits=-15)
    assert len(data) == int(found[1])
    return json.loads(data)


def figures_in(text: str) -> list[list[dict[str, Any]]]:
    """The figures of each metric, unpacked."""
    packed = data_in(text, "figure-data")

    def with_texts(value: Any) -> Any:
        if isinstance(value, dict):
            shared = packed["texts"][value["$"]] if "$" in value else None
            return shared or {name: with_texts(item) for name, item in value.items()}
        return [with_texts(item) for item in value] if isinstance(value, list) else value

    figures: list[list[dict[str, Any]]] = with_texts(packed["figures"])
    return figures


def details_in(text: str) -> list[dict[str, Any]]:
    """What a click on each task shows."""
    return list(data_in(text, "task-data")["tasks"].values())


def titles(text: str) -> list[list[str]]:
    """The titles of all figures, without their notes."""
    return [
        [f["layout"]["title"]["text"].partition("<br>")[0] for f in figures] for figures in figures_in(text)
    ]


def swept() -> Results:
    """Two configurations with three seeds; a failed task and a stopped one."""
    with TaskGroup("digits", "sweep", metrics=METRICS) as group:
        for at, task in enumerate(group.tasks({"C": [1, 10], "seed": range(3), "data": ["digits"]})):
            for step in range(4):
                loss = task.params["C"] + task.params["seed"] / 10 - step / 100
                task.report({"loss": loss, "accuracy": 1 - loss / 20}, step, split="val")
            if at == 1:
                task.mark_failed("CUDA out of memory")
            if at == 5:
                task.mark_stopped("pruned")
    return group.results()


def logged(space: Any, values: Callable[[Any], dict[str, float]], **context: Any) -> Results:
    """A sweep whose tasks report these values once."""
    with TaskGroup("digits", "sweep", metrics=METRICS) as group:
        for task in group.tasks(space):
            task.report(values(task.params), 1, **context)
    return group.results()
