"""The online store: the same block against a ClearML API server."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml.login import connect
from clearml_taskgroup._clearml.queries import group_tasks, identity_of, is_original
from clearml_taskgroup._model import limits
from clearml_taskgroup._model.specs import Ending, RunInfo
from clearml_taskgroup._storage.online import OnlineBackend
from clearml_taskgroup.errors import LoginError, NoSuchRunError
from tests.loopback import LoopbackServer
from tests.support.agents import script_detected
from tests.support.server_view import SINGLE_VALUE_ITERATION, View


def group_on(server: View, name: str = "online", **options: object) -> TaskGroup:
    """A group in the test's project, without the provenance that costs time."""
    return TaskGroup(server.project, name, mode="online", provenance=False, **options)  # type: ignore[arg-type]


def test_tasks_arrive_with_all_that_they_are(server: View) -> None:
    """Name, project, type, tags, parent, parameters and identity are on the server."""
    with group_on(server, tags=["all"]) as group:
        task = group.task({"C": 0.5, "net": {"depth": 3}}, tags=["one"])
    doc = server.task(task.id)
    assert doc["name"] == "online C=0.5,net/depth=3"
    assert doc["project"] == server.project_id()
    assert doc["type"] == "training"
    assert sorted(doc["tags"]) == ["all", "one"]
    assert doc["parent"] == group.parent_id
    assert server.parameters(task.id) == {"C": "0.5", "net/depth": "3"}
    identity = identity_of(doc)
    assert not {"key", "name", "index", "attempt", "params"} & server.parameters(task.id, "TaskGroup").keys()
    assert identity["group"] == group.id
    assert identity["key"] == task.key
    assert identity["run"] == group.run
    assert identity["params"] == '{"C": 0.5, "net/depth": 3}'


def test_points_arrive_under_their_names(server: View) -> None:
    """Scalars and single values of several tasks are on the server, each under its name."""
    with group_on(server, template="{metric}/{split}") as group:
        tasks = group.tasks({"seed": range(3)})
        for step in range(4):
            for task in tasks:
                task.report({"loss": 1 / (step + 1), "accuracy": step}, step, split="val")
        tasks[0].report({"loss": 7.5}, split="test")
    expected = {
        ("loss", "val"): [(0, 1.0), (1, 0.5), (2, 1 / 3), (3, 0.25)],
        ("accuracy", "val"): [(0, 0.0), (1, 1.0), (2, 2.0), (3, 3.0)],
    }
    single = {("Summary", "loss/test"): [(SINGLE_VALUE_ITERATION, 7.5)]}
    assert server.scalars(tasks[0].id, 9) == {**expected, **single}
    assert [server.scalars(task.id, 8) for task in tasks[1:]] == [expected] * 2


def test_statuses_are_those_that_were_earned(server: View) -> None:
    """Completed, failed and stopped tasks are so on the server, with their reasons."""
    with group_on(server, catch=MemoryError) as group:
        with group.task(name="fine"):
            pass
        with group.task(name="too large"):
            raise MemoryError("no room")
        group.task(name="pruned").mark_stopped("pruned at step 3")
    found = {doc["name"]: (doc["status"], doc["status_reason"]) for doc in server.tasks()}
    assert found == {
        "online fine": ("completed", ""),
        "online too large": ("failed", "MemoryError: no room"),
        "online pruned": ("stopped", "pruned at step 3"),
    }
    assert [doc["status"] for doc in server.tasks("parent")] == ["completed"]


def test_what_a_block_raises_is_on_the_console(server: View) -> None:
    """The traceback of a caught exception is in the console of its task."""
    with group_on(server, catch=MemoryError) as group:
        with group.task(name="too large") as task:
            raise MemoryError("no room")
    assert "MemoryError: no room" in server.console(task.id)


def test_an_exception_ends_all_tasks(server: View) -> None:
    """An exception that leaves the group's block fails the open tasks and the parent."""
    with pytest.raises(ValueError, match="wrong"):
        with group_on(server) as group:
            group.tasks({"seed": range(3)})
            raise ValueError("wrong")
    assert {doc["status"] for doc in server.tasks() + server.tasks("parent")} == {"failed"}


def test_an_interrupt_stops_all_tasks(server: View) -> None:
    """Ctrl-C in the block stops the open tasks and the parent."""
    with pytest.raises(KeyboardInterrupt):
        with group_on(server) as group:
            group.tasks({"seed": range(3)})
            raise KeyboardInterrupt
    assert {doc["status"] for doc in server.tasks() + server.tasks("parent")} == {"stopped"}


def test_parameters_can_be_added_while_a_task_runs(server: View) -> None:
    """set_parameters adds to the section General of a running task."""
    with group_on(server) as group:
        task = group.task({"C": 1})
        task.set_parameters({"found": {"depth": 4}})
    assert server.parameters(task.id) == {"C": "1", "found/depth": "4"}


def test_runs_are_numbered_on_the_server(server: View) -> None:
    """Each run of a group has the next number, whichever machine it runs on; parents show it."""
    numbers = []
    for _ in range(3):
        with group_on(server) as group:
            group.task(name="only")
            numbers.append(group.run_number)
    assert numbers == [1, 2, 3]
    assert [doc["name"] for doc in server.tasks("parent")] == ["online", "online #2", "online #3"]


def test_a_group_is_found_by_its_section(server: View) -> None:
    """All tasks of all runs are found by the section, and a copy is told from an original."""
    for seed in range(2):
        with group_on(server) as group:
            task = group.task({"seed": seed})
    server.call("tasks.clone", task=task.id, new_task_name="a copy")
    backend = OnlineBackend(connect())
    originals = group_tasks(backend.transport, group.id)
    backend.close()
    assert len(originals) == 2
    assert all(is_original(doc) for doc in originals)


def test_pages_have_addresses(server: View) -> None:
    """Tasks have a page, and the comparison has one for each 100 tasks."""
    with group_on(server) as group:
        tasks = group.tasks({"seed": range(101)})
        urls = group.compare_urls
    assert tasks[0].url is not None
    assert f"/tasks/{tasks[0].id}/" in tasks[0].url.replace("/experiments/", "/tasks/")
    assert [url.partition("ids=")[2].count(",") + 1 for url in urls] == [100, 1]


def test_two_processes_make_one_project(server: View) -> None:
    """Two groups that open at once in a project that is not there make it once."""
    barrier = threading.Barrier(4)
    errors: list[BaseException] = []

    def open_group(name: str) -> None:
        try:
            backend = OnlineBackend(connect())
            barrier.wait()
            backend.create(RunInfo("0" * 12, server.project, name, "{metric}"), [], None)
            backend.close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=open_group, args=(f"group {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = server.call("projects.get_all", name=f"^{server.project}$")["projects"]
    assert len(found) == 1


def test_three_calls_for_each_task(loopback: LoopbackServer) -> None:
    """A task costs three calls, and a flush one batch for all tasks together."""
    group = TaskGroup("calls", "counted", mode="online", provenance=False).open()
    assert loopback.wait_until(lambda: loopback.count("tasks.started") == 1)  # of the parent
    loopback.reset_counts()
    tasks = group.tasks({"seed": range(20)})
    group.flush()
    for step in range(5):
        for task in tasks:
            task.report({"loss": 1.0}, step)
    group.flush()
    assert loopback.count("events.add_batch") == 1
    group.close()
    calls = sum(call.endpoint.startswith("tasks.") for call in loopback.calls)
    assert calls == 20 * 3 + 1 + 2  # the parent's end; one look at the statuses of each kind


def test_a_deleted_task_costs_itself_alone(
    loopback: LoopbackServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A task that somebody deletes is named at the end, with its points; the others have every point."""
    group = TaskGroup("faults", "deleted", mode="online", provenance=False).open()
    gone, stays = group.tasks({"seed": range(2)})
    loopback.state.tasks.pop(gone.id)
    for step in range(5):
        gone.report({"loss": 1.0}, step)
        stays.report({"loss": 1.0}, step)
    group.close()
    (line,) = [record.getMessage() for record in caplog.records if "somebody" in record.getMessage()]
    assert "'seed=0' (deleted, 5 points after that lost)" in line
    assert loopback.scalars(stays.id) == {("loss", "value"): [(step, 1.0) for step in range(5)]}
    assert loopback.tasks[stays.id]["status"] == "completed"


def test_a_published_task_keeps_its_status(server: View, caplog: pytest.LogCaptureFixture) -> None:
    """A task that somebody publishes in the middle stays published; what came later is told."""
    group = group_on(server).open()
    locked, other = group.tasks({"seed": range(2)})
    locked.report({"loss": 1.0}, 0)
    group.flush()
    server.call("tasks.completed", task=locked.id)
    server.call("tasks.publish", task=locked.id)
    locked.report({"loss": 1.0}, 1)
    other.report({"loss": 1.0}, 1)
    group.close()
    (line,) = [record.getMessage() for record in caplog.records if "somebody" in record.getMessage()]
    assert "1 point after that lost" in line
    assert server.task(locked.id)["status"] == "published"
    assert server.scalars(other.id, 1) == {("loss", "value"): [(1, 1.0)]}


def test_a_renamed_project_loses_nothing(server: View) -> None:
    """A project that is renamed in the middle keeps all that its group reports."""
    with group_on(server) as group:
        task = group.task({"seed": 0})
        server.project += " renamed"
        project = server.task(task.id)["project"]
        server.call("projects.update", project=project, name=server.project)
        late = group.task({"seed": 1})
        task.report({"loss": 1.0}, 0)
    assert server.task(late.id)["project"] == project
    assert server.task(task.id)["status"] == "completed"
    assert server.scalars(task.id, 1) == {("loss", "value"): [(0, 1.0)]}


def test_a_project_that_the_web_page_hides_is_used(loopback: LoopbackServer) -> None:
    """As those of pipelines: it exists, so it cannot be created."""
    for _ in range(2):
        with TaskGroup("pipelines/steps", "online", mode="online", provenance=False) as group:
            group.task({"seed": 0}).report({"loss": 1.0})
        (hidden,) = (one for one in loopback.state.projects.values() if one["name"] == "pipelines/steps")
        hidden["system_tags"] = ["hidden"]
    assert {task["project"] for task in loopback.tasks.values()} == {hidden["id"]}
    with pytest.raises(NoSuchRunError, match="'online'"):
        TaskGroup.load("pipelines/steps", "onlin")


@pytest.mark.filterwarnings("ignore::clearml_taskgroup.errors.NonFiniteWarning")
def test_numbers_that_no_server_takes_stay_away(server: View) -> None:
    """NaN and 1e39 are left out, and every other point of every task arrives."""
    with group_on(server) as group:
        bad, good = group.tasks({"seed": range(2)})
        for step, value in enumerate((1.0, float("nan"), 1e39, 2.0)):
            bad.report({"loss": value}, step)
            good.report({"loss": 3.0}, step)
    assert server.scalars(bad.id, 2) == {("loss", "value"): [(0, 1.0), (3, 2.0)]}
    assert server.scalars(good.id, 4) == {("loss", "value"): [(step, 3.0) for step in range(4)]}


def test_silent_tasks_are_pinged(loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open tasks that report nothing, and the parent, are pinged; ended ones are not."""
    group = TaskGroup("pings", "silent", mode="online", provenance=False).open()
    ended, silent = group.tasks({"seed": range(2)})
    ended.close()
    assert group._run is not None
    backend = group._run.backend
    assert isinstance(backend, OnlineBackend)
    backend.keep_alive()
    assert loopback.count("tasks.ping") == 0
    monkeypatch.setattr(limits, "PING_AFTER_S", 0.0)
    backend.keep_alive()
    pinged = {call.body["task"] for call in loopback.calls if call.endpoint == "tasks.ping"}
    group.close()
    assert pinged == {silent.id, group.parent_id}


def test_wrong_credentials_are_told(loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that the server refuses are a named error that says what to check."""
    monkeypatch.setenv("CLEARML_API_SECRET_KEY", "wrong")
    with pytest.raises(LoginError, match=r"CLEARML_API_ACCESS_KEY.*mode='offline'"):
        TaskGroup("login", "refused", mode="online", provenance=False).open()


def test_a_run_goes_on_from_the_server_alone(
    server: View, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a machine without the run's record, what has completed is passed over, the rest runs again."""
    with group_on(server, catch=RuntimeError) as first:
        for task in first.sweep({"seed": range(3)}):
            with task:
                task.report({"loss": float(task.params["seed"])}, 0)
                if task.params["seed"] == 1:
                    raise RuntimeError("a bad node")
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "another machine"))
    with group_on(server, resume=True) as second:
        for task in second.sweep({"seed": range(3)}):
            with task:
                task.report({"loss": 10.0}, 0)
    assert second.run == first.run
    assert [(row.status, row.value("loss")) for row in second.results()] == [
        ("completed", 0.0),
        ("completed", 10.0),
        ("completed", 2.0),
    ]
    statuses = [(task["status"], server.parameters(task["id"])["seed"]) for task in server.tasks()]
    assert sorted(statuses) == [("completed", "0"), ("completed", "1"), ("completed", "2"), ("failed", "1")]


def test_an_offline_run_is_brought_to_the_server(server: View) -> None:
    """Uploaded, its tasks have their statuses, parameters, points and parent there."""
    with TaskGroup(server.project, "offline", mode="offline", provenance=False, catch=RuntimeError) as group:
        for task in group.sweep({"seed": range(2)}):
            with task:
                task.report({"loss": 0.5}, 3, split="val")
                if task.params["seed"]:
                    raise RuntimeError("a bad node")
    assert group.run is not None
    uploaded = TaskGroup.upload(group.run)
    assert uploaded.problems == ()
    found = {server.parameters(task["id"])["seed"]: task for task in server.tasks()}
    assert {seed: task["status"] for seed, task in found.items()} == {"0": "completed", "1": "failed"}
    assert {task["parent"] for task in found.values()} == {uploaded.parent}
    for doc in found.values():
        assert server.scalars(doc["id"], 1) == {("loss", "val"): [(3, 0.5)]}


def test_a_sweep_waits_in_a_queue_of_the_server(server: View, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points are submitted to a queue as drafts with their parameters, up to the limit, and cancelled."""
    script_detected(monkeypatch)
    name = f"taskgroup tests {uuid.uuid4().hex}"
    queue = server.call("queues.create", name=name)["id"]
    try:
        with TaskGroup(server.project, "queued", mode="online") as group:
            assert list(group.sweep({"C": [0.5, 2]}, queue=name, limit=1)) == []
            found = {server.parameters(task["id"])["C"]: task["status"] for task in server.tasks()}
            assert found == {"0.5": "queued", "2": "created"}
            entries = server.call("queues.get_by_id", queue=queue)["queue"]["entries"]
            assert [entry["task"] for entry in entries] == [group.get(C=0.5).id]
            assert {row.status for row in group.results()} == {"queued", "created"}
            assert len(group.cancel().dequeued) == 2
            assert [row.status for row in group.wait(timeout=20)] == ["stopped", "stopped"]
        assert server.call("queues.get_by_id", queue=queue)["queue"]["entries"] == []
    finally:
        server.call("queues.delete", queue=queue, force=True)


def test_a_task_ends_although_clearmls_own_uploads_go_on(
    server: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That they were late is an error; the status is set all the same, and that of the others, too."""
    late: list[str] = []

    def wait_for_uploads(backend: OnlineBackend, task_id: str, timeout: float) -> None:
        if task_id in late:
            raise TimeoutError("uploads take too long")

    monkeypatch.setattr(OnlineBackend, "wait_for_uploads", wait_for_uploads)
    with group_on(server) as group:
        first, second = group.tasks({"C": [1, 2]})
        late.append(first.id)
        endings = [Ending(task.id, "completed") for task in (first, second)]
        errors = group._opened().backend.finish(endings, 30.0)
        assert {task: str(error) for task, error in errors.items()} == {first.id: "uploads take too long"}
        assert [server.task(task.id)["status"] for task in (first, second)] == ["completed"] * 2
        late.clear()
