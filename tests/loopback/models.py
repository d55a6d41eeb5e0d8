"""Models that tasks take in and put out."""

from __future__ import annotations

from typing import Any

from . import errors, queries
from .registry import Request, endpoint
from .state import COMPANY, USER, Doc, State, new_id

FIELDS = (
    "name",
    "uri",
    "comment",
    "tags",
    "system_tags",
    "framework",
    "design",
    "labels",
    "ready",
    "parent",
    "project",
    "task",
)


def _model(state: State, model_id: object) -> Doc:
    model = state.models.get(str(model_id))
    if model is None:
        raise errors.invalid_model_id(id=model_id, company=COMPANY)
    return model


def _metadata(items: Any) -> Doc:
    # Newer versions of the API send an object, older ones a list.
    if isinstance(items, dict):
        return dict(items)
    return {item["key"]: item for item in items or ()}


def _fields(state: State, body: Doc) -> Doc:
    fields = {name: body[name] for name in FIELDS if body.get(name) is not None}
    if "name" in fields:
        fields["name"] = fields["name"].strip()
        if len(fields["name"]) < 3:
            raise errors.too_short("name")
    if fields.get("project"):
        state.project(fields["project"])
    if fields.get("task"):
        state.task(fields["task"])
    return fields


@endpoint("models.create")
def create(state: State, request: Request) -> Doc:
    """Make a model."""
    now = state.stamp()
    model: Doc = {
        "id": new_id(),
        "user": USER,
        "company": "",
        "created": now,
        "last_update": now,
        "tags": [],
        "system_tags": [],
        "comment": "",
        "framework": "",
        "design": {},
        "labels": {},
        "ready": True,
        "metadata": _metadata(request.body.get("metadata")),
        **_fields(state, request.body),
    }
    state.models[model["id"]] = model
    return {"id": model["id"], "created": True}


@endpoint("models.edit", "models.update")
def edit(state: State, request: Request) -> Doc:
    """Change a model."""
    model = _model(state, request.body["model"])
    fields = _fields(state, request.body)
    if "metadata" in request.body:
        fields["metadata"] = _metadata(request.body["metadata"])
    model.update(fields)
    model["last_update"] = state.stamp()
    iteration = request.body.get("iteration")
    task = state.tasks.get(str(model.get("task")))
    if task is not None and iteration is not None:
        task["last_iteration"] = max(task["last_iteration"], iteration)
    return {"updated": 1, "fields": fields}


@endpoint("models.get_by_id")
def get_by_id(state: State, request: Request) -> Doc:
    """One model, whole."""
    return {"model": _model(state, request.body["model"])}


@endpoint("models.get_all", "models.get_all_ex")
def get_all(state: State, request: Request) -> Doc:
    """The models that match."""
    found, beside = queries.run(state, state.models.values(), request.body, queries.MODELS)
    return {"models": found, **beside}


@endpoint("models.set_ready")
def set_ready(state: State, request: Request) -> Doc:
    """Publish a model."""
    model = _model(state, request.body["model"])
    if model["ready"]:
        raise errors.model_is_ready(id=model["id"])
    model["ready"] = True
    return {"updated": 1, "published_task": {}}


@endpoint("models.add_or_update_metadata")
def add_or_update_metadata(state: State, request: Request) -> Doc:
    """Set metadata keys."""
    model = _model(state, request.body["model"])
    if request.body.get("replace_metadata"):
        model["metadata"] = {}
    model["metadata"].update(_metadata(request.body["metadata"]))
    return {"updated": 1}


@endpoint("models.delete")
def delete(state: State, request: Request) -> Doc:
    """Remove a model."""
    model = _model(state, request.body["model"])
    del state.models[model["id"]]
    state.events.pop(model["id"], None)
    return {"deleted": True, "url": model.get("uri")}


@endpoint("models.archive_many", "models.unarchive_many")
def archive_many(state: State, request: Request) -> Doc:
    """Archive models, or take them back."""
    word = request.endpoint.partition(".")[2].removesuffix("_many") + "d"
    succeeded = []
    for model_id in request.body["ids"]:
        model = _model(state, model_id)
        tags = set(model["system_tags"]) - {"archived"}
        if word == "archived":
            tags.add("archived")
        model["system_tags"] = sorted(tags)
        succeeded.append({"id": model_id, word: True})
    return {"succeeded": succeeded, "failed": []}
