"""The run log: one JSONL file per run that lists which tasks were opened and how they ended.

Lines are only ever appended: by the process that opened the run, by its worker processes, and by what works
on the run later, such as an upload.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from .. import _fork
from .._clearml.hyperparameters import stored_parameters
from .._log import warn
from .._model.metric_data import metrics_to_json
from .._text import some
from ..errors import RunInUseError, StoreError, StoreWarning
from .append_file import (
    CLOSED,
    OWNER_ONLY_FOLDER,
    append_to,
    disk_errors,
    end_torn_line,
    lock,
    lock_holder,
    open_file,
)
from .append_file import append as append_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from .._model.specs import RunInfo, TaskSpec
    from .._run.state import TaskState


LATEST_LOGS = 20
"""How many run logs are looked at for the highest number; a process of a shared run may have an older one."""

PARSED_AT_ONCE = 8192
"""Characters of a run log that are parsed in one call, up to the end of a line."""


class _Kept(NamedTuple):
    """A line that the disk has not taken yet, and what it says."""

    data: bytes
    what: str


_dumps = json.JSONEncoder(default=str).encode


def _encoded(line: Mapping[str, Any], at: float) -> bytes:
    return f"{_dumps({**line, 'time': round(at, 3)})}\n".encode()


class RunLog:
    """The log of one open run, `<cache>/taskgroup/<group id>/run-0001.jsonl`.

    Each line has an `event`, as `task` when a task opens and `end` when it ends; the events and their fields
    are in `run_log_schema`. Of several `end` lines of a task, the last one counts. The file is locked while
    the run is open.

    Attributes:
        path: The file.
        number: The run's number, as in the file's name.
        run_path: The log of the whole run; another file if several processes share the run.
        session: How often the run has become empty, if several processes share it.
        is_optional: Whether the run goes on without it, with a warning, once somebody deletes it.
    """

    def __init__(self, path: Path, number: int, file: int, run_path: Path | None = None) -> None:
        self.path = path
        self.number = number
        self.run_path: Path = run_path or path
        self.session = 0
        self.is_optional = False
        self._file = file
        self._lock = threading.Lock()
        self._kept: list[_Kept] = []
        self._whole = 0
        """The file's size after this process has written to it."""
        _open_logs.add(self)

    @classmethod
    def start(cls, folder: Path) -> RunLog:
        """Creates the log of a new run, with a number that no other process has.

        Raises:
            StoreError: The folder cannot be written to.
        """
        with disk_errors(folder):
            folder.mkdir(OWNER_ONLY_FOLDER, parents=True, exist_ok=True)
            names = max((run_number(path) for path in folder.glob("run-*.jsonl")), default=0)
            number = 1 + max(names, last_number_on_disk(folder))
            while True:
                path = folder / f"run-{number:04}.jsonl"
                try:
                    file = open_file(path, os.O_CREAT | os.O_EXCL)
                    break
                except FileExistsError:
                    number += 1
        lock(file)
        return cls(path, number, file)

    @classmethod
    def start_beside(cls, path: Path, process: str) -> RunLog:
        """Creates the log of one process of a shared run, beside the log of the run itself.

        Raises:
            StoreError: The folder cannot be written to.
        """
        own = path.with_suffix(f".{process}.jsonl")
        with disk_errors(own):
            file = open_file(own, os.O_CREAT | os.O_EXCL)
        lock(file)
        return cls(own, run_number(path), file, run_path=path)

    @classmethod
    def reopen(cls, path: Path, takeover: bool = False) -> RunLog:
        """Opens the log of an earlier run to continue it.

        Args:
            path: The file.
            takeover: Whether to continue it although a living process has it open.

        Raises:
            RunInUseError: A living process has it open, and `takeover` is False.
            StoreError: It cannot be written to.
        """
        with disk_errors(path):
            file = open_file(path)
            if not lock(file) and not takeover:
                os.close(file)
                raise in_use(path, resume=True)
            end_torn_line(file)
        return cls(path, run_number(path), file)

    @property
    def size(self) -> int:
        """Bytes in the file; 0 once it is closed."""
        return os.fstat(self._file).st_size if self._file != CLOSED else 0

    def after_fork(self) -> None:
        """Closes the file in a forked child: it, and the lock on it, belong to the parent process."""
        file, self._file = self._file, CLOSED
        self._lock = threading.Lock()
        if file != CLOSED:
            os.close(file)

    def write(self, lines: list[dict[str, Any]]) -> None:
        """Appends lines at once, each with the time in seconds; does nothing after `close`.

        Raises:
            StoreError: The disk is full or broken.
        """
        at = time.time()
        new = [_encoded(line, at) for line in lines]
        with self._lock:
            if (
                self._file == CLOSED
                or not (new or self._kept)
                or (size := self._size_unless_deleted()) is None
            ):
                return
            data = b"".join([*[kept.data for kept in self._kept], *new])
            with disk_errors(self.path):
                self._whole = append_bytes(self._file, data, whole=self._whole, size=size)
            self._kept.clear()

    def check(self) -> None:
        """Checks that nobody has deleted the file; see `is_optional`.

        Raises:
            StoreError: Somebody has.
        """
        with self._lock:
            if self._file != CLOSED:
                self._size_unless_deleted()

    def _size_unless_deleted(self) -> int | None:
        """Gives the file's size; if it was deleted and is optional, closes it and gives None.

        Raises:
            StoreError: It was deleted, and is not optional.
        """
        status = os.fstat(self._file)
        if status.st_nlink > 0:
            return status.st_size
        if not self.is_optional:
            raise StoreError(str(self.path), os.strerror(errno.ENOENT), errno.ENOENT)
        file, self._file = self._file, CLOSED
        os.close(file)
        self._kept.clear()
        warn(
            f"{self.path} was deleted while the group used it: data that the server has not received is lost "
            "if the process dies, and resume works from the server alone. Clean the cache between runs only",
            StoreWarning,
        )
        return None

    def keep(self, lines: Iterable[tuple[dict[str, Any], str]]) -> None:
        """Appends lines; on a full disk, the next call that finds room writes them, `close` at the latest.

        Args:
            lines: Each line, and what it says, for the error of `close`.
        """
        with self._lock:
            at = time.time()
            self._kept += [_Kept(_encoded(line, at), what) for line, what in lines]
        with contextlib.suppress(StoreError):
            self.write([])

    def close(self) -> None:
        """Syncs the file to disk and closes it.

        Raises:
            StoreError: Lines of `keep` still cannot be written, or the disk is broken.
        """
        lost: StoreError | None = None
        try:
            self.write([])
        except StoreError as error:
            lost, error.what = error, some([kept.what for kept in self._kept], 3)
        with self._lock, disk_errors(self.path):
            file, self._file = self._file, CLOSED
            if file != CLOSED:
                try:
                    if lost is None:
                        os.fsync(file)
                finally:
                    os.close(file)
        if lost is not None:
            raise lost

    # --- the lines -----------------------------------------------------------------------------

    def run_opened(self, info: RunInfo, mode: str, parent: str | None, owns_parent: bool, pid: int) -> None:
        """Logs that a run was opened, or opened again by a resume."""
        self.write([{**run_line(info, mode, parent, owns_parent), "pid": pid}])

    def opening(self, specs: Iterable[TaskSpec]) -> None:
        """Logs that tasks are about to be created on the server."""
        self.write([{"event": "opening", "key": spec.key, "attempt": spec.attempt} for spec in specs])

    def tasks_opened(self, states: Iterable[TaskState]) -> None:
        """Logs that tasks were opened."""
        self.write(
            [
                {
                    "event": "task",
                    "id": state.id,
                    "key": state.spec.key,
                    "name": state.spec.name,
                    "index": state.spec.index,
                    "attempt": state.spec.attempt,
                    "params": stored_parameters(state.params),
                    "session": self.session,
                }
                for state in states
            ]
        )

    def tasks_ended(self, states: Iterable[TaskState]) -> None:
        """Logs how tasks ended, and what they reported."""
        self.keep((_end_of(state), f"the end of {state.spec.name!r} ({state.status})") for state in states)

    def run_closed(self, status: str, reason: str, delivered: bool) -> None:
        """Logs the end of a run.

        Args:
            status: How it ended.
            reason: Why, for people.
            delivered: Whether the parent's end is stored in the backend.
        """
        line = {"event": "close", "status": status, "reason": reason, "settled": delivered}
        self.keep([(line, f"the end of the run ({status})")])


def run_line(info: RunInfo, mode: str, parent: str | None, owns_parent: bool) -> dict[str, Any]:
    """Returns the line that begins a run log."""
    return {
        "event": "run",
        "group": info.group_id,
        "project": info.project,
        "name": info.name,
        "run": info.run,
        "number": info.number,
        "template": info.template,
        "metrics": info.metrics,
        "mode": mode,
        "parent": parent,
        "owns_parent": owns_parent,
        "shared": info.shared or None,
    }


def _end_of(state: TaskState) -> dict[str, Any]:
    """Returns the line of a task that has ended, in the words of the format: `measures` are metrics."""
    metrics = list(state.metrics.values())
    line = {
        "event": "end",
        "id": state.id,
        "key": state.spec.key,
        "status": state.status,
        "reason": state.reason,
        "duration": round(state.duration, 3),
        "points": sum([data.stats.count for data in metrics]),
        "left_out": sum([data.skipped for data in metrics]),
        "settled": state.finished,
        "measures": metrics_to_json(state.metrics),
    }
    if len(state.params) > len(state.spec.params):  # others were added, and none can be changed
        line["params"] = stored_parameters(state.params)
    return line


def last_number_on_disk(folder: Path) -> int:
    """Reads the highest number of a group's latest runs on this disk; a server gives runs other numbers."""
    latest = sorted(folder.glob("run-*.jsonl"), key=run_number)[-LATEST_LOGS:]
    numbers = [read_first(path).get("number") for path in latest]
    return max((number for number in numbers if type(number) is int), default=0)


def run_number(path: Path) -> int:
    """Reads a run's number from the name of its log; 0 if it has another name."""
    digits = path.stem.removeprefix("run-")
    return int(digits) if digits.isdecimal() and digits.isascii() else 0


def iterate(path: Path) -> Iterator[dict[str, Any]]:
    """Reads one line after another, without those that a crash or a full disk cut short."""
    with _opened(path) as file:
        while lines := file.readlines(PARSED_AT_ONCE):
            yield from _parsed_at_once(lines) or filter(None, map(_parsed_end, lines))


def _opened(path: Path) -> TextIO:
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # a pipe is waited for, a device has no end
        raise OSError(errno.EINVAL, "not a regular file")
    return path.open(encoding="utf-8", errors="replace")


def _parsed_at_once(lines: list[str]) -> list[dict[str, Any]]:
    """Reads several whole lines, in two thirds of the time; empty if some are anything else."""
    try:
        events = json.loads(f"[{','.join(lines)}]")
    except (ValueError, RecursionError):
        return []
    return events if len(events) == len(lines) and all(type(event) is dict for event in events) else []


def _parsed_end(line: str) -> dict[str, Any] | None:
    event = _parsed(line)
    if event is None and (start := line.rfind('{"event": "')) > 0:  # a whole line follows a torn one
        event = _parsed(line[start:])
    return event


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None  # users may give any file as a run log


def read_first(path: Path) -> dict[str, Any]:
    """Reads the first line of a run log; empty if there is none."""
    try:
        with _opened(path) as file:
            return _parsed(file.readline()) or {}
    except OSError:
        return {}


def append(path: Path, lines: list[dict[str, Any]]) -> None:
    """Appends lines to the log of a run that no process has open."""
    with disk_errors(path):
        append_to(path, b"".join([_encoded(line, time.time()) for line in lines]))


def in_use(path: Path, *, resume: bool) -> RunInUseError:
    """Makes the error for a run that a living process has open; names group and processes if known.

    Args:
        path: The run log.
        resume: Whether the run was to be resumed, which `takeover=True` can force.
    """
    from .processes import living, readable  # seldom needed

    runs = [line for line in iterate(path) if line.get("event") == "run"]
    facts = runs[-1] if runs else {}
    group = f"{facts['project']}/{facts['name']}" if {"project", "name"} <= facts.keys() else ""
    if any(log.path == path and log._file != CLOSED for log in _open_logs):
        advice = "call group.close() first" + (
            ", in a notebook in an earlier cell, or give takeover=True" if resume else ""
        )
        return RunInUseError(str(path), "this process has it open", group, advice)
    error = RunInUseError(str(path), group=group)
    error.advice = error.advice if resume else "wait until it has ended"
    # While a run is being resumed, its log still names an earlier process.
    pid = next((one for one in (lock_holder(path), facts.get("pid")) if is_alive(one)), None)
    if members := sorted(living(path)):
        share = "share" if len(members) > 1 else "shares"
        error.since = f"{some([readable(one) for one in members], 4)} {share} it"
    elif pid is not None:
        error.since += f", pid {pid}"
    return error


def is_alive(pid: Any) -> bool:
    """Whether a process of this machine is alive; always False on Windows."""
    if not isinstance(pid, int) or os.name == "nt":  # where the signal 0 ends a process
        return False
    try:
        os.kill(pid, 0)
    except (OSError, OverflowError) as error:
        return isinstance(error, PermissionError)
    return True


def files_in(folder: Path) -> list[Path]:
    """Returns what is in a folder, sorted by name; nothing if it is none, or cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def files_beside(path: Path) -> list[Path]:
    """Returns the other files of a run, such as its outbox: those with the run log's name before the dot."""
    names = [file for file in files_in(path.parent) if file.name.startswith(f"{path.stem}.")]
    return [file for file in names if not file.name.startswith(path.name)]


_open_logs: weakref.WeakSet[RunLog] = weakref.WeakSet()


@_fork.in_child
def _close_logs() -> None:
    for log in list(_open_logs):
        log.after_fork()
