"""LightGBM: a callback that logs to a task of a group. Tried with LightGBM 4.0 and 4.7."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import needs
from ._boosting import EvaluationLog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._reporting import BoundTask
    from .._task import GroupTask

with needs("lightgbm", __name__):
    import lightgbm


class TaskCallback:
    """Logs to a task of a group: `lightgbm.train(…, callbacks=[TaskCallback(task)])`.

    Also for `lightgbm.cv` and for estimators, `LGBMClassifier().fit(…, callbacks=[TaskCallback(task)])`.
    After each round, each metric is reported with the name of its evaluation set as split: `training`,
    `valid_0` or the `valid_names`. In `cv` they are means over the folds, with `std_l2` beside `l2`,
    LightGBM's own: that of the population.
    `best_iteration`, counted from 1, and `best_score` are single values: what early stopping takes for the
    best (without `min_delta`), also if there is none. The task does not end with the training.

    Args:
        task: The task, or `task.bind(…)`; None for the task whose block this is when training begins.
        context: The template's field for the evaluation set; None for `split`, if the template has it.

    Raises:
        ArgumentError: The task is none; or none was given, and training begins outside of a task's block.
        UnknownFieldError: The template does not have the field.
    """

    order = 25  # before early stopping, which leaves the round by an exception
    before_iteration = False

    def __init__(self, task: GroupTask | BoundTask | None = None, *, context: str | None = None) -> None:
        self._log = EvaluationLog(task, context)
        self._best: dict[tuple[str, str], tuple[int, float]] = {}

    def __call__(self, env: Any) -> None:
        """Reports the metrics of a round."""
        if env.iteration == env.begin_iteration:
            self._log.start()
            self._best = {}
        train = getattr(env.model, "_train_data_name", "training")
        if isinstance(env.model, lightgbm.CVBooster):
            train = "train"
        before = self._stopping(env)
        for split, metric, value, is_higher_better, std in _results(env):
            self._log.put(split, metric, value, env.iteration, std)
            name, sign = (split, metric), 1 if is_higher_better else -1
            if split != train and (name not in self._best or sign * value > sign * self._best[name][1]):
                self._best[name] = (env.iteration, value)
        if self._best and (best := self._stopping(env)) != before:
            self._log.put_best(best[0] + 1, best[1])
        if env.iteration == env.end_iteration - 1:
            self._log.finish("valid_sets=[…]")

    def _stopping(self, env: Any) -> Any:
        """Gives the best of the metric that early stopping ends by: the first to go without improvement."""
        found = list(self._best.values())
        if not found or env.params.get("first_metric_only") or env.iteration == env.end_iteration - 1:
            return found[0] if found else None
        return min(found, key=lambda best: best[0])


def _results(env: Any) -> Iterator[tuple[str, str, float, bool, float | None]]:
    for split, metric, value, is_higher_better, *std in env.evaluation_result_list or ():
        if split == "cv_agg":  # before 4.7, cv put both into the second text
            split, _, metric = metric.partition(" ")
        yield split, metric, float(value), is_higher_better, std[0] if std else None
