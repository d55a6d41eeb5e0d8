"""The run's record on disk: its lines, its number, what happens when the disk refuses."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest

from clearml_taskgroup._storage.past_runs import locked
from clearml_taskgroup._storage.run_log import RunLog, files_beside, iterate, run_number
from clearml_taskgroup.errors import StoreError
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


@pytest.mark.parametrize(("name", "number"), [("run-0012.jsonl", 12), ("run-12345.jsonl", 12345)])
def test_a_records_number_is_in_its_name(name: str, number: int) -> None:
    """The number is read from the name, however many digits it has."""
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
