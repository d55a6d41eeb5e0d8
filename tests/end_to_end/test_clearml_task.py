"""ClearML's own object, attached to a task of ours: `task.clearml_task` and `task.logger`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.loopback import LoopbackServer
from tests.support.clearml_process import run

ATTACH = """
from clearml_taskgroup import TaskGroup

found = {}
with TaskGroup("project", "group", mode="offline", provenance=False, tags=["all"]) as group:
    task, other = group.tasks({"C": [1, 2]})
    task.report({"loss": 0.5}, 1)
    group.flush()
    found["threads before"] = sorted(t.name for t in threading.enumerate())
    own = task.clearml_task
    found["own"] = [own.id == task.id, own.name, own.get_tags(), own.get_parameter("General/C", cast=True)]
    found["identity"] = own.get_configuration_object_as_dict("TaskGroup")["key"] == task.key
    found["design"] = own.get_model_config_text()
    found["once"] = task.clearml_task is own and task.logger is own.get_logger()
    from clearml import Task
    found["switch inside"] = Task.is_offline()
    task.logger.report_scalar(*task.metric("loss"), value=0.25, iteration=2)
    task.report({"loss": 0.125}, 3)
    reporters = [task.clearml_task._Task__reporter]
    other.logger.report_text("words", print_console=False)
    import numpy
    other.logger.report_image("image", "first", iteration=1, image=numpy.zeros((4, 4, 3), numpy.uint8))
    reporters.append(other.clearml_task._Task__reporter)
    services = [reporter._report_service for reporter in reporters]
    threads = [service._thread for service in services]
    found["reporting"] = [thread.is_alive() for thread in threads]
    with other:
        pass
    found["after its block"] = [thread.is_alive() for thread in threads]
found["after the group"] = [thread.is_alive() for thread in threads]
found["switch after"] = Task.is_offline()
found["points"] = sorted((e["iter"], e["value"]) for e in told(session(task) / "metrics.jsonl"))
found["words"] = [e["msg"] for e in told(session(other) / "metrics.jsonl") if "msg" in e]
found["files"] = [path.name for path in (session(other) / "data").rglob("*.jpeg")]

# Nested groups, the inner one attaching first: the outer's objects need the switch for longer.
with TaskGroup("project", "outer", mode="offline", provenance=False) as outer:
    held = outer.task({"C": 1})
    with TaskGroup("project", "inner", mode="offline", provenance=False) as inner:
        inner.task({"C": 2}).clearml_task
        held.clearml_task
    found["switch between"] = Task.is_offline()
    held.logger.report_scalar("title", "series", value=1.0, iteration=1)
    held.clearml_task.add_tags(["late"])
found["switch at last"] = Task.is_offline()
found["nested"] = [e["value"] for e in told(session(held) / "metrics.jsonl")]
found["late"] = json.loads((session(held) / "task.json").read_text())["tags"]
give(found)
"""


@pytest.fixture(scope="module")
def attached(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What one process found, its ClearML configured for a server that must not be asked."""
    with LoopbackServer() as server:
        done = run(ATTACH, tmp_path_factory.mktemp("attached"), env=server.environment())
        found = done.result
        assert server.calls == []
    assert done.trouble == []
    return found


def test_no_clearml_object_is_made_before_it_is_asked_for(attached: Any) -> None:
    """Opening tasks and reporting to them costs one thread for the whole group, and none of ClearML's."""
    assert attached["threads before"] == ["MainThread", "clearml-taskgroup"]


def test_the_attached_object_is_the_same_task(attached: Any) -> None:
    """ClearML's object has the task's id, name, tags, parameters and identity, and is made once."""
    assert attached["own"] == [True, "group C=1", ["all"], 1]
    assert attached["identity"] is True
    assert attached["design"] == ""  # of models: not the identity
    assert attached["once"] is True


def test_points_of_both_are_in_the_session(attached: Any) -> None:
    """Points before, through and after ClearML's logger are in one file when the block has ended."""
    assert attached["points"] == [[1, 0.5], [2, 0.25], [3, 0.125]]
    assert attached["words"] == ["words"]
    assert len(attached["files"]) == 1


def test_no_thread_of_a_task_outlives_it(attached: Any) -> None:
    """ClearML's reporting thread of a task ends with the task's block, at the latest with the group's."""
    assert attached["reporting"] == [True, True]
    assert attached["after its block"] == [True, False]
    assert attached["after the group"] == [False, False]


def test_the_offline_switch_is_put_back(attached: Any) -> None:
    """Attaching turns the switch on; the group's end puts it back, and no server is asked for that."""
    assert attached["switch inside"] is True
    assert attached["switch after"] is False


def test_nested_groups_share_the_switch(attached: Any) -> None:
    """An inner group's end leaves the switch on for the outer group's attached tasks."""
    assert attached["switch between"] is True
    assert attached["switch at last"] is False
    assert attached["nested"] == [1.0]
    assert attached["late"] == ["late"]


def test_nothing_has_to_be_configured(tmp_path: Path) -> None:
    """With no server configured and no mode given, attaching and closing work, and ClearML goes on."""
    script = """
        from clearml_taskgroup import TaskGroup
        from clearml import Task
        for name in ("first", "second"):
            with TaskGroup("project", name, provenance=False) as group:
                task = group.task({"C": 1})
                task.logger.report_scalar("title", "series", value=1.0, iteration=1)
        Task.set_offline(True)
        main = Task.init("project", "later", auto_connect_frameworks=False, auto_resource_monitoring=False)
        give([group.mode, [e["value"] for e in told(session(task) / "metrics.jsonl")], main.name])
    """
    done = run(script, tmp_path)
    assert done.result == ["offline", [1.0], "later"]
    assert done.err.count("no ClearML server is configured") == 1
    assert done.trouble == []


def test_clearml_can_go_online_afterwards(tmp_path: Path) -> None:
    """After a group that was offline by its own mode, `Task.init` in the same process is online."""
    script = """
        from clearml_taskgroup import TaskGroup
        from clearml import Task
        with TaskGroup("project", "group", mode="offline", provenance=False) as group:
            group.task({"C": 1}).logger.report_scalar("title", "series", value=1.0, iteration=1)
        main = Task.init("project", "online", auto_connect_frameworks=False, auto_resource_monitoring=False)
        main.get_logger().report_scalar("title", "series", value=2.0, iteration=1)
        main.close()
        give(main.id)
    """
    with LoopbackServer() as server:
        task_id = run(script, tmp_path, env=server.environment()).result
        assert server.task(task_id)["name"] == "online"
        assert server.scalars(task_id)[("title", "series")] == [(1, 2.0)]
        assert [task["name"] for task in server.tasks.values()] == ["online"]


@pytest.mark.slow
def test_many_writers_of_one_file(tmp_path: Path) -> None:
    """Threads that report, and ClearML's own writer with lines of any length, leave each line whole."""
    script = """
        from clearml_taskgroup import TaskGroup
        with TaskGroup("project", "group", mode="offline", provenance=False) as group:
            task = group.task({"C": 1})
            logger, long = task.logger, "x" * 50_000
            start = threading.Barrier(5)

            def ours(number):
                start.wait()
                for i in range(500):
                    task.report({"loss": i}, i, split=number)
                    if i % 10 == 0:
                        group.flush()

            def clearmls():
                start.wait()
                for i in range(300):
                    logger.report_scalar("own", "series", value=i, iteration=i)
                    if i % 20 == 0:
                        logger.report_text(long, print_console=False)
                        task.clearml_task.flush(wait_for_uploads=True)

            threads = [threading.Thread(target=ours, args=(n,)) for n in range(4)]
            threads.append(threading.Thread(target=clearmls))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        path = session(task) / "metrics.jsonl"
        points = {}
        texts = 0
        for event in told(path):
            if event["type"] == "log":
                texts += len(event["msg"]) >= 50_000
            else:
                name, point = event["metric"] + event["variant"], (event["iter"], event["value"])
                points.setdefault(name, []).append(point)
        whole = {name: sorted(curve) == [(i, i) for i in range(len(curve))] for name, curve in points.items()}
        give([{name: len(curve) for name, curve in points.items()}, all(whole.values()), texts,
              len(path.read_text().splitlines())])
    """
    done = run(script, tmp_path)
    counts, whole, texts, lines = done.result
    assert counts == {"loss0": 500, "loss1": 500, "loss2": 500, "loss3": 500, "ownseries": 300}
    assert whole is True
    assert texts == 15
    assert lines >= 50 + 15  # each flush is a line at least
    assert done.trouble == []


def test_uploads_that_run_out_of_time_are_told_and_kept(tmp_path: Path) -> None:
    """Where a block may not wait for ClearML's uploads, it says so; they end in the session all the same."""
    script = """
        from clearml_taskgroup import TaskGroup
        from clearml import Task
        errors, through = [], threading.Event()
        try:
            with TaskGroup("project", "group", mode="offline", provenance=False, close_timeout=0.0) as group:
                task = group.task({"C": 1})
                task.logger.report_scalar("title", "series", value=1.0, iteration=1)
                flush = task.clearml_task.flush
                task.clearml_task.flush = lambda **how: through.wait(60.0) and flush(**how)
        except* Exception as raised:
            errors = [str(error) for error in raised.exceptions]
        through.set()
        give([errors, task.id, str(session(task)), Task.is_offline()])
    """
    done = run(script, tmp_path, timeout=60.0)  # it must not hang at the exit
    errors, task_id, folder, offline = done.result
    assert any("ClearML's own uploads" in error and task_id in error for error in errors)
    # The switch stays on: an upload under way would else go to the server, under a temporary id.
    assert offline is True
    assert '"value": 1.0' in (Path(folder) / "metrics.jsonl").read_text()
    assert done.trouble == []


def test_an_ended_task_is_not_attached_any_more(tmp_path: Path) -> None:
    """ClearML's object of an ended task is refused by name: what it logs would go nowhere."""
    script = """
        from clearml_taskgroup import TaskGroup
        from clearml_taskgroup.errors import TaskClosedError
        with TaskGroup("project", "group", mode="offline", provenance=False) as group:
            task = group.task({"C": 1})
        from clearml import Task
        try:
            task.clearml_task
            give(["attached", Task.is_offline()])
        except TaskClosedError:
            give(["refused", bool(Task.is_offline())])
    """
    assert run(script, tmp_path).result == ["refused", False]
