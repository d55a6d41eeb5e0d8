"""The task that an agent runs this process as."""

from __future__ import annotations

import os
from typing import Any

import attrs
import pytest

from clearml_taskgroup._clearml import agent_task
from clearml_taskgroup._clearml.agent_task import HAS_RUN, RUNNING, AgentTask, agent_task_of_this_process
from clearml_taskgroup._clearml.api import Transport
from clearml_taskgroup._clearml.new_task import new_task_fields
from tests.loopback import LoopbackServer
from tests.support.stored_tasks import GROUP, PARENT, RUN, SPEC, create


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable says that an agent runs this process; what is set in a test goes with it."""
    for name in (RUNNING, HAS_RUN, "CLEARML_TASK_ID"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def task(**fields: Any) -> AgentTask:
    """The task with these fields of its document."""
    return AgentTask({"id": "t1", **fields})


def test_what_a_task_says_of_itself() -> None:
    spec = attrs.evolve(SPEC, queue="gpu")
    found = task(parent="p1", **new_task_fields(RUN, spec))
    assert (found.id, found.parent, found.queue, found.group) == ("t1", "p1", "gpu", "the group 'svm'")
    assert found.is_of(GROUP)
    assert not found.is_of("f" * 12)
    empty = task()
    assert (empty.parent, task(parent="").parent, empty.queue, empty.group) == (
        None,
        None,
        "",
        "the group ''",
    )
    assert not empty.is_of(GROUP)


def test_the_run_is_that_of_the_task() -> None:
    """With its number, which is 1 if somebody has edited it."""
    info = attrs.evolve(RUN, run="e" * 32, number=9)
    joined = task(**new_task_fields(attrs.evolve(RUN, number=4), SPEC)).joined(info)
    assert (joined.run, joined.number, joined.name) == (RUN.run, 4, "svm")
    joined = task().joined(info)
    assert (joined.run, joined.number) == ("e" * 32, 1)


def test_while_the_loop_body_runs_that_is_known_to_child_processes() -> None:
    """Afterwards that it has run; the end of another task's body changes nothing."""
    one = task()
    assert one.begun is False
    one.begin()
    assert (one.begun, os.environ[RUNNING], os.environ[HAS_RUN]) == (True, "t1", "t1")
    AgentTask({"id": "t2"}).end()
    assert os.environ[RUNNING] == "t1"
    one.end()
    one.end()
    assert RUNNING not in os.environ
    assert os.environ[HAS_RUN] == "t1"


@pytest.mark.parametrize(("mode", "is_found"), [("online", True), ("disabled", True), ("offline", False)])
def test_the_task_is_found_by_the_agent_s_variable(
    loopback: LoopbackServer, transport: Transport, monkeypatch: pytest.MonkeyPatch, mode: str, is_found: bool
) -> None:
    """In the modes that an agent may run; not while its loop body runs, but once that has ended."""
    assert agent_task_of_this_process(mode) is None
    task_id = create(transport)
    monkeypatch.setenv("CLEARML_TASK_ID", task_id)
    found = agent_task_of_this_process(mode)
    assert (found is not None) is is_found
    if found is None:
        return
    assert (found.id, found.begun, found.is_of(GROUP)) == (task_id, False, True)
    found.begin()
    assert agent_task_of_this_process(mode) is None
    found.end()
    again = agent_task_of_this_process(mode)
    assert again is not None
    assert again.begun is True
    monkeypatch.setenv(HAS_RUN, "another")
    other = agent_task_of_this_process(mode)
    assert other is not None
    assert other.begun is False


def test_other_tasks_are_not_of_a_group(
    loopback: LoopbackServer, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parent, one that was deleted, and one that no group has created."""
    others = [
        create(transport, spec=PARENT),
        "f" * 32,
        transport.call("tasks.create", {"name": "plain", "type": "training"})["id"],
    ]
    for task_id in others:
        monkeypatch.setenv("CLEARML_TASK_ID", task_id)
        assert agent_task_of_this_process("online") is None


def test_the_connection_is_closed(
    loopback: LoopbackServer, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the server refuses."""
    closed: list[Transport] = []
    close = Transport.close
    monkeypatch.setattr(Transport, "close", lambda self: closed.append(self) or close(self))  # type: ignore[func-returns-value]
    monkeypatch.setenv("CLEARML_TASK_ID", create(transport))
    monkeypatch.setattr(agent_task, "query_tasks", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        agent_task_of_this_process("online")
    assert len(closed) == 1
