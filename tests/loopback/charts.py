"""Reading events back: curves, plots, images and the console."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable

from . import errors
from .events import IMAGE, LOG, PLOT, SCALAR, VECTOR
from .registry import Request, endpoint
from .state import Doc, State, TaskEvents

SINGLE_VALUE_ITERATION = -(2**31)
"""The iteration under which the SDK reports a value that belongs to no iteration."""

MAX_SAMPLES = 6_000
MAX_BATCH = 10_000


def _owner(state: State, request: Request, owner: str) -> Doc:
    if request.body.get("model_events"):
        if owner not in state.models:
            raise errors.invalid_model_id(ids=[owner])
        return state.models[owner]
    return state.task(owner)


def _kept(state: State, owner: str) -> TaskEvents:
    return state.events.get(owner) or TaskEvents()


def _of_type(kept: TaskEvents, kind: str | None) -> list[Doc]:
    by_type: dict[str, Iterable[Doc]] = {
        SCALAR: kept.scalars.values(),
        VECTOR: kept.vectors.values(),
        IMAGE: kept.images.values(),
        PLOT: kept.plots.values(),
        LOG: kept.logs,
    }
    if kind is None or kind == "all":
        return [event for events in by_type.values() for event in events]
    return list(by_type.get(kind, ()))


def _wanted(body: Doc) -> dict[str, list[str]] | None:
    metrics = body.get("metrics")
    if not metrics:
        return None
    return {item["metric"]: item.get("variants") or [] for item in metrics}


def _is_wanted(event: Doc, wanted: dict[str, list[str]] | None) -> bool:
    if wanted is None:
        return True
    if event["metric"] not in wanted:
        return False
    variants = wanted[event["metric"]]
    return not variants or event["variant"] in variants


@endpoint("events.get_task_log")
def get_task_log(state: State, request: Request) -> Doc:
    """Lines of a task's console."""
    body = request.body
    _owner(state, request, body["task"])
    earlier = body.get("navigate_earlier", True)
    logs = _kept(state, body["task"]).logs
    ordered = sorted(logs, key=lambda e: e["timestamp"], reverse=earlier)
    start = body.get("from_timestamp")
    if start is not None:
        ordered = [e for e in ordered if (e["timestamp"] < start if earlier else e["timestamp"] > start)]
    chosen = ordered[: body.get("batch_size") or 500]
    order = body.get("order")
    if order and (order == "asc") == bool(earlier):
        chosen.reverse()
    return {"events": chosen, "returned": len(chosen), "total": len(logs)}


@endpoint("events.get_task_events")
def get_task_events(state: State, request: Request) -> Doc:
    """Raw events in pages, with the faults of the real server's 2.3.0.

    It sorts by the iteration, which console lines do not have, and looks for what comes after the last one
    unless that is false in Python.
    """
    asked = request.body
    _owner(state, request, asked["task"])
    total, after = None, None
    if asked.get("scroll_id"):
        scroll = json.loads(base64.b64decode(asked["scroll_id"]))
        size = asked.get("batch_size")
        asked, total, after = scroll["request"], scroll["total"], scroll["after"]
        if after is None:
            return {"events": [], "returned": None, "total": total, "scroll_id": request.body["scroll_id"]}
        asked = {**asked, "batch_size": size or asked.get("batch_size")}
    descending = asked.get("order") == "desc"
    wanted = _wanted(asked)
    found = _of_type(_kept(state, asked["task"]), asked.get("event_type"))
    events = [event for event in found if _is_wanted(event, wanted)]
    total = len(events) if total is None and asked.get("count_total", True) else total
    page = _page_by_iteration(events, after, min(asked.get("batch_size") or 500, MAX_BATCH), descending)
    last = page[-1]["iter"] if page else None
    scroll = {"request": asked, "total": total, "after": last}
    scroll_id = base64.b64encode(json.dumps(scroll).encode()).decode()
    return {"events": page, "returned": len(page), "total": total, "scroll_id": scroll_id}


def _page_by_iteration(events: list[Doc], after: int | None, size: int, descending: bool) -> list[Doc]:
    """The events after an iteration, and all others of the last one's iteration."""
    sign = -1 if descending else 1
    found = [event for event in events if "iter" in event]
    if after:  # 0 as well as None
        found = [event for event in found if sign * event["iter"] > sign * after]
    found.sort(key=lambda event: sign * event["iter"])
    found += [event for event in events if "iter" not in event]
    page = found[:size]
    if page:
        if "iter" not in page[-1]:
            raise errors.key_error("iter")
        last = page[-1]["iter"]
        page += [event for event in found[size:] if event.get("iter") == last]
    return page


@endpoint("events.scalar_metrics_iter_raw")
def scalar_metrics_iter_raw(state: State, request: Request) -> Doc:
    """The points of one title."""
    body = request.body
    _owner(state, request, body["task"])
    found = _kept(state, body["task"]).scalars.values()
    events = [event for event in found if event["metric"] == body["metric"]["metric"]]
    variants: dict[str, Doc] = {}
    for event in sorted(events, key=lambda event: event.get("iter", 0)):
        columns = variants.setdefault(event["variant"], {"iter": [], "y": []})
        columns["iter"].append(event.get("iter"))
        columns["y"].append(event["value"])
    total = len(events)
    return {"variants": variants, "total": total, "returned": total, "scroll_id": None}


def _curves(kept: TaskEvents, request: Request) -> dict[str, dict[str, Doc]]:
    """Curves by title and series, thinned out to the number of points asked for."""
    samples = min(request.body.get("samples") or MAX_SAMPLES, MAX_SAMPLES)
    key = "iter" if request.body.get("key", "iter") == "iter" else "timestamp"
    wanted = _wanted(request.body)
    points: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for event in kept.scalars.values():
        if event.get("value") is None or not _is_wanted(event, wanted):
            continue
        if event.get("iter") == SINGLE_VALUE_ITERATION:
            continue
        pair = (event["metric"], event["variant"])
        points.setdefault(pair, []).append((event.get(key, 0), event["value"]))
    result: dict[str, dict[str, Doc]] = {}
    for (title, series), curve in sorted(points.items()):
        xs, ys = _thin(sorted(curve), samples)
        result.setdefault(title, {})[series] = {"name": series, "x": xs, "y": ys}
    return result


def _thin(curve: list[tuple[int, float]], samples: int) -> tuple[list[int], list[float]]:
    step = 1
    if len(curve) >= samples:
        span = curve[-1][0] - curve[0][0] + 1
        step = max(1, math.ceil(span / samples))
    buckets: dict[int, list[float]] = {}
    for x, y in curve:
        buckets.setdefault(int(x // step * step), []).append(y)
    return list(buckets), [sum(ys) / len(ys) for ys in buckets.values()]


@endpoint("events.scalar_metrics_iter_histogram")
def scalar_metrics_iter_histogram(state: State, request: Request) -> Doc:
    """The curves of one task."""
    _owner(state, request, request.body["task"])
    return _curves(_kept(state, request.body["task"]), request)


@endpoint("events.get_task_single_value_metrics")
def get_task_single_value_metrics(state: State, request: Request) -> Doc:
    """Values that belong to no iteration."""
    tasks = []
    fields = ("metric", "variant", "value", "timestamp")
    for owner in request.body["tasks"]:
        name = _owner(state, request, owner)["name"]
        values = [
            {field: event.get(field) for field in fields}
            for event in _kept(state, owner).scalars.values()
            if event.get("iter") == SINGLE_VALUE_ITERATION
        ]
        if values:
            tasks.append({"task": owner, "task_name": name, "values": values})
    return {"tasks": tasks}


def _latest(events: Iterable[Doc], count: int) -> list[Doc]:
    groups: dict[tuple[str, str], list[Doc]] = {}
    for event in events:
        groups.setdefault((event["metric"], event["variant"]), []).append(event)
    chosen = []
    for pair in sorted(groups):
        newest = sorted(groups[pair], key=lambda e: e.get("iter", 0), reverse=True)
        chosen.extend(newest[:count])
    return chosen


@endpoint("events.get_task_plots")
def get_task_plots(state: State, request: Request) -> Doc:
    """The latest plots of each title and series."""
    body = request.body
    _owner(state, request, body["task"])
    wanted = _wanted(request.body)
    found = _kept(state, body["task"]).plots.values()
    plots = [event for event in found if _is_wanted(event, wanted)]
    chosen = [] if body.get("scroll_id") else _latest(plots, body.get("iters") or 1)
    total = len(chosen)
    return {"plots": chosen, "returned": total, "total": total, "scroll_id": "end"}


@endpoint("events.debug_images")
def debug_images(state: State, request: Request) -> Doc:
    """Images of the latest iterations, and of earlier ones by scrolling."""
    body = request.body
    start = 0 if body.get("refresh") else int(body.get("scroll_id") or 0)
    end = start + (body.get("iters") or 1)
    wanted: dict[str, set[str | None]] = {}
    for item in body["metrics"]:
        wanted.setdefault(item["task"], set()).add(item.get("metric"))
    metrics = []
    for owner, titles in wanted.items():
        _owner(state, request, owner)
        by_iter: dict[int, list[Doc]] = {}
        for event in _kept(state, owner).images.values():
            if None in titles or event["metric"] in titles:
                by_iter.setdefault(event.get("iter", 0), []).append(event)
        chosen = sorted(by_iter, reverse=True)[start:end]
        iterations = [{"iter": i, "events": by_iter[i]} for i in chosen]
        metrics.append({"task": owner, "iterations": iterations})
    return {"metrics": metrics, "scroll_id": str(end)}


@endpoint("events.get_scalar_metrics_and_variants")
def get_scalar_metrics_and_variants(state: State, request: Request) -> Doc:
    """The titles and series of a task's curves."""
    _owner(state, request, request.body["task"])
    found: dict[str, set[str]] = {}
    for event in _kept(state, request.body["task"]).scalars.values():
        found.setdefault(event["metric"], set()).add(event["variant"])
    return {"metrics": {title: sorted(series) for title, series in found.items()}}
