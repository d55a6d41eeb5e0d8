"""Hugging Face: a `TrainerCallback` that logs to a task of a group.

Tried by hand with transformers 4.46 and 5.23. CI does not install it, because of the size of torch;
its tests run where `transformers` is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import needs
from ._metric_names import Relay, by_prefix, current_task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._reporting import BoundTask
    from .._task import GroupTask

    TrainerCallback = object
else:
    with needs("transformers", __name__):
        from transformers import TrainerCallback


class TaskCallback(TrainerCallback):
    """Logs to a task of a group: `Trainer(…, callbacks=[TaskCallback(task)])`.

    `eval_loss` is the metric `loss` in the split `eval`, `test_loss` in `test`; all other names are
    metrics in `train`. If the vocabulary has an alias of the whole name, that is used. The task does
    not end with the training. With `report_to` set to `"all"` or `"clearml"`, transformers' own
    callback calls `Task.init` too.

    Args:
        task: The task, or `task.bind(…)`; None for the task whose block this is.
        context: The template's field for the split; None for `split`, if the template has it.

    Raises:
        ArgumentError: No task was given, and no task's block is active.
        UnknownFieldError: The template does not have the field.
    """

    def __init__(self, task: GroupTask | BoundTask | None = None, *, context: str | None = None) -> None:
        self._relay = Relay(current_task(task), by_prefix(("eval", "test")), context, rest="train")

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Reports what the trainer logs, with its global step as iteration."""
        if state.is_world_process_zero and logs:
            self._relay.put(logs, state.global_step)

    def on_predict(
        self, args: Any, state: Any, control: Any, metrics: Mapping[str, Any], **kwargs: Any
    ) -> None:
        """Reports the metrics of `trainer.predict`, which the trainer does not log."""
        if state.is_world_process_zero and metrics:
            self._relay.put(metrics, state.global_step)
