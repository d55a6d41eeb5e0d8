"""Sweeps: one task after another, each ended when the next iteration begins."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from ._model.arguments import check_choice, check_flag
from ._model.search_space import Space, configurations
from ._run.abort import check_iteration
from ._run.tasks import log_progress
from ._text import counted
from .errors import ArgumentError, SweepOverError

if TYPE_CHECKING:
    from ._clearml.agent_task import AgentTask
    from ._group import TaskGroup
    from ._model.specs import TaskSpec
    from ._progress.tracker import Tracker
    from ._run.run import Run
    from ._run.sharing import Unclaimed
    from ._run.state import TaskState
    from ._task import GroupTask
    from .errors import AgentTaskError


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
                "group.results() their values; to run again what has not completed, write "
                "group.sweep(…, if_exists='retry'), and to run everything again, open a new TaskGroup",
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


class RetrySweep(Sweep):
    """A sweep that runs those configurations again that the open run has and that have not completed."""

    def _open(self) -> GroupTask | None:
        run = self._group._opened()
        while self.has_more and _is_completed(run, self._specs[self._begun]):  # meanwhile
            self._begun += 1
        if not self.has_more:
            return None
        spec = self._specs[self._begun]
        _stop_unfinished(self._group, run, spec)
        (task,) = self._group._open_tasks([spec], in_sweep=True)
        return task


def _is_completed(run: Run, spec: TaskSpec) -> bool:
    state = run.states.get(spec.key)
    return run.is_done(spec.key) if state is None else state.status == "completed"


def _stop_unfinished(group: TaskGroup, run: Run, spec: TaskSpec) -> None:
    """Stops a task that is open and whose configuration is run again.

    Raises:
        DuplicateTaskError: Its block has not been left, so that it is still running.
    """
    state, task = run.states.get(spec.key), group._tasks.get(spec.key)
    if state is None or not state.is_open:
        return
    if state.ends_elsewhere or (task is not None and task._is_in_block):
        run.specs.refuse_duplicate(spec)
    group._iterations.forget(state)
    run.end(state, "stopped", "it had not ended when its configuration was run again")


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
        from ._run.sharing import log_passed

        super()._end()
        log_passed(self._run, self._all, self._own)


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


class Iterations:
    """The iterations that are under way, of all sweeps of one group; the innermost is the last."""

    def __init__(self) -> None:
        self.running: list[tuple[weakref.ref[Sweep], GroupTask]] = []

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

    def forget(self, state: TaskState) -> None:
        """Takes out the iteration of a task that ends in another way."""
        self.running = [pair for pair in self.running if pair[1]._state is not state]

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
    group: TaskGroup, run: Run, space: Space, *, progress: bool, if_exists: str, queue: Any, limit: Any
) -> Sweep:
    """Makes a sweep that runs here, on an agent, or not at all; see `TaskGroup.sweep`.

    Raises:
        ArgumentError: An argument is of the wrong kind, or two contradict each other.
    """
    check_flag("progress", progress)
    check_choice("if_exists", if_exists, ("error", "retry"))
    if queue is not None and (not isinstance(queue, str) or not queue.strip()):
        raise ArgumentError("queue", queue, "the name of a queue")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise ArgumentError("limit", limit, "an integer from 1, or None for no limit")
    if if_exists == "retry" and queue is not None:
        expected = "a sweep without queue=; TaskGroup(…, resume=True) submits what has not completed"
        raise ArgumentError("if_exists", if_exists, expected)
    if run.agent_task is not None:
        from ._agents import on_agent

        spec = on_agent.claimed_spec(run, space, str(run.sweeps))
        return Sweep(group, []) if spec is None else AgentSweep(group, spec, run.agent_task)
    if run.foreign_agent_task is not None:
        return Sweep(group, [])
    if queue is not None:
        from ._agents.submit import submit_sweep

        group._add(submit_sweep(group, run, space, queue.strip(), limit))
        return Sweep(group, [])
    return _local_sweep(group, run, space, progress, retry=if_exists == "retry")


def specs_to_map(group: TaskGroup, run: Run, space: Space) -> list[TaskSpec]:
    """Makes the specs that a map runs: all of the space, on an agent only its task's, or none.

    Raises:
        SubmitError, AgentTaskError: See `TaskGroup.map`.
    """
    if run.foreign_agent_task is not None:
        return []
    listed, place = configurations(space), f"map {run.maps}"
    if run.agent_task is not None and not run.agent_task.queue:
        from ._agents import on_agent

        spec = on_agent.claimed_spec(run, listed, place)
        if spec is None:
            return []
        run.agent_task.begin()
        return [spec]
    refuse_beside_queue(group, run, "group.map()")
    return run.specs.make_all(listed, sweep=place)


def refuse_beside_queue(group: TaskGroup, run: Run, call: str) -> None:
    """Refuses tasks outside of sweeps where agents run the sweeps: they would run their body as well.

    Args:
        group: The group.
        run: Its run.
        call: What the script calls, for the message.

    Raises:
        SubmitError, AgentTaskError: See `submit_checks.refuse_beside`.
    """
    if run.agent_task is not None or run.foreign_agent_task is not None or group._queueing is not None:
        from ._agents.submit_checks import refuse_beside  # most groups have nothing to do with agents

        refuse_beside(group, run, call)


def agent_problem(run: Run) -> AgentTaskError | None:
    """Gives the error that ends the script on an agent, so that its task does not count as completed."""
    if run.agent_task is None:
        return None
    from ._agents.on_agent import problem

    return problem(run.agent_task, run.states.values(), run.sweeps)


def _local_sweep(group: TaskGroup, run: Run, space: Space, progress: bool, retry: bool) -> Sweep:
    if retry and run.sharing is not None:
        expected = "a run of this process alone; in one that processes share, resume=True runs them again"
        raise ArgumentError("if_exists", "retry", expected)
    specs = run.specs.make_all(configurations(space), again=retry, sweep=str(run.sweeps))
    if run.sharing is not None:
        return _shared_sweep(group, run, specs, progress)
    if run.prior is None and not retry:
        return Sweep(group, specs, progress_tracker(run, len(specs), 0) if progress else None)
    done = [spec for spec in specs if _is_completed(run, spec)]
    queued = run.prior.queued if run.prior is not None else {}
    left = [spec for spec in specs if not _is_completed(run, spec) and spec.key not in queued]
    for spec in left:
        if spec.key in run.submitted:  # an agent runs it
            run.specs.refuse_duplicate(spec)
    group._open_tasks([spec for spec in done if spec.key not in run.states])
    log_progress(len(done), len(specs) - len(done) - len(left), len(specs))
    tracker = progress_tracker(run, len(done) + len(left), len(done)) if progress else None
    return (RetrySweep if retry else Sweep)(group, left, tracker)


def _shared_sweep(group: TaskGroup, run: Run, specs: list[TaskSpec], progress: bool) -> Sweep:
    from ._run.sharing import look, unclaimed

    look(run)
    space = unclaimed(run, specs)
    tracker = progress_tracker(run, len(space.left), 0) if progress else None
    return SharedSweep(group, run, specs, space, tracker)


def progress_tracker(run: Run, total: int, done: int) -> Tracker:
    """Starts to show the progress of a sweep, until the group ends at the latest.

    Args:
        run: The run.
        total: The number of configurations.
        done: How many of them an earlier attempt has completed.
    """
    from ._progress.displays import choose_display
    from ._progress.tracker import Tracker
    from ._results.find_metric import MetricLookup

    display = choose_display()
    tracker = Tracker(total, done, MetricLookup(run.template, run.vocabulary), display)
    run.after_close.append(tracker.stop)
    return tracker
