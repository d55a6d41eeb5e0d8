"""What events do not say of a task and is stored beside them.

Names that would be read back as another metric, in the section `TaskGroup`; values that were skipped,
curves that arrived out of order, and that a task was reopened, in `runtime`, which a clone and a reset
clear as they clear the events.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .._model.metric_data import MetricData, key_from_json
from .._model.name_template import Name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._model.metric_data import Metrics
    from .._model.metrics import MetricKey

NAMES_ENTRY = "names"
"""The entry of the section `TaskGroup` that says what ambiguous names stand for."""
SERIES_ENTRY = "taskgroup_series"
"""The entry of `runtime` for skipped values and curves out of order."""
REOPENED_ENTRY = "taskgroup_reopened"
"""The entry of `runtime` of a task that had completed and was opened again; empty once it is continued."""


def names_to_json(names: Mapping[Name, MetricKey]) -> list[Any]:
    """Returns what names stand for: `[title, series, metric, context]` for each."""
    return [[*name, key.metric, dict(key.context)] for name, key in names.items()]


def names_from_json(entries: Any) -> dict[Name, MetricKey]:
    """Reads what `names_to_json` wrote; anything else, as an edit in the web page, is ignored."""
    names = {}
    for entry in entries if isinstance(entries, list) else ():
        try:
            title, series, metric, context = entry
            names[Name(str(title), str(series))] = key_from_json(str(metric), context)
        except (TypeError, ValueError, AttributeError):
            continue
    return names


def skipped_to_json(key: MetricKey, data: MetricData) -> list[Any]:
    """Returns what was skipped of a metric key."""
    return [key.metric, dict(key.context), *data.skipped_to_json()]


def skipped_from_json(entry: list[Any]) -> tuple[MetricKey, MetricData]:
    """Reads what `skipped_to_json` wrote."""
    metric, context, number, iteration, single = entry
    data = MetricData(skipped=number, skipped_at=iteration, single_skipped=single)
    return key_from_json(metric, context), data


def series_text(metrics: Mapping[MetricKey, MetricData]) -> str:
    """Returns what is to be stored in `runtime`; empty if every curve is as a server's statistics say."""
    listed = list(metrics.items())
    # A server does not say which iteration is the highest.
    skipped = [[*skipped_to_json(key, data), data.stats.end] for key, data in listed if data.skipped]
    unordered = [list(name) for _, data in listed if not data.stats.ordered for name in data.names]
    return json.dumps({"skipped": skipped, "unordered": unordered}) if skipped or unordered else ""


def add_series_notes(metrics: Metrics, text: Any) -> None:
    """Adds what `series_text` wrote to the metrics of a task."""
    try:
        notes = json.loads(text)
        unordered = {tuple(name) for name in notes["unordered"]}
        skipped = [(key_from_json(str(m), context), tuple(rest)) for m, context, *rest in notes["skipped"]]
    except (TypeError, ValueError, KeyError, AttributeError):  # none, or edited
        return
    for data in metrics.values():
        if unordered.intersection(data.names):
            data.stats.exact = data.stats.ordered = False
    for key, (number, iteration, single, end) in skipped:
        data = metrics.setdefault(key, MetricData())
        data.skipped, data.skipped_at, data.single_skipped, data.stats.end = number, iteration, single, end
