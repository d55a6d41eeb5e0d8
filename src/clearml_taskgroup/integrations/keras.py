"""Keras: a `Callback` that logs to a task of a group. Tried by hand with Keras 3.0 and 3.15.

CI does not install it, because all backends that train are large; its tests run where one is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import needs
from ._metric_names import Relay, by_prefix, current_task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._reporting import BoundTask
    from .._task import GroupTask

    Callback = object
else:
    with needs("keras", __name__):
        from keras.callbacks import Callback


class TaskCallback(Callback):
    """Logs to a task of a group: `model.fit(…, callbacks=[TaskCallback(task)])`.

    After each epoch, `val_loss` is the metric `loss` in the split `val`, and `loss` that of
    `train`; the epoch is the iteration. If the vocabulary has an alias of the whole name, that is used.
    The task does not end with the training.

    Args:
        task: The task, or `task.bind(…)`; None for the task whose block this is.
        context: The template's field for the split; None for `split`, if the template has it.

    Raises:
        ArgumentError: No task was given, and no task's block is active.
        UnknownFieldError: The template does not have the field.
    """

    def __init__(self, task: GroupTask | BoundTask | None = None, *, context: str | None = None) -> None:
        super().__init__()
        self._relay = Relay(current_task(task), by_prefix(("val",)), context, rest="train")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Reports the metrics of the epoch."""
        if logs:
            self._relay.put(logs, epoch)
