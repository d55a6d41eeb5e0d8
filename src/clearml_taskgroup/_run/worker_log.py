"""Lines of worker processes in the run log: that a worker has a task, and what it counted.

`map` returns a worker's counts with each result. A task that a user passes to joblib or to a pool
has no such way back: its worker writes a line when it begins, and a line with its counts when it is
done with the task. The process that opened the group reads these lines and merges the counts.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from typing import TYPE_CHECKING, Any

from .._clearml.notes import names_to_json
from .._log import logger
from .._model.metric_data import metrics_to_json
from .._storage.append_file import append_to, disk_errors
from .._storage.run_log import files_beside, is_alive
from . import forked, task_lines

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .._model.metrics import MetricKey
    from .._model.name_template import Name
    from .run import Run
    from .state import TaskState
    from .worker_counts import WorkerCounts


CLOSE_TIMEOUT_S = 5.0
"""How long the end of a group waits for living workers to write their counts."""
RESULTS_TIMEOUT_S = 1.0
"""The same for `results()`, which may be called while workers are busy."""
_POLL_INTERVAL_S = 0.01


class WorkerLog:
    """Reads what workers write into the run log and merges it into the run.

    Attributes:
        expected: Whether a task has been pickled, so that workers may write lines.
        troubles: What workers could not deliver.
    """

    def __init__(self) -> None:
        self.expected: bool = False
        self.troubles: list[Exception] = []
        self._offset = 0
        self._merged: dict[str, WorkerCounts] = {}
        self._working: dict[str, tuple[str, str, int]] = {}

    def expect(self, run: Run) -> None:
        """Starts to read the run log, from its present end on."""
        if not self.expected and run.run_log is not None:
            self._offset = run.run_log.size
            self.expected = True

    def merge(self, run: Run, timeout: float) -> None:
        """Merges what workers have counted, and waits for those that still work."""
        if not self.expected or run.run_log is None or run.in_child:
            return
        deadline = time.monotonic() + timeout
        while True:
            self._read(run, run.run_log.path)
            dead = [worker for worker, (_, host, pid) in self._working.items() if not lives(host, pid)]
            if dead:
                self._read(run, run.run_log.path)  # a worker may have written its counts before it ended
                self._mark_died(run, dead)
            if not self._working or time.monotonic() >= deadline:
                return
            time.sleep(_POLL_INTERVAL_S)

    def _mark_died(self, run: Run, workers: list[str]) -> None:
        for worker in workers:
            key, *_ = self._working.pop(worker, (None,))
            if key is not None:
                run.states[key].uncounted = True

    def close(self, run: Run) -> None:
        """Removes the files beside the run log that workers needed."""
        if run.run_log is not None and not run.in_child:
            for path in files_beside(run.run_log.path):
                if path.suffix.endswith("-begun"):
                    import shutil

                    shutil.rmtree(path, ignore_errors=True)
                elif path.suffix.startswith((".words", ".aborted")):
                    path.unlink(missing_ok=True)

    def _read(self, run: Run, path: Path) -> None:
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:  # somebody has deleted it; the run log itself says so
            return
        data = data[: data.rfind(b"\n") + 1]
        self._offset += len(data)
        if b'"guest": ' not in data and b'"forked": ' not in data:
            return
        for line in data.splitlines():
            if b'"guest": ' in line or b'"forked": ' in line:
                try:
                    self._take(run, json.loads(line))
                except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
                    logger.warning("a line of a worker in %s cannot be read: %r", path, error)

    def _take(self, run: Run, line: dict[str, Any]) -> None:
        state = run.states.get(line["key"])
        if state is None or state.id != line["id"]:
            return
        if "forked" in line:
            forked.take(run, state, line)
            return
        worker = line["guest"]
        if line["event"] == "names":
            task_lines.take_names(run, state, line)
            return
        if line["event"] == "guest":
            self._working[worker] = (line["key"], line["host"], line["pid"])
            return
        from .worker_counts import counts_from_json, merge

        counts = counts_from_json(line["counts"])
        merge(run, state, counts, self._merged.get(worker))
        self._merged[worker] = counts
        self._working.pop(worker, None)


def lives(host: str, pid: int) -> bool:
    """Whether a process lives; True if it cannot be known from here."""
    import platform

    return host != platform.node() or os.name == "nt" or is_alive(pid)


# --- in the worker ---------------------------------------------------------------------------------


def write_begin(run_log: Path | None, state: TaskState) -> str:
    """Writes that a worker has a task; returns the worker's name for `write_counts`."""
    import platform

    worker = uuid.uuid4().hex
    _append(run_log, "guest", worker, state, host=platform.node(), pid=os.getpid())
    return worker


def write_counts(run_log: Path | None, worker: str, state: TaskState, counts: WorkerCounts) -> None:
    """Writes what a worker has counted for a task that it is done with."""
    from .worker_counts import counts_to_json

    ended: dict[str, Any] = {}
    if not state.is_open:  # a resume reads these fields if the process that opened the run dies
        measures = metrics_to_json(counts.metrics)
        ended = {"status": state.status, "reason": state.reason, "measures": measures}
    _append(run_log, "told", worker, state, counts=counts_to_json(counts), **ended)


def write_names(run_log: Path | None, state: TaskState, names: Mapping[Name, MetricKey]) -> None:
    """Writes what names stand for that would be read back as another metric, in case the worker dies."""
    _append(run_log, "names", "", state, names=names_to_json(names))


def _append(run_log: Path | None, event: str, worker: str, state: TaskState, **fields: Any) -> None:
    if run_log is None:
        return
    # The names of version 0.1, which reads and writes run logs too: "guest", "told".
    line = {"event": event, "guest": worker, "id": state.id, "key": state.spec.key, **fields}
    line["time"] = round(time.time(), 3)
    with disk_errors(run_log):
        append_to(run_log, (json.dumps(line) + "\n").encode())
