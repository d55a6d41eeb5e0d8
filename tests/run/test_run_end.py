"""The end of a whole run: `on_end=`, and the status of a parent of which no task has completed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, Results, TaskGroup
from clearml_taskgroup._clearml.sdk import cache_folder
from clearml_taskgroup._storage.past_runs import all_runs
from clearml_taskgroup.errors import ArgumentError, GroupStateError
from clearml_taskgroup.testing import recording
from tests.loopback import LoopbackServer
from tests.support.runs import NAME, PROJECT, Place, kill, only, originals

Called = list[tuple[str, list[tuple[str, str]]]]


@pytest.fixture(params=["offline", "online"])
def place(request: pytest.FixtureRequest) -> Place:
    """A place for groups, offline or on a loopback server."""
    return Place(request.getfixturevalue("loopback") if request.param == "online" else None)


def noting(called: Called) -> Callable[[TaskGroup, Results], None]:
    """Makes an `on_end` that notes with what it was called."""

    def on_end(group: TaskGroup, results: Results) -> None:
        assert results.to_records() == group.results().to_records()
        called.append((group.run, [(row.name, row.status) for row in results]))

    return on_end


# --- on_end ----------------------------------------------------------------------------------------


def test_it_has_the_results_of_all_tasks(place: Place, tmp_path: Path) -> None:
    """It is called once, when all has been delivered, and can write a report and look at curves."""
    called: Called = []

    def on_end(group: TaskGroup, results: Results) -> None:
        noting(called)(group, results)
        assert results.history("loss")[0].values == (1.0, 0.5)
        results.save_html(tmp_path / "report.html")
        if place.server is not None:
            assert group.parent_id is not None
            assert place.server.task(group.parent_id)["status"] == "in_progress"  # it can be added to
            assert [doc["status"] for doc in originals(place.server)] == ["completed"] * 2

    with place.group(on_end=on_end) as group:
        for task in group.tasks({"seed": range(2)}):
            task.report({"loss": 1.0}, 0)
            task.report({"loss": 0.5}, 1)
        assert called == []
    assert called == [(group.run, [("seed=0", "completed"), ("seed=1", "completed")])]
    assert "the project/the group, run 1" in (tmp_path / "report.html").read_text()
    group.close()
    assert len(called) == 1


def test_it_has_those_of_earlier_attempts(place: Place) -> None:
    """In a resumed run, results have the tasks that were not opened again, too."""
    called: Called = []
    with place.group(catch=ValueError, on_end=noting(called)) as group:
        for task in group.sweep({"seed": range(3)}):
            with task:
                if task.params["seed"] == 1:
                    raise ValueError
    with place.resume(on_end=noting(called)) as group:
        group.task({"seed": 1})
    expected = [[(f"seed={seed}", "completed") for seed in range(3)] for _ in range(2)]
    expected[0][1] = ("seed=1", "failed")
    assert called == [(group.run, rows) for rows in expected]


@pytest.mark.parametrize("error", [ValueError("no data"), KeyboardInterrupt()])
def test_it_is_called_after_an_exception(error: BaseException) -> None:
    """It sees how the exception has ended the tasks, and the exception leaves the block."""
    called: Called = []
    with pytest.raises(type(error)) as raised, recording():
        with TaskGroup(PROJECT, NAME, on_end=noting(called)) as group:
            group.task({"seed": 0})
            raise error
    assert raised.value is error
    status = "failed" if isinstance(error, Exception) else "stopped"
    assert called == [(group.run, [("seed=0", status)])]


def test_its_exception_is_raised_after_all_is_stored(place: Place) -> None:
    """It is collected with other errors of closing; tasks, parent and run log end as without it."""

    def on_end(group: TaskGroup, results: Results) -> None:
        raise ConnectionError("no mail server")

    with pytest.RaisesGroup(pytest.RaisesExc(ConnectionError, match="no mail server")) as raised:
        with place.group(on_end=on_end) as group, group.task({"seed": 0}) as task:
            task.report({"loss": 1.0}, 0)
    assert raised.value.exceptions[0].__notes__ == [f"raised by on_end of the group {NAME!r}"]
    assert place.attempts() == [("seed=0", 1, "completed")]
    (past,) = all_runs(cache_folder() / "taskgroup")
    assert (past.status, past.delivered) == ("completed", True)
    if place.server is not None:
        assert only(originals(place.server, "parent"))["status"] == "completed"


def test_its_exception_does_not_replace_that_of_the_block() -> None:
    """It becomes a note of the block's own exception."""

    def on_end(group: TaskGroup, results: Results) -> None:
        raise ConnectionError("no mail server")

    with pytest.raises(ValueError, match="of the block") as raised, recording():
        with TaskGroup(PROJECT, NAME, on_end=on_end):
            raise ValueError("of the block")
    assert raised.value.__notes__ == ["while the group closed: ConnectionError: no mail server"]


def test_a_signal_does_not_call_it_twice() -> None:
    """An interrupt is held until all has ended; a second one ends the function, which is not repeated."""
    calls: list[str] = []

    def on_end(group: TaskGroup, results: Results) -> None:
        calls.append("begun")
        os.kill(os.getpid(), signal.SIGINT)
        calls.append("held")
        os.kill(os.getpid(), signal.SIGINT)
        calls.append("never reached")

    with pytest.raises(KeyboardInterrupt), recording() as recorded:
        with TaskGroup(PROJECT, NAME, on_end=on_end) as group:
            group.task({"seed": 0})
    assert calls == ["begun", "held"]
    assert [task.status for task in recorded.members] == ["completed"]


def test_the_group_is_closed_when_it_is_called() -> None:
    """No task can be opened or reopened there."""

    def on_end(group: TaskGroup, results: Results) -> None:
        with pytest.raises(GroupStateError):
            group.task({"seed": 1})
        with pytest.raises(GroupStateError):
            group.get(seed=0).reopen()

    with recording(), TaskGroup(PROJECT, NAME, on_end=on_end) as group:
        group.task({"seed": 0})


def test_a_group_that_nobody_closes_does_not_call_it() -> None:
    """It would have to be called with a group that is gone."""
    called: Called = []
    with recording():
        group = TaskGroup(PROJECT, NAME, on_end=noting(called)).open()
        with pytest.warns(ResourceWarning, match="never closed"):
            group._finalizer()
    assert called == []


def test_only_the_first_rank_calls_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the others a group is disabled by itself; one that the script disables is a rehearsal."""
    called: Called = []
    with TaskGroup(PROJECT, NAME, mode="disabled", on_end=noting(called)) as group:
        group.task({"seed": 0})
    assert called == [(group.run, [("seed=0", "completed")])]
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with TaskGroup(PROJECT, NAME, on_end=noting(called)) as group:
        group.task({"seed": 0})
    assert len(called) == 1


async def asynchronous(group: TaskGroup, results: Results) -> None:
    """Nobody would await this."""
    await asyncio.sleep(0)


@pytest.mark.parametrize("given", ["print", 1, asynchronous])
def test_it_is_a_function(given: Any) -> None:
    """Anything else is refused before the group opens."""
    with pytest.raises(ArgumentError, match="on_end"):
        TaskGroup(PROJECT, NAME, on_end=given)


# --- the parent ------------------------------------------------------------------------------------


def parent_of(place: Place) -> tuple[str, str]:
    """Status and reason of the parent: online as the server has it, offline as the run log has it."""
    if place.server is not None:
        parent = only(originals(place.server, "parent"))
        return parent["status"], parent["status_reason"]
    (past,) = all_runs(cache_folder() / "taskgroup")
    return past.final_status()


def fails(task: GroupTask) -> None:
    """Fails."""
    raise ValueError("no data")


def test_a_run_of_which_no_task_completed_has_failed(place: Place) -> None:
    """Also if each failure was expected; the reason counts the tasks."""
    with place.group(catch=ValueError) as group:
        for task in group.sweep({"seed": range(3)}):
            with task:
                raise ValueError
        group.task({"seed": 3}).mark_stopped("pruned")
    assert parent_of(place) == ("failed", "no task completed: 3 failed, 1 stopped")


def test_so_has_a_map_whose_function_always_fails() -> None:
    """Failures of `map` count like others."""
    with Place().group() as group:
        group.map(fails, {"seed": range(2)})
    assert parent_of(Place()) == ("failed", "no task completed: 2 failed")


@pytest.mark.parametrize("statuses", [[], ["completed"], ["failed", "completed", "stopped"]])
def test_other_runs_are_completed(statuses: list[str]) -> None:
    """One completed task is enough, and a run without tasks has done all that it was to do."""
    with Place().group() as group:
        for seed, status in enumerate(statuses):
            getattr(group.task({"seed": seed}), f"mark_{status}")()
    assert parent_of(Place()) == ("completed", "")


def test_tasks_of_earlier_attempts_count(place: Place) -> None:
    """A resumed run of which nothing new completes is completed if something was before."""
    group = place.open()
    group.task({"seed": 0}).mark_completed()
    kill(group)
    with place.resume() as group:
        group.task({"seed": 1}).mark_failed("no data")
    assert parent_of(place)[0] == "completed"


def test_an_exception_of_the_block_is_the_reason() -> None:
    """The table of endings holds: what left the block says more than a count."""
    with pytest.raises(ValueError, match="no data"), Place().group() as group:
        group.task({"seed": 0})
        raise ValueError("no data")
    assert parent_of(Place()) == ("failed", "group aborted by ValueError: no data")


def test_tasks_that_agents_have_yet_to_run_fail_nothing(loopback: LoopbackServer) -> None:
    """As long as a task waits in a queue, the run may still have completed ones."""
    place = Place(loopback)
    group = place.open()
    group.task({"seed": 0}).mark_failed("no data")
    state = group.get(seed=0)._state
    run = group._run
    assert run is not None
    run.submitted["queued"] = type(state)(state.spec, "queued", state.names, {}, state.opened, "queued")
    group.close()
    assert parent_of(place)[0] == "completed"
