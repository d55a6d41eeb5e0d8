"""ClearML's offline sessions: one folder per task, written without a ClearML object.

The layout is ClearML's own (`Task._save_data_to_offline_dir`, `Metrics._do_write_events`), and
`Task.import_offline_session` reads it: `task.json` with the task's properties, `metrics.jsonl`
with a list of API events on each line, `data/` with artifacts and debug samples.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import sys
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml import sdk
from .._clearml.events import Batch, Curves, curves_of, events_in
from .._clearml.hyperparameters import SECTION, added, parameter
from .._clearml.new_task import new_task_fields
from .._clearml.session_file import create_session, read_session, write_session
from ..errors import StoreError
from .append_file import (
    OWNER_ONLY_FOLDER,
    append_to,
    disk_errors,
    end_torn_line,
    folder_lock,
    open_file,
    store_error,
)
from .attached_tasks import AttachingBackend
from .background_sync import BackgroundSync

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from .._clearml.documents import Scalars
    from .._model.name_template import Name
    from .._model.specs import Ending, RunInfo, TaskSpec
    from .kept_files import KeptFiles

PAUSE_S = 0.0002
"""How long writing to many files stops now and then, so that another thread gets the interpreter.

Each system call lets go of it, but for less than a thread takes to wake up, which then waits anew: without
pauses, a loop would stand still until the last of a thousand files is written.
"""


@attrs.define
class OfflineBackend(AttachingBackend):
    """Tasks as ClearML offline sessions in one folder.

    Args:
        root: ClearML's folder of offline sessions, `<cache>/offline`.
    """

    root: Path
    mode: str = "offline"
    _lock: threading.Lock = attrs.field(factory=threading.Lock, repr=False)
    _kept_files: KeptFiles | None = attrs.field(default=None, repr=False)
    _sync: BackgroundSync = attrs.field(factory=BackgroundSync, repr=False)
    _sizes: dict[str, int] = attrs.field(factory=dict, repr=False)
    """The size of each open task's `metrics.jsonl` after this process has written to it."""
    _switched: bool = False
    _without_script: list[str] = attrs.field(factory=list, repr=False)

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
        return os.path.exists(os.path.join(self.root, task_id, "task.json"))

    def _events_path(self, task_id: str) -> str:
        return f"{self.root}{os.sep}{task_id}{os.sep}metrics.jsonl"  # a `Path` takes as long as a write

    def create(self, run: RunInfo, specs: Sequence[TaskSpec], parent: str | None) -> list[str]:
        """Creates a session folder with its `task.json` for each task; if one fails, for none."""
        ids: list[str] = []
        for spec in specs:
            task_id = f"offline-{uuid.uuid4().hex}"
            folder = f"{self.root}{os.sep}{task_id}"  # a `Path` takes as long as to make the folder
            ids.append(task_id)
            try:
                _make_folder(folder)
                create_session(f"{folder}{os.sep}task.json", _task_json(run, spec, task_id, folder))
            except OSError as error:
                import shutil

                for created in ids:
                    shutil.rmtree(self.root / created, ignore_errors=True)
                raise store_error(folder, error) from error
        if run.script is None:
            self._without_script += ids
        return ids

    def write(self, batch: Batch) -> None:
        """Appends the events of each task to its `metrics.jsonl`, all of them or none.

        Raises:
            StoreError: The error of the first task that failed; the other tasks' events were written.
        """
        failed: StoreError | None = None
        sizes = self._sizes
        pause_at = time.monotonic() + sys.getswitchinterval()
        for task_id in list(batch):
            path = self._events_path(task_id)
            data = f"[{','.join(batch[task_id])}]\n".encode()
            try:
                # ClearML's own writer may append to the same file.
                sizes[task_id] = append_to(path, data, create=True, whole=sizes.get(task_id, 0))
                del batch[task_id]
            except OSError as error:
                failed = failed or store_error(path, error)
            if time.monotonic() > pause_at:
                time.sleep(PAUSE_S)
                pause_at = time.monotonic() + sys.getswitchinterval()
        if failed is not None:
            raise failed

    def after_fork(self) -> None:
        """In a forked child: a new lock, and new objects of ClearML's: their threads run in the parent."""
        self._lock, self._attached, self._sync = threading.Lock(), {}, BackgroundSync()

    def reopen(self, ids: Sequence[str]) -> None:
        """Ends lines that a crash cut short."""
        for task_id in ids:
            path = self._events_path(task_id)
            with disk_errors(path):
                try:
                    file = open_file(path)
                except FileNotFoundError:  # a task without data
                    continue
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

    def add_script(self, script: Mapping[str, Any]) -> None:
        """Adds the script to the sessions that were created before it was known."""
        while self._without_script:
            self.set_script(self._without_script.pop(), script)

    def set_script(self, task_id: str, script: Mapping[str, Any]) -> None:
        """Adds the script to a session that has none, and that nobody has deleted."""
        path = self.root / task_id / "task.json"
        if not path.exists():
            return
        with disk_errors(path), folder_lock(path.parent):
            data = read_session(path)
            if data and not data.get("script"):
                write_session(path, json.dumps({**data, "script": dict(script)}))

    def finish(self, endings: Sequence[Ending], timeout: float) -> dict[str, Exception]:
        """Waits for ClearML's own uploads, and begins to sync the sessions to disk.

        Statuses are in the run log only: ClearML's importer ignores a status in the session.
        """
        errors: dict[str, Exception] = {}
        deadline = time.monotonic() + timeout
        for task_id in [ending.task_id for ending in endings if ending.task_id in self._attached]:
            try:
                self.wait_for_uploads(task_id, max(0.0, deadline - time.monotonic()))
            except Exception as error:  # the other tasks must still end
                errors[task_id] = error
        for ending in endings:
            self._sizes.pop(ending.task_id, None)
        self._sync.add(
            *[self._events_path(ending.task_id) for ending in endings if ending.task_id not in errors]
        )
        return errors

    def delivery_errors(self) -> list[Exception]:
        """The errors about sessions that cannot be synced, and about files that are not in them."""
        self._sync.wait()
        errors, self._sync.errors = self._sync.errors, []
        if self._kept_files is not None:
            errors += self._kept_files.errors(self.where, "")
        return errors

    def wait_for_disk(self, timeout: float) -> bool:
        """Waits until the sessions of ended tasks are synced."""
        return self._sync.wait(timeout)

    def read_curves(self, wanted: Mapping[str, Sequence[Name]]) -> dict[str, Curves]:
        """Reads data points from the sessions; a deleted session has none."""
        return {task_id: curves_of(self.events(task_id), names) for task_id, names in wanted.items()}

    def read_script(self, task_id: str) -> Mapping[str, Any]:
        """Reads the section from the session; a deleted session has none."""
        script: Mapping[str, Any] = read_session(self.folder(task_id) / "task.json").get("script") or {}
        return script

    def events(self, task_id: str) -> Iterator[dict[str, Any]]:
        """Reads the API events of a session; a line that a crash cut short is skipped."""
        path = self._events_path(task_id)
        with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8", errors="replace") as lines:
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
                if self._kept_files is None:
                    from .kept_files import KeptFiles

                    self._kept_files = KeptFiles(None)
                self._kept_files.watch(task_id, str(task.name))
            return self._attached[task_id]

    def url(self, task_id: str) -> str | None:
        """The session folder, as a `file:` address."""
        return f"{_uri_of(self.root)}/{task_id}"

    def close(self) -> None:
        """Turns ClearML's offline switch back if `clearml_task` turned it on.

        Not while ClearML's own uploads of a task are under way: they would go to a server.
        """
        self._sync.close()
        if self._switched and not self._attached:
            self._switched = False
            sdk.go_back_online()

    def read_scalars(self, ids: Sequence[str], timeout: float) -> dict[str, Scalars]:
        """Computes the statistics of the sessions' events."""
        from .._clearml.documents import scalars_of_events  # most runs have counted all themselves

        return {task_id: scalars_of_events(self.events(task_id)) for task_id in ids}


@functools.lru_cache(maxsize=8)  # asked for with each row of results
def _uri_of(root: Path) -> str:
    return root.as_uri()


def _make_folder(path: str) -> None:
    try:
        os.mkdir(path, OWNER_ONLY_FOLDER)
    except FileNotFoundError:  # the first task on this disk
        os.makedirs(path, OWNER_ONLY_FOLDER)


def _task_json(run: RunInfo, spec: TaskSpec, task_id: str, folder: str) -> str:
    data: dict[str, Any] = {
        "id": task_id,
        **new_task_fields(run, spec),
        "offline_folder": folder.replace(os.sep, "/"),
    }
    return f"{json.dumps(data)[:-1]}, {_common_json(run)[1:]}"


@functools.lru_cache(maxsize=1)  # the script, with its diff, can be large
def _common_json(run: RunInfo) -> str:
    """What the sessions of a run have in common, as JSON."""
    return json.dumps(
        {
            "project_name": run.project,
            "system_tags": [],
            "execution": _EXECUTION,
            "output": {},
            "offline_output_models": [],
            "script": dict(run.script or {}),
        }
    )


_EXECUTION: dict[str, Any] = {
    "parameters": {},
    "artifacts": [],
    "model": "",
    "model_desc": {},
    "model_labels": {},
    "docker_cmd": "",
}
"""As ClearML's own sessions have it: without a field, ClearML's calls that read it fail."""
