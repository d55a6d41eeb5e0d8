"""CatBoost: a callback that logs to a task of a group. Tried with CatBoost 1.2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError, TaskAbortedError
from . import needs
from ._boosting import EvaluationLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._reporting import BoundTask
    from .._task import GroupTask

with needs("catboost", __name__):
    import catboost


class TaskCallback:
    """Logs to a task of a group: `CatBoostClassifier().fit(…, callbacks=[TaskCallback(task)])`.

    After each round, each metric is reported with the name of its evaluation set as split: `learn`, and
    `validation` or `validation_0` and so on. CatBoost's own count of rounds, from 0, is the iteration. If
    the last evaluation set has one metric, `best_iteration` and `best_score` are single values; with several,
    CatBoost does not tell its callback which of them it chooses by, and `log_best(model)` reports them after
    the training. CatBoost refuses callbacks on GPUs. The task does not end with the training.

    Args:
        task: The task, or `task.bind(…)`; None for the task whose block this is when training begins.
        context: The template's field for the evaluation set; None for `split`, if the template has it.

    Raises:
        ArgumentError: The task is none; or none was given, and training begins outside of a task's block.
        UnknownFieldError: The template does not have the field.
    """

    def __init__(self, task: GroupTask | BoundTask | None = None, *, context: str | None = None) -> None:
        self._log = EvaluationLog(task, context)
        self._counts: dict[tuple[str, str], int] = {}
        self._best: int | None = None

    def after_iteration(self, info: Any) -> bool:
        """Reports the metrics of a round; ends the training if the task was aborted."""
        try:
            self._report(info.iteration - 1, info.metrics)
        except TaskAbortedError:  # CatBoost would wrap it; the task's next report raises it again
            return False
        return True

    def _report(self, iteration: int, metrics: dict[str, dict[str, list[float]]]) -> None:
        if iteration == 0 or not self._counts:
            self._log.start()
            self._counts, self._best = {}, None
        for split, by_metric in metrics.items():
            for metric, values in by_metric.items():
                # With metric_period=…, CatBoost computes a metric in some of the rounds only.
                if len(values) != self._counts.get((split, metric)):
                    self._log.put(split, metric, values[-1], iteration)
                self._counts[split, metric] = len(values)
        *_, (last, chosen) = metrics.items() or [("", {})]
        if last in ("", "learn") or len(chosen) != 1:
            return
        ((metric, values),) = chosen.items()
        find_best = _best_of(metric)
        best = values.index(find_best(values)) if find_best else None
        if best == len(values) - 1 and best != self._best:
            self._log.put_best(iteration, values[best])
            self._best = best

    def log_best(self, model: Any) -> None:
        """Reports `best_iteration` and `best_score` of a trained model, as CatBoost has them.

        Args:
            model: The model that was trained with this callback.

        Raises:
            ArgumentError: The model was not trained, or without an evaluation set.
        """
        if getattr(model, "best_iteration_", None) is None:
            raise ArgumentError("model", model, "a model that was trained with this callback and an eval_set")
        *_, scores = model.best_score_.values()
        chosen = model.get_params().get("eval_metric")
        if chosen is None:
            chosen = model.get_all_params()["eval_metric"]
        name = _without_options(chosen if isinstance(chosen, str) else type(chosen).__name__)
        found = [score for metric, score in scores.items() if _without_options(metric) == name]
        self._log.put_best(model.best_iteration_, found[0] if found else None)


def _without_options(metric: str) -> str:
    return metric.partition(":")[0]


def _best_of(metric: str) -> Callable[[list[float]], float] | None:
    """Gives `max` or `min`; None for a metric of which CatBoost itself does not tell."""
    try:
        return max if catboost._catboost.is_maximizable_metric(metric) else min
    except (AttributeError, catboost.CatBoostError):  # AUC:type=Mu, for example
        return None
