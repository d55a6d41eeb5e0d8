"""The conditions that a ``get_all`` query makes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import attrs

from . import errors
from .state import Doc, moment, stamp

Test = Callable[[Doc], bool]


@attrs.frozen
class Kinds:
    """How a kind of document may be asked for, by field."""

    pattern: tuple[str, ...] = ("name",)
    listed: tuple[str, ...] = ("id", "tags", "system_tags")
    ranged: tuple[str, ...] = ()
    dated: tuple[str, ...] = ()
    equal: tuple[str, ...] = ()


TASKS = Kinds(
    pattern=("name", "comment", "report"),
    listed=(
        "id",
        "user",
        "tags",
        "system_tags",
        "type",
        "status",
        "project",
        "parent",
        "hyperparams.*",
    ),
    ranged=("started", "active_duration", "last_metrics.*", "last_iteration"),
    dated=("status_changed", "last_update"),
    equal=("execution.queue", "runtime.*", "models.input.model"),
)

PROJECTS = Kinds(
    pattern=("name", "basename", "description"),
    listed=("id", "tags", "system_tags", "parent", "path"),
)

MODELS = Kinds(
    pattern=("name", "comment"),
    listed=(
        "id",
        "user",
        "tags",
        "system_tags",
        "project",
        "task",
        "parent",
        "uri",
        "framework",
    ),
    dated=("last_update",),
    equal=("ready",),
)

QUEUES = Kinds(pattern=("name",), listed=("id", "tags", "system_tags"))


def unescape(part: str) -> str:
    """A segment of a path, with ``%2E``, ``%24`` and ``%%`` written out."""
    whole = [piece.replace("%2E", ".").replace("%24", "$") for piece in part.split("%%")]
    return "%".join(whole)


def split_path(path: str) -> list[str]:
    """A dotted path in its parts.

    Raises:
        ApiError: 400/12, when a hyperparameter's path has too many of them: a dot in
            a parameter's name was not written as ``%2E``.
    """
    parts = path.split(".")
    if parts[0] in ("hyperparams", "configuration") and len(parts) > 4:
        raise errors.validation_error("invalid task field", path=path)
    return [unescape(part) for part in parts]


def lookup(document: Any, parts: Sequence[str]) -> Any:
    """The value at a path; from a list of objects, the list of their values."""
    for index, part in enumerate(parts):
        if isinstance(document, list):
            return [lookup(item, parts[index:]) for item in document]
        if not isinstance(document, dict):
            return None
        document = document.get(part)
    return document


def _terms(field: str, data: Iterable[Any]) -> tuple[str, list[tuple[str, str]], bool]:
    """A list condition as the operator between its parts, the parts, and "or empty"."""
    whole = ""
    context = "any"
    negate = False
    plain = True
    empty = False
    parts: list[tuple[str, str]] = []
    for value in data:
        if value is None:
            empty = True
        elif not isinstance(value, str):
            raise errors.fields_value_error("invalid value type, string expected", field=field, value=value)
        elif value == "__$nop":
            context, plain = "any", True
        elif value == "__$not":
            negate = True
        elif value.startswith("__$"):
            context = _operator(field, value)
            plain = False
            whole = whole or context
        else:
            if plain and not negate and value.startswith("-"):
                negate, value = True, value[1:]
            parts.append(("none" if negate else context, value))
            whole = whole or "all"
            negate = False
    return whole or "all", parts, empty


def _operator(field: str, word: str) -> str:
    known = {"__$all": "all", "__$and": "all", "__$any": "any", "__$or": "any"}
    if word not in known:
        raise errors.fields_value_error("Unsupported operator", field=field, operator=word)
    return known[word]


def _list_test(field: str, data: Any) -> Test:
    whole, parts, empty = _terms(field, data if isinstance(data, list) else [data])
    groups = {
        word: {value for kind, value in parts if kind == word}
        for word in ("any", "all", "none")
        if any(kind == word for kind, _ in parts)
    }
    path = split_path(field)

    def test(document: Doc) -> bool:
        value = lookup(document, path)
        if empty and value in (None, [], ""):
            return True
        held = set(value) if isinstance(value, list) else {value}
        answers = []
        for word, wanted in groups.items():
            if word == "any":
                answers.append(bool(held & wanted))
            elif word == "all":
                answers.append(wanted <= held)
            else:
                answers.append(not held & wanted)
        if not answers:
            return not empty
        return any(answers) if whole == "any" else all(answers)

    return test


def _pattern_test(fields: Sequence[str], pattern: Any, *, ignore_case: bool) -> Test:
    try:
        compiled = re.compile(str(pattern), re.IGNORECASE if ignore_case else 0)
    except re.error as error:
        raise errors.invalid_regex(str(error)) from error
    paths = [split_path(field) for field in fields]

    def test(document: Doc) -> bool:
        values = (lookup(document, path) for path in paths)
        return any(isinstance(v, str) and compiled.search(v) for v in values)

    return test


def _range_test(field: str, data: Any) -> Test:
    if not isinstance(data, list) or len(data) != 2 or data == [None, None]:
        raise errors.validation_error(f"Min and max values should be specified for range field {field}")
    low, high = (_number_or_text(item) for item in data)
    path = split_path(field)

    def test(document: Doc) -> bool:
        value = lookup(document, path)
        if value is None:
            return low is None
        return (low is None or value >= low) and (high is None or value <= high)

    return test


def _number_or_text(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


_COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    "": lambda a, b: a == b,
}


def _date_test(field: str, data: Any) -> Test:
    conditions = []
    for text in data if isinstance(data, list) else [data]:
        match = re.fullmatch(r"(>=|>|<=|<)?(.*)", str(text))
        if match is None:
            continue
        try:
            conditions.append((match[1] or "", stamp(moment(match[2]))))
        except ValueError:
            # The server leaves out a time that it cannot read, and so widens the query.
            continue

    def test(document: Doc) -> bool:
        value = document.get(field)
        return all(value is not None and _COMPARISONS[word](value, limit) for word, limit in conditions)

    return test


def _equal_test(field: str, wanted: Any) -> Test:
    path = split_path(field)

    def test(document: Doc) -> bool:
        value = lookup(document, path)
        return bool(value == wanted) or (isinstance(value, list) and wanted in value)

    return test


def _matches(field: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(field, pattern) for pattern in patterns)


def tests_for(kinds: Kinds, query: Doc) -> list[Test]:
    """The conditions that a query makes; fields that the kind lacks make none."""
    tests: list[Test] = []
    for field, value in query.items():
        if value is None:
            continue
        if field in kinds.pattern:
            if value:
                tests.append(_pattern_test([field], value, ignore_case=False))
        elif _matches(field, kinds.listed):
            tests.append(_list_test(field, value))
        elif _matches(field, kinds.ranged):
            tests.append(_range_test(field, value))
        elif _matches(field, kinds.dated):
            tests.append(_date_test(field, value))
        elif _matches(field, kinds.equal):
            tests.append(_equal_test(field, value))
        elif field in ("_any_", "_or_", "_all_", "_and_"):
            tests.append(_multi_test(field, value))
        elif field == "search_text":
            text = re.escape(str(value))
            fields = ("id", "name", "comment")
            tests.append(_pattern_test(fields, text, ignore_case=True))
    return tests


def _multi_test(field: str, value: Doc) -> Test:
    each = [
        _pattern_test([name], value.get("pattern"), ignore_case=True) for name in value.get("fields") or ()
    ]
    join = any if field in ("_any_", "_or_") else all
    return lambda document: not each or join(test(document) for test in each)
