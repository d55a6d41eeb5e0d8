"""Keras: a `Callback` that logs to a task of a group. Tried with Keras 3.0 and 3.15."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from . import needs
from ._metric_names import Relay, by_prefix, current_task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._reporting import BoundTask
    from .._task import GroupTask

    class Callback:  # noqa: D101
        model: Any

        def set_params(self, params: Any) -> None: ...  # noqa: D102
else:
    with needs("keras", __name__):
        from keras.callbacks import Callback

_RATE = "learning_rate"


class TaskCallback(Callback):
    """Logs to a task of a group: `model.fit(…, callbacks=[TaskCallback(task)])`.

    After each epoch, `val_loss` is the metric `loss` in the split `val`, and `loss` that of
    `train`, as is the learning rate; the epoch is the iteration. The metrics of `model.evaluate(…,
    callbacks=[…])` are in the split `test`, at the last epoch that this callback has seen; without one
    they are single values. If the vocabulary has an alias of the whole name (`val_loss`, `test_loss`),
    that is used. The task does not end with the training.

    Args:
        task: The task, or `task.bind(…)`; None for the task whose block this is.
        context: The template's field for the split; None for `split`, if the template has it.

    Raises:
        ArgumentError: No task was given, and no task's block is active.
        UnknownFieldError: The template does not have the field.
    """

    def __init__(self, task: GroupTask | BoundTask | None = None, *, context: str | None = None) -> None:
        super().__init__()
        self._relay = Relay(current_task(task), by_prefix(("val", "test")), context, rest="train")
        self._epoch: int | None = None
        self._in_fit = self._is_new = self._in_evaluate = False

    def set_params(self, params: Any) -> None:
        """Notes that a call of `fit`, `evaluate` or `predict` begins: Keras's own validation sets none."""
        super().set_params(params)
        self._is_new = True

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Notes that `fit` begins."""
        self._in_fit, self._is_new = True, False

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Notes that `fit` ends."""
        self._in_fit = False

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Reports the metrics of the epoch."""
        self._epoch = epoch
        if logs:
            self._relay.put({**self._learning_rate(), **logs}, epoch)

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Notes whether this is `evaluate`, or the validation of `fit`, which `on_epoch_end` reports."""
        self._in_evaluate = self._is_new or not self._in_fit
        self._is_new = False

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Reports the metrics of a call of `evaluate`."""
        if self._in_evaluate and logs:
            self._relay.put({f"test_{name}": value for name, value in logs.items()}, self._epoch)
        self._in_evaluate = False

    def _learning_rate(self) -> dict[str, float]:
        vocabulary = self._relay.owner.group.vocabulary
        if vocabulary is None or _RATE in vocabulary:
            with contextlib.suppress(AttributeError, RuntimeError, TypeError, ValueError):  # no single one
                return {_RATE: float(self.model.optimizer.learning_rate)}
        return {}
