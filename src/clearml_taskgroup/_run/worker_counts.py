"""What a worker has counted of a task, on its way back to the process that opened it."""

from __future__ import annotations

import contextlib
import pickle
from typing import TYPE_CHECKING, Any

import attrs

from .._model.stats import Stats
from ..errors import CarriedError, DeliveryError
from .failures import reason_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._model.downsample import CurveSample
    from .._model.metrics import MetricKey
    from .._model.name_template import Name
    from .._model.status import Status
    from .reporter import Reporter
    from .run import Run
    from .state import TaskState


Written = tuple[bytes | None, str, str]
"""An exception on its way: itself, pickled, if it can be; what stands for it; its traceback."""


@attrs.define
class Facts:
    """A task as one worker has left it.

    Attributes:
        status: How the task ended there; None if it is open.
        params: The parameters that were set there.
        stats: The counts over the values that were reported there, and nowhere else.
        names: The names that they were logged under.
        sketches: The shapes of their curves.
        nonfinite: How many values were left out there.
        lost: Points that were given up there, or wait there.
        trouble: Why.
        died: Whether the worker died and told nothing, so that its values are counted where they lie.
        failure: The exception that failed the task there.
    """

    status: Status | None
    reason: str = ""
    params: Mapping[str, Any] = attrs.field(factory=dict)
    stats: dict[MetricKey, Stats] = attrs.field(factory=dict)
    names: dict[MetricKey, list[Name]] = attrs.field(factory=dict)
    samples: dict[MetricKey, CurveSample] = attrs.field(factory=dict)
    nonfinite: dict[MetricKey, int] = attrs.field(factory=dict)
    lost: int = 0
    trouble: str = ""
    died: bool = False
    failure: Written | None = None


def facts_of(state: TaskState, reporter: Reporter) -> Facts:
    """Takes what a worker's state of a task holds at this moment."""
    own, lost = state.spec.params, reporter.lost.get(state.id, 0)
    return Facts(
        status=None if state.is_open else state.status,
        reason=state.reason,
        params={name: value for name, value in state.params.items() if name not in own},
        stats={
            metric_key: attrs.evolve(stats) for metric_key, stats in state.names.stats.items() if stats.count
        },
        names=state.names.spelt(),
        samples=state.names.samples(),
        nonfinite=dict(state.nonfinite),
        lost=lost,
        failure=None if state.failure is None else written(*state.failure),
        trouble=str(reporter.error or "the queue was full and nothing took them away") if lost else "",
    )


def measures_of(facts: Facts) -> list[Any]:
    """Writes the counts as the run's record has them."""
    return [
        [key.metric, dict(key.context), attrs.asdict(stats), facts.names.get(key, [])]
        for key, stats in facts.stats.items()
    ]


def fold(run: Run, state: TaskState, facts: Facts, known: Facts | None = None) -> None:
    """Adds what a worker has counted to what the run knows of a task.

    Args:
        run: The run.
        state: The run's own state of the task.
        facts: What the worker tells now.
        known: What the same worker has told before, which is counted already.
    """
    before = known or Facts(None)
    for metric_key, stats in facts.stats.items():
        told = before.stats.get(metric_key) or Stats()
        _add(state.names.stats.setdefault(metric_key, Stats()), stats, told)
    for metric_key, names in facts.names.items():
        spelt = state.names.earlier.setdefault(metric_key, [])
        spelt += [name for name in names if name not in spelt]
    state.names.sketched.update(facts.samples)
    for metric_key, count in facts.nonfinite.items():
        more = count - before.nonfinite.get(metric_key, 0)
        state.nonfinite[metric_key] = state.nonfinite.get(metric_key, 0) + more
    state.params.update(facts.params)
    state.died = state.died or facts.died
    if facts.lost > before.lost:
        more = facts.lost - before.lost
        run.guests.troubles.append(DeliveryError(more, [state.spec.name], run.backend.where, facts.trouble))
    elif facts.trouble and facts.trouble != before.trouble:
        run.guests.troubles.append(CarriedError(facts.trouble))
    if facts.status is not None:
        if facts.failure is not None and state.is_open:
            state.failure = (read_back(*facts.failure), facts.failure[2])
        run.mark(state, facts.status, facts.reason)


def _add(stats: Stats, new: Stats, told: Stats) -> None:
    if new.has_curve:
        _add_curve(stats, new, told if told.has_curve else Stats())
        values = [new.last]
    else:
        values = [new.first, new.min, new.max, new.last]
    if new.single and attrs.astuple(new) != attrs.astuple(told):
        for value in values:
            stats.add(value, None)


def _add_curve(stats: Stats, new: Stats, told: Stats) -> None:
    more = new.count - told.count
    if more <= 0:
        return
    if not stats.has_curve:
        stats.begin_curve(new.first, new.first_iteration)
    stats.count += more
    stats.total += new.total - told.total
    if not stats.single:
        stats.last, stats.last_iteration = new.last, new.last_iteration
    if new.min < stats.min:
        stats.min, stats.min_iteration = new.min, new.min_iteration
    if new.max > stats.max:
        stats.max, stats.max_iteration = new.max, new.max_iteration


# --- exceptions ------------------------------------------------------------------------------------


def written(error: BaseException, text: str) -> Written:
    """Writes an exception with what stands for it where it cannot travel, as many cannot."""
    data: bytes | None = None
    with contextlib.suppress(Exception):
        pickled = pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
        if type(pickle.loads(pickled)) is type(error):
            data = pickled
    return data, reason_of(error), text


def read_back(data: bytes | None, reason: str, text: str) -> BaseException:
    """Reads what `written` gave."""
    if data is not None:
        try:
            error = pickle.loads(data)
            if isinstance(error, BaseException):
                return error
        except Exception:
            pass
    return CarriedError(reason, text)
