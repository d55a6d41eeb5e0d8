"""A task as a few bytes, pickled where its group is open; `_guest` opens it in another process.

A handle holds who the task is and how its values are named, never a ClearML object or an open
file.
"""

from __future__ import annotations

import os
import pickle
import platform
import threading
import uuid
import weakref
import zlib
from typing import TYPE_CHECKING, Any

import attrs

from .._storage.online import OnlineBackend
from ..errors import HandleError

if TYPE_CHECKING:
    from .._group import TaskGroup
    from .._model.specs import RunInfo
    from .._run.run import Run
    from .._task import GroupTask

MOST_WORDS = 1_800
"""Bytes of vocabulary that a handle carries; a larger one lies in a file beside the run's record."""


@attrs.frozen
class Core:
    """What all tasks of a run have in common.

    Attributes:
        opening: Tells this opening of the run from a later one, by `resume`.
        host: The machine that the run was opened on.
        outbox: The file that workers on that machine append events to; None where there is none.
        page: The address of a task's page, with `{}` in the id's place.
        server: The API server's address.
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


Handle = tuple[bytes, bytes | str, tuple[Any, ...]]
"""What all tasks of a run share; the vocabulary or where it lies; what is a task's own."""

live: weakref.WeakValueDictionary[str, TaskGroup] = weakref.WeakValueDictionary()
"""The groups of this process of which tasks have been pickled, by their runs."""
_packed: weakref.WeakKeyDictionary[Run, tuple[bytes, bytes | str]] = weakref.WeakKeyDictionary()
_packing = threading.Lock()


def handle_of(task: GroupTask) -> Handle:
    """Gives what a task is reopened from.

    Raises:
        HandleError: Its data is kept in this process's memory only.
    """
    run, state = task._run, task._state
    if run.backend.mode == "memory":
        raise HandleError(
            str(task),
            "is recorded in the memory of this process, so it cannot go to another one",
            "leave workers= and executor= out inside testing.recording(), or use threads",
        )
    with _packing:
        if run not in _packed:
            _packed[run] = _pack(task.group, run)
    live[run.info.run] = task.group
    spec = state.spec
    more = {name: value for name, value in state.params.items() if name not in spec.params}
    ended = None if state.is_open else (state.status, state.reason, state.done)
    own = (state.id, spec.key, spec.name, spec.task_name, spec.index, spec.attempt, dict(spec.params))
    return (*_packed[run], (*own, spec.tags, more or None, state.turn, ended))


def _pack(group: TaskGroup, run: Run) -> tuple[bytes, bytes | str]:
    run.worker_log.expect(run)
    backend = run.backend
    run_log = run.run_log.path if run.run_log is not None else None
    core = Core(
        opening=uuid.uuid4().hex,
        info=attrs.evolve(run.info, script=None, metrics=None),
        task_name=group.task_name,
        mode=backend.mode,
        where=backend.where,
        host=platform.node(),
        run_log=str(run_log) if run_log is not None else None,
        outbox=backend.share(),
        page=backend.url("{}") if backend.mode == "online" else None,
        server=backend.connection.host if isinstance(backend, OnlineBackend) else None,
        parent=run.parent,
        nonfinite=run.nonfinite,
        captures=group.captures_console,
        catch=tuple(kind for kind in group.catch if _can_travel(kind)),
        close_timeout=group.close_timeout,
    )
    metrics = None
    if run.vocabulary is not None:
        metrics = [(m.name, dict(m.aliases), m.mode, m.unit) for m in run.vocabulary.metrics.values()]
    words = zlib.compress(pickle.dumps(metrics, pickle.HIGHEST_PROTOCOL), 9)
    packed = zlib.compress(pickle.dumps(attrs.astuple(core, recurse=False), pickle.HIGHEST_PROTOCOL), 9)
    if len(words) <= MOST_WORDS or run_log is None:
        return packed, words
    path = run_log.with_suffix(".words")
    fresh = path.with_suffix(".words-new")
    fresh.write_bytes(words)
    os.replace(fresh, path)
    return packed, str(path)


def _can_travel(kind: type[Exception]) -> bool:
    try:
        return pickle.loads(pickle.dumps(kind)) is kind
    except Exception:
        return False
