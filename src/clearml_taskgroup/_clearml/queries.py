"""What a server knows of groups and their runs: a group's tasks are found by their own section."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .dates import seconds_since_1970
from .hyperparameters import SECTION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .api import Transport

PATIENCE = 120.0
"""Seconds for which a question waits for a server that does not answer."""
PAGE = 500
"""The most tasks that a server gives in one page."""
FIELDS = (
    "id",
    "name",
    "status",
    "status_reason",
    "parent",
    "project",
    "hyperparams",
    "runtime",
    "last_metrics",
    "created",
    "started",
    "completed",
    "last_update",
    "execution.queue",
)
"""What is asked of each task."""

Document = dict[str, Any]
"""A server's task document, with the fields that were asked for."""


def ask(transport: Transport, query: Mapping[str, Any]) -> list[Document]:
    """Asks for tasks, once."""
    return list(transport.call("tasks.get_all", dict(query), patience=PATIENCE)["tasks"])


def ask_all(
    transport: Transport,
    query: Mapping[str, Any],
    fields: tuple[str, ...] = FIELDS,
    since: float | None = None,
) -> list[Document]:
    """Asks for tasks, in one call for each 500, the latest first.

    Args:
        transport: The way to the server.
        query: What they must have.
        fields: What is asked of each.
        since: Only tasks that were created since, in seconds since 1970; of the others no more than a
            page is asked for. It needs the field `created`.
    """
    found: list[Document] = []
    while True:
        paging = {"order_by": ["-created"], "page_size": PAGE, "page": len(found) // PAGE}
        page = ask(transport, {**query, **paging, "only_fields": list(fields)})
        found += page
        known = [task for task in found if since is None or (created_of(task) or since) >= since]
        if len(page) < PAGE or len(known) < len(found):
            return known


def last_run_number(transport: Transport, group_id: str) -> int:
    """Finds the number of a group's latest run, 0 where there is none."""
    found = ask(
        transport,
        {
            f"hyperparams.{SECTION}.group.value": [group_id],
            "only_fields": [f"hyperparams.{SECTION}.run_number.value"],
            "order_by": ["-created"],
            "page_size": 10,
            "page": 0,
        },
    )
    return max((whole(identity_of(task).get("run_number")) for task in found), default=0)


def latest_of(transport: Transport, group_id: str, run: int | str | None) -> str | None:
    """Finds the id of a group's run.

    Args:
        transport: The way to the server.
        group_id: The group's id.
        run: The run's number, its id or the first digits of that; None for the latest.
    """
    if isinstance(run, str):
        return next((known for known in run_ids(transport, group_id) if known.startswith(run)), None)
    query: dict[str, Any] = {f"hyperparams.{SECTION}.group.value": [group_id]}
    if run is not None:
        query[f"hyperparams.{SECTION}.run_number.value"] = [str(run)]
    fields = [f"hyperparams.{SECTION}.{name}.value" for name in ("run", "run_number")]
    found = ask(
        transport, {**query, "only_fields": fields, "order_by": ["-created"], "page_size": 10, "page": 0}
    )
    runs = [identity_of(task) for task in found]
    return max(runs, key=lambda identity: whole(identity.get("run_number")))["run"] if runs else None


def run_ids(transport: Transport, group_id: str) -> list[str]:
    """Finds the ids of a group's runs, the latest first."""
    query = {f"hyperparams.{SECTION}.group.value": [group_id]}
    found = ask_all(transport, query, (f"hyperparams.{SECTION}.run.value",))
    return list(dict.fromkeys(identity_of(task)["run"] for task in found))


def group_names(transport: Transport, project: str) -> list[str]:
    """Finds the names of a project's groups, by the first task of each run; the latest first."""
    query = {"name": f"^{re.escape(project)}$", "only_fields": ["id", "name"]}
    found = transport.call("projects.get_all", query, patience=PATIENCE)["projects"]
    ids = [str(each["id"]) for each in found if each["name"] == project]
    if not ids:
        return []
    tasks: dict[str, Any] = {"project": ids, f"hyperparams.{SECTION}.index.value": ["0"]}
    tasks |= {"order_by": ["-created"], "page_size": PAGE, "page": 0}
    firsts = ask(transport, {**tasks, "only_fields": [f"hyperparams.{SECTION}.group_name.value"]})
    return [
        name for name in dict.fromkeys(identity_of(task).get("group_name", "") for task in firsts) if name
    ]


def group_tasks(transport: Transport, group_id: str, *, copies: bool = False) -> list[Document]:
    """Finds all tasks of a group, of all its runs.

    Args:
        transport: The way to the server.
        group_id: The group's id.
        copies: Whether copies made in the web page are wanted too.
    """
    query = {
        f"hyperparams.{SECTION}.group.value": [group_id],
        f"hyperparams.{SECTION}.kind.value": ["task"],
    }
    return [task for task in ask_all(transport, query) if copies or is_original(task)]


def of_run(transport: Transport, run: str) -> list[Document]:
    """Finds a run's tasks and its parent, with copies made in the web page, the latest first."""
    return ask_all(transport, {f"hyperparams.{SECTION}.run.value": [run]})


def run_tasks(transport: Transport, run: str) -> dict[tuple[str, str, str], Document]:
    """Finds a run's tasks and its parent, by kind, key and attempt."""
    by_identity = {}
    for task in filter(is_original, of_run(transport, run)):
        identity = identity_of(task)
        name = (identity.get("kind", ""), identity.get("key", ""), identity.get("attempt", ""))
        by_identity[name] = task
    return by_identity


def is_original(task: Mapping[str, Any]) -> bool:
    """Tells a task that a group opened from a copy that was made of it in the web page."""
    marker = (task.get("runtime") or {}).get("taskgroup_run")
    return bool(marker) and marker == identity_of(task).get("run")


def is_at_agent(task: Mapping[str, Any]) -> bool:
    """Tells a task that waits for an agent, as a draft too, or is run by one."""
    submitted = bool(identity_of(task).get("queue"))
    if task["status"] == "in_progress":
        return submitted or bool((task.get("execution") or {}).get("queue"))
    return task["status"] == "queued" or (task["status"] == "created" and submitted)


def identity_of(task: Mapping[str, Any]) -> dict[str, str]:
    """Reads the values of the section `TaskGroup` from a server's task document."""
    section = (task.get("hyperparams") or {}).get(SECTION) or {}
    return {name: str(item.get("value", "")) for name, item in section.items()}


def started_of(documents: Iterable[Document]) -> float | None:
    """Finds when a run began, in seconds since 1970: as it was opened, or long before it was uploaded."""
    told = [identity_of(document).get("run_started") or document.get("created") for document in documents]
    return min((moment for moment in map(seconds_since_1970, told) if moment is not None), default=None)


def created_of(document: Document) -> float | None:
    """Finds when a task was created, in seconds since 1970; None if that is not known."""
    return seconds_since_1970(document.get("created"))


def whole(text: str | None, default: int = 0) -> int:
    """Reads a whole number that a person may have edited in the web page."""
    return int(text) if text and text.isdigit() else default
