"""How far a sweep is: done, failed, left, the current task and the best value so far.

On a terminal a line that renews itself, in a notebook an output that does; nothing on a pipe.
"""

from __future__ import annotations

import html
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from .errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._model.metrics import MetricKey
    from ._results.metric_lookup import MetricLookup
    from ._run.state import TaskState

PREFERRED = ("val", "validation", "valid", "dev", "eval", "test")
"""Context values that a best value is rather taken of than of others."""
BAR, TIMES = 16, 18
"""How many columns of a terminal the bar takes, and the time that has passed with the time to come."""


@attrs.define
class Standing:
    """How far a sweep is at this moment.

    Attributes:
        total: How many tasks it has, with those that an earlier attempt has completed.
        done: How many are completed, and `failed`, how many failed or were stopped.
        current: The names of the tasks under way.
        best: The best value so far, for people; empty where there is none.
    """

    total: int
    done: int = 0
    failed: int = 0
    current: list[str] = attrs.field(factory=list)
    best: str = ""

    @property
    def left(self) -> int:
        """How many have not ended."""
        return self.total - self.done - self.failed

    @property
    def counts(self) -> str:
        """What is shown whatever else there is room for."""
        return f"{self.done} done, {self.failed} failed, {self.left} left"

    @property
    def detail(self) -> str:
        """What is cut where there is no room."""
        more = f" and {len(self.current) - 1} more" if len(self.current) > 1 else ""
        now = f"now {self.current[0]}{more}" if self.current else ""
        return " · ".join(part for part in (now, self.best) if part)

    def __str__(self) -> str:
        return " · ".join(part for part in (self.counts, self.detail) if part)


class Display(Protocol):
    """Where progress is shown."""

    def show(self, standing: Standing) -> None:
        """Shows how far it is."""

    def stop(self) -> None:
        """Leaves the last state standing."""


class Nowhere:
    """Shows nothing: a pipe, a file, a log."""

    def show(self, standing: Standing) -> None:
        """Does nothing."""

    def stop(self) -> None:
        """Does nothing."""


class Terminal:
    """A line of a terminal, by rich.

    Args:
        redirect: Whether what the program prints meanwhile goes above the line by rich's doing.
    """

    def __init__(self, redirect: bool) -> None:
        try:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                Progress,
                ProgressColumn,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )
            from rich.table import Column
        except ImportError:
            raise MissingExtraError("rich", "cli", "progress=True") from None
        counts = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True))
        rest = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        detail = TextColumn("{task.fields[detail]}", markup=False, table_column=rest)
        times: list[ProgressColumn] = [TimeElapsedColumn(), TimeRemainingColumn()]
        console = Console(stderr=True)

        class Line(Progress):
            """Leaves out what a narrow terminal has no room for, rather than the counts."""

            standing = Standing(0)

            def make_tasks_table(self, tasks: Any) -> Any:
                columns: list[ProgressColumn]
                columns, room = [counts, detail], console.width - len(self.standing.counts)
                if room > TIMES:
                    columns[1:1] = times
                if room > TIMES + BAR:
                    columns.insert(0, BarColumn(BAR))
                self.columns = tuple(columns)
                return super().make_tasks_table(tasks)

        self._progress = Line(
            console=console,
            refresh_per_second=5,
            redirect_stdout=redirect and sys.stdout is not None and sys.stdout.isatty(),
            redirect_stderr=redirect,
            expand=True,
        )
        self._bar: Any = None

    def show(self, standing: Standing) -> None:
        """Renews the line."""
        self._progress.standing = standing
        shown: dict[str, Any] = {
            "completed": standing.done + standing.failed,
            "total": standing.total,
            "description": standing.counts,
            "detail": standing.detail,
        }
        if self._bar is None:  # what an earlier attempt has completed took no time of this one
            self._bar = self._progress.add_task(**shown)
            self._progress.start()
        else:
            self._progress.update(self._bar, **shown)

    def stop(self) -> None:
        """Leaves the line standing."""
        self._progress.stop()


class Notebook:
    """An output of a notebook's cell, which needs no widgets."""

    def __init__(self) -> None:
        self._display: Any = import_module("IPython.display").display
        self._output: Any = None

    def show(self, standing: Standing) -> None:
        """Renews the output."""
        bar = f'<progress value="{standing.done + standing.failed}" max="{standing.total}"></progress>'
        shown = {"text/html": f"{bar} {html.escape(str(standing))}", "text/plain": str(standing)}
        if self._output is None:
            self._output = self._display(shown, raw=True, display_id=True)
        else:
            self._output.update(shown, raw=True)

    def stop(self) -> None:
        """Leaves the output standing."""


def display_here(redirect: bool = True) -> Display:
    """Makes the display that fits this process.

    Args:
        redirect: Whether what is printed meanwhile may be put above a terminal's line.

    Raises:
        MissingExtraError: There is a terminal, but rich is not installed.
    """
    if _in_notebook():
        return Notebook()
    if sys.stderr is not None and sys.stderr.isatty():
        return Terminal(redirect)
    return Nowhere()


def _in_notebook() -> bool:
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return shell is not None and hasattr(shell, "kernel")


@attrs.define(eq=False)
class Tracker:
    """Counts the tasks of one sweep as they begin and end, and shows that.

    Args:
        total: How many tasks there are.
        done: How many of them an earlier attempt has completed.
        words: The group's template and vocabulary.
        display: Where it is shown.
    """

    total: int
    done: int
    lookup: MetricLookup
    display: Display
    standing: Standing = attrs.field(init=False)
    _metric_key: MetricKey | None = None
    _best: float | None = None
    _under_way: dict[str, TaskState] = attrs.field(factory=dict)
    _stopped: bool = False

    def __attrs_post_init__(self) -> None:
        self.standing = Standing(self.total, self.done)
        self.display.show(self.standing)

    def begun(self, state: TaskState) -> None:
        """A task is under way."""
        self._under_way[state.spec.key] = state
        self._show()

    def look(self) -> None:
        """Takes in which of the tasks under way have ended."""
        for key, state in list(self._under_way.items()):
            if not state.is_open:
                del self._under_way[key]
                self.standing.done += state.status == "completed"
                self.standing.failed += state.status != "completed"
                if state.status == "completed":
                    self._compare(state)
        self._show()

    def stop(self) -> None:
        """Shows the last state, and leaves it standing."""
        if not self._stopped:
            self._stopped = True
            self.look()
            self.display.stop()

    def _show(self) -> None:
        self.standing.current = [state.spec.name for state in self._under_way.values()]
        self.display.show(self.standing)

    def _compare(self, state: TaskState) -> None:
        if self._metric_key is None:
            self._metric_key = telling_measure(self.lookup, list(state.metrics))
        data = state.metrics.get(self._metric_key) if self._metric_key is not None else None
        if data is None or self._metric_key is None:
            return
        stats = data.stats
        mode = self.lookup.likely_mode(self._metric_key[0])
        if self._best is None or (stats.last > self._best if mode == "max" else stats.last < self._best):
            self._best = stats.last
            label = self.lookup.label(self._metric_key)
            self.standing.best = f"best {label} {stats.last:.4g} ({state.spec.name})"


def telling_measure(lookup: MetricLookup, metric_keys: Sequence[MetricKey]) -> MetricKey | None:
    """Chooses the measure by which tasks are told better from worse.

    The first metric of the vocabulary that has values and a mode; without a vocabulary the first one
    whose mode can be told by its name. Of its contexts rather `val` than `test` than others.
    """
    known = [metric_key for metric_key in metric_keys if lookup.likely_mode(metric_key[0]) is not None]
    vocabulary = lookup.vocabulary.metrics if lookup.vocabulary is not None else ()
    order = list(dict.fromkeys([*vocabulary, *(metric for metric, _ in known)]))

    def rank(metric_key: MetricKey) -> tuple[int, int]:
        places = (PREFERRED.index(value) for _, value in metric_key[1] if value in PREFERRED)
        return order.index(metric_key[0]), min(places, default=len(PREFERRED))

    return min(known, key=rank, default=None)
