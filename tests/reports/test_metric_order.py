"""The order of metrics and of tasks in tables and figures."""

from __future__ import annotations

import attrs
import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._reports.metric_order import best_first, metric_rank
from tests.support.report_page import METRICS, logged

pytestmark = pytest.mark.usefixtures("backend")


def test_metrics_that_say_who_is_best_come_first() -> None:
    """Among them those of validation, then as the vocabulary has them."""
    with TaskGroup("digits", "sweep", metrics=METRICS) as group:
        task = group.task({"C": 1})
        task.report({"speed": 1.0, "accuracy": 1.0, "loss": 1.0}, split="train")
        task.report({"speed": 1.0, "accuracy": 1.0, "loss": 1.0}, split="val")
    results = group.results()
    order = sorted(results.metric_keys, key=lambda key: metric_rank(results, key))
    assert list(map(str, order)) == [
        *("loss[split=val]", "accuracy[split=val]", "loss[split=train]", "accuracy[split=train]"),
        *("speed[split=val]", "speed[split=train]"),
    ]


@pytest.mark.parametrize(
    ("metrics", "order", "words"),
    [
        (["loss"], [1, 2, 3, 0], "least"),
        (["accuracy"], [3, 2, 1, 0], "greatest"),
        (["speed", "nobody has it", "loss"], [1, 2, 3, 0], "least"),
        (["speed"], [2, 0, 3, 1], None),
    ],
)
def test_the_best_tasks_come_first(metrics: list[str], order: list[int], words: str | None) -> None:
    """Those that do not count come last, in their order; so do all without a metric that tells."""
    results = logged(
        {"C": [2, 0, 3, 1]}, lambda params: dict.fromkeys(("loss", "accuracy", "speed"), params["C"])
    )
    rows = [attrs.evolve(row, status="failed" if row.params["C"] == 0 else "completed") for row in results]
    results = attrs.evolve(results, rows=tuple(rows))
    found, decisive = best_first(results, [MetricKey(metric, ()) for metric in metrics])
    assert [row.params["C"] for row in found] == order
    assert (decisive and decisive.order) == words
    assert decisive is None or decisive.metric_key == MetricKey(metrics[-1], ())
