"""The order of metrics in tables and figures: the most important first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._model.metrics import MetricKey
    from .._results.results import Results

VALIDATION_WORDS = {"val", "valid", "validation", "dev", "eval", "test"}
"""Words in the name or the context of metrics of data that was not trained on."""


def metric_rank(results: Results, metric_key: MetricKey) -> tuple[bool, bool, int]:
    """Sorts metrics whose mode is known first, among them those of validation, as the vocabulary has them."""
    words = {str(value).lower() for _, value in metric_key[1]}
    words |= set(metric_key[0].lower().replace("/", "_").split("_"))
    known = list(results._lookup.vocabulary.metrics) if results._lookup.vocabulary is not None else []
    place = known.index(metric_key[0]) if metric_key[0] in known else len(known)
    return results.mode_of(metric_key[0]) is None, not words & VALIDATION_WORDS, place
