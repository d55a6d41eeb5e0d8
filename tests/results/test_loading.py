"""Loading: results of earlier runs, from a server and from the records on this disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, cast

import attrs
import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._results.loading import Wanted, load_other_run, load_run_log
from clearml_taskgroup._results.rows import OF, Of
from clearml_taskgroup._storage.run_log import iterate
from clearml_taskgroup.errors import (
    ArgumentError,
    NoHistoryError,
    NoSuchResultError,
    NoSuchRunError,
    VocabularyError,
)
from tests.loopback import LoopbackServer
from tests.support.swept import METRICS, same_rows, stats, swept


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


def test_a_vocabulary_of_the_callers_own() -> None:
    """`metrics=` gives modes, units and aliases to a group that had none."""
    swept(mode="offline")
    loaded = TaskGroup.load("digits", "sweep", mode="offline", metrics=METRICS)
    assert loaded.best("acc", split="val").mode == "max"
    with pytest.raises(NoSuchResultError):
        loaded.best("speed")
    with pytest.raises(VocabularyError, match="bare string"):
        TaskGroup.load("digits", "sweep", mode="offline", metrics="loss")


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


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (None, "the group digits/sweep"),
        (3, "run 3 of the group digits/sweep"),
        ("3", "the run 3 of the group digits/sweep"),
    ],
)
def test_what_is_wanted_in_words(run: Any, text: str) -> None:
    assert str(Wanted("digits", "sweep", "0" * 12, run)) == text


def test_the_run_before(loopback: LoopbackServer) -> None:
    """Or another one: where the known run is, else where ClearML's setting says, or only in a given place."""
    online = swept(mode="online")
    first, second = (swept(mode="offline").results().about for _ in range(2))
    assert load_other_run(second, None).about.run == first.run
    assert load_other_run(second, first.run).about.run == first.run
    assert load_other_run(second, online.run).about.run == online.run
    assert load_other_run(second, online.run, "online").about.mode == "online"
    there = online.results().about
    assert load_other_run(there, first.run).about.run == first.run
    assert load_other_run(there, online.run).about.where == there.where  # not from its log on this disk
    assert load_other_run(attrs.evolve(there, run_number=2), None).about.run == online.run
    with pytest.raises(NoSuchRunError):
        load_other_run(second, first.run, "online")
    with pytest.raises(ArgumentError, match=r"digits/sweep, run 1 is the group's first one"):
        load_other_run(attrs.evolve(second, run_number=1), None)


def test_a_run_log_is_loaded_by_its_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also by a relative one; it has the curves if the sessions are where they were."""
    group = swept(mode="offline")
    path = group.record_path
    assert path is not None
    monkeypatch.chdir(path.parent)
    for one in (path, Path(path.name)):
        loaded = load_run_log(one)
        same_rows(loaded, group.results())
        assert loaded.history("accuracy", split="val")[0].values == (100.0, 105.0, 110.0)
        assert loaded.about == attrs.evolve(group.results().about, started=loaded.about.started)
    other = tmp_path / "other.txt"
    other.write_text("no run log")
    with pytest.raises(NoSuchRunError, match=r"other\.txt"):
        load_run_log(other)


def test_a_text_that_is_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is also looked for as an absolute one, as a script may have made it."""
    monkeypatch.chdir(tmp_path)
    with TaskGroup("digits", "sweep", mode="offline", provenance=False, run=str(tmp_path / "a/b")) as group:
        group.task({"C": 1})
    assert TaskGroup.load("digits", "sweep", "a/b", mode="offline").about.run == group.run
    for missing in ("a/c", "b"):
        with pytest.raises(NoSuchRunError, match=f"the run {missing} of the group"):
            TaskGroup.load("digits", "sweep", missing, mode="offline")
