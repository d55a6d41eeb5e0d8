"""Shows the progress of a sweep: tasks done, failed and left, the current task, the best value so far.

A terminal shows one line and a notebook one output, which are updated; a pipe or a file shows nothing.
"""

from __future__ import annotations

import html
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from ._results.rows import best_of
from ._text import printable, some
from .errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._model.metrics import MetricKey
    from ._results.find_metric import MetricLookup
    from ._run.state import TaskState

PREFERRED_CONTEXT_VALUES = ("val", "validation", "valid", "dev", "eval", "test")
"""The best value is taken of a metric with one of these context values if there is one, the first first."""
BAR_COLUMNS, TIME_COLUMNS = 16, 18
"""The columns of a terminal that the bar takes, and that elapsed and remaining time take together."""


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

    @property
    def left(self) -> int:
        """The number of tasks that have not ended."""
        return self.total - self.done - self.failed

    @property
    def counts(self) -> str:
        """The part that is always shown."""
        return f"{self.done} done, {self.failed} failed, {self.left} left"

    @property
    def detail(self) -> str:
        """The part that is cut off if there is no room."""
        now = f"now {some(self.current, 1)}" if self.current else ""
        return printable(" · ".join(part for part in (now, self.best) if part))

    def __str__(self) -> str:
        return " · ".join(part for part in (self.counts, self.detail) if part)


class Display(Protocol):
    """Where progress is shown."""

    def show(self, progress: Progress) -> None: ...

    def stop(self) -> None:
        """Stops updating; the last state stays visible."""


class NoDisplay:
    """Shows nothing: for pipes and files."""

    def show(self, progress: Progress) -> None:
        pass

    def stop(self) -> None:
        pass


class TerminalDisplay:
    """A line of a terminal, drawn by rich.

    Args:
        redirect: Whether rich redirects stdout and stderr, so that printed text appears above the line.
    """

    def __init__(self, redirect: bool) -> None:
        try:
            from rich import progress as rich_progress
            from rich.console import Console
            from rich.table import Column
        except ImportError:
            raise MissingExtraError("rich", "cli", "progress=True") from None
        counts = rich_progress.TextColumn(
            "{task.description}", markup=False, table_column=Column(no_wrap=True)
        )
        rest = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        detail = rich_progress.TextColumn("{task.fields[detail]}", markup=False, table_column=rest)
        times: list[rich_progress.ProgressColumn] = [
            rich_progress.TimeElapsedColumn(),
            rich_progress.TimeRemainingColumn(),
        ]
        console = Console(stderr=True)

        class Line(rich_progress.Progress):
            """A line that drops the bar and the times in a narrow terminal, but never the counts."""

            progress = Progress(0)

            def make_tasks_table(self, tasks: Any) -> Any:
                columns: list[rich_progress.ProgressColumn]
                columns, room = [counts, detail], console.width - len(self.progress.counts)
                if room > TIME_COLUMNS:
                    columns[1:1] = times
                if room > TIME_COLUMNS + BAR_COLUMNS:
                    columns.insert(0, rich_progress.BarColumn(BAR_COLUMNS))
                self.columns = tuple(columns)
                return super().make_tasks_table(tasks)

        self._line = Line(
            console=console,
            refresh_per_second=5,
            redirect_stdout=redirect and sys.stdout is not None and sys.stdout.isatty(),
            redirect_stderr=redirect,
            expand=True,
        )
        self._task: Any = None

    def show(self, progress: Progress) -> None:
        self._line.progress = progress
        shown: dict[str, Any] = {
            "completed": progress.done + progress.failed,
            "total": progress.total,
            "description": progress.counts,
            "detail": progress.detail,
        }
        if self._task is None:
            # The first state has the tasks that an earlier attempt completed, which took no time now.
            self._task = self._line.add_task(**shown)
            self._line.start()
        else:
            self._line.update(self._task, **shown)

    def stop(self) -> None:
        self._line.stop()


class NotebookDisplay:
    """An output of a notebook cell; needs no widgets."""

    def __init__(self) -> None:
        self._display: Any = import_module("IPython.display").display
        self._output: Any = None

    def show(self, progress: Progress) -> None:
        bar = f'<progress value="{progress.done + progress.failed}" max="{progress.total}"></progress>'
        shown = {"text/html": f"{bar} {html.escape(str(progress))}", "text/plain": str(progress)}
        if self._output is None:
            self._output = self._display(shown, raw=True, display_id=True)
        else:
            self._output.update(shown, raw=True)

    def stop(self) -> None:
        pass


def choose_display(redirect: bool = True) -> Display:
    """Returns the display for this process: a notebook, a terminal or none.

    Args:
        redirect: Whether stdout and stderr may be redirected, so that printed text appears above a terminal's
            line.

    Raises:
        MissingExtraError: stderr is a terminal, but rich is not installed.
    """
    if _in_notebook():
        return NotebookDisplay()
    if sys.stderr is not None and sys.stderr.isatty():
        return TerminalDisplay(redirect)
    return NoDisplay()


def _in_notebook() -> bool:
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return shell is not None and hasattr(shell, "kernel")


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
        metric_key = self._metric_key = self._metric_key or choose_metric(self.lookup, list(stats))
        mode = None if metric_key is None else self.lookup.likely_mode(metric_key[0])
        if metric_key is None or mode is None or metric_key not in stats:
            return
        candidates = [(state.spec.name, stats[metric_key].last)]
        if self._best is not None:
            candidates.insert(0, self._best)
        self._best = name, value = best_of(candidates, lambda item: item[1], mode)
        self.progress.best = f"best {self.lookup.label(metric_key)} {value:.4g} ({name})"


def choose_metric(lookup: MetricLookup, metric_keys: Sequence[MetricKey]) -> MetricKey | None:
    """Chooses the metric whose best value is shown.

    It is the first metric of the vocabulary that has values and a mode; without a vocabulary the first one
    whose mode is known by its name. Of several contexts, `val` is preferred to `test`, and that to others.
    """
    known = [metric_key for metric_key in metric_keys if lookup.likely_mode(metric_key[0]) is not None]
    vocabulary = lookup.vocabulary.metrics if lookup.vocabulary is not None else ()
    order = list(dict.fromkeys([*vocabulary, *(metric for metric, _ in known)]))
    preferred = PREFERRED_CONTEXT_VALUES

    def rank(metric_key: MetricKey) -> tuple[int, int]:
        places = (preferred.index(value) for _, value in metric_key[1] if value in preferred)
        return order.index(metric_key[0]), min(places, default=len(preferred))

    return min(known, key=rank, default=None)
