"""What earlier runs have left on this disk: records read back, runs found, records held."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._model.metric_data import metrics_to_json
from clearml_taskgroup._model.past import PastRun
from clearml_taskgroup._model.stats import Stats
from clearml_taskgroup._storage import run_log
from clearml_taskgroup._storage.past_runs import (
    abandoned_tasks,
    all_runs,
    find_run,
    find_run_log,
    find_run_logs,
    groups_on_disk,
    is_in_use,
    is_left,
    latest_run,
    load,
    locked,
    process_logs,
    run_logs,
)
from clearml_taskgroup._storage.processes import this_process
from clearml_taskgroup._storage.run_log import RunLog, append, iterate
from clearml_taskgroup._storage.shared_on_disk import SharedOnDisk
from clearml_taskgroup.errors import ArgumentError, RunInUseError, RunLogError

ID = "a" * 32
RUN: dict[str, Any] = {
    "event": "run",
    "group": "0123456789ab",
    "project": "the project",
    "name": "the group",
    "run": ID,
    "number": 1,
    "template": "{metric}",
    "mode": "online",
    "parent": "the-parent",
    "owns_parent": True,
}


def opened(task: str, key: str = "k", attempt: int = 1) -> dict[str, Any]:
    """The line of a task that is opened."""
    facts = {"id": task, "key": key, "name": f"name of {key}", "index": 3, "attempt": attempt}
    return {"event": "task", **facts, "params": {"C": 1}}


def ended(task: str, status: str = "completed", *, settled: bool = True) -> dict[str, Any]:
    """The line of a task that ended."""
    return {"event": "end", "id": task, "status": status, "reason": "because", "settled": settled}


def closed(*, settled: bool = True) -> dict[str, Any]:
    """The line of a run that ended."""
    return {"event": "close", "status": "completed", "reason": "", "settled": settled}


def past_of(folder: Path, *lines: dict[str, Any], number: int = 1) -> PastRun:
    """Writes a record and reads it back."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"run-{number:04}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    past = load(path)
    assert past is not None
    return past


def test_a_record_is_read_back(tmp_path: Path) -> None:
    """Run, tasks in order, their ends and the run's end are what was written."""
    measures = [["loss", {}, [*attrs.astuple(Stats(count=1))], []]]
    lines = (RUN, opened("t1"), opened("t2", "l"), {**ended("t1"), "measures": measures}, closed())
    past = past_of(tmp_path, *lines)
    assert (past.run, past.number, past.mode, past.parent, past.owns_parent) == (
        ID,
        1,
        "online",
        "the-parent",
        True,
    )
    assert list(past.tasks) == ["t1", "t2"]
    first, second = past.tasks.values()
    assert (first.key, first.index, first.attempt, first.params) == ("k", 3, 1, {"C": 1})
    assert (first.status, first.reason, first.delivered, metrics_to_json(first.metrics)) == (
        "completed",
        "because",
        True,
        measures,
    )
    assert (second.status, second.delivered) == (None, False)
    assert (past.status, past.delivered) == ("completed", True)


def test_what_is_no_record_is_none(tmp_path: Path) -> None:
    """A file that ends before its run began, or that has other lines, gives nothing."""
    path = tmp_path / "run-0001.jsonl"
    path.write_text('{"event": "ru')
    assert load(path) is None
    path.write_text('[1]\n{"event": ["run"]}\n{"no": "event"}\n')
    assert load(path) is None


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ({**RUN, "project": None}, "'project' is None"),
        ({**RUN, "run": "../x"}, "'run' is '../x'"),
        ({**RUN, "time": float("nan")}, "'time' is nan"),
        ({name: value for name, value in RUN.items() if name != "template"}, "'run' without 'template'"),
        (opened(".."), "'task' in which 'id' is '..'"),
        (opened("a/b"), "'id' is 'a/b'"),
        (opened("a\0"), "'id' is 'a"),
        ({**opened("t1"), "index": "x" * 1000}, "'index' is 'xxx"),
        ({**opened("t1"), "params": [1]}, "'params' is"),
        ({**ended("t1"), "status": "in_progress"}, "'status' is 'in_progress'"),
        ({**ended("t1"), "measures": {}}, "'measures' is {}"),
        ({**ended("t1"), "measures": [["loss", {}, {"last": "1"}, []]]}, "'measures' is"),
        ({**ended("t1"), "measures": [["loss", {}, ["1"], []]]}, "'measures' is"),
        ({**ended("t1"), "measures": [["loss", {}, [1.0, 2**63], []]]}, "'measures' is"),
        ({**ended("t1"), "measures": [["loss", {}, [True], []]]}, "'measures' is"),
        ({**ended("t1"), "measures": [["loss", {}, [1.0] * 15, []]]}, "'measures' is"),
        ({**ended("t1"), "measures": [["loss", {}, [1.0], ["ab"]]]}, "'measures' is"),
        ({**ended("t1"), "measures": [[1, {}, [1.0], []]]}, "'measures' is"),
        ({**ended("t1"), "measures": [["loss", {"split": {}}, {}, []]]}, "'measures' is"),
        ({**ended("t1"), "measures": [["loss", {}, {}, [["a"]]]]}, "'measures' is"),
        ({"event": "uploaded", "id": "t1", "to": "../t2"}, "'to' is '../t2'"),
        ({**closed(), "reason": "\ud800"}, "'reason' is"),
    ],
)
def test_an_odd_line_is_an_error_that_names_it(tmp_path: Path, line: dict[str, Any], named: str) -> None:
    """A line that no group writes makes the log unusable; the error says which, and what to do."""
    with pytest.raises(RunLogError) as raised:
        past_of(tmp_path, RUN, opened("t1"), line)
    assert named in str(raised.value)
    assert str(tmp_path / "run-0001.jsonl") in str(raised.value)
    assert len(str(raised.value)) <= 500


def test_a_log_without_its_beginning_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunLogError, match="begins with a line 'task', not with 'run'"):
        past_of(tmp_path, opened("t1"), RUN)


def test_one_odd_log_hides_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where all runs are read, the odd one is skipped, and named once."""
    good = past_of(tmp_path / "0123456789ab", RUN, number=1)
    with pytest.raises(RunLogError):
        past_of(tmp_path / "0123456789ab", {**RUN, "number": None}, number=2)
    for _ in range(2):
        assert [past.path for past in all_runs(tmp_path)] == [good.path]
    (record,) = caplog.records
    assert "skipped: the run log" in record.getMessage()
    assert "run-0002.jsonl" in record.getMessage()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_or_a_device_is_no_run_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The one would be waited for without end, the other has none: both are named and skipped."""
    folder = tmp_path / "taskgroup" / "group"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "run-0001.jsonl")
    (folder / "run-0002.jsonl").symlink_to(os.devnull)
    (folder / "run-0003.jsonl").symlink_to("missing")
    (folder / "run-0004.jsonl").mkdir()
    assert all_runs(tmp_path / "taskgroup") == []
    assert groups_on_disk(tmp_path / "taskgroup") == []
    assert caplog.text.count("not a regular file") == 2
    assert all(f"run-000{number}" in caplog.text for number in (1, 2, 3, 4))


def test_a_whole_line_behind_a_torn_one_is_read(tmp_path: Path) -> None:
    """Earlier versions wrote the next line on a line that a full disk had cut short."""
    path = past_of(tmp_path, RUN).path
    torn, whole = json.dumps(opened("t1"))[:70], json.dumps(opened("t2", 'a "key"', 2))
    path.write_text(f"{json.dumps(RUN)}\n{torn}{whole}\n{torn}\n")
    past = load(path)
    assert past is not None
    assert [*past.tasks] == ["t2"]


def test_only_names_of_run_logs_are_run_logs(tmp_path: Path) -> None:
    past = past_of(tmp_path, RUN, number=1)
    for name in ("run-*.jsonl", "run-1x.jsonl", "run-.jsonl", "run-0001.jsonl.bak", "run-².jsonl"):
        (tmp_path / name).write_text(past.path.read_text())
    assert run_logs(tmp_path) == [past.path]


def test_an_unknown_task_and_an_unknown_line_are_passed_over(tmp_path: Path) -> None:
    """Lines of a newer version, and ends of tasks that were never opened, do no harm."""
    past = past_of(tmp_path, RUN, {"event": "news"}, ended("ghost"), {"event": "settled", "id": "ghost"})
    assert past.tasks == {}


def test_a_resumed_run_is_open_again(tmp_path: Path) -> None:
    """A second `run` line takes the end back and may bring another parent."""
    again = {**RUN, "parent": "another", "owns_parent": False}
    past = past_of(tmp_path, RUN, closed(), {"event": "uploaded"}, again)
    assert (past.status, past.delivered, past.uploaded) == (None, False, False)
    assert (past.parent, past.owns_parent) == ("another", False)


def test_a_task_that_is_gone_on_with_is_open_again(tmp_path: Path) -> None:
    """Opening a known task takes its end and its upload back, and keeps its values."""
    uploaded = {"event": "uploaded", "id": "t1", "to": "there"}
    end = {**ended("t1", "failed"), "measures": [["loss", {}, {}]]}
    before = past_of(tmp_path, RUN, opened("t1"), end, uploaded)
    assert before.tasks["t1"].uploaded == "there"
    task = past_of(tmp_path, RUN, opened("t1"), end, uploaded, opened("t1")).tasks["t1"]
    assert (task.status, task.delivered, task.uploaded) == (None, False, "")
    assert [*task.metrics] == [("loss", ())]


def test_the_latest_attempt_of_each_key_counts(tmp_path: Path) -> None:
    """Of several attempts the one with the highest number is the latest, whatever the order."""
    past = past_of(tmp_path, RUN, opened("t2", "k", 2), opened("t1", "k", 1), opened("u1", "l"))
    assert {key: task.id for key, task in past.latest().items()} == {"k": "t2", "l": "u1"}


@pytest.mark.parametrize(
    ("lines", "waits"),
    [
        pytest.param((), True, id="not closed"),
        pytest.param((opened("t1"), ended("t1"), closed()), False, id="all told"),
        pytest.param((opened("t1"), ended("t1", settled=False), closed()), True, id="an end not told"),
        pytest.param((opened("t1"), closed()), True, id="abandoned"),
        pytest.param((closed(settled=False),), True, id="the parent's end not told"),
        pytest.param((opened("t1"), closed(), {"event": "settled", "id": "t1"}), False, id="told later"),
        pytest.param((closed(settled=False), {"event": "uploaded"}), False, id="uploaded"),
        pytest.param((closed(), {"event": "uploaded"}, RUN), True, id="resumed since"),
    ],
)
def test_what_an_online_run_waits_for(tmp_path: Path, lines: tuple[dict[str, Any], ...], waits: bool) -> None:
    """An online run waits for an upload while the server was not told how it all ended."""
    assert past_of(tmp_path, RUN, *lines).is_pending is waits


def test_an_outbox_waits(tmp_path: Path) -> None:
    """An online run that left events behind waits, however it ended."""
    past = past_of(tmp_path, RUN, closed())
    past.outbox.touch()
    assert past.is_pending
    assert past.outbox == tmp_path / "run-0001.outbox"


def test_an_offline_run_waits_until_it_is_uploaded(tmp_path: Path) -> None:
    """Offline, an end on disk is not enough: nothing is on a server before an upload."""
    lines = ({**RUN, "mode": "offline"}, opened("t1"), ended("t1"), closed())
    assert past_of(tmp_path, *lines).is_pending
    assert not past_of(tmp_path, *lines, {"event": "uploaded"}).is_pending
    assert not past_of(tmp_path, lines[0], closed()).is_pending  # nothing was ever opened


def test_records_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """Run 10 000 comes after run 9 999, as its name does not."""
    for number in (10_000, 9_999, 1):
        past_of(tmp_path, {**RUN, "number": number}, number=number)
    (tmp_path / "run-0001.upload").touch()
    found = [load(path) for path in run_logs(tmp_path)]
    assert [past.number for past in found if past is not None] == [1, 9_999, 10_000]


def test_the_latest_run_is_one_of_the_same_mode(tmp_path: Path) -> None:
    """Online runs are not gone on with offline; a record without a run is passed over."""
    past_of(tmp_path, {**RUN, "mode": "offline", "run": "b" * 32}, number=1)
    past_of(tmp_path, RUN, number=2)
    (tmp_path / "run-0003.jsonl").touch()
    for mode, run in (("offline", "b" * 32), ("online", ID)):
        past = latest_run(tmp_path, mode)
        assert past is not None
        assert past.run == run
    assert latest_run(tmp_path / "nowhere", "offline") is None


def test_a_run_is_found_by_all_its_names(tmp_path: Path) -> None:
    """By path, id, first digits, parent and, for the latest, the group's id."""
    folder = tmp_path / "0123456789ab"
    first = past_of(folder, RUN, number=1)
    second = past_of(folder, {**RUN, "run": "b" * 32, "parent": "p2"}, number=2)
    assert [past.run for past in all_runs(tmp_path)] == [first.run, second.run]
    for wanted, past in (
        (first.path, first),
        (str(second.path), second),
        (ID, first),
        (ID[:6], first),
        ("the-parent", first),
        ("p2", second),
        ("0123456789ab", second),
    ):
        assert find_run(tmp_path, wanted).path == past.path


@pytest.mark.parametrize("wanted", ["c" * 32, ID[:5], "", "nowhere/run-0001.jsonl"])
def test_a_run_that_is_not_there_is_named(tmp_path: Path, wanted: str) -> None:
    """An unknown id, too few digits or a wrong path is an error that says where was looked."""
    past_of(tmp_path / "0123456789ab", RUN)
    with pytest.raises(ArgumentError, match="below ") as raised:
        find_run(tmp_path, wanted)
    assert repr(wanted) in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_a_file_that_is_no_record_is_refused(tmp_path: Path) -> None:
    """A path to some other file is no run."""
    other = tmp_path / "notes.txt"
    other.write_text("nothing of a run\n")
    with pytest.raises(ArgumentError):
        find_run(tmp_path, other)


def test_one_process_holds_a_record(tmp_path: Path) -> None:
    """While a record is open, or held, nobody else gets it; then it is free."""
    record = RunLog.start(tmp_path)
    with pytest.raises(RunInUseError, match=r"run-0001\.jsonl"), locked(record.path):
        pass
    record.close()
    with locked(record.path):
        with pytest.raises(RunInUseError):
            RunLog.reopen(record.path)
    RunLog.reopen(record.path).close()


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="the system does not tell who holds a lock")
def test_the_error_names_the_process_that_holds_a_run_that_is_just_being_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the log has a line of it; the last line is of a process that is gone, or another program."""
    record = RunLog.start(tmp_path)
    for gone in (2**22 + 1, 1):
        record.write([{"event": "run", "project": "a", "name": "b", "pid": gone}])
        with pytest.raises(RunInUseError, match=r"call group\.close\(\) first$"), locked(record.path):
            pass
        with monkeypatch.context() as patch, pytest.raises(RunInUseError, match=f", pid {os.getpid()}; wait"):
            patch.setattr(run_log, "_open_logs", set())  # as another process sees it
            locked(record.path).__enter__()
    record.close()


def test_an_upload_names_the_processes_that_share_the_run(tmp_path: Path) -> None:
    path = past_of(tmp_path, RUN).path
    shared = SharedOnDisk(path, this_process())
    shared.join()
    with pytest.raises(RunInUseError, match=f"in use: pid {os.getpid()} on this machine shares it; wait"):
        with locked(path):
            pass
    shared.leave()


def test_holding_a_record_ends_a_torn_line(tmp_path: Path) -> None:
    """What is appended after a crash stands on a line of its own."""
    path = past_of(tmp_path, RUN).path
    with path.open("a") as file:
        file.write('{"event": "task", "na')
    with locked(path):
        append(path, [{"event": "uploaded"}])
    with locked(path):
        pass
    assert [line["event"] for line in iterate(path)] == ["run", "uploaded"]
    assert path.read_text().count("\n") == 3


def test_a_real_group_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a group writes is what `load` reads: keys, statuses, values, the end."""
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path))
    with TaskGroup("the project", "the group", mode="offline", provenance=False) as group:
        task = group.task({"C": 1})
        task.report({"loss": 0.5}, 1, split="val")
        group.task({"C": 2}).mark_failed("bad")
    (past,) = all_runs(tmp_path / "taskgroup")
    assert (past.path, past.run, past.status, past.delivered) == (
        group.record_path,
        group.run,
        "completed",
        True,
    )
    assert [(t.status, t.delivered) for t in past.tasks.values()] == [("completed", True), ("failed", True)]
    ((key, data),) = past.tasks[task.id].metrics.items()
    assert str(key) == "loss[split=val]"
    assert (data.names, data.stats.last, data.stats.count) == ((("loss", "val"),), 0.5, 1)
    assert os.path.exists(past.path)


OLD_LOG = """\
{"event": "run", "group": "0123456789ab", "project": "p", "name": "g", "run": "RUN", "number": 1, "template": "{metric}/{split=value}", "metrics": null, "mode": "offline", "parent": null, "owns_parent": false, "pid": 1, "time": 1.0}
{"event": "task", "id": "t1", "key": "k1", "name": "C=1", "index": 0, "attempt": 1, "params": {"C": 1}, "time": 2.0}
{"event": "task", "id": "t2", "key": "k2", "name": "C=2", "index": 1, "attempt": 1, "params": {"C": 2}, "time": 2.0}
{"event": "guest", "guest": "w1", "id": "t2", "key": "k2", "host": "h", "pid": 2, "time": 3.0}
{"event": "told", "guest": "w1", "id": "t2", "key": "k2", "facts": "gASVAAAAAA==", "status": "failed", "reason": "bad", "measures": [["loss", {"flag": [true]}, LOSS, [["loss", "True"]]]], "time": 4.0}
{"event": "end", "id": "t1", "key": "k1", "status": "completed", "reason": "", "duration": 1.5, "params": {"C": 1}, "points": 3, "left_out": 0, "settled": true, "measures": [["loss", {"split": "val"}, LOSS, [["loss", "val"]]], ["acc", {}, CURVE, [["acc", "value"]]], ["acc", {}, SINGLE, [["Summary", "acc"]]]], "time": 5.0}
"""  # noqa: E501
LOSS = {
    "first": 2.0,
    "first_iteration": 0,
    "last": 0.5,
    "last_iteration": 2,
    "min": 0.5,
    "min_iteration": 2,
    "max": 2.0,
    "max_iteration": 0,
    "total": 3.5,
    "count": 3,
    "single": False,
}
SINGLE = dict.fromkeys(LOSS) | {
    "first": 7,
    "last": 7,
    "min": 7,
    "max": 7,
    "total": 7,
    "count": 1,
    "single": True,
}


def test_a_run_log_of_version_0_1_is_read(tmp_path: Path) -> None:
    """Lines of ended tasks and of workers keep their form; a curve and its single value are one metric."""
    text = OLD_LOG.replace("RUN", ID)
    for name, stats in (("LOSS", LOSS), ("CURVE", LOSS), ("SINGLE", SINGLE)):
        text = text.replace(f", {name}, ", f", {json.dumps(stats)}, ")
    path = tmp_path / "run-0001.jsonl"
    path.write_text(text)
    past = load(path)
    assert past is not None
    first, second = past.tasks.values()
    assert [task.final_status() for task in (first, second)] == [("completed", ""), ("failed", "bad")]
    read = {**LOSS, "end": 2, "exact": False, "ordered": True}  # an iteration may have been counted twice
    both = {**read, "last": 7, "last_iteration": None, "single": True}
    loss, acc = [*read.values()], [*both.values()]
    assert json.loads(json.dumps(metrics_to_json(first.metrics))) == [
        ["loss", {"split": "val"}, loss, [["loss", "val"]]],
        ["acc", {}, acc, [["acc", "value"], ["Summary", "acc"]]],
    ]
    assert [*second.metrics] == [("loss", (("flag", (True,)),))]
    assert json.loads(json.dumps(metrics_to_json(second.metrics))) == [
        ["loss", {"flag": [True]}, loss, [["loss", "True"]]]
    ]


def test_a_script_is_that_of_the_process_that_opened_the_task(tmp_path: Path) -> None:
    """It may be logged after the task has ended, or after the run was resumed with another script."""
    first, second = {"entry_point": "first.py"}, {"entry_point": "second.py"}
    past = past_of(
        tmp_path,
        {**RUN, "pid": 1},
        opened("one"),
        {**RUN, "pid": 2},
        opened("two", "l"),
        {"event": "script", "pid": 1, "script": first},
        {"event": "script", "pid": 2, "script": second},
        {"event": "script", "pid": 3, "script": None},
    )
    assert [past.script_of(task) for task in ("one", "two", "the-parent")] == [first, second, first]


def test_without_a_script_there_is_none(tmp_path: Path) -> None:
    """The process may have been killed before it was known; older logs have no such lines."""
    past = past_of(tmp_path, {**RUN, "pid": 1}, opened("one"))
    assert [past.script_of(task) for task in ("one", "the-parent")] == [None, None]


@pytest.mark.parametrize("line", [{"pid": "1", "script": {}}, {"pid": 1}, {"pid": 1, "script": [1]}])
def test_a_script_that_no_group_writes_is_refused(tmp_path: Path, line: dict[str, Any]) -> None:
    """As any other line."""
    with pytest.raises(RunLogError, match="'script'"):
        past_of(tmp_path, RUN, {"event": "script", **line})


def test_a_shared_run_is_read_from_the_logs_of_all_of_its_processes_or_of_one(tmp_path: Path) -> None:
    """In the order of time: a process may have continued what another one began."""
    path = past_of(tmp_path, RUN).path
    for process, lines in {
        "p1": [{**RUN, "time": 1}, {**opened("a"), "time": 2}, {**ended("a", "failed"), "time": 5}],
        "p2": [{**RUN, "time": 3}, {**opened("b", "l"), "time": 4}, {**opened("a"), "time": 6}],
    }.items():
        log = path.with_suffix(f".{process}.jsonl")
        log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    past = load(path)
    assert past is not None
    assert {task.id: (task.process, task.status) for task in past.tasks.values()} == {
        "a": ("p2", None),
        "b": ("p2", None),
    }
    first = load(path, only="p1")
    assert first is not None
    assert {task.id: (task.process, task.status) for task in first.tasks.values()} == {"a": ("p1", "failed")}
    assert load(path, only="p3") is None


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], (None, "", False, "")),
        ([ended("t1")], ("completed", "because", True, "")),
        ([{**ended("t1", settled=False)}], ("completed", "because", False, "")),
        ([{"event": "told", "id": "t1", "status": "failed"}], ("failed", "", False, "")),
        ([{"event": "told", "id": "t1", "status": "failed", "reason": "why"}], ("failed", "why", False, "")),
        ([{"event": "told", "id": "t1", "reason": "why"}], (None, "", False, "")),
        ([{"event": "settled", "id": "t1", "status": "stopped"}], ("stopped", "", True, "")),
        (
            [ended("t1"), {"event": "settled", "id": "t1", "status": "failed", "reason": "why"}],
            ("failed", "why", True, ""),
        ),
        ([ended("t1"), {"event": "settled", "id": "t1"}], ("completed", "because", True, "")),
        ([ended("t1"), {"event": "uploaded", "id": "t1", "to": "s1"}], ("completed", "because", True, "s1")),
        ([ended("t1"), {"event": "uploaded", "id": "t1"}], ("completed", "because", True, "")),
    ],
)
def test_how_a_task_stands(
    tmp_path: Path, lines: list[dict[str, Any]], expected: tuple[str | None, str, bool, str]
) -> None:
    """The latest line that says so counts."""
    past = past_of(tmp_path, RUN, opened("t1"), *lines)
    task = past.tasks["t1"]
    assert (task.status, task.reason, task.delivered, task.uploaded) == expected
    assert not past.uploaded
    assert task.status_there == ("completed" if lines[-1:] and lines[-1]["event"] == "uploaded" else None)


def test_what_a_task_is_told_of_is_kept(tmp_path: Path) -> None:
    """Parameters join those before, those of an end replace them; names and skipped values are added."""
    loss = ["loss", {}, [1.0], [["loss", "value"]]]
    lines = [
        {**opened("t1"), "session": 2, "time": 5.0},
        {"event": "params", "id": "t1", "params": {"lr": 1}},
        {"event": "names", "id": "t1", "names": [["title", "series", "loss", {"fold": 1}]]},
        {"event": "skipped", "id": "t1", "series": ["accuracy", {}, 2, 7, False]},
        {"event": "told", "id": "t1", "status": "completed", "measures": [loss]},
        {"event": "told", "id": "t1", "measures": [["ignored", {}, [1.0], []]]},
    ]
    first = past_of(tmp_path, {**RUN, "pid": 7, "time": 1.0}, *lines)
    task = first.tasks["t1"]
    assert (task.params, task.session, task.opened, task.opener) == ({"C": 1, "lr": 1}, 2, 5.0, ("", 7))
    assert [*task.ambiguous] == [("title", "series")]
    assert sorted(str(key) for key in task.metrics) == ["accuracy", "loss"]
    assert first.started == 1.0
    end = {**ended("t1"), "params": {"all": 1}, "duration": 2.5, "measures": [loss]}
    task = past_of(tmp_path, RUN, *lines, end).tasks["t1"]
    assert (task.params, task.duration, [*task.metrics]) == ({"all": 1}, 2.5, [("loss", ())])
    task = past_of(tmp_path, RUN, *lines, end, ended("t1")).tasks["t1"]
    assert (task.params, task.duration, task.metrics) == ({"all": 1}, 2.5, {})


def test_which_tasks_were_about_to_be_opened_and_which_the_latest_process_opened(tmp_path: Path) -> None:
    opening = {"event": "opening", "key": "k", "attempt": 2}
    past = past_of(tmp_path, RUN, opened("t1"), opening, RUN, opened("t2", "l"), opened("t1"))
    assert past.opening == {("k", 2)}
    assert past.opened_since_resume == {"t1", "t2"}
    assert past_of(tmp_path, RUN, opened("t1"), RUN).opened_since_resume == set()


def test_a_completed_task_that_was_opened_again_was_completed(tmp_path: Path) -> None:
    """What it has counts, should the process die; once it has ended anew, that counts."""
    again = [RUN, opened("t1"), ended("t1"), opened("t1")]
    assert past_of(tmp_path, *again).tasks["t1"].final_status() == ("completed", "")
    failed = past_of(tmp_path, *again, ended("t1", "failed")).tasks["t1"]
    assert (failed.was_completed, failed.final_status()) == (False, ("failed", "because"))
    assert (
        not past_of(tmp_path, RUN, opened("t1"), ended("t1", "failed"), opened("t1"))
        .tasks["t1"]
        .was_completed
    )


def test_a_run_without_a_word_on_delivery_was_delivered(tmp_path: Path) -> None:
    """As earlier versions closed it."""
    line = {name: value for name, value in closed().items() if name != "settled"}
    assert past_of(tmp_path, RUN, line).delivered


def test_lines_without_a_time_come_first(tmp_path: Path) -> None:
    path = past_of(tmp_path, RUN).path
    lines = [{**opened("a"), "time": 1}, {**ended("a"), "time": 2}, {**RUN, "time": "odd"}]
    log = path.with_suffix(".p1.jsonl")
    log.write_text("".join(json.dumps(line) + "\n" for line in (RUN, *lines[:2])))
    past = load(path)
    assert past is not None
    assert past.tasks["a"].status == "completed"
    assert process_logs(path) == {"p1": log}
    assert process_logs(log) == {}


def test_of_several_empty_runs_the_latest_one_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """If one before them has tasks, it is that, and a log line names those that were passed over."""
    caplog.set_level("INFO", logger="clearml_taskgroup")
    for number in (2, 3):
        past_of(tmp_path, {**RUN, "number": number}, number=number)
    past = latest_run(tmp_path)
    assert past is not None
    assert (past.number, caplog.records) == (3, [])
    past_of(tmp_path, RUN, opened("t1"), number=1)
    past = latest_run(tmp_path)
    assert past is not None
    assert past.number == 1
    text = "each of the runs 2, 3 of the project/the group has no tasks; the latest run with tasks is run 1"
    assert [record.getMessage() for record in caplog.records] == [text]
    past_of(tmp_path, {**RUN, "number": 2}, opened("t1"), number=2)
    past = latest_run(tmp_path)
    assert past is not None
    assert past.number == 2
    assert caplog.records[1].getMessage().startswith("run 3 of the project/the group has no tasks")
    assert len(caplog.records) == 2
    assert latest_run(tmp_path, "offline") is None


def test_run_logs_of_one_run(tmp_path: Path) -> None:
    """A run has one for each process that has opened it on a server."""
    paths = [past_of(tmp_path, RUN, number=number).path for number in (1, 2)]
    past_of(tmp_path, {**RUN, "run": "b" * 32}, number=3)
    assert (find_run_logs(tmp_path, ID), find_run_log(tmp_path, ID)) == (paths, paths[1])
    assert (find_run_logs(tmp_path, "c" * 32), find_run_log(tmp_path, "c" * 32)) == ([], None)


def test_groups_on_disk_are_named_once(tmp_path: Path) -> None:
    """By the latest run log of each folder, as it says; a log without a name has no group."""
    for folder, name in (("a" * 12, "one"), ("b" * 12, "two"), ("c" * 12, "one")):
        past_of(tmp_path / folder, {**RUN, "name": "before"}, number=1)
        past_of(tmp_path / folder, {**RUN, "name": name}, number=2)
    (tmp_path / ("d" * 12)).mkdir()
    (tmp_path / ("d" * 12) / "run-0001.jsonl").write_text('{"event": "run", "project": "p"}\n')
    assert groups_on_disk(tmp_path) == [("the project", "one"), ("the project", "two")]


def test_the_log_of_an_agents_task_comes_after_that_of_the_run(tmp_path: Path) -> None:
    """Whichever is the latest; a text of `run=` finds the run as well."""
    folder = tmp_path / "0123456789ab"
    whole = past_of(folder, {**RUN, "shared": "job 7"}, number=1)
    agent = past_of(folder, {**RUN, "mode": "agent", "parent": "p2"}, number=2)
    assert find_run(tmp_path, ID).path == find_run(tmp_path, "job 7").path == whole.path
    assert find_run(tmp_path, "p2").path == agent.path


def test_which_runs_are_in_use(tmp_path: Path) -> None:
    path = past_of(tmp_path, RUN).path
    assert not is_in_use(path)
    log = RunLog.reopen(path)
    assert is_in_use(path)
    log.close()
    assert not is_in_use(path)
    shared = SharedOnDisk(path, this_process())
    shared.join()
    assert is_in_use(path)
    shared.leave()
    assert not is_in_use(tmp_path / "missing.jsonl")


def test_tasks_of_a_process_that_died_are_abandoned(tmp_path: Path) -> None:
    """Not those that ended, or wait for an agent; nor any of a run that is closed, or that goes on."""
    lines = [RUN, opened("t1"), opened("t2"), ended("t2"), opened("t3")]
    past = past_of(tmp_path, *lines)
    past.tasks["t3"].submitted = "a sweep"
    assert abandoned_tasks(past) == {"t1"}
    log = RunLog.reopen(past.path)
    assert abandoned_tasks(past) == frozenset()
    log.close()
    past.mode = "agent"
    assert abandoned_tasks(past) == frozenset()
    assert abandoned_tasks(past_of(tmp_path, *lines, closed())) == frozenset()
    assert abandoned_tasks(past_of(tmp_path, *lines, {"event": "uploaded"})) == frozenset()


def test_a_task_of_a_shared_run_is_left_by_its_own_process(tmp_path: Path) -> None:
    """While others are in the run."""
    past = past_of(tmp_path, RUN, opened("t1"), opened("t2", "l"), opened("t3", "m"), ended("t3"))
    alive = SharedOnDisk(past.path, this_process())
    alive.join()
    for task, process in zip(past.tasks.values(), ("dead-1-1-1", alive.process, "dead-1-1-1"), strict=True):
        task.process = process
    assert [is_left(past, task) for task in past.tasks.values()] == [True, False, False]
    assert abandoned_tasks(past) == {"t1"}
    past.tasks["t1"].process = ""
    assert not is_left(past, past.tasks["t1"])
    alive.leave()
