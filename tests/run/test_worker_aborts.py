"""Aborts in workers and forked children: the file beside the run log, and what the server says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._model.specs import ForeignStatus
from clearml_taskgroup._run import worker_aborts
from clearml_taskgroup._run.run import Run
from clearml_taskgroup._run.state import Abort
from clearml_taskgroup._run.worker_aborts import ALL, WorkerAborts, abort_path
from clearml_taskgroup.testing import recording
from tests.support.runs import Place

BY_HAND = ForeignStatus("stopped", "by hand", "stopped")


@pytest.fixture
def group() -> Iterator[TaskGroup]:
    with Place().group() as group:
        yield group


@pytest.fixture
def run(group: TaskGroup) -> Run:
    assert group._run is not None
    return group._run


@pytest.fixture
def file(run: Run) -> Path:
    assert run.run_log is not None
    return abort_path(run.run_log.path)


@pytest.fixture
def tasks(group: TaskGroup) -> list[GroupTask]:
    return list(group.tasks({"seed": range(2)}))


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock of the looks at the file."""

    def at(now: float) -> None:
        monkeypatch.setattr(worker_aborts, "time", SimpleNamespace(monotonic=lambda: now))

    at(1000.0)
    return at


def aborted(task: GroupTask, reason: str = "by hand") -> dict[str, Abort]:
    return {task.id: Abort.of_task(task._state, BY_HAND._replace(reason=reason))}


def apply(aborts: WorkerAborts, tasks: list[GroupTask], *parent: str) -> list[tuple[str, str]]:
    """Lets a worker look; gives status and reason of the tasks."""
    name, task_id = parent or ("", None)
    aborts.apply([task._state for task in tasks], (name, task_id))
    return [(task.status, task.status_reason) for task in tasks]


OPEN = ("in_progress", "")


# --- the process that opened the group ------------------------------------------------------------


def test_the_file_is_beside_the_run_log(run: Run, file: Path) -> None:
    assert run.run_log is not None
    assert (file.parent, file.name) == (run.run_log.path.parent, "run-0001.aborted")


def test_nothing_is_written_without_an_abort(run: Run, file: Path) -> None:
    worker_aborts.write(run, {})
    assert not file.exists()


def test_a_forked_child_writes_and_removes_nothing(run: Run, file: Path, tasks: list[GroupTask]) -> None:
    worker_aborts.write(run, aborted(tasks[0]))
    before, run.pid = file.read_bytes(), os.getpid() + 1
    worker_aborts.write(run, aborted(tasks[1]))
    worker_aborts.remove(run)
    run.pid = os.getpid()
    assert file.read_bytes() == before
    worker_aborts.remove(run)
    worker_aborts.remove(run)  # as there is none any more
    assert not file.exists()


def test_a_run_without_a_log_has_no_file() -> None:
    with recording(), TaskGroup("the project", "the group") as group:
        task = group.task({"seed": 0})
        worker_aborts.write(task._run, aborted(task))
        worker_aborts.remove(task._run)


def test_a_disk_that_refuses_the_file_is_warned_of(
    run: Run, file: Path, tasks: list[GroupTask], caplog: pytest.LogCaptureFixture
) -> None:
    file.mkdir()
    worker_aborts.write(run, aborted(tasks[0]))
    file.rmdir()
    assert "worker processes could not be told which tasks were aborted" in caplog.text


# --- workers and children --------------------------------------------------------------------------


@pytest.mark.usefixtures("at")
def test_a_worker_takes_from_the_file_what_concerns_its_tasks(
    run: Run, file: Path, tasks: list[GroupTask]
) -> None:
    worker_aborts.write(run, {**aborted(tasks[1]), "another task": Abort.of_run("g", None, "else")})
    assert apply(WorkerAborts(file), tasks) == [OPEN, ("stopped", "by hand")]
    assert tasks[1]._state.aborted == aborted(tasks[1])[tasks[1].id]


@pytest.mark.usefixtures("at")
def test_an_abort_of_the_run_is_one_of_all_tasks(run: Run, file: Path, tasks: list[GroupTask]) -> None:
    """One of their own comes first."""
    of_run = Abort.of_run("the group", "the parent", "by hand")
    worker_aborts.write(run, {**aborted(tasks[0], "mine"), ALL: of_run})
    assert apply(WorkerAborts(file), tasks) == [("stopped", "mine"), ("stopped", of_run.reason)]


def test_the_file_is_looked_at_every_quarter_of_a_second(
    run: Run, file: Path, tasks: list[GroupTask], at: Callable[[float], None]
) -> None:
    aborts = WorkerAborts(file)
    assert aborts.is_due
    assert apply(aborts, tasks) == [OPEN, OPEN]
    worker_aborts.write(run, aborted(tasks[0]))
    at(1000.2)
    assert not aborts.is_due
    assert apply(aborts, tasks) == [OPEN, OPEN]
    at(1000.25)
    assert aborts.is_due
    assert apply(aborts, tasks) == [("stopped", "by hand"), OPEN]
    worker_aborts.write(run, aborted(tasks[1], "later"))
    at(1000.5)
    assert apply(aborts, tasks) == [("stopped", "by hand"), ("stopped", "later")]


def test_a_task_that_comes_later_is_aborted_without_another_look(
    run: Run, file: Path, tasks: list[GroupTask], at: Callable[[float], None]
) -> None:
    worker_aborts.write(run, aborted(tasks[1]))
    aborts = WorkerAborts(file)
    assert apply(aborts, tasks[:1]) == [OPEN]
    at(1000.1)
    assert aborts.is_due
    assert apply(aborts, tasks) == [OPEN, ("stopped", "by hand")]


def test_a_line_that_is_being_written_waits_for_its_end(
    run: Run, file: Path, tasks: list[GroupTask], at: Callable[[float], None]
) -> None:
    worker_aborts.write(run, aborted(tasks[0]))
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:10])
    aborts = WorkerAborts(file)
    aborts.apply([])
    at(1001.0)
    file.write_bytes(whole + whole.replace(tasks[0].id.encode(), tasks[1].id.encode()))
    assert apply(aborts, tasks) == [("stopped", "by hand")] * 2


@pytest.mark.usefixtures("at")
@pytest.mark.parametrize("path", [None, Path("nowhere/run.aborted")])
def test_without_a_file_nothing_is_aborted(path: Path | None, tasks: list[GroupTask]) -> None:
    assert apply(WorkerAborts(path), tasks) == [OPEN, OPEN]


@pytest.mark.usefixtures("at")
@pytest.mark.parametrize("text", ["not JSON\n", "[1, 2]\n", "7\n"])
def test_a_file_that_cannot_be_read_aborts_nothing(file: Path, tasks: list[GroupTask], text: str) -> None:
    file.write_text(text)
    assert apply(WorkerAborts(file), tasks) == [OPEN, OPEN]


def test_a_worker_without_the_file_takes_what_the_server_says(
    tasks: list[GroupTask], at: Callable[[float], None]
) -> None:
    aborts = WorkerAborts(None)
    assert apply(aborts, tasks) == [OPEN, OPEN]
    assert not aborts.is_due
    aborts.take({tasks[0].id: BY_HAND})
    assert aborts.is_due
    assert apply(aborts, tasks) == [("stopped", "by hand"), OPEN]
    at(2000.0)
    assert apply(aborts, tasks) == [("stopped", "by hand"), OPEN]


@pytest.mark.usefixtures("at")
@pytest.mark.parametrize(("word", "stopped"), [("stopped", True), ("published", False)])
def test_a_stopped_parent_stops_all(tasks: list[GroupTask], word: str, stopped: bool) -> None:
    aborts = WorkerAborts(None)
    aborts.take({"the parent": BY_HAND._replace(word=word)})
    reason = Abort.of_run("the group", "the parent", "by hand").reason
    expected = ("stopped", reason) if stopped else OPEN
    assert apply(aborts, tasks, "the group", "the parent") == [expected] * 2


@pytest.mark.usefixtures("at")
def test_a_task_that_came_here_aborted_knows_of_it(tasks: list[GroupTask]) -> None:
    """One that has ended in another way does not."""
    aborts = WorkerAborts(None)
    aborts.take({task.id: BY_HAND for task in tasks})
    tasks[0].mark_stopped("by hand")
    tasks[1].mark_stopped("pruned")
    apply(aborts, tasks)
    assert [task._state.aborted is not None for task in tasks] == [True, False]
