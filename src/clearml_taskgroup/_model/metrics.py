"""Metrics, and metric keys: a metric with its context."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, cast

import attrs

from .._text import is_storable, shown
from ..errors import VocabularyError
from .arguments import is_one_of
from .display_name import number_text
from .name_template import (
    Name,
    NameTemplate,
    canonical_context_value,
    field_text,
)

Context = tuple[tuple[str, Any], ...]
"""A context in canonical form: sorted (field, value) pairs, without fields that have their default value.

A bool is wrapped in a tuple of its own, since `1 == True` in Python.
"""


class MetricKey(NamedTuple):
    """A metric and its context; equal to the plain tuple `(metric, context)`."""

    metric: str
    context: Context

    def __str__(self) -> str:
        inside = ",".join(f"{field}={plain_text(value)}" for field, value in self.context)
        return f"{self.metric}[{inside}]" if inside else self.metric


_V = TypeVar("_V")


class ByMetric(dict[MetricKey, _V]):
    """A dict by metric key that a plain tuple may index as well: `row.stats["loss", ()]`."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __getitem__(self, key: tuple[str, Context], /) -> _V: ...


def canonical_context(template: NameTemplate, context: Mapping[str, Any]) -> Context:
    """Returns a context in the form in which contexts are compared."""
    return tuple(
        sorted(
            (field, _distinct(canonical_context_value(field, value)))
            for field, value in context.items()
            if template.defaults.get(field) != field_text(field, value)
        )
    )


def _distinct(value: Any) -> Any:
    return (value,) if isinstance(value, bool) else value


def metric_key_of(
    template: NameTemplate, name: Name, single: bool, fields: Mapping[str, str]
) -> MetricKey | None:
    """Reads a name back as the metric key that a report of it has; None if the template never renders it.

    Args:
        template: The group's template.
        name: The title and the series.
        single: Whether it is the name of a value without an iteration.
        fields: The template's fields that the task fills in itself.
    """
    used = tuple((field, fields[field]) for field in template.fields if field in fields)
    return _metric_key(template, name, single, used)


@lru_cache(maxsize=65_536)  # the tasks of a group mostly share their names
def _metric_key(
    template: NameTemplate, name: Name, single: bool, fields: tuple[tuple[str, str], ...]
) -> MetricKey | None:
    own = dict(fields)
    found = template.parse_single(name.series, own) if single else template.parse(*name, own)
    return None if found is None else MetricKey(found[0], canonical_context(template, found[1]))


def is_same_context_value(field: str, one: Any, other: Any) -> bool:
    """Whether two values of a field are the same context."""
    left, right = (_distinct(canonical_context_value(field, value)) for value in (one, other))
    return bool(left == right)


def plain_text(value: Any) -> str:
    """Returns a context's value as text, without its type."""
    if isinstance(value, (int, float)):
        return number_text(value)
    return str(value[0] if isinstance(value, tuple) else value)


def _aliases(given: Any) -> dict[str, dict[str, Any]]:
    if isinstance(given, str):
        raise VocabularyError(f"aliases={shown(given)} is a bare string; write aliases=[{shown(given)}]")
    try:
        if isinstance(given, Mapping):
            return {alias: {} if context is None else dict(context) for alias, context in given.items()}
        return {alias: {} for alias in cast("Iterable[str]", given)}
    except (TypeError, ValueError):
        raise VocabularyError(
            f"aliases={shown(given)}: write a list of names, or a dict of name to context, "
            "{'val_loss': {'split': 'val'}}"
        ) from None


@attrs.frozen
class Metric:
    """One entry of a group's vocabulary.

    Args:
        name: The name under which the metric is logged.
        aliases: Other names that `report` accepts: a list, or a dict from name to the context that
            it implies, `{"val_loss": {"split": "val"}}`.
        mode: Which values are better, `"max"` or `"min"`; `results().best` then needs no mode.
        unit: The unit, as text, for tables and figures.

    Raises:
        VocabularyError: The name is blank or its own alias, the mode is neither `"max"` nor `"min"`, or
            the unit is not text.
    """

    name: str
    aliases: Mapping[str, Mapping[str, Any]] = attrs.field(default=(), converter=_aliases, kw_only=True)
    mode: Literal["max", "min"] | None = attrs.field(default=None, kw_only=True)
    unit: str | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        for name in (self.name, *self.aliases):
            if not isinstance(name, str) or not name.strip() or not is_storable(name):
                text = shown(name)
                raise VocabularyError(f"{text} was given as a metric's name; it must be text, not blank")
        given = f"Metric({shown(self.name)}"
        if self.name in self.aliases:
            raise VocabularyError(
                f"{given}, aliases=…): {shown(self.name)} is the metric's own name and no alias of it; leave "
                "it out, and give context where it is reported: report({…}, split='val')"
            )
        if not is_one_of(self.mode, (None, "max", "min")):
            raise VocabularyError(f"{given}, mode={shown(self.mode)}): write mode='max' or 'min'")
        if self.unit is not None and not (isinstance(self.unit, str) and is_storable(self.unit)):
            raise VocabularyError(f"{given}, unit={shown(self.unit)}): write the unit as text, unit='s'")
