"""Uploads the models of one offline session: their files, and what ClearML's `OutputModel` stored of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .._clearml import sdk
from .._clearml.models import add_output_model, create_model

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from .online import OnlineBackend

MIN_NAME_CHARACTERS = 3
"""A server refuses models with a shorter name."""


def upload_models(
    data: Mapping[str, Any], folder: Path, task_id: str, backend: OnlineBackend
) -> tuple[dict[str, str], list[str]]:
    """Creates the models of a session on the server, as the output of its task.

    Args:
        data: The content of the session's `task.json`.
        folder: The session's folder.
        task_id: The id of its task on the server.
        backend: The server.

    Returns:
        The models' ids on the server by the ids that they had before, and the files that are not there.
    """
    entries = data.get("offline_output_models") or []
    # A model is stored once for each time that its weights were updated; the last one counts.
    latest = {entry["id"]: entry for entry in entries}
    ids: dict[str, str] = {}
    uris: dict[str, str] = {}
    missing: list[str] = []
    for old, entry in latest.items():
        uri = _upload_weights(entry, data, folder, task_id, backend.connection.files, list(uris.values()))
        if uri is None:
            missing.append(_local(entry, folder).relative_to(folder).as_posix())
            continue
        uris[old] = uri
        body = _model_body(entry, data, task_id)
        body |= {"uri": uri, "project": backend.find_project(data["project_name"])}
        ids[old] = create_model(backend.transport, body)
        backend.remember_name(ids[old], body["name"])
    for entry in entries:
        if entry["id"] in ids:
            name, iteration = Path(_filename(entry)).stem, entry["weights"].get("iteration")
            add_output_model(backend.transport, task_id, name, ids[entry["id"]], iteration)
    return ids, missing


def _local(entry: Mapping[str, Any], folder: Path) -> Path:
    """A model's file in the session; one that ClearML alone has stored has no folder of its own."""
    name = Path(entry["weights"]["weights_filename"]).name
    own = folder / "models" / str(entry["id"]) / name
    return own if own.parent.is_dir() else folder / "models" / name


def _filename(entry: Mapping[str, Any]) -> str:
    weights = entry["weights"]
    return str(weights.get("target_filename") or weights.get("weights_filename") or weights["register_uri"])


def _model_body(entry: Mapping[str, Any], data: Mapping[str, Any], task_id: str) -> dict[str, Any]:
    """Makes what `models.create` takes, without the address of the file."""
    init = entry["init"]
    name = init.get("name") or data["name"]
    if len(name.strip()) < MIN_NAME_CHARACTERS:
        name = f"{data['name']} - {name}"
    body = {
        "name": name,
        "task": task_id,
        "comment": (init.get("comment") or "").replace(data["id"], task_id),
        "tags": init.get("tags"),
        "labels": init.get("label_enumeration") or (data.get("execution") or {}).get("model_labels"),
        "design": {"design": init.get("config_text") or ""},
        "framework": sdk.model_framework(init.get("framework"), _filename(entry)),
    }
    if entry["weights"].get("is_package"):
        body["system_tags"] = ["package"]
    return {"ready": False, **{field: value for field, value in body.items() if value}}


def _upload_weights(
    entry: Mapping[str, Any],
    data: Mapping[str, Any],
    folder: Path,
    task_id: str,
    files: str,
    taken: Container[str],
) -> str | None:
    """Uploads a model's file; returns its address, None if the session does not have the file.

    Args:
        entry: The model in the session.
        data: The content of the session's `task.json`.
        folder: The session's folder.
        task_id: The id of its task on the server.
        files: The address of the files server.
        taken: The addresses of the task's other models.
    """
    weights = entry["weights"]
    if not weights.get("weights_filename"):
        return str(weights["register_uri"])
    local = _local(entry, folder)
    if not (local.is_file() and local.resolve().is_relative_to(folder.resolve())):
        return None
    destination = weights.get("upload_uri") or entry.get("output_uri")
    if not destination or data["offline_folder"] in destination:
        destination = files
    target = weights.get("target_filename") or local.name
    models = f"{destination.rstrip('/')}/{_task_folder(data, task_id)}/models"
    url = f"{models}/{target}"
    if url in taken:  # two files of one name, from different folders
        url = f"{models}/{entry['id']}/{target}"
    sdk.upload_file(local, url)
    return url


def _task_folder(data: Mapping[str, Any], task_id: str) -> str:
    """The folder of a task's files, as ClearML names it."""
    name = data["name"][: 128 - len(task_id) - 1]
    return quote(f"{data['project_name']}/{name}.{task_id}", safe="'[]{}()$^,.; -_+-=/")
