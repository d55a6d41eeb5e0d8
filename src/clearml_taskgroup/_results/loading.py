"""Results of earlier runs: from a server in a few calls, or from the records on this disk."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml import queries, sdk
from .._clearml.documents import names_of, past_task, stats_of
from .._clearml.queries import (
    Document,
    identity_of,
    is_original,
    latest_of,
    of_run,
    run_ids,
    started_of,
    whole,
)
from .._model.metrics import ByMetric, Metric, Vocabulary
from .._model.name_template import DEFAULT_TEMPLATE, Name, NameTemplate
from .._model.status import ABANDONED
from .._run import mode as _modes
from .._run.recount import as_spelt, count_dead, spelling
from .._storage import past_runs
from .._storage.memory import MemoryBackend
from .._storage.offline import OfflineBackend
from .._storage.online import OnlineBackend
from .._storage.past_runs import is_held, latest_run, load, record_of, records
from ..errors import ArgumentError, NoHistoryError, NoSuchRunError, TemplateError
from .history import Reader
from .metric_lookup import MetricLookup
from .results import Results
from .rows import OPEN, About, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from .._clearml.events import Point
    from .._model.past import PastRun, PastTask
    from .._model.stats import Stats


@attrs.frozen
class Wanted:
    """Which run of which group is to be loaded.

    Attributes:
        project, name, group_id: The group.
        run: A run's number, its id or the first digits of that; None for the latest.
    """

    project: str
    name: str
    group_id: str
    run: int | str | None = None

    def __str__(self) -> str:
        which = {int: f"run {self.run} of ", str: f"the run {self.run} of "}.get(type(self.run), "")
        return f"{which}the group {self.project}/{self.name}"


def load_results(
    wanted: Wanted,
    *,
    mode: _modes.Mode | None = None,
    metrics: Iterable[str | Metric] | None = None,
    copies: bool = False,
) -> Results:
    """Loads the results of an earlier run; see `TaskGroup.load`."""
    if wanted.run is not None and (isinstance(wanted.run, bool) or not isinstance(wanted.run, (int, str))):
        raise ArgumentError("run", wanted.run, "a run's number, its id or the first digits of that, or None")
    if mode not in (None, "online", "offline"):
        raise ArgumentError("mode", mode, "'online', 'offline' or None")
    listed = None if metrics is None else list(metrics)
    cache = sdk.cache_folder()
    folder = cache / "taskgroup" / wanted.group_id
    looked: dict[str, list[str]] = {}
    groups: list[str] = []
    if _modes.resolve(mode, tell=False) == "online":
        backend = OnlineBackend(sdk.connect())
        run = latest_of(backend.transport, wanted.group_id, wanted.run)
        if run is not None:
            return _from_server(backend, wanted, run, folder, listed, copies)
        looked[f"the server {backend.where}"] = runs = run_ids(backend.transport, wanted.group_id)
        groups += [] if runs else queries.group_names(backend.transport, wanted.project)
    if mode != "online":
        past = _on_disk(folder, wanted.run)
        if past is not None:
            return _from_disk(past, cache / "offline", listed)
        found = (run_past for run_past in map(load, records(folder)) if run_past is not None)
        looked[f"this disk, {folder.parent}"] = [f"run {past.number} ({past.run[:12]})" for past in found]
        groups += past_runs.group_names(folder.parent, wanted.project)
    known = [name for names in looked.values() for name in names]
    others = [] if known else [name for name in dict.fromkeys(groups) if name != wanted.name]
    raise NoSuchRunError(str(wanted), list(looked), known, wanted.name, others)


def load_record(path: Path) -> Results:
    """Loads the results of a run from its record, with what the sessions beside it hold.

    Raises:
        NoSuchRunError: The file is no run's record.
    """
    past = load(path)
    if past is None:
        raise NoSuchRunError("a run", [f"the file {path}"])
    return _from_disk(past, path.absolute().parent.parent.parent / "offline", None)


# --- from this disk ------------------------------------------------------------------------------


def _on_disk(folder: Path, run: int | str | None) -> PastRun | None:
    if run is None:
        return latest_run(folder)
    for path in reversed(records(folder)):
        past = load(path)
        if past is not None and (past.number == run or (isinstance(run, str) and past.run.startswith(run))):
            return past
    return None


def _from_disk(past: PastRun, sessions: Path, metrics: list[str | Metric] | None) -> Results:
    lives = past.status is None and is_held(past.path)
    backend = OfflineBackend(sessions) if past.mode == "offline" else RecordOnly(past.path)
    lookup = _lookup(past.template, metrics, past.metrics)
    reader = Reader(backend)
    if isinstance(backend, OfflineBackend):
        count_dead(past, backend, lookup.template)
    rows = [_row(_ended(task, lives), lookup, reader) for task in past.latest().values()]
    about = About(
        project=past.project,
        name=past.name,
        group_id=past.group,
        run=past.run,
        run_number=past.number,
        mode=past.mode,
        where=backend.where,
        url=backend.url(past.parent) if past.parent else None,
        started=past.started,
    )
    return _results(rows, about, lookup, reader, "a living process works on it" if lives else "")


def _ended(task: PastTask, lives: bool) -> PastTask:
    """Fills in the status that a record lacks whose process died."""
    if task.status is None:
        task.status, task.reason = ("in_progress", "") if lives else ("stopped", ABANDONED)
    return task


class RecordOnly(MemoryBackend):
    """Takes the place of a store where there is nothing but an online run's record."""

    def __init__(self, path: Path) -> None:
        super().__init__(mode="online", where=str(path), keep=False)

    def history(self, wanted: Mapping[str, Sequence[Name]]) -> dict[str, list[Point]]:
        """Has no curves."""
        raise NoHistoryError(f"in the record {self.where}", "load the run from the server: mode='online'")


# --- from a server -------------------------------------------------------------------------------


def _from_server(
    backend: OnlineBackend,
    wanted: Wanted,
    run: str,
    folder: Path,
    metrics: list[str | Metric] | None,
    copies: bool,
) -> Results:
    documents = [doc for doc in of_run(backend.transport, run) if copies or is_original(doc)]
    parent = next((doc for doc in documents if identity_of(doc).get("kind") == "parent"), None)
    tasks = [doc for doc in documents if identity_of(doc).get("kind") == "task"]
    identity = identity_of((tasks or documents)[0])
    lookup = _lookup(identity.get("template", ""), metrics, _stored_metrics(parent))
    backend.use_project(str((tasks or documents)[0].get("project") or ""))
    reader = Reader(backend)
    path = record_of(folder, run)
    local = load(path) if path is not None else None
    counted = {task.uploaded or task.id: task for task in local.tasks.values()} if local is not None else {}
    spelt = spelling(counted.values())
    latest: dict[str, Row] = {}
    for document in sorted(tasks, key=lambda doc: whole(identity_of(doc).get("attempt"), 1)):
        task = past_task(document, lookup.template)
        task.status = task.status if task.settled else document["status"]
        task.reason = task.reason if task.settled else ""
        task.measures = as_spelt(task.measures, spelt)
        row = _row(task, lookup, reader, counted.get(task.id))
        latest[row.key if is_original(document) else row.id] = row
    parent_id = str(parent["id"]) if parent is not None else (tasks[0].get("parent") if tasks else None)
    rows = list(latest.values())
    about = About(
        project=wanted.project,
        name=wanted.name,
        group_id=wanted.group_id,
        run=run,
        run_number=whole(identity.get("run_number"), 1),
        mode="online",
        where=backend.where,
        url=backend.url(parent_id) if parent_id else None,
        compare_urls=tuple(backend.compare_urls([row.id for row in rows])),
        started=local.started if local is not None else started_of(documents),
    )
    return _results(rows, about, lookup, reader)


def _stored_metrics(parent: Document | None) -> Any:
    with contextlib.suppress(ValueError):
        return json.loads(identity_of(parent).get("metrics", "null")) if parent is not None else None
    return None


# --- both ----------------------------------------------------------------------------------------


def _lookup(template: str, metrics: list[str | Metric] | None, stored: Any) -> MetricLookup:
    try:
        parsed = NameTemplate(template)
    except TemplateError:  # edited in the web page
        parsed = NameTemplate(DEFAULT_TEMPLATE)
    if metrics is not None:
        return MetricLookup(parsed, Vocabulary.of(metrics, parsed))
    return MetricLookup(parsed, Vocabulary.restored(stored, parsed) if stored is not None else None)


def _row(task: PastTask, lookup: MetricLookup, reader: Reader, counted: PastTask | None = None) -> Row:
    stats = stats_of(task)
    known = stats_of(counted) if counted is not None else {}
    if isinstance(reader.backend, OnlineBackend):  # the order of what a server gives says nothing
        first = list(known)
        stats = {m: stats[m] for m in [*first, *lookup.in_order(stats.keys() - known.keys())] if m in stats}
    for metric_key, own in known.items():  # our own record knows mean, count and last iteration
        if metric_key in stats and _agree(stats[metric_key], own):
            stats[metric_key] = own
    return Row(
        key=task.key,
        name=task.name,
        index=task.index,
        id=task.id,
        attempt=task.attempt,
        status=task.status or "stopped",
        status_reason=task.reason,
        params=task.params,
        duration=task.duration if counted is None or counted.status != task.status else counted.duration,
        url=reader.backend.url(task.id),
        stats=ByMetric(stats),
        names=names_of(task),
        lookup=lookup,
        reader=reader,
    )


def _agree(theirs: Stats, own: Stats) -> bool:
    """Tells whether a record's counts are of the same values: another machine may have gone on."""
    return all(getattr(theirs, part) == getattr(own, part) for part in ("first", "last", "min", "max"))


def _results(rows: list[Row], about: About, lookup: MetricLookup, reader: Reader, more: str = "") -> Results:
    rows.sort(key=lambda row: row.index)
    partial = bool(more) or any(row.status in OPEN for row in rows)
    return Results(tuple(rows), about, lookup, reader, partial=partial, more=more)
