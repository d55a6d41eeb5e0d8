"""The command `drift`: metrics that the tasks of projects spell differently, and a vocabulary for them."""

from __future__ import annotations

import re
import shlex
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from .._clearml.api import Transport
from .._clearml.queries import MAX_PAGE_TASKS, created_at, query_by_id
from .._drift.apply_offline import session_marks
from .._drift.compare import (
    DEFAULT_GROUP,
    DEFAULT_PROJECT,
    LoggedMetric,
    Spelling,
    contexts_apart,
    find_metrics,
    mergeable_parts,
    reported_both,
    tasks_of,
    vocabulary_code,
)
from .._model.name_template import DEFAULT_TEMPLATE
from .._storage.past_runs import all_runs
from .._storage.raw_sessions import raw_sessions
from .._text import counted, some
from .drift_plan import apply_plan, sessions_folder, write_plan
from .find_run import Mode, choose_place, is_below, results_of, root, suggestions
from .logged_names import (
    API_TIMEOUT_S,
    LoggedNames,
    NoSuchTasksError,
    names_of_project,
    names_of_raw,
    names_of_results,
    names_of_run,
    names_of_session,
    names_of_tasks,
)
from .output import Command, Failure, echo, echo_first, json_option, mode_options, parse_since, print_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._clearml.login import Connection
    from .._model.past import PastRun
    from .logged_names import Marks

MAX_PARTIAL_METRICS_SHOWN = 10
"""The most metrics that are named in the line about metrics that only some tasks report."""
APART = (
    "in different contexts, each in tasks without the others; if they mean the same, give the same split=, "
    "or a template with the default {split=val} if it always means val:"
)


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
    help="Only tasks created since a date, a time (local, without a time zone), or some time ago: 7d, 12h.",
)
@click.option(
    "--write",
    "to_write",
    metavar="FILE",
    help="Write the vocabulary to this file instead of printing it; a file that exists is not replaced.",
)
@click.option(
    "--vocabulary",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Python code with metrics=, as this command prints it; it is run. For --plan.",
)
@click.option(
    "--plan", metavar="FILE", help="Write what would be copied to the names of the vocabulary; copy nothing."
)
@click.option(
    "--apply",
    "to_apply",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Copy what a plan says, or what is missing of it.",
)
@click.option("--yes", is_flag=True, help="With --apply: do not ask.")
@mode_options
@json_option
def drift_command(
    tasks: tuple[str, ...],
    projects: tuple[str, ...],
    groups: tuple[str, ...],
    below: bool,
    since: float | None,
    to_write: str | None,
    vocabulary: str | None,
    plan: str | None,
    to_apply: str | None,
    yes: bool,
    mode: Mode | None,
    as_json: bool,
) -> None:
    """Find metrics that tasks spell in different ways, and print a vocabulary with one name for each.

    Only the names are compared, of any tasks, also of those without a TaskGroup; archived tasks are
    skipped. Two names count as one metric if they differ only in case, separators, well-known
    abbreviations, the split (train, val, test) or a misspelling, and hardly any task reports both. Names
    that some tasks report both of are listed, and stay two metrics in the vocabulary. With --write the
    vocabulary is in a file, which scripts can import and --vocabulary takes.

    With --vocabulary and --plan it writes which curves and single values would be copied to their correct
    names; with --apply it copies them, within the same tasks. Nothing is deleted or replaced. A plan that was
    interrupted is continued by the same command.

    Exit codes, as of linters: 0, no drift; 1, drift was found; 2, an error. With --plan 0; with --apply 1 if
    something was left alone because it has changed since the plan.
    """
    if to_apply is not None:
        others = (*tasks, *projects, *groups, since, vocabulary, plan, to_write, mode)
        if any(other is not None for other in others):
            raise click.UsageError("--apply takes --yes and --json only: the plan says the rest")
        if as_json and not yes:
            raise click.UsageError("--json does not ask; add --yes to copy")
        if not apply_plan(to_apply, yes, as_json):
            click.get_current_context().exit(1)
        return
    if (vocabulary is None) != (plan is None):
        raise click.UsageError("--vocabulary and --plan belong together")
    if to_write is not None and plan is not None:
        raise click.UsageError("--write and --plan are two steps: look at the vocabulary in between")
    if to_write is not None and Path(to_write).exists():
        raise NotChecked(f"{to_write} exists and is not replaced; choose another name for --write")
    if yes:
        raise click.UsageError("--yes belongs to --apply")
    if not (tasks or projects or groups):
        raise click.UsageError("give --project, --group or the ids of tasks")
    if projects and groups:
        raise click.UsageError("give --project or --group: a group is in its project, --group project/name")
    group = next((task for task in tasks if "/" in task), None)
    if group is not None:
        raise click.UsageError(f"{group!r} is not the id of a task; for a group write --group {group}")
    asked = _Asked(tasks, projects, groups, below, since)
    try:
        if vocabulary is not None and plan is not None:
            place, is_online, logged = _to_plan(asked, mode)
            write_plan(_recent(logged, since), vocabulary, plan, place, is_online, as_json)
            return
        logged = _logged_names(asked, mode)
    except NoSuchTasksError as error:
        name = next((name for name in error.asked if error.kind == "task" and not _is_id(name)), None)
        if name is None:
            raise
        raise NotChecked(f"{error}; did you mean --project {shlex.quote(name)}?") from None
    logged = _recent(logged, since)
    metrics = find_metrics({task.id: task.names for task in logged})
    drifting = [metric for metric in metrics if metric.drifts]
    if to_write is not None:
        _write_new(to_write, _vocabulary_code(logged, metrics) + "\n")
    if as_json:
        print_json(_drift_json(logged, metrics))
    else:
        _print(logged, metrics, drifting, to_write)
    if drifting:
        click.get_current_context().exit(1)


def _write_new(path: str, text: str) -> None:
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise NotChecked(f"--write {path}: {error.strerror or error}") from None


@attrs.frozen
class _Asked:
    """Which tasks the command's arguments name."""

    tasks: tuple[str, ...]
    projects: tuple[str, ...]
    groups: tuple[str, ...]
    below: bool
    since: float | None


def _recent(logged: list[LoggedNames], since: float | None) -> list[LoggedNames]:
    return [task for task in logged if since is None or (task.created or since) >= since]


def _logged_names(asked: _Asked, mode: Mode | None) -> list[LoggedNames]:
    found = [task for group in asked.groups for task in _of_group(group, mode, asked.since)]
    if asked.tasks or asked.projects:
        connection = choose_place(mode, disk_fallback=False).connection
        if connection is None:
            found += _on_disk(asked, exact=False)
        else:
            found += _on_server(connection, asked)
    return list({task.id: task for task in found}.values())


def _to_plan(asked: _Asked, mode: Mode | None) -> tuple[str, bool, list[LoggedNames]]:
    """Returns the place, whether it is a server, and its tasks with titles and series as they are stored."""
    connection = choose_place(mode, disk_fallback=False).connection
    where: Mode = "offline" if connection is None else "online"
    of_groups = [
        row.id for group in asked.groups for row in results_of(group, None, where, disk_fallback=False)
    ]
    asked = attrs.evolve(asked, tasks=(*asked.tasks, *of_groups))
    if connection is None:
        found, place = _on_disk(asked, exact=True), str(sessions_folder())
    else:
        found, place = _on_server(connection, asked, archived=True), connection.host
    return place, connection is not None, list({task.id: task for task in found}.values())


def _on_server(connection: Connection, asked: _Asked, *, archived: bool = False) -> list[LoggedNames]:
    with closing(Transport(connection)) as transport:
        of_projects = [_of_project(transport, project, asked, archived) for project in asked.projects]
        return [*chain.from_iterable(of_projects), *names_of_tasks(transport, asked.tasks)]


def _is_id(text: str) -> bool:
    return re.fullmatch("(offline-)?[0-9a-f]{4,32}", text) is not None


def _of_group(group: str, mode: Mode | None, since: float | None) -> list[LoggedNames]:
    """Returns the tasks of a group, without the names that a plan has copied.

    Of a run log that was given as a file no plan is known. The time of creation is that of the run, if
    neither the server nor, with `since`, a run log says it.
    """
    results = results_of(group, None, mode, disk_fallback=False)
    ids = [row.id for row in results]
    marks: dict[str, Marks] = {}
    created: dict[str, float | None] = {}
    connection = None
    if results.about.mode == "offline":
        sessions = Path(results.about.where)
        marks = {task_id: session_marks(sessions / task_id) for task_id in ids}
    elif not Path(group).is_file():
        connection = choose_place(mode, disk_fallback=False).connection
    if connection is not None:
        with closing(Transport(connection)) as transport:
            for task in query_by_id(transport, ids, ("id", "tags", "comment", "created")):
                marks[task["id"]] = (task.get("tags") or (), str(task.get("comment") or ""))
                created[task["id"]] = created_at(task)
    elif since is not None:
        created = {task.id: task.opened for run in all_runs(root()) for task in run.tasks.values()}
    return [
        attrs.evolve(task, created=created.get(task.id) or results.about.started)
        for task in names_of_results(results, marks)
    ]


def _of_project(transport: Transport, project: str, asked: _Asked, archived: bool) -> list[LoggedNames]:
    try:
        return names_of_project(transport, project, below=asked.below, since=asked.since, archived=archived)
    except NoSuchTasksError as error:
        query = {"only_fields": ["name"], "page_size": MAX_PAGE_TASKS, "page": 0, "order_by": ["name"]}
        answer = transport.call("projects.get_all", query, timeout=API_TIMEOUT_S)
        raise NotChecked(
            f"{error}{suggestions(project, (each['name'] for each in answer['projects']))}"
        ) from None


def _on_disk(asked: _Asked, *, exact: bool) -> list[LoggedNames]:
    """Reads tasks of runs, and offline sessions of ClearML's own.

    Args:
        asked: Which tasks.
        exact: Whether to read the names from sessions, instead of metrics from run logs.
    """
    runs, sessions = all_runs(root()), sessions_folder()
    own = {task_id for run in runs for task_id in (*run.tasks, run.parent) if task_id}
    raw = list(raw_sessions(sessions, own))

    def tasks_of(run: PastRun, only: set[str] | None = None) -> list[LoggedNames]:
        if not exact:
            return [task for task in names_of_run(run, sessions) if only is None or task.id in only]
        tasks = [task for task in run.tasks.values() if only is None or task.id in only]
        return [names_of_session(run, task, sessions) for task in tasks]

    found: list[LoggedNames] = []
    for project in asked.projects:
        is_asked = is_below if asked.below else str.__eq__
        of_runs = [run for run in runs if is_asked(run.project, project)]
        of_raw = [session for session in raw if is_asked(session.project, project)]
        if not of_runs and not of_raw:
            names = [*(run.project for run in runs), *(session.project for session in raw)]
            raise NotChecked(f"the project {project!r} has no runs on this disk{suggestions(project, names)}")
        found += [task for run in of_runs for task in tasks_of(run)]
        found += map(names_of_raw, of_raw)
    if asked.tasks:
        wanted = set(asked.tasks)
        known = {task.id: task for run in runs if wanted & run.tasks.keys() for task in tasks_of(run, wanted)}
        known |= {session.id: names_of_raw(session) for session in raw if session.id in wanted}
        missing = [task for task in asked.tasks if task not in known]
        if missing:
            raise NoSuchTasksError("task", missing)
        found += [known[task] for task in asked.tasks]
    return found


def _print(
    logged: list[LoggedNames],
    metrics: list[LoggedMetric],
    drifting: list[LoggedMetric],
    written: str | None,
) -> None:
    names = _labels(logged)
    looked_at = f"{counted(len(logged), 'task')}, {counted(len(metrics), 'metric')}"
    completed, apart = _completed(logged), _apart(logged, metrics)
    if not drifting:
        but = f", but {counted(len(apart), 'metric')} in different contexts" if apart else ""
        echo(f"{looked_at}: no drift{but}")
    else:
        both = sum(len(mergeable_parts(metric)) > 1 for metric in drifting)
        unmerged = f", {both} of them with names that some tasks report both of" if both else ""
        echo(f"{looked_at}: {len(drifting)} spelt in different ways{unmerged}")
    for metric in drifting:
        echo("", metric.name)
        width = max(len(str(spelling)) for spelling in metric.spellings)
        for spelling in metric.spellings:
            context = "".join(f" {field}={value}" for field, value in spelling.context.items())
            of_tasks = _task_text(spelling.tasks, names)
            echo(f"  {spelling!s:{width}}  {of_tasks}{' ·' + context if context else ''}")
        for one, other, both in reported_both(metric):
            report = "reports" if both == 1 else "report"
            echo(f"  {counted(both, 'task')} {report} both {one} and {other}: they are not merged")
    if apart:
        echo("", APART)
    lines = []
    for metric, contexts in apart:
        texts = [f"{some([*map(str, same)], 2)} ({_task_text(tasks_of(same), names)})" for same in contexts]
        lines.append(f"{metric.name}: {some(texts, 4)}")
    echo_first(lines)
    counts = [(metric, len(metric.tasks & completed)) for metric in metrics if not metric.drifts]
    partly = [(metric.name, count) for metric, count in counts if 0 < count < len(completed)]
    if partly:
        counted_names = [f"{name} ({count})" for name, count in partly]
        echo("", f"only some tasks report {some(counted_names, MAX_PARTIAL_METRICS_SHOWN)}")
    if written is not None:
        echo("", f"the vocabulary, with one name for each metric, is in {written}")
    if not drifting or written is not None:
        return
    echo("", "one name for each, as code to paste (metrics without drift are unchanged):", "")
    echo(*_vocabulary_code(logged, metrics).split("\n"))


def _vocabulary_code(logged: list[LoggedNames], metrics: list[LoggedMetric]) -> str:
    """Returns the code of the vocabulary, with project and group if all tasks have the same."""
    fields = frozenset().union(*(task.fields for task in logged))
    return vocabulary_code(
        metrics,
        _only(task.project for task in logged) or DEFAULT_PROJECT,
        _only(task.group for task in logged) or DEFAULT_GROUP,
        fields,
        _only(task.template for task in logged) or DEFAULT_TEMPLATE,
    )


def _only(values: Iterable[str]) -> str:
    """Returns the only value that there is; empty if there are several."""
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else ""


def _apart(
    logged: list[LoggedNames], metrics: list[LoggedMetric]
) -> list[tuple[LoggedMetric, list[list[Spelling]]]]:
    """Finds the metrics that tasks report in different contexts only."""
    completed = _completed(logged)
    return [(metric, same) for metric in metrics if (same := contexts_apart(metric, completed))]


def _completed(logged: list[LoggedNames]) -> set[str]:
    return {task.id for task in logged if task.completed and task.names}


def _labels(logged: list[LoggedNames]) -> dict[str, str]:
    """Returns the names of tasks, with their groups if there are several."""
    groups = {(task.project, task.group) for task in logged}
    return {
        task.id: f"{task.group}/{task.name}" if task.group and len(groups) > 1 else task.name or task.id
        for task in logged
    }


def _task_text(tasks: frozenset[str], names: dict[str, str]) -> str:
    return f"{counted(len(tasks), 'task')}: {some(sorted(names[task] for task in tasks), 2)}"


def _drift_json(logged: list[LoggedNames], metrics: list[LoggedMetric]) -> dict[str, Any]:
    return {
        "tasks": len(logged),
        "drift": [_metric_json(metric) for metric in metrics if metric.drifts],
        "others": [_metric_json(metric) for metric in metrics if not metric.drifts],
        "in_different_contexts": {
            metric.name: [_spellings_json(same) for same in contexts]
            for metric, contexts in _apart(logged, metrics)
        },
        "vocabulary": _vocabulary_code(logged, metrics),
    }


def _metric_json(metric: LoggedMetric) -> dict[str, Any]:
    return {
        "metric": metric.name,
        "mode": metric.mode,
        "merged": len(mergeable_parts(metric)) == 1,
        "spellings": _spellings_json(metric.spellings),
    }


def _spellings_json(spellings: Iterable[Spelling]) -> list[dict[str, Any]]:
    return [
        {
            "title": spelling.title,
            "series": spelling.series,
            "name": str(spelling),
            "alias": spelling.alias,
            "context": spelling.context,
            "tasks": sorted(spelling.tasks),
        }
        for spelling in spellings
    ]
