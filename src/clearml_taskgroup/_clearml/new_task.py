"""The fields with which a run's tasks are created, on a server and in an offline session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .hyperparameters import configuration, hyperparameters

if TYPE_CHECKING:
    from .._model.specs import RunInfo, TaskSpec


def new_task_fields(run: RunInfo, spec: TaskSpec) -> dict[str, Any]:
    """Makes name, type, tags, parameters, identity and, of a parent, the description."""
    fields: dict[str, Any] = {
        "name": spec.task_name,
        "type": "controller" if spec.kind == "parent" else "training",
        "tags": [*run.tags, *spec.tags],
        "hyperparams": hyperparameters(run, spec),
        "configuration": configuration(run, spec),
    }
    if spec.kind == "parent":
        fields["comment"] = description(run)
    return fields


def description(run: RunInfo) -> str:
    """Returns what a run's parent says of itself, as far as it is known when it is created."""
    shared = f", shared as {run.shared!r}" if run.shared else ""
    return f"Run {run.number} of the group {run.name}{shared}: the parent of its tasks, with their results."
