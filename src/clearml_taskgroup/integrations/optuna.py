"""Optuna: an objective whose trials are tasks of a group. Tried with Optuna 4.0 and 5.0."""

from __future__ import annotations

import inspect
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from .._log import logger, warn
from .._model.arguments import iterator_of
from .._model.identity import KEY_DIGITS, task_key
from .._model.name_template import check_context
from .._run.abort import aborts_in
from .._run.failures import add_note, end_by_exception, reason_of
from .._text import counted, shown
from ..errors import ArgumentError, GroupStateError, TaskAbortedError, TaskGroupWarning
from . import filled, needs

if TYPE_CHECKING:
    from .._group import TaskGroup
    from .._run.run import Run
    from .._task import GroupTask


with needs("optuna", __name__):
    import optuna


METRIC = "objective"
_MODES = {"MINIMIZE": "min", "MAXIMIZE": "max"}
UNNAMED = "no-name-"
"""The prefix of the names that Optuna gives studies without a name."""


@attrs.define(eq=False)
class Objective:
    """An objective for `study.optimize`; made by `group.objective(fn)`.

    Called with a trial, from `study.optimize` or `study.ask`, it runs `fn` as a task of the group.
    """

    group: TaskGroup
    fn: Callable[..., Any]
    metric: str | Sequence[str] | None = None
    context: Mapping[str, Any] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        check_context(self.group.template, self.context)
        if not callable(self.fn):
            raise ArgumentError("fn", self.fn, "a function of Optuna's trial: fn(trial), or fn(trial, task)")
        if self.metric is not None:
            listed = (
                [self.metric] if isinstance(self.metric, str) else list(iterator_of(self.metric) or [None])
            )
            for metric in listed:
                if not isinstance(metric, str):
                    raise ArgumentError("metric", self.metric, "the name of a metric, or a list of names")
                self._check(metric)
            self.metric = listed

    def _check(self, metric: str) -> None:
        if self.group.vocabulary is not None:
            self.group.vocabulary.resolve(metric, self.context)

    def __call__(self, trial: Any) -> Any:
        """Runs one trial.

        Args:
            trial: What Optuna hands over; also a `FixedTrial`, or `study.best_trial` to try it again.

        Returns:
            What `fn` gives.

        Raises:
            GroupStateError: The group is not open; or a resumed run has completed this trial of a
                study that has begun anew; or another process of a shared run has a trial of this number.
        """
        run = self.group._opened()
        study = getattr(trial, "study", None)
        metrics = self._metrics(study, 1 if study is None else len(study.directions))
        with run.creating:  # trials of several threads come one after another
            self._warn_of_modes(run, study, metrics)
        try:
            task = self._open(run, trial, study)
        except TaskAbortedError:
            _fail(trial)
            raise
        seen = _Seen(task, metrics[0], filled(self.group, metrics[0], self.context))
        if isinstance(trial, optuna.Trial):
            trial = _WatchedTrial(trial, seen)
        with task.activate():
            try:
                seen.params(trial)
                result = self._call(trial, task)
                seen.params(trial)
                problem = _problem(result, study)
                if not problem:
                    self._report(task, study, result)
            except BaseException as error:
                if any(one.id == task.id for one in aborts_in(error)):
                    run.end(task._state, "stopped")
                    return math.nan  # which fails the trial, and the study goes on
                _end(task, trial, seen, error)
                if aborts_in(error):
                    _fail(trial)
                raise
        run.end(task._state, "failed" if problem else "completed", problem)
        return result

    def _call(self, trial: Any, task: GroupTask) -> Any:
        try:
            parameters = inspect.signature(self.fn).parameters
            needed = [p for p in parameters.values() if p.kind in _POSITIONAL and p.default is p.empty]
        except ValueError:  # a builtin without a signature
            return self.fn(trial)
        if len(needed) > 1:
            return self.fn(trial, task)
        return self.fn(trial, task=task) if "task" in parameters else self.fn(trial)

    def _open(self, run: Run, trial: Any, study: Any) -> GroupTask:
        group = self.group
        with run.creating:  # trials of several threads come one after another
            if study is None:  # tried again outside of its study, it has no identity
                name = f"trial-{getattr(trial, 'number', 0):04}"
                task = group.task(name=name, key=uuid.uuid4().hex[:KEY_DIGITS])
            else:
                in_run = _study_in_run(group, run, study, trial)
                name, key = in_run.names(trial.number)
                if run.is_done(key):
                    raise GroupStateError(
                        group.name,
                        f"resumes a run that has completed trial {trial.number} of the study "
                        f"{study.study_name!r} already, and the study has begun anew",
                        "keep the study as well, with optuna.create_study(study_name=…, storage=…, "
                        "load_if_exists=True), or leave resume=True out",
                    )
                run.specs.refuse_duplicate(
                    spec := run.specs.make(None, name=name, key=key, index=trial.number)
                )
                (task,) = group._open_tasks([spec])
        if task.done:  # of another process of the run
            raise GroupStateError(
                group.name,
                f"has trial {trial.number} of the study {study.study_name!r} already, from "
                f"{task._state.elsewhere}: each process has a study of its own, or the study has begun anew",
                "give all processes one stored study: "
                "optuna.create_study(study_name=…, storage=…, load_if_exists=True)",
            )
        task._state.ends_elsewhere = True
        return task

    def _metrics(self, study: Any, count: int) -> list[str]:
        given = self.metric or (study.metric_names if study is not None else None)
        if given is None:
            given = [METRIC] if count == 1 else [f"{METRIC}_{place}" for place in range(count)]
        names = [given] if isinstance(given, str) else list(given)
        if len(names) != count:
            raise ArgumentError("metric", self.metric, f"{count} names, one for each value of the objective")
        for name in names:
            self._check(name)
        return names

    def _warn_of_modes(self, run: Run, study: Any, metrics: Sequence[str]) -> None:
        """Warns once if a study's direction contradicts the vocabulary's mode."""
        words = self.group.vocabulary
        if study is None or words is None:
            return
        for metric, direction in zip(metrics, study.directions, strict=True):
            name, _ = words.resolve(metric, self.context)
            mode, warning = words.metrics[name].mode, f"optuna {study.study_name} {name}"
            if mode is None or direction.name not in _MODES or mode == _MODES[direction.name]:
                continue
            if warning not in run.warned:
                run.warned.add(warning)
                warn(
                    f"the study {study.study_name!r} is to {direction.name.lower()} {name!r}, but in the "
                    f"group's vocabulary it is Metric({name!r}, mode={mode!r}): what Optuna takes for "
                    "best is worst in the results. Correct one of them: the direction of "
                    f"optuna.create_study(…), or mode={_MODES[direction.name]!r}",
                    TaskGroupWarning,
                )

    def _report(self, task: GroupTask, study: Any, result: Any) -> None:
        values = _listed(result)
        if not _takes_reports(task):
            return  # the function has ended it itself
        for metric, value in zip(self._metrics(study, len(values)), values, strict=True):
            task.report({metric: float(value)}, **filled(self.group, metric, self.context))


class _WatchedTrial(optuna.Trial):
    """Optuna's own trial; what it samples and what is reported to it goes to its task at once."""

    def __init__(self, trial: optuna.Trial, seen: _Seen) -> None:
        vars(self).update(vars(trial))  # Optuna's own __init__ would begin to sample once more
        self._seen = seen

    def suggest_float(self, *args: Any, **kwargs: Any) -> float:
        """As Optuna's."""
        value = super().suggest_float(*args, **kwargs)
        self._seen.params(self)
        return value

    def suggest_int(self, *args: Any, **kwargs: Any) -> int:
        """As Optuna's."""
        value = super().suggest_int(*args, **kwargs)
        self._seen.params(self)
        return value

    def suggest_categorical(self, *args: Any, **kwargs: Any) -> Any:
        """As Optuna's."""
        value = super().suggest_categorical(*args, **kwargs)
        self._seen.params(self)
        return value

    def report(self, value: float, step: int) -> None:
        """As Optuna's; the task gets the value as well, with the step as iteration."""
        super().report(value, step)
        self._seen.value(float(value), int(step))


@attrs.define(eq=False)
class _Seen:
    """Passes a trial's parameters and intermediate values to its task."""

    task: GroupTask
    metric: str
    context: Mapping[str, Any]
    step: int | None = None
    _sent: set[str] = attrs.field(factory=set)

    def params(self, trial: Any) -> None:
        params = getattr(trial, "params", {})  # None stands for the trial of a distributed job's other ranks
        new = {name: value for name, value in params.items() if name not in self._sent}
        if new and self.task._state.is_open:
            self.task.set_parameters(new)
            self._sent.update(new)

    def value(self, value: float, step: int) -> None:
        self.step = step
        if _takes_reports(self.task):
            self.task.report({self.metric: value}, step, **self.context)


def _takes_reports(task: GroupTask) -> bool:
    """Whether the task is open, or was aborted, so that a report raises."""
    return task._state.is_open or task._state.aborted is not None


def _fail(trial: Any) -> None:
    """Fails a trial whose study is left by an abort, of which Optuna knows nothing."""
    study = getattr(trial, "study", None)
    if study is not None:
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def _end(task: GroupTask, trial: Any, seen: _Seen, error: BaseException) -> None:
    """Ends the task of a trial that an exception ends."""
    run = task._run
    try:
        seen.params(trial)
    except Exception as other:  # it must not replace the trial's own error
        add_note(error, f"while its task ended: {reason_of(other)}")
    if not isinstance(error, optuna.TrialPruned):
        end_by_exception(run, task._state, error)
        return
    reason = "pruned" if seen.step is None else f"pruned at step {seen.step}"
    reason = f"{reason}: {error}" if str(error) else reason
    run.end(task._state, "stopped", reason)


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _listed(result: Any) -> Sequence[Any]:
    return result if isinstance(result, Sequence) else [result]


def _problem(result: Any, study: Any) -> str:
    """Gives the reason why Optuna will count a trial as failed for its result; empty if it will not."""
    values = _listed(result)
    for value in values:
        try:
            if math.isnan(float(value)):
                return "the objective gave nan, which Optuna takes as a failure"
        except (ValueError, TypeError, OverflowError):
            return f"the objective gave {shown(value)}, which is no number"
    if study is not None and len(values) != len(study.directions):
        given, expected = counted(len(values), "value"), counted(len(study.directions), "direction")
        return f"the objective gave {given}, the study has {expected}"
    return ""


def _study_in_run(group: TaskGroup, run: Run, study: Any, trial: Any) -> _Study:
    """Gives the run's `_Study`; at the study's first trial, restores the trials of a resumed run."""
    name = f"optuna {study.study_name}"
    in_run = run.before_parent_ends.get(name)
    if not isinstance(in_run, _Study):
        known = [other for other in run.before_parent_ends.values() if isinstance(other, _Study)]
        in_run = run.before_parent_ends[name] = _Study(run, study, _label(group, study, known))
        if run.prior is not None:
            _restore_trials(group, run, in_run, trial)
    if not in_run.several:  # with several directions, finding the best is slow: once, at the end
        in_run()
    return in_run


def _label(group: TaskGroup, study: Any, known: list[_Study]) -> str:
    """Gives the prefix of a study's trial names: its name, unless that is the group's or Optuna's."""
    if not study.study_name.startswith(UNNAMED):
        return "" if study.study_name == group.name else str(study.study_name)
    place = 1 + sum(other.study.study_name.startswith(UNNAMED) for other in known)
    return "" if place == 1 else f"study-{place}"


def _restore_trials(group: TaskGroup, run: Run, in_run: _Study, current: Any) -> None:
    assert run.prior is not None
    specs, params = [], {}
    for trial in in_run.study.get_trials(deepcopy=False):
        name, key = in_run.names(trial.number)
        if key in run.prior.attempts and trial.number != current.number:
            specs.append(run.specs.make(None, name=name, key=key))
            params[key] = trial.params
    tasks = group._recall_tasks(specs)
    for task in tasks:
        task._state.params.update(params[task.key])
    if tasks:
        so_far, completed = counted(len(tasks), "trial"), sum(task.done for task in tasks)
        text = "the study %r goes on: %s so far, %d of them completed"
        logger.info(text, in_run.study.study_name, so_far, completed)


@attrs.define(eq=False)
class _Study:
    """A study in a run: names and keys of its trials, and the best trial, which is kept on the parent.

    It refers to no group, so that a group that is not referred to any more can be collected.
    """

    run: Run
    study: Any
    label: str
    several: bool = attrs.field(init=False)
    _written: list[int] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.several = len(self.study.directions) > 1

    def names(self, number: int) -> tuple[str, str]:
        """Gives a trial's name and key; two studies in one group have trials of the same numbers."""
        named = not self.study.study_name.startswith(UNNAMED)
        key = task_key({"study": self.study.study_name if named else self.label, "trial": number})
        name = f"trial-{number:04}"
        return (f"{self.label}-{name}" if self.label else name), key

    def __call__(self) -> None:
        """Writes the best trial so far to the parent, unless it is the one that was written last."""
        try:
            best = self.study.best_trials if self.several else [self.study.best_trial]
        except ValueError:  # no trial is completed yet
            return
        numbers = [trial.number for trial in best]
        # Another process of the run may have written an older one since.
        is_last_word = self.run.closed and self.run.sharing is not None
        if not best or (numbers == self._written and not is_last_word):
            return
        facts = {"trials": numbers} if self.several else self._facts(best[0])
        prefix = f"{self.label}/best" if self.label else "best"
        self.run.set_parent_parameters({f"{prefix}/{name}": fact for name, fact in facts.items()})
        self._written = numbers

    def _facts(self, best: Any) -> dict[str, Any]:
        # A parameter that the best trial does not have may be there from an earlier best.
        trials = self.study.get_trials(deepcopy=False)
        names = dict.fromkeys(name for trial in trials for name in trial.params)
        params = {f"params/{name}": best.params.get(name) for name in names}
        return {"trial": best.number, "value": best.value, **params}
