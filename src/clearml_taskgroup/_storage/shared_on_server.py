"""A run on a server that several processes share, also of machines that share nothing else.

They agree by the entries of one queue, which `run_entries` lists. The entry of a claim is there only while
its task is being created; afterwards the task itself shows that it has been claimed. Nobody removes the claim
of another process, which may only be slow, and would then remove the claim of a third one as its own: who
takes it for dead makes another entry.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml.queries import attempts_of
from .._clearml.run_queue import (
    QueueGone,
    QueueRefused,
    add_entry,
    create_queue,
    delete_queue,
    read_entries,
    remove_entry,
)
from .._log import logger, warn
from .._model.backoff import Backoff
from ..errors import ServerError, SharedRunWarning
from .processes import is_here, is_known_dead, readable, this_process
from .run_entries import DEAD, ENDING, IN_RUN, SESSION, View, claim_entry, latest_claim, view_of
from .shared_run import BEAT_EVERY_S, DEAD_AFTER_S, STALE_AFTER_S, SharedRun
from .shared_without_queue import SharedWithoutQueue, parent_of, tasks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .._clearml.api import Transport
    from .._model.name_template import NameTemplate
    from .._model.past import PastTask
    from .run_entries import Sign

CREATE_WITHIN_S = STALE_AFTER_S / 2
"""How long after its claim a process may create the task: later, another one may have claimed it as well."""
SILENT_S = STALE_AFTER_S * 3 / 4
"""The silence after which the others may soon take a process that ends the run for dead."""
RETRY_BEAT_S = 5.0
"""The pause after a sign of life that did not reach the server."""
BEAT_ANSWER_TIMEOUT_S = 10.0
MAX_JOINS = 100
"""How often to try to join: a queue that exists, and is never found, belongs to somebody else."""

_open: set[str] = set()
"""The processes, in the sense of `SharedRun`, that are in a run and are this process."""


def machine_time() -> float:
    """Returns seconds of a clock that also runs while the machine sleeps."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def join_on_server(transport: Transport, run: str, template: NameTemplate, process: str) -> SharedRun:
    """Joins a run on a server; warns if the server lets this process create no queue.

    Args:
        transport: The way to the server.
        run: The run's id.
        template: The group's template.
        process: This process.

    Raises:
        ServerError: The server cannot be reached.
    """
    shared = SharedOnServer(transport, run, template, process)
    try:
        shared.join()
    except QueueRefused as refusal:
        warn(
            f"the server does not let the run's processes agree by a queue ({refusal.problem[:200]}), so two "
            "that begin the same configuration at the same moment may both run it, and the run may be ended "
            "while another process is about to open its next task; let the account create queues",
            SharedRunWarning,
        )
        return SharedWithoutQueue(transport, run, template, process)
    return shared


@attrs.frozen
class _Claim:
    """A claim of this process: its queue and entry, and when it was made by this machine's clock."""

    queue: str
    entry: str
    at: float
    is_first: bool


@attrs.define(eq=False)
class SharedOnServer(SharedRun):
    """The processes of a shared run whose tasks are on a server; may be used by several threads.

    Attributes:
        transport: The way to the server.
        run: The run's id.
        template: The group's template.
        process: This process; another name once it has joined again after `withdrawn`.
        session: When the run was last empty, by the server's clock.
        clock: Seconds of this machine's clock.
        sleep: Waits.
    """

    transport: Transport
    run: str
    template: NameTemplate
    process: str
    clock: Callable[[], float] = machine_time
    sleep: Callable[[float], None] = time.sleep
    _is_told: bool = False  # whether that was called
    _queue: str = ""
    _state: str = ""  # IN_RUN, ENDING, or empty
    _number: int = 0  # of this process's latest entry
    _claims: dict[tuple[str, int], _Claim] = attrs.field(factory=dict, repr=False)
    _claim_numbers: dict[tuple[str, int], int] = attrs.field(factory=dict, repr=False)
    _lost: set[tuple[str, int]] = attrs.field(factory=set, repr=False)  # claims of others
    _last_sign: float = 0.0
    _next_beat: float = 0.0
    _steady_since: float = 0.0
    _was_silent: bool = False  # while it ends the run
    _pid: int = attrs.field(factory=os.getpid)
    _lock: threading.RLock = attrs.field(factory=threading.RLock, repr=False)

    # --- who is in the run ---------------------------------------------------------------------

    def join(self) -> None:
        """Enters the run, once nobody is just ending it; under a new name if this process was withdrawn."""
        with self._lock:
            if self.withdrawn:
                self.process, self.withdrawn, self._is_told = this_process(), False, False
            self._last_sign, self._steady_since = self.clock(), -DEAD_AFTER_S
            self._join()

    def _join(self) -> None:
        pauses = Backoff(0.1, 5.0)
        for _ in range(MAX_JOINS):
            self._queue = create_queue(self.transport, f"taskgroup-run {self.run}") or ""
            if self._queue:
                try:
                    self._enter()
                    return
                except QueueGone:  # the run has just ended, and begins anew
                    pass
                except BaseException:
                    self._state = ""
                    _open.discard(self.process)
                    own = [f"{IN_RUN}{self.process}.{number}" for number in range(1, self._number + 1)]
                    with contextlib.suppress(ServerError):  # else the others would wait for this process
                        self._remove(own, timeout=0)
                    raise
            self.sleep(pauses.next_pause())
        raise QueueRefused("the queue of the run exists, and this process cannot see it")

    def _enter(self) -> None:
        """Enters the run of a queue, and waits until nobody ends it."""
        self._state, self._number = IN_RUN, 0
        _open.add(self.process)
        view = self._sign()
        pauses = Backoff(0.1, 5.0)
        is_told = False
        while others := [process for process in self._enders(view) if process != self.process]:
            if not is_told:
                is_told = True
                logger.info("waiting for %s, which ends the run", readable(others[0]))
            self.sleep(pauses.next_pause())
            # An entry of one's own also shows the server's time.
            view = self._sign() if self.clock() >= self._next_beat else self._look()
        self.others_at_join = len(self._living_others(view))
        self._begin_session(view)

    def _begin_session(self, view: View) -> None:
        """Begins a session if all that were in the run before this process have died."""
        own, dead = view.present.get(self.process), self._dead(view)
        if own is None or not dead or 1000 * max(sign.last for sign in dead.values()) < view.session:
            return
        if all(view.present[process].first > own.first for process in self._living_others(view)):
            add_entry(self.transport, self._queue, f"{SESSION}{self.process}")
            self._look()

    def _sign(self, **times: Any) -> View:
        """Gives a sign of life, and removes the one before; the first one stays, with the time of joining."""
        began = self.clock()
        self._number += 1
        add_entry(self.transport, self._queue, f"{self._state}{self.process}.{self._number}", **times)
        self._was_silent |= began - self._last_sign > SILENT_S
        if began - self._last_sign > DEAD_AFTER_S / 2:  # this machine slept, or the server was away
            self._steady_since = began
        self._last_sign, self._next_beat = began, began + BEAT_EVERY_S
        view = self._look(**times)
        own = (view.ending if self._state == ENDING else view.present).get(self.process)
        self._remove(own.entries[1:-1] if own is not None else (), **times)
        return view

    def _look(self, **times: Any) -> View:
        view = view_of(read_entries(self.transport, self._queue, **times))
        self.session = view.session
        return view

    def _remove(self, entries: Iterable[str], **times: Any) -> None:
        for entry in entries:
            remove_entry(self.transport, self._queue, entry, **times)

    def beat(self) -> None:
        """Gives a sign of life every 30 s, also while this process ends the run."""
        if os.getpid() != self._pid:  # a forked child says nothing of its parent
            return
        if self.clock() >= self._next_beat and self._lock.acquire(blocking=False):
            try:
                if self._state and not self.withdrawn:
                    self._beat()
            except ServerError:
                self._next_beat = self.clock() + RETRY_BEAT_S
            finally:
                self._lock.release()
        self._tell_withdrawn()

    def _tell_withdrawn(self) -> None:
        if self.withdrawn and not self._is_told:
            self._is_told = True
            if self.on_withdrawn is not None:
                self.on_withdrawn()

    def _beat(self) -> None:
        times = {"timeout": 0.0, "answer_timeout": BEAT_ANSWER_TIMEOUT_S}
        queue = self._queue
        try:
            view = self._sign(**times)
        except QueueGone:
            if self._state == IN_RUN:
                self._join_again(queue)
            return
        if self.process in view.dead:
            self.withdrawn = True
            self._remove(view.entries_of(self.process), **times)

    def _join_again(self, queue: str) -> None:
        """Joins after the queue was deleted, unless another thread has done so.

        Somebody has deleted it in the web page, or has ended the run because he took this process for dead.
        """
        with self._lock:
            if self._queue == queue and self._state == IN_RUN and not self.withdrawn:
                self.withdrawn = self.clock() - self._last_sign >= DEAD_AFTER_S
                if not self.withdrawn:
                    self._steady_since = self.clock()  # the others join again at their next sign of life
                    self._join()

    def _lives(self, process: str, sign: Sign, view: View) -> bool:
        if process in view.dead:
            return False
        if is_here(process):
            is_own = process.split("-")[1:2] == [str(os.getpid())]
            return process in _open if is_own else not is_known_dead(process)
        return view.now - sign.last < DEAD_AFTER_S or not self._can_judge()

    def _can_judge(self) -> bool:
        """Whether others had the time to give a sign of life, too, if the server or the queue was away."""
        now = self.clock()
        has_contact = now - self._last_sign <= DEAD_AFTER_S / 2
        return has_contact and now - self._steady_since >= 2 * BEAT_EVERY_S

    def _living_others(self, view: View) -> list[str]:
        """The living processes in the run but this one."""
        return [
            process
            for process, sign in view.present.items()
            if process != self.process and self._lives(process, sign, view)
        ]

    def _enders(self, view: View) -> list[str]:
        return [
            process
            for process, sign in view.ending.items()
            if view.now - sign.last < STALE_AFTER_S and not is_known_dead(process)
        ]

    def leads(self) -> bool:
        """Whether this process has been in the run for the longest time of all that live."""
        if self._state != IN_RUN or self.withdrawn:
            return False
        # Another thread may look meanwhile: its newer session must stay.
        times = {"timeout": 0.0, "answer_timeout": BEAT_ANSWER_TIMEOUT_S}
        view = view_of(read_entries(self.transport, self._queue, **times))
        joined = {process: (sign.first, process) for process, sign in view.present.items()}
        others = [joined[process] for process in self._living_others(view)]
        return self.process in joined and all(joined[self.process] < other for other in others)

    def claim_dead(self) -> Sequence[str]:
        """Finds processes that died; each is given to one process, which calls `remove_dead`."""
        if self._state == ENDING:  # nobody is in the run: also those that were taken over, and went on
            if not self._can_judge():
                return []
            opened = {task.process for task in self.members() if task.status is None}
            return sorted(opened - {self.process, ""})
        queue = self._queue
        try:
            view = self._look()
            dead = self._dead(view)
            won = [process for process in dead if self._inherits(process, view)]
            self._notice_empty_run(view, dead, won)
        except QueueGone:
            self._join_again(queue)
            return []
        return won

    def _dead(self, view: View) -> dict[str, Sign]:
        """The processes that died in the run, or while they ended it."""
        enders = self._enders(view)
        gone = {process: sign for process, sign in view.ending.items() if process not in enders}
        gone |= view.present
        others = {process: sign for process, sign in gone.items() if process != self.process}
        alive = self._living_others(view)
        return {process: sign for process, sign in others.items() if process not in alive}

    def _inherits(self, process: str, view: View) -> bool:
        before = view.dead.get(process)
        if before is not None and view.now - before.last < STALE_AFTER_S:
            return False  # another process is just doing it
        number = 1 if before is None else before.number + 1
        return add_entry(self.transport, self._queue, f"{DEAD}{process}.{number}")

    def _notice_empty_run(self, view: View, dead: dict[str, Sign], won: Sequence[str]) -> None:
        """Begins a session if those in the run seem to have joined after the last of the others died."""
        last = max(dead, key=lambda process: dead[process].last, default="")
        if last not in won or 1000 * dead[last].last < view.session:
            return
        died_until = dead[last].last + BEAT_EVERY_S
        alive = [*self._living_others(view), self.process]
        if all(view.present[process].first > died_until for process in alive if process in view.present):
            add_entry(self.transport, self._queue, f"{SESSION}{last}")
            self._look()

    def remove_dead(self, process: str) -> None:
        """Removes a dead process, whose tasks have been ended."""
        with contextlib.suppress(QueueGone):
            self._remove(self._look().entries_of(process))

    # --- claims --------------------------------------------------------------------------------

    def claim(self, key: str, attempt: int) -> bool:
        """Claims an attempt of a task; a claim whose answer was lost becomes stale by itself.

        If a task is claimed in vain for the second time, the age of the other process's claim is looked up.
        """
        for _ in range(2):
            queue = self._queue
            try:
                if self.withdrawn or self._claim(queue, key, attempt):
                    return not self.withdrawn
            except QueueGone:
                self._join_again(queue)
                continue
            if (key, attempt) not in self._lost:
                self._lost.add((key, attempt))
                return False
            if self.is_being_created(key, attempt):
                return False
        return False

    def _claim(self, queue: str, key: str, attempt: int) -> bool:
        number = self._claim_numbers.get((key, attempt), 1)
        entry, began = claim_entry(key, attempt, number), self.clock()
        if not add_entry(self.transport, queue, entry):
            return False
        if attempts_of(self.transport, self.run, key, attempt):
            remove_entry(self.transport, queue, entry)
            return False
        if self.clock() - began > CREATE_WITHIN_S:  # not removed: others may take it for stale already
            return False
        self._claims[key, attempt] = _Claim(queue, entry, began, number == 1)
        return True

    def release(self, key: str, attempt: int, task_id: str | None) -> bool:
        """Removes a claim; if another process may have claimed the task, the first one created counts."""
        claim = self._claims.pop((key, attempt))
        is_late = self.clock() - claim.at > CREATE_WITHIN_S
        if task_id is None and is_late:  # others may take the claim for stale already
            return True
        was_there = True
        with contextlib.suppress(ServerError):  # a claim that stays is in nobody's way for long
            was_there = remove_entry(self.transport, claim.queue, claim.entry)
        if task_id is None or (was_there and claim.is_first and not is_late):
            return True
        found = attempts_of(self.transport, self.run, key, attempt)
        return not found or str(found[0]["id"]) == task_id

    def is_being_created(self, key: str, attempt: int) -> bool:
        """Whether there is a claim that is younger than 60 s; if it is older, the next claim replaces it."""
        self.beat()
        queue = self._queue
        try:
            number, age = latest_claim(read_entries(self.transport, queue), key, attempt)
        except QueueGone:
            self._join_again(queue)
            return False
        if number and age < STALE_AFTER_S:
            return True
        self._claim_numbers[key, attempt] = number + 1
        return False

    # --- what is stored ------------------------------------------------------------------------

    def members(self) -> Sequence[PastTask]:
        """Reads the run's tasks, the earliest first."""
        return tasks_of(self.transport, self.run, self.template)

    def parent(self) -> str | None:
        """Finds the run's parent."""
        return parent_of(self.transport, self.run)

    # --- the end -------------------------------------------------------------------------------

    def leave(self) -> bool:
        """Leaves the run; whether this process is the last one in it."""
        with self._lock:
            self._state = ""
            _open.discard(self.process)
            try:
                self._remove(self._look().entries_of(self.process))
                return not self.withdrawn and self._is_last()
            except QueueGone:  # somebody has ended the run
                return False

    def _is_last(self) -> bool:
        """Takes part in the choice of the process that ends the run; the first one that says so does."""
        pauses = Backoff(0.05, 1.0)
        while True:
            view = self._look()
            others = self._living_others(view)
            if others or self._enders(view):
                self._warn_of_silent(view, others)
                return False
            self._state = ENDING
            view = self._sign()
            self._was_silent = False
            if not self._living_others(view) and self._enders(view)[:1] == [self.process]:
                return True
            # Who gives up looks again: others may have left it to this process.
            self._state = ""
            self._remove(view.entries_of(self.process))
            self.sleep(pauses.next_pause())

    def _warn_of_silent(self, view: View, others: Sequence[str]) -> None:
        silent = {process: view.now - view.present[process].last for process in others}
        if silent and min(silent.values()) > STALE_AFTER_S:
            process = min(silent, key=lambda each: silent[each])
            logger.warning(
                "the parent of the run stays open: %s has given no sign of life for %.0f s; "
                "if it is dead, the next process that joins ends the run",
                readable(process),
                silent[process],
            )

    def ended(self) -> None:
        """Deletes the queue, unless others have taken this process for dead and joined meanwhile."""
        with self._lock:
            if self._state != ENDING:  # others are still in the run
                return
            self._state = ""
            was_silent = self._was_silent or self.clock() - self._last_sign > SILENT_S
            with contextlib.suppress(QueueGone):
                view = self._look()
                if was_silent and (self._living_others(view) or set(self._enders(view)) - {self.process}):
                    self._remove(view.entries_of(self.process))
                else:  # those that are joining wait for it
                    delete_queue(self.transport, self._queue)
