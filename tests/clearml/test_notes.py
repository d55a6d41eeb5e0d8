"""What is stored of a task beside its events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clearml_taskgroup._clearml import notes
from clearml_taskgroup._model.metric_data import MetricData
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._model.name_template import Name
from clearml_taskgroup._model.stats import Stats

LOSS = MetricKey("loss", (("split", "val"),))
ACCURACY = MetricKey("accuracy", ())


def test_ambiguous_names_are_read_back() -> None:
    names = {Name("loss", "1"): MetricKey("loss", (("split", 1),)), Name("a", "b"): ACCURACY}
    assert notes.names_from_json(json.loads(json.dumps(notes.names_to_json(names)))) == names


@pytest.mark.parametrize(
    "entries",
    [
        None,
        {},
        "text",
        5,
        [5],
        [None],
        ["text"],
        [["a", "b", "c"]],
        [["a", "b", "c", None]],
        [["a", "b", "c", 5]],
    ],
)
def test_names_that_were_edited_are_ignored(entries: Any) -> None:
    """Those beside them are read."""
    assert notes.names_from_json(entries) == {}
    if isinstance(entries, list):
        entries = [*entries, ["loss", "x", "loss", {}]]
        assert list(notes.names_from_json(entries)) == [Name("loss", "x")]


def curve(*iterations: int, **skipped: Any) -> MetricData:
    """The data of a curve with these iterations."""
    return MetricData(Stats.of([(at, 1.0) for at in iterations]), (Name("loss", "val"),), **skipped)


def test_a_task_whose_curves_are_as_the_server_has_them_needs_no_note() -> None:
    assert notes.series_text({}) == ""
    assert notes.series_text({LOSS: curve(0, 1), ACCURACY: MetricData()}) == ""


def test_skipped_values_are_read_back() -> None:
    """With the highest iteration of the values that were stored, which a server does not say."""
    data = curve(0, 4, skipped=2, skipped_at=7, single_skipped=True)
    text = notes.series_text({LOSS: data, ACCURACY: curve(0, 1)})
    assert json.loads(text)["unordered"] == []
    read = {LOSS: curve(0)}
    notes.add_series_notes(read, text)
    assert list(read) == [LOSS]
    found = read[LOSS]
    assert (found.skipped, found.skipped_at, found.single_skipped, found.stats.end) == (2, 7, True, 4)
    assert (found.stats.exact, found.stats.ordered) == (True, True)


def test_a_metric_whose_values_were_all_skipped_is_added() -> None:
    text = notes.series_text({LOSS: MetricData(skipped=1, skipped_at=3)})
    read: dict[MetricKey, MetricData] = {}
    notes.add_series_notes(read, text)
    assert (read[LOSS].skipped, read[LOSS].skipped_at, read[LOSS].stats.end) == (1, 3, None)


def test_curves_out_of_order_are_not_exact() -> None:
    """Those are named by title and series; others stay exact."""
    text = notes.series_text({LOSS: curve(1, 0), ACCURACY: MetricData(names=(Name("accuracy", "a"),))})
    assert json.loads(text) == {"skipped": [], "unordered": [["loss", "val"]]}
    other = MetricData(Stats.of([(0, 1.0)]), (Name("accuracy", "a"),))
    read = {LOSS: curve(0, 1), ACCURACY: other}
    notes.add_series_notes(read, text)
    assert [(data.stats.exact, data.stats.ordered) for data in read.values()] == [
        (False, False),
        (True, True),
    ]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{edited",
        "5",
        "[]",
        "{}",
        '{"unordered": [], "skipped": 5}',
        '{"unordered": [5], "skipped": []}',
        '{"unordered": [], "skipped": [["loss"]]}',
        '{"unordered": [["loss", "val"]]}',
    ],
)
def test_notes_that_were_edited_are_ignored(text: Any) -> None:
    read = {LOSS: curve(0, 1)}
    notes.add_series_notes(read, text)
    assert (read[LOSS].stats.ordered, read[LOSS].skipped) == (True, 0)


def test_a_skipped_entry_is_read_back() -> None:
    data = MetricData(skipped=2, skipped_at=7, single_skipped=True)
    key, read = notes.skipped_from_json(json.loads(json.dumps(notes.skipped_to_json(LOSS, data))))
    assert (key, read.skipped, read.skipped_at, read.single_skipped) == (LOSS, 2, 7, True)
