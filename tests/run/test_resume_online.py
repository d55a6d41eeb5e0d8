"""Resume online: what only a server can tell, and what people do to tasks in the web page."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml.queries import identity_of
from clearml_taskgroup._clearml.sdk import cache_folder
from clearml_taskgroup._storage.online import OnlineBackend
from clearml_taskgroup._storage.past_runs import all_runs
from clearml_taskgroup._storage.run_log import iterate
from clearml_taskgroup.errors import RunInUseError, ServerError
from tests.loopback import LoopbackServer
from tests.support.runs import NAME, PROJECT, Place, curve, kill, only, originals
from tests.support.server_view import View


@pytest.fixture
def place(loopback: LoopbackServer) -> Place:
    """The group's place on the loopback server."""
    return Place(loopback)


@pytest.fixture
def view(loopback: LoopbackServer) -> View:
    """Calls as the web page makes them."""
    from clearml_taskgroup._clearml import login

    return View(login.connect(), PROJECT)


def go_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Takes the place of another machine: an empty cache folder."""
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "elsewhere"))


def age(server: LoopbackServer, seconds: float) -> None:
    """Lets time pass since the last sign of life of everything on the server."""
    from datetime import timedelta

    from tests.loopback.state import moment, stamp

    with server.state.lock:
        for task in server.state.tasks.values():
            task["last_update"] = stamp(moment(task["last_update"]) - timedelta(seconds=seconds))


def test_tasks_are_announced_on_this_disk_before_a_server_creates_them(loopback: LoopbackServer) -> None:
    """Else a resume would take what a kill leaves on the server for the work of another machine."""
    for place, announced in ((Place(loopback), ["opening"]), (Place(None), [])):
        with place.group() as group:
            group.task({"seed": 0})
        assert group.record_path is not None
        events = [line["event"] for line in iterate(group.record_path)]
        assert events == ["run", *announced, "task", "end", "close"]


@pytest.mark.parametrize("template", ["{metric}/{split=value}", "{metric}/{task} {fold} {split=value}"])
def test_another_machine_reads_values_from_the_server(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, template: str
) -> None:
    """With an empty disk, completed tasks' values are the server's; their mean is not known."""
    context: dict[str, Any] = {"fold": 2} if "fold" in template else {}
    with place.group(template=template) as group:
        task = group.task({"seed": 0})
        for step, value in enumerate((3.0, 1.0, 2.0)):
            task.report({"loss": value}, step, split="val", **context)
            task.report({"loss": 9.0}, step, **context)
        task.report({"final": 7.0}, split="val", **context)
    go_elsewhere(monkeypatch, tmp_path)
    with place.resume(template=template) as group:
        assert group.task({"seed": 0}).done
        row = group.results()[0]
    stats = row.stats["loss", tuple(sorted({**context, "split": "val"}.items()))]
    assert (stats.first, stats.last, stats.min, stats.min_iteration) == (3.0, 2.0, 1.0, 1)
    assert (stats.max, stats.max_iteration, stats.count) == (3.0, 0, 3)
    assert math.isnan(stats.mean)
    assert row.value("loss", **context, split="value") == 9.0
    assert row.value("final", split="val", **context) == 7.0


def test_a_deleted_parent_is_made_anew(place: Place, view: View) -> None:
    """Where somebody deleted the parent, the run goes on under a new one."""
    group = place.open()
    group.task({"seed": 0}).mark_completed()
    kill(group)
    view.call("tasks.delete", task=group.parent_id, force=True)
    with place.resume() as again:
        late = again.task({"seed": 1})
        assert again.task({"seed": 0}).done
        assert again.run == group.run
    assert again.parent_id != group.parent_id
    assert view.task(late.id)["parent"] == again.parent_id
    assert view.task(str(again.parent_id))["status"] == "completed"


def test_an_abandoned_task_is_stopped_on_the_server(place: Place) -> None:
    """Started or not, what a dead process left open is stopped, with the reason."""
    group = place.open()
    started, silent = group.task({"seed": 0}), group.task({"seed": 1})
    group.flush()
    assert group._run is not None
    kill(group)
    assert place.server is not None
    with place.server.state.lock:
        place.server.state.tasks[silent.id]["status"] = "created"  # killed before it was started
    with place.resume():
        pass
    for task in (started, silent):
        doc = place.server.task(task.id)
        assert (doc["status"], doc["status_reason"].partition(":")[0]) == ("stopped", "abandoned")
    assert [past.is_pending for past in all_runs(cache_folder() / "taskgroup")] == [False]


@pytest.mark.parametrize("retry", ["new", "continue"])
def test_queued_tasks_are_left_alone(
    place: Place, view: View, caplog: pytest.LogCaptureFixture, retry: Any
) -> None:
    """A task that waits for an agent is passed over by a sweep and keeps its place in the queue."""
    with place.group() as group:
        tasks = group.tasks({"seed": range(3)})
        tasks[1].mark_failed("bad")
        tasks[2].mark_failed("bad")
    view.call("tasks.enqueue", task=tasks[1].id)
    with place.resume(retry=retry) as group:
        caplog.clear()
        assert [str(task) for task in group.sweep({"seed": range(3)})] == ["seed=2"]
        assert "1 of 3 completed already, 1 queued for an agent; running 1" in caplog.text
        another = group.task({"seed": 1})
        assert (another.id != tasks[1].id, another.attempt) == (True, 2)
    assert view.task(tasks[1].id)["status"] == "queued"


def test_a_run_that_lives_elsewhere_is_not_taken_over(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A parent's sign of life within five minutes keeps others away, unless with takeover=True."""
    living = place.open()
    living.task({"seed": 0}).report({"loss": 1.0}, 0)
    living.flush()
    go_elsewhere(monkeypatch, tmp_path)
    with pytest.raises(RunInUseError, match=r"last sign of life on the server was \d+ s ago"):
        place.resume().open()
    assert place.server is not None
    age(place.server, 280)
    with pytest.raises(RunInUseError) as raised:
        place.resume().open()
    text = str(raised.value)
    assert text.startswith(f"the run 1 of {NAME} is still in use: its last sign of life")
    left = re.search(r"it counts as abandoned in (\d+) s; wait so long; .*run=.*takeover=True", text)
    assert left is not None, text
    assert 0 < int(left[1]) <= 20
    assert place.attempts() == [("seed=0", 1, "in_progress")]
    age(place.server, 20)
    with place.resume() as group:
        assert group.task({"seed": 0}).attempt == 2
    kill(living)


def test_takeover_goes_on_with_a_living_run(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With takeover=True a fresh sign of life keeps nobody away."""
    living = place.open()
    living.task({"seed": 0}).report({"loss": 0.5}, 0)
    living.flush()
    go_elsewhere(monkeypatch, tmp_path)
    with place.resume(takeover=True) as group:
        assert group.task({"seed": 0}).attempt == 2
    assert place.attempts() == [("seed=0", 1, "stopped"), ("seed=0", 2, "completed")]
    kill(living)


def test_an_ended_run_is_nobodys(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A run whose parent has ended just now can be gone on with from another machine at once."""
    with place.group() as group:
        group.task({"seed": 0})
    go_elsewhere(monkeypatch, tmp_path)
    with place.resume() as group:
        assert group.task({"seed": 0}).done


def test_a_parent_of_the_users_own_tells_of_life_too(
    place: Place, view: View, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the parent is a Task.init task on another machine, its signs of life count as well."""
    group = place.open()
    task = group.task({"seed": 0})
    main = view.call("tasks.create", name="the script's own", type="training")["id"]
    view.call("tasks.started", task=main)
    kill(group)
    assert place.server is not None
    with place.server.state.lock:
        place.server.state.tasks[task.id]["parent"] = main
        del place.server.state.tasks[str(group.parent_id)]
    go_elsewhere(monkeypatch, tmp_path)
    with pytest.raises(RunInUseError):
        place.resume().open()
    view.call("tasks.stopped", task=main)
    with place.resume() as again:
        assert again.task({"seed": 0}).attempt == 2
    assert view.task(main)["status"] == "stopped"


def test_a_run_that_went_on_elsewhere_is_not_taken_over(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A record on this disk proves nothing where another machine has gone on with the run since."""
    with place.group() as group:
        group.task({"seed": 0}).mark_failed("bad")
    home = cache_folder()
    go_elsewhere(monkeypatch, tmp_path)
    living = place.resume().open()
    living.task({"seed": 0})
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(home))
    with pytest.raises(RunInUseError):
        place.resume().open()
    living.close()
    with place.resume() as group:
        assert group.task({"seed": 0}).done


def test_a_group_in_a_group_resumes(
    place: Place, loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The outer group's life is this process's own, and keeps nobody from the inner one."""
    for _ in range(2):
        with place.resume(name="outer group") as outer:
            outer.task(name=f"task {len(originals(loopback))}")
            with place.resume() as inner:
                task = inner.task({"seed": 0})
        assert place.server is not None
        assert place.server.task(task.id)["parent"] == outer.parent_id
        go_elsewhere(monkeypatch, tmp_path)
    assert task.done


def test_copies_are_left_out(place: Place, view: View) -> None:
    """A completed copy that somebody made in the web page is no attempt of the group's."""
    with place.group() as group:
        task = group.task({"seed": 0})
        task.mark_failed("bad")
    copy = view.call("tasks.clone", task=task.id, new_task_name="a copy")["id"]
    view.call("tasks.started", task=copy)
    view.call("tasks.completed", task=copy)
    with place.resume() as group:
        again = group.task({"seed": 0})
        assert (again.done, again.attempt) == (False, 2)
        assert group.results()[0].id == again.id
    assert view.task(copy)["status"] == "completed"


def test_a_task_that_was_reset_is_run_again(place: Place, view: View) -> None:
    with place.group() as group:
        tasks = group.tasks({"seed": range(3)})
    view.call("tasks.reset", task=tasks[1].id, force=True)
    with place.resume() as group:
        (again,) = group.sweep({"seed": range(3)})
        assert (again.params, again.index) == ({"seed": 1}, 1)
        assert again.id != tasks[1].id
    assert view.task(tasks[1].id)["status"] == "created"


def test_what_an_outage_left_is_delivered_first(place: Place) -> None:
    """Resume brings the outbox's points and the ends that the server was not told."""
    assert place.server is not None
    group = place.open(close_timeout=0.5)
    done, bad = group.tasks({"seed": range(2)})
    group.flush()
    place.server.faults.outage = True
    for step in range(5):
        done.report({"loss": float(step)}, step)
    with pytest.raises(ExceptionGroup):
        bad.mark_failed("bad")
        group.close()
    place.server.faults.clear()
    with place.resume() as again:
        assert again.task({"seed": 0}).done
        assert again.task({"seed": 1}).attempt == 2
        assert again.results()[0].stats["loss", ()].mean == 2.0
    assert place.server.scalars(done.id) == curve(0, 1, 2, 3, 4)
    assert place.attempts() == [
        ("seed=0", 1, "completed"),
        ("seed=1", 1, "failed"),
        ("seed=1", 2, "completed"),
    ]
    assert not group._run.run_log.path.with_suffix(".outbox").exists()  # type: ignore[union-attr]


def test_what_the_watchdog_stopped_keeps_its_earned_end(place: Place) -> None:
    """A completed task whose end the server was not told, and stopped itself, is completed."""
    assert place.server is not None
    group = place.open(close_timeout=0.2)
    task = group.task({"seed": 0})
    task.report({"loss": 1.0}, 0)
    group.flush()
    place.server.faults.outage = True
    with pytest.raises(ExceptionGroup):
        group.close()
    place.server.faults.clear()
    age(place.server, 8_000)
    place.server.run_watchdog()
    assert place.server.task(task.id)["status"] == "stopped"
    with place.resume() as again:
        assert again.task({"seed": 0}).done
    assert place.server.task(task.id)["status"] == "completed"


def test_runs_of_one_number_are_not_mixed(place: Place) -> None:
    """Of two runs with the same number, as two machines may make them, the later one counts."""
    assert place.server is not None
    runs = []
    for seed in range(2):
        with place.group() as group:
            group.task({"seed": seed})
            runs.append(group.run)
    with place.server.state.lock:
        for doc in place.server.state.tasks.values():
            doc["hyperparams"]["TaskGroup"]["run_number"]["value"] = "7"
    with place.resume() as group:
        assert (group.run, group.run_number) == (runs[1], 7)
        assert [task.done for task in group.tasks({"seed": range(2)})] == [False, True]


def test_an_uploaded_run_is_gone_on_with_online(loopback: LoopbackServer) -> None:
    """What was done offline and uploaded is done; the online run has a record of its own."""
    with Place().group() as group:
        group.task({"seed": 0})
        group.task({"seed": 1}).mark_failed("bad")
    assert group.record_path is not None
    TaskGroup.upload(group.record_path)
    with Place(loopback).resume() as again:
        assert [task.done for task in again.tasks({"seed": range(2)})] == [True, False]
        assert (again.run, again.record_path != group.record_path) == (group.run, True)
    found = {(identity_of(doc)["name"], doc["status"]) for doc in originals(loopback)}
    assert found == {("seed=0", "completed"), ("seed=1", "failed"), ("seed=1", "completed")}
    assert not any(past.is_pending for past in all_runs(cache_folder() / "taskgroup"))
    assert len({doc["parent"] for doc in originals(loopback)}) == 1


def test_a_group_that_cannot_open_lets_go(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a server that went away while a run was resumed, the same process can try again."""
    group = place.open()
    group.task({"seed": 0})
    kill(group)

    def away(*_: object) -> None:
        raise ServerError("went away")

    with monkeypatch.context() as patch:
        patch.setattr(OnlineBackend, "reopen", away)
        with pytest.raises(ServerError, match="went away"):
            place.resume().open()
    with place.resume() as again:
        assert again.task({"seed": 0}).attempt == 2
    assert only(originals(place.server, "parent"))["status"] == "completed"  # type: ignore[arg-type]
