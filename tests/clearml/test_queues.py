"""Queues, and what an agent needs: enqueueing, following, stopping and changing tasks."""

from __future__ import annotations

from typing import Any

import pytest

from clearml_taskgroup._clearml import queues
from clearml_taskgroup._clearml.api import Transport
from clearml_taskgroup._clearml.api_errors import Refused
from clearml_taskgroup._clearml.hyperparameters import SECTION
from clearml_taskgroup._clearml.queries import identity_of, is_original
from clearml_taskgroup.errors import ServerError, UnknownQueueError
from tests.loopback import LoopbackServer
from tests.loopback.faults import refusal
from tests.support.stored_tasks import create

GONE = "f" * 32
RUN, OTHER = "a" * 32, "b" * 32


def status(server: LoopbackServer, task_id: str) -> str:
    """The status of a task."""
    return str(server.task(task_id)["status"])


def test_a_queue_by_its_name_or_its_id(transport: Transport) -> None:
    """A name goes before the id of another queue."""
    gpu = transport.call("queues.create", {"name": "gpu"})["id"]
    named = transport.call("queues.create", {"name": gpu})["id"]
    default = queues.find_queue(transport, "default")
    assert queues.find_queue(transport, "gpu") == gpu
    assert queues.find_queue(transport, gpu) == named
    assert queues.find_queue(transport, default) == default


def test_a_queue_that_is_not_there(loopback: LoopbackServer, transport: Transport) -> None:
    """What there is, what was meant, and how to create it."""
    with pytest.raises(UnknownQueueError) as raised:
        queues.find_queue(transport, "defalt")
    assert str(raised.value) == (
        "the queue 'defalt' is not on the server (did you mean 'default'?), which has: default; choose one "
        "of them, or create it: clearml-agent daemon --queue defalt --create-queue"
    )
    loopback.faults.fail_next("queues.get_all", body=b'{"meta":{"result_code":200},"data":{"queues":[]}}')
    with pytest.raises(UnknownQueueError, match="which has: none"):
        queues.find_queue(transport, "gpu")


def test_statuses_and_documents_of_tasks(transport: Transport) -> None:
    """A deleted one is missing; a document has the message of its status, too."""
    task = create(transport)
    transport.call("tasks.started", {"task": task, "status_message": "at work"})
    assert queues.statuses(transport, [task, GONE]) == {task: "in_progress"}
    (document,) = queues.documents(transport, [task, GONE])
    assert document["status_message"] == "at work"
    assert identity_of(document)["key"] == "k0"


# --- for many tasks ----------------------------------------------------------------------------


def test_tasks_are_enqueued_in_their_order(loopback: LoopbackServer, transport: Transport) -> None:
    """Without an agent that is told; an agent's name is in the server's list of workers."""
    default = queues.find_queue(transport, "default")
    tasks = [create(transport, key=f"k{n}") for n in range(3)]
    assert queues.enqueue(transport, tasks[::-1], default) is False
    assert [entry["task"] for entry in loopback.queues[default]["entries"]] == tasks[::-1]
    transport.call("workers.register", {"worker": "agent", "queues": [default]})
    assert queues.enqueue(transport, [create(transport, key="k3")], default) is True
    assert queues.enqueue(transport, [], default) is True


class Server:
    """Takes the place of a transport to a server that gives these answers."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.made: list[tuple[str, dict[str, Any]]] = []

    def call(self, action: str, body: dict[str, Any], **times: Any) -> Any:
        """Gives the answer to a call, or raises it; several of them one after the other."""
        self.made.append((action, body))
        answer = self.answers[action.partition(".")[2]]
        answer = answer.pop(0) if isinstance(answer, list) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("answers", "watched"),
    [
        ([{}], True),
        ([{"queue_watched": True}], True),
        ([{"queue_watched": False}], False),
        ([{"queue_watched": None}], True),
    ],
)
def test_an_older_server_does_not_say_whether_there_is_an_agent(answers: list[Any], watched: bool) -> None:
    server: Any = Server(enqueue_many=answers)
    assert queues.enqueue(server, ["1"], "q") is watched


def test_tasks_of_several_pages_are_one_call_for_each() -> None:
    """One of them that is without an agent is enough to tell."""
    ids = [f"{n}" for n in range(501)]
    server: Any = Server(enqueue_many=[{"queue_watched": False}, {"queue_watched": True}])
    assert queues.enqueue(server, ids, "q") is False
    assert [(body["queue"], len(body["ids"])) for _, body in server.made] == [("q", 500), ("q", 1)]


def failed(*ids: str) -> dict[str, Any]:
    """The answer of a call for many tasks, some of which failed."""
    return {"failed": [{"id": each, "error": {"msg": f"no {each}"}} for each in ids]}


def test_a_task_that_could_not_be_enqueued_is_told() -> None:
    """Not one that an attempt whose answer was lost has enqueued, or that an agent runs already."""
    found = {"tasks": [{"id": "1", "status": "queued"}, {"id": "2", "status": "in_progress"}]}
    server: Any = Server(enqueue_many=failed("1", "2"), get_all=found)
    assert queues.enqueue(server, ["1", "2"], "q") is True
    found["tasks"].append({"id": "3", "status": "completed"})
    server = Server(enqueue_many=failed("1", "3", "4"), get_all=found)
    with pytest.raises(ServerError, match=r"2 of 4 tasks could not be enqueued: no 3"):
        queues.enqueue(server, ["1", "2", "3", "4"], "q")
    server = Server(enqueue_many=failed("3"), get_all=found)
    with pytest.raises(ServerError, match=r"1 of 1 task could not be enqueued: no 3"):
        queues.enqueue(server, ["3"], "q")


def test_a_call_that_is_refused_has_failed_for_its_tasks() -> None:
    """Each page is a call of its own; a failure without a reason was refused."""
    ids = [f"{n}" for n in range(501)]
    without = {"failed": [{"id": "500"}]}
    server: Any = Server(stop_many=[Refused("all of them", 400), without])
    why = queues.stop(server, ids, "enough")
    assert why == dict.fromkeys(ids[:500], "all of them") | {"500": "refused"}
    server = Server(stop_many={"failed": None})
    assert queues.stop(server, ["1"], "enough") == {}


def test_stopping_tasks(loopback: LoopbackServer, transport: Transport) -> None:
    """Queued ones leave their queue; drafts are stopped by force only."""
    default = queues.find_queue(transport, "default")
    draft, queued = create(transport), create(transport, key="k1")
    queues.enqueue(transport, [queued], default)
    why = queues.stop(transport, [draft, queued, GONE], "enough")
    assert set(why) == {draft, GONE}
    assert loopback.queues[default]["entries"] == []
    assert queues.stop(transport, [draft], "enough", force=True) == {}
    assert (status(loopback, draft), loopback.task(draft)["status_reason"]) == ("stopped", "enough")
    server: Any = Server(stop_many={})
    queues.stop(server, ["1"], "why")
    assert server.made == [("tasks.stop_many", {"status_reason": "why", "force": False, "ids": ["1"]})]


# --- for an agent ------------------------------------------------------------------------------


def test_a_script_is_replaced_as_a_whole(loopback: LoopbackServer, transport: Transport) -> None:
    """What the new one does not have is empty, not that of the old one."""
    task = create(transport)
    queues.edit_script(transport, task, {"repository": "r", "diff": "d", "entry_point": "old.py"})
    queues.edit_script(transport, task, {"repository": "r2", "entry_point": "new.py"})
    script = loopback.task(task)["script"]
    assert (script["repository"], script["entry_point"], script["diff"]) == ("r2", "new.py", "")


@pytest.mark.parametrize("word", ["created", "completed"])
@pytest.mark.parametrize(
    "entries",
    [{"queue": "gpu"}, {"sweep": "1", "index": 4}, {"sweep": "1", "queue": "gpu", "run_number": 3}],
)
def test_entries_of_an_identity_are_changed_whatever_the_status(
    loopback: LoopbackServer, transport: Transport, word: str, entries: dict[str, Any]
) -> None:
    """Where they are: shared ones in the section, the others in the object; all else stays."""
    task = create(transport)
    with loopback.state.lock:
        loopback.state.tasks[task]["status"] = word
    before = loopback.task(task)
    queues.edit_identity(transport, task, entries)
    after = loopback.task(task)
    assert identity_of(after) == identity_of(before) | {name: str(value) for name, value in entries.items()}
    assert after["hyperparams"]["General"] == before["hyperparams"]["General"]
    assert set(after["hyperparams"][SECTION]) == set(before["hyperparams"][SECTION]) | (
        entries.keys() & {"queue", "run_number"}
    )
    index = str(entries.get("index", 0))
    assert after["runtime"] == before["runtime"] | {"taskgroup_index": index}
    assert (after["status"], is_original(after)) == (word, True)


@pytest.mark.parametrize("word", ["in_progress", "completed"])
def test_a_copy_becomes_an_original_of_a_run(
    loopback: LoopbackServer, transport: Transport, word: str
) -> None:
    """With its markers; without the run it stays a copy, and only the entries change."""
    task = create(transport)
    with loopback.state.lock:
        loopback.state.tasks[task].update(status=word, runtime={})
    queues.edit_identity(transport, task, {"index": 2})
    assert loopback.task(task)["runtime"] == {}
    queues.edit_identity(transport, task, {"run": OTHER, "key": "k1"}, OTHER)
    after = loopback.task(task)
    assert is_original(after)
    assert after["runtime"] == {
        "taskgroup_run": OTHER,
        "taskgroup_key": "k1",
        "taskgroup_attempt": "1",
        "taskgroup_index": "2",
    }


def test_only_what_changes_is_sent(loopback: LoopbackServer, transport: Transport) -> None:
    """A shared entry is one call; one's own is read first, and `runtime` is changed if it has it."""
    task = create(transport)
    loopback.reset_counts()

    def calls() -> list[str]:
        made = [call.endpoint for call in loopback.calls]
        loopback.reset_counts()
        return made

    queues.edit_identity(transport, task, {"queue": "gpu"})
    assert calls() == ["tasks.edit_hyper_params"]
    queues.edit_identity(transport, task, {"sweep": "0"})
    assert calls() == ["tasks.get_all", "tasks.edit_configuration"]
    queues.edit_identity(transport, task, {"attempt": 2})
    assert calls() == ["tasks.get_all", "tasks.edit_configuration", "tasks.edit_runtime"]
    queues.edit_identity(transport, task, {"queue": "cpu"}, RUN)
    assert calls() == ["tasks.get_all", "tasks.edit_hyper_params"]


def test_an_entry_that_version_0_1_has_in_the_section_is_changed_there(
    loopback: LoopbackServer, transport: Transport
) -> None:
    """Else the old value in the section would go first."""
    task = create(transport)
    section = loopback.task(task)["hyperparams"][SECTION]
    old = {"section": SECTION, "name": "attempt", "value": "1", "type": "str"}
    with loopback.state.lock:
        loopback.state.tasks[task]["hyperparams"][SECTION] = {**section, "attempt": old}
    queues.edit_identity(transport, task, {"attempt": 5})
    after = loopback.task(task)
    assert after["hyperparams"][SECTION]["attempt"]["value"] == "5"
    assert identity_of(after)["attempt"] == "5"


def test_a_task_whose_sections_are_empty_is_changed_by_force(
    loopback: LoopbackServer, transport: Transport
) -> None:
    """As one whose parameters somebody has deleted."""
    task = create(transport)
    with loopback.state.lock:
        loopback.state.tasks[task].update(hyperparams={}, configuration={}, runtime={}, status="completed")
    queues.edit_identity(transport, task, {"queue": "gpu", "index": 1})
    assert identity_of(loopback.task(task)) == {"queue": "gpu", "index": "1"}
    loopback.faults.fail_next("tasks.edit", status=400, body=refusal(400, 110))
    with pytest.raises(Refused):
        queues.edit_identity(transport, task, {"queue": "cpu"})
