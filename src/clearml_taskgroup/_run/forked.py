"""Forked children: they store what they report themselves, and say so in the run log.

The process that opened the group reads the values back from the storage, and the rest from these lines.
"""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any

from .. import _fork
from .._clearml.notes import skipped_from_json
from .._model.metric_data import MetricData
from .._model.parameter_json import plain
from ..errors import CarriedError
from .failures import reason_of
from .task_lines import take_names, write_line

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        write_line(run, state, "forked")


def log_end(run: Run, state: TaskState, exc: BaseException, text: str) -> None:
    """Logs how an exception ended a task in a `with` block that the child entered.

    Args:
        run: The run.
        state: The task.
        exc: The exception.
        text: Its traceback.
    """
    failure = [reason_of(exc), text]
    write_line(run, state, "forked end", status=state.status, reason=state.reason, failure=failure)


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
