"""TaskGroup: opens, tracks and closes the tasks of a script."""

from __future__ import annotations

import contextlib
import functools
import math
import weakref
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ._current import current_group, enter, groups, leave
from ._group_info import GroupInfo, log_pages, parent_summary
from ._model.arguments import (
    check_choice,
    check_flag,
    checked_auto_connect,
    checked_callback,
    checked_catch,
    checked_seconds,
    checked_tags,
    checked_timeout,
)
from ._model.identity import canonical_project, canonical_task_name, group_id
from ._model.name_template import DEFAULT_TEMPLATE, NameTemplate, check_task_name
from ._model.search_space import Space, configurations
from ._model.specs import RunInfo, TaskSpec
from ._run import abort, closing, failures, signals
from ._run.joining import shared_text
from ._run.opening import is_unguarded, open_run
from ._run.run import RunOptions
from ._run.run_storage import Resume
from ._run.tasks import log_progress, recall_tasks
from ._run.worker_log import RESULTS_TIMEOUT_S
from ._sweep import Iterations, agent_problem, open_sweep, progress_tracker, refuse_beside_queue, specs_to_map
from ._task import GroupTask
from ._text import counted
from .errors import GroupStateError, WorkerStartError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor
    from types import TracebackType

    from ._agents.queue import Cancelled, Queueing
    from ._map.map import Mapped
    from ._model.metrics import Metric
    from ._model.status import Status
    from ._model.vocabulary import Vocabulary
    from ._results.results import Results
    from ._run.mode import Mode
    from ._run.run import Run
    from ._run.sharing import Unclaimed
    from ._sweep import Sweep
    from .integrations.optuna import Objective

T = TypeVar("T")


class TaskGroup(GroupInfo):
    """The ClearML tasks that one script opens under one project and name.

    Args:
        project: The ClearML project, with `/` between the parts of its path.
        name: The group's name. Project and name determine `id`, which is the same in every run.
        template: The names of logged values: `"{metric}/{split=value}"` gives title and series.
            Fields are `{metric}`; the task's `{group}`, `{task}`, `{key}`, `{index}` and `{task_id}`; and
            any context of your own.
        metrics: The vocabulary: names, or `Metric(name, aliases=…, mode=…, unit=…)`. With a vocabulary,
            an unknown metric is an error. Without one, metrics that only some tasks report are listed
            in a warning at the end.
        task_name: The names of the ClearML tasks, with the fields `{group}`, `{task}`, `{key}`, `{index}`.
        tags: ClearML tags for every task.
        mode: `"online"`, `"offline"`, or `"disabled"`, which stores nothing. None follows ClearML's own
            setting, except on ranks other than 0 of a distributed job, where it means `"disabled"`.
        catch: Exceptions that fail only the task whose own `with` block they leave; the loop
            continues, and they are kept in `failures`. This package's own errors are included by their own
            classes and by `Exception` only: `ValueError` does not include `UnknownMetricError`.
        nonfinite: What to do with NaN, ±inf and numbers beyond ±3.4e38: `"skip"` or `"raise"`.
        capture: `"console"` sends what a `with task:` block prints and logs to that task's console.
        auto_connect_frameworks: Whether what ClearML logs automatically inside of a `with task:` block, or of
            `task.activate()`, goes to that task: TensorBoard, matplotlib, saved models. Or a dict, as for
            `Task.init`: `{"matplotlib": False, "pytorch": "*.pt"}`; keys that it does not have are on.
        provenance: Whether repository, commit, diff, entry point and requirements are detected and
            stored with every task.
        resume: Continues the latest run of the same project and name, found on the server or, offline,
            on this disk. Completed tasks are not run again.
        retry: What `resume` does with failed, stopped and abandoned tasks: `"new"` opens another
            ClearML task under the same key, `"continue"` continues the same one.
        takeover: Lets `resume` continue a run that another living process has open.
        close_timeout: The most seconds that delivery may take when a block ends.
        on_end: A function of the group and its results, `on_end(group, results)`, which is called once
            when the block ends, also by an exception: after all tasks have ended, and before the parent
            does. Of several processes that share a run, the last one to leave calls it, each time that the
            run becomes empty. Its exceptions are raised with the errors of closing, after everything is
            stored.
        run: Any text, such as the id of a Slurm array. Processes that open the same group with the same text
            share one run: each configuration runs in exactly one of them. None takes the text of the
            environment variable `CLEARML_TASKGROUP_RUN`; without one, the run belongs to this process alone.

    Raises:
        ServerNameError: A ClearML server would refuse the name of the project or of the group.
        TemplateError: The template cannot be parsed.
        VocabularyError: The vocabulary contradicts itself.
        ArgumentError: Another argument is invalid.

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
        mode: Mode | None = None,
        catch: type[Exception] | Iterable[type[Exception]] = (),
        nonfinite: Literal["skip", "raise"] = "skip",
        capture: Literal["console"] | None = None,
        auto_connect_frameworks: bool | Mapping[str, Any] = False,
        provenance: bool = True,
        close_timeout: float = 300.0,
        on_end: Callable[[TaskGroup, Results], object] | None = None,
        resume: bool = False,
        retry: Literal["new", "continue"] = "new",
        takeover: bool = False,
        run: str | None = None,
    ) -> None:
        self.project: str = canonical_project(project)
        self.name: str = canonical_task_name(name, "group name")
        self.id: str = group_id(self.project, self.name)
        self.template: NameTemplate = (
            template if isinstance(template, NameTemplate) else NameTemplate(template)
        )
        self.vocabulary: Vocabulary | None = None
        if metrics is not None:
            from ._model.vocabulary import Vocabulary

            self.vocabulary = Vocabulary.of(metrics, self.template)
        self.task_name: str = check_task_name(task_name)
        self.tags: tuple[str, ...] = checked_tags(tags)
        self.catch: tuple[type[Exception], ...] = checked_catch(catch)
        self.close_timeout: float = checked_seconds("close_timeout", close_timeout)
        check_choice("mode", mode, (None, "online", "offline", "disabled"))
        check_choice("nonfinite", nonfinite, ("skip", "raise"))
        check_choice("capture", capture, (None, "console"))
        check_choice("retry", retry, ("new", "continue"))
        for argument, value in {"provenance": provenance, "resume": resume, "takeover": takeover}.items():
            check_flag(argument, value)
        self._options = RunOptions(
            task_name=self.task_name,
            catch=self.catch,
            close_timeout=self.close_timeout,
            nonfinite=nonfinite,
            capture_console=capture == "console",
            provenance=provenance,
            auto_connect_frameworks=checked_auto_connect(auto_connect_frameworks),
        )
        self._on_end = checked_callback("on_end", on_end, "a function of the group and its results")
        self._shared = shared_text(run, retry, takeover)
        self._resume = Resume(retry, takeover) if resume else None
        self._mode = mode
        self._script: Mapping[str, Any] | None = None  # None: detected, if `provenance` says so
        self._run: Run | None = None
        self._tasks: dict[str, GroupTask] = {}
        self._iterations = Iterations()
        self._queueing: Queueing | None = None  # until a sweep is submitted to a queue
        self._is_in_block = False
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
            ModeError: The mode contradicts ClearML's own setting.
            StoreError: The data cannot be written to its place on disk.
            RunInUseError: Another living process has the run open that `resume` would continue.
            RunLogError: Data of the run that `resume` or `run` would continue has been deleted.
        """
        if self._run is not None:
            raise GroupStateError(
                self.name, "has been opened before", "make a new TaskGroup(…) for another run"
            )
        if is_unguarded():
            raise WorkerStartError(f"the group {self.name!r} would be opened again by a worker process")
        outer = current_group()
        run = open_run(
            RunInfo(self.id, self.project, self.name, self.template.text, self.tags, script=self._script),
            self.template,
            self.vocabulary,
            self._options,
            mode=self._mode,
            outer=outer._run if outer is not None else None,
            resume=self._resume,
            shared=self._shared,
        )
        self._run = run
        if run.foreign_agent_task is not None:
            from ._agents import on_agent  # agents run few scripts

            on_agent.expect(run.foreign_agent_task, f"{self.project}/{self.name} (id {self.id})")
        if run.agent_task is None:
            run.summarize = parent_summary(run)
        run.after_close.append(functools.partial(log_pages, run, "end"))
        run.after_close.append(signals.catch_terminations())
        if run.options.capture_console:
            from ._run import console

            run.after_close.append(console.install())
        if run.options.auto_connect_frameworks is not None:
            from ._auto_logging import routing

            routing.install(run)
        self._finalizer = weakref.finalize(self, closing.abandon, run)
        return self

    def __enter__(self) -> TaskGroup:
        self.open()
        enter(groups, self)
        self._is_in_block = True
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
            name: Its readable name; by default it is made from the parameters, `C=1,seed=0`.
            key: Its identity, if the parameters cannot be it.
            tags: ClearML tags for this task alone.
            if_exists: What to do if the run has the task already: `"error"`, or `"return"` it.

        Returns:
            The task, open until its block, the group or a `mark_…` ends it.

        Raises:
            ArgumentError: Neither parameters nor name nor key were given.
            ParameterError: A parameter cannot be part of an identity.
            DuplicateTaskError: The run has a task with this key.
            ServerNameError: A ClearML server would refuse the task's name.
            SubmitError: The group has submitted a sweep to a queue.
        """
        run = self._opened()
        refuse_beside_queue(self, run, "group.task()")
        check_choice("if_exists", if_exists, ("error", "return"))
        spec = run.specs.make(params, name=name, key=key, tags=tags)
        if if_exists == "return" and spec.key in self._tasks:
            return self._tasks[spec.key]
        run.specs.refuse_duplicate(spec)
        run.specs.reserve_indices(1)
        return self._open_tasks([spec])[0]

    def tasks(self, space: Space) -> list[GroupTask]:
        """Opens a task for each configuration of a search space, all at once.

        Args:
            space: A dict of lists (all combinations are taken), or any iterable of dicts, such as
                scikit-learn's `ParameterGrid`.

        Raises:
            SpaceError: The space is empty or not of that form.
            DuplicateTaskError: Two configurations are the same, or the run has one already.
            SubmitError: The group has submitted a sweep to a queue.
        """
        run = self._opened()
        refuse_beside_queue(self, run, "group.tasks()")
        specs = run.specs.make_all(configurations(space))
        if run.prior is not None:
            log_progress(sum(run.is_done(spec.key) for spec in specs), 0, len(specs))
        return self._open_tasks(specs)

    def sweep(
        self,
        space: Space,
        *,
        progress: bool = False,
        if_exists: Literal["error", "retry"] = "error",
        queue: str | None = None,
        limit: int | None = None,
    ) -> Sweep:
        """Opens the tasks of a search space one after another, one for each iteration of a loop.

        With `queue`, ClearML agents run them: each configuration becomes a task in the queue, and the
        loop body does not run here. An agent starts the same script, and there the loop has one
        iteration: the configuration of the agent's task, with the parameters that are stored with it,
        also if somebody has edited them in the web page, or edited a copy. Everything that is reported goes
        to the agent's task. The agent sets its status from the script's exit code, so `catch` has no
        effect there. All other sweeps of the script are empty there.

        Args:
            space: As for `tasks`. All of it is checked before the first iteration.
            progress: Whether a terminal or a notebook shows the progress: how many tasks are done, failed
                and left, the current task, and the best value so far of the vocabulary's first metric that
                has a mode. It shows nothing on a pipe.
            if_exists: `"retry"` runs configurations again that the run has already and that failed, were
                stopped or had not ended, each as another attempt; completed ones are left out.
            queue: The name of the queue that the configurations are submitted to; None runs them here.
            limit: How many of them may be queued or running at once; the others stay drafts, which
                `wait` enqueues when others end. Without a queue it has no effect.

        Returns:
            An iterator with a length. A task ends when the next iteration begins; with `with task:`
            around the loop body it ends there, and `catch` can act.

        Raises:
            SpaceError: The space is empty or not of that form.
            DuplicateTaskError: Two configurations are the same, or the run has one already.
            SubmitError: An agent could not run this script; the message says why.
            UnknownQueueError: The server has no such queue.
            AgentParameterError: On an agent: a parameter was edited to an invalid value.
        """
        run = self._opened()
        sweep = open_sweep(self, run, space, progress=progress, if_exists=if_exists, queue=queue, limit=limit)
        run.sweeps += 1  # not if it was refused: an agent must count the same sweeps
        return sweep

    def objective(
        self, fn: Callable[..., Any], *, metric: str | Sequence[str] | None = None, **context: Any
    ) -> Objective:
        """Makes an objective for Optuna's `study.optimize`: each trial becomes a task.

        Optuna stays in charge: `study.optimize(group.objective(fn), n_trials=50, n_jobs=2)`. The task
        gets the parameters as soon as they are sampled, the values given to `trial.report`, and the
        objective's value. The task of a pruned trial is stopped. The parameters and the value of the
        study's best trial are stored with the group's parent.

        Args:
            fn: Optuna's `fn(trial)`, or `fn(trial, task)`. Its exceptions reach Optuna, whose own
                `catch=` applies instead of the group's.
            metric: The name of the objective's value, or a list of names for several objectives; None for
                the study's own `metric_names`, else `"objective"`.
            **context: The context of the objective's value, `split="val"`. A field that the template
                needs and that is not given is `value`.

        Returns:
            A callable that takes a trial, and returns what `fn` returns.

        Raises:
            MissingExtraError: Optuna is not installed.
            ArgumentError: `fn` is not a function, or `metric` neither a name nor a list of names.
            UnknownFieldError: The template has no such field.
            UnknownMetricError: The vocabulary has no such metric.
            SubmitError: The group has submitted a sweep to a queue.
        """
        from .integrations.optuna import Objective

        if self._run is not None:
            refuse_beside_queue(self, self._run, "group.objective()")
        return Objective(self, fn, metric, context)

    def wait(self, timeout: float | None = None) -> Results:
        """Waits until the tasks that were submitted to queues have ended, and logs their progress.

        When tasks end, drafts that `limit` has kept back are enqueued. On an agent it returns at once.
        Ctrl-C leaves the tasks as they are. It can be called after the group's block, too.

        Args:
            timeout: The most seconds to wait; None for no limit.

        Returns:
            The results, with what the server has of the submitted tasks.

        Raises:
            WaitTimeoutError: Some had not ended in time; they are left as they are.
            TaskAbortedError: Somebody has stopped the parent.
            ServerError: The server refuses a request.
        """
        run = self._opened_once()
        seconds = checked_timeout(timeout, math.inf)
        if self._queueing is not None:
            self._queueing.wait(run, seconds)
        return self.results()

    def cancel(self) -> Cancelled:
        """Ends the tasks that were submitted to queues.

        Queued tasks are taken out of their queue and stopped, like drafts. Agents are asked to stop those
        that run, which takes a moment. On an agent it does nothing.

        Returns:
            The names of the tasks, by what was done.
        """
        from ._agents.queue import Queueing

        return (self._queueing or Queueing()).cancel(self._opened_once())

    def map(
        self,
        fn: Callable[[GroupTask], T],
        space: Space,
        *,
        workers: int | None = None,
        executor: Executor | None = None,
        retries: int = 0,
        timeout: float | None = None,
        devices: Iterable[str | int] | None = None,
        progress: bool = False,
    ) -> list[Mapped[T]]:
        """Calls a function with the task of each configuration of a search space.

        An exception of the function fails its task and is in its `Mapped`; it is not raised here, and
        the other configurations are run. A worker process that dies fails only the task that it worked on.

        Args:
            fn: Called with the task. For worker processes it must be at the top level of a module.
            space: As for `tasks`. All of it is checked before the first call.
            workers: How many processes to run it in; None to run here, one configuration after another.
            executor: Your own threads or processes instead: any `concurrent.futures.Executor`,
                loky's, or Dask's `client.get_executor()`.
            retries: How often a configuration is tried again that raised an `Exception`, whose worker died,
                or that took longer than `timeout`. Each retry is another ClearML task under the same key,
                with `attempt` one higher; the group and the results have the latest. Not on an agent.
            timeout: The most seconds that a call may take, from its beginning in the worker until its
                data is stored. Then its worker is ended, and its task fails. Needs workers.
            devices: The CUDA devices of the workers, `["0", "1"]`, one for each; `workers` is their number
                if it is None. An index counts the devices that this process sees; a UUID, `GPU-…` or `MIG-…`,
                is taken as it is. Not on an agent, which has been given its own.
            progress: As for `sweep`.

        Returns:
            A `Mapped` for each configuration, in the order of the space: `task`, `value`, `error`. With
            `resume`, configurations that have completed before are not run again. In a shared run, those of
            other processes are left out. On an agent the list has at most one entry: that of its task.

        Raises:
            ArgumentError: An argument is of the wrong kind, two contradict each other, or this process does
                not see so many devices.
            SpaceError: The space is empty or not of that form.
            DuplicateTaskError: Two configurations are the same, or the run has one already.
            FunctionPickleError: The function cannot be sent to another process.
            WorkerStartError: The processes cannot start.
            SubmitError: The group has submitted a sweep to a queue.
            AgentParameterError: On an agent: a parameter was edited to an invalid value.
        """
        from ._map.map import map_configurations
        from ._map.options import checked_options

        run = self._opened()
        options = checked_options(fn, workers, executor, retries, timeout, devices)
        check_flag("progress", progress)
        specs = specs_to_map(self, run, space)
        run.maps += 1
        track = functools.partial(progress_tracker, run) if progress else None
        mapped = map_configurations(run, self._open_tasks, self._open_next, fn, specs, options, track)
        if run.agent_task is not None:
            run.agent_task.end()
        return mapped

    def __reduce__(self) -> str:
        raise GroupStateError(
            self.name, "stays in the process that opened it", "pass a task to other processes, or its report"
        )

    def _open_tasks(self, specs: list[TaskSpec], in_sweep: bool = False) -> list[GroupTask]:
        run = self._opened()
        return self._add([GroupTask(self, run, state) for state in run.create(specs, in_sweep)])

    def _open_next(self, space: Unclaimed, in_sweep: bool = False) -> GroupTask | None:
        """Opens the task of the first configuration that no other process of a shared run has."""
        from ._run.sharing import open_next

        run = self._opened()
        state = open_next(run, space, in_sweep)
        return None if state is None else self._add([GroupTask(self, run, state)])[0]

    def _recall_tasks(self, specs: Iterable[TaskSpec]) -> list[GroupTask]:
        """Adds tasks of the resumed run, as they ended."""
        run = self._opened()
        return self._add([GroupTask(self, run, state) for state in recall_tasks(run, specs)])

    def _other_tasks(self) -> list[GroupTask]:
        """Returns the run's tasks of earlier processes, and of those that share the run."""
        if (run := self._run) is None:
            return []
        run.look()
        return [
            GroupTask(self, run, state) for state in run.all_states() if state.spec.key not in self._tasks
        ]

    def _recall(self, task: GroupTask) -> GroupTask:
        """Adds a task that `_other_tasks` has found to those of this group."""
        run, state = self._opened_once(), task._state
        if not state.elsewhere:
            run.states[task.key] = state
        run.specs.add([state.spec])
        return self._add([task])[0]

    def _add(self, tasks: list[GroupTask]) -> list[GroupTask]:
        if not self._tasks and tasks:
            log_pages(tasks[0]._run, "start")
        self._tasks.update((task.key, task) for task in tasks)
        return tasks

    @property
    def _iteration_task(self) -> GroupTask | None:
        return self._iterations.current

    # --- results -------------------------------------------------------------------------------

    def results(self) -> Results:
        """Returns the tasks' results so far, a row for each task.

        Raises:
            GroupStateError: The group has not been opened.
        """
        run = self._opened_once()
        if not run.closed:
            run.reporter.flush(run.options.close_timeout)
            run.worker_log.merge(run, RESULTS_TIMEOUT_S)
        goes_on = self._iterations.has_more and not run.closed
        from ._results.from_run import results_of  # opening and reporting do without it

        return results_of(run, "the sweep goes on" if goes_on else "")

    # --- current -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def activate(self) -> Iterator[TaskGroup]:
        """Makes the group the current one, for threads and callbacks."""
        enter(groups, self)
        try:
            yield self
        finally:
            leave(groups, self)

    # --- the end -------------------------------------------------------------------------------

    def flush(self, timeout: float | None = None) -> None:
        """Waits until everything that was reported so far is delivered, and ended tasks have their status.

        A status that is not stored in time raises nothing: the group's end tries again.

        Args:
            timeout: The most seconds to wait; None for `close_timeout`.

        Raises:
            DeliveryError: Some of it was not delivered in time.
        """
        run = self._opened_once()
        seconds = checked_timeout(timeout, run.options.close_timeout)
        if not run.flush_and_end(seconds) and (missing := run.undelivered(run.own_states)):
            raise missing

    def close(self, timeout: float | None = None) -> None:
        """Ends a group that was opened with `open`: completes its open tasks and delivers all data.

        Only the task of a sweep whose loop was left early is stopped: without a block it is unknown
        whether an exception or a `break` has left it. Closing again does nothing.

        Args:
            timeout: The most seconds to wait; None for `close_timeout`.

        Raises:
            ExceptionGroup: The errors of closing, which goes through all tasks first.
        """
        seconds = checked_timeout(timeout, self.close_timeout)
        if self._run is not None and not self._is_in_block:
            self._iterations.stop_all(self._run)
        self._close("completed", "", seconds, None)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        leave(groups, self)
        self._is_in_block = False
        if exc is None:
            self._close("completed", "", None, None)
            return False
        run, task = self._run, self._iteration_task
        assert run is not None
        aborts = abort.aborts_in(exc)
        if aborts and abort.is_swallowed(run, aborts):
            self._close("stopped", "", None, None)
            return True
        if not aborts and task is not None and task._state.is_open and not run.in_child:
            state = task._state
            for error in closing.attempt_all([lambda: failures.mark_by_exception(run, state, exc)]):
                failures.add_note(exc, f"its traceback is not in the console of {task}: {error!r}")
            if failures.is_caught(exc, run.options.catch):
                failures.add_note(
                    exc,
                    "catch=… applies to exceptions that leave a task's own block: put `with task:` around "
                    "the body of the loop, so that the loop can go on",
                )
        status, reason = failures.ending_of(exc)
        self._close(status, f"group aborted by {reason}" if status == "failed" else reason, None, exc)
        return False

    def _close(self, status: Status, reason: str, timeout: float | None, exc: BaseException | None) -> None:
        run = self._run
        if run is None or run.closed:
            return
        with signals.hold_signals() as interrupts:
            self._finalizer.detach()
            self._iterations.running.clear()
            agent_task = run.agent_task
            before = closing.attempt_all([agent_task.end] if agent_task is not None else [])
            seconds = run.options.close_timeout if timeout is None else timeout
            on_end = None if self._on_end is None or self._is_part else self._call_on_end
            errors = before + closing.close_run(run, status, reason, seconds, interrupts, on_end)
        errors += closing.attempt_all(run.after_close)
        if run.in_child:
            return
        if self._queueing is not None:
            errors += closing.attempt_all([self._queueing.log_open_tasks])
        problem = agent_problem(run)
        closing.raise_errors(run, errors, exc, interrupts, problem)

    @property
    def _is_part(self) -> bool:
        """Whether other processes have the rest of the run: on an agent, and on a rank other than 0."""
        run = self._opened_once()
        is_other_rank = self._mode is None and run.backend.mode == "disabled"
        return is_other_rank or run.agent_task is not None or run.foreign_agent_task is not None

    def _call_on_end(self) -> None:
        assert self._on_end is not None
        self._on_end(self, self.results())
