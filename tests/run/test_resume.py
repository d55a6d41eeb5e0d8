"""`resume=True` in both modes: what is run again, under which identity, with which results."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._clearml.sdk import cache_folder
from clearml_taskgroup._clearml.session_file import read_session, write_session
from clearml_taskgroup._storage import past_runs, run_log
from clearml_taskgroup._storage.run_log import append
from clearml_taskgroup.errors import RunInUseError, RunLogError, StoreError, StoreWarning, TaskClosedError
from tests.loopback import LoopbackServer
from tests.support.runs import NAME, PROJECT, Place, kill
from tests.support.scripts import finished, start_script

SPACE = {"seed": range(4)}


@pytest.fixture(params=["offline", "online"])
def place(request: pytest.FixtureRequest) -> Place:
    """A place for groups, offline or on a loopback server."""
    return Place(request.getfixturevalue("loopback") if request.param == "online" else None)


def leave(place: Place) -> dict[str, str]:
    """Has a run die with a task of each kind; gives their ClearML ids."""
    group = place.open()
    done, bad, pruned, dead = group.tasks(SPACE)
    for task in (done, bad, pruned, dead):
        task.report({"loss": task.params["seed"]}, 0)
    done.mark_completed()
    bad.mark_failed("out of memory")
    pruned.mark_stopped("pruned")
    kill(group)
    return {str(task): task.id for task in (done, bad, pruned, dead)}


def test_completed_tasks_are_passed_over(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A sweep runs what is not completed, and says so in one line."""
    leave(place)
    with place.resume() as group:
        caplog.clear()
        sweep = group.sweep(SPACE)
        said = [line for line in caplog.messages if "http://" not in line]
        assert said == ["1 of 4 completed already; running 3"]
        assert len(sweep) == 3
        assert [str(task) for task in sweep] == ["seed=1", "seed=2", "seed=3"]
    assert len(group) == 4


def test_tasks_say_what_is_completed_already(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """`group.tasks` says the same of its space as a sweep does."""
    leave(place)
    with place.resume() as group:
        caplog.clear()
        assert [task.done for task in group.tasks(SPACE)] == [True, False, False, False]
    assert "1 of 4 completed already; running 3\n" in caplog.text


def test_another_template_is_told(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Curves of earlier tasks and of new ones are in different plots."""
    with place.group(template="{metric} {split}/{task}") as group:
        group.task({"seed": 0})
    told = "have names by the template '{metric} {split}/{task}', new ones by '{metric}/{split}'"
    for template, times in (("{metric} {split}/{task}", 0), ("{metric}/{split}", 1)):
        caplog.clear()
        with place.resume(template=template):
            pass
        assert sum(told in line for line in caplog.messages) == times


def test_nothing_is_said_where_nothing_is_passed_over(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A sweep of which nothing is completed runs all of it without a word."""
    leave(place)
    with place.resume() as group:
        assert len(group.sweep({"seed": [1, 2]})) == 2
    assert "completed already" not in caplog.text


def test_all_others_get_another_attempt(place: Place) -> None:
    """Failed, stopped and abandoned tasks get a new ClearML task; nothing of the old is deleted."""
    before = leave(place)
    with place.resume() as group:
        tasks = group.tasks(SPACE)
        assert [task.attempt for task in tasks] == [1, 2, 2, 2]
        assert [task.id == before[str(task)] for task in tasks] == [True, False, False, False]
        assert [task.index for task in tasks] == [0, 1, 2, 3]
        assert len({task.key for task in tasks}) == 4
    dead = "abandoned" if place.server is None else "stopped"
    assert place.attempts() == [
        ("seed=0", 1, "completed"),
        ("seed=1", 1, "failed"),
        ("seed=1", 2, "completed"),
        ("seed=2", 1, "stopped"),
        ("seed=2", 2, "completed"),
        ("seed=3", 1, dead),
        ("seed=3", 2, "completed"),
    ]


def test_attempts_count_up(place: Place) -> None:
    """Each further attempt at a key has the next number; the completed one is the last."""
    for attempt in (1, 2, 3):
        group = place.resume().open()
        task = group.task({"seed": 0})
        assert (task.attempt, task.done) == (attempt, False)
        kill(group)
    with place.resume() as group:
        assert group.task({"seed": 0}).attempt == 4
    with place.resume() as group:
        task = group.task({"seed": 0})
        assert (task.attempt, task.done) == (4, True)


def test_a_done_task_takes_nothing(place: Place) -> None:
    """`group.task` gives a completed task with `done`; entering or reporting to it is an error."""
    leave(place)
    with place.resume() as group:
        task = group.task({"seed": 0})
        assert task.done
        assert task.status == "completed"
        with pytest.raises(TaskClosedError, match=r"earlier attempt.*`if task\.done: continue`"):
            task.report({"loss": 1.0}, 1)
        with pytest.raises(TaskClosedError, match="earlier attempt"), task:
            pass
        assert not group.task({"seed": 1}).done


def test_retry_continue_goes_on_in_the_same_task(place: Place) -> None:
    """With retry="continue" id and attempt stay, and earlier points are kept."""
    before = leave(place)
    with place.resume(retry="continue") as group:
        tasks = group.tasks(SPACE)
        assert {str(task): task.id for task in tasks} == before
        assert [task.attempt for task in tasks] == [1] * 4
        assert [task.done for task in tasks] == [True, False, False, False]
        for task in tasks[1:]:
            task.report({"loss": 10.0}, 1)
    assert place.attempts() == [(f"seed={seed}", 1, "completed") for seed in range(4)]
    stats = group.results()[1].stats["loss", ()]
    assert (stats.first, stats.last, stats.min, stats.max, stats.count) == (1.0, 10.0, 1.0, 10.0, 2)


def test_the_run_stays_the_same(place: Place) -> None:
    """Run id, number and parent are those of the run that is gone on with."""
    group = place.open()
    run, number, parent = group.run, group.run_number, group.parent_id
    kill(group)
    for _ in range(2):
        with place.resume() as group:
            group.task({"seed": 0})
            if place.server is not None:  # a run without tasks is not found on a server
                continue
            assert (group.run, group.run_number, group.parent_id) == (run, number, parent)


def test_a_run_with_tasks_keeps_its_parent(place: Place) -> None:
    """A resumed run's parent is the same, open while the run is, and ends as the run does."""
    group = place.open()
    group.task({"seed": 0})
    facts = (group.run, group.run_number, group.parent_id)
    kill(group)
    again = place.resume().open()
    again.task({"seed": 0})
    assert (again.run, again.run_number, again.parent_id) == facts
    if place.server is not None:
        assert place.server.task(str(again.parent_id))["status"] == "in_progress"
    again.close()
    if place.server is not None:
        assert place.server.task(str(again.parent_id))["status"] == "completed"


def test_without_resume_a_new_run_starts(place: Place) -> None:
    """A group without resume=True has a new run and new tasks, whatever there was before."""
    leave(place)
    with place.group() as group:
        task = group.task({"seed": 0})
        assert (task.done, task.attempt, group.run_number) == (False, 1, 2)


def test_the_latest_run_is_gone_on_with(place: Place) -> None:
    """Of several runs, the latest counts: what an earlier one completed is run again."""
    with place.group() as group:
        group.task({"seed": 0})
    with place.group() as group:
        group.task({"seed": 1})
    with place.resume() as group:
        assert [task.done for task in group.tasks({"seed": [0, 1]})] == [False, True]
        assert group.run_number == 2


def test_resume_without_an_earlier_run_starts_one(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Where there is nothing to go on with, a run simply starts, and nothing is said."""
    with place.group(name="another group") as group:
        group.task({"seed": 0})
    with place.resume() as group:
        assert [str(task) for task in group.sweep(SPACE)] == [f"seed={seed}" for seed in range(4)]
        assert group.run_number == 1
    assert [line for line in caplog.messages if "http://" not in line] == []


def test_a_changed_space_keeps_what_still_matches(place: Place) -> None:
    """Known keys keep their places, new ones get places that no other task has."""
    with place.group() as group:
        group.tasks({"seed": [10, 11, 12]})
    space = {"seed": [99, 12, 98, 10, 97]}
    with place.resume(task_name="{group} {index} {task}") as group:
        places = {task.params["seed"]: task.index for task in group.sweep(space)}
        places |= {task.params["seed"]: task.index for task in group}
        late = group.task({"seed": 96})
    assert places[10] == 0
    assert places[12] == 2
    assert len(set(places.values())) == 5
    assert 1 not in places.values()  # seed=11 has it
    assert late.index not in places.values()
    if place.server is not None:
        names = {doc["name"] for doc in place.server.tasks.values()}
        assert f"the group {places[99]} seed=99" in names


def test_a_sweep_that_died_early_keeps_the_spaces_order(place: Place) -> None:
    """Points that were never opened get the place that they have in the space."""
    group = place.open()
    for task in group.sweep({"seed": range(6)}):
        if task.index == 2:
            break
    kill(group)
    with place.resume() as group:
        assert [(task.params["seed"], task.index) for task in group.sweep({"seed": range(6)})] == [
            (seed, seed) for seed in range(2, 6)
        ]


def test_results_cover_the_latest_attempt_of_every_key(place: Place) -> None:
    """Completed tasks' values are there as if they had been reported in this run."""
    group = place.open()
    tasks = group.tasks(SPACE)
    for step, value in enumerate((3.0, 1.0, 2.0)):
        tasks[0].report({"loss": value}, step, split="val")
        tasks[1].report({"loss": 100.0}, step, split="val")
    tasks[0].report({"accuracy": 0.5})
    tasks[0].mark_completed()
    kill(group)
    with place.resume(metrics=["loss", "accuracy"]) as group:
        for task in group.sweep(SPACE):
            task.report({"loss": task.params["seed"] + 10.0}, 0, split="val")
        results = group.results()
    assert [row.value("loss", split="val") for row in results] == [2.0, 11.0, 12.0, 13.0]
    stats = results[0].stats["loss", (("split", "val"),)]
    assert (stats.first, stats.min, stats.min_iteration, stats.max, stats.max_iteration) == (3, 1, 1, 3, 0)
    assert (stats.count, stats.mean) == (3, 2.0)
    assert results[0].value("accuracy") == 0.5
    best = results.best("loss", split="val", mode="min", of="mean")
    assert (best.name, best.value) == ("seed=0", 2.0)


def test_a_living_process_keeps_its_run(place: Place) -> None:
    """While a process works on a run nobody goes on with it, unless with takeover=True."""
    living = place.open()
    task = living.task({"seed": 0})
    with pytest.raises(RunInUseError) as raised:
        place.resume().open()
    assert re.fullmatch(  # a notebook's cell that was run again
        rf"the run .*run-0001.jsonl of {PROJECT}/{NAME} is still in use: this process has it open; "
        r"call group.close\(\) first, in a notebook in an earlier cell, or give takeover=True",
        str(raised.value),
    )
    with place.resume(takeover=True) as group:
        assert group.run == living.run
        assert group.task({"seed": 0}).attempt == 2
    task.report({"loss": 1.0}, 0)
    kill(living)
    with place.resume() as group:
        assert group.task({"seed": 0}).done


def test_another_process_keeps_its_run(tmp_path: Path) -> None:
    """A run in a living process on this machine is refused by name, until that process dies."""
    script = """
        with offline() as group:
            group.task({"seed": 0})
            print("open", flush=True)
            sys.stdin.read()
    """
    process = start_script(script, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    place = Place()
    try:
        with pytest.raises(RunInUseError, match=f"living process.*, pid {process.pid};"):
            place.resume().open()
    finally:
        process.kill()
        finished(process, tmp_path)
    with place.resume() as group:
        assert group.task({"seed": 0}).attempt == 2


def test_a_refused_resume_leaves_the_living_run_alone(place: Place) -> None:
    """After a refusal the living run ends as if nothing had been."""
    with place.group() as living:
        task = living.task({"seed": 0})
        for _ in range(2):
            with pytest.raises(RunInUseError):
                place.resume().open()
        task.report({"loss": 1.0}, 0)
    assert place.attempts() == [("seed=0", 1, "completed")]
    if place.server is not None:
        assert place.server.scalars(task.id) == {("loss", "value"): [(0, 1.0)]}


def test_a_torn_record_is_gone_on_with(place: Place) -> None:
    """A last line that a crash cut short is passed over, and the next one stands by itself."""
    group = place.open()
    group.task({"seed": 0}).mark_completed()
    kill(group)
    path = group.record_path
    assert path is not None
    with path.open("a") as file:
        file.write('{"event": "task", "id": "offl')
    with place.resume() as group:
        assert [task.done for task in group.tasks({"seed": [0, 1]})] == [True, False]
    with place.resume() as group:
        assert [task.done for task in group.tasks({"seed": [0, 1]})] == [True, True]


@pytest.mark.parametrize("deleted", ["offline-*", "a completed task", "the parent"])
@pytest.mark.parametrize("retry", ["new", "continue"])
def test_a_run_whose_sessions_were_deleted_is_refused(deleted: str, retry: Any) -> None:
    """Somebody has cleaned up: that is said as the group opens, with what to do."""
    with Place().group() as group:
        group.task({"seed": 0}).report({"loss": 1.0}, 0)
    names = {"a completed task": group.get(seed=0).id, "the parent": str(group.parent_id)}
    found = list((cache_folder() / "offline").glob(names.get(deleted, deleted)))
    for folder in found:
        shutil.rmtree(folder)
    expected = rf"no longer in .*offline: {len(found)} of 2; put them back, or leave resume=True out"
    with pytest.raises(RunLogError, match=expected):
        Place().resume(retry=retry).open()
    with Place().group() as again:
        again.task({"seed": 0}).report({"loss": 2.0}, 0)
    with Place().resume() as resumed:
        assert resumed.run == again.run


@pytest.mark.parametrize("deleted", ["offline", "taskgroup", ""])
def test_a_cache_that_is_deleted_during_a_run(deleted: str) -> None:
    """The next task says so; nothing of it is left, and the error comes before anything ran."""
    group = Place().group().open()
    group.task({"seed": 0}).flush()
    shutil.rmtree(cache_folder() / deleted)
    with pytest.raises(StoreError, match="it was deleted while a group used it: open the group again"):
        group.task({"seed": 1})
    with pytest.raises(StoreError, match="it was deleted while"):
        next(group.sweep({"seed": [2]}))
    assert not (cache_folder() / "offline").exists() or not deleted.startswith("off")
    assert [str(task) for task in group] == ["seed=0"]
    with pytest.raises(ExceptionGroup) as closing:
        group.close()
    text = " ".join(map(str, closing.value.exceptions))
    lost = "the end of 'seed=0' (completed), the end of the run (completed)"
    assert (lost in text) == (deleted != "offline")
    assert "it was deleted while" in text
    with Place().group() as again:
        again.task({"seed": 0})


def test_an_online_run_goes_on_without_a_deleted_cache(loopback: LoopbackServer) -> None:
    """The server has all of it; one warning says what that costs."""
    group = Place(loopback).open()
    group.task({"seed": 0}).report({"loss": 1.0}, 0)
    shutil.rmtree(cache_folder() / "taskgroup")
    with pytest.warns(StoreWarning, match="was deleted while the group used it: data that the"):
        task = group.task({"seed": 1})
    task.report({"loss": 1.0}, 0)
    group.task({"seed": 2})
    group.close()
    assert Place(loopback).attempts() == [(f"seed={seed}", 1, "completed") for seed in range(3)]
    with Place(loopback).resume() as resumed:
        assert [task.done for task in resumed.tasks({"seed": range(4)})] == [True] * 3 + [False]


def test_retry_is_checked() -> None:
    """A retry that there is not is refused as the group is made."""
    with pytest.raises(ValueError, match="'new' or 'continue'"):
        TaskGroup("the project", "the group", resume=True, retry="again")  # type: ignore[arg-type]


def test_the_run_log_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of 10,000 tasks takes a second."""
    with TaskGroup("digits", "read-once", mode="offline", provenance=False) as group:
        for task in group.sweep({"C": [1, 2]}):
            task.report({"loss": 0.5})
    read = list[Path]()

    def counted(path: Path) -> Iterator[dict[str, Any]]:
        read.append(path)
        return run_log.iterate(path)

    monkeypatch.setattr(past_runs, "iterate", counted)
    with TaskGroup("digits", "read-once", mode="offline", provenance=False, resume=True) as again:
        assert [task.done for task in again.tasks({"C": [1, 2]})] == [True, True]
    assert read == [group.record_path]


def test_the_script_of_a_killed_run_comes_to_its_sessions() -> None:
    """It was detected after the sessions were written; one that is there already stays."""
    group = Place().open()
    first, second = group.tasks({"seed": [1, 2]})
    own = {"entry_point": "own.py"}
    change(second, script=own)
    kill(group)
    assert group.record_path is not None
    script = {"entry_point": "train.py", "binary": "python3.11"}
    append(group.record_path, [{"event": "script", "pid": os.getpid(), "script": script, "warnings": []}])
    with Place().resume():
        pass
    assert [read_session(path_of(task))["script"] for task in (first, second)] == [script, own]
    parent = read_session(Path(str(group.url).removeprefix("file://")) / "task.json")
    assert parent["script"] == script


def path_of(task: GroupTask) -> Path:
    """The `task.json` of a task."""
    return Path(str(task.url).removeprefix("file://")) / "task.json"


def change(task: GroupTask, **fields: Any) -> None:
    """Changes what a session says of its task."""
    write_session(path_of(task), json.dumps({**read_session(path_of(task)), **fields}))
