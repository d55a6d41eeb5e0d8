"""The current group and task, in blocks that are nested, overlap, or are left elsewhere."""

from __future__ import annotations

import contextvars
import pickle
import threading
from contextvars import ContextVar

import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._current import current_group, enter, entered_tasks, leave, tasks
from clearml_taskgroup.errors import NoCurrentTaskError
from clearml_taskgroup.testing import recording
from tests.support.scripts import leaves


def test_a_block_that_is_entered_twice_is_left_twice() -> None:
    """The later entry goes first; what was entered between them stays."""
    blocks: ContextVar[tuple[str, ...]] = ContextVar("blocks", default=())
    one, two = "one", "two"
    for block in (one, two, one):
        enter(blocks, block)
    leave(blocks, one)
    assert blocks.get() == (one, two)
    leave(blocks, "three")
    leave(blocks, one)
    assert blocks.get() == (two,)
    leave(blocks, two)
    assert blocks.get() == ()


def test_equal_blocks_are_not_the_same() -> None:
    blocks: ContextVar[tuple[list[int], ...]] = ContextVar("blocks", default=())
    one, equal = [1], [1]
    enter(blocks, one)
    enter(blocks, equal)
    leave(blocks, one)
    assert blocks.get()[0] is equal


def test_all_tasks_whose_blocks_are_open() -> None:
    """The innermost first, without those that were left in another context or whose group is closed."""
    with recording(), TaskGroup("digits", "outer") as outer, outer.task({"C": 1}) as around:
        inner = TaskGroup("digits", "inner").open()
        with inner.task({"C": 2}), inner.task({"C": 3}) as within:
            assert [task.params["C"] for task in entered_tasks()] == [3, 2, 1]
            contextvars.copy_context().run(within.__exit__, None, None, None)
            assert [task.params["C"] for task in entered_tasks()] == [2, 1]
            enter(tasks, within)
            within._entered_in.append(0)
            inner.close()
            assert [*entered_tasks()] == [around]
            assert current_group() is outer


def test_the_current_group_and_task_are_those_of_the_innermost_block() -> None:
    """`current()` follows the blocks in and out."""
    assert (TaskGroup.current(), GroupTask.current()) == (None, None)
    with recording():
        with TaskGroup("the project", "the outer") as outer:
            assert (TaskGroup.current(), GroupTask.current()) == (outer, None)
            with outer.task(name="around") as around:
                assert GroupTask.current() is around
                with TaskGroup("the project", "the inner") as inner, inner.task(name="within") as within:
                    assert (TaskGroup.current(), GroupTask.current()) == (inner, within)
                assert (TaskGroup.current(), GroupTask.current()) == (outer, around)
            assert GroupTask.current() is None
    assert (TaskGroup.current(), GroupTask.current()) == (None, None)


def test_a_turn_without_a_block_is_the_current_task() -> None:
    """In a loop over a sweep the turn is the current task; after the loop there is none."""
    with recording(), TaskGroup("the project", "the group") as group:
        for task in group.sweep({"seed": [0, 1]}):
            assert GroupTask.current() is task
        assert GroupTask.current() is None


def test_a_thread_has_no_current_task_until_it_activates_one() -> None:
    """`activate()` makes task and group current in a thread, and ends neither."""
    seen: list[object] = []

    def train(task: GroupTask) -> None:
        seen.append((TaskGroup.current(), GroupTask.current()))
        with task.activate() as active:
            seen.append((TaskGroup.current(), GroupTask.current()))
            active.report({"loss": 1.0}, 1)
        seen.append((TaskGroup.current(), GroupTask.current(), task.status))
        with task.group.activate():
            seen.append(TaskGroup.current())

    with recording() as backend, TaskGroup("the project", "the group") as group:
        with group.task(name="the task") as task:
            thread = threading.Thread(target=train, args=(task,))
            thread.start()
            thread.join()
    assert seen == [(None, None), (group, task), (None, None, "in_progress"), group]
    assert backend.members[0].scalars == {("loss", "value"): [(1, 1.0)]}


def test_activate_is_undone_by_an_exception() -> None:
    """What was current before is so again when an exception leaves an activated block."""
    error = ValueError("bad")
    with recording(), TaskGroup("the project", "the group") as group:
        task = group.task(name="the task")
        with leaves(error), task.activate():
            raise error
        assert GroupTask.current() is None
        assert task.status == "in_progress"


def test_a_closed_group_is_never_current_nor_an_outer_group() -> None:
    """Blocks that overlap: the one that was entered first is left first."""
    with recording():
        first, second = TaskGroup("digits", "first"), TaskGroup("digits", "second")
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert TaskGroup.current() is second
        with second.task({"C": 1}) as task:
            assert GroupTask.current() is task
        second.__exit__(None, None, None)
        assert (TaskGroup.current(), GroupTask.current()) == (None, None)
        with TaskGroup("digits", "third") as third:
            assert third.parent_id not in (first.parent_id, second.parent_id)


def test_tasks_whose_blocks_overlap() -> None:
    with recording(), TaskGroup("digits", "sweep") as group:
        first, second = group.tasks({"C": [1, 2]})
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert GroupTask.current() is second
        second.__exit__(None, None, None)
        assert GroupTask.current() is None


def test_the_current_task_can_be_required() -> None:
    for current, what in ((GroupTask.current, "task"), (TaskGroup.current, "group")):
        assert current() is None
        with pytest.raises(
            NoCurrentTaskError, match=rf"no current {what} here.*with {what}\.activate\(\)"
        ) as raised:
            current(required=True)
        assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
    with recording(), TaskGroup("digits", "current") as group, group.task({"C": 1}) as task:
        assert GroupTask.current(required=True) is task
        assert TaskGroup.current(required=True) is group
        found: list[object] = []

        def work() -> None:
            try:
                GroupTask.current(required=True)
            except NoCurrentTaskError as error:
                found.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert len(found) == 1
