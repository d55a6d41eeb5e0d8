"""Loading: results of earlier runs, from a server and from the records on this disk."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import attrs
import pytest

from clearml_taskgroup import Metric, Results, TaskGroup
from clearml_taskgroup._clearml import login, sdk
from clearml_taskgroup._results.rows import OF, Of
from clearml_taskgroup._storage.run_log import iterate
from clearml_taskgroup.errors import (
    ArgumentError,
    NoHistoryError,
    NoSuchResultError,
    NoSuchRunError,
    StoreWarning,
    VocabularyError,
)
from tests.loopback import LoopbackServer
from tests.support.server_view import View

METRICS = [Metric("loss", mode="min", unit="nats"), Metric("accuracy", mode="max", aliases=["acc"])]


def swept(project: str = "digits", **options: Any) -> TaskGroup:
    """Runs a sweep of six tasks, of which one fails and one is stopped."""
    with TaskGroup(project, "sweep", provenance=False, **options) as group:
        for task in group.sweep({"C": [1, 2], "seed": [0, 1, 2]}):
            for step in (0, 5, 10):
                value = float(task.params["C"] * 100 + task.params["seed"] * 10 + step)
                task.report({"loss": -value, "accuracy": value}, step, split="val")
            task.report({"accuracy": 0.5}, split="test")
            task.set_parameters({"found": 0.25, "late": None, "flag": True})
            if task.index == 1:
                task.mark_failed("out of memory")
            elif task.index == 2:
                task.mark_stopped("pruned")
    return group


def stats(results: Results) -> list[dict[Any, Any]]:
    """The counts of each row, in a form that can be compared."""
    return [{metric_key: attrs.asdict(counts) for metric_key, counts in row.stats.items()} for row in results]


def same_rows(loaded: Results, live: Results, *, counted: bool = True) -> None:
    """Checks that loaded rows are those that the group gave itself."""
    assert len(loaded) == len(live)
    for a, b in zip(loaded, live, strict=True):
        for field in ("key", "name", "index", "id", "attempt", "status", "status_reason", "params", "url"):
            assert getattr(a, field) == getattr(b, field), field
        assert a.duration == pytest.approx(b.duration, abs=1.0)
        assert a.stats.keys() == b.stats.keys()
        for metric_key in a.stats:
            one, other = attrs.asdict(a.stats[metric_key]), attrs.asdict(b.stats[metric_key])
            if not counted:
                for part in ("total", "count", "last_iteration"):
                    one.pop(part), other.pop(part)
            assert one == other


@pytest.mark.parametrize("metrics", [None, METRICS])
def test_offline_results_are_what_the_group_gave(metrics: Any) -> None:
    """Loaded from disk, the rows, the vocabulary and the curves are those that the group gave itself."""
    live = swept(mode="offline", metrics=metrics).results()
    loaded = TaskGroup.load("digits", "sweep", mode="offline")
    same_rows(loaded, live)
    assert (loaded.about, loaded.partial) == (
        attrs.evolve(live.about, started=loaded.about.started),
        False,
    )
    assert loaded.about.started == pytest.approx(live.about.started, abs=5)
    assert (
        loaded.history("accuracy", split="val").to_records()
        == live.history("accuracy", split="val").to_records()
    )
    if metrics is not None:
        assert loaded.best("acc", split="val") == live.best("acc", split="val")
        assert "loss[split=val] (nats)" in repr(loaded)


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


EACH = cast("tuple[Of, ...]", OF)
CURVE_AND_FINAL = {"first": 1.0, "last": 9.0, "min": 1.0, "max": 3.0, "mean": 2.0}


def finals(group: TaskGroup) -> None:
    """Reports a curve of 1, 2, 3 and a single value 9 under one name, in each order; and 9 alone."""
    for kind in ("curve, final", "final, curve", "between", "final alone"):
        with group.task(name=kind) as task:
            single: list[tuple[float, int | None]] = [(9.0, None)]
            curve: list[tuple[float, int | None]] = [(float(step + 1), step) for step in range(3)]
            reports = {"curve, final": curve + single, "final, curve": single + curve}
            reports |= {"between": curve[:1] + single + curve[1:], "final alone": single}
            for value, step in reports[kind]:
                task.report({"accuracy": value}, step, split="val")


@pytest.mark.parametrize("place", ["live", "record", "sessions", "server", "another machine"])
def test_a_single_value_is_the_last_word_on_its_curve(
    place: str, loopback: LoopbackServer, monkeypatch: Any, tmp_path: Path
) -> None:
    """It is `last`, and neither in the curve nor first, min, max, mean and count, wherever it is read."""
    mode: Any = "online" if place in ("server", "another machine") else "offline"
    with TaskGroup("digits", "finals", mode=mode, provenance=False) as group:
        finals(group)
    results = group.results()
    if place == "sessions":  # its process died
        record = group.record_path
        assert record is not None
        lines = [line for line in iterate(record) if line["event"] not in ("end", "close")]
        record.write_text("".join(json.dumps(line) + "\n" for line in lines))
    if place == "another machine":
        monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "another machine"))
    if place != "live":
        results = TaskGroup.load("digits", "finals", mode=mode)
    for row in results[:3]:
        assert {of: row.value("accuracy", of=of) for of in EACH} == CURVE_AND_FINAL
        (stats,) = row.stats.values()
        assert (stats.count, stats.last_iteration, stats.max_iteration) == (3, None, 2)
        assert row.history("accuracy").iterations == (0, 1, 2)
    alone = results[3]
    assert {alone.value("accuracy", of=of) for of in EACH} == {9.0}
    assert next(iter(alone.stats.values())).count == 1
    assert [curve.iterations for curve in results.history("accuracy")] == [(0, 1, 2)] * 3 + [(None,)]


def test_a_single_value_beside_a_curve_below_zero(loopback: LoopbackServer) -> None:
    """Iteration -1 is often the one before the training."""
    with TaskGroup("digits", "below zero", provenance=False) as group, group.task({"C": 1}) as task:
        for step, value in enumerate([3.0, 2.0, 1.0], start=-2):
            task.report({"loss": value}, step)
        task.report({"loss": 9.0})
    for results in (group.results(), TaskGroup.load("digits", "below zero")):
        assert results[0].history("loss").iterations == (-2, -1, 0)
        assert (results[0].value("loss", of="mean"), results[0].value("loss")) == (2.0, 9.0)


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


def test_which_run(loopback: LoopbackServer) -> None:
    """Without `run` it is the latest; else the one with that number, id, or the first digits of it."""
    for mode in ("online", "offline"):
        groups = [swept(mode=mode) for _ in range(2)]
        for run, expected in (
            (None, 1),
            (groups[0].run_number, 0),
            (groups[1].run_number, 1),
            (groups[0].run, 0),
            (groups[0].run[:8], 0),
        ):
            loaded = TaskGroup.load("digits", "sweep", run, mode=mode)
            assert loaded.about.run == groups[expected].run


def test_a_run_that_is_not_there(loopback: LoopbackServer) -> None:
    """What was looked at is told, and which runs there are."""
    group = swept(mode="offline")
    with pytest.raises(NoSuchRunError, match=r"run 7 of the group digits/sweep was not found") as caught:
        TaskGroup.load("digits", "sweep", 7)
    assert "the server" in str(caught.value)
    assert f"run 1 ({group.run[:12]})" in str(caught.value)
    with pytest.raises(NoSuchRunError, match=r"group digits/other was not found; .* has the groups sweep"):
        TaskGroup.load("digits", "other", mode="offline")
    for run in (True, 1.5):
        with pytest.raises(ArgumentError, match="run="):
            TaskGroup.load("digits", "sweep", run)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="mode="):
        TaskGroup.load("digits", "sweep", mode="disabled")  # type: ignore[arg-type]


def test_an_offline_run_is_found_beside_a_server(loopback: LoopbackServer) -> None:
    """What the server does not have is looked for on this disk, unless the mode was given."""
    swept(mode="offline")
    assert TaskGroup.load("digits", "sweep").about.mode == "offline"
    with pytest.raises(NoSuchRunError):
        TaskGroup.load("digits", "sweep", mode="online")


def test_an_online_run_from_its_record(loopback: LoopbackServer) -> None:
    """An online run's record has all but the curves, and says where they are."""
    live = swept(mode="online").results()
    loaded = TaskGroup.load("digits", "sweep", mode="offline")
    assert stats(loaded) == stats(live)
    with pytest.raises(NoHistoryError, match="mode='online'"):
        loaded.history("loss")


def test_a_run_under_way(loopback: LoopbackServer) -> None:
    """A run that another process works on is partial; its tasks' status is what it is."""
    for mode in ("online", "offline"):
        group = TaskGroup("digits", f"open {mode}", mode=mode, provenance=False).open()
        done, todo = group.tasks({"C": [1, 2]})
        done.report({"loss": 1.0}, 1)
        todo.report({"loss": 2.0}, 1)
        done.close()
        group.flush()
        loaded = TaskGroup.load("digits", f"open {mode}", mode=mode)
        assert [row.status for row in loaded] == ["completed", "in_progress"]
        assert loaded.partial
        assert [row.value("loss") for row in loaded] == [1.0, 2.0]
        group.close()
        assert not TaskGroup.load("digits", f"open {mode}", mode=mode).partial


def test_a_run_whose_process_died() -> None:
    """What a killed process has left: its open tasks were stopped, their values are in the sessions."""
    live = swept(mode="offline").results()
    record = next((sdk.cache_folder() / "taskgroup" / live.about.group_id).glob("run-*.jsonl"))
    lines = [line for line in iterate(record) if line["event"] not in ("end", "close")]
    record.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"event": "end", "id"')
    loaded = TaskGroup.load("digits", "sweep", mode="offline")
    assert {row.status for row in loaded} == {"stopped"}
    assert "abandoned" in loaded[0].status_reason
    assert stats(loaded) == stats(live)
    shutil.rmtree(sdk.cache_folder() / "offline")
    assert [dict(row.stats) for row in TaskGroup.load("digits", "sweep", mode="offline")] == [{}] * 6


def test_attempts(loopback: LoopbackServer) -> None:
    """After a resume each key is one row, that of its latest attempt."""
    for mode in ("online", "offline"):
        swept(mode=mode)
        with TaskGroup("digits", "sweep", mode=mode, provenance=False, resume=True) as group:
            for task in group.sweep({"C": [1, 2], "seed": [0, 1, 2]}):
                task.report({"accuracy": 9.0, "loss": 1.0}, 1, split="val")
                task.report({"accuracy": 0.5}, split="test")
        loaded = TaskGroup.load("digits", "sweep", mode=mode)
        assert [row.attempt for row in loaded] == [1, 2, 2, 1, 1, 1]
        assert [row.attempt for row in group.results()] == [1, 2, 2, 1, 1, 1]
        assert {row.status for row in loaded} == {"completed"}
        assert loaded[1].value("accuracy", split="val") == 9.0


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


def test_a_vocabulary_of_the_callers_own() -> None:
    """`metrics=` gives modes, units and aliases to a group that had none."""
    swept(mode="offline")
    loaded = TaskGroup.load("digits", "sweep", mode="offline", metrics=METRICS)
    assert loaded.best("acc", split="val").mode == "max"
    with pytest.raises(NoSuchResultError):
        loaded.best("speed")
    with pytest.raises(VocabularyError, match="bare string"):
        TaskGroup.load("digits", "sweep", mode="offline", metrics="loss")


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


def test_a_group_that_is_not_there(loopback: LoopbackServer, monkeypatch: Any, tmp_path: Path) -> None:
    """The project's other groups are named, on the server and on this disk, with the closest."""
    for name, mode in (("sweep", "online"), ("folds", "online"), ("models", "offline")):
        swept("digits", mode=mode) if name == "sweep" else None
        with TaskGroup("digits", name, mode=mode, provenance=False) as group:  # type: ignore[arg-type]
            group.task({"C": 1})
    with TaskGroup("letters", "other", mode="offline", provenance=False) as group:
        group.task({"C": 1})
    with pytest.raises(NoSuchRunError, match=r"groups folds, sweep, models \(did you mean 'sweep'\?\)"):
        TaskGroup.load("digits", "swep")
    with pytest.raises(NoSuchRunError, match=r"groups folds, models, sweep \(did you mean 'models'\?\)"):
        TaskGroup.load("digits", "model", mode="offline")
    with pytest.raises(NoSuchRunError, match=r"its project has no groups; there is: .*letters/other"):
        TaskGroup.load("numbers", "sweep")
    with pytest.raises(NoSuchRunError) as caught:
        TaskGroup.load("digits", "sweep", 9, mode="online")
    assert "groups" not in str(caught.value)
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "another machine"))
    with pytest.raises(NoSuchRunError, match=r"has the groups folds, sweep$"):
        TaskGroup.load("digits", "xyz", mode="online")


def test_a_project_without_a_name() -> None:
    """Project and name are two arguments, and the error says which they might be."""
    with pytest.raises(ArgumentError, match=r"name= was not given.*TaskGroup.load\('digits-user', 'sgd'\)"):
        TaskGroup.load("digits-user/sgd")
    with pytest.raises(ArgumentError, match=r"name= was not given.*TaskGroup.load\('digits', …\)"):
        TaskGroup.load("digits")


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
