"""Short names for a legend, no two the same."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from .._model.search_space import varying_names
from .._results.task_labels import one_form
from .._results.value_text import shorten, value_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_LEGEND_CHARS = 40
"""The number of characters of a name in a legend."""


def legend_names(tasks: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Shortens the names of tasks where one is too long: to the parameters that vary.

    Args:
        tasks: Name and parameters of each.

    Returns:
        A name for each, all different.
    """
    names = one_form(tasks)
    if any(len(name) > MAX_LEGEND_CHARS for name in names):
        varying = _most_different_first([params for _, params in tasks])
        names = [_short_name(name, params, varying) for name, (_, params) in zip(names, tasks, strict=True)]
    return _numbered(names)


def _short_name(name: str, params: Mapping[str, Any], varying: Sequence[str]) -> str:
    text = ",".join(f"{one}={value_text(params[one])}" for one in varying if one in params)
    is_from_parameters = len(name) > MAX_LEGEND_CHARS or any(f"{one}=" in name for one in params)
    return shorten(text if text and is_from_parameters else name, MAX_LEGEND_CHARS)


def _most_different_first(tasks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sorts the parameters that vary: the end of a name may be cut off."""
    values = {
        name: {value_text(params[name]) for params in tasks if name in params}
        for name in varying_names(tasks)
    }
    return sorted(values, key=lambda name: len(values[name]), reverse=True)


def _numbered(names: Sequence[str]) -> list[str]:
    """Adds numbers where names are the same."""
    counts, used, found = Counter(names), set(names), []
    for name in names:
        number, one = 0, name
        while counts[name] > 1 and one in used:
            number += 1
            one = f"{shorten(name, MAX_LEGEND_CHARS - 6)} ({number})"
        used.add(one)
        found.append(one)
    return found
