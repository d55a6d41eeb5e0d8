"""Where a worker process puts the events of a task that another process has opened.

On the same machine a worker appends to the run's own outbox, and the process that opened the run
delivers it: one login, one request in flight, and no task ends before its points are through. On
another machine, where that file is not, the worker delivers by itself.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from typing import TYPE_CHECKING, Any

import attrs

from ..errors import StoreError
from .base import Backend
from .outbox import TORN, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from .._clearml.events import Batch
    from .._model.specs import Ending, RunInfo, TaskSpec
    from .online import OnlineBackend


@attrs.define(eq=False)
class WorkerBackend(Backend):
    """Tasks on a server, as a worker on the run's own machine sees them.

    Args:
        outbox: The run's outbox.
        connect: Logs in at the server, where that is needed.
    """

    outbox: Path
    connect: Callable[[], OnlineBackend]
    mode: str = "online"
    _file: int = -1
    _online: OnlineBackend | None = None
    _lock: threading.RLock = attrs.field(factory=threading.RLock, repr=False)

    @property
    def where(self) -> str:
        """The outbox, which the run's own process delivers."""
        return str(self.outbox)

    def create(self, run: RunInfo, specs: Sequence[TaskSpec], parent: str | None) -> list[str]:
        """Never called: tasks are opened in one process."""
        raise NotImplementedError

    def write(self, batch: Batch) -> None:
        """Appends events to the run's outbox, all of them or none.

        Raises:
            StoreError: The disk refuses, or the run has ended and taken its outbox away.
        """
        data = ("\n".join(itertools.chain.from_iterable(batch.values())) + "\n").encode()
        try:
            if self._file < 0:
                self._file = os.open(self.outbox, os.O_WRONLY | os.O_APPEND)
            if os.fstat(self._file).st_nlink == 0:
                raise OSError("the group has been closed in the process that opened it")
            with writing(self._file):
                written = os.write(
                    self._file, data
                )  # one call, so that no other writer's lines get in between
                if written < len(data):
                    with contextlib.suppress(OSError):
                        os.write(self._file, b"\n" + TORN)
                    raise OSError(f"only {written} of {len(data)} bytes could be written")
        except OSError as error:
            raise StoreError(str(self.outbox), str(error)) from error
        batch.clear()

    @property
    def online(self) -> OnlineBackend:
        """The server itself, logged in to when it is first needed."""
        with self._lock:
            if self._online is None:
                self._online = self.connect()
            return self._online

    def set_parameters(self, task_id: str, params: Mapping[str, Any]) -> None:
        """Adds parameters to the section `General`."""
        self.online.set_parameters(task_id, params)

    def clearml_task(self, task_id: str) -> Any:
        """Opens ClearML's own object, once for each task."""
        return self.online.clearml_task(task_id)

    def wait_for_uploads(self, task_id: str, timeout: float) -> None:
        """Waits for ClearML's own uploads of a task."""
        if self._online is not None:
            self._online.wait_for_uploads(task_id, timeout)

    def finish(self, endings: Sequence[Ending], timeout: float) -> list[Exception]:
        """Nothing: statuses are told by the process that opened the run."""
        return []

    def close(self) -> None:
        """Lets go of the file and of the connection."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
        if self._online is not None:
            self._online.close()
