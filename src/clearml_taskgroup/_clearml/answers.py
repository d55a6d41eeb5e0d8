"""The shape of each answer that the package reads: an answer of another shape is an error, never a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .http_request import Answer


@attrs.frozen
class _Map:
    """An object with any keys, whose values have one shape."""

    values: Any


NUMBER = (int, float)
_NAMED = {"id?": str, "name?": str}
_PARAMETER = {"value?": object}
_LAST_METRIC = {
    "metric?": str,
    "variant?": str,
    "count?": NUMBER,
    "value?": NUMBER,
    **{f"{part}_value?": NUMBER for part in ("first", "min", "max")},
    **{f"{part}_value_iteration?": int for part in ("first", "min", "max")},
}
_TASK = {
    **dict.fromkeys(("id?", "name?", "status?", "status_reason?", "status_message?", "parent?"), str),
    **dict.fromkeys(("project?", "created?", "started?", "completed?", "last_update?"), str),
    "hyperparams?": _Map(_Map(_PARAMETER)),
    "configuration?": _Map(_Map(object)),
    "system_tags?": [str],
    "runtime?": _Map(object),
    "execution?": _Map(object),
    "script?": _Map(object),
    "container?": _Map(object),
    "last_metrics?": _Map(_Map(_LAST_METRIC)),
}
_MANY = {"failed?": [{"id": str, "error?": {"msg?": object}}]}


_SCALAR = {"metric": str, "variant": str, "iter?": int, "value?": NUMBER}


def _curve(value: Any, where: str) -> str | None:
    """Checks a curve; its two lists belong together."""
    bad = _misfit(value, {"iter": [int], "y": [NUMBER]}, where)
    if bad is None and len(value["iter"]) != len(value["y"]):
        return f"{where} has lists of different lengths"
    return bad


SHAPES: Mapping[str, Any] = {
    "projects.get_all": {"projects": [_NAMED]},
    "projects.create": {"id": str},
    "tasks.create": {"id": str},
    "tasks.get_all": {"tasks": [_TASK]},
    "tasks.enqueue_many": _MANY,
    "tasks.stop_many": _MANY,
    "queues.get_all": {"queues": [{"id": str, "name": str}]},
    "queues.create": {"id": str},
    "queues.get_by_id": {"queue": {"id": str, "entries?": [{"task": str, "added": str}]}},
    "queues.remove_task": {"removed?": int},
    "events.add_batch": {"added?": int, "errors_info?": _Map(object)},
    "events.get_task_events": {"events": [_SCALAR], "total?": int, "scroll_id?": str},
    "events.scalar_metrics_iter_raw": {"variants": _Map(_curve), "returned?": int, "scroll_id?": str},
}
"""By action. A key with `?` may be missing or null; what is not named here is not read."""


def is_clearml(content: Any) -> bool:
    """Whether JSON is an answer of a ClearML server, and not a proxy's own."""
    meta = content.get("meta") if isinstance(content, dict) else None
    return isinstance(meta, dict) and isinstance(meta.get("result_code"), int)


def summary(answer: Answer) -> str:
    """Describes an answer that is not of a ClearML server: `400 Bad Request '<html>…'`."""
    where = f" to {answer.location[:100]!r}" if answer.location else ""
    start = " ".join(answer.content[:50].decode(errors="replace").split())
    return f"{answer.status_code} {answer.reason[:40]}{where} {start!r}"


def misfit(action: str, body: Mapping[str, Any], data: Any) -> str | None:
    """Says what is wrong with the data of an answer, None if nothing is.

    Args:
        action: Service and action.
        body: The request: fields that it asked for must not be missing.
        data: The answer's data.
    """
    asked = [field for field in body.get("only_fields") or () if field in ("id", "name", "status")]
    shape = SHAPES.get(action, {})
    if asked and shape:
        ((name, (items,)),) = shape.items()
        shape = {
            name: [
                {field.rstrip("?") if field[:-1] in asked else field: each for field, each in items.items()}
            ]
        }
    return _misfit(data, shape, "data")


def _misfit(value: Any, shape: Any, where: str) -> str | None:
    if isinstance(shape, list):
        if not isinstance(value, list):
            return _wrong(value, where, "a list")
        return next(
            (bad for at, each in enumerate(value) if (bad := _misfit(each, shape[0], f"{where}[{at}]"))), None
        )
    if isinstance(shape, _Map):
        if not isinstance(value, dict):
            return _wrong(value, where, "an object")
        return next(
            (
                bad
                for key, each in value.items()
                if (bad := _misfit(each, shape.values, f"{where}.{key:.40}"))
            ),
            None,
        )
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return _wrong(value, where, "an object")
        for key, each in shape.items():
            found = value.get(key.rstrip("?"))
            if found is None and key.endswith("?"):
                continue
            bad = _misfit(found, each, f"{where}.{key.rstrip('?')}")
            if bad:
                return bad
        return None
    if shape is object:
        return None
    if shape is _curve:
        wrong: str | None = _curve(value, where)
        return wrong
    fits = isinstance(value, shape) and not isinstance(value, bool)
    return None if fits else _wrong(value, where, _KINDS[shape])


_KINDS: dict[Any, str] = {str: "text", int: "a whole number", NUMBER: "a number"}


def _wrong(value: Any, where: str, expected: str) -> str:
    given = "null" if value is None else f"of type {type(value).__name__}"
    return f"{where} is {given}, expected {expected}"
