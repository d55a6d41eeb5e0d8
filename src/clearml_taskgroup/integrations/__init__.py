"""One file for each framework, importable with its package alone; here, what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._group import TaskGroup


FILLING = "value"
"""What a field of the template reads that neither the framework nor the user fills in."""


def filled(group: TaskGroup, metric: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """Fills in the fields that a template needs and that a framework knows nothing of."""
    template, vocabulary, carried = group.template, group.vocabulary, context
    if vocabulary is not None and metric in vocabulary:
        _, carried = vocabulary.resolve(metric, context)
    known = (*template.defaults, *carried)
    return {**{field: FILLING for field in template.context_fields if field not in known}, **context}
