"""On an agent: which configuration of which sweep its task is, with the parameters as they are now.

The script starts there again. The sweep or map that the task came from has exactly one iteration, in the
agent's own task, whose final status the agent sets.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml import sdk
from .._clearml.agent_task import HAS_RUN
from .._clearml.hyperparameters import stored_parameters
from .._clearml.parameter_text import read
from .._clearml.queries import find_originals, identity_of, is_original, parse_count
from .._clearml.queues import edit_identity
from .._log import logger
from .._model.identity import flatten
from .._model.search_space import Space, configurations
from .._model.specs import RunInfo, TaskSpec
from .._text import some
from ..errors import AgentTaskError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._clearml.agent_task import AgentTask
    from .._clearml.api import Transport
    from .._model.task_specs import TaskSpecs
    from .._run.run import Run
    from .._run.state import TaskState


_COPIES = ("{}", "Clone Of {}", "Clone of {}")
"""The names that ClearML gives copies of a task."""


def claimed_spec(run: Run, space: Space, place: str) -> TaskSpec | None:
    """Gives the spec of the agent's task if it came from this sweep, and updates its identity on the server.

    Args:
        run: The group's run, of which the agent's task is one.
        space: The sweep's space.
        place: Which sweep or map of the script this is, `"0"` or `"map 0"`.

    Raises:
        AgentParameterError: A parameter was edited to an invalid value.
    """
    agent_task = run.agent_task
    assert agent_task is not None
    spec = spec_in_sweep(agent_task, run.specs, run.info, place, space)
    if spec is not None and run.backend.transport is not None:
        spec = claim(agent_task, spec, run.info, run.specs, run.backend.transport)
    if spec is not None:
        old = agent_task.identity
        edited = "" if spec.key == old.get("key") else f", edited from {old.get('name')}"
        logger.info("this agent's task is the configuration %s%s", spec.name, edited)
    return spec


def spec_in_sweep(
    agent_task: AgentTask, specs: TaskSpecs, info: RunInfo, place: str, space: Space
) -> TaskSpec | None:
    """Gives the task's spec if it came from this sweep; else None.

    Args:
        agent_task: The agent's task.
        specs: Makes keys and names of parameters.
        info: The task's run.
        place: Which sweep or map of the script this is, `"0"` or `"map 0"`.
        space: The sweep's space; its values show what an edited text means.

    Raises:
        AgentParameterError: A parameter was edited to an invalid value.
    """
    identity = agent_task.identity
    if agent_task.begun or not agent_task.is_of(info.group_id):
        return None
    is_its_place = identity.get("sweep") == place
    if agent_task.queue and not is_its_place:
        return None
    general = (agent_task.document.get("hyperparams") or {}).get("General") or {}
    stored = json.loads(identity.get("params") or "{}")
    known: dict[str, list[Any]] = {}
    listed = configurations(space)
    for one in listed:
        for name, value in flatten(one).items():
            known.setdefault(name, []).append(value)
    # Where the script has skipped a sweep, this is another one.
    has_its_names = stored.keys() <= known.keys() if not agent_task.queue else stored.keys() & known.keys()
    if not (is_its_place and has_its_names) and not _has_key(specs, listed, agent_task):
        return None
    params, edited = read(general, stored, known)
    spec = TaskSpec(
        key=identity.get("key", ""),
        name=identity.get("name", ""),
        task_name=str(agent_task.document.get("name", "")),
        index=parse_count(identity.get("index")),
        attempt=parse_count(identity.get("attempt"), 1),
        params=params,
        queue=identity.get("queue", ""),
        sweep=place,
        task_id=agent_task.id,
    )
    if edited:
        fresh = specs.make(params, index=spec.index)
        spec = attrs.evolve(spec, key=fresh.key, name=fresh.name, task_name=fresh.task_name)
    return spec


def _has_key(specs: TaskSpecs, listed: Iterable[Mapping[str, Any]], agent_task: AgentTask) -> bool:
    """Whether a configuration has the key of the agent's task, which no script gives to two sweeps."""
    key = agent_task.identity.get("key")
    return not agent_task.queue and any(specs.make(one).key == key for one in listed)


def claim(
    agent_task: AgentTask, spec: TaskSpec, info: RunInfo, specs: TaskSpecs, transport: Transport
) -> TaskSpec:
    """Rewrites the identity of the agent's task on the server: it follows edited parameters.

    A copy that was made in the web page, or a task that was reset, becomes an original of its run, with
    an attempt number that no other task has.
    """
    is_edited = spec.key != agent_task.identity.get("key")
    marked = is_original(agent_task.document)
    if not is_edited and marked and agent_task.identity.get("template") == info.template:
        return spec
    if is_edited or not marked:
        spec = _as_new_attempt(spec, agent_task, info.run, marked, transport)
    entries: dict[str, str | int] = {
        "key": spec.key,
        "name": spec.name,
        "index": spec.index,
        "attempt": spec.attempt,
        "params": json.dumps(stored_parameters(spec.params)),
        "template": info.template,
    }
    changed = {name: value for name, value in entries.items() if agent_task.identity.get(name) != str(value)}
    edit_identity(transport, agent_task.id, changed, "" if marked else info.run)
    _rename(agent_task, spec, specs, transport)
    main = sdk.main_task()
    if main is not None and str(main.id) == agent_task.id:
        main.reload()  # else ClearML's object writes its old copy back
    return spec


def _as_new_attempt(
    spec: TaskSpec, agent_task: AgentTask, run: str, marked: bool, transport: Transport
) -> TaskSpec:
    found = find_originals(transport, {"run": run, "kind": "task"})
    others = [identity_of(task) for task in found if task["id"] != agent_task.id]
    same = [one for one in others if one.get("key") == spec.key]
    if same:
        attempt = 1 + max(parse_count(one.get("attempt"), 1) for one in same)
        return attrs.evolve(spec, attempt=attempt, index=parse_count(same[0].get("index")))
    if spec.key == agent_task.identity.get("key"):
        return spec  # a task that was reset
    index = spec.index if marked else 1 + max((parse_count(one.get("index")) for one in others), default=-1)
    return attrs.evolve(spec, attempt=1, index=index)


def _rename(agent_task: AgentTask, spec: TaskSpec, specs: TaskSpecs, transport: Transport) -> None:
    """Renames the ClearML task, unless a person has named it."""
    was, now = str(agent_task.document.get("name", "")), specs.task_name_of(spec.name, spec.key, spec.index)
    old_name, old_key = agent_task.identity.get("name", ""), agent_task.identity.get("key", "")
    old = specs.task_name_of(old_name, old_key, parse_count(agent_task.identity.get("index")))
    if was != now and was in [form.format(old) for form in _COPIES]:
        transport.call("tasks.update", {"task": agent_task.id, "name": now})


def problem(agent_task: AgentTask, states: Iterable[TaskState], sweeps: int) -> AgentTaskError | None:
    """Gives the error that ends the script, so that the agent does not mark its task as completed.

    An agent takes the status from the script's exit code alone. The error says that no sweep was the
    task's, or that the script has marked the task as failed or stopped.

    Args:
        agent_task: The agent's task.
        states: All tasks of the run.
        sweeps: How many sweeps the script had.
    """
    for state in states:
        if state.id == agent_task.id and state.status in ("failed", "stopped"):
            why = f": {state.reason}" if state.reason else ""
            return AgentTaskError(
                state.spec.name,
                f"was marked as {state.status}{why}",
                "an agent takes the status from the script's exit code, so the script ends here",
            )
    if agent_task.begun:
        return None
    if not agent_task.queue:
        return AgentTaskError(
            agent_task.identity.get("name", agent_task.id),
            f"is a task of {agent_task.group}, and no sweep and no map of this script has its key or its "
            "parameters",
            "nothing was run: an agent can run a task that group.sweep(…) or group.map(…) has opened, with "
            "the version of the script that did",
        )
    ordinal = parse_count(agent_task.identity.get("sweep"))
    return AgentTaskError(
        agent_task.identity.get("name", agent_task.id),
        f"is a configuration of sweep {ordinal} (counted from 0) of the group "
        f"{agent_task.identity.get('group_name', '')!r}, and this script "
        + (f"has only {sweeps}" if sweeps <= ordinal else "never looped over it"),
        "it did nothing: give the task the version of the script that submitted it, or submit it again",
    )


_other_groups: dict[str, list[str]] = {}  # that the script has opened, by the agent's task


def expect(agent_task: AgentTask, opened: str) -> None:
    """Has the script fail at its end if it never runs the agent's task, of another group than it has opened.

    Args:
        agent_task: The agent's task.
        opened: The group that the script has opened.
    """
    if agent_task.id not in _other_groups:
        atexit.register(_fail_if_not_run, agent_task, os.getpid())
    _other_groups.setdefault(agent_task.id, []).append(opened)


def _fail_if_not_run(agent_task: AgentTask, pid: int) -> None:
    """Ends the interpreter with the exit code 1, which nothing else can set while it ends."""
    is_agents_process = os.getpid() == pid and sdk.agent_task_id() == agent_task.id
    has_failed = getattr(sys, "last_value", None) is not None
    if not is_agents_process or has_failed or os.environ.get(HAS_RUN) == agent_task.id:
        return
    opened = some(list(dict.fromkeys(_other_groups[agent_task.id])), 2)
    error = AgentTaskError(
        agent_task.identity.get("name", agent_task.id),
        f"is a task of {agent_task.group} (id {agent_task.identity.get('group')}), and this script has "
        f"opened only {opened}",
        "nothing was run: give the task the version of the script that opens its group in its project",
    )
    logger.error("%s", error)
    atexit.unregister(_fail_if_not_run)
    atexit._run_exitfuncs()  # those of others, which `_exit` would skip
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(1)
