"""What workers write into the run log: JSON that comes back as it was, and nothing that is unpickled."""

from __future__ import annotations

import base64
import json
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._model.downsample import CurveSample
from clearml_taskgroup._model.metric_data import MetricData
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._model.name_template import Name
from clearml_taskgroup._model.stats import Stats
from clearml_taskgroup._run.worker_counts import (
    WorkerCounts,
    counts_from_json,
    counts_to_json,
    merge,
    pack_error,
    unpack_error,
)
from clearml_taskgroup._storage.append_file import append_to
from clearml_taskgroup.errors import CarriedError
from clearml_taskgroup.testing import recording
from tests.loopback import LoopbackServer


class OwnError(Exception):
    """An exception that only its own module could read back."""


class Touches:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def through_json(counts: WorkerCounts) -> WorkerCounts:
    """What another process reads of counts."""
    return counts_from_json(json.loads(json.dumps(counts_to_json(counts))))


def test_the_empty_sample_of_a_single_value_comes_back() -> None:
    data = MetricData(Stats.of([(None, 0.5)]), (Name("Summary", "a"),), CurveSample())
    (again,) = through_json(WorkerCounts("completed", "", {}, {MetricKey("a", ()): data})).metrics.values()
    assert (again.stats.last, again.copy().sample) == (0.5, None)


def test_what_a_worker_counted_since_the_last_time_is_merged() -> None:
    """A worker that goes on with a task tells all that it has counted again; losses are told once."""
    with recording(), TaskGroup("the project", "the group") as group:
        task = group.task({"C": 1})
        run, state, key = group._opened(), task._state, MetricKey("loss", ())
        counts = WorkerCounts(None, params={"device": 0}, lost=2, trouble="the disk is full")
        counts.metrics = {key: MetricData(Stats.of([(0, 1.0)]), (Name("loss", "loss"),))}
        merge(run, state, counts)
        assert (state.is_open, state.uncounted, state.metrics[key].stats.count) == (True, False, 1)
        more = attrs.evolve(counts, metrics={key: MetricData(Stats.of([(0, 1.0), (1, 2.0)]))}, lost=3)
        merge(run, state, more, counts)
        merge(run, state, more, more)
        assert (state.metrics[key].stats.count, state.params["device"]) == (2, 0)
        assert [getattr(error, "points", None) for error in run.worker_log.troubles] == [2, 1]
        merge(run, state, WorkerCounts("failed", "the worker died", died=True))
        assert (state.status, state.reason, state.uncounted) == ("failed", "the worker died", True)
        run.worker_log.troubles.clear()


def test_counts_come_back_as_they_were() -> None:
    key, sample, stats = MetricKey("loss", (("fold", 1), ("split", "val"))), CurveSample(), Stats()
    for step in range(100):
        sample.add(step, step / 4)
        stats.add(step / 4, step)
    counts = WorkerCounts("failed", "bad", {"late": 1.5}, {key: MetricData(stats, (Name("a", "b"),), sample)})
    counts.metrics[key].skip(120)
    counts.lost, counts.trouble = 2, "no room"
    again = through_json(counts)
    (data,) = again.metrics.values()
    assert list(again.metrics) == [key]
    assert (attrs.asdict(data.stats), data.names) == (attrs.asdict(stats), (Name("a", "b"),))
    assert data.sample is not None
    assert data.sample.points == sample.points
    assert data.sample.add(100, 0.0) == sample.add(100, 0.0)
    assert (again.status, again.reason, again.params) == ("failed", "bad", {"late": 1.5})
    assert (data.skipped, data.skipped_at, data.single_skipped) == (1, 120, False)
    assert (again.lost, again.trouble, again.failure) == (2, "no room", None)


@pytest.mark.parametrize("error", [MemoryError("no room"), KeyError("x"), OSError(2, "gone"), ValueError()])
def test_an_exception_of_pythons_own_comes_back(error: Exception) -> None:
    again = through_json(WorkerCounts("failed", failure=pack_error(error, "the traceback"))).failure
    assert again is not None
    assert repr(unpack_error(*again)) == repr(error)
    assert again[2] == "the traceback"


@pytest.mark.parametrize("error", [OwnError("bad"), ValueError(OwnError), ValueError({"a": 1})])
def test_of_another_exception_the_text_comes_back(error: Exception) -> None:
    """No class is looked up, and no module imported, by a name in a file."""
    again = through_json(WorkerCounts("failed", failure=pack_error(error, "the traceback"))).failure
    assert again is not None
    carried = unpack_error(*again)
    assert type(carried) is CarriedError
    assert str(error) in str(carried)


@pytest.mark.parametrize("name", ["eval", "exec", "print", "open", "Warning.__class__", "", None])
def test_a_name_that_is_no_exception_is_not_called(name: str | None) -> None:
    stored = counts_to_json(WorkerCounts("failed"))
    failure = counts_from_json({**stored, "failure": [name, ["1/0"], "reason", "text"]}).failure
    assert failure == (None, "reason", "text")


def test_a_pickle_in_the_run_log_is_not_loaded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither as version 0.1 wrote it nor in the place of the counts; odd lines of workers are logged."""
    packed = base64.b64encode(pickle.dumps(Touches(tmp_path / "touched"))).decode()
    with TaskGroup("the project", "the group", mode="offline", provenance=False) as group:
        task = group.task({"seed": 0})
        pickle.dumps(task)  # from now on the run log is read
        assert group.record_path is not None
        line = {"event": "told", "guest": "w", "id": task.id, "key": task.key}
        odd: list[dict[str, Any]] = [{"facts": packed}, {"counts": packed}, {"counts": {"metrics": packed}}]
        odd += [{"counts": counts_to_json(WorkerCounts(None)) | {"samples": [[1, ["x"], []]]}}, {"key": []}]
        for fields in odd:
            append_to(group.record_path, (json.dumps({**line, **fields}) + "\n").encode())
        task.report({"loss": 1.0}, 1)
        assert group.results()[0].value("loss") == 1.0
    assert not (tmp_path / "touched").exists()
    assert len([record for record in caplog.records if "a line of a worker" in record.message]) == len(odd)


def modes_below(folder: Path) -> dict[str, int]:
    """The modes of all that is below a folder."""
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_what_a_run_leaves_is_its_owners_only(mode: Any, tmp_path: Path, loopback: LoopbackServer) -> None:
    """Run log, outbox and sessions can be read by nobody else, whatever the umask."""
    old = os.umask(0)
    try:
        with TaskGroup("the project", "the group", mode=mode, provenance=False) as group:
            task = group.task({"seed": 0})
            task.report({"loss": 1.0}, 1)
            task.set_parameters({"late": 1})
            group.flush()
            modes = modes_below(tmp_path / "cache")
    finally:
        os.umask(old)
    files = {
        name: mode for name, mode in modes.items() if (tmp_path / "cache" / name).is_file() or "." in name
    }
    assert {mode for name, mode in modes.items() if name not in files and name.count("/") >= 1} == {0o700}
    assert set(files.values()) == {0o600}
    suffixes = {Path(name).suffix for name in files}
    assert suffixes == {"offline": {".json", ".jsonl"}, "online": {".jsonl", ".outbox", ".sent"}}[mode]
