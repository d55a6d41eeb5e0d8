"""A network that fails for a third of all requests, and a million points that wait."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml import api, login
from clearml_taskgroup._storage import sender as sender
from tests.loopback import DEFAULT_MIX, LoopbackServer
from tests.loopback.harness import sdk_environment

pytestmark = pytest.mark.slow

RUNS, TASKS, STEPS = 50, 5, 10
POINTS, MEMORY = 1_000_000, 50
"""Points that wait, and the most MiB that they may cost a process."""


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts that a test does not notice."""
    for module in (api, sender):
        monkeypatch.setattr(module, "MIN_RETRY_DELAY_S", 0.001)
        monkeypatch.setattr(module, "MAX_RETRY_DELAY_S", 0.01)
    monkeypatch.setattr(login, "MIN_LOGIN_RETRY_DELAY_S", 0.001)
    monkeypatch.setattr(login, "MAX_LOGIN_RETRY_DELAY_S", 0.01)


@pytest.mark.parametrize("seed", range(RUNS))
def test_a_third_of_all_requests_fails(short_pauses: None, loopback: LoopbackServer, seed: int) -> None:
    """Nothing is lost or doubled, every status is right and no task is doubled, whatever fails."""
    loopback.faults.random(0.3, seed, mix=DEFAULT_MIX)
    with TaskGroup("faults", f"seed {seed}", mode="online", provenance=False, catch=MemoryError) as group:
        tasks = group.tasks({"index": range(TASKS - 2)})
        tasks += [group.task(name="too large"), group.task(name="pruned")]
        for step in range(STEPS):
            for task in tasks:
                task.report({"loss": step / 2, "accuracy": step / 4}, step, split="val")
            if step % 3 == 0:
                group.flush()
        with tasks[-2]:
            raise MemoryError("no room")
        tasks[-1].mark_stopped("pruned")
    hurt = sum(bool(call.fault) for call in loopback.calls)
    loopback.faults.clear()
    members = {doc["id"]: doc for doc in loopback.tasks.values() if doc["type"] == "training"}
    assert set(members) == {task.id for task in tasks}
    assert [members[task.id]["status"] for task in tasks] == ["completed"] * 3 + ["failed", "stopped"]
    assert members[tasks[-2].id]["status_reason"] == "MemoryError: no room"
    (parent,) = (doc for doc in loopback.tasks.values() if doc["type"] == "controller")
    assert parent["status"] == "completed"
    assert {doc["parent"] for doc in members.values()} == {parent["id"]}
    assert len(loopback.projects) == 1
    for task in tasks:
        assert loopback.scalars(task.id) == {
            ("loss", "val"): [(step, step / 2) for step in range(STEPS)],
            ("accuracy", "val"): [(step, step / 4) for step in range(STEPS)],
        }
        last = loopback.last_metrics(task.id)
        assert [last[name, "val"]["value"] for name in ("loss", "accuracy")] == [4.5, 2.25]
    assert hurt >= 3
    assert group.record_path is not None
    assert [path.name for path in group.record_path.parent.iterdir()] == ["run-0001.jsonl"]


def test_a_million_points_wait_in_bounded_memory_and_arrive_in_order(tmp_path: Path) -> None:
    script = """
import resource, sys
from clearml_taskgroup import TaskGroup
from clearml_taskgroup.errors import DeliveryError

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def wait():
    print(most(), flush=True)
    sys.stdin.readline()

group = TaskGroup("million", "points", mode="online", provenance=False).open()
tasks = group.tasks({"seed": range(10)})
for task in tasks:
    task.report({"loss": -1.0}, -1)
group.flush()
wait()
for step in range(100_000):
    for task in tasks:
        task.report({"loss": float(step)}, step)
try:
    group.flush(1.0)
except DeliveryError as error:
    print(error, flush=True)
wait()
group.close()
print(most(), flush=True)
"""
    with LoopbackServer() as server:
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            env=sdk_environment(server, tmp_path),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        before = float(process.stdout.readline())
        server.faults.outage = True
        process.stdin.write("go on\n")
        process.stdin.flush()
        assert "1,000,000 points of 10 tasks" in process.stdout.readline()
        waiting = float(process.stdout.readline())
        server.faults.outage = False
        out, _ = process.communicate("go on\n", timeout=300)
        after = float(out)
        assert process.returncode == 0
        print(json.dumps({"before": before, "waiting": waiting, "after": after}))
        assert waiting - before < MEMORY
        assert after - before < MEMORY
        members = [task["id"] for task in server.tasks.values() if task["type"] == "training"]
        assert {server.task(task)["status"] for task in members} == {"completed"}
        with server.state.lock:
            for task in members:
                arrived = [event["iter"] for event in server.state.events[task].scalars.values()]
                assert arrived == list(range(-1, POINTS // 10))
        assert {server.last_metrics(task)["loss", "value"]["value"] for task in members} == {99_999.0}
