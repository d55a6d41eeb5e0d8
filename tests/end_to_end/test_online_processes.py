"""Online in fresh processes: ClearML's own objects, main tasks, agents, signals, forks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.loopback import LoopbackServer
from tests.loopback.harness import run_script

pytestmark = pytest.mark.slow

HEAD = """
import json, os, signal, sys, threading, warnings
warnings.simplefilter("ignore")
from clearml_taskgroup import TaskGroup

def give(**found):
    print("\\nFOUND " + json.dumps(found), flush=True)

def online(**options):
    return TaskGroup("processes", "the group", provenance=False, **options)

"""


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    """A loopback server of the test's own; nothing that it lacks or forbids may be asked."""
    with LoopbackServer() as found:
        yield found
        assert (found.violations, found.crashes, found.unknown_endpoints) == ([], [], [])


def run(server: LoopbackServer, tmp_path: Path, script: str, code: int = 0, **env: str) -> dict[str, Any]:
    """Runs a script and gives what it found."""
    done = run_script(HEAD + script, server, tmp_path, extra=env, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    found: dict[str, Any] = json.loads(told[-1].removeprefix("FOUND ")) if told else {}
    return {**found, "stderr": done.stderr, "stdout": done.stdout}


def made(server: LoopbackServer, kind: str) -> list[dict[str, Any]]:
    """The tasks that groups made, of one kind, in the order of their names."""
    found = [
        doc
        for doc in server.tasks.values()
        if doc.get("hyperparams", {}).get("TaskGroup", {}).get("kind", {}).get("value") == kind
    ]
    return sorted(found, key=lambda doc: str(doc["name"]))


def test_clearml_objects_are_waited_for(server: LoopbackServer, tmp_path: Path) -> None:
    """Plots, text, artifacts and images of `task.logger` and `task.clearml_task` are there at the end."""
    server.faults.fail_next("files.upload", kind="delay", delay=0.5, times=3)
    script = """
import numpy
with online() as group:
    first, other = group.tasks({"seed": [0, 1]})
    for task in (first, other):
        with task:
            task.logger.report_scalar(*task.metric("own"), value=0.5, iteration=1)
            task.metric("histogram").report_histogram(values=[1, 2], iteration=0)
            task.logger.report_image("image", "one", iteration=1, image=numpy.zeros((4, 4, 3), dtype="uint8"))
            task.logger.report_text("by the logger")
            task.clearml_task.upload_artifact("weights", {"a": 1})
            task.report({"loss": 1.0}, 1)
give(ids=[task.id for task in group], threads=[thread.name for thread in threading.enumerate()])
"""
    found = run(server, tmp_path, script)
    for task_id in found["ids"]:
        doc = server.task(task_id)
        assert doc["status"] == "completed"
        assert server.scalars(task_id) == {("own", "value"): [(1, 0.5)], ("loss", "value"): [(1, 1.0)]}
        assert [plot["metric"] for plot in server.plots(task_id)] == ["histogram"]
        (image,) = server.images(task_id)
        (artifact,) = doc["execution"]["artifacts"]
        assert artifact["key"] == "weights"
        for url in (image["url"], artifact["uri"]):
            assert unquote(url.removeprefix(f"{server.files_url}/")) in server.stored_files
        assert any("by the logger" in text for text in server.logs(task_id))


# --- beside Task.init --------------------------------------------------------------------------

BESIDE = """
from clearml import Task
from clearml_taskgroup.errors import ModeError
main = Task.init("processes", "main", auto_resource_monitoring=False)
before = Task.is_offline()
try:
    with online(mode=MODE) as group:
        task = group.task({"seed": 0})
        task.report({"loss": 0.5}, 1)
    found = dict(mode=group.mode, parent=group.parent_id == main.id, id=task.id)
except ModeError as error:
    found = dict(mode="ModeError", told=str(error))
give(**found, main=main.id, switched=Task.is_offline() != before, status=main.get_status())
main.close()
"""


@pytest.mark.parametrize("mode", [None, "online", "offline", "disabled"])
def test_modes_beside_an_online_main_task(server: LoopbackServer, tmp_path: Path, mode: str | None) -> None:
    """Beside an online main task, None and online work under it, offline is refused, no switch is turned."""
    found = run(server, tmp_path, BESIDE.replace("MODE)", f"{mode!r})"))
    assert found["switched"] is False
    assert found["status"] == "in_progress"
    assert server.task(found["main"])["status"] == "completed"
    assert made(server, "parent") == []
    if mode == "offline":
        assert found["mode"] == "ModeError"
        assert "Task.init task is online" in found["told"]
    elif mode == "disabled":
        assert found["mode"] == "disabled"
    else:
        assert (found["mode"], found["parent"]) == ("online", True)
        assert server.task(found["id"])["parent"] == found["main"]
        assert server.task(found["id"])["status"] == "completed"
        assert server.scalars(found["id"]) == {("loss", "value"): [(1, 0.5)]}
    assert len(made(server, "task")) == (mode in (None, "online"))


# --- on an agent -------------------------------------------------------------------------------

PREPARE = """
from clearml.backend_api.session.client import APIClient
api = APIClient()
project = api.projects.create(name="processes", description="").id
task = api.tasks.create(name="the agent's", type="training", project=project).id
api.tasks.started(task=task)
give(id=task)
"""


@pytest.mark.parametrize("init", [False, True], ids=["plain", "Task.init"])
def test_a_script_on_an_agent(server: LoopbackServer, tmp_path: Path, init: bool) -> None:
    """On an agent the group is under the agent's task, which is neither ended nor changed."""
    agent = run(server, tmp_path / "before", PREPARE)["id"]
    before = server.task(agent)
    server.reset_counts()
    script = """
from clearml import Task
main = Task.init("another", "name", auto_resource_monitoring=False) if INIT else None
with online() as group:
    for task in group.sweep({"seed": range(2)}):
        with task:
            task.report({"loss": 0.5}, 1)
give(parent=group.parent_id, ids=[task.id for task in group], current=main.id if main else None)
"""
    env = {"CLEARML_TASK_ID": agent, "CLEARML_LOG_TASK_TO_BACKEND": "0", "CLEARML_PROC_MASTER_ID": ""}
    found = run(server, tmp_path / "agent", script.replace("INIT", str(init)), **env)
    after = server.task(agent)
    assert found["parent"] == agent
    assert found["current"] == (agent if init else None)
    assert [server.task(task_id)["parent"] for task_id in found["ids"]] == [agent, agent]
    assert {server.task(task_id)["status"] for task_id in found["ids"]} == {"completed"}
    assert {doc["id"] for doc in server.tasks.values()} == {agent, *found["ids"]}
    for field in ("name", "project", "tags", "type"):
        assert after.get(field) == before.get(field)
    assert "TaskGroup" not in after.get("hyperparams", {})
    ends = ("tasks.completed", "tasks.failed", "tasks.stopped", "tasks.close")
    ended = [call for call in server.calls if call.endpoint in ends and call.body["task"] == agent]
    if not init:  # with Task.init the SDK itself ends its task with the process
        reported = ("last_update", "last_change", "last_metrics", "active_duration")  # the run's summary
        kept = [{name: doc[name] for name in doc if name not in reported} for doc in (before, after)]
        assert kept[0] == kept[1]
        assert ended == []
        assert after["status"] == "in_progress"
    assert all("group" not in str(call.body) for call in ended)


# --- how processes end -------------------------------------------------------------------------


@pytest.mark.parametrize("init", [False, True], ids=["plain", "Task.init"])
def test_sigterm(server: LoopbackServer, tmp_path: Path, init: bool) -> None:
    """SIGTERM stops the open tasks, with their points there, and the script ends with 143."""
    script = """
from clearml import Task
main = Task.init("processes", "main", auto_resource_monitoring=False) if INIT else None
with online() as group:
    done, task = group.tasks({"seed": [0, 1]})
    done.close()
    task.report({"loss": 0.5}, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(60)
"""
    run(server, tmp_path, script.replace("INIT", str(init)), code=143)
    done, task = made(server, "task")
    assert (done["status"], task["status"]) == ("completed", "stopped")
    assert server.scalars(task["id"]) == {("loss", "value"): [(1, 0.5)]}
    assert [doc["status"] for doc in made(server, "parent")] == ([] if init else ["stopped"])


def test_a_group_that_is_never_closed(server: LoopbackServer, tmp_path: Path) -> None:
    """A script that ends with a group open leaves stopped tasks with their points, and says so."""
    script = """
warnings.simplefilter("default")
group = online().open()
done, task = group.tasks({"seed": [0, 1]})
done.close()
for step in range(50):
    task.report({"loss": 0.5}, step)
"""
    found = run(server, tmp_path, script)
    done, task = made(server, "task")
    assert (done["status"], task["status"]) == ("completed", "stopped")
    assert task["status_reason"] == "the group was never closed"
    assert len(server.scalars(task["id"])["loss", "value"]) == 50
    assert [doc["status"] for doc in made(server, "parent")] == ["stopped"]
    assert "ResourceWarning: the group 'the group' was never closed" in found["stderr"]
    assert "Traceback" not in found["stderr"]


def test_a_forked_child_reports(server: LoopbackServer, tmp_path: Path) -> None:
    """What forked children report arrives with the parent's points; only the parent ends the tasks."""
    script = """
with online() as group:
    task, other = group.tasks({"seed": [0, 1]})
    task.report({"loss": 0.0}, 0)
    group.flush()
    children = []
    for child in range(1, 4):
        pid = os.fork()
        if not pid:
            for step in range(20):
                task.report({f"child {child}": float(step)}, step)
            group.flush()
            group.close()
            os._exit(0)
        children.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    status = [task.status, other.status]
    task.report({"loss": 1.0}, 1)
    other.report({"loss": 1.0}, 1)
give(codes=codes, status=status)
"""
    found = run(server, tmp_path, script)
    assert found["codes"] == [0, 0, 0]
    assert found["status"] == ["in_progress", "in_progress"]
    task, other = made(server, "task")
    steps = [(step, float(step)) for step in range(20)]
    assert server.scalars(task["id"]) == {
        ("loss", "value"): [(0, 0.0), (1, 1.0)],
        **{(f"child {child}", "value"): steps for child in range(1, 4)},
    }
    assert server.scalars(other["id"]) == {("loss", "value"): [(1, 1.0)]}
    assert (task["status"], other["status"]) == ("completed", "completed")
    assert server.count("tasks.completed") == 3
