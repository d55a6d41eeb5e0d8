"""Forked children: they store what they report themselves, and say so in the run log.

The process that opened the group reads the values back from the storage. What is not among them is logged
by every process, so that it is known whoever is killed: values that were skipped, what an ambiguous name
stands for, and parameters that were added.
"""

from __future__ import annotations

import functools
import json
import os
import time
import weakref
from typing import TYPE_CHECKING, Any

from .. import _fork
from .._clearml.hyperparameters import stored_parameters
from .._clearml.notes import NAMES_ENTRY, names_from_json, names_to_json, skipped_from_json, skipped_to_json
from .._model.metric_data import MetricData
from .._model.parameter_json import plain
from .._storage.append_file import append_to, disk_errors
from ..errors import CarriedError
from .failures import reason_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._model.metrics import MetricKey
    from .._model.name_template import Name
    from .run import Run
    from .state import TaskState
    from .worker_aborts import WorkerAborts

_open_runs: weakref.WeakSet[Run] = weakref.WeakSet()


def watch(run: Run) -> None:
    """Prepares a run for forks of this process, from now on."""
    _open_runs.add(run)


@_fork.before_fork
def _hand_over() -> None:
    for run in list(_open_runs):
        if not run.closed and not run.in_child:
            run.reporter.hand_over()
            run.worker_log.expect(run)


@_fork.in_child
def _log_reports() -> None:
    from .task_ender import TaskEnder
    from .worker_aborts import WorkerAborts, abort_path

    for run in list(_open_runs):
        if not run.closed:
            run.ender = TaskEnder(run, run.ender.timeout)  # the parent's thread does not run here
            path = abort_path(run.run_log.path) if run.run_log is not None else None
            run.reporter.before_inline = functools.partial(_log_report, run, set(), WorkerAborts(path))


# --- in the child --------------------------------------------------------------------------------


def _log_report(run: Run, logged: set[str], aborts: WorkerAborts, task_id: str) -> None:
    """Logs, once for each task, that this child has stored values of it; looks for aborted tasks."""
    if aborts.is_due:
        aborts.apply(run.states.values())
    if task_id in logged:
        return
    logged.add(task_id)
    state = next((state for state in run.own_states if state.id == task_id), None)
    if state is not None:
        _write(run, state, "forked")


def log_end(run: Run, state: TaskState, exc: BaseException, text: str) -> None:
    """Logs how an exception ended a task in a `with` block that the child entered.

    Args:
        run: The run.
        state: The task.
        exc: The exception.
        text: Its traceback.
    """
    failure = [reason_of(exc), text]
    _write(run, state, "forked end", status=state.status, reason=state.reason, failure=failure)


def log_skipped(run: Run, state: TaskState, key: MetricKey, data: MetricData) -> None:
    """Logs that the curve of a task ends, for now, with values that were skipped.

    With empty data: that its single value, whose latest report was skipped, has been reported again.
    """
    _write(run, state, "skipped", series=skipped_to_json(key, data))


def log_names(run: Run, state: TaskState, names: Mapping[Name, MetricKey]) -> None:
    """Logs what names stand for that would be read back as another metric."""
    _write(run, state, "names", names=names_to_json(names))


def log_parameters(run: Run, state: TaskState, params: Mapping[str, Any]) -> None:
    """Logs parameters that were added to a task."""
    _write(run, state, "params", params=stored_parameters(params))


def _write(run: Run, state: TaskState, event: str, **fields: Any) -> None:
    if run.run_log is None:
        return
    line: dict[str, Any] = {"event": event, "id": state.id, "key": state.spec.key, **fields}
    if not run.in_child:
        run.run_log.keep([(line, f"what is known of {state.spec.name!r} ({event})")])
        return
    line |= {
        "forked": os.getpid(),
        "time": round(time.time(), 3),
    }  # the process that opened the group reads it
    with disk_errors(run.run_log.path):
        append_to(run.run_log.path, (json.dumps(line) + "\n").encode())


# --- in the process that opened the group ----------------------------------------------------------


def take(run: Run, state: TaskState, line: Mapping[str, Any]) -> None:
    """Takes over what a forked child has logged of a task."""
    state.uncounted = True
    event = line["event"]
    if event == "names":
        take_names(run, state, line)
    elif event == "skipped":
        key, data = skipped_from_json(line["series"])
        state.metrics.setdefault(key, MetricData()).take_skipped(data)
    elif event == "params":
        state.params |= {name: plain(value) for name, value in line["params"].items()}
    elif event == "forked end" and state.is_open:
        reason, text = line["failure"]
        if line["status"] == "failed":
            state.failure = (CarriedError(reason, text), text)
        run.mark(state, line["status"], line["reason"])


def take_names(run: Run, state: TaskState, line: Mapping[str, Any]) -> None:
    """Takes over what another process has logged of a task's names, and stores it with the task."""
    state.names.ambiguous |= names_from_json(line["names"])
    text = json.dumps(names_to_json(state.names.ambiguous))
    run.backend.annotate(state.id, {NAMES_ENTRY: text}, {})
