"""Which run is meant: from what a person types to the results of one run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import click

from .. import _clearml, _modes
from .._group import TaskGroup
from .._listing import Listed, runs_on_disk, runs_on_server
from .._loading import Wanted, load_record, load_results
from .._results import Results
from .._stores.online import OnlineStore
from ..errors import NoSuchRunError
from ._output import Failure

Mode = Literal["online", "offline"]

FORMS = "project/name, the id of a group, the id of a run or its first six digits, or the path of a record"


def root() -> Path:
    """Gives the folder below which the records of this disk are."""
    return _clearml.cache_folder() / "taskgroup"


def settled(mode: Mode | None) -> Mode | None:
    """Gives the mode to look in: where no server is configured, this disk, without a word."""
    if mode is None and _clearml.task_mode() == "online" and not _clearml.is_configured():
        return "offline"
    return mode


def listed(mode: Mode | None) -> list[Listed]:
    """Lists the runs of all groups, on a server and on this disk, the latest first."""
    mode = settled(mode)
    found = {} if mode == "online" else {run.run: run for run in runs_on_disk(root())}
    if _modes.resolve(mode) == "online":
        store = OnlineStore(_clearml.connect())
        try:
            for run in runs_on_server(store):
                run.record = found[run.run].record if run.run in found else None
                found[run.run] = run
        finally:
            store.transport.close()
    return sorted(found.values(), key=lambda run: run.started or 0, reverse=True)


def results_of(group: str, run: str | None, mode: Mode | None) -> Results:
    """Loads the results of the run that is meant.

    Args:
        group: What was given for GROUP.
        run: What was given for `--run`: a number, or the first digits of an id; None for the latest.
        mode: Where to look; None for where ClearML is set to, then this disk.

    Raises:
        click.UsageError: The text is none of the forms.
        NoSuchRunError: There is no such run.
        Failure: Several are meant.
    """
    if Path(group).is_file():
        return load_record(Path(group))
    which = int(run) if run is not None and run.isdigit() and len(run) < 6 else run
    if re.fullmatch("[0-9a-f]{6,32}", group):
        return load_results(_by_id(group, which, listed(mode)), mode=settled(mode))
    project, slash, name = group.rpartition("/")
    if not slash:
        raise click.UsageError(f"GROUP is {FORMS}; {group!r} is none of them")
    return TaskGroup.load(project, name, which, mode=settled(mode))


def _by_id(text: str, which: int | str | None, runs: list[Listed]) -> Wanted:
    """Finds a run by its id's first digits, or a group's by the group's id."""
    for run in runs:
        if run.group_id == text:
            return Wanted(run.project, run.group, text, which)
    found = one_of(text, runs)
    if which is not None and which != found.number and not found.run.startswith(str(which)):
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
    for _, context in results.measures:
        for field, value in context:
            known.setdefault(field, []).append(value[0] if isinstance(value, tuple) else value)
    return {field: _value(text, known.get(field, ())) for field, text in pairs}


def parameters_of(pairs: Iterable[tuple[str, str]], results: Results) -> dict[str, Any]:
    """Reads `C=1` as the tasks' parameters have it."""
    return {name: _value(text, (row.params.get(name) for row in results)) for name, text in pairs}


def _value(text: str, known: Iterable[Any]) -> Any:
    """Finds a value by its text, `1` for 1 and for 1.0."""
    for value in known:
        numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
        if text == str(value) or (numeric and _number(text) == value):
            return value
    return text


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
