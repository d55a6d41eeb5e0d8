"""The command `discard`: deletes runs from this disk."""

from __future__ import annotations

import contextlib
import shlex
from typing import TYPE_CHECKING

import click

from .._storage.discard import delete, files_of, last_write
from .._storage.past_runs import all_runs, is_in_use, load, locked
from .._text import counted
from ..errors import NoSuchRunError, TaskGroupError
from .error_text import command_message
from .find_run import is_below, no_runs_in, root, run_on_disk
from .output import (
    Command,
    Failure,
    confirm,
    echo,
    echo_first,
    json_option,
    local_time,
    parse_since,
    print_json,
    run_option,
)
from .upload import list_runs_briefly, run_json, run_title

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .._model.past import PastRun


@click.command(
    cls=Command,
    short_help="Delete runs from this disk.",
    epilog="Example: clearml-taskgroup discard --project digits --older-than 30d",
)
@click.argument("group", required=False)
@run_option
@click.option("--project", help="All runs of this project and its sub-projects.")
@click.option(
    "--older-than",
    "before",
    metavar="TIME",
    callback=parse_since,
    help="All runs that were last written to before a time: some days (30d) or hours (12h) ago, a date "
    "(2026-11-23), or a date and a time (2026-11-23T09:00, local without a time zone). With GROUP, its runs.",
)
@click.option("--all", "everything", is_flag=True, help="All runs on this disk; with GROUP, all of its runs.")
@click.option(
    "--undelivered",
    is_flag=True,
    help="With these: also runs with data that is on no server. Without a server, all runs are such runs.",
)
@click.option(
    "--yes",
    is_flag=False,
    flag_value="",
    metavar="[NUMBER]",
    help="Do not ask. With --all and no GROUP: how many, --yes=37.",
)
@json_option
def discard(
    group: str | None,
    run: str | None,
    project: str | None,
    before: float | None,
    everything: bool,
    undelivered: bool,
    yes: str | None,
    as_json: bool,
) -> None:
    """Delete runs from this disk: their run logs, their offline sessions, and undelivered data.

    GROUP is project/name or the id of a group, for its latest run on this disk; the id of a run or its first
    six digits; or the path of a run log. Data on a server stays there. A run that is still in use is refused.

    With --project, --older-than or --all, which can be combined, it lists the runs first. Runs in use are
    left out, and so are those with data that is on no server, unless --undelivered is given. GROUP with --all
    or --older-than means all runs of that group.
    """
    if yes and not yes.isdecimal() and group is None:  # `discard --yes GROUP`
        group, yes = yes, ""
    if yes and not yes.isdecimal():
        raise click.UsageError(f"--yes={yes}: give the number of runs, as --yes=37, or --yes alone")
    if as_json and yes is None:
        raise click.UsageError("--json does not ask; add --yes to delete")
    many = project is not None or before is not None or everything
    if (group is None and not many) or (many and run is not None) or None not in (group, project):
        raise click.UsageError("give one GROUP, which --run belongs to, or --project, --older-than or --all")
    if group is not None and not many:
        if undelivered or yes:
            raise click.UsageError("--undelivered and --yes=NUMBER belong to --project, --older-than, --all")
        _discard_one(_one_run(group, run), yes is not None, as_json)
        return
    if everything and yes == "" and group is None:
        raise click.UsageError("--all --yes needs the number of runs, as --yes=37; without --yes it is shown")
    known = list(all_runs(root())) if group is None else _runs_of(group)
    found = [past for past in known if project is None or is_below(past.project, project)]
    if project is not None and not found:
        raise Failure(no_runs_in(project, (past.project for past in known)))
    if before is not None:
        found = [past for past in found if last_write(past) < before]
    _discard_many(found, undelivered, yes, as_json)


def _runs_of(group: str) -> list[PastRun]:
    """Finds all runs of a group, by its name or its id."""
    found = [
        past for past in all_runs(root()) if group.strip("/") in (f"{past.project}/{past.name}", past.group)
    ]
    if not found:
        past = _one_run(group, None)
        raise click.UsageError(
            f"{group!r} is run {past.number} of {past.project}/{past.name}; give the group"
        )
    return found


def _one_run(group: str, run: str | None) -> PastRun:
    try:
        return run_on_disk(group, run)
    except (click.ClickException, NoSuchRunError):
        if not any(is_below(past.project, group) for past in all_runs(root())):
            raise
    raise click.UsageError(f"{group!r} is a project; for all of its runs: --project {shlex.quote(group)}")


def _discard_one(past: PastRun, yes: bool, as_json: bool) -> None:
    with locked(past.path):
        paths, foreign = files_of(past)
        where = _where(past)
        tasks = counted(len(past.latest()), "task")
        what = f"run {past.number} of {past.project}/{past.name} ({past.run[:12]}; {tasks}; {where})"
        if not as_json:
            echo(f"{what}:")
            echo_first([str(path) for path in paths])
        if not yes:
            confirm("delete these?", "--yes")
        _delete(past, paths, foreign)
    if as_json:
        print_json({**run_json(past), "deleted": [str(path) for path in paths]})
    else:
        echo(f"deleted {what}")


def _discard_many(found: Sequence[PastRun], undelivered: bool, yes: str | None, as_json: bool) -> None:
    in_use = [past for past in found if is_in_use(past.path)]
    kept = [past for past in found if past.is_pending and not undelivered and past not in in_use]
    chosen = [past for past in found if past not in in_use and past not in kept]
    if not as_json:
        for runs, why in (
            (in_use, "in use"),
            (kept, "with data that is on no server, which --undelivered deletes as well"),
        ):
            if runs:
                echo(f"left out, {why}: {counted(len(runs), 'run')}")
                list_runs_briefly(runs)
    number = counted(len(chosen), "run")
    if yes and int(yes) != len(chosen):
        raise Failure(f"{number} would be deleted, not {int(yes):,}; nothing was deleted")
    if chosen and not as_json:
        list_runs_briefly(chosen, _written)
    if chosen and yes is None:
        tasks = counted(sum(len(past.latest()) for past in chosen), "task")
        confirm(f"delete {number} ({tasks})?", f"--yes={len(chosen)}")
    deleted, failed = [], False
    for past in chosen:
        try:
            _delete_unchanged(past, undelivered)
            deleted.append(past)
        except (TaskGroupError, Failure) as error:
            failed = True
            text = error.message if isinstance(error, Failure) else command_message(error)
            echo(f"{run_title(past)}: {text}", err=True)
    if as_json:
        left_out = [{**run_json(past), "why": "in use"} for past in in_use]
        left_out += [{**run_json(past), "why": "undelivered"} for past in kept]
        gone = [
            {"run": past.run, "project": past.project, "group": past.name, "number": past.number}
            for past in deleted
        ]
        print_json({"deleted": gone, "left_out": left_out})
    else:
        echo(f"deleted {counted(len(deleted), 'run')}" if deleted else "nothing was deleted")
    if failed:
        click.get_current_context().exit(1)


def _where(past: PastRun) -> str:
    if past.is_pending:
        return "not all of it is on a server"
    is_local = past.mode == "offline" and not past.uploaded  # a run without a task has nothing to upload
    return f"{'nothing' if is_local else 'all'} of it is on a server"


def _written(past: PastRun) -> str:
    return f"; {_where(past)}; last write {local_time(last_write(past))}"


def _delete_unchanged(past: PastRun, undelivered: bool) -> None:
    """Deletes a run, unless it was resumed since the command has listed it."""
    with locked(past.path):
        now = load(past.path)
        if now is None or (now.is_pending and not undelivered):
            raise Failure("was resumed meanwhile, and not all of it is on a server")
        _delete(now, *files_of(now))


def _delete(past: PastRun, paths: Sequence[Path], foreign: Sequence[Path]) -> None:
    delete(paths)  # the run log last, so that an interrupted command can be repeated
    for session in foreign:
        echo(f"not deleted, as it belongs to another run: {session}", err=True)
    with contextlib.suppress(OSError):  # it has other runs
        past.path.parent.rmdir()
