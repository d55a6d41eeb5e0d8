"""Find ClearML's queues, enqueue, follow and stop tasks, change tasks for an agent.

Calls for many tasks use ClearML's bulk actions, one call per page of tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._text import counted, did_you_mean, some
from ..errors import ServerError, UnknownQueueError
from .api_errors import Refused
from .hyperparameters import (
    OWN_ENTRIES,
    RUN_MARKER,
    SECTION,
    configuration_object,
    own_entries,
    parameter,
    runtime_of,
)
from .queries import FIELDS, MAX_PAGE_TASKS, Document, identity_of, pages_of, query_by_id
from .tasks import edit_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .api import Transport

_EMPTY_SCRIPT = dict.fromkeys(
    ("repository", "branch", "version_num", "entry_point", "working_dir", "diff"), ""
)
_ALL_FIELDS = (*FIELDS, "status_message")


def find_queue(transport: Transport, wanted: str) -> str:
    """Finds the id of a queue by its name or its id.

    Raises:
        UnknownQueueError: There is none.
    """
    body = {"only_fields": ["id", "name"], "page_size": MAX_PAGE_TASKS, "page": 0}
    found = transport.call("queues.get_all", body)["queues"]
    for field in ("name", "id"):
        for queue in found:
            if queue[field] == wanted:
                return str(queue["id"])
    names = sorted(str(queue["name"]) for queue in found)
    raise UnknownQueueError(
        wanted,
        f"is not on the server{did_you_mean(wanted, names)}, which has: {some(names) or 'none'}",
        f"choose one of them, or create it: clearml-agent daemon --queue {wanted} --create-queue",
    )


def statuses(transport: Transport, ids: Sequence[str], timeout: float | None = None) -> dict[str, str]:
    """Gets the server's status of each task; deleted tasks are missing."""
    found = query_by_id(transport, ids, ("id", "status"), timeout=timeout)
    return {str(task["id"]): str(task["status"]) for task in found}


def documents(transport: Transport, ids: Sequence[str], timeout: float | None = None) -> list[Document]:
    """Gets tasks with all fields that the library reads; deleted tasks are missing."""
    return query_by_id(transport, ids, _ALL_FIELDS, timeout=timeout)


def enqueue(transport: Transport, ids: Sequence[str], queue_id: str) -> bool:
    """Puts tasks into a queue, in their order.

    Returns:
        Whether an agent serves the queue; True if an older server does not say.

    Raises:
        ServerError: Some of them could not be enqueued; the others are in the queue.
    """
    body = {"queue": queue_id, "verify_watched_queue": True}
    failed, answers = _call_for_many(transport, "tasks.enqueue_many", ids, body)
    if failed:  # perhaps because an attempt whose answer was lost has enqueued them
        found = statuses(transport, list(failed))
        failed = {one: why for one, why in failed.items() if found.get(one) not in ("queued", "in_progress")}
    if failed:
        reason = next(iter(failed.values()))
        raise ServerError(f"{len(failed)} of {counted(len(ids), 'task')} could not be enqueued: {reason}")
    return all(answer.get("queue_watched") is not False for answer in answers)


def stop(transport: Transport, ids: Sequence[str], reason: str, *, force: bool = False) -> dict[str, str]:
    """Removes tasks from their queues, and has agents end those that are running.

    Args:
        transport: The way to the server.
        ids: The tasks.
        reason: The status reason.
        force: Whether to stop drafts, too.

    Returns:
        For each task that could not be stopped, why.
    """
    return _call_for_many(transport, "tasks.stop_many", ids, {"status_reason": reason, "force": force})[0]


def _call_for_many(
    transport: Transport, action: str, ids: Sequence[str], body: Mapping[str, Any]
) -> tuple[dict[str, str], list[Mapping[str, Any]]]:
    """Makes one call for many tasks; gives why it failed, per failed task, and the answers."""
    failed: dict[str, str] = {}
    answers: list[Mapping[str, Any]] = []
    for page in pages_of(ids):
        try:
            answer = transport.call(action, {**body, "ids": page})
        except Refused as refusal:  # it failed for all of them
            failed |= dict.fromkeys(page, refusal.problem)
            continue
        for one in answer.get("failed") or []:
            failed[str(one["id"])] = str((one.get("error") or {}).get("msg", "refused"))
        answers.append(answer)
    return failed, answers


def edit_script(transport: Transport, task_id: str, script: Mapping[str, Any]) -> None:
    """Replaces the script that an agent starts for a task."""
    transport.call("tasks.edit", {"task": task_id, "force": True, "script": {**_EMPTY_SCRIPT, **script}})


def edit_identity(
    transport: Transport, task_id: str, entries: Mapping[str, str | int], run: str = ""
) -> None:
    """Changes entries of a task's identity, whatever the task's status.

    Args:
        transport: The way to the server.
        task_id: The task.
        entries: The new values.
        run: The id of a run, to mark the task as an original of it, not a copy.
    """
    texts = {name: str(value) for name, value in entries.items()}
    task: Document = {}
    if run or texts.keys() & {*OWN_ENTRIES}:
        (task,) = query_by_id(transport, [task_id], _EDITED_FIELDS)
    section = (task.get("hyperparams") or {}).get(SECTION) or {}
    own = {name: text for name, text in texts.items() if name in OWN_ENTRIES and name not in section}
    object_ = configuration_object(own_entries(task.get("configuration") or {}) | own) if own else None
    items = {name: parameter(SECTION, name, text) for name, text in texts.items() if name not in own}
    is_marked = bool(run) or RUN_MARKER in (task.get("runtime") or {})
    marker = runtime_of(identity_of(task) | texts | ({"run": run} if run else {})) if is_marked else {}
    body: dict[str, Any] = {"task": task_id, "force": True}
    try:
        edit_parameters(transport, task_id, [*items.values()])
        if object_ is not None:
            transport.call("tasks.edit_configuration", {**body, "configuration": [object_]})
        if marker.items() - (task.get("runtime") or {}).items():
            transport.call("tasks.edit_runtime", {**body, "add_or_update": marker})
    except Refused:  # these actions accept drafts and running tasks only
        (task,) = query_by_id(transport, [task_id], _EDITED_FIELDS)
        sections = task.get("hyperparams") or {}
        sections[SECTION] = {**sections.get(SECTION, {}), **items}
        objects = {**(task.get("configuration") or {}), **({} if object_ is None else {SECTION: object_})}
        body |= {"hyperparams": sections, "configuration": objects}
        transport.call("tasks.edit", {**body, "runtime": {**(task.get("runtime") or {}), **marker}})


_EDITED_FIELDS = ("hyperparams", "configuration", "runtime")
