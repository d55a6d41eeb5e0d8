"""What tasks are called in one table: all in one form, also where their names are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._model.display_name import display_name, has_parameter
from .rows import with_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .rows import Row

MAX_LABEL_LENGTH = 200
"""The most characters of a label that is made anew."""


def task_labels(rows: Sequence[Row]) -> list[str]:
    """Returns what the tasks are called in a table; with their parameters if their names have none."""
    tasks = [(row.name, row._params) for row in rows]
    return [with_parameters(name, params) for name, (_, params) in zip(one_form(tasks), tasks, strict=True)]


def one_form(tasks: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Returns the names of tasks, with the same parameters in all that consist of parameters.

    The space of a resumed run or of a second sweep may vary in more, but tasks keep the names that they have:
    `C=1` beside `C=10,seed=1`.

    Args:
        tasks: Name and parameters of each.
    """
    names = [name for name, _ in tasks]
    contained = [frozenset(param for param in params if has_parameter(name, param)) for name, params in tasks]
    if len(set(contained)) < 2:
        return names
    known = [
        _without_order(name) == _without_order(_name_of(params, among)) if among else False
        for (name, params), among in zip(tasks, contained, strict=True)
    ]
    shown = {param for is_known, among in zip(known, contained, strict=True) if is_known for param in among}
    return [
        (_name_of(params, shown) or name) if is_known else name
        for (name, params), is_known in zip(tasks, known, strict=True)
    ]


def _name_of(params: Mapping[str, Any], among: frozenset[str] | set[str]) -> str:
    try:
        return display_name(params, length=MAX_LABEL_LENGTH, short=True, among=among)
    except ValueError:  # a value without a stable form; its task was given key=
        return ""


def _without_order(name: str) -> list[str]:
    return sorted(name.split(","))
