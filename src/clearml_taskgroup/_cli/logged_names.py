"""Under which names tasks logged: any tasks of a server, or those of a run, whoever made them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml.hyperparameters import SECTION
from .._clearml.queries import PAGE, ask_all, created_of, identity_of
from .._drift.parse_name import is_split
from .._model.status import from_server
from ..errors import NoSuchTasksError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._clearml.api import Transport
    from .._model.past import PastRun
    from .._results.results import Results

PATIENCE = 60.0
"""Seconds for which a question waits for a server that does not answer."""
_FIELDS = (
    "id",
    "name",
    "status",
    "created",
    "last_metrics",
    f"hyperparams.{SECTION}.kind",
    f"hyperparams.{SECTION}.group_name",
)


@attrs.frozen
class Logged:
    """One task and the names that it logged.

    Attributes:
        id, name: Which task it is.
        names: Titles and series; a single value's title is `Summary`.
        completed: Whether it has done all that it was to do.
        project, group: Those of its group, where they are known; else empty.
        fields: The fields of the contexts that it gave to `report`, if a group made it.
        created: When it was created, in seconds since 1970; None if that is not known.
    """

    id: str
    name: str
    names: tuple[tuple[str, str], ...]
    completed: bool
    project: str = ""
    group: str = ""
    fields: frozenset[str] = frozenset()
    created: float | None = None


def of_project(
    transport: Transport, project: str, *, below: bool = True, since: float | None = None
) -> list[Logged]:
    """Asks a server for the tasks of a project that are not archived, in a call for each 500.

    Parents of groups are left out: what they log is of their tasks' metrics.

    Args:
        transport: The way to the server.
        project: The project's path.
        below: Whether the projects below it count, too.
        since: Only tasks that were created since, in seconds since 1970.

    Raises:
        NoSuchTasksError: There is no such project.
    """
    path = project.strip("/")
    pattern = f"^{re.escape(path)}{'(/.*)?' if below else ''}$"
    found = _projects(transport, pattern)
    if not found:
        raise NoSuchTasksError("project", [project])
    query = {"project": found, "system_tags": ["-archived"]}
    documents = ask_all(transport, query, _FIELDS, since)
    tasks = [document for document in documents if identity_of(document).get("kind") != "parent"]
    return [attrs.evolve(_logged(document), project=path) for document in tasks]


def of_tasks(transport: Transport, ids: Iterable[str]) -> list[Logged]:
    """Asks a server for tasks by their ids.

    Raises:
        NoSuchTasksError: Some are not there.
    """
    wanted = list(dict.fromkeys(ids))
    found: dict[str, Logged] = {}
    for start in range(0, len(wanted), PAGE):
        query = {"id": wanted[start : start + PAGE]}
        found.update((document["id"], _logged(document)) for document in ask_all(transport, query, _FIELDS))
    missing = [task for task in wanted if task not in found]
    if missing:
        raise NoSuchTasksError("task", missing)
    return [found[task] for task in wanted]


def of_results(results: Results) -> list[Logged]:
    """Takes the names of a run's tasks: metric and context, whatever template they went through."""
    about = results.about
    return [
        Logged(
            row.id,
            row.name,
            **_names(row.stats),
            completed=row.status == "completed",
            project=about.project,
            group=about.name,
        )
        for row in results
    ]


def of_past(past: PastRun) -> list[Logged]:
    """Takes the names of a run's tasks from its record."""
    return [
        Logged(
            task.id,
            task.name,
            **_names(task.metrics),
            completed=task.status == "completed",
            project=past.project,
            group=past.name,
            created=task.opened,
        )
        for task in past.tasks.values()
    ]


def _name(metric_key: tuple[str, Any]) -> tuple[str, str]:
    metric, context = metric_key
    split = dict(context).get("split")
    split = split[0] if isinstance(split, tuple) else split
    return metric, split if isinstance(split, str) and is_split(split) else metric


def _names(measures: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Takes the names of a task of a group: metrics and splits, and the fields of all contexts."""
    listed = list(measures)
    return {
        "names": tuple(dict.fromkeys(map(_name, listed))),
        "fields": frozenset(field for _, context in listed for field, _ in context),
    }


def _logged(document: dict[str, Any]) -> Logged:
    entries = (
        entry for variants in (document.get("last_metrics") or {}).values() for entry in variants.values()
    )
    names = tuple((str(entry["metric"]), str(entry["variant"])) for entry in entries)
    return Logged(
        str(document["id"]),
        str(document.get("name") or ""),
        names,
        # A task with values that was never started is of a script with `Task.create`, which sets no status.
        completed=from_server(str(document.get("status"))) in ("completed", "created"),
        group=identity_of(document).get("group_name", ""),
        created=created_of(document),
    )


def _projects(transport: Transport, pattern: str) -> list[str]:
    found: list[str] = []
    while True:
        paging = {"page_size": PAGE, "page": len(found) // PAGE, "order_by": ["name"]}
        body = {"name": pattern, "only_fields": ["id"], **paging}
        page = transport.call("projects.get_all", body, patience=PATIENCE)["projects"]
        found += [str(project["id"]) for project in page]
        if len(page) < PAGE:
            return found
