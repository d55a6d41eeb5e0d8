"""What is asked of a server's queues, in one call for many tasks wherever there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._model import limits
from .._text import counted, did_you_mean, some
from ..errors import ServerError, UnknownQueueError
from .api import Refused, Transport
from .hyperparameters import SECTION, parameter
from .queries import FIELDS, PAGE, Document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_NO_SCRIPT = dict.fromkeys(("repository", "branch", "version_num", "entry_point", "working_dir", "diff"), "")
_WHOLE = (*FIELDS, "status_reason", "status_message", "started", "completed")


def find_queue(transport: Transport, wanted: str) -> str:
    """Finds a queue by its name, or its id.

    Raises:
        UnknownQueueError: There is none.
    """
    body = {"only_fields": ["id", "name"], "page_size": PAGE, "page": 0}
    found = transport.call("queues.get_all", body, patience=limits.API_TIMEOUT_S)["queues"]
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


def statuses(
    transport: Transport, ids: Sequence[str], patience: float = limits.API_TIMEOUT_S
) -> dict[str, str]:
    """Asks how far tasks are; those that are gone are left out."""
    found = _asked(transport, ids, ("id", "status"), patience)
    return {str(task["id"]): str(task["status"]) for task in found}


def documents(
    transport: Transport, ids: Sequence[str], patience: float = limits.API_TIMEOUT_S
) -> list[Document]:
    """Asks for all that is to know of tasks."""
    return _asked(transport, ids, _WHOLE, patience)


def _asked(
    transport: Transport, ids: Sequence[str], fields: tuple[str, ...], patience: float
) -> list[Document]:
    found: list[Document] = []
    for part in _pages(ids):
        query = {"id": part, "only_fields": list(fields), "page_size": PAGE, "page": 0}
        found += transport.call("tasks.get_all", query, patience=patience)["tasks"]
    return found


def enqueue(transport: Transport, ids: Sequence[str], queue_id: str) -> bool:
    """Puts tasks into a queue, in their order.

    Returns:
        Whether an agent serves the queue, as far as the server tells.

    Raises:
        ServerError: Some of them could not be; the others are in it.
    """
    body = {"queue": queue_id, "verify_watched_queue": True}
    left, answers = _many(transport, "tasks.enqueue_many", ids, body)
    if left:  # by an attempt whose answer was lost?
        there = statuses(transport, list(left))
        left = {one: why for one, why in left.items() if there.get(one) not in ("queued", "in_progress")}
    if left:
        reason = next(iter(left.values()))
        raise ServerError(f"{len(left)} of {counted(len(ids), 'task')} could not be enqueued: {reason}")
    return all(answer.get("queue_watched") is not False for answer in answers)


def stop(transport: Transport, ids: Sequence[str], reason: str, *, force: bool = False) -> dict[str, str]:
    """Takes tasks out of their queues, and asks the agents of those that run to end them.

    Args:
        transport: The way to the server.
        ids: The tasks.
        reason: Why, for people.
        force: Whether drafts are stopped, too.

    Returns:
        Why not, for those that could not be stopped.
    """
    return _many(transport, "tasks.stop_many", ids, {"status_reason": reason, "force": force})[0]


def _many(
    transport: Transport, action: str, ids: Sequence[str], body: Mapping[str, Any]
) -> tuple[dict[str, str], list[Mapping[str, Any]]]:
    """Makes one call for many tasks; gives why not, for those that it failed for, and the answers."""
    failed: dict[str, str] = {}
    answers: list[Mapping[str, Any]] = []
    for part in _pages(ids):
        try:
            answer = transport.call(action, {**body, "ids": part}, patience=limits.API_TIMEOUT_S)
        except Refused as refusal:  # where not even one of them could be
            failed |= dict.fromkeys(part, refusal.problem)
            continue
        for one in answer.get("failed") or []:
            failed[str(one["id"])] = str((one.get("error") or {}).get("msg", "refused"))
        answers.append(answer)
    return failed, answers


def edit_script(transport: Transport, task_id: str, script: Mapping[str, Any]) -> None:
    """Replaces the script that an agent is to start for a task."""
    body = {"task": task_id, "force": True, "script": {**_NO_SCRIPT, **script}}
    transport.call("tasks.edit", body, patience=limits.API_TIMEOUT_S)


def edit_identity(
    transport: Transport, task_id: str, entries: Mapping[str, str | int], run: str = ""
) -> None:
    """Rewrites entries of a task's section `TaskGroup`, whatever its status.

    Args:
        transport: The way to the server.
        task_id: The task.
        entries: What is to stand there.
        run: The run that the task is to be an original of, if it is not one yet.
    """
    items = {name: parameter(SECTION, name, value) for name, value in entries.items()}
    marker = {"taskgroup_run": run} if run else {}
    body: dict[str, Any] = {"task": task_id, "force": True}
    try:
        if items:
            edits = {"hyperparams": list(items.values()), "replace_hyperparams": "none"}
            transport.call("tasks.edit_hyper_params", {**body, **edits}, patience=limits.API_TIMEOUT_S)
        if marker:
            transport.call(
                "tasks.edit_runtime", {**body, "add_or_update": marker}, patience=limits.API_TIMEOUT_S
            )
    except Refused:  # these two take drafts and running tasks alone
        fields = ("hyperparams", "runtime")
        (task,) = _asked(transport, [task_id], fields, limits.API_TIMEOUT_S)
        sections = task.get("hyperparams") or {}
        sections[SECTION] = {**sections.get(SECTION, {}), **items}
        body |= {"hyperparams": sections, "runtime": {**(task.get("runtime") or {}), **marker}}
        transport.call("tasks.edit", body, patience=limits.API_TIMEOUT_S)


def _pages(ids: Sequence[str]) -> Iterator[list[str]]:
    for first in range(0, len(ids), PAGE):
        yield list(ids[first : first + PAGE])
