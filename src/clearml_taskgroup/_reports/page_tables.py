"""Tables on the parent's page: the tasks, best first, and links to pages; in the form of `report_table`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from .._clearml.pages import MAX_COMPARED_TASKS, page_of
from .._plots.web_page import web_figure
from .._results.parameters import varying_parameters
from .._results.task_labels import one_form
from .._results.value_text import escape
from .metric_order import best_first

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._model.metrics import MetricKey
    from .._plots.layout import Figure
    from .._results.results import Results
    from .._results.rows import Row

MAX_TABLE_TASKS = 1000
"""The number of tasks in the table."""
MIN_COLUMN_CHARS, MAX_COLUMN_CHARS = 6, 40
"""The width of a column, in characters."""
URL_CHARACTERS = "/:?#[]@!$&'()*+,;=%~"
"""The characters of a URL that are not percent-encoded."""


def tasks_table(
    results: Results, metric_keys: Sequence[MetricKey], titles: Mapping[MetricKey, str]
) -> Figure:
    """Builds the table of a run's tasks: what varies and the metrics first, the best tasks first.

    Args:
        results: The results.
        metric_keys: The metrics, the most important first.
        titles: What they are called.
    """
    varying = varying_parameters(results.rows) if len(results) > 1 else list(results.parameters)
    same = [name for name in results.parameters if name not in varying]
    rows, decisive = best_first(results, metric_keys)
    notes = []
    if decisive is not None:
        notes.append(escape(f"the {decisive.order} {titles[decisive.metric_key]} first"))
    if len(rows) > MAX_TABLE_TASKS:
        notes.append(f"{MAX_TABLE_TASKS:,} of {len(rows):,} tasks")
    head = ["task", *varying, *(titles[key] for key in metric_keys), "status", "duration (s)", *same]
    body = []
    names = one_form([(row.name, row._params) for row in rows[:MAX_TABLE_TASKS]])
    for name, row in zip(names, rows[:MAX_TABLE_TASKS], strict=True):
        params = row.params  # a copy
        body.append(
            [
                name,
                *(str(params.get(param, "")) for param in varying),
                *(_last_text(row, metric_key) for metric_key in metric_keys),
                row.status,
                f"{row.duration:.1f}",
                *(str(params.get(param, "")) for param in same),
            ]
        )
    links = [row.url for row in rows[:MAX_TABLE_TASKS]]
    return web_figure(table_plot(head, body, links), "tasks", ["; ".join(notes)] if notes else [])


def links_table(table_url: str | None, compare_urls: Sequence[str], tasks: int) -> Figure | None:
    """Builds the table of a run's pages, whose links can be clicked; None if there is no page.

    Args:
        table_url: The page's table of the tasks.
        compare_urls: The pages that compare them.
        tasks: The number of tasks.
    """
    rows, links = [], []
    if table_url is not None:
        rows.append(["all tasks as a table", "a column for each parameter that varies and each metric"])
        links.append(table_url)
    for number, url in enumerate(compare_urls):
        if page_of(url):
            first, last = 1 + number * MAX_COMPARED_TASKS, min((number + 1) * MAX_COMPARED_TASKS, tasks)
            rows.append([f"compare tasks {first} to {last}", "their curves in one plot, their parameters"])
            links.append(url)
    return web_figure(table_plot(["page", "what it shows"], rows, links), "web pages") if rows else None


def table_plot(
    head: Sequence[str], body: Sequence[Sequence[str]], links: Sequence[str | None] = ()
) -> Figure:
    """Builds a table of plain text, whose columns are as wide as their text.

    Args:
        head: The heads of the columns.
        body: The lines.
        links: Where the first cell of each line links to.
    """
    columns = [list(column) for column in zip(*body, strict=True)]
    widths = [
        3 + min(max(MIN_COLUMN_CHARS, len(title), *map(len, column)), MAX_COLUMN_CHARS)  # 3 for margins
        for title, column in zip(head, columns, strict=True)
    ]
    columns[0] = [
        text if len(text) <= MAX_COLUMN_CHARS else ", ".join(text.split(",")) for text in columns[0]
    ]  # plotly breaks lines at blanks
    cells = [list(map(escape, column)) for column in columns]
    cells[0] = [_link(url, text) for url, text in zip(links or [None] * len(body), cells[0], strict=True)]
    header = {"values": list(map(escape, head))}
    trace = {"type": "table", "columnwidth": widths, "header": header, "cells": {"values": cells}}
    return {"data": [trace], "layout": {}}


def _last_text(row: Row, metric_key: MetricKey) -> str:
    stats = row.stats.get(metric_key)
    if metric_key in row.diverged:
        return "diverged"
    return "" if stats is None else f"{stats.last:.6g}"


def _link(url: str | None, text: str) -> str:
    """Returns text as plotly's markup, which has links and few entities: `&quot;` is none."""
    return f'<a href="{quote(url, URL_CHARACTERS)}">{text}</a>' if url is not None and page_of(url) else text
