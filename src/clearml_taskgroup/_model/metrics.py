"""Metrics, metric keys (a metric with its context) and the vocabulary of a group."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, cast

import attrs

from ..errors import (
    ReportError,
    UnknownMetricError,
    VocabularyError,
)
from .identity import number_text
from .name_template import (
    NameTemplate,
    canonical_context_value,
    check_context,
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


def plain_text(value: Any) -> str:
    """Returns a context's value as text, without its type."""
    if isinstance(value, (int, float)):
        return number_text(value)
    return str(value[0] if isinstance(value, tuple) else value)


def _aliases(given: Any) -> dict[str, dict[str, Any]]:
    if isinstance(given, str):
        raise VocabularyError(f"aliases={given!r} is a bare string; write aliases=[{given!r}]")
    try:
        if isinstance(given, Mapping):
            return {alias: dict(context or {}) for alias, context in given.items()}
        return {alias: {} for alias in cast("Iterable[str]", given)}
    except (TypeError, ValueError):
        raise VocabularyError(
            f"aliases={given!r}: write a list of names, or a dict of name to context, "
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
        VocabularyError: The name is blank, or the mode is neither `"max"` nor `"min"`.
    """

    name: str
    aliases: Mapping[str, Mapping[str, Any]] = attrs.field(default=(), converter=_aliases, kw_only=True)
    mode: Literal["max", "min"] | None = attrs.field(default=None, kw_only=True)
    unit: str | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        for name in (self.name, *self.aliases):
            if not isinstance(name, str) or not name.strip():
                raise VocabularyError(f"{name!r} was given as a metric's name; it must be text, not blank")
        if self.mode not in (None, "max", "min"):
            raise VocabularyError(f"Metric({self.name!r}, mode={self.mode!r}): write mode='max' or 'min'")


def _as_list(metrics: Mapping[Any, Any]) -> str:
    """Writes a dict from metric to mode as the list that `metrics=` expects."""
    return ", ".join(
        f'Metric("{name}", mode="{mode}")' if mode in ("max", "min") else f'Metric("{name}", …)'
        for name, mode in metrics.items()
    )


@attrs.frozen
class Vocabulary:
    """The metrics that a group may report, by all their names and aliases."""

    metrics: Mapping[str, Metric]
    _spellings: Mapping[str, tuple[str, Mapping[str, Any]]]

    @classmethod
    def of(cls, metrics: Iterable[str | Metric], template: NameTemplate) -> Vocabulary:
        """Builds and checks the vocabulary.

        Raises:
            VocabularyError: A name or alias stands for two metrics.
            UnknownFieldError: An alias carries context that the template has no field for.
        """
        if isinstance(metrics, str):
            raise VocabularyError(f"metrics={metrics!r} is a bare string; write metrics=[{metrics!r}]")
        if isinstance(metrics, Mapping):
            raise VocabularyError(f"metrics={metrics!r} is a dict; write metrics=[{_as_list(metrics)}]")
        if not isinstance(metrics, Iterable):
            raise VocabularyError(f"metrics={metrics!r} is not a list; write metrics=[…]")
        entries = [entry if isinstance(entry, Metric) else Metric(entry) for entry in metrics]
        spellings: dict[str, tuple[str, Mapping[str, Any]]] = {}
        for entry in entries:
            for spelling, context in ((entry.name, {}), *entry.aliases.items()):
                if spelling in spellings:
                    raise VocabularyError(
                        f"{spelling!r} stands for both {spellings[spelling][0]!r} and {entry.name!r}; "
                        "each name and alias may be given once"
                    )
                check_context(template, context)
                spellings[spelling] = (entry.name, context)
        return cls({entry.name: entry for entry in entries}, spellings)

    def stored(self) -> list[Any]:
        """Returns the vocabulary as JSON types, for the run log and the parent task."""
        return [
            [entry.name, {"aliases": entry.aliases, "mode": entry.mode, "unit": entry.unit}]
            for entry in self.metrics.values()
        ]

    @classmethod
    def restored(cls, stored: Any, template: NameTemplate) -> Vocabulary | None:
        """Reads what `stored` returned; None if it was edited into something else."""
        try:
            return cls.of([Metric(name, **fields) for name, fields in stored], template)
        except (TypeError, ValueError):
            return None

    @property
    def has_aliases(self) -> bool:
        """Whether any metric has an alias."""
        return len(self._spellings) > len(self.metrics)

    def __contains__(self, metric: object) -> bool:
        return metric in self._spellings

    def resolve(self, metric: str, context: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Returns the metric's own name, and the context with what the alias implies.

        Raises:
            UnknownMetricError: The vocabulary has no such metric or alias.
            AliasContextError: The context contradicts the one that the alias implies.
        """
        try:
            name, carried = self._spellings[metric]
        except KeyError:
            close = difflib.get_close_matches(metric, self._spellings, n=1, cutoff=0.5)
            raise UnknownMetricError(metric, list(self.metrics), close[0] if close else None) from None
        for field, value in carried.items():
            if field in context and context[field] != value:
                raise ReportError(
                    f"{metric!r} stands for {field}={value!r}, but {field}={context[field]!r} was given; "
                    f"leave {field}= out or use the metric's own name"
                )
        return name, {**carried, **context}
