"""`drift`: what the names of existing projects suffer from, and what would cure it."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

import attrs
import click

from .._clearml.api import Transport
from .._clearml.queries import MAX_PAGE_TASKS
from .._clearml.sdk import connect
from .._drift.compare import GROUP, PROJECT, LoggedMetric, Spelling, cure, metrics_of, parts_of, reported_both
from .._storage.past_runs import all_runs
from .._text import counted
from ..errors import NoSuchTasksError
from .find_run import Mode, near, place_of, results_of, root
from .logged_names import Logged, of_past, of_project, of_results, of_tasks
from .output import Command, Failure, json_option, mode_options, print_json, since
from .results import is_below
from .server_check import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST = 10
"""How many of the metrics that some tasks lack are named to people."""


class CannotLook(Failure):
    """A failure of a command for which 1 means that it found something."""

    exit_code = 2


class LinterCommand(Command):
    """A command for which 1 means that it found something, and 2 that it could not look."""

    failure = CannotLook


@click.command(
    cls=LinterCommand,
    short_help="Find metrics that are spelt in different ways.",
    epilog="Example: clearml-taskgroup drift --project digits",
)
@click.argument("tasks", nargs=-1, metavar="[TASK_ID]...")
@click.option("--project", "projects", multiple=True, help="All tasks of a project, whoever made them.")
@click.option("--group", "groups", multiple=True, help="The tasks of a group's latest run; as GROUP of show.")
@click.option(
    "--sub-projects/--no-sub-projects", "below", default=True, help="Also the projects below (the default)."
)
@click.option(
    "--since",
    metavar="DATE",
    callback=since,
    help="Only tasks created since: a date, a moment (in local time, if it does not say), or days, as 7d.",
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
    """Find metrics that tasks spell in different ways, and print the vocabulary that would cure it.

    It looks at the names alone, of any tasks, also of those that no TaskGroup made; archived ones are left
    out. Names are taken for one metric if nothing but case, separators, well-known abbreviations, the split
    (train, val, test) or a misspelling tells them apart, and hardly any task reports both. Those that
    some tasks report both of are named, and stay two metrics in what it prints.

    Exit codes, as linters have them: 0, no drift; 1, drift was found; 2, it could not look.
    """
    if not (tasks or projects or groups):
        raise click.UsageError("give --project, --group or the ids of tasks")
    if projects and groups:
        raise click.UsageError("give --project or --group: a group is in its project, --group project/name")
    group = next((task for task in tasks if "/" in task), None)
    if group is not None:
        raise click.UsageError(f"{group!r} is no task's id; for a group write --group {group}")
    try:
        logged = _logged(tasks, projects, groups, below, mode, since)
    except NoSuchTasksError as error:
        name = next((name for name in error.asked if error.kind == "task" and not _is_id(name)), None)
        if name is None:
            raise
        raise CannotLook(f"{error}; did you mean --project {shlex.quote(name)}?") from None
    logged = [task for task in logged if since is None or (task.created or since) >= since]
    metrics = metrics_of({task.id: task.names for task in logged})
    drifting = [metric for metric in metrics if metric.drifts]
    if as_json:
        print_json(_facts(logged, metrics))
    else:
        _tell(logged, metrics, drifting)
    if drifting:
        click.get_current_context().exit(1)


def _logged(
    tasks: tuple[str, ...],
    projects: tuple[str, ...],
    groups: tuple[str, ...],
    below: bool,
    mode: Mode | None,
    since: float | None,
) -> list[Logged]:
    found = [task for group in groups for task in _of_group(group, mode, since)]
    online = bool(tasks or projects) and place_of(mode, or_disk=False).is_online
    if online:
        transport = Transport(connect(PATIENCE))
        try:
            for project in projects:
                found += _of_project(transport, project, below, since)
            found += of_tasks(transport, tasks) if tasks else []
        finally:
            transport.close()
    elif tasks or projects:
        found += _on_disk(tasks, projects, below)
    return list({task.id: task for task in found}.values())


def _is_id(text: str) -> bool:
    return re.fullmatch("(offline-)?[0-9a-f]{4,32}", text) is not None


def _of_group(group: str, mode: Mode | None, since: float | None) -> list[Logged]:
    """Takes the tasks of a group; when they were created, from their records or the server, if it matters."""
    results = results_of(group, None, mode, or_disk=False)
    found = of_results(results)
    if since is None or not found:
        return found
    created = {task.id: task.opened for run in all_runs(root()) for task in run.tasks.values()}
    missing = [task.id for task in found if task.id not in created]
    if missing and results.about.mode == "online" and place_of(mode).is_online:
        transport = Transport(connect(PATIENCE))
        try:
            created.update((task.id, task.created) for task in of_tasks(transport, missing))
        finally:
            transport.close()
    return [attrs.evolve(task, created=created.get(task.id) or results.about.started) for task in found]


def _of_project(transport: Transport, project: str, below: bool, since: float | None) -> list[Logged]:
    try:
        return of_project(transport, project, below=below, since=since)
    except NoSuchTasksError as error:
        query = {"only_fields": ["name"], "page_size": MAX_PAGE_TASKS, "page": 0, "order_by": ["name"]}
        answer = transport.call("projects.get_all", query, timeout=PATIENCE)
        raise CannotLook(f"{error}{_near(project, (each['name'] for each in answer['projects']))}") from None


def _near(project: str, names: Iterable[str]) -> str:
    return near(project, {name: name.rpartition("/")[2] for name in names})


def _on_disk(tasks: tuple[str, ...], projects: tuple[str, ...], below: bool) -> list[Logged]:
    found: list[Logged] = []
    runs = all_runs(root())
    for project in projects:
        own = [run for run in runs if (is_below if below else str.__eq__)(run.project, project)]
        if not own:
            neighbours = _near(project, (run.project for run in runs))
            raise CannotLook(f"the project {project!r} has no runs on this disk{neighbours}")
        found += [task for run in own for task in of_past(run)]
    known = {task.id: task for run in runs for task in of_past(run)}
    missing = [task for task in tasks if task not in known]
    if missing:
        raise NoSuchTasksError("task", missing)
    return [*found, *(known[task] for task in tasks)]


def _tell(logged: list[Logged], metrics: list[LoggedMetric], drifting: list[LoggedMetric]) -> None:
    names = {task.id: task.name for task in logged}
    looked_at = f"{counted(len(logged), 'task')}, {counted(len(metrics), 'metric')}"
    if not drifting:
        click.echo(f"{looked_at}: no drift")
    else:
        apart = sum(len(parts_of(metric)) > 1 for metric in drifting)
        kept = f", {apart} of them by names that some tasks report both of" if apart else ""
        click.echo(f"{looked_at}: {len(drifting)} spelt in different ways{kept}")
    for metric in drifting:
        click.echo(f"\n{metric.name}")
        width = max(len(str(spelling)) for spelling in metric.spellings)
        for spelling in metric.spellings:
            context = "".join(f" {field}={value}" for field, value in spelling.context.items())
            click.echo(f"  {spelling!s:{width}}  {_few(spelling, names)}{' ·' + context if context else ''}")
        for one, other, both in reported_both(metric):
            report = "reports" if both == 1 else "report"
            click.echo(f"  {counted(both, 'task')} {report} both {one} and {other}: they are not merged")
    completed = {task.id for task in logged if task.completed and task.names}
    counts = [(metric, len(metric.tasks & completed)) for metric in metrics if not metric.drifts]
    partly = [(metric.name, count) for metric, count in counts if 0 < count < len(completed)]
    if partly:
        told = [f"{name} ({count})" for name, count in partly[:MOST]]
        more = f" and {len(partly) - MOST} more" if len(partly) > MOST else ""
        click.echo(f"\nonly some tasks report {', '.join(told)}{more}")
    if not drifting:
        return
    click.echo("\none name for each, as code to paste (metrics that do not drift are there as they are):\n")
    click.echo(_cure(logged, metrics))


def _cure(logged: list[Logged], metrics: list[LoggedMetric]) -> str:
    """Writes the cure, with the names of the project and the group that all tasks are of, if they are."""
    projects, groups = {task.project for task in logged}, {task.group for task in logged}
    project = projects.pop() if len(projects) == 1 else ""
    group = groups.pop() if len(groups) == 1 else ""
    fields = frozenset().union(*(task.fields for task in logged))
    return cure(metrics, project or PROJECT, group or GROUP, fields)


def _few(spelling: Spelling, names: dict[str, str], most: int = 2) -> str:
    shown = sorted(names[task] or task for task in spelling.tasks)[:most]
    rest = len(spelling.tasks) - len(shown)
    return f"{counted(len(spelling.tasks), 'task')}: {', '.join(shown)}{f' and {rest} more' if rest else ''}"


def _facts(logged: list[Logged], metrics: list[LoggedMetric]) -> dict[str, Any]:
    return {
        "tasks": len(logged),
        "drift": [_metric(metric) for metric in metrics if metric.drifts],
        "others": [_metric(metric) for metric in metrics if not metric.drifts],
        "vocabulary": _cure(logged, metrics),
    }


def _metric(metric: LoggedMetric) -> dict[str, Any]:
    return {
        "metric": metric.name,
        "mode": metric.mode,
        "merged": len(parts_of(metric)) == 1,
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
