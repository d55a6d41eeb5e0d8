"""Lightning: a `Logger` that logs to a task of a group. Tried by hand with lightning 2.2 and 2.6.

CI does not install it, because of the size of torch; its tests run where `lightning` is installed.
"""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from . import needs
from ._metric_names import SPLITS, Relay, by_prefix, current_task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._reporting import BoundTask
    from .._task import GroupTask

    Logger = object

    def rank_zero_only(call: Any) -> Any:  # noqa: D103
        return call
else:
    with needs("lightning", __name__):
        from lightning.pytorch.loggers import Logger
        from lightning.pytorch.utilities import rank_zero_only


class TaskLogger(Logger):
    """Logs to a task of a group: `Trainer(logger=TaskLogger(task))`.

    What a module logs as `train_loss`, `val/loss` or `loss/test` is the metric `loss` in the split
    of its name. If the vocabulary has an alias of the whole name, that is used. The task does not end
    with the training.

    Args:
        task: The task, or `task.bind(…)`; None for the task whose block this is.
        context: The template's field for the split; None for `split`, if the template has it.
        splits: The names of splits.

    Raises:
        ArgumentError: No task was given, and no task's block is active.
        UnknownFieldError: The template does not have the field.
    """

    def __init__(
        self,
        task: GroupTask | BoundTask | None = None,
        *,
        context: str | None = None,
        splits: Iterable[str] = SPLITS,
    ) -> None:
        super().__init__()
        self._relay = Relay(current_task(task), by_prefix(splits), context)

    @property
    def experiment(self) -> GroupTask:
        """The task."""
        return self._relay.owner

    @property
    def name(self) -> str:
        """The group's name; checkpoints lie below it."""
        return self.experiment.group.name

    @property
    def version(self) -> str:
        """The task's key, the same in every run."""
        return self.experiment.key

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Reports metrics; those that the group's vocabulary does not have are skipped, with one warning."""
        self._relay.put(metrics, step)

    @rank_zero_only
    def log_hyperparams(
        self, params: Mapping[str, Any] | Namespace | None = None, *args: Any, **kwargs: Any
    ) -> None:
        """Adds parameters to the task.

        Raises:
            ParameterError: One is part of the task's identity already, with another value.
        """
        given = vars(params) if isinstance(params, Namespace) else params or {}
        if given:
            self.experiment.set_parameters(given)

    def finalize(self, status: str) -> None:
        """Ends nothing: the task ends with its own block, or its group."""
