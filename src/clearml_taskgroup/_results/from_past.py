"""Rows and results of an earlier run, from what a run log or a server has of its tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._model.name_template import DEFAULT_TEMPLATE, NameTemplate
from .._model.parameter_json import plain
from .._model.vocabulary import Vocabulary
from ..errors import TemplateError
from .find_metric import MetricLookup
from .results import Results
from .rows import OPEN, About, Row, in_order, row_metrics

if TYPE_CHECKING:
    from .._model.metrics import Metric
    from .._model.past import PastTask
    from .history import Reader


def lookup_of(template: str, metrics: list[str | Metric] | None, stored: Any) -> MetricLookup:
    """Makes what finds metrics, with the vocabulary that was given, else with the one stored with the run."""
    try:
        parsed = NameTemplate(template)
    except TemplateError:  # edited in the web page
        parsed = NameTemplate(DEFAULT_TEMPLATE)
    if metrics is not None:
        return MetricLookup(parsed, Vocabulary.of(metrics, parsed))
    return MetricLookup(parsed, Vocabulary.restored(stored, parsed))


def past_row(task: PastTask, lookup: MetricLookup, reader: Reader) -> Row:
    """Returns the row of a task."""
    return Row(
        key=task.key,
        name=task.name,
        index=task.index,
        id=task.id,
        attempt=task.attempt,
        status=task.status or "stopped",
        status_reason=task.reason,
        params={name: plain(value) for name, value in task.params.items()},
        duration=task.duration,
        url=reader.backend.url(task.id),
        **row_metrics(task.metrics),
        lookup=lookup,
        reader=reader,
    )


def past_results(
    rows: list[Row], about: About, lookup: MetricLookup, reader: Reader, more: str = ""
) -> Results:
    """Makes results of rows, in their order; `more` says why some are missing although no task is open."""
    partial = bool(more) or any(row.status in OPEN for row in rows)
    return Results(in_order(rows), about, lookup, reader, partial=partial, partial_reason=more)
