"""Runs on this disk → a ClearML server, with the statuses that were earned.

It can be interrupted anywhere and run again, by another process too. What is where is read from
the server: a task is found again by its run, key and attempt, and the last thing that happens to
it is its final status. Only how far a session's events are is kept beside the record.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml import sdk
from .._clearml.api import Unreachable
from .._clearml.hyperparameters import SECTION, parameter
from .._clearml.queries import run_tasks
from .._clearml.tasks import add_artifacts, restart_task
from .._model.specs import Ending
from .._model.status import ABANDONED, ENDED, PUBLISHED, Status
from ..errors import ArgumentError, LoginError, ModeError, ServerError
from .online import OnlineBackend
from .outbox import Outbox
from .past_runs import held, load
from .run_log import append

if TYPE_CHECKING:
    from .._model.past import PastRun, PastTask

CHUNK = 1024 * 1024
"""Bytes of events in one request."""
PATIENCE = 120.0
"""Seconds for which one call is tried."""

Tell = Callable[[str, int, int], None]
"""Told of each task: its name, how many are through, how many there are."""


@attrs.frozen
class Uploaded:
    """What an upload has brought to the server.

    Attributes:
        parent: The id of the parent task there, if the run has one of its own.
        ids: The ids of the tasks there, by the ids that they had before.
        url: The parent's page.
        problems: What the server did not take, and why.
    """

    parent: str | None
    ids: Mapping[str, str]
    url: str | None
    problems: tuple[Exception, ...] = ()


def upload(path: Path, tell: Tell | None = None) -> Uploaded:
    """Brings a run to the configured server, or what is left of it.

    Args:
        path: The run's record.
        tell: Told of the progress.

    Raises:
        RunInUseError: A living process still works on the run.
        ModeError: ClearML is set offline, so that no server is to be spoken to.
        LoginError: The server is away, or refuses the credentials.
        ServerError: It went away in the middle; run the upload again.
    """
    if sdk.task_mode() == "offline":
        raise ModeError(
            "ClearML",
            "is set offline, but an upload needs a server",
            "unset CLEARML_OFFLINE_MODE, or call Task.set_offline(False) before",
        )
    with held(path):
        past = load(path)
        if past is None:
            raise ArgumentError("path", str(path), "the record of a run, run-….jsonl")
        backend = OnlineBackend(sdk.connect())
        try:
            bring = _bring_offline if past.mode == "offline" else _bring_online
            uploaded = bring(past, backend, tell or _nobody)
        finally:
            backend.close()
        append(path, [{"event": "uploaded"}])
        return uploaded


def _nobody(name: str, done: int, total: int) -> None:
    return None


def status_of(task: PastTask) -> tuple[Status, str]:
    """The status that a task earned; one whose process died was stopped."""
    return (task.status, task.reason) if task.status else ("stopped", ABANDONED)


# --- what an online run has left -----------------------------------------------------------------


def _bring_online(past: PastRun, backend: OnlineBackend, tell: Tell) -> Uploaded:
    deliver_outbox(past, backend)
    todo = [task for task in past.tasks.values() if not task.settled]
    problems: list[Exception] = list(backend.delivery_errors())
    there = {str(doc["id"]): str(doc["status"]) for doc in run_tasks(backend.transport, past.run).values()}
    for done, task in enumerate(todo):
        tell(task.name, done, len(todo))
        if there.get(task.id) in ENDED and task.status in (None, there[task.id]):
            append(past.path, [{"event": "settled", "id": task.id}])  # told before the process died
            continue
        problems += _settle(backend, task.id, *status_of(task), name=task.name)
        append(past.path, [{"event": "settled", "id": task.id}])
    if past.owns_parent and past.parent is not None and not (past.settled or past.uploaded):
        reason = past.reason if past.status else ABANDONED
        problems += _settle(backend, past.parent, past.status or "stopped", reason)
    tell("", len(todo), len(todo))
    url = backend.url(past.parent) if past.parent else None
    return Uploaded(past.parent, {task.id: task.id for task in past.tasks.values()}, url, tuple(problems))


def deliver_outbox(past: PastRun, backend: OnlineBackend) -> None:
    """Sends the events that a run has left in its outbox."""
    if not past.outbox.exists():
        return
    outbox = Outbox.open(past.outbox)
    try:
        while not outbox.is_empty:
            batch, length = outbox.next()
            backend.batch_sender.send(batch)
            outbox.delivered(length)
    finally:
        outbox.close()


def _settle(
    backend: OnlineBackend, task_id: str, status: Status, reason: str, name: str = ""
) -> list[Exception]:
    """Sets a status; gives what the server has against it.

    Raises:
        ServerError: The server is away.
    """
    backend.remember_name(task_id, name or task_id)
    ending = Ending(task_id, status, reason if status != "completed" else "")
    errors = backend.finish([ending], PATIENCE)
    for error in errors:
        if isinstance(error, (Unreachable, LoginError)):
            raise error
    return errors


# --- an offline run ------------------------------------------------------------------------------


def _bring_offline(past: PastRun, backend: OnlineBackend, tell: Tell) -> Uploaded:
    sessions = sdk.cache_folder() / "offline"
    there = run_tasks(backend.transport, past.run)
    progress = _Journal.read(past.journal)
    problems: list[Exception] = []
    parent, parent_id = None, None
    if past.parent is not None and (found := _Session.read(sessions / past.parent)) is not None:
        if past.owns_parent:
            found.began = past.started
            parent, parent_id = found, found.create(backend, there, None)
        else:
            parent_id = _outer_parent(found, backend)
    ids: dict[str, str] = {}
    for done, task in enumerate(past.tasks.values()):
        tell(task.name, done, len(past.tasks))
        session = _Session.read(sessions / task.id)
        if session is None:
            problems.append(ServerError(f"the task {task.name!r} has lost its session {sessions / task.id}"))
            continue
        session.began = past.started
        ids[task.id] = session.create(backend, there, parent_id)
        if session.is_done(task.uploaded):
            continue
        told = session.bring(backend, progress, *status_of(task), name=task.name)
        problems += told
        if not told:
            append(past.path, [{"event": "uploaded", "id": task.id, "to": session.id}])
    status, reason = (past.status, past.reason) if past.status else ("stopped", ABANDONED)
    through = past.uploaded or (parent is not None and parent.status == status)
    if parent is not None and not parent.is_done(parent.id if through else ""):
        problems += parent.bring(backend, progress, status, reason)
    tell("", len(past.tasks), len(past.tasks))
    url = backend.url(parent_id) if parent_id else None
    return Uploaded(parent_id, ids, url, (*problems, *backend.delivery_errors()))


def _outer_parent(found: _Session, backend: OnlineBackend) -> str | None:
    """Makes the parent that an outer group shares with this one; that group's upload fills it."""
    if not found.identity:  # the script's own Task.init task, which ClearML imports
        return None
    beside = OnlineBackend(backend.connection)  # its project may be another one
    try:
        return found.create(beside, run_tasks(beside.transport, found.identity["run"]), None)
    finally:
        beside.close()


@attrs.define
class _Journal:
    """How far the events of each task on a server are, in bytes of its session's `metrics.jsonl`."""

    path: Path
    sent: dict[str, int]

    @classmethod
    def read(cls, path: Path) -> _Journal:
        sent: dict[str, int] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                task_id, _, length = line.partition(" ")
                if length.isdigit():
                    sent[task_id] = int(length)
        return cls(path, sent)

    def note(self, task_id: str, length: int) -> None:
        self.sent[task_id] = length
        with self.path.open("a") as file:
            file.write(f"{task_id} {length}\n")


@attrs.define
class _Session:
    """One offline session folder on its way to a server.

    Attributes:
        began: When its run was opened, in seconds since 1970: a server's own dates are the upload's.
    """

    folder: Path
    data: dict[str, Any]
    id: str = ""
    status: str = ""
    began: float | None = None
    backend: OnlineBackend = attrs.field(init=False)

    @classmethod
    def read(cls, folder: Path) -> _Session | None:
        """Reads a session; None where it has been removed."""
        try:
            return cls(folder, json.loads((folder / "task.json").read_text()))
        except (OSError, ValueError):
            return None

    @property
    def identity(self) -> dict[str, str]:
        """The values of the section `TaskGroup`."""
        section = (self.data.get("hyperparams") or {}).get(SECTION) or {}
        return {name: item["value"] for name, item in section.items()}

    def create(
        self, backend: OnlineBackend, there: Mapping[tuple[str, str, str], dict[str, Any]], parent: str | None
    ) -> str:
        """Makes the task on the server, unless it is there."""
        identity = self.identity
        known = there.get((identity["kind"], identity.get("key", ""), identity.get("attempt", "")))
        if known is not None:
            self.id, self.status = str(known["id"]), str(known["status"])
            return self.id
        body = {name: self.data[name] for name in _CARRIED if self.data.get(name)}
        if parent is not None:
            body["parent"] = parent
        if self.began is not None:
            moment = datetime.fromtimestamp(self.began, UTC).isoformat(timespec="milliseconds")
            section = {
                **body["hyperparams"][SECTION],
                "run_started": parameter(SECTION, "run_started", moment),
            }
            body["hyperparams"] = {**body["hyperparams"], SECTION: section}
        self.id, self.status = backend.create_task(body, self.data["project_name"], identity), "created"
        return self.id

    def is_done(self, uploaded: str) -> bool:
        """Whether the task on the server has all of it, and has ended."""
        return self.status in PUBLISHED or (self.status in (*ENDED, "closed") and uploaded == self.id)

    def bring(
        self, backend: OnlineBackend, progress: _Journal, status: Status, reason: str, name: str = ""
    ) -> list[Exception]:
        """Brings all that the session holds: artifacts, events and their files, last the status."""
        self.backend = backend
        restart_task(backend.transport, self.id)
        self._bring_artifacts()
        self._bring_events(progress)
        return _settle(backend, self.id, status, reason, name)

    def _bring_events(self, progress: _Journal) -> None:
        old = str(self.data["id"])
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(progress.sent.get(self.id, 0))
            for events, end in _portions(file):
                lines = [json.dumps(self._moved(event, old)) for event in events if event.get("task") == old]
                if lines:
                    self.backend.batch_sender.send({self.id: lines})
                progress.note(self.id, end)

    def _bring_artifacts(self) -> None:
        artifacts = (self.data.get("execution") or {}).get("artifacts") or []
        for artifact in artifacts:
            uri = str(artifact.get("uri", ""))
            local = Path(uri)
            inside = _below(local, "data")
            if inside is None or not (self.folder / "data" / inside).is_file():
                continue
            artifact["uri"] = self._send_file(inside)
        if artifacts:
            add_artifacts(self.backend.transport, self.id, artifacts)

    def _send_file(self, inside: str) -> str:
        """Uploads a file of the session; gives its address."""
        url = f"{self.backend.connection.files}/{inside.replace(self.data['id'], self.id)}"
        sdk.upload_file(self.folder / "data" / inside, url)
        return url

    def _moved(self, event: dict[str, Any], old: str) -> dict[str, Any]:
        """Rewrites an event for its task on the server."""
        event["task"] = self.id
        event.pop("method", None)
        for part in ("metric", "variant"):  # names with {task_id} are rendered again
            if old in str(event.get(part, "")):
                event[part] = event[part].replace(old, self.id)
        key = event.get("key")
        if key and event.get("url") and (self.folder / "data" / key).is_file():
            event["url"] = self._send_file(key)
            event["key"] = key.replace(old, self.id)
        elif old in str(event.get("plot_str", "")):
            event["plot_str"] = self._moved_plot(event["plot_str"]).replace(old, self.id)
        return event

    def _moved_plot(self, text: str) -> str:
        """Uploads the images that a plot shows."""
        plot = json.loads(text)
        for image in (plot.get("layout") or {}).get("images") or []:
            inside = _below(Path(str(image.get("source", ""))), "data")
            if inside is not None and (self.folder / "data" / inside).is_file():
                image["source"] = self._send_file(inside)
        return json.dumps(plot)


_CARRIED = ("name", "type", "tags", "comment", "hyperparams", "configuration", "script", "container")


def _below(path: Path, folder: str) -> str | None:
    """The part of a path below the last session's `data` folder, in POSIX form."""
    parts = path.parts
    places = [place for place, part in enumerate(parts) if part == folder and place > 0]
    for place in places:
        if parts[place - 1].startswith("offline-"):
            return "/".join(parts[place + 1 :])
    return None


def _portions(file: Any) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """Reads events in portions; gives each with where it ends. Torn lines are passed over."""
    events: list[dict[str, Any]] = []
    size, end = 0, file.tell()
    for line in iter(file.readline, b""):
        if not line.endswith(b"\n"):
            break
        with contextlib.suppress(ValueError):
            events += json.loads(line)
        size, end = size + len(line), end + len(line)
        if size >= CHUNK:
            yield events, end
            events, size = [], 0
    if events:
        yield events, end
