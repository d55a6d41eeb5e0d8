"""Results of earlier runs from a server, with and without the run's log."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml import login
from clearml_taskgroup._model.metric_data import MetricData
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._model.past import PastTask
from clearml_taskgroup._model.stats import Stats
from clearml_taskgroup._results.loading_online import _add_logged, _in_order
from clearml_taskgroup.errors import NoSuchRunError, StoreWarning
from tests.loopback import LoopbackServer
from tests.support.rows import LOSS, VAL_LOSS, lookup, metric_key
from tests.support.server_view import View
from tests.support.swept import METRICS, same_rows, stats, swept


def test_online_results_are_what_the_group_gave(server: View) -> None:
    """Loaded from a server, with the record of the run at hand, nothing is missing."""
    live = swept(server.project, metrics=METRICS).results()
    loaded = TaskGroup.load(server.project, "sweep")
    same_rows(loaded, live)
    assert (loaded.about.mode, loaded.about.run, loaded.about.run_number) == ("online", live.about.run, 1)
    assert loaded.about.url == live.about.url
    assert loaded.best("accuracy", split="val").name == "C=2,seed=2"


def test_online_results_on_another_machine(server: View, monkeypatch: Any, tmp_path: Path) -> None:
    """Without the run's record, mean and count are not the server's own but counted from the events."""
    group = swept(server.project, metrics=METRICS)
    live = group.results()
    for row in live:
        server.scalars(row.id, 7)
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "another machine"))
    loaded = TaskGroup.load(server.project, "sweep")
    same_rows(loaded, live, counted=False)
    record = loaded.to_records()[0]
    assert (record["accuracy[split=val].mean"], record["accuracy[split=val].count"]) == (None, None)
    assert loaded[0].value("accuracy", split="val", of="mean") == 105.0
    best = loaded.best("accuracy", split="val", of="mean")
    assert (best.value, best.name) == (225.0, "C=2,seed=2")
    means = loaded.aggregate(over="seed", of="mean")
    assert means.best("accuracy", split="val").value == 215.0
    assert loaded.best("accuracy", split="test", of="mean").value == 0.5
    assert loaded[0].stats[loaded.find("accuracy", split="val")].last_iteration == 10
    assert loaded[0].history("accuracy", split="val").iterations == (0, 5, 10)
    assert loaded[0].history("accuracy", split="test").iterations == (None,)


def test_mean_and_count_after_a_resend(loopback: LoopbackServer, monkeypatch: Any, tmp_path: Path) -> None:
    """A point that reached the server twice counts once, whatever the server's own mean says."""
    with TaskGroup("digits", "sweep", provenance=False) as group, group.task({"C": 1}) as task:
        task.report({"loss": 1.0}, 0)
        task.report({"loss": 4.0}, 1)
    from clearml_taskgroup._clearml.api import Transport

    event = {"type": "training_stats_scalar", "task": task.id, "metric": "loss", "variant": "value"}
    lines = [json.dumps({**event, "value": 4.0, "iter": 1, "timestamp": 1})]
    Transport(login.connect()).call("events.add_batch", lines=lines, timeout=5)
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "another machine"))
    row = TaskGroup.load("digits", "sweep")[0]
    assert (row.value("loss", of="mean"), row.stats["loss", ()].count) == (2.5, 2)


@pytest.mark.slow
def test_a_thousand_tasks_take_five_calls(loopback: LoopbackServer) -> None:
    """A group of 1,000 tasks is loaded by five calls, the login among them."""
    with TaskGroup("digits", "sweep", provenance=False) as group:
        for task in group.tasks({"C": range(1000)}):
            task.report({"loss": 1.0, "accuracy": 2.0}, 1)
    before = len(loopback.calls)
    results = TaskGroup.load("digits", "sweep")
    assert len(results) == 1000
    assert len(loopback.calls) - before <= 5


def test_copies_are_left_out(server: View) -> None:
    """A copy made in the web page is no row of the run, unless it is asked for."""
    group = swept(server.project)
    server.call("tasks.clone", task=group.get(C=1, seed=0).id, new_task_name="a copy")
    assert len(TaskGroup.load(server.project, "sweep")) == 6
    with_copies = TaskGroup.load(server.project, "sweep", copies=True)
    assert sorted(row.status for row in with_copies)[:1] == ["completed"]
    assert len(with_copies) == 7


def test_an_uploaded_run(loopback: LoopbackServer) -> None:
    """A run that was uploaded is loaded from the server, its counts from its own record."""
    group = swept(mode="offline")
    live = group.results()
    TaskGroup.upload(group.run)
    loaded = TaskGroup.load("digits", "sweep", mode="online")
    assert [(row.key, row.status) for row in loaded] == [(row.key, row.status) for row in live]
    assert stats(loaded) == stats(live)
    assert loaded.history("accuracy", split="val")[0].values == (100.0, 105.0, 110.0)


def test_without_a_record(loopback: LoopbackServer, monkeypatch: Any) -> None:
    """A run that could write no record is loaded from the server like any other."""
    from clearml_taskgroup._storage.run_log import RunLog
    from clearml_taskgroup.errors import StoreError

    def refuse(folder: Path) -> RunLog:
        raise StoreError(str(folder), "no space")

    with monkeypatch.context() as patched:
        patched.setattr(RunLog, "start", refuse)
        with pytest.warns(StoreWarning):
            swept(mode="online")
    assert len(TaskGroup.load("digits", "sweep")) == 6


def test_the_same_columns_from_everywhere(loopback: LoopbackServer, monkeypatch: Any, tmp_path: Path) -> None:
    """Files have the same columns in the same order from disk and from a server, also without a record."""
    with TaskGroup("digits", "sweep", provenance=False, mode="online") as group:
        for task in group.tasks({"seed": [1, 2], "C": [1]}):
            with task:
                task.report({"z": 1.0, "loss": 2.0}, 0, split="val")
                task.report({"loss": 3.0}, 1, split="val")
                task.report({"loss": 3.0}, 0, split="train")
                task.set_parameters({"late": 1, "a": 2})
    live = group.results()
    disk = TaskGroup.load("digits", "sweep", mode="offline")
    server = TaskGroup.load("digits", "sweep")
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "another machine"))
    alone = TaskGroup.load("digits", "sweep")
    columns = live.to_csv().splitlines()[0]
    for loaded in (disk, server, alone):
        assert loaded.to_csv().splitlines()[0] == columns
        assert list(loaded.to_records()[0]) == list(live.to_records()[0])
    assert [row.duration for row in server] == [row.duration for row in disk]
    assert repr(server) == repr(live)
    assert alone.measures == [("loss", (("split", "train"),)), ("loss", (("split", "val"),)), ("z", VAL)]
    before = alone.to_records()[0]
    assert [before[f"loss[split=val].{part}"] for part in ("mean", "count", "last_iteration")] == [None] * 3
    for record, expected in zip(alone.with_means().to_records(), live.to_records(), strict=True):
        assert {**record, "duration": 0} == {**expected, "duration": 0}


VAL = (("split", "val"),)


def test_no_connection_stays_open(loopback: LoopbackServer) -> None:
    """Loading and each reading of curves close what they open, also where no run is found."""
    group = swept()
    connected = loopback._api._open
    wait_until(lambda: not connected)
    results = TaskGroup.load("digits", group.name)
    wait_until(lambda: not connected)
    for _ in range(2):
        assert len(results.history("loss", split="val")) == len(results)
        wait_until(lambda: not connected)
    with pytest.raises(NoSuchRunError):
        TaskGroup.load("digits", group.name, run=99, mode="online")
    wait_until(lambda: not connected)


def wait_until(holds: Callable[[], bool]) -> None:
    """Waits for the threads of the server."""
    deadline = time.monotonic() + 10
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holds()


def past(values: Mapping[MetricKey, Sequence[float]], **options: Any) -> PastTask:
    """A task of an earlier run."""
    metrics = {key: MetricData(Stats.of(list(enumerate(listed)))) for key, listed in values.items()}
    return PastTask("id", "key", "name", 0, 1, {}, metrics=metrics, **options)


@pytest.mark.parametrize(
    ("logged", "exact", "taken"),
    [
        ([1, 3, 2], True, True),
        ([1, 3, 2], False, False),
        ([0.5, 3, 2], True, False),
        ([1, 2, 2], True, False),
        ([1, 3, 4], True, False),
        ([1, 3, 0, 2], True, False),
    ],
)
def test_statistics_of_the_run_log_are_taken_where_both_agree(
    logged: list[float], exact: bool, taken: bool
) -> None:
    """They have mean and count; another machine may have continued the task."""
    task, own = past({LOSS: [1, 3, 2]}), past({LOSS: logged, VAL_LOSS: [1]})
    own.metrics[LOSS].stats.exact = exact
    _add_logged(task, own)
    assert (task.metrics[LOSS].stats is own.metrics[LOSS].stats) == taken
    assert list(task.metrics) == [LOSS]


@pytest.mark.parametrize(
    ("status", "logged", "duration"),
    [("completed", "completed", 5.0), ("completed", "failed", 7.0), ("failed", None, 7.0)],
)
def test_the_duration_of_the_run_log_is_taken_if_the_status_is_the_same(
    status: Any, logged: Any, duration: float
) -> None:
    """Values that an open task has skipped are added, as the server does not have them yet."""
    task = past({LOSS: [1]}, status=status, duration=7.0)
    own = past({LOSS: [1]}, status=logged, duration=5.0)
    own.metrics[LOSS].skip(3)
    own.metrics[LOSS].stats.exact = False
    _add_logged(task, own)
    assert task.duration == duration
    assert task.metrics[LOSS].skipped == (logged is None)


def test_metrics_are_in_the_order_of_the_run_log() -> None:
    """Others follow by their names; without a run log all are sorted."""
    x = metric_key("x")
    there = past({x: [1], VAL_LOSS: [1], LOSS: [1]}).metrics
    for logged, expected in (
        (past({x: [1], metric_key("y"): [1]}), [x, LOSS, VAL_LOSS]),
        (None, [LOSS, VAL_LOSS, x]),
    ):
        found = _in_order(there, logged, lookup())
        assert list(found) == expected
        assert found == there
