"""The parent's page while its run is open on a server: what the run is, its counts, the results so far.

A thread of its own looks every few seconds how many tasks have ended; the script waits for nothing of it.
When the run ends, the final summary comes after what the thread has sent.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import attrs

from .._clearml.events import console_event, now, scalar_event_end, scalar_event_start
from .._clearml.new_task import description
from .._clearml.tasks import set_comment
from .._log import logger
from .._model import limits
from .._model.name_template import Name
from .._model.status import tally
from .._text import counted, printable
from ..errors import ServerError, TaskGroupError
from .page_names import COUNTED_STATUSES, group_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .._run.run import Run
    from .._run.state import TaskState

FLUSH_TIMEOUT_S = 5.0
"""How long tables and figures wait for reports that are just being counted."""
MAX_SUMMARY_SHARE = 0.02
"""The part of the time that the tables and figures of a large run may take."""


@attrs.define(eq=False, repr=False)
class LiveParent:
    """Keeps the page of a run's parent up to date while the run is open; called as it ends.

    Args:
        run: The run.
        clock: Seconds of a clock, for tests.
    """

    run: Run
    clock: Callable[[], float] = time.monotonic
    _is_described: bool = False
    _counts: dict[str, int] = attrs.field(factory=dict)
    _table_url: str | None = None
    _next_look: float = attrs.field(init=False)
    _next_summary: float = attrs.field(init=False)
    _ended: threading.Event = attrs.field(factory=threading.Event)
    _sending: threading.Lock = attrs.field(factory=threading.Lock)

    def __attrs_post_init__(self) -> None:
        self._next_look = self.clock()
        self._next_summary = self.clock() + limits.LIVE_SUMMARY_S

    def __call__(self, run: Run) -> Iterable[str]:
        """Makes the events of the final summary; none of the live ones follow."""
        self.end()
        from .summary import summary_events  # the thread needs it first, if the run is not short

        states, last = run.all_states(), []
        if self._is_described and (counts := _status_counts(states)) != self._counts:
            last = list(self._count_events(counts))
        return [*last, *summary_events(run)]

    def end(self) -> None:
        """Ends the thread; what it is just making is not sent."""
        with self._sending:
            self._ended.set()

    def start(self) -> None:
        """Starts the thread; without one, as at the interpreter's exit, the page is complete at the end."""
        try:
            threading.Thread(target=self._loop, name="clearml-taskgroup-live", daemon=True).start()
        except RuntimeError:
            logger.debug("no thread can start for the parent's page")

    def _loop(self) -> None:
        while not self._ended.wait(limits.LIVE_LOOK_S if self._is_described else limits.LIVE_FIRST_LOOK_S):
            if self.run.closed:
                return
            self.update()

    def update(self) -> None:
        """Sends what has changed since the last call; raises nothing."""
        try:
            if self.clock() >= self._next_look and self._may_write():
                self._update()
        except Exception as error:  # the summary at the end reports what goes wrong there, too
            logger.debug("the page of the parent was not updated: %r", error)

    def _may_write(self) -> bool:
        """Whether this process writes to the parent: it takes events, and no other process does."""
        run = self.run
        if run.parent is None or run.aborted is not None or run.parent in run.backend.adopted:
            return False
        if run.backend.delivery_problem() is not None:  # the next summary would only wait behind the last
            return False
        if run.sharing is None:
            return True
        self._next_look = self.clock() + limits.LIVE_SHARED_S
        try:
            leads = run.sharing.shared.leads()
        except ServerError:
            return False
        if leads:
            run.look()
        return leads

    def _update(self) -> None:
        states = self.run.all_states()
        if not states:
            return
        events: list[str] = []
        counts = _status_counts(states)
        if counts != self._counts:
            events += [*self._links(states), *self._count_events(counts)]
        if not self._is_described:
            events += self._description(states)
        if self.clock() >= self._next_summary:
            from .summary import summary_events

            began = self.clock()
            self.run.reporter.flush(FLUSH_TIMEOUT_S)
            events += summary_events(self.run, final=False)
            taken = self.clock() - began
            self._next_summary = began + max(limits.LIVE_SUMMARY_S, taken / MAX_SUMMARY_SHARE)
        with self._sending:
            if not self._ended.is_set():
                for event in events:
                    self.run.reporter.put_event(str(self.run.parent), event)
        self._is_described, self._counts = True, counts

    def _links(self, states: list[TaskState]) -> list[str]:
        """Makes the table of links, again if the page's table has other columns: of new metrics."""
        from .._results.task_table import run_table_url
        from .summary import links_events

        table_url, before = run_table_url(self.run), self._table_url
        if self._is_described and table_url == before:
            return []
        self._table_url = table_url
        ids = [state.id for state in states]
        compare_urls = self.run.backend.compare_urls(ids) if len(ids) > 1 else []
        return links_events(self.run, table_url, compare_urls, len(ids))

    def _description(self, states: list[TaskState]) -> Iterator[str]:
        """Tells what the run is, in the console and in a new parent's description."""
        run = self.run
        number = counted(max(len(states), run.specs.number_of_tasks), "task")
        text = f"{run.info.project}/{run.info.name}, run {run.info.number}: {number}"
        links = [f"all tasks as a table: {self._table_url}"] if self._table_url else []
        yield console_event(str(run.parent), printable(text) + "".join(f"\n{link}" for link in links))
        if run.owns_parent and run.prior is None and run.backend.transport is not None:
            comment = "\n".join([f"{description(run.info)} {number}.", *links])
            try:
                set_comment(run.backend.transport, str(run.parent), comment)
            except TaskGroupError as error:
                logger.debug("%s", error)

    def _count_events(self, counts: dict[str, int]) -> Iterator[str]:
        """Makes a point of each count; the x value is how many tasks have ended."""
        title = f"{group_prefix(self.run)}Tasks"
        end = scalar_event_end(sum(counts[status] for status in COUNTED_STATUSES), now())
        for status in COUNTED_STATUSES:
            start = scalar_event_start(str(self.run.parent), Name(title, status))
            yield f"{start}{counts[status]}{end}"


def _status_counts(states: Iterable[TaskState]) -> dict[str, int]:
    return dict.fromkeys(COUNTED_STATUSES, 0) | tally(state.status for state in states)


def watch(run: Run) -> LiveParent:
    """Keeps the page of a run's parent up to date from now on."""
    live = LiveParent(run)
    run.after_close.append(live.end)  # there is no final summary if the end goes wrong
    live.start()
    return live
