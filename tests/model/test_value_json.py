"""Values that are more than a number or text: different ones differ, what has no identity is refused."""

from __future__ import annotations

import collections
import datetime
import enum
import functools
import os
import random
import re
import subprocess
import sys
import threading
import types
import uuid
import zoneinfo
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pytest

from clearml_taskgroup._model.identity import flatten
from clearml_taskgroup._model.parameter_json import (
    copied,
    is_same_json,
    plain,
    stored_json,
    typed_json,
)
from clearml_taskgroup.errors import ParameterError
from tests.support.parameter_values import (
    STRUCT,
    Adam,
    Block,
    Broken,
    Colour,
    Estimator,
    Permission,
    Spoken,
    WithMore,
    key,
    label,
    relu,
)


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


def local_class(base: type = object) -> type:
    return type("Local", (base,), {"__qualname__": "local_class.<locals>.Local"})


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def cyclic_list() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def cyclic_dict() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["inner"] = value
    return value


NS = np.datetime64("2026-01-01T00:00:00.000000001", "ns")


DIFFERENT: list[Any] = [
    *(None, True, 1, "1", [1], [1, 2], [None], [[1, 2]], [], {}, {"b": 2, 1: 1}, b"a"),
    *(NS, int(NS.astype(int)), NS + np.timedelta64(1, "ns"), datetime.datetime(2026, 1, 1)),
    *(pd.Timestamp("2026-01-01"), pd.Timestamp("2026-01-01", tz="UTC"), pd.Timestamp(NS)),
    *(np.timedelta64(3, "Y"), 3, np.timedelta64(3, "M"), np.timedelta64(3, "ns"), np.timedelta64(3, "h")),
    *(datetime.timedelta(3), pd.Timedelta(3), pd.Period("2026"), pd.Interval(0, 1), pd.Interval(0, 2)),
    *(Permission(0), Permission(8), Permission(16), Permission.READ, Permission.READ | Permission.WRITE),
    *(pd.DataFrame({"a": [1.0000001]}), pd.DataFrame({"a": [1.0000002]}), pd.DataFrame({"b": [1.0000001]})),
    *(pd.DataFrame({"a": [1.0, None]}), pd.DataFrame({"a": [1.0, 2]}, index=[1, 2]), pd.DataFrame()),
    *(pd.DataFrame({"a": range(1000)}), pd.DataFrame({"a": [*range(500), 0, *range(501, 1000)]})),
    *(pd.Series([1, 2]), pd.Series([1, 2], index=[3, 4]), pd.Series([1, 2], name="x"), pd.Series([1, 3])),
    *(pd.Index([1, 2]), pd.Index([1, 2], name="x"), pd.MultiIndex.from_tuples([(1, 2)])),
    *(pd.Categorical(["a", "b"]), pd.Categorical(["a", "b"], ordered=True)),
    pd.Categorical(["a", "b"], categories=["a", "b", "c"]),
    *(
        np.zeros((0, 3)),
        np.zeros((0, 4)),
        np.zeros((1, 0)),
        STRUCT,
        STRUCT.astype([("a", "i4"), ("c", "i4")]),
    ),
    *(np.ma.array([1, 2], mask=[False, True]), [1, None], np.ma.array([1, 2], mask=[False, False])),
    *(np.array(["2026-01-01"], dtype="M8[ns]"), np.array([NS]), [int(NS.astype(int))]),
    *(re.compile("a" * 300), re.compile("a" * 299 + "b"), re.compile("a" * 300, re.IGNORECASE)),
    *(
        np.float32,
        np.float64,
        np.dtype("f4"),
        np.dtype("f8"),
        np.exp,
        np.tanh,
        len,
        relu,
        Adam,
        dict.fromkeys,
    ),
    *(str.upper, str.lower, datetime.datetime.now, Estimator(), Estimator(2), Estimator(steps=[Estimator()])),
    *(Adam(1), Adam(1, repr=[1, 2, 3]), Adam(1, repr=[1, 2, 4]), uuid.UUID(int=1), uuid.UUID(int=2)),
    *(zoneinfo.ZoneInfo("UTC"), datetime.UTC, datetime.time(1), datetime.time(1, fold=1)),
    *(pd.CategoricalDtype(["a"]), pd.CategoricalDtype(["a"], ordered=True)),
    *(np.longdouble("0.1"), np.array([np.longdouble("0.1")])),
    *(1j, 2j, ..., slice(1), slice(2), 10**400, 10**400 + 1, Fraction(1, 10**300), Fraction(2, 10**300)),
]
"""Values that are all different; many of them have equal reprs, or equal lists of elements."""


def test_different_values_have_different_keys() -> None:
    found: dict[str, list[Any]] = {}
    for value in DIFFERENT:
        found.setdefault(key(value), []).append(value)
    assert [values for values in found.values() if len(values) > 1] == []


@pytest.mark.parametrize("value", DIFFERENT, ids=label)
def test_an_equal_value_has_the_same_key(value: Any) -> None:
    assert key(copied(value)) == key(value)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (np.datetime64("2026-01-01T00:00:00", "ns"), datetime.datetime(2026, 1, 1)),
        (np.datetime64("2026-01-01T00", "h"), np.datetime64("2026-01-01T00:00:00", "us")),
        (np.timedelta64(3000, "ns"), datetime.timedelta(microseconds=3)),
        (np.datetime64("2026-01-01"), datetime.date(2026, 1, 1)),
        (STRUCT[0], {"b": 2, "a": 1}),
        (np.array([{1, 2}], dtype=object), [{2, 1}]),
        (Estimator(1), Estimator(1.0, float("nan"))),
        (pd.Series([1, 2]), pd.Series([1.0, 2.0])),
        (Colour["RED"], Colour(1)),
    ],
    ids=label,
)
def test_equal_values_of_different_types(left: Any, right: Any) -> None:
    assert is_same_json(typed_json(left), typed_json(right))


def local_function() -> Callable[..., Any]:
    def inner() -> None:
        """Does nothing."""

    return inner


REFUSED: list[tuple[Any, str]] = [
    (lambda x: x, "a lambda, which has no name"),
    *((float("nan"), "NaN"), (np.float32("nan"), "NaN"), (Decimal("nan"), "NaN"), ([1, float("nan")], "NaN")),
    *((iter([1]), "no stable text form"), ([Spoken()], "no stable text form")),
    (Spoken().__str__, "no stable text form"),
    (types.SimpleNamespace(tags={"a", "b"}), "no stable text form"),
    (functools.partial(int, base=2), "no stable text form"),
    (ValueError({"a"}), "no stable text form"),
    (Spoken(), "no stable text form"),
    (collections.UserString("abc"), "no stable text form"),
    (object(), "no stable text form"),
    (threading.Lock(), "no stable text form"),
    (datetime.datetime(2026, 1, 1, tzinfo=type("Zone", (datetime.tzinfo,), {})()), "no stable text form"),
    (slice([1]), "no stable text form"),
    (list[int], "no stable text form"),
    ([].append, "a method of an object"),
    ("abc".upper, "a method of an object"),
    (random.random, "a method of an object"),
    (Adam(1).__eq__, "a method of an object"),
    (decorated(relu), "a function that is not what .* stands for"),
    (type("Adam", (), {}), "a class that is not what .* stands for"),
    (local_class(), "a class defined inside a function; move it to a module, or give key="),
    (local_function(), "a function defined inside a function; move it to a module, or give key="),
    (enum.Enum("Local", "RED", qualname="f.<locals>.Local").RED, "a class defined inside a function"),  # type: ignore[attr-defined]
    (local_class(Adam)(1), "a class defined inside a function"),
    (WithMore(1, 2), "attributes beside its fields"),
    (Broken(), "cannot be read .RuntimeError"),
    (np.datetime64("NaT", "s"), "NaT"),
    (pd.NaT, "NaT"),
    (pd.NA, "NA"),
    (Decimal("sNaN"), "NaN"),
    (complex("nan"), "NaN"),
    (pd.DataFrame({"a": [object()]}), "no stable text form"),
    ({0.1: 1, np.float32(0.1): 2}, "two keys that are the same"),
]


@pytest.mark.parametrize(("value", "problem"), REFUSED, ids=lambda value: "")
def test_what_is_known_by_its_repr_only_is_refused(value: Any, problem: str) -> None:
    with pytest.raises(ParameterError, match=problem) as caught:
        typed_json(value, "x")
    assert "give key=" in str(caught.value)
    assert "'x'" in str(caught.value)


def test_sparse_matrices_are_refused() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    for made in (sparse.eye(3).tocsr(), sparse.dok_matrix((2, 2)), sparse.coo_array((2, 2))):
        with pytest.raises(ParameterError, match="no stable text form"):
            key(made)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (nested(1000), "more than 100 levels"),
        (cyclic_list(), "contains itself"),
        (cyclic_dict(), "contains itself"),
        (10**5000, "more than 4,000 digits"),
        (Decimal("1E+1000000"), "more than 4,000 digits"),
        (Decimal("1E-1000000"), "more than 4,000 digits"),
        (Fraction(1, 10**5000), "more than 4,000 digits"),
        (range(10**9), "more than 1,000,000 elements"),
        (np.zeros(10**7), "more than 1,000,000 elements"),
        (bytes(2 * 10**6), "more than 1,000,000 elements"),
        ("caf\udce9.csv", "lone surrogate"),
        (PurePosixPath("caf\udce9.csv"), "lone surrogate"),
        ({1: "\ud800"}, "lone surrogate"),
    ],
    ids=lambda value: "",
)
def test_what_cannot_be_stored_is_refused_also_with_key(value: Any, problem: str) -> None:
    for lenient in (False, True):
        with pytest.raises(ParameterError, match=problem) as caught:
            for name, one in flatten({"x": value}).items():
                stored_json(one, name, lenient=lenient)
        assert len(str(caught.value)) <= 500


SEED_VALUES = """[
    {"a", "b", "c"}, frozenset("abc"), {1: {"x", "y"}}, [{("a", 1), ("b", 2)}], {frozenset("ab")},
    Adam(1, frozenset("abc")), pd.DataFrame({"a": [frozenset("xyz")]}), np.array([{"a", "b"}], dtype=object),
    Permission.READ | Permission.WRITE, re.compile("a"), Estimator(steps={"a", "b"}),
]"""


@pytest.mark.slow
def test_nothing_depends_on_the_hash_seed() -> None:
    code = f"""
from tests.model.test_value_json import *
from clearml_taskgroup._model.parameter_json import plain
from clearml_taskgroup._model.display_name import display_name
for value in {SEED_VALUES}:
    print(key(value), display_name({{"x": value}}), typed_json(value))
    shown = plain(stored_json(value))
    print(shown if isinstance(shown, str) else "")
"""
    found = []
    for seed in ("0", "1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        found.append(done.stdout)
    assert len(set(found)) == 1


def test_a_set_has_each_member_once() -> None:
    """Also members that Python takes for different: 0.1, and the number of few bits that stands for it."""
    both = {0.1, np.float32(0.1)}
    assert len(both) == 2
    assert key(both) == key({0.1})


def test_what_has_no_identity_is_stored_with_a_key() -> None:
    stored = stored_json([1, float("nan"), Spoken()], lenient=True)
    assert stored == [1, {"float": "nan"}, {"repr": ["Spoken", "Spoken()"]}]
    back = plain(stored)
    assert (back[0], back[1] != back[1], back[2]) == (1, True, "Spoken()")
    places = [stored_json([object(), lambda: 0], lenient=True) for _ in range(2)]
    assert places[0] == places[1], "where an object is in memory says nothing"
    assert stored_json(Broken(), lenient=True) == {"repr": ["Broken", "<Broken>"]}


def test_what_an_object_is_stored_as() -> None:
    """A dataclass and an attrs class by their fields, an estimator by what is not at its default."""
    module = Adam.__module__
    assert typed_json(Block([{"units": 8}])) == {
        "object": [f"{module}.Block", {"layers": [{"map": [["units", 8]]}]}]
    }
    assert typed_json(Estimator(2)) == {"object": [f"{module}.Estimator", {"alpha": 2}]}
    with pytest.raises(ParameterError, match="no stable text form"):
        typed_json(type("HalfEstimator", (), {"get_params": lambda self: {}, "__module__": module})())
