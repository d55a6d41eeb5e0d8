"""Worker processes: time limits, devices, and which process is started when."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml.queries import identity_of
from clearml_taskgroup._map import process_pool, worker_main
from clearml_taskgroup.errors import CallTimeoutError, ValuePickleError, WorkerStartError
from tests.support import worker_functions
from tests.support.scripts import Disk
from tests.support.server_view import View

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

REASON = "the call took longer than timeout=30 s, so its worker process was ended"
POINTS = [(step, 1 + step / 8) for step in range(worker_functions.STEPS)]
"""What `worker_functions.report` reports for the seed 1."""


@pytest.fixture(autouse=True)
def forked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Workers are forked, which is quickest, and all have ended afterwards."""
    monkeypatch.setattr(process_pool, "start_method", lambda with_devices: "fork")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield
    assert [child for child in multiprocessing.active_children() if "taskgroup" in child.name] == []


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool's clock goes on by 40 s whenever a call asks for it."""
    folder = tmp_path / "clock"
    folder.mkdir()
    monkeypatch.setenv("TEST_CLOCK", str(folder))
    receive = process_pool.ProcessPool._receive

    def monotonic() -> float:
        return time.monotonic() + 40 * len(list(folder.glob("*.tick")))

    def received(pool: process_pool.ProcessPool, worker: Any, has_sent: bool) -> Any:
        found = receive(pool, worker, has_sent)
        if worker.task is not None and worker.began is not None:
            (folder / f"{worker.task.id} known").touch()
        return found

    monkeypatch.setattr(process_pool, "DEATH_CHECK_INTERVAL_S", 0.05)  # how often it looks at the clock
    monkeypatch.setattr(process_pool, "time", types.SimpleNamespace(monotonic=monotonic))
    monkeypatch.setattr(process_pool.ProcessPool, "_receive", received)


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No device is used by two processes at a time."""
    folder = tmp_path / "devices"
    folder.mkdir()
    monkeypatch.setenv("TEST_DEVICES", str(folder))
    yield
    assert not (folder / "used twice").exists()
    assert list(folder.iterdir())


def offline(**options: Any) -> TaskGroup:
    """A group whose tasks are offline sessions of the test's own."""
    return TaskGroup("the project", "the group", mode="offline", provenance=False, **options)


def disk() -> Disk:
    """What the test's groups have left."""
    return Disk(Path(os.environ["CLEARML_CACHE_DIR"]))


@pytest.mark.usefixtures("clock")
def test_time_in_the_queue_does_not_count() -> None:
    """A call that begins when the limit has passed since its task was opened has all of its time."""
    with offline() as group:
        mapped = group.map(worker_functions.take_time, {"seed": range(4)}, workers=1, timeout=60)
    assert [one.error for one in mapped] == [None] * 4


@pytest.mark.quick(1)
@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("how", ["hang", "late", "stubborn"])
def test_a_call_that_takes_too_long_fails(how: str) -> None:
    """Its function may end when asked to, go on and return, or have to be killed; the others are run."""
    space = [{"how": how, "seed": 1}, {"how": "fine", "seed": 2}]
    with offline() as group:
        slow, other = group.map(worker_functions.trouble, space, workers=1, timeout=30)
    assert isinstance(slow.error, CallTimeoutError)
    assert (slow.value, slow.task.status, slow.task.status_reason) == (None, "failed", REASON)
    assert (other.value, other.task.status) == ((1, None), "completed")
    assert [failure.exception.args for failure in group.failures] == [slow.error.args]
    name = str(slow.task)
    assert disk().ends()[name] == ("failed", REASON)
    session = disk().sessions[f"the group {name}"]
    assert [point[2:] for point in session.scalars] == POINTS
    assert REASON in session.console
    assert ("in _wait" in session.console) == (how == "hang")  # the traceback says where it was
    row = group.results().where(how=how)[0]
    assert row.value("loss", split="val", of="mean") == 1.1875
    assert 40 <= row.duration < 200


@pytest.mark.usefixtures("clock")
def test_a_limit_and_retries() -> None:
    """A call that took too long is made again, in another process."""
    space = {"how": ["hang"], "seed": [1]}
    with offline() as group:
        (one,) = group.map(worker_functions.trouble, space, workers=1, timeout=30, retries=1)
    assert (one.value, one.error, one.task.attempt, group.failures) == ((2, None), None, 2, ())


def test_a_limit_does_not_replace_what_the_worker_found() -> None:
    """Without a call that takes too long, all is as without a limit."""
    with offline() as group:
        mapped = group.map(worker_functions.raise_odd_kinds, {"seed": range(2, 5)}, workers=1, timeout=30)
    assert [type(one.error) for one in mapped] == [ValuePickleError, SystemExit, type(None)]


@pytest.mark.usefixtures("clock")
def test_online_it_is_the_same(server: View) -> None:
    """On a server: status, reason and the points that were reported before."""
    space = {"how": ["hang", "kill"], "seed": [1]}
    with TaskGroup(server.project, "online", mode="online", provenance=False) as group:
        mapped = group.map(worker_functions.trouble, space, workers=1, timeout=30, retries=1)
    docs = sorted(server.tasks("task"), key=lambda doc: (doc["name"], _attempt(doc)))
    died = "its worker process was killed by SIGKILL (out of memory?)"
    assert [(_attempt(doc), doc["status"], doc["status_reason"]) for doc in docs] == [
        (1, "failed", REASON),
        (2, "completed", ""),
        (1, "failed", died),
        (2, "completed", ""),
    ]
    assert {one.task.id for one in mapped} == {doc["id"] for doc in docs if _attempt(doc) == 2}
    for doc in docs:
        assert server.scalars(doc["id"], worker_functions.STEPS) == {("loss", "val"): POINTS}


def _attempt(doc: dict[str, Any]) -> int:
    return int(identity_of(doc)["attempt"])


# --- devices ---------------------------------------------------------------------------------------


def seen(
    tmp_path: Path, devices: Any, count: int, **options: Any
) -> list[tuple[str | None, str | None, str | None]]:
    """The device in this process, in the worker, and as CUDA shows it there, of calls that run at once."""
    folder = tmp_path / "met"
    folder.mkdir()
    space = {"seed": range(count), "folder": [str(folder)], "count": [count]}
    with offline() as group:
        mapped = group.map(worker_functions.tell_device, space, devices=devices, **options)
    assert [one.error for one in mapped] == [None] * count
    found = [(one.task.device, *one.value[:2]) for one in mapped if one.value is not None]
    return sorted(found, key=str)


@pytest.mark.quick(1)
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_each_worker_has_its_device(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many workers as devices; an index counts what this process sees."""
    monkeypatch.setattr(process_pool, "start_method", lambda with_devices: method)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-5")
    assert seen(tmp_path, ["0", 1], 2) == [("0", "0", "4"), ("1", "1", "GPU-5")]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,GPU-5"
    # The fork server lives on.
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    (tmp_path / "more").mkdir()
    assert seen(tmp_path / "more", None, 1, workers=1) == [(None, None, None)]


def test_a_device_that_is_listed_twice_has_two_workers(tmp_path: Path) -> None:
    assert seen(tmp_path, ["MIG-1", "MIG-1"], 2) == [("MIG-1",) * 3] * 2


def test_fewer_workers_use_the_first_devices(tmp_path: Path) -> None:
    """Also if there are fewer configurations than devices."""
    assert seen(tmp_path, ["3", "2", "1"], 2, workers=2) == [("2",) * 3, ("3",) * 3]
    (tmp_path / "more").mkdir()
    assert seen(tmp_path / "more", ["3", "2"], 1) == [("3",) * 3]


def test_without_devices_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers see what this process sees."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert seen(tmp_path, None, 1, workers=1) == [(None, None, "7")]


def test_workers_that_are_killed_as_they_start_are_replaced_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lack of memory may pass; if it does not, the error says what happened to the last one."""

    def killed(*args: Any) -> None:
        (tmp_path / f"{os.getpid()}.killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(process_pool, "MAX_KILLED_STARTS", 2)
    monkeypatch.setattr(worker_main, "work", killed)
    with pytest.raises(WorkerStartError, match="was killed by SIGKILL"), offline() as group:
        group.map(worker_functions.report, {"seed": [1]}, workers=1)
    assert len(list(tmp_path.glob("*.killed"))) == 3


@pytest.mark.quick(1)
@pytest.mark.usefixtures("clock", "devices")
@pytest.mark.parametrize("how", ["exit", "hang", "stubborn"])
def test_a_replacement_has_the_device_of_the_worker_that_it_replaces(how: str) -> None:
    """It starts when the other process has gone, so that no two use it at a time."""
    space = [{"how": how, "seed": seed, "times": 9} for seed in (1, 2)] + [{"how": "fine", "seed": 3}]
    with offline() as group:
        mapped = group.map(worker_functions.trouble, space, devices=["5"], timeout=30, retries=1)
    assert [(one.task.status, one.task.attempt, one.task.device) for one in mapped] == [
        ("failed", 2, "5"),
        ("failed", 2, "5"),
        ("completed", 1, "5"),
    ]


@pytest.mark.usefixtures("devices")
def test_many_kinds_of_trouble_on_two_devices() -> None:
    """Each configuration has its own status, and no device is used by two processes at a time."""
    troubles = [("hang", 1), ("exit", 1), ("raise", 1), ("kill", 1), ("raise", 2), ("kill", 2), ("fine", 1)]
    space = [{"how": how, "times": times, "seed": 1} for how, times in troubles]
    with offline() as group:
        mapped = group.map(worker_functions.trouble, space, devices=["0", "1"], retries=1, timeout=2.0)
    for one in mapped:
        how, times = one.task.params["how"], one.task.params["times"]
        fails = how != "fine" and times == 2
        assert one.task.attempt == (1 if how == "fine" else 2)
        assert one.task.status == ("failed" if fails else "completed")
        assert one.value == (None if fails else (one.task.attempt, one.task.device))
    assert len(group.failures) == 2
    assert {task.device for task in group} <= {"0", "1"}


# --- start methods ---------------------------------------------------------------------------------


def test_devices_are_there_before_the_scripts_modules_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody has chosen how processes start, they import the script with their device."""
    monkeypatch.undo()
    monkeypatch.setattr(
        sys.modules["__main__"], "__file__", "train.py", raising=False
    )  # not in xdist's workers
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: None)
    assert process_pool.start_method(with_devices=True) == "spawn"
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: "forkserver")
    assert process_pool.start_method(with_devices=True) == "forkserver"
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: None)
    monkeypatch.delattr(sys.modules["__main__"], "__file__")
    default = multiprocessing.get_all_start_methods()[0]
    assert process_pool.start_method(with_devices=True) == default
