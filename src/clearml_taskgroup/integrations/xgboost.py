"""XGBoost: a `TrainingCallback` that logs to a task of a group. Tried with XGBoost 2.0 and 3.2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import needs
from ._boosting import EvaluationLog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._reporting import BoundTask
    from .._task import GroupTask

    TrainingCallback = object
    collective: Any = None
else:
    with needs("xgboost", __name__):
        from xgboost import collective
        from xgboost.callback import TrainingCallback


class TaskCallback(TrainingCallback):
    """Logs to a task of a group: `xgboost.train(…, callbacks=[TaskCallback(task)])`.

    Also for `xgboost.cv` and for estimators, `XGBClassifier(callbacks=[TaskCallback(task)])`. After each
    round, each metric is reported with the name of its evaluation set as split: `train` for
    `evals=[(data, "train")]`, `validation_0` for an `eval_set`. In `cv` they are means over the folds, with
    `std_rmse` beside `rmse`, XGBoost's own: that of the population. With early stopping, `best_iteration`
    and `best_score` are single values, as XGBoost has them. The task does not end with the training.

    Args:
        task: The task, or `task.bind(…)`; None for the task whose block this is when training begins.
        context: The template's field for the evaluation set; None for `split`, if the template has it.

    Raises:
        ArgumentError: The task is none; or none was given, and training begins outside of a task's block.
        UnknownFieldError: The template does not have the field.
    """

    def __init__(self, task: GroupTask | BoundTask | None = None, *, context: str | None = None) -> None:
        super().__init__()
        self._log = EvaluationLog(task, context)

    def before_training(self, model: Any) -> Any:
        """Finds the task."""
        self._log.start()
        return model

    def after_iteration(
        self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, list[Any]]]
    ) -> bool:
        """Reports the metrics of a round."""
        if collective.get_rank() == 0:
            for split, metrics in evals_log.items():
                for metric, values in metrics.items():
                    mean, std = values[-1] if isinstance(values[-1], tuple) else (values[-1], None)
                    self._log.put(split, metric, mean, epoch, std)
        return False

    def after_training(self, model: Any) -> Any:
        """Reports what early stopping has chosen; warns if there was no evaluation set."""
        if collective.get_rank() == 0:
            self._log.finish("evals=[(data, 'val')]")
        iteration = model.attr("best_iteration")
        if iteration is not None and collective.get_rank() == 0:
            self._log.put_best(int(iteration), float(model.attr("best_score")))
        return model
