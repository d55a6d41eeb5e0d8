"""What a worker process counted for a task, and how the process that opened the task merges it."""

from __future__ import annotations

import builtins
import contextlib
import pickle
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml.hyperparameters import stored_parameters
from .._model.downsample import CurveSample
from .._model.metric_data import (
    MetricData,
    Metrics,
    copy_metrics,
    metrics_from_json,
    metrics_to_json,
)
from .._model.parameter_json import plain
from ..errors import CarriedError, DeliveryError
from .failures import reason_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._model.status import Status
    from .reporter import Reporter
    from .run import Run
    from .state import TaskState


PackedError = tuple[bytes | None, str, str]
"""An exception between processes: pickled, if it can be; the reason; the traceback as text."""


@attrs.define
class WorkerCounts:
    """What one worker process counted for a task.

    Attributes:
        status: How the task ended there; None if it is open.
        reason: Why it failed or stopped.
        params: The parameters that were set there.
        metrics: The metrics that were reported there, without those of other processes.
        lost: The number of data points that were lost or are undelivered there.
        trouble: Why they are.
        died: Whether the worker died before it could count, so that the metrics have to be read back.
        failure: The exception that failed the task there.
    """

    status: Status | None
    reason: str = ""
    params: Mapping[str, Any] = attrs.field(factory=dict)
    metrics: Metrics = attrs.field(factory=dict)
    lost: int = 0
    trouble: str = ""
    died: bool = False
    failure: PackedError | None = None


def counts_of(state: TaskState, reporter: Reporter) -> WorkerCounts:
    """Returns what a worker has counted for a task so far."""
    own, lost = state.spec.params, reporter.lost.get(state.id, 0)
    return WorkerCounts(
        status=None if state.is_open else state.status,
        reason=state.reason,
        params={name: value for name, value in state.params.items() if name not in own},
        metrics=copy_metrics(state.metrics),
        lost=lost,
        failure=None if state.failure is None else pack_error(*state.failure),
        trouble=str(reporter.error or "the queue was full and nothing took them away") if lost else "",
    )


def merge(run: Run, state: TaskState, counts: WorkerCounts, merged: WorkerCounts | None = None) -> None:
    """Adds what a worker counted to the run's state of the task.

    Args:
        run: The run.
        state: The run's own state of the task.
        counts: What the worker has counted.
        merged: What the same worker had counted when it was merged before.
    """
    before = merged or WorkerCounts(None)
    state.uncounted = state.uncounted or counts.died  # before the values: results keep those that they have
    for metric_key, data in counts.metrics.items():
        state.metrics.setdefault(metric_key, MetricData()).merge(data, before.metrics.get(metric_key))
    state.params.update(counts.params)
    if counts.lost > before.lost:
        lost = counts.lost - before.lost
        error = DeliveryError(lost, [state.spec.name], run.backend.where, counts.trouble)
        run.worker_log.troubles.append(error)
    elif counts.trouble and counts.trouble != before.trouble:
        run.worker_log.troubles.append(CarriedError(counts.trouble))
    if counts.status is not None:
        if counts.failure is not None and state.is_open:
            state.failure = (unpack_error(*counts.failure), counts.failure[2])
        run.mark(state, counts.status, counts.reason)


# --- JSON ------------------------------------------------------------------------------------------


def counts_to_json(counts: WorkerCounts) -> dict[str, Any]:
    """Returns counts as the run log has them: a log can be written by others, so it holds no pickles."""
    samples = [data.sample for data in counts.metrics.values() if not data.is_empty]
    return {
        "status": counts.status,
        "reason": counts.reason,
        "params": stored_parameters(counts.params),
        "metrics": metrics_to_json(counts.metrics),
        "samples": [None if sample is None else sample.to_json() for sample in samples],
        "lost": counts.lost,
        "trouble": counts.trouble,
        "failure": counts.failure and _error_to_json(*counts.failure),
    }


def counts_from_json(stored: Mapping[str, Any]) -> WorkerCounts:
    """Reads what `counts_to_json` returned.

    Raises:
        TypeError, ValueError, LookupError, AttributeError: It is something else.
    """
    metrics = metrics_from_json(stored["metrics"])
    for data, sample in zip(metrics.values(), stored["samples"], strict=True):
        data.sample = sample and CurveSample.from_json(sample)
    return WorkerCounts(
        status=stored["status"],
        reason=str(stored["reason"]),
        params={name: plain(value) for name, value in stored["params"].items()},
        metrics=metrics,
        lost=int(stored["lost"]),
        trouble=str(stored["trouble"]),
        failure=stored["failure"] and _error_from_json(*stored["failure"]),
    )


def _error_to_json(data: bytes | None, reason: str, text: str) -> list[Any]:
    """Returns name and plain arguments of an exception of Python's own, reason and traceback."""
    error = unpack_error(data, reason, text)
    kind, args = type(error), error.args
    is_plain = kind.__module__ == "builtins" and all(isinstance(arg, (str, int, float)) for arg in args)
    return [kind.__name__ if is_plain else None, list(args) if is_plain else [], reason, text]


def _error_from_json(name: str | None, args: list[Any], reason: str, text: str) -> PackedError:
    """Reads what `_error_to_json` returned; nothing but an exception of Python's own is called."""
    kind = getattr(builtins, str(name), None)
    if isinstance(kind, type) and issubclass(kind, BaseException):
        with contextlib.suppress(TypeError):
            return pickle.dumps(kind(*args)), str(reason), str(text)
    return None, str(reason), str(text)


# --- exceptions ------------------------------------------------------------------------------------


def pack_error(error: BaseException, text: str) -> PackedError:
    """Pickles an exception, with its reason and traceback for the many that cannot be pickled."""
    data: bytes | None = None
    with contextlib.suppress(Exception):
        pickled = pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
        if type(pickle.loads(pickled)) is type(error):
            data = pickled
    return data, reason_of(error), text


def unpack_error(data: bytes | None, reason: str, text: str) -> BaseException:
    """Reads what `pack_error` returned; a `CarriedError` stands for an exception that was not pickled."""
    if data is not None:
        try:
            error = pickle.loads(data)
            if isinstance(error, BaseException):
                return error
        except Exception:
            pass
    return CarriedError(reason, text)
