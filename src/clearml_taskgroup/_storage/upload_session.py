"""Uploads one offline session: its task, artifacts, models, events and files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml import sdk
from .._clearml.events import events_in, titled
from .._clearml.hyperparameters import ADDED, SECTION, parameter
from .._clearml.queries import identity_of
from .._clearml.tasks import add_artifacts, edit_parameters, foreign_status, restart_task
from .._model.specs import Ending
from .._model.status import CLOSED, ENDED, PUBLISHED
from .append_file import append_to, disk_errors
from .upload_models import upload_models

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .._clearml.events import Batch
    from .._clearml.queries import Document
    from .._model.past import PastTask
    from .._model.specs import ForeignStatus
    from .online import OnlineBackend

REQUEST_BYTES = 1024 * 1024
"""The bytes of events in one request."""


@attrs.define
class Journal:
    """How much of each session's `metrics.jsonl` is on the server, in bytes, by the server's task id."""

    path: Path
    sent: dict[str, int]

    @classmethod
    def read(cls, path: Path) -> Journal:
        """Reads the journal; without a file it is empty."""
        sent: dict[str, int] = {}
        if path.exists():
            for line in path.read_text("utf-8", errors="replace").splitlines():
                task_id, _, length = line.partition(" ")
                if length.isascii() and length.isdecimal() and len(length) < 20:  # else the disk's junk
                    sent[task_id] = int(length)
        return cls(path, sent)

    def add(self, task_id: str, length: int) -> None:
        """Notes that the first `length` bytes of a task's events are on the server."""
        self.sent[task_id] = length
        with disk_errors(self.path):
            append_to(self.path, f"{task_id} {length}\n".encode(), create=True)


@attrs.define
class Session:
    """One offline session folder.

    Attributes:
        data: The content of its `task.json`.
        id: The id of its task on the server; empty before `create`.
        status: That task's status.
        known: That task, if it was there already.
        run_started: When its run was opened, in seconds since 1970; a server's own dates are those of the
            upload.
        missing: Files that an artifact, a debug sample, a plot or a model refers to, and that are not in the
            session.
    """

    folder: Path
    data: dict[str, Any]
    id: str = ""
    status: str = ""
    known: Document | None = None
    run_started: float | None = None
    missing: list[str] = attrs.field(factory=list)
    backend: OnlineBackend = attrs.field(init=False)
    _last_text_ms: int = 0

    @classmethod
    def read(cls, folder: Path) -> Session | None:
        """Reads a session; None if it was removed, or edited into something else."""
        try:
            data = json.loads((folder / "task.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        return cls(folder, data) if isinstance(data, dict) and data.keys() >= _REQUIRED_FIELDS else None

    @property
    def identity(self) -> dict[str, str]:
        """Group, run, key and the like; empty if the session was edited into something else."""
        try:
            return identity_of(self.data)
        except (AttributeError, LookupError, TypeError):  # edited
            return {}

    def create(
        self, backend: OnlineBackend, there: Mapping[tuple[str, str, str], Document], parent: str | None
    ) -> str:
        """Creates the task on the server unless it is there; returns its id.

        Args:
            backend: The server.
            there: The run's tasks on the server by kind, key and attempt.
            parent: The id of the parent task.
        """
        identity = self.identity
        known = there.get((identity["kind"], identity.get("key", ""), identity.get("attempt", "")))
        if known is not None:
            self.id, self.status, self.known = str(known["id"]), str(known["status"]), known
            return self.id
        body = _task_body(self.data)
        if parent is not None:
            body["parent"] = parent
        if self.run_started is not None:
            date = datetime.fromtimestamp(self.run_started, UTC).isoformat(timespec="milliseconds")
            started = parameter(SECTION, "run_started", date)
            section = {**body["hyperparams"][SECTION], "run_started": started}
            body["hyperparams"] = {**body["hyperparams"], SECTION: section}
        self.id, self.status = backend.create_task(body, self.data["project_name"], identity), "created"
        return self.id

    def add_script(self, script: Mapping[str, Any] | None) -> None:
        """Adds the script that was detected after the session was written, by a process that was killed."""
        if script and not self.data.get("script"):
            self.data["script"] = dict(script)

    def is_of_another_process(self, journal: Journal) -> bool:
        """Whether the task on the server is that of another process of the run, with another disk or none."""
        there = identity_of(self.known or {}).get("process")
        return bool(there) and there != self.identity.get("process") and self.id not in journal.sent

    def events(self) -> Iterator[dict[str, Any]]:
        """Reads the API events of the task, without those of its models."""
        path = self.folder / "metrics.jsonl"
        if path.exists():
            with path.open("rb") as file:
                for events, _ in _portions(file):
                    yield from (event for event in events if event.get("task") == self.data["id"])

    def has_unsent(self, journal: Journal) -> bool:
        """Whether events were added since the last upload."""
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return False
        with path.open("rb") as file:
            file.seek(journal.sent.get(self.id, 0))
            return next(_portions(file), None) is not None

    def is_done(self, uploaded: str) -> bool:
        """Whether the task on the server has all data and its final status.

        Args:
            uploaded: The id of the task on the server that has all data; empty if none has.
        """
        return self.status in PUBLISHED or (self.status in (*ENDED, *CLOSED) and uploaded == self.id)

    def foreign_status(self, task: PastTask) -> ForeignStatus | None:
        """Finds the final status that somebody else has given the task after an upload was interrupted.

        Args:
            task: The session's task, with the status that an earlier upload has set.
        """
        if self.known is None or self.status == task.status_there:
            return None
        return foreign_status(self.known, Ending(self.id, *task.final_status()))

    def upload(self, backend: OnlineBackend, journal: Journal) -> None:
        """Uploads artifacts, models, events and their files, and parameters that were added."""
        self.backend = backend
        restart_task(backend.transport, self.id)
        self._add_parameters()
        self._upload_artifacts()
        models, missing = upload_models(self.data, self.folder, self.id, backend)
        self.missing += missing
        self._upload_events(journal, models)

    def _add_parameters(self) -> None:
        """Adds the parameters that were set after an earlier upload."""
        if self.known is None:
            return
        there = self.known.get("hyperparams") or {}
        changed = [
            item
            for section, items in self.data["hyperparams"].items()
            for name, item in items.items()
            if section != SECTION or name.startswith(ADDED)  # the rest of it never changes
            if (there.get(section, {}).get(name) or {}).get("value") != item.get("value")
        ]
        if changed:
            edit_parameters(self.backend.transport, self.id, changed)

    def _upload_events(self, journal: Journal, models: Mapping[str, str]) -> None:
        ids = {str(self.data["id"]): self.id, **models}
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(journal.sent.get(self.id, 0))
            for events, end in _portions(file):
                batch: Batch = {}
                for event in events:
                    old = event.get("task")
                    if old in ids:
                        lines = batch.setdefault(ids[old], [])
                        rewritten = self._rewritten(event, old, ids[old])
                        lines.append(json.dumps(rewritten, separators=(",", ":")))  # as the outbox reads it
                if batch:
                    self.backend.batch_sender.send_all(batch)
                journal.add(self.id, end)

    def _upload_artifacts(self) -> None:
        artifacts = (self.data.get("execution") or {}).get("artifacts") or []
        for artifact in artifacts:
            inside = self._file_below_data(str(artifact.get("uri", "")))
            if inside is not None:
                artifact["uri"] = self._upload_file(inside)
        if artifacts:
            add_artifacts(self.backend.transport, self.id, artifacts)

    def _file_below_data(self, address: str) -> str | None:
        """Returns the path of a file in the session's `data` folder; None for any other address."""
        inside = _below(Path(address), "data")
        return inside if inside is not None and self._has_file(inside) else None

    def _has_file(self, inside: str) -> bool:
        """Whether a path leads to a file in the session's `data` folder, and not out of it; notes if not."""
        data = (self.folder / "data").resolve()
        path = (data / inside).resolve()
        if path.is_relative_to(data) and path.is_file():
            return True
        self.missing.append(f"data/{inside}".replace(f"{self.data['id']}/", ""))
        return False

    def _upload_file(self, inside: str) -> str:
        """Uploads a file of the session; returns its address."""
        url = f"{self.backend.connection.files}/{inside.replace(self.data['id'], self.id)}"
        sdk.upload_file(self.folder / "data" / inside, url)
        return url

    def _rewritten(self, event: dict[str, Any], old: str, new: str) -> dict[str, Any]:
        """Rewrites an event of a task or model for the one on the server."""
        event["task"] = new
        if event.get("type") == "log" and isinstance(event.get("timestamp"), int):
            # The web page shows lines of one millisecond in reverse order.
            self._last_text_ms = event["timestamp"] = max(event["timestamp"], self._last_text_ms + 1)
        event.pop("method", None)
        for part in ("metric", "variant"):  # names with {task_id} are rendered again
            if old in str(event.get(part, "")):
                event[part] = event[part].replace(old, new)
        key = event.get("key")
        if key and _is_local(str(event.get("url", ""))) and self._has_file(key):
            event["url"] = self._upload_file(key)
            event["key"] = key.replace(self.data["id"], self.id)
        elif event.get("type") == "plot":
            event["plot_str"] = self._rewritten_plot(event).replace(old, new)
        return event

    def _rewritten_plot(self, event: dict[str, Any]) -> str:
        """Uploads the images in a plot, replaces their addresses, and adds the title that the page needs."""
        try:
            plot = titled(json.loads(event["plot_str"]), event["variant"])
        except (KeyError, ValueError, TypeError, AttributeError):  # not plotly's JSON: it is sent as it is
            return str(event.get("plot_str", ""))
        for image in (plot.get("layout") or {}).get("images") or []:
            inside = self._file_below_data(str(image.get("source", "")))
            if inside is not None:
                image["source"] = self._upload_file(inside)
        return json.dumps(plot)


_COPIED_FIELDS = (
    "name",
    "type",
    "tags",
    "system_tags",
    "comment",
    "hyperparams",
    "configuration",
    "script",
    "container",
)


def _task_body(data: Mapping[str, Any]) -> dict[str, Any]:
    """Makes what `tasks.create` takes from a session's `task.json`."""
    body = {name: data[name] for name in _COPIED_FIELDS if data.get(name)}
    execution = data.get("execution") or {}
    if execution.get("model_labels"):
        body["execution"] = {"model_labels": execution["model_labels"]}
    if execution.get("docker_cmd"):  # where ClearML stores a container offline
        image, _, arguments = execution["docker_cmd"].partition(" ")
        body["container"] = {"image": image, "arguments": arguments}
    destination = (data.get("output") or {}).get("destination")
    if destination:
        body["output_dest"] = destination
    return body


_REQUIRED_FIELDS = frozenset({"id", "name", "project_name", "hyperparams"})


def _is_local(address: str) -> bool:
    return address.startswith("file:") or (bool(address) and "://" not in address)


def _below(path: Path, folder: str) -> str | None:
    """Returns the part of a path below the `data` folder of a session, in POSIX form."""
    parts = path.parts
    places = [place for place, part in enumerate(parts) if part == folder and place > 0]
    for place in places:
        if parts[place - 1].startswith("offline-"):
            return "/".join(parts[place + 1 :])
    return None


def _portions(file: Any) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """Reads events for one request each, with the offset of their end; skips lines cut short by a crash."""
    events: list[dict[str, Any]] = []
    size, end = 0, file.tell()
    for line in iter(file.readline, b""):
        if not line.endswith(b"\n"):
            break
        events += events_in(line)
        size, end = size + len(line), end + len(line)
        if size >= REQUEST_BYTES:
            yield events, end
            events, size = [], 0
    if events:
        yield events, end
