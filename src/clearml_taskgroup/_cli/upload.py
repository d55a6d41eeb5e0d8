"""The commands `pending` and `upload`, for the runs on this disk."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from .._clearml import sdk
from .._model.status import tally_text
from .._results.run_list import statuses_of
from .._storage.past_runs import all_runs, is_in_use
from .._storage.upload import upload
from .._text import counted, printable
from ..errors import LoginError, ServerError, TaskGroupError
from .error_text import NO_SERVER, command_message, server_name
from .find_run import NoAnswer, connect, root, run_on_disk
from .output import (
    ARGUMENTS_KEY,
    Command,
    Failure,
    echo,
    echo_first,
    json_option,
    local_time,
    print_json,
    run_option,
    utc_time,
)
from .tables import print_table, progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._model.past import PastRun

NOTHING_LOST = "All data stays on this disk; once the server answers, run again"

_HEAD = ("run", "project", "group", "number", "mode", "tasks", "state", "started")


def _row(past: PastRun) -> list[str]:
    tasks = tally_text(statuses_of(past)) or "none"
    state = (
        "closed" if past.status is not None else run_json(past)["status"]
    )  # the status itself may be failed
    return [
        past.run[:12],
        past.project,
        past.name,
        f"{past.number} ({past.shared})" if past.shared else str(past.number),
        past.mode,
        tasks,
        state,
        local_time(past.started),
    ]


def run_json(past: PastRun) -> dict[str, Any]:
    return {
        "run": past.run,
        "project": past.project,
        "group": past.name,
        "number": past.number,
        "mode": past.mode,
        "tasks": len(past.latest()),
        "statuses": statuses_of(past),
        "status": past.status or ("in use" if is_in_use(past.path) else "not closed"),
        "started": utc_time(past.started),
        "record": str(past.path),
    }


@click.command(
    cls=Command,
    short_help="List the runs that are not fully on a server.",
    epilog="Example: clearml-taskgroup pending --json",
)
@json_option
def pending(as_json: bool) -> None:
    """List the runs with data that is not on a server yet, the latest first."""
    waiting = [past for past in all_runs(root()) if past.is_pending]
    waiting.sort(key=lambda past: past.started or 0, reverse=True)
    if as_json:
        print_json([run_json(past) for past in waiting])
        return
    if not waiting:
        echo(f"no pending runs below {root()}")
        return
    print_table(_HEAD, [_row(past) for past in waiting])
    echo("upload one with: clearml-taskgroup upload RUN")
    echo("delete one with: clearml-taskgroup discard RUN")


@click.command(
    "upload",
    cls=Command,
    short_help="Upload runs to the server.",
    epilog="Example: clearml-taskgroup upload digits/svm-sweep",
)
@click.argument("runs", nargs=-1, metavar="GROUP...")
@run_option
@click.option("--all", "everything", is_flag=True, help="Upload every pending run; a terminal asks first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def upload_command(
    runs: tuple[str, ...], run: str | None, everything: bool, yes: bool, as_json: bool
) -> None:
    """Upload runs to the configured server; each task gets its own status there.

    GROUP is project/name or the id of a group, for its latest run on this disk; the id of a run or its first
    six digits; or the path of a run log. An upload can be interrupted and repeated.
    """
    if bool(runs) == everything:
        raise click.UsageError("give the runs to upload, or --all")
    if run is not None and len(runs) != 1:
        raise click.UsageError("--run belongs to one GROUP")
    failed = False
    uploaded_runs: list[dict[str, Any]] = []
    found = (
        [past for past in all_runs(root()) if past.is_pending]
        if everything
        else [run_on_disk(given, run) for given in runs]
    )
    again = shlex.join(["clearml-taskgroup", *click.get_current_context().meta[ARGUMENTS_KEY]])
    if found:
        _require_server(again)
    if found and everything and not yes and not as_json and is_terminal():
        list_runs_briefly(found)
        number, tasks = counted(len(found), "run"), counted(sum(len(past.latest()) for past in found), "task")
        click.confirm(f"upload {number} ({tasks}) to {server_name()}?", abort=True)
    for past in found:
        try:
            uploaded_runs.append(_upload_one(past, quiet=as_json))
            failed = failed or bool(uploaded_runs[-1]["problems"])
        except ServerError as error:  # the other runs would fail in the same way
            raise Failure(f"{run_title(past)}: {command_message(error)} {NOTHING_LOST}: {again}") from None
        except TaskGroupError as error:
            failed = True
            echo(f"{run_title(past)}: {command_message(error)}", err=True)
    if not found and not as_json:
        echo(f"no pending runs below {root()}")
    if as_json:
        print_json(uploaded_runs)
    sys.exit(1 if failed else 0)


def is_terminal() -> bool:
    """Whether somebody can answer a question."""
    return sys.stdin is not None and sys.stdin.isatty()


def list_runs_briefly(runs: Sequence[PastRun], more: Callable[[PastRun], str] = lambda _: "") -> None:
    """Prints the first few runs, each with what `more` says of it."""
    lines = [f"{run_title(past)}: {tally_text(statuses_of(past)) or 'no tasks'}{more(past)}" for past in runs]
    echo_first(lines)


def _require_server(again: str) -> None:
    if sdk.task_mode() == "offline":
        raise Failure(
            f"ClearML is set offline, but an upload needs a server: env -u CLEARML_OFFLINE_MODE {again}"
        )
    if not sdk.is_configured():
        raise Failure(f"{NO_SERVER}. {NOTHING_LOST}: {again}")
    try:
        connect()
    except (NoAnswer, LoginError) as error:
        raise Failure(f"{command_message(error).rstrip('.')}. {NOTHING_LOST}: {again}") from None


def run_title(past: PastRun) -> str:
    """Names a run for people: group, number and id."""
    return f"{past.project}/{past.name}, run {past.number} ({past.run[:12]})"


def _bar_text(past: PastRun, task: str = "") -> str:
    return escape(printable(f"{past.project}/{past.name} {task}"))


def _upload_one(past: PastRun, *, quiet: bool) -> dict[str, Any]:
    with progress_bar(quiet=quiet) as progress:
        bar = progress.add_task(_bar_text(past), total=len(past.tasks))
        uploaded = upload(
            past.path,
            lambda name, done, total: progress.update(
                bar, completed=done, total=total, description=_bar_text(past, name)
            ),
        )
    problems = [str(problem) for problem in uploaded.problems]
    if not quiet:
        keys = {past.tasks[task].key for task in uploaded.ids}
        delivered = f"{counted(len(keys), 'task')} on the server"
        echo(f"{run_title(past)}: {delivered}" + (f", {uploaded.url}" if uploaded.url else ""))
        for problem in problems:
            echo(f"{run_title(past)}: {problem}", err=True)
    return {**run_json(past), "url": uploaded.url, "ids": dict(uploaded.ids), "problems": problems}
