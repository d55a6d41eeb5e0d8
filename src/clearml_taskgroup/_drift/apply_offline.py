"""Carries out a plan in the group's own offline sessions: tag, data points, run log, comment.

Files are only appended to, but for a session's `task.json`, which has the tag and the comment.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from .._clearml.documents import metrics_of
from .._clearml.events import SINGLE_VALUE_ITERATION, as_point, events_in, is_point
from .._clearml.session_file import read_session, write_session
from .._clearml.stored_points import StoredPoint, stored_event
from .._model.metric_data import metrics_to_json
from .._model.name_template import Name, NameTemplate
from .._model.stats import Stats
from .._storage.append_file import append_to, disk_errors, folder_lock
from .._storage.past_runs import load, locked
from .._storage.run_log import append
from ..errors import RunInUseError, StoreError, TemplateError
from .copying import Outcome, to_do
from .plan import TAG, close_to_limit, with_comment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from .._clearml.stored_points import StoredCurve
    from .._model.past import PastRun, PastTask
    from .plan import Copy, Plan, TaskPlan


def obstacle_of(past: PastRun, task: PastTask, sessions: Path) -> str:
    """Says why the session of a task may not be changed; empty if it may."""
    if past.mode != "offline":
        return "it is on a server: use drift with --online"
    if past.uploaded or task.uploaded:
        return "it was uploaded: use drift with --online"
    if not (sessions / task.id / "task.json").exists():
        return "its session was deleted"
    if task.status is None:
        return "it has not ended: resume or upload its run first"
    return ""


def session_names(folder: Path) -> dict[Name, bool]:
    """Reads the names of a session's scalars, and whether each holds nothing but a single value."""
    names: dict[Name, bool] = {}
    for event in _scalars(folder):
        name = Name(event["metric"], event["variant"])
        names[name] = names.get(name, True) and event["iter"] == SINGLE_VALUE_ITERATION
    return names


def session_marks(folder: Path) -> tuple[list[str], str]:
    """Reads the tags and the comment of a session that a plan has changed; of another nothing."""
    try:
        if TAG.encode() not in (folder / "task.json").read_bytes():  # to parse it takes much longer
            return [], ""
    except OSError:
        return [], ""
    return _marks(read_session(folder / "task.json"))


def _marks(data: Mapping[str, Any]) -> tuple[list[str], str]:
    """Returns the tags and the comment in a session's document."""
    tags, comment = data.get("tags"), data.get("comment")
    texts = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    return texts, comment if isinstance(comment, str) else ""


def apply_offline(
    plan: Plan, runs: Sequence[PastRun], sessions: Path, done: Callable[[Outcome], None]
) -> None:
    """Copies what a plan says, or what is missing of it.

    Args:
        plan: The plan.
        runs: All runs on this disk.
        sessions: The folder of the offline sessions.
        done: Called for each task.

    Raises:
        StoreError: The disk is full or broken; call it again to continue.
    """
    run_of = {task_id: past for past in runs for task_id in past.tasks}
    by_run: dict[Path, list[TaskPlan]] = {}
    for task in plan.tasks:
        if task.id in run_of:
            by_run.setdefault(run_of[task.id].path, []).append(task)
        else:
            done(Outcome(task, problems=["it has no run log on this disk any more"]))
    for path, tasks in by_run.items():
        try:
            with locked(path):
                past = load(path)
                for task in tasks:
                    logged = past.tasks.get(task.id) if past is not None else None
                    if past is None or logged is None:
                        done(Outcome(task, problems=["it was deleted"]))
                    else:
                        done(_apply(plan, task, past, logged, sessions))
        except RunInUseError:
            for task in tasks:
                done(Outcome(task, problems=["a living process has its run open"]))


def _apply(plan: Plan, task: TaskPlan, past: PastRun, logged: PastTask, sessions: Path) -> Outcome:
    folder = sessions / task.id
    if why := obstacle_of(past, logged, sessions):
        return Outcome(task, problems=[why])
    names = session_names(folder)
    if why := close_to_limit(names, task.copies):
        return Outcome(task, problems=[why])
    begun = plan.tag in session_marks(folder)[0]
    curves = _read_curves(folder, {name for copy in task.copies for name in (copy.source, copy.target)})
    left = to_do(task.copies, curves, names, begun=begun)
    if left.missing and not begun:
        _edit(folder, lambda data: data | {"tags": [*_marks(data)[0], plan.tag]})
    points = 0
    for copy, missing in left.missing.items():
        events = [stored_event(task.id, copy.target, at, point) for at, point in missing.items()]
        path = folder / "metrics.jsonl"
        with disk_errors(path):
            append_to(path, (json.dumps(events) + "\n").encode())
        points += len(events)
    _log_metrics(past, logged, left.allowed, curves)
    if left.allowed:
        _edit(folder, lambda data: data | {"comment": with_comment(_marks(data)[1], plan, left.allowed)})
    return Outcome(task, list(left.missing), points, left.problems)


def _log_metrics(
    past: PastRun, logged: PastTask, copies: Sequence[Copy], curves: Mapping[Name, StoredCurve]
) -> None:
    """Adds the statistics of copied names to the run log, from which results are loaded."""
    known = {name for data in logged.metrics.values() for name in data.names}
    scalars = [
        (copy.target, Stats.of(as_point(at or 0, point.value) for at, point in curves[copy.source].items()))
        for copy in copies
        if copy.target not in known
    ]
    try:
        template = NameTemplate(past.template)
    except TemplateError:
        return
    fields = logged.template_fields(past.name)
    measures = metrics_to_json(metrics_of(scalars, template, fields, logged.ambiguous))
    if measures:
        line = {"event": "told", "id": logged.id, "key": logged.key, "status": logged.status}
        append(past.path, [{**line, "reason": logged.reason, "measures": measures}])


def _edit(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    path = folder / "task.json"
    with disk_errors(path), folder_lock(folder):
        data = read_session(path)
        if not data:
            raise StoreError(str(path), "it cannot be read")
        changed = change(data)
        if changed != data:
            write_session(path, json.dumps(changed))


def _read_curves(folder: Path, names: set[Name]) -> dict[Name, StoredCurve]:
    """Reads the data points of some names; a later one of an iteration replaces the earlier one."""
    curves: dict[Name, StoredCurve] = {name: {} for name in names}
    for event in _scalars(folder):
        name = Name(event["metric"], event["variant"])
        if name in curves:
            point = StoredPoint(event["value"], event.get("timestamp"), event.get("worker"))
            curves[name][event["iter"]] = point
    return curves


def _scalars(folder: Path) -> Iterator[dict[str, Any]]:
    """Reads the scalars of the session's task, without those of its models."""
    try:
        file = (folder / "metrics.jsonl").open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            for event in events_in(line):
                if is_point(event) and event.get("task") == folder.name and math.isfinite(event["value"]):
                    yield event
