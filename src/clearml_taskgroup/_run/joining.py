"""Joining a run that other processes share, before its tasks are opened."""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from typing import TYPE_CHECKING

import attrs

from .._clearml.hyperparameters import SECTION
from .._clearml.queries import (
    find_latest_run,
    identity_of,
    parse_count,
    query_by_id,
    query_tasks,
)
from .._clearml.run_numbers import reserve_run_number
from .._model.identity import shared_run_id
from .._model.specs import TaskSpec
from .._storage.online import OnlineBackend
from .._storage.past_runs import is_in_use, latest_run, load_or_skip, locked, run_logs
from .._storage.processes import this_process
from .._storage.run_log import RunLog, append, last_number_on_disk, read_first, run_line, run_number
from .._storage.shared_on_disk import SharedOnDisk, open_shared_log
from .._storage.shared_on_server import join_on_server
from .._storage.upload import deliver_outbox
from .._text import is_storable, shown
from ..errors import ArgumentError, NameWarning, RunInUseError
from .sharing import Sharing, find_or_create_parent

if TYPE_CHECKING:
    from pathlib import Path

    from .._model.name_template import NameTemplate
    from .._model.specs import RunInfo
    from .._storage.offline import OfflineBackend
    from .._storage.shared_run import SharedRun

VARIABLE = "CLEARML_TASKGROUP_RUN"
"""The environment variable that names a shared run, where a script gives no `run=`."""


@attrs.frozen
class Joined:
    """A shared run that this process is in.

    Attributes:
        info: What identifies the run, with its number and session.
        parent: The id of its parent.
    """

    info: RunInfo
    parent: str
    sharing: Sharing


def shared_text(run: str | None, retry: str, takeover: bool) -> str:
    """Gives the text by which processes share a run: the argument, else that of the environment.

    Returns:
        The text; empty if the run is not shared.

    Raises:
        ArgumentError: It is no text, or another argument contradicts it.
    """
    if run is not None and (not isinstance(run, str) or not run.strip() or not is_storable(run)):
        raise ArgumentError("run", run, "a text that is not blank, such as a job's id, or None")
    text = os.environ.get(VARIABLE, "").strip() if run is None else run.strip()
    if text and retry != "new":
        expected = f"'new' in a run that several processes share ({shown(text)}): another ClearML task"
        raise ArgumentError("retry", retry, expected)
    if text and takeover:
        expected = f"False in a run that several processes share ({shown(text)}): any of them may join it"
        raise ArgumentError("takeover", takeover, expected)
    return text


def shared_info(info: RunInfo, text: str) -> RunInfo:
    """Gives the run that a text names, with this process as one of those that share it."""
    run = shared_run_id(info.group_id, text)
    return attrs.evolve(info, run=run, shared=text, process=this_process())


def latest_text_on_disk(folder: Path) -> str:
    """Gives the text of the latest run of a group if that is shared; else empty."""
    past = latest_run(folder, "offline")
    return (past.shared or "") if past is not None else ""


def join_offline(
    info: RunInfo, folder: Path, backend: OfflineBackend, resume: bool, undo: contextlib.ExitStack
) -> tuple[Joined, RunLog]:
    """Joins a run on this disk.

    Args:
        info: What identifies the run.
        folder: The folder of the group's run logs.
        backend: The sessions.
        resume: Whether tasks that failed or were stopped are run again.
        undo: Leaves the run, if a later step fails.

    Returns:
        The run, and the log of this process.
    """
    path = open_shared_log(folder, info.run)
    shared = SharedOnDisk(path, info.process)
    shared.join()
    undo.callback(_leave, shared)
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
    _check_template(info, first.get("template"))
    if not first:  # so that the run is found by its own log
        append(path, [run_line(info, backend.mode, parent, owns_parent=True)])
    return Joined(info, parent, Sharing(shared, resume)), run_log


def join_online(
    info: RunInfo,
    folder: Path,
    backend: OnlineBackend,
    template: NameTemplate,
    resume: bool,
    undo: contextlib.ExitStack,
) -> Joined:
    """Joins a run on a server.

    Args:
        info: What identifies the run.
        folder: The folder of the group's run logs on this machine.
        backend: The server.
        template: The group's template.
        resume: Whether tasks that failed or were stopped are run again.
        undo: Leaves the run, if a later step fails.
    """
    shared = join_on_server(backend.transport, info.run, template, info.process)
    undo.callback(_leave, shared)
    info = attrs.evolve(info, session=shared.session)
    backend.shared = shared

    def create() -> str:
        numbered = attrs.evolve(info, number=reserve_number(backend, info.group_id, folder))
        (parent,) = backend.create(numbered, [parent_spec(info)], None)
        return parent

    parent, is_new = find_or_create_parent(shared, create)
    if not is_new:
        backend.remember_name(parent, info.name)
        backend.reopen([parent])
    fields = [f"hyperparams.{SECTION}.{name}.value" for name in ("run_number", "template")]
    identity = identity_of(next(iter(query_by_id(backend.transport, [parent], fields)), {}))
    info = attrs.evolve(info, number=parse_count(identity.get("run_number"), 1))
    _check_template(info, identity.get("template"))
    return Joined(
        info, parent, Sharing(shared, resume, functools.partial(_deliver_left, info.run, folder, backend))
    )


def latest_text_on_server(backend: OnlineBackend, group_id: str) -> str:
    """Gives the text of the latest run of a group on the server if that is shared; else empty."""
    run, _, _ = find_latest_run(backend.transport, group_id)
    if run is None:
        return ""
    query = {
        f"hyperparams.{SECTION}.run.value": [run],
        "only_fields": [f"hyperparams.{SECTION}.shared.value"],
    }
    any_task = query_tasks(backend.transport, {**query, "page_size": 1, "page": 0})
    return next((identity_of(task).get("shared", "") for task in any_task), "")


def reserve_number(backend: OnlineBackend, group_id: str, folder: Path) -> int:
    """Reserves the number of a new run on a server, one that this disk has not used either."""
    backend.run_number = reserve_run_number(backend.transport, group_id, last_number_on_disk(folder) + 1)
    return backend.run_number.number


def _deliver_left(run: str, folder: Path, backend: OnlineBackend) -> None:
    """Delivers what processes of a run that died on this machine had not delivered."""
    for path in run_logs(folder):
        if read_first(path).get("run") != run or is_in_use(path):
            continue
        past = load_or_skip(path)
        if past is not None and past.mode == "online" and past.outbox.exists():
            with contextlib.suppress(RunInUseError), locked(path):
                with contextlib.closing(OnlineBackend(backend.connection)) as own:
                    deliver_outbox(past, own)


def parent_spec(info: RunInfo) -> TaskSpec:
    """Returns the spec of a run's parent."""
    return TaskSpec(
        key="", name=info.name, task_name=info.name, index=-1, attempt=1, params={}, kind="parent"
    )


def _check_template(info: RunInfo, stored: str | None) -> None:
    """Warns if this process names values in another way than the one that began the run."""
    if stored not in (None, info.template):
        warnings.warn(
            f"the run {shown(info.shared)} began with the template {shown(stored)}, and this process has "
            f"{shown(info.template)}: values of the same metric get other names, and cannot be "
            "compared. Use one template in all scripts of a run",
            NameWarning,
            stacklevel=7,
        )


def _leave(shared: SharedRun) -> None:
    if shared.leave():
        shared.ended()
