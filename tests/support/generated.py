"""Parameters that somebody may pass, made by a random generator, each with what it means.

The same seed makes the same parameters in every process, whatever its hash seed.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import enum
import functools
import ipaddress
import json
import math
import re
import types
import uuid
import zoneinfo
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath, PureWindowsPath
from random import Random
from typing import Any, NamedTuple

import attrs
import numpy as np
import pandas as pd


class Colour(enum.Enum):
    """Two members."""

    RED = 1
    GREEN = 2


class Shade(enum.Enum):
    """Shares a member's name and value with `Colour`."""

    RED = 1


class Word(enum.StrEnum):
    """Equal to its text, in Python."""

    RED = "red"


class Level(enum.IntEnum):
    """Equal to its number, in Python."""

    ONE = 1


class Permission(enum.IntFlag):
    """Flags, whose combinations may have no name."""

    READ = 1
    WRITE = 2


@dataclasses.dataclass(frozen=True)
class Adam:
    """A dataclass."""

    lr: Any
    betas: Any = (0.9, 0.999)


@dataclasses.dataclass(frozen=True)
class Sgd:
    """A dataclass with the same fields."""

    lr: Any
    betas: Any = (0.9, 0.999)


@attrs.frozen
class Layer:
    """An attrs class with a private field."""

    width: Any
    _bias: Any = True


class Pair(NamedTuple):
    """A tuple with names."""

    first: Any
    second: Any


class Estimator:
    """Follows scikit-learn's convention."""

    def __init__(self, alpha: Any = 1.0, missing: float = math.nan) -> None:
        self.alpha, self.missing = alpha, missing

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"alpha": self.alpha, "missing": self.missing}

    def set_params(self, **params: Any) -> None:
        vars(self).update(params)


class Text(str):
    """A text of a class of its own."""


class Spoken:
    """Known by its `repr` only."""

    def __repr__(self) -> str:
        return "Spoken()"


class Broken:
    """Raises whatever it is asked."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __float__(self) -> float:
        raise RuntimeError("no number")

    __hash__ = object.__hash__


def relu(x: float) -> float:
    """A function."""
    return max(x, 0.0)


def cyclic() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


# --- values with their meaning ---------------------------------------------------------------------


class _Any:
    """Stands for a form that is not predicted."""

    def __repr__(self) -> str:
        return "…"


ANY = _Any()


@attrs.frozen
class Made:
    """A value, and what is known of it.

    Attributes:
        value: The value.
        meaning: Equal for two values exactly if they are the same parameter.
        shown: The value that results have, `ANY` if it is not predicted.
        identified: Whether it can be part of a key.
        stored: Whether it can be stored at all.
        items: The entries of a dict whose keys are all text.
    """

    value: Any
    meaning: Any
    shown: Any = ANY
    identified: bool = True
    stored: bool = True
    items: Mapping[str, Made] | None = None


def number_meaning(value: Any) -> tuple[str, Any]:
    """Numbers are the same if they are equal, but for those with few bits, which stand for a decimal."""
    if isinstance(value, (np.float16, np.float32)):
        value = float(str(value))
    if hasattr(value, "item"):
        value = value.item()
    return "number", str(value) if isinstance(value, float) and math.isinf(value) else Fraction(value)


def number(value: Any) -> Made:
    meaning = number_meaning(value)
    return Made(value, meaning, float(meaning[1]) if isinstance(meaning[1], str) else meaning[1])


def text(value: str) -> Made:
    stored = value.encode("utf-8", "replace").decode() == value
    return Made(value, ("text", str.__str__(value)), str.__str__(value), stored=stored)


def exact(value: Any, kind: str, *parts: Any) -> Made:
    """A value of another kind, which results show as text."""
    return Made(value, (kind, *parts) if parts else (kind, repr(value)))


def unknown(value: Any) -> Made:
    """A value that needs key=."""
    return Made(value, ("none", type(value).__name__), identified=False)


NUMBERS: list[Any] = [
    *(0, 1, -1, 2, 3, 10, 2**53, 2**53 + 1, 2**60, 10**20, 10**400, -(10**30)),
    *(0.0, -0.0, 1.0, 2.0, 0.1, 0.5, 1e-3, 1e20, 1e300, 5e-324, -1e-300, 2.0**53, 1 / 3),
    *(math.inf, -math.inf, Decimal("0.1"), Decimal("1.0"), Decimal("1E+3"), Fraction(1, 3), Fraction(2, 2)),
    *(np.int64(1), np.uint8(3), np.float64(0.1), np.float32(0.1), np.float16(0.1), np.float32(1e20)),
    *(np.float32("inf"), np.int8(-1), np.array(1), np.array(0.5)),
]
TEXTS = [
    *(
        "",
        " ",
        "a",
        "b",
        "A",
        "1",
        "1.0",
        "True",
        "None",
        "inf",
        "nan",
        "red",
        "a ",
        " a",
        "a,b=1",
        '"a"',
        "'",
    ),
    *(
        "[1]",
        "{}",
        "a/b",
        "a\\b",
        "path(a)",
        "set([])",
        "~",
        "é",
        "e\u0301",
        "größe",
        "日本",
        "𝔘",
        "\n",
        "\t",
    ),
    *(
        "<b>",
        "&amp;",
        "\x1b[31m",
        "\x00",
        "x" * 300,
        "1" * 5000,
        "Colour.RED",
        "{'map': []}",
        "%2E",
        "$HOME",
        "=1",
    ),
]
OTHERS: list[Made] = [
    Made(None, ("none",), None),
    *(Made(one, ("bool", bool(one)), bool(one)) for one in (True, False, np.bool_(True), np.array(False))),
    *(Made(one, ("bytes", bytes(one)), bytes(one)) for one in (b"", b"a", b"\x00\xff", bytearray(b"a"))),
    *(exact(one, "path", one.as_posix()) for one in (PurePosixPath("a/b"), PureWindowsPath("a\\b"))),
    exact(PurePosixPath("a"), "path", "a"),
    *(exact(one, "Colour", one.name) for one in (Colour.RED, Colour.GREEN)),
    *(exact(one, type(one).__name__, one.name) for one in (Shade.RED, Word.RED, Level.ONE)),
    *(exact(Permission(one), "Permission", one) for one in (0, 1, 2, 3, 8, 16)),
    *(exact(one, "complex", repr(complex(one))) for one in (1j, 2j, 1 + 2j, np.complex64(1j))),
    *(exact(one, "date") for one in (datetime.date(2026, 1, 1), datetime.date(2026, 1, 2))),
    exact(datetime.datetime(2026, 1, 1), "datetime", 1),
    exact(np.datetime64("2026-01-01T00:00:00", "ns"), "datetime", 1),
    exact(np.datetime64("2026-01-01T00:00:00", "s"), "datetime", 1),
    exact(np.datetime64("2026-01-01T00:00:00.000000001", "ns"), "datetime", 2),
    exact(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), "datetime", 3),
    exact(datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("UTC")), "datetime", 4),
    exact(datetime.datetime(2026, 1, 1, fold=1), "datetime", 5),
    exact(datetime.timedelta(microseconds=3), "timedelta", 1),
    exact(np.timedelta64(3000, "ns"), "timedelta", 1),
    exact(np.timedelta64(3, "M"), "timedelta", 2),
    *(exact(one, "time") for one in (datetime.time(1), datetime.time(1, fold=1))),
    exact(np.datetime64("2026-01-01"), "date", repr(datetime.date(2026, 1, 1))),
    *(exact(one, "timestamp") for one in (pd.Timestamp("2026-01-01"), pd.Timestamp("2026-01-01", tz="UTC"))),
    *(exact(one, type(one).__name__) for one in (pd.Timedelta(3), pd.Period("2026"), pd.Interval(0, 1))),
    *(exact(one, "function", one.__qualname__) for one in (relu, len, json.dumps, dict.fromkeys, str.upper)),
    *(exact(one, "function", one.__name__) for one in (np.mean, np.exp)),
    *(exact(one, "class", one.__qualname__) for one in (Adam, Layer, int, np.float32, datetime.date)),
    *(exact(np.dtype(one), "dtype") for one in ("f4", "f8")),
    *(exact(uuid.UUID(int=one), "uuid") for one in (1, 2)),
    *(exact(ipaddress.ip_address(one), "address") for one in ("10.0.0.1", "::1")),
    *(exact(re.compile(*one), "pattern", *one) for one in (("a", 0), ("a", re.I), ("a" * 300, 0))),
    *(exact(one, "zone") for one in (zoneinfo.ZoneInfo("UTC"), zoneinfo.ZoneInfo("Europe/Berlin"))),
    *(exact(one, "builtin") for one in (..., NotImplemented, slice(1), slice(None, 1))),
    *(exact(Estimator(one), "Estimator", Fraction(one)) for one in (1, 1.0, 2)),
]
WITHOUT_IDENTITY: list[Callable[[], Any]] = [
    *(
        lambda: math.nan,
        lambda: np.float32("nan"),
        lambda: Decimal("sNaN"),
        lambda: np.datetime64("NaT", "s"),
    ),
    *(lambda: pd.NaT, lambda: pd.NA, lambda: complex("nan"), Spoken, object, Broken),
    lambda: lambda x: x,
    lambda: functools.partial(int, base=2),
    lambda: types.SimpleNamespace(tags={"a"}),
    lambda: collections.UserString("abc"),
    lambda: [].append,
    lambda: list[int],
    lambda: iter([1]),
    lambda: ValueError({"a"}),
    lambda: datetime.datetime(2026, 1, 1, tzinfo=type("Zone", (datetime.tzinfo,), {})()),
]
NEVER_STORED: list[Callable[[], Any]] = [
    *(cyclic, lambda: nested(1000), lambda: 10**5000, lambda: Decimal("1E+1000000"), lambda: "\ud800"),
    *(lambda: PurePosixPath("caf\udce9"), lambda: {1: "\ud800"}, lambda: range(10**9)),
]


def atom(dice: Random) -> Made:
    """Makes a value without parts."""
    chance = dice.random()
    if chance < 0.35:
        return number(dice.choice(NUMBERS))
    if chance < 0.45:
        value = dice.choice([dice.randrange(-5, 6), dice.randrange(10**18), dice.uniform(-1, 1)])
        return number(value)
    if chance < 0.7:
        word = dice.choice(TEXTS)
        return text(dice.choice([word, word, Text(word), np.str_(word), word + dice.choice(TEXTS)]))
    return dice.choice(OTHERS)


def hashable(dice: Random, depth: int = 1) -> Made:
    """Makes a member of a set, or the key of a dict."""
    if depth and dice.random() < 0.2:
        members = [hashable(dice, depth - 1) for _ in range(dice.randrange(3))]
        shown = _in_set(members, tuple)
        return Made(tuple(one.value for one in members), ("list", _meanings(members)), shown)
    while True:
        made = atom(dice)
        try:
            hash(made.value)
        except TypeError:
            continue
        return made


def value(dice: Random, depth: int = 2) -> Made:
    """Makes any value that can be part of a key."""
    if depth == 0 or dice.random() < 0.55:
        return atom(dice)
    return dice.choice(COMPOSED)(dice, depth - 1)


def parameter(dice: Random) -> Made:
    """Makes any value, rarely one that is refused."""
    chance = dice.random()
    if chance < 0.03:
        return unknown(dice.choice(WITHOUT_IDENTITY)())
    if chance < 0.05:
        return attrs.evolve(unknown(dice.choice(NEVER_STORED)()), stored=False)
    return value(dice)


def _meanings(parts: Iterable[Made]) -> tuple[Any, ...]:
    return tuple(part.meaning for part in parts)


def _in_set(parts: Iterable[Made], kind: Callable[[Any], Any]) -> Any:
    """What results show of the members of a set, or of a key; not predicted if one is not."""
    shown = [tuple(part.shown) if isinstance(part.shown, list) else part.shown for part in parts]
    return ANY if any(part is ANY for part in shown) else kind(shown)


def _some(dice: Random, depth: int) -> list[Made]:
    return [value(dice, depth) for _ in range(dice.randrange(4))]


def listed(dice: Random, depth: int) -> Made:
    parts = _some(dice, depth)
    kind = dice.choice([list, tuple, collections.deque])
    return Made(kind(one.value for one in parts), ("list", _meanings(parts)), [one.shown for one in parts])


def paired(dice: Random, depth: int) -> Made:
    parts = [value(dice, depth), value(dice, depth)]
    return Made(Pair(*(one.value for one in parts)), ("list", _meanings(parts)), [one.shown for one in parts])


def counted(dice: Random, depth: int) -> Made:
    given = dice.choice([range(dice.randrange(4)), range(1, 7, 2)])
    return Made(given, ("list", _meanings(map(number, given))), list(given))


def array(dice: Random, depth: int) -> Made:
    size = dice.randrange(4)
    kind = dice.choice(["i4", "f8", "f4", "f2", "?", "U3", "M8[D]", "O"])
    if kind == "?":
        given: Any = np.array([dice.random() < 0.5 for _ in range(size)], dtype=bool)
        parts = [Made(bool(one), ("bool", bool(one)), bool(one)) for one in given]
    elif kind == "U3":
        given = np.array([dice.choice(["a", "b", "é"]) for _ in range(size)], dtype=kind)
        parts = [text(str(one)) for one in given]
    elif kind == "M8[D]":
        days = [datetime.date(2026, 1, dice.randrange(1, 4)) for _ in range(size)]
        given, parts = np.array(days, dtype=kind), [exact(day, "date") for day in days]
    elif kind == "O":
        parts = [atom(dice) for _ in range(size)]
        given = np.empty(size, dtype=object)
        for place, part in enumerate(parts):
            given[place] = part.value
    else:
        given = np.array([dice.choice([0, 1, 2, 0.1, 0.5]) for _ in range(size)]).astype(kind)
        parts = [number(one) for one in given]
    shown = [part.shown for part in parts]
    if kind != "O" and size and dice.random() < 0.3:  # of two dimensions
        return Made(given.reshape(1, -1), ("list", (("list", _meanings(parts)),)), [shown])
    return Made(given, ("list", _meanings(parts)), shown)


def _holds(members: dict[Any, Any], made: Made) -> bool:
    """Whether a dict has a key, or cannot have it beside the others."""
    try:
        return made.value in members
    except TypeError:  # Decimal(1) == np.int64(1)
        return True


def bag(dice: Random, depth: int) -> Made:
    members: dict[Any, Made] = {}
    for _ in range(dice.randrange(4)):
        made = hashable(dice)
        if not _holds(members, made):
            members[made.value] = made
    kind = dice.choice([set, frozenset])
    meaning = ("set", frozenset(_meanings(members.values())))
    return Made(kind(members), meaning, _in_set(members.values(), set))


def mapping(dice: Random, depth: int) -> Made:
    """A dict that is one value, since its keys are not all text."""
    entries: dict[Any, tuple[Made, Made]] = {}
    for _ in range(dice.randrange(4)):
        made = hashable(dice)
        if not _holds(entries, made) and all(made.meaning != key.meaning for key, _ in entries.values()):
            entries[made.value] = made, value(dice, depth)
    if entries and all(isinstance(key, str) for key in entries):
        zero = number(0)
        entries[0] = (zero, value(dice, depth))
    meaning = ("dict", frozenset((key.meaning, item.meaning) for key, item in entries.values()))
    keys = _in_set([key for key, _ in entries.values()], list)
    shown = ANY if keys is ANY else dict(zip(keys, (item.shown for _, item in entries.values()), strict=True))
    given = {key: item.value for key, (_, item) in entries.items()}
    kind = dice.choice([dict, types.MappingProxyType, collections.OrderedDict])
    return Made(kind(given), meaning, shown)


def record(dice: Random, depth: int) -> Made:
    """A dict within a value, whose keys are text."""
    items = {name: value(dice, depth) for name in dice.sample(["a", "b", "units"], dice.randrange(1, 3))}
    meaning = ("dict", frozenset((("text", name), item.meaning) for name, item in items.items()))
    shown = {name: item.shown for name, item in items.items()}
    inner = Made({name: item.value for name, item in items.items()}, meaning, shown, items=items)
    return Made([inner.value], ("list", (meaning,)), [shown])


def objected(dice: Random, depth: int) -> Made:
    cls = dice.choice([Adam, Sgd, Layer])
    first, second = value(dice, depth), value(dice, depth)
    return Made(cls(first.value, second.value), (cls.__name__, first.meaning, second.meaning))


def table(dice: Random, depth: int) -> Made:
    """Something of pandas'."""
    values = [dice.choice([1, 2, 0.1, 1.0000001, 1.0000002]) for _ in range(dice.randrange(1, 4))]
    index = list(range(len(values))) if dice.random() < 0.5 else [3 + place for place in range(len(values))]
    name = dice.choice([None, "a", 1])
    exactly = tuple(map(Fraction, values)), tuple(index), name
    if dice.random() < 0.4:
        return Made(pd.Series(values, index=index, name=name), ("series", exactly))
    if dice.random() < 0.5:
        return Made(pd.DataFrame({name: values}, index=index), ("frame", exactly))
    return Made(pd.Index(values, name=name), ("index", exactly[0], name))


COMPOSED = [listed, listed, paired, counted, array, array, bag, mapping, record, objected, table]

NAMES = [
    "x",
    "x",
    "x",
    "C",
    "seed",
    "net/width",
    "a b",
    "größe",
    "a=1,b",
    "a.b",
    "TaskGroup",
    "name",
    "params",
]


def parameters(dice: Random, refused: bool = True) -> dict[str, Made]:
    """Makes the parameters of one task; a value may be a dict of further ones.

    Args:
        dice: The random generator.
        refused: Whether they may have values that are refused.
    """
    make = parameter if refused else value
    found: dict[str, Made] = {}
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        name = dice.choice(NAMES)
        if dice.random() < 0.1:
            items = {inner: make(dice) for inner in dice.sample(["width", "depth", "a/b"], 2)}
            found[name] = inner_parameters(items)
        else:
            found[name] = make(dice)
    return found


def inner_parameters(items: dict[str, Made]) -> Made:
    """Makes a nested dict of parameters."""
    return Made({name: item.value for name, item in items.items()}, None, items=items)


def values_of(params: Mapping[Any, Made]) -> dict[Any, Any]:
    """Returns the parameters as they are passed."""
    return {name: made.value for name, made in params.items()}
