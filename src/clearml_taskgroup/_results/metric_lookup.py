"""What values are of, found again: (metric, context) as a user asks for it; tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .._drift.parse_name import read
from .._model.identity import typed
from .._model.metric_words import mode_of
from .._model.metrics import Context, MetricKey, Vocabulary, canonical_context, plain_text
from .._text import closest, natural
from ..errors import AmbiguousResultError, ArgumentError, NoSuchResultError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .._model.name_template import NameTemplate
    from .rows import Mode


@attrs.frozen
class MetricLookup:
    """What is needed to understand a metric and a context as `report` does."""

    template: NameTemplate
    vocabulary: Vocabulary | None

    def find(
        self, metric: str, context: Mapping[str, Any], known: Iterable[MetricKey], task: str = ""
    ) -> MetricKey:
        """Finds the one (metric, context) that is meant; fields that are left out match any.

        Args:
            metric: The metric, by its name or an alias, or with its context as tables and files have
                it, `accuracy[split=val]`.
            context: Which of its contexts.
            known: What there are values for.
            task: The one task that is asked, for an error.

        Raises:
            NoSuchResultError: Nothing matches.
            AmbiguousResultError: More than one matches.
        """
        listed = list(dict.fromkeys(known))
        metric, spelt = self._taken_apart(metric, listed)
        if self.vocabulary is not None:
            metric, context = self.vocabulary.resolve(metric, context)
        wanted = canonical_context(self.template, context)
        at_default = {field for field in context if field not in dict(wanted)}
        found = [
            metric_key
            for metric_key in listed
            if metric_key[0] == metric
            and _matches(metric_key[1], wanted, at_default)
            and self._is_spelt(metric_key, spelt)
        ]
        asked = str(MetricKey(metric, (*wanted, *spelt.items())))
        if not found:
            meant = self._meant(metric, {**dict(wanted), **spelt}, listed)
            raise NoSuchResultError(asked, [str(metric_key) for metric_key in listed], meant, task)
        if len(found) > 1:
            full = [self._in_full(metric_key) for metric_key in found]
            raise AmbiguousResultError(asked, list(map(str, full)), _telling([c for _, c in full]))
        return found[0]

    def _taken_apart(self, metric: str, known: Sequence[MetricKey]) -> tuple[str, dict[str, str]]:
        """Splits `accuracy[split=val]` into the metric and the context's values as text."""
        if not isinstance(metric, str):
            raise ArgumentError("metric", metric, "the name of a metric, as text")
        if any(metric == name for name, _ in known) or metric in (self.vocabulary or ()):
            return metric, {}
        for metric_key in known:
            full = self._in_full(metric_key)
            if metric in (str(metric_key), self.label(metric_key), str(full)):
                return metric_key[0], {field: plain_text(value) for field, value in full[1]}
        name, bracket, inside = metric.rpartition("[")
        pairs = [pair.partition("=") for pair in inside.removesuffix("]").split(",")]
        if not bracket or not inside.endswith("]") or not all(equals for _, equals, _ in pairs):
            return metric, {}
        return name, {field.strip(): text.strip() for field, _, text in pairs}

    def _is_spelt(self, metric_key: MetricKey, spelt: Mapping[str, str]) -> bool:
        context = {field: plain_text(value) for field, value in self._in_full(metric_key)[1]}
        return all(context.get(field) == text for field, text in spelt.items())

    def _meant(self, metric: str, context: Mapping[str, Any], known: Sequence[MetricKey]) -> str:
        """Guesses what was meant: another metric, another field of its context, or another value there."""
        contexts = [dict(self._in_full(metric_key)[1]) for metric_key in known if metric_key[0] == metric]
        if not contexts:
            close = closest(metric, {name for name, _ in known})
            return "" if close is None else repr(close)
        for field, value in context.items():
            values = [have[field] for have in contexts if field in have]
            if not values:
                close = closest(field, {name for have in contexts for name in have})
                return "" if close is None else f"{close}="
            shown = plain_text(value)
            alike = [have for have in values if plain_text(have) == shown]
            if alike and all(typed(have) != typed(value) for have in alike):
                return f"{field}={_python(alike[0])}"
            close = closest(shown, {plain_text(have): None for have in values})
            if not alike and close is not None:
                value = next(have for have in values if plain_text(have) == close)
                return f"{field}={_python(value)}"
        return ""

    def _in_full(self, metric_key: MetricKey) -> MetricKey:
        """Gives a measure with the defaults of the template, by which it can be asked for."""
        context = dict(metric_key[1])
        left = [(field, text) for field, text in self.template.defaults.items() if field not in context]
        return MetricKey(metric_key[0], tuple(sorted((*metric_key[1], *left))))

    def in_order(self, metric_keys: Iterable[MetricKey]) -> list[MetricKey]:
        """Sorts measures as they stand in files: as the vocabulary has them, then by name.

        Not as they were reported, which a server does not know.
        """
        place = {name: index for index, name in enumerate(self.vocabulary.metrics)} if self.vocabulary else {}
        return sorted(
            dict.fromkeys(metric_keys),
            key=lambda metric_key: (place.get(metric_key[0], len(place)), natural(str(metric_key))),
        )

    def label(self, metric_key: MetricKey) -> str:
        """Writes a measure for people, with the vocabulary's unit."""
        entry = self.vocabulary.metrics.get(metric_key[0]) if self.vocabulary is not None else None
        return str(MetricKey(*metric_key)) + (f" ({entry.unit})" if entry is not None and entry.unit else "")

    def mode(self, metric: str, mode: Mode | None) -> Mode:
        """Gives which is better, from the call or the vocabulary.

        Raises:
            ArgumentError: Neither says.
        """
        if mode is None and self.vocabulary is not None:
            name, _ = self.vocabulary.resolve(self._taken_apart(metric, ())[0], {})
            mode = self.vocabulary.metrics[name].mode
        if mode not in ("max", "min"):
            expected = f"'max' or 'min', which of them is better (or metrics=[Metric({metric!r}, mode=…)])"
            raise ArgumentError("mode", mode, expected)
        return mode

    def likely_mode(self, metric: str, mode: Mode | None = None) -> Mode | None:
        """Gives which is probably better, for what is only shown; None where nobody can tell."""
        if mode is not None:
            return self.mode(metric, mode)
        known = self.vocabulary
        metric, _ = self._taken_apart(metric, ())
        if known is not None and metric in known:
            named: Mode | None = known.metrics[known.resolve(metric, {})[0]].mode
            if named is not None:
                return named
        return mode_of(read(metric, metric).words)


def _matches(context: Context, wanted: Context, at_default: set[str]) -> bool:
    have = dict(context)
    same = all(field in have and typed(have[field]) == typed(value) for field, value in wanted)
    return same and not at_default & have.keys()


def _telling(contexts: Sequence[Context]) -> str:
    """Writes the first of some contexts, as far as it takes to tell it from the others."""
    telling = [pair for pair in contexts[0] if not all(pair in context for context in contexts)]
    return ", ".join(f"{field}={_python(value)}" for field, value in telling) or "split=…"


def _python(value: Any) -> str:
    return repr(value[0] if isinstance(value, tuple) else value)
