"""The names that tasks logged scalars under: of any tasks on a server, or of the tasks of a run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml.hyperparameters import SECTION
from .._clearml.queries import MAX_PAGE_TASKS, created_at, identity_of, query_all_tasks
from .._drift.parse_name import is_split
from .._text import some
from ..errors import TaskGroupError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .._clearml.api import Transport
    from .._model.past import PastRun
    from .._results.results import Results

API_TIMEOUT_S = 60.0
"""Seconds after which an API call to a server that does not answer fails."""
COMPLETED_STATUSES = ("completed", "published", "publishing", "closed", "created")
"""ClearML's statuses of completed tasks. `created` is one of them: a task that has values but was never
started comes from a script with `Task.create`, which sets no status."""
_FIELDS = (
    "id",
    "name",
    "status",
    "created",
    "last_metrics",
    f"hyperparams.{SECTION}.kind",
    f"hyperparams.{SECTION}.group_name",
)


@attrs.define(slots=False, repr=False)
class NoSuchTasksError(TaskGroupError, LookupError):
    """Raised when tasks or projects do not exist, or the credentials do not allow to read them."""

    kind: str
    asked: Sequence[str]

    def __str__(self) -> str:
        asked = some([repr(name) for name in self.asked])
        return f"the {self.kind if len(self.asked) == 1 else self.kind + 's'} {asked} could not be found"


@attrs.frozen
class LoggedNames:
    """One task and the names that it logged.

    Attributes:
        id, name: The task's id and name.
        names: Titles and series; a single value's title is `Summary`.
        completed: Whether it was completed.
        project, group: Project and name of its group; empty if not known.
        fields: The context fields that it gave to `report`, if it belongs to a group.
        created: When it was created, in seconds since 1970; None if not known.
    """

    id: str
    name: str
    names: tuple[tuple[str, str], ...]
    completed: bool
    project: str = ""
    group: str = ""
    fields: frozenset[str] = frozenset()
    created: float | None = None


def names_of_project(
    transport: Transport, project: str, *, below: bool = True, since: float | None = None
) -> list[LoggedNames]:
    """Gets the tasks of a project from the server, without archived ones, 500 in each call.

    Parents of groups are skipped: their values repeat those of their tasks.

    Args:
        transport: The connection to the server.
        project: The project's path.
        below: Whether to include sub-projects.
        since: Only tasks that were created since, in seconds since 1970.

    Raises:
        NoSuchTasksError: The project does not exist.
    """
    path = project.strip("/")
    pattern = f"^{re.escape(path)}{'(/.*)?' if below else ''}$"
    found = _projects(transport, pattern)
    if not found:
        raise NoSuchTasksError("project", [project])
    query = {"project": found, "system_tags": ["-archived"]}
    documents = query_all_tasks(transport, query, _FIELDS, since)
    tasks = [document for document in documents if identity_of(document).get("kind") != "parent"]
    return [attrs.evolve(_from_document(document), project=path) for document in tasks]


def names_of_tasks(transport: Transport, ids: Iterable[str]) -> list[LoggedNames]:
    """Gets tasks from the server by their ids.

    Raises:
        NoSuchTasksError: Some do not exist.
    """
    wanted = list(dict.fromkeys(ids))
    found: dict[str, LoggedNames] = {}
    for start in range(0, len(wanted), MAX_PAGE_TASKS):
        query = {"id": wanted[start : start + MAX_PAGE_TASKS]}
        found.update(
            (document["id"], _from_document(document))
            for document in query_all_tasks(transport, query, _FIELDS)
        )
    missing = [task for task in wanted if task not in found]
    if missing:
        raise NoSuchTasksError("task", missing)
    return [found[task] for task in wanted]


def names_of_results(results: Results) -> list[LoggedNames]:
    """Returns the names of a run's tasks: metric and split, whatever the template."""
    about = results.about
    return [
        LoggedNames(
            row.id,
            row.name,
            **_names(row.stats),
            completed=row.status == "completed",
            project=about.project,
            group=about.name,
        )
        for row in results
    ]


def names_of_run(past: PastRun) -> list[LoggedNames]:
    """Returns the names of a run's tasks from its run log."""
    return [
        LoggedNames(
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


def _names(metric_keys: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Returns the arguments `names` (metrics and splits) and `fields` of a `LoggedNames`."""
    listed = list(metric_keys)
    return {
        "names": tuple(dict.fromkeys(map(_name, listed))),
        "fields": frozenset(field for _, context in listed for field, _ in context),
    }


def _from_document(document: dict[str, Any]) -> LoggedNames:
    entries = (
        entry for variants in (document.get("last_metrics") or {}).values() for entry in variants.values()
    )
    names = tuple((str(entry["metric"]), str(entry["variant"])) for entry in entries)
    return LoggedNames(
        str(document["id"]),
        str(document.get("name") or ""),
        names,
        completed=document.get("status") in COMPLETED_STATUSES,
        group=identity_of(document).get("group_name", ""),
        created=created_at(document),
    )


def _projects(transport: Transport, pattern: str) -> list[str]:
    found: list[str] = []
    while True:
        paging = {"page_size": MAX_PAGE_TASKS, "page": len(found) // MAX_PAGE_TASKS, "order_by": ["name"]}
        body = {"name": pattern, "only_fields": ["id"], **paging}
        page = transport.call("projects.get_all", body, timeout=API_TIMEOUT_S)["projects"]
        found += [str(project["id"]) for project in page]
        if len(page) < MAX_PAGE_TASKS:
            return found
