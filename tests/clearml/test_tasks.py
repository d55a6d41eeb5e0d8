"""Creating, starting and ending tasks on a server."""

from __future__ import annotations

from typing import Any

import pytest

from clearml_taskgroup._clearml import tasks
from clearml_taskgroup._clearml.api import Transport
from clearml_taskgroup._clearml.api_errors import Refused, Unreachable
from clearml_taskgroup._clearml.hyperparameters import SECTION
from clearml_taskgroup._model import limits
from clearml_taskgroup._model.specs import Ending, ForeignStatus
from clearml_taskgroup._model.status import ABANDONED
from clearml_taskgroup.errors import ServerError
from tests.loopback import LoopbackServer
from tests.loopback.faults import refusal
from tests.support.stored_tasks import PARENT, create

GONE = "f" * 32
RUN = "a" * 32


def set_status(server: LoopbackServer, task_id: str, status: str, reason: str = "") -> None:
    """Gives a task a status, as somebody else does."""
    with server.state.lock:
        server.state.tasks[task_id].update(status=status, status_reason=reason)


def status(server: LoopbackServer, task_id: str) -> tuple[str, str]:
    """The status of a task and its reason."""
    task = server.task(task_id)
    return task["status"], task.get("status_reason", "")


class Calls:
    """Takes the place of a transport: notes each call and the time limits, and gives these answers."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.made: list[tuple[str, dict[str, Any], dict[str, Any]]] = []

    def call(self, action: str, body: dict[str, Any], **times: Any) -> Any:
        """Gives the next answer, or raises it."""
        self.made.append((action, body, times))
        answer = self.answers.pop(0) if self.answers else {}
        if isinstance(answer, Exception):
            raise answer
        return answer


# --- creating ----------------------------------------------------------------------------------


def test_a_project_is_created_once(loopback: LoopbackServer, transport: Transport) -> None:
    """It is found by its name afterwards."""
    made = tasks.find_or_create_project(transport, "digits")
    assert loopback.projects[made]["name"] == "digits"
    assert tasks.find_or_create_project(transport, "digits") == made
    assert loopback.count("projects.create") == 1


def test_a_project_that_another_process_creates_meanwhile(
    loopback: LoopbackServer, transport: Transport
) -> None:
    """The server's refusal of the second one leads to the first; any other refusal is raised."""
    made = tasks.find_or_create_project(transport, "digits")
    loopback.faults.fail_next("projects.get_all", body=b'{"meta":{"result_code":200},"data":{"projects":[]}}')
    assert tasks.find_or_create_project(transport, "digits") == made
    loopback.faults.fail_next("projects.create", status=400, body=refusal(400, 801))
    with pytest.raises(Refused, match="801"):  # and it is not there
        tasks.find_or_create_project(transport, "other")
    loopback.faults.fail_next("projects.create", status=400, body=refusal(400, 800))
    with pytest.raises(Refused, match="800"):
        tasks.find_or_create_project(transport, "other")


def test_a_task_is_created_once_though_the_answer_is_lost(
    loopback: LoopbackServer, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found by its identity; a task of the same identity that was archived is not it."""
    monkeypatch.setattr("clearml_taskgroup._clearml.api.MIN_RETRY_DELAY_S", 0.0)
    monkeypatch.setattr("clearml_taskgroup._clearml.api.MAX_RETRY_DELAY_S", 0.0)
    archived = create(transport)
    with loopback.state.lock:
        loopback.state.tasks[archived]["system_tags"] = ["archived"]
    loopback.faults.fail_next("tasks.create", kind="drop_after")
    made = create(transport, tags=("a",))
    assert loopback.count("tasks.create") == 2
    assert set(loopback.tasks) == {archived, made}
    task = loopback.task(made)
    assert task["runtime"] == {
        "taskgroup_run": RUN,
        "taskgroup_key": "k0",
        "taskgroup_attempt": "1",
        "taskgroup_index": "0",
    }
    assert loopback.projects[task["project"]]["name"] == "digits"
    loopback.faults.fail_next("tasks.create", kind="drop_after")
    parent = create(transport, spec=PARENT)
    assert set(loopback.tasks) == {archived, made, parent}


def test_another_process_s_task_is_not_taken_for_one_s_own(
    loopback: LoopbackServer, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes of a shared run may create the same task at the same moment."""
    monkeypatch.setattr("clearml_taskgroup._clearml.api.MIN_RETRY_DELAY_S", 0.0)
    monkeypatch.setattr("clearml_taskgroup._clearml.api.MAX_RETRY_DELAY_S", 0.0)
    theirs = create(transport, shared="night", process="theirs")
    loopback.faults.fail_next("tasks.create", kind="drop_after")
    ours = create(transport, shared="night", process="ours")
    assert set(loopback.tasks) == {theirs, ours}


# --- starting ----------------------------------------------------------------------------------


def test_starting_a_task(loopback: LoopbackServer, transport: Transport) -> None:
    task = create(transport)
    tasks.start_task(transport, task, 20.0)
    assert status(loopback, task)[0] == "in_progress"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("created", "in_progress"),
        ("completed", "in_progress"),
        ("failed", "in_progress"),
        ("published", "published"),
        ("publishing", "publishing"),
    ],
)
def test_restarting_a_task(loopback: LoopbackServer, transport: Transport, before: str, after: str) -> None:
    """By force where that is needed, and never a published task."""
    task = create(transport)
    set_status(loopback, task, before)
    tasks.restart_task(transport, task)
    assert status(loopback, task)[0] == after


@pytest.mark.parametrize("refused", [Refused("gone", 400, 101), Refused("no", 400, 10)])
def test_a_task_that_cannot_be_restarted_is_told_by_its_events(refused: Refused) -> None:
    """Any other refusal than that of the status ends the attempt, without an error."""
    server: Any = Calls(refused)
    tasks.restart_task(server, "1")
    assert len(server.made) == 1


def test_a_task_that_goes_while_it_is_restarted(loopback: LoopbackServer, transport: Transport) -> None:
    """Deleted in between, or refused again: no error."""
    refused = Refused("status", 400, 110)
    deleted: Any = Calls(refused, {"tasks": []})
    tasks.restart_task(deleted, "1")
    assert [action for action, _, _ in deleted.made] == ["tasks.started", "tasks.get_all"]
    again: Any = Calls(refused, {"tasks": [{"id": "1", "status": "failed"}]}, refused)
    tasks.restart_task(again, "1")
    assert again.made[-1] == ("tasks.started", {"task": "1", "force": True}, {})


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (("completed", ""), ""),
        (("in_progress", ""), ""),
        (("stopped", tasks.WATCHDOG_REASON), ""),
        (("stopped", "enough"), "its status on the server is stopped"),
        (("failed", ""), "its status on the server is failed"),
        (("published", ""), "it was published, and a published task takes no more data"),
    ],
)
def test_reopening_a_task(
    loopback: LoopbackServer, transport: Transport, before: tuple[str, str], why: str
) -> None:
    """A completed one, or one that the server has stopped meanwhile; else it is said why not."""
    task = create(transport)
    set_status(loopback, task, *before)
    assert tasks.reopen_task(transport, task) == why
    assert status(loopback, task)[0] == (before[0] if why else "in_progress")


def test_why_a_task_cannot_be_reopened(loopback: LoopbackServer, transport: Transport) -> None:
    """It was deleted, archived, or changed by somebody meanwhile."""
    assert tasks.reopen_task(transport, GONE) == "it was deleted from the server"
    task = create(transport)
    set_status(loopback, task, "completed")
    loopback.faults.fail_next("tasks.started", status=400, body=refusal(400, 110, "not now"))
    assert "not now" in tasks.reopen_task(transport, task)
    with loopback.state.lock:
        loopback.state.tasks[task]["system_tags"] = ["archived"]
    assert tasks.reopen_task(transport, task) == "it was archived"


# --- ending ------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["completed", "failed", "stopped"])
def test_ending_a_task(loopback: LoopbackServer, transport: Transport, wanted: Any) -> None:
    """With its reason, also a draft that was never started; a second time there is nothing to do."""
    for before in ("in_progress", "created"):
        task = create(transport)
        set_status(loopback, task, before)
        assert tasks.end_task(transport, Ending(task, wanted, "why"), "C=1", 20.0) is None
        assert status(loopback, task) == (wanted, "why")
        assert loopback.task(task)["status_message"] == "why"
        assert tasks.end_task(transport, Ending(task, wanted, "why"), "C=1", 20.0) is None


def test_a_task_that_was_deleted_is_no_error(transport: Transport) -> None:
    assert tasks.end_task(transport, Ending(GONE, "completed"), "C=1", 20.0) == tasks.DELETED


def test_a_status_that_somebody_else_has_set_stays(loopback: LoopbackServer, transport: Transport) -> None:
    """It is returned."""
    task = create(transport)
    set_status(loopback, task, "published", "good")
    found = tasks.end_task(transport, Ending(task, "failed"), "C=1", 20.0)
    assert found == ForeignStatus("completed", "good", "published")
    assert status(loopback, task) == ("published", "good")


INVALID = Refused("status", 400, 110)


def found(word: str, reason: str = "") -> dict[str, Any]:
    """The answer to `tasks.get_all` about a task of this status."""
    return {"tasks": [{"id": "1", "status": word, "status_reason": reason, **ORIGINAL}]}


ORIGINAL = {
    "runtime": {"taskgroup_run": RUN},
    "hyperparams": {SECTION: {"run": {"value": RUN}}},
}


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ([INVALID, {"tasks": []}], tasks.DELETED),
        ([INVALID, found("stopped", "enough")], ForeignStatus("stopped", "enough", "stopped")),
        ([INVALID, found("failed", "by a lost attempt")], None),
        ([INVALID, found("created"), Refused("lost", 400, 110), {}], None),
    ],
)
def test_the_end_of_a_task_whose_status_does_not_allow_it(
    answers: list[Any], status: ForeignStatus | None
) -> None:
    """Deleted, ended by somebody else, ended by an attempt whose answer was lost, or never started."""
    server: Any = Calls(*answers)
    assert tasks.end_task(server, Ending("1", "failed", "by a lost attempt"), "C=1", 20.0) == status
    assert not server.answers


@pytest.mark.parametrize(
    ("answers", "error", "text"),
    [
        ([Refused("broken", 500, 0)], Unreachable, "broken"),
        ([Refused("no", 499, 0)], ServerError, "the task 'C=1' could not be failed: no"),
        ([INVALID, found("stopped", tasks.WATCHDOG_REASON)], ServerError, "could not be failed: status"),
        ([INVALID, found("created"), {}, Refused("never", 400, 5)], Refused, "never"),
    ],
)
def test_the_end_of_a_task_that_fails(answers: list[Any], error: type[ServerError], text: str) -> None:
    """A broken server is tried again later; a refusal names the task."""
    server: Any = Calls(*answers)
    with pytest.raises(error, match=text) as raised:
        tasks.end_task(server, Ending("1", "failed"), "C=1", 20.0)
    assert isinstance(raised.value, Unreachable) == (error is Unreachable)


@pytest.mark.parametrize(("timeout", "answer"), [(0.0, 1.0), (5.0, 5.0), (1e6, limits.API_ANSWER_TIMEOUT_S)])
def test_an_end_keeps_to_its_time(timeout: float, answer: float) -> None:
    """One attempt waits for at least a second; each call of the end has the limits."""
    server: Any = Calls(INVALID, found("created"), {}, {})
    tasks.end_task(server, Ending("1", "failed", "why"), "C=1", timeout)
    times = {"timeout": timeout, "answer_timeout": answer}
    ended = {"task": "1", "status_reason": "why", "status_message": "why"}
    ending = ("tasks.failed", ended, {**times, "attempts_on_500": tasks.MAX_ENDINGS_500})
    asked = {"id": ["1"], "only_fields": [*tasks.STATUS_FIELDS], "page_size": 1, "page": 0}
    assert server.made == [
        ending,
        ("tasks.get_all", asked, times),
        ("tasks.started", {"task": "1"}, times),
        ending,
    ]


def test_statuses_by_id(loopback: LoopbackServer, transport: Transport) -> None:
    """A deleted task is missing; a refusal says no more than that the server does not answer."""
    one, two = create(transport), create(transport, key="k1")
    found = tasks.status_documents(transport, [one, two, GONE], 20.0)
    assert {task_id: task["status"] for task_id, task in found.items()} == {one: "created", two: "created"}
    server: Any = Calls({"tasks": []}, Refused("no", 400))
    assert tasks.status_documents(server, ["1"], 20.0, 3.0) == {}
    assert server.made[0][2] == {"timeout": 20.0, "answer_timeout": 3.0}
    with pytest.raises(Unreachable, match="no"):
        tasks.status_documents(server, ["1"], 20.0)


ENDING = Ending("1", "failed", "our reason")


@pytest.mark.parametrize(
    ("document", "foreign"),
    [
        ({"status": "in_progress"}, None),
        ({"status": "created"}, None),
        ({"status": "created", "runtime": {}}, ForeignStatus("stopped", "reset on the server", "reset")),
        ({"status": "queued"}, ForeignStatus("stopped", "queued on the server", "queued")),
        ({"status": "failed", "status_reason": "our reason"}, None),
        ({"status": "failed", "status_message": "our reason"}, None),
        ({"status": "failed", "status_reason": "other"}, ForeignStatus("failed", "other", "failed")),
        ({"status": "failed"}, ForeignStatus("failed", "", "failed")),
        ({"status": "stopped", "status_reason": tasks.WATCHDOG_REASON}, None),
        ({"status": "stopped", "status_reason": ABANDONED}, None),
        ({"status": "failed", "status_reason": ABANDONED}, ForeignStatus("failed", ABANDONED, "failed")),
        ({"status": "stopped", "status_message": "Jane"}, ForeignStatus("stopped", "Jane", "stopped")),
        ({"status": "closed"}, ForeignStatus("completed", "", "closed")),
    ],
)
def test_which_status_is_of_somebody_else(document: dict[str, Any], foreign: ForeignStatus | None) -> None:
    """Neither one's own, with its reason, nor the watchdog's, nor that of a dead process's tasks."""
    assert tasks.foreign_status({**ORIGINAL, **document}, ENDING) == foreign


def test_a_task_that_was_completed_twice_is_one_s_own() -> None:
    """Whatever the reason, as another process of the run may have completed it."""
    document = {**ORIGINAL, "status": "completed", "status_reason": "theirs"}
    assert tasks.foreign_status(document, Ending("1", "completed", "ours")) is None
    assert tasks.foreign_status(document, Ending("1", "failed", "theirs")) is not None


@pytest.mark.parametrize(
    ("word", "reason", "stopped"),
    [
        ("stopped", tasks.WATCHDOG_REASON, True),
        ("stopped", "", False),
        ("failed", tasks.WATCHDOG_REASON, False),
    ],
)
def test_what_the_watchdog_has_stopped(word: str, reason: str, stopped: bool) -> None:
    assert tasks.is_stopped_by_watchdog({"status": word, "status_reason": reason}) is stopped


# --- other changes -----------------------------------------------------------------------------


def test_whether_a_task_was_deleted(loopback: LoopbackServer, transport: Transport) -> None:
    """Asked once; a server that does not say is an error."""
    assert tasks.is_deleted(transport, GONE) is True
    assert tasks.is_deleted(transport, create(transport)) is False
    for body, error in ((refusal(400, 10), Refused), (b"busy", Unreachable)):
        loopback.faults.fail_next("tasks.get_by_id", status=400, body=body, times=9)
        loopback.reset_counts()
        with pytest.raises(error):
            tasks.is_deleted(transport, GONE)
        assert loopback.count("tasks.get_by_id") == 1
        loopback.faults.clear()
    server: Any = Calls()
    tasks.is_deleted(server, "1")
    assert server.made[0][2] == {"timeout": 0, "answer_timeout": limits.HEARTBEAT_ANSWER_TIMEOUT_S}


@pytest.mark.parametrize(
    ("subcode", "problem", "gone"),
    [(16, "Invalid value: field=parent", True), (16, "field=project", False), (12, "field=parent", False)],
)
def test_why_a_task_with_a_deleted_parent_is_refused(subcode: int, problem: str, gone: bool) -> None:
    assert tasks.is_parent_gone(Refused(problem, 400, subcode)) is gone


def test_a_parent_that_was_deleted_is_refused_like_that(transport: Transport) -> None:
    """As the server says it."""
    with pytest.raises(Refused) as raised:
        transport.call("tasks.create", {"name": "task", "type": "training", "parent": GONE})
    assert tasks.is_parent_gone(raised.value)
    assert not tasks.is_gone(raised.value)


def test_a_ping_is_one_attempt_without_an_error(loopback: LoopbackServer, transport: Transport) -> None:
    tasks.ping_task(transport, create(transport))
    tasks.ping_task(transport, GONE)
    assert loopback.count("tasks.ping") == 2
    loopback.faults.fail_next("tasks.ping", status=502, times=9)
    tasks.ping_task(transport, GONE)
    assert loopback.count("tasks.ping") == 3


def test_a_comment_is_one_attempt(loopback: LoopbackServer, transport: Transport) -> None:
    task = create(transport)
    set_status(loopback, task, "completed")
    tasks.set_comment(transport, task, "told")
    assert loopback.task(task)["comment"] == "told"
    loopback.faults.fail_next("tasks.update", status=502, times=9)
    with pytest.raises(Unreachable):
        tasks.set_comment(transport, task, "more")
    assert loopback.count("tasks.update") == 2


def test_parameters_are_added_to_an_open_task(loopback: LoopbackServer, transport: Transport) -> None:
    """Others stay; without any there is no call."""
    task = create(transport)
    tasks.start_task(transport, task, 20.0)
    tasks.add_parameters(transport, task, {"D": 2})
    section = loopback.task(task)["hyperparams"]["General"]
    assert {name: entry["value"] for name, entry in section.items()} == {"C": "1", "D": "2"}
    tasks.add_parameters(transport, task, {})
    assert loopback.count("tasks.edit_hyper_params") == 1


def test_notes_of_a_task(loopback: LoopbackServer, transport: Transport) -> None:
    """Entries of the section and of `runtime`, each in a call of its own if there are any."""
    task = create(transport)
    tasks.start_task(transport, task, 20.0)
    tasks.annotate_task(transport, task, {"names": "[]"}, {}, 20.0)
    assert loopback.count("tasks.edit_runtime") == 0
    tasks.annotate_task(transport, task, {}, {"taskgroup_series": "{}"}, 20.0)
    assert loopback.count("tasks.edit_hyper_params") == 1
    stored = loopback.task(task)
    assert stored["hyperparams"][SECTION]["names"]["value"] == "[]"
    assert stored["runtime"]["taskgroup_series"] == "{}"
    assert stored["runtime"]["taskgroup_run"] == RUN
    server: Any = Calls()
    tasks.annotate_task(server, "1", {"names": "[]"}, {"a": "b"}, 4.0)
    assert [times for _, _, times in server.made] == [{"timeout": 4.0, "answer_timeout": 4.0}] * 2
    assert server.made[1][1] == {"task": "1", "force": True, "add_or_update": {"a": "b"}}


def test_artifacts_are_listed_with_an_open_task(loopback: LoopbackServer, transport: Transport) -> None:
    task = create(transport)
    tasks.start_task(transport, task, 20.0)
    tasks.add_artifacts(transport, task, [{"key": "model", "type": "custom", "uri": "file:///m"}])
    (artifact,) = loopback.task(task)["execution"]["artifacts"]
    assert (artifact["key"], artifact["uri"]) == ("model", "file:///m")
