"""Uploads runs from this disk to a ClearML server, with the statuses that their tasks had here.

An upload can be interrupted at any point and started again, also by another process: it reads from
the server what is there already. A task is found there by its run, key and attempt, and its final
status is set last. Only the progress within a session's events is kept on this disk, beside the run log.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import attrs

from .._clearml import login, sdk
from .._clearml.api_errors import Unreachable
from .._clearml.documents import metrics_of, scalars_of_events
from .._clearml.notes import NAMES_ENTRY, SERIES_ENTRY, names_to_json, series_text
from .._clearml.queries import query_by_id, run_tasks
from .._log import logger
from .._model.metric_data import MetricData
from .._model.name_template import NameTemplate
from .._model.specs import Ending
from .._model.status import ENDED, PUBLISHED, Status
from .._text import counted, some
from ..errors import ArgumentError, LoginError, ModeError, RunLogError, ServerError
from .kept_files import KeptFiles
from .online import OnlineBackend
from .outbox import Outbox
from .past_runs import load, locked
from .processes import this_process
from .run_log import append
from .shared_on_server import join_on_server
from .upload_session import Journal, Session

if TYPE_CHECKING:
    from pathlib import Path

    from .._model.metric_data import Metrics
    from .._model.past import PastRun, PastTask

STATUS_TIMEOUT_S = 120.0
"""Time limit for setting one task's status."""

OnProgress = Callable[[str, int, int], None]
"""Called for each task with its name, the number of uploaded tasks and the number of all tasks."""


@attrs.frozen
class Uploaded:
    """The result of an upload.

    Attributes:
        parent: The id of the parent task on the server; None if the run has none of its own.
        ids: The ids of the tasks on the server, by the ids that they had before.
        url: The parent's page.
        problems: What the server refused, and why.
    """

    parent: str | None
    ids: Mapping[str, str]
    url: str | None
    problems: tuple[Exception, ...] = ()


def upload(path: Path, on_progress: OnProgress | None = None) -> Uploaded:
    """Uploads a run, or what is missing of it, to the configured server.

    Args:
        path: The run log.
        on_progress: Called for each task.

    Raises:
        RunInUseError: A living process still works on the run.
        ModeError: ClearML is set offline, so that no server may be used.
        LoginError: The server cannot be reached, or refuses the credentials.
        ServerError: The server became unreachable; run the upload again.
    """
    if sdk.task_mode() == "offline":
        raise ModeError(
            "ClearML",
            "is set offline, but an upload needs a server",
            "unset CLEARML_OFFLINE_MODE, or call Task.set_offline(False) before",
        )
    with locked(path):
        past = load(path)
        if past is None:
            raise ArgumentError("path", str(path), "a run log, run-….jsonl")
        backend = OnlineBackend(login.connect())
        try:
            upload_run = _upload_offline if past.mode == "offline" else _upload_online
            uploaded = upload_run(past, backend, on_progress or (lambda name, done, total: None))
        finally:
            backend.close()
        append(path, [{"event": "uploaded"}])
        return attrs.evolve(uploaded, problems=(*uploaded.problems, *_lost_ends(past)))


def _lost_ends(past: PastRun) -> list[Exception]:
    """The tasks of a closed run that its log has no end of, as on a full disk."""
    latest = past.latest().values()
    opened = [task for task in latest if task.status is None and task.id in past.opened_since_resume]
    # A process that died before it closed the group says so in the reason of its tasks.
    logs = {process: load(past.path, only=process or None) for process in {task.process for task in opened}}
    closed = {process for process, log in logs.items() if log is not None and log.status is not None}
    lost = [task.name for task in opened if task.process in closed]
    if not lost:
        return []
    tasks = f"{counted(len(lost), 'task')} ({some(lost, 3)})"
    problem = f"does not say how {tasks} ended, as the disk was full or the file was edited"
    return [RunLogError(str(past.path), problem, "on the server they are stopped")]


# --- an online run -------------------------------------------------------------------------------


def _upload_online(past: PastRun, backend: OnlineBackend, on_progress: OnProgress) -> Uploaded:
    deliver_outbox(past, backend)
    undelivered = [task for task in past.tasks.values() if not task.delivered]
    problems: list[Exception] = []
    there = {str(doc["id"]): str(doc["status"]) for doc in run_tasks(backend.transport, past.run).values()}
    for done, task in enumerate(undelivered):
        on_progress(task.name, done, len(undelivered))
        if there.get(task.id) not in ENDED or task.status not in (None, there[task.id]):
            _annotate(backend, task, task.id, task.metrics)
            problems += _set_status(backend, task.id, *task.final_status(), name=task.name)
        adopted = backend.adopted.get(task.id)
        status = {} if adopted is None else {"status": adopted.status, "reason": adopted.reason}
        append(past.path, [{"event": "settled", "id": task.id, **status}])
    if past.owns_parent and past.parent is not None and not (past.delivered or past.uploaded):
        problems += _end_parent(past, past.parent, backend)
    problems += KeptFiles(past.kept_files).deliver(backend)
    problems += backend.delivery_errors()
    on_progress("", len(undelivered), len(undelivered))
    url = backend.url(past.parent) if past.parent else None
    return Uploaded(past.parent, {task.id: task.id for task in past.tasks.values()}, url, tuple(problems))


def _end_parent(past: PastRun, parent: str, backend: OnlineBackend) -> list[Exception]:
    """Ends the parent, unless other processes are still in the run, or one of them has ended it."""
    status, reason = past.final_status()
    if not past.shared:
        return _set_status(backend, parent, status, reason, name=past.name)
    shared = join_on_server(backend.transport, past.run, NameTemplate(past.template), this_process())
    if not shared.leave():
        return []
    try:
        documents = query_by_id(backend.transport, [parent], ["status"])
        if any(document["status"] in ENDED for document in documents):
            return []
        return _set_status(backend, parent, status, reason, name=past.name)
    finally:
        shared.ended()


def deliver_outbox(past: PastRun, backend: OnlineBackend) -> None:
    """Delivers the events in a run's outbox, and those that were refused before."""
    sender = backend.batch_sender
    sender.refused_path = past.refused
    if past.outbox.exists():
        outbox = Outbox.open(past.outbox)
        try:
            while not outbox.is_empty:
                batch, length = outbox.next()
                sender.send_all(batch)
                outbox.delivered(length)
        finally:
            outbox.close()
    sender.retry_refused()


def _set_status(
    backend: OnlineBackend, task_id: str, status: Status, reason: str, name: str = ""
) -> list[Exception]:
    """Sets a task's final status; returns why the server refused it.

    Raises:
        ServerError: The server cannot be reached.
    """
    backend.remember_name(task_id, name or task_id)
    ending = Ending(task_id, status, reason if status != "completed" else "")
    errors = list(backend.finish([ending], STATUS_TIMEOUT_S).values())
    for error in errors:
        if isinstance(error, (Unreachable, LoginError)):
            raise error
    return errors


# --- an offline run ------------------------------------------------------------------------------


def _upload_offline(past: PastRun, backend: OnlineBackend, on_progress: OnProgress) -> Uploaded:
    sessions = sdk.cache_folder() / "offline"
    there = run_tasks(backend.transport, past.run)
    journal = Journal.read(past.journal)
    problems: list[Exception] = []
    parent, parent_id = None, None
    if past.parent is not None and (found := Session.read(sessions / past.parent)) is not None:
        found.add_script(past.script_of(past.parent))
        if past.owns_parent and there and not any(kind == "parent" for kind, *_ in there):
            logger.warning("somebody has deleted the parent task, so it is not uploaded again")
        elif past.owns_parent:
            found.run_started = past.started
            parent_id = found.create(backend, there, None)
            parent = None if found.is_of_another_process(journal) else found
        else:
            parent_id = _outer_parent(found, backend)
    ids: dict[str, str] = {}
    ids_there = {str(document["id"]) for document in there.values()}
    backend.batch_sender.refused_path = past.refused
    others: list[str] = []
    for done, task in enumerate(past.tasks.values()):
        on_progress(task.name, done, len(past.tasks))
        if there and task.uploaded and task.uploaded not in ids_there:
            logger.warning("somebody has deleted %r from the server, so it is not uploaded again", task.name)
            continue
        session = Session.read(sessions / task.id)
        if session is None or session.identity.get("run") != past.run:
            problems.append(_lost_session(past, task, sessions))
            continue
        session.run_started = past.started
        session.add_script(past.script_of(task.id))
        server_id = session.create(backend, there, parent_id)
        if not task.status_there and session.is_of_another_process(journal):
            others.append(task.name)
            continue
        ids[task.id] = server_id
        if session.status in PUBLISHED and not task.uploaded and session.has_unsent(journal):
            problems.append(_published(task, session))
        if session.is_done(task.uploaded):
            continue
        other = session.foreign_status(task)
        if other is not None:
            logger.warning("somebody else has ended %r on the server (%s), and it stays so", task.name, other)
        session.upload(backend, journal)
        problems += _missing_files(past, session)
        _annotate(backend, task, session.id, _stored_metrics(past, task, session))
        status, reason = task.final_status() if other is None else (other.status, other.reason)
        refused = _set_status(backend, session.id, status, reason, name=task.name)
        problems += refused
        if not refused:
            append(past.path, [{"event": "uploaded", "id": task.id, "to": session.id}])
    if others:
        logger.warning(
            "not uploaded, as another process of the run has run the same on the server, or uploaded it from "
            "another disk: %s (%s)",
            counted(len(others), "task"),
            some(sorted(others), 3),
        )
    if parent is not None:
        status, _ = past.final_status()
        has_all = past.uploaded or (parent.status == status and not parent.has_unsent(journal))
        if not parent.is_done(parent.id if has_all else ""):
            parent.upload(backend, journal)
            problems += _missing_files(past, parent)
            problems += _end_parent(past, parent.id, backend)
    backend.batch_sender.retry_refused()
    on_progress("", len(past.tasks), len(past.tasks))
    url = backend.url(parent_id) if parent_id else None
    return Uploaded(parent_id, ids, url, (*problems, *backend.delivery_errors()))


def _stored_metrics(past: PastRun, task: PastTask, session: Session) -> Metrics:
    """Returns the metrics of a session's task; those of one whose process died are read from its events."""
    if task.status is not None:
        return task.metrics
    scalars, fields = scalars_of_events(session.events()), task.template_fields(past.name)
    metrics = metrics_of(scalars, NameTemplate(past.template), fields, task.ambiguous)
    for key, data in task.metrics.items():
        metrics.setdefault(key, MetricData()).merge_skipped(data)
    return metrics


def _annotate(backend: OnlineBackend, task: PastTask, task_id: str, metrics: Metrics) -> None:
    """Notes with a task on the server what its events do not say."""
    names = json.dumps(names_to_json(task.ambiguous)) if task.ambiguous else ""
    entries = {NAMES_ENTRY: names}, {SERIES_ENTRY: series_text(metrics)}
    section, runtime = (
        {name: text.replace(task.id, task_id) for name, text in part.items() if text} for part in entries
    )
    if section or runtime:
        backend.annotate(task_id, section, runtime)


def _lost_session(past: PastRun, task: PastTask, sessions: Path) -> RunLogError:
    path = sessions / task.id
    problem = f"names the task {task.name!r}, but {path} is not there, or is not its session"
    advice = "bring that folder back and upload again; without it the task's data is lost"
    return RunLogError(str(past.path), problem, advice)


def _published(task: PastTask, session: Session) -> ServerError:
    problem = f"the task {task.name!r} was published, so it takes no more data"
    return ServerError(f"{problem}; what was reported since its last upload is only in {session.folder}")


def _missing_files(past: PastRun, session: Session) -> list[Exception]:
    if not session.missing:
        return []
    files = f"{counted(len(session.missing), 'file')} of {session.data['name']!r}"
    verb, where = "is" if len(session.missing) == 1 else "are", session.folder
    problem = f"belongs to a session of which {files} {verb} not in {where} ({some(session.missing, 3)})"
    advice = "bring them back and upload again; the rest is on the server"
    return [RunLogError(str(past.path), problem, advice)]


def _outer_parent(found: Session, backend: OnlineBackend) -> str | None:
    """Creates the parent that an outer group shares with this one; that group's upload fills it."""
    if not found.identity:  # the script's own Task.init task, which ClearML imports
        return None
    outer = OnlineBackend(backend.connection)  # its project may be another one
    try:
        return found.create(outer, run_tasks(outer.transport, found.identity["run"]), None)
    finally:
        outer.close()
