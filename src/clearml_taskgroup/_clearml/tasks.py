"""Create tasks on a server, start and end them, change what is stored with them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from .._model import limits
from .._model.specs import Ending, ForeignStatus
from .._model.status import ABANDONED, ENDED, PUBLISHED, from_server
from ..errors import ServerError
from .api_errors import Refused, Unreachable
from .hyperparameters import SECTION, added, entry_field, parameter, runtime_of
from .queries import find_originals, is_archived, is_counted, is_original, projects_named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .api import Transport
    from .queries import Document

MAX_ENDINGS_500 = 12
"""How often the end of a task is tried against answers with status 500: about a minute."""

_END_ACTIONS = {"completed": "tasks.completed", "failed": "tasks.failed", "stopped": "tasks.stopped"}
# ClearML's codes for why it refused.
_INVALID_FIELD, _INVALID_TASK, _INVALID_STATUS, _NAME_EXISTS = 16, 101, 110, 801

WATCHDOG_REASON = "Forced stop (non-responsive)"
"""The reason with which the server stops a task that was silent for two hours."""
STATUS_FIELDS = (
    "id",
    "status",
    "status_reason",
    "status_message",
    "system_tags",
    "runtime",
    entry_field("run"),
)
"""The fields of a task that `foreign_status` reads."""
DELETED = ForeignStatus("stopped", "deleted from the server", "deleted")


def find_or_create_project(transport: Transport, name: str) -> str:
    """Gives the id of a project, which is created if it does not exist."""

    def find() -> str | None:
        found = projects_named(transport, name)
        return found[0] if found else None

    project_id = find()
    if project_id is not None:
        return project_id
    try:
        body = {"name": name, "description": ""}
        return str(transport.call("projects.create", body, find_created=find)["id"])
    except Refused as refusal:
        # Another process has created it in the meantime.
        if refusal.subcode == _NAME_EXISTS and (project_id := find()) is not None:
            return project_id
        raise


def create_task(
    transport: Transport, body: Mapping[str, Any], project_id: str, identity: Mapping[str, str]
) -> str:
    """Creates one task, only once even if the answer to an attempt is lost.

    Args:
        transport: The way to the server.
        body: What `tasks.create` takes, without project and runtime.
        project_id: The project's id.
        identity: The task's identity.

    Returns:
        The task's id.
    """
    known = ("run", "kind", "key", "attempt", "process")
    wanted = {name: identity[name] for name in known if name in identity}

    def find() -> str | None:
        found = find_originals(transport, wanted)
        return next((str(task["id"]) for task in found if is_counted(task)), None)

    body = {**body, "project": project_id, "runtime": runtime_of(identity)}
    return str(transport.call("tasks.create", body, find_created=find)["id"])


def start_task(transport: Transport, task_id: str, timeout: float) -> None:
    """Sets the status `in_progress`."""
    transport.call("tasks.started", {"task": task_id}, **_times(timeout))


def restart_task(transport: Transport, task_id: str) -> None:
    """Sets the status `in_progress`, whatever it was; a published or deleted task stays as it is."""
    try:
        transport.call("tasks.started", {"task": task_id})
    except Refused as refusal:
        if refusal.subcode == _INVALID_STATUS:  # `force` would un-publish a task
            document = status_documents(transport, [task_id], limits.API_TIMEOUT_S).get(task_id)
            if document is not None and document["status"] not in PUBLISHED:
                with contextlib.suppress(Refused):
                    transport.call("tasks.started", {"task": task_id, "force": True})
        # Else it is reported when its events are refused.


def reopen_task(transport: Transport, task_id: str) -> str:
    """Sets the status of a completed task back to `in_progress`.

    Returns:
        Why it cannot be set; empty if it was. A published task is never changed, which `force` would do.

    Raises:
        ServerError: The server cannot be reached.
    """
    document = status_documents(transport, [task_id], limits.API_TIMEOUT_S).get(task_id)
    if document is None:
        return "it was deleted from the server"
    word = str(document["status"])
    if word in PUBLISHED:
        return "it was published, and a published task takes no more data"
    if is_archived(document):
        return "it was archived"
    if word not in ("completed", "in_progress") and not is_stopped_by_watchdog(document):
        return f"its status on the server is {word}"
    try:
        transport.call("tasks.started", {"task": task_id})
    except Refused as refusal:  # changed by somebody in between
        return refusal.problem
    return ""


def foreign_status(document: Document, ending: Ending) -> ForeignStatus | None:
    """Finds the final status that a person or another client has given a task.

    Neither the server's watchdog nor the end of a dead process's tasks is such a status.

    Args:
        document: The task, with the fields `STATUS_FIELDS`.
        ending: How this process ends the task, or has ended it.

    Returns:
        The status; None if the task may get the one of `ending`, or has it.
    """
    word = str(document["status"])
    reason = str(document.get("status_reason") or document.get("status_message") or "")
    if word == "queued" or (word == "created" and not is_original(document)):
        what = "reset" if word == "created" else "queued"
        return ForeignStatus("stopped", f"{what} on the server", what)
    status = from_server(word)
    is_ours = (status, reason) == (ending.status, ending.reason) or status == ending.status == "completed"
    if status not in ENDED or is_ours or (status == "stopped" and reason in (WATCHDOG_REASON, ABANDONED)):
        return None
    return ForeignStatus(status, reason, word)


def is_stopped_by_watchdog(document: Mapping[str, Any]) -> bool:
    """Whether the server has stopped a task because it was silent; `document` has `STATUS_FIELDS`."""
    return document["status"] == "stopped" and document.get("status_reason") == WATCHDOG_REASON


def status_documents(
    transport: Transport, ids: Sequence[str], timeout: float, answer_timeout: float | None = None
) -> dict[str, Document]:
    """Gets the statuses of at most 500 tasks, by their ids; a deleted one is missing.

    Args:
        transport: The way to the server.
        ids: The ids.
        timeout: The most seconds to try for.
        answer_timeout: The most seconds that one attempt waits, by default about as many.

    Raises:
        Unreachable: The server is away or broken.
    """
    query = {"id": list(ids), "only_fields": list(STATUS_FIELDS), "page_size": len(ids), "page": 0}
    times = _times(timeout)
    if answer_timeout is not None:
        times["answer_timeout"] = answer_timeout
    try:
        found = transport.call("tasks.get_all", query, **times)
    except Refused as refusal:
        raise Unreachable(refusal.problem) from None
    return {str(document["id"]): document for document in found["tasks"]}


def end_task(transport: Transport, ending: Ending, name: str, timeout: float) -> ForeignStatus | None:
    """Sets the final status of a task.

    Args:
        transport: The way to the server.
        ending: The task, its status and the reason.
        name: The task's name, for errors.
        timeout: The most seconds to try for.

    Returns:
        The status that somebody else has set, if that does not allow another one.

    Raises:
        Unreachable: The server is away or broken; the status was not set.
        ServerError: The server refuses the status.
    """
    action = _END_ACTIONS[ending.status]
    body = {"task": ending.task_id, "status_reason": ending.reason, "status_message": ending.reason}
    times = _times(timeout)
    try:
        transport.call(action, body, **times, attempts_on_500=MAX_ENDINGS_500)
        return None
    except Refused as refusal:
        if refusal.status >= 500:  # a broken server, not a refusal: try again later
            raise Unreachable(refusal.problem) from None
        if is_gone(refusal):
            return DELETED
        if refusal.subcode == _INVALID_STATUS:
            document = status_documents(transport, [ending.task_id], timeout).get(ending.task_id)
            if document is None:
                return DELETED
            other = foreign_status(document, ending)
            # Ended by somebody else, or by an attempt whose answer was lost.
            if other is not None or from_server(document["status"]) == ending.status:
                return other
            if document["status"] == "created":  # the server was away when the task was to be started
                with contextlib.suppress(Refused):  # started by an attempt whose answer was lost
                    transport.call("tasks.started", {"task": ending.task_id}, **times)
                transport.call(action, body, **times, attempts_on_500=MAX_ENDINGS_500)
                return None
        raise ServerError(f"the task {name!r} could not be {ending.status}: {refusal.problem}") from None


def is_deleted(transport: Transport, task_id: str) -> bool:
    """Whether the server has no such task; one attempt.

    Raises:
        ServerError: It does not say.
    """
    try:
        wait = limits.HEARTBEAT_ANSWER_TIMEOUT_S
        transport.call("tasks.get_by_id", {"task": task_id}, timeout=0, answer_timeout=wait)
    except Refused as refusal:
        if is_gone(refusal):
            return True
        raise
    return False


def is_gone(refusal: Refused) -> bool:
    """Whether the server refused a call because the task was deleted."""
    return refusal.subcode == _INVALID_TASK


def is_parent_gone(refusal: Refused) -> bool:
    """Whether the server refused to create a task because its parent was deleted."""
    return refusal.subcode == _INVALID_FIELD and "field=parent" in refusal.problem


def ping_task(transport: Transport, task_id: str) -> None:
    """Shows the server that a silent task is alive; one attempt, without an error."""
    with contextlib.suppress(ServerError):  # there will be another ping
        transport.call("tasks.ping", {"task": task_id}, timeout=0)


def set_comment(transport: Transport, task_id: str, comment: str) -> None:
    """Sets a task's description, whatever its status; one attempt."""
    transport.call("tasks.update", {"task": task_id, "comment": comment}, timeout=0)


def add_parameters(transport: Transport, task_id: str, params: Mapping[str, Any]) -> None:
    """Adds parameters to a task that has not ended."""
    edit_parameters(transport, task_id, added(params))


def edit_parameters(
    transport: Transport, task_id: str, items: Sequence[Mapping[str, Any]], **times: Any
) -> None:
    """Adds entries of any sections to the parameters of a task, or replaces their values."""
    if not items:  # a server refuses an empty list
        return
    body = {"task": task_id, "hyperparams": list(items), "replace_hyperparams": "none", "force": True}
    transport.call("tasks.edit_hyper_params", body, **times)


def annotate_task(
    transport: Transport, task_id: str, section: Mapping[str, str], runtime: Mapping[str, str], timeout: float
) -> None:
    """Adds entries to the section `TaskGroup` and to `runtime` of a task that has not ended.

    Raises:
        ServerError: The server cannot be reached, or refuses them.
    """
    items = [parameter(SECTION, name, value) for name, value in section.items()]
    edit_parameters(transport, task_id, items, **_times(timeout))
    if runtime:
        body = {"task": task_id, "force": True, "add_or_update": dict(runtime)}
        transport.call("tasks.edit_runtime", body, **_times(timeout))


def add_artifacts(transport: Transport, task_id: str, artifacts: Sequence[Mapping[str, Any]]) -> None:
    """Lists artifacts, whose files were uploaded, with a task that has not ended."""
    body = {"task": task_id, "artifacts": list(artifacts), "force": True}
    transport.call("tasks.add_or_update_artifacts", body)


def _times(timeout: float) -> dict[str, Any]:
    """The time limits of a call that the end of a block waits for: one attempt waits at least a second."""
    return {"timeout": timeout, "answer_timeout": min(limits.API_ANSWER_TIMEOUT_S, max(1.0, timeout))}
