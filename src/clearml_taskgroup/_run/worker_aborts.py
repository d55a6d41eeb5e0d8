"""Aborts in other processes: a file beside the run log names the tasks that somebody else has ended.

The process that opened the group finds them and writes the file; workers and forked children look at it
while they report. A worker on a machine that does not have the file asks the server itself.
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING

from .._log import logger
from .._storage.append_file import append_to
from .reporter import QUEUE_INTERVAL_S
from .state import Abort

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from .._model.specs import ForeignStatus
    from .run import Run
    from .state import TaskState

ALL = ""
"""In place of a task's id: the whole run was stopped."""


def abort_path(run_log: Path) -> Path:
    """Returns the path of the file."""
    return run_log.with_suffix(".aborted")


def write(run: Run, aborts: Mapping[str, Abort]) -> None:
    """Tells the other processes of a run which tasks were aborted, by ClearML task id, or `ALL`."""
    if run.run_log is None or run.in_child or not aborts:
        return
    lines = [json.dumps([task_id, *how]) + "\n" for task_id, how in aborts.items()]
    try:
        append_to(abort_path(run.run_log.path), "".join(lines).encode(), create=True)
    except OSError as error:  # a full disk: then the other processes go on
        logger.warning("worker processes could not be told which tasks were aborted: %s", error)


def remove(run: Run) -> None:
    """Removes the file, also one that a killed process has left."""
    if run.run_log is not None and not run.in_child:
        with contextlib.suppress(OSError):
            abort_path(run.run_log.path).unlink()


class WorkerAborts:
    """What a worker or a forked child knows of aborts.

    Args:
        path: The file; None on a machine that does not have it.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._found: dict[str, Abort] = {}
        self._foreign: dict[str, ForeignStatus] = {}
        self._offset = 0
        self._next_look = 0.0

    @property
    def is_due(self) -> bool:
        """Whether `apply` may find anything; cheap enough for each report."""
        return bool(self._found or self._foreign) or time.monotonic() >= self._next_look

    def take(self, found: Mapping[str, ForeignStatus]) -> None:
        """Takes what the server says of tasks of this process."""
        self._foreign |= found

    def apply(self, states: Iterable[TaskState], parent: tuple[str, str | None] = ("", None)) -> None:
        """Marks those tasks as aborted that are; looks at the file at most every quarter of a second.

        Args:
            states: The tasks.
            parent: Name and id of the run's parent, if the server is asked for it.
        """
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + QUEUE_INTERVAL_S
            self._read()
        if not self._found and not self._foreign:
            return
        name, parent_id = parent
        stopped = self._foreign.get(parent_id or ALL)
        if stopped is not None and stopped.word == "stopped":
            self._found[ALL] = Abort.of_run(name, parent_id, stopped.reason)
        for state in states:
            how = self._found.get(state.id) or self._found.get(ALL)
            if how is None and state.id in self._foreign:
                how = Abort.of_task(state, self._foreign[state.id])
            if how is None or state.abort(how):
                continue
            if (how.status, how.reason) == (state.status, state.reason):  # before the task came here
                state.aborted = how

    def _read(self) -> None:
        if self.path is None:
            return
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
            data = data[: data.rfind(b"\n") + 1]
            self._offset += len(data)
            for line in data.splitlines():
                task_id, args, status, reason = json.loads(line)
                self._found[task_id] = Abort(tuple(args), status, reason)
        except FileNotFoundError:
            return
        except (OSError, TypeError, ValueError) as error:
            logger.debug("%s cannot be read: %s", self.path, error)
