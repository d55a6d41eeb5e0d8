"""Projects and the paths that they form."""

from __future__ import annotations

from . import errors, queries
from .registry import Request, endpoint
from .state import USER, Doc, State, new_id

FIELDS = ("name", "description", "tags", "system_tags", "default_output_destination")
MAX_DEPTH = 10


def clean_name(name: str) -> str:
    """A project's path without needless slashes.

    Raises:
        ApiError: 400/407 for an empty path, 400/800 where a segment has fewer than
            three characters.
    """
    segments = [segment for segment in name.strip().split("/") if segment]
    if not segments:
        raise errors.invalid_project_name(name=name)
    if len(segments) > MAX_DEPTH:
        raise errors.validation_error("Project path exceeds the maximum allowed depth", max_depth=MAX_DEPTH)
    if any(len(segment.strip()) < 3 for segment in segments):
        raise errors.too_short("name")
    return "/".join(segments)


def by_name(state: State, name: str) -> Doc | None:
    """The project with exactly this path."""
    for project in state.projects.values():
        if project["name"] == name:
            return project
    return None


def ensure_project(state: State, name: str) -> Doc:
    """The project with this path, made with all of its parents where it is missing."""
    name = clean_name(name)
    return by_name(state, name) or _make(state, {"name": name})


def _make(state: State, fields: Doc) -> Doc:
    location, _, basename = fields["name"].rpartition("/")
    parent = ensure_project(state, location) if location else None
    now = state.stamp()
    project: Doc = {
        "id": new_id(),
        "user": USER,
        "company": "",
        "description": "",
        "tags": [],
        "system_tags": [],
        "default_output_destination": None,
        "created": now,
        "last_update": now,
        "basename": basename,
        "parent": parent["id"] if parent else None,
        "path": [*parent["path"], parent["id"]] if parent else [],
        **fields,
    }
    state.projects[project["id"]] = project
    if parent:
        state.touch_project(parent["id"])
    return project


def _fields(body: Doc) -> Doc:
    return {name: body[name] for name in FIELDS if body.get(name) is not None}


@endpoint("projects.create")
def create(state: State, request: Request) -> Doc:
    """Make a project and its missing parents; its path must be new."""
    fields = _fields(request.body)
    fields["name"] = clean_name(fields["name"])
    if by_name(state, fields["name"]):
        raise errors.name_taken(name=fields["name"])
    return {"id": _make(state, fields)["id"]}


@endpoint("projects.get_by_id")
def get_by_id(state: State, request: Request) -> Doc:
    """One project, whole."""
    return {"project": state.project(request.body["project"])}


def _query(body: Doc) -> Doc:
    query = dict(body)
    query.pop("path", None)
    if not query.pop("shallow_search", False):
        if "parent" in query:
            query["path"] = query.pop("parent")
    else:
        query.setdefault("parent", [None])
    return query


@endpoint("projects.get_all", "projects.get_all_ex")
def get_all(state: State, request: Request) -> Doc:
    """The projects that match."""
    found, beside = queries.run(state, state.projects.values(), _query(request.body), queries.PROJECTS)
    return {"projects": found, **beside}


def _below(state: State, project_id: str) -> list[Doc]:
    return [p for p in state.projects.values() if project_id in p["path"]]


def _contents(state: State, project_id: str) -> tuple[list[Doc], list[Doc]]:
    ids = {project_id, *(p["id"] for p in _below(state, project_id))}
    tasks = [t for t in state.tasks.values() if t.get("project") in ids]
    models = [m for m in state.models.values() if m.get("project") in ids]
    return tasks, models


@endpoint("projects.update")
def update(state: State, request: Request) -> Doc:
    """Change a project; a new name must stay under the same parent."""
    project = state.project(request.body["project"])
    fields = _fields(request.body)
    if "name" in fields:
        fields["name"] = clean_name(fields["name"])
        if fields["name"].rpartition("/")[0] != project["name"].rpartition("/")[0]:
            raise errors.cannot_move_project(name=fields["name"])
        other = by_name(state, fields["name"])
        if other is not None and other is not project:
            raise errors.name_taken(name=fields["name"])
        for child in _below(state, project["id"]):
            child["name"] = fields["name"] + child["name"][len(project["name"]) :]
        fields["basename"] = fields["name"].rpartition("/")[2]
    project.update(fields)
    state.touch_project(project["id"])
    return {"updated": 1, "fields": fields}


@endpoint("projects.delete")
def delete(state: State, request: Request) -> Doc:
    """Remove a project; with force, one that still has tasks or models."""
    project = state.project(request.body["project"])
    tasks, models = _contents(state, project["id"])
    if not request.force:
        for what, documents in (("tasks", tasks), ("models", models)):
            if any("archived" not in document["system_tags"] for document in documents):
                raise errors.project_has(what, id=project["id"])
    contents = bool(request.body.get("delete_contents"))
    for document in (*tasks, *models):
        if contents:
            state.tasks.pop(document["id"], None)
            state.models.pop(document["id"], None)
            state.events.pop(document["id"], None)
        else:
            document["project"] = None
    below = _below(state, project["id"])
    for gone in (project, *below):
        del state.projects[gone["id"]]
    return {
        "deleted": 1 + len(below),
        "disassociated_tasks": 0 if contents else len(tasks),
        "deleted_tasks": len(tasks) if contents else 0,
        "deleted_models": len(models) if contents else 0,
        "urls": {"model_urls": [], "event_urls": [], "artifact_urls": []},
    }
