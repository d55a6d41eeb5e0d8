"""Parameters as JSON, and read back."""

from __future__ import annotations

import datetime
import json
import sys
import threading
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pytest

from clearml_taskgroup._model.display_name import display_name
from clearml_taskgroup._model.parameter_json import (
    canonical,
    copied,
    is_same_json,
    plain,
    plain_parameters,
    stored_json,
)
from tests.support.parameter_values import (
    STRUCT,
    Adam,
    Block,
    Colour,
    Estimator,
    Permission,
    label,
    relu,
)

AS_GIVEN: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        1.0,
        -0.5,
        0.1,
        1e20,
        1e300,
        10**30,
        float("inf"),
        "",
        "text",
        "None",
        "größe",
    ),
    *(
        [],
        [1, [2.5, None, [True]]],
        [{"units": 8}],
        [{"units": [1, 2]}, {}],
        {},
        {0: 1.0, 1: 2.0},
        {None: {1: "x"}},
    ),
    *(set(), {1, 2}, {"a"}, {(1, ("x",)), frozenset({1})}, b"", b"\x00\xff", [b"a", {1}]),
    *(Decimal("0.1"), Fraction(1, 3), {(1, 2): [3]}),
]


@pytest.mark.parametrize("value", AS_GIVEN, ids=lambda value: type(value).__name__)
def test_values_come_back_as_given(value: Any) -> None:
    """None, bools, numbers, text, bytes, lists, sets and dicts, with the types of their numbers."""
    back = plain(json.loads(json.dumps(stored_json(value))))
    assert back == value
    assert isinstance(value, Decimal) or type(back) is type(value)
    assert is_same_json(stored_json(back), stored_json(value))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        (range(3), [0, 1, 2]),
        (frozenset({1}), {1}),
        (bytearray(b"a"), b"a"),
        (np.array([[1.0, 0.5]], dtype=np.float32), [[1.0, 0.5]]),
        (np.int64(3), 3),
        (np.float32(0.1), 0.1),
        (STRUCT, [{"a": 1, "b": 2}]),
        (PurePosixPath("a/b"), "a/b"),
        (Colour.RED, "Colour.RED"),
        (Permission(8), "Permission(8)"),
        (relu, f"{relu.__module__}.relu"),
        (Adam, f"{Adam.__module__}.Adam"),
        (Adam(1.0, frozenset({"a"})), "Adam(lr=1.0, tags={'a'}, repr=None)"),
        ([Adam(1, repr={2: (1,)})], ["Adam(lr=1, tags=set(), repr={2: [1]})"]),
        (Adam(1, repr={(1,), (2, 3)}), "Adam(lr=1, tags=set(), repr={(1,), (2, 3)})"),
        (Adam(1, repr=Colour.RED), "Adam(lr=1, tags=set(), repr=Colour.RED)"),
        (Estimator(2), "Estimator(alpha=2)"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (1j, "1j"),
        ({Colour.RED: 1}, {"Colour.RED": 1}),
    ],
    ids=label,
)
def test_other_values_come_back_as_lists_and_text(value: Any, expected: Any) -> None:
    back = plain_parameters({"x": value})["x"]
    assert back == expected
    assert plain_parameters({"x": back})["x"] == expected


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({"repr": ["datetime.date", "datetime.date(2026, 1, 1)"]}, "datetime.date(2026, 1, 1)"),
        ({"repr": ["function", "<function <lambda> at 0x7f>"]}, "<function <lambda> at 0x7f>"),
        ({"map": [["units", 8]]}, {"units": 8}),
        ({"enum": "package.module.Colour.RED"}, "Colour.RED"),
        ({"number": "1/3"}, Fraction(1, 3)),
        ({"bytes": "zz"}, '{"bytes": "zz"}'),
        ({"number": "1/0"}, '{"number": "1/0"}'),
        ({"a": 1, "b": 2}, '{"a": 1, "b": 2}'),
        ({"object": None}, '{"object": null}'),
        ({"set": [{"map": []}]}, None),
        ({"anything": [1]}, "[1]"),
    ],
)
def test_stored_parameters_that_were_edited_or_are_older(stored: Any, expected: Any) -> None:
    """Whatever a run log or a server has is read, and nothing is imported for it."""
    before = set(sys.modules)
    back = plain(stored)
    assert expected is None or back == expected
    assert set(sys.modules) == before
    canonical(stored)


def test_copies_are_deep_where_they_can_be() -> None:
    given = {"layers": [[1]], "lock": threading.Lock()}
    made = {name: copied(value) for name, value in given.items()}
    made["layers"][0].append(2)
    assert given["layers"] == [[1]]
    assert made["lock"] is given["lock"]


def test_names_show_dicts_as_dicts() -> None:
    assert display_name({"layers": [{"units": 8}, {}]}) == "layers=[{units:8},{}]"
    assert display_name({"b": Block([{"units": 8}])}, short=True) == "b=Block(layers=[{units:8}])"
    assert display_name({"p": pd.Interval(0, 1)}, short=True) == "p=Interval(0, 1, closed='right')"
