"""The run's own record on disk: what was opened, how it ended. Append-only JSON lines."""

from __future__ import annotations

import json
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import attrs

from .. import _fork
from .._clearml.hyperparameters import stored_parameters
from ..errors import RunInUseError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from .._model.specs import RunInfo, TaskSpec
    from .._run.state import TaskState

try:
    import fcntl
except ImportError:  # Windows: a living run is not told from a dead one there
    fcntl = None  # type: ignore[assignment]


@attrs.define(eq=False)
class RunLog:
    """One run's record, `<cache>/taskgroup/<group id>/run-0001.jsonl`.

    The lines: `run` once, `task` for each task as it is opened, `end` as it ends, `close` once.
    """

    path: Path
    number: int
    _file: int
    _lock: threading.Lock = attrs.field(factory=threading.Lock, repr=False)

    @classmethod
    def start(cls, folder: Path) -> RunLog:
        """Starts the record of a new run; its number is one that no other process has.

        Raises:
            StoreError: The folder cannot be written to.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            number = 1 + max((run_number(path) for path in folder.glob("run-*.jsonl")), default=0)
            while True:
                path = folder / f"run-{number:04}.jsonl"
                try:
                    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
                    break
                except FileExistsError:
                    number += 1
        except OSError as error:
            raise StoreError(str(folder), str(error)) from error
        lock(file)
        return cls(path, number, file)._alive()

    @classmethod
    def reopen(cls, path: Path, takeover: bool = False) -> RunLog:
        """Goes on with the record of an earlier run.

        Raises:
            RunInUseError: A living process holds it, and `takeover` is not given.
            StoreError: It cannot be written to.
        """
        try:
            file = os.open(path, os.O_RDWR | os.O_APPEND)
            if not lock(file) and not takeover:
                os.close(file)
                if any(record.path == path and record._file >= 0 for record in _open):
                    raise RunInUseError(str(path), "this living process has it open, close() that group")
                raise in_use(path)
            size = os.fstat(file).st_size
            if size and os.pread(file, 1, size - 1) != b"\n":
                os.write(file, b"\n")  # ends a line that a crash cut short
        except OSError as error:
            raise StoreError(str(path), str(error)) from error
        return cls(path, run_number(path), file)._alive()

    def _alive(self) -> RunLog:
        _open.add(self)
        return self

    def after_fork(self) -> None:
        """Has a child let go: the record, and the lock on it, are its parent's."""
        file, self._file = self._file, -1
        self._lock = threading.Lock()
        if file >= 0:
            os.close(file)

    def write(self, event: str, **facts: Any) -> None:
        """Appends a line; each is whole, whatever other processes append."""
        self.write_all([{"event": event, **facts}])

    def write_all(self, lines: list[dict[str, Any]]) -> None:
        """Appends several lines at once, each with the time in seconds.

        Raises:
            StoreError: The disk refuses.
        """
        at = round(time.time(), 3)
        data = "".join(json.dumps({**line, "time": at}, default=str) + "\n" for line in lines).encode()
        with self._lock:
            if self._file < 0:
                return
            try:
                written = os.write(self._file, data)
            except OSError as error:
                raise StoreError(str(self.path), str(error)) from error
            if written < len(data):
                raise StoreError(str(self.path), f"only {written} of {len(data)} bytes could be written")

    def close(self) -> None:
        """Has the disk take the record and lets go of the file."""
        with self._lock:
            file, self._file = self._file, -1
            if file >= 0:
                try:
                    os.fsync(file)
                finally:
                    os.close(file)

    # --- the lines -----------------------------------------------------------------------------

    def run_opened(self, info: RunInfo, mode: str, parent: str | None, owns_parent: bool, pid: int) -> None:
        """Logs that a run was opened, or opened again by a resume."""
        self.write(
            "run",
            group=info.group_id,
            project=info.project,
            name=info.name,
            run=info.run,
            number=info.number,
            template=info.template,
            metrics=info.metrics,
            mode=mode,
            parent=parent,
            owns_parent=owns_parent,
            pid=pid,
        )

    def opening(self, specs: Iterable[TaskSpec]) -> None:
        """Logs that tasks are about to be created on the server."""
        self.write_all([{"event": "opening", "key": spec.key, "attempt": spec.attempt} for spec in specs])

    def tasks_opened(self, states: Iterable[TaskState]) -> None:
        """Logs that tasks were opened."""
        self.write_all(
            [
                {
                    "event": "task",
                    "id": state.id,
                    "key": state.spec.key,
                    "name": state.spec.name,
                    "index": state.spec.index,
                    "attempt": state.spec.attempt,
                    "params": stored_parameters(state.params),
                }
                for state in states
            ]
        )

    def tasks_ended(self, states: Iterable[TaskState]) -> None:
        """Logs how tasks ended, and what they reported."""
        self.write_all([_end_line(state) for state in states])

    def run_closed(self, status: str, reason: str, delivered: bool) -> None:
        """Logs the end of a run.

        Args:
            status: How it ended.
            reason: Why, for people.
            delivered: Whether the parent's end is stored in the backend.
        """
        self.write("close", status=status, reason=reason, settled=delivered)


def _end_line(state: TaskState) -> dict[str, Any]:
    names = state.names.spelt()
    return {
        "event": "end",
        "id": state.id,
        "key": state.spec.key,
        "status": state.status,
        "reason": state.reason,
        "duration": round(state.duration, 3),
        "params": stored_parameters(state.params),
        "points": sum(stats.count for stats in state.names.stats.values()),
        "left_out": sum(state.nonfinite.values()),
        "settled": state.finished,
        "measures": [
            [metric, dict(context), attrs.asdict(stats), names.get((metric, context), [])]
            for (metric, context), stats in state.names.stats.items()
            if stats.count
        ],
    }


def run_number(path: Path) -> int:
    """Reads a run's number from its record's file name; 0 if it is something else."""
    digits = path.stem.removeprefix("run-")
    return int(digits) if digits.isdigit() else 0


def read(path: Path) -> list[dict[str, Any]]:
    """Reads a record; a line that a crash cut short is passed over."""
    lines = []
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):  # any file may have been given for a record
            lines.append(event)
    return lines


def read_first(path: Path) -> dict[str, Any]:
    """Reads a record's first line; empty where there is none."""
    try:
        with path.open("rb") as file:
            line: dict[str, Any] = json.loads(file.readline())
            return line
    except (OSError, ValueError):
        return {}


def append(path: Path, lines: list[dict[str, Any]]) -> None:
    """Appends lines to the record of a run that no process has open."""
    at = round(time.time(), 3)
    with path.open("a") as file:
        file.write("".join(json.dumps({**line, "time": at}) + "\n" for line in lines))


def lock(file: int) -> bool:
    """Locks an open record for this process; tells whether nobody else holds it.

    The lock goes with the process, however it ends.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def in_use(path: Path) -> RunInUseError:
    """Tells whose run it is that a living process holds, and which process that is, if it is known."""
    runs = [line for line in read(path) if line.get("event") == "run"]
    facts = runs[-1] if runs else {}
    group = f"{facts['project']}/{facts['name']}" if {"project", "name"} <= facts.keys() else ""
    error = RunInUseError(str(path), group=group)
    if is_alive(facts.get("pid")):
        error.since += f", pid {facts['pid']}"
    return error


def is_alive(pid: Any) -> bool:
    """Tells whether a process lives on this machine, not on Windows."""
    if not isinstance(pid, int) or fcntl is None:
        return False
    try:
        os.kill(pid, 0)
    except (OSError, OverflowError) as error:
        return isinstance(error, PermissionError)
    return True


_open: weakref.WeakSet[RunLog] = weakref.WeakSet()


@_fork.in_child
def _let_go() -> None:
    for record in list(_open):
        record.after_fork()
