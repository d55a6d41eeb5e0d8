"""ClearML's offline sessions: one folder per task, written without a ClearML object.

The layout is ClearML's own (`Task._save_data_to_offline_dir`, `Metrics._do_write_events`), and
`Task.import_offline_session` reads it: `task.json` with the task's properties, `metrics.jsonl`
with a list of API events on each line, `data/` with artifacts and debug samples.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml import failed_uploads, sdk
from .._clearml.documents import Scalars, scalars_of_events
from .._clearml.events import Batch, Curves, curves_of, events_in
from .._clearml.hyperparameters import SECTION, added, hyperparameters, parameter
from .._clearml.session_file import write_session
from ..errors import StoreError
from .append_file import (
    OWNER_ONLY_FOLDER,
    append_to,
    disk_errors,
    end_torn_line,
    folder_lock,
    open_file,
)
from .base import Backend
from .kept_files import KeptFiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from .._model.name_template import Name
    from .._model.specs import Ending, RunInfo, TaskSpec


@attrs.define
class OfflineBackend(Backend):
    """Tasks as ClearML offline sessions in one folder.

    Args:
        root: ClearML's folder of offline sessions, `<cache>/offline`.
    """

    root: Path
    mode: str = "offline"
    _attached: dict[str, Any] = attrs.field(factory=dict, repr=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, repr=False)
    _kept_files: KeptFiles = attrs.field(factory=lambda: KeptFiles(None), repr=False)
    _switched: bool = False

    @property
    def where(self) -> str:
        """The folder that holds the sessions."""
        return str(self.root)

    def folder(self, task_id: str) -> Path:
        """The session folder of a task."""
        return self.root / task_id

    def check_parent(self, parent: str) -> None:
        """Raises `StoreError` if somebody has deleted the parent's session."""
        if not self.has_session(parent):
            raise StoreError(str(self.root / parent), os.strerror(errno.ENOENT), errno.ENOENT)

    def has_session(self, task_id: str) -> bool:
        """Whether the session of a task exists."""
        return (self.root / task_id / "task.json").exists()

    def _events_path(self, task_id: str) -> Path:
        return self.root / task_id / "metrics.jsonl"

    def create(self, run: RunInfo, specs: Sequence[TaskSpec], parent: str | None) -> list[str]:
        """Creates a session folder with its `task.json` for each task; if one fails, for none."""
        script = json.dumps(dict(run.script)) if run.script else None
        ids: list[str] = []
        for spec in specs:
            task_id = f"offline-{uuid.uuid4().hex}"
            folder = self.root / task_id
            ids.append(task_id)
            try:
                with disk_errors(folder):
                    folder.mkdir(OWNER_ONLY_FOLDER, parents=True)
                    write_session(folder / "task.json", _task_json(run, spec, task_id, folder, script))
            except StoreError:
                for created in ids:
                    shutil.rmtree(self.root / created, ignore_errors=True)
                raise
        return ids

    def write(self, batch: Batch) -> None:
        """Appends the events of each task to its `metrics.jsonl`, all of them or none.

        Raises:
            StoreError: The error of the first task that failed; the other tasks' events were written.
        """
        failed: StoreError | None = None
        for task_id in list(batch):
            path = self._events_path(task_id)
            try:
                with disk_errors(path):
                    # ClearML's own writer may append to the same file.
                    append_to(path, f"[{','.join(batch[task_id])}]\n".encode(), create=True)
                del batch[task_id]
            except StoreError as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def reopen(self, ids: Sequence[str]) -> None:
        """Ends lines that a crash cut short."""
        for task_id in ids:
            path = self._events_path(task_id)
            if not path.exists():  # a task without data
                continue
            with disk_errors(path):
                file = open_file(path)
                try:
                    end_torn_line(file)
                finally:
                    os.close(file)

    def reopen_completed(self, task_id: str) -> str:
        """Lets a session take data again; a server that has it may not, which its upload finds out."""
        if not self.has_session(task_id):
            return f"its session {self.folder(task_id)} was deleted"
        self.reopen([task_id])
        return ""

    def set_parameters(self, task_id: str, params: Mapping[str, Any]) -> None:
        """Adds parameters to `task.json`, through ClearML's own object if one is attached."""
        with self._lock:
            attached = self._attached.get(task_id)
            if attached is not None:
                sdk.set_parameters(attached, added(params))
                return
            self._add_hyperparameters(task_id, added(params))

    def annotate(self, task_id: str, section: Mapping[str, str], runtime: Mapping[str, str]) -> None:
        """Adds entries to the section `TaskGroup` in `task.json`; a session has no `runtime`."""
        entries = [parameter(SECTION, name, value) for name, value in section.items()]
        with self._lock:
            attached = self._attached.get(task_id)
            if attached is not None:
                sdk.set_parameters(attached, entries)
            elif entries:
                self._add_hyperparameters(task_id, entries)

    def _add_hyperparameters(self, task_id: str, entries: Sequence[Mapping[str, str]]) -> None:
        path = self.root / task_id / "task.json"
        # Several processes that share a run set parameters of its parent.
        with disk_errors(path), folder_lock(path.parent):
            data = json.loads(path.read_text())
            for entry in entries:
                data["hyperparams"].setdefault(entry["section"], {})[entry["name"]] = entry
            write_session(path, json.dumps(data))

    def flush_clearml_task(self, task_id: str, timeout: float) -> None:
        """Waits until what ClearML's own object of a task has logged is in the session."""
        if (attached := self._attached.get(task_id)) is not None:
            sdk.flush(attached, timeout)

    def finish(self, endings: Sequence[Ending], timeout: float) -> list[Exception]:
        """Waits for ClearML's own uploads and syncs the sessions to disk.

        Statuses are in the run log only: ClearML's importer ignores a status in the session.
        """
        errors: list[Exception] = []
        deadline = time.monotonic() + timeout
        for ending in endings:
            try:
                self.wait_for_uploads(ending.task_id, max(0.0, deadline - time.monotonic()))
                _sync(self._events_path(ending.task_id))
            except Exception as error:  # the other tasks must still end
                errors.append(error)
        return errors

    def wait_for_uploads(self, task_id: str, timeout: float) -> None:
        """Waits for what ClearML's own object of a task writes."""
        attached = self._attached.get(task_id)
        if attached is not None:
            sdk.wait_for_uploads(attached, timeout)
            failed_uploads.unwatch(task_id)
            del self._attached[task_id]

    def delivery_errors(self) -> list[Exception]:
        """The errors about files that ClearML's own objects could not copy into the sessions."""
        return self._kept_files.errors(self.where, "")

    def read_curves(self, wanted: Mapping[str, Sequence[Name]]) -> dict[str, Curves]:
        """Reads data points from the sessions; a deleted session has none."""
        return {task_id: curves_of(self.events(task_id), names) for task_id, names in wanted.items()}

    def events(self, task_id: str) -> Iterator[dict[str, Any]]:
        """Reads the API events of a session; a line that a crash cut short is skipped."""
        try:
            lines = self._events_path(task_id).open(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        with lines:
            for line in lines:
                yield from events_in(line)

    def clearml_task(self, task_id: str) -> Any:
        """Opens ClearML's own object of a task, once."""
        with self._lock:
            if task_id not in self._attached:
                folder = self.root / task_id
                with disk_errors(folder):
                    (folder / "data").mkdir(OWNER_ONLY_FOLDER, exist_ok=True)
                    # A file that ClearML itself creates is readable by everybody.
                    os.close(open_file(self._events_path(task_id), os.O_CREAT))
                self._switched = self._switched or sdk.go_offline()
                task = self._attached[task_id] = sdk.open_task(task_id)
                self._kept_files.watch(task_id, str(task.name))
            return self._attached[task_id]

    def url(self, task_id: str) -> str | None:
        """The session folder, as a `file:` address."""
        return (self.root / task_id).as_uri()

    def close(self) -> None:
        """Turns ClearML's offline switch back if `clearml_task` turned it on.

        Not while ClearML's own uploads of a task are under way: they would go to a server.
        """
        if self._switched and not self._attached:
            self._switched = False
            sdk.go_back_online()

    def read_scalars(self, ids: Sequence[str], timeout: float) -> dict[str, Scalars]:
        """Computes the statistics of the sessions' events."""
        return {task_id: scalars_of_events(self.events(task_id)) for task_id in ids}


def _task_json(run: RunInfo, spec: TaskSpec, task_id: str, folder: Path, script: str | None) -> str:
    data: dict[str, Any] = {
        "id": task_id,
        "type": "controller" if spec.kind == "parent" else "training",
        "name": spec.task_name,
        "project_name": run.project,
        "hyperparams": hyperparameters(run, spec),
        "tags": [*run.tags, *spec.tags],
        "system_tags": [],
        "execution": _EXECUTION,
        "output": {},
        "offline_folder": folder.as_posix(),
        "offline_output_models": [],
    }
    text = json.dumps(data)
    # The script, with its diff, can be large and is the same for every task: encoded once.
    return f'{text[:-1]}, "script": {script or "{}"}}}'


_EXECUTION: dict[str, Any] = {
    "parameters": {},
    "artifacts": [],
    "model": "",
    "model_desc": {},
    "model_labels": {},
    "docker_cmd": "",
}
"""As ClearML's own sessions have it: without a field, ClearML's calls that read it fail."""


def _sync(path: Path) -> None:
    with disk_errors(path):
        try:
            file = open_file(path)
        except FileNotFoundError:  # a task without data
            return
        try:
            os.fsync(file)
        finally:
            os.close(file)
