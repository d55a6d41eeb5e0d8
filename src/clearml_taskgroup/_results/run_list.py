"""Lists the runs on a server and on this disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .._clearml.hyperparameters import IDENTITY_FIELDS, entry_field
from .._clearml.queries import (
    Document,
    identity_of,
    is_counted,
    parse_count,
    query_all_tasks,
    run_started_at,
)
from .._model.past import latest_attempts
from .._model.status import OPEN_ON_SERVER, shown_status, tally
from .._storage.past_runs import abandoned_tasks, all_runs, is_in_use

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from .._clearml.api import Transport
    from .._model.past import PastRun
    from .._storage.online import OnlineBackend

PROJECTS_TIMEOUT_S = 60.0
"""Time limit for looking up the names of projects."""


@attrs.define
class Listed:
    """One run in a list.

    Attributes:
        project, group: The group's project and name.
        group_id, run, number: The group's id; the run's id and number.
        mode: `"online"` or `"offline"`.
        started: When it was opened, in seconds since 1970; None if that is not known.
        statuses: The number of tasks by ClearML status or `abandoned`; the latest attempt of each key counts.
        record: Its run log on this disk; None if there is none.
        shared: The text of `run=` by which several processes share it; empty if they do not.
        left: How the tasks count whose process on this machine died before it ended them, by their ids.
    """

    project: str
    group: str
    group_id: str
    run: str
    number: int
    mode: str
    started: float | None
    statuses: dict[str, int] = attrs.field(factory=dict)
    record: Path | None = None
    shared: str = ""
    left: dict[str, str] = attrs.field(factory=dict, repr=False)

    @property
    def tasks(self) -> int:
        """The number of tasks."""
        return sum(self.statuses.values())


def runs_on_disk(root: Path) -> list[Listed]:
    """Lists the runs whose run logs are on this disk, the latest first.

    A run may have several run logs: one for each task that an agent ran here, and one for each resume
    of an online run that began on another machine.
    """
    run_logs: dict[str, list[PastRun]] = {}
    for past in all_runs(root):
        run_logs.setdefault(past.run, []).append(past)
    return _latest_first(_of_run_logs(found) for found in run_logs.values())


def statuses_of(past: PastRun) -> dict[str, int]:
    """Counts the tasks of one run log by status, as lists show them."""
    return _of_run_logs([past]).statuses


@attrs.frozen
class _Attempt:
    key: str
    attempt: int
    status: str


def _of_run_logs(run_logs: Sequence[PastRun]) -> Listed:
    own = next((past for past in run_logs if past.mode != "agent"), run_logs[0])
    attempts: list[_Attempt] = []
    left: dict[str, str] = {}
    for past in run_logs:
        left |= {one: shown_status(*past.tasks[one].final_status()) for one in abandoned_tasks(past)}
        if_open = "in_progress" if past.status is None and is_in_use(past.path) else "stopped"
        for task in past.tasks.values():
            status = left.get(task.id) or task.status or if_open
            attempts.append(_Attempt(task.key, task.attempt, status))
    return Listed(
        project=own.project,
        group=own.name,
        group_id=own.group,
        run=own.run,
        number=own.number,
        mode="online" if own.mode == "agent" else own.mode,
        started=min((past.started for past in run_logs if past.started is not None), default=None),
        statuses=_count(attempts),
        record=own.path,
        shared=own.shared or "",
        left=left,
    )


def runs_on_server(backend: OnlineBackend, on_disk: Mapping[str, Listed]) -> list[Listed]:
    """Lists the runs of all groups on a server, the latest first; a call for each 500 tasks.

    Args:
        backend: The server.
        on_disk: The runs on this disk by their ids, which show whose processes have died.
    """
    documents = query_all_tasks(backend.transport, {entry_field("kind"): ["task"]}, _FIELDS)
    projects = _projects(backend.transport, {str(document.get("project")) for document in documents})
    runs: dict[str, list[Document]] = {}
    for document in filter(is_counted, documents):
        runs.setdefault(identity_of(document)["run"], []).append(document)
    left = {run: on_disk[run].left for run in runs.keys() & on_disk.keys()}
    return _latest_first(_of_documents(found, projects, left.get(run, {})) for run, found in runs.items())


def _of_documents(
    documents: Sequence[Document], projects: Mapping[str, str], left: Mapping[str, str]
) -> Listed:
    identity = identity_of(documents[0])
    attempts: list[_Attempt] = []
    for document in reversed(documents):  # the latest come first
        own = identity_of(document)
        key, attempt = own.get("key") or str(document["id"]), parse_count(own.get("attempt"), 1)
        status = str(document["status"])
        if status in OPEN_ON_SERVER:
            status = left.get(str(document["id"]), status)
        attempts.append(_Attempt(key, attempt, status))
    return Listed(
        project=projects.get(str(documents[0].get("project")), ""),
        group=identity.get("group_name", ""),
        group_id=identity.get("group", ""),
        run=identity["run"],
        number=parse_count(identity.get("run_number"), 1),
        mode="online",
        started=run_started_at(documents),
        shared=identity.get("shared", ""),
        statuses=_count(attempts),
    )


def _count(attempts: Iterable[_Attempt]) -> dict[str, int]:
    return tally(attempt.status for attempt in latest_attempts(attempts).values())


def _latest_first(runs: Iterable[Listed]) -> list[Listed]:
    return sorted(runs, key=lambda run: run.started or 0, reverse=True)


_FIELDS = (
    "id",
    "status",
    "created",
    "project",
    "runtime",
    "system_tags",
    *IDENTITY_FIELDS,
)


def _projects(transport: Transport, ids: set[str]) -> Mapping[str, str]:
    if not ids:
        return {}
    body: dict[str, Any] = {"id": sorted(ids), "only_fields": ["id", "name"]}
    answer = transport.call("projects.get_all", body, timeout=PROJECTS_TIMEOUT_S)
    return {str(project["id"]): str(project["name"]) for project in answer["projects"]}
