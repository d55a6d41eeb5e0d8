"""Finds the metric key that a user means by `accuracy`, `accuracy[split=val]` or an alias."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

import attrs

from .._drift.parse_name import parse_name
from .._model.arguments import check_choice
from .._model.metric_words import SPLIT_WORDS, mode_of
from .._model.metrics import Context, MetricKey, canonical_context, plain_text
from .._model.parameter_json import typed_json
from .._text import closest, natural, some
from ..errors import AmbiguousResultError, ArgumentError, NoSuchResultError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .._model.name_template import NameTemplate
    from .._model.vocabulary import Vocabulary
    from .rows import Mode

MAX_CONTEXTS_NAMED = 3
"""The most contexts named that tasks have instead of the one that was asked for."""

SPLIT_ORDER = ("val", "dev", "eval", "test", "other", "train")


@attrs.frozen
class MetricLookup:
    """A group's template and vocabulary, by which metrics are found, labelled, sorted and compared."""

    template: NameTemplate
    vocabulary: Vocabulary | None

    def find(
        self, metric: str, context: Mapping[str, Any], known: Iterable[MetricKey], task: str = ""
    ) -> MetricKey:
        """Finds the one metric key that matches; context fields that are not given match any value.

        Args:
            metric: The metric's name or an alias, or the metric with its context as in tables and files,
                `accuracy[split=val]`.
            context: The context.
            known: The metric keys that have values.
            task: The task that is searched, for the error message; empty for all tasks.

        Raises:
            NoSuchResultError: No metric key matches.
            AmbiguousResultError: More than one matches.
        """
        found, asked = self._find_all(metric, context, known, task)
        if len(found) > 1:
            full = [self._with_defaults(metric_key) for metric_key in found]
            example = _distinguishing_fields([context for _, context in full])
            raise AmbiguousResultError(asked, list(map(str, full)), example)
        return found[0]

    def find_all(self, metric: str, known: Iterable[MetricKey]) -> list[MetricKey]:
        """Finds all metric keys that match, as `find` does.

        Raises:
            NoSuchResultError: No metric key matches.
        """
        return self._find_all(metric, {}, known, "")[0]

    def _find_all(
        self, metric: str, context: Mapping[str, Any], known: Iterable[MetricKey], task: str
    ) -> tuple[list[MetricKey], str]:
        """Returns all metric keys that match, at least one, and what was asked for."""
        listed = list(dict.fromkeys(known))
        metric, texts = self._split_label(metric, listed)
        if self.vocabulary is not None and metric in self.vocabulary:
            metric, context = self.vocabulary.resolve(metric, context)
        wanted = canonical_context(self.template, context)
        at_default = {field for field in context if field not in dict(wanted)}
        found = [
            metric_key
            for metric_key in listed
            if metric_key.metric == metric
            and _matches(metric_key.context, wanted, at_default)
            and self._has_context_texts(metric_key, texts)
        ]
        asked = str(MetricKey(metric, (*wanted, *texts.items())))
        if not found:
            suggestion = self._suggestion(metric, {**dict(wanted), **texts}, listed)
            raise NoSuchResultError(asked, [str(metric_key) for metric_key in listed], suggestion, task)
        return found, asked

    def elsewhere_text(
        self, metric_key: MetricKey, elsewhere: Mapping[str, Iterable[MetricKey]], of: str
    ) -> str:
        """Says that some tasks have a metric in other contexts only; nothing if there are none.

        Args:
            metric_key: The metric and the context that they lack.
            elsewhere: The names of these tasks, with what they have.
            of: All tasks, `3 tasks`.
        """
        if not elsewhere:
            return ""
        lacking, have = self._with_defaults(metric_key), dict.fromkeys(itertools.chain(*elsewhere.values()))
        others = some([str(self._with_defaults(other)) for other in have], MAX_CONTEXTS_NAMED)
        return (
            f"{len(elsewhere)} of {of} {'has' if len(elsewhere) == 1 else 'have'} no {lacking}, but {others}"
        )

    def label(self, metric_key: MetricKey) -> str:
        """Formats a metric key with its unit: `time[split=val] (s)`."""
        entry = self.vocabulary.metrics.get(metric_key.metric) if self.vocabulary is not None else None
        return str(metric_key) + (f" ({entry.unit})" if entry is not None and entry.unit else "")

    def sort(self, metric_keys: Iterable[MetricKey]) -> list[MetricKey]:
        """Sorts metric keys for files: in the order of the vocabulary, then by name.

        The order in which they were first reported is not used because a server does not know it.
        """
        return sorted(dict.fromkeys(metric_keys), key=lambda key: (self.place(key.metric), natural(str(key))))

    def place(self, metric: str) -> int:
        """Returns the position of a metric in the vocabulary; that after the last one if it is not there."""
        order = list(self.vocabulary.metrics) if self.vocabulary is not None else []
        return order.index(metric) if metric in order else len(order)

    def main_metric(self, metric_keys: Iterable[MetricKey]) -> MetricKey | None:
        """Chooses the metric that says which task is the best; None if no mode is known.

        It is the first metric of the vocabulary that has a mode, or without a vocabulary the first one whose
        mode its name tells; of several splits, one that was not trained on.
        """
        known = [key for key in metric_keys if self.likely_mode(key.metric) is not None]
        return min(known, key=lambda key: (self.place(key.metric), split_rank(key)), default=None)

    def require_mode(self, metric: str, mode: Mode | None) -> Mode:
        """Returns whether greater or smaller is better; see `likely_mode`.

        Raises:
            ArgumentError: It is not known.
        """
        mode = self.likely_mode(metric, mode)
        if mode is None:
            expected = f"'max' or 'min', whichever is better (or metrics=[Metric({metric!r}, mode=…)])"
            raise ArgumentError("mode", mode, expected)
        return mode

    def likely_mode(self, metric: str, mode: Mode | None = None) -> Mode | None:
        """Returns the mode from the call, the vocabulary or well-known words as `loss`; else None.

        Raises:
            ArgumentError: The call has another mode.
        """
        if mode is not None:
            check_choice("mode", mode, ("max", "min"))
            return mode
        known = self.vocabulary
        metric, _ = self._split_label(metric, ())
        if known is not None and metric in known:
            named: Mode | None = known.metrics[known.resolve(metric, {})[0]].mode
            if named is not None:
                return named
        return mode_of(parse_name(metric, metric).words)

    def _split_label(self, metric: str, known: Sequence[MetricKey]) -> tuple[str, dict[str, str]]:
        """Splits `accuracy[split=val]` into the metric and its context values as text."""
        if not isinstance(metric, str):
            raise ArgumentError("metric", metric, "the name of a metric, as text")
        if any(metric == name for name, _ in known) or metric in (self.vocabulary or ()):
            return metric, {}
        for metric_key in known:
            full = self._with_defaults(metric_key)
            if metric in (str(metric_key), self.label(metric_key), str(full)):
                return metric_key.metric, {field: plain_text(value) for field, value in full.context}
        name, bracket, inside = metric.rpartition("[")
        pairs = [pair.partition("=") for pair in inside.removesuffix("]").split(",")]
        if not bracket or not inside.endswith("]") or not all(equals for _, equals, _ in pairs):
            return metric, {}
        return name, {field.strip(): text.strip() for field, _, text in pairs}

    def _has_context_texts(self, metric_key: MetricKey, texts: Mapping[str, str]) -> bool:
        context = {field: plain_text(value) for field, value in self._with_defaults(metric_key).context}
        return all(context.get(field) == text for field, text in texts.items())

    def _suggestion(self, metric: str, context: Mapping[str, Any], known: Sequence[MetricKey]) -> str:
        """Suggests another metric, another field of the context or another value of a field."""
        contexts = [dict(self._with_defaults(one).context) for one in known if one.metric == metric]
        if not contexts:
            close = closest(metric, {name for name, _ in known})
            return "" if close is None else repr(close)
        for field, value in context.items():
            values = {plain_text(have[field]): have[field] for have in contexts if field in have}
            if not values:
                close = closest(field, {name for have in contexts for name in have})
                return "" if close is None else f"{close}="
            text = plain_text(value)
            close = text if text in values else closest(text, values)
            if close is not None and typed_json(values[close]) != typed_json(value):
                return f"{field}={_python_literal(values[close])}"
        return ""

    def _with_defaults(self, metric_key: MetricKey) -> MetricKey:
        """Adds the template's defaults to the context, so that it can be asked for by them."""
        context = dict(metric_key.context)
        missing = [(field, text) for field, text in self.template.defaults.items() if field not in context]
        return MetricKey(metric_key.metric, tuple(sorted((*metric_key.context, *missing))))


def split_rank(metric_key: MetricKey) -> int:
    """Returns a number to sort splits by: validation data first, then test data, training data last."""
    words = [*re.split(r"[^a-z]+", metric_key.metric.lower())]
    words += [str(value).lower() for _, value in metric_key.context]
    found = [SPLIT_ORDER.index(SPLIT_WORDS[word]) for word in words if word in SPLIT_WORDS]
    return min(found, default=SPLIT_ORDER.index("other"))


def _matches(context: Context, wanted: Context, at_default: set[str]) -> bool:
    have = dict(context)
    same = all(field in have and typed_json(have[field]) == typed_json(value) for field, value in wanted)
    return same and not at_default & have.keys()


def _distinguishing_fields(contexts: Sequence[Context]) -> str:
    """Writes the fields of the first context that not all contexts share, as keyword arguments."""
    fields = [pair for pair in contexts[0] if not all(pair in context for context in contexts)]
    return ", ".join(f"{field}={_python_literal(value)}" for field, value in fields) or "split=…"


def _python_literal(value: Any) -> str:
    return repr(value[0] if isinstance(value, tuple) else value)
