"""The progress of a sweep: tasks done, failed and left, the best value so far, the current task."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import attrs

from .._results.rows import best_of, with_parameters
from .._text import printable, some

if TYPE_CHECKING:
    from .._model.metrics import MetricKey
    from .._results.find_metric import MetricLookup
    from .._run.state import TaskState
    from .displays import Display


@attrs.define
class Progress:
    """The state of a sweep.

    Attributes:
        total: The number of tasks, including those that an earlier attempt has completed.
        done: The number of completed tasks.
        failed: The number of tasks that failed or were stopped.
        current: The names of the tasks in progress.
        best: The best value so far as text; empty if there is none.
    """

    total: int
    done: int = 0
    failed: int = 0
    current: list[str] = attrs.field(factory=list)
    best: str = ""
    _before: int = attrs.field(init=False)
    _began: float = attrs.field(factory=lambda: time.monotonic())

    def __attrs_post_init__(self) -> None:
        self._before = self.ended  # by an earlier attempt: they took no time now

    @property
    def ended(self) -> int:
        """The number of tasks that have ended."""
        return self.done + self.failed

    @property
    def left(self) -> int:
        """The number of tasks that have not ended."""
        return self.total - self.ended

    @property
    def counts(self) -> str:
        """How many tasks are done, failed and left."""
        return f"{self.done} done, {self.failed} failed, {self.left} left"

    @property
    def clocks(self) -> str:
        """The time so far, and how long the tasks that are left take at the same rate."""
        elapsed = time.monotonic() - self._began
        now = self.ended - self._before
        text = f"elapsed {_clock(elapsed)}"
        return f"{text}, remaining {_clock(elapsed / now * self.left)}" if now and self.left else text

    @property
    def detail(self) -> str:
        """The best value so far and the current tasks."""
        now = f"now {some(self.current, 1)}" if self.current else ""
        return printable(" · ".join(part for part in (self.best, now) if part))

    def __str__(self) -> str:
        return " · ".join(part for part in (self.counts, self.detail) if part)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


@attrs.define(eq=False)
class Tracker:
    """Counts the tasks of one sweep as they begin and end, and updates the display.

    Args:
        total: The number of tasks.
        done: The number of tasks that an earlier attempt has completed.
        lookup: The group's template and vocabulary.
        display: Where progress is shown.
    """

    total: int
    done: int
    lookup: MetricLookup
    display: Display
    progress: Progress = attrs.field(init=False)
    _metric_key: MetricKey | None = None
    _best: tuple[str, float] | None = None
    _open: dict[str, TaskState] = attrs.field(factory=dict)
    _stopped: bool = False

    def __attrs_post_init__(self) -> None:
        self.progress = Progress(self.total, self.done)
        self.display.show(self.progress)

    def begun(self, state: TaskState) -> None:
        self._open[state.spec.key] = state
        self._show()

    def update(self, retried: str = "") -> None:
        """Counts the tasks that have ended since the last call.

        Args:
            retried: The key of a task that is tried again, which has not ended.
        """
        self._open.pop(retried, None)
        for key, state in list(self._open.items()):
            if not state.is_open:
                del self._open[key]
                self.progress.done += state.status == "completed"
                self.progress.failed += state.status != "completed"
                if state.status == "completed":
                    self._update_best(state)
        self._show()

    def stop(self) -> None:
        """Shows the last state and stops the display."""
        if not self._stopped:
            self._stopped = True
            self.update()
            self.display.stop()

    def _show(self) -> None:
        self.progress.current = [state.spec.name for state in self._open.values()]
        self.display.show(self.progress)

    def _update_best(self, state: TaskState) -> None:
        metrics = state.metrics.items()
        stats = {key: data.stats for key, data in metrics if data.stats.count and not data.has_diverged}
        metric_key = self._metric_key = self._metric_key or self.lookup.main_metric(stats)
        mode = None if metric_key is None else self.lookup.likely_mode(metric_key.metric)
        if metric_key is None or mode is None or metric_key not in stats:
            return
        name = with_parameters(state.spec.name, state.params)
        candidates = [(name, stats[metric_key].last)]
        if self._best is not None:
            candidates.insert(0, self._best)
        self._best = best_name, value = best_of(candidates, lambda item: item[1], mode)
        self.progress.best = f"best {self.lookup.label(metric_key)} {value:.4g} ({best_name})"
