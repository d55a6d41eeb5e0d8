"""What a notebook shows of a group and of a task: HTML, as the last line of a cell."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from .._clearml.pages import page_of
from .._model.parameter_json import literal
from .._model.status import shown_status
from .._text import printable, shortened
from .export import html_table
from .from_run import results_of
from .rows import with_statistic

if TYPE_CHECKING:
    from .._run.run import Run
    from .._run.state import TaskState

MAX_CELL_CHARS = 200
FLUSH_TIMEOUT_S = 1.0
"""How long a cell waits for the reporter, so that what was reported before is shown."""


def group_html(title: str, run: Run | None) -> str:
    """Returns the run of a group with its results so far.

    Args:
        title: Project and name.
        run: The run; None if the group has not been opened.
    """
    if run is None:
        return _line(f"{title}: not open yet")
    if not run.closed:
        run.reporter.flush(FLUSH_TIMEOUT_S)
    state = "closed" if run.closed else "open"
    url = run.backend.url(run.parent) if run.parent else None
    head = _line(f"{title}, run {run.info.number}, {run.backend.mode}, {state}", url)
    results = results_of(run)
    table = results.about.table_url
    return head + (_line("its tasks", table) if table is not None else "") + results._repr_html_()


def task_html(run: Run, state: TaskState) -> str:
    """Returns the status of a task, its parameters and the last values."""
    if state.is_open:
        run.reporter.flush(FLUSH_TIMEOUT_S)
    head = _line(f"{state.spec.name}: {shown_status(state.status, state.reason)}", run.backend.url(state.id))
    params = [[name, _value(value)] for name, value in state.params.items()]
    metrics = [
        [str(key), f"{data.stats.last:.4g}" if not data.has_diverged else "diverged"]
        for key, data in list(state.metrics.items())
        if data.stats.count or data.has_diverged
    ]
    tables = [(["parameter", "value"], params), (["metric", with_statistic("value", "last")], metrics)]
    return head + "".join(html_table(names, body) for names, body in tables if body)


def _value(value: object) -> str:
    return value if isinstance(value, str) else shortened(literal(value), MAX_CELL_CHARS)


def _line(text: str, url: str | None = None) -> str:
    shown = html.escape(printable(text))
    if page := html.escape(page_of(url)):
        shown += f' · <a href="{page}">{page}</a>'
    return f"<div>{shown}</div>"
