"""Metrics and the vocabulary of a group; a metric with its context is a metric key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

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
"""A context in canonical form: sorted pairs, without fields that have their default.

A bool stands in a tuple of its own, since Python takes 1 and True for equal.
"""
MetricKey = tuple[str, Context]
"""What a value is of: the metric's own name and the context."""


def context_of(template: NameTemplate, context: Mapping[str, Any]) -> Context:
    """Brings a context into the form by which contexts are compared."""
    return tuple(
        sorted(
            (field, _told_apart(canonical_context_value(field, value)))
            for field, value in context.items()
            if template.defaults.get(field) != field_text(field, value)
        )
    )


def _told_apart(value: Any) -> Any:
    return (value,) if isinstance(value, bool) else value


def measure_text(metric_key: MetricKey) -> str:
    """Writes a metric and its context for people, `accuracy[split=val]`."""
    metric, context = metric_key
    inside = ",".join(f"{field}={plain_text(value)}" for field, value in context)
    return f"{metric}[{inside}]" if inside else metric


def plain_text(value: Any) -> str:
    """Writes a context's value, without its type."""
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
        aliases: Other spellings that `report` may be given: names, or a dict of names to the
            context that each carries, `{"val_loss": {"split": "val"}}`.
        mode: Which is better, `"max"` or `"min"`; `results().best` then needs no mode.
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
    """Writes a dict of metric → mode as the list that it should have been."""
    return ", ".join(
        f'Metric("{name}", mode="{mode}")' if mode in ("max", "min") else f'Metric("{name}", …)'
        for name, mode in metrics.items()
    )


@attrs.frozen
class Vocabulary:
    """The metrics that a group may report, by every spelling that stands for them."""

    metrics: Mapping[str, Metric]
    _spellings: Mapping[str, tuple[str, Mapping[str, Any]]]

    @classmethod
    def of(cls, metrics: Iterable[str | Metric], template: NameTemplate) -> Vocabulary:
        """Builds the vocabulary and checks it once, as the group is made.

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
        """Writes the vocabulary as JSON's own types, for a run's record and its parent."""
        return [
            [entry.name, {"aliases": entry.aliases, "mode": entry.mode, "unit": entry.unit}]
            for entry in self.metrics.values()
        ]

    @classmethod
    def restored(cls, stored: Any, template: NameTemplate) -> Vocabulary | None:
        """Reads what `stored` wrote; None for anything else, as a person may have edited it."""
        try:
            return cls.of([Metric(name, **facts) for name, facts in stored], template)
        except (TypeError, ValueError):
            return None

    @property
    def has_aliases(self) -> bool:
        """Whether anything has more than one spelling."""
        return len(self._spellings) > len(self.metrics)

    def __contains__(self, metric: object) -> bool:
        return metric in self._spellings

    def resolve(self, metric: str, context: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Gives the metric's own name, and the context with what the alias carries.

        Raises:
            UnknownMetricError: No metric is spelt like this.
            ReportError: The context contradicts what the alias carries.
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
