"""The parts of a task: hyperparameters, configuration, artifacts, models."""

from __future__ import annotations

from .registry import Request, endpoint
from .state import Doc, State
from .tasks import check_parameter, open_task

PROPERTIES = "properties"
"""The section of user properties, which may be edited in every status."""


def _task_for(state: State, request: Request) -> Doc:
    items = request.body["hyperparams"]
    for item in items:
        if str(item.get("section", "")).lower() == PROPERTIES:
            item["section"] = PROPERTIES
    if all(item.get("section") == PROPERTIES for item in items):
        return state.task(request.body["task"])
    return open_task(state, request.body["task"], force=request.force)


@endpoint("tasks.get_hyper_params")
def get_hyper_params(state: State, request: Request) -> Doc:
    """The hyperparameters of tasks, as flat lists."""
    answer = []
    for task_id in request.body["tasks"]:
        sections = state.task(task_id)["hyperparams"].values()
        flat = [parameter for section in sections for parameter in section.values()]
        flat.sort(key=lambda item: (item["section"], item["name"]))
        answer.append({"task": task_id, "hyperparams": flat})
    return {"params": answer}


@endpoint("tasks.edit_hyper_params")
def edit_hyper_params(state: State, request: Request) -> Doc:
    """Set hyperparameters one by one, section by section, or all."""
    task = _task_for(state, request)
    new: dict[str, Doc] = {}
    for item in request.body["hyperparams"]:
        check_parameter(item, "hyperparams")
        new.setdefault(item["section"], {})[item["name"]] = item
    replace = request.text("replace_hyperparams", "none")
    if replace == "all":
        task["hyperparams"] = new
    else:
        for section, parameters in new.items():
            old = task["hyperparams"].get(section, {})
            kept = {} if replace == "section" else old
            task["hyperparams"][section] = {**kept, **parameters}
    state.touch(task)
    return {"updated": 1}


@endpoint("tasks.delete_hyper_params")
def delete_hyper_params(state: State, request: Request) -> Doc:
    """Remove hyperparameters, or whole sections where no name is given."""
    task = _task_for(state, request)
    for item in request.body["hyperparams"]:
        section = task["hyperparams"].get(item["section"], {})
        if item.get("name"):
            section.pop(item["name"], None)
        if not item.get("name") or not section:
            task["hyperparams"].pop(item["section"], None)
    state.touch(task)
    return {"deleted": 1}


@endpoint("tasks.edit_configuration")
def edit_configuration(state: State, request: Request) -> Doc:
    """Set configuration objects."""
    task = open_task(state, request.body["task"], force=request.force)
    new = {item["name"]: item for item in request.body["configuration"]}
    kept = {} if request.body.get("replace_configuration") else task["configuration"]
    task["configuration"] = {**kept, **new}
    state.touch(task)
    return {"updated": 1}


def _artifact_id(artifact: Doc) -> tuple[str, str]:
    return artifact["key"], artifact.get("mode") or "output"


@endpoint("tasks.add_or_update_artifacts")
def add_or_update_artifacts(state: State, request: Request) -> Doc:
    """Set artifacts of a new or running task; ``force`` changes nothing in that."""
    task = open_task(state, request.body["task"], force=True)
    held = {_artifact_id(item): item for item in task["execution"]["artifacts"]}
    for item in request.body["artifacts"]:
        item.setdefault("mode", "output")
        held[_artifact_id(item)] = item
    task["execution"]["artifacts"] = [held[key] for key in sorted(held)]
    state.touch(task)
    return {"updated": 1}


@endpoint("tasks.delete_artifacts")
def delete_artifacts(state: State, request: Request) -> Doc:
    """Remove artifacts of a new or running task."""
    task = open_task(state, request.body["task"], force=True)
    gone = {_artifact_id(item) for item in request.body["artifacts"]}
    task["execution"]["artifacts"] = [
        item for item in task["execution"]["artifacts"] if _artifact_id(item) not in gone
    ]
    state.touch(task)
    return {"deleted": 1}


@endpoint("tasks.add_or_update_model")
def add_or_update_model(state: State, request: Request) -> Doc:
    """Name a model as the input or output of a new or running task."""
    body = request.body
    task = open_task(state, body["task"], force=True)
    item = {"name": body["name"], "model": body["model"], "updated": state.stamp()}
    held = task["models"][body["type"]]
    for index, known in enumerate(held):
        if known["name"] == body["name"]:
            held[index] = item
            break
    else:
        held.append(item)
    iteration = body.get("iteration")
    if iteration is not None:
        task["last_iteration"] = max(task["last_iteration"], iteration)
    state.touch(task)
    return {"updated": 1}
