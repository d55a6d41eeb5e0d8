"""Search spaces to configurations, in a stable order. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, MappingView
from collections.abc import Set as AbstractSet
from typing import Any

from ..errors import SpaceError

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
    if isinstance(space, (str, bytes)) or not isinstance(space, Iterable):
        raise SpaceError(
            "the space",
            f"is {space!r}, a {type(space).__name__}",
            "give a dict of lists, {'C': [1, 10]}, or an iterable of dicts",
        )
    listed = [_configuration(index, item) for index, item in enumerate(space)]
    if not listed:
        raise SpaceError(
            "the space", "has no configurations", "give at least one; an iterator may be exhausted already"
        )
    return listed


def _values(name: str, values: Any) -> list[Any]:
    if isinstance(values, (str, bytes)):
        raise SpaceError(
            f"the parameter {name!r}",
            f"has the bare string {values!r}, which would be split into its letters",
            f"write {{{name!r}: [{values!r}]}}",
        )
    if isinstance(values, Mapping):
        raise SpaceError(
            f"the parameter {name!r}",
            "has a dict in place of a list of values",
            f"write {{{name!r}: [{{…}}, {{…}}]}}, or use names with '/': {{'{name}/…': […]}}",
        )
    if isinstance(values, AbstractSet) and not isinstance(
        values, MappingView
    ):  # the views of a dict are ordered
        raise SpaceError(
            f"the parameter {name!r}",
            "has a set, which has no stable order",
            f"write a list, {{{name!r}: sorted(…)}}",
        )
    if not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        raise SpaceError(
            f"the parameter {name!r}", f"has the single value {values!r}", f"write {{{name!r}: [{values!r}]}}"
        )
    listed = list(values)
    if not listed:
        raise SpaceError(f"the parameter {name!r}", "has no values", "give at least one, or leave it out")
    return listed


def _configuration(index: int, item: Any) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        raise SpaceError(
            f"item {index} of the space",
            f"is {item!r}, a {type(item).__name__}",
            "an iterable space holds dicts: [{'C': 1}, {'C': 10}]",
        )
    return dict(item)
