"""The real SDK, unchanged, in processes of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .harness import run_script
from .server import LoopbackServer

pytestmark = pytest.mark.slow


def fine(server: LoopbackServer) -> None:
    """Nothing was asked that the server lacks, and nothing that the schemas forbid."""
    assert server.violations == []
    assert server.unknown_endpoints == []


def told(output: str) -> Any:
    """What a script printed last, as JSON."""
    return json.loads(output.strip().splitlines()[-1])


MAIN_TASK = """
import json
import numpy
from clearml import Task

task = Task.init("Group/sub project", "main task", output_uri=True)
task.connect({"lr": 0.1, "name": "net"})
task.add_tags(["fold"])
task.set_comment("said")
task.connect_configuration({"layers": [1, 2]}, name="net")
task.set_user_properties(owner="me")
logger = task.get_logger()
for step in range(100):
    logger.report_scalar("loss", "train", 1.0 / (step + 1), step)
logger.report_single_value("best", 3.5)
logger.report_text("hello from the script")
logger.report_histogram("hist", "series", values=[1, 2, 3], iteration=0)
logger.report_table("table", "series", iteration=0, table_plot=[["a", "b"], [1, 2]])
logger.report_image("image", "series", iteration=1, image=numpy.zeros((8, 8, 3), dtype="uint8"))
task.upload_artifact("art one", {"x": 1}, wait_on_upload=True)
task.flush(wait_for_uploads=True)
task_id = task.id
task.close()

found = Task.get_task(task_id=task_id)
print(json.dumps({
    "id": task_id,
    "status": found.get_status(),
    "artifact": found.artifacts["art one"].get(),
    "scalars": found.get_reported_scalars(),
    "all": len(found.get_all_reported_scalars()["loss"]["train"]["x"]),
    "last": found.get_last_scalar_metrics(),
    "single": found.get_reported_single_values(),
    "plots": len(found.get_reported_plots()),
    "console": "".join(found.get_reported_console_output(10)),
    "images": found.get_debug_samples("image", "series"),
    "parameters": found.get_parameters(),
    "properties": sorted(found.get_user_properties()),
    "configuration": found.get_configuration_object("net"),
    "project": found.get_project_name(),
    "page": found.get_output_log_web_page(),
}))
"""


def test_a_main_task_from_init_to_close(server: LoopbackServer, tmp_path: Path) -> None:
    """Everything that a script reports arrives, and can be read back by the SDK."""
    seen = told(run_script(MAIN_TASK, server, tmp_path).stdout)
    fine(server)
    task = server.task(seen["id"])
    assert task["status"] == seen["status"] == "completed"
    assert (task["tags"], task["comment"]) == (["fold"], "said")
    assert len(server.scalars(seen["id"])["loss", "train"]) == 100
    assert len(seen["scalars"]["loss"]["train"]["y"]) == seen["all"] == 100
    assert seen["last"]["loss"]["train"]["last"] == 0.01
    assert seen["single"] == {"best": 3.5}
    assert seen["plots"] == len(server.plots(seen["id"])) == 2
    assert "hello from the script" in seen["console"]
    assert "hello from the script" in "\n".join(server.logs(seen["id"]))
    assert len(seen["images"]) == len(server.images(seen["id"])) == 1
    assert seen["artifact"] == {"x": 1}
    assert seen["parameters"]["General/lr"] == "0.1"
    assert seen["properties"] == ["owner"]
    assert "layers" in seen["configuration"]
    assert seen["project"] == "Group/sub project"
    assert len(server.stored_files) == 2


def test_a_main_task_costs_the_calls_that_it_costs_really(server: LoopbackServer, tmp_path: Path) -> None:
    """Init, 100 points and close are 23 to 28 calls, as on the real server."""
    script = """
    from clearml import Task
    task = Task.init("Group", "main task")
    for step in range(100):
        task.get_logger().report_scalar("loss", "train", 1.0, step)
    task.close()
    """
    run_script(script, server, tmp_path)
    fine(server)
    assert 15 <= server.count() <= 28
    assert server.count("tasks.create") == server.count("tasks.completed") == 1


MEMBERS = """
import json
from clearml import OutputModel, Task

tasks = []
for number in range(4):
    task = Task.create("Group", f"member {number}", task_type="training")
    task.set_parameters({"General/number": number})
    task.add_tags([f"t{number}"])
    task.mark_started()
    task.get_logger().report_scalar("loss", "train", float(number), 1)
    task.upload_artifact("art", {"n": number}, wait_on_upload=True)
    task.flush(wait_for_uploads=True)
    tasks.append(task)

model = OutputModel(task=tasks[0], name="net", framework="pytorch")
model.update_weights(register_uri="http://127.0.0.1/net.pt")
tasks[0].mark_completed()
tasks[1].mark_failed(status_reason="broke", force=True)
tasks[2].mark_stopped()
tasks[3].set_name("renamed")
tasks[3].set_parameter("General/extra", 1)
tasks[3].delete_parameter("General/extra", force=True)
copy = Task.clone(tasks[0], name="copy")
tasks[1].reset(force=True)
Task.enqueue(tasks[1], queue_name="default")
Task.dequeue(tasks[1])
late = Task.get_task(task_id=tasks[2].id)
late.mark_started(force=True)
late.mark_completed()
tasks[0].publish()

names = lambda found: sorted(task.name for task in found)
doomed = Task.create("Group", "doomed")
print(json.dumps({
    "by_name": Task.get_task(project_name="Group", task_name="renamed").id == tasks[3].id,
    "all": names(Task.get_tasks(project_name="Group")),
    "tagged": names(Task.get_tasks(tags=["t1", "t2"])),
    "both": names(Task.get_tasks(tags=["__$all", "t1", "t2"])),
    "filtered": names(Task.get_tasks(task_filter={"status": ["completed"]})),
    "queried": len(Task.query_tasks(project_name="Group")),
    "fields": Task.query_tasks(task_name="copy", additional_return_fields=["name", "parent"]),
    "model": tasks[0].get_models()["output"][0].name,
    "copy": copy.get_parameters(),
    "deleted": bool(doomed.delete()),
    "archived": bool(tasks[3].set_archived(True)),
}))
"""


def test_members_get_every_status(server: LoopbackServer, tmp_path: Path) -> None:
    """Created tasks are started, filled, ended, copied, queued, found and deleted."""
    seen = told(run_script(MEMBERS, server, tmp_path).stdout)
    fine(server)
    statuses = {task["name"]: task["status"] for task in server.tasks.values()}
    assert statuses == {
        "member 0": "published",
        "member 1": "created",
        "member 2": "completed",
        "renamed": "in_progress",
        "copy": "created",
    }
    everyone = ["copy", "doomed", "member 0", "member 1", "member 2", "renamed"]
    assert seen["by_name"] is True
    assert seen["all"] == everyone
    assert seen["queried"] == len(everyone)
    assert seen["tagged"] == ["member 1", "member 2"]
    assert seen["both"] == []
    assert seen["filtered"] == ["member 2"]
    (first,) = server.tasks_named("member 0")
    assert [(found["name"], found["parent"]) for found in seen["fields"]] == [("copy", first["id"])]
    assert seen["model"] == "net"
    assert seen["copy"] == {"General/number": "0"}
    assert seen["deleted"] is True
    (renamed,) = server.tasks_named("renamed")
    assert "archived" in renamed["system_tags"]
    assert "extra" not in renamed["hyperparams"]["General"]


OFFLINE = """
from clearml import Task

Task.set_offline(True)
task = Task.init("Group", "offline task")
task.connect({"lr": 0.1})
for step in range(50):
    task.get_logger().report_scalar("loss", "train", float(step), step)
task.upload_artifact("art", {"x": 1})
task.close()
print(task.get_offline_mode_folder().as_posix() + ".zip")
"""

IMPORT = """
import json, sys
from clearml import Task

first = Task.import_offline_session({archive!r})
second = Task.import_offline_session({archive!r})
third = Task.create("Group", "target").id
again = Task.import_offline_session({archive!r}, previous_task_id=third)
print(json.dumps([first, second, third, again]))
"""


def test_an_offline_session_is_imported(server: LoopbackServer, tmp_path: Path) -> None:
    """Every import makes a completed task, unless it is told which one to go on with."""
    output = run_script(OFFLINE, None, tmp_path).stdout.strip().splitlines()
    archive = next(line for line in reversed(output) if line.endswith(".zip"))
    imported = run_script(IMPORT.format(archive=archive), server, tmp_path)
    first, second, third, again = told(imported.stdout)
    fine(server)
    assert first != second
    assert again == third
    for task_id in (first, second):
        task = server.task(task_id)
        assert (task["name"], task["status"]) == ("offline task", "completed")
        assert len(server.scalars(task_id)["loss", "train"]) == 50
        assert [item["key"] for item in task["execution"]["artifacts"]] == ["art"]
        assert task["hyperparams"]["General"]["lr"]["value"] == "0.1"
    assert len(server.scalars(third)["loss", "train"]) == 50


RAW = """
import json
from clearml.backend_api import Session
from clearml.backend_api.session.client import APIClient

client = APIClient()
project = client.projects.create(name="Group").id
task = client.tasks.create(name="raw task", type="training", project=project)
client.tasks.started(task=task.id)
found = client.tasks.get_all(project=[project], only_fields=["id", "name"])
try:
    client.tasks.get_by_id(task="nope")
    raised = ""
except Exception as error:
    raised = str(error)

session = Session()
event = {"type": "training_stats_scalar", "metric": "m", "variant": "v", "value": 1.0}
lines = [json.dumps({**event, "task": task.id, "iter": i}) for i in range(10)]
batch = session.send_request_batch("events", "add_batch", data=lines, method="post")
done = session.send_request("tasks", "completed", json={"task": task.id}, method="post")
bad = session.send_request("tasks", "completed", json={"task": "nope"}, method="post")
print(json.dumps({
    "id": task.id,
    "names": [t.name for t in found],
    "raised": raised,
    "batch": [r.json()["data"] for r in batch],
    "done": done.json()["data"]["fields"]["status"],
    "bad": [bad.status_code, bad.json()["meta"]["result_subcode"]],
    "version": [Session.server_version, Session.max_api_version, Session.feature_set],
    "stats": client.events.add_batch(requests=[{**event, "task": task.id, "iter": 99}]).added,
}))
"""


def test_raw_requests_and_the_api_client(server: LoopbackServer, tmp_path: Path) -> None:
    """The client's objects and plain requests get what the real server gives them."""
    seen = told(run_script(RAW, server, tmp_path).stdout)
    fine(server)
    assert seen["names"] == ["raw task"]
    assert "400/101" in seen["raised"]
    assert "Invalid task id" in seen["raised"]
    assert seen["batch"] == [{"added": 10, "errors": 0, "errors_info": {}}]
    assert seen["done"] == "completed"
    assert seen["bad"] == [400, 101]
    assert seen["version"] == ["2.3.0", "2.34", "basic"]
    assert seen["stats"] == 1
    assert len(server.scalars(seen["id"])["m", "v"]) == 11
