"""Identity: which parameters are the same task, and how tasks and groups are called."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import hashlib
import json
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any, NamedTuple

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._model.display_name import display_name, has_parameter
from clearml_taskgroup._model.identity import canonical_project, flatten, group_id, task_key
from clearml_taskgroup._model.parameter_json import typed_json
from clearml_taskgroup.errors import ArgumentError, ParameterError, ServerNameError
from tests.support.generated import Colour, Shade, Word


@dataclasses.dataclass
class Adam:
    """A dataclass."""

    lr: float
    betas: tuple[float, float] = (0.9, 0.999)


@dataclasses.dataclass
class Sgd:
    """A dataclass with the same fields."""

    lr: float
    betas: tuple[float, float] = (0.9, 0.999)


@attrs.define
class Layer:
    """An attrs class with a private field."""

    width: int
    _bias: bool = True


class Pair(NamedTuple):
    """A tuple with names."""

    first: int
    second: int


def relu(x: float) -> float:
    """A function of a module."""
    return max(x, 0.0)


def gelu(x: float) -> float:
    """Another one."""
    return x


@functools.lru_cache
def cached(x: float) -> float:
    """One that is wrapped in a cache."""
    return x


def key(params: Mapping[str, Any]) -> str:
    """The key of parameters as a user gives them."""
    return task_key(flatten(params))


def name(params: Mapping[str, Any], **options: Any) -> str:
    """The display name of parameters as a user gives them."""
    return display_name(flatten(params), **options)


MEANINGS: list[list[Any]] = [
    [1, 1.0, np.int64(1), np.float64(1), np.array(1), Fraction(2, 2), Decimal("1.0")],
    [0, 0.0, -0.0, np.float32(-0.0)],
    [0.1, np.float32(0.1), np.float16(0.1)],
    [0.1 + 2e-17],
    [Decimal("0.1"), Decimal("0.10"), Fraction(1, 10)],
    [1e-3, np.float32(1e-3)],
    [0.5, Fraction(1, 2), Decimal("0.5")],
    [10**20, 1e20],
    *([huge] for huge in (10**16 + 1, 10**400, Fraction(10**400, 3))),
    [65500, np.float16(65504)],  # the shortest decimal of that number
    [2**53, 2.0**53],
    [2**53 + 1],
    [2**60, 2.0**60],
    [2**60 + 1],
    [math.inf, np.float32("inf")],
    [-math.inf],
    [1j],
    [True, np.bool_(True)],
    [False],
    [None],
    *([text] for text in ("", "1", "True", "None", "inf", "red", "Adam", "test_identity.relu", "a/b")),
    ["a", np.str_("a")],
    [b"a", bytearray(b"a")],
    [[1, 2], (1, 2), np.array([1, 2]), range(1, 3), Pair(1, 2)],
    [[0.1, 0.2], np.array([0.1, 0.2], dtype=np.float32)],
    *([listed] for listed in ([2, 1], [1], [True], [[1], 2], [1, [2]], [])),
    [{3, 1, 2}, {2, 3, 1}, frozenset({1.0, 2, 3})],
    *([members] for members in ({1}, {True}, set())),
    [PureWindowsPath("a\\b"), PurePosixPath("a/b")],
    [Colour.RED],
    [Colour.GREEN],
    [Shade.RED],
    [Word.RED],
    [Adam(1), Adam(1.0, (0.9, 0.999))],
    [Adam(2)],
    [Sgd(1)],
    [Layer(3), Layer(3)],
    [Layer(3, False)],
    *([named] for named in (relu, gelu, np.mean, np.median, Adam, Sgd)),
    [{0: 1.0, 1: 2.0}, {1: 2, 0: 1}, MappingProxyType({0: 1, 1: 2})],
    [{"0": 1.0, 1: 2.0}],
    [{}],
    [datetime.date(2026, 1, 1)],
    [datetime.date(2026, 1, 2)],
]
"""Values, those that mean the same in one list."""


@pytest.mark.parametrize("values", MEANINGS)
def test_equal_meaning_is_equal_identity(values: list[Any]) -> None:
    """All spellings of one value give one key and one display name."""
    assert len({key({"x": value}) for value in values}) == 1
    assert len({name({"x": value}) for value in values}) == 1


@pytest.mark.parametrize("identity", [key, name])
def test_different_meaning_is_different_identity(identity: Callable[[dict[str, Any]], str]) -> None:
    """Values that mean different things differ in key and in display name, each from each."""
    found: dict[str, list[Any]] = {}
    for values in MEANINGS:
        found.setdefault(identity({"x": values[0]}), []).append(values[0])
    assert [values for values in found.values() if len(values) > 1] == []


def test_missing_is_not_none() -> None:
    """A parameter that is None is not the same as one that is left out."""
    assert len({key({"a": 1}), key({"a": 1, "b": None}), key({"a": 1, "b": "None"})}) == 3


def test_nested_dicts_are_paths() -> None:
    """Nested dicts and names with '/' are two spellings of one parameter."""
    assert flatten({"a": {"b": {"c": 1}, "d": 2}}) == {"a/b/c": 1, "a/d": 2}
    assert key({"a": {"b": 1}}) == key({"a/b": 1})


@pytest.mark.parametrize("params", [{"a": {"b": 1}, "a/b": 1}, {"a/b": 2, "a": {"b": 1}}])
def test_both_spellings_at_once_are_refused(params: dict[str, Any]) -> None:
    """Giving a nested name twice, in both spellings, is an error that names it."""
    with pytest.raises(ParameterError, match="'a/b' was given twice"):
        flatten(params)


@pytest.mark.parametrize("bad", ["", "  ", 3, None, ("a",)])
def test_names_are_text(bad: Any) -> None:
    """A parameter's name that is blank or no text is refused, also inside a nested dict."""
    for params in ({bad: 1, "x": 2}, {"outer": {"x": {" ": 1}}}):
        with pytest.raises(ParameterError, match="text and not blank"):
            flatten(params)


def test_a_refused_field_is_named_with_its_owner() -> None:
    """NaN inside a dataclass is told by the field's own path."""
    with pytest.raises(ParameterError, match=r"'optimizer\.lr' is NaN"):
        key({"optimizer": Adam(math.nan)})


@pytest.mark.parametrize("function", [relu, cached, len, np.mean])
def test_functions_are_known_by_module_path(function: Callable[..., Any]) -> None:
    """A function is its module path, also a builtin, a cached or a dispatched one."""
    assert typed_json(function) == {"function": f"{function.__module__}.{function.__qualname__}"}


def test_a_spawned_process_sees_the_script_as_main() -> None:
    """What a script defines has one identity in the script and in a process spawned from it."""
    by_home = []
    for home in ("__main__", "__mp_main__"):
        made = dataclasses.make_dataclass("Made", ["x"])
        made.__module__ = home
        by_home.append(key({"m": made(1)}))
    assert by_home[0] == by_home[1]


def test_keys_are_golden() -> None:
    """Keys are 12 digits of SHA-256 over compact sorted JSON, and so for good."""
    text = '{"C":0.1,"model/depth":3,"seed":0}'
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == "0a491c9a0e35"
    assert key({"seed": 0, "model": {"depth": 3}, "C": 0.1}) == "0a491c9a0e35"


def test_group_ids_are_golden() -> None:
    """A group's id is a function of project and name alone, blanks around them left out."""
    assert TaskGroup("digits/trial", "svm-sweep").id == "7ae34c6915f1"
    assert TaskGroup(" digits / trial ", " svm-sweep ", template="x/{metric}").id == "7ae34c6915f1"
    assert group_id("abc/def", "ghi") != group_id("abc", "def/ghi")


def test_unicode_forms_of_one_name_are_one_group() -> None:
    """A composed and a decomposed é are one name, as macOS and Linux spell it."""
    assert TaskGroup("caf\u00e9", "sweep").id == TaskGroup("cafe\u0301", "sweep").id


@pytest.mark.parametrize("seed", ["0", "12345"])
def test_identity_is_the_same_in_every_process(seed: str) -> None:
    """Keys, names and ids do not depend on the process's hash seed."""
    code = (
        "from clearml_taskgroup._model.display_name import *\n"
        "from clearml_taskgroup._model.identity import *\n"
        "flat = {'s': {'b', 'a', 'c', 1, (2, 3)}, 'n': 1.0, 'm': {1: 'x', 2: 'y'}, 'p': frozenset('xyz')}\n"
        "print(task_key(flat), display_name(flat), group_id('abc', 'xyz'))"
    )
    flat = {"s": {"b", "a", "c", 1, (2, 3)}, "n": 1, "m": {2: "y", 1: "x"}, "p": frozenset("zyx")}
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"{task_key(flat)} {display_name(flat)} {group_id('abc', 'xyz')}"


@pytest.mark.parametrize("project", ["ab", "abc/de", "abc//def", "/abc", "abc/", "abc/  ", "", " a "])
def test_projects_that_a_server_refuses(project: str) -> None:
    """Every part of a project's path needs 3 characters, and the error says so."""
    with pytest.raises(ServerNameError, match="fewer than 3 characters"):
        TaskGroup(project, "sweep")


def test_one_character_is_no_plural() -> None:
    """How long a name is, is told in proper words."""
    for project, told in (("a", "has the part 'a' of 1 character;"), ("ab", "of 2 characters;")):
        with pytest.raises(ServerNameError) as raised:
            TaskGroup(f"abc/{project}", "sweep")
        assert told in str(raised.value)
    with pytest.raises(ServerNameError, match="has 1 character;"):
        TaskGroup("abc", "x")


@pytest.mark.parametrize("group", ["", "  ", "ab", " ab "])
def test_group_names_that_a_server_refuses(group: str) -> None:
    """A group's name needs 3 characters, blanks around it not counted."""
    with pytest.raises(ServerNameError, match="group name"):
        TaskGroup("abc", group)


@pytest.mark.parametrize(("project", "group"), [(None, "sweep"), ("abc", None), ("abc", 12345)])
def test_names_that_are_no_text(project: Any, group: Any) -> None:
    """A project or name that is None or a number is refused, not turned into text."""
    with pytest.raises(ArgumentError, match="expected text"):
        TaskGroup(project, group)


def test_three_characters_are_enough() -> None:
    """The server's limit itself is allowed, in each part."""
    assert canonical_project("abc/def/ghi") == "abc/def/ghi"


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"seed": 0, "C": 1.0}, "C=1,seed=0"),
        ({"lr": 0.001, "b": 1e-9, "big": 1e20}, "b=1e-09,big=1e+20,lr=0.001"),
        ({"model": {"depth": 3}, "name": "resnet-50 v1.5"}, "model/depth=3,name=resnet-50 v1.5"),
        ({"on": True, "x": None, "blank": "x "}, 'blank="x ",on=True,x=None'),
        (
            {"a": "1", "b": "None", "c": "x,y=2", "d": "größe", "e": ""},
            'a="1",b="None",c="x,y=2",d=größe,e=""',
        ),
        ({"l": (1, [2.5, "x"]), "s": {2, 1}}, "l=[1,[2.5,x]],s=set([1,2])"),
        ({"p": PurePath("data/train")}, "p=path(data/train)"),
        ({"o": Layer(3)}, "o=tests.model.test_identity.Layer(width=3,_bias=True)"),
        ({"d": datetime.date(2026, 1, 2)}, 'd=repr([datetime.date,"datetime.date(2026, 1, 2)"])'),
    ],
)
def test_display_names(params: dict[str, Any], expected: str) -> None:
    """The name is `name=value` sorted by name; text that may mislead is in quotes."""
    assert name(params) == expected


def test_long_names_are_cut_and_stay_unique() -> None:
    left, right = ({"text": "x" * 100 + end} for end in "ab")
    assert len(name(left)) == len(name(right)) == 80
    assert name(left) != name(right)
    assert name(left).startswith("text=xxx")
    assert name(left).endswith("~" + key(left))
    assert name({"a": "b" * 78}) == "a=" + "b" * 78, "a name of exactly the length is not cut"


NUMBERS = [0, 1, 1.0, -0.0, 0.5, 10**20, 1e20, 2**53 + 1, 2.0**53, math.inf, -math.inf, True, False, None]
TEXTS = [
    "",
    "0",
    "1",
    "1.0",
    "True",
    "None",
    "inf",
    "a",
    "a ",
    "a,b=1",
    '"a"',
    "[1]",
    "path(a)",
    "set([])",
    "~",
]
OTHERS = [PurePosixPath("a"), PurePosixPath("a/b"), "a/b", Colour.RED, Shade.RED, b"a", b""]
CONFUSABLE = st.sampled_from([*NUMBERS, *TEXTS, *OTHERS])
LEAVES = CONFUSABLE | st.integers() | st.floats(allow_nan=False) | st.text(max_size=100) | st.booleans()
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.frozensets(LEAVES, max_size=3)
        | st.dictionaries(st.integers(0, 3), inner, max_size=2)
    ),
    max_leaves=5,
)
NAMES = st.sampled_from(["a", "b", "C", "a b", "a=1,b", "a/b"]) | st.text("ab=,\"'é~", min_size=1, max_size=4)
PARAMS = st.dictionaries(NAMES.filter(str.strip), VALUES, min_size=1, max_size=3)


def meaning(value: Any) -> Any:
    """What a value means, said without the code under test."""
    if value is None or isinstance(value, (bool, str, bytes, enum.Enum)):
        return type(value), value
    if isinstance(value, (int, float)):
        return "number", value if math.isinf(value) else Fraction(value)
    if isinstance(value, (list, tuple)):
        return "list", tuple(map(meaning, value))
    if isinstance(value, frozenset):
        return "set", frozenset(map(meaning, value))
    if isinstance(value, dict):
        return "dict", frozenset((meaning(name), meaning(item)) for name, item in value.items())
    return "path", value.as_posix()


@given(PARAMS, PARAMS)
def test_keys_and_names_are_equal_exactly_when_the_meaning_is(
    left: dict[str, Any], right: dict[str, Any]
) -> None:
    """Key and display name tell parameter sets apart exactly when they mean different things."""
    same = {n: meaning(v) for n, v in left.items()} == {n: meaning(v) for n, v in right.items()}
    assert (key(left) == key(right)) == same
    assert (name(left) == name(right)) == same


@given(VALUES, VALUES)
def test_single_values_are_told_apart(left: Any, right: Any) -> None:
    """Two values under one name have equal keys, and names, exactly when they mean the same."""
    same = meaning(left) == meaning(right)
    assert (key({"x": left}) == key({"x": right})) == same
    assert (name({"x": left}) == name({"x": right})) == same


@given(PARAMS, st.randoms(use_true_random=False))
def test_order_does_not_matter(params: dict[str, Any], random: Any) -> None:
    """The order in which parameters are given changes neither key nor name."""
    items = list(params.items())
    random.shuffle(items)
    assert (key(dict(items)), name(dict(items))) == (key(params), name(params))


@given(PARAMS, st.integers(14, 80))
def test_forms_of_keys_and_names(params: dict[str, Any], length: int) -> None:
    """A key is 12 hex digits; a name keeps its length; both survive pickling and flattening again."""
    assert len(key(params)) == 12
    assert set(key(params)) <= set("0123456789abcdef")
    assert 0 < len(name(params, length=length)) <= length
    flat = flatten(params)
    assert flatten(flat) == flat
    again = pickle.loads(pickle.dumps(params))
    assert (key(again), name(again)) == (key(params), name(params))
    json.dumps({name: typed_json(value) for name, value in flat.items()}, allow_nan=False)


@pytest.mark.parametrize(
    ("name", "param", "has"),
    [
        ("C=1,seed=0", "C", True),
        ("C=1,seed=0", "seed", True),
        ("C=1,seed=0", "eed", False),
        ("C=1,seed=0", "C=1,seed", False),
        ("C", "C", False),
        ("model/C=1", "C", False),
    ],
)
def test_parameters_in_a_name(name: str, param: str, has: bool) -> None:
    assert has_parameter(name, param) is has
