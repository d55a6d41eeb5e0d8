"""Finds the run that a command's arguments name, and where to look for it."""

from __future__ import annotations

import difflib
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
import click
import urllib3

from .._clearml import login, sdk
from .._group import TaskGroup
from .._model.which_run import run_label, which_run
from .._results.loading import Wanted, load_results, load_run_log
from .._results.run_list import Listed, runs_on_disk, runs_on_server
from .._run import mode as _modes
from .._storage.online import OnlineBackend
from .._storage.past_runs import all_runs, latest_run, load
from ..errors import LoginError, NoSuchRunError, ServerNameError
from .error_text import NO_SERVER, are_credentials_refused, server_name, some_distinct
from .output import Failure, echo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._clearml.login import Connection
    from .._model.past import PastRun
    from .._results.results import Results

Mode = Literal["online", "offline"]

OPTIONAL_SERVER_TIMEOUT_S = 3.0
"""Seconds to wait for a server that a command can do without."""
MIN_SIMILARITY = 0.7
"""The similarity, from 0 to 1, from which on a name is suggested."""
GROUP_FORMS = (
    "project/name, the id of a group, the id of a run or its first six digits, or the path of a run log"
)


def root() -> Path:
    """The folder of the run logs on this disk."""
    return sdk.cache_folder() / "taskgroup"


# --- where to look -----------------------------------------------------------------------------


@attrs.frozen
class Place:
    """Where to look.

    Attributes:
        mode: `"online"` for the server only, `"offline"` for this disk only, None for both.
        connection: The server, if it is to be asked.
        is_fallback: Whether this disk is used because the server does not answer.
    """

    mode: Mode | None
    connection: Connection | None = None
    is_fallback: bool = False


def choose_place(mode: Mode | None, *, disk_fallback: bool = True) -> Place:
    """Chooses where to look: this disk if no server is configured, else the server if it answers.

    Args:
        mode: The option `--online` or `--offline`.
        disk_fallback: Whether to use this disk if the server does not answer, with a line on stderr.

    Raises:
        Failure: The server is required, and none is configured or it does not answer.
        LoginError: The server refuses the credentials.
    """
    is_set_offline = sdk.task_mode() == "offline"
    if mode == "online" and is_set_offline:
        raise Failure("--online was given, but ClearML is set offline; unset CLEARML_OFFLINE_MODE")
    if mode == "online" and not sdk.is_configured():
        raise Failure(NO_SERVER)
    if mode == "offline" or is_set_offline or not sdk.is_configured():
        return Place("offline")
    if mode is None and _modes.resolve(None, log=False) != "online":
        return Place("offline")  # on a rank other than 0 of a distributed job
    needed = mode == "online" or not disk_fallback
    try:
        return Place(mode, connect(None if needed else OPTIONAL_SERVER_TIMEOUT_S))
    except NoAnswer as no_answer:
        if needed:
            raise Failure(
                f"{no_answer.message}; use this disk only with --offline, or try again later"
            ) from None
        echo(f"{no_answer.message}; showing what is on this disk", err=True)
        return Place("offline", is_fallback=True)


class NoAnswer(Failure):
    """The server does not answer."""


def connect(timeout: float | None = None) -> Connection:
    """Logs in to the configured server.

    Args:
        timeout: The most seconds to wait for it, `limits.LOGIN_TIMEOUT_S` by default.

    Raises:
        NoAnswer: It does not answer, or somebody else does in its place.
        LoginError: It refuses the credentials.
    """
    host, verify = login.api_server()
    if not verify:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    try:
        connection = login.connect(timeout, restarts=False)
    except LoginError as error:
        if are_credentials_refused(error):
            raise
        problem = error.problem.removeprefix("cannot log in: ").replace(host, "it")
        raise NoAnswer(f"{server_name()} does not answer ({problem})") from None
    connection.disconnect()  # the command calls with a session of its own
    return connection


def list_runs(place: Place) -> list[Listed]:
    """Lists the runs of all groups on the server and on this disk, the latest first."""
    on_disk = {run.run: run for run in runs_on_disk(root())}
    found = {} if place.mode == "online" else dict(on_disk)
    if place.connection is not None:
        backend = OnlineBackend(place.connection)
        try:
            for run in runs_on_server(backend, on_disk):
                own = found.get(run.run)
                if own is not None:
                    run.record, run.started = own.record, own.started or run.started
                found[run.run] = run
        finally:
            backend.transport.close()
    return sorted(found.values(), key=lambda run: run.started or 0, reverse=True)


# --- which run ---------------------------------------------------------------------------------


def results_of(group: str, run: str | None, mode: Mode | None, *, disk_fallback: bool = True) -> Results:
    """Loads the results of a run.

    Args:
        group: The argument GROUP.
        run: The option `--run`: a text, a number, or the first digits of an id; None for the latest run.
        mode: Where to look; None for ClearML's own setting, then this disk.
        disk_fallback: Whether to use this disk if the server does not answer.

    Raises:
        click.UsageError: GROUP has none of the known forms.
        Failure: The run does not exist, or the id is ambiguous.
    """
    if Path(group).is_file():
        return load_run_log(Path(group))
    if "/" not in group.strip("/") and not _is_id(group):
        raise _no_group_form(group, list_runs(choose_place(mode)))
    place = choose_place(mode, disk_fallback=disk_fallback)
    if _is_id(group):
        return load_results(_by_id(group, run, list_runs(place)), mode=place.mode)
    project, _, name = group.rpartition("/")
    try:
        results = TaskGroup.load(project, name, run, mode=place.mode)
        if run is None and place.mode is None and results.about.mode == "online":
            _note_later_run_on_disk(results)
        return results
    except (NoSuchRunError, ServerNameError) as error:
        if isinstance(error, NoSuchRunError) and error.known:
            raise
        runs = list_runs(place)
        exact = next((known for known in runs if _label(known) == group), None)  # a name may contain a /
        if exact is not None:
            return load_results(Wanted(exact.project, exact.group, exact.group_id, run), mode=place.mode)
        where = "the server" if place.mode == "online" else "this disk"
        places = error.places if isinstance(error, NoSuchRunError) else [where]
        looked = f"looked at {' and '.join(places)}"
        near = _groups_of(group, runs)
        near = f"; {near}" if near else _suggested_groups(group, runs)
        raise Failure(f"the group {group} was not found; {looked}{near}") from None


def _note_later_run_on_disk(results: Results) -> None:
    """Prints a line on stderr if this disk has a later run than the server."""
    about = results.about
    later = latest_run(root() / about.group_id, "offline")
    if later is None or later.uploaded or later.run == about.run:
        return
    if (later.started or 0) > (about.started or 0):
        echo(
            f"a later run, {later.number} ({later.run[:12]}), is on this disk only; --offline shows it",
            err=True,
        )


def run_on_disk(text: str, run: str | None = None) -> PastRun:
    """Finds a run on this disk by the path of its run log, an id, or the name of its group.

    Args:
        text: The argument GROUP.
        run: The option `--run`.

    Raises:
        click.UsageError: GROUP has none of the known forms.
        Failure: The id is ambiguous, or the disk has no such group.
        NoSuchRunError: The run does not exist.
    """
    path = Path(text)
    by_parent = next((past for past in all_runs(root()) if past.parent == text), None)
    if by_parent is not None:
        return by_parent
    if not path.is_file():
        runs = runs_on_disk(root())
        mine = [known for known in runs if text.strip("/") in (_label(known), known.group_id)]
        if mine:
            path = _one_of_group(mine, text, run).record or path
        elif _is_id(text):
            path = run_with_id(text, runs).record or path
        elif "/" in text.strip("/"):
            suggested = _suggested_groups(text, runs)
            raise Failure(f"the group {text} was not found; looked at this disk, {root()}{suggested}")
        else:
            raise _no_group_form(text, runs)
    past = load(path) if path.is_file() else None
    if past is None:
        raise NoSuchRunError("a run", [f"the file {path}"])
    return past


def _one_of_group(runs: list[Listed], group: str, which: str | None) -> Listed:
    """Returns the latest run with this number or beginning of its id; with None, the latest run."""
    numbered = sorted(runs, key=lambda known: known.number, reverse=True)
    # A text may be a path that was made absolute.
    texts = [] if which is None else [which, os.path.abspath(which)] if os.sep in which else [which]
    found = (which_run(text, numbered[0].group_id, _ids(numbered)) for text in texts)
    wanted = next(filter(None, found), None)
    for known in numbered:
        if which is None or known.run == wanted:
            return known
    have = [run_label(known.run, known.number, known.shared) for known in numbered]
    raise NoSuchRunError(f"run {which} of the group {group}", [f"this disk, {root()}"], have)


def _ids(runs: Iterable[Listed]) -> list[tuple[str, int]]:
    return [(known.run, known.number) for known in runs]


def _is_id(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{6,32}", text) is not None


def _label(run: Listed) -> str:
    return f"{run.project}/{run.group}"


def _no_group_form(text: str, runs: list[Listed]) -> click.UsageError:
    near = _groups_of(text, runs) or f"{text!r} is none of them{_suggested_groups(text, runs)}"
    return click.UsageError(f"GROUP is {GROUP_FORMS}; {near}")


def _groups_of(project: str, runs: Iterable[Listed]) -> str:
    """Returns a message with the groups of a project; empty if it has none."""
    names = sorted({shlex.quote(_label(run)) for run in runs if run.project == project.strip("/")})
    return f"{project!r} is a project, with the groups: {some_distinct(names)}" if names else ""


def _suggested_groups(text: str, runs: Iterable[Listed]) -> str:
    """Returns a message with the groups whose names are similar."""
    return suggestions(text, map(_label, runs)) or ", which has: no runs"


def is_below(project: str, wanted: str) -> bool:
    """Whether a project is another one, or one of its sub-projects."""
    return project == wanted.strip("/") or project.startswith(wanted.strip("/") + "/")


def no_runs_in(project: str, known: Iterable[str]) -> str:
    """Says that a project has no runs, and which projects have some."""
    return f"no runs in the project {project!r}{suggestions(project, sorted(known))}"


def suggestions(text: str, names: Iterable[str]) -> str:
    """Returns a message with the names that are similar to a text, or else with the first names."""
    similarity = {name: _similarity(text.strip("/"), name) for name in names}
    similar = [name for name, value in similarity.items() if value > MIN_SIMILARITY]
    if similar:
        similar.sort(key=lambda name: -similarity[name])
        return f"; did you mean {' or '.join(map(shlex.quote, similar[:3]))}?"
    return f"; there is: {some_distinct(similarity)}" if similarity else ""


def _similarity(text: str, other: str) -> float:
    """Compares two names as a whole and by their last parts."""
    one, two = text.casefold(), other.casefold()
    pairs = ((one, two), (one.rpartition("/")[2], two.rpartition("/")[2]))
    return max(difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs)


def _by_id(text: str, which: str | None, runs: list[Listed]) -> Wanted:
    """Finds a run by the id of its group or the beginning of its own id."""
    for run in runs:
        if run.group_id == text:
            return Wanted(run.project, run.group, text, which)
    found = run_with_id(text, runs)
    if which is not None and which_run(which, found.group_id, _ids([found])) is None:
        raise click.UsageError(f"{text!r} is run {found.number} itself; leave --run out")
    return Wanted(found.project, found.group, found.group_id, found.run)


def run_with_id(text: str, runs: list[Listed]) -> Listed:
    """Returns the run whose id begins with a text.

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


def parse_context(pairs: Iterable[tuple[str, str]], results: Results) -> dict[str, Any]:
    """Converts `split=val` to context values of the results that have this text; else keeps the text."""
    known: dict[str, list[Any]] = {}
    for _, context in results.metric_keys:
        for field, value in context:
            known.setdefault(field, []).append(value[0] if isinstance(value, tuple) else value)
    return {field: _parse_value(text, known.get(field, ())) for field, text in pairs}


def parse_parameters(pairs: Iterable[tuple[str, str]], results: Results) -> dict[str, Any]:
    """Converts `C=1` to parameter values of the tasks that have this text; else keeps the text."""
    return {name: _parse_value(text, (row.params.get(name) for row in results)) for name, text in pairs}


def _parse_value(text: str, known: Iterable[Any]) -> Any:
    """Returns the known value with this text (`1` for 1 and for 1.0), else the text."""
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
