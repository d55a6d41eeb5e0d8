"""Rows of results that no group has made, for tests of functions that are given rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from clearml_taskgroup import Metric, NameTemplate, Results
from clearml_taskgroup._model.metric_data import MetricData
from clearml_taskgroup._model.metrics import MetricKey, canonical_context
from clearml_taskgroup._model.name_template import Name
from clearml_taskgroup._model.vocabulary import Vocabulary
from clearml_taskgroup._results.find_metric import MetricLookup
from clearml_taskgroup._results.history import Reader
from clearml_taskgroup._results.rows import About, Row, row_metrics
from clearml_taskgroup._storage.memory import MemoryBackend

TEMPLATE = NameTemplate("{metric}/{split=value}")
ABOUT = About("digits", "sweep", "0" * 12, "1" * 32, 1, "memory", "memory")


def metric_key(metric: str, template: NameTemplate = TEMPLATE, **context: Any) -> MetricKey:
    """A metric with its context, as `row.stats` has it."""
    return MetricKey(metric, canonical_context(template, context))


LOSS, VAL_LOSS = metric_key("loss"), metric_key("loss", split="val")


def lookup(metrics: Sequence[str | Metric] | None = None, template: NameTemplate = TEMPLATE) -> MetricLookup:
    """What finds metrics, with or without a vocabulary."""
    return MetricLookup(template, None if metrics is None else Vocabulary.of(list(metrics), template))


def made_row(
    name: str = "task",
    params: Mapping[str, Any] | None = None,
    values: Mapping[MetricKey, float | Sequence[float]] | None = None,
    **options: Any,
) -> Row:
    """A row.

    Args:
        name: The task's name; its key and id are made from it.
        params: Its parameters.
        values: Of each metric a value, or those of the iterations 0, 1, …; NaN is a value that was skipped.
        **options: Other attributes of the row.
    """
    metrics = {}
    for key, given in (values or {}).items():
        metrics[key] = data = MetricData(names=(Name(str(key), "x"),))
        for iteration, value in enumerate([given] if isinstance(given, (int, float)) else given):
            data.skip(iteration) if math.isnan(value) else data.stats.add(value, iteration)
    row = Row(
        key=f"key of {name}",
        name=name,
        index=0,
        id=f"id of {name}",
        attempt=1,
        status="completed",
        status_reason="",
        params=params or {},
        duration=1.0,
        url=None,
        **row_metrics(metrics),
        lookup=lookup(),
        reader=Reader(MemoryBackend(mode="memory", where="memory", keep=False)),
    )
    return attrs.evolve(row, **options)


def made_results(*rows: Row, metrics: Sequence[str | Metric] | None = None, **options: Any) -> Results:
    """The results of rows."""
    reader = Reader(MemoryBackend(mode="memory", where="memory", keep=False))
    return Results(rows, ABOUT, lookup(metrics), reader, **options)
