"""Forked children: the lines that they log, and what the process that opened the group makes of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, Name, TaskGroup
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._run import forked
from clearml_taskgroup._run.run import Run
from clearml_taskgroup._run.state import Abort
from clearml_taskgroup._run.worker_aborts import WorkerAborts
from clearml_taskgroup.errors import CarriedError
from clearml_taskgroup.testing import recording
from tests.support.runs import Place, be_a_child, lines_after

LOSS = MetricKey("loss", ())
NAMES = {Name("loss", "a"): LOSS}
STORED_NAMES = [["loss", "a", "loss", {}]]


@pytest.fixture
def group() -> Iterator[TaskGroup]:
    with Place().group() as group:
        yield group
        assert group._run is not None
        group._run.pid = os.getpid()
        group._run.reporter.before_inline = None


@pytest.fixture
def task(group: TaskGroup) -> GroupTask:
    return group.task({"seed": 0})


@pytest.fixture
def run(task: GroupTask) -> Run:
    return task._run


# --- what is logged --------------------------------------------------------------------------------


def test_a_child_logs_how_an_exception_has_ended_a_task(run: Run, task: GroupTask) -> None:
    task.mark_failed("no data")
    be_a_child(run)
    forked.log_end(run, task._state, ValueError("no data"), "the traceback")
    line = lines_after(run)[-1]
    assert (line["event"], line["status"], line["reason"]) == ("forked end", "failed", "no data")
    assert line["failure"] == ["ValueError: no data", "the traceback"]


def test_a_report_of_a_child_is_logged_once_for_each_task(run: Run, task: GroupTask) -> None:
    be_a_child(run)
    logged, aborts = set[str](), WorkerAborts(None)
    for task_id in (task.id, task.id, "another task"):
        forked._log_report(run, logged, aborts, task_id)
    assert [(line["event"], line["id"]) for line in lines_after(run)] == [("forked", task.id)]


def test_a_report_of_a_child_finds_out_that_the_task_was_aborted(run: Run, task: GroupTask) -> None:
    aborts = WorkerAborts(None)
    aborts._found[task.id] = Abort.of_run("the group", None, "by hand")
    be_a_child(run)
    forked._log_report(run, {task.id}, aborts, task.id)
    assert task.status == "stopped"


# --- around a fork ---------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["open", "closed", "a child's"])
def test_before_a_fork_open_runs_hand_over_what_waits(run: Run, task: GroupTask, state: str) -> None:
    task.report({"loss": 1.0}, 0)
    run.closed = state == "closed"
    if state == "a child's":
        be_a_child(run)
    forked._hand_over()
    run.closed = False
    assert run.worker_log.expected == (state == "open")
    assert state != "open" or run.reporter.has_written_all


@pytest.mark.parametrize("closed", [False, True])
def test_a_child_ends_its_tasks_itself_and_logs_its_reports(run: Run, closed: bool) -> None:
    ender, run.closed = run.ender, closed
    run.ender.timeout = 7.0
    forked._log_reports()
    run.closed = False
    assert (run.ender is ender, run.ender.timeout) == (closed, 7.0)
    if not closed:
        log: Any = run.reporter.before_inline
        assert run.run_log is not None
        assert log.args[2].path == run.run_log.path.with_suffix(".aborted")


def test_a_child_of_a_run_without_a_log_looks_at_no_file() -> None:
    with recording(), TaskGroup("the project", "the group") as group:
        assert group._run is not None
        forked._log_reports()
        log: Any = group._run.reporter.before_inline
        group._run.reporter.before_inline = None
    assert log.args[2].path is None


# --- what is taken over ----------------------------------------------------------------------------


def take(task: GroupTask, event: str, **fields: Any) -> None:
    forked.take(task._run, task._state, {"event": event, **fields})


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        ("forked", {}),
        ("names", {"names": STORED_NAMES}),
        ("skipped", {"series": ["loss", {}, 1, 3, False]}),
        ("params", {"params": {"late": 1}}),
    ],
)
def test_the_values_of_a_task_that_a_child_had_are_read_back(
    task: GroupTask, event: str, fields: dict[str, Any]
) -> None:
    take(task, event, **fields)
    state = task._state
    assert state.uncounted
    assert state.is_open
    assert state.names.ambiguous == (NAMES if event == "names" else {})
    assert [(key, data.skipped_at) for key, data in state.metrics.items()] == (
        [(LOSS, 3)] if event == "skipped" else []
    )
    assert state.params == {"seed": 0, **({"late": 1} if event == "params" else {})}


def test_names_are_stored_with_the_task(task: GroupTask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are known already, too."""
    stored: list[Any] = []
    monkeypatch.setattr(type(task._run.backend), "annotate", lambda self, *given: stored.append(given))
    other = Name("accuracy", "a")
    task._state.names.ambiguous[other] = MetricKey("accuracy", ())
    take(task, "names", names=STORED_NAMES)
    text = '[["accuracy", "a", "accuracy", {}], ["loss", "a", "loss", {}]]'
    assert stored == [(task.id, {"names": text}, {})]
    del task._state.names.ambiguous[other]


@pytest.mark.parametrize(("status", "fails"), [("failed", True), ("stopped", False)])
def test_a_task_that_a_child_has_ended_is_ended(task: GroupTask, status: str, fails: bool) -> None:
    failure = ["ValueError: no data", "the traceback"]
    take(task, "forked end", status=status, reason="no data", failure=failure)
    assert (task.status, task.status_reason) == (status, "no data")
    assert (task._state.failure is not None) is fails
    if task._state.failure is not None:
        error, text = task._state.failure
        assert (type(error), text) == (CarriedError, "the traceback")
        assert "ValueError: no data" in str(error)


def test_a_task_that_has_ended_keeps_its_end(task: GroupTask) -> None:
    task.mark_completed()
    take(task, "forked end", status="failed", reason="no data", failure=["ValueError: no data", ""])
    assert (task.status, task._state.failure) == ("completed", None)
