"""A small model of names, identity and curves, written from the documentation alone."""

from __future__ import annotations

import contextlib
import enum
import math
import unicodedata
from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import attrs
import numpy as np

from tests.support.generated import Made, number_meaning

OWN_FIELDS = {"group", "task", "key", "index", "task_id"}
ARGUMENTS = {"self", "values", "iteration", "levels", "mode", "of"}
LARGEST = 3.4e38
FIRST_ITERATION, LAST_ITERATION = -(2**31) + 1, 2**63 - 1


class Refused(Exception):
    """What the model expects to be an error of the package."""


def require(condition: object) -> None:
    if not condition:
        raise Refused


def is_unicode(text: str) -> bool:
    return text.encode("utf-8", "replace").decode() == text


# --- templates -------------------------------------------------------------------------------------


@attrs.frozen
class Field:
    """`{name}` or `{name=default}`."""

    name: str
    default: str | None = None


Parts = list[str | Field]


def halves(text: Any) -> list[Parts]:
    """Reads a template: title and series, or only the series."""
    require(isinstance(text, str) and is_unicode(text))
    found: list[Parts] = [[]]
    at = 0
    while at < len(text):
        if text[at : at + 2] in ("{{", "}}"):
            found[-1].append(text[at])
            at += 2
        elif text[at] == "{":
            end = text.find("}", at)
            inside = text[at + 1 : end]
            require(end > 0 and "{" not in inside)
            name, equals, default = inside.partition("=")
            require(name.isidentifier() and name not in ARGUMENTS)
            require(not equals or (name not in OWN_FIELDS | {"metric"} and default.strip()))
            found[-1].append(Field(name, default if equals else None))
            at = end + 1
        else:
            require(text[at] != "}")
            if text[at] == "/" and len(found) == 1:
                found.append([])
            else:
                found[-1].append(text[at])
            at += 1
    require(all(any(not isinstance(part, str) or part.strip() for part in half) for half in found))
    return found


@attrs.frozen
class Template:
    """A template for the names of values."""

    title: Parts
    series: Parts
    is_split: bool
    defaults: Mapping[str, str]
    fields: frozenset[str]

    @classmethod
    def of(cls, text: Any) -> Template:
        found = halves(text)
        fields = [part for half in found for part in half if isinstance(part, Field)]
        defaults: dict[str, str] = {}
        for field in fields:
            if field.default is not None:
                require(defaults.setdefault(field.name, field.default) == field.default)
        names = frozenset(field.name for field in fields)
        require("metric" in names)
        title: Parts = found[0] if len(found) == 2 else [Field("metric")]
        return cls(title, found[-1], len(found) == 2, defaults, names)

    def filled(self, parts: Parts, texts: Mapping[str, str]) -> str:
        """Fills in one half."""
        require(all(isinstance(part, str) or part.name in {*texts, *self.defaults} for part in parts))
        return "".join(
            part if isinstance(part, str) else texts.get(part.name, self.defaults.get(part.name, ""))
            for part in parts
        )


def task_name(text: Any) -> Parts:
    """Reads the template of the ClearML tasks' names."""
    found = halves(text)
    for half in found:
        for part in half:
            known = OWN_FIELDS - {"task_id"}
            require(isinstance(part, str) or (part.name in known and part.default is None))
    return found[0] if len(found) == 1 else [*found[0], "/", *found[1]]


def context_meaning(value: Any) -> tuple[str, Any]:
    """What a context value means: equal for values that are the same context."""
    if isinstance(value, (np.ndarray, np.generic)):
        require(value.shape == () and value.dtype.kind in "biufU")
        value = value if value.dtype.kind == "f" else value.item()
    if value is None or isinstance(value, bool):
        return "literal", value
    if isinstance(value, str):
        require(is_unicode(value))
        return "text", str.__str__(value)
    if isinstance(value, enum.Enum):
        return "enum", repr(value)  # members of two enums of numbers may be equal
    require(isinstance(value, (int, float, Decimal, Fraction, np.floating)))
    require(math.isfinite(value) if isinstance(value, (float, np.floating)) else abs(value) < 10**4000)
    meaning = number_meaning(value)[1]
    require(meaning.denominator == 1 or Fraction(float(meaning)) == meaning)
    return "number", meaning


def context_text(value: Any) -> str:
    """How a context value is written in a name."""
    kind, meaning = context_meaning(value)
    if isinstance(value, enum.Enum):
        return str(value.value if value.name is None or isinstance(value.value, str) else value.name)
    if kind != "number":
        return str(meaning)
    is_long = meaning.denominator == 1 and abs(meaning) >= 10**16
    with contextlib.suppress(OverflowError):
        if meaning.denominator != 1 or (is_long and Fraction(float(meaning)) == meaning):
            return repr(float(meaning))
    return str(int(meaning))


# --- values ----------------------------------------------------------------------------------------


@attrs.define
class Curve:
    """What was reported of one metric in one context of one task."""

    points: dict[int, float] = attrs.field(factory=dict)
    single: float | None = None
    skipped_at: int | None = None
    skipped_single: bool = False
    is_increasing: bool = True

    def add(self, iteration: int | None, value: float) -> None:
        is_stored = abs(value) <= LARGEST
        if iteration is None:
            self.skipped_single = not is_stored
            self.single = value if is_stored else self.single
        elif is_stored:
            self.is_increasing = self.is_increasing and iteration > max(self.points, default=-math.inf)
            self.points[iteration] = value
        elif self.skipped_at is None or iteration > self.skipped_at:
            self.skipped_at = iteration

    @property
    def has_values(self) -> bool:
        return bool(self.points) or self.single is not None

    @property
    def has_diverged(self) -> bool:
        if self.single is not None or self.skipped_single:
            return self.skipped_single
        return self.skipped_at is not None and self.skipped_at > max(self.points, default=-math.inf)

    def stats(self) -> dict[str, float]:
        """The statistics of the stored curve."""
        values = list(self.points.values()) or [self.single or 0.0]
        first = self.points[min(self.points)] if self.points else values[0]
        last = self.points[max(self.points)] if self.points else values[0]
        if self.single is not None:
            last = self.single
        return {
            "first": first,
            "last": math.nan if self.has_diverged else last,
            "min": min(values),
            "max": max(values),
            "mean": math.fsum(values) / len(values),
            "count": len(values),
        }


Key = tuple[str, frozenset[tuple[str, Any]]]
"""A metric and what its context means, without fields at their defaults."""


@attrs.define
class TaskModel:
    """What is known of one task.

    Attributes:
        own: The texts of the template's fields that the task fills in itself.
        vocabulary: For each name and alias, the metric and the context that it implies; None without.
        params: The parameters, flattened.
        identity: Those of them that the task was opened with.
    """

    template: Template
    vocabulary: Mapping[str, tuple[str, Mapping[str, Any]]] | None
    own: Mapping[str, str]
    params: dict[str, Made]
    index: int
    raises: bool = False
    identity: frozenset[str] = frozenset()
    status: str = "in_progress"
    curves: dict[Key, Curve] = attrs.field(factory=dict)
    contexts: dict[Key, Mapping[str, Any]] = attrs.field(factory=dict)
    names: dict[tuple[str, str], Key] = attrs.field(factory=dict)
    joined: dict[str, Key] = attrs.field(factory=dict)
    scalars: dict[tuple[str, str], list[tuple[int, float]]] = attrs.field(factory=dict)
    singles: dict[str, float] = attrs.field(factory=dict)

    def name(self, metric: Any, context: Mapping[str, Any]) -> tuple[str, str]:
        """Title and series of a metric."""
        require(isinstance(metric, str) and metric.strip() and is_unicode(metric))
        if self.vocabulary is not None and metric in self.vocabulary:
            metric, implied = self.vocabulary[metric]
            for field in implied.keys() & context.keys():
                require(context_meaning(context[field]) == context_meaning(implied[field]))
            context = {**implied, **context}
        require(context.keys() <= self.template.fields - OWN_FIELDS - {"metric"})
        texts = {field: context_text(value) for field, value in context.items()}
        texts |= {"metric": str.__str__(metric), **self.own}
        found = (
            self.template.filled(self.template.title, texts),
            self.template.filled(self.template.series, texts),
        )
        require(all(part.strip() for part in found))
        return found

    def key(self, metric: str, context: Mapping[str, Any]) -> Key:
        """What a metric and its context mean."""
        if self.vocabulary is not None:
            metric, implied = self.vocabulary[metric]
            context = {**implied, **context}
        defaults = self.template.defaults
        meanings = frozenset(
            (field, context_meaning(value))
            for field, value in context.items()
            if defaults.get(field) != context_text(value)
        )
        key = str.__str__(metric), meanings
        self.contexts[key] = {**defaults, **context}
        return key

    def report(self, values: Iterable[tuple[Any, Mapping[str, Any], Any]], iteration: Any) -> None:
        """Reports metric, context and value of each, or refuses all; names that came first stay taken."""
        require(self.status == "in_progress")
        at = None if iteration is None else whole(iteration)
        new: list[tuple[Key, tuple[str, str], float]] = []
        for metric, context, given in values:
            x = real(given)
            title, series = self.name(metric, context)
            require(self.vocabulary is None or metric in self.vocabulary)
            key = self.key(metric, context)
            require(abs(x) <= LARGEST or not self.raises)
            name = (title, series)
            if at is None:
                name = ("Summary", f"{title}/{series}" if self.template.is_split else series)
            if abs(x) <= LARGEST:
                require(self.names.get(name, key) == key)
                require(self.joined.get("-".join(name), key) == key)
                self.names[name] = self.joined["-".join(name)] = key
            new.append((key, name, x))
        require(len({key for key, *_ in new}) == len(new))
        for key, name, x in new:
            self.curves.setdefault(key, Curve()).add(at, x)
            if abs(x) <= LARGEST:
                if at is None:
                    self.singles[name[1]] = x
                else:
                    self.scalars.setdefault(name, []).append((at, x))


def real(value: Any) -> float:
    """A number to report."""
    if isinstance(value, (np.ndarray, np.generic)):
        require(value.size == 1 and value.dtype.kind in "biuf")
        value = value.item()
        value = float(value) if isinstance(value, np.floating) else value
    require(isinstance(value, (bool, int, float, Decimal, Fraction)))
    require(not isinstance(value, Decimal) or not value.is_snan())
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def whole(value: Any) -> int:
    """An iteration."""
    if isinstance(value, (np.ndarray, np.generic)):
        require(value.size == 1 and value.dtype.kind in "iuf")
        value = value.item()
    require(isinstance(value, (int, float, Decimal, Fraction)) and not isinstance(value, bool))
    require(not isinstance(value, Decimal) or not value.is_nan())
    require(FIRST_ITERATION <= value <= LAST_ITERATION and value == int(value))
    return int(value)


# --- identity --------------------------------------------------------------------------------------


def project(text: Any) -> str:
    """A project's path as it is stored."""
    require(isinstance(text, str) and is_unicode(text))
    parts = [unicodedata.normalize("NFC", part).strip() for part in text.split("/")]
    require(all(len(part) >= 3 for part in parts))
    return "/".join(parts)


def server_name(text: Any) -> str:
    """The name of a group or a task as it is stored."""
    require(isinstance(text, str) and is_unicode(text))
    name = unicodedata.normalize("NFC", text).strip()
    require(len(name) >= 3)
    return name


def flat(params: Mapping[Any, Made], before: str = "") -> dict[str, Made]:
    """Flattens nested parameters."""
    found: dict[str, Made] = {}
    for name, made in params.items():
        require(isinstance(name, str) and name.strip() and is_unicode(name))
        inner = flat(made.items, f"{before}{name}/") if made.items else {f"{before}{name}": made}
        require(not inner.keys() & found.keys())
        found |= inner
    return found


def identity(params: Mapping[str, Made], name: Any, key: Any) -> Any:
    """What makes a task the same as another one, from flat parameters."""
    for given in (name, key):
        require(given is None or (isinstance(given, str) and given.strip() and is_unicode(given)))
    require(all(made.stored for made in params.values()))
    if key is not None:
        return "key", key
    if not params:
        require(name is not None)
        return "key", name
    require(all(made.identified for made in params.values()))
    return "params", frozenset((name, made.meaning) for name, made in params.items())
