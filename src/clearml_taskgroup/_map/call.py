"""One point of `map`, wherever it runs: the function is called, what came of it goes back."""

from __future__ import annotations

import contextlib
import os
import pickle
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from .._clearml.hyperparameters import SECTION
from .._clearml.queries import PATIENCE
from .._run.failures import add_note, reason_of, text_of
from .._run.run import TASK_PATIENCE
from .._run.worker_counts import WorkerCounts, counts_of, pack_error, unpack_error
from .._storage.online import OnlineBackend
from .._task import GroupTask
from ..errors import CarriedError, DeliveryError, ValuePickleError, WorkerDiedError
from .worker_task import ReopenedTask, reopen

MOST_KEPT = 4 * 1024 * 1024
"""Bytes of a result that are kept on disk in case that an executor loses it."""

STOPPED = "stopped"
"""A file among those of the points that were begun: no more of them are to begin."""

Function = Callable[[GroupTask], Any]


@attrs.define
class Ended:
    """What came of one point.

    Attributes:
        value: What the function gave.
        error: What it raised.
        text: The traceback.
        seconds: How long it took.
        facts: What another process has counted; None where the task itself has it.
    """

    value: Any = None
    error: BaseException | None = None
    text: str = ""
    seconds: float = 0.0
    facts: WorkerCounts | None = None


class Parcel:
    """A task on its way to where it runs; opened there, where an error of that can be told."""

    def __init__(self, task: GroupTask | None, handle: tuple[Any, ...] = ()) -> None:
        self._task = task
        self._handle = handle

    def __reduce__(self) -> tuple[Any, ...]:
        handle = self._handle if self._task is None else self._task.__reduce__()[1]
        return Parcel, (None, handle)

    @property
    def is_here(self) -> bool:
        """Whether it was never pickled."""
        return self._task is not None

    def open(self) -> GroupTask:
        """Gives the task.

        Raises:
            HandleError: This process cannot reach the place where its data goes.
            LoginError: It cannot log in at the server.
        """
        return self._task if self._task is not None else reopen(*self._handle)


def died(task: GroupTask, how: str) -> Ended:
    """What came of a point whose process died."""
    error = WorkerDiedError(str(task), how)
    return Ended(error=error, facts=WorkerCounts("failed", how, died=True), text=f"{how}\n")


def run_here(fn: Function, task: GroupTask) -> Ended:
    """Calls the function in the process that has opened the task; nothing is raised.

    `KeyboardInterrupt` and the like are `error`, too: the caller raises them where they belong.
    """
    began = task._state.opened = time.monotonic()
    ended = _called(fn, task)
    task._run.mark(task._state, "completed")
    ended.seconds = time.monotonic() - began
    return ended


def run_there(fn: Function, task: ReopenedTask) -> bytes:
    """Calls the function in a worker process; what comes of it is safe on disk before it goes back."""
    began = time.monotonic()
    run, state = task._run, task._state
    ended = _called(fn, task)
    if isinstance(ended.error, KeyboardInterrupt) and task.folder:
        _stop(task.folder)
    try:
        value = _dumps(ended.value)
    except Exception as cause:  # whatever an object's own code raises
        ended = Ended(error=ValuePickleError(str(task), type(ended.value).__name__, reason_of(cause)))
        value, ended.text = _dumps(None), f"{ended.error}\n"
        if state.is_open:
            run.reporter.put_text(task.id, ended.text)
            run.mark(state, "failed", str(ended.error))
    run.mark(state, "completed")
    errors = run.finish([state], min(task.group.close_timeout, TASK_PATIENCE))
    facts = counts_of(state, run.reporter)
    for error in errors:
        facts.lost += error.points if isinstance(error, DeliveryError) else 0
        facts.trouble = f"{error} (on {platform.node()})"
    return _packed(value, ended, time.monotonic() - began, facts)


def _packed(value: bytes, ended: Ended, seconds: float, facts: WorkerCounts) -> bytes:
    error = None if ended.error is None else pack_error(ended.error, ended.text)
    try:
        return pickle.dumps((value, error, ended.text, seconds, facts), pickle.HIGHEST_PROTOCOL)
    except Exception:  # parameters that were set and cannot travel
        facts.params = {name: str(given) for name, given in facts.params.items()}
        return pickle.dumps((value, error, ended.text, seconds, facts), pickle.HIGHEST_PROTOCOL)


def _called(fn: Function, task: GroupTask) -> Ended:
    run, state = task._run, task._state
    try:
        with task.activate():
            value = fn(task)
    except BaseException as error:  # KeyboardInterrupt too: each task ends with a status
        text = text_of(error)
        if state.is_open:
            run.reporter.put_text(task.id, text)
            run.mark(state, "failed" if isinstance(error, Exception) else "stopped", reason_of(error))
        return Ended(error=error, text=text)
    caught = [failure for failure in task.group._failures if failure.task is task]
    if caught:  # by the task's own block in the function
        return Ended(value, caught[-1].exception, caught[-1].traceback)
    return Ended(value)


def unpacked(data: bytes) -> Ended:
    """Reads what `run_there` gave."""
    value, error, text, seconds, facts = pickle.loads(data)
    ended = Ended(None, None, text, seconds, facts)
    try:
        ended.value = pickle.loads(value)
    except Exception as cause:
        ended.error = CarriedError(f"what the function gave cannot be read here: {reason_of(cause)}")
    if error is not None:
        ended.error = unpack_error(*error)
        add_note(ended.error, f"raised in a worker process:\n{text}")
    return ended


def _dumps(value: Any) -> bytes:
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:
        cloudpickle = sys.modules.get("cloudpickle")  # which has carried the function, too
        if cloudpickle is None:
            raise
        return bytes(cloudpickle.dumps(value))


# --- on an executor --------------------------------------------------------------------------------


def call(fn: Function, parcel: Parcel, folder: str | None) -> Ended | bytes:
    """Runs a point on an executor, once: an executor may start again what a dead worker had begun.

    Args:
        fn: The user's function.
        parcel: The task.
        folder: Where it is noted which points were begun, and what came of them.
    """
    if parcel.is_here:
        return run_here(fn, parcel.open())
    return run_parcel(fn, parcel, folder)


def run_parcel(fn: Function, parcel: Parcel, folder: str | None = None) -> Ended | bytes:
    """Opens a task in a worker process and runs its point."""
    try:
        task = parcel.open()
        if not isinstance(task, ReopenedTask):  # the worker is a thread of the process that opened it
            return run_here(fn, task)
        task._mapped = True
        begun = _begin(task, folder) if folder is not None else None
        if begun is not None:
            return begun
    except Exception as error:  # it cannot be opened here
        reason, text = reason_of(error), text_of(error)
        return _packed(_dumps(None), Ended(error=error, text=text), 0.0, WorkerCounts("failed", reason))
    data = run_there(fn, task)
    if folder is not None and len(data) <= MOST_KEPT:
        _keep(Path(folder), task.id, data)
    return data


def _begin(task: ReopenedTask, folder: str) -> Ended | bytes | None:
    """Notes that a point begins; gives what came of it if it had begun before."""
    if not os.path.isdir(folder):
        if task.is_local:
            return Ended(facts=WorkerCounts("stopped", "the map has been stopped"))
        return _begin_on_server(task)
    if (Path(folder) / STOPPED).exists():
        why = "a worker was interrupted before it began"
        return Ended(error=KeyboardInterrupt(why), facts=WorkerCounts("stopped", why))
    task.folder = folder
    try:
        os.close(os.open(Path(folder) / task.id, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return kept(folder, task.id) or died(task, "the worker process that ran it died")
    except OSError:  # a full disk: the point itself will tell
        return None
    return None


def _stop(folder: str) -> None:
    """Notes that no more points are to begin: a Ctrl-C may reach the workers before it stops the map."""
    with contextlib.suppress(OSError):  # the map has been stopped already, or the disk is full
        (Path(folder) / STOPPED).touch()


def _begin_on_server(task: ReopenedTask) -> Ended | None:
    """The same where the machines share no disk."""
    backend = task._run.backend
    if not isinstance(backend, OnlineBackend):
        return None
    query = {"id": [task.id], "only_fields": [f"hyperparams.{SECTION}.worker"]}
    (found, *_) = backend.transport.call("tasks.get_all", query, patience=PATIENCE)["tasks"] or [{}]
    worker = ((found.get("hyperparams") or {}).get(SECTION) or {}).get("worker")
    if worker is not None:
        return died(task, f"the worker process that ran it died ({worker['value']})")
    item = {"section": SECTION, "name": "worker", "value": f"{platform.node()} {os.getpid()}", "type": "str"}
    body = {"task": task.id, "hyperparams": [item], "replace_hyperparams": "none", "force": True}
    backend.transport.call("tasks.edit_hyper_params", body, patience=PATIENCE)
    return None


def _keep(folder: Path, task_id: str, data: bytes) -> None:
    try:
        fresh = folder / f"{task_id}.new"
        fresh.write_bytes(data)
        os.replace(fresh, folder / f"{task_id}.ended")
    except OSError:  # only of use if the executor breaks
        pass


def has_begun(folder: str | None, task_id: str) -> bool:
    """Whether a worker has begun a point."""
    return folder is not None and (Path(folder) / task_id).exists()


def kept(folder: str | None, task_id: str) -> bytes | None:
    """Gives what came of a point, if a worker was through with it."""
    try:
        return None if folder is None else (Path(folder) / f"{task_id}.ended").read_bytes()
    except OSError:
        return None
