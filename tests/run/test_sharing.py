"""Runs that several processes share; here several groups of one process, which know nothing of each other."""

from __future__ import annotations

import os
import time
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml import login
from clearml_taskgroup._model.status import ABANDONED
from clearml_taskgroup._run import sharing
from clearml_taskgroup._storage import processes, shared_on_disk, shared_on_server
from clearml_taskgroup._storage.past_runs import all_runs
from clearml_taskgroup._storage.run_log import iterate
from clearml_taskgroup.errors import (
    ArgumentError,
    GroupStateError,
    NameWarning,
    RunLogError,
    SubmitError,
    TaskAbortedError,
    TaskClosedError,
    TaskReopenError,
)
from tests.support.cli import command
from tests.support.server_view import View

SPACE = {"C": [1, 2, 3], "seed": [0, 1]}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path))
    return tmp_path


@attrs.frozen
class Place:
    """Where the processes of a run meet: on this disk, or on a server."""

    mode: Any

    def shared(self, run: str | None = "job 7", **options: Any) -> TaskGroup:
        return TaskGroup("the project", "the group", mode=self.mode, provenance=False, run=run, **options)

    def load(self, run: int | str | None = None) -> Any:
        return TaskGroup.load("the project", "the group", run, mode=self.mode)


@pytest.fixture(params=["offline", "online"])
def place(request: pytest.FixtureRequest, cache: Path) -> Place:
    if request.param == "online":
        request.getfixturevalue("loopback")
    return Place(request.param)


def shared(run: str | None = "job 7", **options: Any) -> TaskGroup:
    return Place("offline").shared(run, **options)


def load(run: int | str | None = None) -> Any:
    return Place("offline").load(run)


def accuracy(task: Any) -> float:
    return float(task.params["C"] / 8 + task.params["seed"] / 64)


def train(task: Any) -> None:
    for step in range(3):
        task.report({"accuracy": accuracy(task) + step / 128}, step)


def train_all(group: TaskGroup, most: int = 100) -> list[str]:
    """Trains up to so many configurations; gives their names."""
    names = []
    for task in group.sweep(SPACE):
        with task:
            train(task)
        names.append(str(task))
        if len(names) == most:
            break
    return names


def table(results: Any) -> list[Any]:
    return [
        (
            row.name,
            row.index,
            row.status,
            row.attempt,
            {key: attrs.asdict(one) for key, one in row.stats.items()},
        )
        for row in results
    ]


def parents() -> list[str]:
    cache = Path(os.environ["CLEARML_CACHE_DIR"])
    lines = [line for path in cache.glob("taskgroup/*/run-*.jsonl") for line in iterate(path)]
    return sorted(
        {str(line["parent"]) for line in lines if line["event"] == "run" and line["name"] == "the group"}
    )


def test_each_configuration_runs_in_one_process(place: Place) -> None:
    with TaskGroup("the project", "alone", mode=place.mode, provenance=False) as alone:
        train_all(alone)
    expected = table(alone.results())
    with place.shared() as one, place.shared() as two:
        assert (one.run, one.run_number, one.parent_id) == (two.run, two.run_number, two.parent_id)
        first, second = iter(one.sweep(SPACE)), iter(two.sweep(SPACE))
        names = []
        for sweep in (first, second, second, first, second, first):
            task = next(sweep)
            with task:
                train(task)
            names.append(str(task))
        assert [list(first), list(second)] == [[], []]
        assert sorted(names) == sorted(name for name, *_ in expected)
        assert table(one.results()) == table(two.results()) == expected
        assert {len(one), len(two)} == {3}
    for which in (None, "job 7", 1, one.run[:8]):
        assert table(place.load(which)) == expected
    assert len(parents()) == 1


@pytest.mark.quick(3)
@pytest.mark.parametrize("most", [0, 2, 6])
def test_one_log_line_says_what_was_left_to_others(
    place: Place, most: int, caplog: pytest.LogCaptureFixture
) -> None:
    with place.shared() as one, place.shared() as two:
        if most:
            train_all(one, most)
        one.flush()
        caplog.clear()
        train_all(two)
        lines = [line for line in caplog.messages if "configurations" in line]
    left = f"{most} of 6 configurations were not run here: {most} completed"
    assert lines == ([left] if most else [])


def test_the_opening_names_the_run_and_who_is_in_it(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Once in each process, so that somebody who shares it unawares, or not at all, sees that."""
    text = f"opened {place.mode}"
    with place.shared(text), place.shared(text), place.shared(text):
        pass
    with place.shared(text), TaskGroup("the project", "alone", mode=place.mode):
        pass
    named = f"the project/the group, run 1 (run='{text}'): "
    assert [line.removeprefix(named) for line in caplog.messages if "in it" in line] == [
        "no other process is in it",
        "another process is in it",
        "2 other processes are in it",
    ]


def test_tasks_outside_of_a_space_are_listed_by_name(place: Place) -> None:
    """As an array does it, of which each process opens one task."""
    for fold in (10, 2, 1):
        with place.shared() as group, group.task({"fold": fold}):
            pass
    assert [row.name for row in group.results()] == ["fold=1", "fold=2", "fold=10"]
    assert [row.name for row in place.load()] == ["fold=1", "fold=2", "fold=10"]


@pytest.mark.usefixtures("cache")
def test_a_run_is_the_same_on_every_machine_and_for_its_group_only() -> None:
    with shared("a") as one:
        pass
    with TaskGroup("the project", "another", mode="offline", provenance=False, run="a") as two:
        pass
    with shared("b") as three:
        pass
    assert one.run == "b15f0342665e61e194c17eb21d134eed"
    assert len({one.run, two.run, three.run}) == 3


@pytest.mark.usefixtures("cache")
def test_the_environment_names_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARML_TASKGROUP_RUN", "job 7")
    with shared(None) as one, shared("job 7") as two:
        assert one.run == two.run
    monkeypatch.setenv("CLEARML_TASKGROUP_RUN", " ")
    with shared(None) as three:
        assert three.run != one.run


def test_a_run_can_be_joined_again_when_it_is_empty(place: Place) -> None:
    with place.shared() as one:
        first = train_all(one, most=2)
    assert place.load().about.run_number == 1
    with place.shared() as two:
        assert two.parent_id == one.parent_id
        assert len(two.results()) == 2
        second = train_all(two)
    assert len({*first, *second}) == len(first) + len(second) == 6
    with place.shared() as three:
        assert train_all(three) == []
    assert place.load().counts_text() == "6 completed"
    assert len(parents()) == 1
    assert list(Path(os.environ["CLEARML_CACHE_DIR"]).glob("taskgroup/*/*.shared/*.alive")) == []


def test_a_task_of_another_process_is_done_here_and_says_where_it_is(place: Place) -> None:
    with place.shared() as one, place.shared() as two:
        with one.task({"C": 1, "seed": 0}) as mine:
            train(mine)
            other = two.task({"C": 1, "seed": 0})
            assert (other.id, other.done, other.status) == (mine.id, True, "in_progress")
            with pytest.raises(TaskClosedError, match=rf"of this run: pid {os.getpid()} on this machine"):
                other.report({"accuracy": 1.0})
            with pytest.raises(TaskClosedError, match=r"skip it: `if task.done"), other:
                pass
        tasks = two.tasks({"C": [2, 3], "seed": [0]})
        assert [task.done for task in tasks] == [False, False]
        assert [task.done for task in one.tasks({"C": [3, 4], "seed": [0]})] == [True, False]
    assert place.load().counts_text() == "4 completed"


@pytest.mark.parametrize("resume", [False, True])
def test_what_failed_is_run_again_once_the_run_was_empty(resume: bool, place: Place) -> None:
    def train_or_fail(group: TaskGroup, fails: bool) -> list[str]:
        names = []
        for task in group.sweep({"C": [1, 2]}):
            with task:
                names.append(str(task))
                if fails and task.params["C"] == 1:
                    raise ValueError
        return names

    with place.shared(catch=ValueError) as one:
        assert sorted(train_or_fail(one, fails=True)) == ["C=1", "C=2"]
        with place.shared(resume=True) as late:  # another process would fail in the same way
            assert train_or_fail(late, fails=False) == []
    with place.shared(resume=resume) as two:
        assert train_or_fail(two, fails=False) == (["C=1"] if resume else [])
    with place.shared(resume=True) as three:
        assert train_or_fail(three, fails=False) == ([] if resume else ["C=1"])
    assert [(row.status, row.attempt) for row in place.load()] == [("completed", 2), ("completed", 1)]


def test_resume_alone_continues_a_shared_run(place: Place) -> None:
    with place.shared(catch=ValueError) as one, one.task({"C": 1}):
        raise ValueError
    with TaskGroup("the project", "the group", mode=place.mode, provenance=False, resume=True) as two:
        assert two.run == one.run
        assert [task.attempt for task in two.sweep({"C": [1]})] == [2]


def test_a_process_that_leaves_first_has_nothing_left_to_deliver(loopback: Any, cache: Path) -> None:
    place = Place("online")
    with place.shared() as one, one.task({"C": 1}):
        with place.shared() as two:
            two.task({"C": 2})
        (log,) = [past for past in all_runs(cache / "taskgroup") if past.path == two.record_path]
        assert (log.status, log.is_pending) == ("completed", False)
        TaskGroup.upload(log.path)
        assert loopback.tasks[one.parent_id]["status"] == "in_progress"


@pytest.mark.parametrize("goes_on", [True, False])
def test_the_upload_of_a_process_that_died(loopback: Any, cache: Path, dead: set[str], goes_on: bool) -> None:
    """It ends the parent only if nobody is in the run."""
    place = Place("online")
    one = place.shared().open()
    one.task({"C": 1})
    assert one.record_path is not None
    kill(one, dead)
    if goes_on:
        with place.shared() as two, two.task({"C": 2}):
            TaskGroup.upload(one.record_path)
            assert loopback.tasks[one.parent_id]["status"] == "in_progress"
    else:
        TaskGroup.upload(one.record_path)
    expected = "completed" if goes_on else "stopped"
    assert loopback.tasks[one.parent_id]["status"] == expected
    assert [queue["name"] for queue in loopback.state.queues.values()] == ["default"]


# --- processes that die, or are taken for dead ---------------------------------------------------


@pytest.fixture
def dead(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of processes that count as dead."""
    names: set[str] = set()
    known, lives = processes.is_known_dead, shared_on_server.SharedOnServer._lives
    monkeypatch.setattr(processes, "is_known_dead", lambda process: process in names or known(process))
    monkeypatch.setattr(
        shared_on_server.SharedOnServer,
        "_lives",
        lambda self, process, *more: process not in names and lives(self, process, *more),
    )
    return names


def kill(group: TaskGroup, dead: set[str]) -> None:
    """Lets a group's process be dead for all others: it does nothing any more."""
    run = group._run
    assert run is not None
    dead.add(run.info.process)
    run.reporter.flush(60.0)
    run.closed = True
    assert run.run_log is not None
    run.run_log.close()
    group._finalizer.detach()


def test_open_tasks_of_a_dead_process_are_abandoned_and_run_again(
    dead: set[str], place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    one = place.shared().open()
    train(one.task({"C": 1, "seed": 0}))
    with one.task({"C": 1, "seed": 1}) as finished:
        train(finished)
    kill(one, dead)
    assert [row.status_reason for row in place.load()] == [ABANDONED, ""]
    with place.shared() as two:
        assert two.parent_id == one.parent_id
        died = (
            f"process {os.getpid()} of this run, on this machine, has died; what it had begun was abandoned"
        )
        assert any(line.startswith(died) for line in caplog.messages)
        assert len(train_all(two)) == 4
    assert place.load().counts_text() == "5 completed, 1 abandoned"
    with place.shared(resume=True) as three:
        assert train_all(three) == ["C=1,seed=0"]
        assert [row.attempt for row in three.results()] == [2, 1, 1, 1, 1, 1]
    assert place.load().counts_text() == "6 completed"
    assert len(parents()) == 1


@pytest.mark.usefixtures("cache", "loopback")
def test_an_upload_is_not_suggested_while_others_are_in_the_run(dead: set[str]) -> None:
    """It would only wait for them."""
    one, two = shared().open(), shared().open()
    one.task({"C": 1, "seed": 0})
    kill(one, dead)
    shown = command("list", "--offline").stdout
    assert "1 abandoned" in shown
    assert "upload" not in shown
    kill(two, dead)
    assert "to end them as stopped" in command("list", "--offline").stdout


@pytest.mark.usefixtures("cache", "loopback")
def test_the_last_process_ends_what_nobody_else_does() -> None:
    """A process that went on after it was taken over, and died, has an open task on the server."""
    place = Place("online")
    one = place.shared().open()
    with place.shared() as two:
        one.task({"C": 1, "seed": 0})
        kill(one, set())
        assert one._run is not None
        assert one._run.sharing is not None
        assert two._run is not None
        assert two._run.sharing is not None
        two._run.sharing.shared.remove_dead(one._run.sharing.shared.process)
        with two.task({"C": 1, "seed": 1}) as task:
            train(task)
    assert place.load().counts_text() == "1 completed, 1 abandoned"


@pytest.mark.parametrize("resume", [False, True])
def test_a_sweep_looks_once_more_for_what_was_abandoned_meanwhile(
    dead: set[str], place: Place, resume: bool, caplog: pytest.LogCaptureFixture
) -> None:
    one = place.shared().open()
    train(one.task({"C": 1, "seed": 0}))
    with place.shared(resume=resume) as two:
        sweep = iter(two.sweep(SPACE))
        first = next(sweep)
        kill(one, dead)
        names = [str(first), *map(str, sweep)]
        assert len(names) == (6 if resume else 5)
        assert names[5:] == (["C=1,seed=0"] if resume else [])
    lines = [line for line in caplog.messages if "not run here" in line]
    hint = "1 of 6 configurations were not run here: 1 abandoned; a process with resume=True runs what was"
    assert [line.startswith(hint) for line in lines] == ([] if resume else [True])
    assert any("resume=True runs it again: C=1,seed=0" in line for line in caplog.messages)


def test_the_last_sweep_says_what_a_signal_has_stopped(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody runs it again until a process is started anew; a pruned task is not meant to be."""
    with place.shared() as one, place.shared() as two:
        one.task({"C": 1, "seed": 0}).mark_stopped("SIGTERM")
        one.task({"C": 1, "seed": 1}).mark_stopped("pruned")
        for task in two.sweep(SPACE):
            train(task)
    (line,) = [line for line in caplog.messages if "not run here" in line]
    assert "2 stopped; to run again what a signal has stopped, start the script again with resume=" in line


@pytest.mark.usefixtures("cache")
def test_a_claim_without_a_task_is_free_when_its_process_has_died(dead: set[str]) -> None:
    one = shared().open()
    run = one._run
    assert run is not None
    assert run.sharing is not None
    key = run.specs.make({"C": 1, "seed": 0}).key
    assert run.sharing.shared.claim(key, 1)
    with shared() as two:
        others = two.sweep({"C": [1, 2], "seed": [0]})
        assert [str(task) for task in (next(others),)] == ["C=2,seed=0"]
        kill(one, dead)
        assert [(str(task), task.attempt) for task in others] == [("C=1,seed=0", 1)]


def test_a_process_waits_for_a_task_that_another_one_is_creating(
    monkeypatch: pytest.MonkeyPatch, place: Place
) -> None:
    with place.shared() as one, place.shared() as two:
        run = one._run
        assert run is not None
        assert run.sharing is not None
        spec = run.specs.make({"C": 1})
        agreement, pauses = run.sharing.shared, list[float]()
        assert agreement.claim(spec.key, 1)

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                agreement.release(spec.key, 1, None)  # it could not be created

        monkeypatch.setattr(sharing, "sleep", pause)
        assert [str(task) for task in two.sweep({"C": [1]})] == ["C=1"]
        assert len(pauses) == 3


def test_a_process_that_was_taken_for_dead_gives_its_tasks_up(
    dead: set[str], monkeypatch: pytest.MonkeyPatch, place: Place
) -> None:
    clock = count(1000.0, 31.0)
    monkeypatch.setattr(shared_on_disk, "monotonic", lambda: next(clock))
    with place.shared() as one:
        with one.task({"C": 1}) as task:
            task.report({"accuracy": 0.5}, 1)
            one.flush()
            run = one._run
            assert run is not None
            dead.add(run.info.process)
            with place.shared(resume=True) as two:
                dead.clear()
                assert [again.attempt for again in two.sweep({"C": [1]})] == [2]
                assert run.sharing is not None
                if place.mode == "online":
                    monkeypatch.setattr(run.sharing.shared, "_next_beat", 0.0)
                run.backend.keep_alive()
                with pytest.raises(TaskAbortedError, match="taken for dead by another process"):
                    task.report({"accuracy": 0.75}, 2)
        with pytest.raises(TaskAbortedError):
            one.task({"C": 2})
    (row,) = place.load()
    assert (row.status, row.attempt) == ("completed", 2)
    assert one.get(C=1).status == "stopped"


def test_a_process_of_another_machine_is_dead_after_five_minutes_of_the_disk(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    with shared():
        pass
    (folder,) = cache.glob("taskgroup/*/*.shared")
    other = folder / "0123abcd-1-2-1.alive"
    other.touch()
    now = time.time()
    os.utime(other, (now - 290, now - 290))
    assert processes.is_alive(folder, "0123abcd-1-2-1")
    os.utime(other, (now - 310, now - 310))
    assert not processes.is_alive(folder, "0123abcd-1-2-1")


def test_another_template_in_the_same_run_is_warned_of(place: Place) -> None:
    with place.shared():
        pass
    with (
        pytest.warns(
            NameWarning, match=r"began with the template '\{metric\}/\{split=value\}', and this"
        ) as told,
        place.shared(template="{metric}/{split}"),
    ):
        pass
    assert [one.filename for one in told] == [__file__]


# --- what does not go together -------------------------------------------------------------------


@pytest.mark.parametrize("run", ["", " ", 3, "a\ud800"])
@pytest.mark.usefixtures("cache")
def test_a_run_has_a_text(run: Any) -> None:
    with pytest.raises(ArgumentError, match="run="):
        shared(run)


@pytest.mark.usefixtures("cache")
def test_what_a_shared_run_cannot_have() -> None:
    with pytest.raises(ArgumentError, match="retry='continue'"):
        shared(resume=True, retry="continue")
    with pytest.raises(ArgumentError, match="takeover=True"):
        shared(resume=True, takeover=True)
    with shared() as group, pytest.raises(SubmitError, match="shared by several processes"):
        group.sweep(SPACE, queue="default")


def test_a_group_that_stores_nothing_shares_nothing() -> None:
    with TaskGroup("the project", "the group", mode="disabled", run="a") as one:
        with TaskGroup("the project", "the group", mode="disabled", run="a") as two:
            assert len(train_all(one)) == len(train_all(two)) == 6


@pytest.mark.usefixtures("cache")
def test_within_another_group_the_parent_is_the_runs_own() -> None:
    with TaskGroup("the project", "the outer group", mode="offline", provenance=False) as outer:
        with shared() as one:
            assert one.parent_id != outer.parent_id
            assert len(train_all(one)) == 6
    assert load().counts_text() == "6 completed"


def test_deleting_a_shared_run_deletes_all_of_it(cache: Path) -> None:
    from clearml_taskgroup._storage import discard, past_runs

    with shared() as one:
        train_all(one)
    (folder,) = cache.glob("taskgroup/*/")
    past = past_runs.load(folder / "run-0001.jsonl")
    assert past is not None
    discard.delete(discard.files_of(past)[0])
    assert list(folder.iterdir()) == []
    assert list((cache / "offline").iterdir()) == []
    with shared() as two:
        assert len(train_all(two)) == 6
        assert two.parent_id != one.parent_id


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait that would not end is an error."""
    monkeypatch.setattr(sharing, "GIVE_UP_AFTER_S", 5.0)


# --- later metrics, and the end ------------------------------------------------------------------


def test_a_task_of_another_process_is_reopened(place: Place) -> None:
    """One process at a time adds to a completed task, whoever ran it; results have all of it."""
    with place.shared() as one, place.shared() as other:
        with one.task({"C": 1, "seed": 0}) as task:
            train(task)
            with pytest.raises(TaskReopenError, match="is open in pid"):
                other.get(C=1).reopen()
        one.flush()
        with other.get(C=1).reopen() as again:
            assert again.id == task.id
            with pytest.raises(TaskReopenError, match="is open in pid"):
                task.reopen()
            again.report({"accuracy": 7.0}, 3)
        other.flush()
        with task.reopen():
            task.report({"accuracy": -1.0}, 4)
        one.flush()
    for results in (one.results(), other.results(), place.load("job 7")):
        (row,) = results
        stats = row.stats["accuracy", ()]
        assert (row.status, stats.count, stats.last, stats.max) == ("completed", 5, -1.0, 7.0)


def test_tasks_of_a_shared_run_are_reopened_when_it_is_resumed(place: Place) -> None:
    """An evaluation that follows finds them by `resume=True` alone."""
    with place.shared() as group, group.task({"C": 1, "seed": 0}) as task:
        train(task)
    with place.shared(None, resume=True) as later, later.get(C=1).reopen() as task:
        task.report({"test accuracy": 0.9})
    (row,) = place.load("job 7")
    assert row.status == "completed"
    assert row.stats["accuracy", ()].count == 3
    assert row.stats["test accuracy", ()].last == 0.9


def test_a_reopened_task_of_a_dead_process_is_completed(dead: set[str], place: Place) -> None:
    """Its data is kept, also what was reported before the process died, and another process can reopen it."""
    with place.shared() as first, first.task({"C": 1, "seed": 0}) as task:
        train(task)
    one = place.shared(resume=True).open()
    one.get(C=1).reopen().report({"accuracy": 7.0}, 3)
    kill(one, dead)
    with place.shared(resume=True) as two:
        (left,) = two.tasks({"C": [1], "seed": [0]})
        assert left.done
        assert left.id == task.id
        with left.reopen():
            left.report({"accuracy": -1.0}, 4)
    for results in (two.results(), place.load()):
        (row,) = results
        stats = row.stats["accuracy", ()]
        assert (row.status, row.attempt) == ("completed", 1)
        assert (stats.count, stats.last, stats.max) == (5, -1.0, 7.0)


@pytest.mark.usefixtures("cache")
def test_a_failed_task_of_a_shared_run_is_not_reopened() -> None:
    """The advice is what such a run allows."""
    with shared() as group:
        task = group.task({"C": 1})
        task.mark_failed("out of memory")
        with pytest.raises(TaskReopenError, match="resume=True runs it again") as raised:
            task.reopen()
    assert "continue" not in str(raised.value)


def test_the_last_process_to_leave_calls_on_end(place: Place) -> None:
    """With the tasks of all processes; the parent fails only if none of them has completed."""
    called: list[Any] = []

    def on_end(group: TaskGroup, results: Any) -> None:
        called.append((group, sorted((row.name, row.status) for row in results)))

    one, other = (place.shared(on_end=on_end, catch=ValueError).open() for _ in range(2))
    with one.task({"C": 1, "seed": 0}) as task:
        train(task)
    one.close()
    assert called == []
    with other.task({"C": 2, "seed": 0}):
        raise ValueError("no data")
    other.close()
    assert called == [(other, [("C=1,seed=0", "completed"), ("C=2,seed=0", "failed")])]


@pytest.mark.parametrize("deleted", ["offline-*", "a completed task", "the parent"])
def test_a_shared_run_whose_sessions_were_deleted_is_refused(deleted: str, cache: Path) -> None:
    """Nothing of it counts as completed; with the sessions back in their place it goes on."""
    with shared() as group:
        for task in group.tasks({"C": [1], "seed": [0, 1]}):
            train(task)
    before = sorted(cache.glob("taskgroup/**/*"))
    names = {"a completed task": group.get(seed=0).id, "the parent": str(group.parent_id)}
    found = list((cache / "offline").glob(names.get(deleted, deleted)))
    for folder in found:
        folder.rename(cache / folder.name)
    refused = rf"no longer in .*offline: {len(found)} of 3; put them back, or"
    for options in ({"run": "job 7"}, {"run": "job 7", "resume": True}):
        with pytest.raises(RunLogError, match=rf"{refused} give run= \(or .*RUN\) another text"):
            shared(**options).open()
    with pytest.raises(RunLogError, match=f"{refused} leave resume=True out"):
        shared(None, resume=True).open()
    assert sorted(cache.glob("taskgroup/**/*")) == before
    for folder in found:
        (cache / folder.name).rename(folder)
    with shared(resume=True) as group:
        assert len(train_all(group)) == 4


@pytest.mark.usefixtures("cache", "loopback")
def test_a_run_that_somebody_aborted_is_joined_only_to_resume_it() -> None:
    """As for the jobs of an array that have not begun when a person aborts the parent."""
    place = Place("online")
    with place.shared() as group:
        train_all(group, most=2)
        View(login.connect(), "the project").call("tasks.stop", task=group.parent_id, force=True)
    with pytest.raises(GroupStateError, match=r"was aborted by somebody.*'job 7'.*resume=True"):
        place.shared().open()
    with place.shared(resume=True) as group:
        assert len(train_all(group)) == 4
    with place.shared() as group:  # it was completed since
        assert train_all(group) == []
