"""Reset, deletion and the archive."""

from __future__ import annotations

from . import errors
from .lifecycle import change_status, leave_queues, many
from .registry import Request, endpoint
from .state import DELETED, Doc, State


@endpoint("tasks.reset")
def reset(state: State, request: Request) -> Doc:
    """Make a task as good as new: its inputs stay, what it did goes."""
    task = state.task(request.body["task"])
    if not request.force and task["status"] == "published":
        raise errors.invalid_status(task_id=task["id"], status=task["status"])
    removed = leave_queues(state, task)
    state.queued_from.pop(task["id"], None)
    cleaned = _clean_up(state, task, request, children=False)
    answer = change_status(state, task, "created", reason="reset", message="reset", force=request.force)
    for name in (
        "started",
        "completed",
        "published",
        "active_duration",
        "last_worker",
        "last_worker_report",
    ):
        task.pop(name, None)
    task.update(last_iteration=0, last_metrics={}, runtime={})
    task["models"]["output"] = []
    execution = task["execution"]
    if request.body.get("clear_all"):
        task["execution"] = {"artifacts": []}
        task["script"] = {}
    else:
        execution.pop("queue", None)
        execution["artifacts"] = [
            item for item in execution.get("artifacts") or () if item.get("mode") == "input"
        ]
    return {**answer, **cleaned, "dequeued": {"removed": removed} if removed else {}}


def _clean_up(state: State, task: Doc, request: Request, *, children: bool) -> Doc:
    """Remove a task's events and models; tell its children that it is gone."""
    task_id = task["id"]
    offspring = [t for t in state.tasks.values() if t.get("parent") == task_id]
    if not request.force:
        published = [t["id"] for t in offspring if t["status"] == "published"]
        if published:
            raise errors.cannot_delete("has children, use force=True", task=task_id, children=len(published))
    models = [m for m in state.models.values() if m.get("task") == task_id]
    if not request.force and any(m["ready"] for m in models):
        raise errors.cannot_delete("has output models, use force=True", task=task_id, models=len(models))
    deleted = 0
    for model in models:
        if not model["ready"] and request.body.get("delete_output_models", True):
            del state.models[model["id"]]
            deleted += 1
        else:
            model["task"] = f"{DELETED}{task_id}" if children else None
    if children:
        for child in offspring:
            child["parent"] = f"{DELETED}{task_id}"
    state.events.pop(task_id, None)
    return {
        "deleted_models": deleted,
        "updated_children": len(offspring) if children else 0,
        "updated_models": len(models) - deleted,
        "urls": {"model_urls": [], "event_urls": [], "artifact_urls": []},
    }


@endpoint("tasks.delete")
def delete(state: State, request: Request) -> Doc:
    """Remove a new or archived task; with force, any task."""
    task_id = request.body["task"]
    task = state.task(task_id)
    archived = "archived" in task["system_tags"]
    if task["status"] != "created" and not archived and not request.force:
        raise errors.cannot_delete(
            "due to status, use force=True",
            task=task_id,
            expected="created",
            current=task["status"],
        )
    cleaned = _clean_up(state, task, request, children=True)
    leave_queues(state, task)
    del state.tasks[task_id]
    state.touch_project(task.get("project"))
    return {"deleted": True, **cleaned}


def _archive(state: State, task_id: str, request: Request) -> Doc:
    task = state.task(task_id)
    if task["status"] == "queued":
        leave_queues(state, task)
        before = state.queued_from.pop(task_id, "created")
        change_status(state, task, before, force=True)
    elif task["status"] == "in_progress":
        change_status(state, task, "stopped", force=True)
    task["system_tags"] = sorted({*task["system_tags"], "archived"})
    task["status_reason"] = request.text("status_reason")
    task["status_message"] = request.text("status_message")
    state.touch(task, work=False)
    return {"archived": True}


@endpoint("tasks.archive")
def archive(state: State, request: Request) -> Doc:
    """Archive tasks, all of which must exist."""
    for task_id in request.body["tasks"]:
        state.task(task_id)
    for task_id in request.body["tasks"]:
        _archive(state, task_id, request)
    return {"archived": len(request.body["tasks"])}


many("tasks.archive_many", _archive)
