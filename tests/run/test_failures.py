"""How a block ends: each row of the design's table, in memory and in an offline run's record."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup.errors import GroupStateError, TaskClosedError
from tests.support.scripts import Place, leaves, place_of

INTERRUPTS = [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit]


@pytest.fixture(params=["memory", "offline"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place for the test's groups, in memory and then on disk."""
    with place_of(request.param, tmp_path) as found:
        yield found


# --- normally ----------------------------------------------------------------------------------


def test_a_normal_end_completes_tasks_that_ran_one_after_another(place: Place) -> None:
    """Tasks with blocks of their own end as completed, and so does the parent."""
    with place.group() as group:
        for seed in range(2):
            with group.task({"seed": seed}) as task:
                task.report({"loss": 0.5}, 1)
            assert task.status == "completed"
    assert place.ends() == {
        "run": ("completed", ""),
        "seed=0": ("completed", ""),
        "seed=1": ("completed", ""),
    }


def test_a_normal_end_completes_tasks_that_ran_side_by_side(place: Place) -> None:
    """Tasks without blocks stay open through the group's block and are completed at its end."""
    with place.group() as group:
        tasks = group.tasks({"seed": [0, 1]})
        for iteration in range(3):
            for task in tasks:
                task.report({"loss": 0.5}, iteration)
        assert [task.status for task in tasks] == ["in_progress", "in_progress"]
    assert [task.status for task in tasks] == ["completed", "completed"]
    assert place.statuses() == {"run": "completed", "seed=0": "completed", "seed=1": "completed"}


def test_a_group_without_tasks_ends_as_completed(place: Place) -> None:
    with place.group():
        pass
    assert place.statuses() == {"run": "completed"}


# --- an Exception in a task's own block --------------------------------------------------------


def test_an_exception_in_a_tasks_own_block_fails_that_task_with_its_reason(place: Place) -> None:
    """The task whose block it leaves fails for itself, those still open because of the group."""
    error = ValueError("bad loss")
    with leaves(error), place.group() as group:
        done, failing, waiting = group.tasks({"seed": [0, 1, 2]})
        done.close()
        with failing:
            raise error
    assert [task.status for task in (done, failing, waiting)] == ["completed", "failed", "failed"]
    assert place.ends() == {
        "run": ("failed", "group aborted by ValueError: bad loss"),
        "seed=0": ("completed", ""),
        "seed=1": ("failed", "ValueError: bad loss"),
        "seed=2": ("failed", "group aborted by ValueError: bad loss"),
    }
    assert "ValueError: bad loss" in place.console("seed=1")
    assert "raise error" in place.console("seed=1")


def test_an_exception_that_the_script_handles_between_the_blocks_fails_only_its_task(place: Place) -> None:
    """A task's failure that never leaves the group's block leaves the group completed."""
    with place.group() as group:
        tasks = group.tasks({"seed": [0, 1]})
        with pytest.raises(ValueError, match="bad"), tasks[0]:
            raise ValueError("bad")
    assert place.statuses() == {"run": "completed", "seed=0": "failed", "seed=1": "completed"}


def test_an_exception_in_the_own_block_of_a_turn_fails_only_that_turn(place: Place) -> None:
    """In a loop with `with task:`, earlier turns stay completed, later ones are never opened."""
    error = ValueError("bad")
    with leaves(error), place.group() as group:
        for task in group.sweep({"seed": [0, 1, 2]}):
            with task:
                if task.params["seed"] == 1:
                    raise error
    assert place.ends() == {
        "run": ("failed", "group aborted by ValueError: bad"),
        "seed=0": ("completed", ""),
        "seed=1": ("failed", "ValueError: bad"),
    }


# --- an Exception leaves the group's block -----------------------------------------------------


def test_an_exception_in_the_groups_block_fails_all_open_tasks(place: Place) -> None:
    """Without a turn or a task's own block, nobody in particular failed: all say what aborted them."""
    error = RuntimeError("no disk")
    with leaves(error), place.group() as group:
        done, _ = group.tasks({"seed": [0, 1]})
        done.close()
        raise error
    assert place.ends() == {
        "run": ("failed", "group aborted by RuntimeError: no disk"),
        "seed=0": ("completed", ""),
        "seed=1": ("failed", "group aborted by RuntimeError: no disk"),
    }


def test_an_exception_in_a_loop_without_task_blocks_fails_the_current_turn(place: Place) -> None:
    """The sweep's current task gets the reason itself and the traceback in its console."""
    error = RuntimeError("no disk")
    with leaves(error), place.group() as group:
        group.task(name="beside")
        for task in group.sweep({"seed": [0, 1, 2]}):
            if task.params["seed"] == 1:
                raise error
    assert place.ends() == {
        "run": ("failed", "group aborted by RuntimeError: no disk"),
        "beside": ("failed", "group aborted by RuntimeError: no disk"),
        "seed=0": ("completed", ""),
        "seed=1": ("failed", "RuntimeError: no disk"),
    }
    assert "RuntimeError: no disk" in place.console("seed=1")


# --- KeyboardInterrupt and its like ------------------------------------------------------------


@pytest.mark.parametrize("kind", INTERRUPTS)
def test_an_interrupt_in_the_groups_block_stops_what_is_open(place: Place, kind: type[BaseException]) -> None:
    """What is no `Exception` is no failure: tasks and parent are stopped, and it goes on as it is."""
    interrupt = kind("enough")
    with leaves(interrupt), place.group() as group:
        done, _ = group.tasks({"seed": [0, 1]})
        done.close()
        raise interrupt
    assert place.statuses() == {"run": "stopped", "seed=0": "completed", "seed=1": "stopped"}
    assert kind.__name__ in place.ends()["seed=1"][1]


@pytest.mark.parametrize("kind", INTERRUPTS)
def test_an_interrupt_in_a_tasks_own_block_stops_it_and_the_rest(
    place: Place, kind: type[BaseException]
) -> None:
    interrupt = kind("enough")
    with leaves(interrupt), place.group(catch=Exception) as group:
        beside = group.task(name="beside")
        for task in group.sweep({"seed": [0, 1]}):
            with task:
                raise interrupt
    assert group.failures == ()
    assert beside.status == "stopped"
    assert place.statuses() == {"run": "stopped", "beside": "stopped", "seed=0": "stopped"}


@pytest.mark.parametrize("kind", INTERRUPTS)
def test_an_interrupt_in_a_loop_without_task_blocks_stops_the_turn(
    place: Place, kind: type[BaseException]
) -> None:
    """A turn without a block of its own is stopped as well, earlier ones stay completed."""
    interrupt = kind("enough")
    with leaves(interrupt), place.group() as group:
        for task in group.sweep({"seed": [0, 1]}):
            if task.params["seed"] == 1:
                raise interrupt
    assert place.statuses() == {"run": "stopped", "seed=0": "completed", "seed=1": "stopped"}


def test_a_cancelled_coroutine_stops_its_tasks(place: Place) -> None:
    async def train(started: asyncio.Event) -> None:
        with place.group() as group, group.task({"seed": 0}):
            started.set()
            await asyncio.Event().wait()

    async def main() -> None:
        started = asyncio.Event()
        training = asyncio.create_task(train(started))
        await started.wait()
        training.cancel()
        with pytest.raises(asyncio.CancelledError):
            await training

    asyncio.run(main())
    assert place.statuses() == {"run": "stopped", "seed=0": "stopped"}


def test_a_generator_that_is_closed_stops_its_tasks(place: Place) -> None:
    """Closing a generator that has the block open ends the group as stopped."""

    def train() -> Iterator[GroupTask]:
        with place.group() as group, group.task({"seed": 0}) as task:
            yield task

    training = train()
    assert next(iter(training)).status == "in_progress"
    training.close()  # type: ignore[attr-defined]
    assert place.statuses() == {"run": "stopped", "seed=0": "stopped"}


# --- ends of one's own choice ------------------------------------------------------------------


def test_marks_inside_a_block_are_the_last_word(place: Place) -> None:
    """`mark_failed`, `mark_stopped` and `mark_completed` stand, however the blocks end after them."""
    with place.group() as group:
        with group.task(name="failed") as task:
            task.mark_failed("out of memory")
        with group.task(name="pruned") as task:
            task.mark_stopped(status_reason="pruned")
        group.task(name="done").mark_completed()
        assert task.status_reason == "pruned"
    assert place.ends() == {
        "run": ("completed", ""),
        "failed": ("failed", "out of memory"),
        "pruned": ("stopped", "pruned"),
        "done": ("completed", ""),
    }


def test_an_exception_after_a_mark_does_not_change_it(place: Place) -> None:
    """A task that was marked keeps its status when an exception leaves its block, but has the text."""
    error = ValueError("later")
    with leaves(error), place.group() as group:
        with group.task(name="done") as task:
            task.mark_completed()
            raise error
    assert place.statuses() == {"run": "failed", "done": "completed"}
    assert "ValueError: later" in place.console("done")


@pytest.mark.parametrize("word", ["completed", "failed", "stopped"])
def test_a_task_that_was_marked_takes_no_more(place: Place, word: str) -> None:
    """After `mark_…` a report, another mark and a new block are errors that name task and status."""
    with place.group() as group:
        task = group.task(name="the task")
        getattr(task, f"mark_{word}")()
        for use in (
            lambda: task.report({"loss": 1.0}, 1),
            task.mark_completed,
            task.__enter__,
            lambda: task.set_parameters({"C": 1}),
        ):
            with pytest.raises(TaskClosedError, match=rf"'the task' has ended (as {word}|\({word}\))"):
                use()
        task.close()
        assert task.status == word


def test_an_early_end_of_one_task_leaves_the_others_open(place: Place) -> None:
    """`task.close()` completes that task at once and no other."""
    with place.group() as group:
        first, second = group.tasks({"seed": [0, 1]})
        first.close()
        assert (first.status, second.status) == ("completed", "in_progress")
        second.mark_failed()
    assert place.statuses() == {"run": "completed", "seed=0": "completed", "seed=1": "failed"}


# --- closing -----------------------------------------------------------------------------------


def test_closing_twice_does_nothing_the_second_time(place: Place) -> None:
    """A second `close` changes no status and writes nothing."""
    with place.group() as group:
        group.task(name="the task").mark_failed("bad")
    before = place.ends()
    record = group.record_path.read_text() if group.record_path else ""
    group.close()
    group.close(timeout=0)
    ended = {"run": ("failed", "no task completed: 1 failed"), "the task": ("failed", "bad")}
    assert place.ends() == before == ended
    assert (group.record_path.read_text() if group.record_path else "") == record


def test_a_group_that_was_closed_inside_its_block_stays_so(place: Place) -> None:
    """`close()` in the block counts; what leaves the block after it is raised as it is."""
    error = ValueError("after the end")
    with leaves(error), place.group() as group:
        group.task(name="the task")
        group.close()
        raise error
    assert place.statuses() == {"run": "completed", "the task": "completed"}


def test_a_closed_group_opens_no_more_tasks(place: Place) -> None:
    """Tasks and sweeps of a group that has ended are errors that say so."""
    with place.group() as group:
        sweep = group.sweep({"seed": [0, 1]})
    for use in (lambda: group.task(name="late"), lambda: group.tasks({"C": [1]}), lambda: next(sweep)):
        with pytest.raises(GroupStateError, match="has been closed"):
            use()
    assert place.statuses() == {"run": "completed"}


def test_a_failure_reason_is_one_line(place: Place) -> None:
    """A reason is the exception's own first line, also where Python shows a place before it."""
    with place.group() as group:
        with pytest.raises(SyntaxError), group.task(name="syntax"):
            compile("1 +", "given", "eval")
        with pytest.raises(ValueError, match="first"), group.task(name="lines"):
            raise ValueError("first\nsecond")
        with pytest.raises(KeyError), group.task(name="blank"):
            raise KeyError
    reasons = {name: reason for name, (_, reason) in place.ends().items()}
    assert reasons["syntax"].startswith("SyntaxError: ")
    assert reasons["lines"] == "ValueError: first"
    assert reasons["blank"] == "KeyError"


def test_group_and_task_can_share_a_with_statement(place: Place) -> None:
    """`with TaskGroup(…) as group, group.task(…) as task:` ends both."""
    with place.group() as group, group.task({"seed": 0}) as task:
        task.report({"loss": 1.0}, 1)
    assert isinstance(group, TaskGroup)
    assert place.statuses() == {"run": "completed", "seed=0": "completed"}
