"""Online, a thread stores how tasks ended while the script goes on with the next one."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml.api import Transport
from clearml_taskgroup._run import task_ender
from clearml_taskgroup._run.task_ender import TaskEnder
from tests.loopback import LoopbackServer
from tests.loopback.faults import refusal
from tests.loopback.harness import run_script


@attrs.define
class Gate:
    """While it is shut, no call of another thread than the test's own reaches the server."""

    open: threading.Event = attrs.field(factory=threading.Event)
    here: list[str] = attrs.field(factory=list)
    let_through: str = ""

    @contextlib.contextmanager
    def shut(self, let_through: str = "") -> Iterator[None]:
        """Holds all calls up but those of this action, as long as the block lasts."""
        self.let_through = let_through
        self.open.clear()
        self.here.clear()
        try:
            yield
        finally:
            self.open.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """A gate that is open."""
    gate, call, this = Gate(), Transport.call, threading.current_thread()
    gate.open.set()

    def held(transport: Transport, action: str, *args: Any, **options: Any) -> dict[str, Any]:
        if threading.current_thread() is this:
            gate.here.append(action)
        elif action != gate.let_through:
            assert gate.open.wait(60)
        return call(transport, action, *args, **options)

    monkeypatch.setattr(Transport, "call", held)
    return gate


@pytest.fixture
def group(loopback: LoopbackServer) -> Iterator[TaskGroup]:
    """A group on the loopback server."""
    with TaskGroup("the project", "ends", mode="online", provenance=False) as group:
        yield group


def actions(server: LoopbackServer, task_id: str) -> list[str]:
    """What the server was asked to do with a task, in the order of arrival."""
    sent = f'"task":"{task_id}"'.encode()
    return [call.endpoint for call in server.calls if sent in call.raw.replace(b": ", b":")]


def test_an_iteration_waits_for_one_answer(loopback: LoopbackServer, gate: Gate, group: TaskGroup) -> None:
    """Only the creation of the next task is waited for; each task's own order is kept."""
    with gate.shut():
        for task in group.sweep({"seed": range(5)}):
            with task:
                task.report({"loss": 1.0}, 0)
            assert task.status == "completed"
        assert gate.here == ["tasks.create"] * 5
        assert {loopback.task(task.id)["status"] for task in group} == {"created"}
    group.close()
    for task in group:
        order = ["tasks.started", "events.add_batch", "tasks.completed"]
        assert [action for action in actions(loopback, task.id) if action in order] == order
        assert loopback.task(task.id)["status"] == "completed"


def test_flush_waits_for_the_ends(loopback: LoopbackServer, group: TaskGroup) -> None:
    """A script that asks the server itself calls it before."""
    with group.task({"seed": 0}) as task:
        task.report({"loss": 1.0}, 0)
    task.flush()
    assert loopback.task(task.id)["status"] == "completed"


def test_what_the_server_refuses_is_in_the_groups_error(loopback: LoopbackServer, gate: Gate) -> None:
    """Named by task; the others that were ended at the same time are ended once."""
    no = refusal(400, 999, "the disk of the database is full")
    with (
        pytest.raises(ExceptionGroup, match="ends") as raised,
        TaskGroup("the project", "ends", mode="online", provenance=False) as group,
        gate.shut(),
    ):
        for task in group.sweep({"seed": range(4)}):
            with task:
                pass
            if task.params["seed"] == 2:
                loopback.faults.fail_next(
                    "tasks.completed", status=400, body=no, containing=task.id.encode(), times=2
                )
            assert task.status == "completed"
    (error,) = raised.value.exceptions
    assert "'seed=2' could not be completed" in str(error)
    assert "the disk of the database is full" in str(error)
    others = [task for task in group if task.params["seed"] != 2]
    assert [actions(loopback, task.id).count("tasks.completed") for task in others] == [1, 1, 1]


def test_a_task_that_is_aborted_before_its_end_arrives(
    loopback: LoopbackServer, gate: Gate, group: TaskGroup
) -> None:
    """What a person has done stays, and the loop goes on: the task's work was done."""
    with gate.shut(let_through="tasks.started"):
        first, second = group.task({"seed": 0}), group.task({"seed": 1})
        with first:
            first.report({"loss": 1.0}, 0)
        transport = Transport(group._opened().backend.connection)  # type: ignore[attr-defined]
        transport.call("tasks.stopped", {"task": first.id, "status_reason": "by hand"})
        transport.close()
        assert first.status == "completed"
        with second:
            second.report({"loss": 1.0}, 0)
    group.flush()
    assert (first.status, first.status_reason) == ("stopped", "by hand")
    assert loopback.task(first.id)["status"] == "stopped"
    assert loopback.task(second.id)["status"] == "completed"
    assert loopback.scalars(first.id) == loopback.scalars(second.id)


def test_a_task_is_reopened_while_its_end_is_under_way(loopback: LoopbackServer, group: TaskGroup) -> None:
    """Its first end is stored before it is opened again."""
    with group.task({"seed": 0}) as task:
        task.report({"loss": 1.0}, 0)
    with task.reopen():
        task.report({"loss": 0.5}, 1)
    group.close()
    order = ["tasks.started", "events.add_batch", "tasks.completed"]
    assert [action for action in actions(loopback, task.id) if action in order] == order * 2
    assert loopback.scalars(task.id) == {("loss", "value"): [(0, 1.0), (1, 0.5)]}


def test_a_server_that_goes_away_holds_no_block_up(
    loopback: LoopbackServer, gate: Gate, group: TaskGroup
) -> None:
    """Its tasks end here at once, and there when it is back, at the group's end at the latest."""
    tasks = group.tasks({"seed": range(3)})
    with gate.shut():
        for task in tasks:
            with task:
                task.report({"loss": 1.0}, 0)
        assert gate.here == []
        loopback.faults.fail_next("*", kind="drop_before", times=2)
    group.close()
    assert {loopback.task(task.id)["status"] for task in tasks} == {"completed"}
    assert [loopback.scalars(task.id) for task in tasks] == [{("loss", "value"): [(0, 1.0)]}] * 3


def test_what_clearml_uploads_is_waited_for_in_the_block(
    loopback: LoopbackServer, gate: Gate, group: TaskGroup, tmp_path: Path
) -> None:
    """The script may delete a file right after the block of which it is an artifact."""
    file = tmp_path / "notes.txt"
    file.write_text("a long story")
    with gate.shut(let_through="tasks.started"), group.task({"seed": 0}) as task:
        task.clearml_task.upload_artifact("notes", artifact_object=file)
    file.unlink()
    group.flush()
    (artifact,) = loopback.task(task.id)["execution"]["artifacts"]
    assert (artifact["key"], artifact["content_size"]) == ("notes", len("a long story"))


def test_results_do_not_wait_for_ends(loopback: LoopbackServer, gate: Gate, group: TaskGroup) -> None:
    """They have the statuses that the tasks have earned."""
    with gate.shut():
        for task in group.sweep({"seed": range(3)}):
            with task:
                task.report({"loss": float(task.params["seed"])}, 0)
            assert group.results().best("loss", mode="min").name == "seed=0"


def test_so_many_tasks_wait_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """What finds no place in time is left to the group's end; what is taken back, to whoever takes it."""
    begun, go = threading.Event(), threading.Event()
    finished: list[str] = []

    def finish(_: Any, states: Any, timeout: float, last: bool) -> None:
        begun.set()
        assert go.wait(60)
        finished.extend(state.id for state in states)
        raise OSError("whatever happens, the thread goes on")

    monkeypatch.setattr(task_ender, "finish_tasks", finish)
    monkeypatch.setattr(task_ender, "MAX_WAITING", 3)
    ender = TaskEnder(SimpleNamespace(), 0.0)  # type: ignore[arg-type]
    states: list[Any] = [SimpleNamespace(id=str(number)) for number in range(6)]
    ender.put(states[0])
    assert begun.wait(60)
    for state in states[1:]:
        ender.put(state)
    assert [state in ender for state in states] == [True, True, True, True, False, False]
    assert ender.take_back(states[2:3], 0.0)
    assert not ender.take_back(states[:1], 0.0)
    assert not ender.wait(0.0)
    go.set()
    assert ender.wait(60.0)
    assert finished == ["0", "1", "3"]
    assert not any(state in ender for state in states)


SCRIPT = """
import os, signal, sys
from clearml_taskgroup import TaskGroup

with TaskGroup("the project", "ends", mode="online", provenance=False, {options}) as group:
    for task in group.sweep({{"seed": range(4)}}):
        print("runs", task)
        with task:
            task.report({{"loss": task.params["seed"] + 0.5}}, 0)
            if {dies} and len(group) == 3:
                sys.stdout.flush()
                os.kill(os.getpid(), signal.SIGKILL)
    print([(row.name, row.status, row.stats["loss", ()].last) for row in group.results()])
"""


def run(server: LoopbackServer, home: Path, options: str, dies: bool = False) -> list[str]:
    """Runs the script; gives what it has printed."""
    done = run_script(SCRIPT.format(options=options, dies=dies), server, home, check=not dies)
    return done.stdout.splitlines()


def members(server: LoopbackServer) -> list[tuple[str, str]]:
    """The tasks on the server, and their statuses."""
    tasks = [task for task in server.tasks.values() if task["type"] == "training"]
    return sorted((task["hyperparams"]["General"]["seed"]["value"], task["status"]) for task in tasks)


@pytest.fixture
def ended(loopback: LoopbackServer, tmp_path: Path, request: pytest.FixtureRequest) -> list[str]:
    """What had ended in a process that was killed before it could tell a server any data or end."""
    for action in ("tasks.completed", "events.add_batch"):
        loopback.faults.fail_next(action, kind="drop_before", times=10_000)
    ran = run(loopback, tmp_path, request.param, dies=True)
    assert len(ran) == 3
    assert {status for _, status in members(loopback)} <= {"created", "in_progress"}
    loopback.faults.clear()
    return [line[-1] for line in ran[:2]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ended", "options"),
    [("run='job 7'", "run='job 7', resume=True"), ("resume=True", "resume=True")],
    indirect=["ended"],
)
def test_a_kill_costs_only_what_had_not_ended(
    loopback: LoopbackServer, ended: list[str], options: str, tmp_path: Path
) -> None:
    """Tasks whose blocks had ended are completed with their data, and not run again."""
    *ran, results = run(loopback, tmp_path, options)
    assert sorted(line[-1] for line in ran) == sorted({"0", "1", "2", "3"} - {*ended})
    assert results == str([(f"seed={seed}", "completed", seed + 0.5) for seed in range(4)])
    statuses = members(loopback)
    assert [seed for seed, status in statuses if status == "completed"] == ["0", "1", "2", "3"]
    assert [status for _, status in statuses if status != "completed"] == ["stopped"]
    for task in loopback.tasks.values():
        if task["type"] == "training" and task["status"] == "completed":
            seed = int(task["hyperparams"]["General"]["seed"]["value"])
            assert loopback.scalars(task["id"]) == {("loss", "value"): [(0, seed + 0.5)]}


@pytest.mark.slow
@pytest.mark.parametrize("ended", ["resume=True"], indirect=True)
def test_a_killed_run_is_uploaded_with_the_ends_that_the_server_has_not_got(
    loopback: LoopbackServer, ended: list[str], tmp_path: Path
) -> None:
    """Only the task whose block was open is abandoned."""
    run_script("from clearml_taskgroup._cli import main; main(['upload', '--all'])", loopback, tmp_path)
    assert [seed for seed, status in members(loopback) if status == "completed"] == ended
    assert [status for _, status in members(loopback) if status != "completed"] == ["stopped"]
