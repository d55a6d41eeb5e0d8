"""A sweep that is submitted to a queue: drafts, enqueued, followed, cancelled; agents are played."""

from __future__ import annotations

import contextlib
import json
import math
import random
import signal
import sys
import threading
import time
import types
from collections.abc import Callable
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._agents import queue as _queueing
from clearml_taskgroup._agents.queue import Queueing, Submission
from clearml_taskgroup._clearml.queries import identity_of, is_original
from clearml_taskgroup._run.abort import abort_run
from clearml_taskgroup.errors import (
    ArgumentError,
    QueuedTaskError,
    ServerError,
    SubmitError,
    TaskReopenError,
    UnknownQueueError,
    WaitTimeoutError,
)
from clearml_taskgroup.testing import recording
from tests.loopback import LoopbackServer
from tests.loopback.faults import refusal
from tests.loopback.harness import run_script
from tests.support.agents import (
    PROJECT,
    SCRIPT,
    add_queues,
    by_status,
    finish,
    group,
    points,
    queue_of,
    script_detected,
)
from tests.support.server_view import View

SPACE = {"C": [0.5, 2], "seed": range(2)}
NAMES = ["C=0.5,seed=0", "C=0.5,seed=1", "C=2,seed=0", "C=2,seed=1"]


@pytest.fixture
def view(loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> View:
    """A server with two queues, and a script that could be submitted to them."""
    from clearml_taskgroup._clearml import login

    script_detected(monkeypatch)
    add_queues(loopback, "gpu", "cpu")
    return View(login.connect(), PROJECT)


def submitted(limit: int | None = None, **options: Any) -> TaskGroup:
    """Runs a script that submits the space to the queue `gpu`."""
    with group(**options) as one:
        for task in one.sweep(SPACE, queue="gpu", limit=limit):
            pytest.fail(f"the loop has a turn here, {task}")
    return one


# --- submitting ----------------------------------------------------------------------------------


def test_points_are_submitted_and_the_loop_has_no_turns(
    loopback: LoopbackServer, view: View, caplog: pytest.LogCaptureFixture
) -> None:
    """Each point is a task in the queue, in the space's order, with parameters, identity and script."""
    one = submitted(tags=["night"])
    assert queue_of(loopback, "gpu") == NAMES
    assert set(by_status(loopback).values()) == {"queued"}
    for name, doc in points(loopback).items():
        identity = identity_of(doc)
        assert is_original(doc)
        assert (identity["queue"], identity["sweep"], identity["attempt"]) == ("gpu", "0", "1")
        assert (doc["parent"], doc["tags"]) == (one.parent_id, ["night"])
        assert {field: doc["script"][field] for field in SCRIPT} == SCRIPT
        assert f"C={view.parameters(doc['id'])['C']},seed={view.parameters(doc['id'])['seed']}" == name
    told = caplog.text
    assert "4 of 4 are left to queue 'gpu'\n" in told
    assert "left to the queue 'gpu': 4 queued; group.wait() follows them" in told


def test_a_queue_that_no_agent_serves_is_told(
    loopback: LoopbackServer, view: View, caplog: pytest.LogCaptureFixture
) -> None:
    """Where no agent serves the queue yet, a line says how to start one; where one does, none."""
    one = submitted()
    hint = "no agent serves that queue yet: clearml-agent daemon --queue gpu"
    assert hint in caplog.text
    caplog.clear()
    assert one._queueing is not None
    queue_id = one._queueing.submissions[0].queue_id
    view.call("workers.register", worker="host:gpu0", queues=[queue_id])
    submitted(name="another")
    assert hint not in caplog.text


def test_the_end_of_the_block_leaves_the_tasks_alone(loopback: LoopbackServer, view: View) -> None:
    """The run's own parent is completed as the block ends; the tasks in the queue are not touched."""
    one = submitted()
    assert loopback.task(str(one.parent_id))["status"] == "completed"
    assert all("started" not in doc for doc in points(loopback).values())


def test_an_exception_leaves_them_as_well(loopback: LoopbackServer, view: View) -> None:
    """What leaves the group's block fails the parent, and no task in the queue."""
    with pytest.raises(RuntimeError, match="after"), group() as one:
        one.sweep(SPACE, queue="gpu")
        raise RuntimeError("after")
    assert loopback.task(str(one.parent_id))["status"] == "failed"
    assert set(by_status(loopback).values()) == {"queued"}


def test_two_hundred_points_take_about_one_call_each(loopback: LoopbackServer, view: View) -> None:
    """200 points take a create each, and one call for all to enqueue them."""
    with group() as one:
        loopback.reset_counts()
        one.sweep({"seed": range(200)}, queue="gpu")
        calls = len(loopback.calls)
    assert (loopback.count("tasks.create"), loopback.count("tasks.enqueue_many")) == (200, 1)
    assert calls <= 1.05 * 200
    assert len(queue_of(loopback, "gpu")) == 200


def test_sweeps_are_told_apart_by_their_ordinal(loopback: LoopbackServer, view: View) -> None:
    """A second sweep, in another queue, has the next ordinal; one that was refused has none."""
    with group() as one:
        with pytest.raises(UnknownQueueError):
            one.sweep({"C": [1]}, queue="tpu")
        one.sweep({"C": [1]}, queue="gpu")
        one.sweep({"C": [2]}, queue="cpu")
    assert {name: identity_of(doc)["sweep"] for name, doc in points(loopback).items()} == {
        "C=1": "0",
        "C=2": "1",
    }
    assert (queue_of(loopback, "gpu"), queue_of(loopback, "cpu")) == (["C=1"], ["C=2"])


def test_an_unknown_queue_is_told_with_those_that_there_are(loopback: LoopbackServer, view: View) -> None:
    """A misspelt queue makes no task: the error names the queues, and the one that was meant."""
    with group() as one, pytest.raises(UnknownQueueError, match=r"did you mean 'gpu'.*cpu, default, gpu"):
        one.sweep(SPACE, queue="gpuu")
    assert points(loopback) == {}


@pytest.mark.parametrize(
    "given", [{"queue": " "}, {"queue": "gpu", "limit": 0}, {"limit": 2.5}, {"queue": 7}]
)
def test_arguments_that_say_nothing(view: View, given: dict[str, Any]) -> None:
    """A blank queue, and a limit that is no whole number from 1, are errors."""
    with group() as one, pytest.raises(ArgumentError):
        one.sweep(SPACE, **given)


def test_no_queue_runs_here(loopback: LoopbackServer, view: View) -> None:
    """`queue=None` is a sweep like any other, with a limit or without: a switch can choose."""
    with group() as one:
        assert [str(task) for task in one.sweep(SPACE, queue=None, limit=3)] == NAMES
    assert set(by_status(loopback).values()) == {"completed"}


def test_tasks_beside_a_queue_are_refused(view: View) -> None:
    """`group.task()` has a body that an agent cannot pass over, before a submitted sweep and after."""
    with group() as one:
        one.task({"C": 1})
        with pytest.raises(SubmitError, match=r"group.map\(\) was called before it.*make it a sweep"):
            one.sweep(SPACE, queue="gpu")
    with group(name="another") as one:
        one.sweep(SPACE, queue="gpu")
        calls: list[Callable[[], Any]] = [
            lambda: one.task({"C": 1}),
            lambda: one.tasks({"C": [1]}),
            lambda: one.map(str, {"C": [1]}),
            lambda: one.objective(float),
        ]
        for call in calls:
            with pytest.raises(SubmitError, match="beside it"):
                call()


def test_map_before_a_queue_is_refused(view: View) -> None:
    """Each agent would run all of its points once more."""
    with group() as one:
        one.map(str, {"C": [1]})
        with pytest.raises(SubmitError, match=r"group.map\(\) was called before it"):
            one.sweep(SPACE, queue="gpu")


def test_a_queue_in_a_shared_run_is_refused(view: View) -> None:
    """Either agents take the configurations, or the processes that share the run."""
    with group(run="shared") as one, pytest.raises(SubmitError, match="shared by several processes"):
        one.sweep(SPACE, queue="gpu")


def test_a_sweep_within_a_tasks_block_is_refused(view: View) -> None:
    """What is submitted within another task's block would need that task run first, on each agent."""
    with group() as outer, outer.task({"C": 1}), group(name="inner one") as inner:
        with pytest.raises(SubmitError, match="within the block of another task"):
            inner.sweep(SPACE, queue="gpu")


def test_arguments_of_the_command_line_are_refused(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `Task.init` an agent starts the script without arguments: the error says what to do."""
    monkeypatch.setattr("sys.argv", ["script.py", "--epochs", "4"])
    with group() as one, pytest.raises(SubmitError, match=r"'--epochs 4'.*without any; call Task.init first"):
        one.sweep(SPACE, queue="gpu")


def test_a_modules_arguments_go_along(
    loopback: LoopbackServer, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The arguments of `python -m package.module …` are part of what the agent starts."""
    script_detected(monkeypatch, {**SCRIPT, "entry_point": "-m train --fast"})
    monkeypatch.setattr("sys.argv", ["train.py", "--fast"])
    submitted()
    assert len(queue_of(loopback, "gpu")) == 4


@pytest.mark.parametrize(
    ("script", "options", "problem"),
    [
        (None, {"provenance": False}, "provenance=False"),
        ({"binary": "python"}, {}, "no script was detected"),
        ({"entry_point": "script.py"}, {}, "no script was detected"),
        ({**SCRIPT, "version_num": "a" * 40}, {}, "has no remote"),
    ],
)
def test_without_a_script_there_is_nothing_to_submit(
    loopback: LoopbackServer,
    view: View,
    monkeypatch: pytest.MonkeyPatch,
    script: dict[str, str] | None,
    options: dict[str, Any],
    problem: str,
) -> None:
    """A console, or `provenance=False`, leaves an agent nothing to start."""
    if script is not None:
        script_detected(monkeypatch, script)
    with group(**options) as one, pytest.raises(SubmitError, match=problem):
        one.sweep(SPACE, queue="gpu")
    assert points(loopback) == {}


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_without_a_server_there_is_no_queue(mode: Any) -> None:
    """Offline and disabled, a queue is an error that says what to do."""
    one = TaskGroup(PROJECT, "nowhere", mode=mode, provenance=False)
    with one, pytest.raises(SubmitError, match=f"the group is {mode}.*leave queue= out"):
        one.sweep(SPACE, queue="gpu")


def test_other_ranks_of_a_distributed_job_submit_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 0 submits; on the others the loop has no turns either."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with TaskGroup(PROJECT, "ranks") as one:
        assert list(one.sweep(SPACE, queue="gpu")) == []


def test_a_recorded_sweep_is_queued_too() -> None:
    """Under `recording` the points are queued or drafts, and nothing waits for agents."""
    with recording() as recorded, TaskGroup(PROJECT, "recorded") as one:
        assert list(one.sweep(SPACE, queue="gpu", limit=3)) == []
        assert [task.status for task in recorded.members] == ["queued"] * 3 + ["created"]
        assert "not finished" in repr(one.wait())
        assert one.cancel().dequeued == tuple(NAMES)
    assert {task.status for task in recorded.members} == {"stopped"}


def test_a_lost_answer_enqueues_nothing_twice(loopback: LoopbackServer, view: View) -> None:
    """Where the answer to the bulk call is lost, trying again finds the tasks in the queue."""
    with group() as one:
        loopback.faults.fail_next("tasks.enqueue_many", kind="drop_after", times=1)
        one.sweep(SPACE, queue="gpu")
    assert queue_of(loopback, "gpu") == NAMES


@pytest.mark.parametrize("seed", range(3))
def test_a_bad_network_costs_no_point(loopback: LoopbackServer, view: View, seed: int) -> None:
    """With every fifth request hurt, each point is submitted once, is followed, and has ended in the end."""
    loopback.faults.random(0.2, seed, pattern="tasks.*")
    with group() as one:
        one.sweep({"seed": range(20)}, queue="gpu", limit=15)
        assert len(queue_of(loopback, "gpu")) == 15
        loopback.faults.clear()
        for task in list(one)[:5]:
            finish(view, task.id)
        loopback.faults.random(0.2, seed, pattern="tasks.*")
        deadline = time.monotonic() + 30
        assert one._queueing is not None
        while one._queueing.counts() != "5 completed, 15 queued" and time.monotonic() < deadline:
            with pytest.raises(WaitTimeoutError):
                one.wait(timeout=0.3)
        loopback.faults.clear()
    assert len(points(loopback)) == 20
    assert sorted(by_status(loopback).values()) == ["completed"] * 5 + ["queued"] * 15


# --- following -----------------------------------------------------------------------------------


def test_before_waiting_results_are_not_finished(view: View) -> None:
    """Submitted tasks have rows from the start, and the results say that they are not finished."""
    results = submitted().results()
    assert [(row.name, row.status) for row in results] == [(name, "queued") for name in NAMES]
    assert results.partial
    assert "4 queued, not finished: group.wait() follows those that agents run" in repr(results)


def test_waiting_brings_statuses_and_values(
    loopback: LoopbackServer, view: View, caplog: pytest.LogCaptureFixture
) -> None:
    """When all have ended, rows have the statuses, reasons and values that the server has."""
    one = submitted()
    ids = [task.id for task in one]
    events = [
        {
            "type": "training_stats_scalar",
            "task": ids[0],
            "metric": "loss",
            "variant": "val",
            "iter": i,
            "value": v,
        }
        for i, v in enumerate([3.0, 1.0, 2.0])
    ]
    view.call("tasks.dequeue", task=ids[0])
    view.call("tasks.started", task=ids[0])
    view.transport.call("events.add_batch", lines=[json.dumps(event) for event in events], timeout=5)
    view.call("tasks.completed", task=ids[0])
    finish(view, ids[1], "failed", "worker execution exit code 1")
    finish(view, ids[2], "stopped", "by hand")
    view.call("tasks.delete", task=ids[3], force=True)
    results = one.wait(timeout=20)
    told = [(row.status, row.status_reason) for row in results]
    assert told[:3] == [("completed", ""), ("failed", "worker execution exit code 1"), ("stopped", "by hand")]
    assert told[3] == ("stopped", "deleted from the server")
    assert not results.partial
    row = results[0]
    assert [row.value("loss", split="val", of=of) for of in ("first", "last", "min", "max")] == [3, 2, 1, 3]
    assert "1 completed, 1 failed, 2 stopped" in caplog.text


def test_waiting_asks_for_all_tasks_in_one_call(loopback: LoopbackServer, view: View) -> None:
    """A look at 200 tasks is one call, whatever their number."""
    with group() as one:
        one.sweep({"seed": range(200)}, queue="gpu")
    loopback.reset_counts()
    with pytest.raises(WaitTimeoutError):
        one.wait(timeout=0)
    assert {call.endpoint for call in loopback.calls} <= {"auth.login", "tasks.get_all"}
    assert loopback.count("tasks.get_all") == 1


def test_waiting_has_a_limit_in_time(loopback: LoopbackServer, view: View) -> None:
    """After `timeout` seconds an error names the tasks; they stay in the queue, and results are there."""
    one = submitted()
    with pytest.raises(
        WaitTimeoutError, match=r"after 0.05 s 4 tasks had not ended \(4 queued\): C=0.5,seed=0"
    ):
        one.wait(timeout=0.05)
    assert queue_of(loopback, "gpu") == NAMES
    assert isinstance(WaitTimeoutError(1, "", []), TimeoutError)


def test_what_running_tasks_have_so_far_is_there_after_a_timeout(
    loopback: LoopbackServer, view: View
) -> None:
    """When the waiting is given up, results have the values that running tasks have reported by then."""
    one = submitted()
    first = next(iter(one))
    view.call("tasks.started", task=first.id)
    event = {"type": "training_stats_scalar", "task": first.id, "metric": "loss", "variant": "value"}
    with pytest.raises(WaitTimeoutError):
        one.wait(timeout=0)
    for value in (2.0, 1.0):
        line = json.dumps({**event, "iter": 0, "value": value})
        view.transport.call("events.add_batch", lines=[line], timeout=5)
        with pytest.raises(WaitTimeoutError, match="1 running, 3 queued"):
            one.wait(timeout=0)
        row = one.results()[0]
        assert (row.status, row.value("loss")) == ("in_progress", value)


def test_waiting_ends_with_the_parent(loopback: LoopbackServer, view: View) -> None:
    """If somebody stops the parent, the script waits no longer; what agents have is left to them."""
    with group() as one:
        one.sweep({"seed": range(2)}, queue="gpu")
        assert one._run is not None
        abort_run(one._run, "by hand")
        one.wait(timeout=30)
        pytest.fail("the block goes on")
    assert {loopback.task(task.id)["status"] for task in one} == {"queued"}


def test_waiting_outlives_a_server_that_is_away(
    loopback: LoopbackServer, view: View, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that does not answer for a while costs nothing but time, and a line says so."""
    one = submitted()
    for task in one:
        finish(view, task.id)
    monkeypatch.setattr(_queueing, "POLL_TIMEOUT_S", 0.01)
    loopback.faults.fail_next("tasks.get_all", kind="drop_before", times=3)
    assert {row.status for row in one.wait(timeout=30)} == {"completed"}
    assert "4 queued; the server does not answer: " in caplog.text


def test_waiting_ends_where_nothing_is_to_come(
    loopback: LoopbackServer, view: View, caplog: pytest.LogCaptureFixture
) -> None:
    """A task that somebody takes out of the queue is not waited for."""
    one = submitted()
    first, *others = one
    view.call("tasks.dequeue", task=first.id)
    for task in others:
        finish(view, task.id)
    results = one.wait(timeout=20)
    assert [row.status for row in results] == ["created", "completed", "completed", "completed"]
    assert results.partial
    assert "1 taken out of the queue" in caplog.text


def test_ctrl_c_leaves_the_tasks_in_the_queue(
    loopback: LoopbackServer, view: View, caplog: pytest.LogCaptureFixture
) -> None:
    """Ctrl-C ends the waiting, not the tasks, and says so."""
    one = submitted()

    def interrupt(*limits: float) -> float:
        if threading.current_thread() is threading.main_thread():
            signal.raise_signal(signal.SIGINT)
        return 0.0

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(random, "uniform", interrupt)  # just before a pause
        one.wait(timeout=120)
    assert "interrupted; the tasks stay where they are: 4 queued" in caplog.text
    assert queue_of(loopback, "gpu") == NAMES


def test_nothing_submitted_is_nothing_to_wait_for(view: View) -> None:
    """A group without a queue does not wait, and cancels nothing."""
    with group() as one:
        for task in one.sweep({"C": [1]}):
            task.report({"loss": 0.5})
        assert [row.status for row in one.wait()] == ["completed"]
        assert str(one.cancel()) == "0 tasks dequeued, 0 asked to stop, 0 had ended"


def test_queued_tasks_are_looked_at_not_worked_on(view: View) -> None:
    """A submitted task tells who it is; reporting to it or ending it is an error that says where."""
    with group() as one:
        one.sweep(SPACE, queue="gpu")
        task = one.get(C=2, seed=1)
        assert (task.status, task.index, task.params, str(task)) == (
            "queued",
            3,
            {"C": 2, "seed": 1},
            NAMES[3],
        )
        calls: list[Callable[[], Any]] = [
            lambda: task.report({"loss": 1.0}, 1),
            lambda: task.set_parameters({"x": 1}),
            lambda: task.mark_completed(),
            lambda: task.mark_failed("so"),
            lambda: task.close(),
            lambda: task.__enter__(),
            lambda: task.logger,
        ]
        with pytest.raises(TaskReopenError, match="was submitted to a queue"):
            task.reopen()
        for call in calls:
            with pytest.raises(QueuedTaskError, match="was submitted to a queue"):
                call()
    assert task.status == "queued"


# --- a limit -------------------------------------------------------------------------------------


def test_a_limit_keeps_drafts_back(
    loopback: LoopbackServer, view: View, caplog: pytest.LogCaptureFixture
) -> None:
    """At most `limit` tasks are queued; without `wait` the others stay drafts, and that is told."""
    one = submitted(limit=3)
    assert queue_of(loopback, "gpu") == NAMES[:3]
    assert by_status(loopback)[NAMES[3]] == "created"
    assert [row.status for row in one.results()] == ["queued"] * 3 + ["created"]
    told = caplog.text
    assert "3 of 4 are left to queue 'gpu'; 1 stay drafts until there is a place (limit=3)" in told
    assert "1 draft will not be enqueued before that" in told


def test_waiting_fills_the_places(loopback: LoopbackServer, view: View) -> None:
    """As tasks end, `wait` enqueues the next ones; never more than the limit at once."""
    one = submitted(limit=2)
    seen = []
    ended: list[str] = []

    def work() -> None:
        while len(ended) < 4:
            waiting = queue_of(loopback, "gpu")
            seen.append(len(waiting))
            if waiting:
                finish(view, points(loopback)[waiting[0]]["id"])
                ended.append(waiting[0])

    thread = threading.Thread(target=work)
    thread.start()
    results = one.wait(timeout=30)
    thread.join()
    assert {row.status for row in results} == {"completed"}
    assert max(seen) == 2
    assert ended == NAMES


# --- cancelling ----------------------------------------------------------------------------------


def test_cancelling_says_what_it_did(
    loopback: LoopbackServer, view: View, caplog: pytest.LogCaptureFixture
) -> None:
    """Queued tasks and drafts are stopped, the agent of a running one is asked, ended ones stay."""
    one = submitted(limit=3)
    first, second, *_ = one
    finish(view, first.id)
    view.call("tasks.dequeue", task=second.id)
    view.call("tasks.started", task=second.id)
    view.call("workers.status_report", worker="host:gpu0", timestamp=0, task=second.id)
    cancelled = one.cancel()
    assert (cancelled.ended, cancelled.stopping) == ((NAMES[0],), (NAMES[1],))
    assert cancelled.dequeued == (NAMES[2], NAMES[3])
    assert by_status(loopback) == dict(
        zip(NAMES, ["completed", "in_progress", "stopped", "stopped"], strict=True)
    )
    assert loopback.task(second.id)["status_message"] == "stopping"
    assert loopback.task(points(loopback)[NAMES[2]]["id"])["status_reason"] == "cancelled by group.cancel()"
    assert "2 tasks dequeued, 1 asked to stop, 1 had ended" in caplog.text
    view.call("tasks.stopped", task=second.id)
    assert [row.status for row in one.wait(timeout=20)] == ["completed", "stopped", "stopped", "stopped"]


# --- resume --------------------------------------------------------------------------------------


@pytest.mark.parametrize("retry", ["new", "continue"])
def test_resume_submits_what_is_left(
    loopback: LoopbackServer, view: View, caplog: pytest.LogCaptureFixture, retry: Any
) -> None:
    """Completed, queued and running points are not submitted again; failed ones are."""
    first = submitted()
    ids = [task.id for task in first]
    finish(view, ids[0])
    finish(view, ids[1], "failed", "bad")
    view.call("tasks.dequeue", task=ids[2])
    view.call("tasks.started", task=ids[2])
    before = set(loopback.tasks)
    caplog.clear()
    again = submitted(resume=True, retry=retry)
    assert again.run == first.run
    assert "1 of 4 completed already; 3 of 3 are left to queue 'gpu'" in caplog.text
    made = set(loopback.tasks) - before
    assert loopback.task(ids[2])["status"] == "in_progress"
    assert queue_of(loopback, "gpu") == [NAMES[3], NAMES[1]]
    if retry == "new":
        (new,) = made
        assert (identity_of(loopback.task(new))["name"], identity_of(loopback.task(new))["attempt"]) == (
            NAMES[1],
            "2",
        )
    else:
        assert made == set()
        assert again.get(name=NAMES[1]).id == ids[1]
    assert again.get(name=NAMES[0]).done
    for task in again:
        if not task.done:
            finish(view, task.id)
    assert [row.status for row in again.wait(timeout=20)] == ["completed"] * 4
    caplog.clear()
    assert len(list(submitted(resume=True))) == 4
    assert "4 of 4 completed already; nothing is left to queue 'gpu'" in caplog.text


def test_resume_brings_points_to_the_script_as_it_is_now(
    loopback: LoopbackServer, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is enqueued again has the script of today, and its place in that: it may have changed."""
    repository = {"repository": "https://host/repository", "version_num": "a" * 40}
    script_detected(monkeypatch, {**SCRIPT, **repository})
    one = submitted(limit=1)
    failed = next(iter(one)).id
    finish(view, failed, "failed", "bad")
    script_detected(monkeypatch, {**SCRIPT, "diff": "print('mended')\n"})
    with group(resume=True, retry="continue") as again:
        again.sweep({"before": [1]}, queue="cpu")
        again.sweep(SPACE, queue="gpu")
    ordinals = {name: identity_of(doc)["sweep"] for name, doc in points(loopback).items()}
    assert ordinals == {"before=1": "0", **dict.fromkeys(NAMES, "1")}
    scripts = [doc["script"] for doc in points(loopback).values()]
    assert {(script["diff"], script["repository"]) for script in scripts} == {("print('mended')\n", "")}
    assert again.get(name=NAMES[0]).id == failed
    assert queue_of(loopback, "gpu") == NAMES


def test_resume_goes_on_with_half_a_submission(
    loopback: LoopbackServer, view: View, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the server refused in the middle, the drafts are enqueued and the rest is made."""
    with pytest.raises(ServerError), group() as one:
        loopback.faults.fail_next("tasks.create", status=400, body=refusal(400))
        one.sweep(SPACE, queue="gpu")
    assert "run it again with resume=True" in caplog.text
    assert list(by_status(loopback).values()) == ["created"] * 3
    assert submitted(resume=True).run == one.run
    assert sorted(queue_of(loopback, "gpu")) == NAMES
    assert len(points(loopback)) == 4
    assert {identity_of(doc)["attempt"] for doc in points(loopback).values()} == {"1"}


def test_a_notebook_is_no_script(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook the error says to put the sweep into a file."""
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    with group() as one, pytest.raises(SubmitError, match="or a notebook; put the sweep into a file"):
        one.sweep(SPACE, queue="gpu")


def test_resume_enqueues_drafts(loopback: LoopbackServer, view: View) -> None:
    """Drafts that a limit had kept back are enqueued, not made anew; a loop here runs them itself."""
    submitted(limit=1)
    drafts = {name: points(loopback)[name]["id"] for name in NAMES[1:]}
    before = set(loopback.tasks)
    submitted(resume=True, limit=3)
    assert queue_of(loopback, "gpu") == NAMES[:3]
    assert set(loopback.tasks) == before
    with group(resume=True) as one:
        assert [str(task) for task in one.sweep(SPACE)] == [NAMES[3]]
    assert one.get(name=NAMES[3]).id == drafts[NAMES[3]]
    assert by_status(loopback)[NAMES[3]] == "completed"
    assert queue_of(loopback, "gpu") == NAMES[:3]


def test_resume_leaves_running_tasks_to_their_agents(
    loopback: LoopbackServer, view: View, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """A task that an agent runs is neither stopped nor run again, seen from another machine as well."""
    one = submitted()
    view.call("tasks.dequeue", task=next(iter(one)).id)
    view.call("tasks.started", task=next(iter(one)).id)
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "elsewhere"))
    with group(resume=True) as again:
        assert list(again.sweep(SPACE)) == []
        assert again.run == one.run
    assert sorted(by_status(loopback).values()) == ["in_progress", "queued", "queued", "queued"]


def test_a_server_that_refuses_to_enqueue_is_told(loopback: LoopbackServer, view: View) -> None:
    """Tasks that cannot be enqueued are an error that gives the server's reason."""
    one = submitted(limit=2)
    assert one._queueing is not None
    view.call("queues.delete", queue=one._queueing.submissions[0].queue_id, force=True)
    for task in list(one)[:2]:
        view.call("tasks.started", task=task.id)
        view.call("tasks.completed", task=task.id)
    with pytest.raises(ServerError, match="2 of 2 tasks could not be enqueued"):
        one.wait(timeout=20)


# --- in processes of its own ---------------------------------------------------------------------


def test_a_real_script_submits_itself(loopback: LoopbackServer, view: View, tmp_path: Any) -> None:
    """A script in no repository goes whole into the tasks' diff; `Task.init`'s arguments go along."""
    script = """
        import argparse, sys
        from clearml import Task
        from clearml_taskgroup import TaskGroup

        sys.argv += ["--epochs", "4"]
        main = Task.init("the project", "the controller", auto_resource_monitoring=False)
        main.set_base_docker("python:3.11")
        parser = argparse.ArgumentParser()
        parser.add_argument("--epochs", type=int)
        parser.parse_args()
        main.connect({"depth": 2}, name="model")
        with TaskGroup("the project", "by itself") as group:
            group.sweep({"C": [1, 2]}, queue="gpu")
    """
    outside = {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent), "PYTHONWARNINGS": "ignore"}
    run_script(script, loopback, tmp_path / "home", extra=outside)
    task = points(loopback)["C=2"]
    assert task["script"]["diff"].strip() == (tmp_path / "home" / "script.py").read_text().strip()
    assert task["script"]["entry_point"] == "script.py"
    assert view.parameters(task["id"], "Args") == {"epochs": "4"}
    assert view.parameters(task["id"], "model") == {"depth": "2"}
    assert view.parameters(task["id"]) == {"C": "2"}
    assert task["container"]["image"] == "python:3.11"


# --- step by step ------------------------------------------------------------------------------


def state(name: str = "C=1", status: str = "queued") -> Any:
    """What the queue's code asks of a task."""
    spec = types.SimpleNamespace(name=name)
    return types.SimpleNamespace(
        id=name, spec=spec, status=status, is_open=status in ("created", "queued", "in_progress")
    )


@pytest.mark.parametrize(
    ("limit", "active", "drafts", "taken"),
    [(None, 5, 3, 3), (3, 1, 3, 2), (3, 2, 1, 1), (3, 3, 1, 0), (3, 4, 1, 0)],
)
def test_the_places_of_a_submission(limit: int | None, active: int, drafts: int, taken: int) -> None:
    """Queued and running tasks take places, ended ones do not; drafts are enqueued in their order."""
    tasks = [state(str(number), "queued" if number % 2 else "in_progress") for number in range(active)]
    waiting = [state(f"draft {number}", "created") for number in range(drafts)]
    one = Submission(
        "gpu", "id", limit, tasks=[*tasks, state("done", "completed"), *waiting], drafts=[*waiting]
    )
    assert one.take_drafts() == waiting[:taken]
    assert one.drafts == waiting[taken:]


def test_a_task_that_has_left_its_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent dequeues a task some time before it starts it; after that time somebody has taken it out."""
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(_queueing, "DEQUEUE_GRACE_S", 10.0)
    queueing, queued = Queueing(), state()
    expected = [(100.0, "created", "queued"), (109.0, "created", "queued"), (110.0, "created", "created")]
    expected += [(111.0, "queued", "queued"), (112.0, "created", "queued"), (121.0, "created", "queued")]
    for clock[0], word, status in expected:
        assert queueing._status(queued, word) == status
    assert queueing._status(queued, "") == "stopped"
    assert queueing._status(queued, "in_progress") == "in_progress"
    for known in ("created", "completed"):
        assert queueing._status(state("x", known), "created") == "created"


def test_counts_of_statuses() -> None:
    draft = state("d", "created")
    tasks = [
        state("a"),
        state("b"),
        state("c", "in_progress"),
        draft,
        state("e", "created"),
        state("f", "failed"),
    ]
    queueing = Queueing([Submission("gpu", "id", 1, tasks=tasks, drafts=[draft])])
    assert (
        queueing.counts() == "2 queued, 1 running, 1 waiting for a place, 1 taken out of the queue, 1 failed"
    )
    assert [one.id for one in queueing.open_tasks] == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("done", "tasks", "drafts", "served", "lines"),
    [
        (0, 2, 0, True, ["2 of 2 are left to queue 'gpu'"]),
        (1, 2, 0, True, ["1 of 3 completed already; 2 of 2 are left to queue 'gpu'"]),
        (0, 3, 1, True, ["2 of 3 are left to queue 'gpu'; 1 stay drafts until there is a place (limit=2)"]),
        (3, 0, 0, False, ["3 of 3 completed already; nothing is left to queue 'gpu'"]),
        (
            *(0, 1, 0, False),
            [
                "1 of 1 are left to queue 'gpu'",
                "no agent serves that queue yet: clearml-agent daemon --queue gpu",
            ],
        ),
    ],
)
def test_what_is_logged_of_a_submission(
    done: int, tasks: int, drafts: int, served: bool, lines: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    submitted_ = [state(str(number)) for number in range(tasks)]
    one = Submission("gpu", "id", 2, served, submitted_, submitted_[:drafts])
    Queueing([Submission("cpu", "id", None), one]).log_submission(done, submitted_, done + tasks)
    assert caplog.messages == lines


def test_what_is_logged_of_open_tasks(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing if all have ended; each queue once."""
    Queueing([Submission("gpu", "id", None, tasks=[state("a", "completed")])]).log_open_tasks()
    assert caplog.messages == []
    Queueing(
        [Submission(name, "id", None, tasks=[state()]) for name in ("gpu", "cpu", "gpu")]
    ).log_open_tasks()
    assert caplog.messages == ["left to the queue 'gpu' and 'cpu': 3 queued; group.wait() follows them"]


def waiting(monkeypatch: pytest.MonkeyPatch, tasks: list[Any]) -> tuple[Queueing, list[float]]:
    """A queue whose server is played: nothing changes, and only its pauses take time."""
    clock = [0.0]
    transport = types.SimpleNamespace(
        closing=types.SimpleNamespace(wait=lambda s: clock.__setitem__(0, clock[0] + s))
    )
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(_queueing, "_server", lambda run: contextlib.nullcontext(transport))
    monkeypatch.setattr(_queueing, "check_run", lambda run: None)
    monkeypatch.setattr(Queueing, "refresh", lambda *_: False)
    monkeypatch.setattr(Queueing, "_update", lambda *_: None)
    return Queueing([Submission("gpu", "id", None, tasks=tasks)]), clock


@pytest.mark.parametrize("timeout", [0.0, 0.3, 7.0])
def test_a_wait_lasts_as_long_as_it_may(timeout: float, monkeypatch: pytest.MonkeyPatch) -> None:
    queueing, clock = waiting(monkeypatch, [state("a"), state("b", "completed")])
    with pytest.raises(WaitTimeoutError) as caught:
        queueing.wait(RUN, timeout)
    assert (caught.value.seconds, caught.value.tasks) == (timeout, ["a"])
    assert clock[0] == pytest.approx(timeout)


def test_a_wait_for_nothing_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All have ended, or the rest was taken out of the queue."""
    for status in ("completed", "created"):
        queueing, clock = waiting(monkeypatch, [state("a", status)])
        queueing.wait(RUN, math.inf)
        assert clock == [0.0]


RUN: Any = object()
