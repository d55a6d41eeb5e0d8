"""Final statuses that a person or another client has given a run's tasks: they are found, kept and logged."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml.queries import pages_of
from .._clearml.tasks import DELETED, foreign_status, status_documents
from .._log import logger
from .._text import some

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .._clearml.api import Transport
    from .._model.specs import Ending, ForeignStatus


@attrs.define(eq=False)
class ForeignStatuses:
    """What somebody else has done to tasks on a server.

    Args:
        transport: Calls the server.
        describe: Names a task in a log line, with what was done to it.

    Attributes:
        adopted: The final statuses that somebody else has set, by task id.
        archived: The ids of tasks that were archived when they were last looked up.
    """

    transport: Transport
    describe: Callable[[str, ForeignStatus], str]
    adopted: dict[str, ForeignStatus] = attrs.field(factory=dict, init=False)
    archived: set[str] = attrs.field(factory=set, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def look_up(self, endings: Iterable[Ending], timeout: float, ended: bool = False) -> None:
        """Asks the server for the tasks' statuses, in one call for each 500, and adopts those of others.

        Args:
            endings: How this process ends the tasks.
            timeout: Time limit in seconds.
            ended: Whether it has ended them already; else the attempt to do so shows which were deleted.

        Raises:
            Unreachable: The server is away.
        """
        deadline = time.monotonic() + timeout
        asked = {ending.task_id: ending for ending in endings}
        documents: dict[str, Any] = {}
        for page in pages_of(list(asked)):
            documents |= status_documents(self.transport, page, max(0.0, deadline - time.monotonic()))
        found = {task_id: foreign_status(document, asked[task_id]) for task_id, document in documents.items()}
        if ended:
            found |= dict.fromkeys(asked.keys() - documents.keys(), DELETED)
        tags = {task_id: document.get("system_tags") or () for task_id, document in documents.items()}
        self.archived -= asked.keys()
        self.archived |= {task_id for task_id, task_tags in tags.items() if "archived" in task_tags}
        self.adopt({task_id: status for task_id, status in found.items() if status is not None})

    def adopt(self, found: Mapping[str, ForeignStatus], consequence: str = "") -> None:
        """Keeps statuses that somebody else has set, and logs those that are new in one line.

        Args:
            found: The statuses by task id.
            consequence: What follows from them, for the log line.
        """
        with self._lock:
            new = {
                task_id: status for task_id, status in found.items() if self.adopted.get(task_id) != status
            }
            self.adopted.update(new)
        if new:
            tasks = some([self.describe(task_id, status) for task_id, status in new.items()])
            rest = f"; {consequence}" if consequence else ""
            logger.warning("somebody else has changed on the server, and it stays so: %s%s", tasks, rest)

    def forget(self, ids: Iterable[str]) -> None:
        """Forgets the statuses of tasks that have been started again."""
        with self._lock:
            for task_id in ids:
                self.adopted.pop(task_id, None)
