"""The values of tasks whose process died, counted anew from where they lie: a session, a server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml import queries
from .._clearml.documents import measure_of, names_of, past_task, stats_of
from .._clearml.events import SINGLE_VALUE_ITERATION, SINGLE_VALUE_TITLE
from .._model.metrics import MetricKey
from .._model.name_template import Name, NameTemplate
from .._model.past import PastRun, PastTask
from .._model.stats import Stats
from .._storage.offline import OfflineBackend
from .._storage.online import OnlineBackend
from ..errors import ServerError

if TYPE_CHECKING:
    from .run import Run
    from .state import TaskState


LONGEST = 5.0
"""The most seconds that a server may take for it: the ends of other tasks may wait meanwhile."""
Spelt = Mapping[Name, MetricKey]
"""What names stand for, as tasks that told it themselves have spelt them."""


def measures_in(
    events: Iterable[Mapping[str, Any]], template: NameTemplate, own: Mapping[str, str]
) -> list[Any]:
    """Counts the values among API events, as a run's record has them.

    Args:
        events: The events of one task, in the order of reporting.
        template: The group's template.
        own: The texts of the task's own fields.
    """
    counted: dict[Name, Stats] = {}
    for event in events:
        if event.get("type") != "training_stats_scalar":
            continue
        stats = counted.setdefault(Name(event["metric"], event["variant"]), Stats())
        stats.add(event["value"], None if event["iter"] == SINGLE_VALUE_ITERATION else event["iter"])
    measures = []
    for name, stats in counted.items():
        metric_key = measure_of(template, *name, name.title == SINGLE_VALUE_TITLE and stats.single, own)
        if metric_key is not None:
            measures.append([metric_key[0], dict(metric_key[1]), attrs.asdict(stats), [list(name)]])
    return measures


def count_dead(past: PastRun, backend: OfflineBackend, template: NameTemplate) -> None:
    """Counts what the sessions hold of those tasks whose process died, or works on them still."""
    latest = past.latest().values()
    dead = [task for task in latest if task.status is None]
    spelt = spelling(latest) if dead else {}
    for task in dead:
        own = {"group": past.name, "task": task.name, "key": task.key, "index": str(task.index)}
        found = measures_in(backend.events(task.id), template, {**own, "task_id": task.id})
        task.measures = as_spelt(found, spelt) or task.measures


def count_anew(run: Run, states: Iterable[TaskState], patience: float) -> None:
    """Counts tasks again with which a worker process died: what it had delivered was told by nobody.

    Args:
        run: The run.
        states: Its tasks; those with which nobody died are passed over.
        patience: The most seconds that a server may take, up to `LONGEST`; at 0 it is not asked.
    """
    states = [state for state in states if state.died]
    if not states:
        return
    others = [*run.states.values(), *run.submitted.values()]
    spelt = _spelt(state.names.spelt() for state in others if not state.died)
    found: dict[str, list[Any]] = {}
    if isinstance(run.backend, OfflineBackend):
        for state in states:
            events = run.backend.events(state.id)
            found[state.id] = measures_in(events, run.template, state.names.fields)
    elif isinstance(run.backend, OnlineBackend):
        found = _on_server(run.backend, [state.id for state in states], run.template, patience)
        if not found:
            found = _in_outbox(
                run.backend, [state for state in states if not state.names.stats], run.template
            )
    for state in states:
        past = PastTask(state.id, state.spec.key, state.spec.name, state.spec.index, state.spec.attempt, {})
        past.measures = as_spelt(found.get(state.id, []), spelt)
        state.names.stats.update(stats_of(past))
        state.names.earlier.update(names_of(past))


def _on_server(
    backend: OnlineBackend, ids: list[str], template: NameTemplate, patience: float
) -> dict[str, list[Any]]:
    deadline = time.monotonic() + min(patience, LONGEST)
    found: dict[str, list[Any]] = {}
    for first in range(0, len(ids), queries.MAX_PAGE_TASKS):
        left = deadline - time.monotonic()
        if left <= 0 or backend.delivery_problem() is not None:
            return {}
        query = {"id": ids[first : first + queries.MAX_PAGE_TASKS], "only_fields": list(queries.FIELDS)}
        try:
            answer = backend.transport.call(
                "tasks.get_all", query, timeout=left, answer_timeout=max(1.0, left)
            )
        except ServerError:  # which has the values all the same, or is given them later
            return {}
        found.update((str(doc["id"]), past_task(doc, template).measures) for doc in answer["tasks"])
    return found


def _in_outbox(
    backend: OnlineBackend, states: list[TaskState], template: NameTemplate
) -> dict[str, list[Any]]:
    """Counts what waits for a server that is away, and what it took before, unless that is long ago."""
    events: dict[str, list[Any]] = {state.id: [] for state in states}
    for batch in backend.sender.outbox.batches() if backend.sender is not None and states else ():
        for task_id in events.keys() & batch.keys():
            events[task_id] += map(json.loads, batch[task_id])
    return {state.id: measures_in(events[state.id], template, state.names.fields) for state in states}


def spelling(tasks: Iterable[PastTask]) -> Spelt:
    """Gives what the names stand for that some tasks have told themselves."""
    return _spelt(names_of(task) for task in tasks if task.status is not None)


def as_spelt(measures: list[Any], spelt: Spelt) -> list[Any]:
    """Has a name that was read back stand for what it does in other tasks: the text `"1"` is read as 1."""
    found = []
    for metric, context, stats, names in measures:
        known = spelt.get(Name(*names[0]), (metric, context))
        found.append([known[0], dict(known[1]), stats, names])
    return found


def _spelt(names: Iterable[Mapping[MetricKey, Sequence[Name]]]) -> Spelt:
    return {name: metric_key for known in names for metric_key, spelt in known.items() for name in spelt}
