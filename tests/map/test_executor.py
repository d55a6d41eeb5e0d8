"""Map on an executor of the user's: how many calls it is given, and what becomes of those that it loses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._map import call, executor
from clearml_taskgroup._map.begun_calls import keep_result
from clearml_taskgroup._map.call import CallResult
from clearml_taskgroup._map.executor import SHARED_CALLS, ExecutorEngine, workers_of
from clearml_taskgroup._run.worker_counts import WorkerCounts
from clearml_taskgroup.errors import TaskGroupError, WorkerDiedError
from clearml_taskgroup.testing import recording


@pytest.fixture
def group() -> Iterator[TaskGroup]:
    with recording(), TaskGroup("the project", "the group") as group:
        yield group


@pytest.fixture
def task(group: TaskGroup) -> GroupTask:
    return group.task({"seed": 0})


class Played(Executor):
    """Makes no call: the test says how each ends."""

    def __init__(self, *ends: Any) -> None:
        self.ends = list(ends)
        self.submitted: list[Any] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.submitted.append(args)
        end = self.ends.pop(0)
        if isinstance(end, RuntimeError):
            raise end
        future: Future[Any] = Future()
        if isinstance(end, BaseException):
            future.set_exception(end)
        elif end is not None:
            future.set_result(end)
        return future


class Upcoming:
    """Gives the tasks one after another."""

    def __init__(self, *tasks: GroupTask) -> None:
        self.tasks = list(tasks)

    @property
    def has_more(self) -> bool:
        return bool(self.tasks)

    def next(self) -> GroupTask | None:
        return self.tasks.pop(0) if self.tasks else None


def engine(played: Executor, folder: str | None = None, most: float = math.inf) -> ExecutorEngine:
    return ExecutorEngine(lambda task: None, played, folder, most)


def run(engine: ExecutorEngine, *tasks: GroupTask) -> list[tuple[GroupTask, CallResult]]:
    upcoming: Any = Upcoming(*tasks)
    return list(engine.run(upcoming))


class KilledWorker(Exception):
    """As Dask names it."""


@pytest.mark.parametrize(
    ("workers", "calls"), [(3, 3), (1, 1), (0, SHARED_CALLS), (None, SHARED_CALLS), ("3", SHARED_CALLS)]
)
def test_the_number_of_workers_is_that_of_the_executor(workers: Any, calls: int) -> None:
    executor: Any = SimpleNamespace(_max_workers=workers)
    assert workers_of(executor) == calls
    assert workers_of(Played()) == SHARED_CALLS


def test_results_come_as_the_calls_end(group: TaskGroup) -> None:
    tasks = group.tasks({"seed": range(3)})
    with ThreadPoolExecutor(2) as pool:
        found = run(ExecutorEngine(lambda task: task.params["seed"], pool, None), *tasks)
    assert {task.id: result.value for task, result in found} == {
        task.id: seed for seed, task in enumerate(tasks)
    }


def test_an_executor_is_given_so_many_calls_at_a_time(group: TaskGroup) -> None:
    tasks, waiting = group.tasks({"seed": range(4)}), list[int]()
    one = engine(Played(*[CallResult(facts=WorkerCounts("completed"))] * 4), most=2)
    upcoming: Any = Upcoming(*tasks)
    for _ in one.run(upcoming):
        waiting.append(len(one._pending))
    assert waiting == [1, 1, 1, 0]


def test_bytes_are_the_result_of_another_process(task: GroupTask) -> None:
    data = call._pack(call._pickle_value(7), CallResult(), 1.0, WorkerCounts("completed"))
    ((_, result),) = run(engine(Played(data)), task)
    assert result.value == 7


def test_an_interrupt_of_this_thread_is_raised(task: GroupTask) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(engine(Played(CallResult(error=KeyboardInterrupt()))), task)
    there = CallResult(error=KeyboardInterrupt(), facts=WorkerCounts("stopped"))
    assert run(engine(Played(there)), task) == [(task, there)]


def test_an_executor_that_accepts_no_calls_fails_those_that_are_left(group: TaskGroup) -> None:
    tasks = group.tasks({"seed": range(3)})
    done = CallResult(1, facts=WorkerCounts("completed"))
    played = Played(done, RuntimeError("shut down"))
    found = run(engine(played), *tasks)
    assert [(task, type(result.error)) for task, result in found] == [
        (tasks[0], type(None)),
        (tasks[1], RuntimeError),
        (tasks[2], RuntimeError),
    ]
    assert len(played.submitted) == 2  # it was not asked again
    assert found[1][1].text == "RuntimeError: shut down\n"


@pytest.mark.parametrize(
    ("folder", "has_begun", "submits"), [(True, False, 2), (True, True, 1), (False, False, 1)]
)
def test_a_call_that_dask_gave_up_before_it_began_is_submitted_again(
    task: GroupTask, tmp_path: Path, folder: bool, has_begun: bool, submits: int
) -> None:
    if has_begun:
        (tmp_path / task.id).touch()
    played = Played(KilledWorker(), CallResult(7, facts=WorkerCounts("completed")))
    ((_, result),) = run(engine(played, str(tmp_path) if folder else None), task)
    assert len(played.submitted) == submits
    assert (result.value == 7) is (submits == 2)
    assert (type(result.error) is WorkerDiedError) is (submits == 1)


def test_calls_are_not_submitted_again_without_end(
    task: GroupTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "MAX_RESUBMITS", 2)
    played = Played(*[KilledWorker() for _ in range(4)])
    ((_, result),) = run(engine(played, str(tmp_path)), task)
    assert len(played.submitted) == 3
    assert isinstance(result.error, WorkerDiedError)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (BrokenExecutor("a worker died"), WorkerDiedError, "was waiting when the executor Played broke"),
        (KilledWorker("four times"), WorkerDiedError, "was waiting when the executor Played broke"),
        (TaskGroupError("of this package"), TaskGroupError, "of this package"),
        (ValueError("bad"), ValueError, "ValueError: bad"),
    ],
)
def test_a_call_that_the_executor_lost_has_failed(
    task: GroupTask, error: BaseException, kind: type[BaseException], text: str
) -> None:
    ((_, result),) = run(engine(Played(error)), task)
    assert isinstance(result.error, kind)
    assert text in result.text
    assert result.unlogged == result.text
    assert result.facts is not None
    assert (result.facts.status, result.facts.died) == ("failed", True)
    assert text in result.facts.reason


@pytest.mark.parametrize(("error", "is_kept"), [(None, True), (SystemExit(), False)])
def test_a_result_that_got_lost_is_read_from_the_folder(
    task: GroupTask, tmp_path: Path, error: BaseException | None, is_kept: bool
) -> None:
    """But not that of a worker which the breaking pool has ended by a signal."""
    (tmp_path / task.id).touch()
    kept = call._pack(call._pickle_value(7), CallResult(error=error), 1.0, WorkerCounts("completed"))
    keep_result(str(tmp_path), task.id, kept)
    ((_, result),) = run(engine(Played(BrokenExecutor()), str(tmp_path)), task)
    assert (result.value == 7) is is_kept
    assert isinstance(result.error, WorkerDiedError) is not is_kept
    if not is_kept:
        assert "was running when the executor" in str(result.error)


def test_what_has_ended_is_kept_as_the_map_is_stopped(group: TaskGroup) -> None:
    """What has not begun is cancelled."""
    ended, waits = group.tasks({"seed": range(2)})
    done = CallResult(7, facts=WorkerCounts("completed"))
    one = engine(Played(done, None))
    one._submit(ended)
    one._submit(waits)
    assert one.stop() == [(ended, done)]
    (_, future) = one._pending
    assert future.cancelled()
    assert not one._can_resubmit(future, waits)
    assert isinstance(one._result(future, waits).error, WorkerDiedError)
    with pytest.raises(CancelledError):
        future.result()


@pytest.mark.parametrize("has_folder", [True, False])
def test_the_folder_is_removed_at_the_end(tmp_path: Path, has_folder: bool) -> None:
    folder = tmp_path / "begun"
    folder.mkdir()
    engine(Played(), str(folder) if has_folder else None).close()
    assert folder.exists() is not has_folder
