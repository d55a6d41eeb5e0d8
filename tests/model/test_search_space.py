"""Search spaces: which points they have, in which order, and what is no space."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import ParameterGrid, ParameterSampler

from clearml_taskgroup._model.search_space import configurations, varying_names
from clearml_taskgroup.errors import SpaceError


def test_a_dict_of_lists_is_their_product() -> None:
    """The last parameter changes fastest, as in nested loops."""
    assert configurations({"C": [1, 10], "seed": range(2)}) == [
        {"C": 1, "seed": 0},
        {"C": 1, "seed": 1},
        {"C": 10, "seed": 0},
        {"C": 10, "seed": 1},
    ]


def test_values_may_be_any_sequence_or_iterator() -> None:
    """Tuples, ranges, arrays, iterators and dict views list values as well as lists do."""
    space: dict[str, Any] = {"a": (1, 2), "b": np.array([0.5, 1.5]), "c": iter("xy"), "d": {"k": 1}.values()}
    assert [tuple(point.values()) for point in configurations(space)][:3] == [
        (1, 0.5, "x", 1),
        (1, 0.5, "y", 1),
        (1, 1.5, "x", 1),
    ]
    assert configurations({"model": {"svm": 1, "mlp": 2}.keys()}) == [{"model": "svm"}, {"model": "mlp"}]
    assert configurations(MappingProxyType({"a": [1]})) == [{"a": 1}]


def test_values_stay_what_they_are() -> None:
    """A point holds the very objects that were listed, lists and dicts among them."""
    layers, options = [64, 32], {"p": 0.5}
    (point,) = configurations({"layers": [layers], "options": [options]})
    assert point["layers"] is layers
    assert point["options"] is options


def test_scikit_learns_spaces_are_taken_as_they_are() -> None:
    """`ParameterGrid` and `ParameterSampler` keep their points and their order."""
    grid = ParameterGrid([{"kernel": ["rbf"], "C": [1, 10]}, {"kernel": ["linear"]}])
    assert configurations(grid) == list(grid)
    sampler = ParameterSampler({"C": [1, 2, 3, 4], "seed": range(9)}, n_iter=5, random_state=0)
    assert configurations(sampler) == list(sampler)
    assert len(configurations(sampler)) == 5


def test_points_are_copies() -> None:
    """Changing the dict of a point leaves the user's own dict as it was."""
    mine = {"C": 1}
    configurations([mine])[0]["C"] = 2
    assert mine == {"C": 1}


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"C": "abc"}, [r"'C' has the bare string 'abc'", r"\{'C': \['abc'\]\}"]),
        ({"C": b"abc"}, ["'C' has the bare string"]),
        ({"C": 1}, ["'C' has the single value 1", r"write \{'C': \[1\]\}"]),
        ({"C": None}, ["'C' has the single value None"]),
        ({"C": np.array(3)}, ["'C' has the single value"]),
        ({"C": np.float64(3)}, ["'C' has the single value"]),
        ({"C": {"a": [1]}}, ["'C' has a dict", "'C/…'"]),
        ({"C": {1, 2}}, ["'C' has a set", r"sorted\(…\)"]),
        ({"C": []}, ["'C' has no values"]),
        ({"C": [1], "D": iter([])}, ["'D' has no values"]),
        ({}, ["empty dict"]),
        (np.array(3), ["the space is array"]),
        ({"C": 10**5000}, ["'C' has the single value <int>"]),
        ("abc", ["the space is 'abc', a str", "dict of lists"]),
        (b"abc", ["a bytes"]),
        (3, ["the space is 3, an int"]),
        (None, ["the space is None"]),
        ([{"C": 1}, 2], ["item 1 of the space is 2, an int"]),
        (["C"], ["item 0 of the space is 'C'"]),
        ([[("C", 1)]], ["item 0"]),
    ],
)
def test_what_is_no_space(space: Any, told: list[str]) -> None:
    """A bare string, a single value, a set or an empty list is refused, with what to write."""
    for pattern in told:
        with pytest.raises(SpaceError, match=pattern):
            configurations(space)


VALUES = st.lists(st.integers() | st.text(max_size=3) | st.none() | st.booleans(), min_size=1, max_size=4)


@given(st.dictionaries(st.text(max_size=5), VALUES, min_size=1, max_size=4))
def test_a_product_has_the_order_of_itertools(space: dict[str, list[Any]]) -> None:
    """Size and order of a dict's points are those of `itertools.product`."""
    expected = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
    assert configurations(space) == expected


@given(
    st.lists(
        st.dictionaries(st.text(max_size=5), st.integers() | st.lists(st.integers()), max_size=3), min_size=1
    )
)
def test_an_iterable_of_dicts_is_kept_as_it_is(listed: list[dict[str, Any]]) -> None:
    """A list, a tuple or a generator of dicts gives just these dicts, in order, doubles included."""

    def generator() -> Iterator[dict[str, Any]]:
        yield from listed

    assert configurations(listed) == configurations(tuple(listed)) == configurations(generator()) == listed


@pytest.mark.parametrize("space", [[], (), iter([])], ids=["list", "tuple", "exhausted"])
def test_a_space_without_points_is_refused(space: Any) -> None:
    """A sweep over nothing is a mistake, often an iterator that was used up before."""
    with pytest.raises(SpaceError, match=r"no configurations.*exhausted"):
        configurations(space)


def test_varying_parameters() -> None:
    """Values are compared as in keys: 1 is 1.0, a list a tuple, True is not 1; a missing one is another."""
    common = {"C": 1, "layers": [1, 2], "seed": 0}
    assert varying_names([]) == []
    assert varying_names([common, {"C": 1.0, "layers": (1, 2), "seed": 0}]) == []
    assert varying_names([common, {**common, "seed": 1}, {**common, "C": True}]) == ["C", "seed"]
    assert varying_names([{"a": 1, "b": 2}, {"b": 2, "c": 3}]) == ["a", "c"]
