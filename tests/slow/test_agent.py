"""The real `clearml-agent` runs points of a sweep against the loopback server."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from clearml_taskgroup._clearml.queries import identity_of
from tests.loopback import LoopbackServer
from tests.loopback.harness import run_script, sdk_environment
from tests.support.agents import add_queues, points, queue_of
from tests.support.paths import EXAMPLES
from tests.support.server_view import View

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("clearml_agent") is None,
        reason="clearml-agent is not installed: pip install --group agent",
    ),
]

EXAMPLE = EXAMPLES / "agents.py"

SCRIPT = """
    from clearml_taskgroup import TaskGroup

    with TaskGroup("the project", "at agents", template="{metric}/{split}") as group:
        for task in group.sweep({"warm": ["up"]}):
            print("this sweep has its turn", task)
        for task in group.sweep({"C": [0.1, 1.0, 10], "deep/kernel": ["rbf"]}, queue="gpu"):
            with task:
                for step in range(3):
                    task.report({"accuracy": step * task.params["C"]}, step, split="val")
                if task.params["C"] == 10:
                    raise MemoryError("no room for C=10")
        print("the loop is over")
    print(group.results())
"""


@pytest.fixture
def view(loopback: LoopbackServer) -> View:
    """The server, with a queue, as a test looks at it."""
    from clearml_taskgroup._clearml import login

    add_queues(loopback, "gpu")
    return View(login.connect(), "the project")


def execute(server: LoopbackServer, home: Path, task_id: str, extra: Mapping[str, str] | None = None) -> str:
    """Has an agent execute a task in this environment's Python; gives what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "clearml_agent", "execute", "--id", task_id],
        env={
            **sdk_environment(server, home),
            "CLEARML_AGENT_SKIP_PYTHON_ENV_INSTALL": "1",
            "CLEARML_AGENT_SKIP_PIP_VENV_INSTALL": sys.executable,
            **(extra or {}),
        },
        cwd=home,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    return done.stdout + done.stderr


def test_the_example_runs_on_agents(loopback: LoopbackServer, view: View, tmp_path: Path) -> None:
    """The script submits itself, waits, and prints the results of what two agents have run."""
    here = tmp_path / "here"
    env = sdk_environment(loopback, here) | {"QUEUE": "gpu", "GIT_CEILING_DIRECTORIES": str(tmp_path)}
    shutil.copy(EXAMPLE, here)
    pipe = subprocess.PIPE
    script = subprocess.Popen(
        [sys.executable, "agents.py"], cwd=here, env=env, stdout=pipe, stderr=pipe, text=True
    )
    try:
        assert script.stderr is not None
        while "2 of 2 are left to queue 'gpu'" not in (line := script.stderr.readline()):
            assert line, "the script has ended without submitting"
        waiting = queue_of(loopback, "gpu")
        for name in waiting:
            text = execute(loopback, tmp_path / "agent", points(loopback)[name]["id"])
            assert f"this agent's task is the configuration {name}" in text
        out, told = script.communicate(timeout=120)
    finally:
        script.kill()
    assert waiting == ["learning_rate=0.01", "learning_rate=0.1"]
    assert script.returncode == 0, told
    assert "2 tasks: 2 completed" in out
    assert "best: learning_rate=0.1: loss[split=val] = 0.16807" in out
    assert "2 completed" in told
    assert {doc["status"] for doc in loopback.tasks.values()} == {"completed"}
    assert len(loopback.tasks) == 3


def test_an_agent_runs_points_of_a_sweep(loopback: LoopbackServer, view: View, tmp_path: Path) -> None:
    """Each agent runs the one point that its task stands for, and ends the task by the exit code."""
    outside = {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    submitted = run_script(SCRIPT, loopback, tmp_path / "here", extra=outside)
    assert "3 of 3 are left to queue 'gpu'" in submitted.stderr
    docs = points(loopback)
    first, last = docs["C=1"], docs["C=10"]
    before = set(loopback.tasks)
    text = execute(loopback, tmp_path / "agent", first["id"])
    assert "this agent's task is the configuration C=1" in text
    assert "this sweep has its turn" not in text
    assert loopback.task(first["id"])["status"] == "completed", text
    assert loopback.scalars(first["id"]) == {("accuracy", "val"): [(0, 0.0), (1, 1.0), (2, 2.0)]}
    text = execute(loopback, tmp_path / "agent", last["id"])
    ended = loopback.task(last["id"])
    assert (ended["status"], ended["status_reason"]) == ("failed", "worker execution exit code 1"), text
    assert "MemoryError: no room for C=10" in view.console(last["id"])
    assert loopback.scalars(last["id"]) == {("accuracy", "val"): [(0, 0.0), (1, 10.0), (2, 20.0)]}
    assert set(loopback.tasks) == before
    assert (loopback.unknown_endpoints, loopback.task(docs["C=0.1"]["id"])["status"]) == (
        [],
        "queued",
    )


def test_an_agent_runs_a_copy_that_was_edited(loopback: LoopbackServer, view: View, tmp_path: Path) -> None:
    """A copy made and edited in the web page runs as the new point that it is."""
    outside = {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    run_script(SCRIPT, loopback, tmp_path / "here", extra=outside)
    task_id = points(loopback)["C=1"]["id"]
    copy = view.call("tasks.clone", task=task_id, new_task_name="Clone Of at agents C=1")["id"]
    item = {"section": "General", "name": "C", "value": "4.5", "type": "float"}
    view.call("tasks.edit_hyper_params", task=copy, hyperparams=[item])
    text = execute(loopback, tmp_path / "agent", copy)
    ended = loopback.task(copy)
    assert ended["status"] == "completed", text
    assert identity_of(ended)["name"] == "C=4.5,deep/kernel=rbf"
    assert ended["name"] == "at agents C=4.5,deep/kernel=rbf"
    assert loopback.scalars(copy)["accuracy", "val"][-1] == (2, 9.0)


WITH_ARGUMENTS = """
    import argparse
    import sys

    sys.argv += ["--epochs", "4"] if "CLEARML_TASK_ID" not in __import__("os").environ else []
    from clearml import Task
    from clearml_taskgroup import TaskGroup

    main = Task.init("the project", "the controller", auto_resource_monitoring=False)
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1)
    epochs = parser.parse_args().epochs
    with TaskGroup("the project", "with arguments") as group:
        for task in group.sweep({"C": [1, 2]}, queue="gpu"):
            with task:
                for epoch in range(epochs):
                    task.report({"loss": task.params["C"] / (epoch + 1)}, epoch)
                task.logger.report_text("a line by ClearML's logger")
        results = group.wait(timeout=0.01) if "CLEARML_TASK_ID" in __import__("os").environ else None
    main.close()
"""


def test_arguments_come_with_task_init(loopback: LoopbackServer, view: View, tmp_path: Path) -> None:
    """Beside `Task.init`, argparse gets the submitting script's arguments back on the agent."""
    outside = {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent), "PYTHONWARNINGS": "ignore"}
    run_script(WITH_ARGUMENTS, loopback, tmp_path / "here", extra=outside)
    task_id = points(loopback)["C=2"]["id"]
    before = set(loopback.tasks)
    text = execute(loopback, tmp_path / "agent", task_id)
    ended = loopback.task(task_id)
    assert ended["status"] == "completed", text
    assert view.parameters(task_id, "Args") == {"epochs": "4"}
    assert view.parameters(task_id) == {"C": "2"}
    assert loopback.scalars(task_id)["loss", "value"] == [(epoch, 2 / (epoch + 1)) for epoch in range(4)]
    assert "a line by ClearML's logger" in view.console(task_id)
    assert "AutoLoggingWarning" not in text
    assert set(loopback.tasks) == before
