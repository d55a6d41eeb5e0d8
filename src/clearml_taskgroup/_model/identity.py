"""The identity of tasks and groups: parameters to typed JSON and the key. Pure.

Equal parameters have equal keys, whatever their Python types: numbers are compared by value
(1 ≡ 1.0), lists like tuples, sets in sorted order; but True ≠ 1, None ≠ missing ≠ "None".
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from .._text import counted, is_storable, shown
from ..errors import ArgumentError, ParameterError, ServerNameError
from .parameter_json import MAX_DEPTH, dumped, typed_json

try:  # Python's own one: `hashlib` loads OpenSSL, which takes a twentieth of the whole import
    _sha256 = import_module("_sha2" if sys.version_info >= (3, 12) else "_sha256").sha256
except ImportError:  # Python was built without
    _sha256 = import_module("hashlib").sha256

KEY_DIGITS = 12
MIN_SERVER_NAME_LENGTH = 3

NO_SURROGATES = "text without lone surrogates, which cannot be stored"
_LONGER_NAME = (
    "choose a longer one: a ClearML server refuses task names and parts of a project's path that have fewer "
    f"than {MIN_SERVER_NAME_LENGTH} characters"
)


def group_id(project: str, name: str) -> str:
    """Returns a group's id, which is the same for a project and name on every machine.

    Args:
        project: The canonical project path (see `canonical_project`).
        name: The canonical name (see `canonical_task_name`).

    Returns:
        12 hexadecimal digits of SHA-256.
    """
    return _digest(json.dumps([project, name]))


def shared_run_id(group_id: str, text: str) -> str:
    """Returns the id of the run that a text names: the same in every process, without asking anybody."""
    return _digest(json.dumps([group_id, text.strip()]), 32)


def canonical_project(project: str) -> str:
    """Normalizes a project path: NFC, no blanks around its parts.

    Args:
        project: The path, with `/` between its parts.

    Raises:
        ArgumentError: It is not text, or not Unicode.
        ServerNameError: A part has fewer than 3 characters.
    """
    _check_text("project", project, "text, 'project/part'")
    parts = [_normalized(part) for part in project.split("/")]
    for part in parts:
        if len(part) < MIN_SERVER_NAME_LENGTH:
            problem = "has a blank part"
            if part:
                problem = f"has the part {part!r} of {counted(len(part), 'character')}"
            raise ServerNameError(f"the project {project!r}", problem, _LONGER_NAME)
    return "/".join(parts)


def canonical_task_name(name: str, what: str = "task name") -> str:
    """Normalizes a name that is sent to the server: NFC, no blanks around it.

    Args:
        name: The name as given.
        what: What the name is, for error messages.

    Raises:
        ArgumentError: It is not text, or not Unicode.
        ServerNameError: It has fewer than 3 characters.
    """
    _check_text(what, name, "text")
    normalized = _normalized(name)
    if len(normalized) < MIN_SERVER_NAME_LENGTH:
        problem = f"has {counted(len(normalized), 'character')}" if normalized else "is blank"
        raise ServerNameError(f"the {what} {name!r}", problem, _LONGER_NAME)
    return normalized


def flatten(params: Mapping[str, Any]) -> dict[str, Any]:
    """Flattens nested dicts: `{"a": {"b": 1}}` becomes `{"a/b": 1}`.

    A dict with keys that are not text (class weights, `{0: 1.0, 1: 2.0}`) and an empty dict are
    values and stay as they are.

    Raises:
        ParameterError: A name is blank or not text, or two spellings give the same name.
    """
    flat: dict[str, Any] = {}
    for name, value in _leaves(params, ()):
        if name in flat:
            raise ParameterError(name, "was given twice, nested and with '/'", "keep one of them")
        flat[name] = value
    return flat


def _leaves(params: Mapping[Any, Any], path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, value in params.items():
        if not isinstance(name, str) or not name.strip() or not is_storable(name):
            raise ParameterError(
                shown(name),
                "has a name that is blank or no text",
                "give it a name that is text and not blank",
            )
        here = (*path, name)
        if len(here) > MAX_DEPTH:
            raise ParameterError(
                here[0], f"is a dict of more than {MAX_DEPTH} levels, or contains itself", "pass fewer levels"
            )
        if _is_nested(value):
            yield from _leaves(value, here)
        else:
            yield "/".join(here), value


def _is_nested(value: Any) -> bool:
    if not isinstance(value, Mapping) or hasattr(value, "shape"):  # as a sparse matrix has
        return False
    return len(value) > 0 and all(isinstance(key, str) for key in value)


def task_key(flat: Mapping[str, Any]) -> str:
    """Returns a task's key: 12 hexadecimal digits of SHA-256 over its canonical parameters."""
    return _digest(dumped({name: typed_json(flat[name], name) for name in flat}))


def _check_text(what: str, given: Any, expected: str) -> None:
    if not isinstance(given, str) or not is_storable(given):
        raise ArgumentError(what, given, expected if not isinstance(given, str) else NO_SURROGATES)


def _normalized(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def _digest(text: str, digits: int = KEY_DIGITS) -> str:
    return str(_sha256(text.encode()).hexdigest()[:digits])
