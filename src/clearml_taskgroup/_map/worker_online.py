"""A worker process and the server: the login, and where a worker on another machine keeps its events.

Imported only when it is needed, because importing the HTTP libraries is slow.
"""

from __future__ import annotations

import contextlib
import os
import platform
from typing import TYPE_CHECKING

from .._clearml import login, sdk
from .._run.worker_log import lives
from .._storage.online import OnlineBackend
from .._storage.outbox import Outbox, sent_path
from .._storage.run_log import files_in
from ..errors import HandleError

if TYPE_CHECKING:
    from pathlib import Path

    from .pickling import RunReference


def backend_of_guest(reference: RunReference, task: str) -> OnlineBackend:
    """Gives the backend of a worker that does not have the run's outbox; see `connect`."""
    backend = connect(reference, task)
    folder = sdk.cache_folder() / "taskgroup" / reference.info.group_id
    with contextlib.suppress(OSError):  # without an outbox, events are sent at once
        backend.use_outbox(Outbox.open(_own_outbox(folder, f"guest-{reference.info.run}-{platform.node()}")))
    return backend


def connect(reference: RunReference, task: str) -> OnlineBackend:
    """Logs in to the run's server.

    Args:
        reference: The run.
        task: The task's name, for errors.

    Raises:
        HandleError: This process is set up for another server.
        LoginError: It cannot log in.
    """
    connection = login.connect()
    if connection.host != reference.server:
        raise HandleError(
            task,
            f"is on the server {reference.server}, but this process is set up for {connection.host}",
            "set ClearML up in the same way on all machines, and start workers after that",
        )
    return OnlineBackend(connection)


def _own_outbox(folder: Path, name: str) -> Path:
    """Gives the path of this worker's outbox; one that a dead worker of this machine left is taken over."""
    own = folder / f"{name}-{os.getpid()}.outbox"
    for left in files_in(folder):
        begin, _, pid = left.stem.rpartition("-")
        is_ours = (begin, left.suffix) == (name, ".outbox") and pid.isdecimal()
        if is_ours and not lives(platform.node(), int(pid)):
            with contextlib.suppress(OSError):  # another worker was quicker
                os.replace(left, own)
                os.replace(sent_path(left), sent_path(own))
                break
    return own
