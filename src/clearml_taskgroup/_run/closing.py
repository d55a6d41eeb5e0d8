"""The end of tasks and of a whole run, step by step."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml import sdk
from .._clearml.notes import SERIES_ENTRY, series_text
from .._log import logger, warn
from .._model.specs import Ending
from .._model.status import ENDED, tally, tally_text
from .._text import counted, some
from ..errors import (
    AutoLoggingWarning,
    DeliveryError,
    DriftWarning,
    NonFiniteWarning,
    TaskGroupWarning,
)
from . import provenance
from .failures import add_note, reason_of
from .reporter import MAX_TIMEOUT_S, MIN_FLUSH_S
from .signals import Interrupts, log_termination
from .state import MAX_REASON_CHARS, TaskState
from .worker_log import CLOSE_TIMEOUT_S as WORKER_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .._model.status import Status
    from .run import Run

ABANDONED_CLOSE_TIMEOUT_S = 30.0
"""Seconds that closing may take for a group that nobody closed."""


# --- tasks ---------------------------------------------------------------------------------------


def finish_tasks(run: Run, states: Iterable[TaskState], timeout: float, last: bool) -> list[Exception]:
    """Delivers the data of ended tasks and stores how they ended; see `Run.finish`."""
    todo = [state for state in states if not state.finished and not state.is_open]
    if not todo or run.in_child:
        return []
    if not last and run.backend_is_away and run.backend.delivery_problem() is not None:
        return []  # a server that is away is waited for once; the group's end tries again
    if run.sharing is not None:
        run.sharing.shared.beat()  # a process that was suspended may not own the tasks any more
        todo = [state for state in todo if not state.finished]
    timeout = min(timeout, MAX_TIMEOUT_S)
    deadline = time.monotonic() + timeout
    errors: list[Exception] = []
    run.backend_is_away = False
    missing: Exception | None = None
    try:
        missing = None if run.flush(timeout) else run.undelivered(todo)
    except Exception as error:
        errors.append(error)
    if missing is not None:
        errors.append(missing)
        if time.monotonic() >= deadline:  # delivery timed out; waiting for the end to be stored would too
            run.backend_is_away = True
            return errors + attempt_all([lambda: recount(run, todo, 0.0)])
        if not last:
            waiting = run.reporter.undelivered()
            todo = [state for state in todo if state.id not in waiting]
    errors += attempt_all([lambda: _complete(run, todo, max(1.0, deadline - time.monotonic()))])
    errors += _store_ends(run, todo, deadline)
    if last and missing is None and not run.flush(max(0.0, deadline - time.monotonic())):
        more = run.undelivered(todo)  # what ClearML's own objects could not send
        errors += [] if more is None else [more]
    return errors


def keep_end(run: Run, state: TaskState, timeout: float) -> None:
    """Puts on this disk what an ended task reported, and how it ended, so that a kill costs nothing.

    Waits for what ClearML's own object of the task uploads, whose files the script may delete next.
    """
    if run.backend.transport is None:  # offline, in `map`: the thread that stores the end is as fast
        return
    kept = run.reporter.flush(timeout)
    try:
        run.backend.wait_for_uploads(state.id, timeout)
    except Exception:  # raised again, and reported, when the end is stored
        kept = False
    if kept and run.run_log is not None:
        run.run_log.tasks_ended([state])


def attempt_all(steps: Iterable[Callable[[], Any]]) -> list[Exception]:
    """Calls all of the functions, whatever one of them raises; returns the errors."""
    errors: list[Exception] = []
    for step in steps:
        try:
            step()
        except Exception as error:  # it must not replace the body's own exception
            errors.append(error)
    return errors


def _complete(run: Run, states: Sequence[TaskState], timeout: float) -> None:
    """Completes the metrics of tasks, and notes with each task what its events do not say."""
    recount(run, states, timeout)
    for state in states:
        if text := series_text(state.metrics):
            run.backend.annotate(state.id, {}, {SERIES_ENTRY: text})


def recount(run: Run, states: Sequence[TaskState], timeout: float) -> None:
    """Reads the metrics of tasks from storage if this process has not counted all of them."""
    if not all(state.is_counted for state in states):
        from .recount import recount as read_back

        read_back(run, states, timeout)


def _store_ends(run: Run, states: Sequence[TaskState], deadline: float) -> list[Exception]:
    try:
        errors = run.backend.finish(_endings(states), max(0.0, deadline - time.monotonic()))
        _adopt(run, states)
        ended = [state for state in states if state.id not in errors]
        for state in ended:
            state.finished = True
            state.names.forget_channels()
        if run.run_log is not None:
            run.run_log.tasks_ended(ended)
    except Exception as error:  # returned, not raised: it must not replace the body's own exception
        return [error]
    return list(errors.values())


def _endings(states: Sequence[TaskState]) -> list[Ending]:
    return [Ending(state.id, state.status, state.reason) for state in states]


def _adopt(run: Run, states: Iterable[TaskState]) -> list[TaskState]:
    """Takes over what somebody else has done to tasks on the server; returns those that changed."""
    changed = []
    for state in states:
        state.archived = state.id in run.backend.archived
        other = run.backend.adopted.get(state.id)
        if other is None:
            continue
        adopted = (other.status, other.reason[:MAX_REASON_CHARS])
        if adopted != (state.status, state.reason):
            state.status, state.reason = adopted
            changed.append(state)
    return changed


# --- the run -------------------------------------------------------------------------------------


def close_run(
    run: Run,
    status: Status,
    reason: str,
    timeout: float,
    interrupts: Interrupts,
    on_end: Callable[[], object] | None = None,
) -> list[Exception]:
    """Ends a run: goes through all steps, whatever goes wrong in one of them.

    A step that is interrupted is repeated; after a second interrupt nothing is waited for any more.

    Args:
        run: The run.
        status: The final status of tasks that are still open, and of the parent.
        reason: Why, for people.
        timeout: The most seconds for delivery, over all steps.
        interrupts: The signals that come in meanwhile.
        on_end: A function of the user's, which is called before the parent ends.

    Returns:
        The errors, each once.
    """
    if run.in_child:
        run.closed = True
        return []
    if run.aborted is not None:
        status, reason = "stopped", run.aborted.cause
    timeout = max(0.0, min(timeout, MAX_TIMEOUT_S))
    deadline = time.monotonic() + timeout
    return _Closing(run, status, reason, timeout, interrupts, deadline, on_end).close()


@attrs.define(eq=False, repr=False)
class _Closing:
    run: Run
    status: Status
    reason: str
    timeout: float
    interrupts: Interrupts
    deadline: float
    on_end: Callable[[], object] | None = None
    errors: list[Exception] = attrs.field(factory=list)
    states: list[TaskState] = attrs.field(factory=list)
    is_last: bool = True

    def close(self) -> list[Exception]:
        run = self.run
        self._attempt(self._stop_creating)
        self.states = run.own_states
        self._attempt(lambda: run.worker_log.merge(run, min(WORKER_TIMEOUT_S, self.timeout)))
        earlier = [state for state in self.states if state.finished]
        self._attempt(self._mark_ended)
        self._attempt(lambda: run.finish(self.states, self._left(), last=True))
        if self.interrupts.given_up:
            self._attempt(self._undelivered)
        self._attempt(self._log_unfinished_tasks)
        self._attempt(lambda: log_termination(run, self.states, self.reason))
        self._attempt(self._add_script)
        self._attempt(self._leave)
        if self.is_last:
            if not self.errors and not self.interrupts.given_up:
                self._attempt(lambda: self._look_up(earlier), [])
                self._attempt(self._send_summary)
            self._fail_without_completed_task()
            errors_of_user: list[Exception] = []
            self._attempt(self._call_on_end, errors_of_user)
            self._end_parent()
            self.errors += errors_of_user
            self._attempt(self._log_close)
        if run.sharing is not None and self.is_last:
            self._attempt(run.sharing.shared.ended)
        self._attempt(lambda: run.reporter.stop(max(self._left(), MIN_FLUSH_S)))
        self._attempt(run.backend.close)
        self._attempt(lambda: run.worker_log.close(run))
        for step in (self._lost_reports, lambda: run.worker_log.troubles, run.backend.delivery_errors):
            self._attempt(step)
        if run.run_log is not None:
            self._attempt(run.run_log.close)
        return list({reason_of(error): error for error in self.errors}.values())

    def _attempt(self, step: Callable[[], Any], errors: list[Exception] | None = None) -> None:
        """Calls one step, and once more if it was interrupted for the first time.

        Args:
            step: The step; it raises errors, or returns them.
            errors: Where they are collected; None for those of the closing.
        """
        errors, interrupts = self.errors if errors is None else errors, self.interrupts
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
            except BaseException as interrupt:  # raised after the last step
                interrupts.add(interrupt)
                if interrupts.given_up:
                    return

    def _left(self) -> float:
        return 0.0 if self.interrupts.given_up else max(0.0, self.deadline - time.monotonic())

    def _stop_creating(self) -> None:
        """Waits for a task that another thread is just creating, so that it ends too."""
        created = self.run.creating.acquire(timeout=self.timeout)
        self.run.closed = True
        if created:
            self.run.creating.release()

    def _mark_ended(self) -> None:
        for state in self.states:
            if state.left_by:
                self.run.mark(state, "stopped", f"its block was left: {state.left_by}")
            self.run.mark(state, self.status, self.reason)

    def _add_script(self) -> None:
        provenance.complete(self.run, self._left(), lambda: self.interrupts.first is not None)

    def _leave(self) -> None:
        """Leaves a run that other processes share; the last one to leave ends its parent."""
        if self.run.sharing is not None:
            from .sharing import leave

            self.is_last = False  # also if it cannot be known
            self.is_last = leave(self.run)
            # Online, the log is of this process only.
            if not self.is_last and self.run.backend.mode == "online":
                self.run.parent_ended = True  # by another process
                self._attempt(self._log_close)

    def _undelivered(self) -> list[Exception]:
        missing = self.run.undelivered(self.states)
        return [] if missing is None else [missing]

    def _log_unfinished_tasks(self) -> None:
        """Logs the statuses that could not be stored, so that `resume` and `upload` know them."""
        if self.run.run_log is not None:
            self.run.run_log.tasks_ended(state for state in self.states if not state.finished)

    def _look_up(self, states: Sequence[TaskState]) -> None:
        """Looks for what somebody else has done on the server to tasks after their end."""
        run = self.run
        if run.summarize is None or run.parent is None or not states:
            return
        run.backend.look_up(_endings(states), self._left())
        changed = _adopt(run, states)
        if run.run_log is not None:
            run.run_log.tasks_ended(changed)

    def _send_summary(self) -> list[Exception]:
        """Gives the parent the events that show the whole run on its page."""
        run = self.run
        if run.summarize is None or run.parent is None:
            return []
        try:
            events = list(run.summarize(run))
        except Exception as error:  # reported as a warning: the run's data is complete without it
            run.summary_error = error
            return []
        for event in events:
            run.reporter.put_event(run.parent, event)
        if not events or run.flush(self._left()):
            return []
        waiting = run.reporter.undelivered().get(run.parent, 0)
        return [run.delivery_error(waiting, [run.info.name])]

    def _fail_without_completed_task(self) -> None:
        """Fails a run that ended normally and of which all tasks have failed or were stopped."""
        run = self.run
        on_agents = run.agent_task is not None or (run.prior is not None and run.prior.queued)
        statuses = [state.status for state in run.all_states()]
        if self.status != "completed" or on_agents or not statuses:
            return
        if all(status in ENDED and status != "completed" for status in statuses):
            self.status, self.reason = "failed", f"no task completed: {tally_text(tally(statuses))}"

    def _call_on_end(self) -> None:
        on_end, self.on_end = self.on_end, None  # called once, also if it is interrupted
        if on_end is None or self.interrupts.given_up:
            return
        started = time.monotonic()
        try:
            on_end()
        except Exception as error:
            add_note(error, f"raised by on_end of the group {self.run.info.name!r}")
            raise
        finally:
            self.deadline += time.monotonic() - started  # the time for delivery is not the user's

    def _end_parent(self) -> None:
        # The command that delivers the rest ends the parent too, so its error would say nothing new.
        away = any(map(_is_delivered_later, self.errors))
        if not away and not self.interrupts.given_up:
            for hook in list(self.run.before_parent_ends.values()):
                self._attempt(hook)
        self._attempt(self._store_end_of_parent, [] if away else None)

    def _store_end_of_parent(self) -> list[Exception]:
        run, errors = self.run, dict[str, Exception]()
        if run.main_task is not None:
            run.parent_ended = True
            sdk.flush(run.main_task, self._left())  # ClearML ends it, whatever the flush raises
        elif run.owns_parent and run.parent is not None:
            errors = run.backend.finish([Ending(run.parent, self.status, self.reason)], self._left())
        run.parent_ended = not errors
        return list(errors.values())

    def _log_close(self) -> None:
        if self.run.run_log is not None:
            self.run.run_log.run_closed(self.status, self.reason[:MAX_REASON_CHARS], self.run.parent_ended)

    def _lost_reports(self) -> list[Exception]:
        run, lost = self.run, self.run.reporter.lost
        if not lost:
            return []
        names = [state.spec.name for state in run.own_states if state.id in lost]
        cause = f"the queue was full and nothing took them away ({run.reporter.error or 'no progress'})"
        return [DeliveryError(sum(lost.values()), names, run.backend.where, cause)]


def _is_delivered_later(error: Exception) -> bool:
    from .._clearml.api_errors import Unreachable

    return isinstance(error, Unreachable) or bool(getattr(error, "remedy", ""))


def raise_errors(
    run: Run,
    errors: list[Exception],
    body: BaseException | None,
    interrupts: Interrupts,
    agent_problem: Exception | None,
) -> None:
    """Raises what went wrong in closing; it never replaces the exception of the group's block.

    Args:
        run: The closed run.
        errors: The errors of closing.
        body: The exception that leaves the group's block; the errors become its notes.
        interrupts: The signals that came in during closing.
        agent_problem: Why the agent must not mark its task as completed.
    """
    interrupt = interrupts.first
    if body is not None and interrupt is not None:
        add_note(body, f"while the group closed, there came {reason_of(interrupt)}")
    for category, text in closing_warnings(run):
        try:
            warn(text, category)
        except Exception as warning:  # raised where warnings are errors
            errors.append(warning)
    main = next((exc for exc in (body, interrupt, agent_problem) if exc is not None), None)
    if main is not None:
        for error in errors:
            add_note(main, f"while the group closed: {reason_of(error)}")
        if body is None:
            raise main
    elif len(errors) == 1 and isinstance(errors[0], TaskGroupWarning):
        raise errors[0]
    elif errors:
        raise ExceptionGroup(f"the group {run.info.name!r} could not be closed cleanly", errors)


def closing_warnings(run: Run) -> list[tuple[type[Warning], str]]:
    """Gives the warnings at the end of a run: drift, a missing summary, skipped points."""
    found: list[tuple[type[Warning], str]] = []
    knows_all = run.sharing is None or run.sharing.left_last
    if run.vocabulary is None and knows_all:
        completed = [state for state in run.all_states() if state.status == "completed"]
        kinds = {state.metric_keys for state in completed}  # few, whatever the number of tasks
        if len({frozenset(key.metric for key in keys) for keys in kinds if keys}) > 1:
            from .._drift.warn import drift_warning, partly_reported

            reported = {state.spec.name: names for state in completed if (names := state.metric_names)}
            is_stored = run.backend.mode in ("online", "offline")
            group = f"{run.info.project}/{run.info.name}" if is_stored else ""
            found.append((DriftWarning, drift_warning(partly_reported(reported), group)))
    if (text := _lost_logging(run)) is not None:
        found.append((AutoLoggingWarning, text))
    if run.summary_error is not None:
        found.append((TaskGroupWarning, f"the parent task has no summary: {run.summary_error!r}"))
    ran_here = [state for state in run.own_states if not state.done]
    more = sum(data.skipped - 1 for state in ran_here for data in state.metrics.values() if data.skipped)
    if more:
        were = "was" if more == 1 else "were"
        text = f"{counted(more, 'more point')} that ClearML cannot store {were} skipped"
        found.append((NonFiniteWarning, text))
    return found


def _lost_logging(run: Run) -> str | None:
    """Tells where the data of completed tasks of sweeps went to which nothing was logged."""
    own = [state for state in run.own_states if state.in_sweep and not state.done]
    completed = [state for state in own if state.status == "completed"]
    empty = [state for state in completed if not (state.metrics or state.uncounted)]
    main_task = sdk.main_task() if run.main_task is None else None
    if empty and main_task is not None:
        return (
            f"{_nothing_logged(empty)}: Task.init was called in the group's block, and what a framework's "
            f"own ClearML logger logs goes to its task {main_task.name!r}; use an integration of this package"
        )
    outside = [state for state in empty if not state.entered]
    if outside and run.options.auto_connect_frameworks is not None:
        return (
            f"auto-logging: {_nothing_logged(outside)}; it goes to the task in whose block it happens: write "
            "`with task:` around the training, and in a thread of your own `with task.activate():`"
        )
    return None


def _nothing_logged(states: Sequence[TaskState]) -> str:
    return f"nothing was logged to {counted(len(states), 'task')} ({some([s.spec.name for s in states])})"


def abandon(run: Run) -> None:
    """Ends a run that nobody closed: its group was collected, or the interpreter ends."""
    if run.in_child or run.closed:
        return
    reason = "the group was never closed"
    left = sum(state.is_open for state in run.own_states)
    errors = close_run(run, "stopped", reason, ABANDONED_CLOSE_TIMEOUT_S, Interrupts())
    errors += attempt_all(run.after_close)
    problems = "".join(f"; {reason_of(error)}" for error in errors)
    what = f"{counted(left, 'open task')} stopped" if left else "none of its tasks was open"
    text = (
        f"the group {run.info.name!r} was never closed, {what}{problems}; use `with TaskGroup(…) as group:`, "
        "or call group.close()"
    )
    logger.warning("%s", text)  # Python hides a ResourceWarning by default
    warn(text, ResourceWarning)
