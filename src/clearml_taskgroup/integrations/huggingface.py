"""Hugging Face: a `TrainerCallback` that logs to a task of a group. Tried with transformers 4.46 and 5.24."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from .._current import current_group
from .._log import warn
from .._model.identity import KEY_DIGITS
from ..errors import ArgumentError, TaskGroupWarning
from . import needs
from ._metric_names import Parts, Relay, by_patterns, by_prefix, current_task, flat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .._group import TaskGroup
    from .._reporting import BoundTask
    from .._task import GroupTask

    TrainerCallback = object
else:
    with needs("transformers", __name__):
        from transformers import TrainerCallback

COLUMNS = (
    "epoch",
    "total_flos",
    "num_input_tokens_seen",
    "*_runtime",
    "*_per_second",
    "*_compilation_time",
    "*_preparation_time",
    "*_mem_[cg]pu*",
)
"""What the trainer logs of its progress and of the machine."""
_THROUGHPUT = "_samples_per_second"
"""The end of a name that each evaluation logs; before it is what all of its names begin with."""
_TASK_OF_TRIAL = (
    "a group for trainer.hyperparameter_search, in which each trial is a task: "
    "huggingface.TaskGroupCallback(group)"
)


class TaskCallback(TrainerCallback):
    """Logs to a task of a group: `Trainer(…, callbacks=[TaskCallback(task)])`.

    `eval_loss` is the metric `loss` in the split `eval`, `test_loss` in `test`; with several datasets for
    evaluation, `{"en": …, "de": …}`, `eval_en_loss` is in `eval_en`. All other names are metrics in `train`.
    If the vocabulary has an alias of the whole name, that is used. The task does not end with the training.

    Args:
        task: The task, or `task.bind(…)`; None for the task whose block this is.
        context: The template's field for the split; None for `split`, if the template has it.
        only: Patterns of the names that are reported, `"eval_*"`; None for all but `epoch`, runtimes,
            throughputs, memory and floating-point operations.
        ignore: Patterns of names that are not reported, `["grad_norm", "learning_rate"]`.

    Raises:
        ArgumentError: No task was given, and no task's block is active; or a pattern is not text.
        UnknownFieldError: The template does not have the field.
    """

    def __init__(
        self,
        task: GroupTask | BoundTask | None = None,
        *,
        context: str | None = None,
        only: str | Iterable[str] | None = None,
        ignore: str | Iterable[str] = (),
    ) -> None:
        self._context, self._takes = context, by_patterns(only, ignore, COLUMNS)
        self._evaluations = {"eval", "test"}
        self._relay: Relay | None = self._relay_to(current_task(task))

    def _relay_to(self, task: GroupTask | BoundTask) -> Relay:
        return Relay(task, self._read(), self._context, rest="train", takes=self._takes)

    def _read(self) -> Callable[[str], Parts | None]:
        return by_prefix(sorted(self._evaluations, key=len, reverse=True))  # `eval_en` before `eval`

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Warns if transformers logs to another ClearML task as well.

        Raises:
            ArgumentError: This is a trial of `trainer.hyperparameter_search`, of which each needs a task.
        """
        if state.is_hyper_param_search:
            raise ArgumentError("task", self._relay and self._relay.owner, _TASK_OF_TRIAL)
        self._warn_of_another_task(args)

    def _warn_of_another_task(self, args: Any) -> None:
        assert self._relay is not None
        run = self._relay.owner._run
        if "clearml" in (args.report_to or ()) and run.main_task is None and "report_to" not in run.warned:
            run.warned.add("report_to")
            warn(
                "report_to has 'clearml', so transformers calls Task.init and logs to a task of "
                "its own, too; write TrainingArguments(…, report_to='none')",
                TaskGroupWarning,
            )

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Reports what the trainer logs, with its global step as iteration."""
        self._put(state, logs)

    def on_predict(
        self, args: Any, state: Any, control: Any, metrics: Mapping[str, Any], **kwargs: Any
    ) -> None:
        """Reports the metrics of `trainer.predict`, which the trainer does not log."""
        self._put(state, metrics)

    def _put(self, state: Any, values: Mapping[str, Any] | None) -> None:
        if self._relay is None or not values or not state.is_world_process_zero:
            return
        # An evaluation of a dataset among others, or with another `metric_key_prefix`.
        new = {name.removesuffix(_THROUGHPUT) for name in values if name.endswith(_THROUGHPUT)} - {"train"}
        if not new <= self._evaluations:
            self._evaluations |= new
            self._relay.read = self._read()
        self._relay.put(flat(values), state.global_step)


class TaskGroupCallback(TaskCallback):
    """Makes each trial of `trainer.hyperparameter_search` a task: `callbacks=[TaskGroupCallback(group)]`.

    The trial's parameters are added to the task's. The task has what a `TaskCallback` logs, and the
    evaluation that follows the training. It is stopped if the trial was pruned. To have the value of the
    objective and the best trial as well, use `group.objective` with a trainer for each trial.

    Args:
        group: The group; None for the one whose block it is.
        context, only, ignore: As for `TaskCallback`.

    Raises:
        ArgumentError: No group was given, and no group's block is active; or a pattern is not text.
    """

    def __init__(
        self,
        group: TaskGroup | None = None,
        *,
        context: str | None = None,
        only: str | Iterable[str] | None = None,
        ignore: str | Iterable[str] = (),
    ) -> None:
        found = group if group is not None else current_group()
        if found is None or not hasattr(found, "_open_tasks"):
            raise ArgumentError("group", group, "a TaskGroup; it may be left out in the block of one")
        self._group, self._trials = found, 0
        self._context, self._takes = context, by_patterns(only, ignore, COLUMNS)
        self._evaluations = {"eval", "test"}
        self._relay = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ends the task of the trial before, and opens that of this one."""
        self._end_previous()
        name = state.trial_name or f"trial-{self._trials:04}"
        self._trials += 1
        task = self._group.task(name=name, key=uuid.uuid4().hex[:KEY_DIGITS])
        task.set_parameters(state.trial_params or {})
        task._state.left_by = "the training did not end"  # if it raises
        self._relay = self._relay_to(task)
        self._warn_of_another_task(args)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stops the task of a pruned trial; another one may still be evaluated."""
        assert self._relay is not None
        task = self._relay.owner
        task._state.left_by = ""
        if state.global_step < state.max_steps and not control.should_training_stop:
            task._run.end(task._state, "stopped", f"pruned at step {state.global_step}")

    def _end_previous(self) -> None:
        if self._relay is not None:
            task = self._relay.owner
            problem = task._state.left_by
            task._run.end(task._state, "failed" if problem else "completed", problem)
