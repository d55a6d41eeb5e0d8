"""The command `drift`: metrics that the tasks of projects spell differently, and a vocabulary for them."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

import attrs
import click

from .._clearml.api import Transport
from .._clearml.queries import MAX_PAGE_TASKS
from .._clearml.sdk import connect
from .._drift.compare import (
    DEFAULT_GROUP,
    DEFAULT_PROJECT,
    LoggedMetric,
    Spelling,
    find_metrics,
    mergeable_parts,
    reported_both,
    vocabulary_code,
)
from .._storage.past_runs import all_runs
from .._text import counted, some
from .find_run import Mode, choose_place, results_of, root, suggestions
from .logged_names import (
    LoggedNames,
    NoSuchTasksError,
    names_of_project,
    names_of_results,
    names_of_run,
    names_of_tasks,
)
from .output import Command, Failure, echo, json_option, mode_options, parse_since, print_json
from .results import is_below
from .server_check import TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_PARTIAL_METRICS_SHOWN = 10
"""The most metrics that are named in the line about metrics that only some tasks report."""


class NotChecked(Failure):
    """An error of `LinterCommand`, with exit code 2."""

    exit_code = 2


class LinterCommand(Command):
    """A command that exits with 1 if it found something, and with 2 for errors."""

    failure = NotChecked


@click.command(
    cls=LinterCommand,
    short_help="Find metrics that are spelt in different ways.",
    epilog="Example: clearml-taskgroup drift --project digits",
)
@click.argument("tasks", nargs=-1, metavar="[TASK_ID]...")
@click.option("--project", "projects", multiple=True, help="All tasks of a project, with or without a group.")
@click.option(
    "--group", "groups", multiple=True, help="The tasks of a group's latest run; like GROUP of show."
)
@click.option(
    "--sub-projects/--no-sub-projects", "below", default=True, help="Also its sub-projects (the default)."
)
@click.option(
    "--since",
    metavar="DATE",
    callback=parse_since,
    help="Only tasks created since a date, a time (local, without a time zone), or some days ago: 7d.",
)
@mode_options
@json_option
def drift_command(
    tasks: tuple[str, ...],
    projects: tuple[str, ...],
    groups: tuple[str, ...],
    below: bool,
    since: float | None,
    mode: Mode | None,
    as_json: bool,
) -> None:
    """Find metrics that tasks spell in different ways, and print a vocabulary with one name for each.

    Only the names are compared, of any tasks, also of those without a TaskGroup; archived tasks are
    skipped. Two names count as one metric if they differ only in case, separators, well-known
    abbreviations, the split (train, val, test) or a misspelling, and hardly any task reports both. Names
    that some tasks report both of are listed, and stay two metrics in the vocabulary.

    Exit codes, as of linters: 0, no drift; 1, drift was found; 2, an error.
    """
    if not (tasks or projects or groups):
        raise click.UsageError("give --project, --group or the ids of tasks")
    if projects and groups:
        raise click.UsageError("give --project or --group: a group is in its project, --group project/name")
    group = next((task for task in tasks if "/" in task), None)
    if group is not None:
        raise click.UsageError(f"{group!r} is not the id of a task; for a group write --group {group}")
    try:
        logged = _logged_names(tasks, projects, groups, below, mode, since)
    except NoSuchTasksError as error:
        name = next((name for name in error.asked if error.kind == "task" and not _is_id(name)), None)
        if name is None:
            raise
        raise NotChecked(f"{error}; did you mean --project {shlex.quote(name)}?") from None
    logged = [task for task in logged if since is None or (task.created or since) >= since]
    metrics = find_metrics({task.id: task.names for task in logged})
    drifting = [metric for metric in metrics if metric.drifts]
    if as_json:
        print_json(_drift_json(logged, metrics))
    else:
        _print(logged, metrics, drifting)
    if drifting:
        click.get_current_context().exit(1)


def _logged_names(
    tasks: tuple[str, ...],
    projects: tuple[str, ...],
    groups: tuple[str, ...],
    below: bool,
    mode: Mode | None,
    since: float | None,
) -> list[LoggedNames]:
    found = [task for group in groups for task in _of_group(group, mode, since)]
    online = bool(tasks or projects) and choose_place(mode, disk_fallback=False).is_online
    if online:
        transport = Transport(connect(TIMEOUT_S))
        try:
            for project in projects:
                found += _of_project(transport, project, below, since)
            found += names_of_tasks(transport, tasks) if tasks else []
        finally:
            transport.close()
    elif tasks or projects:
        found += _on_disk(tasks, projects, below)
    return list({task.id: task for task in found}.values())


def _is_id(text: str) -> bool:
    return re.fullmatch("(offline-)?[0-9a-f]{4,32}", text) is not None


def _of_group(group: str, mode: Mode | None, since: float | None) -> list[LoggedNames]:
    """Returns the tasks of a group; with `since`, with their creation times, from run logs or the server."""
    results = results_of(group, None, mode, disk_fallback=False)
    found = names_of_results(results)
    if since is None or not found:
        return found
    created = {task.id: task.opened for run in all_runs(root()) for task in run.tasks.values()}
    missing = [task.id for task in found if task.id not in created]
    if missing and results.about.mode == "online" and choose_place(mode).is_online:
        transport = Transport(connect(TIMEOUT_S))
        try:
            created.update((task.id, task.created) for task in names_of_tasks(transport, missing))
        finally:
            transport.close()
    return [attrs.evolve(task, created=created.get(task.id) or results.about.started) for task in found]


def _of_project(transport: Transport, project: str, below: bool, since: float | None) -> list[LoggedNames]:
    try:
        return names_of_project(transport, project, below=below, since=since)
    except NoSuchTasksError as error:
        query = {"only_fields": ["name"], "page_size": MAX_PAGE_TASKS, "page": 0, "order_by": ["name"]}
        answer = transport.call("projects.get_all", query, timeout=TIMEOUT_S)
        raise NotChecked(
            f"{error}{_suggested_projects(project, (each['name'] for each in answer['projects']))}"
        ) from None


def _suggested_projects(project: str, names: Iterable[str]) -> str:
    return suggestions(project, {name: name.rpartition("/")[2] for name in names})


def _on_disk(tasks: tuple[str, ...], projects: tuple[str, ...], below: bool) -> list[LoggedNames]:
    found: list[LoggedNames] = []
    runs = all_runs(root())
    for project in projects:
        own = [run for run in runs if (is_below if below else str.__eq__)(run.project, project)]
        if not own:
            suggested = _suggested_projects(project, (run.project for run in runs))
            raise NotChecked(f"the project {project!r} has no runs on this disk{suggested}")
        found += [task for run in own for task in names_of_run(run)]
    known = {task.id: task for run in runs for task in names_of_run(run)}
    missing = [task for task in tasks if task not in known]
    if missing:
        raise NoSuchTasksError("task", missing)
    return [*found, *(known[task] for task in tasks)]


def _print(logged: list[LoggedNames], metrics: list[LoggedMetric], drifting: list[LoggedMetric]) -> None:
    names = {task.id: task.name for task in logged}
    looked_at = f"{counted(len(logged), 'task')}, {counted(len(metrics), 'metric')}"
    if not drifting:
        echo(f"{looked_at}: no drift")
    else:
        apart = sum(len(mergeable_parts(metric)) > 1 for metric in drifting)
        unmerged = f", {apart} of them with names that some tasks report both of" if apart else ""
        echo(f"{looked_at}: {len(drifting)} spelt in different ways{unmerged}")
    for metric in drifting:
        echo("", metric.name)
        width = max(len(str(spelling)) for spelling in metric.spellings)
        for spelling in metric.spellings:
            context = "".join(f" {field}={value}" for field, value in spelling.context.items())
            echo(f"  {spelling!s:{width}}  {_task_text(spelling, names)}{' ·' + context if context else ''}")
        for one, other, both in reported_both(metric):
            report = "reports" if both == 1 else "report"
            echo(f"  {counted(both, 'task')} {report} both {one} and {other}: they are not merged")
    completed = {task.id for task in logged if task.completed and task.names}
    counts = [(metric, len(metric.tasks & completed)) for metric in metrics if not metric.drifts]
    partly = [(metric.name, count) for metric, count in counts if 0 < count < len(completed)]
    if partly:
        counted_names = [f"{name} ({count})" for name, count in partly]
        echo("", f"only some tasks report {some(counted_names, MAX_PARTIAL_METRICS_SHOWN)}")
    if not drifting:
        return
    echo("", "one name for each, as code to paste (metrics without drift are unchanged):", "")
    echo(*_vocabulary_code(logged, metrics).split("\n"))


def _vocabulary_code(logged: list[LoggedNames], metrics: list[LoggedMetric]) -> str:
    """Returns the code of the vocabulary, with project and group if all tasks have the same."""
    projects, groups = {task.project for task in logged}, {task.group for task in logged}
    project = projects.pop() if len(projects) == 1 else ""
    group = groups.pop() if len(groups) == 1 else ""
    fields = frozenset().union(*(task.fields for task in logged))
    return vocabulary_code(metrics, project or DEFAULT_PROJECT, group or DEFAULT_GROUP, fields)


def _task_text(spelling: Spelling, names: dict[str, str], most: int = 2) -> str:
    shown = sorted(names[task] or task for task in spelling.tasks)[:most]
    rest = len(spelling.tasks) - len(shown)
    return f"{counted(len(spelling.tasks), 'task')}: {', '.join(shown)}{f' and {rest} more' if rest else ''}"


def _drift_json(logged: list[LoggedNames], metrics: list[LoggedMetric]) -> dict[str, Any]:
    return {
        "tasks": len(logged),
        "drift": [_metric_json(metric) for metric in metrics if metric.drifts],
        "others": [_metric_json(metric) for metric in metrics if not metric.drifts],
        "vocabulary": _vocabulary_code(logged, metrics),
    }


def _metric_json(metric: LoggedMetric) -> dict[str, Any]:
    return {
        "metric": metric.name,
        "mode": metric.mode,
        "merged": len(mergeable_parts(metric)) == 1,
        "spellings": [
            {
                "title": spelling.title,
                "series": spelling.series,
                "name": str(spelling),
                "alias": spelling.alias,
                "context": spelling.context,
                "tasks": sorted(spelling.tasks),
            }
            for spelling in metric.spellings
        ],
    }
