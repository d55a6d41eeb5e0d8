"""Tasks: making, changing, finding, copying and removing them."""

from __future__ import annotations

import copy
from typing import Any

from . import errors, queries
from .registry import Request, endpoint
from .state import USER, Doc, State, new_id

CREATE_FIELDS = (
    "name",
    "tags",
    "system_tags",
    "type",
    "comment",
    "parent",
    "project",
    "input",
    "models",
    "container",
    "output_dest",
    "execution",
    "hyperparams",
    "configuration",
    "script",
    "runtime",
)
UPDATE_FIELDS = ("name", "tags", "system_tags", "comment", "project", "status_message")

KNOWN_FIELDS = frozenset(
    " ".join(
        (
            "id name user company type status status_reason status_message status_changed",
            "comment report created started completed published active_duration parent",
            "project output execution tags system_tags script last_worker",
            "last_worker_report last_update last_change last_changed_by last_iteration",
            "last_metrics metric_stats hyperparams configuration runtime models container",
            "duration unique_metrics enqueue_status input",
        )
    ).split()
)


def blank_task(now: str) -> Doc:
    """A task's document before anything was said about it."""
    return {
        "id": new_id(),
        "user": USER,
        "company": "",
        "status": "created",
        "status_reason": "",
        "status_message": "",
        "comment": "",
        "created": now,
        "last_update": now,
        "last_change": now,
        "last_changed_by": USER,
        "output": {"destination": ""},
        "execution": {"artifacts": []},
        "tags": [],
        "system_tags": [],
        "script": {"binary": "python", "repository": "", "entry_point": ""},
        "last_iteration": 0,
        "last_metrics": {},
        "hyperparams": {},
        "configuration": {},
        "runtime": {},
        "models": {"input": [], "output": []},
        "container": {},
    }


def checked_fields(state: State, body: Doc, names: tuple[str, ...]) -> Doc:
    """The fields of a request that a task takes; all others are left out silently.

    Raises:
        ApiError: When one of them is not what the database demands.
    """
    fields = {name: body[name] for name in names if body.get(name) is not None}
    if "name" in fields:
        fields["name"] = fields["name"].strip()
        if len(fields["name"]) < 3:
            raise errors.too_short("name")
    if fields.get("project") and fields["project"] not in state.projects:
        raise errors.fields_value_error("expecting Project id", id=fields["project"], field="project")
    if fields.get("parent") and fields["parent"] not in state.tasks:
        raise errors.fields_value_error("expecting Task id", id=fields["parent"], field="parent")
    for section, parameters in fields.get("hyperparams", {}).items():
        for name, parameter in parameters.items():
            check_parameter(parameter, f"hyperparams.{section}.{name}")
    for name in ("tags", "system_tags"):
        if name in fields:
            fields[name] = sorted(fields[name])
    if "output_dest" in fields:
        fields["output"] = {"destination": fields.pop("output_dest")}
    for artifact in (fields.get("execution") or {}).get("artifacts") or ():
        artifact.setdefault("mode", "output")
    _check_models(state, fields)
    return fields


def check_parameter(parameter: Doc, where: str) -> None:
    """Demand a section, a name and a value, all as text.

    Raises:
        ApiError: 400/800.
    """
    for field in ("section", "name", "value"):
        if field not in parameter or parameter[field] is None:
            raise errors.data_validation_error(**{where: f"{field}: Field is required"})
        if not isinstance(parameter[field], str):
            raise errors.data_validation_error(**{where: f"{field}: StringField only accepts string values"})


def _check_models(state: State, fields: Doc) -> None:
    if "models" not in fields:
        return
    models = fields["models"]
    for kind in ("input", "output"):
        models[kind] = models.get(kind) or []
        for item in models[kind]:
            item["updated"] = state.stamp()
    missing = [m["model"] for m in models["input"] if m["model"] not in state.models]
    if missing:
        raise errors.invalid_model_id(models=missing)


@endpoint("tasks.create")
def create(state: State, request: Request) -> Doc:
    """Make a task; a chosen id, status or date is ignored without a word."""
    fields = checked_fields(state, request.body, CREATE_FIELDS)
    task = blank_task(state.stamp())
    merge(task, fields)
    state.tasks[task["id"]] = task
    state.touch_project(task.get("project"))
    return {"id": task["id"]}


@endpoint("tasks.validate")
def validate(state: State, request: Request) -> Doc:
    """Say what ``tasks.create`` would object to."""
    checked_fields(state, copy.deepcopy(request.body), CREATE_FIELDS)
    return {}


def merge(task: Doc, fields: Doc) -> None:
    """Set fields of a task; parts with a fixed form keep what is not named."""
    for key, value in fields.items():
        embedded = key in ("execution", "script", "output", "models")
        if embedded and isinstance(task.get(key), dict) and isinstance(value, dict):
            task[key] = {**task[key], **value}
        else:
            task[key] = value


@endpoint("tasks.edit")
def edit(state: State, request: Request) -> Doc:
    """Change a task that was not started; with force, any task."""
    task = state.task(request.body["task"])
    if not request.force and task["status"] != "created":
        raise errors.invalid_status(expected="created", status=task["status"])
    names = (*CREATE_FIELDS, "status")
    fields = checked_fields(state, request.body, names)
    if not fields:
        return {"updated": 0}
    merge(task, fields)
    state.touch(task, work=not set(fields) <= set(UPDATE_FIELDS))
    state.touch_project(task.get("project"))
    return {"updated": 1, "fields": fields}


@endpoint("tasks.edit_runtime", required=("task",))
def edit_runtime(state: State, request: Request) -> Doc:
    """Change runtime keys of a new task, or with force of a running one."""
    task = open_task(state, request.body["task"], force=request.force)
    for key in request.body.get("remove") or ():
        task["runtime"].pop(key, None)
    task["runtime"].update(request.body.get("add_or_update") or {})
    state.touch(task)
    return {"updated": 1}


def open_task(state: State, task_id: Any, *, force: bool) -> Doc:
    """A task whose parts may be changed: a new one, or with force a running one.

    Raises:
        ApiError: 400/110, in any other status.
    """
    task = state.task(task_id)
    allowed = ("created", "in_progress") if force else ("created",)
    if task["status"] not in allowed:
        raise errors.invalid_status(expected="created", status=task["status"])
    return task


@endpoint("tasks.update")
def update(state: State, request: Request) -> Doc:
    """Change what may be changed in every status: name, tags, comment, project."""
    task = state.task(request.body["task"])
    fields = checked_fields(state, request.body, UPDATE_FIELDS)
    if not fields:
        return {"updated": 0}
    merge(task, fields)
    state.touch(task, work=False)
    return {"updated": 1, "fields": fields}


@endpoint("tasks.get_by_id")
def get_by_id(state: State, request: Request) -> Doc:
    """One task, whole."""
    return {"task": state.task(request.body["task"])}


@endpoint("tasks.get_all")
def get_all(state: State, request: Request) -> Doc:
    """The tasks that match."""
    tasks, beside = _find(state, request)
    return {"tasks": tasks, **beside}


@endpoint("tasks.get_all_ex")
def get_all_ex(state: State, request: Request) -> Doc:
    """The tasks that match, with projects and parents as objects."""
    tasks, beside = _find(state, request, join=True)
    return {"tasks": [_joined(state, task) for task in tasks], **beside}


def _find(state: State, request: Request, *, join: bool = False) -> tuple[list[Doc], Doc]:
    query = dict(request.body)
    if join and query.get("only_fields"):
        only = query["only_fields"]
        only = [only] if isinstance(only, str) else only
        query["only_fields"] = [
            field.partition(".")[0] if field.startswith(("project.", "parent.")) else field for field in only
        ]
    return queries.run(state, state.tasks.values(), query, queries.TASKS, KNOWN_FIELDS)


def _joined(state: State, task: Doc) -> Doc:
    joined = dict(task)
    for field, documents in (("project", state.projects), ("parent", state.tasks)):
        if identifier := task.get(field):
            other = documents.get(identifier, {})
            joined[field] = {"id": identifier}
            if "name" in other:
                joined[field]["name"] = other["name"]
    return joined


@endpoint("tasks.ping")
def ping(state: State, request: Request) -> Doc:
    """Tell the watchdog that a task lives; an unknown task is no error."""
    task = state.tasks.get(request.body["task"])
    if task is not None:
        state.touch(task)
    return {}


@endpoint("tasks.set_requirements")
def set_requirements(state: State, request: Request) -> Doc:
    """Set a script's requirements, in every status."""
    task = state.task(request.body["task"])
    if not task.get("script"):
        raise errors.missing_task_fields("Task has no script field", task=task["id"])
    requirements = request.body["requirements"]
    task["script"] = {**task["script"], "requirements": requirements}
    state.touch(task)
    return {"updated": 1, "fields": {"script.requirements": requirements}}
