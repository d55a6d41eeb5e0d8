"""Results of earlier runs from a server, in a few calls."""

from __future__ import annotations

import contextlib
import functools
import json
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml import login
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
from .._model.metric_data import add_skipped
from .._model.past import PastTask, latest_attempts
from .._model.status import ENDED, from_server
from .._run.recount import RECOUNT_TIMEOUT_S, TaskCounts, complete
from .._storage.online import OnlineBackend
from .._storage.past_runs import abandoned_tasks, find_run_logs, load, log_empty_runs
from .from_past import lookup_of, past_results, past_row
from .history import Reader
from .rows import About
from .task_table import rows_table_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .._clearml.events import Curves
    from .._model.metric_data import Metrics
    from .._model.metrics import Metric
    from .._model.name_template import Name
    from .._model.stats import Stats
    from .find_metric import MetricLookup
    from .loading import Wanted
    from .results import Results


def load_from_server(
    wanted: Wanted, folder: Path, metrics: list[str | Metric] | None, copies: bool
) -> tuple[Results | None, str, list[str], list[tuple[str, str]]]:
    """Loads the results of a run.

    Args:
        wanted: The run.
        folder: The group's run logs on this disk, which know more of the tasks.
        metrics: The vocabulary that was given.
        copies: Whether copies that somebody made in the web page count.

    Returns:
        The results; None if the server does not have the run. Then also: the server, which runs of the group
        it has, and, if none, which other groups, as project and name.
    """
    backend = LoadedServer(login.connect())
    try:
        where, run = f"the server {backend.where}", _find_on_server(backend, wanted)
        if run is not None:
            return _from_server(backend, wanted, run, folder, metrics, copies), where, [], []
        runs, groups = run_labels(backend.transport, wanted.group_id), list[tuple[str, str]]()
        if not runs:
            groups += groups_of(backend.transport, wanted.project) or groups_of(backend.transport, None)
        return None, where, runs, groups
    finally:
        backend.close()


def _find_on_server(backend: OnlineBackend, wanted: Wanted) -> str | None:
    if wanted.run is not None:
        return find_run_id(backend.transport, wanted.group_id, wanted.run)
    run, number, empty = find_latest_run(backend.transport, wanted.group_id)
    log_empty_runs(number, empty, f"{wanted.project}/{wanted.name}")
    return run


@attrs.define(eq=False)
class LoadedServer(OnlineBackend):
    """The server of loaded results; each reading of curves opens a connection and closes it again."""

    def read_curves(self, wanted: Mapping[str, Sequence[Name]]) -> dict[str, Curves]:
        """Reads whole curves; see `OnlineBackend.read_curves`."""
        with contextlib.closing(OnlineBackend(self.connection)) as server:
            return server.read_curves(wanted)

    def read_script(self, task_id: str) -> Mapping[str, Any]:
        """Reads a task's code; see `Backend.read_script`."""
        with contextlib.closing(OnlineBackend(self.connection)) as server:
            return server.read_script(task_id)


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
    lookup = lookup_of(identity.get("template", ""), metrics, _stored_metrics(parent))
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
    counts = [
        TaskCounts(one.id, one.metrics, False, one.template_fields(group), one.ambiguous) for one in shown
    ]
    complete(backend, lookup.template, counts, RECOUNT_TIMEOUT_S)
    rows = [past_row(task, lookup, reader) for task in shown]
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
        table_url=functools.partial(
            rows_table_url, backend.table_url(run, parent_id, parent is not None), rows, lookup
        ),
    )
    return past_results(rows, about, lookup, reader)


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
