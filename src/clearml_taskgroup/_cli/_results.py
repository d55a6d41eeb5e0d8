"""`list`, `show`, `best`, `report`: which runs there are, and what they came to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import click

from .._aggregate import Aggregates
from .._listing import Listed
from .._measures import OF, Best
from .._results import Results, Row
from ._output import (
    Command,
    Function,
    iso,
    json_option,
    mode_options,
    pair,
    print_json,
    print_table,
    when,
)
from ._wanted import Mode, context_of, listed, parameters_of, results_of

Pairs = tuple[tuple[str, str], ...]


def group_argument(function: Function) -> Function:
    """Adds GROUP, `--run` and where to look."""
    run = click.option("--run", metavar="N", help="The run's number, or its id; by default the latest.")
    return click.argument("group")(run(mode_options(json_option(function))))


def rows_options(function: Function) -> Function:
    """Adds what chooses and sums up rows."""
    better = click.option("--mode", "better", type=click.Choice(["max", "min"]), help="Which is better.")
    of = click.option("--of", default="last", type=click.Choice(OF), help="Which of a task's values.")
    over = click.option("--over", multiple=True, metavar="PARAM", help="Take the mean over a parameter.")
    where = click.option(
        "--where", multiple=True, type=pair, metavar="PARAM=VALUE", help="Only tasks with this parameter."
    )
    return better(of(over(where(function))))


# --- list --------------------------------------------------------------------------------------


@click.command(
    "list",
    cls=Command,
    short_help="List the runs of all groups.",
    epilog="Example: clearml-taskgroup list --project digits -n 10",
)
@click.option("--project", help="Only runs of this project, and of those below it.")
@click.option("-n", "most", type=click.IntRange(1), help="At most so many.")
@mode_options
@json_option
def list_command(project: str | None, most: int | None, mode: Mode | None, as_json: bool) -> None:
    """List the runs of all groups, the latest first."""
    runs = [run for run in listed(mode) if project is None or is_below(run.project, project)][:most]
    if as_json:
        print_json([_facts(run) for run in runs])
    elif not runs:
        click.echo("no runs" + (f" in the project {project!r}" if project else ""))
    else:
        head = ["run", "project", "group", "number", "tasks", "started", "mode"]
        print_table(head, [_line(run) for run in runs])


def is_below(project: str, wanted: str) -> bool:
    """Tells whether a project is another one, or below it."""
    return project == wanted.strip("/") or project.startswith(wanted.strip("/") + "/")


def _line(run: Listed) -> list[str]:
    tasks = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in run.statuses.items())
    number, started = str(run.number), when(run.started)
    return [run.run[:12], run.project, run.group, number, tasks or "none", started, run.mode]


def _facts(run: Listed) -> dict[str, Any]:
    facts = attrs.asdict(run, recurse=False)
    return {**facts, "started": iso(run.started), "tasks": run.tasks}


# --- show --------------------------------------------------------------------------------------


@click.command(
    cls=Command,
    short_help="Show the results of a run.",
    epilog="Example: clearml-taskgroup show digits/svm-sweep --sort loss --mode min",
)
@group_argument
@click.argument("context", nargs=-1, type=pair, metavar="[field=value]...")
@click.option("--sort", metavar="METRIC", help="The best first, by this metric.")
@rows_options
def show(
    group: str,
    run: str | None,
    mode: Mode | None,
    as_json: bool,
    context: Pairs,
    sort: str | None,
    better: Any,
    of: Any,
    over: Sequence[str],
    where: Pairs,
) -> None:
    """Show the results of a run, a line for each task; with --over, for each configuration.

    GROUP is project/name, the id of a group, the id of a run or its first six digits, or the path of a
    record. field=value, as split=val, says which of its contexts --sort means.
    """
    if context and sort is None:
        raise click.UsageError("field=value belongs to --sort METRIC; tasks are chosen with --where")
    results = _chosen(results_of(group, run, mode), where)
    shown: Results | Aggregates = results.aggregate(over, of=of) if over else results
    if sort is not None:
        meant = {**context_of(context, results), "mode": _better(results, sort, better)}
        shown = (
            shown.sort(sort, **meant) if isinstance(shown, Aggregates) else shown.sort(sort, of=of, **meant)
        )
    about = results.about
    if as_json:
        facts = {**attrs.asdict(about), "started": iso(about.started), "partial": results.partial}
        print_json({"run": facts, "configurations" if over else "tasks": shown.to_records()})
        return
    click.echo(f"{about} ({about.run[:12]}), {when(about.started)}, {about.mode}")
    print_table(*shown._table())
    for note in shown._notes():
        click.echo(note)
    if about.url:
        click.echo(about.url)


def _chosen(results: Results, where: Pairs) -> Results:
    return results.where(parameters_of(where, results)) if where else results


def _better(results: Results, metric: str, better: Any) -> Any:
    found = results.mode_of(metric, better)
    if found is None and any(name == metric for name, _ in results.measures):
        raise click.UsageError(f"nobody can tell which {metric} is better; add --mode max or --mode min")
    return found or "max"  # there is no such metric, which is told as it is looked for


# --- best --------------------------------------------------------------------------------------


@click.command(
    cls=Command,
    short_help="Name the best task for a metric.",
    epilog="Example: clearml-taskgroup best digits/svm-sweep accuracy split=val",
)
@group_argument
@click.argument("metric")
@click.argument("context", nargs=-1, type=pair, metavar="[field=value]...")
@rows_options
def best(
    group: str,
    run: str | None,
    mode: Mode | None,
    as_json: bool,
    metric: str,
    context: Pairs,
    better: Any,
    of: Any,
    over: Sequence[str],
    where: Pairs,
) -> None:
    """Name the best task for a METRIC; with --over, the best configuration, by its mean.

    GROUP is project/name, the id of a group, the id of a run or its first six digits, or the path of a
    record. field=value, as split=val, says which of the metric's contexts. Failed and stopped tasks do not
    count. Which is better is what the run's vocabulary says, or else a well-known word (accuracy, loss).
    """
    results = _chosen(results_of(group, run, mode), where)
    meant = {**context_of(context, results), "mode": _better(results, metric, better)}
    found: Best = (
        results.aggregate(over, of=of).best(metric, **meant) if over else results.best(metric, of=of, **meant)
    )
    row = next((row for row in results if row.id == found.id), None)
    if as_json:
        print_json({**attrs.asdict(found), "url": row.url if row else None, "run": results.about.run})
        return
    click.echo(f"{found}, the {'greatest' if found.mode == 'max' else 'least'}")
    for name, value in found.params.items():
        click.echo(f"  {name} = {value}")
    if row is not None:
        click.echo(_where(row))


def _where(row: Row) -> str:
    return row.url or row.id


# --- report ------------------------------------------------------------------------------------


@click.command(
    cls=Command,
    short_help="Write a run's results to an HTML file.",
    epilog="Example: clearml-taskgroup report digits/svm-sweep -o svm.html",
)
@group_argument
@click.option("--over", multiple=True, metavar="PARAM", help="Take means over this; by default seeds, folds.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file to write.")
def report(
    group: str,
    run: str | None,
    mode: Mode | None,
    as_json: bool,
    over: Sequence[str],
    output: Path | None,
) -> None:
    """Write a run's results to one HTML file, which opens without a network; needs plotly.

    GROUP is project/name, the id of a group, the id of a run or its first six digits, or the path of a
    record. Without -o the file is called after the group and the run, in this folder.
    """
    results = results_of(group, run, mode)
    about = results.about
    path = output or Path(re.sub(r"[^\w.-]+", "-", f"{about.name}-run-{about.run_number}") + ".html")
    results.save_html(path, over=over or None)
    if as_json:
        print_json({"run": about.run, "path": str(path.absolute())})
    else:
        click.echo(f"{about}: {path}")
