"""A task's document as a server gives it, read as a past task."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest

from clearml_taskgroup._clearml import documents
from clearml_taskgroup._clearml.documents import past_task, scalars_of_document, scalars_of_events
from clearml_taskgroup._clearml.events import SINGLE_VALUE_ITERATION
from clearml_taskgroup._clearml.hyperparameters import SECTION
from clearml_taskgroup._clearml.new_task import new_task_fields
from clearml_taskgroup._clearml.notes import NAMES_ENTRY, REOPENED_ENTRY, SERIES_ENTRY
from clearml_taskgroup._clearml.tasks import WATCHDOG_REASON
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._model.name_template import Name, NameTemplate
from clearml_taskgroup._model.past import PastTask
from clearml_taskgroup._model.stats import Stats
from clearml_taskgroup._model.status import ABANDONED
from tests.support.stored_tasks import RUN, SPEC

TEMPLATE = NameTemplate("{metric}/{split=value}")
STARTED, ENDED, UPDATED = (f"2026-01-01T00:00:{second:02}+00:00" for second in (10, 14, 12))


def document(*, run: Any = RUN, spec: Any = SPEC, **fields: Any) -> dict[str, Any]:
    """A task's document: as a group creates the task, and with these fields."""
    return {"id": "t1", "status": "completed", **new_task_fields(run, spec), **fields}


def read(**fields: Any) -> PastTask:
    """The past task of such a document."""
    return past_task(document(**fields), TEMPLATE)


def test_a_task_has_the_identity_and_the_parameters_that_it_was_created_with() -> None:
    spec = attrs.evolve(SPEC, key="k7", name="C=7", index=6, attempt=3, params={"C": 7})
    task = read(spec=spec, started=STARTED, completed=ENDED)
    assert (task.id, task.key, task.name, task.index, task.attempt) == ("t1", "k7", "C=7", 6, 3)
    assert (task.params, task.duration, task.process, task.session) == ({"C": 7}, 4.0, "", 0)
    shared = read(run=attrs.evolve(RUN, shared="night", process="p1", session=2))
    assert (shared.process, shared.session) == ("p1", 2)


def test_without_an_identity_a_task_is_the_first_attempt() -> None:
    """As one whose section somebody has removed."""
    task = past_task({"id": 1, "status": "completed"}, TEMPLATE)
    assert (task.id, task.key, task.name, task.index, task.attempt) == ("1", "", "", 0, 1)
    assert (task.params, task.metrics, task.was_completed, task.submitted) == ({}, {}, False, "")


@pytest.mark.parametrize(
    ("fields", "duration"),
    [
        ({"started": STARTED, "completed": ENDED, "last_update": UPDATED}, 4.0),
        ({"started": STARTED, "last_update": UPDATED}, 2.0),
        ({"started": STARTED}, 0.0),
        ({"completed": ENDED}, 0.0),
    ],
)
def test_how_long_a_task_took(fields: dict[str, str], duration: float) -> None:
    """Until its end, or its last update if it has none; nothing if it was never started."""
    assert documents.duration_of(fields) == duration


@pytest.mark.parametrize(
    ("fields", "status", "reason", "delivered"),
    [
        ({"status": "completed"}, "completed", "", True),
        ({"status": "published", "status_reason": None}, "completed", "", True),
        ({"status": "failed", "status_reason": "why"}, "failed", "why", True),
        ({"status": "in_progress", "status_reason": "why"}, "stopped", ABANDONED, False),
        ({"status": "stopped", "status_reason": WATCHDOG_REASON}, "stopped", WATCHDOG_REASON, True),
    ],
)
def test_how_a_task_ended(fields: dict[str, Any], status: str, reason: str, delivered: bool) -> None:
    """One that is open was left by its process, and the server does not have its end."""
    task = read(**fields)
    assert (task.status, task.reason, task.delivered) == (status, reason, delivered)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"status": "in_progress"}, "completed"),
        ({"status": "stopped", "status_reason": WATCHDOG_REASON}, "completed"),
        ({"status": "stopped", "status_reason": "enough"}, "stopped"),
        ({"status": "failed", "status_reason": "why"}, "failed"),
    ],
)
def test_a_reopened_task_that_its_process_left_counts_as_completed(
    fields: dict[str, str], status: str
) -> None:
    """The server's watchdog has stopped it as silent; nobody else has."""
    task = read(runtime={REOPENED_ENTRY: "1"}, **fields)
    assert task.was_completed is True
    assert (task.status, task.delivered) == (status, status != "completed")
    assert read(runtime={REOPENED_ENTRY: ""}, **fields).was_completed is False


def test_a_task_that_an_agent_has_is_open() -> None:
    """Nobody has left it; it says from which sweep it was submitted."""
    queued = read(spec=attrs.evolve(SPEC, queue="gpu", sweep="map 0"), status="in_progress")
    assert (queued.status, queued.reason, queued.submitted) == (None, "", "map 0")
    assert read(spec=attrs.evolve(SPEC, queue="gpu"), status="queued").submitted == ""
    assert read(spec=attrs.evolve(SPEC, sweep="0")).submitted == ""


# --- metrics -----------------------------------------------------------------------------------


def last(title: str, series: str, value: float | None, **more: Any) -> dict[str, dict[str, Any]]:
    """What a document says of one name."""
    entry = {"metric": title, "variant": series, "value": value, **more}
    return {f"hash of {title}": {f"hash of {series}": entry}}


def test_metrics_are_read_by_the_template() -> None:
    """Without those of ClearML's monitor, and names that the template cannot have given."""
    names = {
        **last("loss", "val", 0.5),
        **last(":monitor:gpu", "0", 1.0),
        **last("no series here", "", 1.0),
        **last("Summary", "best/value", 2.0, min_value_iteration=SINGLE_VALUE_ITERATION),
    }
    metrics = read(last_metrics=names).metrics
    assert set(metrics) >= {MetricKey("loss", (("split", "val"),))}
    data = metrics[MetricKey("loss", (("split", "val"),))]
    assert (data.stats.last, data.names) == (0.5, (Name("loss", "val"),))
    (single,) = [each.stats for key, each in metrics.items() if key.metric == "best"]
    assert (single.last, single.single) == (2.0, True)
    assert not any(key.metric.startswith(":monitor:") for key in metrics)


def test_a_name_that_stands_for_another_metric_is_read_as_that_one() -> None:
    """The entry of the section says so; without a template, an edited entry is ignored."""
    named = '[["loss", "1", "loss", {"split": "1"}]]'
    section = new_task_fields(RUN, SPEC)["hyperparams"]
    section[SECTION] = {**section[SECTION], NAMES_ENTRY: {"value": named}}
    (key,) = read(hyperparams=section, last_metrics=last("loss", "1", 0.5)).metrics
    assert dict(key.context) == {"split": "1"}
    section[SECTION][NAMES_ENTRY] = {"value": "{edited"}
    task = read(hyperparams=section, last_metrics=last("loss", "x", 0.5))
    assert (task.ambiguous, len(task.metrics)) == ({}, 1)


def test_skipped_values_are_read_from_the_notes() -> None:
    notes = '{"skipped": [["loss", {"split": "val"}, 2, 7, false, 5]], "unordered": []}'
    task = read(runtime={SERIES_ENTRY: notes}, last_metrics=last("loss", "val", 0.5))
    (data,) = task.metrics.values()
    assert (data.skipped, data.skipped_at, data.stats.end) == (2, 7, 5)


def test_the_statistics_of_a_document() -> None:
    """The last iteration is the highest that is known of; the sum is not known at all."""
    more = {"count": 3, "first_value": 4.0, "min_value": 1.0, "max_value": 4.0}
    at = {"first_value_iteration": 0, "min_value_iteration": 9, "max_value_iteration": 2}
    ((name, stats),) = scalars_of_document({"last_metrics": last("loss", "val", 2.0, **more, **at)})
    assert name == Name("loss", "val")
    assert (stats.first, stats.last, stats.min, stats.max) == (4.0, 2.0, 1.0, 4.0)
    assert (stats.first_iteration, stats.min_iteration, stats.max_iteration, stats.end) == (0, 9, 2, 9)
    assert (stats.count, math.isnan(stats.total), stats.single) == (3, True, False)


@pytest.mark.parametrize(("count", "read_as"), [(None, 1), (0, 1), (1, 1), (2.0, 2)])
def test_a_document_of_an_older_server(count: Any, read_as: int) -> None:
    """What it does not say is that of the last value; there was at least that one."""
    ((_, stats),) = scalars_of_document({"last_metrics": last("loss", "val", 2.0, count=count)})
    assert (stats.first, stats.min, stats.max, stats.count, stats.end) == (2.0, 2.0, 2.0, read_as, 0)
    assert stats.first_iteration is None


@pytest.mark.parametrize(
    ("title", "at", "single"),
    [
        ("Summary", SINGLE_VALUE_ITERATION, True),
        ("Summary", 0, False),
        ("loss", SINGLE_VALUE_ITERATION, False),
    ],
)
def test_a_single_value_has_the_title_and_the_iteration_of_one(title: str, at: int, single: bool) -> None:
    ((_, stats),) = scalars_of_document({"last_metrics": last(title, "a", 2.0, min_value_iteration=at)})
    assert stats.single is single


def test_a_name_without_a_value_is_skipped() -> None:
    """As are no names at all; the others are read."""
    assert scalars_of_document({}) == scalars_of_document({"last_metrics": None}) == []
    names = {**last("loss", "val", None), **last("accuracy", "val", 0.0)}
    assert [name.title for name, _ in scalars_of_document({"last_metrics": names})] == ["accuracy"]


def test_the_statistics_of_events() -> None:
    """Of each name in the order of its first event; other events are skipped."""

    def event(series: str, iteration: int, value: float) -> dict[str, Any]:
        kind = {"type": "training_stats_scalar", "metric": "loss", "variant": series}
        return {**kind, "iter": iteration, "value": value}

    events = [event("a", 0, 3.0), {"type": "log"}, event("b", 5, 7.0), event("a", 1, 1.0)]
    (a, of_a), (b, of_b) = scalars_of_events(events)
    assert (a, b) == (Name("loss", "a"), Name("loss", "b"))
    expected = Stats.of([(0, 3.0), (1, 1.0)])
    assert (of_a.first, of_a.last, of_a.count, of_a.end) == (3.0, 1.0, 2, expected.end)
    assert (of_b.last, of_b.count) == (7.0, 1)
    assert scalars_of_events([]) == []
