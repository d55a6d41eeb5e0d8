"""Search spaces to configurations, in a stable order. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, MappingView, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from .._text import kind, shown
from ..errors import SpaceError
from .arguments import iterator_of
from .parameter_json import is_same_json, stored_json

Space = Mapping[str, Any] | Iterable[Mapping[str, Any]]
"""A dict of sequences (their Cartesian product), or any iterable of dicts (one configuration each).

The values are `Any` because type checkers infer `dict[str, object]` for a dict of lists and ranges.
"""


def configurations(space: Space) -> list[dict[str, Any]]:
    """Lists the configurations of a search space; the last parameter changes fastest.

    Args:
        space: A dict of sequences, for their Cartesian product, or any iterable of dicts, such as
            scikit-learn's `ParameterGrid` and `ParameterSampler`.

    Returns:
        One dict for each configuration.

    Raises:
        SpaceError: The space is empty, or has a bare string or a single value in place of a list, or
            an item that is not a dict.
    """
    if isinstance(space, Mapping):
        if not space:
            raise SpaceError("the space", "is an empty dict", "give at least one parameter, {'C': [1, 10]}")
        names = list(space)
        return [
            dict(zip(names, values, strict=True))
            for values in itertools.product(*(_values(name, space[name]) for name in names))
        ]
    items = None if isinstance(space, (str, bytes)) else iterator_of(space)
    if items is None:
        raise SpaceError(
            "the space",
            f"is {shown(space)}, {kind(space)}",
            "give a dict of lists, {'C': [1, 10]}, or an iterable of dicts",
        )
    listed = [_configuration(index, item) for index, item in enumerate(items)]
    if not listed:
        raise SpaceError(
            "the space", "has no configurations", "give at least one; an iterator may be exhausted already"
        )
    return listed


def varying_names(tasks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the parameters that not all tasks have with the same value.

    Args:
        tasks: The flat parameters of each task; all of them can be stored.
    """
    if not tasks:
        return []
    constant, varying = dict(tasks[0]), dict[str, None]()
    for params in tasks:
        if params.keys() != tasks[0].keys():
            changed = {*constant.keys() - params.keys(), *params.keys() - tasks[0].keys()}
            varying.update(dict.fromkeys(name for name in (*tasks[0], *params) if name in changed))
            constant = {name: value for name, value in constant.items() if name not in changed}
        changed = {name for name, value in constant.items() if not _is_same(value, params[name])}
        for name in changed:
            del constant[name]
        varying.update(dict.fromkeys(name for name in params if name in changed))
    order = list(tasks[0])
    return [*(name for name in order if name in varying), *(name for name in varying if name not in order)]


def _is_same(one: Any, other: Any) -> bool:
    return one is other or is_same_json(stored_json(one, lenient=True), stored_json(other, lenient=True))


def _values(name: str, values: Any) -> list[Any]:
    subject, quoted, text = f"the parameter {shown(name)}", shown(name), shown(values)
    if isinstance(values, (str, bytes)):
        raise SpaceError(
            subject,
            f"has the bare string {text}, which would be split into its letters",
            f"write {{{quoted}: [{text}]}}",
        )
    if isinstance(values, Mapping):
        path = f"'{quoted[1:-1]}/…'"
        raise SpaceError(
            subject,
            "has a dict in place of a list of values",
            f"write {{{quoted}: [{{…}}, {{…}}]}}, or use names with '/': {{{path}: […]}}",
        )
    if isinstance(values, AbstractSet) and not isinstance(
        values, MappingView
    ):  # the views of a dict are ordered
        raise SpaceError(
            subject, "has a set, which has no stable order", f"write a list, {{{quoted}: sorted(…)}}"
        )
    items = iterator_of(values)
    if items is None:
        raise SpaceError(subject, f"has the single value {text}", f"write {{{quoted}: [{text}]}}")
    listed = list(items)
    if not listed:
        raise SpaceError(subject, "has no values", "give at least one, or leave it out")
    return listed


def _configuration(index: int, item: Any) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        raise SpaceError(
            f"item {index} of the space",
            f"is {shown(item)}, {kind(item)}",
            "an iterable space holds dicts: [{'C': 1}, {'C': 10}]",
        )
    return dict(item)
