"""Tasks that somebody else has ended: which blocks the error leaves, and what ends how."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._run.abort import abort_run, aborts_in
from clearml_taskgroup.errors import TaskAbortedError, TaskClosedError
from clearml_taskgroup.testing import MemoryStore, MemoryTask, recording
from tests.support.runs import stop


@pytest.fixture
def recorded() -> Iterator[MemoryStore]:
    """The test's groups are kept in memory."""
    with recording() as store:
        yield store


def stop_parent(group: TaskGroup) -> None:
    """Somebody stops the group's parent."""
    assert group._run is not None
    abort_run(group._run, "by hand")


def parent(recorded: MemoryStore) -> MemoryTask:
    """The latest run's parent."""
    return [task for task in recorded.tasks.values() if task.spec.kind == "parent"][-1]


def statuses(tasks: Iterable[GroupTask]) -> list[str]:
    return [task.status for task in tasks]


# --- a task --------------------------------------------------------------------------------------


def test_the_next_report_ends_the_tasks_own_block_and_the_loop_goes_on(recorded: MemoryStore) -> None:
    """The task keeps status and reason, and what it has reported before."""
    reported = []
    with TaskGroup("abort", "loop", catch=Exception) as group:
        for task in group.sweep({"seed": range(3)}):
            with task:
                for step in range(4):
                    if (task.params["seed"], step) == (1, 2):
                        stop(task)
                    task.report({"loss": 1.0}, step)
                    reported.append((task.params["seed"], step))
    assert reported == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, 3)]
    assert [(task.status, task.status_reason) for task in group] == [
        ("completed", ""),
        ("stopped", "by hand"),
        ("completed", ""),
    ]
    assert not group.failures
    assert [len(task.scalars["loss", "value"]) for task in recorded.members] == [4, 2, 4]
    assert parent(recorded).status == "completed"


@pytest.mark.parametrize("how", ["report", "bound", "nested", "single", "parameters", "clearml", "metric"])
def test_whatever_logs_to_it_raises(recorded: MemoryStore, how: str) -> None:
    """Views, nested values, parameters and ClearML's own objects as well."""
    with TaskGroup("abort", "ways") as group, group.task({"seed": 0}) as task:
        view = task.bind(split="val")
        stop(task)
        with pytest.raises(TaskAbortedError, match=r"'seed=0' was stopped by somebody else \(by hand\)"):
            if how == "report":
                task.report({"loss": 1.0}, 0)
            elif how == "bound":
                view.report({"loss": 1.0}, 0)
            elif how == "nested":
                task.report({"val": {"loss": 1.0}}, 0, levels=("split", "metric"))
            elif how == "single":
                task.report({"loss": 1.0})
            elif how == "parameters":
                task.set_parameters({"threads": 2})
            elif how == "clearml":
                _ = task.clearml_task
            else:
                task.mark_completed()
    assert task.status == "stopped"


def test_a_report_of_values_that_cannot_be_stored_raises_too(recorded: MemoryStore) -> None:
    with TaskGroup("abort", "nan") as group, group.task({"seed": 0}) as task:
        stop(task)
        with pytest.raises(TaskAbortedError):
            task.report({"loss": float("nan")}, 0)


def test_a_block_that_ends_without_a_report_ends_as_stopped(recorded: MemoryStore) -> None:
    """Nothing is raised any more: neither at the block's end, nor by the next iteration."""
    with TaskGroup("abort", "silent") as group:
        for task in group.sweep({"seed": range(2)}):
            with task:
                if task.params["seed"] == 0:
                    stop(task)
    assert statuses(group) == ["stopped", "completed"]


def test_a_block_can_be_entered_after_the_abort(recorded: MemoryStore) -> None:
    """Of tasks that were opened at once, one that is aborted before its turn ends with its block."""
    with TaskGroup("abort", "early") as group:
        tasks = group.tasks({"seed": range(3)})
        stop(tasks[1])
        for task in tasks:
            with task:
                task.report({"loss": 1.0}, 0)
    assert statuses(group) == ["completed", "stopped", "completed"]


def test_the_error_is_no_exception(recorded: MemoryStore) -> None:
    """`except Exception` around the training does not hide it."""
    with TaskGroup("abort", "except") as group, group.task({"seed": 0}) as task:
        stop(task)
        with contextlib.suppress(Exception):
            task.report({"loss": 1.0}, 0)
        pytest.fail("the block goes on")
    assert (task.status, task.status_reason) == ("stopped", "by hand")


def test_each_report_raises_until_the_script_gives_up(recorded: MemoryStore) -> None:
    """Also in several threads; each error is another object, so that tracebacks do not pile up."""
    errors = []
    with TaskGroup("abort", "again") as group, group.task({"seed": 0}) as task:
        stop(task)
        for _ in range(2):
            try:
                task.report({"loss": 1.0}, 0)
            except TaskAbortedError as error:
                errors.append(error)
    assert errors[0] is not errors[1]
    with pytest.raises(TaskAbortedError):
        task.report({"loss": 1.0}, 0)


# --- a sweep without blocks ----------------------------------------------------------------------


def test_without_a_block_the_error_leaves_the_loop_and_the_group(recorded: MemoryStore) -> None:
    """What is open then is stopped, as by any interrupt."""
    with pytest.raises(TaskAbortedError) as caught, TaskGroup("abort", "bare") as group:
        other = group.task({"other": 1})
        for task in group.sweep({"seed": range(3)}):
            if task.params["seed"] == 1:
                stop(task)
            task.report({"loss": 1.0}, 0)
    assert (caught.value.task, caught.value.reason, caught.value.of_group) == ("seed=1", "by hand", False)
    assert "with task:" in str(caught.value)
    assert [(str(task), task.status) for task in group] == [
        ("other=1", "stopped"),
        ("seed=0", "completed"),
        ("seed=1", "stopped"),
    ]
    assert other.status_reason == "the task 'seed=1' was stopped by somebody else (by hand)"
    assert group.get(seed=1).status_reason == "by hand"
    assert parent(recorded).status == "stopped"


def test_without_a_report_the_next_iteration_raises(recorded: MemoryStore) -> None:
    """The loop that is begun again goes on with the next configuration."""
    with TaskGroup("abort", "next") as group:
        sweep = group.sweep({"seed": range(3)})
        with pytest.raises(TaskAbortedError, match="seed=0"):
            for task in sweep:
                stop(task)
        for task in sweep:
            task.report({"loss": 1.0}, 0)
    assert statuses(group) == ["stopped", "completed", "completed"]


def test_an_error_that_the_script_has_caught_is_not_raised_again(recorded: MemoryStore) -> None:
    with TaskGroup("abort", "caught") as group:
        for task in group.sweep({"seed": range(2)}):
            if task.params["seed"] == 0:
                stop(task)
            try:
                task.report({"loss": 1.0}, 0)
            except TaskAbortedError:
                continue
    assert statuses(group) == ["stopped", "completed"]


def test_the_last_iteration_has_nothing_left_to_stop(recorded: MemoryStore) -> None:
    with TaskGroup("abort", "last") as group:
        for task in group.sweep({"seed": range(1)}):
            stop(task)
    assert statuses(group) == ["stopped"]


# --- blocks that the error passes ----------------------------------------------------------------


def test_another_tasks_block_lets_it_pass(recorded: MemoryStore) -> None:
    """That task stays open; if nobody goes on with it, it is stopped with the group: it was not finished."""
    with TaskGroup("abort", "two") as group:
        one, two = group.tasks({"seed": range(2)})
        with one:
            with two:
                stop(one)
                two.report({"loss": 1.0}, 0)
                one.report({"loss": 1.0}, 0)
        assert statuses(group) == ["stopped", "in_progress"]
        two.report({"loss": 1.0}, 1)
    assert statuses(group) == ["stopped", "stopped"]
    assert two.status_reason.startswith("its block was left: the task 'seed=0' was stopped")


def test_a_task_whose_block_was_left_can_go_on(recorded: MemoryStore) -> None:
    with TaskGroup("abort", "go on") as group:
        one, two = group.tasks({"seed": range(2)})
        with one:
            with two:
                stop(one)
                one.report({"loss": 1.0}, 0)
        with two:
            two.report({"loss": 1.0}, 0)
    assert statuses(group) == ["stopped", "completed"]


def test_interleaved_reports_of_tasks_that_are_open_at_once(recorded: MemoryStore) -> None:
    """A script that catches the error itself goes on with the others."""
    with TaskGroup("abort", "interleaved") as group:
        left = group.tasks({"seed": range(3)})
        for step in range(3):
            for task in list(left):
                if (step, task.params["seed"]) == (1, 1):
                    stop(task)
                try:
                    task.report({"loss": 1.0}, step)
                except TaskAbortedError:
                    left.remove(task)
    assert statuses(group) == ["completed", "stopped", "completed"]


def test_a_view_that_is_activated_is_no_block_of_the_task(recorded: MemoryStore) -> None:
    with TaskGroup("abort", "activate") as group:
        task = group.task({"seed": 0})
        with pytest.raises(TaskAbortedError), task.activate():
            stop(task)
            task.report({"loss": 1.0}, 0)
    assert task.status == "stopped"


def test_an_outer_groups_blocks_let_it_pass(recorded: MemoryStore) -> None:
    """They end as by an interrupt, none of them as failed."""
    with (
        pytest.raises(TaskAbortedError),
        TaskGroup("abort", "outer") as outer,
        outer.task({"fold": 0}) as fold,
    ):
        with TaskGroup("abort", "inner") as inner:
            for task in inner.sweep({"seed": range(2)}):
                stop(task)
                task.report({"loss": 1.0}, 0)
    assert (statuses(inner), statuses(outer)) == (["stopped"], ["stopped"])
    assert "seed=0" in fold.status_reason


def test_an_inner_tasks_own_block_keeps_it_from_the_outer_group(recorded: MemoryStore) -> None:
    with TaskGroup("abort", "outer") as outer, outer.task({"fold": 0}):
        with TaskGroup("abort", "inner") as inner:
            for task in inner.sweep({"seed": range(2)}):
                with task:
                    if task.params["seed"] == 0:
                        stop(task)
                    task.report({"loss": 1.0}, 0)
    assert (statuses(inner), statuses(outer)) == (["stopped", "completed"], ["completed"])


def test_flush_and_results_raise_nothing(recorded: MemoryStore) -> None:
    with TaskGroup("abort", "flush") as group, group.task({"seed": 0}) as task:
        task.report({"loss": 1.0}, 0)
        stop(task)
        task.flush()
        group.flush()
        assert [row.status for row in group.results()] == ["stopped"]
    assert task.bind(split="val").task is task


# --- threads and asyncio -------------------------------------------------------------------------


def test_a_pools_threads_hand_it_on(recorded: MemoryStore) -> None:
    """The error reaches the task's own block through the future; another task's thread goes on."""
    with TaskGroup("abort", "threads") as group, ThreadPoolExecutor(2) as pool:
        for task in group.sweep({"seed": range(2)}):
            with task:
                if task.params["seed"] == 0:
                    stop(task)
                pool.submit(task.report, {"loss": 1.0}, 0).result()
    assert statuses(group) == ["stopped", "completed"]


def test_a_thread_of_ones_own_ends(recorded: MemoryStore) -> None:
    seen: list[BaseException] = []

    def work(task: GroupTask) -> None:
        try:
            task.report({"loss": 1.0}, 0)
        except BaseException as error:
            seen.append(error)

    with TaskGroup("abort", "thread") as group, group.task({"seed": 0}) as task:
        stop(task)
        thread = threading.Thread(target=work, args=(task,))
        thread.start()
        thread.join()
    assert isinstance(seen[0], TaskAbortedError)
    assert task.status == "stopped"


def test_one_of_several_coroutines_is_aborted(recorded: MemoryStore) -> None:
    """Each has its own block: the others run to their ends."""

    async def work(task: GroupTask) -> None:
        with task:
            for step in range(3):
                await asyncio.sleep(0)
                if (task.params["seed"], step) == (1, 1):
                    stop(task)
                task.report({"loss": 1.0}, step)

    async def main() -> None:
        async with asyncio.TaskGroup() as coroutines:
            for task in group.tasks({"seed": range(3)}):
                coroutines.create_task(work(task))

    with TaskGroup("abort", "asyncio") as group:
        asyncio.run(main())
    assert statuses(group) == ["completed", "stopped", "completed"]


def test_asyncios_group_around_the_error_is_opened(recorded: MemoryStore) -> None:
    """Around a group of coroutines, the task's block swallows what is nothing but its own abort."""

    async def epoch(task: GroupTask) -> None:
        task.report({"loss": 1.0}, 0)

    async def main(task: GroupTask) -> None:
        with task:
            async with asyncio.TaskGroup() as coroutines:
                stop(task)
                coroutines.create_task(epoch(task))
                coroutines.create_task(epoch(task))

    with (
        TaskGroup("abort", "exception group") as group,
        contextlib.nullcontext(group.task({"seed": 0})) as task,
    ):
        asyncio.run(main(task))
    assert task.status == "stopped"


def test_map_goes_on_after_asyncios_group_around_the_error(recorded: MemoryStore) -> None:
    async def epoch(task: GroupTask) -> None:
        task.report({"loss": 1.0}, 0)

    async def train(task: GroupTask) -> None:
        async with asyncio.TaskGroup() as coroutines:
            coroutines.create_task(epoch(task))

    def work(task: GroupTask) -> None:
        if task.params["seed"] == 0:
            stop(task)
        asyncio.run(train(task))

    with TaskGroup("abort", "asyncio map") as group:
        mapped = group.map(work, {"seed": range(2)})
    assert [type(one.error) for one in mapped] == [TaskAbortedError, type(None)]
    assert statuses(group) == ["stopped", "completed"]


def test_another_error_beside_the_abort_is_not_swallowed(recorded: MemoryStore) -> None:
    with pytest.raises(BaseExceptionGroup) as caught, TaskGroup("abort", "mixed") as group:
        with group.task({"seed": 0}) as task:
            stop(task)
            raise BaseExceptionGroup("both", [TaskAbortedError("seed=0", id=task.id), ValueError("no luck")])
    assert aborts_in(caught.value) == []
    assert (task.status, task.status_reason) == ("stopped", "by hand")


# --- the parent ----------------------------------------------------------------------------------


def test_a_stopped_parent_ends_the_whole_run(recorded: MemoryStore) -> None:
    """What is completed stays so; the group's block swallows the error, and its summary is written."""
    with TaskGroup("abort", "parent") as group:
        other = group.task({"other": 1})
        for task in group.sweep({"seed": range(3)}):
            with task:
                task.report({"loss": 1.0}, 0)
                if task.params["seed"] == 1:
                    stop_parent(group)
                task.report({"loss": 1.0}, 1)
        pytest.fail("the loop goes on")
    assert [(str(task), task.status) for task in group] == [
        ("other=1", "stopped"),
        ("seed=0", "completed"),
        ("seed=1", "stopped"),
    ]
    assert other.status_reason == "the group 'parent' was stopped by somebody else (by hand)"
    assert (parent(recorded).status, parent(recorded).reason) == ("stopped", "by hand")
    assert [row.status for row in group.results()] == ["stopped", "completed", "stopped"]
    with pytest.raises(TaskAbortedError, match="all of its tasks end"):
        task.report({"loss": 1.0}, 2)


@pytest.mark.parametrize("how", ["iteration", "task", "tasks", "end of the loop"])
def test_a_stopped_parent_lets_no_task_begin(recorded: MemoryStore, how: str) -> None:
    with TaskGroup("abort", "begin") as group:
        if how == "end of the loop":
            for task in group.sweep({"seed": [0]}):
                with task:
                    stop_parent(group)
            pytest.fail("the loop has ended as usual")
        stop_parent(group)
        if how == "iteration":
            next(iter(group.sweep({"seed": range(3)})))
        elif how == "task":
            group.task({"seed": 0})
        else:
            group.tasks({"seed": range(3)})
        pytest.fail("a task has begun")
    assert parent(recorded).status == "stopped"


def test_a_parent_that_is_stopped_while_a_task_is_created(
    recorded: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heartbeat comes from another thread: the new task stops at its first report."""
    with TaskGroup("abort", "meanwhile") as group:
        create = recorded.create

        def create_slowly(*args: Any) -> list[str]:
            stop_parent(group)
            return create(*args)

        monkeypatch.setattr(MemoryStore, "create", lambda self, *args: create_slowly(*args))
        with group.task({"seed": 0}) as task:
            task.report({"loss": 1.0}, 0)
        pytest.fail("the block goes on")
    assert task.status == "stopped"


def test_a_run_that_does_not_notice_ends_as_stopped(recorded: MemoryStore) -> None:
    """Nothing is raised at the end of the block, or by `close`."""
    with TaskGroup("abort", "unnoticed") as group:
        task = group.task({"seed": 0})
        stop_parent(group)
    assert (task.status, parent(recorded).status) == ("stopped", "stopped")
    other = TaskGroup("abort", "notebook").open()
    stop_parent(other)
    other.close()
    assert parent(recorded).status == "stopped"


@pytest.mark.parametrize("how", ["a loop", "map"])
def test_a_task_is_stopped_and_then_the_parent(recorded: MemoryStore, how: str) -> None:
    """The script learns of both at once: the group's block swallows the task's error, too."""

    def work(task: GroupTask) -> None:
        stop(task)
        stop_parent(group)
        task.report({"loss": 1.0}, 0)

    with TaskGroup("abort", "both") as group:
        if how == "map":
            group.map(work, {"seed": range(3)})
        else:
            for task in group.sweep({"seed": range(3)}):
                work(task)
        pytest.fail("the block goes on")
    assert [(task.status, task.status_reason) for task in group] == [("stopped", "by hand")]


def test_an_inner_group_has_the_outer_groups_parent(recorded: MemoryStore) -> None:
    """The error passes the inner group and leaves it stopped; the outer one swallows it."""
    with TaskGroup("abort", "outer") as outer:
        fold = outer.task({"fold": 0})
        with fold, TaskGroup("abort", "inner") as inner:
            for task in inner.sweep({"seed": range(2)}):
                with task:
                    stop_parent(outer)
                    task.report({"loss": 1.0}, 0)
        pytest.fail("the outer block goes on")
    assert (statuses(inner), statuses(outer)) == (["stopped"], ["stopped"])


def test_a_group_that_opens_in_a_stopped_one_is_stopped(recorded: MemoryStore) -> None:
    with TaskGroup("abort", "outer") as outer:
        stop_parent(outer)
        with TaskGroup("abort", "inner") as inner:
            inner.task({"seed": 0})
    assert len(inner) == 0
    assert parent(recorded).status == "stopped"


# --- a process that others took for dead ---------------------------------------------------------


def test_a_withdrawn_task_gets_no_status_from_this_process(recorded: MemoryStore) -> None:
    """Its report raises, and its end is not stored: the task belongs to another process."""
    with TaskGroup("abort", "withdrawn") as group:
        with group.task({"seed": 0}) as task:
            task.report({"loss": 1.0}, 0)
            assert group._run is not None
            abort_run(group._run, "abandoned", withdrawn=True)
            task.report({"loss": 1.0}, 1)
    assert task.status == "stopped"
    assert recorded.members[0].status == "in_progress"
    assert recorded.members[0].scalars == {("loss", "value"): [(0, 1.0)]}


def test_a_task_that_has_ended_is_not_aborted(recorded: MemoryStore) -> None:
    with TaskGroup("abort", "ended") as group:
        with group.task({"seed": 0}) as task:
            task.report({"loss": 1.0}, 0)
        stop(task)
        with pytest.raises(TaskClosedError):
            task.report({"loss": 1.0}, 1)
    assert task.status == "completed"
