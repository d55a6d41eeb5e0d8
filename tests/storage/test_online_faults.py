"""A group on a server that fails: nothing is lost, nothing is doubled, and what failed is told."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml import api, login
from clearml_taskgroup._clearml.api_errors import Unreachable
from clearml_taskgroup._model import limits
from clearml_taskgroup._storage import batch_sender
from clearml_taskgroup._storage import sender as sender
from clearml_taskgroup.errors import DeliveryError, ServerError
from tests.loopback import LoopbackServer
from tests.storage.test_batch_sender import TOO_LARGE, point
from tests.support.server_view import View

ADD = batch_sender.ACTION
LOST: list[dict[str, Any]] = [
    {"kind": "drop_after"},
    {"kind": "truncate"},
    {"status": 502, "after": True},
    {"status": 500, "after": True},
]


def label(fault: dict[str, Any]) -> str:
    """The name of a fault, for pytest."""
    return str(fault.get("kind", fault.get("status")))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test does not notice."""
    for module in (api, sender):
        monkeypatch.setattr(module, "MIN_RETRY_DELAY_S", 0.002)
        monkeypatch.setattr(module, "MAX_RETRY_DELAY_S", 0.02)
    monkeypatch.setattr(login, "MIN_LOGIN_RETRY_DELAY_S", 0.002)
    monkeypatch.setattr(login, "MAX_LOGIN_RETRY_DELAY_S", 0.02)


def a_group(name: str = "the group", **options: Any) -> TaskGroup:
    """A group on the loopback server."""
    return TaskGroup("faults", name, mode="online", provenance=False, **options)


def check(loopback: LoopbackServer, group: TaskGroup, steps: int) -> None:
    """Every task is there once, completed, with each point of `steps` steps, the last one last."""
    docs = loopback.tasks
    assert Counter(doc["type"] for doc in docs.values()) == {"training": len(group), "controller": 1}
    assert {doc["status"] for doc in docs.values()} == {"completed"}
    assert {task.id for task in group} < set(docs)
    assert len(loopback.projects) == 1
    for task in group:
        seed = task.params["seed"]
        expected = [(step, seed + step / 4) for step in range(steps)]
        assert loopback.scalars(task.id) == {("loss", "value"): expected}
        assert loopback.last_metrics(task.id)["loss", "value"]["value"] == expected[-1][1]
    assert loopback.peak_in_flight(ADD) == 1


def work(group: TaskGroup, tasks: int, steps: int) -> None:
    """Reports from several tasks by turns, and from a loop."""
    early = group.tasks({"seed": range(tasks // 2)})
    for step in range(steps):
        for task in early:
            task.report({"loss": task.params["seed"] + step / 4}, step)
        if step % 5 == 4:
            group.flush()
    for task in group.sweep({"seed": range(tasks // 2, tasks)}):
        with task:
            for step in range(steps):
                task.report({"loss": task.params["seed"] + step / 4}, step)


# --- faults by chance --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 20))]
)
def test_a_third_of_all_requests_fails(loopback: LoopbackServer, seed: int) -> None:
    """With faults in 30 % of the requests nothing is lost or doubled, and every status is right."""
    loopback.faults.random(0.3, seed)
    with a_group() as group:
        work(group, 10, 20)
    loopback.faults.clear()
    check(loopback, group, 20)
    assert any(call.fault for call in loopback.calls)


def test_an_outage_in_the_middle_is_survived(loopback: LoopbackServer) -> None:
    """While the server is away the script goes on, and delivery goes on when it is back."""
    with a_group() as group:
        tasks = group.tasks({"seed": range(4)})
        group.flush()
        loopback.faults.fail_next("*", kind="drop_before", times=1_000_000)
        loopback.reset_counts()
        for step in range(20):
            for task in tasks:
                task.report({"loss": task.params["seed"] + step / 4}, step)
        assert loopback.wait_until(lambda: loopback.count() > 3)
        loopback.faults.clear()
    check(loopback, group, 20)


def test_a_server_of_500s_is_survived(loopback: LoopbackServer) -> None:
    """A server that answers everything with 500 for a while has refused nothing."""
    with a_group() as group:
        tasks = group.tasks({"seed": range(4)})
        loopback.faults.fail_next("events.*", status=500, times=40)
        for step in range(20):
            for task in tasks:
                task.report({"loss": task.params["seed"] + step / 4}, step)
    assert loopback.count(ADD, status=500) == 40
    check(loopback, group, 20)


# --- answers that were lost --------------------------------------------------------------------


@pytest.mark.quick(5)
@pytest.mark.parametrize("fault", LOST, ids=label)
@pytest.mark.parametrize(
    "action",
    ["projects.create", "tasks.create", "tasks.started", "tasks.completed", "events.add_batch"],
)
def test_a_lost_answer_doubles_nothing(loopback: LoopbackServer, action: str, fault: dict[str, Any]) -> None:
    """Where the server has acted and its answer was lost, the call is neither doubled nor an error."""
    loopback.faults.fail_next(action, **fault, times=2)
    with a_group() as group:
        work(group, 4, 5)
    check(loopback, group, 5)
    # A project is asked for before it is made again, so its making fails once.
    assert sum(bool(call.fault) for call in loopback.calls) == (1 if action == "projects.create" else 2)


@pytest.mark.parametrize("status", ["failed", "stopped"])
def test_a_lost_answer_to_another_end(loopback: LoopbackServer, status: str) -> None:
    """The answers to failed and stopped may be lost as well."""
    loopback.faults.fail_next(f"tasks.{status}", kind="drop_after")
    with a_group() as group:
        task = group.task({"seed": 0})
        task.mark_failed("why") if status == "failed" else task.mark_stopped("why")
    assert loopback.task(task.id)["status"] == status
    assert loopback.task(task.id)["status_reason"] == "why"


def test_a_start_that_fails_is_made_good(loopback: LoopbackServer) -> None:
    """A task whose start the server keeps failing is started later, and the thread lives on."""
    loopback.faults.fail_next("tasks.started", status=500, times=20)
    with a_group() as group:
        work(group, 2, 5)
        assert "clearml-taskgroup" in {thread.name for thread in threading.enumerate()}
    assert loopback.count("tasks.started", status=500) == 20
    check(loopback, group, 5)


def test_pings_may_fail(loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ping that fails is no error, and costs the group nothing."""
    with a_group() as group:
        task = group.task({"seed": 0})
        backend: Any = group._run and group._run.backend
        loopback.faults.fail_next("tasks.ping", status=502, times=99)
        monkeypatch.setattr(limits, "PING_AFTER_S", 0.0)
        backend.keep_alive()
        assert loopback.count("tasks.ping") >= 2
        monkeypatch.setattr(limits, "PING_AFTER_S", 1e6)
        task.report({"loss": 0.0}, 0)
    check(loopback, group, 1)


# --- what is told ------------------------------------------------------------------------------


@pytest.mark.quick(1)
@pytest.mark.parametrize("how", ["outage", "500", "hanging"])
def test_closing_without_a_server_ends_in_time(loopback: LoopbackServer, how: str) -> None:
    """close(timeout=) returns soon after its time, naming points and tasks; the record has each end."""
    group = a_group().open()
    tasks = group.tasks({"seed": range(3)})
    tasks[2].mark_stopped("pruned")
    group.flush()
    loopback.faults.outage = how == "outage"
    if how == "500":
        loopback.faults.fail_next("*", status=500, times=1_000_000)
    loopback.faults.latency = 3.0 if how == "hanging" else 0.0
    for step in range(7):
        tasks[0].report({"loss": 1.0}, step)
    tasks[1].report({"loss": 1.0}, 0)
    before = time.monotonic()
    with pytest.raises(ExceptionGroup) as raised:
        group.close(timeout=0.5)
    assert time.monotonic() - before < limits.API_ANSWER_TIMEOUT_S / 2
    (delivery_error,) = [error for error in raised.value.exceptions if isinstance(error, DeliveryError)]
    assert delivery_error.points == 8
    assert list(delivery_error.tasks) == ["seed=0", "seed=1"]
    loopback.faults.clear()
    assert group.record_path is not None
    told = group.record_path.read_text()
    for task, status in zip(tasks, ("completed", "completed", "stopped"), strict=True):
        assert f'"key": "{task.key}", "status": "{status}"' in told


def test_ends_that_could_not_be_told_are_named(loopback: LoopbackServer) -> None:
    """Where the data arrived and then the server was gone, the tasks without an end are named."""
    group = a_group().open()
    tasks = group.tasks({"seed": range(3)})
    for task in tasks:
        task.report({"loss": 1.0}, 0)
    group.flush()
    loopback.faults.fail_next("tasks.*", status=503, times=1_000_000)
    with pytest.raises(ExceptionGroup) as raised:
        group.close(timeout=0.5)
    text = " ".join(str(error) for error in raised.value.exceptions)
    assert "seed=0, seed=1, seed=2" in text
    assert {type(error) for error in raised.value.exceptions} <= {ServerError, Unreachable}
    loopback.faults.clear()


def test_a_poisoned_point_is_told_by_name(loopback: LoopbackServer) -> None:
    """A point that no server takes is counted for its task, and every other point arrives."""
    group = a_group().open()
    tasks = group.tasks({"seed": range(3)})
    for step in range(4):
        for task in tasks:
            task.report({"loss": task.params["seed"] + step / 4}, step)
    assert group._run is not None
    group._run.reporter.put_text(tasks[1].id, "hello")
    group._run.reporter._queue.append((tasks[1].id, point(tasks[1].id, TOO_LARGE, 2, "poison")))
    with pytest.raises(ExceptionGroup) as raised:
        group.close()
    (error,) = raised.value.exceptions
    assert isinstance(error, DeliveryError)
    assert (error.points, list(error.tasks)) == (1, ["seed=1"])
    assert "failed to index" in error.cause
    check(loopback, group, 4)


# --- speed -------------------------------------------------------------------------------------


def test_a_slow_server_does_not_hold_a_report_up(loopback: LoopbackServer) -> None:
    """While the server answers nothing, thousands of reports return."""
    with a_group() as group:
        tasks = group.tasks({"seed": range(4)})
        group.flush()
        with loopback.faults.holding():
            for step in range(500):
                for task in tasks:
                    task.report({"loss": task.params["seed"] + step / 4}, step)
    check(loopback, group, 500)


def test_a_hanging_call_does_not_hold_others_up(loopback: LoopbackServer) -> None:
    """Several tasks are created at once: their answers are waited for together."""
    with a_group() as group, ThreadPoolExecutor(1) as pool:
        loopback.reset_counts()
        with loopback.faults.holding():
            opened = pool.submit(group.tasks, {"seed": range(16)})
            assert loopback.wait_until(lambda: loopback.peak_in_flight("tasks.create") == 8)
        assert len(opened.result()) == 16
    assert loopback.peak_in_flight("tasks.create") == 8


def test_a_reset_task_is_not_taken_for_a_new_one(loopback: LoopbackServer, server: View) -> None:
    """Where the answer to a creation is lost, a task that was reset in the web page is left alone."""
    with a_group() as group:
        old = group.task({"seed": 0})
    server.call("tasks.reset", task=old.id)
    loopback.faults.fail_next("tasks.create", status=502)
    with a_group(resume=True) as group:
        new = group.task({"seed": 0})
    assert new.id != old.id
    assert server.task(old.id)["status"] == "created"
    assert server.task(new.id)["status"] == "completed"
