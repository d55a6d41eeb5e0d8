"""Carries out a plan on a server: each task's tag first, then its data points, then its comment.

Each step can be repeated. A copied data point is the same event each time, which a server stores once, and
what is there already is not sent again.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from .._clearml.api_errors import Refused
from .._clearml.concurrent import call_concurrently
from .._clearml.queries import is_archived, query_by_id
from .._clearml.stored_points import (
    is_counted,
    last_metrics,
    read_stored,
    send_events,
    stored_event,
)
from .._model.status import PUBLISHED
from .copying import Outcome, to_do
from .plan import close_to_limit, with_comment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .._clearml.api import Transport
    from .._clearml.stored_points import StoredCurve
    from .._model.name_template import Name
    from .plan import Copy, Plan, TaskPlan

COPIES_AT_ONCE = 50
"""Of how many copies of a task the data points are in memory at once."""
_FIELDS = ("id", "status", "system_tags", "tags", "comment", "last_metrics")


def obstacle_of(document: Mapping[str, object]) -> str:
    """Says why a task on a server may not be changed; empty if it may."""
    status = document.get("status")
    if status in PUBLISHED:
        return "it is published"
    if is_archived(document):
        return "it is archived"
    if status == "in_progress":
        return "it is running"
    return "it is queued" if status == "queued" else ""


def apply_online(transport: Transport, plan: Plan, done: Callable[[Outcome], None]) -> None:
    """Copies what a plan says, or what is missing of it.

    Args:
        transport: The way to the server.
        plan: The plan.
        done: Called for each task, from several threads.

    Raises:
        ServerError: The server became unreachable; call it again to continue.
    """
    stopped = threading.Event()

    def work(task: TaskPlan) -> None:
        if stopped.is_set():
            return
        try:
            done(_apply(transport, plan, task))
        except Refused as refusal:
            done(Outcome(task, problems=[refusal.problem]))
        except BaseException:
            stopped.set()
            raise

    call_concurrently(work, plan.tasks)


def _apply(transport: Transport, plan: Plan, task: TaskPlan) -> Outcome:
    document = next(iter(query_by_id(transport, [task.id], _FIELDS)), None)
    if document is None:
        return Outcome(task, problems=["it was deleted"])
    known = last_metrics(document)
    if why := obstacle_of(document) or close_to_limit(known, task.copies):
        return Outcome(task, problems=[why])
    tags = list(map(str, document.get("tags") or ()))
    begun = is_tagged = plan.tag in tags
    copied: list[Copy] = []
    finished: list[Copy] = []
    problems: list[str] = []
    points = 0
    for first in range(0, len(task.copies), COPIES_AT_ONCE):
        part = task.copies[first : first + COPIES_AT_ONCE]
        curves = read_stored(
            transport, task.id, [name for copy in part for name in (copy.source, copy.target)]
        )
        left = to_do(part, curves, known, begun=begun)
        finished += left.allowed
        problems += left.problems
        events = []
        for copy in left.allowed:
            missing = _to_send(copy, curves, left.missing.get(copy, {}), known)
            events += [stored_event(task.id, copy.target, at, point) for at, point in missing.items()]
            copied += [copy] if missing else []
        if events and not is_tagged:
            _add_tag(transport, task.id, plan.tag)
            is_tagged = True
        send_events(transport, events)
        points += len(events)
    if finished:
        _add_comment(transport, plan, task, finished)
    return Outcome(task, copied, points, problems)


def _to_send(
    copy: Copy,
    curves: Mapping[Name, StoredCurve],
    missing: StoredCurve,
    known: Mapping[Name, Mapping[str, object]],
) -> StoredCurve:
    """Returns the data points to send: what is missing, or all if the task's statistics lack some.

    A server that died within a request has stored data points that are in no statistics.
    """
    source, target, entry = curves[copy.source], curves[copy.target], known.get(copy.target)
    if not target or not is_counted(entry, target):
        return source
    if missing and (entry or {}).get("count") != len(target):
        return source
    return missing


def _add_tag(transport: Transport, task_id: str, tag: str) -> None:
    with contextlib.suppress(Refused):
        transport.call("tasks.update_tags", {"ids": [task_id], "add_tags": [tag]})
        return
    # A server before 2.0 has no such call.
    for document in query_by_id(transport, [task_id], ("id", "tags")):  # none if it was just deleted
        transport.call("tasks.update", {"task": task_id, "tags": [*(document.get("tags") or ()), tag]})


def _add_comment(transport: Transport, plan: Plan, task: TaskPlan, copies: Sequence[Copy]) -> None:
    document = next(iter(query_by_id(transport, [task.id], ("id", "comment"))), None)
    before = str((document or {}).get("comment") or "")
    comment = with_comment(before, plan, copies)
    if document is not None and comment != before:
        transport.call("tasks.update", {"task": task.id, "comment": comment})
