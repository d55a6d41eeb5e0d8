"""Copies of tasks, and tasks that move."""

from __future__ import annotations

import copy

from . import errors
from .projects import ensure_project
from .registry import Request, endpoint
from .state import DELETED, Doc, State
from .tasks import CREATE_FIELDS, blank_task, checked_fields, merge


@endpoint("tasks.clone")
def clone(state: State, request: Request) -> Doc:
    """Copy a task's inputs; nothing that it did comes along."""
    body = request.body
    source = state.task(body["task"])
    new = {
        key[len("new_task_") :]: value for key, value in body.items() if key.startswith("new_task_") and value
    }
    if "input_models" in new:
        new["models"] = {"input": new.pop("input_models")}
    answer: Doc = {}
    if body.get("new_project_name") and not new.get("project"):
        project = ensure_project(state, body["new_project_name"])
        new["project"] = project["id"]
        answer["new_project"] = {"id": project["id"], "name": project["name"]}
    fields = checked_fields(state, new, CREATE_FIELDS)
    task = {**blank_task(state.stamp()), **_inherited(source)}
    if overrides := body.get("execution_overrides"):
        task["execution"] = {**task["execution"], **overrides}
    merge(task, fields)
    state.tasks[task["id"]] = task
    state.touch_project(task.get("project"))
    return {"id": task["id"], **answer}


def _inherited(source: Doc) -> Doc:
    names = (
        "name",
        "comment",
        "project",
        "tags",
        "type",
        "script",
        "container",
        "execution",
        "configuration",
        "hyperparams",
        "output",
    )
    fields = {name: copy.deepcopy(source[name]) for name in names if name in source}
    parent = source.get("parent")
    fields["parent"] = parent if parent and not parent.startswith(DELETED) else source["id"]
    fields["system_tags"] = [tag for tag in source["system_tags"] if tag not in ("development", "archived")]
    fields["models"] = {
        "input": copy.deepcopy(source["models"]["input"]),
        "output": [],
    }
    fields["execution"].pop("queue", None)
    fields["execution"]["artifacts"] = [
        artifact
        for artifact in fields["execution"].get("artifacts") or ()
        if artifact.get("mode") != "output"
    ]
    return fields


@endpoint("tasks.move")
def move(state: State, request: Request) -> Doc:
    """Put tasks under another project, which is made when only its name is given."""
    body = request.body
    if not ("project" in body or body.get("project_name")):
        raise errors.missing_fields("project or project_name")
    for task_id in body["ids"]:
        state.task(task_id)
    project_id = body.get("project")
    if project_id:
        state.project(project_id)
    elif body.get("project_name"):
        project_id = ensure_project(state, body["project_name"])["id"]
    for task_id in body["ids"]:
        state.tasks[task_id]["project"] = project_id
        state.touch(state.tasks[task_id], work=False)
    return {"project_id": project_id}


@endpoint("tasks.update_tags", required=("ids",))
def update_tags(state: State, request: Request) -> Doc:
    """Add and remove tags of many tasks."""
    body = request.body
    tasks = [state.task(task_id) for task_id in body["ids"]]
    for task in tasks:
        tags = (set(task["tags"]) | set(body.get("add_tags") or ())) - set(body.get("remove_tags") or ())
        task["tags"] = sorted(tags)
        state.touch(task, work=False)
    return {"updated": len(tasks)}
