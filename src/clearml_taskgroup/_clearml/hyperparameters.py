"""What is stored with a task when it is created: the user's parameters, and the task's identity.

The user's parameters are the hyperparameter section `General`. What a task shares with the others of its
run is in the section `TaskGroup`, by which it is found. What it does not share is in a configuration object:
the web page's comparison marks a section as different as soon as one entry is. All three survive a clone and
a reset. `runtime`, which does not, marks originals and has what a single task is found by.

Versions up to 0.1 had the whole identity in the section.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

from .._model.parameter_json import MAX_TEXT_CHARS, dumped, stored_json
from .._text import shown, storable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._model.specs import RunInfo, TaskSpec


SECTION = "TaskGroup"
"""The hyperparameter section for what tasks of a run share, and the configuration object for the rest."""
IDENTITY_FIELDS = (f"hyperparams.{SECTION}", f"configuration.{SECTION}")
"""The fields of a task that have its identity."""
OWN_ENTRIES = ("key", "name", "index", "attempt", "params", "sweep", "process", "session")
"""The entries that are not the same in all tasks of a run."""
RUN_MARKER, KEY_MARKER, ATTEMPT_MARKER, INDEX_MARKER = (
    f"taskgroup_{name}" for name in ("run", "key", "attempt", "index")
)
"""Entries of `runtime`."""
ADDED = "params/"
"""How the entries of that section begin that hold parameters which were added later."""


def entry_field(name: str) -> str:
    """Gives the field of a task that has one entry of the section, for queries."""
    return f"hyperparams.{SECTION}.{name}.value"


def hyperparameters(run: RunInfo, spec: TaskSpec) -> dict[str, dict[str, dict[str, str]]]:
    """Makes the hyperparameter sections of a task: `General`, and what it shares with its run."""
    identity: dict[str, str | int] = {"queue": spec.queue} if spec.queue else {}
    if spec.kind == "parent" and run.metrics is not None:
        identity["metrics"] = json.dumps(run.metrics)
    sections = {SECTION: {**_of_run(run, spec.kind), **_entries(identity)}}
    if spec.params:
        sections["General"] = general(spec.params)
    return sections


def configuration(run: RunInfo, spec: TaskSpec) -> dict[str, dict[str, str]]:
    """Makes the configuration objects of a task: what it does not share with its run."""
    own: dict[str, str] = {}
    if spec.kind == "task":
        own = {"key": storable(spec.key), "name": storable(spec.name)}
        own |= {"index": str(spec.index), "attempt": str(spec.attempt)}
        own["params"] = json.dumps(stored_parameters(spec.params))
    if spec.sweep:
        own["sweep"] = spec.sweep
    if run.shared:
        own |= {"process": run.process, "session": str(run.session)}
    return {SECTION: configuration_object(own)} if own else {}


@functools.lru_cache(maxsize=8)
def _of_run(run: RunInfo, kind: str) -> dict[str, dict[str, str]]:
    """Makes the entries that the tasks of a run have in common."""
    identity: dict[str, str | int] = {
        "group": run.group_id,
        "group_name": run.name,
        "run": run.run,
        "run_number": run.number,
        "kind": kind,
        "template": run.template,
    }
    if run.shared:
        identity["shared"] = run.shared
    return _entries(identity)


def _entries(identity: Mapping[str, str | int]) -> dict[str, dict[str, str]]:
    return {name: parameter(SECTION, name, value) for name, value in identity.items()}


def configuration_object(own: Mapping[str, str]) -> dict[str, str]:
    """Makes a configuration object, JSON with a line for each entry."""
    lines = [
        f"  {json.dumps(name)}: {text if name == 'params' else json.dumps(text)}"
        for name, text in own.items()
    ]
    text = "{\n" + ",\n".join(lines) + "\n}"
    return {"name": SECTION, "value": text, "type": "json", "description": "Read by clearml-taskgroup"}


def own_entries(objects: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Reads the entries that a task does not share from its configuration objects."""
    own = _json(str((objects.get(SECTION) or {}).get("value") or ""), {})
    if not isinstance(own, dict):  # edited in the web page
        return {}
    return {
        name: value if isinstance(value, str) and name != "params" else json.dumps(value)
        for name, value in own.items()
    }


def runtime_of(identity: Mapping[str, str]) -> dict[str, str]:
    """Makes the entries of `runtime` that mark a task as an original of its run, and by which it is found."""
    names = {"run": RUN_MARKER, "key": KEY_MARKER, "attempt": ATTEMPT_MARKER, "index": INDEX_MARKER}
    return {marker: identity[name] for name, marker in names.items() if name in identity}


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


def read_parameters(general: Mapping[str, Mapping[str, Any]], identity: Mapping[str, str]) -> dict[str, Any]:
    """Reads a task's parameters as stored JSON from its section `General` and its identity."""
    found = _json(identity.get("params", ""), {})
    params = dict(found) if isinstance(found, dict) else {}
    for name, item in general.items():
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
