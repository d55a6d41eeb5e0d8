"""What earlier runs have left on this disk: read back from their records."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._model.past import PastRun, PastTask
from ..errors import ArgumentError
from .append_file import end_torn_line, lock
from .run_log import in_use, read, read_first, run_number

if TYPE_CHECKING:
    from collections.abc import Iterator


def load(path: Path) -> PastRun | None:
    """Reads a run's record; None if it ends before the run began."""
    past: PastRun | None = None
    facts: dict[str, Any]
    for line in read(path):
        event = line.get("event")
        if event == "run":
            facts = {name: line.get(name) for name in _RUN_FACTS}
            if past is None:
                past = PastRun(path=path, metrics=line.get("metrics"), started=line.get("time"), **facts)
            else:  # a resumed run is open again
                past.parent, past.owns_parent = line.get("parent"), bool(line.get("owns_parent"))
                past.status, past.settled, past.uploaded = None, False, False
        elif past is None:
            continue
        elif event == "opening":
            past.opening.add((line["key"], line["attempt"]))
        elif event == "task":
            known = past.tasks.get(line["id"])
            if known is not None:  # gone on with: open again
                known.status, known.settled, known.uploaded = None, False, ""
            else:
                facts = {name: line[name] for name in _TASK_FACTS}
                past.tasks[line["id"]] = PastTask(**facts, opened=line.get("time"))
        elif event == "end" and line["id"] in past.tasks:
            task = past.tasks[line["id"]]
            task.status, task.reason = line["status"], line["reason"]
            task.settled, task.measures = bool(line.get("settled")), line.get("measures", [])
            task.params, task.duration = line.get("params", task.params), line.get("duration", task.duration)
        elif event == "told" and line["id"] in past.tasks and "status" in line:  # by a worker
            task = past.tasks[line["id"]]
            task.status, task.reason, task.measures = line["status"], line["reason"], line["measures"]
        elif event == "settled" and line["id"] in past.tasks:
            past.tasks[line["id"]].settled = True
        elif event == "close":
            past.status, past.reason = line["status"], line["reason"]
            past.settled = bool(line.get("settled", True))
        elif event == "uploaded" and line.get("id") in past.tasks:
            past.tasks[line["id"]].uploaded = line["to"]
        elif event == "uploaded":
            past.uploaded = True
    return past


_RUN_FACTS = (
    "group",
    "project",
    "name",
    "run",
    "number",
    "template",
    "mode",
    "parent",
    "owns_parent",
)
_TASK_FACTS = ("id", "key", "name", "index", "attempt", "params")


def records(folder: Path) -> list[Path]:
    """The records of one group's runs, the latest last."""
    return sorted(folder.glob("run-*.jsonl"), key=run_number)


def record_of(folder: Path, run: str) -> Path | None:
    """Finds the record of a run of a group; an online run's that was resumed here may be an older one."""
    for path in reversed(records(folder)):
        with path.open() as file:
            first = file.readline()
        if f'"{run}"' in first:
            return path
    return None


def latest_run(folder: Path, mode: str | None = None) -> PastRun | None:
    """Reads the latest run of a group, or the latest in one mode."""
    for path in reversed(records(folder)):
        past = load(path)
        if past is not None and mode in (None, past.mode):
            return past
    return None


def all_runs(root: Path) -> list[PastRun]:
    """Reads all runs of all groups, in the order of their records."""
    folders = sorted(folder for folder in root.glob("*") if folder.is_dir())
    found = (load(path) for folder in folders for path in records(folder))
    return [past for past in found if past is not None]


def group_names(root: Path, project: str) -> list[str]:
    """Finds the names of a project's groups, by the first lines of their records."""
    firsts = (read_first(path) for folder in root.glob("*") for path in records(folder)[-1:])
    return sorted({str(line.get("name")) for line in firsts if line.get("project") == project})


def find_run(root: Path, wanted: str | Path) -> PastRun:
    """Finds a run by its record's path, by its id, or its group's latest by the group's id.

    Raises:
        ArgumentError: There is none.
    """
    path = Path(wanted)
    if path.is_file():
        past = load(path)
        if past is not None:
            return past
    text = str(wanted)
    # An agent's record of one task comes after the record of the whole run.
    latest_first = all_runs(root)[::-1]
    for past in sorted(latest_first, key=lambda past: past.mode == "agent"):
        if text in (past.run, past.parent, past.group) or (len(text) >= 6 and past.run.startswith(text)):
            return past
    raise ArgumentError("run", text, f"the path of a run's record, or the id of a run or group below {root}")


def is_held(path: Path) -> bool:
    """Tells whether a living process works on a run."""
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return not lock(file)
    finally:
        os.close(file)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Holds a run's record, so that no other process goes on with the run or uploads it.

    Raises:
        RunInUseError: A living process holds it.
    """
    file = os.open(path, os.O_RDWR | os.O_APPEND)
    try:
        if not lock(file):
            raise in_use(path)
        end_torn_line(file)
        yield
    finally:
        os.close(file)
