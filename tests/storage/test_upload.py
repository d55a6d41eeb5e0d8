"""Upload: offline runs, and what online runs have left, brought to a server."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._clearml.api import Transport
from clearml_taskgroup._clearml.api_errors import Unreachable
from clearml_taskgroup._clearml.failed_uploads import FileNotUploaded
from clearml_taskgroup._clearml.sdk import cache_folder
from clearml_taskgroup._model import limits
from clearml_taskgroup._model.status import ABANDONED
from clearml_taskgroup._storage import online, processes
from clearml_taskgroup._storage.past_runs import all_runs, load
from clearml_taskgroup._storage.run_log import append
from clearml_taskgroup.errors import ArgumentError, LoginError, ModeError, RunInUseError, ServerError
from tests.loopback import LoopbackServer
from tests.loopback.harness import run_script
from tests.support.offline_run import Killed, OfflineRun, Steps
from tests.support.runs import NAME, PROJECT, Place, curve, kill, only, originals


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> OfflineRun:
    """An offline run of three tasks, made once."""
    return OfflineRun.make(tmp_path_factory.mktemp("made"), 3)


@pytest.fixture
def full(made: OfflineRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> OfflineRun:
    """A copy of it that ClearML's cache folder is set to."""
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "copy"))
    return made.copy(tmp_path / "copy")


def offline(**options: Any) -> TaskGroup:
    """An offline group."""
    return Place().group(**options)


def is_pending() -> bool:
    """Whether some run waits."""
    return any(past.is_pending for past in all_runs(cache_folder() / "taskgroup"))


def test_all_of_a_run_is_on_the_server(full: OfflineRun, loopback: LoopbackServer, tmp_path: Path) -> None:
    """Parent, tasks, parameters, tags, statuses, every kind of event, files and artifacts are there."""
    assert is_pending()
    told: list[tuple[str, int, int]] = []
    uploaded = TaskGroup.upload(full.record, lambda *news: told.append(news))
    full.check(loopback)
    assert [len(loopback.logs(doc["id"])) for doc in originals(loopback)] == [1, 1, 1]
    assert told[0][1:] == (0, 3)
    assert told[-1] == ("", 3, 3)
    assert uploaded.problems == ()
    parent = only(originals(loopback, "parent"))["id"]
    assert uploaded.parent == parent
    assert sorted(uploaded.ids.values()) == sorted(doc["id"] for doc in originals(loopback))
    assert uploaded.url is not None
    assert parent in uploaded.url
    assert not is_pending()
    ids = list(uploaded.ids.values())
    script = f"""
        from clearml import Task
        import json
        found = [Task.get_task(task_id=one).artifacts for one in {ids!r}]
        print(json.dumps([[one["a dict"].get(), open(one["file"].get_local_copy()).read()] for one in found]))
        """
    done = run_script(script, loopback, tmp_path / "home")
    expected = [[{"seed": seed}, f"notes of {seed}"] for seed in range(3)]
    assert json.loads(done.stdout.splitlines()[-1]) == expected


def test_an_end_that_the_run_log_lacks_is_reported(loopback: LoopbackServer) -> None:
    """A run that was closed knows how its tasks ended, unless the disk was full."""
    with offline() as group:
        group.tasks({"seed": [0, 1, 2]})
    assert group.record_path is not None
    lines = group.record_path.read_text().splitlines()
    (lost,) = [line for line in lines if '"end"' in line and group.get(seed=1).id in line]
    group.record_path.write_text("".join(line + "\n" for line in lines if line != lost))
    uploaded = TaskGroup.upload(group.record_path)
    (problem,) = uploaded.problems
    assert "does not say how 1 task (seed=1) ended" in str(problem)
    statuses = {doc["name"]: doc["status"] for doc in originals(loopback)}
    assert [statuses[f"{NAME} seed={seed}"] for seed in range(3)] == ["completed", "stopped", "completed"]


def test_uploading_twice_changes_nothing(full: OfflineRun, loopback: LoopbackServer) -> None:
    """A second upload finds everything there, also what was published or archived since."""
    first = TaskGroup.upload(full.record)
    done = originals(loopback)[0]["id"]
    with loopback.state.lock:
        loopback.state.tasks[done]["status"] = "published"
    before, files = loopback.tasks, loopback.stored_files
    loopback.reset_counts()
    again = TaskGroup.upload(full.record)
    assert (again.parent, again.ids, again.problems) == (first.parent, first.ids, ())
    assert (loopback.tasks, loopback.stored_files) == (before, files)
    assert {call.endpoint for call in loopback.calls} <= {"auth.login", "tasks.get_all"}


@pytest.mark.slow
def test_another_server_gets_all_of_it_too(
    full: OfflineRun, loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was uploaded to one server, in part or in full, is uploaded to another in full."""
    TaskGroup.upload(full.record)
    full.check(loopback)
    with LoopbackServer() as another:
        for name, value in another.environment().items():
            monkeypatch.setenv(name, value)
        TaskGroup.upload(full.record)
        full.check(another)


@pytest.mark.slow
def test_an_upload_that_is_interrupted_anywhere_is_completed(
    made: OfflineRun, loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Ended before any step and repeated, an upload makes no task twice and loses nothing."""
    at, interrupted = 0, True
    while interrupted:
        at += 1
        run = made.copy(tmp_path / f"copy {at}")
        monkeypatch.setenv("CLEARML_CACHE_DIR", str(run.cache))
        with loopback.state.lock:
            loopback.state.tasks.clear()
            loopback.state.models.clear()
            loopback.state.events.clear()
        loopback.files.stored.clear()
        steps = Steps(at)
        try:
            with steps.counted():
                TaskGroup.upload(run.record)
        except Killed:
            TaskGroup.upload(run.record)
        else:
            interrupted = False
        run.check(loopback)
        shutil.rmtree(run.cache)
    assert at > 3 * 10


@pytest.mark.parametrize("how", ["record", "run", "prefix", "group", "parent"])
def test_a_run_is_found_by_each_of_its_names(loopback: LoopbackServer, how: str) -> None:
    """The record's path, the run's id or its first digits, the group's id, the parent's offline id."""
    with offline() as group:
        group.task({"seed": 0}).report({"loss": 1.0}, 0)
    names = {
        "record": group.record_path,
        "run": group.run,
        "prefix": group.run[:8],
        "group": group.id,
        "parent": group.parent_id,
    }
    uploaded = TaskGroup.upload(names[how])  # type: ignore[arg-type]
    assert loopback.scalars(*uploaded.ids.values()) == curve(1.0)


def test_an_unknown_run_is_named(loopback: LoopbackServer) -> None:
    """A run that is not on this disk is an error that says so, and the server is not asked."""
    with pytest.raises(ArgumentError, match="run='0000000000'"):
        TaskGroup.upload("0000000000")
    assert loopback.calls == []


def test_a_run_in_use_is_refused(loopback: LoopbackServer) -> None:
    """A run that a living process works on is not uploaded."""
    with offline() as group:
        with pytest.raises(RunInUseError) as raised:
            TaskGroup.upload(group.run)
    assert str(raised.value).endswith("; call group.close() first")  # an upload cannot take it over
    assert loopback.tasks == {}


def test_each_attempt_is_a_task(loopback: LoopbackServer) -> None:
    """All attempts of a resumed run are uploaded, each with its own end; an abandoned one is stopped."""
    group = offline().open()
    group.task({"seed": 0}).mark_failed("bad")
    dead = group.task({"seed": 1})
    dead.report({"loss": 1.0}, 0)
    kill(group)
    with offline(resume=True) as group:
        group.tasks({"seed": range(2)})
    uploaded = TaskGroup.upload(group.run)
    assert Place(loopback).attempts() == [
        ("seed=0", 1, "failed"),
        ("seed=0", 2, "completed"),
        ("seed=1", 1, "stopped"),
        ("seed=1", 2, "completed"),
    ]
    stopped = loopback.task(uploaded.ids[dead.id])
    assert stopped["status_reason"] == ABANDONED
    assert loopback.scalars(stopped["id"]) == curve(1.0)


def test_a_run_that_died_is_stopped(loopback: LoopbackServer) -> None:
    """The parent of a run whose process died is stopped on the server."""
    group = offline().open()
    group.task({"seed": 0})
    kill(group)
    TaskGroup.upload(group.run)
    parent = only(originals(loopback, "parent"))
    assert (parent["status"], parent["status_reason"]) == ("stopped", ABANDONED)


def test_a_process_of_a_shared_run_that_died_is_no_problem(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the run log lacks the end of its task is not the fault of the disk."""
    one = offline(run="job").open()
    one.task({"seed": 0})
    kill(one)
    assert one._run is not None
    died = one._run.info.process
    monkeypatch.setattr(processes, "is_known_dead", lambda process: process == died)
    with offline(run="job") as two, two.task({"seed": 1}):
        pass
    assert TaskGroup.upload(two.run).problems == ()
    reasons = {doc["name"]: (doc["status"], doc["status_reason"]) for doc in originals(loopback)}
    assert reasons == {f"{NAME} seed=0": ("stopped", ABANDONED), f"{NAME} seed=1": ("completed", "")}


def test_a_shared_run_that_goes_on_on_the_server(loopback: LoopbackServer) -> None:
    """The upload of its offline part does not end the parent of the others."""
    for seed in range(2):
        with offline(run="job") as group:
            group.task({"seed": seed})
        if seed == 0:
            TaskGroup.upload(group.run)
    with Place(loopback).group(run="job") as online_group:
        TaskGroup.upload(group.record_path or "")
        assert only(originals(loopback, "parent"))["status"] == "in_progress"
        online_group.task({"seed": 2})
    assert only(originals(loopback, "parent"))["status"] == "completed"
    assert len(originals(loopback)) == 3


def test_a_shared_run_on_two_disks(
    loopback: LoopbackServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What processes that share no disk have both run is uploaded once, never mixed."""
    for disk, seeds in enumerate(([0, 1], [0, 1, 2])):
        monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / str(disk)))
        with offline(run="job") as group:
            for task in group.sweep({"seed": seeds}):
                with task:
                    task.report({"loss": float(disk)}, 0)
        for _ in range(2):
            assert TaskGroup.upload(group.run).problems == ()
        assert not is_pending()
    assert "2 tasks (seed=0, seed=1)" in caplog.text
    losses = {doc["name"]: loopback.scalars(doc["id"]) for doc in originals(loopback)}
    assert losses == {f"{NAME} seed={seed}": curve(float(seed == 2)) for seed in range(3)}
    assert len(originals(loopback, "parent")) == 1


def test_a_run_that_goes_on_after_its_upload_is_uploaded_again(loopback: LoopbackServer) -> None:
    """What a resumed run adds, to the same tasks too, gets there with the new statuses, once."""
    group = offline().open()
    task = group.task({"seed": 0})
    task.report({"loss": 0.0}, 0)
    task._put_text("first")
    kill(group)
    TaskGroup.upload(group.run)
    with offline(resume=True, retry="continue") as group:
        group.task({"seed": 0}).report({"loss": 1.0}, 1)
        group.task({"seed": 1})
    uploaded = TaskGroup.upload(group.run)
    assert Place(loopback).attempts() == [("seed=0", 1, "completed"), ("seed=1", 1, "completed")]
    assert loopback.scalars(uploaded.ids[task.id]) == curve(0.0, 1.0)
    assert loopback.logs(uploaded.ids[task.id]) == ["first"]
    assert only(originals(loopback, "parent"))["status"] == "completed"


def test_a_torn_last_line_is_passed_over(loopback: LoopbackServer) -> None:
    """A session or a record that a crash cut short is uploaded as far as it goes."""
    with offline() as group:
        task = group.task({"seed": 0})
        task.report({"loss": 0.0}, 0)
    with (cache_folder() / "offline" / task.id / "metrics.jsonl").open("a") as file:
        file.write('[{"type":"training_stats_scalar","task":"' + task.id)
    assert group.record_path is not None
    with group.record_path.open("a") as file:
        file.write('{"event": "clo')
    uploaded = TaskGroup.upload(group.run)
    assert loopback.scalars(uploaded.ids[task.id]) == curve(0.0)
    assert not is_pending()


def test_a_session_that_was_removed_is_told(loopback: LoopbackServer) -> None:
    """A task whose folder is gone is told as a problem; the others are uploaded."""
    with offline() as group:
        gone, stays = group.tasks({"seed": range(2)})
    shutil.rmtree(cache_folder() / "offline" / gone.id)
    uploaded = TaskGroup.upload(group.run)
    (problem,) = uploaded.problems
    assert f"names the task 'seed=0', but {cache_folder() / 'offline' / gone.id} is not there" in str(problem)
    assert list(uploaded.ids) == [stays.id]
    assert Place(loopback).attempts() == [("seed=1", 1, "completed")]


def test_a_session_of_another_run_is_not_uploaded(loopback: LoopbackServer) -> None:
    """A run log that names the session of another run, by mistake or on purpose, does not get at it."""
    with offline() as precious:
        secret = precious.task({"seed": 0})
    with offline() as group:
        own = group.task({"seed": 1})
    assert group.record_path is not None
    group.record_path.write_text(group.record_path.read_text().replace(own.id, secret.id))
    (problem,) = TaskGroup.upload(group.record_path).problems
    assert "or is not its session" in str(problem)
    assert Place(loopback).attempts() == []


@pytest.mark.parametrize("link", [False, True])
def test_a_file_outside_of_the_session_is_not_uploaded(
    full: OfflineRun, loopback: LoopbackServer, tmp_path: Path, link: bool
) -> None:
    """What an artifact, a sample or a plot refers to stays on this disk if it is not in the session."""
    (tmp_path / "secret.jpeg").write_text("secret")
    for folder in (full.cache / "offline").iterdir():
        if link:
            for path in (path for path in (folder / "data").rglob("*") if path.is_file()):
                path.unlink()
                path.symlink_to(tmp_path / "secret.jpeg")
            continue
        for name in ("task.json", "metrics.jsonl"):
            text = (folder / name).read_text()
            for path in (path for path in (folder / "data").rglob("*") if path.is_file()):
                inside = path.relative_to(folder / "data").as_posix()
                text = text.replace(inside, "../../../../secret.jpeg")
            (folder / name).write_text(text)
    problems = TaskGroup.upload(full.record).problems
    assert len(problems) == 3
    assert all("5 files of " in str(problem) and " are not in " in str(problem) for problem in problems)
    assert not any(b"secret" in file.content for file in loopback.stored_files.values())


def test_a_file_that_is_missing_is_named(full: OfflineRun, loopback: LoopbackServer) -> None:
    """The rest of the task is on the server; the problem says which file is not."""
    (missing,) = (path for path in full.cache.rglob("notes.txt") if "seed=1" in str(path))
    missing.unlink()
    (problem,) = TaskGroup.upload(full.record).problems
    assert "1 file of " in str(problem)
    assert " is not in " in str(problem)
    assert "artifacts/file/notes.txt)" in str(problem)
    assert Place(loopback).attempts()[1][2] == "failed"


def test_an_inner_group_keeps_its_parent(loopback: LoopbackServer) -> None:
    """The tasks of a group in a group's block hang below the outer group's parent, in any order."""
    with TaskGroup("another project", "the outer", mode="offline", provenance=False) as outer:
        outer.task({"seed": 0})
        with offline() as inner:
            inner.task({"seed": 1})
    ids = {**TaskGroup.upload(inner.run).ids, **TaskGroup.upload(outer.run).ids}
    parent = only(originals(loopback, "parent"))
    assert parent["status"] == "completed"
    assert {loopback.task(task_id)["parent"] for task_id in ids.values()} == {parent["id"]}
    projects = [loopback.projects[loopback.task(task_id)["project"]]["name"] for task_id in ids.values()]
    assert projects == [PROJECT, "another project"]


def test_a_server_that_is_away_is_told(
    full: OfflineRun, loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a server an upload is a clear error, and a later one does it all."""
    monkeypatch.setattr(limits, "LOGIN_TIMEOUT_S", 0.0)
    loopback.faults.outage = True
    with pytest.raises(LoginError, match="cannot log in"):
        TaskGroup.upload(full.record)
    loopback.faults.clear()
    TaskGroup.upload(full.record)
    full.check(loopback)


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "call", ["tasks.create", "tasks.started", "events.add_batch", "tasks.failed", "files.upload"]
)
def test_a_server_that_goes_away_is_told(
    full: OfflineRun, loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A server that goes away in the middle is a clear error, and what is missing comes later."""
    real = Transport.call

    def impatient(self: Transport, action: str, *args: Any, **kwargs: Any) -> Any:
        return real(self, action, *args, **{**kwargs, "timeout": 0.0})

    monkeypatch.setattr(Transport, "call", impatient)
    loopback.faults.fail_next(call, status=503, times=40)
    with pytest.raises(ServerError) as raised:
        TaskGroup.upload(full.record)
    assert isinstance(raised.value, (Unreachable, LoginError, FileNotUploaded))
    assert is_pending()
    loopback.faults.clear()
    TaskGroup.upload(full.record)
    full.check(loopback)


def test_a_files_server_that_is_away_is_told(
    full: OfflineRun, loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, with the setting to check; nothing is deleted here, and a later upload does it all."""

    def on_disk() -> dict[Path, bytes]:
        sessions = cache_folder() / "offline"
        return {path: path.read_bytes() for path in sessions.rglob("*") if path.is_file()}

    before = on_disk()
    with monkeypatch.context() as patched:
        patched.setenv("CLEARML_FILES_HOST", "http://127.0.0.1:9")
        began = time.monotonic()
        with pytest.raises(FileNotUploaded, match=r"nothing listens there; check api\.files_server"):
            TaskGroup.upload(full.record)
        assert time.monotonic() - began < 10.0
    assert on_disk() == before
    assert is_pending()
    TaskGroup.upload(full.record)
    full.check(loopback)
    assert on_disk() == before


@pytest.mark.parametrize("when", ["silent", "reporting", "ended"])
def test_what_an_online_run_left_is_delivered(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Points, ends and the parent's end that a server did not take are delivered by an upload."""
    monkeypatch.setattr(limits, "API_TIMEOUT_S", 1.0)
    if when == "silent":  # the server goes away before the tasks are even started
        monkeypatch.setattr(online.OnlineBackend, "_start_tasks", lambda *_: None)
    group = Place(loopback).open(close_timeout=0.3)
    tasks = group.tasks({"seed": range(3)})
    if when != "silent":
        for task in tasks:
            task.report({"loss": 0.0}, 0)
        group.flush()
    if when == "ended":
        for task in tasks:
            task.close()
    loopback.faults.outage = True
    if when == "reporting":
        for task in tasks:
            task.report({"loss": 1.0}, 1)
    with pytest.raises(ExceptionGroup):
        group.close()
    loopback.faults.clear()
    assert is_pending()
    statuses = {status for _, _, status in Place(loopback).attempts()}
    assert statuses == {{"silent": "created", "reporting": "in_progress", "ended": "completed"}[when]}
    uploaded = TaskGroup.upload(group.run)
    assert uploaded.problems == ()
    assert Place(loopback).attempts() == [(f"seed={seed}", 1, "completed") for seed in range(3)]
    assert only(originals(loopback, "parent"))["status"] == "completed"
    points = {"silent": {}, "reporting": curve(0.0, 1.0), "ended": curve(0.0)}[when]
    assert [loopback.scalars(task.id) for task in tasks] == [points] * 3
    assert not is_pending()
    assert not group.record_path.with_suffix(".outbox").exists()  # type: ignore[union-attr]


def test_a_dead_online_run_is_ended(loopback: LoopbackServer) -> None:
    """What a SIGKILL left open online is stopped by an upload; what had ended stays as it is."""
    group = Place(loopback).open()
    done, dead = group.tasks({"seed": range(2)})
    dead.report({"loss": 1.0}, 0)
    done.mark_completed()
    kill(group)
    TaskGroup.upload(group.run)
    assert Place(loopback).attempts() == [("seed=0", 1, "completed"), ("seed=1", 1, "stopped")]
    assert loopback.scalars(dead.id) == curve(1.0)
    assert only(originals(loopback, "parent"))["name"] == NAME
    assert not is_pending()


def test_uploading_an_online_run_twice_changes_nothing(loopback: LoopbackServer) -> None:
    """An online run of which nothing waits is left as it is on the server."""
    with Place(loopback).group() as group:
        group.task({"seed": 0})
    before = loopback.tasks
    assert not is_pending()
    for _ in range(2):
        uploaded = TaskGroup.upload(group.run)
        assert uploaded.parent == group.parent_id
    assert loopback.tasks == before


def test_the_record_tells_what_was_uploaded(loopback: LoopbackServer) -> None:
    """Task by task, the record says which task on the server has all of it."""
    with offline() as group:
        task = group.task({"seed": 0})
    uploaded = TaskGroup.upload(group.run)
    past = load(group.record_path)  # type: ignore[arg-type]
    assert past is not None
    assert (past.uploaded, past.tasks[task.id].uploaded) == (True, uploaded.ids[task.id])


def test_an_upload_where_clearml_is_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """While ClearML is set offline there is no server to upload to, and that is said."""
    with Place().group() as group:
        group.task({"C": 1})
    monkeypatch.setattr(sdk, "task_mode", lambda: "offline")
    with pytest.raises(ModeError, match=r"ClearML is set offline.*unset CLEARML_OFFLINE_MODE"):
        TaskGroup.upload(group.run)


def test_the_script_of_a_killed_run_is_uploaded(loopback: LoopbackServer) -> None:
    """It was detected after the sessions were written, and is in the run log alone."""
    group = offline()
    group.open()
    first = group.task({"seed": 1})
    kill(group)
    assert group.record_path is not None
    script = {"entry_point": "train.py", "binary": "python3.11"}
    append(group.record_path, [{"event": "script", "pid": os.getpid(), "script": script, "warnings": []}])
    uploaded = TaskGroup.upload(group.record_path)
    assert uploaded.parent is not None
    for task_id in (uploaded.ids[first.id], uploaded.parent):
        assert script.items() <= loopback.task(task_id)["script"].items()
