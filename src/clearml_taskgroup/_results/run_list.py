"""Which runs there are: on a server, on this disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .._clearml.hyperparameters import SECTION
from .._clearml.queries import (
    Document,
    identity_of,
    is_original,
    parse_count,
    query_all_tasks,
    run_started_at,
)
from .._model.status import tally
from .._storage.past_runs import all_runs, is_held

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from .._clearml.api import Transport
    from .._model.past import PastRun
    from .._storage.online import OnlineBackend


@attrs.define
class Listed:
    """One run, as a list shows it.

    Attributes:
        project, group: The group's project and name.
        group_id, run, number: The group's id; the run's id and number.
        mode: `"online"` or `"offline"`.
        started: When it was opened, in seconds since 1970; None if that is not known.
        statuses: How many tasks are how far, in ClearML's words; of a task that was tried again the
            latest attempt counts.
        record: Its record on this disk, if there is one.
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

    @property
    def tasks(self) -> int:
        """How many tasks it has."""
        return sum(self.statuses.values())


def runs_on_disk(root: Path) -> list[Listed]:
    """Lists the runs whose records are on this disk, the latest first.

    A run may have several records: one for each task that an agent ran here, one for each resume of an
    online run that began elsewhere.
    """
    records: dict[str, list[PastRun]] = {}
    for past in all_runs(root):
        records.setdefault(past.run, []).append(past)
    return _latest_first(_of_records(found) for found in records.values())


def statuses_of(past: PastRun) -> dict[str, int]:
    """Counts how far the tasks of one record are, as lists show it."""
    return _of_records([past]).statuses


def _of_records(records: Sequence[PastRun]) -> Listed:
    own = next((past for past in records if past.mode != "agent"), records[0])
    statuses: dict[str, tuple[int, str]] = {}
    for past in records:
        open_now = "in_progress" if past.status is None and is_held(past.path) else "stopped"
        for task in past.latest().values():
            if task.attempt >= statuses.get(task.key, (0, ""))[0]:
                statuses[task.key] = (task.attempt, task.status or open_now)
    return Listed(
        project=own.project,
        group=own.name,
        group_id=own.group,
        run=own.run,
        number=own.number,
        mode="online" if own.mode == "agent" else own.mode,
        started=min((past.started for past in records if past.started is not None), default=None),
        statuses=tally(status for _, status in statuses.values()),
        record=own.path,
    )


def runs_on_server(backend: OnlineBackend) -> list[Listed]:
    """Lists the runs of all groups on a server, the latest first; a call for each 500 tasks."""
    documents = query_all_tasks(backend.transport, {f"hyperparams.{SECTION}.kind.value": ["task"]}, _FIELDS)
    projects = _projects(backend.transport, {str(document.get("project")) for document in documents})
    runs: dict[str, list[Document]] = {}
    for document in filter(is_original, documents):
        runs.setdefault(identity_of(document)["run"], []).append(document)
    return _latest_first(_of_documents(found, projects) for found in runs.values())


def _of_documents(documents: Sequence[Document], projects: Mapping[str, str]) -> Listed:
    identity = identity_of(documents[0])
    latest: dict[str, tuple[int, str]] = {}
    for document in documents:
        own = identity_of(document)
        key, attempt = own.get("key") or str(document["id"]), parse_count(own.get("attempt"), 1)
        if attempt > latest.get(key, (0, ""))[0]:
            latest[key] = (attempt, str(document["status"]))
    return Listed(
        project=projects.get(str(documents[0].get("project")), ""),
        group=identity.get("group_name", ""),
        group_id=identity.get("group", ""),
        run=identity["run"],
        number=parse_count(identity.get("run_number"), 1),
        mode="online",
        started=run_started_at(documents),
        statuses=tally(status for _, status in latest.values()),
    )


def _latest_first(runs: Iterable[Listed]) -> list[Listed]:
    return sorted(runs, key=lambda run: run.started or 0, reverse=True)


_FIELDS = (
    "id",
    "status",
    "created",
    "project",
    "runtime",
    *(
        f"hyperparams.{SECTION}.{name}"
        for name in ("group", "group_name", "run", "run_number", "run_started", "key", "attempt")
    ),
)


def _projects(transport: Transport, ids: set[str]) -> Mapping[str, str]:
    if not ids:
        return {}
    body: dict[str, Any] = {"id": sorted(ids), "only_fields": ["id", "name"]}
    answer = transport.call("projects.get_all", body, timeout=60)
    return {str(project["id"]): str(project["name"]) for project in answer["projects"]}
