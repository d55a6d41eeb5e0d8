"""What the online storage asks of a server, and when; the calls themselves are replaced."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from clearml_taskgroup._clearml import failed_uploads, sdk
from clearml_taskgroup._clearml.api_errors import Refused, Unreachable
from clearml_taskgroup._clearml.tasks import DELETED
from clearml_taskgroup._model import limits
from clearml_taskgroup._model.specs import Ending, ForeignStatus, RunInfo, TaskSpec
from clearml_taskgroup._storage import foreign_statuses, online
from clearml_taskgroup._storage import open_tasks as open_tasks_module
from clearml_taskgroup._storage.batch_sender import BatchSender, Refusal
from clearml_taskgroup._storage.online import OnlineBackend
from clearml_taskgroup._storage.outbox import Outbox
from clearml_taskgroup.errors import DeliveryError, ServerError

RUN = RunInfo("0" * 12, "project", "group", "{metric}", run="r")
SPECS = [TaskSpec(f"key {n}", f"C={n}", f"group C={n}", n, 1, {"C": n}) for n in range(2)]
PUBLISHED = ForeignStatus("completed", "", "published")


class Server:
    """Takes the place of the calls; each is noted, and may raise an error."""

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []
        self.started: list[tuple[str, float]] = []
        self.ended: list[tuple[Ending, str]] = []
        self.pinged: list[str] = []
        self.errors: dict[str, Exception] = {}
        self.others: dict[str, ForeignStatus] = {}
        self.documents: dict[str, dict[str, Any]] = {}
        self.projects: list[str] = []

    def find_project(self, _: Any, name: str) -> str:
        self.projects.append(name)
        return "the project"

    def create(self, _: Any, body: Mapping[str, Any], project: str, identity: Mapping[str, str]) -> str:
        if (parent := body.get("parent", "")) in self.errors:
            raise self.errors[parent]
        assert (project, identity["run"]) == ("the project", "r")
        self.created.append(dict(body))
        return f"t{int(identity['index'])}"

    def start(self, _: Any, task_id: str, timeout: float) -> None:
        self.started.append((task_id, timeout))
        if task_id in self.errors:
            raise self.errors[task_id]

    def end(self, _: Any, ending: Ending, name: str, timeout: float) -> ForeignStatus | None:
        if ending.task_id in self.errors:
            raise self.errors[ending.task_id]
        self.ended.append((ending, name))
        return self.others.get(ending.task_id)

    def status_documents(self, _: Any, ids: list[str], *__: Any) -> dict[str, dict[str, Any]]:
        if "statuses" in self.errors:
            raise self.errors["statuses"]
        return {task_id: self.documents[task_id] for task_id in ids if task_id in self.documents}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    monkeypatch.setattr(online, "find_or_create_project", found.find_project)
    monkeypatch.setattr(online, "create_task", found.create)
    monkeypatch.setattr(online, "start_task", found.start)
    monkeypatch.setattr(online, "end_task", found.end)
    monkeypatch.setattr(foreign_statuses, "status_documents", found.status_documents)
    monkeypatch.setattr(open_tasks_module, "status_documents", found.status_documents)
    monkeypatch.setattr(open_tasks_module, "ping_task", lambda _, task_id: found.pinged.append(task_id))
    monkeypatch.setattr(open_tasks_module, "is_deleted", lambda *_: False)
    return found


@pytest.fixture
def connection() -> Any:
    """A connection that nothing goes through."""
    return Mock(host="http://api", web="http://web", files="http://files", new_pages=True)


@pytest.fixture
def backend(server: Server, connection: Any) -> OnlineBackend:
    """A storage without an outbox."""
    return OnlineBackend(connection)


def sender(path: Path) -> Any:
    """A sender whose thread does not run."""
    outbox = Outbox.open(path / "run-0001.outbox")
    return SimpleNamespace(
        outbox=outbox, notify=Mock(), error=None, is_alive=True, flush=Mock(return_value=True)
    )


# --- creating and starting -----------------------------------------------------------------------


def test_tasks_are_created_below_their_parent_and_started(backend: OnlineBackend, server: Server) -> None:
    assert backend.create(RUN, SPECS, "p") == ["t0", "t1"]
    assert [(body["name"], body["parent"], "script" in body) for body in server.created] == [
        ("group C=0", "p", False),
        ("group C=1", "p", False),
    ]
    assert sorted(task_id for task_id, _ in server.started) == ["t0", "t1"]
    assert (server.projects, backend.open_tasks.parent) == (["project"], "p")
    assert "t0" in backend.open_tasks
    backend.create(RUN, SPECS[:1], None)
    assert ("parent" in server.created[2], backend.open_tasks.parent) == (False, "p")
    assert len(server.projects) == 1


def test_one_task_is_started_by_the_thread_that_sends(
    backend: OnlineBackend, server: Server, tmp_path: Path
) -> None:
    """Several are started at once; without a thread, one is, too."""
    backend.sender = found = sender(tmp_path)
    backend.create(RUN, SPECS[:1], "p")
    assert (server.started, found.notify.call_count) == ([], 1)
    backend.create(RUN, SPECS, "p")
    assert len(server.started) == 2  # the first one has the same id here
    backend.sender = None
    server.started.clear()
    backend.create(RUN, SPECS[1:], "p")
    assert [task_id for task_id, _ in server.started] == ["t1"]


def test_tasks_for_a_queue_are_not_started(backend: OnlineBackend, server: Server) -> None:
    """They get sections of the script's own task, over which their own go."""
    like = {"container": {"image": "i"}, "hyperparams": {"Args": {}, "General": {}}}
    assert backend.draft(RUN, SPECS[:1], "p", like) == ["t0"]
    (body,) = server.created
    assert (body["container"], "Args" in body["hyperparams"]) == ({"image": "i"}, True)
    assert body["hyperparams"]["General"]["C"]["value"] == "0"
    backend.keep_alive()
    assert (server.started, backend.open_tasks.parent, "t0" in backend.open_tasks) == ([], "p", False)
    assert backend._name("t0") == "C=0"


def test_a_script_that_is_known_is_stored(backend: OnlineBackend, server: Server) -> None:
    script = {"entry_point": "train.py"}
    run = RunInfo("0" * 12, "project", "group", "{metric}", run="r", script=script)
    backend.create(run, SPECS[:1], None)
    assert server.created[0]["script"] == script


def test_a_parent_that_was_deleted_holds_nobody_up(
    backend: OnlineBackend, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is found out once, and logged; any other refusal is an error."""
    server.errors["p"] = Refused("Invalid parent id: id=p", 400, 402)
    monkeypatch.setattr(online, "is_parent_gone", lambda refusal: False)
    with pytest.raises(Refused):
        backend.create(RUN, SPECS[:1], "p")
    monkeypatch.setattr(online, "is_parent_gone", lambda refusal: True)
    assert backend.create(RUN, SPECS[:1], "p") == ["t0"]
    assert backend.adopted == {"p": DELETED}
    assert "the run goes on without a parent" in caplog.text
    server.errors.clear()
    backend.create(RUN, SPECS[:1], "p")
    assert ["parent" in body for body in server.created] == [False, False]
    server.errors[""] = Refused("anything", 400)
    with pytest.raises(Refused):
        backend.create(RUN, SPECS[:1], None)


def test_a_number_is_reserved_until_a_task_has_it(backend: OnlineBackend) -> None:
    number: Any = Mock()
    backend.run_number = number
    backend.create(RUN, [], None)
    number.release.assert_not_called()
    backend.create(RUN, SPECS[:1], None)
    number.release.assert_called_once_with()


@pytest.mark.parametrize(
    ("error", "is_tried_again"),
    [
        (Refused("already started", 400), False),
        (Refused("broken", 499), False),
        (Refused("broken", 500), True),
        (Unreachable("away"), True),
        (ServerError("odd"), True),
        (None, False),
    ],
)
def test_a_start_that_failed_is_tried_again(
    backend: OnlineBackend, server: Server, error: Exception | None, is_tried_again: bool
) -> None:
    """Unless the server refuses it, or the task is just ending."""
    if error is not None:
        server.errors["t0"] = error
    backend.create(RUN, SPECS[:1], None)
    server.errors.clear()
    server.started.clear()
    backend.keep_alive()
    assert [task_id for task_id, _ in server.started] == ["t0"] * is_tried_again
    backend.keep_alive()
    assert len(server.started) == is_tried_again


def test_a_task_that_has_ended_is_not_started_again(backend: OnlineBackend, server: Server) -> None:
    server.errors["t0"] = Unreachable("away")
    backend.create(RUN, SPECS[:1], None)
    backend.finish([Ending("t0", "completed")], 1.0)
    server.started.clear()
    backend.keep_alive()
    assert server.started == []


def test_tasks_that_the_watchdog_has_stopped_are_started_again(
    backend: OnlineBackend, server: Server
) -> None:
    backend.create(RUN, SPECS, None)
    server.started.clear()
    backend.watch([], lambda found: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend.open_tasks.__class__, "beat", lambda self: ["t0", "unknown"])
        backend.keep_alive()
        assert server.started == []
        patch.setattr(backend.open_tasks.__class__, "beat", lambda self: [])
        backend.keep_alive()
    assert [task_id for task_id, _ in server.started] == ["t0"]


def test_the_time_to_start_tasks_is_limited(backend: OnlineBackend, server: Server) -> None:
    """Also while another thread is just starting them."""
    backend.sender = Mock()
    backend.create(RUN, SPECS[:1], None)
    backend._start_tasks(0.0)
    assert server.started == []
    backend._starting.acquire()
    backend._start_tasks(0.01)
    assert server.started == []
    backend._starting.release()
    backend._start_tasks(20.0)
    ((task_id, left),) = server.started
    assert task_id == "t0"
    assert 0 < left <= 20.0
    backend.create(RUN, SPECS[:1], None)
    backend._start_tasks()
    assert limits.SENDER_TIMEOUT_S - 10.0 < server.started[1][1] <= limits.SENDER_TIMEOUT_S


def test_a_task_of_an_earlier_attempt_is_open_again(
    backend: OnlineBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody had done to it no longer counts; what keeps it from being opened is said."""
    restarted: list[str] = []
    problems = {"b": "it was published"}
    monkeypatch.setattr(online, "restart_task", lambda _, task_id: restarted.append(task_id))
    monkeypatch.setattr(online, "reopen_task", lambda _, task_id: problems.get(task_id, ""))
    backend.adopt(dict.fromkeys(("a", "b", "c", "d"), PUBLISHED))
    backend.reopen(["a"])
    assert restarted == ["a"]
    assert [backend.reopen_completed(task_id) for task_id in ("b", "c")] == ["it was published", ""]
    problems["d"], backend.agent_task_id = "the agent's own", "d"
    assert backend.reopen_completed("d") == ""
    assert (set(backend.adopted), "c" in backend.open_tasks, "b" in backend.open_tasks) == (
        {"b"},
        True,
        False,
    )


# --- writing -------------------------------------------------------------------------------------


def test_events_go_to_the_outbox_while_there_is_one(
    backend: OnlineBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, list[str]]] = []
    monkeypatch.setattr(BatchSender, "send", lambda self, batch: sent.append(dict(batch)))
    batch = {"a": ['{"task":"a"}']}
    backend.write(batch)
    assert sent == [batch]
    backend.sender = found = sender(tmp_path)
    backend.open_tasks.add(["a"])
    backend.open_tasks._last_sign["a"] = 0.0
    backend.write(batch)
    assert (batch, found.outbox.waiting(), found.notify.call_count) == ({}, {"a": 1}, 1)
    assert backend.open_tasks._last_sign["a"] > 0.0
    found.outbox.path.unlink()  # the run has ended, and this is its child
    backend.write({"a": ['{"task":"a"}']})
    assert len(sent) == 2


def test_what_is_not_delivered(backend: OnlineBackend, tmp_path: Path) -> None:
    """Where it waits, why, and how it is delivered, as long as its file is there."""
    assert (backend.undelivered(), backend.delivery_remedy(), backend.delivery_problem()) == (
        {},
        ("", ""),
        None,
    )
    assert (backend.share_outbox(), backend.flush(0.0)) == (None, True)
    backend.sender = found = sender(tmp_path / "a folder")
    found.waiting = lambda: {"a": 3}
    found.error = Unreachable("away")
    path = found.outbox.path
    assert backend.undelivered() == {"a": 3}
    command = f"clearml-taskgroup upload '{path.with_suffix('.jsonl')}'"
    assert backend.delivery_remedy() == (str(path), command)
    assert backend.delivery_problem() is found.error
    assert backend.share_outbox() == str(path)
    path.unlink()
    assert backend.delivery_remedy() == ("", "")


def test_a_flush_waits_for_events_and_for_what_was_noted(backend: OnlineBackend, tmp_path: Path) -> None:
    """In a child, the parent process delivers both."""
    stored = [False, True]
    backend.sender = found = sender(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend._annotations.__class__, "store", lambda self, *_: stored.pop(0))
        assert [backend.flush(3.0), backend.flush(3.0)] == [False, True]
        found.flush.return_value = False
        assert not backend.flush(3.0)
    found.flush.assert_called_with(3.0)
    backend._in_child = True
    assert backend.flush(0.0)


@pytest.mark.parametrize(
    ("has_sender", "is_alive", "beats"), [(False, False, 1), (True, False, 1), (True, True, 0)]
)
def test_the_sender_keeps_tasks_alive_itself(
    backend: OnlineBackend, monkeypatch: pytest.MonkeyPatch, has_sender: bool, is_alive: bool, beats: int
) -> None:
    called: list[int] = []
    monkeypatch.setattr(OnlineBackend, "keep_alive", lambda self: called.append(1))
    backend.sender = Mock(is_alive=is_alive) if has_sender else None
    backend.heartbeat()
    assert len(called) == beats


def test_a_deleted_task_takes_no_parameters(backend: OnlineBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = Refused("Invalid task id", 400, 101)

    def refuse(*_: Any) -> None:
        raise refusal

    monkeypatch.setattr(online, "add_parameters", refuse)
    monkeypatch.setattr(online, "is_gone", lambda error: False)
    with pytest.raises(Refused):
        backend.set_parameters("a", {"lr": 1})
    monkeypatch.setattr(online, "is_gone", lambda error: True)
    backend.set_parameters("a", {"lr": 1})
    assert backend.adopted == {"a": DELETED}


def test_the_object_of_a_task_is_opened_once(
    backend: OnlineBackend, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the task was started; on an agent, it is the script's own."""
    opened: list[str] = []
    watched: list[tuple[str, str]] = []

    def open_task(task_id: str) -> Any:
        opened.append(task_id)
        return SimpleNamespace(name=f"name of {task_id}")

    monkeypatch.setattr(sdk, "main_task", lambda: None)
    monkeypatch.setattr(sdk, "open_task", open_task)
    monkeypatch.setattr(backend.kept_files.__class__, "watch", lambda _, *found: watched.append(found[:2]))
    backend.sender = Mock()
    backend.create(RUN, SPECS[:1], None)
    first = backend.clearml_task("t0")
    assert backend.clearml_task("t0") is first
    assert (opened, [task_id for task_id, _ in server.started]) == (["t0"], ["t0"])
    backend.clearml_task("unknown")
    assert watched == [("t0", "C=0"), ("unknown", "name of unknown")]
    main = SimpleNamespace(id="t1")
    monkeypatch.setattr(sdk, "main_task", lambda: main)
    assert backend.clearml_task("t1") is main
    assert backend.clearml_task("t0") is first


def test_a_child_process_leaves_everything_to_its_parent(
    backend: OnlineBackend, server: Server, tmp_path: Path
) -> None:
    backend.sender = found = sender(tmp_path)
    found.after_fork = Mock()
    backend.create(RUN, SPECS[:1], None)
    backend._attached["t0"] = object()
    backend._lock.acquire()
    backend._starting.acquire()
    backend.after_fork()
    backend.keep_alive()
    found.after_fork.assert_called_once_with()
    assert (server.started, backend._attached, "t0" in backend.open_tasks) == ([], {}, False)


# --- ending --------------------------------------------------------------------------------------


def finish(backend: OnlineBackend, *endings: Ending, timeout: float = 5.0) -> dict[str, str]:
    """Ends tasks; gives the errors as text."""
    return {task_id: str(error) for task_id, error in backend.finish(endings, timeout).items()}


def test_statuses_are_set_unless_somebody_else_has(backend: OnlineBackend, server: Server) -> None:
    """The task of an agent is ended by the agent."""
    backend.create(RUN, SPECS, None)
    backend.agent_task_id = "mine"
    server.documents["other"] = {"status": "failed", "status_reason": "by hand"}
    server.others["late"] = PUBLISHED
    endings = [Ending(task_id, "completed") for task_id in ("t0", "mine", "other", "late")]
    assert finish(backend, *endings) == {}
    assert sorted(ending.task_id for ending, _ in server.ended) == ["late", "t0"]
    assert {name for _, name in server.ended} == {"C=0", "late"}
    assert {task_id: status.word for task_id, status in backend.adopted.items()} == {
        "other": "failed",
        "late": "published",
    }
    assert ("t0" in backend.open_tasks, "t1" in backend.open_tasks) == (False, True)


def test_a_task_whose_uploads_take_too_long_ends_all_the_same(
    backend: OnlineBackend, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That they do is its error; any other error of them keeps it open."""

    def wait(task: str, timeout: float) -> None:
        raise TimeoutError("uploads") if task == "slow" else ValueError("odd")

    monkeypatch.setattr(sdk, "wait_for_uploads", wait)
    backend._attached.update(a="slow", b="odd", mine="slow")
    backend.agent_task_id = "mine"
    endings = [Ending(task_id, "completed") for task_id in ("a", "b", "c", "mine")]
    assert finish(backend, *endings) == {"a": "uploads", "b": "odd", "mine": "uploads"}
    assert sorted(ending.task_id for ending, _ in server.ended) == ["a", "c"]


def test_ends_that_could_not_be_set_are_told_together(
    backend: OnlineBackend, server: Server, tmp_path: Path
) -> None:
    """With the command that sets them, where there is one; a refusal is told by itself."""
    server.errors = {"t0": Unreachable("away"), "t1": Unreachable("away"), "c": ServerError("refused")}
    backend.remember_name("t0", "C=0")
    endings = [Ending(task_id, "completed") for task_id in ("t0", "t1", "c", "d")]
    errors = finish(backend, *endings)
    assert errors.keys() == {"t0", "t1", "c"}
    assert errors["t0"] == errors["t1"]
    assert "the ends of 2 tasks (C=0, t1) could not be set: away" in errors["t0"]
    assert ("Set them with" in errors["t0"], "refused" in errors["c"]) == (False, True)
    backend.sender = sender(tmp_path)
    assert "Set them with: clearml-taskgroup upload" in finish(backend, endings[0])["t0"]


def test_without_time_left_a_server_that_is_away_is_asked_once(
    backend: OnlineBackend, server: Server
) -> None:
    server.errors["statuses"] = Unreachable("away")
    assert list(finish(backend, Ending("a", "completed"), timeout=0.0)) == ["a"]
    assert server.ended == []
    assert finish(backend, Ending("a", "completed"), timeout=5.0) == {}
    server.errors["statuses"] = ServerError("odd")
    assert finish(backend, Ending("b", "completed"), timeout=0.0) == {}
    assert [ending.task_id for ending, _ in server.ended] == ["a", "b"]


def test_a_task_that_was_deleted_is_found_after_the_end(backend: OnlineBackend) -> None:
    backend.look_up([Ending("a", "completed")], 1.0)
    assert backend.adopted == {"a": DELETED}


# --- errors and addresses ------------------------------------------------------------------------


def test_refused_events_are_told_by_task(backend: OnlineBackend, tmp_path: Path) -> None:
    """Those of deleted and published tasks are logged, once it is not known better what happened to them."""
    backend.batch_sender.refused = {"a": Refusal(2, "odd"), "b": Refusal(3, "gone"), "c": Refusal(1, "gone")}
    backend.batch_sender.refused_tasks = {"b", "c"}
    backend.adopt({"c": PUBLISHED})
    backend.remember_name("a", "C=0")
    (error,) = backend.delivery_errors()
    assert isinstance(error, DeliveryError)
    assert (error.points, list(error.tasks), "Refused events are in" in str(error)) == (2, ["C=0"], False)
    assert {task_id: status.word for task_id, status in backend.adopted.items()} == {
        "b": "deleted or published",
        "c": "published",
    }
    path = backend.batch_sender.refused_path = tmp_path / "run-0001.refused"
    assert "try again" not in str(backend.delivery_errors()[0])
    path.touch()
    text = f"Refused events are in {path}; try again: clearml-taskgroup upload {path.with_suffix('.jsonl')}"
    assert text in str(backend.delivery_errors()[0])


def test_what_a_task_has_lost_is_said_beside_its_status(
    backend: OnlineBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """Not of the parent, whose events repeat those of its tasks."""
    backend.batch_sender.refused = {"a": Refusal(2, "gone"), "p": Refusal(3, "gone")}
    backend.open_tasks.parent = "p"
    backend.adopt(dict.fromkeys(("a", "b", "p"), PUBLISHED))
    assert "'a' (published, 2 points after that lost), 'b' (published), 'p' (published)" in caplog.text


def test_addresses(backend: OnlineBackend, connection: Any) -> None:
    assert backend.where == "http://web"
    backend.use_project("p1")
    backend.use_project("")
    url = backend.url("a")
    assert url is not None
    assert "p1" in url
    assert len(backend.compare_urls(["a", "b"])) == 1
    assert backend.table_url("r", None, is_own=True) is not None
    connection.web = None
    assert backend.where == "http://api"


def test_closing_keeps_what_was_not_delivered(
    backend: OnlineBackend, connection: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up: list[str] = []
    monkeypatch.setattr(failed_uploads, "give_up", lambda task_id, task: given_up.append(task_id))
    number: Any = Mock()
    backend.run_number, backend.sender = number, (found := sender(tmp_path))
    found.stop = Mock()
    backend._attached["a"] = object()
    found.outbox.append({"a": ['{"task":"a"}']})
    backend.close()
    assert (given_up, found.outbox.is_gone, found.outbox.path.exists()) == (
        ["a"],
        True,
        True,
    )
    found.stop.assert_called_once_with(online.STOP_TIMEOUT_S)
    number.release.assert_called_once_with()
    connection.disconnect.assert_called_once_with()
    assert backend.transport.closing.is_set()


# --- reading -------------------------------------------------------------------------------------


def point(iteration: int) -> str:
    return (
        '{"type":"training_stats_scalar","task":"a","metric":"loss","variant":"val",'
        f'"value":0.5,"iter":{iteration},"timestamp":1}}'
    )


def test_last_values_are_read_from_the_server_or_from_the_outbox(
    backend: OnlineBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the outbox without time, and while nothing is delivered or the server is away."""
    answers: list[Any] = []
    times: list[dict[str, float]] = []

    def query(_: Any, ids: list[str], fields: Any, **limits: float) -> list[dict[str, Any]]:
        times.append(limits)
        if isinstance(answers[0], Exception):
            raise answers[0]
        value = {"metric": "loss", "variant": "val", "value": 1.0, "min_value": 1.0, "max_value": 1.0}
        return [{"id": task_id, "last_metrics": {"m": {"v": value}}} for task_id in ids]

    monkeypatch.setattr(online, "query_by_id", query)
    answers.append(None)
    found = backend.read_scalars(["a"], 30.0)
    (name, stats) = found["a"][0]
    assert (name, stats.last, stats.exact, stats.ordered) == (
        ("loss", "val"),
        1.0,
        stats.single,
        stats.single,
    )
    assert 29.0 < times[0]["timeout"] <= 30.0
    assert times[0]["answer_timeout"] == times[0]["timeout"]
    backend.read_scalars(["a"], 0.5)
    assert times[1]["answer_timeout"] == 1.0
    assert backend.read_scalars(["a"], 0.0) == {"a": []}
    backend.sender = box = sender(tmp_path)
    box.outbox.append({"a": [point(0)], "b": [point(0)]})
    box.outbox.append({"a": [point(1)]})
    waiting = backend.read_scalars(["a", "c"], 0.0)
    assert {task_id: [stats.count for _, stats in listed] for task_id, listed in waiting.items()} == {
        "a": [2],
        "c": [],
    }
    box.error = Unreachable("away")
    assert [stats.count for _, stats in backend.read_scalars(["a"], 30.0)["a"]] == [2]
    assert len(times) == 2
    box.error, answers[0] = None, Unreachable("away")
    assert [stats.count for _, stats in backend.read_scalars(["a"], 30.0)["a"]] == [2]
    assert len(times) == 3


def test_the_calls_for_last_values_share_one_time_limit(
    backend: OnlineBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    left: list[float] = []

    def query(_: Any, ids: list[str], fields: Any, timeout: float, **__: float) -> list[Any]:
        left.append(timeout)
        now[0] += 6.0
        return []

    monkeypatch.setattr(online, "query_by_id", query)
    monkeypatch.setattr(online, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=time.sleep))
    assert backend.read_scalars([str(number) for number in range(501)], 10.0) == {}
    assert left == [10.0, 4.0]
    now[0], ids = 0.0, [str(number) for number in range(501)]
    assert list(backend.read_scalars(ids, 6.0)) == ids  # what is in the outbox, of all of them
    assert left[2:] == [6.0]
