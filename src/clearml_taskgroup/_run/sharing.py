"""A run that several processes share: which configurations this one runs, and how the others' tasks stand."""

from __future__ import annotations

import contextlib
from time import monotonic, sleep
from typing import TYPE_CHECKING, NamedTuple

import attrs

from .._log import logger
from .._model.backoff import Backoff
from .._model.metric_data import copy_metrics
from .._model.parameter_json import plain
from .._model.past import latest_attempts
from .._model.specs import Ending, TaskSpec
from .._model.status import ABANDONED, shown_status, tally, tally_text
from .._storage.processes import pid_and_machine, readable
from .._storage.shared_run import PARENT, STALE_AFTER_S
from .._text import shown, some
from ..errors import GroupStateError, ServerError, StoreError
from . import tasks
from .abort import abort_run, check_run
from .mode import log_once
from .signals import TERMINATION_REASONS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from .._model.past import PastTask
    from .._model.specs import RunInfo
    from .._storage.shared_run import SharedRun
    from .run import Run
    from .state import TaskState

CLAIMED_AT_ONCE = 16
"""How many configurations are claimed before their tasks are created; the claims must not become stale."""
GIVE_UP_AFTER_S = 5 * STALE_AFTER_S
"""Seconds to wait for a task that another process has claimed; its claim becomes stale before."""
LEAVING = "leaving"
"""Among `Run.warned`: nobody needs to be told that other processes are still in the run."""
END_TIMEOUT_S = 60.0
"""Time limit for ending the tasks of a process that died."""


@attrs.define(eq=False)
class Sharing:
    """What a run knows of the processes that share it.

    Attributes:
        shared: What the processes agree on.
        resume: Whether tasks that failed or were stopped are run again.
        deliver_left: Delivers what processes of this machine that died had not delivered.
        attempts: The latest attempt of each key, of all processes, as of the last look.
        others: The states of tasks that other processes run, by their keys.
        left_last: Whether this process was the last one to leave the run.
    """

    shared: SharedRun
    resume: bool = False
    deliver_left: Callable[[], None] = lambda: None
    attempts: dict[str, PastTask] = attrs.field(factory=dict)
    others: dict[str, TaskState] = attrs.field(factory=dict)
    left_last: bool = False

    def next_attempt(self, key: str) -> int | None:
        """Gives the attempt that this process may claim; None if another process has the task."""
        past = self.attempts.get(key)
        if past is None:
            return 1
        if not self.resume or past.status in (None, "completed"):
            return None
        # Not what has failed since the run was last empty: the others would repeat it, one after another.
        is_earlier = past.reason == ABANDONED or past.session < self.shared.session
        return past.attempt + 1 if is_earlier else None


class Joined(NamedTuple):
    """A shared run that this process is in.

    Attributes:
        info: What identifies the run, with its number and session.
        parent: The id of its parent.
    """

    info: RunInfo
    parent: str
    sharing: Sharing


# --- opening -------------------------------------------------------------------------------------


def find_or_create_parent(shared: SharedRun, create: Callable[[], str]) -> tuple[str, bool]:
    """Gives the parent of a shared run, which exactly one of its processes creates.

    Returns:
        Its id, and whether this process has created it.
    """
    for _ in _attempts("its parent task"):
        parent = shared.parent()
        if parent is not None:
            return parent, False
        if shared.claim(PARENT, 1):
            parent = None
            try:
                parent = create()
            finally:
                shared.release(PARENT, 1, parent)
            return parent, True
    raise AssertionError  # the last attempt raises


def log_joined(run: Run) -> None:
    """Logs which run a text has given, once in a process, and how many other processes are in it."""
    info, others = run.info, _sharing(run).shared.others_at_join
    named = f"{info.project}/{info.name}, run {info.number} (run={shown(info.shared)})"
    match others:
        case None:
            log_once(f"{named}, which several processes may share")
        case 0:
            log_once(f"{named}: no other process is in it")
        case 1:
            log_once(f"{named}: another process is in it")
        case _:
            log_once(f"{named}: {others} other processes are in it")


def take_over(run: Run) -> None:
    """Ends the open tasks of processes that have died, as abandoned, or completed if they were reopened."""
    shared = _sharing(run).shared
    dead = shared.claim_dead()
    if not dead:
        return
    _sharing(run).deliver_left()
    members = shared.members()
    for process in dead:
        own = [task for task in members if task.process == process]
        left = [task for task in own if task.final_status()[1] == ABANDONED]
        endings = [Ending(task.id, *task.final_status()) for task in own if task.status is None]
        errors = run.backend.finish(endings, END_TIMEOUT_S)
        if not errors:
            shared.remove_dead(process)
        names = some([task.name for task in left], 5)
        again = f"; what it had begun was abandoned, and resume=True runs it again: {names}" if left else ""
        pid, machine = pid_and_machine(process)
        logger.warning("process %s of this run, on %s, has died%s", pid, machine, again)


def withdraw(run: Run) -> None:
    """Gives up the tasks of this process, which another one took for dead: they may run elsewhere by now."""
    reason = "it was taken for dead by another process of the run, after 5 minutes without a sign of life"
    abort_run(run, reason, withdrawn=True)


# --- tasks ---------------------------------------------------------------------------------------


def look(run: Run) -> None:
    """Reads the tasks of all processes from storage."""
    sharing = _sharing(run)
    sharing.attempts = latest_attempts(sharing.shared.members())
    own = {state.id: state for state in run.own_states}

    def is_own(past: PastTask) -> bool:
        state = own.get(past.id)  # another process may have reopened it since
        return state is not None and (past.process == run.info.process or not state.finished)

    found = {key: past for key, past in sharing.attempts.items() if not is_own(past)}
    sharing.others = {key: _state_of(run, past) for key, past in found.items()}


def look_if_possible(run: Run) -> None:
    """The same, unless the server is away or the disk broken; then what was known before still holds."""
    with contextlib.suppress(ServerError, StoreError):
        look(run)


def open_tasks(run: Run, specs: Sequence[TaskSpec], in_sweep: bool) -> list[TaskState]:
    """Opens those tasks that no other process has; gives the others' tasks as they stand."""
    own: dict[str, TaskState] = {}
    waiting = list(specs)
    _sharing(run).shared.beat()
    for _ in _attempts("a configuration"):
        check_run(run)
        for first in range(0, len(waiting), CLAIMED_AT_ONCE):
            chunk = waiting[first : first + CLAIMED_AT_ONCE]
            claimed = [spec for spec in (_claim(run, one) for one in chunk) if spec is not None]
            own |= {state.spec.key: state for state in _create(run, claimed, in_sweep)}
        waiting = [spec for spec in waiting if spec.key not in own]
        if waiting:
            look(run)
            waiting = [spec for spec in waiting if _next_attempt(run, spec.key) is not None]
        if not waiting:
            break
    others = _sharing(run).others
    run.specs.add(others[spec.key].spec for spec in specs if spec.key not in own)
    return [own.get(spec.key) or others[spec.key] for spec in specs]


@attrs.define(eq=False)
class Unclaimed:
    """The configurations of one space that this process of a shared run may still run.

    Attributes:
        left: Those that nobody has, by their keys, in this process's own order.
        passed: Those that other processes have.
        looks_again: Whether there will be a look for tasks of processes that have died meanwhile.
    """

    left: dict[str, TaskSpec]
    passed: dict[str, TaskSpec]
    looks_again: bool

    @property
    def has_more(self) -> bool:
        """Whether this process may get another configuration."""
        return bool(self.left) or (self.looks_again and bool(self.passed))


def unclaimed(run: Run, specs: Sequence[TaskSpec]) -> Unclaimed:
    """Finds the configurations of a space that no process has, as of the last look."""
    sharing = _sharing(run)
    # Each process begins at another one, so that they seldom try to claim the same.
    first = hash(sharing.shared.process) % max(1, len(specs))
    ordered = {spec.key: spec for spec in (*specs[first:], *specs[:first])}
    left = {key: spec for key, spec in ordered.items() if sharing.next_attempt(key) is not None}
    return Unclaimed(left, {key: ordered[key] for key in ordered if key not in left}, sharing.resume)


def open_next(run: Run, space: Unclaimed, in_sweep: bool) -> TaskState | None:
    """Opens the task of the first configuration that no other process has; None if there is none."""
    sharing, left = _sharing(run), space.left
    sharing.shared.beat()
    for _ in _attempts("a configuration"):
        check_run(run)
        for key, spec in list(left.items()):
            if sharing.next_attempt(key) is None:
                space.passed[key] = left.pop(key)
                continue
            claimed = _claim(run, spec)
            created = _create(run, [claimed], in_sweep) if claimed is not None else []
            if created:
                del left[key]
                return created[0]
            look(run)
        if not left and space.looks_again:
            take_over(run)
            look(run)
            freed = [key for key in space.passed if sharing.next_attempt(key) is not None]
            left.update((key, space.passed.pop(key)) for key in freed)
            space.looks_again = bool(freed)
        if not left:
            return None
    raise AssertionError  # the last attempt raises


def log_passed(run: Run, specs: Sequence[TaskSpec], own: Collection[str]) -> None:
    """Logs in one line which configurations of a space this process has not run, and how they stand.

    Args:
        run: The run.
        specs: The space.
        own: The keys of those that it has run.
    """
    if len(own) == len(specs):
        return
    with contextlib.suppress(ServerError, StoreError):
        take_over(run)
        look(run)
    attempts = _sharing(run).attempts
    others = [attempts[spec.key] for spec in specs if spec.key not in own and spec.key in attempts]
    if not others:
        return
    words = tally(shown_status(past.status or "in_progress", past.reason) for past in others)
    hint = ""
    if "abandoned" in words:
        hint = "; a process with resume=True runs what was abandoned again"
    elif any(past.status == "stopped" and past.reason in TERMINATION_REASONS for past in others):
        hint = "; to run again what a signal has stopped, start the script again with resume=True"
    text = f"{tally_text(words)}{hint}"
    logger.info("%d of %d configurations were not run here: %s", len(others), len(specs), text)


def leave(run: Run) -> bool:
    """Leaves a shared run; whether this process is the last one in it, and so ends its parent."""
    sharing = _sharing(run)
    if sharing.shared.withdrawn:
        return False
    take_over(run)
    sharing.left_last = last = sharing.shared.leave()
    if last:
        with contextlib.suppress(ServerError, StoreError):
            take_over(run)  # who has died since, and on a server every open task: nobody is in the run
    look_if_possible(run)
    if not last and LEAVING not in run.warned:
        logger.info("other processes are still in the run; the last one to leave ends its parent task")
    return last


def _claim(run: Run, spec: TaskSpec) -> TaskSpec | None:
    attempt = _next_attempt(run, spec.key)
    if attempt is None or not _sharing(run).shared.claim(spec.key, attempt):
        return None
    past = _sharing(run).attempts.get(spec.key)
    return attrs.evolve(spec, attempt=attempt, index=spec.index if past is None else past.index)


def _next_attempt(run: Run, key: str) -> int | None:
    """Gives the attempt that may be claimed; only this process tries again what failed in it."""
    own, other = run.states.get(key), _sharing(run).others.get(key)
    if own is None or (other is not None and other.spec.attempt > own.spec.attempt):
        return _sharing(run).next_attempt(key)
    return own.spec.attempt + 1


def _create(run: Run, claimed: Sequence[TaskSpec], in_sweep: bool) -> list[TaskState]:
    if not claimed:
        return []
    shared, ids, late = _sharing(run).shared, dict[str, str](), set[str]()
    if shared.session != run.info.session:  # the run was empty since this process joined
        run.info = attrs.evolve(run.info, session=shared.session)
        if run.run_log is not None:
            run.run_log.session = shared.session
    try:
        states = tasks.create_tasks(run, claimed, in_sweep)
        ids = {state.spec.key: state.id for state in states}
    finally:
        late = {one.key for one in claimed if not shared.release(one.key, one.attempt, ids.get(one.key))}
    for key in late:
        state = run.states.pop(key)
        run.end(state, "stopped", "another process was faster with this configuration")
    return [state for state in states if state.spec.key not in late]


def _state_of(run: Run, past: PastTask) -> TaskState:
    params = {name: plain(value) for name, value in past.params.items()}
    spec = TaskSpec(past.key, past.name, past.name, past.index, past.attempt, params)
    state = tasks.new_state(run, spec, past.id)
    _update(state, past)
    state.elsewhere = readable(past.process)
    return state


def _update(state: TaskState, past: PastTask) -> None:
    state.names.restore(copy_metrics(past.metrics))
    state.names.ambiguous.update(past.ambiguous)
    state.status, state.reason = past.status or "in_progress", past.reason
    state.done = state.finished = True
    state.ended = state.opened + past.duration if past.status is not None else None
    state.uncounted = past.status is None or past.was_completed
    for data in state.metrics.values():
        if not data.stats.is_counted:  # a server tells no sums, so the curve is read
            data.stats.exact, state.uncounted = False, True


def take_over_state(state: TaskState, past: PastTask) -> None:
    """Makes a task that another process has ended one of this process."""
    _update(state, past)
    state.params.update((name, plain(value)) for name, value in past.params.items())
    state.elsewhere = ""


def _sharing(run: Run) -> Sharing:
    assert run.sharing is not None
    return run.sharing


def _attempts(what: str) -> Iterator[None]:
    """Repeats with pauses what waits for another process.

    Raises:
        GroupStateError: That has taken too long.
    """
    pauses, deadline = Backoff(0.02, 1.0), monotonic() + GIVE_UP_AFTER_S
    while monotonic() < deadline:
        yield
        sleep(pauses.next_pause())
    raise GroupStateError(
        "of this run",
        f"waits for {what} that another process has claimed and not created for {GIVE_UP_AFTER_S:g} s",
        "look whether that process has stopped, and end it",
    )
