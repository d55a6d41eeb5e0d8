"""Hyperparameter sections of a task: General for the user's parameters, TaskGroup for its identity."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .._model.parameter_json import MAX_TEXT_CHARS, dumped, stored_json
from .._text import shown, storable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._model.specs import RunInfo, TaskSpec


SECTION = "TaskGroup"
"""The hyperparameter section for the identity of a task: hyperparameters survive clone and reset."""
ADDED = "params/"
"""How the entries of that section begin that hold parameters which were added later."""


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
            "params": json.dumps(stored_parameters(spec.params)),
        }
    elif run.metrics is not None:
        identity["metrics"] = json.dumps(run.metrics)
    if run.shared:
        identity |= {"shared": run.shared, "process": run.process, "session": run.session}
    identity |= {name: text for name, text in (("queue", spec.queue), ("sweep", spec.sweep)) if text}
    sections = {SECTION: {name: parameter(SECTION, name, value) for name, value in identity.items()}}
    if spec.params:
        sections["General"] = general(spec.params)
    return sections


def general(params: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Makes the entries of ClearML's section `General` from the user's parameters."""
    return {name: parameter("General", name, value) for name, value in params.items()}


def added(params: Mapping[str, Any]) -> list[dict[str, str]]:
    """Makes the entries of parameters that are added to a task.

    Those whose text and type do not tell their value are also stored as JSON, in the section `TaskGroup`.
    """
    entries = []
    for name, value in params.items():
        entry, stored = parameter("General", name, value), stored_json(value, name, lenient=True)
        entries.append(entry)
        if dumped(stored) != dumped(stored_json(_from_text(entry["value"], entry["type"]), lenient=True)):
            entries.append(parameter(SECTION, f"{ADDED}{name}", json.dumps(stored)))
    return entries


def parameter(section: str, name: str, value: Any) -> dict[str, str]:
    """Makes one ClearML hyperparameter; its value is text, because a server accepts no other."""
    return {"section": section, "name": name, "value": _text(value), "type": type(value).__name__}


def _text(value: Any) -> str:
    try:
        return "" if value is None else storable(str(value))
    except Exception:  # of the value's own class
        return shown(value, MAX_TEXT_CHARS)


def _from_text(text: str, kind: str) -> Any:
    if kind == "NoneType":
        return None
    if kind == "bool":
        return text == "True"
    try:
        return {"int": int, "float": float}.get(kind, str)(text)
    except ValueError:
        return text


def stored_parameters(params: Mapping[str, Any]) -> dict[str, Any]:
    """Makes stored JSON from parameters; a value that has no identity is stored as its `repr`."""
    return {name: stored_json(value, name, lenient=True) for name, value in params.items()}


def read_parameters(sections: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Reads a task's parameters as stored JSON from its hyperparameter sections."""
    identity = {name: str(item.get("value", "")) for name, item in sections.get(SECTION, {}).items()}
    found = _json(identity.get("params", ""), {})
    params = dict(found) if isinstance(found, dict) else {}
    for name, item in sections.get("General", {}).items():
        if name in params:
            continue
        value = _from_text(str(item.get("value", "")), str(item.get("type", "")))
        params[name] = _json(identity.get(f"{ADDED}{name}", ""), stored_json(value, name, lenient=True))
    return params


def _json(text: str, default: Any) -> Any:
    try:
        return json.loads(text)
    except (RecursionError, ValueError):  # missing, or edited in the web page
        return default
