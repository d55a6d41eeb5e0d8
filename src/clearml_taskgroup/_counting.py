"""The values of tasks whose process died, counted anew from where they lie: a session, a server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from ._documents import measure_of, names_of, past_task, stats_of
from ._names import Measure
from ._past import PastRun, PastTask
from ._reporter import SINGLE_VALUE_TITLE, Stats
from ._stores import SINGLE_VALUE
from ._stores.lookup import ask_all
from ._stores.offline import OfflineStore
from ._stores.online import OnlineStore
from ._template import Name, NameTemplate
from .errors import ServerError

if TYPE_CHECKING:
    from ._run import Run, TaskState

Spelt = Mapping[Name, Measure]
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
        stats.add(event["value"], None if event["iter"] == SINGLE_VALUE else event["iter"])
    measures = []
    for name, stats in counted.items():
        measure = measure_of(template, *name, name.title == SINGLE_VALUE_TITLE and stats.single, own)
        if measure is not None:
            measures.append([measure[0], dict(measure[1]), attrs.asdict(stats), [list(name)]])
    return measures


def count_dead(past: PastRun, store: OfflineStore, template: NameTemplate) -> None:
    """Counts what the sessions hold of those tasks whose process died, or works on them still."""
    latest = past.latest().values()
    dead = [task for task in latest if task.status is None]
    spelt = spelling(latest) if dead else {}
    for task in dead:
        own = {"group": past.name, "task": task.name, "key": task.key, "index": str(task.index)}
        found = measures_in(store.events(task.id), template, {**own, "task_id": task.id})
        task.measures = as_spelt(found, spelt) or task.measures


def count_anew(run: Run, states: Sequence[TaskState]) -> None:
    """Counts tasks again with which a worker process died: what it had delivered was told by nobody."""
    if not states:
        return
    others = [*run.states.values(), *run.submitted.values()]
    spelt = _spelt(state.names.spelt() for state in others if not state.died)
    found: dict[str, PastTask] = {}
    if isinstance(run.store, OnlineStore):
        with contextlib.suppress(ServerError):  # which has the values all the same, or will be given them
            docs = ask_all(run.store.transport, {"id": [state.id for state in states]})
            found = {str(doc["id"]): past_task(doc, run.template) for doc in docs}
    elif isinstance(run.store, OfflineStore):
        for state in states:
            past = PastTask(state.id, state.spec.key, state.spec.name, 0, 1, {})
            past.measures = measures_in(run.store.events(state.id), run.template, state.names.fields)
            found[state.id] = past
    for state in states:
        if state.id in found:
            past = found[state.id]
            past.measures = as_spelt(past.measures, spelt)
            state.names.stats.update(stats_of(past))
            state.names.earlier.update(names_of(past))


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


def _spelt(names: Iterable[Mapping[Measure, Sequence[Name]]]) -> Spelt:
    return {name: measure for known in names for measure, spelt in known.items() for name in spelt}
