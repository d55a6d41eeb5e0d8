"""Values that ClearML cannot store (NaN, ±inf, too large): they are skipped, counted and warned about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._log import warn
from .._model.metric_data import MetricData
from .._model.metrics import MetricKey
from ..errors import NonFiniteError, NonFiniteWarning
from .task_lines import log_skipped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .run import Run
    from .state import TaskState


Skipped = list[tuple[MetricKey, float]]
"""Values of one report that no server stores, with what they are values of."""


def nonfinite_key(
    run: Run, state: TaskState, metric: str, context: Mapping[str, Any], value: float
) -> MetricKey:
    """Returns the metric key of a value that no server stores.

    Raises:
        NonFiniteError: The group was made with `nonfinite="raise"`.
    """
    metric_key, _ = state.names.key_and_name(metric, context)
    if run.options.nonfinite == "raise":
        raise NonFiniteError(
            repr(str(metric_key)),
            f"is {value!r} in the task {state.spec.name!r}, which ClearML cannot store",
            'fix the value, or write nonfinite="skip" to skip such data points',
        )
    return metric_key


def end_divergence(run: Run, state: TaskState, data: MetricData) -> None:
    """Notes that a single value whose latest report was skipped has been reported again.

    Unlike that of a curve, the order of its reports is nowhere in the storage.
    """
    data.single_skipped = False
    metric_key = next(key for key, other in list(state.metrics.items()) if other is data)
    log_skipped(run, state, metric_key, MetricData())


def skip_nonfinite(
    run: Run, state: TaskState, metric_key: MetricKey, iteration: int | None, value: float
) -> None:
    """Counts a value that no server stores; warns of the first one of each metric and context."""
    data = state.metrics.setdefault(metric_key, MetricData())
    had_diverged = data.has_diverged
    data.skip(iteration)
    if run.in_child:  # only its lines are known of a forked child, and other processes may report between
        one = MetricData()
        one.skip(iteration)
        log_skipped(run, state, metric_key, one)
    elif not had_diverged and data.has_diverged:  # known also if this process is killed
        log_skipped(run, state, metric_key, data)
    if data.skipped == 1:
        warn(
            f"{metric_key!s} is {value!r} in the task {state.spec.name!r}; ClearML cannot "
            "store that, so such points are skipped and counted",
            NonFiniteWarning,
        )
