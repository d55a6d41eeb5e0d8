"""Results of earlier runs, from a server or from the run logs on this disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml import sdk
from .._model.arguments import check_flag, is_one_of, iterator_of
from .._model.which_run import run_label, which_run
from .._run import mode as _modes
from .._run.recount import recount_past
from .._storage.memory import MemoryBackend
from .._storage.offline import OfflineBackend
from .._storage.past_runs import (
    groups_on_disk,
    is_in_use,
    is_left,
    latest_run,
    load,
    load_or_skip,
    run_logs,
)
from .._text import shown
from ..errors import ArgumentError, NoHistoryError, NoSuchRunError
from .from_past import lookup_of, past_results, past_row
from .history import Reader
from .rows import About

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from .._clearml.events import Curves
    from .._model.metrics import Metric
    from .._model.name_template import Name
    from .._model.past import PastRun
    from .results import Results


@attrs.frozen
class Wanted:
    """Which run of which group is to be loaded.

    Attributes:
        project, name, group_id: The group.
        run: A run's number, its text, its id or the first digits of the id; None for the latest.
    """

    project: str
    name: str
    group_id: str
    run: int | str | None = None

    def __str__(self) -> str:
        number, text = isinstance(self.run, int), isinstance(self.run, str)
        which = f"run {shown(self.run)} of " if number else f"the run {self.run} of " if text else ""
        return f"{which}the group {self.project}/{self.name}"


def load_results(
    wanted: Wanted,
    *,
    mode: _modes.Mode | None = None,
    metrics: Iterable[str | Metric] | None = None,
    copies: bool = False,
) -> Results:
    """Loads the results of an earlier run; see `TaskGroup.load`."""
    if wanted.run is not None and (isinstance(wanted.run, bool) or not isinstance(wanted.run, (int, str))):
        raise ArgumentError("run", wanted.run, "a run's number, its id or the first digits of that, or None")
    if not is_one_of(mode, (None, "online", "offline")):
        raise ArgumentError("mode", mode, "'online', 'offline' or None")
    check_flag("copies", copies)
    given = None if metrics is None or isinstance(metrics, (str, Mapping)) else iterator_of(metrics)
    listed: Any = metrics if given is None else list(given)
    cache = sdk.cache_folder()
    folder = cache / "taskgroup" / wanted.group_id
    searched: dict[str, list[str]] = {}
    groups: list[tuple[str, str]] = []
    if _modes.resolve(mode, log=False) == "online":
        from .loading_online import load_from_server  # it imports `requests`, which takes long

        loaded, where, runs, groups = load_from_server(wanted, folder, listed, copies)
        if loaded is not None:
            return loaded
        searched[where] = runs
    if mode != "online":
        past = _on_disk(folder, wanted.run)
        if past is not None:
            return _from_disk(past, cache / "offline", listed)
        found = (past for past in map(load_or_skip, run_logs(folder)) if past is not None)
        searched[f"this disk, {folder.parent}"] = [
            run_label(past.run, past.number, past.shared) for past in found
        ]
        groups += groups_on_disk(folder.parent)
    if isinstance(wanted.run, str) and os.sep in wanted.run and not os.path.isabs(wanted.run):
        with contextlib.suppress(NoSuchRunError):  # the text may be a path that was made absolute
            absolute = attrs.evolve(wanted, run=os.path.abspath(wanted.run))
            return load_results(absolute, mode=mode, metrics=listed, copies=copies)
    known = [name for names in searched.values() for name in names]
    others = [one for one in dict.fromkeys(groups) if not known and one != (wanted.project, wanted.name)]
    groups_here = [name for project, name in others if project == wanted.project]
    elsewhere = [f"{project}/{name}" for project, name in others]
    label = f"{wanted.project}/{wanted.name}"
    raise NoSuchRunError(str(wanted), list(searched), known, wanted.name, groups_here, elsewhere, label)


def load_other_run(about: About, run: int | str | None, mode: _modes.Mode | None = None) -> Results:
    """Loads another run of the group; by default the one before.

    Args:
        about: The run that is known.
        run: The other run.
        mode: Where to look; None for the place of an offline run, then ClearML's setting, then this disk.

    Raises:
        ArgumentError: The known run is the first one, and no other one was given.
        NoSuchRunError: The group has no such run.
    """
    if run is None:
        if about.run_number < 2:
            raise ArgumentError("run", run, f"a run to compare with: {about} is the group's first one")
        run = about.run_number - 1
    wanted = Wanted(about.project, about.name, about.group_id, run)
    if mode is None and about.mode == "offline":
        with contextlib.suppress(NoSuchRunError):
            return load_results(wanted, mode="offline")
    return load_results(wanted, mode=mode)


def load_run_log(path: Path) -> Results:
    """Loads the results of a run from its run log and, offline, from its sessions.

    Raises:
        NoSuchRunError: The file is no run log.
    """
    past = load(path)
    if past is None:
        raise NoSuchRunError("a run", [f"the file {path}"])
    return _from_disk(past, path.absolute().parent.parent.parent / "offline", None)


def _on_disk(folder: Path, run: int | str | None) -> PastRun | None:
    if run is None:
        return latest_run(folder)
    found = [past for past in map(load_or_skip, reversed(run_logs(folder))) if past is not None]
    wanted = which_run(run, folder.name, [(past.run, past.number) for past in found])
    return next((past for past in found if past.run == wanted), None)


def _from_disk(past: PastRun, sessions: Path, metrics: list[str | Metric] | None) -> Results:
    lives = past.status is None and is_in_use(past.path)
    left = {task.id for task in past.tasks.values() if is_left(past, task)}
    backend = OfflineBackend(sessions) if past.mode == "offline" else RunLogOnly(past.path)
    lookup = lookup_of(past.template, metrics, past.metrics)
    reader = Reader(backend)
    recount_past(past, backend, lookup.template)
    tasks = past.latest().values()
    for task in tasks:
        if lives and task.status is None and task.id not in left:
            task.status, task.reason = "in_progress", ""
        task.status, task.reason = task.final_status()
    about = About(
        project=past.project,
        name=past.name,
        group_id=past.group,
        run=past.run,
        run_number=past.number,
        mode=past.mode,
        where=backend.where,
        url=backend.url(past.parent) if past.parent else None,
        started=past.started,
        shared=past.shared or "",
    )
    rows = [past_row(task, lookup, reader) for task in tasks]
    return past_results(rows, about, lookup, reader, "a living process works on it" if lives else "")


class RunLogOnly(MemoryBackend):
    """Stands for the backend of an online run of which only the run log is read."""

    def __init__(self, path: Path) -> None:
        super().__init__(mode="online", where=str(path), keep=False)

    def read_curves(self, wanted: Mapping[str, Sequence[Name]]) -> dict[str, Curves]:
        """Raises `NoHistoryError`: a run log has no curves."""
        raise NoHistoryError(f"in the run log {self.where}", "load the run from the server: mode='online'")
