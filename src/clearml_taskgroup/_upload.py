"""Runs on this disk → a ClearML server, with the statuses that were earned.

It can be interrupted anywhere and run again, by another process too. What is where is read from
the server: a task is found again by its run, key and attempt, and the last thing that happens to
it is its final status. Only how far a session's events are is kept beside the record.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from . import _clearml
from ._past import PastRun, PastTask, held, load
from ._record import append
from ._stores import ENDED, SECTION, Ending, Status
from ._stores.online import OnlineStore
from ._stores.outbox import Outbox
from .errors import ArgumentError

CHUNK = 1024 * 1024
"""Bytes of events in one request."""
ABANDONED = "abandoned: the process ended before the group was closed"

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
        LoginError: The server is away, or refuses the credentials.
        ServerError: It went away in the middle; run the upload again.
    """
    with held(path):
        past = load(path)
        if past is None:
            raise ArgumentError("path", str(path), "the record of a run, run-….jsonl")
        store = OnlineStore(_clearml.connect())
        try:
            bring = _bring_offline if past.mode == "offline" else _bring_online
            uploaded = bring(past, store, tell or _nobody)
        finally:
            store.close()
        append(path, [{"event": "uploaded"}])
        past.journal.unlink(missing_ok=True)
        return uploaded


def _nobody(name: str, done: int, total: int) -> None:
    return None


def status_of(task: PastTask) -> tuple[Status, str]:
    """The status that a task earned; one whose process died was stopped."""
    return (task.status, task.reason) if task.status else ("stopped", ABANDONED)


# --- what an online run has left -----------------------------------------------------------------


def _bring_online(past: PastRun, store: OnlineStore, tell: Tell) -> Uploaded:
    deliver_outbox(past, store)
    todo = [task for task in past.tasks.values() if not task.settled]
    problems: list[Exception] = list(store.refusals())
    for done, task in enumerate(todo):
        tell(task.name, done, len(todo))
        problems += _settle(store, task.id, *status_of(task), name=task.name)
        append(past.path, [{"event": "settled", "id": task.id}])
    if past.owns_parent and past.parent is not None:
        problems += _settle(store, past.parent, past.status or "stopped", past.reason or ABANDONED)
    tell("", len(todo), len(todo))
    url = store.url(past.parent) if past.parent else None
    return Uploaded(past.parent, {task.id: task.id for task in past.tasks.values()}, url, tuple(problems))


def deliver_outbox(past: PastRun, store: OnlineStore) -> None:
    """Sends the events that a run has left in its outbox."""
    if not past.outbox.exists():
        return
    outbox = Outbox.open(past.outbox)
    try:
        while not outbox.is_empty:
            batch, length = outbox.next()
            for task_id in batch:
                store.restart(task_id)
            store.delivery.send(batch)
            outbox.delivered(length)
    finally:
        outbox.close()


def _settle(store: OnlineStore, task_id: str, status: Status, reason: str, name: str = "") -> list[Exception]:
    store.remember(task_id, name or task_id)
    return store.finish([Ending(task_id, status, reason if status != "completed" else "")], math.inf)


# --- an offline run ------------------------------------------------------------------------------


def _bring_offline(past: PastRun, store: OnlineStore, tell: Tell) -> Uploaded:
    sessions = _clearml.cache_folder() / "offline"
    there = store.find_run(past.run)
    progress = _Journal.read(past.journal)
    problems: list[Exception] = []
    own = past.parent if past.owns_parent else None
    parent = _Session(sessions / own, store, there, None) if own else None
    parent_id = parent.create() if parent is not None else None
    ids: dict[str, str] = {}
    for done, task in enumerate(past.tasks.values()):
        tell(task.name, done, len(past.tasks))
        session = _Session(sessions / task.id, store, there, parent_id)
        ids[task.id] = session.create()
        problems += session.bring(progress, *status_of(task), name=task.name)
    if parent is not None:
        problems += parent.bring(
            progress, past.status or "stopped", past.reason if past.status else ABANDONED
        )
    tell("", len(past.tasks), len(past.tasks))
    url = store.url(parent_id) if parent_id else None
    return Uploaded(parent_id, ids, url, (*problems, *store.refusals()))


@attrs.define
class _Journal:
    """How far the events of each session are, in bytes of its `metrics.jsonl`."""

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
    """One offline session folder on its way to a server."""

    folder: Path
    store: OnlineStore
    there: dict[tuple[str, str, str], dict[str, Any]]
    parent: str | None
    status: str = ""
    id: str = ""
    data: dict[str, Any] = attrs.field(factory=dict)

    def create(self) -> str:
        """Makes the task on the server, unless it is there."""
        self.data = json.loads((self.folder / "task.json").read_text())
        identity = {name: item["value"] for name, item in self.data["hyperparams"][SECTION].items()}
        known = self.there.get((identity["kind"], identity.get("key", ""), identity.get("attempt", "")))
        if known is not None:
            self.id, self.status = str(known["id"]), str(known["status"])
            return self.id
        body = {name: self.data[name] for name in _CARRIED if self.data.get(name)}
        if self.parent is not None:
            body["parent"] = self.parent
        self.id, self.status = self.store.make(body, self.data["project_name"], identity), "created"
        return self.id

    def bring(self, progress: _Journal, status: Status, reason: str, name: str = "") -> list[Exception]:
        """Brings all that the session holds: artifacts, events and their files, last the status.

        A task that has its final status has all of it already.
        """
        if self.status in ENDED:
            return []
        self.store.restart(self.id)
        self._bring_artifacts()
        self._bring_events(progress)
        return _settle(self.store, self.id, status, reason, name)

    def _bring_events(self, progress: _Journal) -> None:
        old = str(self.data["id"])
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(progress.sent.get(old, 0))
            for events, end in _portions(file):
                lines = [json.dumps(self._moved(event, old)) for event in events if event["task"] == old]
                if lines:
                    self.store.delivery.send({self.id: lines})
                progress.note(old, end)

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
            self.store.add_artifacts(self.id, artifacts)

    def _send_file(self, inside: str) -> str:
        """Uploads a file of the session; gives its address."""
        remote = inside.replace(f".{self.data['id']}/", f".{self.id}/", 1)
        url = f"{self.store.connection.files}/{remote}"
        _clearml.upload_file(self.folder / "data" / inside, url)
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
            event["key"] = key.replace(f".{old}/", f".{self.id}/", 1)
        elif event.get("plot_str") and f".{old}/" in event["plot_str"]:
            event["plot_str"] = self._moved_plot(event["plot_str"])
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
    size = 0
    for line in iter(file.readline, b""):
        if line.endswith(b"\n"):
            with contextlib.suppress(ValueError):
                events += json.loads(line)
        size += len(line)
        if size >= CHUNK:
            yield events, file.tell()
            events, size = [], 0
    if events:
        yield events, file.tell()
