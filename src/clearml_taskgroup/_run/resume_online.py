"""Finds the run on a server that `resume=True` continues, and how its tasks ended."""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING, Any

from .._clearml.dates import seconds_since_1970
from .._clearml.documents import past_task
from .._clearml.queries import group_tasks, identity_of, is_on_agent, parse_count, query_all_tasks, run_tasks
from .._model.metric_data import add_skipped, metrics_to_json
from .._model.past import PastRun, PastTask, Prior, latest_attempts
from .._model.specs import Ending
from .._model.status import OPEN_ON_SERVER, PUBLISHED
from .._storage.past_runs import find_run_log, load, locked
from .._storage.run_log import append
from .._storage.upload import deliver_outbox
from ..errors import RunInUseError
from .joining import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .._clearml.queries import Document
    from .._model.metric_data import Metrics
    from .._model.name_template import NameTemplate
    from .._storage.online import OnlineBackend

END_TASKS_TIMEOUT_S = 60.0
"""Time limit for setting the final statuses of a dead process's tasks on the server."""
ALIVE_S = 300.0
"""A run counts as living if its parent's last sign of life is younger than this."""


def prior_on_server(
    backend: OnlineBackend,
    group_id: str,
    folder: Path,
    template: NameTemplate,
    takeover: bool,
    ours: frozenset[str] = frozenset(),
) -> Prior | None:
    """Finds the latest run of a group on the server, whichever machine it ran on.

    Data of it in this machine's outbox is delivered first.

    Args:
        backend: The server.
        group_id: The group's id.
        folder: The folder of the group's run logs on this machine.
        template: The group's template.
        takeover: Whether a run that lives may be resumed.
        ours: The ids of parents that live because this process does.

    Raises:
        RunInUseError: It lives, and `takeover` is false.
    """
    found = group_tasks(backend.transport, group_id)
    if not found:
        return None
    number = max(parse_count(identity_of(task).get("run_number")) for task in found)
    # The latest tasks come first.
    run = next(
        run.get("run", "") for run in map(identity_of, found) if parse_count(run.get("run_number")) == number
    )
    tasks = [task for task in found if identity_of(task).get("run") == run]
    parent = next(
        (doc for (kind, *_), doc in run_tasks(backend.transport, run).items() if kind == "parent"), None
    )
    local = _online_run_log(run, folder)
    if not takeover:
        _refuse_living(backend, number, tasks, parent, local, ours)
    with _locked(local, takeover):
        if local is not None and local.outbox.exists():
            deliver_outbox(local, backend)
            found = group_tasks(backend.transport, group_id)  # with the values that were in the outbox
            tasks = [task for task in found if identity_of(task).get("run") == run]
        past = {task["id"]: past_task(task, template) for task in reversed(tasks)}
        statuses = {task["id"]: str(task["status"]) for task in tasks}
        if local is not None:
            _add_local(past, local, statuses)
        undelivered = [task for task in past.values() if not task.delivered and task.status is not None]
        endings = [Ending(task.id, *task.final_status()) for task in undelivered]
        errors = backend.finish(endings, END_TASKS_TIMEOUT_S)
        for task_id, other in backend.adopted.items():
            if task_id in past:
                past[task_id].status, past[task_id].reason = other.status, other.reason
        if not errors and local is not None:
            ended = [task for task in past.values() if task.id in local.tasks and task.status is not None]
            append(local.path, [_end_line(task) for task in ended if not local.tasks[task.id].delivered])
    latest = latest_attempts(past.values())
    waiting = frozenset(key for key, task in latest.items() if task.status is None)
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
        template=next((identity_of(task).get("template", "") for task in tasks), ""),
    )


def _online_run_log(run: str, folder: Path) -> PastRun | None:
    """Reads the run log that an online run has on this disk; an uploaded run has other ids in its own."""
    path = find_run_log(folder, run)
    past = None if path is None else load(path)
    return past if past is not None and past.mode == "online" else None


def _locked(local: PastRun | None, takeover: bool) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if takeover or local is None else locked(local.path, resume=True)


def _add_local(past: Mapping[str, PastTask], local: PastRun, statuses: Mapping[str, str]) -> None:
    """Adds what only the run log knows: the sums of values, and statuses that the server does not have."""
    for task_id, logged in local.tasks.items():
        task = past.get(task_id)
        if task is None:
            continue
        if logged.status is None:  # its process died before it could store this on the server
            add_skipped(task.metrics, logged.metrics)
            if logged.was_completed and not task.delivered:
                task.status, task.reason = logged.final_status()
            continue
        task.metrics = _merged(task.metrics, logged.metrics)
        if not logged.delivered and statuses[task_id] not in (*PUBLISHED, "queued"):
            task.status, task.reason, task.delivered = logged.status, logged.reason, False


def _merged(stored: Metrics, logged: Metrics) -> Metrics:
    """Prefers what the run log counted, unless another machine has reopened the task and changed it since."""
    merged = {**logged, **stored}
    for key, data in logged.items():
        if key not in stored or data.stats.agrees_with(stored[key].stats):
            merged[key] = data
        else:
            merged[key].stats.exact = False
    return merged


def _end_line(task: PastTask) -> dict[str, Any]:
    return {
        "event": "end",
        "id": task.id,
        "key": task.key,
        "status": task.status,
        "reason": task.reason,
        "measures": metrics_to_json(task.metrics),
        "settled": True,
    }


def _refuse_living(
    backend: OnlineBackend,
    number: int,
    tasks: list[Document],
    parent: Mapping[str, Any] | None,
    local: PastRun | None,
    ours: frozenset[str],
) -> None:
    """Looks for signs of life on the server; on this machine the lock on the run log shows them."""
    if local is None:
        parent = parent or next(
            iter(query_all_tasks(backend.transport, {"id": [str(tasks[0].get("parent"))]})), None
        )
        if parent is not None and (parent["id"] in ours or parent["status"] not in OPEN_ON_SERVER):
            return
    else:  # another machine may have resumed the run since
        parent, tasks = None, [task for task in tasks if not _is_local(task, local)]
    tasks = [task for task in tasks if not is_on_agent(task)]
    if parent is None:
        tasks = [task for task in tasks if task["status"] in OPEN_ON_SERVER]
    docs = (parent, *tasks) if parent is not None else tasks
    ages = [_seconds_since(doc["last_update"]) for doc in docs if doc.get("last_update")]
    age = max(0.0, min(ages, default=math.inf))
    if age < ALIVE_S:
        since = f"its last sign of life on the server was {age:.0f} s ago"
        left = f"if there is no other, it counts as abandoned in {math.ceil(ALIVE_S - age)} s"
        advice = (
            "wait so long; for a run that several processes share, give all of them the same run= "
            f"(or {VARIABLE}); takeover=True is meant for a process that was killed"
        )
        group = identity_of(tasks[0] if tasks else parent or {}).get("group_name", "")
        raise RunInUseError(f"{number}", f"{since}; {left}", group, advice)


def _is_local(task: Mapping[str, Any], local: PastRun) -> bool:
    identity = identity_of(task)
    opened = (identity.get("key", ""), parse_count(identity.get("attempt"), 1))
    return task["id"] in local.tasks or opened in local.opening


def _seconds_since(date: Any) -> float:
    moment = seconds_since_1970(date)
    return math.inf if moment is None else time.time() - moment
