"""``last_metrics``: what a task remembers of each curve."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from .state import Doc, TaskEvents

MAX_PAIRS = 2_000
UNCOUNTED = frozenset({":monitor:machine", ":monitor:gpu"})
"""Titles of resource plots, whose iterations are seconds and not the task's own."""


@lru_cache(maxsize=65536)
def name_hash(name: str) -> str:
    """The key under which ``last_metrics`` keeps a title or a series."""
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()


class Fold:
    """What one request says about one curve.

    Inside a request the highest iteration is the last value, and among equal ones the
    latest time; from one request to the next, only the order of arrival counts.
    """

    __slots__ = (
        "count",
        "first",
        "first_iter",
        "label",
        "last",
        "last_iter",
        "last_time",
        "max",
        "max_iter",
        "min",
        "min_iter",
        "total",
    )

    def __init__(self, value: float, iteration: int, time: float) -> None:
        self.count = 1
        self.total: float = value
        self.first = self.last = self.min = self.max = value
        self.first_iter = self.last_iter = iteration
        self.min_iter = self.max_iter = iteration
        self.last_time = time
        self.label: str | None = None

    def add(self, value: float, iteration: int, time: float) -> None:
        """Take in one more point."""
        self.count += 1
        self.total += value
        if iteration > self.last_iter or (iteration == self.last_iter and time >= self.last_time):
            self.last, self.last_iter, self.last_time = value, iteration, time
        if iteration < self.first_iter:
            self.first, self.first_iter = value, iteration
        if value < self.min:
            self.min, self.min_iter = value, iteration
        if value > self.max:
            self.max, self.max_iter = value, iteration


Folds = dict[tuple[str, str], Fold]


def apply(task: Doc, events: TaskEvents, folds: Folds) -> None:
    """Bring a task's ``last_metrics`` up to date after one request.

    A pair past the 2,000th is dropped here without a word, though its events are kept.
    """
    for (title, series), fold in folds.items():
        pair = f"{title}/{series}"
        if pair not in events.pairs:
            if len(events.pairs) >= MAX_PAIRS:
                continue
            events.pairs.add(pair)
        variants = task["last_metrics"].setdefault(name_hash(title), {})
        known: dict[str, Any] | None = variants.get(name_hash(series))
        if known is None:
            variants[name_hash(series)] = _new_entry(title, series, fold)
        else:
            _update_entry(known, fold)


def _mean(total: float, count: int) -> float:
    # The server keeps two decimals, and works the next mean out from those.
    return round(total / count, 2)


def _new_entry(title: str, series: str, fold: Fold) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "metric": title,
        "variant": series,
        "value": fold.last,
        "first_value": fold.first,
        "first_value_iteration": fold.first_iter,
        "min_value": fold.min,
        "min_value_iteration": fold.min_iter,
        "max_value": fold.max,
        "max_value_iteration": fold.max_iter,
        "count": fold.count,
        "mean_value": _mean(fold.total, fold.count),
    }
    if fold.label is not None:
        entry["x_axis_label"] = fold.label
    return entry


def _update_entry(entry: dict[str, Any], fold: Fold) -> None:
    entry["value"] = fold.last
    if fold.min < entry["min_value"]:
        entry["min_value"], entry["min_value_iteration"] = fold.min, fold.min_iter
    if fold.max > entry["max_value"]:
        entry["max_value"], entry["max_value_iteration"] = fold.max, fold.max_iter
    total = entry["mean_value"] * entry["count"] + fold.total
    entry["count"] += fold.count
    entry["mean_value"] = _mean(total, entry["count"])
    if fold.label is not None:
        entry["x_axis_label"] = fold.label
