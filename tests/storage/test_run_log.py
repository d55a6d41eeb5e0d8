"""The run's record on disk: its lines, its number, what happens when the disk refuses."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup._model.metric_data import MetricData
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._model.specs import RunInfo, TaskSpec
from clearml_taskgroup._model.stats import Stats
from clearml_taskgroup._storage import processes
from clearml_taskgroup._storage import run_log as module
from clearml_taskgroup._storage.past_runs import locked
from clearml_taskgroup._storage.run_log import (
    RunLog,
    append,
    files_beside,
    files_in,
    in_use,
    is_alive,
    iterate,
    last_number_on_disk,
    read_first,
    run_line,
    run_number,
)
from clearml_taskgroup.errors import RunInUseError, StoreError, StoreWarning
from tests.support.scripts import Disk, place_of


def test_a_record_tells_the_story_of_its_run(tmp_path: Path) -> None:
    """`run`, a `task` for each as it opens, an `end` for each as it ends, `close`; all with a time."""
    with place_of("offline", tmp_path) as place:
        with place.group(catch=ValueError) as group:
            with group.task({"C": 1, "path": Path("a/b")}) as task:
                task.report({"loss": 1.0, "accuracy": 0.5}, 1)
            with group.task(name="bad") as bad:
                bad.report({"loss": 1.0, "accuracy": 0.5}, 1)
                raise ValueError("bad")
    (lines,) = Disk(tmp_path).records
    assert [line["event"] for line in lines] == ["run", "task", "end", "task", "end", "close"]
    run, opened, ended, _, failed, closed = lines
    assert run["group"] == group.id
    assert (run["project"], run["name"], run["mode"]) == ("the project", "the group", "offline")
    assert (run["run"], run["number"], run["parent"]) == (group.run, 1, group.parent_id)
    assert (opened["id"], opened["key"], opened["name"]) == (task.id, task.key, str(task))
    assert (opened["index"], opened["attempt"]) == (0, 1)
    assert set(opened["params"]) == {"C", "path"}
    assert (ended["id"], ended["status"], ended["points"], ended["left_out"]) == (task.id, "completed", 2, 0)
    assert ended["duration"] >= 0
    assert (failed["status"], failed["reason"]) == ("failed", "ValueError: bad")
    assert closed["status"] == "completed"
    times = [line["time"] for line in lines]
    assert times == sorted(times)


def test_an_end_is_in_the_record_before_the_group_ends(tmp_path: Path) -> None:
    """A task's end is written as it ends, so that a crash later keeps it."""
    with place_of("offline", tmp_path) as place, place.group() as group:
        with group.task(name="the task"):
            pass
        assert Disk(tmp_path).ends() == {"the task": ("completed", "")}


def test_each_run_has_a_number_and_a_file_of_its_own(tmp_path: Path) -> None:
    """Runs of one group count up; another group counts for itself."""
    with place_of("offline", tmp_path) as place:
        numbers = []
        for name in ("the group", "the group", "another", "the group"):
            with place.group(name) as group:
                numbers.append((name, group.run_number))
                assert group.record_path is not None
                assert group.record_path.name == f"run-{group.run_number:04}.jsonl"
    assert numbers == [("the group", 1), ("the group", 2), ("another", 1), ("the group", 3)]


def test_runs_that_start_at_once_get_different_numbers(tmp_path: Path) -> None:
    """A number that another process took just now is passed over."""
    barrier = threading.Barrier(8)
    records: list[RunLog] = []

    def start() -> None:
        barrier.wait()
        records.append(RunLog.start(tmp_path))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(record.number for record in records) == list(range(1, 9))
    for record in records:
        record.close()


def test_a_number_is_never_used_again(tmp_path: Path) -> None:
    """The next number is one past the highest, also where earlier records were deleted."""
    (tmp_path / "run-0007.jsonl").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "run-old.jsonl").touch()
    record = RunLog.start(tmp_path)
    record.close()
    assert (record.number, record.path) == (8, tmp_path / "run-0008.jsonl")


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("run-0012.jsonl", 12),
        ("run-12345.jsonl", 12345),
        ("run-x.jsonl", 0),
        ("run-1x.jsonl", 0),
        ("run-\xb2.jsonl", 0),
        ("run-\u0663.jsonl", 0),
        ("run-.jsonl", 0),
    ],
)
def test_a_records_number_is_in_its_name(name: str, number: int) -> None:
    """The number is read from the name, however many digits it has; another name has none."""
    assert run_number(Path(name)) == number


def test_lines_are_appended_whole_from_several_threads(tmp_path: Path) -> None:
    """What threads write at the same time never mixes."""
    record = RunLog.start(tmp_path)

    def write(number: int) -> None:
        for step in range(50):
            record.write([{"event": "note", "number": number, "step": step, "text": "x" * 2000}])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record.close()
    lines = [*iterate(record.path)]
    for number in range(4):
        assert [line["step"] for line in lines if line["number"] == number] == list(range(50))


def test_a_line_that_a_crash_cut_short_is_passed_over(tmp_path: Path) -> None:
    """Reading gives all whole lines of a record."""
    path = tmp_path / "run-0001.jsonl"
    path.write_text(json.dumps({"event": "run"}) + "\n" + '{"event": "task", "na')
    assert [*iterate(path)] == [{"event": "run"}]


def test_values_of_any_kind_and_any_text_can_be_written(tmp_path: Path) -> None:
    """What JSON does not know is written as text, and line breaks stay inside their line."""
    record = RunLog.start(tmp_path)
    record.write([{"event": "note", "path": Path("a/b"), "text": "line\nbreak\u2028ü"}])
    record.close()
    (line,) = [*iterate(record.path)]
    assert (line["path"], line["text"]) == ("a/b", "line\nbreak\u2028ü")


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot write to .*/file/runs"):
        RunLog.start(tmp_path / "file" / "runs")


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """A record that cannot go on is an error that names it."""
    record = RunLog.start(tmp_path)
    os.close(record._file)
    record._file = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(StoreError, match=r"run-0001.jsonl: .*No space left"):
        record.write([{"event": "note"}])
    os.close(record._file)


def test_an_end_that_does_not_fit_is_written_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept lines come first, in their order and with their own times; nothing is torn."""
    record = RunLog.start(tmp_path)
    record.write([{"event": "run"}])
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", no_room)
        record.keep([({"event": "end", "id": "t1"}, "the end of 't1'")])
        record.run_closed("completed", "", delivered=True)
        with pytest.raises(StoreError):
            record.write([{"event": "task", "id": "t2"}])
    record.write([{"event": "task", "id": "t3"}])
    record.close()
    lines = [*iterate(record.path)]
    assert [(line["event"], line.get("id")) for line in lines] == [
        ("run", None),
        ("end", "t1"),
        ("close", None),
        ("task", "t3"),
    ]
    assert sorted(lines, key=lambda line: line["time"]) == lines


def test_what_never_fits_is_named_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`close` says what the log lacks, and lets go of it."""
    record = RunLog.start(tmp_path)
    monkeypatch.setattr(os, "write", no_room)
    record.keep([({"event": "end", "n": n}, f"the end of 't{n}'") for n in range(5)])
    with pytest.raises(StoreError, match=r"the end of 't0', .* and 2 more to .*; free some space"):
        record.close()
    record.close()
    with locked(record.path):
        pass


def no_room(file: int, data: bytes) -> int:
    """A disk that is full."""
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_line_that_did_not_fit_whole_is_an_error(tmp_path: Path) -> None:
    """A write that the system cut short is told, not passed over."""
    record = RunLog.start(tmp_path)
    os.close(record._file)
    reader, record._file = os.pipe()
    os.set_blocking(record._file, False)
    with pytest.raises(StoreError, match=r"only \d+ of \d+ bytes could be written"):
        record.write([{"event": "note", "text": "x" * 1_000_000}])
    os.close(reader)
    os.close(record._file)


def test_a_closed_record_takes_no_more(tmp_path: Path) -> None:
    """After `close`, writing and closing again do nothing."""
    record = RunLog.start(tmp_path)
    record.write([{"event": "note"}])
    record.close()
    record.close()
    record.write([{"event": "late"}])
    assert [line["event"] for line in iterate(record.path)] == ["note"]


def test_a_close_that_the_disk_refuses_lets_go_of_the_file(tmp_path: Path) -> None:
    """An error of the last sync is told once, and the file is not held any more."""
    record = RunLog.start(tmp_path)
    os.close(record._file)
    record._file = os.open("/dev/full", os.O_WRONLY)  # takes no fsync
    held = record._file
    with pytest.raises(OSError, match="Invalid argument"):
        record.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(held)
    record.close()


def test_what_is_no_record_has_no_lines(tmp_path: Path) -> None:
    """Any file may be given for a record: bytes that are no text, JSON that is no event."""
    path = tmp_path / "photo.jsonl"
    path.write_bytes(b"\xff\xfe\x00\n[1, 2]\n3\n" + b'{"event": "run"}\n')
    assert [*iterate(path)] == [{"event": "run"}]


def test_files_beside_a_run_log_are_those_of_its_name(tmp_path: Path) -> None:
    for name in ("run-*.jsonl", "run-*.outbox", "run-0001.jsonl", "run-0001.outbox"):
        (tmp_path / name).touch()
    assert files_beside(tmp_path / "run-*.jsonl") == [tmp_path / "run-*.outbox"]


def test_a_torn_line_among_many_costs_no_other_line(tmp_path: Path) -> None:
    """Lines are parsed several at a time; those beside a torn, blank or foreign one are read all the same."""
    whole = [json.dumps({"event": "task", "id": f"t{number}", "pad": "x" * 900}) for number in range(40)]
    odd = ['{"event": "task", "id": ', "", "[1]", '{"a": 1', '"b": 2}', '{"event": "to' + whole[30]]
    path = tmp_path / "run-0001.jsonl"
    path.write_text("\n".join([*whole[:25], *odd[:5], *whole[25:30], odd[5], *whole[31:]]) + "\n")
    assert [*iterate(path)] == [json.loads(line) for line in whole]


# --- the lines -----------------------------------------------------------------------------------


def test_the_lines_of_tasks(tmp_path: Path) -> None:
    """An end has the parameters only if some were added since the task was opened."""
    params = {"C": 1}
    spec = TaskSpec("k", "C=1", "group C=1", 3, 2, params)
    stats = [MetricData(Stats(count=count)) for count in (2, 3)]
    stats[1].skipped = 4
    fields = {"id": "t1", "spec": spec, "params": dict(params), "status": "failed", "reason": "why"}
    metrics = dict(zip([MetricKey("loss", ()), MetricKey("accuracy", ())], stats, strict=True))
    state: Any = SimpleNamespace(**fields, duration=1.23456, finished=True, metrics=metrics)
    log = RunLog.start(tmp_path)
    log.session = 5
    log.opening([spec])
    log.tasks_opened([state])
    log.tasks_ended([state])
    state.params["lr"] = 0.5
    log.tasks_ended([state])
    log.run_closed("completed", "", delivered=False)
    log.close()
    opening, opened, ended, again, closed = iterate(log.path)
    times = [line.pop("time") for line in (opening, opened, ended, again, closed)]
    assert times == [round(time, 3) for time in times]
    assert opening == {"event": "opening", "key": "k", "attempt": 2}
    identity = {"id": "t1", "key": "k", "name": "C=1", "index": 3, "attempt": 2, "params": {"C": 1}}
    assert opened == {"event": "task", **identity, "session": 5}
    assert (ended["status"], ended["reason"], ended["duration"]) == ("failed", "why", 1.235)
    assert (ended["points"], ended["left_out"], ended["settled"]) == (5, 4, True)
    assert len(ended["measures"]) == 2
    assert "params" not in ended
    assert again == {**ended, "params": {"C": 1, "lr": 0.5}}
    assert closed == {"event": "close", "status": "completed", "reason": "", "settled": False}


@pytest.mark.parametrize("shared", ["", "job 7"])
def test_the_line_of_a_run(tmp_path: Path, shared: str) -> None:
    info = RunInfo("0" * 12, "project", "group", "{metric}", run="r", number=3, shared=shared)
    log = RunLog.start(tmp_path)
    log.run_opened(info, "offline", "the parent", owns_parent=True, pid=7)
    log.close()
    (line,) = iterate(log.path)
    expected = {"event": "run", "group": "0" * 12, "project": "project", "name": "group", "run": "r"}
    expected |= {"template": "{metric}", "mode": "offline", "parent": "the parent"}
    assert expected.items() <= line.items()
    assert (line["number"], line["owns_parent"], line["pid"], line["shared"]) == (3, True, 7, shared or None)
    assert run_line(info, "offline", None, owns_parent=False).keys() == line.keys() - {"pid", "time"}


def test_nothing_is_written_where_there_is_no_line(tmp_path: Path) -> None:
    log = RunLog.start(tmp_path)
    log.write([])
    assert log.size == 0
    log.write([{"event": "note"}])
    assert log.size == log.path.stat().st_size > 0
    log.close()
    assert log.size == 0


def test_lines_are_added_to_the_log_of_a_run_that_is_closed(tmp_path: Path) -> None:
    log = RunLog.start(tmp_path)
    log.write([{"event": "run"}])
    log.close()
    append(log.path, [{"event": "settled"}, {"event": "uploaded"}])
    assert [line["event"] for line in iterate(log.path)] == ["run", "settled", "uploaded"]
    assert read_first(log.path)["event"] == "run"
    with pytest.raises(StoreError, match="missing"):
        append(tmp_path / "missing.jsonl", [])


@pytest.mark.parametrize("text", ["", "[1]\n", '{"event": "ru'])
def test_a_log_without_a_first_line_says_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run-0001.jsonl"
    assert read_first(path) == {}
    path.write_text(text)
    assert read_first(path) == {}


def test_a_log_of_another_kind_of_file_is_an_error() -> None:
    with pytest.raises(OSError, match="not a regular file"):
        list(iterate(Path(os.devnull)))
    assert read_first(Path(os.devnull)) == {}


# --- numbers -------------------------------------------------------------------------------------


def test_a_number_that_a_server_gave_is_not_used_again(tmp_path: Path) -> None:
    """A log's number may be higher than that in its name; the latest logs are looked at."""
    assert last_number_on_disk(tmp_path) == 0
    for name, number in enumerate([50, 3, "odd", True, None], 1):
        (tmp_path / f"run-{name:04}.jsonl").write_text(json.dumps({"event": "run", "number": number}) + "\n")
    assert last_number_on_disk(tmp_path) == 50
    log = RunLog.start(tmp_path)
    log.close()
    assert log.number == 51
    for name in range(6, module.LATEST_LOGS + 1):
        (tmp_path / f"run-{name:04}.jsonl").touch()
    (tmp_path / "run-0051.jsonl").unlink()
    assert last_number_on_disk(tmp_path) == 50
    (tmp_path / f"run-{module.LATEST_LOGS + 1:04}.jsonl").touch()
    assert last_number_on_disk(tmp_path) == 3


def test_a_process_of_a_shared_run_has_a_log_beside_that_of_the_run(tmp_path: Path) -> None:
    path = tmp_path / "run-0007.jsonl"
    log = RunLog.start_beside(path, "p1")
    assert (log.path, log.run_path, log.number) == (tmp_path / "run-0007.p1.jsonl", path, 7)
    with pytest.raises(StoreError, match=r"run-0007\.p1\.jsonl"):
        RunLog.start_beside(path, "p1")
    log.close()


# --- a log that somebody deletes -----------------------------------------------------------------


def test_a_log_that_was_deleted_is_an_error(tmp_path: Path) -> None:
    log = RunLog.start(tmp_path)
    log.check()
    log.path.unlink()
    for call in (log.check, lambda: log.write([{"event": "note"}])):
        with pytest.raises(StoreError, match=r"run-0001\.jsonl.*No such file"):
            call()
    log.after_fork()
    log.check()


def test_a_log_that_the_run_can_do_without_is_warned_of_once(tmp_path: Path) -> None:
    """Lines that waited for room are given up with it."""
    log = RunLog.start(tmp_path)
    log.is_optional = True
    log.path.unlink()
    with pytest.warns(StoreWarning, match="was deleted while the group used it"):
        log.keep([({"event": "end"}, "the end of 't1'")])
    log.check()
    log.write([{"event": "note"}])
    log.close()
    assert log.size == 0
    assert not log.path.exists()


def test_a_child_process_leaves_the_log_to_its_parent(tmp_path: Path) -> None:
    """It writes nothing, and does not hold the lock."""
    log = RunLog.start(tmp_path)
    log.after_fork()
    log.after_fork()
    log.write([{"event": "note"}])
    assert (log.size, log.path.stat().st_size) == (0, 0)
    with locked(log.path):
        pass


# --- runs in use ---------------------------------------------------------------------------------


def test_a_run_is_continued_by_one_process_or_taken_over(tmp_path: Path) -> None:
    log = RunLog.start(tmp_path)
    with pytest.raises(RunInUseError, match="takeover=True"):
        RunLog.reopen(log.path)
    other = RunLog.reopen(log.path, takeover=True)
    assert (other.number, other.path) == (1, log.path)
    os.write(log._file, b'{"event": "torn')
    RunLog.reopen(log.path, takeover=True).close()
    other.write([{"event": "note"}])
    for one in (log, other):
        one.close()
    assert [line["event"] for line in iterate(log.path)] == ["note"]


@pytest.mark.parametrize("resume", [True, False])
def test_the_error_says_who_has_the_run_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resume: bool
) -> None:
    """This process, others by their names, or one by its pid, if the system knows it."""
    monkeypatch.setattr(module, "lock_holder", lambda path: None)
    monkeypatch.setattr(module, "is_alive", lambda pid: pid == 7)
    path = tmp_path / "run-0001.jsonl"
    path.touch()
    assert in_use(path, resume=resume).group == ""
    lines = [{"event": "run", "project": "p", "name": "before", "pid": 7}, {"event": "run", "project": "p"}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert (in_use(path, resume=resume).group, "pid" in str(in_use(path, resume=resume))) == ("", False)
    append(path, [{"event": "run", "project": "p", "name": "n", "pid": 7}, {"event": "task"}])
    error = in_use(path, resume=resume)
    assert (error.group, error.since.endswith(", pid 7")) == ("p/n", True)
    assert (error.advice == "wait until it has ended") is not resume
    monkeypatch.setattr(module, "lock_holder", lambda path: 7)
    monkeypatch.setattr(processes, "living", lambda path: ["here-8-1-1"])
    assert "pid 8 on another machine (here) shares it" in str(in_use(path, resume=resume))
    monkeypatch.setattr(processes, "living", lambda path: ["here-8-1-1", "here-9-1-1"])
    assert str(in_use(path, resume=resume)).count(" share it") == 1
    log = RunLog.reopen(path)
    error = in_use(path, resume=resume)
    assert "this process has it open" in str(error)
    assert ("takeover=True" in str(error)) is resume
    log.close()
    assert "this process" not in str(in_use(path, resume=resume))


def test_which_pids_are_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_alive(os.getpid())
    assert not any(map(is_alive, (None, "1", 2**22 + 1, 10**30)))

    def refuse(pid: int, signal: int) -> None:
        assert signal == 0
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert is_alive(1)


def test_files_in_a_folder_are_sorted_and_none_elsewhere(tmp_path: Path) -> None:
    for name in "bac":
        (tmp_path / "folder" / name).mkdir(parents=True)
    assert [path.name for path in files_in(tmp_path / "folder")] == ["a", "b", "c"]
    assert files_in(tmp_path / "missing") == []
