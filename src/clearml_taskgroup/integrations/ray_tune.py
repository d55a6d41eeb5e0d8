"""Ray Tune: a callback that makes each trial a task of a group. Tried with Ray 2.9 and 2.60.

Tune calls it in the process that calls `Tuner.fit()`; the trials run in processes of their own. Tune pickles
the callback into the experiment's folder, from where `Tuner.restore` takes it, also in another process.
"""

from __future__ import annotations

import contextlib
import pickle
import re
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._clearml.hyperparameters import stored_parameters
from .._current import current_group
from .._model.identity import flatten
from .._run.abort import aborts_in
from .._run.failures import keep_failure, reason_of
from ..errors import ArgumentError, ParameterError, TaskAbortedError
from . import needs
from ._metric_names import SPLITS, Relay, by_patterns, by_prefix, flat

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .._group import TaskGroup
    from .._task import GroupTask

    Callback = object
else:
    with needs("ray", __name__, extra="ray"):
        import ray  # noqa: F401
    from ray.tune import Callback

from ray.tune.result import AUTO_RESULT_KEYS, DONE, EXPERIMENT_TAG, TRAINING_ITERATION, TRIAL_ID

COLUMNS: tuple[str, ...] = (
    *AUTO_RESULT_KEYS,
    DONE,
    EXPERIMENT_TAG,
    TRIAL_ID,
    "experiment_id",
    "should_checkpoint",
    "config/*",
)
"""What Tune adds to each result of a trial."""
_opened: weakref.WeakValueDictionary[str, TaskGroup] = weakref.WeakValueDictionary()
"""The groups of callbacks in this process, by their ids."""


class TaskGroupCallback(Callback):
    """Makes each trial of an experiment a task: `tune.RunConfig(callbacks=[TaskGroupCallback(group)])`.

    The task has the trial's name, and its id as key. The trial's config is its parameters. Each `tune.report`
    is a report with `training_iteration` as iteration; `val_loss` and `{"val": {"loss": …}}` are the metric
    `loss` in the split `val`. The task is completed with its trial, also if a scheduler or a stop
    condition ends the trial early; it fails with the trial's error. A trial that Tune tries again
    (`max_failures`) goes on in the same task. Trials that run when the experiment ends are stopped.

    A callback that `Tuner.restore` finds in the experiment's folder logs to the group of the same id that is
    open in this process, else to the one whose block it is.

    Args:
        group: The group; None for the one whose block it is when the experiment begins.
        context: The template's field for the split; None for `split`, if the template has it.
        splits: The names of splits.
        only: Patterns of the names that are reported, `"val/*"`; None for all but Tune's own columns.
        ignore: Patterns of names that are not reported.

    Raises:
        ArgumentError: `group` is no group, or a pattern is not text.
    """

    def __init__(
        self,
        group: TaskGroup | None = None,
        *,
        context: str | None = None,
        splits: Iterable[str] = SPLITS,
        only: str | Iterable[str] | None = None,
        ignore: str | Iterable[str] = (),
    ) -> None:
        self._group = group if group is not None else current_group()
        if self._group is not None and not hasattr(self._group, "_open_tasks"):
            raise ArgumentError("group", group, "a TaskGroup; it may be left out in the block of one")
        self._group_id = None if self._group is None else self._group.id
        if self._group is not None:
            _opened[self._group.id] = self._group
        self._read, self._context = by_prefix(splits), context
        self._takes = by_patterns(only, ignore, COLUMNS)
        self._relays: dict[str, Relay] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_group": None, "_relays": {}}

    # --- the experiment --------------------------------------------------------------------------

    def setup(self, *args: Any, **info: Any) -> None:
        """Finds the group.

        Raises:
            ArgumentError: There is none in this process.
            GroupStateError: It is not open.
        """
        if self._group is None:
            known = _opened.get(self._group_id or "")
            is_open = known is not None and known._run is not None and not known._run.closed
            self._group = known if is_open else current_group()
        if self._group is None:
            raise ArgumentError(
                "group",
                None,
                "a group that is open in this process: TaskGroupCallback(group), or for Tuner.restore(…) a "
                "block around tuner.fit(), with TaskGroup(…, resume=True):",
            )
        self._group._opened()

    def on_experiment_end(self, trials: Sequence[Any], **info: Any) -> None:
        """Stops the tasks of trials that still run, after Ctrl-C or a time limit."""
        for trial in trials:
            if trial.status == "ERROR":
                self._fail(trial)
            self._end(trial, "stopped", "Tune's experiment ended before the trial did")

    # --- its trials ------------------------------------------------------------------------------

    def on_trial_start(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        """Opens the trial's task, or goes on with it, and adds the trial's config to its parameters."""
        relay = self._relay(trial)
        with _ended_with_task(trial, relay.owner):
            try:
                relay.owner.set_parameters(trial.config)
            except ParameterError:
                _set_possible_parameters(relay, trial.config)

    def on_trial_result(
        self, iteration: int, trials: Sequence[Any], trial: Any, result: Mapping[str, Any], **info: Any
    ) -> None:
        """Reports a result. A trial whose task somebody has aborted is ended with its next result."""
        relay = self._relay(trial)
        with _ended_with_task(trial, relay.owner):
            relay.put(flat(result), result.get(TRAINING_ITERATION))

    def on_trial_complete(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        """Ends the trial's task as completed."""
        self._end(trial, "completed")

    def on_trial_recover(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        """Writes the error of a trial that Tune tries again to its task's console."""
        _, text = _error_of(trial)
        self._relay(trial).owner._put_text(f"{text.rstrip()}\nTune tries the trial again")

    def on_trial_error(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        """Ends the trial's task as failed, with the error as its reason, and the traceback in its console."""
        self._relay(trial)  # which has no task yet if its process did not start
        self._fail(trial)

    def _relay(self, trial: Any) -> Relay:
        relay = self._relays.get(trial.trial_id)
        if relay is None:
            relay = Relay(self._task(trial), self._read, self._context, takes=self._takes)
            self._relays[trial.trial_id] = relay
        return relay

    def _task(self, trial: Any) -> GroupTask:
        """Opens the trial's task; that of a restored trial, which has failed or was stopped, once more."""
        group = self._group
        assert group is not None
        task = group._tasks.get(trial.trial_id)
        if task is None:
            task = group.task(name=str(trial), key=trial.trial_id)
        elif task.status in ("failed", "stopped"):
            (task,) = group._open_tasks([task._state.spec])
        if task.status == "completed":
            task.reopen()
        task._state.ends_elsewhere = True
        return task

    def _end(self, trial: Any, *ending: Any) -> None:
        relay = self._relays.pop(trial.trial_id, None)
        if relay is not None:
            relay.owner._run.end(relay.owner._state, *ending)

    def _fail(self, trial: Any) -> None:
        relay = self._relays.get(trial.trial_id)
        if relay is None or not relay.owner._state.is_open:
            return
        error, text = _error_of(trial)
        relay.owner._put_text(text)
        keep_failure(relay.owner._state, error, text)
        self._end(trial, "failed", reason_of(error))


@contextlib.contextmanager
def _ended_with_task(trial: Any, task: GroupTask) -> Iterator[None]:
    """Lets Tune end a trial with its next result if somebody has aborted its task."""
    try:
        yield
    except TaskAbortedError as error:
        if any(one.id != task.id for one in aborts_in(error)):
            raise
        task._run.end(task._state, "stopped")
        trial.stopping_criterion = {TRAINING_ITERATION: 0}


def _set_possible_parameters(relay: Relay, config: Mapping[str, Any]) -> None:
    """Adds a trial's config without what cannot be stored, such as a large array."""
    kept: dict[str, Any] = {}
    left_out: dict[str, ParameterError] = {}
    for name, value in config.items():
        try:
            stored_parameters(flatten({**kept, name: value}))
            kept[name] = value
        except ParameterError as error:
            left_out[str(name)] = error
    relay.owner.set_parameters(kept)
    relay.warn_of_skipped(left_out)


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def _error_of(trial: Any) -> tuple[BaseException, str]:
    """Reads a trial's latest error, and its text, which is a traceback if the trainable raised it."""
    try:
        text = Path(trial.error_file).read_text(errors="replace")
    except (OSError, TypeError):  # the disk is full, or the trial has no folder
        return RuntimeError("Tune has kept no error of this trial"), ""
    text = _COLOUR.sub("", re.split(r"^Failure # .*\n", text, flags=re.MULTILINE)[-1]).strip()
    with contextlib.suppress(Exception):  # of a class that cannot be loaded here
        error = pickle.loads(Path(trial.pickled_error_file).read_bytes())
        if _COLOUR.sub("", str(error)).strip() == text:  # else it is an earlier one
            return getattr(error, "cause", None) or error, text
    return RuntimeError(text.splitlines()[-1] if text else "unknown"), text
