"""TaskGroup: opens, tracks and closes its tasks."""

from __future__ import annotations

import contextlib
import math
import warnings
import weakref
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, Literal

import attrs

from ._agents import queue as queueing
from ._agents import submit as submitting
from ._agents import turn as agent
from ._clearml import sdk
from ._log import logger
from ._model.identity import canonical_project, canonical_task_name, flatten, group_id, typed
from ._model.metrics import Metric, Vocabulary
from ._model.name_template import DEFAULT_TEMPLATE, NameTemplate, check_task_name
from ._model.search_space import Space, points
from ._model.specs import RunInfo, TaskSpec
from ._model.task_specs import Specs, checked_tags
from ._results.filtering import has_parameters
from ._results.from_run import results_of
from ._results.loading import Wanted, load_results
from ._results.metric_lookup import MetricLookup
from ._run import console as _console
from ._run import mode as _modes
from ._run import signals as _signals
from ._run.failures import abandon, add_note, bare, clear_frames, is_caught, reason_of, text_of
from ._run.opening import Resume, is_unguarded, open_run
from ._run.resume import log_progress
from ._run.worker_log import RESULTS_TIMEOUT_S
from ._storage.online import OnlineBackend
from ._storage.past_runs import find_run
from ._storage.upload import OnProgress, Uploaded, upload
from ._sweep import AgentTurn, Sweep
from ._task import Failure, GroupTask, failure_of
from ._text import counted
from .errors import ArgumentError, GroupStateError, TaskGroupWarning, UnguardedScriptError, UnknownTaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor
    from pathlib import Path
    from types import TracebackType

    from ._clearml.agent_task import AgentTask
    from ._map.map import Mapped
    from ._model.status import Status
    from ._progress import Tracker
    from ._results.results import Results
    from ._run.run import Run
    from ._run.state import TaskState
    from .integrations.optuna import Objective


_current: ContextVar[TaskGroup | None] = ContextVar("clearml_taskgroup_group", default=None)


class TaskGroup:
    """The ClearML tasks that one script opens under one project and name.

    Args:
        project: The ClearML project, with `/` between the parts of its path.
        name: The group's name; with the project it gives `id`, the same in every run.
        template: How logged values are called: `"{metric}/{split=value}"` is title and series.
            Fields: `{metric}`; the task's `{group}`, `{task}`, `{key}`, `{index}`, `{task_id}`; and
            any context of your own.
        metrics: The vocabulary: names, or `Metric(name, aliases=…, mode=…, unit=…)`. With one, an
            unknown metric is an error; without, what only some tasks report is told at the end.
        task_name: How ClearML tasks are called, of the fields `{group}`, `{task}`, `{key}`, `{index}`.
        tags: ClearML tags for every task.
        mode: `"offline"`, `"online"`, `"disabled"` (nothing is kept), or None: what ClearML is
            set to; on ranks other than 0 of a distributed job, disabled.
        catch: Exceptions that mark the task whose own `with` block they leave as failed, and
            let the loop go on. They are kept in `failures`. The package's own errors are meant only by
            their own classes and by `Exception`: `ValueError` does not stand for `UnknownMetricError`.
        nonfinite: What happens to NaN, ±inf and numbers beyond ±3.4e38: `"skip"` or `"raise"`.
        capture: `"console"` sends what a `with task:` block prints and logs to that task's console.
        provenance: Whether repository, commit, diff, entry point and requirements are detected and
            put on every task.
        resume: Goes on with the latest run of the same project and name, found on the server or,
            offline, on this disk: completed tasks are not run again.
        retry: What `resume` does with failed, stopped and abandoned tasks: `"new"` opens another
            ClearML task under the same key, `"continue"` goes on in the same one.
        takeover: Lets `resume` go on with a run that a living process still works on.
        close_timeout: The most seconds that delivery may take when a block ends.

    Raises:
        ServerNameError: A ClearML server would refuse the project's or the group's name.
        TemplateError: The template cannot be read.
        VocabularyError: The vocabulary contradicts itself.
        ArgumentError: Another argument has a value that it cannot have.

    Examples:
        >>> with TaskGroup("digits", "svm-sweep") as group:  # doctest: +SKIP
        ...     for task in group.sweep({"C": [1, 10], "seed": range(3)}):
        ...         with task:
        ...             task.report({"accuracy": train(**task.params)}, split="test")
    """

    def __init__(
        self,
        project: str,
        name: str,
        *,
        template: str | NameTemplate = DEFAULT_TEMPLATE,
        metrics: Iterable[str | Metric] | None = None,
        task_name: str = "{group} {task}",
        tags: Iterable[str] = (),
        mode: _modes.Mode | None = None,
        catch: type[Exception] | Iterable[type[Exception]] = (),
        nonfinite: Literal["skip", "raise"] = "skip",
        capture: Literal["console"] | None = None,
        provenance: bool = True,
        close_timeout: float = 300.0,
        resume: bool = False,
        retry: Literal["new", "continue"] = "new",
        takeover: bool = False,
    ) -> None:
        self.project = canonical_project(project)
        self.name = canonical_task_name(name, "group name")
        self.id = group_id(self.project, self.name)
        self.template = template if isinstance(template, NameTemplate) else NameTemplate(template)
        self.vocabulary = None if metrics is None else Vocabulary.of(metrics, self.template)
        self.task_name = check_task_name(task_name)
        self.tags = checked_tags(tags)
        self.catch = _checked_catch(catch)
        self.close_timeout = close_timeout
        if mode not in (None, "online", "offline", "disabled"):
            raise ArgumentError("mode", mode, "'online', 'offline', 'disabled' or None")
        if nonfinite not in ("skip", "raise"):
            raise ArgumentError("nonfinite", nonfinite, "'skip' or 'raise'")
        if capture not in (None, "console"):
            raise ArgumentError("capture", capture, "'console' or None")
        self.captures_console = capture == "console"
        if retry not in ("new", "continue"):
            raise ArgumentError("retry", retry, "'new' or 'continue'")
        self._resume = Resume(retry, takeover) if resume else None
        self._asked_mode = mode
        self._nonfinite: Literal["skip", "raise"] = nonfinite
        self._provenance = provenance
        self._run: Run | None = None
        self._tasks: dict[str, GroupTask] = {}
        self._turns: list[tuple[weakref.ref[Sweep], GroupTask]] = []
        self._sweeps = 0
        self._queueing = queueing.Queueing()
        self._specs = Specs(self.name, self.task_name)
        self._failures: list[Failure] = []
        self._tokens: list[Token[TaskGroup | None]] = []
        self._undo: list[Callable[[], None]] = []
        self._finalizer: Any = None

    def __repr__(self) -> str:
        state = "not open" if self._run is None else "closed" if self._run.closed else "open"
        return f"<TaskGroup {self.project!r} {self.name!r} {state}, {counted(len(self), 'task')}>"

    # --- opening -------------------------------------------------------------------------------

    def open(self) -> TaskGroup:
        """Opens the group without a block, for notebooks; `close` ends it.

        Returns:
            The group itself.

        Raises:
            GroupStateError: It has been opened before.
            ModeError: The mode contradicts what ClearML is set to.
            StoreError: The place where the data goes cannot be written to.
        """
        if self._run is not None:
            raise GroupStateError(
                self.name, "has been opened before", "make a new TaskGroup(…) for another run"
            )
        if is_unguarded():
            raise UnguardedScriptError(self.name)
        outer = _current.get()
        run = open_run(
            RunInfo(self.id, self.project, self.name, self.template.text, self.tags),
            self.template,
            self.vocabulary,
            mode=self._asked_mode,
            nonfinite=self._nonfinite,
            provenance=self._provenance,
            outer=outer._run if outer is not None else None,
            resume=self._resume,
        )
        self._run = run
        if run.point is None:
            run.summarize = _summarize
        else:
            self.captures_console = False  # the agent does
        if run.prior is not None:
            self._specs.keep({key: task.index for key, task in run.prior.attempts.items()})
        undo = [_signals.catch_sigterm()]
        if self.captures_console:
            undo.append(_console.install())
        self._finalizer = weakref.finalize(self, abandon, run, undo)
        self._undo = undo
        return self

    def __enter__(self) -> TaskGroup:
        self.open()
        self._tokens.append(_current.set(self))
        return self

    # --- tasks ---------------------------------------------------------------------------------

    def task(
        self,
        params: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        key: str | None = None,
        tags: Iterable[str] = (),
        if_exists: Literal["error", "return"] = "error",
    ) -> GroupTask:
        """Opens one task.

        Args:
            params: Its parameters, which are its identity; nested dicts become `a/b`.
            name: Its readable name; else it is made of the parameters, `C=1,seed=0`.
            key: Its identity, where the parameters cannot be it.
            tags: ClearML tags for this task alone.
            if_exists: What to do if the run has the task already: `"error"`, or `"return"` it.

        Returns:
            The task, open until its block, the group or a `mark_…` ends it.

        Raises:
            UnnamedTaskError: Neither parameters nor name nor key were given.
            ParameterError: A parameter cannot be part of an identity.
            DuplicateTaskError: The run has a task with this key.
            ServerNameError: A ClearML server would refuse the task's name.
            SubmitError: The group has submitted a sweep to a queue.
        """
        run = self._opened()
        submitting.refuse_beside(self, run, "group.task()")
        if if_exists not in ("error", "return"):
            raise ArgumentError("if_exists", if_exists, "'error' or 'return'")
        spec = self._specs.one(params, name=name, key=key, tags=tags)
        if if_exists == "return" and spec.key in self._tasks:
            return self._tasks[spec.key]
        self._specs.refuse_double(spec)
        self._specs.reserve(1)
        return self._open_tasks(run, [spec])[0]

    def tasks(self, space: Space) -> list[GroupTask]:
        """Opens a task for each point of a space, all at once.

        Args:
            space: A dict of lists (their product is taken), or any iterable of dicts, such as
                scikit-learn's `ParameterGrid`.

        Raises:
            SpaceError: The space is empty or not of that form.
            DuplicateTaskError: Two points are the same, or the run has one already.
            SubmitError: The group has submitted a sweep to a queue.
        """
        run = self._opened()
        submitting.refuse_beside(self, run, "group.tasks()")
        specs = self._specs.many(points(space))
        if run.prior is not None:
            log_progress(sum(run.is_done(spec.key) for spec in specs), 0, len(specs))
        return self._open_tasks(run, specs)

    def sweep(
        self, space: Space, *, progress: bool = False, queue: str | None = None, limit: int | None = None
    ) -> Sweep:
        """Opens the tasks of a space one after another, each a turn of a loop.

        With a queue, ClearML agents run them: each point becomes a task in the queue, and the loop
        has no turns here. On an agent the same script starts, and its loop has one turn: the point
        that the agent's task stands for, with its parameters as they stand there, also where
        somebody has edited them in the web page, or made a copy to edit. Everything reported goes to
        the agent's task, and its status is the agent's business: whatever is to fail it has to leave
        the script, so `catch` does not act there. All other sweeps have no turns there.

        Args:
            space: As for `tasks`. All of it is checked before the first turn.
            progress: Whether a terminal or a notebook shows how far the sweep is: done, failed, left,
                the current task, and the best value so far of the vocabulary's first metric that has
                a mode. Nothing on a pipe.
            queue: The queue that the points are submitted to, by its name; None runs them here.
            limit: The most of them that are queued or running at once; the others stay drafts,
                until `wait` enqueues them as there is a place. Without a queue it says nothing.

        Returns:
            An iterator with a length. A turn's task ends when the next turn begins; with
            `with task:` around the body of the loop it ends there, and `catch` can act.

        Raises:
            SpaceError: The space is empty or not of that form.
            DuplicateTaskError: Two points are the same, or the run has one already.
            MissingExtraError: `progress` needs rich, and it is not installed.
            SubmitError: No agent could run the points by this script; it says why.
            UnknownQueueError: The server has no such queue.
            AgentParameterError: On an agent: a parameter was edited to what it cannot be.
        """
        run = self._opened()
        if queue is not None and (not isinstance(queue, str) or not queue.strip()):
            raise ArgumentError("queue", queue, "the name of a queue")
        if limit is not None and (type(limit) is not int or limit < 1):
            raise ArgumentError("limit", limit, "a whole number from 1, or None for no limit")
        sweep = self._swept(run, space, queue, limit, progress)
        self._sweeps += 1  # one that was refused is none, here as on an agent
        return sweep

    def _swept(self, run: Run, space: Space, queue: str | None, limit: int | None, progress: bool) -> Sweep:
        if run.point is not None:
            return self._turn_on_agent(run, run.point, space)
        if run.elsewhere is not None or (queue is not None and submitting.is_idle_rank(run)):
            return Sweep(self, [])
        if queue is not None:
            return self._submit(run, space, queue.strip(), limit)
        specs = self._specs.many(points(space))
        if run.prior is None:
            return Sweep(self, specs, self._tracker(len(specs), 0) if progress else None)
        done = [spec for spec in specs if run.is_done(spec.key)]
        left = [spec for spec in specs if not run.is_done(spec.key) and spec.key not in run.prior.queued]
        self._open_tasks(run, done)
        log_progress(len(done), len(specs) - len(done) - len(left), len(specs))
        return Sweep(self, left, self._tracker(len(done) + len(left), len(done)) if progress else None)

    def _tracker(self, total: int, done: int) -> Tracker:
        from ._progress import Tracker, display_here

        display = display_here(redirect=not self.captures_console)
        tracker = Tracker(total, done, MetricLookup(self.template, self.vocabulary), display)
        self._undo.append(tracker.stop)
        return tracker

    def objective(
        self, fn: Callable[..., Any], *, metric: str | Sequence[str] | None = None, **context: Any
    ) -> Objective:
        """Gives an objective for Optuna's `study.optimize`: each trial is a task.

        Optuna stays in charge: `study.optimize(group.objective(fn), n_trials=50, n_jobs=2)`. What the
        trial samples is on its task as soon as it is sampled; what `trial.report` is given, and the
        objective's value, go there too. A trial that Optuna prunes is a task that is stopped. The
        study's best trial is kept on the group's parent.

        Args:
            fn: Optuna's `fn(trial)`, or `fn(trial, task)`. What it raises goes on to Optuna, whose own
                `catch=` decides; that of the group has no say.
            metric: What the objective's value is called, for several objectives one name each; None for
                the study's own `metric_names`, else `"objective"`.
            **context: The context of the objective's value, `split="val"`. A field that the template
                needs and that is not given is `value`.

        Returns:
            A callable that takes a trial, and gives what `fn` gives.

        Raises:
            MissingExtraError: Optuna is not installed.
            UnknownFieldError, UnknownMetricError: The template has no such field, the vocabulary no
                such metric.
            SubmitError: The group has submitted a sweep to a queue.
        """
        from .integrations.optuna import Objective

        if self._run is not None:
            submitting.refuse_beside(self, self._run, "group.objective()")
        return Objective(self, fn, metric, context)

    def _submit(self, run: Run, space: Space, queue: str, limit: int | None) -> Sweep:
        submitting.check(self, run, queue)
        submission = queueing.open_submission(run, queue, limit)
        found = self._specs.many(points(space))
        specs = [attrs.evolve(spec, queue=queue, sweep=self._sweeps) for spec in found]
        done = [spec for spec in specs if run.is_done(spec.key)]
        states = self._queueing.submit(run, [s for s in specs if not run.is_done(s.key)], submission)
        self._open_tasks(run, done)
        self._specs.take(state.spec for state in states)
        run.submitted.update((state.spec.key, state) for state in states)
        self._tasks.update((state.spec.key, queueing.QueuedTask(self, run, state)) for state in states)
        self._queueing.tell_of(len(done), states, len(specs))
        return Sweep(self, [])

    def _turn_on_agent(self, run: Run, point: AgentTask, space: Space) -> Sweep:
        spec = agent.spec_of_turn(point, self._specs, run.info, self._sweeps, space)
        if spec is None:
            return Sweep(self, [])
        if isinstance(run.backend, OnlineBackend):
            spec = agent.claim(point, spec, run.info, self._specs, run.backend.transport)
        agent.tell(point, spec)
        return AgentTurn(self, spec, point)

    def wait(self, timeout: float | None = None) -> Results:
        """Follows the tasks that were submitted to queues until all of them have ended.

        As some end, drafts that a limit has kept back take their places. On an agent there is
        nothing to wait for. Ctrl-C leaves the tasks where they are. It can be called after the
        group's block, too.

        Args:
            timeout: The most seconds to wait; None for no limit.

        Returns:
            The results, with what the server knows of the submitted tasks.

        Raises:
            WaitTimeoutError: Some had not ended by then; they go on.
            ServerError: The server refuses.
        """
        run = self._opened_once()
        if run.point is None:
            self._queueing.wait(run, timeout)
        return self.results()

    def cancel(self) -> queueing.Cancelled:
        """Ends the tasks that were submitted to queues.

        Those that wait are taken out of their queue, and drafts with them: they are stopped. Agents
        are asked to stop those that run, which takes them a moment. On an agent it does nothing.

        Returns:
            The names of the tasks, by what was done.
        """
        return self._queueing.cancel(self._opened_once())

    def map(
        self,
        fn: Callable[[GroupTask], Any],
        space: Space,
        *,
        workers: int | None = None,
        executor: Executor | None = None,
        progress: bool = False,
    ) -> list[Mapped]:
        """Calls a function with a task for each point of a space.

        An exception of the function fails its task and is in the point's record; it is not raised here,
        and the other points go on. A worker process that dies fails the one task that it worked on.

        Args:
            fn: Called with the task; in processes, one at the top level of a module.
            space: As for `tasks`. All of it is checked before the first point.
            workers: How many processes to run it in; None to run here, one point after another.
            executor: Threads or processes of your own instead: any `concurrent.futures.Executor`,
                loky's, or Dask's `client.get_executor()`.
            progress: As for `sweep`.

        Returns:
            A record for each point, in the order of the space: `task`, `value`, `error`. Under
            `resume`, points that have completed before are not run again. On an agent that runs the
            script for a sweep of another group there are none.

        Raises:
            ArgumentError: `workers` or `executor` is of the wrong kind, or `fn` cannot be called.
            SpaceError: The space is empty or not of that form.
            DuplicateTaskError: Two points are the same, or the run has one already.
            FunctionPickleError: The function cannot be sent to another process.
            WorkerStartError: The processes cannot start.
            SubmitError: The group has submitted a sweep to a queue.
            MissingExtraError: `progress` needs rich, and it is not installed.
        """
        from ._map.map import checked, map_points

        run = self._opened()
        checked(fn, workers, executor)
        if run.elsewhere is not None:
            return []
        submitting.refuse_beside(self, run, "group.map()")
        specs, track = self._specs.many(points(space)), self._tracker if progress else None
        return map_points(self, run, fn, specs, workers, executor, track)

    def __reduce__(self) -> str:
        raise GroupStateError(
            self.name, "stays in the process that opened it", "pass a task to other processes, or its report"
        )

    def _open_tasks(self, run: Run, specs: list[TaskSpec], turn: bool = False) -> list[GroupTask]:
        return self._add(run, specs, run.create(specs, turn))

    def _add(self, run: Run, specs: list[TaskSpec], states: list[TaskState]) -> list[GroupTask]:
        added = [GroupTask(self, run, state) for state in states]
        self._specs.take(specs)
        self._tasks.update((task.key, task) for task in added)
        return added

    def _begin_turn(self, sweep: Sweep, spec: TaskSpec) -> GroupTask:
        run = self._opened()
        self._specs.refuse_double(spec)
        for other, left in list(self._turns):
            if other() is None:  # a loop that was left
                self._stop_if_unknown(left)
                self._end_turn(other)
        (turn,) = self._open_tasks(run, [spec], turn=True)
        self._turns.append((weakref.ref(sweep), turn))
        return turn

    def _end_turn(self, sweep: weakref.ref[Sweep]) -> None:
        ended = [turn for other, turn in self._turns if other == sweep]
        self._turns = [pair for pair in self._turns if pair[1] not in ended]
        if self._run is not None and not self._run.closed:
            for turn in ended:
                self._run.end(turn._state, "completed", "", self.close_timeout)

    def _stop_if_unknown(self, turn: GroupTask) -> None:
        """Stops a turn whose loop was left, where no block could see whether by an exception."""
        if not self._tokens and self._run is not None:
            self._run.mark(turn._state, "stopped", "its loop was left before the turn had ended")

    @property
    def _turn(self) -> GroupTask | None:
        """The innermost turn that is under way."""
        return self._turns[-1][1] if self._turns else None

    def _opened(self) -> Run:
        if self._run is None:
            raise GroupStateError(
                self.name, "is not open yet", "use it as `with TaskGroup(…) as group:`, or call group.open()"
            )
        if self._run.closed:
            raise GroupStateError(self.name, "has been closed", "open its tasks before its block ends")
        return self._run

    # --- what it holds -------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[GroupTask]:
        return iter(list(self._tasks.values()))

    def __bool__(self) -> bool:
        return True  # a group without tasks is still a group

    def get(
        self,
        params: Mapping[str, Any] | None = None,
        /,
        *,
        key: str | None = None,
        name: str | None = None,
        **parameters: Any,
    ) -> GroupTask:
        """Finds one task: `group.get(C=1, seed=0)`.

        Args:
            params: Parameters as a dict, for names that are no Python names.
            key: The task's key.
            name: The task's readable name.
            **parameters: Parameters; as many as are needed to tell the task from the others.

        Raises:
            UnknownTaskError: No task matches, or more than one does.
        """
        wanted = {
            parameter: typed(value, parameter)
            for parameter, value in flatten({**(params or {}), **parameters}).items()
        }
        found = [
            task
            for task in self
            if (key is None or task.key == key)
            and (name is None or str(task) == name)
            and has_parameters(task._state.params, wanted)
        ]
        if len(found) != 1:
            asked = {**wanted, **({"key": key} if key else {}), **({"name": name} if name else {})}
            text = ", ".join(f"{field}={value!r}" for field, value in asked.items()) or "no parameters"
            raise UnknownTaskError(text, [str(task) for task in found], [str(task) for task in self])
        return found[0]

    def results(self) -> Results:
        """Gives the tasks' results so far, a row for each task.

        Raises:
            GroupStateError: The group has not been opened.
        """
        run = self._opened_once()
        if not run.closed:
            run.reporter.flush(self.close_timeout)
            run.worker_log.merge(run, RESULTS_TIMEOUT_S)
            run.worker_log.recount(run, RESULTS_TIMEOUT_S)
        goes_on = any((sweep := turn[0]()) is not None and sweep.has_more for turn in self._turns)
        return results_of(run, "the sweep goes on" if goes_on and not run.closed else "")

    @staticmethod
    def load(
        project: str,
        name: str | None = None,
        run: int | str | None = None,
        *,
        mode: Literal["online", "offline"] | None = None,
        metrics: Iterable[str | Metric] | None = None,
        copies: bool = False,
    ) -> Results:
        """Loads the results of a group of an earlier day.

        From a server it takes a call for each 500 tasks; curves are read when they are asked for.

        Args:
            project: The group's project.
            name: The group's name.
            run: The run's number, its id or the first digits of that; None for the latest.
            mode: `"online"` looks on the server alone, `"offline"` at the records on this disk alone.
                None looks where ClearML is set to; then, if there is no such run, on this disk.
            metrics: A vocabulary, for modes, units and aliases; None for the group's own.
            copies: Whether copies of tasks that were made in the web page are rows, too.

        Raises:
            NoSuchRunError: There is no such group or run.
            ArgumentError: The name is missing, or another argument is of the wrong kind.
            LoginError, ServerError: The server is away, or refuses.
        """
        if name is None:
            before, slash, last = str(project).rpartition("/")
            example = f"TaskGroup.load({before!r}, {last!r})" if slash else f"TaskGroup.load({project!r}, …)"
            raise ArgumentError("name", None, f"the group's name beside its project: {example}")
        project, name = canonical_project(project), canonical_task_name(name, "group name")
        wanted = Wanted(project, name, group_id(project, name), run)
        return load_results(wanted, mode=mode, metrics=metrics, copies=copies)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The tasks that have failed, in the order of their ends, each with what failed it.

        Those that `catch` let the loop go on after, and all others: that `map` or a worker process found
        out, that an exception has left the group's block from, that `mark_failed` was called for.
        """
        run = self._run
        if run is not None and not run.closed:
            run.worker_log.merge(run, 0.0)
        caught = {failure.task.key for failure in self._failures}
        others = [task for task in self if task.status == "failed" and task.key not in caught]
        found = [*self._failures, *map(failure_of, others)]
        return tuple(sorted(found, key=lambda failure: failure.task._state.ended or math.inf))

    @property
    def at_agent(self) -> bool:
        """Whether an agent runs this script for one point of a sweep that was submitted."""
        return self._opened_once().point is not None

    @property
    def mode(self) -> str:
        """`"offline"`, `"online"` or `"disabled"`, decided as the group opens."""
        return self._opened_once().backend.mode

    @property
    def run(self) -> str:
        """The run's uuid, 32 hexadecimal digits."""
        return self._opened_once().info.run

    @property
    def run_number(self) -> int:
        """The run's number for people, from 1."""
        return self._opened_once().info.number

    @property
    def parent_id(self) -> str | None:
        """The id of the ClearML task that stands for the run."""
        return self._opened_once().parent

    @property
    def url(self) -> str | None:
        """The parent's page, or offline its session folder; None if there is no parent."""
        run = self._opened_once()
        return run.backend.url(run.parent) if run.parent else None

    @property
    def compare_urls(self) -> list[str]:
        """The pages that compare the tasks, for each 100 of them; none offline."""
        return self._opened_once().backend.compare_urls([task.id for task in self])

    @property
    def where(self) -> str:
        """The place where the data goes; offline, the folder of ClearML's sessions."""
        return self._opened_once().backend.where

    @property
    def record_path(self) -> Path | None:
        """The run's record of what was opened and how it ended, a JSON object a line; else None."""
        run_log = self._opened_once().run_log
        return run_log.path if run_log else None

    def _opened_once(self) -> Run:
        return self._run if self._run is not None else self._opened()

    @staticmethod
    def upload(run: str | Path, progress: OnProgress | None = None) -> Uploaded:
        """Brings an offline run to the configured server, or what an online run has left on disk.

        Each task gets the status that it earned, and the parent link, which ClearML's own import
        forgets. It can be interrupted anywhere and run again, without a second task or a lost
        point.

        Args:
            run: The run's id (its first digits will do), its group's id for the latest run, or the
                path of its record (`group.record_path`).
            progress: Called with a task's name, how many tasks are through and how many there are.

        Returns:
            The ids of the tasks on the server, by the ids that they had before.

        Raises:
            ArgumentError: There is no such run on this disk.
            RunInUseError: A living process still works on it.
            ModeError: ClearML is set offline.
            LoginError, ServerError: The server is away, or refuses; run it again later.
        """
        return upload(find_run(sdk.cache_folder() / "taskgroup", run).path, progress)

    # --- current -------------------------------------------------------------------------------

    @staticmethod
    def current() -> TaskGroup | None:
        """Gives the group whose block this is, or None."""
        return _current.get()

    @contextlib.contextmanager
    def activate(self) -> Iterator[TaskGroup]:
        """Makes the group the one that `TaskGroup.current()` gives, for threads and callbacks."""
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)

    # --- the end -------------------------------------------------------------------------------

    def flush(self, timeout: float | None = None) -> None:
        """Waits until all that was reported so far is delivered.

        Args:
            timeout: The most seconds to wait; None for `close_timeout`.

        Raises:
            DeliveryError: It was not delivered by then.
        """
        run = self._opened_once()
        if not run.flush(self.close_timeout if timeout is None else timeout):
            missing = run.undelivered(list(run.states.values()))
            if missing is not None:
                raise missing

    def close(self, timeout: float | None = None) -> None:
        """Ends a group that was opened with `open`: open tasks are completed, all is delivered.

        Only a turn of a sweep whose loop was left, by an exception as well as by `break`, is
        stopped: without a block nobody knows which it was. Closing again does nothing.

        Args:
            timeout: The most seconds to wait; None for `close_timeout`.

        Raises:
            ExceptionGroup: What went wrong in closing, after all the tasks were gone through.
        """
        for _, turn in self._turns:
            self._stop_if_unknown(turn)
        self._close("completed", "", timeout, None)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(ValueError):  # left in another context, as async fixtures do
            _current.reset(self._tokens.pop())
        if exc is None:
            self._close("completed", "", None, None)
            return
        run = self._run
        assert run is not None
        status: Status = "failed" if isinstance(exc, Exception) else "stopped"
        reason = reason_of(exc)
        turn = self._turn
        if turn is not None and turn._state.is_open and not run.in_child:
            text = text_of(exc)
            turn._state.failure = (bare(exc, text), text)
            run.mark(turn._state, status, reason)
            run.reporter.put_text(turn.id, text)
            if is_caught(exc, self.catch):
                add_note(
                    exc,
                    "catch=… acts on what leaves a task's own block: put `with task:` around the body of "
                    "the loop, so that the loop can go on",
                )
        self._close(status, f"group aborted by {reason}" if status == "failed" else reason, None, exc)

    def _close(self, status: Status, reason: str, timeout: float | None, exc: BaseException | None) -> None:
        run = self._run
        if run is None or run.closed:
            return
        with _signals.held() as interrupts:
            self._finalizer.detach()
            self._turns.clear()
            if run.point is not None:
                run.point.end()
            seconds = self.close_timeout if timeout is None else timeout
            errors = run.close(status, reason, seconds, interrupts)
        for undo in self._undo:
            undo()
        if run.in_child:
            return
        self._queueing.tell_of_left()
        main = exc or interrupts.first
        if exc is not None and interrupts.first is not None:
            add_note(exc, f"while the group closed, there came {reason_of(interrupts.first)}")
        for category, text in run.summary():
            try:
                warnings.warn(text, category, stacklevel=3)
            except TaskGroupWarning as warning:  # warnings as errors never replace an exception
                errors.append(warning)
        if main is not None:
            for error in errors:
                add_note(main, f"while the group closed: {reason_of(error)}")
            if exc is None:
                raise main
        elif run.point is not None and (problem := run.point.problem(run.states.values(), self._sweeps)):
            for error in errors:
                add_note(problem, f"while the group closed: {reason_of(error)}")
            raise problem
        elif len(errors) == 1 and isinstance(errors[0], TaskGroupWarning):
            raise errors[0]
        elif errors:
            raise ExceptionGroup(f"the group {self.name!r} could not be closed cleanly", errors)

    def _task_raised(self, task: GroupTask, exc: BaseException) -> bool:
        """Ends a task whose own block an exception leaves; tells whether it stops there."""
        if task._run.in_child:
            return False
        text = self._end_by(task, exc)
        if not is_caught(exc, self.catch):
            if isinstance(exc, self.catch):
                add_note(
                    exc,
                    "catch=… takes this package's own errors by their own classes only, "
                    f"catch={type(exc).__name__}: most are mistakes in the script",
                )
            return False
        if task._run.point is not None:
            add_note(exc, agent.NOT_CAUGHT)
            return False
        clear_frames(exc)
        self._failures.append(Failure(task, exc, text))
        logger.warning("%s failed, the loop goes on: %s", task, reason_of(exc))
        return True

    def _end_by(self, task: GroupTask, exc: BaseException) -> str:
        """Ends a task by an exception; gives its traceback as text."""
        run, text = task._run, text_of(exc)
        run.reporter.put_text(task.id, text)
        if isinstance(exc, Exception):
            if task._state.is_open:
                task._state.failure = (bare(exc, text), text)
            run.end(task._state, "failed", reason_of(exc), self.close_timeout)
        else:  # an interrupt waits for nothing here; the group's end delivers
            run.mark(task._state, "stopped", reason_of(exc))
        return text


def _summarize(run: Run) -> Iterable[str]:
    from ._reports.summary import summary_events  # figures are not needed before the end

    return summary_events(run)


def _checked_catch(catch: type[Exception] | Iterable[type[Exception]]) -> tuple[type[Exception], ...]:
    listed = (catch,) if isinstance(catch, type) else tuple(catch)
    for kind in listed:
        if not isinstance(kind, type) or not issubclass(kind, Exception):
            raise ArgumentError("catch", catch, "exception classes derived from Exception, (MemoryError,)")
    return listed
