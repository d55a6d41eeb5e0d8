"""Models on a server, as the output of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import Transport


def create_model(transport: Transport, body: dict[str, Any]) -> str:
    """Creates a model, only once however often this is called for one file of one task.

    Args:
        transport: The way to the server.
        body: What `models.create` takes, with `name`, `uri` and `task`.

    Returns:
        The model's id.
    """

    def find() -> str | None:
        query = {"task": [body["task"]], "uri": [body["uri"]], "only_fields": ["id", "name"]}
        found = transport.call("models.get_all", query)["models"]
        return next((str(model["id"]) for model in found if model["name"] == body["name"]), None)

    return find() or str(transport.call("models.create", body, find_created=find)["id"])


def add_output_model(
    transport: Transport, task_id: str, name: str, model_id: str, iteration: int | None
) -> None:
    """Lists a model, by a name, with the output models of a task that has not ended."""
    body: dict[str, Any] = {"task": task_id, "name": name, "type": "output", "model": model_id}
    if iteration is not None:
        body["iteration"] = iteration
    transport.call("tasks.add_or_update_model", body)


def set_model_address(transport: Transport, model_id: str, uri: str) -> None:
    """Sets where the file of a model is."""
    transport.call("models.edit", {"model": model_id, "uri": uri})
