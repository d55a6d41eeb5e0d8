"""ClearML's offline sessions: a folder for each task, written without a ClearML object.

The layout is ClearML's own (`Task._save_data_to_offline_dir`, `Metrics._do_write_events`), and
`Task.import_offline_session` reads it: `task.json` with the task's properties, `metrics.jsonl`
with a list of API events on each line, `data/` with artifacts and debug samples.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml import sdk
from .._clearml.documents import Scalars, scalars_of_events
from .._clearml.events import Batch, Point, points_of
from .._clearml.hyperparameters import general, hyperparameters
from ..errors import StoreError
from .base import Backend

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from .._model.name_template import Name
    from .._model.specs import Ending, RunInfo, TaskSpec


@attrs.define
class OfflineBackend(Backend):
    """Tasks as ClearML offline sessions below one folder.

    Args:
        root: ClearML's folder of offline sessions, `<cache>/offline`.
    """

    root: Path
    mode: str = "offline"
    _attached: dict[str, Any] = attrs.field(factory=dict, repr=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, repr=False)
    _switched: bool = False

    @property
    def where(self) -> str:
        """The folder that holds the sessions."""
        return str(self.root)

    def folder(self, task_id: str) -> Path:
        """The session folder of a task."""
        return self.root / task_id

    def create(self, run: RunInfo, specs: Sequence[TaskSpec], parent: str | None) -> list[str]:
        """Makes a session folder with its `task.json` for each task, or for none of them."""
        script = json.dumps(dict(run.script)) if run.script else None
        ids: list[str] = []
        for spec in specs:
            task_id = f"offline-{uuid.uuid4().hex}"
            folder = self.root / task_id
            try:
                folder.mkdir(parents=True)
                (folder / "task.json").write_text(_task_json(run, spec, task_id, folder, script))
            except OSError as error:
                for made in (*ids, task_id):
                    shutil.rmtree(self.root / made, ignore_errors=True)
                raise StoreError(str(folder), str(error)) from error
            ids.append(task_id)
        return ids

    def write(self, batch: Batch) -> None:
        """Appends the events of each task to its `metrics.jsonl`, whole or not at all.

        Raises:
            StoreError: The first that a task met; the other tasks' events were written.
        """
        refused: StoreError | None = None
        for task_id in list(batch):
            try:
                _append(self.root / task_id / "metrics.jsonl", f"[{','.join(batch[task_id])}]\n".encode())
                del batch[task_id]
            except StoreError as error:
                refused = refused or error
        if refused is not None:
            raise refused

    def reopen(self, ids: Sequence[str]) -> None:
        """Ends a line that a crash cut short, so that it takes no later one with it."""
        for task_id in ids:
            path = self.root / task_id / "metrics.jsonl"
            if _is_torn(path):
                _append(path, b"\n")

    def set_parameters(self, task_id: str, params: Mapping[str, Any]) -> None:
        """Rewrites `task.json`, or has ClearML do it once its own object is attached."""
        with self._lock:
            attached = self._attached.get(task_id)
            if attached is not None:
                sdk.set_parameters(attached, general(params))
                return
            path = self.root / task_id / "task.json"
            try:
                data = json.loads(path.read_text())
                data["hyperparams"].setdefault("General", {}).update(general(params))
                fresh = path.with_suffix(".json.new")
                fresh.write_text(json.dumps(data))
                os.replace(fresh, path)
            except OSError as error:
                raise StoreError(str(path), str(error)) from error

    def finish(self, endings: Sequence[Ending], timeout: float) -> list[Exception]:
        """Waits for ClearML's own uploads and has the disk take everything.

        The status is not in the session, where ClearML's importer would ignore it, but in the
        run's record.
        """
        errors: list[Exception] = []
        deadline = time.monotonic() + timeout
        for ending in endings:
            try:
                self.wait_for_uploads(ending.task_id, max(0.0, deadline - time.monotonic()))
                _sync(self.root / ending.task_id / "metrics.jsonl")
            except Exception as error:  # the other tasks must still end
                errors.append(error)
        return errors

    def wait_for_uploads(self, task_id: str, timeout: float) -> None:
        """Waits for what ClearML's own object of a task writes."""
        attached = self._attached.get(task_id)
        if attached is not None:
            sdk.wait_for_uploads(attached, timeout)
            del self._attached[task_id]

    def history(self, wanted: Mapping[str, Sequence[Name]]) -> dict[str, list[Point]]:
        """Reads the sessions' events; a session that is gone has none."""
        return {task_id: points_of(self.events(task_id), names) for task_id, names in wanted.items()}

    def events(self, task_id: str) -> Iterator[dict[str, Any]]:
        """Reads the API events of a session, without a line that a crash cut short."""
        try:
            lines = (self.root / task_id / "metrics.jsonl").open(encoding="utf-8")
        except FileNotFoundError:
            return
        with lines:
            for line in lines:
                with contextlib.suppress(ValueError):
                    yield from json.loads(line)

    def clearml_task(self, task_id: str) -> Any:
        """Attaches ClearML's own object to the session, once for each task."""
        with self._lock:
            if task_id not in self._attached:
                try:
                    (self.root / task_id / "data").mkdir(exist_ok=True)
                except OSError as error:
                    raise StoreError(str(self.root / task_id), str(error)) from error
                self._switched = self._switched or sdk.go_offline()
                self._attached[task_id] = sdk.open_task(task_id)
            return self._attached[task_id]

    def url(self, task_id: str) -> str | None:
        """The session folder, as a `file:` address."""
        return (self.root / task_id).as_uri()

    def close(self) -> None:
        """Lets go of ClearML's offline switch, if attaching had to turn it on.

        Not where ClearML's own uploads of a task are still under way: online, they would go astray.
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
        "execution": {"artifacts": []},
        "offline_folder": folder.as_posix(),
        "offline_output_models": [],
    }
    text = json.dumps(data)
    # The script, with its diff, can be large and is the same for every task: encoded once.
    return f'{text[:-1]}, "script": {script}}}' if script else text


def _append(path: Path, data: bytes) -> None:
    """Appends in one system call, so that lines of ours and of ClearML's own writer never mix."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            written = os.write(file, data)
            if written < len(data):
                os.ftruncate(file, os.fstat(file).st_size - written)
                raise OSError(f"only {written} of {len(data)} bytes could be written")
        finally:
            os.close(file)
    except OSError as error:
        raise StoreError(str(path), str(error)) from error


def _is_torn(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if not size:
                return False
            file.seek(size - 1)
            return file.read(1) != b"\n"
    except OSError:  # nothing was written yet
        return False


def _sync(path: Path) -> None:
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:  # a task without data
        return
    try:
        os.fsync(file)
    except OSError as error:
        raise StoreError(str(path), str(error)) from error
    finally:
        os.close(file)
