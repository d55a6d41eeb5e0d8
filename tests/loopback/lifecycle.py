"""The state machine of tasks, and the calls that move a task through it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from . import errors
from .errors import ApiError
from .registry import Request, endpoint
from .state import COMPANY, USER_NAME, Doc, State, moment, stamp

TRANSITIONS: dict[str, frozenset[str]] = {
    "created": frozenset({"queued", "in_progress"}),
    "queued": frozenset({"created", "in_progress", "stopped"}),
    "in_progress": frozenset({"stopped", "failed", "created", "completed"}),
    "stopped": frozenset(
        {
            "closed",
            "created",
            "failed",
            "queued",
            "in_progress",
            "published",
            "publishing",
            "completed",
        }
    ),
    "closed": frozenset({"created", "failed", "published", "publishing", "stopped"}),
    "failed": frozenset({"created", "stopped", "published", "queued"}),
    "publishing": frozenset({"published"}),
    "published": frozenset(),
    "completed": frozenset({"published", "in_progress", "created"}),
}
"""Where a task may go without ``force``. Staying where it is, is allowed as well."""

SILENCE = 7_200.0
"""Seconds without a sign of life after which the watchdog stops a running task."""


def change_status(
    state: State,
    task: Doc,
    new_status: str,
    *,
    reason: str = "",
    message: str = "",
    force: bool = False,
    same_allowed: bool = True,
) -> Doc:
    """Move a task to another status.

    Returns:
        What the status calls answer: how many tasks and which fields were changed.

    Raises:
        ApiError: 400/110, when the task may not go there.
    """
    current = task["status"]
    if not force:
        if new_status != current:
            if new_status not in TRANSITIONS[current]:
                raise errors.invalid_status(
                    "Invalid status change",
                    current_status=current,
                    new_status=new_status,
                )
        elif not same_allowed:
            raise errors.invalid_status(
                "Task already in requested status",
                current_status=current,
                new_status=new_status,
            )
    state.touch(task)
    fields: Doc = {
        "status": new_status,
        "status_reason": reason,
        "status_message": message,
        "status_changed": state.stamp(),
        "last_update": task["last_update"],
    }
    task.update(fields)
    if new_status == "queued" and "development" in task["system_tags"]:
        task["system_tags"] = [t for t in task["system_tags"] if t != "development"]
    state.touch_project(task.get("project"))
    return {"updated": 1, "fields": fields}


def _change(state: State, request: Request, new_status: str) -> Doc:
    return change_status(
        state,
        state.task(request.body["task"]),
        new_status,
        reason=request.text("status_reason"),
        message=request.text("status_message"),
        force=request.force,
    )


@endpoint("tasks.started")
def started(state: State, request: Request) -> Doc:
    """Mark a task as running; one that was not running starts anew."""
    task = state.tasks.get(request.body["task"])
    if task is None:
        raise errors.invalid_object_id(task=None)
    runs = task["status"] == "in_progress" and "started" in task
    answer = _change(state, request, "in_progress")
    if not runs:
        task["started"] = answer["fields"]["started"] = state.stamp()
        task.pop("completed", None)
        task.pop("active_duration", None)
    return {**answer, "started": 1}


@endpoint("tasks.completed")
def completed(state: State, request: Request) -> Doc:
    """Mark a task as completed, and publish it if asked to."""
    answer = _change(state, request, "completed")
    task = state.task(request.body["task"])
    task["completed"] = answer["fields"]["completed"] = state.stamp()
    if request.body.get("publish"):
        published = _publish(state, task, request.force, request)
        answer["published"] = published["updated"]
        answer["fields"]["status"] = "published"
    return answer


@endpoint("tasks.stopped")
def stopped(state: State, request: Request) -> Doc:
    """Mark a task as stopped."""
    answer = _change(state, request, "stopped")
    task = state.task(request.body["task"])
    task["completed"] = answer["fields"]["completed"] = state.stamp()
    return answer


@endpoint("tasks.failed")
def failed(state: State, request: Request) -> Doc:
    """Mark a task as failed."""
    answer = _change(state, request, "failed")
    task = state.task(request.body["task"])
    task["completed"] = answer["fields"]["completed"] = state.stamp()
    return answer


@endpoint("tasks.close")
def close(state: State, request: Request) -> Doc:
    """Mark a task as closed."""
    return _change(state, request, "closed")


@endpoint("tasks.publish")
def publish(state: State, request: Request) -> Doc:
    """Lock a task and its output model."""
    task = state.task(request.body["task"])
    return _publish(state, task, request.force, request)


def _publish(state: State, task: Doc, force: bool, request: Request) -> Doc:
    if not force and "published" not in TRANSITIONS[task["status"]]:
        raise errors.invalid_status(
            "Invalid status change",
            current_status=task["status"],
            new_status="published",
        )
    if request.body.get("publish_model", True) and task["models"]["output"]:
        model = state.models.get(task["models"]["output"][-1]["model"])
        if model is not None:
            model["ready"] = True
    task["published"] = state.stamp()
    return change_status(
        state,
        task,
        "published",
        reason=request.text("status_reason"),
        message=request.text("status_message"),
        force=True,
    )


@endpoint("tasks.stop")
def stop(state: State, request: Request) -> Doc:
    """Stop a task, or ask the worker that runs it to do so."""
    return _stop(state, request.body["task"], request)


def _stop(state: State, task_id: str, request: Request) -> Doc:
    task = state.task(task_id)
    waiting = task["status"] == "queued"
    age = state.now() - moment(task["last_update"])
    by_worker = bool(task.get("last_worker")) and age < timedelta(seconds=600)
    if waiting or "development" in task["system_tags"] or not by_worker:
        leave_queues(state, task)
        new_status, message = "stopped", f"Stopped by {USER_NAME}"
    else:
        new_status, message = task["status"], "stopping"
    return change_status(
        state,
        task,
        new_status,
        reason=request.text("status_reason"),
        message=message,
        force=request.force,
    )


def leave_queues(state: State, task: Doc) -> int:
    """Take a task out of every queue that it waits in."""
    removed = 0
    for queue in state.queues.values():
        kept = [entry for entry in queue["entries"] if entry["task"] != task["id"]]
        removed += len(queue["entries"]) - len(kept)
        queue["entries"] = kept
    return removed


def run_watchdog(state: State, now: datetime) -> list[str]:
    """Stop every running task that gave no sign of life for 7,200 seconds.

    Returns:
        The ids of the tasks that were stopped.
    """
    oldest = stamp(now - timedelta(seconds=SILENCE))
    reason = "Forced stop (non-responsive)"
    found = []
    for task in state.tasks.values():
        if task["status"] == "in_progress" and task["last_update"] < oldest:
            change_status(state, task, "stopped", reason=reason, message=reason)
            task["last_changed_by"] = "__apiserver__"
            found.append(task["id"])
    return found


Single = Callable[[State, str, Request], Doc]


def many(name: str, single: Single) -> None:
    """Register the form of a call that takes many ids and reports on each."""

    @endpoint(name)
    def run(state: State, request: Request) -> Doc:
        succeeded: list[Doc] = []
        failures: list[Doc] = []
        for task_id in request.body["ids"]:
            try:
                succeeded.append({"id": task_id, **single(state, task_id, request)})
            except ApiError as error:
                failures.append(_failure(task_id, error))
        watched = [one.pop("queue_watched") for one in succeeded if "queue_watched" in one]
        beside = {"queue_watched": all(watched)} if watched else {}
        return {"succeeded": succeeded, "failed": failures, **beside}


def _failure(task_id: str, error: ApiError) -> Doc:
    told: dict[str, Any] = {"codes": [error.code, error.subcode], "msg": error.message}
    return {"id": task_id, "error": {**told, "data": {"company": COMPANY}}}


many("tasks.stop_many", _stop)
