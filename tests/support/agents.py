"""Help for tests of queues and agents: a script that was detected, queues, and agents that are played."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._agents import queue as _queueing
from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._clearml.agent_task import HAS_RUN
from clearml_taskgroup._clearml.queries import identity_of
from tests.loopback import LoopbackServer
from tests.loopback.queueing import make_queue
from tests.loopback.state import Doc
from tests.support.server_view import View

PROJECT, NAME = "the project", "the group"
SCRIPT = {"entry_point": "script.py", "working_dir": ".", "diff": "print('hello')\n", "binary": "python3"}
"""A script that lies in no repository."""


def script_detected(monkeypatch: pytest.MonkeyPatch, script: Mapping[str, Any] | None = None) -> None:
    """Has the tests' process look like a script that was started without arguments."""
    monkeypatch.setattr(sdk, "detect_script", lambda: (dict(script or SCRIPT), []))
    monkeypatch.setattr("sys.argv", ["script.py"])
    monkeypatch.setattr(_queueing, "FIRST_POLL_PAUSE_S", 0.005)
    monkeypatch.setattr(_queueing, "MAX_POLL_PAUSE_S", 0.02)
    monkeypatch.setattr(_queueing, "DEQUEUE_GRACE_S", 0.3)


def group(**options: Any) -> TaskGroup:
    """Makes the group of these tests."""
    return TaskGroup(PROJECT, options.pop("name", NAME), mode="online", **options)


def add_queues(server: LoopbackServer, *names: str) -> None:
    """Makes queues."""
    with server.state.lock:
        for name in names:
            make_queue(server.state, name)


def queue_of(server: LoopbackServer, name: str) -> list[str]:
    """The tasks that wait in a queue, by their names in the group, in their order."""
    with server.state.lock:
        (queue,) = [one for one in server.state.queues.values() if one["name"] == name]
        waiting = [entry["task"] for entry in queue["entries"]]
    return [identity_of(server.task(task_id))["name"] for task_id in waiting]


def points(server: LoopbackServer) -> dict[str, Doc]:
    """The tasks of groups, by their names; the latest of each."""
    docs = [doc for doc in server.tasks.values() if identity_of(doc).get("kind") == "task"]
    return {identity_of(doc)["name"]: doc for doc in docs}


def by_status(server: LoopbackServer) -> dict[str, str]:
    """How far each point is."""
    return {name: doc["status"] for name, doc in points(server).items()}


@contextmanager
def agent(view: View, task_id: str, code: int = 0) -> Iterator[None]:
    """Plays an agent that runs this process as a task: starts it, and ends it by the exit code."""
    status = view.task(task_id)["status"]
    if status == "queued":
        view.call("tasks.dequeue", task=task_id)
    view.call("tasks.started", task=task_id, force=True)
    os.environ["CLEARML_TASK_ID"] = task_id
    try:
        yield
    except BaseException:
        view.call("tasks.failed", task=task_id, status_reason="worker execution exit code 1")
        raise
    finally:
        del os.environ["CLEARML_TASK_ID"]
        os.environ.pop(HAS_RUN, None)
    view.call("tasks.completed", task=task_id, status_reason="worker execution done")


def finish(view: View, task_id: str, status: str = "completed", reason: str = "") -> None:
    """Has a task run and end as an agent would have it."""
    if view.task(task_id)["status"] == "queued":
        view.call("tasks.dequeue", task=task_id)
    view.call("tasks.started", task=task_id, force=True)
    view.call(f"tasks.{status}", task=task_id, status_reason=reason)
