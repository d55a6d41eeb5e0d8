"""What a server knows of a task that agents run → what the script shows of it."""

from __future__ import annotations

import contextlib
import json
import math
import random
import time
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml.api import Transport, Unreachable
from .._clearml.documents import duration_of, past_task
from .._clearml.parameter_text import decoded
from .._clearml.queries import PATIENCE, Document, identity_of
from .._clearml.queues import documents, enqueue, find_queue, statuses, stop
from .._log import logger
from .._model.status import Status, from_server
from .._run.run import REASON_LENGTH, Run
from .._storage.memory import MemoryBackend
from .._storage.online import OnlineBackend
from .._task import GroupTask
from .._text import counted
from ..errors import QueuedTaskError, WaitTimeoutError
from .submit import adopted, like_main

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .._model.specs import TaskSpec
    from .._run.state import TaskState


def status_of(word: str) -> Status:
    """Translates a server's status; empty for a task that is gone."""
    return from_server(word) if word else "stopped"


def take_over(run: Run, state: TaskState, doc: Document) -> None:
    """Takes over what the server knows of a task: status, values, and what it was edited to."""
    state.status = status_of(str(doc["status"]))
    reason = str(doc.get("status_reason") or doc.get("status_message") or "")
    state.reason = reason[:REASON_LENGTH] if state.status in ("failed", "stopped") else ""
    state.ended = duration_of(doc)
    identity = identity_of(doc)
    past = past_task(doc, run.template)
    if identity.get("key") != state.spec.key:  # edited in the web page before an agent took it
        state.spec = attrs.evolve(state.spec, key=past.key, name=past.name, index=past.index)
        state.params = _edited(doc)
    state.metrics.clear()
    state.metrics.update(past.metrics)


def _edited(doc: Document) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for name, stored in json.loads(identity_of(doc).get("params") or "{}").items():
        try:
            params[name] = decoded(stored)
        except Exception:  # a class that this script does not have: told as it is written there
            params[name] = stored
    return params


FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two questions how far the tasks are; longer and longer where nothing happens."""
TURN = 30.0
"""Seconds for which one question waits for a server that does not answer."""
OUT = 10.0
"""Seconds after which a task that is in no queue is taken for one that somebody took out."""
_TOLD = {"in_progress": "running", "created": "taken out of the queue"}
_ACTIVE = ("queued", "in_progress")


class QueuedTask(GroupTask):
    """A task that was submitted to a queue: to be looked at, not to be worked on."""

    __slots__ = ()

    def _report(self, *args: Any) -> None:
        self._require_open()

    def close(self, timeout: float | None = None) -> None:
        """Raises `QueuedTaskError`."""
        self._require_open()

    def _require_open(self) -> None:
        raise QueuedTaskError(self._state.spec.name, self._state.status)


@attrs.frozen
class Cancelled:
    """What `group.cancel()` has done.

    Attributes:
        dequeued: The tasks that were taken out of their queue, or were drafts; they are stopped.
        stopping: Those that run: their agents were asked to stop them, and will.
        ended: Those that had ended before.
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
    """One sweep's tasks in one queue.

    Attributes:
        is_served: Whether an agent serves the queue, as far as the server tells.
        tasks: All of them.
        drafts: Those that wait for a place, in their order.
    """

    queue: str
    queue_id: str
    limit: int | None
    is_served: bool = True
    tasks: list[TaskState] = attrs.field(factory=list)
    drafts: list[TaskState] = attrs.field(factory=list)

    def take(self) -> list[TaskState]:
        """Gives the drafts for which there is a place, which they have from now on."""
        active = sum(state.status in _ACTIVE for state in self.tasks)
        places = len(self.drafts) if self.limit is None else max(0, self.limit - active)
        taken, self.drafts = self.drafts[:places], self.drafts[places:]
        return taken


@attrs.define(eq=False)
class Queueing:
    """What one group has submitted."""

    submissions: list[Submission] = attrs.field(factory=list)
    _out: dict[str, float] = attrs.field(factory=dict)

    @property
    def tasks(self) -> list[TaskState]:
        """All submitted tasks."""
        return [state for one in self.submissions for state in one.tasks]

    @property
    def open_tasks(self) -> list[TaskState]:
        """Those that have not ended, as far as it is known here."""
        return [state for state in self.tasks if state.is_open]

    @property
    def drafts(self) -> list[TaskState]:
        """Those that wait for a place."""
        return [state for one in self.submissions for state in one.drafts]

    # --- submitting ----------------------------------------------------------------------------

    def submit(self, run: Run, specs: Sequence[TaskSpec], submission: Submission) -> list[TaskState]:
        """Makes a draft of each point and enqueues as many as the limit lets in.

        Raises:
            ServerError: The server refuses, or is away; what was made stays as drafts.
        """
        with _server(run) as transport, _drafts_told():
            known = self._adopted(run, specs, transport)
            fresh = [run.attempt_of(spec) for spec in specs if spec.key not in known]
            backend = run.backend
            assert isinstance(backend, (OnlineBackend, MemoryBackend))
            ids = backend.draft(run.info, fresh, run.parent, like_main(run, transport))
            for spec, task_id in zip(fresh, ids, strict=True):
                known[spec.key] = _state(run, spec, task_id, "created")
            submission.tasks = [known[spec.key] for spec in specs]
            submission.drafts = [state for state in submission.tasks if state.status not in _ACTIVE]
            self.submissions.append(submission)
            self._fill(run, transport)
        return submission.tasks

    def _adopted(
        self, run: Run, specs: Sequence[TaskSpec], transport: Transport | None
    ) -> dict[str, TaskState]:
        found = ((spec.key, adopted(run, spec, transport)) for spec in specs)
        return {key: _state(run, *known) for key, known in found if known is not None}

    def _fill(self, run: Run, transport: Transport | None) -> None:
        for submission in self.submissions:
            taken = submission.take()
            if not taken:
                continue
            if transport is not None:
                ids = [state.id for state in taken]
                submission.is_served = enqueue(transport, ids, submission.queue_id)
            for state in taken:
                _set(run, state, "queued")

    def tell_of(self, done: int, tasks: Sequence[TaskState], total: int) -> None:
        """Says in one line what a sweep has submitted."""
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

    def wait(self, run: Run, timeout: float | None) -> None:
        """Follows the tasks until all have ended; as some do, others take their places.

        Raises:
            WaitTimeoutError: They had not after `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause, told = FIRST_PAUSE, ""
        with _server(run) as transport, self._interrupts():
            while transport is not None and self.open_tasks:
                away = ""
                left = math.inf if deadline is None else deadline - time.monotonic()
                try:
                    changed = self.refresh(run, transport, max(0.0, min(left, TURN)))
                    self._fill(run, transport)
                except Unreachable as error:
                    changed, away = False, f"; the server does not answer: {error.problem}"
                if told != (told := f"{self.counts()}{away}"):
                    logger.info(told)
                if not self._to_come():
                    break
                if deadline is not None and (left := deadline - time.monotonic()) <= 0:
                    with contextlib.suppress(Unreachable):  # what those that run have so far
                        running = [state for state in self.tasks if state.status == "in_progress"]
                        self._look_at(run, transport, running, TURN)
                    names = [state.spec.name for state in self.open_tasks]
                    raise WaitTimeoutError(timeout or 0.0, self.counts(), names)
                pause = FIRST_PAUSE if changed else min(pause * 1.5, LONGEST_PAUSE)
                transport.closing.wait(min(pause * random.uniform(0.75, 1.25), left))

    def _to_come(self) -> bool:
        """Whether any task will end without somebody's help: not one that was taken out of its queue."""
        return any(state.status in _ACTIVE for state in self.tasks)

    @contextlib.contextmanager
    def _interrupts(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            logger.info(
                f"interrupted; the tasks stay where they are: {self.counts()}. group.wait() follows them "
                "again, group.cancel() ends them"
            )
            raise

    def refresh(self, run: Run, transport: Transport, patience: float = PATIENCE) -> bool:
        """Asks how far the tasks are, in one call for each 500; tells whether anything changed."""
        drafts = {id(state) for state in self.drafts}
        asked = [state for state in self.open_tasks if id(state) not in drafts]
        found = statuses(transport, [state.id for state in asked], patience)
        changed = [state for state in asked if self._word_for(state, found.get(state.id, "")) != state.status]
        self._look_at(run, transport, changed, patience)
        return bool(changed)

    def _look_at(self, run: Run, transport: Transport, states: Sequence[TaskState], patience: float) -> None:
        docs = documents(transport, [state.id for state in states], patience)
        found = {str(doc["id"]): doc for doc in docs}
        for state in states:
            if state.id in found:
                take_over(run, state, found[state.id])
            else:
                state.status, state.reason = "stopped", "deleted from the server"

    def _word_for(self, state: TaskState, word: str) -> Status:
        """Reads how far a task is; `clearml-agent execute` takes one out of its queue before it starts it."""
        status = status_of(word)
        if status != "created" or state.status not in _ACTIVE:
            self._out.pop(state.id, None)
            return status
        since = self._out.setdefault(state.id, time.monotonic())
        return state.status if time.monotonic() - since < OUT else status

    def counts(self) -> str:
        """Writes how many tasks are how far."""
        found: dict[str, int] = {}
        drafts = {id(state) for state in self.drafts}
        for state in self.tasks:
            word = "waiting for a place" if id(state) in drafts else _TOLD.get(state.status, state.status)
            found[word] = found.get(word, 0) + 1
        return ", ".join(f"{number} {word}" for word, number in found.items())

    # --- ending --------------------------------------------------------------------------------

    def cancel(self, run: Run) -> Cancelled:
        """Takes the tasks out of their queue, and has the agents end those that run."""
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
                    _set(run, state, "stopped")
        names = tuple(state.spec.name for state in todo if not state.is_open)
        stopping = tuple(state.spec.name for state in running if state.is_open)
        cancelled = Cancelled(names, stopping, ended)
        logger.info(str(cancelled))
        return cancelled

    def tell_of_left(self) -> None:
        """Says, as the group ends, what goes on without it."""
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
    """Looks the queue up that a sweep is to go to.

    Raises:
        UnknownQueueError: The server has no such queue.
    """
    with _server(run) as transport:
        return Submission(queue, find_queue(transport, queue) if transport is not None else "", limit)


def _state(run: Run, spec: TaskSpec, task_id: str, status: Status) -> TaskState:
    state = run.state_of(spec, task_id, turn=False)
    state.status, state.opened, state.ended = status, 0.0, 0.0
    return state


def _set(run: Run, state: TaskState, status: Status) -> None:
    state.status = status
    if isinstance(run.backend, MemoryBackend):
        run.backend.set_status(state.id, status)


@contextlib.contextmanager
def _drafts_told() -> Iterator[None]:
    try:
        yield
    except BaseException:
        logger.info(
            "the sweep was not submitted as a whole: run it again with resume=True, to go on with the rest"
        )
        raise


@contextlib.contextmanager
def _server(run: Run) -> Iterator[Transport | None]:
    """Opens a way to the server that is there also after the group's end; none in memory."""
    if not isinstance(run.backend, OnlineBackend):
        yield None
        return
    transport = Transport(run.backend.connection)
    try:
        yield transport
    finally:
        transport.close()
