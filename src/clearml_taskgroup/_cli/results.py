"""The commands `list`, `show`, `best`, `compare` and `report`, for runs and their results."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from .._clearml import sdk
from .._model.status import shown_status, tally_text
from .._results.aggregate import Aggregates
from .._results.compare import TESTS
from .._results.results import Results
from .._results.rows import OF, Best, Row, with_parameters, with_statistic
from .._results.task_labels import one_form
from .._storage.past_runs import find_run_log, is_in_use, load_or_skip
from ..errors import NoSuchResultError
from .find_run import (
    Mode,
    choose_place,
    is_below,
    list_runs,
    no_runs_in,
    parse_context,
    parse_parameters,
    results_of,
    root,
)
from .output import (
    Command,
    Function,
    echo,
    echo_first,
    json_option,
    local_time,
    mode_options,
    parse_pair,
    print_json,
    run_option,
    utc_time,
)
from .tables import cut_to_terminal, print_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .._results.run_list import Listed

MAX_RUNS = 20
"""The number of runs that `list` shows in a table."""
MAX_REASONS = 5
"""The number of tasks that `show` gives a reason for."""
MAX_RUNS_NAMED = 5
"""The most runs that a command to copy names."""
Pairs = tuple[tuple[str, str], ...]


def group_argument(function: Function) -> Function:
    """Adds GROUP, `--run`, `--online`, `--offline` and `--json`."""
    return click.argument("group")(run_option(mode_options(json_option(function))))


def rows_options(over_help: str = "Take the mean over a parameter.") -> Callable[[Function], Function]:
    """Returns a decorator that adds the options that filter and aggregate tasks."""
    better = click.option(
        "--mode", "better", type=click.Choice(["max", "min"]), help="Which direction is better."
    )
    of = click.option("--of", default="last", type=click.Choice(OF), help="Which value of each curve.")
    over = click.option("--over", multiple=True, metavar="PARAM", help=over_help)
    where = click.option(
        "--where",
        multiple=True,
        type=parse_pair,
        metavar="PARAM=VALUE",
        help="Only tasks with this value of a parameter; repeat it for several values.",
    )
    return lambda function: better(of(over(where(function))))


def limit_option(text: str) -> Callable[[Function], Function]:
    """Returns a decorator that adds `-n`."""
    return click.option("-n", "--limit", "most", type=click.IntRange(1), help=text)


# --- list --------------------------------------------------------------------------------------


@click.command(
    "list",
    cls=Command,
    short_help="List the runs of all groups.",
    epilog="Example: clearml-taskgroup list --project digits -n 10",
)
@click.option("--project", help="Only runs of this project and its sub-projects.")
@limit_option("At most this many; a table has 20.")
@mode_options
@json_option
def list_command(project: str | None, most: int | None, mode: Mode | None, as_json: bool) -> None:
    """List the runs of all groups, the latest first.

    A task with several attempts counts once, with its latest attempt. The table has the latest 20 runs,
    --json all. If the server does not answer, the runs on this disk are listed. Exit code 1: the project
    has no runs, or the server does not answer and this disk has none.
    """
    place = choose_place(mode)
    known = list_runs(place)
    runs = [run for run in known if project is None or is_below(run.project, project)][:most]
    if as_json:
        print_json([_run_json(run) for run in runs])
    elif not runs and project is None:
        echo("no runs")
    if not runs and project is not None:
        echo(no_runs_in(project, (run.project for run in known)), err=True)
    if not runs and (project is not None or place.is_fallback):
        click.get_current_context().exit(1)
    if runs and not as_json:
        shown = runs if most is not None else runs[:MAX_RUNS]
        head = ["run", "group", "number", "tasks", "started", "mode"]
        print_table(head, [_table_row(run) for run in shown], folded=False)
        if len(runs) > len(shown):
            echo(f"… and {len(runs) - len(shown)} more: -n {len(runs)}")
        abandoned = [run for run in runs if "abandoned" in run.statuses]
        if abandoned:
            echo(_abandoned_note({run.run: run.record for run in abandoned}))


def _abandoned_note(runs: Mapping[str, Path | None]) -> str:
    """Says what to do about abandoned tasks.

    Args:
        runs: The ids of the runs, with the run logs of those that are not on a server as they ended.
    """
    note = "abandoned: the process ended before its group was closed"
    again = "to run these tasks again, run the script with resume=True"
    has_server = sdk.is_configured() and sdk.task_mode() != "offline"
    # An upload waits until the living processes of a shared run have left it.
    left = [run for run, path in runs.items() if has_server and path is not None and not is_in_use(path)]
    command = f"clearml-taskgroup upload {' '.join(run[:12] for run in left[:MAX_RUNS_NAMED])}"
    return f"{note}; {again}" + (f"; to end them as stopped: {command}" if left else "")


def _table_row(run: Listed) -> list[str]:
    started, tasks = local_time(run.started), tally_text(run.statuses) or "none"
    number = f"{run.number} ({run.shared})" if run.shared else str(run.number)
    return [run.run[:12], f"{run.project}/{run.group}", number, tasks, started, run.mode]


def _run_json(run: Listed) -> dict[str, Any]:
    facts = attrs.asdict(run, recurse=False, filter=lambda field, _: field.name != "left")
    return {**facts, "started": utc_time(run.started), "tasks": run.tasks}


# --- show --------------------------------------------------------------------------------------


@click.command(
    cls=Command,
    short_help="Show the results of a run.",
    epilog="Example: clearml-taskgroup show digits/svm-sweep --sort loss --mode min",
)
@group_argument
@click.argument("context", nargs=-1, type=parse_pair, metavar="[field=value]...")
@click.option("--sort", metavar="METRIC", help="Sort by this metric, the best first.")
@limit_option("At most this many lines; with --sort the best.")
@rows_options()
def show(
    group: str,
    run: str | None,
    mode: Mode | None,
    as_json: bool,
    context: Pairs,
    sort: str | None,
    most: int | None,
    better: Any,
    of: Any,
    over: Sequence[str],
    where: Pairs,
) -> None:
    """Show the results of a run, a line for each task; with --over, for each configuration.

    GROUP is project/name, the id of a group, the id of a run or its first six digits, or the path of a
    run log. field=value, such as split=val, chooses the context of --sort METRIC, like
    "accuracy[split=val]". On a terminal that is too narrow for all metrics the first ones are shown. The last
    line is the run's web page or, offline, folder; that of a task if --where leaves only one.
    """
    if context and sort is None:
        raise click.UsageError("field=value belongs to --sort METRIC; filter tasks with --where")
    results = _filtered(results_of(group, run, mode), where)
    shown: Results | Aggregates = results.aggregate(over, of=of) if over else results
    head: str | None = None
    if sort is not None:
        chosen = parse_context(context, results)
        head = with_statistic(results.label(results.find(sort, **chosen)), of)
        chosen["mode"] = _require_mode(results, sort, chosen, better)
        shown = (
            shown.sort(sort, **chosen) if isinstance(shown, Aggregates) else shown.sort(sort, of=of, **chosen)
        )
    about = results.about
    if as_json:
        facts = attrs.asdict(about, filter=lambda field, _: not field.name.startswith("_"))
        facts |= {"table_url": about.table_url, "started": utc_time(about.started)}
        facts["partial"] = results.partial
        what = "configurations" if over else "tasks"
        print_json({"run": facts, "sort": sort, "of": of, what: shown.to_records()[:most]})
        return
    text = f", run={about.shared!r}" if about.shared else ""
    echo(f"{about} ({about.run[:12]}{text}), {local_time(about.started)}, {about.mode}")
    if isinstance(shown, Results) and of == "mean":
        shown.with_means()
    table = shown._table(of) if isinstance(shown, Results) else shown._table()
    columns, body = _with_sorted_first(head, *table)
    print_table(columns, body[:most])
    if most is not None and len(body) > most:
        echo(f"… and {len(body) - most} more: -n {len(body)}")
    for note in shown._notes():
        echo(note)
    if any(shown_status(row.status, row.status_reason) == "abandoned" for row in results):
        path = find_run_log(root() / about.group_id, about.run)
        past = None if path is None else load_or_skip(path)
        echo(_abandoned_note({about.run: path if past is not None and past.is_pending else None}))
    failed = [f"{row.name}: {row.status_reason or 'no reason'}" for row in results if row.status == "failed"]
    stopped = [
        f"{row.name}: {row.status_reason}"
        for row in results
        if shown_status(row.status, row.status_reason) == "stopped" and row.status_reason
    ]
    for heading, reasons in (("why tasks failed:", failed), ("why tasks were stopped:", stopped)):
        if reasons:
            echo(heading)
            texts = [cut_to_terminal(reason, 2) for reason in reasons]
            echo_first(texts, ": --json has the status_reason of each task", most=MAX_REASONS)
    of_task = results[0].url if where and len(results) == 1 else None  # a single task was asked for
    if url := of_task or about.url:
        echo(url)


def _with_sorted_first(
    name: str | None, head: list[str], body: list[list[str]]
) -> tuple[list[str], list[list[str]]]:
    """Moves the column of `--sort` before the other values: a terminal may not have room for all."""
    order = sorted(range(len(head)), key=lambda place: place > 1 and head[place] != name)
    return [head[column] for column in order], [[line[column] for column in order] for line in body]


def _filtered(results: Results, where: Pairs) -> Results:
    """Keeps the tasks that have, for each parameter, one of the given values."""
    wanted: dict[str, set[str]] = {}
    for name, text in where:
        found = results.where(parse_parameters([(name, text)], results))
        wanted.setdefault(name, set()).update(row.id for row in found)
    if not wanted:
        return results
    ids = set.intersection(*wanted.values())
    return results.where(lambda row: row.id in ids)


def _require_mode(results: Results, metric: str, context: dict[str, Any], better: Any) -> Any:
    name, _ = results.find(metric, **context)
    mode = results.mode_of(name, better)
    if mode is None:
        raise click.UsageError(f"the better direction of {name} is not known; add --mode max or --mode min")
    return mode


# --- best --------------------------------------------------------------------------------------


@click.command(
    cls=Command,
    short_help="Show the best task for a metric.",
    epilog="Example: clearml-taskgroup best digits/svm-sweep accuracy split=val",
)
@group_argument
@click.argument("metric")
@click.argument("context", nargs=-1, type=parse_pair, metavar="[field=value]...")
@limit_option("A table of the best so many; with --json a list.")
@rows_options()
def best(
    group: str,
    run: str | None,
    mode: Mode | None,
    as_json: bool,
    metric: str,
    context: Pairs,
    most: int | None,
    better: Any,
    of: Any,
    over: Sequence[str],
    where: Pairs,
) -> None:
    """Show the best task for a METRIC; with --over, the best configuration by its mean.

    GROUP is project/name, the id of a group, the id of a run or its first six digits, or the path of a
    run log. field=value, such as split=val, chooses the context of METRIC; or write METRIC like a column of
    show, "accuracy[split=val]". Failed and stopped tasks do not count. The better direction comes from
    --mode, the run's vocabulary, or a well-known word (accuracy, loss).
    """
    results = _filtered(results_of(group, run, mode), where)
    chosen = parse_context(context, results)
    chosen["mode"] = _require_mode(results, metric, chosen, better)
    listed: Results | Aggregates = results.aggregate(over, of=of) if over else results
    if not over:
        chosen["of"] = of
    found: Best = listed.best(metric, **chosen)
    rows = {row.id: row for row in results}
    row = rows.get(found.id or "")
    if most is not None:
        ranked = [found, *_next_best(listed.sort(metric, **chosen)[1:most], metric, chosen)]
        if as_json:
            print_json([_best_json(one, rows, results) for one in ranked])
            return
        head = ["configuration" if over else "task", with_statistic(found.metric, of)]
        names = one_form([(one.name, one.params) for one in ranked])
        called = [with_parameters(name, one.params) for name, one in zip(names, ranked, strict=True)]
        print_table(head, [[name, one.value_text()] for name, one in zip(called, ranked, strict=True)])
        if found.note:
            echo(found.note)
        return
    if as_json:
        print_json(_best_json(found, rows, results))
        return
    echo(found._text("--over {}"))
    for name, value in found.params.items():
        echo(f"  {name} = {value}")
    if row is not None:
        echo(row.url or row.id)


def _next_best(rest: Results | Aggregates, metric: str, chosen: Mapping[str, Any]) -> Iterator[Best]:
    """Yields each of the sorted tasks or configurations that has a value, as if it were the best."""
    for place in range(len(rest)):
        try:
            yield rest[place : place + 1].best(metric, **chosen)
        except NoSuchResultError:  # those without a value come last
            return


def _best_json(found: Best, rows: Mapping[str, Row], results: Results) -> dict[str, Any]:
    row = rows.get(found.id or "")
    return {**attrs.asdict(found), "url": row.url if row else None, "run": results.about.run}


# --- compare -----------------------------------------------------------------------------------


@click.command(
    "compare",
    cls=Command,
    short_help="Compare configurations, paired over seeds: which is better, and how certain.",
    epilog="Example: clearml-taskgroup compare digits/svm-sweep accuracy split=val --to C=1",
)
@group_argument
@click.argument("metric")
@click.argument("context", nargs=-1, type=parse_pair, metavar="[field=value]...")
@rows_options("Pair tasks by this parameter; by default seed or fold.")
@click.option(
    "--to",
    multiple=True,
    metavar="NAME|PARAM=VALUE",
    help="The reference: a configuration's name, or its parameters; by default the best.",
)
@click.option(
    "--test", type=click.Choice(TESTS), help="Which test; by default corrected for folds, otherwise t."
)
def compare_command(
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
    to: Sequence[str],
    test: Any,
) -> None:
    """Compare each configuration with a reference for a METRIC: difference, 95 % interval and p value.

    GROUP is project/name, the id of a group, the id of a run or its first six digits, or the path of a
    run log. field=value, such as split=val, chooses the context of METRIC. Tasks are paired by
    --over, by default the seed, or the fold if there is no seed; p values are corrected for the number of
    comparisons by Holm's method. Without --to the reference is the configuration with the best mean, and
    intervals and p values are too optimistic.
    """
    results = _filtered(results_of(group, run, mode), where)
    chosen = parse_context(context, results)
    if not to:
        chosen["mode"] = _require_mode(results, metric, chosen, better)
    elif better is not None:
        chosen["mode"] = better
    compared = results.compare(
        metric, over=over or None, to=_reference(to, results, over), of=of, test=test, **chosen
    )
    if as_json:
        facts = attrs.asdict(compared, filter=lambda field, _: field.name != "rows")
        print_json({"run": results.about.run, **facts, "configurations": compared.to_records()})
        return
    print_table(*compared._table(), kept=compared._kept_column)
    for note in compared._notes():
        echo(note.replace("(to=)", "(--to)").replace('test="corrected"', "--test corrected"))


def _reference(to: Sequence[str], results: Results, over: Sequence[str]) -> str | dict[str, Any] | None:
    """Returns the name of a configuration, or parameters: `C=1` may be either."""
    if not to:
        return None
    if len(to) == 1 and any(one.name == to[0] for one in results.aggregate(over or None)):
        return to[0]
    texts = [part for text in to for part in text.split(",")]
    if not all("=" in text for text in texts):
        return ",".join(to)
    return parse_parameters(map(parse_pair, texts), results)


# --- report ------------------------------------------------------------------------------------


@click.command(
    cls=Command,
    short_help="Write a run's results to an HTML file.",
    epilog="Example: clearml-taskgroup report digits/svm-sweep -o svm.html",
)
@group_argument
@click.option(
    "--over", multiple=True, metavar="PARAM", help="Take means over a parameter; by default seed or fold."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="The HTML file to write; - for stdout.",
)
def report(
    group: str,
    run: str | None,
    mode: Mode | None,
    as_json: bool,
    over: Sequence[str],
    output: Path | None,
) -> None:
    """Write a run's results to one HTML file, which needs no network; needs plotly.

    GROUP is project/name, the id of a group, the id of a run or its first six digits, or the path of a
    run log. Without -o the file has the name of the group and the run, in the current folder.
    """
    if output is not None and output.suffix.casefold() not in ("", ".html", ".htm"):
        raise click.UsageError(f"a report is HTML; give -o a name that ends in .html, not {output.suffix}")
    to_stdout = output == Path("-")
    if to_stdout and as_json:
        raise click.UsageError("-o - and --json both write to stdout; give one of them")
    results = results_of(group, run, mode)
    about = results.about
    if to_stdout:
        with tempfile.TemporaryDirectory() as folder:
            page = results.save_html(Path(folder, "report.html"), over=over or None)
            click.echo(page.read_text("utf-8"), nl=False)
        return
    path = output or Path(re.sub(r"[^\w.-]+", "-", f"{about.name}-run-{about.run_number}") + ".html")
    results.save_html(path, over=over or None)
    if as_json:
        print_json({"run": about.run, "path": str(path.absolute())})
    else:
        echo(f"{about}: {path}")
