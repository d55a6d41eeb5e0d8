"""The run's own record on disk: what was opened, how it ended. Append-only JSON lines."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import attrs

from .errors import StoreError


@attrs.define(eq=False)
class Record:
    """One run's record, `<cache>/taskgroup/<group id>/run-0001.jsonl`.

    The lines: `run` once, `task` for each task as it is opened, `end` as it ends, `close` once.
    """

    path: Path
    number: int
    _file: int
    _lock: threading.Lock = attrs.field(factory=threading.Lock, repr=False)

    @classmethod
    def start(cls, folder: Path) -> Record:
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
                    return cls(path, number, file)
                except FileExistsError:
                    number += 1
        except OSError as error:
            raise StoreError(str(folder), str(error)) from error

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


def run_number(path: Path) -> int:
    """Reads a run's number from its record's file name; 0 if it is something else."""
    digits = path.stem.removeprefix("run-")
    return int(digits) if digits.isdigit() else 0


def read(path: Path) -> list[dict[str, Any]]:
    """Reads a record; a line that a crash cut short is passed over."""
    lines = []
    for line in path.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines
