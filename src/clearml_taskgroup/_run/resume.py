"""Which run to go on with, and how far each of its tasks is: from the server, or from this disk."""

from __future__ import annotations

import contextlib
import math
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .._clearml.documents import past_task
from .._clearml.queries import group_tasks, identity_of, is_on_agent, parse_count, query_all_tasks, run_tasks
from .._log import logger
from .._model.name_template import NameTemplate
from .._model.past import PastRun, PastTask, Prior
from .._model.specs import Ending
from .._model.status import ABANDONED, PUBLISHED
from .._storage.past_runs import held, latest_run, load, record_of
from .._storage.run_log import append
from .._storage.upload import deliver_outbox
from ..errors import RunInUseError
from .recount import as_spelt, count_dead, spelling

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .._storage.offline import OfflineBackend
    from .._storage.online import OnlineBackend

SETTLING = 60.0
"""Seconds for telling the server how the tasks of a dead process ended."""
ALIVE = 300.0
"""Seconds since its parent's last sign of life for which a run counts as living."""
_OPEN = ("created", "in_progress")


def prior_on_disk(folder: Path, backend: OfflineBackend) -> Prior | None:
    """Finds the latest run of a group on this disk.

    Args:
        folder: Where this machine keeps the group's records.
        backend: The sessions, with the values of what has died.
    """
    past = latest_run(folder, "offline")
    if past is None:
        return None
    count_dead(past, backend, NameTemplate(past.template))  # which the names were made with
    return _prior(past)


def _prior(past: PastRun) -> Prior:
    for task in past.tasks.values():
        if task.status is None:
            task.status, task.reason = "stopped", ABANDONED
    return Prior(past.run, past.number, past.parent, past.owns_parent, past.latest(), past.path)


def prior_on_server(
    backend: OnlineBackend,
    group_id: str,
    folder: Path,
    template: NameTemplate,
    takeover: bool,
    ours: frozenset[str] = frozenset(),
) -> Prior | None:
    """Finds the latest run of a group on the server, whichever machine it ran on.

    What this machine's outbox still holds of it is delivered first.

    Args:
        backend: The server.
        group_id: The group's id.
        folder: Where this machine keeps the group's records.
        template: The group's template.
        takeover: Whether a living run is gone on with.
        ours: The parents that live because this process does.

    Raises:
        RunInUseError: It lives, and `takeover` is not given.
    """
    found = group_tasks(backend.transport, group_id)
    if not found:
        return None
    number = max(parse_count(identity_of(task).get("run_number")) for task in found)
    run = next(
        run["run"] for run in map(identity_of, found) if parse_count(run.get("run_number")) == number
    )  # the latest comes first
    tasks = [task for task in found if identity_of(task)["run"] == run]
    parent = next(
        (doc for (kind, *_), doc in run_tasks(backend.transport, run).items() if kind == "parent"), None
    )
    local = _record_of(run, folder)
    if not takeover:
        _refuse_living(backend, number, tasks, parent, local, ours)
    with _ours_alone(local, takeover):
        if local is not None and local.outbox.exists():
            deliver_outbox(local, backend)  # and the values that were in it are known from now on
            found = group_tasks(backend.transport, group_id)
            tasks = [task for task in found if identity_of(task)["run"] == run]
        past = {task["id"]: past_task(task, template) for task in reversed(tasks)}
        statuses = {task["id"]: str(task["status"]) for task in tasks}
        if local is not None:
            _add_local(past, local, statuses)
        left = [task for task in past.values() if not task.settled and task.status is not None]
        endings = [Ending(task.id, task.status or "stopped", task.reason) for task in left]
        if not backend.finish(endings, SETTLING) and local is not None:
            ended = [task for task in past.values() if task.id in local.tasks and task.status is not None]
            append(local.path, [_end_of(task) for task in ended if not local.tasks[task.id].settled])
    latest: dict[str, PastTask] = {}
    for known in past.values():
        if known.key not in latest or known.attempt >= latest[known.key].attempt:
            latest[known.key] = known
    waiting = frozenset(key for key, known in latest.items() if known.status is None)
    drafts = frozenset(key for key in waiting if statuses[latest[key].id] == "created")
    return Prior(
        run=run,
        number=number,
        parent=str(parent["id"]) if parent else None,
        owns_parent=parent is not None,
        attempts=latest,
        path=local.path if local is not None else None,
        queued=waiting - drafts,
        drafts=drafts,
    )


def _record_of(run: str, folder: Path) -> PastRun | None:
    """Finds the record that an online run has on this disk; an uploaded one's ids are others."""
    path = record_of(folder, run)
    past = None if path is None else load(path)
    return past if past is not None and past.mode == "online" else None


def _ours_alone(local: PastRun | None, takeover: bool) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if takeover or local is None else held(local.path)


def _add_local(past: Mapping[str, PastTask], local: PastRun, statuses: Mapping[str, str]) -> None:
    """Fills in what only this disk knows: all values' sums, and ends that the server was not told."""
    spelt = spelling(local.tasks.values())
    for task_id, known in local.tasks.items():
        if task_id not in past:
            continue
        task = past[task_id]
        task.measures = as_spelt(task.measures, spelt)
        if known.status is None:
            continue
        task.measures = known.measures or task.measures
        if not known.settled and statuses[task_id] not in (*PUBLISHED, "queued"):
            task.status, task.reason, task.settled = known.status, known.reason, False


def _end_of(task: PastTask) -> dict[str, Any]:
    told = {name: getattr(task, name) for name in ("id", "key", "status", "reason", "measures")}
    return {"event": "end", **told, "settled": True}


def _refuse_living(
    backend: OnlineBackend,
    number: int,
    tasks: list[dict[str, Any]],
    parent: Mapping[str, Any] | None,
    local: PastRun | None,
    ours: frozenset[str],
) -> None:
    """Looks for signs of life on the server; the lock on a local record tells of this machine."""
    if local is None:
        parent = parent or next(
            iter(query_all_tasks(backend.transport, {"id": [str(tasks[0].get("parent"))]})), None
        )
        if parent is not None and (parent["id"] in ours or parent["status"] not in _OPEN):
            return
    else:  # has another machine gone on with it?
        parent, tasks = None, [task for task in tasks if not _is_local(task, local)]
    tasks = [task for task in tasks if not is_on_agent(task)]
    if parent is None:
        tasks = [task for task in tasks if task["status"] in _OPEN]
    docs = (parent, *tasks) if parent is not None else tasks
    signs = [_seconds_since(doc.get("last_update")) for doc in docs if doc.get("last_update")]
    since = min(signs, default=math.inf)
    if since < ALIVE:
        raise RunInUseError(f"{number}", f"its last sign of life on the server was {since:.0f} s ago")


def _is_local(task: Mapping[str, Any], local: PastRun) -> bool:
    identity = identity_of(task)
    opened = (identity.get("key", ""), parse_count(identity.get("attempt"), 1))
    return task["id"] in local.tasks or opened in local.opening


def _seconds_since(moment: Any) -> float:
    try:
        return time.time() - datetime.fromisoformat(str(moment)).timestamp()
    except ValueError:
        return math.inf


def tell_of(done: int, queued: int, total: int) -> None:
    """Says in one line how much of a space is completed already."""
    if done or queued:
        waiting = f", {queued} queued for an agent" if queued else ""
        running = total - done - queued
        logger.info("%d of %d completed already%s; running %d", done, total, waiting, running)
