"""Which calls of a `map` on an executor have begun, so that none is made twice, and their results.

Workers note both as files in a folder beside the run log; where the machines share no disk, in
`runtime` of the task on the server.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import uuid
from concurrent.futures.thread import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from .._clearml.queries import query_tasks
from .._clearml.tasks import annotate_task
from .._model import limits
from .._storage.append_file import OWNER_ONLY_FOLDER

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from .._run.run import Run
    from .worker_task import WorkerTask

WORKER_ENTRY = "taskgroup_worker"
"""The entry of a task's `runtime` that says which worker has begun its call."""
MAX_KEPT_BYTES = 4 * 1024 * 1024
"""The largest result that is kept on disk in case the executor loses it."""
_STOPPED = "stopped"
"""The name of a file that says that no further calls are to begin."""


def make_folder(run: Run, executor: Executor) -> str | None:
    """Makes the folder; None for threads, and where there is no run log to put it beside."""
    if run.run_log is None or isinstance(executor, ThreadPoolExecutor):
        return None
    folder = run.run_log.path.with_suffix(f".{uuid.uuid4().hex[:8]}-begun")
    try:
        folder.mkdir(OWNER_ONLY_FOLDER)
    except OSError:
        return None
    return str(folder)


def begin(task: WorkerTask, folder: str) -> str:
    """Notes that a task's call begins.

    Returns:
        `"begins"`; `"map stopped"` or `"interrupted"` if it is not to begin; else how the worker ended
        that had begun it before.
    """
    if not os.path.isdir(folder):
        return "map stopped" if task.is_local else _begin_on_server(task)
    if (Path(folder) / _STOPPED).exists():
        return "interrupted"
    task.map_folder = folder
    try:
        os.close(os.open(Path(folder) / task.id, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return "the worker process that ran it died"
    except FileNotFoundError:  # removed meanwhile
        return "map stopped"
    except OSError:  # a full disk: the call's own reports will raise
        pass
    return "begins"


def _begin_on_server(task: WorkerTask) -> str:
    transport = task._run.backend.transport
    if transport is None:
        return "begins"
    found = query_tasks(transport, {"id": [task.id], "only_fields": ["runtime"]})
    worker = (found[0].get("runtime") or {}).get(WORKER_ENTRY) if found else None
    if worker is not None:
        return f"the worker process that ran it died ({worker})"
    worker = f"{platform.node()} {os.getpid()}"
    annotate_task(transport, task.id, {}, {WORKER_ENTRY: worker}, limits.API_TIMEOUT_S)
    return "begins"


def stop(folder: str) -> None:
    """Notes that no further calls are to begin: Ctrl-C may reach workers before the map's own process."""
    with contextlib.suppress(OSError):  # the map has been stopped already, or the disk is full
        (Path(folder) / _STOPPED).touch()


def remove(folder: str) -> None:
    """Removes the folder at once: without the note of `stop`, a call must not find it any more."""
    removed = f"{folder}-begun"
    with contextlib.suppress(OSError):
        os.replace(folder, removed)
    shutil.rmtree(removed, ignore_errors=True)


def keep_result(folder: str, task_id: str, data: bytes) -> None:
    if len(data) > MAX_KEPT_BYTES:
        return
    with contextlib.suppress(OSError):  # it is needed only if the executor breaks
        fresh = Path(folder) / f"{task_id}.new"
        fresh.write_bytes(data)
        os.replace(fresh, Path(folder) / f"{task_id}.ended")


def has_begun(folder: str | None, task_id: str) -> bool:
    return folder is not None and (Path(folder) / task_id).exists()


def kept_result(folder: str | None, task_id: str) -> bytes | None:
    try:
        return None if folder is None else (Path(folder) / f"{task_id}.ended").read_bytes()
    except OSError:
        return None
