"""Finds configurations of two runs that differ only in parameters that were changed between the runs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .._clearml.hyperparameters import stored_parameters
from .._model.parameter_json import canonical, dumped
from .._model.search_space import varying_names
from .._text import shortened
from .value_text import value_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from .rows import Row

    Texts = Mapping[str, str]
    """The text of each parameter's value, the same for equal values."""

MAX_VALUE_CHARS = 40


def pair_changed(
    before: Mapping[str, Row], after: Mapping[str, Row]
) -> list[tuple[Row, Row, tuple[str, ...]]]:
    """Pairs tasks that only one of the runs has with one of the other run, by the parameters that are equal.

    Two tasks are a pair if they have the same parameters, some with other values, and each is the only one of
    its run with its other parameters: the points that were added to a grid are no changes of others.

    Args:
        before: The tasks of the earlier run, by their keys.
        after: Those of the later run.

    Returns:
        The tasks of each pair, the earlier one first, and the parameters in which they differ.
    """
    ours, theirs = _by_names(before), _by_names(after)
    found = (_pair(ours[names], theirs[names]) for names in ours if names in theirs)
    return [pair for pairs in found for pair in pairs]


def _by_names(rows: Mapping[str, Row]) -> dict[frozenset[str], dict[str, Row]]:
    groups: dict[frozenset[str], dict[str, Row]] = {}
    for key, row in rows.items():
        groups.setdefault(frozenset(row._params), {})[key] = row
    return groups


def _pair(before: Mapping[str, Row], after: Mapping[str, Row]) -> Iterator[tuple[Row, Row, tuple[str, ...]]]:
    """Yields the pairs of tasks that have the same parameters."""
    removed = {key: row for key, row in before.items() if key not in after}
    added = {key: row for key, row in after.items() if key not in before}
    if not removed or not added:
        return
    old = {key: _texts(row) for key, row in before.items()}
    new = {key: _texts(row) for key, row in after.items()}
    for names in _candidates([old[key] for key in removed], [new[key] for key in added]):
        ours, theirs = _by_others(old, names), _by_others(new, names)
        for others in ours.keys() & theirs.keys():
            one, other = ours[others], theirs[others]
            if one in removed and other in added:
                differing = tuple(name for name in names if old[one][name] != new[other][name])
                yield removed.pop(one), added.pop(other), differing


def _texts(row: Row) -> Texts:
    stored = stored_parameters(row._params)
    return {name: dumped(canonical(value)) for name, value in stored.items()}


def _candidates(removed: Sequence[Texts], added: Sequence[Texts]) -> Iterator[tuple[str, ...]]:
    """Yields the parameters that may have been changed: those without a common value, and one more."""
    before, after = _values(removed), _values(added)
    everywhere = tuple(name for name in before if before[name].isdisjoint(after[name]))
    if everywhere:
        yield everywhere
    for name in before:
        if name not in everywhere and len(before[name] | after[name]) > 1:
            yield (*everywhere, name)


def _values(tasks: Sequence[Texts]) -> dict[str, set[str]]:
    values: dict[str, set[str]] = {}
    for texts in tasks:
        for name, text in texts.items():
            values.setdefault(name, set()).add(text)
    return values


def _by_others(tasks: Mapping[str, Texts], names: Collection[str]) -> dict[frozenset[tuple[str, str]], str]:
    """Maps the other parameters of a task to its key, if it is the only one that has them."""
    others = {
        key: frozenset(item for item in texts.items() if item[0] not in names) for key, texts in tasks.items()
    }
    counts = Counter(others.values())
    return {one: key for key, one in others.items() if counts[one] == 1}


def change_text(before: Row, after: Row, names: Iterable[str]) -> str:
    """Returns `C 1 → 5, gamma 0.1 → 0.2`."""
    return ", ".join(f"{name} {_shown(before, name)} → {_shown(after, name)}" for name in names)


def distinct_labels(names: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Adds to names that occur more than once the parameters in which their tasks differ.

    A name leaves out what is the same in all tasks of its run, but other runs may have other values.
    """
    counts, labels = Counter(names), list(names)
    for name in (name for name, count in counts.items() if count > 1):
        places = [place for place, one in enumerate(names) if one == name]
        differing = varying_names([rows[place]._params for place in places])
        for place in places:
            pairs = [_setting(rows[place], one) for one in differing] or [f"key {rows[place].key}"]
            labels[place] = f"{name} ({', '.join(pairs)})"
    return labels


def _setting(row: Row, name: str) -> str:
    return f"{name}={_shown(row, name)}" if name in row._params else f"no {name}"


def _shown(row: Row, name: str) -> str:
    return shortened(value_text(row._params[name]), MAX_VALUE_CHARS)
