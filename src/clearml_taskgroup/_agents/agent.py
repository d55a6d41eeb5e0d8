"""On an agent: which point of which sweep its task is, with its parameters as they stand.

The same script starts there as was submitted. The sweep that the point came from gives exactly
that one turn, in the agent's own task, whose end stays the agent's business.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs

from .. import _clearml
from .._identity import flatten
from .._space import Space, points
from .._specs import Specs
from .._stores import RunInfo, TaskSpec, stored_parameters
from .._stores.lookup import FIELDS, PATIENCE, Document, ask, ask_all, identity_of, is_original, whole
from .._stores.queues import edit_identity
from .._transport import Transport
from ..errors import AgentTaskError
from .recorded import Text, read

if TYPE_CHECKING:
    from .._run import TaskState

TURN = "CLEARML_TASKGROUP_TURN"
"""Set while the point's turn lasts: groups that its body opens, in a child process too, are its own."""
RAN = "CLEARML_TASKGROUP_RAN"
"""Set once the point's turn has begun: another group of the same name has none for it."""
NOT_CAUGHT = (
    "catch=… lets a loop go on, and here is one turn: the exception ends the script, so that the agent marks "
    "its task as failed"
)
_COPIES = ("{}", "Clone Of {}", "Clone of {}")
"""What copies of a task are called where nobody has named them."""


@attrs.define
class Point:
    """The task that an agent runs this script as: a point of a sweep that was submitted.

    Attributes:
        document: The task, as it stands on the server.
        is_kept: Whether what becomes of its identity is written back; not by ranks other than 0.
        begun: Whether its sweep has been found, and its turn begun.
    """

    document: Document
    is_kept: bool = True
    begun: bool = False
    identity: dict[str, str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.identity = identity_of(self.document)

    @property
    def id(self) -> str:
        """The agent's task."""
        return str(self.document["id"])

    @property
    def parent(self) -> str | None:
        """The task that stands for the run."""
        parent = self.document.get("parent")
        return str(parent) if parent else None

    def is_of(self, group_id: str) -> bool:
        """Whether it is one of a group's."""
        return self.identity.get("group") == group_id

    def joined(self, info: RunInfo) -> RunInfo:
        """Gives the run that it is part of."""
        return attrs.evolve(
            info, run=self.identity.get("run", info.run), number=whole(self.identity.get("run_number"), 1)
        )

    def begin(self) -> None:
        """Notes that the point's body runs from here on."""
        self.begun = True
        os.environ[TURN] = os.environ[RAN] = self.id

    def end(self) -> None:
        """Notes that the point's body has ended."""
        if os.environ.get(TURN) == self.id:
            del os.environ[TURN]

    def problem(self, states: Iterable[TaskState], sweeps: int) -> AgentTaskError | None:
        """Tells, as the group ends, why its agent must not take the task for completed.

        An agent goes by the script's exit code alone: none of the sweeps was the point's, or the
        script has marked the task as failed or stopped.
        """
        for state in states:
            if state.id == self.id and state.status in ("failed", "stopped"):
                why = f": {state.reason}" if state.reason else ""
                return AgentTaskError(
                    state.spec.name,
                    f"was marked as {state.status}{why}",
                    "an agent goes by a script's exit code, so the script ends here",
                )
        if self.begun:
            return None
        ordinal = whole(self.identity.get("sweep"))
        return AgentTaskError(
            self.identity.get("name", self.id),
            f"is a point of sweep {ordinal} (counted from 0) of the group "
            f"{self.identity.get('group_name', '')!r}, and this script "
            + (f"has only {sweeps}" if sweeps <= ordinal else "never looped over it"),
            "it did nothing: give the task the version of the script that submitted it, or submit it anew",
        )


def point_of_this_process(mode: str) -> Point | None:
    """Finds the point that an agent runs this script as.

    Not within its turn: a group that the body opens is one of the body's own.

    Args:
        mode: How the group works; a rank other than 0 of a distributed job, which is disabled, has
            the same turn as rank 0.
    """
    task_id = _clearml.agent_task_id() if mode in ("online", "disabled") else None
    if task_id is None or os.environ.get(TURN) == task_id:
        return None
    transport = Transport(_clearml.connect())
    try:
        found = ask(transport, {"id": [task_id], "only_fields": list(FIELDS)})
    finally:
        transport.close()
    point = Point(found[0], mode == "online", os.environ.get(RAN) == task_id) if found else None
    submitted = point is not None and point.identity.get("kind") == "task" and "sweep" in point.identity
    return point if submitted else None


def spec_of_turn(point: Point, specs: Specs, info: RunInfo, ordinal: int, space: Space) -> TaskSpec | None:
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
    for one in points(space):
        for name, value in flatten(one).items():
            known.setdefault(name, []).append(value)
    if not known.keys() & stored.keys():  # the script has skipped a sweep, and this is another one
        return None
    params, edited = read(texts, stored, known)
    spec = TaskSpec(
        key=identity.get("key", ""),
        name=identity.get("name", ""),
        task_name=str(point.document.get("name", "")),
        index=whole(identity.get("index")),
        attempt=whole(identity.get("attempt"), 1),
        params=params,
        queue=identity.get("queue", ""),
        sweep=ordinal,
        task_id=point.id,
    )
    if edited:
        fresh = specs.one(params, index=spec.index)
        spec = attrs.evolve(spec, key=fresh.key, name=fresh.name, task_name=fresh.task_name)
    return spec


def claim(point: Point, spec: TaskSpec, info: RunInfo, specs: Specs, transport: Transport) -> TaskSpec:
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
    main = _clearml.main_task()
    if main is not None and str(main.id) == point.id:
        main.reload()  # else ClearML writes back what it knew before
    return spec


def _as_new_attempt(spec: TaskSpec, point: Point, run: str, marked: bool, transport: Transport) -> TaskSpec:
    query = {
        "hyperparams.TaskGroup.run.value": ["__$any", run],
        "hyperparams.TaskGroup.kind.value": ["task"],
    }
    found = ask_all(transport, query, ("id", "hyperparams.TaskGroup", "runtime"))
    others = [identity_of(task) for task in found if task["id"] != point.id and is_original(task)]
    same = [one for one in others if one.get("key") == spec.key]
    if same:
        attempt = 1 + max(whole(one.get("attempt"), 1) for one in same)
        return attrs.evolve(spec, attempt=attempt, index=whole(same[0].get("index")))
    if spec.key == point.identity.get("key"):
        return spec  # a task that was reset
    index = spec.index if marked else 1 + max((whole(one.get("index")) for one in others), default=-1)
    return attrs.evolve(spec, attempt=1, index=index)


def _rename(point: Point, spec: TaskSpec, specs: Specs, transport: Transport) -> None:
    """Renames the ClearML task, unless somebody has given it a name by hand."""
    was, now = str(point.document.get("name", "")), specs.task_name_of(spec.name, spec.key, spec.index)
    old_name, old_key = point.identity.get("name", ""), point.identity.get("key", "")
    old = specs.task_name_of(old_name, old_key, whole(point.identity.get("index")))
    if was != now and was in [form.format(old) for form in _COPIES]:
        transport.call("tasks.update", {"task": point.id, "name": now}, patience=PATIENCE)


def tell(point: Point, spec: TaskSpec) -> None:
    """Says in one line what runs here."""
    edited = "" if spec.key == point.identity.get("key") else f", edited from {point.identity.get('name')}"
    print(f"ClearML TaskGroup: this agent's task is the point {spec.name}{edited}", file=sys.stderr)
