"""Sweeps: one task after another, each ended when the next iteration begins."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import attrs

from ._agents import on_agent, submit_checks
from ._agents.submit import submit_sweep
from ._model.search_space import Space, configurations
from ._results.find_metric import MetricLookup
from ._run import sharing
from ._run.abort import check_iteration
from ._run.resume import log_progress
from ._text import counted
from .errors import SweepOverError

if TYPE_CHECKING:
    from ._clearml.agent_task import AgentTask
    from ._group import TaskGroup
    from ._model.specs import TaskSpec
    from ._progress import Tracker
    from ._run.run import Run
    from ._run.sharing import Unclaimed
    from ._run.state import TaskState
    from ._task import GroupTask


class Sweep:
    """The iterator that `group.sweep(space)` returns; its length is the number of configurations.

    The task of an iteration ends, as completed, when the next iteration begins, unless it has ended
    already. The last one ends with the loop, or after a `break` with the group. Another loop over the
    same sweep continues after the `break`; once all configurations have been used, it raises
    `SweepOverError`.
    """

    # Not a generator: inside of one, a loop's `break`, `return` and `raise` cannot be told apart.

    def __init__(self, group: TaskGroup, specs: list[TaskSpec], tracker: Tracker | None = None) -> None:
        self._group = group
        self._specs = specs
        self._tracker = tracker
        self._begun = 0
        self._is_over = False

    def __len__(self) -> int:
        return len(self._specs)

    def __repr__(self) -> str:
        return f"<Sweep of {counted(len(self), 'configuration')}, {self._begun} begun>"

    @property
    def has_more(self) -> bool:
        """Whether some configurations have not been used yet."""
        return self._begun < len(self)

    def __iter__(self) -> Sweep:
        if self._is_over:
            raise SweepOverError(
                f"this sweep of {counted(len(self), 'configuration')}",
                "has ended and its tasks are closed",
                "do all the work of a task in one loop, or open all tasks at once with group.tasks(…), whose "
                "list can be looped over again. `for task in group` gives the existing tasks, "
                "group.results() their values; to run the configurations again, call group.sweep(…) in a "
                "new TaskGroup",
            )
        return self

    def _open(self) -> GroupTask | None:
        """Opens the task of the next configuration; None if none is left."""
        spec = self._specs[self._begun]
        self._group._opened().specs.refuse_duplicate(spec)
        (task,) = self._group._open_tasks([spec], in_sweep=True)
        return task

    def _end(self) -> None:
        """Called when the loop has used all configurations."""
        if self._tracker is not None:
            self._tracker.stop()
        self._is_over = self._begun > 0  # an empty sweep may be looped over again

    def __next__(self) -> GroupTask:
        group = self._group
        ended = group._iterations.end(group._run, self)
        if group._run is not None:
            check_iteration(group._run, ended if self.has_more else [])
        task = None
        if self.has_more:
            group._iterations.end_left(group._opened(), stopped=not group._is_in_block)
            task = self._open()
        if task is None:
            self._end()
            raise StopIteration
        self._begun += 1
        group._iterations.running.append((weakref.ref(self), task))
        if self._tracker is not None:
            self._tracker.update()
            self._tracker.begun(task._state)
        return task


class SharedSweep(Sweep):
    """A sweep of a shared run: each iteration takes a configuration that no other process has."""

    def __init__(
        self, group: TaskGroup, run: Run, specs: list[TaskSpec], space: Unclaimed, tracker: Tracker | None
    ) -> None:
        super().__init__(group, list(space.left.values()), tracker)
        self._run = run
        self._all = specs
        self._space = space
        self._own: set[str] = set()

    @property
    def has_more(self) -> bool:
        """Whether some configurations may be left for this process."""
        return self._space.has_more

    def _open(self) -> GroupTask | None:
        task = self._group._open_next(self._space, in_sweep=True)
        if task is not None:
            self._own.add(task.key)
        return task

    def _end(self) -> None:
        super()._end()
        sharing.log_passed(self._run, self._all, self._own)


class AgentSweep(Sweep):
    """A sweep on an agent: its one iteration runs the configuration of the agent's task."""

    def __init__(self, group: TaskGroup, spec: TaskSpec, agent_task: AgentTask) -> None:
        super().__init__(group, [spec])
        self._agent_task = agent_task

    def __next__(self) -> GroupTask:
        self._agent_task.end()
        task = super().__next__()
        self._agent_task.begin()
        return task


@attrs.define(eq=False)
class Iterations:
    """The iterations that are under way, of all sweeps of one group; the innermost is the last."""

    running: list[tuple[weakref.ref[Sweep], GroupTask]] = attrs.field(factory=list)

    @property
    def current(self) -> GroupTask | None:
        """The task of the innermost loop's iteration."""
        return self.running[-1][1] if self.running else None

    @property
    def has_more(self) -> bool:
        """Whether one of the loops has iterations to come."""
        sweeps = (sweep() for sweep, _ in self.running)
        return any(sweep is not None and sweep.has_more for sweep in sweeps)

    def end(self, run: Run | None, sweep: Sweep | None) -> list[TaskState]:
        """Completes the tasks of one loop's iteration, and gives them.

        Args:
            run: The run.
            sweep: The loop's sweep; None for the loops whose sweep is collected.
        """
        ended = [task for other, task in self.running if other() is sweep]
        self.running = [pair for pair in self.running if pair[1] not in ended]
        if run is not None and not run.closed:
            for task in ended:
                run.end(task._state, "completed")
        return [task._state for task in ended]

    def end_left(self, run: Run, stopped: bool) -> None:
        """Ends the iterations of loops that were left and whose sweep is collected.

        Args:
            run: The run.
            stopped: Whether they are stopped, because it is unknown whether an exception left the loop.
        """
        if stopped:
            self._stop(run, [task for sweep, task in self.running if sweep() is None])
        self.end(run, None)

    def stop_all(self, run: Run) -> None:
        """Stops all iterations, because it is unknown whether an exception left their loops."""
        self._stop(run, [task for _, task in self.running])

    def _stop(self, run: Run, tasks: list[GroupTask]) -> None:
        for task in tasks:
            run.mark(task._state, "stopped", "its loop was left before the iteration had ended")


def open_sweep(
    group: TaskGroup, run: Run, space: Space, queue: str | None, limit: int | None, progress: bool
) -> Sweep:
    """Makes a sweep that runs here, on an agent, or not at all; see `TaskGroup.sweep`."""
    if run.agent_task is not None:
        spec = on_agent.claimed_spec(run, run.agent_task, space, str(run.sweeps))
        return Sweep(group, []) if spec is None else AgentSweep(group, spec, run.agent_task)
    if run.foreign_agent_task is not None or (queue is not None and submit_checks.is_idle_rank(run)):
        return Sweep(group, [])
    if queue is not None:
        group._add(submit_sweep(group, run, space, queue.strip(), limit))
        return Sweep(group, [])
    return _local_sweep(group, run, space, progress)


def specs_to_map(group: TaskGroup, run: Run, space: Space) -> list[TaskSpec]:
    """Makes the specs that a map runs: all of the space, on an agent only its task's, or none.

    Raises:
        SubmitError, AgentTaskError: See `TaskGroup.map`.
    """
    if run.foreign_agent_task is not None:
        return []
    listed, place = configurations(space), f"map {run.maps}"
    if run.agent_task is not None and not run.agent_task.queue:
        spec = on_agent.claimed_spec(run, run.agent_task, listed, place)
        if spec is None:
            return []
        run.agent_task.begin()
        return [spec]
    submit_checks.refuse_beside(group, run, "group.map()")
    return [attrs.evolve(spec, sweep=place) for spec in run.specs.make_all(listed)]


def _local_sweep(group: TaskGroup, run: Run, space: Space, progress: bool) -> Sweep:
    place = str(run.sweeps)
    specs = [attrs.evolve(spec, sweep=place) for spec in run.specs.make_all(configurations(space))]
    if run.sharing is not None:
        return _shared_sweep(group, run, specs, progress)
    if run.prior is None:
        return Sweep(group, specs, progress_tracker(run, len(specs), 0) if progress else None)
    done = [spec for spec in specs if run.is_done(spec.key)]
    left = [spec for spec in specs if not run.is_done(spec.key) and spec.key not in run.prior.queued]
    group._open_tasks(done)
    log_progress(len(done), len(specs) - len(done) - len(left), len(specs))
    tracker = progress_tracker(run, len(done) + len(left), len(done)) if progress else None
    return Sweep(group, left, tracker)


def _shared_sweep(group: TaskGroup, run: Run, specs: list[TaskSpec], progress: bool) -> Sweep:
    sharing.look(run)
    space = sharing.unclaimed(run, specs)
    tracker = progress_tracker(run, len(space.left), 0) if progress else None
    return SharedSweep(group, run, specs, space, tracker)


def progress_tracker(run: Run, total: int, done: int) -> Tracker:
    """Starts to show the progress of a sweep, until the group ends at the latest.

    Args:
        run: The run.
        total: The number of configurations.
        done: How many of them an earlier attempt has completed.
    """
    from ._progress import Tracker, choose_display

    display = choose_display(redirect=not run.options.capture_console)
    tracker = Tracker(total, done, MetricLookup(run.template, run.vocabulary), display)
    run.after_close.append(tracker.stop)
    return tracker
