"""A task as a few bytes: what it holds, where it reopens, and tasks passed to other processes by hand."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import platform
import random
import signal
import string
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, Metric, TaskGroup
from clearml_taskgroup._map import worker_group, worker_task
from clearml_taskgroup._map.call import DeferredTask, open_and_call, unpack
from clearml_taskgroup.errors import (
    GroupStateError,
    HandleError,
    NonFiniteError,
    TaskClosedError,
    UnknownMetricError,
)
from clearml_taskgroup.testing import recording
from tests.loopback import LoopbackServer
from tests.support import worker_functions
from tests.support.paths import REPOSITORY
from tests.support.scripts import Disk
from tests.support.server_view import View

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

METHODS = ("fork", "spawn", "forkserver")


def offline(**options: Any) -> TaskGroup:
    """A group whose tasks are offline sessions of the test's own."""
    return TaskGroup("the project", "the group", mode="offline", provenance=False, **options)


@pytest.fixture
def disk() -> Disk:
    """What groups have left below the test's cache folder."""
    return Disk(Path(os.environ["CLEARML_CACHE_DIR"]))


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., GroupTask]]:
    """Reopens a task as another process would."""

    def reopened(task: GroupTask, machine: str | None = None) -> GroupTask:
        data = pickle.dumps(task)
        if machine is not None:
            monkeypatch.setattr(platform, "node", lambda: machine)
        with monkeypatch.context() as patch:
            patch.setattr(worker_task, "open_groups", {})
            task = pickle.loads(data)
        assert isinstance(task, worker_task.WorkerTask)
        return task

    yield reopened
    worker_group.leave_all()


def metrics_of(count: int, name: Callable[[int], str]) -> list[Metric]:
    """A vocabulary with aliases, modes and units."""
    return [
        Metric(
            name(n),
            mode="max",
            unit="percent",
            aliases={f"val_{name(n)}": {"split": "val"}, f"{name(n)}_": {}},
        )
        for n in range(count)
    ]


# --- the bytes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_handle_is_small(protocol: int) -> None:
    """With 100 metrics, their aliases, modes and units, a pickled task has under 4 KB."""
    dice = random.Random(0)
    names = ["".join(dice.choices(string.ascii_letters, k=20)) for _ in range(100)]
    for name in (lambda n: f"metric_{n}", lambda n: names[n]):
        with offline(template="{metric}/{split}", metrics=metrics_of(100, name)) as group:
            task = group.task({"learning_rate": 0.1, "model": "resnet", "seed": 1}, tags=["one"])
            assert len(pickle.dumps(task, protocol)) < 4096
            assert len(pickle.dumps(task.bind(split="val"), protocol)) < 4096


def test_a_vocabulary_too_large_lies_beside_the_record(elsewhere: Callable[..., GroupTask]) -> None:
    """What does not fit goes to a file; without that file a handle says what it lacks."""
    dice = random.Random(0)
    names = ["".join(dice.choices(string.ascii_letters, k=40)) for _ in range(100)]
    with offline(template="{metric}/{split}", metrics=metrics_of(100, lambda n: names[n])) as group:
        task = group.task({"seed": 1})
        assert len(pickle.dumps(task)) < 4096
        there = elsewhere(task)
        assert tuple(there.metric(f"val_{names[7]}")) == (names[7], "val")
        del there
        data = pickle.dumps(task)
        assert group.record_path is not None
        group.record_path.with_suffix(".words").unlink()
        worker_group.leave_all()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(worker_task, "open_groups", {})
            with pytest.raises(HandleError, match="vocabulary"):
                pickle.loads(data)


def test_nothing_for_workers_is_left_beside_the_record() -> None:
    """A large vocabulary's file and what a killed `map` has left are gone as the group closes."""
    names = [f"{n:040}" + "x" * n for n in range(200)]
    with offline(metrics=[Metric(name, unit=name[::-1]) for name in names]) as group:
        pickle.dumps(group.task({"seed": 1}))
        assert group.record_path is not None
        folder = group.record_path.parent
        (folder / "run-0001.0123abcd-begun").mkdir()
        (folder / "run-0001.0123abcd-begun" / "one").touch()
    assert [path.name for path in folder.iterdir()] == ["run-0001.jsonl"]


def test_where_it_was_opened_a_handle_gives_the_task_itself() -> None:
    """In the process of its group, unpickling makes no second task."""
    with offline() as group:
        task = group.task({"seed": 1})
        assert pickle.loads(pickle.dumps(task)) is task
        assert pickle.loads(pickle.dumps(task.bind(split="val"))).task is task
        task.mark_failed("why")
        assert pickle.loads(pickle.dumps(task)) is task


def test_a_handle_holds_no_open_thing() -> None:
    """Neither a file, a lock nor a ClearML object goes along, also where one has been attached."""
    with offline() as group:
        task = group.task({"seed": 1})
        task.report({"loss": 1}, 1)
        before = len(pickle.dumps(task))
        assert task.clearml_task.id == task.id
        assert len(pickle.dumps(task)) == before
        assert b"clearml.task" not in pickle.dumps(task)


def test_a_group_does_not_travel() -> None:
    """A group cannot be pickled, and says what can."""
    with offline() as group, pytest.raises(GroupStateError, match="pass a task"):
        pickle.dumps(group)


def test_a_recording_does_not_travel() -> None:
    """What is kept in memory cannot be reached from another process."""
    with recording(), TaskGroup("the project", "the group") as group:
        task = group.task({"seed": 1})
        with pytest.raises(HandleError, match="threads"):
            pickle.dumps(task)


# --- reopened ------------------------------------------------------------------------------------


def test_who_it_is_comes_along(elsewhere: Callable[..., GroupTask]) -> None:
    """Key, name, index, attempt, ids, parameters, tags, names and settings are the same there."""
    options: dict[str, Any] = {"template": "{split}/{task}_{metric}", "tags": ["all"], "catch": ValueError}
    with offline(**options, metrics=[Metric("loss", aliases={"val_loss": {"split": "val"}})]) as group:
        task = group.tasks({"seed": range(3), "net": [{"depth": (1, 2)}]})[2]
        task.set_parameters({"found": 1})
        there = elsewhere(task)
        for what in ("key", "index", "attempt", "id", "params", "tags", "url", "status", "done"):
            assert getattr(there, what) == getattr(task, what), what
        assert (str(there), repr(there)) == (str(task), repr(task))
        val_loss = task.metric("val_loss")
        assert there.metric("val_loss") == val_loss == pickle.loads(pickle.dumps(val_loss))
        for what in ("id", "name", "project", "catch", "close_timeout"):
            assert getattr(there.group, what) == getattr(group, what), what
        assert there.group.template.text == group.template.text
        assert there.group.vocabulary is not None
        with pytest.raises(UnknownMetricError):
            there.report({"los": 1}, split="val")
        assert elsewhere(there).id == task.id
        del there


def test_a_worker_has_no_more_of_the_group(elsewhere: Callable[..., GroupTask]) -> None:
    with offline() as group:
        there = elsewhere(group.task({"seed": 1}))
        with there.activate():
            assert TaskGroup.current() is there.group
            assert GroupTask.current() is there
        for what in ("task", "sweep", "results", "run", "failures"):
            with pytest.raises(
                GroupStateError, match=f"{what} works only in the process that opened the group"
            ):
                getattr(there.group, what)
        with pytest.raises(GroupStateError, match="stays in the process"):
            pickle.dumps(there.group)


def test_an_ended_task_is_ended_there(elsewhere: Callable[..., GroupTask]) -> None:
    """It takes no data; ended there by its block, it stays so if it is handed over again."""
    with offline() as group:
        ended, other = group.tasks({"seed": range(2)})
        ended.mark_stopped("pruned")
        there = elsewhere(ended)
        assert (there.status, there.status_reason) == ("stopped", "pruned")
        with pytest.raises(TaskClosedError):
            there.report({"loss": 1}, 1)
        with elsewhere(other):
            pass
        assert elsewhere(other).status == "completed"
        assert [row.status for row in group.results()] == ["stopped", "completed"]


def test_settings_hold_there(elsewhere: Callable[..., GroupTask]) -> None:
    """`nonfinite="raise"` and `catch` act in a worker as they do here."""
    with offline(nonfinite="raise", catch=NonFiniteError) as group:
        task = group.task({"seed": 1})
        with elsewhere(task) as there:
            there.report({"loss": float("nan")}, 1)
        assert there.status == "failed"
    assert [str(failure.task) for failure in group.failures] == ["seed=1"]
    assert task.status == "failed"


def test_threads_share_what_a_process_has_opened(elsewhere: Callable[..., GroupTask]) -> None:
    """Handles of one run that are opened at once in many threads make one reporter."""
    with offline() as group:
        tasks = group.tasks({"seed": range(8)})
        found: list[GroupTask] = []
        data = [pickle.dumps(task) for task in tasks]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(worker_task, "open_groups", {})
            threads = [threading.Thread(target=lambda d=d: found.append(pickle.loads(d))) for d in data]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len({id(task._run) for task in found}) == 1
        assert len({task.key for task in found}) == 8


# --- by hand -------------------------------------------------------------------------------------


def curve(disk: Disk, seed: int) -> list[tuple[int, float]]:
    """The points of one task."""
    return [point[2:] for point in disk.sessions[f"the group seed={seed}"].scalars]


def check(group: TaskGroup, disk: Disk) -> None:
    """All four tasks have all that `report` reports, on disk, in the run log and in the results."""
    for seed in range(4):
        assert curve(disk, seed) == [(step, seed + step / 8) for step in range(worker_functions.STEPS)]
    assert {status for status, _ in disk.ends().values()} == {"completed"}
    assert [row.value("loss", split="val", of="max") for row in group.results()] == [
        seed + 3 / 8 for seed in range(4)
    ]
    ends = [line for line in disk.record() if line["event"] == "end"]
    assert [line["points"] for line in ends] == [4] * 4


@pytest.mark.quick(2)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fn", [worker_functions.report, worker_functions.by_hand])
def test_a_process_pool_by_hand(method: str, fn: Callable[[GroupTask], int], disk: Disk) -> None:
    """Tasks submitted to a process pool report, with a block of their own or without, and count."""
    context = multiprocessing.get_context(method)
    with offline() as group, ProcessPoolExecutor(2, mp_context=context) as pool:
        tasks = group.tasks({"seed": range(4)})
        assert list(pool.map(fn, tasks)) == [0, 1, 4, 9]
        partial = group.results()
        assert [row.value("loss", split="val") for row in partial] == [seed + 3 / 8 for seed in range(4)]
    check(group, disk)


@pytest.mark.slow
@pytest.mark.parametrize("fn", [worker_functions.report, worker_functions.by_hand])
def test_joblib_by_hand(fn: Callable[[GroupTask], int], disk: Disk) -> None:
    """The same in joblib's `Parallel`."""
    joblib = pytest.importorskip("joblib")
    with offline() as group:
        tasks = group.tasks({"seed": range(4)})
        assert joblib.Parallel(2)(joblib.delayed(fn)(task) for task in tasks) == [0, 1, 4, 9]
    check(group, disk)


@pytest.mark.quick(2)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fn", [worker_functions.report, worker_functions.by_hand])
def test_a_pool_that_is_terminated_keeps_all(method: str, fn: Callable[[GroupTask], int], disk: Disk) -> None:
    """`multiprocessing.Pool` ends its workers by SIGTERM right after the last result: all is counted."""
    with offline() as group:
        tasks = group.tasks({"seed": range(4)})
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(fn, tasks, chunksize=1) == [0, 1, 4, 9]
    check(group, disk)


def handlers() -> list[Any]:
    """What SIGTERM does here, and in a child that is forked here."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        there = pool.submit(signal.getsignal, signal.SIGTERM).result()
    return [signal.getsignal(signal.SIGTERM), there]


def handlers_of_a_worker(task: GroupTask) -> list[bool]:
    """The same in a worker that has a task."""
    return [handler is signal.SIG_DFL for handler in handlers()]


def test_a_forked_child_ends_by_sigterm() -> None:
    """A pool that a user forks within a group, or within a worker, is not kept from ending."""
    with offline() as group:
        here, there = handlers()
        assert here is not signal.SIG_DFL
        assert there is signal.SIG_DFL
        assert group.map(handlers_of_a_worker, {"seed": [0]}, workers=1)[0].value == [False, True]
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
            assert pool.submit(handlers_of_a_worker, group.task({"seed": 1})).result() == [False, True]


def test_an_exception_by_hand_comes_back_and_fails_its_task(disk: Disk) -> None:
    """What leaves the task's block in a worker fails the task there; the group's end does not change it."""
    context = multiprocessing.get_context("fork")
    with offline() as group, ProcessPoolExecutor(1, mp_context=context) as pool:
        task = group.task({"seed": 1})
        with pytest.raises(MemoryError, match="no room"):
            pool.submit(worker_functions.by_hand_raises, task).result()
    assert disk.ends()["seed=1"] == ("failed", "MemoryError: no room")
    assert "in by_hand_raises" in disk.sessions["the group seed=1"].console


@pytest.mark.parametrize("catch", [(), MemoryError])
def test_a_failure_by_hand_is_told(catch: Any) -> None:
    """What fails a task in a worker is in `failures`, with its traceback, with and without `catch`."""
    context = multiprocessing.get_context("fork")
    with offline(catch=catch) as group, ProcessPoolExecutor(1, mp_context=context) as pool:
        task = group.task({"seed": 1})
        error = pool.submit(worker_functions.by_hand_raises, task).exception()
        assert isinstance(error, MemoryError) != bool(catch)
        (failure,) = group.failures
    assert (failure.task, repr(failure.exception)) == (task, "MemoryError('no room')")
    assert "in by_hand_raises" in failure.traceback
    assert [str(failure.exception) for failure in group.failures] == ["no room"]


def test_final_values_from_workers(elsewhere: Callable[..., GroupTask]) -> None:
    """A value without an iteration is the last word, in whatever order and process it is reported."""
    with offline() as group:
        tasks = group.tasks({"seed": range(3)})
        curve_first, final_first, alone = map(elsewhere, tasks)
        for there in (curve_first, final_first, alone):
            reports: list[list[tuple[float, int | None]]] = [[(1.0, 0), (3.0, 1)], [(9.0, None)]]
            reports = reports[::-1] if there is final_first else reports[1:] if there is alone else reports
            for turn in reports:
                for value, step in turn:
                    there.report({"loss": value}, step)
                group.results()
            there.close()
        rows = group.results()
    found = [next(iter(row.stats.values())) for row in rows]
    assert [(s.first, s.last, s.min, s.max, s.mean, s.count) for s in found] == [
        (1.0, 9.0, 1.0, 3.0, 2.0, 2),
        (1.0, 9.0, 1.0, 3.0, 2.0, 2),
        (9.0, 9.0, 9.0, 9.0, 9.0, 1),
    ]


def test_a_task_that_is_handed_over_twice_is_counted_once(disk: Disk) -> None:
    """Here and in two calls of a worker: all points are there, first, last and count are right."""
    context = multiprocessing.get_context("fork")
    with offline() as group, ProcessPoolExecutor(1, mp_context=context) as pool:
        task = group.task({"seed": 2})
        task.report({"loss": 100.0}, 99, split="val")
        group.flush()
        for _ in range(2):
            pool.submit(worker_functions.report, task).result()
            group.results()
    (stats,) = group.results()[0].stats.values()
    assert (stats.count, stats.first, stats.last, stats.max) == (5, 2.0, 100.0, 100.0)
    assert len(curve(disk, 2)) == 9


def test_a_run_that_died_knows_what_its_workers_ended(tmp_path: Path, disk: Disk) -> None:
    """A task that a worker completed is not run again where the process that opened the group was killed."""
    script = """
import multiprocessing, os, signal
from concurrent.futures import ProcessPoolExecutor
from clearml_taskgroup import TaskGroup
from tests.support import worker_functions
group = TaskGroup("the project", "the group", mode="offline", provenance=False).open()
tasks = group.tasks({"seed": range(2)})
with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
    pool.submit(worker_functions.by_hand, tasks[0]).result()
os.kill(os.getpid(), signal.SIGKILL)
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(REPOSITORY), os.environ.get("PYTHONPATH", "")))}
    assert subprocess.run([sys.executable, "-c", script], env=env, timeout=60, check=False).returncode == -9
    with offline(resume=True) as group:
        left = [task.params["seed"] for task in group.sweep({"seed": range(2)})]
        assert left == [1]
        assert group.results()[0].value("loss", split="val") == 0.375


def test_online_by_hand(server: View) -> None:
    """Points that a worker reports go through the run's outbox, and arrive before their task ends."""
    context = multiprocessing.get_context("fork")
    with TaskGroup(server.project, "online", mode="online", provenance=False) as group:
        tasks = group.tasks({"seed": range(4)})
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            assert list(pool.map(worker_functions.report, tasks)) == [0, 1, 4, 9]
    for task in tasks:
        seed = task.params["seed"]
        assert server.scalars(task.id, 4) == {("loss", "val"): [(step, seed + step / 8) for step in range(4)]}
        assert server.task(task.id)["status"] == "completed"
    record = group.record_path
    assert record is not None
    assert sorted(path.suffix for path in record.parent.iterdir()) == [".jsonl"]


def test_online_on_another_machine(server: View, elsewhere: Callable[..., GroupTask]) -> None:
    """Where the run's outbox is not, a worker logs in and delivers by itself before its task's block ends."""
    with TaskGroup(server.project, "online", mode="online", provenance=False) as group:
        task = group.task({"seed": 2})
        there = elsewhere(task, machine="another")
        with there:
            worker_functions.report(there)
        assert server.scalars(task.id, 4) == {("loss", "val"): [(s, 2 + s / 8) for s in range(4)]}
        assert there.url == task.url
        worker_group.leave_all()


def test_a_block_on_another_machine_waits_for_a_slow_server(
    loopback: LoopbackServer, elsewhere: Callable[..., GroupTask]
) -> None:
    """The worker's block ends when its data has arrived; the task itself ends where the group was opened."""
    with TaskGroup("the project", "online", mode="online", provenance=False) as group:
        task = group.task({"seed": 2})
        there = elsewhere(task, machine="another")
        loopback.faults.fail_next("events.add_batch", kind="delay", delay=0.5)
        with there:
            worker_functions.report(there)
        assert loopback.scalars(task.id) == {("loss", "val"): [(s, 2 + s / 8) for s in range(4)]}
        assert loopback.task(task.id)["status"] == "in_progress"
        worker_group.leave_all()
    assert loopback.task(task.id)["status"] == "completed"


def test_a_point_that_began_on_another_machine_does_not_begin_again(
    server: View, elsewhere: Callable[..., GroupTask]
) -> None:
    """Where machines share no disk, the server knows which points a worker has begun."""
    with TaskGroup(server.project, "online", mode="online", provenance=False) as group:
        task = group.task({"seed": 2})
        handle = elsewhere(task, machine="another").__reduce__()[1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(worker_task, "open_groups", {})
            patch.setattr(worker_group, "read_first", lambda path: {})
            worker_group.leave_all()
            ran = [
                open_and_call(worker_functions.report, DeferredTask(None, handle), "/not there")
                for _ in range(2)
            ]
        first, second = (unpack(one) if isinstance(one, bytes) else one for one in ran)
        assert (first.value, first.error) == (4, None)
        assert "the worker process that ran it died" in str(second.error)
        worker_group.leave_all()


def test_offline_on_another_machine_is_refused(
    monkeypatch: pytest.MonkeyPatch, elsewhere: Callable[..., GroupTask]
) -> None:
    """A session folder that this machine does not see is named."""
    with offline() as group:
        data = pickle.dumps(group.task({"seed": 2}))
        monkeypatch.setattr(worker_task, "open_groups", {})
        monkeypatch.setattr(worker_group, "read_first", lambda path: {})
        with pytest.raises(HandleError, match="offline session in"):
            pickle.loads(data)
