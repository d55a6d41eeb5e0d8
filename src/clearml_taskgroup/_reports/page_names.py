"""The names of metrics on the parent's page: titles in ClearML's notation, and names of single values."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .._model.metrics import plain_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .._model.metrics import MetricKey
    from .._results.results import Results
    from .._run.run import Run


COUNTED_STATUSES = ("completed", "failed", "stopped")
"""The statuses that have a number on the page."""


def group_prefix(run: Run) -> str:
    """Returns what titles begin with on a parent that is not ours: it may have other groups, too."""
    return "" if run.owns_parent else f"{run.info.name}: "


def plot_titles(results: Results) -> dict[MetricKey, str]:
    """Names each metric as ClearML names a title and a series: `accuracy / val`, `loss / fold 3 (%)`."""
    return _unique(
        results,
        lambda key, words: (" / ".join(filter(None, (key.metric, ", ".join(words))))) + _unit(results, key),
    )


def value_names(results: Results) -> dict[MetricKey, str]:
    """Names each metric for single values, of which the page shows 15 characters: `val accuracy`."""
    return _unique(results, lambda key, words: " ".join((*words, key.metric)) + _unit(results, key))


def metric_title(results: Results, metric_key: MetricKey) -> str:
    """Names the metric of a metric key without its context."""
    return metric_key.metric + _unit(results, metric_key)


def context_names(metric_keys: Iterable[MetricKey]) -> list[str]:
    """Names metric keys that differ in their context only: `val`, `fold 3`; `value` without a context."""
    return [", ".join(context_words(key)) or "value" for key in metric_keys]


def context_words(key: MetricKey, full: bool = False) -> list[str]:
    """Returns a word for each field of a context: text alone, a number or a bool with its field.

    Args:
        key: The metric key.
        full: Whether all have their field.
    """
    return [
        plain_text(value) if isinstance(value, str) and not full else f"{field} {plain_text(value)}"
        for field, value in key.context
    ]


def _unique(results: Results, name: Callable[[MetricKey, list[str]], str]) -> dict[MetricKey, str]:
    """Makes names; those that would be the same have the fields of the context, too."""
    short = {key: name(key, context_words(key)) for key in results.metric_keys}
    counts = Counter(short.values())
    return {
        key: one if counts[one] == 1 else name(key, context_words(key, full=True))
        for key, one in short.items()
    }


def _unit(results: Results, key: MetricKey) -> str:
    return results.label(key).removeprefix(str(key))
