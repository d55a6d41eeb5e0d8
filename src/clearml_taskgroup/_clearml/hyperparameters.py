"""Hyperparameter sections of a task: General for the user's parameters, TaskGroup for its identity."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .._model.identity import typed_json
from ..errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._model.specs import RunInfo, TaskSpec


SECTION = "TaskGroup"
"""The hyperparameter section for the identity of a task: hyperparameters survive clone and reset."""


def hyperparameters(run: RunInfo, spec: TaskSpec) -> dict[str, dict[str, dict[str, str]]]:
    """Makes ClearML's hyperparameter sections from a task's parameters and identity."""
    identity: dict[str, str | int] = {
        "group": run.group_id,
        "group_name": run.name,
        "run": run.run,
        "run_number": run.number,
        "kind": spec.kind,
        "template": run.template,
    }
    if spec.kind == "task":
        identity |= {
            "key": spec.key,
            "name": spec.name,
            "index": spec.index,
            "attempt": spec.attempt,
            "params": json.dumps(stored_parameters(spec.params), sort_keys=True),
        }
    elif run.metrics is not None:
        identity["metrics"] = json.dumps(run.metrics)
    identity |= {name: text for name, text in (("queue", spec.queue), ("sweep", spec.sweep)) if text}
    sections = {SECTION: {name: parameter(SECTION, name, value) for name, value in identity.items()}}
    if spec.params:
        sections["General"] = general(spec.params)
    return sections


def general(params: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Makes the entries of ClearML's section `General` from the user's parameters."""
    return {name: parameter("General", name, value) for name, value in params.items()}


def parameter(section: str, name: str, value: Any) -> dict[str, str]:
    """Makes one ClearML hyperparameter; its value is text, because a server accepts no other."""
    text = "" if value is None else str(value)
    return {"section": section, "name": name, "value": text, "type": type(value).__name__}


def stored_parameters(params: Mapping[str, Any]) -> dict[str, Any]:
    """Makes typed JSON from parameters; a value without a stable form is stored as its `repr`."""
    stored = {}
    for name, value in params.items():
        try:
            stored[name] = typed_json(value, name)
        except ParameterError:
            stored[name] = {"repr": [type(value).__qualname__, repr(value)]}
    return stored
