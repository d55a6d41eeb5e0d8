"""`group.map`: the same points, statuses and records here, in threads and in processes."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, Mapped, Metric, TaskGroup
from clearml_taskgroup._map import process_pool
from clearml_taskgroup._progress import displays
from clearml_taskgroup._progress.tracker import Progress
from clearml_taskgroup._run.reporter import Reporter
from clearml_taskgroup._run.task_ender import TaskEnder
from clearml_taskgroup.errors import (
    ArgumentError,
    CarriedError,
    DuplicateTaskError,
    FunctionPickleError,
    SpaceError,
    ValuePickleError,
    WorkerDiedError,
)
from clearml_taskgroup.testing import recording
from tests.support import worker_functions
from tests.support.scripts import Disk
from tests.support.server_view import View

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

LOKY = pytest.param("loky", marks=pytest.mark.slow)  # its processes take seconds to start
ENGINES = ("here", "threads", "workers", "pool", LOKY)
PROCESSES = ("workers", "pool", LOKY)
SPACE = {"seed": range(6)}


@contextmanager
def engine(kind: str, count: int = 2, fresh: bool = False) -> Iterator[dict[str, Any]]:
    """The arguments by which `map` runs somewhere."""
    if kind == "here":
        yield {}
    elif kind == "workers":
        yield {"workers": count}
    elif kind == "threads":
        with ThreadPoolExecutor(count) as threads:
            yield {"executor": threads}
    elif kind == "pool":
        with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("fork")) as pool:
            yield {"executor": pool}
    else:
        loky = pytest.importorskip("loky")
        # Workers that an earlier test has left are set up for that test's server.
        yield {"executor": loky.get_reusable_executor(count, reuse=not fresh)}


def offline(name: str = "the group", **options: Any) -> TaskGroup:
    """A group whose tasks are offline sessions of the test's own."""
    return TaskGroup("the project", name, mode="offline", provenance=False, **options)


@pytest.fixture
def disk() -> Disk:
    """What groups have left below the test's cache folder."""
    return Disk(Path(os.environ["CLEARML_CACHE_DIR"]))


def workers() -> list[Any]:
    """The worker processes of `map` that are alive."""
    return [child for child in multiprocessing.active_children() if "taskgroup" in child.name]


def curves(disk: Disk, seed: int, group: str = "the group") -> list[tuple[int, float]]:
    """The points of one task."""
    return [point[2:] for point in disk.sessions[f"{group} seed={seed}"].scalars]


def expected(seed: int) -> list[tuple[int, float]]:
    """The points that `worker_functions.report` reports."""
    return [(step, seed + step / 8) for step in range(worker_functions.STEPS)]


@pytest.mark.parametrize("kind", ["here", "workers"])
def test_offline_an_end_without_values_takes_no_thread(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To start or wake one takes longer than all else that is done at the end of a task."""
    monkeypatch.setattr(TaskEnder, "put", None)
    monkeypatch.setattr(Reporter, "has_written_all", True)  # which it may not see if its thread is awake
    with offline() as group, engine(kind) as options:
        mapped = group.map(worker_functions.nothing, SPACE, **options)
        assert [one.task._state.finished for one in mapped] == [True] * 6


@pytest.mark.quick(2)
@pytest.mark.parametrize("kind", ENGINES)
def test_each_point_is_run_once_and_told_in_order(kind: str, disk: Disk) -> None:
    """Records come in the space's order, with values; tasks are completed, with all their points."""
    with engine(kind) as where, offline() as group:
        mapped = group.map(worker_functions.report, SPACE, **where)
    assert [(one.task.params["seed"], one.value, one.error) for one in mapped] == [
        (seed, seed**2, None) for seed in range(6)
    ]
    assert isinstance(mapped[0], Mapped)
    assert set(disk.ends().values()) == {("completed", "")}
    assert [curves(disk, seed) for seed in range(6)] == [expected(seed) for seed in range(6)]


@pytest.mark.quick(3)
@pytest.mark.parametrize("kind", ENGINES)
def test_what_was_counted_elsewhere_is_in_the_results(kind: str) -> None:
    """`results()` and the run's record hold first, last, least, greatest and mean of each value."""
    began = time.monotonic()
    with engine(kind) as where, offline() as group:
        group.map(worker_functions.report, SPACE, **where)
        row = group.results()[5]
    assert 0 <= row.duration <= time.monotonic() - began
    values = [row.value("loss", split="val", of=of) for of in ("first", "last", "min", "max", "mean")]
    assert values == [5.0, 5.375, 5.0, 5.375, 5.1875]
    assert group.results().best("loss", mode="min", split="val").params == {"seed": 0}
    (stats,) = row.stats.values()
    assert (stats.count, stats.min_iteration, stats.max_iteration) == (4, 0, 3)


@pytest.mark.parametrize("kind", ENGINES)
def test_an_exception_fails_its_own_task_and_is_in_the_record(
    kind: str, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    """The others go on; what was reported before is kept; the traceback is in the task's console."""
    with engine(kind) as where, offline() as group:
        mapped = group.map(worker_functions.some_raise, SPACE, **where)
    assert [(one.value, repr(one.error)) for one in mapped] == [
        (None, f"ValueError('odd seed {seed}')") if seed % 2 else (seed**2, "None") for seed in range(6)
    ]
    ends = disk.ends()
    assert ends["seed=3"] == ("failed", "ValueError: odd seed 3")
    assert ends["seed=4"] == ends["run"] == ("completed", "")
    assert curves(disk, 3) == expected(3)
    assert "in some_raise" in disk.sessions["the group seed=3"].console
    found = sorted(group.failures, key=lambda failure: failure.task.index)
    assert [repr(failure.exception) for failure in found] == [
        f"ValueError('odd seed {seed}')" for seed in (1, 3, 5)
    ]
    assert all("in some_raise" in failure.traceback for failure in found)
    assert "seed=3 failed, the others go on: ValueError: odd seed 3" in caplog.text


@pytest.mark.quick(2)
@pytest.mark.parametrize("kind", ENGINES)
def test_what_catch_names_is_in_failures(kind: str) -> None:
    """An exception of `catch` is kept in `failures` as well, once, with its traceback."""
    with engine(kind) as where, offline(catch=ValueError) as group:
        mapped = group.map(worker_functions.some_raise, SPACE, **where)
    assert sorted(failure.task.params["seed"] for failure in group.failures) == [1, 3, 5]
    assert {failure.exception for failure in group.failures} == {one.error for one in mapped if one.error}
    assert all("in some_raise" in failure.traceback for failure in group.failures)


@pytest.mark.quick(3)
@pytest.mark.parametrize("kind", ENGINES)
def test_a_task_may_end_itself(kind: str, disk: Disk) -> None:
    """A block, mark_failed, mark_stopped, and a caught exception in the function have the first word."""
    with engine(kind) as where, offline(catch=MemoryError) as group:
        mapped = group.map(worker_functions.end_by_itself, {"seed": range(5)}, **where)
    ends = disk.ends()
    assert [ends[f"seed={seed}"] for seed in range(5)] == [
        ("completed", ""),
        ("failed", "out of memory"),
        ("stopped", "pruned"),
        ("failed", "MemoryError: no room"),
        ("completed", ""),
    ]
    assert [one.value for one in mapped] == ["gave", "gave", "gave", None, "gave"]
    assert [type(one.error) for one in mapped] == [type(None)] * 3 + [MemoryError, type(None)]
    found = {failure.task.params["seed"]: failure.exception for failure in group.failures}
    assert {seed: str(error) for seed, error in found.items()} == {1: "out of memory", 3: "no room"}
    assert isinstance(found[3], MemoryError)


@pytest.mark.quick(2)
@pytest.mark.parametrize("kind", ENGINES)
def test_current_and_capture_work_there(kind: str, disk: Disk) -> None:
    """In the function the task and its group are current, and what it prints is in its task's console."""
    with engine(kind) as where, offline(capture="console") as group:
        mapped = group.map(worker_functions.say, SPACE, **where)
    assert [one.value for one in mapped] == [True] * 6
    for seed in range(6):
        assert disk.sessions[f"the group seed={seed}"].console == f"printed by {seed}"


@pytest.mark.parametrize("kind", PROCESSES)
def test_the_rest_of_a_task_works_there(kind: str, disk: Disk) -> None:
    """Parameters, bound context, ClearML's own objects; NaN is left out and counted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with engine(kind) as where, offline() as group:
            (one, _) = group.map(worker_functions.log_more, {"seed": [0, 1]}, **where)
    session = disk.sessions["the group seed=0"]
    assert one.error is None
    assert one.task.params == {"seed": 0, "found": 7}
    assert session.task["hyperparams"]["General"]["found"]["value"] == "7"
    assert session.scalars == [("loss", "val", 1, 0.5)]
    assert "by the logger" in session.console
    assert [artifact["key"] for artifact in session.task["execution"]["artifacts"]] == ["answer"]
    (end,) = [line for line in disk.record() if line["event"] == "end" and line["id"] == one.task.id]
    assert (end["points"], end["left_out"]) == (1, 1)


@pytest.mark.parametrize("kind", PROCESSES)
def test_what_cannot_travel_is_told_and_breaks_nothing(kind: str, disk: Disk) -> None:
    """Exceptions and values that cannot be pickled carry their text; `sys.exit` stops its task alone."""
    with engine(kind) as where, offline() as group:
        mapped = group.map(worker_functions.raise_odd_kinds, {"seed": range(5)}, **where)
    errors = [one.error for one in mapped]
    assert [type(error) for error in errors[:3]] == [CarriedError, CarriedError, ValuePickleError]
    assert "1 and 2" in str(errors[0])
    assert "locked up" in str(errors[1])
    assert "in raise_odd_kinds" in errors[1].traceback  # type: ignore[union-attr]
    assert isinstance(errors[3], SystemExit)
    assert mapped[4].value == 4
    statuses = [status for status, _ in disk.ends().values()]
    assert sorted(statuses) == ["completed", "completed", "failed", "failed", "failed", "stopped"]
    assert disk.ends()["seed=3"] == ("stopped", "SystemExit: 3")


@pytest.mark.quick(4)
@pytest.mark.parametrize("retry", ["new", "continue"])
@pytest.mark.parametrize("kind", ENGINES)
def test_completed_points_are_not_run_again(kind: str, retry: Any, tmp_path: Path) -> None:
    """Under resume what has completed is passed over, its record without a value; the rest runs once."""
    space = [{"seed": seed, "file": str(tmp_path / "ran")} for seed in range(6)]
    with engine(kind) as where, offline() as group:
        first = group.map(worker_functions.log_run, space, **where)
    with engine(kind) as where, offline(resume=True, retry=retry) as group:
        second = group.map(worker_functions.log_run, space, **where)
    ran = (tmp_path / "ran").read_text().split()
    assert sorted(ran[:6]) == list("012345")
    assert sorted(ran[6:]) == list("135")
    assert [one.error is None for one in first] == [True, False] * 3
    assert [(one.task.params["seed"], one.task.done, one.task.status) for one in second] == [
        (seed, seed % 2 == 0, "completed") for seed in range(6)
    ]


@pytest.mark.parametrize("kind", ["here", "workers"])
def test_what_is_logged_of_a_map(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A line for each failure, none for what completes, and under resume how much is left to do."""
    space = [{"seed": seed, "file": str(tmp_path / "ran")} for seed in range(3)]
    for resume in (False, True):
        caplog.clear()
        with engine(kind) as where, offline(resume=resume) as group:
            group.map(worker_functions.log_run, space, **where)
        said = [line for line in caplog.messages if "failed" in line or "already" in line]
        assert said == [
            "2 of 3 completed already; running 1"
            if resume
            else "seed=1 failed, the others go on: ValueError: once"
        ]


@pytest.mark.quick(3)
@pytest.mark.parametrize("kind", ENGINES)
def test_progress_counts_each_point(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A display is shown what completed, what failed and the best value; at last nothing is under way."""
    shown: list[str] = []

    class Display(displays.NoDisplay):
        """Keeps what it is shown."""

        def show(self, progress: Progress) -> None:
            """Keeps it."""
            shown.append(str(progress))

    monkeypatch.setattr(displays, "choose_display", lambda: Display())
    with engine(kind) as where, offline(metrics=[Metric("loss", mode="min")]) as group:
        group.map(worker_functions.some_raise, SPACE, progress=True, **where)
    assert shown[0] == "0 done, 0 failed, 6 left"
    assert shown[-1] == "3 done, 3 failed, 0 left · best loss[split=val] 0.375 (seed=0)"


def test_a_named_function_is_asked_for(disk: Disk) -> None:
    """A lambda cannot go to a process: told before any task is opened; here and in threads it may."""
    with offline() as group:
        with pytest.raises(FunctionPickleError, match="top level"):
            group.map(lambda task: 1, SPACE, workers=2)
        with ProcessPoolExecutor(1) as pool, pytest.raises(FunctionPickleError, match="threads"):
            group.map(lambda task: 1, SPACE, executor=pool)
        assert len(group) == 0
        with ThreadPoolExecutor(2) as threads:
            assert [one.value for one in group.map(lambda task: 1, SPACE, executor=threads)] == [1] * 6


def test_what_a_worker_could_not_store_is_said_once(disk: Disk) -> None:
    """One sentence for each task: how many points, and why."""
    group = offline().open()
    group.map(worker_functions.report_to_deleted_session, {"seed": [1]}, workers=1)
    with pytest.raises(ExceptionGroup) as raised:
        group.close()
    (text,) = [str(error) for error in raised.value.exceptions]
    assert text.startswith("4 points of 1 task (seed=1) could not be delivered: cannot write to ")
    assert text.count("could not be delivered") == 1


def test_arguments_are_checked_before_a_task_is_opened() -> None:
    """Both of workers and executor, a wrong number, an empty space, the same point twice."""
    with offline() as group, ThreadPoolExecutor(1) as threads:
        for wrong in (
            {"workers": 0},
            {"workers": True},
            {"workers": -1},
            {"executor": 3},
            {"executor": ThreadPoolExecutor},
            {"workers": 1, "executor": threads},
        ):
            with pytest.raises(ArgumentError):
                group.map(worker_functions.nothing, SPACE, **wrong)
        with pytest.raises(ArgumentError, match="a function that takes a task"):
            group.map(3, SPACE, workers=2)  # type: ignore[arg-type]
        with pytest.raises(SpaceError):
            group.map(worker_functions.nothing, {"seed": []})
        with pytest.raises(DuplicateTaskError):
            group.map(worker_functions.nothing, [{"seed": 1}, {"seed": 1.0}])
        assert len(group) == 0


def test_no_more_workers_than_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """For two points there are two workers at most; for none, under resume, there is none."""
    started: list[int] = []
    start = process_pool.ProcessPool.start

    def counted(pool: process_pool.ProcessPool) -> None:
        started.append(pool.count)
        start(pool)

    monkeypatch.setattr(process_pool.ProcessPool, "start", counted)
    for _ in range(2):
        with offline(resume=True) as group:
            group.map(worker_functions.nothing, {"seed": range(2)}, workers=16)
    assert started == [2]


def test_there_are_as_many_workers_as_asked_for(tmp_path: Path) -> None:
    """Three workers run all points between them, none of them this process; all end with `map`."""
    space = {"seed": range(12), "folder": [str(tmp_path / "met")], "count": [3]}
    (tmp_path / "met").mkdir()
    with offline() as group:
        pids = {one.value for one in group.map(worker_functions.meet, space, workers=3)}
    assert len(pids) == 3
    assert os.getpid() not in pids
    assert workers() == []


@pytest.mark.parametrize("kind", PROCESSES)
def test_a_death_is_told(kind: str, disk: Disk) -> None:
    """A worker that ends its process fails its own task; with `workers=` none but that."""
    with engine(kind) as where, offline() as group:
        mapped = group.map(worker_functions.leave, SPACE, **where)
    ends = disk.ends()
    assert ends["seed=1"][0] == "failed"
    if kind == "workers":
        assert isinstance(mapped[1].error, WorkerDiedError)
        assert ends["seed=1"][1] == "its worker process ended with exit code 7"
        assert [one.value for one in mapped] == [0, None, 4, 9, 16, 25]
        assert [ends[f"seed={seed}"][0] for seed in (0, 2, 3, 4, 5)] == ["completed"] * 5
    else:
        assert isinstance(mapped[1].error, WorkerDiedError)
        assert "was running" in str(mapped[1].error)
        for one in mapped:
            status, reason = ends[str(one.task)]
            assert (status == "failed") == (one.error is not None)
            assert not one.error or "resume=True" in reason
    assert mapped[1].task.status == "failed"
    assert "exit code 7" in disk.sessions["the group seed=1"].console or kind != "workers"


def test_a_worker_that_is_told_to_end_costs_its_own_point_alone(disk: Disk) -> None:
    """The point that was handed to it meanwhile, and that it never began, is run by another."""
    with offline() as group:
        mapped = group.map(worker_functions.terminate, SPACE, workers=1)
    assert [one.value for one in mapped] == [0, None, 4, 9, 16, 25]
    assert isinstance(mapped[1].error, SystemExit)
    assert disk.ends()["seed=1"] == ("stopped", "SIGTERM")
    assert [curves(disk, seed) for seed in (2, 3)] == [expected(2), expected(3)]


class Forgetful(Executor):
    """An executor that runs a point in a process, loses the result, and breaks."""

    def __init__(self, again: bool) -> None:
        self.again = again

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Runs, and runs again or forgets."""
        from concurrent.futures.process import BrokenProcessPool

        future: Future[Any] = Future()
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
            pool.submit(fn, *args, **kwargs).result()
            if self.again:
                future.set_result(pool.submit(fn, *args, **kwargs).result())
            else:
                future.set_exception(BrokenProcessPool("broken"))
        return future


@pytest.mark.parametrize("again", [True, False])
def test_an_executor_that_loses_a_result_loses_nothing(again: bool, tmp_path: Path) -> None:
    """A point that was through when its result got lost is neither failed nor run again."""
    with offline() as group:
        space = {"seed": [0, 2], "file": [str(tmp_path / "ran")]}
        mapped = group.map(worker_functions.log_run, space, executor=Forgetful(again))
    assert [one.error for one in mapped] == [None, None]
    assert [one.task.status for one in mapped] == ["completed"] * 2
    assert (tmp_path / "ran").read_text() == "0\n2\n"


class KilledWorker(Exception):
    """The name of Dask's error of a call that it gives up."""


class GivesUp(Executor):
    """Gives up the first calls before they begin, as Dask does when the workers of others have died."""

    def __init__(self, times: int) -> None:
        self.times, self.submitted = times, 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Gives the call up, or makes it."""
        self.submitted += 1
        future: Future[Any] = Future()
        if self.submitted <= self.times:
            future.set_exception(KilledWorker("gave up"))
        else:
            future.set_result(fn(*args, **kwargs))
        return future


@pytest.mark.parametrize(("times", "submitted"), [(2, 3), (3, 3)])
def test_a_call_that_dask_gave_up_before_it_began_is_submitted_again(
    times: int, submitted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not for ever."""
    monkeypatch.setattr("clearml_taskgroup._map.executor.MAX_RESUBMITS", 2)
    executor = GivesUp(times)
    with offline() as group:
        (mapped,) = group.map(worker_functions.report, {"seed": [2]}, executor=executor)
    assert executor.submitted == submitted
    if times == 2:
        assert (mapped.value, mapped.error) == (4, None)
    else:
        assert str(mapped.error).startswith("the task 'seed=2' was waiting when the executor GivesUp broke")


class Inline(Executor):
    """An executor that runs its work in the thread that submits it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Runs at once."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def test_an_interrupt_on_an_inline_executor_is_raised() -> None:
    """Ctrl-C that a function meets in the script's own thread is not taken for its result."""

    def interrupted(task: GroupTask) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), offline() as group:
        group.map(interrupted, SPACE, executor=Inline())
    assert {task.status for task in group} == {"stopped"}


def test_an_executor_that_is_shut_down_fails_what_it_does_not_take() -> None:
    """Each task has an end, and an error that names what happened."""
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with offline() as group:
        mapped = group.map(worker_functions.report, SPACE, executor=executor)
    assert {one.task.status for one in mapped} == {"failed"}
    assert all("shutdown" in str(one.error) for one in mapped)


def test_tasks_belong_to_the_process_that_opened_the_group(disk: Disk) -> None:
    with offline() as group:
        mapped = group.map(worker_functions.open_another, {"seed": [0]}, workers=1)
    assert "opened in another process" in str(mapped[0].value)
    assert len(disk.sessions) == 2  # the parent and the one task


@pytest.mark.quick(2)
@pytest.mark.parametrize("kind", ENGINES)
def test_disabled_runs_and_keeps_nothing(kind: str, disk: Disk) -> None:
    """In the mode disabled the function runs everywhere, and values come back."""
    with engine(kind) as where, TaskGroup("the project", "the group", mode="disabled") as group:
        mapped = group.map(worker_functions.report, SPACE, **where)
    assert [one.value for one in mapped] == [seed**2 for seed in range(6)]
    assert disk.records == []


def test_a_recording_runs_here() -> None:
    """In `recording()` workers= runs in this process, so that the recording has it all."""
    with recording() as recorded, TaskGroup("the project", "the group") as group:
        mapped = group.map(worker_functions.with_pid, SPACE, workers=4)
    assert {one.value for one in mapped} == {os.getpid()}
    assert [task.status for task in recorded.members] == ["completed"] * 6
    assert recorded.members[2].scalars == {("loss", "val"): expected(2)}


def test_a_recording_refuses_foreign_processes() -> None:
    """A task in a recording cannot be pickled: the record of each point says so."""
    with recording(), TaskGroup("the project", "the group") as group, ProcessPoolExecutor(1) as pool:
        mapped = group.map(worker_functions.report, {"seed": [0, 1]}, executor=pool)
    assert all("recorded in the memory" in str(one.error) for one in mapped)
    assert {one.task.status for one in mapped} == {"failed"}


def test_an_interrupt_here_stops_its_task(disk: Disk) -> None:
    """Ctrl-C leaves `map` as it came; the point under way is stopped, and no further one is begun."""

    def interrupted(task: GroupTask) -> None:
        worker_functions.report(task)
        if task.params["seed"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), offline() as group:
        group.map(interrupted, SPACE)
    assert disk.ends() == {
        "seed=0": ("completed", ""),
        "seed=1": ("completed", ""),
        "seed=2": ("stopped", "KeyboardInterrupt"),
        "run": ("stopped", "KeyboardInterrupt"),
    }


@pytest.mark.parametrize("kind", ["pool", LOKY])
def test_a_worker_that_is_interrupted_begins_no_more(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C reaches workers too, and maybe first: those that wait there do not begin."""
    begun = tmp_path / "begun"
    begun.mkdir()
    monkeypatch.setenv("BEGUN", str(begun))
    with engine(kind, count=1, fresh=True) as where, offline() as group:
        mapped = group.map(worker_functions.interrupt, SPACE, **where)
    assert {type(one.error) for one in mapped} == {KeyboardInterrupt}
    assert [path.name for path in begun.iterdir()] == ["seed=0"]
    assert {task.status for task in group} == {"stopped"}


def test_an_error_of_ours_in_the_middle_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever leaves `map`, its processes end with it, and its tasks have an end status."""

    def hear(*given: Any) -> None:
        raise OSError("no more")

    monkeypatch.setattr(process_pool, "unpack", hear)
    with pytest.raises(OSError, match="no more"), offline() as group:
        group.map(worker_functions.report, SPACE, workers=2)
    assert {task.status for task in group} == {"failed"}
    assert workers() == []


@pytest.mark.quick(2)
@pytest.mark.parametrize("kind", ENGINES)
def test_online_it_is_the_same(kind: str, server: View) -> None:
    """On a server: points, consoles and statuses, with what other processes reported."""
    with engine(kind) as where:
        with TaskGroup(server.project, "online", mode="online", provenance=False) as group:
            mapped = group.map(worker_functions.some_raise, SPACE, **where)
    docs = {doc["id"]: doc for doc in server.tasks()}
    assert [docs[one.task.id]["status"] for one in mapped] == ["completed", "failed"] * 3
    for seed, one in enumerate(mapped):
        assert server.scalars(one.task.id, worker_functions.STEPS) == {("loss", "val"): expected(seed)}
    assert "ValueError: odd seed 3" in server.console(mapped[3].task.id)
    assert docs[mapped[3].task.id]["status_reason"] == "ValueError: odd seed 3"
    assert server.tasks("parent")[0]["status"] == "completed"
    record = group.record_path
    assert record is not None
    assert sorted(path.suffix for path in record.parent.iterdir()) == [".jsonl"]


@pytest.mark.parametrize("kind", ["workers", LOKY])
def test_online_the_rest_of_a_task_works_there(kind: str, server: View) -> None:
    """Parameters that a worker sets and ClearML's own objects in it arrive before the task ends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with engine(kind, fresh=True) as where:
            with TaskGroup(server.project, "online", mode="online", provenance=False) as group:
                (one,) = group.map(worker_functions.log_more, {"seed": [0]}, **where)
    assert one.error is None
    assert server.parameters(one.task.id) == {"seed": "0", "found": "7"}
    doc = server.task(one.task.id)
    assert [artifact["key"] for artifact in doc["execution"]["artifacts"]] == ["answer"]
    assert "by the logger" in server.console(one.task.id)
    assert server.scalars(one.task.id, 1) == {("loss", "val"): [(1, 0.5)]}


def test_workers_leave_out_what_a_server_needs() -> None:
    """What `map` and its workers import for an offline run has neither ClearML nor an HTTP library."""
    code = "import sys; import clearml_taskgroup._map.map; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"clearml", "requests", "urllib3", "ssl", "http.client", "numpy"}
    own = {"_storage.online", "_clearml.api", "_clearml.login"}
    assert set(done.stdout.split()) & (heavy | {f"clearml_taskgroup.{name}" for name in own}) == set()
