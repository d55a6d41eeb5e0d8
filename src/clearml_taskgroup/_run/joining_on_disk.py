"""Joining a run on this disk that other processes share; imported when it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .._storage.past_runs import load
from .._storage.run_log import RunLog, append, read_first, run_line, run_number
from .._storage.shared_on_disk import SharedOnDisk, open_shared_log
from .joining import VARIABLE, check_template, leave, parent_spec
from .resume import require_sessions
from .sharing import Joined, Sharing, find_or_create_parent

if TYPE_CHECKING:
    import contextlib
    from pathlib import Path

    from .._model.specs import RunInfo
    from .._storage.offline import OfflineBackend


def join_offline(
    info: RunInfo,
    folder: Path,
    backend: OfflineBackend,
    resume: bool,
    undo: contextlib.ExitStack,
    *,
    by_resume: bool = False,
) -> tuple[Joined, RunLog]:
    """Joins a run on this disk.

    Args:
        info: What identifies the run.
        folder: The folder of the group's run logs.
        backend: The sessions.
        resume: Whether tasks that failed or were stopped are run again.
        undo: Leaves the run, if a later step fails.
        by_resume: Whether `resume=True` has found the run, which nobody has named.

    Returns:
        The run, and the log of this process.

    Raises:
        RunLogError: Sessions of the run have been deleted.
    """
    path = open_shared_log(folder, info.run)
    past = load(path)
    if past is not None:
        instead = "leave resume=True out" if by_resume else f"give run= (or {VARIABLE}) another text"
        require_sessions(past, backend, f"{instead} to begin a new run")
    shared = SharedOnDisk(path, info.process)
    shared.join()
    undo.callback(leave, shared)
    info = attrs.evolve(info, number=run_number(path), session=shared.session)
    run_log = RunLog.start_beside(path, info.process)
    undo.callback(run_log.close)
    run_log.session = shared.session
    backend.shared = shared

    def create() -> str:
        (parent,) = backend.create(info, [parent_spec(info)], None)
        return parent

    parent, is_new = find_or_create_parent(shared, create)
    if not is_new:
        backend.reopen([parent])
    first = read_first(path)
    check_template(info, first.get("template"))
    if not first:  # so that the run is found by its own log
        append(path, [run_line(info, backend.mode, parent, owns_parent=True)])
    return Joined(info, parent, Sharing(shared, resume)), run_log
