"""Create tasks on a server, start and end them, change what is stored with them."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from .._model import limits
from ..errors import ServerError
from .api import Refused, Transport, Unreachable
from .hyperparameters import SECTION, general
from .queries import is_original, query_tasks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._model.specs import Ending

MAX_ENDINGS_500 = 12
"""How often the end of a task is tried against answers with status 500: about a minute."""

_END_ACTIONS = {"completed": "tasks.completed", "failed": "tasks.failed", "stopped": "tasks.stopped"}
_INVALID_STATUS, _NAME_EXISTS = 110, 801  # ClearML's codes for why it refused


def find_or_create_project(transport: Transport, name: str) -> str:
    """Gives the id of a project, which is created if it does not exist."""

    def find() -> str | None:
        query = {"name": f"^{re.escape(name)}$", "only_fields": ["id", "name"]}
        found = transport.call("projects.get_all", query)["projects"]
        return next((str(project["id"]) for project in found if project["name"] == name), None)

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
        identity: The values of the section `TaskGroup`.

    Returns:
        The task's id.
    """

    def find() -> str | None:
        # "__$any", because a bare value that starts with '-' would mean 'not this one'.
        query: dict[str, Any] = {
            f"hyperparams.{SECTION}.{name}.value": ["__$any", identity[name]]
            for name in ("run", "kind", "key", "attempt")
            if name in identity
        }
        found = query_tasks(transport, {**query, "only_fields": ["id", "runtime", "hyperparams"]})
        return next((str(task["id"]) for task in found if is_original(task)), None)

    # Clone and reset clear `runtime`, so this marks an original: a copy made in the web page lacks it.
    runtime = {"taskgroup_run": identity["run"]}
    body = {**body, "project": project_id, "runtime": runtime}
    return str(transport.call("tasks.create", body, find_created=find)["id"])


def start_task(transport: Transport, task_id: str, timeout: float) -> None:
    """Sets the status `in_progress`."""
    answer_timeout = _answer_timeout(timeout)
    transport.call("tasks.started", {"task": task_id}, timeout=timeout, answer_timeout=answer_timeout)


def restart_task(transport: Transport, task_id: str) -> None:
    """Sets the status `in_progress`, whatever it was; does nothing if the task was deleted."""
    with contextlib.suppress(Refused):  # reported when its events are refused
        transport.call("tasks.started", {"task": task_id, "force": True})


def end_task(transport: Transport, ending: Ending, name: str, timeout: float) -> None:
    """Sets the final status of a task.

    Args:
        transport: The way to the server.
        ending: The task, its status and the reason.
        name: The task's name, for errors.
        timeout: The most seconds to try for.

    Raises:
        Unreachable: The server is away or broken; the status was not set.
        ServerError: The server refuses the status.
    """
    action = _END_ACTIONS[ending.status]
    body = {"task": ending.task_id, "status_reason": ending.reason, "status_message": ending.reason}
    times: dict[str, Any] = {"timeout": timeout, "answer_timeout": _answer_timeout(timeout)}
    try:
        transport.call(action, body, **times, attempts_on_500=MAX_ENDINGS_500)
    except Refused as refusal:
        if refusal.status >= 500:  # a broken server, not a refusal: try again later
            raise Unreachable(refusal.problem) from None
        status = ""
        if refusal.subcode == _INVALID_STATUS:
            query = {"id": [ending.task_id], "only_fields": ["status"]}
            found = transport.call("tasks.get_all", query, **times)["tasks"]
            status = found[0]["status"] if found else ""
        # Ended by an attempt whose answer was lost, or for good by somebody else.
        if status in (ending.status, "published", "publishing", "closed"):
            return
        if status == "created":  # the server was away when the task was to be started
            with contextlib.suppress(Refused):  # started by an attempt whose answer was lost
                transport.call("tasks.started", {"task": ending.task_id}, **times)
            transport.call(action, body, **times, attempts_on_500=MAX_ENDINGS_500)
            return
        raise ServerError(f"the task {name!r} could not be {ending.status}: {refusal.problem}") from None


def ping_task(transport: Transport, task_id: str) -> None:
    """Shows the server that a silent task is alive; one attempt, without an error."""
    with contextlib.suppress(ServerError):  # there will be another ping
        transport.call("tasks.ping", {"task": task_id}, timeout=0)


def add_parameters(transport: Transport, task_id: str, params: Mapping[str, Any]) -> None:
    """Adds parameters to the section `General` of a task, whatever its status."""
    items = list(general(params).values())
    body = {"task": task_id, "hyperparams": items, "replace_hyperparams": "none", "force": True}
    transport.call("tasks.edit_hyper_params", body)


def add_artifacts(transport: Transport, task_id: str, artifacts: Sequence[Mapping[str, Any]]) -> None:
    """Lists artifacts, whose files were uploaded, with a task."""
    body = {"task": task_id, "artifacts": list(artifacts), "force": True}
    transport.call("tasks.add_or_update_artifacts", body)


def _answer_timeout(timeout: float) -> float:
    """How long one attempt waits when the end of a block waits for it: at least a second."""
    return min(limits.API_ANSWER_TIMEOUT_S, max(1.0, timeout))
