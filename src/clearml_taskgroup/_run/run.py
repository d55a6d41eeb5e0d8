"""Run: one execution of a group, from its opening to after its end.

A run refers to no public object. So a group that nobody refers to any more is collected, and its
finalizer can still end the run's tasks.
"""

from __future__ import annotations

import json
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .._clearml import sdk
from .._clearml.hyperparameters import general
from .._clearml.notes import NAMES_ENTRY, names_to_json
from .._model.task_specs import TaskSpecs
from .._text import storable
from ..errors import DeliveryError
from . import abort, closing, forked, signals, task_lines, tasks
from .reporter import MAX_TIMEOUT_S, MIN_FLUSH_S, Reporter
from .state import MAX_REASON_CHARS, Abort, TaskState
from .task_ender import TaskEnder
from .worker_log import WorkerLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .._clearml.agent_task import AgentTask
    from .._model.frameworks import Frameworks
    from .._model.name_template import NameTemplate
    from .._model.past import PastTask, Prior
    from .._model.specs import RunInfo, TaskSpec
    from .._model.status import Status
    from .._model.vocabulary import Vocabulary
    from .._storage.base import Backend
    from .._storage.run_log import RunLog
    from .._storage.script_detection import Detection
    from .sharing import Sharing

TASK_DELIVERY_TIMEOUT_S = 30.0
"""Seconds for which the end of one task waits for delivery; the group's end waits for the rest."""


class RunOptions(NamedTuple):
    """The arguments of `TaskGroup` that its run needs; see there."""

    task_name: str
    catch: tuple[type[Exception], ...]
    close_timeout: float
    nonfinite: Literal["skip", "raise"]
    capture_console: bool
    provenance: bool
    auto_connect_frameworks: Frameworks | None


class Run:
    """One execution of a group.

    Attributes:
        owns_parent: Whether the group created the parent, and so ends it.
        main_task: The script's own `Task.init` task, which is the parent then.
        prior: The run that this one resumes.
        retry: How tasks of `prior` that were not completed are attempted again.
        agent_task: The task of this group that an agent runs this process as.
        foreign_agent_task: The task of another group that an agent runs this process as.
        sharing: What is known of other processes that share the run; None if none can.
        specs: Makes the specs of the run's tasks, and knows those that were opened.
        states, retried: The tasks that this process runs, by their keys, and their earlier attempts.
        submitted: The tasks that agents run, by their keys.
        earlier: Tasks of `prior` that were not opened here, as they ended; made when they are asked for.
        warned: The warnings that are given once for a run and have been given.
        namings: What metrics and contexts stand for; see `Names`.
        summarize: Makes the events that show the whole run on the parent's page.
        before_parent_ends: Functions to call then, each under a name, so that it is there once.
        after_close: Functions to call then.
        row_blocks: What results have found in the rows of the tasks; None before they were asked for.
        sweeps, maps: How many sweeps, and calls of `map`, the script has asked for.
        ender: Stores in a thread how tasks ended.
        creating: Held while tasks are created.
        aborted: How somebody has stopped the parent, and so the run; None if nobody has.
        nested: The runs that were opened in this run's block and have the same parent.
        parent_ended: Whether the parent's end is stored in the backend.
        summary_error: Why the parent has no summary.
        backend_is_away: Whether the last delivery ran out of time.
        detection: The process that detects the script; None if nothing is to be detected, or all is known.
    """

    def __init__(
        self,
        info: RunInfo,
        backend: Backend,
        template: NameTemplate,
        vocabulary: Vocabulary | None,
        options: RunOptions,
        run_log: RunLog | None,
        main_task: Any = None,
        prior: Prior | None = None,
        retry: Literal["new", "continue"] = "new",
        agent_task: AgentTask | None = None,
        foreign_agent_task: AgentTask | None = None,
        sharing: Sharing | None = None,
    ) -> None:
        self.info = info
        self.backend = backend
        self.run_log = run_log
        self.template = template
        self.vocabulary = vocabulary
        self.options = options
        self.parent: str | None = None
        self.owns_parent: bool = False
        self.parent_ended = self.closed = False
        self.main_task = main_task
        self.agent_task = agent_task
        self.foreign_agent_task = foreign_agent_task
        self.prior = prior
        self.retry: Literal["new", "continue"] = retry
        self.sharing = sharing
        self.states: dict[str, TaskState] = {}
        self.retried: list[TaskState] = []
        self.submitted: dict[str, TaskState] = {}
        self.earlier: dict[str, TaskState] = {}
        self.warned: set[str] = set()
        self.namings: dict[Any, Any] = {}
        self.summarize: Callable[[Run], Iterable[str]] | None = None
        self.before_parent_ends: dict[str, Callable[[], None]] = {}
        self.after_close: list[Callable[[], None]] = []
        self.row_blocks: Any = None
        self.reporter: Reporter = Reporter(backend)
        self.worker_log: WorkerLog = WorkerLog()
        self.ender: TaskEnder = TaskEnder(self, min(options.close_timeout, TASK_DELIVERY_TIMEOUT_S))
        self.specs: TaskSpecs = TaskSpecs(info.name, options.task_name, sharing is not None)
        self.sweeps = self.maps = 0
        self.started: float = time.time()
        self.pid: int = os.getpid()
        self.creating: threading.RLock = threading.RLock()
        self.detection: Detection | None = None
        self.aborted: Abort | None = None
        self.nested: weakref.WeakSet[Run] = weakref.WeakSet()
        self.summary_error: Exception | None = None
        self.backend_is_away = False
        known = prior or sharing
        if known is not None:
            self.specs.keep(known.attempts)

    @property
    def in_child(self) -> bool:
        """Whether this process is a forked child, whose end must not end its parent's tasks."""
        return os.getpid() != self.pid

    @property
    def own_states(self) -> list[TaskState]:
        """The tasks that this process runs, with all of their attempts."""
        return [*self.retried, *self.states.values()]

    # --- tasks -------------------------------------------------------------------------------

    def start(self, parent: str | None, parent_spec: TaskSpec | None) -> None:
        """Creates the parent if the run needs one of its own, and starts the reporter."""
        self.parent = parent
        if parent_spec is not None:
            (self.parent,) = self.backend.create(self.info, [parent_spec], None)
            self.owns_parent = True
        if self.run_log is not None:
            mode = "agent" if self.agent_task is not None else self.backend.mode
            self.run_log.run_opened(self.info, mode, self.parent, self.owns_parent, self.pid)
        self.reporter.start()
        forked.watch(self)
        abort.watch(self)

    def create(self, specs: Sequence[TaskSpec], in_sweep: bool = False) -> list[TaskState]:
        """Creates tasks, which are open from now on.

        Raises:
            GroupStateError: Another thread has just closed the group.
        """
        if self.sharing is not None:
            from .sharing import open_tasks

            return open_tasks(self, specs, in_sweep)
        return tasks.create_tasks(self, specs, in_sweep)

    def look(self) -> None:
        """Looks, if the run is shared and open, how the other processes' tasks stand."""
        if self.sharing is not None and not self.closed:
            from .sharing import look_if_possible

            look_if_possible(self)

    def all_states(self) -> list[TaskState]:
        """Lists the run's tasks: of this process, of agents, of other processes that share or had the run."""
        others = self.sharing.others if self.sharing is not None else {}
        own = {**tasks.earlier_states(self), **self.states, **self.submitted}
        later = {key: state for key, state in others.items() if key not in own or _is_later(state, own[key])}
        return list({**own, **later}.values())

    def earlier_attempt(self, key: str) -> PastTask | None:
        """Finds the latest attempt at a task in the run that this one resumes."""
        return self.prior.attempts.get(key) if self.prior is not None else None

    def is_done(self, key: str) -> bool:
        """Whether an earlier attempt has completed a task."""
        past = self.earlier_attempt(key)
        return past is not None and past.status == "completed"

    def set_parent_parameters(self, params: Mapping[str, Any]) -> None:
        """Adds parameters, on one level, to the section `General` of the parent, if there is one."""
        if self.main_task is not None:  # ClearML's own object would overwrite them from its copy
            sdk.set_parameters(self.main_task, general(params).values())
        elif self.parent is not None:
            self.backend.set_parameters(self.parent, params)

    def store_names(self, state: TaskState) -> None:
        """Stores the names that would be read back as another metric: in the run log, and with the task."""
        names, new = state.names, state.names.unstored
        names.unstored = []
        task_lines.log_names(self, state, {name: names.ambiguous[name] for name in new})
        if not self.in_child:
            self.backend.annotate(state.id, {NAMES_ENTRY: json.dumps(names_to_json(names.ambiguous))}, {})

    # --- the end -----------------------------------------------------------------------------

    def mark(self, state: TaskState, status: Status, reason: str = "") -> None:
        """Sets a task's final status, after which it takes no data. Later calls are ignored."""
        if state.is_open:
            state.status, state.reason = status, storable(reason)[:MAX_REASON_CHARS]
            state.ended = time.monotonic()

    def end(self, state: TaskState, status: Status, reason: str = "") -> None:
        """Ends one task while the group stays open; undelivered data is left to the group's end."""
        self.worker_log.merge(self, 0.0)  # a forked child may have failed it
        self.mark(state, status, reason)
        if self.backend.transport is not None:
            self.end_later(state)
        elif not state.finished:  # as by the end of its block
            with signals.hold_signals() as interrupts:  # an exception within it could lose a report
                self.reporter.write_now()
            if interrupts.first is not None:
                raise interrupts.first
            self.finish([state], self.ender.timeout)  # after an error the group's end tries again

    def end_later(self, state: TaskState) -> None:
        """Finishes an ended task in a thread, while the script goes on."""
        if state.finished or state.is_open or self.in_child or state in self.ender:
            return
        if self.backend.transport is None and self.reporter.has_written_all:
            self.finish([state], self.ender.timeout)  # to wake the thread would take longer
            return
        closing.keep_end(self, state, self.ender.timeout)
        self.ender.put(state)

    def finish(self, states: Iterable[TaskState], timeout: float, last: bool = False) -> list[Exception]:
        """Delivers the data of ended tasks and stores how they ended.

        Args:
            states: The tasks; those that are open or finished already are ignored.
            timeout: The most seconds that it may take.
            last: Whether nobody will try again: a task whose data the backend refused gets its status.

        Returns:
            The errors; the tasks without one are finished all the same.
        """
        states, deadline = list(states), time.monotonic() + min(timeout, MAX_TIMEOUT_S)
        self.ender.take_back(states, min(timeout, MAX_TIMEOUT_S))
        return closing.finish_tasks(self, states, max(0.0, deadline - time.monotonic()), last)

    def flush(self, timeout: float) -> bool:
        """Waits until all that was reported is delivered; returns whether it is."""
        deadline = time.monotonic() + min(timeout, MAX_TIMEOUT_S)
        reported = self.reporter.flush(max(timeout, MIN_FLUSH_S) if self.closed else timeout)
        return self.backend.flush(max(0.0, deadline - time.monotonic())) and reported

    def flush_and_end(self, timeout: float) -> bool:
        """The same, and waits until tasks that have ended have their status, all of it in that time."""
        deadline = time.monotonic() + min(timeout, MAX_TIMEOUT_S)
        delivered = self.flush(timeout)
        self.ender.wait(max(0.0, deadline - time.monotonic()))
        self.backend.wait_for_disk(max(0.0, deadline - time.monotonic()))
        return delivered

    def undelivered(self, states: Iterable[TaskState]) -> DeliveryError | None:
        """Makes the error about the tasks' undelivered data; None if there is none."""
        listed, waiting = list(states), self.reporter.undelivered()
        names = [state.spec.name for state in listed if state.id in waiting]
        if not names:
            return None
        count = sum(waiting.get(state.id, 0) for state in listed)
        lost = 0
        if self.reporter.error is not None:  # the disk refuses the latest events
            on_disk = self.backend.undelivered()
            lost = count - sum(on_disk.get(state.id, 0) for state in listed)
        return self.delivery_error(count, names, lost)

    def delivery_error(self, count: int, names: Sequence[str], lost: int = 0) -> DeliveryError:
        """Makes the error about undelivered data of which a part is lost."""
        outbox, command = self.backend.delivery_remedy() if lost < count else ("", "")
        lost = lost if outbox else 0
        where, cause = self.backend.where, self.delivery_problem()
        return DeliveryError(count, names, where, cause, command, outbox=outbox, lost=lost)

    def delivery_problem(self) -> str:
        """Gives the reason why data is not delivered."""
        return str(self.reporter.error or self.backend.delivery_problem() or "the time for closing ran out")


def _is_later(state: TaskState, than: TaskState) -> bool:
    return state.spec.attempt >= than.spec.attempt  # the same one was reopened by another process
