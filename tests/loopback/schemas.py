"""The request schemas that the clearml package ships, and what they say of a body.

The schemas are read from the package's source text and never imported: importing
clearml fixes its configuration for the whole process, and the process belongs to the
test.

Where they differ from the server that they describe:

* Stricter: null is refused for most optional fields; the server takes it as absent, so
  nulls are dropped before the check.
* Stricter: ``level`` of a log event is an enumeration in lower case; the server takes
  any text. ``parent`` in ``tasks.get_all`` is one text; the server takes a list too.
* Stricter: the ``machine_stats`` of ``workers.status_report`` are to be whole numbers;
  the agent itself sends fractions, and the server takes them.
* Laxer: lists may be empty; the server refuses some that are (``FILLED``).
* Laxer: hyperparameters need no section, name or value; the server needs all three,
  as text. Names have no minimal length. Unknown fields are allowed everywhere, which
  is why ``tasks.create`` seems to take an id or a status.
* Wrong: ``auth.revoke_credentials`` requires a ``key_id`` that it does not define.
* The lines of ``events.add_batch`` are never checked by the server as a whole: a line
  without a type or a task is counted in ``errors``.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import threading
from pathlib import Path
from typing import Any

import attrs
from jsonschema import Draft7Validator

Doc = dict[str, Any]
Version = tuple[int, ...]


@attrs.frozen
class Violation:
    """A request that the shipped schemas do not allow.

    Attributes:
        endpoint: ``service.action``.
        version: The schema's own version.
        message: What is wrong.
        path: Where in the body, from the outside in.
        line: Which line of a batch, counted from 0, or None.
    """

    endpoint: str
    version: str
    message: str
    path: tuple[str | int, ...] = ()
    line: int | None = None


@attrs.frozen
class Schema:
    """The schema of one call in one version; ``batch`` when it holds for each line."""

    version: str
    validator: Any
    batch: bool = False


FILLED = {
    **dict.fromkeys((f"tasks.{many}_many" for many in ("archive", "enqueue", "stop")), "ids"),
    **dict.fromkeys(("tasks.edit_hyper_params", "tasks.delete_hyper_params"), "hyperparams"),
    "tasks.edit_configuration": "configuration",
    **dict.fromkeys(("tasks.add_or_update_artifacts", "tasks.delete_artifacts"), "artifacts"),
    "tasks.get_hyper_params": "tasks",
}
"""The list of a call that must have an item, which the shipped schemas do not say."""

UNCHECKED = {"workers.status_report": ("machine_stats",)}
"""Fields that the schema of a call wrongly restricts."""

_lock = threading.Lock()
_services: dict[tuple[Version, str], dict[str, Schema]] = {}
_found: dict[tuple[str, str], Schema | None] = {}


def parse_version(text: str) -> Version:
    """``"2.13"`` as numbers, which compare rightly."""
    return tuple(int(part) for part in text.split("."))


def _root() -> Path:
    spec = importlib.util.find_spec("clearml")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("the loopback server reads its schemas from clearml: no such")
    return Path(spec.submodule_search_locations[0]) / "backend_api" / "services"


def _shipped_versions() -> list[tuple[Version, Path]]:
    matches = [(re.fullmatch(r"v(\d+)_(\d+)", folder.name), folder) for folder in _root().iterdir()]
    return sorted((((int(m[1]), int(m[2])), folder) for m, folder in matches if m), reverse=True)


def _attributes(node: ast.ClassDef) -> Doc:
    values: Doc = {}
    for statement in node.body:
        if not isinstance(statement, ast.Assign):
            continue
        target = statement.targets[0]
        if not isinstance(target, ast.Name):
            continue
        if target.id in ("_action", "_schema", "_version"):
            values[target.id] = ast.literal_eval(statement.value)
        elif target.id == "_batched_request_cls" and isinstance(statement.value, ast.Name):
            values[target.id] = statement.value.id
    return values


_REQUEST = re.compile(r"^class \w+Request\(.*?(?=^    (?:def |@)|^\S|\Z)", re.M | re.S)
"""A class of a request, without its methods: to parse these takes a second for some services."""


def _read_service(path: Path) -> dict[str, Schema]:
    classes = {
        node.name: _attributes(node)
        for text in _REQUEST.findall(path.read_text(encoding="utf-8"))
        for node in ast.parse(text).body
        if isinstance(node, ast.ClassDef)
    }
    schemas = {}
    for values in classes.values():
        if "_action" not in values:
            continue
        line_class = values.get("_batched_request_cls")
        source = classes[line_class] if line_class else values
        if "_schema" in source:
            schemas[values["_action"]] = Schema(
                version=values["_version"],
                validator=Draft7Validator(source["_schema"]),
                batch=line_class is not None,
            )
    return schemas


def find(endpoint: str, version: str) -> Schema | None:
    """The newest shipped schema of a call at or below an API version."""
    key = (endpoint, version)
    with _lock:
        if key not in _found:
            _found[key] = _find(endpoint, parse_version(version))
        return _found[key]


def _find(endpoint: str, version: Version) -> Schema | None:
    service, _, action = endpoint.partition(".")
    for shipped, folder in _shipped_versions():
        path = folder / f"{service}.py"
        if shipped > version or not path.is_file():
            continue
        if (shipped, service) not in _services:
            _services[shipped, service] = _read_service(path)
        if schema := _services[shipped, service].get(action):
            return schema
    return None


def check(endpoint: str, version: str, body: Doc) -> Violation | None:
    """What the schema of a call says against a body, if anything."""
    schema = find(endpoint, version)
    if schema is None or schema.batch:
        return None
    if body.get(FILLED.get(endpoint, "")) == []:
        message = "value '[]' length is lower than allowed minimum '1'"
        return Violation(endpoint, schema.version, message, (FILLED[endpoint],))
    if unchecked := UNCHECKED.get(endpoint):
        body = {key: value for key, value in body.items() if key not in unchecked}
    return first_violation(endpoint, schema, body)


def first_violation(endpoint: str, schema: Schema, body: Doc, line: int | None = None) -> Violation | None:
    """The first objection of a schema to a body or to a batch's line."""
    error = next(schema.validator.iter_errors(body), None)
    if error is None:
        return None
    return Violation(
        endpoint=endpoint,
        version=schema.version,
        message=error.message[:500],
        path=tuple(error.absolute_path),
        line=line,
    )
