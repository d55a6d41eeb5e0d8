"""The names that tasks logged scalars under: of any tasks on a server, or of the tasks of a run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml.events import SINGLE_VALUE_ITERATION, SINGLE_VALUE_TITLE
from .._clearml.hyperparameters import entry_field
from .._clearml.queries import MAX_PAGE_TASKS, created_at, identity_of, query_all_tasks, query_by_id
from .._drift.apply_offline import obstacle_of as session_obstacle
from .._drift.apply_offline import session_marks, session_names
from .._drift.apply_online import obstacle_of
from .._drift.parse_name import contradicts, is_split
from .._drift.plan import Logged, copied_names
from .._model.name_template import Name
from .._results.from_past import lookup_of
from .._text import some
from ..errors import TaskGroupError
from ..errors._base import facts, private_kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from .._clearml.api import Transport
    from .._model.metrics import MetricKey
    from .._model.past import PastRun, PastTask
    from .._results.results import Results
    from .._storage.raw_sessions import RawSession

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
    "system_tags",
    "tags",
    "comment",
    "last_metrics",
    entry_field("kind"),
    entry_field("group_name"),
)


Marks = tuple[Sequence[str], str]
"""Tags and comment of a task, which tell what a plan has copied in it."""


@private_kind
@facts
class NoSuchTasksError(TaskGroupError, LookupError):
    """Raised when tasks or projects do not exist, or the credentials do not allow to read them."""

    kind: str
    asked: Sequence[str]

    def __str__(self) -> str:
        asked = some([repr(name) for name in self.asked])
        return f"the {self.kind if len(self.asked) == 1 else self.kind + 's'} {asked} could not be found"


@attrs.frozen(kw_only=True)
class LoggedNames(Logged):
    """One task and the names that it logged.

    Attributes:
        completed: Whether it was completed.
        project, group: Project and name of its group; empty if not known.
        fields: The context fields that it gave to `report`, if it belongs to a group.
        template: The template of its group; empty if not known.
        created: When it was created, in seconds since 1970; None if not known.
    """

    completed: bool
    project: str = ""
    group: str = ""
    fields: frozenset[str] = frozenset()
    template: str = ""
    created: float | None = None


def names_of_project(
    transport: Transport,
    project: str,
    *,
    below: bool = True,
    since: float | None = None,
    archived: bool = False,
) -> list[LoggedNames]:
    """Gets the tasks of a project from the server, 500 in each call.

    Parents of groups are skipped: their values repeat those of their tasks.

    Args:
        transport: The connection to the server.
        project: The project's path.
        below: Whether to include sub-projects.
        since: Only tasks that were created since, in seconds since 1970.
        archived: Whether to include archived tasks.

    Raises:
        NoSuchTasksError: The project does not exist.
    """
    path = project.strip("/")
    pattern = f"^{re.escape(path)}{'(/.*)?' if below else ''}$"
    found = _projects(transport, pattern)
    if not found:
        raise NoSuchTasksError("project", [project])
    query = {"project": found} | ({} if archived else {"system_tags": ["-archived"]})
    documents = query_all_tasks(transport, query, _FIELDS, since)
    tasks = [document for document in documents if identity_of(document).get("kind") != "parent"]
    return [attrs.evolve(_from_document(document), project=path) for document in tasks]


def names_of_tasks(transport: Transport, ids: Iterable[str]) -> list[LoggedNames]:
    """Gets tasks from the server by their ids.

    Raises:
        NoSuchTasksError: Some do not exist.
    """
    wanted = list(dict.fromkeys(ids))
    documents = query_by_id(transport, wanted, _FIELDS)
    found = {document["id"]: _from_document(document) for document in documents}
    missing = [task for task in wanted if task not in found]
    if missing:
        raise NoSuchTasksError("task", missing)
    return [found[task] for task in wanted]


def names_of_results(results: Results, marks: Mapping[str, Marks]) -> list[LoggedNames]:
    """Returns the names of a run's tasks: metric and split, whatever the template.

    Args:
        results: The run's results.
        marks: Tags and comment of tasks.
    """
    about, template = results.about, results._lookup.template
    default = template.defaults.get("split")
    return [
        LoggedNames(
            row.id,
            row.name,
            **_names({key: row.names(key) for key in row.stats}, marks.get(row.id), default),
            completed=row.status == "completed",
            project=about.project,
            group=about.name,
            template=template.text,
        )
        for row in results
    ]


def names_of_run(past: PastRun, sessions: Path) -> list[LoggedNames]:
    """Returns the names of a run's tasks from its run log.

    Args:
        past: The run.
        sessions: The folder of the offline sessions.
    """
    template = lookup_of(past.template, None, None).template
    default = template.defaults.get("split")
    return [
        LoggedNames(
            task.id,
            task.name,
            **_names(
                {key: data.names for key, data in task.metrics.items()},
                session_marks(sessions / task.id) if past.mode == "offline" else None,
                default,
            ),
            completed=task.status == "completed",
            project=past.project,
            group=past.name,
            template=template.text,
            created=task.opened,
        )
        for task in past.tasks.values()
    ]


def names_of_raw(session: RawSession) -> LoggedNames:
    """Returns the names of an offline session that ClearML itself has written."""
    names, created = session.read_names()
    return LoggedNames(
        session.id,
        session.name,
        tuple(names),
        completed=True,
        project=session.project,
        created=created,
        obstacle="it is a session of ClearML's own, which is read, not changed: "
        "import it to a server, with Task.import_offline_session, and plan there",
    )


def names_of_session(past: PastRun, task: PastTask, sessions: Path) -> LoggedNames:
    """Returns the names of one of a run's tasks as its offline session has them."""
    names, tags, comment = dict[Name, bool](), list[str](), ""
    if past.mode == "offline":
        names = session_names(sessions / task.id)
        tags, comment = session_marks(sessions / task.id)
    return LoggedNames(
        task.id,
        task.name,
        _without(names, copied_names(names, tags, comment)),
        completed=task.status == "completed",
        project=past.project,
        group=past.name,
        created=task.opened,
        obstacle=session_obstacle(past, task, sessions),
        tags=tuple(tags),
        not_single=tuple(n for n, single in names.items() if n.title == SINGLE_VALUE_TITLE and not single),
    )


def _name(metric_key: MetricKey, default: str | None) -> Name:
    metric, context = metric_key
    split = dict(context).get("split")
    if split is None and default is not None and not contradicts(metric, default):
        split = default  # but `train_loss` without a split is of train, whatever the default
    split = split[0] if isinstance(split, tuple) else split
    return Name(metric, split if isinstance(split, str) and is_split(split) else metric)


def _without(names: Iterable[Name], copied: Collection[Name]) -> tuple[Name, ...]:
    return tuple(name for name in names if name not in copied)


def _names(
    named: Mapping[MetricKey, Sequence[Name]], marks: Marks | None, default: str | None
) -> dict[str, Any]:
    """Returns the arguments `names` (metrics and splits) and `fields` of a `LoggedNames`.

    Args:
        named: The names of each metric.
        marks: Tags and comment of the task.
        default: The split of metrics without any, by the template.
    """
    copied = copied_names([name for names in named.values() for name in names], *marks) if marks else set()
    listed = [key for key, names in named.items() if not names or not copied.issuperset(names)]
    return {
        "names": tuple(dict.fromkeys(_name(key, default) for key in listed)),
        "fields": frozenset(field for _, context in listed for field, _ in context),
    }


def _from_document(document: dict[str, Any]) -> LoggedNames:
    entries = (
        entry for variants in (document.get("last_metrics") or {}).values() for entry in variants.values()
    )
    logged = {Name(str(entry["metric"]), str(entry["variant"])): entry for entry in entries}
    tags = tuple(map(str, document.get("tags") or ()))
    return LoggedNames(
        str(document["id"]),
        str(document.get("name") or ""),
        _without(logged, copied_names(logged, tags, str(document.get("comment") or ""))),
        completed=document.get("status") in COMPLETED_STATUSES,
        group=identity_of(document).get("group_name", ""),
        created=created_at(document),
        obstacle=obstacle_of(document),
        tags=tags,
        not_single=tuple(
            name
            for name, entry in logged.items()
            if name.title == SINGLE_VALUE_TITLE and entry.get("min_value_iteration") != SINGLE_VALUE_ITERATION
        ),
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
