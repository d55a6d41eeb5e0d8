"""The command `clearml-taskgroup`: `pending` and `upload`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from . import _clearml
from ._past import PastRun, all_runs, find_run
from ._upload import upload
from .errors import LoginError, TaskGroupError

try:
    import click
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Column, Table
except ImportError:
    sys.exit("clearml-taskgroup: the command needs the extra 'cli': pip install 'clearml-taskgroup[cli]'")


_SHOWN = ("project", "group", "number", "mode", "tasks", "status")


def _root() -> Path:
    return _clearml.cache_folder() / "taskgroup"


def _facts(past: PastRun) -> dict[str, Any]:
    return {
        "run": past.run,
        "project": past.project,
        "group": past.name,
        "number": past.number,
        "mode": past.mode,
        "tasks": len(past.tasks),
        "status": past.status or "not closed",
        "record": str(past.path),
    }


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="clearml-taskgroup")
def main() -> None:
    """Runs of ClearML task groups that are on this disk."""


@main.command(epilog="Example: clearml-taskgroup pending --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def pending(as_json: bool) -> None:
    """List the runs of which something is not on a server yet."""
    waiting = [_facts(past) for past in all_runs(_root()) if past.is_pending]
    if as_json:
        click.echo(json.dumps(waiting))
        return
    if not waiting:
        click.echo(f"nothing waits below {_root()}")
        return
    table = Table(Column("run", no_wrap=True), *(Column(name, overflow="fold") for name in _SHOWN))
    for facts in waiting:
        table.add_row(facts["run"][:12], *(str(facts[name]) for name in _SHOWN))
    Console().print(table)
    click.echo("bring one to a server with: clearml-taskgroup upload RUN")


@main.command(name="upload", epilog="Example: clearml-taskgroup upload 3f2a9c1d")
@click.argument("runs", nargs=-1, metavar="RUN...")
@click.option("--all", "everything", is_flag=True, help="Upload every run that waits.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def upload_command(runs: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Bring runs to the configured server, each task with the status that it earned.

    RUN is the id of a run (its first digits will do), the id of a group for its latest run, or the
    path of a run's record. It can be interrupted and run again.
    """
    if bool(runs) == everything:
        raise click.UsageError("give the runs to upload, or --all")
    failed = False
    brought = []
    try:
        found = (
            [past for past in all_runs(_root()) if past.is_pending]
            if everything
            else [find_run(_root(), run) for run in runs]
        )
    except TaskGroupError as error:
        raise click.ClickException(str(error)) from None
    for past in found:
        try:
            brought.append(_upload_one(past, quiet=as_json))
            failed = failed or bool(brought[-1]["problems"])
        except LoginError as error:  # none of the others would fare better
            raise click.ClickException(str(error)) from None
        except TaskGroupError as error:
            failed = True
            click.echo(f"{past.run}: {error}", err=True)
    if as_json:
        click.echo(json.dumps(brought))
    sys.exit(1 if failed else 0)


def _upload_one(past: PastRun, *, quiet: bool) -> dict[str, Any]:
    console = Console(stderr=True, quiet=quiet)
    with Progress(console=console, disable=quiet or not console.is_terminal) as progress:
        bar = progress.add_task(f"{past.project}/{past.name}", total=len(past.tasks))
        uploaded = upload(
            past.path,
            lambda name, done, total: progress.update(
                bar, completed=done, total=max(1, total), description=f"{past.project}/{past.name} {name}"
            ),
        )
    problems = [str(problem) for problem in uploaded.problems]
    if not quiet:
        click.echo(f"{past.run}: {len(uploaded.ids)} tasks are on the server {uploaded.url or ''}".rstrip())
        for problem in problems:
            click.echo(problem, err=True)
    return {**_facts(past), "url": uploaded.url, "ids": dict(uploaded.ids), "problems": problems}


if __name__ == "__main__":
    main()
