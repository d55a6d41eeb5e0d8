"""Checks whether agents can run this script's sweeps, and what a submitted task takes from earlier ones."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml.queries import query_tasks
from .._clearml.queues import edit_identity, edit_script
from .._run import mode as _modes
from .._task import GroupTask
from ..errors import AgentTaskError, SubmitError

if TYPE_CHECKING:
    from .._clearml.api import Transport
    from .._group import TaskGroup
    from .._model.specs import TaskSpec
    from .._model.status import Status
    from .._run.run import Run


_CARRIED = ("hyperparams", "configuration", "container")
"""Fields of the script's own `Task.init` task that are copied; on the agent, `Task.init` reads them."""
_BODY = "whose body each agent would run again, because the script cannot skip it"
_ADVICE = "make it a sweep, group.sweep([{…}]), or give it a TaskGroup and a script of its own"


def check(group: TaskGroup, run: Run, queue: str) -> None:
    """Checks that an agent could run the configurations of a sweep by starting this script.

    Raises:
        SubmitError: It could not; the message says why and what to do.
    """
    if GroupTask.current() is not None:
        raise SubmitError(
            queue,
            "this is within the block of another task, which the agent would have to run first",
            "submit it outside of all tasks' blocks and loops",
        )
    if any(not task._state.in_sweep and not task.done and type(task) is GroupTask for task in group):
        raise SubmitError(queue, f"group.task() or group.map() was called before it, {_BODY}", _ADVICE)
    if run.sharing is not None:
        raise SubmitError(
            queue,
            "the run is shared by several processes (run=…), and agents take the configurations of a queue",
            "leave run= out, or leave queue= out and start the script several times",
        )
    mode = run.backend.mode
    if mode == "memory":
        return
    if mode != "online":
        raise SubmitError(
            queue,
            f"the group is {mode}, and a queue is on a ClearML server",
            "leave queue= out to run the sweep here, or configure a server (clearml-init)",
        )
    script = run.info.script or {}
    if not run.options.provenance:
        raise SubmitError(
            queue, "provenance=False leaves the tasks without a script", "leave provenance=False out"
        )
    if script.get("version_num") and not script.get("repository"):
        raise SubmitError(
            queue,
            "the script's git repository has no remote, from which an agent could fetch it",
            "push it to one (git remote add origin …), or put the script outside of the repository",
        )
    in_notebook = run.main_task is None and "ipykernel" in sys.modules
    has_code = script.get("entry_point") and (script.get("repository") or script.get("diff"))
    if in_notebook or not has_code:
        raise SubmitError(
            queue,
            "no script was detected that an agent could start, as in a console or a notebook",
            "put the sweep into a file and run that: python script.py",
        )
    is_module = str(script["entry_point"]).startswith("-m ")  # which has its arguments with it
    if sys.argv[1:] and run.main_task is None and not is_module:
        raise SubmitError(
            queue,
            f"the script has the arguments {' '.join(sys.argv[1:])!r}, and an agent starts it without any",
            "call Task.init first, which puts the arguments of argparse back there; or take them from "
            "parameters of the sweep, or from environment variables",
        )


def refuse_beside(group: TaskGroup, run: Run, call: str) -> None:
    """Refuses tasks outside of sweeps beside a queue: on agents, their body would run once per configuration.

    Raises:
        SubmitError: The group has submitted a sweep, or is run by an agent for one.
        AgentTaskError: An agent runs the script for a task that a person has enqueued.
    """
    agent_task = run.agent_task or run.foreign_agent_task
    if agent_task is not None and not agent_task.queue:
        raise AgentTaskError(
            agent_task.identity.get("name", agent_task.id),
            f"is a task of {agent_task.group}, which an agent runs alone, and this script calls {call}, "
            f"{_BODY}",
            "only tasks of group.sweep(…) and group.map(…) can be run alone; run the script itself instead",
        )
    queue = agent_task.queue if agent_task is not None else ""
    if not queue and group._queueing is not None:
        queue = next((one.queue for one in group._queueing.submissions), "")
    if queue:
        raise SubmitError(queue, f"{call} was called beside it, {_BODY}", _ADVICE)


def is_idle_rank(run: Run) -> bool:
    """Whether this is a rank of a distributed job that leaves submitting to rank 0."""
    return run.backend.mode == "disabled" and bool(_modes.distributed_rank())


def adopted(run: Run, spec: TaskSpec, transport: Transport | None) -> tuple[TaskSpec, str, Status] | None:
    """Gives an earlier attempt's task if it is queued, running, or to be enqueued again."""
    prior = run.prior
    known = prior.attempts.get(spec.key) if prior is not None else None
    if prior is None or known is None or transport is None:
        return None
    goes_on = run.retry == "continue" and known.submitted != ""
    if spec.key not in prior.queued and spec.key not in prior.drafts and not goes_on:
        return None
    waits = spec.key in prior.queued
    spec = attrs.evolve(spec, attempt=known.attempt, index=known.index)
    if not waits:  # the script may have changed since
        edit_identity(transport, known.id, {"sweep": spec.sweep, "queue": spec.queue})
        edit_script(transport, known.id, run.info.script or {})
    return spec, known.id, "queued" if waits else "created"


def like_main(run: Run, transport: Transport | None) -> dict[str, Any]:
    """Reads what the agent needs of the script's own task: arguments, configurations, container."""
    if run.main_task is None or transport is None:
        return {}
    query = {"id": [str(run.main_task.id)], "only_fields": list(_CARRIED)}
    main = next(iter(query_tasks(transport, query)), {})
    ours = ("General", "TaskGroup")
    sections = {name: items for name, items in (main.get("hyperparams") or {}).items() if name not in ours}
    found = {**{field: main.get(field) for field in _CARRIED}, "hyperparams": sections}
    return {field: value for field, value in found.items() if value}
