"""On an agent: which point of which sweep its task is, with its parameters as they stand.

The same script starts there as was submitted. The sweep that the point came from gives exactly
that one turn, in the agent's own task, whose end stays the agent's business.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml import sdk
from .._clearml.hyperparameters import stored_parameters
from .._clearml.parameter_text import Text, read
from .._clearml.queries import identity_of, is_original, parse_count, query_all_tasks
from .._clearml.queues import edit_identity
from .._log import logger
from .._model.identity import flatten
from .._model.search_space import Space, configurations
from .._model.specs import RunInfo, TaskSpec

if TYPE_CHECKING:
    from .._clearml.agent_task import AgentTask
    from .._clearml.api import Transport
    from .._model.task_specs import TaskSpecs
    from .._run.run import Run


_COPIES = ("{}", "Clone Of {}", "Clone of {}")
"""What copies of a task are called where nobody has named them."""


def claimed_spec(run: Run, agent_task: AgentTask, space: Space) -> TaskSpec | None:
    """Gives the spec of the agent's task if it came from this sweep, and updates its identity on the server.

    Raises:
        AgentParameterError: A parameter was edited to an invalid value.
    """
    spec = spec_of_turn(agent_task, run.specs, run.info, run.sweeps, space)
    if spec is not None and run.backend.transport is not None:
        spec = claim(agent_task, spec, run.info, run.specs, run.backend.transport)
    if spec is not None:
        tell(agent_task, spec)
    return spec


def spec_of_turn(
    point: AgentTask, specs: TaskSpecs, info: RunInfo, ordinal: int, space: Space
) -> TaskSpec | None:
    """Gives the point's spec if a sweep is the one that it came from.

    Args:
        point: The point.
        specs: What makes keys and names of parameters.
        info: The run that it is part of.
        ordinal: Which sweep of the script this is, from 0.
        space: The sweep's space, where the values are looked up.

    Raises:
        AgentParameterError: A parameter was edited to something that it cannot be.
    """
    identity = point.identity
    if point.begun or not point.is_of(info.group_id) or identity["sweep"] != str(ordinal):
        return None
    texts = {
        name: Text(str(item.get("value") or ""), str(item.get("type") or ""))
        for name, item in ((point.document.get("hyperparams") or {}).get("General") or {}).items()
    }
    stored = json.loads(identity.get("params") or "{}")
    known: dict[str, list[Any]] = {}
    for one in configurations(space):
        for name, value in flatten(one).items():
            known.setdefault(name, []).append(value)
    if not known.keys() & stored.keys():  # the script has skipped a sweep, and this is another one
        return None
    params, edited = read(texts, stored, known)
    spec = TaskSpec(
        key=identity.get("key", ""),
        name=identity.get("name", ""),
        task_name=str(point.document.get("name", "")),
        index=parse_count(identity.get("index")),
        attempt=parse_count(identity.get("attempt"), 1),
        params=params,
        queue=identity.get("queue", ""),
        sweep=ordinal,
        task_id=point.id,
    )
    if edited:
        fresh = specs.make(params, index=spec.index)
        spec = attrs.evolve(spec, key=fresh.key, name=fresh.name, task_name=fresh.task_name)
    return spec


def claim(
    point: AgentTask, spec: TaskSpec, info: RunInfo, specs: TaskSpecs, transport: Transport
) -> TaskSpec:
    """Has the agent's task stand for what it runs: its identity follows edited parameters.

    A copy that was made in the web page, or a task that was reset, becomes an original of its run
    here, as an attempt of its own: never one that another task has.
    """
    is_edited = spec.key != point.identity.get("key")
    marked = is_original(point.document)
    if not is_edited and marked and point.identity.get("template") == info.template:
        return spec
    if is_edited or not marked:
        spec = _as_new_attempt(spec, point, info.run, marked, transport)
    entries: dict[str, str | int] = {
        "key": spec.key,
        "name": spec.name,
        "index": spec.index,
        "attempt": spec.attempt,
        "params": json.dumps(stored_parameters(spec.params), sort_keys=True),
        "template": info.template,
    }
    changed = {name: value for name, value in entries.items() if point.identity.get(name) != str(value)}
    edit_identity(transport, point.id, changed, "" if marked else info.run)
    _rename(point, spec, specs, transport)
    main = sdk.main_task()
    if main is not None and str(main.id) == point.id:
        main.reload()  # else ClearML writes back what it knew before
    return spec


def _as_new_attempt(
    spec: TaskSpec, point: AgentTask, run: str, marked: bool, transport: Transport
) -> TaskSpec:
    query = {
        "hyperparams.TaskGroup.run.value": ["__$any", run],
        "hyperparams.TaskGroup.kind.value": ["task"],
    }
    found = query_all_tasks(transport, query, ("id", "hyperparams.TaskGroup", "runtime"))
    others = [identity_of(task) for task in found if task["id"] != point.id and is_original(task)]
    same = [one for one in others if one.get("key") == spec.key]
    if same:
        attempt = 1 + max(parse_count(one.get("attempt"), 1) for one in same)
        return attrs.evolve(spec, attempt=attempt, index=parse_count(same[0].get("index")))
    if spec.key == point.identity.get("key"):
        return spec  # a task that was reset
    index = spec.index if marked else 1 + max((parse_count(one.get("index")) for one in others), default=-1)
    return attrs.evolve(spec, attempt=1, index=index)


def _rename(point: AgentTask, spec: TaskSpec, specs: TaskSpecs, transport: Transport) -> None:
    """Renames the ClearML task, unless somebody has given it a name by hand."""
    was, now = str(point.document.get("name", "")), specs.task_name_of(spec.name, spec.key, spec.index)
    old_name, old_key = point.identity.get("name", ""), point.identity.get("key", "")
    old = specs.task_name_of(old_name, old_key, parse_count(point.identity.get("index")))
    if was != now and was in [form.format(old) for form in _COPIES]:
        transport.call("tasks.update", {"task": point.id, "name": now})


def tell(point: AgentTask, spec: TaskSpec) -> None:
    """Says in one line what runs here."""
    edited = "" if spec.key == point.identity.get("key") else f", edited from {point.identity.get('name')}"
    logger.info("this agent's task is the configuration %s%s", spec.name, edited)
