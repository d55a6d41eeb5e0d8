"""Joining a run on a server that other processes share, before its tasks are opened."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

import attrs

from .._clearml.hyperparameters import entry_field
from .._clearml.queries import find_latest_run, identity_of, parse_count, query_by_id, query_tasks
from .._clearml.run_numbers import reserve_run_number
from .._model.specs import Ending
from .._storage.online import OnlineBackend
from .._storage.past_runs import is_in_use, load_or_skip, locked, run_logs
from .._storage.run_log import last_number_on_disk, read_first
from .._storage.shared_on_server import join_on_server
from .._storage.upload import deliver_outbox
from .._text import shown
from ..errors import GroupStateError, RunInUseError
from .joining import check_template, leave, parent_spec
from .sharing import END_TIMEOUT_S, Joined, Sharing, find_or_create_parent

if TYPE_CHECKING:
    from pathlib import Path

    from .._model.name_template import NameTemplate
    from .._model.specs import RunInfo


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

    Raises:
        GroupStateError: Somebody has aborted the run, and `resume` is false.
    """
    shared = join_on_server(backend.transport, info.run, template, info.process)
    undo.callback(leave, shared)
    info = attrs.evolve(info, session=shared.session)
    backend.shared = shared

    def create() -> str:
        numbered = attrs.evolve(info, number=reserve_number(backend, info.group_id, folder))
        (parent,) = backend.create(numbered, [parent_spec(numbered)], None)
        return parent

    parent, is_new = find_or_create_parent(shared, create)
    fields = [*map(entry_field, ("run_number", "template"))]
    stored = next(iter(query_by_id(backend.transport, [parent], [*fields, "status", "status_reason"])), {})
    if not is_new:
        # What this library stops has a reason; the web page gives none.
        if stored.get("status") == "stopped" and not stored.get("status_reason") and not resume:
            raise GroupStateError(
                info.name,
                f"was aborted by somebody: the parent of its run {shown(info.shared)} is stopped",
                "resume=True goes on with it; another text for run= begins a new run",
            )
        backend.remember_name(parent, info.name)
        backend.reopen([parent])
    identity = identity_of(stored)
    info = attrs.evolve(info, number=parse_count(identity.get("run_number"), 1))
    check_template(info, identity.get("template"))
    return Joined(
        info, parent, Sharing(shared, resume, functools.partial(_deliver_left, info.run, folder, backend))
    )


def latest_text_on_server(backend: OnlineBackend, group_id: str) -> str:
    """Gives the text of the latest run of a group on the server if that is shared; else empty."""
    run, _, _ = find_latest_run(backend.transport, group_id)
    if run is None:
        return ""
    query = {entry_field("run"): [run], "only_fields": [entry_field("shared")]}
    any_task = query_tasks(backend.transport, {**query, "page_size": 1, "page": 0})
    return next((identity_of(task).get("shared", "") for task in any_task), "")


def reserve_number(backend: OnlineBackend, group_id: str, folder: Path) -> int:
    """Reserves the number of a new run on a server, one that this disk has not used either."""
    backend.run_number = reserve_run_number(backend.transport, group_id, last_number_on_disk(folder) + 1)
    return backend.run_number.number


def _deliver_left(run: str, folder: Path, backend: OnlineBackend) -> None:
    """Delivers the data and the ends that processes of a run that died on this machine had not delivered."""
    for path in run_logs(folder):
        if read_first(path).get("run") != run or is_in_use(path):
            continue
        past = load_or_skip(path)
        if past is not None and past.mode == "online" and past.outbox.exists():
            with contextlib.suppress(RunInUseError), locked(path):
                with contextlib.closing(OnlineBackend(backend.connection)) as own:
                    deliver_outbox(past, own)
                    left = [task for task in past.tasks.values() if task.status and not task.delivered]
                    own.finish([Ending(task.id, *task.final_status()) for task in left], END_TIMEOUT_S)
