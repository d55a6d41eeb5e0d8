"""The metrics in the lines of a run log."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clearml_taskgroup._model.metric_data import MetricData, metrics_to_json
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._model.name_template import Name
from clearml_taskgroup._model.stats import Stats
from clearml_taskgroup._storage.logged_metrics import MetricsReader

LOSS, FLAG = MetricKey("loss", (("split", "val"),)), MetricKey("loss", (("flag", (True,)),))
DATA = MetricData(Stats.of([(0, 1.0), (1, 0.5)]), (Name("loss", "val"),))
SKIPPED = MetricData(Stats.of([(0, 1.0)]), (Name("loss", "val"),), None, 2, 7)


def line_of(metrics: dict[MetricKey, MetricData]) -> Any:
    return json.loads(json.dumps(metrics_to_json(metrics)))


@pytest.mark.parametrize("metrics", [{}, {LOSS: DATA}, {LOSS: DATA, FLAG: DATA}, {FLAG: SKIPPED, LOSS: DATA}])
def test_what_was_written_is_read_also_after_other_lines(metrics: dict[MetricKey, MetricData]) -> None:
    reader = MetricsReader()
    for written in (metrics, {LOSS: DATA}, metrics, {FLAG: DATA, LOSS: SKIPPED}, metrics):
        read = reader.read(line_of(written))
        assert read is not None
        assert [*read] == [*written]
        assert line_of(read) == line_of(written)


def test_tasks_share_the_keys_and_names_of_the_same_metrics() -> None:
    reader = MetricsReader()
    first, second = reader.read(line_of({LOSS: DATA})), reader.read(line_of({LOSS: DATA}))
    assert first is not None
    assert second is not None
    assert next(iter(first)) is next(iter(second))
    assert first[LOSS].names is second[LOSS].names
    assert first[LOSS].stats is not second[LOSS].stats


def test_contexts_that_are_equal_in_python_stay_different() -> None:
    """1, 1.0 and True are equal; only what has the same text is the same context."""
    reader = MetricsReader()
    for value in (1, True, 1.5, "1", 1, [True]):
        read = reader.read([["loss", {"k": value}, DATA.stats.to_json(), []]])
        assert read is not None
        ((key, _),) = read.items()
        stored = tuple(value) if isinstance(value, list) else value
        assert repr(key) == repr(MetricKey("loss", (("k", stored),)))


def test_a_curve_and_a_single_value_of_one_key_are_one_metric() -> None:
    """Earlier versions wrote them as two entries."""
    single = MetricData(Stats.of([(None, 7.0)]), (Name("Summary", "loss"),))
    read = MetricsReader().read([*line_of({LOSS: DATA}), *line_of({LOSS: single})])
    assert read is not None
    assert [*read] == [LOSS]
    assert (read[LOSS].stats.last, read[LOSS].stats.count, len(read[LOSS].names)) == (7.0, 2, 2)


@pytest.mark.parametrize(
    "entries",
    [
        *(None, {}, [1], [[]]),
        *([["loss", {}, [1.0], [], None, 1]], [["loss", [], [1.0], []]], [["loss", {}, "1.0", []]]),
    ],
)
def test_anything_else_is_refused(entries: Any) -> None:
    reader = MetricsReader()
    assert reader.read(line_of({LOSS: DATA})) is not None
    assert reader.read(entries) is None
