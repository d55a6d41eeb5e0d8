"""A group's machinery while it is open: creates tasks, ends them, and goes through all of them.

A `Run` knows no public object, so that a group that nobody holds any more can be collected and
its tasks still be ended.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any, Literal

import attrs

from .._clearml import sdk
from .._clearml.api import Unreachable
from .._clearml.hyperparameters import general, stored_parameters
from .._drift.warn import drift, drift_text
from .._model.metric_data import copy_metrics, metrics_to_json
from .._model.specs import Ending, RunInfo, TaskSpec
from .._text import counted
from ..errors import (
    DeliveryError,
    DriftWarning,
    GroupStateError,
    NonFiniteError,
    NonFiniteWarning,
    TaskGroupWarning,
)
from .naming import Names
from .recount import recount
from .reporter import MAX_TIMEOUT_S, Reporter
from .state import TaskState
from .worker_log import CLOSE_TIMEOUT_S as WORKERS_TIMEOUT_S
from .worker_log import WorkerLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .._clearml.agent_task import AgentTask
    from .._model.metrics import Vocabulary
    from .._model.name_template import NameTemplate
    from .._model.past import PastTask, Prior
    from .._model.status import Status
    from .._storage.base import Backend
    from .._storage.run_log import RunLog
    from .signals import Interrupts

REASON_LENGTH = 500
TASK_PATIENCE = 30.0
"""Seconds for which the end of one task waits for delivery; the group's end waits for the rest."""
TO_DISK = 1.0
"""Seconds that the last reports get to reach the disk, whatever is left of the time for closing."""


@attrs.define(eq=False)
class Run:
    """One execution of a group, while it is open and after.

    Attributes:
        point: The point of this run that an agent runs this script as.
        elsewhere: The point of another group that an agent runs this script as.
        states: The tasks that this process runs, by their keys.
        submitted: Those that agents run.
    """

    info: RunInfo
    backend: Backend
    template: NameTemplate
    vocabulary: Vocabulary | None
    nonfinite: Literal["skip", "raise"]
    run_log: RunLog | None
    parent: str | None = None
    owns_parent: bool = False
    main_task: Any = None
    prior: Prior | None = None
    summarize: Callable[[Run], Iterable[str]] | None = None
    point: AgentTask | None = None
    elsewhere: AgentTask | None = None
    retry: Literal["new", "continue"] = "new"
    states: dict[str, TaskState] = attrs.field(factory=dict)
    submitted: dict[str, TaskState] = attrs.field(factory=dict)
    told: set[str] = attrs.field(factory=set)
    last_words: dict[str, Callable[[], None]] = attrs.field(factory=dict, repr=False)
    """What is done as the group closes, before the parent ends; by what does it."""
    reporter: Reporter = attrs.field(init=False)
    worker_log: WorkerLog = attrs.field(factory=WorkerLog)
    frames: int = 0
    closed: bool = False
    parent_ended: bool = False
    summary_error: Exception | None = None
    started: float = attrs.field(factory=time.time)
    _is_away: bool = False
    _pid: int = attrs.field(factory=os.getpid)
    _creating: threading.RLock = attrs.field(factory=threading.RLock, repr=False)

    def __attrs_post_init__(self) -> None:
        self.reporter = Reporter(self.backend)

    @property
    def in_child(self) -> bool:
        """Whether this is a forked child, whose end closes nothing of its parent's."""
        return os.getpid() != self._pid

    # --- tasks -------------------------------------------------------------------------------

    def start(self, parent: str | None, parent_spec: TaskSpec | None) -> None:
        """Makes the parent where the run needs one of its own, and starts reporting."""
        self.parent = parent
        if parent_spec is not None:
            (self.parent,) = self.backend.create(self.info, [parent_spec], None)
            self.owns_parent = True
        self._write([{"event": "run", **self._facts()}])
        self.reporter.start()

    def create(self, specs: Sequence[TaskSpec], turn: bool = False) -> list[TaskState]:
        """Creates tasks, which are open from now on.

        Raises:
            GroupStateError: Another thread has closed the group just now.
        """
        with self._creating:
            if self.closed:
                advice = "open its tasks before its block ends"
                raise GroupStateError(self.info.name, "has been closed", advice)
            by_key = {state.spec.key: state for state in self._again(specs, turn)}
            new = [self.attempt_of(spec) for spec in specs if spec.key not in by_key]
            if self.backend.mode == "online":  # what a SIGKILL right here leaves behind is known as ours
                self._write({"event": "opening", "key": s.key, "attempt": s.attempt} for s in new)
            at_agent = self.point is not None  # where nothing is made, not even the project
            ids = [] if at_agent and not new else self.backend.create(self.info, new, self.parent)
            for spec, task_id in zip(new, ids, strict=True):
                by_key[spec.key] = self.state_of(spec, task_id, turn)
            states = [by_key[spec.key] for spec in specs]
            self.states.update((state.spec.key, state) for state in states)
            self._write(
                {
                    "event": "task",
                    "id": state.id,
                    "key": state.spec.key,
                    "name": state.spec.name,
                    "index": state.spec.index,
                    "attempt": state.spec.attempt,
                    "params": stored_parameters(state.params),
                }
                for state in states
                if not state.done
            )
        return states

    def is_done(self, key: str) -> bool:
        """Whether an earlier attempt has completed a task."""
        known = self.prior.attempts.get(key) if self.prior is not None else None
        return known is not None and known.status == "completed"

    def _again(self, specs: Sequence[TaskSpec], turn: bool) -> list[TaskState]:
        """Gives the tasks that an earlier attempt has completed, or that are gone on with."""
        again = [self.state_of(spec, spec.task_id, turn) for spec in specs if spec.task_id]
        if self.prior is None:
            return again
        for spec in specs:
            known = self.prior.attempts.get(spec.key)
            goes_on = self.retry == "continue" and spec.key not in self.prior.queued
            goes_on = goes_on or spec.key in self.prior.drafts  # which nobody has begun
            if known is None or not (self.is_done(spec.key) or goes_on):
                continue
            state = self._known(spec, known, turn)
            if self.is_done(spec.key):
                state.status, state.done, state.finished, state.ended = "completed", True, True, state.opened
            again.append(state)
        self.backend.reopen([state.id for state in again if not state.done])
        return again

    def _known(self, spec: TaskSpec, known: PastTask, turn: bool = False) -> TaskState:
        spec = attrs.evolve(spec, attempt=known.attempt, index=known.index)
        state = self.state_of(spec, known.id, turn)
        state.metrics.update(copy_metrics(known.metrics))
        return state

    def recall(self, specs: Iterable[TaskSpec]) -> list[TaskState]:
        """Gives tasks of the resumed run as they ended, without another attempt at any of them."""
        states = []
        for spec in specs:
            known = self.prior.attempts.get(spec.key) if self.prior is not None else None
            if known is None or known.status is None:
                continue
            state = self._known(spec, known)
            state.status, state.reason, state.done = known.status, known.reason, known.status == "completed"
            state.finished, state.ended = True, state.opened
            states.append(state)
        self.states.update((state.spec.key, state) for state in states)
        return states

    def attempt_of(self, spec: TaskSpec) -> TaskSpec:
        """Numbers an attempt after those that there were."""
        known = self.prior.attempts.get(spec.key) if self.prior is not None else None
        return spec if known is None else attrs.evolve(spec, attempt=known.attempt + 1, index=known.index)

    def state_of(self, spec: TaskSpec, task_id: str, turn: bool) -> TaskState:
        """Makes what the run knows of a task."""
        fields = spec.template_fields(self.info.name, task_id)
        names = Names(self.template, self.vocabulary, task_id, fields, self.told)
        return TaskState(spec, task_id, names, dict(spec.params), time.monotonic(), turn=turn)

    def leave_out(self, state: TaskState, metric: str, context: Mapping[str, Any], value: float) -> None:
        """Counts a value that no server stores, and tells of it once per series.

        Raises:
            NonFiniteError: The group was made with `nonfinite="raise"`.
        """
        metric_key, _ = state.names.resolve(metric, context)
        if self.nonfinite == "raise":
            raise NonFiniteError(str(metric_key), value, state.spec.name)
        state.nonfinite[metric_key] = state.nonfinite.get(metric_key, 0) + 1
        if state.nonfinite[metric_key] == 1:
            warnings.warn(
                f"{metric_key!s} is {value!r} in the task {state.spec.name!r}; ClearML cannot "
                "store that, so such points are left out and counted",
                NonFiniteWarning,
                stacklevel=5 + self.frames,
            )

    # --- the end -----------------------------------------------------------------------------

    def mark(self, state: TaskState, status: Status, reason: str = "") -> None:
        """Sets how a task ends; it takes no more data from now on. The first word stands."""
        if state.is_open:
            state.status, state.reason = status, reason[:REASON_LENGTH]
            state.ended = time.monotonic()

    def end(self, state: TaskState, status: Status, reason: str, timeout: float) -> None:
        """Ends one task while the group goes on; what stays undelivered is left to the group's end."""
        self.mark(state, status, reason)
        self.finish([state], min(timeout, TASK_PATIENCE))

    def flush(self, timeout: float) -> bool:
        """Waits until all that was reported is where it belongs; tells whether it is."""
        deadline = time.monotonic() + min(timeout, MAX_TIMEOUT_S)
        through = self.reporter.flush(timeout)
        return self.backend.flush(max(0.0, deadline - time.monotonic())) and through

    def waiting(self) -> dict[str, int]:
        """Counts what was reported and waits to be delivered, for each ClearML task."""
        return self.reporter.undelivered()

    def finish(self, states: Iterable[TaskState], timeout: float, last: bool = False) -> list[Exception]:
        """Delivers what the ended tasks were given, and tells the store how they ended.

        Args:
            states: The tasks; those that are open or through already are passed over.
            timeout: The most seconds that it may take.
            last: Whether nobody will try again: a task whose data the store refused still gets
                the status that it earned.

        Returns:
            What went wrong; the tasks that it did not go wrong for have ended all the same.
        """
        todo = [state for state in states if not state.finished and not state.is_open]
        if not todo or self.in_child:
            return []
        if not last and self._is_away and self.backend.trouble() is not None:
            return []  # once is enough to wait for a server that is away; the group's end tries again
        timeout = min(timeout, MAX_TIMEOUT_S)
        deadline = time.monotonic() + timeout
        errors: list[Exception] = []
        self._is_away = False
        if not self.flush(timeout) and (missing := self.undelivered(todo)):
            errors.append(missing)
            if time.monotonic() >= deadline:
                self._is_away = True
                recount(self, todo, 0.0)
                return errors  # it hangs, and would again
            if not last:
                waiting = self.waiting()
                todo = [state for state in todo if state.id not in waiting]
        recount(self, todo, max(1.0, deadline - time.monotonic()))
        endings = [Ending(state.id, state.status, state.reason) for state in todo]
        try:
            refused = self.backend.finish(endings, max(0.0, deadline - time.monotonic()))
            if not refused:
                for state in todo:
                    state.finished = True
                self._write(self._end_facts(state) for state in todo)
        except Exception as error:  # an error here never takes the place of the body's own
            refused = [error]
        return errors + refused

    def close(self, status: Status, reason: str, timeout: float, interrupts: Interrupts) -> list[Exception]:
        """Goes through all the steps of the end, whatever goes wrong in one of them.

        Tasks that are still open end with `status`. A step that is interrupted is done again;
        after a second interrupt nothing is waited for any more.
        """
        if self.in_child:
            self.closed = True
            return []
        timeout = min(timeout, MAX_TIMEOUT_S)
        deadline = time.monotonic() + timeout
        created = self._creating.acquire(timeout=timeout)  # a task that a thread opens just now ends too
        self.closed = True
        if created:
            self._creating.release()
        states = list(self.states.values())
        errors: list[Exception] = []
        _attempt(lambda: self.worker_log.merge(self, min(WORKERS_TIMEOUT_S, timeout)), errors, interrupts)
        for state in states:
            self.mark(state, status, reason)

        def left() -> float:
            return 0.0 if interrupts.given_up else max(0.0, deadline - time.monotonic())

        _attempt(lambda: self.finish(states, left(), last=True), errors, interrupts)
        # What could not be delivered is told; how it ended is kept.
        if interrupts.given_up and (missing := self.undelivered(states)):
            errors.append(missing)
        unfinished = [self._end_facts(state) for state in states if not state.finished]
        _attempt(lambda: self._write(unfinished), errors, interrupts)
        if not errors and not interrupts.given_up:
            _attempt(lambda: self._tell_parent(left()), errors, interrupts)
        # The command that delivers the rest ends the parent, too: it need not be told twice.
        away = any(isinstance(error, Unreachable) or getattr(error, "remedy", "") for error in errors)
        told = [] if away else errors
        for say in () if away or interrupts.given_up else list(self.last_words.values()):
            _attempt(say, errors, interrupts)
        _attempt(lambda: self._finish_parent(status, reason, left()), told, interrupts)
        facts = {"event": "close", "status": status, "reason": reason[:REASON_LENGTH]}
        _attempt(lambda: self._write([{**facts, "settled": self.parent_ended}]), errors, interrupts)
        _attempt(lambda: self.reporter.stop(max(left(), TO_DISK)), errors, interrupts)
        _attempt(self.backend.close, errors, interrupts)
        _attempt(lambda: self.worker_log.close(self), errors, interrupts)
        errors.extend((*self._lost(), *self.worker_log.troubles, *self.backend.refusals()))
        if self.run_log is not None:
            _attempt(self.run_log.close, errors, interrupts)
        return list({f"{type(error)} {error}": error for error in errors}.values())  # each told once

    def _tell_parent(self, timeout: float) -> list[Exception]:
        """Gives the parent what it shows of the whole run."""
        if self.summarize is None or self.parent is None:
            return []
        try:
            events = list(self.summarize(self))
        except Exception as error:  # however it fails, the run's data is complete without it
            self.summary_error = error
            return []
        for event in events:
            self.reporter.put_event(self.parent, event)
        if events and not self.flush(timeout):
            cause = str(self.reporter.error or self.backend.trouble() or "the time for closing ran out")
            waiting = self.waiting().get(self.parent, 0)
            return [
                DeliveryError(waiting, [self.info.name], self.backend.where, cause, self.backend.remedy())
            ]
        return []

    def _finish_parent(self, status: Status, reason: str, timeout: float) -> list[Exception]:
        if self.main_task is not None:
            self.parent_ended = True
            sdk.flush(self.main_task, timeout)
        elif self.owns_parent and self.parent is not None:
            errors = self.backend.finish([Ending(self.parent, status, reason)], timeout)
            self.parent_ended = not errors
            return errors
        self.parent_ended = True
        return []

    def set_parent_parameters(self, params: Mapping[str, Any]) -> None:
        """Adds parameters, on one level, to the section `General` of the parent, if there is one."""
        if self.main_task is not None:  # ClearML's own object writes all of them, from its own copy
            sdk.set_parameters(self.main_task, general(params))
        elif self.parent is not None:
            self.backend.set_parameters(self.parent, params)

    def undelivered(self, states: Sequence[TaskState]) -> DeliveryError | None:
        """Tells what of the tasks' data waits to be delivered, as an error; None for nothing."""
        waiting = self.waiting()
        names = [state.spec.name for state in states if state.id in waiting]
        if not names:
            return None
        points = sum(waiting.get(state.id, 0) for state in states)
        cause = str(self.reporter.error or self.backend.trouble() or "the time for closing ran out")
        remedy = self.backend.remedy()
        if self.reporter.error is not None and remedy:  # the disk refuses
            kept = self.backend.undelivered()
            lost = points - sum(kept.get(state.id, 0) for state in states)
            remedy = f"{lost:,} of them are lost. The others: {remedy}" if lost < points else ""
        return DeliveryError(points, names, self.backend.where, cause, remedy)

    def _lost(self) -> list[Exception]:
        lost = self.reporter.lost
        if not lost:
            return []
        names = [state.spec.name for state in self.states.values() if state.id in lost]
        cause = f"the queue was full and nothing took them away ({self.reporter.error or 'no progress'})"
        return [DeliveryError(sum(lost.values()), names, self.backend.where, cause)]

    def summary(self) -> list[tuple[type[Warning], str]]:
        """Tells at the end what a user should know: drift, and points that were left out."""
        told: list[tuple[type[Warning], str]] = []
        if self.vocabulary is None:
            completed = [state for state in self.states.values() if state.status == "completed"]
            reported = {state.spec.name: state.metric_names for state in completed if state.metric_names}
            found = drift(reported)
            if found:
                kept = self.backend.mode in ("online", "offline")
                group = f"{self.info.project}/{self.info.name}" if kept else ""
                told.append((DriftWarning, drift_text(found, group)))
        if self.summary_error is not None:
            told.append((TaskGroupWarning, f"the parent task has no summary: {self.summary_error!r}"))
        more = sum(count - 1 for state in self.states.values() for count in state.nonfinite.values())
        if more:
            were = "was" if more == 1 else "were"
            text = f"{counted(more, 'more point')} that ClearML cannot store {were} left out"
            told.append((NonFiniteWarning, text))
        return told

    def _facts(self) -> dict[str, Any]:
        return {
            "group": self.info.group_id,
            "project": self.info.project,
            "name": self.info.name,
            "run": self.info.run,
            "number": self.info.number,
            "template": self.info.template,
            "metrics": self.info.metrics,
            "mode": "agent" if self.point is not None else self.backend.mode,
            "parent": self.parent,
            "owns_parent": self.owns_parent,
            "pid": self._pid,
        }

    def _end_facts(self, state: TaskState) -> dict[str, Any]:
        return {
            "event": "end",
            "id": state.id,
            "key": state.spec.key,
            "status": state.status,
            "reason": state.reason,
            "duration": round(state.duration, 3),
            "params": stored_parameters(state.params),
            "points": sum(data.stats.count for data in state.metrics.values()),
            "left_out": sum(state.nonfinite.values()),
            "settled": state.finished,
            "measures": metrics_to_json(state.metrics),
        }

    def _write(self, lines: Iterable[dict[str, Any]]) -> None:
        if self.run_log is not None:
            self.run_log.write_all(list(lines))


def _attempt(step: Callable[[], Any], errors: list[Exception], interrupts: Interrupts) -> None:
    """Does one step of the end; once more if it was interrupted for the first time."""
    for _ in range(2):
        try:
            try:
                interrupts.waiting = True
                errors.extend(step() or [])
            finally:
                interrupts.waiting = False
            return
        except Exception as error:
            errors.append(error)
            return
        except (KeyboardInterrupt, SystemExit) as interrupt:
            interrupts.add(interrupt)
            if interrupts.given_up:
                return
