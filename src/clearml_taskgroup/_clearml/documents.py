"""Task documents and API events of a server → past tasks and the statistics of their metrics."""

from __future__ import annotations

import json
import math
from array import array
from typing import TYPE_CHECKING, Any

from .._model.metric_data import MetricData, Metrics, add_metric
from .._model.metrics import metric_key_of
from .._model.name_template import Name
from .._model.past import PastTask
from .._model.stats import Stats
from .._model.status import ENDED, from_server
from .dates import seconds_between
from .events import SINGLE_VALUE_ITERATION, SINGLE_VALUE_TITLE, as_point, is_point
from .hyperparameters import read_parameters
from .notes import NAMES_ENTRY, REOPENED_ENTRY, SERIES_ENTRY, add_series_notes, names_from_json
from .queries import identity_of, is_on_agent, parse_count
from .tasks import is_stopped_by_watchdog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._model.metrics import MetricKey
    from .._model.name_template import NameTemplate

Scalars = list[tuple[Name, Stats]]
"""The statistics of what one task logged under each name; a curve and a single value have different names."""


def past_task(document: Mapping[str, Any], template: NameTemplate) -> PastTask:
    """Reads a task document; a task that is still open was left by its process, unless an agent has it.

    Args:
        document: The task document, with the fields `queries.FIELDS`.
        template: The group's template.
    """
    status = from_server(str(document["status"]))
    identity, runtime = identity_of(document), document.get("runtime") or {}
    was_completed = bool(runtime.get(REOPENED_ENTRY))
    # A reopened task that the server stopped as silent was left by its process, too.
    has_ended = status in ENDED and not (was_completed and is_stopped_by_watchdog(document))
    task = PastTask(
        id=str(document["id"]),
        key=identity.get("key", ""),
        name=identity.get("name", ""),
        index=parse_count(identity.get("index")),
        attempt=parse_count(identity.get("attempt"), 1),
        params=read_parameters((document.get("hyperparams") or {}).get("General") or {}, identity),
        duration=duration_of(document),
        status=status if has_ended else None,
        reason=str(document.get("status_reason") or "") if has_ended else "",
        delivered=has_ended,
        submitted=identity.get("sweep", "") if identity.get("queue") else "",
        process=identity.get("process", ""),
        session=parse_count(identity.get("session")),
        was_completed=was_completed,
    )
    if not is_on_agent(document):
        task.status, task.reason = task.final_status()
    fields = task.template_fields(identity.get("group_name", ""))
    task.ambiguous = names_from_json(_json(identity.get(NAMES_ENTRY)))
    task.metrics = metrics_of(scalars_of_document(document), template, fields, task.ambiguous)
    add_series_notes(task.metrics, runtime.get(SERIES_ENTRY))
    return task


def _json(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError:  # edited in the web page
        return None


def duration_of(document: Mapping[str, Any]) -> float:
    """Returns the seconds from a task's start to its end or last update; 0 if it was never started."""
    return seconds_between(document.get("started"), document.get("completed") or document.get("last_update"))


# --- scalars -------------------------------------------------------------------------------------


def scalars_of_document(document: Mapping[str, Any]) -> Scalars:
    """Reads the last values of a task document.

    The sums are unknown, since the server's own mean and count are wrong after a point was sent twice.
    """
    scalars: Scalars = []
    for variants in (document.get("last_metrics") or {}).values():
        for last in variants.values():
            value = last.get("value")
            if value is None:
                continue
            name = Name(str(last.get("metric")), str(last.get("variant")))
            if name.title == SINGLE_VALUE_TITLE and last.get("min_value_iteration") == SINGLE_VALUE_ITERATION:
                stats = Stats.of([(None, value)])
            else:
                stats = Stats(last=value, total=math.nan, count=max(1, int(last.get("count") or 1)))
                stats.first, stats.min, stats.max = (last.get(f"{part}_value", value) for part in _PARTS)
                at = [last.get(f"{part}_value_iteration") for part in _PARTS]
                stats.first_iteration, stats.min_iteration, stats.max_iteration = at
                # The server does not say which iteration the last value has.
                stats.end = max((iteration for iteration in at if iteration is not None), default=0)
            scalars.append((name, stats))
    return scalars


_PARTS = ("first", "min", "max")


def scalars_of_events(events: Iterable[Mapping[str, Any]]) -> Scalars:
    """Computes the statistics of the scalars among the API events of one task."""
    curves: dict[tuple[str, str], tuple[array[int], array[float]]] = {}
    for event in events:
        if is_point(event):
            name = (event["metric"], event["variant"])
            xs, ys = curves.get(name) or curves.setdefault(name, (array("q"), array("d")))
            xs.append(event["iter"])
            ys.append(event["value"])
    return [(Name(*name), Stats.of(map(as_point, xs, ys))) for name, (xs, ys) in curves.items()]


def metrics_of(
    scalars: Iterable[tuple[Name, Stats]],
    template: NameTemplate,
    fields: Mapping[str, str],
    ambiguous: Mapping[Name, MetricKey] | None = None,
) -> Metrics:
    """Finds the metric key of each name.

    Names that the template cannot have rendered are skipped, and those of ClearML's resource monitor.

    Args:
        scalars: Names and statistics of one task.
        template: The group's template.
        fields: The template's fields that the task fills in itself.
        ambiguous: What the names stand for that would be read back as another metric: a text `"1"` as 1.
    """
    metrics: Metrics = {}
    for name, stats in scalars:
        single = name.title == SINGLE_VALUE_TITLE and stats.single
        if name.title.startswith(":monitor:"):
            continue
        key = (ambiguous or {}).get(name) or metric_key_of(template, name, single, fields)
        if key is not None:
            add_metric(metrics, key, MetricData(stats, (name,)))
    return metrics
