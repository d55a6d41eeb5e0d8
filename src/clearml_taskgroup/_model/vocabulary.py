"""The vocabulary of a group: which metrics it reports, under which names and aliases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from .._text import shown, spelt_like
from ..errors import ReportError, UnknownMetricError, VocabularyError
from .arguments import is_one_of, iterator_of
from .metrics import Metric, is_same_context_value
from .name_template import NameTemplate, canonical_context_value, check_context


def _as_list(metrics: Mapping[Any, Any]) -> str:
    """Writes a dict from metric to mode as the list that `metrics=` expects."""
    return ", ".join(
        f'Metric("{name}", mode="{mode}")'
        if mode is not None and is_one_of(mode, ("max", "min"))
        else f'Metric("{name}", …)'
        for name, mode in metrics.items()
        if isinstance(name, str)
    )


def _stored_aliases(metric: Metric) -> dict[str, dict[str, Any]]:
    return {
        alias: {field: canonical_context_value(field, value) for field, value in context.items()}
        for alias, context in metric.aliases.items()
    }


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
            ContextValueError: An alias carries a context value of another type.
        """
        text = shown(metrics)
        if isinstance(metrics, str):
            raise VocabularyError(f"metrics={text} is a bare string; write metrics=[{text}]")
        if isinstance(metrics, Mapping):
            raise VocabularyError(f"metrics={text} is a dict; write metrics=[{_as_list(metrics)}]")
        given = iterator_of(metrics)
        if given is None:
            raise VocabularyError(f"metrics={text} is not a list; write metrics=[…]")
        entries = [entry if isinstance(entry, Metric) else Metric(entry) for entry in given]
        spellings: dict[str, tuple[str, Mapping[str, Any]]] = {}
        for entry in entries:
            for spelling, context in ((entry.name, {}), *entry.aliases.items()):
                if spelling in spellings:
                    raise VocabularyError(
                        f"{spelling!r} stands for both {spellings[spelling][0]!r} and {entry.name!r}; "
                        "each name and alias may be given once"
                    )
                check_context(template, context)
                for field, value in context.items():
                    canonical_context_value(field, value)
                spellings[spelling] = (entry.name, context)
        return cls({entry.name: entry for entry in entries}, spellings)

    def stored(self) -> list[Any]:
        """Returns the vocabulary as JSON types, for the run log and the parent task."""
        return [
            [entry.name, {"aliases": _stored_aliases(entry), "mode": entry.mode, "unit": entry.unit}]
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
            ReportError: The context contradicts the one that the alias implies.
        """
        try:
            name, carried = self._spellings[metric]
        except KeyError:
            close = spelt_like(metric, self._spellings, cutoff=0.5)
            raise UnknownMetricError(metric, list(self.metrics), close) from None
        for field, value in carried.items():
            if field in context and not is_same_context_value(field, context[field], value):
                raise ReportError(
                    f"{metric!r} stands for {field}={shown(value)}, but {field}={shown(context[field])} was "
                    f"given; leave {field}= out or use the metric's own name"
                )
        return name, {**carried, **context}
