"""Each example runs unchanged offline and on a server, and both hold the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_taskgroup._clearml.hyperparameters import SECTION
from tests.loopback import LoopbackServer
from tests.loopback.harness import sdk_environment
from tests.support.paths import EXAMPLES
from tests.support.scripts import Disk, environment

RUN_OF_ITS_OWN = ("run",)
"""What two runs of one group differ in."""

Curves = dict[tuple[str, str], list[tuple[int, float]]]


@attrs.frozen
class Held:
    """What a server, or the sessions and the record, hold of one task."""

    curves: Curves
    parameters: dict[str, dict[str, str]]
    tags: list[str]
    status: str
    kind: str


def run(name: str, env: dict[str, str], cwd: Path) -> str:
    """Runs an example as it is and gives what it printed."""
    cwd.mkdir(exist_ok=True)
    # Tests that run side by side would hold each other up with the threads of numerical libraries.
    own = {"CLEARML_SUPPRESS_UPDATE_MESSAGE": "1", "PYTHONWARNINGS": "ignore", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        cwd=cwd,
        env=env | own,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def values_of(sections: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The texts of hyperparameter sections, without those that are a run's own."""
    return {
        section: {
            name: str(item["value"])
            for name, item in sections.get(section, {}).items()
            if section != SECTION or name not in RUN_OF_ITS_OWN
        }
        for section in ("General", SECTION)
    }


def held_offline(disk: Disk) -> dict[str, Held]:
    """What the sessions hold, with the statuses of the run's record, by the tasks' names."""
    found = {}
    lines = disk.record()
    statuses = {line["id"]: line["status"] for line in lines if line["event"] == "end"}
    (closed,) = [line for line in lines if line["event"] == "close"]
    for name, session in disk.sessions.items():
        if SECTION not in session.task.get("hyperparams", {}):
            continue  # the script's own Task.init task
        curves: Curves = {}
        for title, series, iteration, value in session.scalars:
            curves.setdefault((title, series), []).append((iteration, value))
        task = session.task
        status = statuses.get(task["id"], closed["status"])
        curves = {pair: sorted(points) for pair, points in curves.items()}
        found[name] = Held(curves, values_of(task["hyperparams"]), sorted(task["tags"]), status, task["type"])
    return found


def held_online(server: LoopbackServer) -> dict[str, Held]:
    """What the server holds of tasks that a group made, by their names; without a parent's live counts."""
    found = {}
    for task_id, doc in server.tasks.items():
        if SECTION in doc.get("hyperparams", {}):
            assert doc["name"] not in found
            parameters, tags = values_of(doc["hyperparams"]), sorted(doc["tags"])
            curves = server.scalars(task_id)
            if doc["type"] == "controller":
                curves = {name: curve for name, curve in curves.items() if name[0] != "Tasks"}
            found[doc["name"]] = Held(curves, parameters, tags, doc["status"], doc["type"])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.py")))
def test_an_example_is_the_same_offline_and_online(name: str, tmp_path: Path) -> None:
    """An example leaves the same tasks, points, parameters, tags and statuses in both modes."""
    offline = environment(tmp_path, {"CLEARML_OFFLINE_MODE": "1"})
    printed = run(name, offline, tmp_path / "offline")
    expected = held_offline(Disk(tmp_path / "cache"))
    with LoopbackServer() as server:
        online = run(name, sdk_environment(server, tmp_path / "home"), tmp_path / "online")
        found = held_online(server)
        assert (server.violations, server.crashes, server.unknown_endpoints) == ([], [], [])
    assert expected
    assert any(held.curves for held in expected.values())
    assert found == expected
    assert bool(printed) == bool(online)
