"""``get_all``: order, pages and projections of what the filters leave."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from . import errors
from .filters import MODELS, PROJECTS, QUEUES, TASKS, Kinds, lookup, split_path, tests_for
from .state import Doc, State, new_id

__all__ = ["MODELS", "PROJECTS", "QUEUES", "TASKS", "ordered", "run"]

MAX_PAGE = 500


def _order_key(document: Doc, path: Sequence[str]) -> tuple[int, Any]:
    value = lookup(document, path)
    if isinstance(value, bool) or value is None:
        return (0, bool(value))
    if isinstance(value, (int, float)):
        return (1, value)
    return (2, str(value))


def ordered(documents: list[Doc], order_by: Any) -> list[Doc]:
    """Documents in the order asked for, at last by their ids; those without the field come last."""
    fields = [order_by] if isinstance(order_by, str) else list(order_by or ())
    if fields and not {"id", "-id"} & {*fields}:
        fields.append("id")
    for field in reversed(fields):
        path = split_path(field.lstrip("-"))
        with_it = [item for item in documents if lookup(item, path) is not None]
        without = [item for item in documents if lookup(item, path) is None]
        with_it.sort(key=lambda item: _order_key(item, path), reverse=field.startswith("-"))
        documents = with_it + without
    return documents


def _paging(query: Doc) -> tuple[int, int]:
    page = query.get("page") or 0
    size = query.get("page_size")
    size = MAX_PAGE if size is None else size
    if page < 0:
        raise errors.validation_error("page must be >=0", field="page")
    if size < 1:
        raise errors.validation_error("page_size must be >0", field="page_size")
    size = min(size, MAX_PAGE)
    return page * size, size


def _project_one(document: Doc, paths: list[list[str]], without: list[str]) -> Doc:
    if not paths:
        return {key: value for key, value in document.items() if key not in without}
    result: Doc = {}  # not even the id, unless it is asked for
    for path in paths:
        _copy_path(document, result, path)
    return result


def _copy_path(source: Any, target: Doc, path: list[str]) -> None:
    head, rest = path[0], path[1:]
    if not isinstance(source, dict) or head not in source:
        return
    value = source[head]
    if not rest:
        target[head] = value
    elif isinstance(value, dict):
        inner = target.setdefault(head, {})
        if inner is not value:
            _copy_path(value, inner, rest)
    elif isinstance(value, list):
        inners = target.setdefault(head, [{} for _ in value])
        for item, inner in zip(value, inners, strict=True):
            if item is not inner:
                _copy_path(item, inner, rest)


def run(
    state: State,
    documents: Iterable[Doc],
    query: Doc,
    kinds: Kinds,
    known_fields: frozenset[str] | None = None,
) -> tuple[list[Doc], Doc]:
    """Answer a ``get_all`` query.

    Args:
        state: Where scroll positions are kept.
        documents: All of the kind, oldest first.
        query: The request's body.
        kinds: What may be asked of them.
        known_fields: Names allowed at the head of ``only_fields`` and ``order_by``.

    Returns:
        The projected documents, and what goes beside them in the answer.
    """
    tests = tests_for(kinds, query)
    if not query.get("search_hidden") and not query.get("id"):
        tests.append(lambda document: "hidden" not in document.get("system_tags", ()))
    only = query.get("only_fields") or query.get("projection") or []
    only = [only] if isinstance(only, str) else only
    order_by = query.get("order_by")
    for field in (
        *only,
        *([order_by] if isinstance(order_by, str) else order_by or ()),
    ):
        head = field.lstrip("-").partition(".")[0]
        if known_fields is not None and head not in known_fields:
            raise errors.invalid_fields(f'Cannot resolve field "{head}"')
    found = [item for item in documents if all(test(item) for test in tests)]
    found = ordered(found, order_by)
    beside: Doc = {}
    if "scroll_id" in query or "size" in query:
        start, size, beside = _scroll(state, query)
        found = found[start : start + size]
        state.scrolls[beside["scroll_id"]] = start + len(found)
    else:
        start, size = _paging(query)
        found = found[start : start + size]
    paths = [split_path(field) for field in only if not field.startswith("-")]
    without = [field[1:] for field in only if field.startswith("-")]
    return [_project_one(item, paths, without) for item in found], beside


def _scroll(state: State, query: Doc) -> tuple[int, int, Doc]:
    size = query.get("size")
    if not isinstance(size, int) or size < 1:
        raise errors.validation_error(
            "Integer size parameter greater than 1 should be provided when working with scroll"
        )
    scroll_id = query.get("scroll_id") or new_id()
    start = state.scrolls.get(scroll_id, 0)
    if query.get("refresh_scroll"):
        start, size = 0, max(start, size)
    return start, size, {"scroll_id": scroll_id}
