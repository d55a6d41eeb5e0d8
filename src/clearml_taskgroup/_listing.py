"""Which runs there are: on a server, on this disk."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from ._past import all_runs
from ._stores import SECTION
from ._stores.lookup import ask_all, identity_of, is_original, whole
from ._stores.online import OnlineStore
from ._transport import Transport


@attrs.define
class Listed:
    """One run, as a list shows it.

    Attributes:
        project, group: The group's project and name.
        group_id, run, number: The group's id; the run's id and number.
        mode: `"online"` or `"offline"`.
        started: When it was opened, in seconds since 1970; None if that is not known.
        statuses: How many tasks are how far, in ClearML's words.
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
    """Lists the runs whose records are on this disk, the latest first."""
    found = []
    for past in all_runs(root):
        listed = Listed(
            project=past.project,
            group=past.name,
            group_id=past.group,
            run=past.run,
            number=past.number,
            mode=past.mode,
            started=past.started,
            record=past.path,
        )
        for task in past.latest().values():
            _count(listed, task.status or "not ended")
        found.append(listed)
    return sorted(found, key=lambda listed: listed.started or 0, reverse=True)


def runs_on_server(store: OnlineStore) -> list[Listed]:
    """Lists the runs of all groups on a server, the latest first; a call for each 500 tasks."""
    found: dict[str, Listed] = {}
    documents = ask_all(store.transport, {f"hyperparams.{SECTION}.kind.value": ["task"]}, _FIELDS)
    projects = _projects(store.transport, {str(document.get("project")) for document in documents})
    for document in filter(is_original, documents):
        identity = identity_of(document)
        run = identity["run"]
        created = _seconds(document.get("created"))
        if run not in found:
            found[run] = Listed(
                project=projects.get(str(document.get("project")), ""),
                group=identity.get("group_name", ""),
                group_id=identity.get("group", ""),
                run=run,
                number=whole(identity.get("run_number"), 1),
                mode="online",
                started=created,
            )
        if created is not None:
            found[run].started = min(created, found[run].started or created)
        _count(found[run], str(document["status"]))
    return sorted(found.values(), key=lambda listed: listed.started or 0, reverse=True)


_FIELDS = (
    "id",
    "status",
    "created",
    "project",
    "runtime",
    *(f"hyperparams.{SECTION}.{name}" for name in ("group", "group_name", "run", "run_number")),
)


def _projects(transport: Transport, ids: set[str]) -> Mapping[str, str]:
    if not ids:
        return {}
    body: dict[str, Any] = {"id": sorted(ids), "only_fields": ["id", "name"]}
    answer = transport.call("projects.get_all", body, patience=60)
    return {str(project["id"]): str(project["name"]) for project in answer["projects"]}


def _count(listed: Listed, status: str) -> None:
    listed.statuses[status] = listed.statuses.get(status, 0) + 1


def _seconds(moment: Any) -> float | None:
    try:
        return datetime.fromisoformat(str(moment)).timestamp()
    except ValueError:
        return None
