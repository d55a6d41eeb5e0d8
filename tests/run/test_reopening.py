"""`task.reopen()`: a completed task takes more data, in the same run and in a resumed one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import joblib
import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._clearml import login
from clearml_taskgroup._clearml.api import Transport
from clearml_taskgroup._clearml.sdk import cache_folder
from clearml_taskgroup._clearml.tasks import WATCHDOG_REASON
from clearml_taskgroup._storage.past_runs import all_runs
from clearml_taskgroup._storage.run_log import RunLog
from clearml_taskgroup.errors import (
    GroupStateError,
    NameCollisionError,
    StoreError,
    TaskClosedError,
    TaskReopenError,
)
from clearml_taskgroup.testing import recording
from tests.loopback import LoopbackServer
from tests.support.cli import command
from tests.support.offline_run import Killed, Steps
from tests.support.runs import NAME, PROJECT, Place, curve, kill, only, originals

pytestmark = pytest.mark.filterwarnings("ignore::clearml_taskgroup.errors.DriftWarning")
SPACE = {"seed": range(2)}


@pytest.fixture(params=["offline", "online"])
def place(request: pytest.FixtureRequest) -> Place:
    """A place for groups, offline or on a loopback server."""
    return Place(request.getfixturevalue("loopback") if request.param == "online" else None)


def train(place: Place, **options: Any) -> dict[str, str]:
    """Completes a run of two tasks; gives their ClearML ids."""
    with place.group(**options) as group:
        for task in group.sweep(SPACE):
            with task:
                for step, loss in enumerate((4.0, 1.0, 2.0)):
                    task.report({"loss": loss}, step)
    return {str(task): task.id for task in group}


def statistics(results: Any, row: int = 0) -> tuple[Any, ...]:
    """First, last, min, max, mean and count of a task's loss."""
    stats = results[row].stats["loss", ()]
    return (stats.first, stats.last, stats.min, stats.max, stats.mean, stats.count)


def last(results: Any, metric: str, **context: Any) -> float:
    """The last value of the first task."""
    value: float = results[0].stats[metric, tuple(context.items())].last
    return value


ALL = (4.0, 8.0, 0.5, 8.0, 3.1, 5)  # of 4, 1, 2, 0.5, 8


def test_in_the_same_block(place: Place) -> None:
    """The same ClearML task goes on, any number of times, and its curve is one."""
    with place.group() as group:
        with group.task({"seed": 0}) as task:
            for step, loss in enumerate((4.0, 1.0, 2.0)):
                task.report({"loss": loss}, step)
        with task.reopen() as again:
            assert again is task
            assert task.status == "in_progress"
            task.report({"loss": 0.5}, 3)
        assert task.status == "completed"
        task.reopen().report({"loss": 8.0}, 4)  # the group ends it
        task.report({"accuracy": 0.9})
    assert statistics(group.results()) == ALL
    assert place.attempts() == [("seed=0", 1, "completed")]
    loaded = TaskGroup.load(PROJECT, NAME, mode=place.mode)
    assert statistics(loaded) == ALL
    assert last(loaded, "accuracy") == 0.9


@pytest.mark.quick(3)
@pytest.mark.parametrize("found_by", ["task", "get", "sweep"])
def test_in_a_resumed_run(place: Place, found_by: str) -> None:
    """What was reported before is kept, and the parent ends with a summary of all tasks."""
    ids = train(place)
    with place.resume() as group:
        if found_by == "sweep":
            assert len(group.sweep(SPACE)) == 0
        task = group.task({"seed": 0}) if found_by == "task" else group.get(seed=0)
        assert task.done
        with task.reopen():
            assert not task.done
            task.report({"loss": 0.5}, 3)
            task.report({"loss": 8.0}, 4)
            task.report({"test accuracy": 0.9})
    assert task.id == ids["seed=0"]
    assert [row.name for row in group.results()] == ["seed=0", "seed=1"]
    assert statistics(group.results()) == ALL
    assert statistics(group.results(), 1) == (4.0, 2.0, 1.0, 4.0, 7 / 3, 3)
    loaded = TaskGroup.load(PROJECT, NAME, mode=place.mode)
    assert [statistics(loaded, row)[:4] for row in (0, 1)] == [ALL[:4], (4.0, 2.0, 1.0, 4.0)]
    assert last(loaded, "test accuracy") == 0.9
    assert place.attempts() == [("seed=0", 1, "completed"), ("seed=1", 1, "completed")]
    if place.server is not None:
        parent = only(originals(place.server, "parent"))
        assert parent["status"] == "completed"
        assert place.server.scalars(parent["id"])["Summary", "tasks completed"][-1][1] == 2.0
        tables = [event for event in place.server.plots(parent["id"]) if event["variant"] == "tasks"]
        assert "test accuracy" in tables[-1]["plot_str"]
        (curves,) = (event for event in place.server.plots(parent["id"]) if event["metric"] == "Curves")
        assert [trace["x"] for trace in json.loads(curves["plot_str"])["data"]] == [
            [0, 1, 2],  # the lower loss first
            [0, 1, 2, 3, 4],
        ]


def test_on_another_machine(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The counts of an earlier process are read from the server, also by the machine that has old ones."""
    place, first = Place(loopback), cache_folder()
    train(place)
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "another machine"))
    with place.resume() as group, group.get(seed=0).reopen() as task:
        task.report({"loss": 0.5}, 3)
        task.report({"loss": 8.0}, 4)
        task.report({"test accuracy": 0.9})
    assert statistics(group.results()) == ALL
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(first))
    with place.resume() as group:
        assert group.get(seed=0).done
        assert statistics(group.results()) == ALL
        assert last(group.results(), "test accuracy") == 0.9


def test_an_iteration_that_is_reported_again_replaces_the_earlier_value(place: Place) -> None:
    """Curves of both attempts are one map from iteration to value."""
    train(place)
    with place.resume() as group, group.get(seed=0).reopen() as task:
        task.report({"loss": 3.0}, 0)
        task.report({"loss": 0.5}, 3)
    assert statistics(group.results()) == (3.0, 0.5, 0.5, 3.0, 1.625, 4)
    assert group.results().history("loss")[0].values == (3.0, 1.0, 2.0, 0.5)
    assert statistics(TaskGroup.load(PROJECT, NAME, mode=place.mode)) == (3.0, 0.5, 0.5, 3.0, 1.625, 4)


def test_names_of_the_earlier_attempt_are_known(place: Place) -> None:
    """Another metric that would be logged under one of them is refused, not merged into its curve."""
    with place.group(template="{metric}/{split=value}") as group, group.task({"seed": 0}) as task:
        task.report({"loss": 1.0}, 0, split=1)
    with place.resume(template="{metric}/{split=value}") as group, group.get(seed=0).reopen() as task:
        with pytest.raises(NameCollisionError):
            task.report({"loss": 2.0}, 1, split="1")
        task.report({"loss": 2.0}, 1, split=1)
    assert last(group.results(), "loss", split=1) == 2.0


def test_a_value_that_was_skipped_stays_known(place: Place) -> None:
    """A curve that had diverged ends with a later value."""
    with place.group() as group, group.task({"seed": 0}) as task:
        task.report({"loss": 1.0}, 0)
        with pytest.warns(match="nan"):
            task.report({"loss": float("nan")}, 1)
    with place.resume() as group:
        assert group.get(seed=0).done
        assert group.results()[0].diverged
        with group.get(seed=0).reopen() as task:
            task.report({"loss": 0.5}, 2)
    assert last(group.results(), "loss") == 0.5
    assert last(TaskGroup.load(PROJECT, NAME, mode=place.mode), "loss") == 0.5


def test_the_time_in_between_does_not_count() -> None:
    """A task's duration is that of its blocks."""
    with recording(), TaskGroup(PROJECT, NAME) as group:
        with group.task({"seed": 0}) as task:
            pass
        state = task._state
        assert state.ended is not None
        state.opened, state.ended = state.opened - 1010.0, state.ended - 1000.0
        with task.reopen():
            pass
    assert group.results()[0].duration == pytest.approx(10.0, abs=5.0)


def test_an_exception_fails_it(place: Place) -> None:
    """The block of a reopened task ends as any other."""
    with place.group(catch=ValueError) as group:
        with group.task({"seed": 0}) as task:
            task.report({"loss": 1.0}, 0)
        with task.reopen():
            raise ValueError("no test set")
        assert task.status == "failed"
        assert [str(failure.exception) for failure in group.failures] == ["no test set"]
        with group.task({"seed": 1}):
            pass
    assert place.attempts() == [("seed=0", 1, "failed"), ("seed=1", 1, "completed")]


@pytest.mark.parametrize("retry", ["new", "continue"])
def test_a_process_that_dies_leaves_it_completed(place: Place, retry: Any) -> None:
    """What it has reported is kept, and it can be reopened again."""
    train(place)
    group = place.resume().open()
    group.get(seed=0).reopen().report({"loss": 0.5}, 3)
    group.flush()
    kill(group)
    loaded = TaskGroup.load(PROJECT, NAME, mode=place.mode)
    assert loaded.counts_text() == "2 completed"
    assert statistics(loaded)[:4] == (4.0, 0.5, 0.5, 4.0)
    assert "2 completed" in command("list").stdout
    with place.resume(retry=retry) as group:
        task = group.task({"seed": 0})
        assert task.done
        with task.reopen():
            task.report({"loss": 8.0}, 4)
    assert statistics(group.results()) == ALL
    assert place.attempts() == [("seed=0", 1, "completed"), ("seed=1", 1, "completed")]


def test_a_server_alone_knows_that_it_was_completed(loopback: LoopbackServer) -> None:
    """Another machine, without the run log, resumes the run; a task that has failed since is abandoned."""
    place = Place(loopback)
    ids = train(place)
    group = place.resume(catch=ValueError).open()
    group.get(seed=0).reopen().report({"loss": 0.5}, 3)
    with group.get(seed=1).reopen():
        raise ValueError("no test set")
    group.flush()
    kill(group)
    shutil.rmtree(cache_folder() / "taskgroup")
    group = place.resume(retry="continue", takeover=True).open()
    assert group.task({"seed": 0}).done
    group.task({"seed": 1}).report({"loss": 7.0}, 5)
    group.flush()
    kill(group)
    shutil.rmtree(cache_folder() / "taskgroup")
    with place.resume(takeover=True) as group:
        assert [task.done for task in group.tasks(SPACE)] == [True, False]
    assert loopback.task(ids["seed=0"])["status"] == "completed"
    assert loopback.task(ids["seed=1"])["status"] == "stopped"


def test_a_reopened_task_that_was_silent_for_two_hours(loopback: LoopbackServer) -> None:
    """The server has stopped it after its process died; it stays completed."""
    place = Place(loopback)
    train(place)
    group = place.resume().open()
    group.get(seed=0).reopen().report({"loss": 0.5}, 3)
    group.flush()
    kill(group)
    transport = Transport(login.connect())
    transport.call("tasks.stopped", {"task": group.get(seed=0).id, "status_reason": WATCHDOG_REASON})
    transport.close()
    assert TaskGroup.load(PROJECT, NAME).counts_text() == "2 completed"
    with place.resume() as group, group.get(seed=0).reopen() as task:
        task.report({"loss": 8.0}, 4)
    assert statistics(group.results()) == ALL
    assert place.attempts() == [("seed=0", 1, "completed"), ("seed=1", 1, "completed")]


def test_the_upload_of_a_run_whose_process_died_in_a_reopened_task(loopback: LoopbackServer) -> None:
    """It is completed there, with all of its data."""
    with TaskGroup(PROJECT, NAME, mode="offline") as group, group.task({"seed": 0}) as task:
        task.report({"loss": 4.0}, 0)
    group = TaskGroup(PROJECT, NAME, mode="offline", resume=True).open()
    group.get(seed=0).reopen().report({"loss": 0.5}, 1)
    group.flush()
    kill(group)
    assert command("upload", f"{PROJECT}/{NAME}").exit_code == 0
    (row,) = TaskGroup.load(PROJECT, NAME, mode="online")
    assert (row.status, row.stats["loss", ()].last) == ("completed", 0.5)


def test_only_a_completed_task_is_reopened(place: Place) -> None:
    """The reason names the status and what to do."""
    with place.group() as group:
        task = group.task({"seed": 0})
        with pytest.raises(TaskReopenError, match="'seed=0' has not ended"):
            task.reopen()
        task.mark_failed("out of memory")
        with pytest.raises(TaskReopenError, match=r"is failed \(out of memory\).*retry='continue'"):
            task.reopen()
        assert task.status == "failed"
        stopped = group.task({"seed": 1})
        stopped.mark_stopped("pruned")
        with pytest.raises(TaskReopenError, match=r"is stopped \(pruned\)"):
            stopped.reopen()
        (done,) = group.tasks({"seed": [2]})
    with pytest.raises(GroupStateError, match="resume=True"):
        done.reopen()


def test_the_error_about_a_closed_task_mentions_it() -> None:
    """A report to a completed task says how to reopen it; to a failed one it does not."""
    with recording(), TaskGroup(PROJECT, NAME) as group:
        with group.task({"seed": 0}) as done:
            pass
        with pytest.raises(TaskClosedError, match=r"with task\.reopen\(\)"):
            done.report({"loss": 1.0})
        failed = group.task({"seed": 1})
        failed.mark_failed()
        with pytest.raises(TaskClosedError) as raised:
            failed.report({"loss": 1.0})
        assert "reopen" not in str(raised.value)


@pytest.mark.quick(5)
@pytest.mark.parametrize(
    ("action", "problem"),
    [
        ("published", "was published"),
        ("archived", "was archived"),
        ("deleted", "was deleted"),
        ("failed", "its status on the server is failed"),
        ("reset", "its status on the server is created"),
    ],
)
@pytest.mark.parametrize("resumed", [False, True])
def test_what_somebody_has_done_on_the_server(
    loopback: LoopbackServer, action: str, problem: str, resumed: bool
) -> None:
    """A task that was published, archived or changed refuses with the reason, and is left as it is."""
    place = Place(loopback)
    group = place.open()
    with group.task({"seed": 0}) as task:
        task.report({"loss": 1.0}, 0)
    group.flush()
    if resumed:
        group.close()
        group = place.resume().open()
        task = group.task({"seed": 0})
    change(loopback, task.id, action)
    before = None if action == "deleted" else loopback.task(task.id)["status"]
    with pytest.raises(TaskReopenError, match=problem):
        task.reopen()
    assert task.status == "completed"
    assert before is None or loopback.task(task.id)["status"] == before
    group.close()


def change(server: LoopbackServer, task_id: str, action: str) -> None:
    """Does to a task what a person can do in the web page."""
    transport = Transport(login.connect())
    if action == "archived":
        transport.call("tasks.archive", {"tasks": [task_id]})
    else:
        verb = {"published": "publish", "deleted": "delete"}.get(action, action)
        transport.call(f"tasks.{verb}", {"task": task_id, "force": True})
    transport.close()


def test_a_published_parent_stays_so(loopback: LoopbackServer, caplog: pytest.LogCaptureFixture) -> None:
    """A run whose parent was published is resumed, and its tasks are reopened, without a new summary."""
    place = Place(loopback)
    train(place)
    parent = only(originals(loopback, "parent"))["id"]
    change(loopback, parent, "published")
    with place.resume() as group, group.get(seed=0).reopen() as task:
        task.report({"loss": 0.5}, 3)
    assert group.parent_id == parent
    assert loopback.task(parent)["status"] == "published"
    assert "published" in caplog.text
    assert statistics(TaskGroup.load(PROJECT, NAME))[-1] == 4


def test_a_failed_parent_is_started_again(loopback: LoopbackServer) -> None:
    """A run of which nothing had completed ends as completed once something has."""
    place = Place(loopback)
    with place.group() as group:
        group.task({"seed": 0}).mark_failed("no data")
    parent = only(originals(loopback, "parent"))["id"]
    assert loopback.task(parent)["status"] == "failed"
    with place.resume() as group:
        group.task({"seed": 0})
    assert loopback.task(parent)["status"] == "completed"


def test_a_deleted_session_is_named() -> None:
    """Offline, a task whose session was deleted cannot be reopened."""
    with Place().group() as group:
        with group.task({"seed": 0}) as task:
            pass
        shutil.rmtree(cache_folder() / "offline" / task.id)
        with pytest.raises(TaskReopenError, match=f"its session .*{task.id} was deleted"):
            task.reopen()


def test_on_a_full_disk_it_stays_completed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be logged is not begun."""

    def refuse(*_: Any) -> None:
        raise StoreError("the disk", "No space left on device", 28)

    with place.group() as group:
        with group.task({"seed": 0}) as task:
            pass
        with monkeypatch.context() as patch:
            patch.setattr(RunLog, "write", refuse)
            with pytest.raises(StoreError):
                task.reopen()
        assert task.status == "completed"
        with pytest.raises(TaskClosedError):
            task.report({"loss": 1.0})
    assert place.attempts() == [("seed=0", 1, "completed")]


# --- upload --------------------------------------------------------------------------------------


def test_an_uploaded_run_is_uploaded_again(loopback: LoopbackServer) -> None:
    """Only what is new is sent; no point and no line is there twice, and the statuses are right."""
    place = Place()
    with place.group() as group:
        for task in group.sweep(SPACE):
            with task:
                for step, loss in enumerate((4.0, 1.0, 2.0)):
                    task.report({"loss": loss}, step)
                task.logger.report_text("trained")
    first = TaskGroup.upload(group.run)
    assert not any(past.is_pending for past in all_runs(cache_folder() / "taskgroup"))
    with place.resume() as group, group.get(seed=0).reopen() as task:
        task.report({"loss": 0.5}, 3)
        task.report({"test accuracy": 0.9})
        task.set_parameters({"tested": True})
    assert command("pending").stdout.count(NAME) == 1
    second = TaskGroup.upload(group.run)
    assert (second.problems, second.ids) == ((), first.ids)
    assert not any(past.is_pending for past in all_runs(cache_folder() / "taskgroup"))
    again, other = (second.ids[row.id] for row in group.results())
    assert loopback.scalars(again)["loss", "value"] == curve(4.0, 1.0, 2.0, 0.5)["loss", "value"]
    assert loopback.scalars(other) == curve(4.0, 1.0, 2.0)
    assert [len(loopback.logs(task_id)) for task_id in (again, other)] == [1, 1]
    assert [doc["status"] for doc in originals(loopback)] == ["completed"] * 2
    assert loopback.task(again)["hyperparams"]["General"]["tested"]["value"] == "True"
    parent = only(originals(loopback, "parent"))
    assert parent["status"] == "completed"
    tables = [event for event in loopback.plots(parent["id"]) if event["variant"] == "tasks"]
    assert "test accuracy" in tables[-1]["plot_str"]
    calls = len(loopback.calls)
    assert TaskGroup.upload(group.run).problems == ()
    assert not [
        call for call in loopback.calls[calls:] if call.endpoint.startswith(("events.add", "tasks.c"))
    ]
    loaded = TaskGroup.load(PROJECT, NAME, mode="online")
    assert statistics(loaded) == (4.0, 0.5, 0.5, 4.0, 1.875, 4)


def test_a_task_that_was_published_after_its_upload(loopback: LoopbackServer) -> None:
    """What was reported later stays in the session, and the upload says so; the rest is uploaded."""
    place = Place()
    train(place)
    (past,) = all_runs(cache_folder() / "taskgroup")
    first = TaskGroup.upload(past.path)
    published = first.ids[next(iter(past.tasks))]
    change(loopback, published, "published")
    with place.resume() as group:
        for task in (group.get(seed=0), group.get(seed=1)):
            with task.reopen():
                task.report({"loss": 0.5}, 3)
    (problem,) = TaskGroup.upload(past.path).problems
    assert "'seed=0' was published" in str(problem)
    assert loopback.scalars(published) == curve(4.0, 1.0, 2.0)
    assert loopback.task(published)["status"] == "published"
    assert loopback.scalars(first.ids[group.get(seed=1).id]) == curve(4.0, 1.0, 2.0, 0.5)


@pytest.mark.slow
def test_an_interrupted_second_upload_is_completed(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Ended before any step and repeated, it doubles nothing and loses nothing."""
    at, interrupted = 0, True
    while interrupted:
        at += 1
        monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / f"copy {at}"))
        with loopback.state.lock:
            loopback.state.tasks.clear()
            loopback.state.events.clear()
        place = Place()
        with place.group() as group, group.task({"seed": 0}) as task:
            task.report({"loss": 1.0}, 0)
            task.clearml_task.upload_artifact("first", {"part": 1}, wait_on_upload=True)
        TaskGroup.upload(group.run)
        with place.resume() as group, group.get(seed=0).reopen() as task:
            task.report({"loss": 0.5}, 1)
            task.set_parameters({"tested": [1, 2]})
            task.clearml_task.upload_artifact("second", {"part": 2}, wait_on_upload=True)
        steps = Steps(at)
        try:
            with steps.counted():
                TaskGroup.upload(group.run)
        except Killed:
            assert TaskGroup.upload(group.run).problems == ()
        else:
            interrupted = False
        (doc,) = originals(loopback)
        assert doc["status"] == only(originals(loopback, "parent"))["status"] == "completed"
        assert loopback.scalars(doc["id"]) == curve(1.0, 0.5)
        artifacts = {one["key"]: one["uri"] for one in doc["execution"]["artifacts"]}
        assert sorted(artifacts) == ["first", "second"]
        assert all(uri.startswith(loopback.files_url) for uri in artifacts.values())
        assert doc["hyperparams"]["General"]["tested"]["value"] == "[1, 2]"
    assert at > 10


# --- other processes -----------------------------------------------------------------------------


def first_block(task: GroupTask) -> str:
    """Reports in a block of its own."""
    with task:
        task.report({"loss": 1.0}, 0)
    return task.status


def second_block(task: GroupTask) -> str:
    """Reports to a reopened task."""
    with task:
        task.report({"loss": 0.5}, 1)
    return task.status


def reopen(task: GroupTask) -> str:
    """Tries to reopen a task where its group is not."""
    with task:
        pass
    try:
        task.reopen()
    except TaskReopenError as error:
        return str(error)
    return ""


@pytest.mark.slow
def test_a_reopened_task_goes_to_workers_again() -> None:
    """Also to the same worker, which has ended it before; a worker itself cannot reopen one."""
    with Place().group() as group:
        task = group.task({"seed": 0})
        workers = joblib.Parallel(n_jobs=2, backend="loky")
        assert workers([joblib.delayed(first_block)(task)]) == ["completed"]
        group.results()
        assert task.status == "completed"
        task.reopen()
        assert workers([joblib.delayed(second_block)(task)]) == ["completed"]
        group.results()
        assert task.status == "completed"
        (refusal,) = workers([joblib.delayed(reopen)(task.reopen())])
        assert "this is a worker" in refusal
    assert group.results()[0].stats["loss", ()].count == 2
    assert last(group.results(), "loss") == 0.5


def test_after_map() -> None:
    """Tasks that `map` has completed in worker processes take more here."""
    with Place().group() as group:
        (mapped,) = group.map(first_block, {"seed": [0]}, workers=1)
        assert mapped.value == "completed"
        with mapped.task.reopen() as task:
            task.report({"loss": 0.5}, 1)
    assert group.results()[0].stats["loss", ()].count == 2
    assert last(group.results(), "loss") == 0.5
