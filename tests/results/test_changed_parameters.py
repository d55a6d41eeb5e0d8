"""Tasks of two runs that differ in parameters that were changed between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from clearml_taskgroup._results.changed_parameters import change_text, distinct_labels, pair_changed
from clearml_taskgroup._results.rows import Row
from tests.support.rows import made_row

Params = Mapping[str, Any]


def keyed(tasks: list[Params]) -> dict[str, Row]:
    """Rows by a key that is the same for equal parameters."""
    return {repr(params): made_row(repr(params), params) for params in tasks}


def pairs(before: list[Params], after: list[Params]) -> list[tuple[Params, Params, tuple[str, ...]]]:
    """The parameters of the pairs, and what was changed."""
    found = pair_changed(keyed(before), keyed(after))
    return [(one.params, other.params, names) for one, other, names in found]


def grid(**space: list[Any]) -> list[Params]:
    """All combinations of two parameters."""
    (a, first), (b, second) = space.items()
    return [{a: one, b: other} for one in first for other in second]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([{"C": 1}], [{"C": 2}], [({"C": 1}, {"C": 2}, ("C",))]),
        ([{"C": 1}], [{"C": 1}], []),
        ([], [{"C": 1}], []),
        ([{"C": 1}], [], []),
        ([{"C": 1}], [{"g": 1}], []),
        ([{"C": 1}], [{"C": 1, "g": 1}], []),
        ([{"C": 1}], [{"C": 1}, {"C": 2}], []),
        ([{"C": 1}, {"C": 2}], [{"C": 3}], []),
        (
            [{"C": 1, "g": 1}, {"C": 2, "g": 2}],
            [{"C": 2, "g": 1}, {"C": 2, "g": 2}],
            [({"C": 1, "g": 1}, {"C": 2, "g": 1}, ("C",))],
        ),
        # Of two parameters that changed in all tasks, both are told; of one with common values, that alone.
        ([{"C": 1, "g": 1}], [{"C": 2, "g": 2}], [({"C": 1, "g": 1}, {"C": 2, "g": 2}, ("C", "g"))]),
        (
            [{"C": 1, "m": "a"}, {"C": 1, "m": "b"}],
            [{"C": 2, "m": "a"}, {"C": 2, "m": "c"}],
            [({"C": 1, "m": "a"}, {"C": 2, "m": "a"}, ("C",))],
        ),
        # 1 and 1.0 are the same value, 1 and "1" are not.
        ([{"C": 1, "m": 1}], [{"C": 2, "m": 1.0}], [({"C": 1, "m": 1}, {"C": 2, "m": 1.0}, ("C",))]),
        ([{"C": [1, 2]}], [{"C": [1, 3]}], [({"C": [1, 2]}, {"C": [1, 3]}, ("C",))]),
        # Points that were added to a grid are no changes.
        (grid(C=[1, 2], m=[1, 2]), grid(C=[1, 3], m=[1, 2]), []),
        (grid(C=[1, 2], m=[1, 2]), grid(C=[1, 2], m=[1, 2, 3]), []),
    ],
)
def test_pairs(before: list[Params], after: list[Params], expected: list[Any]) -> None:
    found = pairs(before, after)
    assert sorted(found, key=repr) == expected


def test_tasks_with_other_parameters_are_compared_among_themselves() -> None:
    found = pairs([{"C": 1}, {"trees": 5, "m": "a"}], [{"C": 2}, {"trees": 6, "m": "a"}])
    assert [names for _, _, names in found] == [("C",), ("trees",)]


def test_the_text_of_a_change() -> None:
    """Long values lose their middle."""
    before, after = (
        made_row("a", {"C": 1, "m": "x" * 41, "n": 1}),
        made_row("b", {"C": "1", "m": "y", "n": 1}),
    )
    assert change_text(before, after, ("C", "m")) == f'C 1 → "1", m {"x" * 26}…{"x" * 13} → y'
    assert change_text(before, after, ()) == ""


def test_equal_names_are_told_apart() -> None:
    """By what differs between their tasks, else by their keys; other names stay."""
    rows = [made_row("a", {"C": 1, "d": 0}), made_row("b", {"C": 1, "e": 0}), made_row("c", {"C": 2})]
    assert distinct_labels(["C=1", "C=1", "C=2"], rows) == ["C=1 (d=0, no e)", "C=1 (no d, e=0)", "C=2"]
    same = [made_row("a", {"C": 1}), made_row("b", {"C": 1})]
    assert distinct_labels(["x", "x"], same) == ["x (key key of a)", "x (key key of b)"]
    assert distinct_labels(["x", "y"], same) == ["x", "y"]
    assert distinct_labels([], []) == []
