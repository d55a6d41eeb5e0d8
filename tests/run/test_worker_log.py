"""Lines of workers in the run log: who is waited for, what is merged, and what is passed over."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, Name, TaskGroup
from clearml_taskgroup._model.metric_data import MetricData
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._model.stats import Stats
from clearml_taskgroup._run import worker_log as _worker_log
from clearml_taskgroup._run.worker_counts import WorkerCounts
from clearml_taskgroup._run.worker_log import WorkerLog, lives, write_begin, write_counts, write_names
from clearml_taskgroup._storage.append_file import append_to
from clearml_taskgroup._storage.run_log import iterate
from clearml_taskgroup.testing import recording
from tests.support.runs import Place

LOSS = MetricKey("loss", ())


class Clock:
    """In place of the module `time`: only pauses make it later."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses = 0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses += 1


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_worker_log, "time", clock)
    return clock


@pytest.fixture
def group() -> Iterator[TaskGroup]:
    with Place().group() as group:
        yield group


@pytest.fixture
def tasks(group: TaskGroup) -> list[GroupTask]:
    return list(group.tasks({"seed": range(2)}))


@pytest.fixture
def path(group: TaskGroup) -> Path:
    assert group.record_path is not None
    return group.record_path


@pytest.fixture
def log(group: TaskGroup, tasks: list[GroupTask]) -> WorkerLog:
    """The log of a run whose tasks workers may have."""
    run = group._run
    assert run is not None
    run.worker_log.expect(run)
    return run.worker_log


def merge(group: TaskGroup, timeout: float = 0.0) -> None:
    assert group._run is not None
    group._run.worker_log.merge(group._run, timeout)


def counts(*values: float, **fields: Any) -> WorkerCounts:
    stats = Stats.of(list(enumerate(values)))
    return WorkerCounts(fields.pop("status", None), metrics={LOSS: MetricData(stats)}, **fields)


def counted(task: GroupTask) -> int:
    """How many values this process has of the task's loss."""
    return task._state.metrics[LOSS].stats.count if LOSS in task._state.metrics else 0


# --- merging ---------------------------------------------------------------------------------------


def test_what_a_worker_has_counted_is_merged_once(
    group: TaskGroup, tasks: list[GroupTask], path: Path, log: WorkerLog
) -> None:
    """It counts on from one line to the next."""
    worker = write_begin(path, tasks[0]._state)
    write_counts(path, worker, tasks[0]._state, counts(1.0))
    merge(group)
    assert (counted(tasks[0]), counted(tasks[1]), log._working) == (1, 0, {})
    merge(group)
    write_counts(path, worker, tasks[0]._state, counts(1.0, 2.0, 3.0))
    merge(group)
    assert counted(tasks[0]) == 3


def test_a_line_before_the_first_worker_is_not_read(
    group: TaskGroup, tasks: list[GroupTask], path: Path
) -> None:
    """Neither are those after it, before a task was handed over."""
    write_counts(path, "w", tasks[0]._state, counts(1.0))
    merge(group)
    assert counted(tasks[0]) == 0
    assert group._run is not None
    group._run.worker_log.expect(group._run)
    merge(group)
    assert counted(tasks[0]) == 0
    write_counts(path, "w", tasks[0]._state, counts(1.0, 2.0))
    group._run.worker_log.expect(group._run)  # again
    merge(group)
    assert counted(tasks[0]) == 2


def test_a_child_and_a_run_without_a_log_merge_nothing(
    group: TaskGroup, tasks: list[GroupTask], path: Path, log: WorkerLog
) -> None:
    write_counts(path, "w", tasks[0]._state, counts(1.0))
    run = tasks[0]._run
    run.pid = os.getpid() + 1
    merge(group)
    run.pid = os.getpid()
    assert counted(tasks[0]) == 0
    with recording(), TaskGroup("the project", "in memory") as other:
        assert other._run is not None
        other._run.worker_log.expect(other._run)
        assert not other._run.worker_log.expected


def test_a_task_that_a_worker_has_ended_is_ended(
    group: TaskGroup, tasks: list[GroupTask], path: Path, log: WorkerLog
) -> None:
    write_counts(path, "w", tasks[0]._state, counts(1.0, status="failed", reason="no data"))
    merge(group)
    assert [(task.status, task.status_reason) for task in tasks] == [
        ("failed", "no data"),
        ("in_progress", ""),
    ]


def test_names_that_a_worker_logs_are_taken(
    group: TaskGroup, tasks: list[GroupTask], path: Path, log: WorkerLog
) -> None:
    write_names(path, tasks[0]._state, {Name("a", "b"): LOSS})
    merge(group)
    assert tasks[0]._state.names.ambiguous == {Name("a", "b"): LOSS}
    assert log._working == {}


def test_what_a_forked_child_logs_is_taken(
    group: TaskGroup, tasks: list[GroupTask], path: Path, log: WorkerLog
) -> None:
    line = {"event": "forked", "forked": 1, "id": tasks[0].id, "key": tasks[0].key}
    append_to(path, (json.dumps(line) + "\n").encode())
    merge(group)
    assert [task._state.uncounted for task in tasks] == [True, False]


@pytest.mark.parametrize("other", [{"id": "another attempt"}, {"key": "another key"}])
def test_a_line_of_a_task_that_the_run_does_not_have_is_passed_over(
    group: TaskGroup, tasks: list[GroupTask], path: Path, log: WorkerLog, other: dict[str, str]
) -> None:
    line = {"event": "forked", "forked": 1, "id": tasks[0].id, "key": tasks[0].key, **other}
    append_to(path, (json.dumps(line) + "\n").encode())
    merge(group)
    assert not tasks[0]._state.uncounted


def test_a_line_that_is_being_written_waits_for_its_end(
    group: TaskGroup, tasks: list[GroupTask], path: Path, log: WorkerLog
) -> None:
    line = json.dumps({"event": "forked", "forked": 1, "id": tasks[0].id, "key": tasks[0].key}).encode()
    with path.open("ab", buffering=0) as file:
        file.write(line[:10])
        merge(group)
        file.write(line[10:] + b"\n")
    merge(group)
    assert tasks[0]._state.uncounted


def test_a_line_that_cannot_be_read_is_warned_of_and_the_next_is_read(
    group: TaskGroup, tasks: list[GroupTask], path: Path, log: WorkerLog, caplog: pytest.LogCaptureFixture
) -> None:
    append_to(path, b'{"guest": "w"}\n{"forked": 1\n')
    write_counts(path, "w", tasks[0]._state, counts(1.0))
    merge(group)
    assert [record.message.startswith("a line of a worker in") for record in caplog.records] == [True] * 2
    assert counted(tasks[0]) == 1


def test_a_log_that_somebody_has_deleted_is_passed_over(group: TaskGroup, path: Path, log: WorkerLog) -> None:
    moved = path.rename(path.with_suffix(".moved"))
    merge(group)
    moved.rename(path)


# --- waiting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("timeout", "pauses"), [(0.0, 0), (0.5, 2)])
def test_a_living_worker_is_waited_for(
    group: TaskGroup,
    tasks: list[GroupTask],
    path: Path,
    log: WorkerLog,
    clock: Clock,
    timeout: float,
    pauses: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_worker_log, "_POLL_INTERVAL_S", 0.25)
    write_begin(path, tasks[0]._state)
    merge(group, timeout)
    assert clock.pauses == pauses
    assert not tasks[0]._state.uncounted
    log._working.clear()


def test_a_worker_that_is_done_is_not_waited_for(
    group: TaskGroup, tasks: list[GroupTask], path: Path, log: WorkerLog, clock: Clock
) -> None:
    workers = [write_begin(path, task._state) for task in tasks]
    write_counts(path, workers[0], tasks[0]._state, counts(1.0))
    write_counts(path, workers[1], tasks[1]._state, counts(1.0))
    merge(group, 60.0)
    assert clock.pauses == 0


def test_the_values_of_a_dead_workers_task_are_read_back(
    group: TaskGroup,
    tasks: list[GroupTask],
    path: Path,
    log: WorkerLog,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_begin(path, tasks[0]._state)
    monkeypatch.setattr(_worker_log, "is_alive", lambda pid: False)
    merge(group, 60.0)
    assert [task._state.uncounted for task in tasks] == [True, False]
    assert (clock.pauses, log._working) == (0, {})


def test_what_a_dead_worker_had_counted_before_it_ended_is_taken(
    group: TaskGroup, tasks: list[GroupTask], path: Path, log: WorkerLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may write its counts between the look at the log and that at the process."""
    worker = write_begin(path, tasks[0]._state)

    def dies(pid: int) -> bool:
        write_counts(path, worker, tasks[0]._state, counts(1.0))
        return False

    monkeypatch.setattr(_worker_log, "is_alive", dies)
    merge(group, 60.0)
    assert (counted(tasks[0]), tasks[0]._state.uncounted) == (1, False)


@pytest.mark.parametrize(
    ("host", "system", "alive", "expected"),
    [
        (platform.node(), "posix", True, True),
        (platform.node(), "posix", False, False),
        ("another machine", "posix", False, True),
        (platform.node(), "nt", False, True),
    ],
)
def test_a_process_lives_unless_this_machine_knows_better(
    monkeypatch: pytest.MonkeyPatch, host: str, system: str, alive: bool, expected: bool
) -> None:
    monkeypatch.setattr(_worker_log, "is_alive", lambda pid: alive)
    monkeypatch.setattr(_worker_log, "os", SimpleNamespace(name=system))
    assert lives(host, 1) is expected


# --- what is written, and what is left -------------------------------------------------------------


def test_the_lines_of_a_worker(tasks: list[GroupTask], path: Path) -> None:
    """A resume reads how a task ended if the process that opened the run dies."""
    state = tasks[0]._state
    worker = write_begin(path, state)
    write_counts(path, worker, state, counts(1.0))
    tasks[0].mark_failed("no data")
    write_counts(path, worker, state, counts(1.0))
    begin, told, ended = (line for line in iterate(path) if "guest" in line)
    assert (begin["event"], begin["host"], begin["pid"]) == ("guest", platform.node(), os.getpid())
    assert {line["guest"] for line in (begin, told, ended)} == {worker}
    assert {(line["id"], line["key"], line["time"]) for line in (begin, told, ended)} == {
        (tasks[0].id, tasks[0].key, 1000.0)
    }
    assert "status" not in told
    assert (ended["event"], ended["status"], ended["reason"]) == ("told", "failed", "no data")
    assert ended["measures"][0][:2] == ["loss", {}]


def test_a_worker_without_the_log_writes_nothing(tasks: list[GroupTask], path: Path) -> None:
    before = path.read_bytes()
    worker = write_begin(None, tasks[0]._state)
    write_counts(None, worker, tasks[0]._state, counts(1.0))
    write_names(None, tasks[0]._state, {})
    assert path.read_bytes() == before


def test_the_end_removes_what_only_workers_needed(group: TaskGroup, path: Path) -> None:
    begun, words, aborted, other = (
        path.with_suffix(suffix) for suffix in (".1-begun", ".words-1", ".aborted", ".other")
    )
    begun.mkdir()
    for file in (begun / "a call", words, aborted, other):
        file.touch()
    run = group._run
    assert run is not None
    run.pid = os.getpid() + 1
    run.worker_log.close(run)
    run.pid = os.getpid()
    assert (begun / "a call").exists()
    run.worker_log.close(run)
    assert [file.exists() for file in (begun, words, aborted, other, path)] == [False] * 3 + [True] * 2
