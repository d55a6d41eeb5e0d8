"""Storage for worker processes: the events of a task that another process has opened.

On the same machine a worker appends to the run's outbox, which the process that opened the run
delivers: one login, one request in flight, and no task ends before its points are delivered. On
another machine, which does not have that file, the worker delivers its events itself.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import attrs

from .append_file import CLOSED, append, disk_errors, open_file, shared_lock
from .base import Backend
from .kept_files import KeptFiles
from .outbox import TORN, to_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from .._clearml.events import Batch
    from .._model.specs import Ending, RunInfo, TaskSpec
    from .online import OnlineBackend


@attrs.define(eq=False)
class WorkerBackend(Backend):
    """Tasks on a server, for a worker on the machine of the process that opened the run.

    Args:
        outbox: The file of the run's outbox.
        connect: Logs in to the server; called when the server is first needed.
    """

    outbox: Path
    connect: Callable[[], OnlineBackend]
    mode: str = "online"
    _file: int = CLOSED
    _online: OnlineBackend | None = None
    _lock: threading.RLock = attrs.field(factory=threading.RLock, repr=False)

    @property
    def where(self) -> str:
        """The outbox, which the process that opened the run delivers."""
        return str(self.outbox)

    def create(self, run: RunInfo, specs: Sequence[TaskSpec], parent: str | None) -> list[str]:
        """Never called: only the process that opened the run creates tasks."""
        raise NotImplementedError

    def write(self, batch: Batch) -> None:
        """Appends events to the run's outbox, all of them or none.

        Raises:
            StoreError: The disk is full or broken, or the run has ended and removed its outbox.
        """
        with disk_errors(self.outbox):
            if self._file == CLOSED:
                self._file = open_file(self.outbox)
            if os.fstat(self._file).st_nlink == 0:
                raise OSError("the group has been closed in the process that opened it")
            with shared_lock(self._file):
                append(self._file, to_lines(batch), TORN)
        batch.clear()

    @property
    def online(self) -> OnlineBackend:
        """The server; the first use logs in."""
        with self._lock:
            if self._online is None:
                self._online = self.connect()
                self._online.kept_files = KeptFiles(self.outbox.with_suffix(".files"))
            return self._online

    def set_parameters(self, task_id: str, params: Mapping[str, Any]) -> None:
        """Adds parameters to the section `General`."""
        self.online.set_parameters(task_id, params)

    def clearml_task(self, task_id: str) -> Any:
        """Opens ClearML's own object of a task, once."""
        return self.online.clearml_task(task_id)

    def flush_clearml_task(self, task_id: str, timeout: float) -> None:
        """Waits until what ClearML's own object of a task has logged was sent."""
        if self._online is not None:
            self._online.flush_clearml_task(task_id, timeout)

    def wait_for_uploads(self, task_id: str, timeout: float) -> None:
        """Waits for ClearML's own uploads of a task."""
        if self._online is not None:
            self._online.wait_for_uploads(task_id, timeout)

    def finish(self, endings: Sequence[Ending], timeout: float) -> dict[str, Exception]:
        """Does nothing: the process that opened the run sets the statuses."""
        return {}

    def close(self) -> None:
        """Closes the file and the connection."""
        file, self._file = self._file, CLOSED
        if file != CLOSED:
            os.close(file)
        if self._online is not None:
            self._online.close()
