"""What a server, or a record, says of an earlier task → past tasks, and counts over their values."""

from __future__ import annotations

import json
import math
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .._model.metrics import MetricKey, canonical_context
from .._model.name_template import Name, NameTemplate
from .._model.past import PastTask
from .._model.stats import Stats
from .._model.status import ABANDONED, Status
from .events import SINGLE_VALUE_ITERATION, SINGLE_VALUE_TITLE
from .queries import identity_of, is_at_agent, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENDED: dict[str, Status] = {
    "completed": "completed",
    "published": "completed",
    "publishing": "completed",
    "closed": "completed",
    "failed": "failed",
    "stopped": "stopped",
}


def past_task(task: Mapping[str, Any], template: NameTemplate) -> PastTask:
    """Reads a task document: an open one was abandoned, one that is an agent's has no status."""
    status = str(task["status"])
    identity = identity_of(task)
    own = {name: identity.get(name, "") for name in ("key", "index")}
    own |= {"group": identity.get("group_name", ""), "task": identity.get("name", ""), "task_id": task["id"]}
    return PastTask(
        id=str(task["id"]),
        key=identity.get("key", ""),
        name=identity.get("name", ""),
        index=whole(identity.get("index")),
        attempt=whole(identity.get("attempt"), 1),
        params=_params(task, identity.get("params", "")),
        duration=_duration(task),
        status=None if is_at_agent(task) else _ENDED.get(status, "stopped"),
        reason=str(task.get("status_reason") or "") if status in _ENDED else ABANDONED,
        settled=status in _ENDED,
        measures=list(measures_of(task.get("last_metrics") or {}, template, own)),
        submitted=identity.get("sweep", ""),
    )


def measures_of(last_metrics: Mapping[str, Any], template: NameTemplate, own: Mapping[str, str]) -> list[Any]:
    """Reads a server's last values as counts; its own mean and count are not to be trusted."""
    measures = []
    for variants in last_metrics.values():
        for last in variants.values():
            title, series = str(last.get("metric")), str(last.get("variant"))
            single = title == SINGLE_VALUE_TITLE and last.get("min_value_iteration") == SINGLE_VALUE_ITERATION
            found = measure_of(template, title, series, single, own)
            if found is None or last.get("value") is None:
                continue
            value = last["value"]
            stats = {"first": value, "last": value, "min": value, "max": value}
            stats |= {part: last[f"{part}_value"] for part in _PARTS if f"{part}_value" in last}
            if not single:
                stats |= {f"{part}_iteration": last.get(f"{part}_value_iteration") for part in _PARTS}
            stats |= {"total": math.nan, "count": max(1, int(last.get("count") or 1))}
            if single:
                stats |= {"total": value, "count": 1, "single": True}
            measures.append([found[0], dict(found[1]), stats, [[title, series]]])
    return measures


_PARTS = ("first", "min", "max")


def measure_of(
    template: NameTemplate, title: str, series: str, single: bool, own: Mapping[str, str]
) -> MetricKey | None:
    """Reads a name back as the measure that a report of it has; None if the template never gives it.

    Args:
        template: The group's template.
        title: The title.
        series: The series.
        single: Whether it is the name of a value without an iteration.
        own: The texts of the task's own fields.
    """
    fields = tuple((field, own[field]) for field in template.fields if field in own)
    return _metric_key(template, title, series, single, fields)


@lru_cache(maxsize=65_536)
def _metric_key(
    template: NameTemplate, title: str, series: str, single: bool, fields: tuple[tuple[str, str], ...]
) -> MetricKey | None:
    """Reads a name back; the tasks of a group mostly share theirs."""
    own = dict(fields)
    found = template.parse_single(series, own) if single else template.parse(title, series, own)
    return None if found is None else MetricKey(found[0], canonical_context(template, found[1]))


def stats_of(task: PastTask) -> dict[MetricKey, Stats]:
    """Gives what an earlier attempt reported."""
    found: dict[MetricKey, Stats] = {}
    for metric, context, counts, *_ in task.measures:
        key, stats = _key(metric, context), Stats(**counts)
        found[key] = _with_single_value(found[key], stats) if key in found else stats
    return found


def _with_single_value(one: Stats, other: Stats) -> Stats:
    """Joins a curve and a single value of the same measure, which a server keeps apart."""
    curve, single = (one, other) if one.has_curve else (other, one)
    curve.last, curve.last_iteration, curve.single = single.last, None, True
    return curve


def names_of(task: PastTask) -> dict[MetricKey, list[Name]]:
    """Gives the names under which an earlier attempt's measures were logged."""
    found: dict[MetricKey, list[Name]] = {}
    for metric, context, _, *spelt in task.measures:
        found.setdefault(_key(metric, context), []).extend(Name(*name) for names in spelt for name in names)
    return found


def _key(metric: str, context: Mapping[str, Any]) -> MetricKey:
    pairs = ((name, tuple(v) if isinstance(v, list) else v) for name, v in context.items())
    return MetricKey(metric, tuple(sorted(pairs)))


def _params(task: Mapping[str, Any], stored: str) -> dict[str, Any]:
    """Reads the parameters: those of the identity as typed JSON, those that were set later by their type."""
    try:
        params = dict(json.loads(stored))
    except (TypeError, ValueError):  # edited in the web page
        params = {}
    for name, item in ((task.get("hyperparams") or {}).get("General") or {}).items():
        if name not in params:
            params[name] = _cast(str(item.get("value", "")), str(item.get("type", "")))
    return params


def _cast(text: str, kind: str) -> Any:
    if kind == "NoneType":
        return None
    if kind == "bool":
        return text == "True"
    try:
        return {"int": int, "float": float}.get(kind, str)(text)
    except ValueError:
        return text


def _duration(task: Mapping[str, Any]) -> float:
    try:
        started = datetime.fromisoformat(str(task.get("started")))
        ended = datetime.fromisoformat(str(task.get("completed") or task.get("last_update")))
        return max(0.0, (ended - started).total_seconds())
    except (TypeError, ValueError):  # never started
        return 0.0
