"""Which run is meant: from what a person types to the results of one run."""

from __future__ import annotations

import difflib
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
import click

from .._clearml import sdk
from .._group import TaskGroup
from .._results.loading import Wanted, load_results, load_run_log
from .._results.run_list import Listed, runs_on_disk, runs_on_server
from .._run import mode as _modes
from .._storage.online import OnlineBackend
from .._storage.past_runs import all_runs, latest_run, load
from ..errors import NoSuchRunError, ServerNameError
from . import server_check
from .error_text import NO_SERVER, listing
from .output import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._model.past import PastRun
    from .._results.results import Results

Mode = Literal["online", "offline"]

ALIKE = 0.7
"""How alike, from 0 to 1, a name has to be to be the one that was meant."""
FORMS = "project/name, the id of a group, the id of a run or its first six digits, or the path of a record"


def root() -> Path:
    """Gives the folder below which the records of this disk are."""
    return sdk.cache_folder() / "taskgroup"


# --- where to look -----------------------------------------------------------------------------


@attrs.frozen
class Place:
    """Where to look.

    Attributes:
        mode: `"online"` for the server alone, `"offline"` for this disk alone, None for both.
        away: Whether this disk is looked at because the server does not answer.
    """

    mode: Mode | None
    away: bool = False

    @property
    def is_online(self) -> bool:
        """Whether the server is looked at."""
        return self.mode != "offline"


def place_of(mode: Mode | None, *, or_disk: bool = True) -> Place:
    """Finds where to look: where no server is configured, this disk; else the server, if it answers.

    Args:
        mode: What was asked for.
        or_disk: Whether this disk may stand in for a server that is away, which is told on stderr.

    Raises:
        Failure: The server is asked for and there is none, or it is away.
    """
    is_set_offline = sdk.task_mode() == "offline"
    if mode == "online" and is_set_offline:
        raise Failure("--online was given, but ClearML is set offline; unset CLEARML_OFFLINE_MODE")
    if mode == "online" and not sdk.is_configured():
        raise Failure(NO_SERVER)
    if mode == "offline" or is_set_offline or not sdk.is_configured():
        return Place("offline")
    if mode is None and _modes.resolve(None, tell=False) != "online":  # another rank of a job
        return Place("offline")
    needed = mode == "online" or not or_disk
    trouble = server_check.trouble(needed=needed)
    if trouble is None:
        return Place(mode)
    told = f"{server_check.name()} does not answer ({trouble})"
    if needed:
        raise Failure(f"{told}; look at this disk alone with --offline, or try again when it is back")
    click.echo(f"{told}; this is what is on this disk", err=True)
    return Place("offline", away=True)


def listed(place: Place) -> list[Listed]:
    """Lists the runs of all groups, on a server and on this disk, the latest first."""
    found = {} if place.mode == "online" else {run.run: run for run in runs_on_disk(root())}
    if place.is_online:
        backend = OnlineBackend(sdk.connect(server_check.PATIENCE))
        try:
            for run in runs_on_server(backend):
                own = found.get(run.run)
                if own is not None:
                    run.record, run.started = own.record, own.started or run.started
                found[run.run] = run
        finally:
            backend.transport.close()
    return sorted(found.values(), key=lambda run: run.started or 0, reverse=True)


# --- which run ---------------------------------------------------------------------------------


def results_of(group: str, run: str | None, mode: Mode | None, *, or_disk: bool = True) -> Results:
    """Loads the results of the run that is meant.

    Args:
        group: What was given for GROUP.
        run: What was given for `--run`: a number, or the first digits of an id; None for the latest.
        mode: Where to look; None for where ClearML is set to, then this disk.
        or_disk: Whether this disk may stand in for a server that is away.

    Raises:
        click.UsageError: The text is none of the forms.
        Failure: There is no such run, or several are meant.
    """
    if Path(group).is_file():
        return load_run_log(Path(group))
    which = _which(run)
    if "/" not in group.strip("/") and not _is_id(group):
        runs = listed(place_of(mode))
        near = _groups_of(group, runs) or f"{group!r} is none of them{_near(group, runs)}"
        raise click.UsageError(f"GROUP is {FORMS}; {near}")
    place = place_of(mode, or_disk=or_disk)
    if _is_id(group):
        return load_results(_by_id(group, which, listed(place)), mode=place.mode)
    project, _, name = group.rpartition("/")
    try:
        results = TaskGroup.load(project, name, which, mode=place.mode)
        if which is None and place.mode is None and results.about.mode == "online":
            _tell_of_later_run(results)
        return results
    except (NoSuchRunError, ServerNameError) as error:
        if isinstance(error, NoSuchRunError) and error.known:
            raise
        runs = listed(place)
        exact = next((known for known in runs if _label(known) == group), None)  # a name may have a /
        if exact is not None:
            return load_results(Wanted(exact.project, exact.group, exact.group_id, which), mode=place.mode)
        where = "the server" if place.mode == "online" else "this disk"
        places = error.places if isinstance(error, NoSuchRunError) else [where]
        looked = f"looked at {' and '.join(places)}"
        near = _groups_of(group, runs)
        near = f"; {near}" if near else _near(group, runs)
        raise Failure(f"the group {group} was not found; {looked}{near}") from None


def _tell_of_later_run(results: Results) -> None:
    """Says that a run on this disk is later than the latest one on the server."""
    about = results.about
    later = latest_run(root() / about.group_id, "offline")
    if later is None or later.uploaded or later.run == about.run:
        return
    if (later.started or 0) > (about.started or 0):
        told = f"a later run, {later.number} ({later.run[:12]}), is on this disk alone"
        click.echo(f"{told}; --offline shows it", err=True)


def run_on_disk(text: str, run: str | None = None) -> PastRun:
    """Finds the run on this disk that is meant: by a record's path, an id, or a group's name.

    Args:
        text: What was given.
        run: What was given for `--run`.

    Raises:
        click.UsageError: The text is none of the forms.
        Failure, NoSuchRunError: There is no such run, or several are meant.
    """
    path = Path(text)
    by_parent = next((past for past in all_runs(root()) if past.parent == text), None)
    if by_parent is not None:
        return by_parent
    if not path.is_file():
        runs = runs_on_disk(root())
        mine = [known for known in runs if text.strip("/") in (_label(known), known.group_id)]
        if mine:
            path = _one_of_group(mine, text, _which(run)).record or path
        elif _is_id(text):
            path = one_of(text, runs).record or path
        elif "/" in text.strip("/"):
            raise Failure(f"the group {text} was not found; looked at this disk, {root()}{_near(text, runs)}")
        else:
            raise click.UsageError(f"a run is meant by {FORMS}; {text!r} is none of them{_near(text, runs)}")
    past = load(path) if path.is_file() else None
    if past is None:
        raise NoSuchRunError("a run", [f"the file {path}"])
    return past


def _one_of_group(runs: list[Listed], group: str, which: int | str | None) -> Listed:
    """Picks the run with a number, or with an id that begins like this; the latest one."""
    numbered = sorted(runs, key=lambda known: known.number, reverse=True)
    for known in numbered:
        if which is None or known.number == which or (isinstance(which, str) and known.run.startswith(which)):
            return known
    have = [f"run {known.number} ({known.run[:12]})" for known in numbered]
    raise NoSuchRunError(f"run {which} of the group {group}", [f"this disk, {root()}"], have)


def _which(run: str | None) -> int | str | None:
    return int(run) if run is not None and run.isdigit() and len(run) < 6 else run


def _is_id(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{6,32}", text) is not None


def _label(run: Listed) -> str:
    return f"{run.project}/{run.group}"


def _groups_of(project: str, runs: Iterable[Listed]) -> str:
    """Says which groups a project has; empty where it is no project with groups."""
    names = sorted({shlex.quote(_label(run)) for run in runs if run.project == project.strip("/")})
    return f"{project!r} is a project, with the groups: {listing(names)}" if names else ""


def _near(text: str, runs: Iterable[Listed]) -> str:
    """Says which groups may have been meant, of all projects."""
    return near(text, {_label(run): run.group for run in runs}) or ", which has: no runs"


def near(text: str, names: Mapping[str, str]) -> str:
    """Says which names may have been meant, or which there are; nothing where there are none.

    Args:
        text: What was asked for.
        names: The names in full, each with its last part.
    """
    own = text.strip("/").rpartition("/")[2]
    likeness = {name: max(_like(text, name), _like(own, last)) for name, last in names.items()}
    meant = sorted((name for name in names if likeness[name] > ALIKE), key=lambda name: -likeness[name])
    if meant:
        return f"; did you mean {' or '.join(map(shlex.quote, meant[:3]))}?"
    return f"; there is: {listing(names)}" if names else ""


def _like(text: str, other: str) -> float:
    return difflib.SequenceMatcher(None, text.strip("/").casefold(), other.casefold()).ratio()


def _by_id(text: str, which: int | str | None, runs: list[Listed]) -> Wanted:
    """Finds a run by its id's first digits, or a group's by the group's id."""
    for run in runs:
        if run.group_id == text:
            return Wanted(run.project, run.group, text, which)
    found = one_of(text, runs)
    if which not in (None, found.number) and not (isinstance(which, str) and found.run.startswith(which)):
        raise click.UsageError(f"{text!r} is run {found.number} itself; leave --run out")
    return Wanted(found.project, found.group, found.group_id, found.run)


def one_of(text: str, runs: list[Listed]) -> Listed:
    """Finds the one run whose id begins like this.

    Raises:
        NoSuchRunError: There is none.
        Failure: There are several.
    """
    found = [run for run in runs if run.run.startswith(text)]
    if not found:
        known = [f"{run.run[:12]} ({run.project}/{run.group}, run {run.number})" for run in runs]
        raise NoSuchRunError(f"a run or group {text!r}", ["what `clearml-taskgroup list` shows"], known)
    if len(found) > 1:
        raise Failure(f"{text!r} may mean {', '.join(run.run for run in found)}; give more digits")
    return found[0]


def context_of(pairs: Iterable[tuple[str, str]], results: Results) -> dict[str, Any]:
    """Reads `split=val` as results have it: the value among theirs that is written so, else the text."""
    known: dict[str, list[Any]] = {}
    for _, context in results.metric_keys:
        for field, value in context:
            known.setdefault(field, []).append(value[0] if isinstance(value, tuple) else value)
    return {field: _value(text, known.get(field, ())) for field, text in pairs}


def parameters_of(pairs: Iterable[tuple[str, str]], results: Results) -> dict[str, Any]:
    """Reads `C=1` as the tasks' parameters have it."""
    return {name: _value(text, (row.params.get(name) for row in results)) for name, text in pairs}


def _value(text: str, known: Iterable[Any]) -> Any:
    """Finds a value by its text, `1` for 1 and for 1.0."""
    for value in known:
        if value is None or isinstance(value, bool):
            same = text.casefold() == str(value).casefold()  # true as well as True
        else:
            same = text == str(value) or (isinstance(value, (int, float)) and _number(text) == value)
        if same:
            return value
    return text


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
