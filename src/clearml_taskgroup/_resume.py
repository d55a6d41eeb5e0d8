"""Which run to go on with, and how far each of its tasks is: from the server, or from this disk."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from ._names import Measure, context_of
from ._past import PastRun, PastTask, held, latest_run, load, records
from ._reporter import SINGLE_VALUE_ITERATION, SINGLE_VALUE_TITLE, Stats
from ._stores import Ending, Status
from ._stores.online import OnlineStore, identity_of, is_original
from ._template import NameTemplate
from ._upload import ABANDONED, deliver_outbox
from .errors import RunInUseError

SETTLING = 60.0
"""Seconds for telling the server how the tasks of a dead process ended."""
ALIVE = 300.0
"""Seconds since its parent's last sign of life for which a run counts as living."""
_ENDED: dict[str, Status] = {
    "completed": "completed",
    "published": "completed",
    "publishing": "completed",
    "closed": "completed",
    "failed": "failed",
    "stopped": "stopped",
}


@attrs.define
class Prior:
    """The run that is gone on with.

    Attributes:
        attempts: The latest attempt at each key.
        queued: The keys of tasks that wait for an agent, and are left alone.
        path: Its record on this disk, if there is one.
    """

    run: str
    number: int
    parent: str | None
    owns_parent: bool
    attempts: dict[str, PastTask]
    path: Path | None = None
    queued: frozenset[str] = frozenset()


def prior_on_disk(folder: Path) -> Prior | None:
    """Finds the latest run of a group on this disk."""
    past = latest_run(folder, "offline")
    return None if past is None else _prior(past)


def _prior(past: PastRun) -> Prior:
    for task in past.tasks.values():
        if task.status is None:
            task.status, task.reason = "stopped", ABANDONED
    return Prior(past.run, past.number, past.parent, past.owns_parent, past.latest(), past.path)


def prior_on_server(
    store: OnlineStore, group_id: str, folder: Path, template: NameTemplate, takeover: bool
) -> Prior | None:
    """Finds the latest run of a group on the server, whichever machine it ran on.

    What this machine's outbox still holds of it is delivered first.

    Raises:
        RunInUseError: It lives, and `takeover` is not given.
    """
    found = [task for task in store.find(group_id) if is_original(task)]
    if not found:
        return None
    number = max(int(identity_of(task).get("run_number") or 0) for task in found)
    tasks = [task for task in found if int(identity_of(task).get("run_number") or 0) == number]
    run = identity_of(tasks[0])["run"]
    parents = [doc for (kind, _, _), doc in store.find_run(run).items() if kind == "parent"]
    parent = parents[0] if parents else None
    local = next((past for past in map(load, records(folder)) if past is not None and past.run == run), None)
    if local is not None:
        with contextlib.nullcontext() if takeover else held(local.path):
            deliver_outbox(local, store)
    elif not takeover:
        _refuse_living(parent, tasks, number)
    past = {task["id"]: _past_task(task, template) for task in reversed(tasks)}
    for task_id, known in (local.tasks if local is not None else {}).items():
        if task_id in past:
            past[task_id].measures = known.measures or past[task_id].measures
            if known.status is not None and not past[task_id].settled:
                past[task_id].status, past[task_id].reason = known.status, known.reason
    left = [task for task in past.values() if not task.settled and task.status is not None]
    store.finish([Ending(task.id, task.status or "stopped", task.reason) for task in left], SETTLING)
    latest: dict[str, PastTask] = {}
    for task in past.values():
        if task.key not in latest or task.attempt >= latest[task.key].attempt:
            latest[task.key] = task
    return Prior(
        run=run,
        number=number,
        parent=str(parent["id"]) if parent else None,
        owns_parent=parent is not None,
        attempts=latest,
        path=local.path if local is not None else None,
        queued=frozenset(identity_of(task).get("key", "") for task in tasks if task["status"] == "queued"),
    )


def _refuse_living(parent: Mapping[str, Any] | None, tasks: list[dict[str, Any]], number: int) -> None:
    if parent is None or parent.get("status") != "in_progress":
        return
    signs = [_seconds_since(doc.get("last_update")) for doc in (parent, *tasks) if doc.get("last_update")]
    since = min(signs, default=math.inf)
    if since < ALIVE:
        raise RunInUseError(f"{number}", f"its last sign of life on the server was {since:.0f} s ago")


def _seconds_since(moment: Any) -> float:
    try:
        return time.time() - datetime.fromisoformat(str(moment)).timestamp()
    except ValueError:
        return math.inf


def _past_task(task: Mapping[str, Any], template: NameTemplate) -> PastTask:
    status = str(task["status"])
    identity = identity_of(task)
    own = {name: identity.get(name, "") for name in ("key", "index")}
    own |= {"group": identity.get("group_name", ""), "task": identity.get("name", ""), "task_id": task["id"]}
    return PastTask(
        id=str(task["id"]),
        key=identity.get("key", ""),
        name=identity.get("name", ""),
        index=int(identity.get("index") or 0),
        attempt=int(identity.get("attempt") or 1),
        params={},
        status=None if status == "queued" else _ENDED.get(status, "stopped"),
        reason="" if status in _ENDED else ABANDONED,
        settled=status in _ENDED,
        measures=list(_measures(task.get("last_metrics") or {}, template, own)),
    )


def _measures(last_metrics: Mapping[str, Any], template: NameTemplate, own: Mapping[str, str]) -> list[Any]:
    """Reads a server's last values as counts; its own mean and count are not to be trusted."""
    measures = []
    for variants in last_metrics.values():
        for last in variants.values():
            title, series = str(last.get("metric")), str(last.get("variant"))
            single = title == SINGLE_VALUE_TITLE and last.get("min_value_iteration") == SINGLE_VALUE_ITERATION
            found = template.parse_single(series, own) if single else template.parse(title, series, own)
            if found is None or last.get("value") is None:
                continue
            value = last["value"]
            stats = {
                "first": last.get("first_value", value),
                "last": value,
                "min": last.get("min_value", value),
                "min_iteration": last.get("min_value_iteration"),
                "max": last.get("max_value", value),
                "max_iteration": last.get("max_value_iteration"),
                "total": math.nan,
                "count": max(1, int(last.get("count") or 1)),
            }
            measures.append([found[0], dict(context_of(template, found[1])), stats])
    return measures


def stats_of(task: PastTask) -> dict[Measure, Stats]:
    """Gives what an earlier attempt reported."""
    stats = {}
    for metric, context, counts in task.measures:
        pairs = ((name, tuple(v) if isinstance(v, list) else v) for name, v in context.items())
        stats[metric, tuple(sorted(pairs))] = Stats(**counts)
    return stats


def tell_of(done: int, queued: int, total: int) -> None:
    """Says in one line what a sweep passes over."""
    if done or queued:
        waiting = f", {queued} queued for an agent" if queued else ""
        running = total - done - queued
        print(
            f"ClearML TaskGroup: {done} of {total} completed already{waiting}; running {running}",
            file=sys.stderr,
        )
