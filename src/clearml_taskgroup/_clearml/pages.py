"""URLs of ClearML's web pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .sdk import Connection

MAX_COMPARED_TASKS = 100
"""How many tasks ClearML's comparison page shows at most."""
_ANY_PROJECT = "*"  # the page finds the project by the task


def task_url(connection: Connection, project_id: str | None, task_id: str) -> str | None:
    """The page of a task; None if ClearML does not know the web server's address."""
    if connection.web is None:
        return None
    word = "tasks" if connection.new_pages else "experiments"
    return f"{connection.web}/projects/{project_id or _ANY_PROJECT}/{word}/{task_id}/output/log"


def compare_urls(connection: Connection, project_id: str | None, task_ids: Sequence[str]) -> list[str]:
    """The pages that compare tasks, up to 100 on each; none if the web server's address is not known."""
    if connection.web is None:
        return []
    # Newer web pages redirect from the old address to the new one, but lose the ids on the way.
    word = "tasks" if connection.new_pages else "experiments"
    start = f"{connection.web}/projects/{project_id or _ANY_PROJECT}/compare-{word};ids="
    return [
        f"{start}{','.join(task_ids[first : first + MAX_COMPARED_TASKS])}/scalars/graph"
        for first in range(0, len(task_ids), MAX_COMPARED_TASKS)
    ]
