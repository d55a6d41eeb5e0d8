"""`pending`, `upload`, `discard`: the runs that are on this disk."""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress

from .._listing import runs_on_disk
from .._past import PastRun, all_runs, find_run, held, load
from .._upload import upload
from ..errors import LoginError, NoSuchRunError, TaskGroupError, counted
from ._output import Command, iso, json_option, print_json, print_table, when
from ._wanted import one_of, root

_SHOWN = ("project", "group", "number", "mode", "tasks", "status")


def _facts(past: PastRun) -> dict[str, Any]:
    return {
        "run": past.run,
        "project": past.project,
        "group": past.name,
        "number": past.number,
        "mode": past.mode,
        "tasks": len(past.tasks),
        "status": past.status or "not closed",
        "started": iso(past.started),
        "record": str(past.path),
    }


@click.command(
    cls=Command,
    short_help="List the runs that are on no server.",
    epilog="Example: clearml-taskgroup pending --json",
)
@json_option
def pending(as_json: bool) -> None:
    """List the runs of which something is not on a server yet, the latest first."""
    waiting = [past for past in all_runs(root()) if past.is_pending]
    waiting.sort(key=lambda past: past.started or 0, reverse=True)
    if as_json:
        print_json([_facts(past) for past in waiting])
        return
    if not waiting:
        click.echo(f"nothing waits below {root()}")
        return
    body = [
        [past.run[:12], *(str(_facts(past)[name]) for name in _SHOWN), when(past.started)] for past in waiting
    ]
    print_table(["run", *_SHOWN, "started"], body)
    click.echo("throw one away with: clearml-taskgroup discard RUN")
    click.echo("bring one to a server with: clearml-taskgroup upload RUN")


@click.command(
    "upload",
    cls=Command,
    short_help="Bring runs to the server.",
    epilog="Example: clearml-taskgroup upload 3f2a9c1d",
)
@click.argument("runs", nargs=-1, metavar="RUN...")
@click.option("--all", "everything", is_flag=True, help="Upload every run that waits.")
@json_option
def upload_command(runs: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Bring runs to the configured server, each task with the status that it earned.

    RUN is the id of a run (its first digits will do), the id of a group for its latest run, or the
    path of a run's record. It can be interrupted and run again.
    """
    if bool(runs) == everything:
        raise click.UsageError("give the runs to upload, or --all")
    failed = False
    brought = []
    found = (
        [past for past in all_runs(root()) if past.is_pending]
        if everything
        else [find_run(root(), run) for run in runs]
    )
    for past in found:
        try:
            brought.append(_upload_one(past, quiet=as_json))
            failed = failed or bool(brought[-1]["problems"])
        except LoginError:  # none of the others would fare better
            raise
        except TaskGroupError as error:
            failed = True
            click.echo(f"{past.run}: {error}", err=True)
    if as_json:
        print_json(brought)
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


# --- discard -----------------------------------------------------------------------------------


@click.command(
    cls=Command,
    short_help="Delete a run from this disk.",
    epilog="Example: clearml-taskgroup discard 3f2a9c1d --yes",
)
@click.argument("run")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def discard(run: str, yes: bool, as_json: bool) -> None:
    """Delete a run from this disk: its record, its offline sessions, and what waits to be delivered.

    RUN is the id of a run (its first six digits will do) or the path of its record. What is on a server
    stays there. A run that a living process works on is refused.
    """
    if as_json and not yes:
        raise click.UsageError("--json asks nothing; add --yes to delete")
    past = _meant(run)
    with held(past.path):
        paths = _belongings(past)
        lost = "something of it is on no server" if past.is_pending else "all of it is on a server"
        what = f"run {past.number} of {past.project}/{past.name} ({counted(len(past.tasks), 'task')}; {lost})"
        if not yes:
            click.echo(f"{what}:")
            for path in paths:
                click.echo(f"  {path}")
            click.confirm("delete these?", abort=True)
        for path in paths:  # the record last: until then it can be run again
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # there are other runs
        past.path.parent.rmdir()
    if as_json:
        print_json({**_facts(past), "deleted": [str(path) for path in paths]})
    else:
        click.echo(f"deleted {what}")


def _meant(text: str) -> PastRun:
    path = Path(text)
    if not path.is_file():
        if len(text) < 6:
            raise click.UsageError(
                "RUN is the id of a run, at least its first six digits, or a record's path"
            )
        path = one_of(text, runs_on_disk(root())).record or path
    past = load(path)
    if past is None:
        raise NoSuchRunError("a run", [f"the file {path}"])
    return past


def _belongings(past: PastRun) -> list[Path]:
    """Gives what belongs to a run, its record last."""
    sessions = past.path.absolute().parent.parent.parent / "offline"
    ids = [*past.tasks, *([past.parent] if past.owns_parent and past.parent else [])]
    folders = [sessions / task for task in ids] if past.mode == "offline" else []
    own = [folder for folder in folders if folder.parent == sessions]  # an id is never a path
    beside = sorted(past.path.parent.glob(f"{past.path.stem}.*"))  # outbox, journal
    return [path for path in (*own, *beside) if path.exists() and path != past.path] + [past.path]
