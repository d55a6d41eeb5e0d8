"""Search spaces → points in a stable order. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, MappingView
from collections.abc import Set as AbstractSet
from typing import Any

from ..errors import SpaceError

Space = Mapping[str, Any] | Iterable[Mapping[str, Any]]
"""A dict of sequences (their product), or any iterable of dicts (one point each).

The values are `Any`: type checkers take a dict of lists and ranges for a `dict[str, object]`.
"""


def points(space: Space) -> list[dict[str, Any]]:
    """Lists the points of a space, the last parameter changing fastest.

    Args:
        space: A dict of sequences, of which the product is taken, or any iterable of dicts, such
            as scikit-learn's `ParameterGrid` and `ParameterSampler`.

    Returns:
        One dict per point.

    Raises:
        SpaceError: The space is empty, has a bare string or a single value where values are
            listed, or holds something other than dicts.
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
    listed = [_point(index, point) for index, point in enumerate(space)]
    if not listed:
        raise SpaceError(
            "the space", "has no configurations", "give at least one; an iterator may be exhausted already"
        )
    return listed


def _values(name: str, values: Any) -> list[Any]:
    if isinstance(values, (str, bytes)):
        raise SpaceError(
            f"the parameter {name!r}",
            f"has the bare string {values!r}, which would be taken apart letter by letter",
            f"write {{{name!r}: [{values!r}]}}",
        )
    if isinstance(values, Mapping):
        raise SpaceError(
            f"the parameter {name!r}",
            "has a dict where its values should be listed",
            f"write {{{name!r}: [{{…}}, {{…}}]}}, or use names with '/': {{'{name}/…': […]}}",
        )
    if isinstance(values, AbstractSet) and not isinstance(values, MappingView):  # a dict's keys have an order
        raise SpaceError(
            f"the parameter {name!r}",
            "has a set, which has no order of its own",
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


def _point(index: int, point: Any) -> dict[str, Any]:
    if not isinstance(point, Mapping):
        raise SpaceError(
            f"item {index} of the space",
            f"is {point!r}, a {type(point).__name__}",
            "an iterable space holds dicts: [{'C': 1}, {'C': 10}]",
        )
    return dict(point)
