"""A group beside the script's own `Task.init` task, which is its parent and never ours to end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.loopback import LoopbackServer
from tests.support.clearml_process import run

pytestmark = pytest.mark.slow
MODES = """
from clearml_taskgroup import TaskGroup
from clearml_taskgroup.errors import ModeError
from clearml import Task

def effective(asked):
    before = Task.is_offline()
    group = TaskGroup("project", f"with mode {asked}", mode=asked, provenance=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with group:
                group.task({"C": 1}).report({"loss": 0.5}, 1)
                found = [group.mode, Task.is_offline() == before]
    except ModeError as error:
        found = ["ModeError", Task.is_offline() == before, str(error)]
    return [*found, Task.is_offline() == before]

def matrix():
    return {str(asked): effective(asked) for asked in (None, "offline", "online", "disabled")}
"""
MAIN = """
main = Task.init("project", "main task", auto_resource_monitoring=False)
"""
BESIDE = """
found = {"status": [str(main.status)]}
logger = main.get_logger()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    group = TaskGroup("project", "group", provenance=False, tags=["all"])
    with group:
        found["parent"] = group.parent_id == main.id
        task, other = group.tasks({"C": [1, 2]})
        task.report({"loss": 0.5}, 1)
        task.logger.report_scalar(*task.metric("loss"), value=0.25, iteration=2)
        import joblib
        from sklearn.linear_model import LinearRegression
        with other:
            print("printed inside")
            model = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
            joblib.dump(model, "model.pkl")
            scores = joblib.Parallel(n_jobs=2, prefer="threads")(joblib.delayed(abs)(i) for i in range(4))
            other.report({"score": model.score([[0.0], [1.0]], [0.0, 1.0])}, 1)
        logger.report_scalar("own", "series", value=1.0, iteration=1)
    AFTER_THE_BLOCK
found["warned"] = [w.category.__name__ for w in caught if "Task.init was called" in str(w.message)]
found["ours"] = [str(w.message) for w in caught if w.category.__module__.startswith("clearml_taskgroup")]
found["statuses"] = [task.status, other.status]
try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with TaskGroup("project", "fails", provenance=False) as failing:
            failing.task({"C": 1})
            raise ValueError("the reason")
except ValueError:
    pass
found["main"] = [
    Task.current_task() is main, main.name, main.get_project_name(), str(main.status), main.get_tags() or [],
]
found["thread"] = main._Task__reporter.is_alive()
logger.report_scalar("own", "series", value=2.0, iteration=2)
main.flush(wait_for_uploads=True)
found["ids"] = [main.id, task.id, other.id]
"""


def test_an_offline_main_task_is_the_parent_and_goes_on(tmp_path: Path) -> None:
    """An offline `Task.init` task is the parent, is flushed at the end, and is untouched otherwise."""
    offline = """
    own = Path(main.get_offline_mode_folder()) / "metrics.jsonl"
    found["flushed"] = [e["value"] for e in told(own) if e.get("metric") == "own"]
"""
    script = MODES + "Task.set_offline(True)" + MAIN + BESIDE.replace("AFTER_THE_BLOCK", offline.strip())
    script += """
folder = own.parent
found["after"] = [e["value"] for e in told(own) if e.get("metric") == "own"]
found["points"] = [[e["iter"], e["value"]] for e in told(session(task) / "metrics.jsonl")]
found["scores"] = [e["value"] for e in told(session(other) / "metrics.jsonl") if "value" in e]
found["zipped"] = folder.with_suffix(".zip").exists()
found["name on disk"] = json.loads((folder / "task.json").read_text())["name"]
found["kinds"] = sorted(
    json.loads(path.read_text())["type"]
    for path in folder.parent.glob("*/task.json")
    if path.parent != folder
)
found["modes"] = matrix()
found["switch"] = Task.is_offline()
give(found)
main.close()
"""
    done = run(script, tmp_path)
    found = done.result
    assert found["parent"] is True
    assert found["flushed"] == [1.0]
    assert found["after"] == [1.0, 2.0]
    assert found["warned"] == ["AutoLoggingWarning"]
    assert found["statuses"] == ["completed", "completed"]
    assert found["main"] == [True, "main task", "project", found["status"][0], []]
    assert found["thread"] is True
    assert found["points"] == [[1, 0.5], [2, 0.25]]
    assert found["scores"] == [1.0]
    assert (found["zipped"], found["name on disk"]) == (False, "main task")
    assert found["kinds"] == ["training"] * 3  # no parent of ours
    modes = found["modes"]
    assert modes["None"] == modes["offline"] == ["offline", True, True]
    assert modes["disabled"] == ["disabled", True, True]
    assert modes["online"][0] == "ModeError"
    assert "Task.init task is offline" in modes["online"][2]
    assert modes["online"][1] is modes["online"][3] is found["switch"] is True
    assert "printed inside" in done.out
    assert done.trouble == []


@attrs.frozen
class Online:
    """A server on which a main task and a group were beside each other, and what the script found."""

    server: LoopbackServer
    found: dict[str, Any]

    def task(self, index: int) -> dict[str, Any]:
        """One of the tasks `main`, `task` and `other` as the server has it."""
        return self.server.task(self.found["ids"][index])


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Online]:
    """Runs the script with an online main task, which is still open as the process is looked at."""
    asking = """
    found["flushed"] = read(main)
"""
    script = (
        MODES
        + """
def read(task):
    curves = task.get_reported_scalars()
    return {title: curves[title]["series"]["y"] for title in curves if title == "own"}
"""
        + MAIN
        + BESIDE.replace("AFTER_THE_BLOCK", asking.strip())
        + """
found["after"] = read(main)
from clearml.backend_api.session.client import APIClient
found["open"] = APIClient().tasks.get_by_id(task=main.id).status.value
found["modes"] = matrix()
found["switch"] = Task.is_offline()
give(found)
main.close()
"""
    )
    with LoopbackServer() as server:
        done = run(script, tmp_path_factory.mktemp("online"), env=server.environment())
        assert done.trouble == [], done.out + done.err
        yield Online(server, done.result)


def test_an_online_main_task_is_the_parent_and_goes_on(online: Online) -> None:
    """An online `Task.init` task is the parent of the group's tasks, is flushed, and stays in progress."""
    found = online.found
    assert found["parent"] is True
    assert [online.task(index)["parent"] for index in (1, 2)] == [found["ids"][0]] * 2
    assert found["flushed"] == {"own": [1.0]}
    assert found["after"] == {"own": [1.0, 2.0]}
    assert found["warned"] == ["AutoLoggingWarning"]
    assert found["open"] == "in_progress"
    assert found["main"] == [True, "main task", "project", "in_progress", []]
    assert online.task(0)["name"] == "main task"
    assert online.task(0)["status"] == "completed"  # by its own close
    assert found["thread"] is True
    assert not found["switch"]


def test_the_tasks_beside_an_online_main_task_arrive(online: Online) -> None:
    """The group's tasks have their data and statuses on the server, next to the main task's."""
    ids = online.found["ids"]
    assert online.server.scalars(ids[1]) == {("loss", "value"): [(1, 0.5), (2, 0.25)]}
    assert online.server.scalars(ids[2]) == {("score", "value"): [(1, 1.0)]}
    assert [online.task(index)["status"] for index in (1, 2)] == ["completed", "completed"]
    assert not [task for task in online.server.tasks.values() if task["type"] == "controller"]


def test_modes_beside_an_online_main_task(online: Online) -> None:
    """Beside an online main task a group is online or disabled; offline is refused, no switch is flipped."""
    modes = online.found["modes"]
    assert modes["None"] == modes["online"] == ["online", True, True]
    assert modes["disabled"] == ["disabled", True, True]
    assert modes["offline"][0] == "ModeError"
    assert "Task.init task is online" in modes["offline"][2]
    assert modes["offline"][1] is modes["offline"][3] is True


def test_modes_without_a_main_task(tmp_path: Path) -> None:
    """Without a main task every mode can be had while ClearML is online, and none changes its switch."""
    with LoopbackServer() as server:
        modes = run(MODES + "give(matrix())", tmp_path, env=server.environment()).result
        assert {task["name"].split(" C=")[0] for task in server.tasks.values()} == {
            "with mode None",
            "with mode online",
        }
    assert {asked: found[0] for asked, found in modes.items()} == {
        "None": "online",
        "offline": "offline",
        "online": "online",
        "disabled": "disabled",
    }
    assert all(found[1:] == [True, True] for found in modes.values())


def test_modes_while_clearml_is_set_offline(tmp_path: Path) -> None:
    """With CLEARML_OFFLINE_MODE set, a group goes along, and mode='online' is refused by name."""
    env = {"CLEARML_OFFLINE_MODE": "1"}
    modes = run(MODES + "give(matrix())", tmp_path, env=env).result
    assert modes["None"] == modes["offline"] == ["offline", True, True]
    assert modes["disabled"] == ["disabled", True, True]
    assert modes["online"][0] == "ModeError"
    assert "CLEARML_OFFLINE_MODE" in modes["online"][2]


def test_a_main_task_that_somebody_stops_ends_the_script(tmp_path: Path) -> None:
    """The group's tasks are stopped, the error leaves its block, the main task keeps status and reason."""
    script = """
from clearml import Task
from clearml_taskgroup import TaskGroup
from clearml_taskgroup._model import limits

main = Task.init("project", "main task", auto_resource_monitoring=False, auto_connect_frameworks=False)
limits.HEARTBEAT_S = 0.0
with TaskGroup("project", "group", provenance=False) as group:
    for task in group.sweep({"C": [1, 2]}):
        with task:
            task.report({"loss": 0.5}, 1)
            main.stopped(status_reason="by hand", force=True)
            group._run.backend.keep_alive()
            task.report({"loss": 0.5}, 2)
print("the block went on")
"""
    with LoopbackServer() as server:
        done = run(script, tmp_path, env=server.environment())
        ends = {task["name"]: (task["status"], task["status_reason"]) for task in server.tasks.values()}
    why = "the group 'group' was stopped by somebody else (by hand)"
    assert ends == {"main task": ("stopped", "by hand"), "group C=1": ("stopped", why)}
    assert done.code == 1
    assert f"TaskAbortedError: {why}" in done.err
    assert "went on" not in done.out
