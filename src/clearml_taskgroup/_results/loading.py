"""Results of earlier runs: from a server in a few calls, or from the run logs on this disk."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml import sdk
from .._clearml.documents import past_task
from .._clearml.queries import (
    Document,
    all_run_tasks,
    find_latest_run,
    find_run_id,
    groups_of,
    identity_of,
    is_counted,
    parse_count,
    run_labels,
    run_started_at,
)
from .._model.arguments import check_flag, is_one_of, iterator_of
from .._model.metric_data import add_skipped
from .._model.name_template import DEFAULT_TEMPLATE, Name, NameTemplate
from .._model.parameter_json import plain
from .._model.past import PastTask, latest_attempts
from .._model.status import ENDED, from_server
from .._model.vocabulary import Vocabulary
from .._model.which_run import run_label, which_run
from .._run import mode as _modes
from .._run.recount import RECOUNT_TIMEOUT_S, Counted, complete, recount_past
from .._storage.memory import MemoryBackend
from .._storage.offline import OfflineBackend
from .._storage.online import OnlineBackend
from .._storage.past_runs import (
    abandoned_tasks,
    find_run_logs,
    groups_on_disk,
    is_in_use,
    is_left,
    latest_run,
    load,
    load_or_skip,
    log_empty_runs,
    run_logs,
)
from .._text import natural, shown
from ..errors import ArgumentError, NoHistoryError, NoSuchRunError, TemplateError
from .find_metric import MetricLookup
from .history import Reader
from .results import Results
from .rows import OPEN, About, Row, row_metrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from .._clearml.events import Curves
    from .._model.metric_data import Metrics
    from .._model.metrics import Metric
    from .._model.past import PastRun
    from .._model.stats import Stats


@attrs.frozen
class Wanted:
    """Which run of which group is to be loaded.

    Attributes:
        project, name, group_id: The group.
        run: A run's number, its text, its id or the first digits of the id; None for the latest.
    """

    project: str
    name: str
    group_id: str
    run: int | str | None = None

    def __str__(self) -> str:
        number, text = isinstance(self.run, int), isinstance(self.run, str)
        which = f"run {shown(self.run)} of " if number else f"the run {self.run} of " if text else ""
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
    if not is_one_of(mode, (None, "online", "offline")):
        raise ArgumentError("mode", mode, "'online', 'offline' or None")
    check_flag("copies", copies)
    given = None if metrics is None or isinstance(metrics, (str, Mapping)) else iterator_of(metrics)
    listed: Any = metrics if given is None else list(given)
    cache = sdk.cache_folder()
    folder = cache / "taskgroup" / wanted.group_id
    searched: dict[str, list[str]] = {}
    groups: list[tuple[str, str]] = []
    if _modes.resolve(mode, log=False) == "online":
        backend = LoadedServer(sdk.connect())
        try:
            run = _find_on_server(backend, wanted)
            if run is not None:
                return _from_server(backend, wanted, run, folder, listed, copies)
            searched[f"the server {backend.where}"] = runs = run_labels(backend.transport, wanted.group_id)
            if not runs:
                groups += groups_of(backend.transport, wanted.project) or groups_of(backend.transport, None)
        finally:
            backend.close()
    if mode != "online":
        past = _on_disk(folder, wanted.run)
        if past is not None:
            return _from_disk(past, cache / "offline", listed)
        found = (past for past in map(load_or_skip, run_logs(folder)) if past is not None)
        searched[f"this disk, {folder.parent}"] = [
            run_label(past.run, past.number, past.shared) for past in found
        ]
        groups += groups_on_disk(folder.parent)
    if isinstance(wanted.run, str) and os.sep in wanted.run and not os.path.isabs(wanted.run):
        with contextlib.suppress(NoSuchRunError):  # the text may be a path that was made absolute
            absolute = attrs.evolve(wanted, run=os.path.abspath(wanted.run))
            return load_results(absolute, mode=mode, metrics=listed, copies=copies)
    known = [name for names in searched.values() for name in names]
    others = [one for one in dict.fromkeys(groups) if not known and one != (wanted.project, wanted.name)]
    groups_here = [name for project, name in others if project == wanted.project]
    elsewhere = [f"{project}/{name}" for project, name in others]
    label = f"{wanted.project}/{wanted.name}"
    raise NoSuchRunError(str(wanted), list(searched), known, wanted.name, groups_here, elsewhere, label)


def load_run_log(path: Path) -> Results:
    """Loads the results of a run from its run log and, offline, from its sessions.

    Raises:
        NoSuchRunError: The file is no run log.
    """
    past = load(path)
    if past is None:
        raise NoSuchRunError("a run", [f"the file {path}"])
    return _from_disk(past, path.absolute().parent.parent.parent / "offline", None)


def _find_on_server(backend: OnlineBackend, wanted: Wanted) -> str | None:
    if wanted.run is not None:
        return find_run_id(backend.transport, wanted.group_id, wanted.run)
    run, number, empty = find_latest_run(backend.transport, wanted.group_id)
    log_empty_runs(number, empty, f"{wanted.project}/{wanted.name}")
    return run


# --- from this disk ------------------------------------------------------------------------------


def _on_disk(folder: Path, run: int | str | None) -> PastRun | None:
    if run is None:
        return latest_run(folder)
    found = [past for past in map(load_or_skip, reversed(run_logs(folder))) if past is not None]
    wanted = which_run(run, folder.name, [(past.run, past.number) for past in found])
    return next((past for past in found if past.run == wanted), None)


def _from_disk(past: PastRun, sessions: Path, metrics: list[str | Metric] | None) -> Results:
    lives = past.status is None and is_in_use(past.path)
    left = {task.id for task in past.tasks.values() if is_left(past, task)}
    backend = OfflineBackend(sessions) if past.mode == "offline" else RunLogOnly(past.path)
    lookup = _lookup(past.template, metrics, past.metrics)
    reader = Reader(backend)
    recount_past(past, backend, lookup.template)
    tasks = past.latest().values()
    for task in tasks:
        if lives and task.status is None and task.id not in left:
            task.status, task.reason = "in_progress", ""
        task.status, task.reason = task.final_status()
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
        shared=past.shared or "",
    )
    rows = [_row(task, lookup, reader) for task in tasks]
    return _results(rows, about, lookup, reader, "a living process works on it" if lives else "")


class RunLogOnly(MemoryBackend):
    """Stands for the backend of an online run of which only the run log is read."""

    def __init__(self, path: Path) -> None:
        super().__init__(mode="online", where=str(path), keep=False)

    def read_curves(self, wanted: Mapping[str, Sequence[Name]]) -> dict[str, Curves]:
        """Raises `NoHistoryError`: a run log has no curves."""
        raise NoHistoryError(f"in the run log {self.where}", "load the run from the server: mode='online'")


# --- from a server -------------------------------------------------------------------------------


@attrs.define(eq=False)
class LoadedServer(OnlineBackend):
    """The server of loaded results; each reading of curves opens a connection and closes it again."""

    def read_curves(self, wanted: Mapping[str, Sequence[Name]]) -> dict[str, Curves]:
        """Reads whole curves; see `OnlineBackend.read_curves`."""
        server = OnlineBackend(self.connection)
        try:
            return server.read_curves(wanted)
        finally:
            server.close()


def _from_server(
    backend: OnlineBackend,
    wanted: Wanted,
    run: str,
    folder: Path,
    metrics: list[str | Metric] | None,
    copies: bool,
) -> Results:
    documents = [doc for doc in all_run_tasks(backend.transport, run) if copies or is_counted(doc)]
    parent = next((doc for doc in documents if identity_of(doc).get("kind") == "parent"), None)
    tasks = [doc for doc in documents if identity_of(doc).get("kind") == "task"]
    identity = identity_of((tasks or documents)[0])
    lookup = _lookup(identity.get("template", ""), metrics, _stored_metrics(parent))
    backend.use_project(str((tasks or documents)[0].get("project") or ""))
    reader = Reader(backend)
    local = [past for path in find_run_logs(folder, run) if (past := load(path)) is not None]
    left = {one: past.tasks[one].final_status() for past in local for one in abandoned_tasks(past)}
    logged = {task.uploaded or task.id: task for past in local for task in past.tasks.values()}
    originals, copied = list[PastTask](), list[PastTask]()
    for document in reversed(tasks):  # the latest came first
        task = past_task(document, lookup.template)
        if not task.delivered and from_server(document["status"]) not in ENDED:
            task.status, task.reason = left.get(task.id, (document["status"], ""))
        task.metrics = _in_order(task.metrics, logged.get(task.id), lookup)
        if task.id in logged:
            _add_logged(task, logged[task.id])
        (originals if is_counted(document) else copied).append(task)
    shown = [*latest_attempts(originals).values(), *copied]
    group = identity.get("group_name", "")
    counted = [Counted(one.id, one.metrics, False, one.template_fields(group), one.named) for one in shown]
    complete(backend, lookup.template, counted, RECOUNT_TIMEOUT_S)
    rows = [_row(task, lookup, reader) for task in shown]
    parent_id = str(parent["id"]) if parent is not None else (tasks[0].get("parent") if tasks else None)
    about = About(
        project=wanted.project,
        name=wanted.name,
        group_id=wanted.group_id,
        run=run,
        run_number=parse_count(identity.get("run_number"), 1),
        mode="online",
        where=backend.where,
        url=backend.url(parent_id) if parent_id else None,
        compare_urls=tuple(backend.compare_urls([row.id for row in rows])),
        started=local[0].started if local else run_started_at(documents),
        shared=identity.get("shared", ""),
    )
    return _results(rows, about, lookup, reader)


def _stored_metrics(parent: Document | None) -> Any:
    with contextlib.suppress(ValueError):
        return json.loads(identity_of(parent).get("metrics", "null")) if parent is not None else None
    return None


def _in_order(metrics: Metrics, logged: PastTask | None, lookup: MetricLookup) -> Metrics:
    """Sorts a server's metrics, which have no order: as in the run log, the others by name."""
    first = [key for key in logged.metrics if key in metrics] if logged is not None else []
    return {key: metrics[key] for key in (*first, *lookup.sort(metrics.keys() - set(first)))}


def _add_logged(task: PastTask, logged: PastTask) -> None:
    """Takes over what only the run log knows: mean, count, last iteration and duration."""
    for key, data in logged.metrics.items():
        if key in task.metrics and data.stats.exact and _agree(task.metrics[key].stats, data.stats):
            task.metrics[key].stats = data.stats
    if logged.status is None:
        add_skipped(task.metrics, logged.metrics)
    if logged.status == task.status:
        task.duration = logged.duration


def _agree(server: Stats, logged: Stats) -> bool:
    """Whether both are statistics of the same values: another machine may have continued the task."""
    return all(getattr(server, part) == getattr(logged, part) for part in ("first", "last", "min", "max"))


# --- both ----------------------------------------------------------------------------------------


def _lookup(template: str, metrics: list[str | Metric] | None, stored: Any) -> MetricLookup:
    try:
        parsed = NameTemplate(template)
    except TemplateError:  # edited in the web page
        parsed = NameTemplate(DEFAULT_TEMPLATE)
    if metrics is not None:
        return MetricLookup(parsed, Vocabulary.of(metrics, parsed))
    return MetricLookup(parsed, Vocabulary.restored(stored, parsed) if stored is not None else None)


def _row(task: PastTask, lookup: MetricLookup, reader: Reader) -> Row:
    return Row(
        key=task.key,
        name=task.name,
        index=task.index,
        id=task.id,
        attempt=task.attempt,
        status=task.status or "stopped",
        status_reason=task.reason,
        params={name: plain(value) for name, value in task.params.items()},
        duration=task.duration,
        url=reader.backend.url(task.id),
        **row_metrics(task.metrics),
        lookup=lookup,
        reader=reader,
    )


def _results(rows: list[Row], about: About, lookup: MetricLookup, reader: Reader, more: str = "") -> Results:
    # Processes that share a run may open tasks outside of a space, each with the index 0.
    rows.sort(key=lambda row: (row.index, natural(row.name)))
    partial = bool(more) or any(row.status in OPEN for row in rows)
    return Results(tuple(rows), about, lookup, reader, partial=partial, partial_reason=more)
