"""Turns of a loop over `group.sweep`, and what `catch` does in one."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._clearml.agent_task import AgentTask
from clearml_taskgroup._progress.tracker import Tracker
from clearml_taskgroup._sweep import agent_problem, progress_tracker, specs_to_map
from clearml_taskgroup.errors import (
    ArgumentError,
    DuplicateTaskError,
    SpaceError,
    SubmitError,
    SweepOverError,
    TaskClosedError,
    TaskGroupError,
    UnknownMetricError,
)
from clearml_taskgroup.testing import MemoryStore, recording
from tests.support.scripts import Place, leaves, notes_of, place_of


@pytest.fixture(params=["memory", "offline"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place for the test's groups, in memory and then on disk."""
    with place_of(request.param, tmp_path) as found:
        yield found


# --- turns -------------------------------------------------------------------------------------


def test_a_turn_ends_as_the_next_begins(place: Place) -> None:
    """Without `with task:` a loop has one open task at a time, and all are completed at its end."""
    seen: list[GroupTask] = []
    with place.group() as group:
        for task in group.sweep({"C": [1, 10], "seed": [0, 1]}):
            assert [earlier.status for earlier in seen] == ["completed"] * len(seen)
            assert task.status == "in_progress"
            seen.append(task)
        assert [task.status for task in seen] == ["completed"] * 4
    assert [task.params for task in seen] == [{"C": C, "seed": seed} for C in (1, 10) for seed in (0, 1)]
    assert place.statuses() == {"run": "completed", **{str(task): "completed" for task in seen}}


def test_a_turns_own_block_ends_it_before_the_next(place: Place) -> None:
    """With `with task:` a turn ends where its block ends."""
    with place.group() as group:
        for task in group.sweep({"seed": [0, 1]}):
            with task:
                assert task.status == "in_progress"
            assert task.status == "completed"
    assert place.statuses() == {"run": "completed", "seed=0": "completed", "seed=1": "completed"}


def test_a_break_leaves_its_turn_open_until_the_group_ends(place: Place) -> None:
    """After `break` the turn still takes data; the group's end completes it; no others are opened."""
    with place.group() as group:
        for task in group.sweep({"seed": range(5)}):
            task.report({"loss": 1.0}, 1)
            if task.params["seed"] == 1:
                break
        assert task.status == "in_progress"
        task.report({"loss": 1.0}, 2)
    assert place.statuses() == {"run": "completed", "seed=0": "completed", "seed=1": "completed"}


def test_a_turn_that_a_break_left_ends_with_the_next_loops_first_turn(place: Place) -> None:
    """A second loop's first turn ends what a `break` left of the first one."""
    with place.group() as group:
        for left in group.sweep({"seed": range(5)}):
            if left.index == 0:
                break
        for task in group.sweep({"C": [1]}):
            assert (left.status, task.status) == ("completed", "in_progress")
    assert place.statuses() == {"run": "completed", "seed=0": "completed", "C=1": "completed"}


def test_a_return_from_the_loop_ends_as_a_normal_block(place: Place) -> None:
    """`return` inside the loop and the group's block completes the turn that it left."""

    def train() -> str:
        with place.group() as group:
            for task in group.sweep({"seed": range(5)}):
                return str(task)
        return ""

    assert train() == "seed=0"
    assert place.statuses() == {"run": "completed", "seed=0": "completed"}


def test_an_iterator_kept_in_a_variable_behaves_as_in_a_loop(place: Place) -> None:
    """`next` by hand ends the turn before; what leaves the block belongs to the latest turn."""
    error = ValueError("bad")
    with leaves(error), place.group() as group:
        turns = group.sweep({"seed": range(5)})
        first, second = next(turns), next(turns)
        assert (first.status, second.status) == ("completed", "in_progress")
        raise error
    assert place.ends() == {
        "run": ("failed", "group aborted by ValueError: bad"),
        "seed=0": ("completed", ""),
        "seed=1": ("failed", "ValueError: bad"),
    }


def test_an_exception_after_the_loop_belongs_to_no_turn(place: Place) -> None:
    """Once a loop has ended its last task is completed, whatever comes after it."""
    error = ValueError("later")
    with leaves(error), place.group() as group:
        for _ in group.sweep({"seed": [0, 1]}):
            pass
        raise error
    assert place.statuses() == {"run": "failed", "seed=0": "completed", "seed=1": "completed"}


@pytest.mark.parametrize("swept", [True, False])
def test_a_report_after_the_groups_end_says_what_applies(place: Place, swept: bool) -> None:
    """First what to change; a task of a group that has ended cannot be reopened."""
    with place.group() as group:
        for task in group.sweep({"C": [1]}) if swept else group.tasks({"C": [1]}):
            task.report({"loss": 1.0}, 1)
    advice = "indent the report into `with task:`" if swept else "report before the group's block ends"
    told = f"^the task 'C=1' has ended .*, as has its group, and accepts no more data; {advice}"
    with pytest.raises(TaskClosedError, match=told) as caught:
        task.report({"loss": 1.0}, 2)
    assert "reopen" not in str(caught.value)
    with pytest.raises(TaskClosedError, match="its group has ended, too: open the group again"), task:
        pass


def test_a_list_of_a_sweep_names_the_trap(place: Place) -> None:
    """Reporting to a task of `list(group.sweep(…))` is an error that says what to use instead."""
    with place.group() as group:
        listed = list(group.sweep({"seed": [0, 1]}))
        for task in listed:
            with pytest.raises(TaskClosedError, match=r"list\(group\.sweep.*use group\.tasks"):
                task.report({"loss": 1.0}, 1)
            with pytest.raises(TaskClosedError, match=r"Nothing was reported.*start a new run"):
                task.set_parameters({"C": 1})
        for task in group.sweep({"C": [0, 1]}):
            task.report({"loss": 1.0}, 1)
        with pytest.raises(TaskClosedError) as caught:
            task.report({"loss": 1.0}, 2)
        assert "Nothing was reported" not in str(caught.value)
        apart = group.task(name="apart")
        apart.close()
        with pytest.raises(TaskClosedError) as caught:
            apart.report({"loss": 1.0}, 1)
        assert "sweep" not in str(caught.value)


def test_a_sweep_has_a_length_and_ends_for_good(place: Place) -> None:
    """A sweep's length is that of its space; it is its own iterator and stays at its end."""
    with place.group() as group:
        sweep = group.sweep({"C": [1, 10], "seed": range(3)})
        assert len(sweep) == 6
        assert iter(sweep) is sweep
        next(sweep)
        assert repr(sweep) == "<Sweep of 6 configurations, 1 begun>"
        assert len(group) == 1
        assert [task.index for task in sweep] == [1, 2, 3, 4, 5]
        assert next(sweep, None) is None
        assert len(group) == 6


def test_a_second_loop_over_a_sweep_that_is_over_is_an_error(place: Place) -> None:
    """Where a loop has had all turns, another one would silently do nothing: it says so."""
    with place.group() as group:
        sweep = group.sweep({"seed": [0, 1]})
        assert [task.index for task in iter(iter(sweep))] == [0, 1]
        with pytest.raises(SweepOverError, match="has ended and its tasks are closed"):
            for _ in sweep:
                pytest.fail("there is no other turn")
        with pytest.raises(SweepOverError):
            list(sweep)
        assert len(sweep) == len(group) == 2


@pytest.mark.parametrize("last", [0, 2])
def test_another_loop_goes_on_after_a_break(place: Place, last: int) -> None:
    """What a `break` has left of a sweep is for the next loop, also if that is nothing."""
    with place.group() as group:
        sweep = group.sweep({"seed": range(3)})
        for task in sweep:
            if task.index == last:
                break
        assert [task.index for task in sweep] == list(range(last + 1, 3))
        with pytest.raises(SweepOverError):
            iter(sweep)


def test_a_sweep_without_turns_can_be_looped_over_again(tmp_path: Path) -> None:
    """A sweep that has nothing left to do, as under `resume`, is empty as often as one likes."""
    with place_of("offline", tmp_path) as place:
        with place.group() as group:
            assert len(list(group.sweep({"seed": [0, 1]}))) == 2
        with place.group(resume=True) as group:
            sweep = group.sweep({"seed": [0, 1]})
            assert [list(sweep), list(sweep), list(iter(sweep))] == [[], [], []]


def test_a_sweep_is_checked_before_its_first_turn(place: Place) -> None:
    """A bad space and a double in it are told by `sweep` itself, before anything is opened."""
    with place.group() as group:
        with pytest.raises(SpaceError):
            group.sweep({"seed": "abc"})
        with pytest.raises(DuplicateTaskError):
            group.sweep({"seed": [0, 1, 1.0]})
        assert len(group) == 0
    assert place.statuses() == {"run": "completed"}


def test_a_turn_that_was_opened_elsewhere_meanwhile_is_a_double(place: Place) -> None:
    """A point that `group.task` took while the loop ran is an error; the earlier turns have ended."""
    with place.group() as group:
        sweep = group.sweep({"seed": [0, 1]})
        first = next(sweep)
        group.task({"seed": 1})
        with pytest.raises(DuplicateTaskError):
            next(sweep)
        assert first.status == "completed"


# --- catch -------------------------------------------------------------------------------------


class Data:
    """Stands for something big."""


def fail(freed: list[weakref.ref[Data]], error: BaseException) -> None:
    """Raises the error, with something big in a local variable."""
    big = Data()
    freed.append(weakref.ref(big))
    raise error


def test_a_caught_exception_fails_its_task_and_the_loop_goes_on(place: Place) -> None:
    """`catch` keeps exception and text, the other turns and the group end as if nothing happened."""
    errors = [MemoryError("too big"), MemoryError("too big again")]
    with place.group(catch=(MemoryError,)) as group:
        for task in group.sweep({"seed": [0, 1, 2]}):
            with task:
                task.report({"loss": 0.5}, 1)
                if task.params["seed"] < 2:
                    raise errors[task.params["seed"]]
    assert [failure.exception for failure in group.failures] == errors
    assert group.failures[0].exception is errors[0]
    assert [str(failure.task) for failure in group.failures] == ["seed=0", "seed=1"]
    assert "raise errors[" in group.failures[0].traceback
    assert "MemoryError: too big" in place.console("seed=0")
    assert place.ends() == {
        "run": ("completed", ""),
        "seed=0": ("failed", "MemoryError: too big"),
        "seed=1": ("failed", "MemoryError: too big again"),
        "seed=2": ("completed", ""),
    }


def test_a_kept_failure_holds_no_data(place: Place) -> None:
    """The frames of a caught exception are cleared, so that what they held is freed at once."""
    freed: list[weakref.ref[Data]] = []
    with place.group(catch=MemoryError) as group:
        for task in group.sweep({"seed": [0, 1]}):
            with task:
                fail(freed, MemoryError())
        assert len(group.failures) == 2
        assert [reference() for reference in freed] == [None, None]


def failing(freed: list[weakref.ref[Data]], error: Exception) -> Exception:
    """Gives an exception that has been raised and handled, with its traceback."""
    try:
        fail(freed, error)
    except Exception as raised:
        return raised
    raise AssertionError


def nested(kind: str, freed: list[weakref.ref[Data]]) -> None:
    """Raises a ValueError that hangs together with others, in one of several ways."""
    first, second = failing(freed, KeyError("first")), failing(freed, OSError("second"))
    outer = ValueError("outer")
    if kind == "group":
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [first]), second])
    if kind == "cycle":
        first.__cause__, second.__cause__, outer.__cause__ = second, outer, first
    else:
        outer.__cause__, outer.__context__ = first, second
    raise outer


@pytest.mark.parametrize("kind", ["cause and context", "group", "cycle"])
def test_a_kept_failure_holds_no_data_of_its_causes(kind: str) -> None:
    """Causes, contexts and the members of exception groups are cleared too, even in a circle."""
    freed: list[weakref.ref[Data]] = []
    with place_of("memory", Path()) as place, place.group(catch=(ValueError, ExceptionGroup)) as group:
        with group.task(name="the task"):
            nested(kind, freed)
        assert freed
        assert [reference() for reference in freed] == [None] * len(freed)


def test_catch_takes_subclasses_and_nothing_else(place: Place) -> None:
    """A class given to `catch` stands for what derives from it; any other exception is raised."""
    error = ValueError("not caught")
    with leaves(error), place.group(catch=(LookupError,)) as group:
        for task in group.sweep({"seed": [0, 1, 2]}):
            with task:
                if task.params["seed"] == 0:
                    raise KeyError("caught")
                raise error
    assert [repr(failure.exception) for failure in group.failures] == [
        "KeyError('caught')",
        "ValueError('not caught')",
    ]
    assert place.statuses() == {"run": "failed", "seed=0": "failed", "seed=1": "failed"}


@pytest.mark.parametrize("catch", [ValueError, (LookupError, ValueError)])
def test_an_error_of_the_package_is_not_what_builtins_in_catch_mean(place: Place, catch: Any) -> None:
    """A misspelt metric ends the loop at its first task, although its error is a ValueError, too."""
    with (
        pytest.raises(UnknownMetricError) as caught,
        place.group(catch=catch, metrics=["loss"]) as group,
    ):
        for task in group.sweep({"seed": [0, 1]}):
            with task:
                task.report({"los": 1.0}, 1)
    assert [note for note in notes_of(caught.value) if "catch=UnknownMetricError" in note]
    assert place.statuses() == {"run": "failed", "seed=0": "failed"}


@pytest.mark.parametrize("catch", [UnknownMetricError, (KeyError, TaskGroupError), Exception])
def test_an_error_of_the_package_is_caught_by_its_own_classes(place: Place, catch: Any) -> None:
    """A class of the package in `catch`, or `Exception`, stands for the package's errors."""
    with place.group(catch=catch, metrics=["loss"]) as group:
        for task in group.sweep({"seed": [0, 1]}):
            with task:
                task.report({"los": 1.0}, 1)
    assert [type(failure.exception) for failure in group.failures] == [UnknownMetricError] * 2
    assert [notes_of(failure.exception) for failure in group.failures] == [[], []]


def test_the_note_on_own_blocks_is_not_for_errors_that_catch_does_not_mean(place: Place) -> None:
    """Without `with task:` an error of the package leaves without a note on `catch=ValueError`."""
    error = UnknownMetricError("los", ["loss"])
    with leaves(error), place.group(catch=ValueError) as group:
        for _ in group.sweep({"seed": [0, 1]}):
            raise error


def test_catch_acts_on_tasks_that_run_side_by_side(place: Place) -> None:
    """Any task's own block is one that `catch` acts on, not only a turn's."""
    with place.group(catch=ValueError) as group:
        first, second = group.tasks({"seed": [0, 1]})
        with first:
            raise ValueError("bad")
        second.report({"loss": 1.0}, 1)
    assert place.statuses() == {"run": "completed", "seed=0": "failed", "seed=1": "completed"}


def test_without_a_block_of_its_own_a_turn_cannot_be_caught(place: Place) -> None:
    """The exception has left the loop already: it is raised, with a note that says what to write."""
    error = ValueError("bad")
    with leaves(error, notes=["put `with task:` around the body"]), place.group(catch=ValueError) as group:
        for _ in group.sweep({"seed": [0, 1]}):
            raise error
    (failure,) = group.failures
    assert repr(failure.exception) == "ValueError('bad')"
    assert "raise error" in failure.traceback
    assert place.statuses() == {"run": "failed", "seed=0": "failed"}


def test_the_note_is_for_what_catch_names_only(place: Place) -> None:
    """An exception that `catch` does not name leaves a turn without a note."""
    error = ValueError("bad")
    with leaves(error), place.group(catch=KeyError) as group:
        for _ in group.sweep({"seed": [0, 1]}):
            raise error


@pytest.mark.parametrize("catch", [KeyboardInterrupt, (ValueError, BaseException), ["ValueError"], (1,)])
def test_catch_takes_exception_classes_only(catch: Any) -> None:
    """What is no class derived from `Exception` is refused as the group is made."""
    with pytest.raises(ArgumentError, match="exception classes derived from Exception"):
        TaskGroup("the project", "the group", catch=catch)


def test_a_caught_exception_is_left_as_it_was(place: Place) -> None:
    """What `catch` keeps has no notes of ours, and its task cannot be used any more."""
    error = ValueError("bad")
    with place.group(catch=ValueError) as group, group.task(name="the task") as task:
        raise error
    assert notes_of(error) == []
    assert task.status == "failed"
    assert task.status_reason == "ValueError: bad"


# --- configurations that run again in the open group ---------------------------------------------


def test_a_cell_is_run_again(place: Place) -> None:
    """What failed, was stopped, had not ended or was not reached runs again; what completed does not."""
    group = place.group().open()
    space = {"seed": range(5)}

    def cell(fails: bool) -> list[int]:
        begun = []
        for task in group.sweep(space, if_exists="retry"):
            begun.append(task.params["seed"])
            task.report({"loss": 1.0 + task.attempt})
            if task.params["seed"] == 1 and fails:
                task.mark_failed("bad")
            elif task.params["seed"] == 2 and fails:
                task.mark_stopped("pruned")
            elif task.params["seed"] == 3 and fails:
                raise ValueError("the loop is left")
        return begun

    with pytest.raises(ValueError, match="the loop is left"):
        cell(fails=True)
    statuses = [task.status for task in group]
    assert statuses == ["completed", "failed", "stopped", "in_progress"]
    assert cell(fails=False) == [1, 2, 3, 4]
    assert cell(fails=False) == []
    group.close()
    rows = sorted(group.results(), key=lambda row: row.params["seed"])
    assert [(row.status, row.attempt, row.value("loss"), row.index) for row in rows] == [
        ("completed", attempt, 1.0 + attempt, seed) for seed, attempt in enumerate([1, 2, 2, 2, 1])
    ]
    assert len(group) == 5
    assert group.failures == ()


def test_a_space_that_has_grown(place: Place) -> None:
    """New configurations run beside those that are tried again."""
    with place.group(catch=ValueError) as group:
        for space in ({"C": [1, 2]}, {"C": [1, 2, 3]}):
            for task in group.sweep(space, if_exists="retry"):
                with task:
                    if task.params["C"] == 2:
                        raise ValueError("bad")
        assert [(task.params["C"], task.attempt, task.status) for task in group] == [
            (1, 1, "completed"),
            (2, 2, "failed"),
            (3, 1, "completed"),
        ]


def test_what_is_still_running_is_not_run_again(place: Place) -> None:
    with place.group() as group, group.task({"C": 1}):
        with pytest.raises(DuplicateTaskError, match=r"if_exists='retry'"):
            next(iter(group.sweep({"C": [1]})))
        repeat = r"this group already has the task 'C=1' \(\{'C': 1\}\); to repeat it, add .* \{'repeat': 2\}"
        with pytest.raises(DuplicateTaskError, match=repeat):
            next(iter(group.sweep({"C": [1]}, if_exists="retry")))


def test_after_a_resume_too(tmp_path: Path) -> None:
    """What an earlier process has completed is not run again."""
    with place_of("offline", tmp_path) as place:
        _resumed_sweeps(place)


def _resumed_sweeps(place: Place) -> None:
    with place.group() as group:
        for task in group.sweep({"C": [1, 2, 3]}):
            if task.params["C"] == 2:
                task.mark_failed()
    with place.group(resume=True) as group:
        for _ in range(2):
            begun = [task.params["C"] for task in group.sweep({"C": [1, 2, 3]}, if_exists="retry")]
            assert begun in ([2], [])
        assert [task.attempt for task in sorted(group, key=lambda task: task.index)] == [1, 2, 1]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"if_exists": "again"}, "if_exists='again' was given"),
        ({"if_exists": "return"}, "if_exists='return' was given"),
        ({"if_exists": "retry", "queue": "gpu"}, r"a sweep without queue=.*resume=True\) submits"),
    ],
)
def test_arguments_of_a_retry(arguments: dict[str, Any], expected: str) -> None:
    with recording(), TaskGroup("digits", "again") as group, pytest.raises(ArgumentError, match=expected):
        group.sweep({"C": [1]}, **arguments)


def test_a_shared_run_has_no_retry() -> None:
    shared = TaskGroup("digits", "again", mode="offline", provenance=False, run="array")
    with shared as group, pytest.raises(ArgumentError, match="resume=True runs them again"):
        group.sweep({"C": [1]}, if_exists="retry")


# --- arguments, queues and agents ----------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        *({"queue": queue} for queue in ("", " ", 7)),
        *({"limit": limit} for limit in (0, -1, 2.5, True)),
        {"queue": "gpu", "if_exists": "retry"},
        {"progress": 1},
    ],
)
def test_arguments_of_a_sweep(group: TaskGroup, given: dict[str, Any]) -> None:
    (*_, argument) = given
    with pytest.raises(ArgumentError, match=f"^{argument}="):
        group.sweep({"C": [1]}, **given)
    assert len(list(group.sweep({"C": [1]}, queue=None, limit=1))) == 1


def test_a_queue_takes_all_of_a_sweep(group: TaskGroup, backend: MemoryStore) -> None:
    """The queue's name without blanks around it; the sweep has no iteration here."""
    sweep = group.sweep({"C": [1, 2]}, queue=" gpu ")
    assert (len(sweep), list(sweep)) == (0, [])
    assert [(task.spec.queue, task.status) for task in backend.members] == [("gpu", "queued")] * 2
    assert [task.status for task in group] == ["queued"] * 2


def agent_task(group: TaskGroup, task: GroupTask, sweep: str, queue: str = "") -> AgentTask:
    """A task of the group as an agent runs it."""
    identity = {
        "kind": "task",
        "group": group.id,
        "group_name": group.name,
        "run": group.run,
        "key": task.key,
    }
    identity |= {"name": task.name, "index": "1", "sweep": sweep, "queue": queue, "params": '{"C": 2}'}
    section = {name: {"value": value} for name, value in identity.items()}
    parameters = {"C": {"value": "2", "type": "int"}}
    return AgentTask(
        {"id": task.id, "name": "a task", "hyperparams": {"TaskGroup": section, "General": parameters}}
    )


@pytest.mark.parametrize("queue", ["", "gpu"])
def test_on_an_agent_a_sweep_has_the_one_task(group: TaskGroup, queue: str) -> None:
    """The first that it fits, and no other one; the script must have run it."""
    run = group._opened()
    run.agent_task = agent_task(group, group.task({"C": 2}), "0", queue)
    run.states.clear()
    run.specs._specs_by_key.clear()
    assert agent_problem(run) is not None
    assert list(group.sweep({"D": [3]})) == []
    run.sweeps = 0
    found = [(task.params, task.index) for task in group.sweep({"C": [1, 2]}, queue="gpu")]
    assert found == [({"C": 2}, 1)]
    assert agent_problem(run) is None
    assert list(group.sweep({"C": [1, 2]})) == []


def test_on_an_agent_a_map_has_the_one_configuration(group: TaskGroup) -> None:
    run = group._opened()
    run.agent_task = agent_task(group, group.task({"C": 2}), "map 0")
    assert specs_to_map(group, run, {"D": [1]}) == []
    (spec,) = specs_to_map(group, run, {"C": [1, 2]})
    assert (spec.params, spec.task_id, run.agent_task.begun) == ({"C": 2}, group.get(C=2).id, True)
    assert specs_to_map(group, run, {"C": [1, 2]}) == []
    run.agent_task = agent_task(group, group.get(C=2), "0", "gpu")
    with pytest.raises(SubmitError, match=r"group.map\(\) was called beside it"):
        specs_to_map(group, run, {"C": [1, 2]})
    run.agent_task = None


def test_the_agents_task_is_of_another_group(group: TaskGroup) -> None:
    """Sweeps and maps are empty, and other tasks are refused."""
    run = group._opened()
    run.foreign_agent_task = agent_task(group, group.task({"C": 2}), "0", "gpu")
    assert len(group.sweep({"C": [1, 2]})) == 0
    assert group.map(str, {"C": [1, 2]}) == []
    with pytest.raises(SubmitError, match=r"group.task\(\) was called beside it"):
        group.task({"C": 3})


def test_the_places_of_sweeps_and_maps(group: TaskGroup, backend: MemoryStore) -> None:
    """Each is counted, unless it was refused."""
    with pytest.raises(ArgumentError):
        group.sweep({"C": [0]}, queue="")
    for number in range(2):
        list(group.sweep({"C": [number]}))
        group.map(str, {"D": [number]})
    assert [task.spec.sweep for task in backend.members] == ["0", "map 0", "1", "map 1"]


# --- what is run again ---------------------------------------------------------------------------


def test_a_retry_of_a_task_that_is_open(group: TaskGroup) -> None:
    """It is stopped if nothing works on it: it has no block, and no other code ends it."""
    left, entered, trial = group.tasks({"C": [1, 2, 3]})
    trial._state.ends_elsewhere = True
    (again,) = group.sweep({"C": [1]}, if_exists="retry")
    assert (left.status_reason, again.attempt) == ("it had not ended when its configuration was run again", 2)
    with entered, pytest.raises(DuplicateTaskError):
        next(group.sweep({"C": [2]}, if_exists="retry"))
    with pytest.raises(DuplicateTaskError):
        next(group.sweep({"C": [3]}, if_exists="retry"))
    assert (entered.status, trial.status) == ("completed", "in_progress")


def test_a_sweep_tells_how_far_it_is(group: TaskGroup) -> None:
    sweep = group.sweep({"C": [1, 2]})
    seen = [(repr(sweep), sweep.has_more, group.results().partial) for _ in sweep]
    assert seen == [
        ("<Sweep of 2 configurations, 1 begun>", True, True),
        ("<Sweep of 2 configurations, 2 begun>", False, True),
    ]
    assert not group.results().partial
    assert repr(group.sweep({"D": [1]})) == "<Sweep of 1 configuration, 0 begun>"


def test_loops_within_each_other(group: TaskGroup) -> None:
    """The innermost loop's task is the current one; the outer loop may have more to come."""
    for outer in group.sweep({"C": [1, 2]}):
        assert group._iterations.current is outer
        for inner in group.sweep({"D": [outer.params["C"]]}):
            assert group._iterations.current is inner
            assert group._iterations.has_more is (outer.params["C"] == 1)
        assert group._iterations.current is outer
        assert (inner.status, outer.status) == ("completed", "in_progress")
    assert group._iterations.current is None


def test_what_is_completed_meanwhile_is_not_run_again(group: TaskGroup) -> None:
    for task in group.tasks({"C": range(4)}):
        task.mark_failed()
    sweep = group.sweep({"C": range(4)}, if_exists="retry")
    assert next(sweep).params == {"C": 0}
    for completed in ([1, 2], [3]):
        list(group.sweep({"C": completed}, if_exists="retry"))
        if completed == [1, 2]:
            assert next(sweep).params == {"C": 3}
            group.get(C=3).mark_failed()
    assert list(sweep) == []


def test_a_task_that_is_run_again_within_its_own_loop(group: TaskGroup) -> None:
    """The iteration of the outer loop is over then."""
    for task in group.sweep({"C": [1, 2]}):
        if task.params["C"] == 1:
            (again,) = group.sweep({"C": [1]}, if_exists="retry")
            assert group._iterations.current is None
            assert (task.status, again.attempt) == ("stopped", 2)
    assert [task.status for task in group] == ["completed", "completed"]


def test_the_progress_of_a_sweep(group: TaskGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each iteration is shown as it begins; the display stops with the sweep, and again with the group."""
    calls: list[str] = []
    for name in ("update", "begun", "stop"):
        monkeypatch.setattr(Tracker, name, lambda *_, name=name: calls.append(name))
    sweep = group.sweep({"C": [1, 2]}, progress=True)
    assert calls == []
    list(sweep)
    assert calls == ["update", "begun", "update", "begun", "stop"]
    group.sweep({"C": [1, 2, 3]}, progress=True, if_exists="retry")
    calls.clear()
    group._close("completed", "", None, None)
    assert calls == ["stop", "stop"]


def test_progress_counts_what_is_done_before(group: TaskGroup) -> None:
    first = progress_tracker(group._opened(), 3, 1)
    assert (first.total, first.done) == (3, 1)
