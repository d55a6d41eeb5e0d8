"""What an open run knows of one of its tasks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import attrs

from .._model.status import ENDED, Status

if TYPE_CHECKING:
    from .._model.metric_data import Metrics
    from .._model.metrics import MetricKey
    from .._model.specs import TaskSpec
    from .naming import Names


@attrs.define(eq=False)
class TaskState:
    """What a run knows of one task.

    Attributes:
        finished: Whether the store knows how the task ended.
        done: Whether an earlier attempt has completed it, and nothing is left to do.
        turn: Whether the task was opened by a loop over `group.sweep`.
        held: Whether something that runs inside the task ends it, so that its own block does not.
        died: Whether a process died with it that told nobody what it had reported.
        metrics: What is known of its metrics, also from an earlier attempt and from worker processes.
        failure: What failed it, without frames, and the traceback as text; None if that is not known.
    """

    spec: TaskSpec
    id: str
    names: Names
    params: dict[str, Any]
    opened: float
    status: Status = "in_progress"
    reason: str = ""
    ended: float | None = None
    finished: bool = False
    turn: bool = False
    done: bool = False
    ends_elsewhere: bool = False
    died: bool = False
    failure: tuple[BaseException, str] | None = None
    nonfinite: dict[MetricKey, int] = attrs.field(factory=dict)
    metrics: Metrics = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.metrics = self.names.metrics

    @property
    def metric_names(self) -> list[str]:
        """The metrics that have values, each once."""
        return list(dict.fromkeys(key.metric for key, data in self.metrics.items() if data.stats.count))

    @property
    def is_open(self) -> bool:
        """Whether the task takes data."""
        return self.status not in ENDED

    @property
    def duration(self) -> float:
        """Seconds from opening to the end, or to now."""
        return (self.ended or time.monotonic()) - self.opened
