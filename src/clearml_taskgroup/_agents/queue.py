"""Submitted tasks in ClearML queues: waiting for them, enqueueing drafts, cancelling."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml.api_errors import Unreachable
from .._clearml.documents import past_task
from .._clearml.queues import documents, enqueue, find_queue, statuses, stop
from .._log import logger
from .._model.backoff import Backoff
from .._model.parameter_json import plain
from .._model.status import from_server
from .._run.abort import check_run
from .._run.state import MAX_REASON_CHARS
from .._run.tasks import new_state, next_attempt
from .._task import GroupTask
from .._text import counted
from ..errors import QueuedTaskError, TaskReopenError, WaitTimeoutError
from .submit_checks import adopted, like_main

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .._clearml.api import Transport
    from .._clearml.queries import Document
    from .._model.specs import TaskSpec
    from .._model.status import Status
    from .._run.run import Run
    from .._run.state import TaskState

FIRST_POLL_PAUSE_S, MAX_POLL_PAUSE_S = 0.5, 30.0
"""Seconds between two requests for the tasks' statuses; the pauses grow while nothing changes."""
POLL_TIMEOUT_S = 30.0
"""Seconds for which one request waits for a server that does not answer."""
DEQUEUE_GRACE_S = 10.0
"""Seconds after which a task that has left its queue without starting was taken out by somebody."""
_STATUS_TEXTS = {"in_progress": "running", "created": "taken out of the queue"}
_ACTIVE = ("queued", "in_progress")


class QueuedTask(GroupTask):
    """A task that was submitted to a queue; it has results, but takes no data here."""

    __slots__ = ()

    def _report(self, *args: Any) -> None:
        self._require_open()

    def close(self, timeout: float | None = None) -> None:
        """Raises `QueuedTaskError`."""
        self._require_open()

    def reopen(self) -> GroupTask:
        """Raises `TaskReopenError`: this process does not run the task."""
        raise TaskReopenError(
            self._state.spec.name,
            f"({self._state.status}) was submitted to a queue, so this run cannot reopen it",
            "once it has completed, reopen it in a resumed run: TaskGroup(…, resume=True)",
        )

    def _require_open(self, call: str = "") -> None:
        raise QueuedTaskError(
            self._state.spec.name,
            f"({self._state.status}) was submitted to a queue, so only its agent reports to it and ends it",
            "put this work into the loop over the sweep, which the agent runs",
        )


@attrs.frozen
class Cancelled:
    """The result of `group.cancel()`: names of tasks.

    Attributes:
        dequeued: Tasks that were taken out of their queue, and drafts; they are stopped.
        stopping: Running tasks, which their agents were asked to stop.
        ended: Tasks that had ended before.
    """

    dequeued: tuple[str, ...]
    stopping: tuple[str, ...]
    ended: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{counted(len(self.dequeued), 'task')} dequeued, {len(self.stopping)} asked to stop, "
            f"{len(self.ended)} had ended"
        )


@attrs.define(eq=False)
class Submission:
    """The tasks of one sweep in one queue.

    Attributes:
        limit: How many of them may be queued or running at once; None for all.
        is_served: Whether the server knows of an agent that serves the queue.
        tasks: All tasks of the sweep.
        drafts: Those that `limit` keeps back, in their order.
    """

    queue: str
    queue_id: str
    limit: int | None
    is_served: bool = True
    tasks: list[TaskState] = attrs.field(factory=list)
    drafts: list[TaskState] = attrs.field(factory=list)

    def take_drafts(self) -> list[TaskState]:
        """Removes from `drafts` those that may be enqueued now, and gives them."""
        active = sum(state.status in _ACTIVE for state in self.tasks)
        places = len(self.drafts) if self.limit is None else max(0, self.limit - active)
        taken, self.drafts = self.drafts[:places], self.drafts[places:]
        return taken


@attrs.define(eq=False)
class Queueing:
    """All that one group has submitted."""

    submissions: list[Submission] = attrs.field(factory=list)
    _dequeued_at: dict[str, float] = attrs.field(factory=dict)

    @property
    def tasks(self) -> list[TaskState]:
        """All submitted tasks."""
        return [state for one in self.submissions for state in one.tasks]

    @property
    def open_tasks(self) -> list[TaskState]:
        """Those that had not ended when the server was last asked."""
        return [state for state in self.tasks if state.is_open]

    @property
    def drafts(self) -> list[TaskState]:
        """Those that a limit keeps back."""
        return [state for one in self.submissions for state in one.drafts]

    # --- submitting ----------------------------------------------------------------------------

    def submit(self, run: Run, specs: Sequence[TaskSpec], submission: Submission) -> list[TaskState]:
        """Creates a draft for each configuration and enqueues as many as the limit allows.

        Raises:
            ServerError: The server refuses or does not answer; drafts that were created stay.
        """
        with _server(run) as transport, _log_if_interrupted():
            known = self._adopted(run, specs, transport)
            fresh = [next_attempt(run, spec) for spec in specs if spec.key not in known]
            ids = run.backend.draft(run.info, fresh, run.parent, like_main(run, transport))
            for spec, task_id in zip(fresh, ids, strict=True):
                known[spec.key] = _state(run, spec, task_id, "created")
            submission.tasks = [known[spec.key] for spec in specs]
            submission.drafts = [state for state in submission.tasks if state.status not in _ACTIVE]
            self.submissions.append(submission)
            self._enqueue_drafts(run, transport)
        return submission.tasks

    def _adopted(
        self, run: Run, specs: Sequence[TaskSpec], transport: Transport | None
    ) -> dict[str, TaskState]:
        found = ((spec.key, adopted(run, spec, transport)) for spec in specs)
        return {key: _state(run, *known) for key, known in found if known is not None}

    def _enqueue_drafts(self, run: Run, transport: Transport | None) -> None:
        for submission in self.submissions:
            taken = submission.take_drafts()
            if not taken:
                continue
            if transport is not None:
                ids = [state.id for state in taken]
                submission.is_served = enqueue(transport, ids, submission.queue_id)
            for state in taken:
                _set_status(run, state, "queued")

    def log_submission(self, done: int, tasks: Sequence[TaskState], total: int) -> None:
        """Logs what the latest sweep has submitted."""
        submission = self.submissions[-1]
        if done == total:
            logger.info(f"{done} of {total} completed already; nothing is left to queue {submission.queue!r}")
            return
        before = f"{done} of {total} completed already; " if done else ""
        waiting = len(submission.drafts)
        rest = f"; {waiting} stay drafts until there is a place (limit={submission.limit})" if waiting else ""
        logger.info(
            f"{before}{len(tasks) - waiting} of {len(tasks)} are left to queue {submission.queue!r}{rest}"
        )
        if not submission.is_served:
            logger.info(f"no agent serves that queue yet: clearml-agent daemon --queue {submission.queue}")

    # --- following -----------------------------------------------------------------------------

    def wait(self, run: Run, timeout: float) -> None:
        """Waits until all tasks have ended, and enqueues drafts when others end.

        Raises:
            WaitTimeoutError: They have not ended after `timeout` seconds.
            TaskAbortedError: Somebody has stopped the parent.
        """
        deadline = time.monotonic() + timeout
        backoff, logged = Backoff(FIRST_POLL_PAUSE_S, MAX_POLL_PAUSE_S, factor=1.5), ""
        with _server(run) as transport, self._log_interrupt():
            while transport is not None and self.open_tasks:
                check_run(run)
                away = ""
                left = deadline - time.monotonic()
                try:
                    changed = self.refresh(run, transport, max(0.0, min(left, POLL_TIMEOUT_S)))
                    self._enqueue_drafts(run, transport)
                except Unreachable as error:
                    changed, away = False, f"; the server does not answer: {error.problem}"
                if logged != (logged := f"{self.counts()}{away}"):
                    logger.info(logged)
                if not any(state.status in _ACTIVE for state in self.tasks):
                    break  # the rest was taken out of the queue, and will not end by itself
                if (left := deadline - time.monotonic()) <= 0:
                    with contextlib.suppress(Unreachable):  # the results so far of those that run
                        running = [state for state in self.tasks if state.status == "in_progress"]
                        self._update(run, transport, running, POLL_TIMEOUT_S)
                    names = [state.spec.name for state in self.open_tasks]
                    raise WaitTimeoutError(timeout or 0.0, self.counts(), names)
                if changed:
                    backoff.reset()
                transport.closing.wait(min(backoff.next_pause(), left))

    @contextlib.contextmanager
    def _log_interrupt(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            logger.info(
                f"interrupted; the tasks stay where they are: {self.counts()}. group.wait() follows them "
                "again, group.cancel() ends them"
            )
            raise

    def refresh(self, run: Run, transport: Transport, timeout: float | None = None) -> bool:
        """Updates the tasks, in one call for each 500; returns whether any status changed."""
        drafts = {id(state) for state in self.drafts}
        asked = [state for state in self.open_tasks if id(state) not in drafts]
        found = statuses(transport, [state.id for state in asked], timeout)
        changed = [state for state in asked if self._status(state, found.get(state.id, "")) != state.status]
        self._update(run, transport, changed, timeout)
        return bool(changed)

    def _update(
        self, run: Run, transport: Transport, states: Sequence[TaskState], timeout: float | None
    ) -> None:
        docs = documents(transport, [state.id for state in states], timeout)
        found = {str(doc["id"]): doc for doc in docs}
        for state in states:
            if state.id in found:
                _update_state(run, state, found[state.id])
            else:
                state.status, state.reason = "stopped", "deleted from the server"

    def _status(self, state: TaskState, word: str) -> Status:
        """Translates a status; `clearml-agent execute` dequeues a task some time before it starts it.

        The empty one of a deleted task is `stopped`.
        """
        status = from_server(word) if word else "stopped"
        if status != "created" or state.status not in _ACTIVE:
            self._dequeued_at.pop(state.id, None)
            return status
        since = self._dequeued_at.setdefault(state.id, time.monotonic())
        return state.status if time.monotonic() - since < DEQUEUE_GRACE_S else status

    def counts(self) -> str:
        """Formats how many tasks have which status."""
        found: dict[str, int] = {}
        drafts = {id(state) for state in self.drafts}
        for state in self.tasks:
            word = (
                "waiting for a place"
                if id(state) in drafts
                else _STATUS_TEXTS.get(state.status, state.status)
            )
            found[word] = found.get(word, 0) + 1
        return ", ".join(f"{number} {word}" for word, number in found.items())

    # --- ending --------------------------------------------------------------------------------

    def cancel(self, run: Run) -> Cancelled:
        """Takes the tasks out of their queue, and asks agents to stop those that run."""
        with _server(run) as transport:
            if transport is not None:
                self.refresh(run, transport)
            ended = tuple(state.spec.name for state in self.tasks if not state.is_open)
            todo = self.open_tasks
            running = [state for state in todo if state.status == "in_progress"]
            drafts = [state for state in todo if state.status == "created"]
            for submission in self.submissions:
                submission.drafts = []
            if transport is not None:
                reason = "cancelled by group.cancel()"
                stop(transport, [state.id for state in todo if state.status in _ACTIVE], reason)
                stop(transport, [state.id for state in drafts], reason, force=True)
                self.refresh(run, transport)
            else:
                for state in todo:
                    _set_status(run, state, "stopped")
        names = tuple(state.spec.name for state in todo if not state.is_open)
        stopping = tuple(state.spec.name for state in running if state.is_open)
        cancelled = Cancelled(names, stopping, ended)
        logger.info(str(cancelled))
        return cancelled

    def log_open_tasks(self) -> None:
        """Logs, when the group ends, which tasks are left to agents."""
        if not self.open_tasks:
            return
        names = " and ".join(dict.fromkeys(repr(one.queue) for one in self.submissions))
        text = f"left to the queue {names}: {self.counts()}; group.wait() follows them"
        if self.drafts:
            text += (
                f". {counted(len(self.drafts), 'draft')} will not be enqueued before that: call it, run the "
                "script again with resume=True, or enqueue them in the web page"
            )
        logger.info(text)


def open_submission(run: Run, queue: str, limit: int | None) -> Submission:
    """Finds the queue of a sweep on the server.

    Raises:
        UnknownQueueError: The server has no such queue.
    """
    with _server(run) as transport:
        return Submission(queue, find_queue(transport, queue) if transport is not None else "", limit)


def _state(run: Run, spec: TaskSpec, task_id: str, status: Status) -> TaskState:
    state = new_state(run, spec, task_id)
    state.status, state.opened, state.ended = status, 0.0, 0.0
    return state


def _update_state(run: Run, state: TaskState, doc: Document) -> None:
    """Updates a task from its document on the server: status, statistics, and parameters that were edited."""
    past = past_task(doc, run.template)
    state.status = from_server(str(doc["status"]))
    reason = str(doc.get("status_reason") or doc.get("status_message") or "")
    state.reason = reason[:MAX_REASON_CHARS] if state.status in ("failed", "stopped") else ""
    state.ended = past.duration
    if past.key != state.spec.key:  # edited in the web page before an agent took it
        state.spec = attrs.evolve(state.spec, key=past.key, name=past.name, index=past.index)
        state.params = {name: plain(value) for name, value in past.params.items()}
    state.metrics.clear()
    state.metrics.update(past.metrics)


def _set_status(run: Run, state: TaskState, status: Status) -> None:
    state.status = status
    run.backend.set_status(state.id, status)


@contextlib.contextmanager
def _log_if_interrupted() -> Iterator[None]:
    try:
        yield
    except BaseException:
        logger.info(
            "the sweep was not submitted as a whole: run it again with resume=True, to go on with the rest"
        )
        raise


@contextlib.contextmanager
def _server(run: Run) -> Iterator[Transport | None]:
    """Opens a transport that works after the group's end too; None in memory."""
    if run.backend.transport is None:
        yield None
        return
    from .._clearml.api import Transport

    transport = Transport(run.backend.transport.connection)
    try:
        yield transport
    finally:
        transport.close()
