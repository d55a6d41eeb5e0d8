"""URLs of ClearML's web pages."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from urllib.parse import quote

from .hyperparameters import entry_field

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .._model.name_template import Name
    from .login import Connection

MAX_COMPARED_TASKS = 100
"""How many tasks ClearML's comparison page shows at most."""
MAX_TABLE_URL_CHARS = 6000
"""How long the URL of a table may become: web servers refuse a request line of 8 KiB."""
_ANY_PROJECT = "*"  # the page finds the project by the task
_TABLE_COLUMNS = ("selected", "name", "status")
_UNESCAPED = "!~*'()"  # what JavaScript's encodeURIComponent leaves as it is, and Python does not


def page_of(url: str | None) -> str:
    """Returns an address if it is that of a web page; empty for a folder on a disk, or a script."""
    return url if url is not None and url.startswith(("http://", "https://")) else ""


def task_url(connection: Connection, project_id: str | None, task_id: str) -> str | None:
    """The page of a task with its scalars; None if ClearML does not know the web server's address."""
    start = _project_url(connection, project_id)
    return None if start is None else f"{start}/{_tasks_word(connection)}/{task_id}/output/scalars"


def compare_urls(connection: Connection, project_id: str | None, task_ids: Sequence[str]) -> list[str]:
    """The pages that compare tasks, up to 100 on each; none if the web server's address is not known."""
    start = _project_url(connection, project_id)
    if start is None:
        return []
    # Newer web pages redirect from the old address to the new one, but lose the ids on the way.
    start += f"/compare-{_tasks_word(connection)};ids="
    return [
        f"{start}{','.join(task_ids[first : first + MAX_COMPARED_TASKS])}/scalars/graph"
        for first in range(0, len(task_ids), MAX_COMPARED_TASKS)
    ]


def run_table_url(
    connection: Connection, project_id: str | None, run: str, parent: str | None, is_own: bool
) -> str | None:
    """The project's table of tasks, with those of one run only; `with_columns` adds the columns.

    Args:
        connection: The server's addresses.
        project_id: The id of the tasks' project, if it is known.
        run: The run's id.
        parent: The id of the run's parent; None if it has none.
        is_own: Whether the parent is of this run alone, and so its tasks are all that have this parent.
    """
    start = _project_url(connection, project_id)
    if start is None:
        return None
    filters = [] if parent is None else [f"parent.name:{parent}"]
    if parent is None or not is_own:
        filters.append(f"{entry_field('run')}:{run}")
    return f"{start}/{_tasks_word(connection)}?filter={','.join(filters)}"


def with_columns(
    url: str, parameters: Iterable[str], metrics: Iterable[Name], best_first: tuple[Name, bool] | None
) -> str:
    """Adds columns to the URL of a table of tasks, as many as fit; the web page remembers them.

    Args:
        url: What `run_table_url` returned.
        parameters: Parameters of the section `General`.
        metrics: Titles and series, those of single values with the title `Summary`.
        best_first: The metric by which the table is sorted, and whether its greatest value is the best.
    """
    order = ""
    if best_first is not None:
        name, is_greatest_best = best_first
        order = f"&order={'-' if is_greatest_best else ''}last_metrics.{_hashes(name)}.value"
    columns = [*_TABLE_COLUMNS, *map(_parameter_column, parameters), *map(_metric_column, metrics)]
    left = MAX_TABLE_URL_CHARS - len(url) - len(order)
    for text in (f"&columns={quote(column, safe='')}" for column in columns):
        if len(text) <= left:
            url, left = url + text, left - len(text)
    return url + order


def _parameter_column(name: str) -> str:
    return f"hyperparams.General.{name.replace('%', '%25')}"  # the page decodes it once more


def _metric_column(name: Name) -> str:
    title, series = (quote(part, safe=_UNESCAPED).replace(".", "%2E") for part in name)
    return f"m.{_hashes(name)}.value.{title}.{series}"


def _hashes(name: Name) -> str:
    """The key under which a server keeps the values of a title and a series."""
    return ".".join(hashlib.md5(part.encode(), usedforsecurity=False).hexdigest() for part in name)


def _project_url(connection: Connection, project_id: str | None) -> str | None:
    return None if connection.web is None else f"{connection.web}/projects/{project_id or _ANY_PROJECT}"


def _tasks_word(connection: Connection) -> str:
    return "tasks" if connection.new_pages else "experiments"
