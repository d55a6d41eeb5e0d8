"""Tasks on a server as a group creates them, without a group."""

from __future__ import annotations

from typing import Any

import attrs

from clearml_taskgroup._clearml.api import Transport
from clearml_taskgroup._clearml.hyperparameters import SECTION, own_entries, parameter
from clearml_taskgroup._clearml.new_task import new_task_fields
from clearml_taskgroup._clearml.queries import identity_of
from clearml_taskgroup._clearml.tasks import create_task, find_or_create_project
from clearml_taskgroup._model.specs import RunInfo, TaskSpec
from tests.loopback import LoopbackServer

GROUP = "0" * 12
RUN = RunInfo(group_id=GROUP, project="digits", name="svm", template="{metric}", run="a" * 32)
SPEC = TaskSpec("k0", "C=1", "svm C=1", 0, 1, {"C": 1})
PARENT = attrs.evolve(SPEC, key="", params={}, kind="parent")


def create(transport: Transport, *, spec: TaskSpec = SPEC, **changes: Any) -> str:
    """Creates a task on a server; `changes` are those of `RUN` or of the task."""
    of_run = {name: value for name, value in changes.items() if hasattr(RUN, name)}
    run = attrs.evolve(RUN, **of_run)
    spec = attrs.evolve(spec, **{name: value for name, value in changes.items() if name not in of_run})
    body = new_task_fields(run, spec)
    return create_task(transport, body, find_or_create_project(transport, run.project), identity_of(body))


def as_of_version_0_1(server: LoopbackServer, task_id: str) -> None:
    """Makes a task one that version 0.1 has created: with all of its identity in the section."""
    with server.state.lock:
        task = server.state.tasks[task_id]
        own = own_entries(task.pop("configuration"))
        task["hyperparams"][SECTION] |= {name: parameter(SECTION, name, own[name]) for name in own}
        task["runtime"] = {"taskgroup_run": task["runtime"]["taskgroup_run"]}
