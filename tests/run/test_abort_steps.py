"""Aborts, step by step: what the heartbeat finds, the error of a call, and whose block swallows it."""

from __future__ import annotations

import gc
import multiprocessing
import weakref
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._model.specs import ForeignStatus
from clearml_taskgroup._run import abort as _abort
from clearml_taskgroup._run.abort import (
    abort_run,
    aborts_in,
    check_iteration,
    check_run,
    closed_error,
    follow,
    is_swallowed,
    leave_task,
    take,
    watch,
)
from clearml_taskgroup._run.run import Run
from clearml_taskgroup._run.state import Abort
from clearml_taskgroup.errors import TaskAbortedError, TaskClosedError
from tests.support.runs import stop
from tests.support.scripts import HookedStore, kept_in

STOPPED = ForeignStatus("stopped", "by hand", "stopped")


@attrs.define(slots=False)
class Store(HookedStore):
    """A store that notes what is adopted and watched."""

    watched: list[Any] = attrs.field(factory=list)
    taken: dict[str, ForeignStatus] = attrs.field(factory=dict)
    names: dict[str, str] = attrs.field(factory=dict)

    def watch(self, ids: Any, on_foreign_status: Any) -> None:
        self.watched.append((list(ids), on_foreign_status))

    def adopt(self, found: Mapping[str, ForeignStatus], consequence: str = "") -> None:
        self.taken |= found

    def remember_name(self, task_id: str, name: str) -> None:
        self.names[task_id] = name


class Holder(SimpleNamespace):
    """In place of a run; unlike `SimpleNamespace`, it can be referred to weakly."""


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def group(store: Store) -> Iterator[TaskGroup]:
    with kept_in(store), TaskGroup("the project", "the group") as group:
        yield group


@pytest.fixture
def run(group: TaskGroup) -> Run:
    assert group._run is not None
    return group._run


@pytest.fixture
def tasks(group: TaskGroup) -> list[GroupTask]:
    return list(group.tasks({"seed": range(2)}))


def error_of(task: GroupTask) -> TaskAbortedError:
    return Abort.of_task(task._state, STOPPED).error()


# --- what is found ---------------------------------------------------------------------------------


def test_open_tasks_that_are_found_are_aborted(run: Run, store: Store, tasks: list[GroupTask]) -> None:
    tasks[1].mark_completed()
    take(run, {task.id: STOPPED for task in tasks} | {"another": STOPPED})
    assert [task.status for task in tasks] == ["stopped", "completed"]
    assert list(store.taken) == [tasks[0].id]
    assert run.aborted is None


@pytest.mark.parametrize(("word", "stops"), [("stopped", True), ("published", False)])
@pytest.mark.parametrize("main", [True, False])
def test_a_parent_that_was_stopped_stops_all(
    run: Run, tasks: list[GroupTask], word: str, stops: bool, main: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status of a main task is kept from ClearML's own end of it."""
    kept: list[Any] = []
    monkeypatch.setattr(_abort, "keep_status", kept.append)
    run.main_task = "the main task" if main else None
    take(run, {str(run.parent): STOPPED._replace(word=word)})
    take(run, {str(run.parent): STOPPED._replace(word=word)})
    run.main_task = None
    assert {task.status for task in tasks} == {"stopped" if stops else "in_progress"}
    assert (run.aborted is not None) is stops
    assert kept == ["the main task"] * (main and stops)


def test_a_run_without_a_parent_has_none_that_is_stopped(run: Run, tasks: list[GroupTask]) -> None:
    parent, run.parent = run.parent, None
    take(run, {"": STOPPED})
    run.parent = parent
    assert run.aborted is None


def test_a_run_is_aborted_once_and_with_those_in_its_block(run: Run, tasks: list[GroupTask]) -> None:
    with TaskGroup("the project", "inner") as inner:
        assert inner._run is not None
        task = inner.task({"seed": 0})
        abort_run(run, "first")
        first = run.aborted
        abort_run(run, "second")
        assert run.aborted is first is inner._run.aborted
        assert task.status == "stopped"
    assert inner._run in run.nested


def test_a_closed_run_is_not_aborted(run: Run) -> None:
    run.closed = True
    abort_run(run, "by hand")
    run.closed = False
    assert run.aborted is None


def test_a_run_that_was_aborted_by_itself_keeps_that() -> None:
    own = Abort.of_run("inner", None, "own")
    inner: Any = SimpleNamespace(aborted=own)
    outer: Any = SimpleNamespace(aborted=Abort.of_run("outer", None, "another"))
    outer.nested = SimpleNamespace(add=lambda run: None)
    follow(inner, outer)
    assert inner.aborted is own


@pytest.mark.parametrize(
    ("main", "parent", "agent", "watched"),
    [
        (True, "the parent", None, ["the parent"]),
        (False, "the parent", None, []),
        (True, None, None, []),
        (True, "the parent", "the agent's task", []),
    ],
)
def test_a_main_task_is_watched_too(
    store: Store,
    main: bool,
    parent: str | None,
    agent: str | None,
    watched: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On an agent, the agent stops the process."""
    monkeypatch.setattr(sdk, "agent_task_id", lambda: agent)
    main_task = SimpleNamespace(name="main") if main else None
    run: Any = Holder(run_log=None, main_task=main_task, parent=parent, backend=store)
    watch(run)
    assert store.watched[0][0] == watched
    assert store.names == dict.fromkeys(watched, "main")


def test_what_is_found_goes_to_an_open_run_that_lives(
    run: Run, store: Store, tasks: list[GroupTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []
    monkeypatch.setattr(_abort, "take", lambda run, taken: found.append(taken))
    on_found: Callable[[Any], None] = store.watched[0][1]
    run.closed = True
    on_found({})
    run.closed = False
    assert found == []
    on_found({"a": STOPPED})
    assert found == [{"a": STOPPED}]
    other: Any = Holder(run_log=None, main_task=None, parent=None, backend=store)
    watch(other)
    alive = weakref.ref(other)
    del other
    gc.collect()
    assert alive() is None
    store.watched[-1][1]({"b": STOPPED})
    assert len(found) == 1


# --- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("in_block", "process", "kind"),
    [
        (True, "PoolWorker-1", TaskAbortedError),
        (False, "MainProcess", TaskAbortedError),
        (False, "ForkPoolWorker-1", TaskClosedError),  # whose `map` waits for ever otherwise
    ],
)
def test_a_call_learns_of_the_abort(
    tasks: list[GroupTask],
    in_block: bool,
    process: str,
    kind: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = tasks[0]._state
    stop(tasks[0])
    assert not state.abort_seen
    monkeypatch.setattr(multiprocessing.process, "current_process", lambda: SimpleNamespace(name=process))
    error = closed_error(state, in_block)
    assert type(error) is kind
    assert "by hand" in str(error)
    assert state.abort_seen


def test_the_class_of_the_error_is_the_tasks_unless_the_run_was_aborted(
    run: Run, tasks: list[GroupTask]
) -> None:
    class Pruned(TaskAbortedError):
        pass

    for task in tasks:
        task._state.abort_error = Pruned
    stop(tasks[0])
    assert type(closed_error(tasks[0]._state)) is Pruned
    abort_run(run, "by hand")
    assert type(closed_error(tasks[1]._state)) is TaskAbortedError


@pytest.mark.parametrize(
    ("in_sweep", "status", "reported", "unused"),
    [
        (True, "completed", False, True),
        (False, "completed", False, False),
        (True, "failed", False, False),
        (True, "completed", True, False),
    ],
)
def test_a_task_of_a_sweep_that_was_never_used_has_advice(
    tasks: list[GroupTask], in_sweep: bool, status: Any, reported: bool, unused: bool
) -> None:
    task, state = tasks[0], tasks[0]._state
    if reported:
        task.report({"loss": 1.0}, 1)
        task.flush()
    state.in_sweep = in_sweep
    task._run.mark(state, status)
    error, plain = closed_error(state), closed_error(tasks[1]._state)
    assert isinstance(error, TaskClosedError)
    assert isinstance(plain, TaskClosedError)
    with_advice = TaskClosedError(state.spec.name, status, in_sweep, False, True, "", "", False)
    without = TaskClosedError(state.spec.name, status, in_sweep, False, False, "", "", False)
    assert str(error) == str(with_advice if unused else without)


def test_an_iteration_raises_for_what_the_script_has_not_seen(run: Run, tasks: list[GroupTask]) -> None:
    states = [task._state for task in tasks]
    check_iteration(run, states)
    stop(tasks[1])
    with pytest.raises(TaskAbortedError, match="seed=1"):
        check_iteration(run, states)
    check_iteration(run, states)  # now it has
    states[1].abort_seen, run.closed = False, True
    check_iteration(run, states)
    run.closed, states[1].abort_seen = False, True
    abort_run(run, "by hand")
    with pytest.raises(TaskAbortedError, match="the group"):
        check_iteration(run, [])
    with pytest.raises(TaskAbortedError, match="the group"):
        check_run(run)
    run.closed = True
    check_run(run)
    run.closed = False


# --- blocks ----------------------------------------------------------------------------------------


def test_the_aborts_of_an_exception_are_all_that_it_has(tasks: list[GroupTask]) -> None:
    one, two = map(error_of, tasks)
    nested = BaseExceptionGroup("a", [one, BaseExceptionGroup("b", [two])])
    assert aborts_in(one) == [one]
    assert aborts_in(nested) == [one, two]
    assert aborts_in(ValueError()) == []
    assert aborts_in(BaseExceptionGroup("a", [one, ValueError()])) == []


def test_a_block_swallows_the_aborts_of_its_own_task(run: Run, tasks: list[GroupTask]) -> None:
    stop(tasks[0])
    errors = [error_of(task) for task in tasks]
    assert leave_task(run, tasks[0]._state, errors[:1] * 2)
    assert tasks[0]._state.finished
    assert not leave_task(run, tasks[1]._state, errors)
    assert tasks[1]._state.left_by == errors[0].problem
    tasks[1].mark_completed()
    tasks[1]._state.left_by = ""
    assert not leave_task(run, tasks[1]._state, errors)
    assert tasks[1]._state.left_by == ""


@pytest.mark.parametrize("why", ["", "not aborted", "another's parent", "in a child", "another task"])
def test_a_group_swallows_the_abort_of_its_own_parent(
    run: Run, tasks: list[GroupTask], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the earlier ones of its tasks, and of those of inner groups."""
    errors = [error_of(tasks[0])]
    if why != "not aborted":
        abort_run(run, "by hand")
        assert run.aborted is not None
        errors.append(run.aborted.error())
    if why == "another task":
        errors.append(TaskAbortedError("x", "stopped", "", "another", False))
    monkeypatch.setattr(Run, "in_child", why == "in a child")
    run.owns_parent = why != "another's parent"
    assert is_swallowed(run, errors) is (why == "")
    run.owns_parent = True
