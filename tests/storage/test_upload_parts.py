"""What an upload finds missing, sets and notes: its single steps, without a server."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._clearml.api_errors import Unreachable
from clearml_taskgroup._clearml.notes import NAMES_ENTRY, SERIES_ENTRY
from clearml_taskgroup._model.metric_data import MetricData
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._model.name_template import Name
from clearml_taskgroup._model.past import PastRun, PastTask
from clearml_taskgroup._model.specs import Ending
from clearml_taskgroup._model.stats import Stats
from clearml_taskgroup._storage import upload as module
from clearml_taskgroup._storage.outbox import Outbox
from clearml_taskgroup._storage.upload_session import Session
from clearml_taskgroup.errors import ArgumentError, LoginError, ServerError

TEMPLATE = "{metric}/{split=value}"
LOSS, ACCURACY = MetricKey("loss", ()), MetricKey("accuracy", ())


def a_task(number: int = 1, **fields: Any) -> PastTask:
    return PastTask(f"t{number}", f"key {number}", f"C={number}", number, 1, {}, **fields)


def a_run(tmp_path: Path, *tasks: PastTask, **fields: Any) -> PastRun:
    path = tmp_path / "run-0001.jsonl"
    values: dict[str, Any] = {"parent": "p", "owns_parent": True, **fields}
    known = {task.id: task for task in tasks}
    return PastRun(path, "g" * 12, "project", "group", "r", 1, TEMPLATE, "online", tasks=known, **values)


def as_session(**fields: Any) -> Any:
    return SimpleNamespace(folder=Path("/s"), data={"name": "a task"}, missing=[], **fields)


# --- what is missing -----------------------------------------------------------------------------


def lost(monkeypatch: pytest.MonkeyPatch, past: PastRun, closed: list[str]) -> str:
    """What is said of tasks without an end, where these processes have closed the group."""

    def load(path: Path, only: str | None) -> Any:
        assert only != ""
        return SimpleNamespace(status="completed" if (only or "") in closed else None)

    monkeypatch.setattr(module, "load", load)
    return " ".join(map(str, module._lost_ends(past)))


def test_tasks_without_an_end_are_named_if_their_process_closed_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not those that have ended, or that an earlier process has opened."""
    tasks = [a_task(1, process="p1"), a_task(2, process="p2"), a_task(3, process="p1", status="failed")]
    past = a_run(tmp_path, *tasks, a_task(4, process="p1"))
    past.opened_since_resume = {"t1", "t2", "t3"}
    assert "does not say how 1 task (C=1) ended" in lost(monkeypatch, past, ["p1"])
    assert "how 2 tasks (C=1, C=2) ended" in lost(monkeypatch, past, ["p1", "p2"])
    assert lost(monkeypatch, past, []) == ""
    alone = a_run(tmp_path, a_task(1))
    alone.opened_since_resume = {"t1"}
    assert "1 task (C=1)" in lost(monkeypatch, alone, [""])


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ([], None),
        (["a"], "1 file of 'a task' is not in /s (a)"),
        (["a", "b"], "2 files of 'a task' are not in /s (a, b)"),
    ],
)
def test_files_that_are_missing_are_named(tmp_path: Path, missing: list[str], expected: str | None) -> None:
    session = as_session()
    session.missing = missing
    problems = [str(problem) for problem in module._missing_files(a_run(tmp_path), session)]
    assert problems == [] if expected is None else expected in problems[0]


def test_a_published_task_and_a_lost_session_are_named(tmp_path: Path) -> None:
    assert "'C=1' was published" in str(module._published(a_task(), as_session()))
    text = str(module._lost_session(a_run(tmp_path), a_task(), Path("/sessions")))
    assert "names the task 'C=1', but /sessions/t1 is not there, or is not its session" in text


# --- what is noted and set -----------------------------------------------------------------------


def test_what_events_do_not_say_is_noted_with_the_task() -> None:
    """With the id that it has on the server."""
    backend: Any = Mock()
    task = a_task(ambiguous={Name("t1 title", "series"): LOSS})
    module._annotate(backend, task, "there", {LOSS: MetricData(Stats(count=1), skipped=2)})
    ((task_id, section, runtime),) = (call.args for call in backend.annotate.call_args_list)
    assert task_id == "there"
    assert json.loads(section[NAMES_ENTRY]) == [["there title", "series", "loss", {}]]
    assert json.loads(runtime[SERIES_ENTRY])["skipped"][0][:3] == ["loss", {}, 2]
    module._annotate(backend, a_task(ambiguous={Name("a", "b"): LOSS}), "there", {})
    assert (len(backend.annotate.call_args.args[1]), backend.annotate.call_args.args[2]) == (1, {})
    module._annotate(backend, a_task(), "there", {LOSS: MetricData(skipped=2)})
    assert (backend.annotate.call_args.args[1], len(backend.annotate.call_args.args[2])) == ({}, 1)
    module._annotate(backend, a_task(), "there", {LOSS: MetricData(Stats(count=1))})
    assert backend.annotate.call_count == 3


def test_metrics_of_a_task_whose_process_died_are_read_from_its_events(tmp_path: Path) -> None:
    """With what was skipped of them; those of a task that ended are in the run log."""
    fields = {"type": "training_stats_scalar", "task": "t1", "metric": "loss", "variant": "value"}
    events = [{**fields, "value": 0.5, "iter": step} for step in range(3)]
    session: Any = SimpleNamespace(events=lambda: iter(events))
    logged = {LOSS: MetricData(Stats(count=7), skipped=1), ACCURACY: MetricData(skipped=2)}
    ended = a_task(status="completed", metrics=logged)
    assert module._stored_metrics(a_run(tmp_path), ended, session) is logged
    found = module._stored_metrics(a_run(tmp_path), a_task(metrics=logged), session)
    assert {key: (data.stats.count, data.skipped) for key, data in found.items()} == {
        LOSS: (3, 1),
        ACCURACY: (0, 2),
    }


@pytest.mark.parametrize(
    ("error", "is_raised"),
    [
        (None, False),
        (Unreachable("away"), True),
        (LoginError("no", "http://s"), True),
        (ServerError("no"), False),
    ],
)
def test_a_status_that_a_server_refuses_is_a_problem_and_one_that_is_away_ends_the_upload(
    error: Exception | None, is_raised: bool
) -> None:
    backend: Any = Mock()
    backend.finish.return_value = {} if error is None else {"a": error}
    if is_raised:
        with pytest.raises((Unreachable, LoginError)):
            module._set_status(backend, "a", "failed", "why")
        return
    assert module._set_status(backend, "a", "failed", "why") == ([] if error is None else [error])
    backend.finish.assert_called_with([Ending("a", "failed", "why")], module.STATUS_TIMEOUT_S)
    backend.remember_name.assert_called_with("a", "a")
    module._set_status(backend, "a", "completed", "why", name="C=1")
    backend.finish.assert_called_with([Ending("a", "completed", "")], module.STATUS_TIMEOUT_S)
    backend.remember_name.assert_called_with("a", "C=1")


@pytest.mark.parametrize(
    ("is_last", "statuses", "is_set"),
    [(True, ["in_progress"], True), (True, ["completed"], False), (True, [], True), (False, [], False)],
)
def test_the_last_process_of_a_shared_run_ends_its_parent_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_last: bool, statuses: list[str], is_set: bool
) -> None:
    backend: Any = Mock()
    backend.finish.return_value = {}
    shared = Mock()
    shared.leave.return_value = is_last
    monkeypatch.setattr(module, "join_on_server", lambda *_: shared)
    documents = [{"id": "p", "status": status} for status in statuses]
    monkeypatch.setattr(module, "query_by_id", lambda *_: documents)
    assert module._end_parent(a_run(tmp_path, shared="job"), "p", backend) == []
    assert (backend.finish.call_count, shared.ended.call_count) == (int(is_set), int(is_last))
    module._end_parent(a_run(tmp_path, status="failed", reason="why"), "p", backend)
    backend.finish.assert_called_with([Ending("p", "failed", "why")], module.STATUS_TIMEOUT_S)
    assert shared.leave.call_count == 1


def test_what_waits_in_an_outbox_is_delivered_before_what_was_refused(tmp_path: Path) -> None:
    """In its order; without an outbox, there is still the latter."""
    past = a_run(tmp_path)
    done: list[Any] = []
    sender = SimpleNamespace(send_all=lambda batch: done.append(dict(batch)))
    sender.retry_refused = lambda: done.append(sender.refused_path)
    backend: Any = SimpleNamespace(batch_sender=sender)
    module.deliver_outbox(past, backend)
    assert done == [past.refused]
    outbox = Outbox.open(past.outbox)
    outbox.append({"a": ['{"task":"a"}']})
    outbox.close()
    module.deliver_outbox(past, backend)
    assert done[1:] == [{"a": ['{"task":"a"}']}, past.refused]
    assert not past.outbox.exists()


# --- whole runs ----------------------------------------------------------------------------------


def test_a_file_that_is_no_run_log_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk, "task_mode", lambda: "online")
    (tmp_path / "notes.jsonl").touch()
    with pytest.raises(ArgumentError, match="a run log"):
        module.upload(tmp_path / "notes.jsonl")


def uploaded(
    monkeypatch: pytest.MonkeyPatch, past: PastRun, there: dict[str, str]
) -> tuple[module.Uploaded, list[Any], list[Any]]:
    """Uploads what is left of an online run; gives the statuses that were set, and the progress."""
    ended: list[Any] = []
    progress: list[Any] = []

    def finish(endings: list[Ending], timeout: float) -> dict[str, Exception]:
        ended.extend(endings)
        return {}

    backend: Any = Mock(adopted={}, finish=finish)
    backend.delivery_errors.return_value = []
    documents = {task_id: {"id": task_id, "status": status} for task_id, status in there.items()}
    monkeypatch.setattr(module, "run_tasks", lambda *_: documents)
    past.path.touch()
    found = module._upload_online(past, backend, lambda *news: progress.append(news))
    return found, ended, progress


def test_ends_that_a_server_was_not_told_are_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of tasks that have ended there as they did here, or that ended there while they were open here."""
    tasks = [
        a_task(1, status="completed", delivered=True),
        a_task(2, status="completed"),
        a_task(3, status="failed", reason="why"),
        a_task(4, status="completed"),
        a_task(5),
        a_task(6),
    ]
    there = {"t2": "completed", "t3": "completed", "t4": "in_progress", "t5": "stopped", "t6": "in_progress"}
    past = a_run(tmp_path, *tasks, status="completed")
    found, ended, progress = uploaded(monkeypatch, past, there)
    assert [(ending.task_id, ending.status) for ending in ended] == [
        ("t3", "failed"),
        ("t4", "completed"),
        ("t6", "stopped"),
        ("p", "completed"),
    ]
    assert progress == [*((f"C={number}", number - 2, 5) for number in range(2, 7)), ("", 5, 5)]
    assert (found.parent, len(found.ids), found.problems) == ("p", 6, ())
    settled = [json.loads(line) for line in past.path.read_text().splitlines()]
    assert [(line["event"], line["id"]) for line in settled] == [("settled", f"t{n}") for n in range(2, 7)]


@pytest.mark.parametrize(
    ("fields", "is_ended"),
    [
        ({}, True),
        ({"owns_parent": False}, False),
        ({"parent": None}, False),
        ({"delivered": True}, False),
        ({"uploaded": True}, False),
    ],
)
def test_the_parent_is_ended_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], is_ended: bool
) -> None:
    past = a_run(tmp_path, status="completed", **fields)
    found, ended, _ = uploaded(monkeypatch, past, {})
    assert [ending.task_id for ending in ended] == ["p"] * is_ended
    assert (found.url is None) is (past.parent is None)


def test_the_parent_of_an_outer_group_is_created_as_its_own_run_would(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That of the script's own `Task.init` is not: ClearML uploads it."""
    outer = Mock()
    monkeypatch.setattr(module, "OnlineBackend", lambda connection: outer)
    monkeypatch.setattr(module, "run_tasks", lambda transport, run: {"of": run})
    found: Any = Mock(spec=Session, identity={"run": "r"})
    found.create.return_value = "there"
    backend: Any = Mock()
    assert module._outer_parent(found, backend) == "there"
    found.create.assert_called_once_with(outer, {"of": "r"}, None)
    outer.close.assert_called_once_with()
    found.identity = {}
    assert module._outer_parent(found, backend) is None
