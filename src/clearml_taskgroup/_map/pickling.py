"""Task references: what a pickled task consists of, written in the process that opened the group.

A reference holds the task's identity and how its values are named, never a ClearML object or an
open file. `worker_task.reopen` reads it in another process.
"""

from __future__ import annotations

import functools
import json
import os
import pickle
import platform
import threading
import uuid
import weakref
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from .._storage.append_file import append_to, disk_errors
from ..errors import HandleError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._group import TaskGroup
    from .._model.frameworks import Frameworks
    from .._model.specs import RunInfo
    from .._model.status import Status
    from .._run.run import Run
    from .._task import GroupTask

MAX_VOCABULARY_BYTES = 1_800
"""The largest packed vocabulary that is part of a reference; another is in a file beside the run log."""


@attrs.frozen
class RunReference:
    """What all tasks of a run have in common.

    Attributes:
        opening: A random id of this opening of the run; a later one, by `resume`, has another.
        mode: The mode of the backend.
        where: The backend's `where`.
        host: The machine that the run was opened on.
        run_log: The path of the run log; None where there is none.
        outbox: The file that workers on that machine append events to; None where there is none.
        page: The address of a task's page, with `{}` in the place of the id.
        server: The API server's address.
        parent: The id of the run's parent.
    """

    opening: str
    info: RunInfo
    task_name: str
    mode: str
    where: str
    host: str
    run_log: str | None
    outbox: str | None
    page: str | None
    server: str | None
    parent: str | None
    nonfinite: Any
    captures: bool
    catch: tuple[type[Exception], ...]
    close_timeout: float
    auto_connect_frameworks: Frameworks | None = None


class TaskFields(NamedTuple):
    """What one task has of its own; pickled as a plain tuple, which is smaller.

    Attributes:
        place: The task's index.
        more_params: The parameters that were set after the task was opened; None for none.
        in_sweep: Whether the task was opened by a loop over `group.sweep`.
        ended: Status, reason and `done` of a task that has ended; None for an open one.
        reopened: How often it was opened again.
        device: The device of the worker that it was given to; None if it has none.
    """

    id: str
    key: str
    name: str
    task_name: str
    place: int
    attempt: int
    params: Mapping[str, Any]
    tags: tuple[str, ...]
    more_params: Mapping[str, Any] | None
    in_sweep: bool
    ended: tuple[Status, str, bool] | None
    reopened: int
    device: str | None = None


TaskReference = tuple[bytes, bytes | str, tuple[Any, ...]]
"""The packed `RunReference`; the packed vocabulary, or the path of its file; the `TaskFields`."""

open_groups: weakref.WeakValueDictionary[str, TaskGroup] = weakref.WeakValueDictionary()
"""The groups of this process whose tasks have been pickled, by the ids of their runs."""
_packed_runs: weakref.WeakKeyDictionary[Run, tuple[bytes, bytes | str]] = weakref.WeakKeyDictionary()
_packing = threading.Lock()


def reference_to(task: GroupTask) -> TaskReference:
    """Writes what `reopen` reads.

    Raises:
        HandleError: The task's data is kept in the memory of this process only.
    """
    run, state = task._run, task._state
    if run.backend.mode == "memory":
        raise HandleError(
            str(task),
            "is recorded in the memory of this process, so it cannot go to another one",
            "leave workers= and executor= out inside testing.recording(), or use threads",
        )
    with _packing:
        if run not in _packed_runs:
            _packed_runs[run] = _pack_run(run)
    open_groups[run.info.run] = task.group
    run.reporter.hand_over()
    spec = state.spec
    fields = TaskFields(
        id=state.id,
        key=spec.key,
        name=spec.name,
        task_name=spec.task_name,
        place=spec.index,
        attempt=spec.attempt,
        params=dict(spec.params),
        tags=spec.tags,
        more_params={n: value for n, value in state.params.items() if n not in spec.params} or None,
        in_sweep=state.in_sweep,
        ended=None if state.is_open else (state.status, state.reason, state.done),
        reopened=state.reopened,
        device=state.device,
    )
    return (*_packed_runs[run], tuple(fields))


def pack(value: Any) -> bytes:
    return zlib.compress(pickle.dumps(value, pickle.HIGHEST_PROTOCOL), 9)


def unpack(data: bytes) -> Any:
    return pickle.loads(zlib.decompress(data))


@functools.lru_cache(maxsize=8)
def run_reference(run: bytes) -> RunReference:
    """Reads a packed `RunReference`, the same one for all tasks of a run."""
    return RunReference(*unpack(run))


def _pack_run(run: Run) -> tuple[bytes, bytes | str]:
    run.worker_log.expect(run)
    backend = run.backend
    run_log = run.run_log.path if run.run_log is not None else None
    reference = RunReference(
        opening=uuid.uuid4().hex,
        info=attrs.evolve(run.info, script=None, metrics=None),
        task_name=run.options.task_name,
        mode=backend.mode,
        where=backend.where,
        host=platform.node(),
        run_log=str(run_log) if run_log is not None else None,
        outbox=backend.share_outbox(),
        page=backend.url("{}") if backend.mode == "online" else None,
        server=backend.transport.connection.host if backend.transport is not None else None,
        parent=run.parent,
        nonfinite=run.options.nonfinite,
        captures=run.options.capture_console,
        catch=tuple(kind for kind in run.options.catch if _can_be_pickled(kind)),
        close_timeout=run.options.close_timeout,
        auto_connect_frameworks=run.options.auto_connect_frameworks,
    )
    metrics = None
    if run.vocabulary is not None:
        metrics = run.vocabulary.stored()
    vocabulary = pack(metrics)
    packed = pack(attrs.astuple(reference, recurse=False))
    if len(vocabulary) <= MAX_VOCABULARY_BYTES or run_log is None:
        return packed, vocabulary
    path = run_log.with_suffix(".words")
    with disk_errors(path):
        fresh = path.with_suffix(".words-new")
        fresh.unlink(missing_ok=True)
        append_to(fresh, json.dumps(metrics, default=str).encode(), create=True)
        os.replace(fresh, path)
    return packed, str(path)


def _can_be_pickled(kind: type[Exception]) -> bool:
    try:
        return pickle.loads(pickle.dumps(kind)) is kind
    except Exception:
        return False
