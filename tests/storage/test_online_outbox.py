"""Groups with an outbox: servers that go away, disks that refuse, ends with something undelivered."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import re
import shlex
import shutil
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml import api
from clearml_taskgroup._model import limits
from clearml_taskgroup._run import reporter as _reporter
from clearml_taskgroup._storage import sender as sender
from clearml_taskgroup._storage.online import OnlineBackend
from clearml_taskgroup.errors import DeliveryError, ServerError, StoreWarning
from tests.loopback import LoopbackServer
from tests.loopback.state import State
from tests.loopback.transport import LoopbackHTTPServer
from tests.support.cli import command

ADD = "events.add_batch"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts that a test does not notice."""
    for module in (api, sender):
        monkeypatch.setattr(module, "MIN_RETRY_DELAY_S", 0.01)
        monkeypatch.setattr(module, "MAX_RETRY_DELAY_S", 0.05)
    monkeypatch.setattr(limits, "SENDER_TIMEOUT_S", 0.2)


@pytest.fixture
def group(loopback: LoopbackServer) -> Iterator[TaskGroup]:
    """An open group; whatever the test leaves of it is closed at the end."""
    found = new_group().open()
    yield found
    loopback.faults.clear()
    found.close()


def new_group(**options: Any) -> TaskGroup:
    """A group without the provenance that costs time."""
    options = {"close_timeout": 20.0, **options}
    return TaskGroup("outbox", "kept", mode="online", provenance=False, **options)


def store_of(group: TaskGroup) -> OnlineBackend:
    """The group's store."""
    assert group._run is not None
    assert isinstance(group._run.backend, OnlineBackend)
    return group._run.backend


def waiting(group: TaskGroup) -> int:
    """How many events wait on disk, once the reporter has handed all of them over."""
    assert group._run is not None
    assert group._run.reporter.flush(60)
    return sum(store_of(group).undelivered().values())


def folder_of(group: TaskGroup) -> Path:
    """Where the group's records and outboxes lie."""
    assert group.record_path is not None
    return group.record_path.parent


def curve(steps: int) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """What the server should have of `report_all`."""
    return {("loss", "value"): [(step, step / 2) for step in range(steps)]}


def report_all(tasks: list[Any], start: int, stop: int) -> None:
    """Reports the same curve to each task."""
    for step in range(start, stop):
        for task in tasks:
            task.report({"loss": step / 2}, step)


def closing_error(group: TaskGroup, timeout: float) -> Exception:
    """Closes a group; gives the one error that it tells."""
    with pytest.raises(ExceptionGroup) as raised:
        group.close(timeout=timeout)
    (error,) = raised.value.exceptions
    return error


def run_told_command(error: Exception) -> str:
    """Runs the command that an error tells, as a user types it."""
    told = re.search(r"with: clearml-taskgroup (.*)$", str(error))
    assert told is not None, str(error)
    done = command(*shlex.split(told[1]))
    assert done.exit_code == 0, done.stdout + done.stderr
    return done.stdout


# --- all is well ---------------------------------------------------------------------------------


def test_no_file_is_left_when_all_was_delivered(loopback: LoopbackServer) -> None:
    """While the group is open its outbox is there; after a clean end only the record is."""
    with new_group() as group:
        task = group.task({"seed": 0})
        task.report({"loss": 0.0}, 0)
        group.flush()
        during = sorted(path.name for path in folder_of(group).iterdir())
    assert during == ["run-0001.jsonl", "run-0001.outbox", "run-0001.sent"]
    assert [path.name for path in folder_of(group).iterdir()] == ["run-0001.jsonl"]


@pytest.mark.slow
def test_threads_and_files_are_as_many_for_one_task_as_for_hundreds(group: TaskGroup) -> None:
    def held() -> tuple[int, int]:
        links = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        threads = [thread.name for thread in threading.enumerate()]
        return (
            sum(name.startswith("clearml-taskgroup") for name in threads),
            sum(link.startswith(str(folder_of(group))) for link in links),
        )

    group.task({"seed": 0}).report({"loss": 0.5}, 0)
    group.flush()
    assert held() == (3, 3)
    report_all(group.tasks({"seed": range(1, 300)}), 0, 3)
    group.flush()
    assert held() == (3, 3)


# --- servers that go away ------------------------------------------------------------------------


def test_an_outage_delays_and_loses_nothing(loopback: LoopbackServer, group: TaskGroup) -> None:
    """Reports in an outage go to disk, none is given up or waited for; all arrive afterwards."""
    tasks = group.tasks({"seed": range(5)})
    report_all(tasks, 0, 10)
    group.flush()
    loopback.faults.outage = True
    report_all(tasks, 10, 2000)
    assert waiting(group) == 5 * 1990
    box = store_of(group).sender
    assert box is not None
    assert not box.flush(0.3)
    while box.error is None:  # until the first attempt has failed, however slow the machine is
        assert not box.flush(0.1)
    with pytest.raises(DeliveryError, match=r"9,950 points of 5 tasks .*got no answer from http"):
        group.flush(0.0)
    loopback.faults.outage = False
    group.flush(30)
    assert waiting(group) == 0
    for task in tasks:
        assert loopback.scalars(task.id) == curve(2000)
        assert loopback.last_metrics(task.id)["loss", "value"]["value"] == 1999 / 2


def test_a_server_that_is_started_again_gets_the_rest(
    loopback: LoopbackServer, group: TaskGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is stopped and comes back at the same address, its tokens forgotten, has all."""
    (task,) = group.tasks({"seed": [0]})
    report_all([task], 0, 10)
    group.flush()
    ports = [int(url.rpartition(":")[2]) for url in (loopback.url, loopback.files_url)]
    loopback.stop()
    report_all([task], 10, 100)
    assert waiting(group) == 90

    def bind(server: LoopbackHTTPServer) -> None:
        server.server_address = ("127.0.0.1", ports.pop(0))
        socketserver.TCPServer.server_bind(server)
        server.server_name, server.server_port = "127.0.0.1", int(server.server_address[1])

    monkeypatch.setattr(LoopbackHTTPServer, "server_bind", bind)
    with LoopbackServer() as again:
        for field in attrs.fields(State):
            setattr(again.state, field.name, getattr(loopback.state, field.name))
        again.expire_tokens()
        group.close()
        assert again.scalars(task.id) == curve(100)
        assert again.task(task.id)["status"] == "completed"
        assert again.violations == []
    monkeypatch.undo()
    loopback.__init__()  # type: ignore[misc]  # so that the fixture can stop it
    loopback.start()


def test_a_server_that_hangs_keeps_no_point_from_the_disk(loopback: LoopbackServer, group: TaskGroup) -> None:
    """While the server sits on a task's start, what is reported is on disk all the same."""
    assert loopback.wait_until(lambda: loopback.count("tasks.started") == 1)  # the parent's
    loopback.reset_counts()
    with loopback.faults.holding("tasks.started"):
        task = group.task({"seed": 0})
        assert loopback.wait_until(lambda: loopback.peak_in_flight("tasks.started") == 1)
        report_all([task], 0, 100)
        assert waiting(group) == 100


@pytest.mark.parametrize("kind", ["drop_after", "truncate", "status_after"])
def test_after_a_doubtful_answer_the_last_value_is_the_last(
    loopback: LoopbackServer, group: TaskGroup, kind: str
) -> None:
    """A batch whose answer was lost is sent again in order: the last value stays the last."""
    tasks = group.tasks({"seed": range(3)})
    for start in range(0, 50, 10):
        loopback.faults.fail_next(ADD, kind=kind, times=2) if kind != "status_after" else (
            loopback.faults.fail_next(ADD, status=502, after=True, times=2)
        )
        report_all(tasks, start, start + 10)
        group.flush(60)
    for task in tasks:
        assert loopback.scalars(task.id) == curve(50)
        assert loopback.last_metrics(task.id)["loss", "value"]["value"] == 49 / 2


def test_the_outbox_holds_no_credentials(loopback: LoopbackServer, group: TaskGroup) -> None:
    """Neither key nor secret nor token is in any file of the run."""
    token = store_of(group).connection.token()
    loopback.faults.outage = True
    loopback.faults.outage = False
    task = group.task({"seed": 0})
    loopback.faults.outage = True
    report_all([task], 0, 10)
    assert waiting(group) == 10
    text = b"".join(path.read_bytes() for path in folder_of(group).iterdir()).decode()
    assert '"iter":9' in text
    assert not [secret for secret in (loopback.access_key, loopback.secret_key, token) if secret in text]


# --- ends with something undelivered -------------------------------------------------------------


@pytest.fixture
def spaced_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder whose name a shell would take apart."""
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "my cache"))


def test_one_error_tells_what_is_undelivered_and_how_to_deliver_it(
    spaced_cache: None, loopback: LoopbackServer
) -> None:
    """How many points of which tasks, where they lie, and a command that brings them and the ends."""
    group = new_group(close_timeout=0.3).open()
    tasks = group.tasks({"seed": range(4)})
    report_all(tasks, 0, 5)
    group.flush()
    loopback.faults.outage = True
    report_all(tasks, 5, 50)
    tasks[1].mark_failed(status_reason="out of memory")
    error = closing_error(group, 0.3)
    outbox = folder_of(group) / "run-0001.outbox"
    assert str(error).startswith("180 points of 4 tasks (seed=0, seed=1, seed=2, ")
    assert f" wait in {outbox}: " in str(error)
    assert "; deliver them with: clearml-taskgroup upload '" in str(error)
    assert "could not be delivered" not in str(error)
    loopback.faults.outage = False
    assert "4 tasks on the server" in run_told_command(error)
    assert [loopback.task(task.id)["status"] for task in tasks] == ["completed", "failed"] + ["completed"] * 2
    assert loopback.task(tasks[1].id)["status_reason"] == "out of memory"
    assert all(loopback.scalars(task.id) == curve(50) for task in tasks)
    assert loopback.task(group.parent_id or "")["status"] == "completed"
    assert [path.name for path in folder_of(group).iterdir()] == ["run-0001.jsonl"]


@pytest.mark.slow
def test_one_error_tells_which_ends_were_not_told(spaced_cache: None, loopback: LoopbackServer) -> None:
    """Where all points are there and the statuses are not, the command tells these."""
    group = new_group().open()
    tasks = group.tasks({"seed": range(3)})
    report_all(tasks, 0, 5)
    group.flush()
    loopback.faults.outage = True
    error = closing_error(group, 0.3)
    assert isinstance(error, ServerError)
    assert "the ends of 3 tasks (seed=0, seed=1, seed=2) could not be set" in str(error)
    loopback.faults.outage = False
    run_told_command(error)
    assert {task["status"] for task in loopback.tasks.values()} == {"completed"}


@pytest.mark.slow
def test_an_end_without_any_time_keeps_all_on_disk(loopback: LoopbackServer) -> None:
    """Closing at once still brings what was reported last to the disk."""
    group = new_group().open()
    (task,) = group.tasks({"seed": [0]})
    group.flush()
    loopback.faults.outage = True
    report_all([task], 0, 1000)
    error = closing_error(group, 0)
    assert str(error).startswith("1,000 points of 1 task (seed=0)")
    loopback.faults.outage = False
    run_told_command(error)
    assert loopback.scalars(task.id) == curve(1000)


@pytest.mark.slow
def test_an_exception_is_not_replaced_by_an_outage(loopback: LoopbackServer) -> None:
    """A block that raises in an outage raises its own exception, with the one line as a note."""
    group = new_group(close_timeout=0.3)
    with pytest.raises(ZeroDivisionError) as raised:
        with group:
            (task,) = group.tasks({"seed": [0]})
            group.flush()
            loopback.faults.outage = True
            report_all([task], 0, 10)
            _ = 1 / 0
    (note,) = raised.value.__notes__
    assert "10 points of 1 task" in note
    loopback.faults.outage = False
    run_told_command(Exception(note))
    assert loopback.task(task.id)["status"] == "failed"
    assert loopback.scalars(task.id) == curve(10)


# --- disks that refuse ---------------------------------------------------------------------------


def full_disk(group: TaskGroup) -> Callable[[int, bytes], int]:
    """A disk that takes nothing more into the group's outbox."""
    box = store_of(group).sender
    assert box is not None
    write, file = os.write, box.outbox._file

    def refuse(to: int, data: bytes) -> int:
        if to == file:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(to, data)

    return refuse


def test_a_disk_that_is_full_for_a_while_costs_nothing(
    loopback: LoopbackServer, group: TaskGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop goes on, flush names file and cause; when there is room again all arrives in order."""
    (task,) = group.tasks({"seed": [0]})
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full_disk(group))
        report_all([task], 0, 100)
        with pytest.raises(DeliveryError, match=r"run-0001\.outbox.*No space left"):
            group.flush(10)
        report_all([task], 100, 200)
    group.flush(60)
    assert loopback.scalars(task.id) == curve(200)


@pytest.mark.filterwarnings("ignore::clearml_taskgroup.errors.LostPointsWarning")
def test_a_disk_that_stays_full_loses_what_is_past_the_bound_and_says_so(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop ends, each lost point is counted, its task named, and no file is told of in vain."""
    monkeypatch.setattr(_reporter, "MAX_QUEUED_REPORTS", 100)
    monkeypatch.setattr(_reporter, "MAX_PENDING_EVENTS", 50)
    monkeypatch.setattr(_reporter, "STALL_TIMEOUT_S", 0.1)
    group = new_group().open()
    tasks = group.tasks({"seed": range(2)})
    group.flush()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full_disk(group))
        report_all(tasks, 0, 1000)
        with pytest.raises(ExceptionGroup) as raised:
            group.close(timeout=5)
    told = [str(error) for error in raised.value.exceptions]
    counts = [int(text.partition(" ")[0].replace(",", "")) for text in told]
    assert len(told) == 2
    assert sum(counts) == 2000
    assert all("(seed=0, seed=1)" in text and "No space left" in text for text in told)
    assert "wait in" not in "".join(told)
    assert {loopback.task(task.id)["status"] for task in tasks} == {"completed"}


@pytest.mark.slow
def test_what_lies_on_a_disk_that_filled_up_later_is_told_apart(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of points on disk and points that it refused, the error tells how many wait and how many are lost."""
    group = new_group().open()
    (task,) = group.tasks({"seed": [0]})
    group.flush()
    loopback.faults.outage = True
    report_all([task], 0, 30)
    assert waiting(group) == 30
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full_disk(group))
        report_all([task], 30, 40)
        error = closing_error(group, 0.3)
    assert str(error).startswith("40 points of 1 task")
    assert "; 10 are lost, the others wait in " in str(error)
    assert "could not be delivered" not in str(error)
    loopback.faults.outage = False
    run_told_command(error)
    assert loopback.scalars(task.id) == curve(30)


def test_no_deleted_outbox_is_named(loopback: LoopbackServer) -> None:
    """What waits in a file that somebody has deleted is lost with the process, and is said to be."""
    group = new_group().open()
    (task,) = group.tasks({"seed": [0]})
    group.flush()
    loopback.faults.outage = True
    report_all([task], 0, 3)
    assert waiting(group) == 3
    shutil.rmtree(folder_of(group))
    with pytest.warns(StoreWarning, match="was deleted while the group used it"):
        with pytest.raises(ExceptionGroup) as raised:
            group.close(timeout=0.3)
    text = "\n".join(map(str, raised.value.exceptions))
    assert "3 points of 1 task (seed=0) could not be delivered" in text
    assert "wait in" not in text
    assert "upload" not in text


def test_without_a_place_for_an_outbox_points_go_straight_to_the_server(
    loopback: LoopbackServer, tmp_path: Path
) -> None:
    """Where the cache folder cannot be written to, a group online works without record and outbox."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "taskgroup").write_text("a file in the place of the folder")
    with pytest.warns(StoreWarning, match=r"no run log and no outbox.*CLEARML_CACHE_DIR"):
        opened = new_group().open()
    with contextlib.closing(opened) as group:
        assert store_of(group).sender is None
        tasks = group.tasks({"seed": range(3)})
        report_all(tasks, 0, 50)
        loopback.faults.outage = True
        report_all(tasks, 50, 60)
        with pytest.raises(DeliveryError):
            group.flush(0.3)
        loopback.faults.outage = False
    assert group.record_path is None
    for task in tasks:
        assert loopback.scalars(task.id) == curve(60)
        assert loopback.task(task.id)["status"] == "completed"


# --- forks ---------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_what_children_report_in_an_outage_arrives_once(loopback: LoopbackServer) -> None:
    """Children flush to the disk and end; the parent delivers what they wrote, each line once."""
    with new_group() as group:
        tasks = group.tasks({"seed": range(3)})
        report_all(tasks, 0, 5)
        group.flush()
        loopback.faults.outage = True
        report_all(tasks, 5, 10)
        context = multiprocessing.get_context("fork")

        def work(child: int) -> None:
            for step in range(50):
                tasks[child].report({"loss": step / 2}, step, split=f"child {child}")
            assert group._run is not None
            group._run.reporter.put_text(tasks[child].id, f"child {child} is done")
            group.flush(60)

        children = [context.Process(target=work, args=(child,)) for child in range(3)]
        for process in children:
            process.start()
        for process in children:
            process.join()
        assert [process.exitcode for process in children] == [0, 0, 0]
        assert waiting(group) == 3 * 5 + 3 * 51
        loopback.faults.outage = False
    for child, task in enumerate(tasks):
        steps = [(step, step / 2) for step in range(50)]
        assert loopback.scalars(task.id) == {**curve(10), ("loss", f"child {child}"): steps}
        assert loopback.logs(task.id) == [f"child {child} is done"]
        assert loopback.task(task.id)["status"] == "completed"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_child_that_outlives_its_parents_group_delivers_by_itself(loopback: LoopbackServer) -> None:
    """What a child reports after the group has ended, and its file is gone, goes to the server."""
    group = new_group().open()
    (task,) = group.tasks({"seed": [0]})
    report_all([task], 0, 5)
    group.flush()
    context = multiprocessing.get_context("fork")
    ended = context.Event()

    def work() -> None:
        assert ended.wait(60)
        report_all([task], 5, 10)

    process = context.Process(target=work)
    process.start()
    group.close()
    ended.set()
    process.join()
    assert process.exitcode == 0
    assert loopback.scalars(task.id) == curve(10)


# --- SIGKILL -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_a_killed_process_had_on_disk_is_delivered_by_upload(
    loopback: LoopbackServer, tmp_path: Path
) -> None:
    """A process killed in an outage leaves all that it reported a second before; upload brings it."""
    script = """
import sys, time
from clearml_taskgroup import TaskGroup

group = TaskGroup("outbox", "killed", mode="online", provenance=False).open()
tasks = group.tasks({"seed": range(3)})
with tasks[0]:
    tasks[0].report({"loss": 0.0}, 0)
group.flush()
print(group.record_path, flush=True)
sys.stdin.readline()
for step in range(1, 100):
    for task in tasks[1:]:
        task.report({"loss": step / 2}, step)
time.sleep(1)  # the second that the design speaks of
print("reported", flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    record = process.stdout.readline().strip()
    loopback.faults.outage = True
    process.stdin.write("go on\n")
    process.stdin.flush()
    assert process.stdout.readline() == "reported\n"
    process.kill()
    process.communicate()
    loopback.faults.outage = False
    TaskGroup.upload(record)
    by_name = {task["name"]: task for task in loopback.tasks.values() if task["type"] == "training"}
    assert [task["status"] for _, task in sorted(by_name.items())] == ["completed", "stopped", "stopped"]
    for seed in (1, 2):
        points = loopback.scalars(by_name[f"killed seed={seed}"]["id"])
        assert points == {("loss", "value"): [(step, step / 2) for step in range(1, 100)]}
    assert [path.name for path in Path(record).parent.iterdir()] == ["run-0001.jsonl"]
